/*
 * kern/machine/fdt_machine.c: two whole machines, and what is absurd in small ones.
 *
 * LINK: kern/machine/fdt_machine.c kern/machine/fdt_irq.c kern/machine/fdt.c
 * LINK: kern/machine/machine.c
 * LINK: kern/base/fmt.c kern/base/str.c tests/lib/fdt_build.c
 */
#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "kern/machine/fdt.h"
#include "kern/machine/machine.h"
#include "tests/lib/fdt_build.h"
#include "tests/lib/machine_noted.h"

static const uint8_t virt[] = {
#embed "../../../build/dts/virt.dtb"
};
static const uint8_t soc[] = {
#embed "../../../build/dts/soc.dtb"
};

static struct machine m;
static struct fdt_build b;

static void
check_line(struct machine_line l, uint32_t id, bool level, bool active_low)
{
	ATF_CHECK(l.present);
	ATF_CHECK_EQ(l.id, id);
	ATF_CHECK_EQ(l.level, level);
	ATF_CHECK_EQ(l.active_low, active_low);
}

/* Begins a tree whose root has two address and two size cells. */
static void
start(void)
{
	memset(&m, 0, sizeof(m));
	memset(&b, 0, sizeof(b));
	fb_begin(&b, "");
	fb_cell(&b, "#address-cells", 2);
	fb_cell(&b, "#size-cells", 2);
}

static enum status
finish(void)
{
	size_t len;
	uint8_t *blob;
	enum status s;

	fb_end(&b);
	blob = fb_blob(&b, &len);
	s = fdt_machine(&m, blob, len);
	free(blob);
	return s;
}

ATF_TC_WITHOUT_HEAD(a_virtual_machine_is_described_whole);
ATF_TC_BODY(a_virtual_machine_is_described_whole, tc)
{
	const struct machine_host *h = &m.host[0];
	uint64_t ram = 0;

	memset(&m, 0, sizeof(m));
	ATF_REQUIRE_EQ(fdt_machine(&m, virt, sizeof(virt)), OK);
	ATF_REQUIRE_EQ(machine_finish(&m), OK);
	for (uint32_t i = 0; i < m.note_count; i++)
		ATF_CHECK_STREQ(m.note[i], "");
	ATF_CHECK_EQ(m.dropped, 0);
	ATF_CHECK_EQ(m.source, SOURCE_FDT);
	ATF_CHECK_STREQ(m.model, "test virt");
	for (uint32_t i = 0; i < m.memory_count; i++)
		ram += m.memory[i].kind == MEM_RAM ? m.memory[i].len : 0;
	ATF_CHECK_EQ(ram, 2 * GIB - MIB - 64 * KIB);
	ATF_REQUIRE_EQ(m.cpu_count, 3);
	ATF_CHECK_EQ(m.cpu[1].hwid, 0x100);
	ATF_CHECK(m.cpu[0].enabled && m.cpu[1].enabled && !m.cpu[2].enabled);
	ATF_CHECK_EQ(m.power.psci, PSCI_HVC);
	ATF_CHECK_EQ(m.irqc.kind, IRQC_GICV3);
	ATF_CHECK_EQ(m.irqc.gicd, 0x8000000);
	ATF_REQUIRE_EQ(m.irqc.gicr_count, 2);
	ATF_CHECK_EQ(m.irqc.gicr[0].base, 0x80a0000);
	ATF_CHECK_EQ(m.irqc.gicr[1].base, 0x100'0000'0000);
	ATF_CHECK_EQ(m.irqc.gicr[1].len, 0x4000000);
	ATF_CHECK_EQ(m.irqc.gicr_stride, 0);
	ATF_REQUIRE_EQ(m.irqc.its_count, 1);
	ATF_CHECK_EQ(m.irqc.its[0].base, 0x8080000);
	check_line(m.timer.phys, 30, true, false);
	check_line(m.timer.virt, 27, true, false);
	check_line(m.timer.hyp, 26, true, false);
	ATF_CHECK_EQ(m.timer.frequency_hz, 0);
	ATF_CHECK_EQ(m.console.kind, CONSOLE_PL011);
	ATF_CHECK_EQ(m.console.base, 0x9000000);
	ATF_CHECK_EQ(m.console.baud, 115200);
	ATF_CHECK_EQ(m.console.clock_hz, 24000000);
	ATF_CHECK_EQ(m.console.access_bytes, 4);
	check_line(m.console.line, 33, true, false);
	ATF_CHECK_EQ(m.rtc.kind, RTC_PL031);
	ATF_CHECK_EQ(m.rtc.base, 0x9010000);
	ATF_REQUIRE_EQ(m.host_count, 1);
	ATF_CHECK_EQ(h->ecam, 0x40'1000'0000);
	ATF_CHECK(h->bus_first == 0 && h->bus_last == 255);
	ATF_CHECK(h->dma_coherent && !h->preserve && h->dma_last == 0);
	ATF_REQUIRE_EQ(h->window_count, 3);
	ATF_CHECK(h->window[0].kind == WINDOW_IO && h->window[0].cpu_base == 0x3eff0000 &&
	    h->window[0].pci_base == 0);
	ATF_CHECK(h->window[1].kind == WINDOW_MEM32 && h->window[1].len == 0x2eff0000 &&
	    !h->window[1].prefetchable);
	ATF_CHECK(h->window[2].kind == WINDOW_MEM64 && h->window[2].pci_base == 0x80'0000'0000 &&
	    h->window[2].prefetchable);
	ATF_CHECK_EQ(m.archive.base, 0x44000000);
	ATF_CHECK_EQ(m.archive.len, 0x123456);
	ATF_CHECK_STREQ(m.cmdline, "quiet cmd=help");
	ATF_CHECK(m.seed_known);
	ATF_CHECK_EQ(m.seed[0], 1);		/* 33rd to 36th bytes are folded in */
	ATF_CHECK_EQ(m.seed[3], 4 ^ 1);
}

ATF_TC_WITHOUT_HEAD(a_board_with_buses_is_described_at_cpu_addresses);
ATF_TC_BODY(a_board_with_buses_is_described_at_cpu_addresses, tc)
{
	const struct machine_host *h = &m.host[0];
	uint64_t ram = 0;

	memset(&m, 0, sizeof(m));
	ATF_REQUIRE_EQ(fdt_machine(&m, soc, sizeof(soc)), OK);
	ATF_REQUIRE_EQ(machine_finish(&m), OK);
	ATF_CHECK_STREQ(m.model, "capos,test-soc");
	for (uint32_t i = 0; i < m.memory_count; i++)
		ram += m.memory[i].kind == MEM_RAM ? m.memory[i].len : 0;
	ATF_CHECK_EQ(ram, 512 * MIB);	/* linux,usable-memory-range */
	ATF_REQUIRE_EQ(m.cpu_count, 2);
	ATF_CHECK_EQ(m.cpu[0].hwid, 0x1'0000'0200);
	ATF_CHECK(m.cpu[0].enabled && !m.cpu[1].enabled);
	ATF_CHECK(machine_noted(&m, "cpu@0 has no usable reg"));
	ATF_CHECK(machine_noted(&m, "cpu@2: its id is another's"));
	ATF_CHECK(machine_noted(&m, "cpu@3 starts by \"spin-table\""));
	ATF_CHECK_EQ(m.power.psci, PSCI_SMC);
	ATF_CHECK_EQ(m.irqc.gicd, 0x1'0010'0000);
	ATF_REQUIRE_EQ(m.irqc.gicr_count, 1);
	ATF_CHECK_EQ(m.irqc.gicr[0].base, 0x2'0000'0000);
	ATF_CHECK_EQ(m.irqc.gicr_stride, 0x40000);
	ATF_REQUIRE_EQ(m.irqc.its_count, 2);
	ATF_CHECK_EQ(m.irqc.its[1].base, 0x1'0022'0000);
	check_line(m.timer.virt, 27, true, true);
	check_line(m.timer.phys, 30, true, true);
	ATF_CHECK_EQ(m.timer.frequency_hz, 25000000);
	ATF_CHECK_EQ(m.console.kind, CONSOLE_16550_MMIO);
	ATF_CHECK_EQ(m.console.base, 0x1'1000'1000);
	ATF_CHECK_EQ(m.console.reg_shift, 2);
	ATF_CHECK_EQ(m.console.access_bytes, 4);
	ATF_CHECK_EQ(m.console.baud, 57600);
	ATF_CHECK_EQ(m.console.clock_hz, 50000000);
	ATF_CHECK(
	    !m.console.line.present); /* its first interrupt goes to a controller that is no GIC */
	ATF_REQUIRE_EQ(m.host_count, 2);
	ATF_CHECK(machine_noted(&m, "pcie@39000000: segment 1 is absurd or taken"));
	ATF_CHECK(h->preserve && !h->dma_coherent);
	ATF_CHECK(h->bus_first == 0x20 && h->bus_last == 0x23);
	ATF_CHECK_EQ(h->ecam, 0x1'3000'0000 - 0x20 * MIB);
	ATF_CHECK_EQ(h->dma_last, 0xf'ffff'fffe);
	ATF_REQUIRE_EQ(h->window_count, 2);
	ATF_CHECK(h->window[0].cpu_base == 0x1'3100'0000 && h->window[0].pci_base == 0 &&
	    h->window[0].kind == WINDOW_MEM32);
	ATF_CHECK(h->window[1].cpu_base == 0x2'0010'0000 && h->window[1].pci_base == 4 * GIB);
	ATF_CHECK(
	    machine_noted(&m, "window at offset 0x18 of ranges is absurd")); /* passes 4 GiB */
	ATF_CHECK(m.host[0].segment == 0 && m.host[1].segment == 1);
	ATF_CHECK(m.host[1].bus_first == 0 && m.host[1].bus_last == 0);
}

ATF_TC_WITHOUT_HEAD(garbage_is_refused_with_a_note);
ATF_TC_BODY(garbage_is_refused_with_a_note, tc)
{
	memset(&m, 0, sizeof(m));
	ATF_CHECK_EQ(fdt_machine(&m, "not a tree", 10), E_CORRUPT);
	ATF_CHECK_STREQ(m.note[0], "FDT: not a device tree, or malformed");
	ATF_CHECK_EQ(m.source, SOURCE_NONE);
}

ATF_TC_WITHOUT_HEAD(an_empty_tree_says_what_is_missing);
ATF_TC_BODY(an_empty_tree_says_what_is_missing, tc)
{
	start();
	ATF_CHECK_EQ(finish(), OK);
	ATF_CHECK(machine_noted(&m, "no /cpus"));
	ATF_CHECK(machine_noted(&m, "no Arm GIC"));
	ATF_CHECK(machine_noted(&m, "no arm,armv8-timer"));
	ATF_CHECK(machine_noted(&m, "no console"));
	ATF_CHECK(machine_noted(&m, "no /chosen"));
	ATF_CHECK_EQ(machine_finish(&m), E_CORRUPT);
}

ATF_TC_WITHOUT_HEAD(memory_that_cannot_be_is_left_out);
ATF_TC_BODY(memory_that_cannot_be_is_left_out, tc)
{
	start();
	fb_reserve(&b, 0x40000000, UINT64_MAX);		/* reserves everything above */
	fb_begin(&b, "memory@0");
	fb_string(&b, "device_type", "memory");
	FB_CELLS(&b, "reg", 0, 0x10000000, 0, 0x10000000, 0xffffffff, 0xffff0000, 0, 0x20000,
	    0x100000, 0, 0, 0x1000, 0, 0x38000000, 0, 0x20000000, 0, 0x50000000, 0, 0);
	fb_end(&b);
	fb_begin(&b, "memory@1");		/* cut off in the middle of an entry */
	fb_string(&b, "device_type", "memory");
	FB_CELLS(&b, "reg", 0, 0x20000000, 0);
	fb_end(&b);
	ATF_CHECK_EQ(finish(), OK);
	ATF_REQUIRE_EQ(machine_finish(&m), OK);
	ATF_CHECK(machine_noted(&m, "memory@0: entry 1 is not physical memory"));
	ATF_CHECK(machine_noted(&m, "memory@0: entry 2 is not physical memory"));
	ATF_REQUIRE(m.memory_count >= 2);
	ATF_CHECK(m.memory[0].base == 0x10000000 && m.memory[0].len == 0x10000000 &&
	    m.memory[0].kind == MEM_RAM);
	ATF_CHECK(m.memory[1].base == 0x38000000 && m.memory[1].len == 0x8000000 &&
	    m.memory[1].kind == MEM_RAM);
}

ATF_TC_WITHOUT_HEAD(registers_in_memory_are_refused);
ATF_TC_BODY(registers_in_memory_are_refused, tc)
{
	start();
	fb_begin(&b, "memory@0");
	fb_string(&b, "device_type", "memory");
	FB_CELLS(&b, "reg", 0, 0x10000000, 0, 0x10000000);
	fb_end(&b);
	fb_begin(&b, "gic");
	fb_string(&b, "compatible", "arm,gic-v3");
	fb_cell(&b, "#address-cells", 2);
	fb_cell(&b, "#size-cells", 2);
	fb_prop(&b, "ranges", "", 0);
	FB_CELLS(
	    &b, "reg", 0, 0x10000, 0, 0x10000, 0, 0x10000000, 0, 0x100000, 0, 0x200000, 0, 0x100000);
	fb_cell(&b, "#redistributor-regions", 2);
	fb_begin(&b, "its");
	fb_string(&b, "compatible", "arm,gic-v3-its");
	FB_CELLS(&b, "reg", 0, 0x0fff0000, 0, 0x20000);
	fb_end(&b);
	fb_end(&b);
	fb_begin(&b, "uart");
	fb_string(&b, "compatible", "arm,pl011");
	FB_CELLS(&b, "reg", 0, 0x10001000, 0, 0x1000);
	fb_end(&b);
	fb_begin(&b, "pci1");
	fb_string(&b, "compatible", "pci-host-ecam-generic");
	fb_cell(&b, "#address-cells", 3);
	fb_cell(&b, "#size-cells", 2);
	FB_CELLS(&b, "reg", 0, 0x0ff00000, 0, 0x200000);
	fb_end(&b);
	fb_begin(&b, "pci2");
	fb_string(&b, "compatible", "pci-host-ecam-generic");
	fb_cell(&b, "#address-cells", 3);
	fb_cell(&b, "#size-cells", 2);
	FB_CELLS(&b, "reg", 0, 0x30000000, 0, 0x200000);
	FB_CELLS(&b, "ranges", 0x02000000, 0, 0x10000000, 0, 0x10000000, 0, 0x1000000);
	fb_end(&b);
	ATF_CHECK_EQ(finish(), OK);
	ATF_CHECK_EQ(m.irqc.kind, IRQC_GICV3);
	ATF_REQUIRE_EQ(m.irqc.gicr_count, 1);
	ATF_CHECK_EQ(m.irqc.gicr[0].base, 0x200000);
	ATF_CHECK_EQ(m.irqc.its_count, 0);
	ATF_CHECK_EQ(m.console.kind, CONSOLE_NONE);
	ATF_REQUIRE_EQ(m.host_count, 1);
	ATF_CHECK_EQ(m.host[0].ecam, 0x30000000);
	ATF_CHECK_EQ(m.host[0].window_count, 0);
	ATF_CHECK(machine_noted(&m, "redistributor region 0 is absurd"));
	ATF_CHECK(machine_noted(&m, "its has no usable registers"));
	ATF_CHECK(machine_noted(&m, "console uart has no usable registers"));
	ATF_CHECK(machine_noted(&m, "pci1: no usable registers"));
	ATF_CHECK(machine_noted(&m, "pci2: window at offset 0x0"));
}

ATF_TC_WITHOUT_HEAD(absurd_numbers_in_chosen_are_ignored);
ATF_TC_BODY(absurd_numbers_in_chosen_are_ignored, tc)
{
	char args[MACHINE_CMDLINE_MAX + 100];

	memset(args, 'a', sizeof(args) - 1);
	args[sizeof(args) - 1] = 0;
	start();
	fb_begin(&b, "chosen");
	FB_CELLS(&b, "linux,initrd-start", 0, 0x50000000);
	FB_CELLS(&b, "linux,initrd-end", 0, 0x4fffffff);
	fb_string(&b, "bootargs", args);
	fb_string(&b, "stdout-path", args);
	FB_CELLS(&b, "linux,usable-memory-range", 0xffffffff, 0, 1, 0);
	fb_prop(&b, "rng-seed", "", 0);
	fb_end(&b);
	ATF_CHECK_EQ(finish(), OK);
	ATF_CHECK_EQ(m.archive.len, 0);
	ATF_CHECK_EQ(strlen(m.cmdline), MACHINE_CMDLINE_MAX - 1);
	ATF_CHECK(!m.seed_known);
	ATF_CHECK(machine_noted(&m, "boot archive"));
	ATF_CHECK(machine_noted(&m, "command line is longer"));
	ATF_CHECK(machine_noted(&m, "linux,usable-memory-range is absurd"));
}

ATF_TC_WITHOUT_HEAD(what_the_kernel_cannot_use_is_named);
ATF_TC_BODY(what_the_kernel_cannot_use_is_named, tc)
{
	start();
	fb_begin(&b, "gic");
	fb_string(&b, "compatible", "arm,cortex-a15-gic");
	fb_cell(&b, "#interrupt-cells", 3);
	FB_CELLS(&b, "reg", 0, 0x8000000, 0, 0x1000);
	fb_begin(&b, "v2m");
	fb_string(&b, "compatible", "arm,gic-v2m-frame");
	fb_end(&b);
	fb_end(&b);
	fb_begin(&b, "psci");
	fb_string(&b, "compatible", "arm,psci");
	fb_end(&b);
	fb_begin(&b, "pci");
	fb_string(&b, "compatible", "pci-host-ecam-generic");
	fb_cell(&b, "#address-cells", 2);
	fb_end(&b);
	ATF_CHECK_EQ(finish(), OK);
	ATF_CHECK_EQ(m.irqc.kind, IRQC_GICV2);
	ATF_CHECK(m.irqc.gicv2m_only);
	ATF_CHECK_EQ(m.power.psci, PSCI_NONE);
	ATF_CHECK(machine_noted(&m, "PSCI 0.1 is not supported"));
	ATF_CHECK(machine_noted(&m, "pci: wrong numbers of cells"));
}

ATF_TC_WITHOUT_HEAD(more_than_fits_is_counted);
ATF_TC_BODY(more_than_fits_is_counted, tc)
{
	char name[16] = "cpu@000";

	start();
	fb_begin(&b, "cpus");
	fb_cell(&b, "#address-cells", 1);
	fb_cell(&b, "#size-cells", 0);
	for (uint32_t i = 0; i < MACHINE_CPUS_MAX + 10; i++) {
		name[5] = (char)('0' + i / 10 % 10);
		name[6] = (char)('0' + i % 10);
		fb_begin(&b, name);
		fb_string(&b, "device_type", "cpu");
		fb_cell(&b, "reg", i);
		fb_end(&b);
	}
	fb_end(&b);
	ATF_CHECK_EQ(finish(), OK);
	ATF_CHECK_EQ(m.cpu_count, MACHINE_CPUS_MAX);
	ATF_CHECK_EQ(m.dropped, 10);
}

ATF_TC_WITHOUT_HEAD(a_bent_tree_never_describes_what_lies_in_memory);
ATF_TC_BODY(a_bent_tree_never_describes_what_lies_in_memory, tc)
{
	uint8_t *bent = malloc(sizeof(soc));

	srand(4);
	for (unsigned run = 0; run < 4000; run++) {
		bool second = run % 2 != 0;
		size_t len = second ? sizeof(soc) : sizeof(virt);

		bent = realloc(bent, len);
		memcpy(bent, second ? soc : virt, len);
		for (unsigned k = 0; k <= run % 4; k++)
			bent[(size_t)rand() % len] = (uint8_t)(rand() % 3 == 0 ? 0xff : rand());
		memset(&m, 0, sizeof(m));
		if (fdt_machine(&m, bent, len) != OK)
			continue;
		for (uint32_t i = 0; i < m.host_count; i++) {
			const struct machine_host *h = &m.host[i];

			ATF_REQUIRE(h->bus_first <= h->bus_last);
			ATF_REQUIRE(!machine_in_memory(&m, h->ecam + h->bus_first * MIB,
			    (h->bus_last - h->bus_first + 1) * MIB));
			for (uint32_t w = 0; w < h->window_count; w++)
				ATF_REQUIRE(!machine_in_memory(
				    &m, h->window[w].cpu_base, h->window[w].len));
		}
		(void)machine_finish(&m);
	}
	free(bent);
}

ATF_TC_WITHOUT_HEAD(the_console_of_a_known_board_is_found_without_its_node);
ATF_TC_BODY(the_console_of_a_known_board_is_found_without_its_node, tc)
{
	start();
	fb_string(&b, "compatible", "linux,dummy-virt");
	ATF_CHECK_EQ(finish(), OK);
	ATF_CHECK_EQ(m.console.kind, CONSOLE_PL011);
	ATF_CHECK_EQ(m.console.base, 0x9000000);
	check_line(m.console.line, 33, true, false);
	ATF_CHECK(machine_noted(&m, "using the usual place on linux,dummy-virt"));
	/* Not in memory, and not on any board. */
	start();
	fb_string(&b, "compatible", "linux,dummy-virt");
	fb_begin(&b, "memory");
	fb_string(&b, "device_type", "memory");
	FB_CELLS(&b, "reg", 0, 0x08000000, 0, 0x10000000);
	fb_end(&b);
	ATF_CHECK_EQ(finish(), OK);
	ATF_CHECK_EQ(m.console.kind, CONSOLE_NONE);
	start();
	ATF_CHECK_EQ(finish(), OK);
	ATF_CHECK_EQ(m.console.kind, CONSOLE_NONE);
}

/* A console of a kind at a place; width 0: not told. */
static void
uart(const char *kind, uint32_t at, uint32_t width, uint32_t shift)
{
	start();
	fb_begin(&b, "chosen");
	fb_string(&b, "stdout-path", "/uart");
	fb_end(&b);
	fb_begin(&b, "memory");
	fb_string(&b, "device_type", "memory");
	FB_CELLS(&b, "reg", 0, 0x40000000, 0, 0x10000000);
	fb_end(&b);
	fb_begin(&b, "uart");
	fb_string(&b, "compatible", kind);
	FB_CELLS(&b, "reg", 0, at, 0, 8);
	if (width != 0)
		fb_cell(&b, "reg-io-width", width);
	fb_cell(&b, "reg-shift", shift);
	fb_end(&b);
	ATF_CHECK_EQ(finish(), OK);
}

ATF_TC_WITHOUT_HEAD(a_console_is_taken_where_each_access_is_aligned);
ATF_TC_BODY(a_console_is_taken_where_each_access_is_aligned, tc)
{
	static const struct {
		const char *kind;
		uint32_t at, width, shift;
		bool taken;
	} at[] = {
		{ "ns16550a", 0x09000001, 1, 0, true },
		{ "ns16550a", 0x09000004, 4, 2, true },
		{ "ns16550a", 0x09000000, 4, 3, true },
		{ "ns16550a", 0x3fffffe0, 0, 2, true },
		{ "arm,pl011", 0x09000004, 0, 0, true },
		{ "ns16550a", 0x09000000, 4, 0, false },
		{ "ns16550a", 0x09000000, 4, 1, false },
		{ "ns16550a", 0x09000000, 2, 1, false },
		{ "ns16550a", 0x09000002, 4, 2, false },
		{ "ns16550a", 0x3fffffe4, 0, 2, false },	/* the last in memory */
		{ "arm,pl011", 0x09000002, 0, 0, false },
		{ "arm,pl011", 0x09000001, 1, 0, false },	/* words, whatever is told */
		{ "ns16550a", 0, 1, 0, false },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		uart(at[i].kind, at[i].at, at[i].width, at[i].shift);
		ATF_CHECK_EQ_MSG(m.console.kind != CONSOLE_NONE, at[i].taken, "%u", i);
		ATF_CHECK_EQ_MSG(
		    machine_noted(&m, "uart has no usable registers"), !at[i].taken, "%u", i);
	}
}

ATF_TC_WITHOUT_HEAD(interrupt_controllers_lie_on_whole_frames);
ATF_TC_BODY(interrupt_controllers_lie_on_whole_frames, tc)
{
	for (unsigned bent = 0; bent < 4; bent++) {
		start();
		fb_begin(&b, "gic");
		fb_string(&b, "compatible", "arm,gic-v3");
		fb_cell(&b, "#address-cells", 2);
		fb_cell(&b, "#size-cells", 2);
		fb_prop(&b, "ranges", "", 0);
		FB_CELLS(&b, "reg", 0, 0x08000000 + (bent == 1) * 0x1000, 0, 0x10000, 0,
		    0x080a0000 + (bent == 2) * 0x8000, 0, 0x100000);
		fb_begin(&b, "its");
		fb_string(&b, "compatible", "arm,gic-v3-its");
		FB_CELLS(&b, "reg", 0, 0x08080000 + (bent == 3) * 4, 0, 0x20000);
		fb_end(&b);
		fb_end(&b);
		ATF_CHECK_EQ(finish(), OK);
		ATF_CHECK_EQ(m.irqc.kind, bent == 1 ? IRQC_NONE : IRQC_GICV3);
		ATF_CHECK_EQ(m.irqc.gicr_count, bent == 0 || bent == 3);
		ATF_CHECK_EQ(m.irqc.its_count, bent == 0 || bent == 2);
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_console_is_taken_where_each_access_is_aligned);
	ATF_TP_ADD_TC(tp, interrupt_controllers_lie_on_whole_frames);
	ATF_TP_ADD_TC(tp, the_console_of_a_known_board_is_found_without_its_node);
	ATF_TP_ADD_TC(tp, a_virtual_machine_is_described_whole);
	ATF_TP_ADD_TC(tp, a_board_with_buses_is_described_at_cpu_addresses);
	ATF_TP_ADD_TC(tp, garbage_is_refused_with_a_note);
	ATF_TP_ADD_TC(tp, an_empty_tree_says_what_is_missing);
	ATF_TP_ADD_TC(tp, memory_that_cannot_be_is_left_out);
	ATF_TP_ADD_TC(tp, registers_in_memory_are_refused);
	ATF_TP_ADD_TC(tp, absurd_numbers_in_chosen_are_ignored);
	ATF_TP_ADD_TC(tp, what_the_kernel_cannot_use_is_named);
	ATF_TP_ADD_TC(tp, more_than_fits_is_counted);
	ATF_TP_ADD_TC(tp, a_bent_tree_never_describes_what_lies_in_memory);
	return atf_no_error();
}
