/*
 * trial: a root task for tests, in init's place in an archive of their own.  "trial=WHAT" on the
 * command line:
 *
 *     death        claims the disk controller, grants it a page (bus mastering goes on), and faults
 *     reset        claims the disk controller and has children reset it: two at a time; while the
 *                  claim ends; killed within
 *     live         claims a disk controller and gives up; has a child claim another, and kills it
 *     end=MIB      makes processes with that much memory mapped, small pages and large, and kills
 *                  each: how late is a thread of higher priority that wakes up every 100 us
 *                  meanwhile?  With QEMU's -icount shift=0 a nanosecond is an instruction, so
 *                  lateness is the longest path that lets nobody in.  The same for a process with
 *                  many handles, for one that nobody ever started and whose last handle is closed,
 *                  and for a claim with many grants
 *     registers    makes windows onto the controller's registers, uses each once, and gives it up:
 *                  what stayed?
 *     watches      tries to watch what it was given without the right to
 *     vectors      has a child with the controller take vectors until it is refused; then a driver
 *                  of its own needs one
 *     revoke       revokes memory while another CPU maps it
 *     rounds       maps a grant again and again that keeps its address: what is refused, what it
 *                  holds, what a round costs
 *     commits      reads, with entries published and completions consumed apart: what each costs
 *     memory       takes all memory, then makes threads with room for a stack each and nothing more
 *
 * It ends by switching the machine off, but for "death".  A child runs the same program: it has a
 * start block.
 */
#include "kern/base/bits.h"
#include "usr/trial/trial.h"

enum : uint64_t { BEAT_NS = 100 * NS_PER_US, MAP_AT = 0x40'0000'0000, CHUNK_PAGES = 16384 };
enum : uint32_t { NVME_CLASS = 0x010802 };

static const char *
word(const char *name)
{
	size_t n = strlen(name);

	for (const char *p = boot_info->cmdline; *p != 0; p++)
		if (strncmp(p, name, n) == 0)
			return p + n;
	return NULL;
}

NORETURN void
power_off(int status)
{
	print("capos: exit status %d\n", status);
	print_flush();
	(void)sys_power(boot_info->kernel, 0);
	die("the machine goes on");
}

static void
controller(struct function_info *f)
{
	uint64_t size, i = 0;

	do
		if (sys_info(boot_info->kernel, INFO_FUNCTION, i++, (uint64_t)(uintptr_t)f,
			sizeof(*f), &size) != OK)
			die("no disk controller");
	while (f->class_code != NVME_CLASS);
}

static bool
is_mastering(void)
{
	struct function_info f;

	controller(&f);
	return f.bus_master;
}

handle_t
claim(void)
{
	struct function_info f;
	uint64_t device, memory, buffer, iova;

	controller(&f);
	if (sys_device_claim(boot_info->kernel, (uint64_t)f.segment << 16 | f.rid,
		CLAIM_MAPPED_DOORBELLS | CLAIM_CONSENT_INTERRUPTS, DEADLINE_NEVER, &device) != OK)
		die("no claim");
	if (sys_mem_create(1, 0, &memory) != OK ||
	    sys_dma_map(device, memory, 0, PAGE_SIZE, DMA_FROM_DEVICE, &buffer, &iova) != OK)
		die("no grant");
	(void)sys_handle_close(memory);
	if (!is_mastering())
		die("bus mastering is not on");
	return (handle_t)device;
}

static void
death(void)
{
	(void)claim();
	log_line(2, "bus mastering is on; now the root task dies");
	*(volatile uint32_t *)(uintptr_t)16 = 0;
}

/* ---- Resets ---- */

static struct device_info
look_at(handle_t device)
{
	struct device_info d;
	uint64_t size;

	if (sys_info(device, INFO_DEVICE, 0, (uint64_t)(uintptr_t)&d, sizeof(d), &size) != OK)
		die("no look at the device");
	return d;
}

/* A child that resets the device; returns when the reset has begun.  rights 0: all. */
static handle_t
resetter(handle_t device, uint32_t rights)
{
	struct spawn sp = { .name = "resetter",
		.limits = { .pages = 256, .objects = 64, .threads = 4 },
		.priority = 5,
		.count = 1,
		.give = { { "device", device, rights } } };
	uint32_t before = look_at(device).generation;
	handle_t child;

	sp.image = archive_file((const uint8_t *)(uintptr_t)boot_info->archive_va,
	    boot_info->archive_len, "init", &sp.image_len);
	if (sp.image == NULL || spawn(&sp, &child) != OK)
		die("no child");
	for (unsigned i = 0; look_at(device).generation == before; i++) {
		if (i == 20'000)
			die("the reset does not begin");
		sleep_until(now_ns() + NS_PER_MS / 10);
	}
	return child;
}

/* What it ended with: the status of its reset, or "killed". */
unsigned
result_of(handle_t child, struct epitaph *e)
{
	struct process_info p;
	uint64_t size;

	for (unsigned i = 0; i < 20'000; i++) {
		if (sys_info(child, INFO_PROCESS, 0, (uint64_t)(uintptr_t)&p, sizeof(p), &size) ==
			OK &&
		    p.state == PROCESS_DEAD &&
		    sys_info(child, INFO_EPITAPH, 0, (uint64_t)(uintptr_t)e, sizeof(*e), &size) ==
			OK) {
			(void)sys_handle_close(child);
			return (unsigned)e->exit_code;
		}
		sleep_until(now_ns() + NS_PER_MS);
	}
	die("the child does not end");
}

static void
resets(void)
{
	handle_t device = claim(), child;
	struct epitaph e;
	uint64_t value, t;
	enum status s;

	child = resetter(device, RIGHT_MANAGE | RIGHT_READ);
	s = sys_device_reset(device, DEADLINE_NEVER);
	print("trial: a second reset: %s; configuration: %s; mastering %u\n", status_text(s),
	    status_text(sys_device_config(device, 0, 4, 0, &value)), is_mastering());
	print("trial: the first: %s, ", status_text((enum status)result_of(child, &e)));
	print("mastering %u\n", is_mastering());

	child = resetter(device, RIGHT_MANAGE | RIGHT_READ);
	s = sys_handle_revoke(device, now_ns() + 20 * NS_PER_S);
	print("trial: end within a reset: %s; ", status_text(s));
	print("the reset: %s; mastering %u\n", status_text((enum status)result_of(child, &e)),
	    is_mastering());
	device = claim();

	child = resetter(device, RIGHT_MANAGE | RIGHT_READ);
	t = now_ns();
	(void)sys_process_kill(child, 77);
	value = result_of(child, &e);
	t = now_ns() - t;
	s = sys_device_reset(device, DEADLINE_NEVER);
	print("trial: killed within a reset: code %u after %s; another: %s; ", (unsigned)value,
	    t < 50 * NS_PER_MS ? "less than 50 ms" : "long", status_text(s));
	for (unsigned i = 0; i < 1000 && (s = sys_device_reset(device, DEADLINE_NEVER)) == E_BUSY;
	    i++)
		sleep_until(now_ns() + NS_PER_MS);
	print("later: %s, mastering %u\n", status_text(s), is_mastering());
	s = sys_device_reset(device, now_ns() + NS_PER_MS);
	print("trial: an impatient reset: %s; ", status_text(s));
	for (unsigned i = 0; i < 1000 && !is_mastering(); i++)
		sleep_until(now_ns() + NS_PER_MS);
	print("mastering %u\n", is_mastering());
}

static int
as_child(void)
{
	if (strcmp(start_info->args, "vectors") == 0)
		return vectors_as_child();
	if (strcmp(start_info->args, "stranger") == 0)
		return stranger_as_child();
	if (strcmp(start_info->args, "claim") == 0)
		return live_as_child();
	return (int)sys_device_reset(start_handle("device"), DEADLINE_NEVER);
}

/* ---- Ends ---- */

/* A process that was never started, with so many pages mapped. */
static handle_t
fat_process(uint64_t pages, bool large)
{
	uint64_t p, va, memory, chunk = large ? CHUNK_PAGES : 1, at = MAP_AT;
	/* Its tables; the memory is paid by this process, which makes it. */
	struct process_limits limits = {
		.pages = pages / (large ? 64 : 8) + 4096, .objects = 60'000, .threads = 1
	};
	enum status s =
	    sys_process_create((uint64_t)(uintptr_t)"fat", 3, (uint64_t)(uintptr_t)&limits, &p);

	/* Single pages lie apart, so that each has a leaf of its own and many have a table. */
	for (uint64_t done = 0; s == OK && done < pages; done += chunk) {
		s = sys_mem_create(chunk, 0, &memory);
		if (s == OK) {
			s = sys_mem_map(p, memory, 0, chunk * PAGE_SIZE, at, 3, &va);
			(void)sys_handle_close(memory);
		}
		at += chunk * PAGE_SIZE * (large ? 1 : 17);
	}
	if (s != OK)
		die("no process of %llu pages: %s", (unsigned long long)pages, status_text(s));
	return (handle_t)p;
}

static bool
is_dead(handle_t process)
{
	struct process_info info;
	uint64_t size;

	return sys_info(process, INFO_PROCESS, 0, (uint64_t)(uintptr_t)&info, sizeof(info),
		   &size) != OK ||
	    info.state == PROCESS_DEAD;
}

/* Its handle is stale by then: looked up among all. */
static bool
is_unclaimed(handle_t device UNUSED)
{
	struct device_info d;
	uint64_t size;

	return sys_info(boot_info->kernel, INFO_DEVICE, 0, (uint64_t)(uintptr_t)&d, sizeof(d),
		   &size) != OK ||
	    d.state == DEVICE_FREE;
}

static uint64_t
free_pages(void)
{
	struct memory_info m;
	uint64_t size;

	if (sys_info(
		boot_info->kernel, INFO_MEMORY, 0, (uint64_t)(uintptr_t)&m, sizeof(m), &size) != OK)
		die("no look at memory");
	return m.free;
}

/* Until it is over: the latest wake-up, and how many there were. */
static void
beat(const char *what, bool (*over)(handle_t), handle_t h)
{
	uint64_t worst = 0, beats = 0, start = now_ns(), before = free_pages();

	do {
		uint64_t t = now_ns() + BEAT_NS, now;

		sleep_until(t);
		now = now_ns();
		if (now > t && now - t > worst)
			worst = now - t;
		beats++;
		if (now - start > 60 * NS_PER_S)
			die("%s: no end after a minute", what);
	} while (!over(h));
	print("trial: %s: %llu wake-ups, the latest %llu ns late, %llu pages came back\n", what,
	    (unsigned long long)beats, (unsigned long long)worst,
	    (unsigned long long)(free_pages() - before));
}

static void
end_of(handle_t process, const char *what)
{
	if (sys_process_kill(process, 0) != OK)
		die("cannot kill");
	beat(what, is_dead, process);
	(void)sys_handle_close(process);
}

/* A process with as many handles as a table has, every other one to an object of its own. */
static handle_t
many_handles(void)
{
	static const struct process_limits limits = {
		.pages = 4096, .objects = 20'000, .threads = 1
	};
	uint64_t p, n, there;

	if (sys_process_create(
		(uint64_t)(uintptr_t)"handles", 7, (uint64_t)(uintptr_t)&limits, &p) != OK)
		die("no process");
	for (unsigned i = 0; i < 8000; i += 2) {
		if (sys_ntfn_create(&n) != OK || sys_handle_give(p, n, UINT32_MAX, &there) != OK ||
		    sys_handle_give(p, boot_info->kernel, UINT32_MAX, &there) != OK)
			die("no handle");
		(void)sys_handle_close(n);
	}
	return (handle_t)p;
}

static uint64_t
closing_takes(handle_t h)
{
	uint64_t t = now_ns();

	(void)sys_handle_close(h);
	return now_ns() - t;
}

/* A claim with grants of so many pages at once, and of single ones. */
static void
grants(handle_t device, uint64_t pages, unsigned single)
{
	uint64_t memory, buffer, iova;

	if (sys_mem_create(pages, 0, &memory) != OK ||
	    sys_dma_map(
		device, memory, PAGE_SIZE, (pages - 1) * PAGE_SIZE, DMA_BOTH, &buffer, &iova) != OK)
		die("no grant of %llu pages", (unsigned long long)pages);
	for (unsigned i = 0; i < single; i++)
		if (sys_dma_map(device, memory, i % pages * PAGE_SIZE, PAGE_SIZE, DMA_FROM_DEVICE,
			&buffer, &iova) != OK)
			die("no grant");
	(void)sys_handle_close(memory);
}

static void
ends(uint64_t mib)
{
	uint64_t pages = mib * MIB / PAGE_SIZE;
	handle_t p;

	end_of(fat_process(min_u64(pages, 20'000), false), "single pages");
	end_of(fat_process(pages, true), "large pages");
	end_of(many_handles(), "many handles");
	/* Never started, and nobody is left who knows of it: its end is not its last holder's work.
	 */
	p = fat_process(min_u64(pages, 4000), false);
	print("trial: abandoned: closing took %llu ns\n", (unsigned long long)closing_takes(p));
	sleep_until(now_ns() + NS_PER_S);
	p = claim();
	grants(p, pages, 2000);
	(void)sys_handle_revoke(p, 0);
	beat("grants", is_unclaimed, p);
}

int
main(void)
{
	const char *p;
	uint64_t mib = 0;

	if (boot_info == NULL)
		return as_child();
	if (word("trial=death") != NULL)
		death();
	if (word("trial=reset") != NULL) {
		resets();
		power_off(0);
	}
	if (word("trial=live") != NULL) {
		live();
		power_off(0);
	}
	if (word("trial=registers") != NULL) {
		registers();
		power_off(0);
	}
	if (word("trial=watches") != NULL) {
		watches();
		power_off(0);
	}
	if (word("trial=vectors") != NULL) {
		vectors();
		power_off(0);
	}
	if (word("trial=revoke") != NULL)
		revokes();
	if (word("trial=commits") != NULL) {
		commits();
		power_off(0);
	}
	if (word("trial=rounds") != NULL) {
		rounds();
		power_off(0);
	}
	if (word("trial=memory") != NULL) {
		out_of_memory();
		power_off(0);
	}
	p = word("trial=end=");
	if (p == NULL)
		die("trial=WHAT is missing");
	for (; *p >= '0' && *p <= '9' && mib < MIB; p++)
		mib = mib * 10 + (uint64_t)(*p - '0');
	ends(mib);
	power_off(0);
}
