/*
 * The console as processes see it: text out, bytes in, a watch on input.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"

struct notification;

void console_start(void);

/* From the receive interrupt: takes the port's bytes into the queue, signals the watcher. */
void console_input(void);

/* A line of the log: begins on a line of its own.  Any context. */
void console_line(const char *text, size_t len);

size_t console_read(char *to, size_t size);
void console_write(const char *text, size_t len);
void console_watch(struct notification *n, uint64_t bits); /* takes over a reference; NULL stops */
