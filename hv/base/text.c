/* SPDX-License-Identifier: MIT */
#include "hv/base/text.h"

#include "hv/base/memory.h"

struct text text_of(const char *string)
{
    size_t length = 0;

    while (string[length] != '\0') {
        length++;
    }
    return (struct text){string, length};
}

bool text_equal(struct text left, struct text right)
{
    return left.length == right.length && (left.length == 0 || memcmp(left.start, right.start, left.length) == 0);
}

bool text_is(struct text text, const char *string)
{
    return text_equal(text, text_of(string));
}

size_t text_copy(struct text text, char *to, size_t capacity)
{
    size_t length = text.length < capacity ? text.length : capacity - 1;

    if (length != 0) {
        memcpy(to, text.start, length);
    }
    to[length] = '\0';
    return length;
}
