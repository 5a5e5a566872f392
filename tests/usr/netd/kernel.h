/*
 * The kernel of the packet server's world (world.h): handles, memory, grants, the device, system
 * calls.
 *
 * Handles name objects with counts, as the kernel's do; each belongs to the server or to the test
 * with its library.
 */
#pragma once

#include "kern/abi/object.h"
#include "tests/usr/netd/world.h"

enum : uint8_t { NOBODYS, TESTS, SERVERS };

extern uint64_t kernel_now;
extern struct dma_status kernel_status;
extern uint32_t kernel_looks;		/* of the server at its faults, since it waited last */

/* A machine that is new; what the server had is let go of, and its device reset; all is. */
void kernel_begin(void);
void kernel_teardown(void);
void kernel_end(void);

handle_t kernel_handle(uint8_t type, uint32_t of, uint8_t owner);
handle_t kernel_copy(uint64_t h, uint8_t owner);
/* What a handle of whoever runs names.  E_TYPE: something of another type. */
enum status kernel_find(uint64_t h, uint8_t type, uint32_t *of);
/* Memory; 0 pages: a notification, and its bits. */
uint32_t kernel_object(uint64_t pages);
uint64_t *kernel_bits(handle_t ntfn);

/* world.c */
NORETURN void kernel_fail(const char *what);
uint8_t kernel_self(void);		/* who runs */
void world_start_keeper(uint64_t pc, uint64_t arg);
