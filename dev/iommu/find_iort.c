/*
 * Arm IORT to the machine: SMMUv3 units, id maps, regions that firmware goes on using.
 *
 * The table is a graph of nodes: root complexes, units, ITS groups.  A node's id mappings take runs
 * of its input ids to a node nearer to memory: requester id -> stream id at a unit -> device id at
 * an ITS.  We follow exactly those two hops and write both results down as runs of requester ids,
 * so nobody has to know the graph later.  A root complex that maps straight to an ITS group has no
 * unit for those requesters.
 *
 * A mapping says how many ids it has, less one; some firmware forgot the "less one", so that the
 * last id of one run is the first of the next: then the run that begins there has it.  Any other id
 * in two runs is nobody's (SMMU-107).  Where a root complex, or its mappings, cannot be read,
 * nobody counts as being behind no unit (machine.scopes_lost).
 *
 * Source: Arm DEN 0049 (SMMU-105..112).  Named components are not PCI, performance monitors do no
 * DMA.
 */
#include "kern/base/bits.h"
#include "kern/machine/acpi.h"
#include "kern/machine/find.h"
#include "kern/machine/idmap.h"

enum : uint32_t {
	HEADER = 48, NODES = 36, FIRST = 40,
	NODE_HEADER = 16,
	ITS_GROUP = 0, ROOT_COMPLEX = 2, SMMUV3 = 4, RMR = 6,
	ITS_MIN = 20, ROOT_COMPLEX_MIN = 32, SMMUV3_MIN = 60, RMR_MIN = 28,
	MAPPING = 20, SINGLE = 1, REGION = 20,
};

struct iort {
	struct machine *m;
	const uint8_t *t;
	uint32_t len;
	struct { uint32_t at, index; } unit[MACHINE_IOMMU_MAX];	/* node -> machine.iommu[] */
	uint32_t units;
};

struct mapping { uint64_t count; uint32_t in, out, to; bool single; };

static uint32_t u32(const struct iort *i, uint32_t at) { return acpi_u32(i->t + at); }
static uint64_t u64(const struct iort *i, uint32_t at) { return acpi_u64(i->t + at); }
static uint32_t node_len(const struct iort *i, uint32_t at) { return acpi_u16(i->t + at + 1); }

/* Is there a whole node at "at"?  Node headers are checked here, so what refers to one must come
 * through here. */
static bool
is_node(const struct iort *i, uint32_t at)
{
	return at >= HEADER && at <= i->len && i->len - at >= NODE_HEADER &&
	    node_len(i, at) >= NODE_HEADER && node_len(i, at) <= i->len - at;
}

/* The smallest length that a node of its type must have. */
static uint32_t
node_min(uint8_t type)
{
	return type == ITS_GROUP ? ITS_MIN :
	    type == ROOT_COMPLEX ? ROOT_COMPLEX_MIN :
	    type == SMMUV3       ? SMMUV3_MIN :
	    type == RMR          ? RMR_MIN :
				   NODE_HEADER;
}

static bool
is_a(const struct iort *i, uint32_t at, uint8_t type)
{
	return is_node(i, at) && i->t[at] == type && node_len(i, at) >= node_min(type);
}

/* The next node; 0 at the end.  at 0: the first.  *n counts them. */
static uint32_t
next_node(const struct iort *i, uint32_t at, uint32_t *n)
{
	at = at == 0 ? u32(i, FIRST) : at + node_len(i, at);
	if ((*n)++ >= u32(i, NODES))
		return 0;
	if (!is_node(i, at)) {
		machine_note(i->m, "IORT: node %u at 0x%x is cut off: rest ignored", *n - 1, at);
		i->m->scopes_lost = i->m->reserved_lost = true;
		return 0;
	}
	if (node_len(i, at) < node_min(i->t[at])) {
		machine_note(
		    i->m, "IORT: node at 0x%x is too short for its type %u: ignored", at, i->t[at]);
		i->m->reserved_lost |= i->t[at] == RMR;
		i->m->scopes_lost |= i->t[at] == ROOT_COMPLEX;
	}
	return at;
}

static uint32_t
mappings(const struct iort *i, uint32_t at)
{
	uint32_t n = u32(i, at + 8), first = u32(i, at + 12), len = node_len(i, at);

	if (n == 0)
		return 0;
	if (first < NODE_HEADER || first > len || (len - first) / MAPPING < n) {
		machine_note(i->m, "IORT: node at 0x%x: its mappings are outside: ignored", at);
		i->m->scopes_lost |= i->t[at] == ROOT_COMPLEX;
		return 0;
	}
	return n;
}

static struct mapping
raw_mapping(const struct iort *i, uint32_t at, uint32_t k)
{
	uint32_t p = at + u32(i, at + 12) + MAPPING * k;

	return (struct mapping){ .in = u32(i, p),
		.count = u32(i, p + 4) + 1ull,
		.out = u32(i, p + 8),
		.to = u32(i, p + 12),
		.single = (u32(i, p + 16) & SINGLE) != 0 };
}

/* The k-th of n mappings of a node as it counts; false: some of its ids are another's as well, or
 * it leads past the last id. */
static bool
mapping(const struct iort *i, uint32_t at, uint32_t n, uint32_t k, struct mapping *out)
{
	struct mapping a = raw_mapping(i, at, k);
	uint64_t last = a.in + a.count - 1;

	*out = a;
	if (a.single) {		/* any input, one output */
		out->in = 0;
		out->count = 1;
		return true;
	}
	for (uint32_t l = 0; l < n; l++) {
		struct mapping b = raw_mapping(i, at, l);
		uint64_t b_last = b.in + b.count - 1;

		if (l == k || b.single || b.in > last || a.in > b_last)
			continue;
		if (a.count > 1 && b.in == last)
			out->count = a.count - 1;
		else if (b.count == 1 || a.in != b_last)
			goto bad;
	}
	if (out->count - 1 <= UINT32_MAX - a.out)
		return true;
bad:
	machine_note(i->m,
	    "IORT: node at 0x%x: mapping %u overlaps another or is too long: leads nowhere", at, k);
	return false;
}

/* Which of the machine's ITSs a group means: the first that is known. */
static bool
its_of(const struct iort *i, uint32_t at, uint32_t *index)
{
	uint32_t n;

	if (!is_a(i, at, ITS_GROUP))
		return false;
	n = (uint32_t)min_u64(u32(i, at + 16), (node_len(i, at) - ITS_MIN) / 4);
	for (uint32_t k = 0; k < n; k++) {
		for (*index = 0; *index < i->m->irqc.its_count; ++*index)
			if (i->m->irqc.its[*index].id == u32(i, at + ITS_MIN + 4 * k))
				return true;
	}
	return false;
}

static uint32_t
unit_at(const struct iort *i, uint32_t at)
{
	for (uint32_t k = 0; k < i->units; k++)
		if (i->unit[k].at == at)
			return i->unit[k].index;
	return MACHINE_IOMMU_LOST;
}

static bool
own_mapping(const struct iort *i, uint32_t at, uint32_t n, uint32_t *index)
{
	bool wired = u32(i, at + 44) != 0 && u32(i, at + 48) != 0 && u32(i, at + 52) != 0 &&
	    u32(i, at + 56) != 0;

	if (node_len(i, at) < 68 || (i->t[at + 3] >= 5 ? (u32(i, at + 24) & BIT(4)) == 0 : wired))
		return false;
	*index = u32(i, at + 64);
	return *index < n;
}

static struct machine_line
gsiv(uint32_t id)	/* edge triggered */
{
	return (struct machine_line){ .id = id, .present = id >= 32 };
}

static void
smmuv3(struct iort *i, uint32_t at)
{
	struct machine *m = i->m;
	struct machine_iommu u = {
		.kind = IOMMU_SMMUV3,
		.base = u64(i, at + 16),
		.len = 128 * KIB,
		.coherent_known = true,
		.coherent = (u32(i, at + 24) & 1) != 0,
		.model = u32(i, at + 40),
		.eventq = gsiv(u32(i, at + 44)),
		.priq = gsiv(u32(i, at + 48)),
		.gerror = gsiv(u32(i, at + 52)),
		.cmdq_sync = gsiv(u32(i, at + 56)),
	};
	uint32_t n = mappings(i, at), own;

	if (i->units == MACHINE_IOMMU_MAX || m->iommu_count == MACHINE_IOMMU_MAX) {
		m->dropped++;
		return;
	}
	if (u.base == 0 || !is_aligned(u.base, 64 * KIB) || u.base >> 52 != 0 ||
	    machine_in_memory(m, u.base, u.len)) {
		machine_note(m, "IORT: SMMUv3 at 0x%x has no usable registers: refused", at);
		u.kind = IOMMU_NONE;
	} else if (machine_iommu_at(m, u.base, u.len)) {
		machine_note(m, "IORT: SMMUv3 at 0x%x has another unit's registers: refused", at);
		u.kind = IOMMU_NONE;
	}
	if (own_mapping(i, at, n, &own)) {
		struct mapping o = raw_mapping(i, at, own);

		u.msi_known = o.single && its_of(i, o.to, &u.msi_its);
		u.msi_device_id = u.msi_known ? o.out : 0;
	}
	i->unit[i->units].at = at;
	i->unit[i->units++].index = m->iommu_count;
	m->iommu[m->iommu_count++] = u;
}

/* From a run of requester ids that is a run of ids of node "at" on to ITSs. */
static void
to_its(struct iort *i, uint32_t at, const struct machine_idmap *run)
{
	uint32_t n = mappings(i, at), own = UINT32_MAX;
	uint64_t first = run->out_base, last = first + run->count - 1;

	(void)own_mapping(i, at, n, &own);
	for (uint32_t k = 0; k < n; k++) {
		struct machine_idmap e = *run;
		struct mapping a;
		uint64_t lo, hi;

		if (k == own || !mapping(i, at, n, k, &a) || a.single)
			continue;
		lo = max_u64(first, a.in);
		hi = min_u64(last, a.in + a.count - 1);
		if (lo > hi)
			continue;
		if (!its_of(i, a.to, &e.target)) {
			if (i->m->irqc.its_count != 0)
				machine_note(i->m,
				    "IORT: node at 0x%x: mapping %u leads to no ITS that is known: no message "
				    "interrupts behind it",
				    at, k);
			continue;
		}
		e.rid_base = run->rid_base + (uint32_t)(lo - first);
		e.count = (uint32_t)(hi - lo + 1);
		e.out_base = a.out + (uint32_t)(lo - a.in);
		machine_add_idmap(i->m, true, &e);
	}
}

static void
root_complex(struct iort *i, uint32_t at)
{
	struct machine *m = i->m;
	uint32_t n = mappings(i, at), segment = u32(i, at + 28);
	uint8_t limit = node_len(i, at) > 32 ? i->t[at + 32] : 64;

	for (uint32_t h = 0; h < m->host_count; h++) {
		if (m->host[h].segment != segment)
			continue;
		m->host[h].dma_coherent = (u32(i, at + 16) & 1) != 0;
		m->host[h].dma_last = limit == 0 || limit >= 64 ? 0 : (1ull << limit) - 1;
	}
	for (uint32_t k = 0; k < n && segment <= UINT16_MAX; k++) {
		struct mapping a;
		bool good = mapping(i, at, n, k, &a);
		struct machine_idmap e = {
			.segment = (uint16_t)segment,
			.rid_base = a.in,
			.out_base = a.out,
			.rid_mask = a.single ? 0 : UINT16_MAX,
			.count = a.in > UINT16_MAX ?
			    0 :
			    (uint32_t)min_u64(a.count, UINT16_MAX + 1u - a.in),
		};

		if (e.count == 0)
			continue;
		if (good && is_a(i, a.to, ITS_GROUP)) {		/* no unit on the way */
			if (its_of(i, a.to, &e.target))
				machine_add_idmap(m, true, &e);
			continue;
		}
		e.target = good && is_a(i, a.to, SMMUV3) ? unit_at(i, a.to) : MACHINE_IOMMU_LOST;
		if (e.target == MACHINE_IOMMU_LOST)
			machine_note(m,
			    "IORT: root complex at 0x%x: mapping %u leads to no unit that is known",
			    at, k);
		machine_add_idmap(m, false, &e);
		if (good && is_a(i, a.to, SMMUV3))
			to_its(i, a.to, &e);
	}
}

/* Regions of memory for streams: each region, for each run of streams. */
static void
rmr(struct iort *i, uint32_t at)
{
	struct machine *m = i->m;
	uint32_t n = mappings(i, at), regions = u32(i, at + 20), first = u32(i, at + 24),
		 len = node_len(i, at);

	if (regions == 0 || first < NODE_HEADER || first > len ||
	    (len - first) / REGION < regions) {
		machine_note(m,
		    "IORT: RMR at 0x%x: its regions are outside: counted as one that is absurd",
		    at);
		regions = 0;
	}
	if (n == 0) {
		machine_note(m, "IORT: RMR at 0x%x names no streams: any may be meant", at);
		m->reserved_lost = true;
	}
	for (uint32_t k = 0; k < n; k++) {
		struct mapping a = raw_mapping(i, at, k);
		uint32_t iommu = is_a(i, a.to, SMMUV3) ? unit_at(i, a.to) : MACHINE_IOMMU_LOST;

		if (iommu == MACHINE_IOMMU_LOST)
			continue;
		for (uint32_t g = 0; g == 0 || g < regions; g++) {
			uint32_t p = at + first + REGION * g;
			struct machine_reserved r = { .stream_ids = true,
				.iommu = iommu,
				.id_base = a.out,
				.id_count = a.single ? 1 : (uint32_t)min_u64(a.count, UINT32_MAX) };

			if (g < regions) {
				r.base = u64(i, p);
				r.len = u64(i, p + 8);
			}
			if (!is_aligned(r.base | r.len, PAGE_SIZE) || r.len == 0 ||
			    r.base >> 52 != 0 || r.len >> 52 != 0 ||
			    machine_in_memory(m, r.base, r.len)) {
				machine_note(m,
				    "IORT: RMR at 0x%x: region %u is not whole pages outside memory: not mapped",
				    at, g);
				r.absurd = true;
			}
			if (m->reserved_count == MACHINE_RESERVED_MAX) {
				m->dropped++;
				m->reserved_lost = true;
				return;
			}
			m->reserved[m->reserved_count++] = r;
		}
	}
}

void
find_iort(struct machine *m, const struct acpi_source *src)
{
	struct iort i = { .m = m };
	uint32_t n;

	i.t = acpi_table(m, src, "IORT", &i.len);
	if (i.t == NULL)
		return;
	if (i.len < HEADER) {
		machine_note(m, "IORT: table of %u bytes is too short: ignored", i.len);
		m->scopes_lost = m->reserved_lost = true;
		return;
	}
	/* Units first: the others refer to them, from before and behind. */
	n = 0;
	for (uint32_t at = next_node(&i, 0, &n); at != 0; at = next_node(&i, at, &n))
		if (is_a(&i, at, SMMUV3))
			smmuv3(&i, at);
	n = 0;
	for (uint32_t at = next_node(&i, 0, &n); at != 0; at = next_node(&i, at, &n)) {
		if (is_a(&i, at, ROOT_COMPLEX))
			root_complex(&i, at);
		else if (is_a(&i, at, RMR))
			rmr(&i, at);
	}
}
