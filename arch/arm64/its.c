/*
 * The interrupt translation service: message interrupts as LPIs.
 *
 * A device writes an event number to GITS_TRANSLATER; the ITS finds its device id in the device
 * table, the event in that device's translation table, and there LPI and collection (CPU).  Nothing
 * that was not mapped arrives.
 *
 * Commands go through a ring; its_wait returns when the ITS has read them (CREADR == CWRITER),
 * bounded.  LPIs are handed out one by one from a bitmap; their configuration bytes (enable,
 * priority) are in a table that all redistributors share.  Tables are cleaned to the point of
 * coherency when the ITS says that it does not snoop.
 *
 * Locks: its_lock (RANK_IRQC) over ring and bitmaps.
 * Manual: Arm IHI 0069, chapter 5 (BOOT-42..49).
 */
#include "arch/arm64/gic.h"
#include "arch/arm64/lpi.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "kern/frame.h"
#include "kern/lock.h"
#include "kern/log.h"
#include "kern/machine/idmap.h"
#include "kern/machine/machine.h"
#include "kern/main.h"
#include "kern/md/clock.h"
#include "kern/md/irqc.h"
#include "kern/md/mmu.h"
#include "kern/panic.h"

enum : uint32_t {
	GICR_CTLR = 0x00,
	GICR_PROPBASER = 0x70,
	GICR_PENDBASER = 0x78,
	GICR_TYPER = 0x08,
	GITS_CTLR = 0x00,
	GITS_TYPER = 0x08,
	GITS_CBASER = 0x80,
	GITS_CWRITER = 0x88,
	GITS_CREADR = 0x90,
	GITS_BASER = 0x100,
	TRANSLATER_PAGE = 0x10000,
	TRANSLATER = 0x40,
	LPIS = 4096,
	LPI_BITS = 14,
	CMD_MAPD = 0x08,
	CMD_MAPC = 0x09,
	CMD_MAPTI = 0x0a,
	CMD_INV = 0x0c,
	CMD_SYNC = 0x05,
	CMD_DISCARD = 0x0f,
	CMD_INVALL = 0x0d,
};
enum : uint64_t {
	TYPER_PTA = BIT(19),
	TYPER_ITT = BITS(7, 4),
	TYPER_DEVBITS = BITS(17, 13),
	TYPER_IDBITS = BITS(12, 8),
	BASER_VALID = BIT(63),
	BASER_INDIRECT = BIT(62),
	BASER_TYPE = BITS(58, 56),
	BASER_ENTRY = BITS(52, 48),
	BASER_PAGE = BITS(9, 8),
	SHARE_INNER = BIT(10),
	SHARE = BITS(11, 10),
	INNER_WB = 7ull << 59,
	PEND_PTZ = BIT(62),
	RING_BYTES = 64 * KIB,
	DEVICE_BITS_MAX = 16,
};

struct unit {
	volatile uint8_t *regs;
	uint64_t base;
	uint64_t (*ring)[4];
	uint32_t write;		/* bytes */
	uint32_t entry_bytes;	/* of a translation table */
	uint32_t device_bits, event_bits;
	bool pta, coherent, live;
};

static struct unit its[MACHINE_ITS_MAX];
static uint32_t its_count;
static uint8_t *config;				/* a byte an LPI */
static bool config_coherent;
static uint32_t lpi_end;				/* how many there are */
static uint64_t lpi_used[LPIS / 64];
static uint16_t lpi_slot[LPIS];			/* slot + 1 */
static struct spinlock its_lock = SPINLOCK_INIT(RANK_IRQC);

/* What a source keeps: its unit, its translation table, LPI of each event. */
struct its_device {
	struct unit *unit;
	struct paddr table;
	uint16_t lpi[128];
	uint8_t cpu[128];
	unsigned order;
};

static struct its_device devices[256];

bool its_present(void) { return its_count != 0; }

static void *
table(unsigned order)
{
	struct paddr p;

	return frame_alloc(order, FRAME_KERNEL, FRAME_ZERO, &p) == OK ? frame_ptr(p) : NULL;
}

static void
command(struct unit *u, uint64_t a, uint64_t b, uint64_t c) REQUIRES(its_lock)
{
	uint64_t *e = u->ring[u->write / 32];

	/* The ring is large and every batch is waited for: it never fills. */
	e[0] = a;
	e[1] = b;
	e[2] = c;
	e[3] = 0;
	if (!u->coherent)
		cache_clean(e, 32);
	u->write = (u->write + 32) % RING_BYTES;
}

static enum status
submit(struct unit *u) REQUIRES(its_lock)
{
	uint64_t until = clock_now() + 10 * NS_PER_MS;
	unsigned spins = 0;

	io_publish();
	mmio_write64(u->regs + GITS_CWRITER, u->write);
	while ((mmio_read64(u->regs + GITS_CREADR) & ~31ull) != u->write) {
		if ((mmio_read64(u->regs + GITS_CREADR) & 1) != 0 ||
		    (clock_now() > until && ++spins > 1000000)) {
			log_error("ITS: a command is not taken");
			u->live = false;
			return E_IO;
		}
	}
	return OK;
}

/* Target of a collection: the redistributor's address or its number. */
static uint64_t
target_of(const struct unit *u, unsigned cpu)
{
	uint64_t typer = mmio_read64(gic_redistributor[cpu] + GICR_TYPER);

	return u->pta ? 0 : (typer >> 8 & 0xffff) << 16;
}

static void
map_collection(struct unit *u, unsigned cpu)
{
	uint64_t t = target_of(u, cpu);

	spin_lock(&its_lock);
	command(u, CMD_MAPC, 0, BIT(63) | t | cpu);
	command(u, CMD_INVALL, 0, cpu);
	command(u, CMD_SYNC, 0, t);
	(void)submit(u);
	spin_unlock(&its_lock);
}

void
its_init_cpu(unsigned cpu)
{
	volatile uint8_t *r = gic_redistributor[cpu];
	uint64_t *pending;

	if (its_count == 0)
		return;
	/* 64 KiB alignment; a bit an LPI, of which the first 8192 are not LPIs. */
	pending = table(4);
	if (pending == NULL) {
		log_error("cpu %u: no memory for pending LPIs", cpu);
		return;
	}
	if ((mmio_read32(r + GICR_CTLR) & 1) != 0) {
		log_error(
		    "cpu %u: firmware left LPIs on: message interrupts stay on the others", cpu);
		return;
	}
	mmio_write64(
	    r + GICR_PROPBASER, frame_of(config).v | (LPI_BITS - 1) | 7ull << 7 | SHARE_INNER);
	config_coherent = (mmio_read64(r + GICR_PROPBASER) & SHARE) != 0;
	if (!config_coherent)
		mmio_write64(r + GICR_PROPBASER, frame_of(config).v | (LPI_BITS - 1) | 1ull << 7);
	mmio_write64(r + GICR_PENDBASER, frame_of(pending).v | PEND_PTZ | 7ull << 7 | SHARE_INNER);
	if ((mmio_read64(r + GICR_PENDBASER) & SHARE) == 0)
		mmio_write64(r + GICR_PENDBASER, frame_of(pending).v | PEND_PTZ | 1ull << 7);
	io_full();
	mmio_write32(r + GICR_CTLR, mmio_read32(r + GICR_CTLR) | 1);
	io_full();
	for (uint32_t i = 0; i < its_count; i++)
		map_collection(&its[i], cpu);
}

static bool
init_tables(struct unit *u)
{
	for (unsigned i = 0; i < 8; i++) {
		volatile uint8_t *reg = u->regs + GITS_BASER + 8 * i;
		uint64_t b = mmio_read64(reg), type = FIELD_GET(BASER_TYPE, b), bytes;
		uint32_t entry = (uint32_t)FIELD_GET(BASER_ENTRY, b) + 1;
		void *t;
		unsigned order;

		if (type != 1 && type != 4)	/* devices, collections */
			continue;
		bytes = type == 1 ? (uint64_t)entry << u->device_bits : 64 * KIB;
		bytes = align_up(max_u64(bytes, 64 * KIB), 64 * KIB);
		order = log2_ceil(bytes / PAGE_SIZE);
		if (order > 8)
			return false;
		t = table(order);
		if (t == NULL)
			return false;
		/* 4 KiB pages always exist; the count is in pages, less one. */
		b = BASER_VALID | frame_of(t).v | INNER_WB | SHARE_INNER |
		    (b & (BASER_TYPE | BASER_ENTRY)) | (min_u64(bytes / PAGE_SIZE, 256) - 1);
		mmio_write64(reg, b);
		if ((mmio_read64(reg) & SHARE) == 0) {
			mmio_write64(reg, (b & ~(SHARE | INNER_WB)) | 1ull << 59);
			cache_clean(t, bytes);
		}
	}
	return true;
}

void
its_init(const struct machine *m, uint32_t lpis)
{
	if (m->irqc.its_count == 0) {
		log_warn("interrupts: no ITS: devices get no message interrupts");
		return;
	}
	lpi_end = (uint32_t)min_u64(lpis, LPIS);
	if (lpi_end < LPIS)
		log_info("interrupts: %u message interrupts, for all devices together", lpi_end);
	config = table(2);		/* 16 KiB: LPIs 8192 .. 24575 */
	if (config == NULL)
		return;
	for (uint32_t i = 0; i < m->irqc.its_count; i++) {
		struct unit *u = &its[i];
		uint64_t typer;

		u->base = m->irqc.its[i].base;
		u->regs = mmu_map_device((struct paddr){ u->base }, 64 * KIB);
		u->ring = table(4);
		if (u->regs == NULL || u->ring == NULL)
			continue;
		mmio_write32(u->regs + GITS_CTLR, 0);
		for (unsigned n = 0;
		    n < 1000000 && (mmio_read32(u->regs + GITS_CTLR) & BIT(31)) == 0; n++)
			CPU_RELAX();
		typer = mmio_read64(u->regs + GITS_TYPER);
		u->pta = (typer & TYPER_PTA) != 0;
		u->entry_bytes = (uint32_t)FIELD_GET(TYPER_ITT, typer) + 1;
		u->device_bits =
		    (uint32_t)min_u64(FIELD_GET(TYPER_DEVBITS, typer) + 1, DEVICE_BITS_MAX);
		u->event_bits = (uint32_t)FIELD_GET(TYPER_IDBITS, typer) + 1;
		if (u->pta) {
			log_error("ITS %u: targets by address are not known: not used", i);
			continue;
		}
		if (!init_tables(u)) {
			log_error("ITS %u: no memory for its tables", i);
			continue;
		}
		mmio_write64(u->regs + GITS_CBASER,
		    BASER_VALID | frame_of(u->ring).v | INNER_WB | SHARE_INNER |
			(RING_BYTES / PAGE_SIZE - 1));
		u->coherent = (mmio_read64(u->regs + GITS_CBASER) & SHARE) != 0;
		mmio_write64(u->regs + GITS_CWRITER, 0);
		mmio_write32(u->regs + GITS_CTLR, 1);
		u->live = true;
	}
	its_count = m->irqc.its_count;
	its_init_cpu(0);
}

void
its_dispatch(uint32_t id)
{
	uint32_t n = id - LPI_FIRST;
	uint16_t slot = n < LPIS ? load_acquire(&lpi_slot[n]) : 0;

	if (slot != 0)
		irq_dispatch(slot - 1u);
}

enum status
irqc_msi_open(struct irqc_source *s, uint16_t segment, uint32_t requester, uint32_t count)
{
	struct its_device *d = NULL;
	uint64_t bytes;
	void *t;
	enum status e;

	*s = (struct irqc_source){ .segment = segment, .requester = requester, .count = count };
	if (!machine_find_its(the_machine, segment, (uint16_t)requester, &s->its, &s->device_id) ||
	    s->its >= its_count || !its[s->its].live)
		return E_UNSUPPORTED;
	if (count == 0 || count > ARRAY_SIZE(d->lpi) ||
	    s->device_id >> its[s->its].device_bits != 0)
		return E_RANGE;
	spin_lock(&its_lock);
	for (unsigned i = 0; i < ARRAY_SIZE(devices) && d == NULL; i++)
		if (devices[i].unit == NULL)
			d = &devices[i];
	if (d != NULL)
		d->unit = &its[s->its];
	spin_unlock(&its_lock);
	if (d == NULL)
		return E_NO_MEMORY;
	/* A power of two of events; 256-byte alignment. */
	bytes = max_u64((uint64_t)d->unit->entry_bytes << log2_ceil(max_u64(count, 2)), 256);
	d->order = log2_ceil(pages_of(bytes));
	t = table(d->order);
	if (t == NULL) {
		d->unit = NULL;
		return E_NO_MEMORY;
	}
	cache_clean(t, PAGE_SIZE << d->order);
	d->table = frame_of(t);
	for (unsigned i = 0; i < ARRAY_SIZE(d->lpi); i++)
		d->lpi[i] = 0;
	spin_lock(&its_lock);
	command(d->unit, CMD_MAPD | (uint64_t)s->device_id << 32, log2_ceil(max_u64(count, 2)) - 1,
	    BIT(63) | d->table.v);
	command(d->unit, CMD_SYNC, 0, target_of(d->unit, 0));
	e = submit(d->unit);
	spin_unlock(&its_lock);
	if (e != OK) {
		/* It may have read the command: the table stays. */
		return e;
	}
	s->priv = d;
	s->doorbell.v = d->unit->base + TRANSLATER_PAGE;
	s->doorbell_offset = TRANSLATER;
	return OK;
}

enum status
irqc_msi_bind(
    struct irqc_source *s, uint32_t index, uint32_t slot, unsigned cpu, struct irqc_message *out)
{
	static unsigned next_cpu;
	struct its_device *d = s->priv;
	uint32_t lpi = UINT32_MAX;
	enum status e;

	if (d == NULL || index >= s->count)
		return E_RANGE;
	if (cpu >= cpu_count || gic_redistributor[cpu] == NULL)
		cpu = __atomic_fetch_add(&next_cpu, 1, __ATOMIC_RELAXED) % cpu_count;
	spin_lock(&its_lock);
	for (uint32_t i = 0; i < lpi_end && lpi == UINT32_MAX; i++)
		if ((lpi_used[i / 64] & BIT(i % 64)) == 0)
			lpi = i;
	if (lpi == UINT32_MAX) {
		spin_unlock(&its_lock);
		return E_NO_MEMORY;
	}
	lpi_used[lpi / 64] |= BIT(lpi % 64);
	store_release(&lpi_slot[lpi], (uint16_t)(slot + 1));
	config[lpi] = 0xa0 | 1;		/* priority, enabled */
	if (!config_coherent)
		cache_clean(&config[lpi], 1);
	d->lpi[index] = (uint16_t)(lpi + 1);
	d->cpu[index] = (uint8_t)cpu;
	command(d->unit, CMD_MAPTI | (uint64_t)s->device_id << 32,
	    index | (uint64_t)(LPI_FIRST + lpi) << 32, cpu);
	command(d->unit, CMD_INV | (uint64_t)s->device_id << 32, index, 0);
	command(d->unit, CMD_SYNC, 0, target_of(d->unit, cpu));
	e = submit(d->unit);
	spin_unlock(&its_lock);
	out->address = 0;
	out->data = index;
	return e;
}

void
irqc_msi_unbind(struct irqc_source *s, uint32_t index, uint32_t slot UNUSED)
{
	struct its_device *d = s->priv;
	uint32_t lpi;

	if (d == NULL || index >= s->count || d->lpi[index] == 0)
		return;
	lpi = d->lpi[index] - 1u;
	spin_lock(&its_lock);
	command(d->unit, CMD_DISCARD | (uint64_t)s->device_id << 32, index, 0);
	command(d->unit, CMD_SYNC, 0, target_of(d->unit, d->cpu[index]));
	if (submit(d->unit) == OK) {
		store_release(&lpi_slot[lpi], 0);
		config[lpi] = 0xa0;
		if (!config_coherent)
			cache_clean(&config[lpi], 1);
		lpi_used[lpi / 64] &= ~BIT(lpi % 64);
	}
	d->lpi[index] = 0;
	spin_unlock(&its_lock);
}

void
irqc_msi_close(struct irqc_source *s)
{
	struct its_device *d = s->priv;
	enum status e;

	if (d == NULL)
		return;
	for (uint32_t i = 0; i < s->count; i++)
		irqc_msi_unbind(s, i, 0);
	spin_lock(&its_lock);
	command(d->unit, CMD_MAPD | (uint64_t)s->device_id << 32, 0, 0);
	command(d->unit, CMD_SYNC, 0, target_of(d->unit, 0));
	e = submit(d->unit);
	spin_unlock(&its_lock);
	/* Without its word that it forgot the table, the table is never used for anything else. */
	if (e == OK)
		frame_free(d->table, d->order);
	d->unit = NULL;
	s->priv = NULL;
}

void
its_record(void (*say)(const char *name, uint64_t value))
{
	for (unsigned i = 0; i < MACHINE_ITS_MAX; i++)
		if (its[i].regs != NULL)
			say("GITS_TYPER", mmio_read64(its[i].regs + GITS_TYPER));
}

uint32_t
irqc_msi_free(void)
{
	uint32_t n = 0;

	spin_lock(&its_lock);
	for (uint32_t i = 0; i < lpi_end; i++)
		n += (lpi_used[i / 64] & BIT(i % 64)) == 0;
	spin_unlock(&its_lock);
	return its_count != 0 ? n : 0;
}
