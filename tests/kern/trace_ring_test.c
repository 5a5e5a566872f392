/*
 * kern/trace_ring.h and kern/abi/trace_text.h: rings of records, and records in words.
 * LINK: kern/trace_ring.c kern/base/fmt.c
 */
#include <atf-c.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kern/abi/trace_text.h"
#include "kern/trace_ring.h"

static struct trace_ring ring;

static unsigned
count_of(enum trace_type type)
{
	struct trace_record r;
	unsigned n = 0;

	for (uint32_t i = 0; i < TRACE_RECORDS; i++)
		n += trace_ring_get(&ring, i, &r) && r.type == type;
	return n;
}

ATF_TC_WITHOUT_HEAD(a_new_ring_holds_nothing);
ATF_TC_BODY(a_new_ring_holds_nothing, tc)
{
	struct trace_record r;

	for (uint32_t i = 0; i < TRACE_RECORDS; i++)
		ATF_CHECK(!trace_ring_get(&ring, i, &r));
}

ATF_TC_WITHOUT_HEAD(a_record_comes_back_as_it_was_put);
ATF_TC_BODY(a_record_comes_back_as_it_was_put, tc)
{
	struct trace_record r;

	trace_ring_put(&ring, 1234, 3, false, TRACE_DMA_MAP, 8, 0x1000, 4096, 2);
	ATF_REQUIRE(trace_ring_get(&ring, 0, &r));
	ATF_CHECK_EQ(r.time_ns, 1234);
	ATF_CHECK_EQ(r.count, 1);
	ATF_CHECK_EQ(r.type, TRACE_DMA_MAP);
	ATF_CHECK_EQ(r.cpu, 3);
	ATF_CHECK(r.w[0] == 8 && r.w[1] == 0x1000 && r.w[2] == 4096 && r.w[3] == 2);
}

ATF_TC_WITHOUT_HEAD(what_is_hot_does_not_push_out_what_is_rare);
ATF_TC_BODY(what_is_hot_does_not_push_out_what_is_rare, tc)
{
	for (unsigned i = 0; i < TRACE_RARE; i++)
		trace_ring_put(&ring, i, 0, false, TRACE_DMA_UNMAP, i, 0, 0, 0);
	for (unsigned i = 0; i < 100000; i++)
		trace_ring_put(&ring, i, 0, true, TRACE_INTERRUPT, i, 0, 0, 0);
	ATF_CHECK_EQ(count_of(TRACE_DMA_UNMAP), TRACE_RARE);
	ATF_CHECK_EQ(count_of(TRACE_INTERRUPT), TRACE_HOT);
}

ATF_TC_WITHOUT_HEAD(the_last_ones_stay);
ATF_TC_BODY(the_last_ones_stay, tc)
{
	struct trace_record r;
	uint64_t n = 3 * TRACE_RARE + 7, sum = 0;

	for (uint64_t i = 1; i <= n; i++)
		trace_ring_put(&ring, i, 0, false, TRACE_PROCESS_DEAD, i, 0, 0, 0);
	for (uint32_t i = 0; i < TRACE_RARE; i++) {
		ATF_REQUIRE(trace_ring_get(&ring, i, &r));
		ATF_CHECK(r.w[0] == r.count && r.count + TRACE_RARE > n);
		sum += r.count;
	}
	ATF_CHECK_EQ(sum, TRACE_RARE * (n - TRACE_RARE + 1 + n) / 2);
}

ATF_TC_WITHOUT_HEAD(a_record_that_is_being_written_is_not_read);
ATF_TC_BODY(a_record_that_is_being_written_is_not_read, tc)
{
	struct trace_record r;

	trace_ring_put(&ring, 1, 0, false, TRACE_PROCESS_DEAD, 1, 0, 0, 0);
	ring.record[0].count = 0;
	ATF_CHECK(!trace_ring_get(&ring, 0, &r));
}

enum { PUTS = 300000 };

static void *
writer(void *arg)
{
	for (uint64_t i = 1; i <= PUTS; i++)
		trace_ring_put(&ring, i, 0, false, TRACE_DMA_MAP, i, ~i, i * 3, i * 5);
	__atomic_store_n((bool *)arg, true, __ATOMIC_RELEASE);
	return NULL;
}

ATF_TC_WITHOUT_HEAD(a_reader_beside_the_writer_sees_whole_records);
ATF_TC_BODY(a_reader_beside_the_writer_sees_whole_records, tc)
{
	struct trace_record r;
	uint64_t seen = 0;
	bool over = false, last = false;
	pthread_t t;

	ATF_REQUIRE_EQ(pthread_create(&t, NULL, writer, &over), 0);
	while (!last) {
		last = __atomic_load_n(&over, __ATOMIC_ACQUIRE);
		for (uint32_t i = 0; i < TRACE_RARE; i++) {
			if (!trace_ring_get(&ring, i, &r))
				continue;
			seen++;
			ATF_REQUIRE(r.time_ns == r.count && r.w[0] == r.count &&
			    r.w[1] == ~(uint64_t)r.count && r.w[2] == r.count * 3ull &&
			    r.w[3] == r.count * 5ull);
		}
	}
	ATF_REQUIRE_EQ(pthread_join(t, NULL), 0);
	ATF_CHECK(seen >= TRACE_RARE);
}

ATF_TC_WITHOUT_HEAD(records_are_told_in_words);
ATF_TC_BODY(records_are_told_in_words, tc)
{
	static const struct { struct trace_record r; const char *text;
	} cases[] = {
		{ { 1500000000, 1, TRACE_DMA_MAP, 2, 0, { 8, 0x1000, 4096, 2 } },
		    "    1.500000 cpu 2 dma map: 0000:00:01.0, iova 0x1000, 4096 bytes, from device" },
		{ { 0, 1, TRACE_PROCESS_NEW, 0, 0, { 7, 0x64656d766eull, 2 } },
		    "    0.000000 cpu 0 process made: process 7, nvmed, process 2" },
		{ { 0, 1, TRACE_PROCESS_NEW, 0, 0, { 7, 0x011b4100000000ull << 8 | 0x0141ull, 2 } },
		    "    0.000000 cpu 0 process made: process 7, A?, process 2" },
		{ { 0, 1, TRACE_DMA_FAULT, 0, 0, { 0x10109, 0x5000, 1, 0 } },
		    "    0.000000 cpu 0 dma fault: 0001:01:01.1, iova 0x5000, write, not mapped" },
		{ { 0, 1, TRACE_BUS_MASTER, 0, 0, { 8, 0 } },
		    "    0.000000 cpu 0 bus master: 0000:00:01.0, off" },
		{ { 0, 1, TRACE_TYPES, 0, 0, { 1, 2, 3, 4 } },
		    "    0.000000 cpu 0 unknown record" },
		{ { 0, 1, TRACE_DEVICE_RESET, 0, 0, { 8, 200 } },
		    "    0.000000 cpu 0 device reset: 0000:00:01.0, ?" },
	};
	char text[TRACE_TEXT];

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		trace_text(&cases[i].r, text);
		ATF_CHECK_STREQ(text, cases[i].text);
	}
}

/* Whatever stands in a record, its text ends and fits. */
ATF_TC_WITHOUT_HEAD(any_bytes_have_a_text);
ATF_TC_BODY(any_bytes_have_a_text, tc)
{
	char text[TRACE_TEXT];
	struct trace_record r;

	srandom(3);
	for (unsigned n = 0; n < 50000; n++) {
		for (unsigned i = 0; i < sizeof(r); i++)
			((uint8_t *)&r)[i] = (uint8_t)random();
		r.type = (uint16_t)(n % (TRACE_TYPES + 2));
		for (unsigned i = 0; i < TRACE_WORDS; i++)
			r.w[i] >>= random() % 64;
		trace_text(&r, text);
		ATF_REQUIRE(strlen(text) < TRACE_TEXT);
	}
}

ATF_TC_WITHOUT_HEAD(every_type_has_words);
ATF_TC_BODY(every_type_has_words, tc)
{
	for (uint16_t i = 0; i < TRACE_TYPES; i++) {
		ATF_REQUIRE(trace_point_of(i) != NULL);
		ATF_CHECK_MSG(trace_point_of(i)->text != NULL, "type %u", i);
	}
	ATF_CHECK(trace_point_of(TRACE_TYPES) == NULL);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_new_ring_holds_nothing);
	ATF_TP_ADD_TC(tp, a_record_comes_back_as_it_was_put);
	ATF_TP_ADD_TC(tp, what_is_hot_does_not_push_out_what_is_rare);
	ATF_TP_ADD_TC(tp, the_last_ones_stay);
	ATF_TP_ADD_TC(tp, a_record_that_is_being_written_is_not_read);
	ATF_TP_ADD_TC(tp, a_reader_beside_the_writer_sees_whole_records);
	ATF_TP_ADD_TC(tp, records_are_told_in_words);
	ATF_TP_ADD_TC(tp, any_bytes_have_a_text);
	ATF_TP_ADD_TC(tp, every_type_has_words);
	return atf_no_error();
}
