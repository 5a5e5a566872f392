#! /usr/bin/env atf-sh
# The NBD server's protocol against stock clients: the same source as in usr/nbdd, behind a socket of this machine.

ROOT=$(cd "$(atf_get_srcdir)/../../.." && pwd)
. "$ROOT/tests/lib/libnbd.subr"
FORMS='plain scrambled punching small'

# serve WORDS...    starts the host form; $URI is its address
serve() {
	mkfifo hold
	"$ROOT/build/host/nbdhost" "$@" <hold >port 2>host.err &
	HOST=$!
	exec 6>hold
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ -s port ] && break
		sleep 0.1
	done
	[ -s port ] || atf_fail "no server: $(cat host.err)"
	URI=nbd://127.0.0.1:$(cat port)
}

# Its sanitizers have the last word.
finish() {
	kill -0 $HOST 2>/dev/null || atf_fail "the server ended: $(cat host.err)"
	echo >&6
	wait $HOST || atf_fail "the server failed: $(cat host.err)"
}

need() {
	for c; do
		command -v "$c" >/dev/null || atf_skip "$c is missing: tools/bootstrap test"
	done
}

words() {
	case $1 in
	plain) ;;
	scrambled) echo -s 7 ;;
	punching) echo -z -s 3 ;;
	small) echo -b 4096 -n 8192 -s 9 ;;
	esac
}

copies() {
	need nbdcopy qemu-img qemu-io cmp
	"$ROOT/build/host/randfile" 16M 1 >a.img
	"$ROOT/build/host/randfile" 16M 2 >b.img
	cp a.img disk.img
	serve $(words $1) disk=disk.img
	atf_check nbdcopy "$URI/disk" out.img
	atf_check cmp a.img out.img
	atf_check nbdcopy --flush b.img "$URI/disk"
	atf_check cmp b.img disk.img
	atf_check qemu-img convert -f raw -O raw "$URI/disk" out.img
	atf_check cmp b.img out.img
	atf_check -o ignore qemu-io -f raw -c 'read 0 5M' -c 'write -z 4096 3M' -c 'read -P 0 4096 3M' -c 'write -f -P 7 8M 1M' \
	    -c 'read -P 7 8M 1M' -c 'discard 0 1M' -c flush "$URI/disk"
	finish
}

fio_verifies() {
	need fio
	fio --enghelp 2>/dev/null | grep -q nbd || atf_skip 'this fio has no nbd engine'
	truncate -s 8M disk.img
	serve $(words $1) disk=disk.img
	atf_check -o ignore fio --name=x --ioengine=nbd --uri="$URI/disk" --rw=randrw --bs=4k --iodepth=32 --size=8M \
	    --verify=crc32c --verify_fatal=1
	finish
}

for f in $FORMS; do
	for t in copies fio_verifies; do
		atf_test_case ${t}_$f
		eval "${t}_${f}_body() { $t $f; }"
	done
done

atf_test_case the_list_says_what_each_export_can_do
the_list_says_what_each_export_can_do_body() {
	need nbdinfo
	truncate -s 1M disk.img fixed.img
	serve disk=disk.img fixed=fixed.img,ro
	atf_check -o save:list nbdinfo --list "$URI"
	atf_check -o match:'export="disk"' -o match:'export="fixed"' -o match:'can_multi_conn: true' -o match:'can_fua: true' \
	    -o match:'block_size_minimum: 512' -o match:'base:allocation' -o match:'is_read_only: true' cat list
	atf_check -o match:'1048576 +0 +data' nbdinfo --map "$URI/disk"
	atf_check -s not-exit:0 -o ignore -e ignore nbdinfo "$URI/nobody"
	# Refused by the server, not by the client's own look at the flags.
	atf_check -s not-exit:0 -o ignore -e ignore qemu-io -f raw -c 'write 0 512' "$URI/fixed"
	finish
}

atf_test_case a_read_that_fails_is_told_and_the_next_one_is_served
a_read_that_fails_is_told_and_the_next_one_is_served_body() {
	need qemu-io
	truncate -s 16M disk.img
	serve -d disk=disk.img
	# Every 97th piece of 128 KiB fails.
	atf_check -s not-exit:0 -o match:'read failed: Input/output error' -e ignore qemu-io -f raw -c 'read 0 14M' "$URI/disk"
	atf_check -o ignore qemu-io -f raw -c 'read 0 4096' "$URI/disk"
	finish
}

# What loads the machine's disks in tests/sys/deaths.sh: it takes right answers for right, in any order, and finds a wrong one.
atf_test_case a_load_knows_what_must_be_on_the_disk
a_load_knows_what_must_be_on_the_disk_body() {
	need cmp
	"$ROOT/build/host/randfile" 2M 1 >disk.img
	cp disk.img other.img
	serve $(words scrambled) disk=disk.img other=other.img
	atf_check -o match:'[1-9][0-9]* flushes, [1-9][0-9]* durable writes and [1-9][0-9]* reads were as' \
	    "$ROOT/build/host/nbdload" $(cat port) disk disk.img model.img 7 6000000
	atf_check cmp disk.img model.img
	# Its writes do not reach the image that it looks at.
	cp other.img image.img
	atf_check -s exit:1 -e match:'the image after a (flush|durable write): byte' \
	    "$ROOT/build/host/nbdload" $(cat port) other image.img model.img 7 6000000
	finish
}

# What libnbd tests its own clients with; and its other tools.
atf_test_case programs_of_libnbd_find_no_fault
programs_of_libnbd_find_no_fault_head() { atf_set timeout 600; }
programs_of_libnbd_find_no_fault_body() {
	need nbddump nbdcopy
	libnbd_compile
	"$ROOT/build/host/randfile" 16M 1 >disk.img
	serve disk=disk.img
	libnbd_run_all "$URI" false
	atf_check -o match:'^0000000000: ' nbddump --length=512 "$URI/disk"
	atf_check nbdcopy --connections=12 "$URI/disk" out.img
	atf_check cmp disk.img out.img
	finish
	rm hold port
	serve -z fixed=disk.img,ro
	libnbd_run "${URI##*:}" read-only-flag
	finish
}

atf_init_test_cases() {
	atf_add_test_case programs_of_libnbd_find_no_fault
	for f in $FORMS; do
		atf_add_test_case copies_$f
		atf_add_test_case fio_verifies_$f
	done
	atf_add_test_case the_list_says_what_each_export_can_do
	atf_add_test_case a_read_that_fails_is_told_and_the_next_one_is_served
	atf_add_test_case a_load_knows_what_must_be_on_the_disk
}
