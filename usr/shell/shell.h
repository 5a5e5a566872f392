/*
 * The shell's parts: line editing (line.c), commands about the system (sys.c) and about disks (disk.c), a hostile client of
 * disks (liar.c), benchmarks (bench.c).
 */
#pragma once

#include "usr/lib/devmgr.h"

extern handle_t kernel, devmgr, init;

/* Reads one line with editing and history; the length, or -1 for Ctrl-D on an empty line. */
int line_read(char *to, size_t size, const char *prompt);

/* Ctrl-C was typed since the last look. */
bool interrupted(void);
/* Starts the console: input arrives by notification. */
void line_start(void);

/* Numbers: decimal, 0x..., with K, M, G.  False when it is not one. */
bool number(const char *text, uint64_t *out);

/* A session with a disk by its name; says why not.  close also gives the server's endpoint back. */
struct blk;
bool disk_open(struct blk *b, const char *name, uint32_t rights, uint64_t bytes);
void disk_close(struct blk *b);
int cmd_liar(int argc, char **argv);

/* A command: its arguments, split; the exit status. */
typedef int command_fn(int argc, char **argv);

command_fn cmd_killer, cmd_ps, cmd_mem, cmd_memtest, cmd_cpus, cmd_date, cmd_trace, cmd_devices, cmd_evidence, cmd_iommu, cmd_dma;
command_fn cmd_log, cmd_kill, cmd_poweroff, cmd_reboot;
command_fn cmd_blk, cmd_sha256, cmd_hexdump, cmd_write, cmd_flush, cmd_bench, cmd_rogue, cmd_sleep, cmd_stress;
