#!/bin/sh
# What is made from another file is what that file makes.
cd "$(dirname "$0")/../.." || exit 2

tools/syscalls | cmp -s - docs/syscalls.md || {
	echo "docs/syscalls.md: not what kern/abi/syscalls.def says: tools/syscalls >docs/syscalls.md"
	exit 1
}
