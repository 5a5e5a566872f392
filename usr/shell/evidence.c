/*
 * Evidence: what each step of the verdict over a device saw in this boot, as text for people, and
 * as one JSON object (usr/lib/evidence.h).
 */
#include "usr/lib/evidence.h"
#include "usr/shell/shell.h"

static int
print_json(void)
{
	static char room[EVIDENCE_BYTES];
	struct text t = text_of(room, sizeof(room));
	struct evidence_record x = { kernel, devmgr, &t };

	evidence_json(&x);
	if (t.cut) {
		print("evidence: the record is longer than %zu bytes\n", sizeof(room));
		return 1;
	}
	print_raw(t.to, t.len);
	return 0;
}

/* Lines about the whole machine. */
static void
print_about(const struct evidence_record *x)
{
	struct evidence_about a;

	evidence_about(x, &a);
	print("machine: %s (guessed by %s%s)%s%s%s%s%s%s\n", provider_text(a.guess), a.by,
	    a.agree ? "" : ", others disagree",
	    a.instance != NULL ? ", instance type " : "", a.instance != NULL ? a.instance : "",
	    a.machine.model[0] != 0 ? "; it calls itself " : "", a.machine.model,
	    a.machine.firmware[0] != 0 ? ", firmware " : "", a.machine.firmware);
	print("described by: %s", a.machine.source == 2 ? "a device tree" : "ACPI tables:");
	for (unsigned i = 0; i < EVIDENCE_TABLES && a.machine.source != 2; i++) {
		const char *name, *what = evidence_table(&a.machine, i, &name);

		print("%s %s %s", i == 0 ? "" : ",", name, what);
	}
	print("; IOMMUs: %u\n", a.machine.iommus);
	print("system: %s, kernel %s, boot archive %s\n", arch_name, a.machine.build,
	    a.archive[0] != 0 ? a.archive : "not known");
}

int
cmd_evidence(int argc, char **argv)
{
	static const char *const word[] = { "not asked", "yes", "by consent", "NO" };
	struct function_info f;
	struct evidence_info e;
	const struct evidence_record x = { .kernel = kernel, .devmgr = devmgr };
	struct evidence_server v;

	if (argc == 2 && strcmp(argv[1], "json") != 0)
		return usage("\"%s\" is not known; valid: json", argv[1]);
	if (argc == 2)
		return print_json();
	print_about(&x);
	for (uint64_t i = 0; info(INFO_FUNCTION, i, &f, sizeof(f)); i++) {
		struct exposure_info seen = { 0 };
		enum exposed exposed;

		if (f.is_bridge)
			continue;
		print("%04x:%02x:%02x.%x %04x:%04x class %06x: %s%s%s\n", f.segment, f.rid >> 8,
		    f.rid >> 3 & 31, f.rid & 7, f.vendor, f.device, f.class_code,
		    f.verdict == LANE_DIRECT       ? "at most direct-remapping" :
			f.verdict == LANE_BROKERED ? "at most brokered" :
						     "unsupported: ",
		    f.reason, f.claimed ? ", claimed" : "");
		for (unsigned step = 0;
		    info(INFO_EVIDENCE, i * EVIDENCE_STEPS + step, &e, sizeof(e)); step++)
			if (e.answer != EVIDENCE_NOT_ASKED)
				print("  %-13s %-11s %s\n", e.step, word[e.answer & 3], e.text);
		exposed = evidence_exposed(&x, i, &seen);
		print("  %-13s %-11s host_physical_user_visible=%s%s%s\n", "physical",
		    word[exposed == EXPOSED_NO  ? EVIDENCE_YES :
			    exposed == EXPOSED_YES ? EVIDENCE_NO :
						     EVIDENCE_NOT_ASKED],
		    evidence_exposed_text(exposed), seen.found[0] != 0 ? ": " : "", seen.found);
		if (evidence_server(&x, &f, &v))
			print("  %-13s %-11s program file of %llu bytes, SHA-256 %s\n", "driver",
			    v.s.name, (unsigned long long)v.bytes, v.hash);
	}
	return 0;
}
