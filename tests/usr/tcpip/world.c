/*
 * The world of a TCP/IP service: system calls, a NIC, time, a wire and another world behind it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kern/base/bits.h"
#define main program_main	/* os.h declares that of a program */
#include "lwip/netif.h"
#include "usr/lib/devmgr.h"
#include "usr/lib/net.h"
#include "usr/tcpip/addr.h"
#include "usr/tcpip/tcpip.h"
#undef main
#include "tests/usr/tcpip/world.h"

#define MAYBE __attribute__((unused))

enum { OBJECTS = 4096, FRAMES = 4096, FRAME = 2048, REPLIES = 64, FAR_CLIENTS = 16 };
enum : uint64_t { TURN_NS = 20 * NS_PER_US };

struct wire wire = { .delay_ns = 100 * NS_PER_US };
struct world_rights world_rights = { .connect = true, .ports = { ECHO, DISCARD, SOURCE, 53 } };

static uint64_t now = NS_PER_S, seed_state = 1;
static bool alone, far_side;
static uint64_t ntfn_bits[2];		/* the client's, the service's */
static struct socks *keeper;
static uint64_t keeper_token;
static bool keeper_again;		/* it calls again, at once */
static bool client_dead;

static uint32_t
rnd(uint32_t n)
{
	seed_state = seed_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((seed_state >> 33) % n);
}

static bool hit(uint32_t of_1000) { return of_1000 != 0 && rnd(1000) < of_1000; }
uint8_t world_pattern(uint64_t at) { return (uint8_t)((at * 2654435761u) >> 13 ^ at >> 20); }
uint64_t world_now(void) { return now; }

static NORETURN void
fail(const char *what)
{
	fprintf(stderr, "%s end: %s\n", far_side ? "far" : "this", what);
	abort();
}

/* --- frames on their way -------------------------------------------------------- */

struct frame { uint64_t at; uint32_t len; uint8_t bytes[FRAME]; };
struct queue { struct frame *f[FRAMES]; uint32_t n; };
static struct queue in, out, to_far, to_here;

static void
push(struct queue *q, const void *bytes, uint32_t len, uint64_t at)
{
	struct frame *f;
	uint32_t i;

	if (q->n == FRAMES)
		return;
	f = malloc(sizeof(*f));
	f->at = at;
	f->len = len;
	memcpy(f->bytes, bytes, len);
	for (i = q->n++; i != 0 && q->f[i - 1]->at > at; i--)
		q->f[i] = q->f[i - 1];
	q->f[i] = f;
}

static struct frame *
pop(struct queue *q)
{
	struct frame *f = q->f[0];

	memmove(&q->f[0], &q->f[1], --q->n * sizeof(q->f[0]));
	return f;
}

/* --- the NIC's server ------------------------------------------------------------ */

static struct {
	bool dead;
	uint64_t back_ns;
	struct net_post post[NET_SLOTS];
	uint32_t posts, posted;
	uint32_t done[NET_SLOTS], dones;
	uint32_t cut;			/* large packets */
	uint8_t *area;
} nic;

uint32_t world_cut(void) { return nic.cut; }

enum status
net_open(struct net *n, handle_t endpoint, handle_t area MAYBE, void *base, uint64_t area_bytes,
    handle_t ntfn MAYBE, uint64_t bits MAYBE)
{
	if (endpoint != WORLD_NIC)
		fail("another NIC");
	*n = (struct net){ .mtu = 1500, .mac = { 2, 0, 0, 0, 0, far_side ? 2 : 1 } };
	n->features = wire.features;
	n->base = base;
	n->area_bytes = area_bytes;
	nic.area = base;
	n->ring = calloc(1, sizeof(*n->ring));
	n->ring->link = 1;
	return OK;
}

void net_look(struct net *n MAYBE) {}
void net_close(struct net *n) { free(n->ring); n->ring = NULL; }

enum status
net_turn(struct net *n)
{
	if (!nic.dead)
		return OK;
	if (now < nic.back_ns)
		return E_PEER;
	nic.dead = false;
	n->restarts++;
	n->ring->link += 4;
	return OK;
}

/* What a device does to a packet that has no sum yet: adds up from start on. */
static void
add_up(uint8_t *f, uint32_t len, uint32_t start, uint32_t offset)
{
	uint32_t sum = 0;

	for (uint32_t i = start; i < len; i++)
		sum += (i - start) % 2 == 0 ? (uint32_t)f[i] << 8 : f[i];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	f[start + offset] = (uint8_t)(~sum >> 8);
	f[start + offset + 1] = (uint8_t)~sum;
}

static void
add16(uint8_t *p, uint32_t v)
{
	v += (uint32_t)p[0] << 8 | p[1];
	v = (v & 0xffff) + (v >> 16);
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* ... and to a large one: headers before each piece, and their lengths, numbers, flags and sums. */
static void
cut(const uint8_t *f, uint32_t len, const struct net_tx *t)
{
	uint32_t tcp = t->csum_start, head = t->header_bytes, pieces = 0;
	bool v4 = (t->flags & NET_GSO_TCP4) != 0;

	if (tcp != (v4 ? 34 : 54) || head != tcp + (f[tcp + 12] >> 4) * 4 || t->gso_size == 0 ||
	    t->gso_size + head > 1514 || t->bytes < head || len <= head ||
	    (v4 ? f[16] << 8 | f[17] : 40 + (f[18] << 8 | f[19])) != (int)len - 14)
		fail("a large packet that no device takes");
	for (uint32_t at = head; at < len; at += t->gso_size, pieces++) {
		uint32_t n = (uint32_t)min_u64(len - at, t->gso_size), less = len - head - n;
		uint32_t seq = (uint32_t)f[tcp + 4] << 24 | (uint32_t)f[tcp + 5] << 16 |
		    (uint32_t)f[tcp + 6] << 8 | f[tcp + 7];
		uint8_t g[FRAME];

		memcpy(g, f, head);
		memcpy(g + head, f + at, n);
		seq += at - head;
		for (unsigned i = 0; i < 4; i++)
			g[tcp + 4 + i] = (uint8_t)(seq >> (24 - 8 * i));
		if (at + n < len)
			g[tcp + 13] &= (uint8_t)~0x09;		/* PSH, FIN */
		if (v4) {
			g[16] = (uint8_t)((head + n - 14) >> 8);
			g[17] = (uint8_t)(head + n - 14);
			g[24] = g[25] = 0;
			add_up(g, 34, 14, 10);
		} else {
			g[18] = (uint8_t)((head + n - 54) >> 8);
			g[19] = (uint8_t)(head + n - 54);
		}
		/* The pseudo header is in the field, with the whole length. */
		add16(g + tcp + t->csum_offset, ~less & 0xffff);
		add_up(g, head + n, tcp, t->csum_offset);
		push(&out, g, head + n, now);
	}
	nic.cut += pieces > 1;
}

enum status
net_put(struct net *n, const struct net_tx *t, uint32_t count)
{
	static uint8_t f[NET_PACKET_MAX];
	uint32_t len = 0, gso = t->flags & (NET_GSO_TCP4 | NET_GSO_TCP6);

	if (count == 0 || count > NET_FRAGMENTS || (t->flags & ~n->features) != 0)
		fail("a packet that the NIC cannot send");
	for (uint32_t i = 0; i < count; i++) {
		if (t[i].bytes == 0 || (uint64_t)t[i].at + t[i].bytes > n->area_bytes ||
		    len + t[i].bytes > sizeof(f))
			fail("a packet outside of the area");
		memcpy(f + len, n->base + t[i].at, t[i].bytes);
		len += t[i].bytes;
	}
	if (gso == 0 && len > 1514)
		fail("a packet that is too long");
	if (NET_SLOTS - nic.dones < count)
		return E_WOULD_BLOCK;
	if (!nic.dead && !wire.cut && gso != 0) {
		cut(f, len, t);
	} else if (!nic.dead && !wire.cut) {
		if ((t->flags & NET_CSUM) != 0)
			add_up(f, len, t->csum_start, t->csum_offset);
		push(&out, f, len, now);
	}
	nic.done[nic.dones++] = t->cookie;
	return OK;
}

enum status
net_post(struct net *n, uint32_t at, uint32_t bytes, uint32_t cookie)
{
	if (nic.posts - nic.posted == NET_SLOTS)
		return E_WOULD_BLOCK;
	if ((uint64_t)at + bytes > n->area_bytes || bytes < NET_BUFFER_MIN)
		fail("a buffer outside of the area");
	nic.post[nic.posts++ % NET_SLOTS] =
	    (struct net_post){ .cookie = cookie, .at = at, .bytes = bytes };
	return OK;
}

bool
net_next_sent(struct net *n MAYBE, uint32_t *cookie, enum status *s)
{
	if (nic.dones == 0)
		return false;
	*cookie = nic.done[--nic.dones];
	*s = OK;
	return true;
}

bool
net_next_rx(struct net *n, struct net_rx *r)
{
	const struct net_post *p = &nic.post[nic.posted % NET_SLOTS];
	struct frame *f;

	if (in.n == 0 || nic.posts == nic.posted)
		return false;
	f = pop(&in);
	nic.posted++;
	*r = (struct net_rx){ .cookie = p->cookie, .first = NET_HEAD, .bytes = f->len };
	if (f->len > p->bytes - NET_HEAD)
		fail("a frame that is too long for the buffer");
	memcpy(n->base + p->at + NET_HEAD, f->bytes, f->len);
	free(f);
	return true;
}

void net_kick(struct net *n MAYBE) {}
bool net_may_sleep(struct net *n MAYBE, handle_t *h MAYBE, uint64_t *b MAYBE) { return in.n == 0; }
void net_woke(struct net *n MAYBE) {}

void
world_kill_nic(uint64_t for_ns)
{
	nic.dead = true;
	nic.back_ns = now + for_ns;
	while (in.n != 0)
		free(pop(&in));
}

/* --- system calls ------------------------------------------------------------------ */

static struct { void *p; uint64_t bytes; uint32_t maps; } object[OBJECTS];
const struct start_block *start_info;
const struct boot_info *boot_info;

uint64_t now_ns(void) { return now; }
void service_ready(void) {}

void
die(const char *format, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, format);
	fmt_vbuf(text, sizeof(text), format, ap);
	va_end(ap);
	fail(text);
}

void
log_line(unsigned level MAYBE, const char *format, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, format);
	fmt_vbuf(text, sizeof(text), format, ap);
	va_end(ap);
	if (getenv("WORLD_LOG") != NULL)
		fprintf(stderr, "%s end: %s\n", far_side ? "far" : "this", text);
}

handle_t
start_handle(const char *name)
{
	return strcmp(name, "kernel") == 0 ? WORLD_KERNEL :
	    strcmp(name, "init") == 0      ? WORLD_INIT :
	    strcmp(name, "devmgr") == 0    ? WORLD_DEVMGR :
					     WORLD_TCPIP;
}

void *
pages_alloc(uint64_t pages, handle_t *memory)
{
	uint32_t i;
	void *p;

	for (i = 0; i < OBJECTS && object[i].p != NULL; i++)
		;
	if (i == OBJECTS)
		return NULL;
	p = aligned_alloc(PAGE_SIZE, pages * PAGE_SIZE);
	memset(p, 0, pages * PAGE_SIZE);
	/* The heap's chunks are never unmapped: no object. */
	if (memory == NULL)
		return p;
	object[i].p = p;
	object[i].bytes = pages * PAGE_SIZE;
	object[i].maps = 1;
	*memory = 1000 + i;
	return p;
}

/* A service's and a client's mapping of an object are the same pages here. */
static void
unmap(uint64_t va)
{
	for (uint32_t i = 0; i < OBJECTS; i++) {
		if (object[i].p == NULL || (uint64_t)(uintptr_t)object[i].p != va)
			continue;
		if (--object[i].maps == 0) {
			free(object[i].p);
			object[i].p = NULL;
		}
		return;
	}
	fail("what is not mapped is unmapped");
}

void world_take_step(uint64_t until);

void
sleep_until(uint64_t ns)
{
	/* Whoever sleeps for his keeper: the service has answered it, or is gone. */
	if (keeper != NULL && keeper_token == 0)
		__atomic_store_n(&keeper->keeper, 0, __ATOMIC_RELEASE);
	while (now < ns)
		world_take_step(ns);
}

static void
stay(void)
{
	struct msg m = { .label = SOCK_CALL_STAY, .words = 1, .badge = 1, .token = 1 };

	keeper_again = false;
	if (keeper == NULL)
		return;
	m.w[0] = keeper->session;
	keeper_token = 1;
	session_call(&m);
}

void sys_full(struct sysregs *r MAYBE) { abort(); }

enum status
sys6(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e MAYBE,
    uint64_t f MAYBE, uint64_t *r0, uint64_t *r1)
{
	uint64_t random[4] = { far_side, 1, 2, 3 };

	*r0 = *r1 = 0;
	switch (nr) {
	case SYS_clock:
		*r0 = now;
		return OK;
	case SYS_ntfn_create:
		*r0 = WORLD_NTFN + 1000;
		return OK;
	case SYS_handle_dup:
		*r0 = a;
		return OK;
	case SYS_handle_close:
		return OK;
	case SYS_handle_info:
		*r0 = OBJ_NOTIFICATION | (uint64_t)RIGHT_SIGNAL << 32;
		return OK;
	case SYS_info:
		if (b != INFO_RANDOM)
			return E_RIGHTS;
		memcpy((void *)(uintptr_t)d, random, sizeof(random));
		return OK;
	case SYS_mem_map:
		if (b < 1000 || b - 1000 >= OBJECTS || object[b - 1000].p == NULL ||
		    d > object[b - 1000].bytes)
			fail("no such memory");
		object[b - 1000].maps++;
		*r0 = (uint64_t)(uintptr_t)object[b - 1000].p;
		return OK;
	case SYS_mem_unmap:
		unmap(b);
		return OK;
	case SYS_thread_create:
		keeper = (struct socks *)(uintptr_t)d;
		stay();
		return OK;
	case SYS_ntfn_signal:
		ntfn_bits[a != WORLD_NTFN] |= b;
		return OK;
	case SYS_ntfn_signal_wait:
		if (a == HANDLE_NONE) {
			sleep_until(b);
			return E_TIMED_OUT;
		}
		while (ntfn_bits[0] == 0 && now < b)
			world_take_step(b);
		*r0 = ntfn_bits[0];
		ntfn_bits[0] = 0;
		return *r0 != 0 ? OK : E_TIMED_OUT;
	}
	(void)c;
	fail("a system call that nobody expects");
}

/* Replies to calls, by token; token 1 is the keeper's. */
static struct { uint64_t token; bool there; struct msg m; } reply[REPLIES];
static uint64_t next_token = 2;

enum status
msg_reply(struct msg *m)
{
	if (m->token == 1) {
		if (client_dead)
			return E_PEER;
		keeper_token = 0;
		keeper_again = m->label == E_WOULD_BLOCK;
		return OK;
	}
	for (uint32_t i = 0; i < REPLIES; i++)
		if (reply[i].token == m->token) {
			reply[i].there = true;
			reply[i].m = *m;
			return OK;
		}
	return E_PEER;
}

enum status
msg_call(handle_t endpoint, struct msg *m, uint64_t deadline)
{
	uint32_t i;

	if (endpoint == WORLD_DEVMGR) {
		m->label = OK;
		m->handles = 1;
		m->w[0] = WORLD_NIC;
		return OK;
	}
	if (endpoint == WORLD_INIT) {
		uint64_t w[4] = { 0 };

		for (i = 0; i < ARRAY_SIZE(world_rights.ports); i++)
			w[i / 4] |= (uint64_t)world_rights.ports[i] << i % 4 * 16;
		m->label = OK;
		m->w[0] = world_rights.connect;
		memcpy(&m->w[1], w, sizeof(w));
		memcpy(&m->w[5], "client", 7);
		return OK;
	}
	for (i = 0; i < REPLIES && reply[i].token != 0; i++)
		;
	if (endpoint != WORLD_TCPIP || i == REPLIES)
		fail("a call to nobody");
	reply[i].token = m->token = ++next_token;
	reply[i].there = false;
	m->badge = 1;
	session_call(m);
	while (!reply[i].there && now < deadline)
		world_take_step(deadline);
	reply[i].token = 0;
	if (!reply[i].there)
		return E_TIMED_OUT;
	*m = reply[i].m;
	return OK;
}

void
world_kill_client(void)
{
	client_dead = true;
	keeper = NULL;
}

/* --- turns ------------------------------------------------------------------------- */

void
world_settle(void)
{
	uint64_t until;

	while (tcpip_turn() || !tcpip_may_sleep(&until))
		tcpip_woke();
	tcpip_woke();
}

static uint64_t
next_here(void)
{
	uint64_t until;

	(void)tcpip_may_sleep(&until);
	tcpip_woke();
	return min_u64(until, nic.dead ? nic.back_ns : DEADLINE_NEVER);
}

/* --- the far end ------------------------------------------------------------------- */

struct turn { uint64_t now, next, discarded; uint32_t frames; };
static int far = -1;
static pid_t far_pid;
static uint64_t far_next = 0, far_discarded;

static void
put_all(int fd, const void *p, size_t n)
{
	if (write(fd, p, n) != (ssize_t)n)
		_exit(9);
}

static bool
get_all(int fd, void *p, size_t n)
{
	for (size_t k, done = 0; done < n; done += k) {
		ssize_t r = read(fd, (char *)p + done, n - done);

		if (r <= 0)
			return false;
		k = (size_t)r;
	}
	return true;
}

static struct socks far_socks;
static struct sock far_listen[3], far_client[FAR_CLIENTS], far_names;
static struct { uint16_t port; uint64_t n; bool shut; } far_state[FAR_CLIENTS];

static void
far_serve(uint32_t i)
{
	struct sock *s = &far_client[i];
	enum sock_state state = sock_state(s);
	uint32_t n, room;
	const uint8_t *p;
	uint8_t *to;

	while ((p = sock_peek(s, &n)), n != 0 && far_state[i].port != SOURCE) {
		if (far_state[i].port == ECHO) {
			to = sock_space(s, &room);
			n = (uint32_t)min_u64(n, room);
			if (n == 0)
				break;
			memcpy(to, p, n);
			sock_produce(s, n);
		} else {
			for (uint32_t k = 0; k < n; k++)
				if (p[k] != world_pattern(far_state[i].n++))
					fail("what DISCARD gets is not the pattern");
			far_discarded += n;
		}
		sock_consume(s, n);
	}
	while (far_state[i].port == SOURCE && far_state[i].n < SOURCE_BYTES) {
		to = sock_space(s, &room);
		n = (uint32_t)min_u64(room, SOURCE_BYTES - far_state[i].n);
		if (n == 0)
			break;
		for (uint32_t k = 0; k < n; k++)
			to[k] = world_pattern(far_state[i].n++);
		sock_produce(s, n);
	}
	if (far_state[i].port == SOURCE && far_state[i].n == SOURCE_BYTES && !far_state[i].shut) {
		far_state[i].shut = true;
		sock_shutdown(s);
	}
	if (state == SOCK_ENDED ||
	    (state == SOCK_PEER_CLOSED && sock_readable(s) == 0 &&
		(far_state[i].port != SOURCE || far_state[i].shut)))
		sock_close(s);
}

/* A name server [RFC 1035, 4.1]: NAME.four has 10.0.0.N, N its length; NAME.six has ::N; NAME.lies
 * gets answers of other questions and cut ones before its own; what ends otherwise is not known. */
static void
far_name(const uint8_t *q, uint32_t len, const struct sock_addr *from, uint16_t port)
{
	uint8_t a[512];
	uint32_t at = 12, n = q[12], type;
	const char *top;
	bool six, known;

	while (at < len && q[at] != 0)
		at += 1u + q[at];
	if (at + 5 > len || 12u + 1 + n >= at || len + 28 > sizeof(a))
		fail("a question that is none");
	top = (const char *)q + 12 + 1 + n + 1;
	type = q[at + 2];
	six = strncmp(top, "six", 3) == 0;
	known = six || strncmp(top, "four", 4) == 0 || strncmp(top, "lies", 4) == 0;
	len = at + 5;
	memcpy(a, q, len);
	a[2] = 0x81;
	a[3] = known ? 0x80 : 0x83;
	memset(a + 6, 0, 6);
	/* Known, but not of that kind: an answer without one. */
	if (known && (type == 28) == six) {
		a[7] = 1;
		memcpy(a + len,
		    (uint8_t[]){ 0xc0, 12, 0, (uint8_t)type, 0, 1, 0, 0, 0, 60, 0, six ? 16 : 4 },
		    12);
		memset(a + len + 12, 0, 16);
		if (six)
			a[len + 12 + 15] = (uint8_t)n;
		else
			memcpy(a + len + 12, (uint8_t[]){ 10, 0, 0, (uint8_t)n }, 4);
		len += six ? 28 : 16;
	}
	if (strncmp(top, "lies", 4) == 0) {
		a[0] ^= 0x55;
		(void)sock_send_to(&far_names, from, port, a, len);
		a[0] ^= 0x55;
		for (uint32_t cut = 1; cut < len; cut += 5)
			(void)sock_send_to(&far_names, from, port, a, cut);
	}
	(void)sock_send_to(&far_names, from, port, a, len);
}

static void
far_app(void)
{
	struct sock_addr from;
	uint8_t q[512];
	uint16_t port;
	uint32_t len;

	while (sock_receive_from(&far_names, &from, &port, q, sizeof(q), &len) == OK)
		far_name(q, len, &from, port);
	for (uint32_t l = 0; l < 3; l++)
		for (;;) {
			uint32_t i;

			for (i = 0; i < FAR_CLIENTS && far_client[i].k != NULL; i++)
				;
			if (i == FAR_CLIENTS ||
			    sock_accept(&far_listen[l], 65536, 131072, &far_client[i]) != OK)
				break;
			far_state[i].port = far_listen[l].port;
			far_state[i].n = 0;
			far_state[i].shut = false;
		}
	(void)sock_ready(&far_socks);
	for (uint32_t i = 0; i < FAR_CLIENTS; i++)
		if (far_client[i].k != NULL)
			far_serve(i);
	sock_kick(&far_socks);
}

static NORETURN void
far_main(int fd)
{
	static const uint16_t ports[3] = { ECHO, DISCARD, SOURCE };
	struct turn t;

	far_side = true;
	if (!get_all(fd, &t, sizeof(t)))
		_exit(0);
	now = t.now;
	tcpip_init("address=10.0.0.2/24 gateway=10.0.0.1");
	world_settle();
	alone = true;
	if (sock_start(&far_socks, WORLD_TCPIP, WORLD_NTFN, 1) != OK)
		fail("no session");
	for (uint32_t i = 0; i < 3; i++)
		if (sock_listen(&far_socks, ports[i], 8, &far_listen[i]) != OK)
			fail("no listener");
	if (sock_bind(&far_socks, 53, 65536, 65536, &far_names) != OK)
		fail("no name server");
	do {
		uint32_t frames = t.frames;

		now = t.now;
		if (keeper_again)
			stay();
		for (uint32_t i = 0; i < frames; i++) {
			struct frame f;

			if (!get_all(fd, &f, sizeof(f)))
				_exit(0);
			push(&in, f.bytes, f.len, 0);
		}
		for (unsigned i = 0; i < 4; i++) {
			world_settle();
			far_app();
		}
		world_settle();
		t = (struct turn){
			.next = next_here(), .discarded = far_discarded, .frames = out.n
		};
		put_all(fd, &t, sizeof(t));
		while (out.n != 0) {
			struct frame *f = pop(&out);

			put_all(fd, f, sizeof(*f));
			free(f);
		}
	} while (get_all(fd, &t, sizeof(t)));
	_exit(0);
}

static void
far_turn(void)
{
	struct turn t = { .now = now };
	uint32_t due = 0;

	while (due < to_far.n && to_far.f[due]->at <= now)
		due++;
	if (due == 0 && far_next > now)
		return;
	t.frames = due;
	put_all(far, &t, sizeof(t));
	for (; due != 0; due--) {
		struct frame *f = pop(&to_far);

		put_all(far, f, sizeof(*f));
		free(f);
	}
	if (!get_all(far, &t, sizeof(t)))
		fail("the far end is gone");
	far_next = max_u64(t.next, now + TURN_NS);
	far_discarded = t.discarded;
	for (uint32_t i = 0; i < t.frames; i++) {
		struct frame f;

		if (!get_all(far, &f, sizeof(f)))
			fail("the far end is gone");
		if (hit(wire.lose) || wire.cut)
			continue;
		if (hit(wire.flip) && f.len > 14)
			f.bytes[14 + rnd(f.len - 14)] ^= (uint8_t)(1 + rnd(255));
		for (unsigned n = hit(wire.repeat) ? 2 : 1; n != 0; n--)
			push(&to_here, f.bytes, f.len,
			    now + wire.delay_ns + (hit(wire.swap) ? rnd(1000) * NS_PER_US : 0));
	}
}

void
world_take_step(uint64_t until)
{
	uint64_t next;

	if (keeper_again)
		stay();
	world_settle();
	if (!alone) {
		while (out.n != 0) {
			struct frame *f = pop(&out);

			if (!hit(wire.lose)) {
				if (hit(wire.flip) && f->len > 14)
					f->bytes[14 + rnd(f->len - 14)] ^= (uint8_t)(1 + rnd(255));
				for (unsigned n = hit(wire.repeat) ? 2 : 1; n != 0; n--)
					push(&to_far, f->bytes, f->len,
					    now + wire.delay_ns +
						(hit(wire.swap) ? rnd(1000) * NS_PER_US : 0));
			}
			free(f);
		}
		far_turn();
	}
	while (to_here.n != 0 && to_here.f[0]->at <= now) {
		struct frame *f = pop(&to_here);

		if (!nic.dead)
			push(&in, f->bytes, f->len, 0);
		free(f);
	}
	if (in.n != 0) {
		world_settle();
		return;
	}
	next = min_u64(next_here(), until);
	if (!alone) {
		next = min_u64(next, far_next);
		if (to_far.n != 0)
			next = min_u64(next, to_far.f[0]->at);
		if (to_here.n != 0)
			next = min_u64(next, to_here.f[0]->at);
	}
	now = max_u64(next, now + NS_PER_US);
}

void world_step(void) { world_take_step(DEADLINE_NEVER); }

void
world_run(uint64_t ns)
{
	for (uint64_t until = now + ns; now < until;)
		world_take_step(until);
}

void
world_start(uint64_t seed)
{
	int pair[2];

	seed_state = seed;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		abort();
	fflush(NULL);
	far_pid = fork();
	if (far_pid == 0) {
		close(pair[0]);
		far_main(pair[1]);
	}
	close(pair[1]);
	far = pair[0];
	signal(SIGPIPE, SIG_IGN);
	tcpip_init("address=10.0.0.1/24 gateway=10.0.0.2 dns=10.0.0.2");
	world_run(3 * NS_PER_S);	/* addresses are found to be nobody else's */
}

void
world_start_alone(void)
{
	alone = true;
	tcpip_init("address=10.0.0.1/24 gateway=10.0.0.2 dns=10.0.0.2");
	world_run(3 * NS_PER_S);
}

void
world_stop(void)
{
	int status;

	close(far);
	if (waitpid(far_pid, &status, 0) != far_pid || status != 0)
		fail("the far end did not end well");
}

uint32_t
world_sent(uint8_t *packet, uint32_t size)
{
	struct frame *f;
	uint32_t n;

	if (out.n == 0)
		return 0;
	f = pop(&out);
	n = (uint32_t)min_u64(f->len, size);
	memcpy(packet, f->bytes, n);
	free(f);
	return n;
}

void
world_receive(const uint8_t *packet, uint32_t len)
{
	if (len <= FRAME - NET_HEAD)
		push(&in, packet, len, 0);
}

uint64_t world_discarded(void) { return far_discarded; }
struct sock_addr world_far(void) { return sock_addr_v4(10, 0, 0, 2); }

struct sock_addr
world_far6(void)
{
	/* fe80::ff:fe00:2 [RFC 4291, appendix A] */
	return (struct sock_addr){ .v = { 0xfe, 0x80, [11] = 0xff, 0xfe, 0, 0, 2 } };
}
