/*
 * What is served: paths to pages.
 */
#pragma once

#include "usr/httpd/http.h"
#include "usr/lib/text.h"

enum { PAGE_BYTES = 48 * 1024 };	/* the longest record that is made for one answer */

/* Answers the request that c wants answered.  room: PAGE_BYTES, until http_sent. */
void pages_answer(struct http *c, char *room);

/* Records, made by status.c and by the library; docs/services.md tells them. */
void status_json(struct text *t);
void status_metrics(struct text *t);
void status_evidence(struct text *t);
