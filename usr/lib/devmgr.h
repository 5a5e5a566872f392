/*
 * What the device manager and init answer, by label.  The reply's label is an enum status.
 *
 * Who calls is known by the badge of its handle, which init or the device manager minted for it: a
 * driver's handle is good for DEVMGR_READY only, and init looks up in the manifest what the
 * caller's service may ask.
 */
#pragma once

#include "usr/lib/os.h"

enum devmgr_call : uint32_t {
	DEVMGR_BLOCK =
	    1, /* w0 n: the n-th block driver -> w0 handle (call), w1 n, w2 pid, w3 restarts, w4
		  function, w5 state; E_NO_DEVICE: nobody serves it any more, w4 and w5 tell why.
		  Without the capability "all-disks" the handle is good for asking only (blk.h) */
	DEVMGR_KILL,    /* w0 pid.  This, ROGUE and REVOKE: with the capability "control" */
	DEVMGR_ROGUE,   /* w0 n: restart the n-th block driver (w1: 1 the n-th network driver) as
			    one that lies (tests) */
	DEVMGR_READY,   /* from a driver: it serves from now on */
	DEVMGR_LIST,    /* w0 n -> a struct supervised in w0..w7; E_NOT_FOUND past the last */
	DEVMGR_PROGRAM, /* w0 n -> SHA-256 of the n-th driver's program file in w0..w3, as bytes;
			    w4 its length */
	DEVMGR_NET,     /* w0 n: as DEVMGR_BLOCK, of the n-th network driver; E_RIGHTS with neither
			   of the capabilities "packets" and "interfaces": good for what they say */
	DEVMGR_ARCHIVE, /* -> SHA-256 of the boot archive in w0..w3, as bytes; w4 its length */
	DEVMGR_DISK, /* w0 n: the n-th of the caller's "disks" -> w0 handle (call) good for it
			alone, w1 BLK_RIGHT_*, w2 controller << 32 | namespace, w3 state, w4..w7 its
			name; E_NOT_FOUND past the last; E_NO_DEVICE: nobody serves it now, and the
			words are there */
	DEVMGR_REVOKE =
	    50, /* w0 n: the n-th block driver's device is taken away from it; it may be had
			       again when that is over */
	INIT_KILL = 100, /* w0 pid */
	INIT_KEEP,       /* w0 process, w1 endpoint, w2 device (handles); w3 function, w4 index, w5
			    restarts: kept for a successor */
	INIT_KEPT,       /* w0 n -> the same */
	INIT_LIST,       /* as DEVMGR_LIST */
	INIT_SOCKETS, /* w0 badge that a service calls with -> w0 1: it may connect, w1..w4 ports
			 that it may listen on, 16 bits each, 0 past the last, w5..w7 its name;
			 E_NOT_FOUND */
	INIT_READY,   /* from a service: it serves from now on; init measures how long that took */
};

/* A program that somebody watches over. */
enum supervised_state : uint8_t {
	SUPERVISED_RUNNING,
	SUPERVISED_STARTING,		/* runs, but has not said that it serves */
	SUPERVISED_WAITING,		/* ended; is started again after a while */
	SUPERVISED_REFUSED,		/* its device is not granted: the verdict, or policy */
	SUPERVISED_GIVEN_UP,		/* ended too often */
	SUPERVISED_DISABLED,		/* its device faulted too often */
	SUPERVISED_FINISHED,		/* was to run once, and did */
	SUPERVISED_LEFT_OUT,		/* the machine has too little memory for it */
	SUPERVISED_UNPLUGGED,		/* its device was taken out; clients wait for its return */
};

struct supervised {
	uint32_t pid;			/* 0: none now */
	uint8_t state;			/* enum supervised_state */
	bool driver;
	uint32_t function;		/* of a driver: segment << 16 | rid */
	uint32_t quick;			/* quick ends in a row */
	uint64_t restarts;
	uint64_t recovery_ns;		/* from the last end to serving again; 0: none yet */
	char name[PROCESS_NAME];
};
static_assert(sizeof(struct supervised) <= sizeof(((struct msg *)0)->w));

/* Prints how a process ended, with the names of functions from its program file (NULL: without), to
 * the log.  Why it ended, and when that began; EXIT_RUNNING when it cannot be told. */
enum exit_reason
epitaph_print(handle_t process, const uint8_t *image, uint64_t len, uint64_t *at_ns);
