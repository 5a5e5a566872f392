#!/bin/sh
# Who may include whom.  Every dependency is visible as #include "path/from/the/root.h", so this is a
# table of (who, what); the first column that fits a file decides, and a line of it must fit the include.
cd "$(dirname "$0")/../.." || exit 2

tests/lint/files '\.[chS]$' | xargs grep -HnE '^[ \t]*#[ \t]*include' | awk '
BEGIN {
	base   = "kern/base/"
	tier0  = base "|kern/abi/"
	tier1  = "dev/[a-z0-9]+/(wire|ring|prp|vring)\\.h$"
	tier2  = "kern/md/|kern/dma/(iommu|xlate|canary)\\.h$"
	fdt    = "kern/machine/fdt\\.h$"	# pure, and manifests are device trees
	compiler = "^(stdarg|stdbool|stddef|stdint|stdckdint|stdatomic|stdalign|stdnoreturn|limits)\\.h$"

	# who; what with quotes; more with angle brackets
	rule("tests/|tools/", ".", ".")
	rule("kern/base/", base)
	rule("kern/abi/", tier0)
	rule("dev/[a-z0-9]+/(wire|ring|prp|vring)\\.[ch]$", tier0 "|" tier1)
	rule("kern/md/", tier0 "|" tier2, "^md_(inline|pte)\\.h$")
	rule("kern/dma/(iommu|xlate|canary)\\.h$", tier0 "|" tier2)
	rule("dev/[a-z0-9]+/(xlate(_[a-z]+)?|canary)\\.[ch]$", tier0 "|" tier1 "|" tier2 "|kern/dma/ring_run\\.h$|dev/[a-z0-9]+/(xlate(_[a-z]+)?|canary)\\.h$")
	rule("kern/", "kern/", "^md_(inline|pte)\\.h$")
	rule("dev/iommu/", tier0 "|" tier2 "|kern/|dev/iommu/")
	rule("dev/drv\\.h$", tier0)
	rule("dev/", tier0 "|" tier1 "|dev/drv\\.h$|OWN")
	rule("arch/", "kern/|dev/iommu/|" tier1 "|dev/[a-z0-9]+/(xlate|canary)\\.h$|arch/OWN", "^md_(inline|pte)\\.h$")
	rule("boot/", tier0 "|boot/|kern/machine/(handover|console_kind)\\.h$", "^boot_md\\.h$")
	# lwIP, and what stands for the C library there.
	rule("usr/tcpip/", tier0 "|lwip/|netif/|usr/", "^(string|stdlib|sys/types)\\.h$")
	rule("usr/", tier0 "|" tier1 "|" fdt "|dev/drv\\.h$|dev/(nvme|virtio|[a-z0-9]+)/|usr/", "^md_call\\.h$")
}
function rule(file, quoted, angle) {
	who[++rules] = "^(" file ")"
	what[rules] = "^(" quoted ")"
	more[rules] = angle
}
{
	split($0, part, ":")
	file = part[1]
	for (r = 1; r <= rules && file !~ who[r]; r++)
		;
	if (r > rules) {
		bad("this folder is not in tests/lint/layers.sh")
		next
	}
	if (match($0, /<[^>]*>/)) {
		name = substr($0, RSTART + 1, RLENGTH - 2)
		if (name !~ compiler && (more[r] == "" || name !~ more[r]))
			bad("<" name "> is not the compiler'"'"'s own")
		next
	}
	if (!match($0, /"[^"]*"/))
		next
	name = substr($0, RSTART + 1, RLENGTH - 2)
	split(file, at, "/")
	allowed = what[r]
	gsub(/arch\/OWN/, "arch/" at[2] "/", allowed)
	gsub(/OWN/, "dev/" at[2] "/", allowed)
	if (name !~ allowed)
		bad("must not know " name)
	else if (file ~ /^usr\// && name ~ /^dev\/(iommu\/|[a-z0-9]+\/(xlate|canary)\.h)/)
		bad("programs know drivers, not " name)
}
function bad(why) {
	printf "%s:%s: %s\n", part[1], part[2], why
	failed = 1
}
END { exit failed }'
