/* SPDX-License-Identifier: MIT */
/*
 * Kernels compressed with gzip: what zlib packs comes out as it was, in every form of block and header; what is damaged
 * is an error with an offset and a sentence; and kernels of every kind are recognized in what comes out.
 */
#include "loader_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest-loader/gzip.h"
#include "zlib_oracle.h"

#define PACKED_MAX 300000u
#define PLAIN_BYTES 200000u
#define GUARD 0xa5u
#define HEADER_BYTES 10u

static uint8_t plain[PLAIN_BYTES];
static uint8_t packed[PACKED_MAX];
static uint8_t to[PLAIN_BYTES + 1];
static struct load_error error;

/* Words that come again, at all distances, and noise between them. */
static void make_plain(uint32_t bytes, uint32_t noise)
{
    uint32_t seed = 12345;

    for (uint32_t i = 0; i < bytes; i++) {
        seed = seed * 1664525u + 1013904223u;
        plain[i] =
            (uint8_t)(i > 40000 && (seed >> 20) % 100 >= noise ? plain[i - 1 - (seed >> 8) % 33000] : seed >> 24);
        if (i > 0 && i % 1000 > 700) {
            plain[i] = plain[i - 1];
        }
    }
}

static uint64_t pack(uint32_t bytes, int level, int strategy, gz_header *header)
{
    z_stream stream = {.next_in = plain, .avail_in = bytes, .next_out = packed, .avail_out = PACKED_MAX};

    assert_int_equal(deflateInit2(&stream, level, Z_DEFLATED, ORACLE_WINDOW, 8, strategy), Z_OK);
    if (header != NULL) {
        assert_int_equal(deflateSetHeader(&stream, header), Z_OK);
    }
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(deflateEnd(&stream), Z_OK);
    return stream.total_out;
}

/* Nothing is written behind what the trailer says, whatever happens. */
static enum status expand(uint64_t count, uint64_t *bytes)
{
    const struct span file = {packed, count};
    enum status status;

    memset(&error, 0, sizeof(error));
    *bytes = 0;
    status = gzip_size(file, bytes, &error);
    if (status == STATUS_OK) {
        if (*bytes > PLAIN_BYTES) {
            return STATUS_NO_MEMORY;
        }
        to[*bytes] = GUARD;
        status = gzip_expand(file, to, *bytes, &error);
        assert_int_equal(to[*bytes], GUARD);
    }
    if (status != STATUS_OK) {
        assert_true(strlen(error.sentence) > 10 && strncmp(error.sentence, "gzip: ", 6) == 0);
        assert_true(error.offset <= count);
    }
    return status;
}

/* What comes out in pieces, at `to`. */
struct taken {
    uint64_t bytes, room;
};

static bool take(void *context, const uint8_t *bytes, uint64_t count)
{
    struct taken *taken = context;

    if (count > taken->room - taken->bytes) {
        return false;
    }
    memcpy(to + taken->bytes, bytes, count);
    taken->bytes += count;
    return true;
}

static enum status expand_to_sink(uint64_t count, uint64_t bytes, struct taken *taken)
{
    static uint8_t window[GZIP_WINDOW_BYTES + 1];
    const struct gzip_sink sink = {take, taken};
    enum status status;

    window[GZIP_WINDOW_BYTES] = GUARD;
    status = gzip_expand_to((struct span){packed, count}, window, bytes, &sink, &error);
    assert_int_equal(window[GZIP_WINDOW_BYTES], GUARD);
    return status;
}

static void assert_same(uint64_t count, uint32_t bytes)
{
    struct taken taken = {0, bytes};
    uint64_t made;

    assert_int_equal(expand(count, &made), STATUS_OK);
    assert_int_equal(made, bytes);
    assert_memory_equal(to, plain, bytes);
    memset(to, GUARD, bytes);
    assert_int_equal(expand_to_sink(count, bytes, &taken), STATUS_OK);
    assert_int_equal(taken.bytes, bytes);
    assert_memory_equal(to, plain, bytes);
    taken = (struct taken){0, bytes - 1};
    assert_int_equal(expand_to_sink(count, bytes, &taken), STATUS_NO_MEMORY);
}

static void every_form_of_block_comes_out_as_it_was(void **state)
{
    static const int levels[] = {0, 1, 6, 9};
    static const int strategies[] = {Z_DEFAULT_STRATEGY, Z_FIXED, Z_HUFFMAN_ONLY, Z_RLE};
    static const uint32_t sizes[] = {1, 2, 300, 70000, PLAIN_BYTES};

    (void)state;
    for (uint32_t noise = 0; noise <= 100; noise += 50) {
        make_plain(PLAIN_BYTES, noise);
        for (size_t i = 0; i < ARRAY_COUNT(levels); i++) {
            for (size_t j = 0; j < ARRAY_COUNT(strategies); j++) {
                for (size_t k = 0; k < ARRAY_COUNT(sizes); k++) {
                    assert_same(pack(sizes[k], levels[i], strategies[j], NULL), sizes[k]);
                }
            }
        }
    }
}

static void every_field_of_the_header_is_passed_over(void **state)
{
    (void)state;
    make_plain(5000, 10);
    for (int fields = 0; fields < 16; fields++) {
        gz_header header = {
            .extra = (fields & 1) != 0 ? (Bytef *)"extra field" : NULL,
            .extra_len = 11,
            .name = (fields & 2) != 0 ? (Bytef *)"vmlinux" : NULL,
            .comment = (fields & 4) != 0 ? (Bytef *)"a comment" : NULL,
            .hcrc = (fields & 8) != 0,
        };

        assert_same(pack(5000, 6, Z_DEFAULT_STRATEGY, &header), 5000);
    }
}

static void refuse(uint64_t count, uint64_t offset, const char *words)
{
    uint64_t made;

    assert_int_equal(expand(count, &made), STATUS_MALFORMED);
    if (error.offset != offset || strstr(error.sentence, words) == NULL) {
        fail_msg("offset %llu: \"%s\" instead of %llu: \"%s\"", (unsigned long long)error.offset, error.sentence,
                 (unsigned long long)offset, words);
    }
}

static void damage_is_named_with_its_offset(void **state)
{
    uint64_t count, made;

    (void)state;
    make_plain(5000, 10);
    count = pack(5000, 6, Z_DEFAULT_STRATEGY, NULL);
    packed[3] = 0x20;
    refuse(count, 3, "flags that do not exist");
    packed[3] = 4;
    packed[10] = packed[11] = 0xff;
    refuse(count, 10, "extra field passes the end");
    count = pack(5000, 6, Z_DEFAULT_STRATEGY, NULL);
    packed[count - 8] ^= 1;
    refuse(count, count - 8, "checksum of what it expands to");
    packed[count - 8] ^= 1;
    packed[count - 4]++;
    refuse(count, count - 8, "less than its trailer says");
    packed[count - 4] = (uint8_t)(packed[count - 4] - 2);
    assert_int_equal(expand(count, &made), STATUS_MALFORMED);
    assert_non_null(strstr(error.sentence, "more than its trailer says"));
    count = pack(5000, 6, Z_DEFAULT_STRATEGY, NULL);
    packed[HEADER_BYTES] |= 6;                 /* the type of the first block */
    refuse(count, HEADER_BYTES + 1, "type 3"); /* the byte behind it */
    refuse(17, 0, "shorter than a header and a trailer");
}

/* Blocks made by hand; the trailer says 1000 bytes. */
static void refuse_block(const char *bytes, uint32_t count, const char *words)
{
    static const uint8_t header[HEADER_BYTES] = {0x1f, 0x8b, 8};
    static const uint8_t trailer[8] = {0, 0, 0, 0, 0xe8, 3};
    uint64_t made;

    memcpy(packed, header, sizeof(header));
    memcpy(packed + HEADER_BYTES, bytes, count);
    memcpy(packed + HEADER_BYTES + count, trailer, sizeof(trailer));
    assert_int_equal(expand(HEADER_BYTES + count + sizeof(trailer), &made), STATUS_MALFORMED);
    assert_true(error.offset >= HEADER_BYTES && error.offset <= HEADER_BYTES + count);
    if (strstr(error.sentence, words) == NULL) {
        fail_msg("\"%s\" instead of \"%s\"", error.sentence, words);
    }
}

/* RFC 1951 3.2.3 to 3.2.7. */
static void blocks_that_break_the_format_are_refused(void **state)
{
    (void)state;
    refuse_block("\x01\x05\x00\x00\x00hello", 10, "stored block is damaged");
    refuse_block("\x01\x06\x00\xf9\xffhello", 10, "end in the middle");
    refuse_block("\x03\x02", 2, "before the beginning of the image"); /* fixed: length 3, distance 1 */
    refuse_block("\xfd\x00\x00", 3, "more codes than there are symbols");
    refuse_block("\x05\x00\x00\x00\x00\x00\x00\x00", 8, "code lengths of a block are damaged"); /* no code at all */
    refuse_block("\x05\x80\xff\xff\xff\xff\xff\xff", 8, "code lengths of a block are damaged");
    refuse_block("\x4b\x4c", 2, "end in the middle, or have a code");
    refuse_block("\x1b\x03\x00", 3, "code that does not exist");
    refuse_block("\x00\x00\x00\xff\xff", 5, "end in the middle"); /* an empty block that is not the last */
}

static void a_cut_off_file_is_refused_wherever_it_ends(void **state)
{
    uint64_t count, made;

    (void)state;
    make_plain(400, 10);
    count = pack(400, 6, Z_DEFAULT_STRATEGY, NULL);
    for (uint64_t cut = 3; cut < count; cut++) {
        assert_int_not_equal(expand(cut, &made), STATUS_OK);
    }
    packed[count] = 0;
    assert_int_not_equal(expand(count + 1, &made), STATUS_OK);
    memmove(packed + count, packed, count); /* two files in one */
    assert_int_not_equal(expand(2 * count, &made), STATUS_OK);
}

/* zlib is the judge. */
static void every_single_wrong_bit_has_zlibs_verdict(void **state)
{
    static uint8_t theirs[PLAIN_BYTES];
    uint32_t accepted = 0;
    uint64_t count, made;

    (void)state;
    make_plain(600, 30);
    count = pack(600, 6, Z_DEFAULT_STRATEGY, NULL);
    for (uint64_t bit = 3 * 8; bit < count * 8; bit++) {
        enum status status;

        packed[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        status = expand(count, &made);
        if (made != 0 && made <= PLAIN_BYTES) {
            assert_int_equal(status == STATUS_OK, zlib_expands(packed, count, theirs, made));
        } else {
            assert_int_not_equal(status, STATUS_OK);
        }
        accepted += status == STATUS_OK;
        packed[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_true(accepted >= 40 && accepted < 100); /* the time and the system in the header may be anything */
}

static void image_comes_out_as(const struct image *image, enum config_protocol protocol)
{
    static struct load_plan plan;
    struct load_request request = request_of(image, 64 * MIB);
    uint64_t made;

    memcpy(plain, image->bytes, image->size);
    assert_int_equal(expand(pack((uint32_t)image->size, 9, Z_DEFAULT_STRATEGY, NULL), &made), STATUS_OK);
    request.kernel = (struct span){to, made};
    request.protocol = PROTOCOL_AUTO;
    assert_int_equal(loader_plan(&request, &plan, &error), STATUS_OK);
    assert_int_equal(plan.protocol, protocol);
}

static void kernels_of_each_kind_are_recognized_in_what_comes_out(void **state)
{
    static const struct elf_part parts[] = {{1, 0x200, 0xc0100000, 0x100000, 0x200, 0x300, 0x1000}};
    static struct image image;

    (void)state;
    make_elf(&image, true, 0xc0100040, parts, 1);
    image_comes_out_as(&image, PROTOCOL_ELF);
    make_elf(&image, false, 0xc0100040, parts, 1);
    image_comes_out_as(&image, PROTOCOL_ELF);
    put_multiboot(&image, 0x210, 0);
    image_comes_out_as(&image, PROTOCOL_MULTIBOOT);
    make_linux(&image);
    image_comes_out_as(&image, PROTOCOL_LINUX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_block_comes_out_as_it_was),
        cmocka_unit_test(every_field_of_the_header_is_passed_over),
        cmocka_unit_test(damage_is_named_with_its_offset),
        cmocka_unit_test(blocks_that_break_the_format_are_refused),
        cmocka_unit_test(a_cut_off_file_is_refused_wherever_it_ends),
        cmocka_unit_test(every_single_wrong_bit_has_zlibs_verdict),
        cmocka_unit_test(kernels_of_each_kind_are_recognized_in_what_comes_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
