/*
 * The NVMe translator: accepted implies that every byte which the device may touch lies in a live
 * window of the owner, and in its direction, or is the kernel's own (D2, D4, D5).
 *
 * For every entry, every table of up to two windows, every block size, every content of the
 * driver's memory (each look gives another), every state of the queues that the kernel bound.  What
 * the device then does is tests/lib/nvme_reach.h, from the manual.  Bounded: lists of at most two
 * entries (a longer one runs the same loop), deltas that leave the low 47 bits.  Hints say what
 * they like.  This is judge, which sees whatever the first look does not accept: that one is proved
 * in long/nvme_look.c, the loop around both in long/ring.c.
 *
 * CBMC: --function harness --unwind 4 --slice-formula
 * CBMC: --unwindset any_state.3:9,copy_list.0:5,copy_list.1:5,copy_list.4:5
 */
enum { LIST = 2 };

#include "tests/proof/nvme_any.h"

void
harness(void)
{
	struct xlate_slot slot[SLOTS];
	struct xlate_queue q;		/* hints among the rest: anything */
	struct xlate_verdict v;
	uint64_t e[8], out[8];
	uint32_t id = nondet_bool();
	enum dma_rule r;

	any_state(&q, slot, id, e);
	r = judge(&q, e, out, &v);
	if (r != RULE_NONE)
		return;
	__CPROVER_assert(v.id == id, "an id that was free");
	__CPROVER_assert(slot[id].grants <= XLATE_GRANTS_MAX && v.work <= XLATE_SIDE_WORDS,
	    "bounds of the verdict");
	__CPROVER_assert((v.work == 0 && (q.id != 0 || slot[id].answer == 0)) ||
		(slot[id].side == side && q.spare == side),
	    "a page that the device is told of is taken, and there was one");
	if (q.id == 0 && ((uint8_t)out[0] == 0x01 || (uint8_t)out[0] == 0x05)) {
		uint32_t n = (uint32_t)out[5] & 0xffff;

		__CPROVER_assert(n != 0 && n < 3 && device.queue[n].bound &&
			!device.queue[n].used &&
			out[3] ==
			    ((uint8_t)out[0] == 0x05 ? device.queue[n].cq_address :
						       device.queue[n].sq_address) &&
			out[4] == 0 && ((uint32_t)out[5] >> 16) + 1 == device.queue[n].entries,
		    "a queue is what the kernel bound");
		return;
	}
	device.fact[3] = q.id == 0 && slot[id].answer != 0;
	if (q.id == 0)
		__CPROVER_assert(reach_admin(out), "a command that the manual describes");
	else
		__CPROVER_assert(reach_io(out), "a command that the manual describes");
}
