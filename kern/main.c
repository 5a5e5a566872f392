/*
 * Boot, readable from top to bottom; and the orderly end.
 */
#include "kern/main.h"
#include "kern/abi/boot.h"
#include "kern/abi/syscall.h"
#include "kern/base/bits.h"
#include "kern/base/date.h"
#include "kern/base/cpio.h"
#include "kern/base/fmt.h"
#include "kern/base/str.h"
#include "kern/console.h"
#include "kern/cpu.h"
#include "kern/device.h"
#include "kern/dma/iommu.h"
#include "kern/dma/unit.h"
#include "kern/elf.h"
#include "kern/frame.h"
#include "kern/identity.h"
#include "kern/irq.h"
#include "kern/lock.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/md/clock.h"
#include "kern/md/console.h"
#include "kern/md/cpu.h"
#include "kern/md/irqc.h"
#include "kern/md/mmu.h"
#include "kern/memory.h"
#include "kern/panic.h"
#include "kern/pci.h"
#include "kern/process.h"
#include "kern/random.h"
#include "kern/record.h"
#include "kern/sched.h"
#include "kern/thread.h"
#include "kern/trace.h"
#include "kern/worker.h"

struct machine *the_machine;
uint64_t wall_at_boot_s;
extern uintptr_t __stack_chk_guard;

/* A clock that says an earlier time than this was never set: 2024-01-01. */
enum : uint64_t { INIT_STACK = 64 * KIB, WALL_FIRST = 1704067200 };

/* Init's limits.  Stacks are kept when threads end: a machine of little memory has fewer. */
enum : uint64_t { OBJECTS_MAX = 1 << 20, PROCESSES_MAX = 1 << 16, THREAD_PAGES = 32 };

/* The machine's own clock, or else what firmware said when the loader asked: a moment before. */
static void
read_wall(const struct machine *m)
{
	uint64_t s = 0;
	char text[DATE_TEXT];
	enum status e = clock_read_wall(m, &s);
	const char *whose = "the real-time clock";

	if (m->wall_s >= WALL_FIRST && (e != OK || s < WALL_FIRST)) {
		s = m->wall_s;
		e = OK;
		whose = "firmware";
	}
	date_text(s, text);
	if (e == E_NOT_FOUND)
		log_info("clock: no real-time clock: the date is unknown");
	else if (e != OK)
		log_warn(
		    "clock: the real-time clock says no time that can be read: the date is unknown");
	else if (s < WALL_FIRST)
		log_warn(
		    "clock: the real-time clock says %s: not believed, the date is unknown", text);
	else
		wall_at_boot_s = s - clock_now() / NS_PER_S;
	if (wall_at_boot_s != 0)
		log_info("clock: it is %s UTC, says %s", text, whose);
}

/* True when it came online within a second. */
static bool
comes_online(const struct cpu *c)
{
	uint64_t deadline = clock_now() + NS_PER_S;

	while (!load_acquire(&c->online)) {
		if (clock_now() > deadline)
			return false;
		lock_wait();
	}
	return true;
}

/* One after the other: each has the next stack and the next struct cpu, unless it does not come. */
static void
start_cpus(const struct machine *m)
{
	static struct cpu_start starts[MACHINE_CPUS_MAX]; /* one that comes late looks at its own */
	void *stack = NULL;

	for (uint32_t i = 0; i < m->cpu_count; i++) {
		struct cpu *c = &cpus[cpu_count];
		enum start_state waiting = START_WAITING;
		enum status s;

		if (m->cpu[i].boot || !m->cpu[i].enabled)
			continue;
		if (cpu_count == CPUS_MAX) {
			log_warn("cpus: more than %u: the rest stays off", CPUS_MAX);
			return;
		}
		if (stack == NULL) {
			stack = mmu_stack_alloc();
			if (stack == NULL) {
				log_error("cpus: no memory for another stack");
				return;
			}
			*c = (struct cpu){ .id = cpu_count };
			trace_init_cpu(c);
		}
		c->hwid = m->cpu[i].hwid;
		starts[i] =
		    (struct cpu_start){ START_WAITING, c->hwid, (char *)stack + KSTACK_SIZE, c };
		s = cpu_start(m, &starts[i]);
		if (s == OK && !comes_online(c))
			s = __atomic_compare_exchange_n(&starts[i].state, &waiting, START_GIVEN_UP,
				false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) ?
			    E_TIMED_OUT :
			    comes_online(c) ? OK :
					      E_STATE;
		if (s != OK)
			log_error("cpu %llx: did not start: %s", (unsigned long long)c->hwid,
			    s == E_TIMED_OUT ? "no answer" :
				s == E_STATE ? "it stopped half way" :
					       status_text(s));
		if (s == E_STATE)
			return;		/* it has the stack */
		if (s == OK) {
			trace(CPU_STARTED, cpu_count);
			cpu_count++;
			stack = NULL;
		}
	}
	if (stack != NULL)
		mmu_stack_free(stack);
}

void
kernel_secondary(void)
{
	struct cpu *c = this_cpu();

	irqc_init_cpu();
	clock_init_cpu();
	sched_init_cpu(c);
	store_release(&c->online, true);
	sched_idle_loop();
}

void
boot_failed(const char *format, ...)
{
	char reason[160], line[200];
	va_list ap;

	va_start(ap, format);
	fmt_vbuf(reason, sizeof(reason), format, ap);
	va_end(ap);
	console_last_words(the_machine);
	fmt_buf(line, sizeof(line), "capos: cannot start: %s\n", reason);
	console_put(line, strlen(line));
	if (the_machine != NULL)
		kernel_stop(false);
	console_put("capos: stopped\n", 15);
	cpu_halt();
}

/* What the machine has, for init to share out.  Objects are small: all of them together take about
 * an eighth of the memory. */
static void
everything(struct process_limits *l)
{
	struct frame_stats fs;

	frame_stats(&fs);
	*l = (struct process_limits){
		.pages = fs.by_state[FRAME_FREE],
		.objects = min_u64(fs.by_state[FRAME_FREE] * 2, OBJECTS_MAX),
		.threads = (uint32_t)min_u64(
		    THREADS_MAX - threads_made, fs.by_state[FRAME_FREE] / THREAD_PAGES),
		.processes = (uint32_t)min_u64(mmu_spaces() - 1, PROCESSES_MAX),
		.vectors = irq_vectors_free(),
	};
}

/* The root task: its program, its stack, its handles, and the page that tells it about them. */
static void
start_init(const struct machine *m)
{
	const uint8_t *image = NULL;
	struct process_limits limits;
	struct process *p;
	struct thread *t;
	struct memory *stack, *info, *am;
	struct object *k;
	struct boot_info *b;
	struct paddr at;
	uint64_t len = 0, entry, run, va, info_va;
	enum status s;

	if (m->archive.len == 0)
		boot_failed("the loader gave no boot archive");
	switch (cpio_find(
	    frame_ptr((struct paddr){ m->archive.base }), m->archive.len, "init", &image, &len)) {
	case CPIO_FOUND:
		break;
	case CPIO_MISSING:
		boot_failed("the boot archive holds no program \"init\"");
	case CPIO_DAMAGED:
		boot_failed("the boot archive is damaged: no usable \"init\" in it");
	}
	everything(&limits);
	if (process_create(NULL, "init", &limits, &p) != OK)
		goto no_memory;
	s = elf_load(p, image, len, &entry);
	if (s == E_CORRUPT)
		boot_failed("\"init\" in the boot archive is not a program of this architecture");
	if (s != OK || memory_create(p, INIT_STACK / PAGE_SIZE, 0, &stack) != OK ||
	    memory_create(p, pages_of(sizeof(*b)), MEM_CONTIGUOUS, &info) != OK ||
	    memory_adopt(p, m->archive.base, m->archive.len, &am) != OK ||
	    object_create(OBJ_KERNEL, NULL, &k) != OK || !memory_run(info, 0, &at, &run))
		goto no_memory;
	b = frame_ptr(at);
	va = info_va = 0;
	b->magic = BOOT_MAGIC;
	b->version = 1;
	b->cpus = cpu_count;
	b->archive_len = m->archive.len;
	memcpy(b->cmdline, m->cmdline, sizeof(b->cmdline));
	if (vspace_map(p, &am->obj, 0, am->pages * PAGE_SIZE, 0, PROT_READ, &b->archive_va) != OK ||
	    vspace_map(p, &stack->obj, 0, INIT_STACK, 0, PROT_READ | PROT_WRITE, &va) != OK ||
	    vspace_map(p, &info->obj, 0, info->pages * PAGE_SIZE, 0, PROT_READ, &info_va) != OK)
		goto no_memory;
	b->archive_va += m->archive.base & PAGE_MASK;
	b->stack_top = va + INIT_STACK;
	if (handle_insert(p, &p->obj, p->obj.gen, RIGHT_ALL, 0, &b->self) != OK ||
	    handle_insert(p, k, k->gen, KERNEL_ALL | RIGHT_GIVE, 0, &b->kernel) != OK ||
	    handle_insert(p, &am->obj, am->obj.gen, RIGHT_READ | RIGHT_GIVE, 0, &b->archive) != OK)
		goto no_memory;
	object_get(&p->obj);
	object_put(&stack->obj);
	object_put(&info->obj);
	if (thread_create_user(
		p, entry, b->stack_top, info_va, sizeof(*b), PRIORITY_INIT, 0xff, &t) != OK)
		goto no_memory;
	sched_start(t);
	return;
no_memory:
	boot_failed("too little memory to start init");
}

void
kernel_main(struct machine *m)
{
	struct cpu *c = this_cpu();

	the_machine = m;
	c->online = true;
	if (machine_finish(m) != OK)
		boot_failed("firmware describes no memory that could be used");
	for (uint32_t i = 0; i < m->memory_count; i++)
		if (m->memory[i].kind == MEM_KERNEL &&
		    ranges_overlap(
			m->memory[i].base, m->memory[i].len, m->archive.base, m->archive.len))
			boot_failed(
			    "too little memory: the loader put the boot archive where the kernel is");
	frame_init(m);
	mmu_init(m);
	console_init(m);
	if (machine_word(m, "quiet"))
		log_set_console_level(LOG_ERROR);
	if (machine_word(m, "debug"))
		log_set_console_level(LOG_DEBUG);
	sched_init_cpu(c);
	trace_init_cpu(c);
	random_init(m);
	__stack_chk_guard = random_word() & ~0xffull;	/* a 0 byte stops string overruns */
	log_info(
	    "capOS on %s: %s", m->model[0] != 0 ? m->model : "an unnamed machine", cpu_features());
	if (m->firmware[0] != 0)
		log_info("firmware: %s; platform: %s", m->firmware,
		    m->platform[0] != 0 ? m->platform : "not told");
	if (random_is_weak())
		log_warn(
		    "random numbers: this CPU makes none and firmware gave no seed: they come from timing alone, which is weak");
	identity_report(m);
	for (uint32_t i = 0; i < m->note_count; i++)
		log_warn("%s", m->note[i]);
	if (m->dropped != 0)
		log_warn("machine: %u entries of firmware's tables did not fit", m->dropped);
	if (irqc_init(m) != OK)
		boot_failed("no interrupt controller that could be used");
	if (clock_init(m) != OK)
		boot_failed("no clock that could be used");
	read_wall(m);
	log_info("interrupts: %s; console: %s", irqc_name(), console_name());
	worker_init();
	pci_init(m);
	units_init(m);
	device_classes_init();
	devices_report();
	pci_slots_init();
	record_print(m);
	start_cpus(m);
	if (cpu_count > 1)
		log_info("cpus: %u online", cpu_count);
	console_start();
	start_init(m);
	sched_idle_loop();
}

void
kernel_stop(bool restart)
{
	log_info(restart ? "restart" : "power off");
	stop(restart ? cpu_reset : cpu_power_off);
}
