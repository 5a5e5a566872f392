/*
 * The memory and string functions that the compiler and everybody else expects,
 * for builds without a C library.  Meaning as in ISO C; str_copy is ours.
 */
#pragma once

#include "kern/base/types.h"

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);

/* Copies at most size - 1 bytes and always ends with a 0; size is at least 1.  Returns the length
 * copied. */
size_t str_copy(char *to, const char *from, size_t size);
