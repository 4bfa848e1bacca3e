/* SPDX-License-Identifier: MIT */
/* The generator of random bytes: ChaCha20's block function against RFC 8439's vectors, and that no key stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hv/base/random.h"

/* RFC 8439, 2.3.2 "Test Vector for the ChaCha20 Block Function". */
static void the_block_function_gives_the_published_vector(void **state)
{
    static const uint8_t nonce[12] = {0, 0, 0, 9, 0, 0, 0, 0x4a, 0, 0, 0, 0};
    static const uint8_t expected[64] = {0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15, 0x50, 0x0f, 0xdd, 0x1f, 0xa3,
                                         0x20, 0x71, 0xc4, 0xc7, 0xd1, 0xf4, 0xc7, 0x33, 0xc0, 0x68, 0x03, 0x04, 0x22,
                                         0xaa, 0x9a, 0xc3, 0xd4, 0x6c, 0x4e, 0xd2, 0x82, 0x64, 0x46, 0x07, 0x9f, 0xaa,
                                         0x09, 0x14, 0xc2, 0xd7, 0x05, 0xd9, 0x8b, 0x02, 0xa2, 0xb5, 0x12, 0x9c, 0xd1,
                                         0xde, 0x16, 0x4e, 0xb9, 0xcb, 0xd0, 0x83, 0xe8, 0xa2, 0x50, 0x3c, 0x4e};
    uint8_t key[32], block[64];

    (void)state;
    for (unsigned i = 0; i < sizeof(key); i++) {
        key[i] = (uint8_t)i;
    }
    chacha20_block(key, 1, nonce, block);
    assert_memory_equal(block, expected, sizeof(expected));
}

/* RFC 8439, A.1 "The ChaCha20 Block Functions", test vectors 1 and 2. */
static void a_zero_key_gives_the_published_vectors(void **state)
{
    static const uint8_t zero[32];
    static const uint8_t first[16] = {0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90,
                                      0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28};
    static const uint8_t second[16] = {0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a,
                                       0x98, 0xba, 0x97, 0x7c, 0x73, 0x2d, 0x08, 0x0d};
    uint8_t block[64];

    (void)state;
    chacha20_block(zero, 0, zero, block);
    assert_memory_equal(block, first, sizeof(first));
    chacha20_block(zero, 1, zero, block);
    assert_memory_equal(block, second, sizeof(second));
}

static void the_key_is_another_after_each_use(void **state)
{
    struct random random = {{0}}, same = {{0}};
    static const uint8_t zero[32];
    uint8_t block[64], bytes[200], again[200];

    (void)state;
    random_bytes(&random, bytes, sizeof(bytes));
    chacha20_block(zero, 0, zero, block);
    assert_memory_equal(random.key, block, sizeof(random.key)); /* block 0 is the next key, and is never given out */
    chacha20_block(zero, 1, zero, block);
    assert_memory_equal(bytes, block, sizeof(block));
    random_bytes(&same, again, 1); /* how much was asked for does not matter to the next key */
    assert_memory_equal(same.key, random.key, sizeof(random.key));
    random_bytes(&random, again, sizeof(again));
    assert_memory_not_equal(again, bytes, 32);
}

static void every_source_changes_the_key(void **state)
{
    struct random one = {{0}}, other = {{0}};
    uint8_t source[32] = {0};

    (void)state;
    random_mix(&one, source);
    for (unsigned bit = 0; bit < 256; bit++) {
        memset(source, 0, sizeof(source));
        source[bit / 8] = (uint8_t)(1u << bit % 8);
        memset(&other, 0, sizeof(other));
        random_mix(&other, source);
        assert_memory_not_equal(one.key, other.key, 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_block_function_gives_the_published_vector),
        cmocka_unit_test(a_zero_key_gives_the_published_vectors),
        cmocka_unit_test(the_key_is_another_after_each_use),
        cmocka_unit_test(every_source_changes_the_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
