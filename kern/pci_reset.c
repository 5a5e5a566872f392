/*
 * Reset of one function, in steps that never wait (PCI-06).
 *
 * What is used, the first that the function has: function-level reset of PCIe; the same of the
 * advanced features capability; the way from D3hot to D0, where that resets.  Resets that would hit
 * neighbours (of a bus) are not used.
 *
 *   DRAIN   bus mastering is off; until no transaction is pending, for at most a second, then it is
 *           reset all the same
 *   START   the reset is begun; 100 ms without any access (D3hot: 10 ms there, then D0 and 10 ms)
 *   ANSWER  until the function answers, for at most four seconds more
 *   then what software had set is written again, the harmless state with it.
 *
 * Manual: PCIe 6.6.2 (function-level reset), 2.3.1 (request retry status), 5.3.1.4 (D3hot); AF ECN.
 */
#include "kern/base/mmio.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/md/clock.h"
#include "kern/pci_assign.h"
#include "kern/pci_config.h"

enum step : uint32_t { START, DRAIN, D0, ANSWER };
enum : uint64_t {
	FAILED = UINT64_MAX,
	DRAIN_MAX = NS_PER_S, DRAIN_POLL = NS_PER_MS,
	QUIET = 100 * NS_PER_MS, D3_QUIET = 10 * NS_PER_MS,
	ANSWER_MAX = 4 * NS_PER_S, ANSWER_POLL = 20 * NS_PER_MS,
};

static bool
has_af(const struct pci_function *f)
{
	return f->cap_af != 0 &&
	    (pci_read(f, f->cap_af + AF_CAP, 1) & (AF_CAP_FLR | AF_CAP_TP)) ==
	    (AF_CAP_FLR | AF_CAP_TP);
}

static bool
has_d3(const struct pci_function *f)
{
	return f->cap_pm != 0 && f->header == 0 &&
	    (pci_read(f, f->cap_pm + PM_CONTROL, 2) & PM_NO_SOFT_RESET) == 0;
}

const char *
pci_reset_method(const struct pci_function *f)
{
	if (f->bridge || f->problem != NULL)
		return NULL;
	return f->flr ? "function-level reset" :
	    has_af(f) ? "function-level reset (AF)" :
	    has_d3(f) ? "reset from D3hot" :
			NULL;
}

bool
pci_can_reset(const struct pci_function *f)
{
	return pci_reset_method(f) != NULL;
}

/* What reset would lose, and our tables do not have. */
static void
save(struct pci_function *f)
{
	if (f->cap_pcie == 0)
		return;
	f->saved_control = (uint16_t)pci_read(f, f->cap_pcie + PCIE_DEVCTL, 2);
	if (f->cap_pcie + PCIE_LEN <= CFG_END)
		f->saved_control2 = (uint16_t)pci_read(f, f->cap_pcie + PCIE_DEVCTL2, 2);
}

static void
restore(struct pci_function *f)
{
	pci_assign_restore(f);
	if (f->cap_pcie != 0) {
		pci_write(
		    f, f->cap_pcie + PCIE_DEVCTL, 2, f->saved_control & ~(uint32_t)DEVCTL_FLR);
		if (f->cap_pcie + PCIE_LEN <= CFG_END)
			pci_write(f, f->cap_pcie + PCIE_DEVCTL2, 2, f->saved_control2);
	}
	pci_make_harmless(f);
	pci_config_change(f, CFG_COMMAND, 2, COMMAND_MASTER, COMMAND_MEMORY | COMMAND_INTX_OFF);
}

/* Begins the reset; returns when the function may be touched again. */
static uint64_t
begin(struct pci_function *f, uint64_t now, uint32_t *state)
{
	*state = ANSWER;
	f->reset_deadline = now + QUIET + ANSWER_MAX;
	if (f->flr) {
		pci_config_change(f, f->cap_pcie + PCIE_DEVCTL, 2, 0, DEVCTL_FLR);
		return now + QUIET;
	}
	if (has_af(f)) {
		pci_write(f, f->cap_af + AF_CONTROL, 1, AF_FLR);
		return now + QUIET;
	}
	*state = D0;
	pci_config_change(f, f->cap_pm + PM_CONTROL, 2, PM_STATE, PM_D3HOT);
	return now + D3_QUIET;
}

/* Everything ones: gone, or not there yet.  Vendor 1: not ready [2.3.1]. */
static bool
answers(const struct pci_function *f)
{
	uint32_t id = pci_read(f, CFG_ID, 4);

	return id != UINT32_MAX && (id & 0xffff) != 1;
}

/* Mastering is off: begins when nothing is pending, or when that has been waited for long enough.
 */
static uint64_t
drain(struct pci_function *f, uint64_t now, uint32_t *state)
{
	if (!pci_idle(f) && now < f->reset_deadline)
		return now + DRAIN_POLL;
	return begin(f, now, state);
}

uint64_t
pci_reset_step(struct pci_function *f, uint32_t *state)
{
	uint64_t now = clock_now();

	if (load_acquire(&f->gone))	/* the card was taken out: nothing of it is left */
		return 0;
	switch ((enum step)*state) {
	case START:
		if (!pci_can_reset(f) || !answers(f))
			return FAILED;
		__atomic_add_fetch(&f->generation, 1, __ATOMIC_RELAXED);
		pci_bus_master(f, false);
		save(f);
		f->reset_deadline = now + DRAIN_MAX;
		*state = DRAIN;
		return drain(f, now, state);
	case DRAIN:
		return drain(f, now, state);
	case D0:
		pci_config_change(f, f->cap_pm + PM_CONTROL, 2, PM_STATE, 0);
		*state = ANSWER;
		return now + D3_QUIET;
	case ANSWER:
		if (answers(f)) {
			restore(f);
			return 0;
		}
		return now < f->reset_deadline ? now + ANSWER_POLL : FAILED;
	}
	return FAILED;
}
