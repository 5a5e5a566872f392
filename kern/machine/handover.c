/*
 * The loader's record to struct machine.  Pure, like the other front ends.
 */
#include "kern/machine/handover.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/machine/machine.h"

static_assert((int)HANDOVER_CMDLINE <= (int)MACHINE_CMDLINE_MAX);

bool
handover_is(const void *p)
{
	uint64_t magic;

	memcpy(&magic, p, sizeof(magic));
	return magic == HANDOVER_MAGIC;
}

static_assert(sizeof(((struct handover *)0)->firmware) == sizeof(((struct machine *)0)->firmware));
static_assert(sizeof(((struct handover *)0)->platform) == sizeof(((struct machine *)0)->platform));
static_assert(sizeof(((struct handover *)0)->maker) == sizeof(((struct machine *)0)->maker));
static_assert(sizeof(((struct handover *)0)->product) == sizeof(((struct machine *)0)->product));

/* Text for people, which goes to the console: nothing else in it, and an end. */
static void
printable(char *to, const char *from, size_t size)
{
	size_t n = 0;

	for (; n + 1 < size && from[n] != 0; n++)
		to[n] = from[n] < ' ' || from[n] > '~' ? '?' : from[n];
	to[n] = 0;
}

/* A page of registers: not memory, and somewhere that a CPU can name. */
static void
add_device(struct machine *m, uint64_t at)
{
	if (at == 0 || !is_aligned(at, PAGE_SIZE) || at >> 48 != 0 ||
	    machine_in_memory(m, at, PAGE_SIZE))
		machine_note(m, "loader: a device of firmware's is at 0 or in memory: ignored");
	else if (m->firmware_device_count < MACHINE_FIRMWARE_DEVICES)
		m->firmware_device[m->firmware_device_count++] = at;
}

enum status
handover_machine(struct machine *m, const struct handover *h, uint64_t at)
{
	static const enum machine_memory_kind kinds[] = {
		[HANDOVER_RAM] = MEM_RAM, [HANDOVER_RESERVED] = MEM_RESERVED,
		[HANDOVER_ACPI_RECLAIM] = MEM_ACPI_RECLAIM, [HANDOVER_ACPI_NVS] = MEM_ACPI_NVS,
	};

	if (!handover_is(h) || h->version != HANDOVER_VERSION || h->size != sizeof(*h) ||
	    h->range_count > HANDOVER_RANGES || h->device_count > HANDOVER_DEVICES)
		return E_CORRUPT;
	for (uint32_t i = 0; i < h->range_count; i++) {
		const struct handover_range *r = &h->range[i];

		if (r->len > UINT64_MAX - r->base)
			machine_note(m, "loader: entry %u of the memory map is absurd: ignored",
			    i); /* no address: D3 */
		else
			machine_add_memory(m, r->base, r->len,
			    r->kind < ARRAY_SIZE(kinds) ? kinds[r->kind] : MEM_RESERVED);
	}
	if (h->range_lost != 0)
		machine_note(m, "loader: %u pieces of firmware's memory map did not fit: not used",
		    h->range_lost);
	machine_add_memory(m, h->image.base, h->image.len, MEM_KERNEL);
	machine_add_memory(m, at, sizeof(*h), MEM_FIRMWARE_TABLES);
	if (h->archive.len != 0)
		machine_set_archive(m, h->archive.base, h->archive.len);
	if (m->archive.len != 0)
		machine_add_memory(m, m->archive.base, m->archive.len, MEM_ARCHIVE);
	if (h->fdt.len != 0)
		machine_add_memory(m, h->fdt.base, h->fdt.len, MEM_FIRMWARE_TABLES);
	for (uint32_t i = 0; i < h->device_count; i++)
		add_device(m, h->device[i]);
	m->wall_s = h->wall_s;
	printable(m->firmware, h->firmware, sizeof(m->firmware));
	printable(m->platform, h->platform, sizeof(m->platform));
	printable(m->maker, h->maker, sizeof(m->maker));
	printable(m->product, h->product, sizeof(m->product));
	str_copy(m->cmdline, h->cmdline, sizeof(m->cmdline));
	if (h->seed_known == 1) {
		memcpy(m->seed, h->seed, sizeof(m->seed));
		m->seed_known = true;
	}
	return OK;
}
