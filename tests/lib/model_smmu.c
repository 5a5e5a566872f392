/*
 * The software SMMUv3, first half: configuration, translation, watched streams.  See model_smmu.h.
 *
 * Field positions are written here anew, from the checklist's tables, and shared with no driver.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/model_smmu_state.h"

#include "tests/lib/fake_kernel.h"
#include "tests/lib/walk.h"

void
smmu_violation(struct model_smmu *m, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (m->violations++ == 0)
		vsnprintf(m->first, sizeof(m->first), format, ap);
	va_end(ap);
}

uint32_t model_smmu_violations(const struct model_smmu *m) { return m->violations; }
const char *model_smmu_violation(const struct model_smmu *m) { return m->first; }

bool
smmu_is_table(uint64_t pa, uint64_t len)
{
	for (uint64_t p = align_down(pa, PAGE_SIZE); p < pa + len; p += PAGE_SIZE)
		if (!fake_is_memory(p, 8) || frame_state_of((struct paddr){ p }) != FRAME_IOMMU)
			return false;
	return true;
}

/* ---- Events and global errors ---- */

void
smmu_raise_gerror(struct model_smmu *m, uint32_t bits)
{
	uint32_t inactive = ~(m->gerror ^ m->gerrorn) & bits;

	m->gerror ^= inactive;
	if (inactive != 0 && (m->irq_ack & IRQ_GERROR) != 0)
		m->irq_due_gerror = true;
}

static void
write_record(struct model_smmu *m, const uint64_t e[4])
{
	uint32_t lg2 = queue_lg2(m->evtq), mask = (2u << lg2) - 1, size = 1u << lg2;
	uint32_t used = (m->evtq_prod - m->evtq_cons) & mask;

	if ((m->cr0ack & CR0_EVENTQEN) == 0)
		return;
	if (used == size) {
		if (((m->evtq_prod ^ m->evtq_cons) & OVFLG) == 0)
			m->evtq_prod ^= OVFLG;
		return;
	}
	for (unsigned i = 0; i < 4; i++)
		fake_device_store(
		    queue_at(m->evtq) + 32ull * (m->evtq_prod & (size - 1)) + 8 * i, e[i]);
	m->evtq_prod = (m->evtq_prod & OVFLG) | ((m->evtq_prod + 1) & mask);
	if (used == 0 && (m->irq_ack & IRQ_EVENTQ) != 0)
		m->irq_due_event = true;
}

static void
record(struct model_smmu *m, const uint64_t e[4])
{
	if (!m->setup.late_records) {
		write_record(m, e);
		return;
	}
	if (m->late_count == LATE_MAX)
		abort();
	memcpy(m->late[m->late_count++], e, sizeof(m->late[0]));
}

void
smmu_show_records(struct model_smmu *m)
{
	for (uint32_t i = 0; i < m->late_count; i++)
		write_record(m, m->late[i]);
	m->late_count = 0;
}

void
model_smmu_interrupts(struct model_smmu *m)
{
	bool event = m->irq_due_event, gerror = m->irq_due_gerror;

	m->irq_due_event = m->irq_due_gerror = false;
	if (event)
		fake_raise(m->setup.line_eventq);
	if (gerror)
		fake_raise(m->setup.line_gerror);
}

/* ---- Configuration ---- */

/* Where a stream's entry is, through the level 1 cache; 0: C_BAD_STREAMID. */
uint64_t
smmu_locate(struct model_smmu *m, uint32_t sid, bool cached)
{
	uint32_t lg2 = m->strtab_cfg & 63, split = m->strtab_cfg >> 6 & 31, index;
	uint64_t base = m->strtab & BITS(51, 6), desc, span;

	if (lg2 < 32 && sid >> lg2 != 0)
		return 0;
	if ((m->strtab_cfg >> 16 & 3) == 0)
		return base + 64ull * sid;
	index = sid >> split;
	for (uint32_t i = 0; cached && i < m->l1_count; i++)
		if (m->l1[i].index == index) {
			desc = m->l1[i].desc;
			goto found;
		}
	if (!smmu_is_table(base + 8ull * index, 8)) {
		smmu_violation(m, "the level 1 stream table is not in a table frame");
		return 0;
	}
	desc = fake_device_load(base + 8ull * index);
	if (cached && m->l1_count < CACHE_MAX)
		m->l1[m->l1_count++] = (struct cached_l1){ index, desc };
found:
	span = desc & 31;
	CHECK(m, (desc & (BITS(63, 52) | BIT(5))) == 0,
	    "SMMU-45: reserved bits in level 1 descriptor 0x%llx", ULL(desc));
	CHECK(m, span <= split + 1, "SMMU-45: span %u with SPLIT %u", (unsigned)span, split);
	if (span == 0 || (sid & ((1u << split) - 1)) >= 1u << (span - 1))
		return 0;
	CHECK(m, is_aligned(desc & BITS(51, 6), 64ull << (span - 1)),
	    "SMMU-45: a level 2 table is misaligned");
	return (desc & BITS(51, 6)) + 64ull * (sid & ((1u << split) - 1));
}

static bool
fetch8(struct model_smmu *m, uint64_t pa, uint64_t w[8])
{
	if (!smmu_is_table(pa, 64)) {
		smmu_violation(
		    m, "configuration is read from 0x%llx, which is no table frame", ULL(pa));
		return false;
	}
	for (unsigned i = 0; i < 8; i++)
		w[i] = fake_device_load(pa + 8 * i);
	return true;
}

enum decision { ABORT, BYPASS, STAGE1, STAGE2, BAD };

static bool
stage2_fits(const struct model_smmu *m, uint64_t w2, uint64_t ttb, unsigned *level, unsigned *bits)
{
	unsigned t0sz = (unsigned)FIELD_GET(BITS(37, 32), w2),
		 sl0 = (unsigned)FIELD_GET(BITS(39, 38), w2), shift, index;

	*bits = 64 - t0sz;
	if (sl0 == 3 || *bits > max_u64(oas(m), 40) || *bits < 25)
		return false;
	*level = 2 - sl0;
	shift = 39 - 9 * *level;
	if (*bits <= shift)
		return false;
	index = *bits - shift;
	if (index > 9 + (*level == 0 ? 0u : 4u))
		return false;
	if (*level == 0 && oas(m) < 44)
		return false;
	/* A higher start would have done: the walk would resolve nothing there. */
	return is_aligned(ttb, 8ull << index);
}

/* Strict: reserved and unused bits must be zero, and what capOS never wants is a violation [5.2].
 */
static enum decision
judge_ste(struct model_smmu *m, const uint64_t w[8])
{
	unsigned level, bits, config = (unsigned)FIELD_GET(BITS(3, 1), w[0]);

	if ((w[0] & 1) == 0)
		return BAD;
	if ((config & 4) == 0)
		return config == 0 ? ABORT : BAD;
	for (unsigned i = 4; i < 8; i++)
		CHECK(m, w[i] == 0, "SMMU-48: word %u of an entry is 0x%llx", i, ULL(w[i]));
	if (config == 4) {
		smmu_violation(m, "SMMU-16: a bypass entry");
		return BYPASS;
	}
	CHECK(m, FIELD_GET(BITS(29, 28), w[1]) == 0, "SMMU-56: EATS is set");
	CHECK(m, FIELD_GET(BITS(31, 30), w[1]) == 0, "SMMU-57: STRW is not EL1");
	if (config == 5) {
		if (!has_s1(m) || (w[0] & BITS(63, 59)) != 0 || (w[0] & BITS(5, 4)) != 0)
			return BAD;
		CHECK(m, (w[0] & BITS(58, 52)) == 0, "SMMU-48: reserved bits in word 0: 0x%llx",
		    ULL(w[0]));
		if ((w[1] & BIT(27)) != 0 && stall_model(m) != 0)
			return BAD;	/* SMMU-55 */
		CHECK(m, (w[1] & BIT(27)) != 0 || stall_model(m) != 0,
		    "SMMU-55: S1STALLD is clear for a PCIe stream");
		CHECK(m, (w[2] & BITS(15, 0)) == 0, "SMMU-53: stage 1 with VMID %u",
		    (unsigned)(w[2] & 0xffff));
		return STAGE1;
	}
	if (config != 6) {
		smmu_violation(m, "both stages");
		return BAD;
	}
	if (!has_s2(m) || (w[2] & BIT(51)) == 0 || (w[2] & BIT(57)) != 0 || (w[2] & BIT(52)) != 0 ||
	    (w[2] & (BIT(55) | BIT(56))) != 0)
		return BAD;
	if (FIELD_GET(BITS(47, 46), w[2]) != 0 || FIELD_GET(BITS(50, 48), w[2]) > (m->idr5 & 7) ||
	    !stage2_fits(m, w[2], w[3] & BITS(51, 4), &level, &bits))
		return BAD;
	CHECK(
	    m, (w[2] & BIT(53)) == 0 && (w[2] & BIT(58)) != 0, "SMMU-48: S2AFFD set or S2R clear");
	CHECK(m, (w[2] & 0xffff) != 0, "SMMU-53: stage 2 with VMID 0");
	CHECK(m, (m->idr0 & BIT(18)) != 0 || (w[2] & 0xff00) == 0, "a VMID of more than 8 bits");
	CHECK(m, (w[2] & (BITS(31, 16) | BITS(63, 59))) == 0 && (w[3] & ~BITS(51, 4)) == 0,
	    "SMMU-48: reserved bits in words 2, 3: 0x%llx 0x%llx", ULL(w[2]), ULL(w[3]));
	return STAGE2;
}

static bool
cd_is_good(struct model_smmu *m, const uint64_t w[8])
{
	unsigned t0sz = (unsigned)(w[0] & 63), ips = size_bits(FIELD_GET(BITS(34, 32), w[0]));

	if ((w[0] & BIT(31)) == 0 || (w[0] & BIT(41)) == 0 || (w[0] & BIT(15)) != 0 || t0sz < 16 ||
	    t0sz > 39 || FIELD_GET(BITS(7, 6), w[0]) != 0 || ips > oas(m) ||
	    (w[1] & BITS(51, 4)) >> ips != 0)
		return false;
	if ((m->idr0 & BIT(26)) != 0 && (w[0] & BIT(46)) == 0)
		return false;	/* SMMU-62 */
	if ((w[0] & BIT(44)) != 0 && stall_model(m) == 1)
		return false;	/* SMMU-63 */
	CHECK(m, (w[0] & (BIT(42) | BIT(43) | BIT(44))) == 0, "SMMU-63: S, HA or HD is set");
	CHECK(m, (w[0] & BIT(45)) != 0, "SMMU-62: R is clear: faults would be silent");
	CHECK(m, (w[0] & BIT(47)) != 0, "SMMU-67: ASET is clear");
	CHECK(m, (w[0] & BIT(30)) != 0 && (w[0] & BIT(14)) == 0, "SMMU-61: EPD1 clear or EPD0 set");
	CHECK(m, w[0] >> 48 != 0, "SMMU-68: ASID 0");
	CHECK(
	    m, (m->idr0 & BIT(12)) != 0 || w[0] >> 56 == 0, "SMMU-68: an ASID of more than 8 bits");
	CHECK(m, (w[0] & (BITS(37, 36) | BITS(40, 39))) == 0, "SMMU-60: reserved bits");
	CHECK(m, w[3] == 0xff4404, "SMMU-72: MAIR 0x%llx", ULL(w[3]));
	return true;
}

/* ---- Translation ---- */

static bool
tlb_hit(const struct cached_tlb *e, unsigned stage, uint16_t asid, uint16_t vmid, uint64_t at)
{
	return !e->el2 && e->stage == stage && e->vmid == vmid &&
	    (stage == 2 || e->asid == asid || e->global) && at - e->at < BIT(e->lg2);
}

static struct model_dma
fault(struct model_smmu *m, uint8_t type, uint32_t sid, uint64_t iova, bool write, bool quiet)
{
	uint64_t e[4] = { type | (uint64_t)sid << 32, (write ? 0 : BIT(35)) | 2ull << 40, iova, 0 };

	if (!quiet)
		record(m, e);
	return (struct model_dma){ .event = type };
}

/* One access; quiet: a speculative one, which records nothing. */
static struct model_dma
access_memory(struct model_smmu *m, uint32_t sid, uint64_t iova, bool write, bool quiet)
{
	struct cached_ste *ste = NULL;
	struct cached_cd *cd = NULL;
	unsigned stage, level, bits, ips;
	uint16_t asid = 0, vmid;
	uint64_t pa, root;
	struct walk w;

	if ((m->cr0ack & CR0_SMMUEN) == 0) {
		if (m->setup.no_gbpa || (m->gbpa & BIT(20)) == 0)
			return (struct model_dma){ .done = true, .pa = iova, .bypass = true };
		return (struct model_dma){ 0 };
	}
	for (uint32_t i = 0; i < m->ste_count; i++)
		if (m->ste[i].sid == sid)
			ste = &m->ste[i];
	if (ste == NULL) {
		struct cached_ste fresh = { .sid = sid };

		pa = smmu_locate(m, sid, true);
		if (pa == 0)
			return fault(m, 0x02, sid, 0, write, quiet || (m->cr2 & 2) == 0);
		if (!fetch8(m, pa, fresh.w))
			return fault(m, 0x03, sid, 0, write, quiet);
		if (m->ste_count == CACHE_MAX)
			abort();
		ste = &m->ste[m->ste_count++];
		*ste = fresh;
	}
	switch (judge_ste(m, ste->w)) {
	case ABORT:
		return (struct model_dma){ 0 };
	case BYPASS:
		return (struct model_dma){ .done = true, .pa = iova, .bypass = true };
	case BAD:
		smmu_violation(m, "C_BAD_STE: 0x%llx 0x%llx 0x%llx 0x%llx", ULL(ste->w[0]),
		    ULL(ste->w[1]), ULL(ste->w[2]), ULL(ste->w[3]));
		return fault(m, 0x04, sid, 0, write, quiet);
	case STAGE1:
		stage = 1;
		break;
	default:
		stage = 2;
	}
	vmid = has_s2(m) ? (uint16_t)ste->w[2] : 0;
	if (stage == 1) {
		pa = ste->w[0] & BITS(51, 6);
		for (uint32_t i = 0; i < m->cd_count; i++)
			if (m->cd[i].sid == sid && m->cd[i].pa == pa)
				cd = &m->cd[i];
		if (cd == NULL) {
			struct cached_cd fresh = { .sid = sid, .pa = pa };

			if (!fetch8(m, pa, fresh.w))
				return fault(m, 0x09, sid, 0, write, quiet);
			if (m->cd_count == CACHE_MAX)
				abort();
			cd = &m->cd[m->cd_count++];
			*cd = fresh;
		}
		if (!cd_is_good(m, cd->w)) {
			smmu_violation(m, "C_BAD_CD: 0x%llx 0x%llx", ULL(cd->w[0]), ULL(cd->w[1]));
			return fault(m, 0x0a, sid, 0, write, quiet);
		}
		asid = (uint16_t)(cd->w[0] >> 48);
		bits = 64 - (unsigned)(cd->w[0] & 63);
		level = bits > 39 ? 0 : bits > 30 ? 1 : 2;
		ips = size_bits(FIELD_GET(BITS(34, 32), cd->w[0]));
		root = cd->w[1] & BITS(51, 4);
	} else {
		(void)stage2_fits(m, ste->w[2], ste->w[3] & BITS(51, 4), &level, &bits);
		ips = size_bits(FIELD_GET(BITS(50, 48), ste->w[2]));
		root = ste->w[3] & BITS(51, 4);
	}
	for (uint32_t i = 0; i < m->tlb_count; i++) {
		const struct cached_tlb *e = &m->tlb[i];

		if (!tlb_hit(e, stage, asid, vmid, iova))
			continue;
		if (write ? !e->write : !e->read)
			return fault(m, 0x13, sid, iova, write, quiet);
		return (struct model_dma){ .done = true, .pa = e->to + (iova - e->at) };
	}
	if (iova >> bits != 0)
		return fault(m, stage == 1 ? 0x10 : 0x10, sid, iova, write, quiet);
	walk_vmsa(stage, root, level, bits, ips, iova, &w);
	for (uint32_t i = 0; i < w.tables; i++) {
		bool known = false;
		struct cached_walk c = { .stage = (uint8_t)stage,
			.asid = asid,
			.vmid = vmid,
			.at = align_down(iova, BIT(w.table_lg2[i])),
			.lg2 = w.table_lg2[i],
			.table = w.table_at[i] };

		for (uint32_t j = 0; j < m->walk_count; j++) {
			struct cached_walk *o = &m->walk[j];

			if (o->stage == c.stage && o->asid == c.asid && o->vmid == c.vmid &&
			    o->at == c.at && o->lg2 == c.lg2) {
				CHECK(m, o->table == c.table,
				    "SMMU-78: a table entry changed while it was cached");
				known = true;
			}
		}
		if (!known && m->walk_count < CACHE_MAX)
			m->walk[m->walk_count++] = c;
	}
	switch (w.result) {
	case WALK_OK:
		break;
	case WALK_NONE:
		return fault(m, 0x10, sid, iova, write, quiet);
	case WALK_ACCESS:
		smmu_violation(m, "SMMU-82: a leaf without AF");
		return fault(m, 0x12, sid, iova, write, quiet);
	case WALK_SIZE:
		smmu_violation(m, "SMMU-75: an entry leads beyond the output size");
		return fault(m, 0x11, sid, iova, write, quiet);
	default:
		smmu_violation(m,
		    "a malformed page table entry, or one that leads to no table (%u)", w.result);
		return fault(m, 0x0b, sid, iova, write, quiet);
	}
	CHECK(m, !w.executable, "SMMU-83: an executable leaf");
	CHECK(m, stage == 2 || !w.global, "SMMU-34: a global leaf");
	if (m->tlb_count == CACHE_MAX)
		abort();
	m->tlb[m->tlb_count++] = (struct cached_tlb){
		.stage = (uint8_t)stage,
		.asid = asid,
		.vmid = vmid,
		.at = align_down(iova, BIT(w.size_lg2)),
		.to = w.to - (iova & (BIT(w.size_lg2) - 1)),
		.lg2 = w.size_lg2,
		.read = w.read,
		.write = w.write,
		.global = w.global,
	};
	if (write ? !w.write : !w.read)
		return fault(m, 0x13, sid, iova, write, quiet);
	return (struct model_dma){ .done = true, .pa = w.to };
}

struct model_dma
model_smmu_dma(struct model_smmu *m, uint32_t sid, uint64_t iova, bool write)
{
	return access_memory(m, sid, iova, write, false);
}

/* ---- Watched streams ---- */

static void
remember(struct word *word, uint64_t value, uint64_t seq)
{
	if (word->count != 0 && word->value[word->count - 1] == value)
		return;
	if (word->count == VALUES_MAX)
		abort();
	word->value[word->count] = value;
	word->seq[word->count++] = seq;
}

/* Every mixture of words that a fetch may hold: an abort, or one whole entry [SMMU-51]. */
static void
judge_mixtures(struct model_smmu *m, struct watch *w)
{
	for (uint32_t i = 0; i < w->word[0].count; i++) {
		uint64_t w0 = w->word[0].value[i];
		unsigned config = (unsigned)FIELD_GET(BITS(3, 1), w0);

		CHECK(m, (w0 & 1) != 0, "SMMU-50: stream 0x%x may be seen with V clear", w->sid);
		if ((w0 & 1) == 0 || config == 0)
			continue;
		/* A translating word 0 may be met by every value of the other words that it uses.
		 */
		for (unsigned n = 1; n < 4; n++)
			CHECK(m, w->word[n].count == 1 || (config == 5 && n == 3),
			    "SMMU-51: stream 0x%x may be seen with word 0 0x%llx and %u values of word %u",
			    w->sid, ULL(w0), w->word[n].count, n);
	}
}

static void
find_entry(struct model_smmu *m, struct watch *w)
{
	uint64_t pa;

	if (w->ste_pa != 0 || m->strtab == 0)
		return;
	pa = smmu_locate(m, w->sid, false);
	if (pa == 0 || !smmu_is_table(pa, 64))
		return;
	w->ste_pa = pa;
	for (unsigned i = 0; i < 8; i++) {
		w->word[i].count = 0;
		remember(&w->word[i], fake_device_load(pa + 8 * i), m->seq);
	}
}

void
smmu_try_all(struct model_smmu *m)
{
	/* Until firmware's translation is off, its settings hold. */
	m->firmware_off |= m->cr0_written && (m->cr0ack & CR0_SMMUEN) == 0;
	if (m->busy || !m->firmware_off)
		return;
	m->busy = true;
	for (uint32_t i = 0; i < m->watch_count; i++) {
		struct model_dma d;

		find_entry(m, &m->watch[i]);
		d = access_memory(
		    m, m->watch[i].sid, m->watch[i].iova, fake_random() % 2 == 0, true);
		CHECK(m, !d.bypass || (m->setup.no_gbpa && (m->cr0ack & CR0_SMMUEN) == 0),
		    "D1: stream 0x%x passes untranslated", m->watch[i].sid);
		if ((m->cr0ack & CR0_SMMUEN) == 0 || !m->watch[i].keeps)
			continue;
		CHECK(m, d.done && d.pa == m->watch[i].iova,
		    "stream 0x%x does not reach what is reserved for it", m->watch[i].sid);
		m->watch[i].reached += d.done;
	}
	m->busy = false;
}

void
smmu_on_store(void *arg, uint64_t pa, uint64_t before, uint64_t after)
{
	struct model_smmu *m = arg;

	(void)before;
	m->seq++;
	for (uint32_t i = 0; i < m->watch_count; i++) {
		struct watch *w = &m->watch[i];

		find_entry(m, w);
		if (w->ste_pa == 0 || pa - w->ste_pa >= 64)
			continue;
		remember(&w->word[(pa - w->ste_pa) / 8], after, m->seq);
		judge_mixtures(m, w);
	}
	smmu_try_all(m);
}

void
smmu_on_freed(void *arg, uint64_t pa, unsigned order)
{
	struct model_smmu *m = arg;
	uint64_t len = PAGE_SIZE << order;

	for (uint32_t i = 0; i < m->walk_count; i++)
		CHECK(m, m->walk[i].table - pa >= len,
		    "SMMU-33: a table is freed while a walk that passed it is cached");
	for (uint32_t i = 0; i < m->ste_count; i++)
		CHECK(m,
		    (m->ste[i].w[0] & BITS(3, 1)) != 0xc ||
			(m->ste[i].w[3] & BITS(51, 4)) - pa >= len,
		    "a stage 2 root is freed while stream 0x%x is cached with it", m->ste[i].sid);
	for (uint32_t i = 0; i < m->cd_count; i++)
		CHECK(m, (m->cd[i].w[1] & BITS(51, 4)) - pa >= len && m->cd[i].pa - pa >= len,
		    "a root or descriptor is freed while stream 0x%x is cached with it",
		    m->cd[i].sid);
}

void
model_smmu_watch(struct model_smmu *m, uint32_t sid, uint64_t iova)
{
	if (m->watch_count == WATCH_MAX)
		abort();
	m->watch[m->watch_count] = (struct watch){ .sid = sid, .iova = iova };
	find_entry(m, &m->watch[m->watch_count++]);
}

void
model_smmu_keep(struct model_smmu *m, uint32_t sid, uint64_t iova)
{
	model_smmu_watch(m, sid, iova);
	m->watch[m->watch_count - 1].keeps = true;
}

uint32_t
model_smmu_kept(const struct model_smmu *m, uint32_t sid)
{
	for (uint32_t i = 0; i < m->watch_count; i++)
		if (m->watch[i].sid == sid && m->watch[i].keeps)
			return m->watch[i].reached;
	return 0;
}

bool
model_smmu_reaches(struct model_smmu *m, uint64_t page)
{
	for (uint32_t i = 0; i < m->tlb_count; i++)
		if (!m->tlb[i].el2 &&
		    page - align_down(m->tlb[i].to, PAGE_SIZE) < BIT(m->tlb[i].lg2))
			return true;
	for (uint32_t i = 0; i < m->watch_count; i++) {
		struct model_dma d =
		    access_memory(m, m->watch[i].sid, m->watch[i].iova, false, true);

		if (d.done && align_down(d.pa, PAGE_SIZE) == page)
			return true;
	}
	return false;
}

