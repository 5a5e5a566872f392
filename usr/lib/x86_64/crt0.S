/* First instructions: rdi, rsi are the two words from the spawner; the stack is aligned as before a call. */
	.section .text._start, "ax"
	.globl _start
_start:
	xorl %ebp, %ebp
	andq $-16, %rsp
	call start
	ud2
	.section .note.GNU-stack, "", @progbits
