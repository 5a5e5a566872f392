/*
 * Filling in the machine: notes, memory ranges, and their final form.
 */
#include "kern/machine/machine.h"
#include "kern/base/bits.h"
#include "kern/base/fmt.h"

void
machine_note(struct machine *m, const char *format, ...)
{
	va_list ap;

	if (m->note_count == MACHINE_NOTE_MAX) {
		m->dropped++;
		return;
	}
	va_start(ap, format);
	fmt_vbuf(m->note[m->note_count++], MACHINE_NOTE_TEXT, format, ap);
	va_end(ap);
}

void
machine_add_memory(struct machine *m, uint64_t base, uint64_t len, enum machine_memory_kind kind)
{
	if (len == 0)
		return;
	if (len > UINT64_MAX - base)
		len = UINT64_MAX - base;
	if (m->memory_count == MACHINE_MEMORY_MAX) {
		m->dropped++;
		return;
	}
	m->memory[m->memory_count++] = (struct machine_memory){ base, len, kind };
}

/* Takes [base, base + len) out of the RAM entry i; may add one entry for the rest above. */
static void
subtract(struct machine *m, uint32_t i, uint64_t base, uint64_t len)
{
	struct machine_memory *r = &m->memory[i];
	uint64_t end = base + len, ram_end = r->base + r->len;

	if (!ranges_overlap(r->base, r->len, base, len))
		return;
	if (end < ram_end)
		machine_add_memory(m, end, ram_end - end, MEM_RAM);
	r->len = base > r->base ? base - r->base : 0;
}

enum status
machine_finish(struct machine *m)
{
	uint32_t n = 0;
	bool ram = false;

	/* RAM in whole pages only; what is not RAM grows to whole pages. */
	for (uint32_t i = 0; i < m->memory_count; i++) {
		struct machine_memory *r = &m->memory[i];
		uint64_t end = r->base + r->len, base;

		if (r->kind != MEM_RAM)
			continue;
		base = align_up(r->base, PAGE_SIZE);
		end = align_down(end, PAGE_SIZE);
		r->len = end > base && base >= r->base ? end - base : 0;
		r->base = base;
	}
	/* Entries that subtract adds come at the end and are looked at too, against every other kind and each other. */
	for (uint32_t i = 0; i < m->memory_count; i++) {
		if (m->memory[i].kind != MEM_RAM)
			continue;
		for (uint32_t k = 0; k < m->memory_count && m->memory[i].len != 0; k++) {
			const struct machine_memory o = m->memory[k];
			uint64_t base = o.base, end = o.base + o.len;

			if (k == i || o.len == 0 || (o.kind == MEM_RAM && k > i))
				continue;
			if (o.kind != MEM_RAM) {
				base = align_down(base, PAGE_SIZE);
				end = end > UINT64_MAX - PAGE_SIZE ? end & ~PAGE_MASK : align_up(end, PAGE_SIZE);
			}
			subtract(m, i, base, end - base);
		}
	}
	/* Sorted by address, without the empty ones. */
	for (uint32_t i = 0; i < m->memory_count; i++) {
		struct machine_memory r = m->memory[i];
		uint32_t at = n;

		if (r.len == 0)
			continue;
		for (; at > 0 && m->memory[at - 1].base > r.base; at--)
			m->memory[at] = m->memory[at - 1];
		m->memory[at] = r;
		n++;
	}
	m->memory_count = n;
	/* Neighbours of one kind become one. */
	for (uint32_t i = 0; i + 1 < m->memory_count; ) {
		struct machine_memory *a = &m->memory[i], *b = a + 1;

		if (a->kind == MEM_RAM && b->kind == MEM_RAM && a->base + a->len == b->base) {
			a->len += b->len;
			for (uint32_t k = i + 1; k + 1 < m->memory_count; k++)
				m->memory[k] = m->memory[k + 1];
			m->memory_count--;
		} else {
			i++;
		}
	}
	for (uint32_t i = 0; i < m->memory_count; i++)
		ram |= m->memory[i].kind == MEM_RAM;
	return ram ? OK : E_CORRUPT;
}
