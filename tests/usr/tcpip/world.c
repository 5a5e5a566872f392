/*
 * The world of a TCP/IP service: time, a wire, turns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/usr/tcpip/world_parts.h"

struct wire wire = { .delay_ns = 100 * NS_PER_US };
struct wire_queue wire_in, wire_out, wire_to_far, wire_to_here;
uint64_t world_clock = NS_PER_S;
bool world_alone, world_far_side;
static uint64_t seed_state = 1;

void world_seed(uint64_t seed) { seed_state = seed; }

static uint32_t
rnd(uint32_t n)
{
	seed_state = seed_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((seed_state >> 33) % n);
}

static bool hit(uint32_t of_1000) { return of_1000 != 0 && rnd(1000) < of_1000; }
uint8_t world_pattern(uint64_t at) { return (uint8_t)((at * 2654435761u) >> 13 ^ at >> 20); }
uint64_t world_now(void) { return world_clock; }

NORETURN void
world_fail(const char *what)
{
	fprintf(stderr, "%s end: %s\n", world_far_side ? "far" : "this", what);
	abort();
}

/* --- frames on their way -------------------------------------------------------- */

void
wire_push(struct wire_queue *q, const void *bytes, uint32_t len, uint64_t at)
{
	struct wire_frame *f;
	uint32_t i;

	if (q->n == WIRE_FRAMES)
		return;
	f = malloc(sizeof(*f));
	f->at = at;
	f->len = len;
	memcpy(f->bytes, bytes, len);
	for (i = q->n++; i != 0 && q->f[i - 1]->at > at; i--)
		q->f[i] = q->f[i - 1];
	q->f[i] = f;
}

struct wire_frame *
wire_pop(struct wire_queue *q)
{
	struct wire_frame *f = q->f[0];

	memmove(&q->f[0], &q->f[1], --q->n * sizeof(q->f[0]));
	return f;
}

void
wire_carry(struct wire_queue *to, struct wire_frame *f)
{
	if (hit(wire.lose) || wire.cut)
		return;
	if (hit(wire.flip) && f->len > 14)
		f->bytes[14 + rnd(f->len - 14)] ^= (uint8_t)(1 + rnd(255));
	for (unsigned n = hit(wire.repeat) ? 2 : 1; n != 0; n--)
		wire_push(to, f->bytes, f->len,
		    world_clock + wire.delay_ns +
			(hit(wire.swap) ? rnd(1000) * NS_PER_US : 0));
}

/* --- turns ------------------------------------------------------------------------- */

void
world_settle(void)
{
	uint64_t until;

	bool any;

	do {
		any = tcpip_turn() || !tcpip_may_sleep(&until);
		tcpip_woke();
		any |= world_nic_serve();
	} while (any);
}

uint64_t
world_next(void)
{
	uint64_t until;

	(void)tcpip_may_sleep(&until);
	tcpip_woke();
	return min_u64(until, world_nic_next());
}

void
world_take_step(uint64_t until)
{
	uint64_t next;
	uint32_t came;

	world_keeper_calls();
	world_settle();
	if (!world_alone) {
		while (wire_out.n != 0) {
			struct wire_frame *f = wire_pop(&wire_out);

			wire_carry(&wire_to_far, f);
			free(f);
		}
		world_far_turn();
	}
	while (wire_to_here.n != 0 && wire_to_here.f[0]->at <= world_clock) {
		struct wire_frame *f = wire_pop(&wire_to_here);

		if (!world_nic_dead())
			wire_push(&wire_in, f->bytes, f->len, 0);
		free(f);
	}
	came = wire_in.n;
	if (came != 0) {
		world_settle();
		if (wire_in.n != came)
			return;
	}
	next = min_u64(world_next(), until);
	if (!world_alone) {
		next = min_u64(next, world_far_next);
		if (wire_to_far.n != 0)
			next = min_u64(next, wire_to_far.f[0]->at);
		if (wire_to_here.n != 0)
			next = min_u64(next, wire_to_here.f[0]->at);
	}
	world_clock = max_u64(next, world_clock + NS_PER_US);
}

void world_step(void) { world_take_step(DEADLINE_NEVER); }

void
world_run(uint64_t ns)
{
	for (uint64_t until = world_clock + ns; world_clock < until;)
		world_take_step(until);
}

void
world_start_alone(void)
{
	world_alone = true;
	tcpip_init("address=10.0.0.1/24 gateway=10.0.0.2 dns=10.0.0.2");
	world_run(3 * NS_PER_S);
}

uint32_t
world_sent(uint8_t *packet, uint32_t size)
{
	struct wire_frame *f;
	uint32_t n;

	if (wire_out.n == 0)
		return 0;
	f = wire_pop(&wire_out);
	n = (uint32_t)min_u64(f->len, size);
	memcpy(packet, f->bytes, n);
	free(f);
	return n;
}

void
world_receive(const uint8_t *packet, uint32_t len)
{
	if (len <= WIRE_FRAME - NET_HEAD)
		wire_push(&wire_in, packet, len, 0);
}
