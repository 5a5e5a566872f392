/*
 * The virtio-iommu model: see model_viommu.h.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dev/iommu/unit_io.h"
#include "kern/base/bits.h"
#include "kern/pci.h"
#include "tests/lib/fake_kernel.h"
#include "tests/lib/model_viommu.h"

enum { QUEUES = 2, MAPS = 4096, ENDPOINTS = 64, TAKEN = 256 };
enum : uint32_t { COMMON = 0, NOTIFY = 0x1000, CONFIG = 0x2000, MULTIPLIER = 4 };

struct queue { uint16_t size, seen, used; bool on; uint64_t desc, avail, ring; };
struct mapping { bool live; uint32_t domain; uint64_t first, last, to; uint32_t flags; };

struct model_viommu {
	struct model_viommu_setup s;
	uint8_t status, bypass;
	uint32_t device_select, driver_select, selected;
	uint64_t driver_features;
	struct queue queue[QUEUES];

	uint16_t taken[TAKEN];
	uint32_t taken_count, countdown;
	bool hang, cut;
	uint8_t refuse_type, refuse_status;

	struct { bool used; uint32_t endpoint, domain; } endpoint[ENDPOINTS];
	struct mapping map[MAPS];
	uint32_t kicks, requests[8], violations;
	char violation[200];
};

struct pci_function pci_functions[PCI_FUNCTIONS_MAX];
uint32_t pci_count;
static struct model_viommu *only;
static bool master, decode;	/* command register */

static PRINTF(2, 3) void
violate(struct model_viommu *m, const char *format, ...)
{
	va_list ap;

	if (m->violations++ != 0)
		return;
	va_start(ap, format);
	vsnprintf(m->violation, sizeof(m->violation), format, ap);
	va_end(ap);
}

static bool
is_ours(uint64_t pa, uint64_t len)
{
	return fake_is_memory(pa, len) && frame_state_of((struct paddr){ pa }) == FRAME_IOMMU;
}

static uint64_t
load(struct model_viommu *m, uint64_t pa, unsigned bytes)
{
	uint64_t word = align_down(pa, 8), v = 0;

	if (!is_ours(word, 8)) {
		violate(m, "the unit reads outside of IOMMU memory");
		return 0;
	}
	for (unsigned i = 0; i < bytes; i++)
		v |= (fake_device_load(align_down(pa + i, 8)) >> ((pa + i) % 8 * 8) & 0xff)
		    << (8 * i);
	return v;
}

static void
store(struct model_viommu *m, uint64_t pa, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++) {
		uint64_t word = align_down(pa + i, 8);
		uint8_t *p;

		if (!is_ours(word, 8)) {
			violate(m, "the unit writes outside of IOMMU memory");
			return;
		}
		p = (uint8_t *)frame_ptr((struct paddr){ pa + i });
		*p = (uint8_t)(v >> (8 * i));
		fake_device_store(word, *(uint64_t *)frame_ptr((struct paddr){ word }));
	}
}

static void
push_used(struct model_viommu *m, struct queue *q, uint32_t head, uint32_t bytes)
{
	uint64_t at = q->ring + 4 + 8 * (q->used % q->size);

	store(m, at, head, 4);
	store(m, at + 4, bytes, 4);
	store(m, q->ring + 2, ++q->used, 2);
}

/* ---- State ---- */

static int
domain_of(const struct model_viommu *m, uint32_t endpoint)
{
	for (unsigned i = 0; i < ENDPOINTS; i++)
		if (m->endpoint[i].used && m->endpoint[i].endpoint == endpoint)
			return (int)i;
	return -1;
}

static bool
domain_lives(const struct model_viommu *m, uint32_t domain)
{
	for (unsigned i = 0; i < ENDPOINTS; i++)
		if (m->endpoint[i].used && m->endpoint[i].domain == domain)
			return true;
	return false;
}

static void
leave(struct model_viommu *m, int i)
{
	uint32_t domain = m->endpoint[i].domain;

	m->endpoint[i].used = false;
	for (unsigned k = 0; k < MAPS && !domain_lives(m, domain); k++)
		if (m->map[k].domain == domain)
			m->map[k].live = false;
}

/* The reserved range of every endpoint: message interrupts. */
enum : uint64_t { RESV_FIRST = 0x0809'0000, RESV_LAST = 0x0809'ffff };

static uint8_t
execute(struct model_viommu *m, uint64_t at, uint32_t len)
{
	static const uint32_t want[] = { 0, 20, 20, 36, 28, 72 };
	uint64_t head = load(m, at, 4), first, last, granule = m->s.page_sizes & -m->s.page_sizes;
	uint32_t domain = (uint32_t)load(m, at + 4, 4), endpoint = (uint32_t)load(m, at + 8, 4),
		 flags;
	uint8_t type = (uint8_t)head;
	int i;

	if (type == 0 || type > 5 || head >> 8 != 0 || len != want[type]) {
		violate(
		    m, "VIO-11: a request of type %u with %u bytes, or reserved bytes", type, len);
		return 2;
	}
	m->requests[type]++;
	if (m->refuse_status != 0 && m->refuse_type == type) {
		uint8_t s = m->refuse_status;

		m->refuse_status = 0;
		return s;
	}
	if (type != 5 && (domain < m->s.domain_first || domain > m->s.domain_last))
		violate(m, "domain id 0x%x is out of range", domain);
	switch (type) {
	case 1:
		if (load(m, at + 12, 8) != 0)
			violate(m, "VIO-11: flags or reserved bytes of ATTACH");
		i = domain_of(m, endpoint);
		if (i >= 0)
			violate(
			    m, "VIO-16: endpoint 0x%x is attached while it is attached", endpoint);
		for (i = 0; i < ENDPOINTS && m->endpoint[i].used; i++)
			;
		m->endpoint[i].used = true;
		m->endpoint[i].endpoint = endpoint;
		m->endpoint[i].domain = domain;
		return 0;
	case 2:
		if (load(m, at + 12, 8) != 0)
			violate(m, "VIO-11: reserved bytes of DETACH");
		i = domain_of(m, endpoint);
		if (i < 0 || m->endpoint[i].domain != domain) {
			violate(m, "DETACH of what is not attached");
			return 4;
		}
		if (m->bypass != 0)
			violate(m, "VIO-17: a detached endpoint would pass");
		leave(m, i);
		return 0;
	case 3:
		first = load(m, at + 8, 8);
		last = load(m, at + 16, 8);
		flags = (uint32_t)load(m, at + 32, 4);
		if (!domain_lives(m, domain)) {
			violate(m, "VIO-15: MAP into a domain that is not there");
			return 6;
		}
		if (((first | (last + 1) | load(m, at + 24, 8)) & (granule - 1)) != 0 ||
		    last < first)
			violate(m, "VIO-12: MAP is not aligned");
		if (first < m->s.input_first || last > m->s.input_last ||
		    (first <= RESV_LAST && last >= RESV_FIRST))
			violate(m, "VIO-18: MAP of what cannot be or is reserved");
		if (flags == 0 || (flags & ~7u) != 0 ||
		    ((flags & 4) != 0 && (m->driver_features & BIT(5)) == 0))
			violate(m, "VIO-11: flags 0x%x of MAP", flags);
		for (unsigned k = 0; k < MAPS; k++)
			if (m->map[k].live && m->map[k].domain == domain &&
			    m->map[k].first <= last && first <= m->map[k].last) {
				violate(m, "VIO-12: MAP over a mapping");
				return 4;
			}
		for (unsigned k = 0; k < MAPS; k++)
			if (!m->map[k].live) {
				m->map[k] = (struct mapping){ true, domain, first, last,
					load(m, at + 24, 8), flags };
				return 0;
			}
		return 8;
	case 4:
		first = load(m, at + 8, 8);
		last = load(m, at + 16, 8);
		if (load(m, at + 24, 4) != 0)
			violate(m, "VIO-11: reserved bytes of UNMAP");
		if (!domain_lives(m, domain)) {
			violate(m, "UNMAP in a domain that is not there");
			return 6;
		}
		flags = 0;
		for (unsigned k = 0; k < MAPS; k++) {
			struct mapping *p = &m->map[k];

			if (!p->live || p->domain != domain || p->first > last || first > p->last)
				continue;
			if (p->first < first || p->last > last) {
				violate(m, "VIO-13: UNMAP cuts a mapping");
				return 5;
			}
			p->live = false;
			flags++;
		}
		if (flags == 0)
			violate(m, "UNMAP of nothing");
		return 0;
	}
	return 2;
}

/* The answer to a probe goes in front of the tail. */
static uint8_t
properties(struct model_viommu *m, uint32_t endpoint, uint64_t at, uint32_t len)
{
	if (len != m->s.probe_size + 4) {
		violate(m, "VIO-18: a probe with room for %u bytes", len);
		return 4;
	}
	for (uint32_t i = 0; i < m->s.probe_size; i += 4)
		store(m, at + i, 0, 4);
	store(m, at, 1 | (uint64_t)(m->s.bad_properties ? 2000 : 20) << 16, 4);
	store(m, at + 4, 1, 4);
	store(m, at + 8, RESV_FIRST, 8);
	store(m, at + 16, RESV_LAST, 8);
	if (endpoint != 0 && endpoint == m->s.odd_endpoint) {
		store(m, at + 24, 1 | (uint64_t)20 << 16, 4);
		store(m, at + 32, RESV_LAST - 0xfff, 8);
		store(m, at + 40, RESV_LAST + 0x1000, 8);
	}
	return 0;
}

static void
finish(struct model_viommu *m, uint16_t head)
{
	struct queue *q = &m->queue[0];
	uint64_t d = q->desc + 16ull * head, at = load(m, d, 8), tail, rest = load(m, d + 8, 8);
	uint32_t len = (uint32_t)rest, tail_len;
	uint8_t status;

	if ((rest >> 32 & 0xffff) != 1 || rest >> 48 >= q->size) {
		violate(m, "a request's first descriptor 0x%llx", (unsigned long long)rest);
		return;
	}
	d = q->desc + 16 * (rest >> 48);
	tail = load(m, d, 8);
	rest = load(m, d + 8, 8);
	tail_len = (uint32_t)rest;
	if ((rest >> 32 & 0xffff) != 2 || tail_len < 4) {
		violate(m, "a request's second descriptor 0x%llx", (unsigned long long)rest);
		return;
	}
	if (load(m, at, 1) == 5) {
		m->requests[5]++;
		for (unsigned i = 8; i < 72; i++)
			if (load(m, at + i, 1) != 0)
				violate(m, "VIO-11: reserved bytes of a probe");
		status = properties(m, (uint32_t)load(m, at + 4, 4), tail, tail_len);
		if (m->refuse_type == 5 && m->refuse_status != 0) {
			status = m->refuse_status;
			m->refuse_status = 0;
		}
		tail += tail_len - 4;
	} else {
		status = execute(m, at, len);
	}
	store(m, tail, status, 4);
	push_used(m, q, head, m->cut ? 0 : tail_len);
	m->cut = false;
}

static void
take(struct model_viommu *m)
{
	struct queue *q = &m->queue[0];

	while (q->on && q->seen != (uint16_t)load(m, q->avail + 2, 2)) {
		if (m->taken_count == TAKEN) {
			violate(m, "more requests than descriptors");
			return;
		}
		m->taken[m->taken_count++] =
		    (uint16_t)load(m, q->avail + 4 + 2ull * (q->seen++ % q->size), 2);
	}
}

/* One answer, of any request that it has. */
static bool
progress(struct model_viommu *m)
{
	uint32_t i;
	uint16_t head;

	if (m->hang || m->taken_count == 0 || (m->status & 0x44) != 4)
		return false;
	i = m->s.lag == 0 ? 0 : (uint32_t)(fake_random() % m->taken_count);
	head = m->taken[i];
	memmove(&m->taken[i], &m->taken[i + 1], (--m->taken_count - i) * sizeof(m->taken[0]));
	finish(m, head);
	return true;
}

static void
tick(void *model)
{
	struct model_viommu *m = model;

	if (m->s.lag == 0) {
		while (progress(m))
			;
	} else if (m->countdown == 0 || --m->countdown == 0) {
		(void)progress(m);
		m->countdown = m->s.lag;
	}
}

/* ---- Registers ---- */

static void
reset(struct model_viommu *m)
{
	m->status = 0;
	m->driver_features = 0;
	memset(m->queue, 0, sizeof(m->queue));
	for (unsigned i = 0; i < QUEUES; i++)
		m->queue[i].size = m->s.queue_size;
	m->taken_count = 0;
}

static uint64_t
config_read(const struct model_viommu *m, uint32_t at)
{
	switch (at) {
	case 0: return (uint32_t)m->s.page_sizes;
	case 4: return m->s.page_sizes >> 32;
	case 8: return (uint32_t)m->s.input_first;
	case 12: return m->s.input_first >> 32;
	case 16: return (uint32_t)m->s.input_last;
	case 20: return m->s.input_last >> 32;
	case 24: return m->s.domain_first;
	case 28: return m->s.domain_last;
	case 32: return m->s.probe_size;
	case 36: return m->bypass;
	}
	return 0;
}

static uint64_t
read_register(void *model, uint32_t offset, unsigned bytes)
{
	struct model_viommu *m = model;
	struct queue *q = &m->queue[m->selected % QUEUES];

	if (!decode)			/* firmware left it so */
		return UINT64_MAX >> (64 - 8 * bytes);
	tick(m);
	if (offset >= CONFIG)
		return config_read(m, offset - CONFIG);
	switch (offset) {
	case 4:
		return m->device_select == 0 ? (uint32_t)m->s.features :
					       (uint32_t)(m->s.features >> 32);
	case 20:
		if (bytes != 1)
			violate(m, "the status register by %u bytes", bytes);
		return m->status;
	case 24: return q->size;
	case 30: return m->s.no_notify ? 0xffff : m->selected;
	}
	violate(m, "read of register 0x%x", offset);
	return 0;
}

static void
status(struct model_viommu *m, uint8_t v)
{
	if (v == 0) {
		reset(m);
		return;
	}
	if ((v & m->status) != m->status)
		violate(m, "status bits are taken back");
	if ((v & 8) != 0 && (m->status & 8) == 0) {
		if ((m->driver_features & ~m->s.features) != 0 ||
		    (m->driver_features & BIT(32)) == 0)
			violate(m, "VIO-02: features that were not offered, or not VERSION_1");
		if ((m->driver_features & BIT(3)) != 0)
			violate(m, "VIO-27: the driver asks for bypass");
		if (m->s.features_refused)
			v &= (uint8_t)~8u;
	}
	if ((v & 4) != 0 && (m->status & 4) == 0) {
		if (!m->queue[0].on || !m->queue[1].on)
			violate(m, "it runs before its queues are set up");
		if (m->bypass != 0 && (m->s.features & BIT(6)) != 0)
			violate(m, "VIO-26: it runs while who is attached to nothing passes");
		if (!master)
			violate(m, "VIO-26: it runs and may not master the bus");
	}
	m->status = v;
}

static void
write_register(void *model, uint32_t offset, unsigned bytes, uint64_t v)
{
	struct model_viommu *m = model;
	struct queue *q = &m->queue[m->selected % QUEUES];

	if (!decode) {
		violate(m, "a register is written while memory decode is off");
		return;
	}
	if (offset == CONFIG + 36) {
		if (bytes != 1 || (m->driver_features & BIT(6)) == 0)
			violate(m, "VIO-26: bypass is written without its feature");
		if (!m->s.bypass_stuck)
			m->bypass = (uint8_t)v;
		return;
	}
	if (offset >= NOTIFY && offset < CONFIG) {
		if (bytes != 2 || offset != NOTIFY + MULTIPLIER * v || v >= QUEUES)
			violate(
			    m, "a notification at 0x%x of 0x%llx", offset, (unsigned long long)v);
		if ((m->status & 4) == 0)
			violate(m, "a notification before it runs");
		m->kicks += v == 0;
		if (v == 0)
			take(m);
		if (m->s.lag == 0)
			tick(m);
		return;
	}
	switch (offset) {
	case 0: m->device_select = (uint32_t)v; return;
	case 8: m->driver_select = (uint32_t)v; return;
	case 12:
		m->driver_features = m->driver_select == 0 ?
		    (m->driver_features & ~(uint64_t)UINT32_MAX) | v :
		    (m->driver_features & UINT32_MAX) | v << 32;
		return;
	case 20: status(m, (uint8_t)v); return;
	case 22: m->selected = (uint32_t)v; return;
	case 24:
		if (v > q->size || !is_pow2(v))
			violate(m, "queue size %llu", (unsigned long long)v);
		q->size = (uint16_t)v;
		return;
	case 26: return;
	case 28:
		if ((m->status & 8) == 0)
			violate(m, "a queue before the features are agreed");
		if (!is_ours(q->desc, 16u * q->size) || !is_ours(q->avail, 6u + 2u * q->size) ||
		    !is_ours(q->ring, 6u + 8u * q->size))
			violate(m, "a queue outside of IOMMU memory");
		q->on = v == 1;
		return;
	case 32: q->desc = (q->desc & ~(uint64_t)UINT32_MAX) | v; return;
	case 36: q->desc = (q->desc & UINT32_MAX) | v << 32; return;
	case 40: q->avail = (q->avail & ~(uint64_t)UINT32_MAX) | v; return;
	case 44: q->avail = (q->avail & UINT32_MAX) | v << 32; return;
	case 48: q->ring = (q->ring & ~(uint64_t)UINT32_MAX) | v; return;
	case 52: q->ring = (q->ring & UINT32_MAX) | v << 32; return;
	}
	violate(m, "write of register 0x%x", offset);
}

/* ---- PCI ---- */

void
model_viommu_function(uint16_t rid, uint32_t endpoint)
{
	pci_functions[pci_count++] =
	    (struct pci_function){ .rid = rid, .unit = 0, .endpoint = endpoint };
}

struct pci_function *
pci_find(uint16_t segment, uint16_t rid)
{
	for (uint32_t i = 0; i < pci_count; i++)
		if (pci_functions[i].segment == segment && pci_functions[i].rid == rid)
			return &pci_functions[i];
	return NULL;
}

uint32_t
pci_read(const struct pci_function *f UNUSED, uint32_t offset, unsigned width)
{
	static uint8_t c[256];
	const struct { uint8_t at, next, type; uint32_t offset, length;
	} caps[] = {
		{ 0x40, 0x50, 1, COMMON, 56 },
		{ 0x50, 0x68, 4, CONFIG, only->s.short_config ? 8 : 64 },
		{ 0x68, 0x80, 5, 0, 0 },
		{ 0x80, 0, 2, NOTIFY, 0x1000 },
	};
	uint32_t v = 0;

	memset(c, 0, sizeof(c));
	c[0x06] = 0x10;
	c[0x34] = 0x40;
	for (unsigned i = 0; i < ARRAY_SIZE(caps); i++) {
		uint8_t *p = c + caps[i].at;

		p[0] = 9;
		p[1] = caps[i].next;
		p[2] = 20;
		p[3] = caps[i].type;
		p[4] = 4;
		memcpy(p + 8, &caps[i].offset, 4);
		memcpy(p + 12, &caps[i].length, 4);
		p[16] = MULTIPLIER;
	}
	c[0x04] = decode ? 2 : 0;
	memcpy(&v, c + offset, width);
	return v;
}

void
pci_write(const struct pci_function *f UNUSED, uint32_t offset, unsigned width, uint32_t value)
{
	if (offset != 4 || width != 2 || (value & ~2u) != 0)
		violate(only, "configuration space: 0x%x at 0x%x", value, offset);
	decode = (value & 2) != 0;
}

void pci_bus_master(struct pci_function *f, bool on) { master = on && f->problem == NULL; }
bool model_viommu_master(void) { return master; }

/* ---- The world outside ---- */

static void
fault(struct model_viommu *m, uint32_t endpoint, uint64_t iova, bool write, uint8_t reason)
{
	struct queue *q = &m->queue[1];
	uint16_t head;
	uint64_t d, at;

	if (!q->on || q->seen == (uint16_t)load(m, q->avail + 2, 2))
		return;
	head = (uint16_t)load(m, q->avail + 4 + 2ull * (q->seen++ % q->size), 2);
	d = q->desc + 16ull * head;
	at = load(m, d, 8);
	if ((load(m, d + 8, 8) & BITS(47, 0)) != (24 | BIT(33)))
		violate(m, "VIO-20: an event buffer's descriptor");
	store(m, at, reason | (uint64_t)(0x100 | (write ? 2 : 1)) << 32, 8);
	store(m, at + 8, endpoint, 8);
	store(m, at + 16, iova, 8);
	push_used(m, q, head, 24);
}

struct model_viommu_dma
model_viommu_dma(struct model_viommu *m, uint32_t endpoint, uint64_t iova, bool write)
{
	struct model_viommu_dma d = { 0 };
	int i = domain_of(m, endpoint);

	if (i < 0) {
		d.done = d.bypass = m->bypass != 0;
		d.pa = iova;
		d.reason = d.done ? 0 : 1;
	} else {
		d.reason = 2;
		for (unsigned k = 0; k < MAPS; k++) {
			const struct mapping *p = &m->map[k];

			if (p->live && p->domain == m->endpoint[i].domain && iova >= p->first &&
			    iova <= p->last && (p->flags & (write ? 2 : 1)) != 0) {
				d.done = true;
				d.pa = p->to + (iova - p->first);
				d.reason = 0;
			}
		}
	}
	if (d.reason != 0)
		fault(m, endpoint, iova, write, d.reason);
	return d;
}

bool
model_viommu_reaches(struct model_viommu *m, uint64_t page)
{
	for (unsigned k = 0; k < MAPS; k++)
		if (m->map[k].live &&
		    ranges_overlap(
			m->map[k].to, m->map[k].last - m->map[k].first + 1, page, PAGE_SIZE))
			return true;
	return false;
}

static void
freed(void *model, uint64_t pa, unsigned order)
{
	struct model_viommu *m = model;

	for (unsigned k = 0; k < MAPS; k++)
		if (m->map[k].live &&
		    ranges_overlap(
			m->map[k].to, m->map[k].last - m->map[k].first + 1, pa, PAGE_SIZE << order))
			violate(m, "DMA-02: a frame is freed that a mapping leads to");
}

struct model_viommu *
model_viommu_create(const struct model_viommu_setup *setup)
{
	struct model_viommu *m = calloc(1, sizeof(*m));

	if (m == NULL)
		abort();
	m->s = *setup;
	if (m->s.features == 0)
		m->s.features = MODEL_VIOMMU_FEATURES;
	if (m->s.page_sizes == 0)
		m->s.page_sizes = ~PAGE_MASK;
	if (m->s.input_last == 0)
		m->s.input_last = BIT(48) - 1;
	if (m->s.domain_last == 0)
		m->s.domain_last = UINT32_MAX;
	if (m->s.probe_size == 0)
		m->s.probe_size = 512;
	if (m->s.queue_size == 0)
		m->s.queue_size = 256;
	m->bypass = setup->bypass;
	reset(m);
	m->status = 0xf;		/* firmware used it */
	fake_device_add(&(struct fake_device){ .base = MODEL_VIOMMU_BASE,
	    .len = 0x4000,
	    .model = m,
	    .read = read_register,
	    .write = write_register,
	    .tick = tick });
	fake_hooks = (struct fake_hooks){ .arg = m, .freed = freed };
	only = m;
	master = decode = false;
	pci_count = 0;
	pci_functions[pci_count] = (struct pci_function){ .rid = MODEL_VIOMMU_RID,
		.unit = -1,
		.vendor = 0x1af4,
		.device = setup->other_device ? 0x1041 : 0x1057 };
	pci_functions[pci_count++].bar[4] =
	    (struct pci_bar){ .base = MODEL_VIOMMU_BASE, .len = 0x4000 };
	return m;
}

void
model_viommu_destroy(struct model_viommu *m)
{
	memset(&fake_hooks, 0, sizeof(fake_hooks));
	free(m);
}

void model_viommu_hang(struct model_viommu *m, bool hang) { m->hang = hang; }
void model_viommu_short(struct model_viommu *m) { m->cut = true; }
void
model_viommu_forge(struct model_viommu *m, uint32_t head)
{
	push_used(m, &m->queue[0], head, 4);
}
void model_viommu_give_up(struct model_viommu *m) { m->status |= 64; }

void
model_viommu_run_ahead(struct model_viommu *m)
{
	m->queue[0].used = (uint16_t)(m->queue[0].used + 1000);
	store(m, m->queue[0].ring + 2, m->queue[0].used, 2);
}

void
model_viommu_refuse(struct model_viommu *m, uint8_t type, uint8_t s)
{
	m->refuse_type = type;
	m->refuse_status = s;
}

uint32_t model_viommu_violations(const struct model_viommu *m) { return m->violations; }
const char *model_viommu_violation(const struct model_viommu *m) { return m->violation; }
bool model_viommu_runs(const struct model_viommu *m) { return (m->status & 0x44) == 4; }

static uint32_t
count(uint32_t *counter)
{
	uint32_t n = *counter;

	*counter = 0;
	return n;
}

uint32_t model_viommu_kicks(struct model_viommu *m) { return count(&m->kicks); }
uint32_t
model_viommu_requests(struct model_viommu *m, uint8_t type)
{
	return count(&m->requests[type & 7]);
}
