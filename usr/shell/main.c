/*
 * The shell: a prompt on the console, or the commands of the kernel command line ("cmd=",
 * percent-encoded), after which it says how they went and powers the machine off.
 */
#include "kern/base/bits.h"
#include "usr/shell/shell.h"

handle_t kernel, devmgr, init;
static bool in_batch;

const struct command commands[] = {
	{ "help", "[COMMAND]", "this list; more about one", cmd_help },
	{ "ps", "", "processes: state, CPU time, memory, handles", cmd_ps },
	{ "mem", "", "memory and objects in use", cmd_mem },
	{ "memtest", "MIB", "maps memory in every way, writes and reads it", cmd_memtest },
	{ "cpus", "", "CPUs: time, switches, interrupts", cmd_cpus },
	{ "devices", "", "PCI tree: group, driver, domain, verdict", cmd_devices },
	{ "evidence", "[json]", "what each step of the verdict over a device saw", cmd_evidence },
	{ "iommu", "", "units, features in use, domains, faults", cmd_iommu },
	{ "dma", "", "pools, buffers and their windows, by owner", cmd_dma },
	{ "blk", "", "disks", cmd_blk },
	{ "sha256", "DEV [OFFSET LENGTH]", "hash of a disk or a part of it", cmd_sha256 },
	{ "hexdump", "DEV [OFFSET [LENGTH]]", "bytes of a disk", cmd_hexdump },
	{ "write", "DEV OFFSET TEXT", "writes text to a disk", cmd_write },
	{ "flush", "DEV", "makes earlier writes durable", cmd_flush },
	{ "zero", "DEV OFFSET LENGTH", "makes a range read as zeroes", cmd_zero },
	{ "discard", "DEV OFFSET LENGTH", "says that a range is not needed any more", cmd_discard },
	{ "net", "[WHAT VALUE]", "network: addresses, counters, sockets; changes the interface", cmd_net },
	{ "ping", "HOST", "asks a host for echoes", cmd_ping },
	{ "dns", "NAME", "addresses of a host", cmd_dns },
	{ "wget", "URL [DEV OFFSET]", "fetches a file over HTTP, to the console or to a disk",
	    cmd_wget },
	{ "bench", "[PART [PORT]]", "what operations cost", cmd_bench },
	{ "stress", "[ROUNDS]", "messages and signals from all sides, every answer checked",
	    cmd_stress },
	{ "date", "", "the date, UTC", cmd_date },
	{ "log", "[-d]", "the system log; with dates", cmd_log },
	{ "trace", "[N]", "the last N things that the kernel traced", cmd_trace },
	{ "kill", "PID|NAME", "ends a process, or takes a controller away", cmd_kill },
	{ "killer", "NAME MILLISECONDS", "ends a process later, while commands go on", cmd_killer },
	{ "repeat", "N \"COMMAND; ...\"", "runs commands N times", cmd_repeat },
	{ "rogue", "CTRL r|w|f|x [IOVA]", "lets a driver lie, or reset under load (test)",
	    cmd_rogue },
	{ "liar", "DEV [abandon]", "a client that lies to a disk's server (test)", cmd_liar },
	{ "outlive", "DEV", "writes that the server does not live to flush (test)", cmd_outlive },
	{ "outside", "", "a client that wants more of a disk than it was given (test)",
	    cmd_outside },
	{ "arp", "ADDRESS [MINE]", "who has an IPv4 address, asked past the TCP/IP service",
	    cmd_arp },
	{ "flood", "COUNT", "packets that a peer sends back, every one checked (test)", cmd_flood },
	{ "netliar", "", "a client that lies to a NIC's server (test)", cmd_netliar },
	{ "netrogue", "r|w|n IOVA", "lets a NIC's driver lie (test)", cmd_netrogue },
	{ "sleep", "MILLISECONDS", "waits", cmd_sleep },
	{ "poweroff", "", "ends the system", cmd_poweroff },
	{ "reboot", "", "starts it anew", cmd_reboot },
	{ NULL, NULL, NULL, NULL },
};

const struct note notes[] = {
	{ "ps", "What is watched over and does not run is listed below, with the reason." },
	{ "mem",
	    "Pages are 4 KiB.  Of an owner: what it uses itself, and its quota; what it handed to its children is theirs.\n"
	    "\"refused\" counts what did not fit into a quota." },
	{ "dma",
	    "Addresses are those that the device uses; nobody sees physical ones.  Queues are listed where the kernel guards\n"
	    "them, with what it refused." },
	{ "bench",
	    "Parts: memory, ipc, signal, disk, grant; ready, which only waits for a disk; and net, which needs a far end at the\n"
	    "gateway's PORT.  Regions are marked for the counter of guest instructions (make bench)." },
	{ "blk",
	    "\"refused\" counts requests that asked for what their session may not have, \"sessions refused\" those that were not\n"
	    "opened, or that lied." },
	{ "sha256",
	    "The hash that sha256sum prints on the host.  OFFSET and LENGTH are multiples of the block size.\n"
	    "As: sha256 nvme0n1 1M 64K" },
	{ "hexdump", "256 bytes when LENGTH is not given.  As: hexdump nvme0n1 0x400 64" },
	{ "write",
	    "The blocks around the text are read, changed and written; \"flush\" makes them durable.\n"
	    "As: write nvme0n1 4096 \"some text\"" },
	{ "net",
	    "\"promisc on\": packets for other stations come in, too, and are counted; \"promisc off\".  \"mac ADDRESS\": it has\n"
	    "another address.  Both until its server ends, and only with the capability \"interfaces\".\n"
	    "As: net mac 02:00:00:00:00:01" },
	{ "wget",
	    "On a disk the file begins at OFFSET, a multiple of the block size, and what is behind its end stays.\n"
	    "As: wget http://10.0.2.2:8000/disk.img nvme0n1 0" },
	{ "kill",
	    "Its supervisor starts it again, as the manifest says.  As: kill nvmed.  Of a controller: it is taken away from its\n"
	    "driver.  As: kill nvme0" },
	{ "killer", "As: killer nvmed 200; sha256 nvme0n1" },
	{ "repeat", "As: repeat 10 \"kill nvmed; sha256 nvme0n1 0 4096\"" },
	{ "rogue",
	    "The driver is started again as one that obeys: its device reads or writes that address, which was never\n"
	    "granted.  As: rogue 0 w 0x5000.  With f it floods the IOMMU.  Or, with x, it resets its controller under load." },
	{ NULL, NULL },
};

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

/* With commands from the kernel command line, their verdict comes first: somebody waits for it. */
int
cmd_poweroff(int argc UNUSED, char **argv UNUSED)
{
	if (in_batch)
		print("capos: exit status %d\n", run_failed);
	(void)sys_power(kernel, 0);
	return 1;
}

int
main(void)
{
	static char line[2048];

	kernel = start_handle("kernel");
	devmgr = start_handle("devmgr");
	init = start_handle("init");
	line_start();
	in_batch = batch(line, sizeof(line));
	if (in_batch && start_info->restarts == 0) {
		(void)run(line, "capos> ");
	} else if (in_batch) {
		print("the shell ended and was started again: its commands do not run twice\n");
		run_failed = 1;
	}
	if (in_batch)
		(void)cmd_poweroff(0, NULL);
	print("capOS.  \"help\" lists commands; Ctrl-C stops one.\n");
	for (;;) {
		const char *typed = line_read("capos> ");

		if (typed == NULL) {
			print("\"poweroff\" ends the system.\n");
			continue;
		}
		str_copy(line, typed, sizeof(line));
		(void)run(line, NULL);
	}
}
