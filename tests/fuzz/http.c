/*
 * One HTTP connection against any client: no input is read twice in two ways.  What one cut of the
 * bytes is answered, any other cut of them is answered too.
 *
 * LINK: usr/httpd/http.c kern/base/fmt.c kern/base/str.c
 * FUZZ: -max_len=4096
 */
#include <stdlib.h>
#include <string.h>

#include "usr/httpd/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SAID = 512 * 1024 };

static struct http c;
static uint8_t said[2][SAID];

static size_t
talk(const uint8_t *p, size_t n, size_t cut, uint8_t *to)
{
	size_t at = 0, out = 0, took, gave;
	bool answered;

	http_init(&c);
	do {
		took = http_input(&c, p + at, n - at < cut ? n - at : cut);
		at += took;
		answered = http_wants(&c);
		if (answered) {
			if (c.path[0] != '/' || strlen(c.path) >= HTTP_PATH)
				abort();
			http_answer(&c, c.path[1] == 0 ? 200 : 404, "text/plain", "", "body", 4);
		}
		gave = http_output(&c, to + out, SAID - out < cut ? SAID - out : cut);
		out += gave;
	} while (took != 0 || gave != 0 || answered);
	if (at != n && !http_over(&c))
		abort();
	return out;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t cut, n;

	if (size < 2)
		return 0;
	cut = 1 + data[0] % 31;
	n = talk(data + 1, size - 1, SAID, said[0]);
	if (talk(data + 1, size - 1, cut, said[1]) != n || memcmp(said[0], said[1], n) != 0)
		abort();
	return 0;
}
