/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer: operation strings. The bytes are the choices that the model of tests/unit/page_table_model.h asks for
 * (format, capabilities, pool, boundaries, operations and their arguments); the flat reference is the judge.
 */
#include "tests/unit/page_table_model.h"

#define OPERATIONS_MAX 300u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes {
    const uint8_t *data;
    size_t left;
};

/* One byte, or two where the first one is 255, so that small inputs go far; 0 at the end. */
static uint32_t bytes_next(void *source)
{
    struct bytes *bytes = source;
    uint32_t value;

    if (bytes->left == 0) {
        return 0;
    }
    value = bytes->data[0];
    bytes->data++;
    bytes->left--;
    if (value == 255 && bytes->left != 0) {
        value = 255u + bytes->data[0] * 1021u;
        bytes->data++;
        bytes->left--;
    }
    return value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model model;
    struct bytes bytes = {data, size};

    model.choose = bytes_next;
    model.source = &bytes;
    model_begin(&model);
    if (model.count >= 2) {
        for (uint32_t i = 0; i < OPERATIONS_MAX && bytes.left != 0; i++) {
            model_step(&model);
        }
        model_verify_all(&model);
        model_compare(&model);
        model_end(&model);
    }
    return 0;
}
