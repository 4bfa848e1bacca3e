/* SPDX-License-Identifier: MIT */
/*
 * Faults before the hand-over: a copy of the firmware's table of services in which one service fails. A name says which
 * service and when; the sentences that must follow are in tests/boot/faults.py.
 */
#include "hv/host/fault.h"

#include "efi/efi_stage.h"
#include "tests/faults/faults_series.h"

static EFI_SYSTEM_TABLE *system_real;
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

void fault_say(EFI_SYSTEM_TABLE *system, const char *form, ...)
{
    CHAR16 wide[80];
    char text[80];
    size_t length;
    va_list list;

    va_start(list, form);
    length = format_list(text, sizeof(text), form, list);
    va_end(list);
    for (size_t i = 0; i <= length; i++) {
        wide[i] = (CHAR16)text[i];
    }
    system->ConOut->OutputString(system->ConOut, wide);
}

/* The fault is the chosen one: the first time that it strikes it says so, while the firmware has a console. */
static bool strikes(const char *name)
{
    static const char *said[16];
    uint32_t i = 0;

    if (!fault_is(name)) {
        return false;
    }
    while (i < ARRAY_COUNT(said) - 1 && said[i] != NULL && said[i] != name) {
        i++;
    }
    if (said[i] != name) {
        said[i] = name;
        fault_say(system_real, "\r\nFAULT %s\r\n", name);
    }
    return true;
}

/* ---- files ---- */

static EFI_STATUS EFIAPI file_read(EFI_FILE *file, UINTN *size, void *buffer)
{
    EFI_STATUS status = real_file->Read(real_file, size, buffer);

    (void)file;
    if (strikes("read")) {
        return EFI_DEVICE_ERROR;
    }
    if (strikes("read-short")) {
        *size /= 2;
    }
    return status;
}

static EFI_STATUS EFIAPI file_position(EFI_FILE *file, UINT64 position)
{
    (void)file;
    return real_file->SetPosition(real_file, position);
}

static EFI_STATUS EFIAPI file_info(EFI_FILE *file, EFI_GUID *type, UINTN *size, void *buffer)
{
    (void)file;
    if (strikes("get-info")) {
        return EFI_DEVICE_ERROR;
    }
    return real_file->GetInfo(real_file, type, size, buffer);
}

static EFI_STATUS EFIAPI file_close(EFI_FILE *file)
{
    (void)file;
    real_file->Close(real_file);
    return strikes("close") ? EFI_DEVICE_ERROR : EFI_SUCCESS;
}

/* The second file that is opened is the kernel. */
static EFI_STATUS EFIAPI root_open(EFI_FILE *root, EFI_FILE **file, CHAR16 *name, UINT64 mode, UINT64 attributes)
{
    EFI_STATUS status;

    (void)root;
    *file = series_open(name);
    if (*file != NULL) {
        return EFI_SUCCESS;
    }
    files_opened++;
    if (files_opened == 2 && strikes("open")) {
        return EFI_VOLUME_CORRUPTED;
    }
    status = real_root->Open(real_root, &real_file, name, mode, attributes);
    file_copy = *real_file;
    file_copy.Read = files_opened == 2 ? file_read : file_copy.Read;
    file_copy.GetInfo = files_opened == 2 ? file_info : file_copy.GetInfo;
    file_copy.SetPosition = file_position;
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
    if (strikes("open-volume")) {
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
        if (strikes("loaded-image")) {
            return EFI_UNSUPPORTED;
        }
        loaded_copy = *(EFI_LOADED_IMAGE *)*interface;
        if (strikes("image-headers")) {
            loaded_copy.ImageSize = 64;
        }
        *interface = &loaded_copy;
    } else if (same(guid, &volume_guid)) {
        if (strikes("file-system")) {
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
    bool fails = (how == AllocateAnyPages && count == 1 && strikes("allocate-first")) ||
                 (how == AllocateAnyPages && count == 2 && strikes("allocate-second")) ||
                 (how == AllocateAnyPages && files_opened == 2 && strikes("allocate-file")) ||
                 (how == AllocateAddress && count > 1 && strikes("allocate-guest")) ||
                 (how == AllocateAddress && count > 2 && strikes("allocate-pool")) ||
                 (how == AllocateMaxAddress && pages > 1 && strikes("allocate-buffer")) ||
                 (how == AllocateMaxAddress && pages == 1 && strikes("allocate-low")) ||
                 (how == AllocateMaxAddress && pages == 1 && strikes("no-low-memory"));

    return fails ? EFI_OUT_OF_RESOURCES : real->AllocatePages(how, type, pages, address);
}

/* What the firmware calls free below 1 MiB, before and after the hand-over, becomes reserved. */
static void take_low_memory(uint8_t *map, UINTN size, UINTN stride)
{
    for (UINTN at = 0; at < size; at += stride) {
        EFI_MEMORY_DESCRIPTOR *descriptor = (EFI_MEMORY_DESCRIPTOR *)(void *)(map + at);

        if (descriptor->PhysicalStart < MIB) {
            descriptor->Type = EfiReservedMemoryType;
        }
    }
}

static EFI_STATUS EFIAPI get_memory_map(UINTN *size, EFI_MEMORY_DESCRIPTOR *map, UINTN *key, UINTN *stride,
                                        UINT32 *version)
{
    EFI_STATUS status;

    if (strikes("map") || (fault_was_at("handover") && strikes("map-last"))) {
        return EFI_INVALID_PARAMETER;
    }
    status = real->GetMemoryMap(size, map, key, stride, version);
    if (strikes("map-stride")) {
        *stride = 8;
    }
    if (!EFI_ERROR(status) && strikes("no-low-memory")) {
        take_low_memory((uint8_t *)map, *size, *stride);
    }
    return status;
}

/* The map changes after it was read: the firmware itself refuses the key. */
static EFI_STATUS EFIAPI exit_boot_services(EFI_HANDLE image, UINTN key)
{
    uint32_t changes = strikes("map-changes") ? 2 : strikes("map-changes-always") ? 1000 : 0;
    EFI_PHYSICAL_ADDRESS page = 0;

    if (exits++ < changes) {
        real->AllocatePages(AllocateAnyPages, EfiBootServicesData, 1, &page);
    }
    return strikes("exit-boot-services") ? EFI_INVALID_PARAMETER : real->ExitBootServices(image, key);
}

static EFI_STATUS EFIAPI locate_handles(EFI_LOCATE_SEARCH_TYPE how, EFI_GUID *guid, void *search, UINTN *count,
                                        EFI_HANDLE **handles)
{
    return strikes("locate-handles") ? EFI_NOT_FOUND : real->LocateHandleBuffer(how, guid, search, count, handles);
}

static EFI_STATUS EFIAPI locate_protocol(EFI_GUID *guid, void *registration, void **interface)
{
    return strikes("locate-protocol") ? EFI_NOT_FOUND : real->LocateProtocol(guid, registration, interface);
}

static EFI_STATUS EFIAPI get_time(EFI_TIME *time, EFI_TIME_CAPABILITIES *capabilities)
{
    (void)time;
    (void)capabilities;
    return strikes("get-time") ? EFI_DEVICE_ERROR : EFI_SUCCESS;
}

void fault_firmware(void *of)
{
    struct efi_stage *stage = of;
    EFI_SYSTEM_TABLE *system = stage->system;
    EFI_HANDLE image = stage->image;

    if (series_run()) { /* as in an image that was just loaded */
        memset(stage, 0, sizeof(*stage));
        memset(allocations, 0, sizeof(allocations));
        files_opened = 0;
        exits = 0;
        stage->system = system;
        stage->image = image;
        stage->boot = system->BootServices;
        stage->tsc_start = insn_rdtsc();
        fault_at("start");
    }
    system_real = system;
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
    if (strikes("no-tables")) {
        system_copy.NumberOfTableEntries = 0;
    }
    if (strikes("no-output")) {
        system_copy.ConOut = NULL;
    }
    if (strikes("no-input")) {
        system_copy.ConIn = NULL;
    }
    if (fault_is("get-time")) {
        runtime_copy = *system_copy.RuntimeServices;
        runtime_copy.GetTime = get_time;
        system_copy.RuntimeServices = &runtime_copy;
    }
    series_consoles(&system_copy);
    stage->system = &system_copy;
}
