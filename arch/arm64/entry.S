/*
 * Exceptions, and the switch between kernel stacks.
 *
 * From user mode the registers are saved as a struct uregs (md_inline.h) at the top of the thread's kernel stack, which is
 * where SP_EL1 points whenever a process runs.  A system call is told apart by the exception class (EC 15h: SVC).
 */
	.macro save
	stp	x0, x1, [sp, #-272]!
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	stp	x18, x19, [sp, #144]
	stp	x20, x21, [sp, #160]
	stp	x22, x23, [sp, #176]
	stp	x24, x25, [sp, #192]
	stp	x26, x27, [sp, #208]
	stp	x28, x29, [sp, #224]
	mrs	x21, elr_el1
	mrs	x22, spsr_el1
	stp	x21, x22, [sp, #256]
	.endm

	.macro restore
	ldp	x21, x22, [sp, #256]
	msr	elr_el1, x21
	msr	spsr_el1, x22
	ldp	x2, x3, [sp, #16]
	ldp	x4, x5, [sp, #32]
	ldp	x6, x7, [sp, #48]
	ldp	x8, x9, [sp, #64]
	ldp	x10, x11, [sp, #80]
	ldp	x12, x13, [sp, #96]
	ldp	x14, x15, [sp, #112]
	ldp	x16, x17, [sp, #128]
	ldp	x18, x19, [sp, #144]
	ldp	x20, x21, [sp, #160]
	ldp	x22, x23, [sp, #176]
	ldp	x24, x25, [sp, #192]
	ldp	x26, x27, [sp, #208]
	ldp	x28, x29, [sp, #224]
	ldp	x0, x1, [sp], #272
	.endm

	/* pac.h.  One branch each, which pac_init makes a nop.  take_key loses x12, x13. */
	.macro pac_site
9:	b	8f
	.pushsection .pac_sites, "a"
	.balign	8
	.quad	9b
	.popsection
	.endm
	.macro take_key
	pac_site
	adrp	x12, cpu_pac_key
	add	x12, x12, :lo12:cpu_pac_key
	ldp	x12, x13, [x12]
	msr	S3_0_C2_C1_2, x12		/* APIBKeyLo, APIBKeyHi */
	msr	S3_0_C2_C1_3, x13
	isb
8:
	.endm
	.macro drop_key
	pac_site
	msr	S3_0_C2_C1_2, xzr
	msr	S3_0_C2_C1_3, xzr
8:
	.endm

	.text
	.balign	2048
	.globl	vectors
vectors:
	/* From EL1 on SP_EL0: not used. */
	.rept 4
	.balign	128
	b	bad_vector
	.endr
	/* From EL1 on SP_EL1. */
	.balign	128
	b	kernel_sync
	.balign	128
	b	kernel_irq
	.balign	128
	b	bad_vector
	.balign	128
	b	kernel_error
	/* From EL0, AArch64. */
	.balign	128
	save
	mrs	x23, sp_el0
	stp	x30, x23, [sp, #240]
	mrs	x1, esr_el1
	lsr	x2, x1, #26
	cmp	x2, #0x15
	b.eq	user_call
	b	user_fault
	.balign	128
	save
	b	user_irq
	.balign	128
	b	user_irq_full
	.balign	128
	save
	b	user_error
	/* From EL0, AArch32: no such process. */
	.rept 4
	.balign	128
	b	bad_vector
	.endr

	.balign	64
user_call:
	take_key
	and	w3, w8, #0xff
	mrs	x2, tpidr_el1
	adr	x4, syscall_table
	ldr	x3, [x4, x3, lsl #3]
	ldr	x0, [x2]			/* cpu->current */
	mov	x1, sp
	blr	x3
	strb	w0, [sp, #64]			/* status, in regs->call */
	mrs	x2, tpidr_el1
	ldr	x0, [x2]
	ldrb	w1, [x2, #37]			/* cpu->resched */
	ldrb	w0, [x0, #4]			/* thread->dying */
	orr	w0, w0, w1
	cbz	w0, return_to_user
	bl	sched_preempt
	.globl	return_to_user
return_to_user:
	drop_key
	ldp	x30, x23, [sp, #240]
	msr	sp_el0, x23
	restore
	eret

user_fault:
	take_key
	mov	x0, sp
	mrs	x2, far_el1
	bl	trap_from_user
	b	return_to_user

user_irq_full:
	b	bad_vector
user_irq:
	take_key
	mrs	x23, sp_el0
	stp	x30, x23, [sp, #240]
	mov	x0, sp
	bl	trap_user_irq
	b	return_to_user

user_error:
	take_key
	mrs	x23, sp_el0
	stp	x30, x23, [sp, #240]
	mov	x0, sp
	mrs	x1, esr_el1
	mrs	x2, far_el1
	bl	trap_from_user
	b	return_to_user

/* A fault of the kernel itself: on a stack of its own when SP is not in the kernel's half, or may have run out. */
kernel_sync:
	msr	tpidrro_el0, x0			/* a scratch register that nobody reads */
	mov	x0, sp
	sub	x0, x0, #512
	at	s1e1w, x0			/* is there room on this stack? */
	isb
	mrs	x0, par_el1
	tbnz	x0, #0, 1f
	mrs	x0, tpidrro_el0
	msr	tpidrro_el0, xzr
	save
	mov	x23, sp
	add	x23, x23, #272
	stp	x30, x23, [sp, #240]
	mov	x0, sp
	mrs	x1, esr_el1
	mrs	x2, far_el1
	bl	trap_from_kernel
	ldr	x30, [sp, #240]
	restore
	eret
1:	mov	x3, sp
	ldr	x0, =emergency_stack_end
	mov	sp, x0
	mrs	x0, elr_el1
	mrs	x1, esr_el1
	mrs	x2, far_el1
	mov	x29, #0
	bl	trap_stack_gone
	brk	#0

kernel_irq:
	save
	mov	x23, sp
	add	x23, x23, #272
	stp	x30, x23, [sp, #240]
	bl	trap_kernel_irq
	ldr	x30, [sp, #240]
	restore
	eret

kernel_error:
bad_vector:
	mrs	x0, elr_el1
	mrs	x1, esr_el1
	mrs	x2, far_el1
	mov	x3, sp
	bl	trap_stack_gone
	brk	#0

/* void cpu_switch(uintptr_t *save, uintptr_t load) */
	.globl	cpu_switch
cpu_switch:
	hint	#27				/* pacibsp, and a landing place */
	sub	sp, sp, #96
	stp	x19, x20, [sp, #0]
	stp	x21, x22, [sp, #16]
	stp	x23, x24, [sp, #32]
	stp	x25, x26, [sp, #48]
	stp	x27, x28, [sp, #64]
	stp	x29, x30, [sp, #80]
	mov	x2, sp
	str	x2, [x0]
	mov	sp, x1
1:	ldp	x19, x20, [sp, #0]
	ldp	x21, x22, [sp, #16]
	ldp	x23, x24, [sp, #32]
	ldp	x25, x26, [sp, #48]
	ldp	x27, x28, [sp, #64]
	ldp	x29, x30, [sp, #80]
	add	sp, sp, #96
	hint	#31				/* autibsp */
	ret

/* void cpu_leave(uintptr_t load) */
	.globl	cpu_leave
cpu_leave:
	mov	sp, x0
	b	1b

/* Threads that were at rest, and new ones. */
	.globl	first_user
first_user:
	mov	x29, #0
	bl	sched_switched
	bl	ipc_rested
	b	return_to_user

	.globl	first_kernel
first_kernel:
	bl	sched_switched
	mov	x0, x20
	blr	x19
	brk	#0

/*
 * bool copy_bytes(void *to, const void *from, size_t len): returns 1; a fault on one of its own instructions makes it
 * return 0 (trap.c looks for copy_begin .. copy_end).
 */
	.globl	copy_bytes, copy_begin, copy_end, copy_fail
copy_bytes:
	bti	c
copy_begin:
1:	subs	x2, x2, #16
	b.lo	2f
	ldp	x3, x4, [x1], #16
	stp	x3, x4, [x0], #16
	b	1b
2:	add	x2, x2, #16
	cbz	x2, 4f
3:	ldrb	w3, [x1], #1
	strb	w3, [x0], #1
	subs	x2, x2, #1
	b.ne	3b
4:	mov	x0, #1
	ret
copy_end:
copy_fail:
	mov	x0, #0
	ret

	.bss
	.balign	16
	.skip	8192
emergency_stack_end:
	.section .note.GNU-stack, "", %progbits
