/*
 * dev/drv.h on capabilities: the one user file that knows lanes exist.
 *
 *
 * mapped      a queue is two granted runs of pages and two registers, which are stored to
 * checked     mediated or brokered, which look the same from here: a queue is the kernel's,
 *             registers are calls.  That registers cannot be mapped is how it is found out
 */
#include "usr/lib/drv.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"

uint32_t
drv_config(struct drv_device *d, uint32_t offset, unsigned width)
{
	uint64_t v;

	return sys_device_config(d->handle, offset, width, 0, &v) == OK ? (uint32_t)v : UINT32_MAX;
}

enum status
drv_window(struct drv_device *d, unsigned bar, struct drv_window *out)
{
	uint64_t h, len, va;
	enum status s = sys_device_bar(d->handle, bar, &h, &len);

	if (s != OK)
		return s;
	s = sys_mem_map(HANDLE_NONE, h, 0, len, 0, 3, &va);
	if (s == E_REFUSED)
		va = 0;
	else if (s != OK) {
		(void)sys_handle_close(h);
		return s;
	}
	*out = (struct drv_window){
		.base = (volatile uint8_t *)(uintptr_t)va, .len = len, .handle = (uint32_t)h
	};
	if (bar < DRV_BARS)
		d->window[bar] = *out;
	d->checked = out->base == NULL;
	return OK;
}

uint64_t
drv_register(
    const struct drv_window *w, uint32_t offset, unsigned width, bool write, uint64_t value)
{
	uint64_t got;

	return sys_mmio_access(
		   w->handle, offset, width | (write ? CONFIG_WRITE : 0), value, &got) == OK ?
	    got :
	    UINT64_MAX;
}

enum status
drv_grant(struct drv_device *d, uint32_t memory, uint64_t len, enum dma_dir dir, bool map,
    struct drv_memory *out)
{
	uint64_t buffer, iova, va = 0;
	enum status s;

	len = align_up(len, PAGE_SIZE);
	if (map) {
		s = sys_mem_map(HANDLE_NONE, memory, 0, len, 0, 3, &va);
		if (s != OK)
			return s;
	}
	s = sys_dma_map(d->handle, memory, 0, len, dir, &buffer, &iova);
	if (s != OK) {
		if (map)
			(void)sys_mem_unmap(HANDLE_NONE, va, len);
		return s;
	}
	*out = (struct drv_memory){
		.ptr = (void *)(uintptr_t)va,
		.iova = { iova },
		.len = len,
		.memory = memory,
		.buffer = buffer,
	};
	return OK;
}

enum status
drv_revoke(struct drv_device *d UNUSED, struct drv_memory *m)
{
	enum status s = sys_dma_unmap(m->buffer, now_ns() + NS_PER_S, 0);

	if (m->ptr != NULL)
		(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)m->ptr, m->len);
	m->ptr = NULL;
	return s;
}

enum status
drv_unmap_keep(struct drv_device *d UNUSED, struct drv_memory *m)
{
	return sys_dma_unmap(m->buffer, now_ns() + NS_PER_S, UNMAP_KEEP);
}

enum status
drv_map_again(struct drv_device *d UNUSED, struct drv_memory *m, uint32_t memory, uint64_t offset,
    enum dma_dir dir)
{
	uint64_t iova;
	enum status s =
	    sys_dma_map(m->buffer, memory, offset, m->len, dir, &m->buffer, &iova);

	if (s == OK)
		m->memory = memory;
	return s;
}

enum status
drv_memory(struct drv_device *d, uint64_t len, enum dma_dir dir, struct drv_memory *out)
{
	uint64_t h;
	enum status s = E_RANGE;

	/* Memory where it comes; and where a device of 32 bits reaches it, when that is refused. */
	for (uint32_t flags = 0; flags <= MEM_BELOW_4G && s == E_RANGE; flags += MEM_BELOW_4G) {
		s = sys_mem_create(pages_of(len), flags, &h);
		if (s != OK)
			return s;
		s = drv_grant(d, (uint32_t)h, len, dir, true, out);
		if (s != OK)
			(void)sys_handle_close(h);
	}
	return s;
}

void
drv_memory_free(struct drv_device *d, struct drv_memory *m)
{
	(void)drv_revoke(d, m);
	(void)sys_handle_close(m->memory);
}

uint64_t
drv_transfer_max(const struct drv_device *d)
{
	return d->checked ? PAGE_SIZE / 8 * PAGE_SIZE : UINT64_MAX;
}

/* One of the rings, mapped here; the handle is not needed any more. */
static enum status
map_ring(uint32_t memory, uint64_t iova, uint64_t len, uint64_t prot, struct drv_memory *out)
{
	uint64_t va = 0;
	enum status s = sys_mem_map(HANDLE_NONE, memory, 0, len, 0, prot, &va);

	*out = (struct drv_memory){ .ptr = (void *)(uintptr_t)va, .iova = { iova }, .len = len };
	(void)sys_handle_close(memory);
	return s;
}

/* The kernel's queue: what the driver writes, and what it can only read. */
static enum status
make_checked(struct drv_device *d, uint32_t id, uint64_t entries, uint32_t *handle,
    struct drv_memory *ours, struct drv_memory *devices)
{
	struct queue_info i;
	uint64_t h;
	enum status s = sys_queue_create(d->handle, id, entries, (uint64_t)(uintptr_t)&i, &h), t;

	if (s != OK)
		return s;
	*handle = (uint32_t)h;
	s = map_ring(i.sq_memory, i.sq_iova, i.sq_bytes, 3, ours);
	t = map_ring(i.cq_memory, i.cq_iova, i.cq_bytes, 1, devices);
	return s != OK ? s : t;
}

/* The kernel keeps what the device may know of it until the claim ends. */
static void
free_checked(uint32_t handle, struct drv_memory *ours, struct drv_memory *devices)
{
	(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)ours->ptr, ours->len);
	(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)devices->ptr, devices->len);
	(void)sys_handle_close(handle);
}

enum status
drv_queue(struct drv_device *d, uint32_t id, uint32_t entries, uint32_t sq_entry, uint32_t cq_entry,
    uint64_t sq_at, uint64_t cq_at, struct drv_queue *out)
{
	uint64_t sq_bytes = (uint64_t)entries * sq_entry, cq_bytes = (uint64_t)entries * cq_entry;
	enum status s;

	if (d->checked) {
		*out = (struct drv_queue){ .checked = true };
		return make_checked(d, id, entries, &out->handle, &out->sq, &out->cq);
	}
	s = drv_memory(d, sq_bytes, DMA_TO_DEVICE, &out->sq);
	if (s != OK)
		return s;
	s = drv_memory(d, cq_bytes, DMA_FROM_DEVICE, &out->cq);
	if (s != OK) {
		drv_memory_free(d, &out->sq);
		return s;
	}
	out->handle = id;
	out->sq_doorbell = (volatile uint32_t *)(volatile void *)(d->window[0].base + sq_at);
	out->cq_doorbell = (volatile uint32_t *)(volatile void *)(d->window[0].base + cq_at);
	return OK;
}

void
drv_queue_free(struct drv_device *d, struct drv_queue *q)
{
	if (q->checked) {
		free_checked(q->handle, &q->sq, &q->cq);
		return;
	}
	drv_memory_free(d, &q->sq);
	drv_memory_free(d, &q->cq);
}

void
drv_queue_reset(struct drv_queue *q)
{
	uint64_t a, b;

	memset(q->sq.ptr, 0, q->sq.len);
	if (q->checked)
		(void)sys_queue_commit(q->handle, UINT32_MAX, UINT32_MAX, QUEUE_RENEW, &a, &b);
	else
		memset(q->cq.ptr, 0, q->cq.len);
}

enum status
drv_queue_commit(struct drv_queue *q, uint32_t sq_tail, uint32_t cq_head)
{
	if (q->checked) {
		uint64_t rule, entry;

		return sys_queue_commit(q->handle, sq_tail, cq_head, 0, &rule, &entry);
	}
	/* Room for completions first. */
	if (cq_head != UINT32_MAX)
		mmio_write32(q->cq_doorbell, cq_head);
	if (sq_tail != UINT32_MAX) {
		io_publish();
		mmio_write32(q->sq_doorbell, sq_tail);
	}
	return OK;
}

/*
 * Split virtqueues [VIRTIO 1.2, 2.7]: what of a ring's layout is needed here.  The available ring
 * is flags, idx, entries, used_event; the used ring flags, idx, entries of 8 bytes, avail_event;
 * all of 16 bits but for the used entries.
 */
enum {
	DESC_BYTES = 16,
	USED_BYTES = 8,
	RING_HEAD = 4,
	RING_IDX = 2,
	RING_EVENT = 2,
	VRING_MAX = 32768,
	USED_NO_NOTIFY = 1,
};

static volatile uint16_t *
word_at(const struct drv_memory *m, uint64_t at)
{
	return (volatile uint16_t *)(volatile void *)((uint8_t *)m->ptr + at);
}

enum status
drv_vring(struct drv_device *d, uint16_t index, uint16_t entries, unsigned bar, uint64_t notify,
    struct drv_vring *out)
{
	uint64_t n = entries;
	enum status s;

	*out = (struct drv_vring){ .index = index, .entries = entries };
	out->avail_at = (uint32_t)(n * DESC_BYTES);
	if (!is_pow2(n) || n > VRING_MAX || bar >= DRV_BARS)
		return E_INVALID;
	if (d->checked) {
		out->checked = true;
		return make_checked(d, index, n, &out->handle, &out->driver, &out->device);
	}
	if ((notify & 1) != 0 || !range_within(notify, 2, 0, d->window[bar].len))
		return E_RANGE;
	s = drv_memory(d, out->avail_at + RING_HEAD + 2 * n + RING_EVENT, DMA_TO_DEVICE,
	    &out->driver);
	if (s != OK)
		return s;
	s = drv_memory(
	    d, RING_HEAD + n * USED_BYTES + RING_EVENT, DMA_FROM_DEVICE, &out->device);
	if (s != OK) {
		drv_memory_free(d, &out->driver);
		return s;
	}
	out->notify = (volatile uint16_t *)(volatile void *)(d->window[bar].base + notify);
	return OK;
}

void
drv_vring_free(struct drv_device *d, struct drv_vring *q)
{
	if (q->checked) {
		free_checked(q->handle, &q->driver, &q->device);
		return;
	}
	drv_memory_free(d, &q->driver);
	drv_memory_free(d, &q->device);
}

void
drv_vring_reset(struct drv_vring *q)
{
	uint64_t a, b;

	memset(q->driver.ptr, 0, q->driver.len);
	if (q->checked)
		(void)sys_queue_commit(q->handle, UINT32_MAX, UINT32_MAX, QUEUE_RENEW, &a, &b);
	else
		memset(q->device.ptr, 0, q->device.len);
	q->shown = 0;
}

/* The device asked to be told of entry "event"; entries from "old" on are new [VIRTIO 1.2,
 * 2.7.7.2]. */
static bool
event_passed(uint16_t event, uint16_t now, uint16_t old)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

enum status
drv_vring_commit(struct drv_vring *q, uint32_t avail_idx, uint32_t used_idx)
{
	uint16_t old = q->shown, now = (uint16_t)avail_idx;
	uint64_t rule, entry;
	bool wanted;

	if (q->checked)
		return sys_queue_commit(
		    q->handle, avail_idx, used_idx, QUEUE_SPLIT, &rule, &entry);
	if (avail_idx == UINT32_MAX || now == old) {
		io_full();	/* flags and used_event before the next look at used->idx */
		return OK;
	}
	io_publish();
	once_store(word_at(&q->driver, q->avail_at + RING_IDX), now);
	q->shown = now;
	io_full();	/* idx before the look at what the device wants */
	if (q->event_index)
		wanted = event_passed(
		    once_load(word_at(&q->device, RING_HEAD + (uint64_t)q->entries * USED_BYTES)),
		    now, old);
	else
		wanted = (once_load(word_at(&q->device, 0)) & USED_NO_NOTIFY) == 0;
	if (wanted)
		mmio_write16(q->notify, q->index);
	return OK;
}

uint32_t
drv_vectors(struct drv_device *d)
{
	struct function_info f;
	uint64_t n;

	return sys_info(d->handle, INFO_FUNCTION, 0, (uint64_t)(uintptr_t)&f, sizeof(f), &n) == OK ?
	    f.msix_vectors :
	    0;
}

enum status
drv_vector(struct drv_device *d, uint32_t n, uint64_t bits)
{
	uint64_t irq;

	return sys_device_irq(d->handle, n, d->ntfn, bits, CPU_ANY, &irq);
}

uint64_t
drv_wait(struct drv_device *d, uint64_t deadline)
{
	uint64_t bits = 0;

	if (sys_ntfn_wait(d->ntfn, deadline, &bits) != OK)
		return 0;
	d->seen |= bits;
	return bits;
}

uint64_t drv_now(void) { return now_ns(); }

uint64_t
drv_faults(struct drv_device *d)
{
	uint64_t va;

	if (unlikely(d->status == NULL)) {
		if (sys_mem_map(HANDLE_NONE, d->handle, 0, PAGE_SIZE, 0, 1, &va) != OK)
			return UINT64_MAX;
		d->status = (const struct dma_status *)(uintptr_t)va;
	}
	if (d->status->look != 0 && unlikely(sys_device_look(d->handle, DEADLINE_NEVER) != OK))
		return UINT64_MAX;
	if (unlikely(load_acquire(&d->status->ended) != 0))
		return UINT64_MAX;
	return load_acquire(&d->status->fault_seq);
}

uint32_t
drv_faults_lost(const struct drv_device *d)
{
	return d->status != NULL ? load_relaxed(&d->status->lost) : 0;
}

enum status
drv_reset(struct drv_device *d, uint64_t deadline)
{
	return sys_device_reset(d->handle, deadline);
}

void
drv_log(const char *format, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, format);
	fmt_vbuf(text, sizeof(text), format, ap);
	va_end(ap);
	log_line(2, "%s", text);
}
