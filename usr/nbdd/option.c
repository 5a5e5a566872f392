/*
 * NBD negotiation: from the greeting to the choice of an export.
 *
 * The server greets; the client answers with flags, then sends options, each answered before the
 * next is read. GO (or EXPORT_NAME, which can only be answered or hung up on) ends it. An
 * option's data is read whole into c->in, bounded by NBD_TEXT; its replies are made whole in
 * c->text, and the next option waits until they are sent.
 *
 * Lengths inside an option's data are judged against what is left of it, and nothing may remain.
 */
#include "kern/base/str.h"
#include "usr/nbdd/proto.h"

static const char ALLOCATION[] = "base:allocation";
enum : uint32_t {
	ALLOCATION_ID = 1,
	EXPORT_LINE = NBD_OPTION_REPLY_BYTES + 4 + NBD_NAME + NBD_ABOUT
};
static_assert((NBD_EXPORTS + 1) * EXPORT_LINE <= NBD_TEXT);

/* What is left of an option's data. */
struct cursor { const uint8_t *p; uint32_t left; bool bad; };

static uint32_t
take(struct cursor *k, uint32_t bytes)
{
	uint32_t v = 0;

	if (k->bad || k->left < bytes) {
		k->bad = true;
		return 0;
	}
	for (uint32_t i = 0; i < bytes; i++)
		v = v << 8 | k->p[i];
	k->p += bytes;
	k->left -= bytes;
	return v;
}

static const uint8_t *
take_text(struct cursor *k, uint32_t *len)
{
	const uint8_t *at;

	*len = take(k, 4);
	at = k->p;
	if (k->bad || *len > k->left) {
		k->bad = true;
		*len = 0;
		return at;
	}
	k->p += *len;
	k->left -= *len;
	return at;
}

/* A reply with room for len bytes of data, which begin where this returns. */
static uint8_t *
reply(struct nbd *c, uint32_t type, uint32_t len)
{
	uint8_t *p = c->text + c->text_bytes;

	p = nbd_put64(p, NBD_OPTION_REPLY_MAGIC);
	p = nbd_put32(p, c->option);
	p = nbd_put32(p, type);
	p = nbd_put32(p, len);
	c->text_bytes += NBD_OPTION_REPLY_BYTES + len;
	return p;
}

/* The last reply to an option; then the next one is read. */
static void
conclude(struct nbd *c, uint32_t type)
{
	(void)reply(c, type, 0);
	nbd_expect(c, NBD_HAGGLE, NBD_OPTION_BYTES);
}

void
nbd_init(struct nbd *c, const struct nbd_export *exports, uint32_t count)
{
	uint8_t *p;

	memset(c, 0, sizeof(*c));
	c->exports = exports;
	c->export_count = count;
	c->export = c->wanted = c->meta = c->filling = c->asking = c->sending = c->stream =
	    NBD_NONE;
	c->pieces_free = c->tasks_free = UINT64_MAX;
	p = nbd_put64(c->text, NBD_INIT_MAGIC);
	p = nbd_put64(p, NBD_OPTION_MAGIC);
	(void)nbd_put16(p, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	c->text_bytes = NBD_HELLO_BYTES;
	nbd_expect(c, NBD_HELLO, NBD_CLIENT_FLAGS_BYTES);
}

void
nbd_flags(struct nbd *c)
{
	uint32_t flags = nbd_get32(c->in);

	/* Unknown flags may mean another protocol; without fixed newstyle there are no replies. */
	if ((flags & ~(uint32_t)(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)) != 0 ||
	    (flags & NBD_FLAG_FIXED_NEWSTYLE) == 0) {
		c->state = NBD_BROKEN;
		return;
	}
	c->no_zeroes = (flags & NBD_FLAG_NO_ZEROES) != 0;
	nbd_expect(c, NBD_HAGGLE, NBD_OPTION_BYTES);
}

void
nbd_haggle(struct nbd *c)
{
	if (nbd_get64(c->in) != NBD_OPTION_MAGIC) {
		c->state = NBD_BROKEN;
		return;
	}
	c->option = nbd_get32(c->in + 8);
	c->option_bytes = nbd_get32(c->in + 12);
	if (c->option_bytes <= NBD_TEXT) {
		nbd_expect(c, NBD_OPTION, c->option_bytes);
	} else if (c->option_bytes <= NBD_DRAIN_BYTES && c->option != NBD_OPT_EXPORT_NAME) {
		c->skip = c->option_bytes;
		conclude(c, NBD_REP_ERR_TOO_BIG);
	} else {
		c->state = NBD_BROKEN;
	}
}

/* The export of that name; NBD_NONE when there is none now. */
static uint8_t
find(const struct nbd *c, const uint8_t *name, uint32_t len)
{
	for (uint32_t i = 0; i < c->export_count; i++) {
		const struct nbd_export *e = &c->exports[i];

		if (e->bytes != 0 &&
		    (len == 0 || (len == strlen(e->name) && memcmp(e->name, name, len) == 0)))
			return (uint8_t)i;
	}
	return NBD_NONE;
}

static uint16_t
flags_of(const struct nbd *c, const struct nbd_export *e)
{
	uint16_t f = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA |
	    NBD_FLAG_CAN_MULTI_CONN;

	if (c->structured)
		f |= NBD_FLAG_SEND_DF;
	if (e->read_only)
		return f | NBD_FLAG_READ_ONLY;
	return f | NBD_FLAG_SEND_WRITE_ZEROES | (e->trim_bytes != 0 ? NBD_FLAG_SEND_TRIM : 0);
}

static void
list(struct nbd *c)
{
	if (c->option_bytes != 0) {
		conclude(c, NBD_REP_ERR_INVALID);
		return;
	}
	for (uint32_t i = 0; i < c->export_count; i++) {
		const struct nbd_export *e = &c->exports[i];
		uint32_t len = (uint32_t)strlen(e->name), more = (uint32_t)strlen(e->about);
		uint8_t *p;

		if (e->bytes == 0)
			continue;
		p = nbd_put32(reply(c, NBD_REP_SERVER, 4 + len + more), len);
		memcpy(p, e->name, len);
		memcpy(p + len, e->about, more);
	}
	conclude(c, NBD_REP_ACK);
}

static void
tell_text(struct nbd *c, uint16_t what, const char *text)
{
	uint32_t len = (uint32_t)strlen(text);

	memcpy(nbd_put16(reply(c, NBD_REP_INFO, 2 + len), what), text, len);
}

/* What GO and INFO tell of an export; asked: by bit, what the client wants to know. */
static void
tell(struct nbd *c, const struct nbd_export *e, uint32_t asked)
{
	uint8_t *p = nbd_put16(reply(c, NBD_REP_INFO, 12), NBD_INFO_EXPORT);

	p = nbd_put64(p, e->bytes);
	(void)nbd_put16(p, flags_of(c, e));
	if ((asked & BIT(NBD_INFO_NAME)) != 0)
		tell_text(c, NBD_INFO_NAME, e->name);
	if ((asked & BIT(NBD_INFO_DESCRIPTION)) != 0)
		tell_text(c, NBD_INFO_DESCRIPTION, e->about);
	if ((asked & BIT(NBD_INFO_BLOCK_SIZE)) != 0) {
		p = nbd_put16(reply(c, NBD_REP_INFO, 14), NBD_INFO_BLOCK_SIZE);
		p = nbd_put32(p, e->block_bytes);
		p = nbd_put32(p, (uint32_t)PAGE_SIZE);
		(void)nbd_put32(p, NBD_MAX_BYTES);
	}
	conclude(c, NBD_REP_ACK);
}

/* The data of GO and INFO: NBD_NONE after an error that was answered. */
static uint8_t
asked_for(struct nbd *c, uint32_t *asked)
{
	struct cursor k = { c->in, c->option_bytes, false };
	uint32_t len, count;
	const uint8_t *name = take_text(&k, &len);
	uint8_t found;

	*asked = 0;
	for (count = take(&k, 2); count != 0 && !k.bad; count--) {
		uint32_t what = take(&k, 2);

		if (what <= NBD_INFO_BLOCK_SIZE)	/* others are to be ignored */
			*asked |= 1u << what;
	}
	if (k.bad || k.left != 0) {
		conclude(c, NBD_REP_ERR_INVALID);
		return NBD_NONE;
	}
	found = find(c, name, len);
	if (found == NBD_NONE)
		conclude(c, NBD_REP_ERR_UNKNOWN);
	return found;
}

/* Queries match "base:allocation" by that name, or all of "base:" where contexts are listed. */
static bool
matches(const uint8_t *query, uint32_t len, bool listing)
{
	return (len == sizeof(ALLOCATION) - 1 && memcmp(query, ALLOCATION, len) == 0) ||
	    (listing && len == 5 && memcmp(query, ALLOCATION, len) == 0);
}

static void
meta_context(struct nbd *c, bool listing)
{
	struct cursor k = { c->in, c->option_bytes, false };
	uint32_t len, queries, n;
	const uint8_t *name = take_text(&k, &len);
	bool hit;
	uint8_t found;

	if (!listing)
		c->meta = NBD_NONE;
	queries = take(&k, 4);
	hit = listing && queries == 0;
	for (n = queries; n != 0 && !k.bad; n--) {
		uint32_t query_len;
		const uint8_t *query = take_text(&k, &query_len);

		hit |= !k.bad && matches(query, query_len, listing);
	}
	if (k.bad || k.left != 0 || !c->structured) {
		conclude(c, NBD_REP_ERR_INVALID);
		return;
	}
	found = find(c, name, len);
	if (found == NBD_NONE) {
		conclude(c, NBD_REP_ERR_UNKNOWN);
		return;
	}
	if (hit) {
		uint8_t *p = reply(c, NBD_REP_META_CONTEXT, 4 + sizeof(ALLOCATION) - 1);

		memcpy(
		    nbd_put32(p, listing ? 0 : ALLOCATION_ID), ALLOCATION, sizeof(ALLOCATION) - 1);
		if (!listing)
			c->meta = found;
	}
	conclude(c, NBD_REP_ACK);
}

void
nbd_act_on_option(struct nbd *c)
{
	uint32_t asked;
	uint8_t found;

	switch (c->option) {
	case NBD_OPT_EXPORT_NAME:
		c->wanted = find(c, c->in, c->option_bytes);
		if (c->wanted == NBD_NONE)
			c->state = NBD_BROKEN;	/* there is no reply that says so */
		break;
	case NBD_OPT_GO:
		c->wanted = asked_for(c, &asked);
		break;
	case NBD_OPT_INFO:
		found = asked_for(c, &asked);
		if (found != NBD_NONE)
			tell(c, &c->exports[found], asked);
		break;
	case NBD_OPT_ABORT:
		conclude(c, NBD_REP_ACK);
		c->state = NBD_ENDING;
		break;
	case NBD_OPT_LIST:
		list(c);
		break;
	case NBD_OPT_STRUCTURED_REPLY:
		c->structured |= c->option_bytes == 0;
		conclude(c, c->option_bytes == 0 ? NBD_REP_ACK : NBD_REP_ERR_INVALID);
		break;
	case NBD_OPT_LIST_META_CONTEXT:
	case NBD_OPT_SET_META_CONTEXT:
		meta_context(c, c->option == NBD_OPT_LIST_META_CONTEXT);
		break;
	default:
		conclude(c, NBD_REP_ERR_UNSUP);
	}
}

void
nbd_answer(struct nbd *c, uint8_t *area, uint32_t pages)
{
	const struct nbd_export *e = &c->exports[c->wanted];
	uint8_t wanted = c->wanted;
	uint32_t asked;

	c->wanted = NBD_NONE;
	/* The export may have gone, or shrunk, since it was chosen. */
	if (area == NULL || e->bytes == 0 || pages * PAGE_SIZE < e->piece_bytes) {
		if (c->option == NBD_OPT_GO)
			conclude(c, NBD_REP_ERR_PLATFORM);
		else
			c->state = NBD_BROKEN;
		return;
	}
	c->area = area;
	c->area_pages = (uint32_t)min_u64(pages, NBD_AREA_PAGES);
	if (c->option == NBD_OPT_GO) {
		(void)asked_for(c, &asked);
		tell(c, e, asked);
	} else {
		uint8_t *p = nbd_put64(c->text + c->text_bytes, e->bytes);

		(void)nbd_put16(p, flags_of(c, e));
		c->text_bytes += NBD_OLD_EXPORT_BYTES;
		if (!c->no_zeroes) {
			memset(c->text + c->text_bytes, 0, NBD_OLD_ZEROES_BYTES);
			c->text_bytes += NBD_OLD_ZEROES_BYTES;
		}
	}
	c->export = wanted;
	nbd_expect(c, NBD_TRANSMIT, NBD_REQUEST_BYTES);
}
