/*
 * NBD on the wire.  All numbers are big-endian.
 *
 * Manual   NetworkBlockDevice doc/proto.md: "Newstyle negotiation", "Transmission", "Values".
 */
#pragma once

#include "kern/base/bits.h"

enum : uint64_t {
	NBD_INIT_MAGIC = 0x4e42444d41474943,	/* "NBDMAGIC" */
	NBD_OPTION_MAGIC = 0x49484156454f5054,	/* "IHAVEOPT": of the greeting, and of options */
	NBD_OPTION_REPLY_MAGIC = 0x0003e889045565a9,
};
enum : uint32_t {
	NBD_REQUEST_MAGIC = 0x25609513,
	NBD_SIMPLE_MAGIC = 0x67446698,
	NBD_STRUCTURED_MAGIC = 0x668e33ef,
};

/* Handshake flags; the client's have the same numbers, in 32 bits. */
enum : uint16_t { NBD_FLAG_FIXED_NEWSTYLE = 1u << 0, NBD_FLAG_NO_ZEROES = 1u << 1 };

/* Transmission flags: what an export can do. */
enum : uint16_t {
	NBD_FLAG_HAS_FLAGS = 1u << 0,
	NBD_FLAG_READ_ONLY = 1u << 1,
	NBD_FLAG_SEND_FLUSH = 1u << 2,
	NBD_FLAG_SEND_FUA = 1u << 3,
	NBD_FLAG_SEND_TRIM = 1u << 5,
	NBD_FLAG_SEND_WRITE_ZEROES = 1u << 6,
	NBD_FLAG_SEND_DF = 1u << 7,
	NBD_FLAG_CAN_MULTI_CONN = 1u << 8,
};

enum nbd_option : uint32_t {
	NBD_OPT_EXPORT_NAME = 1,
	NBD_OPT_ABORT = 2,
	NBD_OPT_LIST = 3,
	NBD_OPT_STARTTLS = 5,
	NBD_OPT_INFO = 6,
	NBD_OPT_GO = 7,
	NBD_OPT_STRUCTURED_REPLY = 8,
	NBD_OPT_LIST_META_CONTEXT = 9,
	NBD_OPT_SET_META_CONTEXT = 10,
};

enum : uint32_t {
	NBD_REP_ACK = 1,
	NBD_REP_SERVER = 2,
	NBD_REP_INFO = 3,
	NBD_REP_META_CONTEXT = 4,
	NBD_REP_ERR_UNSUP = 1u << 31 | 1,
	NBD_REP_ERR_INVALID = 1u << 31 | 3,
	NBD_REP_ERR_PLATFORM = 1u << 31 | 4,
	NBD_REP_ERR_UNKNOWN = 1u << 31 | 6,
	NBD_REP_ERR_TOO_BIG = 1u << 31 | 9,
};

enum : uint16_t { NBD_INFO_EXPORT, NBD_INFO_NAME, NBD_INFO_DESCRIPTION, NBD_INFO_BLOCK_SIZE };

enum nbd_command : uint16_t {
	NBD_CMD_READ,
	NBD_CMD_WRITE,
	NBD_CMD_DISC,
	NBD_CMD_FLUSH,
	NBD_CMD_TRIM,
	NBD_CMD_CACHE,
	NBD_CMD_WRITE_ZEROES,
	NBD_CMD_BLOCK_STATUS,
};
enum : uint16_t {
	NBD_CMD_FLAG_FUA = 1u << 0,
	NBD_CMD_FLAG_NO_HOLE = 1u << 1,
	NBD_CMD_FLAG_DF = 1u << 2,	/* a read's data in one chunk */
	NBD_CMD_FLAG_REQ_ONE = 1u << 3,	/* block status: one extent */
};

enum : uint16_t { NBD_REPLY_FLAG_DONE = 1u << 0 };
enum : uint16_t {
	NBD_REPLY_NONE = 0,
	NBD_REPLY_OFFSET_DATA = 1,
	NBD_REPLY_BLOCK_STATUS = 5,
	NBD_REPLY_ERROR = 1u << 15 | 1,
	NBD_REPLY_ERROR_OFFSET = 1u << 15 | 2,
};

enum nbd_error : uint32_t {
	NBD_SUCCESS = 0,
	NBD_EPERM = 1,
	NBD_EIO = 5,
	NBD_ENOMEM = 12,
	NBD_EINVAL = 22,
	NBD_ENOSPC = 28,
	NBD_EOVERFLOW = 75,
	NBD_ENOTSUP = 95,
	NBD_ESHUTDOWN = 108,
};

/* Lengths of what has a fixed one. */
enum : uint32_t {
	NBD_HELLO_BYTES = 18,		/* two magics, handshake flags */
	NBD_CLIENT_FLAGS_BYTES = 4,
	NBD_OPTION_BYTES = 16,		/* magic, option, length */
	NBD_OPTION_REPLY_BYTES = 20,	/* magic, option, type, length */
	NBD_OLD_EXPORT_BYTES = 10,	/* answer to EXPORT_NAME: size, flags */
	NBD_OLD_ZEROES_BYTES = 124,	/* ... and these, unless both sides say no */
	NBD_REQUEST_BYTES = 28,		/* magic, flags, command, cookie, offset, length */
	NBD_SIMPLE_BYTES = 16,		/* magic, error, cookie */
	NBD_CHUNK_BYTES = 20,		/* magic, flags, type, cookie, length */
};

static inline uint16_t
nbd_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t
nbd_get32(const uint8_t *p)
{
	uint32_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return swap32(v);
}

static inline uint64_t
nbd_get64(const uint8_t *p)
{
	uint64_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return swap64(v);
}

/* Each returns where the next field goes. */
static inline uint8_t *
nbd_put16(uint8_t *p, uint16_t v)
{
	v = swap16(v);
	__builtin_memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static inline uint8_t *
nbd_put32(uint8_t *p, uint32_t v)
{
	v = swap32(v);
	__builtin_memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static inline uint8_t *
nbd_put64(uint8_t *p, uint64_t v)
{
	v = swap64(v);
	__builtin_memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}
