/*
 * Copies of this program: copy.h.
 */
#include "usr/shell/copy.h"
#include "kern/base/bits.h"

enum { STACK_PAGES = 4 };
enum : uint64_t { STACK_TOP = 0x7000'0000'0000 };

/* The linker script's: where the segments begin, and the end. */
extern char image_text[], image_rodata[], image_data[], image_end[];

/* A segment: memory made and filled here, then mapped there at the same address. */
static enum status
segment(handle_t process, uint64_t from, uint64_t end, uint64_t prot)
{
	uint64_t len = align_up(end, PAGE_SIZE) - from, h, here, there;
	enum status s = sys_mem_create(len / PAGE_SIZE, 0, &h);

	if (s != OK)
		return s;
	s = sys_mem_map(HANDLE_NONE, h, 0, len, 0, 3, &here);
	if (s == OK) {
		memcpy((void *)(uintptr_t)here, (const void *)(uintptr_t)from, end - from);
		(void)sys_mem_unmap(HANDLE_NONE, here, len);
		s = sys_mem_map(process, h, 0, len, from, prot, &there);
	}
	(void)sys_handle_close(h);
	return s;
}

enum status
copy_start(handle_t *out, copy_fn *fn, handle_t given, uint32_t rights, uint64_t arg,
    uint8_t priority, uint8_t cpu)
{
	uint64_t p, h, va, there, id;
	static const struct process_limits limits = { .pages = 384, .objects = 64, .threads = 4 };
	enum status s =
	    sys_process_create((uint64_t)(uintptr_t)"copy", 4, (uint64_t)(uintptr_t)&limits, &p);

	if (s != OK)
		return s;
	s = segment((handle_t)p, (uintptr_t)image_text, (uintptr_t)image_rodata, 5);
	if (s == OK)
		s = segment((handle_t)p, (uintptr_t)image_rodata, (uintptr_t)image_data, 1);
	if (s == OK)
		s = segment((handle_t)p, (uintptr_t)image_data, (uintptr_t)image_end, 3);
	if (s == OK)
		s = sys_mem_create(STACK_PAGES, 0, &h);
	if (s == OK) {
		s = sys_mem_map(
		    p, h, 0, STACK_PAGES * PAGE_SIZE, STACK_TOP - STACK_PAGES * PAGE_SIZE, 3, &va);
		(void)sys_handle_close(h);
	}
	if (s == OK)
		s = sys_handle_give(p, given, rights, &there);
	if (s == OK)
		s = sys_thread_create(p, (uint64_t)(uintptr_t)fn, STACK_TOP - STACK_ENTRY, there,
		    arg, priority | (uint64_t)cpu << 8, &id);
	*out = (handle_t)p;
	if (s != OK)
		copy_end(out);
	return s;
}

void
copy_end(handle_t *copy)
{
	if (*copy == HANDLE_NONE)
		return;
	(void)sys_process_kill(*copy, 0);
	(void)sys_handle_close(*copy);
	*copy = HANDLE_NONE;
}
