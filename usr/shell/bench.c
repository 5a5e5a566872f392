/*
 * Marked regions for the instruction-counting plugin (tests/bench/run): a no-op instruction at each end, which works in any
 * guest and costs nothing elsewhere.
 *
 * What takes two processes runs against a copy of this program: a new process that gets this one's segments, byte for byte,
 * and starts in another function.
 */
#include "usr/lib/blk.h"
#include "usr/shell/shell.h"

enum { ROUNDS = 10000, SIGNALS = 1000, READS_DEPTH_1 = 512, READS_DEPTH_32 = 4096, READS_LARGE = 512, GRANTS = 64 };
enum { PRIORITY = 10, PRIORITY_LOW = 5, COPY_PAGES = 256, COPY_STACK_PAGES = 4 };
enum : uint64_t { COPY_STACK_TOP = 0x7000'0000'0000 };

/* The linker script's: where the segments begin, and the end. */
extern char image_text[], image_rodata[], image_data[], image_end[];

static handle_t copy = HANDLE_NONE;
static struct blk disk;

/* Answers calls with nothing. */
static NORETURN void
server(uint64_t endpoint)
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
signaller(uint64_t ntfn)
{
	for (;;) {
		MARK(14);
		(void)sys_ntfn_signal(ntfn, 1);
	}
}

/* A segment of the copy: memory made and filled here, then mapped there at the same address. */
static enum status
segment(handle_t process, uint64_t from, uint64_t end, uint64_t prot)
{
	uint64_t len = align_up(end, PAGE_SIZE) - from, h, here, there;
	enum status s = sys_mem_create(len / PAGE_SIZE, 0, &h);

	if (s != OK)
		return s;
	s = sys_mem_map(HANDLE_NONE, h, 0, len, 0, 3, &here);
	if (s == OK) {
		memcpy((void *)(uintptr_t)here, (const void *)(uintptr_t)from, end - from);
		(void)sys_mem_unmap(HANDLE_NONE, here, len);
		s = sys_mem_map(process, h, 0, len, from, prot, &there);
	}
	(void)sys_handle_close(h);
	return s;
}

/* This program once more, starting in fn with a handle that is given to it. */
static enum status
start_copy(void (*fn)(uint64_t), handle_t given, uint32_t rights, uint8_t priority)
{
	uint64_t p, h, va, there, id;
	enum status s = sys_process_create((uint64_t)(uintptr_t)"bench", 5, COPY_PAGES, 32, &p);

	if (s != OK)
		return s;
	s = segment((handle_t)p, (uintptr_t)image_text, (uintptr_t)image_rodata, 5);
	if (s == OK)
		s = segment((handle_t)p, (uintptr_t)image_rodata, (uintptr_t)image_data, 1);
	if (s == OK)
		s = segment((handle_t)p, (uintptr_t)image_data, (uintptr_t)image_end, 3);
	if (s == OK)
		s = sys_mem_create(COPY_STACK_PAGES, 0, &h);
	if (s == OK) {
		s = sys_mem_map(p, h, 0, COPY_STACK_PAGES * PAGE_SIZE, COPY_STACK_TOP - COPY_STACK_PAGES * PAGE_SIZE, 3, &va);
		(void)sys_handle_close(h);
	}
	if (s == OK)
		s = sys_handle_give(p, given, rights, &there);
	if (s == OK)
		s = sys_thread_create(p, (uint64_t)(uintptr_t)fn, COPY_STACK_TOP - STACK_ENTRY, there, 0,
		    priority | CPU_ANY << 8, &id);
	if (s != OK)
		(void)sys_process_kill(p, 0);
	copy = (handle_t)p;
	return s;
}

static void
end_copy(void)
{
	(void)sys_process_kill(copy, 0);
	(void)sys_handle_close(copy);
	copy = HANDLE_NONE;
}

static void
round_trips(handle_t endpoint, uint64_t words)
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
	uint64_t e, t = now_ns();
	enum status s;

	MARK(2);
	for (unsigned i = 0; i < ROUNDS; i++)
		(void)sys_null();
	MARK(3);
	print("null call: %llu ns\n", (unsigned long long)((now_ns() - t) / ROUNDS));
	s = sys_endpoint_create(&e);
	if (s == OK)
		s = start_copy(server, (handle_t)e, RIGHT_RECV, PRIORITY);
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
	end_copy();
	(void)sys_handle_close(e);
	return 0;
}

static int
bench_signal(void)
{
	uint64_t n, bits;
	enum status s = sys_ntfn_create(&n);

	if (s == OK)
		s = start_copy(signaller, (handle_t)n, RIGHT_SIGNAL, PRIORITY_LOW);
	for (unsigned i = 0; i < SIGNALS && s == OK; i++) {
		s = sys_ntfn_wait(n, DEADLINE_NEVER, &bits);
		MARK(15);
	}
	if (s != OK)
		print("bench: signal: %s\n", status_text(s));
	end_copy();
	(void)sys_handle_close(n);
	return s != OK;
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

static bool
block_server(handle_t *out)
{
	struct msg m = { .label = DEVMGR_BLOCK, .words = 1 };

	if (msg_call(devmgr, &m, now_ns() + 5 * NS_PER_S) != OK || m.label != OK)
		return false;
	*out = (handle_t)m.w[0];
	return true;
}

static int
bench_disk(void)
{
	enum status s;
	handle_t h;
	uint64_t t;

	if (!block_server(&h) || blk_open(&disk, h, 0, BLK_RIGHT_READ, 1 << 20) != OK) {
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

/* Sessions with one page of data: each grants that page to the device and takes it back. */
static int
bench_grant(void)
{
	enum status s = OK;
	handle_t h;

	MARK(16);
	for (unsigned i = 0; i < GRANTS && s == OK; i++) {
		s = block_server(&h) ? blk_open(&disk, h, 0, BLK_RIGHT_READ, PAGE_SIZE) : E_NOT_FOUND;
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
	print("memory at rest: %llu KiB\n", (unsigned long long)((m.total - m.free) * PAGE_SIZE / KIB));
	return 0;
}

int
cmd_bench(int argc, char **argv)
{
	static const struct { const char *name; int (*fn)(void); } parts[] = {
		{ "memory", bench_memory }, { "ipc", bench_ipc }, { "signal", bench_signal }, { "disk", bench_disk },
		{ "grant", bench_grant },
	};
	int failed = 0;

	if (argc > 1 && strcmp(argv[1], "ready") == 0) {
		handle_t h;

		(void)block_server(&h);
		MARK(254);
		return 0;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
		if (argc == 1 || strcmp(argv[1], parts[i].name) == 0)
			failed |= parts[i].fn();
	return failed;
}
