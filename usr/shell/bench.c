/*
 * Marked regions for the instruction-counting plugin (tests/bench): one no-op instruction at each end, which works in any
 * guest and costs nothing elsewhere.
 */
#include "usr/shell/shell.h"

#if defined(__aarch64__)
#define MARK(id) __asm__ volatile(".inst 0xd280001f | ((0x5a00 | %c0) << 5)" :: "i"(id) : "memory")
#else
#define MARK(id) __asm__ volatile(".byte 0x0f, 0x1f, 0x80; .long 0x5a4d0000 | %c0" :: "i"(id) : "memory")
#endif

enum { ROUNDS = 10000 };

static handle_t endpoint;
static uint8_t stack[16384] ALIGNED(16);

static void
server(void)
{
	struct sysregs r = { .call = SYS_ipc_recv, .target = endpoint, .deadline = DEADLINE_NEVER };

	for (;;) {
		sys_full(&r);
		r.call = SYS_ipc_reply_recv | (r.call & TAG_WORDS);
		r.target = endpoint;
		r.deadline = DEADLINE_NEVER;
	}
}

static void
round_trips(uint64_t words)
{
	struct sysregs r = { .deadline = DEADLINE_NEVER };

	for (unsigned i = 0; i < ROUNDS; i++) {
		r.call = SYS_ipc_call | FIELD_PREP(TAG_WORDS, words);
		r.target = endpoint;
		sys_full(&r);
	}
}

int
cmd_bench(int argc, char **argv)
{
	uint64_t h, id, t;

	if (argc > 1 && strcmp(argv[1], "ready") == 0) {
		MARK(254);
		return 0;
	}
	t = now_ns();
	MARK(2);
	for (unsigned i = 0; i < ROUNDS; i++)
		(void)sys_null();
	MARK(3);
	print("null call: %llu ns\n", (unsigned long long)((now_ns() - t) / ROUNDS));
	if (endpoint == HANDLE_NONE) {
		if (sys_endpoint_create(&h) != OK)
			return 1;
		endpoint = (handle_t)h;
		/* The stack ends where a call would have pushed: the function never returns. */
		if (sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)server, (uint64_t)(uintptr_t)(stack + sizeof(stack)) - STACK_ENTRY,
		    0, 0, 10 | CPU_ANY << 8, &id) != OK)
			return 1;
	}
	round_trips(0);
	t = now_ns();
	MARK(4);
	round_trips(0);
	MARK(5);
	print("call and reply, same process, 0 words: %llu ns\n", (unsigned long long)((now_ns() - t) / ROUNDS));
	t = now_ns();
	MARK(6);
	round_trips(4);
	MARK(7);
	print("call and reply, same process, 4 words: %llu ns\n", (unsigned long long)((now_ns() - t) / ROUNDS));
	return 0;
}
