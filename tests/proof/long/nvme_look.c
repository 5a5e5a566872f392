/*
 * The first look of the NVMe translator: what it accepts without its judge, entries of one page or
 * two (look) and longer ones (with_list), reaches live windows of the owner only, in their
 * direction, or the kernel's own.
 *
 * As tests/proof/nvme_xlate.c has it for judge, of what is sparse, and with the slot as
 * kern/dma/ring_run.h fills it.  Bounded: lists of at most five words, which is a turn of four and
 * a rest.
 *
 * CBMC: --function harness --unwind 4 --slice-formula --unwindset any_state.3:9,copy_list.0:5
 * CBMC: --unwindset copy_list.1:5,copy_list.2:3,copy_list.3:6,copy_list.4:5,copy_rest.0:6
 * CBMC: --unwindset reach_data.0:8
 */
enum { LIST = 5 };

#include "tests/proof/nvme_any.h"

void
harness(void)
{
	struct xlate_slot slot[SLOTS];
	struct xlate_queue q;		/* hints among the rest: anything */
	struct xlate_verdict v;
	struct ring_plain plain;
	struct piece piece;
	uint64_t e[8], out[8];
	uint32_t id = nondet_bool();

	any_state(&q, slot, id, e);
	__CPROVER_assume(q.id != 0 && sparse(e));
	if (nondet_bool()) {
		if (!look(&q, e, out, &plain))
			return;
		__CPROVER_assert(plain.id == id && plain.slot == &slot[id], "an id that was free");
		__CPROVER_assert(plain.grant == (void *)&window[0] ||
			plain.grant == (void *)&window[1],
		    "a grant to pin");
	} else {
		if (!in_one_piece(&q, e, &piece) || piece.end <= 2 * PAGE_SIZE ||
		    with_list(&q, e, out, &v, &piece) != RULE_NONE)
			return;
		__CPROVER_assert(v.id == id && piece.slot == &slot[id], "an id that was free");
		__CPROVER_assert(slot[id].grants >= 1 && slot[id].grants <= XLATE_GRANTS_MAX &&
			v.work <= XLATE_SIDE_WORDS,
		    "bounds of the verdict");
		__CPROVER_assert(slot[id].side == side && q.spare == side && slot[id].answer == 0,
		    "a page that the device is told of is taken, and there was one");
	}
	device.fact[3] = 0;
	__CPROVER_assert(reach_io(out), "a command that the manual describes");
}
