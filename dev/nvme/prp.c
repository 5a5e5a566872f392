/*
 * Building PRP lists: prp.h.
 */
#include "dev/nvme/prp.h"

void
prp_pool_init(struct prp_pool *p, void *ptr, struct iova at, uint32_t pages)
{
	p->ptr = ptr;
	p->iova = at;
	p->pages = p->free = pages;
	p->first = pages != 0 ? 0 : PRP_NONE;
	for (uint32_t i = 0; i < pages; i++)
		p->next[i] = i + 1 < pages ? (uint16_t)(i + 1) : PRP_NONE;
}

/* Each list page but the last gives one entry away for the chain: n entries and one less per page.
 */
static uint32_t
list_pages(uint64_t entries)
{
	return entries <= 1 ? 0 : (uint32_t)((entries - 1 + PRP_ENTRIES - 2) / (PRP_ENTRIES - 1));
}

uint32_t
prp_list_pages(uint64_t at, uint64_t bytes)
{
	uint64_t first = PAGE_SIZE - (at & PAGE_MASK);

	return bytes <= first ? 0 : list_pages(pages_of(bytes - first));
}

static NOINLINE bool
build_list(struct prp_pool *p, uint64_t at, uint64_t n, uint64_t *prp2, uint16_t *list)
{
	uint32_t need = list_pages(n);
	uint16_t page = p->first, last = page;
	uint64_t *to;

	if (need > p->free)
		return false;
	*list = page;
	*prp2 = p->iova.v + page * PAGE_SIZE;
	for (;;) {
		uint64_t take = n <= PRP_ENTRIES ? n : PRP_ENTRIES - 1;

		to = p->ptr + (uint64_t)page * PRP_ENTRIES;
		for (uint64_t i = 0; i < take; i++, at += PAGE_SIZE)
			to[i] = at;
		n -= take;
		last = page;
		page = p->next[page];
		if (n == 0)
			break;
		to[take] = p->iova.v + page * PAGE_SIZE;
	}
	p->first = page;
	p->next[last] = PRP_NONE;
	p->free -= need;
	return true;
}

bool
prp_build(struct prp_pool *p, uint64_t at, uint64_t bytes, uint64_t prp[2], uint16_t *list)
{
	uint64_t first = PAGE_SIZE - (at & PAGE_MASK);

	prp[0] = at;
	prp[1] = 0;
	*list = PRP_NONE;
	if (likely(bytes <= first))
		return true;
	at += first;
	bytes -= first;
	if (bytes <= PAGE_SIZE) {
		prp[1] = at;
		return true;
	}
	return build_list(p, at, pages_of(bytes), &prp[1], list);
}

void *
prp_page(struct prp_pool *p, uint64_t *at, uint16_t *list)
{
	uint16_t page = p->first;
	uint64_t *to;

	if (p->free == 0)
		return NULL;
	p->first = p->next[page];
	p->next[page] = PRP_NONE;
	p->free--;
	*list = page;
	*at = p->iova.v + page * PAGE_SIZE;
	to = p->ptr + (uint64_t)page * PRP_ENTRIES;
	for (unsigned i = 0; i < PRP_ENTRIES; i++)
		to[i] = 0;
	return to;
}

void
prp_free(struct prp_pool *p, uint16_t list)
{
	uint16_t last = list;
	uint32_t n = 1;

	if (likely(list == PRP_NONE))
		return;
	for (; p->next[last] != PRP_NONE; n++)
		last = p->next[last];
	p->next[last] = p->first;
	p->first = list;
	p->free += n;
}
