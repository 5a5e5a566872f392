/*
 * The UEFI application: from firmware to the kernel's first instruction.
 *
 * It reads kernel, boot archive and command line (from itself when it was built with them, else
 * from \capos\<architecture>\ on the file system that it was started from), puts them into pages of
 * their own, writes down where firmware's tables and memory are (struct handover), ends boot
 * services and enters the kernel.
 *
 * Order    files read -> kernel placed -> record begun -> memory map -> boot services end (again
 *          with a new map when firmware changed it, UEFI 7.4.6) -> map written into the record ->
 *          caches cleaned -> kernel. After the first try to end boot services nothing but memory
 *          may be asked for: so everything is allocated before, the map's buffer with room to
 *          spare, and if firmware does not let go then, nobody is told.
 * Errors   one line on firmware's console that says what was wrong, all pages given back, then
 *          back to firmware with EFI_LOAD_ERROR, which goes on with its next boot option.  After
 *          boot services ended nothing can fail.
 * Trust    The file system is as trusted as firmware: who writes it chooses the kernel.  Files are
 *          checked all the same, so that a damaged one is said so.  With Secure Boot on only this
 *          program was verified: then it takes nothing from outside of itself, and refuses when it
 *          carries no kernel.
 * Not here paging, IOMMUs, devices: the kernel takes the machine as firmware left it.
 */
#include <boot_md.h>

#include "boot/efi.h"
#include "kern/base/fmt.h"
#include "kern/base/str.h"
#include "kern/machine/console_kind.h"
#include "kern/machine/handover.h"

enum : uint64_t {
	FILE_MAX = 1 * GIB, IMAGE_ALIGN = 2 * MIB, KERNEL_MAX = 64 * MIB, MAP_SPARE = 4096,
};

struct elf_header {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint32_t flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct elf_segment { uint32_t type, flags; uint64_t offset, vaddr, paddr, filesz, memsz, align; };

struct part { uint64_t at, len; };

extern const char payload_kernel[], payload_archive[], payload_cmdline[];
extern const uint64_t payload_kernel_len, payload_archive_len, payload_cmdline_len;

static struct efi_system_table *st;
static struct efi_boot_services *bs;
static bool leaving;		/* the end of boot services was asked for */

efi_status efi_main(efi_handle image, struct efi_system_table *table);

/* ---- Firmware's console ---------------------------------------------------------------------- */

static void PRINTF(1, 2)
say(const char *format, ...)
{
	char line[200];
	char16_t wide[sizeof(line) + 4];
	size_t n = 0;
	va_list ap;

	va_start(ap, format);
	(void)fmt_vbuf(line, sizeof(line), format, ap);
	va_end(ap);
	for (; line[n] != 0; n++)
		wide[n] = (unsigned char)line[n];
	wide[n++] = u'\r';
	wide[n++] = u'\n';
	wide[n] = 0;
	if (st->out != NULL)
		(void)st->out->output_string(st->out, wide);
}

/* ---- Pages ----------------------------------------------------------------------------------- */

/* What was taken: firmware does not take it back when an application ends. */
static struct part taken[8];
static unsigned taken_count;

static bool
pages(uint64_t len, struct part *p)
{
	uint64_t at = BOOT_BELOW;
	efi_status s = taken_count == ARRAY_SIZE(taken) ?
	    EFI_OUT_OF_RESOURCES :
	    bs->allocate_pages(EFI_ALLOCATE_MAX, EFI_LOADER_DATA, pages_of(len), &at);

	if (s != EFI_SUCCESS) {
		say("capos: no room for %llu KiB: firmware says 0x%llx",
		    (unsigned long long)len / KIB, (unsigned long long)s);
		return false;
	}
	*p = taken[taken_count++] = (struct part){ at, len };
	return true;
}

static void
give_back(void)
{
	while (taken_count > 0) {
		const struct part *p = &taken[--taken_count];

		(void)bs->free_pages(p->at, pages_of(p->len));
	}
}

static void *ptr(uint64_t at) { return (void *)(uintptr_t)at; }

/* ---- Files ----------------------------------------------------------------------------------- */

static const struct efi_guid file_info_guid = FILE_INFO_GUID;

enum missing : uint8_t { MAY_MISS, MUST_BE };

/*
 * A whole file into pages of its own, with a 0 behind it.  False: something is wrong, and was said.
 */
static bool
read_file(struct efi_file *root, const char16_t *name, const char *what, enum missing missing,
    struct part *out)
{
	char16_t path[80] = BOOT_PATH;
	static struct efi_file_info info;
	uint64_t size = sizeof(info), done = 0;
	struct efi_file *f;
	efi_status s;
	size_t n = 0;

	*out = (struct part){ };
	while (path[n] != 0)
		n++;
	while ((path[n++] = *name++) != 0)
		;
	s = root->open(root, &f, path, EFI_FILE_READ, 0);
	if (s == EFI_NOT_FOUND && missing == MAY_MISS)
		return true;
	if (s != EFI_SUCCESS) {
		say("capos: %s is missing on the file system that this program was started from (firmware says 0x%llx)",
		    what, (unsigned long long)s);
		return false;
	}
	s = f->get_info(f, &file_info_guid, &size, &info);
	if (s != EFI_SUCCESS || info.file_size == 0 || info.file_size > FILE_MAX) {
		say("capos: %s is empty, or larger than a GiB", what);
		goto fail;
	}
	if (!pages(info.file_size + 1, out))
		goto fail;
	out->len = info.file_size;
	while (done < out->len) {
		size = min_u64(out->len - done, MIB);
		s = f->read(f, &size, ptr(out->at + done));
		if (s != EFI_SUCCESS || size == 0) {
			say("capos: %s cannot be read at byte %llu (firmware says 0x%llx)", what,
			    (unsigned long long)done, (unsigned long long)s);
			goto fail;
		}
		done += size;
	}
	*(char *)ptr(out->at + out->len) = 0;
	(void)f->close(f);
	return true;
fail:
	(void)f->close(f);
	return false;
}

/* ---- The kernel ------------------------------------------------------------------------------ */

/* Where the segments lie relative to each other, and how much room they take together. */
static bool
kernel_span(const struct elf_header *h, const uint8_t *file, uint64_t len, uint64_t *from,
    uint64_t *span)
{
	uint64_t first = UINT64_MAX, end = 0;

	for (uint16_t i = 0; i < h->phnum; i++) {
		struct elf_segment s;

		memcpy(&s, file + h->phoff + (uint64_t)i * sizeof(s), sizeof(s));
		if (s.type != 1 || s.memsz == 0)
			continue;
		if (s.filesz > s.memsz || s.filesz > len || s.offset > len - s.filesz ||
		    s.memsz > KERNEL_MAX || s.paddr > UINT64_MAX - s.memsz)
			return false;
		first = min_u64(first, s.paddr);
		end = max_u64(end, s.paddr + s.memsz);
	}
	*from = first;
	*span = end - first;
	return first < end && end - first <= KERNEL_MAX;
}

static bool
place_kernel(const uint8_t *file, uint64_t len, struct handover_part *image)
{
	struct elf_header h;
	uint64_t from, span;
	struct part room;

	if (len < sizeof(h)) {
		say("capos: the kernel has only %llu bytes", (unsigned long long)len);
		return false;
	}
	memcpy(&h, file, sizeof(h));
	if (memcmp(h.ident, "\177ELF\2\1\1", 7) != 0 || h.phentsize != sizeof(struct elf_segment) ||
	    h.phoff > len || (uint64_t)h.phnum * sizeof(struct elf_segment) > len - h.phoff) {
		say("capos: the kernel is damaged: no whole ELF-64 file");
		return false;
	}
	if (h.machine != BOOT_ELF_MACHINE) {
		say("capos: the kernel is for another architecture (ELF machine %u%s), this firmware is " BOOT_ARCH,
		    h.machine, h.machine == BOOT_ELF_OTHER ? ", the other one of ours" : "");
		return false;
	}
	if (!kernel_span(&h, file, len, &from, &span)) {
		say("capos: the kernel is damaged: a segment does not fit the file");
		return false;
	}
	if (!pages(align_up(span, PAGE_SIZE) + IMAGE_ALIGN, &room))
		return false;
	image->base = align_up(room.at, IMAGE_ALIGN);
	image->len = align_up(span, PAGE_SIZE);
	memset(ptr(image->base), 0, image->len);
	for (uint16_t i = 0; i < h.phnum; i++) {
		struct elf_segment s;

		memcpy(&s, file + h.phoff + (uint64_t)i * sizeof(s), sizeof(s));
		if (s.type == 1 && s.memsz != 0)
			memcpy(ptr(image->base + (s.paddr - from)), file + s.offset, s.filesz);
	}
	return true;
}

/* ---- What firmware knows --------------------------------------------------------------------- */

/* Is Secure Boot on [3.3, SecureBoot]?  Firmware without the variable has none. */
static bool
secure_boot(void)
{
	static const struct efi_guid global = GLOBAL_VARIABLE_GUID;
	uint64_t size = 1;
	uint8_t on = 0;

	return st->runtime->get_variable(u"SecureBoot", &global, NULL, &size, &on) == EFI_SUCCESS &&
	    size == 1 && on == 1;
}

static void *
config_table(struct efi_guid guid)
{
	for (uint64_t i = 0; i < st->config_count; i++)
		if (memcmp(&st->config[i].guid, &guid, sizeof(guid)) == 0)
			return st->config[i].table;
	return NULL;
}

/*
 * Seconds since 1970, 0 when the clock makes no sense.  Days by the rule of leap years, from March
 * on.
 */
static uint64_t
wall_clock(void)
{
	struct efi_time t;
	int64_t days, year, s;

	if (st->runtime->get_time(&t, NULL) != EFI_SUCCESS || t.year < 1970 || t.year > 9999 ||
	    t.month < 1 || t.month > 12 || t.day < 1 || t.day > 31 || t.hour > 23 ||
	    t.minute > 59 || t.second > 59)
		return 0;
	year = t.year - (t.month <= 2);
	days = 365 * year + year / 4 - year / 100 + year / 400 +
	    (153 * ((t.month + 9) % 12) + 2) / 5 + t.day - 1 - 719468;
	s = days * 86400 + t.hour * 3600 + t.minute * 60 + t.second;
	if (t.zone != EFI_ZONE_UNSPECIFIED && t.zone >= -1440 && t.zone <= 1440)
		s += t.zone * 60;		/* minutes behind UTC */
	return s > 0 ? (uint64_t)s : 0;
}

/* ---- Who made the machine: SMBIOS [DSP0134 3.6, 5.2 entry points, 6.1 structures] --------------
 */

enum : uint32_t {
	SMBIOS_STRUCTURES = 64,
	SMBIOS_HEADER = 4,
	SMBIOS_FIRMWARE = 0,
	SMBIOS_SYSTEM = 1
};

static const uint8_t *
smbios(uint64_t *len)
{
	const uint8_t *p = config_table((struct efi_guid)SMBIOS3_TABLE_GUID);
	uint64_t at;
	uint32_t n;
	uint16_t old;

	if (p != NULL && memcmp(p, "_SM3_", 5) == 0) {
		memcpy(&n, p + 12, 4);
		memcpy(&at, p + 16, 8);
		*len = n;
		return ptr(at);
	}
	p = config_table((struct efi_guid)SMBIOS_TABLE_GUID);
	if (p == NULL || memcmp(p, "_SM_", 4) != 0)
		return NULL;
	memcpy(&old, p + 22, 2);
	memcpy(&n, p + 24, 4);
	*len = old;
	return ptr(n);
}

/* Appends string "index" (from 1) of the strings behind a structure, which end at "end". */
static void
append(char *to, size_t size, const uint8_t *strings, const uint8_t *end, uint8_t index)
{
	size_t n = strnlen(to, size - 1);

	for (; index > 1 && strings < end; index--)
		strings += strnlen((const char *)strings, (size_t)(end - strings)) + 1;
	if (index == 0 || strings >= end || *strings == 0)
		return;
	if (n != 0 && n + 1 < size)
		to[n++] = ' ';
	while (n + 1 < size && strings < end && *strings != 0)
		to[n++] = (char)*strings++;
	to[n] = 0;
}

static void
describe(struct handover *h)
{
	char bios[80] = "", made[80] = "", vendor[32];
	const uint8_t *p, *end, *s;
	size_t n = 0;
	uint64_t len = 0;

	for (; st->vendor != NULL && n + 1 < sizeof(vendor) && st->vendor[n] != 0; n++)
		vendor[n] = st->vendor[n] < 127 ? (char)st->vendor[n] : '?';
	vendor[n] = 0;
	(void)fmt_buf(h->firmware, sizeof(h->firmware), "%s 0x%x, UEFI %u.%u", vendor, st->revision,
	    st->header.revision >> 16, (st->header.revision & 0xffff) / 10);
	p = smbios(&len);
	for (unsigned i = 0; p != NULL && i < SMBIOS_STRUCTURES && len > SMBIOS_HEADER; i++) {
		if (p[1] < SMBIOS_HEADER || p[1] > len)
			break;
		s = p + p[1];
		/* Strings end with an empty one; a structure without any has two zeros. */
		for (end = s; end + 2 <= p + len && (end[0] != 0 || end[1] != 0); end++)
			;
		if (p[0] == SMBIOS_FIRMWARE && p[1] >= 9) {
			append(bios, sizeof(bios), s, end, p[4]);
			append(bios, sizeof(bios), s, end, p[5]);
			append(bios, sizeof(bios), s, end, p[8]);
		} else if (p[0] == SMBIOS_SYSTEM && p[1] >= 7) {
			append(made, sizeof(made), s, end, p[4]);
			append(made, sizeof(made), s, end, p[5]);
			append(made, sizeof(made), s, end, p[6]);
			h->maker[0] = h->product[0] = 0;
			append(h->maker, sizeof(h->maker), s, end, p[4]);
			append(h->product, sizeof(h->product), s, end, p[5]);
		}
		if (end + 2 > p + len)
			break;
		len -= (uint64_t)(end + 2 - p);
		p = end + 2;
	}
	if (made[0] != 0 || bios[0] != 0)
		(void)fmt_buf(h->platform, sizeof(h->platform), "%s, BIOS %s", made, bios);
}

/* ---- Tables, time, randomness ------------------------------------------------------------------
 */

enum : uint32_t { FDT_MAGIC = 0xd00dfeed, FDT_LEAST = 40, FDT_MOST = 2u << 20 };

static uint32_t
big_endian(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* What is handed over is memory that is kept: not whatever four bytes of rubbish say [DTSpec 5.2;
 * 2 MiB at most, as the kernel's start-up maps it]. */
static bool
is_device_tree(const uint8_t *p, uint32_t *len)
{
	if (((uintptr_t)p & 7) != 0 || big_endian(p) != FDT_MAGIC)
		return false;
	*len = big_endian(p + 4);
	return *len >= FDT_LEAST && *len <= FDT_MOST;
}

static void
find_tables(struct handover *h)
{
	static const struct efi_guid rng_guid = RNG_GUID;
	const uint8_t *fdt = config_table((struct efi_guid)DTB_TABLE_GUID);
	struct efi_rng *rng;
	uint32_t len;
	void *p;

	p = config_table((struct efi_guid)ACPI_20_TABLE_GUID);
	if (p == NULL)
		p = config_table((struct efi_guid)ACPI_TABLE_GUID);
	h->rsdp = (uintptr_t)p;
	h->smbios = (uintptr_t)config_table((struct efi_guid)SMBIOS3_TABLE_GUID);
	if (fdt != NULL && is_device_tree(fdt, &len))
		h->fdt = (struct handover_part){ (uintptr_t)fdt, len };
	if (bs->locate_protocol(&rng_guid, NULL, &p) == EFI_SUCCESS) {
		rng = p;
		h->seed_known = rng->get(rng, NULL, sizeof(h->seed), h->seed) == EFI_SUCCESS;
	}
	h->wall_s = wall_clock();
	describe(h);
}

/*
 * Where nothing can be guessed, a console that the kernel does not know is silence: said here,
 * while there is one.  Tables are looked at no further than this needs; the kernel checks them
 * [ACPI 6.5, 5.2.5; SPCR].
 */
static void
judge_console(const struct handover *h)
{
	const uint8_t *p = ptr(h->rsdp), *root, *t;
	uint64_t at;
	uint32_t len;

	if (!BOOT_NEEDS_TABLES || p == NULL || p[15] < 2)
		return;
	memcpy(&at, p + 24, 8);
	root = ptr(at);
	if (root == NULL || memcmp(root, "XSDT", 4) != 0)
		return;
	memcpy(&len, root + 4, 4);
	for (uint32_t i = 36; len <= 4 * KIB && i + 8 <= len; i += 8) {
		memcpy(&at, root + i, 8);
		t = ptr(at);
		if (t == NULL || memcmp(t, "SPCR", 4) != 0)
			continue;
		memcpy(&at, t + 44, 8);
		if (at == 0)	/* redirection is off */
			break;
		if (t[40] == 0 && acpi_serial_kind(t[36], t[40]) != CONSOLE_NONE)
			return;
		say("capos: firmware's console (SPCR) is of type 0x%x in space %u, which the kernel does not know: it will be silent "
		    "unless DBG2 names another",
		    t[36], t[40]);
		return;
	}
	say("capos: firmware names no console (SPCR): the kernel will be silent unless DBG2 does");
}

/* Load options that are text go before the file's words. */
static void
command_line(struct handover *h, const struct efi_loaded_image *self, const char *file,
    uint64_t len)
{
	const char16_t *options = self->options;
	size_t n = 0;

	if (options != NULL && self->options_size > sizeof(char16_t) && secure_boot()) {
		say("capos: Secure Boot is on: words from load options are not taken");
		options = NULL;
	}
	for (uint32_t i = 0; options != NULL && i < self->options_size / 2 &&
	    n < sizeof(h->cmdline) - 2; i++) {
		char16_t c = options[i];

		if (c == 0)
			break;
		/* not text: some firmware puts binary data here */
		if (c < ' ' || c > '~') {
			n = 0;
			break;
		}
		h->cmdline[n++] = (char)c;
	}
	if (n != 0 && len != 0)
		h->cmdline[n++] = ' ';
	for (uint64_t i = 0; i < len && n < sizeof(h->cmdline) - 1 && file[i] != 0; i++)
		h->cmdline[n++] = file[i] == '\n' || file[i] == '\r' || file[i] == '\t' ?
		    ' ' : file[i];
	while (n > 0 && h->cmdline[n - 1] == ' ')
		n--;
	h->cmdline[n] = 0;
}

/* ---- The memory map -------------------------------------------------------------------------- */

/*
 * What becomes of memory when boot services have ended [7.2, table of usage after
 * ExitBootServices].  Memory for a special purpose, not accepted, or not cacheable is not touched.
 */
static bool
kind_of(const struct efi_memory *m, enum handover_kind *kind)
{
	switch (m->type) {
	case EFI_LOADER_CODE: case EFI_LOADER_DATA: case EFI_BOOT_CODE: case EFI_BOOT_DATA:
	case EFI_CONVENTIONAL:
		*kind = (m->attribute & EFI_MEMORY_WB) != 0 && (m->attribute & EFI_MEMORY_SP) == 0 ?
		    HANDOVER_RAM : HANDOVER_RESERVED;
		return true;
	case EFI_ACPI_RECLAIM:
		*kind = HANDOVER_ACPI_RECLAIM;
		return true;
	case EFI_ACPI_NVS:
		*kind = HANDOVER_ACPI_NVS;
		return true;
	case EFI_MMIO: case EFI_MMIO_PORT:
		return false;			/* registers: not memory of any kind */
	default:
		*kind = HANDOVER_RESERVED;
		return true;
	}
}

/* Neighbours of one kind become one.  Firmware's map need not be in order; most is. */
static void
add_range(struct handover *h, uint64_t base, uint64_t len, enum handover_kind kind)
{
	for (uint32_t i = h->range_count; i-- > 0; ) {
		struct handover_range *r = &h->range[i];

		if (r->kind == kind && r->base + r->len == base) {
			r->len += len;
			return;
		}
	}
	if (h->range_count == HANDOVER_RANGES)
		h->range_lost++;
	else
		h->range[h->range_count++] =
		    (struct handover_range){ .base = base, .len = len, .kind = kind };
}

static void
write_map(struct handover *h, const uint8_t *map, uint64_t size, uint64_t entry_size)
{
	enum handover_kind kind;

	for (uint64_t at = 0; at + sizeof(struct efi_memory) <= size; at += entry_size) {
		struct efi_memory m;

		memcpy(&m, map + at, sizeof(m));
		if (m.pages != 0 && m.pages <= (UINT64_MAX >> PAGE_SHIFT) && kind_of(&m, &kind))
			add_range(h, m.physical, m.pages << PAGE_SHIFT, kind);
		/* One page: a device.  Flash and the like are larger. */
		if (m.type == EFI_MMIO && m.pages == 1 && (m.attribute & EFI_MEMORY_RUNTIME) != 0 &&
		    h->device_count < HANDOVER_DEVICES)
			h->device[h->device_count++] = m.physical;
	}
}

/* ---- All of it ------------------------------------------------------------------------------- */

static bool
find_parts(const struct efi_loaded_image *self, struct part *kernel, struct part *archive,
    struct part *words)
{
	static const struct efi_guid fs_guid = SIMPLE_FILE_SYSTEM_GUID;
	struct efi_file *root;
	bool good;
	void *p;

	if (payload_kernel_len != 0) {
		*kernel = (struct part){ (uintptr_t)payload_kernel, payload_kernel_len };
		*words = (struct part){ (uintptr_t)payload_cmdline, payload_cmdline_len };
		if (!pages(payload_archive_len, archive))
			return false;
		memcpy(ptr(archive->at), payload_archive, payload_archive_len);
		return true;
	}
	if (secure_boot()) {
		say("capos: Secure Boot is on, and kernel and archive on the disk are not signed: start a signed capos.efi");
		return false;
	}
	if (self->device == NULL ||
	    bs->handle_protocol(self->device, &fs_guid, &p) != EFI_SUCCESS ||
	    ((struct efi_file_system *)p)->open_volume(p, &root) != EFI_SUCCESS) {
		say("capos: this program was not started from a file system, and carries no kernel");
		return false;
	}
	good = read_file(root, u"kernel", "\\capos\\" BOOT_ARCH "\\kernel", MUST_BE, kernel) &&
	    read_file(root, u"boot.cpio", "\\capos\\" BOOT_ARCH "\\boot.cpio", MUST_BE, archive) &&
	    read_file(root, u"cmdline", "\\capos\\" BOOT_ARCH "\\cmdline", MAY_MISS, words);
	(void)root->close(root);
	return good;
}

static efi_status
boot(efi_handle me)
{
	static const struct efi_guid image_guid = LOADED_IMAGE_GUID;
	struct part kernel, archive, words, record, map;
	uint64_t size = 0, key, entry_size = 0;
	struct efi_loaded_image *self;
	struct handover *h;
	uint32_t version;
	efi_status s;
	void *p;

	if (bs->handle_protocol(me, &image_guid, &p) != EFI_SUCCESS) {
		say("capos: firmware does not know this program");
		return EFI_LOAD_ERROR;
	}
	self = p;
	if (boot_refuses() != NULL) {
		say("capos: %s", boot_refuses());
		return EFI_LOAD_ERROR;
	}
	if (!find_parts(self, &kernel, &archive, &words))
		return EFI_LOAD_ERROR;
	/* "newc", or the same with checksums, which the kernel tries. */
	if (archive.len < 110 || (memcmp(ptr(archive.at), "070701", 6) != 0 &&
	    memcmp(ptr(archive.at), "070702", 6) != 0)) {
		say("capos: the boot archive is damaged: no cpio archive of the \"newc\" or \"crc\" form");
		return EFI_LOAD_ERROR;
	}
	if (!pages(sizeof(*h), &record))
		return EFI_LOAD_ERROR;
	h = ptr(record.at);
	memset(h, 0, sizeof(*h));
	h->magic = HANDOVER_MAGIC;
	h->version = HANDOVER_VERSION;
	h->size = sizeof(*h);
	if (!place_kernel(ptr(kernel.at), kernel.len, &h->image))
		return EFI_LOAD_ERROR;
	h->archive = (struct handover_part){ archive.at, archive.len };
	find_tables(h);
	if (h->rsdp == 0 && h->fdt.base == 0) {
		say("capos: firmware offers neither ACPI tables nor a device tree%s",
		    BOOT_NEEDS_TABLES ? "" : ": going on");
		if (BOOT_NEEDS_TABLES)
			return EFI_LOAD_ERROR;
	}
	judge_console(h);
	command_line(h, self, ptr(words.at), words.len);
	(void)bs->set_watchdog(0, 0, 0, NULL);

	s = bs->get_memory_map(&size, NULL, &key, &entry_size, &version);
	if (s != EFI_BUFFER_TOO_SMALL || !pages(size + MAP_SPARE, &map)) {
		say("capos: firmware gives no memory map (0x%llx)", (unsigned long long)s);
		return EFI_LOAD_ERROR;
	}
	for (unsigned tries = 0; ; tries++) {
		size = map.len;
		s = bs->get_memory_map(&size, ptr(map.at), &key, &entry_size, &version);
		if (s != EFI_SUCCESS || entry_size < sizeof(struct efi_memory)) {
			if (!leaving)
				say("capos: firmware gives no memory map (0x%llx)",
				    (unsigned long long)s);
			return EFI_LOAD_ERROR;
		}
		leaving = true;
		s = bs->exit_boot_services(me, key);
		if (s == EFI_SUCCESS)
			break;
		if (s != EFI_INVALID_PARAMETER || tries == 3)
			return EFI_LOAD_ERROR;
	}
	write_map(h, ptr(map.at), size, entry_size);
	boot_clean(h->image.base, h->image.len);
	boot_clean(record.at, sizeof(*h));
	boot_clean((uintptr_t)self->base, self->size);
	boot_jump(h->image.base, record.at);
}

efi_status
efi_main(efi_handle image, struct efi_system_table *table)
{
	efi_status s;

	st = table;
	bs = table->boot;
	taken_count = 0;
	leaving = false;
	s = boot(image);
	give_back();
	/* so that a person can read the line before firmware clears the screen */
	if (!leaving)
		(void)bs->stall(3'000'000);
	return s;
}
