/*
 * Addresses of BARs: sizes, new addresses where firmware left none, and which addresses are
 * believed.
 */
#pragma once

#include "kern/base/types.h"

struct machine;
struct pci_function;

/* Finds out size and kind of each BAR, and what firmware put into it.  Decoding is off meanwhile.
 */
void pci_assign_size(struct pci_function *f);

/*
 * For functions [from, to) of one host: when its numbers need not be kept and a memory BAR has no
 * good address, all of them get new ones from the host's windows, and bridges get windows around
 * what is below them.  Then base, the CPU's address, is set for every BAR that has a place in a
 * window of the host (or whose host has no windows that are known).
 */
void pci_assign(const struct machine *m, uint32_t host, uint32_t from, uint32_t to);

/*
 * For all functions: takes back (base = 0) what lies in memory, in registers of the kernel's, or in
 * another's BAR; and says which BARs are alone in their pages.  A function with a memory BAR that
 * has no good place decodes no memory and has a problem.
 */
void pci_assign_judge(const struct machine *m);

/* The same for the card that was plugged in below a port, in the windows that the port has. */
void pci_assign_plugged(const struct machine *m, const struct pci_function *port);

/* The addresses that a bridge sends down, by one of its two windows of memory.  False: that is
 * closed. */
bool pci_forwards(const struct pci_function *bridge, bool prefetch, uint64_t *base, uint64_t *len);

/* Writes all BARs as recorded (after a reset). */
void pci_assign_restore(struct pci_function *f);
