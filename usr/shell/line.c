/*
 * The console as the shell's terminal: bytes for the line editor (edit.c), and Ctrl-C while a
 * command runs.
 *
 * What is typed while a command runs is kept for the next line; a Ctrl-C among it stops the
 * command, and takes what was typed before it along.
 */
#include "usr/shell/edit.h"
#include "usr/shell/shell.h"

enum { AHEAD = 8192, CTRL_C = 3 };

static struct edit editor;
static handle_t ntfn;
static char ahead[AHEAD]; /* typed and not used yet: from "first" on, "count" bytes, in a ring */
static size_t first, count;
static bool stop, stopped_line;

static void
put(void *arg UNUSED, const char *text, size_t len)
{
	print_flush();
	print_raw(text, len);
}

void
line_start(void)
{
	uint64_t h;

	editor.put = put;
	editor.complete = command_name;
	if (sys_ntfn_create(&h) == OK) {
		ntfn = (handle_t)h;
		(void)sys_watch(kernel, ntfn, 1);
	}
}

/* Takes what the console has and there is room for, or all, to find a Ctrl-C in it: other bytes are
 * then dropped. */
static void
fill(bool all)
{
	char text[64];
	uint64_t n = 0;

	while ((all || AHEAD - count >= sizeof(text)) &&
	    sys_console(kernel, 1, (uint64_t)(uintptr_t)text, sizeof(text), &n) == OK && n != 0) {
		for (uint64_t i = 0; i < n; i++) {
			if (text[i] == CTRL_C) {
				stop = true;
				first = count = 0;
			}
			if (count < AHEAD)
				ahead[(first + count++) % AHEAD] = text[i];
		}
	}
}

static uint8_t
key(void)
{
	uint64_t bits;
	char c;

	print_flush();
	while (count == 0) {
		fill(false);
		if (count == 0)
			(void)sys_ntfn_wait(ntfn, DEADLINE_NEVER, &bits);
	}
	c = ahead[first];
	first = (first + 1) % AHEAD;
	count--;
	return (uint8_t)c;
}

bool
interrupted(void)
{
	fill(true);
	if (!stop)
		return false;
	/* The Ctrl-C itself is the first of what was kept. */
	first = (first + 1) % AHEAD;
	count--;
	stop = false;
	stopped_line = true;
	return true;
}

bool
was_interrupted(void)
{
	return stopped_line;
}

int
stopped(void)
{
	print("stopped\n");
	return 1;
}

bool
pause_until(uint64_t ns)
{
	uint64_t bits;

	while (!interrupted())
		if (now_ns() >= ns)
			return true;
		else
			(void)sys_ntfn_wait(ntfn, ns, &bits);
	return false;
}

const char *
line_read(const char *prompt)
{
	enum edit_event v;

	stop = stopped_line = false;
	print_flush();
	edit_start(&editor, prompt);
	do
		v = edit_key(&editor, key());
	while (v == EDIT_MORE);
	stop = false;
	return v == EDIT_DONE ? editor.line : v == EDIT_END ? NULL : "";
}
