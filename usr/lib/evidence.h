/*
 * The record of evidence, for whoever shows it: the shell and the status page.  docs/evidence.md
 * tells the schema.
 */
#pragma once

#include "kern/abi/object.h"
#include "usr/lib/devmgr.h"
#include "usr/lib/provider.h"
#include "usr/lib/text.h"

enum { EVIDENCE_BYTES = 48 * 1024 };	/* room for the record of every machine that was seen */

/* Where it comes from and where it goes.  kernel needs KERNEL_INFO; devmgr may be HANDLE_NONE. */
struct evidence_record { handle_t kernel, devmgr; struct text *t; };

void evidence_json(const struct evidence_record *x);

/* The machine, and who may run it: a guess, with where it comes from. */
enum { EVIDENCE_TABLES = 4 };

struct evidence_about {
	struct machine_info machine;
	bool known;
	enum provider guess, by_vendors;
	const char *by;
	bool agree;			/* SMBIOS, tables and PCI vendors, as far as they say */
	const char *instance;		/* NULL: not told */
	char archive[65]; /* SHA-256 of the boot archive; "" without a device manager */
};

void evidence_about(const struct evidence_record *x, struct evidence_about *a);

/* What this boot found of the n-th table that tells of IOMMUs, n < EVIDENCE_TABLES. */
const char *evidence_table(const struct machine_info *m, unsigned n, const char **name);

/* Can a process see addresses of memory (D3): what the kernel saw when it looked. */
enum exposed : uint8_t { EXPOSED_NOT_CHECKED, EXPOSED_NO, EXPOSED_YES };

enum exposed
evidence_exposed(const struct evidence_record *x, uint64_t index, struct exposure_info *e);
const char *evidence_exposed_text(enum exposed e);

/* Who serves a function: its supervisor's record, and what program file it was started from. */
struct evidence_server { struct supervised s; char hash[65]; uint64_t bytes; };

/* False: nobody. */
bool evidence_server(const struct evidence_record *x, const struct function_info *f,
    struct evidence_server *v);
