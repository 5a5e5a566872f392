/*
 * What tests of the live test's classes share (kern/dma/canary.h): a device with four pages, and a
 * store that is asked for until it is over.
 */
#pragma once

#include <atf-c.h>
#include <string.h>

#include "kern/dma/canary.h"
#include "tests/lib/fake_drv.h"

enum : uint64_t { POLL_NS = 100 * NS_PER_US, STRAY = 0xdead'0000 };

static struct drv_device d;
static struct canary c;
static struct drv_memory queue, answers, spill, target;

#define GOOD(e) do { const char *why_ = (e); ATF_REQUIRE_MSG(why_ == NULL, "%s", why_); } while (0)
#define BAD(e, text) ATF_CHECK_STREQ((e) ?: "nothing", text)

/* The device is there: its pages, and c, but for how registers are reached. */
static void
canary_begin(void)
{
	ATF_REQUIRE_EQ(drv_memory(&d, PAGE_SIZE, DMA_TO_DEVICE, &queue), OK);
	ATF_REQUIRE_EQ(drv_memory(&d, PAGE_SIZE, DMA_FROM_DEVICE, &answers), OK);
	ATF_REQUIRE_EQ(drv_memory(&d, PAGE_SIZE, DMA_FROM_DEVICE, &spill), OK);
	ATF_REQUIRE_EQ(drv_memory(&d, PAGE_SIZE, DMA_FROM_DEVICE, &target), OK);
	memset(queue.ptr, 0xff, PAGE_SIZE);	/* what pages hold is nobody's business */
	memset(answers.ptr, 0xff, PAGE_SIZE);
	memset(spill.ptr, 0xa5, PAGE_SIZE);
	memset(target.ptr, 0xa5, PAGE_SIZE);
	c = (struct canary){ .to_device = queue.ptr,
		.from_device = answers.ptr,
		.to_device_address = queue.iova.v,
		.from_device_address = answers.iova.v,
		.spill_address = spill.iova.v };
}

/* Until it is done, NULL, or says no; "patience" is how long that may take. */
static const char *
run(enum canary_said (*what)(struct canary *, uint64_t), uint64_t patience)
{
	uint64_t from = d.now;

	c.step = 0;
	c.why = NULL;
	for (;;) {
		enum canary_said said = what(&c, d.now);

		if (said == CANARY_DONE)
			return NULL;
		if (said == CANARY_NO) {
			ATF_REQUIRE(c.why != NULL);
			return c.why;
		}
		d.now += POLL_NS;
		if (d.now - from > patience)
			atf_tc_fail("no answer in time");
	}
}

/* Bytes of [from, to) that are as they were. */
static uint32_t
untouched(const struct drv_memory *p, uint32_t from, uint32_t to)
{
	uint32_t n = 0;

	for (uint32_t i = from; i < to; i++)
		n += ((uint8_t *)p->ptr)[i] == 0xa5;
	return n;
}
