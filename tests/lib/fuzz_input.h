/*
 * A fuzzer's input as numbers, from its begin on; behind its end there are zeros.  Who includes it
 * sets "in" and "left" first.
 */
#pragma once

#include "kern/base/types.h"

static const uint8_t *in;
static size_t left;

/* So many bytes, at most four; the first is the highest. */
static uint32_t
take(unsigned bytes)
{
	uint32_t v = 0;

	for (; bytes != 0; bytes--, left -= left != 0)
		v = v << 8 | (left != 0 ? *in++ : 0);
	return v;
}
