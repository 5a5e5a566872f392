/*
 * Between gic.c and its.c.
 */
#pragma once

#include "kern/base/types.h"
#include "kern/cpu.h"

struct machine;

extern volatile uint8_t *gic_redistributor[CPUS_MAX];

void its_init(const struct machine *m, uint32_t lpis);	/* as many may be used */
void its_init_cpu(unsigned cpu);
bool its_present(void);
void its_record(void (*say)(const char *name, uint64_t value));
void its_dispatch(uint32_t lpi);
