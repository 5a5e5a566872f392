/* The packet server's variables as a new process has them. */
#include <string.h>

#define main program_main
#include "usr/netd/netd.h"
#undef main

void world_anew(void);

void
world_anew(void)
{
	memset(&server, 0, sizeof(server));
}
