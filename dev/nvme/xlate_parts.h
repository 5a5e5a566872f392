/*
 * What the two files of the NVMe translator share: entries are judged in xlate.c, completions,
 * answers and registers in xlate_regs.c.
 */
#pragma once

#include "dev/nvme/wire.h"
#include "kern/dma/xlate.h"

/* xlate_slot.answer */
enum : uint8_t { ANSWER_NONE, ANSWER_NAMESPACE, ANSWER_CONTROLLER };

static inline uint32_t lo(uint64_t w) { return (uint32_t)w; }
static inline uint32_t hi(uint64_t w) { return (uint32_t)(w >> 32); }

/* Of nvme_xlate (xlate_class). */
bool nvme_open(struct xlate_device *d, const struct xlate_source *s);
uint32_t nvme_doorbell_at(const struct xlate_device *d, uint32_t id, bool completion);
struct xlate_done nvme_completed(const volatile uint64_t *cqe, bool odd_round);
void nvme_answered(struct xlate_device *d, struct xlate_slot *s);
enum dma_rule nvme_write(struct xlate_device *d, uint32_t offset, unsigned width, uint64_t value,
    struct xlate_writes *out);
enum dma_rule nvme_may_read(const struct xlate_device *d, uint32_t offset, unsigned width);
enum xlate_effect nvme_seen(
    struct xlate_device *d, uint32_t offset, unsigned width, uint64_t *value);
