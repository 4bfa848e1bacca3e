/* SPDX-License-Identifier: MIT */
/*
 * Many starts in one boot: with the fault `series` the firmware starts this efi_main(), which starts the hypervisor's
 * own (mk/faults.mk gives it another name) once for each entry of \plinth\series.bin, with that entry's fault and
 * config. Each of these faults is one after which the hypervisor returns to the firmware, as it always does; so no
 * guest is entered here at all.
 *
 * An entry: the fault's name in FAULT_NAME_MAX bytes, the config's length in 4 bytes, the lowest first, and the config,
 * which then stands in the place of plinth.conf; with the length OWN_CONFIG the stick's own serves.
 * tests/boot/series.py writes the file and reads what is said: `SERIES n` before each start, and `SERIES END`.
 */
#include "tests/faults/faults_series.h"

#include "hv/host/fault.h"

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);
EFI_STATUS hypervisor_efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

static EFI_GUID loaded_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
static EFI_GUID volume_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
static EFI_GUID info_guid = EFI_FILE_INFO_ID;
static CHAR16 list_name[] = L"\\plinth\\series.bin";
static CHAR16 config_name[] = L"\\plinth\\plinth.conf";

#define OWN_CONFIG 0xffffffffu

static bool running;
static struct span config; /* no base: the stick's own */
static uint64_t config_at;
static SIMPLE_TEXT_OUTPUT_INTERFACE output_copy;
static SIMPLE_INPUT_INTERFACE input_copy;
static SIMPLE_TEXT_OUTPUT_INTERFACE *real_output;

bool series_run(void)
{
    return running;
}

static EFI_STATUS EFIAPI config_read(EFI_FILE *file, UINTN *size, void *buffer)
{
    uint64_t count = min_u64(*size, config.bytes - config_at);

    (void)file;
    memcpy(buffer, config.base + config_at, count);
    config_at += count;
    *size = count;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI config_position(EFI_FILE *file, UINT64 position)
{
    (void)file;
    config_at = position;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI config_info(EFI_FILE *file, EFI_GUID *type, UINTN *size, void *buffer)
{
    EFI_FILE_INFO *info = buffer;

    (void)file;
    (void)type;
    (void)size;
    memset(info, 0, sizeof(*info));
    info->FileSize = config.bytes;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI config_close(EFI_FILE *file)
{
    (void)file;
    return EFI_SUCCESS;
}

static EFI_FILE config_file = {
    .Read = config_read, .SetPosition = config_position, .GetInfo = config_info, .Close = config_close};

EFI_FILE *series_open(const CHAR16 *name)
{
    uint32_t i = 0;

    while (name[i] != 0 && name[i] == config_name[i]) {
        i++;
    }
    if (!running || config.base == NULL || name[i] != config_name[i]) {
        return NULL;
    }
    config_at = 0;
    return &config_file;
}

/* The runner ends the machine at the line that says so: only the last one may. */
static EFI_STATUS EFIAPI output(SIMPLE_TEXT_OUTPUT_INTERFACE *self, CHAR16 *text)
{
    static const char end[] = "plinth: returned";
    uint32_t i = 0;

    (void)self;
    while (end[i] != '\0' && text[i] == (CHAR16)end[i]) {
        i++;
    }
    return end[i] == '\0' ? EFI_SUCCESS : real_output->OutputString(real_output, text);
}

static EFI_STATUS EFIAPI input_reset(SIMPLE_INPUT_INTERFACE *self, BOOLEAN all)
{
    (void)self;
    (void)all;
    return EFI_SUCCESS;
}

/* A key is pressed at once. */
static EFI_STATUS EFIAPI input_key(SIMPLE_INPUT_INTERFACE *self, EFI_INPUT_KEY *key)
{
    (void)self;
    *key = (EFI_INPUT_KEY){0};
    return EFI_SUCCESS;
}

void series_consoles(EFI_SYSTEM_TABLE *system)
{
    if (!running) {
        return;
    }
    real_output = system->ConOut;
    output_copy = *real_output;
    output_copy.OutputString = output;
    input_copy = (SIMPLE_INPUT_INTERFACE){.Reset = input_reset, .ReadKeyStroke = input_key};
    system->ConOut = &output_copy;
    system->ConIn = &input_copy;
}

/* The firmware's own services: nothing of this is under test. */
static struct span read_list(EFI_HANDLE image, EFI_BOOT_SERVICES *boot)
{
    static uint8_t info_bytes[sizeof(EFI_FILE_INFO) + 256];
    EFI_FILE_INFO *info = (EFI_FILE_INFO *)(void *)info_bytes;
    UINTN size = sizeof(info_bytes);
    EFI_PHYSICAL_ADDRESS at = 0;
    void *loaded = NULL;
    void *volume = NULL;
    EFI_FILE *root = NULL;
    EFI_FILE *file = NULL;

    if (EFI_ERROR(boot->HandleProtocol(image, &loaded_guid, &loaded)) ||
        EFI_ERROR(boot->HandleProtocol(((EFI_LOADED_IMAGE *)loaded)->DeviceHandle, &volume_guid, &volume)) ||
        EFI_ERROR(((EFI_FILE_IO_INTERFACE *)volume)->OpenVolume(volume, &root)) ||
        EFI_ERROR(root->Open(root, &file, list_name, EFI_FILE_MODE_READ, 0)) ||
        EFI_ERROR(file->GetInfo(file, &info_guid, &size, info)) ||
        EFI_ERROR(boot->AllocatePages(AllocateAnyPages, EfiBootServicesData,
                                      align_up(info->FileSize, PAGE_BYTES) / PAGE_BYTES, &at))) {
        return (struct span){NULL, 0};
    }
    size = info->FileSize;
    if (EFI_ERROR(file->Read(file, &size, (void *)(uintptr_t)at))) {
        size = 0;
    }
    file->Close(file);
    root->Close(root);
    return (struct span){(const uint8_t *)(uintptr_t)at, size};
}

/* Takes the entry at *at: its fault and its config. False at the list's end. */
static bool next_entry(const struct span *list, uint64_t *at)
{
    char name[FAULT_NAME_MAX];
    uint32_t length;

    if (list->bytes - *at < sizeof(name) + sizeof(length)) {
        return false;
    }
    memcpy(name, list->base + *at, sizeof(name));
    memcpy(&length, list->base + *at + sizeof(name), sizeof(length));
    *at += sizeof(name) + sizeof(length);
    fault_choose(name);
    config = (struct span){NULL, 0};
    if (length != OWN_CONFIG) {
        config = (struct span){list->base + *at, min_u64(length, list->bytes - *at)};
        *at += config.bytes;
    }
    return true;
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    struct span list;
    uint64_t at = 0;

    if (!fault_is("series")) {
        return hypervisor_efi_main(image, system);
    }
    running = true;
    list = read_list(image, system->BootServices);
    for (uint32_t n = 0; next_entry(&list, &at); n++) {
        fault_say(system, "\r\nSERIES %u\r\n", n);
        hypervisor_efi_main(image, system);
    }
    fault_say(system, "\r\nSERIES END\r\nplinth: returned to the firmware\r\n");
    return EFI_ABORTED;
}
