#include "hv/host/host_memory.h"

#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/host/cpu.h"
#include "hv/host/host_cpu.h"
#include "hv/host/panic.h"
#include "hv/host/pool.h"
#include "hv/mm/memory_map.h"
#include "hv/mm/page_table.h"
#include "hv/x86/host_map.h"
#include "hv/x86/insn.h"

_Static_assert(sizeof(void *) == 8, "the hypervisor's memory is identity-mapped: a pointer holds an hpa_t");

#define ALIGNMENT (2 * MIB)
#define LOW_END (4 * GIB) /* local APICs, I/O APICs and firmware's flash lie below it whatever memory there is */

/* Image sections, the screen, and the guard pages. */
#define PIECES_MAX (BOOT_SECTIONS_MAX + 1u + CPU_GUARDS_MAX)

/* Pieces that lie anywhere: sections, screen, trampoline. */
#define LOOSE_PIECES (BOOT_SECTIONS_MAX + 2u)

static struct {
    struct table_pool pool;
    struct page_table table;
    struct mtrr_state mtrrs;
    struct page_table_caps caps;
    uint64_t top;
} host;

static struct host_piece pieces[PIECES_MAX];
static uint32_t piece_count;

static uint64_t top_of(const struct boot_info *info)
{
    return align_up(max_u64(memory_map_top(&info->memory), LOW_END), ALIGNMENT);
}

uint64_t host_memory_tables_max(const struct boot_info *info)
{
    static struct mtrr_state mtrrs;
    struct host_map_request request = {.top = top_of(info), .mtrrs = &mtrrs};

    host_cpu_read_mtrrs(&mtrrs);
    request.largest_leaf = host_cpu_paging_caps().largest_leaf;
    return host_map_tables_max(&request, LOOSE_PIECES, info->cpu_count * cpu_stacks_bytes());
}

static void add_piece(uint64_t start, uint64_t end, enum host_piece_kind kind)
{
    if (start < end && piece_count < PIECES_MAX) {
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

void host_memory_init(const struct boot_info *info, const uint64_t *guards, uint32_t guard_count)
{
    struct host_map_request request = {.pieces = pieces, .mtrrs = &host.mtrrs};

    host.caps = host_cpu_paging_caps();
    if (!host.caps.no_execute) {
        hv_panic(PANIC_CPU, "the CPU has no no-execute pages (NX, CPUID 0x80000001 EDX bit 20)");
    }
    host_cpu_read_mtrrs(&host.mtrrs);
    host.top = top_of(info);
    add_sections(info);
    add_screen(&info->framebuffer);
    add_guards(guards, guard_count);
    request.top = host.top;
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
    char top[FORMAT_BYTES_MAX];

    log_info("host map: identity up to %s in %" PRIu64 " tables, %s leaves, no page writable and executable",
             format_bytes(top, host.top), host.pool.pages - host.pool.free_count,
             host.caps.largest_leaf == LEVEL_1G ? "1 GiB" : "2 MiB");
}
