/*
 * Id maps and device scopes.
 *
 * A map entry matches when (rid & mask) lies in its range; the first match wins.  A scope matches the function at the end
 * of its path, or, for a bridge, everything below; explicit scopes win over a unit that covers the rest of its
 * segment (VTD-05..08).
 */
#include "kern/machine/idmap.h"

static const struct machine_idmap *
lookup(const struct machine_idmap *map, uint32_t n, uint16_t segment, uint16_t rid, uint32_t *out)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t id = rid & map[i].rid_mask;

		if (map[i].segment == segment && id >= map[i].rid_base && id - map[i].rid_base < map[i].count) {
			*out = map[i].out_base + (id - map[i].rid_base);
			return &map[i];
		}
	}
	return NULL;
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

static bool
scope_covers(const struct machine_scope *s, const struct idmap_path *p)
{
	int target;

	if (s->segment != p->segment || (s->kind != SCOPE_ENDPOINT && s->kind != SCOPE_BRIDGE))
		return false;
	target = scope_target(s, p);
	if (target == p->rid)
		return true;
	for (uint32_t i = 0; s->kind == SCOPE_BRIDGE && i < p->bridges; i++)
		if (target == p->bridge[i])
			return true;
	return false;
}

bool
machine_find_iommu(const struct machine *m, const struct idmap_path *p, uint32_t *iommu, uint32_t *endpoint,
    bool *reserved, const char **why)
{
	const struct machine_idmap *e;

	*reserved = false;
	for (uint32_t i = 0; i < m->scope_count; i++)
		if (m->scope[i].reserved != UINT32_MAX && scope_covers(&m->scope[i], p))
			*reserved = true;
	if (m->iommu_count == 0) {
		*why = "no IOMMU in firmware's tables";
		return false;
	}
	e = lookup(m->stream_map, m->stream_map_count, p->segment, p->rid, endpoint);
	if (e != NULL) {
		*iommu = e->target;
		for (uint32_t i = 0; i < m->reserved_count; i++) {
			const struct machine_reserved *r = &m->reserved[i];

			if (r->stream_ids && r->iommu == e->target && *endpoint >= r->id_base &&
			    *endpoint - r->id_base < r->id_count)
				*reserved = true;
		}
		return true;
	}
	for (uint32_t i = 0; i < m->scope_count; i++) {
		if (m->scope[i].iommu != UINT32_MAX && scope_covers(&m->scope[i], p)) {
			*iommu = m->scope[i].iommu;
			*endpoint = p->rid;
			return true;
		}
	}
	for (uint32_t i = 0; i < m->iommu_count; i++) {
		if (m->iommu[i].include_all && m->iommu[i].segment == p->segment) {
			*iommu = i;
			*endpoint = p->rid;
			return true;
		}
	}
	*why = m->source == SOURCE_FDT ? "no iommu-map entry for this requester" : "in no unit's device scope";
	return false;
}

bool
machine_find_its(const struct machine *m, uint16_t segment, uint16_t rid, uint32_t *its, uint32_t *device_id)
{
	const struct machine_idmap *e = lookup(m->msi_map, m->msi_map_count, segment, rid, device_id);

	if (e == NULL)
		return false;
	*its = e->target;
	return true;
}
