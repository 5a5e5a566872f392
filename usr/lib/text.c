/*
 * Text that is put together in memory.
 */
#include "usr/lib/text.h"

void
text_put(struct text *t, const char *format, ...)
{
	va_list ap;
	size_t n;

	va_start(ap, format);
	n = fmt_vbuf(t->to + t->len, t->size - t->len, format, ap);
	va_end(ap);
	if (n >= t->size - t->len) {
		t->to[t->len] = 0;
		t->cut = true;
		return;
	}
	t->len += n;
}

void
text_quoted(struct text *t, const char *s)
{
	text_put(t, "\"");
	for (; *s != 0; s++)
		if (*s == '"' || *s == '\\')
			text_put(t, "\\%c", *s);
		else if (*s < ' ' || *s > '~')
			text_put(t, "\\u%04x", (unsigned char)*s);
		else
			text_put(t, "%c", *s);
	text_put(t, "\"");
}

void
text_field(struct text *t, const char *name, const char *value, const char *after)
{
	text_put(t, "\"%s\": ", name);
	text_quoted(t, value);
	text_put(t, "%s", after);
}
