/*
 * NVMe: the input is the controller.  It says what it is, fills identify pages, completes what it
 * likes as it likes; the driver brings it up, works, aborts and resets.  Whatever it does, a
 * command ends at most once, only when it is in flight, and no transfer leaves the buffer that it
 * was given.
 *
 * LINK: dev/nvme/ctrl.c dev/nvme/identify.c dev/nvme/ioq.c dev/nvme/prp.c dev/nvme/text.c
 * LINK: tests/lib/fake_drv.c
 * FUZZ: -max_len=1024 -runs=5000
 */
#include <stdlib.h>
#include <string.h>

#include "dev/nvme/ctrl.h"
#include "kern/base/bits.h"
#include "tests/lib/fake_drv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { QUEUES = 9, COOKIES = 64, DATA_PAGES = 64 };

static struct {
	const uint8_t *at, *end;
	uint8_t mood;
	struct { uint64_t sq, cq; uint32_t sq_size, cq_size, sq_head, cq_tail, phase; } q[QUEUES];
	bool enabled;
} dev;
static struct drv_device drv;
static struct drv_memory area;

static uint8_t byte(void) { return dev.at < dev.end ? *dev.at++ : 0; }
static uint32_t
word(void)
{
	uint32_t v = byte();
	v |= (uint32_t)byte() << 8;
	v |= (uint32_t)byte() << 16;
	return v | (uint32_t)byte() << 24;
}
static void set(uint32_t r, uint64_t v, size_t n) { memcpy(drv.regs + r, &v, n); }
static uint64_t get(uint32_t r, size_t n) { uint64_t v = 0; memcpy(&v, drv.regs + r, n); return v; }

/* A page that a friendly controller could have sent, with some bytes changed. */
static void
identify(uint64_t at, uint32_t cns)
{
	uint8_t *p = fake_drv_at(&drv, at, PAGE_SIZE, DMA_FROM_DEVICE);

	if (p == NULL)
		abort();
	memset(p, 0, PAGE_SIZE);
	if (cns == 0) {
		p[1] = 8;
		p[130] = 9;
	} else if (cns == 1) {
		p[77] = 5;
		p[516] = 3;
		p[525] = 1;
	} else {
		p[0] = 1;
		p[4] = 2;
	}
	for (uint8_t n = byte() & 15; n != 0; n--) {
		static const uint16_t places[] = { 0, 3, 7, 4, 8, 25, 26, 77, 99, 128, 130, 132,
			516, 525, 4092 };
		uint16_t place = byte();

		place = place < ARRAY_SIZE(places) ? places[place] : (uint16_t)(place << 4);
		p[place] = byte();
	}
}

static void
complete(uint32_t id, uint32_t cid)
{
	uint32_t how = byte(), times = how == 0xf0 ? 0 : how == 0xf1 ? 2 : 1, dw0 = 0x00030003;
	uint32_t sq = dev.q[id].sq_head | id << 16, status = cid | dev.q[id].phase << 16;

	if (how >= 0xf2 && how < 0xf6)
		sq = word();
	else if (how >= 0xf6)
		status ^= word();
	else if (how >= 0xe0)
		dw0 = word();
	for (; times != 0; times--) {
		uint8_t *e = fake_drv_at(
		    &drv, dev.q[id].cq + 16ull * dev.q[id].cq_tail, 16, DMA_FROM_DEVICE);

		if (e == NULL)
			abort();
		memcpy(e, &dw0, 4);
		memcpy(e + 8, &sq, 4);
		memcpy(e + 12, &status, 4);
		if (++dev.q[id].cq_tail == dev.q[id].cq_size) {
			dev.q[id].cq_tail = 0;
			dev.q[id].phase ^= 1;
		}
	}
}

static void
admin(const uint32_t *c)
{
	uint64_t prp1 = c[6] | (uint64_t)c[7] << 32;
	uint32_t id = c[10] & 0xffff, n = (c[10] >> 16) + 1;

	switch (c[0] & 0xff) {
	case 1:
	case 5:
		if (id == 0 || id >= QUEUES ||
		    fake_drv_at(&drv, prp1, n * ((c[0] & 0xff) == 1 ? 64ull : 16ull), 0) == NULL)
			abort();
		if ((c[0] & 0xff) == 1) {
			dev.q[id].sq = prp1;
			dev.q[id].sq_size = n;
		} else {
			dev.q[id].cq = prp1;
			dev.q[id].cq_size = n;
			dev.q[id].phase = 1;
		}
		break;
	case 6:
		identify(prp1, c[10] & 0xff);
		break;
	}
}

/* The whole of a small transfer must lie in the area. */
static void
transfer(const uint32_t *c)
{
	uint64_t prp1 = c[6] | (uint64_t)c[7] << 32;

	if ((c[0] & 0xff) != 0 && !range_within(prp1, 4, area.iova.v, area.len))
		abort();
}

static void
doorbell(void *arg, uint32_t id, uint32_t sq_tail, uint32_t cq_head)
{
	(void)arg;
	(void)cq_head;
	if (sq_tail == UINT32_MAX || !dev.enabled)
		return;
	if (id >= QUEUES || dev.q[id].sq_size == 0 || sq_tail >= dev.q[id].sq_size)
		abort();
	while (dev.q[id].sq_head != sq_tail) {
		const uint32_t *e =
		    fake_drv_at(&drv, dev.q[id].sq + 64ull * dev.q[id].sq_head, 64, DMA_TO_DEVICE);
		uint32_t c[16];

		if (e == NULL)
			abort();
		memcpy(c, e, sizeof(c));
		if (++dev.q[id].sq_head == dev.q[id].sq_size)
			dev.q[id].sq_head = 0;
		if (id == 0)
			admin(c);
		else
			transfer(c);
		complete(id, c[0] >> 16);
	}
}

static void
step(void *arg)
{
	bool on = (get(0x14, 4) & 1) != 0;

	(void)arg;
	if (on && !dev.enabled) {
		uint32_t n = (uint32_t)(get(0x24, 4) & 0xfff) + 1;

		memset(dev.q, 0, sizeof(dev.q));
		dev.q[0].sq = get(0x28, 8);
		dev.q[0].cq = get(0x30, 8);
		dev.q[0].sq_size = dev.q[0].cq_size = n;
		dev.q[0].phase = 1;
	}
	dev.enabled = on;
	if ((dev.mood & 0x1f) == 1)
		return;			/* neither comes ready nor stops */
	set(0x1c, (on ? 1u : 0u) | ((dev.mood & 0x1f) == 2 ? 2u : 0u), 4);
}

static void
reset(void *arg)
{
	set(0x14, 0, 4);
	step(arg);
}

static void
work(struct nvme_ctrl *c)
{
	static struct nvme_done done[COOKIES];
	bool out[COOKIES] = { false };
	const char *why;

	while (dev.at < dev.end) {
		struct nvme_ioq *q = &c->ioq[byte() % c->ioq_count];
		uint32_t what = byte(), n = what & 31, k;
		struct nvme_io io = { .op = (enum nvme_op)(what >> 6 == 3 ? 0 : what >> 6),
			.nsid = 1,
			.blocks = 1 + n * 8,
			.data = { area.iova.v + (byte() & ~3u) } };

		io.bytes = io.blocks * 512ull;
		for (k = 0; k < COOKIES && out[k]; k++)
			;
		io.cookie = (void *)(uintptr_t)k;
		if (k < COOKIES && nvme_ioq_put(q, &io) == OK)
			out[k] = true;
		(void)nvme_ioq_ring(q);
		k = nvme_ioq_take(q, done, COOKIES);
		for (uint32_t i = 0; i < k; i++) {
			uintptr_t cookie = (uintptr_t)done[i].cookie;

			if (cookie >= COOKIES || !out[cookie])
				abort();
			out[cookie] = false;
			(void)nvme_status_text(done[i].sct_sc);
		}
		if (nvme_ioq_inflight(q) > q->entries - 1)
			abort();
		if (what == 0xff)
			(void)nvme_ctrl_abort(c, q, n % (q->entries - 1));
		if (nvme_ctrl_trouble(c) != NULL || what == 0xfe) {
			if (nvme_ctrl_restart(c, &why) != OK)
				return;
			memset(out, 0, sizeof(out));
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct nvme_ctrl c;
	const char *why = NULL;

	memset(&c, 0, sizeof(c));
	memset(&dev, 0, sizeof(dev));
	dev.at = data;
	dev.end = data + size;
	fake_drv_init(&drv, 0x4000);
	drv.step_ns = NS_PER_S;
	drv.step = step;
	drv.doorbell = doorbell;
	drv.reset = reset;
	dev.mood = byte();
	set(0,
	    (0x3f | 1ull << 24 | 1ull << 37) ^
		((dev.mood & 0x80) != 0 ? word() | (uint64_t)word() << 32 : 0),
	    8);
	set(8, 0x10400 ^ ((dev.mood & 0x40) != 0 ? word() : 0), 4);
	if (drv_memory(&drv, DATA_PAGES * PAGE_SIZE, DMA_BOTH, &area) != OK)
		abort();
	if (nvme_ctrl_start(&c, &drv, 1 + (dev.mood >> 5 & 1), 16, &why) == OK)
		work(&c);
	else if (why == NULL)
		abort();
	(void)nvme_ctrl_stop(&c);
	fake_drv_fini(&drv);
	return 0;
}
