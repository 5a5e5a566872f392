/*
 * What the parts of device claims share: device.c (claims, windows, vectors, faults), device_dma.c (grants), device_end.c
 * (the end).
 */
#pragma once

#include "kern/device.h"

enum : uint64_t {
	DRAIN_NS = NS_PER_S, FENCE_NS = NS_PER_S, POLL_NS = 20 * NS_PER_US,
	STORM = 10000,			/* faults in a claim's life that shut it off */
};

/* Over pci_function.claimed and .never. */
extern struct spinlock device_claim_lock;

static inline struct device *device_of(struct object *o) { return container_of(o, struct device, obj); }

/* Finds a live claim by handle; locked on OK. */
NODISCARD enum status device_lock(struct thread *t, uint64_t handle, uint32_t rights, struct device **out);

/* Takes the route of one vector down; the device's lock is held. */
void device_irq_unroute(struct device *d, struct irq *i);

/* The worker's step of the end; device.work.step of every claim. */
uint64_t device_end_step(struct work *w);
