/*
 * kern/machine/uart_rate.c: on a 16550, and on a part that ignores line control while it is busy.
 *
 * LINK: kern/machine/uart_rate.c
 */
#include <atf-c.h>
#include <string.h>

#include "kern/machine/uart_rate.h"

/* A port: what was sent, and how often its divisor was written. */
static struct {
	bool absent, strict, sending;
	unsigned received;		/* characters that wait; a strict part is busy with them */
	uint8_t lcr, ier;
	uint16_t divisor;
	unsigned sent, ier_writes, divisor_writes;
	unsigned arrives_at;		/* the read of the divisor at which a character arrives */
} p;

static bool busy(void) { return p.strict && (p.sending || p.received != 0); }

static uint8_t
get(unsigned r)
{
	bool dlab = (p.lcr & UART_LCR_DLAB) != 0;

	if (p.absent)
		return 0xff;
	switch (r) {
	case UART_DATA:
		if (!dlab)
			return 0;
		if (p.arrives_at != 0 && --p.arrives_at == 0)
			p.received++;
		return (uint8_t)p.divisor;
	case UART_IER: return dlab ? (uint8_t)(p.divisor >> 8) : p.ier;
	case UART_LCR: return p.lcr;
	case UART_LSR: return (p.sending ? 0 : 0x60) | (p.received != 0);
	default: return 0;
	}
}

static void
put(unsigned r, uint8_t v)
{
	bool dlab = (p.lcr & UART_LCR_DLAB) != 0;

	switch (r) {
	case UART_DATA:
		if (!dlab) {
			p.sent++;
			return;
		}
		p.divisor = (p.divisor & 0xff00) | v;
		p.divisor_writes++;
		return;
	case UART_IER:
		if (!dlab) {
			p.ier = v;
			p.ier_writes++;
			return;
		}
		p.divisor = (uint16_t)((p.divisor & 0xff) | v << 8);
		p.divisor_writes++;
		return;
	case UART_FCR:
		if ((v & UART_FCR_CLEAR_RX) != 0)
			p.received = 0;
		return;
	case UART_LCR:
		if (!busy())
			p.lcr = v;
		return;
	default:
		return;
	}
}

static const struct uart_access port = { get, put };

static void
start(uint16_t divisor)
{
	memset(&p, 0, sizeof(p));
	p.lcr = 0x1b;
	p.divisor = divisor;
}

/* Whatever came out: nothing was sent, nothing enabled, and line control is as it was. */
static void
check_left(uint16_t divisor)
{
	ATF_CHECK_EQ(p.divisor, divisor);
	ATF_CHECK_EQ(p.lcr, 0x1b);
	ATF_CHECK_EQ(p.sent, 0);
	ATF_CHECK_EQ(p.ier_writes, 0);
}

ATF_TC_WITHOUT_HEAD(a_divisor_is_written_only_when_it_differs);
ATF_TC_BODY(a_divisor_is_written_only_when_it_differs, tc)
{
	start(1);
	ATF_CHECK_EQ(uart_set_divisor(&port, 0x1234), UART_RATE_SET);
	check_left(0x1234);
	ATF_CHECK_EQ(p.divisor_writes, 2);
	ATF_CHECK_EQ(uart_set_divisor(&port, 0x1234), UART_RATE_IS);
	check_left(0x1234);
	ATF_CHECK_EQ(p.divisor_writes, 2);
	/* Firmware left DLAB on. */
	p.lcr |= UART_LCR_DLAB;
	ATF_CHECK_EQ(uart_set_divisor(&port, 0x34), UART_RATE_SET);
	check_left(0x34);
}

ATF_TC_WITHOUT_HEAD(a_busy_part_keeps_its_rate);
ATF_TC_BODY(a_busy_part_keeps_its_rate, tc)
{
	for (unsigned strict = 0; strict < 2; strict++) {
		start(1);
		p.strict = strict;
		p.sending = true;
		ATF_CHECK(uart_sending(&port));
		ATF_CHECK_EQ(uart_set_divisor(&port, 8), UART_RATE_BUSY);
		check_left(1);
	}
	/* Line state does not tell that it is receiving. */
	start(1);
	p.strict = true;
	p.received = 1;
	ATF_CHECK(!uart_sending(&port));
	ATF_CHECK_EQ(uart_set_divisor(&port, 8), UART_RATE_BUSY);
	check_left(1);
	start(1);
	p.absent = true;
	ATF_CHECK(!uart_sending(&port));
	ATF_CHECK_EQ(uart_set_divisor(&port, 8), UART_RATE_BUSY);
	check_left(1);
}

ATF_TC_WITHOUT_HEAD(a_character_that_arrives_meanwhile_does_not_keep_the_divisor_open);
ATF_TC_BODY(a_character_that_arrives_meanwhile_does_not_keep_the_divisor_open, tc)
{
	start(1);
	p.strict = true;
	p.arrives_at = 1;
	ATF_CHECK_EQ(uart_set_divisor(&port, 8), UART_RATE_SET);
	check_left(8);
	ATF_CHECK_EQ(p.received, 0);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_divisor_is_written_only_when_it_differs);
	ATF_TP_ADD_TC(tp, a_busy_part_keeps_its_rate);
	ATF_TP_ADD_TC(tp, a_character_that_arrives_meanwhile_does_not_keep_the_divisor_open);
	return atf_no_error();
}
