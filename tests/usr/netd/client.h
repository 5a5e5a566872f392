/*
 * An honest client of the packet server, for tests: a session, its area, packets each way.  One
 * program has one.
 *
 *   power_up, begin ... finish, end      a machine; a session; the server has then what it had
 */
#pragma once

#include <atf-c.h>
#include <string.h>

#include "tests/usr/netd/world.h"

enum { AREA_PAGES = 128, AREA = AREA_PAGES * 4096, RX = 0, TX = 64 * 4096, BUFFER = 2048 };

static struct net n;
static uint8_t *area;
static handle_t area_handle, ntfn;
static struct world_held at_rest;
static const uint8_t plain[10];
static uint8_t packet[66000];

static void
power_up(unsigned pairs, const char *args)
{
	world_power_up(pairs);
	ATF_REQUIRE_MSG(world_start(args), "%s", world_dead());
	at_rest = world_held();
	area = world_memory(AREA_PAGES, &area_handle);
	ntfn = world_ntfn();
	for (uint32_t i = 0; i < sizeof(packet); i++)
		packet[i] = (uint8_t)(i * 7 + (i >> 8));
}

static void
begin(void)
{
	ATF_REQUIRE_EQ(net_open(&n, WORLD_NETD, area_handle, area, AREA, ntfn, 1), OK);
}

/* Nobody has a session: the server has what it began with. */
static void
check_at_rest(void)
{
	struct world_held now = world_held();

	world_settle();
	ATF_CHECK_EQ(now.handles, at_rest.handles);
	ATF_CHECK_EQ(now.maps, at_rest.maps);
	ATF_CHECK_EQ(now.grants, at_rest.grants);
}

UNUSED static void
finish(void)
{
	net_close(&n);
	check_at_rest();
}

static void
end(void)
{
	ATF_CHECK_EQ_MSG(world_nic.broken_rules, 0, "%s", world_nic.rule);
	ATF_CHECK_EQ(world_device.faults, 0);
	ATF_CHECK_MSG(world_dead() == NULL, "%s", world_dead());
	world_end();
}

static void
post(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		ATF_REQUIRE_EQ(net_post(&n, RX + i * BUFFER, BUFFER, i), OK);
	net_kick(&n);
	world_settle();
}

/* One packet of so many bytes arrives and is read; its length. */
static int
read_one(void)
{
	static uint8_t got[70000];
	struct net_rx r = { .flags = NET_MORE };
	uint32_t bytes = 0;

	world_settle();
	while ((r.flags & NET_MORE) != 0) {
		if (!net_next_rx(&n, &r))
			return -1;
		memcpy(got + bytes, area + RX + r.cookie * BUFFER + r.first, r.bytes);
		bytes += r.bytes;
	}
	ATF_CHECK_EQ(memcmp(got, packet, bytes), 0);
	return (int)bytes;
}

static enum status
send_one(uint32_t bytes, uint16_t flow)
{
	struct net_tx t = { .cookie = 77, .at = TX, .bytes = bytes, .flow = flow };
	enum status s = E_WOULD_BLOCK;
	uint32_t cookie = 0;

	memcpy(area + TX, packet, bytes);
	ATF_REQUIRE_EQ(net_put(&n, &t, 1), OK);
	net_kick(&n);
	world_settle();
	if (!net_next_sent(&n, &cookie, &s))
		return E_TIMED_OUT;
	ATF_CHECK_EQ(cookie, 77);
	return s;
}

/* A session as it should be: both ways. */
UNUSED static void
works(void)
{
	uint32_t sent = world_nic.sent_count;

	begin();
	post(40);
	ATF_CHECK_EQ(send_one(1000, 0), OK);
	ATF_CHECK_EQ(world_nic.sent_count, sent + 1);
	ATF_CHECK_EQ(world_nic.sent_bytes, 1012);
	ATF_CHECK_EQ(memcmp(world_nic.sent + 12, packet, 1000), 0);
	ATF_REQUIRE(model_virtio_receive(&world_nic, 0, plain, packet, 1514));
	ATF_CHECK_EQ(read_one(), 1514);
	ATF_CHECK_EQ(net_turn(&n), OK);
	ATF_CHECK_EQ(n.lies, 0);
	finish();
}
