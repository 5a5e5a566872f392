/*
 * Commands about the network: the interface, ping, names, and fetching a file over HTTP.
 *
 * Each opens a session with the TCP/IP service and ends it; Ctrl-C ends a wait within a second.
 *
 * Not here raw packets (packet.c).
 */
#include "kern/base/bits.h"
#include "usr/lib/blk.h"
#include "usr/lib/sock.h"
#include "usr/shell/shell.h"

enum {
	PINGS = 4,
	PING_BYTES = 56,
	HEAD_BYTES = 4096,
	RX_BYTES = 256 * 1024,
	SAVE_BYTES = 64 * 1024
};
enum : uint64_t { PING_NS = 2 * NS_PER_S, DNS_NS = 10 * NS_PER_S, IDLE_NS = 30 * NS_PER_S };

static struct socks socks;
static handle_t socks_ntfn;

static bool
network_open(void)
{
	handle_t service = start_handle("tcpip");
	enum status s;
	uint64_t h;

	if (service == HANDLE_NONE) {
		print("the manifest gives the shell no TCP/IP service\n");
		return false;
	}
	if (socks_ntfn == HANDLE_NONE && sys_ntfn_create(&h) == OK)
		socks_ntfn = (handle_t)h;
	s = sock_start(&socks, service, socks_ntfn, 1);
	if (s != OK)
		print("no TCP/IP service: %s\n", status_text(s));
	return s == OK;
}

static void
network_close(void)
{
	sock_stop(&socks);
}

static void
print_address(const char *name, const struct sock_addr *a)
{
	char text[46];

	if (sock_addr_is_any(a))
		return;
	sock_addr_text(a, text, sizeof(text));
	print("  %s %s\n", name, text);
}

int
cmd_net(int argc, char **argv)
{
	static const char *const states[] = { "free", "listens", "connects", "open", "peer closed",
		"ended" };
	struct sock_interface n;
	struct sock_entry e;
	enum status s;

	if (argc == 3)
		return interface_change(argv[1], argv[2]);
	if (!network_open())
		return 1;
	s = sock_interface(&socks, &n);
	if (s != OK) {
		print("net: %s\n", status_text(s));
		network_close();
		return 1;
	}
	print("%02x:%02x:%02x:%02x:%02x:%02x, MTU %u, link %s%s%s\n", n.mac[0], n.mac[1], n.mac[2],
	    n.mac[3], n.mac[4], n.mac[5], n.mtu, n.link != 0 ? "up" : "down",
	    interface_is_promiscuous() ? ", promiscuous" : "",
	    n.configured != 0 ? "" : ", no address yet");
	print_address("address", &n.v4);
	print_address("mask", &n.v4_mask);
	print_address("gateway", &n.v4_gateway);
	for (unsigned i = 0; i < SOCK_ADDRESSES; i++)
		print_address("address", &n.v6[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(n.dns); i++)
		print_address("name server", &n.dns[i]);
	print("  in %llu packets, %llu bytes, %llu dropped, %llu with a wrong checksum, "
	      "%llu for others\n",
	    (unsigned long long)n.rx_packets, (unsigned long long)n.rx_bytes,
	    (unsigned long long)n.rx_dropped, (unsigned long long)n.checksum_errors,
	    (unsigned long long)n.rx_others);
	print("  out %llu packets, %llu bytes, %llu dropped, %llu segments again\n",
	    (unsigned long long)n.tx_packets, (unsigned long long)n.tx_bytes,
	    (unsigned long long)n.tx_dropped, (unsigned long long)n.tcp_resent);
	for (uint32_t i = 0; n.pairs > 1 && i < n.pairs && i < SOCK_PAIRS; i++)
		print("  pair %u of queues: in %llu packets, out %llu\n", i,
		    (unsigned long long)n.pair[i].rx_packets,
		    (unsigned long long)n.pair[i].tx_packets);
	print(
	    "  %u sockets of %u sessions; %u refused; the packet server was restarted %llu times\n",
	    n.sockets, n.sessions, n.refused, (unsigned long long)n.nic_restarts);
	for (uint32_t i = 0; sock_entry(&socks, i, &e) == OK; i++) {
		char peer[46] = "";

		if (!sock_addr_is_any(&e.peer))
			sock_addr_text(&e.peer, peer, sizeof(peer));
		print("  %s port %u %s %s", e.datagrams != 0 ? "UDP" : "TCP", e.port,
		    e.state < ARRAY_SIZE(states) ? states[e.state] : "?", peer);
		if (e.peer_port != 0)
			print(" port %u", e.peer_port);
		print("\n");
	}
	network_close();
	return 0;
}

/* Why there is no address of a name. */
static const char *
unresolved(enum status s)
{
	struct sock_interface n;

	switch (s) {
	case OK:
	case E_NOT_FOUND:
		return sock_interface(&socks, &n) == OK && sock_addr_is_any(&n.dns[0]) ?
		    "no name server is known" :
		    "the name server gives no address of it";
	case E_TIMED_OUT: return "the name server gives no answer that can be used";
	case E_INVALID: return "no name";
	default: return status_text(s);
	}
}

/* Says why not. */
static bool
resolve(const char *name, struct sock_addr *out, uint32_t count, uint32_t *n)
{
	enum status s = sock_resolve(&socks, name, out, count, n, now_ns() + DNS_NS);

	if (s != OK || *n == 0) {
		print("%s: %s\n", name, unresolved(s));
		return false;
	}
	return true;
}

int
cmd_dns(int argc UNUSED, char **argv)
{
	struct sock_addr a[SOCK_ADDRESSES];
	char text[46];
	uint32_t n = 0;
	bool found;

	if (!network_open())
		return 1;
	found = resolve(argv[1], a, SOCK_ADDRESSES, &n);
	for (uint32_t i = 0; found && i < n && i < SOCK_ADDRESSES; i++) {
		sock_addr_text(&a[i], text, sizeof(text));
		print("%s has address %s\n", argv[1], text);
	}
	network_close();
	return !found;
}

int
cmd_ping(int argc UNUSED, char **argv)
{
	struct sock_addr a;
	char text[46];
	uint32_t n = 0, came = 0;

	if (!network_open())
		return 1;
	if (!resolve(argv[1], &a, 1, &n)) {
		network_close();
		return 1;
	}
	sock_addr_text(&a, text, sizeof(text));
	for (uint32_t i = 0; i < PINGS; i++) {
		uint64_t took;
		enum status s = sock_ping(&socks, &a, PING_BYTES, &took, now_ns() + PING_NS);

		if (s == OK)
			print("%u bytes from %s: %llu.%03llu ms\n", PING_BYTES, text,
			    (unsigned long long)(took / NS_PER_MS),
			    (unsigned long long)(took / NS_PER_US % 1000));
		else
			print("%s: %s\n", text, status_text(s));
		came += s == OK;
		if (s != OK && s != E_TIMED_OUT)
			break;
		if (i + 1 != PINGS && !pause_until(now_ns() + NS_PER_S / 5)) {
			network_close();
			return stopped();
		}
	}
	network_close();
	return came == 0;
}

/* --- wget ------------------------------------------------------------------ */

/* Where the bytes go: to a disk, whole blocks at a time, or to the console. */
struct sink {
	struct blk *b;			/* NULL: the console */
	uint64_t at, bytes;		/* on the disk: the next block; of the file so far */
	uint32_t kept;			/* in the data area */
};

static enum status
flush_sink(struct sink *k, bool end)
{
	uint32_t n = (uint32_t)align_down(k->kept, k->b->block_bytes), rest = k->kept - n;
	enum status s = OK;

	if (n != 0)
		s = blk_do(k->b, BLK_WRITE, k->at, 0, n);
	if (s != OK)
		return s;
	k->at += n;
	memmove(k->b->data, k->b->data + n, rest);
	k->kept = rest;
	if (!end)
		return OK;
	/* The last block keeps what is behind the file. */
	if (rest != 0) {
		uint64_t spare = SAVE_BYTES;

		s = blk_do(k->b, BLK_READ, k->at, spare, (uint32_t)k->b->block_bytes);
		if (s != OK)
			return s;
		memcpy(k->b->data + spare, k->b->data, rest);
		s = blk_do(k->b, BLK_WRITE, k->at, spare, (uint32_t)k->b->block_bytes);
		if (s != OK)
			return s;
	}
	return blk_do(k->b, BLK_FLUSH, 0, 0, 0);
}

static enum status
put(struct sink *k, const uint8_t *p, uint32_t n)
{
	enum status s = OK;

	k->bytes += n;
	if (k->b == NULL) {
		print_raw((const char *)p, n);
		return OK;
	}
	while (n != 0 && s == OK) {
		uint32_t part = (uint32_t)min_u64(n, SAVE_BYTES - k->kept);

		memcpy(k->b->data + k->kept, p, part);
		k->kept += part;
		p += part;
		n -= part;
		if (k->kept == SAVE_BYTES)
			s = flush_sink(k, false);
	}
	return s;
}

struct url { char host[128]; const char *path; uint16_t port; };

/* http://HOST[:PORT][/PATH] */
static bool
split_url(const char *text, struct url *u)
{
	const char *p = text + 7, *end;
	uint64_t port = 80;
	size_t len;

	if (strncmp(text, "http://", 7) != 0)
		return false;
	for (end = p; *end != 0 && *end != '/' && *end != ':'; end++)
		;
	len = (size_t)(end - p);
	if (len == 0 || len >= sizeof(u->host))
		return false;
	memcpy(u->host, p, len);
	u->host[len] = 0;
	if (*end == ':') {
		for (port = 0, end++; *end >= '0' && *end <= '9' && port < 65536; end++)
			port = port * 10 + (uint64_t)(*end - '0');
		if (port == 0 || port > 65535)
			return false;
	}
	if (*end != 0 && *end != '/')
		return false;
	u->port = (uint16_t)port;
	u->path = *end == 0 ? "/" : end;
	return true;
}

/* Waits for news of s; false: too long, or Ctrl-C. */
static bool
wait_for(const struct sock *s, uint64_t *until)
{
	uint64_t now = now_ns();

	(void)s;
	if (interrupted() || now >= *until)
		return false;
	(void)sock_wait(&socks, min_u64(*until, now + NS_PER_S / 2));
	(void)sock_ready(&socks);
	return true;
}

/* The head up to its empty line; where the body begins in it, or 0. */
static uint32_t
head_end(const char *head, uint32_t n)
{
	for (uint32_t i = 3; i < n; i++)
		if (head[i] == '\n' && head[i - 1] == '\r' && head[i - 2] == '\n' &&
		    head[i - 3] == '\r')
			return i + 1;
	return 0;
}

/* The value of "Content-Length"; UINT64_MAX when it is not told. */
static uint64_t
content_length(const char *head, uint32_t n)
{
	static const char name[] = "\ncontent-length:";
	uint64_t v = 0;
	uint32_t i, k;

	for (i = 0; i + sizeof(name) < n; i++) {
		for (k = 0; k < sizeof(name) - 1; k++)
			if ((head[i + k] | (head[i + k] >= 'A' && head[i + k] <= 'Z' ? 0x20 : 0)) !=
			    name[k])
				break;
		if (k == sizeof(name) - 1)
			break;
	}
	if (i + sizeof(name) >= n)
		return UINT64_MAX;
	for (i += sizeof(name) - 1; i < n && head[i] == ' '; i++)
		;
	if (i == n || head[i] < '0' || head[i] > '9')
		return UINT64_MAX;
	for (; i < n && head[i] >= '0' && head[i] <= '9' && v < UINT64_MAX / 100; i++)
		v = v * 10 + (uint64_t)(head[i] - '0');
	return v;
}

/* What the server sends, from its first line on; 0: the file is there, whole. */
static int
receive(struct sock *s, struct sink *k)
{
	static char head[HEAD_BYTES];
	uint64_t until = now_ns() + IDLE_NS, want = UINT64_MAX;
	uint32_t have = 0, body = 0;

	for (;;) {
		uint32_t n;
		const uint8_t *p = sock_peek(s, &n);
		enum sock_state state;

		if (n != 0)
			until = now_ns() + IDLE_NS;
		if (n != 0 && body == 0) {
			uint32_t before = have;

			n = (uint32_t)min_u64(n, HEAD_BYTES - have);
			memcpy(head + have, p, n);
			have += n;
			body = head_end(head, have);
			if (body == 0 && have == HEAD_BYTES) {
				print("wget: its answer's head is too long\n");
				return 1;
			}
			sock_consume(s, body == 0 ? n : body - before);
			if (body == 0)
				continue;
			if (strncmp(head, "HTTP/1.", 7) != 0 || strncmp(head + 8, " 200", 4) != 0) {
				print("wget: %.*s\n",
				    (int)((const char *)strchr(head, '\r') - head), head);
				return 1;
			}
			want = content_length(head, body);
			continue;
		}
		if (n != 0) {
			enum status e = put(k, p, n);

			if (e != OK) {
				print("wget: %s\n", status_text(e));
				return 1;
			}
			sock_consume(s, n);
			continue;
		}
		if (body != 0 && k->bytes >= want)
			return 0;
		state = sock_state(s);
		if (state == SOCK_PEER_CLOSED || state == SOCK_ENDED) {
			if (sock_readable(s) != 0)
				continue;
			if (body != 0 && want == UINT64_MAX && state == SOCK_PEER_CLOSED)
				return 0;
			print("wget: the connection ended early: %s\n", status_text(sock_error(s)));
			return 1;
		}
		if (!wait_for(s, &until)) {
			if (was_interrupted())
				return stopped();
			print("wget: no answer for so long\n");
			return 1;
		}
	}
}

static int
fetch(const struct url *u, struct sink *k)
{
	static char text[512];
	struct sock s = { 0 };
	struct sock_addr a;
	uint64_t until = now_ns() + IDLE_NS;
	uint32_t n = 0, len;
	enum status e;
	int result = 1;

	if (!resolve(u->host, &a, 1, &n))
		return 1;
	e = sock_connect(&socks, &a, u->port, RX_BYTES, SOCK_RING_MIN, &s);
	if (e != OK) {
		print("wget: %s\n", status_text(e));
		return 1;
	}
	while (sock_state(&s) == SOCK_CONNECTING && wait_for(&s, &until))
		;
	if (sock_state(&s) != SOCK_OPEN && sock_state(&s) != SOCK_PEER_CLOSED) {
		print("wget: no connection: %s\n",
		    status_text(sock_state(&s) == SOCK_ENDED ? sock_error(&s) : E_TIMED_OUT));
		sock_abort(&s);
		return 1;
	}
	/* 1.0: the answer comes in one piece, and the connection ends with it. */
	len = (uint32_t)fmt_buf(text, sizeof(text),
	    "GET %s HTTP/1.0\r\nHost: %s\r\nUser-Agent: capOS\r\n\r\n", u->path, u->host);
	if (len < sizeof(text)) {
		(void)sock_write(&s, text, len);	/* its ring is larger */
		sock_kick(&socks);
		result = receive(&s, k);
	} else {
		print("wget: the path is too long\n");
	}
	if (result == 0)
		sock_close(&s);
	else
		sock_abort(&s);
	return result;
}

int
cmd_wget(int argc, char **argv)
{
	static struct blk disk;
	struct sink k = { 0 };
	struct url u;
	enum status s = OK;
	int result;

	if (!split_url(argv[1], &u))
		return usage("\"%s\" is not http://HOST[:PORT][/PATH]", argv[1]);
	if (argc == 3)
		return usage("where on the disk");
	if (argc == 4 && !want_number("OFFSET", argv[3], &k.at))
		return 1;
	if (!network_open())
		return 1;
	if (argc == 4) {
		if (!disk_open(&disk, argv[2], BLK_RIGHT_READ | BLK_RIGHT_WRITE,
			SAVE_BYTES + PAGE_SIZE)) {
			network_close();
			return 1;
		}
		k.b = &disk;
	}
	if (k.b != NULL && !is_aligned(k.at, disk.block_bytes)) {
		print("wget: the offset must be a multiple of %llu\n",
		    (unsigned long long)disk.block_bytes);
		result = 1;
	} else {
		result = fetch(&u, &k);
	}
	if (result == 0 && k.b != NULL) {
		s = flush_sink(&k, true);
		if (s != OK) {
			print("wget: %s\n", status_text(s));
			result = 1;
		}
	}
	if (result == 0 && k.b != NULL)
		print("%llu bytes\n", (unsigned long long)k.bytes);
	else if (result == 0)
		print("\n");
	if (k.b != NULL)
		disk_close(&disk);
	network_close();
	return result;
}
