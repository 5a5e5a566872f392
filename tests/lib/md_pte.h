/*
 * Entries of page tables (kern/md/pte.h) on the host: a format of no machine's, whose bits lie
 * where neither architecture has them.
 */
#pragma once

#include "kern/base/bits.h"
#include "kern/base/types.h"
#include "kern/md/mmu.h"

enum : uint64_t {
	DIRECT_MAP_BASE = 0,
	MD_WINDOW = 0xffff'c000'0000'0000,
	MD_STACKS = 0xffff'c040'0000'0000,
	MD_CPU_PAGES = 0xffff'c07f'ffe0'0000,
	FAKE_PTE_HERE = BIT(9),
	FAKE_PTE_TABLE = BIT(10),
	FAKE_PTE_LARGE = BIT(11),
	FAKE_PTE_USER = BIT(0),
	FAKE_PTE_PROT = BITS(7, 4),
};
enum { MD_USER_ENTRIES = 256 };

static inline bool pte_present(uint64_t e) { return (e & FAKE_PTE_HERE) != 0; }
static inline bool pte_is_table(uint64_t e) { return (e & FAKE_PTE_TABLE) != 0; }
static inline struct paddr pte_address(uint64_t e) { return (struct paddr){ e & BITS(51, 12) }; }
static inline uint64_t
pte_table(struct paddr t, bool user)
{
	return t.v | FAKE_PTE_HERE | FAKE_PTE_TABLE | (user ? FAKE_PTE_USER : 0);
}
static inline uint64_t pte_large(uint64_t e) { return e | FAKE_PTE_LARGE; }
static inline uint64_t
pte_kernel(enum pte_use use)
{
	return FAKE_PTE_HERE | FIELD_PREP(FAKE_PTE_PROT, use);
}
static inline uint64_t
pte_user(uint8_t prot)
{
	return FAKE_PTE_HERE | FAKE_PTE_USER | FIELD_PREP(FAKE_PTE_PROT, prot);
}
static inline unsigned pte_pa_bits(void) { return 44; }
static inline void pte_before_link(void) { }
static inline void pte_publish(void) { }
static inline void pte_replace_here(uint64_t *e, uint64_t to, uint64_t va UNUSED) { *e = to; }
static inline void pte_code(struct paddr pa UNUSED, uint64_t pages UNUSED) { }
