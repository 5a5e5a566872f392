# What only this architecture's kernel needs: device sources that it leaves out.
DEV_OMIT_arm64 := $(filter dev/iommu/vtd% dev/iommu/fmt_vtdss.c dev/iommu/find_dmar.c \
	dev/iommu/amdvi% dev/iommu/fmt_amdv1.c dev/iommu/find_ivrs.c,$(wildcard dev/iommu/*.c))
USER_CFLAGS_arm64 += -Iusr/lib/arm64 -flto
# Return addresses of the kernel have a key of their own: arch/arm64/pac.h.
KERNEL_CFLAGS_arm64 += -flto -mbranch-protection=pac-ret+b-key+bti
