/*
 * The verdict over a device: facts are gathered here, kern/dma/lane.c decides.
 *
 * Each fact is looked at when it is asked for: configuration registers are read again, a unit that
 * broke since says so.
 */
#include "kern/device_parts.h"
#include "kern/device_queue.h"
#include "kern/abi/syscall.h"
#include "kern/base/fmt.h"
#include "kern/dma/unit.h"
#include "kern/log.h"

/* All of the group can be claimed together, behind one unit. */
static bool
group_is_whole(const struct pci_function *f)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < pci_count; i++) {
		const struct pci_function *g = &pci_functions[i];

		if (g->group != f->group)
			continue;
		if (g->bridge || g->problem != NULL || g->unit != f->unit ||
		    ++n > GROUP_FUNCTIONS_MAX)
			return false;
	}
	return true;
}

void
device_facts(const struct pci_function *f, struct lane_facts *out)
{
	const struct iommu_unit *u = f->unit >= 0 ? iommu_by_index((uint32_t)f->unit) : NULL;
	const char *reset = pci_reset_method(f);
	enum lane_canary canary =
	    device_canary_pending(f) ? CANARY_PENDING : (enum lane_canary)load_acquire(&f->canary);

	*out = (struct lane_facts){
		.endpoint = !f->bridge,
		.sound = !f->never,
		.resettable = reset != NULL,
		.group_whole = group_is_whole(f),
		/* Where they cannot be seen they count as on, unless nothing translates. */
		.services_off = pci_services_off(f) && (!f->ports || !f->pcie || f->unit_absent),
		.unreserved = !f->reserved,
		.route = f->unit >= 0 ? ROUTE_UNIT :
		    f->unit_absent    ? ROUTE_NO_UNIT :
					ROUTE_UNKNOWN,
		.canary = canary,
		.canary_why = canary == CANARY_FAILED ? f->canary_why : NULL,
		.translator = device_class(f) != NULL,
		.quiesce = device_class(f) != NULL,
		.problem = f->problem != NULL ? f->problem : f->unfit,
		.no_unit = f->no_unit,
		.reset = reset,
	};
	if (u == NULL)
		return;
	/* A unit is in the list when its registers were read back as written; its first flush is
	 * one of its syncs. */
	out->unit = u->name;
	out->programmed = true;
	out->synchronised = u->counters.syncs != 0;
	out->unit_works = !load_relaxed(&u->broken);
	out->fault_log = u->facts.fault_log;
	out->interrupt_isolation = u->facts.interrupt_isolation;
}

void
device_policy(uint32_t claim_flags, struct lane_policy *out)
{
	*out = (struct lane_policy){
		.forbid_direct = (claim_flags & CLAIM_FORBID_DIRECT) != 0,
		.forbid_brokered = (claim_flags & CLAIM_FORBID_BROKERED) != 0,
		.consent_unvalidated = (claim_flags & CLAIM_CONSENT_UNVALIDATED) != 0,
		.consent_silent = (claim_flags & CLAIM_CONSENT_SILENT) != 0,
		.consent_interrupts = (claim_flags & CLAIM_CONSENT_INTERRUPTS) != 0,
		.consent_reset = (claim_flags & CLAIM_CONSENT_RESET) != 0,
		.mapped_doorbells = (claim_flags & CLAIM_MAPPED_DOORBELLS) != 0,
	};
}

/* All but the one for tests, whose devices are "unsupported" until somebody claims them with it. */
static const struct lane_policy all_consent = {
	.consent_unvalidated = true, .consent_silent = true, .consent_interrupts = true,
};

void
device_facts_at_best(const struct pci_function *f, struct lane_facts *out)
{
	device_facts(f, out);
	if (out->canary == CANARY_PENDING)
		out->canary = out->fault_log ? CANARY_PASSED : CANARY_SILENT;
}

void
device_verdict_at_most(const struct pci_function *f, struct lane_verdict *out)
{
	struct lane_policy policy = all_consent;
	struct lane_facts facts;

	spin_lock(&device_claim_lock);
	policy.consent_reset = f->claimed != NULL && f->claimed->policy.consent_reset;
	spin_unlock(&device_claim_lock);
	device_facts_at_best(f, &facts);
	lane_decide(&facts, &policy, out);
}

enum evidence
device_evidence(const struct pci_function *f, enum lane_step step, const char **text)
{
	struct lane_policy policy = all_consent;
	struct lane_facts facts;
	bool claimed;

	spin_lock(&device_claim_lock);
	claimed = f->claimed != NULL;
	if (claimed)
		policy = f->claimed->policy;
	spin_unlock(&device_claim_lock);
	if (step == STEP_POLICY && !claimed) {	/* nobody has said anything yet */
		*text = "";
		return EVIDENCE_NOT_ASKED;
	}
	device_facts(f, &facts);
	if (step == STEP_VALIDATED && facts.canary == CANARY_PENDING) {
		*text = "";
		return EVIDENCE_NOT_ASKED;
	}
	return lane_evidence(&facts, &policy, step, text);
}

void
devices_report(void)
{
	static const char *const word[] = {
		[EVIDENCE_YES] = "yes", [EVIDENCE_CONSENT] = "by consent", [EVIDENCE_NO] = "no",
	};
	static const char *const lane[] = {
		[LANE_UNSUPPORTED] = "unsupported",
		[LANE_DIRECT] = "direct-remapping",
		[LANE_BROKERED] = "brokered",
	};

	for (uint32_t i = 0; i < pci_count; i++) {
		const struct pci_function *f = &pci_functions[i];
		struct lane_verdict v;
		char line[256];
		size_t n = 0;

		if (f->bridge)
			continue;
		device_verdict_at_most(f, &v);
		for (enum lane_step s = STEP_FUNCTION; s < STEP_POLICY;
		    s = (enum lane_step)(s + 1)) {
			const char *text;
			enum evidence e = device_evidence(f, s, &text);

			if (e != EVIDENCE_NOT_ASKED && n < sizeof(line))
				n += fmt_buf(line + n, sizeof(line) - n, "%s%s %s",
				    n == 0 ? "" : ", ", lane_step_text(s), word[e]);
			if (s == v.step)
				break;
		}
		log_info("device %02x:%02x.%x: %s: %s%s%s", f->rid >> 8, f->rid >> 3 & 31,
		    f->rid & 7, line, v.reason == NULL ? "at most " : "",
		    v.reason == NULL ? lane[v.lane] : v.text,
		    v.reason == NULL ? ", as the manifest says" : "");
	}
}
