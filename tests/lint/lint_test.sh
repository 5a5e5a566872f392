#! /usr/bin/env atf-sh
# Each lint script as a test case.

ROOT=$(cd "$(atf_get_srcdir)/../../.." && pwd)

lint_case() {
	atf_test_case "$1"
	eval "$1_head() { atf_set descr '$2'; }"
	eval "$1_body() { cd '$ROOT' && atf_check -o ignore tests/lint/$1.sh; }"
}
lint_case layers 'nothing includes what it must not know'
lint_case words 'forbidden words stay out of their folders'
lint_case sizes 'files and kernel images stay within their budgets'
lint_case style 'TODOs name an issue, scripts parse'

lint_case made 'what is made from another file is what that file makes'
lint_case requirements 'each requirement has a test that cites it, or is open with a reason'
lint_case documents 'tests that documents name exist, and the list of mutants fits'

atf_init_test_cases() {
	for c in layers words sizes style requirements documents made; do
		atf_add_test_case $c
	done
}
