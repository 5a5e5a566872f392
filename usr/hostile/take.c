/*
 * "hostile=take": of everything that there is only so much of in the machine, it takes until it is
 * refused, says how much that was and why it ended, and keeps it.  Every refusal must be its own
 * quota's, and others must still get what they need.
 */
#include "usr/hostile/take.h"
#include "kern/base/bits.h"

enum { TRIES = 100'000, STACK_BYTES = 512, STACKS = 64 };

static uint8_t stacks[STACKS][STACK_BYTES] ALIGNED(16);
static uint64_t page_handle, last;

static void
sleeper(void)
{
	for (;;)
		sleep_until(DEADLINE_NEVER);
}

static enum status
take_thread(unsigned n)
{
	uint64_t id;

	return sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)sleeper,
	    (uint64_t)(uintptr_t)stacks[n % STACKS] + STACK_BYTES - STACK_ENTRY, 0, 0,
	    1 | CPU_ANY << 8, &id);
}

static enum status
take_process(unsigned n UNUSED)
{
	static const struct process_limits limits = { .pages = 1 };

	return sys_process_create(
	    (uint64_t)(uintptr_t)"taken", 5, (uint64_t)(uintptr_t)&limits, &last);
}

static enum status
take_mapping(unsigned n UNUSED)
{
	return sys_mem_map(HANDLE_NONE, page_handle, 0, PAGE_SIZE, 0, 1, &last);
}
static enum status take_object(unsigned n UNUSED) { return sys_ntfn_create(&last); }
static enum status take_page(unsigned n UNUSED) { return sys_mem_create(1, 0, &last); }
static enum status
take_handle(unsigned n UNUSED)
{
	return sys_handle_dup(page_handle, RIGHT_READ, &last);
}

static void
take(const char *what, enum status (*one)(unsigned))
{
	unsigned n = 0;
	enum status s;

	while ((s = one(n)) == OK && n < TRIES)
		n++;
	log_line(2, "take: %u %s, then: %s", n, what, status_text(s));
}

/* What is big comes first: it also needs of what comes after it.  A mapping is an object; one is
 * given back for the next kind. */
void
take_all(void)
{
	if (sys_mem_create(1, 0, &page_handle) != OK)
		die("not even a page");
	take("threads", take_thread);
	take("processes", take_process);
	take("mappings", take_mapping);
	(void)sys_mem_unmap(HANDLE_NONE, last, PAGE_SIZE);
	take("objects", take_object);
	(void)sys_handle_close(last);
	take("pages", take_page);
	take("handles", take_handle);
	log_line(2, "take: that is all");
	sleeper();
	for (;;)
		;
}
