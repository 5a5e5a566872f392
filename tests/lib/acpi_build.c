/*
 * ACPI tables for tests: acpi_build.h shows the use.  Addresses are made up; reading goes through
 * acpi_source, which finds the memory that a table really has.  ab_finish makes the root table of
 * whatever was added before, and all checksums.  Not here what is in a table: each test fills its
 * own.
 */
#include "tests/lib/acpi_build.h"

#include <stdlib.h>
#include <string.h>

void ab_put16(uint8_t *at, uint16_t v) { memcpy(at, &v, 2); }
void ab_put32(uint8_t *at, uint32_t v) { memcpy(at, &v, 4); }
void ab_put64(uint8_t *at, uint64_t v) { memcpy(at, &v, 8); }

uint8_t *
ab_bytes(struct acpi_build *b, uint64_t at, uint32_t len)
{
	struct ab_region *r = &b->region[b->count++];

	*r = (struct ab_region){ .at = at, .len = len, .bytes = calloc(1, len == 0 ? 1 : len) };
	return r->bytes;
}

uint8_t *
ab_table(struct acpi_build *b, const char sig[4], uint32_t len)
{
	uint8_t *t = ab_bytes(b, 0x7f00'0000 + 0x10000ull * b->count, len);

	memcpy(t, sig, 4);
	ab_put32(t + 4, len);
	t[8] = 1;
	memcpy(t + 10, "CAPOS TESTTABL", 14);
	return t;
}

uint64_t
ab_address(const struct acpi_build *b, const uint8_t *bytes)
{
	for (uint32_t i = 0; i < b->count; i++)
		if (b->region[i].bytes == bytes)
			return b->region[i].at;
	abort();
}

static uint8_t
sum(const uint8_t *p, uint32_t len)
{
	uint8_t s = 0;

	while (len-- != 0)
		s = (uint8_t)(s + *p++);
	return s;
}

void
ab_checksum(uint8_t *t, uint32_t len)
{
	t[9] = 0;
	t[9] = (uint8_t)-sum(t, len);
}

static uint64_t
root(struct acpi_build *b, uint32_t tables, const char *sig, uint32_t width)
{
	uint8_t *t;
	uint32_t n = 0;

	t = ab_table(b, sig, ACPI_HEADER + width * tables);
	for (uint32_t i = 0; i < tables; i++) {
		const struct ab_region *r = &b->region[i];

		if (r->hidden)
			continue;
		if (width == 8)
			ab_put64(t + ACPI_HEADER + 8 * n++, r->at);
		else
			ab_put32(t + ACPI_HEADER + 4 * n++, (uint32_t)r->at);
	}
	ab_checksum(t, ACPI_HEADER + width * tables);
	return ab_address(b, t);
}

static const void *
map(void *ctx, uint64_t at, uint64_t len)
{
	const struct acpi_build *b = ctx;

	for (uint32_t i = 0; i < b->count; i++) {
		const struct ab_region *r = &b->region[i];

		if (at >= r->at && at - r->at <= r->len && len <= r->len - (at - r->at))
			return r->bytes + (at - r->at);
	}
	return NULL;
}

void
ab_finish(struct acpi_build *b, enum ab_root kind)
{
	uint32_t tables = b->count;
	uint64_t x = kind != AB_RSDT ? root(b, tables, "XSDT", 8) : 0,
		 r = kind != AB_XSDT ? root(b, tables, "RSDT", 4) : 0;
	uint8_t *p;

	for (uint32_t i = 0; i < tables; i++)
		if (b->region[i].len >= ACPI_HEADER)
			ab_checksum(b->region[i].bytes, b->region[i].len);
	p = ab_bytes(b, 0xf5a20, kind == AB_RSDT ? 20 : 36);
	memcpy(p, "RSD PTR ", 8);
	memcpy(p + 9, "CAPOS ", 6);
	ab_put32(p + 16, (uint32_t)r);
	if (kind != AB_RSDT) {
		p[15] = 2;
		ab_put32(p + 20, 36);
		ab_put64(p + 24, x);
	}
	p[8] = (uint8_t)-sum(p, 20);
	if (kind != AB_RSDT)
		p[32] = (uint8_t)-sum(p, 36);
	b->source.rsdp = 0xf5a20;
}

const struct acpi_source *
ab_source(struct acpi_build *b)
{
	b->source.map = map;
	b->source.ctx = b;
	return &b->source;
}

void
ab_free(struct acpi_build *b)
{
	for (uint32_t i = 0; i < b->count; i++)
		free(b->region[i].bytes);
	memset(b, 0, sizeof(*b));
}
