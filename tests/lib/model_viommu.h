/*
 * A software virtio-iommu behind a PCI function, written from the specification: stricter than
 * QEMU, and as free as a device may be.
 *
 *   - Registers: status goes up in order, queues are set up before it runs, "bypass" is a byte that
 *     survives a reset.
 *   - Requests are taken when the driver notifies, answered later and in any order (setup.lag);
 *     every field is checked, also those that QEMU does not look at: reserved bytes, alignment,
 *     lengths.
 *   - A domain is there from its first endpoint to its last, with its mappings.
 *   - Properties: reserved ranges of each endpoint.  Events go to buffers; without one they are
 *     dropped.
 *
 * What software does wrong is recorded as a violation, in words with the rule's id.
 */
#pragma once

#include "kern/base/types.h"

struct model_viommu;

enum : uint16_t { MODEL_VIOMMU_RID = 0x08 };
enum : uint64_t { MODEL_VIOMMU_BASE = 0x80'0000'0000, MODEL_VIOMMU_FEATURES = 0x3'0000'0077 };

struct model_viommu_setup {
	uint64_t features;		/* 0: the above */
	uint64_t page_sizes;		/* 0: 4K and all larger */
	uint64_t input_first, input_last;	/* last 0: 48 bits */
	uint32_t domain_first, domain_last;	/* last 0: all */
	uint32_t probe_size;		/* 0: 512 */
	uint16_t queue_size;		/* 0: 256 */
	bool bypass; /* who is attached to nothing passes, until that is switched off */
	bool bypass_stuck, features_refused, no_notify, short_config, other_device, bad_properties;
	uint32_t odd_endpoint; /* reserves a range of its own, too; 0: nobody does */
	uint32_t lag; /* ticks until one more request is answered, in any order; 0: at once */
};

struct model_viommu *model_viommu_create(const struct model_viommu_setup *setup);
void model_viommu_destroy(struct model_viommu *m);
void model_viommu_function(uint16_t rid, uint32_t endpoint);	/* behind the unit; before probe */

struct model_viommu_dma { bool done, bypass; uint64_t pa; uint8_t reason; };
struct model_viommu_dma
model_viommu_dma(struct model_viommu *m, uint32_t endpoint, uint64_t iova, bool write);
bool model_viommu_reaches(
    struct model_viommu *m, uint64_t page); /* some mapping of an attached domain leads there */

/* Faults of the device. */
void model_viommu_hang(struct model_viommu *m, bool hang);
void model_viommu_refuse(
    struct model_viommu *m, uint8_t type, uint8_t status);      /* the next request of the type */
void model_viommu_short(struct model_viommu *m);                /* the next answer has no bytes */
void model_viommu_forge(struct model_viommu *m, uint32_t head); /* an answer that is nobody's */
void model_viommu_run_ahead(struct model_viommu *m);            /* the used index, by a thousand */
void model_viommu_give_up(struct model_viommu *m);			/* NEEDS_RESET */

uint32_t model_viommu_violations(const struct model_viommu *m);
const char *model_viommu_violation(const struct model_viommu *m);
uint32_t model_viommu_kicks(struct model_viommu *m);			/* since the last call */
uint32_t
model_viommu_requests(struct model_viommu *m, uint8_t type); /* answered since the last call */
bool model_viommu_runs(const struct model_viommu *m);
bool model_viommu_master(void);
