/*
 * Evidence as one JSON object: what each step of the verdict over a device saw in this boot.
 *
 * Labels are computed from what the kernel says it looked at; what nobody looked at is never
 * claimed.
 */
#include "usr/lib/evidence.h"
#include "kern/base/bits.h"
#include "usr/lib/names.h"

static const char *const answers[] = { "not-asked", "yes", "by-consent", "no" };

static bool
info(const struct evidence_record *x, enum info_what what, uint64_t index, void *to, size_t size)
{
	uint64_t n;

	return sys_info(x->kernel, what, index, (uint64_t)(uintptr_t)to, size, &n) == OK;
}

/* The claim that holds a function; false when there is none. */
static bool
claim_of(const struct evidence_record *x, const struct function_info *f, struct device_info *d)
{
	for (uint64_t i = 0; info(x, INFO_DEVICE, i, d, sizeof(*d)); i++)
		if (d->segment == f->segment && d->rid == f->rid)
			return true;
	return false;
}

/* What the step of that name answered; EVIDENCE_NOT_ASKED when it did not. */
static uint8_t
answer_of(const struct evidence_record *x, uint64_t function, const char *step)
{
	struct evidence_info e;

	for (unsigned i = 0; info(x, INFO_EVIDENCE, function * EVIDENCE_STEPS + i, &e, sizeof(e));
	    i++)
		if (strcmp(e.step, step) == 0)
			return e.answer;
	return EVIDENCE_NOT_ASKED;
}

static bool
driver_at(const struct evidence_record *x, uint64_t n, struct supervised *s)
{
	struct msg m = { .label = DEVMGR_LIST, .words = 1, .w = { n } };

	if (x->devmgr == HANDLE_NONE ||
	    msg_call(x->devmgr, &m, now_ns() + 5 * NS_PER_S) != OK || m.label != OK)
		return false;
	memcpy(s, m.w, sizeof(*s));
	s->name[sizeof(s->name) - 1] = 0;
	return true;
}

bool
evidence_server(const struct evidence_record *x, const struct function_info *f,
    struct evidence_server *v)
{
	for (uint64_t n = 0; driver_at(x, n, &v->s); n++) {
		struct msg m = { .label = DEVMGR_PROGRAM, .words = 1, .w = { n } };

		if (v->s.function != ((uint32_t)f->segment << 16 | f->rid) || v->s.pid == 0)
			continue;
		if (msg_call(x->devmgr, &m, now_ns() + 5 * NS_PER_S) != OK || m.label != OK)
			return false;
		for (unsigned i = 0; i < 32; i++)
			fmt_buf(&v->hash[2 * i], 3, "%02x", ((const uint8_t *)m.w)[i]);
		v->bytes = m.w[4];
		return true;
	}
	return false;
}

/* The first that says something is the guess. */
static void
guess(struct evidence_about *a, enum provider p, const char *by)
{
	if (p == PROVIDER_UNKNOWN)
		return;
	if (a->guess == PROVIDER_UNKNOWN) {
		a->guess = p;
		a->by = by;
	}
	a->agree &= a->guess == p;
}

void
evidence_about(const struct evidence_record *x, struct evidence_about *a)
{
	struct msg m = { .label = DEVMGR_ARCHIVE };
	struct function_info f;

	*a = (struct evidence_about){ 0 };
	a->known = info(x, INFO_MACHINE, 0, &a->machine, sizeof(a->machine));
	for (uint64_t i = 0; info(x, INFO_FUNCTION, i, &f, sizeof(f)); i++)
		if (a->by_vendors == PROVIDER_UNKNOWN)
			a->by_vendors = provider_of_vendor(f.vendor);
	a->agree = true;
	a->by = "nothing";
	guess(a, provider_of_maker(a->machine.maker), "SMBIOS");
	guess(a, provider_of_model(a->machine.model),
	    a->machine.source == 2 ? "device tree" : "OEM names of ACPI tables");
	guess(a, a->by_vendors, "PCI vendors");
	a->instance = provider_instance(provider_of_maker(a->machine.maker), a->machine.product);
	if (x->devmgr == HANDLE_NONE || msg_call(x->devmgr, &m, now_ns() + 5 * NS_PER_S) != OK ||
	    m.label != OK)
		return;
	for (unsigned i = 0; i < 32; i++)
		fmt_buf(&a->archive[2 * i], 3, "%02x", ((const uint8_t *)m.w)[i]);
}

/* DMAR, IVRS, IORT, VIOT: what this boot found of the n-th. */
const char *
evidence_table(const struct machine_info *m, unsigned n, const char **name)
{
	static const char *const names[EVIDENCE_TABLES] = { "DMAR", "IVRS", "IORT", "VIOT" };

	*name = names[n];
	return (m->tables_bad >> n & 1) != 0   ? "unreadable" :
	    (m->tables_present >> n & 1) != 0 ? "present" :
						"absent";
}

enum exposed
evidence_exposed(const struct evidence_record *x, uint64_t index, struct exposure_info *e)
{
	if (!info(x, INFO_EXPOSURE, index, e, sizeof(*e)))
		return EXPOSED_NOT_CHECKED;
	/* A system in which nothing was mapped has not been looked at. */
	return e->found[0] != 0 ? EXPOSED_YES : e->runs == 0 ? EXPOSED_NOT_CHECKED : EXPOSED_NO;
}

const char *
evidence_exposed_text(enum exposed e)
{
	return e == EXPOSED_NO ? "false" : e == EXPOSED_YES ? "true" : "not-checked";
}

/* A string, or null. */
static void
json_text(struct text *t, const char *name, const char *value, const char *after)
{
	if (value != NULL && value[0] != 0)
		text_field(t, name, value, after);
	else
		text_put(t, "\"%s\": null%s", name, after);
}

static void
json_machine(const struct evidence_record *x)
{
	static const char *const sources[] = { "none", "acpi", "device-tree" };
	struct evidence_about a;
	const struct machine_info *m = &a.machine;

	evidence_about(x, &a);
	text_put(x->t, "{ \"machine\": { ");
	json_text(x->t, "provider_guess",
	    a.guess != PROVIDER_UNKNOWN ? provider_text(a.guess) : NULL, ", ");
	text_field(x->t, "guessed_by", a.by, ", ");
	text_put(x->t, "\"guesses_agree\": %s, ", a.agree ? "true" : "false");
	json_text(x->t, "pci_vendors_say",
	    a.by_vendors != PROVIDER_UNKNOWN ? provider_text(a.by_vendors) : NULL, ",\n    ");
	json_text(x->t, "instance_type", a.instance, ", ");
	json_text(x->t, "smbios_maker", m->maker, ", ");
	json_text(x->t, "smbios_product", m->product, ",\n    ");
	json_text(x->t, "model", m->model, ", ");
	json_text(x->t, "firmware", m->firmware, ",\n    ");
	text_field(x->t, "described_by", sources[m->source < 3 ? m->source : 0], ", ");
	for (unsigned i = 0; i < EVIDENCE_TABLES; i++) {
		const char *name, *what = evidence_table(m, i, &name);

		text_field(x->t, name, what, ", ");
	}
	text_put(x->t, "\"iommus_described\": %u },\n  \"system\": { ", m->iommus);
	text_field(x->t, "arch", arch_name, ", ");
	json_text(x->t, "kernel_build", m->build, ",\n    ");
	json_text(x->t, "boot_archive_sha256", a.archive, ", ");
	text_put(x->t, "\"boot_archive_bytes\": %llu },\n  ",
	    (unsigned long long)m->archive_bytes);
}

static void
json_driver(const struct evidence_record *x, const struct function_info *f)
{
	struct evidence_server v;

	if (!evidence_server(x, f, &v)) {
		text_put(x->t, "\"driver\": null, ");
		return;
	}
	text_field(x->t, "driver", v.s.name, ", ");
	text_field(x->t, "driver_sha256", v.hash, ", ");
}

static void
json_unit(const struct evidence_record *x, const struct unit_info *u)
{
	text_put(x->t, "    { ");
	text_field(x->t, "name", u->name, ", ");
	text_field(x->t, "features", u->features, ",\n      ");
	text_put(x->t, "\"broken\": %s, ", u->broken ? "true" : "false");
	text_field(x->t, "fault_reporting", u->fault_log ? "yes" : "none", ", ");
	text_field(x->t, "interrupt_isolation", u->interrupt_isolation ? "yes" : "none", ", ");
	text_put(x->t, "\"domains\": %u, \"faults\": %llu, \"faults_lost\": %llu }", u->domains,
	    (unsigned long long)u->faults, (unsigned long long)u->faults_lost);
}

static void
json_device(const struct evidence_record *x, uint64_t index, const struct function_info *f)
{
	static const char *const backend[] = { "unsupported", "direct-remapping", "bounce-buffer" };
	static const char *const status[] = { "Unsupported", "Direct-remapping",
		"Labeled-bounce-buffer" };
	struct device_info d;
	struct exposure_info seen = { 0 };
	struct unit_info u;
	struct evidence_info e;
	char function[FUNCTION_TEXT];
	bool claimed = claim_of(x, f, &d), direct = claimed && d.lane == LANE_DIRECT;
	uint8_t verdict = f->verdict <= LANE_BROKERED ? f->verdict : LANE_UNSUPPORTED;
	bool whole = direct && answer_of(x, index, "validated") == EVIDENCE_YES &&
	    answer_of(x, index, "interrupts") == EVIDENCE_YES;

	name_function(function, (uint32_t)f->segment << 16 | f->rid);
	text_put(x->t, "    { ");
	text_field(x->t, "function", function, ", ");
	text_put(x->t, "\"vendor\": \"%04x\", \"device\": \"%04x\", \"class\": \"%06x\", ",
	    f->vendor, f->device, f->class_code);
	text_field(x->t, "kind", name_class(f->class_code), ", ");
	text_put(x->t, "\"group\": %u, ", f->group);
	json_text(x->t, "unit",
	    f->unit >= 0 && info(x, INFO_UNIT, (uint64_t)f->unit, &u, sizeof(u)) ? u.name : NULL,
	    ",\n      ");
	json_driver(x, f);
	text_put(x->t, "\"claimed\": %s, \"bus_master\": %s, \"faults\": %u,\n      ",
	    claimed ? "true" : "false", f->bus_master ? "true" : "false", f->faults);
	text_field(x->t, "host_physical_user_visible",
	    evidence_exposed_text(evidence_exposed(x, index, &seen)), ",\n      ");
	text_put(x->t,
	    "\"host_physical_checks\": { \"address_registers\": %u, \"mapped_windows\": %u, \"grants\": %u, \"registers_checked\": %s, ",
	    seen.registers, seen.mapped_windows, seen.grants,
	    seen.registers_checked ? "true" : "false");
	json_text(x->t, "found", seen.found, " },\n      ");
	text_field(
	    x->t, "backend", backend[claimed && d.lane <= LANE_BROKERED ? d.lane : verdict], ", ");
	text_field(x->t, "support_status", status[verdict], ", ");
	text_field(x->t, "reason", f->reason, ",\n      ");
	text_field(x->t, "direct_dma", direct ? "allowed" : "blocked", ", ");
	text_field(x->t, "hostile_hardware_isolation", whole ? "claimed" : "not-claimed",
	    ",\n      \"steps\": [");
	for (unsigned i = 0, n = 0;
	    info(x, INFO_EVIDENCE, index * EVIDENCE_STEPS + i, &e, sizeof(e)); i++) {
		if (e.answer == EVIDENCE_NOT_ASKED)
			continue;
		text_put(x->t, "%s\n        { ", n++ != 0 ? "," : "");
		text_field(x->t, "step", e.step, ", ");
		text_field(x->t, "answer", answers[e.answer & 3], ", ");
		text_field(x->t, "saw", e.text, " }");
	}
	text_put(x->t, " ] }");
}

/* Of the whole machine: what one function shows, all show. */
static void
json_exposure(const struct evidence_record *x)
{
	enum exposed worst = EXPOSED_NOT_CHECKED;
	struct exposure_info e = { 0 }, last = { 0 };

	for (uint64_t i = 0; info(x, INFO_EXPOSURE, i, &e, sizeof(e)); i++) {
		enum exposed one = evidence_exposed(x, i, &e);

		if (i == 0 || one != EXPOSED_NO)
			worst = one;
		last = e;
		if (worst != EXPOSED_NO)
			break;
	}
	text_field(x->t, "host_physical_user_visible", evidence_exposed_text(worst), ", ");
	text_put(x->t,
	    "\"mappings_checked\": { \"memory\": %llu, \"registers\": %llu, \"refused\": %llu },\n  ",
	    (unsigned long long)last.runs, (unsigned long long)last.windows,
	    (unsigned long long)last.refused);
}

void
evidence_json(const struct evidence_record *x)
{
	struct function_info f;
	struct unit_info u;
	unsigned n = 0;

	json_machine(x);
	json_exposure(x);
	text_put(x->t, "\"units\": [");
	for (uint64_t i = 0; info(x, INFO_UNIT, i, &u, sizeof(u)); i++) {
		text_put(x->t, "%s\n", i != 0 ? "," : "");
		json_unit(x, &u);
	}
	text_put(x->t, " ],\n  \"devices\": [");
	for (uint64_t i = 0; info(x, INFO_FUNCTION, i, &f, sizeof(f)); i++) {
		if (f.is_bridge)
			continue;
		text_put(x->t, "%s\n", n++ != 0 ? "," : "");
		json_device(x, i, &f);
	}
	text_put(x->t, " ] }\n");
}
