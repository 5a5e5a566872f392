/*
 * Marked regions for the instruction-counting plugin (tests/bench/run): a no-op instruction at each
 * end, which works in any guest and costs nothing elsewhere.
 *
 * What takes two processes runs against a copy of this program (copy.h); what takes another machine
 * is in bench_net.c.
 */
#include "usr/lib/blk.h"
#include "usr/shell/copy.h"
#include "usr/shell/shell.h"

enum {
	ROUNDS = 10000,
	SIGNALS = 1000,
	READS_DEPTH_1 = 512,
	READS_DEPTH_32 = 4096,
	READS_LARGE = 512,
	PASSES = 9,
	GRANTS = 64
};
enum { PRIORITY = 10, PRIORITY_LOW = 5 };

static struct blk disk;

/* Answers calls with nothing. */
static NORETURN void
server(uint64_t endpoint, uint64_t arg UNUSED)
{
	uint64_t call = SYS_ipc_recv, target = endpoint, token = 0, w[4] = { 0 };

	for (;;) {
		sys_msg4(&call, &target, w, DEADLINE_NEVER, &token);
		call = SYS_ipc_reply_recv | (call & TAG_WORDS);
		target = endpoint;
	}
}

/* Signals a thread of higher priority, which opens its eyes in region 14's end. */
static NORETURN void
signaller(uint64_t ntfn, uint64_t arg UNUSED)
{
	for (;;) {
		MARK(14);
		(void)sys_ntfn_signal(ntfn, 1);
	}
}

static void
round_trips(handle_t endpoint, uint64_t words)
{
	uint64_t w[4] = { 0 };

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t call = SYS_ipc_call | FIELD_PREP(TAG_WORDS, words), target = endpoint,
			 token = 0;

		sys_msg4(&call, &target, w, DEADLINE_NEVER, &token);
	}
}

static int
bench_ipc(void)
{
	handle_t copy = HANDLE_NONE;
	uint64_t e, t = now_ns();
	enum status s;

	MARK(2);
	for (unsigned i = 0; i < ROUNDS; i++)
		(void)sys_null();
	MARK(3);
	print("null call: %llu ns\n", (unsigned long long)((now_ns() - t) / ROUNDS));
	s = sys_endpoint_create(&e);
	if (s == OK)
		s = copy_start(&copy, server, (handle_t)e, RIGHT_RECV, 0, PRIORITY, CPU_ANY);
	if (s != OK) {
		print("bench: no second process: %s\n", status_text(s));
		return 1;
	}
	round_trips((handle_t)e, 0);
	t = now_ns();
	MARK(4);
	round_trips((handle_t)e, 0);
	MARK(5);
	print("call and reply, 0 words: %llu ns\n", (unsigned long long)((now_ns() - t) / ROUNDS));
	t = now_ns();
	MARK(6);
	round_trips((handle_t)e, 4);
	MARK(7);
	print("call and reply, 4 words: %llu ns\n", (unsigned long long)((now_ns() - t) / ROUNDS));
	copy_end(&copy);
	(void)sys_handle_close(e);
	return 0;
}

static int
bench_signal(void)
{
	handle_t copy = HANDLE_NONE;
	uint64_t n, bits;
	enum status s = sys_ntfn_create(&n);

	if (s == OK)
		s = copy_start(
		    &copy, signaller, (handle_t)n, RIGHT_SIGNAL, 0, PRIORITY_LOW, CPU_ANY);
	for (unsigned i = 0; i < SIGNALS && s == OK; i++) {
		s = sys_ntfn_wait(n, DEADLINE_NEVER, &bits);
		MARK(15);
	}
	if (s != OK)
		print("bench: signal: %s\n", status_text(s));
	copy_end(&copy);
	(void)sys_handle_close(n);
	return s != OK;
}

/* n reads of "bytes" with "depth" in flight; a batch is put, then answers are taken and their slots
 * used again. */
static enum status
reads(uint32_t n, uint32_t bytes, uint32_t depth)
{
	uint32_t put = 0, got = 0, cookie, detail;
	enum status s = OK;

	for (; put < depth; put++)
		s = blk_put(
		    &disk, BLK_READ, (uint64_t)put * bytes, (uint64_t)put * bytes, bytes, put);
	blk_kick(&disk);
	while (got < n && s == OK) {
		s = blk_next(&disk, &cookie, &detail, DEADLINE_NEVER);
		got++;
		if (put < n) {
			s = s == OK ? blk_put(&disk, BLK_READ, (uint64_t)(put % 1024) * bytes,
					  (uint64_t)cookie * bytes, bytes, cookie) :
				      s;
			put++;
		}
	}
	return s;
}

/* The first block server, once it answers. */
static bool
block_server(handle_t *out)
{
	struct msg m = { .label = DEVMGR_BLOCK, .words = 1 };

	if (msg_call(devmgr, &m, now_ns() + 5 * NS_PER_S) != OK || m.label != OK)
		return false;
	*out = (handle_t)m.w[0];
	m = (struct msg){ .label = BLK_CALL_INFO, .words = 1 };
	return msg_call(*out, &m, now_ns() + 5 * NS_PER_S) == OK && m.label == OK;
}

/* A region of reads, several times: how completions fall together is the host's doing, and the
 * median is taken. */
#define READS_REGION(id, what, n, bytes, depth) do { \
	uint64_t t_ = now_ns(); \
	for (unsigned i_ = 0; i_ < PASSES && s == OK; i_++) { \
		MARK(id); \
		s = reads(n, bytes, depth); \
		MARK(id + 1); \
	} \
	print(what ": %llu ns each\n", (unsigned long long)((now_ns() - t_) / PASSES / (n))); \
} while (0)

static int
bench_disk(void)
{
	enum status s;
	handle_t h;

	if (!block_server(&h) || blk_open(&disk, h, 0, BLK_RIGHT_READ, 1 << 20) != OK) {
		print("bench: no disk\n");
		return 1;
	}
	s = reads(64, 4096, 1);
	READS_REGION(8, "4 KiB read, depth 1", READS_DEPTH_1, 4096, 1);
	s = s == OK ? reads(256, 4096, 32) : s;
	READS_REGION(10, "4 KiB read, depth 32", READS_DEPTH_32, 4096, 32);
	READS_REGION(12, "128 KiB read, depth 8", READS_LARGE, 128 * 1024, 8);
	if (s != OK)
		print("bench: %s\n", status_text(s));
	blk_close(&disk);
	return s != OK;
}

/* Sessions with one page of data: each grants that page to the device and takes it back. */
static int
bench_grant(void)
{
	enum status s = OK;
	handle_t h;

	/* The first half fills the ring of addresses that rest (kern/dma/iova.h). */
	for (unsigned i = 0; i < 2 * GRANTS && s == OK; i++) {
		if (i == GRANTS)
			MARK(16);
		s = block_server(&h) ? blk_open(&disk, h, 0, BLK_RIGHT_READ, PAGE_SIZE) :
				       E_NOT_FOUND;
		if (s == OK)
			blk_close(&disk);
	}
	MARK(17);
	if (s != OK)
		print("bench: grant: %s\n", status_text(s));
	return s != OK;
}

/* Everything that is not free: kernel, page tables, programs and their memory, the boot archive. */
static int
bench_memory(void)
{
	struct memory_info m;
	handle_t h;
	uint64_t n;

	(void)block_server(&h);		/* at rest: the server is up */
	if (sys_info(kernel, INFO_MEMORY, 0, (uint64_t)(uintptr_t)&m, sizeof(m), &n) != OK)
		return 1;
	print("memory at rest: %llu KiB\n",
	    (unsigned long long)((m.total - m.free) * PAGE_SIZE / KIB));
	return 0;
}

int
cmd_bench(int argc, char **argv)
{
	static const struct { const char *name; int (*fn)(void);
	} parts[] = {
		{ "memory", bench_memory },
		{ "ipc", bench_ipc },
		{ "signal", bench_signal },
		{ "disk", bench_disk },
		{ "grant", bench_grant },
	};
	bool known = false;
	int failed = 0;

	if (argc > 1 && strcmp(argv[1], "net") == 0) {
		uint64_t port;

		if (argc < 3)
			return usage("the far end's port is missing");
		if (!want_number("PORT", argv[2], &port))
			return 1;
		return port != 0 && port <= UINT16_MAX ? bench_net((uint16_t)port) :
							 usage("%s is not a port", argv[2]);
	}
	if (argc > 2)
		return usage("there is one word too many");
	if (argc > 1 && strcmp(argv[1], "ready") == 0) {
		handle_t h;

		(void)block_server(&h);
		MARK(254);
		return 0;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		if (argc > 1 && strcmp(argv[1], parts[i].name) != 0)
			continue;
		known = true;
		if (interrupted())
			return stopped();
		failed |= parts[i].fn();
	}
	return known ? failed : usage("there is no part \"%s\"", argv[1]);
}
