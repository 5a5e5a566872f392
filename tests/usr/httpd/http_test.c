/*
 * The HTTP server's end of a connection: what is a request, what is refused and how, and that the
 * way the bytes are cut makes no difference.
 *
 * LINK: usr/httpd/http.c kern/base/fmt.c kern/base/str.c
 */
#include <atf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "usr/httpd/http.h"

static struct http c;
static char said[256 * 1024];
static size_t said_bytes;
static char body[20000];

static void
hear(size_t cut)
{
	size_t n;

	while ((n = http_output(&c, (uint8_t *)said + said_bytes, cut)) != 0)
		said_bytes += n;
	said[said_bytes] = 0;
}

/* A client that says this and leaves; each page is its path, "/big" a long one. */
static void
talk(const char *text, size_t len, size_t cut)
{
	size_t at = 0, n;
	bool answered;

	http_init(&c);
	said_bytes = 0;
	said[0] = 0;
	do {
		n = http_input(&c, (const uint8_t *)text + at, len - at < cut ? len - at : cut);
		at += n;
		answered = http_wants(&c);
		if (answered && strcmp(c.path, "/big") == 0)
			http_answer(&c, 200, "text/plain", "", body, sizeof(body));
		else if (answered)
			http_answer(&c, 200, "text/plain", "", c.path, strlen(c.path));
		hear(cut);
	} while (n != 0 || answered);
	ATF_CHECK(at == len || http_over(&c));
}

/* The status of the first answer; 0: none. */
static unsigned
status_of(const char *request)
{
	unsigned s = 0;

	talk(request, strlen(request), 1000000);
	(void)sscanf(said, "HTTP/1.1 %u ", &s);
	return s;
}

#define GET "GET / HTTP/1.1\r\n"
#define HOST "Host: h\r\n"

ATF_TC_WITHOUT_HEAD(requests_are_answered_one_after_the_other);
ATF_TC_BODY(requests_are_answered_one_after_the_other, tc)
{
	static const char two[] = GET HOST "\r\n"
				  "\r\nGET /big?x=y HTTP/1.1\r\nhOST:h\r\nX-Y:  z\r\n\r\n"
				  "HEAD /big HTTP/1.1\r\nHost: h\r\nConnection: x , Close\r\n\r\n"
				  "GET /never HTTP/1.1\r\n";
	static const size_t cuts[] = { 1000000, 1, 2, 3, 7, 100 };

	memset(body, 'b', sizeof(body));
	for (unsigned i = 0; i < ARRAY_SIZE(cuts); i++) {
		const char *p;

		talk(two, sizeof(two) - 1, cuts[i]);
		ATF_CHECK_EQ(c.requests, 3);
		ATF_CHECK(http_over(&c));
		ATF_CHECK(strncmp(said, "HTTP/1.1 200 OK\r\n", 17) == 0);
		ATF_CHECK(strstr(said, "Content-Length: 1\r\n") != NULL);
		p = strstr(said, "\r\n\r\n/HTTP/1.1 200 OK\r\n");
		ATF_REQUIRE(p != NULL);
		ATF_CHECK(strstr(p, "Connection: keep-alive\r\n") != NULL);
		p = strstr(p, "\r\n\r\nbbb");
		ATF_REQUIRE(p != NULL);
		ATF_CHECK_EQ(strspn(p + 4, "b"), sizeof(body));
		p += 4 + sizeof(body);
		/* HEAD: the length of what GET would bring, and no byte of it. */
		ATF_CHECK(strncmp(p, "HTTP/1.1 200", 12) == 0);
		ATF_CHECK(strstr(p, "Content-Length: 20000\r\n") != NULL);
		ATF_CHECK(strstr(p, "Connection: close\r\n") != NULL);
		ATF_CHECK_STREQ(strstr(p, "\r\n\r\n"), "\r\n\r\n");
	}
}

ATF_TC_WITHOUT_HEAD(what_is_no_request_is_refused_by_name);
ATF_TC_BODY(what_is_no_request_is_refused_by_name, tc)
{
	static const struct { unsigned status; const char *text; } bad[] = {
		{ 400, GET "\r\n" },
		{ 400, GET HOST HOST "\r\n" },
		{ 400, "GET / HTTP/1.1\nHost: h\n\n" },
		{ 400, "GET /\r\n" },
		{ 400, "GET  / HTTP/1.1\r\n" },
		{ 400, "GET / HTTP/1.1 \r\n" },
		{ 400, "GET / http/1.1\r\n" },
		{ 400, "GET x HTTP/1.1\r\n" },
		{ 400, "GET * HTTP/1.1\r\n" },
		{ 400, "GET http://h HTTP/1.1\r\n" },
		{ 400, "G@T / HTTP/1.1\r\n" },
		{ 400, " GET / HTTP/1.1\r\n" },
		{ 400, "\x16\x03\x01\x02" },
		{ 400, GET "Host : h\r\n\r\n" },
		{ 400, GET HOST " folded\r\n\r\n" },
		{ 400, GET HOST "no colon\r\n\r\n" },
		{ 400, GET HOST ": h\r\n\r\n" },
		{ 400, GET "Host: h\r\r\n" },
		{ 400, GET "Host: h\rX: y\r\n" },
		{ 405, "POST / HTTP/1.1\r\n" HOST "\r\n" },
		{ 405, "get / HTTP/1.1\r\n" HOST "\r\n" },
		{ 405, "OPTIONS /x HTTP/1.1\r\n" },
		{ 413, GET HOST "Content-Length: 5\r\n\r\nhello" },
		{ 413, GET HOST "Content-Length: 0, 0\r\n\r\n" },
		{ 413, GET HOST "Transfer-Encoding: chunked\r\n\r\n" },
		{ 505, "GET / HTTP/2.0\r\n" },
		{ 505, "GET / HTTP/0.9\r\n" },
		{ 200, GET HOST "Content-Length: 0\r\n\r\n" },
		{ 200, "GET / HTTP/1.0\r\n\r\n" },
		{ 200, "GET http://h/x HTTP/1.1\r\n" HOST "\r\n" },
		{ 200, GET HOST "X:\r\n\r\n" },
		{ 200, GET HOST "X: \x80\xff\t\r\n\r\n" },
		{ 0, GET HOST },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		ATF_CHECK_EQ_MSG(status_of(bad[i].text), bad[i].status, "%s", bad[i].text);
		if (bad[i].status >= 400) {
			ATF_CHECK(http_over(&c));
			ATF_CHECK(strstr(said, "Connection: close\r\n") != NULL);
		}
	}
	ATF_CHECK(status_of("POST / HTTP/1.1\r\n") == 405 && strstr(said, "Allow: GET, HEAD\r\n"));
	/* A 0 in a line: the line must not end there. */
	talk("GET /\0x HTTP/1.1\r\n", 18, 100);
	ATF_CHECK(strncmp(said, "HTTP/1.1 400 ", 13) == 0);
}

ATF_TC_WITHOUT_HEAD(lines_and_heads_are_bounded);
ATF_TC_BODY(lines_and_heads_are_bounded, tc)
{
	static char text[3 * HTTP_HEAD];
	size_t n;

	strcpy(text, "GET /");
	memset(text + 5, 'a', HTTP_LINE - 14);
	strcpy(text + HTTP_LINE - 9, " HTTP/1.1\r\n" HOST "\r\n");
	ATF_CHECK_EQ(status_of(text), 200);
	ATF_CHECK_STREQ(c.path, "//");		/* a name that no page has */
	memset(text + 5, 'a', HTTP_LINE - 13);
	strcpy(text + HTTP_LINE - 8, " HTTP/1.1\r\n" HOST "\r\n");
	ATF_CHECK_EQ(status_of(text), 414);
	memset(text, 'a', sizeof(text) - 1);
	ATF_CHECK_EQ(status_of(text), 414);
	strcpy(text, GET HOST "X: ");
	memset(text + strlen(text), 'x', HTTP_LINE);
	strcpy(text + strlen(GET HOST) + HTTP_LINE + 1, "\r\n\r\n");
	ATF_CHECK_EQ(status_of(text), 431);
	n = (size_t)sprintf(text, GET HOST);
	for (unsigned i = 0; n < sizeof(text) - 100; i++)
		n += (size_t)sprintf(text + n, "X-%u: y\r\n", i);
	ATF_CHECK_EQ(status_of(text), 431);
	ATF_CHECK(http_over(&c));
	/* Empty lines without end are none. */
	for (n = 0; n + 2 < sizeof(text); n += 2)
		memcpy(text + n, "\r\n", 3);
	ATF_CHECK_EQ(status_of(text), 431);
}

ATF_TC_WITHOUT_HEAD(an_old_client_stays_only_when_it_asks_for_it);
ATF_TC_BODY(an_old_client_stays_only_when_it_asks_for_it, tc)
{
	ATF_CHECK_EQ(status_of("GET / HTTP/1.0\r\n\r\n"), 200);
	ATF_CHECK(http_over(&c));
	ATF_CHECK_EQ(status_of("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), 200);
	ATF_CHECK(!http_over(&c) && http_rests(&c));
	ATF_CHECK_EQ(status_of(GET HOST "\r\nG"), 200);
	ATF_CHECK(!http_over(&c) && !http_rests(&c));
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, requests_are_answered_one_after_the_other);
	ATF_TP_ADD_TC(tp, what_is_no_request_is_refused_by_name);
	ATF_TP_ADD_TC(tp, lines_and_heads_are_bounded);
	ATF_TP_ADD_TC(tp, an_old_client_stays_only_when_it_asks_for_it);
	return atf_no_error();
}
