/*
 * info(): what the kernel tells about itself.  See enum info_what.  Nothing here contains a
 * physical address (D3).
 */
#pragma once

#include "kern/abi/status.h"

struct thread;
struct uregs;

enum status sys_info(struct thread *t, struct uregs *u);
