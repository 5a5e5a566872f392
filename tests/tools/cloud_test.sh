#! /usr/bin/env atf-sh
# The deploy scripts, with stand-ins for the providers' programs: what would be called, and what is left when something fails.

ROOT=$(cd "$(atf_get_srcdir)/../../.." && pwd)
CLOUD=$ROOT/tools/cloud
OPTIONS=$ROOT/tests/tools/cloud.options
CLOUDS='aws gcp azure oci'

# world: nothing is found but what the scripts may use, so that no real provider is ever called.  fake is in place of each
# program.  It writes down how it was called, fails when that matches the file "fail", is interrupted when it matches
# "interrupt", and answers with the first line of "answers" that begins with a word of the call.
world() {
	mkdir tools fakes
	for p in bash env sh sed od tr stat cat mktemp rm basename dirname truncate cmp dd sha256sum base64 tar gzip sleep grep kill; do
		ln -s "$(command -v $p)" tools/$p || atf_fail "no $p"
	done
	cat >fakes/aws <<'END'
#!/bin/sh
call="${0##*/} $*"
printf '%s\n' "$call" >>"$WORLD/calls"
[ "$1 $2" != 'ebs put-snapshot-block' ] || { shift 2; while [ "$1" != --block-data ]; do shift; done; sha256sum <"$2" >>"$WORLD/sent"; }
[ -z "$INTERRUPT" ] || case $call in *$INTERRUPT*) kill -TERM $PPID; exit 0 ;; esac
[ -z "$FAIL" ] || case $call in *$FAIL*) echo "fake: no" >&2; exit 1 ;; esac
case $call in
*'--query SnapshotId'*) echo "${ANSWER-snap-1}" ;;
*'SnapshotTaskDetail.SnapshotId'*) echo snap-1 ;;
*'SnapshotTaskDetail.Status'*) echo completed ;;
*ImportTaskId*) echo import-snap-1 ;;
*ImageId*) echo ami-1 ;;
*InstanceId*) echo i-1 ;;
*get-console-output*) echo 'capos> ' ;;
*'disk grant-access'*) echo 'https://somewhere/?sig=hidden' ;;
*'disk show'*) echo /subscriptions/1/disks/d ;;
*'image-version create'*) echo /subscriptions/1/images/i ;;
*raw-request*) echo ocid1.image.oc1.1 ;;
*'instance launch'*) echo ocid1.instance.oc1.1 ;;
*'console-history capture'*) echo ocid1.consolehistory.oc1.1 ;;
*'image get'*) echo AVAILABLE ;;
*'instance get'*) echo "${STATE-RUNNING}" ;;
*'console-history get '*) echo SUCCEEDED ;;
esac
END
	chmod +x fakes/aws
	for p in gcloud az azcopy oci; do ln -s aws fakes/$p; done
	export WORLD="$PWD" CLOUD_POLL=0 HOME="$PWD" FAIL='' INTERRUPT=''
	unset AWS_REGION AWS_DEFAULT_REGION AWS_PROFILE CLOUDSDK_CORE_PROJECT CLOUDSDK_COMPUTE_ZONE OCI_CLI_REGION
	PATHS=$PWD/fakes:$PWD/tools
	: >calls
}

# A file as each cloud wants it, in $file, and the options that each needs.
files() {
	case $1 in
	aws)
		file=disk.raw
		truncate -s 1G $file
		printf 'EFI PART' | dd of=$file bs=1 seek=512 conv=notrunc status=none
		# Blocks 3 and 2047; a byte at each end of a block counts.
		printf x | dd of=$file bs=1 seek=$((4 * 524288 - 1)) conv=notrunc status=none
		printf y | dd of=$file bs=1 seek=$((2047 * 524288)) conv=notrunc status=none
		needs='--region r1' ;;
	gcp)
		file=disk.tar.gz
		: >disk.raw
		tar -czf $file disk.raw
		needs='--project p --zone z --bucket b' ;;
	azure)
		file=disk.vhd
		truncate -s 1M $file
		{ printf conectix; head -c 504 /dev/zero; } >>$file
		needs='--resource-group g --gallery l --subnet /subscriptions/s' ;;
	oci)
		file=disk.qcow2
		printf 'QFI\373' >$file
		needs='--region r --compartment c --namespace n --bucket b --availability-domain a:1 --subnet s' ;;
	esac
}
# each_step FUNCTION: called with a step's words in $step
each_step() {
	for step in "deploy $file" 'console one' 'terminate one' 'remove one two'; do
		"$@"
	done
}

# documented FILE: each line is a command of a provider with documented options and values, and has what it must have
documented() {
	while IFS= read -r call; do
		case $call in '#'* | 'dd '*) continue ;; esac
		eval "set -- $call" || atf_fail "not a line for the shell: $call"
		verb=$1
		shift
		while [ $# -gt 0 ] && ! grep -q "^$verb:" "$OPTIONS"; do
			verb="$verb $1"
			shift
		done
		known=$(sed -n "s/^$verb: //p" "$OPTIONS")
		[ -n "$known" ] || atf_fail "not a documented command: $call"
		echo "$verb" >>verbs
		for option in $known; do
			case $option in
			*!*) case " $* " in *" ${option%%!*} "*) ;; *) atf_fail "${option%%!*} is required: $call" ;; esac ;;
			esac
		done
		while [ $# -gt 0 ]; do
			case $1 in
			--*)
				for option in $known ''; do
					name=${option%%=*}
					[ "${name%!}" != "$1" ] || break
				done
				[ -n "$option" ] || atf_fail "$1 is not documented: $call"
				case $option in
				*=*) case ",${option#*=}," in *",$2,"*) ;; *) atf_fail "$1 $2 is not documented: $call" ;; esac ;;
				esac ;;
			esac
			shift
		done
	done <"$1"
}

atf_test_case a_dry_run_prints_documented_commands_and_calls_nobody
a_dry_run_prints_documented_commands_and_calls_nobody_head() { atf_set timeout 300; }
a_dry_run_prints_documented_commands_and_calls_nobody_body() {
	world
	for cloud in $CLOUDS; do
		files $cloud
		for arch in arm64 x86_64; do
			each_step try_dry
		done
	done
	files aws
	atf_check -o save:out env PATH="$PATHS" "$CLOUD/aws" --dry-run --region r --profile p --bucket b --subnet s --security-group g deploy $file
	documented out
	files azure
	atf_check -o save:out env PATH="$PATHS" "$CLOUD/azure" --dry-run --location l $needs deploy $file
	documented out
	atf_check -o inline:'' cat calls
	# Every command that is documented above is used somewhere, but those that only clean up.
	sed -n 's/^\([a-z][^:]*\): .*/\1/p' "$OPTIONS" | grep -v 'cancel-import-task' | sort >all
	sort -u verbs >used
	atf_check diff all used
}

try_dry() {
	atf_check -o save:out env PATH="$PATHS" "$CLOUD/$cloud" --dry-run --arch $arch $needs $step
	documented out
}

atf_test_case what_is_said_dry_is_what_is_done
what_is_said_dry_is_what_is_done_body() {
	world
	for cloud in gcp azure oci; do
		files $cloud
		each_step try_both
	done
}
# The calls of a step are those that it prints when dry, with the answers in place of the words that stand for them.
try_both() {
	: >calls
	case $step in terminate*) export STATE=TERMINATED ;; esac
	atf_check -o ignore -e ignore env PATH="$PATHS" "$CLOUD/$cloud" $needs $step
	atf_check -o save:out env PATH="$PATHS" "$CLOUD/$cloud" --dry-run $needs $step
	image=/subscriptions/1/images/i
	[ $cloud != oci ] || image=ocid1.image.oc1.1
	grep -v '^#' out >lines
	while IFS= read -r line; do
		eval "set -- $line"
		echo "$*"
	done <lines | sed "s, SAS , https://somewhere/?sig=hidden ,; s, DISK , /subscriptions/1/disks/d ,; s, IMAGE , $image ,
		s, HISTORY , ocid1.consolehistory.oc1.1 ,; s, INSTANCE , ocid1.instance.oc1.1 ," >want
	atf_check diff want calls
	unset STATE
}

atf_test_case an_image_for_ec2_says_how_it_starts
an_image_for_ec2_says_how_it_starts_body() {
	world
	for arch in arm64 x86_64; do
		atf_check -o save:out env PATH="$PATHS" "$CLOUD/aws" --dry-run --region r --arch $arch register snap-9
		atf_check -o match:"register-image .*--architecture $arch --boot-mode uefi .*--ena-support .*SnapshotId=snap-9" cat out
	done
}

atf_test_case every_block_that_is_not_zero_is_sent_and_no_other
every_block_that_is_not_zero_is_sent_and_no_other_body() {
	world
	files aws
	atf_check -o inline:'snapshot snap-1\n' -e match:'3 blocks' env PATH="$PATHS" "$CLOUD/aws" $needs upload $file
	for i in 0 3 2047; do
		dd if=$file bs=524288 skip=$i count=1 status=none | sha256sum
	done >want
	atf_check diff want sent
	sed -n 's/.*--block-index \([0-9]*\) .*/\1/p' calls >blocks
	atf_check -o inline:'0\n3\n2047\n' cat blocks
	# The checksum is the base64 of the digest of what was sent.
	while read -r sum rest; do
		printf '%b' "$(echo "$sum" | sed 's/../\\x&/g')" | base64
	done <sent >sums
	sed -n 's/.*--checksum \([^ ]*\) .*/\1/p' calls >given
	atf_check diff sums given
	atf_check -o match:'complete-snapshot --snapshot-id snap-1 --changed-blocks-count 3' cat calls
}

atf_test_case an_upload_that_fails_leaves_nothing
an_upload_that_fails_leaves_nothing_body() {
	world
	files aws
	atf_check -s exit:1 -o empty -e match:'aws: failed: aws ebs put-snapshot-block --snapshot-id snap-1 --block-index 2047' \
	    -e match:'aws: removed: snapshot snap-1' env PATH="$PATHS" FAIL='--block-index 2047' "$CLOUD/aws" $needs upload $file
	atf_check -o match:'^aws ec2 delete-snapshot --snapshot-id snap-1' tail -n 1 calls
	: >calls
	atf_check -s exit:1 -o empty -e match:'removed: task import-snap-1' -e match:'removed: object s3://b/capos-arm64.raw' \
	    env PATH="$PATHS" FAIL=Detail.Status "$CLOUD/aws" $needs --bucket b upload $file
	files azure
	: >calls
	atf_check -s exit:1 -o empty -e match:'failed: azcopy copy disk.vhd SECRET' -e not-match:hidden \
	    -e match:'removed: access to disk' -e match:'removed: disk capos-arm64' env PATH="$PATHS" FAIL=azcopy "$CLOUD/azure" $needs upload $file
	tail -n 2 calls >last
	atf_check -o match:'disk revoke-access' head -n 1 last
	atf_check -o match:'disk delete' tail -n 1 last
}

atf_test_case a_deployment_that_fails_takes_everything_back
a_deployment_that_fails_takes_everything_back_body() {
	world
	files aws
	atf_check -s exit:1 -o ignore -e save:err env PATH="$PATHS" FAIL='wait instance-running' "$CLOUD/aws" $needs deploy $file
	atf_check -o inline:'aws: removed: instance i-1\naws: removed: image ami-1\naws: removed: snapshot snap-1\n' grep removed: err
	tail -n 3 calls | cut -d ' ' -f 3 >last
	atf_check -o inline:'terminate-instances\nderegister-image\ndelete-snapshot\n' cat last
	files oci
	atf_check -s exit:1 -o ignore -e save:err env PATH="$PATHS" STATE=TERMINATED "$CLOUD/oci" $needs deploy $file
	atf_check -o match:'removed: instance' -o match:'removed: image' -o match:'removed: object' -o match:'ended as "TERMINATED"' cat err
	files gcp
	atf_check -s exit:1 -o ignore -e save:err env PATH="$PATHS" FAIL='instances create' "$CLOUD/gcp" $needs deploy $file
	atf_check -o match:'removed: image' -o match:'removed: object' -o not-match:'removed: instance' cat err
}

atf_test_case what_cannot_be_removed_is_named_with_its_command
what_cannot_be_removed_is_named_with_its_command_body() {
	world
	files aws
	cat >deny <<'END'
#!/bin/sh
case "$*" in *put-snapshot-block* | *delete-snapshot*) exit 1 ;; esac
exec "$WORLD/fakes/gcloud" "$@"
END
	chmod +x deny
	mkdir denying
	ln -s ../deny denying/aws
	PATHS=$PWD/denying:$PWD/tools
	atf_check -s exit:1 -o empty \
	    -e match:'STILL THERE: snapshot snap-1; remove it with: aws ec2 delete-snapshot --snapshot-id snap-1 --region r1' \
	    env PATH="$PATHS" "$CLOUD/aws" $needs upload $file
}

atf_test_case who_is_interrupted_cleans_up_and_says_where
who_is_interrupted_cleans_up_and_says_where_body() {
	world
	files aws
	atf_check -s exit:143 -o ignore -e match:'interrupted; look whether this made something: aws ec2 run-instances' \
	    -e match:'removed: image ami-1' -e match:'removed: snapshot snap-1' \
	    env PATH="$PATHS" INTERRUPT=run-instances "$CLOUD/aws" $needs deploy $file
}

atf_test_case an_answer_that_is_no_id_is_not_used
an_answer_that_is_no_id_is_not_used_body() {
	world
	files aws
	for answer in '' None 'snap-1 --force'; do
		: >calls
		atf_check -s exit:1 -o empty -e match:'not understood' env PATH="$PATHS" ANSWER="$answer" "$CLOUD/aws" $needs upload $file
		atf_check_equal 1 "$(wc -l <calls)"
	done
}

atf_test_case what_is_missing_is_said
what_is_missing_is_said_body() {
	world
	atf_check -s exit:1 -e match:'aws: no region' env PATH="$PATHS" "$CLOUD/aws" --dry-run launch ami-1
	atf_check -s exit:1 -e match:'aws: no region' env PATH="$PATHS" FAIL=configure "$CLOUD/aws" launch ami-1
	atf_check -o match:'--region r2' env PATH="$PATHS" AWS_REGION=r2 "$CLOUD/aws" --dry-run launch ami-1
	atf_check -s exit:1 -e match:'gcp: no project' env PATH="$PATHS" "$CLOUD/gcp" launch i
	atf_check -s exit:1 -e match:'gcp: no zone' env PATH="$PATHS" "$CLOUD/gcp" --project p launch i
	files gcp
	atf_check -s exit:1 -e match:'gcp: no bucket' env PATH="$PATHS" "$CLOUD/gcp" --project p upload $file
	atf_check -s exit:1 -e match:'azure: no resource-group' env PATH="$PATHS" "$CLOUD/azure" launch i
	atf_check -s exit:1 -e match:'azure: no gallery' env PATH="$PATHS" "$CLOUD/azure" --resource-group g register d
	atf_check -s exit:1 -e match:'azure: no subnet' env PATH="$PATHS" "$CLOUD/azure" --resource-group g launch i
	for o in region bucket namespace compartment; do
		atf_check -s exit:1 -e match:"oci: no $o" env PATH="$PATHS" "$CLOUD/oci" ${all:-} register o
		all="${all:-} --$o x"
	done
	for cloud in $CLOUDS; do
		files $cloud
		atf_check -s exit:1 -e match:"$cloud: nothing is not there: make image ARCH=arm64 WRAP=$cloud" \
		    env PATH="$PATHS" "$CLOUD/$cloud" $needs upload nothing
		echo something else >wrong
		atf_check -s exit:1 -e match:"$cloud: wrong is not a.*: make image ARCH=x86_64 WRAP=$cloud" \
		    env PATH="$PATHS" "$CLOUD/$cloud" --arch x86_64 $needs upload wrong
		atf_check -s exit:1 -e match:"$cloud: --nmae is not known; valid: --dry-run" env PATH="$PATHS" "$CLOUD/$cloud" $needs --nmae x launch i
		atf_check -s exit:1 -e match:"$cloud: lunch is not known; valid: upload" env PATH="$PATHS" "$CLOUD/$cloud" $needs lunch i
		atf_check -s exit:1 -e match:"usage: tools/cloud/$cloud launch ID" env PATH="$PATHS" "$CLOUD/$cloud" $needs launch
		atf_check -s exit:1 -e match:"$cloud: --arch: no value" env PATH="$PATHS" "$CLOUD/$cloud" launch i --arch
		atf_check -s exit:1 -e match:"$cloud: --name It's" env PATH="$PATHS" "$CLOUD/$cloud" $needs --name "It's" launch i
		atf_check -s exit:1 -e match:"$cloud: --arch mips is not known" env PATH="$PATHS" "$CLOUD/$cloud" $needs --arch mips launch i
	done
	atf_check -s exit:1 grep -v -e 'configure get' -e 'config get-value' calls
	PATHS=$PWD/tools
	for cloud in $CLOUDS; do
		files $cloud
		atf_check -s exit:1 -e match:"$cloud: .* is not installed: .*https://" env PATH="$PATHS" "$CLOUD/$cloud" $needs launch i
		atf_check -o not-empty env PATH="$PATHS" "$CLOUD/$cloud" $needs --dry-run launch i
	done
}

atf_init_test_cases() {
	atf_add_test_case a_dry_run_prints_documented_commands_and_calls_nobody
	atf_add_test_case what_is_said_dry_is_what_is_done
	atf_add_test_case an_image_for_ec2_says_how_it_starts
	atf_add_test_case every_block_that_is_not_zero_is_sent_and_no_other
	atf_add_test_case an_upload_that_fails_leaves_nothing
	atf_add_test_case a_deployment_that_fails_takes_everything_back
	atf_add_test_case what_cannot_be_removed_is_named_with_its_command
	atf_add_test_case who_is_interrupted_cleans_up_and_says_where
	atf_add_test_case an_answer_that_is_no_id_is_not_used
	atf_add_test_case what_is_missing_is_said
}
