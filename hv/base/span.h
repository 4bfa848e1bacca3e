/* SPDX-License-Identifier: MIT */
/*
 * A span of bytes from outside (an image file, a table of the firmware): every read is bounds-checked and
 * little-endian; a read past the end gives false and leaves the result alone.
 */
#ifndef HV_BASE_SPAN_H
#define HV_BASE_SPAN_H

#include "hv/base/memory.h"
#include "hv/base/types.h"

struct span {
    const uint8_t *base;
    uint64_t bytes;
};

static inline bool span_holds(struct span span, uint64_t offset, uint64_t bytes)
{
    return offset <= span.bytes && bytes <= span.bytes - offset;
}

/* The part [offset, offset + bytes), or an empty span with a null base where it does not fit. */
static inline struct span span_part(struct span span, uint64_t offset, uint64_t bytes)
{
    return span_holds(span, offset, bytes) ? (struct span){span.base + offset, bytes} : (struct span){NULL, 0};
}

static inline bool span_copy(struct span span, uint64_t offset, void *to, size_t bytes)
{
    if (!span_holds(span, offset, bytes)) {
        return false;
    }
    memcpy(to, span.base + offset, bytes);
    return true;
}

static inline bool span_read_u8(struct span span, uint64_t offset, uint8_t *value)
{
    return span_copy(span, offset, value, sizeof(*value));
}

static inline bool span_read_u16(struct span span, uint64_t offset, uint16_t *value)
{
    return span_copy(span, offset, value, sizeof(*value));
}

static inline bool span_read_u32(struct span span, uint64_t offset, uint32_t *value)
{
    return span_copy(span, offset, value, sizeof(*value));
}

static inline bool span_read_u64(struct span span, uint64_t offset, uint64_t *value)
{
    return span_copy(span, offset, value, sizeof(*value));
}

#endif
