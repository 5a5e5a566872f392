/* The C library's header, for lwIP. */
#pragma once
#include "kern/base/str.h"
