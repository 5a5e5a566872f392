/*
 * For fuzzers of ACPI tables: the input is a row of tables, each with its letters (4 bytes), its
 * length (2 bytes, of what follows) and its bytes behind the header.  Headers, checksums and root
 * table are made here, because no fuzzer would ever guess a checksum; a length whose top bit is set
 * leaves the checksum wrong.
 */
#pragma once

#include "kern/machine/acpi.h"

const struct acpi_source *fuzz_acpi(const uint8_t *data, size_t size);
/* One table only, all of whose bytes behind the header are the input. */
const struct acpi_source *fuzz_acpi_one(const char sig[4], const uint8_t *data, size_t size);
