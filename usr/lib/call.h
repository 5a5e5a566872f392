/*
 * The system-call instruction: registers of the convention, and its two forms in md_call.h.
 *
 *   void sys_full(struct sysregs *r)     every register goes in and comes out: messages
 *   void sys_msg4(...)                   messages of up to four words
 *   enum status sys6(...)                ordinary calls: six arguments, two results
 */
#pragma once

#include "kern/abi/syscall.h"

struct sysregs { uint64_t w[8], call, target, deadline, token; };

#include <md_call.h>
