/*
 * The shell's parts: the console and line editing (line.c, edit.c), lines to commands (command.c),
 * commands about the system (sys.c) and about disks (disk.c), hostile clients of disks (liar.c,
 * outside.c),
 * one whose server dies (outlive.c), packets (packet.c), and lies about them (netliar.c), the
 * network (net.c), benchmarks (bench.c, bench_net.c).
 */
#pragma once

#include "usr/lib/devmgr.h"
#include "usr/lib/names.h"

extern handle_t kernel, devmgr, init;

/* Reads one line with editing and history; "" after Ctrl-C, NULL for Ctrl-D on an empty line.  Good
 * until the next. */
const char *line_read(const char *prompt);

/* Ctrl-C was typed since the last look. */
bool interrupted(void);
/* Some look at this line's commands found one. */
bool was_interrupted(void);
/* Says that a command ends for a Ctrl-C.  1, to return. */
int stopped(void);
/* Waits; false when Ctrl-C came first. */
bool pause_until(uint64_t ns);
/* Starts the console: input arrives by notification. */
void line_start(void);

/* Numbers: decimal, 0x..., with K, M, G, T.  False when it is not one. */
bool number(const char *text, uint64_t *out);
/* The same, and says what is wrong with the argument "what". */
bool want_number(const char *what, const char *text, uint64_t *out);

/* A session with a disk by its name; says why not.  close also gives the server's endpoint back. */
struct blk;
bool disk_open(struct blk *b, const char *name, uint32_t rights, uint64_t bytes);
void disk_close(struct blk *b);
int cmd_liar(int argc, char **argv);
int cmd_outside(int argc, char **argv);
int cmd_outlive(int argc, char **argv);

/* interface.c: promiscuous mode ("promisc", "on" or "off") or another address ("mac"). */
int interface_change(const char *what, const char *value);
bool interface_is_promiscuous(void);
int bench_net(uint16_t port);

/* A command: its arguments, split, as many as its synopsis allows; the exit status. */
typedef int command_fn(int argc, char **argv);

struct command { const char *name, *args, *text; command_fn *fn; };
struct note { const char *name, *text; };	/* more about a command, for "help COMMAND" */
extern const struct command commands[];		/* ends with a NULL name, as notes do */
extern const struct note notes[];

/* Says what is wrong with the arguments, and how the current command is used.  1, to return. */
int usage(const char *format, ...) PRINTF(1, 2);
int help_about(const struct command *c);
/* For completion: the n-th command whose name begins so. */
const char *command_name(void *arg, const char *prefix, size_t len, unsigned n);

/* Runs the commands of a line, which it cuts up; 0: none failed.  echo: what to print before each,
 * and the result so far goes to run_failed; NULL: neither. */
int run(char *line, const char *echo);
extern int run_failed;

/* The kernel's index-th of something; false past the last. */
bool info(enum info_what what, uint64_t index, void *to, size_t size);
/* "0000:00:01.0" after some text, in one of a few buffers. */
const char *function_text(const char *before, uint32_t function);
/* Why somebody who is watched over does not serve. */
const char *supervised_text(uint8_t state);
bool supervised_at(bool drivers, uint64_t n, struct supervised *s);

command_fn cmd_help, cmd_repeat;
command_fn cmd_killer, cmd_ps, cmd_mem, cmd_memtest, cmd_cpus, cmd_date, cmd_trace, cmd_devices,
    cmd_evidence, cmd_iommu, cmd_dma;
command_fn cmd_log, cmd_kill, cmd_poweroff, cmd_reboot;
command_fn cmd_blk, cmd_sha256, cmd_hexdump, cmd_write, cmd_flush, cmd_bench, cmd_rogue, cmd_sleep,
    cmd_stress;
command_fn cmd_net, cmd_ping, cmd_dns, cmd_wget;
command_fn cmd_arp, cmd_flood, cmd_netliar, cmd_netrogue, cmd_zero, cmd_discard;
