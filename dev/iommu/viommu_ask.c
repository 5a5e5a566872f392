/*
 * virtio-iommu: what the unit reserves for whom.
 *
 * A probe of an endpoint is answered with a list of its properties, of which one is known here:
 * ranges of addresses that it must not use for memory.  Everybody behind the unit is asked when it
 * starts, and whatever is reserved for one is mapped for nobody: the ranges are holes of the unit.
 * An endpoint that comes later, with a card that is plugged in, is asked then.  Domains have been
 * laid out around the holes by that time, so what it needs must be among them, or it is not used.
 *
 *     page       0 the request ... | VIO_ASK_ANSWER  properties, probe_size bytes | tail
 *
 * Hostile device.  The list is copied, and walked once, within its length.
 *
 * Waits    for one answer, without the lock, as an attach does.  One asks at a time.
 * Locks    v->lock.
 * Source   virtio 1.2, 5.13.6.7; specs VIO-18.
 */
#include "dev/iommu/viommu_unit.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/pci.h"

static_assert(VREQ_PROBE_LEN <= VIO_ASK_ANSWER &&
    VIO_ASK_ANSWER + VIO_PROBE_MAX + VREQ_TAIL <= PAGE_SIZE);

/* Its properties to out.  E_IO: the unit refuses. */
static enum status
probe(struct viommu *v, uint32_t endpoint, uint8_t *out)
{
	/* The slot has only its first word, for who looks at its type. */
	uint64_t words[VIO_SLOT_TAIL / 8] = { VREQ_PROBE | FIELD_PREP(VREQ_ID, endpoint) };
	struct iommu_ticket t = { 0 };
	enum status s;

	viommu_lock(v);
	s = v->dead ? E_QUARANTINED : v->asking || viommu_room(v) == 0 ? E_BUSY : OK;
	if (s == OK) {
		v->asking = true;
		memset(v->ask, 0, VIO_ASK_ANSWER);
		memset(v->ask + VIO_ASK_ANSWER, 0xff, v->probe_size + VREQ_TAIL);
		unit_store64((uint64_t *)(void *)v->ask, words[0]);
		viommu_put(v, words, VREQ_PROBE_LEN);
		t = viommu_ticket(v);
	}
	viommu_unlock(v);
	if (s != OK)
		return s;
	s = unit_ticket_wait(&v->unit, t, VIO_PROBE_WAIT_NS);
	viommu_lock(v);
	if (s != OK)			/* its page may still be written */
		viommu_fail(v, "a probe is not answered");
	else if (viommu_answer(v, t) != VS_OK)
		s = E_IO;
	else
		memcpy(out, v->ask + VIO_ASK_ANSWER, v->probe_size);
	v->asking = false;
	viommu_unlock(v);
	return s;
}

bool
viommu_reserved(const struct viommu *v, uint64_t at, uint64_t last)
{
	for (uint32_t i = 0; i < v->reserved_count; i++)
		if (at <= v->reserved[i].last && v->reserved[i].first <= last)
			return true;
	return false;
}

/* Lies in one of those that are known, or, while they are learned, becomes one. */
static const char *
take(struct viommu *v, uint64_t first, uint64_t last, bool learn)
{
	if (last < first || last - first == UINT64_MAX)
		return "it reserves a range that cannot be";
	for (uint32_t i = 0; i < v->reserved_count; i++)
		if (v->reserved[i].first <= first && last <= v->reserved[i].last)
			return NULL;
	if (!learn)
		return "it reserves what was not reserved at boot";
	if (v->reserved_count == VIO_RESERVED_MAX)
		return "it reserves too many ranges";
	v->reserved[v->reserved_count].first = first;
	v->reserved[v->reserved_count++].last = last;
	return NULL;
}

/* The reserved ranges of one endpoint, as the device lists them.  NULL: read. */
static const char *
read_properties(struct viommu *v, const uint8_t *p, bool learn)
{
	const char *what = NULL;

	for (uint32_t at = 0; what == NULL && v->probe_size - at >= 4; ) {
		uint32_t type = (p[at] | (uint32_t)p[at + 1] << 8) & VPROP_TYPE_MASK;
		uint32_t n = p[at + 2] | (uint32_t)p[at + 3] << 8;
		uint64_t range[2] = { 0 };

		if (type == VPROP_NONE)
			return NULL;
		if (n > v->probe_size - at - 4 || (type == VPROP_RESV_MEM && n < VPROP_RESV_LEN))
			return "its properties overrun";
		if (type == VPROP_RESV_MEM) {
			for (unsigned i = 0; i < 16; i++)
				range[i / 8] |= (uint64_t)p[at + 8 + i] << (i % 8 * 8);
			what = take(v, range[0], range[1], learn);
		}
		at += 4 + n;
	}
	return what;
}

const char *
viommu_read_reserved(struct viommu *v)
{
	uint8_t properties[VIO_PROBE_MAX];
	const char *what = NULL;

	for (uint32_t i = 0; i < pci_count && v->probe_size != 0 && what == NULL; i++) {
		if (pci_functions[i].unit != (int)v->unit.index)
			continue;
		if (probe(v, pci_functions[i].endpoint, properties) != OK)
			return "it does not tell what it reserves";
		what = read_properties(v, properties, true);
	}
	return what;
}

enum status
viommu_ask(struct iommu_unit *u, uint32_t endpoint)
{
	struct viommu *v = viommu_of(u);
	uint8_t properties[VIO_PROBE_MAX];
	enum status s;

	if (v->probe_size == 0)
		return OK;
	s = probe(v, endpoint, properties);
	if (s != OK)
		return s;
	return read_properties(v, properties, false) == NULL ? OK : E_REFUSED;
}
