/* SPDX-License-Identifier: MIT */
/*
 * Memory that is taken from the firmware before the hand-over, so that nothing needs to be found after it:
 *
 *   each guest's RAM       where the planner wants it, from a map of this moment, then really allocated there
 *   the trampoline page    below 1 MiB, where other CPUs start in real mode. Firmwares that give none have boot
 *                          services there, or keep it for a type of theirs: then one is taken from the last map
 *   the pool               everything else that the hypervisor will ever need: tables, stacks, vCPUs
 *
 * All of it is EfiLoaderData, so that the last memory map calls it MEMORY_LOADER and nothing else that. Every range is
 * recorded and given back on failure.
 */
#include "config/parse.h"
#include "efi/efi_stage.h"
#include "hv/base/format.h"
#include "hv/host/budget.h"
#include "hv/host/cpu_speculation.h"
#include "hv/host/host_cpu.h"
#include "hv/iommu/iommu.h"
#include "hv/virt/virt.h"

/* The map grows by every range that we take: room for all of them beside what it has at the start. */
#define MAP_SLACK_DESCRIPTORS (2u * EFI_PAGES_MAX)

/*
 * Where the firmware refuses a place, it is planned anew. Between a snapshot and the allocation the firmware's own
 * timers may take a page; and EDK2 calls memory free that it keeps for one type (gMemoryTypeInformation: ACPI tables,
 * runtime services), and answers "not found" where it is asked for as another. So what was refused is found by trying
 * its parts, and is no guest's from then on. Each try finds all of one range.
 */
#define PLAN_TRIES 16u
/* A range is tried in so many parts at most, so that a firmware that gives nothing is not asked for each page. */
#define PROBE_PARTS_MAX 1024u
#define PROBES_MAX (4u * PROBE_PARTS_MAX)

#define TRAMPOLINE_MAX 0x9ffffULL /* the last byte of a page that a start-up IPI can name, below the video memory */

EFI_STATUS efi_pages_take(struct efi_stage *stage, EFI_ALLOCATE_TYPE how, uint64_t pages, uint64_t *address)
{
    EFI_PHYSICAL_ADDRESS at = *address;
    EFI_STATUS status;

    if (stage->page_count == EFI_PAGES_MAX) {
        return EFI_OUT_OF_RESOURCES;
    }
    status = stage->boot->AllocatePages(how, EfiLoaderData, pages, &at);
    if (!EFI_ERROR(status)) {
        stage->pages[stage->page_count++] = (struct efi_pages){at, pages};
        *address = at;
    }
    return status;
}

void efi_pages_return(struct efi_stage *stage, uint64_t address)
{
    for (uint32_t i = 0; i < stage->page_count; i++) {
        if (stage->pages[i].start == address) {
            stage->boot->FreePages(address, stage->pages[i].count);
            stage->pages[i] = stage->pages[--stage->page_count];
            return;
        }
    }
}

void efi_pages_return_first(struct efi_stage *stage, uint64_t address, uint64_t pages)
{
    uint32_t i = 0;

    while (i < stage->page_count && stage->pages[i].start != address) {
        i++;
    }
    if (i < stage->page_count && pages != 0 && !EFI_ERROR(stage->boot->FreePages(address, pages))) {
        stage->pages[i].start += pages * PAGE_BYTES;
        stage->pages[i].count -= pages;
    }
}

void efi_pages_return_all(struct efi_stage *stage)
{
    while (stage->page_count > 0) {
        struct efi_pages *last = &stage->pages[--stage->page_count];

        stage->boot->FreePages(last->start, last->count);
    }
}

EFI_STATUS efi_map_read(struct efi_stage *stage, uint64_t *bytes, uint64_t *stride, uint64_t *key)
{
    UINTN size = stage->map_capacity;
    UINTN descriptor_bytes = 0;
    UINTN map_key = 0;
    UINT32 version = 0;
    EFI_STATUS status = stage->boot->GetMemoryMap(&size, stage->map_bytes, &map_key, &descriptor_bytes, &version);

    *bytes = size;
    *stride = descriptor_bytes;
    *key = map_key;
    return status;
}

static bool fail_map(struct efi_stage *stage, EFI_STATUS status, const char *why)
{
    return efi_fail(stage, status,
                    "P0801: the firmware's memory map cannot be used (%s). Update the firmware, or remove devices.",
                    why);
}

/* stage->map as the firmware has it. */
static bool read_map(struct efi_stage *stage)
{
    uint64_t bytes = 0;
    uint64_t stride = 0;
    uint64_t key = 0;
    EFI_STATUS got = efi_map_read(stage, &bytes, &stride, &key);
    enum status status;

    if (EFI_ERROR(got)) {
        return fail_map(stage, got, efi_status_name(got));
    }
    status = memory_map_from_uefi(&stage->map, stage->map_bytes, bytes, stride);
    return status == STATUS_OK || fail_map(stage, EFI_LOAD_ERROR, status_name(status));
}

/* The first part of the free memory that an MTRR does not make write-back; false: there is none. */
static bool find_uncached(const struct memory_map *map, const struct mtrr_state *mtrrs, uint64_t *start, uint64_t *end)
{
    for (uint32_t i = 0; i < map->count; i++) {
        const struct memory_region *region = &map->regions[i];
        enum cache_type type = CACHE_WB;

        for (uint64_t at = region->start; region->type == MEMORY_FREE && at < region->end; at = *end) {
            *start = at;
            *end = mtrr_run(mtrrs, at, region->end, &type);
            if (type != CACHE_WB) {
                return true;
            }
        }
    }
    return false;
}

/* A board with more memory than its firmware has MTRRs for leaves the rest uncached: a guest there would be a hundred
 * times slower, and the host map's type is the guest's. It is said once, and kept out. */
static enum status keep_uncached_out(struct efi_stage *stage)
{
    static struct mtrr_state mtrrs;
    enum status status = STATUS_OK;
    uint64_t bytes = 0;
    uint64_t start, end;
    char text[FORMAT_BYTES_MAX];

    host_cpu_read_mtrrs(&mtrrs);
    while (status == STATUS_OK && find_uncached(&stage->map, &mtrrs, &start, &end)) {
        status = memory_map_set(&stage->map, start, end, MEMORY_RESERVED);
        bytes += end - start;
    }
    if (bytes > stage->uncached_bytes) {
        stage->uncached_bytes = bytes;
        efi_say(stage,
                "Plinth: %s of memory are uncached (the firmware's MTRRs do not reach them) and no guest's; update the "
                "firmware",
                format_bytes(text, bytes));
    }
    return status;
}

bool efi_map_snapshot(struct efi_stage *stage)
{
    enum status status;

    if (!read_map(stage)) {
        return false;
    }
    /* The first MiB has the trampoline and what old firmware keeps there: no guest's. */
    status = memory_map_set(&stage->map, 0, MIB, MEMORY_RESERVED);
    for (uint32_t i = 0; i < stage->refused_count && status == STATUS_OK; i++) {
        status = memory_map_set(&stage->map, stage->refused[i].start, stage->refused[i].end, MEMORY_RESERVED);
    }
    if (status == STATUS_OK) {
        status = keep_uncached_out(stage);
    }
    return status == STATUS_OK || fail_map(stage, EFI_LOAD_ERROR, status_name(status));
}

static bool take_map_buffer(struct efi_stage *stage)
{
    UINTN size = 0;
    UINTN key = 0;
    UINTN stride = 0;
    UINT32 version = 0;
    uint64_t address = 0;
    EFI_STATUS status = stage->boot->GetMemoryMap(&size, NULL, &key, &stride, &version);

    if (status == EFI_BUFFER_TOO_SMALL) {
        stage->map_capacity = align_up(size + MAP_SLACK_DESCRIPTORS * stride, PAGE_BYTES);
        status = efi_pages_take(stage, AllocateAnyPages, stage->map_capacity / PAGE_BYTES, &address);
    }
    stage->map_bytes = (void *)(uintptr_t)address;
    return !EFI_ERROR(status) || fail_map(stage, status, efi_status_name(status));
}

bool efi_memory_start(struct efi_stage *stage)
{
    uint64_t address = 0;
    uint64_t pages = align_up(sizeof(*stage->info), PAGE_BYTES) / PAGE_BYTES;
    EFI_STATUS status = efi_pages_take(stage, AllocateAnyPages, pages, &address);

    if (EFI_ERROR(status)) {
        return efi_fail(stage, status,
                        "P0802: the firmware has not even %u KiB of memory (%s). Restart the machine and start Plinth "
                        "first.",
                        (unsigned)(pages * PAGE_BYTES / KIB), efi_status_name(status));
    }
    stage->info = (struct boot_info *)(uintptr_t)address;
    memset(stage->info, 0, sizeof(*stage->info));
    stage->info->version = BOOT_INFO_VERSION;
    stage->info->tsc_start = stage->tsc_start;
    return take_map_buffer(stage);
}

/* ---- what the firmware refuses ---- */

/* False: there are more such places than any firmware has. */
static bool note_refused(struct efi_stage *stage, uint64_t start, uint64_t end)
{
    struct efi_refused *last = stage->refused_count == 0 ? NULL : &stage->refused[stage->refused_count - 1];

    if (last != NULL && last->end == start) {
        last->end = end;
        return true;
    }
    if (stage->refused_count == EFI_REFUSED_MAX) {
        return false;
    }
    stage->refused[stage->refused_count++] = (struct efi_refused){start, end};
    return true;
}

/* Whether the firmware gives these pages. They are given back. */
static bool is_given(struct efi_stage *stage, uint64_t start, uint64_t bytes)
{
    uint64_t address = start;
    bool given = !EFI_ERROR(efi_pages_take(stage, AllocateAddress, bytes / PAGE_BYTES, &address));

    if (given) {
        efi_pages_return(stage, start);
    }
    return given;
}

/*
 * Finds the parts of [start, start + bytes), which was refused as a whole, that are refused by themselves. From the
 * start on, a part that is refused is halved, down to the smallest that is looked at; behind one that is given, the
 * next is twice as large.
 */
static bool find_refused(struct efi_stage *stage, uint64_t start, uint64_t bytes)
{
    uint64_t least = max_u64(align_up(bytes / PROBE_PARTS_MAX, PAGE_BYTES), PAGE_BYTES);
    uint64_t end = start + bytes;
    uint64_t size = bytes;

    for (uint32_t probe = 0; probe < PROBES_MAX && start < end; probe++) {
        size = min_u64(size, end - start);
        if (is_given(stage, start, size)) {
            start += size;
            size *= 2;
        } else if (size > least) {
            size = max_u64(align_down(size / 2, least), least);
        } else {
            if (!note_refused(stage, start, start + size)) {
                return false;
            }
            start += size;
        }
    }
    return start == end || note_refused(stage, start, end);
}

static uint64_t refused_bytes(const struct efi_stage *stage)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < stage->refused_count; i++) {
        bytes += stage->refused[i].end - stage->refused[i].start;
    }
    return bytes;
}

/* ---- guests ---- */

static void return_guest(struct efi_stage *stage, const struct guest_memory *memory, uint32_t taken)
{
    for (uint32_t i = 0; i < taken; i++) {
        efi_pages_return(stage, memory->ranges[i].backing.value);
    }
}

/* All ranges of a plan, or none. What the firmware refused is known then; *known: all of it. */
static EFI_STATUS take_guest(struct efi_stage *stage, const struct guest_memory *memory, bool *known)
{
    for (uint32_t i = 0; i < memory->range_count; i++) {
        uint64_t address = memory->ranges[i].backing.value;
        EFI_STATUS status = efi_pages_take(stage, AllocateAddress, memory->ranges[i].bytes / PAGE_BYTES, &address);

        if (EFI_ERROR(status)) {
            return_guest(stage, memory, i);
            *known = find_refused(stage, address, memory->ranges[i].bytes);
            return status;
        }
    }
    return EFI_SUCCESS;
}

static bool fail_guest(struct efi_stage *stage, const struct config_guest *config, uint64_t missing)
{
    char wanted[FORMAT_BYTES_MAX];
    char there[FORMAT_BYTES_MAX];
    char more[FORMAT_BYTES_MAX];

    return efi_fail(stage, EFI_OUT_OF_RESOURCES,
                    "P0803: plinth.conf:%u:%u: guest \"%.*s\" wants %s of memory, but only %s can be had for it now; "
                    "%s more would be needed. Lower `memory` of this guest or of another.",
                    config->memory_position.line, config->memory_position.column, (int)config->name.length,
                    config->name.start, format_bytes(wanted, config->memory_bytes),
                    format_bytes(there, memory_map_bytes(&stage->map, MEMORY_FREE)), format_bytes(more, missing));
}

static bool fail_place(struct efi_stage *stage, const struct config_guest *config, uint64_t from)
{
    return efi_fail(stage, EFI_OUT_OF_RESOURCES,
                    "P0807: plinth.conf:%u:%u: guest \"%.*s\" cannot lie at 0x%" PRIx64 ": from 0x%" PRIx64
                    " on the memory is not free. Write another `memory-at`, or take the line out; `inventory = yes` "
                    "lists what is free.",
                    config->memory_at_position.line, config->memory_at_position.column, (int)config->name.length,
                    config->name.start, config->memory_at, from);
}

static bool fail_refused(struct efi_stage *stage, const struct config_guest *config)
{
    char refused[FORMAT_BYTES_MAX];

    return efi_fail(stage, EFI_NOT_FOUND,
                    "P0804: the firmware does not give guest \"%.*s\" memory that its own map calls free (%s refused). "
                    "Update the firmware, or lower `memory` (plinth.conf:%u:%u).",
                    (int)config->name.length, config->name.start, format_bytes(refused, refused_bytes(stage)),
                    config->memory_position.line, config->memory_position.column);
}

static bool fail_plan(struct efi_stage *stage, const struct config_guest *config, enum status status, uint64_t missing)
{
    if (status == STATUS_BUSY) {
        return fail_place(stage, config, missing);
    }
    if (stage->refused_count != 0 && refused_bytes(stage) >= missing) {
        return fail_refused(stage, config);
    }
    return fail_guest(stage, config, missing);
}

static bool plan_guest(struct efi_stage *stage, uint32_t index)
{
    const struct config_guest *config = &stage->info->config.guests[index];
    struct guest_plan *plan = &stage->info->guests[index].plan;
    const bool small_code = cpu_speculation_small_code(
        stage->support.vendor == VIRT_VMX, efi_machine_has_code_erratum(stage), stage->info->config.speculation);
    const struct planner_request request =
        boot_planner_request(&stage->info->config, config, &stage->info->numa, small_code);
    bool known = true;

    for (uint32_t try = 0; try < PLAN_TRIES && known; try++) {
        uint64_t missing = 0;
        enum status status;

        *plan = (struct guest_plan){0};
        if (!efi_map_snapshot(stage)) {
            return false;
        }
        if (config->memory_at == 0) {
            planner_keep_reserve(&stage->map);
        }
        status = planner_guest(&stage->map, &request, stage->support.format, (unsigned)stage->support.caps.largest_leaf,
                               plan, &missing);
        if (status != STATUS_OK) {
            return fail_plan(stage, config, status, missing);
        }
        if (!EFI_ERROR(take_guest(stage, &plan->memory, &known))) {
            plan->shadow_tables = config_shadow_tables(config, stage->support.nested_paging);
            return true;
        }
    }
    return fail_refused(stage, config);
}

bool efi_memory_guests(struct efi_stage *stage)
{
    uint32_t order[CONFIG_GUESTS_MAX];

    config_plan_order(&stage->info->config, order);
    for (uint32_t i = 0; i < stage->info->config.guest_count; i++) {
        if (!plan_guest(stage, order[i])) {
            return false;
        }
    }
    return true;
}

/* ---- the hypervisor ---- */

/* Page 0 stays absent in the host map, so a firmware that gives it is asked again with it held. */
static uint64_t take_low_page(struct efi_stage *stage)
{
    uint64_t address = TRAMPOLINE_MAX;
    uint64_t second = TRAMPOLINE_MAX;
    EFI_STATUS status = efi_pages_take(stage, AllocateMaxAddress, 1, &address);

    if (EFI_ERROR(status) || address != 0) {
        return EFI_ERROR(status) ? 0 : address;
    }
    status = efi_pages_take(stage, AllocateMaxAddress, 1, &second);
    efi_pages_return(stage, 0);
    return EFI_ERROR(status) ? 0 : second;
}

/* The first vCPU that is not on the CPU that runs already; false where there is none. */
static bool find_other_cpu(const struct config *config, const struct config_guest **guest, uint32_t *cpu)
{
    for (uint32_t i = 0; i < config->guest_count; i++) {
        for (uint32_t c = 0; c < config->guests[i].cpu_count; c++) {
            if (config->guests[i].cpus[c] != 0) {
                *guest = &config->guests[i];
                *cpu = config->guests[i].cpus[c];
                return true;
            }
        }
    }
    return false;
}

uint64_t efi_memory_low_page(const struct memory_map *map)
{
    static const enum memory_type types[] = {MEMORY_FREE, MEMORY_BOOT};
    uint64_t page = 0;

    for (uint32_t i = 0; i < ARRAY_COUNT(types); i++) {
        if (memory_map_find(map, types[i], PAGE_BYTES, PAGE_BYTES, PAGE_BYTES, TRAMPOLINE_MAX + 1, &page) ==
            STATUS_OK) {
            return page;
        }
    }
    return 0;
}

bool efi_memory_trampoline(struct efi_stage *stage)
{
    const struct config_guest *guest = NULL;
    uint32_t cpu = 0;

    stage->info->trampoline = take_low_page(stage);
    if (stage->info->trampoline != 0) {
        return true;
    }
    /* Free then, though the firmware does not give it now: efi_handover() takes it. */
    if (!read_map(stage)) {
        return false;
    }
    if (efi_memory_low_page(&stage->map) == 0 && find_other_cpu(&stage->info->config, &guest, &cpu)) {
        return efi_fail(
            stage, EFI_OUT_OF_RESOURCES,
            "P0805: plinth.conf:%u:%u: guest \"%.*s\" needs CPU %u, and none of CPUs 1 to %u can be started: "
            "the firmware leaves no page below 640 KiB for it, not even after the hand-over. Use "
            "`cpus = 0,`, or update the firmware.",
            guest->cpus_position.line, guest->cpus_position.column, (int)guest->name.length, guest->name.start, cpu,
            stage->info->cpu_count - 1);
    }
    return true;
}

/* AllocatePages knows no alignment: the place is found in the firmware's map and then asked for. */
static EFI_STATUS take_pool(struct efi_stage *stage, uint64_t bytes, uint64_t *start)
{
    EFI_STATUS status = EFI_NOT_FOUND;
    bool known = true;

    for (uint32_t try = 0; try < PLAN_TRIES && EFI_ERROR(status) && known; try++) {
        if (!efi_map_snapshot(stage) || planner_own_place(&stage->map, bytes, start) != STATUS_OK) {
            return EFI_OUT_OF_RESOURCES;
        }
        status = efi_pages_take(stage, AllocateAddress, bytes / PAGE_BYTES, start);
        known = !EFI_ERROR(status) || find_refused(stage, *start, bytes);
    }
    return status;
}

/* CR3 has 32 bits under PAE paging. */
static bool shadow_is_low(struct efi_stage *stage)
{
    const struct boot_info *info = stage->info;

    for (uint32_t i = 0; i < info->config.guest_count && info->pool_start + info->pool_bytes > 4 * GIB; i++) {
        if (info->guests[i].plan.shadow_tables != 0) {
            return efi_fail(stage, EFI_OUT_OF_RESOURCES,
                            "P0808: shadow paging needs the hypervisor's own memory below 4 GiB, and guests have it. "
                            "Lower `memory` of a guest.");
        }
    }
    return true;
}

bool efi_memory_pool(struct efi_stage *stage)
{
    const struct budget_vendor vendor = {virt_cpu_bytes(), virt_vcpu_bytes(), iommu_bytes(&stage->acpi)};
    struct boot_info *info = stage->info;
    char wanted[FORMAT_BYTES_MAX];
    EFI_STATUS status;

    if (!efi_map_snapshot(stage)) {
        return false;
    }
    info->memory = stage->map; /* the pool's size depends on how much there is to map */
    info->pool_bytes = budget_bytes_needed(info, &vendor);
    status = take_pool(stage, info->pool_bytes, &info->pool_start);
    if (EFI_ERROR(status)) {
        return efi_fail(stage, status,
                        "P0806: the hypervisor itself needs %s beside the guests, and the firmware has none in one "
                        "piece (%s). Lower `memory` of a guest.",
                        format_bytes(wanted, info->pool_bytes), efi_status_name(status));
    }
    return shadow_is_low(stage);
}
