/* SPDX-License-Identifier: MIT */
/* Promises of guest-loader/elf_symbols.h: the function that holds an address, from files of both classes; and no name,
 * and nothing worse, from what is no such file. */
#include "guest-loader/elf_symbols.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define FILE_BYTES 2048u
#define SECTIONS_AT 512u
#define SEGMENTS_AT 400u
#define TABLE_AT 1024u
#define NAMES_AT 1536u

static uint8_t file[FILE_BYTES];
static bool is_64;
static uint32_t symbols_put, names_put;

static void put(uint32_t at, uint64_t value, uint32_t bytes)
{
    memcpy(file + at, &value, bytes);
}

static void put_symbol(const char *name, uint64_t value, uint64_t size, uint8_t type, uint16_t section)
{
    uint32_t at = TABLE_AT + symbols_put++ * (is_64 ? 24 : 16);

    put(at, names_put, 4);
    put(at + (is_64 ? 4 : 12), 0x10u | type, 1);
    put(at + (is_64 ? 6 : 14), section, 2);
    put(at + (is_64 ? 8 : 4), value, is_64 ? 8 : 4);
    put(at + (is_64 ? 16 : 8), size, is_64 ? 8 : 4);
    memcpy(file + NAMES_AT + names_put, name, strlen(name) + 1);
    names_put += (uint32_t)strlen(name) + 1;
}

static void put_section(uint32_t index, uint32_t type, uint64_t offset, uint64_t size, uint32_t link)
{
    uint32_t at = SECTIONS_AT + index * (is_64 ? 64 : 40);

    put(at + 4, type, 4);
    put(at + (is_64 ? 24 : 16), offset, is_64 ? 8 : 4);
    put(at + (is_64 ? 32 : 20), size, is_64 ? 8 : 4);
    put(at + (is_64 ? 40 : 24), link, 4);
}

static void begin(bool wide)
{
    memset(file, 0, sizeof(file));
    is_64 = wide;
    symbols_put = 0;
    names_put = 1;
    memcpy(file,
           "\x7f"
           "ELF",
           4);
    file[4] = wide ? 2 : 1;
    put(wide ? 40 : 32, SECTIONS_AT, wide ? 8 : 4);
    put(wide ? 58 : 46, wide ? 64 : 40, 2);
    put(wide ? 60 : 48, 3, 2);
    put(wide ? 32 : 28, SEGMENTS_AT, wide ? 8 : 4);
    put(wide ? 54 : 42, wide ? 56 : 32, 2);
    put(wide ? 56 : 44, 1, 2);
    put(SEGMENTS_AT, 1, 4);
    put(SEGMENTS_AT + (wide ? 16 : 8), 0x80200000u, wide ? 8 : 4); /* linked for */
    put(SEGMENTS_AT + (wide ? 24 : 12), 0x200000u, wide ? 8 : 4);  /* loaded at */
    put(SEGMENTS_AT + (wide ? 40 : 20), 0x10000u, wide ? 8 : 4);
    put_symbol("source", 0, 0, 4, 0xfff1);
    put_symbol("main", 0x80201000u, 0x100, 2, 1);
    put_symbol("data", 0x80201080u, 0x10, 1, 1);
    put_symbol("label", 0x80202000u, 0, 0, 1);
    put_symbol("undefined", 0x80201010u, 0, 0, 0);
    put_section(1, 2, TABLE_AT, symbols_put * (wide ? 24u : 16u), 2);
    put_section(2, 3, NAMES_AT, names_put, 0);
}

static const char *name_of(uint64_t address)
{
    static char text[128];
    struct elf_symbols symbols;
    struct text name;
    uint64_t offset;

    elf_symbols_open((struct span){file, sizeof(file)}, &symbols);
    if (!elf_symbols_find(&symbols, address, &name, &offset)) {
        return "none";
    }
    (void)snprintf(text, sizeof(text), "%.*s+%llu", (int)name.length, name.start, (unsigned long long)offset);
    return text;
}

static void functions_and_labels_have_names(void **state)
{
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        begin(wide == 1);
        assert_string_equal(name_of(0x80201000u), "main+0");
        assert_string_equal(name_of(0x80201090u), "main+144"); /* data is not code */
        assert_string_equal(name_of(0x802010ffu), "main+255");
        assert_string_equal(name_of(0x80201100u), "none"); /* behind its end */
        assert_string_equal(name_of(0x80202020u), "label+32");
        assert_string_equal(name_of(0x80222020u), "none"); /* too far from a label */
        assert_string_equal(name_of(0x1000), "none");
    }
}

static void an_address_in_physical_memory_is_found(void **state)
{
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        begin(wide == 1);
        assert_string_equal(name_of(0x201004), "main+4");
        assert_string_equal(name_of(0x211004), "none");
    }
}

static void a_file_without_symbols_has_none(void **state)
{
    (void)state;
    memset(file, 0, sizeof(file));
    assert_string_equal(name_of(0), "none");
    begin(true);
    put_section(1, 1, TABLE_AT, 100, 2);
    assert_string_equal(name_of(0x80201000u), "none");
    begin(true);
    file[4] = 7;
    assert_string_equal(name_of(0x80201000u), "none");
}

/* Every byte of the headers, changed: a name or none, and no access outside of the file (the sanitizers look). */
static void damaged_files_are_harmless(void **state)
{
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};

    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        for (uint32_t at = 5; at < NAMES_AT; at++) {
            for (uint32_t i = 0; i < sizeof(values); i++) {
                begin(wide == 1);
                file[at] = values[i];
                (void)name_of(0x80201004u);
                (void)name_of(0x201004u);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_and_labels_have_names),
        cmocka_unit_test(an_address_in_physical_memory_is_found),
        cmocka_unit_test(a_file_without_symbols_has_none),
        cmocka_unit_test(damaged_files_are_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
