/* SPDX-License-Identifier: MIT */
/*
 * Where the state of a machine is saved, the firmware starts this. It says that it is ready, waits until another stick
 * is in the place of the one that it came from, has the firmware look at the controller anew, and starts
 * \EFI\BOOT\BOOTX64.EFI of that stick, as the boot manager would have done at once. The runner (tools/run-qemu --save,
 * tools/run-bochs --save) takes the state while this waits; a boot test goes on from there with its own stick
 * (--resume), and what the firmware does before it looks at a stick is not done again. tests/boot/saved.py keeps the
 * states.
 *
 * Its own stick is known by a text in a sector that no file system uses: tests/boot/saved.py writes it.
 */
#include <efi.h>

#define MARK_SECTOR \
    16u /* of the volume: in FAT32's reserved area, behind the boot sector's copy. FAT specification 1.03, 3.1 */
#define SECTOR_BYTES 512u
#define POLL_US 1000u
#define WATCHDOG_S 300u /* what the boot manager gives a system. UEFI 2.10, 3.1.2 */

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

static const char mark[] = "PLINTH-LAUNCHER";
static CHAR16 file_name[] = L"\\EFI\\BOOT\\BOOTX64.EFI";
static EFI_GUID loaded_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
static EFI_GUID path_guid = EFI_DEVICE_PATH_PROTOCOL_GUID;
static EFI_GUID block_guid = EFI_BLOCK_IO_PROTOCOL_GUID;
static EFI_GUID volume_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
static EFI_GUID pci_guid = EFI_PCI_IO_PROTOCOL_GUID;

/* Waits until the volume's sector has another text, or none. */
static EFI_STATUS wait_for_other_stick(EFI_BOOT_SERVICES *boot, EFI_HANDLE volume)
{
    static UINT8 sector[SECTOR_BYTES];
    EFI_BLOCK_IO *block;
    EFI_STATUS status = boot->HandleProtocol(volume, &block_guid, (void **)&block);

    while (status == EFI_SUCCESS) {
        status = block->ReadBlocks(block, block->Media->MediaId, MARK_SECTOR, sizeof(sector), sector);
        for (UINTN i = 0; status == EFI_SUCCESS && i < sizeof(mark) - 1; i++) {
            if (sector[i] != (UINT8)mark[i]) {
                return EFI_SUCCESS;
            }
        }
        boot->Stall(POLL_US);
    }
    return status;
}

/* The PCI function that the volume's disk hangs on. */
static EFI_STATUS controller_of(EFI_BOOT_SERVICES *boot, EFI_HANDLE volume, EFI_HANDLE *controller)
{
    EFI_DEVICE_PATH *path;
    EFI_STATUS status = boot->HandleProtocol(volume, &path_guid, (void **)&path);

    return status == EFI_SUCCESS ? boot->LocateDevicePath(&pci_guid, &path, controller) : status;
}

static UINTN path_bytes(EFI_DEVICE_PATH *path)
{
    EFI_DEVICE_PATH *node = path;

    while (!IsDevicePathEnd(node)) {
        node = NextDevicePathNode(node);
    }
    return (UINTN)((UINT8 *)node - (UINT8 *)path);
}

/* Loads the file of that name from a volume, with the whole path to it. */
static EFI_STATUS load_from(EFI_BOOT_SERVICES *boot, EFI_HANDLE self, EFI_HANDLE volume, EFI_HANDLE *loaded)
{
    EFI_DEVICE_PATH *path;
    UINT8 *whole;
    EFI_STATUS status = boot->HandleProtocol(volume, &path_guid, (void **)&path);
    UINTN before = status == EFI_SUCCESS ? path_bytes(path) : 0;
    UINTN node = sizeof(EFI_DEVICE_PATH) + sizeof(file_name);

    if (status != EFI_SUCCESS) {
        return status;
    }
    status = boot->AllocatePool(EfiLoaderData, before + node + sizeof(EFI_DEVICE_PATH), (void **)&whole);
    if (status != EFI_SUCCESS) {
        return status;
    }
    boot->CopyMem(whole, path, before);
    EFI_DEVICE_PATH *file = (EFI_DEVICE_PATH *)(whole + before);
    file->Type = MEDIA_DEVICE_PATH;
    file->SubType = MEDIA_FILEPATH_DP;
    SetDevicePathNodeLength(file, node);
    boot->CopyMem(file + 1, file_name, sizeof(file_name));
    SetDevicePathEndNode(NextDevicePathNode(file));
    status = boot->LoadImage(FALSE, self, (EFI_DEVICE_PATH *)whole, NULL, 0, loaded);
    boot->FreePool(whole);
    return status;
}

static EFI_STATUS load(EFI_BOOT_SERVICES *boot, EFI_HANDLE self, EFI_HANDLE *loaded)
{
    EFI_HANDLE *volumes;
    UINTN count;
    EFI_STATUS status = boot->LocateHandleBuffer(ByProtocol, &volume_guid, NULL, &count, &volumes);

    if (status != EFI_SUCCESS) {
        return status;
    }
    status = EFI_NOT_FOUND;
    for (UINTN i = 0; i < count && status != EFI_SUCCESS; i++) {
        status = load_from(boot, self, volumes[i], loaded);
    }
    boot->FreePool(volumes);
    return status;
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    EFI_BOOT_SERVICES *boot = system->BootServices;
    EFI_LOADED_IMAGE *self;
    EFI_HANDLE controller, loaded;
    EFI_STATUS status = boot->HandleProtocol(image, &loaded_guid, (void **)&self);

    if (status == EFI_SUCCESS) {
        status = controller_of(boot, self->DeviceHandle, &controller);
    }
    if (status == EFI_SUCCESS) {
        system->ConOut->OutputString(system->ConOut, L"launcher: ready\r\n");
        __asm__ volatile("xchg %bx, %bx"); /* Bochs' debugger stops here and saves the state: its "magic breakpoint" */
        status = wait_for_other_stick(boot, self->DeviceHandle);
    }
    if (status == EFI_SUCCESS) {
        boot->DisconnectController(controller, NULL, NULL);
        status = boot->ConnectController(controller, NULL, NULL, TRUE);
    }
    if (status == EFI_SUCCESS) {
        status = load(boot, image, &loaded);
    }
    if (status != EFI_SUCCESS) {
        system->ConOut->OutputString(system->ConOut, L"launcher: failed\r\n");
        return status;
    }
    boot->SetWatchdogTimer(WATCHDOG_S, 0, 0, NULL);
    return boot->StartImage(loaded, NULL, NULL);
}
