/* SPDX-License-Identifier: MIT */
/*
 * What the config needs of a machine: found by planning for machines of growing memory, until one is large enough.
 * The steps are those of every plan, so it is no estimate; what differs on a machine is what its firmware keeps.
 */
#include "tools/check/check.h"

#define NEEDS_STEP_BYTES (128 * MIB) /* the answer is a multiple of it */
#define NEEDS_STEP_SHARE 16u         /* large machines: at least this part of what was tried */
#define NEEDS_TRIES_MAX 64u

/* With less a machine cannot be: the guests' memory alone. */
static uint64_t least_bytes(const struct config *config)
{
    uint64_t bytes = 0;

    for (uint32_t g = 0; g < config->guest_count; g++) {
        bytes += config->guests[g].memory_bytes;
    }
    return align_up(bytes, NEEDS_STEP_BYTES);
}

bool check_needs(const struct check *check, struct check_needs *needs)
{
    static struct check trial;
    uint64_t bytes = least_bytes(&check->config);

    for (uint32_t i = 0; i < NEEDS_TRIES_MAX; i++) {
        trial.options = (struct options){.config = check->options.config};
        trial.file = check->file;
        trial.machine = (struct check_machine){.file = {NULL, 0}};
        trial.machine_errors.count = 0;
        trial.trial_bytes = bytes;
        trial.before = check;
        check_run(&trial);
        if (check_is_good(&trial)) {
            *needs = (struct check_needs){trial.machine.cpu_count, bytes};
            return true;
        }
        bytes += align_up(max_u64(bytes / NEEDS_STEP_SHARE, NEEDS_STEP_BYTES), NEEDS_STEP_BYTES);
    }
    return false;
}

void check_print_needs(const struct check *check)
{
    struct check_needs needs;

    if (!check_needs(check, &needs)) {
        printf("# No ordinary machine has memory where this config puts its guests.\n");
        return;
    }
    printf("# What plinth.conf needs of a machine. tools/run-qemu and tools/run-bochs make theirs by it.\n"
           "cpus = %u\n"
           "memory = %" PRIu64 "M\n",
           needs.cpus, (uint64_t)(needs.memory_bytes / MIB));
}
