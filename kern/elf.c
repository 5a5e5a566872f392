/*
 * The root task's program file.
 * Source: ELF-64 object file format.
 */
#include "kern/elf.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/frame.h"
#include "kern/md/cpu.h"
#include "kern/memory.h"

struct elf_header {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint32_t flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct elf_segment { uint32_t type, flags; uint64_t offset, vaddr, paddr, filesz, memsz, align; };

static enum status
load_segment(struct process *p, const uint8_t *image, const struct elf_segment *s)
{
	uint64_t base = align_down(s->vaddr, PAGE_SIZE), head = s->vaddr - base, done = 0, va;
	uint64_t pages = pages_of(head + s->memsz);
	uint8_t prot = (uint8_t)(((s->flags & 4) != 0 ? PROT_READ : 0) |
	    ((s->flags & 2) != 0 ? PROT_WRITE : 0) | ((s->flags & 1) != 0 ? PROT_EXEC : 0));
	struct memory *m;
	enum status st = memory_create(p, pages, 0, &m);

	if (st != OK)
		return st;
	while (done < s->filesz) {
		struct paddr at;
		uint64_t run, n, in = (head + done) & PAGE_MASK;

		if (!memory_run(m, (head + done) / PAGE_SIZE, &at, &run))
			break;
		n = min_u64(s->filesz - done, run * PAGE_SIZE - in);
		memcpy((char *)frame_ptr(at) + in, image + s->offset + done, n);
		done += n;
	}
	st = vspace_map(p, &m->obj, 0, pages * PAGE_SIZE, base, prot, &va);
	object_put(&m->obj);
	return st;
}

enum status
elf_load(struct process *p, const uint8_t *image, uint64_t len, uint64_t *entry)
{
	struct elf_header h;

	if (len < sizeof(h))
		return E_CORRUPT;
	memcpy(&h, image, sizeof(h));
	if (memcmp(h.ident, "\177ELF\2\1\1", 7) != 0 || h.type != 2 ||
	    h.machine != cpu_elf_machine || h.phentsize != sizeof(struct elf_segment) ||
	    !range_within(h.phoff, (uint64_t)h.phnum * h.phentsize, 0, len))
		return E_CORRUPT;
	for (uint16_t i = 0; i < h.phnum; i++) {
		struct elf_segment s;
		enum status st;

		memcpy(&s, image + h.phoff + i * sizeof(s), sizeof(s));
		if (s.type != 1 || s.memsz == 0)
			continue;
		if (s.filesz > s.memsz || !range_within(s.offset, s.filesz, 0, len) ||
		    !range_within(s.vaddr, s.memsz, USER_BASE, USER_END - USER_BASE) ||
		    s.memsz > 64 * MIB)
			return E_CORRUPT;
		st = load_segment(p, image, &s);
		if (st != OK)
			return st;
	}
	*entry = h.entry;
	return OK;
}
