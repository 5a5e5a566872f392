/*
 * Device registers and memory shared with devices or with other parties.
 *
 * mmio_read and mmio_write are single accesses of the named width, in program
 * order among themselves on one device (Device memory on Arm, UC on x86).  They
 * do not order against normal memory; the named points below do:
 *
 *   io_publish()  before the register write (doorbell, tail, enable) that makes
 *                 earlier stores to memory visible to a device.
 *   io_collect()  after the read (register or memory flag) that says a device
 *                 wrote memory, before that memory is read.
 *   smp_*         between CPUs, or between processes that share a ring.
 *
 * once_load and once_store are for memory another party can write: the access
 * happens exactly once and is not torn (width up to 64 bits).
 */
#pragma once

#include "kern/base/types.h"

#if defined(__aarch64__)
#define IO_STORE_BARRIER()	__asm__ volatile("dsb st" ::: "memory")
#define IO_LOAD_BARRIER()	__asm__ volatile("dsb ld" ::: "memory")
#define IO_FULL_BARRIER()	__asm__ volatile("dsb sy" ::: "memory")
#define CPU_RELAX()		__asm__ volatile("yield" ::: "memory")
/* One load or store instruction without write-back, which is all that hypervisors decode. */
#define MMIO_LOAD(w, reg, v, p) __asm__ volatile(w " %" reg "0, [%1]" : "=r"(v) : "r"(p) : "memory")
#define MMIO_STORE(w, reg, v, p) __asm__ volatile(w " %" reg "0, [%1]" ::"rZ"(v), "r"(p) : "memory")
static inline uint8_t
mmio_read8(const volatile void *p)
{
	uint32_t v;
	MMIO_LOAD("ldrb", "w", v, p);
	return (uint8_t)v;
}
static inline uint16_t
mmio_read16(const volatile void *p)
{
	uint32_t v;
	MMIO_LOAD("ldrh", "w", v, p);
	return (uint16_t)v;
}
static inline uint32_t
mmio_read32(const volatile void *p)
{
	uint32_t v;
	MMIO_LOAD("ldr", "w", v, p);
	return v;
}
static inline uint64_t
mmio_read64(const volatile void *p)
{
	uint64_t v;
	MMIO_LOAD("ldr", "x", v, p);
	return v;
}
static inline void
mmio_write8(volatile void *p, uint8_t v)
{
	MMIO_STORE("strb", "w", (uint32_t)v, p);
}
static inline void
mmio_write16(volatile void *p, uint16_t v)
{
	MMIO_STORE("strh", "w", (uint32_t)v, p);
}
static inline void mmio_write32(volatile void *p, uint32_t v) { MMIO_STORE("str", "w", v, p); }
static inline void mmio_write64(volatile void *p, uint64_t v) { MMIO_STORE("str", "x", v, p); }
#else
#if defined(__x86_64__)
#define IO_STORE_BARRIER()	__asm__ volatile("" ::: "memory")
#define IO_LOAD_BARRIER()	__asm__ volatile("" ::: "memory")
#define IO_FULL_BARRIER()	__asm__ volatile("mfence" ::: "memory")
#define CPU_RELAX()		__asm__ volatile("pause" ::: "memory")
#else
#define IO_STORE_BARRIER()	__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define IO_LOAD_BARRIER()	__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define IO_FULL_BARRIER()	__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define CPU_RELAX()		((void)0)
#endif
static inline uint8_t mmio_read8(const volatile void *p) { return *(const volatile uint8_t *)p; }
static inline uint16_t mmio_read16(const volatile void *p) { return *(const volatile uint16_t *)p; }
static inline uint32_t mmio_read32(const volatile void *p) { return *(const volatile uint32_t *)p; }
static inline uint64_t mmio_read64(const volatile void *p) { return *(const volatile uint64_t *)p; }
static inline void mmio_write8(volatile void *p, uint8_t v) { *(volatile uint8_t *)p = v; }
static inline void mmio_write16(volatile void *p, uint16_t v) { *(volatile uint16_t *)p = v; }
static inline void mmio_write32(volatile void *p, uint32_t v) { *(volatile uint32_t *)p = v; }
static inline void mmio_write64(volatile void *p, uint64_t v) { *(volatile uint64_t *)p = v; }
#endif

static ALWAYS_INLINE void io_publish(void) { IO_STORE_BARRIER(); }
static ALWAYS_INLINE void io_collect(void) { IO_LOAD_BARRIER(); }
static ALWAYS_INLINE void io_full(void) { IO_FULL_BARRIER(); }
static ALWAYS_INLINE void smp_full(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

#define once_load(p)		(*(const volatile __typeof__(*(p)) *)(p))
#define once_store(p, v)	(*(volatile __typeof__(*(p)) *)(p) = (v))
#define load_acquire(p)		__atomic_load_n((p), __ATOMIC_ACQUIRE)
#define store_release(p, v)	__atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define load_relaxed(p)		__atomic_load_n((p), __ATOMIC_RELAXED)
#define store_relaxed(p, v)	__atomic_store_n((p), (v), __ATOMIC_RELAXED)
