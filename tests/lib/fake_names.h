/*
 * A name server that answers by the first label of what it is asked:
 *
 *   web               10.0.2.4; alias: the same, by another name
 *   none, broken      no such name; the server's failure
 *   silent            nothing
 *
 * Before the right answer, that of "web", comes one which says 10.0.2.66 and is ...
 *
 *   wrongid wrongfrom wrongname       ... to another question: its id, who was asked, the name
 *   short             cut off in the middle of its address
 *   loop              of a name that points at itself
 *   long              a record that is longer than the packet
 *   question          no answer at all: a question
 *
 *   many              is the only answer: it is said to hold 65,535 records, and has one of no use
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NAMES_REPLIES = 2, NAMES_BYTES = 512 };

struct names_reply {
	bool elsewhere; /* comes from another address than was asked */
	size_t len;
	uint8_t bytes[NAMES_BYTES];
};

/* Of a question of n bytes, how many replies; each question is printed. */
unsigned names_answer(const uint8_t *q, size_t n, struct names_reply r[NAMES_REPLIES]);
