/*
 * Doubly linked list, threaded through its members.  An empty head, and a node
 * in no list, point at themselves; so list_remove may be called twice.
 */
#pragma once

#include "kern/base/types.h"

struct list { struct list *next, *prev; };

#define LIST_INIT(l)	{ &(l), &(l) }

static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }

static inline void list_insert_between(struct list *n, struct list *prev, struct list *next)
{
	n->prev = prev;
	n->next = next;
	prev->next = n;
	next->prev = n;
}

static inline void
list_push_front(struct list *head, struct list *n)
{
	list_insert_between(n, head, head->next);
}
static inline void
list_push_back(struct list *head, struct list *n)
{
	list_insert_between(n, head->prev, head);
}

static inline void list_remove(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

static inline struct list *list_pop_front(struct list *head)
{
	struct list *n = head->next;

	if (n == head)
		return NULL;
	list_remove(n);
	return n;
}

#define list_entry(p, type, member)	container_of(p, type, member)
#define list_first(head, type, member)	list_entry((head)->next, type, member)
#define list_for_each(it, head) \
	for (struct list *it = (head)->next; it != (head); it = it->next)
/* The body may remove "it". */
#define list_for_each_safe(it, head) \
	for (struct list *it = (head)->next, *it##_next = it->next; it != (head); \
	     it = it##_next, it##_next = it->next)
