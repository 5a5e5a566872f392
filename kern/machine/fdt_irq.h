/*
 * Interrupt specifiers of a device tree as machine lines.
 */
#pragma once

#include "kern/machine/fdt.h"
#include "kern/machine/machine.h"

/*
 * i-th interrupt of a node, by its own or inherited interrupt parent, or interrupts-extended.  Not
 * present: there is none, or its controller is not an Arm GIC, or the specifier is absurd.
 */
struct machine_line fdt_line(const struct fdt *t, uint32_t node, uint32_t i);

/* The one that interrupt-names calls so. */
struct machine_line fdt_line_named(const struct fdt *t, uint32_t node, const char *name);
