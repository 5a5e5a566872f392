/*
 * kern/random.c: what comes in decides what goes out, all of it, and nothing tells what went out
 * before.
 *
 * LINK: kern/random.c
 */
#include <atf-c.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kern/lock.h"
#include "kern/machine/machine.h"
#include "kern/md/cpu.h"
#include "kern/random.h"

struct cpu fake_cpu;
static struct machine m;
static bool has_instruction, time_stands;
static uint64_t cycles, hw;

uint64_t cpu_cycles(void) { return time_stands ? 1 : (cycles += 13); }
void lock_wait(void) { abort(); }

bool
cpu_random(uint64_t *out)
{
	if (has_instruction)
		*out = hw += 0x9e3779b97f4a7c15;
	return has_instruction;
}

/* The block of the standard [RFC 8439, 2.3.2]. */
ATF_TC_WITHOUT_HEAD(the_block_is_the_standards);
ATF_TC_BODY(the_block_is_the_standards, tc)
{
	static const uint32_t want[16] = { 0xe4e7f110, 0x15593bd1, 0x1fdd0f50, 0xc47120a3,
		0xc7f4d1c7, 0x0368c033, 0x9aaa2204, 0x4e6cd4c3, 0x466482d2, 0x09aa9f07, 0x05d7c214,
		0xa2028bd9, 0xd19c12b5, 0xb94e16de, 0xe883d0cb, 0x4e3c50a2 };
	const uint32_t in[4] = { 1, 0x09000000, 0x4a000000, 0 };
	uint32_t key[8], out[16];
	uint8_t bytes[32];

	for (unsigned i = 0; i < 32; i++)
		bytes[i] = (uint8_t)i;
	memcpy(key, bytes, sizeof(key));
	random_block(key, in, out);
	for (unsigned i = 0; i < 16; i++)
		ATF_CHECK_EQ_MSG(out[i], want[i], "word %u", i);
}

/* In a process of its own, since there is one generator: what it says first. */
static void
first(unsigned flips, uint64_t *out, unsigned n)
{
	memset(&m, 0, sizeof(m));
	m.seed_known = (flips & 1) != 0;
	has_instruction = (flips & 2) != 0;
	if ((flips & 4) != 0)
		m.seed[31] ^= 0x80;
	if ((flips & 8) != 0)
		cycles += 1;
	random_init(&m);
	for (unsigned i = 0; i < n; i++)
		out[i] = random_word();
}

ATF_TC_WITHOUT_HEAD(words_differ_and_their_bits_are_even);
ATF_TC_BODY(words_differ_and_their_bits_are_even, tc)
{
	static uint64_t v[4096];
	unsigned bits[64] = { 0 };

	first(1, v, 4096);
	ATF_CHECK(!random_is_weak());
	for (unsigned i = 0; i < 4096; i++)
		for (unsigned b = 0; b < 64; b++)
			bits[b] += v[i] >> b & 1;
	for (unsigned b = 0; b < 64; b++)
		ATF_CHECK_MSG(
		    bits[b] > 1850 && bits[b] < 2250, "bit %u is set %u times", b, bits[b]);
	for (unsigned i = 0; i < 4096; i++)
		for (unsigned k = 0; k < i; k++)
			ATF_REQUIRE(v[i] != v[k]);
}

/* Also when the clock stands still and there is nothing else. */
ATF_TC_WITHOUT_HEAD(without_a_source_it_says_so_and_still_does_not_repeat);
ATF_TC_BODY(without_a_source_it_says_so_and_still_does_not_repeat, tc)
{
	static uint64_t v[512];

	time_stands = true;
	first(0, v, 512);
	ATF_CHECK(random_is_weak());
	ATF_CHECK_STREQ(random_sources(), "timing alone");
	for (unsigned i = 0; i < 512; i++)
		for (unsigned k = 0; k < i; k++)
			ATF_REQUIRE(v[i] != v[k]);
}

/* One bit of the seed, or of the time, changes about half of what goes out. */
static void
differs(unsigned a, unsigned b)
{
	uint64_t v[2][16];
	unsigned bits = 0;
	int way[2];

	for (unsigned i = 0; i < 2; i++) {
		pid_t child;

		ATF_REQUIRE(pipe(way) == 0);
		child = fork();
		if (child == 0) {
			first(i == 0 ? a : b, v[0], 16);
			_exit(write(way[1], v[0], sizeof(v[0])) != sizeof(v[0]));
		}
		ATF_REQUIRE_EQ(read(way[0], v[i], sizeof(v[0])), (ssize_t)sizeof(v[0]));
		close(way[0]);
		close(way[1]);
	}
	for (unsigned i = 0; i < 16; i++)
		bits += (unsigned)__builtin_popcountll(v[0][i] ^ v[1][i]);
	ATF_CHECK_MSG(bits > 400 && bits < 624, "%u of 1024 bits differ", bits);
}

ATF_TC_WITHOUT_HEAD(each_source_counts);
ATF_TC_BODY(each_source_counts, tc)
{
	differs(1, 5);
	differs(1, 3);
	differs(0, 8);
	differs(0, 2);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, the_block_is_the_standards);
	ATF_TP_ADD_TC(tp, words_differ_and_their_bits_are_even);
	ATF_TP_ADD_TC(tp, without_a_source_it_says_so_and_still_does_not_repeat);
	ATF_TP_ADD_TC(tp, each_source_counts);
	return atf_no_error();
}
