/*
 * A grant that is mapped for each request: unmapped it keeps its address and nothing else
 * (UNMAP_KEEP), and is mapped again with other memory.  What is refused on the way, what it holds,
 * and, between marks, what a round costs (tests/bench/run).
 */
#include "kern/base/bits.h"
#include "usr/trial/trial.h"

enum { ROUNDS = 1000, POOL_PAGES = 64 };
enum : uint32_t { NVME_CLASS = 0x010802 };

static handle_t device;
static uint64_t iova;			/* of the grant, all the time */

handle_t
claim_checked(void)
{
	struct function_info f;
	uint64_t size, h, i = 0;

	do
		if (sys_info(boot_info->kernel, INFO_FUNCTION, i++, (uint64_t)(uintptr_t)&f,
			sizeof(f), &size) != OK)
			die("no disk controller");
	while (f.class_code != NVME_CLASS);
	if (sys_device_claim(boot_info->kernel, (uint64_t)f.segment << 16 | f.rid,
		CLAIM_CONSENT_INTERRUPTS, DEADLINE_NEVER, &h) != OK)
		die("no claim");
	return (handle_t)h;
}

static uint64_t
pages_of_memory(uint64_t n)
{
	uint64_t h;

	if (sys_mem_create(n, 0, &h) != OK)
		die("no memory");
	return h;
}

static uint64_t
free_pages(void)
{
	struct memory_info m;
	uint64_t size;

	if (sys_info(
		boot_info->kernel, INFO_MEMORY, 0, (uint64_t)(uintptr_t)&m, sizeof(m), &size) != OK)
		die("no look at the memory");
	return m.free;
}

/* Maps it again: at the address of before, or it is a failure. */
static enum status
again(uint64_t *buffer, uint64_t memory, uint64_t offset, uint64_t len, enum dma_dir dir)
{
	uint64_t b = *buffer, at = 0;
	enum status s = sys_dma_map(b, memory, offset, len, dir, buffer, &at);

	if (s == OK && (at != iova || *buffer == b || (handle_t)*buffer != (handle_t)b))
		die("mapped again it is another one");
	return s;
}

static void
tell(const char *what, enum status s)
{
	print("trial: %s: %s\n", what, status_text(s));
}

static void
keep(uint64_t buffer)
{
	if (sys_dma_unmap(buffer, DEADLINE_NEVER, UNMAP_KEEP) != OK)
		die("not unmapped");
}

/* The same number and the same claim, in another process; and a handle that may do less. */
static void
strangers(uint64_t buffer, uint64_t memory)
{
	struct spawn sp = { .name = "stranger",
		.args = "stranger",
		.limits = { .pages = 256, .objects = 64, .threads = 4 },
		.priority = 5,
		.count = 1 };
	struct epitaph e;
	uint64_t less;
	handle_t child;

	sp.image = archive_file((const uint8_t *)(uintptr_t)boot_info->archive_va,
	    boot_info->archive_len, "init", &sp.image_len);
	if (sys_handle_dup((handle_t)buffer, RIGHT_MANAGE | RIGHT_GIVE, &less) != OK)
		die("no second handle");
	sp.give[0].name = "grant";
	sp.give[0].handle = (handle_t)less;
	sp.give[0].rights = RIGHT_MANAGE;
	if (sp.image == NULL || spawn(&sp, &child) != OK)
		die("no child");
	tell("its handle without the right to map", again(&less, memory, 0, PAGE_SIZE, DMA_BOTH));
	tell("another process that may only unmap it", (enum status)result_of(child, &e));
	(void)sys_handle_close(less);
}

int
stranger_as_child(void)
{
	uint64_t memory = pages_of_memory(1), b, at;
	handle_t h = start_handle("grant");
	enum status s = sys_dma_map(h, memory, 0, PAGE_SIZE, DMA_BOTH, &b, &at);

	/* A number of another's table is nothing here. */
	if (sys_dma_map(h + 1000, memory, 0, PAGE_SIZE, DMA_BOTH, &b, &at) != E_HANDLE)
		return OK;
	return (int)s;
}

static void
refusals(void)
{
	uint64_t memory = pages_of_memory(4), buffer, old, ro, sealed, at;

	if (sys_dma_map(device, memory, 0, PAGE_SIZE, DMA_BOTH, &buffer, &iova) != OK)
		die("no grant");
	tell("mapped again while it has memory", again(&buffer, memory, 0, PAGE_SIZE, DMA_BOTH));
	tell("unmapped with an unknown flag", sys_dma_unmap(buffer, DEADLINE_NEVER, 2));
	keep(buffer);
	tell("kept twice", sys_dma_unmap(buffer, DEADLINE_NEVER, UNMAP_KEEP));
	tell("another length", again(&buffer, memory, 0, 2 * PAGE_SIZE, DMA_BOTH));
	tell("past the end of memory", again(&buffer, memory, 4 * PAGE_SIZE, PAGE_SIZE, DMA_BOTH));
	if (sys_handle_dup(memory, RIGHT_READ | RIGHT_DMA, &ro) != OK ||
	    sys_handle_dup(memory, RIGHT_READ | RIGHT_WRITE, &at) != OK)
		die("no second handle");
	tell("memory that may only be read, for writing",
	    again(&buffer, ro, 0, PAGE_SIZE, DMA_FROM_DEVICE));
	tell("memory that is not for devices", again(&buffer, at, 0, PAGE_SIZE, DMA_TO_DEVICE));
	sealed = pages_of_memory(1);
	if (sys_mem_seal(sealed) != OK)
		die("not sealed");
	tell("sealed memory, for writing",
	    again(&buffer, sealed, 0, PAGE_SIZE, DMA_FROM_DEVICE));
	strangers(buffer, memory);
	tell("sealed memory, for reading", again(&buffer, sealed, 0, PAGE_SIZE, DMA_TO_DEVICE));
	old = buffer;
	keep(buffer);
	tell("other memory, other direction",
	    again(&buffer, memory, PAGE_SIZE, PAGE_SIZE, DMA_FROM_DEVICE));
	tell("unmapped with the word of before",
	    sys_dma_unmap(old, DEADLINE_NEVER, UNMAP_KEEP));
	tell("unmapped for good with the word of before", sys_dma_unmap(old, DEADLINE_NEVER, 0));
	tell("unmapped for good", sys_dma_unmap(buffer, DEADLINE_NEVER, 0));
	tell("mapped again after that", again(&buffer, memory, 0, PAGE_SIZE, DMA_BOTH));
	(void)sys_handle_close(memory);
	(void)sys_handle_close(sealed);
	(void)sys_handle_close(ro);
	(void)sys_handle_close(at);
}

/* Idle it holds no memory, mapped it does. */
static void
holds(void)
{
	uint64_t memory = pages_of_memory(POOL_PAGES), len = POOL_PAGES * PAGE_SIZE, buffer, before;

	if (sys_dma_map(device, memory, 0, len, DMA_BOTH, &buffer, &iova) != OK)
		die("no grant");
	keep(buffer);
	(void)sys_handle_close(memory);
	before = free_pages();
	memory = pages_of_memory(POOL_PAGES);
	if (again(&buffer, memory, 0, len, DMA_BOTH) != OK)
		die("no grant again");
	(void)sys_handle_close(memory);
	print("trial: a grant of %u pages holds, mapped: %llu; ", POOL_PAGES,
	    (unsigned long long)(before - free_pages()));
	keep(buffer);
	print("kept: %llu\n", (unsigned long long)(before - free_pages()));
	(void)sys_dma_unmap(buffer, DEADLINE_NEVER, 0);
}

void
rounds(void)
{
	uint64_t memory, buffer, unused;
	enum status s = OK;

	device = claim_checked();
	refusals();
	holds();
	memory = pages_of_memory(POOL_PAGES);
	if (sys_dma_map(device, memory, 0, PAGE_SIZE, DMA_BOTH, &buffer, &iova) != OK)
		die("no grant");
	for (unsigned i = 0; i < 2 * ROUNDS && s == OK; i++) {
		uint64_t offset = i % POOL_PAGES * PAGE_SIZE;

		if (i == ROUNDS)
			MARK(18);
		s = sys_dma_unmap(buffer, DEADLINE_NEVER, UNMAP_KEEP);
		if (s == OK)
			s = sys_dma_map(
			    buffer, memory, offset, PAGE_SIZE, DMA_FROM_DEVICE, &buffer, &unused);
	}
	MARK(19);
	tell("many rounds", s);
	keep(buffer);
	s = sys_handle_revoke(device, now_ns() + 20 * NS_PER_S);
	tell("the claim ends with one kept", s);
	tell("mapped again after the end", again(&buffer, memory, 0, PAGE_SIZE, DMA_BOTH));
	tell("unmapped after the end", sys_dma_unmap(buffer, DEADLINE_NEVER, 0));
}
