/*
 * usr/lib/provider.c: who runs this machine, by the names that its owners document.
 *
 * LINK: usr/lib/provider.c
 */
#include <atf-c.h>
#include <string.h>

#include "usr/lib/provider.h"

ATF_TC_WITHOUT_HEAD(documented_names_are_known);
ATF_TC_BODY(documented_names_are_known, tc)
{
	ATF_CHECK_EQ(provider_of_maker("Amazon EC2"), PROVIDER_AWS);
	ATF_CHECK_EQ(provider_of_maker("Google"), PROVIDER_GOOGLE);
	ATF_CHECK_EQ(provider_of_maker("Microsoft Corporation"), PROVIDER_MICROSOFT);
	ATF_CHECK_EQ(provider_of_maker("QEMU"), PROVIDER_QEMU);
	ATF_CHECK_EQ(provider_of_model("AMAZON AMZNFACP"), PROVIDER_AWS);
	ATF_CHECK_EQ(provider_of_model("Google GOOGFACP"), PROVIDER_GOOGLE);
	ATF_CHECK_EQ(provider_of_model("VRTUAL MICROSFT"), PROVIDER_MICROSOFT);
	ATF_CHECK_EQ(provider_of_model("BOCHS  BXPC"), PROVIDER_QEMU);
	ATF_CHECK_EQ(provider_of_model("linux,dummy-virt"), PROVIDER_QEMU);
	ATF_CHECK_EQ(provider_of_vendor(0x1d0f), PROVIDER_AWS);
	ATF_CHECK_EQ(provider_of_vendor(0x1ae0), PROVIDER_GOOGLE);
	ATF_CHECK_EQ(provider_of_vendor(0x1414), PROVIDER_MICROSOFT);
	ATF_CHECK_EQ(provider_of_vendor(0x1b36), PROVIDER_QEMU);
}

/* Virtio and Intel are everywhere; a name within a name is not the name. */
ATF_TC_WITHOUT_HEAD(what_says_nothing_is_unknown);
ATF_TC_BODY(what_says_nothing_is_unknown, tc)
{
	ATF_CHECK_EQ(provider_of_vendor(0x1af4), PROVIDER_UNKNOWN);
	ATF_CHECK_EQ(provider_of_vendor(0x8086), PROVIDER_UNKNOWN);
	ATF_CHECK_EQ(provider_of_vendor(0xffff), PROVIDER_UNKNOWN);
	ATF_CHECK_EQ(provider_of_maker(""), PROVIDER_UNKNOWN);
	ATF_CHECK_EQ(provider_of_maker("Amazon"), PROVIDER_UNKNOWN);
	ATF_CHECK_EQ(provider_of_maker("not Google"), PROVIDER_UNKNOWN);
	ATF_CHECK_EQ(provider_of_model(""), PROVIDER_UNKNOWN);
	ATF_CHECK_EQ(provider_of_model("AMAZONIA"), PROVIDER_UNKNOWN);
	for (unsigned p = 0; p < 256; p++)
		ATF_CHECK(provider_text((enum provider)p)[0] != 0);
}

ATF_TC_WITHOUT_HEAD(a_product_is_a_type_only_where_its_maker_says_so);
ATF_TC_BODY(a_product_is_a_type_only_where_its_maker_says_so, tc)
{
	ATF_CHECK_STREQ(provider_instance(PROVIDER_AWS, "c7g.large"), "c7g.large");
	ATF_CHECK(provider_instance(PROVIDER_AWS, "") == NULL);
	ATF_CHECK(provider_instance(PROVIDER_GOOGLE, "Google Compute Engine") == NULL);
	ATF_CHECK(provider_instance(PROVIDER_UNKNOWN, "c7g.large") == NULL);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, documented_names_are_known);
	ATF_TP_ADD_TC(tp, what_says_nothing_is_unknown);
	ATF_TP_ADD_TC(tp, a_product_is_a_type_only_where_its_maker_says_so);
	return atf_no_error();
}
