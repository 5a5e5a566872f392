/*
 * Decoding of system calls.
 *
 * Each call decodes its arguments (looks handles up, copies user memory in once, bounds numbers),
 * and only then does something.  The table is made from kern/abi/syscalls.def; entry code calls
 * through it (kern/md/trap.h).  Results go to u->w[0..]; the return value is the status.
 */
#include "kern/abi/syscall.h"
#include "kern/base/str.h"
#include "kern/console.h"
#include "kern/cpu.h"
#include "kern/device.h"
#include "kern/device_queue.h"
#include "kern/handle.h"
#include "kern/info.h"
#include "kern/ipc.h"
#include "kern/log.h"
#include "kern/main.h"
#include "kern/md/clock.h"
#include "kern/memory.h"
#include "kern/process.h"
#include "kern/sched.h"
#include "kern/thread.h"
#include "kern/uaccess.h"

static enum status
sys_null(struct thread *t UNUSED, struct uregs *u UNUSED)
{
	return OK;
}

static enum status
sys_clock(struct thread *t UNUSED, struct uregs *u)
{
	u->w[0] = clock_now();
	return OK;
}

static enum status
sys_handle_close(struct thread *t, struct uregs *u)
{
	return handle_close(t->proc, (handle_t)u->w[0]);
}

static enum status
sys_handle_dup(struct thread *t, struct uregs *u)
{
	handle_t h;
	enum status s = handle_copy(t->proc, (handle_t)u->w[0], t->proc, (uint32_t)u->w[1], &h);

	if (s == OK)
		u->w[0] = h;
	return s;
}

/* "process" arguments: 0 is the caller's own, which needs no right. */
static enum status
process_arg(struct thread *t, uint64_t h, uint32_t rights, struct process **out)
{
	struct object *o;
	enum status s;

	if ((handle_t)h == HANDLE_NONE) {
		object_get(&t->proc->obj);
		*out = t->proc;
		return OK;
	}
	s = handle_ref(t->proc, (handle_t)h, OBJ_PROCESS, rights, &o, NULL);
	if (s == OK)
		*out = process_of(o);
	return s;
}

static enum status
sys_handle_give(struct thread *t, struct uregs *u)
{
	struct process *p;
	handle_t h;
	enum status s = process_arg(t, u->w[0], RIGHT_MANAGE, &p);

	if (s != OK)
		return s;
	s = handle_copy(t->proc, (handle_t)u->w[1], p, (uint32_t)u->w[2], &h);
	if (s == OK) {
		s = device_pass(p, h);
		if (s != OK)
			(void)handle_close(p, h);
	}
	object_put(&p->obj);
	if (s == OK)
		u->w[0] = h;
	return s;
}

static enum status
sys_handle_info(struct thread *t, struct uregs *u)
{
	enum object_type type;
	uint32_t rights;
	uint64_t badge;
	enum status s = handle_query(t->proc, (handle_t)u->w[0], &type, &rights, &badge);

	if (s == OK) {
		u->w[0] = (uint64_t)rights << 32 | type;
		u->w[1] = badge;
	}
	return s;
}

static enum status
sys_handle_revoke(struct thread *t, struct uregs *u)
{
	struct object *o;
	enum status s = handle_ref(t->proc, (handle_t)u->w[0], OBJ_NONE, RIGHT_MANAGE, &o, NULL);

	if (s != OK)
		return s;
	switch (o->type) {
	case OBJ_PROCESS:
		process_end(process_of(o), EXIT_KILLED, 0, NULL);
		break;
	case OBJ_MEMORY:
		memory_revoke(container_of(o, struct memory, obj));
		while (!vspace_unmap_object(o, &container_of(o, struct memory, obj)->mappings)) {
			/* A thread that is about to end does not sleep any more. */
			if (load_relaxed(&t->dying)) {
				s = E_CANCELLED;
				break;
			}
			sched_sleep(clock_now() + NS_PER_MS);
		}
		break;
	case OBJ_ENDPOINT:
		object_bump(o);
		endpoint_flush(container_of(o, struct endpoint, obj));
		break;
	case OBJ_NOTIFICATION:
		object_bump(o);
		notification_flush(container_of(o, struct notification, obj));
		break;
	case OBJ_DEVICE:
		s = device_end(container_of(o, struct device, obj), u->w[1]);
		break;
	default:
		s = E_UNSUPPORTED;
	}
	object_put(o);
	return s;
}

static enum status
sys_process_create(struct thread *t, struct uregs *u)
{
	char name[PROCESS_NAME] = { 0 };
	struct process_limits limits;
	struct process *p;
	handle_t h;
	enum status s;

	if (u->w[1] == 0 || u->w[1] >= PROCESS_NAME)
		return E_INVALID;
	s = copy_in(name, u->w[0], u->w[1]);
	if (s != OK)
		return s;
	for (unsigned i = 0; name[i] != 0; i++)	/* it goes to the log and the console */
		if (name[i] <= ' ' || name[i] > '~')
			return E_INVALID;
	s = copy_in(&limits, u->w[2], sizeof(limits));
	if (s != OK)
		return s;
	if (limits.unused != 0)
		return E_INVALID;
	s = process_create(t->proc, name, &limits, &p);
	if (s != OK)
		return s;
	s = handle_insert(
	    t->proc, &p->obj, p->obj.gen, RIGHT_READ | RIGHT_MANAGE | RIGHT_GIVE, 0, &h);
	if (s != OK) {
		object_put(&p->obj);
		return s;
	}
	u->w[0] = h;
	return OK;
}

static enum status
sys_process_kill(struct thread *t, struct uregs *u)
{
	struct object *o;
	enum status s = handle_ref(t->proc, (handle_t)u->w[0], OBJ_PROCESS, RIGHT_MANAGE, &o, NULL);

	if (s != OK)
		return s;
	process_end(process_of(o), EXIT_KILLED, u->w[1], NULL);
	object_put(o);
	return OK;
}

static enum status
sys_process_exit(struct thread *t, struct uregs *u)
{
	process_end(t->proc, EXIT_NORMAL, u->w[0], NULL);
	thread_exit_current();
}

static enum status
sys_thread_create(struct thread *t, struct uregs *u)
{
	struct process *p;
	struct thread *n;
	uint64_t prio = u->w[5] & 0xff, cpu = u->w[5] >> 8;
	enum status s;

	/* An address that is not canonical would fault on the way out, in the kernel. */
	if (prio < PRIORITY_MIN || prio > t->prio || (cpu != CPU_ANY && cpu >= cpu_count) ||
	    u->w[1] < USER_BASE || u->w[1] >= USER_END)
		return E_RANGE;
	s = process_arg(t, u->w[0], RIGHT_MANAGE, &p);
	if (s != OK)
		return s;
	s = thread_create_user(
	    p, u->w[1], u->w[2], u->w[3], u->w[4], (uint8_t)prio, (uint8_t)cpu, &n);
	if (s == OK) {
		u->w[0] = n->index;
		sched_start(n);
	}
	object_put(&p->obj);
	return s;
}

static enum status
sys_thread_exit(struct thread *t UNUSED, struct uregs *u UNUSED)
{
	thread_exit_current();
}

static enum status
sys_watch(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	struct notification *n = NULL, *old = NULL;
	struct object *o, *no;
	uint32_t rights;
	enum status s;

	if ((handle_t)u->w[1] != HANDLE_NONE) {
		s = handle_ref(
		    t->proc, (handle_t)u->w[1], OBJ_NOTIFICATION, RIGHT_SIGNAL, &no, NULL);
		if (s != OK)
			return s;
		n = container_of(no, struct notification, obj);
	}
	s = handle_ref(t->proc, (handle_t)u->w[0], OBJ_NONE, 0, &o, &rights);
	if (s != OK)
		goto out;
	/* Who may set a watch replaces another's: a handle to look at, or to use, is not enough. */
	if (o->type != OBJ_KERNEL && (rights & RIGHT_MANAGE) == 0) {
		object_put(o);
		s = E_RIGHTS;
		goto out;
	}
	switch (o->type) {
	case OBJ_PROCESS: {
		struct process *p = process_of(o);

		spin_lock(&o->lock);
		watch_set(&p->watch, n, u->w[2], &old);
		if (p->state == PROCESS_DEAD)
			watch_fire(&p->watch);
		spin_unlock(&o->lock);
		break;
	}
	case OBJ_MEMORY:
		spin_lock(&o->lock);
		watch_set(&container_of(o, struct memory, obj)->watch, n, u->w[2], &old);
		spin_unlock(&o->lock);
		break;
	case OBJ_DEVICE: {
		struct device *d = container_of(o, struct device, obj);

		/* A driver's handle is no supervisor's, however many rights it drops: nobody takes
		 * both. */
		if ((rights & (RIGHT_DMA | RIGHT_SUPERVISE)) == 0) {
			s = E_RIGHTS;
			break;
		}
		spin_lock(&o->lock);
		watch_set((rights & RIGHT_DMA) != 0 ? &d->watch : &d->supervisor, n, u->w[2], &old);
		spin_unlock(&o->lock);
		break;
	}
	case OBJ_KERNEL:
		if ((rights & (KERNEL_CONSOLE | KERNEL_DEVICES)) == KERNEL_DEVICES) {
			pci_slots_watch(n, u->w[2], &old);
			break;
		}
		s = handle_ref(t->proc, (handle_t)u->w[0], OBJ_KERNEL, KERNEL_CONSOLE, &no, NULL);
		if (s != OK)
			break;
		object_put(no);
		console_watch(n, u->w[2]);
		break;
	default:
		s = E_TYPE;
	}
	object_put(o);
out:
	if (s != OK)
		old = n;
	if (old != NULL)
		object_put(&old->obj);
	return s;
}

static enum status
sys_mem_create(struct thread *t, struct uregs *u)
{
	struct memory *m;
	handle_t h;
	enum status s = memory_create(t->proc, u->w[0], (uint32_t)u->w[1], &m);

	if (s != OK)
		return s;
	s = handle_insert(t->proc, &m->obj, m->obj.gen,
	    RIGHT_READ | RIGHT_WRITE | RIGHT_EXEC | RIGHT_DMA | RIGHT_GIVE | RIGHT_MANAGE, 0, &h);
	if (s != OK) {
		object_put(&m->obj);
		return s;
	}
	u->w[0] = h;
	return OK;
}

static enum status
sys_mem_map(struct thread *t, struct uregs *u)
{
	struct process *p;
	struct object *o;
	uint64_t prot = u->w[5];
	uint32_t need = 0;
	enum status s;

	if (prot == 0 || (prot & ~(uint64_t)(PROT_READ | PROT_WRITE | PROT_EXEC)) != 0)
		return E_INVALID;
	need |= RIGHT_READ;
	need |= (prot & PROT_WRITE) != 0 ? RIGHT_WRITE : 0;
	need |= (prot & PROT_EXEC) != 0 ? RIGHT_EXEC : 0;
	s = handle_ref(t->proc, (handle_t)u->w[1], OBJ_NONE, need, &o, NULL);
	if (s != OK)
		return s;
	if (o->type != OBJ_MEMORY && o->type != OBJ_MMIO && o->type != OBJ_DEVICE) {
		object_put(o);
		return E_TYPE;
	}
	s = process_arg(t, u->w[0], RIGHT_MANAGE, &p);
	if (s == OK) {
		if (o->type == OBJ_MMIO)
			s = mmio_map(container_of(o, struct mmio, obj), p, u->w[2], u->w[3],
			    u->w[4], (uint8_t)prot, &u->w[0]);
		else if (o->type == OBJ_DEVICE)
			s = u->w[2] != 0 ? E_RANGE :
					   device_map_status(o, t->proc, p, u->w[3], u->w[4],
					       (uint8_t)prot, &u->w[0]);
		else
			s = vspace_map(p, o, u->w[2], u->w[3], u->w[4], (uint8_t)prot, &u->w[0]);
		object_put(&p->obj);
	}
	object_put(o);
	return s;
}

static enum status
sys_mem_unmap(struct thread *t, struct uregs *u)
{
	struct process *p;
	enum status s = process_arg(t, u->w[0], RIGHT_MANAGE, &p);

	if (s != OK)
		return s;
	s = vspace_unmap(p, u->w[1], u->w[2]);
	object_put(&p->obj);
	return s;
}

static enum status
sys_mem_info(struct thread *t, struct uregs *u)
{
	struct object *o;
	struct memory *m;
	enum status s = handle_ref(t->proc, (handle_t)u->w[0], OBJ_MEMORY, 0, &o, NULL);

	if (s != OK)
		return s;
	m = container_of(o, struct memory, obj);
	u->w[0] = m->pages;
	u->w[1] = (m->sealed ? MEM_SEALED : 0) | (m->poisoned ? MEM_POISONED : 0);
	object_put(o);
	return OK;
}

static enum status
sys_mem_seal(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	struct object *o;
	struct memory *m;
	enum status s = handle_lock(t->proc, (handle_t)u->w[0], OBJ_MEMORY, RIGHT_MANAGE, &o, NULL);

	if (s != OK)
		return s;
	m = container_of(o, struct memory, obj);
	if (m->writers != 0)
		s = E_BUSY;
	else
		m->sealed = true;
	spin_unlock(&o->lock);
	return s;
}

static enum status
sys_endpoint_create(struct thread *t, struct uregs *u)
{
	struct endpoint *e;
	handle_t h;
	enum status s = endpoint_create(t->proc, &e);

	if (s != OK)
		return s;
	s = handle_insert(t->proc, &e->obj, e->obj.gen,
	    RIGHT_CALL | RIGHT_RECV | RIGHT_GIVE | RIGHT_MANAGE, 0, &h);
	if (s != OK) {
		object_put(&e->obj);
		return s;
	}
	u->w[0] = h;
	return OK;
}

static enum status
sys_endpoint_mint(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	struct object *o;
	uint32_t gen;
	handle_t h;
	enum status s = handle_lock(t->proc, (handle_t)u->w[0], OBJ_ENDPOINT, RIGHT_RECV, &o, NULL);

	if (s != OK)
		return s;
	gen = o->gen;	/* who revokes from here on means the new one, too */
	object_get(o);
	spin_unlock(&o->lock);
	s = handle_insert(t->proc, o, gen, RIGHT_CALL | RIGHT_GIVE, u->w[1], &h);
	if (s != OK) {
		object_put(o);
		return s;
	}
	u->w[0] = h;
	return OK;
}

static enum status
sys_ntfn_create(struct thread *t, struct uregs *u)
{
	struct notification *n;
	handle_t h;
	enum status s = notification_create(t->proc, &n);

	if (s != OK)
		return s;
	s = handle_insert(t->proc, &n->obj, n->obj.gen,
	    RIGHT_SIGNAL | RIGHT_WAIT | RIGHT_GIVE | RIGHT_MANAGE, 0, &h);
	if (s != OK) {
		object_put(&n->obj);
		return s;
	}
	u->w[0] = h;
	return OK;
}

static enum status
kernel_right(struct thread *t, uint64_t h, uint32_t right)
{
	struct object *o;
	enum status s = handle_ref(t->proc, (handle_t)h, OBJ_KERNEL, right, &o, NULL);

	if (s == OK)
		object_put(o);
	return s;
}

static enum status
sys_log(struct thread *t, struct uregs *u)
{
	char buffer[1024];
	uint64_t cursor = u->w[2], n;
	enum status s;
	bool lost;

	if (u->w[1] == 0) {
		s = kernel_right(t, u->w[0], 0);
		if (s != OK)
			return s;
		n = min_u64(u->w[4], LOG_LINE_MAX - 1);
		if (u->w[2] > LOG_DEBUG)
			return E_RANGE;
		s = copy_in(buffer, u->w[3], n);
		if (s != OK)
			return s;
		for (uint64_t i = 0; i < n; i++)	/* one line, of printable text */
			if (buffer[i] < ' ' || buffer[i] > '~')
				buffer[i] = '.';
		buffer[n] = 0;
		log_write((enum log_level)u->w[2], "%s: %s", t->proc->name, buffer);
		return OK;
	}
	if (u->w[1] != 1)
		return E_INVALID;
	s = kernel_right(t, u->w[0], KERNEL_LOG);
	if (s != OK)
		return s;
	n = log_read(&cursor, buffer, min_u64(u->w[4], sizeof(buffer)), &lost);
	s = copy_out(u->w[3], buffer, n);
	if (s == OK) {
		u->w[0] = n;
		u->w[1] = cursor;
	}
	return s;
}

static enum status
sys_console(struct thread *t, struct uregs *u)
{
	char buffer[512];
	uint64_t n = min_u64(u->w[3], sizeof(buffer));
	enum status s = kernel_right(t, u->w[0], KERNEL_CONSOLE);

	if (s != OK)
		return s;
	if (u->w[1] == 0) {
		s = copy_in(buffer, u->w[2], n);
		if (s == OK)
			console_write(buffer, n);
	} else if (u->w[1] == 1) {
		n = console_read(buffer, n);
		s = copy_out(u->w[2], buffer, n);
	} else {
		return E_INVALID;
	}
	if (s == OK)
		u->w[0] = n;
	return s;
}

static enum status
sys_power(struct thread *t, struct uregs *u)
{
	enum status s = kernel_right(t, u->w[0], KERNEL_POWER);

	if (s != OK)
		return s;
	if (u->w[1] > 1)
		return E_INVALID;
	kernel_stop(u->w[1] == 1);
}

static enum status
sys_none(struct thread *t UNUSED, struct uregs *u UNUSED)
{
	return E_SYSCALL;
}

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Winitializer-overrides"
syscall_fn *const syscall_table[256] = {
	[0 ... 255] = sys_none,
#define SYSCALL(number, name, in, out, text) [number] = sys_##name,
#include "kern/abi/syscalls.def"
#undef SYSCALL
};
#pragma clang diagnostic pop
