/*
 * The formatter: a scan of the format, one number converter, one padder.
 */
#include "kern/base/fmt.h"
#include "kern/base/str.h"

struct sink {
	char *to;
	size_t size, len;
};

struct spec {
	bool left, zero, plus, alt, space;
	int width, prec;	/* prec -1: none given */
};

static void
put(struct sink *o, char c)
{
	if (o->len + 1 < o->size)
		o->to[o->len] = c;
	o->len++;
}

/* prefix, zeros up to zeros, then body; padded to the width as the flags say. */
static void
put_padded(
    struct sink *o, const struct spec *sp, const char *prefix, int zeros, const char *body, int len)
{
	int total = (int)strlen(prefix) + zeros + len;
	int pad = sp->width > total ? sp->width - total : 0;

	for (int i = 0; !sp->left && i < pad; i++)
		put(o, ' ');
	for (; *prefix != 0; prefix++)
		put(o, *prefix);
	for (int i = 0; i < zeros; i++)
		put(o, '0');
	for (int i = 0; i < len; i++)
		put(o, body[i]);
	for (int i = 0; sp->left && i < pad; i++)
		put(o, ' ');
}

static void
put_number(
    struct sink *o, const struct spec *sp, uint64_t v, bool negative, unsigned base, bool upper)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char buf[24];
	int n = 0, zeros = 0;
	const char *prefix = "";

	if (v == 0 && sp->prec != 0)
		buf[sizeof(buf) - 1 - n++] = '0';
	for (; v != 0; v /= base)
		buf[sizeof(buf) - 1 - n++] = digits[v % base];
	if (negative)
		prefix = "-";
	else if (base == 16 && sp->alt)
		prefix = upper ? "0X" : "0x";
	else if (base == 10 && sp->plus)
		prefix = "+";
	else if (base == 10 && sp->space)
		prefix = " ";
	if (sp->prec >= 0)
		zeros = sp->prec - n;
	else if (sp->zero && !sp->left)
		zeros = sp->width - n - (int)strlen(prefix);
	put_padded(o, sp, prefix, zeros > 0 ? zeros : 0, buf + sizeof(buf) - n, n);
}

size_t
fmt_vbuf(char *to, size_t size, const char *f, va_list ap)
{
	struct sink o = { .to = to, .size = size };

	for (; *f != 0; f++) {
		struct spec sp = { .prec = -1 };
		int longs = 0;
		bool size_t_wide = false;

		if (*f != '%') {
			put(&o, *f);
			continue;
		}
		for (f++; ; f++) {
			if (*f == '-')
				sp.left = true;
			else if (*f == '0')
				sp.zero = true;
			else if (*f == '+')
				sp.plus = true;
			else if (*f == '#')
				sp.alt = true;
			else if (*f == ' ')
				sp.space = true;
			else
				break;
		}
		if (*f == '*') {
			sp.width = va_arg(ap, int);
			if (sp.width < 0) {
				sp.left = true;
				sp.width = -sp.width;
			}
			f++;
		} else {
			for (; *f >= '0' && *f <= '9'; f++)
				sp.width = sp.width * 10 + (*f - '0');
		}
		if (*f == '.') {
			sp.prec = 0;
			if (*++f == '*') {
				sp.prec = va_arg(ap, int);
				f++;
			} else {
				for (; *f >= '0' && *f <= '9'; f++)
					sp.prec = sp.prec * 10 + (*f - '0');
			}
		}
		for (;; f++) {
			if (*f == 'l')
				longs++;
			else if (*f == 'h')
				longs--;
			else if (*f == 'z' || *f == 'j')
				size_t_wide = true;
			else
				break;
		}
		switch (*f) {
		case 'd':
		case 'i': {
			int64_t v =
			    longs > 0 || size_t_wide ? va_arg(ap, long long) : va_arg(ap, int);

			if (longs == -1)
				v = (short)v;
			else if (longs <= -2)
				v = (signed char)v;
			put_number(
			    &o, &sp, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0, 10, false);
			break;
		}
		case 'u':
		case 'x':
		case 'X': {
			uint64_t v = longs > 0 || size_t_wide ? va_arg(ap, unsigned long long) :
								va_arg(ap, unsigned);

			if (longs == -1)
				v = (unsigned short)v;
			else if (longs <= -2)
				v = (unsigned char)v;
			put_number(&o, &sp, v, false, *f == 'u' ? 10 : 16, *f == 'X');
			break;
		}
		case 'p':
			sp.alt = true;
			put_number(&o, &sp, (uintptr_t)va_arg(ap, void *), false, 16, false);
			break;
		case 'c': {
			char c = (char)va_arg(ap, int);

			put_padded(&o, &sp, "", 0, &c, 1);
			break;
		}
		case 's': {
			const char *s = va_arg(ap, const char *);

			if (s == NULL)
				s = "(null)";
			put_padded(&o, &sp, "", 0, s,
			    (int)(sp.prec >= 0 ? strnlen(s, (size_t)sp.prec) : strlen(s)));
			break;
		}
		case '%':
			put(&o, '%');
			break;
		case 0:
			f--;
			break;
		default:
			put(&o, '%');
			put(&o, *f);
		}
	}
	if (size != 0)
		to[o.len < size ? o.len : size - 1] = 0;
	return o.len;
}

size_t
fmt_buf(char *to, size_t size, const char *format, ...)
{
	va_list ap;
	size_t n;

	va_start(ap, format);
	n = fmt_vbuf(to, size, format, ap);
	va_end(ap);
	return n;
}
