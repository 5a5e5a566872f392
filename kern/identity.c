/*
 * Which system this is, on which machine.
 *
 * The linker hashes the kernel's bytes and leaves the result in a note, which is linked into the
 * image between two symbols: so a kernel names itself, and anybody can find the same digits in the
 * file that he built.  The note is a header of three words (lengths of name and hash, type 3), the
 * name "GNU" and the hash [System V ABI, note section; GNU build-id].
 */
#include "kern/identity.h"
#include "kern/abi/object.h"
#include "kern/base/bits.h"
#include "kern/base/fmt.h"
#include "kern/base/str.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/main.h"

enum { NOTE_HEADER = 16, HASH_MAX = 20 };

extern const uint8_t build_note[], build_note_end[];

static void
build_text(char *to, size_t size)
{
	size_t len = (size_t)(build_note_end - build_note);

	static_assert(sizeof(((struct machine_info *)0)->build) > 2 * HASH_MAX);
	to[0] = 0;
	for (size_t i = NOTE_HEADER; i < len && i < NOTE_HEADER + HASH_MAX; i++)
		(void)fmt_buf(to + 2 * (i - NOTE_HEADER), size - 2 * (i - NOTE_HEADER), "%02x",
		    build_note[i]);
}

void
identity_fill(struct machine_info *out)
{
	const struct machine *m = the_machine;

	*out = (struct machine_info){
		.archive_bytes = m->archive.len,
		.iommus = m->iommu_count,
		.source = m->source,
		.tables_present = m->tables_present,
		.tables_bad = m->tables_bad,
	};
	build_text(out->build, sizeof(out->build));
	str_copy(out->model, m->model, sizeof(out->model));
	str_copy(out->firmware, m->firmware, sizeof(out->firmware));
	str_copy(out->platform, m->platform, sizeof(out->platform));
	str_copy(out->maker, m->maker, sizeof(out->maker));
	str_copy(out->product, m->product, sizeof(out->product));
}

void
identity_report(const struct machine *m)
{
	static const char *const names[] = { "DMAR", "IVRS", "IORT", "VIOT" };
	char build[2 * HASH_MAX + 1], tables[64];
	size_t n = 0;

	static_assert(ARRAY_SIZE(names) == TABLES_TELLING);
	build_text(build, sizeof(build));
	tables[0] = 0;
	for (unsigned i = 0; i < TABLES_TELLING; i++)
		n += fmt_buf(tables + n, sizeof(tables) - n, "%s %s%s", n == 0 ? "" : ",", names[i],
		    (m->tables_bad & BIT(i)) != 0 ? " unreadable" :
			(m->tables_present & BIT(i)) != 0 ? " present" : " absent");
	log_info("kernel %s; %s%s; IOMMUs described: %u", build,
	    m->source == SOURCE_FDT ? "device tree" : "tables:",
	    m->source == SOURCE_FDT ? "" : tables, m->iommu_count);
}
