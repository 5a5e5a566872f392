/*
 * Spin locks with a rank.
 *
 * The kernel runs with interrupts off except in the idle loop and at the preemption
 * points of long work (sched.h), where no lock is held.  A lock therefore needs no
 * interrupt variant.  Sections are short and never wait for hardware.
 *
 * A CPU may take a lock only of higher rank than the highest it holds; debug builds
 * check this and that the releaser is the holder.  Ranks, low to high, are taken in
 * that order:
 */
#pragma once

#include "kern/base/types.h"
#include "kern/base/mmio.h"

enum lock_rank : uint8_t {
	RANK_NONE,
	RANK_FAULTS,       /* dma/unit.c: from one unit's fault log to the counters */
	RANK_CLAIM,        /* device.c: which claim owns which function */
	RANK_QUEUE,        /* device_queue.c, device_dma.c: rings, a grant, looking for the claim */
	RANK_DEVICE,       /* device.c: claim, state machine of one group */
	RANK_DOMAIN,       /* dma/domain.c: one DMA domain with its ledger and I/O page table */
	RANK_PROCESS,      /* process.c: life, threads */
	RANK_HANDLES,      /* handle.c: one process's table, writers only */
	RANK_VSPACE,       /* vspace.c: one address space */
	RANK_MEMORY,       /* memory.c: one memory object */
	RANK_SLOTS,        /* pci_hotplug.c: who is told that functions came or went */
	RANK_ENDPOINT,     /* ipc.c */
	RANK_NOTIFICATION, /* ipc.c */
	RANK_IRQ,          /* irq.c: vector table entries */
	RANK_WORKER,       /* worker.c: lists of jobs */
	RANK_RUNQUEUE,     /* sched.c: one CPU's queue, its timers */
	RANK_OBJECT,       /* object.c: slabs */
	RANK_PCI,          /* pci.c: configuration space of one host */
	RANK_UNIT,         /* dev/iommu: one unit's command ring and tables */
	RANK_IRQC,         /* arch: interrupt controller, ITS command ring */
	RANK_MMU,          /* arch: kernel page tables, address-space ids */
	RANK_SHOOT,        /* arch: one TLB shootdown at a time */
	RANK_FRAME,        /* frame.c: the buddy lists */
	RANK_PORTS,        /* arch: configuration space by an address port and a data port */
	RANK_RANDOM,       /* random.c */
	RANK_LOG,          /* log.c */
	RANK_CONSOLE,      /* the serial port's writer */
	RANK_COUNT
};

struct CAPABILITY("lock") spinlock {
	uint32_t held;
	enum lock_rank rank;
	uint8_t cpu;		/* debug: holder */
};

#define SPINLOCK_INIT(r)	{ .rank = (r) }
static inline void
lock_init(struct spinlock *l, enum lock_rank rank)
{
	*l = (struct spinlock){ .rank = rank };
}

/* One turn of a waiting loop; answers what other CPUs may be waiting for meanwhile (cpu_spin_poll).
 */
void lock_wait(void);

#if CAPOS_DEBUG
void lock_check_acquire(struct spinlock *l);
void lock_check_release(struct spinlock *l);
#else
static inline void lock_check_acquire(struct spinlock *l UNUSED) {}
static inline void lock_check_release(struct spinlock *l UNUSED) {}
#endif

static inline void
spin_lock(struct spinlock *l) ACQUIRE(*l) NO_THREAD_SAFETY
{
	lock_check_acquire(l);
	while (unlikely(__atomic_exchange_n(&l->held, 1, __ATOMIC_ACQUIRE) != 0))
		while (load_relaxed(&l->held) != 0)
			lock_wait();
}

/* Takes the lock when it is free. */
static inline bool
spin_try(struct spinlock *l) TRY_ACQUIRE(true, *l) NO_THREAD_SAFETY
{
	if (unlikely(__atomic_exchange_n(&l->held, 1, __ATOMIC_ACQUIRE) != 0))
		return false;
	lock_check_acquire(l);
	return true;
}

static inline void
spin_unlock(struct spinlock *l) RELEASE(*l) NO_THREAD_SAFETY
{
	lock_check_release(l);
	store_release(&l->held, 0);
}
