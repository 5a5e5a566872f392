/*
 * usr/shell/edit.c: what is typed, what the line is, and what the screen shows: a terminal that is
 * a row of characters.
 *
 * LINK: usr/shell/edit.c kern/base/fmt.c kern/base/str.c
 */
#include <atf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "usr/shell/edit.h"

static struct edit e;
static char row[EDIT_WIDTH + 1];	/* the terminal's last row */
static size_t column;
static unsigned bells, rows;

/* A small terminal: carriage return, newline, bell, ESC [K, ESC [nD; anything else it does not
 * know. */
static void
screen(void *arg, const char *text, size_t len)
{
	ATF_REQUIRE(arg == &e);
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\r') {
			column = 0;
		} else if (text[i] == '\n') {
			memset(row, ' ', EDIT_WIDTH);
			column = 0;
			rows++;
		} else if (text[i] == '\a') {
			bells++;
		} else if (text[i] == '\x1b') {
			unsigned n = 0;

			ATF_REQUIRE(text[++i] == '[');
			for (i++; text[i] >= '0' && text[i] <= '9'; i++)
				n = n * 10 + (unsigned)(text[i] - '0');
			if (text[i] == 'K') {
				memset(row + column, ' ', EDIT_WIDTH - column);
			} else {
				ATF_REQUIRE(text[i] == 'D' && n != 0 && n <= column);
				column -= n;
			}
		} else {
			ATF_REQUIRE(text[i] >= ' ' && text[i] <= '~');
			ATF_REQUIRE_MSG(column < EDIT_WIDTH - 1, "a character in the last column");
			row[column++] = text[i];
		}
	}
}

/* What is on the row, without blanks at its end. */
static const char *
shown(void)
{
	static char text[EDIT_WIDTH + 1];
	size_t n = EDIT_WIDTH;

	memcpy(text, row, sizeof(text));
	while (n > 0 && text[n - 1] == ' ')
		n--;
	text[n] = 0;
	return text;
}

static const char *
words(void *arg, const char *prefix, size_t len, unsigned n)
{
	static const char *const word[] = { "help", "hexdump", "poweroff" };

	ATF_REQUIRE(arg == &e);
	for (unsigned i = 0; i < ARRAY_SIZE(word); i++)
		if (strncmp(word[i], prefix, len) == 0 && n-- == 0)
			return word[i];
	return NULL;
}

static void
begin(void)
{
	memset(&e, 0, sizeof(e));
	e.put = screen;
	e.complete = words;
	e.arg = &e;
	memset(row, ' ', EDIT_WIDTH);
	column = bells = rows = 0;
	edit_start(&e, "> ");
}

/* Types bytes; the last one's event. */
static enum edit_event
keys(const char *text, size_t len)
{
	enum edit_event v = EDIT_MORE;

	for (size_t i = 0; i < len; i++) {
		ATF_REQUIRE_EQ(v, EDIT_MORE);
		v = edit_key(&e, (uint8_t)text[i]);
		ATF_REQUIRE(e.cursor <= e.len && e.len < EDIT_LINE && e.line[e.len] == 0 &&
		    strlen(e.line) == e.len);
		ATF_REQUIRE_MSG(column == strlen(e.prompt) + e.cursor - e.from || v != EDIT_MORE,
		    "column %zu, cursor %zu of %zu, window from %zu", column, e.cursor, e.len,
		    e.from);
	}
	return v;
}
#define KEYS(text)	keys(text, sizeof(text) - 1)

/* A line, entered. */
static void
enter(const char *text)
{
	(void)keys(text, strlen(text));
	ATF_REQUIRE_EQ(KEYS("\r"), EDIT_DONE);
	edit_start(&e, "> ");
}

#define LINE(name, typed, want, row_want)			\
ATF_TC_WITHOUT_HEAD(name);					\
ATF_TC_BODY(name, tc)						\
{								\
	begin();						\
	ATF_CHECK_EQ(KEYS(typed), EDIT_MORE);			\
	ATF_CHECK_STREQ(e.line, want);				\
	ATF_CHECK_STREQ(shown(), row_want);			\
}

LINE(characters_are_inserted, "abc", "abc", "> abc")
LINE(left_and_insert, "ac\x1b[Db", "abc", "> abc")
LINE(application_mode_arrows, "ac\x1bODb\x1bOCd", "abcd", "> abcd")
LINE(backspace_takes_the_one_before, "abc\x7f\b", "a", "> a")
LINE(backspace_at_the_start_does_nothing, "ab\x01\x7f\x7f", "ab", "> ab")
LINE(delete_takes_the_one_under, "abc\x01\x1b[3~", "bc", "> bc")
LINE(delete_at_the_end_does_nothing, "abc\x1b[3~\x04", "abc", "> abc")
LINE(home_and_end, "bc\x1b[Ha\x1b[Fd\x1b[1~_\x1b[4~_\x1b[7~.\x1b[8~.", "._abcd_.", "> ._abcd_.")
LINE(control_letters_move, "bd\x01" "a\x06" "c\x05" "e\x02_", "abcd_e", "> abcd_e")
LINE(control_k_cuts_the_rest, "abcd\x02\x02\x0b", "ab", "> ab")
LINE(control_u_cuts_the_start, "abcd\x02\x15", "d", "> d")
LINE(control_w_cuts_a_word, "one two  \x17", "one ", "> one")
LINE(an_unknown_sequence_is_swallowed_whole, "a\x1b[38;5;1mb\x1b[99~c\x1bxd", "abcd", "> abcd")
LINE(a_modified_arrow_is_an_arrow, "ac\x1b[1;5Db", "abc", "> abc")
LINE(bytes_that_mean_nothing_are_swallowed, "a\x00\x80\xff\x1c\x9b" "b", "ab", "> ab")
LINE(a_word_is_completed, "po\t", "poweroff ", "> poweroff")
LINE(as_far_as_candidates_agree, "h\t", "he", "> he")
LINE(nothing_completes_a_second_word, "help h\t", "help h", "> help h")

ATF_TC_WITHOUT_HEAD(a_second_tab_lists_candidates);
ATF_TC_BODY(a_second_tab_lists_candidates, tc)
{
	begin();
	(void)KEYS("he\t");
	ATF_CHECK_EQ(rows, 2);
	ATF_CHECK_STREQ(e.line, "he");
	ATF_CHECK_STREQ(shown(), "> he");
	(void)KEYS("x\t");
	ATF_CHECK_STREQ(shown(), "> hexdump");
	(void)KEYS("\x15zz\t");
	ATF_CHECK_EQ(bells, 1);
}

ATF_TC_WITHOUT_HEAD(the_history_goes_up_and_down);
ATF_TC_BODY(the_history_goes_up_and_down, tc)
{
	begin();
	(void)KEYS("\x1b[A");
	ATF_CHECK_EQ(bells, 1);
	enter("first");
	enter("second");
	enter("second");	/* once is enough */
	enter("");
	(void)KEYS("dra");
	(void)KEYS("\x1b[A");
	ATF_CHECK_STREQ(e.line, "second");
	(void)KEYS("\x10");
	ATF_CHECK_STREQ(shown(), "> first");
	(void)KEYS("\x1b[A");
	ATF_CHECK_STREQ(e.line, "first");
	ATF_CHECK_EQ(bells, 2);
	(void)KEYS("!\x1b[B");
	ATF_CHECK_STREQ(e.line, "second");
	(void)KEYS("\x0e");
	ATF_CHECK_STREQ(shown(), "> dra");
	(void)KEYS("\x0e");
	ATF_CHECK_EQ(bells, 3);
	(void)KEYS("\x1b[A!");
	enter("");
	(void)KEYS("\x1b[A");
	ATF_CHECK_STREQ(e.line, "second!");
}

ATF_TC_WITHOUT_HEAD(the_history_keeps_the_last_lines);
ATF_TC_BODY(the_history_keeps_the_last_lines, tc)
{
	char text[16];

	begin();
	for (unsigned i = 0; i < EDIT_HISTORY + 5; i++) {
		snprintf(text, sizeof(text), "line %u", i);
		enter(text);
	}
	for (unsigned i = 0; i < EDIT_HISTORY + 5; i++)
		(void)KEYS("\x1b[A");
	ATF_CHECK_STREQ(e.line, "line 5");
	ATF_CHECK_EQ(bells, 5);
}

ATF_TC_WITHOUT_HEAD(enter_takes_any_end_of_line_once);
ATF_TC_BODY(enter_takes_any_end_of_line_once, tc)
{
	begin();
	ATF_CHECK_EQ(KEYS("a\n"), EDIT_DONE);
	edit_start(&e, "> ");
	ATF_CHECK_EQ(KEYS("b\r"), EDIT_DONE);
	edit_start(&e, "> ");
	ATF_CHECK_EQ(KEYS("\n"), EDIT_MORE);
	ATF_CHECK_EQ(KEYS("\n"), EDIT_DONE);
}

ATF_TC_WITHOUT_HEAD(control_characters_work_inside_a_sequence);
ATF_TC_BODY(control_characters_work_inside_a_sequence, tc)
{
	begin();
	ATF_CHECK_EQ(KEYS("ab\x1b\r"), EDIT_DONE);
	ATF_CHECK_STREQ(e.line, "ab");
	edit_start(&e, "> ");
	ATF_CHECK_EQ(KEYS("cd\x1b[12\x03"), EDIT_CANCELLED);
	ATF_CHECK_STREQ(e.line, "");
	edit_start(&e, "> ");
	ATF_CHECK_EQ(KEYS("\x04"), EDIT_END);
}

ATF_TC_WITHOUT_HEAD(a_long_line_is_shown_through_a_window);
ATF_TC_BODY(a_long_line_is_shown_through_a_window, tc)
{
	begin();
	for (unsigned i = 0; i < 300; i++)
		(void)keys(&"0123456789"[i % 10], 1);
	ATF_CHECK_EQ(e.len, 300);
	ATF_CHECK_EQ(strlen(shown()), EDIT_WIDTH - 1);
	ATF_CHECK_EQ(shown()[EDIT_WIDTH - 2], '9');
	(void)KEYS("\x01");
	ATF_CHECK_EQ(strncmp(shown(), "> 0123456789", 12), 0);
	ATF_CHECK_EQ(column, 2);
	for (unsigned i = 0; i < 300; i++)
		(void)KEYS("\x06");
	ATF_CHECK_EQ(e.cursor, 300);
	(void)KEYS("\x15");
	ATF_CHECK_STREQ(shown(), ">");
}

ATF_TC_WITHOUT_HEAD(a_line_that_is_too_long_rings_and_stays);
ATF_TC_BODY(a_line_that_is_too_long_rings_and_stays, tc)
{
	begin();
	for (unsigned i = 0; i < EDIT_LINE + 100; i++)
		(void)KEYS("x");
	ATF_CHECK_EQ(e.len, EDIT_LINE - 1);
	ATF_CHECK_EQ(bells, 101);
	enter("");
	(void)KEYS("\x1b[A");
	ATF_CHECK_EQ(e.len, EDIT_LINE - 1);
}

/* Any bytes: the screen shows the line, and no index leaves its array. */
ATF_TC_WITHOUT_HEAD(noise_is_survived);
ATF_TC_BODY(noise_is_survived, tc)
{
	uint64_t x = 88172645463325252;

	begin();
	for (unsigned i = 0; i < 300000; i++) {
		static const char often[] = "\x1b[ABCDHF3~\x01\x05\x0b\x15\x17\x7f\r\t x";
		char c;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		c = x % 3 == 0 ? often[(x >> 8) % (sizeof(often) - 1)] : (char)(x >> 16);
		if (keys(&c, 1) != EDIT_MORE)
			edit_start(&e, "> ");
		ATF_REQUIRE(strncmp(row, "> ", 2) == 0);
		ATF_REQUIRE(strncmp(row + 2, e.line + e.from,
				e.len - e.from < 77 ? e.len - e.from : 77) == 0);
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, characters_are_inserted);
	ATF_TP_ADD_TC(tp, left_and_insert);
	ATF_TP_ADD_TC(tp, application_mode_arrows);
	ATF_TP_ADD_TC(tp, backspace_takes_the_one_before);
	ATF_TP_ADD_TC(tp, backspace_at_the_start_does_nothing);
	ATF_TP_ADD_TC(tp, delete_takes_the_one_under);
	ATF_TP_ADD_TC(tp, delete_at_the_end_does_nothing);
	ATF_TP_ADD_TC(tp, home_and_end);
	ATF_TP_ADD_TC(tp, control_letters_move);
	ATF_TP_ADD_TC(tp, control_k_cuts_the_rest);
	ATF_TP_ADD_TC(tp, control_u_cuts_the_start);
	ATF_TP_ADD_TC(tp, control_w_cuts_a_word);
	ATF_TP_ADD_TC(tp, an_unknown_sequence_is_swallowed_whole);
	ATF_TP_ADD_TC(tp, a_modified_arrow_is_an_arrow);
	ATF_TP_ADD_TC(tp, bytes_that_mean_nothing_are_swallowed);
	ATF_TP_ADD_TC(tp, a_word_is_completed);
	ATF_TP_ADD_TC(tp, as_far_as_candidates_agree);
	ATF_TP_ADD_TC(tp, nothing_completes_a_second_word);
	ATF_TP_ADD_TC(tp, a_second_tab_lists_candidates);
	ATF_TP_ADD_TC(tp, the_history_goes_up_and_down);
	ATF_TP_ADD_TC(tp, the_history_keeps_the_last_lines);
	ATF_TP_ADD_TC(tp, enter_takes_any_end_of_line_once);
	ATF_TP_ADD_TC(tp, control_characters_work_inside_a_sequence);
	ATF_TP_ADD_TC(tp, a_long_line_is_shown_through_a_window);
	ATF_TP_ADD_TC(tp, a_line_that_is_too_long_rings_and_stays);
	ATF_TP_ADD_TC(tp, noise_is_survived);
	return atf_no_error();
}
