/*
 * What a controller says about itself and its namespaces.  All of it is foreign: sizes that cannot
 * be are refused by name, a namespace that this driver cannot serve is left out by name.
 *
 * Active namespaces come from a list since version 1.1, with holes; before, every number up to NN
 * is asked for.
 */
#include "dev/nvme/parts.h"
#include "kern/base/str.h"

enum : uint32_t {
	ASK_MAX = 1024,
	SCT_SC_NO_NAMESPACE = 0x00b,
	LBADS_MIN = 9,
	LBADS_MAX = 12,
	MDTS_MAX = 20
};

static uint32_t le32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static uint64_t le64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }

static enum status
identify(struct nvme_ctrl *c, uint32_t cns, uint32_t nsid, uint16_t *sct_sc, const char **why)
{
	struct nvme_sqe e = {
		.cdw0 = ADMIN_IDENTIFY, .nsid = nsid, .prp1 = c->page.iova.v, .cdw10 = cns
	};

	memset(c->page.ptr, 0, PAGE_SIZE);
	return nvme_admin(c, &e, "identify failed", NULL, sct_sc, why);
}

static void
text_field(char *to, const uint8_t *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = from[i] >= ' ' && from[i] <= '~' ? (char)from[i] : ' ';
	while (n != 0 && to[n - 1] == ' ')
		n--;
	to[n] = 0;
}

/* From the identify page to a namespace; false when it cannot be served. */
static bool
read_namespace(const uint8_t *p, uint32_t nsid, struct nvme_ns *out)
{
	uint32_t format = p[NS_FLBAS] & 15u, lbaf, lg2;

	if (p[NS_NLBAF] > 15)		/* only then the upper bits count */
		format |= p[NS_FLBAS] >> 1 & 0x30u;
	if (format > p[NS_NLBAF]) {
		drv_log(
		    "namespace %u uses format %u of %u: not used", nsid, format, p[NS_NLBAF] + 1u);
		return false;
	}
	lbaf = le32(p + NS_LBAF + 4 * format);
	lg2 = (uint32_t)FIELD_GET(LBAF_LBADS, lbaf);
	if (FIELD_GET(LBAF_MS, lbaf) != 0) {
		drv_log("namespace %u has metadata: not used", nsid);
		return false;
	}
	if (lg2 < LBADS_MIN || lg2 > LBADS_MAX) {
		drv_log("namespace %u has blocks of 2^%u bytes: not used", nsid, lg2);
		return false;
	}
	out->nsid = nsid;
	out->blocks = le64(p + NS_NSZE);
	out->block_bytes = 1u << lg2;
	out->read_only = (p[NS_NSATTR] & NSATTR_WRITE_PROTECTED) != 0;
	if (out->blocks > INT64_MAX >> lg2) {
		drv_log("namespace %u claims %llu blocks: not used", nsid,
		    (unsigned long long)out->blocks);
		return false;
	}
	return out->blocks != 0;	/* 0: inactive */
}

static enum status
add_namespace(
    struct nvme_ctrl *c, uint32_t nsid, struct nvme_ns *ns, uint32_t *count, const char **why)
{
	struct nvme_ns n;
	uint16_t code = 0;
	enum status s = identify(c, CNS_NAMESPACE, nsid, &code, why);

	if (s == E_IO && code == SCT_SC_NO_NAMESPACE)
		return OK;
	if (s == E_IO)
		drv_log("namespace %u: %s (type %u code 0x%02x)", nsid, nvme_status_text(code),
		    code >> 8, code & 0xff);
	if (s != OK)
		return s;
	if (!read_namespace(c->page.ptr, nsid, &n))
		return OK;
	if (*count == NVME_NS_MAX) {
		drv_log("more than %u namespaces: namespace %u is not used", NVME_NS_MAX, nsid);
		return OK;
	}
	ns[(*count)++] = n;
	return OK;
}

static enum status
namespaces(struct nvme_ctrl *c, uint32_t nn, struct nvme_ns *ns, uint32_t *count, const char **why)
{
	static uint32_t list[ASK_MAX];
	uint32_t n = 0;
	enum status s;

	if (c->version_major > 1 || c->version_minor >= 1) {
		s = identify(c, CNS_ACTIVE, 0, NULL, why);
		if (s != OK)
			return s;
		for (; n < ASK_MAX; n++) {
			list[n] = le32((const uint8_t *)c->page.ptr + 4 * n);
			if (list[n] == 0 ||
			    (n > 0 && list[n] <= list[n - 1])) /* the end, or not a list */
				break;
		}
	} else {
		for (; n < nn && n < ASK_MAX; n++)
			list[n] = n + 1;
	}
	*count = 0;
	for (uint32_t i = 0; i < n; i++) {
		s = add_namespace(c, list[i], ns, count, why);
		if (s != OK)
			return s;
	}
	return OK;
}

enum status
nvme_identify(struct nvme_ctrl *c, bool again, const char **why)
{
	static struct nvme_ns ns[NVME_NS_MAX];
	const uint8_t *p = c->page.ptr;
	uint64_t max_transfer = min_u64(NVME_TRANSFER_MAX, drv_transfer_max(c->dev));
	uint32_t count = 0, nn;
	bool cache, discards, zeroes;
	char serial[21];
	enum status s = identify(c, CNS_CONTROLLER, 0, NULL, why);

	if (s != OK)
		return s;
	text_field(serial, p + ID_SN, 20);
	text_field(c->model, p + ID_MN, 40);
	text_field(c->firmware, p + ID_FR, 8);
	cache = (p[ID_VWC] & 1) != 0;
	nn = le32(p + ID_NN);
	discards = (p[ID_ONCS] & ONCS_DATASET) != 0;
	zeroes = (p[ID_ONCS] & ONCS_WRITE_ZEROES) != 0;
	if (p[ID_MDTS] != 0 && p[ID_MDTS] < MDTS_MAX)
		max_transfer = min_u64(max_transfer, PAGE_SIZE << p[ID_MDTS]);
	s = namespaces(c, nn, ns, &count, why);
	if (s != OK)
		return s;
	if (again) {
		bool same = strcmp(serial, c->serial) == 0 &&
		    max_transfer >= c->max_transfer_bytes && count == c->ns_count &&
		    cache == c->volatile_cache && discards == c->discards && zeroes == c->zeroes;

		for (uint32_t i = 0; i < count && same; i++)
			same = ns[i].nsid == c->ns[i].nsid &&
			    ns[i].block_bytes == c->ns[i].block_bytes &&
			    ns[i].blocks >= c->ns[i].blocks;
		if (same)
			return OK;
		*why =
		    "it came back as another one: serial number, namespaces or limits have changed";
		return E_CORRUPT;
	}
	memcpy(c->serial, serial, sizeof(serial));
	c->volatile_cache = cache;
	c->discards = discards;
	c->zeroes = zeroes;
	c->max_transfer_bytes = max_transfer;
	memcpy(c->ns, ns, sizeof(ns));
	c->ns_count = count;
	return OK;
}
