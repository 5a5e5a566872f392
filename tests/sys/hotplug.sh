#! /usr/bin/env atf-sh
# Cards that come and go (PCIe hot plug): the emulator's "device_del" presses the button of the slot, and takes the card out when
# its power is off.  docs/dma.md, "Cards that come and go".
# Requirements: E7
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"
. "$(atf_get_srcdir)/../../../tests/lib/teardown.subr"

# Two slots: in the first a disk that gives so many bytes a second, so that a load lasts; the second is empty.  On a PC the
# emulator keeps hot plug to ACPI unless told otherwise.
#
#	fabric	more bridges		port	where the disk is		late	it comes when the machine runs
fabric= port=port0 late=
slots() {
	bps=$1; shift
	case $ARCH in x86_64) native='-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off' ;; *) native= ;; esac
	capos_start QEMU_EXTRA="$native -device pcie-root-port,id=port0,chassis=1,slot=1
	    -device pcie-root-port,id=port1,chassis=2,slot=2
	    $fabric
	    -drive if=none,id=first,format=raw,file.filename=disk.img,file.locking=off,throttling.bps-total=$bps
	    ${late:--device nvme,id=card0,serial=one,drive=first,bus=$port}" "$@"
	[ -z "$late" ] || {
		capos_wait 'slots whose cards may come and go'
		capos_wait 'cpus: '
		capos_monitor "device_add nvme,id=card0,serial=one,drive=first,bus=$port"
		capos_wait 'a card was plugged in'
	}
	capos_wait 'nvmed: NVMe'
}

# unplug ID     and waits until the slot has no power
unplug() {
	capos_monitor "device_del $1"
	capos_wait 'its button was pressed: the card leaves in 5 seconds'
	capos_wait 'its card can be taken out'
}

# plug ID SERIAL PORT FILE      (who has just been unplugged may still hold the file)
plug() {
	capos_monitor "drive_add 0 if=none,id=$1drive,format=raw,file.filename=$4,file.locking=off"
	capos_monitor "device_add nvme,id=$1,serial=$2,drive=$1drive,bus=$3"
	capos_wait 'a card was plugged in'
}

# The disk leaves under a load that waits for it, and comes back: the driver ends, memory is let go in the order of D7, and the
# client goes on with the successor (D12).  Afterwards everything is as it was.
under_load() {
	lane=$1; shift
	capos_disk disk.img 16M 90
	slots 2097152 "$@"
	capos_type 'sha256 nvme0n1 0 64K; mem'
	capos_wait '^handles '
	capos_type 'sha256 nvme0n1'
	sleep 0.5
	unplug card0
	plug card1 one $port disk.img
	capos_wait "^$(capos_sha256 disk.img)  nvme0n1  \\(server restarted"
	capos_type 'sha256 nvme0n1 0 64K; mem; trace 2000'
	capos_wait '^handles '
	capos_wait 'slot power: .*, on'
	capos_wait 'cpu [0-9]+ bus master: .*, on'
	capos_type 'devices; poweroff'
	capos_end
	teardown_judge "$lane" 3 1
	# The power goes when the claim is over, and not before.
	awk '/cpu [0-9]+ device free: /{ free = 1 } /cpu [0-9]+ slot power: .*, off/{ off = 1; if (!free) exit 1 } END { exit !off }' serial.txt ||
	    capos_fail 'the power went before the claim was over'
	capos_expect 'device 0[0-9]:00.0: unplugged: nvmed ends, its clients wait' 'NVMe controller .* nvmed \([0-9]+\), bus master on'
	for what in '^objects:' 'quarantined 0$'; do
		[ "$(grep -E "$what" serial.txt | sed 's/total.*kernel [0-9]* //; s/iommu [0-9]*//' | sort -u | wc -l)" -eq 1 ] ||
		    capos_fail "changed: $(grep -E "$what" serial.txt | tr '\n' ' ')"
	done
	capos_refute 'cpu [0-9]+ dma quarantine' 'quarantined:'
}

atf_test_case a_disk_that_is_unplugged_under_load_and_comes_back_goes_on
a_disk_that_is_unplugged_under_load_and_comes_back_goes_on_head() { atf_set timeout 900; }
a_disk_that_is_unplugged_under_load_and_comes_back_goes_on_body() { under_load direct; }

atf_test_case without_an_iommu_it_goes_on_too
without_an_iommu_it_goes_on_too_head() { atf_set timeout 900; }
without_an_iommu_it_goes_on_too_body() { under_load brokered IOMMU=none; }

# What a virtio-iommu reserves for a card is asked when the card comes.
atf_test_case behind_a_virtio_iommu_it_goes_on_too
behind_a_virtio_iommu_it_goes_on_too_head() { atf_set timeout 900; }
behind_a_virtio_iommu_it_goes_on_too_body() {
	late=' '		# nobody was there at boot
	under_load direct IOMMU=virtio
	[ "$(grep -c 'device 01:00.0: direct-remapping by viommu0: validated' serial.txt)" -ge 2 ] || capos_fail 'not tested live again'
}

# The emulator's AMD-Vi knows a card by its own id when it comes after the buses have their numbers (canary.sh).
atf_test_case behind_amd_vi_it_goes_on_too
behind_amd_vi_it_goes_on_too_head() { atf_set timeout 900; }
behind_amd_vi_it_goes_on_too_body() {
	[ "$ARCH" = x86_64 ] || atf_skip 'the unit is of PCs'
	late=' '
	under_load direct IOMMU=amd
	[ "$(grep -c 'device 01:00.0: direct-remapping by amdvi0: validated, silent (consent)' serial.txt)" -ge 2 ] ||
	    capos_fail 'not tested live again'
}

# Below a switch.  The emulator's has no ACS: who is alone there is claimed, and comes back; a second beside it would not be kept apart.
switch='-device x3130-upstream,id=up,bus=port1 -device xio3130-downstream,id=down0,bus=up,chassis=3,slot=3
    -device xio3130-downstream,id=down1,bus=up,chassis=4,slot=4'
atf_test_case below_a_switch_it_goes_on_too
below_a_switch_it_goes_on_too_head() { atf_set timeout 900; }
below_a_switch_it_goes_on_too_body() {
	fabric=$switch port=down0
	under_load direct
	capos_expect '104c:8233 060400 PCI bridge'
}

atf_test_case below_a_switch_a_second_card_is_not_kept_apart
below_a_switch_a_second_card_is_not_kept_apart_head() { atf_set timeout 900; }
below_a_switch_a_second_card_is_not_kept_apart_body() {
	fabric=$switch port=down0
	capos_disk disk.img 1M 90
	capos_disk other.img 1M 92
	slots 0
	plug card1 two down1 other.img
	capos_wait 'nvmed is not started: refused'
	capos_type 'sha256 nvme0n1'
	capos_wait "^$(capos_sha256 disk.img)  nvme0n1"
	# It leaves, and the first one too; then there is nobody whom it could reach.
	unplug card1
	unplug card0
	plug card2 two down1 other.img
	capos_wait 'nvmed: NVMe .*serial two'
	capos_type 'devices; mem; poweroff'
	capos_end
	capos_expect 'unsupported: it was plugged in where it is not kept apart from others' 'quarantined 0$'
	# At boot they are one group.
	capos_boot QEMU_EXTRA="-device pcie-root-port,id=port1,chassis=2,slot=2 $(echo $switch)
	    -drive if=none,id=one,format=raw,file=other.img -device nvme,serial=one,drive=one,bus=down0
	    -drive if=none,id=two,format=raw,file=disk.img -device nvme,serial=two,drive=two,bus=down1" CMD='devices'
	[ "$(sed -n -E 's/.*NVMe controller +group ([0-9]+).*/\1/p' serial.txt | sort | uniq -c | awk '$1 == 2' | wc -l)" -eq 1 ] ||
	    capos_fail 'those below the switch are not a group'
}

# Another disk in the same slot is not what the client had: it is told, and nothing is written.  And a slot that was empty at
# boot gets a card.
atf_test_case another_disk_in_its_place_is_nobodys_successor
another_disk_in_its_place_is_nobodys_successor_head() { atf_set timeout 900; }
another_disk_in_its_place_is_nobodys_successor_body() {
	capos_disk disk.img 16M 91
	capos_disk other.img 16M 92
	capos_disk third.img 1M 93
	slots 2097152
	capos_type 'sha256 nvme0n1'
	sleep 0.5
	unplug card0
	plug card1 two port0 other.img
	capos_wait 'nvmed: NVMe .*serial two'
	capos_wait 'device gone or dead'
	capos_type 'sha256 nvme0n1'
	capos_wait "^$(capos_sha256 other.img)  nvme0n1"
	plug card2 three port1 third.img
	capos_wait 'nvmed: NVMe .*serial three'
	capos_type 'sha256 nvme1n1'
	capos_wait "^$(capos_sha256 third.img)  nvme1n1"
	unplug card2
	unplug card1
	capos_type 'blk; devices; dma; mem; poweroff'
	capos_end
	capos_expect '^nvme0.*its device was taken out' '^nvme1.*its device was taken out' ' unplugged$' 'grants 0 of 0 pages' 'quarantined 0$'
	capos_refute '(nvmed|NVMe controller).*bus master on *$'
}

atf_init_test_cases() {
	atf_add_test_case a_disk_that_is_unplugged_under_load_and_comes_back_goes_on
	atf_add_test_case without_an_iommu_it_goes_on_too
	atf_add_test_case behind_a_virtio_iommu_it_goes_on_too
	atf_add_test_case behind_amd_vi_it_goes_on_too
	atf_add_test_case below_a_switch_it_goes_on_too
	atf_add_test_case below_a_switch_a_second_card_is_not_kept_apart
	atf_add_test_case another_disk_in_its_place_is_nobodys_successor
}
