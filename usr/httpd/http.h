/*
 * The server's end of one HTTP connection: bytes in, requests out, bytes of answers out.  It makes
 * no system call and takes no memory, so the same source runs on the host (tests/tools/httphost.c).
 *
 *     http_input    what the client sent; one request at a time is taken, the next waits
 *     http_wants    a request was read: the caller answers it with http_answer
 *     http_output   what goes to the client
 *
 * HTTP/1.0 and 1.1, GET and HEAD, with connections that stay.  Strict: what two readers could take
 * in two ways is refused, and the connection closed, since nobody knows where the next request
 * would begin.
 *
 *   400   not a request: a line that does not end in CR LF, a control character, a blank before a
 *         colon, a folded line, Host missing or twice, a target that is no path
 *   404   the caller's: no such page
 *   405   a method other than GET and HEAD
 *   413   a request with a body
 *   414   a request line of more than HTTP_LINE bytes
 *   431   lines of more than HTTP_HEAD bytes together
 *   505   a version other than 1.x
 *
 * Manual   RFC 9110 (semantics), RFC 9112 (messages).
 */
#pragma once

#include "kern/base/types.h"

enum { HTTP_LINE = 1024, HTTP_HEAD = 8192, HTTP_PATH = 256, HTTP_ANSWER = 640 };

enum http_phase : uint8_t {
	HTTP_REQUEST_LINE,
	HTTP_FIELDS,
	HTTP_WANTS,			/* the caller's turn */
	HTTP_ANSWERS,
	HTTP_OVER			/* to be closed */
};

struct http {
	enum http_phase phase;
	bool head;			/* HEAD: no body goes out */
	bool stay;			/* the connection stays after this answer */
	bool old;			/* HTTP/1.0 */
	bool host, body;		/* fields that came */
	char path[HTTP_PATH];		/* without what follows a '?' */
	uint32_t line_bytes, taken;	/* of the line being read; of all lines of this request */
	uint32_t requests;
	char line[HTTP_LINE + 2];
	char answer[HTTP_ANSWER];
	uint32_t answer_bytes, answer_at;
	const uint8_t *body_from;
	uint64_t body_bytes, body_at;
};

void http_init(struct http *c);

/* Returns how much was taken.  Less than len: an answer has to go out first. */
size_t http_input(struct http *c, const uint8_t *from, size_t len);
/* A request is there: c->path. */
static inline bool http_wants(const struct http *c) { return c->phase == HTTP_WANTS; }
/* body stays as it is until http_sent.  status is one that http_status_text knows; more: further
 * lines of the head, each with its CR LF, at most 256 bytes. */
void http_answer(struct http *c, unsigned status, const char *type, const char *more,
    const void *body, uint64_t bytes);
/* Writes at most room bytes and returns how many. */
size_t http_output(struct http *c, uint8_t *to, size_t room);
/* The body of the last answer is not needed any more. */
static inline bool http_sent(const struct http *c) { return c->phase != HTTP_ANSWERS; }
/* The connection is to be closed. */
static inline bool http_over(const struct http *c) { return c->phase == HTTP_OVER; }
/* Between requests, with nothing of one read: it may be closed without harm. */
static inline bool
http_rests(const struct http *c)
{
	return c->phase == HTTP_REQUEST_LINE && c->line_bytes == 0;
}

const char *http_status_text(unsigned status);
