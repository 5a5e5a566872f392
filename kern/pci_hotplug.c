/*
 * Slots: cards that come and go while the machine runs (PCIe's own hot plug).
 *
 * A port with a slot tells in its registers whether a card is in it, whether its link is up, and
 * whether somebody pressed the button beside it; and it is told what its lamp shows and whether the
 * card has power.  Everything here is what those registers said once, at one look:
 *
 *     empty -> (wants in) -> power -> link -> quiet -> answer -> scan -> full
 *       ^                                                                 |
 *       +--------- settle <- leaving <------------------ (wants out) <----+
 *
 *   wants    the button was pressed: the lamp blinks for five seconds, in which a second press
 *            takes it back
 *   leaving  nobody can claim its functions any more, and the claims that have them end, in the
 *            order of D7, with the card still there: mastering off, invalidations waited for, reset
 *            confirmed.  Only then the port stops forwarding and the power goes
 *   settle   a second without power: what the slot says about its card until then is not believed
 *
 * A card that is torn out goes the same way with nobody asked.  The port stops forwarding first:
 * with its bus mastering off (read back) it passes no request of whatever is below it on.  Then the
 * functions are gone, which counts as their reset, and memory is still let go only when the IOMMU
 * has confirmed that it is out of reach.  A port that cannot be told (its registers read as all
 * ones) confirms nothing: the claims end in quarantine.
 *
 * A card that comes finds a port that forwards nothing.  It is made harmless, gets its addresses
 * and its group, and only then the port forwards again.
 *
 * Slots are looked at by the worker, five times a second.  Their own interrupt is not used: on
 * arm64 a port's message would pass the IOMMU, where a port has no business; and who takes a card
 * out needs longer than that.  So a slot that says something new all the time costs the same as one
 * that says nothing.  Its words are believed no further than this: a card that is not there, or too
 * many, is what configuration space then shows.
 *
 * Whether firmware would rather do this itself is told by AML, which is not read here: a slot that
 * offers it (SLTCAP) is taken.
 *
 * Locks    watch_lock (RANK_SLOTS) over who is told.  Slots are the worker's.
 * Manual   PCIe 6.7 (hot plug), 6.7.1.5 (button), 6.7.1.8 (power), 6.6.1 (after a reset), 7.5.3.9
 * to 11.
 */
#include "kern/pci_hotplug.h"
#include "kern/base/mmio.h"
#include "kern/lock.h"
#include "kern/log.h"
#include "kern/md/clock.h"
#include "kern/pci_config.h"
#include "kern/process.h"
#include "kern/trace.h"
#include "kern/worker.h"

enum { SLOTS_MAX = 32, CARD_FUNCTIONS = 8 };
enum : uint64_t {
	LOOK_NS = 200 * NS_PER_MS,
	SOON_NS = 10 * NS_PER_MS,
	COMMAND_NS = NS_PER_S, /* until a command is done */
	BUTTON_NS = 5 * NS_PER_S,
	LINK_NS = NS_PER_S,         /* until the link is up; where the port cannot tell, always */
	QUIET_NS = 100 * NS_PER_MS, /* of a link that has just come up */
	ANSWER_NS = 4 * NS_PER_S,
	SETTLE_NS = NS_PER_S,
};

enum slot_state : uint8_t {
	SLOT_EMPTY,
	SLOT_WANTS_IN,
	SLOT_LINK,
	SLOT_QUIET,
	SLOT_ANSWER,
	SLOT_SCAN,
	SLOT_FULL,
	SLOT_WANTS_OUT,
	SLOT_LEAVING,
	SLOT_SETTLE,
};

struct slot {
	struct pci_function *port;	/* (c) */
	uint32_t capable;		/* (c) SLTCAP */
	bool tells_link;		/* (c) */
	enum slot_state state;
	bool vacant;			/* it was seen without a card since it had power */
	bool lost;			/* the card went by itself */
	bool commanded;			/* a command is not done yet */
	bool multi;
	uint8_t number;			/* SLOT_SCAN: the next function to look at */
	uint64_t due, deadline, command_due;
};

static struct slot slots[SLOTS_MAX];
static uint32_t slot_count;
static struct work looks;
static struct spinlock watch_lock = SPINLOCK_INIT(RANK_SLOTS);
static struct watch watch;

bool
pci_slot_port(const struct pci_function *f)
{
	return f->bridge && f->pcie &&
	    (f->port_type == PORT_ROOT || f->port_type == PORT_DOWNSTREAM) &&
	    f->cap_pcie + PCIE_LEN_SLOT <= CFG_END &&
	    (pci_read(f, f->cap_pcie + PCIE_FLAGS, 2) & PCIE_SLOT) != 0 &&
	    (pci_read(f, f->cap_pcie + PCIE_SLTCAP, 4) & SLTCAP_HOTPLUG) != 0;
}

void
pci_slots_watch(struct notification *n, uint64_t bits, struct notification **old)
{
	spin_lock(&watch_lock);
	watch_set(&watch, n, bits, old);
	spin_unlock(&watch_lock);
}

static void
tell(void)
{
	spin_lock(&watch_lock);
	watch_fire(&watch);
	spin_unlock(&watch_lock);
}

static uint32_t
tag(const struct slot *s)
{
	return (uint32_t)s->port->segment << 16 | s->port->rid;
}

static void
say(const struct slot *s, const char *what)
{
	const struct pci_function *p = s->port;

	log_info("slot at %02x:%02x.%x: %s", p->rid >> 8, p->rid >> 3 & 31, p->rid & 7, what);
}

/* ---- Registers ---- */

static void
go(struct slot *s, enum slot_state state, uint64_t patience)
{
	s->state = state;
	s->due = clock_now();
	s->deadline = s->due + patience;
}

/* A command was given; look() gives no other before it is done. */
static void
await(struct slot *s)
{
	s->commanded = (s->capable & SLTCAP_NO_COMPLETED) == 0;
	s->command_due = clock_now() + COMMAND_NS;
}

static void
command(struct slot *s, uint32_t led, bool power)
{
	uint32_t at = s->port->cap_pcie + PCIE_SLTCTL;
	uint32_t v = pci_read(s->port, at, 2) &
	    ~(uint32_t)(SLTCTL_POWER_LED | SLTCTL_POWER_OFF | SLTCTL_INTERRUPTS);

	if ((s->capable & SLTCAP_POWER_LED) != 0)
		v |= (uint32_t)FIELD_PREP(SLTCTL_POWER_LED, led);
	if ((s->capable & SLTCAP_POWER) != 0 && !power)
		v |= SLTCTL_POWER_OFF;
	pci_write(s->port, at, 2, v);
	await(s);
}

/* What is below passes requests on, or not.  False: the port does not obey. */
static bool
forward(struct slot *s, bool on)
{
	pci_config_change(s->port, CFG_COMMAND, 2, COMMAND_MASTER, on ? COMMAND_MASTER : 0);
	return ((pci_read(s->port, CFG_COMMAND, 2) & COMMAND_MASTER) != 0) == on;
}

static bool
link_is_up(const struct slot *s)
{
	return !s->tells_link ||
	    (pci_read(s->port, s->port->cap_pcie + PCIE_LNKSTA, 2) & LNKSTA_LINK) != 0;
}

/* ---- The card ---- */

/* The next function of the card at or after *i, or NULL; in whatever depth. */
static struct pci_function *
next_below(const struct slot *s, uint32_t *i)
{
	while (*i < pci_count) {
		struct pci_function *f = &pci_functions[(*i)++];

		if (pci_is_below(f, s->port))
			return f;
	}
	return NULL;
}

static bool
any_function(const struct slot *s)
{
	struct pci_function *f;
	uint32_t i = 0;

	while ((f = next_below(s, &i)) != NULL)
		if (!load_relaxed(&f->gone))
			return true;
	return false;
}

/* Without power, whatever it was at. */
static void
power_off(struct slot *s)
{
	(void)forward(s, false);
	command(s, LED_OFF, false);
	trace(SLOT_POWER, tag(s), false);
	go(s, SLOT_SETTLE, SETTLE_NS);
}

static void
power_on(struct slot *s)
{
	(void)forward(s, false);
	command(s, LED_BLINK, true);
	trace(SLOT_POWER, tag(s), true);
	go(s, SLOT_LINK, LINK_NS);
}

static void
fail(struct slot *s, const char *why)
{
	say(s, why);
	power_off(s);
}

/* The claims end; then everything below is forgotten. */
static void
leaving(struct slot *s)
{
	bool closed = s->lost && forward(s, false), all = true;
	struct pci_function *f;

	for (uint32_t i = 0; (f = next_below(s, &i)) != NULL; )
		all &= device_unplug(f, closed);
	if (!all)
		return;
	for (uint32_t i = 0; (f = next_below(s, &i)) != NULL; ) {
		store_release(&f->gone, true);
		pci_unplugged(f);
	}
	power_off(s);
	say(s, s->lost ? "its card was taken out without a word" : "its card can be taken out");
	tell();
}

/* Everything was looked at: it is given addresses and shown. */
static void
welcome(struct slot *s)
{
	bool harmless = pci_plugged(s->port);
	struct pci_function *f;

	if (!harmless || !forward(s, true)) {
		s->lost = false;
		say(s, harmless ? "its port does not forward" :
				  "its card cannot be kept from mastering the bus");
		go(s, SLOT_LEAVING, 0);
		return;
	}
	for (uint32_t i = 0; (f = next_below(s, &i)) != NULL; ) {
		if (!f->plugged)
			continue;
		device_plugged(f);
		store_release(&f->gone, false);
		store_release(&f->leaving, false);
	}
	command(s, LED_ON, true);
	go(s, SLOT_FULL, 0);
	say(s, "a card was plugged in");
	tell();
}

/* ---- One look ---- */

static void
look(struct slot *s, uint64_t now)
{
	uint32_t at = s->port->cap_pcie + PCIE_SLTSTA, status = pci_read(s->port, at, 2);
	uint32_t events = status & SLTSTA_EVENTS;
	bool sense = (status & SLTSTA_RESERVED) == 0, pressed, card, torn;
	const struct pci_function *f;

	s->due = now + (s->state == SLOT_EMPTY || s->state == SLOT_FULL ||
			s->state == SLOT_WANTS_IN || s->state == SLOT_WANTS_OUT ?
			LOOK_NS : SOON_NS);
	/* What happened meanwhile stays written down. */
	if (s->commanded && sense && (events & SLTSTA_COMPLETED) == 0 && now < s->command_due)
		return;
	s->commanded = false;
	if (sense && events != 0)
		pci_write(s->port, at, 2, events);
	pressed = sense && (events & SLTSTA_BUTTON) != 0 && (s->capable & SLTCAP_BUTTON) != 0;
	card = sense && (status & SLTSTA_CARD) != 0;
	/* A card that came back between two looks is another. */
	torn = !card || (events & (SLTSTA_PRESENCE | SLTSTA_LINK | SLTSTA_FAULT)) != 0 ||
	    !link_is_up(s);
	s->vacant |= !card;

	switch (s->state) {
	case SLOT_EMPTY:
		if (card && (s->vacant || s->lost || (events & SLTSTA_PRESENCE) != 0)) {
			power_on(s);
		} else if (card && pressed) {
			command(s, LED_BLINK, false);
			go(s, SLOT_WANTS_IN, BUTTON_NS);
		}
		return;
	case SLOT_WANTS_IN:
		if (!card || pressed) {
			command(s, LED_OFF, false);
			go(s, SLOT_EMPTY, 0);
		} else if (now >= s->deadline) {
			power_on(s);
		}
		return;
	case SLOT_LINK:
		s->vacant = s->lost = false;
		if (!card || (events & SLTSTA_FAULT) != 0)
			fail(s, card ? "no power" : "its card is gone again");
		else if (s->tells_link && link_is_up(s))
			go(s, SLOT_QUIET, QUIET_NS);
		else if (now >= s->deadline && s->tells_link)
			fail(s, "its link does not come up");
		else if (now >= s->deadline)
			go(s, SLOT_QUIET, QUIET_NS);
		return;
	case SLOT_QUIET:
		if (!card || !link_is_up(s))
			fail(s, "its card is gone again");
		else if (now >= s->deadline)
			go(s, SLOT_ANSWER, ANSWER_NS);
		return;
	case SLOT_ANSWER:
		f = !torn ? pci_plug(s->port, 0) : NULL;
		if (f != NULL) {
			s->multi = f->multifunction;
			s->number = 0;
			go(s, SLOT_SCAN, 0);
		} else if (!card || !link_is_up(s) || now >= s->deadline) {
			fail(s, "its card does not answer");
		}
		return;
	case SLOT_SCAN:
		if (torn) {
			s->lost = true;
			go(s, SLOT_LEAVING, 0);
		} else if (s->multi && ++s->number < CARD_FUNCTIONS) {
			(void)pci_plug(s->port, s->number);
			s->due = now;
		} else {
			welcome(s);
		}
		return;
	case SLOT_FULL:
	case SLOT_WANTS_OUT:
		if (torn) {
			trace(SLOT_LOST, tag(s));
			s->lost = true;
			go(s, SLOT_LEAVING, 0);
		} else if (s->state == SLOT_FULL && pressed) {
			command(s, LED_BLINK, true);
			say(s,
			    "its button was pressed: the card leaves in 5 seconds, unless it is pressed again");
			go(s, SLOT_WANTS_OUT, BUTTON_NS);
		} else if (s->state == SLOT_WANTS_OUT && pressed) {
			command(s, LED_ON, true);
			say(s, "its button was pressed again: the card stays");
			go(s, SLOT_FULL, 0);
		} else if (s->state == SLOT_WANTS_OUT && now >= s->deadline) {
			s->lost = false;
			go(s, SLOT_LEAVING, 0);
		}
		return;
	case SLOT_LEAVING:
		if (torn && !s->lost) {
			trace(SLOT_LOST, tag(s));
			s->lost = true;
		}
		leaving(s);
		return;
	case SLOT_SETTLE:
		if (now >= s->deadline)
			go(s, SLOT_EMPTY, 0);
		return;
	}
}

static uint64_t
look_around(struct work *w UNUSED)
{
	uint64_t now = clock_now(), next = DEADLINE_NEVER;

	for (uint32_t i = 0; i < slot_count; i++) {
		if (slots[i].due <= now)
			look(&slots[i], now);
		next = min_u64(next, slots[i].due);
	}
	return next;
}

/* As boot left it; the rest is told by what changes from now on. */
static bool
begin(struct slot *s)
{
	uint32_t at = s->port->cap_pcie, status = pci_read(s->port, at + PCIE_SLTSTA, 2);
	bool card = (status & SLTSTA_CARD) != 0, full = any_function(s);

	if ((status & SLTSTA_RESERVED) != 0 || (full && !card)) {
		say(s, "it says that it is empty, and it is not: not watched");
		return false;
	}
	s->capable = pci_read(s->port, at + PCIE_SLTCAP, 4);
	s->tells_link = (pci_read(s->port, at + PCIE_LNKCAP, 4) & LNKCAP_REPORTS_LINK) != 0;
	s->vacant = !card;
	pci_write(s->port, at + PCIE_SLTSTA, 2, SLTSTA_EVENTS);
	if ((pci_read(s->port, at + PCIE_SLTCTL, 2) & SLTCTL_INTERRUPTS) != 0) {
		pci_config_change(s->port, at + PCIE_SLTCTL, 2, SLTCTL_INTERRUPTS, 0);
		await(s);
	}
	if (!full)
		(void)forward(s, false);
	go(s, full ? SLOT_FULL : SLOT_EMPTY, 0);
	return true;
}

void
pci_slots_init(void)
{
	uint32_t lost = 0;

	slot_count = 0;
	for (uint32_t i = 0; i < pci_count; i++) {
		if (!pci_slot_port(&pci_functions[i]) || pci_functions[i].secondary == 0 ||
		    pci_functions[i].problem != NULL)
			continue;
		if (slot_count == SLOTS_MAX) {
			lost++;
			continue;
		}
		slots[slot_count] = (struct slot){ .port = &pci_functions[i] };
		slot_count += begin(&slots[slot_count]);
	}
	if (lost != 0)
		log_warn("pci: %u slots more than %u: cards must stay in them", lost, SLOTS_MAX);
	if (slot_count == 0)
		return;
	log_info("pci: %u slots whose cards may come and go", slot_count);
	looks.step = look_around;
	worker_add(&looks);
}
