#! /usr/bin/env atf-sh
# The TCP/IP service in the machine.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

atf_test_case an_address_comes_by_dhcp
an_address_comes_by_dhcp_head() { atf_set timeout 300; }
an_address_comes_by_dhcp_body() {
	capos_boot NET=user CMD='sleep 3000; log; ps'
	capos_expect 'tcpip: address 10\.0\.2\.15, gateway 10\.0\.2\.2' 'tcpip +(running|waits)'
}

# IPv6: the router of QEMU's network says which addresses there are.
atf_test_case an_address_comes_by_router_advertisement
an_address_comes_by_router_advertisement_head() { atf_set timeout 300; }
an_address_comes_by_router_advertisement_body() {
	capos_boot NET=user CMD='sleep 5000; net; ping fec0::2; ping fe80::2'
	capos_expect '^  address fe80::5054:ff:fe12:3456' '^  address fec0::5054:ff:fe12:3456' '56 bytes from fec0::2: ' \
	    '56 bytes from fe80::2: '
}

atf_init_test_cases() {
	atf_add_test_case an_address_comes_by_router_advertisement
	atf_add_test_case an_address_comes_by_dhcp
}
