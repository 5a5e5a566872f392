/*
 * The unit that is not there: broker.h.
 */
#include "kern/dma/broker.h"

static enum status broker_domain_init(struct iommu_domain *d UNUSED) { return OK; }
static void broker_domain_fini(struct iommu_domain *d UNUSED) { }
static enum status
broker_attach(struct iommu_domain *d UNUSED, uint32_t endpoint UNUSED)
{
	return OK;
}

static struct iommu_ticket
broker_detach(struct iommu_domain *d UNUSED, uint32_t endpoint UNUSED)
{
	return (struct iommu_ticket){ 0 };
}

static enum status
broker_map(struct iommu_domain *d UNUSED, struct iova at UNUSED, struct paddr to UNUSED,
    uint64_t len UNUSED, enum iommu_rights rights UNUSED)
{
	return OK;
}

static struct iommu_ticket
broker_sync(struct iommu_domain *d UNUSED)
{
	return (struct iommu_ticket){ 0 };
}

static struct iommu_ticket
broker_unmap(struct iommu_domain *d UNUSED, struct iova at UNUSED, uint64_t len UNUSED)
{
	return (struct iommu_ticket){ 0 };
}

/* Messages go where the interrupt controller wants them: the kernel writes the table. */
static enum status
broker_map_doorbell(struct iommu_domain *d UNUSED, struct iova at UNUSED, struct paddr page UNUSED)
{
	return E_UNSUPPORTED;
}

static enum status
broker_ticket_poll(struct iommu_unit *u UNUSED, struct iommu_ticket t UNUSED)
{
	return OK;
}

static uint32_t
broker_drain_faults(
    struct iommu_unit *u UNUSED, struct dma_fault *out UNUSED, uint32_t max UNUSED, bool *lost)
{
	*lost = false;
	return 0;
}

static void broker_shut(struct iommu_unit *u UNUSED) { }

static const struct iommu_ops broker_ops = {
	.domain_init = broker_domain_init,
	.domain_fini = broker_domain_fini,
	.attach = broker_attach,
	.detach = broker_detach,
	.map = broker_map,
	.sync = broker_sync,
	.unmap = broker_unmap,
	.map_doorbell = broker_map_doorbell,
	.ticket_poll = broker_ticket_poll,
	.drain_faults = broker_drain_faults,
	.shut = broker_shut,
};

struct iommu_unit broker_unit = {
	.ops = &broker_ops,
	.name = "brokered",
	.facts = { .page_sizes = 1ull << PAGE_SHIFT,
	    .iova_bits = 47,
	    .output_bits = 52,
	    .stage = 2,
	    .coherent = true,
	    .text = "addresses by the kernel" },
	.index = UINT32_MAX,
};
