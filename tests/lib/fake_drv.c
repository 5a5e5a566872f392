/*
 * dev/drv.h on the host: fake_drv.h.
 */
#include "tests/lib/fake_drv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kern/base/bits.h"

static struct drv_device
    *the_device; /* of drv_now, drv_queue_commit and drv_log, which name none */

void
fake_drv_init(struct drv_device *d, uint64_t regs_len)
{
	*d = (struct drv_device){ .regs_len = regs_len,
		.vectors = 16,
		.pages_left = UINT64_MAX,
		.step_ns = 1000,
		.next_iova = 0x1'2345'6000 };
	if (posix_memalign((void **)&d->regs, PAGE_SIZE, align_up(regs_len, PAGE_SIZE)) != 0)
		abort();
	memset(d->regs, 0, align_up(regs_len, PAGE_SIZE));
	the_device = d;
}

void
fake_drv_fini(struct drv_device *d)
{
	for (uint32_t i = 0; i < d->buffers; i++)
		free(d->buffer[i].ptr);
	free(d->regs);
	the_device = NULL;
}

void *
fake_drv_at(struct drv_device *d, uint64_t iova, uint64_t len, enum dma_dir dir)
{
	for (uint32_t i = 0; i < d->buffers; i++) {
		struct fake_buffer *b = &d->buffer[i];

		if (range_within(iova, len, b->iova, b->len) && (b->dir & dir) == dir)
			return b->ptr + (iova - b->iova);
	}
	d->faults++;
	return NULL;
}

enum status
drv_window(struct drv_device *d, unsigned bar, struct drv_window *out)
{
	if (d->access != NULL) {
		*out = (struct drv_window){ .len = d->regs_len, .handle = bar };
		return OK;
	}
	if (bar != 0 || d->regs_len == 0)
		return E_NOT_FOUND;
	*out = (struct drv_window){ .base = d->regs, .len = d->regs_len };
	return OK;
}

/* Without a model's "access" registers are mapped here. */
uint64_t
drv_register(
    const struct drv_window *w, uint32_t offset, unsigned width, bool write, uint64_t value)
{
	if (the_device->access == NULL)
		abort();
	return the_device->access(the_device->model, w->handle, offset, width, write, value);
}

uint32_t
drv_config(struct drv_device *d, uint32_t offset, unsigned width)
{
	uint32_t v = 0;

	if (offset + width > sizeof(d->config) || (offset & (width - 1)) != 0)
		return UINT32_MAX;
	for (unsigned i = 0; i < width; i++)
		v |= (uint32_t)d->config[offset + i] << 8 * i;
	return v;
}

uint64_t drv_transfer_max(const struct drv_device *d UNUSED) { return UINT64_MAX; }

enum status
drv_memory(struct drv_device *d, uint64_t len, enum dma_dir dir, struct drv_memory *out)
{
	struct fake_buffer *b = &d->buffer[d->buffers];

	len = align_up(len, PAGE_SIZE);
	if (d->buffers == FAKE_BUFFERS || d->pages_left < len / PAGE_SIZE)
		return E_NO_MEMORY;
	d->pages_left -= len / PAGE_SIZE;
	*b = (struct fake_buffer){ .iova = d->next_iova, .len = len, .dir = dir };
	if (posix_memalign((void **)&b->ptr, PAGE_SIZE, len) != 0)
		abort();
	memset(b->ptr, 0, len);
	d->next_iova += len + PAGE_SIZE;	/* a hole behind each */
	*out = (struct drv_memory){
		.ptr = b->ptr, .iova = { b->iova }, .len = len, .buffer = d->buffers
	};
	d->buffers++;
	return OK;
}

enum status
drv_queue(struct drv_device *d, uint32_t id, uint32_t entries, uint32_t sq_entry, uint32_t cq_entry,
    uint64_t sq_at, uint64_t cq_at, struct drv_queue *out)
{
	uint64_t sq_bytes = (uint64_t)entries * sq_entry, cq_bytes = (uint64_t)entries * cq_entry;
	enum status s;

	if (sq_at + 4 > d->regs_len || cq_at + 4 > d->regs_len)
		return E_RANGE;
	s = drv_memory(d, sq_bytes, DMA_TO_DEVICE, &out->sq);
	if (s == OK)
		s = drv_memory(d, cq_bytes, DMA_FROM_DEVICE, &out->cq);
	out->handle = id;
	return s;
}

void
drv_queue_reset(struct drv_queue *q)
{
	memset(q->sq.ptr, 0, q->sq.len);
	memset(q->cq.ptr, 0, q->cq.len);
}

enum status
drv_queue_commit(struct drv_queue *q, uint32_t sq_tail, uint32_t cq_head)
{
	the_device->sq_rings += sq_tail != UINT32_MAX;
	the_device->cq_rings += cq_head != UINT32_MAX;
	the_device->doorbell(the_device->model, q->handle, sq_tail, cq_head);
	return OK;
}

/* Descriptors and available ring, then the used ring [VIRTIO 1.2, 2.7]. */
enum status
drv_vring(struct drv_device *d, uint16_t index, uint16_t entries, unsigned bar UNUSED,
    uint64_t notify UNUSED, struct drv_vring *out)
{
	enum status s;

	*out = (struct drv_vring){
		.index = index, .entries = entries, .avail_at = 16u * entries, .handle = index
	};
	s = drv_memory(d, 16ull * entries + 6 + 2ull * entries, DMA_TO_DEVICE, &out->driver);
	return s == OK ? drv_memory(d, 6 + 8ull * entries, DMA_FROM_DEVICE, &out->device) : s;
}

void
drv_vring_reset(struct drv_vring *q)
{
	memset(q->driver.ptr, 0, q->driver.len);
	memset(q->device.ptr, 0, q->device.len);
	q->shown = 0;
}

enum status
drv_vring_commit(struct drv_vring *q, uint32_t avail_idx, uint32_t used_idx)
{
	if (the_device->commit_status != OK)
		return the_device->commit_status;
	if (avail_idx != UINT32_MAX) {
		uint16_t idx = (uint16_t)avail_idx;

		memcpy((uint8_t *)q->driver.ptr + q->avail_at + 2, &idx, sizeof(idx));
		q->shown = idx;
	}
	the_device->vring(the_device->model, q->index, avail_idx, used_idx);
	return OK;
}

uint32_t drv_vectors(struct drv_device *d) { return d->vectors; }

enum status
drv_vector(struct drv_device *d, uint32_t n, uint64_t bits UNUSED)
{
	if (n >= d->vectors)
		return E_RANGE;
	if ((d->vectors_denied & 1u << n) != 0)
		return E_NO_MEMORY;
	if ((d->vectors_bound & 1u << n) != 0)
		return E_BUSY;
	d->vectors_bound |= 1u << n;
	return OK;
}

uint64_t
drv_now(void)
{
	the_device->now += the_device->step_ns;
	the_device->step(the_device->model);
	return the_device->now;
}

uint64_t
drv_wait(struct drv_device *d, uint64_t deadline)
{
	d->now = max_u64(d->now, deadline);
	d->step(d->model);
	return 0;
}

uint64_t drv_faults(struct drv_device *d) { return d->faults; }
uint32_t drv_faults_lost(const struct drv_device *d UNUSED) { return 0; }

enum status
drv_reset(struct drv_device *d, uint64_t deadline UNUSED)
{
	d->resets++;
	if (d->reset_fails)
		return E_TIMED_OUT;
	d->reset(d->model);
	return OK;
}

void
drv_log(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(the_device->log, sizeof(the_device->log), format, ap);
	va_end(ap);
}
