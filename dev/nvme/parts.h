/*
 * What the files of the driver share: ctrl.c, identify.c, ioq.c.
 */
#pragma once

#include "dev/nvme/ctrl.h"

/* An empty pair with all slots free; entries is set. */
void nvme_ioq_reset(struct nvme_ioq *q);

/* An admin command, into the ring as it is, but for its id.  E_BUSY: no slot. */
NODISCARD enum status nvme_ioq_put_raw(struct nvme_ioq *q, const struct nvme_sqe *e);

/*
 * One admin command, waited for.  On OK *result (may be NULL) is dword 0 of its completion.  E_IO:
 * the controller said no, its code is in *sct_sc (may be NULL) and, without one, in the log.  Other
 * failures: the controller is not to be used as it is.  *why says it.
 */
NODISCARD enum status nvme_admin(struct nvme_ctrl *c, const struct nvme_sqe *e, const char *what,
    uint32_t *result, uint16_t *sct_sc, const char **why);

/*
 * Fills in what the controller says about itself and its namespaces.  again: compares instead,
 * E_CORRUPT when something that commands depend on has changed.
 */
NODISCARD enum status nvme_identify(struct nvme_ctrl *c, bool again, const char **why);
