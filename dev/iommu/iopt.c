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
 * quick.  A range of one run, the usual case, is walked once; and since tables never go away, a
 * page beside the last one is found without a walk.
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
#include "kern/sched.h"

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

	return bytes_lg2 > shape->format->page_lg2 ? bytes_lg2 - (unsigned)PAGE_SHIFT :
						     table_order(shape->format);
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
		.root_entries = (uint16_t)BIT(root_entries_lg2(shape)), .near_at = 1,
	};
	t->top_shift = (uint8_t)shift_at(shape->format, t->top);
	t->near_lg2 = (uint8_t)shift_at(shape->format, 1);
	return table_create(t, t->root_order, &t->root);
}

/* Visits every table once, children first.  Tables of height 0 have no children, whatever they
 * hold. */
static void
drop_tables(struct iopt *t, void (*give)(struct paddr base, unsigned order))
{
	const struct iopt_format *f = t->shape->format;
	struct { uint64_t *table; uint64_t at, entries; } level[IOPT_HEIGHTS_MAX];
	unsigned h = t->top;

	level[h].table = frame_ptr(t->root);
	level[h].at = 0;
	level[h].entries = t->root_entries;
	while (h <= t->top) {
		uint64_t e;

		if (h == 0 || level[h].at == level[h].entries) {
			give(
			    frame_of(level[h].table), h == t->top ? t->root_order : table_order(f));
			h++;
			sched_preempt_point();
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

/* Where an address leads: an entry, the height of its table, and how far that goes on. */
struct place {
	uint64_t *entry;
	uint64_t left;		/* entries from this one to the end of the table */
	unsigned height, shift;
};

static ALWAYS_INLINE void
at_root(const struct iopt *t, uint64_t at, struct place *p)
{
	uint64_t i = at >> t->top_shift; /* below root_entries: at is below 1 << input_bits */

	*p = (struct place){
		.entry = (uint64_t *)frame_ptr(t->root) + i,
		.left = t->root_entries - i,
		.height = t->top,
		.shift = t->top_shift,
	};
}

static ALWAYS_INLINE void
go_down(const struct iopt_format *f, uint64_t *table, uint64_t at, struct place *p)
{
	uint64_t i;

	p->height--;
	p->shift -= f->stride_lg2;
	i = (at >> p->shift) & (BIT(f->stride_lg2) - 1);
	p->entry = table + i;
	p->left = BIT(f->stride_lg2) - i;
}

/* The entry of a single page next to the last one, or NULL: then the way goes from the root. */
static ALWAYS_INLINE uint64_t *
near_entry(const struct iopt *t, const struct iopt_format *f, uint64_t at, uint64_t len)
{
	uint64_t offset = at - t->near_at;

	if (unlikely(len != BIT(f->page_lg2)) || unlikely(offset >> t->near_lg2 != 0) ||
	    unlikely(!is_aligned(offset, len)))
		return NULL;
	return &t->near_table[offset >> f->page_lg2];
}

static ALWAYS_INLINE void
remember(struct iopt *t, const struct iopt_format *f, uint64_t at, const struct place *p)
{
	if (p->height != 0 || t->top == 0)
		return;
	t->near_at = align_down(at, BIT(f->page_lg2 + f->stride_lg2));
	t->near_table = p->entry + p->left - BIT(f->stride_lg2);
}

/* The first run of empty entries for [at, at + len); makes the tables above it. */
static enum status
find_empty(struct iopt *t, uint64_t at, uint64_t to, uint64_t len, struct run *run)
{
	const struct iopt_format *f = t->shape->format;
	uint64_t e, n, *table;
	struct place p;
	enum status s;

	for (at_root(t, at, &p);; go_down(f, table, at, &p)) {
		e = *p.entry;
		if (!is_empty(f, e)) {
			if (is_leaf(f, e, p.height))
				return E_EXISTS;
			table = child_of(f, e);
		} else if ((t->shape->leaf_sizes & BIT(p.shift)) != 0 &&
		    is_aligned(at | to, BIT(p.shift)) && len >> p.shift != 0) {
			break;
		} else {
			s = grow(t, p.entry, p.height, &table);
			if (s != OK)
				return s;
		}
	}
	remember(t, f, at, &p);
	p.left = min_u64(p.left, len >> p.shift);
	for (n = 1; n < p.left && is_empty(f, p.entry[n]); n++)
		;
	*run = (struct run){ .first = p.entry, .count = n, .height = p.height, .shift = p.shift };
	return OK;
}

static void
store_run(const struct iopt *t, const struct run *run, uint64_t to, uint8_t access)
{
	uint64_t e =
	    t->shape->format->leaf((struct paddr){ to }, run->height, access, t->shape->flags);

	for (uint64_t i = 0; i < run->count; i++, e += BIT(run->shift))
		unit_store64(&run->first[i], e);
	unit_clean(run->first, run->count * sizeof(*run->first), t->shape->coherent);
}

/* A range of several runs: all are found, then all are stored. */
static NOINLINE enum status
map_runs(struct iopt *t, uint64_t at, uint64_t to, uint64_t len, uint8_t access)
{
	struct run run;
	enum status s;

	for (uint64_t done = 0; done < len; done += run.count << run.shift) {
		s = find_empty(t, at + done, to + done, len - done, &run);
		if (s != OK)
			return s;
	}
	for (uint64_t done = 0; done < len; done += run.count << run.shift) {
		s = find_empty(t, at + done, to + done, len - done, &run);
		KASSERT(s == OK);
		store_run(t, &run, to + done, access);
	}
	unit_publish();
	return OK;
}

static NOINLINE enum status
map_far(struct iopt *t, uint64_t at, uint64_t to, uint64_t len, uint8_t access)
{
	struct run run;
	enum status s = check_range(t, at, len);

	if (s != OK)
		return s;
	if (!is_aligned(to, BIT(t->shape->format->page_lg2)))
		return E_ALIGN;
	if (!range_within(to, len, 0, BIT(t->shape->output_bits)))
		return E_RANGE;
	s = find_empty(t, at, to, len, &run);
	if (s != OK)
		return s;
	if (run.count << run.shift != len)
		return map_runs(t, at, to, len, access);
	store_run(t, &run, to, access);
	unit_publish();
	return OK;
}

enum status
iopt_map(struct iopt *t, struct iova at, struct paddr to, uint64_t len, uint8_t access)
{
	const struct iopt_shape *shape = t->shape;
	uint64_t *entry = near_entry(t, shape->format, at.v, len);

	if ((access & (IOPT_READ | IOPT_WRITE)) == 0)
		return E_INVALID;
	if (entry == NULL || !is_aligned(to.v, len) || to.v >> shape->output_bits != 0)
		return map_far(t, at.v, to.v, len, access);
	if (!is_empty(shape->format, *entry))
		return E_EXISTS;
	if (unlikely(access != t->near_access)) {
		t->near_leaf = shape->format->leaf((struct paddr){ 0 }, 0, access, shape->flags);
		t->near_access = access;
	}
	unit_store64(entry, to.v + t->near_leaf);
	unit_clean(entry, sizeof(*entry), shape->coherent);
	unit_publish();
	return OK;
}

/* The entry that translates an address, or the empty one that does not. */
static ALWAYS_INLINE bool
find_leaf(const struct iopt *t, uint64_t at, struct place *p)
{
	const struct iopt_format *f = t->shape->format;

	for (at_root(t, at, p);; go_down(f, child_of(f, *p->entry), at, p)) {
		if (is_empty(f, *p->entry))
			return false;
		if (is_leaf(f, *p->entry, p->height))
			return true;
	}
}

/* The first run of leaves of [at, at + len). */
static enum status
find_leaves(struct iopt *t, uint64_t at, uint64_t len, struct run *run)
{
	const struct iopt_format *f = t->shape->format;
	struct place p;
	uint64_t n;

	if (!find_leaf(t, at, &p))
		return E_NOT_FOUND;
	if (!is_aligned(at, BIT(p.shift)) || len >> p.shift == 0)
		return E_INVALID;
	remember(t, f, at, &p);
	p.left = min_u64(p.left, len >> p.shift);
	for (n = 1; n < p.left && !is_empty(f, p.entry[n]) && is_leaf(f, p.entry[n], p.height); n++)
		;
	*run = (struct run){ .first = p.entry, .count = n, .height = p.height, .shift = p.shift };
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

static NOINLINE enum status
unmap_runs(struct iopt *t, uint64_t at, uint64_t len, struct iopt_cleared *out)
{
	struct run run;
	enum status s;

	for (uint64_t done = 0; done < len; done += run.count << run.shift) {
		s = find_leaves(t, at + done, len - done, &run);
		if (s != OK)
			return s;
	}
	for (uint64_t done = 0; done < len; done += run.count << run.shift) {
		s = find_leaves(t, at + done, len - done, &run);
		KASSERT(s == OK);
		clear_run(t, &run, out);
	}
	unit_publish();
	return OK;
}

static NOINLINE enum status
unmap_far(struct iopt *t, uint64_t at, uint64_t len, struct iopt_cleared *out)
{
	struct run run;
	enum status s = check_range(t, at, len);

	*out = (struct iopt_cleared){ 0 };
	if (s != OK)
		return s;
	s = find_leaves(t, at, len, &run);
	if (s != OK)
		return s;
	if (run.count << run.shift != len)
		return unmap_runs(t, at, len, out);
	clear_run(t, &run, out);
	unit_publish();
	return OK;
}

bool
iopt_unmap_near(struct iopt *t, struct iova at, uint64_t len)
{
	const struct iopt_shape *shape = t->shape;
	uint64_t *entry = near_entry(t, shape->format, at.v, len);

	if (unlikely(entry == NULL) || unlikely(is_empty(shape->format, *entry)))
		return false;
	unit_store64(entry, 0);
	unit_clean(entry, sizeof(*entry), shape->coherent);
	unit_publish();
	return true;
}

enum status
iopt_unmap(struct iopt *t, struct iova at, uint64_t len, struct iopt_cleared *out)
{
	*out = (struct iopt_cleared){ .leaf_sizes = len, .leaves = 1 };
	return iopt_unmap_near(t, at, len) ? OK : unmap_far(t, at.v, len, out);
}

bool
iopt_lookup(const struct iopt *t, struct iova at, struct iopt_leaf *out)
{
	const struct iopt_format *f = t->shape->format;
	struct place p;

	if (at.v >> t->shape->input_bits != 0 || !find_leaf(t, at.v, &p))
		return false;
	out->to.v =
	    (*p.entry & f->address_mask & ~(BIT(p.shift) - 1)) | (at.v & (BIT(p.shift) - 1));
	out->size_lg2 = (uint8_t)p.shift;
	out->access = f->access(*p.entry);
	return true;
}
