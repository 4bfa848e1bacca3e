/* SPDX-License-Identifier: MIT */
/*
 * The rules that can be checked without the machine: between the keys of a guest, and between guests.
 */
#include "config/config_internal.h"

#include "hv/base/format.h"
#include "hv/mm/guest_layout.h"

/* The same bound as guest_layout_make's, so that nothing that parses fails there. */
#define MEMORY_MAX (1ULL << 46)

static void check_memory(const struct config_guest *guest, struct config_errors *errors)
{
    char text[FORMAT_BYTES_MAX];

    if (guest->memory_bytes < GUEST_MEMORY_MIN || guest->memory_bytes > MEMORY_MAX) {
        config_report(errors, guest->memory_position, "bad-memory",
                      "Guest `%.*s` has %s of memory; it needs at least 1M and at most 64T. 512M is a good start (a "
                      "number without M or G counts bytes).",
                      TEXT_ARGS(guest->name), format_bytes(text, guest->memory_bytes));
    } else if (!is_aligned(guest->memory_bytes, PAGE_BYTES)) {
        config_report(errors, guest->memory_position, "bad-memory",
                      "Memory comes in pages of 4K, and %" PRIu64 " bytes are no multiple of it; write %" PRIu64
                      "K instead.",
                      guest->memory_bytes, (uint64_t)(align_up(guest->memory_bytes, PAGE_BYTES) / KIB));
    }
}

static void check_place(const struct config_guest *guest, struct config_errors *errors)
{
    if (!is_aligned(guest->memory_at, PAGE_BYTES) || guest->memory_at > MEMORY_MAX) {
        config_report(errors, guest->memory_at_position, "bad-address",
                      "`memory-at` 0x%" PRIx64
                      " is no place for memory; write a multiple of 4K up to 64T (a multiple of "
                      "1G gives the largest pages).",
                      guest->memory_at);
    }
}

/* load-address, entry and mode say how a flat image is placed; every other protocol takes them from the image. */
static void check_flat(const struct config_guest *guest, const struct config_seen *seen, struct config_errors *errors)
{
    static const char *const flat_keys[] = {"load-address", "entry", "mode"};
    struct config_position position;

    for (size_t i = 0; i < ARRAY_COUNT(flat_keys); i++) {
        if (config_key_was_seen(seen, flat_keys[i], &position) && guest->protocol != PROTOCOL_FLAT) {
            config_report(errors, position, "flat-only",
                          "`%s` is for flat images only; add `protocol = flat`, or take the line out.", flat_keys[i]);
        }
    }
}

static void check_address(const struct config_guest *guest, const struct config_seen *seen, const char *key,
                          uint64_t address, struct config_errors *errors)
{
    struct config_position position = guest->position;

    if (!config_key_was_seen(seen, key, &position)) {
        config_key_was_seen(seen, "mode", &position);
    }
    if (address >= GUEST_RAM_LOW_MAX) {
        config_report(errors, position, "bad-address",
                      "`%s` 0x%" PRIx64 " is not below 3 GiB, where the guest's devices begin; write a lower address.",
                      key, address);
    } else if (address >= guest->memory_bytes) {
        config_report(errors, position, "bad-address",
                      "`%s` 0x%" PRIx64 " is outside the memory of guest `%.*s`, which ends at 0x%" PRIx64
                      "; give it more memory or a lower address.",
                      key, address, TEXT_ARGS(guest->name), guest->memory_bytes);
    } else if (guest->mode == MODE_REAL16 && address >= GUEST_LEGACY_END) {
        config_report(errors, position, "bad-address",
                      "`%s` 0x%" PRIx64 " cannot be reached in real mode; write an address below 1M, such as 0x7c00.",
                      key, address);
    }
}

void config_rules_guest(struct config_guest *guest, const struct config_seen *seen, struct config_errors *errors)
{
    struct config_position position;

    if (!config_key_was_seen(seen, "entry", &position)) {
        guest->entry_address = guest->load_address;
    }
    if (!config_key_was_seen(seen, "rng", &position)) {
        guest->rng = guest->console_virtio || guest->disk_count + guest->net_count != 0;
    }
    if (!config_key_was_seen(seen, "kernel", &position) && !seen->kernel_meant) {
        config_report(errors, guest->position, "missing-kernel",
                      "Guest `%.*s` has no kernel; add `kernel = FILE` to its section.", TEXT_ARGS(guest->name));
    }
    check_memory(guest, errors);
    check_place(guest, errors);
    check_flat(guest, seen, errors);
    config_rules_direct_guest(guest, errors);
    if (guest->protocol == PROTOCOL_FLAT) {
        check_address(guest, seen, "load-address", guest->load_address, errors);
        if (config_key_was_seen(seen, "entry", &position)) {
            check_address(guest, seen, "entry", guest->entry_address, errors);
        }
    }
}

static bool uses_cpu(const struct config_guest *guest, uint32_t cpu)
{
    for (uint32_t i = 0; i < guest->cpu_count; i++) {
        if (guest->cpus[i] == cpu) {
            return true;
        }
    }
    return false;
}

/* Two guests share a CPU that a list names only where both say how long each may run. True: it was reported. */
static bool check_owners(const struct config_guest *first, const struct config_guest *second,
                         struct config_errors *errors)
{
    const struct config_guest *silent = first->slice_us == 0 ? first : second;

    if (first->slice_us != 0 && second->slice_us != 0) {
        return false;
    }
    for (uint32_t i = 0; i < second->cpu_count; i++) {
        uint32_t cpu = second->cpus[i];

        if (cpu != CONFIG_CPU_ANY && uses_cpu(first, cpu)) {
            config_report(errors, second->cpus_position, "cpu-two-owners",
                          "CPU %u already belongs to guest `%.*s` (line %u); choose another CPU, or let them share it: "
                          "add `slice = 10ms` to `%.*s`%s.",
                          cpu, TEXT_ARGS(first->name), first->cpus_position.line, TEXT_ARGS(silent->name),
                          first->slice_us == second->slice_us ? " and to this guest" : "");
            return true;
        }
    }
    return false;
}

static void check_places(const struct config_guest *first, const struct config_guest *second,
                         struct config_errors *errors)
{
    if (first->memory_at != 0 && second->memory_at != 0 &&
        first->memory_at < second->memory_at + second->memory_bytes &&
        second->memory_at < first->memory_at + first->memory_bytes) {
        config_report(errors, second->memory_at_position, "memory-two-owners",
                      "Guest `%.*s` (line %u) has 0x%" PRIx64 " to 0x%" PRIx64 "; put `%.*s` somewhere else.",
                      TEXT_ARGS(first->name), first->memory_at_position.line, first->memory_at,
                      first->memory_at + first->memory_bytes, TEXT_ARGS(second->name));
    }
}

void config_rules_file(struct config *config, bool is_empty, struct config_errors *errors)
{
    if (config->guest_count == 0 && errors->count == 0) {
        config_report(errors, (struct config_position){1, 1}, "no-guest",
                      "The file %s; add a section `[guest NAME]` with `kernel = FILE`.",
                      is_empty ? "is empty" : "names no guest");
    }
    config_rules_devices(config, errors);
    config_rules_direct(config, errors);
    for (uint32_t second = 1; second < config->guest_count; second++) {
        bool told = false; /* one report per guest is enough */

        for (uint32_t first = 0; first < second; first++) {
            told = told || check_owners(&config->guests[first], &config->guests[second], errors);
            check_places(&config->guests[first], &config->guests[second], errors);
        }
    }
}
