/*
 * Reading the boot manifest: manifest.h.
 *
 * What a node may hold is a table of fields: name, type, bounds, and where the value goes.  Reading
 * a node is walking its properties and looking each up in the table, so nothing can be there that
 * the table does not know.  Questions about more than one property come after that, by name.
 */
#include "usr/lib/manifest.h"
#include "usr/lib/disk_range.h"
#include "kern/base/bits.h"
#include "kern/base/fmt.h"
#include "kern/base/str.h"
#include "kern/machine/fdt.h"

enum : uint32_t {
	NAME_MAX = 23,
	SHORT_NAME_MAX = 19,
	ARGS_MAX = 500,
	PRIORITY_TOP = 24,
	MS_MAX = 3'600'000
};

enum kind : uint8_t {
	K_TEXT,   /* one string of at most "max" bytes -> const char * */
	K_NUMBER, /* one cell, min .. max -> uint32_t */
	K_CHOICE, /* one of "words" -> its index, uint32_t */
	K_SET,    /* any of "words" -> a bit each, uint32_t */
	K_NAMES,  /* up to "max" short strings -> const char *[] */
	K_DISKS,  /* up to "max" disk ranges, as the text that they are -> const char *[] */
	K_PAIR,   /* two cells, each min .. max -> uint32_t[2] */
	K_CELLS,  /* up to MANIFEST_CELLS cells of at most "max" -> struct manifest_cells */
};

struct field {
	const char *name;
	enum kind kind;
	uint16_t at;		/* offset in the structure */
	uint32_t min, max;
	const char *const *words;	/* ends with NULL */
};

static const char *const restart_words[] = { "always", "never", "limit", NULL };
static const char *const cap_words[] = { "console", "devices", "info", "log", "power", "archive",
	"control", "keep", "trace", "connect", "sockets", "all-disks",
	"packets", "interfaces", NULL };
static const char *const allow_words[] = { "allowed", "forbidden", NULL };
static const char *const doorbell_words[] = { "mediated", "mapped", NULL };
static const char *const domain_words[] = { "none", NULL };
static const char *const fault_words[] = { "report", "restart", NULL };
static const char *const provides_words[] = { "nothing", "block", "net", NULL };
static const char *const consent_words[] = { "not-validated", "fault-reporting-none",
	"interrupt-isolation-none", "reset-none", NULL };

/* Both structures begin with a struct manifest_task. */
#define TASK(member)	offsetof(struct manifest_task, member)
#define SERVICE(member)	offsetof(struct manifest_service, member)
#define DRIVER(member)	offsetof(struct manifest_driver, member)
static_assert(SERVICE(task) == 0 && DRIVER(task) == 0);

static const struct field task_fields[] = {
	{ "program",       K_TEXT,   TASK(program), 1, NAME_MAX, NULL },
	{ "args",          K_TEXT,   TASK(args), 0, ARGS_MAX, NULL },
	{ "priority",      K_NUMBER, TASK(priority), 1, PRIORITY_TOP, NULL },
	{ "pages",         K_NUMBER, TASK(pages), 32, UINT32_MAX, NULL },
	{ "objects",       K_NUMBER, TASK(objects), 8, UINT32_MAX, NULL },
	{ "threads",       K_NUMBER, TASK(threads), 1, 1024, NULL },
	{ "processes",     K_NUMBER, TASK(processes), 0, 65535, NULL },
	{ "vectors",       K_NUMBER, TASK(vectors), 0, 1024, NULL },
	{ "capabilities",  K_SET,    TASK(caps), 0, 0, cap_words },
	{ "restart",       K_CHOICE, TASK(restart.kind), 0, 0, restart_words },
	{ "restart-limit", K_NUMBER, TASK(restart.limit), 1, 1000, NULL },
	{ "backoff-ms",    K_PAIR,   TASK(restart.backoff_ms), 1, MS_MAX, NULL },
	{ "stable-ms",     K_NUMBER, TASK(restart.stable_ms), 0, MS_MAX, NULL },
};
static const struct field service_fields[] = {
	{ "serves",        K_TEXT,   SERVICE(serves), 1, SHORT_NAME_MAX, NULL },
	{ "uses",          K_NAMES,  SERVICE(uses), 1, MANIFEST_USES, NULL },
	{ "least-pages",   K_NUMBER, SERVICE(least_pages), 1, UINT32_MAX, NULL },
	{ "listen",        K_CELLS,  SERVICE(listen), 1, 65535, NULL },
	{ "disks",         K_DISKS,  SERVICE(disks), 1, MANIFEST_DISKS, NULL },
	{ "when",          K_TEXT,   SERVICE(when), 1, NAME_MAX, NULL },
};
static const struct field driver_fields[] = {
	{ "class",          K_CELLS,  DRIVER(classes), 0, 0xffffff, NULL },
	{ "class-mask",     K_NUMBER, DRIVER(class_mask), 1, 0xffffff, NULL },
	{ "ids",            K_CELLS,  DRIVER(ids), 0, 0xffff, NULL },
	{ "provides",       K_CHOICE, DRIVER(provides), 0, 0, provides_words },
	{ "direct_dma",     K_CHOICE, DRIVER(direct_dma), 0, 0, allow_words },
	{ "bounce_buffer",  K_CHOICE, DRIVER(bounce_buffer), 0, 0, allow_words },
	{ "trusted_domain", K_CHOICE, DRIVER(trusted_domain), 0, 0, domain_words },
	{ "doorbell",       K_CHOICE, DRIVER(doorbell), 0, 0, doorbell_words },
	{ "consent",        K_SET,    DRIVER(consent), 0, 0, consent_words },
	{ "on-fault",       K_CHOICE, DRIVER(on_fault), 0, 0, fault_words },
	{ "address-bits",   K_NUMBER, DRIVER(address_bits), 24, 64, NULL },
	{ "fault-limit",    K_NUMBER, DRIVER(fault_limit), 0, 1'000'000, NULL },
};

struct reader {
	const struct fdt *t;
	struct manifest *m;
	manifest_say *say;
	void *arg;
	const char *parent;	/* "services" or "drivers" */
};

/* "manifest: /drivers/nvme: consent: ..."; either name may be NULL. */
static void PRINTF(4, 5)
complain(const struct reader *r, const char *node, const char *property, const char *format, ...)
{
	char line[MANIFEST_LINE];
	size_t n = fmt_buf(line, sizeof(line), "manifest: /%s%s%.40s%s%.40s: ", r->parent,
	    node != NULL ? "/" : "", node != NULL ? node : "", property != NULL ? ": " : "",
	    property != NULL ? property : "");
	va_list ap;

	va_start(ap, format);
	if (n < sizeof(line))
		fmt_vbuf(line + n, sizeof(line) - n, format, ap);
	va_end(ap);
	/* Names come from the blob: nothing of them may steer a terminal. */
	for (char *p = line; *p != 0; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	r->m->refused++;
	r->say(r->arg, line);
}

/* The words, for a complaint. */
static const char *
list(const char *const *words, char *to, size_t size)
{
	size_t n = 0;

	to[0] = 0;
	for (; *words != NULL && n < size; words++)
		n += fmt_buf(to + n, size - n, "%s%s", n != 0 ? ", " : "", *words);
	return to;
}

static bool
printable(const char *p, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		if (p[i] < ' ' || p[i] > '~')
			return false;
	return true;
}

/* The next string of a list that begins at *at; NULL at the end or when it is not ended.  *n is its
 * length. */
static const char *
next_string(const char *value, uint32_t len, uint32_t *at, uint32_t *n)
{
	const char *s = value + *at;

	if (*at >= len)
		return NULL;
	*n = (uint32_t)strnlen(s, len - *at);
	if (*n == len - *at)
		return NULL;
	*at += *n + 1;
	return s;
}

static uint32_t
word_index(const char *const *words, const char *s)
{
	for (uint32_t i = 0; words[i] != NULL; i++)
		if (strcmp(words[i], s) == 0)
			return i;
	return UINT32_MAX;
}

/* Values of type string and list of strings. */
static bool
read_words(const struct reader *r, const char *node, const struct field *f, const char *value,
    uint32_t len, void *to)
{
	uint32_t at = 0, n = 0, count = 0, bits = 0,
		 most = f->kind == K_TEXT ? f->max :
		f->kind == K_DISKS	? DISK_RANGE_MAX :
					  SHORT_NAME_MAX;
	struct disk_range range;
	char valid[140];
	const char *s;

	if (len == 0 || value[len - 1] != 0) {
		complain(r, node, f->name, "must be a string");
		return false;
	}
	while ((s = next_string(value, len, &at, &n)) != NULL) {
		if (!printable(s, n) ||
		    (f->words == NULL && (n < (f->kind == K_TEXT ? f->min : 1) || n > most))) {
			complain(
			    r, node, f->name, "must have at most %u printable characters", most);
			return false;
		}
		if (count != 0 && (f->kind == K_TEXT || f->kind == K_CHOICE)) {
			complain(r, node, f->name, "must be one string");
			return false;
		}
		if (count == f->max && (f->kind == K_NAMES || f->kind == K_DISKS)) {
			complain(r, node, f->name, "more than %u names", f->max);
			return false;
		}
		if (f->kind == K_DISKS && !disk_range_parse(s, &range)) {
			complain(r, node, f->name,
			    "\"%.60s\" is none; NAME=DISK[@OFFSET+LENGTH][,ro], DISK as nvme0n1",
			    s);
			return false;
		}
		if (f->words != NULL) {
			uint32_t i = word_index(f->words, s);

			if (i == UINT32_MAX) {
				complain(r, node, f->name, "\"%.24s\" is not known; valid: %s", s,
				    list(f->words, valid, sizeof(valid)));
				return false;
			}
			bits |= f->kind == K_SET ? 1u << i : i;
		} else {
			((const char **)to)[count] = s;
		}
		count++;
	}
	if (f->words != NULL)
		*(uint32_t *)to = bits;
	return true;
}

static bool
read_numbers(const struct reader *r, const char *node, const struct field *f, const uint8_t *value,
    uint32_t len, void *to)
{
	uint32_t want = f->kind == K_NUMBER ? 1 : f->kind == K_PAIR ? 2 : 0;
	uint32_t *out = to, n = len / 4;

	if (f->kind == K_CELLS) {
		struct manifest_cells *c = to;

		out = c->v;
		c->count = n < MANIFEST_CELLS ? n : MANIFEST_CELLS;
	}
	if (len % 4 != 0 || n == 0 || (want != 0 && n != want) || n > MANIFEST_CELLS) {
		if (want != 0)
			complain(r, node, f->name, "must be %s",
			    want == 1 ? "one number" : "two numbers");
		else
			complain(r, node, f->name, "must be 1 to %u numbers", MANIFEST_CELLS);
		return false;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint64_t v = fdt_cells(value + 4 * i, 1);

		if (v < f->min || v > f->max) {
			complain(r, node, f->name, "%llu is not in %u .. %u", (unsigned long long)v,
			    f->min, f->max);
			return false;
		}
		out[i] = (uint32_t)v;
	}
	return true;
}

static const struct field *
find_field(const struct field *f, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(f[i].name, name) == 0)
			return &f[i];
	return NULL;
}

/* All properties of a node, into the structure.  False when something was wrong: all of it is said.
 */
static bool
read_node(
    const struct reader *r, uint32_t node, const struct field *own, size_t own_count, void *to)
{
	struct manifest_task *task = to;
	const char *name = fdt_name(r->t, node), *property;
	uint32_t cursor = 0, len, seen = 0;
	const void *value;
	bool good = true;

	task->node = name;
	task->args = "";
	task->priority = 10;
	task->pages = 4096;
	task->objects = 1024;
	task->threads = 16;
	task->vectors = own == driver_fields ? 16 : 0;
	task->restart = (struct restart_policy){ RESTART_LIMIT, 5, { 100, 10000 }, 10000 };
	while (fdt_next_prop(r->t, node, &cursor, &property, &value, &len)) {
		const struct field *f = find_field(task_fields, ARRAY_SIZE(task_fields), property);
		uint32_t bit = 0;

		if (f != NULL) {
			bit = 1u << (f - task_fields);
		} else {
			f = find_field(own, own_count, property);
			if (f != NULL)
				bit = 1u << (ARRAY_SIZE(task_fields) + (size_t)(f - own));
		}
		if (f == NULL) {
			complain(r, name, property, "unknown property");
			good = false;
		} else if ((seen & bit) != 0) {
			complain(r, name, property, "is there twice");
			good = false;
		} else if (f->kind == K_NUMBER || f->kind == K_PAIR || f->kind == K_CELLS) {
			good &= read_numbers(r, name, f, value, len, (char *)to + f->at);
		} else {
			good &= read_words(r, name, f, value, len, (char *)to + f->at);
		}
		seen |= bit;
	}
	if (fdt_child(r->t, node) != FDT_NONE) {
		complain(r, name, NULL, "unknown node \"%.40s\" in it",
		    fdt_name(r->t, fdt_child(r->t, node)));
		good = false;
	}
	if (!good)
		return false;
	if (task->program == NULL) {
		complain(r, name, "program", "missing");
		return false;
	}
	if (task->restart.backoff_ms[0] > task->restart.backoff_ms[1]) {
		complain(r, name, "backoff-ms", "the first is longer than the last");
		return false;
	}
	return true;
}
static_assert(ARRAY_SIZE(task_fields) + ARRAY_SIZE(driver_fields) <= 32);
static_assert(ARRAY_SIZE(task_fields) + ARRAY_SIZE(service_fields) <= 32);

static void
read_service(const struct reader *r, uint32_t node)
{
	struct manifest *m = r->m;
	struct manifest_service s = { 0 };

	if (!read_node(r, node, service_fields, ARRAY_SIZE(service_fields), &s))
		return;
	for (uint32_t i = 0; i < m->service_count; i++) {
		if (s.serves != NULL && m->service[i].serves != NULL &&
		    strcmp(s.serves, m->service[i].serves) == 0) {
			complain(r, s.task.node, "serves", "%s serves \"%s\" already",
			    m->service[i].task.node, s.serves);
			return;
		}
	}
	if (m->service_count == MANIFEST_SERVICES) {
		complain(r, s.task.node, NULL, "more than %u services", MANIFEST_SERVICES);
		return;
	}
	m->service[m->service_count++] = s;
}

static void
read_driver(const struct reader *r, uint32_t node)
{
	const uint32_t grantable = CAP_INFO | CAP_LOG;
	struct manifest *m = r->m;
	struct manifest_driver d = { .class_mask = 0xffffff };

	if (!read_node(r, node, driver_fields, ARRAY_SIZE(driver_fields), &d))
		return;
	if (d.classes.count == 0 && d.ids.count == 0)
		complain(r, d.task.node, "class", "missing, and \"ids\" too: it matches nothing");
	else if (d.ids.count % 2 != 0)
		complain(r, d.task.node, "ids", "must be pairs of vendor and device");
	else if ((d.task.caps & ~grantable) != 0)
		complain(r, d.task.node, "capabilities",
		    "a driver may have \"info\" and \"log\", and its device");
	else if (m->driver_count == MANIFEST_DRIVERS)
		complain(r, d.task.node, NULL, "more than %u drivers", MANIFEST_DRIVERS);
	else
		m->driver[m->driver_count++] = d;
}

/* Every name that is used must be served by somebody: said, and left out of the list. */
static void
check_uses(const struct reader *r)
{
	struct manifest *m = r->m;

	for (uint32_t i = 0; i < m->service_count; i++) {
		struct manifest_service *s = &m->service[i];
		uint32_t kept = 0;

		for (uint32_t u = 0; u < MANIFEST_USES && s->uses[u] != NULL; u++) {
			const char *name = s->uses[u];
			bool found = false;

			for (uint32_t k = 0; k < m->service_count; k++)
				found |= m->service[k].serves != NULL &&
				    strcmp(m->service[k].serves, name) == 0;
			if (found)
				s->uses[kept++] = name;
			else
				complain(r, s->task.node, "uses", "no service serves \"%s\"", name);
		}
		for (; kept < MANIFEST_USES; kept++)
			s->uses[kept] = NULL;
	}
}

enum status
manifest_read(struct manifest *m, const void *blob, size_t len, manifest_say *say, void *arg)
{
	struct fdt t;
	struct reader r = { .t = &t, .m = m, .say = say, .arg = arg, .parent = "" };
	uint32_t cursor = 0, value_len;
	const char *name;
	const void *value;
	bool seen[2] = { false };

	*m = (struct manifest){ 0 };
	if (blob == NULL || fdt_open(&t, blob, len) != OK) {
		complain(&r, NULL, NULL, "not a device tree");
		return E_CORRUPT;
	}
	while (fdt_next_prop(&t, FDT_ROOT, &cursor, &name, &value, &value_len))
		complain(&r, NULL, name, "unknown property");
	for (uint32_t n = fdt_child(&t, FDT_ROOT); n != FDT_NONE; n = fdt_sibling(&t, n)) {
		bool services = strcmp(fdt_name(&t, n), "services") == 0;
		bool drivers = strcmp(fdt_name(&t, n), "drivers") == 0;

		r.parent = "";
		if ((!services && !drivers) || seen[services]) {
			complain(&r, NULL, NULL, "%s node \"%.40s\"",
			    services || drivers ? "second" : "unknown", fdt_name(&t, n));
			continue;
		}
		seen[services] = true;
		r.parent = services ? "services" : "drivers";
		cursor = 0;
		while (fdt_next_prop(&t, n, &cursor, &name, &value, &value_len))
			complain(&r, NULL, name, "unknown property");
		for (uint32_t c = fdt_child(&t, n); c != FDT_NONE; c = fdt_sibling(&t, c)) {
			if (services)
				read_service(&r, c);
			else
				read_driver(&r, c);
		}
	}
	r.parent = "services";
	check_uses(&r);
	return OK;
}

bool
manifest_matches(
    const struct manifest_driver *d, uint32_t class_code, uint16_t vendor, uint16_t device)
{
	for (uint32_t i = 0; i < d->classes.count; i++)
		if ((class_code & d->class_mask) == (d->classes.v[i] & d->class_mask))
			return true;
	for (uint32_t i = 0; i + 1 < d->ids.count; i += 2)
		if (d->ids.v[i] == vendor && d->ids.v[i + 1] == device)
			return true;
	return false;
}

const char *
manifest_word(const char *cmdline, const char *word, size_t *len)
{
	size_t n = strlen(word);

	for (const char *p = cmdline; n != 0 && *p != 0; p++) {
		if ((p != cmdline && p[-1] != ' ') || strncmp(p, word, n) != 0)
			continue;
		p += n;
		*len = 0;
		if (*p == 0 || *p == ' ')
			return p;
		if (*p != '=')
			continue;
		p++;
		while (p[*len] != 0 && p[*len] != ' ')
			++*len;
		return p;
	}
	return NULL;
}
