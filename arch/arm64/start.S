/*
 * From the loader to C.
 *
 * Entered by the Linux boot protocol [Documentation/arch/arm64/booting]: MMU off, x0 = device tree, EL2 or EL1.  At EL2
 * the virtualization controls are opened as far as EL1 needs, and EL1 goes on.
 *
 * The boot map: TTBR1 holds the image in 2 MiB blocks at its link address and, in the direct map, the GiBs of the image and
 * of the device tree; TTBR0 maps the image at its physical address, for the instant when the MMU comes on.  platform.c adds
 * the rest of RAM; mmu_init replaces all of it.
 */
#define SCTLR_BOOT	0x30d0199d	/* RES1, I, SA, SA0, C, M; no write-execute check yet */
#define BLOCK_NORMAL	0x701		/* AF, inner shareable, index 0, block */
#define KERNEL		0xffffffff80000000

	.section .head, "ax"
	.globl image_head
image_head:
	b	boot
	.long	0
	.quad	0				/* text offset */
	.quad	__image_size			/* with .bss */
	.quad	0xa				/* little endian, 4 KiB pages, anywhere */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

boot:
	mov	x20, x0				/* device tree */
	bl	to_el1
	adr	x21, image_head			/* physical base of the image */

	/* Clear .bss (physical): the boot tables are in it. */
	ldr	x1, =__bss_start
	ldr	x2, =__kernel_end
	ldr	x3, =KERNEL
	sub	x3, x3, x21			/* virtual - physical */
	sub	x1, x1, x3
	sub	x2, x2, x3
1:	stp	xzr, xzr, [x1], #16
	cmp	x1, x2
	b.lo	1b

	/* TTBR1: level 0 [511] -> image; level 0 [0] -> direct map. */
	ldr	x4, =boot_l0
	sub	x4, x4, x3
	ldr	x5, =boot_image_l1
	sub	x5, x5, x3
	ldr	x6, =boot_image_l2
	sub	x6, x6, x3
	ldr	x7, =boot_direct_l1
	sub	x7, x7, x3
	orr	x8, x5, #3
	str	x8, [x4, #(511 * 8)]
	orr	x8, x7, #3
	str	x8, [x4]
	orr	x8, x6, #3
	str	x8, [x5, #(510 * 8)]
	/* The image: 64 MiB in 2 MiB blocks. */
	mov	x9, #BLOCK_NORMAL
	orr	x10, x21, x9
	mov	x11, #0
2:	str	x10, [x6, x11, lsl #3]
	add	x10, x10, #0x200000
	add	x11, x11, #1
	cmp	x11, #32
	b.lo	2b
	/* Direct map: the GiBs of image and device tree. */
	lsr	x10, x21, #30
	lsl	x11, x10, #30
	orr	x11, x11, x9
	str	x11, [x7, x10, lsl #3]
	lsr	x10, x20, #30
	lsl	x11, x10, #30
	orr	x11, x11, x9
	str	x11, [x7, x10, lsl #3]

	/* TTBR0: the GiB of the image at its own address. */
	ldr	x12, =boot_id_l0
	sub	x12, x12, x3
	ldr	x13, =boot_id_l1
	sub	x13, x13, x3
	orr	x8, x13, #3
	lsr	x10, x21, #39
	and	x10, x10, #511
	str	x8, [x12, x10, lsl #3]
	lsr	x10, x21, #30
	lsl	x11, x10, #30
	orr	x11, x11, x9
	and	x10, x10, #511
	str	x11, [x13, x10, lsl #3]

	mov	x0, x4
	mov	x1, x12
	ldr	x2, =high_start
	b	mmu_on

/*
 * mmu_on(x0 = TTBR1, x1 = TTBR0, x2 = where to go on): all physical; keeps x20, x21.
 */
mmu_on:
	mov	x9, #0x00ff			/* index 0 write-back, 1 nGnRnE, 2 nGnRE */
	movk	x9, #0x0004, lsl #16
	msr	mair_el1, x9
	ldr	x9, =(16 | (16 << 16) | (1 << 8) | (1 << 10) | (3 << 12) | (1 << 24) | (1 << 26) | (3 << 28) | (2 << 30))
	mrs	x10, id_aa64mmfr0_el1
	and	x11, x10, #0xf			/* physical address size */
	cmp	x11, #5
	mov	x12, #5
	csel	x11, x11, x12, ls
	orr	x9, x9, x11, lsl #32
	ubfx	x10, x10, #4, #4		/* 16-bit ASIDs */
	cbz	x10, 1f
	orr	x9, x9, #(1 << 36)
1:	msr	tcr_el1, x9
	msr	ttbr1_el1, x0
	msr	ttbr0_el1, x1
	isb
	tlbi	vmalle1
	dsb	nsh
	isb
	ldr	x9, =SCTLR_BOOT
	msr	sctlr_el1, x9
	isb
	br	x2

/* Leaves EL2 when there; returns at EL1 with the MMU off.  Keeps x20. */
to_el1:
	mrs	x9, CurrentEL
	cmp	x9, #8
	b.eq	1f
	ldr	x9, =0x30d00980			/* MMU and caches off */
	msr	sctlr_el1, x9
	isb
	ret
1:	mrs	x10, hcr_el2
	and	x10, x10, #(1 << 34)		/* E2H, where it cannot be cleared */
	mov	x9, #(1 << 31)			/* EL1 is AArch64 */
	orr	x9, x9, #(3 << 40)		/* pointer authentication and its keys are EL1's (zero without) */
	orr	x9, x9, x10
	msr	hcr_el2, x9
	isb
	cbnz	x10, 2f
	mov	x9, #3
	msr	cnthctl_el2, x9
	mov	x9, #0x33ff
	msr	cptr_el2, x9
	b	3f
2:	mov	x9, #(3 << 10)			/* the same bits, at their E2H place */
	msr	cnthctl_el2, x9
	mov	x9, #(3 << 20)
	msr	cptr_el2, x9
3:	msr	cntvoff_el2, xzr
	msr	vttbr_el2, xzr
	msr	hstr_el2, xzr
	mrs	x9, midr_el1
	msr	vpidr_el2, x9
	mrs	x9, mpidr_el1
	msr	vmpidr_el2, x9
	msr	mdcr_el2, xzr
	mrs	x9, id_aa64pfr0_el1
	ubfx	x9, x9, #24, #4			/* GIC system registers */
	cbz	x9, 4f
	mrs	x9, S3_4_C12_C9_5		/* ICC_SRE_EL2: enable, and for EL1 too */
	mov	x10, #9
	orr	x9, x9, x10
	msr	S3_4_C12_C9_5, x9
	isb
	msr	S3_4_C12_C11_0, xzr		/* ICH_HCR_EL2 */
4:	ldr	x9, =0x30d00980
	msr	sctlr_el1, x9
	mov	x9, #0x3c5
	msr	spsr_el2, x9
	msr	elr_el2, x30
	eret

	/* Further CPUs: PSCI starts them here with x0 = struct cpu_start (virtual address). */
	.globl secondary_boot
secondary_boot:
	mov	x20, x0
	bl	to_el1
	adr	x21, image_head
	ldr	x3, =KERNEL
	sub	x3, x3, x21
	ldr	x9, =secondary_ttbr
	sub	x9, x9, x3
	ldp	x0, x1, [x9]
	ldr	x2, =secondary_high
	b	mmu_on

	.text
high_start:
	ldr	x9, =vectors
	msr	vbar_el1, x9
	isb
	ldr	x9, =first_stack_end
	mov	sp, x9
	mov	x29, #0
	mov	x30, #0
	mov	x0, x20
	mov	x1, x21
	bl	platform_start
	brk	#0

secondary_high:
	hint	#36				/* bti j: a landing place */
	ldr	x9, =vectors
	msr	vbar_el1, x9
	isb
1:	ldaxr	w9, [x20]			/* struct cpu_start: does anybody wait? */
	cmp	w9, #1
	b.ne	2f
	mov	w9, #2
	stlxr	w10, w9, [x20]
	cbnz	w10, 1b
	ldp	x9, x20, [x20, #16]
	msr	tpidr_el1, x20
	mov	sp, x9
	mov	x29, #0
	mov	x30, #0
	mov	x0, x20
	bl	secondary_start
2:	wfi
	b	2b

	.bss
	.balign	4096
	.globl	boot_l0, boot_direct_l1
boot_l0:	.skip 4096
boot_image_l1:	.skip 4096
boot_image_l2:	.skip 4096
boot_direct_l1:	.skip 4096
boot_id_l0:	.skip 4096
	.globl boot_id_l0
boot_id_l1:	.skip 4096
	.skip 16384
first_stack_end:
	.section .note.GNU-stack, "", %progbits
