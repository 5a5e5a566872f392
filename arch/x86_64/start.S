/*
 * From the loader to C.
 *
 * PVH [Xen x86/HVM direct boot]: 32-bit protected mode, flat segments, paging off, EBX = start_info.
 * The boot map holds the first 4 GiB three times: at 0 (to get here), at the direct map, and at the
 * image's own address (first GiB only).  mmu_init replaces it.
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
	.code32
	.globl pvh_start
pvh_start:
	cld
	cli
	movl $boot_stack_end, %esp
	movl %ebx, %esi			/* start_info */

	/* 4 page directories of 2 MiB pages. */
	movl $boot_pd, %edi
	movl $0x83, %eax		/* present, writable, 2 MiB */
	movl $2048, %ecx
1:	movl %eax, (%edi)
	movl $0, 4(%edi)
	addl $0x200000, %eax
	addl $8, %edi
	decl %ecx
	jnz 1b

	movl $boot_pd + 3, %eax
	movl $boot_pdpt, %edi
	movl $4, %ecx
2:	movl %eax, (%edi)
	addl $4096, %eax
	addl $8, %edi
	decl %ecx
	jnz 2b
	movl $boot_pd + 3, boot_pdpt_high + 510 * 8
	movl $boot_pdpt + 3, boot_pml4
	movl $boot_pdpt + 3, boot_pml4 + 256 * 8
	movl $boot_pdpt_high + 3, boot_pml4 + 511 * 8

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
	lgdt boot_gdtr
	ljmp $8, $long_mode

	.code64
long_mode:
	xorl %eax, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %eax, %fs
	movl %eax, %gs
	movabsq $high_start, %rax
	jmpq *%rax

	.balign 8
boot_gdt:
	.quad 0
	.quad 0x00af9a000000ffff	/* code, 64 bit */
boot_gdtr:
	.word . - boot_gdt - 1
	.long boot_gdt

	.balign 4096
boot_pml4:	.fill 512, 8, 0
boot_pdpt:	.fill 512, 8, 0
boot_pdpt_high:	.fill 512, 8, 0
boot_pd:	.fill 2048, 8, 0
boot_stack:	.fill 512, 1, 0
boot_stack_end:

	.section .text
high_start:
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
	xorl %ebp, %ebp
	movl %esi, %edi
	call platform_start
	ud2

	.section .bss
	.balign 16
	.fill 16384, 1, 0
first_stack_end:

/*
 * Further CPUs: real mode at page TRAMPOLINE.  Copied there by cpu_start, which fills in the three words at its end.
 */
	.section .rodata
	.globl trampoline, trampoline_end, trampoline_cr3, trampoline_stack, trampoline_cpu
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
	movq (TRAMPOLINE + trampoline_stack - trampoline), %rsp
	movq (TRAMPOLINE + trampoline_cpu - trampoline), %rdi
	xorl %ebp, %ebp
	movabsq $secondary_start, %rax
	callq *%rax
	ud2
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
trampoline_stack:	.quad 0
trampoline_cpu:		.quad 0
trampoline_end:
