/* Threads that take turns: fiber.h. */
#include "tests/lib/fiber.h"

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <stdlib.h>
#include <ucontext.h>

enum { STACK = 256 * 1024 };

struct fiber {
	ucontext_t here;
	void *fake;			/* the sanitizer's, of one that does not run */
	void (*fn)(void *);
	void *arg;
	bool ended;
	uint8_t stack[STACK] ALIGNED(64);
};

static ucontext_t test;
static const void *test_stack;
static size_t test_bytes;
static struct fiber *now;

struct fiber *fiber_self(void) { return now; }

static void
begin(void)
{
	__sanitizer_finish_switch_fiber(NULL, &test_stack, &test_bytes);
	now->fn(now->arg);
	fiber_end();
}

void
fiber_start(struct fiber **f, void (*fn)(void *), void *arg)
{
	if (*f == NULL)
		*f = aligned_alloc(64, sizeof(**f));
	ASAN_UNPOISON_MEMORY_REGION((*f)->stack, STACK);
	(*f)->fake = NULL;
	(*f)->fn = fn;
	(*f)->arg = arg;
	(*f)->ended = false;
	if (getcontext(&(*f)->here) != 0)
		abort();
	(*f)->here.uc_stack.ss_sp = (*f)->stack;
	(*f)->here.uc_stack.ss_size = STACK;
	(*f)->here.uc_link = NULL;
	makecontext(&(*f)->here, begin, 0);
}

bool
fiber_run(struct fiber *f)
{
	void *fake;

	if (now != NULL || f->ended)
		abort();
	now = f;
	__sanitizer_start_switch_fiber(&fake, f->stack, STACK);
	if (swapcontext(&test, &f->here) != 0)
		abort();
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
	now = NULL;
	return !f->ended;
}

void
fiber_yield(void)
{
	struct fiber *f = now;

	__sanitizer_start_switch_fiber(&f->fake, test_stack, test_bytes);
	if (swapcontext(&f->here, &test) != 0)
		abort();
	__sanitizer_finish_switch_fiber(f->fake, &test_stack, &test_bytes);
}

void
fiber_end(void)
{
	now->ended = true;
	__sanitizer_start_switch_fiber(NULL, test_stack, test_bytes);
	(void)setcontext(&test);
	abort();
}
