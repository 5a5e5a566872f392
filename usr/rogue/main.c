/*
 * rogue: a driver that attacks, for tests.  The manifest "rogue" gives it an NVMe controller of its
 * own, beside one with an honest driver; "rogue-virtio" gives it the NIC (virtio.c).
 *
 * It brings the controller up as a driver does.  Then it tries one forbidden thing after another,
 * and says of each how it ended:
 *
 *     rogue: WHAT: refused: RULE        the kernel's rule for queue entries and registers
 *     rogue: WHAT: refused by the IOMMU, device says CODE      where doorbells are mapped
 *     rogue: WHAT: not reported, device says CODE              the same, and the IOMMU has no log
 *     rogue: WHAT: STATUS               how the call ended; "success" where it should not have been
 *
 * Queue entries are tried on the admin queue: a refused batch leaves the ring as it was, so each
 * goes into the same place.  What only the kernel's checks refuse is left out where doorbells are
 * mapped.  Memory that no attack may reach holds a pattern, which is compared at the end: a refusal
 * that nobody reports is seen there.
 */
#include "usr/rogue/rogue.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"

enum { MANY = 20'000, RELEASED_PAGES = 64, ALL = 1'000'000, QUEUES_FROM = 16 };
enum : uint32_t {
	CFG_COMMAND = 0x04,
	CFG_BAR0 = 0x10,
	CFG_CAPS = 0x34,
	CAP_ID_MSIX = 0x11,
	COMMAND_BUS_MASTER = 0x0407,
	NVME_CMBMSC = 0x50,
	CFG_BYTES = 4096,
	FEATURE_HOST_MEMORY = 0x0d,
};

struct drv_device device;
struct nvme_ctrl ctrl;

void
say(const char *what, enum status s, uint64_t rule)
{
	if (s == E_REFUSED && rule < RULES && rule != RULE_NONE)
		log_line(2, "%s: refused: %s", what, dma_rule_text((enum dma_rule)rule));
	else
		log_line(2, "%s: %s", what, status_text(s));
}

/* ---- Configuration space, windows
 * ------------------------------------------------------------------- */

static void
config(const char *what, uint32_t offset, unsigned width, uint32_t value)
{
	uint64_t got;

	say(what, sys_device_config(device.handle, offset, width | CONFIG_WRITE, value, &got),
	    RULE_NONE);
}

static uint32_t
config_read(uint32_t offset, unsigned width)
{
	uint64_t v;

	return sys_device_config(device.handle, offset, width, 0, &v) == OK ? (uint32_t)v : 0;
}

static void
configuration(void)
{
	uint32_t at = config_read(CFG_CAPS, 1);

	config("write of the command register", CFG_COMMAND, 2, COMMAND_BUS_MASTER);
	config("write of a BAR", CFG_BAR0, 4, GUESS);
	for (unsigned n = 0; n < 48 && at >= 0x40 && config_read(at, 1) != CAP_ID_MSIX; n++)
		at = config_read(at + 1, 1);
	if (at < 0x40)
		log_line(2, "write of the MSI-X control: there is none");
	else
		config("write of the MSI-X control", at + 2, 2, 0);
}

/*
 * All ones to every register of the function, in each width: bus mastering, BARs, message
 * interrupts, translation services (ATS, PRI, PASID), power, whatever it has.  Two are taken: the
 * error bits of the two status registers, which clear by it.
 */
static void
configuration_swept(void)
{
	static uint8_t before[CFG_BYTES];
	uint32_t taken = 0, differ = 0;

	for (uint32_t i = 0; i < CFG_BYTES; i++)
		before[i] = (uint8_t)config_read(i, 1);
	for (uint32_t width = 1; width <= 4; width *= 2)
		for (uint32_t i = 0; i < CFG_BYTES; i += width) {
			uint64_t got;

			taken += sys_device_config(device.handle, i, width | CONFIG_WRITE,
				     UINT32_MAX, &got) == OK;
		}
	for (uint32_t i = 0; i < CFG_BYTES; i++)
		differ += before[i] != (uint8_t)config_read(i, 1);
	log_line(2, "writes all over configuration space: %u taken, %u bytes differ", taken, differ);
}

/* The window ends before the page with the vector table. */
static void
vector_table(void)
{
	uint64_t va, value;

	say("map of the vector table",
	    sys_mem_map(HANDLE_NONE, ctrl.regs.handle, 0, ctrl.regs.len + PAGE_SIZE, 0, 3, &va),
	    RULE_NONE);
	say("write of the vector table",
	    sys_mmio_access(ctrl.regs.handle, ctrl.regs.len, 4 | CONFIG_WRITE, GUESS, &value),
	    RULE_NONE);
}

/* ---- Registers and queue entries that the kernel checks
 * --------------------------------------------- */

static void
store(const char *what, uint32_t offset, unsigned width, uint64_t value)
{
	uint64_t rule = RULE_NONE, unused;
	enum status s = sys6(SYS_mmio_access, ctrl.regs.handle, offset, width | CONFIG_WRITE, value,
	    0, 0, &rule, &unused);

	say(what, s, rule);
}

static void
commit(const char *what, uint32_t tail)
{
	uint64_t rule = RULE_NONE, entry;
	enum status s =
	    sys6(SYS_queue_commit, ctrl.admin.q.handle, tail, UINT32_MAX, 0, 0, 0, &rule, &entry);

	say(what, s, rule);
}

static void
entry(const char *what, struct nvme_sqe e)
{
	ctrl.admin.sq[ctrl.admin.tail] = e;
	commit(what, (ctrl.admin.tail + 1) % ctrl.admin.entries);
}

uint64_t
own_faults(void)
{
	uint64_t all = drv_faults(&device);

	return all - min_u64(all, drv_faults_lost(&device));
}

void
say_mapped(const char *what, uint64_t faults, enum status s, uint16_t code)
{
	uint64_t until = now_ns() + NS_PER_S;

	while (device.status->look != 0 && own_faults() <= faults && now_ns() < until)
		sleep_until(now_ns() + NS_PER_MS);
	log_line(2, "%s: %s, device says 0x%x", what,
	    own_faults() > faults    ? "refused by the IOMMU" :
	    device.status->look == 0 ? "not reported" :
				       status_text(s),
	    code);
}

/* Where doorbells are mapped: the device gets the entry, and its IOMMU has to refuse the access and
 * to say so. */
static void
device_entry(const char *what, struct nvme_sqe e)
{
	uint64_t before = own_faults();
	uint16_t code = 0;
	const char *why = "";
	enum status s = nvme_admin(&ctrl, &e, what, NULL, &code, &why);

	say_mapped(what, before, s, code);
}

static void
attempt(const char *what, struct nvme_sqe e)
{
	if (ctrl.admin.q.checked)
		entry(what, e);
	else
		device_entry(what, e);
}

struct nvme_sqe
identify(uint64_t prp1, uint64_t prp2)
{
	return (struct nvme_sqe){
		.cdw0 = ADMIN_IDENTIFY, .cdw10 = CNS_CONTROLLER, .prp1 = prp1, .prp2 = prp2
	};
}

static void
registers(void)
{
	store("queue base replaced", NVME_ASQ, 8, GUESS);
	store("queue base not aligned", NVME_ACQ, 8, GUESS + 8);
	store("queue sizes replaced", NVME_AQA, 4, UINT32_MAX);
	store("controller's own memory", NVME_CMBMSC, 8, GUESS | 3);
	store("doorbell by hand", NVME_DOORBELLS, 4, 1);
	store("pages of another size", NVME_CC, 4,
	    CC_EN | FIELD_PREP(CC_MPS, 1) | FIELD_PREP(CC_IOSQES, 6) | FIELD_PREP(CC_IOCQES, 4));
}

static void
commands(uint64_t in)
{
	entry("unknown opcode", (struct nvme_sqe){ .cdw0 = OPCODE_VENDOR });
	entry("doorbell buffers",
	    (struct nvme_sqe){ .cdw0 = ADMIN_DOORBELL_BUFFER, .prp1 = in, .prp2 = in });
	entry("host memory buffer",
	    (struct nvme_sqe){
		.cdw0 = ADMIN_SET_FEATURES, .cdw10 = FEATURE_HOST_MEMORY, .cdw11 = 1 });
	entry("queue of its own memory",
	    (struct nvme_sqe){ .cdw0 = ADMIN_CREATE_CQ,
		.cdw10 = 1 | 7u << 16,
		.cdw11 = CQ_CONTIGUOUS,
		.prp1 = in });
	entry("address as a scatter list",
	    (struct nvme_sqe){
		.cdw0 = ADMIN_IDENTIFY | 1u << 14, .cdw10 = CNS_CONTROLLER, .prp1 = in });
	entry("command id out of range",
	    (struct nvme_sqe){ .cdw0 = ADMIN_IDENTIFY | UINT32_C(0xffff) << 16,
		.cdw10 = CNS_CONTROLLER,
		.prp1 = in });
	commit("tail past the ring", ctrl.admin.entries);
}

uint64_t
changed(const struct drv_memory *m)
{
	uint64_t va, n = 0;

	if (sys_mem_map(HANDLE_NONE, m->memory, 0, m->len, 0, 1, &va) != OK)
		die("no mapping");
	for (uint64_t i = 0; i < m->len; i++)
		n += ((const uint8_t *)(uintptr_t)va)[i] != PATTERN;
	(void)sys_mem_unmap(HANDLE_NONE, va, m->len);
	return n;
}

/* Its grant keeps the address and loses the memory (UNMAP_KEEP); then gets it back to be read only,
 * and then as before. */
static void
kept_without_memory(struct drv_memory *in)
{
	if (drv_unmap_keep(&device, in) != OK)
		die("not unmapped");
	attempt("use of a buffer without memory", identify(in->iova.v, 0));
	if (drv_map_again(&device, in, in->memory, 0, DMA_TO_DEVICE) != OK)
		die("not mapped again");
	attempt("write through a grant that was for writing before", identify(in->iova.v, 0));
	if (drv_unmap_keep(&device, in) != OK ||
	    drv_map_again(&device, in, in->memory, 0, DMA_FROM_DEVICE) != OK)
		die("not mapped again for writing");
}

/* in: two pages for the device to write; out: one for it to read. */
static void
addresses(struct drv_memory *in, const struct drv_memory *out)
{
	uint64_t base = in->iova.v;
	struct drv_memory again;

	attempt("guess at a physical address", identify(GUESS, 0));
	attempt("first page in, last page out", identify(base + PAGE_SIZE + 8, base + in->len));
	attempt("page after the window", identify(base + in->len, 0));
	attempt("write through a grant for reading", identify(out->iova.v, 0));
	if (ctrl.admin.q.checked) {
		entry("page before the window", identify(base - PAGE_SIZE, 0));
		entry("PRP not aligned", identify(base + 1, 0));
		entry("second PRP not aligned", identify(base + 8, base + PAGE_SIZE + 8));
	}
	kept_without_memory(in);
	memset(in->ptr, PATTERN, in->len);
	say("release", drv_revoke(&device, in), RULE_NONE);
	attempt("use of a released buffer", identify(base, 0));
	if (drv_grant(&device, in->memory, in->len, DMA_TO_DEVICE, false, &again) != OK)
		die("no grant");
	if (again.iova.v == base)
		log_line(2, "the address of before: it was given out again at once");
	else
		attempt("the address of before", identify(base, 0));
}

/* Completions can only be read: nobody but the device writes them. */
static void
forge(void)
{
	struct queue_info i;
	uint64_t q, va, buffer, iova;
	enum status s =
	    sys_queue_create(device.handle, ctrl.ioq_count + 1, 8, (uint64_t)(uintptr_t)&i, &q);

	if (s != OK) {
		say("a queue to forge in", s, RULE_NONE);
		return;
	}
	say("forged completion", sys_mem_map(HANDLE_NONE, i.cq_memory, 0, i.cq_bytes, 0, 3, &va),
	    RULE_NONE);
	say("grant of the completions for writing",
	    sys_dma_map(
		device.handle, i.cq_memory, 0, i.cq_bytes, DMA_FROM_DEVICE, &buffer, &iova),
	    RULE_NONE);
	/* The device has these in its address space, and may write the first. */
	entry("answer into the completions", identify(i.cq_iova, 0));
	entry("answer into the entries that the device reads", identify(i.sq_iova, 0));
}

static void
storm(void)
{
	uint64_t rule, at;
	unsigned good = 0;

	for (unsigned n = 0; n < MANY; n++)
		good += sys_queue_commit(
			    ctrl.admin.q.handle, ctrl.admin.tail, UINT32_MAX, 0, &rule, &at) == OK;
	log_line(2, "doorbell storm: %u of %u rings without an entry taken", good, MANY);
}

/* Where doorbells are mapped nothing but the device counts them. */
static void
storm_by_hand(void)
{
	struct nvme_sqe e = identify(ctrl.page.iova.v, 0);
	enum status s = E_FAULT;
	const char *why = "";
	uint16_t code = 0;

	for (unsigned n = 0; n < MANY; n++)
		drv_write32(&ctrl.regs, NVME_DOORBELLS, ctrl.admin.tail);
	/* Faults of the attacks before that are told late fail what is in flight (D11). */
	for (unsigned n = 0; n < 5 && s == E_FAULT; n++)
		s = nvme_admin(&ctrl, &e, "after the storm", NULL, &code, &why);
	log_line(2, "doorbell storm: %u rings by hand, and then a command: %s", MANY,
	    status_text(s));
}

/* Where doorbells are mapped the driver may set its queues up as it likes.  The device is not
 * usable after. */
static void
queues_of_its_own(void)
{
	uint64_t before = own_faults(), until;

	device_entry("doorbell buffers",
	    (struct nvme_sqe){ .cdw0 = ADMIN_DOORBELL_BUFFER, .prp1 = GUESS,
		.prp2 = GUESS + PAGE_SIZE });
	drv_write32(&ctrl.regs, NVME_CC, 0);
	until = now_ns() + NS_PER_S;
	while ((drv_read32(&ctrl.regs, NVME_CSTS) & CSTS_RDY) != 0 && now_ns() < until)
		sleep_until(now_ns() + NS_PER_MS);
	before = own_faults();
	drv_write64(&ctrl.regs, NVME_ASQ, GUESS);
	drv_write32(&ctrl.regs, NVME_CC,
	    CC_EN | FIELD_PREP(CC_IOSQES, 6) | FIELD_PREP(CC_IOCQES, 4));
	until = now_ns() + NS_PER_S;
	while ((drv_read32(&ctrl.regs, NVME_CSTS) & CSTS_RDY) == 0 && now_ns() < until)
		sleep_until(now_ns() + NS_PER_MS);
	drv_write32(&ctrl.regs, NVME_DOORBELLS, 1);
	say_mapped("queue base replaced", before, OK, 0);
}

/* ---- What is gone
 * ----------------------------------------------------------------------------------- */

static void
rights(const struct drv_memory *in)
{
	uint64_t h, buffer, iova;

	if (sys_handle_dup(in->memory, RIGHT_READ, &h) != OK)
		die("no handle");
	say("grant for writing of memory that may only be read",
	    sys_dma_map(device.handle, h, 0, PAGE_SIZE, DMA_FROM_DEVICE, &buffer, &iova),
	    RULE_NONE);
	say("grant past the end of memory",
	    sys_dma_map(
		device.handle, in->memory, PAGE_SIZE, in->len, DMA_FROM_DEVICE, &buffer, &iova),
	    RULE_NONE);
	(void)sys_handle_close(h);
}

static void
released(void)
{
	handle_t h;
	uint64_t dirty = 0;
	uint8_t *p = pages_alloc(RELEASED_PAGES, &h);

	if (p == NULL)
		die("no memory");
	memset(p, PATTERN, RELEASED_PAGES * PAGE_SIZE);
	(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)p, RELEASED_PAGES * PAGE_SIZE);
	(void)sys_handle_close(h);
	p = pages_alloc(2 * RELEASED_PAGES, &h);
	if (p == NULL)
		die("no memory");
	for (uint64_t i = 0; i < 2 * RELEASED_PAGES * PAGE_SIZE; i++)
		dirty += p[i] != 0;
	log_line(2, "released pages: %llu bytes are not zero", (unsigned long long)dirty);
}

/* Grants and queues until no more are given (D13); the end of the claim takes all of them back. */
void
attack_quotas(const struct drv_memory *m)
{
	struct queue_info i;
	uint64_t buffer, iova, q;
	unsigned n = 0;
	enum status s;

	do
		s = sys_queue_create(
		    device.handle, QUEUES_FROM + n, 8, (uint64_t)(uintptr_t)&i, &q);
	while (s == OK && ++n < ALL);
	log_line(2, "queues: %u, then: %s", n, status_text(s));
	n = 0;
	do
		s = sys_dma_map(
		    device.handle, m->memory, 0, PAGE_SIZE, DMA_TO_DEVICE, &buffer, &iova);
	while (s == OK && ++n < ALL);
	log_line(2, "grants: %u, then: %s", n, status_text(s));
}

static void
generations(const struct drv_memory *out, bool checked)
{
	uint64_t buffer, iova;

	say("reset", sys_device_reset(device.handle, now_ns() + 5 * NS_PER_S), RULE_NONE);
	if (checked)
		commit("queue of before the reset", ctrl.admin.tail);
	say("end of the claim", sys_handle_revoke(device.handle, now_ns() + 5 * NS_PER_S),
	    RULE_NONE);
	say("grant after the end",
	    sys_dma_map(device.handle, out->memory, 0, PAGE_SIZE, DMA_TO_DEVICE, &buffer, &iova),
	    RULE_NONE);
	if (checked)
		commit("queue after the end", ctrl.admin.tail);
	config("configuration after the end", CFG_COMMAND, 2, COMMAND_BUS_MASTER);
}

void
attack_configuration(void)
{
	configuration();
	configuration_swept();
}

void
attack_rights(const struct drv_memory *in)
{
	rights(in);
	released();
}

static void
attack_nvme(void)
{
	struct drv_memory in, out;
	const struct drv_memory *const own[] = { &in, &ctrl.page };
	const char *why = "";
	bool checked;

	if (nvme_ctrl_start(&ctrl, &device, 1, 64, &why) != OK)
		die("controller not usable: %s", why);
	if (nvme_ioq_settle(&ctrl.admin) != OK ||
	    drv_memory(&device, 2 * PAGE_SIZE, DMA_FROM_DEVICE, &in) != OK ||
	    drv_memory(&device, PAGE_SIZE, DMA_TO_DEVICE, &out) != OK)
		die("no start");
	checked = ctrl.regs.base == NULL;
	service_ready();
	memset(out.ptr, PATTERN, out.len);
	attack_configuration();
	vector_table();
	attack_rights(&in);
	if (checked) {
		registers();
		commands(in.iova.v);
		sweep(own, ARRAY_SIZE(own));
	}
	addresses(&in, &out);	/* while nothing of ours lies behind "in" */
	lists(&out);
	if (checked) {
		forge();
		storm();
	} else {
		storm_by_hand();
		queues_of_its_own();
	}
	log_line(2, "memory that was not granted for it: %llu bytes changed",
	    (unsigned long long)(changed(&in) + changed(&out)));
	/* Its end is longer than the trace: who judges the trace does without. */
	if (strcmp(start_info->args, "brief") != 0)
		attack_quotas(&out);
	generations(&out, checked);
}

int
main(void)
{
	uint64_t h;

	device.handle = start_handle("device");
	if (sys_ntfn_create(&h) != OK)
		die("no memory for a notification");
	device.ntfn = (handle_t)h;
	if (strcmp(start_info->args, "virtio") == 0)
		attack_virtio();
	else if (strcmp(start_info->args, "storm") == 0)
		attack_by_interrupts();
	else
		attack_nvme();
	log_line(2, "that is all");
	for (;;)
		sleep_until(DEADLINE_NEVER);
}
