/*
 * A program that means no good: every system call, with random and edge-case arguments, and then
 * every way to fault.
 *
 * Started by init when the kernel's command line says "hostile=SEED"; its first argument is the
 * seed.  It must not be able to do more than end itself.  Its last line is "survived".
 *
 * "hostile=jump" calls the middle of a function, "hostile=return" writes over a return address:
 * what the CPU's own guards are for.  Where it has none, a line says that it was possible.
 * "hostile=greedy": greedy.c.
 */
#include "kern/base/bits.h"
#include "usr/hostile/greedy.h"
#include "usr/hostile/take.h"
#include "usr/lib/os.h"

enum { CALLS = 40000 };

static uint64_t state;
static uint64_t handles[64];
static unsigned handle_count;
static uint8_t page[2 * PAGE_SIZE] ALIGNED(4096);

static uint64_t
rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* A word that somebody may have forgotten about. */
static uint64_t
word(void)
{
	static const uint64_t edges[] = {
		0,
		1,
		2,
		7,
		8,
		0xff,
		0xfff,
		0x1000,
		0x1001,
		0x7fffffff,
		0x80000000,
		0xffffffff,
		0x100000000,
		0x7ffffffff000,
		0x7fffffffffff,
		0x800000000000,
		0xffff000000000000,
		0xffff800000000000,
		0xffffffff80000000,
		UINT64_MAX - 0xfff,
		UINT64_MAX - 1,
		UINT64_MAX,
	};

	switch (rnd() % 8) {
	case 0: case 1:
		return edges[rnd() % ARRAY_SIZE(edges)];
	case 2: case 3: case 4:
		return handle_count != 0 ? handles[rnd() % handle_count] : rnd();
	case 5:
		return (uint64_t)(uintptr_t)page + rnd() % sizeof(page);
	case 6:
		return rnd() % 64;
	default:
		return rnd() >> rnd() % 64;
	}
}

static volatile uint64_t reached;

__attribute__((noinline)) static void
victim(void)
{
	reached++;
}

/* Past its first instruction, which is the landing place on both architectures: four bytes. */
static void
jump(void)
{
	void (*volatile middle)(void) = (void (*)(void))((uintptr_t)victim + 4);

	middle();
	log_line(2, "a call into the middle of a function was possible");
}

NORETURN static void
prize(void)
{
	log_line(2, "a forged return address was followed");
	(void)sys_process_exit(0);
	for (;;)
		;
}

/* The word above the saved frame pointer is where it will return to. */
__attribute__((noinline)) static void
forge(void (*volatile to)(void))
{
	((void (*volatile *)(void))__builtin_frame_address(0))[1] = to;
	reached++;
}

int
main(void)
{
	static const uint8_t spared[] = { SYS_process_exit, SYS_thread_exit };
	uint64_t done[SYSCALL_COUNT + 8] = { 0 }, ok = 0;

	if (strncmp(start_info->args, "take", 4) == 0)
		take_all();
	if (strncmp(start_info->args, "jump", 4) == 0) {
		jump();
		return 0;
	}
	if (strncmp(start_info->args, "return", 6) == 0) {
		forge(prize);
		return 0;
	}
	if (strncmp(start_info->args, "greedy", 6) == 0)
		greedy();
	for (const char *p = start_info->args; *p >= '0' && *p <= '9'; p++)
		state = state * 10 + (uint64_t)(*p - '0');
	state = state * 0x9e3779b97f4a7c15 + 0x1234567;
	/* An endpoint of its own, with all rights, is thrown in. */
	if (sys_endpoint_create(&handles[0]) == OK)
		handle_count++;
	/* Second handles are thrown about: with the first it has to say how it went. */
	for (uint32_t i = 0; i < start_info->count; i++)
		if (sys_handle_dup(start_info->handle[i].handle,
			i == 0 ? KERNEL_INFO | RIGHT_GIVE :
				 RIGHT_CALL | RIGHT_RECV | RIGHT_GIVE | RIGHT_MANAGE,
			&handles[handle_count]) == OK)
			handle_count++;
	/* The trace is for those who were given the right to it. */
	if (sys_info(start_handle("kernel"), INFO_TRACE, 0, (uint64_t)(uintptr_t)page, sizeof(page),
		&ok) != E_RIGHTS)
		die("the trace is open to everybody");
	/* A contiguous object is a power of two of pages, and all of them are paid for: more than
	 * half of 2048 is too much. */
	if (sys_mem_create(1025, MEM_CONTIGUOUS, &ok) != E_QUOTA)
		die("a contiguous object took more than its quota");
	for (unsigned n = 0; n < CALLS; n++) {
		struct sysregs r = { .target = word(),
			.deadline = rnd() % 2 == 0 ? 0 : now_ns() + rnd() % 100000,
			.token = word() };
		uint64_t nr = rnd() % (SYSCALL_COUNT + 8);
		bool skip = false;

		for (unsigned k = 0; k < ARRAY_SIZE(spared); k++)
			skip |= nr == spared[k];
		if (skip)
			continue;
		for (unsigned k = 0; k < 8; k++)
			r.w[k] = word();
		/* Waits that would not end by themselves get an end. */
		if (nr == SYS_ntfn_signal_wait)
			r.w[1] = now_ns() + rnd() % 100000;
		if (nr == SYS_handle_revoke || nr == SYS_device_reset || nr == SYS_dma_unmap)
			r.w[1] = now_ns() + rnd() % 1000000;
		if (nr == SYS_thread_create || nr == SYS_mem_unmap)
			r.w[0] = handle_count != 0 ? handles[rnd() % handle_count] : 1;
		r.call = nr | (rnd() % 4 == 0 ? rnd() & (TAG_WORDS | TAG_HANDLES | TAG_LABEL) : 0);
		sys_full(&r);
		done[nr]++;
		if ((r.call & CALL_NUMBER) != OK)
			continue;
		ok++;
		/* What looks like a new handle is used again. */
		if (r.w[0] != 0 && r.w[0] >> 32 == 0)
			handles[handle_count < ARRAY_SIZE(handles) ? handle_count++ :
								     rnd() % ARRAY_SIZE(handles)] =
			    r.w[0];
	}
	log_line(2, "survived %u calls, %llu of them successful", CALLS, (unsigned long long)ok);
	/* And now an address that is nobody's. */
	return (int)((volatile uint8_t *)(uintptr_t)16)[0];
}
