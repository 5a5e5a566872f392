/*
 * The table of windows: window.h.
 */
#include "kern/dma/window.h"
#include "kern/base/mmio.h"

void
window_place(struct window_table *t, struct xlate_window *array, uint32_t room)
{
	for (uint32_t i = 0; i < t->live.count; i++)
		array[i] = t->v[i];
	t->v = array;
	t->live.v = array;
	t->room = room;
}

enum status
window_add(struct window_table *t, const struct xlate_window *w)
{
	uint32_t n = t->live.count, at = n;

	if (w->last < w->first || w->dir == 0 || w->dir > DMA_BOTH)
		return E_INVALID;
	if (((w->first | ~w->last | w->delta | w->cpu) & PAGE_MASK) != 0)
		return E_ALIGN;
	while (at != 0 && t->v[at - 1].first > w->first)
		at--;
	if ((at != 0 && t->v[at - 1].last >= w->first) || (at != n && t->v[at].first <= w->last))
		return E_EXISTS;
	if (n == t->room)
		return E_NO_MEMORY;
	for (uint32_t i = n; i != at; i--)
		t->v[i] = t->v[i - 1];
	t->v[at] = *w;
	t->live.count = n + 1;
	return OK;
}

bool
window_close_far(struct window_table *t, const void *grant, uint64_t first, uint32_t *hint)
{
	uint32_t count = t->live.count, at;

	if (count == 0)
		return false;
	at = (uint32_t)(xlate_below(&t->live, first) - t->v);
	if (t->v[at].grant != grant || t->v[at].first != first ||
	    (at + 1 < count && t->v[at + 1].grant == grant))
		return false;
	*hint = at;
	t->v[at].last = first - 1;
	return true;
}

uint32_t
window_remove(struct window_table *t, const void *grant, uint64_t first)
{
	uint32_t count = t->live.count, at, n = 0;

	if (count == 0)
		return 0;
	/* Windows of one grant are neighbours: nothing else lies in its range. */
	at = (uint32_t)(xlate_below(&t->live, first) - t->v);
	while (at + n < count && t->v[at + n].grant == grant)
		n++;
	if (n == 0)
		return 0;
	for (uint32_t i = at; i < count - n; i++)
		t->v[i] = t->v[i + n];
	t->live.count = count - n;
	return n;
}

void
xlate_fetch(const struct xlate_window *w, uint64_t at, uint64_t *to, uint32_t words)
{
	const uint64_t *from = (const uint64_t *)(uintptr_t)(at + w->cpu);

	for (uint32_t i = 0; i < words; i++)
		to[i] = once_load(&from[i]);
}

uint64_t
xlate_word(const struct xlate_window *w, uint64_t at)
{
	return once_load((const uint64_t *)(uintptr_t)(at + w->cpu));
}
