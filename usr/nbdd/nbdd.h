/*
 * The NBD server's parts: connections and the loop (main.c), exports and their disks (disk.c), the
 * protocol (proto.c, option.c), the manifest's words (exports.c).
 */
#pragma once

#include "usr/lib/blk.h"
#include "usr/lib/sock.h"
#include "usr/nbdd/exports.h"

enum {
	NBD_PORT = 10809,
	CONNECTIONS = 16,
	EXPORTS = 8,
	SHARES = 8,			/* connections to one export */
	SHARE_PAGES = 64,		/* of the data area, for each of them */
};
enum : uint64_t { BIT_SOCKETS = 1, BIT_DISKS = 2 };

struct connection {
	bool used, ending;
	bool waits;			/* has a request that found no room at the disk */
	struct sock s;
	struct nbd nbd;
	uint8_t share;			/* of the export's area; NBD_NONE: none yet */
	uint64_t since;
};

extern struct nbd_export exports[EXPORTS];
extern uint32_t export_count;
extern struct connection connection[CONNECTIONS];
extern handle_t devmgr, ntfn;

/* Exports as the manifest has them; what is wrong in a word is a line in the log. */
void disks_init(const char *args);
/* Looks for the disks of exports that have none yet, and are not in use. */
void disks_look(void);
/* A share of the export's area for a connection: opens the session when it is the first.  False: it
 * cannot be had, and the log says why. */
bool disk_join(uint8_t export, struct connection *c);
/* When nothing of it is in flight.  The last one closes the session. */
void disk_leave(struct connection *c);
/* Gives the disk what the connection asks for, as far as there is room. */
void disk_put(struct connection *c);
/* Takes answers of all disks: true when there were any.  *again: look again at that time, since a
 * server is not there. */
bool disks_turn(uint64_t *again);
/* True: nothing to take, and their servers signal from now on. */
bool disks_may_sleep(void);
void disks_woke(void);
