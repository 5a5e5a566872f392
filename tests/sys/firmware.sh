#! /usr/bin/env atf-sh
# What firmware says is wrong: one clear line each, and a system as alive as it can be.
#
# x86_64: ACPI tables are changed in memory after firmware made them, before the kernel's first instruction (TAMPER:
# tests/lib/tamper.c).  arm64: the board's own device tree is edited and given back, or broken in memory.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# alive NAME=value...: boots with disk.img, and the hash of it comes out right.
alive() {
	capos_boot DISK=disk.img "$@" CMD='sha256 nvme0n1'
	capos_expect "^$(capos_sha256 disk.img)  nvme0n1"
}

# refused NAME=value...: boots to the shell; no device does DMA by this machine's IOMMU.
refused() {
	capos_boot DISK=disk.img "$@" CMD='devices; ps'
	capos_expect ' shell '
	capos_refute 'direct-remapping'
}

# stopped REASON NAME=value...: one line says why nothing can be started; the machine is off or halted.
stopped() {
	reason=$1; shift
	capos_boot -s 1 DISK=disk.img "$@" CMD='ps'
	capos_expect "^capos: cannot start: $reason"
	capos_refute '^capos>' ' [0-9a-z_]+\+0x'
}

# tree SED-SCRIPT: tree.dtb is the board's device tree, edited.
tree() {
	if [ ! -e board.dts ]; then
		env DISK=none MACHINE="virt,dumpdtb=$PWD/board.dtb" "$ROOT/tools/run" </dev/null >dump.out 2>&1
		dtc -q -I dtb -O dts -o board.dts board.dtb || { cat dump.out; atf_fail 'no device tree of the board'; }
	fi
	sed -E "$1" board.dts >tree.dts
	! cmp -s board.dts tree.dts || atf_fail "this edit changes nothing: $1"
	dtc -q -I dts -O dtb -o tree.dtb tree.dts || atf_fail "not a tree: $1"
}

atf_test_case a_broken_device_tree_is_said_so
a_broken_device_tree_is_said_so_head() { atf_set timeout 900; }
a_broken_device_tree_is_said_so_body() {
	capos_disk disk.img 1M 40
	# The magic; a size beyond memory, less than the header, less than the blocks; structure and strings somewhere else;
	# a version that cannot be read; a structure block that is cut, or full of nothing.
	for steps in 'put 0 00000000' 'put 4 ffffffff' 'put 4 00000010' 'put 4 00000800' 'put 8 00100000' 'put 12 7fffffff' \
	    'put 20 00000010' 'put 36 00000100' 'put 0x100 00000000000000000000000000000000' 'put 0x40 00000009'; do
		stopped 'no usable device tree' TAMPER="tree $steps"
	done
}

atf_test_case absurd_nodes_of_a_device_tree_cost_what_they_describe
absurd_nodes_of_a_device_tree_cost_what_they_describe_head() { atf_set timeout 900; }
absurd_nodes_of_a_device_tree_cost_what_they_describe_body() {
	capos_disk disk.img 1M 41
	with="QEMU_EXTRA=-dtb $PWD/tree.dtb"

	# Processors: this one goes on.
	tree '/^\tcpus \{/,/^\t\};/d'
	alive "$with"
	capos_expect 'FDT: no /cpus'
	capos_refute 'cpus: [0-9]+ online'
	tree 's/^(\t\t\treg = )<0x03>/\1<0x01>/'
	alive "$with"
	capos_expect 'cpu@3: its id is another.s: ignored' 'cpus: 3 online'

	# The console: this board's place of it is known.
	tree '/^\tpl011@9000000 \{/,/^\t\};/d'
	alive "$with"
	capos_expect 'FDT: no console that is known'
	tree 's/reg = <0x00 0x9000000 0x00 0x1000>/reg = <0x00 0x50000000 0x00 0x1000>/'
	alive "$with"
	capos_expect 'FDT: console pl011@9000000 has no usable registers'

	# PCI: no devices.
	for edit in 's/reg = <0x40 0x10000000 0x00 0x10000000>/reg = <0x00 0x50000000 0x00 0x10000000>/' \
	    's/reg = <0x40 0x10000000 0x00 0x10000000>/reg = <0xffffffff 0xf0000000 0x00 0x10000000>/' \
	    's/bus-range = <0x00 0xff>/bus-range = <0xff 0x00>/'; do
		tree "$edit"
		refused "$with"
		capos_expect 'FDT: PCI host pcie@10000000: (no usable registers|absurd bus-range): ignored'
	done

	# The IOMMU and the map to it: no device does DMA through it.
	tree 's/reg = <0x00 0x9050000 0x00 0x20000>/reg = <0x00 0x50000000 0x00 0x20000>/'
	refused "$with"
	capos_expect 'FDT: smmuv3@9050000 has no usable registers: refused'
	tree 's/iommu-map = <0x00 0x8007 0x00 0x10000>/iommu-map = <0x00 0x8007 0x00 0xffffffff>/'
	refused "$with"
	capos_expect 'FDT: iommu-map: entry at 0 has an absurd run'
	tree 's/iommu-map = <0x00 0x8007 0x00 0x10000>/iommu-map = <0x00 0x9999 0x00 0x10000>/'
	refused "$with"
	capos_expect "FDT: iommu-map: phandle 0x9999 is nobody's"
}

atf_test_case a_device_tree_without_clock_or_interrupts_stops_in_order
a_device_tree_without_clock_or_interrupts_stops_in_order_head() { atf_set timeout 900; }
a_device_tree_without_clock_or_interrupts_stops_in_order_body() {
	capos_disk disk.img 1M 42
	with="QEMU_EXTRA=-dtb $PWD/tree.dtb"
	tree '/^\ttimer \{/,/^\t\};/d'
	stopped 'no clock that could be used' "$with"
	capos_expect 'FDT: no arm,armv8-timer' 'I power off'
	tree '/^\ttimer \{/,/^\t\};/s/interrupts = .*/interrupts = <1 2>;/'
	stopped 'no clock that could be used' "$with"
	tree '/^\tintc@/,/^\t\};/s/reg = <0x00 0x8000000 .*/reg = <0x00 0x8000000>;/'
	stopped 'no interrupt controller that could be used' "$with"
	capos_expect 'FDT: GICv3: the distributor has no usable registers'
}

atf_test_case acpi_tables_with_wrong_checksums_or_lengths_are_ignored_by_name
acpi_tables_with_wrong_checksums_or_lengths_are_ignored_by_name_head() { atf_set timeout 900; }
acpi_tables_with_wrong_checksums_or_lengths_are_ignored_by_name_body() {
	capos_disk disk.img 1M 43

	# What the machine can do without.
	alive TAMPER='table APIC put 9 00'
	capos_expect 'ACPI: table APIC has a wrong checksum: ignored' 'using its usual place'
	alive TAMPER='table APIC put 4 20000000'
	capos_expect 'ACPI: table APIC has (length 32|a wrong checksum): ignored'
	alive TAMPER='table HPET put 4 ffffffff'
	capos_expect 'ACPI: table HPET has length 4294967295: ignored'
	# It cannot be switched off then: it says so and halts.
	alive TAMPER='table FACP put 9 00'
	capos_expect 'ACPI: table FACP has a wrong checksum: ignored' '^capos: off: this machine cannot be switched off'
	alive TAMPER='table DSDT put 9 00'
	capos_expect 'ACPI: table DSDT has a wrong checksum: ignored' '^capos: off'

	# Without DMAR no device is behind an IOMMU; without MCFG only half of a device can be seen.
	for steps in 'put 9 00' 'put 4 31000000' 'put 4 ffffff7f'; do
		refused TAMPER="table DMAR $steps"
		# Whether an IOMMU is in the way is not known, so it is not brokered either.
		capos_expect 'ACPI: table DMAR has (a wrong checksum|length [0-9]+): ignored' "iommu: none in firmware's tables"
		capos_refute 'brokered'
	done
	refused TAMPER='table MCFG put 9 00'
	# Ports reach half of what would have to be looked at before an IOMMU is trusted with a function.
	capos_expect 'ACPI: table MCFG has a wrong checksum: ignored' 'ACPI: no MCFG: no PCI by it' 'PCI: buses 0 to 255 by ports' \
	    'device 00:01.0: .*services no: unsupported'

	# Nothing at all.
	for steps in 'rsdp put 8 00' 'table RSDT put 9 00' 'table RSDT put 4 ffffffff' 'table RSDT put 4 10000000'; do
		refused TAMPER="$steps"
		capos_expect 'ACPI: no root pointer, or no root table behind it' '^capos: off'
	done
}

atf_test_case absurd_entries_of_acpi_tables_are_ignored_by_name
absurd_entries_of_acpi_tables_are_ignored_by_name_head() { atf_set timeout 900; }
absurd_entries_of_acpi_tables_are_ignored_by_name_body() {
	capos_disk disk.img 1M 44
	for length in 00 01 ff; do
		alive TAMPER="table APIC put 45 $length sum"
		capos_expect 'ACPI: MADT: entry at 0x2c (has length|is too short)'
	done
	refused TAMPER='table DMAR put 50 0000 sum'
	capos_expect 'DMAR: subtable at 0x30 has length 0: rest ignored'
	refused TAMPER='table DMAR put 50 ffff sum'
	capos_expect 'DMAR: subtable at 0x30 has length 65535: rest ignored'
	refused TAMPER='table DMAR put 56 0000100000000000 sum'
	capos_expect 'DMAR: unit at 0x30: .* in memory: refused' 'its devices are refused'
	refused TAMPER='table DMAR put 56 0000000000000000 sum'
	capos_expect 'DMAR: unit at 0x30: .* no place for registers: refused' 'its devices are refused'
	for steps in 'put 44 0000100000000000' 'put 44 00000000ffffffff' 'put 54 ff00'; do
		refused TAMPER="table MCFG $steps sum"
		capos_expect 'ACPI: MCFG: entry at 0x2c is absurd, taken, or in memory: ignored'
	done
}

# A BAR that firmware left without an address.  A device tree names windows, so it gets one there, and on this board all do: nobody
# ran before the kernel.  ACPI names none, and then it is refused, and nothing else is.
atf_test_case bars_without_addresses_get_some_where_windows_are_named
bars_without_addresses_get_some_where_windows_are_named_body() {
	capos_disk disk.img 1M 45
	alive TRACE=pci_cfg_write
	# Who writes all ones asks for the size.
	bar=$(sed -n 's/^pci_cfg_write nvme .*@0x10 <- 0x\([0-9a-f]*\)$/\1/p' qemu.err | grep -v -x -e 0 -e ffffffff | tail -n 1)
	[ -n "$bar" ] || capos_fail 'nobody wrote an address'
	tree 's/^(\tchosen \{.*)/\1 linux,pci-probe-only = <1>;/'
	refused QEMU_EXTRA="-dtb $PWD/tree.dtb"
	capos_expect "W pci 00:01.0: a BAR has no address, and firmware's numbers are to be kept: not used" \
	    "unsupported: a BAR has no address, and firmware's numbers are to be kept"
	refused QEMU_EXTRA="-dtb $PWD/tree.dtb" TAMPER='reg 0x4010008000 put 0x10 00000050 is 0x10 04000050'
	capos_expect "W pci 00:01.0: a BAR's address lies outside of the host bridge's windows, and firmware's numbers are to be kept: not used"
}

atf_test_case a_bar_without_an_address_is_refused_where_no_window_is_named
a_bar_without_an_address_is_refused_where_no_window_is_named_body() {
	capos_disk disk.img 1M 46
	capos_disk other.img 1M 47
	capos_boot DISK=disk.img DISKS=other.img TAMPER='pci 0x08 put 4 0000 put 16 00000000 put 20 00000000' \
	    CMD='devices; sha256 nvme1n1'
	capos_expect 'W pci 00:01.0: a BAR has no address: firmware gave none, and its tables name no window to take one from: not used' \
	    '^  unsupported: a BAR has no address: firmware gave none' "^$(capos_sha256 other.img)  nvme1n1" \
	    'device 00:02.0: direct-remapping by vtd0: validated'
	capos_refute 'serial capos0'
	capos_boot DISK=disk.img TAMPER='pci 0x08 put 4 0000 put 16 00000000 put 20 00001000' CMD=devices
	capos_expect "W pci 00:01.0: a BAR's address is none that can be: not used"
}

# traced REGEX...: each matches a line of what QEMU traced, behind the line of the one before it; AT is the last one's number.
AT=0
traced() {
	for regex; do
		n=$(tail -n +$((AT + 1)) qemu.err | grep -n -m 1 -E -e "$regex" | cut -d : -f 1)
		[ -n "$n" ] || capos_fail "not traced behind line $AT: $regex"
		AT=$((AT + n))
	done
}
# never REGEX...: no line from AT on matches
never() {
	for regex; do
		! tail -n +"$AT" qemu.err | grep -E -e "$regex" || capos_fail "traced behind line $AT: $regex"
	done
}

# An IOMMU that was left on, with tables of firmware's, or that refuses everything as a whole.  The tool programs it before the kernel's
# first instruction, and looks at the registers.
atf_test_case an_iommu_that_firmware_left_on_is_taken_over
an_iommu_that_firmware_left_on_is_taken_over_head() { atf_set timeout 900; }
an_iommu_that_firmware_left_on_is_taken_over_body() {
	capos_disk disk.img 1M 48
	if [ "$ARCH" = arm64 ]; then
		# GBPA.ABORT; then CR0.SMMUEN with a stream table of one entry, which is zeros.
		alive TAMPER='reg 0x9050000 is 0x44 00100000 put 0x44 00001080 is 0x44 00001000'
		capos_expect 'device 00:01.0: direct-remapping by smmu0: validated'
		alive TAMPER='reg 0x9050000 is 0x24 00000000 put 0x20 01000000 is 0x24 01000000'
		capos_expect 'device 00:01.0: direct-remapping by smmu0: validated'
	else
		# A root table of zeros, then translation on; a device table of zeros, then the unit on.
		alive TAMPER='reg 0xfed90000 put 0x20 0010000000000000 put 0x18 00000040 is 0x1c 00000040 put 0x18 00000080 is 0x1c 000000c0'
		capos_expect 'device 00:01.0: direct-remapping by vtd0: validated'
		alive IOMMU=amd TAMPER='reg 0xfed80000 put 0 0110000000000000 put 0x18 0100000000000000 is 0x18 0100000000000000'
		capos_expect 'device 00:02.0: direct-remapping by amdvi0: validated'
	fi
}

# identifies CONFIGURATION BAR MEMORY: steps that give the disk's controller the address 0xBAR000000 and queues at 0xMEMORY004000 and
# 0xMEMORY005000, and have it write who it is to 0xMEMORY006000.  It reached memory: its vendor stands there.
identifies() {
	echo "$1 put 4 0600 put 16 000000$2 put 20 00000000 reg 0x${2}000000 put 0x14 00000000
	    reg 0x${3}004000 put 0 06000100 put 24 006000${3}00000000 put 40 01000000
	    reg 0x${2}000000 put 0x24 0f000f00 put 0x28 004000${3}00000000 put 0x30 005000${3}00000000 put 0x14 01004600
	    put 0x1000 01000000 reg 0x${3}006000 is 0 361b"
}

# Tables of firmware's that let the disk reach memory, and a disk that did, so that the unit has it cached: from the kernel's first
# write to the unit on nothing passes by them, and there is no moment at which everything passes.
atf_test_case a_device_that_firmware_let_through_has_no_window
a_device_that_firmware_let_through_has_no_window_head() { atf_set timeout 900; }
a_device_that_firmware_let_through_has_no_window_body() {
	capos_disk disk.img 1M 49
	if [ "$ARCH" = arm64 ]; then
		need_qemu 8.1 'an SMMU with GBPA'
		smmu_has_no_window
	else
		vtd_has_no_window
		amdvi_has_no_window
	fi
}
# A stream table whose entry 8 is "bypass".
smmu_has_no_window() {
	alive TRACE='smmuv3_write_mmio smmuv3_translate_bypass smmuv3_translate_disable smmuv3_cmdq_opcode' TAMPER="
	    reg 0x70000200 put 0 0900000000000000
	    reg 0x9050000 put 0x80 0000007000000000 put 0x88 04000000 put 0x20 01000000 is 0x24 01000000
	    $(identifies 'reg 0x4010008000' 10 70)"
	capos_expect 'device 00:01.0: direct-remapping by smmu0: validated'
	# GBPA.ABORT; only then CR0 = 0; a table of the kernel's; CFGI_ALL, TLBI; CR0.SMMUEN.
	traced 'write_mmio addr: 0x20 val:0x1 ' 'translate_bypass .* sid=0x8 .* iova:0x70006000 is_write=1' 'write_mmio addr: 0x'
	never 'translate_(bypass|disable)' 'write_mmio addr: 0x80 val:0x70000000'
	sed -n "${AT}p" qemu.err | grep -q 'addr: 0x44 val:0x801' || capos_fail 'GBPA.ABORT is not the first'
	never 'addr: 0x44 val:0x(.{0,5}|..[02468ace].{5}) '
	traced 'addr: 0x20 val:0x0 ' 'addr: 0x80 val:0x' 'SMMU_CMD_CFGI_STE_RANGE' 'SMMU_CMD_TLBI_NSNH_ALL' 'addr: 0x20 val:0x[0-9a-f]*[13579bdf] '
	never 'addr: 0x20 val:0x[0-9a-f]*[02468ace] '
}
# A root table, a context for 00:01.0, a page of 1 GiB.  Translation stays on while the root table is another.
vtd_has_no_window() {
	alive TRACE='vtd_dmar_enable vtd_reg_dmar_root vtd_inv_desc_cc_global vtd_inv_desc_iotlb_global vtd_iotlb_page_update
	    vtd_iotlb_page_hit vtd_reg_write_gcmd vtd_switch_address_space' TAMPER="
	    reg 0x30000000 put 0 0110003000000000 reg 0x30001080 put 0 0120003000000000 put 8 0101000000000000
	    reg 0x30002000 put 0 8300000000000000
	    reg 0xfed90000 put 0x20 0000003000000000 put 0x18 00000040 is 0x1c 00000040 put 0x18 00000080 is 0x1c 000000c0
	    $(identifies 'pci 0x08' c0 30)"
	capos_expect 'device 00:01.0: direct-remapping by vtd0: validated'
	AT=0
	traced 'vtd_dmar_enable enable 1' 'page_(update|hit) .* sid 0x8 iova 0x30006000 slpte 0x83' 'vtd_reg_write_gcmd'
	never 'vtd_dmar_enable enable 0' 'iommu enabled=0' 'write_gcmd .* value 0x([0-7].{7}|.{1,7})$' 'slpte 0x83 ' 'dmar_root addr 0x30000000'
	traced 'vtd_reg_dmar_root addr 0x' 'vtd_inv_desc_cc_global' 'vtd_inv_desc_iotlb_global'
}
# A device table whose entry for 00:02.0 is valid, translates nothing, and allows reading and writing.  The unit stays on.
amdvi_has_no_window() {
	alive IOMMU=amd TRACE='amdvi_control_status amdvi_all_inval amdvi_translation_result' TAMPER="
	    reg 0x30000200 put 0 0300000000000060 put 8 0100000000000000
	    reg 0xfed80000 put 0 0000003000000000 put 0x18 0100000000000000 is 0x18 0100000000000000
	    $(identifies 'pci 0x10' c0 30)"
	capos_expect 'device 00:02.0: direct-remapping by amdvi0: validated'
	AT=0
	traced 'MMIO_STATUS state 0x1$' 'devid: 00:02.0 gpa 0x30006000 hpa 0x30006000' 'MMIO_STATUS state'
	never 'MMIO_STATUS state 0x[0-9a-f]*[02468ace]$' 'gpa 0x30'
	traced 'amdvi_all_inval'
}

atf_init_test_cases() {
	atf_add_test_case an_iommu_that_firmware_left_on_is_taken_over
	atf_add_test_case a_device_that_firmware_let_through_has_no_window
	case $ARCH in
	arm64)
		atf_add_test_case bars_without_addresses_get_some_where_windows_are_named
		atf_add_test_case a_broken_device_tree_is_said_so
		atf_add_test_case absurd_nodes_of_a_device_tree_cost_what_they_describe
		atf_add_test_case a_device_tree_without_clock_or_interrupts_stops_in_order ;;
	x86_64)
		atf_add_test_case a_bar_without_an_address_is_refused_where_no_window_is_named
		atf_add_test_case acpi_tables_with_wrong_checksums_or_lengths_are_ignored_by_name
		atf_add_test_case absurd_entries_of_acpi_tables_are_ignored_by_name ;;
	esac
}
