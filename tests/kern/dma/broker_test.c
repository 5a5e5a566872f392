/*
 * A domain on the unit that is not there: the same states as on any other, each at once.
 *
 * LINK: kern/dma/broker.c kern/dma/domain.c kern/dma/ledger.c kern/dma/iova.c kern/dma/fence.c
 * LINK: kern/base/itree.c kern/quota.c
 * LINK: kern/base/fmt.c kern/base/str.c tests/lib/fake_kernel.c tests/lib/fake_memory.c
 * LINK: tests/lib/fake_panic.c
 */
#include <atf-c.h>

#include "kern/dma/broker.h"
#include "kern/dma/domain.h"
#include "tests/lib/fake_kernel.h"
#include "tests/lib/fake_memory.h"

ATF_TC_WITHOUT_HEAD(grants_come_and_go_at_once_and_nothing_is_claimed_of_the_hardware);
ATF_TC_BODY(grants_come_and_go_at_once_and_nothing_is_claimed_of_the_hardware, tc)
{
	const struct iommu_ops *ops = broker_unit.ops;
	struct quota q = { .pages_max = 64 };
	struct fake_memory m = { 0 };
	struct dma_fault fault;
	struct dma_domain d;
	struct grant g = { 0 };
	bool lost = true;

	fake_kernel_init(&(struct fake_setup){ 0 });
	fake_memory_add(&m, 2);
	ATF_REQUIRE_EQ(OK, domain_init(&d, &broker_unit, &q, 3));
	ATF_CHECK_EQ(OK, ops->attach(&d.io, 5));
	struct ledger_grant want = {
		.memory = &m.m, .len = 4 * PAGE_SIZE, .generation = 3, .dir = DMA_BOTH
	};
	ATF_REQUIRE_EQ(OK, domain_grant(&d, &g, &want));
	ATF_CHECK_EQ(LEDGER_PUBLISHED, grant_state(&g));
	ATF_CHECK(grant_iova(&g).v >= IOVA_FIRST);	/* a name, never an address of memory */
	ATF_CHECK_EQ(E_UNSUPPORTED, domain_map_doorbell(&d, (struct paddr){ 0x8000000 }));
	ATF_REQUIRE_EQ(OK, domain_revoke(&d, &g));
	ATF_CHECK_EQ(OK, domain_settle(&d, &g));
	ATF_CHECK_EQ(LEDGER_FREE, grant_state(&g));
	ATF_CHECK_EQ(0, ops->sync(&d.io).seq);
	ATF_CHECK_EQ(OK, ops->ticket_poll(&broker_unit, ops->detach(&d.io, 5)));
	ATF_CHECK_EQ(0, ops->drain_faults(&broker_unit, &fault, 1, &lost));
	ATF_CHECK(!lost);
	ATF_CHECK(!broker_unit.facts.fault_log && !broker_unit.facts.interrupt_isolation);
	ops->shut(&broker_unit);
	domain_fini(&d);
	ATF_CHECK_EQ(0, q.pages);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, grants_come_and_go_at_once_and_nothing_is_claimed_of_the_hardware);
	return atf_no_error();
}
