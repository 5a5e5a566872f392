#!/bin/sh
# Words that stay out of folders (in code, not in comments):
#   the kernel knows no device, no IOMMU and no architecture by name (kern/machine describes them);
#   only arch/ asks which architecture it is compiled for;
#   drivers and programs have no physical address (D3).
cd "$(dirname "$0")/../.." || exit 2

# code REGEX [LEAVE-OUT]: lines of code with file and line number, comments blanked.
code() {
	tests/lint/files "$@" | while read -r f; do
		awk '
		{
			out = ""
			line = $0
			while (line != "") {
				if (inside) {
					end = index(line, "*/")
					if (!end)
						break
					inside = 0
					line = substr(line, end + 2)
				} else {
					block = index(line, "/*")
					rest = index(line, "//")
					if (rest && (!block || rest < block)) {
						out = out substr(line, 1, rest - 1)
						break
					}
					if (!block) {
						out = out line
						break
					}
					out = out substr(line, 1, block - 1) " "
					inside = 1
					line = substr(line, block + 2)
				}
			}
			print FILENAME ":" FNR ":" out
		}' "$f"
	done
}

status=0
forbid() {	# why, regex; code on stdin
	if grep -iE -e "^[^:]*:[0-9]+:.*($2)" | sed "s|$|	<-- $1|" | grep .; then
		status=1
	fi
}

# kern/base/mmio.h holds the barriers, for host programs too: the one exception.
units='nvme|virtio|(^|[^a-z])(vtd|smmu(v[0-9])?|amdvi|x86(_64)?|arm64|aarch64)([^a-z0-9]|$)'
code '^kern/.*\.[ch]$' '^kern/(machine/|base/mmio\.h)' >/tmp/words.$$
trap 'rm -f /tmp/words.$$' EXIT
forbid 'the kernel does not know this word' "$units" </tmp/words.$$

code '\.[ch]$' '^arch/|^usr/lib/(arm64|x86_64)/|^tests/|^kern/base/mmio\.h' >/tmp/words.$$
forbid 'only arch/ asks this' '__x86_64__|__aarch64__|__amd64__|__arm__' </tmp/words.$$

code '^dev/.*\.[ch]$' '^dev/iommu/|/xlate\.[ch]$' >/tmp/words.$$
forbid 'no physical address here (D3)' '(^|[^a-z])paddr([^a-z]|$)' </tmp/words.$$
code '^usr/.*\.[ch]$' >/tmp/words.$$
forbid 'no physical address here (D3)' 'struct[ \t]+paddr([^a-z]|$)' </tmp/words.$$
exit $status
