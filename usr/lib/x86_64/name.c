#include "usr/lib/names.h"

const char arch_name[] = "x86_64";
