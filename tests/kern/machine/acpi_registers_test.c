/*
 * kern/machine/acpi.c: where the registers that tables name may lie.
 *
 * LINK: kern/machine/acpi.c kern/machine/acpi_tables.c kern/machine/machine.c
 * LINK: kern/base/fmt.c kern/base/str.c tests/lib/acpi_build.c
 */
#include <atf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/acpi_stage.h"

static void
spcr(uint8_t type, uint8_t space, uint8_t width, uint8_t access, uint64_t address)
{
	uint8_t *t;

	start();
	machine_add_memory(&m, 0x4000'0000, 0x1000'0000, MEM_RAM);
	t = ab_table(&b, "SPCR", 80);
	t[8] = 2;
	t[36] = type;
	gas(t + 40, space, width, access, address);
	ab_finish(&b, AB_XSDT);
	ATF_REQUIRE_EQ(acpi_machine(&m, ab_source(&b)), OK);
}

ATF_TC_WITHOUT_HEAD(a_console_is_taken_where_each_access_is_aligned);
ATF_TC_BODY(a_console_is_taken_where_each_access_is_aligned, tc)
{
	static const struct {
		uint8_t type, width, access;
		uint64_t at;
		enum machine_console_kind kind;
		uint8_t access_bytes, reg_shift;
	} good[] = {
		{ 0, 8, 1, 0x90a0000, CONSOLE_16550_MMIO, 1, 0 },
		{ 0, 8, 1, 0x90a0005, CONSOLE_16550_MMIO, 1, 0 },
		{ 0x12, 32, 3, 0x90a0004, CONSOLE_16550_MMIO, 4, 2 },
		{ 0x12, 32, 0, 0x90a0000, CONSOLE_16550_MMIO, 4, 2 },
		{ 0x12, 32, 1, 0x90a0001, CONSOLE_16550_MMIO, 1, 2 },
		{ 0, 8, 1, 0x3fff'fff8, CONSOLE_16550_MMIO, 1, 0 },
		{ 0, 32, 3, 0x3fff'ffe0, CONSOLE_16550_MMIO, 4, 2 },
		{ 3, 8, 1, 0x9000004, CONSOLE_PL011, 1, 0 },
		{ 0xe, 32, 3, 0x3fff'f000, CONSOLE_SBSA, 4, 0 },
	}, bad[] = {
		{ 0, 8, 3, 0x90a0000, .access_bytes = 4 },	/* base + 5 */
		{ 0, 16, 3, 0x90a0000, .access_bytes = 4 },
		{ 0x12, 32, 3, 0x90a0002, .access_bytes = 4 },
		{ 3, 8, 1, 0x9000002, .access_bytes = 4 },
		{ 0xe, 32, 3, 0x9000001, .access_bytes = 4 },
		/* The last of them in memory. */
		{ 0, 8, 1, 0x3fff'fff9, .access_bytes = 1 },
		{ 0, 32, 3, 0x3fff'ffe4, .access_bytes = 4 },
		{ 3, 32, 3, 0x3fff'f004, .access_bytes = 4 },
		{ 0, 8, 1, UINT64_MAX - 3, .access_bytes = 1 },
	};

	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		spcr(good[i].type, 0, good[i].width, good[i].access, good[i].at);
		ATF_CHECK_EQ_MSG(m.console.kind, good[i].kind, "good %u", i);
		ATF_CHECK_EQ_MSG(m.console.base, good[i].at, "good %u", i);
		ATF_CHECK_EQ_MSG(m.console.access_bytes, good[i].access_bytes, "good %u", i);
		ATF_CHECK_EQ_MSG(m.console.reg_shift, good[i].reg_shift, "good %u", i);
		ATF_CHECK(!machine_noted(&m, "ACPI: SPCR"));
	}
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		spcr(bad[i].type, 0, bad[i].width, bad[i].access, bad[i].at);
		ATF_CHECK_EQ_MSG(m.console.kind, CONSOLE_NONE, "bad %u", i);
		ATF_CHECK(machine_noted(&m, "SPCR: the console's registers at 0x"));
	}
}

ATF_TC_WITHOUT_HEAD(a_console_has_no_port_of_the_board);
ATF_TC_BODY(a_console_has_no_port_of_the_board, tc)
{
	static const uint16_t board[] = { 0x01, 0x20, 0x70, 0xff };

	for (unsigned i = 0; i < sizeof(board) / sizeof(board[0]); i++) {
		char note[80];

		snprintf(note, sizeof(note), "SPCR: port 0x%x is the board's, not a console's",
		    board[i]);
		spcr(0, 1, 8, 1, board[i]);
		ATF_CHECK_EQ(m.console.kind, CONSOLE_NONE);
		ATF_CHECK(machine_noted(&m, note));
	}
	spcr(0, 1, 8, 1, 0x2f8);
	ATF_CHECK(m.console.kind == CONSOLE_16550_IO && m.console.base == 0x2f8);
	spcr(0, 1, 8, 1, 0xfff8);
	ATF_CHECK_EQ(m.console.kind, CONSOLE_16550_IO);
	spcr(0, 1, 8, 1, 0xfff9);
	ATF_CHECK_EQ(m.console.kind, CONSOLE_NONE);
	ATF_CHECK(machine_noted(&m, "SPCR: port 0xfff9 is absurd"));
	/* A PL011 has no ports, and other spaces are nobody's. */
	spcr(3, 1, 32, 3, 0x3f8);
	ATF_CHECK_EQ(m.console.kind, CONSOLE_NONE);
	spcr(0, 2, 8, 1, 0x3f8);
	ATF_CHECK_EQ(m.console.kind, CONSOLE_NONE);
	ATF_CHECK(machine_noted(&m, "SPCR: console of type 0x0 is not known in space 2"));
}

ATF_TC_WITHOUT_HEAD(redirection_that_is_off_is_said);
ATF_TC_BODY(redirection_that_is_off_is_said, tc)
{
	spcr(3, 0, 32, 3, 0);
	ATF_CHECK_EQ(m.console.kind, CONSOLE_NONE);
	ATF_CHECK(machine_noted(&m, "SPCR: its address is 0: it names no console"));
}

/* A distributor of a version, a redistributor region, an ITS. */
static void
gic(uint8_t version, uint64_t gicd, uint64_t gicr, uint64_t its)
{
	uint8_t *t;

	start();
	machine_add_memory(&m, 0x4000'0000, 0x1000'0000, MEM_RAM);
	t = ab_table(&b, "APIC", 44 + 24 + 16 + 20) + 44;
	t[0] = 0xc;
	t[1] = 24;
	ab_put64(t + 8, gicd);
	t[20] = version;
	t += 24;
	t[0] = 0xe;
	t[1] = 16;
	ab_put64(t + 4, gicr);
	ab_put32(t + 12, 0x40000);
	t += 16;
	t[0] = 0xf;
	t[1] = 20;
	ab_put64(t + 8, its);
	ab_finish(&b, AB_XSDT);
	ATF_REQUIRE_EQ(acpi_machine(&m, ab_source(&b)), OK);
}

ATF_TC_WITHOUT_HEAD(interrupt_controllers_lie_on_whole_frames);
ATF_TC_BODY(interrupt_controllers_lie_on_whole_frames, tc)
{
	gic(3, 0x8000000, 0x80a0000, 0x8080000);
	ATF_CHECK(m.irqc.kind == IRQC_GICV3 && m.irqc.gicd == 0x8000000);
	ATF_CHECK(m.irqc.gicr_count == 1 && m.irqc.its_count == 1);
	ATF_CHECK(!machine_noted(&m, "not on 64 KiB"));
	gic(3, 0x8001000, 0x80a0000, 0x8080000);
	ATF_CHECK(m.irqc.kind == IRQC_NONE && m.irqc.gicd == 0);
	ATF_CHECK(machine_noted(&m, "GIC distributor registers at 0x8001000 are not on 64 KiB"));
	gic(3, 0x8000000, 0x80a8000, 0x8080000);
	ATF_CHECK(m.irqc.kind == IRQC_GICV3 && m.irqc.gicr_count == 0);
	ATF_CHECK(machine_noted(&m, "GIC redistributor registers at 0x80a8000 are not on 64 KiB"));
	gic(3, 0x8000000, 0x80a0000, 0x8080004);
	ATF_CHECK(m.irqc.kind == IRQC_GICV3 && m.irqc.its_count == 0);
	ATF_CHECK(machine_noted(&m, "ITS registers at 0x8080004 are not on 64 KiB"));
	/* A GICv2 has pages. */
	gic(2, 0x8001000, 0, 0);
	ATF_CHECK(m.irqc.kind == IRQC_GICV2 && m.irqc.gicd == 0x8001000);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_console_is_taken_where_each_access_is_aligned);
	ATF_TP_ADD_TC(tp, a_console_has_no_port_of_the_board);
	ATF_TP_ADD_TC(tp, redirection_that_is_off_is_said);
	ATF_TP_ADD_TC(tp, interrupt_controllers_lie_on_whole_frames);
	return atf_no_error();
}
