/* SPDX-License-Identifier: MIT */
/* Files that are no kernels for this protocol; guest-loader/foreign.h tells what for. */
#include "guest-loader/foreign.h"

#include "guest-loader/protocols.h"
#include "hv/base/memory.h"

/* "CD001" in the first volume descriptor. ECMA-119, 8.1.2 "Standard Identifier"; sector 16 of 2,048 bytes. */
#define ISO_AT 0x8001u
/* The signature of a boot sector and of a partitioned disk's first sector. UEFI 2.10, 5.2.1, table 5.1 "Legacy MBR". */
#define BOOT_SIGNATURE_AT 510u
/* Offsets of the magic numbers of other architectures' kernels. Linux, Documentation/arch/arm64/booting.rst section 4,
 * arch/riscv/boot-image-header.rst; U-Boot, include/image.h. */
#define IMAGE_MAGIC_AT 56u
#define ZIMAGE_MAGIC_AT 36u
#define TAR_MAGIC_AT 257u
#define VDI_MAGIC_AT 64u

struct magic {
    uint32_t offset;
    uint8_t bytes[8];
    uint8_t count;
    struct foreign_kind kind;
};

/* Files that may have a disk's bytes in them, but not as a disk has them. */
static const struct magic containers[] = {
    {0, {0xfd, '7', 'z', 'X', 'Z', 0}, 6, {"a file compressed with xz", "unpack it first (unxz)"}},
    {0, {0x28, 0xb5, 0x2f, 0xfd}, 4, {"a file compressed with zstd", "unpack it first (unzstd)"}},
    {0, {'B', 'Z', 'h'}, 3, {"a file compressed with bzip2", "unpack it first (bunzip2)"}},
    {0, {0x04, 0x22, 0x4d, 0x18}, 4, {"a file compressed with lz4", "unpack it first (unlz4)"}},
    {0, {0x02, 0x21, 0x4c, 0x18}, 4, {"a file compressed with lz4", "unpack it first (unlz4)"}},
    {0, {'P', 'K', 3, 4}, 4, {"a zip archive", "take the kernel out of it"}},
    {0, {'Q', 'F', 'I', 0xfb}, 4, {"a disk image (qcow2)", "take the kernel out of it"}},
    {0, {'K', 'D', 'M', 'V'}, 4, {"a disk image (VMDK)", "take the kernel out of it"}},
    {0, {'v', 'h', 'd', 'x', 'f', 'i', 'l', 'e'}, 8, {"a disk image (VHDX)", "take the kernel out of it"}},
    {VDI_MAGIC_AT, {0x7f, 0x10, 0xda, 0xbe}, 4, {"a disk image (VDI)", "take the kernel out of it"}},
};

/* The order matters: images of other architectures are EFI programs, too, and a hybrid CD is also a boot sector. */
static const struct magic magics[] = {
    {0, {0x1f, 0x8b}, 2, {"compressed with gzip twice, or not by deflate", "unpack it first (gunzip)"}},
    {0, {0x89, 'L', 'Z', 'O'}, 4, {"a file compressed with lzop", "unpack it first (lzop -d)"}},
    {0, {0x5d, 0, 0}, 3, {"a file compressed with lzma", "unpack it first (unlzma)"}},
    {0, {'!', '<', 'a', 'r', 'c', 'h', '>', '\n'}, 8, {"a Debian package or library", "take the kernel out of it"}},
    {TAR_MAGIC_AT, {'u', 's', 't', 'a', 'r'}, 5, {"a tar archive", "take the kernel out of it"}},
    {0, {'0', '7', '0', '7', '0'}, 5, {"a cpio archive, as an initrd is", "name it in an `initrd =` line"}},
    {IMAGE_MAGIC_AT, {'A', 'R', 'M', 0x64}, 4, {"a Linux kernel for arm64", "take one for x86-64"}},
    {IMAGE_MAGIC_AT, {'R', 'S', 'C', 0x05}, 4, {"a Linux kernel for RISC-V", "take one for x86-64"}},
    {ZIMAGE_MAGIC_AT, {0x18, 0x28, 0x6f, 0x01}, 4, {"a Linux kernel for 32-bit ARM", "take one for x86-64"}},
    {0, {0x27, 0x05, 0x19, 0x56}, 4, {"an image for U-Boot", "take a kernel for x86-64"}},
    {0, {0xd0, 0x0d, 0xfe, 0xed}, 4, {"a device tree or an image for U-Boot", "take a kernel for x86-64"}},
    {0, {0xcf, 0xfa, 0xed, 0xfe}, 4, {"a program for macOS", "build it as an ELF file"}},
    {0, {'#', '!'}, 2, {"a script", "name the kernel itself"}},
    {ISO_AT, {'C', 'D', '0', '0', '1'}, 5, {"a CD image", "take the kernel and its initrd out of it"}},
    {0, {'M', 'Z'}, 2, {"an EFI or DOS program, not a kernel", "give the kernel's own image"}},
    {BOOT_SIGNATURE_AT,
     {0x55, 0xaa},
     2,
     {"a boot sector or disk image: it needs a BIOS, and a guest has none", "take the kernel that it loads"}},
};

static const struct foreign_kind linux_kind = {"a Linux bzImage", "write protocol = linux, or auto"};
static const struct foreign_kind multiboot2_kind = {"a multiboot2 kernel", "write protocol = multiboot2, or auto"};
static const struct foreign_kind multiboot_kind = {"a multiboot kernel", "write protocol = multiboot, or auto"};
static const struct foreign_kind elf_kind = {"an ELF file", "write protocol = auto"};

/* Headers that `protocol = auto` takes. */
static const struct foreign_kind *recognize_kernel(struct span file)
{
    if (linux_recognize(file)) {
        return &linux_kind;
    }
    if (multiboot2_recognize(file)) {
        return &multiboot2_kind;
    }
    if (multiboot_recognize(file)) {
        return &multiboot_kind;
    }
    return elf_recognize(file) ? &elf_kind : NULL;
}

static bool has(struct span file, const struct magic *magic)
{
    return span_holds(file, magic->offset, magic->count) &&
           memcmp(file.base + magic->offset, magic->bytes, magic->count) == 0;
}

static const struct foreign_kind *recognize(struct span file, const struct magic *table, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (has(file, &table[i])) {
            return &table[i].kind;
        }
    }
    return NULL;
}

const struct foreign_kind *foreign_recognize(struct span file)
{
    const struct foreign_kind *kind = recognize_kernel(file);

    if (kind == NULL) {
        kind = recognize(file, containers, ARRAY_COUNT(containers));
    }
    return kind != NULL ? kind : recognize(file, magics, ARRAY_COUNT(magics));
}

const char *foreign_disk(struct span image)
{
    const struct foreign_kind *kind = recognize(image, containers, ARRAY_COUNT(containers));

    return kind != NULL ? kind->what : NULL;
}

enum status foreign_fail(struct loader *loader, const char *asked, const char *otherwise)
{
    const struct foreign_kind *kind = foreign_recognize(loader->request->kernel);

    if (kind == NULL) {
        return loader_fail(loader, STATUS_NOT_FOUND, 0, "%s %s", asked, otherwise);
    }
    return loader_fail(loader, STATUS_NOT_FOUND, 0, "%s; it is %s: %s", asked, kind->what, kind->remedy);
}

/* gABI, "e_machine". */
static const struct {
    uint16_t number;
    const char *name;
} elf_machines[] = {
    {2, "SPARC"},       {3, "i386"},          {4, "Motorola 68000"}, {6, "Intel MCU"},    {8, "MIPS"},
    {15, "PA-RISC"},    {18, "32-bit SPARC"}, {20, "PowerPC"},       {21, "PowerPC64"},   {22, "IBM S/390"},
    {40, "32-bit ARM"}, {42, "SuperH"},       {43, "64-bit SPARC"},  {50, "IA-64"},       {62, "x86-64"},
    {92, "OpenRISC"},   {94, "Xtensa"},       {183, "arm64"},        {189, "MicroBlaze"}, {243, "RISC-V"},
    {247, "BPF"},       {258, "LoongArch"},   {0x9026, "Alpha"},
};

const char *foreign_elf_machine(uint32_t machine)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(elf_machines); i++) {
        if (elf_machines[i].number == machine) {
            return elf_machines[i].name;
        }
    }
    return NULL;
}
