/*
 * The records that this server makes: status.json for the page, metrics for Prometheus.  Everything
 * is asked for when somebody asks, and nothing is kept; docs/services.md tells the fields.
 *
 * No physical address is in what the kernel tells (D3).  Disks and supervisors are asked by call,
 * each with a deadline, and left out when they do not answer.
 */
#include "kern/abi/object.h"
#include "kern/base/bits.h"
#include "usr/httpd/httpd.h"
#include "usr/lib/blk.h"
#include "usr/lib/evidence.h"
#include "usr/lib/names.h"

enum { WATCHED = 40, CONTROLLERS = 16, PROCESSES = 64 };
enum : uint64_t { ASK_NS = NS_PER_S / 2 };

#define U(v) ((unsigned long long)(v))

static bool
info(enum info_what what, uint64_t index, void *to, size_t size)
{
	uint64_t n;

	return sys_info(kernel, what, index, (uint64_t)(uintptr_t)to, size, &n) == OK;
}

static struct supervised watched[WATCHED];	/* drivers */
static unsigned watched_count;

static void
read_watched(void)
{
	watched_count = 0;
	while (watched_count < WATCHED) {
		struct msg m = { .label = DEVMGR_LIST, .words = 1, .w = { watched_count } };

		if (msg_call(devmgr, &m, now_ns() + ASK_NS) != OK || m.label != OK)
			break;
		memcpy(&watched[watched_count], m.w, sizeof(watched[0]));
		watched[watched_count++].name[PROCESS_NAME - 1] = 0;
	}
}

static const struct supervised *
driver_of(const struct function_info *f)
{
	for (unsigned i = 0; i < watched_count; i++)
		if (watched[i].driver && watched[i].pid != 0 &&
		    watched[i].function == ((uint32_t)f->segment << 16 | f->rid))
			return &watched[i];
	return NULL;
}

static bool
claim_of(const struct function_info *f, struct device_info *d)
{
	for (uint64_t i = 0; f->claimed && info(INFO_DEVICE, i, d, sizeof(*d)); i++)
		if (d->segment == f->segment && d->rid == f->rid)
			return true;
	*d = (struct device_info){ 0 };
	return false;
}

/* What the kernel's checks of a function's queues came to. */
static void
checks_of(const struct function_info *f, uint64_t *accepted, uint64_t *refused)
{
	struct queue_counts q;

	*accepted = *refused = 0;
	for (uint64_t i = 0; info(INFO_QUEUE, i, &q, sizeof(q)); i++)
		if (q.segment == f->segment && q.rid == f->rid) {
			*accepted += q.accepted;
			*refused += q.refused;
		}
}

static const char *
backend_of(const struct function_info *f, bool claimed, const struct device_info *d)
{
	static const char *const text[] = { "unsupported", "direct-remapping", "bounce-buffer" };
	uint8_t lane = claimed ? d->lane : f->verdict;

	return text[lane <= LANE_BROKERED ? lane : LANE_UNSUPPORTED];
}

static void
devices(struct text *t)
{
	struct function_info f;
	unsigned n = 0;

	text_put(t, "\"devices\": [");
	for (uint64_t i = 0; info(INFO_FUNCTION, i, &f, sizeof(f)); i++) {
		struct device_info d;
		const struct supervised *s = driver_of(&f);
		bool claimed;
		uint64_t accepted, refused;
		char function[FUNCTION_TEXT];

		if (f.is_bridge)
			continue;
		claimed = claim_of(&f, &d);
		checks_of(&f, &accepted, &refused);
		name_function(function, (uint32_t)f.segment << 16 | f.rid);
		text_put(t, "%s\n{ ", n++ != 0 ? "," : "");
		text_field(t, "function", function, ", ");
		text_put(t, "\"vendor\": \"%04x\", \"device\": \"%04x\", ", f.vendor, f.device);
		text_field(t, "kind", name_class(f.class_code), ", ");
		text_put(t, "\"group\": %u, ", f.group);
		if (s != NULL)
			text_field(t, "driver", s->name, ", ");
		else
			text_put(t, "\"driver\": null, ");
		text_field(t, "backend", backend_of(&f, claimed, &d), ", ");
		text_field(t, "reason", f.refused[0] != 0 ? f.refused : f.reason, ", ");
		text_field(t, "domain", d.domain, ", ");
		text_put(t,
		    "\"grants\": %llu, \"grant_kib\": %llu, \"accepted\": %llu, \"refused\": %llu, "
		    "\"registers_refused\": %llu, \"bus_master\": %s, \"faults\": %u }",
		    U(d.grants), U(d.grant_pages * PAGE_SIZE / KIB), U(accepted), U(refused),
		    U(d.registers_refused), f.bus_master ? "true" : "false", f.faults);
	}
	text_put(t, " ],\n");
}

static void
units(struct text *t)
{
	struct unit_info u;

	text_put(t, "\"units\": [");
	for (uint64_t i = 0; info(INFO_UNIT, i, &u, sizeof(u)); i++) {
		text_put(t, "%s\n{ ", i != 0 ? "," : "");
		text_field(t, "name", u.name, ", ");
		text_field(t, "features", u.features, ", ");
		text_put(t,
		    "\"broken\": %s, \"domains\": %u, \"maps\": %llu, \"unmaps\": %llu, "
		    "\"invalidations\": %llu, \"faults\": %llu, \"faults_lost\": %llu }",
		    u.broken ? "true" : "false", u.domains, U(u.maps), U(u.unmaps),
		    U(u.invalidations), U(u.faults), U(u.faults_lost));
	}
	text_put(t, " ],\n");
}

/* --- disks ----------------------------------------------------------------- */

struct space {
	char name[24], model[41];
	uint64_t bytes, reads, writes, flushes;
	uint32_t errors, refused;
};

static void
each_disk(void (*take)(struct text *t, const struct space *d, unsigned n), struct text *t)
{
	unsigned count = 0;

	for (uint64_t c = 0; c < CONTROLLERS; c++) {
		struct msg m = { .label = DEVMGR_BLOCK, .words = 1, .w = { c } },
			   name = { .label = BLK_CALL_NAME };
		handle_t e;

		if (msg_call(devmgr, &m, now_ns() + ASK_NS) != OK || m.label == E_NOT_FOUND)
			return;
		if (m.label != OK)
			continue;
		e = (handle_t)m.w[0];
		if ((uint8_t)m.w[5] == SUPERVISED_RUNNING &&
		    msg_call(e, &name, now_ns() + ASK_NS) == OK)
			for (uint64_t n = 0;; n++) {
				struct space d = { 0 };

				m = (struct msg){ .label = BLK_CALL_INFO, .words = 1, .w = { n } };
				if (msg_call(e, &m, now_ns() + ASK_NS) != OK || m.label != OK)
					break;
				fmt_buf(d.name, sizeof(d.name), "nvme%llun%llu", U(c), U(n + 1));
				fmt_buf(
				    d.model, sizeof(d.model), "%.40s", (const char *)&name.w[0]);
				d.bytes = m.w[0] * m.w[1];
				d.reads = m.w[4];
				d.writes = m.w[5];
				d.flushes = m.w[6];
				d.errors = (uint32_t)m.w[7];
				d.refused = (uint32_t)(m.w[7] >> 32);
				take(t, &d, count++);
			}
		(void)sys_handle_close(e);
	}
}

static void
json_disk(struct text *t, const struct space *d, unsigned n)
{
	text_put(t, "%s\n{ ", n != 0 ? "," : "");
	text_field(t, "name", d->name, ", ");
	text_field(t, "model", d->model, ", ");
	text_put(t,
	    "\"bytes\": %llu, \"reads\": %llu, \"writes\": %llu, \"flushes\": %llu, \"errors\": %u, "
	    "\"refused\": %u }",
	    U(d->bytes), U(d->reads), U(d->writes), U(d->flushes), d->errors, d->refused);
}

/* --- processes, network ---------------------------------------------------- */

static void
processes(struct text *t)
{
	static struct process_info p[PROCESSES];
	unsigned count = 0;

	while (count < PROCESSES && info(INFO_PROCESS, count, &p[count], sizeof(p[0])))
		count++;
	text_put(t, "\"processes\": [");
	for (unsigned i = 0; i < count; i++) {
		const struct supervised *s = NULL;
		uint64_t pages = p[i].pages;

		/* Without the quotas that it handed to its children. */
		for (unsigned k = 0; k < count; k++)
			if (p[k].parent_id == p[i].id && p[k].id != p[i].id)
				pages -= min_u64(pages, p[k].pages_max);
		for (unsigned k = 0; k < watched_count; k++)
			if (watched[k].pid == p[i].id)
				s = &watched[k];
		text_put(t, "%s\n{ ", i != 0 ? "," : "");
		text_field(t, "name", p[i].name, ", ");
		text_put(t,
		    "\"pid\": %u, \"parent\": %u, \"cpu_ns\": %llu, \"kib\": %llu, \"threads\": %u, "
		    "\"handles\": %u, \"quota_refused\": %llu, \"restarts\": ",
		    p[i].id, p[i].parent_id, U(p[i].cpu_ns), U(pages * PAGE_SIZE / KIB),
		    p[i].threads, p[i].handles, U(p[i].quota_refused));
		if (s != NULL)
			text_put(t, "%llu }", U(s->restarts));
		else
			text_put(t, "null }");
	}
	text_put(t, " ]\n");
}

static void
network(struct text *t)
{
	struct sock_interface n;
	char v4[46], v6[46];

	if (!network_now(&n)) {
		text_put(t, "\"net\": null,\n");
		return;
	}
	sock_addr_text(&n.v4, v4, sizeof(v4));
	sock_addr_text(&n.v6[0], v6, sizeof(v6));
	text_put(t,
	    "\"net\": { \"mac\": \"%02x:%02x:%02x:%02x:%02x:%02x\", \"mtu\": %u, \"link\": %s, ",
	    n.mac[0], n.mac[1], n.mac[2], n.mac[3], n.mac[4], n.mac[5], n.mtu,
	    n.link != 0 ? "true" : "false");
	text_field(t, "v4", v4, ", ");
	text_field(t, "v6", v6, ",\n  ");
	text_put(t,
	    "\"rx_packets\": %llu, \"tx_packets\": %llu, \"rx_bytes\": %llu, \"tx_bytes\": %llu, "
	    "\"rx_dropped\": %llu, \"tx_dropped\": %llu, \"checksum_errors\": %llu, \"tcp_resent\": %llu, "
	    "\"nic_restarts\": %llu, \"sockets\": %u, \"refused\": %u },\n",
	    U(n.rx_packets), U(n.tx_packets), U(n.rx_bytes), U(n.tx_bytes), U(n.rx_dropped),
	    U(n.tx_dropped), U(n.checksum_errors), U(n.tcp_resent), U(n.nic_restarts), n.sockets,
	    n.refused);
}

void
status_json(struct text *t)
{
	struct memory_info m = { 0 };
	struct clock_info clock = { 0 };
	struct cpu_info c;
	uint64_t now = now_ns();
	unsigned n = 0;

	read_watched();
	(void)info(INFO_MEMORY, 0, &m, sizeof(m));
	(void)info(INFO_CLOCK, 0, &clock, sizeof(clock));
	text_put(t, "{ \"arch\": \"%s\", \"uptime_ns\": %llu, \"date_s\": %llu,\n\"cpus\": [",
	    arch_name, U(now),
	    U(clock.wall_at_boot_s == 0 ? 0 : clock.wall_at_boot_s + now / NS_PER_S));
	for (uint64_t i = 0; info(INFO_CPU, i, &c, sizeof(c)); i++)
		if (c.online)
			text_put(t,
			    "%s\n{ \"id\": %u, \"busy_ns\": %llu, \"idle_ns\": %llu, \"interrupts\": %llu, "
			    "\"switches\": %llu }",
			    n++ != 0 ? "," : "", c.id, U(c.busy_ns), U(c.idle_ns), U(c.interrupts),
			    U(c.switches));
	text_put(t,
	    " ],\n\"memory\": { \"total_kib\": %llu, \"free_kib\": %llu, \"kernel_kib\": %llu, "
	    "\"user_kib\": %llu, \"iommu_kib\": %llu, \"quarantined_kib\": %llu },\n",
	    U(m.total * 4), U(m.free * 4), U((m.kernel + m.table) * 4), U(m.user * 4),
	    U(m.iommu * 4), U(m.quarantined * 4));
	static_assert(PAGE_SIZE == 4 * KIB);
	units(t);
	devices(t);
	text_put(t, "\"disks\": [");
	each_disk(json_disk, t);
	text_put(t, " ],\n");
	network(t);
	processes(t);
	text_put(t, "}\n");
}

/* --- metrics --------------------------------------------------------------- */

/* Nanoseconds as seconds. */
static void
seconds(struct text *t, uint64_t ns)
{
	text_put(t, "%llu.%09llu\n", U(ns / NS_PER_S), U(ns % NS_PER_S));
}

static void
about(struct text *t, const char *name, const char *type, const char *help)
{
	text_put(t, "# HELP capos_%s %s\n# TYPE capos_%s %s\n", name, help, name, type);
}

static void
metric_reads(struct text *t, const struct space *d, unsigned n UNUSED)
{
	text_put(
	    t, "capos_disk_requests_total{disk=\"%s\",op=\"read\"} %llu\n", d->name, U(d->reads));
	text_put(t, "capos_disk_requests_total{disk=\"%s\",op=\"write\"} %llu\n", d->name,
	    U(d->writes));
	text_put(t, "capos_disk_requests_total{disk=\"%s\",op=\"flush\"} %llu\n", d->name,
	    U(d->flushes));
}

static void
metric_errors(struct text *t, const struct space *d, unsigned n UNUSED)
{
	text_put(t, "capos_disk_errors_total{disk=\"%s\"} %u\n", d->name, d->errors);
}

static void
network_metrics(struct text *t)
{
	struct sock_interface n;

	if (!network_now(&n))
		return;
	about(t, "net_packets_total", "counter", "Packets of the network interface.");
	text_put(t,
	    "capos_net_packets_total{way=\"in\"} %llu\ncapos_net_packets_total{way=\"out\"} %llu\n",
	    U(n.rx_packets), U(n.tx_packets));
	about(t, "net_pair_packets_total", "counter", "Packets of each pair of the NIC's queues.");
	for (uint32_t i = 0; i < n.pairs && i < SOCK_PAIRS; i++)
		text_put(t,
		    "capos_net_pair_packets_total{pair=\"%u\",way=\"in\"} %llu\n"
		    "capos_net_pair_packets_total{pair=\"%u\",way=\"out\"} %llu\n",
		    i, U(n.pair[i].rx_packets), i, U(n.pair[i].tx_packets));
	about(t, "net_bytes_total", "counter", "Bytes of the network interface.");
	text_put(t,
	    "capos_net_bytes_total{way=\"in\"} %llu\ncapos_net_bytes_total{way=\"out\"} %llu\n",
	    U(n.rx_bytes), U(n.tx_bytes));
	about(t, "net_dropped_total", "counter", "Packets that were dropped here.");
	text_put(t,
	    "capos_net_dropped_total{way=\"in\"} %llu\ncapos_net_dropped_total{way=\"out\"} %llu\n",
	    U(n.rx_dropped), U(n.tx_dropped));
	about(t, "net_others_total", "counter", "Packets that were for other stations.");
	text_put(t, "capos_net_others_total %llu\n", U(n.rx_others));
	about(t, "net_link_up", "gauge", "Whether the network interface has a link.");
	text_put(t, "capos_net_link_up %u\n", n.link);
	about(t, "net_link_lost_total", "counter", "Times that the link went.");
	text_put(t, "capos_net_link_lost_total %llu\n", U(n.link_losses));
	about(t, "net_mtu_bytes", "gauge", "The longest packet without its Ethernet header.");
	text_put(t, "capos_net_mtu_bytes %u\n", n.mtu);
	about(t, "tcp_resent_total", "counter", "TCP segments that were sent again.");
	text_put(t, "capos_tcp_resent_total %llu\n", U(n.tcp_resent));
}

void
status_metrics(struct text *t)
{
	struct memory_info m = { 0 };
	struct function_info f;
	struct process_info p;
	struct unit_info u;
	struct cpu_info c;
	char function[FUNCTION_TEXT];

	(void)info(INFO_MEMORY, 0, &m, sizeof(m));
	about(t, "uptime_seconds", "gauge", "Time since boot.");
	text_put(t, "capos_uptime_seconds ");
	seconds(t, now_ns());
	about(t, "cpu_seconds_total", "counter", "What processors did.");
	for (uint64_t i = 0; info(INFO_CPU, i, &c, sizeof(c)); i++) {
		text_put(t, "capos_cpu_seconds_total{cpu=\"%u\",mode=\"busy\"} ", c.id);
		seconds(t, c.busy_ns);
		text_put(t, "capos_cpu_seconds_total{cpu=\"%u\",mode=\"idle\"} ", c.id);
		seconds(t, c.idle_ns);
	}
	about(t, "memory_bytes", "gauge", "Memory by use.");
	text_put(t,
	    "capos_memory_bytes{use=\"free\"} %llu\ncapos_memory_bytes{use=\"kernel\"} %llu\n"
	    "capos_memory_bytes{use=\"user\"} %llu\ncapos_memory_bytes{use=\"iommu\"} %llu\n"
	    "capos_memory_bytes{use=\"quarantined\"} %llu\n",
	    U(m.free * PAGE_SIZE), U((m.kernel + m.table) * PAGE_SIZE), U(m.user * PAGE_SIZE),
	    U(m.iommu * PAGE_SIZE), U(m.quarantined * PAGE_SIZE));
	about(t, "iommu_faults_total", "counter", "Accesses that an IOMMU refused.");
	for (uint64_t i = 0; info(INFO_UNIT, i, &u, sizeof(u)); i++)
		text_put(t, "capos_iommu_faults_total{unit=\"%s\"} %llu\n", u.name, U(u.faults));
	about(t, "device_faults_total", "counter", "Accesses of a device that were refused.");
	for (uint64_t i = 0; info(INFO_FUNCTION, i, &f, sizeof(f)); i++)
		if (!f.is_bridge) {
			name_function(function, (uint32_t)f.segment << 16 | f.rid);
			text_put(t, "capos_device_faults_total{function=\"%s\"} %u\n", function,
			    f.faults);
		}
	about(t, "disk_requests_total", "counter", "Requests that disks' servers took.");
	each_disk(metric_reads, t);
	about(t, "disk_errors_total", "counter", "Requests that ended in an error.");
	each_disk(metric_errors, t);
	network_metrics(t);
	about(t, "process_cpu_seconds_total", "counter", "Processor time of processes.");
	for (uint64_t i = 0; info(INFO_PROCESS, i, &p, sizeof(p)); i++) {
		text_put(
		    t, "capos_process_cpu_seconds_total{pid=\"%u\",name=\"%s\"} ", p.id, p.name);
		seconds(t, p.cpu_ns);
	}
}

void
status_evidence(struct text *t)
{
	struct evidence_record x = { kernel, devmgr, t };

	static_assert((size_t)PAGE_BYTES >= EVIDENCE_BYTES);
	evidence_json(&x);
}
