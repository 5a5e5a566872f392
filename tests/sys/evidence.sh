#! /usr/bin/env atf-sh
# The record of evidence: what it says of machine and system, and that no process sees an address of memory (D3).
# Requirements: E5 N3
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

OUT=$ROOT/build/$ARCH/$BUILD

# json: the record that "evidence json" printed, by itself, in record.json.  What others said meanwhile is between.
json() {
	sed -n '/^{ "machine"/,/ ] }$/p' serial.txt | grep -v '^ *[0-9]*\.[0-9]* [EWID] ' >record.json
	jq -e . record.json >/dev/null || capos_fail 'the record is no JSON'
}
# says FILTER...: each is true of the record
says() {
	for filter; do
		jq -e "$filter" record.json >/dev/null || { cat record.json; capos_fail "the record does not say: $filter"; }
	done
}

# What is checked in every boot, and the labels that follow.  N devices are claimed, each with grants.
checked() {	# N
	json
	says '.host_physical_user_visible == "false"' '.mappings_checked.memory > 100 and .mappings_checked.refused == 0' \
	    'all(.devices[]; .host_physical_user_visible == "false")' \
	    '[.devices[] | select(.claimed) | .host_physical_checks | .grants > 4 and .address_registers >= 8] | length == '$1' and all' \
	    '[.devices[].group] | length > 1' ".system.arch == \"$ARCH\""
}

atf_test_case the_record_tells_machine_and_system
the_record_tells_machine_and_system_head() { atf_set timeout 900; }
the_record_tells_machine_and_system_body() {
	command -v jq >/dev/null || atf_skip 'needs jq'
	capos_disk disk.img 1M 61
	case $ARCH in arm64) units='smmuv3 virtio none' ;; *) units='intel amd virtio none' ;; esac
	for unit in $units; do
		manifest=default nic=user
		case $unit$ARCH in amdx86_64) manifest=amd nic=none ;; virtiox86_64) manifest=virtio ;; esac
		capos_boot DISK=disk.img IOMMU=$unit NET=$nic MANIFEST=$manifest CMD='sleep 500; evidence json; sha256 nvme0n1'
		json
		says '.machine.provider_guess == "QEMU" and .machine.instance_type == null and .machine.guesses_agree' \
		    ".system.boot_archive_sha256 == \"$(capos_sha256 "$OUT/boot-$manifest.cpio")\"" \
		    ".system.boot_archive_bytes == $(wc -c <"$OUT/boot-$manifest.cpio")"
		# The kernel is the one that was built: its file has these bytes.
		build=$(jq -r .system.kernel_build record.json)
		[ ${#build} -eq 40 ] || capos_fail 'no hash of the kernel'
		od -An -v -tx1 "$OUT/kernel.elf" | tr -d ' \n' | grep -q "$build" || capos_fail "the kernel is not $build"
		case $ARCH in
		arm64) says '.machine.described_by == "device-tree"' ;;
		x86_64)
			case $unit in intel) there=DMAR ;; amd) there=IVRS ;; virtio) there=VIOT ;; none) there=none ;; esac
			for table in DMAR IVRS IORT VIOT; do
				[ $table = $there ] && is=present || is=absent
				says ".machine.$table == \"$is\" and .machine.described_by == \"acpi\""
			done ;;
		esac
		case $unit in
		none) says '(.units | length) == 0 and .machine.iommus_described == 0 and all(.devices[]; .unit == null)' ;;
		*) says '(.units | length) == 1 and .machine.iommus_described == 1' '.units[0].name as $u | all(.devices[] | select(.claimed); .unit == $u)' ;;
		esac
		[ $nic = none ] && checked 1 || checked 2
	done
}

# Registers are mapped there: behind an IOMMU, where they hold addresses of the domain.
atf_test_case mapped_registers_are_looked_at
mapped_registers_are_looked_at_head() { atf_set timeout 600; }
mapped_registers_are_looked_at_body() {
	command -v jq >/dev/null || atf_skip 'needs jq'
	capos_disk disk.img 1M 62
	capos_boot DISK=disk.img MANIFEST=mapped CMD='sha256 nvme0n1; evidence json'
	json
	says '.host_physical_user_visible == "false" and .mappings_checked.registers > 0 and .mappings_checked.refused == 0' \
	    '.devices[] | select(.driver == "nvmed") | .host_physical_checks | .mapped_windows > 0 and .grants > 4 and (.registers_checked | not)'
}

atf_init_test_cases() {
	atf_add_test_case the_record_tells_machine_and_system
	atf_add_test_case mapped_registers_are_looked_at
}
