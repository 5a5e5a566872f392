/*
 * Evidence: what each step of the verdict over a device saw in this boot, as text for people and as
 * one JSON object.
 *
 * Labels are computed from what the kernel says it looked at; what nobody looked at is never
 * claimed.  docs/evidence.md tells the schema.
 */
#include "usr/shell/shell.h"

static const char *const answers[] = { "not-asked", "yes", "by-consent", "no" };

/* A string in quotes.  Texts are the kernel's own, names come from devices. */
static void
quoted(const char *s)
{
	print("\"");
	for (; *s != 0; s++)
		if (*s == '"' || *s == '\\')
			print("\\%c", *s);
		else if (*s < ' ' || *s > '~')
			print("\\u%04x", (unsigned char)*s);
		else
			print("%c", *s);
	print("\"");
}

static void
field(const char *name, const char *value, const char *after)
{
	print("\"%s\": ", name);
	quoted(value);
	print("%s", after);
}

/* The claim that holds a function; false when there is none. */
static bool
claim_of(const struct function_info *f, struct device_info *d)
{
	for (uint64_t i = 0; info(INFO_DEVICE, i, d, sizeof(*d)); i++)
		if (d->segment == f->segment && d->rid == f->rid)
			return true;
	return false;
}

/* What the step of that name answered; EVIDENCE_NOT_ASKED when it did not. */
static uint8_t
answer_of(uint64_t function, const char *step)
{
	struct evidence_info e;

	for (unsigned i = 0; info(INFO_EVIDENCE, function * EVIDENCE_STEPS + i, &e, sizeof(e)); i++)
		if (strcmp(e.step, step) == 0)
			return e.answer;
	return EVIDENCE_NOT_ASKED;
}

/* Who serves a function: its supervisor's record, and what program file it was started from. */
struct server { struct supervised s; char hash[65]; uint64_t bytes; };

static bool
server_of(const struct function_info *f, struct server *v)
{
	for (uint64_t n = 0; supervised_at(true, n, &v->s); n++) {
		struct msg m = { .label = DEVMGR_PROGRAM, .words = 1, .w = { n } };

		if (v->s.function != ((uint32_t)f->segment << 16 | f->rid) || v->s.pid == 0)
			continue;
		if (msg_call(devmgr, &m, now_ns() + 5 * NS_PER_S) != OK || m.label != OK)
			return false;
		for (unsigned i = 0; i < 32; i++)
			fmt_buf(&v->hash[2 * i], 3, "%02x", ((const uint8_t *)m.w)[i]);
		v->bytes = m.w[4];
		return true;
	}
	return false;
}

static void
json_driver(const struct function_info *f)
{
	struct server v;

	if (!server_of(f, &v)) {
		print("\"driver\": null, ");
		return;
	}
	field("driver", v.s.name, ", ");
	field("driver_sha256", v.hash, ", ");
}

static void
json_unit(const struct unit_info *u)
{
	print("    { ");
	field("name", u->name, ", ");
	field("features", u->features, ",\n      ");
	print("\"broken\": %s, ", u->broken ? "true" : "false");
	field("fault_reporting", u->fault_log ? "yes" : "none", ", ");
	field("interrupt_isolation", u->interrupt_isolation ? "yes" : "none", ", ");
	print("\"domains\": %u, \"faults\": %llu, \"faults_lost\": %llu }", u->domains,
	    (unsigned long long)u->faults, (unsigned long long)u->faults_lost);
}

static void
json_device(uint64_t index, const struct function_info *f)
{
	static const char *const backend[] = { "unsupported", "direct-remapping", "bounce-buffer" };
	static const char *const status[] = { "Unsupported", "Direct-remapping",
		"Labeled-bounce-buffer" };
	struct device_info d;
	struct evidence_info e;
	bool claimed = claim_of(f, &d), direct = claimed && d.lane == LANE_DIRECT;
	uint8_t verdict = f->verdict <= LANE_BROKERED ? f->verdict : LANE_UNSUPPORTED;
	bool whole = direct && answer_of(index, "validated") == EVIDENCE_YES &&
	    answer_of(index, "interrupts") == EVIDENCE_YES;

	print("    { ");
	field("function", function_text("", (uint32_t)f->segment << 16 | f->rid), ", ");
	print("\"vendor\": \"%04x\", \"device\": \"%04x\", \"class\": \"%06x\", ", f->vendor,
	    f->device, f->class_code);
	field("kind", class_text(f->class_code), ", ");
	print("\"group\": %u,\n      ", f->group);
	json_driver(f);
	print("\"claimed\": %s, \"bus_master\": %s, \"faults\": %u,\n      ",
	    claimed ? "true" : "false", f->bus_master ? "true" : "false", f->faults);
	field("backend", backend[claimed && d.lane <= LANE_BROKERED ? d.lane : verdict], ", ");
	field("support_status", status[verdict], ", ");
	field("reason", f->reason, ",\n      ");
	field("direct_dma", direct ? "allowed" : "blocked", ", ");
	field("hostile_hardware_isolation", whole ? "claimed" : "not-claimed",
	    ",\n      \"steps\": [");
	for (unsigned i = 0, n = 0; info(INFO_EVIDENCE, index * EVIDENCE_STEPS + i, &e, sizeof(e));
	    i++) {
		if (e.answer == EVIDENCE_NOT_ASKED)
			continue;
		print("%s\n        { ", n++ != 0 ? "," : "");
		field("step", e.step, ", ");
		field("answer", answers[e.answer & 3], ", ");
		field("saw", e.text, " }");
	}
	print(" ] }");
}

static void
json(void)
{
	struct function_info f;
	struct unit_info u;
	unsigned n = 0;

	print("{ \"units\": [");
	for (uint64_t i = 0; info(INFO_UNIT, i, &u, sizeof(u)); i++) {
		print("%s\n", i != 0 ? "," : "");
		json_unit(&u);
	}
	print(" ],\n  \"devices\": [");
	for (uint64_t i = 0; info(INFO_FUNCTION, i, &f, sizeof(f)); i++) {
		if (f.is_bridge)
			continue;
		print("%s\n", n++ != 0 ? "," : "");
		json_device(i, &f);
	}
	print(" ] }\n");
}

int
cmd_evidence(int argc, char **argv)
{
	static const char *const word[] = { "not asked", "yes", "by consent", "NO" };
	struct function_info f;
	struct evidence_info e;
	struct server v;

	if (argc == 2 && strcmp(argv[1], "json") != 0)
		return usage("\"%s\" is not known; valid: json", argv[1]);
	if (argc == 2) {
		json();
		return 0;
	}
	for (uint64_t i = 0; info(INFO_FUNCTION, i, &f, sizeof(f)); i++) {
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
		if (server_of(&f, &v))
			print("  %-13s %-11s program file of %llu bytes, SHA-256 %s\n", "driver",
			    v.s.name, (unsigned long long)v.bytes, v.hash);
	}
	return 0;
}
