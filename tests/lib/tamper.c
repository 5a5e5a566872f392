/*
 * tamper SOCKET STEP...: changes what firmware left in the memory of a machine that has just been
 * switched on.
 *
 * QEMU waits (-S) with its gdb stub on SOCKET; the steps are done in order, then the machine goes
 * on and the tool leaves.  Memory is read and written by physical address, with paging still off.
 *
 *     at ADDRESS       run until this instruction (x86_64: ACPI tables are not there before
 *                      firmware ran)
 *     rsdp             here = ACPI's root pointer
 *     table SIGNATURE  here = that ACPI table: XSDT and RSDT too
 *     tree             here = the device tree, at a multiple of 2 MiB
 *     reg ADDRESS      here = registers at ADDRESS
 *     pci RID          here = configuration space of bus 0's function RID (0x08: 00:01.0), by MCFG
 *     put OFFSET HEX   bytes at here + OFFSET
 *     is OFFSET HEX    goes no further when these bytes are not there
 *     show OFFSET N    prints N bytes in hex
 *     sum              the ACPI table here gets a right checksum
 *
 * Protocol: GDB manual, appendix "Remote Serial Protocol".
 */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CHUNK = 512, PACKET = 8192 };

static int sock;
static uint64_t here;

__attribute__((noreturn, format(printf, 1, 2))) static void
die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fputs("tamper: ", stderr);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
	exit(1);
}

static void
connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(a.sun_path))
		die("the path of the socket is too long");
	strcpy(a.sun_path, path);
	for (int tries = 0; tries < 300; tries++) {
		sock = socket(AF_UNIX, SOCK_STREAM, 0);
		if (connect(sock, (struct sockaddr *)&a, sizeof(a)) == 0)
			return;
		close(sock);
		usleep(100000);
	}
	die("%s: %s", path, strerror(errno));
}

static char
get(void)
{
	char c;

	if (read(sock, &c, 1) != 1)
		die("QEMU hung up");
	return c;
}

static void
answer(char *reply)
{
	size_t n = 0;

	while (get() != '$')
		;
	for (char c; (c = get()) != '#'; )
		if (n < PACKET - 1)
			reply[n++] = c;
	reply[n] = 0;
	(void)get();
	(void)get();
	if (write(sock, "+", 1) != 1)
		die("QEMU hung up");
}

__attribute__((format(printf, 2, 3))) static void
ask(char *reply, const char *format, ...)
{
	char body[PACKET], packet[PACKET + 8];
	uint8_t sum = 0;
	va_list ap;
	int n;

	va_start(ap, format);
	vsnprintf(body, sizeof(body), format, ap);
	va_end(ap);
	for (const char *p = body; *p != 0; p++)
		sum = (uint8_t)(sum + *p);
	n = snprintf(packet, sizeof(packet), "$%s#%02x", body, sum);
	if (write(sock, packet, (size_t)n) != n)
		die("QEMU hung up");
	answer(reply);
}

static void
expect_ok(const char *reply, const char *what)
{
	if (strcmp(reply, "OK") != 0)
		die("%s: QEMU answers \"%s\"", what, reply);
}

static void
peek(uint64_t at, uint8_t *to, size_t len)
{
	char reply[PACKET];

	for (size_t n; len != 0; at += n, to += n, len -= n) {
		n = len < CHUNK ? len : CHUNK;
		ask(reply, "m%llx,%zx", (unsigned long long)at, n);
		if (strlen(reply) != 2 * n)
			die("no memory at 0x%llx", (unsigned long long)at);
		for (size_t i = 0; i < n; i++) {
			unsigned v;

			sscanf(reply + 2 * i, "%2x", &v);
			to[i] = (uint8_t)v;
		}
	}
}

static uint64_t
peek_le(uint64_t at, size_t len)
{
	uint8_t b[8];
	uint64_t v = 0;

	peek(at, b, len);
	for (size_t i = len; i-- > 0; )
		v = v << 8 | b[i];
	return v;
}

static void
poke(uint64_t at, const char *hex)
{
	char reply[PACKET];

	if (strlen(hex) == 0 || strlen(hex) % 2 != 0 ||
	    strspn(hex, "0123456789abcdefABCDEF") != strlen(hex))
		die("\"%s\" is not bytes in hex", hex);
	ask(reply, "M%llx,%zx:%s", (unsigned long long)at, strlen(hex) / 2, hex);
	expect_ok(reply, "put");
}

static void
compare(uint64_t at, const char *hex)
{
	uint8_t bytes[8];
	char found[2 * sizeof(bytes) + 1] = "";
	size_t len = strlen(hex) / 2;

	if (len > sizeof(bytes))
		die("is: \"%s\" is too long", hex);
	peek(at, bytes, len);
	for (size_t i = 0; i < len; i++)
		sprintf(found + 2 * i, "%02x", bytes[i]);
	if (strcasecmp(found, hex) != 0)
		die("at 0x%llx there is %s, not %s", (unsigned long long)at, found, hex);
}

static void
show(uint64_t at, unsigned long len)
{
	uint8_t bytes[CHUNK];

	if (len > sizeof(bytes))
		die("show: %lu bytes are too many", len);
	peek(at, bytes, len);
	for (unsigned long i = 0; i < len; i++)
		printf("%02x", bytes[i]);
	putchar('\n');
}

static void
run_until(uint64_t at)
{
	char reply[PACKET];

	ask(reply, "Z1,%llx,1", (unsigned long long)at);
	expect_ok(reply, "at");
	ask(reply, "c");
	if (reply[0] != 'T' && reply[0] != 'S')
		die("at: QEMU answers \"%s\"", reply);
	ask(reply, "z1,%llx,1", (unsigned long long)at);
	expect_ok(reply, "at");
}

/* Where firmware of a PC puts it [ACPI 6.5, 5.2.5.1]. */
static uint64_t
find_rsdp(void)
{
	static uint8_t area[0x20000];

	peek(0xe0000, area, sizeof(area));
	for (size_t i = 0; i < sizeof(area); i += 16)
		if (memcmp(area + i, "RSD PTR ", 8) == 0)
			return 0xe0000 + i;
	die("no root pointer");
}

static uint64_t
find_table(const char *signature)
{
	uint64_t rsdp = find_rsdp(), root = peek_le(rsdp + 16, 4), xsdt = 0;
	uint32_t width = 4, len;
	uint8_t name[4];

	if (peek_le(rsdp + 15, 1) >= 2)
		xsdt = peek_le(rsdp + 24, 8);
	if (strcmp(signature, "RSDT") == 0)
		return root;
	if (xsdt != 0) {
		root = xsdt;
		width = 8;
	}
	if (strcmp(signature, "XSDT") == 0)
		return root;
	if (strcmp(signature, "DSDT") == 0)	/* the one that FADT leads to */
		return peek_le(find_table("FACP") + 40, 4);
	len = (uint32_t)peek_le(root + 4, 4);
	for (uint32_t i = 36; i + width <= len; i += width) {
		uint64_t table = peek_le(root + i, width);

		peek(table, name, 4);
		if (memcmp(name, signature, 4) == 0)
			return table;
	}
	die("no table %s", signature);
}

static uint64_t
find_tree(void)
{
	static const uint8_t magic[4] = { 0xd0, 0x0d, 0xfe, 0xed };
	uint8_t word[4];

	for (uint64_t at = 1ull << 30; at < 2ull << 30; at += 2ull << 20) {
		peek(at, word, 4);
		if (memcmp(word, magic, 4) == 0)
			return at;
	}
	die("no device tree");
}

/* The stub writes registers only when it takes addresses as physical ones [QEMU: GDB usage]. */
static uint64_t
registers(uint64_t at)
{
	char reply[PACKET];

	ask(reply, "Qqemu.PhyMemMode:1");
	expect_ok(reply, "registers");
	return at;
}

static void
make_sum_right(void)
{
	uint64_t len = peek_le(here + 4, 4);
	uint8_t table[64 << 10], sum = 0;
	char hex[3];

	if (len < 36 || len > sizeof(table))
		die("sum: a table of %llu bytes", (unsigned long long)len);
	peek(here, table, len);
	for (uint64_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + table[i]);
	snprintf(hex, sizeof(hex), "%02x", (uint8_t)(table[9] - sum));
	poke(here + 9, hex);
}

int
main(int argc, char **argv)
{
	char reply[PACKET];

	if (argc < 3)
		die("usage: tamper SOCKET STEP...");
	connect_to(argv[1]);
	for (int i = 2; i < argc; i++) {
		const char *step = argv[i], *a = i + 1 < argc ? argv[i + 1] : "",
			   *b = i + 2 < argc ? argv[i + 2] : "";

		if (strcmp(step, "at") == 0) {
			run_until(strtoull(a, NULL, 0));
			i++;
		} else if (strcmp(step, "rsdp") == 0) {
			here = find_rsdp();
		} else if (strcmp(step, "table") == 0) {
			here = find_table(a);
			i++;
		} else if (strcmp(step, "tree") == 0) {
			here = find_tree();
		} else if (strcmp(step, "pci") == 0) {
			here = registers(peek_le(find_table("MCFG") + 44, 8) +
			    (strtoull(a, NULL, 0) << 12));
			i++;
		} else if (strcmp(step, "reg") == 0) {
			here = registers(strtoull(a, NULL, 0));
			i++;
		} else if (strcmp(step, "put") == 0) {
			poke(here + strtoull(a, NULL, 0), b);
			i += 2;
		} else if (strcmp(step, "is") == 0) {
			compare(here + strtoull(a, NULL, 0), b);
			i += 2;
		} else if (strcmp(step, "show") == 0) {
			show(here + strtoull(a, NULL, 0), strtoul(b, NULL, 0));
			i += 2;
		} else if (strcmp(step, "sum") == 0) {
			make_sum_right();
		} else {
			die("no step \"%s\"", step);
		}
	}
	ask(reply, "D");
	expect_ok(reply, "end");
	return 0;
}
