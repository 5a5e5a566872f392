/*
 * The attacks on a virtio device: on the control queue of a NIC, whose commands are a few bytes to
 * the device and one back.
 *
 * A refused batch leaves the queue as it was, so each chain goes to the same place of the available
 * ring.  One that was accepted all the same is waited for and given back.  Between the attacks a
 * command that is as it should be shows that the device still works.
 *
 * In the race (race.c) a second thread changes one descriptor as fast as it can, between an address
 * that is granted and two that are not, and the first changes it, too, as soon as it has published
 * the chain.  If anything of what was checked were fetched again, the page that the device may only
 * read would change, the IOMMU would refuse something, or the answer would not be where the
 * accepted chain said.
 */
#include "dev/virtio/net.h"
#include "dev/virtio/pci.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "usr/rogue/rogue.h"

enum { ENTRIES = 16, STORM = 20'000 };
enum : uint16_t { CONTROL = 2, W = VIRTQ_DESC_F_WRITE, N = VIRTQ_DESC_F_NEXT,
	I = VIRTQ_DESC_F_INDIRECT };
enum : uint32_t { TABLE_AT = 1024, CHAIN_PIECES = 64, UNTOUCHED = 0x77 };
enum : uint64_t {
	POLL_NS = 20 * NS_PER_US,
	WANTED = VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX | VIRTIO_F_INDIRECT_DESC,
};

static struct virtio_pci pci;
static struct virtq q;
/* Two pages for the device to write; one for it to read, and one that it may read and does not: of
 * a write through what it has cached for reading the emulator's VT-d tells nothing. */
static struct drv_memory in, out, still;
static uint16_t next, taken;		/* indices of the available and the used ring */

static void
put(uint32_t place, uint64_t at, uint32_t len, uint16_t flags, uint16_t then)
{
	q.desc[place] = (struct virtq_desc){ at, len, flags, then };
}

/* A command as it should be, from place 0: its answer goes to the first byte of "in". */
static void
put_command(uint64_t answer)
{
	uint8_t *c = out.ptr;

	c[0] = NET_CTRL_RX;
	c[1] = NET_CTRL_RX_PROMISC;
	c[2] = 0;
	put(0, out.iova.v, 3, N, 1);
	put(1, answer, 1, W, 0);
}

static enum status
commit(uint16_t avail, uint16_t used, uint64_t *rule)
{
	uint64_t entry;

	*rule = RULE_NONE;
	if (!q.ring.checked)
		return drv_vring_commit(&q.ring, avail, used);
	return sys6(SYS_queue_commit, q.ring.handle, avail, used, QUEUE_SPLIT, 0, 0, rule, &entry);
}

/* Everything that was accepted comes back. */
static enum status
settle(void)
{
	uint64_t until = now_ns() + 5 * NS_PER_S, rule;

	while (once_load(&q.used[1]) != next) {
		if (now_ns() > until)
			return E_TIMED_OUT;
		sleep_until(now_ns() + POLL_NS);
	}
	taken = next;
	return commit(next, taken, &rule);
}

static enum status
publish(uint16_t head, uint64_t *rule)
{
	enum status s;

	q.avail[2 + next % ENTRIES] = head;
	s = commit((uint16_t)(next + 1), taken, rule);
	if (s == OK)
		next++;
	return s;
}

static void
chain(const char *what, uint16_t head)
{
	uint64_t rule;
	enum status s = publish(head, &rule);

	say(what, s, rule);
	if (s == OK && settle() != OK)
		die("%s: it does not come back", what);
}

/* Where the driver notifies: the IOMMU has to refuse what the device does, and to say so. */
static void
attempt(const char *what, uint64_t question, uint64_t answer)
{
	uint64_t faults = own_faults(), rule;
	enum status s;

	put_command(answer);
	q.desc[0].addr = question;
	if (q.ring.checked) {
		chain(what, 0);
		return;
	}
	s = publish(0, &rule);
	if (s == OK)
		s = settle();
	say_mapped(what, faults, s, 0);
}

static void
works(const char *when)
{
	uint64_t rule;
	uint8_t *answer = in.ptr;

	put_command(in.iova.v);
	once_store(answer, UNTOUCHED);
	if (publish(0, &rule) != OK || settle() != OK)
		die("%s: a command is not taken: %s", when, dma_rule_text((enum dma_rule)rule));
	log_line(2, "a command %s: answered %u", when, once_load(answer));
	once_store(answer, PATTERN);
}

/* ---- What only the kernel's checks refuse ---- */

static void
chains(void)
{
	struct virtq_desc *table = (struct virtq_desc *)((uint8_t *)out.ptr + TABLE_AT);
	uint64_t at = out.iova.v + TABLE_AT, rule;

	put(0, out.iova.v, 3, N, 1);
	put(1, in.iova.v, 1, W | N, 2);
	put(2, in.iova.v, 1, W | N, 1);
	chain("loop of descriptors", 0);
	put(0, out.iova.v, 3, N, 0);
	chain("descriptor that leads to itself", 0);
	put_command(in.iova.v);
	q.desc[0].next = ENTRIES;
	chain("descriptor that leads out of the table", 0);
	chain("head out of the table", ENTRIES);
	chain("head far out of the table", UINT16_MAX);
	for (uint16_t i = 0; i < ENTRIES; i++)
		put(i, out.iova.v + i, 1, N, (uint16_t)((i + 1) % ENTRIES));
	chain("chain longer than the queue", 3);
	put_command(in.iova.v);
	q.desc[1].flags |= 8;
	chain("unknown flags", 0);
	put_command(in.iova.v);
	q.desc[1].len = 0;
	chain("empty buffer", 0);
	put(0, in.iova.v, 1, W | N, 1);
	put(1, out.iova.v, 3, 0, 0);
	chain("to be read behind what is written", 0);

	/* Tables. */
	table[0] = (struct virtq_desc){ out.iova.v, 3, N, 1 };
	table[1] = (struct virtq_desc){ in.iova.v, 1, W, 0 };
	put(0, at, 32, I, 0);
	table[1].flags = I;
	chain("table within a table", 0);
	table[1].flags = W | N;
	chain("loop in a table", 0);
	table[1].next = 2;
	chain("descriptor that leads out of its table", 0);
	table[1] = (struct virtq_desc){ GUESS, 1, W, 0 };
	chain("address in a table", 0);
	table[1].addr = still.iova.v;
	chain("table that leads to a grant for reading", 0);
	put(0, at, 32, I | N, 1);
	chain("table in a chain", 0);
	put(0, at, 33, I, 0);
	chain("table of an odd length", 0);
	put(0, at, 0, I, 0);
	chain("table of nothing", 0);
	put(0, at, 16 * (CHAIN_PIECES + 1), I, 0);
	chain("table of too many", 0);
	put(0, at + 8, 32, I, 0);
	chain("table not aligned", 0);
	put(0, GUESS, 32, I, 0);
	chain("table in memory that was not granted", 0);
	put(0, out.iova.v + PAGE_SIZE - 16, 32, I, 0);
	chain("table past its window", 0);
	put(0, in.iova.v, 32, I, 0);
	chain("table that the device could write", 0);
	memset(out.ptr, PATTERN, out.len);

	/* Indices. */
	put_command(in.iova.v);
	say("more heads than places", commit((uint16_t)(next + ENTRIES + 1), taken, &rule), rule);
	say("heads that go back", commit((uint16_t)(next - 1), taken, &rule), rule);
	say("used entries that are not there", commit(next, (uint16_t)(taken + 1), &rule), rule);
	q.avail[2 + next % ENTRIES] = 0;
	q.avail[2 + (next + 1) % ENTRIES] = 0;
	say("one head twice", commit((uint16_t)(next + 2), taken, &rule), rule);
}

static void
store(const char *what, const struct virtio_place *p, uint32_t offset, unsigned width,
    uint64_t value)
{
	uint64_t rule = RULE_NONE, unused;
	enum status s = sys6(SYS_mmio_access, p->w.handle, p->at + offset, width | CONFIG_WRITE,
	    value, 0, 0, &rule, &unused);

	say(what, s, rule);
}

static void
registers(void)
{
	uint64_t rule = RULE_NONE, unused;
	enum status s;

	drv_write16(&pci.common.w, pci.common.at + COMMON_QUEUE_SELECT, CONTROL);
	store("queue address replaced", &pci.common, COMMON_QUEUE_DESC, 4, GUESS);
	store("queue of another size", &pci.common, COMMON_QUEUE_SIZE, 2, ENTRIES / 2);
	store("queue enabled twice", &pci.common, COMMON_QUEUE_ENABLE, 2, 1);
	store("features at the wrong time", &pci.common, COMMON_DRIVER_FEATURE, 4, 0);
	store("vector that is not there", &pci.common, COMMON_QUEUE_MSIX_VECTOR, 2, 0x7ff);
	store("notification by hand", &pci.notify, CONTROL * pci.notify_multiplier, 2, CONTROL);
	drv_write16(&pci.common.w, pci.common.at + COMMON_QUEUE_SELECT, 0);
	store("queue that was not bound", &pci.common, COMMON_QUEUE_ENABLE, 2, 1);
	s = sys6(SYS_mmio_access, pci.common.w.handle, pci.common.at + COMMON_QUEUE_DESC, 4, 0, 0,
	    0, &rule, &unused);
	say("queue address read", s, rule);
}

/* The used ring can only be read: nobody but the device writes it. */
static void
forge(void)
{
	struct queue_info i;
	uint64_t queue, va, buffer, iova;

	if (sys_queue_create(device.handle, 0, 8, (uint64_t)(uintptr_t)&i, &queue) != OK)
		die("no queue to forge in");
	say("forged used ring", sys_mem_map(HANDLE_NONE, i.cq_memory, 0, i.cq_bytes, 0, 3, &va),
	    RULE_NONE);
	say("grant of the used ring for writing",
	    sys_dma_map(
		device.handle, i.cq_memory, 0, i.cq_bytes, DMA_FROM_DEVICE, &buffer, &iova),
	    RULE_NONE);
	/* The device has these in its address space, and may write the first. */
	attempt("answer into the used ring", out.iova.v, i.cq_iova);
	attempt("answer into the descriptors that the device reads", out.iova.v, i.sq_iova);
}

static void
storm(void)
{
	unsigned good = 0;
	uint64_t rule;

	if (!q.ring.checked) {
		for (unsigned n = 0; n < STORM; n++)
			mmio_write16(q.ring.notify, CONTROL);
		log_line(2, "doorbell storm: %u rings by hand", STORM);
		return;
	}
	for (unsigned n = 0; n < STORM; n++)
		good += commit(next, taken, &rule) == OK;
	log_line(2, "doorbell storm: %u of %u rings without an entry taken", good, STORM);
}

/* ---- The race ---- */

static enum status
one_round(uint32_t n, bool *astray)
{
	uint8_t *answer = in.ptr;
	uint64_t rule;
	enum status s;

	once_store(answer, UNTOUCHED);
	s = publish(0, &rule);
	if (s != OK)
		return s;
	once_store(&q.desc[1].addr, n % 4 < 2 ? still.iova.v : GUESS);
	s = settle();
	*astray = once_load(answer) != NET_ACK_OK;
	return s;
}

static void
race_over_a_descriptor(void)
{
	struct race r = { .word = &q.desc[1].addr,
		.right = in.iova.v,
		.wrong = { still.iova.v, GUESS } };
	uint64_t faults = own_faults(), dirty = 0;

	put_command(in.iova.v);
	race(&r, one_round);
	for (uint32_t i = 0; i < PAGE_SIZE; i++)
		dirty += ((const uint8_t *)still.ptr)[i] != PATTERN;
	race_say(&r, "descriptor", dirty, faults);
}

/* ---- Order ---- */

static void
addresses(void)
{
	uint64_t base = in.iova.v;

	attempt("guess at a physical address", out.iova.v, GUESS);
	attempt("command in memory that was not granted", GUESS, in.iova.v);
	attempt("page after the window", out.iova.v, base + in.len);
	attempt("write through a grant for reading", out.iova.v, still.iova.v);
	if (q.ring.checked) {
		put_command(base + in.len - 1);
		q.desc[1].len = 2;
		chain("answer past its window", 0);
		put(0, in.iova.v, 3, N, 1);
		put(1, in.iova.v, 1, W, 0);
		chain("read through a grant for writing", 0);
	}
	memset(in.ptr, PATTERN, in.len);
	say("release", drv_revoke(&device, &in), RULE_NONE);
	attempt("use of a released buffer", out.iova.v, base);
}

static void
generations(void)
{
	uint64_t buffer, iova, rule;
	bool checked = q.ring.checked;

	say("reset", sys_device_reset(device.handle, now_ns() + 5 * NS_PER_S), RULE_NONE);
	if (checked)
		say("queue of before the reset", commit(next, taken, &rule), rule);
	say("end of the claim", sys_handle_revoke(device.handle, now_ns() + 5 * NS_PER_S),
	    RULE_NONE);
	say("grant after the end",
	    sys_dma_map(device.handle, out.memory, 0, PAGE_SIZE, DMA_TO_DEVICE, &buffer, &iova),
	    RULE_NONE);
	if (checked)
		say("queue after the end", commit(next, taken, &rule), rule);
}

void
attack_virtio(void)
{
	const char *why = "";

	if (virtio_open(&pci, &device, &why) != OK || virtio_agree(&pci, WANTED, &why) != OK ||
	    virtio_queue(&pci, &q, CONTROL, ENTRIES, UINT32_MAX, &why) != OK)
		die("device not usable: %s", why);
	/* Nothing of ours lies behind "in". */
	if (drv_memory(&device, PAGE_SIZE, DMA_TO_DEVICE, &out) != OK ||
	    drv_memory(&device, PAGE_SIZE, DMA_TO_DEVICE, &still) != OK ||
	    drv_memory(&device, 2 * PAGE_SIZE, DMA_FROM_DEVICE, &in) != OK)
		die("no start");
	virtio_live(&pci);
	service_ready();
	memset(in.ptr, PATTERN, in.len);
	memset(out.ptr, PATTERN, out.len);
	memset(still.ptr, PATTERN, still.len);
	attack_configuration();
	attack_rights(&in);
	works("at first");
	if (q.ring.checked) {
		registers();
		chains();
		forge();
		storm();
		works("after refusals");
		race_over_a_descriptor();
	} else {
		storm();
		works("after the storm");
	}
	addresses();
	memset(out.ptr, PATTERN, 3);
	log_line(2, "memory that was not granted for it: %llu bytes changed",
	    (unsigned long long)(changed(&in) + changed(&out) + changed(&still)));
	attack_quotas(&out);
	generations();
}
