/*
 * The NBD server's parts: connections and the loop (main.c), exports and their disks (disk.c), the
 * protocol (proto.c, option.c), the manifest's words (exports.c).
 */
#pragma once

#include "usr/lib/blk.h"
#include "usr/lib/sock_server.h"
#include "usr/nbdd/exports.h"

enum {
	NBD_PORT = 10809,
	CONNECTIONS = 16,
	EXPORTS = 8,
	SHARES = 12,			/* connections to one export */
	SHARE_PAGES = 64,		/* of the data area, for each of them */
};
enum : uint64_t { BIT_SOCKETS = 1, BIT_DISKS = 2 };

struct connection {
	bool used, ending;
	bool waits;			/* for its disk: a choice, or a request without room */
	struct sock s;
	struct nbd nbd;
	uint8_t share;			/* of the export's area; NBD_NONE: none yet */
	uint64_t since;
};

extern struct nbd_export exports[EXPORTS];
extern uint32_t export_count;
extern struct connection connection[CONNECTIONS];
extern handle_t devmgr, ntfn;

/* The disks that the device manager has for this service. */
void disks_init(void);
/* Looks for the disks of exports that have none yet, and are not in use, if so wished.  True: none
 * is looked for any more. */
bool disks_look(bool again);
/* Answers the connection's choice of an export.  False: that takes a while, try again after
 * disks_turn. */
bool disk_join(uint8_t export, struct connection *c);
/* When nothing of it is in flight. */
void disk_leave(struct connection *c);
/* Gives the disk what the connection asks for, as far as there is room. */
void disk_put(struct connection *c);
/* Takes answers of all disks: true when there was anything. */
bool disks_turn(void);
/* True: nothing to take, and their servers signal from now on. */
bool disks_may_sleep(void);
void disks_woke(void);
