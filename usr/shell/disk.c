/*
 * Commands about disks.  A disk is nvmeCnN: controller C as the device manager counts them,
 * namespace N from 1; or diskCnN, whatever the controller is; or the name of a byte range that the
 * manifest gives the shell ("disks").
 *
 * The device manager is asked for the server of a controller, and waited for while the driver
 * starts; the server for a session (blk.h).  One session at a time, in "disk"; commands that read
 * much keep DEPTH requests of CHUNK bytes in flight.  A server that is restarted meanwhile is the
 * library's affair, and is shown behind the result.
 *
 * Not here clients that lie (liar.c), restarts with writes in flight (outlive.c), instructions an
 * operation (bench.c).
 */
#include "kern/base/bits.h"
#include "usr/lib/blk.h"
#include "usr/lib/sha256.h"
#include "usr/shell/shell.h"

enum { CHUNK = 128 * 1024, DEPTH = 8, CONTROLLERS = 64, WINDOWS = 16 };
enum : uint64_t {
	START_NS = 15 * NS_PER_S,
	SAY_NS = NS_PER_S,
	WINDOW_NS = 20 * NS_PER_MS,
}; /* how long a driver may start; when to say that one waits */

static struct blk disk;

/* Why nobody serves a controller: the device manager's word, and the kernel's about its device. */
static void
say_why(const char *name, uint32_t function, uint8_t state)
{
	struct function_info f;
	const char *why = "";

	for (uint64_t i = 0;
	    state == SUPERVISED_REFUSED && why[0] == 0 && info(INFO_FUNCTION, i, &f, sizeof(f));
	    i++)
		if (((uint32_t)f.segment << 16 | f.rid) == function)
			why = f.refused;
	print("%s%s: %s%s%s\n", name, function_text(", ", function), supervised_text(state),
	    why[0] != 0 ? ": " : "", why);
}

/*
 * The server of controller c, once it serves: while its driver starts this waits, for so long, and
 * says so.  HANDLE_NONE: there is none, and a line was printed that says why.  E_NOT_FOUND: there
 * is no such controller; then nothing is printed.
 */
static enum status
server_of(uint64_t c, handle_t *out)
{
	uint64_t begin = now_ns();
	bool said = false;
	char name[24];

	*out = HANDLE_NONE;
	fmt_buf(name, sizeof(name), "nvme%llu", (unsigned long long)c);
	for (;;) {
		struct msg m = { .label = DEVMGR_BLOCK, .words = 1, .w = { c } };
		enum status s = msg_call(devmgr, &m, now_ns() + 5 * NS_PER_S);
		uint8_t state = (uint8_t)m.w[5];
		uint64_t now = now_ns();

		if (s != OK) {
			print("%s: the device manager does not answer: %s\n", name, status_text(s));
			return s;
		}
		if (m.label == E_NO_DEVICE)
			say_why(name, (uint32_t)m.w[4], state);
		if (m.label != OK)
			return (enum status)m.label;
		if (state == SUPERVISED_RUNNING) {
			*out = (handle_t)m.w[0];
			return OK;
		}
		(void)sys_handle_close(m.w[0]);
		if (now - begin > START_NS || interrupted()) {
			print("%s: no server after %llu ms: its driver %s\n", name,
			    (unsigned long long)((now - begin) / NS_PER_MS),
			    supervised_text(state));
			return E_TIMED_OUT;
		}
		if (!said && now - begin > SAY_NS)
			print("%s: waits for its driver: it %s\n", name, supervised_text(state));
		said |= now - begin > SAY_NS;
		sleep_until(now + 5 * NS_PER_MS);
	}
}

/* One of the byte ranges that the manifest gives the shell, by its name. */
static bool
own_range(const char *name, handle_t *out)
{
	for (uint64_t n = 0;; n++) {
		struct msg m = { .label = DEVMGR_DISK, .words = 1, .w = { n } };

		if (msg_call(devmgr, &m, now_ns() + 5 * NS_PER_S) != OK || m.label != OK)
			return false;
		*out = (handle_t)m.w[0];
		if (strncmp(name, (const char *)&m.w[4], 4 * sizeof(m.w[0])) == 0)
			return true;
		(void)sys_handle_close(m.w[0]);
	}
}

bool
disk_open(struct blk *b, const char *name, uint32_t rights, uint64_t bytes)
{
	uint64_t c = 0, n = 0;
	const char *p = name + 4;
	handle_t e;
	enum status s;

	if (own_range(name, &e)) {
		n = 1;
		goto open;
	}
	if ((strncmp(name, "nvme", 4) != 0 && strncmp(name, "disk", 4) != 0) || *p < '0' ||
	    *p > '9')
		goto bad;
	for (; *p >= '0' && *p <= '9'; p++)
		c = c * 10 + (uint64_t)(*p - '0');
	if (*p++ != 'n')
		goto bad;
	for (; *p >= '0' && *p <= '9'; p++)
		n = n * 10 + (uint64_t)(*p - '0');
	if (*p != 0 || n == 0)
		goto bad;
	s = server_of(c, &e);
	if (s == E_NOT_FOUND)
		print("%s: no such controller; \"blk\" lists disks\n", name);
	if (s != OK)
		return false;
open:
	s = blk_open(b, e, (uint32_t)n - 1, rights, bytes);
	if (s != OK) {
		print("%s: %s\n", name,
		    s == E_NOT_FOUND ?
			"the controller shows no such namespace; \"blk\" lists disks" :
			status_text(s));
		(void)sys_handle_close(e);
		return false;
	}
	return true;
bad:
	print("%s: not the name of a disk (nvme0n1)\n", name);
	return false;
}

void
disk_close(struct blk *b)
{
	blk_close(b);
	(void)sys_handle_close(b->endpoint);
}

/* "64 MiB", "977.0 KiB": whole units where they are. */
static void
size_text(char *to, size_t size, uint64_t bytes)
{
	if (bytes % MIB == 0)
		fmt_buf(to, size, "%llu MiB", (unsigned long long)(bytes / MIB));
	else if (bytes >= GIB)
		fmt_buf(to, size, "%llu.%llu GiB", (unsigned long long)(bytes / GIB),
		    (unsigned long long)(bytes % GIB * 10 / GIB));
	else if (bytes >= MIB)
		fmt_buf(to, size, "%llu.%llu MiB", (unsigned long long)(bytes / MIB),
		    (unsigned long long)(bytes % MIB * 10 / MIB));
	else
		fmt_buf(to, size, "%llu.%llu KiB", (unsigned long long)(bytes / KIB),
		    (unsigned long long)(bytes % KIB * 10 / KIB));
}

int
cmd_blk(int argc UNUSED, char **argv UNUSED)
{
	unsigned found = 0;

	for (uint64_t c = 0; c < CONTROLLERS; c++) {
		struct msg name = { .label = BLK_CALL_NAME };
		const char *kind;
		handle_t e;
		enum status s = server_of(c, &e);
		unsigned before = found;

		if (s == E_NOT_FOUND)
			break;
		if (s != OK)
			continue;
		if (msg_call(e, &name, now_ns() + 10 * NS_PER_S) != OK) {
			print("nvme%llu: its driver does not answer\n", (unsigned long long)c);
			(void)sys_handle_close(e);
			continue;
		}
		kind = strncmp((const char *)&name.w[0], "virtio", 6) == 0 ? "disk" : "nvme";
		for (uint64_t n = 0; ; n++) {
			struct msg m = { .label = BLK_CALL_INFO, .words = 1, .w = { n } };
			char size[32];

			if (msg_call(e, &m, now_ns() + 10 * NS_PER_S) != OK || m.label != OK)
				break;
			size_text(size, sizeof(size), m.w[0] * m.w[1]);
			print(
			    "%s%llun%llu %.40s serial %.20s: %s, %llu blocks of %llu bytes%s; reads %llu writes %llu flushes %llu "
			    "errors %u refused %u, sessions refused %u\n",
			    kind, (unsigned long long)c, (unsigned long long)n + 1,
			    (const char *)&name.w[0], (const char *)&name.w[5], size,
			    (unsigned long long)m.w[0], (unsigned long long)m.w[1],
			    (m.w[2] & BLK_INFO_READ_ONLY) != 0 ? ", read only" : "",
			    (unsigned long long)m.w[4], (unsigned long long)m.w[5],
			    (unsigned long long)m.w[6], (uint32_t)m.w[7], (uint32_t)(m.w[7] >> 32),
			    (uint32_t)(m.w[3] >> 32));
			found++;
		}
		if (found == before)
			print("nvme%llu %.40s serial %.20s: no namespace with blocks\n",
			    (unsigned long long)c, (const char *)&name.w[0],
			    (const char *)&name.w[5]);
		(void)sys_handle_close(e);
	}
	if (found == 0)
		print("no disks\n");
	return 0;
}

int
cmd_sha256(int argc, char **argv)
{
	uint64_t offset = 0, len = 0, asked = 0, done = 0, begin, last;
	uint32_t chunk;
	struct sha256 h;
	uint8_t out[32];
	bool ready[DEPTH] = { false };
	int result = 1;

	if (argc == 4 &&
	    (!want_number("OFFSET", argv[2], &offset) || !want_number("LENGTH", argv[3], &len)))
		return 1;
	if (!disk_open(&disk, argv[1], BLK_RIGHT_READ, DEPTH * CHUNK))
		return 1;
	if (argc == 2)
		len = disk.len;
	if (!range_within(offset, len, 0, disk.len)) {
		print("sha256: the disk has %llu bytes\n", (unsigned long long)disk.len);
		goto out;
	}
	if (((offset | len) & (disk.block_bytes - 1)) != 0) {
		print("sha256: offset and length must be multiples of %llu\n",
		    (unsigned long long)disk.block_bytes);
		goto out;
	}
	chunk = (uint32_t)min_u64(CHUNK, disk.max_bytes);
	sha256_init(&h);
	begin = last = now_ns();
	while (done < len) {
		uint32_t cookie, detail, slot;
		enum status s;
		bool put = false;

		/* Chunk i goes through slot i mod DEPTH, so that they can be hashed in order as
		 * they come. */
		while (asked < len && asked - done < (uint64_t)DEPTH * chunk) {
			slot = (uint32_t)(asked / chunk % DEPTH);
			s = blk_put(&disk, BLK_READ, offset + asked, (uint64_t)slot * CHUNK,
			    (uint32_t)min_u64(chunk, len - asked), slot);
			if (s != OK)
				break;
			asked += min_u64(chunk, len - asked);
			put = true;
		}
		if (put)
			blk_kick(&disk);
		slot = (uint32_t)(done / chunk % DEPTH);
		while (!ready[slot]) {
			s = blk_next(&disk, &cookie, &detail, now_ns() + 60 * NS_PER_S);
			if (s != OK) {
				print("sha256: read at %llu: %s (device code 0x%x)\n",
				    (unsigned long long)(offset + done), status_text(s), detail);
				goto out;
			}
			ready[cookie % DEPTH] = true;
		}
		ready[slot] = false;
		sha256_add(&h, disk.data + (uint64_t)slot * CHUNK, min_u64(chunk, len - done));
		done += min_u64(chunk, len - done);
		if (interrupted()) {
			print("\n");
			(void)stopped();
			goto out;
		}
		if (now_ns() - last > 2 * NS_PER_S) {
			last = now_ns();
			print("\r%llu of %llu MiB, %llu MiB/s ", (unsigned long long)(done / MIB),
			    (unsigned long long)(len / MIB),
			    (unsigned long long)(done / ((last - begin) / NS_PER_MS + 1) * 1000 /
				MIB));
			print_flush();
		}
	}
	sha256_end(&h, out);
	if (last != begin)
		print("\n");
	for (unsigned i = 0; i < 32; i++)
		print("%02x", out[i]);
	print("  %s", argv[1]);
	if (disk.restarts != 0)
		print("  (server restarted %llu times)", (unsigned long long)disk.restarts);
	print("\n");
	result = 0;
out:
	disk_close(&disk);
	return result;
}

/* Why a command could not do what was asked; a range that is not on the disk with the disk's size.
 */
static void
say_failed(const char *command, enum status s)
{
	if (s == E_RANGE)
		print("%s: the disk has %llu bytes\n", command, (unsigned long long)disk.len);
	else
		print("%s: %s\n", command, status_text(s));
}

int
cmd_hexdump(int argc, char **argv)
{
	uint64_t offset = 0, len = 256, first, span;
	enum status s;

	if ((argc > 2 && !want_number("OFFSET", argv[2], &offset)) ||
	    (argc > 3 && !want_number("LENGTH", argv[3], &len)))
		return 1;
	if (len > 64 * KIB)
		return usage("%s are more than the 64K that can be shown at once", argv[3]);
	if (!disk_open(&disk, argv[1], BLK_RIGHT_READ, CHUNK))
		return 1;
	first = align_down(offset, disk.block_bytes);
	span = align_up(offset + len, disk.block_bytes) - first;
	s = range_within(offset, len, 0, disk.len) ?
	    blk_do(&disk, BLK_READ, first, 0, (uint32_t)span) :
	    E_RANGE;
	if (s != OK) {
		say_failed("hexdump", s);
	} else {
		const uint8_t *p = disk.data + (offset - first);

		for (uint64_t i = 0; i < len; i += 16) {
			print("%08llx ", (unsigned long long)(offset + i));
			for (uint64_t k = 0; k < 16; k++)
				print(i + k < len ? " %02x" : "   ", p[i + k]);
			print("  ");
			for (uint64_t k = 0; k < 16 && i + k < len; k++)
				print("%c", p[i + k] >= ' ' && p[i + k] <= '~' ? p[i + k] : '.');
			print("\n");
		}
	}
	disk_close(&disk);
	return s != OK;
}

int
cmd_write(int argc UNUSED, char **argv)
{
	uint64_t offset, len, first, span;
	enum status s;

	if (!want_number("OFFSET", argv[2], &offset))
		return 1;
	len = strlen(argv[3]);
	if (len == 0)
		return usage("there is no text to write");
	if (!disk_open(&disk, argv[1], BLK_RIGHT_READ | BLK_RIGHT_WRITE, CHUNK))
		return 1;
	first = align_down(offset, disk.block_bytes);
	span = align_up(offset + len, disk.block_bytes) - first;
	/* Blocks are read, changed, and written whole. */
	s = range_within(offset, len, 0, disk.len) ?
	    blk_do(&disk, BLK_READ, first, 0, (uint32_t)span) :
	    E_RANGE;
	if (s == OK) {
		memcpy(disk.data + (offset - first), argv[3], len);
		s = blk_do(&disk, BLK_WRITE, first, 0, (uint32_t)span);
	}
	if (s != OK)
		say_failed("write", s);
	else
		print("%llu bytes at %llu\n", (unsigned long long)len, (unsigned long long)offset);
	disk_close(&disk);
	return s != OK;
}

int
cmd_flush(int argc UNUSED, char **argv)
{
	enum status s;

	if (!disk_open(&disk, argv[1], BLK_RIGHT_WRITE, PAGE_SIZE))
		return 1;
	s = blk_do(&disk, BLK_FLUSH, 0, 0, 0);
	if (s != OK)
		print("flush: %s\n", status_text(s));
	disk_close(&disk);
	return s != OK;
}

/* A range that reads as zeroes then, or that is not needed any more. */
static int
clear(char **argv, enum blk_op op)
{
	uint64_t offset, len;
	enum status s;

	if (!want_number("OFFSET", argv[2], &offset) || !want_number("LENGTH", argv[3], &len))
		return 1;
	if (len > UINT32_MAX)
		return usage("LENGTH is at most 4G - 1");
	if (!disk_open(&disk, argv[1], BLK_RIGHT_WRITE, PAGE_SIZE))
		return 1;
	s = blk_do(&disk, op, offset, 0, (uint32_t)len);
	if (s != OK)
		print("%s: %s\n", argv[0], status_text(s));
	disk_close(&disk);
	return s != OK;
}

int cmd_zero(int argc UNUSED, char **argv) { return clear(argv, BLK_ZERO); }
int cmd_discard(int argc UNUSED, char **argv) { return clear(argv, BLK_DISCARD); }

/* The controller is reset while requests are in it: each is answered all the same. */
static int
reset_under_load(handle_t e)
{
	struct msg m = { .label = BLK_CALL_ROGUE, .words = 2, .w = { 0, 2 } };
	enum { N = 32 };
	uint32_t cookie, detail, good = 0;
	enum status s = blk_open(&disk, e, 0, BLK_RIGHT_READ, N * PAGE_SIZE);

	for (uint32_t i = 0; i < N && s == OK; i++)
		s = blk_put(&disk, BLK_READ, i * PAGE_SIZE, i * PAGE_SIZE, PAGE_SIZE, i);
	if (s == OK) {
		blk_kick(&disk);
		s = msg_call(e, &m, now_ns() + 20 * NS_PER_S);
	}
	for (uint32_t i = 0; i < N && s == OK && m.label == OK; i++)
		good += blk_next(&disk, &cookie, &detail, now_ns() + 20 * NS_PER_S) == OK;
	print("rogue: call %s, driver %s, %u of %u requests done\n", status_text(s),
	    status_text((enum status)m.label), good, N);
	if (s == OK)
		blk_close(&disk);
	return good != N;
}

/* How far a loop gets in so many nanoseconds. */
static uint64_t
count_for(uint64_t ns)
{
	uint64_t until = now_ns() + ns, n = 0;

	while (now_ns() < until)
		n++;
	return n;
}

/* The device does nothing but what its IOMMU refuses; this process goes on with its own work. */
static int
flood(handle_t e, uint64_t iova)
{
	struct msg m = { .label = BLK_CALL_ROGUE, .words = 2, .w = { iova, 4 } };
	uint64_t quiet = count_for(WINDOW_NS), least = UINT64_MAX;
	enum status s = msg_call(e, &m, now_ns() + 20 * NS_PER_S);

	for (unsigned i = 0; i < WINDOWS && s == OK; i++)
		least = min_u64(least, count_for(WINDOW_NS));
	print(
	    "rogue: call %s, driver %s, %llu commands; a loop got to %llu before, at least to %llu meanwhile\n",
	    status_text(s), status_text((enum status)m.label), (unsigned long long)m.w[0],
	    (unsigned long long)quiet, (unsigned long long)least);
	return s != OK || m.label != OK;
}

int
cmd_rogue(int argc, char **argv)
{
	uint64_t c, iova = 0;
	struct msg m;
	handle_t e;
	enum status s = E_INVALID;
	bool reset = argc == 3 && argv[2][0] == 'x',
	     stray = argc == 3 && strcmp(argv[2], "stray") == 0;

	if ((argc != 4 && !reset && !stray) || !number(argv[1], &c) ||
	    (argc == 4 && !number(argv[3], &iova))) {
		print("usage: rogue CONTROLLER r|w|f IOVA, or rogue CONTROLLER x|stray\n");
		return 1;
	}
	/* The driver is started again as one that obeys such requests. */
	m = (struct msg){ .label = DEVMGR_ROGUE, .words = 1, .w = { c } };
	(void)msg_call(
	    devmgr, &m, now_ns() + 5 * NS_PER_S); /* a driver that does not obey refuses below */
	if (server_of(c, &e) != OK)
		return 1;
	if (reset || argv[2][0] == 'f') {
		int result = reset ? reset_under_load(e) : flood(e, iova);

		(void)sys_handle_close(e);
		return result;
	}
	m = (struct msg){
		.label = BLK_CALL_ROGUE, .words = 2, .w = { iova, stray ? 3 : argv[2][0] == 'r' }
	};
	s = msg_call(e, &m, now_ns() + 20 * NS_PER_S);
	print("rogue: call %s, driver %s, device status 0x%llx\n", status_text(s),
	    status_text((enum status)m.label), (unsigned long long)m.w[0]);
	(void)sys_handle_close(e);
	return s != OK;
}
