/*
 * The other end of a guest's wire, on a pair of Unix sockets: QEMU's
 *
 *     -netdev dgram,local.type=unix,local.path=GUEST,remote.type=unix,remote.path=OWN
 *
 * sends each Ethernet frame as a datagram to OWN, and takes as frames what comes to GUEST.
 *
 *     netpeer OWN GUEST [MODE]...
 *
 *   echo     every frame goes back to its sender (always)
 *   twice    and once more
 *   wrong    and with frames around it that no network would carry: of every length from 1 byte
 *            to 1600, and of what a datagram can hold; ARP and IP that lie about their lengths
 *
 * No datagram is empty: QEMU takes that for the end of the wire.  It ends when it is killed.  OWN
 * is made anew.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAC = 6, ETHERNET = 14, LARGE = 65000 };

static int own;
static struct sockaddr_un guest = { .sun_family = AF_UNIX };

static void
send_frame(const uint8_t *p, size_t len)
{
	/* A guest that does not listen loses it, as on a wire. */
	(void)!sendto(own, p, len, 0, (const struct sockaddr *)&guest, sizeof(guest));
}

/* One in so many ways, by number. */
static void
send_wrong(const uint8_t *to, unsigned n)
{
	static const uint16_t types[] = { 0x0806, 0x0800, 0x86dd, 0x88b6, 0x8100, 0x0000 };
	static uint8_t p[LARGE];
	size_t len = n % 8 == 7 ? 1600 + (n * 7919) % (LARGE - 1600) : 1 + n % 1600;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(n * 131 + i * 17);
	memcpy(p, to, MAC);
	memset(p + MAC, 2, MAC);
	p[12] = (uint8_t)(types[n % 6] >> 8);
	p[13] = (uint8_t)types[n % 6];
	if (n % 3 == 0) {		/* headers that are nearly right */
		p[14] = n % 2 != 0 ? 0x45 : 0x4f;
		p[16] = (uint8_t)(n >> 3);
		p[17] = (uint8_t)n;
	}
	send_frame(p, len);
}

int
main(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	static uint8_t p[LARGE];
	int twice = 0, wrong = 0;
	unsigned n = 0;

	if (argc < 3 || strlen(argv[1]) >= sizeof(a.sun_path) ||
	    strlen(argv[2]) >= sizeof(a.sun_path)) {
		fprintf(stderr, "usage: netpeer OWN GUEST [echo|twice|wrong]...\n");
		return 2;
	}
	for (int i = 3; i < argc; i++) {
		twice |= strcmp(argv[i], "twice") == 0;
		wrong |= strcmp(argv[i], "wrong") == 0;
	}
	strcpy(a.sun_path, argv[1]);
	strcpy(guest.sun_path, argv[2]);
	unlink(argv[1]);
	own = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (own < 0 || bind(own, (const struct sockaddr *)&a, sizeof(a)) != 0) {
		perror("netpeer");
		return 1;
	}
	for (;;) {
		ssize_t len = recv(own, p, sizeof(p), 0);
		uint8_t mac[MAC];

		if (len < ETHERNET)
			continue;
		memcpy(mac, p, MAC);
		memcpy(p, p + MAC, MAC);
		memcpy(p + MAC, mac, MAC);
		send_frame(p, (size_t)len);
		if (twice)
			send_frame(p, (size_t)len);
		for (int i = 0; wrong && i < 3; i++)
			send_wrong(p, n++);
	}
}
