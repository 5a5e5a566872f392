/*
 * The line editor: edit.h.
 *
 * What is on the screen is always the prompt and a window of the line; most keys draw both anew,
 * from the start of the row.  Only a character at the end of a line that fits is just printed.
 */
#include "usr/shell/edit.h"
#include "kern/base/fmt.h"
#include "kern/base/str.h"

enum {
	CTRL_A = 1,
	CTRL_B,
	CTRL_C,
	CTRL_D,
	CTRL_E,
	CTRL_F,
	BELL = 7,
	BACKSPACE,
	TAB,
	NEWLINE,
	CTRL_K,
	CTRL_L,
	RETURN,
	CTRL_N,
	CTRL_P = 16,
	CTRL_U = 21,
	CTRL_W = 23,
	ESCAPE = 27,
	DELETE = 127
};
enum escape : uint8_t { NOT_ESCAPED, AFTER_ESCAPE, AFTER_BRACKET, AFTER_O };

static void
put(const struct edit *e, const char *text)
{
	e->put(e->arg, text, strlen(text));
}

static void
bell(const struct edit *e)
{
	put(e, "\a");
}

/* Columns for the line: the last one stays free, so that nothing wraps. */
static size_t
room(const struct edit *e)
{
	return EDIT_WIDTH - 1 - strlen(e->prompt);
}

static void
draw(struct edit *e)
{
	size_t width = room(e), shown;
	char back[16];

	if (e->cursor < e->from)
		e->from = e->cursor;
	if (e->cursor > e->from + width)
		e->from = e->cursor - width;
	if (e->from != 0 && e->len - e->from < width)
		e->from = e->len > width ? e->len - width : 0;
	shown = e->len - e->from < width ? e->len - e->from : width;
	put(e, "\r");
	put(e, e->prompt);
	e->put(e->arg, e->line + e->from, shown);
	put(e, "\x1b[K");
	if (e->from + shown > e->cursor) {
		fmt_buf(back, sizeof(back), "\x1b[%uD", (unsigned)(e->from + shown - e->cursor));
		put(e, back);
	}
}

void
edit_start(struct edit *e, const char *prompt)
{
	e->prompt = prompt;
	e->len = e->cursor = e->from = 0;
	e->line[0] = 0;
	e->escape = NOT_ESCAPED;
	e->back = 0;
	put(e, prompt);
}

static void
insert(struct edit *e, char c)
{
	if (e->len + 1 == EDIT_LINE) {
		bell(e);
		return;
	}
	memmove(e->line + e->cursor + 1, e->line + e->cursor, e->len - e->cursor + 1);
	e->line[e->cursor++] = c;
	e->len++;
	if (e->cursor == e->len && e->from == 0 && e->len <= room(e))
		e->put(e->arg, &c, 1);
	else
		draw(e);
}

/* Takes out the characters from a up to b. */
static void
cut(struct edit *e, size_t a, size_t b)
{
	if (a == b)
		return;
	memmove(e->line + a, e->line + b, e->len - b + 1);
	e->len -= b - a;
	e->cursor = a;
	draw(e);
}

static void
move(struct edit *e, size_t to)
{
	if (to == e->cursor)
		return;
	e->cursor = to;
	draw(e);
}

static size_t
word_start(const struct edit *e)
{
	size_t at = e->cursor;

	while (at > 0 && e->line[at - 1] == ' ')
		at--;
	while (at > 0 && e->line[at - 1] != ' ')
		at--;
	return at;
}

/* Goes to the line that many steps up. */
static void
recall(struct edit *e, unsigned back)
{
	if (e->back == 0)
		memcpy(e->typed, e->line, e->len + 1);
	e->back = back;
	e->len = str_copy(e->line,
	    back == 0 ? e->typed : e->history[(e->next + EDIT_HISTORY - back) % EDIT_HISTORY],
	    EDIT_LINE);
	e->cursor = e->len;
	draw(e);
}

static void
up(struct edit *e)
{
	if (e->back < e->used)
		recall(e, e->back + 1);
	else
		bell(e);
}

static void
down(struct edit *e)
{
	if (e->back > 0)
		recall(e, e->back - 1);
	else
		bell(e);
}

static void
remember(struct edit *e)
{
	if (e->len == 0 ||
	    (e->used != 0 &&
		strcmp(e->history[(e->next + EDIT_HISTORY - 1) % EDIT_HISTORY], e->line) == 0))
		return;
	memcpy(e->history[e->next], e->line, e->len + 1);
	e->next = (e->next + 1) % EDIT_HISTORY;
	if (e->used < EDIT_HISTORY)
		e->used++;
}

/* The first word: as far as all candidates agree; a second time, with nothing to add, they are
 * listed. */
static void
complete(struct edit *e)
{
	const char *first, *w;
	size_t common, len = e->cursor;
	unsigned n = 0;

	if (e->complete == NULL || word_start(e) != 0 ||
	    (first = e->complete(e->arg, e->line, len, 0)) == NULL) {
		bell(e);
		return;
	}
	common = strlen(first);
	while ((w = e->complete(e->arg, e->line, len, ++n)) != NULL) {
		size_t same = 0;

		while (same < common && w[same] == first[same])
			same++;
		common = same;
	}
	if (n > 1 && common == len) {
		put(e, "\n");
		for (n = 0; (w = e->complete(e->arg, e->line, len, n)) != NULL; n++) {
			put(e, n == 0 ? "" : " ");
			put(e, w);
		}
		put(e, "\n");
		draw(e);
		return;
	}
	for (; len < common; len++)
		insert(e, first[len]);
	if (n == 1 && (e->cursor == e->len || e->line[e->cursor] != ' '))
		insert(e, ' ');
}

/* The last byte of an escape sequence. */
static void
escaped(struct edit *e, uint8_t c)
{
	switch (c) {
	case 'A': up(e); break;
	case 'B': down(e); break;
	case 'C': move(e, e->cursor < e->len ? e->cursor + 1 : e->cursor); break;
	case 'D': move(e, e->cursor > 0 ? e->cursor - 1 : 0); break;
	case 'H': move(e, 0); break;
	case 'F': move(e, e->len); break;
	case '~':
		if (e->number == 1 || e->number == 7)
			move(e, 0);
		else if (e->number == 4 || e->number == 8)
			move(e, e->len);
		else if (e->number == 3 && e->cursor < e->len)
			cut(e, e->cursor, e->cursor + 1);
		break;
	}
}

/* A byte within an escape sequence; false when it is none of it. */
static bool
in_escape(struct edit *e, uint8_t c)
{
	if (c < ' ' || c >= DELETE) {
		/* Control characters work as ever; they end what is here a sequence. */
		e->escape = NOT_ESCAPED;
		return false;
	}
	switch (e->escape) {
	case AFTER_ESCAPE:
		e->number = 0;
		e->escape = c == '[' ? AFTER_BRACKET : c == 'O' ? AFTER_O : NOT_ESCAPED;
		break;
	case AFTER_BRACKET:
		if (c >= '0' && c <= '9' && e->number < 1000)
			e->number = (uint16_t)(e->number * 10 + (c - '0'));
		if (c < '@')
			break;
		e->escape = NOT_ESCAPED;
		escaped(e, c);
		break;
	case AFTER_O:
		e->escape = NOT_ESCAPED;
		escaped(e, c);
		break;
	}
	return true;
}

enum edit_event
edit_key(struct edit *e, uint8_t c)
{
	bool after_return = e->after_return;

	e->after_return = c == RETURN;
	if (e->escape != NOT_ESCAPED && in_escape(e, c))
		return EDIT_MORE;
	switch (c) {
	case NEWLINE:
		if (after_return)
			break;
		__attribute__((fallthrough));
	case RETURN:
		put(e, "\n");
		remember(e);
		return EDIT_DONE;
	case CTRL_C:
		put(e, "^C\n");
		e->len = e->cursor = 0;
		e->line[0] = 0;
		return EDIT_CANCELLED;
	case CTRL_D:
		if (e->len == 0) {
			put(e, "\n");
			return EDIT_END;
		}
		if (e->cursor < e->len)
			cut(e, e->cursor, e->cursor + 1);
		break;
	case BACKSPACE:
	case DELETE:
		if (e->cursor > 0)
			cut(e, e->cursor - 1, e->cursor);
		break;
	case CTRL_A: move(e, 0); break;
	case CTRL_B: move(e, e->cursor > 0 ? e->cursor - 1 : 0); break;
	case CTRL_E: move(e, e->len); break;
	case CTRL_F: move(e, e->cursor < e->len ? e->cursor + 1 : e->cursor); break;
	case CTRL_K: cut(e, e->cursor, e->len); break;
	case CTRL_U: cut(e, 0, e->cursor); break;
	case CTRL_W: cut(e, word_start(e), e->cursor); break;
	case CTRL_L: draw(e); break;
	case CTRL_N: down(e); break;
	case CTRL_P: up(e); break;
	case TAB: complete(e); break;
	case ESCAPE: e->escape = AFTER_ESCAPE; break;
	default:
		if (c >= ' ' && c < DELETE)
			insert(e, (char)c);
	}
	return EDIT_MORE;
}
