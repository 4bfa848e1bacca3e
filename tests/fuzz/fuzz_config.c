/* SPDX-License-Identifier: MIT */
/*
 * Arbitrary bytes as plinth.conf. Checked: a verdict and its errors agree, every error has a place in the file, and
 * what was accepted keeps the promises that the rest of the hypervisor builds on.
 */
#include "config/parse.h"
#include "hv/base/check.h"
#include "hv/base/memory.h"
#include "hv/mm/guest_layout.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct config config;
static struct config_errors errors;

static void check_errors(size_t size)
{
    CHECK_OP(errors.count, <=, CONFIG_ERRORS_MAX);
    for (uint32_t i = 0; i < errors.count; i++) {
        const struct config_error *error = &errors.list[i];

        CHECK(error->position.line >= 1 && error->position.line <= size + 1);
        CHECK(error->position.column >= 1 && error->position.column <= size + 1);
        CHECK(error->rule[0] != '\0' && error->sentence[0] != '\0');
        CHECK(strlen(error->sentence) < sizeof(error->sentence));
        if (i != 0) {
            CHECK_OP(error[-1].position.line, <=, error->position.line);
        }
    }
}

static void check_text(struct text text, const uint8_t *data, size_t size)
{
    CHECK(text.length == 0 || ((const uint8_t *)text.start >= data && text.length <= size &&
                               (const uint8_t *)text.start + text.length <= data + size));
}

static void check_path(struct text path, const uint8_t *data, size_t size)
{
    char volume[CONFIG_PATH_MAX + 1];

    check_text(path, data, size);
    CHECK(path.length != 0);
    config_volume_path(path, volume);
    CHECK(strncmp(volume, "\\plinth\\", 8) == 0);
    CHECK(strstr(volume, ".\\") == NULL && strstr(volume, " \\") == NULL && strstr(volume, "\\ ") == NULL);
    CHECK(volume[strlen(volume) - 1] != '.' && volume[strlen(volume) - 1] != ' ');
    CHECK(strlen(volume) <= CONFIG_PATH_MAX && strstr(volume, "\\..\\") == NULL && strstr(volume, "\\\\") == NULL);
}

static void check_guest(const struct config_guest *guest, const uint8_t *data, size_t size)
{
    struct guest_layout layout;

    check_text(guest->name, data, size);
    check_text(guest->cmdline, data, size);
    check_path(guest->kernel, data, size);
    CHECK(guest->name.length >= 1 && guest->name.length <= CONFIG_NAME_MAX);
    CHECK(guest->cpu_count >= 1 && guest->cpu_count <= CONFIG_GUEST_CPUS_MAX);
    CHECK(guest->module_count <= CONFIG_MODULES_MAX);
    CHECK(guest_layout_make(guest->memory_bytes, &layout) == STATUS_OK);
    for (uint32_t i = 0; i < guest->module_count; i++) {
        check_path(guest->modules[i].path, data, size);
        check_text(guest->modules[i].arguments, data, size);
    }
}

/* Every vCPU has a CPU that is there, and guests that share one have a slice. */
static void check_placement(const struct config_machine *machine)
{
    uint32_t users[64] = {0};

    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t g = 0; g < config.guest_count; g++) {
            for (uint32_t i = 0; i < config.guests[g].cpu_count; i++) {
                uint32_t cpu = config.guests[g].cpus[i];

                CHECK_OP(cpu, <, machine->cpu_count);
                users[cpu] += pass == 0;
                CHECK(pass == 0 || users[cpu] == 1 || config.guests[g].slice_us != 0);
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_machine machine = {
        .cpu_count = 1 + (uint32_t)size % 64,
        .memory_bytes = (uint64_t)(size % 7 + 1) * GIB,
        .cores_known = size % 2 != 0,
        .no_nested_paging = size % 5 == 0,
    };
    struct config_neighbours neighbours;
    uint32_t from = 0;
    bool good = config_parse((struct text){(const char *)data, size}, &config, &errors);

    for (uint32_t i = 0; i < CPUS_MAX; i++) {
        machine.cores[i] = i - i % (1 + (uint32_t)size % 3);
    }
    CHECK_OP(good, ==, errors.count == 0);
    check_errors(size);
    if (!good) {
        return 0;
    }
    CHECK(config.guest_count >= 1 && config.guest_count <= CONFIG_GUESTS_MAX);
    for (uint32_t i = 0; i < config.guest_count; i++) {
        check_guest(&config.guests[i], data, size);
    }
    good = config_check_machine(&config, &machine, &errors);
    CHECK_OP(good, ==, errors.count == 0);
    check_errors(size);
    if (good) {
        check_placement(&machine);
        while (config_next_neighbours(&config, &machine, &from, &neighbours)) {
            CHECK(neighbours.guests[0] < neighbours.guests[1] && neighbours.cpus[0] != neighbours.cpus[1]);
        }
    }
    return 0;
}
