/*
 * ACPI tables to struct machine.  Pure: reads through the caller's accessor, allocates and prints nothing.
 *
 * Tables are untrusted: a table whose length or checksum is wrong is ignored with a note; entries that overrun their table
 * end its walk with a note.
 *
 * Source: ACPI 6.5, chapters 5 (tables) and 4.8 (fixed hardware).
 */
#pragma once

#include "kern/machine/machine.h"

struct acpi_source {
	/* A readable pointer to len bytes at a physical address, or NULL.  Stays valid. */
	const void *(*map)(void *ctx, uint64_t at, uint64_t len);
	void *ctx;
	uint64_t rsdp;		/* 0: search the places a PC has it in */
};

/* Fills CPUs, interrupt controllers, timers, console, power, host bridges.  E_NOT_FOUND: no RSDP or no root table. */
NODISCARD enum status acpi_machine(struct machine *m, const struct acpi_source *src);

/* A checked table by its four letters; NULL when there is none.  *len is its length. */
const uint8_t *acpi_table(struct machine *m, const struct acpi_source *src, const char sig[4], uint32_t *len);

/* Little-endian numbers at any alignment. */
uint16_t acpi_u16(const uint8_t *p);
uint32_t acpi_u32(const uint8_t *p);
uint64_t acpi_u64(const uint8_t *p);
