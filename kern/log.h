/*
 * The kernel log: lines with a level and a time stamp in a ring, which a process with
 * the right handle can read, and which go to the console as they are written when
 * their level is at or above the console's.
 *
 * D3: no line contains a physical address of memory.  Register bases of devices
 * (ECAM, IOMMU units) are not memory and may be printed.
 *
 * Any context but an interrupted log_write itself; takes RANK_LOG.
 */
#pragma once

#include "kern/base/types.h"

enum log_level : uint8_t { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

enum { LOG_LINE_MAX = 240 };

/* One line, without newline; longer lines are cut and end in "...". */
void log_write(enum log_level level, const char *format, ...) PRINTF(2, 3);

#define log_error(...)	log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)	log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...)	log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...)	log_write(LOG_DEBUG, __VA_ARGS__)

/* Lines of this level and more urgent ones also go to the console at once. */
void log_set_console_level(enum log_level level);

/*
 * Copies lines from *cursor on (a byte position since boot; 0 = oldest kept) into the
 * buffer, whole lines only, each ended by a newline; moves *cursor past them and returns
 * the bytes copied.  *lost is set when lines before the cursor had been overwritten.
 */
size_t log_read(uint64_t *cursor, char *buffer, size_t size, bool *lost);
