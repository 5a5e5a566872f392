#! /usr/bin/env atf-sh
# The servers of a disk and of a NIC, and the stack, are killed again and again, at random places of what clients on the host do with the
# disk: copies, and loads that know what must be on it.
#
# Each test prints its seed; CAPOS_SEED=n does the same again.  CAPOS_ROUNDS: copies each way, or loads.  CAPOS_DEATHS: kills in each.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"
. "$ROOT/tests/lib/services.subr"

# prepare NAME=value...   the machine, and nbdpause before its disk: clients use port $PORT
prepare() {
	need nbdcopy fio
	SEED=${CAPOS_SEED:-$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')} TURN=0
	ROUNDS=${CAPOS_ROUNDS:-$(capos_scale 3 10)} DEATHS=${CAPOS_DEATHS:-$(capos_scale 4 8)}
	echo "seed $SEED: CAPOS_SEED=$SEED does the same; $ROUNDS rounds of $DEATHS deaths"
	serve DISK=disk.img "$@"
	mkfifo marks
	"$ROOT/build/host/nbdpause" "${URI##*:}" keys <marks >said 2>pause.err &
	PAUSE=$!
	exec 5>marks
	trap 'kill $CAPOS_PID $CAPOS_HELPER $PAUSE 2>/dev/null' EXIT
	until [ -s said ]; do
		kill -0 $PAUSE || capos_fail "$(cat pause.err)"
		sleep 0.1
	done
	PORT=$(head -n 1 said)
}

# plan DEATHS BYTES NAME...   so many deaths within so many bytes, each at a random place of its part: of these in random order, then again
plan() {
	deaths=$1 bytes=$2; shift 2
	{
		echo go
		echo "$@" | awk -v seed=$((SEED + TURN)) -v all=$bytes -v deaths=$deaths '{
			srand(seed)
			for (i = 0; i < deaths; i++) {
				if (i % NF == 0)
					for (k = NF; k > 1; k--) {
						other = 1 + int(rand() * k)
						name = $k; $k = $other; $other = name
					}
				printf "at %d %s\n", all * 0.9 * (i + 0.2 + 0.7 * rand()) / deaths, $(i % NF + 1)
			}
		}'
	} >&5
	TURN=$((TURN + 1))
}

# pauses NAME...   waits until those that were killed are told since the last time, and requires the last of them to be as many as $DEATHS,
#                  after these
pauses() {
	ends=$(grep -c '^end' said) had=$(grep -c '^pause' said)
	echo end >&5
	i=0
	until [ "$(grep -c '^end' said)" -gt $ends ]; do
		i=$((i + 1))
		[ $i -lt 100 ] || capos_fail 'nbdpause does not answer'
		sleep 0.1
	done
	grep '^pause' said | tail -n +$((had + 1)) >died
	[ $(wc -l <died) -ge $DEATHS ] || capos_fail "$DEATHS deaths were planned: $(cat died)"
	for name; do
		tail -n $((DEATHS + 1)) died | head -n 1 | grep -q "^pause $name" || capos_fail "$name did not die before $DEATHS others: $(cat died)"
	done
}

# tell_pauses NAME...   median and worst of what each one's end cost the client, and when it served again
tell_pauses() {
	for name; do
		sed -n "s/^pause $name \([0-9]*\) .*/\1/p" said | sort -n | awk -v name=$name '
			{ ms[NR] = $1 }
			END { if (NR == 0) exit 1
			      printf "%s was ended %d times; the client paused for %d ms (median), %d ms (worst)\n",
				  name, NR, ms[int((NR + 1) / 2)], ms[NR] }' || capos_fail "$name was never ended"
		echo "  ms until it served again:" $(sed -n "s/.*$name serves again after \([0-9]*\) ms.*/\1/p" serial.txt | sort -n)
	done
}

# finish NAME...
finish() {
	capos_refute 'panic|given up'
	capos_stop
	kill $PAUSE
	tell_pauses "$@"
}

# copy out|in           by nbdcopy; false: it failed
copy() {
	case $1 in
	out) timeout 300 nbdcopy "nbd://127.0.0.1:$PORT/disk" out.img ;;
	in) timeout 300 nbdcopy --flush new.img "nbd://127.0.0.1:$PORT/disk" ;;
	esac >copy.out 2>&1
}

# A disk's server and a NIC's are a pause.  The stack's end is that of connections: the copy fails, and is begun again.
copies_go_on() {
	size=$(capos_scale 32M 256M)
	bytes=$(numfmt --from=iec $size)
	capos_disk disk.img $size 1
	prepare "$@"
	for round in $(seq $ROUNDS); do
		capos_disk new.img $size $((SEED + round))
		for way in out in; do
			# Each one of them, in any order; what comes after the stack's death is not done.
			plan 3 $bytes nvmed netd tcpip
			! copy $way || capos_fail "round $round: the copy $way outlived the stack"
			plan $DEATHS $bytes nvmed netd
			again=0
			# The successor of the stack takes an address first.
			until copy $way; do
				again=$((again + 1))
				[ $again -lt 20 ] && ! grep -q ' at offset ' copy.out || capos_fail "round $round: nbdcopy $way: $(cat copy.out)"
				sleep 0.2
			done
			pauses tcpip
			case $way in
			out) atf_check cmp disk.img out.img ;;
			in) atf_check cmp new.img disk.img ;;
			esac
		done
	done
	finish nvmed netd tcpip
}

# Stock and ours: fio looks at what it wrote, nbdload at what must be in the disk's image whenever something was made durable.
loads_are_right() {
	fio --enghelp 2>/dev/null | grep -q nbd || atf_skip 'this fio has no nbd engine'
	capos_disk disk.img 16M 1
	prepare "$@"
	for round in $(seq $ROUNDS); do
		# Of 16 MiB one half is read and one half written, and that half is read once more.
		plan $DEATHS 20000000 nvmed netd
		check timeout 300 fio --name=x --ioengine=nbd --uri="nbd://127.0.0.1:$PORT/disk" --rw=randrw --bsrange=4k-64k --iodepth=16 \
		    --size=16M --verify=crc32c --verify_fatal=1 --verify_backlog=64 --randseed=$((SEED + round))
		pauses
		plan $DEATHS 30000000 nvmed netd
		check timeout 300 "$ROOT/build/host/nbdload" $PORT disk disk.img model.img $((SEED + round)) 32000000
		pauses
		cat check.out
		atf_check cmp model.img disk.img
	done
	finish nvmed netd
	cmp model.img disk.img || capos_fail 'the disk changed after the last flush'
}

for lane in '' without_an_iommu; do
	for t in servers_die_and_copies_go_on:copies_go_on servers_die_and_the_disk_is_as_its_model_says:loads_are_right; do
		name=${t%:*}${lane:+_$lane}
		atf_test_case $name
		eval "${name}_head() { atf_set timeout 1800; }"
		eval "${name}_body() { ${t#*:} ${lane:+IOMMU=none}; }"
	done
done

atf_init_test_cases() {
	atf_add_test_case servers_die_and_copies_go_on
	atf_add_test_case servers_die_and_copies_go_on_without_an_iommu
	atf_add_test_case servers_die_and_the_disk_is_as_its_model_says
	atf_add_test_case servers_die_and_the_disk_is_as_its_model_says_without_an_iommu
}
