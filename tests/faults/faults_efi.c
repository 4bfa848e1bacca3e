/*
 * Faults before the hand-over: a copy of the firmware's table of services in which one service fails. A name says which
 * service and when; the sentences that must follow are in tests/boot/faults.py.
 */
#include "hv/fault.h"

#include "efi/efi_stage.h"
#include "tests/faults/faults_mutants.h"

static EFI_BOOT_SERVICES *real;
static EFI_BOOT_SERVICES broken;
static EFI_SYSTEM_TABLE system_copy;
static EFI_RUNTIME_SERVICES runtime_copy;
static EFI_LOADED_IMAGE loaded_copy;
static EFI_FILE_IO_INTERFACE volume_copy;
static EFI_FILE_IO_INTERFACE *real_volume;
static EFI_FILE root_copy;
static EFI_FILE_HANDLE real_root;
static EFI_FILE file_copy;
static EFI_FILE_HANDLE real_file;
static EFI_GUID loaded_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
static EFI_GUID volume_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
static uint32_t allocations[4]; /* by how */
static uint32_t files_opened;
static uint32_t exits;

static bool same(const EFI_GUID *left, const EFI_GUID *right)
{
    return memcmp(left, right, sizeof(*left)) == 0;
}

/* ---- files ---- */

static EFI_STATUS EFIAPI file_read(EFI_FILE *file, UINTN *size, void *buffer)
{
    EFI_STATUS status = real_file->Read(real_file, size, buffer);

    (void)file;
    if (fault_is("read")) {
        return EFI_DEVICE_ERROR;
    }
    if (fault_is("read-short")) {
        *size /= 2;
    }
    return status;
}

static EFI_STATUS EFIAPI file_info(EFI_FILE *file, EFI_GUID *type, UINTN *size, void *buffer)
{
    (void)file;
    if (fault_is("get-info")) {
        return EFI_DEVICE_ERROR;
    }
    return real_file->GetInfo(real_file, type, size, buffer);
}

static EFI_STATUS EFIAPI file_close(EFI_FILE *file)
{
    (void)file;
    real_file->Close(real_file);
    return fault_is("close") ? EFI_DEVICE_ERROR : EFI_SUCCESS;
}

/* The second file that is opened is the kernel. */
static EFI_STATUS EFIAPI root_open(EFI_FILE *root, EFI_FILE **file, CHAR16 *name, UINT64 mode, UINT64 attributes)
{
    EFI_STATUS status;

    (void)root;
    *file = mutants_open(name);
    if (*file != NULL) {
        return EFI_SUCCESS;
    }
    files_opened++;
    if (files_opened == 2 && fault_is("open")) {
        return EFI_VOLUME_CORRUPTED;
    }
    status = real_root->Open(real_root, &real_file, name, mode, attributes);
    file_copy = *real_file;
    file_copy.Read = files_opened == 2 ? file_read : file_copy.Read;
    file_copy.GetInfo = files_opened == 2 ? file_info : file_copy.GetInfo;
    file_copy.Close = file_close;
    *file = files_opened == 2 ? &file_copy : real_file;
    return status;
}

static EFI_STATUS EFIAPI root_close(EFI_FILE *root)
{
    (void)root;
    return real_root->Close(real_root);
}

static EFI_STATUS EFIAPI volume_open(EFI_FILE_IO_INTERFACE *volume, EFI_FILE **root)
{
    EFI_STATUS status = real_volume->OpenVolume(real_volume, &real_root);

    (void)volume;
    if (fault_is("open-volume")) {
        return EFI_MEDIA_CHANGED;
    }
    root_copy = *real_root;
    root_copy.Open = root_open;
    root_copy.Close = root_close;
    *root = &root_copy;
    return status;
}

/* ---- boot services ---- */

static EFI_STATUS EFIAPI handle_protocol(EFI_HANDLE handle, EFI_GUID *guid, void **interface)
{
    EFI_STATUS status = real->HandleProtocol(handle, guid, interface);

    if (same(guid, &loaded_guid)) {
        if (fault_is("loaded-image")) {
            return EFI_UNSUPPORTED;
        }
        loaded_copy = *(EFI_LOADED_IMAGE *)*interface;
        if (fault_is("image-headers")) {
            loaded_copy.ImageSize = 64;
        }
        *interface = &loaded_copy;
    } else if (same(guid, &volume_guid)) {
        if (fault_is("file-system")) {
            return EFI_UNSUPPORTED;
        }
        real_volume = *interface;
        volume_copy = *real_volume;
        volume_copy.OpenVolume = volume_open;
        *interface = &volume_copy;
    }
    return status;
}

/* The first fixed address is for the console's ring, the second for the guest, the third for the pool. */
static EFI_STATUS EFIAPI allocate_pages(EFI_ALLOCATE_TYPE how, EFI_MEMORY_TYPE type, UINTN pages,
                                        EFI_PHYSICAL_ADDRESS *address)
{
    uint32_t count = ++allocations[how & 3];
    bool fails = (how == AllocateAnyPages && count == 1 && fault_is("allocate-first")) ||
                 (how == AllocateAnyPages && count == 2 && fault_is("allocate-second")) ||
                 (how == AllocateAnyPages && files_opened == 2 && fault_is("allocate-file")) ||
                 (how == AllocateAddress && count > 1 && fault_is("allocate-guest")) ||
                 (how == AllocateAddress && count > 2 && fault_is("allocate-pool")) ||
                 (how == AllocateMaxAddress && fault_is("allocate-low"));

    return fails ? EFI_OUT_OF_RESOURCES : real->AllocatePages(how, type, pages, address);
}

static EFI_STATUS EFIAPI get_memory_map(UINTN *size, EFI_MEMORY_DESCRIPTOR *map, UINTN *key, UINTN *stride,
                                        UINT32 *version)
{
    EFI_STATUS status;

    if (fault_is("map") || ((fault_is("map-last") || mutants_run()) && fault_was_at("handover"))) {
        return EFI_INVALID_PARAMETER;
    }
    status = real->GetMemoryMap(size, map, key, stride, version);
    if (fault_is("map-stride")) {
        *stride = 8;
    }
    return status;
}

/* The map changes after it was read: the firmware itself refuses the key. */
static EFI_STATUS EFIAPI exit_boot_services(EFI_HANDLE image, UINTN key)
{
    uint32_t changes = fault_is("map-changes") ? 2 : fault_is("map-changes-always") ? 1000 : 0;
    EFI_PHYSICAL_ADDRESS page = 0;

    if (exits++ < changes) {
        real->AllocatePages(AllocateAnyPages, EfiBootServicesData, 1, &page);
    }
    return fault_is("exit-boot-services") ? EFI_INVALID_PARAMETER : real->ExitBootServices(image, key);
}

static EFI_STATUS EFIAPI locate_handles(EFI_LOCATE_SEARCH_TYPE how, EFI_GUID *guid, void *search, UINTN *count,
                                        EFI_HANDLE **handles)
{
    return fault_is("locate-handles") ? EFI_NOT_FOUND : real->LocateHandleBuffer(how, guid, search, count, handles);
}

static EFI_STATUS EFIAPI locate_protocol(EFI_GUID *guid, void *registration, void **interface)
{
    return fault_is("locate-protocol") ? EFI_NOT_FOUND : real->LocateProtocol(guid, registration, interface);
}

static EFI_STATUS EFIAPI get_time(EFI_TIME *time, EFI_TIME_CAPABILITIES *capabilities)
{
    (void)time;
    (void)capabilities;
    return EFI_DEVICE_ERROR;
}

void fault_firmware(void *of)
{
    struct efi_stage *stage = of;
    EFI_SYSTEM_TABLE *system = stage->system;
    EFI_HANDLE image = stage->image;

    if (mutants_run()) { /* as in an image that was just loaded */
        memset(stage, 0, sizeof(*stage));
        stage->system = system;
        stage->image = image;
        stage->boot = system->BootServices;
        stage->tsc_start = insn_rdtsc();
        fault_at("start");
    }
    real = stage->boot;
    broken = *real;
    broken.HandleProtocol = handle_protocol;
    broken.AllocatePages = allocate_pages;
    broken.GetMemoryMap = get_memory_map;
    broken.ExitBootServices = exit_boot_services;
    broken.LocateHandleBuffer = locate_handles;
    broken.LocateProtocol = locate_protocol;
    stage->boot = &broken;
    system_copy = *stage->system;
    if (fault_is("no-tables")) {
        system_copy.NumberOfTableEntries = 0;
    } else if (fault_is("no-output")) {
        system_copy.ConOut = NULL;
    } else if (fault_is("no-input")) {
        system_copy.ConIn = NULL;
    } else if (fault_is("get-time")) {
        runtime_copy = *system_copy.RuntimeServices;
        runtime_copy.GetTime = get_time;
        system_copy.RuntimeServices = &runtime_copy;
    }
    mutants_consoles(&system_copy);
    stage->system = &system_copy;
}
