/*
 * How a process ended, in words.
 */
#include "usr/lib/devmgr.h"

static void
print_fault(const struct epitaph *e, const uint8_t *image, uint64_t len)
{
	uint64_t offset = 0;

	log_line(0, "%s died: %s, address 0x%llx", e->name, fault_kind_text(e->fault.kind),
	    (unsigned long long)e->fault.address);
	for (uint32_t i = 0; i + 2 < e->reg_count && i + 2 < EPITAPH_REGS; i += 3)
		log_line(0, "  %-6s %016llx  %-6s %016llx  %-6s %016llx", e->reg[i].name,
		    (unsigned long long)e->reg[i].value, e->reg[i + 1].name,
		    (unsigned long long)e->reg[i + 1].value, e->reg[i + 2].name,
		    (unsigned long long)e->reg[i + 2].value);
	for (uint32_t i = 0; i < e->frame_count && i < EPITAPH_FRAMES; i++) {
		const char *name =
		    image != NULL ? symbol_of(image, len, e->frame[i], &offset) : NULL;

		log_line(0, "  #%u %016llx %s+0x%llx", i, (unsigned long long)e->frame[i],
		    name != NULL ? name : "?", (unsigned long long)(name != NULL ? offset : 0));
	}
}

enum exit_reason
epitaph_print(handle_t process, const uint8_t *image, uint64_t len, uint64_t *at_ns)
{
	static struct epitaph e;
	uint64_t n;

	*at_ns = now_ns();
	if (sys_info(process, INFO_EPITAPH, 0, (uint64_t)(uintptr_t)&e, sizeof(e), &n) != OK)
		return EXIT_RUNNING;
	*at_ns = e.at_ns;
	if (e.reason == EXIT_FAULT)
		print_fault(&e, image, len);
	else if (e.reason == EXIT_KILLED || e.reason == EXIT_QUOTA)
		log_line(1, "%s ended: %s", e.name,
		    e.reason == EXIT_KILLED ? "killed" : "quota used up");
	else
		log_line(e.exit_code == 0 ? 2 : 1, "%s ended: exit code %llu", e.name,
		    (unsigned long long)e.exit_code);
	return e.reason;
}
