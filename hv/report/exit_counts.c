/* SPDX-License-Identifier: MIT */
#include "hv/report/exit_counts.h"

#include "hv/base/format.h"

uint64_t exit_count(const struct guest *guest, enum exit_kind kind)
{
    uint64_t count = 0;

    for (uint32_t v = 0; v < guest->vcpu_count; v++) {
        count += guest->vcpus[v].exit_counts[kind];
    }
    return count;
}

uint64_t exit_count_total(const struct guest *guest)
{
    uint64_t total = 0;

    for (uint32_t kind = 0; kind < EXIT_KIND_COUNT; kind++) {
        total += exit_count(guest, (enum exit_kind)kind);
    }
    return total;
}

const char *exit_counts_text(const struct guest *guest, char *to, size_t capacity)
{
    uint64_t total = exit_count_total(guest);
    size_t length = format_text(to, capacity, "%" PRIu64 " exits", total);

    for (uint32_t kind = 0; kind < EXIT_KIND_COUNT; kind++) {
        uint64_t count = exit_count(guest, (enum exit_kind)kind);

        if (count != 0) {
            uint64_t percent = (count * 100 + total / 2) / total;

            length += format_text(to + length, capacity - length, ", %s %" PRIu64 " (%u%%)",
                                  exit_kind_name((enum exit_kind)kind), count, (uint32_t)percent);
        }
    }
    return to;
}
