/*
 * The device manager: finds functions that the manifest has a driver for, claims them, starts the drivers, and starts them
 * again when they end.
 *
 * A driver gets its device, an endpoint to serve, and nothing else.  The manager keeps a receive handle to each endpoint,
 * so that clients' handles live on while a driver is replaced; and it leaves process and endpoint with init, so that its own
 * successor finds running drivers and adopts them.
 */
#include "kern/base/bits.h"
#include "kern/machine/fdt.h"
#include "usr/lib/devmgr.h"

enum { DRIVERS_MAX = 16, RULES_MAX = 8 };
enum : uint64_t { RETRY_NS = 20 * NS_PER_MS, CLAIM_NS = 10 * NS_PER_S };

struct rule {
	uint32_t class_code, class_mask, flags;
	const char *program;
	uint8_t priority;
	uint64_t pages, objects;
	const char *args;
};

struct driver {
	const struct rule *rule;
	uint32_t function;		/* segment << 16 | rid */
	handle_t process, endpoint;
	uint64_t restarts, retry_at, give_up_at;
	bool running;
	const char *args;
};

static struct rule rules[RULES_MAX];
static unsigned rule_count;
static struct driver drivers[DRIVERS_MAX];
static unsigned driver_count;
static handle_t kernel, init, ntfn, service;
static const uint8_t *archive;
static uint64_t archive_len;

static void
read_manifest(void)
{
	struct fdt t;
	uint64_t len;
	const uint8_t *blob = archive_file(archive, archive_len, "manifest.dtb", &len);
	uint32_t node;

	if (blob == NULL || fdt_open(&t, blob, len) != OK) {
		log_line(0, "the boot archive has no readable manifest.dtb: no driver is started");
		return;
	}
	node = fdt_path(&t, "/drivers");
	if (node == FDT_NONE)
		return;
	for (node = fdt_child(&t, node); node != FDT_NONE && rule_count < RULES_MAX; node = fdt_sibling(&t, node)) {
		struct rule *r = &rules[rule_count];

		r->program = fdt_string(&t, node, "program");
		r->class_code = fdt_u32(&t, node, "class", 0);
		r->class_mask = fdt_u32(&t, node, "class-mask", 0xffffff);
		r->priority = (uint8_t)fdt_u32(&t, node, "priority", 15);
		r->pages = fdt_u32(&t, node, "pages", 4096);
		r->objects = fdt_u32(&t, node, "objects", 2048);
		r->args = fdt_string(&t, node, "args");
		if (fdt_has_string(&t, node, "doorbell", "mapped"))
			r->flags |= CLAIM_MAPPED_DOORBELLS;
		if (fdt_has_string(&t, node, "direct_dma", "forbidden"))
			r->flags |= CLAIM_FORBID_DIRECT;
		if (fdt_has_string(&t, node, "bounce_buffer", "forbidden"))
			r->flags |= CLAIM_FORBID_BROKERED;
		if (fdt_has_string(&t, node, "consent", "not-validated"))
			r->flags |= CLAIM_CONSENT_UNVALIDATED;
		if (fdt_has_string(&t, node, "consent", "interrupt-isolation-none"))
			r->flags |= CLAIM_CONSENT_INTERRUPTS;
		if (fdt_has_string(&t, node, "consent", "fault-reporting-none"))
			r->flags |= CLAIM_CONSENT_SILENT;
		if (r->program == NULL)
			log_line(1, "manifest: %s names no program: ignored", fdt_name(&t, node));
		else
			rule_count++;
	}
}

static void
keep(struct driver *d)
{
	struct msg m = { .label = INIT_KEEP, .words = 4, .handles = 3,
		.w = { d->process, d->endpoint, d->function, (uint64_t)(d - drivers) } };

	(void)msg_call(init, &m, now_ns() + NS_PER_S);
}

/* E_BUSY: the end of the claim before is still under way. */
static enum status
start_driver(struct driver *d)
{
	uint64_t device, len;
	const uint8_t *image = archive_file(archive, archive_len, d->rule->program, &len);
	struct spawn s = {
		.name = d->rule->program, .image = image, .image_len = len, .pages = d->rule->pages,
		.objects = d->rule->objects, .priority = d->rule->priority, .count = 3,
		.args = d->args != NULL ? d->args : d->rule->args,
	};
	enum status e;

	if (image == NULL)
		return E_NOT_FOUND;
	e = sys_device_claim(kernel, d->function, d->rule->flags, &device);
	if (e != OK)
		return e;
	s.give[0].name = "device";
	s.give[0].handle = (handle_t)device;
	s.give[1].name = "endpoint";
	s.give[1].handle = d->endpoint;
	s.give[1].rights = RIGHT_RECV;
	s.give[2].name = "kernel";
	s.give[2].handle = kernel;
	s.give[2].rights = KERNEL_LOG;
	e = spawn(&s, &d->process);
	/* The driver's is the only handle: the claim ends with it (D7). */
	(void)sys_handle_close(device);
	if (e != OK)
		return e;
	d->running = true;
	(void)sys_watch(d->process, ntfn, BIT((unsigned)(d - drivers)));
	keep(d);
	return OK;
}

static void
try_start(struct driver *d)
{
	enum status e = start_driver(d);

	d->retry_at = DEADLINE_NEVER;
	if (e == E_BUSY && now_ns() < d->give_up_at) {
		d->retry_at = now_ns() + RETRY_NS;
	} else if (e != OK) {
		log_line(e == E_REFUSED ? 1 : 0, "device %02x:%02x.%x: %s is not started: %s", d->function >> 8 & 0xff,
		    d->function >> 3 & 31, d->function & 7, d->rule->program, status_text(e));
	}
}

static struct driver *
add_driver(const struct rule *r, uint32_t function)
{
	struct driver *d = &drivers[driver_count];
	uint64_t h;

	if (driver_count == DRIVERS_MAX || sys_endpoint_create(&h) != OK)
		return NULL;
	*d = (struct driver){ .rule = r, .function = function, .endpoint = (handle_t)h, .retry_at = DEADLINE_NEVER };
	driver_count++;
	return d;
}

/* Drivers that an earlier manager started and that still run. */
static void
adopt(void)
{
	for (uint64_t n = 0; ; n++) {
		struct msg m = { .label = INIT_KEPT, .words = 1, .w = { n } };
		struct process_info p;
		struct driver *d;
		uint64_t size;

		if (msg_call(init, &m, now_ns() + NS_PER_S) != OK || m.label != OK || rule_count == 0 ||
		    driver_count == DRIVERS_MAX)
			return;
		d = &drivers[driver_count++];
		*d = (struct driver){ .rule = &rules[0], .function = (uint32_t)m.w[2], .process = (handle_t)m.w[0],
			.endpoint = (handle_t)m.w[1], .running = true, .retry_at = DEADLINE_NEVER };
		if (sys_info(d->process, INFO_PROCESS, 0, (uint64_t)(uintptr_t)&p, sizeof(p), &size) == OK)
			for (unsigned i = 0; i < rule_count; i++)
				if (strcmp(rules[i].program, p.name) == 0)
					d->rule = &rules[i];
		log_line(2, "adopted %s for device %02x:%02x.%x", d->rule->program, d->function >> 8 & 0xff,
		    d->function >> 3 & 31, d->function & 7);
		(void)sys_watch(d->process, ntfn, BIT((unsigned)(d - drivers)));
	}
}

static void
match(void)
{
	struct function_info f;
	uint64_t size;

	for (uint64_t i = 0; sys_info(kernel, INFO_FUNCTION, i, (uint64_t)(uintptr_t)&f, sizeof(f), &size) == OK; i++) {
		uint32_t id = (uint32_t)f.segment << 16 | f.rid;
		bool known = false;

		for (unsigned k = 0; k < driver_count; k++)
			known |= drivers[k].function == id;
		for (unsigned k = 0; k < rule_count && !known; k++) {
			if ((f.class_code & rules[k].class_mask) == rules[k].class_code) {
				struct driver *d = add_driver(&rules[k], id);

				if (d != NULL)
					try_start(d);
				known = true;
			}
		}
	}
}

static void
print_end(struct driver *d)
{
	static struct epitaph e;
	uint64_t n, len = 0, offset = 0;
	const uint8_t *image = archive_file(archive, archive_len, d->rule->program, &len);

	if (sys_info(d->process, INFO_EPITAPH, 0, (uint64_t)(uintptr_t)&e, sizeof(e), &n) != OK)
		return;
	log_line(1, "%s ended: %s", e.name, e.reason == EXIT_FAULT ? fault_kind_text(e.fault.kind) :
	    e.reason == EXIT_KILLED ? "killed" : "exit");
	for (uint32_t i = 0; e.reason == EXIT_FAULT && i < e.frame_count; i++) {
		const char *name = image != NULL ? symbol_of(image, len, e.frame[i], &offset) : NULL;

		log_line(0, "  #%u %016llx %s+0x%llx", i, (unsigned long long)e.frame[i], name != NULL ? name : "?",
		    (unsigned long long)offset);
	}
}

static void
driver_ended(struct driver *d)
{
	if (!d->running)
		return;
	print_end(d);
	(void)sys_handle_close(d->process);
	d->process = HANDLE_NONE;
	d->running = false;
	d->restarts++;
	d->give_up_at = now_ns() + CLAIM_NS;
	d->retry_at = now_ns();
}

static void
call(struct msg *m)
{
	static uint64_t badge;
	struct process_info p;
	enum status s = E_NOT_FOUND;
	uint64_t n, h;

	m->handles = 0;
	switch (m->label) {
	case DEVMGR_BLOCK:
		if (m->w[0] < driver_count) {
			struct driver *d = &drivers[m->w[0]];

			/* A badge of its own for each handle: servers tell clients apart by it.  Unique over restarts of this one. */
			badge = max_u64(badge + 1, now_ns());
			s = sys_endpoint_mint(d->endpoint, badge, &h);
			m->w[1] = m->w[0];
			m->w[0] = h;
			m->w[2] = 0;
			if (d->running && sys_info(d->process, INFO_PROCESS, 0, (uint64_t)(uintptr_t)&p, sizeof(p), &n) == OK)
				m->w[2] = p.id;
			m->w[3] = d->restarts;
			m->w[4] = d->function;
			m->handles = s == OK;
		}
		break;
	case DEVMGR_KILL:
	case DEVMGR_ROGUE:
		for (unsigned i = 0; i < driver_count; i++) {
			struct driver *d = &drivers[i];

			if (!d->running)
				continue;
			if (m->label == DEVMGR_ROGUE ? i == m->w[0] :
			    sys_info(d->process, INFO_PROCESS, 0, (uint64_t)(uintptr_t)&p, sizeof(p), &n) == OK && p.id == m->w[0]) {
				if (m->label == DEVMGR_ROGUE)
					d->args = "rogue";
				s = sys_process_kill(d->process, 0);
			}
		}
		break;
	default:
		s = E_INVALID;
	}
	h = m->handles != 0 ? m->w[0] : HANDLE_NONE;
	m->label = s;
	m->words = 5;
	(void)msg_reply(m);
	if (h != HANDLE_NONE)
		(void)sys_handle_close(h);	/* the client has its own now */
}

int
main(void)
{
	uint64_t h, va, pages, flags;

	kernel = start_handle("kernel");
	init = start_handle("init");
	service = start_handle("devmgr");
	if (sys_mem_info(start_handle("archive"), &pages, &flags) != OK ||
	    sys_mem_map(HANDLE_NONE, start_handle("archive"), 0, pages * PAGE_SIZE, 0, 1, &va) != OK)
		die("no boot archive");
	archive = (const uint8_t *)(uintptr_t)va;
	archive_len = pages * PAGE_SIZE;
	if (sys_ntfn_create(&h) != OK)
		die("no notification");
	ntfn = (handle_t)h;
	read_manifest();
	adopt();
	match();
	for (;;) {
		uint64_t next = DEADLINE_NEVER;
		struct msg m;
		enum status s;

		for (unsigned i = 0; i < driver_count; i++) {
			if (drivers[i].retry_at <= now_ns())
				try_start(&drivers[i]);
			next = min_u64(next, drivers[i].retry_at);
		}
		s = msg_recv(service, ntfn, &m, next);
		if (s != OK)
			continue;
		if (!m.notification) {
			call(&m);
			continue;
		}
		for (unsigned i = 0; i < driver_count; i++)
			if ((m.w[0] & BIT(i)) != 0)
				driver_ended(&drivers[i]);
	}
}
