/*
 * How a network interface behaves: promiscuous mode, another address.  Its server does it for who
 * has the capability "interfaces" (NET_MAY_CHANGE), past the TCP/IP service, which takes part in
 * nothing but the new address.
 *
 * Not here what it is like (net.c).
 */
#include "usr/lib/devmgr.h"
#include "usr/lib/net.h"
#include "usr/shell/shell.h"

enum : uint64_t { ANSWER_NS = 5 * NS_PER_S };

static enum status
interface_open(handle_t *e)
{
	struct msg m = { .label = DEVMGR_NET, .words = 1 };
	enum status s = msg_call(devmgr, &m, now_ns() + NS_PER_S);

	if (s == OK)
		s = (enum status)m.label;
	*e = s == OK ? (handle_t)m.w[0] : HANDLE_NONE;
	return s;
}

bool
interface_is_promiscuous(void)
{
	struct net_info i;
	handle_t e;
	bool on = false;

	if (interface_open(&e) == OK) {
		on = net_info(e, &i, now_ns() + NS_PER_S) == OK && i.promiscuous;
		(void)sys_handle_close(e);
	}
	return on;
}

/* Six pairs of hexadecimal digits. */
static bool
mac_parse(const char *text, uint8_t mac[6])
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < 18; i++) {
		const char *d = strchr(digits, text[i] | 0x20);

		if (i % 3 == 2) {
			if (text[i] != (i == 17 ? 0 : ':'))
				return false;
			continue;
		}
		if (text[i] == 0 || d == NULL || *d == 0)
			return false;
		mac[i / 3] = (uint8_t)(mac[i / 3] << 4 | (d - digits));
	}
	return true;
}

int
interface_change(const char *what, const char *value)
{
	bool promisc = strcmp(what, "promisc") == 0, on = strcmp(value, "on") == 0;
	uint8_t mac[6] = { 0 };
	handle_t e;
	enum status s;

	if (!promisc && strcmp(what, "mac") != 0)
		return usage("\"%s\" cannot be changed; what can: promisc, mac", what);
	if (promisc && !on && strcmp(value, "off") != 0)
		return usage("promisc is on or off, not \"%s\"", value);
	if (!promisc && !mac_parse(value, mac))
		return usage("\"%s\" is no address; as 02:00:00:00:00:01", value);
	s = interface_open(&e);
	if (s == OK) {
		s = promisc ? net_set_promiscuous(e, on, now_ns() + ANSWER_NS) :
			      net_set_mac(e, mac, now_ns() + ANSWER_NS);
		(void)sys_handle_close(e);
	}
	if (s == E_RIGHTS)
		print("net: the manifest does not give the shell \"interfaces\"\n");
	else if (s == E_UNSUPPORTED)
		print("net: the device does not offer that: no VIRTIO_NET_F_CTRL_%s\n",
		    promisc ? "RX" : "MAC_ADDR");
	else if (s == E_INVALID)
		print("net: %s is an address of nobody, or of a group\n", value);
	else if (s != OK)
		print("net: %s\n", status_text(s));
	return s != OK;
}
