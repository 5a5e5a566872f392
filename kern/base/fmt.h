/*
 * The one formatter, for kernel, user programs and host tests.
 *
 * Understands %% %c %s %d %i %u %x %X %p with flags '-', '0', '+', '#', ' ', a width
 * and a precision (also '*'), and the lengths hh h l ll z j.  No floating point.
 */
#pragma once

#include <stdarg.h>

#include "kern/base/types.h"

/*
 * Writes at most size bytes, the last a 0 (nothing when size is 0), and returns the
 * length that the whole text would have had, without the 0: a result of size or more
 * means that it was cut.
 */
size_t fmt_vbuf(char *to, size_t size, const char *format, va_list ap);
size_t fmt_buf(char *to, size_t size, const char *format, ...) PRINTF(3, 4);
