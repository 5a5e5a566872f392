/*
 * SMMUv3 unit: take-over, domains, the kernel's interface.
 *
 * The unit translates what devices emit.  A stream id selects a stream table entry, which says:
 * abort, or walk these tables.  We use one stage: stage 1 (a context descriptor, an ASID) where
 * the unit has it, else stage 2 (a VMID); stage 2 knows write-only, stage 1 does not.  The
 * command-line word smmu.stage=1 or smmu.stage=2 decides instead.  Neither bypass nor a bypass
 * entry is ever written.
 *
 * Order of the take-over [SMMU-14]
 *   1  GBPA.ABORT, so that nothing passes while translation is off      6  CFGI_ALL, TLBI: nothing
 *      of firmware's stays
 *   2  CR0 = 0: firmware's translation and queues are off               7  event queue on
 *   3  what can it do?  Refused by name, the unit goes on aborting      8  interrupts
 *   4  CR1, CR2, stream table of aborts, reserved regions               9  ATSCHK: no request
 *      passes as "translated"
 *   5  command queue on                                                10  SMMUEN
 * In time, 3 and the tables of 4 come first: between 2 and 10 reserved regions abort too, and that
 * is to be short.
 * Each write to CR0 is waited for in CR0ACK.  QEMU 7.2 has no GBPA: there requests pass until step
 * 10.
 *
 * Map stores entries; no invalidation, since nothing caches absence (SMMU-76).  Unmap clears, and
 * puts TLBI commands; sync and doorbell come with the first poll, so that many unmaps share them.
 *
 * Tags     An ASID or VMID is in use, free, or waits for the ticket of its flush.  0 is never
 *          used: ASID 0 is poison, VMID 0 belongs to stage 1.
 * Refused  Of a unit that fails half-way the memory that it was shown is not given back: nobody
 *          knows what it reads.
 * Locks    RANK_UNIT in the commands' file.  Page tables are under their domain's lock.
 * Not here queue, errors, faults (smmuv3_cmd.c), stream entries (smmuv3_tables.c), the walker
 * (iopt.c).
 * Off      ATS, PRI, PASID, stalls, hardware access flags, messages of its own, broadcast
 *          invalidation.
 * Manual   Arm IHI 0070: 3.11 reset and enabling, 6 registers.
 */
#include "dev/iommu/smmuv3.h"
#include "dev/iommu/fmt_vmsa.h"
#include "dev/iommu/smmuv3_unit.h"
#include "kern/base/fmt.h"
#include "kern/base/str.h"
#include "kern/frame.h"
#include "kern/irq.h"
#include "kern/log.h"
#include "kern/md/clock.h"
#include "kern/panic.h"

enum : uint32_t { MODEL_CN99XX = 2 };	/* IORT: ThunderX2, erratum 74: one page of registers */
enum : uint64_t { TAG_IN_USE = UINT64_MAX };

/* ---- Domains ---- */

/* The lowest tag that is free or becomes so without a wait, so that context descriptors stay few;
 * 0: none. */
static uint32_t
tag_take(struct smmu *s) REQUIRES(s->lock)
{
	for (unsigned pass = 0; pass < 2; pass++) {
		for (uint32_t i = 1; i < s->tags; i++)
			if (cmdring_past(&s->ring, (struct iommu_ticket){ s->tag_ticket[i] })) {
				s->tag_ticket[i] = TAG_IN_USE;
				return i;
			}
		smmu_cmd_send(s);
		smmu_cmd_collect(s);
	}
	return 0;
}

enum status
smmu_domain_init(struct iommu_domain *d)
{
	struct smmu *s = smmu_of(d->unit);
	struct smmu_domain *sd = smmu_domain_of(d);
	enum status r;

	smmu_lock(s);
	d->tag = s->dead ? 0 : tag_take(s);
	r = s->dead ? E_QUARANTINED : d->tag == 0 ? E_BUSY : OK;
	smmu_unlock(s);
	if (r != OK)
		return r;
	sd->lived = false;
	r = iopt_init(&sd->pt, &s->shape, d->quota);
	if (r != OK)
		goto no_tag;
	if (s->stage == 1) {
		smmu_lock(s);
		r = smmu_cd_fill(s, d);
		smmu_unlock(s);
		if (r != OK)
			goto no_table;
	}
	d->root = sd->pt.root;
	d->table_pages = sd->pt.table_pages;
	__atomic_fetch_add(&s->unit.domains, 1, __ATOMIC_RELAXED);
	return OK;
no_table:
	iopt_fini(&sd->pt);
no_tag:
	smmu_lock(s);
	s->tag_ticket[d->tag] = 0;
	smmu_unlock(s);
	d->tag = 0;
	return r;
}

void
smmu_domain_fini(struct iommu_domain *d)
{
	struct smmu *s = smmu_of(d->unit);
	struct smmu_domain *sd = smmu_domain_of(d);
	bool dead;

	KASSERT(d->endpoints == 0 && d->tag != 0);
	smmu_lock(s);
	dead = s->dead;
	if (!dead) {
		if (s->stage == 1)
			smmu_cd_clear(s, d);
		s->tag_ticket[d->tag] = 0;
		if (sd->lived) {
			if (smmu_cmd_room(s, 1))
				smmu_cmd_flush_tag(s, d->tag);
			s->tag_ticket[d->tag] = cmdring_ticket(&s->ring).seq;
		}
	}
	smmu_unlock(s);
	if (dead && sd->lived)
		iopt_quarantine(&sd->pt);
	else
		iopt_fini(&sd->pt);
	d->tag = 0;
	d->root.v = 0;
	d->table_pages = 0;
	__atomic_fetch_sub(&s->unit.domains, 1, __ATOMIC_RELAXED);
}

static enum status
map(struct iommu_domain *d, struct iova at, struct paddr to, uint64_t len, uint8_t access)
{
	struct smmu *s = smmu_of(d->unit);
	struct smmu_domain *sd = smmu_domain_of(d);
	enum status r;

	if (unlikely(load_relaxed(&s->unit.broken)))
		return E_QUARANTINED;
	r = iopt_map(&sd->pt, at, to, len, access);
	d->table_pages = sd->pt.table_pages;
	return r;
}

static enum status
smmu_map(
    struct iommu_domain *d, struct iova at, struct paddr to, uint64_t len, enum iommu_rights rights)
{
	return map(d, at, to, len, (uint8_t)(rights & (IOMMU_READ | IOMMU_WRITE)));
}

static enum status
smmu_map_doorbell(struct iommu_domain *d, struct iova at, struct paddr page)
{
	return map(d, at, page, PAGE_SIZE, IOPT_WRITE | IOPT_DEVICE);
}

/* Entries are visible when map returns, and absence is not cached. */
static struct iommu_ticket
smmu_sync(struct iommu_domain *d UNUSED)
{
	return (struct iommu_ticket){ 0 };
}

/* Returns its smallest leaf. */
static NOINLINE unsigned
clear(struct iommu_domain *d, struct iova at, uint64_t len)
{
	struct iopt_cleared cleared;
	enum status r = iopt_unmap(&smmu_domain_of(d)->pt, at, len, &cleared);

	KASSERT(r == OK);	/* the ledger says that it is mapped, just so */
	return lowest_bit(cleared.leaf_sizes);
}

static struct iommu_ticket
smmu_unmap(struct iommu_domain *d, struct iova at, uint64_t len)
{
	struct smmu *s = smmu_of(d->unit);
	unsigned leaf_lg2 = PAGE_SHIFT;
	struct iommu_ticket t;

	if (unlikely(!iopt_unmap_near(&smmu_domain_of(d)->pt, at, len)))
		leaf_lg2 = clear(d, at, len);
	smmu_lock(s);
	smmu_cmd_flush_range(s, d->tag, at.v, len, leaf_lg2);
	t = cmdring_ticket(&s->ring);
	smmu_unlock(s);
	return t;
}

/*
 * No lock, and no other CPU runs.  If the queue cannot confirm, translation goes off above
 * GBPA.ABORT, which blocks as well.
 */
static void
smmu_shut(struct iommu_unit *u) NO_THREAD_SAFETY
{
	struct smmu *s = smmu_of(u);
	uint64_t deadline = clock_now() + SMMU_SYNC_WAIT_NS;
	struct iommu_ticket t;

	smmu_block_all(s);
	if (!s->dead && smmu_cmd_room(s, 3)) {
		smmu_cmd_flush_all(s);
		smmu_cmd_send(s);
	}
	t = cmdring_ticket(&s->ring);
	while (!s->dead && !cmdring_past(&s->ring, t) && clock_now() < deadline)
		smmu_cmd_collect(s);
	if (!cmdring_past(&s->ring, t) && s->gbpa)
		smmu_write(s, SMMU_CR0, 0);
}

static const struct iommu_ops smmu_ops = {
	.domain_init = smmu_domain_init,
	.domain_fini = smmu_domain_fini,
	.attach = smmu_attach,
	.detach = smmu_detach,
	.map = smmu_map,
	.sync = smmu_sync,
	.unmap = smmu_unmap,
	.map_doorbell = smmu_map_doorbell,
	.ticket_poll = smmu_ticket_poll,
	.drain_faults = smmu_drain_faults,
	.quiet = smmu_quiet,
	.shut = smmu_shut,
};

/* ---- Probe ---- */

/* One line that names what is missing.  The unit aborts everything, if it has what that takes. */
static enum status
refuse(const char *name, bool aborts, enum status r, const char *why)
{
	log_error("%s: refused: %s%s", name, why,
	    aborts ? "" : " (and nothing makes it abort while it is off)");
	return r;
}

static bool
wait_for(void *regs, uint32_t reg, uint32_t mask, uint32_t want)
{
	uint64_t deadline = clock_now() + SMMU_PROBE_WAIT_NS;
	bool late = false;

	while ((unit_read32(regs, reg) & mask) != want) {
		if (late)
			return false;
		clock_spin(NS_PER_US);
		late = clock_now() > deadline;	/* one more look: it may be we who slept */
	}
	return true;
}

static bool
set_cr0(void *regs, uint32_t cr0)
{
	uint32_t mask = CR0_SMMUEN | CR0_PRIQEN | CR0_EVENTQEN | CR0_CMDQEN | CR0_ATSCHK;

	unit_write32(regs, SMMU_CR0, cr0);
	return wait_for(regs, SMMU_CR0ACK, mask, cr0);
}

/* Steps 1 and 2: from here on nothing passes [SMMU-10 .. SMMU-13].  NULL, or what it did not do. */
static const char *
abort_and_off(void *regs, bool *aborts)
{
	*aborts = false;
	if (!wait_for(regs, SMMU_GBPA, GBPA_UPDATE, 0))
		return "it does not take the order to abort (GBPA.UPDATE)";
	unit_write32(regs, SMMU_GBPA, unit_read32(regs, SMMU_GBPA) | GBPA_ABORT | GBPA_UPDATE);
	if (!wait_for(regs, SMMU_GBPA, GBPA_UPDATE, 0))
		return "it does not take the order to abort (GBPA.UPDATE)";
	*aborts = (unit_read32(regs, SMMU_GBPA) & GBPA_ABORT) != 0;
	if (!set_cr0(regs, 0))
		return "firmware's settings do not go off (CR0ACK)";
	return NULL;
}

static uint64_t
highest_ram(const struct machine *m)
{
	uint64_t top = 0;

	for (uint32_t i = 0; i < m->memory_count; i++)
		if (m->memory[i].kind == MEM_RAM)
			top = max_u64(top, m->memory[i].base + m->memory[i].len);
	return top;
}

/* What the unit offers and what we use of it; NULL, or what is missing [SMMU-04 .. SMMU-08]. */
static const char *
judge(struct smmu *s, const struct machine *m)
{
	static const uint8_t oas_bits[] = { 32, 36, 40, 42, 44, 48, 48, 48 };
	const struct machine_iommu *mi = &m->iommu[s->unit.index];
	uint32_t idr0 = smmu_read(s, SMMU_IDR0), idr1 = smmu_read(s, SMMU_IDR1);
	uint32_t idr3 = smmu_read(s, SMMU_IDR3), idr5 = smmu_read(s, SMMU_IDR5);
	uint64_t endian = FIELD_GET(IDR0_TTENDIAN, idr0), stall = FIELD_GET(IDR0_STALL_MODEL, idr0),
		 top = 0;
	uint64_t sid_end = 1u << 16;
	bool forced1 = machine_word(m, "smmu.stage=1"), forced2 = machine_word(m, "smmu.stage=2");

	if (idr0 == UINT32_MAX && idr1 == UINT32_MAX)
		return "its registers read as ones";
	if ((idr0 & IDR0_TTF_A64) == 0)
		return "no AArch64 page tables (IDR0.TTF)";
	if (endian != TTENDIAN_MIXED && endian != TTENDIAN_LITTLE)
		return "no little-endian page tables (IDR0.TTENDIAN)";
	if ((idr0 & (IDR0_S1P | IDR0_S2P)) == 0)
		return "neither stage 1 nor stage 2 (IDR0.S1P, S2P)";
	s->stage = forced2 || ((idr0 & IDR0_S1P) == 0 && !forced1) ? 2 : 1;
	if ((idr0 & (s->stage == 1 ? IDR0_S1P : IDR0_S2P)) == 0)
		return s->stage == 1 ? "no stage 1, which the command line asks for" :
		    "no stage 2, which the command line asks for";
	if (stall == STALL_FORCED)
		return "it stalls devices and cannot be told not to (IDR0.STALL_MODEL)";
	if ((idr1 & (IDR1_TABLES_PRESET | IDR1_QUEUES_PRESET | IDR1_REL)) != 0)
		return "tables or queues at fixed places (IDR1.TABLES_PRESET, QUEUES_PRESET)";
	if (FIELD_GET(IDR1_CMDQS, idr1) < 3)
		return "a command queue of fewer than 8 entries (IDR1.CMDQS)";
	if ((idr5 & IDR5_GRAN4K) == 0)
		return "no 4 KiB granule (IDR5.GRAN4K)";

	s->oas =
	    (uint8_t)min_u64(FIELD_GET(IDR5_OAS, idr5), 5); /* 52 bits would need other entries */
	if (highest_ram(m) > BIT(oas_bits[s->oas]))
		return "memory of this machine lies beyond its output size (IDR5.OAS)";

	s->coherent = mi->coherent_known ? mi->coherent : (idr0 & IDR0_COHACC) != 0; /* SMMU-07 */
	s->hyp = (idr0 & IDR0_HYP) != 0;
	s->ats = (idr0 & IDR0_ATS) != 0;
	s->msi = (idr0 & IDR0_MSI) != 0;
	s->ril = (idr3 & IDR3_RIL) != 0;
	s->stalls = stall == STALL_OR_TERMINATE;
	s->incoming_attributes = (idr1 & IDR1_ATTR_TYPES_OVR) != 0;

	/* Stream ids: all of sixteen bits, and what the maps say, as far as the unit goes. */
	for (uint32_t i = 0; i < m->stream_map_count; i++)
		if (m->stream_map[i].target == s->unit.index)
			sid_end = max_u64(
			    sid_end, (uint64_t)m->stream_map[i].out_base + m->stream_map[i].count);
	s->sid_bits = (uint8_t)min_u64(log2_ceil(sid_end), FIELD_GET(IDR1_SIDSIZE, idr1));
	s->two_level = FIELD_GET(IDR0_ST_LEVEL, idr0) == ST_TWO_LEVEL && s->sid_bits > SMMU_SPLIT;
	s->sid_bits = (uint8_t)min_u64(s->sid_bits, s->two_level ? SMMU_SID_BITS_MAX : 16);

	/* 39 bits of addresses are three levels; reserved regions above that need four. */
	for (uint32_t i = 0; i < m->reserved_count; i++)
		if (m->reserved[i].stream_ids && m->reserved[i].iommu == s->unit.index)
			top = max_u64(top, m->reserved[i].base + m->reserved[i].len);
	s->input_bits = top > BIT(39) ? 48 : 39;
	if (s->stage == 2)
		s->input_bits = (uint8_t)min_u64(s->input_bits, oas_bits[s->oas]);
	s->tags = (uint32_t)min_u64(SMMU_TAGS_MAX,
	    (idr0 & (s->stage == 1 ? IDR0_ASID16 : IDR0_VMID16)) != 0 ? 1u << 16 : 1u << 8);
	s->shape = (struct iopt_shape){
		.format = s->stage == 1 ? &fmt_vmsa_s1 : &fmt_vmsa_s2,
		.input_bits = s->input_bits,
		.output_bits = oas_bits[s->oas],
		.coherent = s->coherent,
		.leaf_sizes = BIT(12) | BIT(21) | BIT(30),
		.flags = s->coherent ? 0 : VMSA_NONCACHED,
	};
	return NULL;
}

/* Memory that the unit reads or writes, zeroed and visible. */
static void *
unit_memory(const struct smmu *s, uint64_t bytes)
{
	unsigned order = bytes <= PAGE_SIZE ? 0 : log2_ceil(bytes) - (unsigned)PAGE_SHIFT;
	struct paddr p;

	if (frame_alloc(order, FRAME_IOMMU, FRAME_ZERO, &p) != OK)
		return NULL;
	unit_clean(frame_ptr(p), PAGE_SIZE << order, s->coherent);
	unit_publish();
	return frame_ptr(p);
}

/* Everything that enabling needs; step 4 up to the registers. */
static const char *
make_tables(struct smmu *s, const struct machine *m)
{
	uint32_t idr1 = smmu_read(s, SMMU_IDR1);
	uint32_t cmdq_lg2 = (uint32_t)min_u64(FIELD_GET(IDR1_CMDQS, idr1), SMMU_CMDQ_LG2);
	void *cmdq = unit_memory(s, 16ull << cmdq_lg2);

	s->eventq_lg2 = (uint32_t)min_u64(FIELD_GET(IDR1_EVENTQS, idr1), SMMU_EVENTQ_LG2);
	s->events = unit_memory(s, (uint64_t)EVENT_BYTES << s->eventq_lg2);
	s->tag_ticket = unit_memory(s, s->tags * sizeof(uint64_t));
	if (cmdq == NULL || s->events == NULL || s->tag_ticket == NULL)
		return "no memory for its queues";
	cmdring_init(&s->ring, cmdq, cmdq_lg2, CMDRING_WRAP, s->coherent);
	s->tlbi_max = (uint32_t)min_u64(SMMU_TLBI_MAX, (1u << cmdq_lg2) / 2);
	if (smmu_streams_init(s) != OK)
		return "no memory for its stream table";
	smmu_reserved_init(s, m);
	return NULL;
}

static bool
flush_and_wait(struct smmu *s, uint64_t lo, uint64_t hi)
{
	struct iommu_ticket t;

	smmu_lock(s);
	smmu_cmd_put(s, lo, hi);
	smmu_cmd_send(s);
	t = cmdring_ticket(&s->ring);
	smmu_unlock(s);
	return unit_ticket_wait(&s->unit, t, SMMU_PROBE_WAIT_NS) == OK;
}

static bool
is_wired(const struct machine_iommu *mi)
{
	return mi->combined.present || (mi->eventq.present && mi->gerror.present);
}

static void
claim(struct smmu *s, const struct machine_line *line, bool *ok)
{
	if (line->present && irq_claim_line(line, smmu_irq, s, s->unit.name) != OK)
		*ok = false;
}

/* Step 8.  Without wires the kernel's polling finds faults, later. */
static const char *
enable_interrupts(struct smmu *s, const struct machine_iommu *mi)
{
	bool ok = is_wired(mi);
	uint32_t on = IRQ_CTRL_GERROR | IRQ_CTRL_EVENTQ;

	smmu_write(s, SMMU_IRQ_CTRL, 0);
	if (!wait_for(s->regs, SMMU_IRQ_CTRLACK, on, 0))
		return "interrupts do not go off (IRQ_CTRLACK)";
	if (s->msi) {
		smmu_write64(s, SMMU_GERROR_IRQ_CFG0, 0);
		smmu_write64(s, SMMU_EVENTQ_IRQ_CFG0, 0);
	}
	if (mi->combined.present) {
		claim(s, &mi->combined, &ok);
	} else {
		claim(s, &mi->eventq, &ok);
		claim(s, &mi->gerror, &ok);
	}
	s->unit.facts.fault_interrupt = ok;
	if (!ok)
		log_warn("%s: no interrupt line: faults are polled", s->unit.name);
	smmu_write(s, SMMU_IRQ_CTRL, on);
	if (!wait_for(s->regs, SMMU_IRQ_CTRLACK, on, on))
		return "interrupts do not come on (IRQ_CTRLACK)";
	return NULL;
}

/* Steps 4 to 10; NULL, or what the unit failed to do. */
static const char *
enable(struct smmu *s, const struct machine_iommu *mi)
{
	uint32_t cached = s->coherent ? CR1_CACHE_WB : CR1_CACHE_NC,
		 share = s->coherent ? CR1_SH_INNER : 0;
	uint64_t hint = s->coherent ? Q_BASE_HINT : 0;
	uint32_t cr0 = CR0_CMDQEN;
	const char *why;

	/* Errors that firmware left behind are not ours, but for the one that nothing helps. */
	s->gerrorn = smmu_read(s, SMMU_GERROR);
	if (((s->gerrorn ^ smmu_read(s, SMMU_GERRORN)) & GERROR_SFM) != 0)
		return "it is in service failure mode (GERROR.SFM_ERR)";
	smmu_write(s, SMMU_GERRORN, s->gerrorn);
	smmu_write(s, SMMU_CR1,
	    (uint32_t)(FIELD_PREP(CR1_TABLE_SH, share) | FIELD_PREP(CR1_TABLE_OC, cached) |
		FIELD_PREP(CR1_TABLE_IC, cached) | FIELD_PREP(CR1_QUEUE_SH, share) |
		FIELD_PREP(CR1_QUEUE_OC, cached) | FIELD_PREP(CR1_QUEUE_IC, cached)));
	smmu_write(s, SMMU_CR2, CR2_PTM | CR2_RECINVSID);
	smmu_write64(s, SMMU_STRTAB_BASE, smmu_strtab_base(s));
	smmu_write(s, SMMU_STRTAB_BASE_CFG, smmu_strtab_cfg(s));

	smmu_write64(s, SMMU_CMDQ_BASE,
	    frame_of(s->ring.slot).v | FIELD_PREP(Q_BASE_LOG2SIZE, s->ring.lg2) | hint);
	smmu_write(s, SMMU_CMDQ_PROD, 0);
	smmu_write(s, SMMU_CMDQ_CONS, 0);
	if (!set_cr0(s->regs, cr0))
		return "its command queue does not come on (CR0ACK)";

	/* Each with its own sync: a command that a sync covers may be done in any order. */
	if (!flush_and_wait(s, CMD_CFGI_ALL, CFGI1_ALL) ||
	    (s->hyp && !flush_and_wait(s, CMD_TLBI_EL2_ALL, 0)) ||
	    !flush_and_wait(s, CMD_TLBI_NSNH_ALL, 0))
		return "its caches cannot be cleared: the command queue does not advance";

	smmu_write64(s, SMMU_EVENTQ_BASE,
	    frame_of(s->events).v | FIELD_PREP(Q_BASE_LOG2SIZE, s->eventq_lg2) | hint);
	smmu_write(s, s->page1 + SMMU_EVENTQ_PROD, 0);
	smmu_write(s, s->page1 + SMMU_EVENTQ_CONS, 0);
	cr0 |= CR0_EVENTQEN;
	if (!set_cr0(s->regs, cr0))
		return "its event queue does not come on (CR0ACK)";
	why = enable_interrupts(s, mi);
	if (why != NULL)
		return why;
	if (s->ats) {
		cr0 |= CR0_ATSCHK;
		if (!set_cr0(s->regs, cr0))
			return "it does not check translated requests (CR0.ATSCHK)";
	}
	cr0 |= CR0_SMMUEN;
	if (!set_cr0(s->regs, cr0))
		return "translation does not come on (CR0ACK)";
	return NULL;
}

static void
state_facts(struct smmu *s, const struct machine *m)
{
	struct iommu_facts *f = &s->unit.facts;

	*f = (struct iommu_facts){
		.page_sizes = s->shape.leaf_sizes,
		.iova_bits = s->input_bits,
		.output_bits = s->shape.output_bits,
		.stage = s->stage,
		.coherent = s->coherent,
		.write_only = s->stage == 2,
		.range_invalidation = s->ril,
		.fault_log = true,
		.fault_interrupt = f->fault_interrupt,
		.interrupt_isolation = m->irqc.its_count != 0,
		.domains_max = s->tags - 1,
	};
	fmt_buf(f->text, sizeof(f->text),
	    "SMMUv3, stage %u, 4K/2M/1G, %u-bit addresses, %s stream table of %u bits%s%s%s",
	    s->stage, s->input_bits, s->two_level ? "2-level" : "linear", s->sid_bits,
	    s->ril ? ", range invalidation" : "", s->ats ? ", ATS checked" : "",
	    s->gbpa ? "" : ", no abort while off");
}

static enum status
probe(const struct machine *m, uint32_t index)
{
	const struct machine_iommu *mi = &m->iommu[index];
	bool one_page = mi->model == MODEL_CN99XX, aborts = false;
	char name[sizeof(((struct iommu_unit *)0)->name)];
	struct paddr page;
	struct smmu *s = NULL;
	void *regs;
	const char *why, *off;
	enum status r;

	fmt_buf(name, sizeof(name), "smmu%u", index);
	if (!is_aligned(mi->base, SMMU_PAGE1) || mi->base == 0)
		return refuse(
		    name, aborts, E_UNSUPPORTED, "its registers are not at a multiple of 64 KiB");
	regs = mmu_map_device((struct paddr){ mi->base }, one_page ? SMMU_PAGE1 : SMMU_PAGES_BYTES);
	if (regs == NULL)
		return refuse(name, aborts, E_NO_MEMORY, "no room to map its registers");
	/*
	 * Zeroed, and never given back: an interrupt line may name it.  Everything that takes time
	 * comes before the switch: what firmware's devices go on doing (reserved regions) aborts
	 * from there on, until translation is on.
	 */
	r = frame_alloc(SMMU_UNIT_ORDER, FRAME_KERNEL, FRAME_ZERO, &page);
	why = "no memory";
	if (r == OK) {
		s = frame_ptr(page);
		lock_init(&s->lock, RANK_UNIT);
		str_copy(s->unit.name, name, sizeof(s->unit.name));
		s->unit.ops = &smmu_ops;
		s->unit.index = index;
		s->unit.priv = s;
		s->regs = regs;
		s->page1 = one_page ? 0 : SMMU_PAGE1;
		s->attaching = SMMU_SID_NONE;
		why = judge(s, m);
		r = E_UNSUPPORTED;
	}
	if (why == NULL) {
		why = make_tables(s, m);
		r = E_NO_MEMORY;
	}
	off = abort_and_off(regs, &aborts);
	if (off != NULL)
		return refuse(name, aborts, E_TIMED_OUT, off);
	if (!aborts)
		log_warn("%s: no GBPA.ABORT: requests pass until translation is on", name);
	if (why != NULL)
		return refuse(name, aborts, r, why);
	s->gbpa = aborts;
	why = enable(s, mi);
	if (why != NULL) {
		(void)set_cr0(regs, 0);
		return refuse(name, aborts, E_TIMED_OUT, why);
	}
	state_facts(s, m);
	r = iommu_register(&s->unit);
	if (r != OK) {
		(void)set_cr0(regs, 0);
		return refuse(name, aborts, r, "the kernel has no room for another unit");
	}
	store_release(&s->registered, true);
	iommu_fault_pending(&s->unit);
	return OK;
}

const struct iommu_driver smmuv3_driver = {
	.name = "smmuv3", .kind = IOMMU_SMMUV3, .probe = probe
};
