/*
 * The boot application's last step on the host (boot/main.c finds this by include path): a jump
 * back into the test.
 */
#pragma once

#include "kern/base/types.h"

enum : uint64_t { BOOT_BELOW = UINT64_MAX };
enum : uint16_t { BOOT_ELF_MACHINE = 183, BOOT_ELF_OTHER = 62 };

#define BOOT_ARCH	"arm64"
#define BOOT_PATH	u"\\capos\\arm64\\"
enum : bool { BOOT_NEEDS_TABLES = true };

/* The test's. */
const char *boot_refuses(void);
void boot_clean(uint64_t base, uint64_t len);
NORETURN void boot_jump(uint64_t entry, uint64_t record);
