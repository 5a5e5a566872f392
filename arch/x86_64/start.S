/*
 * From the loader to C.
 *
 * Two ways in.  PVH [Xen x86/HVM direct boot]: 32-bit protected mode, flat segments, paging off, EBX = start_info, the image
 * where it was linked.  Our loader [kern/machine/handover.h]: the image's first byte, long mode, RDI = record, the image at any
 * 2 MiB boundary below 4 GiB.  What both share finds its own place by RIP.
 *
 * The boot map holds the first 4 GiB at 0 (to get here) and at the direct map, and the image at its own address.
 * mmu_init replaces it.
 */
#define KERNEL_VMA	0xffffffff80000000
#define CR4_PAE		0x20
#define EFER		0xc0000080
#define EFER_LME_NXE	0x900
#define CR0_PG_WP_PE	0x80010001

	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 4, 18			/* name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long pvh_start

	.section .boot, "awx"
	.code64
	.globl image_start
image_start:
	cli
	cld

	/* rdi: the loader's record.  Built before CR3 is loaded: we may run on these very tables. */
long_mode:
	leaq image_start(%rip), %rbp	/* where the image lies */
	leaq boot_pd(%rip), %rbx
	movl $0x83, %eax		/* present, writable, 2 MiB */
	movq %rbx, %rdx
	movl $2048, %ecx
1:	movq %rax, (%rdx)
	addq $0x200000, %rax
	addq $8, %rdx
	decl %ecx
	jnz 1b

	leaq boot_pdpt(%rip), %r8
	leaq 3(%rbx), %rax		/* present, writable */
	xorl %ecx, %ecx
2:	movq %rax, (%r8,%rcx,8)
	addq $4096, %rax
	incl %ecx
	cmpl $4, %ecx
	jb 2b

	leaq boot_pd_image + 8(%rip), %rdx
	leaq 0x83(%rbp), %rax
	movl $32, %ecx			/* 64 MiB */
3:	movq %rax, (%rdx)
	addq $0x200000, %rax
	addq $8, %rdx
	decl %ecx
	jnz 3b

	leaq boot_pdpt_high(%rip), %r9
	leaq boot_pd_image + 3(%rip), %rax
	movq %rax, 510 * 8(%r9)
	leaq boot_pml4(%rip), %rdx
	leaq 3(%r8), %rax
	movq %rax, (%rdx)
	movq %rax, 256 * 8(%rdx)
	leaq 3(%r9), %rax
	movq %rax, 511 * 8(%rdx)
	movq %rdx, %cr3

	movl $EFER, %ecx
	rdmsr
	orl $EFER_LME_NXE, %eax
	wrmsr
	movl $CR0_PG_WP_PE, %eax
	movq %rax, %cr0
	movl $CR4_PAE, %eax
	movq %rax, %cr4
	leaq boot_stack_end(%rip), %rsp
	leaq boot_gdt(%rip), %rax
	movq %rax, boot_gdtr + 2(%rip)
	lgdt boot_gdtr(%rip)
	pushq $8
	leaq 4f(%rip), %rax
	pushq %rax
	lretq
4:	xorl %eax, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %eax, %fs
	movl %eax, %gs
	movabsq $high_start, %rax
	jmpq *%rax

	.code32
	.globl pvh_start
pvh_start:
	cld
	cli

	/* Just enough to be in long mode: the first 16 MiB. */
	movl $0x83, %eax
	movl $boot_pd, %edi
	movl $8, %ecx
1:	movl %eax, (%edi)
	addl $0x200000, %eax
	addl $8, %edi
	decl %ecx
	jnz 1b
	movl $boot_pd + 3, boot_pdpt
	movl $boot_pdpt + 3, boot_pml4

	movl $boot_pml4, %eax
	movl %eax, %cr3
	movl $CR4_PAE, %eax
	movl %eax, %cr4
	movl $EFER, %ecx
	rdmsr
	orl $EFER_LME_NXE, %eax
	wrmsr
	movl $CR0_PG_WP_PE, %eax
	movl %eax, %cr0
	movl $boot_gdt, boot_gdtr + 2
	lgdt boot_gdtr
	movl %ebx, %edi			/* start_info; the upper half is 0 */
	ljmp $8, $long_mode

	.code64
	.balign 8
boot_gdt:
	.quad 0
	.quad 0x00af9a000000ffff	/* code, 64 bit */
boot_gdtr:
	.word . - boot_gdt - 1
	.quad 0				/* address, filled in */

	.balign 4096
boot_pml4:	.fill 512, 8, 0
boot_pdpt:	.fill 512, 8, 0
boot_pdpt_high:	.fill 512, 8, 0
boot_pd:	.fill 2048, 8, 0
boot_pd_image:	.fill 512, 8, 0
boot_stack:	.fill 512, 1, 0
boot_stack_end:

	.section .text
high_start:				/* rdi: record or start_info, rbp: where the image lies */
	movq %rdi, %rsi
	leaq __bss_start(%rip), %rdi
	leaq __kernel_end(%rip), %rcx
	subq %rdi, %rcx
	shrq $3, %rcx
	xorl %eax, %eax
3:	movq %rax, (%rdi)
	addq $8, %rdi
	decq %rcx
	jnz 3b
	leaq first_stack_end(%rip), %rsp
	movq %rsi, %rdi
	movq %rbp, %rsi
	xorl %ebp, %ebp
	call platform_start
	ud2

	.section .bss
	.balign 16
	.fill 16384, 1, 0
first_stack_end:

/*
 * Further CPUs: real mode at page TRAMPOLINE.  Copied there by cpu_start, which fills in the two words at its end.
 */
	.section .rodata
	.globl trampoline, trampoline_end, trampoline_cr3, trampoline_start
	.set TRAMPOLINE, 0x8000
	.code16
	.balign 16
trampoline:
	cli
	cld
	xorw %ax, %ax
	movw %ax, %ds
	lgdtl (TRAMPOLINE + tramp_gdtr - trampoline)
	movl %cr0, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $8, $(TRAMPOLINE + tramp32 - trampoline)
	.code32
tramp32:
	movw $16, %ax
	movw %ax, %ds
	movw %ax, %ss
	movl $CR4_PAE, %eax
	movl %eax, %cr4
	movl (TRAMPOLINE + trampoline_cr3 - trampoline), %eax
	movl %eax, %cr3
	movl $EFER, %ecx
	rdmsr
	orl $EFER_LME_NXE, %eax
	wrmsr
	movl $CR0_PG_WP_PE, %eax
	movl %eax, %cr0
	ljmp $24, $(TRAMPOLINE + tramp64 - trampoline)
	.code64
tramp64:
	xorl %eax, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %eax, %fs
	movl %eax, %gs
	movq (TRAMPOLINE + trampoline_start - trampoline), %rdi	/* struct cpu_start */
	/* Is this CPU meant, and does anybody wait for it? */
	movl $1, %eax
	cpuid
	shrl $24, %ebx
	cmpq %rbx, 8(%rdi)
	jne 1f
	movl $1, %eax
	movl $2, %ecx
	lock cmpxchgl %ecx, (%rdi)
	jne 1f
	movq 16(%rdi), %rsp
	movq 24(%rdi), %rdi
	xorl %ebp, %ebp
	movabsq $secondary_start, %rax
	callq *%rax
1:	cli
	hlt
	jmp 1b
	.balign 8
tramp_gdt:
	.quad 0
	.quad 0x00cf9a000000ffff	/* code, 32 bit */
	.quad 0x00cf92000000ffff	/* data */
	.quad 0x00af9a000000ffff	/* code, 64 bit */
tramp_gdtr:
	.word . - tramp_gdt - 1
	.long TRAMPOLINE + tramp_gdt - trampoline
	.balign 8
trampoline_cr3:		.quad 0
trampoline_start:	.quad 0
trampoline_end:
