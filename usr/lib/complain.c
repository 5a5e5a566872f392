/* Lines about trouble: os.h. */
#include "usr/lib/os.h"

enum { LINES_A_SECOND = 8 };

void
complain(const char *format, ...)
{
	static uint64_t second;
	static uint32_t lines;
	uint64_t now = now_ns() / NS_PER_S;
	char text[200];
	va_list ap;

	if (now != second)
		lines = 0;
	second = now;
	if (++lines > LINES_A_SECOND)
		return;
	va_start(ap, format);
	fmt_vbuf(text, sizeof(text), format, ap);
	va_end(ap);
	log_line(1, "%s%s", text,
	    lines == LINES_A_SECOND ? "; more like it in this second are not logged" : "");
}
