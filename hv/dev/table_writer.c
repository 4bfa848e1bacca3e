/* SPDX-License-Identifier: MIT */
/* See hv/dev/table_writer.h. */
#include "hv/dev/table_writer.h"

#include "hv/base/memory.h"

void writer_u8(struct table_writer *out, uint8_t value)
{
    if (out->used < out->capacity) {
        out->to[out->used++] = value;
    } else {
        out->full = true;
    }
}

void writer_uint(struct table_writer *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        writer_u8(out, (uint8_t)(value >> (8 * i)));
    }
}

void writer_zeroes(struct table_writer *out, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i++) {
        writer_u8(out, 0);
    }
}

void writer_text(struct table_writer *out, const char *text)
{
    for (; *text != '\0'; text++) {
        writer_u8(out, (uint8_t)*text);
    }
}

void writer_align(struct table_writer *out, uint64_t alignment)
{
    writer_zeroes(out, align_up(out->used, alignment) - out->used);
}

void writer_patch(struct table_writer *out, uint64_t at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes && at + i < out->used; i++) {
        out->to[at + i] = (uint8_t)(value >> (8 * i));
    }
}

uint8_t writer_checksum(const struct table_writer *out, uint64_t from, uint64_t bytes)
{
    uint8_t sum = 0;

    for (uint64_t i = from; i < from + bytes && i < out->used; i++) {
        sum = (uint8_t)(sum + out->to[i]);
    }
    return (uint8_t)(0u - sum);
}
