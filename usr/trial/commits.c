/*
 * What a call of queue_commit costs by its parts, between marks (tests/bench/run): reads of 8 KiB
 * by two addresses, published alone and in batches, and their completions, consumed apart from it
 * and together with new entries; and some of 64 and 128 KiB, by lists of addresses.
 * 64 windows stand in the table; an entry uses that of the one before, or another.  Each was used
 * before: a driver's buffers come again and again.
 */
#include "dev/nvme/ctrl.h"
#include "kern/base/bits.h"
#include "usr/lib/drv.h"
#include "usr/trial/trial.h"

enum { ROUNDS = 100, BATCH = 9, WINDOWS = 64, PAGES = 2, SHORT = 16, LONG = 32 };
enum : uint64_t { POLL_NS = 20 * NS_PER_US, PATIENCE_NS = 5 * NS_PER_S };

static struct drv_device device;
static struct nvme_ctrl ctrl;
static struct drv_memory memory[WINDOWS], large, list;

/* n reads into the ring, each of another window than the one before, or all of that one; the place
 * behind them. */
static uint32_t
put(struct nvme_ioq *q, unsigned n, bool another)
{
	static unsigned window;
	uint32_t at = q->tail;

	for (unsigned i = 0; i < n; i++) {
		const struct drv_memory *m = &memory[window = (window + another) % WINDOWS];

		q->sq[at] = (struct nvme_sqe){ .cdw0 = IO_READ | i << 16,
			.nsid = ctrl.ns[0].nsid,
			.prp1 = m->iova.v,
			.prp2 = m->iova.v + PAGE_SIZE,
			.cdw12 = PAGES * PAGE_SIZE / ctrl.ns[0].block_bytes - 1 };
		at = (at + 1) % q->entries;
	}
	return at;
}

/* A read of so many pages by a list of all but the first. */
static uint32_t
put_list(struct nvme_ioq *q, unsigned pages)
{
	uint64_t *entry = list.ptr;

	for (unsigned i = 1; i < pages; i++)
		entry[i - 1] = large.iova.v + i * PAGE_SIZE;
	q->sq[q->tail] = (struct nvme_sqe){ .cdw0 = IO_READ,
		.nsid = ctrl.ns[0].nsid,
		.prp1 = large.iova.v,
		.prp2 = list.iova.v,
		.cdw12 = pages * PAGE_SIZE / ctrl.ns[0].block_bytes - 1 };
	return (q->tail + 1) % q->entries;
}

/* Until the device has answered n; the place behind them. */
static uint32_t
answers(struct nvme_ioq *q, unsigned n)
{
	uint64_t until = now_ns() + PATIENCE_NS;
	uint32_t at = q->head;

	for (; n != 0; n--) {
		while (((q->cq[at].status ^ q->phase) & CQE_PHASE) != 0) {
			if (now_ns() > until)
				die("the device does not answer");
			sleep_until(now_ns() + POLL_NS);
		}
		if ((q->cq[at].status >> 17) != 0)
			die("a read failed");
		if (++at == q->entries) {
			at = 0;
			q->phase ^= CQE_PHASE;
		}
	}
	return at;
}

/* What was answered, not measured. */
static void
consume(struct nvme_ioq *q)
{
	if (drv_queue_commit(&q->q, UINT32_MAX, q->head) != OK)
		die("a completion is refused");
}

#define COMMIT(id, tail, head) do { \
	enum status s_; \
	MARK(id); \
	s_ = drv_queue_commit(&q->q, tail, head); \
	MARK(id + 1); \
	if (s_ != OK) \
		die("commit: %s", status_text(s_)); \
} while (0)

void
commits(void)
{
	struct nvme_ioq *q = &ctrl.ioq[0];
	const char *why = "";
	uint64_t h;

	device.handle = claim_checked();
	if (sys_ntfn_create(&h) != OK)
		die("no notification");
	device.ntfn = (handle_t)h;
	if (nvme_ctrl_start(&ctrl, &device, 1, 64, &why) != OK || ctrl.ns_count == 0)
		die("controller not usable: %s", why);
	for (unsigned i = 0; i < WINDOWS; i++)
		if (drv_memory(&device, PAGES * PAGE_SIZE, DMA_FROM_DEVICE, &memory[i]) != OK)
			die("no memory");
	if (drv_memory(&device, LONG * PAGE_SIZE, DMA_FROM_DEVICE, &large) != OK ||
	    drv_memory(&device, PAGE_SIZE, DMA_TO_DEVICE, &list) != OK)
		die("no memory");
	for (unsigned i = 0; i < WINDOWS; i++) {
		q->tail = put(q, 1, true);
		if (drv_queue_commit(&q->q, q->tail, UINT32_MAX) != OK)
			die("an entry is refused");
		q->head = answers(q, 1);
		consume(q);
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		q->tail = put(q, 1, true);
		COMMIT(22, q->tail, UINT32_MAX);
		q->head = answers(q, 1);
		COMMIT(28, UINT32_MAX, q->head);
		q->tail = put(q, 1, false);
		COMMIT(20, q->tail, UINT32_MAX);
		q->head = answers(q, 1);
		COMMIT(28, UINT32_MAX, q->head);
		q->tail = put(q, BATCH, false);
		COMMIT(24, q->tail, UINT32_MAX);
		q->head = answers(q, BATCH);
		COMMIT(30, UINT32_MAX, q->head);
		q->tail = put(q, BATCH, true);
		COMMIT(26, q->tail, UINT32_MAX);
		q->head = answers(q, BATCH);
		COMMIT(30, UINT32_MAX, q->head);
		q->tail = put_list(q, LONG);
		COMMIT(32, q->tail, UINT32_MAX);
		q->head = answers(q, 1);
		consume(q);
		q->tail = put_list(q, SHORT);
		COMMIT(38, q->tail, UINT32_MAX);
		q->head = answers(q, 1);
		consume(q);
		q->tail = put(q, 1, true);
		COMMIT(34, q->tail, q->head);
		q->head = answers(q, 1);
		COMMIT(28, UINT32_MAX, q->head);
		q->tail = put(q, BATCH, true);
		COMMIT(26, q->tail, UINT32_MAX);
		q->head = answers(q, BATCH);
		q->tail = put(q, BATCH, true);
		COMMIT(36, q->tail, q->head);
		q->head = answers(q, BATCH);
		COMMIT(30, UINT32_MAX, q->head);
	}
	print("trial: %u turns taken apart\n", ROUNDS);
}
