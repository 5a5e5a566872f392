#! /usr/bin/env atf-sh
# What goes over the wire, seen by a neighbour that is made by hand (tests/tools/neighbour.c): the guest's answers to packets that
# no stock stack would send, and to devices that change.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# meet NAME=value...    starts both ends of the wire
meet() {
	mkfifo asked
	"$ROOT/build/host/neighbour" "$PWD/near" "$PWD/guest" <asked >told 2>neighbour.err &
	NEIGHBOUR=$!
	exec 5>asked
	trap 'kill $NEIGHBOUR 2>/dev/null' EXIT
	until [ -S near ]; do sleep 0.1; done
	capos_start MANIFEST=static "NET=dgram,local.type=unix,local.path=$PWD/guest,remote.type=unix,remote.path=$PWD/near" "$@"
	trap 'kill $CAPOS_PID $CAPOS_HELPER $NEIGHBOUR 2>/dev/null' EXIT
	for line in 'tcpip: address 10\.0\.2\.15' 'flowd: discard on port 9' 'flowd: chargen on port 19' 'httpd: the status page'; do
		CAPOS_SEEN=0
		capos_wait "$line"
	done
	CAPOS_SEEN=0
	capos_wait '^capos> '
	CAPOS_SEEN=$(wc -c <serial.txt)
	told '^announce 10\.0\.2\.15 52:54:00:12:34:56'
}

# told REGEX [N]        waits until the neighbour has said it N times (1)
told() {
	tries=300
	until [ "$(grep -c -E -e "$1" told)" -ge "${2:-1}" ]; do
		kill -0 $NEIGHBOUR 2>/dev/null || capos_fail "the neighbour ended: $(cat neighbour.err)"
		tries=$((tries - 1))
		[ $tries -gt 0 ] || capos_fail "the neighbour did not say: $1; but: $(cat told)"
		sleep 0.1
	done
}

# ask COMMAND REGEX     what the neighbour does, and the line that ends its answer
ask() {
	n=$(grep -c -E '^(ok|no)' told)
	echo "$1" >&5
	told '^(ok|no)' $((n + 1))
	ANSWER=$(grep -E '^(ok|no)' told | tail -n 1)
	echo "$ANSWER" | grep -E -q -e "$2" || capos_fail "$1: not \"$2\" but \"$ANSWER\": $(tail -n 12 told)"
}

# says COMMAND REGEX... what the shell answers, line by line
says() {
	capos_type "$1"
	shift
	for regex; do capos_wait "$regex"; done
	capos_wait '^capos> '
}

leave() {
	capos_refute 'panic|ended:|given up|the device is reset'
	capos_type poweroff
	capos_end
	kill $NEIGHBOUR
}

MAC=52:54:00:12:34:56 OTHER=02:00:00:00:00:09

# The device says that the link goes and comes: shell and metrics say so, a connection outlives it, and the guest makes itself known.
atf_test_case a_link_that_goes_and_comes_back
a_link_that_goes_and_comes_back_head() { atf_set timeout 300; }
a_link_that_goes_and_comes_back_body() {
	meet
	ask 'open 9' '^ok open'
	ask 'data 10000' '^ok 10000'
	capos_monitor 'set_link net100 off'
	capos_wait 'netd: the link is down'
	says net 'link down'
	says 'wget http://127.0.0.1/metrics' '^capos_net_link_up 0' '^capos_net_link_lost_total 1'
	says 'ping 10.0.2.2' '^10\.0\.2\.2: not found'
	before=$(grep -c '^announce' told)
	capos_monitor 'set_link net100 on'
	capos_wait 'netd: the link is up'
	told "^announce 10\.0\.2\.15 $MAC" $((before + 1))
	says net 'link up'
	says 'wget http://127.0.0.1/metrics' '^capos_net_link_up 1' '^capos_net_link_lost_total 1'
	ask 'data 10000' '^ok 10000'
	says 'ping 10.0.2.2' '^56 bytes from 10\.0\.2\.2'
	leave
}

# As after a machine has moved to another place: the device asks for it, and the guest says where it is.
atf_test_case a_guest_makes_itself_known_when_its_device_asks
a_guest_makes_itself_known_when_its_device_asks_head() { atf_set timeout 300; }
a_guest_makes_itself_known_when_its_device_asks_body() {
	meet
	before=$(grep -c '^announce' told)
	capos_monitor announce_self
	told "^announce 10\.0\.2\.15 $MAC" $((before + 1))
	ask "ping $MAC" "^ok answer from $MAC, 56 bytes"
	leave
}

# The device finds a command that is none, and asks for a reset: it gets one, and what was under way goes on.
atf_test_case a_device_that_asks_for_a_reset_gets_one
a_device_that_asks_for_a_reset_gets_one_head() { atf_set timeout 300; }
a_device_that_asks_for_a_reset_gets_one_body() {
	for lane in IOMMU=$([ $ARCH = arm64 ] && echo smmuv3 || echo intel) IOMMU=none; do
		rm -f asked near guest
		meet $lane
		ask 'open 9' '^ok open'
		ask 'data 10000' '^ok 10000'
		says 'netrogue n 0' '^netrogue: call success, driver success'
		tries=100
		until grep -q 'netd: the device asks to be reset: the device is reset' serial.raw; do
			tries=$((tries - 1))
			[ $tries -gt 0 ] || capos_fail 'the device was not reset'
			sleep 0.1
		done
		ask 'data 10000' '^ok 10000'
		ask "ping $MAC" "^ok answer from $MAC"
		says net 'link up'
		capos_refute 'panic|given up'
		capos_stop
		kill $NEIGHBOUR
	done
}

# Lengths of frames have 14 bytes before the MTU.  1,000 is less than IPv6 may have.
atf_test_case no_packet_is_longer_than_the_device_says
no_packet_is_longer_than_the_device_says_head() { atf_set timeout 600; }
no_packet_is_longer_than_the_device_says_body() {
	for mtu in 1000 1300; do
		rm -f asked near guest
		meet NIC=host_mtu=$mtu
		ask largest '^ok'
		ask 'open 9' "^ok open: mss $((mtu - 40)),"
		ask 'data 20000' '^ok 20000'
		ask shut ^ok
		ask 'open 19' '^ok open'
		ask 'flight 100000' '^ok'
		ask shut ^ok
		ask "ping $MAC 1400" "^ok answer from $MAC, 1400 bytes"
		ask "ping6 1200" "$([ $mtu = 1000 ] && echo '^no' || echo '^ok 1200 bytes')"
		ask "ping6 1400" "$([ $mtu = 1000 ] && echo '^no' || echo '^ok 1400 bytes')"
		ask largest '^ok'
		size=${ANSWER##* }
		[ $size -le $((mtu + 14)) ] && [ $size -gt $((mtu - 10)) ] || capos_fail "MTU $mtu: a frame of $size bytes"
		says net "MTU $mtu,"
		says 'wget http://127.0.0.1/metrics' "^capos_net_mtu_bytes $mtu"
		[ $mtu != 1000 ] || capos_expect 'tcpip: no IPv6: its packets may not be limited to 1000 bytes'
		capos_refute 'out [0-9]+ packets, [0-9]+ bytes, [1-9][0-9]* dropped'
		leave
	done
}

atf_test_case what_is_for_others_comes_only_when_promiscuous
what_is_for_others_comes_only_when_promiscuous_head() { atf_set timeout 300; }
what_is_for_others_comes_only_when_promiscuous_body() {
	meet
	ask "ping $OTHER" '^no answer'
	says net 'link up$' ' 0 for others'
	says 'net promisc on'
	ask "ping $OTHER" '^no answer'
	ask "ping $MAC" "^ok answer from $MAC"
	says net 'link up, promiscuous$' ' 3 for others'
	says 'wget http://127.0.0.1/metrics' '^capos_net_others_total 3'
	says 'net promisc off'
	ask "ping $OTHER" '^no answer'
	says net 'link up$' ' 3 for others'
	capos_expect 'netd: the interface is promiscuous' 'netd: the interface is not promiscuous'
	leave
}

atf_test_case an_interface_gets_another_address
an_interface_gets_another_address_head() { atf_set timeout 300; }
an_interface_gets_another_address_body() {
	meet
	ask 'open 9' '^ok open'
	says "net mac $OTHER"
	told "^announce 10\.0\.2\.15 $OTHER"
	ask "ping $OTHER" "^ok answer from $OTHER"
	ask "ping $MAC" '^no answer'
	ask 'data 10000' '^ok 10000'
	says net "^$OTHER, "
	# It is the device's again when its driver begins anew.
	says 'kill netd'
	told "^announce 10\.0\.2\.15 $MAC" 2
	ask "ping $MAC" "^ok answer from $MAC"
	capos_stop
	kill $NEIGHBOUR
}

# Whoever may not, what no device could take, and devices that cannot.
atf_test_case an_interface_is_not_changed_for_everybody
an_interface_is_not_changed_for_everybody_head() { atf_set timeout 300; }
an_interface_is_not_changed_for_everybody_body() {
	no='^net: the manifest does not give the shell "interfaces"'
	capos_boot -s 1 MANIFEST=confined NET=user CMD="net promisc on; net mac $OTHER"
	[ "$(grep -c "$no" serial.txt)" = 2 ] || capos_fail 'somebody without any right got through to the driver'
	capos_boot -s 1 MANIFEST=wire NET=user CMD="net promisc on; net mac $OTHER"
	[ "$(grep -c "$no" serial.txt)" = 2 ] || capos_fail 'somebody who may only have packets changed the interface'
	capos_expect 'netd: client 2 may not change the interface: its manifest node lacks the capability "interfaces"'
	capos_boot -s 1 NET=user NIC=ctrl_rx=off,ctrl_mac_addr=off CMD="net promisc on; net mac $OTHER; net mac 03:00:00:00:00:01; \
net mac 00:00:00:00:00:00; net mac 02:00; net speed 10; net promisc perhaps"
	capos_expect '^net: the device does not offer that: no VIRTIO_NET_F_CTRL_RX' \
	    '^net: the device does not offer that: no VIRTIO_NET_F_CTRL_MAC_ADDR' \
	    '^net: 03:00:00:00:00:01 is an address of nobody, or of a group' \
	    '^net: 00:00:00:00:00:00 is an address of nobody, or of a group' '"02:00" is no address' '"speed" cannot be changed' \
	    'promisc is on or off, not "perhaps"'
	capos_refute 'netd: the interface'
}

# What lwIP has of SACK is its receiver's half: it says what came behind a hole.  Its windows are scaled both ways.
atf_test_case a_segment_that_is_late_leaves_a_hole_that_is_told
a_segment_that_is_late_leaves_a_hole_that_is_told_head() { atf_set timeout 300; }
a_segment_that_is_late_leaves_a_hole_that_is_told_body() {
	meet
	ask 'open 9' '^ok open: mss 1460, scale 5, sack permitted'
	ask hole '^ok'
	for line in '^first: acknowledged 1000$' '^without the second: acknowledged 1000, sack 2000-3000$' \
	    '^and one more: acknowledged 1000, sack 2000-4000$' '^without the fifth: acknowledged 1000, sack 5000-6000, sack 2000-4000$' \
	    '^the second: acknowledged 4000, sack 5000-6000$' '^the fifth: acknowledged 6000$'; do
		told "$line"
	done
	leave
}

atf_test_case windows_are_larger_than_16_bits_say
windows_are_larger_than_16_bits_say_head() { atf_set timeout 300; }
windows_are_larger_than_16_bits_say_body() {
	meet
	ask 'open 9' '^ok open: mss 1460, scale 5,'
	# flowd takes 256 KiB at a time.
	ask 'data 300000' '^ok 300000 bytes are acknowledged, window [12][0-9]{5}$'
	ask shut ^ok
	ask 'open 19' '^ok open'
	ask 'flight 131072' '^ok'
	leave
}

# A name server that answers; and one that lies, or is lied about, or says nothing.
atf_test_case names_are_looked_up_and_lies_are_not_believed
names_are_looked_up_and_lies_are_not_believed_head() { atf_set timeout 600; }
names_are_looked_up_and_lies_are_not_believed_body() {
	meet
	says 'dns web.test' '^web\.test has address 10\.0\.2\.4'
	says 'dns alias.test' '^alias\.test has address 10\.0\.2\.4'
	says 'ping web.test' '^56 bytes from 10\.0\.2\.4: '
	says 'wget http://web.test/' '^made by hand!'
	says 'wget http://alias.test:80/' '^made by hand!'
	for word in wrongid wrongfrom wrongname question short loop long; do
		says "dns $word.test" "^$word\.test has address 10\.0\.2\.4"
	done
	capos_refute '10\.0\.2\.66'
	for word in none broken many; do
		says "dns $word.test" "^$word\.test: the name server gives no address of it"
	done
	told '^asked many for type 28'
	says 'dns silent.test' '^silent\.test: the name server gives no answer that can be used'
	says 'wget http://silent.test/' '^silent\.test: the name server gives no answer that can be used'
	says "dns $(printf 'a%.0s' $(seq 70)).test" ': no name'
	says 'dns web..test' ': no name'
	says "dns $(printf 'abcdefgh.%.0s' $(seq 40))test" 'test: '
	says 'dns web.test' '^web\.test has address 10\.0\.2\.4'
	leave
}

atf_init_test_cases() {
	atf_add_test_case a_link_that_goes_and_comes_back
	atf_add_test_case a_guest_makes_itself_known_when_its_device_asks
	atf_add_test_case a_device_that_asks_for_a_reset_gets_one
	atf_add_test_case no_packet_is_longer_than_the_device_says
	atf_add_test_case what_is_for_others_comes_only_when_promiscuous
	atf_add_test_case an_interface_gets_another_address
	atf_add_test_case an_interface_is_not_changed_for_everybody
	atf_add_test_case a_segment_that_is_late_leaves_a_hole_that_is_told
	atf_add_test_case windows_are_larger_than_16_bits_say
	atf_add_test_case names_are_looked_up_and_lies_are_not_believed
}
