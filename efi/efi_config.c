/* SPDX-License-Identifier: MIT */
/*
 * plinth.conf: read, parsed and checked against this machine before anything else is read. The rules themselves are in
 * config/, and plinth-check on a desk says the same sentences.
 */
#include "config/parse.h"
#include "efi/efi_stage.h"
#include "hv/base/format.h"
#include "hv/host/host_cpu.h"

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

bool efi_machine_is_virtual(const struct efi_stage *stage)
{
    return stage->support.emulator != EMULATOR_NONE || host_cpu_is_virtual();
}

static struct config_machine machine_of(const struct efi_stage *stage)
{
    struct config_machine machine = {.memory_bytes = memory_map_bytes(&stage->map, MEMORY_FREE),
                                     .cores_known = true,
                                     .kinds_known = stage->info->kinds_known,
                                     .node_count = stage->info->numa.node_count,
                                     .no_nested_paging = !stage->support.nested_paging,
                                     .is_virtual = efi_machine_is_virtual(stage)};
    const struct boot_cpu *cpus = stage->info->cpus;

    for (uint32_t i = 0; i < stage->info->cpu_count; i++) {
        uint32_t first = 0;

        machine.cpu_count += cpus[i].healthy; /* the healthy ones come first: efi_cpus.c */
        while (first < i && (cpus[first].package != cpus[i].package || cpus[first].core != cpus[i].core ||
                             cpus[first].thread == cpus[i].thread)) {
            first++;
        }
        machine.cores[i] = first < i ? machine.cores[first] : i;
        machine.kinds[i] = cpus[i].kind;
        machine.nodes[i] = cpus[i].node;
    }
    planner_node_bytes(&stage->map, &stage->info->numa, machine.node_bytes);
    efi_direct_machine(stage, &machine);
    return machine;
}

/* Said once for each two guests; the start goes on. */
static void warn_neighbours(struct efi_stage *stage, const struct config *config, const struct config_machine *machine)
{
    struct config_neighbours found;
    uint32_t from = 0;

    while (config_next_neighbours(config, machine, &from, &found)) {
        const struct config_guest *one = &config->guests[found.guests[0]];
        const struct config_guest *other = &config->guests[found.guests[1]];

        efi_say(stage,
                "Plinth: warning: guests %.*s and %.*s share a core (CPUs %u and %u are its threads): each slows "
                "the other and can learn of it; `cpus` lists give them cores of their own",
                (int)one->name.length, one->name.start, (int)other->name.length, other->name.start, found.cpus[0],
                found.cpus[1]);
    }
}

/* Where people put the config instead. Windows shows `plinth.conf.txt` as plinth.conf. */
static const char *const elsewhere[] = {"\\plinth\\plinth.conf.txt", "\\plinth\\plinth.txt", "\\plinth.conf",
                                        "\\plinth.conf.txt", "\\EFI\\BOOT\\plinth.conf"};

/* True where the config is in its place, or nowhere: reading it says that. */
static bool is_in_place(struct efi_stage *stage)
{
    if (efi_volume_has(stage, EFI_CONFIG_PATH)) {
        return true;
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(elsewhere); i++) {
        if (efi_volume_has(stage, elsewhere[i])) {
            return efi_fail(stage, EFI_NOT_FOUND,
                            "P0719: %s is not on the volume, but %s is. Rename it to that (Windows shows the "
                            "ending .txt only where names are shown whole).",
                            EFI_CONFIG_PATH, elsewhere[i]);
        }
    }
    return true;
}

static bool wants_pci(const struct config *config)
{
    for (uint32_t i = 0; i < config->guest_count; i++) {
        if (config->guests[i].pci_count != 0) {
            return true;
        }
    }
    return false;
}

bool efi_config_read(struct efi_stage *stage)
{
    const struct efi_want want = {.path = EFI_CONFIG_PATH, .where = "", .bytes_max = CONFIG_BYTES_MAX};
    struct config *config = &stage->info->config;
    struct config_machine machine;
    struct span bytes;

    efi_say(stage, "Plinth: reading %s", EFI_CONFIG_PATH);
    if (!is_in_place(stage) || !efi_volume_read(stage, &want, &bytes) || !efi_map_snapshot(stage)) {
        return false;
    }
    machine = machine_of(stage);
    if (!config_parse((struct text){(const char *)bytes.base, bytes.bytes}, config, &the_errors)) {
        return report(stage, &the_errors);
    }
    if (wants_pci(config)) {
        efi_pci_machine(stage, &machine);
    }
    if (!config_check_machine(config, &machine, &the_errors)) {
        return report(stage, &the_errors);
    }
    warn_neighbours(stage, config, &machine);
    efi_direct_let_go(stage);
    return true;
}
