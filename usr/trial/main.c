/*
 * trial: a root task for tests, in init's place in an archive of their own.  "trial=WHAT" on the command line:
 *
 *     death        claims the disk controller, grants it a page (bus mastering goes on), and faults
 *     end=MIB      makes processes with that much memory mapped, small pages and large, and kills each: how late is a
 *                  thread of higher priority that wakes up every 100 us meanwhile?  With QEMU's -icount shift=0 a
 *                  nanosecond is an instruction, so lateness is the longest path that lets nobody in.
 *
 * It ends by switching the machine off, but for "death".
 */
#include "kern/base/bits.h"
#include "usr/lib/os.h"

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

static NORETURN void
power_off(int status)
{
	print("capos: exit status %d\n", status);
	print_flush();
	(void)sys_power(boot_info->kernel, 0);
	die("the machine goes on");
}

static void
death(void)
{
	struct function_info f;
	uint64_t size, device, memory, buffer, iova, i = 0;

	do
		if (sys_info(boot_info->kernel, INFO_FUNCTION, i++, (uint64_t)(uintptr_t)&f, sizeof(f), &size) != OK)
			die("no disk controller");
	while (f.class_code != NVME_CLASS);
	if (sys_device_claim(boot_info->kernel, (uint64_t)f.segment << 16 | f.rid, CLAIM_MAPPED_DOORBELLS |
	    CLAIM_CONSENT_UNVALIDATED | CLAIM_CONSENT_INTERRUPTS, &device) != OK ||
	    sys_mem_create(1, 0, &memory) != OK ||
	    sys_dma_map(device, memory, 0, PAGE_SIZE, DMA_FROM_DEVICE, &buffer, &iova) != OK)
		die("no grant");
	if (sys_info(boot_info->kernel, INFO_FUNCTION, i - 1, (uint64_t)(uintptr_t)&f, sizeof(f), &size) != OK || !f.bus_master)
		die("bus mastering is not on");
	log_line(2, "bus mastering is on; now the root task dies");
	*(volatile uint32_t *)(uintptr_t)16 = 0;
}

/* A process that was never started, with so many pages mapped. */
static handle_t
fat_process(uint64_t pages, bool large)
{
	uint64_t p, va, memory, chunk = large ? CHUNK_PAGES : 1, at = MAP_AT;
	enum status s = sys_process_create((uint64_t)(uintptr_t)"fat", 3, pages + pages / 64 + 4096, 200'000, &p);

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

/* Until the memory is back: the latest wake-up, and how many there were. */
static uint64_t
end_of(handle_t process, const char *what)
{
	struct memory_info m, before;
	uint64_t size, worst = 0, beats = 0, t = now_ns(), start = t;
	struct process_info info;

	(void)sys_info(boot_info->kernel, INFO_MEMORY, 0, (uint64_t)(uintptr_t)&before, sizeof(before), &size);
	if (sys_process_kill(process, 0) != OK)
		die("cannot kill");
	for (;;) {
		uint64_t now;

		t = now_ns() + BEAT_NS;
		sleep_until(t);
		now = now_ns();
		if (now > t && now - t > worst)
			worst = now - t;
		beats++;
		if (sys_info(process, INFO_PROCESS, 0, (uint64_t)(uintptr_t)&info, sizeof(info), &size) != OK ||
		    info.state == PROCESS_DEAD)
			break;
		if (now - start > 60 * NS_PER_S)
			die("%s: no end after a minute", what);
	}
	(void)sys_handle_close(process);
	(void)sys_info(boot_info->kernel, INFO_MEMORY, 0, (uint64_t)(uintptr_t)&m, sizeof(m), &size);
	print("trial: %s: %llu wake-ups, the latest %llu ns late, %llu pages came back\n", what, (unsigned long long)beats,
	    (unsigned long long)worst, (unsigned long long)(m.free - before.free));
	return worst;
}

static void
ends(uint64_t mib)
{
	uint64_t pages = mib * MIB / PAGE_SIZE;

	(void)end_of(fat_process(min_u64(pages, 20'000), false), "single pages");
	(void)end_of(fat_process(pages, true), "large pages");
}

int
main(void)
{
	const char *p;
	uint64_t mib = 0;

	if (boot_info == NULL)
		return 1;
	if (word("trial=death") != NULL)
		death();
	p = word("trial=end=");
	if (p == NULL)
		die("trial=WHAT is missing");
	for (; *p >= '0' && *p <= '9' && mib < MIB; p++)
		mib = mib * 10 + (uint64_t)(*p - '0');
	ends(mib);
	power_off(0);
}
