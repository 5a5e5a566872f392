#!/bin/sh
# docs/requirements.md: each id has a test that exists and cites it, or a line under "Open"; and no test cites what the table does
# not say.  A test file cites in one line, "Requirements: E1 A3".
cd "$(dirname "$0")/../.." || exit 2
doc=docs/requirements.md
status=0
wrong() { echo "$doc: $*"; status=1; }

# The ids of the source documents: how many there are of each letter.
ids=$(for group in E8 S4 A5 M4 V8 N5; do
	n=1
	while [ $n -le "${group#?}" ]; do echo "${group%?}$n"; n=$((n + 1)); done
done)
rows=$(sed -n 's/^| \([ESAMVN][0-9][0-9]*\) | .* | \(.*\) |$/\1 \2/p' "$doc")
closed=$(sed '/^## Open/,$d' "$doc" | sed -n 's/^| \([ESAMVN][0-9][0-9]*\) | .* | \(.*\) |$/\1 \2/p')
open=$(sed -n '/^## Open/,$s/^| \([ESAMVN][0-9][0-9]*\) | .* | \(.*\) |$/\1 \2/p' "$doc")
for id in $ids; do
	n=$(printf '%s\n' "$rows" | grep -c "^$id ")
	[ "$n" -eq 1 ] || wrong "$id has $n rows, not one"
done
for id in $(printf '%s\n' "$rows" | cut -d ' ' -f 1); do
	printf '%s\n' "$ids" | grep -q -x "$id" || wrong "$id is none of the documents'"
done
printf '%s\n' "$open" | grep -q '`' && wrong 'an open id names a test, or code: it is not open'

has_case() { grep -q -E "(atf_add_test_case|ATF_TP_ADD_TC\\(tp,) $2(\\);)?( |\$)" "$1"; }
cited=$(mktemp) said=$(mktemp)
printf '%s\n' "$closed" | while read -r id tests; do
	[ -n "$tests" ] || echo "$doc: $id has no test" >&2
	for test in $(printf '%s' "$tests" | tr -d '`'); do
		file=${test%%:*} case=${test#*:}
		echo "$file $id"
		if [ ! -f "$file" ]; then
			echo "$doc: $id: there is no $file" >&2
		elif ! has_case "$file" "$case"; then
			echo "$doc: $id: $file has no test $case" >&2
		fi
	done
done 2>"$said" | sort -u >"$cited"
[ ! -s "$said" ] || { cat "$said"; status=1; }
git grep -E '^(#| \*|//) Requirements: ' -- tests | while IFS=: read -r file comment list; do
	for id in $list; do echo "$file $id"; done
done | sort -u >"$said"
diff "$cited" "$said" | sed -n "s/^< \(.*\)/\1: the table names it, the file does not cite it/p; s/^> \(.*\)/\1: the file cites it, the table does not name it/p" | grep . && status=1
rm -f "$cited" "$said"
exit $status
