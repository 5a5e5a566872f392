# What only this architecture's kernel needs: flags, and device sources that it leaves out.
KERNEL_CFLAGS_x86_64 := -Iarch/x86_64 -mno-red-zone -mcmodel=kernel -mno-mmx -mno-sse -fcf-protection=none \
	-mstack-protector-guard=global
KERNEL_LDFLAGS_x86_64 := -z max-page-size=4096
DEV_OMIT_x86_64 := dev/iommu/smmuv3.c dev/iommu/smmuv3_cmd.c dev/iommu/smmuv3_tables.c dev/iommu/find_smmu.c
