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
	int longs;		/* as many letters l, or less h */
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

/* Arguments behind a pointer: a va_list may be an array. */
struct args { va_list ap; };

/* A number in the format, or "*": the next argument. */
static const char *
parse_number(const char *f, struct args *a, int *out)
{
	if (*f == '*') {
		*out = va_arg(a->ap, int);
		return f + 1;
	}
	for (*out = 0; *f >= '0' && *f <= '9'; f++)
		*out = *out * 10 + (*f - '0');
	return f;
}

/* From behind the percent sign to the letter that says what it is. */
static const char *
parse_spec(const char *f, struct args *a, struct spec *sp)
{
	for (;; f++) {
		if (*f == '-')
			sp->left = true;
		else if (*f == '0')
			sp->zero = true;
		else if (*f == '+')
			sp->plus = true;
		else if (*f == '#')
			sp->alt = true;
		else if (*f == ' ')
			sp->space = true;
		else
			break;
	}
	f = parse_number(f, a, &sp->width);
	if (sp->width < 0) {
		sp->left = true;
		sp->width = -sp->width;
	}
	if (*f == '.')
		f = parse_number(f + 1, a, &sp->prec);
	for (;; f++) {
		if (*f == 'l')
			sp->longs++;
		else if (*f == 'h')
			sp->longs--;
		else if (*f == 'z' || *f == 'j')
			sp->longs = 2;
		else
			return f;
	}
}

static void
put_signed(struct sink *o, const struct spec *sp, struct args *a)
{
	int64_t v = sp->longs > 0 ? va_arg(a->ap, long long) : va_arg(a->ap, int);

	if (sp->longs == -1)
		v = (short)v;
	else if (sp->longs <= -2)
		v = (signed char)v;
	put_number(o, sp, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0, 10, false);
}

static void
put_unsigned(struct sink *o, const struct spec *sp, struct args *a, char how)
{
	uint64_t v = sp->longs > 0 ? va_arg(a->ap, unsigned long long) : va_arg(a->ap, unsigned);

	if (sp->longs == -1)
		v = (unsigned short)v;
	else if (sp->longs <= -2)
		v = (unsigned char)v;
	put_number(o, sp, v, false, how == 'u' ? 10 : 16, how == 'X');
}

static void
put_string(struct sink *o, const struct spec *sp, const char *s)
{
	if (s == NULL)
		s = "(null)";
	put_padded(
	    o, sp, "", 0, s, (int)(sp->prec >= 0 ? strnlen(s, (size_t)sp->prec) : strlen(s)));
}

size_t
fmt_vbuf(char *to, size_t size, const char *f, va_list ap)
{
	struct sink o = { .to = to, .size = size };
	struct args a;
	char c;

	va_copy(a.ap, ap);
	for (; *f != 0; f++) {
		struct spec sp = { .prec = -1 };

		if (*f != '%') {
			put(&o, *f);
			continue;
		}
		f = parse_spec(f + 1, &a, &sp);
		switch (*f) {
		case 'd':
		case 'i':
			put_signed(&o, &sp, &a);
			break;
		case 'u':
		case 'x':
		case 'X':
			put_unsigned(&o, &sp, &a, *f);
			break;
		case 'p':
			sp.alt = true;
			put_number(&o, &sp, (uintptr_t)va_arg(a.ap, void *), false, 16, false);
			break;
		case 'c':
			c = (char)va_arg(a.ap, int);
			put_padded(&o, &sp, "", 0, &c, 1);
			break;
		case 's':
			put_string(&o, &sp, va_arg(a.ap, const char *));
			break;
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
	va_end(a.ap);
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
