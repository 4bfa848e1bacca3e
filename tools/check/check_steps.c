/* SPDX-License-Identifier: MIT */
/*
 * The steps of plinth-check, in the order of the hypervisor's start (efi/efi_main.c) and with its object files:
 *
 *   1. the config is parsed and checked (config/);
 *   2. it is checked against the machine: the one that --machine describes, or one that has what the config needs;
 *   3. the files it names must be there, and the guest-loader must accept each kernel;
 *   4. each guest's memory is planned, the largest first, and then the hypervisor's own.
 *
 * Where files lie is the firmware's choice: they are taken from the top of the memory, as EDK2 does it.
 */
#include "tools/check/check.h"

#include "guest-loader/foreign.h"
#include "guest-loader/gzip.h"
#include "hv/base/format.h"
#include "hv/boot_info.h"
#include "hv/core/guest_devices.h"
#include "hv/dev/virtio/disk_store.h"
#include "hv/host/cpu_speculation.h"

#include <stdlib.h>
#include <string.h>

/* Pages for a file or what it expands to, from the top. Without them the target says P0716, P0723 or P0724. */
static void take_pages(struct check *check, uint64_t bytes, struct config_position position)
{
    struct memory_map *map = &check->without_files;
    uint64_t taken = align_up(bytes, PAGE_BYTES);

    for (uint32_t i = map->count; i > 0; i--) {
        const struct memory_region *region = &map->regions[i - 1];

        if (region->type == MEMORY_FREE && region->end - region->start >= taken) {
            memory_map_convert(map, region->end - taken, region->end, MEMORY_FREE, MEMORY_LOADER);
            return;
        }
    }
    if (check->errors.count == 0) { /* else the target does not come so far */
        config_report(&check->errors, position, "too-much-memory",
                      "The machine has no memory in one piece for this file; use a smaller one.");
    }
}

static bool read_image(struct check *check, struct text path, struct config_position position, struct span *image)
{
    bool first = false;

    if (!check_file_read(check, path, position, image, &first)) {
        return false;
    }
    if (first) {
        take_pages(check, image->bytes, position);
    }
    return true;
}

static void free_images(struct load_request *request)
{
    check_file_free(request->kernel);
    for (uint32_t m = 0; m < CONFIG_MODULES_MAX; m++) {
        check_file_free(request->modules[m].bytes);
    }
}

/* Another guest before has the same kernel: the target expands it once. */
static bool expanded_before(const struct check *check, uint32_t index)
{
    for (uint32_t g = 0; g < index; g++) {
        if (config_path_same(check->config.guests[g].kernel, check->config.guests[index].kernel)) {
            return true;
        }
    }
    return false;
}

/* A file that is compressed with gzip, into *to, which the caller frees. */
static enum status expand(struct span *file, uint8_t **to, struct load_error *error)
{
    uint64_t bytes = 0;
    enum status status = gzip_size(*file, &bytes, error);

    if (status != STATUS_OK) {
        return status;
    }
    *to = malloc((size_t)bytes);
    if (*to == NULL) {
        return STATUS_NO_MEMORY;
    }
    status = gzip_expand(*file, *to, bytes, error);
    *file = (struct span){*to, bytes};
    return status;
}

/* A kernel that is compressed is expanded before the loader looks at it. */
static enum status expand_kernel(struct check *check, uint32_t index, struct span *kernel, uint8_t **to,
                                 struct load_error *error)
{
    enum status status;

    if (!gzip_recognize(*kernel)) {
        return STATUS_OK;
    }
    status = expand(kernel, to, error);
    if (status == STATUS_OK && !expanded_before(check, index)) {
        take_pages(check, kernel->bytes, check->config.guests[index].kernel_position);
    }
    return status;
}

static void report_image(struct check *check, struct text path, struct config_position position,
                         const struct load_error *error)
{
    char offset[48] = "";

    if (error->offset != UINT64_MAX) {
        format_text(offset, sizeof(offset), " (at offset 0x%" PRIx64 ")", error->offset);
    }
    config_report(&check->errors, position, "bad-image", "%.*s: %s%s.", TEXT_ARGS(path), error->sentence, offset);
}

/* Asks the loader about one guest's images, as the hypervisor does before the point of no return. */
static void check_images(struct check *check, uint32_t index)
{
    const struct config_guest *guest = &check->config.guests[index];
    struct load_request request = {
        .protocol = guest->protocol,
        .module_count = guest->module_count,
        .cmdline = guest->cmdline,
        .name = guest->kernel,
        .rsdp = gpa(GUEST_ACPI_START),
        .flat_load = guest->load_address,
        .flat_entry = guest->entry_address,
        .flat_mode = guest->mode,
    };
    struct load_error error = {.offset = UINT64_MAX, .sentence = "there is no memory to expand it"};
    bool there = read_image(check, guest->kernel, guest->kernel_position, &request.kernel);
    const struct span file = request.kernel;
    uint8_t *expanded = NULL;

    for (uint32_t m = 0; m < guest->module_count; m++) {
        const struct config_module *module = &guest->modules[m];

        request.modules[m].arguments = module->arguments;
        there = read_image(check, module->path, module->position, &request.modules[m].bytes) && there;
    }
    if (there && guest_layout_make(guest->memory_bytes, &request.layout) == STATUS_OK &&
        (expand_kernel(check, index, &request.kernel, &expanded, &error) != STATUS_OK ||
         loader_plan(&request, &check->images[index], &error) != STATUS_OK)) {
        report_image(check, guest->kernel, guest->kernel_position, &error);
    }
    free(expanded);
    request.kernel = file;
    free_images(&request);
}

/* ---- the plan ---- */

/* What a host address is used for, in a word. */
static const char *use_of(const struct check *check, uint64_t address)
{
    for (uint32_t i = 0; i < check->machine.map.count; i++) {
        const struct memory_region *region = &check->machine.map.regions[i];

        if (address >= region->start && address < region->end) {
            return region->type == MEMORY_FREE ? "taken already" : check_type_name(region->type);
        }
    }
    return "not there";
}

static void plan_guest(struct check *check, uint32_t index)
{
    const struct config_guest *guest = &check->config.guests[index];
    const bool small_code = cpu_speculation_small_code(check->machine.format == &page_table_ept4,
                                                       check->machine.code_erratum, check->config.speculation);
    const struct planner_request request =
        boot_planner_request(&check->config, guest, &check->machine.numa, small_code);
    uint64_t missing = 0;
    enum status status = planner_guest(&check->planned, &request, check->machine.format, check->machine.largest_leaf,
                                       &check->plans[index], &missing);
    char missing_text[FORMAT_BYTES_MAX];

    if (status == STATUS_BUSY) {
        config_report(&check->errors, guest->memory_at_position, "memory-not-free",
                      "Guest `%.*s` cannot lie at 0x%" PRIx64 ": from 0x%" PRIx64 " on the memory is %s; write another "
                      "`memory-at`, or take the line out.",
                      TEXT_ARGS(guest->name), guest->memory_at, missing, use_of(check, missing));
    } else if (status != STATUS_OK) {
        config_report(&check->errors, guest->memory_position.line != 0 ? guest->memory_position : guest->position,
                      "too-much-memory", "For guest `%.*s` %s are missing; give it or another guest less.",
                      TEXT_ARGS(guest->name), format_bytes(missing_text, missing));
    }
    check->plans[index].shadow_tables = config_shadow_tables(guest, check->machine.nested_paging);
}

/* As efi/efi_memory.c does it. */
static void plan_guests(struct check *check)
{
    uint32_t order[CONFIG_GUESTS_MAX];
    bool reserved = false;

    config_plan_order(&check->config, order);
    check->planned = check->without_files;
    for (uint32_t i = 0; i < check->config.guest_count && check->errors.count == 0; i++) {
        if (check->config.guests[order[i]].memory_at == 0 && !reserved) {
            planner_keep_reserve(&check->planned);
            reserved = true;
        }
        plan_guest(check, order[i]);
    }
}

/* Beside the guests; the reserve was only marked. */
static void plan_own(struct check *check)
{
    struct memory_map map = check->without_files;
    uint32_t vcpus = 0;
    uint64_t pages = 0;
    char bytes_text[FORMAT_BYTES_MAX];

    for (uint32_t g = 0; g < check->config.guest_count; g++) {
        const struct guest_memory *memory = &check->plans[g].memory;

        for (uint32_t r = 0; r < memory->range_count; r++) {
            uint64_t start = memory->ranges[r].backing.value;

            memory_map_convert(&map, start, start + memory->ranges[r].bytes, MEMORY_FREE, MEMORY_LOADER);
        }
        vcpus += check->config.guests[g].cpu_count;
        pages += check->plans[g].table_count + check->plans[g].device_tables;
        pages += planner_shadow_pages(check->plans[g].shadow_tables, check->config.guests[g].cpu_count);
        pages += align_up(guest_devices_bytes(&check->config.guests[g]), PAGE_BYTES) / PAGE_BYTES;
    }
    check->own_bytes = planner_own_bytes(&check->machine.own, check->config.guest_count, vcpus, pages);
    if (planner_own_place(&map, check->own_bytes, &check->own_start) != STATUS_OK) {
        config_report(&check->errors, check->config.guests[0].position, "too-much-memory",
                      "The hypervisor itself needs %s in one piece beside the guests; give a guest less.",
                      format_bytes(bytes_text, check->own_bytes));
    }
}

/* Expands the image where it is compressed, once on the target, however many disks have it; into *to, which the caller
 * frees. */
static bool expand_disk(struct check *check, const struct config_disk *disk, struct span *image, uint8_t **to,
                        struct check_disk *known)
{
    struct load_error error = {.offset = UINT64_MAX, .sentence = "there is no memory to expand it"};
    bool good = true;

    if (gzip_recognize(*image)) {
        good = expand(image, to, &error) == STATUS_OK;
        known->expanded_bytes = image->bytes;
    }
    if (!good) {
        report_image(check, disk->path, disk->position, &error);
    } else {
        known->foreign = foreign_disk(*image);
    }
    return good;
}

/* The image's pages that are in memory. */
static uint64_t pages_in_memory(const struct check *check, const struct config_disk *disk, struct check_disk *known)
{
    uint64_t pages = align_up(known->bytes, PAGE_BYTES) / PAGE_BYTES;

    if (config_disk_has_holes(&check->config, disk)) {
        known->stored_bytes = known->stored_pages == pages ? UINT64_MAX : known->stored_pages * PAGE_BYTES;
        return known->stored_pages;
    }
    known->zero_bytes = (pages - known->stored_pages) * PAGE_BYTES;
    return pages;
}

static void take_disk(struct check *check, const struct config_disk *disk, bool first, struct check_disk *known)
{
    uint64_t stored = pages_in_memory(check, disk, known);
    struct config_disk_plan plan = config_disk_plan(&check->config, disk, known->bytes, stored);

    if (first) {
        take_pages(check, max_u64(stored, 1) * PAGE_BYTES, disk->position);
        if (config_disk_has_holes(&check->config, disk)) {
            take_pages(check, plan.map_pages * CONFIG_DISK_MAP_BYTES, disk->position);
        }
    }
    take_pages(check, plan.map_pages * CONFIG_DISK_MAP_BYTES, disk->position);
    if (plan.change_pages != 0) {
        take_pages(check, plan.change_pages * PAGE_BYTES, disk->position);
    }
}

/* What a run has found of this file, for another disk or another machine: an image is large, and looked at whole. */
static bool find_disk(const struct check *check, struct text path, struct check_disk *known)
{
    for (uint32_t g = 0; g < check->config.guest_count; g++) {
        for (uint32_t i = 0; i < check->config.guests[g].disk_count; i++) {
            if (check->disks[g][i].is_read && config_path_same(check->config.guests[g].disks[i].path, path)) {
                *known = check->disks[g][i];
                return true;
            }
        }
    }
    return false;
}

static void read_disk(struct check *check, const struct config_disk *disk, struct span image, struct check_disk *known)
{
    uint8_t *memory = NULL;

    if (expand_disk(check, disk, &image, &memory, known)) {
        known->bytes = image.bytes;
        known->stored_pages = disk_store_count(image);
        known->is_read = true;
    }
    free(memory);
}

/* A disk's image, and the memory beside it. The compressed bytes of one are given back. */
static void check_disk(struct check *check, const struct config_disk *disk, struct check_disk *known)
{
    struct span image;
    bool first = false;

    *known = (struct check_disk){.is_read = false};
    if (check_file_read(check, disk->path, disk->position, &image, &first)) {
        if (!find_disk(check, disk->path, known) &&
            (check->before == NULL || !find_disk(check->before, disk->path, known))) {
            read_disk(check, disk, image, known);
        }
        check_file_free(image);
    }
    known->stored_bytes = UINT64_MAX;
    known->zero_bytes = 0;
    if (known->is_read) {
        take_disk(check, disk, first, known);
    }
}

static void check_disks(struct check *check)
{
    for (uint32_t g = 0; g < check->config.guest_count; g++) {
        for (uint32_t i = 0; i < check->config.guests[g].disk_count; i++) {
            check_disk(check, &check->config.guests[g].disks[i], &check->disks[g][i]);
        }
    }
}

static void check_shares(struct check *check)
{
    for (uint32_t i = 0; i < check->config.share_count; i++) {
        take_pages(check, config_share_pages(&check->config.shares[i]) * PAGE_BYTES, check->config.shares[i].position);
    }
}

struct config_machine check_machine_of(const struct check *check)
{
    const struct machine_cpu *cpus = check->machine.cpus;
    struct config_machine machine = {
        .cpu_count = check->machine.cpu_count,
        .memory_bytes = memory_map_bytes(&check->machine.map, MEMORY_FREE),
        .cores_known = true,
        .no_nested_paging = !check->machine.nested_paging,
        .is_virtual = check->machine.is_virtual,
        .pci = check->machine.pci,
        .pci_count = check->machine.pci_count,
        .pci_known = check->machine.pci_count != 0,
        .has_iommu = !check->machine.iommus_told || check->machine.iommu_units != 0,
    };

    for (uint32_t i = 0; i < CPUS_MAX; i++) {
        uint32_t first = 0;

        while (first < i && (!cpus[i].described || !cpus[first].described || cpus[first].package != cpus[i].package ||
                             cpus[first].core != cpus[i].core || cpus[first].thread == cpus[i].thread)) {
            first++;
        }
        machine.cores[i] = first < i ? machine.cores[first] : i;
        machine.kinds[i] = cpus[i].kind;
        machine.kinds_known = machine.kinds_known || cpus[i].kind != CPU_KIND_ANY;
        machine.nodes[i] = cpus[i].node < check->machine.numa.node_count ? cpus[i].node : 0;
    }
    machine.node_count = check->machine.numa.node_count;
    planner_node_bytes(&check->machine.map, &check->machine.numa, machine.node_bytes);
    if (check->options.machine != NULL) {
        machine.map = &check->machine.map; /* else memory is where none may be on the real one */
        machine.taken_count = check->machine.taken_count;
        memcpy(machine.taken, check->machine.taken, sizeof(machine.taken));
        machine.devices_known = check->machine.taken_count != 0; /* files of older versions do not say them */
        machine.has_com2 = check->machine.has_com2;
        machine.screen = check->machine.screen;
        machine.keyboard_known = check->machine.keyboard_known;
        machine.has_keyboard = check->machine.has_keyboard;
    }
    return machine;
}

void check_run(struct check *check)
{
    struct config_machine machine;
    bool parsed;

    check->file_count = 0;
    memset(check->disks, 0, sizeof(check->disks));
    parsed = config_parse(check->file, &check->config, &check->errors);

    if (check->options.machine != NULL) {
        check_machine_read(check);
    } else {
        check_machine_assume(check);
    }
    if (!parsed || check->machine_errors.count != 0) {
        return;
    }
    memory_map_set(&check->machine.map, 0, MIB, MEMORY_RESERVED);
    check->without_files = check->machine.map;
    machine = check_machine_of(check);
    config_check_machine(&check->config, &machine, &check->errors);
    for (uint32_t g = 0; g < check->config.guest_count; g++) {
        check_images(check, g);
    }
    check_disks(check);
    check_shares(check);
    if (check->errors.count == 0) {
        plan_guests(check);
    }
    if (check->errors.count == 0) {
        plan_own(check);
    }
}

bool check_is_good(const struct check *check)
{
    return check->errors.count == 0 && check->machine_errors.count == 0;
}

/* ---- the machine's memory ---- */

/* Whether [start, start + bytes) has the address; *end comes down to where that changes. */
static bool has(uint64_t start, uint64_t bytes, uint64_t address, uint64_t *end)
{
    if (start > address) {
        *end = min_u64(*end, start);
        return false;
    }
    if (address - start < bytes) {
        *end = min_u64(*end, start + bytes);
        return true;
    }
    return false;
}

static uint32_t owner_of(const struct check *check, uint64_t address, uint64_t *end)
{
    uint32_t owner = HOST_PIECE_NOBODYS;

    for (uint32_t g = 0; g < check->config.guest_count; g++) {
        const struct guest_memory *memory = &check->plans[g].memory;

        for (uint32_t r = 0; r < memory->range_count; r++) {
            owner = has(memory->ranges[r].backing.value, memory->ranges[r].bytes, address, end) ? g : owner;
        }
    }
    return has(check->own_start, check->own_bytes, address, end) ? HOST_PIECE_OWN : owner;
}

uint32_t check_host_pieces(const struct check *check, struct check_piece pieces[HOST_PIECES_MAX])
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < check->machine.map.count; i++) {
        const struct memory_region *region = &check->machine.map.regions[i];
        uint64_t at = region->start;

        while (at < region->end && count < HOST_PIECES_MAX) {
            uint64_t end = region->end;
            uint32_t guest = owner_of(check, at, &end);

            end = min_u64(end, region->end);
            pieces[count++] = (struct check_piece){at, end, region->type, guest};
            at = end;
        }
    }
    return count;
}
