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
 * A PCIe port without registers of its own only passes on what others say, and there is nothing in
 * it to reach: it is in no group but its own, so what is below a switch can be claimed.  A port
 * with registers is one of those that can reach each other, and nobody can claim it.
 *
 * A card that is plugged in gets the group that it would have had at boot, if that is its own.  Who
 * is there already may be claimed, so a card that would meet somebody is nobody's to use.
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

static bool
passes_only(const struct pci_function *f)
{
	uint64_t registers = 0;

	for (unsigned i = 0; i < DEVICE_BARS; i++)
		registers |= f->bar[i].len;
	return registers == 0 &&
	    (is_port(f, PORT_ROOT) || is_port(f, PORT_UPSTREAM) || is_port(f, PORT_DOWNSTREAM));
}

/* A bridge below which requests meet.  At a switch that is its ports below. */
static bool
mingles(const struct pci_function *f, bool (*acs)(const struct pci_function *))
{
	bool port = is_port(f, PORT_ROOT) || is_port(f, PORT_DOWNSTREAM);

	return f->bridge && !is_port(f, PORT_UPSTREAM) && !(port && acs(f));
}

/* k is where requests may get that meet at bridge i. */
static bool
in_reach(const struct pci_function *t, uint32_t n, uint32_t i, uint32_t k)
{
	if (is_port(&t[i], PORT_DOWNSTREAM))
		return is_below(t, n, k, t[i].parent);
	if (!is_port(&t[i], PORT_ROOT))
		return k == i || is_below(t, n, k, (int)i);
	/* The parents of a table that makes no sense may form a ring. */
	for (uint32_t steps = 0, f = k; t[f].parent >= 0 && (uint32_t)t[f].parent < n && steps < n;
	    steps++) {
		f = (uint32_t)t[f].parent;
		if (is_port(&t[f], PORT_ROOT) && t[f].segment == t[i].segment)
			return true;
	}
	return false;
}

static void
join_reach(struct pci_function *t, uint32_t n, uint32_t i)
{
	bool conventional = !is_port(&t[i], PORT_ROOT) && !is_port(&t[i], PORT_DOWNSTREAM);
	int first = conventional ? (int)i : -1;

	for (uint32_t k = 0; k < n && first < 0; k++)
		if (is_below(t, n, k, (int)i) && !passes_only(&t[k]))
			first = (int)k;
	for (uint32_t k = 0; first >= 0 && k < n; k++)
		if (in_reach(t, n, i, k) && !passes_only(&t[k]))
			join(t, (uint32_t)first, k);
}

void
pci_make_groups(struct pci_function *t, uint32_t n, bool (*acs)(const struct pci_function *))
{
	for (uint32_t i = 0; i < n; i++)
		t[i].group = (uint16_t)i;
	for (uint32_t i = 0; i < n; i++) {
		join_siblings(t, n, i, acs);
		for (uint32_t k = i + 1; k < n; k++)
			if (t[i].unit >= 0 && t[i].unit == t[k].unit &&
			    t[i].endpoint == t[k].endpoint)
				join(t, i, k);
		if (mingles(&t[i], acs))
			join_reach(t, n, i);
	}
	for (uint32_t i = 0; i < n; i++)
		t[i].group = root_of(t, i);
}

bool
pci_group_meets(const struct pci_function *t, uint32_t n, uint32_t card,
    bool (*acs)(const struct pci_function *))
{
	for (uint32_t i = 0; i < n; i++) {
		bool something = is_below(t, n, card, (int)i), somebody = false;

		if (t[i].gone || !mingles(&t[i], acs) || !in_reach(t, n, i, card))
			continue;
		for (uint32_t k = 0; k < n; k++) {
			if (t[k].gone || t[k].parent == t[card].parent || passes_only(&t[k]) ||
			    !in_reach(t, n, i, k))
				continue;
			somebody = true;
			something |= is_below(t, n, k, (int)i);
		}
		if (something && somebody)
			return true;
	}
	return false;
}
