/*
 * lwIP's view of compiler and machine.
 */
#pragma once

#include <stdint.h>

#define LWIP_NO_INTTYPES_H 1
#define LWIP_NO_UNISTD_H 1
#define LWIP_NO_CTYPE_H 1
#ifdef CAPOS_HOST
#include <limits.h>
#include <sys/types.h>
#else
#define SSIZE_MAX INT32_MAX
typedef int ssize_t;
#endif

/* Formats of texts that are compiled out. */
#define X8_F "02x"
#define U16_F "u"
#define S16_F "d"
#define X16_F "x"
#define U32_F "u"
#define S32_F "d"
#define X32_F "x"
#define SZT_F "zu"

#define BYTE_ORDER LITTLE_ENDIAN
#define lwip_htons(x) __builtin_bswap16(x)
#define lwip_htonl(x) __builtin_bswap32(x)

/* usr/tcpip/port/port.c.  An assertion of lwIP's is about what lwIP computed. */
_Noreturn void lwip_asserts(const char *what, const char *file, int line);
uint32_t lwip_random(void);
uint16_t lwip_sum(const void *bytes, int len);
uint16_t lwip_sum_copy(void *to, const void *from, uint16_t len);

#define LWIP_PLATFORM_DIAG(x) ((void)0)
#define LWIP_PLATFORM_ASSERT(x) lwip_asserts(x, __FILE__, __LINE__)
#define LWIP_RAND() lwip_random()
#define LWIP_CHKSUM lwip_sum
