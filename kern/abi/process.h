/*
 * Processes as others see them: how one ended, and what the process list says.
 */
#pragma once

#include "kern/base/types.h"

enum fault_kind : uint8_t {
	FAULT_NONE,
	FAULT_READ, /* bad address */
	FAULT_WRITE,
	FAULT_EXECUTE,
	FAULT_INSTRUCTION, /* undefined or privileged instruction */
	FAULT_DIVIDE,
	FAULT_FP, /* floating point or vector unit used */
	FAULT_ALIGNMENT,
	FAULT_BREAKPOINT,
	FAULT_MACHINE, /* external abort, machine check: not the process's doing */
	FAULT_STACK,   /* bad address within a page below the thread's stack pointer: stack overflow
			*/
	FAULT_BRANCH,  /* an indirect branch to what is no landing place */
	FAULT_SIGNATURE, /* an address whose signature is wrong */
};

static inline const char *
fault_kind_text(enum fault_kind k)
{
	static const char *const text[] = {
		"none",
		"read of a bad address",
		"write to a bad address",
		"jump to a bad address",
		"undefined instruction",
		"division error",
		"floating point used",
		"misaligned access",
		"breakpoint",
		"machine error",
		"stack overflow",
		"jump to what is no landing place",
		"wrong signature of an address",
	};

	return k < sizeof(text) / sizeof(text[0]) ? text[k] : "unknown";
}

struct fault_info {
	enum fault_kind kind;
	uint32_t code;		/* ESR_EL1, or vector << 16 | error code */
	uint64_t address;	/* bad address, when there is one */
};

enum exit_reason : uint8_t { EXIT_RUNNING, EXIT_NORMAL, EXIT_KILLED, EXIT_FAULT, EXIT_QUOTA };

enum { EPITAPH_REGS = 40, EPITAPH_FRAMES = 24, PROCESS_NAME = 24 };

/* How a process ended; readable through its handle until that is closed. */
struct epitaph {
	enum exit_reason reason;
	struct fault_info fault;
	uint64_t exit_code;
	uint64_t at_ns; /* when it began to end: its handles and devices end after that */
	uint32_t thread;			/* which thread */
	uint32_t reg_count, frame_count;
	struct { char name[8]; uint64_t value; } reg[EPITAPH_REGS];
	uint64_t frame[EPITAPH_FRAMES];		/* program counter first, then return addresses */
	char name[PROCESS_NAME];
};

/* What a process may have, together with all that it makes: taken out of its maker's. */
struct process_limits {
	uint64_t pages;				/* of memory, and tables */
	uint64_t objects;			/* of the kernel, and mappings */
	uint32_t threads, processes;
	uint32_t vectors;			/* message interrupts */
	uint32_t unused;			/* 0 */
};

enum process_state : uint8_t { PROCESS_NEW, PROCESS_RUNNING, PROCESS_ENDING, PROCESS_DEAD };

struct process_info {
	uint32_t id;
	uint32_t parent_id; /* who pays for it: its maker, or when that is dead whoever pays for
			       that; 0: nobody */
	enum process_state state;
	uint8_t priority;			/* of its first thread */
	uint16_t threads;
	uint32_t handles;
	uint64_t cpu_ns;
	uint64_t pages, pages_max, objects, objects_max;
	uint64_t quota_refused;			/* times that something did not fit into them */
	uint64_t large_leaves;			/* 2 MiB each, mapped now */
	uint32_t threads_used, threads_max;	/* with those of the processes that it made */
	uint32_t processes, processes_max;
	uint32_t vectors, vectors_max;
	char name[PROCESS_NAME];
};
