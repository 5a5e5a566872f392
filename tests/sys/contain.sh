#! /usr/bin/env atf-sh
# Drivers that lie, drivers that die.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# A driver programs addresses outside its buffers (D2, D11): refused, named in the log with device and address.
atf_test_case a_stray_address_is_refused_and_named
a_stray_address_is_refused_and_named_head() { atf_set timeout 900; }
a_stray_address_is_refused_and_named_body() {
	capos_disk disk.img 8M 20
	capos_boot DISK=disk.img MANIFEST=mapped CMD='rogue 0 w 0x5000; rogue 0 r 0x7000; sleep 500; iommu; sha256 nvme0n1 4096 1M'
	capos_expect 'fault: device 00:0[0-9a-f]\.0 write to iova 0x5000' 'fault: device 00:0[0-9a-f]\.0 read of iova 0x7000' \
	    "^$(capos_sha256 disk.img 4096 1048576)  nvme0n1"
	[ "$(capos_value 'faults ([0-9]+), lost')" -ge 2 ] || capos_fail 'the unit counted no faults'
}

# D11: the emulator's controller reports success for accesses that the IOMMU refused.  No client sees such data: with the
# buffer of its session taken away a read fails, and a session that is closed with such reads in flight ends.
stray() {
	capos_disk disk.img 4M 26
	capos_boot -s 1 DISK=disk.img CMD='rogue 0 r 0x5000; rogue 0 stray; sha256 nvme0n1 0 4096; sha256 nvme0n1 4096 1M' "$@"
	capos_expect 'sha256: read at 0: device error' 'sha256: read at 4096: device error'
	capos_refute '^[0-9a-f]{64}  nvme0n1'
}
atf_test_case a_device_that_reports_success_for_a_refused_access_is_not_believed
a_device_that_reports_success_for_a_refused_access_is_not_believed_head() { atf_set timeout 600; }
a_device_that_reports_success_for_a_refused_access_is_not_believed_body() {
	stray MANIFEST=mapped
	capos_expect 'doorbells mapped' 'rogue: call success, driver success, device status 0x0' 'requests in flight fail'
}

# The same, with virtio-iommu's events.
atf_test_case refused_accesses_that_virtio_iommu_tells_are_not_believed
refused_accesses_that_virtio_iommu_tells_are_not_believed_head() { atf_set timeout 600; }
refused_accesses_that_virtio_iommu_tells_are_not_believed_body() {
	stray IOMMU=virtio MANIFEST=mapped
	capos_expect 'rogue: call success, driver success, device status 0x0' 'requests in flight fail'
}

# Where the kernel checks queues such a read never reaches the device, with an IOMMU and without.
atf_test_case a_buffer_that_was_taken_away_is_refused_where_queues_are_checked
a_buffer_that_was_taken_away_is_refused_where_queues_are_checked_head() { atf_set timeout 600; }
a_buffer_that_was_taken_away_is_refused_where_queues_are_checked_body() {
	for how in MANIFEST=default IOMMU=none; do
		stray $how
		capos_expect 'refused: outside of every window'
		capos_refute 'fault: device'
	done
}

# Kills in a row (D7): the server comes back, nothing leaks.
atf_test_case killing_the_server_leaks_nothing
killing_the_server_leaks_nothing_head() { atf_set timeout 3600; }
killing_the_server_leaks_nothing_body() {
	capos_disk disk.img 1M 21
	n=$(capos_scale 10 100)
	capos_boot DISK=disk.img SMP=4 CMD="sha256 nvme0n1; kill nvmed; sha256 nvme0n1; mem; \
repeat $n 'kill nvmed; sha256 nvme0n1 0 4096'; mem; sha256 nvme0n1"
	[ "$(grep -c "^$(capos_sha256 disk.img)  nvme0n1" serial.txt)" -eq 3 ] || capos_fail 'a hash is wrong or missing'
	[ "$(grep -c 'nvmed ended: killed' serial.txt)" -ge "$n" ] || capos_fail 'fewer kills than asked'
	# Objects, handles and grants are what they were; free pages too.
	for what in '^objects:' '^handles ' 'quarantined 0$'; do
		[ "$(grep -E "$what" serial.txt | sed 's/total.*kernel [0-9]* //; s/iommu [0-9]*//; s/threads [0-9]*//' | sort -u | wc -l)" -eq 1 ] ||
		    capos_fail "changed: $(grep -E "$what" serial.txt | tr '\n' ' ')"
	done
	# A client's thread that has let go may still be ending when they are counted.
	first=$(sed -n 's/^handles .* threads \([0-9]*\),.*/\1/p' serial.txt | head -n 1)
	last=$(sed -n 's/^handles .* threads \([0-9]*\),.*/\1/p' serial.txt | tail -n 1)
	[ $((last - first)) -le 1 ] || capos_fail "threads grew from $first to $last"
	# The unit's tables too: each kill makes new domains.
	first=$(sed -n 's/^pages: .* iommu \([0-9]*\) .*/\1/p' serial.txt | head -n 1)
	last=$(sed -n 's/^pages: .* iommu \([0-9]*\) .*/\1/p' serial.txt | tail -n 1)
	[ "$last" -eq "$first" ] || capos_fail "the unit's tables grew from $first to $last pages"
}

# The server dies while a client reads (D12): the client's requests go to its successor.
atf_test_case killing_the_server_under_load_loses_nothing
killing_the_server_under_load_loses_nothing_head() { atf_set timeout 900; }
killing_the_server_under_load_loses_nothing_body() {
	capos_disk disk.img 64M 22
	capos_boot DISK=disk.img SMP=2 CMD='sha256 nvme0n1 0 1M; killer nvmed 200; sha256 nvme0n1'
	capos_expect "^$(capos_sha256 disk.img)  nvme0n1  \\(server restarted" 'nvmed ended: killed'
}

# The device manager dies: drivers go on, its successor adopts them.
atf_test_case the_device_managers_successor_adopts_drivers
the_device_managers_successor_adopts_drivers_head() { atf_set timeout 900; }
the_device_managers_successor_adopts_drivers_body() {
	capos_disk disk.img 4M 23
	capos_boot DISK=disk.img CMD='sha256 nvme0n1; kill devmgr; sleep 300; sha256 nvme0n1; ps; kill nvmed; sha256 nvme0n1'
	capos_expect 'devmgr ended: killed' 'adopted nvmed'
	# What the dead manager handed to the driver is the driver's in the list, not init's.
	awk '$4 != "running" { next } $3 == "init" { kib = $8 } $3 == "nvmed" { from = $2 } END { exit !(from == 1 && kib > 0 && kib < 8192) }' serial.txt ||
	    capos_fail 'a quota is shown as init'\''s own use'
	[ "$(grep -c "^$(capos_sha256 disk.img)  nvme0n1" serial.txt)" -eq 3 ] || capos_fail 'a hash is wrong or missing'
	[ "$(grep -c 'nvmed ended' serial.txt)" -eq 1 ] || capos_fail 'the driver did not survive its manager'
}

# D10: the manifest may lower the verdict.
atf_test_case without_an_iommu_the_device_is_refused_where_the_manifest_forbids_brokering
without_an_iommu_the_device_is_refused_where_the_manifest_forbids_brokering_body() {
	capos_disk disk.img 1M 24
	capos_boot DISK=disk.img IOMMU=none MANIFEST=direct CMD='devices; blk'
	capos_expect 'unsupported: forbidden by the manifest' 'iommu: none in firmware' '^no disks|does not answer'
	capos_refute 'bus master on'
}

atf_test_case no_disk_is_said_so
no_disk_is_said_so_body() {
	capos_boot CMD='blk; ps'
	capos_expect '^no disks'
}

atf_init_test_cases() {
	atf_add_test_case a_stray_address_is_refused_and_named
	atf_add_test_case a_device_that_reports_success_for_a_refused_access_is_not_believed
	atf_add_test_case refused_accesses_that_virtio_iommu_tells_are_not_believed
	atf_add_test_case a_buffer_that_was_taken_away_is_refused_where_queues_are_checked
	atf_add_test_case killing_the_server_leaks_nothing
	atf_add_test_case killing_the_server_under_load_loses_nothing
	atf_add_test_case the_device_managers_successor_adopts_drivers
	atf_add_test_case without_an_iommu_the_device_is_refused_where_the_manifest_forbids_brokering
	atf_add_test_case no_disk_is_said_so
}
