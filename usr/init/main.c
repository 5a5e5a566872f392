/*
 * init: the root task.  Reads the services of the boot manifest, makes their endpoints, starts them
 * with the capabilities that the manifest names, and starts them again as it says.  Keeps the
 * device manager's handles to running drivers for its successor.
 *
 * The manifest is all that it goes by.  When none can be read, or no service of it runs, it starts
 * the shell alone, so that somebody can look.
 */
#include "kern/base/bits.h"
#include "usr/lib/devmgr.h"
#include "usr/lib/manifest.h"

enum { KEEP_MAX = 16 };
enum : uint64_t { PAGES_LEAST = 256, OBJECTS_LEAST = 64 };

struct service {
	const struct manifest_service *m;
	handle_t process, endpoint;
	uint32_t pid;
	enum supervised_state state;
	struct supervision life;
	uint64_t restart_at;
	uint64_t died_at, recovery_ns;	/* died_at 0: it has said that it serves, or never will */
	bool lacks;			/* of memory or of something else: so it did not start */
	bool left_out;			/* the machine is too small for it */
};

static const struct manifest_service rescue = {
	.task = { .node = "rescue",
	    .program = "shell",
	    .args = "",
	    .priority = 10,
	    .pages = 8192,
	    .objects = 4096,
	    .threads = 64,
	    .processes = 16,
	    .caps = CAP_CONSOLE | CAP_INFO | CAP_LOG | CAP_POWER | CAP_CONTROL | CAP_TRACE,
	    .restart = { RESTART_ALWAYS, 0, { 100, 10000 }, 10000 } },
};

static struct manifest manifest;
static struct service services[MANIFEST_SERVICES + 1];
static unsigned service_count;
static struct {
	handle_t process, endpoint, device;
	uint64_t function, index, restarts;
} kept[KEEP_MAX];
static unsigned kept_count;
static handle_t endpoint, ntfn;
static const uint8_t *archive;
static struct process_limits mine;	/* before any service was started */

static void
say(void *arg UNUSED, const char *line)
{
	log_line(0, "%s", line);
}

static void
give(struct spawn *s, const char *name, handle_t h, uint32_t rights)
{
	if (h == HANDLE_NONE || s->count == START_NAMES)
		return;
	s->give[s->count].name = name;
	s->give[s->count].handle = h;
	s->give[s->count++].rights = rights;
}

/* What handles to call by carry: a service's place in the manifest, from 1, so that everybody who
 * reads the manifest knows who calls. */
static uint64_t
number_of(const struct service *v)
{
	return v->m == &rescue ? MANIFEST_SERVICES + 1 : (uint64_t)(v->m - manifest.service) + 1;
}

/* NULL: there is none of that number. */
static struct service *
by_number(uint64_t number)
{
	for (unsigned i = 0; i < service_count; i++)
		if (number_of(&services[i]) == number)
			return &services[i];
	return NULL;
}

/* Every program may write lines to the log; the rest is by name. */
static uint32_t
kernel_rights(uint32_t caps)
{
	return RIGHT_GIVE | ((caps & CAP_CONSOLE) != 0 ? KERNEL_CONSOLE : 0) |
	    ((caps & CAP_DEVICES) != 0 ? KERNEL_DEVICES : 0) |
	    ((caps & CAP_INFO) != 0 ? KERNEL_INFO : 0) | ((caps & CAP_LOG) != 0 ? KERNEL_LOG : 0) |
	    ((caps & CAP_POWER) != 0 ? KERNEL_POWER : 0) |
	    ((caps & CAP_TRACE) != 0 ? KERNEL_TRACE : 0);
}

static const struct service *
server_of(const char *name)
{
	for (unsigned i = 0; i < service_count; i++)
		if (services[i].m->serves != NULL && strcmp(services[i].m->serves, name) == 0)
			return &services[i];
	return NULL;
}

/*
 * What a service gets: what the manifest says, when the machine has that for all of them together;
 * else its share of what there is.  A quarter of the memory, and of the objects, stays here: for
 * the programs themselves, which init loads and pays for.
 */
static uint64_t
share(
    uint64_t (*of)(const struct manifest_task *t), uint64_t wanted, uint64_t there, uint64_t least)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < service_count; i++)
		sum += services[i].left_out ? 0 : of(&services[i].m->task);
	return sum <= there ? wanted : max_u64(wanted * there / sum, min_u64(wanted, least));
}

static uint64_t pages_of_task(const struct manifest_task *t) { return t->pages; }
static uint64_t objects_of_task(const struct manifest_task *t) { return t->objects; }
static uint64_t threads_of_task(const struct manifest_task *t) { return t->threads; }
static uint64_t processes_of_task(const struct manifest_task *t) { return t->processes + 1; }
static uint64_t vectors_of_task(const struct manifest_task *t) { return t->vectors; }

static struct process_limits
limits_of(const struct manifest_task *t)
{
	return (struct process_limits){
		.pages = share(pages_of_task, t->pages, mine.pages / 4 * 3, PAGES_LEAST),
		.objects = share(objects_of_task, t->objects, mine.objects / 4 * 3, OBJECTS_LEAST),
		.threads = (uint32_t)share(threads_of_task, t->threads, mine.threads, 1),
		.processes = (uint32_t)share(processes_of_task, t->processes, mine.processes, 0),
		.vectors = (uint32_t)share(vectors_of_task, t->vectors, mine.vectors, 0),
	};
}

/* The limits that this machine has. */
static void
learn_limits(void)
{
	struct process_info p;
	uint64_t n;

	if (sys_info(boot_info->self, INFO_PROCESS, 0, (uint64_t)(uintptr_t)&p, sizeof(p), &n) !=
	    OK)
		return;
	mine = (struct process_limits){ p.pages_max - p.pages, p.objects_max - p.objects,
		p.threads_max - p.threads_used, p.processes_max - p.processes,
		p.vectors_max - p.vectors, 0 };
}

/* Services that a machine may be too small for: by name, and what is there goes to the others. */
static void
leave_out(void)
{
	for (unsigned i = 0; i < service_count; i++) {
		struct service *v = &services[i];
		uint64_t pages = limits_of(&v->m->task).pages;

		if (pages >= v->m->least_pages)
			continue;
		v->left_out = true;
		v->state = SUPERVISED_LEFT_OUT;
		log_line(1,
		    "%s is left out: of this machine it would get %llu pages, and it needs %u",
		    v->m->task.node, (unsigned long long)pages, v->m->least_pages);
	}
}

static enum status
start_service(struct service *v)
{
	const struct manifest_task *t = &v->m->task;
	char args[START_ARGS];
	size_t args_len;
	uint64_t h, minted_here[MANIFEST_USES + 1], n;
	unsigned minted = 0;
	struct process_info p;
	struct spawn s = {
		.name = t->program, .args = t->args, .limits = limits_of(t),
		.priority = (uint8_t)t->priority, .restarts = v->life.restarts,
	};
	enum status e = OK;

	s.image = archive_file(archive, boot_info->archive_len, t->program, &s.image_len);
	if (s.image == NULL) {
		log_line(0, "%s: program \"%s\" is not in the boot archive", t->node, t->program);
		return E_NOT_FOUND;
	}
	if (v->m->when != NULL) {
		const char *value = manifest_word(boot_info->cmdline, v->m->when, &args_len);

		if (value != NULL)
			str_copy(args, value, min_u64(args_len + 1, sizeof(args)));
		s.args = value != NULL ? args : t->args;
	}
	give(&s, "kernel", boot_info->kernel, kernel_rights(t->caps));
	if ((t->caps & CAP_ARCHIVE) != 0)
		give(&s, "archive", boot_info->archive, RIGHT_READ);
	if (v->m->serves != NULL)
		give(&s, v->m->serves, v->endpoint, RIGHT_RECV | RIGHT_GIVE);
	/* Handles to call by carry who calls. */
	for (unsigned i = 0; i < MANIFEST_USES && v->m->uses[i] != NULL && e == OK; i++) {
		e = sys_endpoint_mint(
		    server_of(v->m->uses[i])->endpoint, number_of(v), &h);
		if (e == OK) {
			minted_here[minted++] = h;
			give(&s, v->m->uses[i], (handle_t)h, RIGHT_CALL | RIGHT_GIVE);
		}
	}
	if (e == OK && (t->caps & (CAP_CONTROL | CAP_KEEP | CAP_SOCKETS)) != 0) {
		e = sys_endpoint_mint(endpoint, number_of(v), &h);
		if (e == OK) {
			minted_here[minted++] = h;
			give(&s, "init", (handle_t)h, RIGHT_CALL | RIGHT_GIVE);
		}
	}
	if (e == OK)
		e = spawn_within(&s, &v->process);
	while (minted != 0)
		(void)sys_handle_close(minted_here[--minted]);
	v->lacks = e == E_QUOTA || e == E_NO_MEMORY;
	if (e != OK) {
		v->process = HANDLE_NONE;
		log_line(0, "%s cannot be started: %s", t->node, status_text(e));
		return e;
	}
	if (s.limits.pages != t->pages)
		log_line(1, "%s: %u pages are too many for this machine: it gets %llu", t->node,
		    t->pages, (unsigned long long)s.limits.pages);
	v->pid =
	    sys_info(v->process, INFO_PROCESS, 0, (uint64_t)(uintptr_t)&p, sizeof(p), &n) == OK ?
	    p.id :
	    0;
	(void)sys_watch(v->process, ntfn, BIT((unsigned)(v - services)));
	return OK;
}

/* It ended, or did not start: what the policy says. */
static void
ended(struct service *v, enum exit_reason reason)
{
	v->process = HANDLE_NONE;
	v->pid = 0;
	switch (supervise_ended(&v->life, &v->m->task.restart, reason, now_ns(), &v->restart_at)) {
	case SUPERVISE_RESTART:
		v->state = SUPERVISED_WAITING;
		break;
	case SUPERVISE_GIVE_UP:
		v->state = SUPERVISED_GIVEN_UP;
		log_line(0, "%s is given up: it ended %u times in a row within %u ms of its start",
		    v->m->task.node, v->life.quick, v->m->task.restart.stable_ms);
		break;
	case SUPERVISE_FINISHED:
		v->state = SUPERVISED_FINISHED;
		break;
	}
}

static void
try_start(struct service *v)
{
	enum status s;

	supervise_started(&v->life);
	supervise_serves(&v->life, now_ns());
	s = start_service(v);
	if (s == OK) {
		v->state = SUPERVISED_RUNNING;
	} else if (s == E_NOT_FOUND) {
		v->state = SUPERVISED_GIVEN_UP;		/* no second look will find it */
	} else {
		v->life.restarts++;
		ended(v, EXIT_NORMAL);
	}
}

/* What does not start at boot for want of memory will not start later either, and what does is not
 * the system that was asked for. */
static void
look_at_the_machine(void)
{
	static bool looked;
	unsigned lack = 0;

	for (unsigned i = 0; i < service_count; i++)
		lack += services[i].lacks;
	if (!looked && lack != 0)
		die("too little memory: %llu KiB are there for programs, and %u of %u services cannot be started with that",
		    (unsigned long long)(mine.pages * PAGE_SIZE / KIB), lack, service_count);
	looked = true;
}

static void
service_ended(struct service *v)
{
	uint64_t len = 0;
	const uint8_t *image =
	    archive_file(archive, boot_info->archive_len, v->m->task.program, &len);
	enum exit_reason reason;
	uint64_t at;

	if (v->process == HANDLE_NONE)
		return;
	reason = epitaph_print(v->process, image, len, &at);
	/* One that ends before it serves again was out since its predecessor's end. */
	if (v->died_at == 0)
		v->died_at = at;
	(void)sys_handle_close(v->process);
	v->life.restarts++;
	ended(v, reason);
}

/* From the moment that it began to end to its successor's word that it serves. */
static enum status
service_serves(struct service *v)
{
	if (v->died_at == 0)
		return OK;
	v->recovery_ns = now_ns() - v->died_at;
	v->died_at = 0;
	log_line(2, "%s serves again after %llu ms (restart %llu)", v->m->task.node,
	    (unsigned long long)(v->recovery_ns / NS_PER_MS),
	    (unsigned long long)v->life.restarts);
	return OK;
}

static void
add_service(const struct manifest_service *m)
{
	struct service *v = &services[service_count];
	uint64_t h;
	size_t len;

	if (m->when != NULL && manifest_word(boot_info->cmdline, m->when, &len) == NULL)
		return;
	*v = (struct service){ .m = m, .state = SUPERVISED_WAITING };
	if (m->serves != NULL) {
		if (sys_endpoint_create(&h) != OK) {
			log_line(0, "%s: no memory for its endpoint", m->task.node);
			return;
		}
		v->endpoint = (handle_t)h;
	}
	service_count++;
}

static void
list_service(struct msg *m)
{
	const struct service *v = &services[m->w[0]];
	struct supervised s = {
		.pid = v->pid,
		.state = (uint8_t)v->state,
		.quick = v->life.quick,
		.restarts = v->life.restarts,
		.recovery_ns = v->recovery_ns,
	};

	str_copy(s.name, v->m->task.program, sizeof(s.name));
	memcpy(m->w, &s, sizeof(s));
}

/* What the manifest says that a service may do with sockets. */
static enum status
sockets_of(struct msg *m)
{
	const struct service *caller = by_number(m->w[0]);
	const struct manifest_service *v;
	uint64_t ports[4] = { 0 };

	if (caller == NULL)
		return E_NOT_FOUND;
	v = caller->m;
	static_assert(MANIFEST_CELLS <= 16);
	for (uint32_t i = 0; i < v->listen.count; i++)
		ports[i / 4] |= (uint64_t)(v->listen.v[i] & UINT16_MAX) << i % 4 * 16;
	m->w[0] = (v->task.caps & CAP_CONNECT) != 0;
	memcpy(&m->w[1], ports, sizeof(ports));
	memset(&m->w[5], 0, 3 * sizeof(m->w[0]));
	str_copy((char *)&m->w[5], v->task.node, 3 * sizeof(m->w[0]));
	return OK;
}

static enum status
keep(struct msg *m)
{
	unsigned i;

	for (i = 0; i < kept_count && kept[i].index != m->w[4]; i++)
		;
	if (i == KEEP_MAX || m->handles != 7)
		return E_REFUSED;
	if (i < kept_count) {
		(void)sys_handle_close(kept[i].process);
		(void)sys_handle_close(kept[i].endpoint);
		(void)sys_handle_close(kept[i].device);
	} else {
		kept_count++;
	}
	kept[i].process = (handle_t)m->w[0];
	kept[i].endpoint = (handle_t)m->w[1];
	kept[i].device = (handle_t)m->w[2];
	kept[i].function = m->w[3];
	kept[i].index = m->w[4];
	kept[i].restarts = m->w[5];
	return OK;
}

static void
call(struct msg *m)
{
	struct service *caller = by_number(m->badge);
	uint32_t caps = caller != NULL ? caller->m->task.caps : 0;
	uint32_t came = m->handles;
	enum status s = E_NOT_FOUND;

	m->handles = 0;
	switch (m->label) {
	case INIT_KILL:
		if ((caps & CAP_CONTROL) == 0) {
			s = E_RIGHTS;
			break;
		}
		for (unsigned i = 0; i < service_count; i++)
			if (services[i].pid != 0 && services[i].pid == m->w[0])
				s = sys_process_kill(services[i].process, 0);
		break;
	case INIT_LIST:
		if ((caps & CAP_CONTROL) == 0) {
			s = E_RIGHTS;
		} else if (m->w[0] < service_count) {
			list_service(m);
			s = OK;
		}
		break;
	case INIT_READY:
		s = caller != NULL ? service_serves(caller) : E_RIGHTS;
		break;
	case INIT_SOCKETS:
		s = (caps & CAP_SOCKETS) == 0 ? E_RIGHTS : sockets_of(m);
		break;
	case INIT_KEEP:
		if ((caps & CAP_KEEP) == 0) {
			s = E_RIGHTS;
			break;
		}
		m->handles = came;
		s = keep(m);
		m->handles = 0;
		came = s == OK ? 0 : came;
		break;
	case INIT_KEPT:
		if ((caps & CAP_KEEP) == 0) {
			s = E_RIGHTS;
		} else if (m->w[0] < kept_count) {
			unsigned i = (unsigned)m->w[0];

			m->w[0] = kept[i].process;
			m->w[1] = kept[i].endpoint;
			m->w[2] = kept[i].device;
			m->w[3] = kept[i].function;
			m->w[4] = kept[i].index;
			m->w[5] = kept[i].restarts;
			m->handles = 7;
			came = 0;
			s = OK;
		}
		break;
	default:
		s = E_INVALID;
	}
	/* Handles that came with a call that has no use for them. */
	for (unsigned i = 0; i < 4; i++)
		if ((came & BIT(i)) != 0)
			(void)sys_handle_close(m->w[i]);
	m->label = s;
	m->words = 8;
	(void)msg_reply(m);		/* a caller that is gone needs no answer */
}

int
main(void)
{
	const uint8_t *blob;
	uint64_t h, len = 0;

	learn_limits();
	archive = (const uint8_t *)(uintptr_t)boot_info->archive_va;
	if (sys_ntfn_create(&h) != OK)
		return 1;
	ntfn = (handle_t)h;
	if (sys_endpoint_create(&h) != OK)
		return 1;
	endpoint = (handle_t)h;
	blob = archive_file(archive, boot_info->archive_len, "manifest.dtb", &len);
	if (blob == NULL)
		log_line(0, "manifest: the boot archive has no manifest.dtb");
	else if (manifest_read(&manifest, blob, len, say, NULL) != OK)
		blob = NULL;
	for (unsigned i = 0; i < manifest.service_count; i++)
		add_service(&manifest.service[i]);
	leave_out();
	for (;;) {
		uint64_t next = DEADLINE_NEVER;
		bool alive = false;
		struct msg m;

		for (unsigned i = 0; i < service_count; i++) {
			struct service *v = &services[i];

			if (v->state == SUPERVISED_WAITING && v->restart_at <= now_ns())
				try_start(v);
			if (v->state == SUPERVISED_WAITING)
				next = min_u64(next, v->restart_at);
			alive |= v->state == SUPERVISED_RUNNING || v->state == SUPERVISED_WAITING;
		}
		look_at_the_machine();
		if (!alive) {
			/* The end of init is the kernel's orderly stop. */
			if (service_count != 0 && services[service_count - 1].m == &rescue)
				die("nothing can be started");
			log_line(0, "no service runs: starting a shell, and nothing else");
			add_service(&rescue);
			continue;
		}
		if (msg_recv(endpoint, ntfn, &m, next) != OK)
			continue;
		if (!m.notification) {
			call(&m);
			continue;
		}
		for (unsigned i = 0; i < service_count; i++)
			if ((m.w[0] & BIT(i)) != 0)
				service_ended(&services[i]);
	}
}
