/*
 * I/O page tables: the one radix walker.
 *
 * The data.  A tree of tables; a table is one page of 64-bit entries (the root may be
 * several side by side).  Height 0 is the bottom:
 *
 *   height 2      height 1      height 0
 *   +-------+     +-------+     +-------+
 *   | table-+---->| table-+---->| leaf  |  4 KiB
 *   | leaf  |     | leaf  |     | empty |
 *   | empty |     | empty |     +-------+
 *   +-------+     +-------+
 *     1 GiB         2 MiB
 *
 * The algorithm.  A range is handled in runs.  A run is a row of entries of one table that
 * get (or lose) leaves of one size.  For the address at hand we descend from the root until an
 * empty entry whose leaf fits: aligned, wholly inside the range, and allowed.  Where none fits a
 * table is made and we go on below.  Where a table is already there, though empty, smaller
 * leaves go into it: turning it into a leaf would be a replacement.
 *
 * Why it is right.  Both map and unmap go over the range twice.  The first pass finds every
 * run and refuses whatever there is to refuse; it changes no leaf, it only hangs
 * empty tables into empty entries, which translate nothing.  The second pass finds the same
 * runs again (nothing else writes the tree) and stores; it cannot fail.  So there is no
 * half-mapped range to take back, which would owe an invalidation to a walker that was
 * quick.  A range of one run, the usual case, is walked once.
 *
 * Order    a table is zeroed, written back, published; only then its entry is stored.
 *          Stores of one call are published once, at its end.
 * Locks    the caller's, on the tree.
 * Not here how entries look (fmt_*.c), who invalidates (the units), where addresses come from
 *          (kern/dma/domain.c).
 */
#include "dev/iommu/iopt.h"
#include "dev/iommu/unit_io.h"
#include "kern/base/bits.h"
#include "kern/frame.h"
#include "kern/panic.h"
#include "kern/quota.h"

struct run {
	uint64_t *first;	/* entry */
	uint64_t count;		/* entries */
	unsigned height;
	unsigned shift;		/* a leaf is 1 << shift bytes */
};

static unsigned
shift_at(const struct iopt_format *f, unsigned height)
{
	return f->page_lg2 + height * f->stride_lg2;
}

unsigned
iopt_top(const struct iopt_shape *shape)
{
	const struct iopt_format *f = shape->format;
	unsigned bits = shape->input_bits - f->page_lg2;
	unsigned top = (bits - 1) / f->stride_lg2;

	if (top > 0 && bits - top * f->stride_lg2 <= f->concat_lg2)
		top--;
	return top;
}

static unsigned
root_entries_lg2(const struct iopt_shape *shape)
{
	return shape->input_bits - shift_at(shape->format, iopt_top(shape));
}

static unsigned
table_order(const struct iopt_format *f)
{
	return f->page_lg2 - (unsigned)PAGE_SHIFT;
}

unsigned
iopt_root_order(const struct iopt_shape *shape)
{
	unsigned bytes_lg2 = root_entries_lg2(shape) + 3;

	return bytes_lg2 > shape->format->page_lg2 ? bytes_lg2 - (unsigned)PAGE_SHIFT : table_order(shape->format);
}

static bool
is_empty(const struct iopt_format *f, uint64_t e)
{
	return (e & f->present_mask) == 0;
}

/* Of an entry that is not empty. */
static bool
is_leaf(const struct iopt_format *f, uint64_t e, unsigned height)
{
	return height == 0 || (e & f->leaf_mask) == f->leaf_value;
}

static uint64_t *
child_of(const struct iopt_format *f, uint64_t e)
{
	return frame_ptr((struct paddr){ e & f->address_mask });
}

/* The entry for an address, and the number of entries from it to the end of its table. */
static uint64_t *
entry_at(const struct iopt *t, uint64_t *table, unsigned height, uint64_t at, uint64_t *left)
{
	const struct iopt_format *f = t->shape->format;
	uint64_t entries = height == t->top ? BIT(root_entries_lg2(t->shape)) : BIT(f->stride_lg2);
	uint64_t i = (at >> shift_at(f, height)) & (entries - 1);

	*left = entries - i;
	return &table[i];
}

/* A zeroed table, charged, visible to the walker. */
static enum status
table_create(struct iopt *t, unsigned order, struct paddr *out)
{
	uint64_t pages = BIT(order);
	enum status s;

	if (t->quota != NULL) {
		s = quota_take_pages(t->quota, pages);
		if (s != OK)
			return s;
	}
	s = frame_alloc(order, FRAME_IOMMU, FRAME_ZERO, out);
	if (s != OK) {
		if (t->quota != NULL)
			quota_give_pages(t->quota, pages);
		return s;
	}
	unit_clean(frame_ptr(*out), pages * PAGE_SIZE, t->shape->coherent);
	unit_publish();
	t->table_pages += pages;
	return OK;
}

enum status
iopt_init(struct iopt *t, const struct iopt_shape *shape, struct quota *q)
{
	KASSERT(shape->input_bits > shape->format->page_lg2);
	KASSERT(iopt_top(shape) < IOPT_HEIGHTS_MAX);
	KASSERT((shape->leaf_sizes & ~shape->format->leaf_sizes) == 0);
	KASSERT((shape->leaf_sizes & BIT(shape->format->page_lg2)) != 0);
	*t = (struct iopt){
		.shape = shape, .quota = q,
		.top = (uint8_t)iopt_top(shape), .root_order = (uint8_t)iopt_root_order(shape),
	};
	return table_create(t, t->root_order, &t->root);
}

/* Visits every table once, children first.  Tables of height 0 have no children, whatever they hold. */
static void
drop_tables(struct iopt *t, void (*give)(struct paddr base, unsigned order))
{
	const struct iopt_format *f = t->shape->format;
	struct { uint64_t *table; uint64_t at, entries; } level[IOPT_HEIGHTS_MAX];
	unsigned h = t->top;

	level[h].table = frame_ptr(t->root);
	level[h].at = 0;
	level[h].entries = BIT(root_entries_lg2(t->shape));
	while (h <= t->top) {
		uint64_t e;

		if (h == 0 || level[h].at == level[h].entries) {
			give(frame_of(level[h].table), h == t->top ? t->root_order : table_order(f));
			h++;
			continue;
		}
		e = level[h].table[level[h].at++];
		if (is_empty(f, e) || is_leaf(f, e, h))
			continue;
		h--;
		level[h].table = child_of(f, e);
		level[h].at = 0;
		level[h].entries = BIT(f->stride_lg2);
	}
	if (t->quota != NULL)
		quota_give_pages(t->quota, t->table_pages);
	t->table_pages = 0;
	t->root.v = 0;
}

void iopt_fini(struct iopt *t) { drop_tables(t, frame_free); }
void iopt_quarantine(struct iopt *t) { drop_tables(t, frame_quarantine); }

/* What map and unmap refuse alike. */
static enum status
check_range(const struct iopt *t, uint64_t at, uint64_t len)
{
	uint64_t page = BIT(t->shape->format->page_lg2);

	if (len == 0 || !is_aligned(at | len, page))
		return E_ALIGN;
	if (!range_within(at, len, 0, BIT(t->shape->input_bits)))
		return E_RANGE;
	return OK;
}

/* Hangs an empty table into an empty entry. */
static enum status
grow(struct iopt *t, uint64_t *entry, unsigned height, uint64_t **child)
{
	const struct iopt_format *f = t->shape->format;
	struct paddr p;
	enum status s;

	s = table_create(t, table_order(f), &p);
	if (s != OK)
		return s;
	unit_store64(entry, f->table(p, height));
	unit_clean(entry, sizeof(*entry), t->shape->coherent);
	*child = frame_ptr(p);
	return OK;
}

/* The first run of empty entries for [at, at + len); makes the tables above it. */
static enum status
find_empty(struct iopt *t, uint64_t at, uint64_t to, uint64_t len, struct run *run)
{
	const struct iopt_format *f = t->shape->format;
	uint64_t *table = frame_ptr(t->root), *entry, left;
	enum status s;

	for (unsigned h = t->top;; h--) {
		unsigned shift = shift_at(f, h);

		entry = entry_at(t, table, h, at, &left);
		if (!is_empty(f, *entry)) {
			if (is_leaf(f, *entry, h))
				return E_EXISTS;
			table = child_of(f, *entry);
		} else if ((t->shape->leaf_sizes & BIT(shift)) != 0 && is_aligned(at | to, BIT(shift)) &&
		    len >> shift != 0) {
			*run = (struct run){ .first = entry, .count = 1, .height = h, .shift = shift };
			break;
		} else {
			s = grow(t, entry, h, &table);
			if (s != OK)
				return s;
		}
	}
	left = min_u64(left, len >> run->shift);
	while (run->count < left && is_empty(f, entry[run->count]))
		run->count++;
	return OK;
}

static void
store_run(const struct iopt *t, const struct run *run, uint64_t to, uint8_t access)
{
	uint64_t e = t->shape->format->leaf((struct paddr){ to }, run->height, access, t->shape->flags);

	for (uint64_t i = 0; i < run->count; i++, e += BIT(run->shift))
		unit_store64(&run->first[i], e);
	unit_clean(run->first, run->count * sizeof(*run->first), t->shape->coherent);
}

enum status
iopt_map(struct iopt *t, struct iova at, struct paddr to, uint64_t len, uint8_t access)
{
	struct run run;
	uint64_t done;
	enum status s;

	if ((access & (IOPT_READ | IOPT_WRITE)) == 0)
		return E_INVALID;
	s = check_range(t, at.v, len);
	if (s != OK)
		return s;
	if (!is_aligned(to.v, BIT(t->shape->format->page_lg2)))
		return E_ALIGN;
	if (!range_within(to.v, len, 0, BIT(t->shape->output_bits)))
		return E_RANGE;
	s = find_empty(t, at.v, to.v, len, &run);
	if (s != OK)
		return s;
	done = run.count << run.shift;
	if (done == len) {
		store_run(t, &run, to.v, access);
		unit_publish();
		return OK;
	}
	for (; done < len; done += run.count << run.shift) {
		s = find_empty(t, at.v + done, to.v + done, len - done, &run);
		if (s != OK)
			return s;
	}
	for (done = 0; done < len; done += run.count << run.shift) {
		s = find_empty(t, at.v + done, to.v + done, len - done, &run);
		KASSERT(s == OK);
		store_run(t, &run, to.v + done, access);
	}
	unit_publish();
	return OK;
}

/* The first run of leaves of [at, at + len). */
static enum status
find_leaves(const struct iopt *t, uint64_t at, uint64_t len, struct run *run)
{
	const struct iopt_format *f = t->shape->format;
	uint64_t *table = frame_ptr(t->root), *entry, left;
	unsigned h = t->top, shift;

	for (;; h--) {
		entry = entry_at(t, table, h, at, &left);
		if (is_empty(f, *entry))
			return E_NOT_FOUND;
		if (is_leaf(f, *entry, h))
			break;
		table = child_of(f, *entry);
	}
	shift = shift_at(f, h);
	if (!is_aligned(at, BIT(shift)) || len >> shift == 0)
		return E_INVALID;
	*run = (struct run){ .first = entry, .count = 1, .height = h, .shift = shift };
	left = min_u64(left, len >> shift);
	while (run->count < left && !is_empty(f, entry[run->count]) && is_leaf(f, entry[run->count], h))
		run->count++;
	return OK;
}

static void
clear_run(const struct iopt *t, const struct run *run, struct iopt_cleared *out)
{
	for (uint64_t i = 0; i < run->count; i++)
		unit_store64(&run->first[i], 0);
	unit_clean(run->first, run->count * sizeof(*run->first), t->shape->coherent);
	out->leaf_sizes |= BIT(run->shift);
	out->leaves += run->count;
}

enum status
iopt_unmap(struct iopt *t, struct iova at, uint64_t len, struct iopt_cleared *out)
{
	struct run run;
	uint64_t done;
	enum status s;

	*out = (struct iopt_cleared){ 0 };
	s = check_range(t, at.v, len);
	if (s != OK)
		return s;
	s = find_leaves(t, at.v, len, &run);
	if (s != OK)
		return s;
	done = run.count << run.shift;
	if (done == len) {
		clear_run(t, &run, out);
		unit_publish();
		return OK;
	}
	for (; done < len; done += run.count << run.shift) {
		s = find_leaves(t, at.v + done, len - done, &run);
		if (s != OK)
			return s;
	}
	for (done = 0; done < len; done += run.count << run.shift) {
		s = find_leaves(t, at.v + done, len - done, &run);
		KASSERT(s == OK);
		clear_run(t, &run, out);
	}
	unit_publish();
	return OK;
}

bool
iopt_lookup(const struct iopt *t, struct iova at, struct iopt_leaf *out)
{
	const struct iopt_format *f = t->shape->format;
	uint64_t *table = frame_ptr(t->root), *entry, left;
	unsigned h = t->top, shift;

	if (at.v >> t->shape->input_bits != 0)
		return false;
	for (;; h--) {
		entry = entry_at(t, table, h, at.v, &left);
		if (is_empty(f, *entry))
			return false;
		if (is_leaf(f, *entry, h))
			break;
		table = child_of(f, *entry);
	}
	shift = shift_at(f, h);
	out->to.v = (*entry & f->address_mask & ~(BIT(shift) - 1)) | (at.v & (BIT(shift) - 1));
	out->size_lg2 = (uint8_t)shift;
	out->access = f->access(*entry);
	return true;
}
