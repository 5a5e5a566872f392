# What only this architecture's kernel needs: flags, and device sources that it leaves out.
KERNEL_CFLAGS_x86_64 += -mno-mmx -mno-sse -flto
DEV_OMIT_x86_64 := $(filter dev/iommu/smmuv3% dev/iommu/find_smmu.c dev/iommu/fmt_vmsa.c,$(wildcard dev/iommu/*.c))
USER_CFLAGS_x86_64 += -Iusr/lib/x86_64 -flto
