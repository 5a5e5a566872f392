/* The C library's header, for lwIP. */
#pragma once
#include <stddef.h>

int atoi(const char *text);
