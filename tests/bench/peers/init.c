/*
 * The first and only program of the Linux guest that "make bench PEERS=1" measures: the operations
 * of usr/shell/bench.c by Linux's own means, between the same marks.
 *
 * Freestanding: system calls by their instruction, so one compiler serves both architectures and no
 * C library is needed.  Its first instruction is the mark of the end of booting.
 *
 *   2  getpid                                       10,000 times
 *   4  a futex handed to and fro by two processes   5,000 round trips
 *   8  4 KiB reads, O_DIRECT, one at a time         512
 *  10  4 KiB reads, io_uring, 32 at a time          4,096
 *  12  128 KiB reads, io_uring, 8 at a time         512
 *
 * Or, with far=PORT on the kernel's command line, which is in its environment: what
 * usr/shell/bench_net.c does with the far end at that port of the gateway; NBD by nbdkit, where it
 * is there, on the disk, as people use it: Linux has no server of its own.
 *
 *  18  16 MiB in by TCP                             5 times
 *  20  16 MiB out by TCP                            5 times
 *  22  4 KiB reads by NBD, 32 at a time             1,024, 5 times
 *  24  128 KiB reads by NBD, 8 at a time            128, 5 times
 *
 * Facts: Linux's user interface (syscall tables, include/uapi/linux/io_uring.h, futex.h).
 */
#include <stddef.h>
#include <stdint.h>

#if defined(__aarch64__)
enum {
	NR_exit = 93,
	NR_write = 64,
	NR_read = 63,
	NR_openat = 56,
	NR_close = 57,
	NR_pread64 = 67,
	NR_mount = 40,
	NR_finit_module = 273,
	NR_nanosleep = 101,
	NR_getpid = 172,
	NR_clone = 220,
	NR_execve = 221,
	NR_futex = 98,
	NR_mmap = 222,
	NR_reboot = 142,
	NR_io_uring_setup = 425,
	NR_io_uring_enter = 426,
	NR_socket = 198,
	NR_connect = 203,
	NR_setsockopt = 208,
	NR_ioctl = 29,
	O_DIRECT = 0x10000,
};
#define MARK(id) __asm__ volatile(".inst 0xd280001f | ((0x5a00 | %c0) << 5)" :: "i"(id) : "memory")
__asm__(
    ".globl _start\n_start: .inst 0xd280001f | ((0x5a00 | 254) << 5)\n mov x29, #0\n mov x0, sp\n bl linux_main\n");
#else
enum {
	NR_exit = 60,
	NR_write = 1,
	NR_read = 0,
	NR_openat = 257,
	NR_close = 3,
	NR_pread64 = 17,
	NR_mount = 165,
	NR_finit_module = 313,
	NR_nanosleep = 35,
	NR_getpid = 39,
	NR_clone = 56,
	NR_execve = 59,
	NR_futex = 202,
	NR_mmap = 9,
	NR_reboot = 169,
	NR_io_uring_setup = 425,
	NR_io_uring_enter = 426,
	NR_socket = 41,
	NR_connect = 42,
	NR_setsockopt = 54,
	NR_ioctl = 16,
	O_DIRECT = 0x4000,
};
#define MARK(id) \
	__asm__ volatile(".byte 0x0f, 0x1f, 0x80; .long 0x5a4d0000 | %c0" ::"i"(id) : "memory")
__asm__(
    ".globl _start\n_start: .byte 0x0f, 0x1f, 0x80; .long 0x5a4d00fe\n xorl %ebp, %ebp\n mov %rsp, %rdi\n andq $-16, %rsp\n call linux_main\n");
#endif

static long
call(long nr, long a, long b, long c, long d, long e, long f)
{
#if defined(__aarch64__)
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
	    : "+r"(x0)
	    : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
	    : "memory");
	return x0;
#else
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
	    : "+a"(nr)
	    : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
	    : "rcx", "r11", "memory");
	return nr;
#endif
}

enum : long {
	AT_FDCWD = -100,
	SIGCHLD = 17,
	MAP_SHARED_ANONYMOUS = 0x21,
	MAP_SHARED = 1,
	PROT_RW = 3,
	FUTEX_WAIT = 0,
	FUTEX_WAKE = 1,
	MAGIC1 = 0xfee1dead,
	MAGIC2 = 672274793,
	POWER_OFF = 0x4321fedc,
};

static void
say(const char *text)
{
	size_t n = 0;

	while (text[n] != 0)
		n++;
	(void)call(NR_write, 1, (long)text, (long)n, 0, 0, 0);
}

static void
off(const char *last)
{
	say(last);
	(void)call(NR_reboot, MAGIC1, MAGIC2, POWER_OFF, 0, 0, 0);
	for (;;)
		;
}

static void
nap(long ns)
{
	long time[2] = { 0, ns };

	(void)call(NR_nanosleep, (long)time, 0, 0, 0, 0, 0);
}

/* /modules names what the disk's driver needs, one path a line, in order. */
static void
load_modules(void)
{
	static char list[4096];
	long fd = call(NR_openat, AT_FDCWD, (long)"/modules", 0, 0, 0, 0), n;

	n = call(NR_read, fd, (long)list, sizeof(list) - 1, 0, 0, 0);
	for (long i = 0, from = 0; i < n; i++) {
		if (list[i] != '\n')
			continue;
		list[i] = 0;
		fd = call(NR_openat, AT_FDCWD, (long)(list + from), 0, 0, 0, 0);
		if (fd < 0 || call(NR_finit_module, fd, (long)"", 0, 0, 0, 0) != 0) {
			say("peer: a module was not taken: ");
			say(list + from);
			say("\n");
		}
		from = i + 1;
	}
}

/* --- futex ----------------------------------------------------------------- */

static volatile uint32_t *turn;		/* shared by both: whose turn it is */

/* Gives the turn to the other and waits until it comes back. */
static void
pass(uint32_t me, uint32_t other)
{
	__atomic_store_n(turn, other, __ATOMIC_SEQ_CST);
	(void)call(NR_futex, (long)turn, FUTEX_WAKE, 1, 0, 0, 0);
	while (__atomic_load_n(turn, __ATOMIC_SEQ_CST) != me)
		(void)call(NR_futex, (long)turn, FUTEX_WAIT, other, 0, 0, 0);
}

static void
round_trips(void)
{
	enum { TRIPS = 5000 };

	turn = (volatile uint32_t *)call(NR_mmap, 0, 4096, PROT_RW, MAP_SHARED_ANONYMOUS, -1, 0);
	if (call(NR_clone, SIGCHLD, 0, 0, 0, 0, 0) == 0) {
		while (__atomic_load_n(turn, __ATOMIC_SEQ_CST) != 1)
			(void)call(NR_futex, (long)turn, FUTEX_WAIT, 0, 0, 0, 0);
		for (;;)
			pass(1, 0);
	}
	for (unsigned i = 0; i < 500; i++)
		pass(0, 1);
	MARK(4);
	for (unsigned i = 0; i < TRIPS; i++)
		pass(0, 1);
	MARK(5);
}

/* --- disk ------------------------------------------------------------------ */

enum : uint64_t { RING_SQ = 0, RING_SQES = 0x10000000 };
enum { ENTRIES = 64, OP_READ = 22, GETEVENTS = 1 };

struct sq_offsets {
	uint32_t head, tail, mask, entries, flags, dropped, array, resv1;
	uint64_t user;
};
struct cq_offsets {
	uint32_t head, tail, mask, entries, overflow, cqes, flags, resv1;
	uint64_t user;
};
struct params {
	uint32_t sq_entries, cq_entries, flags, sq_cpu, sq_idle, features, wq_fd, resv[3];
	struct sq_offsets sq;
	struct cq_offsets cq;
};
struct sqe {
	uint8_t op, flags;
	uint16_t prio;
	int32_t fd;
	uint64_t off, addr;
	uint32_t len, rw;
	uint64_t user, pad[3];
};
struct cqe { uint64_t user; int32_t res; uint32_t flags; };
static_assert(sizeof(struct params) == 120 && sizeof(struct sqe) == 64 && sizeof(struct cqe) == 16);

static struct { long fd; uint8_t *ring; struct sqe *sqe; struct params p; } u;
static uint8_t *data;
static long disk;

static int
ring_open(void)
{
	u.fd = call(NR_io_uring_setup, ENTRIES, (long)&u.p, 0, 0, 0, 0);
	if (u.fd < 0)
		return 0;
	/* One mapping holds both rings (IORING_FEAT_SINGLE_MMAP, since 5.4). */
	u.ring = (uint8_t *)call(NR_mmap, 0, 65536, PROT_RW, MAP_SHARED, u.fd, RING_SQ);
	u.sqe = (struct sqe *)call(
	    NR_mmap, 0, ENTRIES * sizeof(struct sqe), PROT_RW, MAP_SHARED, u.fd, RING_SQES);
	return (long)u.ring > 0 && (long)u.sqe > 0;
}

static uint32_t *
field(uint32_t offset)
{
	return (uint32_t *)(u.ring + offset);
}

/* count reads of len bytes, "depth" put and waited for at a time. */
static void
reads(uint32_t count, uint32_t len, uint32_t depth)
{
	uint32_t mask = *field(u.p.sq.mask);

	for (uint32_t done = 0; done < count; done += depth) {
		uint32_t tail = *field(u.p.sq.tail), head;

		for (uint32_t i = 0; i < depth; i++, tail++) {
			u.sqe[tail & mask] = (struct sqe){
				.op = OP_READ,
				.fd = (int32_t)disk,
				.off = (uint64_t)((done + i) % 1024) * len,
				.addr = (uint64_t)(uintptr_t)data + (uint64_t)i * len,
				.len = len,
			};
			field(u.p.sq.array)[tail & mask] = tail & mask;
		}
		__atomic_store_n(field(u.p.sq.tail), tail, __ATOMIC_RELEASE);
		(void)call(NR_io_uring_enter, u.fd, depth, depth, GETEVENTS, 0, 0);
		head = *field(u.p.cq.head);
		for (uint32_t i = 0; i < depth; i++, head++)
			if (((struct cqe *)(u.ring + u.p.cq.cqes))[head & *field(u.p.cq.mask)]
				.res != (int32_t)len)
				off("peer: a read failed\n");
		__atomic_store_n(field(u.p.cq.head), head, __ATOMIC_RELEASE);
	}
}

/* --- network ---------------------------------------------------------------- */

enum : long {
	AF_INET = 2,
	SOCK_STREAM = 1,
	SOCK_DGRAM = 2,
	IPPROTO_TCP = 6,
	TCP_NODELAY = 1,
	GET_FLAGS = 0x8913,
	SET_FLAGS = 0x8914,
	SET_ADDRESS = 0x8916,
	SET_MASK = 0x891c,
	IFF_UP = 1,
};
enum { STREAM_BYTES = 16 << 20, CHUNK = 65536, NET_PASSES = 5 };

struct address { uint16_t family, port; uint32_t v4; uint64_t zero; };
struct request { char name[16]; union { struct address address; uint16_t flags; char all[24]; }; };

static struct address
address(uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t port)
{
	return (struct address){ AF_INET, __builtin_bswap16((uint16_t)port),
		a | b << 8 | c << 16 | d << 24, 0 };
}

/* The connection with the far end. */
static long
reach(uint32_t port)
{
	struct request r = { .name = "eth0" };
	struct address far = address(10, 0, 2, 2, port);
	long s = call(NR_socket, AF_INET, SOCK_DGRAM, 0, 0, 0, 0), t, one = 1;

	for (unsigned i = 0; i < 500 && call(NR_ioctl, s, GET_FLAGS, (long)&r, 0, 0, 0) != 0; i++)
		nap(10000000);
	r.address = address(10, 0, 2, 15, 0);
	(void)call(NR_ioctl, s, SET_ADDRESS, (long)&r, 0, 0, 0);
	r.address = address(255, 255, 255, 0, 0);
	(void)call(NR_ioctl, s, SET_MASK, (long)&r, 0, 0, 0);
	(void)call(NR_ioctl, s, GET_FLAGS, (long)&r, 0, 0, 0);
	r.flags |= IFF_UP;
	(void)call(NR_ioctl, s, SET_FLAGS, (long)&r, 0, 0, 0);
	t = call(NR_socket, AF_INET, SOCK_STREAM, 0, 0, 0, 0);
	if (call(NR_connect, t, (long)&far, 16, 0, 0, 0) != 0)
		off("peer: nobody answers at the gateway\n");
	(void)call(NR_setsockopt, t, IPPROTO_TCP, TCP_NODELAY, (long)&one, 4, 0);
	return t;
}

static void
tell(long s, const char *line)
{
	long n = 0;

	while (line[n] != 0)
		n++;
	if (call(NR_write, s, (long)line, n, 0, 0, 0) != n)
		off("peer: the far end is gone\n");
}

static void
move(long s, long how, long n)
{
	static char bytes[CHUNK];

	while (n != 0) {
		long k = call(how, s, (long)bytes, n < CHUNK ? n : CHUNK, 0, 0, 0);

		if (k <= 0)
			off("peer: the far end is gone\n");
		n -= k;
	}
}

/* False: there is no server here.  The far end waits until it answers. */
static int
serve_disk(void)
{
	static const char *const arguments[] = { "/nbdkit", "-f", "-p", "10809",
		"/nbdkit-file-plugin.so", "/dev/nvme0n1", NULL };
	static const char *const environment[] = { NULL };
	long file = call(NR_openat, AT_FDCWD, (long)arguments[0], 0, 0, 0, 0);

	if (file < 0)
		return 0;
	(void)call(NR_close, file, 0, 0, 0, 0, 0);
	for (unsigned i = 0; i < 500; i++) {
		file = call(NR_openat, AT_FDCWD, (long)arguments[5], 0, 0, 0, 0);
		if (file >= 0)
			break;
		nap(10000000);
	}
	if (call(NR_clone, SIGCHLD, 0, 0, 0, 0, 0) == 0) {
		(void)call(
		    NR_execve, (long)arguments[0], (long)arguments, (long)environment, 0, 0, 0);
		off("peer: nbdkit cannot be started\n");
	}
	return 1;
}

/*
 * Without an interface any more: the far end lets go of nbdkit when this connection ends, and what
 * comes while Linux puts its devices away it may look for without end.
 */
static void
end(void)
{
	struct request r = { .name = "eth0" };
	long s = call(NR_socket, AF_INET, SOCK_DGRAM, 0, 0, 0, 0);

	(void)call(NR_ioctl, s, SET_FLAGS, (long)&r, 0, 0, 0);
	off("peer: done\n");
}

static void
network(uint32_t port)
{
	long s = reach(port);

	for (unsigned i = 0; i < 1 + NET_PASSES; i++) {
		if (i != 0)
			MARK(18);
		tell(s, "in 16777216 0 0\n");
		move(s, NR_read, STREAM_BYTES);
		if (i != 0)
			MARK(19);
	}
	for (unsigned i = 0; i < 1 + NET_PASSES; i++) {
		if (i != 0)
			MARK(20);
		tell(s, "out 16777216 0 0\n");
		move(s, NR_write, STREAM_BYTES);
		move(s, NR_read, 1);
		if (i != 0)
			MARK(21);
	}
	if (!serve_disk())
		end();
	for (unsigned i = 0; i < 1 + NET_PASSES; i++) {
		if (i != 0)
			MARK(22);
		tell(s, "nbd 1024 4096 32\n");
		move(s, NR_read, 1);
		if (i != 0)
			MARK(23);
	}
	for (unsigned i = 0; i < 1 + NET_PASSES; i++) {
		if (i != 0)
			MARK(24);
		tell(s, "nbd 128 131072 8\n");
		move(s, NR_read, 1);
		if (i != 0)
			MARK(25);
	}
	end();
}

/* The port that the environment names; 0: none.  at: argc, arguments, NULL, environment, NULL. */
static uint32_t
far_port(const long *at)
{
	uint32_t port = 0;

	for (at += 1 + at[0] + 1; *at != 0; at++) {
		const char *p = (const char *)*at;

		if (p[0] == 'f' && p[1] == 'a' && p[2] == 'r' && p[3] == '=')
			for (p += 4; *p >= '0' && *p <= '9'; p++)
				port = port * 10 + (uint32_t)(*p - '0');
	}
	return port;
}

void linux_main(const long *stack);

void
linux_main(const long *stack)
{
	uint32_t port = far_port(stack);

	(void)call(NR_mount, (long)"devtmpfs", (long)"/dev", (long)"devtmpfs", 0, 0, 0);
	(void)call(NR_openat, AT_FDCWD, (long)"/dev/console", 1, 0, 0, 0);
	if (port != 0) {
		load_modules();
		network(port);
	}
	MARK(2);
	for (unsigned i = 0; i < 10000; i++)
		(void)call(NR_getpid, 0, 0, 0, 0, 0, 0);
	MARK(3);
	round_trips();
	load_modules();
	for (unsigned i = 0; i < 500; i++) {
		disk = call(NR_openat, AT_FDCWD, (long)"/dev/nvme0n1", O_DIRECT, 0, 0, 0);
		if (disk >= 0)
			break;
		nap(10000000);
	}
	data = (uint8_t *)call(NR_mmap, 0, 1 << 20, PROT_RW, 0x22, -1, 0);
	if (disk < 0 || !ring_open())
		off("peer: no disk, or no io_uring\n");
	for (unsigned i = 0; i < 1 << 20; i += 4096)
		data[i] = 1;
	for (unsigned i = 0; i < 64; i++)
		(void)call(NR_pread64, disk, (long)data, 4096, (long)i * 4096, 0, 0);
	MARK(8);
	for (unsigned i = 0; i < 512; i++)
		(void)call(NR_pread64, disk, (long)data, 4096, (long)i * 4096, 0, 0);
	MARK(9);
	reads(256, 4096, 32);
	MARK(10);
	reads(4096, 4096, 32);
	MARK(11);
	MARK(12);
	reads(512, 128 * 1024, 8);
	MARK(13);
	off("peer: done\n");
}
