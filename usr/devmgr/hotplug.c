/*
 * Functions that come and go with cards in slots.
 *
 * The driver of one that goes is ended, and its endpoint stays: when a function that the same rule
 * matches comes to the same place, a new driver serves there, and clients find out by themselves
 * whether what it serves is what they had (usr/lib/blk.c).
 */
#include "usr/devmgr/driver.h"

bool
hotplug_there(const struct driver *d, struct function_info *f)
{
	uint32_t function;

	for (uint64_t i = 0; driver_function_at(i, f, &function); i++)
		if (function == d->function)
			return !f->unplugged;
	return false;
}

void
hotplug_gone(struct driver *d)
{
	if (d->state != SUPERVISED_UNPLUGGED)
		log_line(1, "device %s: unplugged: %s ends, its clients wait for its return",
		    driver_place(d->function), d->rule->task.program);
	d->state = SUPERVISED_UNPLUGGED;
}

void
hotplug_look(void)
{
	struct function_info f;

	for (unsigned i = 0; i < driver_count; i++) {
		struct driver *d = &drivers[i];
		bool there = hotplug_there(d, &f);

		if (!there && d->process != HANDLE_NONE)
			(void)sys_process_kill(d->process, 0);	/* it has nothing left to serve */
		/* Nobody waits for one that was refused or given up: who comes to its place is new.
		 */
		if (!there && d->process == HANDLE_NONE && d->endpoint == HANDLE_NONE &&
		    d->state != SUPERVISED_DISABLED)
			d->function = UINT32_MAX;
		if (!there || d->state != SUPERVISED_UNPLUGGED)
			continue;
		if (driver_rule_of(&f) == d->rule) {
			d->state = SUPERVISED_WAITING;
			d->life.quick = 0;
			d->start_at = now_ns();
			d->give_up_at = now_ns() + CLAIM_NS;
			continue;
		}
		/* Something else is in its place. */
		driver_abandon(d, SUPERVISED_REFUSED);
		d->function = UINT32_MAX;
	}
}
