/* First instructions: x0, x1 are the two words from the spawner. */
	.section .text._start, "ax"
	.globl _start
_start:
	bti	c
	mov	x29, #0
	mov	x30, #0
	bl	start
	brk	#0
	.section .note.GNU-stack, "", %progbits
