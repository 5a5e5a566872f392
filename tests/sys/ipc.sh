#! /usr/bin/env atf-sh
# Messages and signals between processes, on one CPU and on several, while servers are killed (usr/shell/stress.c).
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

stress() { # CPUs
	capos_boot SMP=$1 CMD="stress $(capos_scale 2000 50000)"
	capos_expect '^stress: [0-9]*[0-9][0-9][0-9] calls of [0-9]* answered, and every answer was right'
}

atf_test_case every_answer_is_right_on_one_cpu
every_answer_is_right_on_one_cpu_head() { atf_set timeout 600; }
every_answer_is_right_on_one_cpu_body() { stress 1; }

atf_test_case every_answer_is_right_on_four_cpus
every_answer_is_right_on_four_cpus_head() { atf_set timeout 600; }
every_answer_is_right_on_four_cpus_body() { stress 4; }

atf_init_test_cases() {
	atf_add_test_case every_answer_is_right_on_one_cpu
	atf_add_test_case every_answer_is_right_on_four_cpus
}
