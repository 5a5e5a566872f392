/*
 * arch/x86_64/chipset.h: an ICH9's bridge, as its data sheet has it.
 * LINK: arch/x86_64/chipset.c
 */
#include <atf-c.h>

#include <string.h>

#include "arch/x86_64/chipset.h"
#include "kern/pci.h"

static uint8_t bridge[256];
static unsigned writes;
static bool locked;		/* ACPI_EN does not stay */

static uint32_t
config_read(uint16_t rid, uint32_t offset, unsigned width)
{
	uint32_t v = UINT32_MAX;

	ATF_REQUIRE(offset + width <= sizeof(bridge) && offset % width == 0);
	if (rid == 0xf8) {
		v = 0;
		memcpy(&v, bridge + offset, width);
	}
	return v;
}

static void
config_write(uint16_t rid, uint32_t offset, unsigned width, uint32_t v)
{
	ATF_REQUIRE(rid == 0xf8 && offset == 0x44 && width == 1);
	writes++;
	bridge[offset] = (uint8_t)(locked ? v & 0x7f : v);
}

static const struct chipset_config config = { config_read, config_write };

/* What U-Boot leaves: an address, not decoded; the interrupt's number in the low bits. */
static void
start(uint32_t base)
{
	memset(bridge, 0, sizeof(bridge));
	memcpy(bridge, "\x86\x80\x18\x29", 4);
	memcpy(bridge + 0x40, &base, 4);
	bridge[0x44] = 0x02;
	writes = 0;
	locked = false;
}

ATF_TC_WITHOUT_HEAD(the_bridge_says_where_power_management_is);
ATF_TC_BODY(the_bridge_says_where_power_management_is, tc)
{
	start(0xe401);
	ATF_CHECK_EQ(chipset_pm1a_control(&config), 0xe404);
	start(0x101);
	ATF_CHECK_EQ(chipset_pm1a_control(&config), 0x104);
	ATF_CHECK_EQ(writes, 0);
}

ATF_TC_WITHOUT_HEAD(an_address_that_cannot_be_is_none);
ATF_TC_BODY(an_address_that_cannot_be_is_none, tc)
{
	/* Never set; no ports; the board's own ports; beyond all ports; nobody answers. */
	static const uint32_t bad[] = { 1, 0, 0xe400, 0x81, 0x1e401, 0x80000001, UINT32_MAX };

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		start(bad[i]);
		ATF_CHECK_EQ_MSG(chipset_pm1a_control(&config), 0, "0x%x", bad[i]);
		ATF_CHECK(!chipset_decode(&config, 4, NULL, 0));
		ATF_CHECK_EQ(writes, 0);
	}
}

ATF_TC_WITHOUT_HEAD(a_chipset_that_is_not_known_is_left_alone);
ATF_TC_BODY(a_chipset_that_is_not_known_is_left_alone, tc)
{
	for (unsigned i = 0; i < 4; i++) {
		start(0xe401);
		bridge[i] ^= 1;
		ATF_CHECK_EQ(chipset_pm1a_control(&config), 0);
		ATF_CHECK(!chipset_decode(&config, 0xe404, NULL, 0));
		ATF_CHECK_EQ(writes, 0);
	}
}

ATF_TC_WITHOUT_HEAD(decoding_is_switched_on_once_and_looked_at);
ATF_TC_BODY(decoding_is_switched_on_once_and_looked_at, tc)
{
	start(0xe401);
	ATF_CHECK(chipset_decode(&config, 0xe404, NULL, 0));
	ATF_CHECK_EQ(bridge[0x44], 0x82);
	ATF_CHECK(chipset_decode(&config, 0xe404, NULL, 0));
	ATF_CHECK_EQ(writes, 1);
	start(0xe401);
	locked = true;
	ATF_CHECK(!chipset_decode(&config, 0xe404, NULL, 0));
	/* Not where it was when tables were read. */
	start(0xe501);
	ATF_CHECK(!chipset_decode(&config, 0xe404, NULL, 0));
	ATF_CHECK_EQ(writes, 0);
}

ATF_TC_WITHOUT_HEAD(ports_of_a_device_are_not_taken_from_it);
ATF_TC_BODY(ports_of_a_device_are_not_taken_from_it, tc)
{
	static struct pci_function f[3];
	struct pci_bar *b = &f[2].bar[5];
	/* The first and the last port of the block, all of it; beside it on both sides. */
	static const struct { uint64_t base, len; bool good; } at[] = {
		{ 0xe3fc, 8, false }, { 0xe47c, 4, false }, { 0xe000, 0x1000, false },
		{ 0xe3fc, 4, true }, { 0xe480, 4, true },
	};

	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		start(0xe401);
		*b = (struct pci_bar){ .io = true, .pci_base = at[i].base, .len = at[i].len };
		ATF_CHECK_EQ_MSG(chipset_decode(&config, 0xe404, f, 3), at[i].good, "%u", i);
		ATF_CHECK_EQ(writes, at[i].good);
		b->io = false;		/* memory at that number is no port */
		ATF_CHECK(chipset_decode(&config, 0xe404, f, 3));
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, the_bridge_says_where_power_management_is);
	ATF_TP_ADD_TC(tp, an_address_that_cannot_be_is_none);
	ATF_TP_ADD_TC(tp, a_chipset_that_is_not_known_is_left_alone);
	ATF_TP_ADD_TC(tp, decoding_is_switched_on_once_and_looked_at);
	ATF_TP_ADD_TC(tp, ports_of_a_device_are_not_taken_from_it);
	return atf_no_error();
}
