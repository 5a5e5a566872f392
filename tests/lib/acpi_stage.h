/* The stage for tests of the ACPI front end: a machine, and the tables that it is told by. */
#pragma once

#include <string.h>

#include "tests/lib/acpi_build.h"
#include "tests/lib/machine_noted.h"

static struct machine m;
static struct acpi_build b;

/* Neither has anything. */
static void
start(void)
{
	memset(&m, 0, sizeof(m));
	ab_free(&b);
}

/* A generic address [ACPI 5.2.3.2]. */
static void
gas(uint8_t *at, uint8_t space, uint8_t width, uint8_t access, uint64_t address)
{
	at[0] = space;
	at[1] = width;
	at[3] = access;
	ab_put64(at + 4, address);
}
