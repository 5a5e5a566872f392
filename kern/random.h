/*
 * Random numbers: for the stack guard, the keys of return addresses, and the seeds of programs'
 * own generators.
 *
 * What comes in (firmware's seed, the CPU's instruction, the times that boot's steps take) is mixed
 * into a key of 256 bits by ChaCha20 [RFC 8439].  What goes out is the other half of a block whose
 * first half becomes the next key, so that who has seen all that went out knows neither the key nor
 * what went out before, and who learns the key does not know the past.  The counter of time and the
 * CPU's instruction go into every block.
 *
 * How good it is depends on what came in, and random_sources says that.
 */
#pragma once

#include "kern/base/types.h"

struct machine;

/* First of all: good for 64 bits from then on.  Until then numbers are made of time alone. */
void random_init(const struct machine *m);
uint64_t random_word(void);
/* Mixes in what nobody can foresee, or not all of it. */
void random_stir(const void *bytes, size_t len);
/* What came in, in words; timing alone is weak. */
const char *random_sources(void);
bool random_is_weak(void);
/* For tests: ChaCha20's block, of a key and the four words behind it. */
void random_block(const uint32_t key[8], const uint32_t in[4], uint32_t out[16]);
