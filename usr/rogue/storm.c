/*
 * A storm of interrupts, for the price of a store each.
 *
 * A completion queue of two entries is full with one.  Whoever rings its doorbell then, without
 * having taken the completion, has QEMU's controller look at the queue again and send the queue's
 * message once more.  So a driver that rings by itself (doorbells mapped) makes as many interrupts
 * as it makes stores, and it may bind the vector to a CPU on which it does not run.
 *
 * A thread stores as long as it can, on the CPU to which the vector is bound.  How many stores it
 * makes is also what interrupts leave to somebody who has nothing to do with them: it is compared
 * with what it makes while the vector is masked.  First nobody takes the notification, then a more
 * urgent thread takes each at once; that one's own time is part of what the others lose then.
 *
 * The emulator looks at a queue when it gets round to it, which is seldom in its own time; counting
 * the instructions of one CPU (-icount) it is after nearly each store.
 */
#include "dev/nvme/parts.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "usr/rogue/rogue.h"

enum { STACK_BYTES = 8192, STORE_PRIORITY = 2, TAKE_PRIORITY = 5, CPU = 0 };
enum { QUEUE = 2, VECTOR = 7, ENTRIES = 2 };
enum : uint64_t { TIME_NS = 5 * NS_PER_MS, BITS_OF_IT = 1ull << 40 };

static uint8_t stacks[2][STACK_BYTES] ALIGNED(16);
static uint64_t stores, taken;
static uint32_t stop;

static NORETURN void
ring(void)
{
	uint32_t at = (uint32_t)nvme_doorbell(QUEUE, true, ctrl.dstrd);

	while (load_acquire(&stop) == 0) {
		drv_write32(&ctrl.regs, at, 0);
		store_relaxed(&stores, stores + 1);
	}
	sys_thread_exit();
	for (;;)
		continue;
}

static NORETURN void
take(void)
{
	uint64_t bits;

	while (load_acquire(&stop) == 0)
		if (sys_ntfn_wait(device.ntfn, now_ns() + NS_PER_MS, &bits) == OK)
			store_relaxed(&taken, taken + 1);
	sys_thread_exit();
	for (;;)
		continue;
}

static void
begin(unsigned n, void (*what)(void), unsigned priority)
{
	uint64_t thread;

	if (sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)what,
		(uint64_t)(uintptr_t)(stacks[n] + STACK_BYTES) - STACK_ENTRY, 0, 0,
		priority | CPU << 8, &thread) != OK)
		die("no thread");
}

/* A queue pair of its own; its completions stay where they are. */
static void
make(uint16_t id)
{
	struct drv_memory cq, sq;
	const char *why = "";
	struct nvme_sqe e = { .cdw0 = ADMIN_CREATE_CQ,
		.cdw10 = id | (ENTRIES - 1) << 16,
		.cdw11 = CQ_CONTIGUOUS | CQ_INTERRUPT | VECTOR << 16 };

	if (drv_memory(&device, PAGE_SIZE, DMA_FROM_DEVICE, &cq) != OK ||
	    drv_memory(&device, PAGE_SIZE, DMA_TO_DEVICE, &sq) != OK)
		die("no memory for a queue");
	e.prp1 = cq.iova.v;
	if (nvme_admin(&ctrl, &e, "create CQ", NULL, NULL, &why) != OK)
		die("no completion queue: %s", why);
	e = (struct nvme_sqe){ .cdw0 = ADMIN_CREATE_SQ,
		.prp1 = sq.iova.v,
		.cdw10 = id | (ENTRIES - 1) << 16,
		.cdw11 = SQ_CONTIGUOUS | (uint32_t)id << 16 };
	if (nvme_admin(&ctrl, &e, "create SQ", NULL, NULL, &why) != OK)
		die("no submission queue: %s", why);
	*(struct nvme_sqe *)sq.ptr = (struct nvme_sqe){ .cdw0 = IO_FLUSH, .nsid = ctrl.ns[0].nsid };
	io_publish();
	drv_write32(&ctrl.regs, (uint32_t)nvme_doorbell(id, false, ctrl.dstrd), 1);
	for (uint64_t until = now_ns() + NS_PER_S; ((volatile uint32_t *)cq.ptr)[3] == 0; )
		if (now_ns() > until)
			die("a command is not completed");
}

static struct device_info
look(void)
{
	struct device_info i;
	uint64_t n;

	if (sys_info(device.handle, INFO_DEVICE, 0, (uint64_t)(uintptr_t)&i, sizeof(i), &n) != OK)
		die("no numbers of the device");
	return i;
}

/* How many stores are made in a time, and what comes.  "base": without interrupts. */
static uint64_t
round_of(const char *what, uint64_t base)
{
	struct device_info before = look(), after;
	uint64_t s = load_relaxed(&stores), t = load_relaxed(&taken), from = now_ns(), time;

	sleep_until(from + TIME_NS);
	time = now_ns() - from;
	s = (load_relaxed(&stores) - s) * TIME_NS / time;
	t = load_relaxed(&taken) - t;
	after = look();
	log_line(2,
	    "interrupt storm, %s: %llu us, %llu stores, %llu interrupts, held back %llu times, taken %llu, others keep %llu of 1000",
	    what, (unsigned long long)time / 1000, (unsigned long long)s,
	    (unsigned long long)(after.interrupts - before.interrupts),
	    (unsigned long long)(after.interrupts_held - before.interrupts_held),
	    (unsigned long long)t, (unsigned long long)(base == 0 ? 1000 : s * 1000 / base));
	return s;
}

void
attack_by_interrupts(void)
{
	const char *why = "";
	uint64_t irq, base;

	if (nvme_ctrl_start(&ctrl, &device, 1, 64, &why) != OK || ctrl.regs.base == NULL)
		die("controller not usable: %s", why);
	if (nvme_ioq_settle(&ctrl.admin) != OK ||
	    sys_device_irq(device.handle, VECTOR, device.ntfn, BITS_OF_IT, CPU, &irq) != OK)
		die("no vector on CPU 0");
	make(QUEUE);
	service_ready();
	begin(0, ring, STORE_PRIORITY);
	if (sys_irq_control((handle_t)irq, 1) != OK)
		die("no mask");
	base = round_of("masked", 0);
	if (sys_irq_control((handle_t)irq, 0) != OK)
		die("no mask");
	(void)round_of("nobody takes them", base);
	begin(1, take, TAKE_PRIORITY);
	(void)round_of("each is taken", base);
	store_release(&stop, 1);
}
