/*
 * Virtio network device: net.h.
 *
 * The header that goes before each packet lies in memory of the driver's own, one place for each
 * descriptor of a queue; the chain is header, then data.  So a buffer that somebody else owns holds
 * bytes of packets only, and headers cannot be forged by whoever can write to it.  Where buffers
 * merge (MRG_RXBUF) only the first of a packet has a header: in the others the same place takes the
 * first bytes of what goes on ("lead").  All buffers of a packet come together [5.1.6.4]: when the
 * first is seen the others are there, or the device has broken the rules.  So no packet is begun
 * and waited for.
 *
 * Large packets are asked for (GUEST_TSO) only where buffers merge: without that each buffer would
 * have to hold 64 KiB.
 *
 * Vectors: 0 tells of configuration changes; with enough of them each queue has its own, with two
 * all queues share the second, with one everything does, and with none the owner has to look.
 *
 * Manual   VIRTIO 1.2, 5.1.
 */
#include "dev/virtio/net.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"

enum {
	CONTROL_ENTRIES = 16,
	CONTROL_DATA = 8,
	CONTROL_ACK = 64,
	CONTROL_COOKIE = 1,
	STRAY_BYTES = 64
};
enum { HEADER_STRIDE = 16, MTU_MIN = 68 };
enum : uint64_t { CONTROL_NS = NS_PER_S, STRAY_NS = NS_PER_S / 5, POLL_NS = NS_PER_MS / 10 };
enum : uint64_t {
	ALWAYS = VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_MTU |
	    VIRTIO_NET_F_MAC | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 |
	    VIRTIO_NET_F_HOST_ECN | VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_STATUS |
	    VIRTIO_NET_F_CTRL_VQ,
	WITH_CONTROL = VIRTIO_NET_F_CTRL_RX | VIRTIO_NET_F_MQ | VIRTIO_NET_F_CTRL_MAC_ADDR,
	HOST_LARGE = VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 | VIRTIO_NET_F_HOST_ECN,
	GUEST_LARGE = VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_GUEST_ECN,
};

/* Features depend on each other [5.1.3.1]; one whose ground is missing is not asked for. */
static uint64_t
wanted(uint64_t offered)
{
	uint64_t want = ALWAYS;

	if ((offered & VIRTIO_NET_F_CSUM) == 0)
		want &= ~HOST_LARGE;
	if ((offered & (VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6)) == 0)
		want &= ~VIRTIO_NET_F_HOST_ECN;
	if ((offered & VIRTIO_NET_F_GUEST_CSUM) != 0 && (offered & VIRTIO_NET_F_MRG_RXBUF) != 0 &&
	    (offered & (VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6)) != 0)
		want |= GUEST_LARGE;
	if ((offered & VIRTIO_NET_F_CTRL_VQ) != 0)
		want |= WITH_CONTROL;
	if ((offered & VIRTIO_NET_F_CTRL_VQ) != 0 && (offered & VIRTIO_NET_F_STATUS) != 0)
		want |= VIRTIO_NET_F_GUEST_ANNOUNCE;
	return want;
}

/* Everything of the configuration that does not change. */
static enum status
identify(struct virtio_net *n, const char **why)
{
	struct virtio_field f[NET_MAC_BYTES + 2];
	uint64_t v[ARRAY_SIZE(f)];
	unsigned k = 0, pairs = 0, mtu = 0;
	enum status s;

	for (; k < NET_MAC_BYTES; k++)
		f[k] = (struct virtio_field){ NET_MAC + k, 1 };
	if (vnet_has(n, VIRTIO_NET_F_MQ))
		f[pairs = k++] = (struct virtio_field){ NET_MAX_PAIRS, 2 };
	if (vnet_has(n, VIRTIO_NET_F_MTU))
		f[mtu = k++] = (struct virtio_field){ NET_MTU, 2 };
	*why = "it has no address (no VIRTIO_NET_F_MAC)";
	if (!vnet_has(n, VIRTIO_NET_F_MAC))
		return E_UNSUPPORTED;
	*why = "its configuration cannot be read";
	s = virtio_config(&n->pci, f, k, v);
	if (s != OK)
		return s;
	for (unsigned i = 0; i < NET_MAC_BYTES; i++)
		n->mac[i] = (uint8_t)v[i];
	n->pairs_max = pairs != 0 ? (uint32_t)v[pairs] : 1;
	n->mtu = mtu != 0 ? (uint16_t)v[mtu] : VNET_MTU;
	*why = "its configuration is not one that a network device can have";
	if (n->pairs_max == 0 || n->pairs_max > 0x8000 || n->mtu < MTU_MIN || (n->mac[0] & 1) != 0)
		return E_CORRUPT;
	/* Without merging a packet must fit into one buffer. */
	if (!vnet_has(n, VIRTIO_NET_F_MRG_RXBUF))
		n->mtu = (uint16_t)min_u64(n->mtu, VNET_MTU);
	return OK;
}

static enum status
route(struct virtio_net *n, uint32_t vector)
{
	return drv_vector(n->pci.dev, vector, BIT(vector));
}

/* Once.  A vector that cannot be had is one that the device has not got. */
static void
choose_vectors(struct virtio_net *n)
{
	uint32_t have = (uint32_t)min_u64(n->pci.vectors, 1 + 2 * n->pair_count), got = 0;

	while (got < have && route(n, got) == OK)
		got++;
	n->polled = got == 0;
	n->config_vector = got == 0 ? UINT32_MAX : 0;
	for (uint32_t i = 0; i < n->pair_count; i++) {
		struct vnet_pair *p = &n->pair[i];

		p->rx_vector = p->tx_vector = got == 0 ? UINT32_MAX : got - 1;
		if (got >= 1 + 2 * n->pair_count) {
			p->rx_vector = 1 + 2 * i;
			p->tx_vector = 2 + 2 * i;
		} else if (got > 1) {
			p->rx_vector = p->tx_vector = 1;
		}
	}
}

static enum status
start_pair(struct virtio_net *n, uint32_t i, const char **why)
{
	struct vnet_pair *p = &n->pair[i];
	enum status s;

	s = virtio_queue(&n->pci, &p->rx, (uint16_t)(2 * i), VIRTQ_MAX, p->rx_vector, why);
	if (s == OK)
		s = virtio_queue(
		    &n->pci, &p->tx, (uint16_t)(2 * i + 1), VIRTQ_MAX, p->tx_vector, why);
	if (s != OK)
		return s;
	p->more = 0;
	p->merges = vnet_has(n, VIRTIO_NET_F_MRG_RXBUF);
	if (p->rx_headers.ptr != NULL)
		return OK;
	*why = "no memory for headers";
	s = drv_memory(n->pci.dev, (uint64_t)p->rx.entries * HEADER_STRIDE, DMA_FROM_DEVICE,
	    &p->rx_headers);
	if (s == OK)
		s = drv_memory(n->pci.dev, (uint64_t)p->tx.entries * HEADER_STRIDE, DMA_TO_DEVICE,
		    &p->tx_headers);
	return s;
}

static enum status
start_control(struct virtio_net *n, const char **why)
{
	enum status s;

	if (!vnet_has(n, VIRTIO_NET_F_CTRL_VQ))
		return OK;
	/* It comes after all pairs, used or not; where queues are checked only so many are shown.
	 */
	*why = "its control queue comes after more queues than can be had";
	if (2 * n->pairs_max >= n->pci.queues)
		return E_UNSUPPORTED;
	s = virtio_queue(&n->pci, &n->control, (uint16_t)(2 * n->pairs_max), CONTROL_ENTRIES,
	    n->config_vector, why);
	if (s != OK || n->control_memory.ptr != NULL)
		return s;
	*why = "no memory for commands";
	return drv_memory(n->pci.dev, PAGE_SIZE, DMA_BOTH, &n->control_memory);
}

/* One command, with its answer.  Rare: the caller waits. */
static enum status
command(struct virtio_net *n, uint8_t class, uint8_t what, const void *data, uint32_t len)
{
	struct virtq *q = &n->control;
	uint8_t *m = n->control_memory.ptr;
	const struct virtio_net_ctrl head = { class, what };
	uint64_t at = n->control_memory.iova.v, until = drv_now() + CONTROL_NS, faults;
	struct virtq_part parts[3] = { { { at }, sizeof(head) } };
	unsigned readable = 1;
	struct virtq_done d;
	uint16_t slot;
	enum status s;

	if (q->entries == 0)
		return E_UNSUPPORTED;
	memcpy(m, &head, sizeof(head));
	if (len != 0) {
		memcpy(m + CONTROL_DATA, data, len);
		parts[readable++] = (struct virtq_part){ { at + CONTROL_DATA }, len };
	}
	parts[readable] = (struct virtq_part){ { at + CONTROL_ACK }, 1 };
	m[CONTROL_ACK] = NET_ACK_ERR;
	faults = drv_faults(n->pci.dev);
	s = virtq_put(q, parts, readable, 1, CONTROL_COOKIE, &slot);
	virtq_arm(q, 0);
	if (s == OK)
		s = virtq_commit(q);
	while (s == OK && virtq_look(q) == 0) {
		uint64_t now = drv_now();

		if (q->fault != NULL)
			return E_CORRUPT;
		if (now > until)
			return E_TIMED_OUT;
		(void)drv_wait(n->pci.dev, now + POLL_NS);
	}
	if (s != OK)
		return s;
	if (drv_faults(n->pci.dev) != faults)
		return E_CORRUPT;
	if (!virtq_take(q, &d))
		return E_CORRUPT;
	s = virtq_commit(q);
	if (s != OK)
		return s;
	return ((volatile uint8_t *)m)[CONTROL_ACK] == NET_ACK_OK ? OK : E_IO;
}

/* From FEATURES_OK to a device that works. */
static enum status
start_queues(struct virtio_net *n, const char **why)
{
	enum status s = virtio_config_vector(&n->pci, n->config_vector, why);

	for (uint32_t i = 0; i < n->pair_count && s == OK; i++)
		s = start_pair(n, i, why);
	if (s == OK)
		s = start_control(n, why);
	if (s != OK)
		return s;
	virtio_live(&n->pci);
	*why = "a command of the control queue did not work";
	if (n->pair_count > 1) {
		uint16_t pairs = (uint16_t)n->pair_count;

		s = command(n, NET_CTRL_MQ, NET_CTRL_MQ_PAIRS_SET, &pairs, sizeof(pairs));
		/* It knows the others until the next reset, and uses none of them [5.1.6.5.5]. */
		if (s == E_IO) {
			drv_log("the device refuses %u pairs of queues: one is used", pairs);
			n->pair_count = 1;
			s = OK;
		}
	}
	if (s == OK && vnet_has(n, VIRTIO_NET_F_CTRL_RX)) {
		s = vnet_promiscuous(n, n->promiscuous);
		if (s == OK)
			s = vnet_all_multicast(n, true);
	}
	if (s == OK) {
		*why = "its configuration cannot be read";
		s = vnet_config(n);
	}
	return s;
}

enum status
vnet_start(struct virtio_net *n, struct drv_device *d, uint32_t want_pairs, const char **why)
{
	const char *ignored;
	enum status s = virtio_open(&n->pci, d, why);

	if (s != OK)
		return s;
	/* Twice: what is wanted depends on what is offered. */
	s = virtio_agree(&n->pci, 0, why);
	if (s == OK)
		s = virtio_agree(&n->pci, wanted(n->pci.offered), why);
	if (s == OK)
		s = identify(n, why);
	if (s == OK) {
		n->pair_count = (uint32_t)min_u64(
		    max_u64(want_pairs, 1), min_u64(n->pairs_max, VNET_PAIRS));
		choose_vectors(n);
		s = start_queues(n, why);
	}
	if (s != OK)
		(void)virtio_stop(&n->pci, &ignored);
	return s;
}

enum status
vnet_restart(struct virtio_net *n, const char **why)
{
	uint64_t features = n->pci.features;
	uint8_t mac[NET_MAC_BYTES];
	uint32_t pairs_max = n->pairs_max, pair_count = n->pair_count;
	enum status s;

	memcpy(mac, n->mac, sizeof(mac));
	n->pci.resets++;
	s = virtio_agree(&n->pci, features, why);
	if (s == OK)
		s = identify(n, why);
	if (s != OK)
		return s;
	if (n->pci.features != features || n->pairs_max != pairs_max) {
		*why = "it is not the device any more that it was";
		return E_CORRUPT;
	}
	s = start_queues(n, why);
	if (s == OK && n->pair_count != pair_count) {
		*why = "it has fewer pairs of queues than it had";
		return E_CORRUPT;
	}
	if (s == OK && memcmp(mac, n->mac, sizeof(mac)) != 0 &&
	    vnet_has(n, VIRTIO_NET_F_CTRL_MAC_ADDR))
		s = vnet_set_mac(n, mac);
	return s;
}

const char *
vnet_fault(const struct virtio_net *n)
{
	if (n->control.fault != NULL)
		return n->control.fault;
	for (uint32_t i = 0; i < n->pair_count; i++) {
		if (n->pair[i].rx.fault != NULL)
			return n->pair[i].rx.fault;
		if (n->pair[i].tx.fault != NULL)
			return n->pair[i].tx.fault;
	}
	return NULL;
}

const char *
vnet_trouble(struct virtio_net *n)
{
	const char *why = virtio_trouble(&n->pci);

	return why != NULL ? why : vnet_fault(n);
}

enum status
vnet_stray(struct virtio_net *n, struct iova at, bool write)
{
	struct virtq *q = write ? &n->control : &n->pair[0].tx;
	uint64_t from = n->control_memory.iova.v, until = drv_now() + STRAY_NS;
	struct virtq_part parts[3] = { { { from }, sizeof(struct virtio_net_ctrl) },
		{ { from + CONTROL_DATA }, 1 }, { at, 1 } };
	struct virtq_part packet = { at, STRAY_BYTES };
	const struct vnet_ask plain = { 0 };
	uint16_t head;
	enum status s;

	if (n->control.entries == 0)
		return E_UNSUPPORTED;
	if (write) {
		memset(n->control_memory.ptr, 0, CONTROL_ACK);	/* promiscuous: no */
		s = virtq_put(q, parts, 2, 1, CONTROL_COOKIE, &head);
	} else {
		s = vnet_send(&n->pair[0], &packet, 1, &plain, CONTROL_COOKIE);
	}
	if (s == OK)
		s = virtq_commit(q);
	if (s != OK)
		return s;
	while (virtq_look(q) == 0 && drv_now() < until)
		(void)drv_wait(n->pci.dev, drv_now() + POLL_NS);
	return virtq_look(q) != 0 ? OK : E_TIMED_OUT;
}

enum status
vnet_nonsense(struct virtio_net *n)
{
	struct virtq *q = &n->control;
	uint64_t from = n->control_memory.iova.v;
	struct virtq_part parts[2] = { { { from }, 1 }, { { from + CONTROL_ACK }, 1 } };
	uint16_t head;
	enum status s;

	if (q->entries == 0)
		return E_UNSUPPORTED;
	s = virtq_put(q, parts, 1, 1, CONTROL_COOKIE, &head);
	return s == OK ? virtq_commit(q) : s;
}

enum status
vnet_promiscuous(struct virtio_net *n, bool on)
{
	uint8_t v = on;
	enum status s;

	if (!vnet_has(n, VIRTIO_NET_F_CTRL_RX))
		return E_UNSUPPORTED;
	s = command(n, NET_CTRL_RX, NET_CTRL_RX_PROMISC, &v, 1);
	if (s == OK)
		n->promiscuous = on;
	return s;
}

enum status
vnet_all_multicast(struct virtio_net *n, bool on)
{
	uint8_t v = on;

	if (!vnet_has(n, VIRTIO_NET_F_CTRL_RX))
		return E_UNSUPPORTED;
	return command(n, NET_CTRL_RX, NET_CTRL_RX_ALLMULTI, &v, 1);
}

enum status
vnet_set_mac(struct virtio_net *n, const uint8_t mac[NET_MAC_BYTES])
{
	enum status s;

	if (!vnet_has(n, VIRTIO_NET_F_CTRL_MAC_ADDR))
		return E_UNSUPPORTED;
	s = command(n, NET_CTRL_MAC, NET_CTRL_MAC_ADDR_SET, mac, NET_MAC_BYTES);
	if (s == OK)
		memcpy(n->mac, mac, NET_MAC_BYTES);
	return s;
}

enum status
vnet_config(struct virtio_net *n)
{
	const struct virtio_field f = { NET_STATUS, 2 };
	uint64_t v = NET_S_LINK_UP;
	enum status s = OK;

	if (vnet_has(n, VIRTIO_NET_F_STATUS))
		s = virtio_config(&n->pci, &f, 1, &v);
	if (s != OK)
		return s;
	n->link = (v & NET_S_LINK_UP) != 0;
	if (vnet_has(n, VIRTIO_NET_F_GUEST_ANNOUNCE) && (v & NET_S_ANNOUNCE) != 0) {
		n->announces++;
		s = command(n, NET_CTRL_ANNOUNCE, NET_CTRL_ANNOUNCE_ACK, NULL, 0);
	}
	return s;
}

enum status
vnet_post(struct vnet_pair *p, struct iova at, uint32_t bytes, uint64_t cookie)
{
	/* The head is what the chain will begin with: the first free descriptor. */
	struct virtq_part parts[2] = {
		{ { p->rx_headers.iova.v + (uint64_t)p->rx.free * HEADER_STRIDE }, VNET_HEADER },
		{ at, bytes },
	};
	uint16_t head;

	return virtq_put(&p->rx, parts, 0, 2, cookie, &head);
}

enum status
vnet_send(struct vnet_pair *p, const struct virtq_part *parts, unsigned count,
    const struct vnet_ask *ask, uint64_t cookie)
{
	uint64_t place = (uint64_t)p->tx.free * HEADER_STRIDE;
	struct virtio_net_hdr *h;
	struct virtq_part all[1 + VNET_PARTS];
	uint16_t head;

	if (count == 0 || count > VNET_PARTS)
		return E_INVALID;
	if (p->tx.free_count < count + 1)
		return E_WOULD_BLOCK;
	h = (struct virtio_net_hdr *)((uint8_t *)p->tx_headers.ptr + place);
	*h = (struct virtio_net_hdr){ .flags = ask->flags,
		.gso_type = ask->gso_type,
		.hdr_len = ask->header_bytes,
		.gso_size = ask->gso_size,
		.csum_start = ask->csum_start,
		.csum_offset = ask->csum_offset };
	all[0] = (struct virtq_part){ { p->tx_headers.iova.v + place }, VNET_HEADER };
	for (unsigned i = 0; i < count; i++)
		all[1 + i] = parts[i];
	return virtq_put(&p->tx, all, count + 1, 0, cookie, &head);
}

bool
vnet_take(struct vnet_pair *p, struct vnet_got *out)
{
	struct virtio_net_hdr h;
	struct virtq_done d;

	if (!virtq_take(&p->rx, &d))
		return false;
	memcpy(&h, (const uint8_t *)p->rx_headers.ptr + (uint64_t)d.head * HEADER_STRIDE,
	    sizeof(h));
	__asm__ volatile("" ::: "memory");	/* read once: the device may write again */
	*out = (struct vnet_got){ .cookie = d.cookie };
	if (p->more != 0) {
		out->lead_bytes = (uint8_t)min_u64(d.bytes, VNET_HEADER);
		memcpy(out->lead, &h, sizeof(h));
		out->bytes = d.bytes - out->lead_bytes;
		out->last = --p->more == 0;
		return true;
	}
	if (d.bytes < VNET_HEADER) {
		p->rx.fault = "a packet without its header";
		return false;
	}
	out->first = true;
	out->bytes = d.bytes - VNET_HEADER;
	if (p->merges) {
		if (h.num_buffers == 0 ||
		    h.num_buffers - 1u > (uint16_t)(p->rx.seen - p->rx.used_idx)) {
			p->rx.fault = "a packet whose buffers do not come together";
			return false;
		}
		p->more = h.num_buffers - 1;
	}
	out->last = p->more == 0;
	out->says = (struct vnet_ask){ .flags = h.flags,
		.gso_type = h.gso_type,
		.header_bytes = h.hdr_len,
		.gso_size = h.gso_size,
		.csum_start = h.csum_start,
		.csum_offset = h.csum_offset };
	return true;
}
