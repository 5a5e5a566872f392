/*
 * Memory that is revoked while another CPU maps it: a call that had looked its handle up before
 * must not leave a mapping behind.
 *
 * A thread maps and unmaps what "shared" names, as fast as it can.  Another one revokes that.  A
 * mapping that was made while it did must be gone when it says so.
 */
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "usr/trial/trial.h"

enum : unsigned { ROUNDS = 300 };
enum round : uint32_t { RUNS, REVOKING, REVOKED, SEEN };

static _Alignas(16) char stacks[2][16384];
static uint64_t shared;
static uint32_t round;
static unsigned maps, stale, survived;

static void
set_round(enum round r)
{
	store_release(&round, r);
}

NORETURN static void
mapper(void)
{
	for (;;) {
		uint64_t va;
		enum status s;

		while (load_acquire(&round) == SEEN)
			(void)sys_null();
		s = sys_mem_map(HANDLE_NONE, load_acquire(&shared), 0, PAGE_SIZE, 0, 1, &va);
		if (load_acquire(&round) == RUNS) {
			if (s == OK)
				(void)sys_mem_unmap(HANDLE_NONE, va, PAGE_SIZE);
			__atomic_fetch_add(&maps, 1, __ATOMIC_RELEASE);
			continue;
		}
		while (load_acquire(&round) == REVOKING)
			(void)sys_null();
		if (s == OK && sys_mem_unmap(HANDLE_NONE, va, PAGE_SIZE) == OK)
			survived++;
		stale += s == E_STALE;
		set_round(SEEN);
	}
}

NORETURN static void
revoker(void)
{
	uint64_t r = 7;

	for (unsigned n = 0; n < ROUNDS; n++) {
		unsigned before = load_acquire(&maps);
		uint64_t handle;

		if (sys_mem_create(1, 0, &handle) != OK)
			die("no memory");
		store_release(&shared, handle);
		set_round(RUNS);
		while (load_acquire(&maps) == before)
			(void)sys_null();
		/* At a point of the other's turn that is another one each time. */
		r = r * 0x9e3779b97f4a7c15 + 1;
		for (uint64_t i = r >> 58; i != 0; i--)
			(void)sys_null();
		set_round(REVOKING);
		if (sys_handle_revoke(handle, 0) != OK)
			die("cannot revoke");
		set_round(REVOKED);
		while (load_acquire(&round) != SEEN)
			(void)sys_null();
		(void)sys_handle_close(handle);
	}
	print("trial: %u memories revoked, %u mapped too late, %u mappings survived\n", ROUNDS, stale,
	    survived);
	power_off(0);
}

static void
start(void (*fn)(void), unsigned cpu)
{
	uint64_t id;

	if (sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)fn,
		(uint64_t)(uintptr_t)(stacks[cpu] + sizeof(stacks[cpu])), 0, 0,
		PRIORITY_INIT | cpu << 8, &id) != OK)
		die("no thread");
}

/* Two CPUs: each of the two spins on its own. */
NORETURN void
revokes(void)
{
	set_round(SEEN);
	start(mapper, 1);
	start(revoker, 0);
	for (;;)
		sleep_until(DEADLINE_NEVER);
}
