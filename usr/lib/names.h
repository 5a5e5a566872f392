/*
 * What things are called in text for people and programs.
 */
#pragma once

#include "kern/base/types.h"

enum { FUNCTION_TEXT = 16 };

/* The architecture that this program is for: "arm64", "x86_64". */
extern const char arch_name[];

/* "0000:00:01.0" of segment << 16 | rid; to has FUNCTION_TEXT bytes. */
void name_function(char *to, uint32_t function);
/* What a class code means. */
const char *name_class(uint32_t class_code);
