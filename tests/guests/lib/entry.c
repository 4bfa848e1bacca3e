/* SPDX-License-Identifier: MIT */
/* Checks of entry states; lib/entry.h. */
#include "tests/guests/lib/entry.h"
#include "tests/guests/lib/start_info.h"

#define PAGE_BYTES 4096u
#define A20_LOW 0x500u
#define A20_HIGH (A20_LOW + 0x100000u)

void entry_dump(void)
{
    const struct entry_state *s = &entry_state;

    print("%u-bit entry: ax %q bx %q cx %q dx %q si %q di %q bp %q sp %q\n", s->bits, s->ax, s->bx, s->cx, s->dx, s->si,
          s->di, s->bp, s->sp);
    print("  flags %q cr0 %q cr3 %q cr4 %q efer %q\n", s->flags, s->cr0, s->cr3, s->cr4, s->efer);
    print("  cs %x ds %x es %x fs %x gs %x ss %x tr %x ldtr %x\n", s->cs, s->ds, s->es, s->fs, s->gs, s->ss, s->tr,
          s->ldtr);
    print("  gdt %q limit %x, idt %q limit %x\n", s->gdtr.base, s->gdtr.limit, s->idtr.base, s->idtr.limit);
}

static void check_flags(void)
{
    CHECK_EQUAL(entry_state.flags & (FLAGS_IF | FLAGS_TF | FLAGS_DF | FLAGS_VM), 0);
}

/* With A20 off the two addresses are the same byte. This code lies at the upper one, so only the lower is written. */
static void check_a20(void)
{
    volatile uint32_t *low = (volatile uint32_t *)A20_LOW;
    volatile uint32_t *high = (volatile uint32_t *)A20_HIGH;
    uint32_t kept = *low, before = *high;

    *low = ~before;
    CHECK_EQUAL(*high, before);
    *low = kept;
}

void entry_check_protected(void)
{
    CHECK_EQUAL(entry_state.bits, 32);
    CHECK_EQUAL(entry_state.cr0 & CR0_PE, CR0_PE);
    CHECK_EQUAL(entry_state.cr0 & CR0_PG, 0);
    check_flags();
    check_a20();
}

void entry_check_long(void)
{
    CHECK_EQUAL(entry_state.bits, 64);
    CHECK_EQUAL(entry_state.cr0 & (CR0_PE | CR0_PG), CR0_PE | CR0_PG);
    CHECK_EQUAL(entry_state.cr4 & CR4_PAE, CR4_PAE);
    CHECK_EQUAL(entry_state.efer & EFER_LMA, EFER_LMA);
    check_flags();
    check_a20();
    /* The last page below 4 GiB is mapped: nothing is there, so any value will do, but no page fault. */
    (void)mmio_read32(0xfffff000u);
}

static void check_descriptor(uint16_t selector, bool code)
{
    const uint64_t *gdt = (const uint64_t *)(uintptr_t)entry_state.gdtr.base;
    uint64_t descriptor = gdt[selector >> 3];

    CHECK_EQUAL(descriptor & 0xff0000ffffff0000ULL, 0);                     /* base */
    CHECK_EQUAL(descriptor & 0x000f00000000ffffULL, 0x000f00000000ffffULL); /* limit */
    CHECK_EQUAL((descriptor >> 44) & 0xb, 0x9); /* present, code or data; DPL's low bit clear */
    CHECK_EQUAL((descriptor >> 43) & 1, code);  /* executable */
    CHECK_EQUAL((descriptor >> 41) & 1, 1);     /* readable or writable */
    if (code) {
        CHECK_EQUAL((descriptor >> 53) & 3, entry_state.bits == 64 ? 1 : 2); /* D and L */
    }
}

void entry_check_gdt(bool required)
{
    if (entry_state.gdtr.limit < (entry_state.cs | 7u) || entry_state.gdtr.limit < (entry_state.ds | 7u)) {
        CHECK(!required);
        return;
    }
    check_descriptor(entry_state.cs, true);
    check_descriptor(entry_state.ds, false);
    CHECK_EQUAL(entry_state.ds, entry_state.es);
    CHECK_EQUAL(entry_state.ds, entry_state.ss);
}

static uint32_t length_of(const char *text)
{
    uint32_t length = 0;

    while (text[length] != '\0') {
        length++;
    }
    return length;
}

void entry_check_text(const char *what, const char *text, const char *end)
{
    uint32_t length = length_of(text), wanted = length_of(end);

    print("  %s: \"%s\"\n", what, text);
    CHECK(length >= wanted);
    for (uint32_t i = 0; i < wanted; i++) {
        CHECK_EQUAL(text[length - wanted + i], end[i]);
    }
    CHECK(length == wanted || text[length - wanted - 1] == ' ');
}

void entry_check_module(uint64_t start, uint64_t bytes)
{
    const char *text = (const char *)(uintptr_t)start;

    CHECK_EQUAL(start % PAGE_BYTES, 0);
    CHECK_EQUAL(bytes, sizeof(ENTRY_MODULE_TEXT) - 1);
    for (uint32_t i = 0; i < sizeof(ENTRY_MODULE_TEXT) - 1; i++) {
        CHECK_EQUAL(text[i], ENTRY_MODULE_TEXT[i]);
    }
}

void entry_check_rsdp(uint64_t address)
{
    static const char signature[] = "RSD PTR ";
    const char *rsdp = (const char *)(uintptr_t)address;

    for (uint32_t i = 0; i < sizeof(signature) - 1; i++) {
        CHECK_EQUAL(rsdp[i], signature[i]);
    }
}

void entry_check_place(const char *what, uint64_t address)
{
    print("  %s at 0x%q\n", what, address);
    CHECK(address >= PAGE_BYTES);
}

#define MAP_RAM 1u
#define MAP_RESERVED 2u
#define EBDA_LAST 0x9fffeULL
#define DISPLAY_START 0xa0000ULL
#define ROMS_END 0xe0000ULL
#define BIOS_LAST 0xffff0ULL

static struct {
    uint64_t end;
    uint32_t entries;
    bool code_in_ram, ebda_reserved, bios_reserved;
} map_seen;

static bool covers(uint64_t start, uint64_t bytes, uint64_t address)
{
    return address >= start && address - start < bytes;
}

void entry_check_memory(uint64_t start, uint64_t bytes, uint32_t type)
{
    print("  memory 0x%q + 0x%q type %u\n", start, bytes, type);
    CHECK(bytes != 0 && start >= map_seen.end);
    CHECK(start >= ROMS_END || start + bytes <= DISPLAY_START);
    map_seen.end = start + bytes;
    map_seen.entries++;
    map_seen.code_in_ram =
        map_seen.code_in_ram || (type == MAP_RAM && covers(start, bytes, (uint64_t)(uintptr_t)&entry_state));
    map_seen.ebda_reserved = map_seen.ebda_reserved || (type == MAP_RESERVED && covers(start, bytes, EBDA_LAST));
    map_seen.bios_reserved = map_seen.bios_reserved || (type == MAP_RESERVED && covers(start, bytes, BIOS_LAST));
}

void entry_check_memory_end(void)
{
    CHECK(map_seen.entries >= 4);
    CHECK(map_seen.code_in_ram && map_seen.ebda_reserved && map_seen.bios_reserved);
}

static void check_memory_map(const struct start_info *info)
{
    for (uint32_t i = 0; i < info->memory_map_count; i++) {
        const struct start_info_memory *entry = &start_info_memory(info)[i];

        entry_check_memory(entry->address, entry->bytes, entry->type);
    }
    entry_check_memory_end();
}

void entry_check_start_info(uint64_t address, const char *cmdline_end)
{
    const struct start_info *info = (const struct start_info *)(uintptr_t)address;

    entry_check_place("start information", address);
    CHECK_EQUAL(info->magic, START_INFO_MAGIC);
    CHECK(info->version >= 1);
    CHECK_EQUAL(info->flags, 0);
    check_memory_map(info);
    entry_check_text("command line", start_info_cmdline(info), cmdline_end);
    CHECK_EQUAL(info->module_count, 1);
    entry_check_module(start_info_modules(info)->address, start_info_modules(info)->bytes);
    entry_check_rsdp(info->rsdp);
}
