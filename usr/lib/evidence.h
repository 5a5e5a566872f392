/*
 * The record of evidence, for whoever shows it: the shell and the status page.  docs/evidence.md
 * tells the schema.
 */
#pragma once

#include "kern/abi/object.h"
#include "usr/lib/devmgr.h"
#include "usr/lib/text.h"

enum { EVIDENCE_BYTES = 48 * 1024 };	/* room for the record of every machine that was seen */

/* Where it comes from and where it goes.  kernel needs KERNEL_INFO; devmgr may be HANDLE_NONE. */
struct evidence_record { handle_t kernel, devmgr; struct text *t; };

void evidence_json(const struct evidence_record *x);

/* Who serves a function: its supervisor's record, and what program file it was started from. */
struct evidence_server { struct supervised s; char hash[65]; uint64_t bytes; };

/* False: nobody. */
bool evidence_server(const struct evidence_record *x, const struct function_info *f,
    struct evidence_server *v);
