/*
 * NBD transmission: requests cut into pieces, pieces to replies. proto.h tells the life of a
 * piece.
 *
 * Input stands still while the last request's pieces are not all made (c->asking, c->filling), so
 * pieces are made in the order of requests, and a request that was begun is never overtaken by a
 * later one in the fight for area.
 *
 * A task is free again when its last piece was sent.  Of a reply in several chunks the one that is
 * sent last carries DONE, whichever piece that is; other commands have one reply, when their last
 * piece is done, with the first error that a piece had.
 */
#include "kern/base/str.h"
#include "usr/nbdd/proto.h"

static_assert(NBD_PIECES == 64 && NBD_REQUESTS == 64);
static_assert(NBD_AREA_PAGES <= 128 && NBD_AREA_PAGES * PAGE_SIZE >= NBD_PIECE_BYTES);

/* --- pieces and their pages ------------------------------------------------ */

/* A run of free pages of the area; NBD_NONE when there is none. */
static uint8_t
take_pages(struct nbd *c, uint32_t pages)
{
	unsigned __int128 all = ~(unsigned __int128)0 >> (128 - c->area_pages), run;
	uint32_t at;

	run = all & ~c->taken;
	/* A bit stays when so many above it are free, too. */
	for (uint32_t have = 1; have < pages && run != 0;) {
		uint32_t more = have < pages - have ? have : pages - have;

		run &= run >> more;
		have += more;
	}
	if (run == 0)
		return NBD_NONE;
	at =
	    (uint64_t)run != 0 ? lowest_bit((uint64_t)run) : 64 + lowest_bit((uint64_t)(run >> 64));
	c->taken |= (~(unsigned __int128)0 >> (128 - pages)) << at;
	c->pages_used += pages;
	return (uint8_t)at;
}

static void
give_pages(struct nbd *c, struct nbd_piece *p)
{
	if (p->pages == 0)
		return;
	c->taken &= ~((~(unsigned __int128)0 >> (128 - p->pages)) << p->page);
	c->pages_used -= p->pages;
	p->pages = 0;
}

static uint8_t *
data_of(const struct nbd *c, const struct nbd_piece *p)
{
	return c->area + (uint64_t)p->page * PAGE_SIZE;
}

/* The next piece of a task, with or without pages; NBD_NONE: there is no room for it now. */
static uint8_t
make_piece(struct nbd *c, uint8_t task, uint32_t bytes, bool pages)
{
	struct nbd_task *t = &c->task[task];
	uint32_t n = pages ? (uint32_t)pages_of(bytes) : 0;
	struct nbd_piece *p;
	uint8_t i, page = 0;

	if (c->pieces_free == 0)
		return NBD_NONE;
	if (n != 0) {
		page = take_pages(c, n);
		if (page == NBD_NONE)
			return NBD_NONE;
	}
	i = (uint8_t)lowest_bit(c->pieces_free);
	c->pieces_free &= ~BIT(i);
	p = &c->piece[i];
	*p = (struct nbd_piece){ .at = t->at, .bytes = bytes, .page = page, .pages = (uint8_t)n,
		.command = task, .next = NBD_NONE };
	t->at += bytes;
	t->left -= bytes;
	t->pieces++;
	if (t->ordered && t->head == NBD_NONE)
		t->head = i;
	else if (t->ordered)
		c->piece[t->tail].next = i;
	t->tail = i;
	return i;
}

static void
put_ready(struct nbd *c, uint8_t piece)
{
	c->ready[c->ready_next++ % NBD_PIECES] = piece;
}

static void
drop_piece(struct nbd *c, uint8_t piece)
{
	struct nbd_piece *p = &c->piece[piece];
	struct nbd_task *t = &c->task[p->command];

	give_pages(c, p);
	c->pieces_free |= BIT(piece);
	if (--t->pieces == 0 && t->left == 0)
		c->tasks_free |= BIT(p->command);
}

/* Done with error: its reply may go out now, or is a part of one that may. */
static void
finish_piece(struct nbd *c, uint8_t piece, enum nbd_error error)
{
	struct nbd_piece *p = &c->piece[piece];
	struct nbd_task *t = &c->task[p->command];

	p->done = true;
	p->error = error;
	if (error != NBD_SUCCESS && t->error == NBD_SUCCESS)
		t->error = error;
	if (t->type == NBD_CMD_READ) {
		/* One that is sent in order comes out of the ring by its first piece. */
		if (t->ordered && (t->head != piece || c->stream == p->command))
			return;
	} else if (t->pieces > 1 || t->left != 0) {
		drop_piece(c, piece);
		return;
	} else {
		give_pages(c, p);
	}
	c->done[c->done_next++ % NBD_PIECES] = piece;
}

/* --- requests -------------------------------------------------------------- */

static enum nbd_error
error_of(enum status s)
{
	switch (s) {
	case OK: return NBD_SUCCESS;
	case E_INVALID:
	case E_RANGE:
	case E_ALIGN: return NBD_EINVAL;
	case E_READ_ONLY:
	case E_RIGHTS: return NBD_EPERM;
	case E_NO_MEMORY:
	case E_QUOTA: return NBD_ENOMEM;
	case E_UNSUPPORTED: return NBD_ENOTSUP;
	case E_NO_DEVICE:
	case E_PEER: return NBD_ESHUTDOWN;
	default: return NBD_EIO;
	}
}

static enum nbd_error
judge(const struct nbd *c, const struct nbd_task *t)
{
	const struct nbd_export *e = &c->exports[c->export];
	uint16_t allowed = NBD_CMD_FLAG_FUA;
	bool writes = t->type == NBD_CMD_WRITE || t->type == NBD_CMD_WRITE_ZEROES ||
	    t->type == NBD_CMD_TRIM;

	switch (t->type) {
	case NBD_CMD_READ:
		allowed |= c->structured ? NBD_CMD_FLAG_DF : 0;
		break;
	case NBD_CMD_WRITE_ZEROES:
		allowed |= NBD_CMD_FLAG_NO_HOLE;
		break;
	case NBD_CMD_BLOCK_STATUS:
		allowed |= NBD_CMD_FLAG_REQ_ONE;
		if (c->meta != c->export || t->left == 0)
			return NBD_EINVAL;
		break;
	case NBD_CMD_TRIM:
		if (e->trim_bytes == 0)
			return NBD_EINVAL;
		break;
	case NBD_CMD_WRITE:
		break;
	case NBD_CMD_FLUSH:
		return t->at != 0 || t->left != 0 || (t->flags & ~allowed) != 0 ? NBD_EINVAL :
										  NBD_SUCCESS;
	default:
		return NBD_EINVAL;
	}
	if ((t->flags & ~allowed) != 0)
		return NBD_EINVAL;
	if (writes && e->read_only)
		return NBD_EPERM;
	if (!range_within(t->at, t->left, 0, e->bytes))
		return writes && t->type != NBD_CMD_TRIM ? NBD_ENOSPC : NBD_EINVAL;
	if (((t->at | t->left) & (e->block_bytes - 1)) != 0)
		return NBD_EINVAL;
	if (t->left > NBD_MAX_BYTES && (t->type == NBD_CMD_READ || t->type == NBD_CMD_WRITE))
		return NBD_EINVAL;
	if ((t->flags & NBD_CMD_FLAG_DF) != 0 && t->left > e->piece_bytes)
		return NBD_EOVERFLOW;
	return NBD_SUCCESS;
}

/* Makes as many pieces of the last request as there is room for. */
static void
ask(struct nbd *c)
{
	const struct nbd_export *e = &c->exports[c->export];
	struct nbd_task *t = &c->task[c->asking];
	uint32_t most = e->piece_bytes;
	bool pages = t->type == NBD_CMD_READ || t->type == NBD_CMD_WRITE;

	if (t->type == NBD_CMD_TRIM) {
		most = e->trim_bytes;
	} else if (t->type == NBD_CMD_WRITE_ZEROES) {
		most = e->zero_bytes != 0 ? e->zero_bytes : e->piece_bytes;
		pages = e->zero_bytes == 0;
	}
	while (t->left != 0) {
		uint8_t i = make_piece(c, c->asking, (uint32_t)min_u64(t->left, most), pages);

		if (i == NBD_NONE)
			return;
		if (t->type == NBD_CMD_WRITE) {
			c->filling = i;
			c->filled = 0;
			return;
		}
		if (t->type == NBD_CMD_WRITE_ZEROES && pages)
			memset(data_of(c, &c->piece[i]), 0, c->piece[i].bytes);
		put_ready(c, i);
	}
	c->asking = NBD_NONE;
}

/* False: there is no room for it now. */
static bool
act_on_request(struct nbd *c)
{
	enum nbd_error error;
	struct nbd_task *t;
	uint8_t n, i;
	uint32_t len;

	/* What needs one piece without pages is given it here. */
	if (c->tasks_free == 0 || c->pieces_free == 0)
		return false;
	if (nbd_get32(c->in) != NBD_REQUEST_MAGIC) {
		c->state = NBD_BROKEN;
		return true;
	}
	n = (uint8_t)lowest_bit(c->tasks_free);
	t = &c->task[n];
	len = nbd_get32(c->in + 24);
	*t = (struct nbd_task){ .flags = nbd_get16(c->in + 4), .type = nbd_get16(c->in + 6),
		.cookie = nbd_get64(c->in + 8), .at = nbd_get64(c->in + 16), .left = len,
		.bytes = len, .head = NBD_NONE };
	if (t->type == NBD_CMD_DISC) {
		c->state = NBD_ENDING;
		return true;
	}
	c->tasks_free &= ~BIT(n);
	nbd_expect(c, NBD_TRANSMIT, NBD_REQUEST_BYTES);
	error = judge(c, t);
	t->ordered = t->type == NBD_CMD_READ && !c->structured &&
	    t->left > c->exports[c->export].piece_bytes;
	if (error == NBD_SUCCESS && t->type != NBD_CMD_FLUSH && t->left != 0 &&
	    t->type != NBD_CMD_BLOCK_STATUS) {
		c->asking = n;
		ask(c);
		return true;
	}
	if (error != NBD_SUCCESS && t->type == NBD_CMD_WRITE)
		c->skip = len;
	t->ordered = false;
	t->left = 0;
	i = make_piece(c, n, 0, false);
	if (error == NBD_SUCCESS && t->type == NBD_CMD_FLUSH)
		put_ready(c, i);
	else
		finish_piece(c, i, error);
	return true;
}

/* Data of a write; returns how much was taken. */
static size_t
fill(struct nbd *c, const uint8_t *from, size_t len)
{
	struct nbd_piece *p = &c->piece[c->filling];
	size_t n = min_u64(len, p->bytes - c->filled);

	memcpy(data_of(c, p) + c->filled, from, n);
	c->filled += (uint32_t)n;
	if (c->filled == p->bytes) {
		put_ready(c, c->filling);
		c->filling = NBD_NONE;
		ask(c);
	}
	return n;
}

/* All that is needed is in c->in.  False: it cannot be acted on now. */
static bool
act(struct nbd *c)
{
	if (c->phase == NBD_TRANSMIT)
		return act_on_request(c);
	if (c->text_bytes != 0 || c->wanted != NBD_NONE)
		return false;
	if (c->phase == NBD_HELLO)
		nbd_flags(c);
	else if (c->phase == NBD_HAGGLE)
		nbd_haggle(c);
	else
		nbd_act_on_option(c);
	return true;
}

size_t
nbd_input(struct nbd *c, const uint8_t *from, size_t len)
{
	size_t used = 0, n;

	if (c->asking != NBD_NONE && c->filling == NBD_NONE)
		ask(c);
	while (c->state == NBD_OPEN) {
		if (c->filling != NBD_NONE) {
			if (used == len)
				break;
			used += fill(c, from + used, len - used);
		} else if (c->asking != NBD_NONE) {
			break;
		} else if (c->skip != 0) {
			n = min_u64(len - used, c->skip);
			c->skip -= n;
			used += n;
			if (c->skip != 0)
				break;
		} else if (c->have != c->need) {
			if (used == len)
				break;
			n = min_u64(len - used, c->need - c->have);
			memcpy(c->in + c->have, from + used, n);
			c->have += (uint32_t)n;
			used += n;
		} else if (!act(c)) {
			break;
		}
	}
	return used;
}

bool
nbd_look(const struct nbd *c, struct nbd_request *r)
{
	const struct nbd_piece *p;
	const struct nbd_task *t;
	uint8_t i;

	if (!nbd_has(c))
		return false;
	i = c->ready[c->ready_first % NBD_PIECES];
	p = &c->piece[i];
	t = &c->task[p->command];
	*r = (struct nbd_request){ .at = p->at, .bytes = p->bytes, .piece = i,
		.data = (uint32_t)(p->page * PAGE_SIZE),
		.fua = (t->flags & NBD_CMD_FLAG_FUA) != 0 && t->type != NBD_CMD_READ };
	switch (t->type) {
	case NBD_CMD_READ: r->op = NBD_READ; break;
	case NBD_CMD_FLUSH: r->op = NBD_FLUSH; break;
	case NBD_CMD_TRIM: r->op = NBD_TRIM; break;
	case NBD_CMD_WRITE_ZEROES:
		r->op = p->pages == 0 ? NBD_ZERO : NBD_WRITE;
		break;
	default: r->op = NBD_WRITE; break;
	}
	return true;
}

bool
nbd_take(struct nbd *c, struct nbd_request *r)
{
	if (!nbd_look(c, r))
		return false;
	c->ready_first++;
	c->out++;
	return true;
}

void
nbd_done(struct nbd *c, uint8_t piece, enum status status)
{
	c->out--;
	finish_piece(c, piece, error_of(status));
}

/* --- replies --------------------------------------------------------------- */

static uint8_t *
chunk(struct nbd *c, const struct nbd_task *t, uint16_t type, bool last, uint32_t len)
{
	uint8_t *p = nbd_put32(c->text, NBD_STRUCTURED_MAGIC);

	p = nbd_put16(p, last ? NBD_REPLY_FLAG_DONE : 0);
	p = nbd_put16(p, type);
	p = nbd_put64(p, t->cookie);
	c->text_bytes = NBD_CHUNK_BYTES + len;
	return nbd_put32(p, len);
}

static void
simple(struct nbd *c, const struct nbd_task *t, enum nbd_error error)
{
	uint8_t *p = nbd_put32(c->text, NBD_SIMPLE_MAGIC);

	p = nbd_put32(p, error);
	(void)nbd_put64(p, t->cookie);
	c->text_bytes = NBD_SIMPLE_BYTES;
}

/* Makes the reply of a piece that is done: text, and then, of a read, its data. */
static void
reply(struct nbd *c, uint8_t i)
{
	const struct nbd_piece *p = &c->piece[i];
	struct nbd_task *t = &c->task[p->command];
	bool last = t->pieces == 1 && t->left == 0, data = false;
	uint8_t *to;

	if (!c->structured || (t->type != NBD_CMD_READ && t->type != NBD_CMD_BLOCK_STATUS)) {
		/* After an error there is no data; what else was asked for of it goes nowhere. */
		simple(c, t, t->error);
		t->silent = t->error != NBD_SUCCESS;
		data = t->type == NBD_CMD_READ && !t->silent;
		if (t->ordered)
			c->stream = p->command;
	} else if (p->error != NBD_SUCCESS) {
		to = chunk(c, t, p->bytes != 0 ? NBD_REPLY_ERROR_OFFSET : NBD_REPLY_ERROR, last,
		    p->bytes != 0 ? 14 : 6);
		to = nbd_put32(to, p->error);
		to = nbd_put16(to, 0);
		if (p->bytes != 0)
			(void)nbd_put64(to, p->at);
	} else if (t->type == NBD_CMD_BLOCK_STATUS) {
		/* All of it is allocated: no block server says what a disk has given back. */
		to = nbd_put32(chunk(c, t, NBD_REPLY_BLOCK_STATUS, true, 12), 1);
		to = nbd_put32(to, t->bytes);
		(void)nbd_put32(to, 0);
	} else if (p->bytes != 0) {
		to = chunk(c, t, NBD_REPLY_OFFSET_DATA, last, 8 + p->bytes);
		c->text_bytes -= p->bytes;
		(void)nbd_put64(to, p->at);
		data = true;
	} else {
		(void)chunk(c, t, NBD_REPLY_NONE, true, 0);
	}
	c->sending = i;
	c->sent = data ? 0 : p->bytes;
}

/* What goes out next, if anything: false when there is nothing. */
static bool
next_reply(struct nbd *c)
{
	struct nbd_task *t;

	if (c->stream == NBD_NONE) {
		if (c->done_first == c->done_next)
			return false;
		reply(c, c->done[c->done_first++ % NBD_PIECES]);
		return true;
	}
	t = &c->task[c->stream];
	if (t->head == NBD_NONE || !c->piece[t->head].done)
		return false;
	if (c->piece[t->head].error != NBD_SUCCESS && !t->silent) {
		c->state = NBD_BROKEN;	/* the header said that there was no error */
		return false;
	}
	c->sending = t->head;
	c->sent = t->silent ? c->piece[t->head].bytes : 0;
	return true;
}

/* The piece in c->sending is out. */
static void
sent(struct nbd *c)
{
	uint8_t i = c->sending;
	struct nbd_task *t = &c->task[c->piece[i].command];

	c->sending = NBD_NONE;
	if (t->ordered) {
		t->head = c->piece[i].next;
		if (t->head == NBD_NONE && t->left == 0)
			c->stream = NBD_NONE;
	}
	drop_piece(c, i);
}

size_t
nbd_output(struct nbd *c, uint8_t *to, size_t room)
{
	size_t used = 0, n;

	while (used != room && c->state != NBD_BROKEN) {
		if (c->text_bytes != 0) {
			n = min_u64(room - used, c->text_bytes - c->text_at);
			memcpy(to + used, c->text + c->text_at, n);
			c->text_at += (uint32_t)n;
			used += n;
			if (c->text_at != c->text_bytes)
				break;
			c->text_at = c->text_bytes = 0;
		} else if (c->sending != NBD_NONE) {
			const struct nbd_piece *p = &c->piece[c->sending];

			n = min_u64(room - used, p->bytes - c->sent);
			if (n != 0)
				memcpy(to + used, data_of(c, p) + c->sent, n);
			c->sent += (uint32_t)n;
			used += n;
			if (c->sent != p->bytes)
				break;
			sent(c);
		} else if (!next_reply(c)) {
			break;
		}
	}
	/* A piece may be out without a byte to send. */
	if (c->text_bytes == 0 && c->sending != NBD_NONE && c->sent == c->piece[c->sending].bytes)
		sent(c);
	return used;
}

bool
nbd_over(const struct nbd *c)
{
	if (c->state == NBD_BROKEN)
		return true;
	return c->state == NBD_ENDING && c->text_bytes == 0 && c->sending == NBD_NONE &&
	    (c->tasks_free == UINT64_MAX);
}
