/*
 * The TCP/IP service: the loop.
 *
 * It sleeps when a turn found nothing to do.  Calls are taken then, and now and then between turns.
 */
#include "usr/tcpip/tcpip.h"

enum { CALLS_EVERY = 16 };		/* turns without a pause */

int
main(void)
{
	uint32_t busy = 0;

	tcpip_init(start_info->args);
	for (;;) {
		bool any = tcpip_turn();
		uint64_t deadline;
		struct msg m;

		if (any && ++busy % CALLS_EVERY != 0)
			continue;
		if (any || !tcpip_may_sleep(&deadline))
			deadline = 0;
		if (msg_recv(tcpip.endpoint, tcpip.ntfn, &m, deadline) == OK && !m.notification)
			session_call(&m);
		tcpip_woke();
	}
}
