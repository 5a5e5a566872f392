/*
 * Objects, handles, rights.
 *
 * A handle is one 32-bit word: index in the process's table (low 16 bits) and the generation of
 * that slot (high 16 bits).  0 is never a handle.  Each handle has rights; dup, give and
 * transfer by message can only drop rights.  Revoking bumps the object's generation: all handles
 * to it are stale from then on (E_STALE).
 */
#pragma once

#include "kern/base/types.h"

typedef uint32_t handle_t;

enum : uint32_t { HANDLE_NONE = 0 };

enum object_type : uint8_t {
	OBJ_NONE,
	OBJ_KERNEL,		/* the kernel's own facilities, by right: see KERNEL_* */
	OBJ_PROCESS,
	OBJ_MEMORY,
	OBJ_ENDPOINT,
	OBJ_NOTIFICATION,
	OBJ_DEVICE,		/* one claimed isolation group, with its DMA domain */
	OBJ_MMIO,		/* a register window */
	OBJ_IRQ,
	OBJ_BUFFER,		/* one DMA grant */
	OBJ_QUEUE,		/* a pair of rings of a device, whose entries the kernel checks */
	OBJ_TYPES
};

enum rights : uint32_t {
	RIGHT_READ = 1u << 0,  /* memory: map readable; process: info */
	RIGHT_WRITE = 1u << 1, /* memory, mmio: map writable */
	RIGHT_EXEC = 1u << 2,  /* memory: map executable */
	RIGHT_DMA = 1u << 3,   /* memory: may be granted to a device */
	RIGHT_GIVE = 1u << 4,  /* may be duplicated and handed on */
	RIGHT_MANAGE =
	    1u << 5,          /* revoke, kill, watch, map into, start threads in, give handles to */
	RIGHT_CALL = 1u << 6, /* endpoint: call */
	RIGHT_RECV = 1u << 7, /* endpoint: receive, mint */
	RIGHT_SIGNAL = 1u << 8,     /* notification: signal */
	RIGHT_WAIT = 1u << 9,       /* notification: wait */
	RIGHT_SUPERVISE = 1u << 10, /* device: watch it as its supervisor; not for drivers */
	RIGHT_ALL = 0x7ff,

	/* OBJ_KERNEL: one facility each */
	KERNEL_DEVICES = 1u << 16, /* list and claim devices */
	KERNEL_CONSOLE = 1u << 17,
	KERNEL_LOG = 1u << 18,  /* read the log; writing needs any OBJ_KERNEL handle */
	KERNEL_INFO = 1u << 19, /* process list, memory, units, grants */
	KERNEL_POWER = 1u << 20,
	KERNEL_TRACE = 1u << 21, /* read the trace */
	KERNEL_ALL = 0x3f0000,
};

/* mem_create flags */
enum : uint32_t {
	MEM_CONTIGUOUS = 1u << 0,	/* one physically contiguous, naturally aligned run */
	MEM_BELOW_4G   = 1u << 1,
};

/* mem_info flags */
enum : uint32_t { MEM_SEALED = 1u << 8, MEM_POISONED = 1u << 9 };

/* info(handle, what, index): what is asked.  The handle's type decides what is allowed. */
enum info_what : uint32_t {
	INFO_PROCESS, /* OBJ_PROCESS: that one, 0 the caller's own; OBJ_KERNEL: the index-th. struct
			 process_info */
	INFO_EPITAPH, /* OBJ_PROCESS.  struct epitaph */
	INFO_MEMORY,  /* OBJ_KERNEL.  struct memory_info */
	INFO_CPU,     /* OBJ_KERNEL, index = cpu.  struct cpu_info */
	INFO_FUNCTION, /* OBJ_KERNEL: index-th PCI function; OBJ_DEVICE: index-th of the group.
			  struct function_info */
	INFO_UNIT,     /* OBJ_KERNEL: index-th IOMMU.  struct unit_info */
	INFO_GRANT,    /* OBJ_KERNEL: index-th DMA grant.  struct grant_info */
	INFO_DEVICE,   /* OBJ_DEVICE: itself; OBJ_KERNEL: index-th claimed.  struct device_info */
	INFO_CLOCK,    /* any OBJ_KERNEL.  struct clock_info */
	INFO_CMDLINE,  /* any OBJ_KERNEL.  text, 0-terminated */
	INFO_EVIDENCE, /* OBJ_KERNEL, index = PCI function * EVIDENCE_STEPS + step.  struct
			  evidence_info */
	INFO_CPUS,     /* any OBJ_KERNEL.  uint32_t: how many are online */
	INFO_TRACE,    /* OBJ_KERNEL with KERNEL_TRACE, index = cpu.  As many struct trace_record as
			  fit, not sorted */
	INFO_QUEUE,    /* OBJ_KERNEL: index-th queue that the kernel guards.  struct queue_counts */
	INFO_RANDOM,   /* any OBJ_KERNEL.  uint64_t[4]: to start a program's own generator with */
	INFO_MACHINE,  /* OBJ_KERNEL.  struct machine_info */
	INFO_EXPOSURE, /* OBJ_KERNEL: index-th PCI function.  struct exposure_info */
};

/* Which kernel this is, and what firmware says of the machine.  Texts are firmware's: "" when it
 * does not tell. */
struct machine_info {
	char build[48];			/* hash of the kernel's bytes, in hexadecimal digits */
	char model[64], firmware[64], platform[160];
	char maker[32], product[64];
	uint64_t archive_bytes;		/* the boot archive's length */
	uint32_t iommus;		/* units that firmware describes */
	uint8_t source;			/* 0 nothing, 1 ACPI tables, 2 a device tree */
	uint8_t tables_present, tables_bad; /* bits 0 DMAR, 1 IVRS, 2 IORT, 3 VIOT; bad: there, and
					       cannot be read */
};

/*
 * What was looked at so that no address of memory is seen by a process (D3).  "found" is "" when
 * all of it was as it should be, else it says what was not.
 */
struct exposure_info {
	/* Of every process since boot: as they were mapped. */
	uint64_t runs; /* runs of memory */
	uint64_t windows; /* register windows */
	uint64_t refused; /* of both: led elsewhere, and were not mapped */
	/* Of this function, now. */
	uint32_t registers;		/* of configuration space that hold addresses */
	uint32_t mapped_windows, grants;
	bool registers_checked;		/* claimed, and every register access goes by a list */
	char found[96];
};

struct memory_info {
	uint64_t total, free, kernel, table, iommu, user, quarantined;	/* pages */
	uint64_t handles, objects; /* in use in the whole system */
	uint64_t processes, threads;
	uint64_t grants, grant_pages, iova_bytes;			/* live DMA grants */
	uint64_t by_type[OBJ_TYPES];					/* live objects */
};

struct cpu_info {
	uint32_t id;
	bool online;
	uint64_t hwid, idle_ns, busy_ns, interrupts, switches, tlb_flushes, shootdowns;
};

struct clock_info {
	uint64_t base;
	uint32_t mult;
	uint8_t shift;
	uint64_t wall_at_boot_s;
}; /* 0: the date is unknown */

enum { DEVICE_BARS = 6, GROUP_FUNCTIONS_MAX = 32 };

/* One PCI function.  BAR addresses are not shown. */
struct function_info {
	uint16_t segment, rid, vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code;			/* 24 bits: class, subclass, interface */
	uint8_t revision, header_type;
	uint16_t group; /* isolation group; functions of one number go together */
	uint16_t parent_rid;			/* bridge above; 0xffff: root bus */
	uint16_t msix_vectors;
	uint8_t bus_secondary, bus_subordinate;	/* bridges */
	bool claimed, bus_master, is_bridge;
	bool unplugged; /* it is not there any more, or not yet, or about to go */
	uint8_t verdict;			/* enum dma_lane */
	int16_t unit;				/* IOMMU index, or -1 */
	uint32_t endpoint, generation;
	uint32_t owner;				/* process id, 0 none */
	uint64_t bar_len[DEVICE_BARS];
	uint32_t faults;
	char reason[96];			/* which step decided the verdict */
	char refused[96]; /* why the last claim was not granted, by policy or else; "" */
};

/* What one step of the verdict over a function saw; E_NOT_FOUND past the last step, and past the
 * last function. */
enum { EVIDENCE_STEPS = 16 };

struct evidence_info {
	uint16_t segment, rid;
	uint8_t answer;				/* enum evidence */
	char step[16], text[96];
};

struct unit_info {
	char name[12];
	char features[160];
	bool broken, fault_log, interrupt_isolation, coherent;
	uint32_t domains, endpoints;
	uint64_t maps, unmaps, invalidations, syncs, faults, faults_lost, errors;
	uint64_t last_fault_iova;
	uint32_t last_fault_endpoint;
	uint8_t last_fault_kind;
	bool last_fault_write;
};

struct device_info {
	uint16_t segment, rid;			/* of the first function */
	uint16_t functions;
	uint8_t lane, doorbell, state;		/* enum dma_lane, dma_doorbell, device_state */
	uint32_t generation, owner;
	uint64_t grants, grant_pages, iova_bytes, table_pages;
	uint64_t fault_seq, faults_lost; /* as struct dma_status; lost is not less than what
					    fault_seq holds of them */
	uint64_t interrupts, interrupts_held; /* that came; times that a vector was held back,
						 because they were too many */
	uint64_t registers_refused; /* accesses that the class's policy does not allow */
	char domain[24];
};

/* One pair of rings whose doorbells the kernel rings. */
struct queue_counts {
	uint16_t segment, rid;
	uint32_t id;
	uint64_t accepted, completed;		/* entries that the device got; completions */
	uint64_t refused;			/* batches that it did not get */
	uint8_t last_rule;			/* enum dma_rule: why, the last time */
};

enum device_state : uint8_t {
	DEVICE_FREE,
	DEVICE_CLAIMED,
	DEVICE_ENDING,
	DEVICE_RESETTING,
	DEVICE_QUARANTINED
};

/* One live grant.  No physical address. */
struct grant_info {
	uint32_t owner;				/* process id */
	uint16_t segment, rid;
	uint64_t iova, len_bytes;
	uint8_t dir, state;			/* enum dma_dir; the ledger's state */
	uint32_t generation;
	uint32_t pool; /* which memory object it is a part of: a number for people */
	uint64_t pool_pages;
};
