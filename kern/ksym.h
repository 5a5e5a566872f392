/*
 * The kernel's own symbols, made by the build from the first link (see Makefile): sorted by offset
 * from __kernel_start.  Empty in the first link.
 */
#pragma once

#include "kern/base/types.h"

struct ksym { uint32_t offset, name; };

extern const char __kernel_start[], __text_end[];
extern const struct ksym kernel_symtab[];
extern const uint32_t kernel_symtab_count;
extern const char kernel_symtab_names[];
