/*
 * The NVMe translator: accepted implies that every byte which the device may touch lies in a live
 * window of the owner, and in its direction, or is the kernel's own (D2, D4, D5).
 *
 * For every entry, every table of up to two windows, every block size, every content of the
 * driver's memory (each look gives another), every state of the queues that the kernel bound, and
 * whatever the hints say: so it holds of entries that the first look accepts, and of those that
 * judge does.  What the device then does is tests/lib/nvme_reach.h, from the manual.  Bounded:
 * lists of at most LIST entries (a turn of four at once and the rest; a longer one runs the same
 * loops), deltas that leave the low 47 bits.
 *
 * LINK: dev/nvme/xlate.c dev/nvme/xlate_regs.c kern/dma/ring.c
 * CBMC: --function harness --unwind 4 --slice-formula --unwindset ring_run.0:9,ring_run.1:9
 * CBMC: --unwindset ring_run.2:9,ring_run.3:2,harness.3:9,copy_list.0:5,copy_list.1:5
 * CBMC: --unwindset copy_list.2:3,copy_list.3:5,copy_rest.0:5,ring_accept.0:7,ring_accept.1:7
 * CBMC: --unwindset reach_data.0:7
 */
#include "dev/nvme/xlate.h"
#include "kern/dma/ring_run.h"
#include "tests/lib/nvme_reach.h"

enum { WINDOWS = 2, LIST = 4, SLOTS = 2, ADDRESS_BITS = 47, NSID = 1 };
enum : uint64_t { SIDE = 0x7000000 };

uint64_t nondet_u64(void);
uint32_t nondet_u32(void);
uint8_t nondet_u8(void);
_Bool nondet_bool(void);

static struct xlate_window window[WINDOWS];
static struct xlate_windows windows = { window, 0 };
static uint64_t side[LIST + 3]; /* the part that is used: longer lists are cut off in xlate_word */
static struct xlate_device device;
static uint32_t fetched;
static uint64_t fetched_at;

void
panic(const char *format, ...)
{
	(void)format;
	__CPROVER_assert(0, "no assertion of the ring fails");
	__CPROVER_assume(0);
}

void *
memcpy(void *to, const void *from, size_t n)
{
	(void)from;
	(void)n;
	return to;
}

enum status
ledger_pin(struct ledger *l, struct ledger_entry *e)
{
	(void)l;
	(void)e;
	return nondet_bool() ? OK : E_STALE;
}

void
ledger_unpin(struct ledger *l, struct ledger_entry *e)
{
	(void)l;
	(void)e;
}

uint64_t
xlate_word(const struct xlate_window *w, uint64_t at)
{
	__CPROVER_assert(at % 8 == 0 && xlate_holds(w, at, 8), "only windows are read");
	__CPROVER_assert((w->dir & DMA_TO_DEVICE) != 0, "and only what the device may read");
	__CPROVER_assert(fetched == 0 || at > fetched_at, "no word is read twice");
	__CPROVER_assume(fetched < LIST);
	fetched_at = at;
	fetched++;
	return nondet_u64();
}

uint64_t
reach_load(uint64_t at)
{
	__CPROVER_assert(at >= SIDE && at < SIDE + 8ull * fetched && at % 8 == 0,
	    "of the side page, only what was copied");
	return side[(at - SIDE) / 8];
}

void
reach_touch(uint64_t at, uint64_t len, bool write)
{
	bool ok = false;

	if (at >= SIDE && at + len <= SIDE + PAGE_SIZE)
		ok = write ? device.fact[3] != 0 : true; /* fact[3]: an answer is expected there */
	for (uint32_t i = 0; i < WINDOWS; i++)
		if (i < windows.count && at - window[i].delta >= window[i].first &&
		    at - window[i].delta <= window[i].last &&
		    len - 1 <= window[i].last - (at - window[i].delta) &&
		    (window[i].dir & (write ? DMA_FROM_DEVICE : DMA_TO_DEVICE)) != 0)
			ok = true;
	__CPROVER_assert(ok, "every byte lies in a window of its direction");
}

uint64_t
reach_block(uint32_t nsid)
{
	return nsid == NSID && device.lg2[NSID] != 0 ? 1ull << device.lg2[NSID] : 0;
}

void
harness(void)
{
	struct xlate_slot slot[SLOTS];
	struct ring_page page = { side, SIDE };
	struct dma_ring r;		/* hints among the rest: anything */
	uint64_t e[8], out[8], end = 0;
	uint32_t id = nondet_bool(), work = 0;
	uint16_t ids = 0;
	bool spare = nondet_bool();
	uint8_t lg2 = nondet_u8();

	/* Windows: whole pages, sorted, apart: what window_add keeps; or closed. */
	windows.count = nondet_u32();
	__CPROVER_assume(windows.count <= WINDOWS);
	for (uint32_t i = 0; i < WINDOWS; i++) {
		uint64_t first = nondet_u64() & ~PAGE_MASK, last = nondet_u64() | PAGE_MASK;

		__CPROVER_assume(first != 0 && last < 1ull << ADDRESS_BITS &&
		    (first < last || last == first - 1) && (i == 0 || first > end));
		end = first < last ? last : first;
		window[i] = (struct xlate_window){ .first = first,
			.last = last,
			.delta = nondet_u64() << ADDRESS_BITS,
			.dir = nondet_u32(),
			.grant = nondet_bool() ? (void *)&window[0] : (void *)&window[1] };
		__CPROVER_assume(window[i].dir >= 1 && window[i].dir <= 3);
	}
	__CPROVER_assume(lg2 == 0 || (lg2 >= 9 && lg2 <= 16));
	device.lg2[NSID] = lg2;
	device.queues = 3;
	device.vectors = nondet_u32();
	for (uint32_t i = 0; i < 3; i++) {
		device.queue[i].bound = nondet_bool();
		device.queue[i].used = nondet_bool();
		device.queue[i].entries = nondet_u32() % 1024 + 1;
		device.queue[i].sq_name = nondet_u64();
		device.queue[i].cq_name = nondet_u64();
		device.queue[i].sq_address = nondet_u64();
		device.queue[i].cq_address = nondet_u64();
	}
	for (uint32_t i = 0; i < SLOTS; i++) {
		slot[i].busy = i != id;
	}
	for (unsigned i = 0; i < 8; i++)
		e[i] = nondet_u64();
	/* One namespace is as good as another: this one, or one that nobody identified. */
	__CPROVER_assume(e[0] >> 32 == NSID || e[0] >> 32 == 0 || e[0] >> 32 >= XLATE_TARGETS_MAX);

	r.class = &nvme_xlate;
	r.owner = e;
	r.shadow = out;
	r.id = &ids;
	r.page = &page;
	r.pages = spare;
	r.entries = 2;
	r.next = 0;
	r.q.device = &device;
	r.q.windows = &windows;
	r.q.id = nondet_bool();
	r.q.slots = SLOTS;
	r.q.slot = slot;
	r.q.spare = spare ? side : (uint64_t *)NULL;
	r.q.spare_address = SIDE;
	if (nvme_xlate.judge_run(&r, 1, &work) != RULE_NONE) {
		__CPROVER_assert(r.next == 0 && !slot[id].busy && r.pages == spare,
		    "what is refused is not outstanding");
		return;
	}
	work -= RING_WORK_ENTRY;
	__CPROVER_assert(r.next == 1 && ids == id && slot[id].busy, "an id that was free");
	__CPROVER_assert(slot[id].grants <= XLATE_GRANTS_MAX && work <= XLATE_SIDE_WORDS,
	    "bounds of the verdict");
	__CPROVER_assert((work == 0 && (r.q.id != 0 || slot[id].answer == 0)) ||
		(slot[id].side == side && spare && r.pages == 0),
	    "a page that the device is told of is taken, and there was one");
	if (r.q.id == 0 && ((uint8_t)out[0] == 0x01 || (uint8_t)out[0] == 0x05)) {
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
	device.fact[3] = r.q.id == 0 && slot[id].answer != 0;
	if (r.q.id == 0)
		__CPROVER_assert(reach_admin(out), "a command that the manual describes");
	else
		__CPROVER_assert(reach_io(out), "a command that the manual describes");
}
