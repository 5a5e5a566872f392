int main(void);
#include "usr/lib/os.h"
int main(void) { print("hello from init, cpus %u cmdline '%s'\n", boot_info->cpus, boot_info->cmdline); return 0; }
