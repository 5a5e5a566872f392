/*
 * kern/machine/acpi*.c: a PC, an Arm server, and tables that lie.
 *
 * LINK: kern/machine/acpi.c kern/machine/acpi_tables.c kern/machine/machine.c
 * LINK: kern/base/fmt.c kern/base/str.c tests/lib/acpi_build.c
 */
#include <atf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/acpi_stage.h"

static enum status
finish(enum ab_root root)
{
	ab_finish(&b, root);
	return acpi_machine(&m, ab_source(&b));
}

/* Entries of a MADT, one after the other. */
static void
put(uint8_t **at, const void *bytes, uint8_t len)
{
	memcpy(*at, bytes, len);
	*at += len;
}

static uint8_t *
dsdt(const void *aml, uint32_t len)
{
	uint8_t *t = ab_table(&b, "DSDT", ACPI_HEADER + len);

	memcpy(t + ACPI_HEADER, aml, len);
	return t;
}

static uint8_t *
fadt(uint32_t len, uint8_t revision, uint32_t flags)
{
	/* Name (\_S5, Package (4) { 5, 6, 0, 0 }), between other bytes */
	static const uint8_t aml[] = { 0x10, 0x20, '_', 'S', '5', '_', 0x12, 0x08, '\\', '_', 'S',
		'5', '_', 0x00, 0x08, '\\', '_', 'S', '5', '_', 0x12, 0x08, 0x04, 0x0a, 0x05, 0x0a,
		0x06, 0x00, 0x00, 0xa3, 0xa3, 0xa3, 0xa3, 0xa3, 0xa3, 0xa3, 0xa3 };
	uint8_t *d = dsdt(aml, sizeof(aml)), *t = ab_table(&b, "FACP", len);

	t[8] = revision;
	ab_put32(t + 40, (uint32_t)ab_address(&b, d));
	ab_put32(t + 64, 0x604);
	ab_put32(t + 76, 0x608);
	t[91] = 4;
	ab_put32(t + 112, flags);
	return t;
}

static void
pc(enum ab_root root)
{
	static const uint8_t lapics[][8] = { { 0, 8, 0, 0, 1 }, { 0, 8, 1, 2, 1 },
		{ 0, 8, 2, 4, 0 }, { 0, 8, 3, 2, 1 } };
	static const uint8_t x2apic[16] = { 9, 16, 0, 0, 0x00, 0x01, 0, 0, 1, 0, 0, 0, 7 };
	static const uint8_t ioapic[12] = { 1, 12, 8, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0 };
	static const uint8_t overrides[][10] = { { 2, 10, 0, 0, 2 },
		{ 2, 10, 0, 9, 9, 0, 0, 0, 0x0d }, { 2, 10, 1, 3, 3 } };
	static const uint8_t nmi[6] = { 4, 6, 0xff, 0, 0, 1 };
	uint8_t *t = ab_table(&b, "APIC", 44 + 32 + 16 + 12 + 30 + 6), *p = t + 44;

	ab_put32(t + 36, 0xfee00000);
	ab_put32(t + 40, 1);
	put(&p, lapics, sizeof(lapics));
	put(&p, x2apic, sizeof(x2apic));
	put(&p, ioapic, sizeof(ioapic));
	put(&p, overrides, sizeof(overrides));
	put(&p, nmi, sizeof(nmi));
	t = ab_table(&b, "MCFG", 44 + 32);
	ab_put64(t + 44, 0xb0000000);
	t[44 + 11] = 255;
	ab_put64(t + 60, 0x40'0000'0000);
	ab_put16(t + 68, 1);
	t[60 + 10] = 0x80;
	t[60 + 11] = 0x9f;
	t = fadt(244, 3, 1 << 10 | 1 << 8);
	gas(t + 116, 1, 8, 1, 0xcf9);
	t[128] = 0xf;
	ab_put16(t + 109, 2);
	t[108] = 0x32;
	t = ab_table(&b, "HPET", 56);
	gas(t + 40, 0, 64, 0, 0xfed00000);
	t = ab_table(&b, "SPCR", 80);
	t[8] = 2;
	gas(t + 40, 1, 8, 1, 0x3f8);
	t[52] = 3;
	t[53] = 4;
	ab_put32(t + 54, 4);
	t[58] = 7;
	ATF_REQUIRE_EQ(finish(root), OK);
}

ATF_TC_WITHOUT_HEAD(a_pc_is_described_through_either_root_table);
ATF_TC_BODY(a_pc_is_described_through_either_root_table, tc)
{
	for (enum ab_root root = AB_XSDT; root <= AB_BOTH; root++) {
		start();
		pc(root);
		ATF_CHECK_EQ(m.source, SOURCE_ACPI);
		ATF_CHECK_EQ(m.rtc.kind, RTC_CMOS);
		ATF_CHECK_EQ(m.rtc.century, 0x32);
		ATF_CHECK_STREQ(m.model, "CAPOS  TESTTABL");
		ATF_CHECK_EQ(m.irqc.kind, IRQC_APIC);
		ATF_CHECK(m.irqc.has_8259);
		ATF_CHECK_EQ(m.irqc.lapic, 0xfee00000);
		ATF_REQUIRE_EQ(m.cpu_count, 3);		/* one is off, one is there twice */
		ATF_CHECK(m.cpu[0].hwid == 0 && m.cpu[1].hwid == 2 && m.cpu[2].hwid == 0x100 &&
		    m.cpu[2].acpi_uid == 7);
		ATF_CHECK(machine_noted(&m, "processor id 0x2 twice"));
		ATF_REQUIRE_EQ(m.irqc.ioapic_count, 1);
		ATF_CHECK(m.irqc.ioapic[0].base == 0xfec00000 && m.irqc.ioapic[0].id == 8);
		ATF_REQUIRE_EQ(m.irqc.override_count, 2);	/* only ISA has them */
		ATF_CHECK(m.irqc.override[0].isa == 0 && m.irqc.override[0].gsi == 2 &&
		    !m.irqc.override[0].level);
		ATF_CHECK(m.irqc.override[1].isa == 9 && m.irqc.override[1].level &&
		    !m.irqc.override[1].active_low);
		ATF_REQUIRE_EQ(m.host_count, 2);
		ATF_CHECK(m.host[0].ecam == 0xb0000000 && m.host[0].bus_last == 255 &&
		    m.host[0].preserve);
		ATF_CHECK(m.host[1].segment == 1 && m.host[1].bus_first == 0x80 &&
		    m.host[1].bus_last == 0x9f);
		ATF_CHECK_EQ(m.host[0].access, ECAM_STANDARD);
		ATF_CHECK_EQ(m.power.pm1a_control, 0x604);
		ATF_CHECK_EQ(m.timer.pm_timer_port, 0x608);
		ATF_CHECK(m.timer.pm_timer_32bit);
		ATF_CHECK(m.power.s5_known && m.power.s5_typa == 5 && m.power.s5_typb == 6);
		ATF_CHECK(m.power.reset_known && m.power.reset_address == 0xcf9 &&
		    m.power.reset_space == 1 && m.power.reset_value == 0xf);
		ATF_CHECK(m.power.i8042 && !m.power.no_msi && !m.power.hardware_reduced);
		ATF_CHECK_EQ(m.timer.hpet, 0xfed00000);
		ATF_CHECK(m.console.kind == CONSOLE_16550_IO && m.console.base == 0x3f8 &&
		    m.console.baud == 115200);
		ATF_CHECK(
		    m.console.line.present && m.console.line.id == 4 && !m.console.line.level);
		ATF_CHECK_EQ(m.dropped, 0);
		ATF_CHECK_EQ(m.note_count, 1);
	}
}

/* Tables made from a chipset whose power management has no address yet, in one place or in both. */
ATF_TC_WITHOUT_HEAD(ports_of_the_board_are_not_power_managements);
ATF_TC_BODY(ports_of_the_board_are_not_power_managements, tc)
{
	static const struct { uint16_t old, new, is; } at[] = {
		{ 4, 0, 0 }, { 4, 4, 0 }, { 0xff, 0x100, 0x100 }, { 0x604, 0xff, 0x604 },
		{ 0x604, 0, 0x604 }, { 0, 0xff, 0 }, { 0x704, 0x604, 0x604 },
	};

	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		bool bad_old = at[i].old < 0x100 && at[i].old != 0 && at[i].is == 0;
		uint8_t *t;

		start();
		t = fadt(244, 3, 1 << 10);
		for (unsigned k = 0; k < 2; k++) {	/* PM1a control, and the timer */
			ab_put32(t + (k == 0 ? 64 : 76), at[i].old);
			gas(t + (k == 0 ? 172 : 208), 1, 32, 3, at[i].new);
		}
		ATF_CHECK_EQ(finish(AB_XSDT), OK);
		ATF_CHECK_EQ_MSG(m.power.pm1a_control, at[i].is, "%u", i);
		ATF_CHECK_EQ(m.timer.pm_timer_port, at[i].is);
		ATF_CHECK_EQ(machine_noted(&m, "port 0x4 is the board's"), bad_old);
		ATF_CHECK_EQ(machine_noted(&m, "port 0xff is the board's"), at[i].new == 0xff);
	}
}

ATF_TC_WITHOUT_HEAD(a_port_of_the_board_restarts_only_where_it_does_on_a_pc);
ATF_TC_BODY(a_port_of_the_board_restarts_only_where_it_does_on_a_pc, tc)
{
	static const struct { uint32_t port; bool good; } at[] = {
		{ 0, false }, { 0x20, false }, { 0x64, true }, { 0x92, true }, { 0xff, false },
		{ 0x100, true }, { 0xcf9, true }, { 0x10000, false },
	};

	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		start();
		gas(fadt(244, 3, 1 << 10) + 116, 1, 8, 1, at[i].port);
		ATF_CHECK_EQ(finish(AB_XSDT), OK);
		ATF_CHECK_EQ_MSG(m.power.reset_known, at[i].good, "0x%x", at[i].port);
		ATF_CHECK(machine_noted(&m, "reset register in space 1: not used") != at[i].good);
		start();
		gas(fadt(276, 5, 1 << 20) + 244, 1, 8, 1, at[i].port);
		ATF_CHECK_EQ(finish(AB_XSDT), OK);
		ATF_CHECK_EQ(m.power.sleep_control != 0, at[i].good && at[i].port >= 0x100);
	}
}

ATF_TC_WITHOUT_HEAD(an_arm_server_is_described);
ATF_TC_BODY(an_arm_server_is_described, tc)
{
	uint8_t *t, *p;

	start();
	t = ab_table(&b, "APIC", 44 + 3 * 80 + 24 + 2 * 16 + 2 * 20);
	p = t + 44;
	for (unsigned i = 0; i < 3; i++, p += 80) {
		p[0] = 0xb;
		p[1] = 80;
		ab_put32(p + 8, 10 + i);
		ab_put32(p + 12, i != 1);
		ab_put64(p + 60, 0x7000'0000 + i * 0x40000);	/* not used: there are regions */
		ab_put64(p + 68, i << 8 | (i == 2 ? 1ull << 31 : 0));
	}
	p[0] = 0xc;
	p[1] = 24;
	ab_put64(p + 8, 0x8000000);
	p[20] = 3;
	p += 24;
	for (unsigned i = 0; i < 2; i++, p += 16) {		/* two that are one */
		p[0] = 0xe;
		p[1] = 16;
		ab_put64(p + 4, 0x80a0000 + i * 0x100000);
		ab_put32(p + 12, 0x100000);
	}
	for (unsigned i = 0; i < 2; i++, p += 20) {
		p[0] = 0xf;
		p[1] = 20;
		ab_put32(p + 4, 5 + i);
		ab_put64(p + 8, i == 0 ? 0x8080000 : 0);		/* the second is nowhere */
	}
	t = ab_table(&b, "MCFG", 60);
	memcpy(t + 10, "AmpereAltra   ", 14);
	ab_put64(t + 44, 0x33'fff0'0000);
	t[55] = 63;
	t = fadt(276, 6, 1 << 20);
	ab_put16(t + 129, 3);
	gas(t + 244, 0, 8, 1, 0x9080000);
	memcpy(t + 268, "QEMU\0\0\0\0", 8);
	t = ab_table(&b, "GTDT", 80);
	ab_put32(t + 56, 30);
	ab_put32(t + 60, 4);
	ab_put32(t + 64, 27);
	ab_put32(t + 68, 1);
	ab_put32(t + 72, 1000);		/* no private interrupt */
	t = ab_table(&b, "SPCR", 88);
	t[8] = 4;
	t[36] = 3;
	gas(t + 40, 0, 32, 3, 0x9000000);
	t[52] = 8;
	ab_put32(t + 54, 33);
	ab_put32(t + 76, 24000000);
	ab_put32(t + 80, 921600);
	ATF_REQUIRE_EQ(finish(AB_XSDT), OK);
	ATF_CHECK_EQ(m.irqc.kind, IRQC_GICV3);
	ATF_CHECK_EQ(m.irqc.gicd, 0x8000000);
	ATF_REQUIRE_EQ(m.cpu_count, 2);
	ATF_CHECK(m.cpu[1].hwid == 0x200 && m.cpu[1].acpi_uid == 12);
	ATF_REQUIRE_EQ(m.irqc.gicr_count, 1);
	ATF_CHECK(m.irqc.gicr[0].base == 0x80a0000 && m.irqc.gicr[0].len == 0x200000);
	ATF_REQUIRE_EQ(m.irqc.its_count, 1);
	ATF_CHECK(m.irqc.its[0].id == 5 && m.irqc.its[0].base == 0x8080000);
	ATF_CHECK(machine_noted(&m, "ITS registers are at 0"));
	ATF_REQUIRE_EQ(m.host_count, 1);
	ATF_CHECK_EQ(m.host[0].access, ECAM_WORDS);
	ATF_CHECK_EQ(m.power.psci, PSCI_HVC);
	ATF_CHECK(m.power.hardware_reduced && m.power.sleep_control == 0x9080000 &&
	    m.power.pm1a_control == 0);
	ATF_CHECK_STREQ(m.power.hypervisor, "QEMU");
	ATF_CHECK(!m.power.i8042);
	ATF_CHECK(m.timer.phys.id == 30 && m.timer.phys.level && m.timer.phys.present);
	ATF_CHECK(m.timer.virt.id == 27 && !m.timer.virt.level);
	ATF_CHECK(!m.timer.hyp.present);
	ATF_CHECK(m.console.kind == CONSOLE_PL011 && m.console.base == 0x9000000 &&
	    m.console.access_bytes == 4);
	ATF_CHECK(m.console.clock_hz == 24000000 && m.console.baud == 921600);
	ATF_CHECK(m.console.line.id == 33 && m.console.line.level);
}

ATF_TC_WITHOUT_HEAD(redistributors_are_found_by_processor_when_there_are_no_regions);
ATF_TC_BODY(redistributors_are_found_by_processor_when_there_are_no_regions, tc)
{
	uint8_t *t, *p;

	start();
	t = ab_table(&b, "APIC", 44 + 3 * 80 + 24);
	p = t + 44;
	for (unsigned i = 0; i < 3; i++, p += 80) {
		p[0] = 0xb;
		p[1] = 80;
		ab_put32(p + 12, 1);
		ab_put64(p + 60, 0x7000'0000 + i * 0x20000 + (i == 2) * 0x100000);
		ab_put64(p + 68, i);
	}
	p[0] = 0xc;
	p[1] = 24;
	ab_put64(p + 8, 0x8000000);
	ATF_REQUIRE_EQ(finish(AB_XSDT), OK);
	ATF_CHECK_EQ(m.irqc.kind, IRQC_GICV3);
	ATF_REQUIRE_EQ(m.irqc.gicr_count, 2);
	ATF_CHECK_EQ(m.irqc.gicr[0].len, 0x40000);
	ATF_CHECK_EQ(m.irqc.gicr[1].base, 0x70140000);
}

ATF_TC_WITHOUT_HEAD(many_redistributor_regions_and_segments_are_kept_apart);
ATF_TC_BODY(many_redistributor_regions_and_segments_are_kept_apart, tc)
{
	enum { REGIONS = MACHINE_GICR_MAX + 4, SEGMENTS = MACHINE_HOST_MAX + 1 };
	uint8_t *t, *p;

	start();
	t = ab_table(&b, "APIC", 44 + 24 + REGIONS * 16);
	p = t + 44;
	p[0] = 0xc;
	p[1] = 24;
	ab_put64(p + 8, 0x8000000);
	p += 24;
	for (unsigned i = 0; i < REGIONS; i++, p += 16) {
		p[0] = 0xe;
		p[1] = 16;
		ab_put64(p + 4, 0x1'0000'0000 + i * 0x1000'0000ull);
		ab_put32(p + 12, 0x800000);		/* 64 processors each */
	}
	t = ab_table(&b, "MCFG", 44 + 16 * SEGMENTS);
	for (unsigned i = 0; i < SEGMENTS; i++) {
		ab_put64(t + 44 + 16 * i, 0x40'0000'0000 + i * 0x1000'0000ull);
		ab_put16(t + 44 + 16 * i + 8, (uint16_t)(i / 2));	/* two hosts a segment */
		t[44 + 16 * i + 10] = i % 2 != 0 ? 0x80 : 0;
		t[44 + 16 * i + 11] = i % 2 != 0 ? 0xff : 0x7f;
	}
	ATF_REQUIRE_EQ(finish(AB_XSDT), OK);
	ATF_REQUIRE_EQ(m.irqc.gicr_count, MACHINE_GICR_MAX);
	for (unsigned i = 0; i < MACHINE_GICR_MAX; i++)
		ATF_CHECK(m.irqc.gicr[i].base == 0x1'0000'0000 + i * 0x1000'0000ull &&
		    m.irqc.gicr[i].len == 0x800000);
	ATF_REQUIRE_EQ(m.host_count, MACHINE_HOST_MAX);
	for (unsigned i = 0; i < MACHINE_HOST_MAX; i++)
		ATF_CHECK(m.host[i].segment == i / 2 &&
		    m.host[i].bus_first == (i % 2 != 0 ? 0x80 : 0) &&
		    m.host[i].ecam == 0x40'0000'0000 + i * 0x1000'0000ull);
	ATF_CHECK_EQ(m.dropped, 4 + 1);
}

/* One device: revision, length, registers, name, ..., type, subtype, where its registers' place is.
 */
static void
debug_port(uint8_t *p, uint16_t type, uint16_t subtype, uint64_t at)
{
	ab_put16(p + 1, 34);
	p[3] = 1;
	ab_put16(p + 12, type);
	ab_put16(p + 14, subtype);
	ab_put16(p + 18, 22);
	gas(p + 22, 0, 32, 3, at);
}

ATF_TC_WITHOUT_HEAD(a_debug_port_is_the_console_where_none_is_named);
ATF_TC_BODY(a_debug_port_is_the_console_where_none_is_named, tc)
{
	uint8_t *t, *c;

	/* A network card, a port of unknown kind, one that we know, another. */
	for (unsigned named = 0; named < 2; named++) {
		start();
		t = ab_table(&b, "DBG2", 44 + 4 * 34);
		ab_put32(t + 36, 44);
		ab_put32(t + 40, 4);
		debug_port(t + 44, 0x8003, 3, 0x1000000);
		debug_port(t + 78, 0x8000, 0x77, 0x2000000);
		debug_port(t + 112, 0x8000, 3, 0x9000000);
		debug_port(t + 146, 0x8000, 3, 0xa000000);
		if (named != 0) {
			c = ab_table(&b, "SPCR", 80);
			c[36] = 0xe;
			gas(c + 40, 0, 32, 3, 0xb000000);
		}
		ATF_REQUIRE_EQ(finish(AB_XSDT), OK);
		ATF_CHECK_EQ(m.console.kind, named != 0 ? CONSOLE_SBSA : CONSOLE_PL011);
		ATF_CHECK_EQ(m.console.base, named != 0 ? 0xb000000 : 0x9000000);
		ATF_CHECK(named != 0 ||
		    (!m.console.line.present && machine_noted(&m, "DBG2: console of type 0x77")));
	}
	/* Places and lengths that leave the table. */
	for (unsigned bad = 0; bad < 4; bad++) {
		start();
		t = ab_table(&b, "DBG2", 44 + 34);
		ab_put32(t + 36, bad == 0 ? 0xfffffff0 : bad == 1 ? 60 : 44);
		ab_put32(t + 40, 0xffffffff);
		debug_port(t + 44, 0x8000, 3, 0x9000000);
		if (bad == 2)
			ab_put16(t + 44 + 1, 0);
		if (bad == 3)
			ab_put16(t + 44 + 18, 23);
		ATF_REQUIRE_EQ(finish(AB_XSDT), OK);
		ATF_CHECK_EQ(m.console.kind, CONSOLE_NONE);
		ATF_CHECK(machine_noted(&m, "ACPI: DBG2: entry at 0x"));
	}
}

ATF_TC_WITHOUT_HEAD(tables_are_listed_in_order_with_a_place_for_those_that_cannot_be_read);
ATF_TC_BODY(tables_are_listed_in_order_with_a_place_for_those_that_cannot_be_read, tc)
{
	const uint8_t *t;
	uint32_t len;

	start();
	(void)ab_table(&b, "AAAA", 40);
	(void)ab_table(&b, "BBBB", 44);
	(void)ab_table(&b, "CCCC", 48);
	ab_finish(&b, AB_XSDT);
	b.region[1].bytes[9]++;
	ATF_REQUIRE(acpi_table_nth(&m, ab_source(&b), 0, &t, &len));
	ATF_CHECK(t != NULL && memcmp(t, "AAAA", 4) == 0 && len == 40);
	ATF_REQUIRE(acpi_table_nth(&m, ab_source(&b), 1, &t, &len));
	ATF_CHECK(t == NULL);
	ATF_REQUIRE(acpi_table_nth(&m, ab_source(&b), 2, &t, &len));
	ATF_CHECK(t != NULL && memcmp(t, "CCCC", 4) == 0 && len == 48);
	ATF_CHECK(!acpi_table_nth(&m, ab_source(&b), 3, &t, &len));
	start();
	ATF_CHECK(!acpi_table_nth(&m, ab_source(&b), 0, &t, &len));
}

/* D10: a table that tells of IOMMUs and cannot be read is there all the same. */
ATF_TC_WITHOUT_HEAD(tables_that_tell_of_iommus_are_noted);
ATF_TC_BODY(tables_that_tell_of_iommus_are_noted, tc)
{
	uint32_t len;

	start();
	(void)ab_table(&b, "DMAR", 48);
	(void)ab_table(&b, "VIOT", 48);
	(void)ab_table(&b, "AAAA", 48);
	ab_finish(&b, AB_XSDT);
	for (uint32_t k = 0; k < b.count; k++)
		if (memcmp(b.region[k].bytes, "VIOT", 4) == 0)
			b.region[k].bytes[9]++;
	ATF_CHECK(acpi_table(&m, ab_source(&b), "DMAR", &len) != NULL);
	ATF_CHECK(acpi_table(&m, ab_source(&b), "VIOT", &len) == NULL);
	acpi_note_tables(&m, ab_source(&b));
	ATF_CHECK_EQ(m.tables_present, 1u << TABLE_DMAR | 1u << TABLE_VIOT);
	ATF_CHECK_EQ(m.tables_bad, 1u << TABLE_VIOT);
	ATF_CHECK_EQ(m.note_count, 1);
	start();
	acpi_note_tables(&m, ab_source(&b));
	ATF_CHECK_EQ(m.tables_present, 0);
}

ATF_TC_WITHOUT_HEAD(a_wrong_checksum_loses_one_table_and_says_so);
ATF_TC_BODY(a_wrong_checksum_loses_one_table_and_says_so, tc)
{
	static const char sigs[][5] = { "APIC", "MCFG", "FACP", "SPCR", "HPET", "DSDT" };

	for (unsigned i = 0; i < ARRAY_SIZE(sigs); i++) {
		char text[80];

		start();
		pc(AB_XSDT);
		memset(&m, 0, sizeof(m));
		for (uint32_t k = 0; k < b.count; k++)
			if (memcmp(b.region[k].bytes, sigs[i], 4) == 0)
				b.region[k].bytes[9]++;
		ATF_CHECK_EQ(acpi_machine(&m, ab_source(&b)), OK);
		snprintf(text, sizeof(text), "table %s has a wrong checksum: ignored", sigs[i]);
		ATF_CHECK_MSG(machine_noted(&m, text), "%s", text);
		ATF_CHECK_EQ(m.cpu_count, i == 0 ? 0 : 3);
		ATF_CHECK_EQ(m.host_count, i == 1 ? 0 : 2);
		ATF_CHECK_EQ(m.power.pm1a_control, i == 2 ? 0 : 0x604);
		ATF_CHECK_EQ(m.console.kind, i == 3 ? CONSOLE_NONE : CONSOLE_16550_IO);
		ATF_CHECK_EQ(m.timer.hpet, i == 4 ? 0 : 0xfed00000);
		ATF_CHECK_EQ(m.power.s5_known, i != 2 && i != 5);
	}
}

ATF_TC_WITHOUT_HEAD(a_wrong_length_loses_one_table_and_says_so);
ATF_TC_BODY(a_wrong_length_loses_one_table_and_says_so, tc)
{
	static const uint32_t lengths[] = { 0, 1, 35, 0x10000, 0x7fff'ffff, 0xffff'ffff };

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		start();
		pc(AB_RSDT);
		memset(&m, 0, sizeof(m));
		for (uint32_t k = 0; k < b.count; k++)
			if (memcmp(b.region[k].bytes, "APIC", 4) == 0)
				ab_put32(b.region[k].bytes + 4, lengths[i]);
		ATF_CHECK_EQ(acpi_machine(&m, ab_source(&b)), OK);
		ATF_CHECK(machine_noted(&m, "table APIC has length"));
		ATF_CHECK_EQ(m.cpu_count, 0);
		ATF_CHECK_EQ(m.host_count, 2);
	}
	/* Shorter than its fixed part, but right in itself. */
	start();
	(void)ab_table(&b, "APIC", 40);
	(void)ab_table(&b, "MCFG", 40);
	(void)ab_table(&b, "FACP", 80);
	(void)ab_table(&b, "SPCR", 50);
	(void)ab_table(&b, "GTDT", 50);
	(void)ab_table(&b, "HPET", 50);
	ATF_CHECK_EQ(finish(AB_XSDT), OK);
	ATF_CHECK(machine_noted(&m, "MADT has length 40"));
	ATF_CHECK(machine_noted(&m, "FADT has length 80"));
	ATF_CHECK(machine_noted(&m, "SPCR has length 50"));
	ATF_CHECK(machine_noted(&m, "GTDT has length 50"));
	ATF_CHECK_EQ(m.timer.hpet, 0);
}

ATF_TC_WITHOUT_HEAD(entries_that_overrun_end_the_walk);
ATF_TC_BODY(entries_that_overrun_end_the_walk, tc)
{
	static const uint8_t bad[] = { 0, 1, 9 };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t *t, *p;

		start();
		t = ab_table(&b, "APIC", 44 + 16);
		p = t + 44;
		put(&p, (const uint8_t[]){ 0, 8, 0, 7, 1, 0, 0, 0 }, 8);
		put(&p, (const uint8_t[]){ 0, bad[i], 0, 8, 1, 0, 0, 0 }, 8);
		ATF_CHECK_EQ(finish(AB_XSDT), OK);
		ATF_CHECK_EQ(m.cpu_count, 1);
		ATF_CHECK(machine_noted(&m, "MADT: entry at 0x34 has length"));
	}
	{
		uint8_t *t, *p;

		start();
		t = ab_table(&b, "APIC", 44 + 4 + 8);		/* a short entry is only skipped */
		p = t + 44;
		put(&p, (const uint8_t[]){ 0, 4, 0, 8 }, 4);
		put(&p, (const uint8_t[]){ 0, 8, 0, 7, 1, 0, 0, 0 }, 8);
		ATF_CHECK_EQ(finish(AB_XSDT), OK);
		ATF_CHECK_EQ(m.cpu_count, 1);
		ATF_CHECK(machine_noted(&m, "entry at 0x2c is too short for its type 0"));
	}
}

ATF_TC_WITHOUT_HEAD(without_a_root_there_is_nothing);
ATF_TC_BODY(without_a_root_there_is_nothing, tc)
{
	start();
	pc(AB_BOTH);
	memset(&m, 0, sizeof(m));
	for (uint32_t k = 0; k < b.count; k++)		/* a bad XSDT: the RSDT will do */
		if (memcmp(b.region[k].bytes, "XSDT", 4) == 0)
			b.region[k].bytes[9]++;
	ATF_CHECK_EQ(acpi_machine(&m, ab_source(&b)), OK);
	ATF_CHECK(machine_noted(&m, "table XSDT has a wrong checksum"));
	ATF_CHECK_EQ(m.cpu_count, 3);
	memset(&m, 0, sizeof(m));
	for (uint32_t k = 0; k < b.count; k++)
		if (memcmp(b.region[k].bytes, "RSDT", 4) == 0)
			b.region[k].bytes[9]++;
	ATF_CHECK_EQ(acpi_machine(&m, ab_source(&b)), E_NOT_FOUND);
	ATF_CHECK(machine_noted(&m, "no root pointer, or no root table behind it"));
	ATF_CHECK_EQ(m.source, SOURCE_NONE);
	start();
	ATF_CHECK_EQ(acpi_machine(&m, ab_source(&b)), E_NOT_FOUND);
}

ATF_TC_WITHOUT_HEAD(the_root_pointer_is_searched_where_a_pc_has_it);
ATF_TC_BODY(the_root_pointer_is_searched_where_a_pc_has_it, tc)
{
	struct ab_region *r;
	uint8_t *ebda;

	start();
	pc(AB_XSDT);
	b.source.rsdp = 0;			/* it is at 0xf5a20 */
	memset(&m, 0, sizeof(m));
	ATF_CHECK_EQ(acpi_machine(&m, ab_source(&b)), OK);
	ATF_CHECK_EQ(m.host_count, 2);
	r = &b.region[b.count - 1];
	r->at = 0x9fc00 + 0x3f0;		/* the last place of the EBDA's first KiB */
	ebda = ab_bytes(&b, 0x40e, 2);
	ab_put16(ebda, 0x9fc0);
	memset(&m, 0, sizeof(m));
	ATF_CHECK_EQ(acpi_machine(&m, ab_source(&b)), OK);
	ATF_CHECK_EQ(m.host_count, 2);
	r->at = 0x9fc00 + 0x400;
	memset(&m, 0, sizeof(m));
	ATF_CHECK_EQ(acpi_machine(&m, ab_source(&b)), E_NOT_FOUND);
	r->at = 0xf5a20;
	r->bytes[32]++; /* the second half's checksum: then revision 0 counts, which has no table */
	memset(&m, 0, sizeof(m));
	ATF_CHECK_EQ(acpi_machine(&m, ab_source(&b)), E_NOT_FOUND);
	ATF_CHECK(machine_noted(&m, "second half of the root pointer"));
}

ATF_TC_WITHOUT_HEAD(what_lies_in_memory_is_no_register);
ATF_TC_BODY(what_lies_in_memory_is_no_register, tc)
{
	start();
	machine_add_memory(&m, 0xb0000000, 0x60000000, MEM_RAM);
	pc(AB_XSDT);
	ATF_CHECK_EQ(m.irqc.ioapic_count, 0);
	ATF_CHECK_EQ(m.timer.hpet, 0);
	ATF_REQUIRE_EQ(m.host_count, 1);
	ATF_CHECK_EQ(m.host[0].segment, 1);
	ATF_CHECK(machine_noted(&m, "MCFG: entry at 0x2c"));
	ATF_CHECK(machine_noted(&m, "IOAPIC registers"));
}

ATF_TC_WITHOUT_HEAD(absurd_host_bridges_are_left_out);
ATF_TC_BODY(absurd_host_bridges_are_left_out, tc)
{
	uint8_t *t;

	start();
	t = ab_table(&b, "MCFG", 44 + 16 * 6 + 9);
	for (unsigned i = 0; i < 6; i++) {
		ab_put64(t + 44 + 16 * i, 0x1'0000'0000 * (i + 1));
		t[44 + 16 * i + 11] = 15;
	}
	t[44 + 16 + 10] = 16;			/* 1: last before first */
	ab_put64(t + 44 + 32, 0);		/* 2: nowhere */
	t[44 + 48 + 10] = 15;			/* 3: bus 15 is taken */
	t[44 + 64 + 10] = 16;			/* 4: same segment, other buses */
	t[44 + 64 + 11] = 31;
	ab_put64(t + 44 + 80, 1ull << 63);	/* 5: not physical */
	ab_put16(t + 44 + 88, 9);
	ATF_CHECK_EQ(finish(AB_XSDT), OK);
	ATF_REQUIRE_EQ(m.host_count, 2);
	ATF_CHECK(m.host[1].bus_first == 16 && m.host[1].bus_last == 31);
	ATF_CHECK(machine_noted(&m, "MCFG: entry at 0x3c") &&
	    machine_noted(&m, "MCFG: entry at 0x4c") && machine_noted(&m, "MCFG: entry at 0x5c") &&
	    machine_noted(&m, "MCFG: entry at 0x7c"));
}

ATF_TC_WITHOUT_HEAD(s5_is_found_only_where_it_is_a_package_of_small_numbers);
ATF_TC_BODY(s5_is_found_only_where_it_is_a_package_of_small_numbers, tc)
{
	static const struct { uint8_t aml[24]; bool known; uint8_t a, b;
	} cases[] = {
		{ { 0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x01, 0x00, 0x00, 0x00 }, true, 1,
		    0 },
		{ { 0x08, '_', 'S', '5', '_', 0x12, 0x48, 0x00, 0x04, 0x0a, 0x07, 0x0a, 0x02 },
		    true, 7, 2 },
		{ { 0x00, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x01 }, false, 0,
		    0 }, /* no name operator */
		{ { 0x08, '_', 'S', '5', '_', 0x11, 0x06, 0x04, 0x01 }, false, 0,
		    0 }, /* no package */
		{ { 0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a, 0x08 }, false, 0,
		    0 }, /* too large */
		{ { 0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0d, 0x08 }, false, 0,
		    0 }, /* a string */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		for (uint32_t len = 5; len <= sizeof(cases[i].aml); len++) {
			uint8_t *d, *t;

			start();
			d = dsdt(cases[i].aml, len);
			t = ab_table(&b, "FACP", 116);
			ab_put32(t + 40, (uint32_t)ab_address(&b, d));
			ATF_CHECK_EQ(finish(AB_RSDT), OK);
			if (len == sizeof(cases[i].aml))
				ATF_CHECK_EQ(m.power.s5_known, cases[i].known);
			if (m.power.s5_known)
				ATF_CHECK(
				    m.power.s5_typa == cases[i].a && m.power.s5_typb == cases[i].b);
			else
				ATF_CHECK(machine_noted(&m, "no \\_S5"));
		}
	}
}

ATF_TC_WITHOUT_HEAD(bent_tables_are_read_within_their_bytes);
ATF_TC_BODY(bent_tables_are_read_within_their_bytes, tc)
{
	srand(5);
	for (unsigned run = 0; run < 3000; run++) {
		start();
		pc(AB_XSDT);
		for (unsigned k = 0; k <= run % 4; k++) {
			struct ab_region *r = &b.region[(unsigned)rand() % b.count];

			r->bytes[(uint32_t)rand() % r->len] = (uint8_t)rand();
			if (r->len >= ACPI_HEADER && rand() % 4 != 0)
				ab_checksum(r->bytes, r->len);
		}
		memset(&m, 0, sizeof(m));
		(void)acpi_machine(&m, ab_source(&b));
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_pc_is_described_through_either_root_table);
	ATF_TP_ADD_TC(tp, ports_of_the_board_are_not_power_managements);
	ATF_TP_ADD_TC(tp, a_port_of_the_board_restarts_only_where_it_does_on_a_pc);
	ATF_TP_ADD_TC(tp, an_arm_server_is_described);
	ATF_TP_ADD_TC(tp, redistributors_are_found_by_processor_when_there_are_no_regions);
	ATF_TP_ADD_TC(tp, many_redistributor_regions_and_segments_are_kept_apart);
	ATF_TP_ADD_TC(tp, a_debug_port_is_the_console_where_none_is_named);
	ATF_TP_ADD_TC(tp, tables_are_listed_in_order_with_a_place_for_those_that_cannot_be_read);
	ATF_TP_ADD_TC(tp, tables_that_tell_of_iommus_are_noted);
	ATF_TP_ADD_TC(tp, a_wrong_checksum_loses_one_table_and_says_so);
	ATF_TP_ADD_TC(tp, a_wrong_length_loses_one_table_and_says_so);
	ATF_TP_ADD_TC(tp, entries_that_overrun_end_the_walk);
	ATF_TP_ADD_TC(tp, without_a_root_there_is_nothing);
	ATF_TP_ADD_TC(tp, the_root_pointer_is_searched_where_a_pc_has_it);
	ATF_TP_ADD_TC(tp, what_lies_in_memory_is_no_register);
	ATF_TP_ADD_TC(tp, absurd_host_bridges_are_left_out);
	ATF_TP_ADD_TC(tp, s5_is_found_only_where_it_is_a_package_of_small_numbers);
	ATF_TP_ADD_TC(tp, bent_tables_are_read_within_their_bytes);
	return atf_no_error();
}
