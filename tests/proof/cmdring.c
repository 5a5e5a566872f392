/*
 * The command ring, over every sequence of calls on a ring of four slots, where numbers pass 32
 * bits, with a device that consumes what it was shown whenever it likes.
 *
 * No slot is written while the device may read it; the ring never overflows, and a sync always
 * finds room; the device consumes each command once; a ticket is past only when its sync was
 * consumed (or reported) by the device, and every command before the ticket was then consumed.
 *
 * LINK: dev/iommu/cmdring.c
 * CBMC: --function harness --unwind 9
 */
#include "dev/iommu/cmdring.h"

enum { LG2 = 2, SLOTS = 1 << LG2, CALLS = 6 };

unsigned nondet_unsigned(void);
void panic(const char *format, ...);

static uint64_t slots[SLOTS][2];
static struct cmdring ring;
static uint64_t fetched;	/* by the device, absolute */

void
panic(const char *format, ...)
{
	(void)format;
	__CPROVER_assert(0, "no assertion of the ring fails");
	__CPROVER_assume(0);
}

void
unit_host_store(uint64_t *p, uint64_t v)
{
	unsigned i = (unsigned)(p - &slots[0][0]) / 2;

	__CPROVER_assert(
	    p >= &slots[0][0] && p < &slots[0][0] + 2 * SLOTS, "a store into the ring");
	for (unsigned n = 0; n < SLOTS; n++)
		if (fetched + n < ring.shown)
			__CPROVER_assert(
			    (fetched + n) % SLOTS != i, "the device may read this slot");
	*p = v;
}

void unit_host_publish(void) {}
void cache_clean(const void *p, size_t len) { (void)p; (void)len; }
uint64_t
unit_host_read(const volatile void *b, uint32_t o, unsigned n)
{
	(void)b;
	(void)o;
	(void)n;
	return 0;
}
void
unit_host_write(volatile void *b, uint32_t o, unsigned n, uint64_t v)
{
	(void)b;
	(void)o;
	(void)n;
	(void)v;
}

void
harness(void)
{
	bool wrap = nondet_unsigned() % 2 != 0;
	const uint64_t start = 0xfffffffd, syncs = 0xfffffffe;
	uint64_t sync_end[CALLS + 1];	/* position after each sync of this run */
	uint64_t ticket = 0, covers = 0, synced;
	unsigned made = 0;
	bool watch = false;

	cmdring_init(&ring, slots, LG2, wrap ? CMDRING_WRAP : CMDRING_PLAIN, true);
	ring.tail = ring.shown = ring.head = fetched = start;
	ring.syncs = ring.done = synced = syncs;
	for (unsigned n = 0; n < CALLS; n++) {
		uint32_t producer, mask = wrap ? 2 * SLOTS - 1 : SLOTS - 1;

		switch (nondet_unsigned() % 6) {
		case 0:
			for (unsigned i = nondet_unsigned() % 3; i != 0 && cmdring_room(&ring) > 1;
			    i--)
				cmdring_put(&ring, 1, 2);
			if (cmdring_room(&ring) == 0)
				break;
			cmdring_put(&ring, 1, 2);
			if (!watch && nondet_unsigned() % 2 != 0) {
				watch = true;
				ticket = cmdring_ticket(&ring).seq;
				covers = ring.tail;
			}
			break;
		case 1:
			if (ring.open) {
				cmdring_sync(&ring, 3, 4);
			} else if (cmdring_fence(&ring, 3, 4, &producer)) {
				__CPROVER_assert(
				    producer == ((uint32_t)ring.tail & mask), "the producer index");
				if (!watch) {
					watch = true;
					ticket = cmdring_ticket(&ring).seq;
					covers = ring.tail - 1;
				}
			} else {
				break;
			}
			sync_end[made++] = ring.tail;
			break;
		case 2:
			if (cmdring_show(&ring, &producer))
				__CPROVER_assert(
				    producer == ((uint32_t)ring.tail & mask), "the producer index");
			break;
		case 3:
			fetched += nondet_unsigned() % SLOTS;
			__CPROVER_assume(fetched <= ring.shown);
			break;
		case 4:
			__CPROVER_assert(cmdring_consumed(&ring, (uint32_t)fetched & mask),
			    "the truth is accepted");
			__CPROVER_assert(ring.head == fetched, "the index is unfolded");
			break;
		default:
			/* A device that reports the syncs which it reached. */
			for (unsigned i = 0; i < CALLS; i++)
				if (i < made && sync_end[i] <= fetched)
					synced = syncs + i + 1;
			if (!wrap)
				__CPROVER_assert(cmdring_reported(&ring, (uint32_t)synced),
				    "the truth is accepted");
		}
		__CPROVER_assert(ring.head <= ring.shown && ring.shown <= ring.tail, "order");
		__CPROVER_assert(
		    ring.tail - ring.head <= (wrap ? SLOTS : SLOTS - 1), "no overflow");
		__CPROVER_assert(!ring.open || ring.tail - ring.head < (wrap ? SLOTS : SLOTS - 1),
		    "room for a sync");
		if (watch && cmdring_past(&ring, (struct iommu_ticket){ ticket })) {
			__CPROVER_assert(
			    ticket - syncs - 1 < made, "a sync that was never written is past");
			__CPROVER_assert(sync_end[ticket - syncs - 1] <= fetched,
			    "a sync that was not consumed is past");
			__CPROVER_assert(sync_end[ticket - syncs - 1] > covers,
			    "a sync does not cover its command");
		}
	}
}
