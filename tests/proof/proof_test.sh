#! /usr/bin/env atf-sh
# Each proof harness of this folder.

ROOT=$(cd "$(atf_get_srcdir)/../../.." && pwd)
PROOFS=$(cd "$ROOT/tests/proof" && for f in *.c; do [ -e "$f" ] && echo "${f%.c}"; done)

for f in $PROOFS; do
	atf_test_case "$f"
	eval "${f}_head() { atf_set descr 'the model checker finds no counter-example'; atf_set timeout 900; }"
	eval "${f}_body() {
		'$ROOT/tools/cbmc' --version >/dev/null 2>&1 || atf_skip 'no CBMC 6: tools/bootstrap gets it where it can'
		atf_check -o save:out -e save:err '$ROOT/tools/cbmc' '$ROOT/tests/proof/$f.c' || { tail -n 60 out err; atf_fail 'see above'; }
	}"
done

atf_init_test_cases() {
	for f in $PROOFS; do
		atf_add_test_case "$f"
	done
}
