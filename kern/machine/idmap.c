/*
 * Id maps and device scopes.
 *
 * Two ways to say which unit a requester is behind.  Id maps (Arm, AMD-Vi): an entry matches when
 * (rid & mask) lies in its run; the first match wins.  Scopes (VT-d): a scope matches the function
 * at the end of its path or, for a bridge, everything below; a function that no scope of its
 * segment matches belongs to the unit that covers the rest (VTD-05..08).
 *
 * Wherever firmware's word is incomplete the answer is "none": a wrong unit would leave the right
 * one unprogrammed.
 */
#include "kern/machine/idmap.h"

static const struct machine_idmap *
lookup(const struct machine_idmap *map, uint32_t n, uint16_t segment, uint16_t rid, uint32_t *out)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t id = rid & map[i].rid_mask;

		if (map[i].segment == segment && id >= map[i].rid_base &&
		    id - map[i].rid_base < map[i].count) {
			*out = map[i].out_base + (map[i].alias ? 0 : id - map[i].rid_base);
			return &map[i];
		}
	}
	return NULL;
}

void
machine_add_idmap(struct machine *m, bool msi, const struct machine_idmap *e)
{
	uint32_t *n = msi ? &m->msi_map_count : &m->stream_map_count;

	if (e->count == 0)
		return;
	if (*n == MACHINE_IDMAP_MAX)
		m->dropped++;
	else
		(msi ? m->msi_map : m->stream_map)[(*n)++] = *e;
}

/* The function at the end of a scope's path, or -1. */
static int
scope_target(const struct machine_scope *s, const struct idmap_path *p)
{
	uint8_t bus = s->start_bus;

	for (unsigned i = 0; i + 1 < s->path_len; i++) {
		bus = p->secondary(s->segment, (uint16_t)(bus << 8 | s->path[i]));
		if (bus == 0xff || bus == 0)
			return -1;
	}
	return s->path_len == 0 ? -1 : bus << 8 | s->path[s->path_len - 1];
}

/* Covered in doubt: when the path has more bridges than we were told. */
static bool
scope_covers(const struct machine_scope *s, const struct idmap_path *p, bool in_doubt)
{
	int target;

	if (s->segment != p->segment || (s->kind != SCOPE_ENDPOINT && s->kind != SCOPE_BRIDGE))
		return false;
	target = scope_target(s, p);
	if (target == p->rid)
		return true;
	if (s->kind != SCOPE_BRIDGE)
		return false;
	for (uint32_t i = 0; i < p->bridges; i++)
		if (target == p->bridge[i])
			return true;
	return in_doubt && p->deeper && target >= 0;
}

static bool
is_reserved(const struct machine *m, const struct idmap_path *p)
{
	if (m->reserved_lost)
		return true;
	for (uint32_t i = 0; i < m->scope_count; i++)
		if (m->scope[i].reserved != UINT32_MAX && scope_covers(&m->scope[i], p, true))
			return true;
	for (uint32_t i = 0; i < m->reserved_count; i++) {
		const struct machine_reserved *r = &m->reserved[i];

		if (r->segment != p->segment)
			continue;
		if (r->any_device ||
		    (r->requesters && p->rid >= r->id_base && p->rid - r->id_base < r->id_count))
			return true;
	}
	return false;
}

static bool
stream_is_reserved(const struct machine *m, uint32_t iommu, uint32_t stream)
{
	for (uint32_t i = 0; i < m->reserved_count; i++) {
		const struct machine_reserved *r = &m->reserved[i];

		if (r->stream_ids && r->iommu == iommu && stream >= r->id_base &&
		    stream - r->id_base < r->id_count)
			return true;
	}
	return false;
}

static const char no_map[] = "firmware's id map leads it to no IOMMU",
		  no_iommu[] = "no IOMMU in firmware's tables",
		  no_scope[] = "in no IOMMU's device scope";

/* By scope: an explicit one, or the unit of the rest. */
static const char *
by_scope(const struct machine *m, const struct idmap_path *p, uint32_t *iommu)
{
	for (uint32_t i = 0; i < m->scope_count; i++) {
		if (m->scope[i].iommu == UINT32_MAX || !scope_covers(&m->scope[i], p, false))
			continue;
		if (m->scope[i].iommu >= m->iommu_count)
			return "behind an IOMMU for which there was no room";
		*iommu = m->scope[i].iommu;
		return NULL;
	}
	if (p->deeper)
		return "below more bridges than can be followed to its IOMMU";
	for (uint32_t i = 0; i < m->iommu_count; i++) {
		if (!m->iommu[i].include_all || m->iommu[i].segment != p->segment)
			continue;
		if (m->scopes_lost)
			return "firmware's list of IOMMUs could not be read whole";
		*iommu = i;
		return NULL;
	}
	return no_scope;
}

bool
machine_find_iommu(const struct machine *m, const struct idmap_path *p, uint32_t *iommu,
    uint32_t *endpoint, bool *reserved, const char **why)
{
	const struct machine_idmap *e;
	uint32_t stream, unit;

	*reserved = is_reserved(m, p);
	*why = NULL;
	e = lookup(m->stream_map, m->stream_map_count, p->segment, p->rid, &stream);
	if (e != NULL) {
		if (e->target >= m->iommu_count)
			*why = "behind an IOMMU of unknown kind";
		else if (m->iommu[e->target].kind == IOMMU_NONE)
			*why = "behind an IOMMU that was refused";
		if (*why != NULL)
			return false;
		*iommu = e->target;
		*endpoint = stream;
		*reserved |= stream_is_reserved(m, e->target, stream);
		return true;
	}
	if (m->stream_map_count != 0)
		*why = no_map;
	else if (m->iommu_count == 0)
		*why = no_iommu;
	else
		*why = by_scope(m, p, &unit);
	if (*why == NULL && m->iommu[unit].kind == IOMMU_NONE)
		*why = "behind an IOMMU that was refused";
	if (*why != NULL)
		return false;
	*iommu = unit;
	*endpoint = p->rid;
	return true;
}

bool
machine_without_iommu(const struct machine *m, const struct idmap_path *p)
{
	uint32_t iommu, endpoint;
	const char *why;
	bool reserved;

	return !machine_find_iommu(m, p, &iommu, &endpoint, &reserved, &why) && m->dropped == 0 &&
	    !m->scopes_lost && (why == no_map || why == no_iommu || why == no_scope);
}

bool
machine_find_its(
    const struct machine *m, uint16_t segment, uint16_t rid, uint32_t *its, uint32_t *device_id)
{
	const struct machine_idmap *e =
	    lookup(m->msi_map, m->msi_map_count, segment, rid, device_id);

	if (e == NULL || e->target >= m->irqc.its_count)
		return false;
	*its = e->target;
	return true;
}
