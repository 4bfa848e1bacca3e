/* SPDX-License-Identifier: MIT */
/* Multiboot 2, section 3.5 "Machine state" and 3.6 "Boot information format". */
#include "tests/guests/lib/entry.h"

const char guest_name[] = "entry-multiboot2";

#define LOADER_MAGIC 0x36d76289u
#define TAG_END 0u
#define TAG_CMDLINE 1u
#define TAG_MODULE 3u
#define TAG_MEMORY 4u
#define TAG_MEMORY_MAP 6u
#define TAG_FRAMEBUFFER 8u
#define TAG_SECTIONS 9u
#define TAG_RSDP_NEW 15u

struct tag {
    uint32_t type, bytes, words[];
};

/* The tag of this type, or NULL. */
static const struct tag *find(uint32_t information, uint32_t type)
{
    uint32_t end = information + *(const uint32_t *)(uintptr_t)information;
    uint32_t at = information + 8;

    while (at < end) {
        const struct tag *tag = (const struct tag *)(uintptr_t)at;

        if (tag->type == type) {
            return tag;
        }
        CHECK(tag->bytes >= 8);
        at += (tag->bytes + 7) & ~7u;
    }
    return NULL;
}

static void check_module(const struct tag *module)
{
    CHECK(module != NULL);
    entry_check_module(module->words[0], module->words[1] - module->words[0]);
    entry_check_text("module", (const char *)&module->words[2], ENTRY_MODULE_ARGUMENTS);
}

/* The names of the sections are in a section that no segment loads: it must be in memory all the same. */
static void check_sections(const struct tag *tag)
{
    const uint32_t *section;

    CHECK(tag != NULL && tag->words[1] == 40 && tag->words[2] < tag->words[0]);
    section = &tag->words[3 + 10 * tag->words[2]];
    CHECK(section[3] != 0);
    entry_check_text("first section", (const char *)(uintptr_t)(section[3] + tag->words[3 + 10]), ".multiboot");
}

static void check_memory(const struct tag *tag)
{
    for (uint32_t at = 2; 8 + at * 4 < tag->bytes; at += 6) {
        const uint32_t *entry = &tag->words[at];

        entry_check_memory(entry[0] | (uint64_t)entry[1] << 32, entry[2] | (uint64_t)entry[3] << 32, entry[4]);
    }
    entry_check_memory_end();
}

void guest_main(void)
{
    uint32_t information = (uint32_t)entry_state.bx;
    const struct tag *tag;

    entry_dump();
    CHECK_EQUAL((uint32_t)entry_state.ax, LOADER_MAGIC);
    entry_check_protected();
    entry_check_gdt(false);
    entry_check_place("boot information", information);
    CHECK_EQUAL(information % 8, 0);
    tag = find(information, TAG_CMDLINE);
    CHECK(tag != NULL);
    entry_check_text("command line", (const char *)tag->words, ENTRY_CMDLINE);
    check_module(find(information, TAG_MODULE));
    tag = find(information, TAG_MEMORY);
    CHECK(tag != NULL && tag->words[1] >= 1024);
    tag = find(information, TAG_MEMORY_MAP);
    CHECK(tag != NULL && tag->words[0] == 24 && tag->bytes > 16);
    check_memory(tag);
    tag = find(information, TAG_FRAMEBUFFER); /* the header asks for a console */
    CHECK(tag != NULL && tag->words[0] == 0xb8000 && tag->words[3] == 80 && tag->words[5] >> 8 == 2);
    check_sections(find(information, TAG_SECTIONS));
    tag = find(information, TAG_RSDP_NEW);
    CHECK(tag != NULL);
    entry_check_rsdp((uint64_t)(uintptr_t)tag->words);
    tag = find(information, TAG_END);
    CHECK(tag != NULL && tag->bytes == 8);
}
