/*
 * The choice of the lane.
 *
 * One list of questions, asked in a fixed order; the first "no" decides and names itself.  Which
 * questions are asked depends on one fact only, the route: with a unit in the way the device is
 * direct or unsupported; without one it is brokered or unsupported.
 *
 *     function -> reset -> group -> services -> discovered
 *         +-> programmed -> synchronised -> reserved -> interrupts -> validated -> policy  direct
 *         +-> translator -> policy                                                         brokered
 *
 * tests/kern/dma/lane_test.c goes through every combination.
 */
#include "kern/dma/lane.h"
#include "kern/base/fmt.h"

/* NULL: yes. */
static const char *
ask(const struct lane_facts *f, const struct lane_policy *p, enum lane_step step)
{
	switch (step) {
	case STEP_FUNCTION:
		return f->problem != NULL ? f->problem :
		    !f->endpoint          ? "a bridge or the kernel's own" :
		    !f->sound             ? "quarantined" :
					    NULL;
	case STEP_RESET:
		/* Without a unit it is the reset that makes sure that the device has stopped. */
		return f->resettable || (p->consent_reset && f->route == ROUTE_UNIT) ?
		    NULL :
		    "no reset method";
	case STEP_GROUP:
		return f->group_whole ? NULL : "its isolation group cannot be claimed as one";
	case STEP_SERVICES:
		return f->services_off ? NULL :
					 "its translation services (ATS, PRI, PASID) are not off";
	case STEP_DISCOVERED:
		if (f->route == ROUTE_UNIT || f->route == ROUTE_NO_UNIT)
			return NULL;
		return f->no_unit != NULL ? f->no_unit : "its way to memory is not described";
	case STEP_PROGRAMMED:
		return !f->programmed ? "its IOMMU is not in use" :
		    !f->unit_works    ? "its IOMMU is broken" :
					NULL;
	case STEP_SYNCHRONISED:
		return f->synchronised ? NULL : "its IOMMU did not complete an invalidation";
	case STEP_RESERVED:
		return f->unreserved ? NULL : "firmware reserves memory for it";
	case STEP_INTERRUPTS:
		return f->interrupt_isolation || p->consent_interrupts ? NULL :
		    "interrupt_isolation=none, and the manifest does not consent";
	case STEP_VALIDATED:
		switch (f->canary) {
		case CANARY_PASSED:
			return NULL;
		case CANARY_SILENT:
			return p->consent_silent ?
			    NULL :
			    f->fault_log ?
			    "validated, silent, and the manifest does not consent" :
			    "fault_reporting=none, and the manifest does not consent";
		case CANARY_NOT_RUN:
			if (!f->fault_log && !p->consent_silent)
				return "fault_reporting=none, and the manifest does not consent";
			return p->consent_unvalidated ?
			    NULL :
			    "programmed, not validated, and the manifest does not consent";
		case CANARY_PENDING:
			return "the live test is not made yet";
		case CANARY_FAILED:
			break;
		}
		return f->canary_why != NULL ? f->canary_why : "its IOMMU failed the live test";
	case STEP_TRANSLATOR:
		return !f->translator ? "no IOMMU in its way, and no translator for its class" :
		    !f->quiesce ? "no IOMMU in its way, and no way to see it stopped" : NULL;
	case STEP_POLICY:
		return (f->route == ROUTE_UNIT ? p->forbid_direct : p->forbid_brokered) ?
		    "forbidden by the manifest" :
		    NULL;
	case STEP_ALL:
		break;
	}
	return NULL;
}

static bool
is_asked(const struct lane_facts *f, enum lane_step step)
{
	switch (step) {
	case STEP_PROGRAMMED:
	case STEP_SYNCHRONISED:
	case STEP_RESERVED:
	case STEP_INTERRUPTS:
	case STEP_VALIDATED:
		return f->route == ROUTE_UNIT;
	case STEP_TRANSLATOR:
		return f->route == ROUTE_NO_UNIT;
	default:
		return true;
	}
}

/* What a step that says yes has seen. */
static const char *
seen(const struct lane_facts *f, enum lane_step step)
{
	switch (step) {
	case STEP_FUNCTION:
		return "an endpoint";
	case STEP_RESET:
		return !f->resettable   ? "no reset method: nobody gets it after its owner" :
		    f->reset != NULL ? f->reset :
				       "it can be reset";
	case STEP_GROUP:
		return "its group can be claimed as one";
	case STEP_SERVICES:
		return "ATS, PRI and PASID read back as off";
	case STEP_DISCOVERED:
		if (f->route == ROUTE_NO_UNIT)
			return f->no_unit != NULL ? f->no_unit : "no IOMMU in its way";
		return f->unit != NULL ? f->unit : "an IOMMU in its way";
	case STEP_PROGRAMMED:
		return "its IOMMU is on, and its registers read back as written";
	case STEP_SYNCHRONISED:
		return "an invalidation went round";
	case STEP_RESERVED:
		return "firmware reserves no memory for it";
	case STEP_INTERRUPTS:
		return f->interrupt_isolation ?
		    "its message interrupts are checked against its id" :
		    "interrupt_isolation=none";
	case STEP_VALIDATED:
		return f->canary == CANARY_PASSED ? "validated" :
		    f->canary == CANARY_SILENT    ? "validated, silent" :
						    "programmed, not validated";
	case STEP_TRANSLATOR:
		return "the kernel checks its queues, and can see it stopped";
	case STEP_POLICY:
		return "allowed by the manifest";
	case STEP_ALL:
		break;
	}
	return "";
}

enum evidence
lane_evidence(
    const struct lane_facts *f, const struct lane_policy *p, enum lane_step step, const char **text)
{
	struct lane_policy all = *p;
	const char *no;

	*text = "";
	if (!is_asked(f, step))
		return EVIDENCE_NOT_ASKED;
	no = ask(f, p, step);
	all.consent_unvalidated = all.consent_silent = all.consent_interrupts = true;
	if (no != NULL && ask(f, &all, step) != NULL) {
		*text = no;
		return EVIDENCE_NO;
	}
	*text = seen(f, step);
	if (no != NULL || (step == STEP_RESET && !f->resettable) ||
	    (step == STEP_INTERRUPTS && !f->interrupt_isolation) ||
	    (step == STEP_VALIDATED && f->canary != CANARY_PASSED))
		return EVIDENCE_CONSENT;
	return EVIDENCE_YES;
}

static void
describe_direct(const struct lane_facts *f, struct lane_verdict *out)
{
	static const char *const label[] = {
		[CANARY_NOT_RUN] = "programmed, not validated (consent)",
		[CANARY_FAILED]  = "",
		[CANARY_SILENT]  = "validated, silent (consent)",
		[CANARY_PASSED]  = "validated",
		[CANARY_PENDING] = "",
	};

	out->last = !f->resettable;
	out->consent = out->last || !f->interrupt_isolation || f->canary != CANARY_PASSED;
	fmt_buf(out->text, sizeof(out->text), "direct-remapping by %s: %s; doorbells %s%s%s%s",
	    f->unit != NULL ? f->unit : "its unit", label[f->canary],
	    out->doorbell == DOORBELL_MAPPED ? "mapped" : "mediated",
	    f->resettable ? "" : "; reset=none (consent)",
	    f->interrupt_isolation ? "" : "; interrupt_isolation=none (consent)",
	    f->fault_log ? "" : "; fault_reporting=none");
}

void
lane_decide(const struct lane_facts *f, const struct lane_policy *p, struct lane_verdict *out)
{
	*out = (struct lane_verdict){ .lane = LANE_UNSUPPORTED, .doorbell = DOORBELL_MEDIATED };
	for (enum lane_step step = STEP_FUNCTION; step < STEP_ALL;
	    step = (enum lane_step)(step + 1)) {
		const char *no = is_asked(f, step) ? ask(f, p, step) : NULL;

		if (no != NULL) {
			out->step = step;
			out->reason = no;
			if (step == STEP_TRANSLATOR && f->no_unit != NULL)
				fmt_buf(out->text, sizeof(out->text), "unsupported: %s (%s)", no,
				    f->no_unit);
			else
				fmt_buf(out->text, sizeof(out->text), "unsupported: %s", no);
			return;
		}
	}
	out->step = STEP_ALL;
	if (f->route == ROUTE_UNIT) {
		out->lane = LANE_DIRECT;
		/* What the kernel cannot check it cannot mediate; the unit is the guard either way.
		 */
		if (p->mapped_doorbells || !f->translator)
			out->doorbell = DOORBELL_MAPPED;
		describe_direct(f, out);
		return;
	}
	out->lane = LANE_BROKERED;
	fmt_buf(out->text, sizeof(out->text),
	    "brokered: no IOMMU in its way: its driver is contained; hostile_hardware_isolation=not-claimed%s",
	    f->interrupt_isolation ? "" : "; interrupt_isolation=none");
}

const char *
lane_step_text(enum lane_step s)
{
	static const char *const text[] = {
		"function",
		"reset",
		"group",
		"services",
		"discovered",
		"programmed",
		"synchronised",
		"reserved",
		"interrupts",
		"validated",
		"translator",
		"policy",
		"all",
	};

	static_assert(ARRAY_SIZE(text) == STEP_ALL + 1);
	return s <= STEP_ALL ? text[s] : "unknown";
}
