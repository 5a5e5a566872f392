/*
 * Start-up, printing, memory, messages.
 */
#include "usr/lib/devmgr.h"

const struct start_block *start_info;
const struct boot_info *boot_info;
static handle_t kernel_handle;

NORETURN void start(void *info, uint64_t len);
NORETURN void __stack_chk_fail(void);
uintptr_t __stack_chk_guard = 0x7c3f9a1be5d20600;

void
__stack_chk_fail(void)
{
	die("stack smashed in %p", __builtin_return_address(0));
}

__attribute__((no_stack_protector)) void
start(void *info, uint64_t len)
{
	if (((const struct boot_info *)info)->magic == BOOT_MAGIC &&
	    len == sizeof(struct boot_info)) {
		boot_info = info;
		kernel_handle = boot_info->kernel;
	} else {
		start_info = info;
		kernel_handle = start_handle("kernel");
	}
	__stack_chk_guard ^= now_ns() * 0x9e3779b97f4a7c15 & ~0xffull;
	len = (uint64_t)main();
	print_flush();
	(void)sys_process_exit(len);
	for (;;)
		;
}

handle_t
start_handle(const char *name)
{
	for (uint32_t i = 0; start_info != NULL && i < start_info->count && i < START_NAMES; i++)
		if (strcmp(start_info->handle[i].name, name) == 0)
			return start_info->handle[i].handle;
	return HANDLE_NONE;
}

void
print_raw(const char *text, size_t len)
{
	while (len != 0) {
		uint64_t n = 0;

		if (sys_console(kernel_handle, 0, (uint64_t)(uintptr_t)text, len, &n) != OK ||
		    n == 0)
			return;
		text += n;
		len -= n;
	}
}

static char kept[1024];
static size_t kept_len;

void
print_flush(void)
{
	print_raw(kept, kept_len);
	kept_len = 0;
}

void
print(const char *format, ...)
{
	char buffer[512];
	va_list ap;
	size_t n;

	va_start(ap, format);
	n = fmt_vbuf(buffer, sizeof(buffer), format, ap);
	va_end(ap);
	if (n >= sizeof(buffer))
		n = sizeof(buffer) - 1;
	if (kept_len + n > sizeof(kept))
		print_flush();
	memcpy(kept + kept_len, buffer, n);
	kept_len += n;
	if (kept_len != 0 && kept[kept_len - 1] == '\n')
		print_flush();
}

void
log_line(unsigned level, const char *format, ...)
{
	char buffer[220];
	uint64_t r0, r1;
	va_list ap;
	size_t n;

	va_start(ap, format);
	n = fmt_vbuf(buffer, sizeof(buffer), format, ap);
	va_end(ap);
	(void)sys_log(kernel_handle, 0, level, (uint64_t)(uintptr_t)buffer,
	    n < sizeof(buffer) ? n : sizeof(buffer) - 1, &r0, &r1);
}

void
die(const char *format, ...)
{
	char buffer[200];
	uint64_t r0, r1;
	va_list ap;
	size_t n;

	va_start(ap, format);
	n = fmt_vbuf(buffer, sizeof(buffer), format, ap);
	va_end(ap);
	(void)sys_log(kernel_handle, 0, 0, (uint64_t)(uintptr_t)buffer,
	    n < sizeof(buffer) ? n : sizeof(buffer) - 1, &r0, &r1);
	(void)sys_process_exit(1);
	for (;;)
		;
}

void
service_ready(void)
{
	handle_t init = start_handle("init"), manager = start_handle("devmgr");
	struct msg m = { .label = init != HANDLE_NONE ? INIT_READY : DEVMGR_READY };

	if (init != HANDLE_NONE)
		manager = init;

	if (manager != HANDLE_NONE)
		(void)msg_call(
		    manager, &m, now_ns() + 5 * NS_PER_S); /* only the measurement is lost */
}

uint64_t
now_ns(void)
{
	uint64_t t = 0;

	(void)sys_clock(&t);
	return t;
}

void
sleep_until(uint64_t ns)
{
	uint64_t bits;

	(void)sys_ntfn_wait(HANDLE_NONE, ns, &bits);
}

uint32_t
start_number(const char *name, uint32_t otherwise)
{
	size_t n = strlen(name);

	for (const char *p = start_info->args; *p != 0; p++) {
		uint32_t v = 0;

		if ((p != start_info->args && p[-1] != ' ') || strncmp(p, name, n) != 0 ||
		    p[n] != '=')
			continue;
		for (p += n + 1; *p >= '0' && *p <= '9'; p++)
			v = v * 10 + (uint32_t)(*p - '0');
		return v;
	}
	return otherwise;
}

uint32_t
cpu_count(void)
{
	uint32_t n = 1;
	uint64_t size;

	(void)sys_info(
	    start_handle("kernel"), INFO_CPUS, 0, (uint64_t)(uintptr_t)&n, sizeof(n), &size);
	return n;
}

void *
pages_alloc_as(uint64_t pages, uint32_t flags, handle_t *memory)
{
	uint64_t h, va;

	if (sys_mem_create(pages, flags, &h) != OK)
		return NULL;
	if (sys_mem_map(HANDLE_NONE, h, 0, pages * PAGE_SIZE, 0, 3, &va) != OK) {
		(void)sys_handle_close(h);
		return NULL;
	}
	if (memory != NULL)
		*memory = (handle_t)h;
	else
		(void)sys_handle_close(h);
	return (void *)(uintptr_t)va;
}

void *
pages_alloc(uint64_t pages, handle_t *memory)
{
	return pages_alloc_as(pages, 0, memory);
}

static uint64_t
tag_of(const struct msg *m, uint64_t nr)
{
	return nr | MESSAGE_TAG(m->label, m->words) | FIELD_PREP(TAG_HANDLES, m->handles);
}

static void
take(struct msg *m, const struct sysregs *r)
{
	memcpy(m->w, r->w, sizeof(m->w));
	m->label = FIELD_GET(TAG_LABEL, r->call);
	m->words = (uint32_t)FIELD_GET(TAG_WORDS, r->call);
	m->handles = (uint32_t)FIELD_GET(TAG_HANDLES, r->call);
	m->notification = (r->call & TAG_NOTIFICATION) != 0;
}

enum status
msg_call(handle_t endpoint, struct msg *m, uint64_t deadline)
{
	struct sysregs r = {
		.call = tag_of(m, SYS_ipc_call), .target = endpoint, .deadline = deadline
	};

	memcpy(r.w, m->w, sizeof(r.w));
	sys_full(&r);
	if ((r.call & CALL_NUMBER) == OK)
		take(m, &r);
	return (enum status)(r.call & CALL_NUMBER);
}

enum status
msg_recv(handle_t endpoint, handle_t ntfn, struct msg *m, uint64_t deadline)
{
	struct sysregs r = { .call = SYS_ipc_recv,
		.target = endpoint | (uint64_t)ntfn << 32,
		.deadline = deadline };

	sys_full(&r);
	if ((r.call & CALL_NUMBER) == OK) {
		take(m, &r);
		m->badge = r.target;
		m->token = r.token;
	}
	return (enum status)(r.call & CALL_NUMBER);
}

enum status
msg_reply(struct msg *m)
{
	struct sysregs r = { .call = tag_of(m, SYS_ipc_reply), .token = m->token };

	memcpy(r.w, m->w, sizeof(r.w));
	sys_full(&r);
	return (enum status)(r.call & CALL_NUMBER);
}
