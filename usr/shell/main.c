/*
 * The shell: a prompt on the console, or the commands of the kernel command line ("cmd=", percent-encoded), after which it
 * says how they went and powers the machine off.
 */
#include "kern/base/bits.h"
#include "usr/shell/shell.h"

handle_t kernel, devmgr, init;

struct command { const char *name, *args, *text; command_fn *fn; };

extern const struct command commands[];
static command_fn cmd_repeat;

static int
cmd_help(int argc UNUSED, char **argv UNUSED)
{
	for (unsigned i = 0; commands[i].name != NULL; i++)
		print("  %-10s %-28s %s\n", commands[i].name, commands[i].args, commands[i].text);
	return 0;
}

const struct command commands[] = {
	{ "help", "", "this list", cmd_help },
	{ "ps", "", "processes: state, CPU time, memory, handles", cmd_ps },
	{ "mem", "", "memory and objects in use", cmd_mem },
	{ "memtest", "MIB", "maps memory in every way, writes and reads it", cmd_memtest },
	{ "cpus", "", "CPUs: time, switches, interrupts", cmd_cpus },
	{ "devices", "", "PCI tree, driver, group, verdict", cmd_devices },
	{ "evidence", "", "what each step of the verdict over a device saw", cmd_evidence },
	{ "iommu", "", "units, features in use, domains, faults", cmd_iommu },
	{ "dma", "", "grants by owner", cmd_dma },
	{ "blk", "", "disks", cmd_blk },
	{ "sha256", "DEV [OFFSET LENGTH]", "hash of a disk or a part of it", cmd_sha256 },
	{ "hexdump", "DEV [OFFSET [LENGTH]]", "bytes of a disk", cmd_hexdump },
	{ "write", "DEV OFFSET TEXT", "writes text to a disk", cmd_write },
	{ "flush", "DEV", "makes earlier writes durable", cmd_flush },
	{ "bench", "[ready|ipc|signal|disk|...]", "marked regions for the instruction counter", cmd_bench },
	{ "stress", "[ROUNDS]", "messages and signals from all sides, every answer checked", cmd_stress },
	{ "date", "", "the date, UTC", cmd_date },
	{ "log", "[-d]", "the system log; with dates", cmd_log },
	{ "trace", "[N]", "the last N things that the kernel traced", cmd_trace },
	{ "kill", "PID|NAME", "ends a process", cmd_kill },
	{ "killer", "NAME MILLISECONDS", "ends a process later, while commands go on", cmd_killer },
	{ "repeat", "N \"COMMAND; ...\"", "runs commands N times", cmd_repeat },
	{ "rogue", "CTRL r|w IOVA | x", "lets a driver lie about an address, or reset under load (test)", cmd_rogue },
	{ "liar", "DEV [abandon]", "a client that lies to a disk's server (test)", cmd_liar },
	{ "sleep", "MILLISECONDS", "waits", cmd_sleep },
	{ "poweroff", "", "", cmd_poweroff },
	{ "reboot", "", "", cmd_reboot },
	{ NULL, NULL, NULL, NULL },
};

bool
number(const char *s, uint64_t *out)
{
	uint64_t v = 0;
	unsigned base = 10;

	if (s[0] == '0' && s[1] == 'x') {
		base = 16;
		s += 2;
	}
	if (*s == 0)
		return false;
	for (; *s != 0; s++) {
		unsigned d = *s >= '0' && *s <= '9' ? (unsigned)(*s - '0') : (*s | 0x20) >= 'a' && (*s | 0x20) <= 'f' && base == 16 ?
		    (unsigned)((*s | 0x20) - 'a' + 10) : 99;

		if (d >= base) {
			unsigned shift = *s == 'K' ? 10 : *s == 'M' ? 20 : *s == 'G' ? 30 : 0;

			if (shift == 0 || s[1] != 0 || v >> (64 - shift) != 0)
				return false;
			*out = v << shift;
			return true;
		}
		if (v > (UINT64_MAX - d) / base)
			return false;
		v = v * base + d;
	}
	*out = v;
	return true;
}

/* Splits at spaces; quotes keep them. */
static int
split(char *line, char **argv, int max)
{
	int n = 0;

	while (n < max) {
		char end = ' ';

		while (*line == ' ')
			line++;
		if (*line == 0)
			break;
		if (*line == '"' || *line == '\'')
			end = *line++;
		argv[n++] = line;
		while (*line != 0 && *line != end)
			line++;
		if (*line != 0)
			*line++ = 0;
	}
	return n;
}

static int
run(char *line)
{
	char *argv[16];
	int argc = split(line, argv, 16);

	if (argc == 0)
		return 0;
	for (unsigned i = 0; commands[i].name != NULL; i++)
		if (strcmp(commands[i].name, argv[0]) == 0)
			return commands[i].fn(argc, argv);
	print("%s: no such command; \"help\" lists them\n", argv[0]);
	return 1;
}

static unsigned
hex(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* The value of "cmd=", decoded; false when there is none. */
static bool
batch(char *to, size_t size)
{
	static char line[2048];
	const char *p = line;
	uint64_t n;
	size_t len = 0;

	if (sys_info(kernel, INFO_CMDLINE, 0, (uint64_t)(uintptr_t)line, sizeof(line), &n) != OK)
		return false;
	line[sizeof(line) - 1] = 0;
	while (strncmp(p, "cmd=", 4) != 0 || (p != line && p[-1] != ' '))
		if (*p++ == 0)
			return false;
	for (p += 4; *p != 0 && *p != ' ' && len + 1 < size; p++) {
		if (*p == '%' && p[1] != 0 && p[2] != 0) {
			to[len++] = (char)(hex(p[1]) << 4 | hex(p[2]));
			p += 2;
		} else {
			to[len++] = *p;
		}
	}
	to[len] = 0;
	return true;
}

/* "repeat N 'a; b'": stops at the first that fails. */
static int
cmd_repeat(int argc, char **argv)
{
	static char line[512];
	uint64_t n;

	if (argc != 3 || !number(argv[1], &n)) {
		print("usage: repeat N \"COMMAND; COMMAND\"\n");
		return 1;
	}
	for (uint64_t i = 0; i < n && !interrupted(); i++) {
		for (const char *p = argv[2]; *p != 0; ) {
			size_t len = 0;
			int s;

			while (*p == ' ' || *p == ';')
				p++;
			while (p[len] != 0 && p[len] != ';')
				len++;
			str_copy(line, p, len + 1 < sizeof(line) ? len + 1 : sizeof(line));
			p += len;
			s = run(line);
			if (s != 0) {
				print("repeat: round %llu of %llu failed\n", (unsigned long long)i + 1, (unsigned long long)n);
				return s;
			}
		}
	}
	return 0;
}

static void
run_batch(char *all)
{
	int failed = 0;
	bool off = false;

	while (*all != 0) {
		char *end = all, quote = 0;
		int s;

		/* A semicolon inside quotes belongs to the command. */
		for (; *end != 0 && (*end != ';' || quote != 0); end++) {
			if (quote == 0 && (*end == '"' || *end == '\''))
				quote = *end;
			else if (*end == quote)
				quote = 0;
		}
		if (*end != 0)
			*end++ = 0;
		while (*all == ' ')
			all++;
		if (strncmp(all, "poweroff", 8) == 0) {
			off = true;
			break;
		}
		if (*all != 0) {
			print("capos> %s\n", all);
			s = run(all);
			if (s != 0)
				failed = s;
		}
		all = end;
	}
	(void)off;
	print("capos: exit status %d\n", failed);
	(void)cmd_poweroff(0, NULL);
}

int
main(void)
{
	static char line[2048];

	kernel = start_handle("kernel");
	devmgr = start_handle("devmgr");
	init = start_handle("init");
	line_start();
	if (batch(line, sizeof(line)))
		run_batch(line);
	print("capOS.  \"help\" lists commands; Ctrl-C stops one.\n");
	for (;;)
		if (line_read(line, 256, "capos> ") > 0)
			(void)run(line);
}
