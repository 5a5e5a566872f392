/*
 * First claims whose claimer does not wait: he gives up, or is killed.  The kernel's live test of
 * the IOMMU goes on by itself, the claim ends with it, and the next one finds how it went.  Two
 * disk controllers, because a test is made once.
 */
#include "usr/trial/trial.h"

enum : uint32_t { NVME_CLASS = 0x010802 };
enum : uint64_t { SOON_NS = 50 * NS_PER_MS, POLL_NS = NS_PER_MS };

/* The n-th disk controller, as device_claim names it. */
static uint64_t
nth_controller(handle_t kernel, unsigned n)
{
	struct function_info f;
	uint64_t size;

	for (uint64_t i = 0;
	    sys_info(kernel, INFO_FUNCTION, i, (uint64_t)(uintptr_t)&f, sizeof(f), &size) == OK;
	    i++)
		if (f.class_code == NVME_CLASS && n-- == 0)
			return (uint64_t)f.segment << 16 | f.rid;
	die("too few disk controllers");
}

static enum status
try_claim(handle_t kernel, unsigned n, uint64_t deadline, uint64_t *device)
{
	return sys_device_claim(kernel, nth_controller(kernel, n),
	    CLAIM_MAPPED_DOORBELLS | CLAIM_CONSENT_INTERRUPTS, deadline, device);
}

/* Until somebody has the device, who is not us. */
static void
wait_busy(unsigned n)
{
	struct device_info d;
	uint64_t size, found = nth_controller(boot_info->kernel, n);

	for (unsigned i = 0; i < 10'000; i++) {
		for (uint64_t k = 0; sys_info(boot_info->kernel, INFO_DEVICE, k,
					 (uint64_t)(uintptr_t)&d, sizeof(d), &size) == OK;
		    k++)
			if (((uint64_t)d.segment << 16 | d.rid) == found)
				return;
		sleep_until(now_ns() + NS_PER_MS / 10);
	}
	die("the claim does not begin");
}

/* Claims it when the test and the end before are over. */
static void
claim_later(unsigned n)
{
	uint64_t device, from = now_ns();
	enum status s = try_claim(boot_info->kernel, n, DEADLINE_NEVER, &device);

	print("another: %s; ", status_text(s));
	while (s == E_BUSY && now_ns() - from < 10 * NS_PER_S) {
		sleep_until(now_ns() + POLL_NS);
		s = try_claim(boot_info->kernel, n, DEADLINE_NEVER, &device);
	}
	print("later: %s\n", status_text(s));
	if (s == OK)
		(void)sys_handle_revoke(device, now_ns() + 20 * NS_PER_S);
}

void
live(void)
{
	struct spawn sp = { .name = "claimer",
		.args = "claim",
		.limits = { .pages = 256, .objects = 64, .threads = 4 },
		.priority = 5,
		.count = 1,
		.give = { { "kernel", boot_info->kernel, 0 } } };
	uint64_t device, t;
	struct epitaph e;
	handle_t child;
	unsigned code;
	enum status s;

	s = try_claim(boot_info->kernel, 0, now_ns() + NS_PER_MS, &device);
	print("trial: an impatient claim: %s; ", status_text(s));
	claim_later(0);

	sp.image = archive_file((const uint8_t *)(uintptr_t)boot_info->archive_va,
	    boot_info->archive_len, "init", &sp.image_len);
	if (sp.image == NULL || spawn(&sp, &child) != OK)
		die("no child");
	wait_busy(1);
	t = now_ns();
	(void)sys_process_kill(child, 77);
	code = result_of(child, &e);
	t = now_ns() - t;
	print("trial: killed within a claim: code %u after %s; ", code,
	    t < SOON_NS ? "less than 50 ms" : "long");
	claim_later(1);
}

int
live_as_child(void)
{
	uint64_t device;

	return (int)try_claim(start_handle("kernel"), 1, DEADLINE_NEVER, &device);
}
