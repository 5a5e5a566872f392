/*
 * Numbers of disk ranges: ranges.h.  The same manifest gives the same numbers, so those that
 * drivers had from a predecessor stay right.
 */
#include "usr/devmgr/ranges.h"
#include "kern/base/bits.h"

static struct { struct disk_range range; uint32_t service; } named[BLK_RANGES];
static uint32_t count;

static void
add(uint32_t service, const char *text)
{
	if (count == BLK_RANGES) {
		log_line(0, "\"%s\" is one disk range too many: there is room for %u", text,
		    BLK_RANGES);
		return;
	}
	if (!disk_range_parse(text, &named[count].range))
		return;			/* the reader of the manifest has looked */
	named[count++].service = service;
}

void
ranges_make(const struct manifest *m, handle_t *memory)
{
	struct blk_range *r = pages_alloc(1, memory);

	if (r == NULL)
		die("no memory for disk ranges");
	for (uint32_t i = 0; i < m->service_count; i++)
		for (unsigned k = 0; k < MANIFEST_DISKS && m->service[i].disks[k] != NULL; k++)
			add(i, m->service[i].disks[k]);
	for (uint32_t i = 0; i < count; i++)
		r[i] = (struct blk_range){ .base = named[i].range.base,
			.len = named[i].range.len,
			.index = named[i].range.space,
			.rights =
			    BLK_RIGHT_READ | (named[i].range.read_only ? 0 : BLK_RIGHT_WRITE) };
}

uint32_t
range_of(uint32_t service, uint64_t n, struct disk_range *out)
{
	for (uint32_t i = 0; i < count; i++)
		if (named[i].service == service && n-- == 0) {
			*out = named[i].range;
			return i + 1;
		}
	return 0;
}
