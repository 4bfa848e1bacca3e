/* SPDX-License-Identifier: MIT */
/*
 * Which of the firmware's displays is ours after the hand-over, and how it is drawn on.
 *
 * A machine may have several: two adapters, or one with outputs to which nothing is plugged. The firmware's own text is
 * on those that it counts as console, and that is where the user looks. So every Graphics Output Protocol whose picture
 * lies in memory is ranked by what speaks for it, and the first of the highest rank is taken. Where none has such a
 * picture, one is asked for a mode that does.
 *
 * Sizes are what firmwares are wrong about. What counts is stride x height: a larger size is cut, a smaller one is not
 * believed, and the picture must not lie in memory that the firmware's map calls memory for use.
 */
#include "efi/efi_stage.h"

#define PATH_BYTES_MAX 1024u
#define OUTPUTS_MAX 64u

/* What speaks for an output. Each outweighs all that stand below it. */
enum {
    RANK_MONITOR = 1,   /* a monitor has said what it can: UEFI 2.10, 12.9 "EFI_EDID_ACTIVE_PROTOCOL" */
    RANK_VARIABLE = 2,  /* its device path is in the variable ConOut: UEFI 2.10, 3.3 "Globally Defined Variables" */
    RANK_CONSOLE = 4,   /* EDK2 marks the handles that its console is shown on */
    RANK_OUT_HANDLE = 8 /* it is the console itself: UEFI 2.10, 4.3 "EFI System Table", ConsoleOutHandle */
};

static EFI_GUID graphics_guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
static EFI_GUID path_guid = EFI_DEVICE_PATH_PROTOCOL_GUID;
static EFI_GUID edid_guid = EFI_EDID_ACTIVE_PROTOCOL_GUID;
static EFI_GUID console_out_guid = {0xd3b36f2c, 0xd551, 0x11d4, {0x9a, 0x46, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d}};
static EFI_GUID global_guid = EFI_GLOBAL_VARIABLE;

static struct {
    uint8_t console_paths[PATH_BYTES_MAX]; /* the variable ConOut */
    UINTN console_path_bytes;
} screens;

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

static void *protocol_of(const struct efi_stage *stage, EFI_HANDLE handle, EFI_GUID *guid)
{
    void *found = NULL;

    return EFI_ERROR(stage->boot->HandleProtocol(handle, guid, &found)) ? NULL : found;
}

/* No guest, and nothing of ours, is where the picture is: it may be in a device's window, in memory that the firmware
 * keeps for good, or where the map says nothing. */
static bool place_is_a_screens(const struct memory_map *map, uint64_t start, uint64_t end)
{
    for (uint32_t i = 0; i < map->count; i++) {
        const struct memory_region *region = &map->regions[i];

        if (region->start < end && start < region->end && region->type != MEMORY_RESERVED &&
            region->type != MEMORY_MMIO) {
            return false;
        }
    }
    return true;
}

/* Bytes are stride x height, whatever the firmware calls its size. A stride of 0 is the width; one below the width is a
 * mistake that nothing can be made of. */
static bool screen_is_sane(const struct efi_stage *stage, struct boot_framebuffer *screen)
{
    screen->stride_pixels = screen->stride_pixels == 0 ? screen->width : screen->stride_pixels;
    screen->bytes = (uint64_t)screen->stride_pixels * screen->bytes_per_pixel * screen->height;
    return screen->base != 0 && screen->bytes != 0 && screen->width != 0 && screen->stride_pixels >= screen->width &&
           screen->bytes <= GIB && screen->base <= (1ULL << 52) - screen->bytes &&
           place_is_a_screens(&stage->map, align_down(screen->base, PAGE_BYTES),
                              align_up(screen->base + screen->bytes, PAGE_BYTES));
}

static bool screen_of(const struct efi_stage *stage, const EFI_GRAPHICS_OUTPUT_PROTOCOL *graphics,
                      struct boot_framebuffer *screen)
{
    const EFI_GRAPHICS_OUTPUT_PROTOCOL_MODE *mode = graphics->Mode;

    if (mode == NULL || mode->Info == NULL || pixel_of(mode->Info->PixelFormat) == BOOT_PIXEL_NONE) {
        return false;
    }
    *screen = (struct boot_framebuffer){
        .format = pixel_of(mode->Info->PixelFormat),
        .base = mode->FrameBufferBase,
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
    return screen_is_sane(stage, screen);
}

/* Bytes of a device path before its end node; 0 where it has none within `bytes_max`. UEFI 2.10, 10.3.1 "Generic Device
 * Path Structures": type, subtype, 16 bits of length; type 7fh ends an instance (subtype 1) or all (ffh). */
static UINTN path_bytes(const uint8_t *path, UINTN bytes_max)
{
    UINTN at = 0;

    while (at + sizeof(EFI_DEVICE_PATH_PROTOCOL) <= bytes_max) {
        UINTN length = path[at + 2] | (UINTN)path[at + 3] << 8;

        if (path[at] == END_DEVICE_PATH_TYPE) {
            return at;
        }
        if (length < sizeof(EFI_DEVICE_PATH_PROTOCOL)) {
            return 0;
        }
        at += length;
    }
    return 0;
}

/* Whether one of the instances in ConOut is this path. */
static bool variable_names(const uint8_t *path)
{
    UINTN bytes = path == NULL ? 0 : path_bytes(path, PATH_BYTES_MAX);
    UINTN at = 0;

    while (bytes != 0 && at < screens.console_path_bytes) {
        UINTN instance = path_bytes(screens.console_paths + at, screens.console_path_bytes - at);

        if (instance == bytes && memcmp(screens.console_paths + at, path, bytes) == 0) {
            return true;
        }
        if (instance == 0) {
            return false;
        }
        at += instance + sizeof(EFI_DEVICE_PATH_PROTOCOL);
    }
    return false;
}

static uint32_t rank_of(const struct efi_stage *stage, EFI_HANDLE handle)
{
    const EFI_EDID_ACTIVE_PROTOCOL *edid = protocol_of(stage, handle, &edid_guid);
    void *marker = NULL;
    bool console =
        !EFI_ERROR(stage->boot->HandleProtocol(handle, &console_out_guid, &marker)); /* it has no interface */

    return (edid != NULL && edid->SizeOfEdid != 0 ? RANK_MONITOR : 0u) |
           (variable_names(protocol_of(stage, handle, &path_guid)) ? RANK_VARIABLE : 0u) |
           (console ? RANK_CONSOLE : 0u) | (handle == stage->system->ConsoleOutHandle ? RANK_OUT_HANDLE : 0u);
}

static void read_console_paths(struct efi_stage *stage)
{
    static CHAR16 name[] = u"ConOut";
    UINTN bytes = sizeof(screens.console_paths);
    EFI_STATUS status =
        stage->system->RuntimeServices->GetVariable(name, &global_guid, NULL, &bytes, screens.console_paths);

    screens.console_path_bytes = EFI_ERROR(status) ? 0 : (UINTN)min_u64(bytes, sizeof(screens.console_paths));
}

/* The first mode that lies in memory, at best one of the present size. It clears the screen, so it is asked for only
 * where there is no other way. */
static bool mode_in_memory(const struct efi_stage *stage, EFI_GRAPHICS_OUTPUT_PROTOCOL *graphics)
{
    const EFI_GRAPHICS_OUTPUT_PROTOCOL_MODE *mode = graphics->Mode;
    uint32_t best = UINT32_MAX;

    for (uint32_t i = 0; mode != NULL && mode->Info != NULL && i < mode->MaxMode; i++) {
        EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *info = NULL;
        UINTN bytes = 0;
        bool same;

        if (EFI_ERROR(graphics->QueryMode(graphics, i, &bytes, &info)) || info == NULL) {
            continue;
        }
        same = info->HorizontalResolution == mode->Info->HorizontalResolution &&
               info->VerticalResolution == mode->Info->VerticalResolution;
        if (pixel_of(info->PixelFormat) != BOOT_PIXEL_NONE && (best == UINT32_MAX || same)) {
            best = i;
        }
        stage->boot->FreePool(info);
        if (best == i && same) {
            break;
        }
    }
    return best != UINT32_MAX && !EFI_ERROR(graphics->SetMode(graphics, best));
}

/* Takes the best of the outputs; with `change_modes` those without a picture in memory are asked for one. */
static void take_best(struct efi_stage *stage, const EFI_HANDLE *handles, UINTN count, bool change_modes)
{
    struct boot_framebuffer *best = &stage->info->framebuffer;
    uint32_t best_rank = 0;
    uint32_t outputs = 0;

    for (UINTN i = 0; i < count && i < OUTPUTS_MAX; i++) {
        EFI_GRAPHICS_OUTPUT_PROTOCOL *graphics = protocol_of(stage, handles[i], &graphics_guid);
        struct boot_framebuffer screen;
        uint32_t rank;

        if (graphics == NULL || (change_modes && !mode_in_memory(stage, graphics)) ||
            !screen_of(stage, graphics, &screen)) {
            continue;
        }
        outputs++;
        rank = rank_of(stage, handles[i]);
        if (outputs == 1 || rank > best_rank) {
            best_rank = rank;
            *best = screen;
        }
    }
    best->outputs = outputs;
    best->is_console = best_rank >= RANK_VARIABLE;
}

void efi_screen_find(struct efi_stage *stage)
{
    EFI_HANDLE *handles = NULL;
    UINTN count = 0;
    struct boot_framebuffer *screen = &stage->info->framebuffer;

    if (EFI_ERROR(stage->boot->LocateHandleBuffer(ByProtocol, &graphics_guid, NULL, &count, &handles))) {
        return;
    }
    read_console_paths(stage);
    take_best(stage, handles, count, false);
    if (screen->format == BOOT_PIXEL_NONE) {
        take_best(stage, handles, count, true);
    }
    stage->boot->FreePool(handles);
    if (screen->format != BOOT_PIXEL_NONE && screen->height > screen->width) {
        efi_say(
            stage,
            "Plinth: this screen is %u wide and %u high: where its panel is built in on its side, text stands on its "
            "side, as the firmware's own.",
            screen->width, screen->height);
    }
}
