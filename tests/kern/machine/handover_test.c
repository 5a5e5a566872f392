/*
 * kern/machine/handover.c: the loader's record to the machine.
 *
 * LINK: kern/machine/handover.c kern/machine/machine.c kern/base/fmt.c kern/base/str.c
 */
#include <atf-c.h>
#include <string.h>

#include "kern/machine/handover.h"
#include "kern/machine/machine.h"

static struct machine m;
static struct handover h;

enum : uint64_t { AT = 0x4000'0000, IMAGE = 0x4020'0000, ARCHIVE = 0x4100'0000 };

static void
start(void)
{
	memset(&m, 0, sizeof(m));
	h = (struct handover){
		.magic = HANDOVER_MAGIC,
		.version = HANDOVER_VERSION,
		.size = sizeof(h),
		.image = { IMAGE, 0x40000 },
		.archive = { ARCHIVE, 0x1234 },
		.range_count = 2,
		.range = { { AT, 0x1000'0000, HANDOVER_RAM, 0 },
		    { 0x5000'0000, 0x1000, HANDOVER_ACPI_NVS, 0 } },
		.cmdline = "cmd=blk quiet",
	};
}

static bool
is_ram(uint64_t at)
{
	for (uint32_t i = 0; i < m.memory_count; i++)
		if (m.memory[i].kind == MEM_RAM && at - m.memory[i].base < m.memory[i].len)
			return true;
	return false;
}

ATF_TC_WITHOUT_HEAD(what_the_loader_placed_is_not_free_memory);
ATF_TC_BODY(what_the_loader_placed_is_not_free_memory, tc)
{
	start();
	ATF_REQUIRE_EQ(handover_machine(&m, &h, AT), OK);
	ATF_REQUIRE_EQ(machine_finish(&m), OK);
	ATF_CHECK(!is_ram(AT) && !is_ram(AT + sizeof(h) - 1) && !is_ram(IMAGE) &&
	    !is_ram(IMAGE + 0x3ffff));
	ATF_CHECK(!is_ram(ARCHIVE) && !is_ram(ARCHIVE + 0x1233) && !is_ram(0x5000'0000));
	ATF_CHECK(is_ram(IMAGE + 0x40000) && is_ram(ARCHIVE + 0x2000) && is_ram(0x4fff'f000));
	ATF_CHECK_EQ(m.archive.base, ARCHIVE);
	ATF_CHECK_EQ(m.archive.len, 0x1234);
	ATF_CHECK_STREQ(m.cmdline, "cmd=blk quiet");
	ATF_CHECK(!m.seed_known);
	ATF_CHECK_EQ(m.wall_s, 0);
	start();
	h.wall_s = 1800000000;
	ATF_REQUIRE_EQ(handover_machine(&m, &h, AT), OK);
	ATF_CHECK_EQ(m.wall_s, 1800000000);
}

ATF_TC_WITHOUT_HEAD(what_firmware_says_of_itself_is_text_that_ends);
ATF_TC_BODY(what_firmware_says_of_itself_is_text_that_ends, tc)
{
	start();
	memcpy(h.firmware, "EDK\033[2J\377", 9);
	memset(h.platform, 'x', sizeof(h.platform));
	memcpy(h.maker, "Maker\n", 7);
	memset(h.product, 'y', sizeof(h.product));
	ATF_REQUIRE_EQ(handover_machine(&m, &h, AT), OK);
	ATF_CHECK_STREQ(m.firmware, "EDK?[2J?");
	ATF_CHECK_EQ(strlen(m.platform), sizeof(m.platform) - 1);
	ATF_CHECK_STREQ(m.maker, "Maker?");
	ATF_CHECK_EQ(strlen(m.product), sizeof(m.product) - 1);
}

ATF_TC_WITHOUT_HEAD(devices_of_firmwares_are_pages_of_no_memory);
ATF_TC_BODY(devices_of_firmwares_are_pages_of_no_memory, tc)
{
	start();
	h.device_count = 6;
	h.device[0] = 0x901'0000;
	h.device[1] = 0;
	h.device[2] = AT + 0x10'0000;
	h.device[3] = 0x901'0800;
	h.device[4] = UINT64_MAX - 0xfff;
	h.device[5] = 0x5000'0000;
	ATF_REQUIRE_EQ(handover_machine(&m, &h, AT), OK);
	ATF_REQUIRE_EQ(m.firmware_device_count, 1);
	ATF_CHECK_EQ(m.firmware_device[0], 0x901'0000);
	ATF_CHECK_STREQ(
	    m.note[0], "loader: a device of firmware's is at 0 or in memory: ignored");
}

ATF_TC_WITHOUT_HEAD(randomness_counts_only_when_it_is_there);
ATF_TC_BODY(randomness_counts_only_when_it_is_there, tc)
{
	start();
	memset(h.seed, 0x5a, sizeof(h.seed));
	ATF_REQUIRE_EQ(handover_machine(&m, &h, AT), OK);
	ATF_CHECK(!m.seed_known);
	start();
	memset(h.seed, 0x5a, sizeof(h.seed));
	h.seed_known = 1;
	ATF_REQUIRE_EQ(handover_machine(&m, &h, AT), OK);
	ATF_CHECK(m.seed_known && m.seed[31] == 0x5a);
}

ATF_TC_WITHOUT_HEAD(a_record_of_another_form_is_refused_whole);
ATF_TC_BODY(a_record_of_another_form_is_refused_whole, tc)
{
	static struct machine empty;

	for (unsigned i = 0; i < 5; i++) {
		start();
		switch (i) {
		case 0: h.magic++; break;
		case 1: h.version++; break;
		case 2: h.size -= 8; break;
		case 3: h.range_count = HANDOVER_RANGES + 1; break;
		case 4: h.device_count = HANDOVER_DEVICES + 1; break;
		}
		ATF_CHECK_EQ(handover_machine(&m, &h, AT), E_CORRUPT);
		ATF_CHECK_EQ(memcmp(&m, &empty, sizeof(m)), 0);
	}
	start();
	ATF_CHECK(handover_is(&h));
	h.magic = 0xedfe0dd0;
	ATF_CHECK(!handover_is(&h));
}

ATF_TC_WITHOUT_HEAD(absurd_ranges_and_endless_words_stay_inside);
ATF_TC_BODY(absurd_ranges_and_endless_words_stay_inside, tc)
{
	start();
	h.range_count = 4;
	h.range[2] = (struct handover_range){ UINT64_MAX - 100, 4096, HANDOVER_RAM, 0 };
	h.range[3] = (struct handover_range){ 0x6000'0000, 0x1000, (enum handover_kind)77, 0 };
	h.range_lost = 3;
	memset(h.cmdline, 'x', sizeof(h.cmdline));
	ATF_REQUIRE_EQ(handover_machine(&m, &h, AT), OK);
	ATF_CHECK_EQ(m.note_count, 2);
	ATF_CHECK_STREQ(
	    m.note[0], "loader: entry 2 of the memory map is absurd: ignored"); /* D3: no address */
	ATF_CHECK_EQ(strlen(m.cmdline), sizeof(m.cmdline) - 1);
	ATF_REQUIRE_EQ(machine_finish(&m), OK);
	ATF_CHECK(!is_ram(UINT64_MAX - 50) && !is_ram(0x6000'0000));
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, what_the_loader_placed_is_not_free_memory);
	ATF_TP_ADD_TC(tp, what_firmware_says_of_itself_is_text_that_ends);
	ATF_TP_ADD_TC(tp, devices_of_firmwares_are_pages_of_no_memory);
	ATF_TP_ADD_TC(tp, randomness_counts_only_when_it_is_there);
	ATF_TP_ADD_TC(tp, a_record_of_another_form_is_refused_whole);
	ATF_TP_ADD_TC(tp, absurd_ranges_and_endless_words_stay_inside);
	return atf_no_error();
}
