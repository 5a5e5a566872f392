# capOS: kernels, user programs, boot archives, host tests.  One file, no recursion.
# "make help" lists targets and variables; BUILD.md tells the rest.

# ---- What the user may set --------------------------------------------------------------------

BUILD    ?= release
MANIFEST ?= $(if $(filter amd,$(IOMMU)),amd,$(if $(filter virtiox86_64,$(IOMMU)$(ARCH)),virtio,default))
V        ?= 0
FUZZ_SECONDS ?= 60
OUT      := build
CAPOS_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/capos

# ---- Goals, tools, parallelism ----------------------------------------------------------------

ALL_ARCHES := arm64 x86_64
ARCHES     := $(or $(filter-out all,$(ARCH)),$(ALL_ARCHES))
RUN_ARCH   := $(or $(filter-out all,$(ARCH)),$(if $(filter ec2-x86,$(SHAPE)),x86_64),arm64)

ifneq (,$(filter-out $(ALL_ARCHES),$(ARCHES)))
$(error ARCH=$(ARCH) is not known; valid: $(ALL_ARCHES) all)
endif
ifneq (1,$(words $(filter release debug,$(BUILD))))
$(error BUILD=$(BUILD) is not known; valid: release debug)
endif

# Goals that set the machine up first; the others only say what they miss when they miss it.
RUN_GOALS  := run
TEST_GOALS := run-pci-nvme run-iommu-remapping run-ddf-provider-consumer run-virtio-blk run-net test test-host test-arm64 test-x86_64 accept bench fuzz prove coverage mutation
ifneq (,$(filter $(TEST_GOALS),$(MAKECMDGOALS)))
BOOTSTRAP := test
else ifneq (,$(filter $(RUN_GOALS),$(MAKECMDGOALS)))
BOOTSTRAP := run
else ifneq (,$(filter image,$(MAKECMDGOALS)))
BOOTSTRAP := image
else ifneq (,$(filter debug,$(MAKECMDGOALS)))
BOOTSTRAP := debug
else ifneq (,$(filter-out help clean lint format bootstrap,$(or $(MAKECMDGOALS),all)))
BOOTSTRAP := --check build
endif
ifdef BOOTSTRAP
BOOTSTRAP_SAID := $(shell tools/bootstrap $(BOOTSTRAP) >&2)
ifneq (0,$(.SHELLSTATUS))
$(error tools/bootstrap $(BOOTSTRAP) failed)
endif
endif

ifeq (,$(findstring -j,$(MAKEFLAGS)))
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 2)
endif
MAKEFLAGS += -rR
.DELETE_ON_ERROR:
.PHONY: FORCE

CC      := clang-19
LD      := ld.lld-19
AR      := llvm-ar-19
NM      := llvm-nm-19
OBJCOPY := llvm-objcopy-19
DTC     := dtc
Q       := $(if $(filter 0,$(V)),@)
say      = $(if $(filter 0,$(V)),@printf '  %-7s %s\n' '$(1)' '$(2)')

# A file that changes only when the text of variable $(2) does: what depends on it is made again
# when flags or lists of sources change.
text_changed = $(if $(subst $(1),,$(2))$(subst $(2),,$(1)),yes)
define stamp_rule
$(1): FORCE
	$$(if $$(call text_changed,$$(if $$(wildcard $(1)),x)$$(strip $$(file <$(1))),x$$(strip $$($(2)))),$$(shell mkdir -p $$(@D))$$(file >$(1),$$($(2))))
endef

# ---- Flags ------------------------------------------------------------------------------------

WARN  := -Wall -Wextra -Wthread-safety -Werror
DEPS   = -MMD -MP -MJ $@.json

# What is the same for kernel and programs.  The stack protector's guard is a plain variable,
# __stack_chk_guard, on both architectures.
TARGET_CFLAGS := -std=gnu23 -ffreestanding -nostdlibinc $(WARN) -g -fdebug-compilation-dir=. \
	-fno-omit-frame-pointer -mno-omit-leaf-frame-pointer -fstack-protector-strong -mgeneral-regs-only -fno-common -fno-pic \
	-ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables -I.
CFLAGS_arm64  := --target=aarch64-none-elf -march=armv8-a -mno-outline-atomics -mbranch-protection=standard
CFLAGS_x86_64 := --target=x86_64-none-elf -mstack-protector-guard=global -fcf-protection=branch
CFLAGS_release := -O2
CFLAGS_debug   := -O1 -DCAPOS_DEBUG=1 -fsanitize=undefined -fsanitize-trap=undefined

# arch/<arch>/files.mk may add to these, and may set DEV_OMIT_<arch>: files of
# dev/ that this kernel does not link.
KERNEL_CFLAGS_arm64  :=
KERNEL_CFLAGS_x86_64 := -mno-red-zone -mcmodel=kernel
USER_CFLAGS_arm64    :=
USER_CFLAGS_x86_64   := -mcmodel=small
KERNEL_LDFLAGS_arm64  :=
KERNEL_LDFLAGS_x86_64 :=
# The UEFI application: the Windows targets have UEFI's calling convention and file format.
BOOT_CFLAGS := -std=gnu23 -ffreestanding -nostdlibinc $(WARN) -O2 -fno-stack-protector -mgeneral-regs-only -I.
BOOT_CFLAGS_arm64  := --target=aarch64-unknown-windows
BOOT_CFLAGS_x86_64 := --target=x86_64-unknown-windows -mno-red-zone
BOOT_LINK := lld-link-19 -subsystem:efi_application -entry:efi_main -nodefaultlib -timestamp:0
BOOT_WORDS = $(strip $(APPEND))
BOOT_SRC  := boot/main.c kern/base/fmt.c kern/base/str.c
LDFLAGS := -static --gc-sections -z max-page-size=4096 -z noexecstack -z norelro --build-id=none --fatal-warnings

include $(wildcard $(ALL_ARCHES:%=arch/%/files.mk))

# ---- What is linked where ---------------------------------------------------------------------

# A class with a translator brings it, its part of the live test, and the tier-1 sources that it shares with the driver.
XLATE_CLASSES := $(patsubst %/xlate.c,%,$(wildcard dev/*/xlate.c))
KERNEL_SRC := $(sort $(wildcard kern/base/*.c kern/*.c kern/machine/*.c kern/dma/*.c dev/iommu/*.c) \
	$(foreach c,$(XLATE_CLASSES),$(wildcard $(c)/xlate*.c $(c)/canary.c $(c)/prp.c $(c)/vring.c)))
# For programs: everything of a class but what is the kernel's.
DRIVER_SRC := $(sort $(filter-out dev/iommu/% %/canary.c $(wildcard dev/*/xlate*.c),$(wildcard dev/*/*.c)))
PROGRAMS   := $(sort $(patsubst usr/%/main.c,%,$(wildcard usr/*/main.c)))
MANIFESTS  := $(sort $(basename $(notdir $(wildcard dts/manifest/*.dts))))

# $(call objects,folder,sources)
objects = $(addprefix $(1)/,$(addsuffix .o,$(basename $(2))))

include usr/tcpip/lwip.mk
# A program's sources; those of lwIP are the TCP/IP service's.
program_sources = $(wildcard usr/$(1)/*.c) $(if $(filter tcpip,$(1)),$(wildcard usr/tcpip/port/*.c) $(LWIP_SRC))

# ---- Per architecture: $(1) is the architecture, O_$(1) its folder ----------------------------

define arch_rules
O_$(1) := $(OUT)/$(1)/$(BUILD)
KFLAGS_$(1) := $$(CFLAGS_$(1)) $$(TARGET_CFLAGS) $$(CFLAGS_$(BUILD)) -Iarch/$(1) $$(KERNEL_CFLAGS_$(1))
UFLAGS_$(1) := $$(CFLAGS_$(1)) $$(TARGET_CFLAGS) $$(CFLAGS_$(BUILD)) $$(USER_CFLAGS_$(1))
KSRC_$(1) := $$(filter-out $$(DEV_OMIT_$(1)),$$(KERNEL_SRC)) $$(sort $$(wildcard arch/$(1)/*.c arch/$(1)/*.S))
# With fdt.c, because manifests are device trees.
USRC_$(1) := $$(sort $$(wildcard usr/lib/*.c usr/lib/$(1)/*.c usr/lib/$(1)/*.S kern/base/*.c kern/machine/fdt.c) $$(DRIVER_SRC))
KOBJ_$(1) := $$(call objects,$$(O_$(1))/kernel,$$(KSRC_$(1)))
UOBJ_$(1) := $$(call objects,$$(O_$(1))/user,$$(USRC_$(1)))
PROGS_$(1) := $$(addprefix $$(O_$(1))/usr/,$$(PROGRAMS))
KLINK_$(1) := $$(LDFLAGS) --build-id=sha1 $$(KERNEL_LDFLAGS_$(1)) -T arch/$(1)/link.ld
KERNEL_LIST_$(1) := $$(KLINK_$(1)) $$(KOBJ_$(1))
USER_LIST_$(1) := $$(UOBJ_$(1))
OBJ_$(1) := $$(KOBJ_$(1)) $$(UOBJ_$(1)) \
	$$(foreach p,$$(PROGRAMS),$$(call objects,$$(O_$(1))/user,$$(call program_sources,$$(p))))

$$(eval $$(call stamp_rule,$$(O_$(1))/kernel.flags,KFLAGS_$(1)))
$$(eval $$(call stamp_rule,$$(O_$(1))/kernel.list,KERNEL_LIST_$(1)))
$$(eval $$(call stamp_rule,$$(O_$(1))/user.flags,UFLAGS_$(1)))
$$(eval $$(call stamp_rule,$$(O_$(1))/user.list,USER_LIST_$(1)))
$$(eval $$(call stamp_rule,$$(O_$(1))/boot.list,PROGRAMS))

# str.c defines memcpy and its family: the compiler must not turn its loops into calls of them.
$$(O_$(1))/kernel/kern/base/str.o $$(O_$(1))/user/kern/base/str.o: FILE_CFLAGS := -fno-builtin

# Called for each completion, and calls nothing: a frame would be a quarter of it.
$$(O_$(1))/kernel/dev/nvme/xlate.o: FILE_CFLAGS := -momit-leaf-frame-pointer

# What sees lwIP's headers; warnings and traps of lwIP's own code are not ours.
$$(O_$(1))/user/usr/tcpip/%.o: FILE_CFLAGS := $(LWIP_CFLAGS) -Iusr/tcpip/port/libc
$$(O_$(1))/user/$(LWIP_DIR)/%.o: FILE_CFLAGS := $(LWIP_CFLAGS) -Iusr/tcpip/port/libc -w -fno-sanitize=all
$$(call objects,$$(O_$(1))/user,$(LWIP_USERS)): $(LWIP_NEEDS)

# Its functions call nothing that returns: a frame would be of no use.
$$(O_$(1))/kernel/kern/ipc_direct.o: FILE_CFLAGS := -fomit-frame-pointer -momit-leaf-frame-pointer

$$(O_$(1))/kernel/%.o: %.c $$(O_$(1))/kernel.flags | arch/$(1)/link.ld
	$$(call say,CC,$(1) $$<)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(KFLAGS_$(1)) $$(FILE_CFLAGS) $$(DEPS) -c -o $$@ $$<
$$(O_$(1))/kernel/%.o: %.S $$(O_$(1))/kernel.flags | arch/$(1)/link.ld
	$$(call say,AS,$(1) $$<)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(KFLAGS_$(1)) -D__ASSEMBLER__=1 $$(DEPS) -c -o $$@ $$<
$$(O_$(1))/user/%.o: %.c $$(O_$(1))/user.flags
	$$(call say,CC,$(1) $$<)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(UFLAGS_$(1)) $$(FILE_CFLAGS) $$(DEPS) -c -o $$@ $$<
$$(O_$(1))/user/%.o: %.S $$(O_$(1))/user.flags
	$$(call say,AS,$(1) $$<)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(UFLAGS_$(1)) $$(DEPS) -c -o $$@ $$<

# It knows what it is: a hash of its bytes (kern/identity.c).
#
# The kernel is linked twice: the first image, with an empty symbol table, gives the symbols of
# the second.  The table comes after all code, so code must not have moved.
$$(O_$(1))/kernel.elf: $$(KOBJ_$(1)) $$(O_$(1))/kernel.list arch/$(1)/link.ld tools/mksyms
	$$(call say,LD,$$@)
	$$(Q)set -e; t=$$(O_$(1))/ksyms; \
	link() { $$(CC) $$(CFLAGS_$(1)) -c -o $$$$t.o $$$$t.S; \
	         $$(LD) $$(KLINK_$(1)) -o "$$$$1" $$(KOBJ_$(1)) $$$$t.o; \
	         $$(NM) -n --defined-only "$$$$1" >"$$$$2"; }; \
	tools/mksyms </dev/null >$$$$t.S; link $$$$t.elf $$$$t.1; \
	tools/mksyms <$$$$t.1 >$$$$t.S; link $$@ $$$$t.2; \
	tools/mksyms <$$$$t.2 | cmp -s - $$$$t.S || { rm -f $$@; \
	    echo '$$@: code moved between the two links; .ksymtab must come after it' >&2; exit 1; }
$$(O_$(1))/Image: $$(O_$(1))/kernel.elf
	$$(Q)$$(OBJCOPY) -O binary $$< $$@

# boot.efi looks for its parts on the file system; capos.efi carries them.
BOOT_OBJ_$(1) := $$(call objects,$$(O_$(1))/boot,$$(BOOT_SRC))
BFLAGS_$(1) := $$(BOOT_CFLAGS_$(1)) $$(BOOT_CFLAGS) -Iarch/$(1)
$$(eval $$(call stamp_rule,$$(O_$(1))/boot.flags,BFLAGS_$(1)))
$$(O_$(1))/boot/kern/base/str.o: FILE_CFLAGS := -fno-builtin
$$(O_$(1))/boot/%.o: %.c $$(O_$(1))/boot.flags
	$$(call say,CC,$(1) $$<)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(BFLAGS_$(1)) $$(FILE_CFLAGS) $$(DEPS) -c -o $$@ $$<
$$(O_$(1))/kernel.boot: $$(O_$(1))/kernel.elf
	$$(Q)$$(OBJCOPY) --strip-debug --remove-section=.comment $$< $$@
$$(O_$(1))/boot.efi: $$(BOOT_OBJ_$(1)) boot/payload.S
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(BOOT_CFLAGS_$(1)) -c -o $$@.o boot/payload.S
	$$(Q)$$(BOOT_LINK) -out:$$@ $$(BOOT_OBJ_$(1)) $$@.o
$$(O_$(1))/capos.efi: $$(BOOT_OBJ_$(1)) boot/payload.S $$(O_$(1))/kernel.boot $$(O_$(1))/boot-$$(MANIFEST).cpio $$(O_$(1))/append
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(BOOT_CFLAGS_$(1)) -DKERNEL='"$$(O_$(1))/kernel.boot"' -DARCHIVE='"$$(O_$(1))/boot-$$(MANIFEST).cpio"' \
	    -DCMDLINE='"$$(O_$(1))/append"' -c -o $$@.o boot/payload.S
	$$(Q)$$(BOOT_LINK) -out:$$@ $$(BOOT_OBJ_$(1)) $$@.o
$$(eval $$(call stamp_rule,$$(O_$(1))/append,BOOT_WORDS))
# For a test: firmware that offers a device tree beside its tables.
$$(O_$(1))/boot/tests/boot/offer_tree.o: $$(OUT)/dts/soc.dtb
$$(O_$(1))/offer_tree.efi: $$(O_$(1))/boot/tests/boot/offer_tree.o $$(O_$(1))/boot/kern/base/str.o
	$$(call say,LD,$$@)
	$$(Q)$$(BOOT_LINK) -out:$$@ $$^
-include $$(O_$(1))/boot/tests/boot/offer_tree.d
-include $$(BOOT_OBJ_$(1):.o=.d)

$$(O_$(1))/libuser.a: $$(UOBJ_$(1)) $$(O_$(1))/user.list
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@; $$(AR) rcs $$@ $$(UOBJ_$(1))
$$(foreach p,$$(PROGRAMS),$$(eval $$(call program_rules,$(1),$$(p),$$(call program_sources,$$(p)))))
$$(foreach m,$$(MANIFESTS),$$(eval $$(call archive_rules,$(1),$$(m))))

ARCHIVES_$(1) := $$(foreach m,$$(MANIFESTS),$$(O_$(1))/boot-$$(m).cpio)
.PHONY: kernel-$(1) programs-$(1) image-$(1)
kernel-$(1): $$(O_$(1))/kernel.elf $$(if $$(filter arm64,$(1)),$$(O_$(1))/Image)
programs-$(1): $$(PROGS_$(1))
image-$(1): kernel-$(1) programs-$(1) $$(ARCHIVES_$(1))
-include $$(OBJ_$(1):.o=.d)
endef

# $(1) architecture, $(2) program, $(3) its sources.  <program>.elf keeps everything for gdb; the
# one in the archive keeps its symbols (for epitaphs) but no debug information.
define program_rules
POBJ_$(1)_$(2) := $$(call objects,$$(O_$(1))/user,$(3))
PLIST_$(1)_$(2) := $$(LDFLAGS) $$(POBJ_$(1)_$(2))
$$(eval $$(call stamp_rule,$$(O_$(1))/usr/$(2).list,PLIST_$(1)_$(2)))
$$(O_$(1))/usr/$(2).elf: $$(POBJ_$(1)_$(2)) $$(O_$(1))/libuser.a $$(O_$(1))/usr/$(2).list usr/user.ld
	$$(call say,LD,$$@)
	$$(Q)$$(LD) $$(LDFLAGS) -T usr/user.ld -o $$@ $$(POBJ_$(1)_$(2)) $$(O_$(1))/libuser.a
$$(O_$(1))/usr/$(2): $$(O_$(1))/usr/$(2).elf
	$$(Q)$$(OBJCOPY) --strip-debug --remove-section=.comment $$< $$@
endef

# $(1) architecture, $(2) manifest
define archive_rules
$$(O_$(1))/boot-$(2).cpio: $(OUT)/manifest/$(2).dtb $$(PROGS_$(1)) $$(O_$(1))/boot.list tools/mkarchive
	$$(call say,CPIO,$$@)
	$$(Q)tools/mkarchive $$@ manifest.dtb=$$< $$(foreach p,$$(PROGRAMS),$$(p)=$$(O_$(1))/usr/$$(p))
endef

.DEFAULT_GOAL := all
.PHONY: all
all: $(addprefix image-,$(ARCHES))

$(foreach a,$(ALL_ARCHES),$(eval $(call arch_rules,$(a))))

# Only when it is not there.
arch/%/link.ld:
	@echo "$@ is not there yet: no kernel for $*" >&2; exit 1
usr/user.ld:
	@echo "$@ is not there yet: no programs" >&2; exit 1

$(OUT)/manifest/%.dtb: dts/manifest/%.dts
	$(call say,DTC,$@)
	@mkdir -p $(@D)
	$(Q)$(DTC) -I dts -O dtb -i dts/manifest -d $@.d -o $@ $<
$(OUT)/dts/%.dtb: dts/test/%.dts
	$(call say,DTC,$@)
	@mkdir -p $(@D)
	$(Q)$(DTC) -q -I dts -O dtb -i dts/test -d $@.d -o $@ $<
-include $(wildcard $(OUT)/manifest/*.d $(OUT)/dts/*.d)

# ---- Host: unit tests, fuzzers, tools for tests -----------------------------------------------
#
# A test or fuzzer names the sources that it is linked with in its first lines:
#     /* LINK: kern/base/fmt.c kern/base/str.c tests/lib/model_iommu.c */
# kern/base/str.c would take the place of the C library's memcpy under the sanitizers, so on the
# host its standard functions are called base_memcpy and so on; str_copy keeps its name.

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
HOST_CFLAGS := -std=gnu23 $(WARN) -g -O1 -fno-omit-frame-pointer -I. -Itests/lib -DCAPOS_HOST=1 $(SANITIZE)
FUZZ_CFLAGS := $(HOST_CFLAGS) -fsanitize=fuzzer-no-link
STD_NAMES   := memcpy memmove memset memcmp strlen strnlen strcmp strncmp strchr
STR_HOST    := -fno-builtin -fno-sanitize=all $(foreach f,$(STD_NAMES),-D$(f)=base_$(f))

TEST_SRC := $(shell find tests -name '*_test.c' ! -path 'tests/fuzz/*' ! -path 'tests/sys/*' | sort)
FUZZ_SRC := $(sort $(wildcard tests/fuzz/*.c))
PROOF_SRC := $(sort $(wildcard tests/proof/*.c))
# Services of ours as programs of this machine, for tests of tests/tools.
HOSTED_SRC := $(sort $(wildcard tests/tools/*.c))
# Words "test.c:linked.c"
LINKS := $(if $(TEST_SRC)$(FUZZ_SRC),$(shell tools/links $(TEST_SRC) $(FUZZ_SRC) $(HOSTED_SRC)))
links_of = $(patsubst $(1):%,%,$(filter $(1):%,$(LINKS)))

HOST_TESTS := $(patsubst tests/%.c,$(OUT)/tests/host/%,$(TEST_SRC))
FUZZERS    := $(patsubst tests/fuzz/%.c,$(OUT)/fuzz/%,$(FUZZ_SRC))
HOSTED     := $(patsubst tests/tools/%.c,$(OUT)/host/%,$(HOSTED_SRC))
FIXTURES   := $(patsubst dts/test/%.dts,$(OUT)/dts/%.dtb,$(wildcard dts/test/*.dts))

$(eval $(call stamp_rule,$(OUT)/host/flags,HOST_CFLAGS))
$(OUT)/host/obj/kern/base/str.o $(OUT)/fuzz/obj/kern/base/str.o: FILE_CFLAGS := $(STR_HOST)

# A program whose main a test calls.
$(OUT)/host/obj/usr/netd/main.o $(OUT)/fuzz/obj/usr/netd/main.o: FILE_CFLAGS := -Dmain=program_main

# What is linked with lwIP's heap is linked with lwIP.
LWIP_HEAP := usr/tcpip/port/heap.c
$(foreach d,host fuzz,$(OUT)/$(d)/obj/usr/tcpip/%.o $(OUT)/$(d)/obj/tests/usr/tcpip/%.o $(OUT)/$(d)/obj/tests/fuzz/tcpip.o): FILE_CFLAGS := $(LWIP_CFLAGS)
$(foreach d,host fuzz,$(OUT)/$(d)/obj/$(LWIP_DIR)/%.o): FILE_CFLAGS := $(LWIP_CFLAGS) -w
$(foreach d,host fuzz,$(call objects,$(OUT)/$(d)/obj,$(LWIP_USERS))): $(LWIP_NEEDS)

# #embed of a fixture needs it to be there.
$(OUT)/host/obj/%.o: %.c $(OUT)/host/flags | $(FIXTURES)
	$(call say,HOSTCC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_CFLAGS) $(FILE_CFLAGS) $(DEPS) -c -o $@ $<
$(OUT)/fuzz/obj/%.o: %.c $(OUT)/host/flags | $(FIXTURES)
	$(call say,FUZZCC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(FUZZ_CFLAGS) $(FILE_CFLAGS) $(DEPS) -c -o $@ $<

# $(1) program, $(2) source, $(3) object folder, $(4) flags to link with, $(5) more sources
define host_rules
LIST_$(1) := $$(call objects,$(3),$(2) $$(call links_of,$(2)) $(5) $$(if $$(filter $(LWIP_HEAP),$$(call links_of,$(2))),$(LWIP_SRC)))
$$(eval $$(call stamp_rule,$(1).list,LIST_$(1)))
$(1): $$(LIST_$(1)) $(1).list
	$$(call say,HOSTLD,$$@)
	$$(Q)$$(CC) $(4) -o $$@ $$(LIST_$(1))
-include $$(patsubst %.o,%.d,$$(LIST_$(1)))
endef
TEST_LINK := $(SANITIZE) -latf-c -lpthread
FUZZ_LINK := $(SANITIZE) -fsanitize=fuzzer
$(foreach s,$(TEST_SRC),$(eval $(call host_rules,$(patsubst tests/%.c,$(OUT)/tests/host/%,$(s)),$(s),$(OUT)/host/obj,$$(TEST_LINK),tests/lib/host.c)))
$(foreach s,$(HOSTED_SRC),$(eval $(call host_rules,$(patsubst tests/tools/%.c,$(OUT)/host/%,$(s)),$(s),$(OUT)/host/obj,$$(SANITIZE))))
$(foreach s,$(FUZZ_SRC),$(eval $(call host_rules,$(patsubst tests/fuzz/%.c,$(OUT)/fuzz/%,$(s)),$(s),$(OUT)/fuzz/obj,$$(FUZZ_LINK))))

$(OUT)/host/icnt.so: $(wildcard tests/bench/icnt.c)
	$(call say,HOSTCC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -Wall -Wextra -Werror -shared -fPIC -o $@ $<
$(OUT)/host/randfile $(OUT)/host/tamper $(OUT)/host/shapetables $(OUT)/host/netpeer: $(OUT)/host/%: tests/lib/%.c
	$(call say,HOSTCC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu23 -O2 -Wall -Wextra -Werror -o $@ $<
$(OUT)/host/far: $(wildcard tests/bench/far.c)
	$(call say,HOSTCC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu23 -O2 -Wall -Wextra -Werror -o $@ $<
HOST_TOOLS := $(OUT)/host/randfile $(OUT)/host/tamper $(OUT)/host/shapetables $(OUT)/host/netpeer $(if $(wildcard tests/bench/icnt.c),$(OUT)/host/icnt.so $(OUT)/host/far) $(HOSTED)

# The same programs again, with counters in what decides what a device reaches.
COVERAGE_LEAST := 90
COVERED    := $(sort $(wildcard dev/*/xlate.c kern/dma/*.c)) dev/iommu/iopt.c
COVER_SRC  := $(foreach s,$(TEST_SRC),$(if $(filter $(COVERED),$(call links_of,$(s))),$(s)))
COVER_TESTS := $(patsubst tests/%.c,$(OUT)/coverage/%,$(COVER_SRC))
$(OUT)/coverage/obj/%.o: %.c $(OUT)/host/flags | $(FIXTURES)
	$(call say,HOSTCC,coverage $<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_CFLAGS) -fprofile-instr-generate -fcoverage-mapping $(DEPS) -c -o $@ $<
define cover_rules
$(1): $$(call objects,$(OUT)/host/obj,$$(filter-out $$(COVERED),$(3))) $$(call objects,$(OUT)/coverage/obj,$$(filter $$(COVERED),$(3)))
	$$(call say,HOSTLD,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(TEST_LINK) -fprofile-instr-generate -o $$@ $$^
endef
$(foreach s,$(COVER_SRC),$(eval $(call cover_rules,$(patsubst tests/%.c,$(OUT)/coverage/%,$(s)),$(s),$(s) $(call links_of,$(s)) tests/lib/host.c)))
-include $(patsubst %.c,$(OUT)/coverage/obj/%.d,$(COVERED))

.PHONY: host
host: $(HOST_TESTS) $(FUZZERS) $(HOST_TOOLS)

# ---- Tests ------------------------------------------------------------------------------------
#
# Kyua wants test programs beside their Kyuafile, so both meet in build/tests: host programs are
# linked there, scripts are copied.  tests/sys/x.sh becomes build/tests/<arch>/x_test in each suite.

SUITES    := host lint tools fuzz proof arm64 x86_64
SYS_SRC   := $(sort $(wildcard tests/sys/*.sh))
# A folder of host tests and the folders above it.
upwards   = $(1) $(if $(filter-out $(OUT)/tests/host,$(1)),$(call upwards,$(patsubst %/,%,$(dir $(1)))))
HOST_DIRS := $(sort $(OUT)/tests/host $(foreach t,$(HOST_TESTS),$(call upwards,$(patsubst %/,%,$(dir $(t))))))
KYUAFILES := $(OUT)/tests/Kyuafile $(foreach s,$(filter-out host,$(SUITES)),$(OUT)/tests/$(s)/Kyuafile) \
	$(addsuffix /Kyuafile,$(HOST_DIRS))
SYS_TESTS  = $(patsubst tests/sys/%.sh,$(OUT)/tests/$(1)/%_test,$(SYS_SRC))
# A program without test cases is an error to Kyua.
SHELL_TESTS := $(OUT)/tests/lint/lint_test $(patsubst tests/%.sh,$(OUT)/tests/%,$(wildcard tests/tools/*_test.sh)) $(if $(FUZZ_SRC),$(OUT)/tests/fuzz/fuzz_test) \
	$(if $(PROOF_SRC),$(OUT)/tests/proof/proof_test)

$(OUT)/tests/host/%Kyuafile: tests/host/Kyuafile
	@mkdir -p $(@D); cp $< $@
# It includes the others.
$(OUT)/tests/Kyuafile: tests/Kyuafile $(filter-out $(OUT)/tests/Kyuafile,$(KYUAFILES))
	@mkdir -p $(@D); cp $< $@
$(OUT)/tests/%Kyuafile: tests/%Kyuafile
	@mkdir -p $(@D); cp $< $@
$(SHELL_TESTS): $(OUT)/tests/%: tests/%.sh
	@mkdir -p $(@D); install -m 755 $< $@
$(call SYS_TESTS,arm64): $(OUT)/tests/arm64/%_test: tests/sys/%.sh
	@mkdir -p $(@D); install -m 755 $< $@
$(call SYS_TESTS,x86_64): $(OUT)/tests/x86_64/%_test: tests/sys/%.sh
	@mkdir -p $(@D); install -m 755 $< $@

# What the tests find in their environment.
export BUILD
export CAPOS_CACHE
KYUA_JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# Programs whose source has gone must not be run: the tree holds exactly what is wanted.
TREE_WANT := $(KYUAFILES) $(SHELL_TESTS) $(HOST_TESTS) $(addsuffix .list,$(HOST_TESTS)) \
	$(foreach a,$(ALL_ARCHES),$(call SYS_TESTS,$(a)))
kyua = $(Q)$(foreach f,$(filter-out $(TREE_WANT),$(shell find $(OUT)/tests -type f 2>/dev/null)),rm -f $(f);) \
	db=$(OUT)/tests.$$$$.db; kyua -v parallelism=$(KYUA_JOBS) $(2) test -k $(OUT)/tests/Kyuafile -r $$db $(1); \
	s=$$?; tools/results $$db || s=1; mv -f $$db $(OUT)/tests.db; exit $$s

.PHONY: test test-host test-arm64 test-x86_64 accept fuzz prove coverage mutation lint bench
test: $(ALL_ARCHES:%=image-%) $(ALL_ARCHES:%=uefi-%) $(OUT)/capos-all.img $(KYUAFILES) $(SHELL_TESTS) $(HOST_TESTS) $(FUZZERS) $(HOST_TOOLS) $(foreach a,$(ALL_ARCHES),$(call SYS_TESTS,$(a)))
	$(call kyua,)
test-host: $(KYUAFILES) $(SHELL_TESTS) $(HOST_TESTS) $(FUZZERS) $(HOST_TOOLS)
	$(call kyua,host tools)
test-arm64: image-arm64 uefi-arm64 $(OUT)/capos-all.img $(HOST_TOOLS) $(KYUAFILES) $(SHELL_TESTS) $(call SYS_TESTS,arm64)
	$(call kyua,arm64)
test-x86_64: image-x86_64 uefi-x86_64 $(HOST_TOOLS) $(KYUAFILES) $(SHELL_TESTS) $(call SYS_TESTS,x86_64)
	$(call kyua,x86_64)
# The long forms: see capos_scale in tests/lib/qemu.subr.
accept: all $(ALL_ARCHES:%=uefi-%) $(OUT)/capos-all.img $(HOST_TOOLS) $(KYUAFILES) $(SHELL_TESTS) $(foreach a,$(ALL_ARCHES),$(call SYS_TESTS,$(a)))
	$(call kyua,$(ARCHES),-v test_suites.capos.scale=full)

fuzz: $(FUZZERS)
	$(Q)for f in $(notdir $(FUZZERS)); do tests/fuzz/run $$f -max_total_time=$(FUZZ_SECONDS) || exit 1; done
prove:
	$(Q)for f in $(PROOF_SRC) $(if $(filter all,$(PROOF)),$(wildcard tests/proof/long/*.c)); do tools/cbmc $$f || exit 1; done
coverage: $(COVER_TESTS)
	$(Q)tools/coverage $(COVERAGE_LEAST) $(COVERED) -- $(COVER_TESTS)
mutation:
	$(Q)tools/mutate
lint:
	$(Q)s=0; for f in layers words sizes style requirements documents made; do tests/lint/$$f.sh || s=1; done; exit $$s
bench: all $(HOST_TOOLS)
	$(Q)tests/bench/run $(if $(CHECK),check,$(if $(PEERS),peers,$(if $(WALL),wall,$(if $(DOC),doc))))

# ---- Named gates: one short name per promise that the documents ask for -----------------------

.PHONY: run-pci-nvme run-iommu-remapping run-ddf-provider-consumer
GATE = $(ARCHES:%=image-%) $(HOST_TOOLS) $(KYUAFILES) $(foreach a,$(ARCHES),$(call SYS_TESTS,$(a)))
gate = $(call kyua,$(foreach a,$(ARCHES),$(addprefix $(a)/,$(1))))
run-pci-nvme: $(GATE)
	$(call gate,lanes_test:brokered_reads_the_same_bytes lanes_test:brokered_refuses_a_stray_address_by_name \
	    lanes_test:the_server_is_the_same_on_every_backend domain_test:the_evidence_names_every_step)
run-ddf-provider-consumer: $(GATE)
	$(call gate,net_test trace_test hotplug_test)
.PHONY: run-net
run-net: $(GATE)
	$(call gate,net_test tcpip_test services_test deaths_test)
.PHONY: run-virtio-blk
run-virtio-blk: $(ARCHES:%=image-%) $(HOST_TOOLS) $(KYUAFILES) $(foreach a,$(ARCHES),$(call SYS_TESTS,$(a)))
	$(call kyua,$(foreach a,$(ARCHES),$(a)/vblk_test))

run-iommu-remapping: $(ARCHES:%=image-%) $(HOST_TOOLS) $(KYUAFILES) $(foreach a,$(ARCHES),$(call SYS_TESTS,$(a)))
	$(call kyua,$(foreach a,$(ARCHES),$(a)/contain_test $(a)/domain_test $(a)/disk_test:the_hash_of_a_disk_is_the_hosts))

# ---- Run, debug -------------------------------------------------------------------------------

RUN_VARS := ARCH=$(RUN_ARCH)
.PHONY: run debug
run: image-$(RUN_ARCH) $(if $(DISK),,$(OUT)/disk.img) $(if $(filter uefi uboot,$(BOOT))$(SHAPE),$(OUT)/capos-$(RUN_ARCH).img) $(if $(SHAPE)$(TABLES),$(OUT)/host/shapetables)
	@$(RUN_VARS) tools/run
debug: image-$(RUN_ARCH) $(if $(DISK),,$(OUT)/disk.img)
	@$(RUN_VARS) GDB=1 tools/run
export MANIFEST SHAPE TABLES
export KERNEL INITRD IOMMU SMP MEM CPU MACHINE DISK DISKS BLOCK_SIZE ROOT_PORT NVME NET NIC HTTP_PORT NBD_PORT FLOW_PORT VDISK VBLK CMD APPEND TIMEOUT
export BOOT BOOT_DISK FIRMWARE MONITOR GDB_PORT TRACE QEMU QEMU_EXTRA DRY

# The default disk: an ext4 file system that holds this repository's documents.
DISK_FILES := $(sort $(wildcard *.md LICENSE docs/*.md kern/*.md kern/*/*.md dev/*/*.md kern/abi/*.h))
$(eval $(call stamp_rule,$(OUT)/disk.list,DISK_FILES))
$(OUT)/disk.img: $(DISK_FILES) $(OUT)/disk.list tools/mkdisk
	$(call say,MKDISK,$@)
	@mkdir -p $(@D)
	$(Q)tools/mkdisk $@ $(DISK_FILES)

# What a firmware starts: one disk for the architectures in it.  WRAP: also in the form that these clouds take.
.PHONY: image
IMAGE := $(OUT)/capos-$(if $(filter-out all,$(ARCH)),$(ARCH),all)
WRAP_aws := aws.raw
WRAP_gcp := gcp.tar.gz
WRAP_azure := azure.vhd
WRAP_oci := oci.qcow2
CLOUDS := aws gcp azure oci
WRAPPED := $(foreach w,$(if $(filter all,$(WRAP)),$(CLOUDS),$(WRAP)),$(or $(WRAP_$(w)),$(error WRAP=$(w) is not known; valid: $(CLOUDS) all)))
image: $(IMAGE).img $(foreach a,$(ARCHES),$(O_$(a))/capos.efi) $(WRAPPED:%=$(IMAGE)-%)
	@echo "$<: a disk for UEFI firmware; $(foreach a,$(ARCHES),$(O_$(a))/capos.efi): the same as one file"
	@$(if $(WRAPPED),echo "for clouds: $(WRAPPED:%=$(IMAGE)-%)")
define wrap_rules
$(OUT)/capos-%-$(WRAP_$(1)): $(OUT)/capos-%.img tools/wrapimage
	$$(call say,WRAP,$$@)
	$$(Q)tools/wrapimage $(1) $$< $$@
endef
$(foreach c,$(CLOUDS),$(eval $(call wrap_rules,$(c))))
IMAGE_LIST = $(MANIFEST) $(BOOT_WORDS) $(DISK_FILES)
$(eval $(call stamp_rule,$(OUT)/image.list,IMAGE_LIST))
comma := ,
space := $() $()
# What of an architecture goes on it; arm64's flat image is for U-Boot.
IMAGE_PARTS = $(O_$(1))/boot.efi $(O_$(1))/kernel.boot $(O_$(1))/boot-$(MANIFEST).cpio $(if $(filter arm64,$(1)),$(O_$(1))/Image)
# $(1) file, $(2) architectures
define image_rules
$(1): tools/mkimage tools/bootmenu tools/mkdisk $(OUT)/image.list $(DISK_FILES) $(foreach a,$(2),$(call IMAGE_PARTS,$(a)))
	$$(call say,IMAGE,$$@)
	$$(Q)CMDLINE='$$(BOOT_WORDS)' DATA='$$(DISK_FILES)' tools/mkimage $$@ \
	    $(foreach a,$(2),$(a)=$(subst $(space),$(comma),$(strip $(call IMAGE_PARTS,$(a)))))
endef
.PHONY: $(ALL_ARCHES:%=uefi-%)
$(ALL_ARCHES:%=uefi-%): uefi-%: $(OUT)/capos-%.img $(OUT)/%/$(BUILD)/capos.efi $(OUT)/%/$(BUILD)/offer_tree.efi
$(foreach a,$(ALL_ARCHES),$(eval $(call image_rules,$(OUT)/capos-$(a).img,$(a))))
$(eval $(call image_rules,$(OUT)/capos-all.img,$(ALL_ARCHES)))

# ---- Odds and ends ----------------------------------------------------------------------------

# Every compilation leaves its own entry (-MJ); here they are only put together.
.PHONY: compile_commands.json format clean bootstrap help
compile_commands.json: $(foreach a,$(ARCHES),$(OBJ_$(a)) $(BOOT_OBJ_$(a))) $(foreach s,$(TEST_SRC) $(FUZZ_SRC) $(wildcard tests/lib/*.c),$(OUT)/$(if $(filter $(FUZZ_SRC),$(s)),fuzz,host)/obj/$(s:.c=.o))
	$(Q){ echo '['; cat $(addsuffix .json,$^) | sed '$$ s/,$$//'; echo ']'; } >$@

format:
	$(Q)tools/bootstrap format && tools/format
bootstrap:
	$(Q)tools/bootstrap
clean:
	rm -rf $(OUT) compile_commands.json

help:
	@: $(info $(HELP))

define HELP
Targets
  all (default)     kernels, programs and boot archives (ARCH: only that one)
  run               boot in QEMU; Ctrl-A X quits
  debug             the same, waiting for gdb; prints the gdb command
  test              test-host, test-arm64 and test-x86_64 (Kyua)
  test-host         unit tests on this machine, with sanitizers; tests of tools
  test-arm64        system tests in QEMU
  test-x86_64
  accept            the system tests in their long form (1 GiB disks, hundred kills)
  run-virtio-blk    the block server for virtio (ARCH: only that one)
  run-net               the network: NIC server, TCP/IP service, status page, NBD, and what dies or lies meanwhile
  run-pci-nvme          NVMe without an IOMMU: the kernel writes every address; what is selected, and why
  run-ddf-provider-consumer   a NIC's driver, and the life of a grant: how claims end, devices that go and come back
  run-iommu-remapping   what shows that a driver's DMA stays in its own domain (ARCH: only that one)
  fuzz              each fuzzer for FUZZ_SECONDS
  prove             bounded proofs (CBMC); PROOF=all: those that take minutes, too
  coverage          lines that host tests run of what decides about DMA: at least 90 percent of each file
  mutation          turns each check of tests/mutation.list off in a copy: its test must notice (half an hour)
  bench             guest instructions per operation, beside ceilings and peers (CHECK=1: twice, must agree;
                    PEERS=1: with Linux measured beside it; WALL=1: the network by the clock; DOC=1: into docs/performance.md)
  image             a disk that UEFI firmware starts (ARCH=all: both in one), and capos.efi, the same as one file
                    (WRAP="aws gcp azure oci" or all: also in the form that these clouds take)
  lint              layers, words, sizes, style
  format            folds lines of more than 100 columns in C files (.clang-format)
  compile_commands.json
  bootstrap         install what is missing (run and test do it by themselves)
  clean

Variables (default)
  ARCH              arm64 or x86_64 (all: both; run, debug: arm64)
  BUILD             release or debug: lock ranks, UBSan traps, poisoned memory (release)
  MANIFEST          boot manifest: dts/manifest/NAME.dts (default; amd with IOMMU=amd, virtio with IOMMU=virtio on x86_64)
  V=1               show commands
  FUZZ_SECONDS      time for each fuzzer of make fuzz (60)
  KYUA_JOBS         tests at the same time (number of CPUs)

Variables of run and debug (tools/run tells more)
  SHAPE             a cloud's machine, as close as QEMU comes (docs/shapes.md): graviton, graviton-metal, ampere, ec2-x86;
                    gce, azure, oci (each for both architectures)
  IOMMU             smmuv3, virtio or none on arm64; intel, amd, virtio or none on x86_64 (smmuv3, intel)
  SMP               CPUs (4)
  MEM               memory (1G)
  CPU               QEMU's CPU model (neoverse-n1 or cortex-a72; max)
  DISK              raw image, written to; "none" (a generated ext4 image; changes are dropped)
  DISKS             more images, each behind an NVMe controller of its own
  BLOCK_SIZE        512 or 4096 (512)
  BOOT              direct; uefi or uboot: firmware starts the disk that "make image" makes (direct)
  ROOT_PORT=1       controllers behind PCIe root ports
  NVME              more properties of the first controller, as "mdts=5,max_ioqpairs=2"
  VDISK             raw image behind a virtio-blk device, written to
  VBLK              more properties of that, as "num-queues=1"
  NET               user: a virtio-net device on QEMU's own network; none; or another -netdev without its id (user)
  HTTP_PORT         port of this machine's loopback for the status page; 0: none (8080, or the next free one)
  NBD_PORT          the same for disks over NBD (10809)
  FLOW_PORT         the same for discard, and 10 above it chargen (5009)
  NIC               more properties of it, as "mq=on,vectors=10"
  CMD               shell commands, separated by ";": run them, power off; status 0 if all succeeded
  TIMEOUT           seconds until QEMU is ended (with CMD 600, else none)
  APPEND            more kernel command line
  TRACE             QEMU trace events, as "pci_nvme_*"
  QEMU_EXTRA        more QEMU arguments
endef
