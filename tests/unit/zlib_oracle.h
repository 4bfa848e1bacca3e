/* SPDX-License-Identifier: MIT */
/* What zlib says of a gzip file: the judge of guest-loader/gzip.c in its unit test and its fuzzer. */
#ifndef TESTS_UNIT_ZLIB_ORACLE_H
#define TESTS_UNIT_ZLIB_ORACLE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <zlib.h>

#define ORACLE_WINDOW (15 + 16) /* a gzip file around it, nothing else */

/* True where it is exactly one file that expands to `bytes` bytes, which are then at `to`. */
static inline bool zlib_expands(const uint8_t *file, uint64_t count, uint8_t *to, uint64_t bytes)
{
    z_stream stream = {.next_out = to, .avail_out = (uInt)bytes, .avail_in = (uInt)count};
    int result;

    memcpy(&stream.next_in, &file, sizeof(file)); /* zlib's type has no const */
    if (inflateInit2(&stream, ORACLE_WINDOW) != Z_OK) {
        return false;
    }
    result = inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    return result == Z_STREAM_END && stream.avail_in == 0 && stream.total_out == bytes;
}

#endif
