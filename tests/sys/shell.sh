#! /usr/bin/env atf-sh
# A person at the prompt: keys, history, Ctrl-C, mistakes, noise.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# ask LINE REGEX...: types the line; each regex matches a line of the answer, in order.
ask() {
	capos_type "$1"
	shift
	for regex; do
		capos_wait "$regex"
	done
}

# says LINE TEXT: types the line with escapes as for printf; the shell understood it as TEXT, a command that does not exist.
says() {
	capos_key "$1\\r"
	capos_wait "^$2: no such command"
}

atf_test_case keys_edit_the_line
keys_edit_the_line_head() { atf_set timeout 300; }
keys_edit_the_line_body() {
	capos_start
	capos_wait 'Ctrl-C stops one'
	says 'bd\001a\006c\005e' abcde			# Ctrl-A F E
	says 'ad\033[Db\033ODc\033[C\033[Ce' acbde	# arrows, both modes
	says 'abx\177\b\b\bxyz' xyz			# backspaces, more than there is
	says '\033[Bfoo bar\027\027baz' baz		# Ctrl-W
	says 'xyz\025abc' abc				# Ctrl-U
	says 'abcxyz\002\002\002\013' abc		# Ctrl-K
	says 'xabc\033[H\033[3~' abc			# Home, Delete
	says 'a\033[99;5xb\033[200~c\0330Pd' abcPd	# sequences that mean nothing
	says 'a\000\200\377\302\233b\034c' abc		# bytes that mean nothing
	ask "$(printf 'pow\t\003')" '\^C'		# completed and given up
	capos_key 'ver\tnothing\025he\t\tlp\r'
	capos_wait '^usage: |help COMMAND'
	capos_key '\004'
	capos_wait '"poweroff" ends the system'
	ask poweroff 'power off'
	capos_end
}

atf_test_case the_history_is_kept
the_history_is_kept_head() { atf_set timeout 300; }
the_history_is_kept_body() {
	capos_start
	capos_wait 'Ctrl-C stops one'
	ask first '^first: no such command'
	ask second '^second: no such command'
	says '\033[A' second
	says '\033[A\033[Ax' firstx			# twice the same is once
	says 'mine\033[A\033[A\033[B\033[B!' 'mine!'
	says '\020\020\020\016\0167' 'mine!7'
	capos_stop
}

atf_test_case a_long_command_is_stopped
a_long_command_is_stopped_head() { atf_set timeout 600; }
a_long_command_is_stopped_body() {
	capos_disk disk.img 512M 60
	capos_start DISK=disk.img SMP=2
	capos_wait 'Ctrl-C stops one'
	capos_type 'sha256 nvme0n1'
	sleep 1
	capos_key '\003'
	capos_wait '^(.*)?stopped' 20
	# What is typed ahead is the next line, unless Ctrl-C takes it along.
	capos_key 'sleep 600000\r'
	sleep 1
	capos_key 'lost\r\003kept\r'
	capos_wait '^kept: no such command' 20
	tail -n 5 serial.txt | grep -q '^lost:' && capos_fail 'a line typed before Ctrl-C was run'
	capos_key 'sleep 700\rahead\r'
	capos_wait '^ahead: no such command' 20
	ask 'repeat 1000000 "sha256 nvme0n1 0 4096"' '  nvme0n1'
	capos_key '\003'
	capos_wait 'repeat: (stopped in round|round [0-9]+ of 1000000 failed)' 20
	ask 'sha256 nvme0n1 0 1M' "^$(capos_sha256 disk.img 0 1048576)  nvme0n1"
	capos_stop
}

atf_test_case mistakes_are_explained
mistakes_are_explained_head() { atf_set timeout 300; }
mistakes_are_explained_body() {
	capos_start
	capos_wait 'Ctrl-C stops one'
	ask nonsense '^nonsense: no such command; "help" lists them'
	ask sleep '^sleep: an argument is missing' '^usage: sleep MILLISECONDS'
	ask 'sleep 1 2' '^sleep: too many arguments' '^usage: sleep'
	ask 'sleep 12q' '^sleep: MILLISECONDS: "12q" is not a number'
	ask 'sleep 0x' 'is not a number'
	ask 'sleep 99999999999999999999' 'is not a number'
	ask 'sleep 99999999999999T' 'is not a number'
	ask 'sleep 0x1; sleep 0' 'capos> '
	ask 'write nvme0n1 0 "open' 'the quote " is not closed'
	ask 'a b c d e f g h i j k l m n o p q' '^more than 16 words'
	ask 'help help' '^usage: help \[COMMAND\]'
	ask 'help nothing' '^help: there is no command "nothing"'
	ask 'sha256 --help' '^usage: sha256 DEV \[OFFSET LENGTH\]'
	ask 'hexdump nvme0n1' 'no such controller'
	ask 'kill nobody' '^kill: nobody: no process of that name runs'
	ask 'kill init' '^kill: init: it ends only with the machine'
	ask 'repeat 3 "nonsense"' '^nonsense: no such' '^repeat: round 1 of 3 failed'
	ask ' ; ;; help sleep ; nonsense' '^usage: sleep' '^nonsense: no such'
	capos_stop
}

# 200 KB of noise, and lines of 2000 characters: the shell goes on.
atf_test_case noise_is_survived
noise_is_survived_head() { atf_set timeout 600; }
noise_is_survived_body() {
	capos_start
	capos_wait 'Ctrl-C stops one'
	long=$(printf '%02000d' 7)
	capos_type "$long"
	capos_wait '^0+: no such command'
	# Not the start of a command that ends the system, however unlikely.
	"$ROOT/build/host/randfile" 200K 61 | tr 'pr' 'xx' >noise
	timeout 300 cat noise >&7 || capos_fail 'the guest does not read'
	capos_key '\030\033\r\003'
	sleep 1
	capos_key '\003'
	ask 'sleep 1; alive' '^alive: no such command'
	ask ps 'shell +running .* 0$'
	capos_stop
}

# A shell that dies is started again; with commands from the command line it does not run them twice.
atf_test_case the_shell_is_started_again
the_shell_is_started_again_head() { atf_set timeout 300; }
the_shell_is_started_again_body() {
	capos_start
	capos_wait 'Ctrl-C stops one'
	ask 'kill shell' 'init: shell ended: killed' 'Ctrl-C stops one'
	ask ps 'shell +running .* 1$'
	capos_stop
	capos_boot -s 1 CMD='sleep 1; kill shell; sleep 500; ps'
	capos_expect 'its commands do not run twice' '^capos: exit status 1'
	[ "$(grep -c 'capos> sleep 1$' serial.txt)" -eq 1 ] || capos_fail 'commands ran twice'
}

atf_init_test_cases() {
	atf_add_test_case keys_edit_the_line
	atf_add_test_case the_history_is_kept
	atf_add_test_case a_long_command_is_stopped
	atf_add_test_case mistakes_are_explained
	atf_add_test_case noise_is_survived
	atf_add_test_case the_shell_is_started_again
}
