/*
 * Programs: finding them in the archive, loading them into a new process, naming addresses in them.
 * Source: ELF-64.
 */
#include "kern/base/bits.h"
#include "kern/base/cpio.h"
#include "usr/lib/os.h"

struct elf_header {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint32_t flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct elf_segment { uint32_t type, flags; uint64_t offset, vaddr, paddr, filesz, memsz, align; };
struct elf_section {
	uint32_t name, type;
	uint64_t flags, addr, offset, size;
	uint32_t link, info;
	uint64_t align, entsize;
};
struct elf_symbol { uint32_t name; uint8_t info, other; uint16_t section; uint64_t value, size; };

enum : uint64_t {
	STACK_PAGES = 16,
	STACK_TOP = 0x7fff'0000'0000,
	PAGES_LEAST = 256,
	OBJECTS_LEAST = 64
};

const uint8_t *
archive_file(const uint8_t *a, uint64_t len, const char *name, uint64_t *file_len)
{
	const uint8_t *data;

	switch (cpio_find(a, len, name, &data, file_len)) {
	case CPIO_FOUND:
		return data;
	case CPIO_MISSING:
		return NULL;
	case CPIO_DAMAGED:
		log_line(0, "the boot archive is damaged: no usable \"%s\" in it", name);
		return NULL;
	}
	return NULL;
}

/* Pages of a new process: made and filled here, then mapped there. */
static enum status
place(handle_t process, uint64_t va, uint64_t head, const uint8_t *from, uint64_t bytes,
    uint64_t pages, uint64_t prot)
{
	uint64_t h, here, there;
	enum status s = sys_mem_create(pages, 0, &h);

	if (s != OK)
		return s;
	if (bytes != 0) {
		s = sys_mem_map(HANDLE_NONE, h, 0, pages * PAGE_SIZE, 0, 3, &here);
		if (s == OK) {
			memcpy((char *)(uintptr_t)here + head, from, bytes);
			s = sys_mem_unmap(HANDLE_NONE, here, pages * PAGE_SIZE);
		}
	}
	if (s == OK)
		s = sys_mem_map(process, h, 0, pages * PAGE_SIZE, va, prot, &there);
	(void)sys_handle_close(h);
	return s;
}

enum status
spawn(struct spawn *sp, handle_t *process)
{
	struct elf_header h;
	struct start_block *b;
	uint64_t p, va = 0, sh, here, id;
	enum status s;

	if (sp->image_len < sizeof(h))
		return E_CORRUPT;
	memcpy(&h, sp->image, sizeof(h));
	if (memcmp(h.ident, "\177ELF\2\1\1", 7) != 0 || h.type != 2 ||
	    h.phentsize != sizeof(struct elf_segment) ||
	    !range_within(h.phoff, (uint64_t)h.phnum * h.phentsize, 0, sp->image_len))
		return E_CORRUPT;
	s = sys_process_create(
	    (uint64_t)(uintptr_t)sp->name, strlen(sp->name), (uint64_t)(uintptr_t)&sp->limits, &p);
	if (s != OK)
		return s;
	for (unsigned i = 0; i < h.phnum && s == OK; i++) {
		struct elf_segment g;

		memcpy(&g, sp->image + h.phoff + i * sizeof(g), sizeof(g));
		if (g.type != 1 || g.memsz == 0)
			continue;
		if (g.filesz > g.memsz || !range_within(g.offset, g.filesz, 0, sp->image_len) ||
		    g.memsz > 64 * MIB)
			s = E_CORRUPT;
		else
			s = place((handle_t)p, align_down(g.vaddr, PAGE_SIZE), g.vaddr & PAGE_MASK,
			    sp->image + g.offset, g.filesz,
			    pages_of((g.vaddr & PAGE_MASK) + g.memsz),
			    ((g.flags & 4) != 0 ? 1 : 0) | ((g.flags & 2) != 0 ? 2 : 0) |
				((g.flags & 1) != 0 ? 4 : 0));
	}
	if (s == OK)
		s = place(
		    (handle_t)p, STACK_TOP - STACK_PAGES * PAGE_SIZE, 0, NULL, 0, STACK_PAGES, 3);
	if (s == OK)
		s = sys_mem_create(1, 0, &sh);
	if (s != OK)
		goto undo;
	s = sys_mem_map(HANDLE_NONE, sh, 0, PAGE_SIZE, 0, 3, &here);
	if (s == OK) {
		b = (struct start_block *)(uintptr_t)here;
		b->magic = START_MAGIC;
		b->restarts = sp->restarts;
		str_copy(b->args, sp->args != NULL ? sp->args : "", sizeof(b->args));
		for (uint32_t i = 0; i < sp->count && s == OK; i++) {
			uint64_t type_rights, badge, given = 0;

			s = sys_handle_info(sp->give[i].handle, &type_rights, &badge);
			if (s == OK)
				s = sys_handle_give(p, sp->give[i].handle,
				    sp->give[i].rights != 0 ? sp->give[i].rights :
							      type_rights >> 32,
				    &given);
			str_copy(b->handle[i].name, sp->give[i].name, START_NAME);
			b->handle[i].handle = (handle_t)given;
			b->count = i + 1;
		}
		(void)sys_mem_unmap(HANDLE_NONE, here, PAGE_SIZE);
	}
	if (s == OK)
		s = sys_mem_map(p, sh, 0, PAGE_SIZE, 0, 1, &va);
	(void)sys_handle_close(sh);
	if (s == OK)
		s = sys_thread_create(
		    p, h.entry, STACK_TOP, va, PAGE_SIZE, sp->priority | CPU_ANY << 8, &id);
	if (s == OK) {
		*process = (handle_t)p;
		return OK;
	}
undo:
	(void)sys_process_kill(p, 0);
	(void)sys_handle_close(p);
	return s;
}

/* Limits are lowered to what the caller has left; false when they were that already. */
static bool
lower(struct process_limits *l)
{
	struct process_limits was = *l;
	struct process_info p;
	uint64_t n;

	if (sys_info(HANDLE_NONE, INFO_PROCESS, 0, (uint64_t)(uintptr_t)&p, sizeof(p), &n) != OK)
		return false;
	l->pages = min_u64(
	    l->pages, (p.pages_max - p.pages) / 4 * 3); /* the program is loaded out of the rest */
	l->objects = min_u64(l->objects, (p.objects_max - p.objects) / 4 * 3);
	l->threads = (uint32_t)min_u64(l->threads, p.threads_max - p.threads_used);
	if (p.processes < p.processes_max)
		l->processes = (uint32_t)min_u64(l->processes, p.processes_max - p.processes - 1);
	l->vectors = (uint32_t)min_u64(l->vectors, p.vectors_max - p.vectors);
	return memcmp(&was, l, sizeof(was)) != 0;
}

enum status
spawn_within(struct spawn *s, handle_t *process)
{
	struct process_limits *l = &s->limits;
	enum status e;

	while ((e = spawn(s, process)) == E_QUOTA) {
		if (!lower(l)) {
			l->pages /= 2;
			l->objects /= 2;
		}
		if (l->pages < PAGES_LEAST || l->objects < OBJECTS_LEAST)
			return e;
	}
	return e;
}

const char *
symbol_of(const uint8_t *image, uint64_t len, uint64_t address, uint64_t *offset)
{
	struct elf_header h;
	const char *best = NULL;
	uint64_t best_at = 0;

	if (len < sizeof(h))
		return NULL;
	memcpy(&h, image, sizeof(h));
	if (h.shentsize != sizeof(struct elf_section) ||
	    !range_within(h.shoff, (uint64_t)h.shnum * h.shentsize, 0, len))
		return NULL;
	for (unsigned i = 0; i < h.shnum; i++) {
		struct elf_section s, names;

		memcpy(&s, image + h.shoff + i * sizeof(s), sizeof(s));
		if (s.type != 2 || s.link >= h.shnum || !range_within(s.offset, s.size, 0, len))
			continue;
		memcpy(&names, image + h.shoff + s.link * sizeof(s), sizeof(s));
		if (!range_within(names.offset, names.size, 0, len))
			continue;
		for (uint64_t k = 0; k + sizeof(struct elf_symbol) <= s.size;
		    k += sizeof(struct elf_symbol)) {
			struct elf_symbol y;

			memcpy(&y, image + s.offset + k, sizeof(y));
			if ((y.info & 15) == 2 && y.value <= address && y.value >= best_at &&
			    y.name < names.size) {
				best_at = y.value;
				best = (const char *)image + names.offset + y.name;
			}
		}
	}
	if (best != NULL)
		*offset = address - best_at;
	return best;
}
