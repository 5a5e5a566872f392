/*
 * The server's end of one NBD connection: bytes in, bytes out, and block requests as events.  It
 * makes no system call and takes no memory, so the same source runs on the host, behind a socket
 * and over a file (tests/tools/nbdhost.c).
 *
 *     nbd_input    what the client sent; takes as much as there is room to act on
 *     nbd_take     the next block request, to be made by the caller; nbd_done when it is answered
 *     nbd_output   what goes to the client
 *     nbd_wants    the client chose an export: the caller gives it an area, or says why not
 *
 * A request of any length is cut into pieces of at most NBD_PIECE_BYTES, which are block requests
 * of their own. The data of a piece lies in the connection's area, from the moment it is asked
 * for until the client has it. When pieces or area are used up the input waits; whatever a client
 * asks for, a connection never has more than its area and this struct.
 *
 *   free -> filling (a write) -> ready -> out (nbd_take) -> done (nbd_done) -> free (nbd_output)
 *
 * Replies go out as pieces are done, in any order.  Without structured replies the data of a long
 * read has to come in order and nothing between: it begins when its first piece is done, and then
 * the others wait.  Its next pieces need no more than what its sent ones gave back, since the input
 * stands still until all of them have been asked for.
 *
 * Flush: the caller's flush covers every write that any connection to the export was answered, so
 * exports are offered to several connections at a time (CAN_MULTI_CONN).
 *
 * Not here sockets and disks (main.c), negotiation (option.c).
 * Manual   NetworkBlockDevice doc/proto.md.
 */
#pragma once

#include "kern/abi/status.h"
#include "usr/nbdd/wire.h"

enum {
	NBD_PIECES = 64,
	NBD_REQUESTS = 64,
	NBD_PIECE_BYTES = 128 * 1024,
	NBD_AREA_PAGES = 128,		/* the most that a connection uses; it needs one piece */
	NBD_TEXT = 4096,		/* an option's data, and the replies to one */
	NBD_NAME = 32,
	NBD_ABOUT = 96,
	NBD_EXPORTS = 16,
	NBD_NONE = 0xff,
};
enum : uint32_t {
	NBD_MAX_BYTES = 32 * 1024 * 1024,	/* what clients are told to ask for at most */
	NBD_DRAIN_BYTES = 64 * 1024	/* a longer option's data ends the connection */
};

struct nbd_export {
	char name[NBD_NAME], about[NBD_ABOUT];
	uint64_t bytes;			/* 0: not there now */
	uint32_t block_bytes;		/* a power of two, at most PAGE_SIZE */
	uint32_t piece_bytes; /* most in one block request; pages, at most NBD_PIECE_BYTES */
	bool read_only;
	/* Most in one trim, or in one request to write zeroes; 0: neither can be asked for.  What
	 * cannot write zeroes writes pages of them. */
	uint32_t trim_bytes, zero_bytes;
};

enum nbd_op : uint8_t { NBD_READ, NBD_WRITE, NBD_FLUSH, NBD_TRIM, NBD_ZERO };

/* A block request. */
struct nbd_request {
	uint64_t at;
	uint32_t bytes;
	uint32_t data;			/* offset in the connection's area: read and write */
	enum nbd_op op;
	bool fua;
	uint8_t piece;			/* its name, for nbd_done */
};

enum nbd_state : uint8_t {
	NBD_OPEN,
	NBD_ENDING,	/* the client said goodbye: over when nothing is out and all is sent */
	NBD_BROKEN,	/* what it said cannot be: close it now */
};

struct nbd_piece {
	uint64_t at;
	uint32_t bytes;
	uint8_t page, pages;		/* of the area */
	uint8_t command;		/* index of what it is a piece of */
	uint8_t next;			/* of a read that is sent in order */
	bool done;
	enum nbd_error error;
};

struct nbd_task {
	uint64_t cookie, at;		/* at: of the next piece */
	uint32_t left;			/* bytes that no piece was made for yet */
	uint32_t bytes;
	uint16_t type, flags;
	uint8_t pieces;			/* not sent yet */
	uint8_t head, tail;		/* of a read that is sent in order: its pieces */
	bool ordered, silent;		/* silent: its reply was an error */
	enum nbd_error error;
};

struct nbd {
	const struct nbd_export *exports;
	uint32_t export_count;
	enum nbd_state state;
	uint8_t phase;
	uint8_t export;			/* NBD_NONE: not chosen yet */
	uint8_t wanted;			/* the choice that the caller has to answer */
	uint8_t meta;			/* export whose allocation may be asked for */
	uint32_t option, option_bytes;	/* being read, or waiting for the caller */
	bool no_zeroes, structured;

	uint8_t *area;
	uint32_t area_pages, pages_used;
	unsigned __int128 taken;	/* pages, by bit */

	uint32_t need, have;		/* bytes of in */
	uint64_t skip;			/* bytes to be thrown away first */
	uint8_t filling;		/* piece that input goes into, and how far it is */
	uint32_t filled;
	uint8_t asking;			/* task whose pieces are not all made */

	uint8_t ready[NBD_PIECES], done[NBD_PIECES];	/* rings of pieces */
	uint32_t ready_first, ready_next, done_first, done_next;
	uint32_t out;			/* pieces that the caller has */
	uint8_t sending;		/* piece whose data goes out, and how far it is */
	uint32_t sent;
	uint8_t stream; /* task whose data goes out in order, with nothing between */

	uint64_t pieces_free, tasks_free;	/* by bit */
	struct nbd_piece piece[NBD_PIECES];
	struct nbd_task task[NBD_REQUESTS];

	uint32_t text_at, text_bytes;	/* of text that is to be sent */
	uint8_t in[NBD_TEXT], text[NBD_TEXT];
};

/* A new connection.  exports: at most NBD_EXPORTS, the first is also the one without a name; they
 * stay where they are, and their sizes may change until one is chosen. */
void nbd_init(struct nbd *c, const struct nbd_export *exports, uint32_t count);

/* Returns how much was taken.  Less than len: there is no room to act on it now; come again after
 * nbd_done, nbd_output or nbd_answer. */
size_t nbd_input(struct nbd *c, const uint8_t *from, size_t len);
/* Writes at most room bytes and returns how many. */
size_t nbd_output(struct nbd *c, uint8_t *to, size_t room);

/* The export that the client chose and that nbd_answer is waited for; NBD_NONE. */
static inline uint8_t nbd_wants(const struct nbd *c) { return c->wanted; }
/* area: NULL when the export cannot be had; else pages of it, at least the export's piece_bytes.
 * It is used until nbd_idle. */
void nbd_answer(struct nbd *c, uint8_t *area, uint32_t pages);

/* False: there is none now.  nbd_look leaves it there. */
bool nbd_look(const struct nbd *c, struct nbd_request *r);
bool nbd_take(struct nbd *c, struct nbd_request *r);
static inline bool nbd_has(const struct nbd *c) { return c->ready_first != c->ready_next; }
/* What was taken ended so.  For reads that are OK the data is in the area. */
void nbd_done(struct nbd *c, uint8_t piece, enum status status);

/* Nothing of the area is with the caller. */
static inline bool nbd_idle(const struct nbd *c) { return c->out == 0; }
/* The client is past negotiation. */
static inline bool nbd_serves(const struct nbd *c) { return c->export != NBD_NONE; }
/* The connection is to be closed: now, or now that all is said. */
bool nbd_over(const struct nbd *c);

/* --- between option.c and proto.c ------------------------------------------ */

enum nbd_phase : uint8_t { NBD_HELLO, NBD_HAGGLE, NBD_OPTION, NBD_TRANSMIT };

/* The next need bytes go to in, and are acted on when they are there. */
static inline void
nbd_expect(struct nbd *c, enum nbd_phase phase, uint32_t need)
{
	c->phase = phase;
	c->need = need;
	c->have = 0;
}

void nbd_flags(struct nbd *c);
void nbd_haggle(struct nbd *c);
void nbd_act_on_option(struct nbd *c);
