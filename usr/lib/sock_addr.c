/*
 * Addresses as text: dotted for IPv4 [RFC 6943, 3.1.1: the strict form], RFC 4291 2.2 and RFC 5952
 * for IPv6.  Pure.
 */
#include "usr/lib/sock.h"

struct sock_addr
sock_addr_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return (struct sock_addr){ .v = { [10] = 0xff, [11] = 0xff, a, b, c, d } };
}

bool
sock_addr_is_v4(const struct sock_addr *a)
{
	for (unsigned i = 0; i < 10; i++)
		if (a->v[i] != 0)
			return false;
	return a->v[10] == 0xff && a->v[11] == 0xff;
}

bool
sock_addr_is_any(const struct sock_addr *a)
{
	for (unsigned i = sock_addr_is_v4(a) ? 12 : 0; i < sizeof(a->v); i++)
		if (a->v[i] != 0)
			return false;
	return true;
}

void
sock_addr_text(const struct sock_addr *a, char *text, size_t size)
{
	unsigned run = 0, best = 8, longest = 1;
	size_t n = 0;

	if (sock_addr_is_v4(a)) {
		(void)fmt_buf(
		    text, size, "%u.%u.%u.%u", a->v[12], a->v[13], a->v[14], a->v[15]);
		return;
	}
	/* The longest run of at least two zero groups, the first of equals. */
	for (unsigned i = 0; i < 8; i++) {
		run = a->v[2 * i] == 0 && a->v[2 * i + 1] == 0 ? run + 1 : 0;
		if (run > longest) {
			longest = run;
			best = i + 1 - run;
		}
	}
	text[0] = 0;
	for (unsigned i = 0; i < 8 && n < size; i++) {
		if (i == best) {
			n += fmt_buf(text + n, size - n, "::");
			i += longest - 1;
			continue;
		}
		n += fmt_buf(text + n, size - n, "%s%x", i != 0 && i != best + longest ? ":" : "",
		    (unsigned)(a->v[2 * i] << 8 | a->v[2 * i + 1]));
	}
}

/* Four numbers with dots, up to the text's end. */
static bool
parse_v4(const char *t, uint8_t out[4])
{
	for (unsigned i = 0; i < 4; i++) {
		unsigned v = 0, digits = 0;

		for (; *t >= '0' && *t <= '9' && digits < 4; t++, digits++)
			v = v * 10 + (unsigned)(*t - '0');
		if (digits == 0 || digits > 3 || v > 255 || *t != (i < 3 ? '.' : 0))
			return false;
		out[i] = (uint8_t)v;
		t++;
	}
	return true;
}

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool
parse_v6(const char *t, uint8_t out[16])
{
	unsigned n = 0, gap = 17;	/* bytes so far; where "::" was, 17: nowhere */

	memset(out, 0, 16);
	if (t[0] == ':' && t[1] != ':')
		return false;
	if (t[0] == ':') {
		gap = 0;
		t += 2;
	}
	while (*t != 0) {
		const char *begin = t;
		unsigned v = 0, digits = 0;

		if (n == 16)
			return false;
		for (; hex(*t) >= 0 && digits < 5; t++, digits++)
			v = v << 4 | (unsigned)hex(*t);
		if (*t == '.' && n <= 12) {
			if (!parse_v4(begin, out + n))
				return false;
			n += 4;
			break;
		}
		if (digits == 0 || digits > 4)
			return false;
		out[n++] = (uint8_t)(v >> 8);
		out[n++] = (uint8_t)v;
		if (*t == 0)
			break;
		if (*t++ != ':')
			return false;
		if (*t == ':') {
			if (gap != 17)
				return false;
			gap = n;
			t++;
		} else if (*t == 0) {
			return false;
		}
	}
	if (gap == 17)
		return n == 16;
	if (n == 16)
		return false;
	memmove(out + 16 - (n - gap), out + gap, n - gap);
	memset(out + gap, 0, 16 - n);
	return true;
}

enum status
sock_addr_parse(const char *text, struct sock_addr *out)
{
	uint8_t v4[4];

	if (parse_v4(text, v4)) {
		*out = sock_addr_v4(v4[0], v4[1], v4[2], v4[3]);
		return OK;
	}
	return parse_v6(text, out->v) ? OK : E_INVALID;
}
