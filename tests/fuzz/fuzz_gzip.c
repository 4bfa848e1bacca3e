/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a kernel compressed with gzip: the same verdict and the same output as zlib's, nothing written behind
 * the end, and a sentence with an offset where it is refused.
 *
 * Random bytes hardly ever have the right checksum, so most inputs are the compressed data alone: header and trailer
 * are put around them, with the checksum and the length that zlib finds. The last byte of the input chooses.
 */
#include "guest-loader/gzip.h"
#include "hv/base/check.h"
#include "tests/unit/zlib_oracle.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX 65536u
#define OUTPUT_MAX (4u << 20)
#define HEADER_BYTES 10u
#define TRAILER_BYTES 8u
#define WHOLE_FILE 1u /* of the choice */
#define WRONG_LENGTH 2u
#define RAW_DATA (-15) /* zlib: no header */

static uint8_t file[INPUT_MAX + HEADER_BYTES + TRAILER_BYTES];
static uint8_t ours[OUTPUT_MAX + 1], theirs[OUTPUT_MAX];

/* What compressed data expand to, as far as they do. */
static uint32_t raw_length(const uint8_t *data, size_t size)
{
    z_stream stream = {.next_out = theirs, .avail_out = OUTPUT_MAX, .avail_in = (uInt)size};

    memcpy(&stream.next_in, &data, sizeof(data));
    CHECK(inflateInit2(&stream, RAW_DATA) == Z_OK);
    (void)inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    return (uint32_t)stream.total_out;
}

static size_t make_file(const uint8_t *data, size_t size, uint8_t choice)
{
    static const uint8_t header[HEADER_BYTES] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
    uint32_t length, sum;

    if ((choice & WHOLE_FILE) != 0) {
        memcpy(file, data, size);
        return size;
    }
    length = raw_length(data, size);
    sum = (uint32_t)crc32(0, theirs, length);
    length += (choice & WRONG_LENGTH) != 0 ? choice >> 4 : 0u;
    memcpy(file, header, HEADER_BYTES);
    memcpy(file + HEADER_BYTES, data, size);
    memcpy(file + HEADER_BYTES + size, &sum, 4);
    memcpy(file + HEADER_BYTES + size + 4, &length, 4);
    return HEADER_BYTES + size + TRAILER_BYTES;
}

static bool sink_take(void *context, const uint8_t *bytes, uint64_t count)
{
    uint64_t *made = context;

    CHECK(memcmp(ours + *made, bytes, count) == 0);
    *made += count;
    return true;
}

/* In pieces the same comes out, with the same verdict. */
static void check_pieces(struct span packed, uint64_t bytes, enum status wanted)
{
    static uint8_t window[GZIP_WINDOW_BYTES];
    struct load_error error = {0};
    uint64_t made = 0;
    const struct gzip_sink sink = {sink_take, &made};

    CHECK_OP(gzip_expand_to(packed, window, bytes, &sink, &error), ==, wanted);
    CHECK(made == bytes || wanted != STATUS_OK);
}

static void check_verdict(struct span packed, uint64_t bytes)
{
    struct load_error error = {0};
    enum status status;

    ours[bytes] = 0xa5;
    status = gzip_expand(packed, ours, bytes, &error);
    CHECK_OP(ours[bytes], ==, 0xa5);
    CHECK_OP(status == STATUS_OK, ==, zlib_expands(packed.base, packed.bytes, theirs, bytes));
    check_pieces(packed, bytes, status);
    if (status == STATUS_OK) {
        CHECK(memcmp(ours, theirs, bytes) == 0);
    } else {
        CHECK(error.sentence[0] != 0 && error.offset <= packed.bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct load_error error = {0};
    struct span packed;
    uint64_t bytes = 0;

    if (size < 2 || size > INPUT_MAX) {
        return 0;
    }
    packed = (struct span){file, make_file(data, size - 1, data[size - 1])};
    if (gzip_size(packed, &bytes, &error) != STATUS_OK) {
        CHECK(error.sentence[0] != 0 && error.offset <= packed.bytes);
    } else if (bytes <= OUTPUT_MAX) {
        check_verdict(packed, bytes);
    }
    return 0;
}
