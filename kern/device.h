/*
 * A claimed isolation group of PCI functions, its DMA domain, its register windows and vectors.
 *
 * Life of a claim (D6, D7): free -> claimed -> ending -> resetting -> free, or -> quarantined.
 * Each claim has a generation: it moves on when the claim is reset and when it ends.  Interrupts
 * and grants carry it; one that was on its way before does nothing.  Windows belong to the claim,
 * and are closed with it; after a reset they, vectors and grants go on.
 *
 * Ending is a state machine that the worker steps, in this order and no other:
 *   1 doorbells   every mapping of a register window is taken out of every process
 *   2 master      bus mastering off, in all functions
 *   3 drain       a configuration read flushes posted writes; wait for Transactions Pending to
 *     clear, bounded
 *   4 vectors     function mask on, each vector's route torn down
 *   5 block       the endpoints are detached from the domain; wait for the ticket
 *   6 unmap       every grant is cleared; wait for the tickets
 *   7 reset       function-level reset (or what the function offers), bounded
 *   8 unpin       grants release their memory; the domain goes
 * Brokered, with no IOMMU behind the device, 7 comes before 5: what was confirmed to be reset
 * reaches nothing, and nothing is unpinned before (D7).  A time-out in 3, 5 or 6, and there in 7,
 * leads to quarantine: the device stays blocked for ever, the memory of its grants is poisoned and
 * never reused (D8).  A failed reset means that the function is never given to another owner.
 *
 * Before a claim is its owner's, the live test of the unit may be made (device_canary.c): the
 * worker's, too.
 *
 * A reset that the claim's owner asks for (device_reset.c) is the worker's too, in the same job: so
 * there is one at a time, and when the claim ends meanwhile, step 2 waits until it is over.
 *
 * Locks: device.obj.lock (RANK_DEVICE) over state, domain, grants.
 */
#pragma once

#include "kern/abi/object.h"
#include "kern/abi/dma.h"
#include "kern/base/list.h"
#include "kern/cpu.h"
#include "kern/dma/domain.h"
#include "kern/dma/lane.h"
#include "kern/md/irqc.h"
#include "kern/memory.h"
#include "kern/object.h"
#include "kern/pci.h"
#include "kern/worker.h"

struct device_canary;
struct device_check;
struct notification;
struct thread;
struct uregs;

enum { DEVICE_IRQS_MAX = 128 };

/* What a claim's interrupts cost one CPU: device_irq.c.  Only that CPU writes it. */
struct irq_budget {
	uint64_t began;			/* (a) when the count began */
	uint32_t count;			/* (a) since then */
};

struct irq {
	struct object obj;
	struct device *device;		/* (c) counted */
	uint32_t generation;		/* (a) of the claim; moves on with it after a reset */
	uint32_t function, vector;	/* index in the group; table entry */
	struct notification *ntfn;	/* (c) counted */
	uint64_t bits;
	uint32_t slot;
	uint64_t count;
	bool masked, held;		/* (device) by its driver; by the kernel, for a while */
	uint32_t defied;		/* (device) how often it came while it was held */
	uint32_t held_on;		/* (device) the CPU whose budget must be paid first */
	bool live;			/* (c) it has a slot, and its payer paid a vector */
	struct list link;		/* (device) */
};

/*
 * One grant: a range of a memory object at a range of the domain; its states are the ledger's
 * (kern/dma/ledger.h).  It pins its memory until it is free or idle; quarantined, it stays for
 * ever, and its memory is poisoned.
 */
struct buffer {
	struct object obj;
	struct device *device;		/* (c) counted */
	struct memory *memory;		/* (device) counted; NULL: it is idle or free */
	uint32_t pool; /* (device) its id, and its pages: it may be gone when somebody asks */
	uint64_t pool_pages;		/* (device) */
	uint32_t round;			/* (device) how often it was mapped again (UNMAP_KEEP) */
	uint32_t window;		/* (device) where its window is, when it is closed */
	bool window_closed;		/* (device) */
	bool writes;			/* (device) the device may write */
	bool arming;			/* (device) a dma_map of it waits */
	bool uncounted;			/* (device) the device outlives it */
	struct grant grant;		/* (device) */
	struct list link;		/* (device) while the grant is not free */
	struct work work;		/* its end, when the last handle went before the grant */
};

struct group_function {
	struct pci_function *fn;
	struct irqc_source source;
	bool source_open;
};

struct device {
	struct object obj;
	enum device_state state;	/* (l) */
	uint32_t generation;		/* (a) written under the lock */
	uint16_t group;			/* (c) */
	uint16_t function_count;
	struct group_function function[GROUP_FUNCTIONS_MAX];
	struct dma_domain domain;	/* (l) */
	struct process *holder;		/* (l) counted: pays for the domain's tables */
	bool opening; /* (a) its claimer is still making it: nobody else ends it */
	bool domain_live, mastering;
	bool shut_off; /* (l) its faults stormed: no mastering for the rest of the claim */
	struct lane_policy policy;	/* (c) */
	uint8_t address_bits;		/* (c) that it has, as the claimer says: 24 to 64 */
	struct lane_verdict verdict;	/* (c) of its first function, under the policy */
	struct list buffers, irqs, windows;	/* (l) */
	struct list
	    revoked; /* (l) grants that the end has taken back, until they are out of reach */
	struct device_check *check;	/* (l) NULL: its driver rings the doorbells itself */
	struct watch watch;		/* (l) set through a handle with RIGHT_DMA: the driver's */
	struct watch supervisor;	/* (l) set through one with RIGHT_SUPERVISE instead */
	struct dma_status status;	/* (claim lock) until there is a page */
	struct dma_status *page; /* (a) (claim lock) page_memory's, where the driver reads it */
	struct memory *page_memory;	/* (c) once made; counted */
	bool resetting; /* (l) set by who asks for a reset, cleared by the worker; nobody touches
			   the functions meanwhile */
	bool reset_failed;		/* (l) no mastering until another works */
	struct thread *reset_waiter;	/* (l) who waits for it */
	struct device_canary *canary;	/* (l) the live test under way: device_canary.c */
	struct thread *canary_waiter;	/* (l) who waits for it */
	struct irq_budget irq_budget[CPUS_MAX];
	struct work irq_work;		/* while a vector is held back */
	uint64_t irq_holds;		/* (l) */
	bool irq_holding;		/* (l) */
	bool irq_defied;		/* (l) it does not obey masks */
	/* the worker's: a live test, a reset, the end */
	struct work work;
	uint8_t step;
	uint8_t at;			/* function being reset */
	uint32_t reset_state;
	uint64_t reset_due;		/* it must not be touched before */
	uint64_t step_deadline;
	bool failed;			/* something could not be confirmed */
	struct fence fence;		/* of the endpoints' block */
	struct thread *waiter;		/* (l) who waits for the end */
};

NODISCARD enum status sys_device_claim(struct thread *t, struct uregs *u);
NODISCARD enum status sys_device_config(struct thread *t, struct uregs *u);
NODISCARD enum status sys_device_reset(struct thread *t, struct uregs *u);
NODISCARD enum status sys_device_look(struct thread *t, struct uregs *u);
NODISCARD enum status sys_device_bar(struct thread *t, struct uregs *u);
NODISCARD enum status sys_device_irq(struct thread *t, struct uregs *u);
NODISCARD enum status sys_irq_control(struct thread *t, struct uregs *u);
NODISCARD enum status sys_mmio_access(struct thread *t, struct uregs *u);
NODISCARD enum status sys_dma_map(struct thread *t, struct uregs *u);
NODISCARD enum status sys_dma_unmap(struct thread *t, struct uregs *u);

/* What is seen of a function, and what a claim's flags (CLAIM_*) say. */
void device_facts(const struct pci_function *f, struct lane_facts *out);
/* The same, as if a live test that is still to come had gone as well as it can. */
void device_facts_at_best(const struct pci_function *f, struct lane_facts *out);
void device_policy(uint32_t claim_flags, struct lane_policy *out);

/* The verdict with every consent that a manifest can give. */
void device_verdict_at_most(const struct pci_function *f, struct lane_verdict *out);
/* What one step sees: under the claim's policy, or with every consent while nobody has claimed it.
 */
enum evidence device_evidence(const struct pci_function *f, enum lane_step step, const char **text);

/* At boot, before the first verdict: asks the classes what is against a function at all. */
void device_classes_init(void);

/* One line of the log for each device: its steps, and what is the best that it can get. */
void devices_report(void);

/*
 * Faults, in two steps (kern/dma/unit.c).  Counted: from then on the driver distrusts what is in
 * flight (D11); returns how many the function has had.  Told: the owner's watcher is signalled, and
 * a device that storms is shut off.  Lost: the unit dropped records, and it may have been any
 * device's behind it.
 */
uint32_t device_fault_count(struct pci_function *f);
void device_fault_tell(struct pci_function *f, uint32_t count);
void device_faults_lost_count(uint32_t unit);
void device_faults_lost_tell(uint32_t unit);

/* True: it belongs to a live test, and is nobody else's business.  Any CPU. */
bool device_canary_fault(struct pci_function *f, const struct dma_fault *fault);

/* Maps the page of the claim's fault counters, which nobody can write (struct dma_status). */
NODISCARD enum status device_map_status(struct object *o, struct process *payer, struct process *p,
    uint64_t len, uint64_t va, uint8_t prot, uint64_t *va_out);

/* Maps a register window of a claim that is alive. */
NODISCARD enum status mmio_map(struct mmio *w, struct process *p, uint64_t offset, uint64_t len,
    uint64_t va, uint8_t prot, uint64_t *va_out);

/*
 * A process was given a handle by one that manages it.  If it is a device's, with RIGHT_DMA, it
 * pays for the domain from now on (D13).  E_QUOTA: it cannot, and the one before goes on paying.  A
 * handle that comes with a message moves no charge: nobody makes another pay.
 */
NODISCARD enum status device_pass(struct process *to, handle_t h);

/*
 * The process ends: every claim that it can use (RIGHT_DMA) ends with it.  Looks at some of its
 * handles from *at on; true when at all of them.  *waits is set when one of the claims is not over;
 * until all are, its other handles stay, so that the order of the end is the claim's own.
 */
bool device_end_some_of(struct process *p, uint32_t *at, bool *waits);

/* Starts the end of the claim, and waits until the deadline. */
NODISCARD enum status device_end(struct device *d, uint64_t deadline);
