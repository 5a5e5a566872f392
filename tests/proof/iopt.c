/*
 * The page-table walker, over any two maps and unmaps on a small space: what was mapped is
 * translated, what was unmapped is not, neighbours are untouched, and a refused call changes
 * nothing.  A present entry never becomes another one without being empty between, so a walker that
 * looks at any moment sees each as it was or as it will be.
 *
 * The space is four pages under two heights of two entries each, with leaves of one page, or of one
 * and two; tables may run out at any time.  The walker knows of a format what its struct says and
 * no more, so a real one runs the same code with larger numbers.
 *
 * LINK: dev/iommu/iopt.c
 * CBMC: --function harness --unwind 4 --slice-formula
 * CBMC: --unwindset call.0:5,call.1:5,call.2:5,map_runs.0:5,map_runs.1:5
 * CBMC: --unwindset unmap_runs.0:5,unmap_runs.1:5
 */
#include "dev/iommu/iopt.h"
#include "kern/base/bits.h"
#include "kern/frame.h"
#include "kern/quota.h"

enum { PAGES = 4, TABLES = 3, CALLS = 2 };
enum : uint64_t { PRESENT = 1, LEAF = 2, ACCESS = 12, MEMORY = 0x100000 };

uint64_t nondet_u64(void);
_Bool nondet_bool(void);
void panic(const char *format, ...);

static uint64_t table[TABLES][2];
static unsigned tables;
static struct iopt tree;
static uint64_t is[PAGES];		/* what each page should lead to; 0: nowhere */

void
panic(const char *format, ...)
{
	(void)format;
	__CPROVER_assert(0, "no assertion of the walker fails");
	__CPROVER_assume(0);
}

enum status
frame_alloc(unsigned order, enum frame_state s, enum frame_flags f, struct paddr *out)
{
	(void)s;
	(void)f;
	__CPROVER_assert(order == 0, "tables are pages");
	if (tables == TABLES || nondet_bool())
		return E_NO_MEMORY;
	table[tables][0] = table[tables][1] = 0;
	out->v = (uint64_t)++tables << PAGE_SHIFT;
	return OK;
}

void *
frame_ptr(struct paddr p)
{
	uint64_t i = (p.v >> PAGE_SHIFT) - 1;

	__CPROVER_assert(i < tables, "only tables are walked");
	return table[i];
}

struct paddr
frame_of(const void *p)
{
	(void)p;
	return (struct paddr){ 0 };
}

void frame_free(struct paddr p, unsigned order) { (void)p; (void)order; }
void frame_quarantine(struct paddr p, unsigned order) { (void)p; (void)order; }
void sched_preempt_point(void) {}
enum status
quota_take_pages(struct quota *q, uint64_t n)
{
	(void)q;
	(void)n;
	return OK;
}
void quota_give_pages(struct quota *q, uint64_t n) { (void)q; (void)n; }
void cache_clean(const void *p, size_t len) { (void)p; (void)len; }
void unit_host_publish(void) {}
uint64_t
unit_host_read(const volatile void *b, uint32_t o, unsigned n)
{
	(void)b;
	(void)o;
	(void)n;
	return 0;
}
void
unit_host_write(volatile void *b, uint32_t o, unsigned n, uint64_t v)
{
	(void)b;
	(void)o;
	(void)n;
	(void)v;
}

void
unit_host_store(uint64_t *p, uint64_t v)
{
	__CPROVER_assert((*p & PRESENT) == 0 || (v & PRESENT) == 0, "no entry is replaced");
	*p = v;
}

static uint64_t
leaf(struct paddr to, unsigned height, uint8_t access, uint64_t flags)
{
	(void)height;
	(void)flags;
	return to.v | PRESENT | LEAF | (uint64_t)access << 2;
}

static uint64_t
link_table(struct paddr child, unsigned height)
{
	(void)height;
	return child.v | PRESENT;
}

static uint8_t access_of(uint64_t e) { return (uint8_t)((e & ACCESS) >> 2); }

static const struct iopt_format format = {
	.name = "small", .page_lg2 = 12, .stride_lg2 = 1, .leaf_sizes = BIT(12) | BIT(13),
	.present_mask = PRESENT, .leaf_mask = LEAF, .leaf_value = LEAF,
	.address_mask = BITS(47, 12), .leaf = leaf, .table = link_table, .access = access_of,
};

static void
call(void)
{
	uint64_t at = nondet_u64() % PAGES, n = nondet_u64() % (PAGES + 1), to = nondet_u64() % 16;
	uint8_t access = (uint8_t)(nondet_u64() % 4);
	bool all = n != 0 && at + n <= PAGES, none = all;

	for (uint64_t i = 0; i < PAGES; i++)
		if (i >= at && i < at + n) {
			all &= is[i] != 0;
			none &= is[i] == 0;
		}
	to = MEMORY + to * PAGE_SIZE;
	if (nondet_bool()) {
		enum status s = iopt_map(&tree, (struct iova){ at << PAGE_SHIFT },
		    (struct paddr){ to }, n << PAGE_SHIFT, access);

		__CPROVER_assert(s != OK || (none && access != 0), "only what is empty is mapped");
		__CPROVER_assert(s == OK || !none || access == 0 || s == E_NO_MEMORY,
		    "what is empty is mapped, unless tables run out");
		for (uint64_t i = 0; i < PAGES; i++)
			if (s == OK && i >= at && i < at + n)
				is[i] = (to + ((i - at) << PAGE_SHIFT)) | access;
	} else {
		struct iopt_cleared c;
		enum status s = iopt_unmap(
		    &tree, (struct iova){ at << PAGE_SHIFT }, n << PAGE_SHIFT, &c);

		__CPROVER_assert(s != OK || all, "only what is mapped is unmapped");
		__CPROVER_assert(s == OK || !all || s == E_INVALID,
		    "what is mapped is unmapped, unless a larger leaf would be cut");
		__CPROVER_assert((s == OK) == (c.leaves != 0), "what was cleared is told");
		for (uint64_t i = 0; i < PAGES; i++)
			if (s == OK && i >= at && i < at + n)
				is[i] = 0;
	}
}

void
harness(void)
{
	struct iopt_shape shape = { .format = &format, .input_bits = 14, .output_bits = 40,
		.coherent = true, .leaf_sizes = BIT(12) | (nondet_bool() ? BIT(13) : 0) };
	struct iopt_leaf l;

	if (iopt_init(&tree, &shape, NULL) != OK)
		return;
	for (unsigned n = 0; n < CALLS; n++) {
		uint64_t page = nondet_u64() % PAGES, in = nondet_u64() % PAGE_SIZE;
		bool found;

		call();
		found = iopt_lookup(&tree, (struct iova){ (page << PAGE_SHIFT) + in }, &l);
		__CPROVER_assert(found == (is[page] != 0), "translated exactly while mapped");
		__CPROVER_assert(!found || (l.to.v == (is[page] & ~PAGE_MASK) + in &&
			l.access == (is[page] & PAGE_MASK)),
		    "to where it was mapped, as it was mapped");
	}
}
