#! /usr/bin/env atf-sh
# Each cloud's machine, as close as the emulator comes (docs/shapes.md): started by firmware from the disk that is then read.
# Requirements: E2 E4 N2 N3
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

OUT=$ROOT/build/$ARCH/${BUILD:-release}

# image WORDS: disk.img, a bootable disk
image() {
	CMDLINE="$1" DATA= "$ROOT/tools/mkimage" disk.img "$ARCH=$OUT/boot.efi,$OUT/kernel.boot,$OUT/boot-default.cpio" ||
	    atf_fail "no image"
}

# shape [-w WORD] NAME [NAME=value...]: boots it to the verdicts and the hash of its disk, and off; with the NIC that "make run" gives it
shape() {
	word=
	[ "$1" != -w ] || { word="$2 "; shift 2; }
	name=$1; shift
	image "${word}cmd=evidence%3bsha256%20nvme0n1%3bdate%3blog%3bpoweroff"
	capos_boot SHAPE="$name" NET= DISK=disk.img CMD=unused "$@"
	capos_expect "^$(capos_sha256 disk.img)  nvme0n1" '^capos: exit status 0' 'I power off'
	capos_refute 'no power-off' 'going on alone' 'did not start'
}
brokered() { capos_expect '^0000:.* class 010802: at most brokered' 'brokered: .*hostile_hardware_isolation=not-claimed'; }
direct() { capos_expect '^0000:.* class 010802: at most direct-remapping' '^  programmed    yes' 'direct-remapping by .*: validated'; }

# The first-boot record: one block, whole, on the console and not in the log; and nothing in it that points into memory (D3).  Here
# RAM begins at 0 or at 1 GiB and has 1 GiB, and firmware's queues lie high in it.
record() {
	sed -n '/record: begin/,/record: end/p' serial.txt >record
	[ "$(grep -c 'record: begin' serial.txt)" -eq 1 ] || capos_fail 'no record, or more than one'
	[ "$(capos_value 'record: end, ([0-9]+) lines')" = "$(wc -l <record | tr -d ' ')" ] || capos_fail 'lines are missing'
	for want in '^platform Google Google Compute Engine' '^random yes' '^firmware EDK' '^register [A-Z]' '^memory ram [0-9]+ KiB$' '^table FACP ' '^APIC 0000 41504943' \
	    '^MCFG 0000 4d434647' '^pci 0000:00:01.0 1b36:0010 class 010802' '^  bar 0 64-bit 16384 bytes' '^  capability 11 at ' \
	    '^  register 00 [0-9a-f]{8} [0-9a-f]{8}' '^  register 28 [.]{8} [.]{8}'; do
		grep -E -q -e "$want" record || capos_fail "not in the record: $want"
	done
	case $ARCH in arm64) range='[4-7]' ;; *) range='[1-3]' ;; esac
	! grep -E "^  register .. $range[0-9a-f]{4}000 0{8}" record || capos_fail 'an address of memory'
}

# As on the real machine there is no PL031, because it is not looked for: the time is what firmware said.
# Words come by keyboard: the receive interrupt of a 16550 behind PCI, whose BAR and decode stay as firmware set them.
atf_test_case graviton
graviton_head() { atf_set timeout 600; }
graviton_body() {
	image 'rtc=named'
	capos_start SHAPE=graviton NET= DISK=disk.img
	capos_wait '^capos> $' 200
	capos_type 'evidence; sha256 nvme0n1; poweroff'
	capos_end 200
	capos_expect 'capOS on AMAZON AMZN' 'console: 16550 at ' 'clock: it is 20.* UTC, says firmware' 'cpus: 2 online' \
	    'no other clock: the generic timer.s rate is not compared' \
	    "^$(capos_sha256 disk.img)  nvme0n1" '2 queues of 32' 'may be the console' 'I power off' \
	    '^machine: AWS \(guessed by SMBIOS, others disagree\), instance type c7g\.large; it calls itself AMAZON AMZN'
	brokered
}

# Entered at EL2, PSCI by SMC.
atf_test_case graviton_metal
graviton_metal_head() { atf_set timeout 600; }
graviton_metal_body() {
	shape graviton-metal
	capos_expect '2 queues of 32' 'smmu0: SMMUv3' 'cpus: 4 online' '^machine: AWS .*, instance type c6g\.metal'
	direct
}

atf_test_case ampere
ampere_head() { atf_set timeout 600; }
ampere_body() {
	shape ampere
	capos_expect 'capOS on Ampere Altra' 'console: SBSA UART' 'smmu0: SMMUv3' '^0000:01:00.0 1b36:0010'
	direct
}

atf_test_case ec2_x86
ec2_x86_head() { atf_set timeout 600; }
ec2_x86_body() {
	shape ec2-x86
	capos_expect '2 queues of 32' 'ACPI: no MCFG' 'PCI: buses 0 to 255 by ports' '^0000:00:00.0 8086:1237' \
	    '^machine: AWS .*, instance type t3\.micro' '^described by: ACPI tables: DMAR absent, IVRS absent, IORT absent, VIOT absent; IOMMUs: 0'
	brokered
}

atf_test_case gce
gce_head() { atf_set timeout 600; }
gce_body() {
	shape -w record gce
	record
	capos_expect '^machine: Google Cloud \(guessed by SMBIOS, others disagree\); it calls'
	[ "$ARCH" = x86_64 ] || capos_expect 'capOS on Google' 'console: SBSA UART'
	brokered
}

# On arm64 without an ITS, so without message interrupts: completions are looked for.
atf_test_case azure
azure_head() { atf_set timeout 600; }
azure_body() {
	shape azure
	capos_expect '^machine: Azure or Hyper-V \(guessed by SMBIOS'
	[ "$ARCH" = x86_64 ] || capos_expect 'capOS on VRTUAL MICROSFT' 'GICv3, no ITS' 'nvmed: no interrupt vector' 'cpus: 4 online'
	brokered
}

atf_test_case oci
oci_head() { atf_set timeout 600; }
oci_body() {
	capos_disk data.img 4M 71
	capos_boot SHAPE=oci NET= DISK=data.img CMD='evidence; sha256 nvme0n1'
	capos_expect "^$(capos_sha256 data.img)  nvme0n1" '^capos: exit status 0'
	brokered
}

atf_test_case an_unknown_shape_is_said_so
an_unknown_shape_is_said_so_body() {
	capos_boot -s 2 SHAPE=graviton9 CMD=ps
	grep -q 'SHAPE=graviton9 is not known; valid: graviton graviton-metal ampere ec2-x86 gce azure oci' qemu.err ||
	    capos_fail 'no list of shapes'
}

atf_init_test_cases() {
	case $ARCH in
	arm64)
		atf_add_test_case graviton
		atf_add_test_case graviton_metal
		atf_add_test_case ampere
		atf_add_test_case an_unknown_shape_is_said_so ;;
	x86_64)
		atf_add_test_case ec2_x86 ;;
	esac
	atf_add_test_case gce
	atf_add_test_case azure
	atf_add_test_case oci
}
