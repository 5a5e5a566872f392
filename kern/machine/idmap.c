/*
 * Id maps and device scopes.
 *
 * Two ways to say which unit a requester is behind.  Id maps (Arm, AMD-Vi, virtio): an entry
 * matches when (rid & mask) lies in its run.  Scopes (VT-d): a scope matches the function at the
 * end of its path or, for a bridge, everything below; a function that no scope of its segment
 * matches belongs to the unit that covers the rest (VTD-05..08).
 *
 * Everything that matches is looked at.  A requester that two units claim, by whatever table, has
 * none; so has one to which a unit gives two ids, but for AMD-Vi, whose lists override themselves
 * in order.
 *
 * Wherever firmware's word is incomplete the answer is "none": a wrong unit would leave the right
 * one unprogrammed.  "None is in its way" is another answer, and needs a list that was read whole
 * and names only what is there.
 */
#include "kern/machine/idmap.h"

/* The first run from "from" on that holds the requester, and its id there. */
static const struct machine_idmap *
lookup(const struct machine_idmap *from, const struct machine_idmap *end, uint16_t segment,
    uint16_t rid, uint32_t *out)
{
	for (const struct machine_idmap *e = from; e < end; e++) {
		uint32_t id = rid & e->rid_mask;

		if (e->segment == segment && id >= e->rid_base && id - e->rid_base < e->count) {
			*out = e->out_base + (e->alias ? 0 : id - e->rid_base);
			return e;
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
		  no_scope[] = "in no IOMMU's device scope", two_units[] = "two IOMMUs claim it",
		  not_whole[] = "firmware's list of IOMMUs could not be read whole";

static bool
names_nothing(const struct machine_scope *s, const struct idmap_path *p)
{
	int target = scope_target(s, p);

	return s->segment == p->segment && (s->kind == SCOPE_ENDPOINT || s->kind == SCOPE_BRIDGE) &&
	    (target < 0 || (p->present != NULL && !p->present(s->segment, (uint16_t)target)));
}

/*
 * By scope: an explicit one, or the unit of the rest.  True: a unit claims it, *iommu, or *why says
 * why that is none to trust.  False: none does, and *why.
 */
static bool
by_scope(const struct machine *m, const struct idmap_path *p, uint32_t *iommu, const char **why)
{
	uint32_t claims = 0, scopes = 0;
	bool strays = false;

	*why = NULL;
	for (uint32_t i = 0; i < m->scope_count; i++) {
		const struct machine_scope *s = &m->scope[i];

		if (s->iommu == UINT32_MAX)
			continue;
		scopes++;
		strays = strays || names_nothing(s, p);
		if (!scope_covers(s, p, false) || (claims != 0 && s->iommu == *iommu))
			continue;
		*iommu = s->iommu;
		claims++;
	}
	if (claims == 1 && *iommu >= m->iommu_count)
		*why = "behind an IOMMU for which there was no room";
	else if (claims > 1)
		*why = two_units;
	if (claims != 0)
		return true;
	for (uint32_t i = 0; i < m->iommu_count; i++) {
		if (!m->iommu[i].include_all || m->iommu[i].segment != p->segment)
			continue;
		*iommu = i;
		claims++;
	}
	if (p->deeper && scopes + claims != 0)
		*why = "below more bridges than can be followed to its IOMMU";
	else if (claims != 0)
		*why = m->scopes_lost ? not_whole : claims > 1 ? two_units : NULL;
	else
		*why = strays ? "in no IOMMU's device scope, and one names nothing that is there" :
				no_scope;
	return claims != 0;
}

/*
 * Is this function what firmware's tables call a unit?  A real one is the kernel's own, and behind
 * nothing; but AMD-Vi's function may be in its own list.
 */
static bool
is_called_unit(const struct machine *m, const struct idmap_path *p, bool listed)
{
	for (uint32_t i = 0; i < m->iommu_count; i++) {
		const struct machine_iommu *u = &m->iommu[i];

		if ((u->kind == IOMMU_VIRTIO || (u->kind == IOMMU_AMDVI && !listed)) &&
		    u->segment == p->segment && u->requester == p->rid)
			return true;
	}
	return false;
}

/* By id map, where run e is the first that holds it, as "stream".  NULL: its unit is to be trusted.
 */
static const char *
judge_map(const struct machine *m, const struct idmap_path *p, const struct machine_idmap *e,
    uint32_t stream)
{
	const struct machine_idmap *end = m->stream_map + m->stream_map_count, *other = e;
	uint32_t id;

	if (e->target >= m->iommu_count)
		return "behind an IOMMU of unknown kind";
	while ((other = lookup(other + 1, end, p->segment, p->rid, &id)) != NULL) {
		if (other->target != e->target)
			return two_units;
		if (id != stream && m->iommu[e->target].kind != IOMMU_AMDVI)
			return "its IOMMU has it by two ids";
	}
	return NULL;
}

bool
machine_find_iommu(const struct machine *m, const struct idmap_path *p, uint32_t *iommu,
    uint32_t *endpoint, bool *reserved, const char **why)
{
	const struct machine_idmap *e;
	uint32_t stream = p->rid, unit = MACHINE_IOMMU_LOST;
	bool claimed = by_scope(m, p, &unit, why);

	*reserved = is_reserved(m, p);
	e = lookup(m->stream_map, m->stream_map + m->stream_map_count, p->segment, p->rid, &stream);
	if (is_called_unit(m, p, e != NULL)) {
		*why = "firmware's tables call it an IOMMU";
	} else if (e != NULL) {
		*why = claimed ? two_units : judge_map(m, p, e, stream);
		unit = e->target;
	} else if (!claimed) {
		if (m->scopes_lost)
			*why = not_whole;
		else if (m->iommu_count == 0 && m->stream_map_count == 0)
			*why = no_iommu;
		else if (*why == no_scope && m->stream_map_count != 0)
			*why = no_map;
	}
	if (*why == NULL && m->iommu[unit].kind == IOMMU_NONE)
		*why = "behind an IOMMU that was refused";
	if (*why != NULL)
		return false;
	*iommu = unit;
	*endpoint = stream;
	*reserved |= stream_is_reserved(m, unit, stream);
	return true;
}

bool
machine_without_iommu(const struct machine *m, const struct idmap_path *p)
{
	uint32_t iommu, endpoint;
	const char *why;
	bool reserved;

	return !machine_find_iommu(m, p, &iommu, &endpoint, &reserved, &why) && m->dropped == 0 &&
	    (why == no_map || why == no_iommu || why == no_scope);
}

bool
machine_find_its(
    const struct machine *m, uint16_t segment, uint16_t rid, uint32_t *its, uint32_t *device_id)
{
	const struct machine_idmap *end = m->msi_map + m->msi_map_count, *other,
				   *e = lookup(m->msi_map, end, segment, rid, device_id);
	uint32_t id;

	if (e == NULL || e->target >= m->irqc.its_count)
		return false;
	other = e;
	while ((other = lookup(other + 1, end, segment, rid, &id)) != NULL)
		if (other->target != e->target || id != *device_id)
			return false;
	*its = e->target;
	return true;
}
