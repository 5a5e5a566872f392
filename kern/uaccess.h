/*
 * The only door to user memory: whole copies in before use, whole copies out at the end.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/md/mmu.h"

NODISCARD static inline enum status
copy_in(void *to, uint64_t from, size_t len)
{
	return mmu_copy_in(to, (struct uva){ from }, len) ? OK : E_FAULT;
}

NODISCARD static inline enum status
copy_out(uint64_t to, const void *from, size_t len)
{
	return mmu_copy_out((struct uva){ to }, from, len) ? OK : E_FAULT;
}
