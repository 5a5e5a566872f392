/*
 * Isolation groups: which functions the fabric cannot keep apart (PCI-10..26).
 *
 * Everything starts alone.  Functions come together when
 *   - they are functions of one device that does not keep them apart (no ACS of their own); ports
 *     are judged as ports;
 *   - they are below a port without ACS: then one can reach what is below the ports beside it
 *     without passing the IOMMU.  Beside a switch's port is all of its switch; beside a root port
 *     is all that is below root ports of the segment, because the root complex may pass requests
 *     from one to another;
 *   - they are below a bridge to conventional PCI: they emit its id, so the bridge is one of them,
 *     and nobody can claim it;
 *   - they have the same endpoint id at the same IOMMU: what one may reach the other may.
 * Groups are numbered by their first function.  Functions on the root bus are otherwise on their
 * own: the root complex takes their requests to the IOMMU.
 *
 * While this runs, "group" is a forest: the index of a lower member of the same group, or the
 * function's own.
 *
 * Pure: works on any table of functions.
 */
#include "kern/pci_config.h"

static uint16_t
root_of(const struct pci_function *t, uint32_t i)
{
	while (t[i].group != i)
		i = t[i].group;
	return (uint16_t)i;
}

static void
join(struct pci_function *t, uint32_t a, uint32_t b)
{
	uint16_t x = root_of(t, a), y = root_of(t, b);

	if (x < y)
		t[y].group = x;
	else
		t[x].group = y;
}

static bool
is_below(const struct pci_function *t, uint32_t n, uint32_t f, int bridge)
{
	/* The parents of a table that makes no sense may form a ring. */
	for (uint32_t steps = 0; t[f].parent >= 0 && (uint32_t)t[f].parent < n && steps < n;
	    steps++) {
		if (t[f].parent == bridge)
			return true;
		f = (uint32_t)t[f].parent;
	}
	return false;
}

static bool
is_port(const struct pci_function *f, uint8_t type)
{
	return f->bridge && f->pcie && f->port_type == type;
}

/* Functions of one device: by device number, or, with ARI in force on the port above, all of the
 * bus. */
static bool
same_device(const struct pci_function *t, uint32_t n, uint32_t a, uint32_t b)
{
	bool ari = t[a].parent >= 0 && (uint32_t)t[a].parent < n && t[t[a].parent].ari;

	return t[a].segment == t[b].segment &&
	    (t[a].rid >> (ari ? 8 : 3)) == (t[b].rid >> (ari ? 8 : 3));
}

static void
join_siblings(
    struct pci_function *t, uint32_t n, uint32_t i, bool (*acs)(const struct pci_function *))
{
	for (uint32_t k = i + 1; k < n; k++) {
		bool ports = t[i].bridge && t[k].bridge && t[i].pcie && t[k].pcie;

		if (same_device(t, n, i, k) && !ports && !(acs(&t[i]) && acs(&t[k])))
			join(t, i, k);
	}
}

/* Everything below "bridge" together; *first is one of them, or -1. */
static void
join_below(struct pci_function *t, uint32_t n, int bridge, int *first)
{
	for (uint32_t k = 0; k < n; k++) {
		if (!is_below(t, n, k, bridge))
			continue;
		if (*first >= 0)
			join(t, (uint32_t)*first, k);
		*first = (int)k;
	}
}

void
pci_make_groups(struct pci_function *t, uint32_t n, bool (*acs)(const struct pci_function *))
{
	for (uint32_t i = 0; i < n; i++)
		t[i].group = (uint16_t)i;
	for (uint32_t i = 0; i < n; i++) {
		int first = -1;

		join_siblings(t, n, i, acs);
		for (uint32_t k = i + 1; k < n; k++)
			if (t[i].unit >= 0 && t[i].unit == t[k].unit &&
			    t[i].endpoint == t[k].endpoint)
				join(t, i, k);
		if (!t[i].bridge || is_port(&t[i], PORT_UPSTREAM))
			continue;
		if (is_port(&t[i], PORT_ROOT)) {
			if (acs(&t[i]))
				continue;
			join_below(t, n, (int)i, &first);
			for (uint32_t k = 0; first >= 0 && k < n; k++)
				if (is_port(&t[k], PORT_ROOT) && t[k].segment == t[i].segment)
					join_below(t, n, (int)k, &first);
		} else if (is_port(&t[i], PORT_DOWNSTREAM)) {
			if (acs(&t[i]))
				continue;
			join_below(t, n, (int)i, &first);
			if (first >= 0)
				join_below(t, n, t[i].parent, &first);
		} else {
			first = (int)i;
			join_below(t, n, (int)i, &first);
		}
	}
	for (uint32_t i = 0; i < n; i++)
		t[i].group = root_of(t, i);
}
