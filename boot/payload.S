/*
 * What the application carries.  Built with KERNEL, ARCHIVE and CMDLINE (names of files) it starts by itself; without
 * them all parts are empty and it looks on the file system that it was started from.
 */
	.section .payload, "dr"
	.globl	payload_kernel, payload_kernel_len, payload_archive, payload_archive_len, payload_cmdline, payload_cmdline_len
	.balign	4096
payload_kernel:
#ifdef KERNEL
	.incbin	KERNEL
#endif
1:	.balign	4096
payload_archive:
#ifdef ARCHIVE
	.incbin	ARCHIVE
#endif
2:	.balign	4096
payload_cmdline:
#ifdef CMDLINE
	.incbin	CMDLINE
#endif
3:	.balign	8
payload_kernel_len:	.quad 1b - payload_kernel
payload_archive_len:	.quad 2b - payload_archive
payload_cmdline_len:	.quad 3b - payload_cmdline
