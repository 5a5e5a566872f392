/*
 * The kernel's services on the host: see fake_kernel.h.
 *
 * Stores that the device may not see yet stand in a list; a device's load asks the list first.
 * Register windows are addresses where nothing is: a plain access to one is a crash.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fake_kernel.h"

#include "dev/iommu/unit_io.h"
#include "kern/base/bits.h"
#include "kern/base/fmt.h"
#include "kern/dma/iommu.h"
#include "kern/irq.h"
#include "kern/lock.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/md/clock.h"
#include "kern/panic.h"
#include "kern/sched.h"

enum { PENDING_MAX = 1 << 17, DEVICES_MAX = 8, LINES_MAX = 32, LOG_MAX = 1 << 16 };

struct pending { uint64_t *p; uint64_t before, after; bool visible; };

static struct {
	struct fake_setup setup;
	char *cpu, *device;		/* device: only when not coherent */
	enum frame_state *state;
	uint8_t *order;
	bool *fresh;			/* cleared by frame_alloc, not published */
	bool any_fresh;
	uint64_t frames, next;
	int64_t fail_after;
	uint64_t random;

	struct pending pending[PENDING_MAX];
	uint32_t pending_count, leaked;	/* leaked: in order, FAKE_TSO */

	struct fake_device devices[DEVICES_MAX];
	uint32_t device_count, reads, writes;

	struct { uint32_t id; irq_fn *fn; void *arg; } lines[LINES_MAX];
	uint32_t line_count;
	char log[LOG_MAX];
	uint32_t log_len, log_lines;
} k;

struct fake_hooks fake_hooks;
uint64_t fake_now;
struct iommu_unit *fake_units[16];
uint32_t fake_unit_count, fake_pending, fake_broken;
char fake_broken_why[160];

static char *
region(uint64_t bytes)
{
	char *p = calloc(1, bytes);

	if (p == NULL)
		abort();
	return p;
}

static uintptr_t
window(uint32_t i)
{
	return (uintptr_t)0x0010'0000'0000'0000 + ((uintptr_t)i << 32);
}

void
fake_kernel_init(const struct fake_setup *setup)
{
	free(k.cpu);
	free(k.device);
	free(k.state);
	free(k.order);
	free(k.fresh);
	memset(&k, 0, sizeof(k));
	memset(&fake_hooks, 0, sizeof(fake_hooks));
	k.setup = *setup;
	if (k.setup.base == 0)
		k.setup.base = 0x4000'0000;
	if (k.setup.bytes == 0)
		k.setup.bytes = 64 * MIB;
	k.cpu = region(k.setup.bytes);
	k.device = setup->not_coherent ? region(k.setup.bytes) : NULL;
	k.frames = k.setup.bytes >> PAGE_SHIFT;
	k.state = calloc(k.frames, sizeof(*k.state));
	k.order = calloc(k.frames, sizeof(*k.order));
	k.fresh = calloc(k.frames, sizeof(*k.fresh));
	for (uint64_t i = 0; i < k.frames; i++)
		k.state[i] = FRAME_FREE;
	k.fail_after = -1;
	k.random = setup->seed * 2654435761u + 88172645463325252ull;
	fake_now = NS_PER_S;
	fake_unit_count = fake_pending = fake_broken = 0;
	fake_broken_why[0] = '\0';
}

uint64_t
fake_random(void)
{
	k.random ^= k.random << 13;
	k.random ^= k.random >> 7;
	k.random ^= k.random << 17;
	return k.random;
}

/* ---- Frames ---- */

bool
fake_is_memory(uint64_t pa, uint64_t len)
{
	return range_within(pa, len, k.setup.base, k.setup.bytes);
}

static uint64_t
number(uint64_t pa)
{
	if (!fake_is_memory(pa, 1))
		panic("0x%llx is not memory", (unsigned long long)pa);
	return (pa - k.setup.base) >> PAGE_SHIFT;
}

void *
frame_ptr(struct paddr p)
{
	(void)number(p.v);
	return k.cpu + (p.v - k.setup.base);
}

struct paddr
frame_of(const void *p)
{
	return (struct paddr){ k.setup.base + (uint64_t)((const char *)p - k.cpu) };
}

/* Next fit: a freed frame does not come back soon, so that stale uses show. */
enum status
frame_alloc(unsigned order, enum frame_state state, uint32_t flags, struct paddr *out)
{
	uint64_t n = 1ull << order, tries = k.frames / n;

	if (order > FRAME_ORDER_MAX)
		return E_RANGE;
	if (k.fail_after >= 0 && k.fail_after-- == 0) {
		k.fail_after = 0;
		return E_NO_MEMORY;
	}
	for (uint64_t at = align_up(k.next, n); tries-- != 0; at += n) {
		uint64_t i = 0;

		if (at + n > k.frames)
			at = 0;
		while (i < n && k.state[at + i] == FRAME_FREE)
			i++;
		if (i < n)
			continue;
		for (i = 0; i < n; i++) {
			k.state[at + i] = state;
			k.order[at + i] = 0xff;
			k.fresh[at + i] = true;
		}
		k.any_fresh = true;
		k.order[at] = (uint8_t)order;
		k.next = at + n;
		out->v = k.setup.base + (at << PAGE_SHIFT);
		memset(frame_ptr(*out), (flags & FRAME_ZERO) != 0 ? 0 : 0xa5, n << PAGE_SHIFT);
		if (k.device != NULL)
			memset(k.device + (out->v - k.setup.base), 0xdf, n << PAGE_SHIFT);
		return OK;
	}
	return E_NO_MEMORY;
}

static void
leave(struct paddr base, unsigned order, enum frame_state state)
{
	uint64_t at = number(base.v);

	if (k.order[at] != order || k.state[at] == FRAME_FREE || k.state[at] == FRAME_QUARANTINED)
		panic("frames at 0x%llx given back wrongly", (unsigned long long)base.v);
	for (uint64_t i = 0; i < 1ull << order; i++)
		k.state[at + i] = state;
}

void
frame_free(struct paddr base, unsigned order)
{
	if (fake_hooks.freed != NULL)
		fake_hooks.freed(fake_hooks.arg, base.v, order);
	leave(base, order, FRAME_FREE);
	memset(frame_ptr(base), 0xdf, PAGE_SIZE << order);
}

void frame_quarantine(struct paddr base, unsigned order) { leave(base, order, FRAME_QUARANTINED); }

enum frame_state
frame_state_of(struct paddr p)
{
	return fake_is_memory(p.v, 1) ? k.state[number(p.v)] : FRAME_ABSENT;
}

uint64_t
fake_frames(enum frame_state state)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < k.frames; i++)
		n += k.state[i] == state;
	return n;
}

void fake_fail_alloc(int64_t after) { k.fail_after = after; }

/* ---- The device's view ---- */

static struct pending *
pending_of(const uint64_t *p, bool last_visible)
{
	struct pending *found = NULL;

	for (uint32_t i = 0; i < k.pending_count; i++) {
		struct pending *e = &k.pending[i];

		if (e->p != p)
			continue;
		if (!last_visible)
			return e;
		if (e->visible)
			found = e;
	}
	return found;
}

uint64_t
fake_device_load(uint64_t pa)
{
	uint64_t *p = frame_ptr((struct paddr){ pa });
	struct pending *e;

	if (!is_aligned(pa, 8))
		panic("device load at 0x%llx", (unsigned long long)pa);
	if (k.device != NULL)
		return *(uint64_t *)(k.device + (pa - k.setup.base));
	e = pending_of(p, true);
	if (e != NULL)
		return e->after;
	if (k.setup.order == FAKE_WEAK && k.any_fresh && k.fresh[number(pa)])
		return 0xbad0'bad0'bad0'bad1;
	e = pending_of(p, false);
	return e != NULL ? e->before : *p;
}

void
fake_device_store(uint64_t pa, uint64_t v)
{
	(void)number(pa);
	*(uint64_t *)((k.device != NULL ? k.device : k.cpu) + (pa - k.setup.base)) = v;
}

/* Some stores that the device may not see yet become visible. */
static void
leak_stores(void)
{
	if (k.setup.order == FAKE_TSO) {
		for (uint64_t n = fake_random() % 3; n != 0 && k.leaked < k.pending_count; n--)
			k.pending[k.leaked++].visible = true;
		return;
	}
	for (uint64_t n = fake_random() % 3; n != 0; n--) {
		uint32_t i = (uint32_t)(fake_random() % k.pending_count);

		/* Stores to one word stay in order. */
		for (uint32_t j = 0; j <= i; j++)
			if (k.pending[j].p == k.pending[i].p)
				k.pending[j].visible = true;
	}
}

void
unit_host_store(uint64_t *p, uint64_t v)
{
	uint64_t before = *p, pa = frame_of(p).v;

	(void)number(pa);
	*p = v;
	if (k.setup.order != FAKE_STRONG && k.device == NULL) {
		if (k.pending_count == PENDING_MAX)
			panic("too many stores without unit_publish");
		k.pending[k.pending_count++] =
		    (struct pending){ .p = p, .before = before, .after = v };
		leak_stores();
	}
	if (fake_hooks.store != NULL)
		fake_hooks.store(fake_hooks.arg, pa, before, v);
}

void
unit_host_publish(void)
{
	k.pending_count = k.leaked = 0;
	if (k.any_fresh)
		memset(k.fresh, 0, k.frames * sizeof(*k.fresh));
	k.any_fresh = false;
}

void
cache_clean(const void *p, size_t len)
{
	uint64_t pa = frame_of(p).v, end = align_up(pa + len, 64);

	pa = align_down(pa, 64);
	(void)number(pa);
	(void)number(end - 1);
	if (k.device != NULL)
		memcpy(k.device + (pa - k.setup.base), k.cpu + (pa - k.setup.base), end - pa);
}

void
cache_invalidate(void *p, size_t len)
{
	uint64_t pa = frame_of(p).v, end = align_up(pa + len, 64);

	pa = align_down(pa, 64);
	if (k.device != NULL)
		memcpy(k.cpu + (pa - k.setup.base), k.device + (pa - k.setup.base), end - pa);
}

/* ---- Registers: the window cannot be touched but through the model ---- */

void
fake_device_add(const struct fake_device *d)
{
	k.devices[k.device_count++] = *d;
}

__attribute__((weak)) void *	/* kern/ptable.c has the real one */
mmu_map_device(struct paddr base, uint64_t len)
{
	for (uint32_t i = 0; i < k.device_count; i++)
		if (range_within(base.v, len, k.devices[i].base, k.devices[i].len))
			return (void *)(window(i) + (base.v - k.devices[i].base));
	return NULL;
}

static const struct fake_device *
device_at(const volatile void *base, uint32_t *offset)
{
	for (uint32_t i = 0; i < k.device_count; i++) {
		uintptr_t at = (uintptr_t)base + *offset - window(i);

		if (at < k.devices[i].len) {
			*offset = (uint32_t)at;
			return &k.devices[i];
		}
	}
	panic("register access outside any device");
}

uint64_t
unit_host_read(const volatile void *base, uint32_t offset, unsigned bytes)
{
	const struct fake_device *d = device_at(base, &offset);

	k.reads++;
	return d->read(d->model, offset, bytes);
}

void
unit_host_write(volatile void *base, uint32_t offset, unsigned bytes, uint64_t v)
{
	const struct fake_device *d = device_at(base, &offset);

	k.writes++;
	d->write(d->model, offset, bytes, v);
}

uint32_t
fake_register_writes(void)
{
	uint32_t n = k.writes;

	k.writes = 0;
	return n;
}

uint32_t
fake_register_reads(void)
{
	uint32_t n = k.reads;

	k.reads = 0;
	return n;
}

/* ---- Time ---- */

static void
tick(void)
{
	for (uint32_t i = 0; i < k.device_count; i++)
		if (k.devices[i].tick != NULL)
			k.devices[i].tick(k.devices[i].model);
}

uint64_t
clock_now(void)
{
	fake_now += 100;
	tick();
	return fake_now;
}

void sched_preempt_point(void) {}

void
clock_spin(uint64_t ns)
{
	fake_now += ns;
	tick();
}

/* ---- Log, locks, interrupts, units ---- */

void
log_write(enum log_level level, const char *format, ...)
{
	char line[LOG_LINE_MAX];
	va_list ap;
	int n;

	va_start(ap, format);
	fmt_vbuf(line, sizeof(line), format, ap);
	va_end(ap);
	n = snprintf(k.log + k.log_len, LOG_MAX - k.log_len, "%c %s\n", "EWID"[level], line);
	if (n > 0 && k.log_len + (uint32_t)n < LOG_MAX)
		k.log_len += (uint32_t)n;
	k.log_lines++;
}

bool fake_logged(const char *part) { return strstr(k.log, part) != NULL; }
uint32_t fake_log_lines(void) { return k.log_lines; }
const char *fake_log(void) { return k.log; }

void
lock_wait(void)
{
	panic("a lock is taken twice");
}

enum status
irq_claim_line(const struct machine_line *line, irq_fn *fn, void *arg, const char *name UNUSED)
{
	if (k.line_count == LINES_MAX)
		return E_NO_MEMORY;
	k.lines[k.line_count].id = line->id;
	k.lines[k.line_count].fn = fn;
	k.lines[k.line_count++].arg = arg;
	return OK;
}

bool
fake_raise(uint32_t line)
{
	bool any = false;

	for (uint32_t i = 0; i < k.line_count; i++)
		if (k.lines[i].id == line) {
			k.lines[i].fn(k.lines[i].arg);
			any = true;
		}
	return any;
}

enum status
iommu_register(struct iommu_unit *u)
{
	if (fake_unit_count == ARRAY_SIZE(fake_units))
		return E_OVERFLOW;
	fake_units[fake_unit_count++] = u;
	return OK;
}

void iommu_fault_pending(struct iommu_unit *u UNUSED) { fake_pending++; }

/* The kernel calls back into the unit here: a lock still held would show as taken twice. */
void
iommu_mark_broken(struct iommu_unit *u, const char *why)
{
	fake_broken++;
	if (fake_broken == 1)
		snprintf(fake_broken_why, sizeof(fake_broken_why), "%s", why);
	u->broken = true;
	(void)u->ops->ticket_poll(u, (struct iommu_ticket){ UINT64_MAX });
}
