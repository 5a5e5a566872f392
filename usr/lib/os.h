/*
 * What every program has: how it was started, printing, memory, messages.
 *
 * A program starts with nothing but the handles its spawner gave it, by name, in a start block that
 * is mapped read-only.
 */
#pragma once

#include "kern/abi/boot.h"
#include "kern/abi/dma.h"
#include "kern/abi/process.h"
#include "kern/base/fmt.h"
#include "kern/base/str.h"
#include "usr/lib/sys.h"

enum { START_NAMES = 24, START_NAME = 20, START_ARGS = 1024 };
enum : uint32_t { START_MAGIC = 0x53747274 };

struct start_block {
	uint32_t magic, count;
	uint64_t restarts;		/* of this program by its supervisor; 0: the first start */
	struct { char name[START_NAME]; handle_t handle; } handle[START_NAMES];
	char args[START_ARGS];		/* one string, for the program to read as it likes */
};

/* The program's main: its start block (or init's boot information).  The result is the exit code.
 */
NOINLINE int main(void);	/* noinline: backtraces show it */

extern const struct start_block *start_info;
extern const struct boot_info *boot_info;	/* init only */

/* A handle by the name its spawner gave it; HANDLE_NONE when there is none. */
handle_t start_handle(const char *name);
/* The number after "name=" in the program's arguments; "otherwise" when it is not there. */
uint32_t start_number(const char *name, uint32_t otherwise);
/* Processors that are online; 1 when the kernel's handle does not tell. */
uint32_t cpu_count(void);

/* Prints to the console (the "kernel" handle must carry KERNEL_CONSOLE). */
void print(const char *format, ...) PRINTF(1, 2);
/* Output is kept until a line is whole; this writes what there is. */
void print_flush(void);
void print_raw(const char *text, size_t len);
/* A line into the system log. */
void log_line(unsigned level, const char *format, ...) PRINTF(2, 3);
/* A line about trouble, as a warning; only so many a second, so that no client can fill the log. */
void complain(const char *format, ...) PRINTF(1, 2);

/* Logs one line, of at most 199 characters, as an error, and ends the process with exit code 1. */
NORETURN void die(const char *format, ...) PRINTF(1, 2);

/* A driver's word to the device manager that it serves from now on: how long recovery took is
 * measured up to here. */
void service_ready(void);

/* Nanoseconds since boot: the clock of all deadlines. */
uint64_t now_ns(void);
/* Returns at once when that time is past. */
void sleep_until(uint64_t ns);

/* Zeroed memory of whole pages, mapped here; NULL when there is none. */
void *pages_alloc(uint64_t pages, handle_t *memory);
/* The same; flags: MEM_*. */
void *pages_alloc_as(uint64_t pages, uint32_t flags, handle_t *memory);

/* Messages. */
struct msg {
	uint64_t w[8];
	uint64_t label;			/* TAG_LABEL */
	uint32_t words;
	uint32_t handles;		/* bit n: w[n] is a handle */
	uint64_t badge, token;
	bool notification;		/* received: w[0] is bits */
};

/*
 * Deadlines are nanoseconds since boot, or DEADLINE_NEVER; 0 does not wait for the other side to
 * come (E_WOULD_BLOCK).
 *
 * The answer comes in *m, its label too; on an error *m is as it was.  E_TIMED_OUT: the call is
 * taken back, and a reply finds nothing.  E_PEER: the server ended.  E_HANDLE, E_STALE, E_TYPE,
 * E_RIGHTS: of the endpoint or of a handle that goes along.
 */
NODISCARD enum status msg_call(handle_t endpoint, struct msg *m, uint64_t deadline);
/* Waits for a call, or for the notification (HANDLE_NONE: none).  E_BUSY: another thread waits for
 * that notification. */
NODISCARD enum status msg_recv(handle_t endpoint, handle_t ntfn, struct msg *m, uint64_t deadline);
/* Answers the call that m->token names, and never waits.  E_PEER: the caller is gone or has given
 * up. */
NODISCARD enum status msg_reply(struct msg *m);

/*
 * What an answer says, once msg_call was OK.  OK: the handles of this mask came with it, and no
 * others are kept.  Else none are; E_CORRUPT: its label is no status, or one of them is missing.
 * So what a server that lies says is never taken for a handle: it could name one of the caller's
 * own.
 */
NODISCARD static inline enum status
msg_answer(const struct msg *m, uint32_t handles)
{
	enum status s = m->label < STATUS_COUNT ? (enum status)m->label : E_CORRUPT;

	if (s == OK && (m->handles & handles) != handles)
		s = E_CORRUPT;
	for (unsigned i = 0; i < 4; i++)
		if ((m->handles >> i & 1) != 0 && (s != OK || (handles >> i & 1) == 0))
			(void)sys_handle_close(m->w[i]);
	return s;
}

/* Archive access for programs that hold it. */
const uint8_t *
archive_file(const uint8_t *archive, uint64_t len, const char *name, uint64_t *file_len);

/* Spawning: a program file into a new process with a start block.  On OK *process is its handle. */
struct spawn {
	const char *name;
	const uint8_t *image;
	uint64_t image_len;
	const char *args;
	struct process_limits limits;
	uint64_t restarts;
	uint8_t priority;
	uint32_t count;
	struct {
		const char *name;
		handle_t handle;
		uint32_t rights;
	} give[START_NAMES]; /* rights 0: all that the handle has */
};
enum status spawn(struct spawn *s, handle_t *process);

/* The same; when the caller has not got so much to give, with what it has: s->limits says it then.
 */
enum status spawn_within(struct spawn *s, handle_t *process);

/* Name of the function an address lies in, from a program file's symbol table; NULL when unknown.
 */
const char *symbol_of(const uint8_t *image, uint64_t len, uint64_t address, uint64_t *offset);
