/*
 * kern/device_dma.c: grants that keep their address (UNMAP_KEEP), over a unit whose answers take
 * their time: what a late caller, an ending claim or a dead unit find.
 *
 * Requirements: A3
 *
 * LINK: kern/device_dma.c kern/dma/domain.c kern/dma/ledger.c kern/dma/iova.c kern/dma/fence.c
 * LINK: kern/dma/window.c kern/base/itree.c kern/quota.c kern/base/fmt.c kern/base/str.c
 * LINK: tests/lib/fake_kernel.c tests/lib/fake_memory.c tests/lib/fake_panic.c
 */
#include <atf-c.h>
#include <string.h>

#include "kern/abi/syscall.h"
#include "kern/base/bits.h"
#include "kern/device_parts.h"
#include "kern/device_queue.h"
#include "kern/md/trap.h"
#include "kern/process.h"
#include "kern/sched.h"
#include "kern/thread.h"
#include "tests/lib/fake_kernel.h"
#include "tests/lib/fake_memory.h"

enum : uint32_t { DEVICE = 1, MEMORY = 2, OTHER = 3, BUFFER = 4 };
enum : uint32_t { ALL = RIGHT_READ | RIGHT_WRITE | RIGHT_DMA };

/* ---- A unit that answers when told to ---- */

static struct {
	uint64_t issued, done;
	unsigned maps, unmaps, fail_maps;	/* so many fail from now on */
	bool attached;			/* D2: what is mapped now, and where */
	uint64_t at, to, len;
	enum iommu_rights rights;
} u;

static struct iommu_unit unit;

static struct iommu_ticket ticket(void) { return (struct iommu_ticket){ ++u.issued }; }
static enum status unit_domain_init(struct iommu_domain *d UNUSED) { return OK; }
static void unit_domain_fini(struct iommu_domain *d UNUSED) { }

static enum status
unit_map(struct iommu_domain *d UNUSED, struct iova at, struct paddr to, uint64_t len,
    enum iommu_rights rights)
{
	if (u.fail_maps != 0 && u.fail_maps--)
		return E_NO_MEMORY;
	ATF_CHECK(u.len == 0 || at.v == u.at + u.len);
	if (u.len == 0) {
		u.at = at.v;
		u.to = to.v;
	}
	u.len += len;
	u.rights = rights;
	u.maps++;
	return OK;
}

static struct iommu_ticket
unit_sync(struct iommu_domain *d UNUSED)
{
	return unit.facts.map_invalidates ? ticket() : (struct iommu_ticket){ 0 };
}

static struct iommu_ticket
unit_unmap(struct iommu_domain *d UNUSED, struct iova at, uint64_t len)
{
	ATF_CHECK_EQ(at.v, u.at);
	ATF_CHECK_EQ(len, u.len);
	u.len = 0;
	u.unmaps++;
	return ticket();
}

static enum status
unit_poll(struct iommu_unit *self, struct iommu_ticket t)
{
	return t.seq <= u.done ? OK : self->broken ? E_QUARANTINED : E_WOULD_BLOCK;
}

static const struct iommu_ops ops = {
	.domain_init = unit_domain_init,
	.domain_fini = unit_domain_fini,
	.map = unit_map,
	.sync = unit_sync,
	.unmap = unit_unmap,
	.ticket_poll = unit_poll,
};

/* ---- The rest of the kernel ---- */

struct cpu fake_cpu;
static struct thread me;
static struct process proc;
static struct device d;
static struct pci_function function;
static struct fake_memory memory, other;
static uint32_t memory_rights, buffer_rights;
static struct buffer slot[4], *buffer;	/* what BUFFER names */
static unsigned slots;
static struct quota holder;
static struct device_check check;
static struct xlate_window array[4];	/* what queues may name */
static enum status window_says;
static struct work *job;
static void (*meanwhile)(void);		/* once, while the caller sleeps */
static unsigned sleeps, fired;

struct thread *current_thread(void) { return &me; }
void watch_fire(struct watch *w UNUSED) { fired++; }
void worker_add(struct work *w) { job = w; }
void object_bump(struct object *o) { o->gen++; }

void
object_put_last(struct object *o)
{
	ATF_REQUIRE(o->lock.held == 0 && d.obj.lock.held == 0);
	o->refs--;
	if (o->type == OBJ_BUFFER) {
		o->gen++;
		(void)buffer_destroy(o);
	}
}

void
sched_sleep(uint64_t deadline)
{
	void (*what)(void) = meanwhile;

	ATF_REQUIRE_EQ(d.obj.lock.held, 0);
	ATF_REQUIRE(buffer == NULL || buffer->obj.lock.held == 0);
	meanwhile = NULL;
	sleeps++;
	fake_now = max_u64(fake_now, deadline);
	if (what != NULL)
		what();
}

/* As device_check.c does. */
void
device_check_remove(struct device *dev UNUSED, struct buffer *b)
{
	b->window_closed = false;
	(void)window_remove(&check.windows, &b->grant.entry, grant_iova(&b->grant).v);
}

enum status
device_check_add(struct device *dev, struct buffer *b)
{
	uint64_t at = grant_iova(&b->grant).v;
	struct xlate_window w = { .first = at, .last = at + b->grant.entry.grant.len - 1,
		.grant = &b->grant.entry, .dir = b->grant.entry.grant.dir };

	ATF_CHECK_EQ(grant_state(&b->grant), LEDGER_PUBLISHED);
	if (b->window_closed)
		device_check_remove(dev, b);
	return window_says == OK ? window_add(&check.windows, &w) : window_says;
}

/* How many directions queues may name it for: 0, it is outside of every window. */
static unsigned
windows_of(uint64_t at)
{
	const struct xlate_windows *t = &check.windows.live;
	const struct xlate_window *w = t->count != 0 ? xlate_below(t, at) : NULL;

	return w != NULL && xlate_holds(w, at, PAGE_SIZE) ? w->dir : 0;
}

enum status
device_master_on(struct device *dev)
{
	dev->mastering = true;
	return OK;
}

enum status
object_create(enum object_type t, struct process *p UNUSED, struct object **o)
{
	struct buffer *b = &slot[slots++];

	ATF_REQUIRE_EQ(t, OBJ_BUFFER);
	*b = (struct buffer){ .obj = { .type = t, .refs = 1, .gen = 1 } };
	lock_init(&b->obj.lock, RANK_QUEUE);
	*o = &b->obj;
	return OK;
}

enum status
handle_lock(struct process *p UNUSED, handle_t h, enum object_type t, uint32_t rights,
    struct object **o, uint64_t *badge UNUSED) NO_THREAD_SAFETY
{
	struct object *got = h == DEVICE ? &d.obj :
	    h == MEMORY			 ? &memory.m.obj :
	    h == OTHER			 ? &other.m.obj :
	    h == BUFFER && buffer != NULL ? &buffer->obj :
					   NULL;
	enum object_type is = h == DEVICE ? OBJ_DEVICE : h == BUFFER ? OBJ_BUFFER : OBJ_MEMORY;

	if (got == NULL)
		return E_HANDLE;
	if (is != t)
		return E_TYPE;
	if ((rights & ~(h == BUFFER ? buffer_rights : h == OTHER ? memory_rights : ALL)) != 0)
		return E_RIGHTS;
	if (h == BUFFER && got->gen != 1)
		return E_STALE;
	spin_lock(&got->lock);
	*o = got;
	return OK;
}

enum status
handle_ref(struct process *p, handle_t h, enum object_type t, uint32_t rights, struct object **o,
    uint32_t *out UNUSED) NO_THREAD_SAFETY
{
	enum status s = handle_lock(p, h, t, rights, o, NULL);

	if (s == OK) {
		(*o)->refs++;
		spin_unlock(&(*o)->lock);
	}
	return s;
}

enum status
handle_insert(struct process *p UNUSED, struct object *o, uint32_t gen UNUSED, uint32_t rights,
    uint64_t badge UNUSED, handle_t *out)
{
	buffer = container_of(o, struct buffer, obj);
	buffer_rights = rights;
	*out = BUFFER;
	return OK;
}

enum status
handle_close(struct process *p UNUSED, handle_t h)
{
	struct object *o = &buffer->obj;

	ATF_REQUIRE_EQ(h, BUFFER);
	buffer = NULL;
	object_put(o);
	return OK;
}

enum status
device_lock(struct thread *t, uint64_t h, uint32_t rights UNUSED, struct device **out)
    NO_THREAD_SAFETY
{
	struct object *o;
	enum status s = handle_lock(t->proc, (handle_t)h, OBJ_DEVICE, 0, &o, NULL);

	if (s == OK && d.state != DEVICE_CLAIMED) {
		spin_unlock(&o->lock);
		return E_STALE;
	}
	*out = &d;
	return s;
}

void
trace_put(enum trace_type type UNUSED, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t c UNUSED,
    uint64_t e UNUSED)
{
}

/* ---- Calls ---- */

static uint64_t word, iova;		/* what dma_map said last */

static enum status
map(uint64_t target, uint32_t from, uint64_t page, uint64_t pages, enum dma_dir dir)
{
	struct uregs r = { .w = { target, from, page * PAGE_SIZE, pages * PAGE_SIZE, dir } };
	enum status s = sys_dma_map(&me, &r);

	ATF_CHECK_EQ(d.obj.lock.held, 0);
	if (s == OK) {
		word = r.w[0];
		iova = r.w[1];
	}
	return s;
}

static enum status
unmap(uint64_t token, uint64_t patience, uint64_t flags)
{
	struct uregs r = { .w = { token, fake_now + patience, flags } };
	enum status s = sys_dma_unmap(&me, &r);

	ATF_CHECK_EQ(d.obj.lock.held, 0);
	ATF_CHECK(buffer == NULL || buffer->obj.lock.held == 0);
	return s;
}

static enum ledger_state state(void) { return grant_state(&buffer->grant); }

static struct paddr
page_of(struct fake_memory *m, uint64_t page)
{
	struct paddr p;
	uint64_t n;

	ATF_REQUIRE(memory_run(&m->m, page, &p, &n));
	return p;
}

/* A claim whose queues are checked, with a grant of one page. */
static void
begin(void)
{
	fake_kernel_init(&(struct fake_setup){ 0 });
	memset(&u, 0, sizeof(u));
	memset(&d, 0, sizeof(d));
	memset(&memory, 0, sizeof(memory));
	memset(&other, 0, sizeof(other));
	memset(&me, 0, sizeof(me));
	slots = sleeps = fired = 0;
	window_says = OK;
	meanwhile = NULL;
	job = NULL;
	me.proc = &proc;
	unit = (struct iommu_unit){ .ops = &ops, .facts = { .iova_bits = 39 } };
	holder = (struct quota){ .pages_max = 64 };
	fake_memory_add(&memory, 2);
	fake_memory_add(&other, 2);
	memory.m.obj.refs = other.m.obj.refs = 1;
	memory_rights = ALL;
	d.obj.refs = 1;
	list_init(&d.buffers);
	list_init(&d.revoked);
	d.state = DEVICE_CLAIMED;
	ATF_REQUIRE_EQ(domain_init(&d.domain, &unit, &holder, 1), OK);
	d.function[0].fn = &function;
	d.function_count = 1;
	d.check = &check;
	d.address_bits = 64;
	memset(&check, 0, sizeof(check));
	window_place(&check.windows, array, ARRAY_SIZE(array));
	ATF_REQUIRE_EQ(map(DEVICE, MEMORY, 0, 1, DMA_TO_DEVICE), OK);
	u.done = u.issued;
}

/* Answers from now on come at once. */
static void answer(void) { u.done = UINT64_MAX; }

static void
unpinned(const struct fake_memory *m)
{
	ATF_CHECK_EQ(m->m.grants, 0);
	ATF_CHECK_EQ(m->m.writers, 0);
	ATF_CHECK_EQ(m->m.obj.refs, 1);
}

static void
end(void)
{
	answer();
	if (buffer != NULL)
		ATF_CHECK_EQ(unmap(word, 0, 0), OK);
	unpinned(&memory);
	unpinned(&other);
	ATF_CHECK(list_empty(&d.buffers));
	ATF_CHECK_EQ(check.windows.live.count, 0);
	ATF_CHECK_EQ(ledger_live(&d.domain.ledger), 0);
	domain_fini(&d.domain);
}

/* D2, D6 */
ATF_TC_WITHOUT_HEAD(a_kept_grant_gets_other_memory_at_its_address);
ATF_TC_BODY(a_kept_grant_gets_other_memory_at_its_address, tc)
{
	uint64_t first, at;

	begin();
	answer();
	first = word;
	at = iova;
	ATF_CHECK(windows_of(iova) == DMA_TO_DEVICE && memory.m.grants == 1);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t before = word;

		ATF_REQUIRE_EQ(unmap(word, 0, UNMAP_KEEP), OK);
		ATF_CHECK(state() == LEDGER_IDLE && windows_of(at) == 0 && u.len == 0);
		unpinned(&memory);
		unpinned(&other);
		ATF_REQUIRE_EQ(map(word, OTHER, i, 1, DMA_FROM_DEVICE), OK);
		ATF_CHECK(state() == LEDGER_PUBLISHED && windows_of(at) == DMA_FROM_DEVICE);
		ATF_CHECK_EQ(array[0].cpu + at,
		    (uint64_t)(uintptr_t)frame_ptr(page_of(&other, i)));
		ATF_CHECK(iova == at && u.at == at && u.len == PAGE_SIZE);
		ATF_CHECK_EQ(u.to, page_of(&other, i).v);
		ATF_CHECK_EQ(u.rights, IOMMU_WRITE);
		ATF_CHECK(other.m.grants == 1 && other.m.writers == 1 && other.m.obj.refs == 2);
		ATF_CHECK(word != before && (handle_t)word == BUFFER);
		/* Late: with what was told before. */
		ATF_CHECK_EQ(unmap(before, 0, UNMAP_KEEP), E_STALE);
		ATF_CHECK_EQ(unmap(first, 0, 0), E_STALE);
		ATF_CHECK_EQ(map(before, MEMORY, 0, 1, DMA_BOTH), E_STALE);
		ATF_CHECK(state() == LEDGER_PUBLISHED && u.len == PAGE_SIZE);
	}
	end();
}

ATF_TC_WITHOUT_HEAD(what_cannot_be_mapped_leaves_the_grant_idle_and_pins_nothing);
ATF_TC_BODY(what_cannot_be_mapped_leaves_the_grant_idle_and_pins_nothing, tc)
{
	begin();
	answer();
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_BOTH), E_STATE);
	ATF_CHECK_EQ(unmap(word, 0, 2), E_INVALID);
	ATF_REQUIRE_EQ(unmap(word, 0, UNMAP_KEEP), OK);
	ATF_CHECK_EQ(unmap(word, 0, UNMAP_KEEP), OK);
	ATF_CHECK_EQ(u.unmaps, 1);
	memory_rights = RIGHT_READ | RIGHT_DMA;
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_FROM_DEVICE), E_RIGHTS);
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_BOTH), E_RIGHTS);
	memory_rights = RIGHT_READ | RIGHT_WRITE;
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_TO_DEVICE), E_RIGHTS);
	memory_rights = ALL;
	buffer_rights = RIGHT_MANAGE | RIGHT_GIVE;
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_TO_DEVICE), E_RIGHTS);
	buffer_rights = RIGHT_DMA | RIGHT_GIVE;
	ATF_CHECK_EQ(unmap(word, 0, UNMAP_KEEP), E_RIGHTS);
	buffer_rights = RIGHT_MANAGE | RIGHT_DMA;
	ATF_CHECK_EQ(map(word, OTHER, 0, 2, DMA_BOTH), E_RANGE);
	ATF_CHECK_EQ(map(word, OTHER, 4, 1, DMA_BOTH), E_RANGE);
	ATF_CHECK_EQ(map(word, OTHER, UINT64_MAX >> PAGE_SHIFT, 1, DMA_BOTH), E_RANGE);
	ATF_CHECK_EQ(map(word, DEVICE, 0, 1, DMA_BOTH), E_TYPE);
	ATF_CHECK_EQ(map(word, 77, 0, 1, DMA_BOTH), E_HANDLE);
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, 0), E_INVALID);
	other.m.sealed = true;
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_FROM_DEVICE), E_READ_ONLY);
	other.m.poisoned = true;
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_TO_DEVICE), E_POISONED);
	other.m.poisoned = false;
	/* Calls on their way when it was revoked: into this grant, and into a new one. */
	other.m.revoked = true;
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_TO_DEVICE), E_STALE);
	ATF_CHECK_EQ(map(DEVICE, OTHER, 0, 1, DMA_TO_DEVICE), E_STALE);
	unpinned(&other);
	other.m.revoked = false;
	d.shut_off = true;
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_TO_DEVICE), E_NO_DEVICE);
	d.shut_off = false;
	u.fail_maps = 2;	/* a table page is asked for twice */
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_TO_DEVICE), E_NO_MEMORY);
	ATF_CHECK_EQ(u.maps, 1);
	unpinned(&other);
	window_says = E_NO_MEMORY;
	d.address_bits = 40;	/* no memory is at hand beyond, but who knows */
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_TO_DEVICE), E_NO_MEMORY);
	ATF_CHECK(state() == LEDGER_IDLE && u.len == 0 && u.unmaps == 2 && windows_of(iova) == 0);
	unpinned(&other);
	d.address_bits = 64;
	window_says = OK;
	buffer->round = UINT32_MAX;
	ATF_CHECK_EQ(map((uint64_t)UINT32_MAX << 32 | BUFFER, OTHER, 0, 1, DMA_BOTH), E_OVERFLOW);
	buffer->round = 0;
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_TO_DEVICE), OK);
	end();
}

ATF_TC_WITHOUT_HEAD(memory_is_pinned_until_the_unit_has_confirmed);
ATF_TC_BODY(memory_is_pinned_until_the_unit_has_confirmed, tc)
{
	begin();
	ATF_CHECK_EQ(unmap(word, 0, UNMAP_KEEP), E_TIMED_OUT);
	ATF_CHECK(state() == LEDGER_REVOKING && windows_of(iova) == 0 && sleeps != 0);
	ATF_CHECK(memory.m.grants == 1 && memory.m.obj.refs == 2);
	/* Not before. */
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_BOTH), E_STATE);
	answer();
	ATF_CHECK_EQ(unmap(word, 0, UNMAP_KEEP), OK);
	ATF_CHECK(state() == LEDGER_IDLE && u.unmaps == 1);
	unpinned(&memory);
	end();
}

static void
others_try(void)
{
	ATF_CHECK_EQ(map(word, MEMORY, 0, 1, DMA_BOTH), E_BUSY);
	ATF_CHECK_EQ(unmap(word, 0, UNMAP_KEEP), E_BUSY);
	ATF_CHECK_EQ(unmap(word, 0, 0), E_BUSY);
	ATF_CHECK_EQ(windows_of(iova), 0);
	answer();
}

/* Where absence is cached a new mapping is in force only later. */
ATF_TC_WITHOUT_HEAD(one_at_a_time_waits_for_its_mapping);
ATF_TC_BODY(one_at_a_time_waits_for_its_mapping, tc)
{
	begin();
	answer();
	ATF_REQUIRE_EQ(unmap(word, 0, UNMAP_KEEP), OK);
	u.done = u.issued;
	unit.facts.map_invalidates = true;
	meanwhile = others_try;
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_BOTH), OK);
	ATF_CHECK(meanwhile == NULL && state() == LEDGER_PUBLISHED && windows_of(iova) != 0);
	ATF_CHECK_EQ(buffer->obj.refs, 1);
	end();
}

static void
claim_ends(void)
{
	d.state = DEVICE_ENDING;
	ledger_bump(&d.domain.ledger, 2);
}

/* As device_end.c does with each grant. */
static void
end_of_the_claim(void)
{
	buffer->grant.keeps = false;
	if (state() != LEDGER_REVOKING)
		ATF_REQUIRE_EQ(device_buffer_revoke(buffer), OK);
	answer();
	if (state() == LEDGER_REVOKING)
		ATF_REQUIRE_EQ(device_buffer_settle(buffer), OK);
	ATF_CHECK_EQ(state(), LEDGER_FREE);
}

ATF_TC_WITHOUT_HEAD(nothing_is_mapped_after_the_claim_has_ended);
ATF_TC_BODY(nothing_is_mapped_after_the_claim_has_ended, tc)
{
	begin();
	answer();
	ATF_REQUIRE_EQ(unmap(word, 0, UNMAP_KEEP), OK);
	claim_ends();
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_BOTH), E_STALE);
	end_of_the_claim();
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_BOTH), E_STALE);
	unpinned(&other);
	end();

	/* The end comes while somebody waits for the grant to be idle: it is free. */
	begin();
	ATF_CHECK_EQ(unmap(word, 0, UNMAP_KEEP), E_TIMED_OUT);
	claim_ends();
	end_of_the_claim();
	ATF_CHECK_EQ(unmap(word, 0, UNMAP_KEEP), OK);
	unpinned(&memory);
	end();
}

static void
end_meanwhile(void)
{
	claim_ends();
	end_of_the_claim();
}

ATF_TC_WITHOUT_HEAD(the_claim_ends_while_a_mapping_is_waited_for);
ATF_TC_BODY(the_claim_ends_while_a_mapping_is_waited_for, tc)
{
	begin();
	answer();
	ATF_REQUIRE_EQ(unmap(word, 0, UNMAP_KEEP), OK);
	u.done = u.issued;
	unit.facts.map_invalidates = true;
	meanwhile = end_meanwhile;
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_BOTH), E_STALE);
	ATF_CHECK(windows_of(iova) == 0 && u.len == 0 && state() == LEDGER_FREE);
	unpinned(&other);
	end();
}

/* D8 */
ATF_TC_WITHOUT_HEAD(a_dead_unit_quarantines_and_poisons);
ATF_TC_BODY(a_dead_unit_quarantines_and_poisons, tc)
{
	begin();
	unit.broken = true;
	ATF_CHECK_EQ(unmap(word, 0, UNMAP_KEEP), E_QUARANTINED);
	ATF_CHECK(state() == LEDGER_QUARANTINED && memory.m.poisoned && memory.m.grants == 1);
	ATF_CHECK_EQ(map(word, OTHER, 0, 1, DMA_BOTH), E_QUARANTINED);
	ATF_CHECK_EQ(unmap(word, 0, UNMAP_KEEP), E_QUARANTINED);
	unpinned(&other);
}

/* The last handle goes. */
ATF_TC_WITHOUT_HEAD(a_grant_that_nobody_has_gives_its_address_back);
ATF_TC_BODY(a_grant_that_nobody_has_gives_its_address_back, tc)
{
	begin();
	answer();
	ATF_REQUIRE_EQ(unmap(word, 0, UNMAP_KEEP), OK);
	(void)handle_close(&proc, BUFFER);
	ATF_CHECK(job == NULL && slot[0].obj.refs == 0);
	end();

	/* While it is on its way to be idle: the worker brings it to its end. */
	begin();
	ATF_CHECK_EQ(unmap(word, 0, UNMAP_KEEP), E_TIMED_OUT);
	(void)handle_close(&proc, BUFFER);
	ATF_REQUIRE(job == &slot[0].work);
	answer();
	ATF_CHECK_EQ(job->step(job), WORK_DONE);
	ATF_CHECK_EQ(grant_state(&slot[0].grant), LEDGER_FREE);
	end();
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_kept_grant_gets_other_memory_at_its_address);
	ATF_TP_ADD_TC(tp, what_cannot_be_mapped_leaves_the_grant_idle_and_pins_nothing);
	ATF_TP_ADD_TC(tp, memory_is_pinned_until_the_unit_has_confirmed);
	ATF_TP_ADD_TC(tp, one_at_a_time_waits_for_its_mapping);
	ATF_TP_ADD_TC(tp, nothing_is_mapped_after_the_claim_has_ended);
	ATF_TP_ADD_TC(tp, the_claim_ends_while_a_mapping_is_waited_for);
	ATF_TP_ADD_TC(tp, a_dead_unit_quarantines_and_poisons);
	ATF_TP_ADD_TC(tp, a_grant_that_nobody_has_gives_its_address_back);
	return atf_no_error();
}
