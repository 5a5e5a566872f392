/*
 * NVMe on the wire: registers, queue entries, identify data.  Read by driver, translator and tests.
 * Manual: NVM Express Base 2.1, NVM Command Set 1.1; sections at each group.
 */
#pragma once

#include "kern/base/bits.h"

/* Controller registers [Base 3.1.4] */
enum : uint32_t {
	NVME_CAP = 0x00,
	NVME_VS = 0x08,
	NVME_INTMS = 0x0c,
	NVME_INTMC = 0x10,
	NVME_CC = 0x14,
	NVME_CSTS = 0x1c,
	NVME_AQA = 0x24,
	NVME_ASQ = 0x28,
	NVME_ACQ = 0x30,
	NVME_CRTO = 0x68,
	NVME_DOORBELLS = 0x1000,
};
enum : uint64_t {
	CAP_MQES = BITS(15, 0), /* largest queue, minus one */
	CAP_CQR = BIT(16),
	CAP_TO = BITS(31, 24),     /* 500 ms units: longest wait for CSTS.RDY */
	CAP_DSTRD = BITS(35, 32),  /* doorbells are 4 << n bytes apart */
	CAP_CSS = BITS(44, 37),    /* bit 0: NVM command set */
	CAP_MPSMIN = BITS(51, 48), /* pages of 4 KiB << n */
	CAP_MPSMAX = BITS(55, 52),
	CAP_CRWMS =
	    BIT(59), /* CRTO holds the time until ready, where CAP.TO is too short a field */
};
enum : uint32_t {
	CC_EN = BIT(0),
	CC_MPS = BITS(10, 7),
	CC_SHN = BITS(15, 14),
	CC_IOSQES = BITS(19, 16),
	CC_IOCQES = BITS(23, 20),
	CSTS_RDY = BIT(0),
	CSTS_CFS = BIT(1),
	CSTS_SHST = BITS(3, 2),
	CC_SHN_NORMAL = 1,
	SHST_COMPLETE = 2,
	CRTO_CRWMT = BITS(15, 0), /* 500 ms units */
	AQA_ASQS = BITS(11, 0),
	AQA_ACQS = BITS(27, 16),
};

/* Submission queue entry [Base 4.1] */
struct nvme_sqe {
	uint32_t cdw0;		/* opcode 7:0, PSDT 15:14 (0: PRP), command id 31:16 */
	uint32_t nsid;
	uint64_t cdw2_3;
	uint64_t metadata;
	uint64_t prp1, prp2;
	uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
static_assert(sizeof(struct nvme_sqe) == 64);

/* Completion queue entry [Base 4.2] */
struct nvme_cqe {
	uint32_t dw0, dw1;
	uint32_t sq;		/* head 15:0, id 31:16 */
	uint32_t status; /* command id 15:0, phase 16, status code 24:17, type 27:25, more 30, do
			    not retry 31 */
};
static_assert(sizeof(struct nvme_cqe) == 16);
enum : uint32_t {
	CQE_CID = BITS(15, 0),
	CQE_PHASE = BIT(16),
	CQE_SC = BITS(24, 17),
	CQE_SCT = BITS(27, 25)
};

/* Opcodes [Base 5, NVM 3] */
enum : uint8_t {
	ADMIN_CREATE_SQ = 0x01, ADMIN_CREATE_CQ = 0x05, ADMIN_IDENTIFY = 0x06, ADMIN_ABORT = 0x08,
	ADMIN_SET_FEATURES = 0x09,
	IO_FLUSH = 0x00, IO_WRITE = 0x01, IO_READ = 0x02,
};
enum : uint32_t {
	CNS_NAMESPACE = 0, CNS_CONTROLLER = 1, CNS_ACTIVE = 2,
	FEATURE_QUEUES = 7,
	CQ_CONTIGUOUS = BIT(0), CQ_INTERRUPT = BIT(1),
	RW_FUA = BIT(30),
};

/* Identify controller [Base 5.1.13.2.1]: offsets */
enum : uint32_t {
	ID_SN = 4,
	ID_MN = 24,
	ID_FR = 64,
	ID_MDTS = 77,
	ID_SQES = 512,
	ID_CQES = 513,
	ID_VWC = 525,
	ID_NN = 516,
	ID_ONCS = 520,
	ONCS_DATASET = BIT(2),
	ONCS_WRITE_ZEROES = BIT(3),
};
/* Identify namespace [NVM 4.1.5.1] */
enum : uint32_t {
	NS_NSZE = 0, NS_NLBAF = 25, NS_FLBAS = 26, NS_NSATTR = 99, NS_LBAF = 128,
	NSATTR_WRITE_PROTECTED = BIT(0),
	LBAF_MS = BITS(15, 0),		/* metadata bytes a block */
	LBAF_LBADS = BITS(23, 16),	/* block of 1 << n bytes */
};

/* What the translator must know besides (xlate.c): fields that it allows or refuses, and more
 * opcodes. */
enum : uint64_t {
	CAP_NSSRS = BIT(36), CAP_BPS = BIT(45), CAP_PMRS = BIT(56), CAP_CMBS = BIT(57),
};
enum : uint32_t {
	SQE_OPCODE = BITS(7, 0),
	SQE_FUSE = BITS(9, 8),
	SQE_PSDT = BITS(15, 14),
	SQE_CID = BITS(31, 16),
	RW_NLB = BITS(15, 0),
	RW_LR = BIT(31),
	RW_DSM = BITS(7, 0),
	WZ_DEAC = BIT(25),
	DSM_NR = BITS(7, 0),
	DSM_ATTRIBUTES = BITS(2, 0),
	DSM_DEALLOCATE = BIT(2),
	DSM_RANGE_BYTES = 16,
	LOG_LID = BITS(7, 0),
	LOG_RAE = BIT(15),
	FEATURE_FID = BITS(7, 0),
	FEATURE_SELECT = BITS(10, 8),
	QUEUE_ID = BITS(15, 0),
	QUEUE_SIZE = BITS(31, 16),
	CQ_VECTOR = BITS(31, 16),
	SQ_CONTIGUOUS = BIT(0),
	SQ_CQID = BITS(31, 16),
};
enum : uint8_t {
	ADMIN_DELETE_SQ = 0x00,
	ADMIN_LOG_PAGE = 0x02,
	ADMIN_DELETE_CQ = 0x04,
	ADMIN_GET_FEATURES = 0x0a,
	ADMIN_ASYNC_EVENT = 0x0c,
	ADMIN_DOORBELL_BUFFER = 0x7c,
	IO_COMPARE = 0x05,
	IO_WRITE_ZEROES = 0x08,
	IO_DATASET = 0x09,
};
/* Identify controller, features that would open another way to memory: optional admin commands,
 * buffer sizes, lists */
enum : uint32_t { ID_OACS = 256, ID_HMPRE = 272, ID_HMMIN = 276, ID_SGLS = 536 };

enum { SQE_BYTES = 64, CQE_BYTES = 16 };

/* Offset of a doorbell [Base 3.1.2.1]: 2 * queue for submission, one more for completion. */
static inline uint64_t
nvme_doorbell(uint32_t queue, bool completion, uint32_t dstrd)
{
	return NVME_DOORBELLS + (2ull * queue + completion) * (4ull << dstrd);
}
