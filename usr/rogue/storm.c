/*
 * A storm of interrupts, for the price of a store each.
 *
 * A completion queue of two entries is full with one.  Whoever rings its doorbell then, without
 * having taken the completion, has QEMU's controller look at the queue again and send the queue's
 * message once more.  So a driver that rings by itself (doorbells mapped) makes as many interrupts
 * as it makes stores, and it may bind the vector to a CPU on which it does not run.
 *
 * One thread stores on CPU 1, and the vector is bound to CPU 0.  Nobody takes the notification.
 * The emulator looks at a queue when it gets round to it, so not every store makes an interrupt; it
 * goes on until the kernel has held the vector back a few times.
 */
#include "dev/nvme/parts.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "usr/rogue/rogue.h"

enum { STACK_BYTES = 8192, PRIORITY = 4, CPU = 1, QUEUE = 2, VECTOR = 7, ENTRIES = 2, HOLDS = 3 };
enum : uint64_t { PATIENCE_NS = 60 * NS_PER_S };

static uint8_t stack[STACK_BYTES] ALIGNED(16);
static uint64_t stores;
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

void
attack_by_interrupts(void)
{
	struct device_info before, after;
	const char *why = "";
	uint64_t irq, thread, from;

	if (nvme_ctrl_start(&ctrl, &device, 1, 64, &why) != OK || ctrl.regs.base == NULL)
		die("controller not usable: %s", why);
	if (nvme_ioq_settle(&ctrl.admin) != OK ||
	    sys_device_irq(device.handle, VECTOR, device.ntfn, 1ull << 40, 0, &irq) != OK)
		die("no vector on CPU 0");
	make(QUEUE);
	service_ready();
	before = look();
	from = now_ns();
	if (sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)ring,
		(uint64_t)(uintptr_t)(stack + STACK_BYTES) - STACK_ENTRY, 0, 0,
		PRIORITY | CPU << 8, &thread) != OK)
		die("no thread");
	do {
		sleep_until(now_ns() + 10 * NS_PER_MS);
		after = look();
	} while (after.interrupts_held - before.interrupts_held < HOLDS &&
	    now_ns() - from < PATIENCE_NS);
	store_release(&stop, 1);
	log_line(2, "interrupt storm: %llu us, %llu stores, %llu interrupts, held back %llu times",
	    (unsigned long long)(now_ns() - from) / 1000, (unsigned long long)load_relaxed(&stores),
	    (unsigned long long)(after.interrupts - before.interrupts),
	    (unsigned long long)(after.interrupts_held - before.interrupts_held));
}
