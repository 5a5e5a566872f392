/*
 * init: the root task.  Starts the device manager and the shell, prints how children ended, restarts what must run, and
 * keeps the device manager's handles to running drivers for its successor.
 */
#include "kern/base/bits.h"
#include "kern/machine/fdt.h"
#include "usr/lib/devmgr.h"

enum { KEEP_MAX = 16 };

struct child {
	const char *program;
	handle_t process;
	uint64_t bit, restarts;
	uint8_t priority;
	uint64_t pages, objects;
};

static struct child children[] = {
	{ .program = "devmgr", .bit = BIT(0), .priority = 20, .pages = 65536, .objects = 100000 },
	{ .program = "shell", .bit = BIT(1), .priority = 10, .pages = 32768, .objects = 20000 },
};
static struct { handle_t process, endpoint; uint64_t function, index; } kept[KEEP_MAX];
static unsigned kept_count;
static handle_t endpoint, devmgr_endpoint, ntfn;
static const uint8_t *archive;
static handle_t hostile;

static void
print_epitaph(handle_t process, const uint8_t *image, uint64_t len)
{
	static struct epitaph e;
	uint64_t n, offset = 0;

	if (sys_info(process, INFO_EPITAPH, 0, (uint64_t)(uintptr_t)&e, sizeof(e), &n) != OK)
		return;
	if (e.reason == EXIT_KILLED) {
		log_line(1, "%s was killed", e.name);
		return;
	}
	if (e.reason != EXIT_FAULT) {
		log_line(2, "%s ended with exit code %llu", e.name, (unsigned long long)e.exit_code);
		return;
	}
	log_line(0, "%s died: %s, address 0x%llx", e.name, fault_kind_text(e.fault.kind), (unsigned long long)e.fault.address);
	for (uint32_t i = 0; i + 2 < e.reg_count; i += 3)
		log_line(0, "  %-6s %016llx  %-6s %016llx  %-6s %016llx", e.reg[i].name, (unsigned long long)e.reg[i].value,
		    e.reg[i + 1].name, (unsigned long long)e.reg[i + 1].value, e.reg[i + 2].name,
		    (unsigned long long)e.reg[i + 2].value);
	for (uint32_t i = 0; i < e.frame_count; i++) {
		const char *name = image != NULL ? symbol_of(image, len, e.frame[i], &offset) : NULL;

		log_line(0, "  #%u %016llx %s+0x%llx", i, (unsigned long long)e.frame[i], name != NULL ? name : "?",
		    (unsigned long long)(name != NULL ? offset : 0));
	}
}

static enum status
start_child(struct child *c, const char *args)
{
	uint64_t len, h;
	const uint8_t *image = archive_file(archive, boot_info->archive_len, c->program, &len);
	bool manager = c == &children[0];
	struct spawn s = {
		.name = c->program, .image = image, .image_len = len, .args = args, .pages = c->pages,
		.objects = c->objects, .priority = c->priority,
	};
	enum status e;

	if (image == NULL)
		return E_NOT_FOUND;
	s.give[s.count].name = "kernel";
	s.give[s.count].rights = manager ? KERNEL_DEVICES | KERNEL_INFO | KERNEL_LOG | RIGHT_GIVE :
	    KERNEL_CONSOLE | KERNEL_INFO | KERNEL_LOG | KERNEL_POWER | KERNEL_TRACE | RIGHT_GIVE;
	s.give[s.count++].handle = boot_info->kernel;
	if (manager) {
		s.give[s.count].name = "archive";
		s.give[s.count++].handle = boot_info->archive;
	}
	s.give[s.count].name = "devmgr";
	s.give[s.count].rights = manager ? RIGHT_RECV | RIGHT_GIVE : RIGHT_CALL | RIGHT_GIVE;
	s.give[s.count++].handle = devmgr_endpoint;
	e = sys_endpoint_mint(endpoint, manager ? 1 : 2, &h);
	if (e != OK)
		return e;
	s.give[s.count].name = "init";
	s.give[s.count++].handle = (handle_t)h;
	e = spawn(&s, &c->process);
	(void)sys_handle_close(h);
	if (e == OK)
		e = sys_watch(c->process, ntfn, c->bit);
	return e;
}

/* "hostile=SEED" on the command line: a program that tries everything, with as little as a program can have. */
static void
start_hostile(void)
{
	const char *p = boot_info->cmdline;
	uint64_t len, h;
	struct spawn s = { .name = "hostile", .pages = 2048, .objects = 200, .priority = 5 };

	while (strncmp(p, "hostile=", 8) != 0)
		if (*p++ == 0)
			return;
	s.args = p + 8;
	s.image = archive_file(archive, boot_info->archive_len, "hostile", &len);
	s.image_len = len;
	if (s.image == NULL || sys_endpoint_create(&h) != OK)
		return;
	s.give[0].name = "kernel";
	s.give[0].handle = boot_info->kernel;
	s.give[0].rights = KERNEL_INFO | KERNEL_LOG | RIGHT_GIVE;
	s.give[1].name = "endpoint";
	s.give[1].handle = (handle_t)h;
	s.count = 2;
	if (spawn(&s, &hostile) == OK)
		(void)sys_watch(hostile, ntfn, BIT(10));
	(void)sys_handle_close(h);
}

static void
child_ended(struct child *c)
{
	uint64_t len = 0;
	const uint8_t *image = archive_file(archive, boot_info->archive_len, c->program, &len);
	enum status s;

	print_epitaph(c->process, image, len);
	(void)sys_handle_close(c->process);
	c->process = HANDLE_NONE;
	c->restarts++;
	s = start_child(c, "");
	if (s != OK)
		log_line(0, "%s cannot be started again: %s", c->program, status_text(s));
}

static void
call(struct msg *m)
{
	struct process_info p;
	enum status s = E_NOT_FOUND;
	uint64_t n;

	switch (m->label) {
	case INIT_KILL:
		for (unsigned i = 0; i < ARRAY_SIZE(children); i++)
			if (sys_info(children[i].process, INFO_PROCESS, 0, (uint64_t)(uintptr_t)&p, sizeof(p), &n) == OK &&
			    p.id == m->w[0])
				s = sys_process_kill(children[i].process, 0);
		m->handles = 0;
		break;
	case INIT_KEEP: {
		unsigned i;

		for (i = 0; i < kept_count && kept[i].index != m->w[3]; i++)
			;
		if (m->badge != 1 || i == KEEP_MAX) {
			s = E_REFUSED;
			break;
		}
		if (i < kept_count) {
			(void)sys_handle_close(kept[i].process);
			(void)sys_handle_close(kept[i].endpoint);
		} else {
			kept_count++;
		}
		kept[i].process = (handle_t)m->w[0];
		kept[i].endpoint = (handle_t)m->w[1];
		kept[i].function = m->w[2];
		kept[i].index = m->w[3];
		m->handles = 0;
		s = OK;
		break;
	}
	case INIT_KEPT:
		if (m->badge == 1 && m->w[0] < kept_count) {
			unsigned i = (unsigned)m->w[0];

			m->w[0] = kept[i].process;
			m->w[1] = kept[i].endpoint;
			m->w[2] = kept[i].function;
			m->w[3] = kept[i].index;
			m->handles = 3;
			s = OK;
		}
		break;
	default:
		s = E_INVALID;
	}
	if (s != OK)
		m->handles = 0;
	m->label = s;
	m->words = 4;
	(void)msg_reply(m);
}

int
main(void)
{
	uint64_t h;
	enum status s;

	archive = (const uint8_t *)(uintptr_t)boot_info->archive_va;
	if (sys_ntfn_create(&h) != OK)
		return 1;
	ntfn = (handle_t)h;
	if (sys_endpoint_create(&h) != OK)
		return 1;
	endpoint = (handle_t)h;
	if (sys_endpoint_create(&h) != OK)
		return 1;
	devmgr_endpoint = (handle_t)h;
	for (unsigned i = 0; i < ARRAY_SIZE(children); i++) {
		s = start_child(&children[i], boot_info->cmdline);
		if (s != OK)
			log_line(0, "%s does not start: %s", children[i].program, status_text(s));
	}
	start_hostile();
	for (;;) {
		struct msg m;

		s = msg_recv(endpoint, ntfn, &m, DEADLINE_NEVER);
		if (s != OK)
			continue;
		if (!m.notification) {
			call(&m);
			continue;
		}
		for (unsigned i = 0; i < ARRAY_SIZE(children); i++)
			if ((m.w[0] & children[i].bit) != 0)
				child_ended(&children[i]);
		if ((m.w[0] & BIT(10)) != 0) {
			uint64_t len = 0;
			const uint8_t *image = archive_file(archive, boot_info->archive_len, "hostile", &len);

			print_epitaph(hostile, image, len);
		}
	}
}
