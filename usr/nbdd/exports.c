/*
 * Which exports there are: words to ranges of disks.
 */
#include "kern/base/str.h"
#include "usr/nbdd/exports.h"

static bool
number(const char **p, uint64_t *out)
{
	static const char units[] = "KMGT";
	const char *unit;
	uint64_t v = 0;

	if (**p < '0' || **p > '9')
		return false;
	for (; **p >= '0' && **p <= '9'; (*p)++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(**p - '0'), &v))
			return false;
	unit = **p != 0 ? strchr(units, **p) : NULL;
	if (unit != NULL) {
		unsigned shift = 10 * (unsigned)(unit - units + 1);

		if (v >> (64 - shift) != 0)
			return false;
		v <<= shift;
		(*p)++;
	}
	*out = v;
	return true;
}

static bool
disk(const char **p, struct export_spec *s)
{
	uint64_t c, n;

	if (strncmp(*p, "nvme", 4) != 0)
		return false;
	*p += 4;
	if (!number(p, &c) || c > 255 || **p != 'n')
		return false;
	(*p)++;
	if (!number(p, &n) || n == 0 || n > 1024)
		return false;
	s->controller = (uint32_t)c;
	s->space = (uint32_t)n - 1;
	return true;
}

static bool
word(const char *p, const char *end, struct export_spec *s)
{
	const char *is = p;

	*s = (struct export_spec){ 0 };
	while (is != end && *is != '=')
		is++;
	if (is == end || is == p || is - p >= NBD_NAME)
		return false;
	memcpy(s->name, p, (size_t)(is - p));
	p = is + 1;
	if (!disk(&p, s))
		return false;
	if (*p == '@') {
		p++;
		if (!number(&p, &s->base) || *p++ != '+' || !number(&p, &s->len) || s->len == 0)
			return false;
	}
	if (strncmp(p, ",ro", 3) == 0) {
		s->read_only = true;
		p += 3;
	}
	return p == end;
}

enum status
export_next(const char **at, struct export_spec *out)
{
	const char *p = *at, *end;

	while (*p == ' ')
		p++;
	for (end = p; *end != 0 && *end != ' '; end++)
		;
	*at = end;
	if (end == p)
		return E_NOT_FOUND;
	return word(p, end, out) ? OK : E_INVALID;
}

bool
export_fits(const struct export_spec *s, uint64_t blocks, uint64_t block_bytes,
    uint64_t max_transfer, struct nbd_export *e)
{
	uint64_t bytes, len, piece = align_down(min_u64(max_transfer, NBD_PIECE_BYTES), PAGE_SIZE);

	e->bytes = 0;
	if (!is_pow2(block_bytes) || block_bytes > PAGE_SIZE || piece == 0 ||
	    __builtin_mul_overflow(blocks, block_bytes, &bytes))
		return false;
	len = s->len == 0 && s->base < bytes ? bytes - s->base : s->len;
	if (len == 0 || !range_within(s->base, len, 0, bytes) ||
	    !is_aligned(s->base | len, block_bytes))
		return false;
	e->bytes = len;
	e->block_bytes = (uint32_t)block_bytes;
	e->piece_bytes = (uint32_t)piece;
	return true;
}
