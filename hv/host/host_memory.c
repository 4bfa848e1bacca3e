/* SPDX-License-Identifier: MIT */
#include "hv/host/host_memory.h"

#include "hv/base/check.h"
#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/host/cpu.h"
#include "hv/host/host_cpu.h"
#include "hv/host/panic.h"
#include "hv/host/pool.h"
#include "hv/mm/page_table.h"
#include "hv/plan/memory_map.h"
#include "hv/x86/host_map.h"
#include "hv/x86/insn.h"

_Static_assert(sizeof(void *) == 8, "the hypervisor's memory is identity-mapped: a pointer holds an hpa_t");

/* Image sections, the screen, devices, and the guard pages. */
#define PIECES_MAX (BOOT_SECTIONS_MAX + 1u + HOST_WINDOWS_MAX + CPU_GUARDS_MAX)

/* Pieces that lie anywhere: sections, screen, trampoline, devices. */
#define LOOSE_PIECES (BOOT_SECTIONS_MAX + 2u + HOST_WINDOWS_MAX)

static struct {
    struct table_pool pool;
    struct page_table table;
    struct mtrr_state mtrrs;
    struct page_table_caps caps;
    struct host_range memory[MEMORY_REGIONS_MAX];
    uint32_t memory_count;
    struct host_range windows[HOST_WINDOWS_MAX];
    uint32_t window_count;
} host;

static struct host_piece pieces[PIECES_MAX];
static uint32_t piece_count;

/* What is mapped as memory, neighbours joined: RAM in any use but the firmware's own, and ACPI's tables. */
static uint32_t collect_memory(const struct memory_map *map, struct host_range *ranges)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < map->count; i++) {
        const struct memory_region *region = &map->regions[i];

        if (region->type > MEMORY_ACPI) {
            continue;
        }
        if (count != 0 && ranges[count - 1].end == region->start) {
            ranges[count - 1].end = region->end;
        } else {
            ranges[count++] = (struct host_range){region->start, region->end};
        }
    }
    return count;
}

uint64_t host_memory_tables_max(const struct boot_info *info)
{
    static struct mtrr_state mtrrs;
    static struct host_range ranges[MEMORY_REGIONS_MAX];
    const struct host_map_request request = {
        .memory = ranges,
        .memory_count = collect_memory(&info->memory, ranges),
        .mtrrs = &mtrrs,
        .largest_leaf = host_cpu_paging_caps().largest_leaf,
    };

    host_cpu_read_mtrrs(&mtrrs);
    return host_map_tables_max(&request, LOOSE_PIECES, info->cpu_count * cpu_stacks_bytes());
}

static void add_piece(uint64_t start, uint64_t end, enum host_piece_kind kind)
{
    if (start < end) {
        CHECK_OP(piece_count, <, PIECES_MAX); /* one that is left out would be a hole in the protection */
        pieces[piece_count++] = (struct host_piece){start, end, kind};
    }
}

static void add_sections(const struct boot_info *info)
{
    for (uint32_t i = 0; i < info->section_count; i++) {
        const struct boot_section *section = &info->sections[i];

        if (section->write && section->execute) {
            hv_panic(PANIC_BOOT_INFO, "section %s of the image is writable and executable", section->name);
        }
        add_piece(section->start, section->end,
                  section->execute ? HOST_PIECE_TEXT
                  : section->write ? HOST_PIECE_DATA
                                   : HOST_PIECE_CONSTANT);
    }
}

static void add_screen(const struct boot_framebuffer *framebuffer)
{
    if (framebuffer->format != BOOT_PIXEL_NONE) {
        add_piece(align_down(framebuffer->base, PAGE_BYTES),
                  align_up(framebuffer->base + framebuffer->bytes, PAGE_BYTES), HOST_PIECE_SCREEN);
    }
}

static void add_guards(const uint64_t *guards, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        add_piece(guards[i], guards[i] + PAGE_BYTES, HOST_PIECE_ABSENT);
    }
}

static bool is_memory(const struct host_range *range)
{
    for (uint32_t i = 0; i < host.memory_count; i++) {
        if (range->start < host.memory[i].end && host.memory[i].start < range->end) {
            return true;
        }
    }
    return false;
}

static bool is_window(const struct host_range *range)
{
    for (uint32_t i = 0; i < host.window_count; i++) {
        if (host.windows[i].start <= range->start && range->end <= host.windows[i].end) {
            return true;
        }
    }
    return false;
}

/* Keeps the window. False: it is memory, it has no place, or it is empty or wraps. */
static bool note_window(const struct host_range *range)
{
    if (range->start >= range->end || is_memory(range) || host.window_count == HOST_WINDOWS_MAX) {
        return false;
    }
    host.windows[host.window_count++] = *range;
    return true;
}

static void add_windows(const struct host_places *places)
{
    for (uint32_t i = 0; i < places->window_count; i++) {
        const struct host_range *window = &places->windows[i];

        if (!is_window(window) && note_window(window)) {
            add_piece(window->start, window->end, HOST_PIECE_DEVICE);
        }
    }
}

bool host_memory_map_device(uint64_t start, uint64_t bytes)
{
    const struct host_range range = {align_down(start, PAGE_BYTES), align_up(start + bytes, PAGE_BYTES)};
    const struct host_piece piece = {range.start, range.end, HOST_PIECE_DEVICE};
    enum page_flush flush;

    if (is_window(&range)) {
        return true;
    }
    if (!note_window(&range) || host_map_apply(&host.table, &host.mtrrs, &piece, LEVEL_2M, &flush) != STATUS_OK) {
        return false;
    }
    insn_write_cr3(host_memory_root());
    return true;
}

static void build(const struct boot_info *info, const struct host_map_request *request)
{
    uint64_t tables = host_memory_tables_max(info);
    void *memory = pool_take(tables * PAGE_BYTES);
    enum status status = table_pool_init(&host.pool, 0, hpa((uint64_t)(uintptr_t)memory), tables);

    if (status == STATUS_OK) {
        status = page_table_init(&host.table, host_cpu_five_levels() ? &page_table_host5 : &page_table_host4,
                                 &host.caps, &host.pool);
    }
    if (status == STATUS_OK) {
        status = host_map_build(&host.table, request);
    }
    if (status != STATUS_OK) {
        hv_panic(PANIC_HOST_MAP, "the host's page tables could not be built: %s (%" PRIu64 " tables)",
                 status_name(status), tables);
    }
}

void host_memory_init(const struct boot_info *info, const struct host_places *places)
{
    struct host_map_request request = {.pieces = pieces, .mtrrs = &host.mtrrs, .memory = host.memory};

    host.caps = host_cpu_paging_caps();
    if (!host.caps.no_execute) {
        hv_panic(PANIC_CPU, "the CPU has no no-execute pages (NX, CPUID 0x80000001 EDX bit 20)");
    }
    host_cpu_read_mtrrs(&host.mtrrs);
    host.memory_count = collect_memory(&info->memory, host.memory);
    add_sections(info);
    add_screen(&info->framebuffer);
    add_windows(places);
    add_guards(places->guards, places->guard_count);
    request.memory_count = host.memory_count;
    request.largest_leaf = host.caps.largest_leaf;
    request.piece_count = piece_count;
    build(info, &request);
    host_memory_load_cpu();
}

void host_memory_load_cpu(void)
{
    host_cpu_load_paging(host_memory_root());
}

uint64_t host_memory_root(void)
{
    return page_table_root_pointer(&host.table);
}

void host_memory_set_executable(uint64_t address, bool executable)
{
    struct host_piece piece = {address, address + PAGE_BYTES, executable ? HOST_PIECE_TEXT : HOST_PIECE_DATA};
    enum page_flush flush;
    enum status status = host_map_apply(&host.table, &host.mtrrs, &piece, LEVEL_4K, &flush);

    if (status != STATUS_OK) {
        hv_panic(PANIC_HOST_MAP, "the page for starting CPUs could not be mapped: %s", status_name(status));
    }
    insn_write_cr3(host_memory_root());
}

void host_memory_report(void)
{
    char memory[FORMAT_BYTES_MAX];
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < host.memory_count; i++) {
        bytes += host.memory[i].end - host.memory[i].start;
    }
    log_info("host map: identity, %s of memory and %u device windows in %" PRIu64
             " tables, %s leaves, no page writable and executable",
             format_bytes(memory, bytes), host.window_count, host.pool.pages - host.pool.free_count,
             host.caps.largest_leaf == LEVEL_1G ? "1 GiB" : "2 MiB");
}
