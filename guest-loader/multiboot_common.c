/* See guest-loader/multiboot_common.h. */
#include "guest-loader/multiboot_common.h"

#include "hv/base/memory.h"

/* All values come from 32-bit fields, so no sum wraps. */
static enum status check_addresses(struct loader *loader, const struct load_addresses *from, uint64_t *file_offset,
                                   uint64_t *bytes)
{
    uint64_t file_bytes = loader->request->kernel.bytes;

    if (from->load > from->header || from->header - from->load > from->header_offset) {
        return loader_fail(loader, STATUS_MALFORMED, from->header_offset,
                           "multiboot: load_addr 0x%" PRIx64 " and header_addr 0x%" PRIx64
                           " would start before the file does",
                           from->load, from->header);
    }
    *file_offset = from->header_offset - (from->header - from->load);
    *bytes = from->load_end == 0 ? file_bytes - *file_offset : from->load_end - from->load;
    if (from->load_end != 0 && from->load_end <= from->load) {
        return loader_fail(loader, STATUS_MALFORMED, from->header_offset,
                           "multiboot: load_end_addr 0x%" PRIx64 " is not above load_addr 0x%" PRIx64, from->load_end,
                           from->load);
    }
    if (*bytes > file_bytes - *file_offset) {
        return loader_fail(loader, STATUS_MALFORMED, from->header_offset,
                           "multiboot: load_end_addr 0x%" PRIx64 " needs 0x%" PRIx64
                           " bytes of file and there are 0x%" PRIx64 ": it is truncated",
                           from->load_end, *bytes, file_bytes - *file_offset);
    }
    if (from->bss_end != 0 && from->bss_end < from->load + *bytes) {
        return loader_fail(loader, STATUS_MALFORMED, from->header_offset,
                           "multiboot: bss_end_addr 0x%" PRIx64 " lies below the end of the loaded bytes 0x%" PRIx64,
                           from->bss_end, from->load + *bytes);
    }
    return STATUS_OK;
}

enum status multiboot_place_addresses(struct loader *loader, const struct load_addresses *addresses, uint64_t entry)
{
    uint64_t offset = 0, bytes = 0, memory_bytes;
    enum status status = check_addresses(loader, addresses, &offset, &bytes);

    if (status != STATUS_OK) {
        return status;
    }
    memory_bytes = addresses->bss_end == 0 ? bytes : addresses->bss_end - addresses->load;
    if (entry < addresses->load || entry - addresses->load >= memory_bytes) {
        return loader_fail(loader, STATUS_MALFORMED, addresses->header_offset,
                           "multiboot: entry 0x%" PRIx64 " lies outside of the loaded 0x%" PRIx64 "..0x%" PRIx64, entry,
                           addresses->load, addresses->load + memory_bytes);
    }
    return plan_copy(
        loader, "the multiboot kernel", addresses->header_offset,
        (struct load_copy){gpa(addresses->load), loader->request->kernel.base + offset, bytes, memory_bytes});
}

enum status multiboot_open(struct loader *loader)
{
    enum status status = plan_modules(loader);

    return status == STATUS_OK ? plan_blob_open(loader, GUEST_EBDA_START) : status;
}

enum status multiboot_put_sections(struct loader *loader, const struct elf_image *image, uint64_t *address)
{
    uint64_t bytes = (uint64_t)image->section_count * image->section_bytes;
    void *memory;
    enum status status;

    *address = 0;
    if (bytes == 0 || bytes > MULTIBOOT_SECTIONS_BYTES_MAX || !span_holds(image->file, image->section_table, bytes)) {
        return STATUS_OK;
    }
    status = plan_blob_take(loader, bytes, 8, &memory, address);
    if (status == STATUS_OK) {
        span_copy(image->file, image->section_table, memory, (size_t)bytes);
    }
    return status;
}
