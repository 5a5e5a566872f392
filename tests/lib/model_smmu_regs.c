/*
 * The software SMMUv3, second half: command queue and registers.  See model_smmu.h.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/model_smmu_state.h"

#include "tests/lib/fake_kernel.h"

/* ---- Commands ---- */

#define DROP_IF(array, count, cond) \
	do { \
		uint32_t keep = 0; \
		for (uint32_t i = 0; i < (count); i++) { \
			const __typeof__((array)[0]) *e = &(array)[i]; \
			if (!(cond)) \
				(array)[keep++] = *e; \
		} \
		(count) = keep; \
	} while (0)

static void
drop_config(struct model_smmu *m, uint32_t sid, bool all, bool leaf)
{
	uint32_t split = m->strtab_cfg >> 6 & 31;

	DROP_IF(m->ste, m->ste_count, all || e->sid == sid);
	DROP_IF(m->cd, m->cd_count, all || e->sid == sid);
	if (!leaf)
		DROP_IF(m->l1, m->l1_count, all || e->index == sid >> split);
	for (uint32_t i = 0; i < m->watch_count; i++)
		if (all || m->watch[i].sid == sid)
			for (unsigned n = 0; n < 8; n++)
				m->watch[i].word[n].forget_before = m->seq + 1;
}

static void
take_effect(struct model_smmu *m, const struct command *c)
{
	uint16_t vmid = (uint16_t)(c->lo >> 32), asid = (uint16_t)(c->lo >> 48);
	uint32_t sid = (uint32_t)(c->lo >> 32);
	bool leaf = (c->hi & 1) != 0;
	uint64_t at = c->hi & BITS(63, 12), len = PAGE_SIZE;

	if (FIELD_GET(BITS(11, 10), c->hi) != 0)
		len = (FIELD_GET(BITS(16, 12), c->lo) + 1) << FIELD_GET(BITS(24, 20), c->lo) << 12;
	switch (c->lo & 0xff) {
	case 0x03:
		drop_config(m, sid, false, leaf);
		break;
	case 0x04:
		drop_config(m, 0, (c->hi & 31) == 31, false);
		m->flushed_pending[0] = true;
		break;
	case 0x05:
	case 0x06:
		DROP_IF(m->cd, m->cd_count, e->sid == sid);
		break;
	case 0x10:
		DROP_IF(m->tlb, m->tlb_count, !e->el2 && e->stage == 1 && e->vmid == vmid);
		DROP_IF(m->walk, m->walk_count, e->stage == 1 && e->vmid == vmid);
		break;
	case 0x11:
		DROP_IF(m->tlb, m->tlb_count,
		    !e->el2 && e->stage == 1 && e->vmid == vmid && e->asid == asid && !e->global);
		DROP_IF(
		    m->walk, m->walk_count, e->stage == 1 && e->vmid == vmid && e->asid == asid);
		break;
	case 0x12:
		DROP_IF(m->tlb, m->tlb_count,
		    !e->el2 && e->stage == 1 && e->vmid == vmid && (e->asid == asid || e->global) &&
			ranges_overlap(e->at, BIT(e->lg2), at, len));
		if (!leaf)
			DROP_IF(m->walk, m->walk_count,
			    e->stage == 1 && e->vmid == vmid && e->asid == asid &&
				ranges_overlap(e->at, BIT(e->lg2), at, len));
		break;
	case 0x20:
		DROP_IF(m->tlb, m->tlb_count, e->el2);
		m->flushed_pending[1] = true;
		break;
	case 0x28:
		DROP_IF(m->tlb, m->tlb_count, !e->el2 && e->vmid == vmid);
		DROP_IF(m->walk, m->walk_count, e->vmid == vmid);
		break;
	case 0x2a:
		DROP_IF(m->tlb, m->tlb_count, !e->el2 && e->stage == 2 && e->vmid == vmid &&
		    ranges_overlap(e->at, BIT(e->lg2), at, len));
		if (!leaf)
			DROP_IF(m->walk, m->walk_count, e->stage == 2 && e->vmid == vmid &&
			    ranges_overlap(e->at, BIT(e->lg2), at, len));
		break;
	case 0x30:
		DROP_IF(m->tlb, m->tlb_count, !e->el2);
		DROP_IF(m->walk, m->walk_count, true);
		m->flushed_pending[2] = true;
		break;
	}
}

/* The laziest unit: everything happens at the sync, last command first, and devices try in between.
 */
static void
sync_all(struct model_smmu *m)
{
	while (m->pending_count != 0) {
		smmu_try_all(m);
		take_effect(m, &m->pending[--m->pending_count]);
	}
	m->flushed_config |= m->flushed_pending[0];
	m->flushed_el2 |= m->flushed_pending[1];
	m->flushed_tlb |= m->flushed_pending[2];
	for (uint32_t i = 0; i < m->watch_count; i++)
		for (unsigned n = 0; n < 8; n++) {
			struct word *w = &m->watch[i].word[n];
			uint32_t from = 0;

			/* What was current at the CFGI stays, and what came later. */
			while (from + 1 < w->count && w->seq[from + 1] < w->forget_before)
				from++;
			memmove(w->value, w->value + from, (w->count - from) * sizeof(w->value[0]));
			memmove(w->seq, w->seq + from, (w->count - from) * sizeof(w->seq[0]));
			w->count -= from;
			w->forget_before = 0;
		}
	smmu_try_all(m);
}

/* Illegal, by the manual; says why [ch. 4]. */
static const char *
illegal(const struct model_smmu *m, const struct command *c)
{
	uint64_t op = c->lo & 0xff, tg = FIELD_GET(BITS(11, 10), c->hi),
		 ttl = FIELD_GET(BITS(9, 8), c->hi);
	uint64_t num = FIELD_GET(BITS(16, 12), c->lo), scale = FIELD_GET(BITS(24, 20), c->lo);

	switch (op) {
	case 0x03:
		return (c->lo & BITS(31, 8)) != 0 || (c->hi & ~1ull) != 0 ?
		    "CFGI_STE with reserved bits" :
		    NULL;
	case 0x04:
		return (c->lo & BITS(31, 8)) != 0 || (c->hi & ~31ull) != 0 ?
		    "CFGI_STE_RANGE with reserved bits" :
		    NULL;
	case 0x06:
		return (c->lo & BITS(31, 8)) != 0 || c->hi != 0 ? "CFGI_CD_ALL with reserved bits" :
								  NULL;
	case 0x11:
		if (!has_s1(m))
			return "SMMU-135: a stage 1 command without stage 1";
		return (c->lo & BITS(31, 8)) != 0 || c->hi != 0 ?
		    "TLBI_NH_ASID with reserved bits" :
		    NULL;
	case 0x12:
	case 0x2a:
		if (op == 0x12 ? !has_s1(m) : !has_s2(m))
			return "SMMU-135: a command of a stage that is not there";
		if ((c->lo & (BITS(11, 8) | BITS(19, 17) | BITS(31, 25))) != 0 ||
		    (op == 0x2a && c->lo >> 48 != 0) || (c->hi & BITS(7, 1)) != 0)
			return "TLBI by address with reserved bits";
		if (!has_ril(m))
			return num != 0 || scale != 0 || tg != 0 || ttl != 0 ?
			    "SMMU-32: a range without RIL" :
			    NULL;
		if (tg == 0)
			return num != 0 || scale != 0 || ttl != 0 ?
			    "SMMU-31: range fields with TG 0" :
			    NULL;
		if (num == 0 && scale == 0 && ttl == 0)
			return "SMMU-32: a range of one granule without TTL";
		if (tg != 1)
			return "SMMU-31: a granule that is not in use";
		return NULL;
	case 0x20:
		if (!has_hyp(m))
			return "SMMU-134: TLBI_EL2_ALL without HYP";
		return (c->lo & ~0xffull) != 0 || c->hi != 0 ? "TLBI_EL2_ALL with reserved bits" :
							       NULL;
	case 0x28:
		if (!has_s2(m))
			return "SMMU-135: TLBI_S12_VMALL without stage 2";
		return (c->lo & (BITS(31, 8) | BITS(63, 48))) != 0 || c->hi != 0 ?
		    "TLBI_S12_VMALL with reserved bits" :
		    NULL;
	case 0x30:
		return (c->lo & ~0xffull) != 0 || c->hi != 0 ? "TLBI_NSNH_ALL with reserved bits" :
							       NULL;
	case 0x46:
		if (FIELD_GET(BITS(13, 12), c->lo) == 3)
			return "SMMU-36: CMD_SYNC with CS 3";
		return c->lo != 0x46 || c->hi != 0 ? "SMMU-37: a sync that signals" : NULL;
	default:
		return "SMMU-134: a command that is not there, or that capOS has no use for";
	}
}

static void
stop_queue(struct model_smmu *m, uint32_t code)
{
	m->cmdq_cons = (m->cmdq_cons & ~(127u << 24)) | code << 24;
	m->stopped = true;
	smmu_raise_gerror(m, ERR_CMDQ);
}

/* One command; false: nothing to do, or stopped. */
static bool
execute(struct model_smmu *m)
{
	uint32_t lg2 = queue_lg2(m->cmdq), mask = (2u << lg2) - 1, cons = m->cmdq_cons & mask;
	uint32_t index = cons & ((1u << lg2) - 1);
	uint64_t pa = queue_at(m->cmdq) + 16ull * index;
	struct command c;
	const char *why;

	if (m->hang || m->stopped || (m->cr0ack & CR0_CMDQEN) == 0 || cons == (m->cmdq_prod & mask))
		return false;
	if (m->abort_next) {
		stop_queue(m, 2);
		return false;
	}
	c = (struct command){ fake_device_load(pa), fake_device_load(pa + 8) };
	if (!m->patched[index])
		CHECK(m, c.lo == m->shown[index].lo && c.hi == m->shown[index].hi,
		    "SMMU-22: a command changed after it was published");
	why = illegal(m, &c);
	if (why != NULL)
		smmu_violation(m, "CERROR_ILL: %s: 0x%llx 0x%llx", why, ULL(c.lo), ULL(c.hi));
	if (why == NULL && m->refuse_times != 0 && (c.lo & 0xff) == m->refuse_op) {
		m->refuse_times--;
		why = "as the test wants";
	}
	if (why != NULL) {
		m->patched[index] = true;
		stop_queue(m, 1);
		return false;
	}
	m->patched[index] = false;
	m->executed[c.lo & 0xff]++;
	if ((c.lo & 0xff) == 0x46) {
		smmu_show_records(m);
		sync_all(m);
	} else {
		if ((c.lo & 0xff) == 0x11 || (c.lo & 0xff) == 0x12) {
			CHECK(m, has_s2(m) || (c.lo & BITS(47, 32)) == 0,
			    "SMMU-34: a VMID without stage 2");
			CHECK(m, c.lo >> 48 != 0, "SMMU-68: ASID 0");
		}
		if (m->pending_count == PENDING_MAX)
			abort();
		m->pending[m->pending_count++] = c;
		CHECK(m, m->pending_count <= 64,
		    "SMMU-120: 64 commands without a sync (MMU-700 2812531)");
	}
	m->cmdq_cons = (m->cmdq_cons & ~mask) | ((cons + 1) & mask);
	return true;
}

static void
pass_time(struct model_smmu *m)
{
	if (m->setup.lag == 0)
		return;
	m->credit++;
	if (m->credit >= m->setup.lag) {
		m->credit = 0;
		(void)execute(m);
	}
}

static void
doorbell(struct model_smmu *m, uint32_t v)
{
	uint32_t lg2 = queue_lg2(m->cmdq), mask = (2u << lg2) - 1, old = m->cmdq_prod & mask;
	uint32_t added = (v - old) & mask, used = (old - m->cmdq_cons) & mask;

	CHECK(m, (v & ~mask) == 0, "SMMU-22: PROD 0x%x has bits beyond the index", v);
	if ((m->cr0 & CR0_CMDQEN) == 0) {
		m->cmdq_prod = v;
		return;
	}
	CHECK(m, (m->cr0ack & CR0_CMDQEN) != 0,
	    "SMMU-13: PROD written before CMDQEN was acknowledged");
	CHECK(m, added != 0, "a doorbell without a command");
	CHECK(m, used + added <= 1u << lg2, "SMMU-22: PROD passes CONS");
	m->doorbells++;
	for (uint32_t i = 0; i < added && i < 1u << lg2; i++) {
		uint32_t index = (old + i) & ((1u << lg2) - 1);
		uint64_t pa = queue_at(m->cmdq) + 16ull * index;

		m->shown[index] =
		    (struct command){ fake_device_load(pa), fake_device_load(pa + 8) };
		m->patched[index] = false;
	}
	m->cmdq_prod = v;
	if (m->setup.lag == 0)
		while (execute(m))
			;
}

/* ---- Registers ---- */

static void
settle_cr0(struct model_smmu *m)
{
	uint32_t before = m->cr0ack, now = m->cr0 & ~m->never;

	m->cr0ack = now;
	if ((before & CR0_SMMUEN) == 0 && (now & CR0_SMMUEN) != 0)
		smmu_try_all(m);
	if ((before & CR0_CMDQEN) == 0 && (now & CR0_CMDQEN) != 0)
		m->pending_count = 0;
}

static void
acknowledge(struct model_smmu *m)
{
	if (m->cr0_wait != 0 && --m->cr0_wait == 0)
		settle_cr0(m);
	if (m->irq_wait != 0 && --m->irq_wait == 0)
		m->irq_ack = m->irq_ctrl;
	if (m->gbpa_wait != 0 && --m->gbpa_wait == 0)
		m->gbpa = m->gbpa_new & ~BIT(31);
}

static uint64_t
read_register(void *model, uint32_t offset, unsigned bytes)
{
	struct model_smmu *m = model;
	uint32_t page1 = m->setup.page0 ? 0 : 0x10000;

	acknowledge(m);
	pass_time(m);
	if (bytes != 4) {
		smmu_violation(m, "SMMU-02: a read of %u bytes at 0x%x", bytes, offset);
		return 0;
	}
	if (offset == page1 + 0xa8)
		return m->evtq_prod;
	if (offset == page1 + 0xac)
		return m->evtq_cons;
	switch (offset) {
	case 0x00: return m->idr0;
	case 0x04: return m->idr1;
	case 0x0c: return m->idr3;
	case 0x14: return m->idr5;
	case 0x18: return 0;
	case 0x20: return m->cr0;
	case 0x24: return m->cr0ack;
	case 0x28: return m->cr1;
	case 0x2c: return m->cr2;
	case 0x44: return m->setup.no_gbpa ? 0 : m->gbpa | (m->gbpa_wait != 0 ? 1u << 31 : 0);
	case 0x50: return m->irq_ctrl;
	case 0x54: return m->irq_ack;
	case 0x60: return m->gerror;
	case 0x64: return m->gerrorn;
	case 0x88: return m->strtab_cfg;
	case 0x98: return m->cmdq_prod;
	case 0x9c: return m->cmdq_cons;
	}
	smmu_violation(m, "SMMU-03: a read at 0x%x", offset);
	return 0;
}

static void
write_cr0(struct model_smmu *m, uint32_t v)
{
	uint32_t on = v & ~m->cr0ack;

	CHECK(m, (v & ~31u) == 0, "CR0 with reserved bits: 0x%x", v);
	CHECK(m, (v & CR0_PRIQEN) == 0, "the PRI queue is not ours");
	CHECK(m, m->setup.no_gbpa || (m->gbpa & BIT(20)) != 0,
	    "SMMU-12: CR0 is written before GBPA.ABORT is in force");
	CHECK(m,
	    m->cr0 == m->cr0ack || ((m->cr0 ^ v) & (m->cr0 ^ m->cr0ack)) == 0 ||
		(v == 0 && m->never != 0),
	    "SMMU-13: a field of CR0 changes again before its update is acknowledged");
	if (!m->cr0_written)
		CHECK(m, v == 0, "SMMU-14: firmware's settings are not turned off first");
	m->cr0_written = true;
	if ((on & CR0_SMMUEN) != 0) {
		bool coherent = (m->cr1 & 0xfff) == 0xd75;

		CHECK(m, m->flushed_config, "SMMU-14: enabled without CFGI_ALL and sync");
		CHECK(m, m->flushed_tlb, "SMMU-14: enabled without TLBI_NSNH_ALL and sync");
		CHECK(m, !has_hyp(m) || m->flushed_el2,
		    "SMMU-14: enabled without TLBI_EL2_ALL and sync");
		CHECK(
		    m, (m->cr0ack & CR0_EVENTQEN) != 0, "SMMU-14: enabled before the event queue");
		CHECK(m, (m->idr0 & BIT(10)) == 0 || (m->cr0ack & CR0_ATSCHK) != 0,
		    "SMMU-14: enabled without ATSCHK");
		CHECK(m, m->cr2 == 6, "SMMU-14: CR2 is 0x%x", m->cr2);
		CHECK(m, coherent || m->cr1 == 0, "SMMU-14: CR1 is 0x%x", m->cr1);
		CHECK(m, m->irq_ctrl == m->irq_ack, "SMMU-13: enabled with interrupts unsettled");
		CHECK(m, smmu_is_table(m->strtab & BITS(51, 6), 64),
		    "SMMU-14: enabled without a stream table");
	}
	m->cr0 = v;
	m->cr0_wait = m->setup.ack_delay;
	if (m->cr0_wait == 0)
		settle_cr0(m);
}

static bool
off(const struct model_smmu *m, uint32_t bits)
{
	return ((m->cr0 | m->cr0ack) & bits) == 0;
}

static void
write_queue_base(struct model_smmu *m, uint64_t *base, uint64_t v, uint32_t enable,
    uint32_t max_lg2, uint32_t entry)
{
	CHECK(m, off(m, enable), "SMMU-15: a queue base changes while the queue is on");
	CHECK(m, queue_lg2(v) <= max_lg2, "SMMU-21: a queue of 1 << %u entries", queue_lg2(v));
	CHECK(m, is_aligned(queue_at(v), max_u64(32, (uint64_t)entry << queue_lg2(v))),
	    "SMMU-21: a queue is misaligned");
	CHECK(m, (v & (BIT(63) | BITS(61, 52))) == 0, "a queue base with reserved bits");
	CHECK(m, smmu_is_table(queue_at(v), (uint64_t)entry << queue_lg2(v)),
	    "a queue is not in kernel frames");
	*base = v;
}

static void
store_register(struct model_smmu *m, uint32_t offset, unsigned bytes, uint64_t v)
{
	uint32_t page1 = m->setup.page0 ? 0 : 0x10000, v32 = (uint32_t)v;
	bool wide = offset == 0x80 || offset == 0x90 || offset == 0xa0 || offset == 0x68 ||
	    offset == 0xb0 || offset == 0xd0;

	pass_time(m);
	if (bytes != (wide ? 8 : 4)) {
		smmu_violation(m, "SMMU-02: a write of %u bytes at 0x%x", bytes, offset);
		return;
	}
	if (offset == page1 + 0xa8) {
		CHECK(m, off(m, CR0_EVENTQEN), "EVENTQ_PROD is written while the queue is on");
		m->evtq_prod = v32;
		return;
	}
	if (offset == page1 + 0xac) {
		uint32_t mask = (2u << queue_lg2(m->evtq)) - 1;

		if (!off(m, CR0_EVENTQEN)) {
			CHECK(m,
			    ((v32 - m->evtq_cons) & mask) <= ((m->evtq_prod - m->evtq_cons) & mask),
			    "SMMU-20: EVENTQ_CONS passes PROD");
			CHECK(m,
			    ((v32 ^ m->evtq_cons) & OVFLG) == 0 ||
				((m->evtq_prod ^ m->evtq_cons) & OVFLG) != 0,
			    "SMMU-24: an overflow is acknowledged that was not there");
			CHECK(m, (v32 & ~(mask | OVFLG)) == 0, "EVENTQ_CONS with reserved bits");
		}
		m->evtq_cons = v32;
		return;
	}
	switch (offset) {
	case 0x20:
		write_cr0(m, v32);
		return;
	case 0x28:
		CHECK(m, off(m, CR0_SMMUEN | CR0_CMDQEN | CR0_EVENTQEN),
		    "SMMU-15: CR1 changes while something is on");
		m->cr1 = v32;
		return;
	case 0x2c:
		CHECK(m, off(m, CR0_SMMUEN | CR0_CMDQEN | CR0_EVENTQEN),
		    "SMMU-15: CR2 changes while something is on");
		m->cr2 = v32;
		return;
	case 0x44:
		if (m->setup.no_gbpa)
			return;
		CHECK(m, m->gbpa_wait == 0, "SMMU-11: GBPA is written during an update");
		CHECK(m, (v32 & 1u << 31) != 0, "SMMU-11: GBPA is written without UPDATE");
		m->gbpa_new = v32;
		m->gbpa_wait = m->setup.ack_delay;
		if (m->gbpa_wait == 0)
			m->gbpa = v32 & ~(1u << 31);
		return;
	case 0x50:
		CHECK(m, m->irq_ctrl == m->irq_ack,
		    "SMMU-13: IRQ_CTRL changes before it is acknowledged");
		CHECK(m, (v32 & ~7u) == 0, "IRQ_CTRL with reserved bits");
		m->irq_ctrl = v32;
		m->irq_wait = m->setup.ack_delay;
		if (m->irq_wait == 0)
			m->irq_ack = v32;
		return;
	case 0x64: {
		uint32_t active = m->gerror ^ m->gerrorn, toggled = m->gerrorn ^ v32;

		CHECK(m, (toggled & ~active) == 0, "SMMU-28: GERRORN toggles 0x%x, active is 0x%x",
		    toggled, active);
		if ((toggled & ERR_CMDQ) != 0)
			m->stopped = false;
		m->gerrorn = v32;
		if (m->setup.lag == 0)
			while (execute(m))
				;
		return;
	}
	case 0x68:
	case 0xb0:
	case 0xd0:
		CHECK(m, (m->idr0 & BIT(13)) != 0, "message registers without IDR0.MSI");
		CHECK(m,
		    ((m->irq_ctrl | m->irq_ack) &
			(offset == 0x68        ? IRQ_GERROR :
				offset == 0xb0 ? IRQ_EVENTQ :
						 2u)) == 0,
		    "SMMU-14: message registers change while their interrupt is on");
		CHECK(m, v == 0, "messages are not used");
		return;
	case 0x80:
		CHECK(
		    m, off(m, CR0_SMMUEN), "SMMU-15: STRTAB_BASE changes while translation is on");
		CHECK(m, (v & (BIT(63) | BITS(61, 52) | BITS(5, 0))) == 0,
		    "STRTAB_BASE with reserved bits");
		m->strtab = v;
		return;
	case 0x88: {
		uint32_t lg2 = v32 & 63, split = v32 >> 6 & 31, fmt = v32 >> 16 & 3;
		uint64_t size = fmt == 0 ? 64ull << lg2 : 8ull << (lg2 > split ? lg2 - split : 0);

		CHECK(m, off(m, CR0_SMMUEN),
		    "SMMU-15: STRTAB_BASE_CFG changes while translation is on");
		CHECK(m, lg2 <= (m->idr1 & 63), "SMMU-45: LOG2SIZE %u beyond SIDSIZE", lg2);
		CHECK(m, fmt == 0 || (fmt == 1 && (m->idr0 >> 27 & 3) == 1),
		    "SMMU-46: a table format that is not there");
		CHECK(m, fmt == 0 || split == 6 || split == 8 || split == 10, "SMMU-46: SPLIT %u",
		    split);
		CHECK(m, is_aligned(m->strtab & BITS(51, 6), max_u64(size, 64)),
		    "SMMU-45: the stream table is misaligned");
		CHECK(m, smmu_is_table(m->strtab & BITS(51, 6), size),
		    "the stream table is not in kernel frames");
		m->strtab_cfg = v32;
		return;
	}
	case 0x90:
		write_queue_base(m, &m->cmdq, v, CR0_CMDQEN, m->idr1 >> 21 & 31, 16);
		return;
	case 0x98:
		doorbell(m, v32);
		return;
	case 0x9c:
		CHECK(m, off(m, CR0_CMDQEN), "CMDQ_CONS is written while the queue is on");
		m->cmdq_cons = v32;
		return;
	case 0xa0:
		write_queue_base(m, &m->evtq, v, CR0_EVENTQEN, m->idr1 >> 16 & 31, 32);
		return;
	}
	smmu_violation(m, "SMMU-03: a write at 0x%x", offset);
}

static void
write_register(void *model, uint32_t offset, unsigned bytes, uint64_t v)
{
	store_register(model, offset, bytes, v);
	smmu_try_all(model);
}

static void
tick(void *model)
{
	struct model_smmu *m = model;

	pass_time(m);
}

/* ---- Making one ---- */

/* A table of firmware's own, all bypass, with what that leaves in caches. */
static void
firmware_was_here(struct model_smmu *m)
{
	m->cr0 = m->cr0ack = CR0_SMMUEN | CR0_CMDQEN | CR0_EVENTQEN;
	m->cr1 = 0xd75;
	m->irq_ctrl = m->irq_ack = IRQ_GERROR | IRQ_EVENTQ;
	m->gerror = 0x5;
	m->stopped = true;
	m->gbpa = 0x1000;
	m->evtq_prod = 17;
	m->cmdq_prod = m->cmdq_cons = 5;
	for (uint32_t i = 0; i < 16; i++) {
		m->ste[m->ste_count++] = (struct cached_ste){ .sid = i, .w = { 9 } };
		m->tlb[m->tlb_count++] = (struct cached_tlb){ .stage = 1,
			.asid = (uint16_t)(i + 1),
			.at = 0x1'0000'0000,
			.to = 0x4200'0000,
			.lg2 = 30,
			.read = true,
			.write = true };
		m->tlb[m->tlb_count++] = (struct cached_tlb){ .stage = 2,
			.vmid = (uint16_t)(i + 1),
			.at = 0x1'0000'0000,
			.to = 0x4200'0000,
			.lg2 = 30,
			.read = true,
			.write = true };
	}
	m->tlb[m->tlb_count++] = (struct cached_tlb){ .el2 = true, .lg2 = 30 };
}

struct model_smmu *
model_smmu_create(const struct model_smmu_setup *setup)
{
	struct model_smmu *m = calloc(1, sizeof(*m));
	struct fake_device d = {
		.model = m, .read = read_register, .write = write_register, .tick = tick
	};

	if (m == NULL)
		abort();
	m->setup = *setup;
	if (m->setup.base == 0)
		m->setup.base = 0x0905'0000;
	m->idr0 = setup->idr0 != 0 ? setup->idr0 : 0x0d44101b;
	m->idr1 = setup->idr1 != 0 ? setup->idr1 : 0x02730010;
	m->idr3 = setup->idr0 != 0 ? setup->idr3 : 0x1414;
	m->idr5 = setup->idr5 != 0 ? setup->idr5 : 0x74;
	m->gbpa = 0x1000;
	m->shown = calloc(QUEUE_MAX, sizeof(*m->shown));
	m->patched = calloc(QUEUE_MAX, sizeof(*m->patched));
	if (setup->firmware)
		firmware_was_here(m);
	d.base = m->setup.base;
	d.len = setup->page0 ? 0x10000 : 0x20000;
	fake_device_add(&d);
	fake_hooks.arg = m;
	fake_hooks.store = smmu_on_store;
	fake_hooks.freed = smmu_on_freed;
	return m;
}

void
model_smmu_destroy(struct model_smmu *m)
{
	fake_hooks.store = NULL;
	fake_hooks.freed = NULL;
	free(m->shown);
	free(m->patched);
	free(m);
}

void model_smmu_queue_abort(struct model_smmu *m) { m->abort_next = true; }
void model_smmu_gerror(struct model_smmu *m, uint32_t bits) { smmu_raise_gerror(m, bits); }
void model_smmu_ack_never(struct model_smmu *m, uint32_t bits) { m->never = bits; }
uint32_t model_smmu_cr0(const struct model_smmu *m) { return m->cr0ack; }
bool model_smmu_aborts_off(const struct model_smmu *m) { return (m->gbpa & BIT(20)) != 0; }

void
model_smmu_hang(struct model_smmu *m, bool hang)
{
	m->hang = hang;
	if (m->setup.lag == 0)
		while (execute(m))
			;
}

void
model_smmu_refuse(struct model_smmu *m, uint8_t op, uint32_t times)
{
	m->refuse_op = op;
	m->refuse_times = times;
}

uint32_t
model_smmu_register(const struct model_smmu *m, uint32_t offset)
{
	switch (offset) {
	case 0x28: return m->cr1;
	case 0x2c: return m->cr2;
	case 0x88: return m->strtab_cfg;
	case 0x50: return m->irq_ctrl;
	}
	return 0;
}

uint32_t
model_smmu_executed(struct model_smmu *m, uint8_t op)
{
	uint32_t n = m->executed[op];

	m->executed[op] = 0;
	return n;
}

uint32_t
model_smmu_doorbells(struct model_smmu *m)
{
	uint32_t n = m->doorbells;

	m->doorbells = 0;
	return n;
}

void
model_smmu_entry(struct model_smmu *m, uint32_t sid, uint64_t ste[8], uint64_t cd[8])
{
	uint64_t pa = smmu_locate(m, sid, false);

	memset(ste, 0, 64);
	memset(cd, 0, 64);
	if (pa == 0)
		return;
	for (unsigned i = 0; i < 8; i++)
		ste[i] = fake_device_load(pa + 8 * i);
	if ((ste[0] & 0xf) == 0xb)
		for (unsigned i = 0; i < 8; i++)
			cd[i] = fake_device_load((ste[0] & BITS(51, 6)) + 8 * i);
}
