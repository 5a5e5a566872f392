/*
 * Text that is put together in memory, for records that go to a console or into a connection.
 *
 * What does not fit is left out, and text.cut says so: a record that was cut is not sent.
 */
#pragma once

#include "kern/base/fmt.h"

struct text {
	char *to;
	size_t size, len;		/* len < size, and to[len] is 0; size is at least 1 */
	bool cut;
};

static inline struct text
text_of(char *to, size_t size)
{
	to[0] = 0;
	return (struct text){ .to = to, .size = size };
}

void text_put(struct text *t, const char *format, ...) PRINTF(2, 3);
/* As a string of JSON, in quotes. */
void text_quoted(struct text *t, const char *s);
/* "name": "value", and what comes after it. */
void text_field(struct text *t, const char *name, const char *value, const char *after);
