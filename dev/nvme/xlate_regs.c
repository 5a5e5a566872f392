/*
 * The NVMe translator: completions, what answers teach, registers (xlate.c tells what stands
 * against what).
 *
 * Manual    NVM Express Base 2.1; NVM Command Set 1.1.
 */
#include "dev/nvme/xlate_parts.h"
#include "kern/base/mmio.h"

static_assert(offsetof(struct nvme_cqe, sq) == 8 && offsetof(struct nvme_cqe, status) == 12);

/* xlate_device.fact[] */
enum { FACT_DSTRD };

enum : uint32_t { LBADS_MIN = 9, LBADS_MAX = 16 };

/* ---- Completions ----------------------------------------------------------------------------- */

struct xlate_done
nvme_completed(const volatile uint64_t *cqe, bool odd_round)
{
	uint64_t w = cqe[1];
	uint32_t status = hi(w);

	return (struct xlate_done){
		.head = lo(w) & 0xffff,
		.queue = lo(w) >> 16,
		.id = status & CQE_CID,
		.good = (status & (CQE_SC | CQE_SCT)) == 0,
		.fresh = ((status & CQE_PHASE) != 0) == odd_round,
	};
}

/* Bytes of the side page, which the device may write at any time: each is read once. */
static uint32_t
side_bytes(const struct xlate_slot *s, uint32_t at, uint32_t n)
{
	uint32_t v = 0;

	for (uint32_t i = 0; i < n; i++)
		v |= (uint32_t)once_load((const uint8_t *)s->side + at + i) << 8 * i;
	return v;
}

static void
side_clear(struct xlate_slot *s, uint32_t at, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		once_store((uint8_t *)s->side + at + i, 0);
}

void
nvme_answered(struct xlate_device *d, struct xlate_slot *s)
{
	uint32_t flbas, format, lbads;

	switch (s->answer) {
	case ANSWER_NAMESPACE:
		if (s->target >= XLATE_TARGETS_MAX)
			return;
		flbas = side_bytes(s, NS_FLBAS, 1);
		format = side_bytes(s, NS_LBAF + 4 * ((flbas & 15) | (flbas >> 1 & 0x30)), 4);
		lbads = format >> 16 & 0xff;
		/*
		 * With metadata a block is longer than its data; without a size the namespace is
		 * not active.
		 */
		d->lg2[s->target] = (format & 0xffff) == 0 && lbads >= LBADS_MIN &&
		    lbads <= LBADS_MAX &&
		    (side_bytes(s, NS_NSZE, 4) | side_bytes(s, NS_NSZE + 4, 4)) != 0 ?
		    (uint8_t)lbads : 0;
		return;
	case ANSWER_CONTROLLER:
		side_clear(s, ID_OACS, 2);
		side_clear(s, ID_HMPRE, 4);
		side_clear(s, ID_HMMIN, 4);
		side_clear(s, ID_SGLS, 4);
		return;
	}
}

/* ---- Registers ------------------------------------------------------------------------------- */

uint32_t
nvme_doorbell_at(const struct xlate_device *d, uint32_t id, bool completion)
{
	return (uint32_t)nvme_doorbell(id, completion, (uint32_t)d->fact[FACT_DSTRD]);
}

bool
nvme_open(struct xlate_device *d, const struct xlate_source *s)
{
	uint64_t cap, n;

	if (d->bar_bytes[0] < NVME_DOORBELLS + 16 || d->bar_bytes[0] > XLATE_REGISTER_OFFSET)
		return false;
	cap = s->read(s->arg, NVME_CAP, 8);
	if (cap == UINT64_MAX || FIELD_GET(CAP_MPSMIN, cap) != 0 ||
	    (FIELD_GET(CAP_CSS, cap) & 1) == 0)
		return false;
	d->fact[FACT_DSTRD] = FIELD_GET(CAP_DSTRD, cap);
	n = (d->bar_bytes[0] - NVME_DOORBELLS) / (8ull << d->fact[FACT_DSTRD]);
	d->queues = n < XLATE_QUEUES_MAX ? (uint32_t)n : XLATE_QUEUES_MAX;
	return d->queues >= 2;
}

static enum dma_rule
write_cc(const struct xlate_device *d, uint32_t cc, struct xlate_writes *out)
{
	const struct xlate_bound *b = &d->queue[0];

	/* 4 KiB pages, the NVM command set, round robin. */
	if ((cc & ~(CC_EN | CC_SHN | CC_IOSQES | CC_IOCQES)) != 0)
		return RULE_VALUE;
	if ((cc & CC_EN) == 0) {
		/*
		 * Told to stop before it was ready, it never says that it has: only a reset of the
		 * function does.
		 */
		if (d->running && !d->ready)
			return RULE_ORDER;
		out->effect = XLATE_STOP;
	} else if (FIELD_GET(CC_IOSQES, cc) != 6 || FIELD_GET(CC_IOCQES, cc) != 4) {
		return RULE_VALUE;
	} else if (!d->running) {
		if (!d->stopped || !b->bound || b->used)
			return RULE_ORDER;
		out->v[out->count++] = (struct xlate_write){ .offset = NVME_AQA, .width = 4,
		    .value = FIELD_PREP(AQA_ASQS, b->entries - 1) |
			FIELD_PREP(AQA_ACQS, b->entries - 1) };
		out->v[out->count++] = (struct xlate_write){ .offset = NVME_ASQ, .width = 8,
		    .value = b->sq_address };
		out->v[out->count++] = (struct xlate_write){ .offset = NVME_ACQ, .width = 8,
		    .value = b->cq_address };
		out->effect = XLATE_START;
	}
	out->v[out->count++] = (struct xlate_write){ .offset = NVME_CC, .width = 4, .value = cc };
	return RULE_NONE;
}

enum dma_rule
nvme_write(struct xlate_device *d, uint32_t offset, unsigned width, uint64_t value,
    struct xlate_writes *out)
{
	const struct xlate_bound *b = &d->queue[0];

	*out = (struct xlate_writes){ .effect = XLATE_ACCESS };
	if (width == 4 && offset == NVME_CC)
		return write_cc(d, (uint32_t)value, out);
	/*
	 * The kernel writes these itself, when the controller is enabled; the driver may only say
	 * what it knows already.
	 */
	if ((width == 4 && offset == NVME_AQA) ||
	    (width == 8 && (offset == NVME_ASQ || offset == NVME_ACQ))) {
		if (!b->bound || b->used)
			return RULE_ORDER;
		return value == (offset == NVME_ASQ ? b->sq_name : offset == NVME_ACQ ? b->cq_name :
		    (FIELD_PREP(AQA_ASQS, b->entries - 1) | FIELD_PREP(AQA_ACQS, b->entries - 1))) ?
		    RULE_NONE : RULE_VALUE;
	}
	return RULE_REGISTER;
}

enum dma_rule
nvme_may_read(const struct xlate_device *d UNUSED, uint32_t offset, unsigned width)
{
	switch (offset) {
	case NVME_CAP:
		return width == 4 || width == 8 ? RULE_NONE : RULE_REGISTER;
	case NVME_CAP + 4:
	case NVME_VS:
	case NVME_CC:
	case NVME_CSTS:
	case NVME_AQA:
	case NVME_CRTO:
		return width == 4 ? RULE_NONE : RULE_REGISTER;
	}
	return RULE_REGISTER;
}

enum xlate_effect
nvme_seen(struct xlate_device *d, uint32_t offset, unsigned width, uint64_t *value)
{
	const uint64_t hidden = CAP_MPSMAX | CAP_NSSRS | CAP_BPS | CAP_PMRS | CAP_CMBS;
	uint32_t csts = (uint32_t)*value;

	if (offset == NVME_CAP && width == 8 && *value != UINT64_MAX)
		*value &= ~hidden;
	if (offset == NVME_CAP + 4 && csts != UINT32_MAX)
		*value &= ~(hidden >> 32);
	if (offset != NVME_CSTS || csts == UINT32_MAX)
		return XLATE_ACCESS;
	if (d->running)
		return (csts & CSTS_RDY) != 0 ? XLATE_READY : XLATE_ACCESS;
	return (csts & CSTS_RDY) == 0 ? XLATE_STOPPED : XLATE_ACCESS;
}
