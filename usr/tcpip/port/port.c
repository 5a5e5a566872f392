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

static ALWAYS_INLINE uint64_t
add4(uint64_t sum, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	unsigned long long carry, r;

	r = __builtin_addcll(sum, a, 0, &carry);
	r = __builtin_addcll(r, b, carry, &carry);
	r = __builtin_addcll(r, c, carry, &carry);
	r = __builtin_addcll(r, d, carry, &carry);
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
	const uint8_t *p = bytes;
	uint64_t sum = 0;

	for (; len >= 32; len -= 32, p += 32) {
		const word *w = (const word *)p;

		sum = add4(sum, w[0], w[1], w[2], w[3]);
	}
	for (; len >= 8; len -= 8, p += 8)
		sum = add(sum, *(const word *)p);
	if (len >= 4) {
		sum = add(sum, *(const half *)p);
		len -= 4;
		p += 4;
	}
	if (len >= 2) {
		sum = add(sum, *(const quarter *)p);
		len -= 2;
		p += 2;
	}
	if (len > 0)
		sum = add(sum, *p);
	return fold(sum);
}

/* Each byte is read once: what is summed is what is copied, though the source may be another's. */
uint16_t
lwip_sum_copy(void *to, const void *from, uint16_t len)
{
	const uint8_t *p = from;
	uint8_t *q = to;
	uint64_t sum = 0;

	for (; len >= 32; len -= 32, p += 32, q += 32) {
		const volatile word *w = (const volatile word *)p;
		uint64_t a = w[0], b = w[1], c = w[2], d = w[3];

		((word *)q)[0] = a;
		((word *)q)[1] = b;
		((word *)q)[2] = c;
		((word *)q)[3] = d;
		sum = add4(sum, a, b, c, d);
	}
	for (; len >= 8; len -= 8, p += 8, q += 8) {
		uint64_t a = *(const volatile word *)p;

		*(word *)q = a;
		sum = add(sum, a);
	}
	for (; len >= 2; len -= 2, p += 2, q += 2) {
		uint16_t a = *(const volatile quarter *)p;

		*(quarter *)q = a;
		sum = add(sum, a);
	}
	if (len != 0) {
		uint8_t a = *(const volatile uint8_t *)p;

		*q = a;
		sum = add(sum, a);
	}
	return fold(sum);
}
