/*
 * Bus numbers and BARs where firmware left them unset.
 */
#pragma once

#include "kern/base/types.h"

struct machine_host;
struct pci_function;

/* Writes a bridge's bus numbers and raises the last bus of the bridges above. */
void pci_assign_buses(struct pci_function *bridge, uint8_t primary);

/* Gives an address to every memory BAR of functions [from, to) that has none, and opens bridge windows. */
void pci_assign_bars(const struct machine_host *h, uint32_t from, uint32_t to);

/* Writes one BAR as recorded (after a reset). */
void pci_assign_write_bar(struct pci_function *f, unsigned bar);
