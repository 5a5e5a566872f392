/*
 * Random numbers: random.h.
 *
 * Locks: one, a leaf; a block is made under it, about a thousand instructions.
 */
#include "kern/random.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/lock.h"
#include "kern/machine/machine.h"
#include "kern/md/cpu.h"

enum { WORDS = 16, KEY = 8, ROUNDS = 20, JITTER = 512, LINES = 256 };

static struct spinlock lock = SPINLOCK_INIT(RANK_RANDOM);
static uint32_t key[KEY];		/* (lock) */
static uint64_t blocks;			/* (lock) */
static bool seeded, instruction;	/* constant after init */

static inline uint32_t rotl(uint32_t v, unsigned n) { return v << n | v >> (32 - n); }

static inline void
quarter(uint32_t *s, unsigned a, unsigned b, unsigned c, unsigned d)
{
	s[a] += s[b]; s[d] = rotl(s[d] ^ s[a], 16);
	s[c] += s[d]; s[b] = rotl(s[b] ^ s[c], 12);
	s[a] += s[b]; s[d] = rotl(s[d] ^ s[a], 8);
	s[c] += s[d]; s[b] = rotl(s[b] ^ s[c], 7);
}

void
random_block(const uint32_t k[KEY], const uint32_t in[4], uint32_t out[WORDS])
{
	static const uint32_t constants[4] = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 };
	uint32_t s[WORDS];

	memcpy(s, constants, sizeof(constants));
	memcpy(s + 4, k, KEY * sizeof(*k));
	memcpy(s + 12, in, 4 * sizeof(*in));
	memcpy(out, s, sizeof(s));
	for (unsigned i = 0; i < ROUNDS; i += 2) {
		quarter(s, 0, 4, 8, 12);
		quarter(s, 1, 5, 9, 13);
		quarter(s, 2, 6, 10, 14);
		quarter(s, 3, 7, 11, 15);
		quarter(s, 0, 5, 10, 15);
		quarter(s, 1, 6, 11, 12);
		quarter(s, 2, 7, 8, 13);
		quarter(s, 3, 4, 9, 14);
	}
	for (unsigned i = 0; i < WORDS; i++)
		out[i] += s[i];
}

/* The next key, and 64 bits for whoever asks. */
static uint64_t
next_locked(void) REQUIRES(lock)
{
	uint64_t hw = 0, now = cpu_cycles();
	uint32_t in[4], out[WORDS];

	(void)cpu_random(&hw);
	blocks++;
	/* Where the manual has a counter and a nonce; the key is never used twice. */
	in[0] = (uint32_t)now ^ (uint32_t)hw;
	in[1] = (uint32_t)(now >> 32) ^ (uint32_t)(hw >> 32);
	in[2] = (uint32_t)blocks;
	in[3] = (uint32_t)(blocks >> 32);
	random_block(key, in, out);
	memcpy(key, out, sizeof(key));
	return (uint64_t)out[KEY] << 32 | out[KEY + 1];
}

static void
stir_locked(const void *bytes, size_t len) REQUIRES(lock)
{
	const uint8_t *p = bytes;

	for (size_t at = 0; at < len; at += sizeof(key)) {
		uint8_t part[sizeof(key)] = { 0 };
		uint32_t words[KEY];
		size_t n = len - at < sizeof(part) ? len - at : sizeof(part);

		memcpy(part, p + at, n);
		memcpy(words, part, sizeof(words));
		for (unsigned i = 0; i < KEY; i++)
			key[i] ^= words[i];
		(void)next_locked();
	}
}

void
random_stir(const void *bytes, size_t len)
{
	spin_lock(&lock);
	stir_locked(bytes, len);
	spin_unlock(&lock);
}

uint64_t
random_word(void)
{
	uint64_t v;

	spin_lock(&lock);
	v = next_locked();
	spin_unlock(&lock);
	return v;
}

/*
 * How long steps take that depend on caches and on what else the machine does: the low bits of the
 * counter around each go in.  Nobody can say how much of it is unknown to others; some is.
 */
static void
stir_timing_locked(void) REQUIRES(lock)
{
	static volatile uint8_t line[LINES * 64];
	uint32_t deltas[KEY], at = 0;

	for (unsigned i = 0; i < JITTER; i++) {
		uint64_t begin = cpu_cycles();

		for (unsigned k = 0; k <= i % 7; k++) {
			at = (at * 1664525 + 1013904223 + (uint32_t)begin) % LINES;
			line[at * 64]++;
		}
		deltas[i % KEY] = (uint32_t)begin << 16 ^ (uint32_t)(cpu_cycles() - begin);
		if (i % KEY == KEY - 1)
			stir_locked(deltas, sizeof(deltas));
	}
}

void
random_init(const struct machine *m)
{
	uint64_t hw[KEY / 2] = { 0 };

	spin_lock(&lock);
	if (blocks == 0) {
		seeded = m->seed_known;
		if (seeded)
			stir_locked(m->seed, sizeof(m->seed));
		instruction = true;
		for (unsigned i = 0; i < ARRAY_SIZE(hw); i++)
			instruction &= cpu_random(&hw[i]);
		stir_locked(hw, sizeof(hw));
		stir_timing_locked();
	}
	spin_unlock(&lock);
}

bool random_is_weak(void) { return !seeded && !instruction; }

const char *
random_sources(void)
{
	return seeded && instruction ? "firmware's seed, the CPU, timing" :
	    seeded		     ? "firmware's seed, timing" :
	    instruction		     ? "the CPU, timing" :
				       "timing alone";
}
