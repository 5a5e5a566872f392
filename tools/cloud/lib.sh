# What tools/cloud/{aws,gcp,azure,oci} share: options, running the provider's program, and cleaning up.  For bash.
#
# A script says
#     options   names of its options, each becomes a variable: "--disk-type x" sets disk_type
#     tools     programs that it calls: "program|where it comes from"
# defines defaults, and upload, register, launch, console, terminate, remove; then it calls cloud_main "$@".
#
# Nothing is left behind by a step that fails: whatever it made is entered by made, with the command that removes it, and
# removed in reverse order.  What could not be removed is named, with that command: it costs money until somebody does.
#
# --dry-run prints the commands, one a line, quoted for the shell, and runs none: answers of the provider are words like SNAPSHOT.
# A step's result goes to standard output, everything else to standard error.
set -u -o pipefail
export LC_ALL=C

self=tools/cloud/$(basename "$0")
dry='' name='' arch=arm64 secret='' step='' now=''
undo=() undo_what=()
: "${CLOUD_POLL:=15}"		# seconds between two looks at something that takes its time
POLLS=240

tell() { echo "$cloud: $*" >&2; }
die() { tell "$@"; exit 1; }
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }

# want VARIABLE HINT: an option that has no default
want() {
	[ -n "${!1}" ] || die "no ${1//_/-}: $2"
}

# line COMMAND...: as one types it
line() {
	local word out=''
	for word; do
		[[ $word =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]] || word=\'${word//\'/\'\\\'\'}\'
		out+=" $word"
	done
	printf '%s\n' "${out# }"
}
# The same for messages; what is secret stays so.
safe_line() {
	local word words=()
	for word; do
		[ -z "$secret" ] || word=${word//"$secret"/SECRET}
		words+=("$word")
	done
	line "${words[@]}"
}

# run COMMAND...: its output is of no interest
run() {
	if [ -n "$dry" ]; then line "$@"; return; fi
	now=$(safe_line "$@")
	"$@" >/dev/null || die "failed: $now"
	now=
}
# show COMMAND...: its output is what was asked for
show() {
	if [ -n "$dry" ]; then line "$@"; return; fi
	"$@" || die "failed: $(safe_line "$@")"
}
# ask VARIABLE PATTERN COMMAND...: its answer, one word that matches.  In a dry run: the variable's name in capitals
ask() {
	local variable=$1 pattern=$2 answer
	shift 2
	if [ -n "$dry" ]; then
		line "$@"
		printf -v "$variable" %s "${variable^^}"
		return
	fi
	now=$(safe_line "$@")
	answer=$("$@") || die "failed: $now"
	# shellcheck disable=SC2053
	[[ $answer == $pattern && $answer != *[[:space:]]* ]] ||
		die "not understood: the answer to $now is \"${answer:0:200}\"; look whether it made something"
	now=
	printf -v "$variable" %s "$answer"
}

# made WHAT COMMAND...: it is there now, and this removes it
made() {
	undo_what+=("$1")
	shift
	undo+=("$(line "$@")")
}
# The last entry's thing is gone, or is of no use to remove any more.
unmade() {
	unset 'undo[-1]' 'undo_what[-1]'
}

cleanup() {
	local status=$? i
	trap '' INT TERM
	[ -z "${work:-}" ] || rm -rf "$work"
	if [ "$status" != 0 ] && [ -z "$dry" ]; then
		[ "$status" -lt 128 ] || tell "interrupted${now:+; look whether this made something: $now}"
		for ((i = ${#undo[@]} - 1; i >= 0; i--)); do
			if eval "${undo[i]}" >/dev/null; then
				tell "removed: ${undo_what[i]}"
			else
				tell "STILL THERE: ${undo_what[i]}; remove it with: ${undo[i]}"
			fi
		done
	fi
	exit "$status"
}

# until_state WANTED FAILED COMMAND...: asks again until the answer matches one of the patterns
until_state() {
	local wanted=$1 failed=$2 state i
	shift 2
	if [ -n "$dry" ]; then line "$@"; return; fi
	for ((i = 0; i < POLLS; i++)); do
		state=$("$@") || die "failed: $(safe_line "$@")"
		# shellcheck disable=SC2053
		[[ $state == $wanted ]] && return
		# shellcheck disable=SC2053
		[[ $state == $failed ]] && die "ended as \"${state:0:200}\": $(safe_line "$@")"
		sleep "$CLOUD_POLL"
	done
	die "still \"${state:0:200}\" after $POLLS looks: $(safe_line "$@")"
}

# An image file: there, and of the form that this cloud takes.
image_file() {
	[ -f "$1" ] || die "$1 is not there: make image ARCH=$arch WRAP=$cloud"
	bytes=$(stat -Lc %s "$1")
}
# holds FILE OFFSET HEX: these bytes at that place
holds() {
	[ "$(od -An -v -tx1 -j "$2" -N $((${#3} / 2)) "$1" | tr -d ' \n')" = "$3" ]
}
wrong_form() {
	die "$1 is not $2: make image ARCH=$arch WRAP=$cloud"
}

finished() {
	[ -n "$dry" ] || tell "$@"
}
result() {
	echo ${dry:+#} "$@"
}

# The way from a file to a running instance.
deploy() {
	upload "$1"
	register "$UPLOADED"
	launch "$REGISTERED"
}

cloud_main() {
	local args=() word key known=" $options name arch "
	while [ $# -gt 0 ]; do
		word=$1
		shift
		case $word in
		--dry-run) dry=1 ;;
		--help | -h) usage; exit 0 ;;
		--*)
			key=${word%%=*}
			key=${key#--}
			[[ $known == *" $key "* ]] || die "--$key is not known; valid: --dry-run$(printf ' --%s' $known)"
			if [[ $word == *=* ]]; then
				word=${word#*=}
			else
				[ $# -gt 0 ] || die "--$key: no value"
				word=$1
				shift
			fi
			printf -v "${key//-/_}" %s "$word" ;;
		*)
			if [ -z "$step" ]; then step=$word; else args+=("$word"); fi ;;
		esac
	done
	case $step in
	upload | deploy) need='FILE' ;;
	remove) need=$remove_args ;;
	register) need=$register_args ;;
	launch | console | terminate) need='ID' ;;
	'') usage >&2; exit 2 ;;
	*) die "$step is not known; valid: upload register launch console terminate remove deploy" ;;
	esac
	# shellcheck disable=SC2086
	set -- $need
	[ ${#args[@]} = $# ] || die "usage: $self $step $need"
	[[ $arch == arm64 || $arch == x86_64 ]] || die "--arch $arch is not known; valid: arm64 x86_64"
	[ -n "$name" ] || name=capos-${arch/_/-}
	[[ $name =~ ^[a-z]([a-z0-9-]{0,48}[a-z0-9])?$ ]] || die "--name $name: small letters, digits and -, at most 50, a letter first"
	if [ -z "$dry" ]; then
		for word in "${tools[@]}"; do
			command -v "${word%%|*}" >/dev/null || die "${word%%|*} is not installed: ${word#*|}"
		done
	fi
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	work=$(mktemp -d)
	defaults
	"$step" ${args[@]+"${args[@]}"}
}
