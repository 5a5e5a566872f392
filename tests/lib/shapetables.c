/*
 * ACPI tables of a machine's shape, for QEMU's arm64 "virt" board without tables of its own
 * (acpi=off).
 *
 *     shapetables SHAPE CPUS FOLDER [NAME=VALUE...]
 *
 * Writes FOLDER/{tables,rsdp,loader}, which firmware takes from QEMU as etc/acpi/tables,
 * etc/acpi/rsdp and etc/table-loader: the tables one after the other, the root pointer, and a
 * script that tells firmware where addresses and checksums go.
 *
 *     graviton   as an EC2 instance shows itself: 16550 behind PCI as the console, ITS, no IOMMU
 *     ampere     a server: SBSA console, configuration space by 32-bit accesses only, ITS, SMMUv3
 *     gce        SBSA console, configuration space below 4 GiB, ITS, no IOMMU
 *     azure      redistributors named by processors only, no ITS, no IOMMU
 *     plain      PL011, ITS, SMMUv3: what the board's own tables say
 *
 * What the shape says may be changed, to lie: spcr=TYPE (its interface type), spcr-at=ADDRESS,
 * clock=HZ baud=RATE (of it, in a table of revision 4), iort=loop|dangling|none, iort=rmr (firmware
 * goes on using 00:01.0), iort=twice (a second unit claims 00:01.0), iort=self (00:01.0's map leads
 * back to the root complex), iort=count (its map has more entries than bytes), gicr=N (a region for
 * each of N processors, the last first), apic=none, ecam=low, mcfg=split (buses 0 to 127 and the
 * others each with an entry), root=none (firmware gets no tables at all), dbg2=pl011 (a debug port
 * beside it).
 *
 * Addresses and interrupts are those of the board [QEMU hw/arm/virt.c].  Formats: ACPI 6.5; SPCR
 * revisions 2 and 4; IORT E.f (DEN0049).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	FLASH = 0x04000000,
	GICD = 0x08000000,
	ITS = 0x08080000,
	GICR = 0x080a0000,
	GICR_STRIDE = 0x20000,
	GICR_LEN = 0xf60000,
	PL011 = 0x09000000,
	PL011_IRQ = 33,
	SMMU = 0x09050000,
	SMMU_IRQ = 106,
	PORTS = 0x3eff0000,
	INTX = 35,
	PORT_SERIAL = 0,
	SERIAL_SLOT = 8,
	ECAM_LOW = 0x3f000000,
	SPCR_16550 = 0,
	SPCR_PL011 = 3,
	SPCR_SBSA = 0xe,
	HEADER = 36,
	TABLES_MAX = 16,
	NAME = 56,
	ENTRY = 128,
};
static const uint64_t ecam_high = 0x4010000000;

static uint8_t tables[1 << 16], script[1 << 14];
static uint32_t len, script_len, offset[TABLES_MAX], count;
static const char *oem = "CAPOS ", *oem_table = "SHAPE   ";

static void put(uint32_t at, uint64_t v, unsigned width) { memcpy(tables + at, &v, width); }
static void add(uint64_t v, unsigned width) { put(len, v, width); len += width; }
static void skip(uint32_t n) { len += n; }

static uint32_t
begin(const char *sig, uint8_t revision)
{
	uint32_t at = len = (len + 15) & ~15u;

	memcpy(tables + at, sig, 4);
	tables[at + 8] = revision;
	memcpy(tables + at + 10, oem, 6);
	memcpy(tables + at + 16, oem_table, 8);
	put(at + 24, 1, 4);
	memcpy(tables + at + 28, "CAPS", 4);
	put(at + 32, 1, 4);
	len += HEADER;
	return at;
}

/* ---- The script [QEMU docs/specs, firmware's table loader]: entries of 128 bytes ---- */

static uint8_t *
entry(uint32_t command, const char *file)
{
	uint8_t *e = script + script_len;

	script_len += ENTRY;
	memcpy(e, &command, 4);
	strcpy((char *)e + 4, file);
	return e;
}

static void
allocate(const char *file, uint32_t align, uint8_t zone)
{
	uint8_t *e = entry(1, file);

	memcpy(e + 4 + NAME, &align, 4);
	e[4 + NAME + 4] = zone;
}

static void
pointer(const char *in, const char *to, uint32_t at, uint8_t width)
{
	uint8_t *e = entry(2, in);

	strcpy((char *)e + 4 + NAME, to);
	memcpy(e + 4 + 2 * NAME, &at, 4);
	e[4 + 2 * NAME + 4] = width;
}

static void
checksum(const char *file, uint32_t at, uint32_t start, uint32_t n)
{
	uint8_t *e = entry(3, file);

	memcpy(e + 4 + NAME, (uint32_t[]){ at, start, n }, 12);
}

static const char t[] = "etc/acpi/tables", r[] = "etc/acpi/rsdp";

static void
end(uint32_t at)
{
	put(at + 4, len - at, 4);
	checksum(t, at + 9, at, len - at);
	offset[count++] = at;
}

static void
gas(uint8_t space, uint8_t width, uint8_t access, uint64_t address)
{
	add(space, 1); add(width, 1); add(0, 1); add(access, 1); add(address, 8);
}

/* ---- Tables ---- */

static void
fadt(void)
{
	uint32_t dsdt = begin("DSDT", 2), at;

	/* Nothing of it is asked where PSCI ends the machine. */
	put(dsdt + 4, len - dsdt, 4);
	checksum(t, dsdt + 9, dsdt, len - dsdt);
	at = begin("FACP", 6);
	skip(276 - HEADER);
	put(at + 112, 1u << 20 | 1u << 21, 4);	/* reduced hardware; low power by default */
	put(at + 129, 3, 2);			/* PSCI, by HVC */
	tables[at + 131] = 0;
	put(at + 140, dsdt, 8);
	pointer(t, t, at + 140, 8);
	end(at);
}

static void
madt(unsigned cpus, unsigned regions, int its)
{
	uint32_t at = begin("APIC", 5);

	skip(8);
	add(0xc, 1); add(24, 1); skip(6); add(GICD, 8); skip(4); add(3, 1); skip(3);
	for (unsigned i = 0; i < cpus; i++) {
		add(0xb, 1); add(80, 1); skip(2); add(i, 4); add(i, 4); add(1, 4);
		skip(4 + 4 + 8 + 8 + 8 + 8 + 4);
		add(regions == 0 ? GICR + (uint64_t)i * GICR_STRIDE : 0, 8);
		add(i % 16 | (uint64_t)(i / 16) << 8, 8);
		skip(4);
	}
	for (unsigned i = regions; i-- > 0; ) {
		add(0xe, 1); add(16, 1); skip(2);
		add(GICR + (uint64_t)i * GICR_STRIDE, 8);
		add(regions == 1 ? GICR_LEN : GICR_STRIDE, 4);
	}
	if (its) {
		add(0xf, 1); add(20, 1); skip(2); add(0, 4); add(ITS, 8); skip(4);
	}
	end(at);
}

static void
gtdt(void)
{
	uint32_t at = begin("GTDT", 3);

	add(UINT64_MAX, 8); skip(4);
	for (unsigned i = 0; i < 4; i++) {
		static const uint32_t ppi[] = { 29, 30, 27,
			26 }; /* secure, physical, virtual, hypervisor */

		add(ppi[i], 4); add(0, 4);
	}
	add(UINT64_MAX, 8);
	skip(8);
	end(at);
}

static void
mcfg(uint64_t base, unsigned last, int split)
{
	uint32_t at = begin("MCFG", 1);

	skip(8);
	/* The base is bus 0's in both. */
	add(base, 8); add(0, 2); add(0, 1); add(split ? last / 2 : last, 1); skip(4);
	if (split) {
		add(base, 8); add(0, 2); add(last / 2 + 1, 1); add(last, 1); skip(4);
	}
	end(at);
}

/* Revision 4 tells clock and rate themselves. */
static void
spcr(uint8_t type, uint64_t base, uint32_t irq, uint32_t clock, uint32_t baud)
{
	uint32_t at = begin("SPCR", clock != 0 ? 4 : 2);

	add(type, 1); skip(3);
	gas(0, type == SPCR_16550 ? 8 : 32, type == SPCR_16550 ? 1 : 3, base);
	add(8, 1); add(0, 1); add(irq, 4);		/* GIC */
	add(7, 1); add(0, 1); add(1, 1); add(0, 1); add(3, 1); add(0, 1);
	add(0xffff, 2); add(0xffff, 2);
	skip(76 - (len - at));
	add(clock, 4);
	if (clock != 0) {
		add(baud, 4); add(2, 2); add(88, 2); add('.', 2);
	}
	end(at);
}

/* One debug port: the board's PL011. */
static void
dbg2(void)
{
	uint32_t at = begin("DBG2", 0);

	add(44, 4); add(1, 4);
	add(0, 1); add(40, 2); add(1, 1); add(2, 2); add(38, 2); add(0, 2); add(0, 2);
	add(0x8000, 2); add(SPCR_PL011, 2); skip(2); add(22, 2); add(34, 2);
	gas(0, 32, 3, PL011);
	add(0x1000, 4); add('.', 2);
	end(at);
}

static void
mapping(uint32_t in, uint32_t n, uint32_t out, uint32_t to)
{
	add(in, 4); add(n, 4); add(out, 4); add(to, 4); add(0, 4);
}

/* ITS group, perhaps an SMMUv3, root complex.  loop: the unit's map leads back to itself; dangling:
 * the root's to nowhere. */
/* A unit whose streams go to "group" (0: back to itself); its offset in the table at "at". */
static uint32_t
smmuv3(uint32_t at, uint32_t group)
{
	uint32_t unit = len - at;

	add(4, 1); add(68 + 20, 2); add(4, 1); add(1, 4); add(1, 4); add(68, 4);
	add(SMMU, 8); add(1, 4); skip(4); skip(8); add(0, 4);	/* coherent */
	add(SMMU_IRQ, 4); add(SMMU_IRQ + 1, 4); add(SMMU_IRQ + 3, 4); add(SMMU_IRQ + 2, 4);
	skip(8);
	mapping(0, 0xffff, 0, group == 0 ? unit : group);
	return unit;
}

/* All of segment 0; n mappings follow. */
static void
root_complex(uint32_t id, uint32_t n)
{
	add(2, 1); add(36 + 20 * n, 2); add(3, 1); add(id, 4); add(n, 4); add(36, 4);
	add(1, 4); add(0, 1); add(0, 2); add(3, 1);		/* coherent */
	add(0, 4); add(0, 4); add(64, 1); skip(3);
}

static void
iort(int smmu, const char *lie)
{
	uint32_t at = begin("IORT", 5), group, unit = 0;
	int rmr = strcmp(lie, "rmr") == 0, twice = strcmp(lie, "twice") == 0,
	    self = strcmp(lie, "self") == 0;
	uint32_t root;

	add(smmu ? 3 + rmr + 2 * twice : 2, 4); add(48, 4); skip(4);
	group = len - at;
	add(0, 1); add(24, 2); add(1, 1); add(0, 4); add(0, 4); add(0, 4); add(1, 4); add(0, 4);
	if (smmu)
		unit = smmuv3(at, strcmp(lie, "loop") == 0 ? 0 : group);
	root = len - at;
	root_complex(2, 1 + 2 * self);
	if (strcmp(lie, "count") == 0)
		put(at + root + 8, 0xffffffff, 4);
	if (self) {
		mapping(0, 7, 0, unit);
		mapping(8, 7, 8, root);
		mapping(16, 0xffef, 16, unit);
	} else {
		mapping(0, 0xffff, 0, strcmp(lie, "dangling") == 0 ? 0x1000 : smmu ? unit : group);
	}
	if (twice) {
		unit = smmuv3(at, group);
		root_complex(4, 1);
		mapping(8, 0, 8, unit);
	}
	if (rmr) {	/* a page of the flash, for stream 8 */
		add(6, 1); add(48 + 20, 2); add(3, 1); add(3, 4); add(1, 4); add(48, 4);
		add(0, 4); add(1, 4); add(28, 4);
		add(FLASH, 8); add(0x1000, 8); add(0, 4);
		mapping(0, 0, 8, unit);
	}
	end(at);
}

static void
rsdp(uint8_t p[36])
{
	uint32_t x = begin("XSDT", 1);

	for (uint32_t i = 0; i < count; i++) {
		pointer(t, t, len, 8);
		add(offset[i], 8);
	}
	put(x + 4, len - x, 4);
	checksum(t, x + 9, x, len - x);
	memcpy(p, "RSD PTR ", 8);
	memcpy(p + 9, oem, 6);
	p[15] = 2;
	p[20] = 36;
	memcpy(p + 24, &x, 4);
	pointer(r, t, 24, 8);
	checksum(r, 8, 0, 20);
	checksum(r, 32, 0, 36);
}

static int
save(const char *folder, const char *name, const void *bytes, size_t n)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "wb");
	return f == NULL || fwrite(bytes, 1, n, f) != n || fclose(f) != 0;
}

int
main(int argc, char **argv)
{
	const char *shape = argc > 3 ? argv[1] : "", *lie = "";
	int graviton = strcmp(shape, "graviton") == 0, ampere = strcmp(shape, "ampere") == 0,
	    azure = strcmp(shape, "azure") == 0;
	int gce = strcmp(shape, "gce") == 0, no_root = 0, no_madt = 0, low = gce, split = 0,
	    debug = 0;
	unsigned cpus = argc > 3 ? (unsigned)atoi(argv[2]) : 0, regions = azure ? 0 : 1;
	uint64_t at = graviton ? PORTS + PORT_SERIAL : PL011, ecam = ecam_high;
	uint32_t clock = 0, baud = 0;
	uint8_t type = graviton ? SPCR_16550 :
	    ampere || gce       ? SPCR_SBSA :
				  SPCR_PL011,
		p[36] = { 0 };

	if (cpus < 1 || cpus > 64 ||
	    (!graviton && !ampere && !gce && !azure && strcmp(shape, "plain") != 0)) {
		fprintf(stderr,
		    "shapetables graviton|ampere|gce|azure|plain CPUS FOLDER [NAME=VALUE...]\n");
		return 2;
	}
	for (int i = 4; i < argc; i++) {
		if (strncmp(argv[i], "spcr=", 5) == 0)
			type = (uint8_t)strtoul(argv[i] + 5, NULL, 0);
		else if (strncmp(argv[i], "spcr-at=", 8) == 0)
			at = strtoull(argv[i] + 8, NULL, 0);
		else if (strncmp(argv[i], "clock=", 6) == 0)
			clock = (uint32_t)strtoul(argv[i] + 6, NULL, 0);
		else if (strncmp(argv[i], "baud=", 5) == 0)
			baud = (uint32_t)strtoul(argv[i] + 5, NULL, 0);
		else if (strncmp(argv[i], "iort=", 5) == 0)
			lie = argv[i] + 5;
		else if (strcmp(argv[i], "dbg2=pl011") == 0)
			debug = 1;
		else if (strcmp(argv[i], "root=none") == 0)
			no_root = 1;
		else if (strcmp(argv[i], "mcfg=split") == 0)
			split = 1;
		else if (strcmp(argv[i], "apic=none") == 0)
			no_madt = 1;
		else if (strcmp(argv[i], "ecam=low") == 0)
			low = 1;
		else if (strncmp(argv[i], "gicr=", 5) == 0)
			regions = (unsigned)strtoul(argv[i] + 5, NULL, 0);
		else
			return fprintf(stderr, "shapetables: %s is not known\n", argv[i]), 2;
	}
	if (regions > 64)
		return fprintf(stderr, "shapetables: at most 64 regions\n"), 2;
	if (graviton)
		oem = "AMAZON", oem_table = "AMZNARM ";
	if (ampere)
		oem = "Ampere", oem_table = "Altra   ";
	if (gce)
		oem = "Google", oem_table = "GOOGARM ";
	if (azure)
		oem = "VRTUAL", oem_table = "MICROSFT";
	allocate(r, 16, 2);
	allocate(t, 64, 1);
	fadt();
	if (!no_madt)
		madt(cpus, regions, !azure);
	gtdt();
	if (low)
		ecam = ECAM_LOW;
	mcfg(ecam, low ? 15 : 255, split);
	spcr(type, at, graviton ? INTX + SERIAL_SLOT % 4 : PL011_IRQ, clock, baud);
	if (!azure && strcmp(lie, "none") != 0)
		iort(!graviton && !gce, lie);
	if (debug)
		dbg2();
	rsdp(p);
	if (no_root)
		memset(script, 0, script_len);		/* commands that are none */
	return save(argv[3], "tables", tables, len) | save(argv[3], "rsdp", p, sizeof(p)) |
	    save(argv[3], "loader", script, script_len);
}
