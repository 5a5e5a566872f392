/*
 * The VT-d model: registers, queue, faults.  See model_vtd.h.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dev/iommu/unit_io.h"
#include "kern/irq.h"
#include "kern/md/irqc.h"
#include "tests/lib/model_vtd_state.h"

enum : uint32_t {
	TE = 1u << 31,
	SRTP = 1u << 30,
	SFL = 1u << 29,
	EAFL = 1u << 28,
	WBF = 1u << 27,
	QIE = 1u << 26,
	IRE = 1u << 25,
	SIRTP = 1u << 24,
	CFI = 1u << 23,
	ONE_SHOT = SRTP | SFL | WBF | SIRTP,
	PFO = 1,
	PPF = 2,
	IQE = 1 << 4,
	ICE = 1 << 5,
	ITE = 1 << 6,
	PRO = 1 << 7,
};
enum : uint64_t {
	CAP_RWBF = BIT(4),
	CAP_PMR = BIT(5) | BIT(6),
	CAP_PSI = BIT(39),
	CAP_DWD = BIT(54),
	CAP_DRD = BIT(55)
};

static struct model_vtd *only; /* for irq_claim_message, which does not say which unit asks */

void
violate(struct model_vtd *m, const char *format, ...)
{
	va_list ap;

	if (m->violations++ != 0)
		return;
	va_start(ap, format);
	vsnprintf(m->violation, sizeof(m->violation), format, ap);
	va_end(ap);
}

/* ---- Faults ---- */

static uint32_t
first_record(const struct model_vtd *m)
{
	for (uint32_t i = 0; i < m->records; i++) {
		uint32_t k = (m->next_record + i) % m->records;

		if ((m->record[k][1] & BIT(63)) != 0)
			return k;
	}
	return m->records;
}

static void
interrupt(struct model_vtd *m)
{
	if ((m->fectl >> 31 & 1) != 0) {
		m->fectl |= 1u << 30;
		return;
	}
	m->fectl &= ~(1u << 30);
	m->interrupts++;
	if (m->fn == NULL || m->feaddr != (uint32_t)m->message || m->feuaddr != m->message >> 32 ||
	    m->fedata != 0x41)
		violate(m, "VTD-106: the fault event is sent to a wrong place");
	else
		m->fn(m->fn_arg);
}

void
record(struct model_vtd *m, uint32_t sid, uint64_t iova, bool write, uint8_t reason)
{
	bool any = first_record(m) != m->records;

	if ((m->fsts & PFO) != 0)
		return;
	if ((m->record[m->next_record][1] & BIT(63)) != 0) {
		m->fsts |= PFO;
		return;
	}
	m->record[m->next_record][0] = iova & ~PAGE_MASK;
	/* The PASID field is rubbish when no PASID is present (VTD-111). */
	m->record[m->next_record][1] =
	    BIT(63) | (write ? 0 : BIT(62)) | BITS(59, 40) | (uint64_t)reason << 32 | sid;
	m->next_record = (m->next_record + 1) % m->records;
	if (!any)
		interrupt(m);
}

struct model_vtd_dma
model_vtd_dma(struct model_vtd *m, uint32_t sid, uint64_t iova, bool write)
{
	struct model_vtd_dma d = cache_access(m, sid, iova, write);

	if (d.reason != 0)
		record(m, sid, iova, write, d.reason);
	return d;
}

/* ---- The queue ---- */

static uint64_t ring_bytes(const struct model_vtd *m) { return PAGE_SIZE << (m->iqa & 7); }

/* What the manual says against a descriptor; NULL: nothing. */
static const char *
wrong(const struct model_vtd *m, uint64_t lo, uint64_t hi)
{
	unsigned gran = (unsigned)FIELD_GET(BITS(5, 4), lo);

	switch (lo & 15) {
	case 1:
		if ((lo & (BITS(15, 6) | BITS(63, 50))) != 0 || hi != 0)
			return "reserved bits in a context invalidation";
		return gran == 0 ? "a context invalidation of no granularity" : NULL;
	case 2:
		if ((lo & (BITS(15, 8) | BITS(63, 32))) != 0 || (hi & BITS(11, 7)) != 0)
			return "reserved bits in an IOTLB invalidation";
		if (((lo & BIT(6)) != 0 && (m->cap & CAP_DWD) == 0) ||
		    ((lo & BIT(7)) != 0 && (m->cap & CAP_DRD) == 0))
			return "VTD-28: a drain that the unit does not know";
		if (gran == 0)
			return "an IOTLB invalidation of no granularity";
		if (gran != 3)
			return hi != 0 ? "an address without page granularity" : NULL;
		if ((m->cap & CAP_PSI) == 0)
			return "VTD-28: page-selective without CAP.PSI";
		if ((hi & 0x3f) > FIELD_GET(BITS(53, 48), m->cap))
			return "VTD-28: an address mask above MAMV";
		if ((hi & BITS(63, 12) & ((PAGE_SIZE << (hi & 0x3f)) - 1)) != 0)
			return "VTD-28: a misaligned address";
		return NULL;
	case 4:
		if ((m->ecap & BIT(3)) == 0)
			return "an interrupt entry invalidation without ECAP.IR";
		return (lo & (BITS(26, 5) | BITS(63, 48))) != 0 || hi != 0 ||
			((lo & BIT(4)) == 0 && lo != 4) ?
		    "reserved bits in an interrupt entry invalidation" :
		    NULL;
	case 5:
		if ((lo & BITS(31, 7)) != 0 || (hi & 3) != 0)
			return "reserved bits in a WAIT";
		if ((lo & BITS(5, 4)) == 0)
			return "VTD-105: a WAIT that tells nobody";
		if ((lo & BITS(5, 4)) == BITS(5, 4))
			return "VTD-105: a WAIT with both SW and IF";
		if ((lo & BIT(6)) == 0)
			return "VTD-65: a WAIT without FN";
		return NULL;
	}
	return "a descriptor of unknown type";
}

/* All invalidations since the last WAIT, last first: nothing promises another order. */
static void
settle(struct model_vtd *m)
{
	while (m->pending_count != 0) {
		m->pending_count--;
		cache_watch(m);
		if ((m->pending[m->pending_count][0] & 15) == 4)
			irq_apply(m, m->pending[m->pending_count][0]);
		else
			cache_apply(
			    m, m->pending[m->pending_count][0], m->pending[m->pending_count][1]);
		cache_watch(m);
	}
}

static void
store32(uint64_t pa, uint32_t v)
{
	uint64_t word = align_down(pa, 8), old = *(uint64_t *)frame_ptr((struct paddr){ word });

	if ((pa & 4) != 0)
		old = (old & UINT32_MAX) | (uint64_t)v << 32;
	else
		old = (old & ~(uint64_t)UINT32_MAX) | v;
	/* Such stores are snooped, whatever ECAP.C says of walks. */
	*(uint64_t *)frame_ptr((struct paddr){ word }) = old;
	fake_device_store(word, old);
}

/* One descriptor.  False: nothing to do, or stopped. */
static bool
execute(struct model_vtd *m)
{
	uint64_t at, lo, hi;
	const char *why;

	if ((m->gsts & QIE) == 0 || m->hang || (m->fsts & (IQE | ITE)) != 0 || m->iqh == m->iqt ||
	    m->gone)
		return false;
	at = (m->iqa & BITS(63, 12)) + m->iqh;
	if (m->iqa == 0 && m->s.firmware_queue_stuck) { /* firmware's bad descriptor, again */
		m->fsts |= IQE;
		return false;
	}
	if (!fake_is_memory(at, 16) || frame_state_of((struct paddr){ at }) != FRAME_IOMMU) {
		violate(m, "the queue is not IOMMU memory");
		m->fsts |= IQE;
		return false;
	}
	lo = fake_device_load(at);
	hi = fake_device_load(at + 8);
	why = wrong(m, lo, hi);
	if (why != NULL)
		violate(
		    m, "%s: 0x%llx 0x%llx", why, (unsigned long long)lo, (unsigned long long)hi);
	if (why != NULL || (m->refuse_times != 0 && m->refuse_type == (lo & 15))) {
		m->refuse_times -= m->refuse_times != 0;
		m->fsts |= IQE;
		return false;
	}
	m->executed[lo & 15]++;
	m->iqh = (m->iqh + 16) % ring_bytes(m);
	if ((lo & 15) != 5) {
		if (m->pending_count == INVALIDATIONS) {
			violate(m, "invalidations without end");
			return false;
		}
		m->pending[m->pending_count][0] = lo;
		m->pending[m->pending_count++][1] = hi;
	} else if (m->drop) {
		m->drop = false;
		m->fsts |= ITE;
		m->drop_left = (uint32_t)(((m->iqt + ring_bytes(m) - m->iqh) % ring_bytes(m)) / 16);
		return true;
	} else if (m->drop_left == 0) {
		settle(m);
		if (!fake_is_memory(hi, 4) || frame_state_of((struct paddr){ hi }) != FRAME_IOMMU) {
			violate(m, "VTD-63: a status word outside IOMMU memory");
		} else {
			store32(hi, (uint32_t)(lo >> 32));
			if ((hi & PAGE_MASK) == 0)
				m->status_at = hi;
		}
		cache_watch(m);
	}
	m->drop_left -= m->drop_left != 0;
	return true;
}

static void
progress(struct model_vtd *m)
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

/* ---- Commands ---- */

static void
act(struct model_vtd *m)
{
	uint32_t bit = m->command;
	bool set = m->command_set;

	m->command = 0;
	switch (bit) {
	case TE:
		if (set && (!m->root_set || m->firmware_root))
			violate(m, "VTD-35: translation on without a root table");
		if (set && (m->need_context_flush || m->need_iotlb_flush))
			violate(m,
			    "VTD-34: translation on before contexts, then translations were flushed");
		if (!set)
			m->te_off++;
		break;
	case SRTP:
		if ((m->rtaddr & BITS(9, 0)) != 0 || FIELD_GET(BITS(11, 10), m->rtaddr) != 0)
			violate(m, "VTD-34: RTADDR 0x%llx", (unsigned long long)m->rtaddr);
		if ((m->gsts & TE) != 0 && m->firmware_root && m->s.firmware_scalable)
			violate(m, "VTD-34: the table mode changes while translation is on");
		if ((m->cap & CAP_RWBF) != 0 && !m->drained)
			violate(m, "VTD-34: the root pointer is set before a write-buffer flush");
		m->drained = false;
		m->root = m->rtaddr & BITS(63, 12);
		m->root_set = true;
		m->firmware_root = false;
		m->need_context_flush = m->need_iotlb_flush = true;
		break;
	case WBF:
		if ((m->cap & CAP_RWBF) == 0)
			violate(m, "VTD-67: a write-buffer flush without CAP.RWBF");
		m->buffered_count = 0;
		m->drained = true;
		m->gsts &= ~WBF;
		cache_watch(m);
		return;
	case SIRTP:
		if ((m->irta & BITS(10, 4)) != 0 ||
		    ((m->irta & BIT(11)) != 0 && (m->ecap & BIT(4)) == 0))
			violate(m, "VTD-72: IRTA 0x%llx", (unsigned long long)m->irta);
		if ((m->gsts & QIE) == 0)
			violate(m, "VTD-73: the interrupt table before the queue");
		m->irt = m->irta;
		m->irt_set = m->need_iec_flush = true;
		break;
	case IRE:
		if (set && (!m->irt_set || m->need_iec_flush))
			violate(m,
			    "VTD-73: interrupt remapping on before its table is set and the entry cache flushed");
		break;
	case QIE:
		if (set && m->iqt != 0)
			violate(m, "VTD-33: the queue starts with IQT not 0");
		if (!set && m->iqh != m->iqt && !m->s.firmware_queue_stuck)
			violate(m, "VTD-31: the queue stops before it is empty");
		if (!set && (m->gsts & IRE) != 0)
			violate(m, "VTD-31: the queue stops before interrupt remapping");
		if (set)
			m->iqh = 0;
		break;
	}
	m->gsts = set ? m->gsts | bit : m->gsts & ~bit;
	cache_watch(m);
}

static void
command(struct model_vtd *m, uint32_t v)
{
	uint32_t now = m->gsts & ~ONE_SHOT, changed = (v & ~ONE_SHOT) ^ now, shots = v & ONE_SHOT;

	if (m->command != 0)
		violate(
		    m, "VTD-24: a command before the last one (0x%x) is acknowledged", m->command);
	if (__builtin_popcount(changed) + __builtin_popcount(shots) != 1)
		violate(
		    m, "VTD-24: GCMD 0x%x with GSTS 0x%x changes not exactly one bit", v, m->gsts);
	m->command = shots != 0 ? 1u << (31 - __builtin_clz(shots)) : changed & -changed;
	m->command_set = shots != 0 || (v & changed) != 0;
	m->command_delay = m->s.ack_delay;
	if ((m->command & SRTP) != 0)
		m->gsts &= ~SRTP;
	if ((m->command & WBF) != 0)
		m->gsts |= WBF;
	if (m->command_delay == 0 && (m->command & m->never) == 0)
		act(m);
}

/* ---- Registers ---- */

static uint64_t
fault_offset(const struct model_vtd *m)
{
	return FIELD_GET(BITS(33, 24), m->cap) * 16;
}
static uint64_t
iotlb_offset(const struct model_vtd *m)
{
	return FIELD_GET(BITS(17, 8), m->ecap) * 16;
}

static void
width(struct model_vtd *m, uint32_t offset, unsigned bytes, unsigned want)
{
	if (bytes != want)
		violate(m, "VTD-23: register 0x%x by %u bytes", offset, bytes);
}

static uint64_t
read_register(void *model, uint32_t offset, unsigned bytes)
{
	struct model_vtd *m = model;
	uint64_t v = 0;

	if (m->gone)
		return bytes == 8 ? UINT64_MAX : UINT32_MAX;
	progress(m);
	if (offset >= fault_offset(m) && offset < fault_offset(m) + 16 * m->records) {
		uint32_t at = offset - (uint32_t)fault_offset(m);

		width(m, offset, bytes, 8);
		return m->record[at / 16][at / 8 % 2];
	}
	if (offset == iotlb_offset(m) + 8) {
		width(m, offset, bytes, 8);
		return m->iotlb;
	}
	switch (offset) {
	case 0x00: width(m, offset, bytes, 4); return 0x10;
	case 0x08: width(m, offset, bytes, 8); return m->cap;
	case 0x10: width(m, offset, bytes, 8); return m->ecap;
	case 0x1c:
		width(m, offset, bytes, 4);
		v = m->gsts;
		if (m->command != 0 && (m->command & m->never) == 0 &&
		    (m->command_delay == 0 || --m->command_delay == 0))
			act(m);
		return v;
	case 0x20: width(m, offset, bytes, 8); return m->rtaddr;
	case 0x28: width(m, offset, bytes, 8); return m->ccmd;
	case 0x34:
		width(m, offset, bytes, 4);
		v = m->fsts;
		if (first_record(m) != m->records)
			v |= PPF | first_record(m) << 8;
		return v;
	case 0x38: width(m, offset, bytes, 4); return m->fectl;
	case 0x64: width(m, offset, bytes, 4); return m->pmen;
	case 0x80: width(m, offset, bytes, 8); return m->iqh;
	case 0x88: width(m, offset, bytes, 8); return m->iqt;
	case 0x90: width(m, offset, bytes, 8); return m->iqa;
	case 0xb8: width(m, offset, bytes, 8); return m->irta;
	}
	violate(m, "read of register 0x%x", offset);
	return 0;
}

static void
write_register(void *model, uint32_t offset, unsigned bytes, uint64_t v)
{
	struct model_vtd *m = model;

	if (m->gone)
		return;
	if (offset >= fault_offset(m) && offset < fault_offset(m) + 16 * m->records) {
		uint32_t at = offset - (uint32_t)fault_offset(m);

		width(m, offset, bytes, 4);
		if (at % 16 != 12 || v != 1u << 31)
			violate(m, "VTD-86: fault record written at %u with 0x%llx", at,
			    (unsigned long long)v);
		else
			m->record[at / 16][1] &= ~BIT(63);
		return;
	}
	if (offset == iotlb_offset(m) + 8) {
		width(m, offset, bytes, 8);
		if ((m->gsts & QIE) != 0)
			violate(m, "VTD-27: invalidation by register while the queue is on");
		cache_apply(m, 0x12, 0);
		return;
	}
	switch (offset) {
	case 0x18: width(m, offset, bytes, 4); command(m, (uint32_t)v); return;
	case 0x20: width(m, offset, bytes, 8); m->rtaddr = v; return;
	case 0x28:
		width(m, offset, bytes, 8);
		if ((m->gsts & QIE) != 0)
			violate(m, "VTD-27: invalidation by register while the queue is on");
		cache_apply(m, 0x11, 0);
		return;
	case 0x34:
		width(m, offset, bytes, 4);
		if ((v & PFO) != 0 && first_record(m) != m->records && m->root_set &&
		    !m->firmware_root)
			violate(m, "VTD-86: PFO is cleared before the records are");
		m->fsts &= ~((uint32_t)v & (PFO | IQE | ICE | ITE | PRO));
		return;
	case 0x38:
		width(m, offset, bytes, 4);
		m->fectl = (m->fectl & 1u << 30) | ((uint32_t)v & 1u << 31);
		if ((m->fectl & 3u << 30) == 1u << 30)
			interrupt(m);
		return;
	case 0x3c: width(m, offset, bytes, 4); m->fedata = (uint32_t)v; return;
	case 0x40: width(m, offset, bytes, 4); m->feaddr = (uint32_t)v; return;
	case 0x44: width(m, offset, bytes, 4); m->feuaddr = (uint32_t)v; return;
	case 0x64:
		width(m, offset, bytes, 4);
		if ((m->cap & CAP_PMR) == 0)
			violate(m, "VTD-36: PMEN without protected regions");
		if ((v >> 31 & 1) == 0 && (m->gsts & TE) == 0)
			violate(m, "VTD-35: protected regions off before translation is on");
		m->pmen = (v >> 31 & 1) != 0 ? 1u << 31 | 1 : 0;
		return;
	case 0x88:
		width(m, offset, bytes, 8);
		if ((m->gsts & QIE) == 0 && v != 0)
			violate(
			    m, "VTD-33: IQT 0x%llx while the queue is off", (unsigned long long)v);
		if ((v & 15) != 0 || v >= ring_bytes(m))
			violate(m, "VTD-62: IQT 0x%llx", (unsigned long long)v);
		m->iqt = v;
		m->doorbells++;
		progress(m);
		return;
	case 0xb8:
		width(m, offset, bytes, 8);
		if ((m->ecap & BIT(3)) == 0)
			violate(m, "VTD-72: IRTA without ECAP.IR");
		m->irta = v;
		return;
	case 0x90:
		width(m, offset, bytes, 8);
		if ((m->gsts & QIE) != 0)
			violate(m, "VTD-33: IQA written while the queue is on");
		if ((v & BITS(11, 3)) != 0)
			violate(m, "VTD-33: IQA 0x%llx", (unsigned long long)v);
		m->iqa = v;
		return;
	}
	violate(m, "write of register 0x%x", offset);
}

static void
tick(void *model)
{
	progress(model);
}

/* ---- The world outside ---- */

static void
stored(void *model, uint64_t pa, uint64_t before, uint64_t after UNUSED)
{
	struct model_vtd *m = model;

	if ((m->cap & CAP_RWBF) != 0) {
		uint32_t i = 0;

		while (i < m->buffered_count && m->buffered[i].pa != pa)
			i++;
		if (i == BUFFERED) {
			violate(m, "the model's write buffer is full");
		} else if (i == m->buffered_count) {
			m->buffered[i].pa = pa;
			m->buffered[i].v = before;
			m->buffered_count++;
		}
	}
	cache_stored(m);
}

static void
freed(void *model, uint64_t pa, unsigned order)
{
	cache_freed(model, pa, order);
}

enum status
irq_claim_message(irq_fn *fn, void *arg, const char *name UNUSED, struct irqc_message *out)
{
	if (only->no_message)
		return E_UNSUPPORTED;
	only->fn = fn;
	only->fn_arg = arg;
	*out = (struct irqc_message){ .address = only->message, .data = 0x41 };
	return OK;
}

/* Firmware's: every bus, every function, passed through. */
static void
firmware(struct model_vtd *m)
{
	struct paddr root, table;
	uint64_t *p;

	if (frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &root) != OK ||
	    frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &table) != OK)
		abort();
	p = frame_ptr(table);
	for (unsigned i = 0; i < 256; i++) {
		p[2 * i] = 1 | 2 << 2;
		p[2 * i + 1] = 2 | 7 << 8;
	}
	p = frame_ptr(root);
	for (unsigned i = 0; i < 256; i++)
		p[2 * i] = table.v | 1;
	cache_clean(frame_ptr(root), PAGE_SIZE);
	cache_clean(frame_ptr(table), PAGE_SIZE);
	unit_host_publish();
	m->root = root.v;
	m->rtaddr = root.v | (m->s.firmware_scalable ? 1 << 10 : 0);
	m->root_set = m->firmware_root = true;
	m->gsts |= TE | SRTP;
}


struct model_vtd *
model_vtd_create(const struct model_vtd_setup *setup)
{
	struct model_vtd *m = calloc(1, sizeof(*m));

	if (m == NULL)
		abort();
	m->s = *setup;
	if (m->s.base == 0)
		m->s.base = 0xfed9'0000;
	if (m->s.host_width == 0)
		m->s.host_width = 48;
	m->cap = setup->cap != 0 ? setup->cap : MODEL_VTD_CAP;
	m->ecap = setup->ecap != 0 ? setup->ecap : MODEL_VTD_ECAP;
	m->gone = setup->gone;
	m->records = (uint32_t)FIELD_GET(BITS(47, 40), m->cap) + 1;
	m->message = 0xfee0'1000;
	m->fectl = 1u << 31;
	if (setup->firmware)
		firmware(m);
	if (setup->firmware_queue) {
		m->gsts |= QIE;
		m->iqt = setup->firmware_queue_stuck ? 64 : 0;
		m->fsts |= setup->firmware_queue_stuck ? IQE : 0;
	}
	if (setup->old_format)
		m->gsts |= CFI;
	if (setup->firmware_remapping)
		m->gsts |= IRE | SIRTP;
	if (setup->protected_regions)
		m->pmen = 1u << 31 | 1;
	fake_device_add(&(struct fake_device){ .base = m->s.base,
	    .len = 0x4000,
	    .model = m,
	    .read = read_register,
	    .write = write_register,
	    .tick = tick });
	fake_hooks = (struct fake_hooks){ .arg = m, .store = stored, .freed = freed };
	only = m;
	return m;
}

void
model_vtd_destroy(struct model_vtd *m)
{
	memset(&fake_hooks, 0, sizeof(fake_hooks));
	free(m);
}

void
model_vtd_watch(struct model_vtd *m, uint32_t sid, uint64_t iova)
{
	m->watch[m->watches++] = (struct watch){ .sid = sid, .iova = iova };
	cache_stored(m);
}

void model_vtd_hang(struct model_vtd *m, bool hang) { m->hang = hang; }
void model_vtd_drop_waits(struct model_vtd *m) { m->drop = true; }
void model_vtd_ack_never(struct model_vtd *m, uint32_t bits) { m->never = bits; }
void model_vtd_no_message(struct model_vtd *m) { m->no_message = true; }
void model_vtd_message(struct model_vtd *m, uint64_t address) { m->message = address; }
void model_vtd_die(struct model_vtd *m) { m->gone = true; }
void model_vtd_status_word(struct model_vtd *m, uint32_t v) { store32(m->status_at, v); }

void
model_vtd_refuse(struct model_vtd *m, uint8_t type, uint32_t times)
{
	m->refuse_type = type;
	m->refuse_times = times;
}

uint32_t model_vtd_violations(const struct model_vtd *m) { return m->violations; }
const char *model_vtd_violation(const struct model_vtd *m) { return m->violation; }
uint32_t model_vtd_status(const struct model_vtd *m) { return m->gsts; }
uint32_t model_vtd_windows(const struct model_vtd *m) { return m->windows; }
uint64_t model_vtd_root(const struct model_vtd *m) { return m->root; }
uint32_t model_vtd_te_off(const struct model_vtd *m) { return m->te_off; }

static uint32_t
take(uint32_t *counter)
{
	uint32_t n = *counter;

	*counter = 0;
	return n;
}

uint32_t
model_vtd_executed(struct model_vtd *m, uint8_t type)
{
	return take(&m->executed[type & 15]);
}
uint32_t model_vtd_doorbells(struct model_vtd *m) { return take(&m->doorbells); }
uint32_t model_vtd_interrupts(struct model_vtd *m) { return take(&m->interrupts); }

uint64_t
model_vtd_descriptor(struct model_vtd *m, uint32_t index, unsigned half)
{
	uint64_t at = (m->iqa & BITS(63, 12)) + (16ull * index) % ring_bytes(m);

	return ((const uint64_t *)frame_ptr((struct paddr){ at }))[half];
}
