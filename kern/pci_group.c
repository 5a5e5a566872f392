/*
 * Isolation groups: which functions the fabric cannot keep apart (PCI-10..26).
 *
 * Everything starts alone.  Two functions come together when
 *   - they are functions of one multifunction device that does not isolate them (no ACS of their own), unless the device
 *     is a set of root ports, each of which is judged as a port;
 *   - they are below a port that does not have ACS in force: then with everything below that port;
 *   - they are below a conventional bridge (PCIe to PCI): they share its requester id, so also with the bridge.
 * Groups are numbered by their first function.  Functions on the root bus are otherwise on their own: the root complex
 * routes their requests through the IOMMU.
 *
 * Pure: works on any table of functions.
 */
#include "kern/pci.h"

enum { PORT_ROOT = 4, PORT_UPSTREAM = 5, PORT_DOWNSTREAM = 6, PORT_PCI_BRIDGE = 7 };

static void
join(struct pci_function *t, uint32_t n, uint32_t a, uint32_t b)
{
	uint16_t x = t[a].group, y = t[b].group, low = x < y ? x : y, high = x < y ? y : x;

	for (uint32_t i = 0; i < n; i++)
		if (t[i].group == high)
			t[i].group = low;
}

static bool
is_below(const struct pci_function *t, uint32_t f, uint32_t bridge)
{
	for (int up = t[f].parent; up >= 0; up = t[up].parent)
		if (up == (int)bridge)
			return true;
	return false;
}

void
pci_make_groups(struct pci_function *t, uint32_t n, bool (*acs)(const struct pci_function *))
{
	for (uint32_t i = 0; i < n; i++)
		t[i].group = (uint16_t)i;
	for (uint32_t i = 0; i < n; i++) {
		bool port = t[i].bridge && t[i].pcie && (t[i].port_type == PORT_ROOT || t[i].port_type == PORT_DOWNSTREAM);

		for (uint32_t k = i + 1; k < n; k++) {
			bool sibling = t[i].segment == t[k].segment && (t[i].rid >> 3) == (t[k].rid >> 3);

			if (sibling && !(t[i].bridge && t[k].bridge && t[i].pcie && t[k].pcie) &&
			    !(acs(&t[i]) && acs(&t[k])))
				join(t, n, i, k);
		}
		if (!t[i].bridge || (port && acs(&t[i])) || (t[i].pcie && t[i].port_type == PORT_UPSTREAM))
			continue;
		/* No isolation below: all of them go together, and with a conventional bridge itself. */
		for (uint32_t k = 0; k < n; k++) {
			if (!is_below(t, k, i))
				continue;
			for (uint32_t l = k + 1; l < n; l++)
				if (is_below(t, l, i))
					join(t, n, k, l);
			if (!port)
				join(t, n, i, k);
		}
	}
}
