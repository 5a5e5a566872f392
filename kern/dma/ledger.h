/*
 * The ledger: which memory a device may reach at which address, for whom, and how far its
 * life has come.  It is the truth; page tables are made from it, never read (DMA-01).
 *
 * One record for each grant.  The record lives in the grant's own object, so nothing is
 * allocated here.  There is one ledger for each domain, on every lane: where no unit stands behind
 * it, "mapped" means that translators will use the window, and "invalidated" that the device
 * was seen to stop.
 *
 *                                     +-------------------------> quarantined
 *                                     |         |          |
 *     free -> allocated -> mapped -> published -> revoking -> invalidated -> scrubbed -> free
 *               |  |  ^       |                     ^                           |
 *               |  +--|-------+---------------------+                           |
 *               +-> free, or idle <---------------------------------------------+
 *                     |  |
 *                     |  +-> free
 *                     +----> allocated again
 *
 *   allocated    an address range is reserved, memory is pinned; the device cannot reach it
 *   mapped       entries are stored; the device may reach it from now on
 *   published    the change is in force: queue entries may name the range
 *   revoking     entries are cleared, an invalidation is queued; the device may still reach it
 *   invalidated  that is past: the device cannot reach it any more
 *   scrubbed     contents are settled: cleared where the pages change their owner
 *   idle         only the address is left: no memory, nothing pinned, nothing in the table.  Who
 *                maps for each request comes back from here, and pays for no new record and no new
 *                address
 *   quarantined  whether the device can reach it is not known and never will be: for ever (D8)
 *
 * From "allocated" to "revoking" leads the way back of a grant of which only a part could be
 * mapped.
 *
 * What others rely on
 *   - Memory may be unpinned, or given to somebody else, in free, idle, allocated, scrubbed only.
 *   - An address range is given out again only after free, and rests first (iova.h).  One that is
 *     idle goes to memory of the same record only, so of the same owner: what is late in the device
 *     and names it meets nothing, or what its own driver has put there since (DMA-51).
 *   - Every transition is checked here, in one function.  A wrong one is our own mistake and
 *     panics; what users can ask at the wrong time is refused with a status before.
 *
 * Locks: the domain's, over every call.
 */
#pragma once

#include "kern/abi/dma.h"
#include "kern/abi/status.h"
#include "kern/base/types.h"
#include "kern/dma/iova.h"

enum ledger_state : uint8_t {
	LEDGER_FREE,
	LEDGER_ALLOCATED,
	LEDGER_MAPPED,
	LEDGER_PUBLISHED,
	LEDGER_REVOKING,
	LEDGER_INVALIDATED,
	LEDGER_SCRUBBED,
	LEDGER_IDLE,
	LEDGER_QUARANTINED,
	LEDGER_STATES
};

/* Who asks for what.  The ledger keeps the pointers and never follows them. */
struct ledger_grant {
	void *owner;			/* counted by the caller while the record is not free */
	void *memory;			/* pinned by the caller, as above */
	uint64_t offset;		/* in memory, bytes */
	uint64_t len;			/* bytes, a multiple of the space's granule (D2) */
	uint32_t generation;		/* of the claim: D6 */
	enum dma_dir dir;
};

struct ledger_entry {
	struct iova_range range;	/* in the space while not free */
	struct ledger_grant grant;	/* (c) while not free; idle: no memory, offset, dir */
	enum ledger_state state;
	uint64_t pins;			/* accepted queue entries that name the range */
};

/* Births and deaths: entries and bytes that ever came into a state, and those that left it again.
 */
struct ledger_count { uint64_t entered, left, bytes_entered, bytes_left; };

struct ledger {
	struct iova_space *space;	/* (c) borrowed: the domain's */
	uint32_t generation;		/* of the claim that may use the ledger now */
	struct ledger_count count[LEDGER_STATES];
};

void ledger_init(struct ledger *l, struct iova_space *space, uint32_t generation);

/* Entries, and bytes, in a state now; not of LEDGER_FREE, which is where the others go. */
static inline uint64_t
ledger_in(const struct ledger *l, enum ledger_state s)
{
	return l->count[s].entered - l->count[s].left;
}

static inline uint64_t
ledger_bytes_in(const struct ledger *l, enum ledger_state s)
{
	return l->count[s].bytes_entered - l->count[s].bytes_left;
}

/* Entries that are not free.  A domain may go when this is 0. */
uint64_t ledger_live(const struct ledger *l);

/*
 * free -> allocated, at any address, or at a given one.
 *   E_STALE     the grant's generation is not the ledger's: the claim ended (D6)
 *   E_STATE     the entry is not free
 *   E_INVALID   no direction
 *   E_ALIGN     len or offset is not a multiple of the granule
 *   and what iova_alloc and iova_alloc_at refuse
 */
NODISCARD enum status
ledger_reserve(struct ledger *l, struct ledger_entry *e, const struct ledger_grant *g);
NODISCARD enum status ledger_reserve_at(
    struct ledger *l, struct ledger_entry *e, const struct ledger_grant *g, struct iova at);

/* idle -> allocated, of this generation, at the address and of the length that it has; offset is a
 * multiple of the granule. */
void ledger_arm(
    struct ledger *l, struct ledger_entry *e, void *memory, uint64_t offset, enum dma_dir dir);

/* allocated -> free: nothing of it was ever mapped. */
void ledger_cancel(struct ledger *l, struct ledger_entry *e);

/* allocated -> mapped: all entries are stored.  mapped -> published: they are in force. */
void ledger_mapped(struct ledger *l, struct ledger_entry *e);
void ledger_publish(struct ledger *l, struct ledger_entry *e);

/*
 * allocated, mapped or published -> revoking: entries are about to be cleared.  Call it first,
 * clear then: so that no new pin comes in between.
 *   E_BUSY   pinned: accepted entries still name it; they end, or the device is reset
 *   E_STATE  already on its way, free, or quarantined
 */
NODISCARD enum status ledger_revoke(struct ledger *l, struct ledger_entry *e);

/*
 * What the fence said (fence.h): OK: revoking -> invalidated; E_QUARANTINED: revoking ->
 * quarantined; E_WOULD_BLOCK: nothing.  Returns it.
 */
NODISCARD enum status ledger_settle(struct ledger *l, struct ledger_entry *e, enum status fence);

/* mapped, published or revoking -> quarantined: the device could not be stopped.  Pins are
 * forgotten. */
void ledger_quarantine(struct ledger *l, struct ledger_entry *e);

/* invalidated -> scrubbed: pages that change owner are cleared, or stay with whom they had. */
void ledger_scrubbed(struct ledger *l, struct ledger_entry *e);

/* scrubbed or idle -> free: the address begins to cool, owner and memory may be let go. */
void ledger_release(struct ledger *l, struct ledger_entry *e);

/* scrubbed, or allocated and never mapped, -> idle: memory may be let go, the address stays. */
void ledger_idle(struct ledger *l, struct ledger_entry *e);

/*
 * The published entry that holds all of [at, at + len), of the ledger's generation, with every
 * direction asked for; NULL when there is none.  O(log n).  Ranges that cross from one entry into
 * the next are not held by one: ask for each part.
 */
struct ledger_entry *
ledger_find(const struct ledger *l, struct iova at, uint64_t len, enum dma_dir dir);

/*
 * An accepted queue entry names the range: it cannot be revoked meanwhile (E_BUSY).
 * E_STALE: not published any more, or of an older generation.
 */
NODISCARD enum status ledger_pin(struct ledger *l, struct ledger_entry *e);
void ledger_unpin(struct ledger *l, struct ledger_entry *e);

/*
 * The claim ends: entries of the old generation are found and pinned no more, and their pins,
 * which nobody will undo, are gone.  (A reset ends pins one by one: ring_clear.)
 */
void ledger_bump(struct ledger *l, uint32_t generation);

/* Entries by address, whatever their state but free: the first that ends at or above "at", or NULL.
 */
struct ledger_entry *ledger_next(const struct ledger *l, struct iova at);

const char *ledger_state_text(enum ledger_state s);
