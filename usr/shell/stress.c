/*
 * "stress [ROUNDS]": messages and signals from all sides, every answer checked.
 *
 * Clients, each a process on some CPU, call one endpoint with 0 to 8 words and all kinds of
 * deadlines.  Servers with two threads each answer what they got, in every way there is: reply and
 * receive in one call or in two, with and without a deadline, twice.  A server is killed now and
 * then and the next one starts.  A process that was never called guesses tokens.  Then two threads
 * of different priority signal each other, on one CPU and on two.  Last, two that talk all the time
 * must leave its share of the CPU to a third, who is as urgent as the caller.
 *
 * Whoever sees something that must not be ends with its own exit code, which this command reports.
 */
#include "kern/base/bits.h"
#include "usr/shell/copy.h"
#include "usr/shell/shell.h"

enum {
	CLIENTS = 4,
	SERVER_LIVES = 12,
	LIFE_MS = 15,
	LOOK_MS = 200,
	SHARE_MS = 300,
	PRIORITY = 10,
	PRIORITY_LOW = 5
};
enum exit : uint64_t {
	EXIT_GOOD = 100,
	BAD_STATUS, BAD_ANSWER, BAD_LABEL,			/* client */
	ANSWERED_TWICE, BAD_RECEIVE,				/* server */
	GUESS_TAKEN,						/* forger */
	SIGNAL_LOST, SIGNAL_WRONG,				/* signals */
};

static uint8_t stack[2][8192] ALIGNED(16);	/* of a copy's second threads */

static uint64_t
next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* An exit code's low byte says what was seen; the rest counts answers. */
static NORETURN void
leave(uint64_t code)
{
	(void)sys_process_exit(code);
	for (;;)
		;
}

/* What a server makes of a word that came by a badge. */
static uint64_t
answer(uint64_t word, uint64_t badge)
{
	return (word + badge) * 0x9e3779b97f4a7c15;
}

/* A message of more words than there are, and one with a handle that is none of its words. */
static bool
bad_tags_are_refused(uint64_t endpoint, uint64_t *r)
{
	uint64_t words = next(r) % 4, bad[] = { FIELD_PREP(TAG_WORDS, 9 + next(r) % 7),
		FIELD_PREP(TAG_WORDS, words) | FIELD_PREP(TAG_HANDLES, 1u << words) };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct sysregs m = { .call = SYS_ipc_call | bad[i],
			.target = endpoint,
			.deadline = DEADLINE_NEVER };

		sys_full(&m);
		if ((m.call & CALL_NUMBER) != E_INVALID)
			return false;
	}
	return true;
}

/* A badge of 64 bits for each number: none of them is lost on the way. */
static uint64_t wide(uint64_t n) { return n * 0x0101'0001'8001'0001; }

static void
client(uint64_t endpoint, uint64_t arg)
{
	uint64_t badge = wide(arg >> 32), rounds = arg & UINT32_MAX, answered = 0,
		 r = arg * 0x9e3779b97f4a7c15 + 1;

	for (uint64_t n = 0; n < rounds; n++) {
		uint64_t words = next(&r) % 9, label = next(&r) >> 32, sent[8],
			 deadline = DEADLINE_NEVER;
		struct sysregs m = { .target = endpoint };
		enum status s;

		if (n % 64 == 0 && !bad_tags_are_refused(endpoint, &r))
			leave(BAD_STATUS);
		if (next(&r) % 8 == 0)
			deadline = next(&r) % 4 == 0 ? 0 : now_ns() + next(&r) % 200000;
		for (unsigned i = 0; i < 8; i++)
			m.w[i] = sent[i] = next(&r);
		m.call = SYS_ipc_call | MESSAGE_TAG(label, words);
		m.deadline = deadline;
		sys_full(&m);
		s = (enum status)(m.call & CALL_NUMBER);
		if (s == E_PEER)
			continue;		/* the server that had the call was killed */
		if ((s == E_TIMED_OUT || s == E_WOULD_BLOCK) && deadline != DEADLINE_NEVER)
			continue;
		if (s != OK)
			leave(BAD_STATUS);
		if (FIELD_GET(TAG_LABEL, m.call) != (~label & UINT32_MAX) ||
		    FIELD_GET(TAG_WORDS, m.call) != words)
			leave(BAD_LABEL);
		for (unsigned i = 0; i < words; i++)
			if (m.w[i] != answer(sent[i], badge))
				leave(BAD_ANSWER);
		answered++;
	}
	leave(EXIT_GOOD | answered << 8);
}

static void
serve(uint64_t endpoint, uint64_t seed)
{
	uint64_t r = seed * 0x9e3779b97f4a7c15 + 7;
	struct sysregs m = { .call = SYS_ipc_recv, .target = endpoint, .deadline = DEADLINE_NEVER };

	for (;;) {
		uint64_t badge, token;
		enum status s;

		sys_full(&m);
		s = (enum status)(m.call & CALL_NUMBER);
		badge = m.target;
		m.target = endpoint;
		if (s == E_TIMED_OUT) {
			m.call = SYS_ipc_recv;
			m.deadline = DEADLINE_NEVER;
			continue;
		}
		if (s != OK)
			leave(BAD_RECEIVE);
		for (unsigned i = 0; i < FIELD_GET(TAG_WORDS, m.call); i++)
			m.w[i] = answer(m.w[i], badge);
		m.call = (m.call & TAG_WORDS) |
		    FIELD_PREP(TAG_LABEL, ~FIELD_GET(TAG_LABEL, m.call) & UINT32_MAX);
		m.deadline = next(&r) % 8 == 0 ? now_ns() + next(&r) % 100000 : DEADLINE_NEVER;
		if (next(&r) % 8 != 0) {
			m.call |= SYS_ipc_reply_recv;
			continue;
		}
		token = m.token;
		m.call |= SYS_ipc_reply;
		sys_full(&m);
		if (next(&r) % 2 == 0) {
			m.token = token;
			m.call = SYS_ipc_reply;
			sys_full(&m);
			if ((m.call & CALL_NUMBER) != E_PEER)
				leave(ANSWERED_TWICE);
		}
		m.call = SYS_ipc_recv;
		m.target = endpoint;
	}
}

static void
server(uint64_t endpoint, uint64_t seed)
{
	uint64_t id;

	(void)sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)serve,
	    (uint64_t)(uintptr_t)stack[1] - STACK_ENTRY, endpoint, seed ^ 0x5555,
	    PRIORITY | CPU_ANY << 8, &id);
	serve(endpoint, seed);
}

/* Guesses: every thread there may be, and small sequence numbers, which most threads have. */
static void
forger(uint64_t endpoint UNUSED, uint64_t seed)
{
	uint64_t r = seed + 99;

	for (;;) {
		struct sysregs m = { .call = SYS_ipc_reply | MESSAGE_TAG(666, 4) };

		m.token = (next(&r) % 20000) << 13 | (next(&r) % 64) << 2 | (next(&r) & 3);
		sys_full(&m);
		if ((m.call & CALL_NUMBER) != E_PEER)
			leave(GUESS_TAKEN);
	}
}

static uint64_t there_and_back[2];	/* notifications of a copy */

static void
signal_low(uint64_t rounds, uint64_t seed)
{
	uint64_t r = seed + 5, bits;

	for (uint64_t i = 0; i < rounds; i++) {
		(void)sys_ntfn_signal(there_and_back[0], BIT(i % 64));
		if (sys_ntfn_wait(there_and_back[1],
			next(&r) % 4 == 0 ? now_ns() + 20 * NS_PER_S : DEADLINE_NEVER, &bits) != OK)
			leave(SIGNAL_LOST);
		if (bits != BIT((i + 1) % 64))
			leave(SIGNAL_WRONG);
	}
	(void)sys_thread_exit();
}

/* arg: rounds, and in bits 39:32 the CPU of the less urgent thread. */
static void
signals(uint64_t handle UNUSED, uint64_t arg)
{
	uint64_t rounds = arg & UINT32_MAX, r = arg + 1, bits, id;

	if (sys_ntfn_create(&there_and_back[0]) != OK ||
	    sys_ntfn_create(&there_and_back[1]) != OK ||
	    sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)signal_low,
		(uint64_t)(uintptr_t)stack[1] - STACK_ENTRY, rounds, r,
		PRIORITY_LOW | (arg >> 32 & 0xff) << 8, &id) != OK)
		leave(BAD_STATUS);
	for (uint64_t i = 0; i < rounds; i++) {
		if (sys_ntfn_wait(there_and_back[0],
			next(&r) % 4 == 0 ? now_ns() + 20 * NS_PER_S : DEADLINE_NEVER, &bits) != OK)
			leave(SIGNAL_LOST);
		if (bits != BIT(i % 64))
			leave(SIGNAL_WRONG);
		(void)sys_ntfn_signal(there_and_back[1], BIT((i + 1) % 64));
	}
	leave(EXIT_GOOD);
}

static void
listener(uint64_t endpoint, uint64_t arg UNUSED)
{
	uint64_t call = SYS_ipc_recv, token = 0, w[4] = { 0 };

	for (;;) {
		uint64_t target = endpoint;

		sys_msg4(&call, &target, w, DEADLINE_NEVER, &token);
		call = SYS_ipc_reply_recv;
	}
}

static void
talker(uint64_t endpoint, uint64_t arg UNUSED)
{
	for (;;) {
		uint64_t call = SYS_ipc_call, target = endpoint, token = 0, w[4] = { 0 };

		sys_msg4(&call, &target, w, DEADLINE_NEVER, &token);
	}
}

static void
bystander(uint64_t endpoint UNUSED, uint64_t arg UNUSED)
{
	for (volatile uint64_t n = 0;; n++)
		;
}

static uint64_t
run_time(handle_t process)
{
	struct process_info p = { 0 };
	uint64_t n;

	(void)sys_info(process, INFO_PROCESS, 0, (uint64_t)(uintptr_t)&p, sizeof(p), &n);
	return p.cpu_ns;
}

/* All on one CPU; the server is as urgent as the others, or more. */
static bool
shares(handle_t endpoint, uint8_t server_priority)
{
	handle_t s = HANDLE_NONE, t = HANDLE_NONE, b = HANDLE_NONE;
	bool good = copy_start(&s, listener, endpoint, RIGHT_RECV, 1, server_priority, 0) == OK &&
	    copy_start(&t, talker, endpoint, RIGHT_CALL, 0, PRIORITY_LOW, 0) == OK &&
	    copy_start(&b, bystander, endpoint, RIGHT_CALL, 0, PRIORITY_LOW, 0) == OK;
	uint64_t talk, idle;

	good = pause_until(now_ns() + SHARE_MS * NS_PER_MS) && good;
	talk = run_time(s) + run_time(t);
	idle = run_time(b);
	if (good && (talk < SHARE_MS / 10 * NS_PER_MS || idle < SHARE_MS / 10 * NS_PER_MS)) {
		print("stress: of %u ms those who talk got %llu, the bystander %llu\n", SHARE_MS,
		    (unsigned long long)(talk / NS_PER_MS), (unsigned long long)(idle / NS_PER_MS));
		good = false;
	}
	copy_end(&b);
	copy_end(&t);
	copy_end(&s);
	return good;
}

/* Waits for the bits of all whose end is watched, until the deadline or a Ctrl-C. */
static bool
wait_all(handle_t ntfn, uint64_t all, uint64_t deadline)
{
	uint64_t bits;

	while (all != 0 && !interrupted()) {
		enum status s =
		    sys_ntfn_wait(ntfn, min_u64(deadline, now_ns() + LOOK_MS * NS_PER_MS), &bits);

		if (s == OK)
			all &= ~bits;
		else if (s != E_TIMED_OUT || now_ns() >= deadline)
			return false;
	}
	return all == 0;
}

/* How a process ended; those who run for ever must still run.  *answered counts up. */
static bool
went_well(handle_t process, bool for_ever, const char *who, uint64_t *answered)
{
	static struct epitaph e;
	uint64_t n;

	if (sys_info(process, INFO_EPITAPH, 0, (uint64_t)(uintptr_t)&e, sizeof(e), &n) != OK)
		e.reason = EXIT_RUNNING;
	if (e.reason == EXIT_RUNNING && !for_ever)
		print("stress: %s does not end\n", who);
	if (e.reason == EXIT_RUNNING)
		return for_ever;
	*answered += e.exit_code >> 8;
	if (!for_ever && e.reason == EXIT_NORMAL && (e.exit_code & 0xff) == EXIT_GOOD)
		return true;
	print("stress: %s ended with reason %u, code %llu\n", who, e.reason,
	    (unsigned long long)e.exit_code & 0xff);
	return false;
}

static bool
messages(uint64_t rounds, handle_t ntfn, uint64_t *answered)
{
	handle_t clients[CLIENTS] = { 0 }, servers[2] = { 0 }, guess = HANDLE_NONE;
	uint64_t e, minted, end = now_ns() + 120 * NS_PER_S, seed = now_ns();
	bool good = sys_endpoint_create(&e) == OK;

	good = good &&
	    copy_start(&guess, forger, (handle_t)e, RIGHT_CALL, seed, PRIORITY_LOW, CPU_ANY) == OK;
	for (unsigned i = 0; i < CLIENTS && good; i++) {
		good = sys_endpoint_mint(e, wide(i + 1), &minted) == OK &&
		    copy_start(&clients[i], client, (handle_t)minted, RIGHT_CALL,
			(uint64_t)(i + 1) << 32 | rounds, PRIORITY, CPU_ANY) == OK &&
		    sys_watch(clients[i], ntfn, BIT(i)) == OK;
		(void)sys_handle_close(minted);
	}
	/* The next server is there before the last one is killed, so calls always find somebody in
	 * the end. */
	for (unsigned life = 0; life < SERVER_LIVES && good; life++) {
		handle_t *s = &servers[life % 2];

		copy_end(s);
		good = copy_start(s, server, (handle_t)e, RIGHT_RECV, seed + life, PRIORITY,
			   CPU_ANY) == OK;
		good = pause_until(now_ns() + LIFE_MS * NS_PER_MS) && good;
		good = good && went_well(*s, true, "a server", answered);
	}
	if (!good && !was_interrupted())
		print("stress: not everything could be started, or did not last\n");
	good = good && wait_all(ntfn, BIT(CLIENTS) - 1, end);
	good = good && went_well(guess, true, "the forger", answered) &&
	    went_well(servers[(SERVER_LIVES - 1) % 2], true, "the last server", answered);
	for (unsigned i = 0; i < CLIENTS; i++) {
		good = good && went_well(clients[i], false, "a client", answered);
		copy_end(&clients[i]);
	}
	copy_end(&servers[0]);
	copy_end(&servers[1]);
	copy_end(&guess);
	(void)sys_handle_close(e);
	return good;
}

int
cmd_stress(int argc, char **argv)
{
	uint64_t rounds = 2000, n, e, len, answered = 0;
	struct cpu_info c;
	bool good = true;

	if (argc > 1 && !want_number("ROUNDS", argv[1], &rounds))
		return 1;
	if (rounds > UINT32_MAX)
		return usage("%s are too many rounds", argv[1]);
	if (sys_ntfn_create(&n) != OK || sys_endpoint_create(&e) != OK)
		return 1;
	good = messages(rounds, (handle_t)n, &answered);
	for (uint8_t cpu = 0; cpu < 2 && !was_interrupted() &&
	    sys_info(kernel, INFO_CPU, cpu, (uint64_t)(uintptr_t)&c, sizeof(c), &len) == OK;
	    cpu++) {
		handle_t pair = HANDLE_NONE;
		enum status s = copy_start(&pair, signals, (handle_t)e, RIGHT_CALL,
		    rounds | (uint64_t)cpu << 32, PRIORITY, 0);

		if (s == OK) {
			good = sys_watch(pair, n, BIT(CLIENTS + cpu)) == OK &&
			    wait_all((handle_t)n, BIT(CLIENTS + cpu), now_ns() + 60 * NS_PER_S) &&
			    good;
			good = went_well(pair, false, "a pair that signals", &answered) && good;
		}
		copy_end(&pair);
	}
	good = !was_interrupted() && shares((handle_t)e, PRIORITY_LOW) &&
	    shares((handle_t)e, PRIORITY) && good;
	(void)sys_handle_close(n);
	(void)sys_handle_close(e);
	if (was_interrupted())
		return stopped();
	print("stress: %llu calls of %llu answered, %s\n", (unsigned long long)answered,
	    (unsigned long long)rounds * CLIENTS, good ? "and every answer was right" : "FAILED");
	return !good;
}
