/*
 * kern/base/str.c as host programs see it: its standard functions carry a prefix, because the
 * C library's own (and the sanitizers' copies of them) have those names.
 */
#pragma once

#include "kern/base/str.h"

void *base_memcpy(void *restrict to, const void *restrict from, size_t n);
void *base_memmove(void *to, const void *from, size_t n);
void *base_memset(void *to, int byte, size_t n);
int base_memcmp(const void *a, const void *b, size_t n);
size_t base_strlen(const char *s);
size_t base_strnlen(const char *s, size_t max);
int base_strcmp(const char *a, const char *b);
int base_strncmp(const char *a, const char *b, size_t n);
char *base_strchr(const char *s, int c);
