/*
 * info(): one switch over what is asked.
 *
 * An answer is made on the stack and copied out once, as much of it as the caller has room for; the
 * result is its whole size.  Lists are asked by index, and counted anew each time: between two
 * calls they may change, so a list is no snapshot.
 *
 * Rights   the handle's type and rights decide (enum info_what); no answer holds a physical address
 *          (D3).
 * Locks    an object's own, for what changes together; single counters are read as they are.
 * Not here what is written down as it happens (trace.c, log.c).
 */
#include "kern/info.h"
#include "kern/abi/syscall.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/cpu.h"
#include "kern/device.h"
#include "kern/device_queue.h"
#include "kern/dma/unit.h"
#include "kern/exposure.h"
#include "kern/frame.h"
#include "kern/identity.h"
#include "kern/machine/machine.h"
#include "kern/main.h"
#include "kern/md/clock.h"
#include "kern/process.h"
#include "kern/random.h"
#include "kern/sched.h"
#include "kern/thread.h"
#include "kern/trace.h"
#include "kern/trace_ring.h"
#include "kern/uaccess.h"

/* Counts objects down to the wanted one. */
struct nth { uint64_t left; void *out; bool found; };

static bool
nth_process(struct object *o, void *arg)
{
	struct nth *n = arg;

	if (process_of(o)->state == PROCESS_DEAD || n->left-- != 0)
		return true;
	process_info(process_of(o), n->out);
	n->found = true;
	return false;
}

static void
fill_device(struct device *d, struct device_info *out)
{
	*out = (struct device_info){
		.segment = d->function[0].fn->segment,
		.rid = d->function[0].fn->rid,
		.functions = d->function_count,
		.lane = d->verdict.lane,
		.doorbell = d->verdict.doorbell,
		.state = d->state,
		.generation = d->generation,
		.owner = d->holder != NULL ? d->holder->id : 0,
		.fault_seq = d->page != NULL ? d->page->fault_seq : d->status.fault_seq,
	};
	out->faults_lost = d->page != NULL ? d->page->lost : d->status.lost;
	if (d->domain_live) {
		out->grants = d->domain.space.live;
		out->grant_pages = d->domain.space.live_bytes / PAGE_SIZE;
		out->iova_bytes = d->domain.space.live_bytes;
		out->table_pages = d->domain.io.table_pages;
		str_copy(out->domain, d->domain.io.unit->name, sizeof(out->domain));
	}
	spin_lock(&d->obj.lock);
	list_for_each(it, &d->irqs)
		out->interrupts += list_entry(it, struct irq, link)->count;
	out->interrupts_held = d->irq_holds;
	out->registers_refused = d->check != NULL ? d->check->registers_refused : 0;
	spin_unlock(&d->obj.lock);
}

static bool
nth_queue(struct object *o, void *arg)
{
	struct nth *n = arg;
	struct queue_counts c;

	if (!device_queue_counts(o, &c) || n->left-- != 0)
		return true;
	*(struct queue_counts *)n->out = c;
	n->found = true;
	return false;
}

static bool
nth_device(struct object *o, void *arg)
{
	struct nth *n = arg;
	struct device *d = container_of(o, struct device, obj);

	if (d->function_count == 0 || n->left-- != 0)
		return true;
	fill_device(d, n->out);
	n->found = true;
	return false;
}

static bool
nth_grant(struct object *o, void *arg)
{
	struct nth *n = arg;
	struct buffer *b = container_of(o, struct buffer, obj);

	if (b->device == NULL || grant_state(&b->grant) == LEDGER_FREE || n->left-- != 0)
		return true;
	*(struct grant_info *)n->out = (struct grant_info){
		.owner = o->payer != NULL ? o->payer->id : 0,
		.segment = b->device->function[0].fn->segment,
		.rid = b->device->function[0].fn->rid,
		.iova = grant_iova(&b->grant).v,
		.len_bytes = b->grant.entry.grant.len,
		.dir = b->grant.entry.grant.dir,
		.state = grant_state(&b->grant),
		.generation = b->grant.entry.grant.generation,
		.pool = b->pool,
		.pool_pages = b->pool_pages,
	};
	n->found = true;
	return false;
}

static bool
sum_grants(struct object *o, void *arg)
{
	struct buffer *b = container_of(o, struct buffer, obj);
	struct memory_info *m = arg;

	if (grant_state(&b->grant) != LEDGER_FREE) {
		m->grants++;
		m->grant_pages += b->grant.entry.grant.len / PAGE_SIZE;
		m->iova_bytes += iova_len(&b->grant.entry.range);
	}
	return true;
}

static bool
sum_processes(struct object *o, void *arg)
{
	struct memory_info *m = arg;

	m->handles += process_of(o)->handles.used;
	m->processes += process_of(o)->state != PROCESS_DEAD;
	return true;
}

static void
fill_memory(struct memory_info *m)
{
	struct frame_stats f;

	frame_stats(&f);
	*m = (struct memory_info){
		.total = f.total,
		.free = f.by_state[FRAME_FREE],
		.kernel = f.by_state[FRAME_KERNEL],
		.table = f.by_state[FRAME_TABLE],
		.iommu = f.by_state[FRAME_IOMMU],
		.user = f.by_state[FRAME_USER],
		.quarantined = f.by_state[FRAME_QUARANTINED],
		.threads = threads_live,
	};
	for (unsigned i = 0; i < OBJ_TYPES; i++) {
		m->by_type[i] = object_live((enum object_type)i);
		m->objects += m->by_type[i];
	}
	object_for_each(OBJ_BUFFER, sum_grants, m);
	object_for_each(OBJ_PROCESS, sum_processes, m);
}

static void
fill_function(const struct pci_function *f, struct function_info *out)
{
	struct lane_verdict v;
	const char *refused;

	*out = (struct function_info){
		.segment = f->segment,
		.rid = f->rid,
		.vendor = f->vendor,
		.device = f->device,
		.subsystem_vendor = f->subsystem_vendor,
		.subsystem = f->subsystem,
		.class_code = f->class_code,
		.revision = f->revision,
		.header_type = f->header,
		.group = f->group,
		.parent_rid = f->parent >= 0 ? pci_functions[f->parent].rid : 0xffff,
		.msix_vectors = f->msix_count,
		.bus_secondary = f->secondary,
		.bus_subordinate = f->subordinate,
		.claimed = f->claimed != NULL,
		.bus_master = f->master,
		.is_bridge = f->bridge,
		.unplugged = load_acquire(&f->leaving),
		.unit = f->unit,
		.endpoint = f->endpoint,
		.faults = f->faults,
	};
	device_verdict_at_most(f, &v);
	out->verdict = v.lane;
	if (v.reason != NULL)
		str_copy(out->reason, v.reason, sizeof(out->reason));
	refused = __atomic_load_n(&f->refused, __ATOMIC_RELAXED);
	if (refused != NULL)
		str_copy(out->refused, refused, sizeof(out->refused));
	for (unsigned i = 0; i < DEVICE_BARS; i++)
		out->bar_len[i] = f->bar[i].len;
}

static void
fill_evidence(const struct pci_function *f, enum lane_step step, struct evidence_info *out)
{
	const char *text;

	static_assert(STEP_ALL <= EVIDENCE_STEPS);
	*out = (struct evidence_info){ .segment = f->segment, .rid = f->rid };
	out->answer = device_evidence(f, step, &text);
	str_copy(out->step, lane_step_text(step), sizeof(out->step));
	str_copy(out->text, text, sizeof(out->text));
}

static void
fill_unit(const struct iommu_unit *u, struct unit_info *out)
{
	const struct unit_last_fault *l = unit_last_fault(u);

	*out = (struct unit_info){
		.broken = u->broken,
		.fault_log = u->facts.fault_log,
		.interrupt_isolation = u->facts.interrupt_isolation,
		.coherent = u->facts.coherent,
		.domains = u->domains,
		.endpoints = u->endpoints,
		.maps = u->counters.maps,
		.unmaps = u->counters.unmaps,
		.invalidations = u->counters.invalidations,
		.syncs = u->counters.syncs,
		.faults = u->counters.faults,
		.faults_lost = u->counters.faults_lost,
		.errors = u->counters.errors,
		.last_fault_iova = l->fault.iova,
		.last_fault_endpoint = l->fault.endpoint,
		.last_fault_kind = l->fault.kind,
		.last_fault_write = l->fault.write,
	};
	str_copy(out->name, u->name, sizeof(out->name));
	str_copy(out->features, u->facts.text, sizeof(out->features));
}

union answer {
	struct process_info process;
	struct epitaph epitaph;
	struct memory_info memory;
	struct cpu_info cpu;
	struct function_info function;
	struct unit_info unit;
	struct grant_info grant;
	struct queue_counts queue;
	struct evidence_info evidence;
	struct device_info device;
	struct clock_info clock;
	uint32_t cpus;
	uint64_t random[4];
	struct machine_info machine;
	struct exposure_info exposure;
};

/* Of the kernel as a whole; the handle's rights were checked. */
static enum status
kernel_info(uint32_t what, uint64_t index, union answer *a, size_t *size)
{
	struct nth n = { .left = index, .out = a };
	struct sched_stats st;
	struct clock_scale cs;

	switch (what) {
	case INFO_PROCESS:
		object_for_each(OBJ_PROCESS, nth_process, &n);
		*size = sizeof(a->process);
		return n.found ? OK : E_NOT_FOUND;
	case INFO_QUEUE:
		object_for_each(OBJ_QUEUE, nth_queue, &n);
		*size = sizeof(a->queue);
		return n.found ? OK : E_NOT_FOUND;
	case INFO_MEMORY:
		fill_memory(&a->memory);
		*size = sizeof(a->memory);
		return OK;
	case INFO_CPU:
		if (index >= cpu_count)
			return E_NOT_FOUND;
		sched_stats((unsigned)index, &st);
		a->cpu = (struct cpu_info){ (uint32_t)index, cpus[index].online, cpus[index].hwid,
			st.idle_ns, st.busy_ns, st.interrupts, st.switches, cpus[index].tlb_flushes,
			cpus[index].shootdowns };
		*size = sizeof(a->cpu);
		return OK;
	case INFO_FUNCTION:
		if (index >= pci_count)
			return E_NOT_FOUND;
		fill_function(&pci_functions[index], &a->function);
		*size = sizeof(a->function);
		return OK;
	case INFO_EVIDENCE:
		if (index / EVIDENCE_STEPS >= pci_count || index % EVIDENCE_STEPS >= STEP_ALL)
			return E_NOT_FOUND;
		fill_evidence(&pci_functions[index / EVIDENCE_STEPS],
		    (enum lane_step)(index % EVIDENCE_STEPS), &a->evidence);
		*size = sizeof(a->evidence);
		return OK;
	case INFO_UNIT:
		if (index > UINT32_MAX || iommu_nth((uint32_t)index) == NULL)
			return E_NOT_FOUND;
		fill_unit(iommu_nth((uint32_t)index), &a->unit);
		*size = sizeof(a->unit);
		return OK;
	case INFO_GRANT:
		object_for_each(OBJ_BUFFER, nth_grant, &n);
		*size = sizeof(a->grant);
		return n.found ? OK : E_NOT_FOUND;
	case INFO_DEVICE:
		object_for_each(OBJ_DEVICE, nth_device, &n);
		*size = sizeof(a->device);
		return n.found ? OK : E_NOT_FOUND;
	case INFO_CLOCK:
		clock_scale(&cs);
		a->clock = (struct clock_info){ cs.base, cs.mult, cs.shift, wall_at_boot_s };
		*size = sizeof(a->clock);
		return OK;
	case INFO_RANDOM:
		for (unsigned i = 0; i < ARRAY_SIZE(a->random); i++)
			a->random[i] = random_word();
		*size = sizeof(a->random);
		return OK;
	case INFO_MACHINE:
		identity_fill(&a->machine);
		*size = sizeof(a->machine);
		return OK;
	case INFO_EXPOSURE:
		if (index >= pci_count)
			return E_NOT_FOUND;
		exposure_fill(&pci_functions[index], &a->exposure);
		*size = sizeof(a->exposure);
		return OK;
	case INFO_CPUS:
		for (unsigned i = 0; i < cpu_count; i++)
			a->cpus += cpus[i].online;
		*size = sizeof(a->cpus);
		return OK;
	}
	return E_INVALID;
}

/* The records of one CPU, as many as fit; result: bytes. */
static enum status
trace_info(struct uregs *u)
{
	uint64_t room = u->w[4] / sizeof(struct trace_record), n = 0;
	struct trace_record r;
	enum status s = OK;

	if (u->w[2] >= cpu_count)
		return E_NOT_FOUND;
	for (uint32_t i = 0; i < TRACE_RECORDS && n < room && s == OK; i++)
		if (trace_get((unsigned)u->w[2], i, &r))
			s = copy_out(u->w[3] + n++ * sizeof(r), &r, sizeof(r));
	if (s == OK)
		u->w[0] = n * sizeof(r);
	return s;
}

enum status
sys_info(struct thread *t, struct uregs *u)
{
	union answer a = { 0 };
	const void *from = &a;
	uint32_t what = (uint32_t)u->w[1], rights;
	struct object *o;
	size_t size = 0;
	enum status s = OK;

	if ((handle_t)u->w[0] == HANDLE_NONE) {		/* the caller itself */
		o = &t->proc->obj;
		object_get(o);
		rights = RIGHT_READ;
	} else {
		s = handle_ref(t->proc, (handle_t)u->w[0], OBJ_NONE, 0, &o, &rights);
	}
	if (s != OK)
		return s;
	if (o->type == OBJ_KERNEL && what == INFO_TRACE) {
		object_put(o);
		return (rights & KERNEL_TRACE) != 0 ? trace_info(u) : E_RIGHTS;
	}
	if (o->type == OBJ_KERNEL && what == INFO_CMDLINE) {
		from = the_machine->cmdline;
		size = strlen(the_machine->cmdline) + 1;
	} else if (o->type == OBJ_KERNEL) {
		s = what == INFO_CLOCK || what == INFO_CPUS || what == INFO_RANDOM ||
			(rights & (KERNEL_INFO | KERNEL_DEVICES)) != 0 ?
		    kernel_info(what, u->w[2], &a, &size) :
		    E_RIGHTS;
	} else if (o->type == OBJ_PROCESS && what == INFO_PROCESS && (rights & RIGHT_READ) != 0) {
		process_info(process_of(o), &a.process);
		size = sizeof(a.process);
	} else if (o->type == OBJ_PROCESS && what == INFO_EPITAPH && (rights & RIGHT_READ) != 0) {
		spin_lock(&o->lock);
		a.epitaph = process_of(o)->epitaph;
		spin_unlock(&o->lock);
		size = sizeof(a.epitaph);
	} else if (o->type == OBJ_DEVICE && what == INFO_FUNCTION) {
		struct device *d = container_of(o, struct device, obj);

		if (u->w[2] >= d->function_count) {
			s = E_NOT_FOUND;
		} else {
			fill_function(d->function[u->w[2]].fn, &a.function);
			size = sizeof(a.function);
		}
	} else if (o->type == OBJ_DEVICE && what == INFO_DEVICE) {
		fill_device(container_of(o, struct device, obj), &a.device);
		size = sizeof(a.device);
	} else {
		s = E_INVALID;
	}
	object_put(o);
	if (s != OK)
		return s;
	s = copy_out(u->w[3], from, min_u64(size, u->w[4]));
	if (s == OK)
		u->w[0] = size;
	return s;
}
