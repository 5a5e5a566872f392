#! /usr/bin/env atf-sh
# The TCP/IP service in the machine.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

atf_test_case an_address_comes_by_dhcp
an_address_comes_by_dhcp_head() { atf_set timeout 300; }
an_address_comes_by_dhcp_body() {
	capos_boot NET=user CMD='sleep 3000; log; ps'
	capos_expect 'tcpip: address 10\.0\.2\.15, gateway 10\.0\.2\.2' 'tcpip +(running|waits)'
}

atf_init_test_cases() {
	atf_add_test_case an_address_comes_by_dhcp
}
