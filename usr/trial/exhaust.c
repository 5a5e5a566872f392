/*
 * What runs out is an error code, and comes back: see main.c for the words.
 */
#include "kern/base/bits.h"
#include "usr/trial/trial.h"

enum { WINDOWS = 3000, THREADS = 250, STACK_PAGES = 4, SINGLES = 100, VECTORS = 3 };

static struct memory_info
memory(void)
{
	struct memory_info m;
	uint64_t size;

	if (sys_info(
		boot_info->kernel, INFO_MEMORY, 0, (uint64_t)(uintptr_t)&m, sizeof(m), &size) != OK)
		die("no look at the memory");
	return m;
}

/* ---- Register windows: made, used once, given up ---- */

static void
window_once(handle_t device)
{
	uint64_t window, len, value;

	if (sys_device_bar(device, 0, &window, &len) != OK ||
	    sys_mmio_access(window, 8, 4, 0, &value) != OK || value == 0 ||
	    sys_mmio_access(window, len, 4, 0, &value) != E_RANGE || sys_handle_close(window) != OK)
		die("no window");
}

void
registers(void)
{
	handle_t device = claim();
	struct memory_info before, after;

	window_once(device);
	before = memory();
	for (unsigned i = 0; i < WINDOWS; i++)
		window_once(device);
	after = memory();
	print("trial: %u windows, %lld pages stayed\n", WINDOWS,
	    (long long)(before.free - after.free));
}

/* ---- Watches: one an object, and two a device, so nobody sets another's ---- */

static enum status
watch_with(handle_t h, uint32_t rights, handle_t ntfn)
{
	uint64_t less;
	enum status s;

	if (sys_handle_dup(h, rights, &less) != OK)
		die("no second handle");
	s = sys_watch(less, ntfn, 1);
	(void)sys_handle_close(less);
	return s;
}

void
watches(void)
{
	handle_t device = claim();
	static const struct process_limits limits = { .pages = 16, .objects = 16, .threads = 1 };
	uint64_t page, child, ntfn;

	if (sys_mem_create(1, 0, &page) != OK || sys_ntfn_create(&ntfn) != OK ||
	    sys_process_create(
		(uint64_t)(uintptr_t)"child", 5, (uint64_t)(uintptr_t)&limits, &child) != OK)
		die("nothing to watch");
	print("trial: a reader of memory: %s, its manager: %s\n",
	    status_text(
		watch_with((handle_t)page, RIGHT_READ | RIGHT_WRITE | RIGHT_DMA, (handle_t)ntfn)),
	    status_text(watch_with((handle_t)page, RIGHT_MANAGE, (handle_t)ntfn)));
	print("trial: a reader of a process: %s, its manager: %s\n",
	    status_text(watch_with((handle_t)child, RIGHT_READ, (handle_t)ntfn)),
	    status_text(watch_with((handle_t)child, RIGHT_MANAGE, (handle_t)ntfn)));
	print("trial: a driver as driver: %s, as supervisor: %s, a supervisor: %s\n",
	    status_text(watch_with(device, RIGHT_DMA | RIGHT_MANAGE, (handle_t)ntfn)),
	    status_text(watch_with(device, RIGHT_READ | RIGHT_MANAGE, (handle_t)ntfn)),
	    status_text(
		watch_with(device, RIGHT_READ | RIGHT_MANAGE | RIGHT_SUPERVISE, (handle_t)ntfn)));
}

/* ---- Vectors: a child with the device takes what it gets ---- */

int
vectors_as_child(void)
{
	uint64_t ntfn, irq, n = 0;
	enum status s = sys_ntfn_create(&ntfn);

	while (s == OK && n < 100) {
		s = sys_device_irq(start_handle("device"), n, ntfn, 1, CPU_ANY, &irq);
		n += s == OK;
	}
	return (int)(n << 8 | s);
}

void
vectors(void)
{
	struct spawn sp = { .name = "vectors", .args = "vectors", .priority = 5, .count = 1,
		.limits = { .pages = 256, .objects = 64, .threads = 1, .vectors = VECTORS },
		.give = { { "device", claim(), RIGHT_MANAGE | RIGHT_GIVE } } };
	uint64_t ntfn, irq, size, own;
	struct process_info before, after;
	struct epitaph e;
	handle_t child;

	sp.image = archive_file((const uint8_t *)(uintptr_t)boot_info->archive_va,
	    boot_info->archive_len, "init", &sp.image_len);
	(void)sys_info(
	    boot_info->self, INFO_PROCESS, 0, (uint64_t)(uintptr_t)&before, sizeof(before), &size);
	if (sys_ntfn_create(&ntfn) != OK || sp.image == NULL || spawn(&sp, &child) != OK ||
	    sys_watch(child, ntfn, 2) != OK ||
	    sys_ntfn_signal_wait(ntfn, now_ns() + 10 * NS_PER_S, HANDLE_NONE, 0, &own) != OK ||
	    sys_info(child, INFO_EPITAPH, 0, (uint64_t)(uintptr_t)&e, sizeof(e), &size) != OK)
		die("no child");
	print("trial: the child took %llu vectors, then: %s; one for another: %s\n",
	    (unsigned long long)e.exit_code >> 8, status_text((enum status)(e.exit_code & 0xff)),
	    status_text(sys_device_irq(sp.give[0].handle, VECTORS, ntfn, 1, CPU_ANY, &irq)));
	(void)sys_handle_close(irq);
	(void)sys_handle_close(child);
	(void)sys_info(
	    boot_info->self, INFO_PROCESS, 0, (uint64_t)(uintptr_t)&after, sizeof(after), &size);
	print("trial: of %u vectors %u are gone\n", before.vectors_max,
	    after.vectors - before.vectors);
}

/* ---- All memory taken, then threads one by one: the stack fits, and what else a thread needs may
 * not ---- */

static uint64_t stacks[THREADS], singles[4096];

/* Some single pages to give back, what is left in larger pieces and then in single pages, then what
 * quotas of pages do not count. */
static unsigned
take_all(void)
{
	unsigned n = 0;
	uint64_t handle;

	while (n < SINGLES && sys_mem_create(1, 0, &singles[n]) == OK)
		n++;
	while (sys_mem_create(64, MEM_CONTIGUOUS, &handle) == OK)
		;
	while (n < ARRAY_SIZE(singles) && sys_mem_create(1, 0, &singles[n]) == OK)
		n++;
	while (memory().free != 0 && sys_ntfn_create(&handle) == OK)
		;
	return n;
}

NORETURN static void
thread(void)
{
	for (;;)
		sleep_until(DEADLINE_NEVER);
}

/* They are the least urgent of all on the only CPU: none ever runs. */
void
out_of_memory(void)
{
	unsigned n, made = 0, refused = 0, in_a_row = 0;
	uint64_t id, handle;
	struct memory_info full;
	enum status page;

	for (unsigned i = 0; i < THREADS; i++)
		if (sys_mem_create(STACK_PAGES, MEM_CONTIGUOUS, &stacks[i]) != OK)
			die("no room for stacks");
	n = take_all();
	full = memory();
	page = sys_mem_create(1, 0, &handle);
	for (unsigned given = 0; made < THREADS && in_a_row < 4; ) {
		enum status s;

		/* Room for exactly a stack; when that was not enough, for a page more: a table and
		 * a record may be missing at once. */
		if (in_a_row == 0)
			(void)sys_handle_close(stacks[given++]);
		else if (n == 0 || sys_handle_close(singles[--n]) != OK)
			break;
		s = sys_thread_create(
		    HANDLE_NONE, (uint64_t)(uintptr_t)thread, 0, 0, 0, 1 | CPU_ANY << 8, &id);
		if (s != OK && s != E_NO_MEMORY)
			die("a thread: %s", status_text(s));
		refused += s != OK;
		in_a_row = s != OK ? in_a_row + 1 : 0;
		made += s == OK;
	}
	print("trial: %llu pages free, one more: %s; %u threads, %s\n",
	    (unsigned long long)full.free, page == OK ? "there" : "refused", made,
	    refused >= 2 ? "some of them refused at first" : "none refused");
}
