#!/bin/sh
# TODOs name an issue, nothing is switched off with #if 0, C lines fit into 100 columns, scripts
# parse.
cd "$(dirname "$0")/../.." || exit 2
status=0

files=$(tests/lint/files .)
sources=$(echo "$files" | grep -E '\.(c|h|S|ld|dts|sh|subr)$|^Makefile$|^tools/' | grep -v '^tests/lint/')

if grep -nE '\b(TODO|FIXME|XXX)\b' $sources /dev/null | grep -vE 'TODO[^a-z]*#[0-9]+' | grep .; then
	echo '^^ a TODO names an issue: TODO(#12)'
	status=1
fi
if grep -nE '^[ 	]*#[ 	]*if[ 	]+0\b' $sources /dev/null | grep .; then
	echo '^^ delete it; history keeps it'
	status=1
fi
# A text that people search for stays in one piece.
for f in $(echo "$files" | grep -E '\.[ch]$'); do
	expand -t 8 "$f" | awk -v f="$f" '
	length($0) > 100 && !/"/ { print f ":" NR ": " length($0) " columns"; bad = 1 }
	END { exit bad }' || {
		echo '^^ make format folds statements; fold comments by hand'
		status=1
	}
done
for f in $files; do
	case $(head -c 64 "$f" | head -n 1 | tr -d '\0') in
	'#!'*bash*) shell=bash ;;
	'#!'*[/\ ]sh* | '#!'*atf-sh*) shell=sh ;;
	*) case $f in *.subr) shell=sh ;; *) continue ;; esac ;;
	esac
	$shell -n "$f" || status=1
done
exit $status
