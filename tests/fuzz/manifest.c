/*
 * The boot manifest: any bytes give a manifest within its bounds, or a refusal.
 *
 * LINK: usr/lib/manifest.c usr/lib/disk_range.c kern/machine/fdt.c kern/base/fmt.c
 * LINK: kern/base/str.c
 * FUZZ: -max_len=4096
 */
#include <stdlib.h>
#include <string.h>

#include "usr/lib/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
say(void *arg, const char *line)
{
	++*(unsigned *)arg;
	if (strlen(line) >= MANIFEST_LINE)
		abort();
	for (; *line != 0; line++)
		if (*line < ' ' || *line > '~')
			abort();
}

static void
text(const char *s, size_t max)
{
	if (s == NULL || strlen(s) > max)
		abort();
}

static void
task(const struct manifest_task *t)
{
	text(t->node, 1 << 16);
	text(t->program, 23);
	text(t->args, 500);
	if (t->program[0] == 0 || t->priority == 0 || t->priority > 24 ||
	    t->restart.kind > RESTART_LIMIT || t->restart.limit == 0 ||
	    t->restart.backoff_ms[0] > t->restart.backoff_ms[1])
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct manifest m;
	unsigned lines = 0;
	enum status s = manifest_read(&m, data, size, say, &lines);

	if (lines != m.refused ||
	    (s != OK && (lines != 1 || m.service_count != 0 || m.driver_count != 0)))
		abort();
	if (m.service_count > MANIFEST_SERVICES || m.driver_count > MANIFEST_DRIVERS)
		abort();
	for (uint32_t i = 0; i < m.service_count; i++) {
		const struct manifest_service *v = &m.service[i];

		task(&v->task);
		for (uint32_t u = 0; u < MANIFEST_USES && v->uses[u] != NULL; u++) {
			bool found = false;

			for (uint32_t k = 0; k < m.service_count; k++)
				found |= m.service[k].serves != NULL &&
				    strcmp(m.service[k].serves, v->uses[u]) == 0;
			if (!found)
				abort();
		}
	}
	for (uint32_t i = 0; i < m.driver_count; i++) {
		const struct manifest_driver *d = &m.driver[i];

		task(&d->task);
		if ((d->task.caps & ~(uint32_t)(CAP_INFO | CAP_LOG)) != 0 ||
		    d->classes.count > MANIFEST_CELLS || d->ids.count > MANIFEST_CELLS ||
		    d->ids.count % 2 != 0 || d->classes.count + d->ids.count == 0)
			abort();
		(void)manifest_matches(d, 0x010802, 0x1af4, 0x1042);
	}
	return 0;
}
