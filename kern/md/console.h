/*
 * The serial console, polled for output, by interrupt for input.
 *
 * console_early() makes output work before anything else does (a fixed guess of the
 * architecture, or none); console_init() switches to the port that the machine names.
 * console_put() takes no lock and may be used by panic.
 */
#pragma once

#include "kern/base/types.h"

struct machine;

void console_early(void);
void console_init(const struct machine *m);

/*
 * For a message that says why there will be no console_init(): makes output work now, by what m
 * (may be NULL: nothing is known) says, or by a guess that can be checked.  Nothing when output
 * works already.
 */
void console_last_words(const struct machine *m);

/* Writes bytes, "\n" as "\r\n"; waits for room in the transmitter, at most about 10 ms a byte. */
void console_put(const char *text, size_t len);

/* Next received byte, or -1. */
int console_get(void);

/* Turns the receive interrupt on; it calls console_input() of kern/console.c with interrupts off.
 */
void console_enable_input(void);

/* "pl011 at 0x9000000": for the log. */
const char *console_name(void);
