/*
 * Slots whose cards come and go: what they need of the claims.
 */
#pragma once

#include "kern/base/types.h"

struct pci_function;

/* The function came: its class is asked about it, before anybody can claim it. */
void device_plugged(struct pci_function *f);

/*
 * The function goes: nobody may claim it any more, and the claim that has it ends (D7).  Never
 * waits, and is called again until it returns true: nobody has it.  gone: it is not there any more,
 * and its port forwards nothing.
 */
bool device_unplug(struct pci_function *f, bool gone);
