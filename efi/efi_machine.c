/*
 * What this machine has, as far as only the firmware can say: ACPI tables, the screen, UARTs, the wall clock. None of
 * it is required; what is missing is left out of struct boot_info.
 */
#include "efi/civil_time.h"
#include "efi/efi_stage.h"

static EFI_GUID acpi_20_guid = ACPI_20_TABLE_GUID;
static EFI_GUID acpi_10_guid = ACPI_TABLE_GUID;
static EFI_GUID graphics_guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;

/* Microsoft "Serial Port Console Redirection Table", interface types. */
#define SPCR_16550 0x00u
#define SPCR_16450 0x01u
#define SPCR_16550_GAS 0x12u

/* UEFI 2.10, 4.6.1.1: the newer table's pointer wins over the older one's. */
static uint64_t find_rsdp(const EFI_SYSTEM_TABLE *system)
{
    uint64_t rsdp = 0;

    for (UINTN i = 0; i < system->NumberOfTableEntries; i++) {
        const EFI_CONFIGURATION_TABLE *table = &system->ConfigurationTable[i];

        if (memcmp(&table->VendorGuid, &acpi_20_guid, sizeof(EFI_GUID)) == 0) {
            return (uint64_t)(uintptr_t)table->VendorTable;
        }
        if (memcmp(&table->VendorGuid, &acpi_10_guid, sizeof(EFI_GUID)) == 0) {
            rsdp = (uint64_t)(uintptr_t)table->VendorTable;
        }
    }
    return rsdp;
}

/* UEFI 2.10, 12.9 "Graphics Output Protocol". */
static enum boot_pixel pixel_of(EFI_GRAPHICS_PIXEL_FORMAT format)
{
    switch (format) {
    case PixelRedGreenBlueReserved8BitPerColor:
        return BOOT_PIXEL_RGBX;
    case PixelBlueGreenRedReserved8BitPerColor:
        return BOOT_PIXEL_BGRX;
    case PixelBitMask:
        return BOOT_PIXEL_MASK;
    case PixelBltOnly:
    case PixelFormatMax:
        break;
    }
    return BOOT_PIXEL_NONE;
}

/* Bytes up to the highest bit that any mask uses; the reserved bits count as well. */
static uint32_t bytes_of_masks(const EFI_PIXEL_BITMASK *masks)
{
    uint32_t all = masks->RedMask | masks->GreenMask | masks->BlueMask | masks->ReservedMask;

    return all == 0 ? 0 : (39u - (uint32_t)__builtin_clz(all)) / 8u;
}

static bool take_screen(const EFI_GRAPHICS_OUTPUT_PROTOCOL *graphics, struct boot_framebuffer *screen)
{
    const EFI_GRAPHICS_OUTPUT_PROTOCOL_MODE *mode = graphics->Mode;

    if (mode == NULL || mode->Info == NULL || mode->FrameBufferBase == 0 || mode->FrameBufferSize == 0 ||
        pixel_of(mode->Info->PixelFormat) == BOOT_PIXEL_NONE) {
        return false;
    }
    *screen = (struct boot_framebuffer){
        .format = pixel_of(mode->Info->PixelFormat),
        .base = mode->FrameBufferBase,
        .bytes = mode->FrameBufferSize,
        .width = mode->Info->HorizontalResolution,
        .height = mode->Info->VerticalResolution,
        .stride_pixels = mode->Info->PixelsPerScanLine,
        .red_mask = mode->Info->PixelInformation.RedMask,
        .green_mask = mode->Info->PixelInformation.GreenMask,
        .blue_mask = mode->Info->PixelInformation.BlueMask,
        .bytes_per_pixel = 4,
    };
    if (screen->format == BOOT_PIXEL_MASK) {
        screen->bytes_per_pixel = bytes_of_masks(&mode->Info->PixelInformation);
    }
    return true;
}

/* Some firmwares say a size that the picture does not fit in, or a stride below the width: no screen is better than
 * writing past it. */
static bool screen_is_sane(const struct boot_framebuffer *screen)
{
    uint64_t line_bytes = (uint64_t)screen->stride_pixels * screen->bytes_per_pixel;

    return screen->width != 0 && screen->height != 0 && screen->bytes_per_pixel != 0 &&
           screen->stride_pixels >= screen->width && line_bytes * screen->height <= screen->bytes;
}

/* The first output that has a framebuffer: the console splitter's own, which is only a front, has none. */
static void find_screen(struct efi_stage *stage)
{
    EFI_HANDLE *handles = NULL;
    UINTN count = 0;
    bool found = false;

    if (EFI_ERROR(stage->boot->LocateHandleBuffer(ByProtocol, &graphics_guid, NULL, &count, &handles))) {
        return;
    }
    for (UINTN i = 0; i < count && !found; i++) {
        struct boot_framebuffer screen;
        void *graphics = NULL;

        if (!EFI_ERROR(stage->boot->HandleProtocol(handles[i], &graphics_guid, &graphics)) &&
            take_screen(graphics, &screen) && screen_is_sane(&screen)) {
            stage->info->framebuffer = screen;
            found = true;
        }
    }
    stage->boot->FreePool(handles);
}

static void add_uart(struct boot_info *info, uint64_t port)
{
    for (uint32_t i = 0; i < info->uart_count; i++) {
        if (info->uart_ports[i] == port) {
            return;
        }
    }
    if (info->uart_count < BOOT_UARTS_MAX && efi_uart_answers((uint16_t)port)) {
        info->uart_ports[info->uart_count++] = (uint16_t)port;
    }
}

/* COM1 where it always was, and the port that the firmware's own redirection uses. */
static void find_uarts(struct efi_stage *stage)
{
    const struct acpi_tables *acpi = &stage->acpi;
    bool is_16550 = acpi->spcr_interface == SPCR_16550 || acpi->spcr_interface == SPCR_16450 ||
                    acpi->spcr_interface == SPCR_16550_GAS;

    add_uart(stage->info, EFI_COM1);
    if (acpi->has_spcr && is_16550 && acpi->spcr.space == ACPI_SPACE_PORT && acpi->spcr.address >= 0x100 &&
        acpi->spcr.address <= 0xfff8) {
        add_uart(stage->info, acpi->spcr.address);
    }
}

bool efi_machine_look(struct efi_stage *stage)
{
    if (!efi_map_snapshot(stage)) {
        return false;
    }
    stage->info->rsdp = find_rsdp(stage->system);
    if (stage->info->rsdp != 0) {
        acpi_read(&stage->acpi, stage->info->rsdp, 0, memory_map_top(&stage->map));
    }
    find_screen(stage);
    find_uarts(stage);
    return efi_cpus_list(stage);
}

bool efi_virt_check(struct efi_stage *stage)
{
    if (!virt_detect(&stage->support)) {
        return efi_fail(stage, EFI_UNSUPPORTED, "P0631: no guest can run on this CPU: %s", stage->support.missing);
    }
    return true;
}

/* UEFI 2.10, 8.3 "Time Services": local time = UTC - TimeZone minutes. Without a zone the clock is taken as UTC. */
void efi_machine_time(struct efi_stage *stage)
{
    EFI_TIME now;
    struct civil_time civil;

    if (EFI_ERROR(stage->system->RuntimeServices->GetTime(&now, NULL))) {
        return;
    }
    civil = (struct civil_time){.year = now.Year,
                                .month = now.Month,
                                .day = now.Day,
                                .hour = now.Hour,
                                .minute = now.Minute,
                                .second = now.Second,
                                .zone_minutes = now.TimeZone == EFI_UNSPECIFIED_TIMEZONE ? 0 : now.TimeZone};
    stage->info->wall_clock_s = civil_to_unix(&civil);
}
