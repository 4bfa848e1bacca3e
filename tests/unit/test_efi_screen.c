/* SPDX-License-Identifier: MIT */
/*
 * Which of a machine's displays is drawn on after the hand-over: efi/efi_screen.c on a model of firmwares with several
 * outputs, wrong sizes, pictures that only calls draw on, and panels on their side.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "efi/efi_stage.h"

#include <stdio.h>
#include <string.h>

#define OUTPUTS_MAX 3u
#define MODES_MAX 3u
#define FIRST_BASE 0x80000000ULL

/* ---- the model: outputs, each a handle with what hangs on it ---- */

static struct output {
    EFI_GRAPHICS_OUTPUT_PROTOCOL graphics;
    EFI_GRAPHICS_OUTPUT_PROTOCOL_MODE mode;
    EFI_GRAPHICS_OUTPUT_MODE_INFORMATION modes[MODES_MAX];
    EFI_EDID_ACTIVE_PROTOCOL edid;
    uint8_t path[16];
    bool has_edid, has_marker, is_started;
    uint32_t sets;
} outputs[OUTPUTS_MAX];

static struct {
    uint8_t bytes[64];
    UINTN count;
} console_variable;

static struct boot_info info;
static struct efi_stage stage;
static char said[512];

void efi_say(struct efi_stage *of, const char *form, ...)
{
    va_list list;

    (void)of;
    va_start(list, form);
    (void)vsnprintf(said, sizeof(said), form, list);
    va_end(list);
}

static EFI_STATUS EFIAPI locate(EFI_LOCATE_SEARCH_TYPE how, EFI_GUID *guid, void *key, UINTN *count,
                                EFI_HANDLE **handles)
{
    static EFI_HANDLE found[OUTPUTS_MAX];

    (void)how;
    (void)guid;
    (void)key;
    *count = 0;
    for (uint32_t i = 0; i < OUTPUTS_MAX; i++) {
        if (outputs[i].is_started) {
            found[(*count)++] = &outputs[i];
        }
    }
    *handles = found;
    return *count == 0 ? EFI_NOT_FOUND : EFI_SUCCESS;
}

static EFI_STATUS EFIAPI handle_protocol(EFI_HANDLE handle, EFI_GUID *guid, void **interface)
{
    static const EFI_GUID graphics = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
    static const EFI_GUID path = EFI_DEVICE_PATH_PROTOCOL_GUID;
    static const EFI_GUID edid = EFI_EDID_ACTIVE_PROTOCOL_GUID;
    struct output *output = handle;
    bool is_marker = false;

    if (memcmp(guid, &graphics, sizeof(graphics)) == 0) {
        *interface = &output->graphics;
    } else if (memcmp(guid, &path, sizeof(path)) == 0) {
        *interface = output->path[0] != 0 ? output->path : NULL;
    } else if (memcmp(guid, &edid, sizeof(edid)) == 0) {
        *interface = output->has_edid ? &output->edid : NULL;
    } else {
        is_marker = output->has_marker; /* a marker has no interface */
        *interface = NULL;
    }
    return *interface != NULL || is_marker ? EFI_SUCCESS : EFI_UNSUPPORTED;
}

static EFI_STATUS EFIAPI free_pool(void *pool)
{
    (void)pool;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI get_variable(CHAR16 *name, EFI_GUID *guid, UINT32 *attributes, UINTN *bytes, void *data)
{
    (void)guid;
    (void)attributes;
    assert_int_equal(name[0], 'C');
    assert_true(console_variable.count <= *bytes);
    memcpy(data, console_variable.bytes, console_variable.count);
    *bytes = console_variable.count;
    return console_variable.count == 0 ? EFI_NOT_FOUND : EFI_SUCCESS;
}

static struct output *output_of(EFI_GRAPHICS_OUTPUT_PROTOCOL *graphics)
{
    return (struct output *)(void *)graphics; /* its first member */
}

static EFI_STATUS EFIAPI query_mode(EFI_GRAPHICS_OUTPUT_PROTOCOL *graphics, UINT32 number, UINTN *bytes,
                                    EFI_GRAPHICS_OUTPUT_MODE_INFORMATION **mode)
{
    *bytes = sizeof(**mode);
    *mode = &output_of(graphics)->modes[number];
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI set_mode(EFI_GRAPHICS_OUTPUT_PROTOCOL *graphics, UINT32 number)
{
    struct output *output = output_of(graphics);

    output->sets++;
    output->mode.Info = &output->modes[number];
    output->mode.FrameBufferBase = FIRST_BASE;
    return EFI_SUCCESS;
}

static EFI_BOOT_SERVICES boot = {
    .LocateHandleBuffer = locate, .HandleProtocol = handle_protocol, .FreePool = free_pool};
static EFI_RUNTIME_SERVICES runtime = {.GetVariable = get_variable};
static EFI_SYSTEM_TABLE system_table = {.BootServices = &boot, .RuntimeServices = &runtime};

static void machine(uint32_t count)
{
    memset(outputs, 0, sizeof(outputs));
    memset(&console_variable, 0, sizeof(console_variable));
    memset(&info, 0, sizeof(info));
    memset(said, 0, sizeof(said));
    stage = (struct efi_stage){.system = &system_table, .boot = &boot, .info = &info};
    system_table.ConsoleOutHandle = NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct output *output = &outputs[i];

        for (uint32_t n = 0; n < MODES_MAX; n++) {
            output->modes[n] = (EFI_GRAPHICS_OUTPUT_MODE_INFORMATION){.HorizontalResolution = 1024,
                                                                      .VerticalResolution = 768,
                                                                      .PixelFormat = PixelBltOnly,
                                                                      .PixelsPerScanLine = 1024};
        }
        output->modes[0].PixelFormat = PixelBlueGreenRedReserved8BitPerColor;
        output->mode = (EFI_GRAPHICS_OUTPUT_PROTOCOL_MODE){.MaxMode = 1,
                                                           .Info = &output->modes[0],
                                                           .SizeOfInfo = sizeof(output->modes[0]),
                                                           .FrameBufferBase = FIRST_BASE + i * 16 * MIB,
                                                           .FrameBufferSize = 3 * MIB};
        output->graphics =
            (EFI_GRAPHICS_OUTPUT_PROTOCOL){.QueryMode = query_mode, .SetMode = set_mode, .Mode = &output->mode};
        memcpy(output->path, (uint8_t[]){1, 1, 6, 0, (uint8_t)(7 + i), 2, 0x7f, 0xff, 4, 0}, 10);
        output->edid.SizeOfEdid = 128;
        output->is_started = true;
    }
}

/* Which output was taken; OUTPUTS_MAX: none. */
static uint32_t taken(void)
{
    memset(&info.framebuffer, 0, sizeof(info.framebuffer));
    efi_screen_find(&stage);
    for (uint32_t i = 0; i < OUTPUTS_MAX; i++) {
        if (info.framebuffer.format != BOOT_PIXEL_NONE && info.framebuffer.base == outputs[i].mode.FrameBufferBase) {
            return i;
        }
    }
    return OUTPUTS_MAX;
}

/* ---- promises ---- */

static void each_sign_of_the_console_outweighs_those_below_it(void **context)
{
    (void)context;
    machine(3);
    assert_int_equal(taken(), 0);
    assert_int_equal(info.framebuffer.outputs, 3);
    assert_false(info.framebuffer.is_console);
    outputs[2].has_edid = true;
    assert_int_equal(taken(), 2);
    assert_false(info.framebuffer.is_console);
    memcpy(console_variable.bytes, (uint8_t[]){3, 14, 4, 0, 0x7f, 1, 4, 0, 1, 1, 6, 0, 8, 2, 0x7f, 0xff, 4, 0}, 18);
    console_variable.count = 18; /* a serial port, then the second output */
    assert_int_equal(taken(), 1);
    assert_true(info.framebuffer.is_console);
    outputs[2].has_marker = true;
    assert_int_equal(taken(), 2);
    system_table.ConsoleOutHandle = &outputs[0];
    assert_int_equal(taken(), 0);
}

static void a_damaged_variable_names_nothing_and_is_not_read_beyond_its_end(void **context)
{
    (void)context;
    machine(2);
    for (uint32_t length = 0; length < 4; length++) {
        memcpy(console_variable.bytes, (uint8_t[]){1, 1, (uint8_t)length, 0}, 4);
        console_variable.count = 4;
        assert_int_equal(taken(), 0);
        assert_false(info.framebuffer.is_console);
    }
    memcpy(console_variable.bytes, (uint8_t[]){1, 1, 0xff, 0xff, 8, 2, 0x7f, 0xff, 4, 0}, 10);
    console_variable.count = 10;
    assert_int_equal(taken(), 0);
    outputs[1].path[2] = 0; /* a handle's path, too */
    assert_int_equal(taken(), 0);
}

static void a_picture_has_stride_by_height_bytes_whatever_its_size_is_called(void **context)
{
    (void)context;
    machine(1);
    for (uint64_t size = 0; size <= 256 * MIB; size = size * 2 + 1) {
        outputs[0].mode.FrameBufferSize = size;
        outputs[0].modes[0].PixelsPerScanLine = 1280;
        assert_int_equal(taken(), 0);
        assert_int_equal(info.framebuffer.bytes, 1280u * 768u * 4u);
    }
    outputs[0].modes[0].PixelsPerScanLine = 0;
    assert_int_equal(taken(), 0);
    assert_int_equal(info.framebuffer.stride_pixels, 1024);
    outputs[0].modes[0].PixelsPerScanLine = 1000;
    assert_int_equal(taken(), OUTPUTS_MAX);
}

static void a_picture_never_lies_in_memory_for_use(void **context)
{
    static const enum memory_type types[] = {MEMORY_FREE, MEMORY_BOOT,     MEMORY_LOADER,
                                             MEMORY_ACPI, MEMORY_RESERVED, MEMORY_MMIO};

    (void)context;
    for (uint32_t i = 0; i < ARRAY_COUNT(types); i++) {
        machine(1);
        stage.map.count = 1; /* the picture's last page */
        stage.map.regions[0] =
            (struct memory_region){FIRST_BASE + 1024u * 768u * 4u - PAGE_BYTES, FIRST_BASE + 64 * MIB, types[i]};
        assert_int_equal(taken(), types[i] == MEMORY_RESERVED || types[i] == MEMORY_MMIO ? 0 : OUTPUTS_MAX);
    }
}

static void an_output_that_only_calls_draw_on_is_left_for_one_that_has_a_picture(void **context)
{
    (void)context;
    machine(2);
    outputs[0].modes[0].PixelFormat = PixelBltOnly;
    outputs[0].has_marker = true;
    assert_int_equal(taken(), 1);
    assert_int_equal(info.framebuffer.outputs, 1);
    assert_int_equal(outputs[0].sets, 0); /* its mode stays */
}

static void where_no_output_has_a_picture_one_gets_a_mode_that_has(void **context)
{
    (void)context;
    machine(1);
    outputs[0].modes[0].PixelFormat = PixelBltOnly;
    assert_int_equal(taken(), OUTPUTS_MAX);
    assert_int_equal(outputs[0].sets, 0);
    outputs[0].mode.MaxMode = 3;
    outputs[0].modes[1].PixelFormat = PixelBlueGreenRedReserved8BitPerColor;
    outputs[0].modes[1].HorizontalResolution = 640;
    assert_int_equal(taken(), 0);
    assert_int_equal(info.framebuffer.width, 640);
    machine(1);
    outputs[0].modes[0].PixelFormat = PixelBltOnly;
    outputs[0].mode.MaxMode = 3;
    outputs[0].modes[1].PixelFormat = PixelRedGreenBlueReserved8BitPerColor;
    outputs[0].modes[1].HorizontalResolution = 640;
    outputs[0].modes[2].PixelFormat = PixelRedGreenBlueReserved8BitPerColor; /* of the present size */
    assert_int_equal(taken(), 0);
    assert_int_equal(info.framebuffer.width, 1024);
    assert_int_equal(outputs[0].sets, 1);
}

static void an_upright_panel_is_used_and_said(void **context)
{
    (void)context;
    machine(1);
    assert_int_equal(taken(), 0);
    assert_string_equal(said, "");
    outputs[0].modes[0].HorizontalResolution = 800;
    outputs[0].modes[0].VerticalResolution = 1280;
    assert_int_equal(taken(), 0);
    assert_non_null(strstr(said, "800 wide and 1280 high"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sign_of_the_console_outweighs_those_below_it),
        cmocka_unit_test(a_damaged_variable_names_nothing_and_is_not_read_beyond_its_end),
        cmocka_unit_test(a_picture_has_stride_by_height_bytes_whatever_its_size_is_called),
        cmocka_unit_test(a_picture_never_lies_in_memory_for_use),
        cmocka_unit_test(an_output_that_only_calls_draw_on_is_left_for_one_that_has_a_picture),
        cmocka_unit_test(where_no_output_has_a_picture_one_gets_a_mode_that_has),
        cmocka_unit_test(an_upright_panel_is_used_and_said),
    };

    return cmocka_run_group_tests_name("efi_screen", tests, NULL, NULL);
}
