/*
 * The first-boot record: what a machine that nobody here has seen says of itself, in one block on
 * the console, ready to be pasted back.  Printed when the command line has the word "record".
 *
 * It goes to the console only, never into the log, so no process can read it.  No address of memory
 * is in it (D3): the memory map has kinds and lengths; of tables and registers, what points into
 * memory is printed as "..".  Where devices are is told.
 */
#pragma once

struct acpi_source;
struct machine;

/* While firmware's tables can be read: keeps copies of those that are printed.  Nothing without the
 * word. */
void record_keep(struct machine *m, const struct acpi_source *src);

/* Boot CPU, alone, functions enumerated. */
void record_print(const struct machine *m);
