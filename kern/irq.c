/*
 * Interrupt slots: irq.h.
 *
 * A slot's function is published last and withdrawn first; a CPU that runs it counts itself in, so
 * that release can wait until none does.
 */
#include "kern/irq.h"
#include "kern/base/bits.h"
#include "kern/cpu.h"
#include "kern/lock.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/md/irqc.h"
#include "kern/panic.h"

struct slot {
	irq_fn *fn;			/* (a) NULL: free or withdrawn */
	void *arg;
	const char *name;
	const struct machine_line *line;	/* unmasked again after a level interrupt */
	uint32_t running;		/* (a) CPUs inside fn */
	bool used;			/* (l) */
	uint64_t count;
};

static struct slot slots[IRQ_SLOTS];
static struct spinlock lock = SPINLOCK_INIT(RANK_IRQ);
static uint32_t hint;

enum status
irq_slot_claim(irq_fn *fn, void *arg, const char *name, uint32_t *out)
{
	spin_lock(&lock);
	for (uint32_t i = 0; i < IRQ_SLOTS; i++) {
		uint32_t n = (hint + i) % IRQ_SLOTS;
		struct slot *s = &slots[n];

		if (s->used)
			continue;
		s->used = true;
		s->arg = arg;
		s->name = name;
		s->line = NULL;
		s->count = 0;
		store_release(&s->fn, fn);
		hint = n + 1;
		spin_unlock(&lock);
		*out = n;
		return OK;
	}
	spin_unlock(&lock);
	return E_NO_MEMORY;
}

void
irq_slot_release(uint32_t n)
{
	struct slot *s = &slots[n];

	__atomic_store_n(&s->fn, NULL, __ATOMIC_SEQ_CST);
	while (load_acquire(&s->running) != 0)
		lock_wait();
	spin_lock(&lock);
	s->used = false;
	spin_unlock(&lock);
}

uint32_t
irq_vectors_free(void)
{
	uint32_t n = 0;

	spin_lock(&lock);
	for (uint32_t i = 0; i < IRQ_SLOTS; i++)
		n += !slots[i].used;
	spin_unlock(&lock);
	return (uint32_t)min_u64(n, irqc_msi_free());
}

void
irq_dispatch(uint32_t n)
{
	struct slot *s = &slots[n];
	irq_fn *fn;

	KASSERT(n < IRQ_SLOTS);
	__atomic_fetch_add(&s->running, 1, __ATOMIC_SEQ_CST);
	fn = __atomic_load_n(&s->fn, __ATOMIC_SEQ_CST);
	s->count++;
	if (fn != NULL) {
		fn(s->arg);
		if (s->line != NULL && s->line->level)
			irqc_line_unmask(s->line);
	}
	__atomic_fetch_sub(&s->running, 1, __ATOMIC_RELEASE);
}

enum status
irq_claim_line(const struct machine_line *line, irq_fn *fn, void *arg, const char *name)
{
	uint32_t n;
	enum status s;

	if (!line->present)
		return E_NOT_FOUND;
	s = irq_slot_claim(fn, arg, name, &n);
	if (s != OK)
		return s;
	slots[n].line = line;
	s = irqc_line_bind(line, n);
	if (s != OK) {
		irq_slot_release(n);
		return s;
	}
	irqc_line_unmask(line);
	return OK;
}

enum status
irq_claim_message(irq_fn *fn, void *arg, const char *name, struct irqc_message *out)
{
	static struct irqc_source source;	/* of the kernel's own units; never closed */
	static uint32_t next;
	uint32_t n;
	enum status s;

	if (next == 0) {
		s = irqc_msi_open(&source, 0, IRQC_OWN, 8);
		if (s != OK)
			return s;
	}
	if (next == source.count)
		return E_NO_MEMORY;
	s = irq_slot_claim(fn, arg, name, &n);
	if (s != OK)
		return s;
	s = irqc_msi_bind(&source, next, n, 0, out);
	if (s != OK) {
		irq_slot_release(n);
		return s;
	}
	next++;
	return OK;
}
