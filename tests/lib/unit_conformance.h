/*
 * What every unit must do, whoever made it: one set of tests, run against each driver and its model
 * (kern/dma/iommu.h; DMA-02, DMA-44, DMA-60).  Included by the driver's test after its stage, which
 * brings start, variants, NO_VIOLATION, AT, and
 *
 *     UNIT_DEVICES    some ids of devices, in rising order; the last is nobody's in these tests
 *
 * A driver may forget what a domain maps when its last endpoint leaves (virtio-iommu does): then
 * attach and map say E_STATE until that was unmapped, and E_BUSY while it leaves.
 */
#pragma once

#include "tests/lib/unit_stage.h"

static const uint32_t unit_devices[] = { UNIT_DEVICES };
enum { OUTSIDER = ARRAY_SIZE(unit_devices) - 1 };

/* D2 */
ATF_TC_WITHOUT_HEAD(unit_a_device_reaches_what_its_domain_maps_and_nothing_else);
ATF_TC_BODY(unit_a_device_reaches_what_its_domain_maps_and_nothing_else, tc)
{
	FOR_EACH_VARIANT(v) {
		uint32_t one = unit_devices[0], two = unit_devices[1];
		struct iommu_domain a, b;
		uint64_t p, q, pa;

		start(v);
		unit_watch(one, AT);
		unit_watch(two, AT);
		make(&a);
		make(&b);
		p = page(1);
		q = page(0);
		ATF_REQUIRE_EQ(unit->ops->attach(&a, one), OK);
		NO_VIOLATION(v);
		ATF_REQUIRE_EQ(unit->ops->attach(&b, two), OK);
		map(&a, AT, p, 2 * PAGE_SIZE, IOMMU_READ);
		map(&b, AT, q, PAGE_SIZE, IOMMU_WRITE);
		NO_VIOLATION(v);
		ATF_CHECK_MSG(reaches(one, AT + 0x1ff8, p + 0x1ff8, false), "%s", v->name);
		ATF_CHECK(!unit_dma(one, AT, true, &pa));
		ATF_CHECK(shut_out(one, AT + 2 * PAGE_SIZE) && shut_out(one, AT - PAGE_SIZE));
		ATF_CHECK(shut_out(one, p) && shut_out(two, q));
		if (unit->facts.iova_bits < 64)
			ATF_CHECK(shut_out(one, BIT(unit->facts.iova_bits) + AT));
		ATF_CHECK(reaches(two, AT, q, true));
		ATF_CHECK_EQ(unit_dma(two, AT, false, &pa), !unit->facts.write_only);
		ATF_CHECK(shut_out(unit_devices[OUTSIDER], AT));
		ATF_CHECK(unit->domains == 2 && unit->endpoints == 2);
		ATF_CHECK(a.endpoints == 1 && b.endpoints == 1);

		ATF_REQUIRE_EQ(wait_for(unmap(&a, AT, 2 * PAGE_SIZE)), OK);
		ATF_CHECK(shut_out(one, AT) && !unit_reaches(p) && !unit_reaches(p + PAGE_SIZE));
		frame_free((struct paddr){ p }, 1);
		ATF_CHECK(reaches(two, AT, q, true));
		ATF_REQUIRE_EQ(wait_for(unit->ops->detach(&b, two)), OK);
		ATF_CHECK(shut_out(two, AT) && !unit_reaches(q));
		ATF_REQUIRE_EQ(wait_for(unmap(&b, AT, PAGE_SIZE)), OK);
		ATF_REQUIRE_EQ(wait_for(unit->ops->detach(&a, one)), OK);
		unit->ops->domain_fini(&a);
		unit->ops->domain_fini(&b);
		frame_free((struct paddr){ q }, 0);
		ATF_CHECK(unit->domains == 0 && unit->endpoints == 0);
		ATF_CHECK_EQ(quota.pages, 0);
		NO_VIOLATION(v);
	}
}

/* Random life of domains, under devices that never stop trying. */
ATF_TC(unit_nothing_reaches_a_page_when_its_ticket_is_past);
ATF_TC_HEAD(unit_nothing_reaches_a_page_when_its_ticket_is_past, tc)
{
	atf_tc_set_md_var(tc, "timeout", "600");
}
ATF_TC_BODY(unit_nothing_reaches_a_page_when_its_ticket_is_past, tc)
{
	enum { DOMAINS = 3, SLOTS = 12, DEVICES = OUTSIDER };

	FOR_EACH_VARIANT(v) {
		struct iommu_domain d[DOMAINS];
		struct {
			uint64_t page, at, len;
			int domain;
			bool going;
			struct iommu_ticket t;
		} s[SLOTS] = { 0 };
		struct { int domain; bool going; struct iommu_ticket t; } dev[DEVICES];
		uint32_t reached = 0;

		start(v);
		for (unsigned i = 0; i < DEVICES; i++) {
			dev[i].domain = -1;
			dev[i].going = false;
			unit_watch(unit_devices[i], AT);
			unit_watch(unit_devices[i], AT + (5 + 3 * i) * PAGE_SIZE);
		}
		for (unsigned i = 0; i < DOMAINS; i++)
			make(&d[i]);
		for (unsigned step = 0; step < 400; step++) {
			unsigned k = (unsigned)(fake_random() % SLOTS),
				 n = (unsigned)(fake_random() % DEVICES);
			uint64_t pa;

			if (s[k].going) {
				if (poll(s[k].t) == OK) {
					for (uint64_t o = 0; o < s[k].len; o += PAGE_SIZE)
						ATF_REQUIRE_MSG(!unit_reaches(s[k].page + o),
						    "%s, step %u", v->name, step);
					frame_free((struct paddr){ s[k].page },
					    log2_floor(s[k].len / PAGE_SIZE));
					s[k].page = 0;
					s[k].going = false;
				}
			} else if (s[k].page != 0) {
				s[k].t = unmap(&d[s[k].domain], s[k].at, s[k].len);
				s[k].going = true;
			} else {
				unsigned order = (unsigned)(fake_random() % 3);
				enum status e;

				s[k].domain = (int)(fake_random() % DOMAINS);
				s[k].len = PAGE_SIZE << order;
				s[k].at = AT + k * 4 * PAGE_SIZE;
				s[k].page = page(order);
				e = map_only(&d[s[k].domain], s[k].at, s[k].page, s[k].len,
				    (enum iommu_rights)(1 + fake_random() % 3));
				if (e == E_STATE) {
					frame_free((struct paddr){ s[k].page }, order);
					s[k].page = 0;
				} else {
					ATF_REQUIRE_EQ(e, OK);
					ATF_REQUIRE_EQ(
					    wait_for(unit->ops->sync(&d[s[k].domain])), OK);
				}
			}
			reached += unit_dma(unit_devices[n],
			    AT + (fake_random() % (4 * SLOTS)) * PAGE_SIZE, fake_random() % 2, &pa);
			if (step % 3 != 0)
				continue;
			if (dev[n].going) {
				if (poll(dev[n].t) == OK) {
					dev[n].going = false;
					dev[n].domain = -1;
					ATF_REQUIRE(shut_out(unit_devices[n], AT));
				}
			} else if (dev[n].domain >= 0) {
				dev[n].t =
				    unit->ops->detach(&d[dev[n].domain], unit_devices[n]);
				dev[n].going = true;
			} else {
				int to = (int)(fake_random() % DOMAINS);
				enum status e = unit->ops->attach(&d[to], unit_devices[n]);

				ATF_REQUIRE_MSG(e == OK || e == E_STATE || e == E_BUSY,
				    "%s: %s", v->name, status_text(e));
				if (e == OK)
					dev[n].domain = to;
			}
			NO_VIOLATION(v);
		}
		ATF_CHECK_MSG(reached > 0, "%s: nothing was ever reached", v->name);
		for (unsigned n = 0; n < DEVICES; n++)
			if (dev[n].domain >= 0)
				ATF_REQUIRE_EQ(wait_for(unit->ops->detach(
						   &d[dev[n].domain], unit_devices[n])),
				    OK);
		for (unsigned k = 0; k < SLOTS; k++)
			if (s[k].page != 0)
				ATF_REQUIRE_EQ(wait_for(s[k].going ?
						       s[k].t :
						       unmap(&d[s[k].domain], s[k].at, s[k].len)),
				    OK);
		for (unsigned i = 0; i < DOMAINS; i++)
			unit->ops->domain_fini(&d[i]);
		ATF_CHECK_EQ(quota.pages, 0);
		ATF_CHECK_EQ(fake_broken, 0);
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(unit_attach_and_detach_are_asked_for_once_and_answered_right);
ATF_TC_BODY(unit_attach_and_detach_are_asked_for_once_and_answered_right, tc)
{
	uint32_t one = unit_devices[0];
	struct iommu_domain a, b;
	struct iommu_ticket t, u;
	uint64_t p;

	start(&variants[0]);
	make(&a);
	make(&b);
	p = page(0);
	ATF_REQUIRE_EQ(unit->ops->attach(&a, one), OK);
	ATF_CHECK_EQ(unit->ops->attach(&a, one), E_BUSY);
	ATF_CHECK_EQ(unit->ops->attach(&b, one), E_BUSY);
	map(&a, AT, p, PAGE_SIZE, IOMMU_READ);
	/* Not b's, and nobody's: nothing happens. */
	ATF_CHECK_EQ(poll(unit->ops->detach(&b, one)), OK);
	ATF_CHECK_EQ(poll(unit->ops->detach(&b, unit_devices[OUTSIDER])), OK);
	ATF_CHECK(reaches(one, AT, p, false));
	ATF_CHECK_EQ(a.endpoints, 1);
	ATF_REQUIRE_EQ(wait_for(unmap(&a, AT, PAGE_SIZE)), OK);
	unit_hang(true);
	t = unit->ops->detach(&a, one);
	u = unit->ops->detach(&a, one);		/* no sooner past than the first */
	ATF_CHECK(u.seq >= t.seq && poll(u) == E_WOULD_BLOCK && poll(t) == E_WOULD_BLOCK);
	unit_hang(false);
	ATF_CHECK_EQ(wait_for(u), OK);
	ATF_CHECK_EQ(poll(t), OK);
	ATF_CHECK_EQ(unit->ops->attach(&b, one), OK);
	NO_VIOLATION(&variants[0]);
}

ATF_TC_WITHOUT_HEAD(unit_what_cannot_be_mapped_is_refused);
ATF_TC_BODY(unit_what_cannot_be_mapped_is_refused, tc)
{
	FOR_EACH_VARIANT(v) {
		struct iommu_domain d;
		uint64_t top, p;

		start(v);
		make(&d);
		p = page(0);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, unit_devices[0]), OK);
		top = BIT(unit->facts.iova_bits);
#define REFUSED(why, at, to, len, rights) \
	ATF_CHECK_EQ_MSG(map_only(&d, at, to, len, rights), why, "%s", v->name)
		REFUSED(E_RANGE, top, RAM, PAGE_SIZE, IOMMU_READ);
		REFUSED(E_RANGE, top - PAGE_SIZE, RAM, 2 * PAGE_SIZE, IOMMU_READ);
		REFUSED(E_RANGE, ~PAGE_MASK, RAM, 2 * PAGE_SIZE, IOMMU_READ);
		REFUSED(E_RANGE, AT, ~PAGE_MASK, 2 * PAGE_SIZE, IOMMU_READ);
		REFUSED(E_ALIGN, AT, RAM, 0, IOMMU_READ);
		REFUSED(E_ALIGN, AT + 1, RAM, PAGE_SIZE, IOMMU_READ);
		REFUSED(E_ALIGN, AT, RAM + 512, PAGE_SIZE, IOMMU_READ);
		REFUSED(E_ALIGN, AT, RAM, PAGE_SIZE - 1, IOMMU_READ);
		REFUSED(E_INVALID, AT, RAM, PAGE_SIZE, 0);
#undef REFUSED
		ATF_CHECK(shut_out(unit_devices[0], AT));
		map(&d, AT, p, PAGE_SIZE, IOMMU_READ);
		ATF_CHECK(reaches(unit_devices[0], AT, p, false));
		NO_VIOLATION(v);
	}
}

/* No call but attach waits, and what was left over is no fault of the unit. */
ATF_TC_WITHOUT_HEAD(unit_no_call_waits_for_one_that_hangs);
ATF_TC_BODY(unit_no_call_waits_for_one_that_hangs, tc)
{
	struct iommu_domain a;
	struct iommu_ticket t, u;
	uint64_t before;

	start(&variants[0]);
	make(&a);
	ATF_REQUIRE_EQ(unit->ops->attach(&a, unit_devices[0]), OK);
	map(&a, AT, RAM, 2 * PAGE_SIZE, IOMMU_READ);
	unit_hang(true);
	before = fake_now;
	t = unmap(&a, AT, 2 * PAGE_SIZE);
	ATF_CHECK_EQ(poll(t), E_WOULD_BLOCK);
	u = unit->ops->detach(&a, unit_devices[0]);
	ATF_CHECK_EQ(poll(u), E_WOULD_BLOCK);
	ATF_CHECK(fake_now - before < 20 * NS_PER_US);
	ATF_CHECK_EQ(fake_broken, 0);
	unit_hang(false);
	ATF_CHECK_EQ(wait_for(u), OK);
	ATF_CHECK_EQ(wait_for(t), OK);
	ATF_CHECK(!unit_reaches(RAM) && shut_out(unit_devices[0], AT));
	NO_VIOLATION(&variants[0]);
}

/* More invalidations than any queue holds: none is lost, no ticket is past too early. */
ATF_TC_WITHOUT_HEAD(unit_a_full_queue_loses_nothing);
ATF_TC_BODY(unit_a_full_queue_loses_nothing, tc)
{
	enum { N = 900 };

	FOR_EACH_VARIANT(v) {
		struct iommu_domain d;
		static struct iommu_ticket t[N];
		uint64_t p;

		start(v);
		make(&d);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, unit_devices[0]), OK);
		p = page(0);
		for (unsigned i = 0; i < N; i++)
			map(&d, AT + i * PAGE_SIZE, p, PAGE_SIZE, IOMMU_READ);
		for (unsigned i = 0; i < N; i += 7)
			ATF_REQUIRE(reaches(unit_devices[0], AT + i * PAGE_SIZE, p, false));
		for (unsigned i = 0; i < N; i++)
			t[i] = unmap(&d, AT + i * PAGE_SIZE, PAGE_SIZE);
		ATF_REQUIRE_EQ_MSG(wait_for(t[N - 1]), OK, "%s", v->name);
		for (unsigned i = 0; i < N; i++)
			ATF_REQUIRE_EQ(wait_for(t[i]), OK);
		ATF_CHECK(!unit_reaches(p));
		frame_free((struct paddr){ p }, 0);
		p = page(0);			/* and it goes on as before */
		map(&d, AT, p, PAGE_SIZE, IOMMU_READ);
		ATF_CHECK(reaches(unit_devices[0], AT, p, false));
		ATF_REQUIRE_EQ(wait_for(unmap(&d, AT, PAGE_SIZE)), OK);
		frame_free((struct paddr){ p }, 0);
		ATF_CHECK_EQ(fake_broken, 0);
		NO_VIOLATION(v);
	}
}

/* D8: a fence's deadline passed; whatever the unit says later. */
ATF_TC_WITHOUT_HEAD(unit_what_the_kernel_gave_up_on_stays_given_up);
ATF_TC_BODY(unit_what_the_kernel_gave_up_on_stays_given_up, tc)
{
	struct iommu_domain d;
	struct iommu_ticket t;

	start(&variants[0]);
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, unit_devices[0]), OK);
	map(&d, AT, page(0), PAGE_SIZE, IOMMU_READ);
	unit_hang(true);
	t = unmap(&d, AT, PAGE_SIZE);
	ATF_CHECK_EQ(poll(t), E_WOULD_BLOCK);
	store_relaxed(&unit->broken, true);
	unit_hang(false);
	ATF_CHECK_EQ(wait_for(t), E_QUARANTINED);
	ATF_CHECK(shut_out(unit_devices[OUTSIDER], AT));
}

#define UNIT_CONFORMANCE(tp) \
	do { \
		ATF_TP_ADD_TC(tp, unit_a_device_reaches_what_its_domain_maps_and_nothing_else); \
		ATF_TP_ADD_TC(tp, unit_nothing_reaches_a_page_when_its_ticket_is_past); \
		ATF_TP_ADD_TC(tp, unit_attach_and_detach_are_asked_for_once_and_answered_right); \
		ATF_TP_ADD_TC(tp, unit_what_cannot_be_mapped_is_refused); \
		ATF_TP_ADD_TC(tp, unit_no_call_waits_for_one_that_hangs); \
		ATF_TP_ADD_TC(tp, unit_a_full_queue_loses_nothing); \
		ATF_TP_ADD_TC(tp, unit_what_the_kernel_gave_up_on_stays_given_up); \
	} while (0)
