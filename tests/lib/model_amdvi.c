/*
 * The AMD-Vi model: registers, command buffer, event log, PCI.  See model_amdvi.h.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dev/iommu/unit_io.h"
#include "kern/pci.h"
#include "tests/lib/model_amdvi_state.h"

enum : uint64_t {
	IOMMU_EN = BIT(0), EVT_EN = BIT(2), CMD_EN = BIT(12), INV_TIMEOUT = BITS(7, 5),
	S_OVERFLOW = BIT(0), S_INT = BIT(1), S_EVT_RUN = BIT(3), S_CMD_RUN = BIT(4),
	BASE = BITS(51, 12), EFR_IA = BIT(6),
};

struct pci_function pci_functions[PCI_FUNCTIONS_MAX];
uint32_t pci_count;
static struct model_amdvi *only;	/* for pci_read, which does not say whose */

void
amd_violate(struct model_amdvi *m, const char *format, ...)
{
	va_list ap;

	if (m->violations++ != 0)
		return;
	va_start(ap, format);
	vsnprintf(m->violation, sizeof(m->violation), format, ap);
	va_end(ap);
}

static uint64_t cmd_bytes(const struct model_amdvi *m) { return 16ull << (m->cmdbuf >> 56 & 15); }
static uint64_t evt_bytes(const struct model_amdvi *m) { return 16ull << (m->evtlog >> 56 & 15); }

static void
device_store(struct model_amdvi *m, uint64_t pa, uint64_t v)
{
	if (!amd_is_table(pa)) {
		amd_violate(m, "the unit writes outside IOMMU memory");
		return;
	}
	/* Such stores are snooped, whatever the walks are. */
	*(uint64_t *)frame_ptr((struct paddr){ pa }) = v;
	fake_device_store(pa, v);
}

/* ---- The event log ---- */

static void
show_late(struct model_amdvi *m)
{
	for (uint32_t i = 0; i < m->late_count; i++) {
		device_store(m, m->late[i].at + 8, m->late[i].hi);
		device_store(m, m->late[i].at, m->late[i].lo);
	}
	m->late_count = 0;
}

void
model_amdvi_event(struct model_amdvi *m, uint64_t lo, uint64_t hi)
{
	uint64_t at = (m->evtlog & BASE) + m->evt_tail;

	if (!m->evt_run || m->s.no_events || (m->status & S_OVERFLOW) != 0)
		return;
	if ((m->evt_tail + 16) % evt_bytes(m) == m->evt_head) {
		m->status |= S_OVERFLOW;
		m->evt_run = false;
		return;
	}
	if (amd_is_table(at) && *(uint64_t *)frame_ptr((struct paddr){ at }) != 0)
		amd_violate(m, "AMD-61: a record is not cleared before it is used again");
	m->evt_tail = (m->evt_tail + 16) % evt_bytes(m);
	m->status |= S_INT;
	if (m->hole) {
		m->hole = false;
	} else if (m->s.late_events) {
		m->late[m->late_count].at = at;
		m->late[m->late_count].lo = lo;
		m->late[m->late_count++].hi = hi;
	} else {
		device_store(m, at + 8, hi);
		device_store(m, at, lo);
	}
}

struct model_amdvi_dma
model_amdvi_dma(struct model_amdvi *m, uint32_t rid, uint64_t iova, bool write)
{
	struct model_amdvi_dma d = amd_access(m, rid, iova, write);

	if (d.code != 0)
		model_amdvi_event(m,
		    (uint64_t)d.code << 60 | (write ? BIT(53) : 0) | (d.pr ? BIT(52) : 0) | rid,
		    iova);
	return d;
}

/* ---- The command buffer ---- */

/* What the manual says against a command; NULL: nothing. */
static const char *
wrong(const struct model_amdvi *m, uint64_t lo, uint64_t hi)
{
	switch (lo >> 60) {
	case 1:
		if ((lo & BITS(59, 52)) != 0 || (lo & 2) != 0)
			return "reserved bits, or an interrupt, in a COMPLETION_WAIT";
		if ((lo & 1) == 0)
			return "a COMPLETION_WAIT that tells nobody";
		return (lo & 4) == 0 ?
		    "AMD-50: a COMPLETION_WAIT that lets later commands go first" :
		    NULL;
	case 2:
	case 5:
		return (lo & BITS(59, 16)) != 0 || hi != 0 ?
		    "reserved bits in an invalidation by device id" :
		    NULL;
	case 3:
		if ((lo & (BITS(59, 48) | BITS(31, 0))) != 0 || (hi & BITS(11, 2)) != 0)
			return "reserved bits in an INVALIDATE_IOMMU_PAGES";
		return (lo >> 32 & 0xffff) == 0 ? "AMD-35: an invalidation of domain id 0" : NULL;
	case 8:
		if ((m->efr & EFR_IA) == 0)
			return "AMD-25: INVALIDATE_IOMMU_ALL without EFR.IA";
		return (lo & BITS(59, 0)) != 0 || hi != 0 ?
		    "reserved bits in an INVALIDATE_IOMMU_ALL" :
		    NULL;
	}
	return "a command of unknown kind";
}

/* All invalidations since the last wait, last first: nothing promises another order. */
static void
settle(struct model_amdvi *m)
{
	while (m->pending_count != 0) {
		m->pending_count--;
		amd_watch(m);
		amd_apply(m, m->pending[m->pending_count][0], m->pending[m->pending_count][1]);
		amd_watch(m);
	}
}

/* One command.  False: nothing to do, or halted. */
static bool
execute(struct model_amdvi *m)
{
	uint64_t at = (m->cmdbuf & BASE) + m->cmd_head, lo, hi;
	const char *why;
	bool nothing;

	if (!m->cmd_run || m->hang || m->cmd_head == m->cmd_tail || m->gone)
		return false;
	if (!amd_is_table(at)) {
		amd_violate(m, "the command buffer is not IOMMU memory");
		m->cmd_run = false;
		return false;
	}
	lo = fake_device_load(at);
	hi = fake_device_load(at + 8);
	nothing = lo == 0 && hi == 0;		/* the trial of the log */
	why = wrong(m, lo, hi);
	if (why != NULL && !nothing)
		amd_violate(
		    m, "%s: 0x%llx 0x%llx", why, (unsigned long long)lo, (unsigned long long)hi);
	if (why != NULL ||
	    (m->refuse_times != 0 &&
		(m->refuse_op == lo >> 60 || m->refuse_op == MODEL_AMDVI_ANY))) {
		m->refuse_times -= m->refuse_times != 0 && !nothing;
		if (m->s.no_events) {
			m->cmd_head = (m->cmd_head + 16) % cmd_bytes(m);
			return true;
		}
		m->cmd_run = false;
		m->pending_count = 0;		/* whether they were executed is not known: not */
		model_amdvi_event(m, (uint64_t)E_COMMAND << 60, at);
		return false;
	}
	m->executed[lo >> 60]++;
	m->cmd_head = (m->cmd_head + 16) % cmd_bytes(m);
	if (lo >> 60 != 1) {
		if (m->pending_count == INVALIDATIONS) {
			amd_violate(m, "invalidations without end");
			return false;
		}
		m->pending[m->pending_count][0] = lo;
		m->pending[m->pending_count++][1] = hi;
		return true;
	}
	settle(m);
	device_store(m, lo & BITS(51, 3), hi);
	if ((lo & BITS(11, 3)) == 0)
		m->status_at = lo & BITS(51, 3);
	amd_watch(m);
	return true;
}

static void
progress(struct model_amdvi *m)
{
	if (m->s.lag == 0) {
		while (execute(m))
			;
		return;
	}
	if (m->countdown != 0 && --m->countdown != 0)
		return;
	if (execute(m))
		m->countdown = m->s.lag;
}

/* ---- Registers ---- */

/* Engines follow the control register, after a while. */
static void
engines(struct model_amdvi *m)
{
	bool on = (m->control & IOMMU_EN) != 0, cmd = on && (m->control & CMD_EN) != 0,
	     evt = on && (m->control & EVT_EN) != 0;

	if (m->cmd_delay != 0 && --m->cmd_delay != 0)
		cmd = m->cmd_run;
	if (m->evt_delay != 0 && --m->evt_delay != 0)
		evt = m->evt_run;
	if (!cmd)
		m->started = m->cmd_run = false;
	else if (!m->started)
		m->cmd_run = m->started =
		    true; /* once: one that halted stays so until it is switched off */
	m->evt_run = evt && (m->status & S_OVERFLOW) == 0;
}

static void
control(struct model_amdvi *m, uint64_t v)
{
	uint64_t changed = (v ^ m->control) & ~INV_TIMEOUT;

	if (__builtin_popcountll(changed) > 1)
		amd_violate(m, "AMD-26: control register: 0x%llx change at once",
		    (unsigned long long)changed);
	if ((changed & v & IOMMU_EN) != 0) {
		if (!m->table_set)
			amd_violate(m, "AMD-22: the unit goes on without a device table");
		if ((m->excl_base & 1) != 0)
			amd_violate(m, "AMD-21: the unit goes on with firmware's exclusion range");
	}
	if ((changed & ~v & IOMMU_EN) != 0)
		m->off++;
	if ((changed & v & CMD_EN) != 0 && (m->cmd_run || m->cmdbuf == 0))
		amd_violate(
		    m, "AMD-24: the command buffer starts while it runs, or without memory");
	if ((changed & v & EVT_EN) != 0 && (m->evt_run || m->evtlog == 0))
		amd_violate(m, "AMD-62: the event log starts while it runs, or without memory");
	if ((changed & CMD_EN) != 0) {
		m->pending_count = 0;
		m->cmd_delay = m->s.ack_delay;
	}
	if ((changed & EVT_EN) != 0)
		m->evt_delay = m->s.ack_delay;
	m->control = (v & ~m->stuck) | (m->control & m->stuck);
	if (m->s.ack_delay == 0 || (changed & (CMD_EN | EVT_EN)) == 0)
		engines(m);
	amd_watch(m);
	progress(m);
}

static uint64_t
read_register(void *model, uint32_t offset, unsigned bytes)
{
	struct model_amdvi *m = model;

	if (bytes != 8)
		amd_violate(m, "AMD-19: register 0x%x by %u bytes", offset, bytes);
	if (m->gone)
		return UINT64_MAX;
	progress(m);
	switch (offset) {
	case 0x00: return m->devtab;
	case 0x08: return m->cmdbuf;
	case 0x10: return m->evtlog;
	case 0x18: return m->control;
	case 0x20: return m->excl_base;
	case 0x28: return m->excl_limit;
	case 0x30: return m->efr;
	case 0x2000:
		return m->s.no_events && m->cmd_head == 0 ? cmd_bytes(m) : m->cmd_head; /* AMD-86 */
	case 0x2008: return m->cmd_tail;
	case 0x2010: return m->evt_head;
	case 0x2018: {
		uint64_t v = m->evt_tail;

		if (m->late_count != 0 && fake_random() % 2 == 0)
			show_late(m);
		return v;
	}
	case 0x2020:
		engines(m);
		progress(m);
		return m->status | (m->cmd_run ? S_CMD_RUN : 0) | (m->evt_run ? S_EVT_RUN : 0);
	}
	amd_violate(m, "read of register 0x%x", offset);
	return 0;
}

static void
ring_index(struct model_amdvi *m, uint64_t v, uint64_t bytes, const char *what)
{
	if ((v & 15) != 0 || v >= bytes)
		amd_violate(m, "AMD-52: %s 0x%llx", what, (unsigned long long)v);
}

static void
write_register(void *model, uint32_t offset, unsigned bytes, uint64_t v)
{
	struct model_amdvi *m = model;

	if (bytes != 8)
		amd_violate(m, "AMD-19: register 0x%x by %u bytes", offset, bytes);
	if (m->gone)
		return;
	switch (offset) {
	case 0x00:
		if ((v & BITS(11, 9)) != 0 || (v & ~(BASE | 0x1ff)) != 0 || (v & 0x1ff) != 0x1ff)
			amd_violate(m, "AMD-22: device table 0x%llx", (unsigned long long)v);
		m->devtab = v;
		m->table_set = m->unflushed = true;
		m->firmware_table = false;
		amd_watch(m);
		return;
	case 0x08:
	case 0x10:
		if ((m->control & (offset == 8 ? CMD_EN : EVT_EN)) != 0 ||
		    (offset == 8 ? m->cmd_run : m->evt_run))
			amd_violate(m, "AMD-24: a ring moves while its engine is on");
		if ((v >> 56 & 15) < 8 || (v & ~(BASE | BITS(59, 56))) != 0)
			amd_violate(m, "AMD-24: ring 0x%llx", (unsigned long long)v);
		*(offset == 8 ? &m->cmdbuf : &m->evtlog) = v;
		return;
	case 0x18: control(m, v); return;
	case 0x20: m->excl_base = v; amd_watch(m); return;
	case 0x28: m->excl_limit = v; return;
	case 0x2000:
	case 0x2018:
		if (offset == 0x2000 ? m->cmd_run : m->evt_run)
			amd_violate(
			    m, "AMD-54: the unit's own index is written while its engine runs");
		ring_index(
		    m, v, offset == 0x2000 ? cmd_bytes(m) : evt_bytes(m), "the unit's index");
		*(offset == 0x2000 ? &m->cmd_head : &m->evt_tail) = v;
		return;
	case 0x2008:
		ring_index(m, v, cmd_bytes(m), "tail");
		if (m->cmd_run && (v + 16) % cmd_bytes(m) == m->cmd_head)
			amd_violate(m, "AMD-52: fewer than two slots stay free");
		m->cmd_tail = v;
		m->doorbells++;
		progress(m);
		return;
	case 0x2010:
		ring_index(m, v, evt_bytes(m), "event head");
		m->evt_head = v;
		return;
	case 0x2020:
		if ((m->control & EVT_EN) != 0 && (v & S_OVERFLOW) != 0)
			amd_violate(m, "AMD-62: EvtOverflow is cleared before the log is off");
		m->status &= ~v;
		return;
	}
	amd_violate(m, "write of register 0x%x", offset);
}

static void
tick(void *model)
{
	progress(model);
}

/* ---- PCI ---- */

void
model_amdvi_alias(uint16_t rid, uint16_t as)
{
	pci_functions[pci_count++] = (struct pci_function){ .rid = rid, .unit = 0, .endpoint = as };
}

struct pci_function *
pci_find(uint16_t segment, uint16_t rid)
{
	for (uint32_t i = 0; i < pci_count; i++)
		if (pci_functions[i].segment == segment && pci_functions[i].rid == rid)
			return &pci_functions[i];
	return NULL;
}

uint32_t
pci_read(const struct pci_function *f, uint32_t offset, unsigned width)
{
	const struct model_amdvi *m = only;

	if (f->rid != MODEL_AMDVI_RID || width != 4)
		return UINT32_MAX;
	switch (offset) {
	case 0x40:
		return m->s.header != 0 ? m->s.header :
					  0x0f | BIT(27) | (m->s.np_cache ? BIT(26) : 0);
	case 0x44: return m->s.function_base != 0 ? m->s.function_base : (uint32_t)m->s.base | 1;
	case 0x48: return (uint32_t)(m->s.base >> 32);
	}
	return UINT32_MAX;
}

/* ---- The world outside ---- */

static void
stored(void *model, uint64_t pa, uint64_t before, uint64_t after)
{
	(void)pa;
	(void)before;
	(void)after;
	amd_watch(model);
}
static void freed(void *model, uint64_t pa, unsigned order) { amd_freed(model, pa, order); }

/* Firmware's table: everything passes. */
static void
firmware(struct model_amdvi *m)
{
	struct paddr p;
	uint64_t *w;

	if (frame_alloc(9, FRAME_IOMMU, FRAME_ZERO, &p) != OK)
		abort();
	w = frame_ptr(p);
	for (uint32_t rid = 0; rid < 0x10000; rid++)
		w[4 * rid] = 3 | BIT(61) | BIT(62);
	unit_host_publish();
	cache_clean(w, 2 * MIB);
	m->devtab = p.v | 0x1ff;
	m->firmware_table = m->table_set = true;
	m->control = IOMMU_EN;
}

struct model_amdvi *
model_amdvi_create(const struct model_amdvi_setup *setup)
{
	struct model_amdvi *m = calloc(1, sizeof(*m));

	if (m == NULL)
		abort();
	m->s = *setup;
	if (m->s.base == 0)
		m->s.base = 0xfed8'0000;
	if (m->s.host_width == 0)
		m->s.host_width = 40;
	m->efr = setup->efr != 0 ? setup->efr : MODEL_AMDVI_EFR;
	m->gone = setup->gone;
	if (setup->firmware)
		firmware(m);
	if (setup->firmware_hole) {
		m->excl_base = 1;
		m->excl_limit = BITS(51, 12);
	}
	if (setup->firmware_engines) {
		struct paddr p;

		if (frame_alloc(1, FRAME_IOMMU, FRAME_ZERO, &p) != OK)
			abort();
		m->cmdbuf = p.v | 8ull << 56;
		m->evtlog = (p.v + PAGE_SIZE) | 8ull << 56;
		m->cmd_head = m->cmd_tail = 0x40;
		m->evt_head = m->evt_tail = 0x80;
		m->control |= CMD_EN | EVT_EN | BIT(3) | BIT(15) | BIT(17);
		engines(m);
	}
	fake_device_add(&(struct fake_device){ .base = m->s.base,
	    .len = 0x4000,
	    .model = m,
	    .read = read_register,
	    .write = write_register,
	    .tick = tick });
	fake_hooks = (struct fake_hooks){ .arg = m, .store = stored, .freed = freed };
	only = m;
	pci_count = 0;
	if (!setup->hidden)
		pci_functions[pci_count++] =
		    (struct pci_function){ .rid = MODEL_AMDVI_RID, .unit = -1 };
	return m;
}

void
model_amdvi_destroy(struct model_amdvi *m)
{
	memset(&fake_hooks, 0, sizeof(fake_hooks));
	free(m);
}

void
model_amdvi_watch(struct model_amdvi *m, uint32_t rid, uint64_t iova)
{
	m->watch[m->watches].rid = rid;
	m->watch[m->watches++].iova = iova;
}

void model_amdvi_hang(struct model_amdvi *m, bool hang) { m->hang = hang; }
void model_amdvi_stuck(struct model_amdvi *m, uint64_t bits) { m->stuck = bits; }
void model_amdvi_die(struct model_amdvi *m) { m->gone = true; }
void
model_amdvi_status_word(struct model_amdvi *m, uint32_t v)
{
	device_store(m, m->status_at, v);
}
void model_amdvi_hole(struct model_amdvi *m) { m->hole = true; }

void
model_amdvi_refuse(struct model_amdvi *m, uint32_t op, uint32_t times)
{
	m->refuse_op = op;
	m->refuse_times = times;
}

uint32_t model_amdvi_violations(const struct model_amdvi *m) { return m->violations; }
const char *model_amdvi_violation(const struct model_amdvi *m) { return m->violation; }
uint64_t model_amdvi_control(const struct model_amdvi *m) { return m->control; }
uint32_t model_amdvi_windows(const struct model_amdvi *m) { return m->windows; }
uint32_t model_amdvi_off(const struct model_amdvi *m) { return m->off; }
bool model_amdvi_flushed(const struct model_amdvi *m) { return !m->unflushed; }

static uint32_t
count(uint32_t *counter)
{
	uint32_t n = *counter;

	*counter = 0;
	return n;
}

uint32_t
model_amdvi_executed(struct model_amdvi *m, uint32_t op)
{
	return count(&m->executed[op & 15]);
}
uint32_t model_amdvi_doorbells(struct model_amdvi *m) { return count(&m->doorbells); }

uint64_t
model_amdvi_command(struct model_amdvi *m, uint32_t index, unsigned half)
{
	uint64_t at = (m->cmdbuf & BASE) + (16ull * index) % cmd_bytes(m);

	return ((const uint64_t *)frame_ptr((struct paddr){ at }))[half];
}
