#! /usr/bin/env atf-sh
# The services over the network, used by stock clients on the host.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"
. "$ROOT/tests/lib/services.subr"
. "$ROOT/tests/lib/libnbd.subr"

atf_test_case a_disk_goes_out_and_in_over_nbd
a_disk_goes_out_and_in_over_nbd_head() { atf_set timeout 900; }
a_disk_goes_out_and_in_over_nbd_body() { goes_out_and_in; }

atf_test_case a_disk_goes_out_and_in_over_nbd_without_an_iommu
a_disk_goes_out_and_in_over_nbd_without_an_iommu_head() { atf_set timeout 900; }
a_disk_goes_out_and_in_over_nbd_without_an_iommu_body() { goes_out_and_in IOMMU=none; }

goes_out_and_in() {
	need curl nbdinfo nbdcopy qemu-io fio
	size=$(capos_scale 64M 1G)
	capos_disk disk.img $size 1
	capos_disk new.img $size 2
	before=$(capos_sha256 disk.img)
	serve DISK=disk.img "$@"
	check curl -sS --max-time 60 -o page "$URL"
	atf_check cmp page "$ROOT/usr/httpd/page.html"
	check curl -sS --max-time 60 -o status.json "$URL"status.json
	case $* in
	*none*) atf_check -o match:'"driver": "nvmed", "backend": "bounce-buffer"' cat status.json ;;
	*) atf_check -o match:'"driver": "nvmed", "backend": "direct-remapping"' cat status.json ;;
	esac
	nbdinfo --list "$URI" >list || capos_fail "nbdinfo: $(cat list)"
	atf_check -o match:'export="disk"' -o match:'can_multi_conn: true' -o match:'can_fua: true' \
	    -o match:'nvme0n1: QEMU NVMe Ctrl serial capos0' cat list
	check timeout 600 nbdcopy "$URI/disk" out.img
	atf_check_equal "$before" "$(capos_sha256 out.img)"
	check timeout 600 nbdcopy --flush new.img "$URI/disk"
	atf_check cmp new.img disk.img
	check timeout 300 qemu-io -f raw -c 'write -P 9 1M 300k' -c 'read -P 9 1M 300k' -c 'write -z 1M 200k' -c 'read -P 0 1M 200k' \
	    -c 'write -f -P 3 8M 64k' -c 'read -P 3 8M 64k' "$URI/disk"
	check timeout 600 fio --name=x --ioengine=nbd --uri="$URI/disk" --rw=randrw --bs=4k --iodepth=32 --size=8M \
	    --verify=crc32c --verify_fatal=1
	capos_refute 'panic|given up'
	capos_stop
}

# libnbd's own test programs, as far as they ask for nothing that is only nbdkit's.
atf_test_case programs_of_libnbd_find_no_fault
programs_of_libnbd_find_no_fault_head() { atf_set timeout 600; }
programs_of_libnbd_find_no_fault_body() {
	need nbdcopy nbddump
	libnbd_compile
	capos_disk disk.img 64M 1
	serve DISK=disk.img
	libnbd_run_all "$URI" true
	check nbddump --length=512 "$URI/disk"
	check timeout 300 nbdcopy --connections=12 "$URI/disk" out.img
	atf_check cmp disk.img out.img
	capos_refute 'panic|given up|ended'
	capos_stop
}

atf_test_case the_status_page_is_live
the_status_page_is_live_head() { atf_set timeout 600; }
the_status_page_is_live_body() {
	need curl
	capos_disk disk.img 16M
	serve DISK=disk.img
	check curl -sS --max-time 60 -o page "$URL"
	atf_check cmp page "$ROOT/usr/httpd/page.html"
	check curl -sS --max-time 60 -o status.json "$URL"status.json
	# What guards each device, and why.
	atf_check -o match:'"kind": "NVMe controller", .*"driver": "nvmed", "backend": "direct-remapping"' \
	    -o match:'"driver": "netd"' -o match:"\"arch\": \"$ARCH\"" -o match:'"v4": "10.0.2.15"' \
	    -o match:'"name": "nvme0n1", .*"bytes": 16777216' -o match:'"name": "httpd"' cat status.json
	# The record is the shell's.
	check curl -sS --max-time 60 -o evidence.json "$URL"evidence.json
	atf_check -o match:'"step": "validated", "answer": "yes"' -o match:'"hostile_hardware_isolation": "claimed"' cat evidence.json
	check curl -sS --max-time 60 -o metrics "$URL"metrics
	atf_check -o match:'^capos_uptime_seconds [0-9]+\.[0-9]+$' -o match:'^capos_disk_requests_total\{disk="nvme0n1",op="read"\} ' \
	    -o match:'^capos_net_packets_total\{way="in"\} [1-9]' \
	    -o match:'^capos_net_pair_packets_total\{pair="0",way="out"\} [1-9]' cat metrics
	# Every line is a comment or a sample.
	atf_check -s exit:1 grep -vE '^(# (HELP|TYPE) capos_[a-z_]+ .+|capos_[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9]+(\.[0-9]+)?)$' metrics
	atf_check -o match:'HTTP/1.1 404' curl -siS --max-time 60 "$URL"nothing
	capos_stop
}

atf_test_case a_browser_sees_the_machine_work
a_browser_sees_the_machine_work_head() { atf_set timeout 600; }
a_browser_sees_the_machine_work_body() {
	. "$ROOT/tests/browser/browser.subr"
	need_browser
	need nbdcopy
	capos_disk disk.img 64M
	serve DISK=disk.img
	(for i in 1 2 3 4 5 6; do timeout 60 nbdcopy "$URI/disk" null: ; sleep 1; done) >/dev/null 2>&1 &
	load=$!
	browse "$URL" 15
	browser_checks
	shot "$URL" 1200 1700 "$ROOT/build/status-page-$ARCH.png"
	kill $load 2>/dev/null
	capos_stop
}

# What clients trim and zero reaches the disk as that, not as pages that are written.
atf_test_case what_is_trimmed_and_zeroed_is_no_write
what_is_trimmed_and_zeroed_is_no_write_head() { atf_set timeout 600; }
what_is_trimmed_and_zeroed_is_no_write_body() {
	need nbdinfo qemu-io curl
	capos_disk disk.img 64M 1
	cp disk.img want.img
	full=$(stat -c %b disk.img)
	dd if=/dev/zero of=want.img bs=4k seek=2048 count=10240 conv=notrunc status=none
	serve DISK=disk.img
	check nbdinfo "$URI/disk"
	atf_check -o match:'can_trim: true' -o match:'can_zero: true' -o match:'block_size_minimum: 512' \
	    -o match:'block_size_preferred: 4096' -o match:'block_size_maximum: 33554432' cat check.out
	check nbdinfo --map "$URI/disk"
	atf_check -o match:'^ *0 +67108864 +0 +data' cat check.out
	# More than one command can zero.
	check timeout 120 qemu-io -f raw -c 'write -z 8M 40M' -c 'read -P 0 8M 40M' -c flush "$URI/disk"
	check cmp disk.img want.img
	check timeout 120 qemu-io -f raw -c 'discard 0 4M' -c 'discard 56M 4M' "$URI/disk"
	tail -c 4M want.img >rest.want; tail -c 4M disk.img >rest
	check cmp rest rest.want
	[ $(stat -c %b disk.img) -lt $((full - 8192 * 5)) ] || capos_fail "the image still has $(stat -c %b disk.img) blocks of $full"
	check curl -sS --max-time 60 -o metrics "$URL"metrics
	atf_check -o match:'\{disk="nvme0n1",op="write"\} 0$' cat metrics
	capos_stop
}

# An export is a capability to a range of a disk: the disk's server refuses what is outside, whoever asks, and lets nobody in who may
# only ask.  Who may not listen, or reach others, is told so.
atf_test_case nobody_has_more_than_the_manifest_says
nobody_has_more_than_the_manifest_says_head() { atf_set timeout 600; }
nobody_has_more_than_the_manifest_says_body() {
	need nbdinfo nbdcopy qemu-io
	capos_disk disk.img 8M 5
	cp disk.img want.img
	serve DISK=disk.img MANIFEST=confined
	nbdinfo --list "$URI" >list 2>&1
	atf_check -o match:'export="part"' -o match:'export-size: 2097152' -o match:'export="fixed"' -o match:'export-size: 524288' \
	    -o match:'is_read_only: true' cat list
	check timeout 60 nbdcopy "$URI/part" part.img
	atf_check_equal "$(capos_sha256 disk.img 1048576 2097152)" "$(capos_sha256 part.img)"
	check timeout 60 nbdcopy "$URI/fixed" fixed.img
	atf_check_equal "$(capos_sha256 disk.img 4194304 524288)" "$(capos_sha256 fixed.img)"
	timeout 60 qemu-io -f raw -c 'write 0 512' "$URI/fixed" >/dev/null 2>&1 && capos_fail 'a range that is read only was written'
	timeout 60 nbdinfo "$URI/nowhere" >/dev/null 2>&1 && capos_fail 'a range that no disk has is served'
	capos_type 'outside; sha256 part; sha256 nvme0n1'
	capos_wait '^outside: 0 not as they should be'
	capos_wait 'nvme0n1: rights missing'
	capos_type 'wget http://10.0.2.2/; dns example.org; ping 10.0.2.2; arp 10.0.2.2; ps'
	for line in '^wget: rights missing' '^example.org: rights missing' '^10.0.2.2: rights missing' '^net0: rights missing'; do
		capos_wait "$line"
	done
	capos_wait 'nvmed'
	check timeout 60 qemu-io -f raw -c 'write -P 7 0 2M' -c flush "$URI/part"
	capos_stop
	head -c 2M /dev/zero | tr '\0' '\007' | dd of=want.img bs=1M seek=1 conv=notrunc status=none
	cmp disk.img want.img || capos_fail 'the disk was written outside of the range'
	capos_expect "^$(capos_sha256 part.img)  part" 'export nowhere is not on its disk' '^outside: part: to write: success' \
	    '^outside: fixed: to write: read only' '^outside: the disk: to read: rights missing' \
	    'flowd may not listen on port 19: its manifest node does not say so' \
	    'shell may not connect to others: its manifest node lacks the capability "connect"'
	[ "$(grep -c 'flowd may not listen' serial.txt)" -eq 1 ] || capos_fail 'flowd asks again and again for what it may not'
}

# A disk that is not there for a while makes its own clients wait, and nobody else.
atf_test_case a_disk_that_is_away_holds_up_only_its_own_clients
a_disk_that_is_away_holds_up_only_its_own_clients_head() { atf_set timeout 600; }
a_disk_that_is_away_holds_up_only_its_own_clients_body() {
	need nbdinfo nbdcopy
	case $ARCH in x86_64) native='-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off' ;; *) native= ;; esac
	capos_disk first.img 16M 1
	capos_disk second.img 16M 2
	serve MANIFEST=twodisks QEMU_EXTRA="$native -device pcie-root-port,id=port0,chassis=1,slot=1
	    -device pcie-root-port,id=port1,chassis=2,slot=2
	    -drive if=none,id=first,format=raw,file.filename=first.img,file.locking=off,throttling.bps-total=2097152
	    -drive if=none,id=second,format=raw,file.filename=second.img
	    -device nvme,id=card0,serial=one,drive=first,bus=port0 -device nvme,id=card1,serial=two,drive=second,bus=port1"
	timeout 120 nbdcopy "$URI/disk" first.out >copy.out 2>&1 &
	copy=$!
	sleep 1
	capos_monitor 'device_del card0'
	capos_wait 'its card can be taken out'
	begin=$(date +%s%N)
	for i in 1 2 3; do
		check timeout 20 nbdcopy "$URI/second" second.out
		atf_check cmp second.img second.out
	done
	took=$((($(date +%s%N) - begin) / 1000000))
	echo "three copies of the disk that is there took $took ms"
	# 15 s is what the three connections alone would have waited for a server that is not there.
	[ $took -lt 15000 ] || capos_fail 'the clients of the other disk had to wait'
	kill -0 $copy 2>/dev/null || capos_fail "the first copy did not wait: $(cat copy.out)"
	capos_monitor 'drive_add 0 if=none,id=back,format=raw,file.filename=first.img,file.locking=off'
	capos_monitor 'device_add nvme,id=card2,serial=one,drive=back,bus=port0'
	wait $copy || capos_fail "nbdcopy: $(cat copy.out)"
	atf_check cmp first.img first.out
	capos_stop
}

# A NIC's driver tells its device to read and write where the stack's memory, the disk's data and everything else of the machine may lie.
# The kernel refuses it where it looks, and the IOMMU where it does not; the stack and the disk's clients do not notice.
atf_test_case a_lying_nic_driver_gets_at_neither_stack_nor_disk
a_lying_nic_driver_gets_at_neither_stack_nor_disk_head() { atf_set timeout 900; }
a_lying_nic_driver_gets_at_neither_stack_nor_disk_body() {
	need curl nbdcopy
	capos_disk disk.img 16M 1
	before=$(capos_sha256 disk.img)
	for lane in MANIFEST=default MANIFEST=mapped IOMMU=none; do
		serve DISK=disk.img $lane
		(while :; do timeout 120 nbdcopy "$URI/disk" null:; done) >copy.out 2>&1 &
		copies=$!
		trap 'kill $CAPOS_PID $CAPOS_HELPER $copies 2>/dev/null' EXIT
		n=0
		for at in 0x5000 0x7000 0x20000000 0x50000000; do
			for way in r w; do
				capos_type "netrogue $way $at"
				capos_wait '^netrogue: call'
				n=$((n + 1))
			done
		done
		kill $copies; wait $copies 2>/dev/null
		check timeout 120 nbdcopy "$URI/disk" out.img
		atf_check_equal "$before" "$(capos_sha256 out.img)"
		check curl -sS --max-time 60 -o page "$URL"
		atf_check cmp page "$ROOT/usr/httpd/page.html"
		capos_stop
		case $lane in
		*mapped) want='^netrogue: call success, driver success, faults [1-9]' ;;
		*) want='^netrogue: call success, driver refused by policy.*, faults 0' ;;
		esac
		[ "$(grep -c "$want" serial.txt)" = $n ] || capos_fail "$lane: not all $n lies were refused"
		capos_refute 'panic|tcpip ended|nvmed ended'
		atf_check_equal "$before" "$(capos_sha256 disk.img)"
	done
}

# free_port FROM     the next port of this machine that nobody listens on
free_port() {
	p=$1
	while curl -s -o /dev/null --max-time 1 "telnet://127.0.0.1:$p" </dev/null; do p=$((p + 1)); done
	echo $p
}

# What every program has when all that times out has: pages, objects and handles.
what_is_left() {
	sleep 26
	capos_type 'mem; net'
	capos_wait 'TCP port 10809 listens'
	tr -d '\r' <serial.raw >serial.txt
	awk '/^ pid owner +pages/{ t = ""; on = 1 } on && /^ +[0-9]+ [a-z]/{ t = t $2 " " $3 " " $5 " " $7 "\n" } /^ +1 init/{ on = 0 } END { printf "%s", t }' serial.txt
}

# Packets by hand, in three floods of one seed, from a neighbour on the wire: services answer in the middle of it, nothing ends, and
# the last flood leaves every program with what it had before it.  QEMU's own network is in a process of its own and is spared: it would end.
atf_test_case a_hostile_neighbour_takes_nothing_and_stops_nobody
a_hostile_neighbour_takes_nothing_and_stops_nobody_head() { atf_set timeout 1200; }
a_hostile_neighbour_takes_nothing_and_stops_nobody_body() {
	need curl nbdcopy
	count=$(capos_scale 20000 500000)
	SEED=${CAPOS_SEED:-$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')}
	echo "seed $SEED: CAPOS_SEED=$SEED does the same"
	web=$(free_port $((20000 + $(od -An -N2 -tu2 /dev/urandom) % 20000)))
	disks=$(free_port $((web + 1)))
	mkfifo floods
	"$ROOT/build/host/nethostile" $SEED "$PWD/near" "$PWD/guest" "$PWD/far" "$PWD/net" <floods >done 2>hostile.err &
	hostile=$!
	exec 5>floods
	qemu-system-$([ $ARCH = arm64 ] && echo aarch64 || echo $ARCH) -M none -nodefaults -display none \
	    -netdev "user,id=u,hostfwd=tcp:127.0.0.1:$web-:80,hostfwd=tcp:127.0.0.1:$disks-:10809" -netdev hubport,hubid=0,id=h,netdev=u \
	    -netdev "dgram,id=d,local.type=unix,local.path=$PWD/net,remote.type=unix,remote.path=$PWD/far" \
	    -netdev hubport,hubid=0,id=i,netdev=d 2>net.err &
	net=$!
	trap 'kill $hostile $net 2>/dev/null' EXIT
	until [ -S near ] && [ -S far ] && [ -S net ]; do
		kill -0 $hostile && kill -0 $net || atf_fail "no wire: $(cat hostile.err net.err)"
		sleep 0.1
	done
	capos_disk disk.img 2M 1
	capos_start "NET=dgram,local.type=unix,local.path=$PWD/guest,remote.type=unix,remote.path=$PWD/near" DISK=disk.img
	trap 'kill $CAPOS_PID $CAPOS_HELPER $hostile $net 2>/dev/null' EXIT
	for line in 'nbdd: 1 export on port' 'tcpip: address 10\.0\.2\.15' 'httpd: the status page is on port'; do
		CAPOS_SEEN=0
		capos_wait "$line"
	done
	for n in 1 2 3; do
		echo "flood $count" >&5
		answers=0
		until [ "$(grep -c done done)" = $n ] && [ $answers -gt 0 ]; do
			kill -0 $hostile || capos_fail "nethostile: $(cat hostile.err)"
			check curl -sS --max-time 60 -o page http://127.0.0.1:$web/
			check cmp page "$ROOT/usr/httpd/page.html"
			check timeout 120 nbdcopy nbd://127.0.0.1:$disks/disk out.img
			check cmp out.img disk.img
			answers=$((answers + 1))
		done
		what_is_left >left.$n
		echo "flood $n: the services answered $answers times meanwhile"
	done
	capos_stop
	kill $net $hostile
	atf_check -o match:'^tcpip [0-9]' cat left.3
	cmp left.2 left.3 || capos_fail "a flood left more behind (program, pages, objects, handles): $(diff left.2 left.3)"
	capos_refute 'panic|ended:|given up'
	capos_expect '[1-9][0-9]* with a wrong checksum'
}

atf_test_case services_come_back_after_the_stack
services_come_back_after_the_stack_head() { atf_set timeout 600; }
services_come_back_after_the_stack_body() {
	need curl nbdinfo
	capos_disk disk.img 16M
	serve DISK=disk.img
	check curl -sS --max-time 60 -o page "$URL"
	capos_type 'kill tcpip'
	capos_wait 'tcpip ended'
	capos_wait 'tcpip: address 10\.0\.2\.15'
	i=0
	until curl -sS --max-time 10 -o page "$URL" 2>curl.err; do
		i=$((i + 1))
		[ $i -lt 20 ] || capos_fail "the page did not come back: $(cat curl.err)"
		sleep 0.5
	done
	check timeout 60 nbdinfo "$URI/disk"
	capos_stop
}

# The shell as a client: of QEMU's own network, and of a server on the host.
atf_test_case the_shell_reaches_the_network
the_shell_reaches_the_network_head() { atf_set timeout 300; }
the_shell_reaches_the_network_body() {
	mkfifo hold
	"$ROOT/build/host/httphost" <hold >port 2>host.err &
	host=$!
	exec 6>hold
	until [ -s port ]; do sleep 0.1; done
	url=http://10.0.2.2:$(cat port)
	capos_disk disk.img 1M
	cp disk.img want.img
	size=$(wc -c <"$ROOT/usr/httpd/page.html")
	dd if="$ROOT/usr/httpd/page.html" of=want.img bs=512 seek=3 conv=notrunc status=none
	capos_boot -s 1 NET=user DISK=disk.img CMD="sleep 1500; net; ping 10.0.2.2; dns 10.0.2.2; wget $url/status.json; wget $url/ nvme0n1 1536; \
wget $url/nothing; wget http://10.0.2.2:1/; wget ftp://x; ping 10.0.2.99"
	capos_expect 'address 10\.0\.2\.15' 'gateway 10\.0\.2\.2' 'TCP port 80 listens' '56 bytes from 10\.0\.2\.2: [0-9.]+ ms' \
	    '10\.0\.2\.2 has address 10\.0\.2\.2' '"arch": "made up"' "^$size bytes" 'HTTP/1.1 404 Not Found' 'wget: no connection: refused' \
	    'is not http://HOST' '10\.0\.2\.99: '
	atf_check cmp disk.img want.img
	echo >&6
	wait $host || capos_fail "the server failed: $(cat host.err)"
}

# Bytes into the guest and out of it; how fast is printed, and no matter.
atf_test_case bytes_flow_both_ways
bytes_flow_both_ways_head() { atf_set timeout 300; }
bytes_flow_both_ways_body() {
	serve
	discard=$(sed -n 's/.*discard 127.0.0.1:\([0-9]*\).*/\1/p' qemu.err) chargen=$(sed -n 's/.*chargen 127.0.0.1:\([0-9]*\).*/\1/p' qemu.err)
	check timeout 120 bash -c "LC_ALL=C dd if=/dev/zero bs=64k count=512 >/dev/tcp/127.0.0.1/$discard"
	echo "in: $(tail -n 1 check.out)"
	check timeout 120 bash -c "LC_ALL=C dd bs=64k count=512 iflag=fullblock </dev/tcp/127.0.0.1/$chargen 2>said | sha256sum"
	echo "out: $(tail -n 1 said)"
	atf_check_equal "$(head -c 32M /dev/zero | tr '\0' c | sha256sum)" "$(cat check.out)"
	capos_stop
}

atf_init_test_cases() {
	atf_add_test_case bytes_flow_both_ways
	atf_add_test_case the_shell_reaches_the_network
	atf_add_test_case a_disk_goes_out_and_in_over_nbd
	atf_add_test_case a_disk_goes_out_and_in_over_nbd_without_an_iommu
	atf_add_test_case programs_of_libnbd_find_no_fault
	atf_add_test_case what_is_trimmed_and_zeroed_is_no_write
	atf_add_test_case nobody_has_more_than_the_manifest_says
	atf_add_test_case a_disk_that_is_away_holds_up_only_its_own_clients
	atf_add_test_case a_hostile_neighbour_takes_nothing_and_stops_nobody
	atf_add_test_case a_lying_nic_driver_gets_at_neither_stack_nor_disk
	atf_add_test_case the_status_page_is_live
	atf_add_test_case a_browser_sees_the_machine_work
	atf_add_test_case services_come_back_after_the_stack
}
