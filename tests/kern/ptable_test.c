/*
 * The CPUs' page tables: after each call a walk finds what was mapped and nothing else, no CPU
 * knows what was unmapped, and tables are paid for and given back.
 *
 * LINK: kern/ptable.c kern/quota.c kern/base/fmt.c kern/base/str.c
 * LINK: tests/lib/fake_kernel.c tests/lib/fake_panic.c
 */
#include <atf-c.h>
#include <string.h>

#include "kern/base/bits.h"
#include "kern/cpu.h"
#include "kern/machine/machine.h"
#include "kern/main.h"
#include "kern/panic.h"
#include "kern/ptable.h"
#include "kern/quota.h"
#include "tests/lib/fake_kernel.h"

/* Two pages of code, one of constants, one of data. */
__asm__(".bss; .balign 4096; .globl __kernel_start; __kernel_start: .skip 8192;"
	".globl __text_end; __text_end: .skip 4096; .globl __rodata_end; __rodata_end: .skip 4096;"
	".globl __kernel_end; __kernel_end: .text");
extern const char __kernel_start[], __text_end[], __rodata_end[];

enum : uint64_t {
	RAM = 0x4000'0000,
	RAM_BYTES = 64 * MIB,
	AT = 0x7f'ffc0'0000,
	TO = 0x80'0000'0000,
};
enum : unsigned { RUNS = 6, PAGES = RUNS * 512 };

struct cpu fake_cpu;
uint64_t mmu_phys_offset;

static struct quota quota;
static struct mmu_space space;
static uint64_t want[PAGES];		/* leaf without its size, or 0 */
static bool known[PAGES];		/* a CPU may know what was mapped there, */
static bool as_one[RUNS];		/* from a large leaf: it forgets all of it at once */
static unsigned flushes;

void
mmu_flush(struct mmu_space *s, uint64_t va, uint64_t pages)
{
	ATF_REQUIRE(s == &space && va >= AT && va + pages * PAGE_SIZE <= AT + PAGES * PAGE_SIZE);
	for (uint64_t i = (va - AT) / PAGE_SIZE, n = pages; n != 0; i++, n--) {
		known[i] = false;
		if (as_one[i / 512])
			memset(known + i / 512 * 512, 0, 512 * sizeof(known[0]));
		as_one[i / 512] = false;
	}
	flushes++;
}

bool
mmu_guarded_copy(void *to, const void *from, size_t len)
{
	memcpy(to, from, len);
	return true;
}

void boot_failed(const char *why, ...) { panic("boot failed: %s", why); }

/* What hardware would find: a leaf as one of 4 KiB, or 0.  *level: how large it is. */
static uint64_t
walk(const uint64_t *t, uint64_t va, unsigned *level)
{
	for (unsigned l = 3; ; l--) {
		uint64_t e = t[va >> (12 + 9 * l) & 511], low = ((uint64_t)PAGE_SIZE << 9 * l) - 1;

		if ((e & FAKE_PTE_HERE) == 0)
			return 0;
		*level = l;
		if (l == 0 || (e & FAKE_PTE_TABLE) == 0) {
			ATF_REQUIRE_EQ((e & FAKE_PTE_LARGE) != 0, l != 0);
			return (e & ~(uint64_t)FAKE_PTE_LARGE) + (va & low & ~(uint64_t)PAGE_MASK);
		}
		t = frame_ptr(pte_address(e));
	}
}

static void
begin(uint64_t pages_max)
{
	fake_kernel_init(&(struct fake_setup){ .seed = 1 });
	quota = (struct quota){ .pages_max = pages_max, .pages = 1 };
	space = (struct mmu_space){ .root = frame_of(ptable_new(0)), .table_pages = 1,
		.quota = &quota };
	memset(want, 0, sizeof(want));
	memset(known, 0, sizeof(known));
	memset(as_one, 0, sizeof(as_one));
}

static void
compare(void)
{
	unsigned large = 0, level;

	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t e = walk(frame_ptr(space.root), AT + i * PAGE_SIZE, &level);

		ATF_REQUIRE_EQ_MSG(e, want[i], "page %u", i);
		ATF_REQUIRE_MSG(want[i] != 0 || !known[i], "page %u is gone, and a CPU knows it", i);
		large += e != 0 && level == 1 && i % 512 == 0;
	}
	ATF_REQUIRE_EQ(space.large_leaves, large);
	ATF_REQUIRE_EQ(quota.pages, space.table_pages);
	ATF_REQUIRE_EQ(fake_frames(FRAME_TABLE), space.table_pages);
}

static enum status
map(unsigned first, unsigned pages, uint64_t pa, uint8_t prot)
{
	struct uva va = { AT + first * PAGE_SIZE };
	enum status s = mmu_map(&space, va, (struct paddr){ pa }, pages, prot);

	for (unsigned i = first; i < first + pages; i++) {
		if (s == OK)
			want[i] = (pa + (i - first) * PAGE_SIZE) | pte_user(prot);
		known[i] |= s == OK;
		as_one[i / 512] |= s == OK && pages == 512;
	}
	return s;
}

static void
unmap(unsigned first, unsigned pages)
{
	memset(want + first, 0, pages * sizeof(want[0]));
	mmu_unmap(&space, (struct uva){ AT + first * PAGE_SIZE }, pages);
}

static void
end(void)
{
	ptable_space_free(&space);
	ATF_CHECK_EQ(quota.pages, 0);
	ATF_CHECK_EQ(fake_frames(FRAME_TABLE), 0);
}

/* Runs of all lengths, as vspace.c cuts them; a large one where nothing is mapped. */
ATF_TC_WITHOUT_HEAD(what_is_mapped_is_found_and_nothing_else);
ATF_TC_BODY(what_is_mapped_is_found_and_nothing_else, tc)
{
	uint8_t kind[RUNS] = { 0 };	/* 0 empty, 1 pages, 2 a large leaf */
	unsigned at[RUNS] = { 0 }, n[RUNS] = { 0 }, larges = 0;

	begin(64);
	for (unsigned i = 0; i < 600; i++) {
		unsigned r = (unsigned)(fake_random() % RUNS);

		if (kind[r] != 0) {
			unmap(r * 512 + at[r], n[r]);
			kind[r] = 0;
		} else {
			kind[r] = 1 + fake_random() % 2;
			at[r] = kind[r] == 2 ? 0 : (unsigned)(fake_random() % 512);
			n[r] = kind[r] == 2 ? 512 : 1 + (unsigned)(fake_random() % (512 - at[r]));
			larges += kind[r] == 2;
			ATF_REQUIRE_EQ(map(r * 512 + at[r], n[r], TO + r * 2 * MIB,
					   (uint8_t)(fake_random() % 8)),
			    OK);
		}
		compare();
	}
	ATF_CHECK(larges > 100);
	for (unsigned r = 0; r < RUNS; r++)
		if (kind[r] != 0)
			unmap(r * 512 + at[r], n[r]);
	compare();
	end();
}

ATF_TC_WITHOUT_HEAD(a_table_makes_room_for_a_large_leaf_when_it_is_forgotten);
ATF_TC_BODY(a_table_makes_room_for_a_large_leaf_when_it_is_forgotten, tc)
{
	uint64_t tables;
	unsigned before;

	begin(64);
	ATF_REQUIRE_EQ(map(512, 3, TO, PROT_READ), OK);
	tables = space.table_pages;
	unmap(512, 3);
	ATF_CHECK_EQ(space.table_pages, tables);
	before = flushes;
	ATF_REQUIRE_EQ(map(512, 512, TO, PROT_READ | PROT_WRITE), OK);
	ATF_CHECK_EQ(flushes, before + 1);
	ATF_CHECK_EQ(space.table_pages, tables - 1);
	compare();
	unmap(512, 512);
	compare();
	end();
}

/* Where it ends, at the quota or at memory: nothing of the run stays, but for tables. */
ATF_TC_WITHOUT_HEAD(a_run_is_mapped_whole_or_not_at_all);
ATF_TC_BODY(a_run_is_mapped_whole_or_not_at_all, tc)
{
	for (unsigned room = 1; room < 8; room++) {
		begin(room);
		ATF_CHECK_EQ(map(500, 300, TO, PROT_READ), room < 5 ? E_QUOTA : OK);
		compare();
		ptable_space_free(&space);
		ATF_CHECK_EQ(fake_frames(FRAME_TABLE), 0);
		begin(64);
		fake_fail_alloc(room - 1);
		ATF_CHECK_EQ(map(500, 300, TO, PROT_READ), room < 5 ? E_NO_MEMORY : OK);
		fake_fail_alloc(-1);
		compare();
		end();
	}
}

ATF_TC_WITHOUT_HEAD(ram_is_never_code_and_code_never_writable);
ATF_TC_BODY(ram_is_never_code_and_code_never_writable, tc)
{
	struct machine m = { .memory_count = 2,
		.memory = { { .base = RAM, .len = RAM_BYTES, .kind = MEM_RAM },
		    { .base = RAM + RAM_BYTES, .len = MIB, .kind = MEM_RESERVED } } };
	uint64_t image = RAM + 5 * MIB, text = (uint64_t)(uintptr_t)__kernel_start, e;
	enum pte_use use;
	unsigned level, large = 0;

	fake_kernel_init(&(struct fake_setup){ .seed = 1 });
	mmu_phys_offset = image - (text - PTABLE_IMAGE_VMA);
	ptable_init(&m, true, 0);
	for (uint64_t at = RAM; at < RAM + RAM_BYTES; at += PAGE_SIZE) {
		use = at >= image && at < image + 3 * PAGE_SIZE ? PTE_USE_RODATA : PTE_USE_DATA;
		e = walk(ptable_kernel, DIRECT_MAP_BASE + at, &level);
		ATF_REQUIRE_EQ(e, at | pte_kernel(use));
		large += level != 0;
	}
	ATF_CHECK_EQ(large, RAM_BYTES / PAGE_SIZE - 512);
	ATF_CHECK_EQ(walk(ptable_kernel, DIRECT_MAP_BASE + RAM + RAM_BYTES, &level), 0);
	for (unsigned i = 0; i < 4; i++) {
		use = i < 2 ? PTE_USE_TEXT : i == 2 ? PTE_USE_RODATA : PTE_USE_DATA;
		ATF_CHECK_EQ(walk(ptable_kernel, text + i * PAGE_SIZE, &level),
		    (image + i * PAGE_SIZE) | pte_kernel(use));
	}
	e = (uint64_t)(uintptr_t)mmu_map_device((struct paddr){ 0x1'0000'0010 }, 3 * PAGE_SIZE);
	ATF_CHECK_EQ(e & PAGE_MASK, 0x10);
	for (unsigned i = 0; i < 4; i++)
		ATF_CHECK_EQ(walk(ptable_kernel, e + i * PAGE_SIZE, &level) & ~(uint64_t)PAGE_MASK,
		    0x1'0000'0000 + i * PAGE_SIZE);
	ATF_CHECK_EQ(walk(ptable_kernel, e + 4 * PAGE_SIZE, &level), 0);
	ATF_CHECK(mmu_map_device((struct paddr){ BIT(44) - 4 }, 4) != NULL);
	ATF_CHECK_EQ(mmu_map_device((struct paddr){ BIT(44) - 4 }, 5), NULL);
	ATF_CHECK_EQ(mmu_map_device((struct paddr){ BIT(60) }, 4), NULL);
	ATF_CHECK_EQ(mmu_map_device((struct paddr){ UINT64_MAX - 3 }, 4), NULL);
	ATF_CHECK_EQ(mmu_map_device((struct paddr){ 0x1000 }, UINT64_MAX), NULL);
	ATF_CHECK_EQ(mmu_map_device((struct paddr){ 0x1000 }, 0), NULL);
}

ATF_TC_WITHOUT_HEAD(a_stack_is_mapped_whole_and_stands_on_a_hole);
ATF_TC_BODY(a_stack_is_mapped_whole_and_stands_on_a_hole, tc)
{
	struct machine m = { .memory_count = 0 };
	uint64_t stack[3], tables, stacks;
	unsigned level;

	fake_kernel_init(&(struct fake_setup){ .seed = 1 });
	mmu_phys_offset = 0;
	ptable_init(&m, false, 0);
	ptable_live();
	for (unsigned n = 0; n < 4; n++) {
		fake_fail_alloc(n);
		stack[0] = (uint64_t)(uintptr_t)mmu_stack_alloc();
		stacks = fake_frames(FRAME_KERNEL);
		ATF_CHECK_EQ(stacks, stack[0] != 0 ? KSTACK_SIZE / PAGE_SIZE : 0);
		if (stack[0] != 0)
			break;
	}
	fake_fail_alloc(-1);
	ATF_REQUIRE(stack[0] != 0);
	tables = fake_frames(FRAME_TABLE);
	for (unsigned i = 1; i < 3; i++)
		stack[i] = (uint64_t)(uintptr_t)mmu_stack_alloc();
	ATF_CHECK_EQ(fake_frames(FRAME_TABLE), tables);
	for (unsigned i = 0; i < 3; i++) {
		ATF_CHECK_EQ(walk(ptable_kernel, stack[i] - PAGE_SIZE, &level), 0);
		for (uint64_t at = 0; at < KSTACK_SIZE; at += PAGE_SIZE)
			ATF_CHECK(walk(ptable_kernel, stack[i] + at, &level) != 0 && level == 0);
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_run_is_mapped_whole_or_not_at_all);
	ATF_TP_ADD_TC(tp, a_stack_is_mapped_whole_and_stands_on_a_hole);
	ATF_TP_ADD_TC(tp, a_table_makes_room_for_a_large_leaf_when_it_is_forgotten);
	ATF_TP_ADD_TC(tp, ram_is_never_code_and_code_never_writable);
	ATF_TP_ADD_TC(tp, what_is_mapped_is_found_and_nothing_else);
	return atf_no_error();
}
