/*
 * panic() for host tests of pure code: says why and aborts, so that a test can expect SIGABRT.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "kern/panic.h"

void
panic(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}
