/*
 * Virtio block device: blk.h.
 *
 * A request is a chain: a header that says what to do and where, the data, and one byte that the
 * device answers with.  Header and answer lie in memory of the driver's own, one place for each
 * descriptor of a queue, so a client's area holds nothing but data.  Before a request is put its
 * answer is set to what no device says: one that completes a request and writes no answer has
 * failed it.
 *
 * Blocks are told in sectors of 512 bytes, whatever the block size.  What is written is durable
 * after a flush; a device without flush makes every write durable before it answers [5.2.6.4].
 *
 * Manual   VIRTIO 1.2, 5.2.
 */
#include "dev/virtio/blk.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"

enum { STRIDE = 16, NO_ANSWER = 0xff, SEG_PARTS = 32, COOKIE_ID = 1 };
enum : uint64_t { ID_NS = 10 * NS_PER_S, POLL_NS = NS_PER_MS / 10 };
enum : uint64_t {
	WANTED = VIRTIO_BLK_F_SIZE_MAX | VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_RO |
	    VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_MQ | VIRTIO_BLK_F_DISCARD |
	    VIRTIO_BLK_F_WRITE_ZEROES,
};

static bool
has(const struct virtio_blk *b, uint64_t feature)
{
	return (b->pci.features & feature) != 0;
}

/* The field, when the device has it: else "otherwise". */
static enum status
field(struct virtio_blk *b, uint64_t feature, uint32_t at, unsigned width, uint32_t otherwise,
    uint32_t *out)
{
	const struct virtio_field f = { at, width };
	uint64_t v = otherwise;
	enum status s = has(b, feature) ? virtio_config(&b->pci, &f, 1, &v) : OK;

	*out = (uint32_t)v;
	return s;
}

static enum status
capacity(struct virtio_blk *b, uint64_t *bytes)
{
	const struct virtio_field f = { BLK_CAPACITY, 8 };
	uint64_t sectors;
	enum status s = virtio_config(&b->pci, &f, 1, &sectors);

	if (s != OK)
		return s;
	if (sectors > UINT64_MAX / BLK_SECTOR)
		return E_CORRUPT;
	*bytes = align_down(sectors * BLK_SECTOR, b->block_bytes);
	return OK;
}

static enum status
identify(struct virtio_blk *b, const char **why)
{
	uint32_t queues = 1, discard, zero;
	enum status s;

	*why = "its configuration cannot be read";
	s = field(b, VIRTIO_BLK_F_BLK_SIZE, BLK_BLK_SIZE, 4, BLK_SECTOR, &b->block_bytes);
	if (s == OK)
		s = field(b, VIRTIO_BLK_F_SIZE_MAX, BLK_SIZE_MAX, 4, UINT32_MAX, &b->size_max);
	if (s == OK)
		s = field(b, VIRTIO_BLK_F_SEG_MAX, BLK_SEG_MAX, 4, 1, &b->seg_max);
	if (s == OK)
		s = field(b, VIRTIO_BLK_F_MQ, BLK_NUM_QUEUES, 2, 1, &queues);
	if (s == OK)
		s = field(b, VIRTIO_BLK_F_DISCARD, BLK_MAX_DISCARD_SECTORS, 4, 0, &discard);
	if (s == OK)
		s = field(
		    b, VIRTIO_BLK_F_WRITE_ZEROES, BLK_MAX_WRITE_ZEROES_SECTORS, 4, 0, &zero);
	if (s != OK)
		return s;
	*why = "its configuration is not one that a disk can have";
	if (!is_pow2(b->block_bytes) || b->block_bytes < BLK_SECTOR ||
	    b->block_bytes > PAGE_SIZE || queues == 0 || b->size_max < PAGE_SIZE ||
	    b->seg_max == 0)
		return E_CORRUPT;
	s = capacity(b, &b->bytes);
	if (s != OK)
		return s;
	b->read_only = has(b, VIRTIO_BLK_F_RO);
	b->volatile_cache = has(b, VIRTIO_BLK_F_FLUSH);
	b->seg_max = (uint32_t)min_u64(b->seg_max, SEG_PARTS);
	/* Requests are as long as both sides can, in whole blocks. */
	b->discard_max = (uint32_t)align_down(
	    min_u64((uint64_t)discard * BLK_SECTOR, GIB), b->block_bytes);
	b->zero_max =
	    (uint32_t)align_down(min_u64((uint64_t)zero * BLK_SECTOR, GIB), b->block_bytes);
	b->discards = b->discard_max != 0 && !b->read_only;
	b->zeroes = b->zero_max != 0 && !b->read_only;
	b->max_transfer_bytes = drv_transfer_max(b->pci.dev) == UINT64_MAX ? VBLK_TRANSFER_MAX :
									     VBLK_TRANSFER_CHECKED;
	b->max_transfer_bytes = min_u64(b->max_transfer_bytes,
	    align_down((uint64_t)align_down(b->size_max, PAGE_SIZE) * b->seg_max, PAGE_SIZE));
	if (b->queue_count == 0)
		b->queue_count = queues;
	return OK;
}

/* Once.  A vector that cannot be had is one that the device has not got. */
static void
choose_vectors(struct virtio_blk *b)
{
	uint32_t have = (uint32_t)min_u64(b->pci.vectors, 1 + b->queue_count), got = 0;

	while (got < have && drv_vector(b->pci.dev, got, BIT(got)) == OK)
		got++;
	b->polled = got == 0;
	b->config_vector = got == 0 ? UINT32_MAX : 0;
	for (uint32_t i = 0; i < b->queue_count; i++)
		b->queue[i].vector = got == 0 ? UINT32_MAX :
		    got > b->queue_count      ? 1 + i :
						got - 1;
}

static enum status
start_queue(struct virtio_blk *b, uint32_t i, const char **why)
{
	struct vblk_queue *q = &b->queue[i];
	enum status s = virtio_queue(&b->pci, &q->q, (uint16_t)i, VIRTQ_MAX, q->vector, why);
	uint64_t bytes = (uint64_t)VIRTQ_MAX * STRIDE;

	if (s != OK || q->answers.ptr != NULL)
		return s;
	*why = "no memory for requests";
	s = drv_memory(b->pci.dev, bytes, DMA_TO_DEVICE, &q->headers);
	if (s == OK)
		s = drv_memory(b->pci.dev, bytes, DMA_TO_DEVICE, &q->ranges);
	if (s == OK)
		s = drv_memory(b->pci.dev, bytes, DMA_FROM_DEVICE, &q->answers);
	return s;
}

static enum status
start_queues(struct virtio_blk *b, const char **why)
{
	enum status s = virtio_config_vector(&b->pci, b->config_vector, why);

	for (uint32_t i = 0; i < b->queue_count && s == OK; i++)
		s = start_queue(b, i, why);
	if (s == OK)
		virtio_live(&b->pci);
	return s;
}

/* A chain of header, parts and answer.  The head is what the chain will begin with. */
static enum status
put(struct vblk_queue *q, uint32_t type, uint64_t sector, struct virtq_part *parts,
    unsigned readable, unsigned writable, uint64_t cookie)
{
	uint64_t place = (uint64_t)q->q.free * STRIDE;
	uint16_t head;

	if (q->q.free_count < readable + writable + 2u)
		return E_WOULD_BLOCK;
	*(struct virtio_blk_req *)((uint8_t *)q->headers.ptr + place) =
	    (struct virtio_blk_req){ .type = type, .sector = sector };
	((volatile uint8_t *)q->answers.ptr)[place] = NO_ANSWER;
	parts[0] =
	    (struct virtq_part){ { q->headers.iova.v + place }, sizeof(struct virtio_blk_req) };
	parts[1 + readable + writable] = (struct virtq_part){ { q->answers.iova.v + place }, 1 };
	return virtq_put(&q->q, parts, 1 + readable, writable + 1, cookie, &head);
}

/* What the device calls itself; nothing when it does not say. */
static enum status
ask_serial(struct virtio_blk *b)
{
	struct vblk_queue *q = &b->queue[0];
	uint64_t until = drv_now() + ID_NS, at = VIRTQ_MAX * STRIDE - STRIDE;
	struct virtq_part parts[3] = { [1] = {
					   { q->answers.iova.v + at - STRIDE }, BLK_ID_BYTES } };
	struct vblk_done d;
	enum status s = put(q, BLK_T_GET_ID, 0, parts, 0, 1, COOKIE_ID);

	if (s == OK)
		s = virtq_commit(&q->q);
	while (s == OK && virtq_look(&q->q) == 0) {
		uint64_t now = drv_now();

		if (q->q.fault != NULL)
			return E_CORRUPT;
		if (now > until)
			return E_TIMED_OUT;
		(void)drv_wait(b->pci.dev, now + POLL_NS);
	}
	if (s != OK)
		return s;
	if (!vblk_take(q, &d))
		return E_CORRUPT;
	if (d.status == OK)
		memcpy(b->serial, (const uint8_t *)q->answers.ptr + at - STRIDE, BLK_ID_BYTES);
	for (unsigned i = 0; i < BLK_ID_BYTES; i++)
		if (b->serial[i] < 0x20 || b->serial[i] > 0x7e)
			b->serial[i] = 0;
	return virtq_commit(&q->q);
}

enum status
vblk_start(struct virtio_blk *b, struct drv_device *d, uint32_t want_queues, const char **why)
{
	const char *ignored;
	enum status s = virtio_open(&b->pci, d, why);

	if (s != OK)
		return s;
	s = virtio_agree(&b->pci, WANTED, why);
	if (s == OK)
		s = identify(b, why);
	if (s == OK) {
		b->queue_count = (uint32_t)min_u64(
		    min_u64(b->queue_count, max_u64(want_queues, 1)), VBLK_QUEUES);
		choose_vectors(b);
		s = start_queues(b, why);
	}
	if (s == OK) {
		*why = "it does not say what it is called";
		s = ask_serial(b);
	}
	if (s != OK)
		(void)virtio_stop(&b->pci, &ignored);
	return s;
}

enum status
vblk_restart(struct virtio_blk *b, const char **why)
{
	uint64_t features = b->pci.features, bytes = b->bytes;
	uint32_t block_bytes = b->block_bytes;
	enum status s;

	b->pci.resets++;
	s = virtio_agree(&b->pci, WANTED, why);
	if (s == OK)
		s = identify(b, why);
	if (s != OK)
		return s;
	if (b->pci.features != features || b->block_bytes != block_bytes || b->bytes < bytes) {
		*why = "it is not the disk any more that it was";
		return E_CORRUPT;
	}
	return start_queues(b, why);
}

const char *
vblk_fault(const struct virtio_blk *b)
{
	for (uint32_t i = 0; i < b->queue_count; i++)
		if (b->queue[i].q.fault != NULL)
			return b->queue[i].q.fault;
	return NULL;
}

const char *
vblk_trouble(struct virtio_blk *b)
{
	const char *why = virtio_trouble(&b->pci);

	return why != NULL ? why : vblk_fault(b);
}

enum status
vblk_config(struct virtio_blk *b)
{
	uint64_t bytes;
	enum status s = capacity(b, &bytes);

	if (s != OK)
		return s;
	if (bytes < b->bytes)
		return E_CORRUPT;
	b->bytes = bytes;
	return OK;
}

/* The data of a transfer, in as many descriptors as the device wants; how many. */
static unsigned
cut(const struct virtio_blk *b, const struct vblk_io *io, struct virtq_part *parts)
{
	uint32_t most = (uint32_t)align_down(b->size_max, PAGE_SIZE), done = 0;
	unsigned n = 0;

	while (done < io->bytes) {
		uint32_t bytes = (uint32_t)min_u64(most, io->bytes - done);

		parts[n++] = (struct virtq_part){ { io->data.v + done }, bytes };
		done += bytes;
	}
	return n;
}

enum status
vblk_put(struct virtio_blk *b, struct vblk_queue *q, const struct vblk_io *io, uint64_t cookie)
{
	struct virtq_part parts[SEG_PARTS + 2];
	uint64_t sector = io->at / BLK_SECTOR, place = (uint64_t)q->q.free * STRIDE;
	bool zero = io->op == VBLK_ZERO;
	unsigned n;

	switch (io->op) {
	case VBLK_READ:
	case VBLK_WRITE:
		if (io->bytes == 0 || io->bytes > b->max_transfer_bytes)
			return E_RANGE;
		n = cut(b, io, parts + 1);
		return io->op == VBLK_READ ? put(q, BLK_T_IN, sector, parts, 0, n, cookie) :
					     put(q, BLK_T_OUT, sector, parts, n, 0, cookie);
	case VBLK_FLUSH:
		return b->volatile_cache ? put(q, BLK_T_FLUSH, 0, parts, 0, 0, cookie) :
					   E_UNSUPPORTED;
	case VBLK_DISCARD:
	case VBLK_ZERO:
		if (zero ? !b->zeroes : !b->discards)
			return E_UNSUPPORTED;
		if (io->bytes == 0 || io->bytes > (zero ? b->zero_max : b->discard_max))
			return E_RANGE;
		if (q->q.free_count < 3)
			return E_WOULD_BLOCK;
		*(struct virtio_blk_range *)((uint8_t *)q->ranges.ptr + place) =
		    (struct virtio_blk_range){ .sector = sector,
			    .num_sectors = io->bytes / BLK_SECTOR };
		parts[1] = (struct virtq_part){ { q->ranges.iova.v + place },
			sizeof(struct virtio_blk_range) };
		return put(q, zero ? BLK_T_WRITE_ZEROES : BLK_T_DISCARD, 0, parts, 1, 0, cookie);
	}
	return E_UNSUPPORTED;
}

bool
vblk_take(struct vblk_queue *q, struct vblk_done *out)
{
	struct virtq_done d;
	uint8_t answer;

	if (!virtq_take(&q->q, &d))
		return false;
	answer = ((const volatile uint8_t *)q->answers.ptr)[(uint64_t)d.head * STRIDE];
	*out = (struct vblk_done){ .cookie = d.cookie,
		.answer = answer,
		.status = answer == BLK_S_OK ? OK :
		    answer == BLK_S_UNSUPP   ? E_UNSUPPORTED :
					       E_IO };
	return true;
}
