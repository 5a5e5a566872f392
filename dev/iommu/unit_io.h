/*
 * How a unit driver touches what the hardware sees: registers, table entries, rings.
 *
 * In a kernel these are single loads and stores.  In a host test (CAPOS_HOST) they go to
 * tests/lib/fake_kernel.c, which hands registers to a software model of the unit and
 * lets it look at memory after every single store.  Nothing else in dev/iommu may write
 * memory that a unit reads: a plain store could be split, moved or missed by the model.
 *
 * unit_store64    one 64-bit store, in program order against other unit_stores on x86;
 *                 on Arm only unit_publish() orders it for the device
 * unit_publish    everything stored before is visible to a coherent device before anything
 *                 stored after (entries, or a register that tells it to look)
 * unit_clean      the same for a device that does not snoop: writes the lines back first
 */
#pragma once

#include "kern/base/mmio.h"
#include "kern/base/types.h"
#include "kern/md/mmu.h"

#if CAPOS_HOST

uint64_t unit_host_read(const volatile void *base, uint32_t offset, unsigned bytes);
void unit_host_write(volatile void *base, uint32_t offset, unsigned bytes, uint64_t v);
void unit_host_store(uint64_t *p, uint64_t v);
void unit_host_publish(void);

static inline uint8_t
unit_read8(const volatile void *base, uint32_t offset)
{
	return (uint8_t)unit_host_read(base, offset, 1);
}
static inline uint16_t
unit_read16(const volatile void *base, uint32_t offset)
{
	return (uint16_t)unit_host_read(base, offset, 2);
}
static inline void
unit_write8(volatile void *base, uint32_t offset, uint8_t v)
{
	unit_host_write(base, offset, 1, v);
}
static inline void
unit_write16(volatile void *base, uint32_t offset, uint16_t v)
{
	unit_host_write(base, offset, 2, v);
}
static inline uint32_t
unit_read32(const volatile void *base, uint32_t offset)
{
	return (uint32_t)unit_host_read(base, offset, 4);
}
static inline uint64_t
unit_read64(const volatile void *base, uint32_t offset)
{
	return unit_host_read(base, offset, 8);
}
static inline void
unit_write32(volatile void *base, uint32_t offset, uint32_t v)
{
	unit_host_write(base, offset, 4, v);
}
static inline void
unit_write64(volatile void *base, uint32_t offset, uint64_t v)
{
	unit_host_write(base, offset, 8, v);
}
static inline void unit_store64(uint64_t *p, uint64_t v) { unit_host_store(p, v); }
static inline void unit_publish(void) { unit_host_publish(); }

#else

static inline uint8_t
unit_read8(const volatile void *base, uint32_t offset)
{
	return mmio_read8((const volatile char *)base + offset);
}
static inline uint16_t
unit_read16(const volatile void *base, uint32_t offset)
{
	return mmio_read16((const volatile char *)base + offset);
}
static inline void
unit_write8(volatile void *base, uint32_t offset, uint8_t v)
{
	mmio_write8((volatile char *)base + offset, v);
}
static inline void
unit_write16(volatile void *base, uint32_t offset, uint16_t v)
{
	mmio_write16((volatile char *)base + offset, v);
}
static inline uint32_t
unit_read32(const volatile void *base, uint32_t offset)
{
	return mmio_read32((const volatile char *)base + offset);
}
static inline uint64_t
unit_read64(const volatile void *base, uint32_t offset)
{
	return mmio_read64((const volatile char *)base + offset);
}
static inline void
unit_write32(volatile void *base, uint32_t offset, uint32_t v)
{
	mmio_write32((volatile char *)base + offset, v);
}
static inline void
unit_write64(volatile void *base, uint32_t offset, uint64_t v)
{
	mmio_write64((volatile char *)base + offset, v);
}
static ALWAYS_INLINE void unit_store64(uint64_t *p, uint64_t v) { once_store(p, v); }
static ALWAYS_INLINE void unit_publish(void) { io_publish(); }

#endif

static inline void
unit_clean(const void *p, size_t len, bool coherent)
{
	if (!coherent)
		cache_clean(p, len);
}
