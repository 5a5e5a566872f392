/*
 * SMMUv3: stream table, context descriptors, reserved regions.
 *
 * A request carries a stream id.  With two levels its upper bits find a descriptor, its lower eight
 * an entry of the table behind it:
 *
 *   STRTAB_BASE -> level 1: (span, pointer) -> level 2: 256 entries -> stage 1: context
 *                                                |                     descriptor -> root table
 *                                                +-> stage 2: root table
 *
 * Level 2 tables are made when a stream of theirs is first attached, full of entries that
 * abort, and never freed.  A stream without a level 2 table aborts too.
 *
 * Going live.  Hardware reads an entry in eight pieces, at any time, in any order, and may keep
 * what it read.  So when nothing older is under way the entry stays an abort, of which only word 0
 * counts, while words 1 to 7 are stored; a CFGI_STE and its sync make sure that nobody holds older
 * pieces; one store of word 0 makes it live; another CFGI_STE and sync, that it is in force
 * (SMMU-51).  Going dead.  One store of word 0; CFGI_STE, sync; then the translations of the tag,
 * sync.
 *
 * Context descriptors stand in an array by ASID, 64 to a page, made page by page and kept.  One is
 * written only while no entry points at it, and configuration that pointed at it was invalidated
 * when its last stream was detached: it needs no invalidation of its own.
 *
 * Locks    s->lock over all tables.  attach waits for its syncs without it; s->attaching
 *          keeps a second attach out meanwhile.
 * Not here page tables (iopt.c), the commands (smmuv3_cmd.c).
 * Manual   Arm IHI 0070: 3.3 stream table, 3.21 observation, 5 structures.
 */
#include "dev/iommu/fmt_vmsa.h"
#include "dev/iommu/smmuv3_unit.h"
#include "kern/frame.h"
#include "kern/log.h"
#include "kern/md/clock.h"
#include "kern/panic.h"

enum : uint64_t { STE_BLOCKED = STE0_V | STE_ABORT };
enum : uint32_t { L2_ENTRIES = 1u << SMMU_SPLIT };

static unsigned
order_of(uint64_t bytes)
{
	return bytes <= PAGE_SIZE ? 0 : log2_ceil(bytes) - (unsigned)PAGE_SHIFT;
}

/* A table of aborting entries, complete and visible before anything points at it. */
static enum status
entries_create(struct smmu *s, uint32_t n, uint64_t **out)
{
	uint64_t bytes = (uint64_t)n * STE_BYTES, *table;
	struct paddr p;
	enum status r = frame_alloc(order_of(bytes), FRAME_IOMMU, FRAME_ZERO, &p);

	if (r != OK)
		return r;
	table = frame_ptr(p);
	for (uint32_t i = 0; i < n; i++)
		unit_store64(&table[i * STE_WORDS], STE_BLOCKED);
	unit_clean(table, bytes, s->coherent);
	unit_publish();
	*out = table;
	return OK;
}

enum status
smmu_streams_init(struct smmu *s)
{
	uint64_t bytes = sizeof(uint64_t) << (s->sid_bits - SMMU_SPLIT);
	struct paddr p;
	enum status r;

	if (!s->two_level)
		return entries_create(s, 1u << s->sid_bits, &s->strtab);
	r = frame_alloc(order_of(bytes), FRAME_IOMMU, FRAME_ZERO, &p);
	if (r != OK)
		return r;
	s->strtab = frame_ptr(p);
	unit_clean(s->strtab, bytes, s->coherent);
	unit_publish();
	return OK;
}

uint64_t
smmu_strtab_base(const struct smmu *s)
{
	return frame_of(s->strtab).v | (s->coherent ? STRTAB_BASE_RA : 0);
}

uint32_t
smmu_strtab_cfg(const struct smmu *s)
{
	uint64_t v = FIELD_PREP(STRTAB_CFG_LOG2SIZE, s->sid_bits);

	if (s->two_level)
		v |= FIELD_PREP(STRTAB_CFG_SPLIT, SMMU_SPLIT) |
		    FIELD_PREP(STRTAB_CFG_FMT, STRTAB_FMT_TWO_LEVEL);
	return (uint32_t)v;
}

/* The entry of a stream that the unit can name; NULL: its level 2 table is not there. */
static uint64_t *
entry_of(const struct smmu *s, uint32_t sid)
{
	uint64_t desc;

	if (!s->two_level)
		return &s->strtab[(uint64_t)sid * STE_WORDS];
	desc = s->strtab[sid >> SMMU_SPLIT];
	if (desc == 0)
		return NULL;
	return (uint64_t *)frame_ptr((struct paddr){ desc & L1_L2PTR }) +
	    (sid % L2_ENTRIES) * STE_WORDS;
}

/* The same, made if need be; *fresh: the descriptor is new to the unit. */
static enum status
entry_get(struct smmu *s, uint32_t sid, uint64_t **ste, bool *fresh) REQUIRES(s->lock)
{
	uint64_t *table, *desc;
	enum status r;

	*fresh = false;
	*ste = entry_of(s, sid);
	if (*ste != NULL)
		return OK;
	r = entries_create(s, L2_ENTRIES, &table);
	if (r != OK)
		return r;
	desc = &s->strtab[sid >> SMMU_SPLIT];
	unit_store64(desc, frame_of(table).v | FIELD_PREP(L1_SPAN, SMMU_SPLIT + 1));
	unit_clean(desc, sizeof(*desc), s->coherent);
	unit_publish();
	*fresh = true;
	*ste = entry_of(s, sid);
	return OK;
}

static uint64_t *
cd_of(const struct smmu *s, uint32_t tag)
{
	return (uint64_t *)s->cd_page[tag / SMMU_CDS_PER_PAGE] +
	    (tag % SMMU_CDS_PER_PAGE) * STE_WORDS;
}

enum status
smmu_cd_fill(struct smmu *s, struct iommu_domain *d)
{
	struct iopt *pt = &smmu_domain_of(d)->pt;
	uint32_t page = d->tag / SMMU_CDS_PER_PAGE;
	uint64_t *cd, cached = s->coherent ? 1 : 0;
	struct paddr p;
	enum status r;

	if (s->cd_page[page] == NULL) {
		r = frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &p);
		if (r != OK)
			return r;
		s->cd_page[page] = frame_ptr(p);
		unit_clean(s->cd_page[page], PAGE_SIZE, s->coherent);
	}
	cd = cd_of(s, d->tag);
	for (unsigned i = 4; i < STE_WORDS; i++)
		unit_store64(&cd[i], 0);
	unit_store64(&cd[1], pt->root.v);
	unit_store64(&cd[2], 0);
	unit_store64(&cd[3], VMSA_MAIR);
	unit_publish();
	unit_store64(&cd[0],
	    FIELD_PREP(CD0_T0SZ, 64 - s->input_bits) | FIELD_PREP(CD0_IR0, cached) |
		FIELD_PREP(CD0_OR0, cached) |
		FIELD_PREP(CD0_SH0, s->coherent ? SH_INNER_SHARE : SH_OUTER_SHARE) | CD0_EPD1 |
		CD0_V | FIELD_PREP(CD0_IPS, s->oas) | CD0_AA64 | CD0_R | CD0_A | CD0_ASET |
		FIELD_PREP(CD0_ASID, d->tag));
	unit_clean(cd, STE_BYTES, s->coherent);
	unit_publish();
	return OK;
}

void
smmu_cd_clear(struct smmu *s, struct iommu_domain *d)
{
	uint64_t *cd = cd_of(s, d->tag);

	unit_store64(&cd[0], 0);
	unit_clean(cd, STE_BYTES, s->coherent);
	unit_publish();
}

/* What the entry of a stream of this domain holds [5.2]. */
static void
compose(const struct smmu *s, struct iommu_domain *d, uint64_t ste[STE_WORDS])
{
	struct iopt *pt = &smmu_domain_of(d)->pt;
	uint64_t cached = s->coherent ? 1 : 0,
		 share = s->coherent ? SH_INNER_SHARE : SH_OUTER_SHARE;

	for (unsigned i = 0; i < STE_WORDS; i++)
		ste[i] = 0;
	ste[1] = s->incoming_attributes ? FIELD_PREP(STE1_SHCFG, SHCFG_INCOMING) : 0;
	if (s->stage == 1) {
		ste[0] = STE0_V | FIELD_PREP(STE0_CONFIG, STE_S1) | frame_of(cd_of(s, d->tag)).v;
		ste[1] |= FIELD_PREP(STE1_S1CIR, cached) | FIELD_PREP(STE1_S1COR, cached) |
		    FIELD_PREP(STE1_S1CSH, share) | (s->stalls ? STE1_S1STALLD : 0);
		return;
	}
	/* SL0 counts from the bottom: 0, 1, 2 for heights 1, 2, 3 [SMMU-160]. */
	ste[0] = STE0_V | FIELD_PREP(STE0_CONFIG, STE_S2);
	ste[2] = FIELD_PREP(STE2_VMID, d->tag) | FIELD_PREP(STE2_T0SZ, 64 - s->input_bits) |
	    FIELD_PREP(STE2_SL0, pt->top - 1) | FIELD_PREP(STE2_IR0, cached) |
	    FIELD_PREP(STE2_OR0, cached) | FIELD_PREP(STE2_SH0, share) |
	    FIELD_PREP(STE2_PS, s->oas) | STE2_AA64 | STE2_PTW | STE2_R;
	ste[3] = pt->root.v;
}

/* The entry translates by this domain.  What tells domains apart: the descriptor, or the VMID. */
static bool
belongs(const struct smmu *s, struct iommu_domain *d, const uint64_t *ste)
{
	uint64_t want[STE_WORDS];

	compose(s, d, want);
	return ste[0] == want[0] && FIELD_GET(STE2_VMID, ste[2]) == FIELD_GET(STE2_VMID, want[2]);
}

/* Makes the unit forget what it knows of an entry, and of the level 1 descriptor if that is new. */
static struct iommu_ticket
forget(struct smmu *s, uint32_t sid, bool fresh) REQUIRES(s->lock)
{
	if (smmu_cmd_room(s, 1)) {
		smmu_cmd_cfgi_ste(s, sid, !fresh);
		smmu_cmd_send(s);
	}
	return cmdring_ticket(&s->ring);
}

static void
store_word0(struct smmu *s, uint64_t *ste, uint64_t v) REQUIRES(s->lock)
{
	unit_store64(&ste[0], v);
	unit_clean(&ste[0], sizeof(ste[0]), s->coherent);
	unit_publish();
}

static void
store_rest(struct smmu *s, uint64_t *ste, const uint64_t want[STE_WORDS]) REQUIRES(s->lock)
{
	for (unsigned i = 1; i < STE_WORDS; i++)
		unit_store64(&ste[i], want[i]);
	unit_clean(ste, STE_BYTES, s->coherent);
	unit_publish();
}

static bool
is_refused(const struct smmu *s, uint32_t sid)
{
	for (uint32_t i = 0; i < s->refused_count; i++)
		if (sid - s->refused[i].first < s->refused[i].count)
			return true;
	return false;
}

/* May the stream be attached now?  Then its entry, still aborting. */
static enum status
attach_begin(struct smmu *s, uint32_t sid, uint64_t **ste, bool *fresh) REQUIRES(s->lock)
{
	enum status r;

	if (s->dead)
		return E_QUARANTINED;
	if (sid >> s->sid_bits != 0)
		return E_RANGE;
	if (is_refused(s, sid))
		return E_REFUSED;
	if (s->attaching != SMMU_SID_NONE)
		return E_BUSY;
	r = entry_get(s, sid, ste, fresh);
	if (r == OK && (*ste)[0] != STE_BLOCKED)
		r = E_BUSY;
	return r;
}

/* Waits for a sync, without the lock. */
static enum status
settle(struct smmu *s, struct iommu_ticket t) REQUIRES(s->lock)
{
	enum status r;

	smmu_unlock(s);
	r = unit_ticket_wait(&s->unit, t, SMMU_SYNC_WAIT_NS);
	smmu_lock(s);
	if (r == E_TIMED_OUT)
		smmu_fail(s, "an invalidation does not complete");
	return s->dead ? E_QUARANTINED : OK;
}

enum status
smmu_attach(struct iommu_domain *d, uint32_t sid)
{
	struct smmu *s = smmu_of(d->unit);
	uint64_t want[STE_WORDS], *ste;
	enum status r;
	bool fresh;

	smmu_lock(s);
	r = attach_begin(s, sid, &ste, &fresh);
	if (r != OK) {
		smmu_unlock(s);
		return r;
	}
	s->attaching = sid;
	compose(s, d, want);
	r = settle(s, cmdring_ticket(&s->ring)); /* if a detach of this stream is under way */
	if (r == OK) {
		store_rest(s, ste, want);
		r = settle(s, forget(s, sid, fresh));
	}
	if (r == OK) {
		smmu_domain_of(d)->lived = true;
		store_word0(s, ste, want[0]);
		r = settle(s, forget(s, sid, false));
	}
	if (r == OK) {
		d->endpoints++;
		__atomic_fetch_add(&s->unit.endpoints, 1, __ATOMIC_RELAXED);
	} else {
		store_word0(s, ste, STE_BLOCKED);
	}
	s->attaching = SMMU_SID_NONE;
	smmu_unlock(s);
	return r;
}

struct iommu_ticket
smmu_detach(struct iommu_domain *d, uint32_t sid)
{
	struct smmu *s = smmu_of(d->unit);
	struct iommu_ticket t;
	uint64_t *ste;

	smmu_lock(s);
	ste = sid >> s->sid_bits == 0 ? entry_of(s, sid) : NULL;
	if (ste != NULL && belongs(s, d, ste)) {
		store_word0(s, ste, STE_BLOCKED);
		if (smmu_cmd_room(s, 3)) {
			smmu_cmd_cfgi_ste(s, sid, true);
			smmu_cmd_order(s);
			smmu_cmd_flush_tag(s, d->tag);
			smmu_cmd_send(s);
		}
		KASSERT(d->endpoints != 0);
		d->endpoints--;
		__atomic_fetch_sub(&s->unit.endpoints, 1, __ATOMIC_RELAXED);
	}
	t = cmdring_ticket(&s->ring);
	smmu_unlock(s);
	return t;
}

void
smmu_block_all(struct smmu *s)
{
	uint32_t streams = 1u << s->sid_bits;

	for (uint32_t sid = 0; sid < streams; sid++) {
		uint64_t *ste = entry_of(s, sid);

		if (ste == NULL) {
			sid |= L2_ENTRIES - 1;
			continue;
		}
		if (ste[0] != STE_BLOCKED) {
			unit_store64(&ste[0], STE_BLOCKED);
			unit_clean(&ste[0], sizeof(ste[0]), s->coherent);
		}
	}
	unit_publish();
}

/* ---- Reserved regions ---- */

static bool
names_stream(const struct machine_reserved *r, const struct smmu *s, uint32_t sid)
{
	return r->stream_ids && r->iommu == s->unit.index && sid - r->id_base < r->id_count;
}

/* Firmware's word is not enough to hand memory of ours to a device (VTD-10 holds here too). */
static bool
region_is_sane(const struct machine *m, const struct machine_reserved *r)
{
	if (!is_aligned(r->base | r->len, PAGE_SIZE) || r->len == 0 || r->base + r->len < r->base)
		return false;
	for (uint32_t i = 0; i < m->memory_count; i++) {
		const struct machine_memory *e = &m->memory[i];
		bool ours = e->kind == MEM_RAM || e->kind == MEM_KERNEL || e->kind == MEM_ARCHIVE ||
		    e->kind == MEM_FIRMWARE_TABLES;

		if (ours && ranges_overlap(e->base, e->len, r->base, r->len))
			return false;
	}
	return true;
}

/* An identity map of exactly the regions that name this stream. */
static const char *
reserve_stream(struct smmu *s, const struct machine *m, uint32_t sid)
{
	struct iommu_domain *d;
	uint64_t want[STE_WORDS], *ste;
	enum status r;
	bool fresh;

	if (sid >> s->sid_bits != 0)
		return "the unit cannot name it";
	if (s->reserved_count == SMMU_RESERVED_MAX)
		return "too many streams with reserved regions";
	d = &s->reserved[s->reserved_count].domain;
	*d = (struct iommu_domain){ .unit = &s->unit };
	if (smmu_domain_init(d) != OK)
		return "no memory for its tables";
	for (uint32_t i = 0; i < m->reserved_count; i++) {
		const struct machine_reserved *e = &m->reserved[i];

		if (!names_stream(e, s, sid))
			continue;
		if (!region_is_sane(m, e)) {
			smmu_domain_fini(d);
			return "a reserved region is not whole pages of reserved memory";
		}
		r = iopt_map(&smmu_domain_of(d)->pt, (struct iova){ e->base },
		    (struct paddr){ e->base }, e->len, IOPT_READ | IOPT_WRITE);
		if (r != OK) {
			smmu_domain_fini(d);
			return status_text(r);
		}
	}
	smmu_lock(s);
	r = entry_get(s, sid, &ste, &fresh);
	if (r == OK) {
		compose(s, d, want);
		store_rest(s, ste, want);
		store_word0(s, ste, want[0]);
	}
	smmu_unlock(s);
	if (r != OK) {
		smmu_domain_fini(d);
		return "no memory for the stream table";
	}
	smmu_domain_of(d)->lived = true;
	d->endpoints = 1;
	s->reserved[s->reserved_count++].sid = sid;
	return NULL;
}

/* How many streams from sid on a region before the i-th saw to, well or not. */
static uint32_t
seen_to(const struct smmu *s, const struct machine *m, uint32_t i, uint32_t sid)
{
	for (uint32_t j = 0; j < i; j++) {
		const struct machine_reserved *r = &m->reserved[j];

		if (names_stream(r, s, sid))
			return r->id_count - (sid - r->id_base);
	}
	return 0;
}

void
smmu_reserved_init(struct smmu *s, const struct machine *m)
{
	for (uint32_t i = 0; i < m->reserved_count; i++) {
		const struct machine_reserved *e = &m->reserved[i];

		if (!e->stream_ids || e->iommu != s->unit.index || e->id_count == 0)
			continue;
		s->refused[s->refused_count].first = e->id_base;
		s->refused[s->refused_count++].count = e->id_count;
		/* Firmware may name 2^32 of them: each turn passes a region, or takes a place. */
		for (uint64_t n = 0, k; n < e->id_count; n += k) {
			uint32_t sid = (uint32_t)(e->id_base + n);
			const char *why;

			k = seen_to(s, m, i, sid);
			if (k != 0)
				continue;
			k = 1;
			why = reserve_stream(s, m, sid);
			if (why == NULL)
				continue;
			log_error("%s: streams 0x%x to 0x%x have a reserved region: %s: blocked",
			    s->unit.name, sid, e->id_base + e->id_count - 1, why);
			break;
		}
	}
}
