/*
 * A line editor for a terminal of 80 columns: a pure machine that is fed bytes and says what to
 * print.
 *
 * Keys: printable characters insert; Backspace, Delete; left, right, Home, End and Ctrl-B F A E
 * move; Ctrl-U K W delete to the start, to the end, the word before; up, down and Ctrl-P N go
 * through the history; Tab completes; Ctrl-L draws anew; Ctrl-C gives the line up; Ctrl-D at an
 * empty line ends.  Bytes that mean nothing are swallowed, escape sequences that are not known as a
 * whole.  A line longer than the terminal is wide is shown through a window around the cursor.
 */
#pragma once

#include "kern/base/types.h"

enum { EDIT_LINE = 512, EDIT_HISTORY = 32, EDIT_WIDTH = 80 };

enum edit_event : uint8_t {
	EDIT_MORE,		/* nothing yet */
	EDIT_DONE,		/* Enter: the line is in edit.line */
	EDIT_CANCELLED,		/* Ctrl-C */
	EDIT_END,		/* Ctrl-D at an empty line */
};

/* Prints; the text is not 0-terminated. */
typedef void edit_put(void *arg, const char *text, size_t len);
/* The n-th word that begins with the first len bytes of prefix; NULL past the last. */
typedef const char *edit_complete(void *arg, const char *prefix, size_t len, unsigned n);

struct edit {
	edit_put *put;			/* (c) */
	edit_complete *complete;	/* (c) of the first word; may be NULL */
	void *arg;			/* (c) for both */
	const char *prompt;
	char line[EDIT_LINE];		/* 0-terminated */
	size_t len, cursor;
	size_t from;			/* first character shown */
	uint8_t escape;			/* where in an escape sequence */
	uint16_t number;		/* its first number */
	bool after_return;		/* a newline now belongs to it */
	char history[EDIT_HISTORY][EDIT_LINE];	/* a ring; next is the oldest or empty */
	unsigned used, next;
	unsigned back; /* how far up; 0: the line being typed, kept in "typed" meanwhile */
	char typed[EDIT_LINE];
};

/* A new line: prints the prompt. */
void edit_start(struct edit *e, const char *prompt);

/* One byte from the terminal.  After anything but EDIT_MORE edit_start comes next. */
NODISCARD enum edit_event edit_key(struct edit *e, uint8_t c);
