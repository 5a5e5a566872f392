/*
 * Entries from user mode, interrupts and faults, and the switch between kernel stacks.
 *
 * Both ways in build a struct uregs (md_inline.h) at the top of the thread's kernel stack.  GS holds the CPU while in
 * the kernel; it is swapped exactly when the saved CS says user mode.
 */
	.text

/* System calls: rcx = return address, r11 = flags, interrupts off by SFMASK.  Every register but those two is saved. */
	.globl syscall_fast
syscall_fast:
	swapgs
	movq %rsp, %gs:16
	movq %gs:8, %rsp
	pushq $0x1b
	pushq %gs:16
	pushq %r11
	pushq $0x23
	pushq %rcx
	subq $32, %rsp			/* error, vector, r11, rcx: what an earlier entry left there */
	pushq %rbp
	pushq %r15
	pushq %r14
	pushq %rbx
	pushq %rax
	pushq %r13
	pushq %r12
	pushq %r9
	pushq %r8
	pushq %r10
	pushq %rdx
	pushq %rsi
	pushq %rdi
	movzbl %al, %eax
	movq %gs:0, %rdi		/* cpu->current */
	movq %rsp, %rsi
	call *syscall_table(, %rax, 8)
	movb %al, 64(%rsp)		/* status, in regs->call */
	movq %gs:0, %rcx
	movb %gs:37, %al		/* cpu->resched */
	orb 4(%rcx), %al		/* thread->dying */
	jnz call_preempt
/*
 * The way back by SYSRET.  The return address is one past a SYSCALL instruction in a mapped user page, or one that
 * thread_create checked: always canonical.
 */
	.globl call_return
call_return:
	popq %rdi
	popq %rsi
	popq %rdx
	popq %r10
	popq %r8
	popq %r9
	popq %r12
	popq %r13
	popq %rax
	popq %rbx
	popq %r14
	popq %r15
	popq %rbp
	movq 32(%rsp), %rcx		/* rip */
	movq 48(%rsp), %r11		/* flags */
	movq 56(%rsp), %rsp
	swapgs
	sysretq

/* Interrupts and faults.  On entry: vector and error are pushed. */
trap_common:
	pushq %r11
	pushq %rcx
	pushq %rbp
	pushq %r15
	pushq %r14
	pushq %rbx
	pushq %rax
	pushq %r13
	pushq %r12
	pushq %r9
	pushq %r8
	pushq %r10
	pushq %rdx
	pushq %rsi
	pushq %rdi
	cld
	testb $3, 144(%rsp)		/* cs */
	jz 1f
	swapgs
	movq %rsp, %rdi
	call trap_from_user
	.globl return_to_user
return_to_user:
	popq %rdi
	popq %rsi
	popq %rdx
	popq %r10
	popq %r8
	popq %r9
	popq %r12
	popq %r13
	popq %rax
	popq %rbx
	popq %r14
	popq %r15
	popq %rbp
	popq %rcx
	popq %r11
	addq $16, %rsp
	swapgs
	iretq

1:	movq %rsp, %rbp
	movq %rsp, %rdi
	andq $~15, %rsp
	call trap_from_kernel
	movq %rbp, %rsp
	popq %rdi
	popq %rsi
	popq %rdx
	popq %r10
	popq %r8
	popq %r9
	popq %r12
	popq %r13
	popq %rax
	popq %rbx
	popq %r14
	popq %r15
	popq %rbp
	popq %rcx
	popq %r11
	addq $16, %rsp
	iretq

/* Those that may hit anywhere, on stacks of their own (IST): which GS is in force shows its sign. */
trap_paranoid:
	pushq %r11
	pushq %rcx
	pushq %rbp
	pushq %r15
	pushq %r14
	pushq %rbx
	pushq %rax
	pushq %r13
	pushq %r12
	pushq %r9
	pushq %r8
	pushq %r10
	pushq %rdx
	pushq %rsi
	pushq %rdi
	cld
	movl $0xc0000101, %ecx
	rdmsr
	testl %edx, %edx
	js 1f
	swapgs
1:	movq %rsp, %rdi
	call trap_fatal
	ud2

/* One stub a vector, 16 bytes apart. */
	.globl trap_stubs
	.balign 16
trap_stubs:
	.set v, 0
	.rept 256
	.balign 16
	.if v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21 || v == 29 || v == 30
	.else
	pushq $0
	.endif
	pushq $v
	.if v == 2 || v == 8 || v == 18
	jmp trap_paranoid
	.else
	jmp trap_common
	.endif
	.set v, v + 1
	.endr

/* void cpu_switch(uintptr_t *save, uintptr_t load): callee-saved registers on the stack. */
	.globl cpu_switch
cpu_switch:
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq %rsi, %rsp
1:	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret

/* void cpu_leave(uintptr_t load) */
	.globl cpu_leave
cpu_leave:
	movq %rdi, %rsp
	jmp 1b

call_preempt:
	call sched_preempt
	jmp call_return

/* First instructions of new threads, and of those that were at rest. */
	.globl first_user, first_kernel
first_user:
	xorl %ebp, %ebp
	call sched_switched
	call ipc_rested
	jmp return_to_user
first_kernel:
	call sched_switched
	movq %r12, %rdi
	call *%rbx
	ud2

/*
 * bool copy_bytes(void *to, const void *from, size_t len): returns 1.  A fault on one of its own
 * instructions makes it return 0 (trap.c looks for copy_begin .. copy_end).
 */
	.globl copy_bytes, copy_begin, copy_end, copy_fail
copy_bytes:
	movq %rdx, %rcx
	shrq $3, %rcx
	andl $7, %edx
copy_begin:
	testq %rcx, %rcx
	jz 2f
1:	movq (%rsi), %rax
	movq %rax, (%rdi)
	addq $8, %rsi
	addq $8, %rdi
	decq %rcx
	jnz 1b
2:	testl %edx, %edx
	jz 4f
3:	movb (%rsi), %al
	movb %al, (%rdi)
	incq %rsi
	incq %rdi
	decl %edx
	jnz 3b
4:	movl $1, %eax
	ret
copy_end:
copy_fail:
	xorl %eax, %eax
	ret
