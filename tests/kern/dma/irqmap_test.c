/*
 * Who checks whose message interrupts.
 *
 * LINK: kern/dma/irqmap.c
 */
#include <atf-c.h>

#include "kern/dma/irqmap.h"
#include "kern/machine/machine.h"
#include "kern/pci.h"

static const struct irqmap_ops ops;
static struct iommu_unit checks = { .irqmap = &ops }, plain;
static struct pci_function function;

struct iommu_unit *
iommu_by_index(uint32_t index)
{
	return index == 0 ? &checks : index == 1 ? &plain : NULL;
}

struct pci_function *
pci_find(uint16_t segment, uint16_t rid)
{
	return segment == 0 && rid == 8 ? &function : NULL;
}

ATF_TC_WITHOUT_HEAD(a_function_is_checked_by_its_unit_if_that_can);
ATF_TC_BODY(a_function_is_checked_by_its_unit_if_that_can, tc)
{
	uint32_t requester = 0;

	function = (struct pci_function){ .unit = 0, .endpoint = 0x1234 };
	ATF_CHECK_EQ(&checks, irqmap_of_function(0, 8, &requester));
	ATF_CHECK_EQ(0x1234, requester);
	function.unit = 1;		/* a unit without interrupt remapping */
	ATF_CHECK_EQ(NULL, irqmap_of_function(0, 8, &requester));
	function.unit = 2;		/* one that was refused */
	ATF_CHECK_EQ(NULL, irqmap_of_function(0, 8, &requester));
	function.unit = -1;
	ATF_CHECK_EQ(NULL, irqmap_of_function(0, 8, &requester));
	ATF_CHECK_EQ(NULL, irqmap_of_function(0, 9, &requester));
	ATF_CHECK_EQ(NULL, irqmap_of_function(1, 8, &requester));
}

ATF_TC_WITHOUT_HEAD(an_io_apic_is_known_by_one_hop_of_firmwares_table);
ATF_TC_BODY(an_io_apic_is_known_by_one_hop_of_firmwares_table, tc)
{
	static struct machine m;
	struct machine_scope *s = &m.scope[0];
	uint32_t requester = 0;

	m.iommu_count = 2;
	m.scope_count = 1;
	*s = (struct machine_scope){ .kind = SCOPE_IOAPIC, .enumeration_id = 2, .path_len = 1,
		.path = { 0xf8 }, .start_bus = 0xff };
	m.irqc.ioapic_count = 1;
	m.irqc.ioapic[0].id = 2;
	ATF_CHECK_EQ(&checks, irqmap_of_ioapic(&m, 2, &requester));
	ATF_CHECK_EQ(0xfff8, requester);
	ATF_CHECK(irqmap_ioapics_known(&m));
	ATF_CHECK_EQ(NULL, irqmap_of_ioapic(&m, 3, &requester));
	s->iommu = 1;
	ATF_CHECK_EQ(NULL, irqmap_of_ioapic(&m, 2, &requester));
	ATF_CHECK(irqmap_ioapics_known(&m));
	s->iommu = 2;			/* no such unit */
	ATF_CHECK(!irqmap_ioapics_known(&m));
	s->iommu = 0;
	s->path_len = 2;
	ATF_CHECK(!irqmap_ioapics_known(&m));
	s->path_len = 1;
	s->kind = (enum machine_scope_kind)(SCOPE_IOAPIC + 1);
	ATF_CHECK(!irqmap_ioapics_known(&m));
	s->kind = SCOPE_IOAPIC;
	m.irqc.ioapic_count = 2;	/* the second one is in no scope */
	m.irqc.ioapic[1].id = 7;
	ATF_CHECK(!irqmap_ioapics_known(&m));
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_function_is_checked_by_its_unit_if_that_can);
	ATF_TP_ADD_TC(tp, an_io_apic_is_known_by_one_hop_of_firmwares_table);
	return atf_no_error();
}
