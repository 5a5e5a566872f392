/*
 * System calls on the host: functions that a test supplies (usr/lib/call.h finds this by include
 * path).
 */
#pragma once

enum { STACK_ENTRY = 8 };

#define MARK(id) ((void)(id))

void sys_full(struct sysregs *r);
enum status sys6(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
    uint64_t f, uint64_t *r0, uint64_t *r1);
void sys_msg4(uint64_t *call, uint64_t *target, uint64_t w[4], uint64_t deadline, uint64_t *token);
