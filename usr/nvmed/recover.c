/*
 * Commands that do not end, controllers that stop.
 *
 *   slow_s     a command without an answer is called slow, once, by name
 *   abort_s    it is aborted; a controller that obeys completes it, and its client gets E_TIMED_OUT
 *   GRACE_S    later, a command that is still there means a controller reset
 *
 * A reset comes at once when the controller stops (CSTS.CFS), or when a completion breaks a rule:
 * then nothing that it says is believed any more.  After the reset no request of before can move
 * data.  Only then the request that caused it is answered, and all others are put again in the new
 * queues; one that was in flight during two resets fails, and one of a session that closes ends
 * here, as its answer reaches nobody.  A controller that does not come back, or
 * needs RESETS_MAX resets in RESETS_NS, is given up by name: this process ends, its device is taken
 * apart and reset as a whole (D7), and its clients give their requests to a successor (D12).
 */
#include "kern/base/bits.h"
#include "usr/nvmed/nvmed.h"

enum { GRACE_S = 5, RESETS_MAX = 4 };
enum : uint64_t { RESETS_NS = 600 * NS_PER_S };

bool
recover_again(void)
{
	server.retry = false;
	while (server.again != NULL) {
		struct request *r = server.again;
		enum status e = nvme_ioq_put(r->q, &r->io);

		r->faults = server.faults;
		r->own_faults = server.own_faults;
		if (e == E_WOULD_BLOCK)
			return false;
		server.again = r->next;
		if (e != OK)
			request_done(r, e, 0);
		else
			server.dirty |= 1u << (r->q->id - 1);
	}
	return true;
}

static bool
was_aborted(const struct request *r)
{
	for (uint32_t i = 0; i < r->q->entries - 1; i++)
		if (r->q->slot[i].state == SLOT_ABORTED && r->q->slot[i].cookie == r)
			return true;
	return false;
}

void
recover_reset(const char *reason)
{
	static uint64_t first_ns;
	static uint32_t count;
	static bool given_up[REQUESTS];
	uint64_t now = now_ns();
	const char *why = "";
	enum status s;

	if (server.careless)
		return;
	if (count == 0 || now - first_ns > RESETS_NS) {
		first_ns = now;
		count = 0;
	}
	if (++count > RESETS_MAX)
		die("given up after %u resets: %s", RESETS_MAX, reason);
	log_line(
	    1, "%s: the controller is reset, with %u requests in flight", reason, server.inflight);
	for (uint32_t i = 0; i < REQUESTS; i++)
		given_up[i] = server.request[i].session != NULL && was_aborted(&server.request[i]);
	s = nvme_ctrl_restart(&server.ctrl, &why);
	if (s != OK)
		die("given up: the reset failed: %s (%s)", why, status_text(s));
	/* Nothing moves data any more; the list is built backwards, so it is walked backwards to
	 * keep the order of slots. */
	server.again = NULL;
	for (uint32_t i = REQUESTS; i-- != 0; ) {
		struct request *r = &server.request[i];

		if (r->session == NULL)
			continue;
		if (given_up[i] || r->session->closing || ++r->resets == 2) {
			request_done(r, given_up[i] ? E_TIMED_OUT : E_IO, 0);
			continue;
		}
		r->next = server.again;
		server.again = r;
	}
	server.retry = server.again != NULL;
	log_line(2, "the controller is back, %u requests are put again", server.inflight);
}

/* The age of one command; false when the controller had to be reset. */
static bool
judge_age(struct nvme_ioq *q, uint32_t i)
{
	struct nvme_slot *slot = &q->slot[i];
	const struct request *r = slot->cookie;
	uint32_t age = q->now - slot->since;

	if (slot->state == SLOT_FREE || r == NULL)
		return true;
	if (slot->state == SLOT_ABORTED) {
		if (age < GRACE_S)
			return true;
		recover_reset("a command did not end when it was aborted");
		return false;
	}
	if (age == server.slow_s)
		complain("%s of %u blocks at %llu, namespace %u: no answer for %u s",
		    request_text(r), r->io.blocks, (unsigned long long)r->io.lba, r->io.nsid, age);
	if (server.abort_s == 0 || age < server.abort_s)
		return true;
	log_line(1, "%s of %u blocks at %llu, namespace %u: no answer for %u s: aborted",
	    request_text(r), r->io.blocks, (unsigned long long)r->io.lba, r->io.nsid, age);
	slot->since = q->now;
	if (nvme_ctrl_abort(&server.ctrl, q, i) == E_TIMED_OUT) {
		recover_reset("the controller does not answer an abort");
		return false;
	}
	return true;
}

void
recover_tick(void)
{
	const char *trouble = nvme_ctrl_trouble(&server.ctrl);

	server.tick++;
	for (uint32_t k = 0; k < server.ctrl.ioq_count; k++)
		server.ctrl.ioq[k].now = server.tick;
	if (trouble != NULL) {
		recover_reset(trouble);
		return;
	}
	for (uint32_t k = 0; k < server.ctrl.ioq_count; k++)
		for (uint32_t i = 0; i < server.ctrl.ioq[k].entries - 1; i++)
			if (!judge_age(&server.ctrl.ioq[k], i))
				return;
}
