/*
 * Line editing on a serial terminal: insert, backspace, arrows, home, end, Ctrl-A E U K W, history.
 */
#include "usr/shell/shell.h"

enum { HISTORY = 16, LINE = 256, CTRL_C = 3 };

static char history[HISTORY][LINE];
static unsigned used, next;
static handle_t ntfn;
static char pending[64];
static size_t have, at;
static bool break_seen;

void
line_start(void)
{
	uint64_t h;

	if (sys_ntfn_create(&h) == OK) {
		ntfn = (handle_t)h;
		(void)sys_watch(kernel, ntfn, 1);
	}
}

static bool
fill(void)
{
	uint64_t n = 0;

	if (at < have)
		return true;
	if (sys_console(kernel, 1, (uint64_t)(uintptr_t)pending, sizeof(pending), &n) != OK || n == 0)
		return false;
	have = n;
	at = 0;
	return true;
}

static int
key(void)
{
	uint64_t bits;

	print_flush();
	while (!fill())
		(void)sys_ntfn_wait(ntfn, DEADLINE_NEVER, &bits);
	return (unsigned char)pending[at++];
}

bool
interrupted(void)
{
	bool was;

	while (fill())
		if (pending[at++] == CTRL_C)
			break_seen = true;
	was = break_seen;
	break_seen = false;
	return was;
}

static void
redraw(const char *prompt, const char *line, size_t len, size_t cursor)
{
	print("\r%s%.*s\x1b[K", prompt, (int)len, line);
	if (cursor < len)
		print("\x1b[%uD", (unsigned)(len - cursor));
}

int
line_read(char *to, size_t size, const char *prompt)
{
	size_t len = 0, cursor = 0;
	unsigned back = 0;

	print("%s", prompt);
	for (;;) {
		int c = key();

		if (c == '\r' || c == '\n')
			break;
		if (c == 4 && len == 0)
			return -1;
		if (c == CTRL_C) {
			len = 0;
			break;
		}
		if (c == 0x1b && key() == '[') {
			c = key();
			if (c == 'A' && back < used)
				back++;
			else if (c == 'B' && back > 0)
				back--;
			else if (c == 'C' && cursor < len)
				cursor++;
			else if (c == 'D' && cursor > 0)
				cursor--;
			else if (c == 'H')
				cursor = 0;
			else if (c == 'F')
				cursor = len;
			if (c == 'A' || c == 'B') {
				len = back == 0 ? 0 : str_copy(to, history[(next + HISTORY - back) % HISTORY], size);
				cursor = len;
			}
		} else if (c == 1) {
			cursor = 0;
		} else if (c == 5) {
			cursor = len;
		} else if (c == 11) {
			len = cursor;
		} else if (c == 21) {
			memmove(to, to + cursor, len - cursor);
			len -= cursor;
			cursor = 0;
		} else if (c == 23) {
			size_t from = cursor;

			while (from > 0 && to[from - 1] == ' ')
				from--;
			while (from > 0 && to[from - 1] != ' ')
				from--;
			memmove(to + from, to + cursor, len - cursor);
			len -= cursor - from;
			cursor = from;
		} else if ((c == 8 || c == 127) && cursor > 0) {
			memmove(to + cursor - 1, to + cursor, len - cursor);
			cursor--;
			len--;
		} else if (c >= ' ' && c < 127 && len + 1 < size) {
			memmove(to + cursor + 1, to + cursor, len - cursor);
			to[cursor++] = (char)c;
			len++;
		}
		redraw(prompt, to, len, cursor);
	}
	print("\n");
	to[len] = 0;
	if (len != 0 && (used == 0 || strcmp(history[(next + HISTORY - 1) % HISTORY], to) != 0)) {
		str_copy(history[next], to, LINE);
		next = (next + 1) % HISTORY;
		used += used < HISTORY;
	}
	return (int)len;
}
