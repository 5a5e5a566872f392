/*
 * Console input queue and output lock.
 */
#include "kern/console.h"
#include "kern/ipc.h"
#include "kern/lock.h"
#include "kern/md/console.h"

enum { QUEUE = 4096 };

static struct spinlock lock = SPINLOCK_INIT(RANK_CONSOLE);	/* output */
static struct spinlock in_lock = SPINLOCK_INIT(RANK_CONSOLE);
static char queue[QUEUE];
static uint32_t head, tail;		/* (in_lock) */
static struct notification *watcher;	/* (in_lock) counted */
static uint64_t watch_bits;
static bool inside_line;		/* (lock) the last byte was not a newline */

void
console_start(void)
{
	console_enable_input();
}

void
console_input(void)
{
	struct notification *n = NULL;
	int c;

	spin_lock(&in_lock);
	while ((c = console_get()) >= 0) {
		if (head - tail < QUEUE)	/* a full queue drops: nobody reads */
			queue[head++ % QUEUE] = (char)c;
		n = watcher;
	}
	if (n != NULL)
		object_get(&n->obj);
	spin_unlock(&in_lock);
	if (n != NULL) {
		(void)notification_signal(n, watch_bits);
		object_put(&n->obj);
	}
}

size_t
console_read(char *to, size_t size)
{
	size_t n = 0;

	spin_lock(&in_lock);
	while (n < size && tail != head)
		to[n++] = queue[tail++ % QUEUE];
	spin_unlock(&in_lock);
	return n;
}

void
console_write(const char *text, size_t len)
{
	spin_lock(&lock);
	console_put(text, len);
	if (len != 0)
		inside_line = text[len - 1] != '\n';
	spin_unlock(&lock);
}

void
console_line(const char *text, size_t len)
{
	spin_lock(&lock);
	if (inside_line)
		console_put("\n", 1);
	inside_line = false;
	console_put(text, len);
	spin_unlock(&lock);
}

void
console_watch(struct notification *n, uint64_t bits)
{
	struct notification *old;

	spin_lock(&in_lock);
	old = watcher;
	watcher = n;
	watch_bits = bits;
	spin_unlock(&in_lock);
	if (old != NULL)
		object_put(&old->obj);
}
