/*
 * What is served: paths to pages.
 *
 * The page is one file without anything from elsewhere, and says so to the browser: a policy that
 * allows its own script and style, and asking this server, and nothing else.
 */
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "usr/httpd/pages.h"

static const uint8_t page[] = {
#embed "page.html"
};

#define POLICY \
	"Content-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; " \
	"style-src 'unsafe-inline'; img-src data:; connect-src 'self'\r\n"

static const char missing[] = "There is no such page: / is the status page; /status.json, "
			      "/evidence.json and /metrics are for programs.\n";

static const struct {
	const char *path, *type;
	void (*make)(struct text *t);	/* NULL: the page */
} pages[] = {
	{ "/", "text/html; charset=utf-8", NULL },
	{ "/index.html", "text/html; charset=utf-8", NULL },
	{ "/status.json", "application/json", status_json },
	{ "/evidence.json", "application/json", status_evidence },
	{ "/metrics", "text/plain; version=0.0.4; charset=utf-8", status_metrics },
};

void
pages_answer(struct http *c, char *room)
{
	struct text t = text_of(room, PAGE_BYTES);
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(pages) && strcmp(pages[i].path, c->path) != 0; i++)
		;
	if (i == ARRAY_SIZE(pages)) {
		http_answer(c, 404, "text/plain", "", missing, sizeof(missing) - 1);
		return;
	}
	if (pages[i].make == NULL) {
		http_answer(c, 200, pages[i].type, POLICY, page, sizeof(page));
		return;
	}
	pages[i].make(&t);
	if (t.cut)
		http_answer(c, 503, "text/plain", "", "too long\n", 9);
	else
		http_answer(c, 200, pages[i].type, "", t.to, t.len);
}
