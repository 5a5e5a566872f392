#! /usr/bin/env atf-sh
# The IOMMUs that are not the architecture's default: the main job through each, its labels, and an attack.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# A word of guest memory, as QEMU's monitor shows it.
memory_at() {
	: >monitor.txt
	capos_monitor "xp /2gx $1"
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		sleep 0.2
		grep -a '^0000' monitor.txt && return
	done
	capos_fail "the monitor does not show memory at $1"
}

# rogue_write [NAME=value...]: a driver lets its disk write to an address that is nobody's, and memory at that address
# must be the same afterwards.  The device itself may report success: so memory is asked.
rogue_write() {
	capos_disk disk.img 1M 30
	capos_start DISK=disk.img MANIFEST=mapped "$@"
	capos_wait '^capos> ' 300
	memory_at 0x5000 >before.txt
	capos_type 'rogue 0 w 0x5000'
	capos_wait '^rogue: call success'
	memory_at 0x5000 >after.txt
	capos_type 'poweroff'
	capos_end
	cmp -s before.txt after.txt || capos_fail "memory at the address changed: $(cat before.txt after.txt)"
}

atf_test_case an_iommu_that_does_not_go_with_the_machine_is_said_so
an_iommu_that_does_not_go_with_the_machine_is_said_so_body() {
	case $ARCH in arm64) other=amd ;; *) other=smmuv3 ;; esac
	capos_boot -s 2 IOMMU=$other
	grep -q "IOMMU=$other does not go with ARCH=$ARCH; valid" qemu.err || capos_fail 'it was not refused'
}

atf_test_case the_hash_through_amd_vi
the_hash_through_amd_vi_head() { atf_set timeout 900; }
the_hash_through_amd_vi_body() {
	capos_disk disk.img 16M 31
	capos_boot DISK=disk.img IOMMU=amd SMP=4 CMD='devices; iommu; sha256 nvme0n1; kill nvmed; sha256 nvme0n1'
	[ "$(grep -c "^$(capos_sha256 disk.img)  nvme0n1" serial.txt)" -eq 2 ] || capos_fail 'a hash is wrong or missing'
	capos_expect 'direct-remapping by amdvi0: .*fault_reporting=none' \
	    '^amdvi0: AMD-Vi, 4 levels.*interrupt remapping, fault_reporting=none'
	capos_refute 'interrupt_isolation=none'
	# Its emulator cannot without being told: then messages pass as they are, and the manifest would have to consent.
	capos_boot DISK=disk.img IOMMU=amd QEMU_EXTRA='-set device.iommu0.intremap=off' CMD='blk'
	capos_expect 'amdvi0: no interrupt remapping: ' 'unsupported: interrupt_isolation=none, and the manifest does not consent'
}

# The emulator's unit reports no faults: probe finds that out, and without consent the device is refused.
atf_test_case silent_amd_vi_needs_the_manifests_consent
silent_amd_vi_needs_the_manifests_consent_body() {
	capos_disk disk.img 1M 32
	capos_boot DISK=disk.img IOMMU=amd MANIFEST=default CMD='devices; blk'
	capos_expect 'unsupported: fault_reporting=none, and the manifest does not consent' '^no disks'
	capos_refute 'bus master on'
}

atf_test_case a_stray_write_does_not_pass_amd_vi
a_stray_write_does_not_pass_amd_vi_head() { atf_set timeout 900; }
a_stray_write_does_not_pass_amd_vi_body() {
	rogue_write IOMMU=amd
}

# D9: with interrupt remapping a device's messages are checked against its id; without, the label says so.
atf_test_case interrupts_are_remapped_where_the_unit_can
interrupts_are_remapped_where_the_unit_can_head() { atf_set timeout 900; }
interrupts_are_remapped_where_the_unit_can_body() {
	capos_disk disk.img 1M 34
	for more in '' eim=on caching-mode=on; do
		capos_boot DISK=disk.img SMP=2 QEMU_EXTRA="${more:+-set device.iommu0.$more}" \
		    CMD='iommu; sha256 nvme0n1; kill nvmed; sha256 nvme0n1'
		capos_expect '^vtd0: .*interrupt remapping' 'direct-remapping by vtd0'
		capos_refute 'interrupt_isolation=none'
		[ "$(grep -c "^$(capos_sha256 disk.img)  nvme0n1" serial.txt)" -eq 2 ] || capos_fail "$more: a hash is wrong or missing"
	done
	# The console's line goes through it too.
	capos_start
	capos_wait '^capos> ' 300
	capos_type 'iommu'
	capos_wait '^vtd0: .*interrupt remapping'
	capos_type 'poweroff'
	capos_end
	# Without it: refused by name, or by consent.
	capos_boot DISK=disk.img QEMU_EXTRA='-set device.iommu0.intremap=off' CMD='blk'
	capos_expect 'vtd0: no interrupt remapping: ' 'unsupported: interrupt_isolation=none, and the manifest does not consent' \
	    '^no disks'
	capos_refute 'bus master on'
	capos_boot DISK=disk.img MANIFEST=virtio QEMU_EXTRA='-set device.iommu0.intremap=off' CMD='sha256 nvme0n1'
	capos_expect 'direct-remapping by vtd0: .*interrupt_isolation=none \(consent\)' "^$(capos_sha256 disk.img)  nvme0n1"
}

atf_test_case the_hash_through_virtio_iommu
the_hash_through_virtio_iommu_head() { atf_set timeout 900; }
the_hash_through_virtio_iommu_body() {
	capos_disk disk.img 16M 35
	for more in '' boot-bypass=off; do
		capos_boot DISK=disk.img IOMMU=virtio SMP=4 QEMU_EXTRA="${more:+-set device.iommu0.$more}" \
		    CMD='iommu; sha256 nvme0n1; kill nvmed; sha256 nvme0n1'
		[ "$(grep -c "^$(capos_sha256 disk.img)  nvme0n1" serial.txt)" -eq 2 ] || capos_fail "$more: a hash is wrong or missing"
		capos_expect '^viommu0: virtio-iommu, .* bypass off' 'direct-remapping by viommu0'
		# An ITS checks messages; on a PC nobody does behind this unit, and the manifest consents (D9).
		case $ARCH in
		arm64) capos_refute 'interrupt_isolation=none' ;;
		*) capos_expect 'direct-remapping by viommu0: .*interrupt_isolation=none \(consent\)' ;;
		esac
	done
	[ "$ARCH" = x86_64 ] || return 0
	capos_boot DISK=disk.img IOMMU=virtio MANIFEST=default CMD='blk'
	capos_expect 'unsupported: interrupt_isolation=none, and the manifest does not consent' '^no disks'
	capos_refute 'bus master on'
}

atf_test_case a_stray_access_does_not_pass_virtio_iommu
a_stray_access_does_not_pass_virtio_iommu_head() { atf_set timeout 900; }
a_stray_access_does_not_pass_virtio_iommu_body() {
	[ "$ARCH" = arm64 ] || rogue_write IOMMU=virtio
	capos_disk disk.img 8M 36
	capos_boot DISK=disk.img IOMMU=virtio MANIFEST=mapped CMD='rogue 0 w 0x5000; rogue 0 r 0x7000; sleep 500; iommu; sha256 nvme0n1 4096 1M'
	capos_expect 'viommu0: fault: device 00:0[0-9a-f]\.0 .* iova 0x5000: not mapped' \
	    "^$(capos_sha256 disk.img 4096 1048576)  nvme0n1"
	[ "$(capos_value 'faults ([0-9]+), lost')" -ge 2 ] || capos_fail 'the unit counted no faults'
}

# A unit whose pages are larger than ours could not keep two grants apart (DMA-52).
atf_test_case virtio_iommu_with_large_pages_is_refused_by_name
virtio_iommu_with_large_pages_is_refused_by_name_body() {
	capos_disk disk.img 1M 37
	capos_boot DISK=disk.img IOMMU=virtio QEMU_EXTRA='-set device.iommu0.granule=64k' CMD='devices; blk'
	capos_expect 'viommu0: refused: its smallest page is larger than ours' 'unsupported: its IOMMU is not in use' '^no disks'
	capos_refute 'bus master on'
}

atf_init_test_cases() {
	atf_add_test_case an_iommu_that_does_not_go_with_the_machine_is_said_so
	atf_add_test_case the_hash_through_virtio_iommu
	atf_add_test_case a_stray_access_does_not_pass_virtio_iommu
	atf_add_test_case virtio_iommu_with_large_pages_is_refused_by_name
	[ "$ARCH" = x86_64 ] || return 0
	atf_add_test_case interrupts_are_remapped_where_the_unit_can
	atf_add_test_case the_hash_through_amd_vi
	atf_add_test_case silent_amd_vi_needs_the_manifests_consent
	atf_add_test_case a_stray_write_does_not_pass_amd_vi
}
