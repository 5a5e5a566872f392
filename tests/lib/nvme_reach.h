/*
 * What an NVMe controller touches when it runs one command, written from the manual and not from
 * our code: NVM Express Base 2.1, 4.1.1 (physical region pages), chapter 5; NVM Command Set 1.1.
 * For tests, fuzzer and model checker, who supply the controller's view of memory:
 *
 *   reach_load    eight bytes of a list
 *   reach_touch   the controller reads, or writes, len bytes
 *   reach_block   block size of a namespace; 0: the command fails without touching anything
 *
 * False: a command or a form that this model does not know, and that an accepted entry must never
 * be.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

uint64_t reach_load(uint64_t at);
void reach_touch(uint64_t at, uint64_t len, bool write);
uint64_t reach_block(uint32_t nsid);

enum { REACH_PAGE = 4096 };

static inline bool
reach_data(const uint64_t *e, uint64_t bytes, bool write)
{
	uint64_t at = e[3], n = REACH_PAGE - at % REACH_PAGE, list;

	if (at % 4 != 0)
		return false;
	reach_touch(at, bytes < n ? bytes : n, write);
	if (bytes <= n)
		return true;
	bytes -= n;
	if (bytes <= REACH_PAGE) {
		if (e[4] % REACH_PAGE != 0)
			return false;
		reach_touch(e[4], bytes, write);
		return true;
	}
	list = e[4];
	if (list % 8 != 0)
		return false;
	while (bytes != 0) {
		reach_touch(list, 8, false);
		at = reach_load(list);
		if (list % REACH_PAGE == REACH_PAGE - 8 && bytes > REACH_PAGE) {
			/* The last entry of a list page, and more than a page to go: it points to
			 * the next list. */
			if (at % 8 != 0)
				return false;
			list = at;
			continue;
		}
		if (at % REACH_PAGE != 0)
			return false;
		n = bytes < REACH_PAGE ? bytes : REACH_PAGE;
		reach_touch(at, n, write);
		bytes -= n;
		list += 8;
	}
	return true;
}

static inline bool
reach_io(const uint64_t *e)
{
	uint32_t cdw0 = (uint32_t)e[0], nsid = (uint32_t)(e[0] >> 32);
	uint64_t blocks = (e[6] & 0xffff) + 1, size = reach_block(nsid);

	if ((cdw0 & 0xc300) != 0 || e[2] != 0)
		return false;
	switch (cdw0 & 0xff) {
	case 0x00:			/* flush */
	case 0x08:			/* write zeroes */
		return true;
	case 0x01:			/* write */
	case 0x05:			/* compare */
		return size == 0 || reach_data(e, blocks * size, false);
	case 0x02:			/* read */
		return size == 0 || reach_data(e, blocks * size, true);
	case 0x09:			/* dataset management: ranges of 16 bytes */
		return reach_data(e, ((e[5] & 0xff) + 1) * 16, false);
	}
	return false;
}

/* Creating queues is left to the caller, who knows which are the kernel's. */
static inline bool
reach_admin(const uint64_t *e)
{
	uint32_t cdw0 = (uint32_t)e[0], cdw10 = (uint32_t)e[5], cdw11 = (uint32_t)(e[5] >> 32);

	if ((cdw0 & 0xc300) != 0 || e[2] != 0)
		return false;
	switch (cdw0 & 0xff) {
	case 0x02:			/* log page: dwords, minus one, in two parts */
		return reach_data(
		    e, (((uint64_t)(cdw11 & 0xffff) << 16 | cdw10 >> 16) + 1) * 4, true);
	case 0x06:			/* identify */
		return reach_data(e, 4096, true);
	case 0x08:			/* abort */
	case 0x0c:			/* asynchronous event */
		return true;
	case 0x09:			/* set features: some have data */
	case 0x0a:
		switch (cdw10 & 0xff) {
		case 0x03: case 0x0c: case 0x0d: case 0x0e: case 0x16: case 0x81: case 0x83:
			return false;
		}
		return true;
	}
	return false;
}
