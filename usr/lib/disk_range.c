/*
 * Reading byte ranges of disks: disk_range.h.
 */
#include "usr/lib/disk_range.h"
#include "kern/base/str.h"

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
disk(const char **p, struct disk_range *s)
{
	uint64_t c, n;

	if (strncmp(*p, "nvme", 4) != 0 && strncmp(*p, "disk", 4) != 0)
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

bool
disk_range_parse(const char *text, struct disk_range *s)
{
	const char *p = strchr(text, '=');
	uint64_t end;

	*s = (struct disk_range){ 0 };
	if (p == NULL || p == text || p - text >= DISK_RANGE_NAME)
		return false;
	memcpy(s->name, text, (size_t)(p - text));
	p++;
	if (!disk(&p, s))
		return false;
	if (*p == '@') {
		p++;
		if (!number(&p, &s->base) || *p++ != '+' || !number(&p, &s->len) ||
		    s->len == 0 || __builtin_add_overflow(s->base, s->len, &end))
			return false;
	}
	if (strcmp(p, ",ro") == 0) {
		s->read_only = true;
		p += 3;
	}
	return *p == 0;
}
