/*
 * What a process may use (D13): pages and objects, counted where they are taken.
 *
 * A quota is reserved while a call is decoded and given back when the thing goes.
 * Atomic counters; no lock.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"

struct quota {
	uint64_t pages_max, objects_max;	/* (c) */
	uint64_t pages, objects;		/* (a) in use */
	uint64_t refused;			/* (a) times that something did not fit */
};

/* E_QUOTA and no change when n more do not fit. */
NODISCARD enum status quota_take_pages(struct quota *q, uint64_t n);
void quota_give_pages(struct quota *q, uint64_t n);
NODISCARD enum status quota_take_objects(struct quota *q, uint64_t n);
void quota_give_objects(struct quota *q, uint64_t n);
