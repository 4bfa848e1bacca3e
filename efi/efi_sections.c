/* SPDX-License-Identifier: MIT */
/*
 * Our own image, as the firmware loaded it.
 */
#include "efi/efi_stage.h"
#include "efi/pe_sections.h"

bool efi_machine_sections(struct efi_stage *stage)
{
    static EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
    void *loaded = NULL;
    EFI_STATUS status = stage->boot->HandleProtocol(stage->image, &loaded_image_guid, &loaded);

    if (EFI_ERROR(status)) {
        return efi_fail(stage, status, "P0611: this firmware does not say where it loaded Plinth (%s). Update it.",
                        efi_status_name(status));
    }
    stage->loaded = loaded;
    if (!pe_sections_read((struct span){stage->loaded->ImageBase, stage->loaded->ImageSize}, stage->info)) {
        return efi_fail(stage, EFI_LOAD_ERROR,
                        "P0612: Plinth's image in memory does not have the sections that it was built with. Write "
                        "BOOTX64.EFI to the stick again.");
    }
    return true;
}
