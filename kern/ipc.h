/*
 * Endpoints and notifications.
 *
 * An endpoint has two queues, of which one is always empty: callers whose message nobody took yet,
 * receivers that wait for one.  A call delivers straight into a waiting receiver's registers and
 * hands the CPU over.  The receiver answers by token: index of the calling thread and the sequence
 * number of its wait, valid once, and only in the process that took the call.
 *
 * A notification is 64 bits and at most one waiter.  A receiver may name one beside its endpoint:
 * whichever comes first wakes it, by claiming its wait (thread.h).
 */
#pragma once

#include "kern/abi/syscall.h"
#include "kern/base/list.h"
#include "kern/object.h"

struct thread;
struct uregs;

struct endpoint {
	struct object obj;
	struct list callers, receivers;		/* (l) */
	uint32_t receiving; /* (a) handles with RIGHT_RECV; at 0 nobody will ever answer */
};

struct notification {
	struct object obj;
	uint64_t bits;				/* (l) */
	struct thread *waiter;			/* (l) */
};

NODISCARD enum status endpoint_create(struct process *payer, struct endpoint **out);
NODISCARD enum status notification_create(struct process *payer, struct notification **out);

/* Sets bits, wakes the waiter.  Any context; takes the notification's lock.  False: all of them
 * stood there already, and nobody has taken them. */
bool notification_signal(struct notification *n, uint64_t bits);

/* The calls; registers as in kern/abi/syscall.h. */
enum status sys_ipc_call(struct thread *t, struct uregs *u);
enum status sys_ipc_recv(struct thread *t, struct uregs *u);
enum status sys_ipc_reply(struct thread *t, struct uregs *u);
enum status sys_ipc_reply_recv(struct thread *t, struct uregs *u);
enum status sys_ntfn_signal(struct thread *t, struct uregs *u);
enum status sys_ntfn_signal_wait(struct thread *t, struct uregs *u);

/* A thread that was at rest, or is new, runs on its own stack: does what is left (thread->rest).
 * Entry code calls it. */
void ipc_rested(void);

/* After a wait for the notification that ended with s: what is left of it.  The result is the
 * call's status. */
enum status notification_wait_over(struct thread *t, struct notification *n, enum status s);

/* A handle with RIGHT_RECV was made or went; with the last one the endpoint is dead. */
void endpoint_receiver_added(struct object *o);
void endpoint_receiver_gone(struct object *o);

/* Makes every waiting caller and receiver give up with E_PEER; after the object was bumped. */
void endpoint_flush(struct endpoint *e);
void notification_flush(struct notification *n);

/* The process ends: whoever waits for a reply from it gets E_PEER. */
void ipc_server_gone(struct process *p);
