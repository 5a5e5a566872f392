/*
 * The device manager: finds functions that the manifest has a driver for, claims them, starts the
 * drivers, and starts them again when they end, as the manifest says.
 *
 * A driver gets its device, an endpoint to serve, and what the manifest names.  The manager keeps
 * for each
 *
 *   its endpoint, to receive   so that clients' handles live on while a driver is replaced
 *   its device, to supervise   so that it hears of faults and can take the device away, and the
 *                              claim still ends with the driver: only the driver's own handle can
 *                              use it
 *   its process
 *
 * and leaves copies of the three with init, so that its own successor finds running drivers and
 * adopts them.
 *
 * Recovery is measured from the moment a driver began to end to its successor's word that it serves
 * (DEVMGR_READY): it holds the quiesce and reset of the device (D7).  An endpoint that nobody will
 * serve again is revoked, so that clients do not wait for it.
 *
 * Not here cards that come and go (hotplug.c).
 */
#include "usr/devmgr/driver.h"
#include "kern/base/bits.h"
#include "usr/devmgr/ranges.h"
#include "usr/lib/net.h"
#include "usr/lib/sha256.h"

enum {
	FAULT_BITS = 32,
	PLUG_BIT = 63
}; /* notification: bit n the n-th driver ended, bit FAULT_BITS + n its device faulted, bit PLUG_BIT
      functions came or went */
enum : uint64_t {
	RETRY_NS = 20 * NS_PER_MS,
	TEST_NS = NS_PER_S,
	SLOW_TEST_NS = 600 * NS_PER_S, /* a live test with every time-out that a device can name */
	BADGE_DRIVER = 1ull << 32, /* | index: handles that drivers hold; init's badges are small */
};

static struct manifest manifest;
struct driver drivers[DRIVERS_MAX];
unsigned driver_count;
static handle_t kernel, init, ntfn, service, ranges;
static const uint8_t *archive;
static uint64_t archive_len;

/* init says what is wrong in the manifest; twice would be noise. */
static void
say_nothing(void *arg UNUSED, const char *line UNUSED)
{
}

/* "00:01.0", in one of a few buffers. */
const char *
driver_place(uint32_t function)
{
	static char text[4][16];
	static unsigned next;
	char *to = text[next++ % 4];

	fmt_buf(to, sizeof(text[0]), "%02x:%02x.%x", function >> 8 & 0xff, function >> 3 & 31,
	    function & 7);
	return to;
}

static uint32_t
claim_flags(const struct manifest_driver *r)
{
	return FIELD_PREP(CLAIM_ADDRESS_BITS, r->address_bits) |
	    (r->doorbell == POLICY_MAPPED ? CLAIM_MAPPED_DOORBELLS : 0) |
	    ((r->consent & CONSENT_NOT_VALIDATED) != 0 ? CLAIM_CONSENT_UNVALIDATED : 0) |
	    ((r->consent & CONSENT_INTERRUPTS) != 0 ? CLAIM_CONSENT_INTERRUPTS : 0) |
	    ((r->consent & CONSENT_SILENT) != 0 ? CLAIM_CONSENT_SILENT : 0) |
	    ((r->consent & CONSENT_RESET) != 0 ? CLAIM_CONSENT_RESET : 0) |
	    (r->direct_dma == POLICY_BLOCKED ? CLAIM_FORBID_DIRECT : 0) |
	    (r->bounce_buffer == POLICY_BLOCKED ? CLAIM_FORBID_BROKERED : 0);
}

static void
keep(struct driver *d)
{
	struct msg m = { .label = INIT_KEEP,
		.words = 6,
		.handles = 7,
		.w = { d->process, d->endpoint, d->device, d->function, (uint64_t)(d - drivers),
		    d->life.restarts } };

	(void)msg_call(
	    init, &m, now_ns() + NS_PER_S); /* not kept: a successor starts this driver anew */
}

static void
watch(struct driver *d)
{
	unsigned i = (unsigned)(d - drivers);

	(void)sys_watch(d->process, ntfn, BIT(i));
	(void)sys_watch(d->device, ntfn, BIT(FAULT_BITS + i));
}

static void
give(struct spawn *s, const char *name, handle_t h, uint32_t rights)
{
	s->give[s->count].name = name;
	s->give[s->count].handle = h;
	s->give[s->count++].rights = rights;
}

/* E_BUSY: the end of the claim before is still under way.  E_TIMED_OUT: the live test is. */
static enum status
start_driver(struct driver *d)
{
	const struct manifest_task *t = &d->rule->task;
	uint64_t device, mine, me, n;
	struct process_info p;
	struct spawn s = {
		.name = t->program, .limits = manifest_limits(t), .priority = (uint8_t)t->priority,
		.args = d->args != NULL ? d->args : t->args, .restarts = d->life.restarts,
	};
	enum status e;

	s.image = archive_file(archive, archive_len, t->program, &s.image_len);
	if (s.image == NULL) {
		log_line(0, "%s: program \"%s\" is not in the boot archive", t->node, t->program);
		return E_NOT_FOUND;
	}
	e = sys_device_claim(
	    kernel, d->function, claim_flags(d->rule), now_ns() + TEST_NS, &device);
	if (e != OK)
		return e;
	e = sys_handle_dup(device, RIGHT_READ | RIGHT_MANAGE | RIGHT_SUPERVISE | RIGHT_GIVE, &mine);
	if (e != OK)
		goto undo;
	e = sys_endpoint_mint(service, BADGE_DRIVER | (uint64_t)(d - drivers), &me);
	if (e != OK)
		goto undo_mine;
	give(&s, "device", (handle_t)device,
	    RIGHT_READ | RIGHT_WRITE | RIGHT_MANAGE | RIGHT_GIVE | RIGHT_DMA);
	give(&s, "endpoint", d->endpoint, RIGHT_RECV);
	give(&s, "kernel", kernel, RIGHT_GIVE | ((t->caps & CAP_INFO) != 0 ? KERNEL_INFO : 0) |
	    ((t->caps & CAP_LOG) != 0 ? KERNEL_LOG : 0));
	give(&s, "devmgr", (handle_t)me, RIGHT_CALL);
	if (d->rule->provides == PROVIDES_BLOCK)
		give(&s, "ranges", ranges, RIGHT_READ);
	e = spawn_within(&s, &d->process);
	(void)sys_handle_close(me);
	if (e != OK)
		goto undo_mine;
	/* The claim ends with the driver (D7): its handle is the only one that can use the device.
	 */
	(void)sys_handle_close(device);
	(void)sys_handle_close(d->device);
	d->device = (handle_t)mine;
	d->pid =
	    sys_info(d->process, INFO_PROCESS, 0, (uint64_t)(uintptr_t)&p, sizeof(p), &n) == OK ?
	    p.id :
	    0;
	watch(d);
	keep(d);
	return OK;
undo_mine:
	(void)sys_handle_close(mine);
undo:
	(void)sys_handle_close(device);
	return e;
}

void
driver_abandon(struct driver *d, enum supervised_state state)
{
	d->state = state;
	if (d->endpoint == HANDLE_NONE)
		return;
	(void)sys_handle_revoke(d->endpoint, 0);
	(void)sys_handle_close(d->endpoint);
	d->endpoint = HANDLE_NONE;
}

const struct manifest_driver *
driver_rule_of(const struct function_info *f)
{
	for (unsigned k = 0; k < manifest.driver_count; k++)
		if (manifest_matches(&manifest.driver[k], f->class_code, f->vendor, f->device))
			return &manifest.driver[k];
	return NULL;
}

bool
driver_function_at(uint64_t index, struct function_info *f, uint32_t *function)
{
	uint64_t size;

	if (sys_info(kernel, INFO_FUNCTION, index, (uint64_t)(uintptr_t)f, sizeof(*f), &size) != OK)
		return false;
	*function = (uint32_t)f->segment << 16 | f->rid;
	return true;
}

/* It ended, or could not be started: what the policy says. */
static void
ended(struct driver *d, enum exit_reason reason)
{
	const struct manifest_task *t = &d->rule->task;

	d->process = HANDLE_NONE;
	d->pid = 0;
	d->give_up_at = now_ns() + CLAIM_NS;
	switch (supervise_ended(&d->life, &t->restart, reason, now_ns(), &d->start_at)) {
	case SUPERVISE_RESTART:
		d->state = SUPERVISED_WAITING;
		d->give_up_at += d->start_at - min_u64(d->start_at, now_ns());
		if (d->life.quick > 1)
			log_line(1,
			    "device %s: %s ended %u times in a row before it was stable: the next start is in %llu ms",
			    driver_place(d->function), t->program, d->life.quick,
			    (unsigned long long)((d->start_at - min_u64(d->start_at, now_ns())) /
				NS_PER_MS));
		break;
	case SUPERVISE_GIVE_UP:
		driver_abandon(d, SUPERVISED_GIVEN_UP);
		log_line(0,
		    "device %s: %s is given up: it ended %u times in a row before it served, or within %u ms of that",
		    driver_place(d->function), t->program, d->life.quick, t->restart.stable_ms);
		break;
	case SUPERVISE_FINISHED:
		driver_abandon(d, SUPERVISED_FINISHED);
		break;
	}
}

static void
try_start(struct driver *d)
{
	enum status e;

	supervise_started(&d->life);
	e = start_driver(d);
	if (e == OK) {
		d->state = SUPERVISED_STARTING;
		return;
	}
	/* A slow device is not waited for: others have requests meanwhile. */
	if (e == E_TIMED_OUT)
		d->give_up_at = now_ns() + SLOW_TEST_NS;
	if (e == E_TIMED_OUT || (e == E_BUSY && now_ns() < d->give_up_at)) {
		d->start_at = now_ns() + RETRY_NS;
		return;
	}
	if (e == E_NO_DEVICE) {
		hotplug_gone(d);
		return;
	}
	log_line(e == E_REFUSED ? 1 : 0, "device %s: %s is not started: %s",
	    driver_place(d->function), d->rule->task.program, status_text(e));
	if (e == E_NO_MEMORY || e == E_QUOTA) {
		d->life.restarts++;
		ended(d, EXIT_NORMAL);
	} else {
		driver_abandon(d, SUPERVISED_REFUSED); /* trying again would change nothing */
	}
}

static struct driver *
add_driver(const struct manifest_driver *r, uint32_t function)
{
	struct driver *d = drivers;
	uint64_t h;

	/* Those whose card is gone for good have no function. */
	while (d < &drivers[driver_count] && d->function != UINT32_MAX)
		d++;
	if (d == &drivers[DRIVERS_MAX] || sys_endpoint_create(&h) != OK) {
		log_line(0, "device %s: no room for another driver", driver_place(function));
		return NULL;
	}
	*d = (struct driver){ .rule = r,
		.function = function,
		.endpoint = (handle_t)h,
		.state = SUPERVISED_WAITING };
	driver_count += d == &drivers[driver_count];
	return d;
}

/* Drivers that an earlier manager started and that still run. */
static void
adopt(void)
{
	for (uint64_t n = 0; driver_count < DRIVERS_MAX; n++) {
		struct msg m = { .label = INIT_KEPT, .words = 1, .w = { n } };
		const struct manifest_driver *rule = NULL;
		struct function_info f;
		struct process_info p;
		struct driver *d;
		uint32_t function;
		uint64_t size;

		if (msg_call(init, &m, now_ns() + NS_PER_S) != OK || m.label != OK ||
		    m.handles != 7)
			return;
		for (uint64_t i = 0; rule == NULL && driver_function_at(i, &f, &function); i++)
			if (function == m.w[3])
				rule = driver_rule_of(&f);
		if (rule == NULL) {
			for (unsigned i = 0; i < 3; i++)
				(void)sys_handle_close(m.w[i]);
			continue;
		}
		d = &drivers[driver_count++];
		*d = (struct driver){ .rule = rule,
			.function = (uint32_t)m.w[3],
			.process = (handle_t)m.w[0],
			.endpoint = (handle_t)m.w[1],
			.device = (handle_t)m.w[2],
			.state = SUPERVISED_RUNNING,
			.life.restarts = m.w[5] };
		if (sys_info(d->process, INFO_PROCESS, 0, (uint64_t)(uintptr_t)&p, sizeof(p),
			&size) == OK)
			d->pid = p.id;
		supervise_started(&d->life);
		supervise_serves(&d->life, now_ns());
		log_line(
		    2, "adopted %s for device %s", rule->task.program, driver_place(d->function));
		watch(d);
	}
}

/*
 * Another function that a rule is for and that cannot be kept apart from this one: whoever claims
 * one gets both.  False: there is none.
 */
static bool
shares_group(const struct function_info *f, uint32_t function, const struct manifest_driver **rule,
    uint32_t *other)
{
	struct function_info g;

	for (uint64_t i = 0; driver_function_at(i, &g, other); i++) {
		if (*other == function || g.group != f->group || g.unplugged)
			continue;
		*rule = driver_rule_of(&g);
		if (*rule != NULL)
			return true;
	}
	return false;
}

/* Nobody's driver gets what is for another's, and nobody gets half a group. */
static bool
refused_for_its_group(struct driver *d, const struct function_info *f)
{
	const struct manifest_driver *rule;
	uint32_t other;

	if (!shares_group(f, d->function, &rule, &other))
		return false;
	if (rule != d->rule) {
		log_line(0,
		    "device %s: %s is not started: %s, which is for %s, cannot be kept apart from it",
		    driver_place(d->function), d->rule->task.program, driver_place(other),
		    rule->task.program);
	} else if (other < d->function) {
		log_line(1, "device %s: %s is not started: it goes together with %s",
		    driver_place(d->function), d->rule->task.program, driver_place(other));
	} else {
		return false;
	}
	driver_abandon(d, SUPERVISED_REFUSED);
	return true;
}

static void
match(void)
{
	struct function_info f;
	uint32_t function;

	for (uint64_t i = 0; driver_function_at(i, &f, &function); i++) {
		const struct manifest_driver *rule = f.unplugged ? NULL : driver_rule_of(&f);
		struct driver *d;

		for (unsigned k = 0; k < driver_count && rule != NULL; k++)
			if (drivers[k].function == function)
				rule = NULL;
		d = rule != NULL ? add_driver(rule, function) : NULL;
		if (d != NULL && !refused_for_its_group(d, &f))
			try_start(d);
	}
}

/* Its IOMMU refused accesses of the device (D11): what the manifest says.  Records that were lost
 * may be another device's: its driver distrusts what is in flight, and nobody is punished. */
static void
device_faulted(struct driver *d)
{
	const struct manifest_driver *r = d->rule;
	struct device_info i;
	uint64_t n;
	bool off;

	if (d->process == HANDLE_NONE || d->fault_kill ||
	    sys_info(d->device, INFO_DEVICE, 0, (uint64_t)(uintptr_t)&i, sizeof(i), &n) != OK ||
	    i.fault_seq - min_u64(i.fault_seq, i.faults_lost) <= d->faults)
		return;
	d->faults = i.fault_seq - min_u64(i.fault_seq, i.faults_lost);
	off = r->fault_limit != 0 && d->faults_before + d->faults >= r->fault_limit;
	if (!off && r->on_fault != ON_FAULT_RESTART)
		return;
	log_line(off ? 0 : 1, "device %s: %llu faults: %s is %s", driver_place(d->function),
	    (unsigned long long)(d->faults_before + d->faults), r->task.program,
	    off ? "ended, and the device stays off" : "started again");
	d->fault_kill = true;
	if (off)
		d->state = SUPERVISED_DISABLED;
	(void)sys_process_kill(d->process, 0);
}

/* SHA-256 in w0..w3, as bytes; w4 the length. */
static void
hash(const uint8_t *bytes, uint64_t len, struct msg *m)
{
	uint8_t sum[32];
	struct sha256 h;

	sha256_init(&h);
	sha256_add(&h, bytes, len);
	sha256_end(&h, sum);
	memcpy(m->w, sum, sizeof(sum));
	m->w[4] = len;
}

/* Of the file that drivers are started from: anybody can compare it with the one he built. */
static enum status
program_hash(const char *program, struct msg *m)
{
	uint64_t len = 0;
	const uint8_t *image = archive_file(archive, archive_len, program, &len);

	if (image == NULL)
		return E_NOT_FOUND;
	hash(image, len, m);
	return OK;
}

/* Of the whole archive, once: it does not change. */
static enum status
archive_hash(struct msg *m)
{
	static struct msg said;
	struct machine_info machine;
	uint64_t n;

	if (said.w[4] == 0) {
		if (sys_info(kernel, INFO_MACHINE, 0, (uint64_t)(uintptr_t)&machine,
			sizeof(machine), &n) != OK ||
		    machine.archive_bytes > archive_len)
			return E_NOT_FOUND;
		hash(archive, machine.archive_bytes, &said);
	}
	memcpy(m->w, said.w, sizeof(m->w));
	return OK;
}

static void
driver_ended(struct driver *d)
{
	uint64_t len = 0;
	const uint8_t *image = archive_file(archive, archive_len, d->rule->task.program, &len);
	struct function_info f;
	enum exit_reason reason;

	if (d->process == HANDLE_NONE)
		return;
	device_faulted(d);	/* what its last moments brought counts */
	reason = epitaph_print(d->process, image, len, &d->died_at);
	(void)sys_handle_close(d->process);
	d->process = HANDLE_NONE;
	d->pid = 0;
	d->faults_before += d->faults;
	d->faults = 0;
	if (d->state == SUPERVISED_DISABLED) {
		driver_abandon(d, d->state);
	} else if (!hotplug_there(d, &f)) {
		d->life.restarts++;
		hotplug_gone(d);
	} else {
		d->life.restarts++;
		/* An end because of faults is a failure, though we did it. */
		ended(d, d->fault_kill ? EXIT_FAULT : d->revoked ? EXIT_KILLED : reason);
	}
	d->fault_kill = d->revoked = false;
}

static enum status
driver_ready(uint64_t badge)
{
	unsigned i = (unsigned)(badge & ~BADGE_DRIVER);
	struct driver *d = &drivers[i];

	if ((badge & BADGE_DRIVER) == 0 || i >= driver_count)
		return E_RIGHTS;
	if (d->state != SUPERVISED_STARTING)
		return E_STATE;
	d->state = SUPERVISED_RUNNING;
	supervise_serves(&d->life, now_ns());
	if (d->died_at != 0) {
		d->recovery_ns = now_ns() - d->died_at;
		log_line(2, "device %s: %s serves again after %llu ms (restart %llu)",
		    driver_place(d->function), d->rule->task.program,
		    (unsigned long long)(d->recovery_ns / NS_PER_MS),
		    (unsigned long long)d->life.restarts);
	}
	return OK;
}

/* The n-th that provides disks, or network interfaces. */
static struct driver *
provider(uint32_t what, uint64_t n)
{
	for (unsigned i = 0; i < driver_count; i++)
		if (drivers[i].rule->provides == what && n-- == 0)
			return &drivers[i];
	return NULL;
}

static enum status
kill(struct driver *d)
{
	return d != NULL && d->process != HANDLE_NONE ? sys_process_kill(d->process, 0) :
							E_NOT_FOUND;
}

/* Who calls, as the manifest has it; NULL: none of its services. */
static const struct manifest_service *
caller(const struct msg *m)
{
	return m->badge >= 1 && m->badge <= manifest.service_count ?
	    &manifest.service[m->badge - 1] :
	    NULL;
}

/* A handle to a driver, with a badge of its own under the caller's (blk.h). */
static enum status
mint(const struct driver *d, const struct msg *m, uint32_t range, uint64_t *h)
{
	static uint64_t serial;
	uint64_t badge;
	enum status s;

	if (d->endpoint == HANDLE_NONE || d->state == SUPERVISED_UNPLUGGED)
		return E_NO_DEVICE;
	/* Microseconds: unique over restarts of this one. */
	serial = max_u64(serial + 1, now_ns() / 1000);
	s = blk_badge(m->badge, range, serial, &badge);
	return s == OK ? sys_endpoint_mint(d->endpoint, badge, h) : s;
}

static enum status
give_range(struct msg *m, uint64_t *h)
{
	struct disk_range r;
	uint32_t n = caller(m) != NULL ? range_of((uint32_t)m->badge - 1, m->w[0], &r) : 0;
	struct driver *d;
	enum status s;

	if (n == 0)
		return E_NOT_FOUND;
	d = provider(PROVIDES_BLOCK, r.controller);
	s = d != NULL ? mint(d, m, n, h) : E_NO_DEVICE;
	m->w[0] = *h;
	m->w[1] = BLK_RIGHT_READ | (r.read_only ? 0 : BLK_RIGHT_WRITE);
	m->w[2] = (uint64_t)r.controller << 32 | r.space;
	m->w[3] = d != NULL ? d->state : SUPERVISED_FINISHED;
	static_assert(sizeof(r.name) == 4 * sizeof(m->w[4]));
	memcpy(&m->w[4], r.name, sizeof(r.name));
	m->handles = s == OK;
	return s;
}

static void
call(struct msg *m)
{
	const struct manifest_service *who = caller(m);
	uint32_t caps = who != NULL ? who->task.caps : 0;
	uint32_t came = m->handles, range;
	enum status s = E_NOT_FOUND;
	struct driver *d;
	uint64_t h = HANDLE_NONE;

	for (unsigned i = 0; i < 4; i++)
		if ((came & BIT(i)) != 0)
			(void)sys_handle_close(m->w[i]);
	m->handles = 0;
	if ((m->badge & BADGE_DRIVER) != 0 || m->label == DEVMGR_READY) {
		s = m->label == DEVMGR_READY ? driver_ready(m->badge) : E_RIGHTS;
		goto reply;
	}
	if ((m->label == DEVMGR_KILL || m->label == DEVMGR_REVOKE || m->label == DEVMGR_ROGUE) &&
	    (caps & CAP_CONTROL) == 0) {
		s = E_RIGHTS;
		goto reply;
	}
	switch (m->label) {
	case DEVMGR_BLOCK:
	case DEVMGR_NET:
		d = provider(m->label == DEVMGR_NET ? PROVIDES_NET : PROVIDES_BLOCK, m->w[0]);
		if (d == NULL)
			break;
		if (m->label == DEVMGR_NET)
			range = ((caps & CAP_PACKETS) != 0 ? NET_MAY_OPEN : 0) |
			    ((caps & CAP_INTERFACES) != 0 ? NET_MAY_CHANGE : 0);
		else
			range = (caps & CAP_ALL_DISKS) != 0 ? BLK_RANGE_ALL : BLK_RANGE_ASK;
		s = m->label == DEVMGR_NET && range == 0 ? E_RIGHTS : mint(d, m, range, &h);
		m->w[1] = m->w[0];
		m->w[0] = h;
		m->w[2] = d->pid;
		m->w[3] = d->life.restarts;
		m->w[4] = d->function;
		m->w[5] = d->state;
		m->handles = s == OK;
		break;
	case DEVMGR_DISK:
		s = give_range(m, &h);
		break;
	case DEVMGR_KILL:
		for (unsigned i = 0; i < driver_count; i++)
			if (drivers[i].pid != 0 && drivers[i].pid == m->w[0])
				s = kill(&drivers[i]);
		break;
	case DEVMGR_REVOKE:
		d = provider(PROVIDES_BLOCK, m->w[0]);
		if (d == NULL || d->process == HANDLE_NONE)
			break;
		/* Not waited for: who claims it next is told when it is too early. */
		s = sys_handle_revoke(d->device, 0);
		d->revoked = s == OK || s == E_TIMED_OUT;
		s = d->revoked ? OK : s;
		break;
	case DEVMGR_ROGUE:
		d = provider(m->w[1] != 0 ? PROVIDES_NET : PROVIDES_BLOCK, m->w[0]);
		if (d != NULL)
			d->args = "rogue";
		s = kill(d);
		break;
	case DEVMGR_LIST:
		if (m->w[0] < driver_count) {
			struct supervised v;

			d = &drivers[m->w[0]];
			v = (struct supervised){ .pid = d->pid,
				.state = (uint8_t)d->state,
				.driver = true,
				.function = d->function,
				.quick = d->life.quick,
				.restarts = d->life.restarts,
				.recovery_ns = d->recovery_ns };
			str_copy(v.name, d->rule->task.program, sizeof(v.name));
			memcpy(m->w, &v, sizeof(v));
			s = OK;
		}
		break;
	case DEVMGR_PROGRAM:
		if (m->w[0] < driver_count)
			s = program_hash(drivers[m->w[0]].rule->task.program, m);
		break;
	case DEVMGR_ARCHIVE: s = archive_hash(m); break;
	default:
		s = E_INVALID;
	}
reply:
	m->label = s;
	m->words = 8;
	(void)msg_reply(m);		/* a caller that is gone needs no answer */
	if (h != HANDLE_NONE)
		(void)sys_handle_close(h);	/* the client has its own now */
}

int
main(void)
{
	const uint8_t *blob;
	uint64_t h, va, pages, flags, len = 0;

	kernel = start_handle("kernel");
	init = start_handle("init");
	service = start_handle("devmgr");
	if (sys_mem_info(start_handle("archive"), &pages, &flags) != OK ||
	    sys_mem_map(HANDLE_NONE, start_handle("archive"), 0, pages * PAGE_SIZE, 0, 1, &va) !=
		OK)
		die("no boot archive");
	archive = (const uint8_t *)(uintptr_t)va;
	archive_len = pages * PAGE_SIZE;
	if (sys_ntfn_create(&h) != OK)
		die("no notification");
	ntfn = (handle_t)h;
	blob = archive_file(archive, archive_len, "manifest.dtb", &len);
	if (manifest_read(&manifest, blob, len, say_nothing, NULL) != OK)
		die("the boot archive has no readable manifest.dtb: no driver is started");
	ranges_make(&manifest, &ranges);
	(void)sys_watch(kernel, ntfn, 1ull << PLUG_BIT);
	adopt();
	match();
	service_ready();
	for (;;) {
		uint64_t next = DEADLINE_NEVER;
		struct msg m;
		enum status s;

		for (unsigned i = 0; i < driver_count; i++) {
			if (drivers[i].state == SUPERVISED_WAITING &&
			    drivers[i].start_at <= now_ns())
				try_start(&drivers[i]);
			if (drivers[i].state == SUPERVISED_WAITING)
				next = min_u64(next, drivers[i].start_at);
		}
		s = msg_recv(service, ntfn, &m, next);
		if (s != OK)
			continue;
		if (!m.notification) {
			call(&m);
			continue;
		}
		for (unsigned i = 0; i < driver_count; i++)
			if ((m.w[0] & BIT(FAULT_BITS + i)) != 0)
				device_faulted(&drivers[i]);
		if ((m.w[0] & 1ull << PLUG_BIT) != 0) {
			hotplug_look();
			match();
		}
		for (unsigned i = 0; i < driver_count; i++)
			if ((m.w[0] & BIT(i)) != 0)
				driver_ended(&drivers[i]);
	}
}
