/* SPDX-License-Identifier: MIT */
/*
 * The console with several guests: libFuzzer makes what they print, when, and what is typed; whatever it is, the promises
 * of tests/unit/console_promises.h hold on a terminal. The first byte is the terminal's width.
 */
#include "tests/unit/console_promises.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct promises p;

    if (size == 0) {
        return 0;
    }
    if (promises_run(&p, data + 1, size - 1, 24u + data[0] % (MODEL_COLUMNS_MAX - 23u))[0] != '\0') {
        (void)fprintf(stderr, "broken: %s\n", p.broken);
        abort();
    }
    return 0;
}
