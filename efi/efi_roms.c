/* SPDX-License-Identifier: MIT */
/*
 * Expansion ROMs of guests' devices. The firmware has read each one, kept a copy, and taken the ROM's place in memory
 * away, which a device may share with its registers; so what a guest sees is that copy.
 *
 * "UEFI Specification" 2.9, 14.4 "EFI PCI I/O Protocol": RomSize, RomImage, GetLocation(). "PCI Firmware Specification"
 * 3.0, 5.1: the signature.
 */
#include "efi/efi_stage.h"
#include "hv/base/memory.h"

#include <efipciio.h>

#define ROM_SIGNATURE_0 0x55u
#define ROM_SIGNATURE_1 0xaau
#define ROM_BYTES_MIN 2048u /* that a register can size */
#define ROM_BYTES_MAX (16 * MIB)

static EFI_GUID pci_io_guid = EFI_PCI_IO_PROTOCOL_GUID;

struct search {
    struct efi_stage *stage;
    EFI_HANDLE *handles;
    UINTN count;
};

static EFI_PCI_IO_PROTOCOL *find(const struct search *search, const struct config_pci *pci)
{
    for (UINTN i = 0; i < search->count; i++) {
        EFI_PCI_IO_PROTOCOL *io;
        UINTN segment, bus, device, function;
        void *found = NULL;

        if (EFI_ERROR(search->stage->boot->HandleProtocol(search->handles[i], &pci_io_guid, &found))) {
            continue;
        }
        io = found;
        if (!EFI_ERROR(io->GetLocation(io, &segment, &bus, &device, &function)) && segment == pci->segment &&
            bus == pci->bus && device == pci->device && function == pci->function) {
            return io;
        }
    }
    return NULL;
}

/* What a register can say: a power of two. 0: there is none, or it is none. A virtual function has none. */
static uint64_t rom_bytes(const EFI_PCI_IO_PROTOCOL *io, const struct config_pci *pci)
{
    const uint8_t *rom = io != NULL ? io->RomImage : NULL;
    uint64_t bytes = ROM_BYTES_MIN;

    if (pci->vf != 0 || rom == NULL || io->RomSize < 2 || io->RomSize > ROM_BYTES_MAX || rom[0] != ROM_SIGNATURE_0 ||
        rom[1] != ROM_SIGNATURE_1) {
        return 0;
    }
    while (bytes < io->RomSize) {
        bytes *= 2;
    }
    return bytes;
}

/* Without `to` the bytes are counted alone. */
static uint64_t each(const struct search *search, uint8_t *to)
{
    struct boot_info *info = search->stage->info;
    uint64_t all = 0;

    for (uint32_t g = 0; g < info->config.guest_count; g++) {
        for (uint32_t i = 0; i < info->config.guests[g].pci_count; i++) {
            const struct config_pci *pci = &info->config.guests[g].pci[i];
            const EFI_PCI_IO_PROTOCOL *io = find(search, pci);
            uint64_t bytes = rom_bytes(io, pci);

            if (to != NULL && bytes != 0) {
                memset(to + all, 0xff, bytes);
                memcpy(to + all, io->RomImage, io->RomSize);
                info->guests[g].roms[i] = (struct span){to + all, bytes};
            }
            all += bytes;
        }
    }
    return all;
}

bool efi_roms_take(struct efi_stage *stage)
{
    struct search search = {.stage = stage};
    uint64_t bytes, address = 0;

    if (EFI_ERROR(stage->boot->LocateHandleBuffer(ByProtocol, &pci_io_guid, NULL, &search.count, &search.handles))) {
        return true;
    }
    bytes = each(&search, NULL);
    if (bytes != 0 &&
        EFI_ERROR(efi_pages_take(stage, AllocateAnyPages, align_up(bytes, PAGE_BYTES) / PAGE_BYTES, &address))) {
        efi_say(stage, "Plinth: no memory for the ROMs of guests' devices: they are not shown");
    } else if (bytes != 0) {
        (void)each(&search, (uint8_t *)(uintptr_t)address);
    }
    stage->boot->FreePool(search.handles);
    return true;
}
