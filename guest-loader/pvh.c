/* SPDX-License-Identifier: MIT */
/*
 * PVH direct boot: an ELF file with a note that gives a 32-bit entry. Xen, docs/misc/pvh.pandoc "x86/HVM direct boot
 * ABI": ebx = start information, flat 32-bit segments, paging off, interrupts off, a 32-bit TSS with base 0 and limit
 * 0x67. The entry in the note is a physical address.
 */
#include "guest-loader/elf_image.h"
#include "guest-loader/protocols.h"
#include "guest-loader/start_info.h"
#include "hv/base/format.h"

/* Xen, public/elfnote.h. */
#define PVH_NOTE_OWNER "Xen"
#define PVH_NOTE_PHYS32_ENTRY 18u
#define PVH_CODE_SELECTOR 0x08u

/* The error struct is not read: recognition only asks yes or no. */
bool pvh_recognize(struct span kernel)
{
    struct load_request request = {.kernel = kernel};
    struct load_error error = {0};
    struct loader loader = {.request = &request, .error = &error};
    struct elf_image image;

    return elf_recognize(kernel) && elf_open(&loader, &image) == STATUS_OK &&
           elf_note(&image, PVH_NOTE_OWNER, PVH_NOTE_PHYS32_ENTRY).base != NULL;
}

static enum status read_entry(struct loader *loader, const struct elf_image *image, uint64_t *entry)
{
    struct span note = elf_note(image, PVH_NOTE_OWNER, PVH_NOTE_PHYS32_ENTRY);
    uint64_t offset = note.base == NULL ? 0 : (uint64_t)(note.base - image->file.base);

    if (note.base == NULL) {
        return loader_fail(loader, STATUS_NOT_FOUND, PLAN_NOT_IN_FILE,
                           "no ELF note \"Xen\" of type 18 (PHYS32_ENTRY): this kernel has no PVH entry; try "
                           "protocol = auto");
    }
    *entry = 0;
    if ((note.bytes != 4 && note.bytes != 8) || !span_copy(note, 0, entry, (size_t)note.bytes)) {
        return loader_fail(loader, STATUS_MALFORMED, offset,
                           "the PVH entry note has %" PRIu64 " bytes instead of 4 or 8", note.bytes);
    }
    if (*entry > UINT32_MAX || !elf_holds_physical(image, *entry)) {
        return loader_fail(loader, STATUS_MALFORMED, offset,
                           "the PVH entry 0x%" PRIx64 " lies in no loaded segment below 4 GiB", *entry);
    }
    return STATUS_OK;
}

static enum status plan_boot(struct loader *loader, uint64_t entry)
{
    uint64_t info = 0;
    enum status status = start_info_open(loader, &info);

    if (status == STATUS_OK) {
        status = plan_enter_protected(loader, entry, PVH_CODE_SELECTOR);
    }
    if (status == STATUS_OK) {
        loader->plan->entry.gpr[ENTRY_RBX] = info;
        status = plan_blob_close(loader);
    }
    return status;
}

enum status pvh_plan(struct loader *loader)
{
    struct load_plan *plan = loader->plan;
    struct elf_image image;
    uint64_t entry = 0;
    enum status status = elf_open(loader, &image);

    if (status == STATUS_OK) {
        status = elf_place(loader, &image, 0);
    }
    if (status == STATUS_OK) {
        status = read_entry(loader, &image, &entry);
    }
    if (status != STATUS_OK) {
        return status;
    }
    plan->image_is_32bit = !image.is_64;
    format_text(plan->description, sizeof(plan->description), "PVH in %s, 32-bit entry at 0x%" PRIx64,
                image.is_64 ? "ELF64" : "ELF32", entry);
    return plan_boot(loader, entry);
}
