# capOS: kernels, user programs, tests.  "make help" lists targets and variables.

ARCH      ?= x86_64
BUILD     ?= release
MANIFEST  ?= default
ARCHES    := arm64 x86_64

ifeq ($(filter $(ARCH),$(ARCHES)),)
$(error ARCH=$(ARCH) is not known: use one of $(ARCHES))
endif
ifeq ($(filter $(BUILD),debug release),)
$(error BUILD=$(BUILD) is not known: use debug or release)
endif
MAKEFLAGS += --no-print-directory
ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif
.SUFFIXES:
.DELETE_ON_ERROR:

CC      := clang-19
LD      := ld.lld-19
OBJCOPY := llvm-objcopy-19
NM      := llvm-nm-19
AR      := llvm-ar-19

O := build/$(ARCH)/$(BUILD)

-include arch/$(ARCH)/files.mk

TARGET_arm64  := aarch64-none-elf
TARGET_x86_64 := x86_64-none-elf

COMMON := --target=$(TARGET_$(ARCH)) -std=gnu23 -ffreestanding -nostdlibinc -g -MMD -MP -I. \
	-Wall -Wextra -Wthread-safety -Werror -fno-omit-frame-pointer -mno-omit-leaf-frame-pointer \
	-fstack-protector-strong -mgeneral-regs-only -fno-common -fno-pic -ffunction-sections -fdata-sections
COMMON_arm64 := -march=armv8-a -mno-outline-atomics -mbranch-protection=standard
ifeq ($(BUILD),debug)
COMMON += -O1 -DCAPOS_DEBUG=1 -fsanitize=undefined -fsanitize-trap=undefined
else
COMMON += -O2
endif
KCFLAGS := $(COMMON) $(COMMON_$(ARCH)) $(KERNEL_CFLAGS_$(ARCH))
UCFLAGS := $(COMMON) $(COMMON_$(ARCH)) $(USER_CFLAGS_$(ARCH)) -Iusr/lib/$(ARCH)

# --- the kernel -------------------------------------------------------------

KSRC := $(filter-out $(DEV_OMIT_$(ARCH)),$(sort $(wildcard kern/*.c kern/base/*.c kern/machine/*.c kern/dma/*.c \
	dev/iommu/*.c dev/*/xlate.c arch/$(ARCH)/*.c arch/$(ARCH)/*.S)))
KOBJ := $(patsubst %,$(O)/k/%.o,$(KSRC))
KERNEL_arm64  := $(O)/Image
KERNEL_x86_64 := $(O)/kernel.elf
KERNEL := $(KERNEL_$(ARCH))
ARCHIVE := $(O)/archive.cpio

# --- user programs ----------------------------------------------------------

PROGRAMS := $(sort $(filter-out lib,$(patsubst usr/%/main.c,%,$(wildcard usr/*/main.c))))
ULIBSRC  := $(sort $(wildcard usr/lib/*.c usr/lib/$(ARCH)/*.c usr/lib/$(ARCH)/*.S kern/base/*.c kern/machine/fdt.c) \
	$(filter-out %/xlate.c,$(wildcard dev/nvme/*.c dev/virtio/*.c)))
ULIBOBJ  := $(patsubst %,$(O)/u/%.o,$(ULIBSRC))
PROGRAMFILES := $(patsubst %,$(O)/bin/%,$(PROGRAMS))

all: $(KERNEL) $(ARCHIVE) compile_commands.json

# Rebuild when flags change.
$(O)/flags: FORCE
	@mkdir -p $(O)
	@echo '$(KCFLAGS) $(UCFLAGS)' | cmp -s - $@ || echo '$(KCFLAGS) $(UCFLAGS)' > $@
FORCE:

$(O)/k/kern/base/str.c.o $(O)/u/kern/base/str.c.o: EXTRA := -fno-builtin

$(O)/k/%.c.o: %.c $(O)/flags
	@mkdir -p $(@D)
	@$(CC) $(KCFLAGS) $(EXTRA) -MJ $@.json -c $< -o $@
$(O)/k/%.S.o: %.S $(O)/flags
	@mkdir -p $(@D)
	@$(CC) $(KCFLAGS) -Wno-unused-command-line-argument -c $< -o $@
$(O)/u/%.c.o: %.c $(O)/flags
	@mkdir -p $(@D)
	@$(CC) $(UCFLAGS) $(EXTRA) -MJ $@.json -c $< -o $@
$(O)/u/%.S.o: %.S $(O)/flags
	@mkdir -p $(@D)
	@$(CC) $(UCFLAGS) -Wno-unused-command-line-argument -c $< -o $@

# Two links: the second knows the addresses of the first.
LDKERNEL = $(LD) -nostdlib --gc-sections -z noexecstack -z norelro --no-dynamic-linker $(KERNEL_LDFLAGS_$(ARCH)) -T arch/$(ARCH)/link.ld
$(O)/ksym0.o: tools/ksym $(O)/flags
	@echo | tools/ksym > $(O)/ksym0.c
	@$(CC) $(KCFLAGS) -c $(O)/ksym0.c -o $@
$(O)/kernel.elf: $(KOBJ) $(O)/ksym0.o arch/$(ARCH)/link.ld tools/ksym
	@$(LDKERNEL) -o $(O)/kernel1.elf $(KOBJ) $(O)/ksym0.o
	@$(NM) -n $(O)/kernel1.elf | tools/ksym > $(O)/ksym1.c
	@$(CC) $(KCFLAGS) -c $(O)/ksym1.c -o $(O)/ksym1.o
	@$(LDKERNEL) -o $(O)/kernel2.elf $(KOBJ) $(O)/ksym1.o
	@$(NM) -n $(O)/kernel2.elf | tools/ksym > $(O)/ksym2.c
	@$(CC) $(KCFLAGS) -c $(O)/ksym2.c -o $(O)/ksym2.o
	@$(LDKERNEL) -o $@ $(KOBJ) $(O)/ksym2.o
	@$(NM) -n $@ | tools/ksym | cmp -s - $(O)/ksym2.c || { echo "kernel symbols moved in the last link" >&2; exit 1; }
	@echo "  $@"
$(O)/Image: $(O)/kernel.elf
	@$(OBJCOPY) -O binary $< $@

$(O)/libcapos.a: $(ULIBOBJ)
	@rm -f $@
	@$(AR) rcs $@ $^

.SECONDEXPANSION:
$(O)/full/%: $$(patsubst %,$(O)/u/%.o,$$(wildcard usr/%/*.c)) $(O)/libcapos.a usr/user.ld
	@mkdir -p $(@D)
	@$(LD) -nostdlib --gc-sections -z noexecstack -z max-page-size=4096 -T usr/user.ld -o $@ \
		$(filter %.o,$^) $(O)/libcapos.a
$(O)/bin/%: $(O)/full/%
	@mkdir -p $(@D)
	@$(OBJCOPY) --strip-debug $< $@
$(O)/bin/manifest.dtb: dts/manifest/$(MANIFEST).dts FORCE
	@mkdir -p $(@D)
	@dtc -q -I dts -O dtb -o $@.new $< && { cmp -s $@.new $@ && rm $@.new || mv $@.new $@; }

$(ARCHIVE): $(PROGRAMFILES) $(O)/bin/manifest.dtb tools/mkarchive
	@tools/mkarchive $@ $(PROGRAMFILES) $(O)/bin/manifest.dtb
	@echo "  $@"

compile_commands.json: $(KOBJ) $(ULIBOBJ)
	@{ echo '['; cat $$(find $(O) -name '*.json') | sed '$$ s/,$$//'; echo ']'; } > $@

-include $(shell find $(O) -name '*.d' 2>/dev/null)

# --- running ----------------------------------------------------------------

bootstrap:
	@tools/bootstrap
run: bootstrap
	@$(MAKE) all
	@ARCH='$(ARCH)' BUILD='$(BUILD)' tools/run
debug: bootstrap
	@$(MAKE) all
	@ARCH='$(ARCH)' BUILD='$(BUILD)' GDB=1 tools/run
export IOMMU SMP MEM DISK DISKS CMD QEMU_EXTRA CPU BLOCK_SIZE ROOT_PORT TIMEOUT APPEND

# --- tests ------------------------------------------------------------------

include tests/tests.mk

format:
	@clang-format-19 -i $$(git ls-files '*.c' '*.h')
clean:
	rm -rf build compile_commands.json
help:
	@sed -n 's/^#: \{0,1\}//p' Makefile

#: capOS: make TARGET [VARIABLE=value ...]
#:
#: Targets
#:   all            kernel, programs and boot archive of ARCH (the default)
#:   run            boot it in QEMU; sets up what it needs first
#:   debug          the same, waiting for gdb; prints the gdb command
#:   test           every suite: host, arm64, x86_64, lint
#:   test-host      unit tests on this machine, with sanitizers
#:   test-arm64, test-x86_64   system tests in QEMU
#:   bench          instruction counts against the budgets
#:   lint           who includes whom, forbidden words, sizes
#:   format, clean, help, compile_commands.json
#:
#: Variables (default)
#:   ARCH=arm64|x86_64 (x86_64)      BUILD=release|debug (release)
#:   IOMMU=smmuv3|intel|none (smmuv3 on arm64, intel on x86_64)
#:   SMP=1..8 (4)   MEM=size (1G)    CPU=model
#:   DISK=path      raw disk image (default: a generated file system)
#:   DISKS="a b"    more controllers, one image each
#:   BLOCK_SIZE=512|4096 (512)       ROOT_PORT=1  controller behind a PCIe root port
#:   CMD="a; b"     shell commands, without a terminal; status 0 only if all succeed
#:   MANIFEST=name  dts/manifest/NAME.dts (default)
#:   APPEND="..."   more words for the kernel command line (quiet, debug)
#:   QEMU_EXTRA, TIMEOUT (600 s with CMD)

.PHONY: all run debug test test-host test-arm64 test-x86_64 bench lint format clean help bootstrap FORCE
