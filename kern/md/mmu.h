/*
 * Address translation by the CPUs: what the architecture promises to the kernel.
 *
 * Layout.  The upper half belongs to the kernel and is the same everywhere: image
 * (W^X by section), direct map of all RAM (never executable; the image's read-only
 * and text pages are read-only there too), a window for device registers, and a
 * window for stacks with guard pages.  The lower half belongs to a process:
 * [USER_BASE, USER_END).
 *
 * TLBs.  mmu_unmap returns after every CPU has forgotten the old entries, or will before
 * it uses the space again (shootdown by interprocessor interrupt or broadcast).  It must be
 * called without locks that an interprocessor interrupt handler could want; holding the
 * address space's lock is fine.
 *
 * Locks: callers serialise calls on one mmu_space (vspace.c holds RANK_VSPACE).
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"

struct machine;
struct quota;

enum : uint64_t {
	USER_BASE = 0x10000,
	USER_END  = 0x7fff'ffff'f000,	/* also below the sign bit of 48-bit addresses */
};

enum mmu_prot : uint8_t {
	PROT_READ  = 1,
	PROT_WRITE = 2,
	PROT_EXEC  = 4,		/* never together with PROT_WRITE: E_REFUSED */
	PROT_DEVICE = 8,	/* registers: Device-nGnRE, UC; never executable */
};

struct mmu_space {
	struct paddr root;
	uint64_t id; /* (c) the architecture's: ASID or PCID, in its place in a register */
	uint64_t key[2];	/* (c) the architecture's: arm64 pointer authentication; 0 none */
	uint64_t cpus;		/* (a) CPUs that run it, by bit */
	uint64_t stale;		/* (a) x86: CPUs that must forget its entries before they use it */
	uint64_t table_pages;	/* root included */
	uint64_t large_leaves;	/* mapped now */
	struct quota *quota;	/* charged for tables */
};

/*
 * Boot CPU, from start-up code onwards: builds the final kernel tables (direct map of
 * all RAM of the machine, W^X image) and switches to them.  Called after frame_init();
 * until then the architecture's boot map covers image, device tree or start info, and RAM
 * well enough for frame_init to work.
 */
/* Physical addresses below this can be reached through frame_ptr before mmu_init. */
extern const uint64_t mmu_boot_limit;

void mmu_init(const struct machine *m);
void mmu_init_cpu(void);	/* every further CPU, on that CPU */

/* Registers of a device, for ever; NULL when the window is full, memory is out, or the CPU's
 * addresses do not reach so far.  Any base and length; paddr need not be aligned. */
void *mmu_map_device(struct paddr base, uint64_t len_bytes);

/*
 * Registers of a device for now: reaches to the end of their page, on this CPU, until the next call
 * on it.  Costs nothing that could run out: every CPU has one page of addresses, made at boot.
 */
void *mmu_window(struct paddr at);

/* A kernel stack of KSTACK_SIZE bytes with an unmapped page below it; its lowest address, or NULL:
 * memory is out. */
enum : uint64_t { KSTACK_SIZE = 4 * PAGE_SIZE };
void *mmu_stack_alloc(void);
void mmu_stack_free(void *stack);

/* How many process address spaces there can be at a time, with all the memory in the world:
 * UINT32_MAX where ids do not limit it. */
uint32_t mmu_spaces(void);

/* An empty process address space.  E_NO_MEMORY, E_QUOTA. */
NODISCARD enum status mmu_space_init(struct mmu_space *s, struct quota *q);
/* Frees the tables (not what they map, which is unmapped already) and the id. Runs on no CPU any
 * more. */
void mmu_space_fini(struct mmu_space *s);

/*
 * Maps pages frames from pa on (contiguous) at va; nothing is mapped there now.  E_NO_MEMORY
 * or E_QUOTA leave nothing of the run mapped.  At most MMU_RUN pages a call, so that no call is
 * long; exactly so many at addresses that are multiples of their size become one large leaf.
 */
enum : uint64_t { MMU_RUN = 512 };	/* 2 MiB */
NODISCARD enum status
mmu_map(struct mmu_space *s, struct uva va, struct paddr pa, uint64_t pages, uint8_t prot);

/*
 * Unmaps whatever is mapped in the run (at most MMU_RUN pages a call); on return no CPU uses it.  A
 * large leaf lies in the run as a whole: leaves are never split.
 */
void mmu_unmap(struct mmu_space *s, struct uva va, uint64_t pages);

/*
 * Makes s the address space of this CPU (NULL: only the kernel's half).  Cheap when it already is.
 * In md_inline.h: ALWAYS_INLINE void mmu_activate(struct mmu_space *s);
 */

/*
 * Copies between kernel and the current process; false when any byte is not mapped
 * with the right that a user access would need, or not in [USER_BASE, USER_END).  No
 * partial results are promised.  Interrupts stay off.  At most 64 KiB a call.
 */
NODISCARD bool mmu_copy_in(void *to, struct uva from, size_t len);
NODISCARD bool mmu_copy_out(struct uva to, const void *from, size_t len);

/* Data cache maintenance by address to the point of coherency, for devices that do not snoop. */
void cache_clean(const void *p, size_t len);
void cache_invalidate(void *p, size_t len);	/* cleans and invalidates */
