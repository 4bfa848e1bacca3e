/* SPDX-License-Identifier: MIT */
/*
 * Multiboot 2. Multiboot2 Specification 2.0, chapter 3: "The specification".
 *
 * The header, within the first 32 KiB, is a list of tags, and so is the boot information. Entered in flat 32-bit
 * protected mode with eax = 0x36d76289 and ebx = boot information. A kernel that asks for a console or a framebuffer is
 * told of the text display. Tags about EFI ask for what a guest's PC does not have: they are passed over, as on a PC
 * without it.
 */
#include "guest-loader/elf_image.h"
#include "guest-loader/foreign.h"
#include "guest-loader/multiboot_common.h"
#include "guest-loader/protocols.h"
#include "hv/base/format.h"
#include "hv/base/memory.h"

#define MULTIBOOT2_SEARCH_BYTES 32768u
#define MULTIBOOT2_MAGIC 0xe85250d6u
#define MULTIBOOT2_LOADER_MAGIC 0x36d76289u
#define MULTIBOOT2_ARCHITECTURE_I386 0u
#define MULTIBOOT2_HEADER_BYTES 16u
#define MULTIBOOT2_TAG_BYTES 8u
#define MULTIBOOT2_TAG_OPTIONAL 1u

/* Section 3.1 "OS image format": tags of the header. */
enum header_tag {
    HEADER_TAG_END = 0,
    HEADER_TAG_REQUEST = 1,
    HEADER_TAG_ADDRESS = 2,
    HEADER_TAG_ENTRY = 3,
    HEADER_TAG_CONSOLE = 4,
    HEADER_TAG_FRAMEBUFFER = 5,
    HEADER_TAG_MODULE_ALIGN = 6,
    HEADER_TAG_EFI_BOOT_SERVICES = 7,
    HEADER_TAG_ENTRY_EFI32 = 8,
    HEADER_TAG_ENTRY_EFI64 = 9,
    HEADER_TAG_RELOCATABLE = 10,
};

/* Section 3.6 "Boot information format": types of tags. */
enum info_tag {
    INFO_TAG_END = 0,
    INFO_TAG_CMDLINE = 1,
    INFO_TAG_LOADER_NAME = 2,
    INFO_TAG_MODULE = 3,
    INFO_TAG_MEMORY = 4,
    INFO_TAG_MEMORY_MAP = 6,
    INFO_TAG_FRAMEBUFFER = 8,
    INFO_TAG_ELF_SECTIONS = 9,
    INFO_TAG_RSDP_OLD = 14,
    INFO_TAG_RSDP_NEW = 15,
    INFO_TAG_LOAD_BASE = 21,
};

/* Requested types up to this one exist in the specification; what is absent here is absent on such a PC. */
#define INFO_TAG_KNOWN_MAX 21u
#define RSDP_OLD_BYTES 20u
/* ACPI 6.5, 5.2.5.3, table 5.3 "RSDP Structure". */
#define RSDP_NEW_BYTES 36u
#define RSDP_REVISION 15u

struct multiboot2_header {
    uint64_t offset;
    uint64_t bytes;
    bool has_addresses, has_entry, relocatable, wants_display;
    struct load_addresses addresses;
    uint32_t entry;
    uint32_t minimum, maximum, alignment, preference; /* of a relocatable image */
};

struct info_memory_map_entry {
    uint64_t start;
    uint64_t bytes;
    uint32_t type;
    uint32_t reserved;
};
_Static_assert(sizeof(struct info_memory_map_entry) == 24, "section 3.6.8");

/* ---- The header ---- */

static bool find_header(struct span kernel, uint64_t *offset, uint32_t words[4])
{
    struct span search = span_part(kernel, 0, min_u64(kernel.bytes, MULTIBOOT2_SEARCH_BYTES));

    for (uint64_t at = 0; span_copy(search, at, words, 16); at += 8) {
        if (words[0] == MULTIBOOT2_MAGIC && words[0] + words[1] + words[2] + words[3] == 0) {
            *offset = at;
            return true;
        }
    }
    return false;
}

bool multiboot2_recognize(struct span kernel)
{
    uint64_t offset;
    uint32_t words[4];

    return find_header(kernel, &offset, words);
}

static enum status open_header(struct loader *loader, struct multiboot2_header *header)
{
    struct span kernel = loader->request->kernel;
    uint32_t words[4] = {0};

    if (!find_header(kernel, &header->offset, words)) {
        return foreign_fail(loader,
                            "no multiboot2 header in the first 32 KiB (magic 0xe85250d6, 8-aligned, checksum 0)",
                            "is there: try protocol = auto");
    }
    if (words[1] != MULTIBOOT2_ARCHITECTURE_I386) {
        return loader_fail(loader, STATUS_UNSUPPORTED, header->offset + 4,
                           "multiboot2: architecture %u is not 0 (i386): this is no x86 kernel", words[1]);
    }
    header->bytes = words[2];
    if (header->bytes < MULTIBOOT2_HEADER_BYTES || !span_holds(kernel, header->offset, header->bytes)) {
        return loader_fail(loader, STATUS_MALFORMED, header->offset + 8,
                           "multiboot2: a header of 0x%" PRIx64 " bytes does not fit the file", header->bytes);
    }
    header->addresses.header_offset = header->offset;
    return STATUS_OK;
}

/* Section 3.1.4 "Multiboot2 information request header tag". */
static enum status check_request(struct loader *loader, struct span tag, uint64_t offset, bool optional)
{
    uint32_t type;

    for (uint64_t at = MULTIBOOT2_TAG_BYTES; span_read_u32(tag, at, &type); at += 4) {
        if (type > INFO_TAG_KNOWN_MAX && !optional) {
            return loader_fail(
                loader, STATUS_UNSUPPORTED, offset + at,
                "multiboot2: the kernel requires boot information of type %u, which the specification has not", type);
        }
    }
    return STATUS_OK;
}

/* The tag's words after its head; false where it is too short. */
static bool tag_words(struct span tag, uint32_t *words, uint32_t count)
{
    return span_copy(tag, MULTIBOOT2_TAG_BYTES, words, count * sizeof(uint32_t));
}

/* Section 3.1.5 "The address tag of Multiboot2 header": a load address of -1 is the file's beginning. */
static bool read_addresses(struct span tag, struct multiboot2_header *header)
{
    uint32_t words[4];

    header->has_addresses = tag_words(tag, words, 4);
    if (header->has_addresses) {
        header->addresses.header = words[0];
        header->addresses.load = words[1] == UINT32_MAX ? words[0] - (uint32_t)header->offset : words[1];
        header->addresses.load_end = words[2];
        header->addresses.bss_end = words[3];
    }
    return header->has_addresses;
}

static bool read_relocatable(struct span tag, struct multiboot2_header *header)
{
    uint32_t words[4];

    header->relocatable = tag_words(tag, words, 4);
    if (header->relocatable) {
        header->minimum = words[0];
        header->maximum = words[1];
        header->alignment = words[2];
        header->preference = words[3];
    }
    return header->relocatable;
}

static enum status read_tag(struct loader *loader, struct multiboot2_header *header, struct span tag, uint64_t offset)
{
    uint16_t type = 0, flags = 0;
    bool optional, whole = true;

    span_read_u16(tag, 0, &type);
    span_read_u16(tag, 2, &flags);
    optional = (flags & MULTIBOOT2_TAG_OPTIONAL) != 0;
    switch ((enum header_tag)type) {
    case HEADER_TAG_REQUEST:
        return check_request(loader, tag, offset, optional);
    case HEADER_TAG_ADDRESS:
        whole = read_addresses(tag, header);
        break;
    case HEADER_TAG_ENTRY:
        whole = header->has_entry = tag_words(tag, &header->entry, 1);
        break;
    case HEADER_TAG_RELOCATABLE:
        whole = read_relocatable(tag, header);
        break;
    case HEADER_TAG_CONSOLE:
    case HEADER_TAG_FRAMEBUFFER:
        header->wants_display = true;
        break;
    case HEADER_TAG_END:
    case HEADER_TAG_MODULE_ALIGN:
    case HEADER_TAG_EFI_BOOT_SERVICES:
    case HEADER_TAG_ENTRY_EFI32:
    case HEADER_TAG_ENTRY_EFI64:
        break;
    }
    if (type > HEADER_TAG_RELOCATABLE && !optional) {
        return loader_fail(loader, STATUS_UNSUPPORTED, offset,
                           "multiboot2: the header requires tag %u, which the specification has not: mark it optional",
                           type);
    }
    if (!whole) {
        return loader_fail(loader, STATUS_MALFORMED, offset, "multiboot2: header tag %u is too short", type);
    }
    return STATUS_OK;
}

/* Each tag has at least 8 bytes, so the loop ends with the header. The end tag is known by its type alone, whatever
 * size it has, and a list without one ends with the header. */
static enum status read_tags(struct loader *loader, struct multiboot2_header *header)
{
    struct span kernel = loader->request->kernel;
    uint64_t at = header->offset + MULTIBOOT2_HEADER_BYTES, end = header->offset + header->bytes;

    while (end - at >= MULTIBOOT2_TAG_BYTES) {
        uint16_t type = 0;
        uint32_t bytes = 0;
        enum status status;

        span_read_u16(kernel, at, &type);
        span_read_u32(kernel, at + 4, &bytes);
        if (type == HEADER_TAG_END) {
            return STATUS_OK;
        }
        if (bytes < MULTIBOOT2_TAG_BYTES || bytes > end - at) {
            return loader_fail(loader, STATUS_MALFORMED, at + 4,
                               "multiboot2: header tag %u has %u bytes, which do not fit the header", type, bytes);
        }
        status = read_tag(loader, header, span_part(kernel, at, bytes), at);
        if (status != STATUS_OK) {
            return status;
        }
        at = min_u64(align_up(at + bytes, 8), end);
    }
    return STATUS_OK;
}

/* ---- The image ---- */

/* Section 3.1.12 "Relocatable header tag": preference 1 is the lowest address, 2 the highest, 0 none: its own. */
static enum status choose_base(struct loader *loader, const struct multiboot2_header *header, uint64_t low,
                               uint64_t high, uint64_t *base)
{
    uint64_t alignment = max_u64(header->alignment, 1);
    enum plan_end end = header->preference == 2 ? PLAN_HIGHEST : PLAN_LOWEST;
    uint64_t limit = (uint64_t)header->maximum + 1;

    if (!is_power_of_two(alignment)) {
        return loader_fail(loader, STATUS_MALFORMED, header->offset,
                           "multiboot2: the relocatable tag's alignment %" PRIu64 " is not a power of two", alignment);
    }
    *base = low;
    if (header->preference == 0 && low >= header->minimum && high <= limit &&
        guest_layout_usable(&loader->request->layout, gpa(low), high - low)) {
        return STATUS_OK;
    }
    if (plan_find(loader, high - low, alignment, max_u64(header->minimum, PLAN_LOWEST_FREE), limit, end, base)) {
        return STATUS_OK;
    }
    return loader_fail(loader, STATUS_NO_MEMORY, header->offset,
                       "multiboot2: no room for the kernel's 0x%" PRIx64 " bytes within 0x%x..0x%x: %s", high - low,
                       header->minimum, header->maximum,
                       limit > loader->request->layout.low_bytes ? "give the guest more memory"
                                                                 : "widen the range in the relocatable tag");
}

static enum status place_elf(struct loader *loader, const struct multiboot2_header *header, struct elf_image *image,
                             uint64_t *entry, uint64_t *base)
{
    uint64_t low = 0, high = 0;
    enum status status = elf_open(loader, image);

    if (status != STATUS_OK) {
        return status;
    }
    if (elf_extent(image, &low, &high)) {
        *base = low;
        status = header->relocatable ? choose_base(loader, header, low, high, base) : STATUS_OK;
    }
    if (status == STATUS_OK) {
        status = elf_place(loader, image, *base - low);
    }
    if (status == STATUS_OK && header->has_entry) {
        *entry = header->entry;
        if (!elf_holds_physical(image, *entry)) {
            return loader_fail(loader, STATUS_MALFORMED, header->offset,
                               "multiboot2: the entry tag's address 0x%" PRIx64 " lies in no loaded segment", *entry);
        }
    } else if (status == STATUS_OK) {
        status = elf_entry(loader, image, entry);
    }
    *entry += *base - low;
    return status;
}

static enum status place_kernel(struct loader *loader, const struct multiboot2_header *header, struct elf_image *image,
                                uint64_t *entry, uint64_t *base)
{
    *image = (struct elf_image){0};
    if (!header->has_addresses) {
        return place_elf(loader, header, image, entry, base);
    }
    if (!header->has_entry) {
        return loader_fail(loader, STATUS_MALFORMED, header->offset,
                           "multiboot2: an address tag needs an entry address tag, too");
    }
    *entry = header->entry;
    *base = header->addresses.load;
    return multiboot_place_addresses(loader, &header->addresses, *entry);
}

/* ---- Boot information: tags, one after the other, each 8-aligned ---- */

/* A tag with room for `bytes` after its head; *body is that room. */
static enum status put_tag(struct loader *loader, enum info_tag type, uint64_t bytes, void **body)
{
    void *memory = NULL;
    uint64_t address;
    enum status status = plan_blob_take(loader, MULTIBOOT2_TAG_BYTES + bytes, 8, &memory, &address);
    uint32_t *tag = memory;

    if (status != STATUS_OK) {
        return status;
    }
    tag[0] = (uint32_t)type;
    tag[1] = (uint32_t)(MULTIBOOT2_TAG_BYTES + bytes);
    *body = tag + 2;
    return STATUS_OK;
}

static enum status put_words(struct loader *loader, enum info_tag type, const uint32_t *words, uint32_t count)
{
    void *body = NULL;
    enum status status = put_tag(loader, type, count * sizeof(uint32_t), &body);

    if (status == STATUS_OK) {
        memcpy(body, words, count * sizeof(uint32_t));
    }
    return status;
}

static enum status put_string(struct loader *loader, enum info_tag type, struct text text)
{
    void *body = NULL;
    enum status status = put_tag(loader, type, text.length + 1, &body);

    if (status == STATUS_OK) {
        text_copy(text, body, text.length + 1);
    }
    return status;
}

/* "name arguments", as in multiboot 1: kernels that know both versions skip the first word in both. */
static enum status put_cmdline(struct loader *loader)
{
    struct text name = loader->request->name, cmdline = loader->request->cmdline;
    uint64_t between = name.length != 0 && cmdline.length != 0 ? 1 : 0;
    void *body = NULL;
    enum status status = put_tag(loader, INFO_TAG_CMDLINE, name.length + between + cmdline.length + 1, &body);
    char *to = body;

    if (status == STATUS_OK) {
        to += text_copy(name, to, name.length + 1);
        memset(to, ' ', (size_t)between);
        text_copy(cmdline, to + between, cmdline.length + 1);
    }
    return status;
}

static enum status put_modules(struct loader *loader)
{
    const struct load_request *request = loader->request;

    for (uint32_t i = 0; i < request->module_count; i++) {
        struct text arguments = request->modules[i].arguments;
        void *body = NULL;
        uint32_t *words;
        enum status status = put_tag(loader, INFO_TAG_MODULE, 8 + arguments.length + 1, &body);

        if (status != STATUS_OK) {
            return status;
        }
        words = body;
        words[0] = (uint32_t)loader->module_addresses[i];
        words[1] = (uint32_t)(loader->module_addresses[i] + request->modules[i].bytes.bytes);
        text_copy(arguments, (char *)(words + 2), arguments.length + 1);
    }
    return STATUS_OK;
}

static enum status put_memory(struct loader *loader)
{
    const struct guest_layout *layout = &loader->request->layout;
    uint32_t sizes[2] = {plan_memory_lower_kib(loader), plan_memory_upper_kib(loader)};
    struct info_memory_map_entry *entries;
    void *body = NULL;
    uint32_t *words;
    enum status status = put_words(loader, INFO_TAG_MEMORY, sizes, 2);

    if (status == STATUS_OK) {
        status = put_tag(loader, INFO_TAG_MEMORY_MAP, 8 + layout->e820_count * sizeof(*entries), &body);
    }
    if (status != STATUS_OK) {
        return status;
    }
    words = body;
    words[0] = sizeof(*entries);
    words[1] = 0; /* entry version */
    entries = (struct info_memory_map_entry *)(words + 2);
    for (uint32_t i = 0; i < layout->e820_count; i++) {
        entries[i] =
            (struct info_memory_map_entry){layout->e820[i].start, layout->e820[i].bytes, layout->e820[i].type, 0};
    }
    return STATUS_OK;
}

/* The number of entries, their size, the index of the names, then the headers themselves. Section 3.6.7. */
static enum status put_sections(struct loader *loader, const struct elf_image *image,
                                const struct loose_sections *loose)
{
    uint64_t bytes = multiboot_section_bytes(image);
    void *body = NULL;
    uint32_t *words;
    enum status status;

    if (bytes == 0) {
        return STATUS_OK;
    }
    status = put_tag(loader, INFO_TAG_ELF_SECTIONS, 12 + bytes, &body);
    if (status != STATUS_OK) {
        return status;
    }
    words = body;
    words[0] = image->section_count;
    words[1] = image->section_bytes;
    words[2] = image->section_names;
    multiboot_copy_sections(image, loose, (uint8_t *)(words + 3));
    return STATUS_OK;
}

/* Section 3.6.12 "Framebuffer info". */
static enum status put_text_display(struct loader *loader)
{
    static const uint32_t words[] = {MULTIBOOT_TEXT_ADDRESS, 0,
                                     MULTIBOOT_TEXT_PITCH,   MULTIBOOT_TEXT_COLUMNS,
                                     MULTIBOOT_TEXT_ROWS,    MULTIBOOT_TEXT_BITS | MULTIBOOT_FRAMEBUFFER_TEXT << 8};

    return put_words(loader, INFO_TAG_FRAMEBUFFER, words, ARRAY_COUNT(words));
}

/* The guest has a screen of its own, whether it asks or not. */
static enum status put_screen(struct loader *loader, const struct load_screen *screen)
{
    const uint32_t words[] = {(uint32_t)screen->address.value,
                              (uint32_t)(screen->address.value >> 32),
                              screen->pitch_bytes,
                              screen->width,
                              screen->height,
                              screen->bits | MULTIBOOT_FRAMEBUFFER_RGB << 8};
    void *body = NULL;
    enum status status = put_tag(loader, INFO_TAG_FRAMEBUFFER, sizeof(words) + MULTIBOOT_COLOUR_BYTES, &body);

    if (status == STATUS_OK) {
        memcpy(body, words, sizeof(words));
        multiboot_put_colours(screen, (uint8_t *)body + sizeof(words));
    }
    return status;
}

/* A copy of the RSDP: the old part always, the whole where it has the new one. */
static enum status put_rsdp(struct loader *loader)
{
    struct span rsdp = loader->request->rsdp_bytes;
    uint8_t revision = 0;
    void *body = NULL;
    enum status status;

    if (!span_holds(rsdp, 0, RSDP_OLD_BYTES)) {
        return STATUS_OK;
    }
    status = put_tag(loader, INFO_TAG_RSDP_OLD, RSDP_OLD_BYTES, &body);
    if (status == STATUS_OK) {
        span_copy(rsdp, 0, body, RSDP_OLD_BYTES);
        span_read_u8(rsdp, RSDP_REVISION, &revision);
    }
    if (status != STATUS_OK || revision < 2 || !span_holds(rsdp, 0, RSDP_NEW_BYTES)) {
        return status;
    }
    status = put_tag(loader, INFO_TAG_RSDP_NEW, RSDP_NEW_BYTES, &body);
    if (status == STATUS_OK) {
        span_copy(rsdp, 0, body, RSDP_NEW_BYTES);
    }
    return status;
}

static enum status put_tags(struct loader *loader, const struct multiboot2_header *header,
                            const struct elf_image *image, const struct loose_sections *loose, uint64_t base)
{
    uint32_t load_base = (uint32_t)base;
    void *end = NULL;
    enum status status = put_cmdline(loader);

    if (status == STATUS_OK) {
        status = put_string(loader, INFO_TAG_LOADER_NAME, text_of(MULTIBOOT_LOADER_NAME));
    }
    if (status == STATUS_OK) {
        status = put_modules(loader);
    }
    if (status == STATUS_OK) {
        status = put_memory(loader);
    }
    if (status == STATUS_OK) {
        status = put_sections(loader, image, loose);
    }
    if (status == STATUS_OK && loader->request->screen.width != 0) {
        status = put_screen(loader, &loader->request->screen);
    } else if (status == STATUS_OK && header->wants_display) {
        status = put_text_display(loader);
    }
    if (status == STATUS_OK) {
        status = put_rsdp(loader);
    }
    if (status == STATUS_OK) {
        status = put_words(loader, INFO_TAG_LOAD_BASE, &load_base, 1);
    }
    return status == STATUS_OK ? put_tag(loader, INFO_TAG_END, 0, &end) : status;
}

/* The information starts with its whole size and a reserved word. */
static enum status put_info(struct loader *loader, const struct multiboot2_header *header,
                            const struct elf_image *image, const struct loose_sections *loose, uint64_t base)
{
    void *memory = NULL;
    uint64_t address = 0;
    enum status status = plan_blob_take(loader, 8, 8, &memory, &address);

    if (status == STATUS_OK) {
        status = put_tags(loader, header, image, loose, base);
    }
    if (status != STATUS_OK) {
        return status;
    }
    *(uint32_t *)memory = (uint32_t)(loader->blob_address + loader->plan->blob_used - address);
    loader->plan->entry.gpr[ENTRY_RBX] = address;
    loader->plan->entry.gpr[ENTRY_RAX] = MULTIBOOT2_LOADER_MAGIC;
    return STATUS_OK;
}

enum status multiboot2_plan(struct loader *loader)
{
    struct load_plan *plan = loader->plan;
    struct multiboot2_header header = {0};
    struct elf_image image;
    struct loose_sections loose;
    uint64_t entry = 0, base = 0;
    enum status status = open_header(loader, &header);

    if (status == STATUS_OK) {
        status = read_tags(loader, &header);
    }
    if (status == STATUS_OK) {
        status = place_kernel(loader, &header, &image, &entry, &base);
    }
    if (status == STATUS_OK) {
        status = multiboot_open(loader, &image, &loose);
    }
    if (status == STATUS_OK) {
        status = put_info(loader, &header, &image, &loose, base);
    }
    if (status == STATUS_OK) {
        status = plan_enter_protected(loader, entry, MULTIBOOT_CODE_SELECTOR);
    }
    if (status != STATUS_OK) {
        return status;
    }
    plan->image_is_32bit = !image.is_64;
    format_text(plan->description, sizeof(plan->description), "multiboot2, %s, 32-bit entry at 0x%" PRIx64,
                header.has_addresses ? "load addresses in its header" : (image.is_64 ? "ELF64" : "ELF32"), entry);
    return plan_blob_close(loader);
}
