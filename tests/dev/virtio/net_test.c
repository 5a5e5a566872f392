/*
 * The network driver against a strict device (tests/lib/model_virtio.h): what it counts as a broken
 * rule would be a driver's mistake on real hardware.  And against a device that lies.
 */
/* LINK: dev/virtio/net.c dev/virtio/pci.c dev/virtio/queue.c
 * LINK: tests/lib/fake_drv.c tests/lib/model_virtio.c */
#include <atf-c.h>
#include <string.h>

#include "dev/virtio/net.h"
#include "kern/base/bits.h"
#include "tests/lib/model_virtio.h"

static struct drv_device dev;
static struct model_virtio model;
static struct virtio_net net;
static struct drv_memory area;
static const char *why;
static const uint8_t plain[10];
static uint8_t packet[66000];

static void
power_up(void)
{
	model_virtio_init(&model, &dev, 1);
	memset(&net, 0, sizeof(net));
	why = "";
	for (uint32_t i = 0; i < sizeof(packet); i++)
		packet[i] = (uint8_t)(i * 7 + (i >> 8));
}

static void
start(uint32_t pairs)
{
	ATF_REQUIRE_EQ_MSG(vnet_start(&net, &dev, pairs, &why), OK, "%s", why);
	ATF_REQUIRE_EQ(drv_memory(&dev, 64 * PAGE_SIZE, DMA_BOTH, &area), OK);
}

static void
end(void)
{
	ATF_CHECK_EQ_MSG(model.broken_rules, 0, "%s", model.rule);
	ATF_CHECK_EQ(dev.faults, 0);
	model_virtio_fini(&model);
}

/* Posts buffers of half a page, cookie i at i * 2048. */
static void
post(struct vnet_pair *p, uint32_t from, uint32_t count)
{
	for (uint32_t i = from; i < from + count; i++)
		ATF_REQUIRE_EQ(
		    vnet_post(p, (struct iova){ area.iova.v + i * 2048 + 18 }, 2030, i), OK);
	ATF_REQUIRE_EQ(virtq_commit(&p->rx), OK);
}

/* The next packet, put together; its length, or -1. */
static int
receive(struct vnet_pair *p, uint8_t *to, struct vnet_ask *says)
{
	struct vnet_got g = { 0 };
	uint32_t n = 0;

	(void)virtq_look(&p->rx);
	while (!g.last) {
		if (!vnet_take(p, &g))
			return -1;
		ATF_CHECK_EQ(g.first, n == 0);
		if (g.first && says != NULL)
			*says = g.says;
		memcpy(to + n, g.lead, g.lead_bytes);
		n += g.lead_bytes;
		memcpy(to + n, (uint8_t *)area.ptr + g.cookie * 2048 + 18, g.bytes);
		n += g.bytes;
	}
	return (int)n;
}

static void
refused(enum status s, const char *reason)
{
	ATF_CHECK_EQ(vnet_start(&net, &dev, 1, &why), s);
	ATF_CHECK_MSG(strstr(why, reason) != NULL, "%s", why);
}

ATF_TC_WITHOUT_HEAD(bring_up_breaks_no_rule);
ATF_TC_BODY(bring_up_breaks_no_rule, tc)
{
	power_up();
	start(4);
	ATF_CHECK_EQ(net.pair_count, 1);
	ATF_CHECK_EQ(net.mtu, 1500);
	ATF_CHECK_EQ(memcmp(net.mac, (uint8_t[6]){ 0x52, 0x54, 0, 1, 2, 3 }, 6), 0);
	ATF_CHECK(net.link);
	ATF_CHECK(!model.promiscuous);
	ATF_CHECK(model.all_multicast);
	ATF_CHECK_EQ(model.config_vector, 0);
	ATF_CHECK_EQ(model.q[0].vector, 1);
	ATF_CHECK_EQ(model.q[1].vector, 2);
	ATF_CHECK_EQ(vnet_trouble(&net), NULL);
	end();
}

ATF_TC_WITHOUT_HEAD(each_pair_of_queues_has_its_vectors);
ATF_TC_BODY(each_pair_of_queues_has_its_vectors, tc)
{
	power_up();
	model.queues = 9;
	model.config[8] = 4;
	start(3);
	ATF_CHECK_EQ(net.pair_count, 3);
	ATF_CHECK_EQ(model.pairs, 3);
	ATF_CHECK_EQ(model.q[5].vector, 6);
	ATF_CHECK(!model.q[6].enabled);
	ATF_CHECK(model.q[8].enabled);
	end();
	power_up();
	dev.vectors = 2;
	start(1);
	ATF_CHECK_EQ(model.q[0].vector, 1);
	ATF_CHECK_EQ(model.q[1].vector, 1);
	end();
	power_up();
	dev.vectors = 0;
	start(1);
	ATF_CHECK(net.polled);
	end();
}

ATF_TC_WITHOUT_HEAD(a_device_that_cannot_be_driven_is_refused_by_name);
ATF_TC_BODY(a_device_that_cannot_be_driven_is_refused_by_name, tc)
{
	power_up();
	dev.config[0] = 0x86;
	refused(E_UNSUPPORTED, "no virtio device");
	end();
	power_up();
	dev.config[6] = 0;
	refused(E_UNSUPPORTED, "legacy interface");
	end();
	power_up();
	model.offers &= ~BIT(32);
	refused(E_UNSUPPORTED, "VIRTIO_F_VERSION_1");
	end();
	power_up();
	model.offers &= ~BIT(5);
	refused(E_UNSUPPORTED, "no address");
	end();
	power_up();
	model.refuses_features = true;
	refused(E_UNSUPPORTED, "features");
	end();
	power_up();
	model.queues = 1;
	refused(E_UNSUPPORTED, "queues");
	end();
	power_up();
	model.no_vectors = true;
	refused(E_NO_MEMORY, "vector");
	end();
	power_up();
	model.control_fails = true;
	refused(E_IO, "control queue");
	end();
	power_up();
	model.control_silent = true;
	refused(E_TIMED_OUT, "control queue");
	end();
	power_up();
	model.status = 0xff;
	refused(E_NO_DEVICE, "all ones");
	model.status = 0;
	end();
	power_up();
	model.never_resets = true;
	model.status = 7;
	refused(E_TIMED_OUT, "did not reset");
	end();
}

/* The control queue comes after all pairs that the device could have.  Where queues are checked,
 * only XLATE_QUEUES_MAX of them are shown. */
ATF_TC_WITHOUT_HEAD(a_control_queue_that_cannot_be_had_is_named);
ATF_TC_BODY(a_control_queue_that_cannot_be_had_is_named, tc)
{
	power_up();
	model.queues = 9;
	model.config[8] = 4;
	start(1);
	ATF_CHECK_EQ(net.pair_count, 1);
	end();
	power_up();
	model.queues = 9;
	model.config[8] = 5;
	ATF_CHECK_EQ(vnet_start(&net, &dev, 1, &why), E_UNSUPPORTED);
	ATF_CHECK_STREQ(why, "its control queue comes after more queues than can be had");
}

/* Pairs are a wish: a device that offers them and then refuses works with the first. */
ATF_TC_WITHOUT_HEAD(a_device_that_refuses_its_pairs_is_used_with_one);
ATF_TC_BODY(a_device_that_refuses_its_pairs_is_used_with_one, tc)
{
	static uint8_t got[70000];

	power_up();
	model.queues = 9;
	model.config[8] = 4;
	model.refuses_pairs = true;
	start(4);
	ATF_CHECK_EQ(net.pair_count, 1);
	ATF_CHECK_STREQ(dev.log, "the device refuses 4 pairs of queues: one is used");
	for (unsigned round = 0; round < 2; round++) {
		post(&net.pair[0], 0, 20);
		ATF_REQUIRE(model_virtio_receive(&model, 0, plain, packet, 5000));
		ATF_CHECK_EQ(receive(&net.pair[0], got, NULL), 5000);
		ATF_REQUIRE_EQ(vnet_restart(&net, &why), OK);
		ATF_CHECK_EQ(net.pair_count, 1);
	}
	end();
	/* One that had them has buffers in all of them: it is not the same any more. */
	power_up();
	model.queues = 9;
	model.config[8] = 4;
	start(4);
	model.refuses_pairs = true;
	ATF_CHECK_EQ(vnet_restart(&net, &why), E_CORRUPT);
	ATF_CHECK_STREQ(why, "it has fewer pairs of queues than it had");
	end();
	/* And one that never answers is not driven. */
	power_up();
	model.queues = 9;
	model.config[8] = 4;
	model.control_silent = true;
	ATF_CHECK_EQ(vnet_start(&net, &dev, 4, &why), E_TIMED_OUT);
	end();
}

/* Each capability that is wrong in itself does not count; then there is none left. */
ATF_TC_WITHOUT_HEAD(capabilities_are_not_believed);
ATF_TC_BODY(capabilities_are_not_believed, tc)
{
	static const struct { uint8_t at, byte; } wrong[] = {
		{ 0x44, 6 }, { 0x42, 12 }, { 0x4d, 0x40 }, { 0x49, 0x60 }, { 0x4c, 16 },
		{ 0x48, 2 }, { 0x72, 16 }, { 0x63, 9 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		power_up();
		dev.config[wrong[i].at] = wrong[i].byte;
		refused(E_UNSUPPORTED, "legacy interface");
		end();
	}
	power_up();
	dev.config[0x71] = 0x40;	/* a list without an end */
	start(1);
	end();
	power_up();
	dev.config[0x83] = 0x10;	/* notify registers far apart */
	ATF_CHECK_EQ(vnet_start(&net, &dev, 1, &why), E_CORRUPT);
	end();
}

ATF_TC_WITHOUT_HEAD(configuration_is_read_until_it_stands_still);
ATF_TC_BODY(configuration_is_read_until_it_stands_still, tc)
{
	power_up();
	model.restless = 20;
	start(1);
	end();
	power_up();
	model.restless = 100000;
	refused(E_IO, "configuration");
	end();
}

ATF_TC_WITHOUT_HEAD(features_come_with_what_they_depend_on);
ATF_TC_BODY(features_come_with_what_they_depend_on, tc)
{
	power_up();
	start(1);
	ATF_CHECK(vnet_has(&net, VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_HOST_TSO6));
	ATF_CHECK(!vnet_has(&net, VIRTIO_F_INDIRECT_DESC));
	end();
	power_up();
	model.offers &= ~BIT(15);
	start(1);
	ATF_CHECK(!vnet_has(&net, VIRTIO_NET_F_GUEST_TSO4));
	end();
	power_up();
	model.offers &= ~BIT(0);
	start(1);
	ATF_CHECK(!vnet_has(&net, VIRTIO_NET_F_HOST_TSO4));
	end();
	power_up();
	model.offers &= ~BIT(17);
	model.queues = 2;
	start(4);
	ATF_CHECK_EQ(net.pair_count, 1);
	ATF_CHECK(!vnet_has(&net, VIRTIO_NET_F_MQ));
	ATF_CHECK_EQ(vnet_promiscuous(&net, true), E_UNSUPPORTED);
	end();
}

ATF_TC_WITHOUT_HEAD(packets_go_out_with_their_header);
ATF_TC_BODY(packets_go_out_with_their_header, tc)
{
	struct vnet_ask ask = { .flags = NET_HDR_F_NEEDS_CSUM,
		.gso_type = NET_HDR_GSO_TCPV4,
		.header_bytes = 54,
		.gso_size = 1460,
		.csum_start = 34,
		.csum_offset = 16 };
	struct virtq_part parts[3];
	struct virtq_done d;

	power_up();
	start(1);
	memcpy(area.ptr, packet, 20000);
	parts[0] = (struct virtq_part){ { area.iova.v }, 54 };
	parts[1] = (struct virtq_part){ { area.iova.v + 54 }, 9946 };
	parts[2] = (struct virtq_part){ { area.iova.v + 10000 }, 10000 };
	for (unsigned round = 0; round < 1000; round++) {
		ATF_REQUIRE_EQ(vnet_send(&net.pair[0], parts, 3, &ask, round), OK);
		ATF_REQUIRE_EQ(virtq_commit(&net.pair[0].tx), OK);
		ATF_CHECK_EQ(model.sent_bytes, 20012);
		ATF_CHECK_EQ(memcmp(model.sent + 12, packet, 20000), 0);
		ATF_CHECK_EQ(
		    memcmp(model.sent,
			(uint8_t[12]){ 1, 1, 54, 0, 1460 & 255, 1460 >> 8, 34, 0, 16, 0, 0, 0 },
			12),
		    0);
		ATF_REQUIRE_EQ(virtq_look(&net.pair[0].tx), 1);
		ATF_REQUIRE(virtq_take(&net.pair[0].tx, &d));
		ATF_CHECK_EQ(d.cookie, round);
	}
	ATF_CHECK_EQ(vnet_send(&net.pair[0], parts, 0, &ask, 0), E_INVALID);
	ATF_CHECK_EQ(vnet_send(&net.pair[0], parts, VNET_PARTS + 1, &ask, 0), E_INVALID);
	end();
}

ATF_TC_WITHOUT_HEAD(a_full_queue_says_so_and_goes_on);
ATF_TC_BODY(a_full_queue_says_so_and_goes_on, tc)
{
	struct vnet_ask ask = { 0 };
	struct virtq_part part;
	struct virtq_done d;
	unsigned n = 0;

	power_up();
	start(1);
	model.hold = true;
	part = (struct virtq_part){ area.iova, 60 };
	while (vnet_send(&net.pair[0], &part, 1, &ask, n) == OK)
		n++;
	ATF_CHECK_EQ(n, 128);
	virtq_arm(&net.pair[0].tx, 95);
	ATF_REQUIRE_EQ(virtq_commit(&net.pair[0].tx), OK);
	ATF_CHECK_EQ(model.sent_count, 0);
	model_virtio_release(&model);
	ATF_CHECK_EQ(model.q[1].interrupts, 1);
	ATF_CHECK_EQ(virtq_look(&net.pair[0].tx), 128);
	for (n = 0; virtq_take(&net.pair[0].tx, &d); n++)
		ATF_CHECK_EQ(d.cookie, n);
	ATF_CHECK_EQ(n, 128);
	ATF_CHECK_EQ(vnet_send(&net.pair[0], &part, 1, &ask, 0), OK);
	end();
}

ATF_TC_WITHOUT_HEAD(packets_of_any_length_arrive_as_they_were);
ATF_TC_BODY(packets_of_any_length_arrive_as_they_were, tc)
{
	static const uint32_t lengths[] = { 14, 60, 1514, 2029, 2030, 2031, 2042, 2043, 4071, 4072,
		4073, 9014, 65550 };
	static uint8_t got[70000];
	const uint8_t header[10] = { 1, 4, 74, 0, 1440 & 255, 1440 >> 8, 54, 0, 16, 0 };
	struct vnet_ask says;
	uint32_t posted;

	power_up();
	start(1);
	post(&net.pair[0], 0, 60);
	posted = 60;
	for (unsigned i = 0; i < 500; i++) {
		uint32_t len = lengths[i % ARRAY_SIZE(lengths)];
		int n;

		ATF_REQUIRE(model_virtio_receive(&model, 0, header, packet, len));
		n = receive(&net.pair[0], got, &says);
		ATF_REQUIRE_EQ_MSG(n, (int)len, "%d, %u", n, len);
		ATF_CHECK_EQ(memcmp(got, packet, len), 0);
		ATF_CHECK_EQ(says.gso_type, 4);
		ATF_CHECK_EQ(says.gso_size, 1440);
		ATF_CHECK_EQ(says.csum_start, 54);
		/* As many again; which of them it was does not matter here. */
		while (net.pair[0].rx.outstanding < 60) {
			post(&net.pair[0], posted % 60, 1);
			posted++;
		}
	}
	end();
}

ATF_TC_WITHOUT_HEAD(what_a_device_lies_about_ends_its_queue);
ATF_TC_BODY(what_a_device_lies_about_ends_its_queue, tc)
{
	static uint8_t got[70000];

	for (enum vmodel_lie lie = VLIE_ID; lie <= VLIE_UNENDED; lie++) {
		int n = 0;

		power_up();
		start(1);
		post(&net.pair[0], 0, 20);
		model.lie = lie;
		model.lie_after = lie >= VLIE_SHORT ? 0 : 2;
		for (unsigned i = 0; i < 4 && n >= 0; i++) {
			(void)model_virtio_receive(&model, 0, plain, packet, 100);
			n = receive(&net.pair[0], got, NULL);
			ATF_CHECK(n < 0 || n == 100);
		}
		ATF_CHECK_EQ_MSG(n, -1, "lie %d", lie);
		ATF_CHECK_MSG(vnet_fault(&net) != NULL, "lie %d", lie);
		ATF_CHECK_EQ(virtq_look(&net.pair[0].rx), 0);
		ATF_CHECK_EQ(vnet_post(&net.pair[0], area.iova, 2000, 0), E_WOULD_BLOCK);
		/* A reset makes everything as new. */
		ATF_REQUIRE_EQ(vnet_restart(&net, &why), OK);
		ATF_CHECK_EQ(vnet_trouble(&net), NULL);
		post(&net.pair[0], 0, 20);
		ATF_REQUIRE(model_virtio_receive(&model, 0, plain, packet, 5000));
		ATF_CHECK_EQ(receive(&net.pair[0], got, NULL), 5000);
		end();
	}
}

ATF_TC_WITHOUT_HEAD(a_reset_in_the_middle_of_a_packet_forgets_it);
ATF_TC_BODY(a_reset_in_the_middle_of_a_packet_forgets_it, tc)
{
	static uint8_t got[70000];
	struct vnet_got g;

	power_up();
	start(1);
	post(&net.pair[0], 0, 20);
	ATF_REQUIRE(model_virtio_receive(&model, 0, plain, packet, 9000));
	ATF_REQUIRE_EQ(virtq_look(&net.pair[0].rx), 5);
	ATF_REQUIRE(vnet_take(&net.pair[0], &g));
	ATF_CHECK(g.first && !g.last);
	ATF_REQUIRE_EQ(vnet_restart(&net, &why), OK);
	ATF_CHECK(!vnet_take(&net.pair[0], &g));
	post(&net.pair[0], 0, 20);
	ATF_REQUIRE(model_virtio_receive(&model, 0, plain, packet, 300));
	ATF_CHECK_EQ(receive(&net.pair[0], got, NULL), 300);
	end();
}

ATF_TC_WITHOUT_HEAD(a_device_that_came_back_as_another_is_given_up);
ATF_TC_BODY(a_device_that_came_back_as_another_is_given_up, tc)
{
	power_up();
	start(1);
	model.offers &= ~BIT(15);
	ATF_CHECK_EQ(vnet_restart(&net, &why), E_CORRUPT);
	end();
	power_up();
	start(1);
	model.queue_max = 64;
	ATF_CHECK_EQ(vnet_restart(&net, &why), E_CORRUPT);
	end();
}

ATF_TC_WITHOUT_HEAD(link_address_and_announcements_are_told);
ATF_TC_BODY(link_address_and_announcements_are_told, tc)
{
	static const uint8_t mac[6] = { 2, 1, 2, 3, 4, 5 };

	power_up();
	start(1);
	model.config[6] = 0;
	ATF_REQUIRE_EQ(vnet_config(&net), OK);
	ATF_CHECK(!net.link);
	model.config[6] = 3;
	ATF_REQUIRE_EQ(vnet_config(&net), OK);
	ATF_CHECK(net.link);
	ATF_CHECK_EQ(net.announces, 1);
	ATF_CHECK_EQ(model.config[6], 1);
	ATF_REQUIRE_EQ(vnet_config(&net), OK);
	ATF_CHECK_EQ(net.announces, 1);
	ATF_REQUIRE_EQ(vnet_set_mac(&net, mac), OK);
	ATF_CHECK_EQ(memcmp(model.config, mac, 6), 0);
	ATF_REQUIRE_EQ(vnet_promiscuous(&net, true), OK);
	ATF_CHECK(model.promiscuous);
	/* Both are as they were after a reset, which makes the device forget. */
	model.status |= 64;
	ATF_CHECK(vnet_trouble(&net) != NULL);
	model.promiscuous = false;
	model.config[5] = 0;
	ATF_REQUIRE_EQ(vnet_restart(&net, &why), OK);
	ATF_CHECK(model.promiscuous);
	ATF_CHECK_EQ(memcmp(model.config, mac, 6), 0);
	ATF_CHECK_EQ(vnet_trouble(&net), NULL);
	model.status = 0xff;
	ATF_CHECK(vnet_trouble(&net) != NULL);
	end();
}

ATF_TC_WITHOUT_HEAD(a_batch_that_the_kernel_refuses_is_a_fault);
ATF_TC_BODY(a_batch_that_the_kernel_refuses_is_a_fault, tc)
{
	power_up();
	start(1);
	dev.commit_status = E_REFUSED;
	ATF_REQUIRE_EQ(vnet_post(&net.pair[0], area.iova, 2000, 0), OK);
	ATF_CHECK_EQ(virtq_commit(&net.pair[0].rx), E_REFUSED);
	ATF_CHECK(vnet_fault(&net) != NULL);
	end();
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, bring_up_breaks_no_rule);
	ATF_TP_ADD_TC(tp, each_pair_of_queues_has_its_vectors);
	ATF_TP_ADD_TC(tp, a_device_that_cannot_be_driven_is_refused_by_name);
	ATF_TP_ADD_TC(tp, a_control_queue_that_cannot_be_had_is_named);
	ATF_TP_ADD_TC(tp, a_device_that_refuses_its_pairs_is_used_with_one);
	ATF_TP_ADD_TC(tp, capabilities_are_not_believed);
	ATF_TP_ADD_TC(tp, configuration_is_read_until_it_stands_still);
	ATF_TP_ADD_TC(tp, features_come_with_what_they_depend_on);
	ATF_TP_ADD_TC(tp, packets_go_out_with_their_header);
	ATF_TP_ADD_TC(tp, a_full_queue_says_so_and_goes_on);
	ATF_TP_ADD_TC(tp, packets_of_any_length_arrive_as_they_were);
	ATF_TP_ADD_TC(tp, what_a_device_lies_about_ends_its_queue);
	ATF_TP_ADD_TC(tp, a_reset_in_the_middle_of_a_packet_forgets_it);
	ATF_TP_ADD_TC(tp, a_device_that_came_back_as_another_is_given_up);
	ATF_TP_ADD_TC(tp, link_address_and_announcements_are_told);
	ATF_TP_ADD_TC(tp, a_batch_that_the_kernel_refuses_is_a_fault);
	return atf_no_error();
}
