#! /usr/bin/env atf-sh
# DMA domains: grants that come into force late.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# D2: a unit in caching mode may remember that nothing was mapped; each grant waits for its invalidation.
atf_test_case a_unit_in_caching_mode_serves_a_disk
a_unit_in_caching_mode_serves_a_disk_head() { atf_set timeout 600; }
a_unit_in_caching_mode_serves_a_disk_body() {
	[ "$ARCH" = x86_64 ] || atf_skip 'caching mode is of VT-d'
	capos_disk disk.img 4M 31
	capos_boot DISK=disk.img QEMU_EXTRA='-global intel-iommu.caching-mode=on' \
	    CMD='sha256 nvme0n1; kill nvmed; sha256 nvme0n1; iommu; mem'
	[ "$(grep -c "^$(capos_sha256 disk.img)  nvme0n1" serial.txt)" -eq 2 ] || capos_fail 'a hash is wrong or missing'
	capos_expect 'caching mode' 'faults 0, lost 0' 'quarantined 0$'
	# One invalidation for each grant, and one for each that was taken back.
	maps=$(capos_value 'maps ([0-9]+)') unmaps=$(capos_value 'unmaps ([0-9]+)')
	[ "$(capos_value 'invalidations ([0-9]+)')" -ge $((maps + unmaps)) ] || capos_fail 'grants were not invalidated'
}

atf_init_test_cases() {
	atf_add_test_case a_unit_in_caching_mode_serves_a_disk
}
