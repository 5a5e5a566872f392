/*
 * A race: a thread changes one word as fast as it can, between a value that is right and two that
 * are not, while another has the kernel judge what the word is a part of.
 *
 * Every other round begins with what the thread left there.  It goes on until both ways of being
 * judged have occurred a thousand times, and the thread has run.
 */
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "usr/rogue/rogue.h"

enum { EACH = 3000, STACK_BYTES = 8192, THREAD_PRIORITY = 4 };
enum : uint64_t { RACE_NS = 100 * NS_PER_S };

static uint8_t stack[STACK_BYTES] ALIGNED(16);
static struct race *running;

static NORETURN void
change(void)
{
	struct race *r = running;

	while (load_acquire(&r->stop) == 0)
		for (unsigned n = 0; n < 2; n++) {
			once_store(r->word, r->right);
			once_store(r->word, r->wrong[n]);
			store_relaxed(&r->changes, r->changes + 1);
		}
	store_release(&r->stopped, 1);
	sys_thread_exit();
	for (;;)
		continue;
}

void
race(struct race *r, enum status (*round)(uint32_t n, bool *astray))
{
	uint64_t until = now_ns() + RACE_NS, thread;

	running = r;
	if (sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)change,
		(uint64_t)(uintptr_t)(stack + STACK_BYTES) - STACK_ENTRY, 0, 0,
		THREAD_PRIORITY | CPU_ANY << 8, &thread) != OK)
		die("no thread");
	for (; (r->good < EACH || r->refused < EACH || load_relaxed(&r->changes) < EACH) &&
	    now_ns() < until;
	    r->rounds++) {
		bool astray = false;
		enum status s;

		if (r->rounds % 2 == 0)
			once_store(r->word, r->right);
		s = round(r->rounds, &astray);
		if (s != OK && s != E_REFUSED)
			die("round %u of the race: %s", r->rounds, status_text(s));
		r->good += s == OK;
		r->refused += s == E_REFUSED;
		r->astray += s == OK && astray;
	}
	store_release(&r->stop, 1);
	while (load_acquire(&r->stopped) == 0)
		sleep_until(now_ns() + NS_PER_MS);
}

void
race_say(const struct race *r, const char *what, uint64_t bytes, uint64_t faults)
{
	log_line(2,
	    "%s changed after the doorbell: %u rounds, %u changes, %u accepted, %u refused, %u astray, %llu bytes changed, %llu faults",
	    what, r->rounds, r->changes, r->good, r->refused, r->astray, (unsigned long long)bytes,
	    (unsigned long long)(max_u64(own_faults(), faults) - faults));
}
