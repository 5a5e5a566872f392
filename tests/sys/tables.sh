#! /usr/bin/env atf-sh
# Firmware's tables that contradict themselves about IOMMUs (D10): who is concerned is refused by name, and brokered neither; every
# other device works.
# Requirements: E3
#
# The disks are 00:01.0 and 00:02.0, or one further with AMD-Vi.  x86_64: QEMU puts a table of ours beside its own under another name,
# and the two change names before the kernel's first instruction.  arm64: the board's device tree is edited, or firmware takes ACPI
# tables of ours (tests/lib/shapetables.c).
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

disks() {
	capos_disk disk.img 1M 60
	capos_disk other.img 1M 61
}

# contradicted [NAME=value...]: the second disk is served through its unit (1af4:1057, if that is a function), the first is nobody's.
contradicted() {
	case $ARCH$* in x86_64*IOMMU=amd*) manifest=amd ;; x86_64*) manifest=virtio ;; *) manifest=default ;; esac
	capos_boot DISK=disk.img DISKS=other.img MANIFEST=$manifest "$@" CMD='sleep 300; sha256 nvme1n1; evidence; devices; mem'
	capos_expect "^$(capos_sha256 other.img)  nvme1n1" 'bus master on, 0 faults' 'quarantined 0$'
	capos_refute 'serial capos0' "^$(capos_sha256 disk.img)" 'brokered:'
	[ "$(grep 'bus master on' serial.txt | grep -v -c 1af4:1057)" -eq 1 ] || capos_fail 'more than one device may be a master'
}

# refused FUNCTION REASON: by the step that asks which unit is in its way.
refused() {
	capos_expect "W device $1: unsupported: $2" "^  discovered +NO +$2"
}

# The second disk is held by its unit, and was seen to be.
works() {
	capos_expect "device $1: direct-remapping by $2: validated"
}

# ---- x86_64 -----------------------------------------------------------------------------------

# bytes HEX...: those bytes
bytes() {
	for b in $(echo "$*" | sed 's/ //g; s/../& /g'); do printf "\\$(printf %03o "0x$b")"; done
}

# table NAME HEX...: a table of that content behind its header; QEMU and the tool are told by QEMU_EXTRA and TAMPER.  Its own of
# that name is gone then, if there was one.
table() {
	name=$1; shift
	bytes "$@" >"$name.body"
	with="QEMU_EXTRA=-acpitable sig=Z${name#?},rev=1,data=$PWD/$name.body"
	rename="table Z${name#?} put 0 $(printf %s "$name" | od -An -tx1 -N1 | tr -d ' ') sum"
}
instead() { rename="table $1 put 0 58 $rename"; }

# scope DEVICE FUNCTION: an endpoint on bus 0, as a list of DMAR has it
scope() { printf '0108000000 00 %02x%02x' "$1" "$2"; }
# drhd FLAGS BASE SCOPES: a unit; BASE as eight bytes
drhd() {
	n=$((16 + $(printf %s "$3" | tr -d ' ' | wc -c) / 2))
	printf '0000 %02x%02x %s 00 0000 %s %s' $((n & 255)) $((n >> 8)) "$1" "$2" "$3"
}
VTD='0000d9fe00000000'		# where QEMU's unit is
NONE='0000dafe00000000'		# nothing is there
IOAPIC='0308000000 ff 0000'	# QEMU's
HEAD='2601 00000000000000000000'	# 39 bits of address, interrupts are remapped

atf_test_case a_device_that_two_units_of_vt_d_claim_is_refused
a_device_that_two_units_of_vt_d_claim_is_refused_head() { atf_set timeout 600; }
a_device_that_two_units_of_vt_d_claim_is_refused_body() {
	disks
	table DMAR "$HEAD" "$(drhd 00 $VTD "$IOAPIC $(scope 1 0) $(scope 2 0)")" "$(drhd 00 $NONE "$(scope 1 0)")"
	instead DMAR
	contradicted "$with" TAMPER="$rename"
	refused '00:01\.0' 'two IOMMUs claim it'
	works '00:02\.0' vtd0
	# Two that cover the rest.
	table DMAR "$HEAD" "$(drhd 01 $VTD "$IOAPIC $(scope 2 0)")" "$(drhd 01 $NONE '')"
	instead DMAR
	contradicted "$with" TAMPER="$rename"
	refused '00:01\.0' 'two IOMMUs claim it'
	capos_expect 'W DMAR: unit at 0x50 is the second for all of segment 0: only lists count'
	works '00:02\.0' vtd0
	# Two units of one place: the second is none, and its devices are behind it all the same.
	table DMAR "$HEAD" "$(drhd 00 $VTD "$IOAPIC $(scope 2 0)")" "$(drhd 01 $VTD '')"
	instead DMAR
	contradicted "$with" TAMPER="$rename"
	refused '00:01\.0' 'behind an IOMMU that was refused'
	capos_expect "W DMAR: unit at 0x50: register base 0xfed90000: another unit's: refused"
	works '00:02\.0' vtd0
	# And two kinds: a virtio unit, which is a disk.
	table VIOT '0300 3000 0000000000000000' '0300 1000 0000 f800 0000000000000000' '0300 1000 0000 1800 0000000000000000' \
	    '0100 1800 08000000 0000 0000 0800 0800 3000 000000000000'
	capos_disk third.img 1M 62
	contradicted DISKS='other.img third.img' "$with" TAMPER="$rename"
	refused '00:01\.0' 'two IOMMUs claim it'
	refused '00:03\.0' "firmware's tables call it an IOMMU"
	works '00:02\.0' vtd0
}

atf_test_case scopes_of_vt_d_that_name_nothing_or_too_much_are_no_way_out
scopes_of_vt_d_that_name_nothing_or_too_much_are_no_way_out_head() { atf_set timeout 600; }
scopes_of_vt_d_that_name_nothing_or_too_much_are_no_way_out_body() {
	disks
	# A function that is not there; a path through a disk; a bus that is nowhere.
	for nothing in "$(scope 30 7)" '010a000000 00 0200 0000' '0108000000 40 0100'; do
		table DMAR "$HEAD" "$(drhd 00 $VTD "$IOAPIC $(scope 2 0) $nothing")"
		instead DMAR
		contradicted "$with" TAMPER="$rename"
		refused '00:01\.0' "in no IOMMU's device scope, and one names nothing that is there"
		works '00:02\.0' vtd0
	done
	# A list that is longer than its unit: who has the rest is not known then.
	table DMAR "$HEAD" "$(drhd 01 $VTD "$IOAPIC $(scope 2 0) 01ff000000 00 0100")"
	instead DMAR
	contradicted "$with" TAMPER="$rename"
	refused '00:01\.0' "firmware's list of IOMMUs could not be read whole"
	works '00:02\.0' vtd0
	# More entries than there is room for.
	table DMAR "$HEAD" "$(drhd 01 $VTD "$IOAPIC $(scope 2 0) $(for i in $(seq 64); do scope 31 5; done)")"
	instead DMAR
	contradicted "$with" TAMPER="$rename"
	refused '00:01\.0' "firmware's list of IOMMUs could not be read whole"
	capos_expect "W machine: [0-9]+ entries of firmware's tables did not fit"
	works '00:02\.0' vtd0
}

# ivhd DEVICE BASE ENTRIES: a unit of AMD-Vi, in the form of type 11h
ivhd() {
	n=$((40 + $(printf %s "$3" | tr -d ' ' | wc -c) / 2))
	printf '11 3c %02x%02x %s 4000 %s 0000 0000 d3290000 %032d %s' $((n & 255)) $((n >> 8)) "$1" "$2" 0 "$3"
}
AMDVI='0000d8fe00000000'
INFO='01280000 0000000000000000'
SPECIAL='48000000 00a00001'	# the I/O APIC

atf_test_case a_device_that_two_units_of_amd_vi_claim_is_refused
a_device_that_two_units_of_amd_vi_claim_is_refused_head() { atf_set timeout 600; }
a_device_that_two_units_of_amd_vi_claim_is_refused_body() {
	disks
	table IVRS "$INFO" "$(ivhd 0800 $AMDVI "02100000 02180000 $SPECIAL")" "$(ivhd 0040 $AMDVI 02100000)"
	instead IVRS
	contradicted IOMMU=amd "$with" TAMPER="$rename"
	refused '00:02\.0' 'two IOMMUs claim it'
	capos_expect 'W IVRS: requesters 0x10 to 0x10 are claimed by two units: by none'
	works '00:03\.0' amdvi0
	# A range that does not end: who is in it is not known.
	table IVRS "$INFO" "$(ivhd 0800 $AMDVI "02180000 $SPECIAL 03100000")"
	instead IVRS
	contradicted IOMMU=amd "$with" TAMPER="$rename"
	refused '00:02\.0' "firmware's list of IOMMUs could not be read whole"
	works '00:03\.0' amdvi0
}

# viot NODES RANGE...: the unit's own function, one that is not there, and ranges
UNITS='03001000 0000 0800 0000000000000000 03001000 0000 f700 0000000000000000'
range() { printf '01001800 %s0000 0000 0000 %s %s %s 000000000000' "$1" "$1" "$2" "$3"; }

atf_test_case a_device_that_two_virtio_units_claim_is_refused
a_device_that_two_virtio_units_claim_is_refused_head() { atf_set timeout 600; }
a_device_that_two_virtio_units_claim_is_refused_body() {
	disks
	table VIOT '0400 3000 0000000000000000' "$UNITS" "$(range 0000 ff00 3000)" "$(range 1000 1000 4000)"
	instead VIOT
	contradicted IOMMU=virtio "$with" TAMPER="$rename"
	refused '00:02\.0' 'two IOMMUs claim it'
	works '00:03\.0' viommu0
	# Behind the one that is not there.
	table VIOT '0400 3000 0000000000000000' "$UNITS" "$(range 1800 1800 3000)" "$(range 1000 1000 4000)"
	instead VIOT
	contradicted IOMMU=virtio "$with" TAMPER="$rename"
	capos_expect 'E viommu1: refused: its PCI function is not there' 'W device 00:02\.0: unsupported: its IOMMU is not in use'
	works '00:03\.0' viommu0
	# More nodes than there are.
	table VIOT 'ffff 3000 0000000000000000' "$UNITS" "$(range 1800 1800 3000)"
	instead VIOT
	contradicted IOMMU=virtio "$with" TAMPER="$rename"
	refused '00:02\.0' "firmware's list of IOMMUs could not be read whole"
	capos_expect 'W VIOT: node 3 of 65535 makes no sense: the rest is ignored'
	works '00:03\.0' viommu0
}

# ---- arm64 ------------------------------------------------------------------------------------

# map CELLS: tree.dtb is the board's, with this map of requesters to units, P the SMMU; TWIN: with a second unit in the same place.
map() {
	if [ ! -e board.dts ]; then
		env DISK=none MACHINE="virt,dumpdtb=$PWD/board.dtb" "$ROOT/tools/run" </dev/null >dump.out 2>&1
		dtc -q -I dtb -O dts -o board.dts board.dtb || { cat dump.out; atf_fail 'no device tree of the board'; }
		unit=$(sed -n -E 's/.*iommu-map = <0x00 (0x[0-9a-f]+) 0x00 0x10000>.*/\1/p' board.dts)
		[ -n "$unit" ] || atf_fail 'no map of requesters'
	fi
	twin='twin@9050000 { compatible = "arm,smmu-v3"; reg = <0 0x9050000 0 0x20000>; #iommu-cells = <1>; phandle = <0x7777>; };'
	sed -E "s/iommu-map = .*/iommu-map = <$(echo "$1" | sed "s/P/$unit/g")>;/
	    /^\tsmmuv3@9050000 \{/,/^\t\};/s/^\t\};/\t};\n\t$twin/" board.dts >tree.dts
	dtc -q -I dts -O dtb -o tree.dtb tree.dts || atf_fail "not a tree: $1"
	with="QEMU_EXTRA=-dtb $PWD/tree.dtb"
}

atf_test_case a_device_tree_that_contradicts_itself_refuses_who_is_concerned
a_device_tree_that_contradicts_itself_refuses_who_is_concerned_head() { atf_set timeout 600; }
a_device_tree_that_contradicts_itself_refuses_who_is_concerned_body() {
	disks
	map '0 P 0 0x10000 8 P 0x1000 1'
	contradicted "$with"
	refused '00:01\.0' 'its IOMMU has it by two ids'
	works '00:02\.0' smmu0
	map '0 P 0 0x10000 8 0x7777 8 1'
	contradicted "$with"
	refused '00:01\.0' 'two IOMMUs claim it'
	capos_expect "W FDT: twin@9050000 has another unit's registers: refused"
	works '00:02\.0' smmu0
	map '8 0x7777 8 1 16 P 16 8'
	contradicted "$with"
	refused '00:01\.0' 'behind an IOMMU that was refused'
	works '00:02\.0' smmu0
	map '16 P 16 8 8'
	contradicted "$with"
	refused '00:01\.0' "firmware's list of IOMMUs could not be read whole"
	capos_expect 'W FDT: iommu-map: entry at 16 is cut off: the rest is ignored'
	works '00:02\.0' smmu0
}

atf_test_case a_graph_that_contradicts_itself_refuses_who_is_concerned
a_graph_that_contradicts_itself_refuses_who_is_concerned_head() { atf_set timeout 900; }
a_graph_that_contradicts_itself_refuses_who_is_concerned_body() {
	disks
	contradicted BOOT=uefi TABLES='plain iort=twice'
	refused '00:01\.0' 'two IOMMUs claim it'
	capos_expect "W IORT: SMMUv3 at 0x[0-9a-f]+ has another unit's registers: refused"
	works '00:02\.0' smmu0
	contradicted BOOT=uefi TABLES='plain iort=self'
	refused '00:01\.0' 'behind an IOMMU of unknown kind'
	capos_expect 'W IORT: root complex at 0x[0-9a-f]+: mapping 1 leads to no unit that is known'
	works '00:02\.0' smmu0
	# Everybody is concerned by this one.
	capos_boot BOOT=uefi TABLES='plain iort=count' DISK=disk.img DISKS=other.img CMD='sleep 300; evidence; devices; ps'
	capos_expect 'W IORT: node at 0x[0-9a-f]+: its mappings are outside: ignored' ' shell '
	refused '00:01\.0' "firmware's list of IOMMUs could not be read whole"
	refused '00:02\.0' "firmware's list of IOMMUs could not be read whole"
	capos_refute 'bus master on' 'brokered:'
}

atf_init_test_cases() {
	case $ARCH in
	arm64)
		atf_add_test_case a_device_tree_that_contradicts_itself_refuses_who_is_concerned
		atf_add_test_case a_graph_that_contradicts_itself_refuses_who_is_concerned ;;
	x86_64)
		atf_add_test_case a_device_that_two_units_of_vt_d_claim_is_refused
		atf_add_test_case scopes_of_vt_d_that_name_nothing_or_too_much_are_no_way_out
		atf_add_test_case a_device_that_two_units_of_amd_vi_claim_is_refused
		atf_add_test_case a_device_that_two_virtio_units_claim_is_refused ;;
	esac
}
