#! /usr/bin/env atf-sh
# What a NIC does for the stack: sums, large packets, several queues.  QEMU's own network does none of it; the host's stack, behind a tap
# device in a network of the test's own, does all.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

GUEST='[fe80::5054:ff:fe12:3456%25tap0]'

# tapped QUEUES NAME=value...   starts the machine behind a tap device with so many queues
tapped() {
	for c in unshare nsenter ip nbdinfo nbdcopy; do
		command -v $c >/dev/null || atf_skip "$c is missing: tools/bootstrap test"
	done
	queues=$1 multi=''; shift
	[ $queues = 1 ] || multi=multi_queue
	unshare -rn sleep 900 &
	NS=$!
	trap 'kill $NS 2>/dev/null' EXIT
	CAPOS_BY="nsenter -t $NS -U -n --preserve-credentials"
	tries=50
	until $CAPOS_BY ip link set lo up 2>ip.err; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || atf_skip "no network of its own may be made here: $(cat ip.err)"
		sleep 0.1
	done
	{ $CAPOS_BY ip tuntap add dev tap0 mode tap vnet_hdr $multi && $CAPOS_BY ip link set tap0 up; } 2>ip.err ||
	    atf_skip "no tap device may be made here: $(cat ip.err)"
	capos_start "NET=tap,ifname=tap0,script=no,downscript=no${multi:+,queues=$queues}" "NIC=${multi:+mq=on,}vectors=$((2 * queues + 2))" "$@"
	trap 'kill $CAPOS_PID $CAPOS_HELPER $NS 2>/dev/null' EXIT
	capos_wait 'netd: virtio-net'
	CAPOS_SEEN=0
	capos_wait 'nbdd: 1 export'
	# Both ends have looked whether their address is another's, too.
	tries=300
	until $CAPOS_BY nbdinfo --size "nbd://$GUEST/" >nbd.out 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || capos_fail "nbdinfo: $(cat nbd.out)"
		sleep 0.1
	done
}

# counted in|out   packets and bytes so far, in COUNTED (and not printed: a subshell would look at the same lines again)
counted() {
	capos_type net
	capos_wait " in [0-9]+ packets"
	capos_wait " out [0-9]+ packets"
	COUNTED=$(sed -n -E "s/^  $1 ([0-9]+) packets, ([0-9]+) bytes.*/\1 \2/p" serial.txt | tail -n 1)
}

# large BEFORE AFTER   the packets between were larger, on the average, than any on a wire
large() {
	echo "$1 $2" | awk '{ n = $3 - $1; exit !(n > 0 && ($4 - $2) / n > 3000) }' ||
	    capos_fail "packets were small: $1, then $2 (packets, bytes)"
}

copies() { # QUEUES USED NAME=value...
	capos_disk disk.img 24M 1
	capos_disk new.img 24M 2
	before=$(capos_sha256 disk.img)
	queues=$1 used=$2; shift 2
	tapped $queues "$@" DISK=disk.img
	capos_expect "netd: virtio-net .*, $used of $queues queue pairs?, link up, checksums, segmentation, mergeable buffers"
	counted out; from=$COUNTED
	$CAPOS_BY timeout 60 nbdcopy "nbd://$GUEST/disk" out.img || capos_fail 'the disk did not come out'
	atf_check_equal "$before" "$(capos_sha256 out.img)"
	counted out; large "$from" "$COUNTED"
	counted in; from=$COUNTED
	$CAPOS_BY timeout 60 nbdcopy --flush new.img "nbd://$GUEST/disk" || capos_fail 'the disk did not go in'
	atf_check cmp new.img disk.img
	counted in; large "$from" "$COUNTED"
	capos_expect ' 0 with a wrong checksum'
	capos_refute 'the device is reset|the session is refused|panic'
	capos_type poweroff
	capos_end
}

atf_test_case large_packets_carry_a_disk_out_and_in
large_packets_carry_a_disk_out_and_in_head() { atf_set timeout 600; }
large_packets_carry_a_disk_out_and_in_body() { copies 1 1; }

atf_test_case as_many_pairs_as_there_are_cpus
as_many_pairs_as_there_are_cpus_head() { atf_set timeout 600; }
as_many_pairs_as_there_are_cpus_body() { copies 4 4 SMP=4; }

atf_test_case fewer_cpus_use_fewer_pairs
fewer_cpus_use_fewer_pairs_head() { atf_set timeout 600; }
fewer_cpus_use_fewer_pairs_body() { copies 4 2 SMP=2; }

atf_test_case large_packets_carry_a_disk_without_an_iommu
large_packets_carry_a_disk_without_an_iommu_head() { atf_set timeout 600; }
large_packets_carry_a_disk_without_an_iommu_body() { copies 1 1 IOMMU=none; }

atf_init_test_cases() {
	atf_add_test_case large_packets_carry_a_disk_out_and_in
	atf_add_test_case fewer_cpus_use_fewer_pairs
	atf_add_test_case as_many_pairs_as_there_are_cpus
	atf_add_test_case large_packets_carry_a_disk_without_an_iommu
}
