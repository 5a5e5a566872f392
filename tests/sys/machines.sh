#! /usr/bin/env atf-sh
# Large and odd machines: holes, RAM far up, several root buses, tables in pieces; and tables that lie about one of these.
# Requirements: E3
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

OUT=$ROOT/build/$ARCH/${BUILD:-release}
# A disk behind a second root bus, which nothing but the search of that bus finds.
SECOND_ROOT='-device pxb-pcie,id=second,bus_nr=128,bus=pcie.0 -device pcie-root-port,id=behind,bus=second,chassis=9
    -drive if=none,id=d,format=raw,file=disk.img -device nvme,serial=far,drive=d,bus=behind'

# le VALUE BYTES: little endian, as escapes for printf
le() {
	v=$(($1)) n=$2
	while [ "$n" -gt 0 ]; do
		printf '\\%03o' $((v & 255))
		v=$((v >> 8)) n=$((n - 1))
	done
}

# cells ADDRESS: as a device tree has it
cells() { printf '0x%x 0x%x' $(($1 >> 32)) $(($1 & 0xffffffff)); }

# placed REG IMAGE TREE ARCHIVE COMMANDS: the board's tree with memory REG; the kernel started as a loader would, from anywhere.
# QEMU's own loader puts everything at the start of RAM and writes the memory node anew, so four instructions in flash do it:
# x0 = tree, x4 = image, branch.
placed() {
	env DISK=none MEM=8G MACHINE="virt,dumpdtb=$PWD/board.dtb" "$ROOT/tools/run" </dev/null >dump.out 2>&1
	end=$(($4 + $(wc -c <"$OUT/boot-default.cpio")))
	dtc -q -I dtb -O dts board.dtb | sed -E "/memory@/,/};/s/reg = .*/reg = <$1>;/
	    s/linux,initrd-start = .*/linux,initrd-start = <$(cells $4)>;/
	    s/linux,initrd-end = .*/linux,initrd-end = <$(cells $end)>; bootargs = \"cmd=$5%3bpoweroff\";/" >tree.dts
	dtc -q -I dts -O dtb -o tree.dtb tree.dts || atf_fail 'no device tree'
	printf "$(le 0x58000080 4)$(le 0x580000a4 4)$(le 0xaa1f03e1 4)$(le 0xd61f0080 4)$(le $3 8)$(le $2 8)" >flash
	truncate -s 4096 flash
	capos_boot MEM=8G BOOT=uboot BOOT_DISK=none FIRMWARE=flash DISK=disk.img CMD=unused QEMU_EXTRA="
	    -device loader,file=$OUT/Image,addr=$2,force-raw=on -device loader,file=tree.dtb,addr=$3,force-raw=on
	    -device loader,file=$OUT/boot-default.cpio,addr=$4,force-raw=on"
}

atf_test_case memory_may_have_holes
memory_may_have_holes_body() {
	capos_disk disk.img 1M 90
	# 256 MiB; two pages that begin on no large boundary; 6 MiB; 1 GiB far above.
	placed '0 0x40000000 0 0x10000000 0 0x60001000 0 0x2000 0 0xc0200000 0 0x600000 1 0x80000000 0 0x40000000' \
	    0x40200000 0x4f000000 0x48000000 'memtest%20100%3bsha256%20nvme0n1'
	capos_expect 'memory: 128[0-9] MiB' ' 0 wrong' "^$(capos_sha256 disk.img)  nvme0n1" 'cpus: 4 online'
	capos_refute ' [1-9][0-9]* wrong'
}

atf_test_case all_memory_may_lie_above_4_gib
all_memory_may_lie_above_4_gib_body() {
	capos_disk disk.img 1M 91
	placed '1 0x40000000 1 0' 0x140200000 0x14f000000 0x148000000 'memtest%20100%3bsha256%20nvme0n1'
	capos_expect 'memory: 409[0-9] MiB' ' 0 wrong' "^$(capos_sha256 disk.img)  nvme0n1" 'cpus: 4 online'
	capos_refute ' [1-9][0-9]* wrong'
}

# Above 4 GiB it is in every other test.
atf_test_case configuration_space_may_lie_below_4_gib
configuration_space_may_lie_below_4_gib_body() {
	capos_disk disk.img 1M 92
	capos_boot SMP=8 DISK=disk.img QEMU_EXTRA='-machine highmem-ecam=off' CMD='sha256 nvme0n1'
	capos_expect "^$(capos_sha256 disk.img)  nvme0n1" 'cpus: 8 online' 'direct-remapping by smmu0'
}

# On arm64 only firmware's tables tell of them; there configuration space comes in two pieces, the second of which begins at bus
# 128, and each processor's redistributor is a region of its own.
atf_test_case devices_behind_a_second_root_bus_are_found
devices_behind_a_second_root_bus_are_found_head() { atf_set timeout 600; }
devices_behind_a_second_root_bus_are_found_body() {
	capos_disk disk.img 1M 93
	case $ARCH in
	arm64) capos_boot BOOT=uefi TABLES='plain gicr=4 mcfg=split' QEMU_EXTRA="$SECOND_ROOT" CMD='devices; sha256 nvme0n1' ;;
	*) capos_boot SMP=8 QEMU_EXTRA="$SECOND_ROOT" CMD='devices; sha256 nvme0n1' ;;
	esac
	capos_expect '^ *0000:81:00.0 1b36:0010' "^$(capos_sha256 disk.img)  nvme0n1" 'direct-remapping by' 'cpus: [48] online'
}

# Some PCs' configuration space begins at bus 1: bus 0 is reached by ports.
atf_test_case buses_before_the_tables_are_reached_by_ports
buses_before_the_tables_are_reached_by_ports_body() {
	capos_disk disk.img 1M 97
	capos_boot IOMMU=none DISK=disk.img TAMPER='table MCFG put 54 01 sum' CMD='sha256 nvme0n1'
	capos_expect 'PCI: buses 0 to 0 by ports: extended configuration space is out of reach' "^$(capos_sha256 disk.img)  nvme0n1" \
	    'I device 00:01.0: brokered'
}

# ---- Tables that lie, under firmware ----------------------------------------------------------

atf_test_case a_unit_whose_map_leads_to_itself_gives_no_interrupts
a_unit_whose_map_leads_to_itself_gives_no_interrupts_head() { atf_set timeout 600; }
a_unit_whose_map_leads_to_itself_gives_no_interrupts_body() {
	capos_disk disk.img 1M 94
	capos_boot BOOT=uefi TABLES='plain iort=loop' DISK=disk.img CMD='sha256 nvme0n1'
	capos_expect 'W IORT: node at 0x[0-9a-f]+: mapping 0 leads to no ITS that is known: no message interrupts behind it' \
	    'W nvmed: no interrupt vector' "^$(capos_sha256 disk.img)  nvme0n1"
}

atf_test_case devices_whose_map_leads_nowhere_are_refused
devices_whose_map_leads_nowhere_are_refused_head() { atf_set timeout 600; }
devices_whose_map_leads_nowhere_are_refused_body() {
	capos_disk disk.img 1M 95
	capos_boot BOOT=uefi TABLES='plain iort=dangling' DISK=disk.img CMD=devices
	capos_expect 'W IORT: root complex at 0x[0-9a-f]+: mapping 0 leads to no unit that is known' \
	    'W device 00:01.0: unsupported: behind an IOMMU of unknown kind'
	capos_refute 'bus master on'
}

# RMR: firmware goes on using the first disk, by a page of its own.
atf_test_case a_device_that_firmware_goes_on_using_is_refused
a_device_that_firmware_goes_on_using_is_refused_head() { atf_set timeout 600; }
a_device_that_firmware_goes_on_using_is_refused_body() {
	capos_disk disk.img 1M 98
	capos_disk other.img 1M 99
	capos_boot BOOT=uefi TABLES='plain iort=rmr' DISK=disk.img DISKS=other.img CMD='evidence; sha256 nvme1n1'
	capos_expect '^0000:00:01.0 1b36:0010 class 010802: unsupported: firmware reserves memory for it' \
	    '^  reserved      NO          firmware reserves memory for it' \
	    'device 00:02.0: direct-remapping by smmu0: validated' "^$(capos_sha256 other.img)  nvme1n1"
	capos_refute 'serial capos0'
}

# What the kernel could not say, because it has no console, the loader says on firmware's.
atf_test_case a_console_of_unknown_type_is_named_before_it_falls_silent
a_console_of_unknown_type_is_named_before_it_falls_silent_head() { atf_set timeout 600; }
a_console_of_unknown_type_is_named_before_it_falls_silent_body() {
	capos_boot -s 1 BOOT=uefi TABLES='plain spcr=0x21' CMD=ps
	capos_expect "^capos: firmware's console \(SPCR\) is of type 0x21 in space 0, which the kernel does not know: it will be silent"
	capos_refute 'I capOS on'
	# It did run, and switched the machine off.
	! grep -q 'no end after' qemu.err || capos_fail 'the machine did not end'
}

# What SPCR does not name, DBG2 may.
atf_test_case a_debug_port_is_the_console_where_spcrs_is_not_known
a_debug_port_is_the_console_where_spcrs_is_not_known_head() { atf_set timeout 600; }
a_debug_port_is_the_console_where_spcrs_is_not_known_body() {
	capos_boot BOOT=uefi TABLES='plain spcr=0x21 dbg2=pl011' CMD=ps
	capos_expect 'SPCR: console of type 0x21 is not known' 'console: PL011 at ' ' shell ' '^capos: exit status 0'
}

# Nor does an SPCR of address 0 name one: loader and kernel say so.
atf_test_case redirection_that_is_off_names_no_console
redirection_that_is_off_names_no_console_head() { atf_set timeout 600; }
redirection_that_is_off_names_no_console_body() {
	capos_boot BOOT=uefi TABLES='plain spcr-at=0 dbg2=pl011' CMD=ps
	capos_expect '^capos: firmware names no console \(SPCR\): the kernel will be silent unless DBG2 does' \
	    'W ACPI: SPCR: its address is 0: it names no console' 'console: PL011 at ' '^capos: exit status 0'
}

# SPCR may tell the port's clock and its rate: then that rate is set, whatever firmware had (38400 on the
# PL011); the last of what QEMU traced.
atf_test_case the_consoles_rate_is_the_one_that_is_told
the_consoles_rate_is_the_one_that_is_told_head() { atf_set timeout 600; }
the_consoles_rate_is_the_one_that_is_told_body() {
	capos_boot BOOT=uefi TABLES='plain clock=24000000 baud=19200' TRACE=pl011_baudrate_change CMD=ps
	capos_expect 'console: PL011 at ' '^capos: exit status 0'
	grep pl011_baudrate_change qemu.err | tail -n 1 | grep -q 'ibrd: 78, fbrd: 8)' || capos_fail 'not that rate'
	capos_boot SHAPE=graviton DISK= TABLES='graviton clock=1843200 baud=19200' TRACE=serial_update_parameters CMD=ps
	capos_expect 'console: 16550 at ' '^capos: exit status 0'
	grep serial_update_parameters qemu.err | tail -n 1 | grep -q 'baudrate=19200 ' || capos_fail 'not that rate'
	# Told by nobody: nobody touches it.
	capos_boot TRACE='pl011_baudrate_change pl011_write' CMD=ps
	! grep pl011_baudrate_change qemu.err || capos_fail 'it was set'
	# Line control is written while the port is off, then too.
	awk '/pl011_write.* reg CR$/ { cr = $0 } /pl011_write.* reg LCRH$/ { n++; off = cr ~ /value 0x0+ / }
	    END { exit !(n > 0 && off) }' qemu.err || capos_fail 'line control was written while the port was on'
}

atf_test_case without_processors_in_the_tables_it_stops_in_order
without_processors_in_the_tables_it_stops_in_order_head() { atf_set timeout 600; }
without_processors_in_the_tables_it_stops_in_order_body() {
	capos_boot -s 1 BOOT=uefi TABLES='plain apic=none' CMD=ps
	capos_expect 'W ACPI: no MADT: one CPU, no interrupt controller' \
	    '^capos: cannot start: no interrupt controller that could be used' 'I power off'
}

atf_test_case firmware_without_any_tables_is_said_so
firmware_without_any_tables_is_said_so_head() { atf_set timeout 600; }
firmware_without_any_tables_is_said_so_body() {
	capos_start BOOT=uefi TABLES='plain root=none'
	capos_wait 'capos: firmware offers neither ACPI tables nor a device tree' 200
	capos_stop
	capos_refute 'I capOS on'
}

# Firmware of a PC runs in less than what kernel and archive take.  AAVMF needs 128 MiB, so there the archive is large.
atf_test_case too_little_memory_is_said_so_by_the_loader
too_little_memory_is_said_so_by_the_loader_head() { atf_set timeout 600; }
too_little_memory_is_said_so_by_the_loader_body() {
	if [ "$ARCH" = arm64 ]; then
		cp "$OUT/boot-default.cpio" large.cpio
		truncate -s 120M large.cpio
		CMDLINE= DATA= ESP_MIB=130 "$ROOT/tools/mkimage" disk.img "$ARCH=$OUT/boot.efi,$OUT/kernel.boot,large.cpio" ||
		    atf_fail 'no image'
		capos_start BOOT=uefi BOOT_DISK=disk.img MEM=128M
	else
		capos_start BOOT=uefi MEM=48M
	fi
	capos_wait 'capos: no room for [0-9]+ KiB: firmware says 0x8000000000000009' 200
	capos_stop
	capos_refute 'I capOS on'
}

# Reduced hardware: no PM1 registers, a sleep register in their place.  Here it is the upper byte of PM1's control, which has the
# same layout, and the FADT is made long enough to name it; that spoils the table behind it.
atf_test_case reduced_hardware_is_switched_off_by_its_sleep_register
reduced_hardware_is_switched_off_by_its_sleep_register_body() {
	capos_disk disk.img 1M 96
	capos_boot SMP=1 DISK=disk.img CMD='sha256 nvme0n1' \
	    TAMPER='table FACP put 4 00010000 put 112 a5841000 put 244 010800010506000000000000 sum'
	capos_expect "^$(capos_sha256 disk.img)  nvme0n1" 'by HPET' 'I power off' 'ACPI: no MADT'
	capos_refute 'cannot be switched off'
}

# Random numbers for keys and for the network: where neither firmware nor the CPU has any, that is said.
atf_test_case weak_random_numbers_are_named
weak_random_numbers_are_named_head() { atf_set timeout 300; }
weak_random_numbers_are_named_body() {
	capos_boot MACHINE=virt,dtb-randomness=off APPEND=record CMD=date
	capos_expect 'W random numbers: this CPU makes none and firmware gave no seed' '^random no \(timing alone\)'
	capos_boot APPEND=record CMD=date
	capos_expect "^random yes \\(firmware's seed, timing\\)"
	capos_refute 'W random numbers'
	capos_boot MACHINE=virt,dtb-randomness=off CPU=max APPEND=record CMD=date
	capos_expect '^random yes \(the CPU, timing\)'
}

atf_init_test_cases() {
	atf_add_test_case devices_behind_a_second_root_bus_are_found
	atf_add_test_case too_little_memory_is_said_so_by_the_loader
	case $ARCH in
	arm64)
		atf_add_test_case weak_random_numbers_are_named
		atf_add_test_case memory_may_have_holes
		atf_add_test_case all_memory_may_lie_above_4_gib
		atf_add_test_case configuration_space_may_lie_below_4_gib
		atf_add_test_case a_unit_whose_map_leads_to_itself_gives_no_interrupts
		atf_add_test_case devices_whose_map_leads_nowhere_are_refused
		atf_add_test_case a_device_that_firmware_goes_on_using_is_refused
		atf_add_test_case a_console_of_unknown_type_is_named_before_it_falls_silent
		atf_add_test_case a_debug_port_is_the_console_where_spcrs_is_not_known
		atf_add_test_case redirection_that_is_off_names_no_console
		atf_add_test_case the_consoles_rate_is_the_one_that_is_told
		atf_add_test_case without_processors_in_the_tables_it_stops_in_order
		atf_add_test_case firmware_without_any_tables_is_said_so ;;
	x86_64)
		atf_add_test_case buses_before_the_tables_are_reached_by_ports
		atf_add_test_case reduced_hardware_is_switched_off_by_its_sleep_register ;;
	esac
}
