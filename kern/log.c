/*
 * The kernel log: a ring of text, one writer at a time.
 *
 * head counts bytes since boot; the ring keeps the last LOG_BYTES of them.  Readers hold a position
 * in that count, so they know when they were overtaken.
 */
#include "kern/log.h"
#include "kern/base/fmt.h"
#include "kern/base/str.h"
#include "kern/lock.h"
#include "kern/md/clock.h"
#include "kern/console.h"

enum : uint64_t { LOG_BYTES = 64 * KIB };

static char ring[LOG_BYTES];
static uint64_t head;
static struct spinlock lock = SPINLOCK_INIT(RANK_LOG);
static enum log_level console_level = LOG_INFO;

void
log_set_console_level(enum log_level level)
{
	console_level = level;
}

void
log_write(enum log_level level, const char *format, ...)
{
	static const char letters[] = "EWID";
	char line[LOG_LINE_MAX + 4];
	uint64_t now = clock_now();
	size_t n, m;
	va_list ap;

	n = fmt_buf(line, sizeof(line), "%5llu.%06llu %c ", (unsigned long long)(now / NS_PER_S),
	    (unsigned long long)(now % NS_PER_S / NS_PER_US), letters[level]);
	va_start(ap, format);
	m = n + fmt_vbuf(line + n, LOG_LINE_MAX - n, format, ap);
	va_end(ap);
	if (m >= LOG_LINE_MAX) {
		memcpy(line + LOG_LINE_MAX - 4, "...", 3);
		m = LOG_LINE_MAX - 1;
	}
	line[m++] = '\n';
	spin_lock(&lock);
	for (size_t i = 0; i < m; i++)
		ring[(head + i) % LOG_BYTES] = line[i];
	head += m;
	if (level <= console_level)
		console_line(line, m);
	spin_unlock(&lock);
}

size_t
log_read(uint64_t *cursor, char *buffer, size_t size, bool *lost)
{
	uint64_t at = *cursor, oldest, line_end;
	size_t n = 0;

	*lost = false;
	spin_lock(&lock);
	oldest = head > LOG_BYTES ? head - LOG_BYTES : 0;
	if (at > head)
		at = head;
	if (at < oldest) {
		*lost = true;
		at = oldest;
		while (at < head && ring[at % LOG_BYTES] != '\n')	/* the oldest line is cut */
			at++;
		at += at < head;
	}
	while (at < head) {
		line_end = at;
		while (ring[line_end % LOG_BYTES] != '\n')
			line_end++;
		line_end++;
		if (line_end - at > size - n)
			break;
		while (at < line_end)
			buffer[n++] = ring[at++ % LOG_BYTES];
	}
	spin_unlock(&lock);
	*cursor = at;
	return n;
}
