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
	text_put(x->t, "\"group\": %u,\n      ", f->group);
	json_driver(x, f);
	text_put(x->t, "\"claimed\": %s, \"bus_master\": %s, \"faults\": %u,\n      ",
	    claimed ? "true" : "false", f->bus_master ? "true" : "false", f->faults);
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

void
evidence_json(const struct evidence_record *x)
{
	struct function_info f;
	struct unit_info u;
	unsigned n = 0;

	text_put(x->t, "{ \"units\": [");
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
