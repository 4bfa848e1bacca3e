/* SPDX-License-Identifier: MIT */
/* The fuzzer's attacker (tests/fuzz/fuzz_devices.c) in every test run: 10,000 inputs that only look random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fuzz/fuzz_devices.c"

#include <stdlib.h>

#define RUNS 10000u
#define INPUT_MAX 4096u

static uint64_t state_of_random = 0x9e3779b97f4a7c15;

static uint64_t next_random(void)
{
    state_of_random ^= state_of_random << 13;
    state_of_random ^= state_of_random >> 7;
    state_of_random ^= state_of_random << 17;
    return state_of_random;
}

/* Rings that are nearly right: small numbers where descriptors and indices are, and buffers in RAM or just behind. */
static void fill_rings(uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at + 16 <= size; at += 16) {
        uint64_t words[2] = {next_random() % (RAM_BYTES + 0x100),
                             next_random() % 3000 | (next_random() & 7) << 32 | (next_random() % 20) << 48};

        memcpy(bytes + at, words, sizeof(words));
    }
}

static void no_access_reaches_beyond_the_guest(void **state)
{
    static uint8_t input[INPUT_MAX];
    unsigned runs = getenv("PLINTH_RUNS") != NULL ? (unsigned)atoi(getenv("PLINTH_RUNS")) : RUNS;

    (void)state;
    for (unsigned run = 0; run < runs; run++) {
        size_t size = 256 + next_random() % (INPUT_MAX - 256);

        for (size_t i = 0; i < size; i++) {
            input[i] = (uint8_t)(next_random() >> 32);
        }
        if (run % 4 != 0) {
            fill_rings(input + size / 2, size - size / 2);
        }
        assert_int_equal(LLVMFuzzerTestOneInput(input, size), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_access_reaches_beyond_the_guest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
