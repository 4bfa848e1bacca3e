/* SPDX-License-Identifier: MIT */
/* The MultiProcessor tables and SMBIOS as kernels find and read them: by signature, pointers, lengths and sums. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/bios_tables.h"
#include "tests/unit/table_bytes.h"

#include <string.h>

#define CAPACITY 0x10000u
#define MP_ENTRY_KINDS 5u

static uint8_t rom[CAPACITY];
static uint64_t used;

static void build(uint32_t cpus)
{
    const struct bios_tables_config config = {
        .cpu_count = cpus, .cpu_signature = 0x50654, .cpu_features = 0x1783fbff, .memory_bytes = 5ULL << 30};

    memset(rom, 0xa5, sizeof(rom));
    assert_int_equal(bios_tables_build(&config, rom, sizeof(rom), &used), STATUS_OK);
}

/* At a multiple of 16, with a sum of zero over the length that its byte at `length_at` says in `unit` bytes. */
static const uint8_t *search(const char *signature, unsigned length_at, unsigned unit)
{
    for (uint64_t at = 0; at < used; at += 16) {
        if (memcmp(rom + at, signature, strlen(signature)) == 0 &&
            sum_of(rom + at, (uint64_t)rom[at + length_at] * unit) == 0) {
            return rom + at;
        }
    }
    fail_msg("no %s", signature);
    return rom;
}

static const uint8_t *at_address(uint64_t address)
{
    assert_in_range(address, BIOS_TABLES_BASE, BIOS_TABLES_BASE + used);
    return rom + (address - BIOS_TABLES_BASE);
}

static const uint8_t *mp_table(void)
{
    const uint8_t *pointer = search("_MP_", 8, 16);
    const uint8_t *table = at_address(read_at(pointer + 4, 4));

    assert_int_equal(pointer[9], 4);  /* 1.4 */
    assert_int_equal(pointer[11], 0); /* a table, no default configuration */
    assert_memory_equal(table, "PCMP", 4);
    assert_int_equal(table[6], 4);
    assert_int_equal(sum_of(table, read_at(table + 4, 2)), 0);
    assert_int_equal(read_at(table + 36, 4), 0xfee00000);
    return table;
}

/* Walks the entries to the table's end and counts them by kind. */
static void count_entries(uint32_t counts[MP_ENTRY_KINDS])
{
    const uint8_t *table = mp_table(), *end = table + read_at(table + 4, 2), *entry = table + 44;
    uint32_t entries = 0;

    memset(counts, 0, MP_ENTRY_KINDS * sizeof(counts[0]));
    while (entry < end) {
        assert_in_range(entry[0], 0, MP_ENTRY_KINDS - 1);
        counts[entry[0]]++;
        entries++;
        entry += entry[0] == 0 ? 20 : 8;
    }
    assert_ptr_equal(entry, end);
    assert_int_equal(read_at(table + 34, 2), entries);
}

static void every_cpu_is_there_and_one_is_the_bootstrap_processor(void **state)
{
    static const uint32_t cpus[] = {1, 2, 16, 254};
    uint32_t counts[MP_ENTRY_KINDS];

    (void)state;
    for (unsigned i = 0; i < sizeof(cpus) / sizeof(cpus[0]); i++) {
        const uint8_t *entry;

        build(cpus[i]);
        count_entries(counts);
        assert_int_equal(counts[0], cpus[i]);
        assert_int_equal(counts[1], 2);
        assert_int_equal(counts[2], 1);
        entry = mp_table() + 44;
        for (uint32_t cpu = 0; cpu < cpus[i]; cpu++, entry += 20) {
            assert_int_equal(entry[1], cpu);
            assert_int_equal(entry[3], cpu == 0 ? 3 : 1);
            assert_int_equal(read_at(entry + 4, 4), 0x50654);
            assert_int_equal(read_at(entry + 8, 4), 0x1783fbff);
        }
    }
}

static void isa_interrupts_go_where_the_madt_sends_them(void **state)
{
    const uint8_t *entry;
    uint32_t pins = 0;

    (void)state;
    build(1);
    entry = mp_table() + 44 + 20 + 2 * 8 + 8;
    assert_memory_equal(entry, "\3\3\0\0\1\0\0\0", 8); /* the 8259 pair on pin 0 */
    for (entry += 8; entry[0] == 3; entry += 8) {
        unsigned irq = entry[5], pin = entry[7];

        assert_int_equal(entry[1], 0);
        assert_int_equal(pin, irq == 0 ? 2 : irq);
        assert_int_equal(read_at(entry + 2, 2), irq == 9 ? 0xd : 0); /* the SCI: level, active high */
        pins |= 1u << pin;
    }
    assert_int_equal(pins, 0xfffe);
    assert_memory_equal(entry, "\4\3\0\0\1\0\xff\0", 8);     /* LINT0: the 8259 pair */
    assert_memory_equal(entry + 8, "\4\1\0\0\1\0\xff\1", 8); /* LINT1: NMI */
}

/* The structure after this one: behind the two zeroes that end its strings. */
static const uint8_t *next_structure(const uint8_t *structure)
{
    const uint8_t *at = structure + structure[1];

    while (at[0] != 0 || at[1] != 0) {
        at++;
    }
    return at + 2;
}

static void smbios_names_the_machine_and_its_memory(void **state)
{
    const uint8_t *entry, *structure, *start;

    (void)state;
    build(3);
    entry = search("_SM_", 5, 1);
    assert_memory_equal(entry + 16, "_DMI_", 5);
    assert_int_equal(sum_of(entry + 16, 15), 0);
    start = structure = at_address(read_at(entry + 24, 4));
    assert_int_equal(structure[0], 0);
    assert_int_equal(structure[1], 24);
    assert_string_equal((const char *)structure + structure[1], "Plinth");
    structure = next_structure(structure);
    assert_int_equal(structure[0], 1);
    assert_int_equal(structure[1], 27);
    structure = next_structure(structure);
    assert_int_equal(structure[0], 16);
    assert_int_equal(structure[1], 23);
    assert_int_equal(read_at(structure + 7, 4), 0x80000000);
    assert_int_equal(read_at(structure + 15, 8), 5ULL << 30);
    structure = next_structure(structure);
    assert_int_equal(structure[0], 127);
    assert_int_equal(next_structure(structure) - start, read_at(entry + 22, 2));
    assert_int_equal(read_at(entry + 28, 2), 4);
}

static void what_does_not_fit_is_refused(void **state)
{
    struct bios_tables_config config = {.cpu_count = 2};
    uint64_t whole;

    (void)state;
    build(2);
    whole = used;
    for (uint64_t capacity = 0; capacity < whole; capacity++) {
        assert_int_equal(bios_tables_build(&config, rom, capacity, &used), STATUS_NO_SPACE);
    }
    assert_int_equal(bios_tables_build(&config, rom, whole, &used), STATUS_OK);
    config.cpu_count = 0;
    assert_int_equal(bios_tables_build(&config, rom, sizeof(rom), &used), STATUS_INVALID);
    config.cpu_count = 255;
    assert_int_equal(bios_tables_build(&config, rom, sizeof(rom), &used), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cpu_is_there_and_one_is_the_bootstrap_processor),
        cmocka_unit_test(isa_interrupts_go_where_the_madt_sends_them),
        cmocka_unit_test(smbios_names_the_machine_and_its_memory),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
