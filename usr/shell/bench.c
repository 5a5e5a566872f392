/*
 * Marked regions for the instruction-counting plugin (tests/bench/run): a no-op instruction at each end, which works in any
 * guest and costs nothing elsewhere.
 */
#include "usr/lib/blk.h"
#include "usr/shell/shell.h"

enum { ROUNDS = 10000, READS_DEPTH_1 = 512, READS_DEPTH_32 = 4096, READS_LARGE = 512 };

static handle_t endpoint;
static uint8_t stack[16384] ALIGNED(16);
static struct blk disk;

static void
server(void)
{
	uint64_t call = SYS_ipc_recv, target = endpoint, token = 0, w[4] = { 0 };

	for (;;) {
		sys_msg4(&call, &target, w, DEADLINE_NEVER, &token);
		call = SYS_ipc_reply_recv | (call & TAG_WORDS);
		target = endpoint;
	}
}

static void
round_trips(uint64_t words)
{
	uint64_t w[4] = { 0 };

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t call = SYS_ipc_call | FIELD_PREP(TAG_WORDS, words), target = endpoint, token = 0;

		sys_msg4(&call, &target, w, DEADLINE_NEVER, &token);
	}
}

static int
bench_ipc(void)
{
	uint64_t h, id, t = now_ns();

	MARK(2);
	for (unsigned i = 0; i < ROUNDS; i++)
		(void)sys_null();
	MARK(3);
	print("null call: %llu ns\n", (unsigned long long)((now_ns() - t) / ROUNDS));
	if (endpoint == HANDLE_NONE) {
		if (sys_endpoint_create(&h) != OK)
			return 1;
		endpoint = (handle_t)h;
		if (sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)server, (uint64_t)(uintptr_t)(stack + sizeof(stack)) -
		    STACK_ENTRY, 0, 0, 10 | CPU_ANY << 8, &id) != OK)
			return 1;
	}
	round_trips(0);
	t = now_ns();
	MARK(4);
	round_trips(0);
	MARK(5);
	print("call and reply, 0 words: %llu ns\n", (unsigned long long)((now_ns() - t) / ROUNDS));
	t = now_ns();
	MARK(6);
	round_trips(4);
	MARK(7);
	print("call and reply, 4 words: %llu ns\n", (unsigned long long)((now_ns() - t) / ROUNDS));
	return 0;
}

/* n reads of "bytes" with "depth" in flight; a batch is put, then answers are taken and their slots used again. */
static enum status
reads(uint32_t n, uint32_t bytes, uint32_t depth)
{
	uint32_t put = 0, got = 0, cookie, detail;
	enum status s = OK;

	for (; put < depth; put++)
		s = blk_put(&disk, BLK_READ, (uint64_t)put * bytes, (uint64_t)put * bytes, bytes, put);
	blk_kick(&disk);
	while (got < n && s == OK) {
		s = blk_next(&disk, &cookie, &detail, DEADLINE_NEVER);
		got++;
		if (put < n) {
			s = s == OK ? blk_put(&disk, BLK_READ, (uint64_t)(put % 1024) * bytes, (uint64_t)cookie * bytes, bytes, cookie) : s;
			put++;
		}
		if (blk_waiting(&disk) == 0)
			blk_kick(&disk);
	}
	return s;
}

static int
bench_disk(void)
{
	struct msg m = { .label = DEVMGR_BLOCK, .words = 1 };
	enum status s;
	uint64_t t;

	if (msg_call(devmgr, &m, now_ns() + 5 * NS_PER_S) != OK || m.label != OK ||
	    blk_open(&disk, (handle_t)m.w[0], 0, BLK_RIGHT_READ, 1 << 20) != OK) {
		print("bench: no disk\n");
		return 1;
	}
	s = reads(64, 4096, 1);
	t = now_ns();
	MARK(8);
	s = s == OK ? reads(READS_DEPTH_1, 4096, 1) : s;
	MARK(9);
	print("4 KiB read, depth 1: %llu ns\n", (unsigned long long)((now_ns() - t) / READS_DEPTH_1));
	s = s == OK ? reads(256, 4096, 32) : s;
	t = now_ns();
	MARK(10);
	s = s == OK ? reads(READS_DEPTH_32, 4096, 32) : s;
	MARK(11);
	print("4 KiB read, depth 32: %llu ns each\n", (unsigned long long)((now_ns() - t) / READS_DEPTH_32));
	t = now_ns();
	MARK(12);
	s = s == OK ? reads(READS_LARGE, 128 * 1024, 8) : s;
	MARK(13);
	print("128 KiB read, depth 8: %llu ns each\n", (unsigned long long)((now_ns() - t) / READS_LARGE));
	if (s != OK)
		print("bench: %s\n", status_text(s));
	blk_close(&disk);
	return s != OK;
}

int
cmd_bench(int argc, char **argv)
{
	int failed = 0;

	if (argc > 1 && strcmp(argv[1], "ready") == 0) {
		MARK(254);
		return 0;
	}
	if (argc == 1 || strcmp(argv[1], "ipc") == 0)
		failed |= bench_ipc();
	if (argc == 1 || strcmp(argv[1], "disk") == 0)
		failed |= bench_disk();
	return failed;
}
