/* SPDX-License-Identifier: MIT */
/* Text that is not zero-terminated: a piece of plinth.conf, which stays in memory as long as the hypervisor runs. */
#ifndef HV_BASE_TEXT_H
#define HV_BASE_TEXT_H

#include "hv/base/types.h"

struct text {
    const char *start;
    size_t length;
};

/* A text from a zero-terminated string. */
struct text text_of(const char *string);

bool text_equal(struct text left, struct text right);
bool text_is(struct text text, const char *string);

/* Copies into a zero-terminated buffer of `capacity` bytes (at least 1), cutting what does not fit; returns the length
 * copied. */
size_t text_copy(struct text text, char *to, size_t capacity);

#endif
