/* SPDX-License-Identifier: MIT */
/*
 * The hand-over: from the firmware's machine to ours.
 *
 * ExitBootServices wants the key of the very last memory map. Firmware timers may change the map between the two calls,
 * so both are repeated; UEFI 2.10, 7.4.6 allows nothing but memory services after a first refused attempt, and nothing
 * is allocated or printed in between. The map is turned into ours before the attempt: the boot services' last answer is
 * then already in struct boot_info when they are gone.
 */
#include "hv/host/fault.h"

#include "efi/efi_stage.h"

#define EXIT_TRIES 8u

/* The firmware's map of this moment into boot_info, and the key that proves it. */
static EFI_STATUS take_map(struct efi_stage *stage, uint64_t *key)
{
    uint64_t bytes = 0;
    uint64_t stride = 0;
    EFI_STATUS status = efi_map_read(stage, &bytes, &stride, key);

    if (!EFI_ERROR(status) &&
        memory_map_from_uefi(&stage->info->memory, stage->map_bytes, bytes, stride) != STATUS_OK) {
        status = EFI_VOLUME_CORRUPTED;
    }
    return status;
}

static EFI_STATUS exit_boot_services(struct efi_stage *stage)
{
    EFI_STATUS status = EFI_NOT_READY;

    for (uint32_t try = 0; try < EXIT_TRIES && EFI_ERROR(status); try++) {
        uint64_t key = 0;

        status = take_map(stage, &key);
        if (!EFI_ERROR(status)) {
            status = stage->boot->ExitBootServices(stage->image, key);
        }
    }
    if (stage->info->trampoline == 0) {
        stage->info->trampoline = efi_memory_low_page(&stage->info->memory);
    }
    return status;
}

bool efi_handover(struct efi_stage *stage)
{
    uint64_t key = 0;
    EFI_STATUS status;

    fault_at("handover");
    status = take_map(stage, &key);
    if (EFI_ERROR(status)) {
        return efi_fail(stage, status,
                        "P0901: the firmware's last memory map cannot be used (%s). Update the firmware.",
                        efi_status_name(status));
    }
    efi_machine_time(stage);
    efi_machine_stalls(stage);

    /*
     * THE POINT OF NO RETURN. Below, the firmware cannot take the machine back. Its console is gone: what fails now
     * is said on the hypervisor's, and the machine stops. Its devices still run: hv/host/host_devices.h.
     */
    if (EFI_ERROR(exit_boot_services(stage))) {
        hv_refused(stage->info);
    }
    insn_cli(); /* the firmware's interrupt table is free memory now */
    return true;
}
