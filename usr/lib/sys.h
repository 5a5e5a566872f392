/*
 * System calls as functions, made from kern/abi/syscalls.def (its comments are their manual pages):
 *
 *     enum status sys_NAME(arguments..., results...)
 *
 * Arguments are 64-bit words; each result is a pointer to one.  On failure results are not written.
 */
#pragma once

#include "usr/lib/call.h"

#define SYS_P_0
#define SYS_P_1 uint64_t a
#define SYS_P_2 uint64_t a, uint64_t b
#define SYS_P_3 uint64_t a, uint64_t b, uint64_t c
#define SYS_P_4 uint64_t a, uint64_t b, uint64_t c, uint64_t d
#define SYS_P_5 uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e
#define SYS_P_6 uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f
#define SYS_A_0 0, 0, 0, 0, 0, 0
#define SYS_A_1 a, 0, 0, 0, 0, 0
#define SYS_A_2 a, b, 0, 0, 0, 0
#define SYS_A_3 a, b, c, 0, 0, 0
#define SYS_A_4 a, b, c, d, 0, 0
#define SYS_A_5 a, b, c, d, e, 0
#define SYS_A_6 a, b, c, d, e, f
#define SYS_STUB_0_0(name, nr) \
	static inline enum status sys_##name(void) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_0, &x_, &y_); \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_0_1(name, nr) \
	static inline enum status sys_##name(uint64_t *r0) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_0, &x_, &y_); \
		if (s_ == OK) \
			*r0 = x_; \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_0_2(name, nr) \
	static inline enum status sys_##name(uint64_t *r0, uint64_t *r1) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_0, &x_, &y_); \
		if (s_ == OK) \
			*r0 = x_; \
		if (s_ == OK) \
			*r1 = y_; \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_1_0(name, nr) \
	static inline enum status sys_##name(SYS_P_1) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_1, &x_, &y_); \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_1_1(name, nr) \
	static inline enum status sys_##name(SYS_P_1, uint64_t *r0) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_1, &x_, &y_); \
		if (s_ == OK) \
			*r0 = x_; \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_1_2(name, nr) \
	static inline enum status sys_##name(SYS_P_1, uint64_t *r0, uint64_t *r1) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_1, &x_, &y_); \
		if (s_ == OK) \
			*r0 = x_; \
		if (s_ == OK) \
			*r1 = y_; \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_2_0(name, nr) \
	static inline enum status sys_##name(SYS_P_2) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_2, &x_, &y_); \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_2_1(name, nr) \
	static inline enum status sys_##name(SYS_P_2, uint64_t *r0) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_2, &x_, &y_); \
		if (s_ == OK) \
			*r0 = x_; \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_2_2(name, nr) \
	static inline enum status sys_##name(SYS_P_2, uint64_t *r0, uint64_t *r1) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_2, &x_, &y_); \
		if (s_ == OK) \
			*r0 = x_; \
		if (s_ == OK) \
			*r1 = y_; \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_3_0(name, nr) \
	static inline enum status sys_##name(SYS_P_3) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_3, &x_, &y_); \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_3_1(name, nr) \
	static inline enum status sys_##name(SYS_P_3, uint64_t *r0) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_3, &x_, &y_); \
		if (s_ == OK) \
			*r0 = x_; \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_3_2(name, nr) \
	static inline enum status sys_##name(SYS_P_3, uint64_t *r0, uint64_t *r1) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_3, &x_, &y_); \
		if (s_ == OK) \
			*r0 = x_; \
		if (s_ == OK) \
			*r1 = y_; \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_4_0(name, nr) \
	static inline enum status sys_##name(SYS_P_4) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_4, &x_, &y_); \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_4_1(name, nr) \
	static inline enum status sys_##name(SYS_P_4, uint64_t *r0) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_4, &x_, &y_); \
		if (s_ == OK) \
			*r0 = x_; \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_4_2(name, nr) \
	static inline enum status sys_##name(SYS_P_4, uint64_t *r0, uint64_t *r1) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_4, &x_, &y_); \
		if (s_ == OK) \
			*r0 = x_; \
		if (s_ == OK) \
			*r1 = y_; \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_5_0(name, nr) \
	static inline enum status sys_##name(SYS_P_5) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_5, &x_, &y_); \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_5_1(name, nr) \
	static inline enum status sys_##name(SYS_P_5, uint64_t *r0) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_5, &x_, &y_); \
		if (s_ == OK) \
			*r0 = x_; \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_5_2(name, nr) \
	static inline enum status sys_##name(SYS_P_5, uint64_t *r0, uint64_t *r1) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_5, &x_, &y_); \
		if (s_ == OK) \
			*r0 = x_; \
		if (s_ == OK) \
			*r1 = y_; \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_6_0(name, nr) \
	static inline enum status sys_##name(SYS_P_6) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_6, &x_, &y_); \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_6_1(name, nr) \
	static inline enum status sys_##name(SYS_P_6, uint64_t *r0) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_6, &x_, &y_); \
		if (s_ == OK) \
			*r0 = x_; \
		(void)x_; \
		(void)y_; \
		return s_; \
	}
#define SYS_STUB_6_2(name, nr) \
	static inline enum status sys_##name(SYS_P_6, uint64_t *r0, uint64_t *r1) \
	{ \
		uint64_t x_, y_; \
		enum status s_ = sys6(nr, SYS_A_6, &x_, &y_); \
		if (s_ == OK) \
			*r0 = x_; \
		if (s_ == OK) \
			*r1 = y_; \
		(void)x_; \
		(void)y_; \
		return s_; \
	}

#define SYSCALL(number, name, in, out, text) SYS_STUB_##in##_##out(name, number)
#include "kern/abi/syscalls.def"
#undef SYSCALL

/* ntfn_signal_wait without a signal. */
static inline enum status
sys_ntfn_wait(uint64_t notification, uint64_t deadline, uint64_t *bits)
{
	return sys_ntfn_signal_wait(notification, deadline, 0, 0, bits);
}
