/*
 * Which system this is, on which machine: for the evidence.
 */
#pragma once

struct machine;
struct machine_info;

void identity_fill(struct machine_info *out);

/* One line of the log. */
void identity_report(const struct machine *m);
