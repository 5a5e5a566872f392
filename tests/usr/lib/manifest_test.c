/*
 * usr/lib/manifest.c: the manifest that we boot with, and manifests that are wrong in one place
 * each.
 *
 * Requirements: A1 N2
 *
 * LINK: usr/lib/manifest.c usr/lib/disk_range.c kern/machine/fdt.c kern/base/fmt.c
 * LINK: kern/base/str.c
 * LINK: tests/lib/fdt_build.c
 */
#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fdt_build.h"
#include "usr/lib/disk_range.h"
#include "usr/lib/manifest.h"

static const uint8_t standard[] = {
#embed "../../../build/dts/manifest.dtb"
};

static struct fdt_build b;
static struct manifest m;
static char said[4096];
static unsigned lines;

static void
say(void *arg, const char *line)
{
	ATF_REQUIRE(arg == &m);
	ATF_REQUIRE(strlen(line) < MANIFEST_LINE);
	for (const char *p = line; *p != 0; p++)
		ATF_REQUIRE(*p >= ' ' && *p <= '~');
	strcat(said, line);
	strcat(said, "\n");
	lines++;
}

static enum status
read_blob(const void *blob, size_t len)
{
	said[0] = 0;
	lines = 0;
	return manifest_read(&m, blob, len, say, &m);
}

/* "/ { FOLDER { x { program = "x"; ... " is open. */
static void
begin(const char *folder)
{
	memset(&b, 0, sizeof(b));
	fb_begin(&b, "");
	fb_begin(&b, folder);
	fb_begin(&b, "x");
	fb_string(&b, "program", "x");
}

/* Closes what begin opened, with a second node "y" that is right, and reads it. */
static void
end(const char *folder)
{
	size_t len;
	uint8_t *blob;

	fb_end(&b);
	fb_begin(&b, "y");
	fb_string(&b, "program", "y");
	if (strcmp(folder, "drivers") == 0)
		fb_cell(&b, "class", 0x020000);
	fb_end(&b);
	fb_end(&b);
	fb_end(&b);
	blob = fb_blob(&b, &len);
	ATF_REQUIRE_EQ(read_blob(blob, len), OK);
}

/* The node "x" was left out with one line that has these words, and "y" stands. */
static void
refused(const char *folder, const char *words)
{
	bool drivers = strcmp(folder, "drivers") == 0;

	end(folder);
	ATF_CHECK_EQ_MSG(lines, 1, "%s", said);
	ATF_CHECK_EQ(m.refused, 1);
	ATF_CHECK_MSG(strstr(said, words) != NULL, "no \"%s\" in: %s", words, said);
	ATF_REQUIRE_EQ(drivers ? m.driver_count : m.service_count, 1);
	ATF_CHECK_STREQ(drivers ? m.driver[0].task.node : m.service[0].task.node, "y");
}

ATF_TC_WITHOUT_HEAD(the_default_manifest_is_read_without_a_complaint);
ATF_TC_BODY(the_default_manifest_is_read_without_a_complaint, tc)
{
	const struct manifest_service *s = m.service;
	const struct manifest_driver *d = m.driver;

	ATF_REQUIRE_EQ(read_blob(standard, sizeof(standard)), OK);
	ATF_CHECK_STREQ(said, "");
	ATF_REQUIRE_EQ(m.refused, 0);
	ATF_REQUIRE(m.service_count >= 2 && m.driver_count >= 1);
	ATF_CHECK_STREQ(s[0].task.program, "devmgr");
	ATF_CHECK_STREQ(s[0].serves, "devmgr");
	ATF_CHECK_EQ(s[0].task.caps, CAP_DEVICES | CAP_INFO | CAP_LOG | CAP_ARCHIVE | CAP_KEEP);
	ATF_CHECK_EQ(s[0].task.restart.kind, RESTART_ALWAYS);
	ATF_CHECK_STREQ(s[1].task.program, "shell");
	ATF_CHECK_STREQ(s[1].uses[0], "devmgr");
	ATF_CHECK_STREQ(s[1].uses[1], "tcpip");
	ATF_CHECK(s[1].uses[2] == NULL);
	/* Only the TCP/IP service learns what others may do with sockets. */
	for (uint32_t i = 0; i < m.service_count; i++)
		ATF_CHECK_EQ((s[i].task.caps & CAP_SOCKETS) != 0,
		    s[i].serves != NULL && strcmp(s[i].serves, "tcpip") == 0);
	/* Only the shell has whole disks, and only it and the TCP/IP service packets. */
	for (uint32_t i = 0; i < m.service_count; i++) {
		bool shell = strcmp(s[i].task.program, "shell") == 0;

		ATF_CHECK_EQ((s[i].task.caps & CAP_ALL_DISKS) != 0, shell);
		ATF_CHECK_EQ((s[i].task.caps & CAP_PACKETS) != 0,
		    shell || strcmp(s[i].task.program, "tcpip") == 0);
		ATF_CHECK_EQ((s[i].task.caps & CAP_CONTROL) != 0, shell);
	}
	ATF_CHECK_EQ(s[1].task.caps & (CAP_DEVICES | CAP_KEEP | CAP_ARCHIVE), 0);
	ATF_CHECK_STREQ(d[0].task.program, "nvmed");
	ATF_CHECK_EQ(d[0].provides, PROVIDES_BLOCK);
	ATF_CHECK(manifest_matches(&d[0], 0x010802, 0x1d0f, 0x8061));
	ATF_CHECK(!manifest_matches(&d[0], 0x010601, 0x1d0f, 0x8061));
}

ATF_TC_WITHOUT_HEAD(ports_to_listen_on_are_listed);
ATF_TC_BODY(ports_to_listen_on_are_listed, tc)
{
	begin("services");
	FB_CELLS(&b, "listen", 80, 65535);
	fb_prop(&b, "capabilities", "connect\0sockets", 16);
	end("services");
	ATF_CHECK_EQ(m.refused, 0);
	ATF_CHECK_EQ(m.service[0].listen.count, 2);
	ATF_CHECK_EQ(m.service[0].listen.v[1], 65535);
	ATF_CHECK_EQ(m.service[0].task.caps, CAP_CONNECT | CAP_SOCKETS);
	begin("services");
	FB_CELLS(&b, "listen", 80, 65536);
	refused("services", "listen: 65536 is not in 1 .. 65535");
}

ATF_TC_WITHOUT_HEAD(disk_ranges_are_read_as_they_are_written);
ATF_TC_BODY(disk_ranges_are_read_as_they_are_written, tc)
{
	static const char *const bad[] = { "", "a", "a=", "=nvme0n1", "a=nvme0", "a=nvme0n0",
		"a=nvme0n1025", "a=nvme256n1", "a=sda", "a=nvme0n1@1M", "a=nvme0n1@1M+",
		"a=nvme0n1@1M+0", "a=nvme0n1+1M", "a=nvme0n1,rw", "a=nvme0n1,ro,ro", "a=nvme0n1 ",
		"a=nvme0n1@1P+1M", "a=nvme0n1@99999999999T+1", "a=nvme0n1@18446744073709551615+1",
		"a-name-that-has-more-than-31-bytes=nvme0n1" };
	struct disk_range r;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ATF_CHECK_MSG(!disk_range_parse(bad[i], &r), "%s", bad[i]);
	ATF_REQUIRE(disk_range_parse("disk=nvme0n1", &r));
	ATF_CHECK_STREQ(r.name, "disk");
	ATF_CHECK(r.controller == 0 && r.space == 0 && r.base == 0 && r.len == 0 && !r.read_only);
	ATF_REQUIRE(disk_range_parse("b=disk12n3@512+64M,ro", &r));
	ATF_CHECK(r.controller == 12 && r.space == 2 && r.base == 512 && r.len == 64ull << 20);
	ATF_CHECK(r.read_only);
	begin("services");
	fb_prop(&b, "disks", "a=nvme0n1\0b=nvme1n1@1K+2G", 26);
	end("services");
	ATF_REQUIRE_EQ_MSG(lines, 0, "%s", said);
	ATF_CHECK_STREQ(m.service[0].disks[1], "b=nvme1n1@1K+2G");
	ATF_CHECK(m.service[0].disks[2] == NULL);
	begin("services");
	fb_string(&b, "disks", "a=nvme0n1@0+1Q");
	refused("services", "disks: \"a=nvme0n1@0+1Q\" is none; NAME=DISK");
	begin("services");
	fb_prop(&b, "disks", "a=nvme0n1\0a=nvme0n1\0a=nvme0n1\0a=nvme0n1\0a=nvme0n1\0a=nvme0n1\0"
	    "a=nvme0n1\0a=nvme0n1\0a=nvme0n1", 90);
	refused("services", "disks: more than 8 names");
}

ATF_TC_WITHOUT_HEAD(every_property_arrives);
ATF_TC_BODY(every_property_arrives, tc)
{
	const struct manifest_driver *d = &m.driver[0];

	begin("drivers");
	fb_string(&b, "args", "a b");
	fb_cell(&b, "priority", 17);
	fb_cell(&b, "pages", 100);
	fb_cell(&b, "objects", 50);
	fb_prop(&b, "capabilities", "info\0log", 9);
	fb_string(&b, "restart", "limit");
	fb_cell(&b, "restart-limit", 3);
	FB_CELLS(&b, "backoff-ms", 5, 80);
	fb_cell(&b, "stable-ms", 700);
	FB_CELLS(&b, "class", 0x010802, 0x010800);
	fb_cell(&b, "class-mask", 0xffff00);
	FB_CELLS(&b, "ids", 0x1d0f, 0xcd01, 0x1af4, 0x1042);
	fb_string(&b, "provides", "net");
	fb_string(&b, "direct_dma", "forbidden");
	fb_string(&b, "bounce_buffer", "forbidden");
	fb_string(&b, "trusted_domain", "none");
	fb_string(&b, "doorbell", "mapped");
	fb_prop(&b, "consent", "fault-reporting-none\0reset-none\0not-validated", 46);
	fb_string(&b, "on-fault", "restart");
	fb_cell(&b, "fault-limit", 9);
	end("drivers");
	ATF_REQUIRE_EQ_MSG(lines, 0, "%s", said);
	ATF_REQUIRE_EQ(m.driver_count, 2);
	ATF_CHECK_STREQ(d->task.node, "x");
	ATF_CHECK_STREQ(d->task.program, "x");
	ATF_CHECK_STREQ(d->task.args, "a b");
	ATF_CHECK(d->task.priority == 17 && d->task.pages == 100 && d->task.objects == 50);
	ATF_CHECK_EQ(d->task.caps, CAP_INFO | CAP_LOG);
	ATF_CHECK(d->task.restart.kind == RESTART_LIMIT && d->task.restart.limit == 3);
	ATF_CHECK(d->task.restart.backoff_ms[0] == 5 && d->task.restart.backoff_ms[1] == 80);
	ATF_CHECK_EQ(d->task.restart.stable_ms, 700);
	ATF_CHECK(d->classes.count == 2 && d->class_mask == 0xffff00 && d->ids.count == 4);
	ATF_CHECK_EQ(d->provides, PROVIDES_NET);
	ATF_CHECK(d->direct_dma == POLICY_BLOCKED && d->bounce_buffer == POLICY_BLOCKED);
	ATF_CHECK_EQ(d->doorbell, POLICY_MAPPED);
	ATF_CHECK_EQ(d->consent, CONSENT_SILENT | CONSENT_RESET | CONSENT_NOT_VALIDATED);
	ATF_CHECK(d->on_fault == ON_FAULT_RESTART && d->fault_limit == 9);
	ATF_CHECK(manifest_matches(d, 0x010899, 0, 0));
	ATF_CHECK(manifest_matches(d, 0x020000, 0x1af4, 0x1042));
	ATF_CHECK(!manifest_matches(d, 0x020000, 0x1af4, 0xcd01));
	/* Defaults: nothing is consented to, nothing is mapped. */
	d++;
	ATF_CHECK(d->consent == 0 && d->doorbell == POLICY_MEDIATED && d->task.caps == 0);
	ATF_CHECK(d->direct_dma == POLICY_ALLOWED && d->bounce_buffer == POLICY_ALLOWED &&
	    d->provides == PROVIDES_NOTHING);
	ATF_CHECK(d->task.restart.kind == RESTART_LIMIT && d->task.restart.limit != 0);
	ATF_CHECK_STREQ(d->task.args, "");
}

#define REFUSED(name, folder, words, statement)					\
ATF_TC_WITHOUT_HEAD(name);							\
ATF_TC_BODY(name, tc)								\
{										\
	begin(folder);								\
	statement;								\
	refused(folder, words);							\
}

REFUSED(an_unknown_property_is_named, "services", "/services/x: priorty: unknown property",
    fb_cell(&b, "priorty", 3))
REFUSED(a_drivers_property_is_unknown_in_a_service, "services", "/services/x: doorbell: unknown",
    fb_string(&b, "doorbell", "mapped"))
REFUSED(a_property_twice_is_named, "services", "/services/x: program: is there twice",
    fb_string(&b, "program", "z"))
REFUSED(a_number_must_be_a_cell, "services", "/services/x: pages: must be one number",
    fb_string(&b, "pages", "12"))
REFUSED(a_number_must_be_one_cell, "services", "/services/x: pages: must be one number",
    FB_CELLS(&b, "pages", 100, 200))
REFUSED(a_number_has_bounds, "services", "/services/x: priority: 30 is not in 1 .. 24",
    fb_cell(&b, "priority", 30))
REFUSED(a_string_must_end, "services", "/services/x: args: must be a string",
    fb_prop(&b, "args", "abc", 3))
REFUSED(a_string_must_not_be_a_list, "services", "/services/x: args: must be one string",
    fb_prop(&b, "args", "a\0b", 4))
REFUSED(a_string_must_be_printable, "services", "/services/x: args: must have",
    fb_string(&b, "args", "a\x1b[2J"))
REFUSED(a_program_name_has_a_length, "services", "/services/x: serves: must have",
    fb_string(&b, "serves", "a-name-that-is-too-long"))
REFUSED(a_word_must_be_known, "services", "\"sometimes\" is not known; valid: always, never, limit",
    fb_string(&b, "restart", "sometimes"))
REFUSED(a_capability_must_be_known, "services", "/services/x: capabilities: \"root\" is not known",
    fb_prop(&b, "capabilities", "log\0root", 9))
REFUSED(the_backoff_must_not_shrink, "services",
    "/services/x: backoff-ms: ", FB_CELLS(&b, "backoff-ms", 100, 50))
REFUSED(a_node_in_a_node_is_unknown, "services", "/services/x: unknown node \"deep\"",
    (fb_begin(&b, "deep"), fb_end(&b)))
REFUSED(too_many_uses, "services", "/services/x: uses: more than 4 names",
    fb_prop(&b, "uses", "a\0b\0c\0d\0e", 10))
REFUSED(a_driver_matches_something, "drivers", "/drivers/x: class: missing", (void)0)
REFUSED(ids_are_pairs, "drivers", "/drivers/x: ids: must be pairs", FB_CELLS(&b, "ids", 0x1af4))
REFUSED(a_class_has_24_bits, "drivers", "/drivers/x: class: 16777216 is not in",
    fb_cell(&b, "class", 0x1000000))
REFUSED(too_many_classes, "drivers", "/drivers/x: class: must be 1 to 16 numbers",
    FB_CELLS(&b, "class", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17))
REFUSED(no_driver_gets_the_machine, "drivers", "/drivers/x: capabilities: a driver may have",
    (fb_cell(&b, "class", 1), fb_string(&b, "capabilities", "devices")))
REFUSED(no_domain_is_trusted, "drivers", "trusted_domain: \"all\" is not known; valid: none",
    (fb_cell(&b, "class", 1), fb_string(&b, "trusted_domain", "all")))

ATF_TC_WITHOUT_HEAD(a_node_without_a_program_is_named);
ATF_TC_BODY(a_node_without_a_program_is_named, tc)
{
	memset(&b, 0, sizeof(b));
	fb_begin(&b, "");
	fb_begin(&b, "services");
	fb_begin(&b, "x");
	refused("services", "/services/x: program: missing");
}

ATF_TC_WITHOUT_HEAD(names_cannot_steer_a_terminal);
ATF_TC_BODY(names_cannot_steer_a_terminal, tc)
{
	begin("services");
	fb_cell(&b, "\x1b[2J\r\n", 1);
	refused("services", "/services/x: ?[2J??: unknown property");
}

ATF_TC_WITHOUT_HEAD(an_endpoint_has_one_server_and_must_exist);
ATF_TC_BODY(an_endpoint_has_one_server_and_must_exist, tc)
{
	size_t len;
	uint8_t *blob;

	memset(&b, 0, sizeof(b));
	fb_begin(&b, "");
	fb_begin(&b, "services");
	for (unsigned i = 0; i < 2; i++) {
		fb_begin(&b, i == 0 ? "a" : "b");
		fb_string(&b, "program", "p");
		fb_string(&b, "serves", "disks");
		fb_end(&b);
	}
	fb_begin(&b, "c");
	fb_string(&b, "program", "p");
	fb_prop(&b, "uses", "nobody\0disks", 13);
	fb_end(&b);
	fb_end(&b);
	fb_end(&b);
	blob = fb_blob(&b, &len);
	ATF_REQUIRE_EQ(read_blob(blob, len), OK);
	ATF_CHECK_EQ(lines, 2);
	ATF_CHECK(strstr(said, "/services/b: serves: a serves \"disks\" already") != NULL);
	ATF_CHECK(strstr(said, "/services/c: uses: no service serves \"nobody\"") != NULL);
	ATF_REQUIRE_EQ(m.service_count, 2);
	ATF_CHECK_STREQ(m.service[1].uses[0], "disks");
	ATF_CHECK(m.service[1].uses[1] == NULL);
}

ATF_TC_WITHOUT_HEAD(unknown_and_second_folders_are_named);
ATF_TC_BODY(unknown_and_second_folders_are_named, tc)
{
	static const char *const folder[] = { "services", "servces", "services", "drivers",
		"drivers" };
	size_t len;
	uint8_t *blob;

	memset(&b, 0, sizeof(b));
	fb_begin(&b, "");
	fb_cell(&b, "version", 1);
	for (unsigned i = 0; i < ARRAY_SIZE(folder); i++) {
		fb_begin(&b, folder[i]);
		if (i == 0)
			fb_cell(&b, "count", 1);
		fb_end(&b);
	}
	fb_end(&b);
	blob = fb_blob(&b, &len);
	ATF_REQUIRE_EQ(read_blob(blob, len), OK);
	ATF_CHECK_STREQ(said,
	    "manifest: /: version: unknown property\nmanifest: /services: count: unknown property\n"
	    "manifest: /: unknown node \"servces\"\nmanifest: /: second node \"services\"\nmanifest: /: second node \"drivers\"\n");
}

ATF_TC_WITHOUT_HEAD(more_nodes_than_there_is_room_for);
ATF_TC_BODY(more_nodes_than_there_is_room_for, tc)
{
	size_t len;
	uint8_t *blob;

	memset(&b, 0, sizeof(b));
	fb_begin(&b, "");
	for (unsigned k = 0; k < 2; k++) {
		fb_begin(&b, k == 0 ? "services" : "drivers");
		for (unsigned i = 0; i < MANIFEST_SERVICES + 2; i++) {
			fb_begin(&b, "n");
			fb_string(&b, "program", "p");
			if (k == 1)
				fb_cell(&b, "class", i);
			fb_end(&b);
		}
		fb_end(&b);
	}
	fb_end(&b);
	blob = fb_blob(&b, &len);
	ATF_REQUIRE_EQ(read_blob(blob, len), OK);
	ATF_CHECK_EQ(lines, 4);
	ATF_CHECK(m.service_count == MANIFEST_SERVICES && m.driver_count == MANIFEST_DRIVERS);
	ATF_CHECK(strstr(said, "more than 16 services") != NULL &&
	    strstr(said, "more than 16 drivers") != NULL);
}

/* Every cut and every changed byte of the real one: an answer, and never a byte outside. */
ATF_TC_WITHOUT_HEAD(a_bent_manifest_is_read_or_refused);
ATF_TC_BODY(a_bent_manifest_is_read_or_refused, tc)
{
	for (size_t n = 0; n < sizeof(standard); n++) {
		uint8_t *copy = malloc(n);

		memcpy(copy, standard, n);
		ATF_REQUIRE_EQ(read_blob(copy, n), E_CORRUPT);
		ATF_CHECK_STREQ(said, "manifest: /: not a device tree\n");
		free(copy);
	}
	for (size_t i = 0; i < sizeof(standard); i++) {
		uint8_t *copy = malloc(sizeof(standard));

		memcpy(copy, standard, sizeof(standard));
		copy[i] ^= 0xff;
		(void)read_blob(copy, sizeof(standard));
		free(copy);
	}
	ATF_CHECK_EQ(read_blob(NULL, 0), E_CORRUPT);
}

ATF_TC_WITHOUT_HEAD(words_of_the_command_line);
ATF_TC_BODY(words_of_the_command_line, tc)
{
	const char *line = "quiet hostiles=1 hostile=42 hostile=43 end";
	size_t len = 99;
	const char *p = manifest_word(line, "hostile", &len);

	ATF_REQUIRE(p != NULL);
	ATF_CHECK(len == 2 && strncmp(p, "42", 2) == 0);
	ATF_CHECK(manifest_word(line, "quiet", &len) != NULL && len == 0);
	ATF_CHECK(manifest_word(line, "end", &len) != NULL && len == 0);
	ATF_CHECK(manifest_word(line, "host", &len) == NULL);
	ATF_CHECK(manifest_word(line, "ostile", &len) == NULL);
	ATF_CHECK(manifest_word(line, "", &len) == NULL);
	ATF_CHECK(manifest_word("", "a", &len) == NULL);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, the_default_manifest_is_read_without_a_complaint);
	ATF_TP_ADD_TC(tp, ports_to_listen_on_are_listed);
	ATF_TP_ADD_TC(tp, disk_ranges_are_read_as_they_are_written);
	ATF_TP_ADD_TC(tp, every_property_arrives);
	ATF_TP_ADD_TC(tp, an_unknown_property_is_named);
	ATF_TP_ADD_TC(tp, a_drivers_property_is_unknown_in_a_service);
	ATF_TP_ADD_TC(tp, a_property_twice_is_named);
	ATF_TP_ADD_TC(tp, a_number_must_be_a_cell);
	ATF_TP_ADD_TC(tp, a_number_must_be_one_cell);
	ATF_TP_ADD_TC(tp, a_number_has_bounds);
	ATF_TP_ADD_TC(tp, a_string_must_end);
	ATF_TP_ADD_TC(tp, a_string_must_not_be_a_list);
	ATF_TP_ADD_TC(tp, a_string_must_be_printable);
	ATF_TP_ADD_TC(tp, a_program_name_has_a_length);
	ATF_TP_ADD_TC(tp, a_word_must_be_known);
	ATF_TP_ADD_TC(tp, a_capability_must_be_known);
	ATF_TP_ADD_TC(tp, the_backoff_must_not_shrink);
	ATF_TP_ADD_TC(tp, a_node_in_a_node_is_unknown);
	ATF_TP_ADD_TC(tp, too_many_uses);
	ATF_TP_ADD_TC(tp, a_driver_matches_something);
	ATF_TP_ADD_TC(tp, ids_are_pairs);
	ATF_TP_ADD_TC(tp, a_class_has_24_bits);
	ATF_TP_ADD_TC(tp, too_many_classes);
	ATF_TP_ADD_TC(tp, no_driver_gets_the_machine);
	ATF_TP_ADD_TC(tp, no_domain_is_trusted);
	ATF_TP_ADD_TC(tp, a_node_without_a_program_is_named);
	ATF_TP_ADD_TC(tp, names_cannot_steer_a_terminal);
	ATF_TP_ADD_TC(tp, an_endpoint_has_one_server_and_must_exist);
	ATF_TP_ADD_TC(tp, unknown_and_second_folders_are_named);
	ATF_TP_ADD_TC(tp, more_nodes_than_there_is_room_for);
	ATF_TP_ADD_TC(tp, a_bent_manifest_is_read_or_refused);
	ATF_TP_ADD_TC(tp, words_of_the_command_line);
	return atf_no_error();
}
