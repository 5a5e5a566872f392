/*
 * The one error enum, of kernel, drivers, services and parsers.
 *
 * 0 is success.  A name says what kind of thing went wrong, in the caller's terms;
 * which thing it was stands in the log or trace line that goes with it.
 */
#pragma once

#include "kern/base/types.h"

#define STATUS_LIST(X) \
	X(OK,               "success") \
	X(E_INVALID,        "invalid argument") \
	X(E_RANGE,          "out of range") \
	X(E_ALIGN,          "misaligned") \
	X(E_HANDLE,         "no such handle") \
	X(E_STALE,          "stale: the object was revoked or reset") \
	X(E_TYPE,           "wrong kind of object") \
	X(E_RIGHTS,         "rights missing") \
	X(E_NO_MEMORY,      "out of memory") \
	X(E_QUOTA,          "quota used up") \
	X(E_BUSY,           "busy") \
	X(E_EXISTS,         "exists already") \
	X(E_NOT_FOUND,      "not found") \
	X(E_TIMED_OUT,      "timed out") \
	X(E_CANCELLED,      "cancelled") \
	X(E_PEER,           "the other side is gone") \
	X(E_STATE,          "not in a state for this") \
	X(E_UNSUPPORTED,    "not supported") \
	X(E_REFUSED,        "refused by policy or for lack of evidence") \
	X(E_FAULT,          "bad address") \
	X(E_WOULD_BLOCK,    "would block") \
	X(E_OVERFLOW,       "too large") \
	X(E_CORRUPT,        "malformed or failed its check") \
	X(E_IO,             "device error") \
	X(E_QUARANTINED,    "quarantined: completion could not be confirmed") \
	X(E_POISONED,       "poisoned: a device may still write this memory") \
	X(E_READ_ONLY,      "read only") \
	X(E_NO_DEVICE,      "device gone or dead") \
	X(E_SYSCALL,        "no such system call")

#define STATUS_ENUM(name, text) name,
enum status : uint8_t {
	STATUS_LIST(STATUS_ENUM)
	STATUS_COUNT
};
#undef STATUS_ENUM

/* Never NULL; "unknown status" past the end. */
static inline const char *
status_text(enum status s)
{
	static const char *const text[] = {
#define STATUS_TEXT(name, t) t,
		STATUS_LIST(STATUS_TEXT)
#undef STATUS_TEXT
	};

	return s < STATUS_COUNT ? text[s] : "unknown status";
}
