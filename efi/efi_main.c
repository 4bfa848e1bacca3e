/* SPDX-License-Identifier: MIT */
/*
 * Plinth starts here. This file is the table of contents of everything that happens while the firmware still runs the
 * machine; docs/boot.md tells it in words.
 *
 * There are two sides. Before the point of no return every failure is a sentence on the firmware's console, what was
 * taken is given back, and efi_main returns an error to the firmware, which goes on with the next boot option. After it
 * the firmware is gone, and hv_main() never returns.
 */
#include "hv/host/fault.h"

#include "efi/efi_stage.h"

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

/* Some 200 KiB, too large for the firmware's stack. */
static struct efi_stage the_stage;

/* Each step needs those before it; the first that fails has said why. */
static bool prepare(struct efi_stage *stage)
{
    return efi_memory_start(stage)         /* struct boot_info, and a buffer for the firmware's memory map */
           && efi_machine_sections(stage)  /* our own image, for W^X */
           && efi_machine_read(stage)      /* ACPI, screen, UARTs, CPUs */
           && efi_volume_open(stage)       /* where we were started from */
           && efi_last_boot_print(stage)   /* what the last run said, after a warm reset */
           && efi_virt_check(stage)        /* VMX or SVM with what we need of it */
           && efi_config_read(stage)       /* plinth.conf: parsed, and checked against this machine */
           && efi_machine_random(stage)    /* random numbers, where a guest wants them */
           && efi_inventory_write(stage)   /* machine.txt, where the config asks for it */
           && efi_images_read(stage)       /* kernels, modules and disks */
           && efi_images_check(stage)      /* each would load */
           && efi_disks_take(stage)        /* memory for what guests change of their disks */
           && efi_shares_take(stage)       /* memory that guests share */
           && efi_roms_take(stage)         /* what the firmware has of devices' ROMs */
           && efi_memory_guests(stage)     /* the guests' RAM */
           && efi_memory_trampoline(stage) /* the page where other CPUs start */
           && efi_memory_pool(stage);      /* the hypervisor's own memory */
}

static void give_back(struct efi_stage *stage)
{
    efi_volume_close(stage);
    efi_pages_return_all(stage);
    efi_console_returned(stage);
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    uint64_t tsc_start = insn_rdtsc();
    struct efi_stage *stage = &the_stage;

    stage->image = image;
    stage->system = system;
    stage->boot = system->BootServices;
    stage->tsc_start = tsc_start;
    fault_firmware(stage);
    efi_console_start(stage);
    if (!prepare(stage) || !efi_handover(stage)) {
        give_back(stage);
        return stage->status;
    }

    /*
     * THE POINT OF NO RETURN was passed inside efi_handover(): boot services are gone. From here on nothing can be
     * given back, and no function of efi/ is called any more.
     */
    fault_boot_info(stage->info);
    hv_main(stage->info);
}
