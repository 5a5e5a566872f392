/*
 * Addresses in lists, and all addresses there are.
 *
 * The list of a command lies in memory that its driver can write while the kernel reads it, and
 * after.  A second thread changes one entry as fast as it can, between an address that is granted
 * and two that are not: a page that the device may only read, and one that is nobody's.  The first
 * thread changes it, too, as soon as it has rung, and before the device looks.  If any byte of what
 * was checked were fetched again, by the kernel or by the device, the page would change, or the
 * IOMMU would refuse something, or data would not be where the accepted list said (race.c).
 *
 * A sweep asks of each page whether the kernel would let the device write it.  Behind the entry in
 * question stands one that is always refused, so the batch never gets to the device, and the entry
 * that the refusal names is the answer.
 */
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "usr/rogue/rogue.h"

enum { PAGES = 4 };
enum : uint64_t {
	POLL_NS = 20 * NS_PER_US,
	IOVA_FIRST = 4 * GIB, IOVA_STEP = PAGE_SIZE, IOVA_PAGES = 64 * MIB / PAGE_SIZE,
	PHYSICAL_STEP = 64 * KIB, PHYSICAL_PAGES = 3 * GIB / PHYSICAL_STEP,
};

static struct drv_memory list, in;
static uint64_t expected;		/* where the right list leads to */
/* Its word is an entry of the list, and the wrong ones what that must not lead to. */
static struct race running;
static bool spoil;			/* it is changed when it was rung, too */

/* One entry into the first I/O queue, and its completion; nobody else uses that queue. */
static enum status
one(struct nvme_sqe e, uint64_t *rule, uint16_t *code)
{
	struct nvme_ioq *q = &ctrl.ioq[0];
	uint64_t until = now_ns() + 5 * NS_PER_S, at;
	uint32_t tail = (q->tail + 1) % q->entries;
	enum status s;

	q->sq[q->tail] = e;
	if (q->q.checked)
		s = sys6(SYS_queue_commit, q->q.handle, tail, UINT32_MAX, 0, 0, 0, rule, &at);
	else
		s = drv_queue_commit(&q->q, tail, UINT32_MAX);
	if (s != OK)
		return s;
	if (spoil)
		once_store(running.word, running.wrong[q->tail % 2]);
	q->tail = tail;
	while (!nvme_ioq_ready(q)) {
		if (now_ns() > until)
			return E_TIMED_OUT;
		sleep_until(now_ns() + POLL_NS);
	}
	*code = q->cq[q->head].status >> 17 & 0x7ff;
	if (++q->head == q->entries) {
		q->head = 0;
		q->phase ^= CQE_PHASE;
	}
	return drv_queue_commit(&q->q, UINT32_MAX, q->head);
}

/* A read of so many pages into the first of "in" and where the list says. */
static struct nvme_sqe
read_by(uint64_t at, uint32_t pages)
{
	return (struct nvme_sqe){ .cdw0 = IO_READ, .nsid = ctrl.ns[0].nsid, .prp1 = in.iova.v,
		.prp2 = at, .cdw12 = pages * PAGE_SIZE / ctrl.ns[0].block_bytes - 1 };
}

static void
attempt(const char *what, struct nvme_sqe e)
{
	uint64_t rule = RULE_NONE, faults = own_faults();
	uint16_t code = 0;
	enum status s = one(e, &rule, &code);

	if (ctrl.ioq[0].q.checked)
		say(what, s, rule);
	else
		say_mapped(what, faults, s, code);
}

static void
write_list(uint64_t second)
{
	uint64_t *l = list.ptr;

	for (uint32_t i = 0; i < PAGES; i++)
		l[i] = in.iova.v + PAGE_SIZE;
	once_store(&l[1], second);
}

static volatile uint64_t *
second_page(void)
{
	return (uint64_t *)((uint8_t *)in.ptr + 2 * PAGE_SIZE);
}

static enum status
one_round(uint32_t n UNUSED, bool *astray)
{
	uint64_t rule;
	uint16_t code = 0;
	enum status s;

	*second_page() = ~expected;
	s = one(read_by(list.iova.v, PAGES), &rule, &code);
	*astray = code != 0 || *second_page() != expected;
	return s;
}

static void
race_over_a_list(const struct drv_memory *victim)
{
	uint64_t rule, faults = own_faults();
	uint16_t code;

	write_list(in.iova.v + 2 * PAGE_SIZE);
	if (one(read_by(list.iova.v, PAGES), &rule, &code) != OK || code != 0)
		die("no list is accepted");
	expected = *second_page();
	running = (struct race){ .word = (uint64_t *)list.ptr + 1,
		.right = in.iova.v + 2 * PAGE_SIZE,
		.wrong = { victim->iova.v, GUESS } };
	spoil = true;
	race(&running, one_round);
	spoil = false;
	race_say(&running, "PRP list", changed(victim), faults);
}

void
lists(const struct drv_memory *victim)
{
	if (ctrl.ns_count == 0 || ctrl.ns[0].block_bytes > PAGE_SIZE ||
	    drv_memory(&device, PAGE_SIZE, DMA_TO_DEVICE, &list) != OK ||
	    drv_memory(&device, PAGES * PAGE_SIZE, DMA_FROM_DEVICE, &in) != OK)
		die("no start with lists");
	/* The last entry of a list's page is the next page of the list, when more are to come. */
	write_list(in.iova.v + 2 * PAGE_SIZE);
	((uint64_t *)list.ptr)[PRP_ENTRIES - 1] = GUESS;
	attempt("list that goes on in another list", read_by(list.iova.v + PAGE_SIZE - 8, PAGES));
	write_list(GUESS);
	attempt("address in a list", read_by(list.iova.v, PAGES));
	write_list(victim->iova.v);
	attempt("list that leads to a grant for reading", read_by(list.iova.v, PAGES));
	attempt("list in memory that was not granted", read_by(GUESS, PAGES));
	if (ctrl.ioq[0].q.checked) {
		write_list(in.iova.v + 2 * PAGE_SIZE + 8);
		attempt("address in a list not aligned", read_by(list.iova.v, PAGES));
		attempt("list not aligned", read_by(list.iova.v + 4, PAGES));
		attempt("list that the device could write", read_by(in.iova.v, PAGES));
		race_over_a_list(victim);
	}
}

/* Would the kernel let the device write this page? */
static bool
would_pass(uint64_t page)
{
	struct nvme_ioq *q = &ctrl.admin;
	uint32_t next = (q->tail + 1) % q->entries, tail = (q->tail + 2) % q->entries;
	uint64_t rule, at;
	enum status s;

	q->sq[q->tail] = identify(page, 0);
	q->sq[next] = (struct nvme_sqe){ .cdw0 = OPCODE_VENDOR | 1u << 16 };
	s = sys6(SYS_queue_commit, q->q.handle, tail, UINT32_MAX, 0, 0, 0, &rule, &at);
	if (s != E_REFUSED || (at != q->tail && at != next))
		die("a probe was not refused: %s, entry %llu", status_text(s),
		    (unsigned long long)at);
	return at == next;
}

static void
sweep_run(const char *what, uint64_t first, uint64_t step, uint64_t pages,
    const struct drv_memory *const *own, unsigned n)
{
	uint64_t mine = 0, others = 0;

	for (uint64_t i = 0; i < pages; i++) {
		uint64_t page = first + i * step;
		bool owned = false;

		if (!would_pass(page))
			continue;
		for (unsigned k = 0; k < n; k++)
			owned |= range_within(page, PAGE_SIZE, own[k]->iova.v, own[k]->len);
		if (owned)
			mine++;
		else if (others++ == 0)
			log_line(1, "%s: 0x%llx", what, (unsigned long long)page);
	}
	log_line(2, "%s: %llu pages from 0x%llx to 0x%llx, %llu of them its own, %llu others passed",
	    what, (unsigned long long)pages, (unsigned long long)first,
	    (unsigned long long)(first + pages * step), (unsigned long long)mine,
	    (unsigned long long)others);
}

void
sweep(const struct drv_memory *const *own, unsigned n)
{
	sweep_run("addresses of other drivers", IOVA_FIRST, IOVA_STEP, IOVA_PAGES, own, n);
	sweep_run("physical addresses", 0, PHYSICAL_STEP, PHYSICAL_PAGES, own, n);
}
