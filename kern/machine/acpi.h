/*
 * ACPI tables to struct machine.  Pure: reads through the caller's accessor, allocates and prints
 * nothing.
 *
 * Tables are untrusted: a table whose length or checksum is wrong is ignored with a note; entries
 * that overrun their table end its walk with a note; values that cannot be are left out.  Nothing
 * is executed: of AML only the package \_S5 is looked for, as bytes.
 *
 * Source: ACPI 6.5, chapters 5 (tables), 4.8 (fixed hardware), 16.
 */
#pragma once

#include "kern/machine/machine.h"

struct acpi_source {
	/* A readable pointer to len bytes at a physical address, or NULL.  Stays valid; any
	 * alignment. */
	const void *(*map)(void *ctx, uint64_t at, uint64_t len);
	void *ctx;
	uint64_t rsdp;		/* 0: search the places a PC has it in */
};

enum : uint32_t { ACPI_HEADER = 36 };

/*
 * Fills CPUs, interrupt controllers, timers, console, power, host bridges.  Memory should be in the
 * machine already: registers that lie in it are refused.  E_NOT_FOUND: no RSDP or no root table.
 */
NODISCARD enum status acpi_machine(struct machine *m, const struct acpi_source *src);

/*
 * A checked table by its four letters; NULL when there is none.  *len is its length, at least
 * ACPI_HEADER.  Of several with the letters, the first good one.
 */
const uint8_t *
acpi_table(struct machine *m, const struct acpi_source *src, const char sig[4], uint32_t *len);

/* A checked table at an address, for those that others point to. */
const uint8_t *acpi_table_at(struct machine *m, const struct acpi_source *src, uint64_t address,
    const char sig[4], uint32_t *len);

/*
 * The root table's entry of an index; false past the last.  *table: checked, or NULL when it cannot
 * be read.
 */
bool acpi_table_nth(struct machine *m, const struct acpi_source *src, uint32_t index,
    const uint8_t **table, uint32_t *len);

/* Which tables that tell of IOMMUs are listed: tables_present. */
void acpi_note_tables(struct machine *m, const struct acpi_source *src);

/* Is there a root pointer with a root table behind it? */
bool acpi_present(struct machine *m, const struct acpi_source *src);

/* Little-endian numbers at any alignment. */
static inline uint16_t acpi_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline uint32_t
acpi_u32(const uint8_t *p)
{
	return acpi_u16(p) | (uint32_t)acpi_u16(p + 2) << 16;
}
static inline uint64_t
acpi_u64(const uint8_t *p)
{
	return acpi_u32(p) | (uint64_t)acpi_u32(p + 4) << 32;
}
