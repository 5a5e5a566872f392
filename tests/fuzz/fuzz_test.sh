#! /usr/bin/env atf-sh
# Each fuzzer, over its corpus and a fixed number of runs from a fixed seed.

ROOT=$(cd "$(atf_get_srcdir)/../../.." && pwd)
FUZZERS=$(cd "$ROOT/tests/fuzz" && for f in *.c; do [ -e "$f" ] && echo "${f%.c}"; done)

for f in $FUZZERS; do
	atf_test_case "$f"
	eval "${f}_head() { atf_set descr 'no input crashes $f'; }"
	eval "${f}_body() { atf_check -e ignore -o ignore '$ROOT/tests/fuzz/run' $f -seed=1 -runs=20000; }"
done

atf_init_test_cases() {
	for f in $FUZZERS; do
		atf_add_test_case "$f"
	done
}
