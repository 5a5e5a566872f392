/*
 * VT-d registers and structures.  Manual: Intel VT-d, chapters 6, 9, 11 (VTD-20..28, 40..60, 85..88).
 */
#pragma once

#include "kern/base/bits.h"

enum : uint32_t {
	VTD_VER = 0x00, VTD_CAP = 0x08, VTD_ECAP = 0x10, VTD_GCMD = 0x18, VTD_GSTS = 0x1c, VTD_RTADDR = 0x20,
	VTD_FSTS = 0x34, VTD_FECTL = 0x38, VTD_FEDATA = 0x3c, VTD_FEADDR = 0x40, VTD_FEUADDR = 0x44,
	VTD_PMEN = 0x64, VTD_IQH = 0x80, VTD_IQT = 0x88, VTD_IQA = 0x90,
};

enum : uint64_t {
	CAP_ND = BITS(2, 0), CAP_RWBF = BIT(4), CAP_CM = BIT(7), CAP_SAGAW = BITS(12, 8), CAP_MGAW = BITS(21, 16),
	CAP_FRO = BITS(33, 24), CAP_SLLPS_2M = BIT(34), CAP_SLLPS_1G = BIT(35), CAP_PSI = BIT(39), CAP_NFR = BITS(47, 40),
	CAP_MAMV = BITS(53, 48), CAP_DWD = BIT(54), CAP_DRD = BIT(55),
	ECAP_C = BIT(0), ECAP_QI = BIT(1), ECAP_IR = BIT(3),

	/* IOTLB descriptor */
	QI_CONTEXT = 1, QI_IOTLB = 2, QI_WAIT = 5,
	QI_GRAN = BITS(5, 4), GRAN_GLOBAL = 1, GRAN_DOMAIN = 2, GRAN_FINE = 3,
	QI_DW = BIT(6), QI_DR = BIT(7), QI_DID = BITS(31, 16), QI_SID = BITS(47, 32),
	QI_WAIT_SW = BIT(5), QI_WAIT_FN = BIT(6), QI_WAIT_DATA = BITS(63, 32),

	/* Context entry */
	CTX_P = BIT(0), CTX_AW = BITS(2, 0), CTX_DID = BITS(23, 8),

	/* Fault record, high half */
	FR_SID = BITS(15, 0), FR_REASON = BITS(39, 32), FR_READ = BIT(62), FR_F = BIT(63),
};

enum : uint32_t {
	GCMD_TE = 1u << 31, GCMD_SRTP = 1u << 30, GCMD_WBF = 1u << 27, GCMD_QIE = 1u << 26, GCMD_IRE = 1u << 25,
	GSTS_KEEP = 0x96ffffff,		/* all but the one-shot bits */
	FSTS_PFO = 1u << 0, FSTS_PPF = 1u << 1, FSTS_IQE = 1u << 4, FSTS_ICE = 1u << 5, FSTS_ITE = 1u << 6,
	FECTL_IM = 1u << 31, PMEN_EPM = 1u << 31, PMEN_PRS = 1u << 0,
};

struct vtd_entry { uint64_t lo, hi; };		/* root, context, descriptor: 128 bits */
static_assert(sizeof(struct vtd_entry) == 16);
