/* SPDX-License-Identifier: MIT */
/*
 * Writing firmware tables front to back into a bounded buffer. What does not fit is not written, and `full` says so in
 * the end. A length or a checksum is patched in afterwards.
 */
#ifndef HV_DEV_TABLE_WRITER_H
#define HV_DEV_TABLE_WRITER_H

#include "hv/base/types.h"

struct table_writer {
    uint8_t *to;
    uint64_t capacity;
    uint64_t used;
    bool full;
};

void writer_u8(struct table_writer *out, uint8_t value);
/* Little-endian, `bytes` <= 8 of it. */
void writer_uint(struct table_writer *out, uint64_t value, unsigned bytes);
void writer_zeroes(struct table_writer *out, uint64_t bytes);
/* Without the final zero. */
void writer_text(struct table_writer *out, const char *text);
void writer_align(struct table_writer *out, uint64_t alignment);

/* Over what was written before; beyond it nothing happens. */
void writer_patch(struct table_writer *out, uint64_t at, uint64_t value, unsigned bytes);

/* The byte that makes the sum of [from, from + bytes) zero, where it is zero now. */
uint8_t writer_checksum(const struct table_writer *out, uint64_t from, uint64_t bytes);

#endif
