/* SPDX-License-Identifier: MIT */
/* Firmware tables as bytes: numbers, lowest byte first, and the sum that makes a table valid. */
#ifndef TESTS_UNIT_TABLE_BYTES_H
#define TESTS_UNIT_TABLE_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint64_t read_at(const uint8_t *from, unsigned bytes)
{
    uint64_t value = 0;

    memcpy(&value, from, bytes);
    return value;
}

static inline uint8_t sum_of(const uint8_t *from, uint64_t bytes)
{
    uint8_t sum = 0;

    while (bytes-- > 0) {
        sum = (uint8_t)(sum + *from++);
    }
    return sum;
}

#endif
