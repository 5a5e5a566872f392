/*
 * Memory objects on the host: see fake_memory.h.
 */
#include "tests/lib/fake_memory.h"

#include "kern/frame.h"
#include "kern/panic.h"

void
fake_memory_add(struct fake_memory *f, unsigned order)
{
	struct paddr p;

	if (f->count == ARRAY_SIZE(f->run) || frame_alloc(order, FRAME_USER, 0, &p) != OK)
		panic("no room for a run");
	if (f->count == 0)
		f->m.run[0].base_order = p.v | order;
	f->run[f->count].base = p.v;
	f->run[f->count++].pages = 1u << order;
	f->m.pages += 1u << order;
}

bool
memory_find_run(struct memory *m, uint64_t page, struct paddr *base, uint64_t *contiguous_pages)
{
	struct fake_memory *f = container_of(m, struct fake_memory, m);

	for (uint32_t i = 0; i < f->count; page -= f->run[i++].pages) {
		if (page >= f->run[i].pages)
			continue;
		base->v = f->run[i].base + page * PAGE_SIZE;
		*contiguous_pages = f->run[i].pages - page;
		return true;
	}
	return false;
}
