/*
 * A name server for tests: fake_names.h.
 *
 * Manual   RFC 1035, 4.
 */
#include "tests/lib/fake_names.h"
#include <stdio.h>
#include <string.h>

enum { QUESTION = 12, RECORD = 12, LABEL_MAX = 63, A = 1, CNAME = 5, TXT = 16, AAAA = 28 };
enum { ANSWER = 0x8180, NO_SUCH_NAME = 3, SERVER_FAILURE = 2 };

static void
put16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static size_t
get16(const uint8_t *p)
{
	return (size_t)p[0] << 8 | p[1];
}

/* A record of the name that was asked for. */
static void
record(struct names_reply *r, unsigned type, const uint8_t *data, size_t n)
{
	uint8_t *p = r->bytes + r->len;

	put16(p, 0xc000 | QUESTION);
	put16(p + 2, type);
	put16(p + 4, 1); /* IN */
	memset(p + 6, 0, 4);
	p[9] = 1; /* s to live */
	put16(p + 10, n);
	memcpy(p + RECORD, data, n);
	r->len += RECORD + n;
	put16(r->bytes + 6, get16(r->bytes + 6) + 1);
}

static bool
is(const uint8_t *q, const char *word)
{
	return q[QUESTION] == strlen(word) && memcmp(q + QUESTION + 1, word, strlen(word)) == 0;
}

/* Changes the answer that "at" bytes of the question are in; false: no lie is asked for. */
static bool
bend(const uint8_t *q, size_t at, struct names_reply *r)
{
	uint8_t *b = r->bytes, *first = b + at;

	if (is(q, "wrongid"))
		b[1] ^= 1;
	else if (is(q, "wrongfrom"))
		r->elsewhere = true;
	else if (is(q, "wrongname"))
		b[QUESTION + 1] ^= 2;
	else if (is(q, "short"))
		r->len -= 2;
	else if (is(q, "long"))
		put16(first + 10, 65535);
	else if (is(q, "question"))
		b[2] = 1;
	else if (is(q, "loop"))
		put16(first, 0xc000 | at);
	else
		return false;
	if (is(q, "loop"))
		put16(b + QUESTION, 0xc000 | QUESTION);
	return true;
}

unsigned
names_answer(const uint8_t *q, size_t n, struct names_reply r[NAMES_REPLIES])
{
	static const uint8_t right[4] = { 10, 0, 2, 4 }, wrong[4] = { 10, 0, 2, 66 };
	static const uint8_t target[10] = "\3web\4test";
	unsigned count = 0;
	size_t at = QUESTION;

	if (n < QUESTION + 6 || n > NAMES_BYTES - 100 || q[QUESTION] > LABEL_MAX)
		return 0;
	while (at < n && q[at] != 0)
		at += q[at] + 1u;
	at += 5; /* its end, type and class */
	if (at > n)
		return 0;
	printf("asked %.*s for type %zu\n", q[QUESTION], (const char *)q + QUESTION + 1,
	    get16(q + at - 4));
	fflush(stdout);
	if (is(q, "silent"))
		return 0;
	for (unsigned i = 0; i < NAMES_REPLIES; i++) {
		r[i] = (struct names_reply){ .len = at };
		memcpy(r[i].bytes, q, at);
		put16(r[i].bytes + 2, ANSWER);
		memset(r[i].bytes + 6, 0, 6);
	}
	if (is(q, "none") || is(q, "broken")) {
		r[0].bytes[3] |= is(q, "none") ? NO_SUCH_NAME : SERVER_FAILURE;
		return 1;
	}
	if (get16(q + at - 4) != A) /* there is such a name, and it has no other address */
		return 1;
	if (is(q, "many")) {
		record(&r[0], TXT, wrong, sizeof(wrong));
		put16(r[0].bytes + 6, 65535);
		return 1;
	}
	record(&r[0], A, wrong, sizeof(wrong));
	if (bend(q, at, &r[0]))
		count++;
	else
		r[0] = r[1];
	if (is(q, "alias"))
		record(&r[count], CNAME, target, sizeof(target));
	record(&r[count], A, right, sizeof(right));
	return count + 1;
}
