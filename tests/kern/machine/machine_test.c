/*
 * kern/machine/machine.c: memory against a map of pages, and notes.
 *
 * LINK: kern/machine/machine.c kern/base/fmt.c kern/base/str.c
 */
#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "kern/machine/machine.h"

static struct machine m;

static void
start(void)
{
	memset(&m, 0, sizeof(m));
}

static uint64_t
ram(void)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < m.memory_count; i++)
		sum += m.memory[i].kind == MEM_RAM ? m.memory[i].len : 0;
	return sum;
}

ATF_TC_WITHOUT_HEAD(ram_is_what_nobody_else_has_in_whole_pages);
ATF_TC_BODY(ram_is_what_nobody_else_has_in_whole_pages, tc)
{
	enum { PAGES = 64, UNIT = 1024, ENTRIES = 12 };

	srand(1);
	for (unsigned run = 0; run < 3000; run++) {
		bool covered[PAGES] = { 0 }, taken[PAGES] = { 0 };
		unsigned n = 1 + (unsigned)rand() % ENTRIES;
		enum status want = E_CORRUPT;

		start();
		for (unsigned i = 0; i < n; i++) {
			uint64_t base = (uint64_t)rand() % (PAGES * 4),
				 len = (uint64_t)rand() % (PAGES * 4 - base);
			enum machine_memory_kind kind =
			    rand() % 2 != 0 ? MEM_RAM : (enum machine_memory_kind)(1 + rand() % 6);

			machine_add_memory(&m, base * UNIT, len * UNIT, kind);
			for (uint64_t p = 0; p < PAGES && len != 0; p++) {
				if (kind == MEM_RAM)
					covered[p] |= base <= 4 * p && base + len >= 4 * p + 4;
				else
					taken[p] |= base < 4 * p + 4 && base + len > 4 * p;
			}
		}
		for (unsigned p = 0; p < PAGES; p++)
			if (covered[p] && !taken[p])
				want = OK;
		ATF_REQUIRE_EQ(machine_finish(&m), want);
		for (unsigned again = 0; again < 2; again++) {
			for (unsigned p = 0; p < PAGES; p++) {
				unsigned here = 0;

				for (uint32_t i = 0; i < m.memory_count; i++) {
					const struct machine_memory *r = &m.memory[i];

					if (r->kind == MEM_RAM && p * 4096 >= r->base &&
					    p * 4096 + 4096 <= r->base + r->len)
						here++;
				}
				ATF_REQUIRE_EQ(here, covered[p] && !taken[p]);
			}
			for (uint32_t i = 1; i < m.memory_count; i++)
				ATF_REQUIRE(m.memory[i - 1].base <= m.memory[i].base);
			ATF_REQUIRE_EQ(machine_finish(&m), want);
		}
		ATF_REQUIRE_EQ(m.dropped, 0);
	}
}

ATF_TC_WITHOUT_HEAD(sixty_four_gib_with_holes);
ATF_TC_BODY(sixty_four_gib_with_holes, tc)
{
	start();
	machine_add_memory(&m, 0, 640 * KIB, MEM_RAM);
	machine_add_memory(&m, MIB, 3 * GIB - MIB, MEM_RAM);
	machine_add_memory(&m, 3 * GIB, GIB, MEM_RESERVED);
	for (unsigned i = 0; i < 61; i++)
		machine_add_memory(&m, (4 + i) * GIB, GIB, MEM_RAM);
	for (unsigned i = 0; i < 20; i++) /* a hole in each of twenty GiB, never on a page's edge */
		machine_add_memory(
		    &m, (8 + i) * GIB + 100 * MIB + 1, 2 * PAGE_SIZE - 2, MEM_RESERVED);
	ATF_REQUIRE_EQ(machine_finish(&m), OK);
	ATF_CHECK_EQ(ram(), 64 * GIB - MIB + 640 * KIB - 40 * PAGE_SIZE);
	ATF_CHECK_EQ(m.dropped, 0);
	ATF_CHECK_EQ(m.memory[0].len, 640 * KIB);
}

ATF_TC_WITHOUT_HEAD(no_memory_is_an_error);
ATF_TC_BODY(no_memory_is_an_error, tc)
{
	start();
	ATF_CHECK_EQ(machine_finish(&m), E_CORRUPT);
	machine_add_memory(&m, 0x1001, PAGE_SIZE, MEM_RAM);	/* not one whole page */
	machine_add_memory(&m, 0x8000, 0, MEM_RAM);
	ATF_CHECK_EQ(machine_finish(&m), E_CORRUPT);
	machine_add_memory(&m, 0x10000, 0x10000, MEM_RAM);
	machine_add_memory(&m, 0, UINT64_MAX, MEM_RESERVED);
	ATF_CHECK_EQ(machine_finish(&m), E_CORRUPT);
}

ATF_TC_WITHOUT_HEAD(ranges_at_the_end_of_the_address_space_do_not_wrap);
ATF_TC_BODY(ranges_at_the_end_of_the_address_space_do_not_wrap, tc)
{
	start();
	machine_add_memory(&m, GIB, GIB, MEM_RAM);
	machine_add_memory(&m, UINT64_MAX - 10, UINT64_MAX, MEM_RESERVED);
	machine_add_memory(&m, UINT64_MAX - 2 * PAGE_SIZE, UINT64_MAX, MEM_RAM);
	ATF_REQUIRE_EQ(machine_finish(&m), OK);
	ATF_CHECK(ram() <= GIB + 2 * PAGE_SIZE);
	ATF_CHECK(machine_in_memory(&m, GIB, 1));
	ATF_CHECK(!machine_in_memory(&m, 0, GIB));
	ATF_CHECK(machine_in_memory(&m, 0, GIB + 1));
	ATF_CHECK(
	    machine_in_memory(&m, UINT64_MAX - 1, 100)); /* wraps: never somebody's registers */
}

ATF_TC_WITHOUT_HEAD(a_full_list_loses_ram_and_never_a_reservation);
ATF_TC_BODY(a_full_list_loses_ram_and_never_a_reservation, tc)
{
	start();
	for (uint64_t i = 0; i < MACHINE_MEMORY_MAX; i++)
		machine_add_memory(&m, i * 16 * MIB, i == 5 ? PAGE_SIZE : MIB, MEM_RAM);
	machine_add_memory(&m, 16 * MIB, MIB, MEM_RESERVED);
	machine_add_memory(&m, 1ull << 40, MIB, MEM_RAM);
	ATF_CHECK_EQ(m.dropped, 2);
	ATF_REQUIRE_EQ(machine_finish(&m), OK);
	ATF_CHECK_EQ(ram(), (MACHINE_MEMORY_MAX - 2) * MIB);
	for (uint32_t i = 0; i < m.memory_count; i++)
		ATF_CHECK(m.memory[i].kind != MEM_RAM || m.memory[i].base != 16 * MIB);
	/* Even a list full of reservations. */
	start();
	for (uint64_t i = 0; i <= MACHINE_MEMORY_MAX; i++)
		machine_add_memory(&m, i * 16 * MIB, MIB, MEM_RESERVED);
	machine_add_memory(&m, 0, 1ull << 40, MEM_RAM);
	ATF_CHECK_EQ(machine_finish(&m), E_CORRUPT);
}

ATF_TC_WITHOUT_HEAD(notes_are_said_once_are_printable_and_bounded);
ATF_TC_BODY(notes_are_said_once_are_printable_and_bounded, tc)
{
	char long_name[300];

	start();
	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = 0;
	machine_note(&m, "table %s", "A\033[2J\n");
	machine_note(&m, "table %s", "A\033[2J\n");
	ATF_CHECK_EQ(m.note_count, 1);
	ATF_CHECK_STREQ(m.note[0], "table A?[2J?");
	machine_note(&m, "%s", long_name);
	ATF_CHECK_EQ(strlen(m.note[1]), MACHINE_NOTE_TEXT - 1);
	for (unsigned i = 0; i < 2 * MACHINE_NOTE_MAX; i++)
		machine_note(&m, "number %u", i);
	ATF_CHECK_EQ(m.note_count, MACHINE_NOTE_MAX);
	ATF_CHECK_EQ(m.dropped, MACHINE_NOTE_MAX + 2);
}

static bool
archive_taken(uint64_t base, uint64_t len)
{
	m.archive = (struct machine_region){ 0 };
	machine_set_archive(&m, base, len);
	ATF_CHECK(m.archive.len == 0 || (m.archive.base == base && m.archive.len == len));
	return m.archive.len != 0;
}

ATF_TC_WITHOUT_HEAD(an_archive_must_lie_in_memory_that_is_listed);
ATF_TC_BODY(an_archive_must_lie_in_memory_that_is_listed, tc)
{
	start();
	ATF_CHECK(!archive_taken(MIB, MIB));
	/* Out of order, overlapping, one reserved, and a hole. */
	machine_add_memory(&m, 3 * MIB, MIB, MEM_RAM);
	machine_add_memory(&m, MIB, MIB + 4096, MEM_RAM);
	machine_add_memory(&m, 2 * MIB, MIB, MEM_RESERVED);
	machine_add_memory(&m, 5 * MIB, MIB, MEM_RAM);
	machine_add_memory(&m, 8 * MIB, MIB, MEM_KERNEL);
	ATF_CHECK(archive_taken(MIB, MIB));
	ATF_CHECK(archive_taken(MIB, 3 * MIB));
	ATF_CHECK(archive_taken(4 * MIB - 1, 1));
	ATF_CHECK(!archive_taken(MIB, 3 * MIB + 1));
	ATF_CHECK(!archive_taken(MIB - 1, MIB));
	ATF_CHECK(!archive_taken(MIB, 5 * MIB));
	ATF_CHECK(!archive_taken(8 * MIB, MIB));
	ATF_CHECK(!archive_taken(MIB, 0));
	ATF_CHECK(!archive_taken(UINT64_MAX - 10, 100));
	ATF_CHECK(!archive_taken(MIB, UINT64_MAX));
	ATF_CHECK(!archive_taken(0, 2 * GIB));
	ATF_CHECK(m.note_count != 0);
}

ATF_TC_WITHOUT_HEAD(a_consoles_divisor_is_told_or_left_alone);
ATF_TC_BODY(a_consoles_divisor_is_told_or_left_alone, tc)
{
	static const struct { uint32_t clock, baud, divisor; } at[] = {
		{ 24000000, 115200, 833 },		/* 13 and 1/64: 115246 */
		{ 1843200, 115200, 64 }, { 1843200, 9600, 768 },
		{ 0, 115200, 0 }, { 24000000, 0, 0 }, { 0, 0, 0 },
		{ 1843200, 115201, 64 }, { 1843200, 120000, 0 },	/* faster than there is */
		{ 4294967295, 300, 0 }, { 4294967295, 4097, 4193280 }, { 4294967295, 4096, 0 },
	};

	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		struct machine_console c = { .clock_hz = at[i].clock, .baud = at[i].baud };

		ATF_CHECK_EQ_MSG(machine_console_divisor(&c), at[i].divisor, "%u: %u", i,
		    machine_console_divisor(&c));
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, an_archive_must_lie_in_memory_that_is_listed);
	ATF_TP_ADD_TC(tp, ram_is_what_nobody_else_has_in_whole_pages);
	ATF_TP_ADD_TC(tp, sixty_four_gib_with_holes);
	ATF_TP_ADD_TC(tp, no_memory_is_an_error);
	ATF_TP_ADD_TC(tp, ranges_at_the_end_of_the_address_space_do_not_wrap);
	ATF_TP_ADD_TC(tp, a_full_list_loses_ram_and_never_a_reservation);
	ATF_TP_ADD_TC(tp, notes_are_said_once_are_printable_and_bounded);
	ATF_TP_ADD_TC(tp, a_consoles_divisor_is_told_or_left_alone);
	return atf_no_error();
}
