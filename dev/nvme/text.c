/*
 * Status codes in words [Base 4.2.3, NVM 3.1].
 */
#include "dev/nvme/ctrl.h"

enum { SCT_GENERIC, SCT_COMMAND, SCT_MEDIA, SCT_PATH, SCT_VENDOR = 7 };

const char *
nvme_status_text(uint16_t code)
{
	switch (code & 0x7ff) {
	case 0x000: return "success";
	case 0x001: return "invalid opcode";
	case 0x002: return "invalid field";
	case 0x003: return "command id conflict";
	case 0x004: return "data transfer error";
	case 0x005: return "aborted: power loss";
	case 0x006: return "internal error";
	case 0x007: return "aborted on request";
	case 0x008: return "aborted: queue deleted";
	case 0x009: return "aborted: failed fused command";
	case 0x00a: return "aborted: missing fused command";
	case 0x00b: return "invalid namespace or format";
	case 0x00c: return "command sequence error";
	case 0x013: return "PRP offset invalid";
	case 0x014: return "atomic write unit exceeded";
	case 0x015: return "operation denied";
	case 0x01c: return "sanitize failed";
	case 0x01d: return "sanitize in progress";
	case 0x020: return "namespace is write protected";
	case 0x021: return "command interrupted";
	case 0x022: return "transient transport error";
	case 0x024: return "admin command media not ready";
	case 0x080: return "LBA out of range";
	case 0x081: return "capacity exceeded";
	case 0x082: return "namespace not ready";
	case 0x083: return "reservation conflict";
	case 0x084: return "format in progress";
	case 0x100: return "completion queue invalid";
	case 0x101: return "invalid queue identifier";
	case 0x102: return "invalid queue size";
	case 0x103: return "abort command limit exceeded";
	case 0x108: return "invalid interrupt vector";
	case 0x10d: return "feature identifier not saveable";
	case 0x10e: return "feature not changeable";
	case 0x180: return "conflicting attributes";
	case 0x181: return "invalid protection information";
	case 0x182: return "write to read-only range";
	case 0x280: return "write fault";
	case 0x281: return "unrecovered read error";
	case 0x282: return "guard check error";
	case 0x283: return "application tag check error";
	case 0x284: return "reference tag check error";
	case 0x285: return "compare failure";
	case 0x286: return "access denied";
	case 0x287: return "deallocated or unwritten block";
	}
	switch (code >> 8 & 7) {
	case SCT_GENERIC: return "generic error";
	case SCT_COMMAND: return "command specific error";
	case SCT_MEDIA: return "media error";
	case SCT_PATH: return "path error";
	case SCT_VENDOR: return "vendor specific error";
	}
	return "error of an unknown type";
}
