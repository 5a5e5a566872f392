#! /usr/bin/env atf-sh
# The attacking driver (usr/rogue) on a NIC: chains, tables, indices and registers of virtio, beside an honest NVMe disk and an honest
# virtio disk.
# Requirements: S4 A3 A5 V3
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# begin NAME=value...    the machine, with disk.img, virtio.img and the NIC
begin() {
	capos_start DISK=disk.img VDISK=virtio.img NET=user MANIFEST=rogue-virtio "$@"
	capos_wait '^capos> '
}

# The emulator's AMD-Vi knows what is behind a port only when it came after the bus had its number (docs/evidence.md): so both come late.
begin_late() {
	port='-device pcie-root-port,io-reserve=0'
	capos_start DISK=disk.img NET=none MANIFEST=rogue-virtio QEMU_EXTRA="-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off
	    $port,id=blkport,chassis=1,slot=1 $port,id=netport,chassis=2,slot=2 -netdev user,id=net0
	    -drive if=none,id=vdisk,format=raw,file=virtio.img" "$@"
	capos_wait 'slots whose cards may come and go'
	capos_wait '^capos> '
	late=disable-legacy=on,iommu_platform=on
	capos_monitor "device_add virtio-blk-pci,id=blk0,drive=vdisk,serial=capos-v,bus=blkport,$late"
	capos_wait 'a card was plugged in'
	capos_wait 'blkd: virtio-blk'
	capos_monitor "device_add virtio-net-pci,id=nic0,netdev=net0,romfile=,bus=netport,$late"
	capos_wait 'a card was plugged in'
}

# attack NAME=value...   The honest disks are read while the attacks go on, and again after the attacker was killed.
attack() {
	capos_disk disk.img 2M 76
	capos_disk virtio.img 2M 77
	case $* in *=amd*) begin_late "$@" ;; *) begin "$@" ;; esac
	capos_type 'sha256 nvme0n1; sha256 disk1n1'
	capos_wait 'rogue: that is all'
	capos_type 'kill rogue'
	capos_wait 'rogue ended: killed'
	capos_type 'sha256 nvme0n1; sha256 disk1n1; mem; poweroff'
	capos_end
	capos_expect ' quarantined 0$' 'rogue: a command at first: answered 0'
	capos_refute '^capos: panic'
	for disk in 'disk.img nvme0n1' 'virtio.img disk1n1'; do
		set -- $disk
		[ "$(grep -c "^$(capos_sha256 $1)  $2" serial.txt)" -eq 2 ] || capos_fail "a hash of $2 is wrong or missing"
	done
	ended 'refused by policy.*' 'write of the command register' 'write of a BAR' 'write of the MSI-X control'
	ended 'rights missing' 'grant for writing of memory that may only be read'
	ended 'out of range' 'grant past the end of memory'
	ended '0 bytes are not zero' 'released pages'
	ended '0 bytes changed' 'memory that was not granted for it'
	ended '2 taken, 0 bytes differ' 'writes all over configuration space'
	capos_expect 'rogue: grants: [1-9][0-9]{2,}, then: quota used up$'
	ended success release reset 'end of the claim'
	ended 'stale.*' 'grant after the end'
}

# ended HOW WHAT...      each attack was tried and ended so
ended() {
	how=$1
	shift
	for what; do
		capos_expect "rogue: $what: $how\$"
	done
}

checked() {
	attack "$@"
	ended 'refused: not a queue as it was bound' 'queue address replaced' 'queue of another size' 'queue enabled twice' \
	    'queue that was not bound'
	ended 'refused: enabled too early' 'features at the wrong time'
	ended 'refused: register value not allowed' 'vector that is not there'
	ended 'refused: register not allowed' 'notification by hand' 'queue address read'
	ended 'refused: list of lists' 'loop of descriptors' 'descriptor that leads to itself' 'chain longer than the queue' \
	    'table within a table' 'loop in a table' 'table in a chain' 'table of too many'
	ended 'refused: command id out of range' 'descriptor that leads out of the table' 'head out of the table' \
	    'head far out of the table' 'descriptor that leads out of its table'
	ended 'refused: command id in use' 'one head twice'
	ended 'refused: reserved or unsupported field' 'unknown flags' 'empty buffer' 'table of an odd length' 'table of nothing'
	ended 'refused: addresses in an unsupported form' 'to be read behind what is written'
	ended 'refused: address not aligned' 'table not aligned'
	ended 'refused: outside of every window' 'address in a table' 'table in memory that was not granted' \
	    'answer into the used ring' 'answer into the descriptors that the device reads' 'guess at a physical address' \
	    'command in memory that was not granted' 'page after the window' 'use of a released buffer'
	ended 'refused: runs past its window' 'table past its window' 'answer past its window'
	ended 'refused: wrong direction' 'table that leads to a grant for reading' 'table that the device could write' \
	    'write through a grant for reading' 'read through a grant for writing'
	ended 'refused: index out of range' 'more heads than places' 'heads that go back' 'used entries that are not there'
	ended 'rights missing' 'forged used ring' 'grant of the used ring for writing'
	ended '20000 of 20000 rings without an entry taken' 'doorbell storm'
	ended '[0-9]+ rounds, [0-9]{4,} changes, [0-9]{4,} accepted, [0-9]{4,} refused, 0 astray, 0 bytes changed, 0 faults' \
	    'descriptor changed after the doorbell'
	ended 'stale.*' 'queue of before the reset' 'queue after the end'
	capos_expect 'rogue: a command after refusals: answered 0'
}

atf_test_case mediated_refuses_each_by_name
mediated_refuses_each_by_name_head() { atf_set timeout 600; }
mediated_refuses_each_by_name_body() {
	checked
	checked IOMMU=virtio
}

atf_test_case brokered_refuses_each_by_name
brokered_refuses_each_by_name_head() { atf_set timeout 600; }
brokered_refuses_each_by_name_body() {
	checked IOMMU=none
	capos_expect 'brokered: .*hostile_hardware_isolation=not-claimed'
}

atf_test_case mediated_behind_amd_vi_refuses_each_by_name
mediated_behind_amd_vi_refuses_each_by_name_head() { atf_set timeout 600; }
mediated_behind_amd_vi_refuses_each_by_name_body() {
	checked IOMMU=amd
}

# Chains are not looked at: the IOMMU refuses what they lead to.  The emulator's device says that all went well (D11).
atf_test_case mapped_leaves_addresses_to_the_iommu
mapped_leaves_addresses_to_the_iommu_head() { atf_set timeout 600; }
mapped_leaves_addresses_to_the_iommu_body() {
	for unit in '' IOMMU=virtio $([ "$ARCH" = arm64 ] || echo IOMMU=amd); do
		report='refused by the IOMMU'
		[ "$unit" != IOMMU=amd ] || report='not reported'
		attack MANIFEST=rogue-virtio-mapped $unit
		capos_expect ': validated.*; doorbells mapped'
		ended "$report, device says 0x0" 'guess at a physical address' 'command in memory that was not granted' \
		    'page after the window' 'write through a grant for reading' 'use of a released buffer'
		ended '20000 rings by hand' 'doorbell storm'
		capos_expect 'rogue: a command after the storm: answered 0'
	done
}

# The legacy interface tells a device physical addresses, on every lane.
atf_test_case legacy_virtio_is_refused_by_name
legacy_virtio_is_refused_by_name_head() { atf_set timeout 300; }
legacy_virtio_is_refused_by_name_body() {
	for unit in '' IOMMU=none; do
		capos_boot -s any $unit MANIFEST=wire NET=user NIC=disable-modern=on,disable-legacy=off,iommu_platform=off CMD='sleep 300; ps'
		capos_expect 'unsupported: legacy virtio: it has no modern interface' 'netd is not started: refused'
		capos_refute 'bus master on' 'live test'
	done
}

atf_init_test_cases() {
	atf_add_test_case mediated_refuses_each_by_name
	atf_add_test_case brokered_refuses_each_by_name
	atf_add_test_case mapped_leaves_addresses_to_the_iommu
	[ "$ARCH" = arm64 ] || atf_add_test_case mediated_behind_amd_vi_refuses_each_by_name
	atf_add_test_case legacy_virtio_is_refused_by_name
}
