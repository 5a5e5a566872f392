/*
 * Panic: other CPUs stopped, bus mastering off, epitaph through the polled console, halt.
 *
 * Takes no lock and logs nothing: it may run in any state of the kernel.  A panic within a panic
 * only prints its message and halts.
 */
#include "kern/panic.h"
#include "kern/base/fmt.h"
#include "kern/base/str.h"
#include "kern/cpu.h"
#include "kern/dma/iommu.h"
#include "kern/ksym.h"
#include "kern/main.h"
#include "kern/md/console.h"
#include "kern/md/cpu.h"
#include "kern/pci.h"
#include "kern/process.h"
#include "kern/thread.h"
#include "kern/trace.h"

static bool panicking, stopped;

const char *
symbol_find(uintptr_t address, uintptr_t *offset)
{
	uintptr_t at = address - (uintptr_t)__kernel_start;
	uint32_t lo = 0, hi = kernel_symtab_count;

	*offset = address;
	if (hi == 0 || address >= (uintptr_t)__text_end || at > UINT32_MAX ||
	    at < kernel_symtab[0].offset)
		return NULL;
	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (kernel_symtab[mid].offset <= at)
			lo = mid;
		else
			hi = mid;
	}
	*offset = at - kernel_symtab[lo].offset;
	return &kernel_symtab_names[kernel_symtab[lo].name];
}

static void
say(const char *format, ...)
{
	char line[200];
	va_list ap;
	size_t n;

	va_start(ap, format);
	n = fmt_vbuf(line, sizeof(line), format, ap);
	va_end(ap);
	console_put(line, n < sizeof(line) ? n : sizeof(line) - 1);
}

static void
say_line(const char *line)
{
	say("  %s\n", line);
}

/* Not inlined: its caller's frame is the first that is said. */
static NOINLINE void
backtrace(void)
{
	const uintptr_t *fp = __builtin_frame_address(0);

	for (unsigned i = 0; i < 24; i++) {
		uintptr_t pc, offset;
		const char *name;

		/* Frames lie in the kernel's half and go upwards; anything else ends the walk. */
		if (((uintptr_t)fp & 7) != 0 || (intptr_t)fp >= 0)
			break;
		pc = cpu_code_address(fp[1]);
		name = symbol_find(pc, &offset);
		if (name == NULL)
			break;
		say("  %s+0x%lx\n", name, (unsigned long)offset);
		if (fp[0] <= (uintptr_t)fp)
			break;
		fp = (const uintptr_t *)fp[0];
	}
}

/* Nothing else runs, nothing masters the bus, no IOMMU lets anything through. */
static void
quiet(void)
{
	cpu_stop_others();
	store_release(&stopped, true);
	pci_masters_off_now();
	for (uint32_t n = 0; iommu_nth(n) != NULL; n++)
		iommu_nth(n)->ops->shut(iommu_nth(n));
}

bool
others_stopped(void)
{
	return load_acquire(&stopped);
}

void
stop(void (*off)(const struct machine *))
{
	quiet();
	off(the_machine);
	say("capos: off: this machine cannot be switched off or restarted from here: do it by hand\n");
	cpu_halt();
}

void
panic(const char *format, ...)
{
	char message[160];
	struct cpu *c = this_cpu();
	struct thread *t;
	va_list ap;

	va_start(ap, format);
	fmt_vbuf(message, sizeof(message), format, ap);
	va_end(ap);
	if (__atomic_exchange_n(&panicking, true, __ATOMIC_SEQ_CST)) {
		say("panic in panic: %s\n", message);
		cpu_halt();
	}
	console_last_words(the_machine);
	quiet();
	t = c != NULL ? c->current : NULL;
	say("\ncapos: panic on cpu %u: %s\n", c != NULL ? c->id : 0, message);
	if (t != NULL && t->proc != NULL)
		say("  while running %s[%u]\n", t->proc->name, t->proc->id);
	backtrace();
	trace_say_last(say_line);
	say("capos: stopped\n");
	cpu_halt();
}

NORETURN void __stack_chk_fail(void);

/* Filled with random bits before the first process starts. */
uintptr_t __stack_chk_guard = 0x5bd1e995u;

void
__stack_chk_fail(void)
{
	panic("stack smashed in %p", __builtin_return_address(0));
}
