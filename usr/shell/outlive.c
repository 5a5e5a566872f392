/*
 * "outlive DEV": writes that no flush covers, and a server that is ended before one does (D12).
 *
 * Block n of the disk's first 64 (of 4096 bytes) is written three times, as byte n, n + 64 and n +
 * 128, some with FUA; nobody flushes.  Then the server is killed, and a flush goes to its
 * successor.  What must be on the disk is known, so it can also be looked at from outside.
 *
 * Then the same with two sessions on the same bytes: one writes all blocks and does not flush, the
 * other writes them again with FUA, the server is killed, and the first one flushes.  What it kept
 * must not come over what the other wrote later.
 */
#include "usr/lib/blk.h"
#include "usr/shell/shell.h"

enum { BLOCKS = 64, BYTES = 4096, ROUNDS = 3 };

static struct blk disk, other;

static enum status
write_block(struct blk *b, uint32_t n, uint32_t round, bool fua)
{
	memset(b->data, (int)(n + round * 64), BYTES);
	return blk_do(b, BLK_WRITE | (fua ? BLK_FUA : 0), (uint64_t)n * BYTES, 0, BYTES);
}

static enum status
write_all(uint32_t round)
{
	enum status s = OK;

	for (uint32_t n = 0; n < BLOCKS && s == OK; n++)
		s = write_block(&disk, n, round, n % 7 == 0 && round == 1);
	return s;
}

/* Bytes that are not those of that round. */
static enum status
count_wrong(uint32_t round, unsigned *wrong)
{
	enum status s = OK;

	for (uint32_t n = 0; n < BLOCKS && s == OK; n++) {
		s = blk_do(&disk, BLK_READ, (uint64_t)n * BYTES, 0, BYTES);
		for (uint32_t i = 0; i < BYTES && s == OK; i++)
			*wrong += disk.data[i] != n + round * 64;
	}
	return s;
}

static enum status
kill_server(uint64_t controller)
{
	struct msg m = { .label = DEVMGR_BLOCK, .words = 1, .w = { controller } };

	if (msg_call(devmgr, &m, now_ns() + 5 * NS_PER_S) != OK || m.label != OK)
		return E_NOT_FOUND;
	(void)sys_handle_close(m.w[0]);
	m = (struct msg){ .label = DEVMGR_KILL, .words = 1, .w = { m.w[2] } };
	return msg_call(devmgr, &m, now_ns() + 5 * NS_PER_S) == OK ? (enum status)m.label : E_PEER;
}

static enum status
two_writers(const char *name, unsigned *wrong)
{
	uint64_t before = disk.rewrites;
	enum status s = write_all(0);

	if (s == OK && !disk_open(&other, name, BLK_RIGHT_READ | BLK_RIGHT_WRITE, BYTES))
		return E_BUSY;
	for (uint32_t n = 0; n < BLOCKS && s == OK; n++)
		s = write_block(&other, n, 1, true);
	if (s == OK)
		s = kill_server((uint64_t)(name[4] - '0'));
	if (s == OK)
		s = blk_do(&disk, BLK_FLUSH, 0, 0, 0);
	if (s == OK)
		s = count_wrong(1, wrong);
	print("outlive: two writers, %llu put again: %s, %u bytes wrong\n",
	    (unsigned long long)(disk.rewrites - before), status_text(s), *wrong);
	disk_close(&other);
	return s;
}

int
cmd_outlive(int argc UNUSED, char **argv)
{
	unsigned wrong = 0;
	enum status s = OK;

	if (!disk_open(&disk, argv[1], BLK_RIGHT_READ | BLK_RIGHT_WRITE, BYTES))
		return 1;
	for (uint32_t round = 0; round < ROUNDS && s == OK; round++)
		s = write_all(round);
	if (s == OK)
		s = kill_server((uint64_t)(argv[1][4] - '0'));
	if (s == OK)
		s = blk_do(&disk, BLK_FLUSH, 0, 0, 0);
	if (s == OK)
		s = count_wrong(ROUNDS - 1, &wrong);
	print("outlive: %u writes, %llu restarts, %llu put again: %s, %u bytes wrong\n",
	    BLOCKS * ROUNDS, (unsigned long long)disk.restarts, (unsigned long long)disk.rewrites,
	    status_text(s), wrong);
	if (s == OK && wrong == 0)
		s = two_writers(argv[1], &wrong);
	disk_close(&disk);
	return s != OK || wrong != 0;
}
