#!/bin/sh
# What documents name exists.  A name in backquotes is a test file (lanes.sh, ring_test.c, xlate_test, tests/sys/lanes.sh), a case of one
# (lanes.sh:mapped_reads_the_same_bytes, or with "..." at its end), a file of tests/, or, with three underscores and more, a case of any.
# And tests/mutation.list fits the sources.
cd "$(dirname "$0")/../.." || exit 2
cases=$(mktemp) names=$(mktemp)
trap 'rm -f "$cases" "$names"' EXIT
# "FILE CASE" of all tests.
git ls-files -co --exclude-standard -- 'tests/*.sh' 'tests/*_test.c' | xargs grep -oE '(atf_add_test_case|ATF_TP_ADD_TC\(tp,) [a-z0-9_]+' |
    sed 's/:[^ ]* / /' >"$cases"
git ls-files -co --exclude-standard -- 'tests/*.sh' 'tests/*_test.c' | sed 's/$/ /' >>"$cases"
git ls-files -co --exclude-standard -- 'docs/*.md' README.md BUILD.md 'kern/*.md' 'dev/*.md' | xargs awk '{
	n = split($0, part, "`")
	for (i = 2; i <= n; i += 2) if (part[i] ~ /^[A-Za-z0-9_.:\/ -]+$/) print FILENAME ":" FNR " " part[i]
}' >"$names"

awk '
	FILENAME == ARGV[1] {
		known[$1] = 1; has[$1 " " $2] = 1; all[$2] = 1
		base = $1; sub(/.*\//, "", base)
		files[base] = files[base] " " $1
		next
	}
	{
		place = $1; name = $0; sub(/^[^ ]* /, "", name)
		file = name; wanted = ""
		if (match(name, /: ?/)) { file = substr(name, 1, RSTART - 1); wanted = substr(name, RSTART + RLENGTH) }
		if (file ~ /^(tools|build)\//) next
		if (file ~ /^(arm64|x86_64)\/[a-z0-9_]+_test$/) { sub(/.*\//, "", file); sub(/_test$/, ".sh", file) }
		if (file ~ /_test$/) { sub(/^host\//, "", file); file = file ".c" }
		if (file ~ /[a-z0-9]\.sh$/ || file ~ /_test\.c$/) {
			base = file; sub(/.*\//, "", base)
			n = split(files[base], candidate, " "); found = 0; right = wanted == ""
			for (i = 1; i <= n; i++) {
				c = candidate[i]
				if (c != file && substr(c, length(c) - length(file)) != "/" file) continue
				found = 1
				start = wanted
				if (sub(/\.\.\.$/, "", start)) { for (h in has) if (index(h, c " " start) == 1) right = 1 }
				else if (has[c " " wanted]) right = 1
			}
			if (!found) { print place ": there is no test " file; bad = 1 }
			else if (!right) { print place ": " file " has no test " wanted; bad = 1 }
		} else if (name ~ /^[a-z0-9]+(_[a-z0-9]+)(_[a-z0-9]+)(_[a-z0-9]+)+$/ && !all[name])
			print "?" place " " name
	}
	END { exit bad }' "$cases" "$names" >"$cases.said"
status=$?
# Other words of that form are of the sources.
while read -r line; do
	case $line in
	\?*)
		name=${line##* } place=${line%% *}
		git grep -q -w -e "$name" -- kern dev usr arch boot tools dts tests ':!tests/lint' ||
		    { echo "${place#?}: there is no test, and nothing else, of the name $name"; status=1; } ;;
	*) echo "$line" ;;
	esac
done <"$cases.said"
rm -f "$cases.said"
# Files of tests/ by their path.
while read -r place file; do
	[ -e "$file" ] || { echo "$place: there is no $file"; status=1; }
done <<END
$(sed -n -E 's/^([^ ]*) (tests\/[a-z0-9_\/.-]+)$/\1 \2/p' "$names" | sed 's/:[^:/]*$//')
END
tools/mutate fits || status=1
exit $status
