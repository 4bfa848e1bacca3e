/* SPDX-License-Identifier: MIT */
#include "hv/core/virt_support.h"

#include "hv/base/format.h"

bool virt_words_alike(const char *name, const struct virt_word *words, uint32_t count, char *why, size_t why_bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        if (words[i].boot != words[i].here) {
            format_text(why, why_bytes,
                        "its %s is not the boot CPU's (update the firmware): %s 0x%" PRIx64 ", there 0x%" PRIx64, name,
                        words[i].name, words[i].here, words[i].boot);
            return false;
        }
    }
    return true;
}
