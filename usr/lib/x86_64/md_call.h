/*
 * x86_64: the system-call instruction (SYSCALL), with registers as in kern/md/trap.h; and what else
 * of a program depends on the architecture.  Found by include path, through usr/lib/call.h.
 */
#pragma once

/* Where the stack pointer of a new thread's function must stand below an aligned top: as after a
 * call. */
enum { STACK_ENTRY = 8 };

/* A no-op that the instruction-counting plugin knows (tests/bench). */
#define MARK(id) \
	__asm__ volatile(".byte 0x0f, 0x1f, 0x80; .long 0x5a4d0000 | %c0" ::"i"(id) : "memory")

/* Every register of the convention goes in and comes out. */
static ALWAYS_INLINE void
sys_full(struct sysregs *r)
{
	register uint64_t r10 __asm__("r10") = r->w[3];
	register uint64_t r8 __asm__("r8") = r->w[4];
	register uint64_t r9 __asm__("r9") = r->w[5];
	register uint64_t r12 __asm__("r12") = r->w[6];
	register uint64_t r13 __asm__("r13") = r->w[7];
	register uint64_t r14 __asm__("r14") = r->deadline;
	register uint64_t r15 __asm__("r15") = r->token;

	__asm__ volatile("syscall"
	    : "+a"(r->call), "+b"(r->target), "+D"(r->w[0]), "+S"(r->w[1]), "+d"(r->w[2]),
	    "+r"(r10), "+r"(r8), "+r"(r9), "+r"(r12), "+r"(r13), "+r"(r14), "+r"(r15)::"rcx", "r11",
	    "memory");
	r->w[3] = r10;
	r->w[4] = r8;
	r->w[5] = r9;
	r->w[6] = r12;
	r->w[7] = r13;
	r->token = r15;
}

/* Ordinary calls: six arguments, two results. */
static ALWAYS_INLINE enum status
sys6(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f,
    uint64_t *r0, uint64_t *r1)
{
	register uint64_t r10 __asm__("r10") = d;
	register uint64_t r8 __asm__("r8") = e;
	register uint64_t r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
	    : "+a"(nr), "+D"(a), "+S"(b), "+d"(c), "+r"(r10), "+r"(r8), "+r"(r9)::"rcx", "r11",
	    "memory");
	*r0 = a;
	*r1 = b;
	return (enum status)(nr & CALL_NUMBER);
}

/* Messages of up to four words: fewer registers move. */
static ALWAYS_INLINE void
sys_msg4(uint64_t *call, uint64_t *target, uint64_t w[4], uint64_t deadline, uint64_t *token)
{
	register uint64_t r10 __asm__("r10") = w[3];
	register uint64_t r14 __asm__("r14") = deadline;
	register uint64_t r15 __asm__("r15") = *token;

	__asm__ volatile("syscall"
	    : "+a"(*call), "+b"(*target), "+D"(w[0]), "+S"(w[1]), "+d"(w[2]), "+r"(r10), "+r"(r15)
	    : "r"(r14)
	    : "rcx", "r11", "r8", "r9", "r12", "r13", "memory");
	w[3] = r10;
	*token = r15;
}
