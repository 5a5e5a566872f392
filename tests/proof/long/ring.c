/*
 * Checked rings, with an owner and a device that say anything, and a class that accepts what it
 * likes, at the first look or by its judge.
 *
 * No place of the shadow is written while the device may read it; the device is told of whole
 * batches only; what is pinned is what is outstanding, and each pin ends once; a side page is in
 * one place; what the device says is believed only of what is outstanding and was announced.
 *
 * By induction: it holds of new rings; and from any state at all of which it holds, a batch half
 * published among them, it holds after one more call.  Bounded: rings of three places, one side
 * page, one grant an entry.
 *
 * LINK: kern/dma/ring.c
 * CBMC: --function harness --unwind 4 --slice-formula
 */
#include "kern/base/str.h"
#include "kern/dma/ring_run.h"

enum { N = 3, SLOTS = N - 1, SIDES = 1, GRANTS = 1 };

unsigned nondet_unsigned(void);
_Bool nondet_bool(void);
void panic(const char *format, ...);

static struct dma_ring ring;
static struct xlate_device device;
static struct xlate_slot slot[SLOTS];
static struct xlate_windows windows;
static struct ring_page page[SIDES];
static uint64_t side[SIDES][1], owner[N], shadow[N];
static volatile uint64_t cq[N];
static uint16_t id[N];
static struct ledger_entry grant;
static unsigned pins;

void
panic(const char *format, ...)
{
	(void)format;
	__CPROVER_assert(0, "no assertion of the ring fails");
	__CPROVER_assume(0);
}

enum status
ledger_pin(struct ledger *l, struct ledger_entry *e)
{
	(void)l;
	__CPROVER_assert(e == &grant, "a grant that was named");
	if (nondet_bool())
		return E_STALE;
	pins++;
	return OK;
}

void
ledger_unpin(struct ledger *l, struct ledger_entry *e)
{
	(void)l;
	__CPROVER_assert(e == &grant && pins != 0, "a pin ends once");
	pins--;
}

void *
memcpy(void *to, const void *from, size_t n)
{
	(void)from;
	(void)n;
	return to;
}

/* Places of the shadow that the device may read: announced, and not said to be fetched. */
static bool
is_devices(uint32_t at)
{
	uint32_t n = ring.tail >= ring.fetched ? ring.tail - ring.fetched :
						 ring.tail + N - ring.fetched;

	return (at >= ring.fetched ? at - ring.fetched : at + N - ring.fetched) < n;
}

static enum dma_rule
judge(struct xlate_queue *q, const uint64_t *e, uint64_t *to, struct xlate_verdict *v)
{
	struct xlate_slot *s;
	uint32_t i = nondet_unsigned();

	(void)e;
	__CPROVER_assert(to >= shadow && to < shadow + N && !is_devices((uint32_t)(to - shadow)),
	    "no place that the device may read");
	if (nondet_bool() || i >= q->slots || q->slot[i].busy)
		return RULE_WINDOW;
	s = &q->slot[i];
	s->grants = (uint8_t)(nondet_unsigned() % (GRANTS + 1));
	s->grant[0] = &grant;
	s->answer = 0;
	s->side = nondet_bool() ? q->spare : NULL;
	s->side_address = q->spare_address;
	*v = (struct xlate_verdict){ .id = i,
		.work = s->side == NULL ? 0 : nondet_bool() ? RING_WORK_MAX : 1 };
	return RULE_NONE;
}

static bool
sparse(const uint64_t *e)
{
	(void)e;
	return nondet_bool();
}

static bool
look(struct xlate_queue *q, const uint64_t *e, uint64_t *to, struct ring_plain *p)
{
	uint32_t i = nondet_unsigned();

	(void)e;
	__CPROVER_assert(to >= shadow && to < shadow + N && !is_devices((uint32_t)(to - shadow)),
	    "no place that the device may read");
	if (nondet_bool() || i >= q->slots || q->slot[i].busy)
		return false;
	*p = (struct ring_plain){ .slot = &q->slot[i], .grant = &grant, .id = i };
	return true;
}

static enum dma_rule
judge_run(struct dma_ring *r, uint32_t count, uint32_t *work)
{
	static const struct ring_judge j = {
		.words = 1, .sparse = sparse, .look = look, .judge = judge, .judge_sparse = judge
	};

	__CPROVER_assert(count != 0 && r->next + count <= N, "places of the rings");
	return ring_run(r, count, work, &j);
}

static struct xlate_done
completed(const volatile uint64_t *cqe, bool odd_round)
{
	(void)odd_round;
	__CPROVER_assert(cqe >= cq && cqe < cq + N, "an entry of the completion ring");
	return (struct xlate_done){ .id = nondet_unsigned(), .queue = nondet_unsigned(),
		.head = nondet_unsigned(), .good = nondet_bool(), .fresh = nondet_bool() };
}

static const struct xlate_class class = {
	.sq_words = 1, .cq_words = 1, .judge_run = judge_run, .completed = completed
};

/* What is claimed, of a state between two calls. */
static bool
holds(void)
{
	uint32_t out = ring.tail >= ring.fetched ? ring.tail - ring.fetched :
						   ring.tail + N - ring.fetched;
	uint32_t batch = ring.next >= ring.tail ? ring.next - ring.tail :
						  ring.next + N - ring.tail;
	unsigned held = 0, sides = ring.pages;
	bool sound = ring.tail < N && ring.next < N && ring.head < N && ring.fetched < N &&
	    out < N && batch < N && out + batch < N && ring.pages <= SIDES;

	for (unsigned i = 0; i < SLOTS; i++) {
		const struct xlate_slot *p = &slot[i];

		sound = sound && p->grants <= GRANTS && (p->busy || p->grants == 0) &&
		    p->answer == 0 && (!p->busy || p->side == NULL || p->side == side[0]);
		held += p->busy ? p->grants : 0;
		sides += p->busy && p->side != NULL;
	}
	/* What is accepted and not announced yet is under an id of its own. */
	for (unsigned i = 0; i < N - 1; i++) {
		uint32_t at = ring.tail + i >= N ? ring.tail + i - N : ring.tail + i;

		if (sound && i < batch)
			sound = id[at] < SLOTS && slot[id[at]].busy &&
			    (i == 0 || id[at] != id[ring.tail]);
	}
	return sound && held == pins && sides == SIDES &&
	    ring.q.spare == (ring.pages != 0 ? side[0] : (uint64_t *)NULL) &&
	    (ring.pages == 0 || (page[0].ptr == side[0] && page[0].address == 1));
}

static uint32_t
busy(void)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < SLOTS; i++)
		n += slot[i].busy;
	return n;
}

void
harness(void)
{
	struct ring_refusal why;
	uint32_t before, batch, out, to = nondet_unsigned();
	enum status s;

	ring = (struct dma_ring){ .class = &class, .device = &device, .owner = owner,
		.shadow = shadow, .cq = cq, .id = id, .page = page, .pages = SIDES, .entries = N,
		.q = { .device = &device, .windows = &windows, .id = 1, .slots = SLOTS,
		    .slot = slot } };
	page[0] = (struct ring_page){ side[0], 1 };
	ring_init(&ring);
	__CPROVER_assert(holds(), "it holds of new rings");

	ring.tail = nondet_unsigned();
	ring.next = nondet_unsigned();
	ring.head = nondet_unsigned();
	ring.fetched = nondet_unsigned();
	ring.odd_round = nondet_bool();
	ring.fault = nondet_bool() ? "before" : (const char *)NULL;
	ring.pages = nondet_unsigned();
	ring.q.spare = nondet_bool() ? side[0] : (uint64_t *)NULL;
	ring.q.spare_address = 1;
	pins = nondet_unsigned();
	for (unsigned i = 0; i < N; i++)
		id[i] = (uint16_t)nondet_unsigned();
	for (unsigned i = 0; i < SLOTS; i++)
		slot[i] = (struct xlate_slot){ .busy = nondet_bool(),
			.grants = (uint8_t)nondet_unsigned(), .grant = { &grant },
			.side = nondet_bool() ? side[0] : (uint64_t *)NULL, .side_address = 1 };
	__CPROVER_assume(holds());

	before = ring.tail;
	batch = ring.next >= ring.tail ? ring.next - ring.tail : ring.next + N - ring.tail;
	out = busy();
	switch (nondet_unsigned() % 3) {
	case 0:
		s = ring_publish(&ring, to, &why);
		__CPROVER_assert(s == OK ? ring.tail == to : ring.tail == before,
		    "a batch is announced as a whole, or not at all");
		__CPROVER_assert(s == E_WOULD_BLOCK || ring.next == ring.tail,
		    "what is not announced is taken back");
		__CPROVER_assert(s == OK || s == E_WOULD_BLOCK || busy() == out - batch,
		    "and nothing of it is outstanding");
		break;
	case 1:
		__CPROVER_assume(ring.next == ring.tail);	/* no commit is half done */
		s = ring_consume(&ring, to, &why);
		__CPROVER_assert(s != OK || ring.head == to, "consumed as far as was said");
		__CPROVER_assert(s != E_CORRUPT || ring.fault != NULL,
		    "a device that lies is not believed any more");
		break;
	default:
		ring_clear(&ring);
		__CPROVER_assert(pins == 0 && ring.pages == SIDES, "nothing is left");
	}
	__CPROVER_assert(holds(), "it holds after the call");
}
