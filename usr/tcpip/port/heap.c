/*
 * lwIP's heap: in the place of its mem.c, which searches.
 *
 * Memory comes from the system in chunks of 64 pages, as it is needed, up to a limit, and stays.  A
 * chunk's free pages are the bits of one word.  A run of pages starts with a header of 64 bytes;
 * what it holds is one large block, or blocks of one size, of which the free ones form a list.
 * Whoever frees a block finds the header at the begin of its page: every block starts in the first
 * page of its run.
 *
 *   run   | header | block | block | ...          one page, sizes up to 2016
 *         | header | one block                |   as many pages as it takes
 *
 * Pages with free blocks are in a list of their size.  A page that becomes empty goes back to its
 * chunk, but for the last one of its list.
 *
 * One thread; no locks.  Running out is NULL: lwIP drops what it was for, and goes on.
 */
#include "usr/tcpip/port/heap.h"

#include "kern/base/bits.h"
#include "lwip/mem.h"
#include "usr/lib/os.h"

enum { CHUNK_PAGES = 64, CHUNKS = 256, HEAD = 64, CLASSES = 6, LARGE = 0xff };

struct block { struct block *next; };

struct run {
	struct run *prev, *next;	/* in its class's list, while blocks are free */
	struct block *free;
	uint16_t used, blocks;
	uint8_t size_class;		/* LARGE: one block */
	uint8_t pages;
	uint16_t chunk;
};
static_assert(sizeof(struct run) <= HEAD);

static const uint16_t class_bytes[CLASSES] = { 64, 128, 256, 576, 1344, 2016 };

static struct {
	uint8_t *base[CHUNKS];
	uint64_t free[CHUNKS];
	uint32_t chunks;
	uint64_t limit, used;		/* pages */
	struct run *partial[CLASSES];
} heap = { .limit = CHUNKS * CHUNK_PAGES };

void heap_limit(uint64_t pages) { heap.limit = pages; }

void
heap_counts(uint64_t *pages, uint64_t *used)
{
	*pages = (uint64_t)heap.chunks * CHUNK_PAGES;
	*used = heap.used;
}

/* A chunk's first place for so many pages in a row, or 64. */
static unsigned
place(uint64_t free, unsigned pages)
{
	for (unsigned i = 1; i < pages && free != 0; i++)
		free &= free >> 1;
	return free != 0 ? lowest_bit(free) : 64;
}

static struct run *
take_run(unsigned pages)
{
	unsigned at = 64;
	uint32_t c;
	struct run *r;

	for (c = 0; c < heap.chunks && at == 64; c++)
		at = place(heap.free[c], pages);
	if (at == 64) {
		void *base;

		if (c == CHUNKS || (uint64_t)(c + 1) * CHUNK_PAGES > heap.limit)
			return NULL;
		base = pages_alloc(CHUNK_PAGES, NULL);
		if (base == NULL)
			return NULL;
		heap.base[c] = base;
		heap.free[c] = ~0ull;
		heap.chunks = ++c;
		at = 0;
	}
	c--;
	heap.free[c] &= ~(BITS(pages - 1, 0) << at);
	heap.used += pages;
	r = (struct run *)(heap.base[c] + at * PAGE_SIZE);
	*r = (struct run){ .pages = (uint8_t)pages, .chunk = (uint16_t)c };
	return r;
}

static void
give_run(struct run *r)
{
	unsigned at = (unsigned)(((uint8_t *)r - heap.base[r->chunk]) / PAGE_SIZE);

	heap.used -= r->pages;
	heap.free[r->chunk] |= BITS(r->pages - 1u, 0) << at;
}

static void
list(struct run *r)
{
	struct run **first = &heap.partial[r->size_class];

	r->prev = NULL;
	r->next = *first;
	if (*first != NULL)
		(*first)->prev = r;
	*first = r;
}

static void
unlist(struct run *r)
{
	if (r->prev != NULL)
		r->prev->next = r->next;
	else
		heap.partial[r->size_class] = r->next;
	if (r->next != NULL)
		r->next->prev = r->prev;
}

static struct run *
new_page(unsigned class)
{
	struct run *r = take_run(1);
	uint8_t *b;

	if (r == NULL)
		return NULL;
	r->size_class = (uint8_t)class;
	r->blocks = (uint16_t)((PAGE_SIZE - HEAD) / class_bytes[class]);
	b = (uint8_t *)r + HEAD;
	for (unsigned i = 0; i < r->blocks; i++, b += class_bytes[class]) {
		((struct block *)b)->next = r->free;
		r->free = (struct block *)b;
	}
	list(r);
	return r;
}

void mem_init(void) {}
void *mem_trim(void *p, mem_size_t size UNUSED) { return p; }

void *
mem_malloc(mem_size_t size)
{
	unsigned class = 0;
	struct block *b;
	struct run *r;

	while (class < CLASSES && class_bytes[class] < size)
		class++;
	if (class == CLASSES) {
		if (size > (CHUNK_PAGES - 1) * PAGE_SIZE)
			return NULL;
		r = take_run((unsigned)pages_of(size + HEAD));
		if (r == NULL)
			return NULL;
		r->size_class = LARGE;
		return (uint8_t *)r + HEAD;
	}
	r = heap.partial[class];
	if (unlikely(r == NULL)) {
		r = new_page(class);
		if (r == NULL)
			return NULL;
	}
	b = r->free;
	r->free = b->next;
	r->used++;
	if (r->free == NULL)
		unlist(r);
	return b;
}

void *
mem_calloc(mem_size_t count, mem_size_t size)
{
	mem_size_t bytes;
	void *p;

	if (__builtin_mul_overflow(count, size, &bytes))
		return NULL;
	p = mem_malloc(bytes);
	if (p != NULL)
		memset(p, 0, bytes);
	return p;
}

void
mem_free(void *p)
{
	struct run *r = (struct run *)((uintptr_t)p & ~(uintptr_t)(PAGE_SIZE - 1));
	struct block *b = p;

	if (p == NULL)
		return;
	if (r->size_class == LARGE) {
		give_run(r);
		return;
	}
	if (r->free == NULL)
		list(r);
	b->next = r->free;
	r->free = b;
	if (--r->used == 0 && (r->prev != NULL || r->next != NULL)) {
		unlist(r);
		give_run(r);
	}
}
