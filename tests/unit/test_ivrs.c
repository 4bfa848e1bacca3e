/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/iommu/ivrs.h: what real machines' firmware says of its units is found, of several descriptions of a
 * unit the highest counts, and every damaged table is refused with a sentence, whole.
 *
 * The machines are facts from public boot logs: bases, device ranges, aliases and settings, in their order.
 */
#include "hv/iommu/ivrs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define TABLE_BYTES 4096u
#define HEADER 48u
#define ID(bus, device, function) ((uint16_t)((bus) << 8 | (device) << 3 | (function)))

static struct {
    uint8_t bytes[TABLE_BYTES];
    uint32_t length;
    uint32_t block; /* where the last one begins */
} table;
static struct ivrs ivrs;

static void put(uint64_t value, uint32_t bytes)
{
    memcpy(table.bytes + table.length, &value, bytes);
    table.length += bytes;
}

static void begin_table(void)
{
    memset(&table, 0, sizeof(table));
    memcpy(table.bytes, "IVRS", 4);
    table.length = HEADER;
    table.block = HEADER;
}

static void end_block(void)
{
    uint16_t length = (uint16_t)(table.length - table.block);

    memcpy(table.bytes + table.block + 2, &length, sizeof(length));
}

static void ivhd(uint8_t type, uint16_t device_id, uint64_t base, uint16_t segment)
{
    table.block = table.length;
    put(type, 1);
    put(0xb0, 1);
    put(0, 2);
    put(device_id, 2);
    put(0x40, 2);
    put(base, 8);
    put(segment, 2);
    put(0, 2);
    put(0, 4);
    if (type != 0x10) {
        put(0x00f77ef22294adaULL, 8);
        put(0, 8);
    }
    end_block();
}

static void entry4(uint8_t type, uint16_t id, uint8_t settings)
{
    put(type, 1);
    put(id, 2);
    put(settings, 1);
    end_block();
}

static void entry8(uint8_t type, uint16_t id, uint8_t settings, uint8_t low, uint16_t source, uint8_t high)
{
    entry4(type, id, settings);
    put(low, 1);
    put(source, 2);
    put(high, 1);
    end_block();
}

static void range(uint16_t first, uint16_t last)
{
    entry4(3, first, 0);
    entry4(4, last, 0);
}

static void alias_range(uint16_t first, uint16_t last, uint16_t alias)
{
    entry8(0x43, first, 0, 0, alias, 0);
    entry4(4, last, 0);
}

static void special(uint8_t kind, uint8_t id, uint16_t device_id, uint8_t settings)
{
    entry8(0x48, 0, settings, id, device_id, kind);
}

static void named(const char *hid, uint16_t device_id, uint8_t settings, const char *uid)
{
    entry4(0xf0, device_id, settings);
    memcpy(table.bytes + table.length, hid, 8);
    table.length += 16;
    put(2, 1);
    put(strlen(uid), 1);
    memcpy(table.bytes + table.length, uid, strlen(uid));
    table.length += (uint32_t)strlen(uid);
    end_block();
}

static void ivmd(uint8_t type, uint8_t flags, uint16_t first, uint16_t last, uint64_t start, uint64_t bytes)
{
    table.block = table.length;
    put(type, 1);
    put(flags, 1);
    put(0, 2);
    put(first, 2);
    put(last, 2);
    put(0, 8);
    put(start, 8);
    put(bytes, 8);
    end_block();
}

static enum status read_table(void)
{
    return ivrs_read(&ivrs, (struct span){table.bytes, table.length});
}

/* A desktop of 2018. Its firmware describes the unit twice, as they all do, for old systems and for new ones. */
static void write_desktop(void)
{
    begin_table();
    ivhd(0x10, ID(0, 0, 2), 0xfd900000, 0);
    range(ID(0, 1, 0), ID(0xff, 0x1f, 6));
    ivhd(0x11, ID(0, 0, 2), 0xfd900000, 0);
    range(ID(0, 1, 0), ID(0xff, 0x1f, 6));
    alias_range(ID(0xff, 0, 0), ID(0xff, 0x1f, 7), ID(0, 0x14, 4));
    special(2, 0, ID(0, 0x14, 0), 0);
    special(1, 32, ID(0, 0x14, 0), 0xd7);
    special(1, 33, ID(0, 0, 1), 0);
}

static void desktop_is_read(void **state)
{
    (void)state;
    write_desktop();
    assert_int_equal(read_table(), STATUS_OK);
    assert_int_equal(ivrs.unit_count, 1);
    assert_int_equal(ivrs.units[0].type, 0x11);
    assert_int_equal(ivrs.units[0].base, 0xfd900000);
    assert_int_equal(ivrs.units[0].device_id, ID(0, 0, 2));
    assert_int_equal(ivrs.units[0].capability, 0x40);
    assert_int_equal(ivrs.units[0].features, 0x00f77ef22294adaULL);
    assert_int_equal(ivrs.device_count, 2);
    assert_int_equal(ivrs.devices[0].first, ID(0, 1, 0));
    assert_int_equal(ivrs.devices[0].last, ID(0xff, 0x1f, 6));
    assert_false(ivrs.devices[0].has_alias);
    assert_int_equal(ivrs_alias_of(&ivrs, 0, ID(0xff, 3, 0)), ID(0, 0x14, 4));
    assert_int_equal(ivrs_alias_of(&ivrs, 0, ID(3, 0, 0)), ID(3, 0, 0));
    assert_int_equal(ivrs_alias_of(&ivrs, 1, ID(0xff, 3, 0)), ID(0xff, 3, 0));
    assert_int_equal(ivrs.special_count, 3);
    assert_int_equal(ivrs.specials[1].kind, IVRS_SPECIAL_IOAPIC);
    assert_int_equal(ivrs.specials[1].id, 32);
    assert_int_equal(ivrs.specials[1].device_id, ID(0, 0x14, 0));
    assert_int_equal(ivrs.specials[1].settings, 0xd7);
    assert_int_equal(ivrs.region_count, 0);
}

/* A server with four units, of which each serves a quarter of the buses. */
static void server_is_read(void **state)
{
    static const struct {
        uint8_t bus, last;
        uint64_t base;
    } units[] = {{0xc0, 0xff, 0xf3700000}, {0x80, 0xbf, 0xf2600000}, {0x40, 0x7f, 0xb4800000}, {0, 0x3f, 0xfc800000}};

    (void)state;
    begin_table();
    for (uint32_t i = 0; i < 4; i++) {
        ivhd(0x11, ID(units[i].bus, 0, 2), units[i].base, 0);
        range(ID(units[i].bus, 1, 0), ID(units[i].last, 0x1f, 6));
        special(1, (uint8_t)(241 + i), ID(units[i].bus, 0, 1), 0);
    }
    assert_int_equal(read_table(), STATUS_OK);
    assert_int_equal(ivrs.unit_count, 4);
    assert_int_equal(ivrs.device_count, 4);
    for (uint16_t i = 0; i < 4; i++) {
        assert_int_equal(ivrs.units[i].base, units[i].base);
        assert_int_equal(ivrs.devices[i].unit, i);
        assert_int_equal(ivrs.specials[i].unit, i);
    }
}

/* A notebook of 2023, with devices that only ACPI knows, in a block of type 40h. */
static void notebook_is_read(void **state)
{
    (void)state;
    begin_table();
    ivhd(0x10, ID(0, 0, 2), 0xfeb80000, 0);
    range(ID(0, 0, 3), ID(0x1f, 0x1f, 6));
    ivhd(0x11, ID(0, 0, 2), 0xfeb80000, 0);
    range(ID(0, 0, 3), ID(0x1f, 0x1f, 6));
    ivhd(0x40, ID(0, 0, 2), 0xfeb80000, 0);
    range(ID(0, 0, 3), ID(0x1f, 0x1f, 6));
    special(2, 0, ID(0, 0x14, 0), 0);
    special(1, 128, ID(0, 0x14, 0), 0xd7);
    special(1, 242, ID(0, 0, 1), 0);
    named("AMDI0020", ID(0, 0x14, 5), 0x40, "ID00");
    named("AMDI0020", ID(0, 0x14, 5), 0x40, "ID01");
    named("AMDI0095", ID(0, 0, 4), 0x30, "ID00");
    assert_int_equal(read_table(), STATUS_OK);
    assert_int_equal(ivrs.unit_count, 1);
    assert_int_equal(ivrs.units[0].type, 0x40);
    assert_int_equal(ivrs.device_count, 1);
    assert_int_equal(ivrs.name_count, 3);
    assert_string_equal(ivrs.names[1].hid, "AMDI0020");
    assert_string_equal(ivrs.names[1].uid, "ID01");
    assert_int_equal(ivrs.names[2].device_id, ID(0, 0, 4));
    assert_int_equal(ivrs.names[2].settings, 0x30);
}

static void regions_are_read(void **state)
{
    (void)state;
    write_desktop();
    ivmd(0x20, 0x07, 0, 0, 0x7f000000, 0x10000);
    ivmd(0x21, 0x03, ID(0, 0x12, 0), 0, 0x7e000800, 0x1000);
    ivmd(0x22, 0x08, ID(1, 0, 0), ID(2, 0, 0), 0x7d000000, 0x2000);
    ivmd(0x20, 0x00, 0, 0, 0x7c000000, 0x1000); /* asks for nothing */
    assert_int_equal(read_table(), STATUS_OK);
    assert_int_equal(ivrs.region_count, 3);
    assert_int_equal(ivrs.regions[0].first, 0);
    assert_int_equal(ivrs.regions[0].last, UINT16_MAX);
    assert_true(ivrs.regions[0].read && ivrs.regions[0].write);
    assert_int_equal(ivrs.regions[1].start, 0x7e000000);
    assert_int_equal(ivrs.regions[1].end, 0x7e002000);
    assert_int_equal(ivrs.regions[1].last, ID(0, 0x12, 0));
    assert_true(ivrs.regions[1].read && !ivrs.regions[1].write);
    assert_true(ivrs.regions[2].excluded && ivrs.regions[2].write);
    assert_int_equal(ivrs.regions[2].last, ID(2, 0, 0));
}

static void refused(enum status status, const char *words)
{
    assert_int_equal(read_table(), status);
    assert_non_null(strstr(ivrs.problem, words));
}

static void damaged_tables_are_refused(void **state)
{
    (void)state;
    begin_table();
    refused(STATUS_MALFORMED, "names no unit");
    table.length = 40;
    refused(STATUS_MALFORMED, "has 40 bytes");
    begin_table();
    ivhd(0x11, 2, 0xfd900800, 0);
    refused(STATUS_MALFORMED, "unit at 0xfd900800");
    begin_table();
    ivhd(0x11, 2, 0xfd900000, 0);
    ivhd(0x11, 3, 0xfd900000, 0);
    refused(STATUS_MALFORMED, "two units at 0xfd900000");
    begin_table();
    ivhd(0x11, 2, 0xfd900000, 0);
    entry4(4, 9, 0);
    refused(STATUS_MALFORMED, "did not begin");
    begin_table();
    ivhd(0x11, 2, 0xfd900000, 0);
    entry4(3, 9, 0);
    refused(STATUS_MALFORMED, "without an end");
    begin_table();
    ivhd(0x11, 2, 0xfd900000, 0);
    range(9, 8);
    refused(STATUS_MALFORMED, "from 0009 to 0008");
    write_desktop();
    ivmd(0x20, 7, 0, 0, ~0ULL - 0xfff, 0x1000);
    refused(STATUS_MALFORMED, "0xfffffffffffff000");
    write_desktop();
    table.bytes[HEADER + 2] = 3;
    refused(STATUS_MALFORMED, "broken block at offset 48");
    begin_table();
    for (uint16_t i = 0; i <= IVRS_UNITS_MAX; i++) {
        ivhd(0x11, i, 0xfd000000 + i * 0x4000u, 0);
    }
    refused(STATUS_NO_SPACE, "more than 32 units");
}

static void cut_tables_are_refused(void **state)
{
    uint32_t whole;

    (void)state;
    write_desktop();
    whole = table.length;
    for (uint32_t length = 0; length < whole; length++) {
        enum status status = ivrs_read(&ivrs, (struct span){table.bytes, length});

        assert_true(status != STATUS_OK || length == HEADER + 32); /* between two blocks: the checksum tells */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(desktop_is_read),
        cmocka_unit_test(server_is_read),
        cmocka_unit_test(notebook_is_read),
        cmocka_unit_test(regions_are_read),
        cmocka_unit_test(damaged_tables_are_refused),
        cmocka_unit_test(cut_tables_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
