/* The C library's header, for lwIP, which prints nothing. */
#pragma once
