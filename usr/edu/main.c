/*
 * edu: QEMU's device of that name, as a DMA engine that attacks, for tests.
 *
 * It copies between memory and a page of its own, from and to whatever address its driver writes
 * into its registers.  Nobody checks these: the IOMMU is the only guard, and without one nobody
 * gets the device.  It has no reset method, so the manifest's consent names it, and after this
 * driver nobody gets it (D7).
 *
 *     edu: WHAT: refused by the IOMMU, N bytes seen      (of a read: beyond what it had before)
 *     edu: WHAT: not reported, N bytes seen              the same, and the IOMMU has no log
 *
 * Memory that it must not write holds a pattern, which is compared at the end.
 *
 * Manual   QEMU, docs/specs/edu.rst.
 */
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "usr/lib/drv.h"

enum : uint32_t {
	EDU_SOURCE = 0x80,
	EDU_TARGET = 0x88,
	EDU_COUNT = 0x90,
	EDU_COMMAND = 0x98,
	COMMAND_START = 1u << 0,
	COMMAND_TO_MEMORY = 1u << 1,
	EDU_PAGE = 0x40000,		/* its own, as the engine names it */
};
/* Few: the emulator makes a fault of each word. */
enum : uint64_t { BYTES = 256 };
enum : uint64_t { GUESS = 0x4020'0000, PATIENCE_NS = 2 * NS_PER_S };
enum : uint8_t { KNOWN = 0x5a, PATTERN = 0xa5 };

static struct drv_device device;
static struct drv_window regs;
/* Which it may read, write, read, both until it was released, and both until only its address was
 * left. */
static struct drv_memory known, in, victim, gone, kept;

static void
copy(uint64_t source, uint64_t target, uint32_t command)
{
	uint64_t until = now_ns() + PATIENCE_NS;

	drv_write64(&regs, EDU_SOURCE, source);
	drv_write64(&regs, EDU_TARGET, target);
	drv_write64(&regs, EDU_COUNT, BYTES);
	drv_write64(&regs, EDU_COMMAND, COMMAND_START | command);
	while ((drv_read64(&regs, EDU_COMMAND) & COMMAND_START) != 0) {
		if (now_ns() > until)
			die("the engine does not end");
		sleep_until(now_ns() + NS_PER_MS);
	}
}

static void engine_reads(uint64_t at) { copy(at, EDU_PAGE, 0); }
static void engine_writes(uint64_t at) { copy(EDU_PAGE, at, COMMAND_TO_MEMORY); }

static uint64_t
others(const uint8_t *p, uint64_t len, uint8_t expected)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < len; i++)
		n += p[i] != expected;
	return n;
}

/* What the engine holds that was not there before, and is not the zeros of a refused read. */
static uint64_t
seen(void)
{
	const uint8_t *p = in.ptr;
	uint64_t n = 0;

	engine_writes(in.iova.v);
	for (uint64_t i = 0; i < BYTES; i++)
		n += p[i] != KNOWN && p[i] != 0;
	return n;
}

/* Losses of records may be another device's. */
static uint64_t
own_faults(void)
{
	uint64_t all = drv_faults(&device);

	return all - min_u64(all, drv_faults_lost(&device));
}

static void
attempt(const char *what, uint64_t at, void (*engine)(uint64_t))
{
	uint64_t faults, until = now_ns() + PATIENCE_NS;
	bool told;

	engine_reads(known.iova.v);
	faults = own_faults();
	engine(at);
	while (device.status->look != 0 && own_faults() <= faults && now_ns() < until)
		sleep_until(now_ns() + NS_PER_MS);
	told = own_faults() > faults;
	log_line(2, "%s: %s, %llu bytes seen", what,
	    told                     ? "refused by the IOMMU" :
	    device.status->look == 0 ? "not reported" :
				       "success",
	    (unsigned long long)seen());
}

/* Granted memory of the pattern. */
static void
make(struct drv_memory *m, uint64_t pages, enum dma_dir dir, uint8_t pattern)
{
	if (drv_memory(&device, pages * PAGE_SIZE, dir, m) != OK)
		die("no memory");
	memset(m->ptr, pattern, m->len);
}

/* What was changed of memory that may be mapped here no more. */
static uint64_t
changed(const struct drv_memory *m)
{
	uint64_t va, n;

	if (sys_mem_map(HANDLE_NONE, m->memory, 0, m->len, 0, 1, &va) != OK)
		die("no mapping");
	n = others((const uint8_t *)(uintptr_t)va, m->len, PATTERN);
	(void)sys_mem_unmap(HANDLE_NONE, va, m->len);
	return n;
}

int
main(void)
{
	uint64_t h;

	device.handle = start_handle("device");
	if (sys_ntfn_create(&h) != OK)
		die("no memory for a notification");
	device.ntfn = (handle_t)h;
	if (drv_window(&device, 0, &regs) != OK || regs.base == NULL)
		die("no registers");
	make(&known, 1, DMA_TO_DEVICE, KNOWN);
	make(&victim, 1, DMA_TO_DEVICE, PATTERN);
	make(&gone, 1, DMA_BOTH, PATTERN);
	make(&kept, 1, DMA_BOTH, PATTERN);
	make(&in, 1, DMA_FROM_DEVICE, 0);
	(void)drv_faults(&device);
	service_ready();
	/* Not the victim: of a write through what it has cached for reading the emulator's VT-d
	 * tells nothing. */
	engine_reads(known.iova.v);
	engine_writes(in.iova.v);
	log_line(2, "copy of what is granted: %llu bytes differ",
	    (unsigned long long)others(in.ptr, BYTES, KNOWN));
	if (drv_revoke(&device, &gone) != OK ||
	    drv_unmap_keep(&device, &kept) != OK)
		die("not released");
	attempt("read of a guess at a physical address", GUESS, engine_reads);
	attempt("read of a released buffer", gone.iova.v, engine_reads);
	attempt("read of a buffer without memory", kept.iova.v, engine_reads);
	attempt("read past every window", in.iova.v + MIB, engine_reads);
	attempt("write to a guess at a physical address", GUESS, engine_writes);
	attempt("write to a released buffer", gone.iova.v, engine_writes);
	attempt("write to a buffer without memory", kept.iova.v, engine_writes);
	attempt("write past every window", in.iova.v + MIB, engine_writes);
	attempt("write through a grant for reading", victim.iova.v, engine_writes);
	attempt("write across the end of its window", in.iova.v + PAGE_SIZE - BYTES / 2, engine_writes);
	log_line(2, "memory that was not granted for it: %llu bytes changed",
	    (unsigned long long)(changed(&gone) + changed(&kept) + changed(&victim)));
	log_line(2, "reset: %s", status_text(sys_device_reset(device.handle, now_ns() + NS_PER_S)));
	log_line(2, "that is all");
	for (;;)
		sleep_until(DEADLINE_NEVER);
}
