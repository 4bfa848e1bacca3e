/* SPDX-License-Identifier: MIT */
/* Shadow paging with the fuzzer's bytes for choices: tables, accesses, changes and flushes, against the model of
 * tests/unit/shadow_model.h, which aborts where it is not what a TLB may hold. */
#define _GNU_SOURCE
#include "tests/unit/shadow_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes {
    const uint8_t *next;
    size_t left;
};

static uint32_t take(void *source)
{
    struct bytes *bytes = source;
    uint32_t value = 0;

    for (uint32_t i = 0; i < 2 && bytes->left != 0; i++) {
        value = value << 8 | *bytes->next++;
        bytes->left--;
    }
    return value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model model;
    struct bytes bytes = {data, size};

    model.choose = take;
    model.source = &bytes;
    begin(&model, SHADOW_TABLES_MIN + take(&bytes) % 16, (enum page_level)(take(&bytes) % 3), take(&bytes) % 200);
    while (bytes.left != 0) {
        step(&model);
    }
    return 0;
}
