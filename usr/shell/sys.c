/*
 * Commands about the system.  What they show comes from info() and never holds a physical address.
 *
 * Lists are read by index until there is no more: what changes meanwhile may be missing, or shown
 * as it was.  What a process uses is shown without the quotas that it handed to its children.
 * Restarts come from init and the device manager, who are asked with a deadline and left out when
 * they do not answer.
 *
 * Not here disks (disk.c), evidence (evidence.c).
 */
#include "kern/abi/trace_text.h"
#include "kern/base/bits.h"
#include "kern/base/date.h"
#include "usr/shell/shell.h"

enum { PROCESSES = 128, WATCHED = 40, GRANTS = 1024 };

bool
info(enum info_what what, uint64_t index, void *to, size_t size)
{
	uint64_t n;

	return sys_info(kernel, what, index, (uint64_t)(uintptr_t)to, size, &n) == OK;
}

static struct process_info process[PROCESSES];
static unsigned process_count;

/* All processes, newest first. */
static void
read_processes(void)
{
	for (process_count = 0; process_count < PROCESSES; process_count++)
		if (!info(INFO_PROCESS, process_count, &process[process_count], sizeof(process[0])))
			break;
}

/* A process's pages without the quotas that it handed to its children. */
static uint64_t
own(uint64_t used, uint32_t id, bool pages)
{
	for (unsigned i = 0; i < process_count; i++) {
		uint64_t handed = pages ? process[i].pages_max : process[i].objects_max;

		if (process[i].parent_id == id && process[i].id != id)
			used -= handed < used ? handed : used;
	}
	return used;
}

/* What init or the device manager watches over: the n-th; false past the last. */
bool
supervised_at(bool drivers, uint64_t n, struct supervised *s)
{
	struct msg m = { .label = drivers ? DEVMGR_LIST : INIT_LIST, .words = 1, .w = { n } };
	handle_t who = drivers ? devmgr : init;

	if (who == HANDLE_NONE || msg_call(who, &m, now_ns() + 5 * NS_PER_S) != OK || m.label != OK)
		return false;
	memcpy(s, m.w, sizeof(*s));
	s->name[sizeof(s->name) - 1] = 0;
	return true;
}

static struct supervised watched[WATCHED];
static unsigned watched_count;

static void
read_watched(void)
{
	watched_count = 0;
	for (unsigned k = 0; k < 2; k++)
		for (uint64_t n = 0;
		    watched_count < WATCHED && supervised_at(k == 1, n, &watched[watched_count]);
		    n++)
			watched_count++;
}

const char *
supervised_text(uint8_t state)
{
	static const char *const text[] = { "runs", "is starting", "waits to be started again",
		"its device is not granted", "given up: ended too often",
		"off: its device faulted too often", "finished",
		"left out: too little memory", "its device was taken out" };

	return state < ARRAY_SIZE(text) ? text[state] : "?";
}

/* Of those that were read. */
static const char *
process_name(uint32_t id)
{
	for (unsigned i = 0; i < process_count; i++)
		if (process[i].id == id)
			return process[i].name;
	return "nobody";
}

int
cmd_ps(int argc UNUSED, char **argv UNUSED)
{
	static const char *const states[] = { "new", "running", "ending", "dead" };

	read_processes();
	read_watched();
	print("%4s %4s %-16s %-8s %4s %3s %9s %9s %7s %8s\n", "pid", "from", "name", "state",
	    "prio", "thr", "cpu ms", "KiB", "handles", "restarts");
	for (unsigned i = 0; i < process_count; i++) {
		const struct process_info *p = &process[i];
		char restarts[24] = "-";

		for (unsigned k = 0; k < watched_count; k++)
			if (watched[k].pid == p->id)
				fmt_buf(restarts, sizeof(restarts), "%llu",
				    (unsigned long long)watched[k].restarts);
		print("%4u %4u %-16s %-8s %4u %3u %9llu %9llu %7u %8s\n", p->id, p->parent_id,
		    p->name, states[p->state & 3], p->priority, p->threads,
		    (unsigned long long)(p->cpu_ns / NS_PER_MS),
		    (unsigned long long)own(p->pages, p->id, true) * (PAGE_SIZE / KIB), p->handles,
		    restarts);
	}
	for (unsigned k = 0; k < watched_count; k++) {
		const struct supervised *s = &watched[k];

		if (s->pid == 0)
			print("%s%s: %s, %llu restarts\n", s->name,
			    s->driver ? function_text(" of ", s->function) : "",
			    supervised_text(s->state), (unsigned long long)s->restarts);
	}
	return 0;
}

int
cmd_mem(int argc UNUSED, char **argv UNUSED)
{
	static const char *const names[] = { "", "kernel", "process", "memory", "endpoint",
		"notification", "device", "mmio", "irq", "buffer", "queue" };
	struct memory_info m;

	static_assert(ARRAY_SIZE(names) == OBJ_TYPES);
	if (!info(INFO_MEMORY, 0, &m, sizeof(m)))
		return 1;
	print(
	    "pages: total %llu free %llu kernel %llu tables %llu iommu %llu user %llu quarantined %llu\n",
	    (unsigned long long)m.total, (unsigned long long)m.free, (unsigned long long)m.kernel,
	    (unsigned long long)m.table, (unsigned long long)m.iommu, (unsigned long long)m.user,
	    (unsigned long long)m.quarantined);
	print("objects:");
	for (unsigned i = 1; i < OBJ_TYPES; i++)
		print(" %s %llu", names[i], (unsigned long long)m.by_type[i]);
	print("\nhandles %llu, threads %llu, grants %llu of %llu pages\n",
	    (unsigned long long)m.handles, (unsigned long long)m.threads,
	    (unsigned long long)m.grants, (unsigned long long)m.grant_pages);
	read_processes();
	print("%4s %-16s %10s %10s %9s %9s %8s %8s\n", "pid", "owner", "pages", "quota", "objects",
	    "quota", "handles", "refused");
	for (unsigned i = 0; i < process_count; i++) {
		const struct process_info *p = &process[i];

		print("%4u %-16s %10llu %10llu %9llu %9llu %8u %8llu\n", p->id, p->name,
		    (unsigned long long)own(p->pages, p->id, true),
		    (unsigned long long)p->pages_max,
		    (unsigned long long)own(p->objects, p->id, false),
		    (unsigned long long)p->objects_max, p->handles,
		    (unsigned long long)p->quota_refused);
	}
	return 0;
}

int
cmd_cpus(int argc UNUSED, char **argv UNUSED)
{
	struct cpu_info c;

	print("%4s %10s %10s %10s %10s %12s %10s\n", "cpu", "busy ms", "idle ms", "interrupts",
	    "switches", "stale TLBs", "shootdowns");
	for (uint64_t i = 0; info(INFO_CPU, i, &c, sizeof(c)); i++)
		print("%4u %10llu %10llu %10llu %10llu %12llu %10llu\n", c.id,
		    (unsigned long long)(c.busy_ns / NS_PER_MS),
		    (unsigned long long)(c.idle_ns / NS_PER_MS), (unsigned long long)c.interrupts,
		    (unsigned long long)c.switches, (unsigned long long)c.tlb_flushes,
		    (unsigned long long)c.shootdowns);
	return 0;
}

const char *
function_text(const char *before, uint32_t function)
{
	static char text[4][32];
	static unsigned next;
	char *to = text[next++ % 4];

	fmt_buf(to, sizeof(text[0]), "%s%04x:%02x:%02x.%x", before, function >> 16,
	    function >> 8 & 0xff, function >> 3 & 31, function & 7);
	return to;
}

/* The driver of a function, as "nvmed (4), "; "" when none runs. */
static const char *
driver_text(uint32_t function)
{
	static char text[PROCESS_NAME + 16];

	for (unsigned k = 0; k < watched_count; k++) {
		if (watched[k].driver && watched[k].function == function && watched[k].pid != 0) {
			fmt_buf(text, sizeof(text), "%s (%u), ", watched[k].name, watched[k].pid);
			return text;
		}
	}
	return "";
}

/* A function, and below it what its bus holds. */
static void
print_function(const struct function_info *f, unsigned depth)
{
	uint32_t id = (uint32_t)f->segment << 16 | f->rid;
	struct function_info below;
	struct device_info d;

	print("%*s%s %04x:%04x %06x %-*s group %-3u ", (int)(2 * depth), "", function_text("", id),
	    f->vendor, f->device, f->class_code, (int)(depth < 8 ? 20 - 2 * depth : 4),
	    name_class(f->class_code), f->group);
	if (f->unplugged) {
		print("unplugged\n");
		return;
	}
	if (f->is_bridge)
		print("buses %02x-%02x\n", f->bus_secondary, f->bus_subordinate);
	else if (f->claimed)
		print("%sbus master %s, %u fault%s\n", driver_text(id),
		    f->bus_master ? "on" : "off", f->faults, f->faults == 1 ? "" : "s");
	else
		print("free, bus master %s\n", f->bus_master ? "on" : "off");
	if (!f->is_bridge)
		print("%*s  %s%s%s%s%s\n", (int)(2 * depth), "",
		    f->verdict == LANE_DIRECT       ? "direct-remapping" :
			f->verdict == LANE_BROKERED ? "brokered" :
						      "unsupported: ",
		    f->verdict == LANE_UNSUPPORTED || f->reason[0] == 0 ? "" : " by ", f->reason,
		    f->verdict == LANE_UNSUPPORTED || f->refused[0] == 0 ? "" : ", refused: ",
		    f->verdict == LANE_UNSUPPORTED ? "" : f->refused);
	for (uint64_t i = 0; f->claimed && info(INFO_DEVICE, i, &d, sizeof(d)); i++)
		if (d.segment == f->segment && d.rid == f->rid)
			print("%*s  domain on %s: %llu grant%s of %llu KiB\n", (int)(2 * depth), "",
			    d.domain, (unsigned long long)d.grants, d.grants == 1 ? "" : "s",
			    (unsigned long long)(d.grant_pages * PAGE_SIZE / KIB));
	for (uint64_t i = 0;
	    f->is_bridge && depth < 16 && info(INFO_FUNCTION, i, &below, sizeof(below)); i++)
		if (below.segment == f->segment && below.parent_rid == f->rid &&
		    below.rid != f->rid)
			print_function(&below, depth + 1);
}

int
cmd_devices(int argc UNUSED, char **argv UNUSED)
{
	struct function_info f;

	read_watched();
	for (uint64_t i = 0; info(INFO_FUNCTION, i, &f, sizeof(f)) && !interrupted(); i++)
		if (f.parent_rid == 0xffff)
			print_function(&f, 0);
	return 0;
}

int
cmd_iommu(int argc UNUSED, char **argv UNUSED)
{
	struct unit_info u;
	uint64_t i;

	for (i = 0; info(INFO_UNIT, i, &u, sizeof(u)); i++) {
		print("%s: %s%s%s%s\n", u.name, u.features,
		    u.interrupt_isolation ? "" : ", interrupt_isolation=none",
		    u.fault_log ? "" : ", fault_reporting=none", u.broken ? ", BROKEN" : "");
		print(
		    "  domains %u, endpoints %u, maps %llu, unmaps %llu, invalidations %llu, syncs %llu, faults %llu, lost %llu\n",
		    u.domains, u.endpoints, (unsigned long long)u.maps,
		    (unsigned long long)u.unmaps, (unsigned long long)u.invalidations,
		    (unsigned long long)u.syncs, (unsigned long long)u.faults,
		    (unsigned long long)u.faults_lost);
	}
	if (i == 0)
		print("no IOMMU is in use\n");
	return 0;
}

static bool
grant_before(const struct grant_info *a, const struct grant_info *b)
{
	if (a->owner != b->owner)
		return a->owner < b->owner;
	return a->rid != b->rid ? a->rid < b->rid : a->iova < b->iova;
}

static struct grant_info grant[GRANTS];

/* By owner, then by device, then by address; an owner's sum before its own. */
static void
print_grants(void)
{
	static const char *const dirs[] = { "", "to device", "from device", "both" };
	struct grant_info g;
	uint64_t seen = 0;
	unsigned n = 0;

	for (; info(INFO_GRANT, seen, &g, sizeof(g)); seen++) {
		unsigned at = n;

		if (n == GRANTS)
			continue;
		for (; at > 0 && grant_before(&g, &grant[at - 1]); at--)
			grant[at] = grant[at - 1];
		grant[at] = g;
		n++;
	}
	for (unsigned i = 0; i < n && !interrupted(); i++) {
		uint64_t bytes = 0;
		unsigned end = i;

		g = grant[i];
		for (; (i == 0 || grant[i - 1].owner != g.owner) && end < n &&
		    grant[end].owner == g.owner;
		    end++)
			bytes += grant[end].len_bytes;
		if (end != i)
			print("%s (%u): %u grant%s, %llu KiB\n", process_name(g.owner), g.owner,
			    end - i, end - i == 1 ? "" : "s", (unsigned long long)(bytes / KIB));
		print("  %02x:%02x.%x iova 0x%llx %llu KiB %s, of pool %u (%llu KiB)\n", g.rid >> 8,
		    g.rid >> 3 & 31, g.rid & 7, (unsigned long long)g.iova,
		    (unsigned long long)(g.len_bytes / KIB), dirs[g.dir & 3], g.pool,
		    (unsigned long long)(g.pool_pages * PAGE_SIZE / KIB));
	}
	if (seen > n)
		print("and %llu grants more\n", (unsigned long long)(seen - n));
}

int
cmd_dma(int argc UNUSED, char **argv UNUSED)
{
	struct device_info d;
	struct queue_counts q;

	for (uint64_t i = 0; info(INFO_DEVICE, i, &d, sizeof(d)); i++)
		print(
		    "%04x:%02x:%02x.%x on %s: %llu grants, %llu pages, %llu table pages, generation %u, %llu register accesses refused\n",
		    d.segment, d.rid >> 8, d.rid >> 3 & 31, d.rid & 7, d.domain,
		    (unsigned long long)d.grants, (unsigned long long)d.grant_pages,
		    (unsigned long long)d.table_pages, d.generation,
		    (unsigned long long)d.registers_refused);
	for (uint64_t i = 0; info(INFO_QUEUE, i, &q, sizeof(q)); i++)
		print(
		    "  queue %u of %02x:%02x.%x: %llu entries, %llu completions, %llu batches refused%s%s\n",
		    q.id, q.rid >> 8, q.rid >> 3 & 31, q.rid & 7, (unsigned long long)q.accepted,
		    (unsigned long long)q.completed, (unsigned long long)q.refused,
		    q.refused != 0 ? ", the last: " : "",
		    q.refused != 0 ? dma_rule_text((enum dma_rule)q.last_rule) : "");
	read_processes();
	print_grants();
	return 0;
}

/* Seconds since 1970 at which the system started; says so when nobody knows. */
static bool
wall_at_boot(uint64_t *out)
{
	struct clock_info c;

	if (!info(INFO_CLOCK, 0, &c, sizeof(c)) || c.wall_at_boot_s == 0) {
		print("the date is unknown: no real-time clock that can be believed\n");
		return false;
	}
	*out = c.wall_at_boot_s;
	return true;
}

int
cmd_date(int argc UNUSED, char **argv UNUSED)
{
	char text[DATE_TEXT];
	uint64_t boot;

	if (!wall_at_boot(&boot))
		return 1;
	date_text(boot + now_ns() / NS_PER_S, text);
	print("%s UTC\n", text);
	return 0;
}

/* A line of the log begins with seconds since boot, a point, and microseconds. */
static void
dated(const char *text, uint64_t len, uint64_t boot)
{
	char date[DATE_TEXT];

	for (uint64_t at = 0, end; at < len; at = end) {
		uint64_t s = 0, n = at;

		for (end = at; end < len && text[end++] != '\n'; )
			;
		while (n < end && text[n] == ' ')
			n++;
		while (n < end && text[n] >= '0' && text[n] <= '9')
			s = s * 10 + (uint64_t)(text[n++] - '0');
		date_text(boot + s, date);
		print("%s", date);
		print_flush();
		print_raw(text + n, end - n);
	}
}

int
cmd_log(int argc, char **argv)
{
	char text[1024];
	uint64_t cursor = 0, n, boot = 0;

	if (argc > 1 && strcmp(argv[1], "-d") != 0)
		return usage("\"%s\" is no option", argv[1]);
	if (argc > 1 && !wall_at_boot(&boot))
		return 1;
	while (sys_log(kernel, 1, cursor, (uint64_t)(uintptr_t)text, sizeof(text), &n, &cursor) ==
		OK &&
	    n != 0 && !interrupted()) {
		if (boot != 0)
			dated(text, n, boot);
		else
			print_raw(text, n);
	}
	return 0;
}

/* By time, then by CPU, then in the order in which the CPU wrote them. */
static bool
before(const struct trace_record *a, const struct trace_record *b)
{
	if (a->time_ns != b->time_ns)
		return a->time_ns < b->time_ns;
	return a->cpu != b->cpu ? a->cpu < b->cpu : a->count < b->count;
}

static void
sift(struct trace_record *r, uint64_t at, uint64_t n)
{
	for (uint64_t child; (child = 2 * at + 1) < n; at = child) {
		struct trace_record swap = r[at];

		if (child + 1 < n && before(&r[child], &r[child + 1]))
			child++;
		if (!before(&swap, &r[child]))
			return;
		r[at] = r[child];
		r[child] = swap;
	}
}

static void
sort(struct trace_record *r, uint64_t n)
{
	for (uint64_t i = n / 2; i-- != 0; )
		sift(r, i, n);
	while (n > 1) {
		struct trace_record swap = r[--n];

		r[n] = r[0];
		r[0] = swap;
		sift(r, 0, n);
	}
}

int
cmd_trace(int argc, char **argv)
{
	enum : uint64_t { ROOM = 2 * MIB };
	struct trace_record *r;
	uint64_t want = 40, n = 0, got, s;
	handle_t memory;
	char text[TRACE_TEXT];

	if (argc == 2 && !want_number("N", argv[1], &want))
		return 1;
	r = pages_alloc(ROOM / PAGE_SIZE, &memory);
	if (r == NULL) {
		print("trace: no memory\n");
		return 1;
	}
	for (uint64_t cpu = 0; ; cpu++, n += got / sizeof(*r)) {
		s = sys_info(kernel, INFO_TRACE, cpu, (uint64_t)(uintptr_t)(r + n),
		    ROOM - n * sizeof(*r), &got);
		if (s != OK)
			break;
	}
	sort(r, n);
	for (uint64_t i = n - (want < n ? want : n); i < n && !interrupted(); i++) {
		trace_text(&r[i], text);
		print("%s\n", text);
	}
	(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)r, ROOM);
	(void)sys_handle_close(memory);
	if (s != E_NOT_FOUND)
		print("trace: %s\n", status_text((enum status)s));
	return s != E_NOT_FOUND;
}

/* The n-th controller is taken away from its driver, which lives on until it finds out. */
static int
revoke(uint64_t n)
{
	struct msg m = { .label = DEVMGR_REVOKE, .words = 1, .w = { n } };
	enum status s = msg_call(devmgr, &m, now_ns() + 5 * NS_PER_S);

	if (s == OK)
		s = (enum status)m.label;
	if (s != OK)
		print("kill: nvme%llu: %s\n", (unsigned long long)n, status_text(s));
	return s != OK;
}

int
cmd_kill(int argc UNUSED, char **argv)
{
	struct process_info p;
	uint64_t pid = 0, asked;
	bool by_number;

	if (strncmp(argv[1], "nvme", 4) == 0 && number(argv[1] + 4, &asked))
		return revoke(asked);
	by_number = number(argv[1], &asked);
	for (uint64_t i = 0; info(INFO_PROCESS, i, &p, sizeof(p)); i++)
		if (by_number ? p.id == asked :
				strcmp(p.name, argv[1]) == 0 && p.state == PROCESS_RUNNING)
			pid = p.id;
	for (unsigned k = 0; k < 2 && pid != 0; k++) {
		struct msg m = {
			.label = k == 0 ? DEVMGR_KILL : INIT_KILL, .words = 1, .w = { pid }
		};

		if (msg_call(k == 0 ? devmgr : init, &m, now_ns() + 5 * NS_PER_S) == OK &&
		    m.label == OK)
			return 0;
	}
	print("kill: %s: %s\n", argv[1],
	    pid == 0 ?
		by_number ? "no process has that number" : "no process of that name runs" :
		pid == 1 ?
		"it ends only with the machine: poweroff, reboot" :
		"not a service or driver that somebody watches over; \"ps\" lists processes");
	return 1;
}

/* Each word of a page as its place in the object asks for it. */
static uint64_t
pattern(uint64_t offset, uint64_t round)
{
	return (offset ^ round << 56) * 0x9e3779b97f4a7c15 + round;
}

/* Maps the object from "offset" on at va; fills it or looks whether it is still so; unmaps it. */
static bool
memory_round(handle_t memory, uint64_t offset, uint64_t len, uint64_t va, uint64_t round, bool fill)
{
	struct process_info p = { 0 };
	uint64_t at, bad = 0;
	enum status s = sys_mem_map(HANDLE_NONE, memory, offset, len, va, 3, &at);

	if (s != OK) {
		print("memtest: %s\n", status_text(s));
		return false;
	}
	for (uint64_t i = 0; i < len; i += 512) {
		volatile uint64_t *w = (volatile uint64_t *)(uintptr_t)(at + i);

		if (fill)
			*w = pattern(offset + i, round);
		else
			bad += *w != pattern(offset + i, round);
	}
	for (uint64_t i = 0; info(INFO_PROCESS, i, &p, sizeof(p)) && strcmp(p.name, "shell") != 0;
	    i++)
		;
	print("memtest: %s %llu KiB from %llu KiB on, %llu large leaves, %llu wrong\n",
	    fill ? "wrote" : "read", (unsigned long long)(len / KIB),
	    (unsigned long long)(offset / KIB), (unsigned long long)p.large_leaves,
	    (unsigned long long)bad);
	s = sys_mem_unmap(HANDLE_NONE, at, len);
	return s == OK && bad == 0;
}

/*
 * The same memory at the same address: as large leaves, then shifted by a page, which takes small
 * ones, and so on.  Every way is written once and read by the others.
 */
int
cmd_memtest(int argc, char **argv)
{
	enum : uint64_t { VA = 0x2000'0000'0000, LARGE = 2 * MIB };
	uint64_t mib, len, h;
	bool ok = true;

	if (argc != 2 || !number(argv[1], &mib) || mib < 4 || mib % 2 != 0 || mib > 1 << 20) {
		print("usage: memtest MIB (even, at least 4)\n");
		return 1;
	}
	len = mib * MIB;
	if (sys_mem_create(len / PAGE_SIZE, 0, &h) != OK) {
		print("memtest: no memory\n");
		return 1;
	}
	for (uint64_t round = 0; round < 2 && ok && !interrupted(); round++) {
		/* All of it by one way, then what both ways reach by the other. */
		ok = memory_round((handle_t)h, 0, len, VA, round, true) &&
		    memory_round((handle_t)h, PAGE_SIZE, len - LARGE, VA, round, false) &&
		    memory_round((handle_t)h, 0, len, VA, round, false) &&
		    memory_round((handle_t)h, PAGE_SIZE, len - LARGE, VA, round + 2, true) &&
		    memory_round((handle_t)h, PAGE_SIZE, len - LARGE, VA, round + 2, false);
	}
	(void)sys_handle_close(h);
	return ok ? 0 : 1;
}

static struct { char name[PROCESS_NAME]; uint64_t at; bool running; } later;
static uint8_t later_stack[16384] ALIGNED(16);

static void
kill_later(void)
{
	char *argv[] = { "kill", later.name };

	sleep_until(later.at);
	(void)cmd_kill(2, argv);
	later.running = false;
	(void)sys_thread_exit();
}

int
cmd_killer(int argc UNUSED, char **argv)
{
	uint64_t ms, id;

	if (!want_number("MILLISECONDS", argv[2], &ms))
		return 1;
	if (later.running)
		return usage("another one is still waiting");
	str_copy(later.name, argv[1], sizeof(later.name));
	later.at = now_ns() + ms * NS_PER_MS;
	later.running = true;
	if (sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)kill_later,
		(uint64_t)(uintptr_t)(later_stack + sizeof(later_stack)) - STACK_ENTRY, 0, 0,
		10 | CPU_ANY << 8, &id) != OK) {
		later.running = false;
		return 1;
	}
	return 0;
}

int
cmd_sleep(int argc UNUSED, char **argv)
{
	uint64_t ms;

	if (!want_number("MILLISECONDS", argv[1], &ms))
		return 1;
	return pause_until(now_ns() + ms * NS_PER_MS) ? 0 : stopped();
}

int
cmd_reboot(int argc UNUSED, char **argv UNUSED)
{
	(void)sys_power(kernel, 1);
	return 1;
}
