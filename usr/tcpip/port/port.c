/*
 * What lwIP takes from the system: clock, random numbers, sums, and the end.
 *
 * Random numbers are blocks of SHA-256 over a secret and a counter.  The secret comes from the
 * kernel; sequence numbers have a block of their own for each pair of addresses and ports, and the
 * clock on top [RFC 6528], so that a peer of one connection learns nothing of another's.
 */
#include "usr/tcpip/port/port.h"

#include <stdlib.h>

#include "lwip/opt.h"
#include "lwip/sys.h"
#include "usr/tcpip/port/hooks.h"
#include "usr/lib/os.h"
#include "usr/lib/sha256.h"

uint64_t turn_ns;

static struct {
	uint8_t key[32];
	uint64_t counter;
	uint8_t block[32];
	uint32_t left;			/* bytes of the block that nobody has got */
} generator;

void
lwip_asserts(const char *what, const char *file, int line)
{
	die("lwIP: %s (%s:%d)", what, file, line);
}

uint32_t sys_now(void) { return (uint32_t)(turn_ns / NS_PER_MS); }

#ifndef CAPOS_HOST
int
atoi(const char *text)
{
	int n = 0;

	for (; *text >= '0' && *text <= '9' && n < 100'000'000; text++)
		n = n * 10 + (*text - '0');
	return n;
}
#endif

void
random_seed(const void *bytes, size_t len)
{
	struct sha256 s;

	sha256_init(&s);
	sha256_add(&s, generator.key, sizeof(generator.key));
	sha256_add(&s, bytes, len);
	sha256_end(&s, generator.key);
	generator.left = 0;
}

uint32_t
lwip_random(void)
{
	uint32_t v;

	if (generator.left == 0) {
		struct sha256 s;

		generator.counter++;
		sha256_init(&s);
		sha256_add(&s, generator.key, sizeof(generator.key));
		sha256_add(&s, &generator.counter, sizeof(generator.counter));
		sha256_end(&s, generator.block);
		generator.left = sizeof(generator.block);
	}
	generator.left -= sizeof(v);
	memcpy(&v, generator.block + generator.left, sizeof(v));
	return v;
}

uint32_t
lwip_first_sequence(
    const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote, uint16_t remote_port)
{
	uint16_t ports[2] = { local_port, remote_port };
	struct sha256 s;
	uint8_t h[32];
	uint32_t v;

	sha256_init(&s);
	sha256_add(&s, "sequence", 8);
	sha256_add(&s, generator.key, sizeof(generator.key));
	sha256_add(&s, local, sizeof(*local));
	sha256_add(&s, remote, sizeof(*remote));
	sha256_add(&s, ports, sizeof(ports));
	sha256_end(&s, h);
	memcpy(&v, h, sizeof(v));
	return v + (uint32_t)(turn_ns / 4000);
}

/* --- sums [RFC 1071] ---------------------------------------------------------- */

typedef uint64_t __attribute__((may_alias, aligned(1))) word;
typedef uint32_t __attribute__((may_alias, aligned(1))) half;
typedef uint16_t __attribute__((may_alias, aligned(1))) quarter;

static ALWAYS_INLINE uint64_t
add(uint64_t sum, uint64_t v)
{
	unsigned long long carry, r = __builtin_addcll(sum, v, 0, &carry);

	return r + carry;
}

/* Eight words, each read once: what is summed is what was read, and what is copied. */
struct eight { uint64_t v[8]; };

static ALWAYS_INLINE struct eight
read8(const uint8_t *p)
{
	const word *w = (const word *)p;
	struct eight e = { { w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7] } };

	for (unsigned i = 0; i < 8; i++)
		__asm__ volatile("" : "+r"(e.v[i]));
	return e;
}

static ALWAYS_INLINE uint64_t
add8(uint64_t sum, const struct eight *e)
{
	unsigned long long carry = 0, r = sum;

	for (unsigned i = 0; i < 8; i++)
		r = __builtin_addcll(r, e->v[i], carry, &carry);
	return r + carry;
}

static uint16_t
fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	return (uint16_t)sum;
}

uint16_t
lwip_sum(const void *bytes, int len)
{
	const uint8_t *p = bytes, *end = p + (len & ~63);
	uint64_t sum = 0;

	for (; p != end; p += 64) {
		struct eight e = read8(p);

		sum = add8(sum, &e);
	}
	for (len &= 63; len >= 8; len -= 8, p += 8)
		sum = add(sum, *(const word *)p);
	if ((len & 4) != 0) {
		sum = add(sum, *(const half *)p);
		p += 4;
	}
	if ((len & 2) != 0) {
		sum = add(sum, *(const quarter *)p);
		p += 2;
	}
	if ((len & 1) != 0)
		sum = add(sum, *p);
	return fold(sum);
}

/* Each byte is read once: what is summed is what is copied, though the source may be another's. */
uint16_t
lwip_sum_copy(void *to, const void *from, uint16_t len)
{
	const uint8_t *p = from, *end = p + (len & ~63u);
	uint8_t *q = to;
	uint64_t sum = 0;

	for (; p != end; p += 64, q += 64) {
		struct eight e = read8(p);

		for (unsigned i = 0; i < 8; i++)
			((word *)q)[i] = e.v[i];
		sum = add8(sum, &e);
	}
	for (len &= 63; len >= 8; len -= 8, p += 8, q += 8) {
		uint64_t a = *(const volatile word *)p;

		*(word *)q = a;
		sum = add(sum, a);
	}
	if ((len & 4) != 0) {
		uint32_t a = *(const volatile half *)p;

		*(half *)q = a;
		sum = add(sum, a);
		p += 4;
		q += 4;
	}
	if ((len & 2) != 0) {
		uint16_t a = *(const volatile quarter *)p;

		*(quarter *)q = a;
		sum = add(sum, a);
		p += 2;
		q += 2;
	}
	if ((len & 1) != 0) {
		uint8_t a = *(const volatile uint8_t *)p;

		*q = a;
		sum = add(sum, a);
	}
	return fold(sum);
}
