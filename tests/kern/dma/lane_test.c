/*
 * kern/dma/lane.c: every combination of facts and policy.
 *
 * Requirements: E1 E3 S1 S3 M3
 *
 * LINK: kern/dma/lane.c kern/base/fmt.c kern/base/str.c
 */
#include <atf-c.h>
#include <string.h>

#include "kern/dma/lane.h"

/* Facts as bits: 13 booleans, then route (3), canary (5); policy: 7 booleans. */
enum { BOOLS = 13, POLICIES = 128, ROUTES = 3, CANARIES = 5 };

static bool *
fact(struct lane_facts *f, unsigned i)
{
	bool *const at[] = {
		&f->endpoint,
		&f->sound,
		&f->resettable,
		&f->group_whole,
		&f->services_off,
		&f->unreserved,
		&f->programmed,
		&f->synchronised,
		&f->unit_works,
		&f->fault_log,
		&f->interrupt_isolation,
		&f->translator,
		&f->quiesce,
	};

	static_assert(ARRAY_SIZE(at) == BOOLS);
	return at[i];
}

static struct lane_facts
facts_of(unsigned bits, enum lane_route route, enum lane_canary canary)
{
	struct lane_facts f = { .route = route, .canary = canary, .unit = "vtd0" };

	for (unsigned i = 0; i < BOOLS; i++)
		*fact(&f, i) = (bits >> i & 1) != 0;
	return f;
}

static struct lane_policy
policy_of(unsigned bits)
{
	return (struct lane_policy){
		.forbid_direct = bits & 1,
		.forbid_brokered = bits & 2,
		.consent_unvalidated = bits & 4,
		.consent_silent = bits & 8,
		.consent_interrupts = bits & 16,
		.mapped_doorbells = bits & 32,
		.consent_reset = bits & 64,
	};
}

static unsigned
rank(enum dma_lane l)
{
	return l == LANE_DIRECT ? 2 : l == LANE_BROKERED ? 1 : 0;
}

/* The design's sentences, said once more and differently. */
static enum dma_lane
by_hand(const struct lane_facts *f, const struct lane_policy *p)
{
	if (!(f->endpoint && f->sound && f->group_whole && f->services_off))
		return LANE_UNSUPPORTED;
	/* D7: never without a reset, but behind a unit, for one owner, by consent. */
	if (!f->resettable && !(f->route == ROUTE_UNIT && p->consent_reset))
		return LANE_UNSUPPORTED;
	if (f->route == ROUTE_NO_UNIT)
		return f->translator && f->quiesce && !p->forbid_brokered ? LANE_BROKERED :
									    LANE_UNSUPPORTED;
	if (f->route == ROUTE_UNIT && f->programmed && f->synchronised && f->unit_works &&
	    f->unreserved && !p->forbid_direct &&
	    (f->interrupt_isolation || p->consent_interrupts) &&
	    (f->canary == CANARY_PASSED || (f->canary == CANARY_SILENT && p->consent_silent) ||
		(f->canary == CANARY_NOT_RUN && p->consent_unvalidated &&
		    (f->fault_log || p->consent_silent))))
		return LANE_DIRECT;
	return LANE_UNSUPPORTED;
}

ATF_TC_WITHOUT_HEAD(every_combination_is_what_the_design_says);
ATF_TC_BODY(every_combination_is_what_the_design_says, tc)
{
	unsigned seen[3] = { 0 };

	for (unsigned bits = 0; bits < 1u << BOOLS; bits++)
		for (unsigned r = 0; r < ROUTES; r++)
			for (unsigned c = 0; c < CANARIES; c++)
				for (unsigned k = 0; k < POLICIES; k++) {
					struct lane_facts f =
					    facts_of(bits, (enum lane_route)r, (enum lane_canary)c);
					struct lane_policy p = policy_of(k);
					struct lane_verdict v;

					lane_decide(&f, &p, &v);
					if (v.lane != by_hand(&f, &p))
						atf_tc_fail(
						    "facts 0x%x route %u canary %u policy 0x%x: %s",
						    bits, r, c, k, v.text);
					seen[rank(v.lane)]++;
				}
	ATF_CHECK(seen[0] > 0 && seen[1] > 0 && seen[2] > 0);
}

/* D10 */
ATF_TC_WITHOUT_HEAD(less_evidence_never_raises_the_verdict);
ATF_TC_BODY(less_evidence_never_raises_the_verdict, tc)
{
	for (unsigned bits = 0; bits < 1u << BOOLS; bits++)
		for (unsigned r = 0; r < ROUTES; r++)
			for (unsigned k = 0; k < POLICIES; k += 7) {
				struct lane_facts f = facts_of(
						      bits, (enum lane_route)r, CANARY_PASSED),
						  g;
				struct lane_policy p = policy_of(k);
				struct lane_verdict v, w;

				lane_decide(&f, &p, &v);
				for (unsigned i = 0; i < BOOLS; i++) {
					if ((bits >> i & 1) == 0)
						continue;
					g = facts_of(
					    bits & ~(1u << i), (enum lane_route)r, CANARY_PASSED);
					lane_decide(&g, &p, &w);
					ATF_REQUIRE(rank(w.lane) <= rank(v.lane));
				}
				f.route = ROUTE_UNKNOWN;
				lane_decide(&f, &p, &w);
				ATF_REQUIRE_EQ(w.lane, LANE_UNSUPPORTED);
			}
}

ATF_TC_WITHOUT_HEAD(policy_never_raises_a_verdict_but_by_consent);
ATF_TC_BODY(policy_never_raises_a_verdict_but_by_consent, tc)
{
	for (unsigned bits = 0; bits < 1u << BOOLS; bits++)
		for (unsigned c = 0; c < CANARIES; c++)
			for (unsigned k = 0; k < POLICIES; k++) {
				struct lane_facts f =
				    facts_of(bits, ROUTE_UNIT, (enum lane_canary)c);
				struct lane_policy p = policy_of(k), strict = { 0 };
				struct lane_verdict v, w;

				lane_decide(&f, &p, &v);
				lane_decide(&f, &strict, &w);
				ATF_REQUIRE(rank(v.lane) <= rank(w.lane) || v.consent);
				if (v.consent)
					ATF_REQUIRE(strstr(v.text, "consent") != NULL);
				if (c == CANARY_FAILED || c == CANARY_PENDING)
					ATF_REQUIRE_EQ(v.lane, LANE_UNSUPPORTED);
			}
}

ATF_TC_WITHOUT_HEAD(nothing_known_is_unsupported);
ATF_TC_BODY(nothing_known_is_unsupported, tc)
{
	for (unsigned k = 0; k < POLICIES; k++) {
		struct lane_facts f = { 0 };
		struct lane_policy p = policy_of(k);
		struct lane_verdict v;

		lane_decide(&f, &p, &v);
		ATF_CHECK_EQ(v.lane, LANE_UNSUPPORTED);
		ATF_CHECK_EQ(v.step, STEP_FUNCTION);
	}
}

static const struct lane_facts best = {
	.endpoint = true,
	.sound = true,
	.resettable = true,
	.group_whole = true,
	.services_off = true,
	.unreserved = true,
	.route = ROUTE_UNIT,
	.programmed = true,
	.synchronised = true,
	.unit_works = true,
	.fault_log = true,
	.interrupt_isolation = true,
	.canary = CANARY_PASSED,
	.translator = true,
	.quiesce = true,
	.unit = "smmu0",
};

static void
decides(struct lane_facts f, struct lane_policy p, enum lane_step step, const char *text)
{
	struct lane_verdict v;

	lane_decide(&f, &p, &v);
	ATF_CHECK_EQ_MSG(v.step, step, "%s, not %s", lane_step_text(v.step), lane_step_text(step));
	ATF_CHECK_STREQ(v.text, text);
	ATF_CHECK_EQ(v.lane == LANE_UNSUPPORTED, strncmp(text, "unsupported: ", 13) == 0);
	ATF_CHECK(strlen(v.text) < sizeof(v.text) - 1);
}

#define WITHOUT(field) ({ struct lane_facts f_ = best; f_.field = 0; f_; })
#define WITH(field, value) ({ struct lane_facts f_ = best; f_.field = (value); f_; })

ATF_TC_WITHOUT_HEAD(the_step_that_decided_is_named);
ATF_TC_BODY(the_step_that_decided_is_named, tc)
{
	struct lane_policy none = { 0 },
			   all = { .consent_unvalidated = true,
				   .consent_silent = true,
				   .consent_interrupts = true };
	struct lane_facts f = best;

	decides(WITHOUT(endpoint), all, STEP_FUNCTION, "unsupported: a bridge or the kernel's own");
	decides(WITHOUT(sound), all, STEP_FUNCTION, "unsupported: quarantined");
	decides(WITHOUT(resettable), all, STEP_RESET, "unsupported: no reset method");
	decides(WITHOUT(resettable), (struct lane_policy){ .consent_reset = true }, STEP_ALL,
	    "direct-remapping by smmu0: validated; doorbells mediated; reset=none (consent)");
	f = WITHOUT(resettable);
	f.route = ROUTE_NO_UNIT;
	decides(f, (struct lane_policy){ .consent_reset = true }, STEP_RESET,
	    "unsupported: no reset method");
	f = best;
	decides(WITHOUT(group_whole), all, STEP_GROUP,
	    "unsupported: its isolation group cannot be claimed as one");
	decides(WITHOUT(services_off), all, STEP_SERVICES,
	    "unsupported: its translation services (ATS, PRI, PASID) are not off");
	decides(WITHOUT(route), all, STEP_DISCOVERED,
	    "unsupported: its way to memory is not described");
	f.route = ROUTE_UNKNOWN;
	f.no_unit = "no DMAR unit covers it";
	decides(f, all, STEP_DISCOVERED, "unsupported: no DMAR unit covers it");
	decides(WITHOUT(programmed), all, STEP_PROGRAMMED, "unsupported: its IOMMU is not in use");
	decides(WITHOUT(unit_works), all, STEP_PROGRAMMED, "unsupported: its IOMMU is broken");
	decides(WITHOUT(synchronised), all, STEP_SYNCHRONISED,
	    "unsupported: its IOMMU did not complete an invalidation");
	decides(WITHOUT(unreserved), all, STEP_RESERVED,
	    "unsupported: firmware reserves memory for it");
	decides(WITHOUT(interrupt_isolation), none, STEP_INTERRUPTS,
	    "unsupported: interrupt_isolation=none, and the manifest does not consent");
	decides(WITHOUT(canary), none, STEP_VALIDATED,
	    "unsupported: programmed, not validated, and the manifest does not consent");
	f = WITHOUT(canary);
	f.fault_log = false;
	decides(f, (struct lane_policy){ .consent_unvalidated = true }, STEP_VALIDATED,
	    "unsupported: fault_reporting=none, and the manifest does not consent");
	decides(f, all, STEP_ALL,
	    "direct-remapping by smmu0: programmed, not validated (consent); doorbells mediated; fault_reporting=none");
	decides(WITH(canary, CANARY_SILENT), none, STEP_VALIDATED,
	    "unsupported: validated, silent, and the manifest does not consent");
	f = WITH(canary, CANARY_SILENT);
	f.fault_log = false;
	decides(f, none, STEP_VALIDATED,
	    "unsupported: fault_reporting=none, and the manifest does not consent");
	decides(f, all, STEP_ALL,
	    "direct-remapping by smmu0: validated, silent (consent); doorbells mediated; fault_reporting=none");
	decides(WITH(canary, CANARY_PENDING), all, STEP_VALIDATED,
	    "unsupported: the live test is not made yet");
	decides(WITH(canary, CANARY_FAILED), all, STEP_VALIDATED,
	    "unsupported: its IOMMU failed the live test");
	f = WITH(canary, CANARY_FAILED);
	f.canary_why = "its accesses bypass its IOMMU";
	decides(f, all, STEP_VALIDATED, "unsupported: its accesses bypass its IOMMU");
	decides(best, (struct lane_policy){ .forbid_direct = true }, STEP_POLICY,
	    "unsupported: forbidden by the manifest");
	decides(best, none, STEP_ALL, "direct-remapping by smmu0: validated; doorbells mediated");
	decides(WITHOUT(fault_log), none, STEP_ALL,
	    "direct-remapping by smmu0: validated; doorbells mediated; fault_reporting=none");
	decides(WITH(canary, CANARY_SILENT), all, STEP_ALL,
	    "direct-remapping by smmu0: validated, silent (consent); doorbells mediated");

	f = best;
	f.route = ROUTE_NO_UNIT;
	decides(f, none, STEP_ALL,
	    "brokered: no IOMMU in its way: its driver is contained; hostile_hardware_isolation=not-claimed");
	decides(f, (struct lane_policy){ .forbid_brokered = true }, STEP_POLICY,
	    "unsupported: forbidden by the manifest");
	f.interrupt_isolation = false;
	decides(f, none, STEP_ALL,
	    "brokered: no IOMMU in its way: its driver is contained; hostile_hardware_isolation=not-claimed; interrupt_isolation=none");
	f.translator = false;
	decides(f, all, STEP_TRANSLATOR,
	    "unsupported: no IOMMU in its way, and no translator for its class");
	f.translator = true;
	f.quiesce = false;
	decides(f, all, STEP_TRANSLATOR,
	    "unsupported: no IOMMU in its way, and no way to see it stopped");
	f.no_unit = "firmware's id map leads it to no IOMMU";
	decides(f, all, STEP_TRANSLATOR,
	    "unsupported: no IOMMU in its way, and no way to see it stopped (firmware's id map leads it to no IOMMU)");
	f = best;
	f.problem = "a header of unknown type";
	decides(f, all, STEP_FUNCTION, "unsupported: a header of unknown type");
}

/* Each step speaks for itself, and together they are the verdict. */
ATF_TC_WITHOUT_HEAD(the_evidence_of_the_steps_is_the_verdict);
ATF_TC_BODY(the_evidence_of_the_steps_is_the_verdict, tc)
{
	for (unsigned bits = 0; bits < 1u << BOOLS; bits++)
		for (unsigned r = 0; r < ROUTES; r++)
			for (unsigned k = 0; k < POLICIES; k += 3) {
				struct lane_facts f = facts_of(
				    bits, (enum lane_route)r, (enum lane_canary)(bits % CANARIES));
				struct lane_policy p = policy_of(k), all = p;
				bool no = false, consent = false;
				struct lane_verdict v, w;

				all.consent_unvalidated = all.consent_silent =
				    all.consent_interrupts = true;
				lane_decide(&f, &p, &v);
				lane_decide(&f, &all, &w);
				for (enum lane_step s = STEP_FUNCTION; s < STEP_ALL;
				    s = (enum lane_step)(s + 1)) {
					const char *text;
					enum evidence e = lane_evidence(&f, &p, s, &text);

					ATF_REQUIRE_EQ(e == EVIDENCE_NOT_ASKED, text[0] == 0);
					if (s == w.step) {
						ATF_REQUIRE_EQ(e, EVIDENCE_NO);
						ATF_REQUIRE(!no);	/* none before it said so */
					}
					no |= e == EVIDENCE_NO;
					consent |= e == EVIDENCE_CONSENT;
				}
				ATF_REQUIRE_EQ(no, w.lane == LANE_UNSUPPORTED);
				ATF_REQUIRE(no || consent || v.lane == w.lane);
				if (v.lane == LANE_DIRECT)
					ATF_REQUIRE_EQ(consent, v.consent);
				ATF_REQUIRE_EQ(v.reason != NULL, v.lane == LANE_UNSUPPORTED);
			}
}

/* A class that has nothing, behind a unit without interrupt remapping. */
ATF_TC_WITHOUT_HEAD(a_bare_class_is_direct_with_its_gaps_on_the_label);
ATF_TC_BODY(a_bare_class_is_direct_with_its_gaps_on_the_label, tc)
{
	struct lane_facts f = best;
	struct lane_policy p = { .consent_unvalidated = true, .consent_interrupts = true };
	struct lane_verdict v;

	f.unit = "vtd0";
	f.translator = f.quiesce = f.interrupt_isolation = false;
	f.canary = CANARY_NOT_RUN;
	decides(f, p, STEP_ALL,
	    "direct-remapping by vtd0: programmed, not validated (consent); doorbells mapped; "
	    "interrupt_isolation=none (consent)");
	lane_decide(&f, &p, &v);
	ATF_CHECK(v.consent);
	ATF_CHECK_EQ(v.doorbell, DOORBELL_MAPPED); /* no translator: the unit alone is the guard */
}

ATF_TC_WITHOUT_HEAD(doorbells_are_mediated_unless_chosen_or_impossible);
ATF_TC_BODY(doorbells_are_mediated_unless_chosen_or_impossible, tc)
{
	struct lane_facts f = best;
	struct lane_policy p = { 0 };
	struct lane_verdict v;

	lane_decide(&f, &p, &v);
	ATF_CHECK_EQ(v.doorbell, DOORBELL_MEDIATED);
	p.mapped_doorbells = true;
	lane_decide(&f, &p, &v);
	ATF_CHECK_EQ(v.doorbell, DOORBELL_MAPPED);
	f.route = ROUTE_NO_UNIT;	/* never on the brokered lane */
	lane_decide(&f, &p, &v);
	ATF_CHECK_EQ(v.lane, LANE_BROKERED);
	ATF_CHECK_EQ(v.doorbell, DOORBELL_MEDIATED);
}

ATF_TC_WITHOUT_HEAD(every_step_has_a_name_of_its_own);
ATF_TC_BODY(every_step_has_a_name_of_its_own, tc)
{
	for (unsigned i = 0; i <= STEP_ALL; i++)
		for (unsigned k = 0; k < i; k++)
			ATF_CHECK(strcmp(lane_step_text((enum lane_step)i),
				      lane_step_text((enum lane_step)k)) != 0);
	ATF_CHECK_STREQ("unknown", lane_step_text((enum lane_step)(STEP_ALL + 1)));
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, every_step_has_a_name_of_its_own);
	ATF_TP_ADD_TC(tp, every_combination_is_what_the_design_says);
	ATF_TP_ADD_TC(tp, less_evidence_never_raises_the_verdict);
	ATF_TP_ADD_TC(tp, policy_never_raises_a_verdict_but_by_consent);
	ATF_TP_ADD_TC(tp, nothing_known_is_unsupported);
	ATF_TP_ADD_TC(tp, the_step_that_decided_is_named);
	ATF_TP_ADD_TC(tp, the_evidence_of_the_steps_is_the_verdict);
	ATF_TP_ADD_TC(tp, a_bare_class_is_direct_with_its_gaps_on_the_label);
	ATF_TP_ADD_TC(tp, doorbells_are_mediated_unless_chosen_or_impossible);
	return atf_no_error();
}
