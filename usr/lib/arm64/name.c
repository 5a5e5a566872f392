#include "usr/lib/names.h"

const char arch_name[] = "arm64";
