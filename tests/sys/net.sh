#! /usr/bin/env atf-sh
# A network interface: its server, packets through it, its death, its lies.
# Requirements: A4
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# net_peer MODE...   starts the other end of the wire; NETDEV is what to give as NET
net_peer() {
	"$ROOT/build/host/netpeer" "$PWD/peer" "$PWD/wire" "$@" 2>peer.err &
	PEER=$!
	trap 'kill $PEER 2>/dev/null' EXIT
	NETDEV="dgram,local.type=unix,local.path=$PWD/wire,remote.type=unix,remote.path=$PWD/peer"
}

# What "flood" said, the n-th time: packets that were sent and came back.
flooded() { sed -n -E 's/^([0-9]+) packets sent, ([0-9]+) came back.*/\1 \2/p' serial.txt | sed -n "$1p"; }

atf_test_case the_gateway_answers
the_gateway_answers_head() { atf_set timeout 300; }
the_gateway_answers_body() {
	capos_boot MANIFEST=wire NET=user CMD='arp 10.0.2.2 10.0.2.15; arp 10.0.2.2 10.0.2.15; ps'
	capos_expect '^10\.0\.2\.2 is at 52:55:0a:00:02:02' 'netd +(running|waits)'
	capos_expect 'direct-remapping by [a-z]*0: validated; doorbells mediated'
	[ "$(grep -c 'is at 52:55:0a:00:02:02' serial.txt)" = 2 ] || capos_fail 'not both were answered'
}

atf_test_case packets_come_back_as_they_were
packets_come_back_as_they_were_head() { atf_set timeout 300; }
packets_come_back_as_they_were_body() {
	net_peer
	capos_boot MANIFEST=wire "NET=$NETDEV" CMD="flood 2000"
	[ "$(flooded 1)" = '2000 2000' ] || capos_fail 'packets were lost'
	capos_expect ' 0 lost, 0 twice, 0 not as they were, 0 not sent, server restarts 0'
}

# Each takes up to five buffers, and goes on in the room before their data.
atf_test_case packets_larger_than_a_buffer_are_put_together
packets_larger_than_a_buffer_are_put_together_head() { atf_set timeout 300; }
packets_larger_than_a_buffer_are_put_together_body() {
	net_peer
	capos_boot MANIFEST=wire "NET=$NETDEV" NIC=host_mtu=9000 CMD="flood 2000"
	capos_expect 'MTU 9000' ' 0 lost, 0 twice, 0 not as they were, 0 not sent, server restarts 0'
	[ "$(flooded 1)" = '2000 2000' ] || capos_fail 'packets were lost'
}

atf_test_case a_killed_server_is_a_pause
a_killed_server_is_a_pause_head() { atf_set timeout 600; }
a_killed_server_is_a_pause_body() {
	rounds=$(capos_scale 2 20)
	net_peer
	capos_boot MANIFEST=wire "NET=$NETDEV" CMD="flood 100; repeat $rounds 'killer netd 100; flood 5000'"
	capos_expect 'netd ended: killed' 'netd serves again after [0-9]+ ms'
	capos_refute '[1-9][0-9]* not as they were'
	[ "$(grep -c 'server restarts 1' serial.txt)" = "$rounds" ] || capos_fail 'a session did not outlive its server'
	for i in $(seq 2 $((rounds + 1))); do
		set -- $(flooded "$i")
		[ "$1" = 5000 ] && [ "$2" -gt 4800 ] || capos_fail "round $i: more was lost than was on its way"
	done
}

atf_test_case packets_that_no_network_carries_do_no_harm
packets_that_no_network_carries_do_no_harm_head() { atf_set timeout 300; }
packets_that_no_network_carries_do_no_harm_body() {
	net_peer twice wrong
	capos_boot MANIFEST=wire "NET=$NETDEV" CMD="flood 2000; flood 2000; ps"
	capos_refute '[1-9][0-9]* not as they were' 'netd ended' 'the device is reset'
	set -- $(flooded 2)
	[ "$1" = 2000 ] && [ "$2" -gt 1500 ] || capos_fail 'it does not get through'
}

# The default is mediated: all cases above.  Large packets also where nothing is contiguous.
atf_test_case other_lanes_carry_packets_as_well
other_lanes_carry_packets_as_well_head() { atf_set timeout 600; }
other_lanes_carry_packets_as_well_body() {
	for lane in 'IOMMU=none MANIFEST=wire' MANIFEST=wire-mapped; do
		net_peer
		capos_boot $lane "NET=$NETDEV" NIC=host_mtu=9000 CMD="flood 2000; killer netd 100; flood 5000"
		case $lane in
		IOMMU=none*) capos_expect 'device ..:..\..: brokered' ;;
		*) capos_expect 'by [a-z]*0: validated; doorbells mapped' ;;
		esac
		capos_expect 'MTU 9000' ' 0 lost, 0 twice, 0 not as they were, 0 not sent, server restarts 0'
		capos_refute '[1-9][0-9]* not as they were' ': refused: '
		[ "$(flooded 1)" = '2000 2000' ] || capos_fail "$lane: packets were lost"
		set -- $(flooded 2)
		[ "$1" = 5000 ] && [ "$2" -gt 4800 ] || capos_fail "$lane: more was lost than was on its way"
		kill $PEER
	done
}

# Each session is refused, or each packet; nothing goes out, and the server serves.
atf_test_case a_client_that_lies_harms_nobody
a_client_that_lies_harms_nobody_head() { atf_set timeout 600; }
a_client_that_lies_harms_nobody_body() {
	net_peer
	capos_boot MANIFEST=wire "NET=$NETDEV" CMD="netliar; flood 500"
	capos_expect '^netliar: 17 lies, 0 not taken as they should' 'the session is refused: a packet has more parts' \
	    'the session is refused: a buffer is none that it may have'
	capos_refute 'netd ended'
	[ "$(flooded 1)" = '500 500' ] || capos_fail 'it does not serve as before'
}

# The kernel refuses what its driver says; where it does not look, the IOMMU refuses what the device does.
atf_test_case a_driver_that_lies_reaches_nothing
a_driver_that_lies_reaches_nothing_head() { atf_set timeout 600; }
a_driver_that_lies_reaches_nothing_body() {
	for lane in MANIFEST=wire 'IOMMU=none MANIFEST=wire' MANIFEST=wire-mapped; do
		net_peer
		capos_boot $lane "NET=$NETDEV" CMD="netrogue w 0x5000; netrogue r 0x7000; flood 500"
		case $lane in
		MANIFEST=wire-mapped)
			# It says success for what was refused.
			[ "$(grep -c '^netrogue: call success, driver success, faults [1-9]' serial.txt)" = 2 ] ||
			    capos_fail "$lane: not both made a fault"
			capos_expect 'iova 0x5000' 'iova 0x7000' ;;
		*)
			[ "$(grep -c '^netrogue: call success, driver refused by policy.*, faults 0' serial.txt)" = 2 ] ||
			    capos_fail "$lane: not both were refused"
			capos_expect 'outside of every window' ;;
		esac
		[ "$(flooded 1)" = '500 500' ] || capos_fail "$lane: it does not go on"
		kill $PEER
	done
}

atf_test_case a_device_past_the_iommu_is_refused_by_name
a_device_past_the_iommu_is_refused_by_name_head() { atf_set timeout 300; }
a_device_past_the_iommu_is_refused_by_name_body() {
	capos_boot MANIFEST=wire NET=user NIC=iommu_platform=off CMD=ps
	capos_expect 'unsupported: virtio without ACCESS_PLATFORM: it would go past its IOMMU'
	capos_refute 'netd: virtio-net'
}

atf_init_test_cases() {
	atf_add_test_case the_gateway_answers
	atf_add_test_case packets_come_back_as_they_were
	atf_add_test_case packets_larger_than_a_buffer_are_put_together
	atf_add_test_case a_killed_server_is_a_pause
	atf_add_test_case packets_that_no_network_carries_do_no_harm
	atf_add_test_case other_lanes_carry_packets_as_well
	atf_add_test_case a_client_that_lies_harms_nobody
	atf_add_test_case a_driver_that_lies_reaches_nothing
	atf_add_test_case a_device_past_the_iommu_is_refused_by_name
}
