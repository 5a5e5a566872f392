/*
 * Filling in the machine: notes, memory ranges, and their final form.
 *
 * What does not fit is lost on the safe side: RAM that is not listed is only not used, but a
 * reservation that is not listed would be given to somebody.  So a reservation takes the place of
 * the smallest run of RAM when the list is full.
 */
#include "kern/machine/machine.h"
#include "kern/base/bits.h"
#include "kern/base/fmt.h"
#include "kern/base/str.h"

enum : uint64_t { ARCHIVE_MAX = GIB };

void
machine_note(struct machine *m, const char *format, ...)
{
	char text[MACHINE_NOTE_TEXT];
	va_list ap;

	va_start(ap, format);
	fmt_vbuf(text, sizeof(text), format, ap);
	va_end(ap);
	/* Names in it are firmware's, and it goes to a terminal. */
	for (char *c = text; *c != 0; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	/* A table that is looked up twice is refused twice, and said once. */
	for (uint32_t i = 0; i < m->note_count; i++)
		if (strcmp(m->note[i], text) == 0)
			return;
	if (m->note_count == MACHINE_NOTE_MAX) {
		m->dropped++;
		return;
	}
	str_copy(m->note[m->note_count++], text, MACHINE_NOTE_TEXT);
}

static struct machine_memory *
smallest_ram(struct machine *m)
{
	struct machine_memory *least = NULL;

	for (uint32_t i = 0; i < m->memory_count; i++) {
		struct machine_memory *r = &m->memory[i];

		if (r->kind == MEM_RAM && (least == NULL || r->len < least->len))
			least = r;
	}
	return least;
}

void
machine_add_memory(struct machine *m, uint64_t base, uint64_t len, enum machine_memory_kind kind)
{
	struct machine_memory *at;

	if (len == 0)
		return;
	if (len > UINT64_MAX - base)
		len = UINT64_MAX - base;
	if (m->memory_count < MACHINE_MEMORY_MAX) {
		at = &m->memory[m->memory_count++];
	} else {
		m->dropped++;
		at = kind == MEM_RAM ? NULL : smallest_ram(m);
		if (at == NULL)
			return;	/* for a reservation: then no RAM is listed, nor can be */
	}
	*at = (struct machine_memory){ base, len, kind };
}

bool
machine_in_memory(const struct machine *m, uint64_t base, uint64_t len)
{
	if (len > UINT64_MAX - base)
		return true;
	for (uint32_t i = 0; i < m->memory_count; i++) {
		const struct machine_memory *r = &m->memory[i];

		if (r->kind != MEM_RESERVED && ranges_overlap(base, len, r->base, r->len))
			return true;
	}
	return false;
}

bool
machine_iommu_at(const struct machine *m, uint64_t base, uint64_t len)
{
	for (uint32_t i = 0; i < m->iommu_count; i++)
		if (ranges_overlap(base, len, m->iommu[i].base, m->iommu[i].len))
			return true;
	return false;
}

void
machine_set_archive(struct machine *m, uint64_t base, uint64_t len)
{
	uint64_t at = base, before;

	if (len == 0 || len > ARCHIVE_MAX || len > UINT64_MAX - base) {
		machine_note(m, "machine: the boot archive's place is absurd: ignored");
		return;
	}
	/*
	 * Entries may be many, overlap, and stand in any order.  Reserved ones count: QEMU lets the
	 * archive end in a page that the PC's firmware keeps.
	 */
	do {
		before = at;
		for (uint32_t i = 0; i < m->memory_count; i++) {
			const struct machine_memory *r = &m->memory[i];

			if (r->kind != MEM_KERNEL && r->base <= at && at - r->base < r->len)
				at = r->base + r->len;
		}
	} while (at != before && at < base + len);
	if (at < base + len) {
		machine_note(
		    m, "machine: the boot archive is not in memory that firmware lists: ignored");
		return;
	}
	m->archive = (struct machine_region){ base, len };
}

/* Takes [base, end) out of the RAM entry i; may add one entry for the rest above. */
static void
subtract(struct machine *m, uint32_t i, uint64_t base, uint64_t end)
{
	struct machine_memory *r = &m->memory[i];
	uint64_t ram_end = r->base + r->len;

	if (base >= ram_end || end <= r->base)
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

	/* RAM in whole pages only; what is not RAM grows to whole pages when it is subtracted. */
	for (uint32_t i = 0; i < m->memory_count; i++) {
		struct machine_memory *r = &m->memory[i];
		uint64_t end = align_down(r->base + r->len, PAGE_SIZE),
			 base = align_up(r->base, PAGE_SIZE);

		if (r->kind != MEM_RAM)
			continue;
		r->len = end > base && base >= r->base ? end - base : 0;
		r->base = base;
	}
	/* Entries that subtract adds come at the end, and are looked at too: against every other
	 * kind and against RAM before. */
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
				end = end > UINT64_MAX - PAGE_MASK ? UINT64_MAX :
								     align_up(end, PAGE_SIZE);
			}
			subtract(m, i, base, end);
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
	/* Neighbours of one kind become one; what is not RAM may overlap. */
	n = 0;
	for (uint32_t i = 0; i < m->memory_count; i++) {
		struct machine_memory r = m->memory[i], *last = n > 0 ? &m->memory[n - 1] : NULL;

		if (last != NULL && last->kind == r.kind && r.base <= last->base + last->len)
			last->len = max_u64(last->base + last->len, r.base + r.len) - last->base;
		else
			m->memory[n++] = r;
		ram |= r.kind == MEM_RAM;
	}
	m->memory_count = n;
	return ram ? OK : E_CORRUPT;
}

uint32_t
machine_console_divisor(const struct machine_console *c)
{
	uint64_t d = c->baud == 0 ? 0 : (c->clock_hz * 4ull + c->baud / 2) / c->baud;

	return c->clock_hz == 0 || d < 64 || d > 64 * UINT16_MAX ? 0 : (uint32_t)d;
}

bool
machine_console_fits(const struct machine *m, const struct machine_console *c)
{
	bool ns = c->kind == CONSOLE_16550_MMIO;
	uint32_t access = ns ? c->access_bytes : 4;

	return c->base != 0 && is_aligned(c->base, access) &&
	    (!ns || 1u << c->reg_shift >= access) &&
	    !machine_in_memory(m, c->base, ns ? 8ull << c->reg_shift : PAGE_SIZE);
}

bool
machine_word(const struct machine *m, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = m->cmdline; *p != 0; p++)
		if ((p == m->cmdline || p[-1] == ' ') && strncmp(p, word, n) == 0 &&
		    (p[n] == 0 || p[n] == ' '))
			return true;
	return false;
}
