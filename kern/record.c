/*
 * The first-boot record: record.h.
 *
 * Tables are copied while the architecture's start-up code can still reach them (their memory may
 * be anybody's later), in a buffer of fixed size: those that describe devices whole, of the others
 * the header.
 */
#include "kern/random.h"
#include "kern/record.h"
#include "kern/base/bits.h"
#include "kern/base/fmt.h"
#include "kern/base/mmio.h"
#include "kern/base/str.h"
#include "kern/machine/acpi.h"
#include "kern/machine/machine.h"
#include "kern/md/clock.h"
#include "kern/md/console.h"
#include "kern/md/cpu.h"
#include "kern/md/irqc.h"
#include "kern/md/mmu.h"
#include "kern/pci.h"
#include "kern/pci_config.h"

enum : uint32_t {
	KEPT_MAX = 16 * KIB,
	LINE_BYTES = 32,
	REGISTERS = 0x68,
	CLASS_DISK = 0x0108,
	CLASS_NET = 0x0200
};

/* Tables one after the other, each with its length before it; the length in its header is that of
 * the whole table. */
static uint8_t kept[KEPT_MAX];
static uint32_t kept_len, not_kept;
static unsigned lines;

static void PRINTF(1, 2)
say(const char *format, ...)
{
	char line[160];
	va_list ap;
	size_t n;

	va_start(ap, format);
	n = fmt_vbuf(line, sizeof(line) - 1, format, ap);
	va_end(ap);
	n = min_u64(n, sizeof(line) - 2);
	line[n] = '\n';
	console_put(line, n + 1);
	lines++;
}

/* ---- Tables ---- */

static bool
is_whole(const uint8_t *t)
{
	static const char sigs[][5] = { "SPCR", "DBG2", "APIC", "GTDT", "IORT", "MCFG", "DMAR",
		"IVRS", "VIOT", "HPET" };

	for (unsigned i = 0; i < ARRAY_SIZE(sigs); i++)
		if (memcmp(t, sigs[i], 4) == 0)
			return true;
	return false;
}

static void
keep(const uint8_t *t, uint32_t len)
{
	/* Of FADT, the flags too. */
	uint32_t n = is_whole(t) ?
	    len :
	    (uint32_t)min_u64(len, memcmp(t, "FACP", 4) == 0 ? 132 : ACPI_HEADER);

	if (n > KEPT_MAX - kept_len || KEPT_MAX - kept_len - n < sizeof(n)) {
		not_kept++;
		return;
	}
	memcpy(kept + kept_len, &n, sizeof(n));
	memcpy(kept + kept_len + sizeof(n), t, n);
	kept_len += (uint32_t)sizeof(n) + n;
}

void
record_keep(struct machine *m, const struct acpi_source *src)
{
	const uint8_t *t;
	uint32_t len;

	if (!machine_word(m, "record"))
		return;
	for (uint32_t i = 0; acpi_table_nth(m, src, i, &t, &len); i++) {
		if (t == NULL)
			not_kept++;
		else
			keep(t, len);
	}
}

/* Any memory that firmware lists, reserved or not, above what every PC has below 1 MiB. */
static bool
is_memory(const struct machine *m, uint64_t v)
{
	for (uint32_t i = 0; i < m->memory_count; i++)
		if (v >= MIB && v - m->memory[i].base < m->memory[i].len && v >= m->memory[i].base)
			return true;
	return false;
}

/* Hides [at, at + 8) of a table when that is inside. */
static void
hide(uint8_t *hidden, uint32_t at, uint32_t len)
{
	for (uint32_t i = at; i < at + 8 && i < len; i++)
		hidden[i / 8] |= (uint8_t)(1u << i % 8);
}

/*
 * What of a table may point into memory.  MADT: parked processors' mailboxes [ACPI 6.5, 5.2.12.14,
 * 5.2.12.19].  Reserved regions of DMAR, IVRS and IORT: whatever looks like it, at steps of four
 * bytes.
 */
static void
hide_addresses(const struct machine *m, const uint8_t *t, uint32_t len, uint8_t *hidden)
{
	if (memcmp(t, "APIC", 4) == 0) {
		for (uint32_t i = 44; i + 2 <= len && t[i + 1] >= 2; i += t[i + 1])
			if (t[i] == 0xb || t[i] == 0x10)
				hide(hidden, i + (t[i] == 0xb ? 24 : 8), len);
	} else if (memcmp(t, "DMAR", 4) == 0 || memcmp(t, "IVRS", 4) == 0 ||
	    memcmp(t, "IORT", 4) == 0) {
		for (uint32_t i = ACPI_HEADER; i + 8 <= len; i += 4)
			if (is_memory(m, acpi_u64(t + i)))
				hide(hidden, i, len);
	}
}

static void
print_bytes(const char *what, const uint8_t *p, uint32_t len, const uint8_t *hidden)
{
	char line[2 * LINE_BYTES + 1];

	for (uint32_t i = 0; i < len; i += LINE_BYTES) {
		for (uint32_t k = 0; k < LINE_BYTES && i + k < len; k++)
			(void)fmt_buf(line + 2 * k, 3,
			    (hidden[(i + k) / 8] & 1u << (i + k) % 8) != 0 ? ".." : "%02x",
			    p[i + k]);
		say("%s %04x %s", what, i, line);
	}
}

static void
print_tables(const struct machine *m)
{
	static uint8_t hidden[KEPT_MAX / 8];
	char text[16];
	uint32_t len;

	for (uint32_t at = 0; at < kept_len; at += (uint32_t)sizeof(len) + len) {
		const uint8_t *t = kept + at + sizeof(len);

		memcpy(&len, kept + at, sizeof(len));
		for (unsigned i = 0; i < 14; i++)
			text[i] = t[10 + i] < ' ' || t[10 + i] > '~' ? '?' : (char)t[10 + i];
		text[14] = 0;
		say("table %.4s length %u revision %u oem '%.6s' table '%s' revision 0x%x",
		    (const char *)t, acpi_u32(t + 4), t[8], text, text + 6, acpi_u32(t + 24));
		if (memcmp(t, "FACP", 4) == 0 && len >= 132)
			say("FACP flags 0x%x profile %u boot 0x%x arm 0x%x", acpi_u32(t + 112),
			    t[45], acpi_u16(t + 109), acpi_u16(t + 129));
		if (!is_whole(t))
			continue;
		memset(hidden, 0, sizeof(hidden));
		hide_addresses(m, t, len, hidden);
		text[4] = 0;
		memcpy(text, t, 4);
		print_bytes(text, t, len, hidden);
	}
	if (not_kept != 0)
		say("table and %u more that cannot be read, or had no room", not_kept);
}

/* ---- Memory, PCI ---- */

static void
print_memory(const struct machine *m)
{
	static const char *const kinds[] = {
		[MEM_RAM] = "ram",
		[MEM_RESERVED] = "reserved",
		[MEM_ACPI_RECLAIM] = "tables",
		[MEM_ACPI_NVS] = "nvs",
		[MEM_KERNEL] = "kernel",
		[MEM_ARCHIVE] = "archive",
		[MEM_FIRMWARE_TABLES] = "loader",
	};

	for (uint32_t i = 0; i < m->memory_count; i++)
		say("memory %s %llu KiB",
		    m->memory[i].kind < ARRAY_SIZE(kinds) ? kinds[m->memory[i].kind] : "?",
		    (unsigned long long)m->memory[i].len / KIB);
}

static void
print_bars(const struct machine *m, const struct pci_function *f)
{
	for (unsigned i = 0; i < DEVICE_BARS; i++) {
		const struct pci_bar *b = &f->bar[i];

		if (b->len == 0)
			continue;
		if (!b->io && is_memory(m, b->pci_base))
			say("  bar %u %llu bytes, in memory", i, (unsigned long long)b->len);
		else
			say("  bar %u %s %llu bytes at 0x%llx%s", i,
			    b->io       ? "ports" :
				b->is64 ? "64-bit" :
					  "32-bit",
			    (unsigned long long)b->len, (unsigned long long)b->pci_base,
			    b->prefetch ? " prefetchable" : "");
	}
}

/*
 * The first registers of a disk's or network card's BAR 0, read only; where one of two neighbours
 * may be part of an address of memory, both are left out.
 */
static void
print_registers(const struct machine *m, struct pci_function *f)
{
	uint32_t class = f->class_code >> 8, command = pci_read(f, CFG_COMMAND, 2);
	volatile uint8_t *regs;

	if ((class != CLASS_DISK && class != CLASS_NET) || f->problem != NULL || f->bar[0].io ||
	    f->bar[0].base == 0 || f->bar[0].len < REGISTERS)
		return;
	regs = mmu_map_device((struct paddr){ f->bar[0].base }, REGISTERS);
	if (regs == NULL)
		return;
	pci_decode(f);
	for (uint32_t i = 0; i < REGISTERS; i += 8) {
		uint32_t low = mmio_read32(regs + i), high = mmio_read32(regs + i + 4);

		if (is_memory(m, (uint64_t)high << 32 | low))
			say("  register %02x ........ ........", i);
		else
			say("  register %02x %08x %08x", i, low, high);
	}
	pci_write(f, CFG_COMMAND, 2, command);
}

static void
print_functions(const struct machine *m)
{
	for (uint32_t i = 0; i < m->host_count; i++)
		say("host segment %u buses %u to %u", m->host[i].segment, m->host[i].bus_first,
		    m->host[i].bus_last);
	for (uint32_t i = 0; i < pci_count; i++) {
		struct pci_function *f = &pci_functions[i];
		uint32_t id, n = 0;

		say("pci %04x:%02x:%02x.%x %04x:%04x class %06x revision %02x subsystem %04x:%04x msix %u%s%s",
		    f->segment, f->rid >> 8, f->rid >> 3 & 31, f->rid & 7, f->vendor, f->device,
		    f->class_code, f->revision, f->subsystem_vendor, f->subsystem, f->msix_count,
		    f->problem != NULL ? ": " : "", f->problem != NULL ? f->problem : "");
		print_bars(m, f);
		for (uint32_t at = 0; (at = pci_config_next_cap(f, at, &n, &id)) != 0; )
			say("  capability %02x at %02x: %08x", id, at, pci_read(f, at & ~3u, 4));
		n = 0;
		for (uint32_t at = 0; f->pcie && (at = pci_config_next_xcap(f, at, &n, &id)) != 0; )
			say("  capability %04x at %03x", id, at);
		print_registers(m, f);
	}
}

/* ---- All of it ---- */

static void
say_register(const char *name, uint64_t value)
{
	say("register %s 0x%llx", name, (unsigned long long)value);
}

void
record_print(const struct machine *m)
{
	static const char *const sources[] = {
		[SOURCE_NONE] = "none", [SOURCE_ACPI] = "acpi", [SOURCE_FDT] = "fdt"
	};

	if (!machine_word(m, "record"))
		return;
	lines = 0;
	say("----- capOS record: begin -----");
	say("machine %s, tables %s, console %s, interrupts %s", m->model, sources[m->source],
	    console_name(), irqc_name());
	say("firmware %s", m->firmware[0] != 0 ? m->firmware : "not told");
	say("platform %s", m->platform[0] != 0 ? m->platform : "not told");
	say("random %s (%s), time %s", random_is_weak() ? "no" : "yes", random_sources(),
	    m->wall_s != 0 ? "yes" : "no");
	say("clock %s%s", clock_compared_with() != NULL ? "compared with " : "not compared: ",
	    clock_compared_with() != NULL ? clock_compared_with() : "no other clock is known");
	say("cpus %u", m->cpu_count);
	cpu_record(say_register);
	irqc_record(say_register);
	for (uint32_t i = 0; i < m->note_count; i++)
		say("note %s", m->note[i]);
	print_memory(m);
	print_tables(m);
	print_functions(m);
	say("----- capOS record: end, %u lines -----", lines + 1);
}
