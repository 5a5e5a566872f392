/*
 * ACPI tables for tests: each in memory of its own, to the byte, so that the sanitizer sees every
 * overrun.
 *
 *     struct acpi_build b = { 0 };
 *     uint8_t *t = ab_table(&b, "MCFG", 60);     zeroed, with a header; fill the rest
 *     ab_finish(&b, AB_XSDT);                    root table, root pointer, checksums
 *     ab_source(&b)                              what acpi_machine wants
 */
#pragma once

#include "kern/machine/acpi.h"

enum { AB_TABLES = 32 };
enum ab_root { AB_XSDT, AB_RSDT, AB_BOTH };

struct ab_region { uint64_t at; uint32_t len; uint8_t *bytes; bool hidden; };

struct acpi_build {
	struct ab_region region[AB_TABLES + 4];
	uint32_t count;
	struct acpi_source source;
};

uint8_t *ab_table(struct acpi_build *b, const char sig[4], uint32_t len);
/* Bytes at a given address, for what is no table. */
uint8_t *ab_bytes(struct acpi_build *b, uint64_t at, uint32_t len);
uint64_t ab_address(const struct acpi_build *b, const uint8_t *bytes);
void ab_finish(struct acpi_build *b, enum ab_root root);
void ab_checksum(uint8_t *table, uint32_t len);	/* byte 9 */
const struct acpi_source *ab_source(struct acpi_build *b);
void ab_free(struct acpi_build *b);

void ab_put16(uint8_t *at, uint16_t v);
void ab_put32(uint8_t *at, uint32_t v);
void ab_put64(uint8_t *at, uint64_t v);
