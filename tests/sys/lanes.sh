#! /usr/bin/env atf-sh
# Lanes: who checks what the driver gives to its device.
# Requirements: S2 M1 M2 M3 M4 N1
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# The kernel checks each entry, copies it, and rings the doorbell; the same server binary, the same bytes.
atf_test_case mediated_reads_the_same_bytes
mediated_reads_the_same_bytes_head() { atf_set timeout 600; }
mediated_reads_the_same_bytes_body() {
	capos_disk disk.img 32M 31
	capos_boot DISK=disk.img CMD='sha256 nvme0n1; kill nvmed; sha256 nvme0n1'
	capos_expect 'doorbells mediated'
	capos_refute 'stays out of use' 'refused:'
	[ "$(grep -c "^$(capos_sha256 disk.img)  nvme0n1" serial.txt)" -eq 2 ] || capos_fail 'a hash is wrong or missing'
}

# Where the manifest says so the driver rings by itself, and the IOMMU is the only guard.
atf_test_case mapped_reads_the_same_bytes
mapped_reads_the_same_bytes_head() { atf_set timeout 600; }
mapped_reads_the_same_bytes_body() {
	capos_disk disk.img 32M 35
	capos_boot DISK=disk.img MANIFEST=mapped CMD='sha256 nvme0n1; kill nvmed; sha256 nvme0n1; dma'
	capos_expect 'doorbells mapped'
	capos_refute '^  queue'
	[ "$(grep -c "^$(capos_sha256 disk.img)  nvme0n1" serial.txt)" -eq 2 ] || capos_fail 'a hash is wrong or missing'
}

# D2, D4, D5: an address that is not granted does not get as far as the device, and the batch is named.  No IOMMU has to fault.
atf_test_case mediated_refuses_a_stray_address_by_name
mediated_refuses_a_stray_address_by_name_head() { atf_set timeout 600; }
mediated_refuses_a_stray_address_by_name_body() {
	capos_disk disk.img 4M 32
	capos_boot -s any DISK=disk.img CMD='rogue 0 w 0x5000; dma; rogue 0 r 0x100000000; sha256 nvme0n1; devices'
	capos_expect 'queue 1, entry [0-9]+: refused: outside of every window' "^$(capos_sha256 disk.img)  nvme0n1"
	capos_expect 'bus master on, 0 faults' '^  queue 1 of .* 1 batches refused, the last: outside of every window' \
	    '^  queue 0 of .* [1-9][0-9]* entries, .* 0 batches refused'
	[ "$(grep -c 'refused: outside of every window' serial.txt)" -ge 2 ] || capos_fail 'one of the two was not refused'
}

# Without an IOMMU the kernel writes every address that the device sees; the label says what that does not contain.
atf_test_case brokered_reads_the_same_bytes
brokered_reads_the_same_bytes_head() { atf_set timeout 600; }
brokered_reads_the_same_bytes_body() {
	capos_disk disk.img 32M 33
	capos_boot DISK=disk.img IOMMU=none CMD='sha256 nvme0n1; killer nvmed 100; sha256 nvme0n1'
	capos_expect 'brokered: .*hostile_hardware_isolation=not-claimed'
	capos_refute 'stays out of use' 'refused:' 'quarantined'
	[ "$(grep -c "^$(capos_sha256 disk.img)  nvme0n1" serial.txt)" -eq 2 ] || capos_fail 'a hash is wrong or missing'
}

# D3, D5: neither a low physical address nor a name that was never given gets past the kernel.
atf_test_case brokered_refuses_a_stray_address_by_name
brokered_refuses_a_stray_address_by_name_head() { atf_set timeout 600; }
brokered_refuses_a_stray_address_by_name_body() {
	capos_disk disk.img 4M 34
	capos_boot -s any DISK=disk.img IOMMU=none CMD='rogue 0 w 0x40200000; rogue 0 r 0x100000; rogue 0 r 0x100000000; sha256 nvme0n1'
	capos_expect 'queue 1, entry [0-9]+: refused: outside of every window' "^$(capos_sha256 disk.img)  nvme0n1"
	[ "$(grep -c 'refused: outside of every window' serial.txt)" -ge 3 ] || capos_fail 'one of the three was not refused'
}

# One binary for every backend: what serves the disk is the file that was built, whoever stands behind the device.
atf_test_case the_server_is_the_same_on_every_backend
the_server_is_the_same_on_every_backend_head() { atf_set timeout 900; }
the_server_is_the_same_on_every_backend_body() {
	case $ARCH in arm64) units='smmuv3 virtio none' ;; *) units='intel amd virtio none' ;; esac
	capos_disk disk.img 4M 36
	server=$(capos_sha256 "$ROOT/build/$ARCH/$BUILD/usr/nvmed")
	for unit in $units; do
		capos_boot DISK=disk.img IOMMU=$unit CMD='sha256 nvme0n1; evidence; evidence json'
		capos_expect "^$(capos_sha256 disk.img)  nvme0n1" "^  driver        nvmed       program file of [0-9]+ bytes, SHA-256 $server" \
		    "\"driver_sha256\": \"$server\""
	done
}

# A device with 32 bits of address, in a machine whose memory goes further: buffers get addresses that it can say.
atf_test_case a_device_of_32_bits_is_served
a_device_of_32_bits_is_served_head() { atf_set timeout 600; }
a_device_of_32_bits_is_served_body() {
	capos_disk disk.img 8M 37
	for unit in '' none; do
		capos_boot DISK=disk.img MEM=6G MANIFEST=narrow ${unit:+IOMMU=$unit} CMD='sha256 nvme0n1; kill nvmed; sha256 nvme0n1; mem'
		capos_refute 'refused:' 'out of range'
		[ "$(grep -c "^$(capos_sha256 disk.img)  nvme0n1" serial.txt)" -eq 2 ] || capos_fail 'a hash is wrong or missing'
	done
}

atf_init_test_cases() {
	atf_add_test_case mediated_reads_the_same_bytes
	atf_add_test_case mapped_reads_the_same_bytes
	atf_add_test_case mediated_refuses_a_stray_address_by_name
	atf_add_test_case brokered_reads_the_same_bytes
	atf_add_test_case brokered_refuses_a_stray_address_by_name
	atf_add_test_case the_server_is_the_same_on_every_backend
	atf_add_test_case a_device_of_32_bits_is_served
}
