/*
 * The HTTP server's parts: connections and the loop (main.c), the protocol (http.c), what is served
 * (pages.c, page.html), the records (status.c).
 */
#pragma once

#include "usr/httpd/pages.h"
#include "usr/lib/devmgr.h"
#include "usr/lib/sock_server.h"

extern handle_t kernel, devmgr;

/* The network interface as the service says; false when it does not. */
bool network_now(struct sock_interface *n);
