/*
 * The kernel of the packet server's world: kernel.h.
 *
 * Memory of an object is what the C library lends, so what is let go of too early or too late is
 * found by the sanitizers.  Registers and queues are those that the kernel checks: calls.
 */
#include "tests/usr/netd/kernel.h"

#include <stdlib.h>
#include <string.h>

#include "kern/base/bits.h"
#include "tests/lib/fiber.h"

enum { HANDLES = 256, OBJECTS = 128, MAPS = 128, LOOKS = 10000, DEVICE_STATUS = 20 };
enum : uint64_t { BAR_BYTES = 0x4000 };

struct model_virtio world_nic;
struct drv_device world_device;
uint32_t world_quota, kernel_looks;
uint64_t kernel_now;
struct dma_status kernel_status;

static struct { uint8_t type, owner; uint32_t of; } handle[HANDLES];
static struct object {
	uint8_t *p;			/* memory; NULL: a notification */
	uint64_t pages, bits;
	uint32_t uses;			/* handles, mappings, grants; 0: free */
} object[OBJECTS];
static struct { uint8_t *p; uint32_t of; uint8_t owner; } map[MAPS];
static uint32_t granted[FAKE_BUFFERS];	/* objects, by the device's buffers */
static struct {
	uint8_t *driver, *device;
	uint64_t driver_bytes, device_bytes, avail_at;
	uint16_t shown;			/* available entries that the device knows */
} queue[VMODEL_QUEUES];
static struct { uint64_t bits; handle_t ntfn; } vector[32];
static uint64_t interrupts[VMODEL_QUEUES];

/* --- objects --------------------------------------------------------------------- */

static void
let_go(uint32_t o)
{
	if (object[o].uses == 0)
		kernel_fail("what nobody has is let go of");
	if (--object[o].uses == 0)
		free(object[o].p);
}

handle_t
kernel_handle(uint8_t type, uint32_t of, uint8_t owner)
{
	for (uint32_t i = 1; i < HANDLES; i++) {
		if (handle[i].type != OBJ_NONE)
			continue;
		handle[i].type = type;
		handle[i].of = of;
		handle[i].owner = owner;
		if (type == OBJ_MEMORY || type == OBJ_NOTIFICATION)
			object[of].uses++;
		return i;
	}
	kernel_fail("no handles are left");
}

/* The object of a handle; of another type: E_TYPE. */
enum status
kernel_find(uint64_t h, uint8_t type, uint32_t *of)
{
	if (h == 0 || h >= HANDLES || handle[h].type == OBJ_NONE)
		kernel_fail("a handle that is none");
	if (kernel_self() == SERVERS && handle[h].owner != SERVERS)
		kernel_fail("the server uses a handle that it has not got");
	*of = handle[h].of;
	return handle[h].type == type ? OK : E_TYPE;
}

handle_t
kernel_copy(uint64_t h, uint8_t owner)
{
	if (h == 0 || h >= HANDLES || handle[h].type == OBJ_NONE)
		kernel_fail("a handle that is none goes along");
	return kernel_handle(handle[h].type, handle[h].of, owner);
}

static void
close_handle(uint64_t h)
{
	uint32_t of;

	(void)kernel_find(h, OBJ_NONE, &of);
	if (handle[h].type == OBJ_MEMORY || handle[h].type == OBJ_NOTIFICATION)
		let_go(of);
	handle[h].type = OBJ_NONE;
	handle[h].owner = NOBODYS;
}

uint32_t
kernel_object(uint64_t pages)
{
	for (uint32_t i = 0; i < OBJECTS; i++) {
		if (object[i].uses != 0)
			continue;
		object[i] = (struct object){ .pages = pages };
		if (pages != 0) {
			object[i].p = aligned_alloc(PAGE_SIZE, pages * PAGE_SIZE);
			memset(object[i].p, 0, pages * PAGE_SIZE);
		}
		return i;
	}
	kernel_fail("no objects are left");
}

static void *
add_map(uint32_t o, uint8_t owner)
{
	for (uint32_t i = 0; i < MAPS; i++) {
		if (map[i].p != NULL)
			continue;
		map[i].p = object[o].p;
		map[i].of = o;
		map[i].owner = owner;
		object[o].uses++;
		return map[i].p;
	}
	kernel_fail("no mappings are left");
}

static void
unmap(uint64_t va)
{
	for (uint32_t i = 0; i < MAPS; i++) {
		if (map[i].p == NULL || (uint64_t)(uintptr_t)map[i].p != va ||
		    map[i].owner != kernel_self())
			continue;
		map[i].p = NULL;
		let_go(map[i].of);
		return;
	}
	kernel_fail("what is not mapped is unmapped");
}

static bool
quota(void)
{
	if (kernel_self() != SERVERS)
		return true;
	if (world_quota == 0)
		return false;
	world_quota--;
	return true;
}

struct world_held
world_held(void)
{
	struct world_held n = { 0 };

	for (uint32_t i = 0; i < HANDLES; i++)
		n.handles += handle[i].owner == SERVERS;
	for (uint32_t i = 0; i < MAPS; i++)
		n.maps += map[i].p != NULL && map[i].owner == SERVERS;
	for (uint32_t i = 0; i < world_device.buffers; i++)
		n.grants += world_device.buffer[i].len != 0;
	return n;
}

uint64_t *kernel_bits(handle_t ntfn) { return &object[handle[ntfn].of].bits; }

/* --- the device ------------------------------------------------------------------ */

void
fake_drv_init(struct drv_device *d, uint64_t regs_len)
{
	*d = (struct drv_device){ .regs_len = regs_len, .vectors = 16, .next_iova = 0x1'2345'6000 };
}

void fake_drv_fini(struct drv_device *d UNUSED) {}

static void *
reach(struct drv_device *d, uint64_t iova, uint64_t len, enum dma_dir dir)
{
	for (uint32_t i = 0; i < d->buffers; i++) {
		struct fake_buffer *b = &d->buffer[i];

		if (b->len != 0 && range_within(iova, len, b->iova, b->len) &&
		    (b->dir & dir) == dir)
			return b->ptr + (iova - b->iova);
	}
	return NULL;
}

void *
fake_drv_at(struct drv_device *d, uint64_t iova, uint64_t len, enum dma_dir dir)
{
	void *p = reach(d, iova, len, dir);

	d->faults += p == NULL;
	return p;
}

static uint32_t
grant(uint32_t o, uint64_t offset, uint64_t len, enum dma_dir dir)
{
	struct drv_device *d = &world_device;
	uint32_t i = 0;

	while (i < d->buffers && d->buffer[i].len != 0)
		i++;
	if (i == FAKE_BUFFERS)
		kernel_fail("no grants are left");
	if (i == d->buffers)
		d->buffers++;
	d->buffer[i] = (struct fake_buffer){
		.iova = d->next_iova, .len = len, .ptr = object[o].p + offset, .dir = dir
	};
	d->next_iova += len + PAGE_SIZE;
	granted[i] = o;
	object[o].uses++;
	return i;
}

/* The device has chains that lead there. */
static bool
is_out(const struct fake_buffer *b)
{
	for (unsigned n = 0; n < VMODEL_QUEUES; n++) {
		const struct vmodel_queue *q = &world_nic.q[n];

		for (unsigned i = 0; q->enabled && i < q->count; i++) {
			uint16_t at = q->held[i], flags = 1;

			for (unsigned k = 0; k < q->size && (flags & 1) != 0; k++) {
				const uint8_t *p = reach(&world_device, q->desc + 16ull * at, 16,
				    DMA_TO_DEVICE);
				uint64_t to;

				if (p == NULL)
					break;
				memcpy(&to, p, 8);
				memcpy(&flags, p + 12, 2);
				memcpy(&at, p + 14, 2);
				if (to - b->iova < b->len)
					return true;
			}
		}
	}
	return false;
}

static void
ungrant(uint32_t i)
{
	world_device.buffer[i].len = 0;
	let_go(granted[i]);
}

static enum status
make_queue(uint64_t id, uint64_t n, struct queue_info *info)
{
	uint32_t driver, device, g;

	if (id >= VMODEL_QUEUES || n == 0 || (n & (n - 1)) != 0)
		return E_INVALID;
	if (queue[id].driver != NULL)
		return E_EXISTS;
	queue[id].avail_at = 16 * n;
	queue[id].driver_bytes = align_up(18 * n + 6, PAGE_SIZE);
	queue[id].device_bytes = align_up(8 * n + 6, PAGE_SIZE);
	driver = kernel_object(queue[id].driver_bytes / PAGE_SIZE);
	g = grant(driver, 0, queue[id].driver_bytes, DMA_TO_DEVICE);
	*info = (struct queue_info){ .sq_iova = world_device.buffer[g].iova,
		.sq_bytes = queue[id].driver_bytes,
		.sq_memory = kernel_handle(OBJ_MEMORY, driver, SERVERS) };
	device = kernel_object(queue[id].device_bytes / PAGE_SIZE);
	g = grant(device, 0, queue[id].device_bytes, DMA_FROM_DEVICE);
	info->cq_iova = world_device.buffer[g].iova;
	info->cq_bytes = queue[id].device_bytes;
	info->cq_memory = kernel_handle(OBJ_MEMORY, device, SERVERS);
	queue[id].driver = object[driver].p;
	queue[id].device = object[device].p;
	return OK;
}

/* What the device is told must be granted: the kernel looks before the device does. */
static void
judge(uint32_t id, uint16_t head)
{
	uint16_t at = head, flags = 1;

	for (uint64_t k = 0; (flags & 1) != 0; k++) {
		const uint8_t *p = queue[id].driver + 16ull * at;
		uint64_t to;
		uint32_t len;

		if (16ull * at >= queue[id].avail_at || k == queue[id].avail_at / 16)
			kernel_fail("a chain leaves its table, or has no end");
		memcpy(&to, p, 8);
		memcpy(&len, p + 8, 4);
		memcpy(&flags, p + 12, 2);
		memcpy(&at, p + 14, 2);
		if (reach(&world_device, to, len,
			(flags & 2) != 0 ? DMA_FROM_DEVICE : DMA_TO_DEVICE) == NULL)
			kernel_fail("the device is told of memory that is not granted");
	}
}

static enum status
commit(uint32_t id, uint64_t avail, uint64_t used, uint64_t flags)
{
	uint16_t idx = (uint16_t)avail;

	if ((flags & QUEUE_RENEW) != 0) {
		memset(queue[id].driver, 0, queue[id].driver_bytes);
		memset(queue[id].device, 0, queue[id].device_bytes);
		queue[id].shown = 0;
		return OK;
	}
	if (world_device.commit_status != OK)
		return world_device.commit_status;
	for (; avail != UINT32_MAX && queue[id].shown != idx; queue[id].shown++) {
		uint64_t n = queue[id].avail_at / 16;
		uint16_t head;

		memcpy(&head, queue[id].driver + queue[id].avail_at + 4 +
			2 * (queue[id].shown % n), 2);
		judge(id, head);
	}
	if (avail != UINT32_MAX)
		memcpy(queue[id].driver + queue[id].avail_at + 2, &idx, sizeof(idx));
	world_device.vring(&world_nic, id, (uint32_t)avail, (uint32_t)used);
	return OK;
}

void
world_interrupt(bool config)
{
	for (unsigned n = 0; n < VMODEL_QUEUES; n++) {
		const struct vmodel_queue *q = &world_nic.q[n];
		bool some = q->interrupts > interrupts[n];

		interrupts[n] = q->interrupts;
		if (some && q->vector < ARRAY_SIZE(vector) && vector[q->vector].bits != 0)
			object[vector[q->vector].ntfn].bits |= vector[q->vector].bits;
	}
	if (config && world_nic.config_vector < ARRAY_SIZE(vector) &&
	    vector[world_nic.config_vector].bits != 0)
		object[vector[world_nic.config_vector].ntfn].bits |=
		    vector[world_nic.config_vector].bits;
}
/* --- other system calls ---------------------------------------------------------- */

void *
pages_alloc(uint64_t pages, handle_t *memory)
{
	uint32_t o;

	if (!quota())
		return NULL;
	o = kernel_object(pages);
	*memory = kernel_handle(OBJ_MEMORY, o, kernel_self());
	return add_map(o, kernel_self());
}

static enum status
map_memory(uint64_t h, uint64_t len, uint64_t *va)
{
	uint32_t o;

	if (handle[h].type == OBJ_MMIO)
		return E_REFUSED;
	if (handle[h].type == OBJ_DEVICE) {
		*va = (uint64_t)(uintptr_t)&kernel_status;
		return OK;
	}
	if (kernel_find(h, OBJ_MEMORY, &o) != OK)
		return E_TYPE;
	if (len > object[o].pages * PAGE_SIZE)
		return E_RANGE;
	*va = (uint64_t)(uintptr_t)add_map(o, kernel_self());
	return OK;
}

static enum status
wait_bits(uint32_t o, uint64_t deadline, uint64_t *bits)
{
	if (kernel_self() != SERVERS)
		kernel_fail("somebody else waits");
	world_interrupt(false);
	*bits = object[o].bits;
	object[o].bits = 0;
	if (*bits != 0)
		return OK;
	kernel_now = max_u64(kernel_now, deadline);
	return E_TIMED_OUT;
}

enum status
sys6(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f UNUSED,
    uint64_t *r0, uint64_t *r1)
{
	uint32_t of = 0;
	enum status s;

	*r0 = *r1 = 0;
	switch (nr) {
	case SYS_handle_close: close_handle(a); return OK;
	case SYS_handle_dup: *r0 = kernel_copy(a, kernel_self()); return OK;
	case SYS_handle_info:
		(void)kernel_find(a, OBJ_NONE, &of);
		*r0 = handle[a].type | (uint64_t)RIGHT_SIGNAL << 32;
		return OK;
	case SYS_ntfn_create:
		*r0 = kernel_handle(OBJ_NOTIFICATION, kernel_object(0), kernel_self());
		return OK;
	case SYS_ntfn_signal:
		s = kernel_find(a, OBJ_NOTIFICATION, &of);
		if (s == OK)
			object[of].bits |= b;
		return s;
	case SYS_ntfn_signal_wait:
		s = kernel_find(a, OBJ_NOTIFICATION, &of);
		return s == OK ? wait_bits(of, b, r0) : s;
	case SYS_mem_create:
		if (!quota())
			return E_QUOTA;
		*r0 = kernel_handle(OBJ_MEMORY, kernel_object(a), kernel_self());
		return OK;
	case SYS_mem_map: return map_memory(b, d, r0);
	case SYS_mem_unmap: unmap(b); return OK;
	case SYS_mem_info:
		s = kernel_find(a, OBJ_MEMORY, &of);
		*r0 = s == OK ? object[of].pages : 0;
		return s;
	case SYS_thread_create:
		world_start_keeper(b, d);
		return OK;
	case SYS_thread_exit: fiber_end();
	case SYS_watch: return OK;
	case SYS_info:
		((struct function_info *)(uintptr_t)d)->msix_vectors =
		    (uint16_t)world_device.vectors;
		return OK;
	case SYS_device_config:
		b &= 0xffff;
		if (b + c > sizeof(world_device.config))
			return E_RANGE;
		memcpy(r0, world_device.config + b, c);
		return OK;
	case SYS_device_bar:
		*r0 = kernel_handle(OBJ_MMIO, (uint32_t)b, SERVERS);
		*r1 = BAR_BYTES;
		return OK;
	case SYS_mmio_access:
		(void)kernel_find(a, OBJ_MMIO, &of);
		*r0 = world_device.access(
		    &world_nic, of, (uint32_t)b, c & 0xff, (c & CONFIG_WRITE) != 0, d);
		return OK;
	case SYS_device_irq:
		if (b >= world_device.vectors || b >= ARRAY_SIZE(vector))
			return E_RANGE;
		(void)kernel_find(c, OBJ_NOTIFICATION, &of);
		vector[b].bits = d;
		vector[b].ntfn = of;
		*r0 = kernel_handle(OBJ_IRQ, (uint32_t)b, SERVERS);
		return OK;
	case SYS_device_look:
		if (++kernel_looks > LOOKS)
			kernel_fail("the server keeps turning");
		kernel_status.fault_seq = world_device.faults;
		return OK;
	case SYS_dma_map:
		s = kernel_find(b, OBJ_MEMORY, &of);
		if (s != OK)
			return s;
		if (!quota())
			return E_QUOTA;
		if (!range_within(c, d, 0, object[of].pages * PAGE_SIZE))
			return E_RANGE;
		*r0 = grant(of, c, d, (enum dma_dir)e);
		*r1 = world_device.buffer[*r0].iova;
		return OK;
	case SYS_dma_unmap:
		if (a >= world_device.buffers || world_device.buffer[a].len == 0)
			kernel_fail("what is not granted is revoked");
		if (is_out(&world_device.buffer[a]))
			kernel_fail("memory is taken away that the device has");
		ungrant((uint32_t)a);
		return OK;
	case SYS_queue_create:
		if (!quota())
			return E_QUOTA;
		s = make_queue(b, c, (struct queue_info *)(uintptr_t)d);
		*r0 = s == OK ? kernel_handle(OBJ_QUEUE, (uint32_t)b, SERVERS) : 0;
		return s;
	case SYS_queue_commit:
		(void)kernel_find(a, OBJ_QUEUE, &of);
		return commit(of, b, c, d);
	}
	kernel_fail("a system call that nobody expects");
}

/* --- life and death -------------------------------------------------------------- */

void
kernel_begin(void)
{
	memset(handle, 0, sizeof(handle));
	(void)kernel_handle(OBJ_ENDPOINT, 0, TESTS);
}

void
kernel_teardown(void)
{
	(void)world_device.access(&world_nic, VMODEL_BAR, DEVICE_STATUS, 1, true, 0);
	for (uint32_t i = 0; i < world_device.buffers; i++)
		if (world_device.buffer[i].len != 0)
			ungrant(i);
	for (uint32_t i = 0; i < MAPS; i++)
		if (map[i].p != NULL && map[i].owner == SERVERS) {
			map[i].p = NULL;
			let_go(map[i].of);
		}
	for (uint32_t i = 1; i < HANDLES; i++)
		if (handle[i].owner == SERVERS)
			close_handle(i);
	memset(queue, 0, sizeof(queue));
	memset(vector, 0, sizeof(vector));
	memset(interrupts, 0, sizeof(interrupts));
}

void
kernel_end(void)
{
	for (uint32_t i = 0; i < MAPS; i++)
		if (map[i].p != NULL) {
			map[i].p = NULL;
			let_go(map[i].of);
		}
	for (uint32_t i = 1; i < HANDLES; i++)
		if (handle[i].type != OBJ_NONE)
			close_handle(i);
	for (uint32_t i = 0; i < OBJECTS; i++)
		if (object[i].uses != 0)
			kernel_fail("an object outlives everybody");
}
