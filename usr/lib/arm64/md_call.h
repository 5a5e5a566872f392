/*
 * arm64: the system-call instruction (SVC #0), with registers as in kern/md/trap.h; and what else
 * of a program depends on the architecture.  Found by include path, through usr/lib/call.h.
 */
#pragma once

/* Where the stack pointer of a new thread's function must stand below an aligned top: aligned. */
enum { STACK_ENTRY = 16 };

/* A no-op that the instruction-counting plugin knows (tests/bench). */
#define MARK(id) __asm__ volatile(".inst 0xd280001f | ((0x5a00 | %c0) << 5)" :: "i"(id) : "memory")

static ALWAYS_INLINE void
sys_full(struct sysregs *r)
{
	register uint64_t x0 __asm__("x0") = r->w[0];
	register uint64_t x1 __asm__("x1") = r->w[1];
	register uint64_t x2 __asm__("x2") = r->w[2];
	register uint64_t x3 __asm__("x3") = r->w[3];
	register uint64_t x4 __asm__("x4") = r->w[4];
	register uint64_t x5 __asm__("x5") = r->w[5];
	register uint64_t x6 __asm__("x6") = r->w[6];
	register uint64_t x7 __asm__("x7") = r->w[7];
	register uint64_t x8 __asm__("x8") = r->call;
	register uint64_t x9 __asm__("x9") = r->target;
	register uint64_t x10 __asm__("x10") = r->deadline;
	register uint64_t x11 __asm__("x11") = r->token;

	__asm__ volatile("svc #0"
	    : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4), "+r"(x5), "+r"(x6), "+r"(x7),
	    "+r"(x8), "+r"(x9), "+r"(x10), "+r"(x11)::"memory");
	*r = (struct sysregs){ { x0, x1, x2, x3, x4, x5, x6, x7 }, x8, x9, x10, x11 };
}

static ALWAYS_INLINE enum status
sys6(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f,
    uint64_t *r0, uint64_t *r1)
{
	register uint64_t x0 __asm__("x0") = a;
	register uint64_t x1 __asm__("x1") = b;
	register uint64_t x2 __asm__("x2") = c;
	register uint64_t x3 __asm__("x3") = d;
	register uint64_t x4 __asm__("x4") = e;
	register uint64_t x5 __asm__("x5") = f;
	register uint64_t x8 __asm__("x8") = nr;

	__asm__ volatile("svc #0"
	    : "+r"(x0), "+r"(x1), "+r"(x8)
	    : "r"(x2), "r"(x3), "r"(x4), "r"(x5)
	    : "memory");
	*r0 = x0;
	*r1 = x1;
	return (enum status)(x8 & CALL_NUMBER);
}

/* Messages of up to four words: fewer registers move. */
static ALWAYS_INLINE void
sys_msg4(uint64_t *call, uint64_t *target, uint64_t w[4], uint64_t deadline, uint64_t *token)
{
	register uint64_t x0 __asm__("x0") = w[0];
	register uint64_t x1 __asm__("x1") = w[1];
	register uint64_t x2 __asm__("x2") = w[2];
	register uint64_t x3 __asm__("x3") = w[3];
	register uint64_t x8 __asm__("x8") = *call;
	register uint64_t x9 __asm__("x9") = *target;
	register uint64_t x10 __asm__("x10") = deadline;
	register uint64_t x11 __asm__("x11") = *token;

	__asm__ volatile("svc #0"
	    : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x8), "+r"(x9), "+r"(x11)
	    : "r"(x10)
	    : "x4", "x5", "x6", "x7", "memory");
	w[0] = x0;
	w[1] = x1;
	w[2] = x2;
	w[3] = x3;
	*call = x8;
	*target = x9;
	*token = x11;
}
