/* SPDX-License-Identifier: MIT */
/*
 * Linux: a bzImage, or an ELF file (vmlinux), by the boot protocol. Linux, Documentation/arch/x86/boot.rst, sections
 * "The Real-Mode Kernel Header", "64-bit Boot Protocol", "32-bit Boot Protocol"; Documentation/arch/x86/zero-page.rst.
 *
 * The file is `setup_sects + 1` sectors of real-mode code, which is not used but for its header, and then the
 * protected-mode kernel, which is loaded at its preferred address and entered there (32-bit) or 0x200 later (64-bit).
 *
 * An ELF file is entered at its own entry with the same zero page, whose header the loader then writes itself. That is
 * what Firecracker does, and so kernels that were built for it (OSv, Unikraft's lxboot, Hermit's loader) start
 * this way. Some of them want the zero page, the command line and the initrd at page boundaries.
 *
 * The header's fields are read through a table, so that each has its name, its offset and the protocol version that
 * brought it, and a field that a kernel is too old to have reads as that version's default.
 */
#include "guest-loader/elf_image.h"
#include "guest-loader/foreign.h"
#include "guest-loader/protocols.h"
#include "hv/base/format.h"
#include "hv/base/memory.h"

#define LINUX_MAGIC 0x53726448u /* "HdrS" */
#define LINUX_BOOT_FLAG 0xaa55u
#define LINUX_VERSION_MIN 0x206u
#define LINUX_VERSION_ELF 0x20fu /* of the header that the loader writes for an ELF file */
#define LINUX_ALIGNMENT_ELF 0x200000u
#define LINUX_SECTOR 512u
#define LINUX_SETUP_SECTS_DEFAULT 4u /* what 0 means */
#define LINUX_HEADER_START 0x1f1u
#define LINUX_HEADER_LENGTH_BYTE 0x201u /* the jump's displacement: the header ends at 0x202 plus it */
#define LINUX_HEADER_BASE 0x202u
#define LINUX_HEADER_END_MAX 0x290u /* the zero page has room up to here */
#define LINUX_LOADED_HIGH 0x01u     /* loadflags: the kernel runs at 1 MiB or above */
#define LINUX_XLF_KERNEL_64 0x01u   /* xloadflags: there is a 64-bit entry */
#define LINUX_XLF_ABOVE_4G 0x02u    /* xloadflags: what the loader places may lie above 4 GiB */
#define LINUX_ENTRY_64_OFFSET 0x200u
#define LINUX_LOADER_UNDEFINED 0xffu /* type_of_loader without an assigned number */
#define LINUX_CODE_SELECTOR 0x10u    /* __BOOT_CS; __BOOT_DS is 0x18 */
#define LINUX_PARAGRAPH 16u          /* the unit of syssize */
#define LINUX_VERSION_TEXT_MAX 40u

/* Offsets in the zero page; the header keeps its file offsets in it. */
#define ZERO_PAGE_BYTES 4096u
#define ZERO_PAGE_ACPI_RSDP 0x70u
#define ZERO_PAGE_EXT_RAMDISK_IMAGE 0xc0u /* the upper halves */
#define ZERO_PAGE_EXT_RAMDISK_SIZE 0xc4u
#define ZERO_PAGE_E820_COUNT 0x1e8u
#define ZERO_PAGE_TYPE_OF_LOADER 0x210u
#define ZERO_PAGE_CODE32_START 0x214u
#define ZERO_PAGE_RAMDISK_IMAGE 0x218u
#define ZERO_PAGE_RAMDISK_SIZE 0x21cu
#define ZERO_PAGE_CMD_LINE_PTR 0x228u
#define ZERO_PAGE_E820_TABLE 0x2d0u
#define ZERO_PAGE_E820_ENTRY_BYTES 20u

enum linux_field {
    FIELD_SETUP_SECTS,
    FIELD_SYSSIZE,
    FIELD_BOOT_FLAG,
    FIELD_MAGIC,
    FIELD_VERSION,
    FIELD_KERNEL_VERSION,
    FIELD_LOADFLAGS,
    FIELD_CODE32_START,
    FIELD_INITRD_ADDR_MAX,
    FIELD_KERNEL_ALIGNMENT,
    FIELD_RELOCATABLE,
    FIELD_MIN_ALIGNMENT,
    FIELD_XLOADFLAGS,
    FIELD_CMDLINE_SIZE,
    FIELD_PREF_ADDRESS,
    FIELD_INIT_SIZE,
    FIELD_COUNT,
};

struct linux_field_form {
    const char *name;
    uint16_t offset;
    uint16_t since; /* protocol version */
    uint8_t bytes;
    uint32_t before; /* the value that older kernels imply */
};

static const struct linux_field_form fields[FIELD_COUNT] = {
    [FIELD_SETUP_SECTS] = {"setup_sects", 0x1f1, 0, 1, 0},
    [FIELD_SYSSIZE] = {"syssize", 0x1f4, 0x204, 4, 0},
    [FIELD_BOOT_FLAG] = {"boot_flag", 0x1fe, 0, 2, 0},
    [FIELD_MAGIC] = {"header", 0x202, 0, 4, 0},
    [FIELD_VERSION] = {"version", 0x206, 0, 2, 0},
    [FIELD_KERNEL_VERSION] = {"kernel_version", 0x20e, 0x200, 2, 0},
    [FIELD_LOADFLAGS] = {"loadflags", 0x211, 0x200, 1, 0},
    [FIELD_CODE32_START] = {"code32_start", 0x214, 0x200, 4, 0x100000},
    [FIELD_INITRD_ADDR_MAX] = {"initrd_addr_max", 0x22c, 0x203, 4, 0x37ffffff},
    [FIELD_KERNEL_ALIGNMENT] = {"kernel_alignment", 0x230, 0x205, 4, 0},
    [FIELD_RELOCATABLE] = {"relocatable_kernel", 0x234, 0x205, 1, 0},
    [FIELD_MIN_ALIGNMENT] = {"min_alignment", 0x235, 0x20a, 1, 0},
    [FIELD_XLOADFLAGS] = {"xloadflags", 0x236, 0x20c, 2, 0},
    [FIELD_CMDLINE_SIZE] = {"cmdline_size", 0x238, 0x206, 4, 255},
    [FIELD_PREF_ADDRESS] = {"pref_address", 0x258, 0x20a, 8, 0},
    [FIELD_INIT_SIZE] = {"init_size", 0x260, 0x20a, 4, 0},
};

struct linux_header {
    uint64_t field[FIELD_COUNT];
    uint64_t header_end;    /* in the file */
    uint64_t kernel_offset; /* of the protected-mode kernel */
    uint64_t kernel_bytes;
    bool entry_64;
};

bool linux_recognize(struct span kernel)
{
    uint32_t magic = 0;

    return span_read_u32(kernel, fields[FIELD_MAGIC].offset, &magic) && magic == LINUX_MAGIC;
}

/* ---- The header ---- */

static enum status header_fail(struct loader *loader, enum linux_field field, uint64_t value, const char *why)
{
    return loader_fail(loader, STATUS_MALFORMED, fields[field].offset, "Linux header: %s is 0x%" PRIx64 ", %s",
                       fields[field].name, value, why);
}

static enum status read_version(struct loader *loader, uint64_t *version)
{
    struct span file = loader->request->kernel;
    uint16_t flag = 0, value = 0;

    if (!linux_recognize(file)) {
        return foreign_fail(loader, "protocol = linux, but the file has no Linux header (\"HdrS\" at offset 0x202)",
                            "and no ELF header: check that this is the kernel's own image");
    }
    span_read_u16(file, fields[FIELD_BOOT_FLAG].offset, &flag);
    if (flag != LINUX_BOOT_FLAG) {
        return header_fail(loader, FIELD_BOOT_FLAG, flag, "not 0xaa55: the file is damaged");
    }
    span_read_u16(file, fields[FIELD_VERSION].offset, &value);
    *version = value;
    if (value < LINUX_VERSION_MIN) {
        return header_fail(loader, FIELD_VERSION, value,
                           "and 0x206 (Linux 2.6.22) is the oldest that is supported (memdisk, grub.exe and the like "
                           "need a BIOS, and a guest has none)");
    }
    return STATUS_OK;
}

static enum status read_fields(struct loader *loader, struct linux_header *header)
{
    uint64_t version = 0;
    enum status status = read_version(loader, &version);

    for (uint32_t i = 0; status == STATUS_OK && i < FIELD_COUNT; i++) {
        if (fields[i].since > version) {
            header->field[i] = fields[i].before;
        } else if (!span_copy(loader->request->kernel, fields[i].offset, &header->field[i], fields[i].bytes)) {
            status = loader_fail(loader, STATUS_MALFORMED, loader->request->kernel.bytes,
                                 "the file ends before the Linux header's field %s at 0x%x: it is truncated",
                                 fields[i].name, fields[i].offset);
        }
    }
    return status;
}

/* Where the header ends, and where the protected-mode kernel is. */
static enum status measure(struct loader *loader, struct linux_header *header)
{
    struct span file = loader->request->kernel;
    uint64_t sectors = header->field[FIELD_SETUP_SECTS];
    uint64_t bytes = header->field[FIELD_SYSSIZE] * LINUX_PARAGRAPH;
    uint8_t length = 0;

    span_read_u8(file, LINUX_HEADER_LENGTH_BYTE, &length);
    header->header_end = min_u64(LINUX_HEADER_BASE + length, LINUX_HEADER_END_MAX);
    header->kernel_offset = ((sectors == 0 ? LINUX_SETUP_SECTS_DEFAULT : sectors) + 1) * LINUX_SECTOR;
    if (header->kernel_offset >= file.bytes) {
        return loader_fail(loader, STATUS_MALFORMED, file.bytes,
                           "the file ends before the protected-mode kernel at 0x%" PRIx64 ": it is truncated",
                           header->kernel_offset);
    }
    header->kernel_bytes = file.bytes - header->kernel_offset;
    if (bytes > align_up(header->kernel_bytes, LINUX_PARAGRAPH)) {
        return loader_fail(loader, STATUS_MALFORMED, fields[FIELD_SYSSIZE].offset,
                           "Linux header: the kernel has 0x%" PRIx64 " bytes from 0x%" PRIx64
                           ", but the file ends at 0x%" PRIx64 ": it is truncated",
                           bytes, header->kernel_offset, file.bytes);
    }
    /* What follows, for instance a signature, is not the kernel's. */
    header->kernel_bytes = bytes == 0 ? header->kernel_bytes : min_u64(bytes, header->kernel_bytes);
    return STATUS_OK;
}

static enum status check_header(struct loader *loader, const struct linux_header *header)
{
    uint64_t alignment = header->field[FIELD_KERNEL_ALIGNMENT], load = header->field[FIELD_PREF_ADDRESS];

    if (header->header_end < fields[FIELD_CMDLINE_SIZE].offset + 4u) {
        return header_fail(loader, FIELD_MAGIC, header->header_end, "where the header ends: it is too short");
    }
    if ((header->field[FIELD_LOADFLAGS] & LINUX_LOADED_HIGH) == 0) {
        return header_fail(loader, FIELD_LOADFLAGS, header->field[FIELD_LOADFLAGS],
                           "a zImage that loads low: build a bzImage");
    }
    /* Real kernels have the default in the file; iPXE's .lkrn, which runs its real-mode part only, has 0. */
    if (!header->entry_64 && header->field[FIELD_CODE32_START] == 0) {
        return header_fail(loader, FIELD_CODE32_START, 0,
                           "so there is no 32-bit entry: a program for real mode, as iPXE's .lkrn is, needs a BIOS, "
                           "and a guest has none");
    }
    if (header->field[FIELD_RELOCATABLE] != 0 && !is_power_of_two(alignment)) {
        return header_fail(loader, FIELD_KERNEL_ALIGNMENT, alignment, "not a power of two");
    }
    if (header->field[FIELD_RELOCATABLE] != 0 && !is_aligned(load, alignment)) {
        return header_fail(loader, FIELD_PREF_ADDRESS, load, "not a multiple of kernel_alignment");
    }
    if (header->field[FIELD_INITRD_ADDR_MAX] < GUEST_LEGACY_END) {
        return header_fail(loader, FIELD_INITRD_ADDR_MAX, header->field[FIELD_INITRD_ADDR_MAX], "below 1 MiB");
    }
    if (load > UINT32_MAX) {
        return header_fail(loader, FIELD_PREF_ADDRESS, load, "above 4 GiB");
    }
    if (header->entry_64 && header->kernel_bytes <= LINUX_ENTRY_64_OFFSET) {
        return header_fail(loader, FIELD_XLOADFLAGS, header->field[FIELD_XLOADFLAGS],
                           "a 64-bit entry, but the kernel ends before it: the file is damaged");
    }
    return STATUS_OK;
}

static enum status check_cmdline(struct loader *loader, const struct linux_header *header)
{
    uint64_t length = loader->request->cmdline.length, limit = header->field[FIELD_CMDLINE_SIZE];

    if (length > limit) {
        return loader_fail(loader, STATUS_INVALID, fields[FIELD_CMDLINE_SIZE].offset,
                           "the command line has %" PRIu64 " characters and this kernel takes %" PRIu64 ": shorten it",
                           length, limit);
    }
    return STATUS_OK;
}

static enum status read_header(struct loader *loader, struct linux_header *header)
{
    enum status status = read_fields(loader, header);

    if (status == STATUS_OK) {
        status = measure(loader, header);
    }
    header->entry_64 = (header->field[FIELD_XLOADFLAGS] & LINUX_XLF_KERNEL_64) != 0;
    if (status == STATUS_OK) {
        status = check_header(loader, header);
    }
    return status == STATUS_OK ? check_cmdline(loader, header) : status;
}

/* ---- Placement ---- */

/*
 * At its preferred address, even when it is relocatable: a guest's RAM has no hole above 1 MiB, so where that address
 * does not fit, no higher one does, and the decompressor moves a kernel that was put lower back up. [address,
 * address + init_size) is what it needs until it reads the memory map.
 */
static enum status place_kernel(struct loader *loader, const struct linux_header *header, uint64_t *load)
{
    uint64_t preferred = header->field[FIELD_PREF_ADDRESS];
    uint64_t bytes = max_u64(header->field[FIELD_INIT_SIZE], header->kernel_bytes);
    enum status status;

    *load = preferred != 0 ? preferred : header->field[FIELD_CODE32_START];
    status = plan_require_ram(loader, "the Linux kernel", fields[FIELD_INIT_SIZE].offset, *load, bytes);
    if (status == STATUS_OK) {
        status = plan_copy(loader, "the Linux kernel", header->kernel_offset,
                           (struct load_copy){gpa(*load), loader->request->kernel.base + header->kernel_offset,
                                              header->kernel_bytes, header->kernel_bytes});
    }
    if (status == STATUS_OK) {
        plan_reserve(loader, *load, bytes);
    }
    return status;
}

/* Several archives follow each other; the kernel's unpacker wants each at a multiple of 4. */
static uint64_t initrd_bytes(const struct load_request *request)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < request->module_count; i++) {
        total = align_up(total, 4) + request->modules[i].bytes.bytes;
    }
    return total;
}

/* With the 64-bit entry only: the 32-bit one has no way to say where it is. */
static bool takes_initrd_above_4g(const struct linux_header *header)
{
    return header->entry_64 && (header->field[FIELD_XLOADFLAGS] & LINUX_XLF_ABOVE_4G) != 0;
}

static enum status fail_initrd(struct loader *loader, uint64_t bytes, uint64_t high, bool above)
{
    uint64_t low = align_up(plan_occupied_end(loader), PAGE_BYTES);
    bool fits_low = low < high && bytes <= high - low;
    /* The boot information may stand at the end. */
    uint64_t wanted = fits_low ? low + bytes + LOADER_BLOB_BYTES : GUEST_RAM_LOW_MAX + bytes;
    char size[FORMAT_BYTES_MAX];

    format_bytes(size, bytes);
    if (!fits_low && !above) {
        return loader_fail(loader, STATUS_NO_MEMORY, fields[FIELD_INITRD_ADDR_MAX].offset,
                           "the initrd (%s) does not fit between the kernel and 0x%" PRIx64
                           ", and this kernel takes it no higher: make it smaller, or take a newer 64-bit kernel",
                           size, high);
    }
    return loader_fail(loader, STATUS_NO_MEMORY, PLAN_NOT_IN_FILE,
                       "the initrd (%s) does not fit beside the kernel: write memory = %uM or more", size,
                       (unsigned)(align_up(wanted, MIB) / MIB));
}

/*
 * As high as the kernel allows, so that it does not stand in the way of the decompressor. Kernels that say so take it
 * anywhere, above 4 GiB too; that is for what does not fit where all of them take it.
 */
static bool find_initrd(const struct loader *loader, uint64_t bytes, uint64_t high, bool above, uint64_t *address)
{
    return plan_find(loader, bytes, PAGE_BYTES, GUEST_LEGACY_END, high, PLAN_HIGHEST, address) ||
           (above && plan_find(loader, bytes, PAGE_BYTES, GUEST_LEGACY_END, UINT64_MAX, PLAN_HIGHEST, address));
}

static enum status place_initrd(struct loader *loader, const struct linux_header *header, uint64_t *address,
                                uint64_t *bytes)
{
    const struct load_request *request = loader->request;
    uint64_t high = min_u64(header->field[FIELD_INITRD_ADDR_MAX] + 1, GUEST_RAM_LOW_MAX);
    bool above = takes_initrd_above_4g(header);
    enum status status = STATUS_OK;
    uint64_t at;

    *bytes = initrd_bytes(request);
    if (*bytes == 0) {
        return STATUS_OK;
    }
    if (!find_initrd(loader, *bytes, high, above, address)) {
        return fail_initrd(loader, *bytes, high, above);
    }
    at = *address;
    for (uint32_t i = 0; status == STATUS_OK && i < request->module_count; i++) {
        struct span module = request->modules[i].bytes;

        at = align_up(at, 4);
        if (module.bytes != 0) {
            status = plan_copy(loader, "the initrd", PLAN_NOT_IN_FILE,
                               (struct load_copy){gpa(at), module.base, module.bytes, module.bytes});
        }
        at += module.bytes;
    }
    return status;
}

/* ---- The zero page ---- */

static void put_u32(uint8_t *page, uint32_t offset, uint64_t value)
{
    uint32_t word = (uint32_t)value;

    memcpy(page + offset, &word, sizeof(word));
}

static void put_e820(uint8_t *page, const struct guest_layout *layout)
{
    page[ZERO_PAGE_E820_COUNT] = (uint8_t)layout->e820_count;
    for (uint32_t i = 0; i < layout->e820_count; i++) {
        uint8_t *entry = page + ZERO_PAGE_E820_TABLE + i * ZERO_PAGE_E820_ENTRY_BYTES;

        memcpy(entry, &layout->e820[i].start, 8);
        memcpy(entry + 8, &layout->e820[i].bytes, 8);
        memcpy(entry + 16, &layout->e820[i].type, 4);
    }
}

/* struct screen_info at the start of the page. Linux 6.1, include/uapi/linux/screen_info.h: a linear framebuffer that
 * is no VGA's, as a kernel finds it that EFI has started. */
#define SCREEN_TYPE 0x0fu
#define SCREEN_TYPE_EFI 0x70u
#define SCREEN_WIDTH 0x12u
#define SCREEN_HEIGHT 0x14u
#define SCREEN_DEPTH 0x16u
#define SCREEN_BASE 0x18u
#define SCREEN_BYTES 0x1cu
#define SCREEN_PITCH 0x24u
#define SCREEN_COLOURS 0x26u /* size and position of red, green, blue and what is reserved */

static void put_u16(uint8_t *page, uint32_t offset, uint32_t value)
{
    page[offset] = (uint8_t)value;
    page[offset + 1] = (uint8_t)(value >> 8);
}

static void put_screen(uint8_t *page, const struct load_screen *screen)
{
    const struct load_colour colours[] = {screen->red, screen->green, screen->blue, screen->reserved};

    if (screen->width == 0) {
        return;
    }
    page[SCREEN_TYPE] = SCREEN_TYPE_EFI;
    put_u16(page, SCREEN_WIDTH, screen->width);
    put_u16(page, SCREEN_HEIGHT, screen->height);
    put_u16(page, SCREEN_DEPTH, screen->bits);
    put_u32(page, SCREEN_BASE, screen->address.value);
    put_u32(page, SCREEN_BYTES, (uint64_t)screen->pitch_bytes * screen->height);
    put_u16(page, SCREEN_PITCH, screen->pitch_bytes);
    for (uint32_t i = 0; i < ARRAY_COUNT(colours); i++) {
        page[SCREEN_COLOURS + 2 * i] = colours[i].bits;
        page[SCREEN_COLOURS + 2 * i + 1] = colours[i].position;
    }
}

/* From the file; for an ELF file from the fields. */
static void put_header(struct loader *loader, const struct linux_header *header, uint8_t *page)
{
    if (header->header_end != 0) {
        span_copy(loader->request->kernel, LINUX_HEADER_START, page + LINUX_HEADER_START,
                  (size_t)(header->header_end - LINUX_HEADER_START));
        return;
    }
    for (uint32_t i = 0; i < FIELD_COUNT; i++) {
        memcpy(page + fields[i].offset, &header->field[i], fields[i].bytes);
    }
}

static enum status put_zero_page(struct loader *loader, const struct linux_header *header, uint64_t load,
                                 uint64_t initrd, uint64_t initrd_size)
{
    const struct load_request *request = loader->request;
    uint64_t address = 0, cmdline = 0;
    void *memory = NULL;
    enum status status = plan_blob_take(loader, ZERO_PAGE_BYTES, PAGE_BYTES, &memory, &address);
    uint8_t *page = memory;

    if (status == STATUS_OK) {
        status = plan_blob_string(loader, request->cmdline, &cmdline);
    }
    if (status != STATUS_OK) {
        return status;
    }
    put_header(loader, header, page);
    page[ZERO_PAGE_TYPE_OF_LOADER] = LINUX_LOADER_UNDEFINED;
    put_u32(page, ZERO_PAGE_CODE32_START, load);
    put_u32(page, ZERO_PAGE_RAMDISK_IMAGE, initrd);
    put_u32(page, ZERO_PAGE_RAMDISK_SIZE, initrd_size);
    put_u32(page, ZERO_PAGE_EXT_RAMDISK_IMAGE, initrd >> 32);
    put_u32(page, ZERO_PAGE_EXT_RAMDISK_SIZE, initrd_size >> 32);
    put_u32(page, ZERO_PAGE_CMD_LINE_PTR, cmdline);
    memcpy(page + ZERO_PAGE_ACPI_RSDP, &request->rsdp.value, sizeof(request->rsdp.value));
    put_e820(page, &request->layout);
    put_screen(page, &request->screen);
    loader->plan->entry.gpr[ENTRY_RSI] = address;
    return STATUS_OK;
}

static enum status plan_entry(struct loader *loader, const struct linux_header *header, uint64_t entry)
{
    return header->entry_64 ? plan_enter_long(loader, entry, LINUX_CODE_SELECTOR)
                            : plan_enter_protected(loader, entry, LINUX_CODE_SELECTOR);
}

/* "6.1.0-18-cloud-amd64", the first word of the kernel's own text; empty where there is none. */
static void version_text(struct span file, const struct linux_header *header, char text[LINUX_VERSION_TEXT_MAX])
{
    uint64_t at = header->field[FIELD_KERNEL_VERSION] + LINUX_SECTOR;
    uint32_t length = 0;
    uint8_t character = 0;

    while (header->field[FIELD_KERNEL_VERSION] != 0 && length < LINUX_VERSION_TEXT_MAX - 1 &&
           span_read_u8(file, at + length, &character) && character > ' ' && character < 0x7f) {
        text[length++] = (char)character;
    }
    text[length] = '\0';
}

static void describe(struct loader *loader, const struct linux_header *header)
{
    struct load_plan *plan = loader->plan;
    char version[LINUX_VERSION_TEXT_MAX];
    unsigned protocol = (unsigned)header->field[FIELD_VERSION];

    version_text(loader->request->kernel, header, version);
    plan->image_is_32bit = !header->entry_64;
    format_text(plan->description, sizeof(plan->description), "Linux%s%s, boot protocol %u.%u, %s entry",
                version[0] != '\0' ? " " : "", version, protocol >> 8, protocol & 0xffu,
                header->entry_64 ? "64-bit" : "32-bit");
}

static enum status open_bzimage(struct loader *loader, struct linux_header *header, uint64_t *load, uint64_t *entry)
{
    enum status status = read_header(loader, header);

    if (status == STATUS_OK) {
        describe(loader, header);
        status = place_kernel(loader, header, load);
    }
    *entry = *load + (header->entry_64 ? LINUX_ENTRY_64_OFFSET : 0);
    return status;
}

/* The header's size of the command line has its final zero in it, as Firecracker's has. */
static enum status open_elf(struct loader *loader, struct linux_header *header, uint64_t *load, uint64_t *entry)
{
    struct load_plan *plan = loader->plan;
    struct elf_image image;
    uint64_t end;
    enum status status = elf_load(loader, &image, entry);

    if (status != STATUS_OK || !elf_extent(&image, load, &end)) {
        return status;
    }
    *header = (struct linux_header){.entry_64 = image.is_64};
    header->field[FIELD_BOOT_FLAG] = LINUX_BOOT_FLAG;
    header->field[FIELD_MAGIC] = LINUX_MAGIC;
    header->field[FIELD_VERSION] = LINUX_VERSION_ELF;
    header->field[FIELD_LOADFLAGS] = LINUX_LOADED_HIGH;
    header->field[FIELD_INITRD_ADDR_MAX] = INT32_MAX;
    header->field[FIELD_KERNEL_ALIGNMENT] = LINUX_ALIGNMENT_ELF;
    header->field[FIELD_CMDLINE_SIZE] = loader->request->cmdline.length + 1;
    header->field[FIELD_PREF_ADDRESS] = *load;
    plan->image_is_32bit = !image.is_64;
    format_text(plan->description, sizeof(plan->description), "Linux's boot protocol in %s, entry at 0x%" PRIx64,
                image.is_64 ? "ELF64" : "ELF32", *entry);
    return STATUS_OK;
}

enum status linux_plan(struct loader *loader)
{
    struct linux_header header = {0};
    uint64_t load = 0, entry = 0, initrd = 0, initrd_size = 0;
    enum status status = elf_recognize(loader->request->kernel) ? open_elf(loader, &header, &load, &entry)
                                                                : open_bzimage(loader, &header, &load, &entry);

    if (status == STATUS_OK) {
        status = place_initrd(loader, &header, &initrd, &initrd_size);
    }
    if (status == STATUS_OK) {
        status = plan_blob_open(loader, PLAN_BLOB_LINUX_END);
    }
    if (status == STATUS_OK) {
        status = plan_entry(loader, &header, entry);
    }
    if (status == STATUS_OK) {
        status = put_zero_page(loader, &header, load, initrd, initrd_size);
    }
    if (status == STATUS_OK) {
        status = plan_blob_close(loader);
    }
    return status;
}
