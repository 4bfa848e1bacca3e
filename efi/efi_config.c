/* SPDX-License-Identifier: MIT */
/*
 * plinth.conf: read, parsed and checked against this machine before anything else is read. The rules themselves are in
 * config/, and plinth-check on a desk says the same sentences.
 */
#include "config/parse.h"
#include "efi/efi_stage.h"
#include "hv/base/format.h"

static struct config_errors the_errors; /* 16 KiB: too large for a good stack frame */

static bool report(struct efi_stage *stage, const struct config_errors *errors)
{
    for (uint32_t i = 0; i < errors->count; i++) {
        const struct config_error *error = &errors->list[i];

        efi_say(stage, "plinth.conf:%u:%u: %s: %s", error->position.line, error->position.column, error->rule,
                error->sentence);
    }
    return efi_fail(stage, EFI_LOAD_ERROR,
                    "P0701: %s has %s%u error%s. Correct the lines above (docs/config.md lists the keys); "
                    "plinth-check finds the same errors on a desk.",
                    EFI_CONFIG_PATH, errors->count == CONFIG_ERRORS_MAX ? "at least " : "", errors->count,
                    errors->count == 1 ? "" : "s");
}

static struct config_machine machine_of(const struct efi_stage *stage)
{
    struct config_machine machine = {.memory_bytes = memory_map_bytes(&stage->map, MEMORY_FREE)};

    for (uint32_t i = 0; i < stage->info->cpu_count; i++) {
        machine.cpu_count += stage->info->cpus[i].healthy; /* the healthy ones come first: efi_cpus.c */
    }
    return machine;
}

bool efi_config_read(struct efi_stage *stage)
{
    const struct efi_want want = {.path = EFI_CONFIG_PATH, .where = "", .bytes_max = CONFIG_BYTES_MAX};
    struct config *config = &stage->info->config;
    struct config_machine machine;
    struct span bytes;

    efi_say(stage, "Plinth: reading %s", EFI_CONFIG_PATH);
    if (!efi_volume_read(stage, &want, &bytes) || !efi_map_snapshot(stage)) {
        return false;
    }
    machine = machine_of(stage);
    if (!config_parse((struct text){(const char *)bytes.base, bytes.bytes}, config, &the_errors) ||
        !config_check_machine(config, &machine, &the_errors)) {
        return report(stage, &the_errors);
    }
    return true;
}
