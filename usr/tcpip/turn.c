/*
 * The service's turn, apart from where it waits.
 *
 * Packets first, then what clients kicked, then timers; then everybody is shown what is new.
 */
#include "kern/base/bits.h"
#include "lwip/init.h"
#include "lwip/mld6.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/timeouts.h"
#include "usr/tcpip/port/heap.h"
#include "usr/tcpip/tcpip.h"

/* lwIP looks after multicast groups ten times a second, whether there is something to report or
 * not; its other timers may come so much later when nothing is under way. */
enum : uint64_t { REST_NS = NS_PER_S / 2 };

static uint64_t probe_ns;

static void
seed(void)
{
	uint64_t random[4] = { 0 }, n;

	if (sys_info(start_handle("kernel"), INFO_RANDOM, 0, (uint64_t)(uintptr_t)random,
		sizeof(random), &n) != OK)
		die("the kernel gives no random numbers");
	random_seed(random, sizeof(random));
}

/* Half of what this process may have is for lwIP. */
static void
measure(void)
{
	struct process_info p;
	uint64_t n;

	if (sys_info(HANDLE_NONE, INFO_PROCESS, 0, (uint64_t)(uintptr_t)&p, sizeof(p), &n) == OK)
		heap_limit((p.pages_max - min_u64(p.pages, p.pages_max)) / 2);
}

void
tcpip_init(const char *args)
{
	uint64_t h;

	tcpip.endpoint = start_handle("tcpip");
	tcpip.init = start_handle("init");
	tcpip.manager = start_handle("devmgr");
	if (sys_ntfn_create(&h) != OK)
		die("no memory");
	tcpip.ntfn = (handle_t)h;
	if (sys_handle_dup(h, RIGHT_SIGNAL | RIGHT_GIVE, &h) != OK)
		die("no memory");
	tcpip.signal = (handle_t)h;
	turn_ns = now_ns();
	seed();
	measure();
	lwip_init();
	ask_init();
	nif_init(args);
	probe_ns = turn_ns + NS_PER_S;
}

bool
tcpip_turn(void)
{
	bool any;

	turn_ns = now_ns();
	any = nif_turn();
	any |= session_kicks();
	netif_poll_all();
	if (sys_timeouts_sleeptime() == 0) {
		ask_timers(true);
		sys_check_timeouts();
		ask_timers(false);
	}
	ask_expire();
	gone_turn();
	lost_turn();
	if (turn_ns >= probe_ns) {
		session_probe();
		probe_ns = turn_ns + NS_PER_S;
	}
	nif_kick();
	session_publish();
	return any;
}

/* Nothing is under way that has to be on time. */
static bool
rests(void)
{
	const struct mld_group *g = NULL;

	if (tcp_active_pcbs != NULL || tcp_tw_pcbs != NULL)
		return false;
	if (nif_configured())
		g = netif_mld6_data(nif_netif());
	for (; g != NULL; g = g->next)
		if (g->timer != 0)
			return false;
	return true;
}

bool
tcpip_may_sleep(uint64_t *until)
{
	uint64_t ask = ask_next_ns();

	*until = min_u64(min_u64(ask, gone_next_ns()), min_u64(lost_next_ns(), nif_next_ns()));
	/* Without an interface and without connections lwIP has nothing to time. */
	if (nif_configured() || tcp_active_pcbs != NULL || tcp_tw_pcbs != NULL ||
	    ask != DEADLINE_NEVER)
		*until = min_u64(*until,
		    turn_ns + max_u64((uint64_t)sys_timeouts_sleeptime() * NS_PER_MS,
				  rests() ? REST_NS : 0));
	if (tcpip.live != 0 || tcpip.lingering != NULL)
		*until = min_u64(*until, probe_ns);
	return nif_may_sleep() && session_may_sleep();
}

void
tcpip_woke(void)
{
	session_woke();
	nif_woke();
}
