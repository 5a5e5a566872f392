#!/bin/sh
# Budgets: a source file has one idea (over 700 lines: look for the second; over 1000: fails), and a
# kernel image has at most 512 KiB.
cd "$(dirname "$0")/../.." || exit 2

tests/lint/files '\.(c|h|S|sh|subr)$|^Makefile$|^tools/|^\.ci/' | while read -r f; do
	wc -l "$f"
done | awk '
$1 > 1000 { print $2 ": " $1 " lines, over 1000"; failed = 1; next }
$1 > 700 { print $2 ": " $1 " lines: is there a second idea?" }
END { exit failed }' || status=1

for kernel in build/*/release/kernel.elf; do
	[ -f "$kernel" ] || continue
	llvm-size-19 "$kernel" | awk -v name="$kernel" '
	NR == 2 {
		bytes = $1 + $2
		printf "%s: %d KiB of 512\n", name, (bytes + 1023) / 1024
		exit bytes > 512 * 1024
	}' || { echo "$kernel: over budget"; status=1; }
done
exit ${status:-0}
