/* SPDX-License-Identifier: MIT */
/* Plain ELF: entered as guest-loader/own_entry.h says, long mode for 64-bit files and protected mode for 32-bit
 * ones. */
#include "guest-loader/elf_image.h"
#include "guest-loader/own_entry.h"
#include "guest-loader/protocols.h"
#include "hv/base/format.h"

enum status elf_plan(struct loader *loader)
{
    struct load_plan *plan = loader->plan;
    struct elf_image image;
    uint64_t entry = 0;
    enum status status = elf_load(loader, &image, &entry);

    if (status != STATUS_OK) {
        return status;
    }
    plan->image_is_32bit = !image.is_64;
    format_text(plan->description, sizeof(plan->description), "%s, entered in %s at 0x%" PRIx64,
                image.is_64 ? "ELF64" : "ELF32", image.is_64 ? "long mode" : "protected mode", entry);
    return own_entry_plan(loader, image.is_64 ? MODE_LONG64 : MODE_PROTECTED32, entry);
}
