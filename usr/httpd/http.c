/*
 * HTTP: lines to a request, an answer to bytes.
 *
 * A line is gathered up to its CR LF and judged whole, so each rule is written once, for a string
 * of known length without control characters. Fields that this server does not act on are judged
 * for their form and forgotten.
 */
#include "kern/base/fmt.h"
#include "kern/base/str.h"
#include "usr/httpd/http.h"

const char *
http_status_text(unsigned status)
{
	switch (status) {
	case 200: return "OK";
	case 400: return "Bad Request";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 413: return "Content Too Large";
	case 414: return "URI Too Long";
	case 431: return "Request Header Fields Too Large";
	case 503: return "Service Unavailable";
	case 505: return "HTTP Version Not Supported";
	default: return "Internal Server Error";
	}
}

void
http_init(struct http *c)
{
	memset(c, 0, sizeof(*c));
}

static void
next_request(struct http *c)
{
	c->phase = HTTP_REQUEST_LINE;
	c->line_bytes = c->taken = 0;
	c->head = c->stay = c->old = c->host = c->body = false;
}

void
http_answer(struct http *c, unsigned status, const char *type, const char *more, const void *body,
    uint64_t bytes)
{
	c->answer_bytes = (uint32_t)fmt_buf(c->answer, sizeof(c->answer),
	    "HTTP/1.1 %u %s\r\nServer: capOS\r\nContent-Type: %s\r\nContent-Length: %llu\r\n"
	    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n%sConnection: %s\r\n\r\n",
	    status, http_status_text(status), type, (unsigned long long)bytes, more,
	    c->stay ? "keep-alive" : "close");
	c->answer_at = 0;
	c->body_from = body;
	c->body_bytes = c->head ? 0 : bytes;
	c->body_at = 0;
	c->requests++;
	c->phase = HTTP_ANSWERS;
}

/* Nothing after this is understood any more. */
static void
refuse(struct http *c, unsigned status)
{
	const char *text = http_status_text(status);

	c->stay = false;
	http_answer(c, status, "text/plain", status == 405 ? "Allow: GET, HEAD\r\n" : "", text,
	    strlen(text));
}

/* RFC 9110, 5.6.2 */
static bool
is_token(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char k = s[i];

		if (!((k >= 'a' && k <= 'z') || (k >= 'A' && k <= 'Z') || (k >= '0' && k <= '9') ||
			(k != 0 && strchr("!#$%&'*+-.^_`|~", k) != NULL)))
			return false;
	}
	return len != 0;
}

static char lower(char k) { return k >= 'A' && k <= 'Z' ? (char)(k | 0x20) : k; }

static bool
same(const char *s, size_t len, const char *word)
{
	size_t i;

	for (i = 0; i < len && word[i] != 0; i++)
		if (lower(s[i]) != word[i])
			return false;
	return i == len && word[i] == 0;
}

/* A list of words has this one. */
static bool
lists(const char *s, const char *word)
{
	while (*s != 0) {
		size_t n = 0, len;

		while (*s == ' ' || *s == '\t' || *s == ',')
			s++;
		while (s[n] != 0 && s[n] != ',')
			n++;
		for (len = n; len != 0 && (s[len - 1] == ' ' || s[len - 1] == '\t');)
			len--;
		if (same(s, len, word))
			return true;
		s += n;
	}
	return false;
}

/* method SP target SP HTTP/1.x */
static void
request_line(struct http *c)
{
	char *method = c->line, *target = strchr(method, ' '), *version, *end;
	size_t method_len;

	if (target == NULL || !is_token(method, (size_t)(target - method))) {
		refuse(c, 400);
		return;
	}
	method_len = (size_t)(target - method);
	target++;
	version = strchr(target, ' ');
	if (version == NULL || strncmp(version + 1, "HTTP/", 5) != 0 || strlen(version) != 9 ||
	    version[7] != '.' || version[6] < '0' || version[6] > '9' || version[8] < '0' ||
	    version[8] > '9') {
		refuse(c, 400);
		return;
	}
	if (version[6] != '1') {
		refuse(c, 505);
		return;
	}
	*version = 0;
	c->old = version[8] == '0';
	c->stay = !c->old;
	/* A client that takes this for a proxy writes the whole address [RFC 9112, 3.2.2]. */
	if (strncmp(target, "http://", 7) == 0) {
		target = strchr(target + 7, '/');
		if (target == NULL) {
			refuse(c, 400);
			return;
		}
	}
	end = strchr(target, '?');
	if (end != NULL)
		*end = 0;
	if (target[0] != '/') {
		refuse(c, 400);
		return;
	}
	c->head = method_len == 4 && strncmp(method, "HEAD", 4) == 0;
	if (!c->head && !(method_len == 3 && strncmp(method, "GET", 3) == 0)) {
		refuse(c, 405);
		return;
	}
	/* No page has so long a name: it is looked for by one that is not there. */
	str_copy(c->path, strlen(target) < HTTP_PATH ? target : "//", HTTP_PATH);
	c->phase = HTTP_FIELDS;
}

static void
field(struct http *c)
{
	char *colon = strchr(c->line, ':'), *value;
	size_t len;

	if (colon == NULL || !is_token(c->line, (size_t)(colon - c->line))) {
		refuse(c, 400);
		return;
	}
	len = (size_t)(colon - c->line);
	for (value = colon + 1; *value == ' ' || *value == '\t'; value++)
		;
	if (same(c->line, len, "host")) {
		if (c->host) {
			refuse(c, 400);
			return;
		}
		c->host = true;
	} else if (same(c->line, len, "connection")) {
		if (lists(value, "close"))
			c->stay = false;
		else if (c->old && lists(value, "keep-alive"))
			c->stay = true;
	} else if (same(c->line, len, "content-length")) {
		c->body |= strcmp(value, "0") != 0;
	} else if (same(c->line, len, "transfer-encoding")) {
		c->body = true;
	}
}

static void
whole_line(struct http *c)
{
	if (c->phase == HTTP_REQUEST_LINE) {
		/* Empty lines before a request are left over from the last [RFC 9112, 2.2]. */
		if (c->line_bytes != 0)
			request_line(c);
	} else if (c->line_bytes != 0) {
		field(c);
	} else if (c->body) {
		refuse(c, 413);
	} else if (!c->host && !c->old) {
		refuse(c, 400);
	} else {
		c->phase = HTTP_WANTS;
	}
	c->line_bytes = 0;
}

size_t
http_input(struct http *c, const uint8_t *from, size_t len)
{
	size_t used = 0;

	while (used != len && (c->phase == HTTP_REQUEST_LINE || c->phase == HTTP_FIELDS)) {
		char k = (char)from[used++];

		c->taken++;
		if (c->taken > HTTP_HEAD) {
			refuse(c, 431);
			break;
		}
		if (c->line_bytes == HTTP_LINE + 1 && k != '\n') {
			refuse(c, c->phase == HTTP_REQUEST_LINE ? 414 : 431);
			break;
		}
		if (k == '\n') {
			if (c->line_bytes == 0 || c->line[c->line_bytes - 1] != '\r') {
				refuse(c, 400);
				break;
			}
			c->line[--c->line_bytes] = 0;
			whole_line(c);
			continue;
		}
		if ((c->line_bytes != 0 && c->line[c->line_bytes - 1] == '\r') ||
		    (k != '\r' && k != '\t' && ((uint8_t)k < ' ' || k == 0x7f))) {
			refuse(c, 400);
			break;
		}
		c->line[c->line_bytes++] = k;
	}
	return used;
}

size_t
http_output(struct http *c, uint8_t *to, size_t room)
{
	size_t used = 0, n;

	if (c->phase != HTTP_ANSWERS)
		return 0;
	n = c->answer_bytes - c->answer_at;
	n = n < room ? n : room;
	memcpy(to, c->answer + c->answer_at, n);
	c->answer_at += (uint32_t)n;
	used += n;
	n = room - used;
	if (c->answer_at == c->answer_bytes && c->body_at != c->body_bytes && n != 0) {
		n = c->body_bytes - c->body_at < n ? (size_t)(c->body_bytes - c->body_at) : n;
		memcpy(to + used, c->body_from + c->body_at, n);
		c->body_at += n;
		used += n;
	}
	if (c->answer_at == c->answer_bytes && c->body_at == c->body_bytes) {
		if (c->stay)
			next_request(c);
		else
			c->phase = HTTP_OVER;
	}
	return used;
}
