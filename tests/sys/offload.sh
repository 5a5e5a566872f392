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

# spread PAIRS   every pair of queues carries packets, both ways: connections are spread over them by their ports.  Until they are, more
#                connections are made; that 60 of them miss one pair of four happens once in some 10 millions.
spread() {
	more=16
	until
		counted out
		sed -n -E 's/^  pair ([0-9]+) of queues: in ([0-9]+) packets, out ([0-9]+).*/\1 \2 \3/p' serial.txt | tail -n $1 >pairs
		awk -v n=$1 '$2 > 100 && $3 > 100 { some++ } END { exit !(NR == n && some == n) }' pairs
	do
		more=$((more - 1))
		[ $more -gt 0 ] || capos_fail "not all of $1 pairs carry packets in and out (pair, in, out): $(tr '\n' ';' <pairs)"
		$CAPOS_BY timeout 60 nbdcopy "nbd://$GUEST/disk" null: >copy.out 2>&1 || capos_fail "the disk did not come out: $(cat copy.out)"
	done
	cat pairs
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
	[ $used = 1 ] || spread $used
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

# Where nobody but the IOMMU looks at what the device is told, and where there is none.
atf_test_case several_pairs_without_the_kernels_look
several_pairs_without_the_kernels_look_head() { atf_set timeout 600; }
several_pairs_without_the_kernels_look_body() {
	copies 4 4 SMP=4 MANIFEST=mapped
	capos_expect 'by [a-z]*0: validated; doorbells mapped'
}

atf_test_case several_pairs_without_an_iommu
several_pairs_without_an_iommu_head() { atf_set timeout 600; }
several_pairs_without_an_iommu_body() { copies 4 4 SMP=4 IOMMU=none; }

# The NIC's server is killed again and again while copies run over all of its queues; at random times of a seed (CAPOS_SEED).
dies() { # NAME=value...
	seed=${CAPOS_SEED:-$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')}
	deaths=${CAPOS_DEATHS:-$(capos_scale 6 40)}
	echo "seed $seed: CAPOS_SEED=$seed kills after the same times; $deaths deaths"
	capos_disk disk.img 64M 1
	capos_disk new.img 64M 2
	tapped 4 SMP=4 "$@" DISK=disk.img
	awk -v seed=$seed -v n=$((4 * deaths)) 'BEGIN { srand(seed); while (n--) printf "%.2f\n", 0.05 + 0.4 * rand() }' >times
	way=out copy= died=0
	for t in $(cat times) end; do
		[ $died -lt $deaths ] || t=end
		# One death is over before the next; a copy that has ended is looked at, and the next goes the other way.
		if [ -n "$copy" ] && { [ $t = end ] || ! kill -0 $copy 2>/dev/null; }; then
			wait $copy || capos_fail "nbdcopy $way: $(cat copy.out)"
			case $way in
			out) atf_check cmp disk.img out.img; way=in ;;
			in) atf_check cmp new.img disk.img; way=out ;;
			esac
			copy=
		fi
		[ $t != end ] || break
		if [ -z "$copy" ]; then
			case $way in
			out) set -- "nbd://$GUEST/disk" out.img ;;
			in) set -- --flush new.img "nbd://$GUEST/disk" ;;
			esac
			$CAPOS_BY timeout 120 nbdcopy "$@" >copy.out 2>&1 &
			copy=$!
		fi
		sleep $t
		# One that has just ended is no copy that goes on.
		kill -0 $copy 2>/dev/null || continue
		died=$((died + 1))
		capos_type 'kill netd'
		capos_wait 'netd serves again after'
	done
	echo "netd died $died times"
	[ $died = $deaths ] || capos_fail "netd was to die $deaths times"
	[ "$(grep -c 'netd: virtio-net .*, 4 of 4 queue pairs, link up' serial.txt)" -gt $deaths ] || capos_fail 'not each had all queues again'
	spread 4
	capos_refute 'the device is reset|the session is refused|panic|given up'
	capos_type poweroff
	capos_end
}

for lane in '' IOMMU=none MANIFEST=mapped; do
	case $lane in
	'') name=a_server_of_several_pairs_dies_while_they_are_busy ;;
	IOMMU=none) name=a_server_of_several_pairs_dies_without_an_iommu ;;
	*) name=a_server_of_several_pairs_dies_without_the_kernels_look ;;
	esac
	atf_test_case $name
	eval "${name}_head() { atf_set timeout 900; }"
	eval "${name}_body() { dies $lane; }"
done

atf_init_test_cases() {
	atf_add_test_case large_packets_carry_a_disk_out_and_in
	atf_add_test_case fewer_cpus_use_fewer_pairs
	atf_add_test_case as_many_pairs_as_there_are_cpus
	atf_add_test_case large_packets_carry_a_disk_without_an_iommu
	atf_add_test_case several_pairs_without_an_iommu
	atf_add_test_case several_pairs_without_the_kernels_look
	atf_add_test_case a_server_of_several_pairs_dies_while_they_are_busy
	atf_add_test_case a_server_of_several_pairs_dies_without_an_iommu
	atf_add_test_case a_server_of_several_pairs_dies_without_the_kernels_look
}
