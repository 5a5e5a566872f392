#! /usr/bin/env atf-sh
# What a person may ask of "make run": wrong values are named before anything starts.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# refused REGEX NAME=value: tools/run ends with 2 and one line
refused() {
	capos_boot -s 2 CMD=ps "$2"
	[ "$(wc -l <qemu.err)" -eq 1 ] || capos_fail "not one line: $2"
	grep -E -q "^tools/run: $1" qemu.err || capos_fail "not said: $1"
}

atf_test_case a_wrong_value_is_named
a_wrong_value_is_named_body() {
	refused 'ARCH=vax is not known; valid: ' ARCH=vax
	refused 'BUILD=fast is not known; valid: ' BUILD=fast
	refused 'MANIFEST=none is not known; valid: .*default' MANIFEST=none
	refused 'IOMMU=yes does not go with ARCH=' IOMMU=yes
	for n in 0 x -1 1x 1000; do
		refused "SMP=$n is not a number of CPUs" SMP=$n
	done
	for n in 0 abc -5 1Q; do
		refused "MEM=$n is not a size" MEM=$n
	done
	refused 'BLOCK_SIZE=1000 is not known; valid: ' BLOCK_SIZE=1000
	refused 'BOOT=floppy is not known; valid: ' BOOT=floppy
	refused 'TIMEOUT=soon is not a number of seconds' TIMEOUT=soon
	refused 'no disk image no.img' DISK=no.img
	mkdir folder
	refused 'folder is a folder, not a disk image' DISK=folder
	refused 'no disk image other.img' DISKS=other.img
	refused 'no-qemu is missing: tools/bootstrap' QEMU=no-qemu
	refused 'no-kernel is missing: make ' KERNEL=no-kernel
	refused 'no-archive is missing: make ' INITRD=no-archive
	refused 'the kernel command line would be [0-9]+ bytes' APPEND="$(printf '%3000s' | tr ' ' x)"
}

atf_init_test_cases() {
	atf_add_test_case a_wrong_value_is_named
}
