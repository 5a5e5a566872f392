/*
 * A client that wants more of a disk than the manifest gives it: "outside".
 *
 * Tries each range that this shell has, and then a handle to the whole disk as anybody gets it who
 * may only ask.  What the server must refuse it must refuse by itself: nothing on this side judges.
 * Each line says what was tried and what came of it; the exit status counts what was not as it
 * should be.
 */
#include "kern/base/bits.h"
#include "usr/lib/blk.h"
#include "usr/shell/shell.h"

static struct blk b;
static unsigned failures;

static void
judge(const char *whom, const char *what, enum status got, enum status want)
{
	print("outside: %s: %s: %s%s\n", whom, what, got == want ? "" : "NOT AS IT SHOULD: ",
	    status_text(got));
	failures += got != want;
}

static enum status
open_at(handle_t e, uint32_t index, uint32_t rights, uint64_t base, uint64_t len)
{
	struct blk_wish w = { .index = index,
		.rights = rights,
		.base = base,
		.len = len,
		.data_bytes = PAGE_SIZE,
		.bits = 1 };
	enum status s = blk_open_wish(&b, e, &w);

	if (s == OK)
		blk_close(&b);
	return s;
}

static void
try_range(const char *whom, handle_t e, bool read_only)
{
	struct msg m = { .label = BLK_CALL_INFO, .words = 1 };
	uint64_t len;
	enum status s = msg_call(e, &m, now_ns() + NS_PER_S);

	if (s != OK || m.label != OK) {
		judge(whom, "asking", s != OK ? s : (enum status)m.label, OK);
		return;
	}
	len = m.w[0] * m.w[1];
	print("outside: %s: %llu bytes\n", whom, (unsigned long long)len);
	judge(whom, "all of it", open_at(e, 0, BLK_RIGHT_READ, 0, 0), OK);
	judge(whom, "a block more", open_at(e, 0, BLK_RIGHT_READ, 0, len + m.w[1]), E_RANGE);
	judge(whom, "the block behind", open_at(e, 0, BLK_RIGHT_READ, len, m.w[1]), E_RANGE);
	judge(whom, "what is before", open_at(e, 0, BLK_RIGHT_READ, -m.w[1], m.w[1]), E_RANGE);
	judge(whom, "from before on", open_at(e, 0, BLK_RIGHT_READ, -m.w[1], 2 * m.w[1]), E_RANGE);
	judge(whom, "the next namespace", open_at(e, 1, BLK_RIGHT_READ, 0, 0), E_NOT_FOUND);
	judge(whom, "to write", open_at(e, 0, BLK_RIGHT_READ | BLK_RIGHT_WRITE, 0, 0),
	    read_only ? E_READ_ONLY : OK);
	m = (struct msg){ .label = BLK_CALL_ROGUE, .words = 2, .w = { 0x5000, 0 } };
	s = msg_call(e, &m, now_ns() + NS_PER_S);
	judge(whom, "a test's call", s != OK ? s : (enum status)m.label, E_REFUSED);
	s = blk_open(&b, e, 0, BLK_RIGHT_READ, PAGE_SIZE);
	if (s == OK) {
		judge(whom, "a read of the last block",
		    blk_do(&b, BLK_READ, len - b.block_bytes, 0, (uint32_t)b.block_bytes), OK);
		judge(whom, "a read of the block behind",
		    blk_do(&b, BLK_READ, len, 0, (uint32_t)b.block_bytes), E_RANGE);
		judge(whom, "a read of what is before",
		    blk_do(&b, BLK_READ, -b.block_bytes, 0, (uint32_t)b.block_bytes), E_RANGE);
		judge(whom, "zeroes without the right",
		    blk_do(&b, BLK_ZERO, 0, 0, (uint32_t)b.block_bytes), E_RIGHTS);
		blk_close(&b);
	}
}

int
cmd_outside(int argc UNUSED, char **argv UNUSED)
{
	struct msg m;
	enum status s;

	failures = 0;
	for (uint64_t n = 0;; n++) {
		char name[4 * sizeof(m.w[0]) + 1] = { 0 };

		m = (struct msg){ .label = DEVMGR_DISK, .words = 1, .w = { n } };
		s = msg_call(devmgr, &m, now_ns() + NS_PER_S);
		if (s != OK || (m.label != OK && m.label != E_NO_DEVICE))
			break;
		memcpy(name, &m.w[4], sizeof(name) - 1);
		if (m.label != OK) {
			print("outside: %s: %s\n", name, status_text((enum status)m.label));
			continue;
		}
		try_range(name, (handle_t)m.w[0], (m.w[1] & BLK_RIGHT_WRITE) == 0);
		(void)sys_handle_close(m.w[0]);
	}
	m = (struct msg){ .label = DEVMGR_BLOCK, .words = 1 };
	s = msg_call(devmgr, &m, now_ns() + NS_PER_S);
	if (s == OK && m.label == OK) {
		handle_t e = (handle_t)m.w[0];

		judge("the disk", "to read", open_at(e, 0, BLK_RIGHT_READ, 0, 0), E_RIGHTS);
		judge("the disk", "no right", open_at(e, 0, 0, 0, 0), E_RIGHTS);
		(void)sys_handle_close(e);
	}
	print("outside: %u not as they should be\n", failures);
	return failures != 0;
}
