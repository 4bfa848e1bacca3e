/* SPDX-License-Identifier: MIT */
/*
 * A firmware with another screen than OVMF's, for tests: included before efi/efi_screen.c. QEMU's VGA is put into the
 * mode that `-fw_cfg name=opt/plinth/screen,string=3840x2160x16` asks for, and the Graphics Output Protocol's answer is
 * replaced by one that describes it: pixels of 16 or 24 bits as PixelBitMask, 32 bits as red first. mk/test-efi.mk
 * makes build/efi-screen/BOOTX64.EFI.
 */
#ifndef TESTS_BOOT_EFI_SCREEN_H
#define TESTS_BOOT_EFI_SCREEN_H

#include "efi/efi_stage.h"
#include "hv/x86/insn.h"

/* QEMU docs/specs/fw_cfg: selector and data port, key 0x19 is the directory. Its numbers are big-endian. */
#define FW_CFG_SELECTOR 0x510u
#define FW_CFG_DATA 0x511u
#define FW_CFG_DIRECTORY 0x19u
#define FW_CFG_NAME_BYTES 56u

/* QEMU docs/specs/standard-vga: Bochs' display interface. */
enum {
    VBE_INDEX_PORT = 0x1ce,
    VBE_DATA_PORT = 0x1cf,
    VBE_XRES = 1,
    VBE_YRES = 2,
    VBE_BPP = 3,
    VBE_ENABLE = 4,
    VBE_ENABLED_LINEAR = 0x41,
};

static inline uint64_t fw_cfg_number(uint32_t bytes)
{
    uint64_t number = 0;

    for (uint32_t i = 0; i < bytes; i++) {
        number = number << 8 | insn_in8(FW_CFG_DATA);
    }
    return number;
}

/* Selects the file; false: it is not there. */
static inline bool fw_cfg_open(const char *wanted)
{
    uint64_t count;

    insn_out16(FW_CFG_SELECTOR, FW_CFG_DIRECTORY);
    count = fw_cfg_number(4);
    for (uint64_t i = 0; i < count; i++) {
        char name[FW_CFG_NAME_BYTES + 1] = "";
        uint64_t key = fw_cfg_number(8) >> 16 & 0xffff; /* size, key, reserved */

        for (uint32_t n = 0; n < FW_CFG_NAME_BYTES; n++) {
            name[n] = (char)insn_in8(FW_CFG_DATA);
        }
        if (text_is(text_of(name), wanted)) {
            insn_out16(FW_CFG_SELECTOR, (uint16_t)key);
            return true;
        }
    }
    return false;
}

/* Digits up to what is none. */
static inline uint32_t fw_cfg_digits(void)
{
    uint32_t number = 0;

    for (uint8_t c = insn_in8(FW_CFG_DATA); c >= '0' && c <= '9'; c = insn_in8(FW_CFG_DATA)) {
        number = number * 10 + (uint32_t)(c - '0');
    }
    return number;
}

static inline void vbe_set(uint16_t index, uint32_t value)
{
    insn_out16(VBE_INDEX_PORT, index);
    insn_out16(VBE_DATA_PORT, (uint16_t)value);
}

/* In place of the firmware's answer. */
static inline EFI_STATUS other_screen(EFI_GRAPHICS_OUTPUT_PROTOCOL *graphics)
{
    static EFI_GRAPHICS_OUTPUT_MODE_INFORMATION info;
    static EFI_GRAPHICS_OUTPUT_PROTOCOL_MODE mode;
    uint32_t width;
    uint32_t height;
    uint32_t bits;

    if (graphics->Mode == NULL || graphics->Mode->FrameBufferBase == 0 || !fw_cfg_open("opt/plinth/screen")) {
        return EFI_SUCCESS;
    }
    width = fw_cfg_digits();
    height = fw_cfg_digits();
    bits = fw_cfg_digits();
    vbe_set(VBE_ENABLE, 0);
    vbe_set(VBE_XRES, width);
    vbe_set(VBE_YRES, height);
    vbe_set(VBE_BPP, bits);
    vbe_set(VBE_ENABLE, VBE_ENABLED_LINEAR);
    info = (EFI_GRAPHICS_OUTPUT_MODE_INFORMATION){
        .HorizontalResolution = width,
        .VerticalResolution = height,
        .PixelFormat = bits == 32 ? PixelRedGreenBlueReserved8BitPerColor : PixelBitMask,
        .PixelInformation = {bits == 16 ? 0xf800u : 0xff0000u, bits == 16 ? 0x7e0u : 0xff00u,
                             bits == 16 ? 0x1fu : 0xffu, 0},
        .PixelsPerScanLine = width,
    };
    mode = *graphics->Mode;
    mode.Info = &info;
    mode.FrameBufferSize = (UINTN)width * height * (bits / 8);
    graphics->Mode = &mode;
    return EFI_SUCCESS;
}

static inline INTN other_answer(const EFI_GUID *guid, void *interface)
{
    static const EFI_GUID graphics = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;

    return memcmp(guid, &graphics, sizeof(graphics)) == 0 ? (INTN)other_screen(interface) : 0;
}

#define HandleProtocol(handle, guid, to) \
    HandleProtocol((handle), (guid), (to)) == EFI_SUCCESS ? other_answer((guid), *(to)) : (INTN)EFI_NOT_FOUND

#endif
