/*
 * The virtio translator, a whole chain: what the device finds from its head on are pieces that the
 * step for one buffer made, in places of the table that were free or in a table of the kernel's,
 * and nothing else; it finds an end; what is refused changes nothing that it finds (D4).
 *
 * The step is "buffer" in dev/virtio/xlate.c, and tests/proof/virtio_buffer.c proves it by itself,
 * for any state of the walk: its pieces lie in live windows of the owner and of the right
 * direction, their grants are noted, and what was taken before stays.  Here a contract stands in
 * its place.  It asserts that it is called as that proof assumes, and that nobody but it has
 * touched a piece since; then it makes any pieces that the proof lets it make.  So the two are the
 * whole chain: the device is shown nothing but pieces of accepted steps (here), and every byte of
 * such a piece lies in a window (there).  Both at once were too much for the model checker; windows
 * of buffers are not looked at here.
 *
 * For every content of the owner's memory (each look gives another), every set of places that are
 * out, every device, every content of the shadow before, with and without a table that is free.
 * Bounded: ENTRIES places, PIECES pieces (the translator's own bound made smaller: its text is
 * taken in below), one window for tables.
 *
 * CBMC: --function harness --unwind 5 --unwindset harness.1:11,xlate_fetch.0:7
 * CBMC: --slice-formula
 */
#include "kern/base/mmio.h"
#include "kern/dma/xlate.h"
#include "dev/virtio/xlate.h"

enum { ENTRIES = 4, PIECES = 3, GRANTS = 2 };
#define XLATE_PIECES_MAX PIECES
#define XLATE_GRANTS_MAX GRANTS

uint64_t nondet_u64(void);
uint32_t nondet_u32(void);
uint16_t nondet_u16(void);
_Bool nondet_bool(void);

/* The owner changes what was looked at, at any time. */
#undef once_load
#define once_load(p)                                                                              \
	(__CPROVER_assert(__CPROVER_r_ok(p, sizeof(*(p))), "within the queue"),                   \
	    (__typeof__(*(p)))nondet_u64())

/* The definition of "buffer" gets another name; who calls it with its walk, k, gets the contract. */
#define buffer(walk, desc) GOES_TO_##walk, desc)
#define GOES_TO_struct	   proved_by_itself(struct
#define GOES_TO_k	   contract(k

struct walk;
static enum dma_rule contract(struct walk *k, const struct virtq_desc *d);
#include "dev/virtio/xlate.c"

static struct virtq_desc piece[PIECES];	/* what accepted steps made */
static uint32_t made, noted;
static uint64_t writable;

static enum dma_rule
contract(struct walk *k, const struct virtq_desc *d)
{
	uint32_t more = nondet_u32(), j = nondet_u32(), grants = nondet_u32();

	__CPROVER_assert(k->pieces == made && made <= PIECES, "as it was left: pieces");
	__CPROVER_assert(k->grants == noted && noted <= GRANTS, "as it was left: grants");
	__CPROVER_assert(k->writable == writable, "as it was left: what may be written");
	__CPROVER_assume(j < PIECES);
	__CPROVER_assert(j >= made ||
		(k->piece[j].addr == piece[j].addr && k->piece[j].len == piece[j].len &&
		    k->piece[j].flags == piece[j].flags),
	    "nobody else touches a piece");
	if (made == PIECES || nondet_bool()) {
		k->pieces = nondet_u32();
		k->grants = nondet_u32();
		return RULE_WINDOW;
	}
	__CPROVER_assume(more >= 1 && more <= PIECES - made);
	for (uint32_t i = 0; i < PIECES; i++) {
		if (i < made || i >= made + more)
			continue;
		piece[i] = (struct virtq_desc){ .addr = nondet_u64(), .len = nondet_u32(),
			.flags = d->flags & VIRTQ_DESC_F_WRITE };
		k->piece[i] = piece[i];
	}
	made += more;
	k->pieces = made;
	__CPROVER_assume(grants >= noted && grants <= GRANTS);
	k->grants = noted = grants;
	if ((d->flags & VIRTQ_DESC_F_WRITE) != 0) {
		writable += d->len;
		k->writes = true;
	}
	k->writable = writable;
	return RULE_NONE;
}

static struct xlate_window window;
static struct xlate_windows windows = { &window, 0 };

void
xlate_fetch(const struct xlate_window *w, uint64_t at, uint64_t *to, uint32_t n)
{
	__CPROVER_assert(n <= 2 * PIECES && xlate_holds(w, at, 8ull * n) &&
		(w->dir & DMA_TO_DEVICE) != 0 && at % 16 == 0,
	    "only windows that the device may read are read");
	for (uint32_t i = 0; i < 2 * PIECES; i++)
		if (i < n)
			to[i] = nondet_u64();
}

enum { WORDS = 2 * ENTRIES + 2 };	/* the table, and the available ring */
static uint64_t owner[WORDS], shadow[WORDS], before[WORDS], spare[2 * PIECES];
static struct xlate_chain chains[ENTRIES];
static struct xlate_device device;

static_assert(VIRTQ_DESC_F_NEXT == 1);
/* A piece, however it goes on. */
static bool
is_piece(uint64_t addr, uint64_t rest)
{
	bool is = false;

	for (uint32_t i = 0; i < PIECES; i++)
		is = is ||
		    (i < made && addr == piece[i].addr && (uint32_t)rest == piece[i].len &&
			(rest >> 32 & 0xfffe) == piece[i].flags);
	return is;
}

void
harness(void)
{
	struct xlate_split_queue q = { .device = &device, .windows = &windows, .entries = ENTRIES,
		.recent = nondet_u32(), .recent_data = nondet_u32(),
		.owner = (const uint8_t *)owner, .shadow = (uint8_t *)shadow, .chain = chains,
		.spare = nondet_bool() ? spare : NULL, .spare_address = nondet_u64() };
	struct xlate_verdict v;
	uint32_t p = nondet_u32(), at;
	bool ended = false;
	enum dma_rule r;

	window = (struct xlate_window){ .first = nondet_u64() & ~PAGE_MASK,
		.last = nondet_u64() | PAGE_MASK, .dir = nondet_u32() };
	__CPROVER_assume(window.first != 0 && window.first < window.last && window.dir >= 1 &&
	    window.dir <= 3);
	windows.count = nondet_u32();
	__CPROVER_assume(windows.count <= 1);
	device.fact[FACT_FEATURES] = nondet_u64();
	device.fact[FACT_TABLES] = nondet_u64();
	for (uint32_t i = 0; i < ENTRIES; i++)
		chains[i].busy = nondet_bool();
	for (uint32_t i = 0; i < WORDS; i++)
		before[i] = shadow[i] = nondet_u64();
	__CPROVER_assume(p < ENTRIES);

	r = judge_chain(&q, nondet_u16(), &v);
	if (r != RULE_NONE || chains[p].busy)
		__CPROVER_assert(shadow[2 * p] == before[2 * p] &&
			shadow[2 * p + 1] == before[2 * p + 1],
		    "what is refused changes nothing, and what is out is never written");
	if (r != RULE_NONE)
		return;
	__CPROVER_assert(v.id < ENTRIES && !chains[v.id].busy, "a head is a free place");
	__CPROVER_assert(chains[v.id].grants == noted, "what was noted is what will be pinned");
	__CPROVER_assert(chains[v.id].writable == writable, "and counted");
	__CPROVER_assert(made >= 1, "a chain has pieces");
	if (chains[v.id].side != NULL) {
		uint32_t j = nondet_u32();
		uint64_t rest = shadow[2 * v.id + 1];

		__CPROVER_assert(q.spare != NULL && chains[v.id].side == spare &&
			shadow[2 * v.id] == q.spare_address && (uint32_t)rest == 16 * made &&
			rest >> 32 == VIRTQ_DESC_F_INDIRECT,
		    "the head names the kernel's table");
		__CPROVER_assume(j < made);
		__CPROVER_assert(spare[2 * j] == piece[j].addr &&
			(uint32_t)spare[2 * j + 1] == piece[j].len &&
			(spare[2 * j + 1] >> 32 & 0xffff) ==
			    (uint64_t)(piece[j].flags | (j + 1 < made ? VIRTQ_DESC_F_NEXT : 0)) &&
			spare[2 * j + 1] >> 48 == (j + 1 < made ? j + 1 : 0),
		    "in it are the pieces, one behind the other");
		return;
	}
	at = v.id;
	for (uint32_t i = 0; i < ENTRIES && !ended; i++) {
		uint64_t rest = shadow[2 * at + 1];

		__CPROVER_assert(is_piece(shadow[2 * at], rest), "the device finds pieces only");
		ended = (rest >> 32 & VIRTQ_DESC_F_NEXT) == 0;
		at = (uint32_t)(rest >> 48);
		__CPROVER_assert(ended || at < ENTRIES, "it stays in the table");
	}
	__CPROVER_assert(ended, "and finds an end");
}
