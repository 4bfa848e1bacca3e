/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/iommu/dmar.h: what real machines' firmware says of its units is found, a path through bridges leads to
 * the device that it leads to now, and every damaged table is refused with a sentence, whole.
 *
 * The machines are facts from public boot logs and tables: bases, ranges, scopes, in the order in which they stand.
 */
#include "hv/iommu/dmar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define TABLE_BYTES 4096u
#define HEADER 48u

static struct {
    uint8_t bytes[TABLE_BYTES];
    uint32_t length;
    uint32_t structure; /* where the last one begins */
} table;
static struct dmar dmar;

static void put(uint64_t value, uint32_t bytes)
{
    memcpy(table.bytes + table.length, &value, bytes);
    table.length += bytes;
}

static void begin_table(uint8_t address_bits, uint8_t flags)
{
    memset(&table, 0, sizeof(table));
    memcpy(table.bytes, "DMAR", 4);
    table.length = 36;
    put(address_bits - 1u, 1);
    put(flags, 1);
    table.length = HEADER;
}

static void end_structure(void)
{
    uint16_t length = (uint16_t)(table.length - table.structure);

    memcpy(table.bytes + table.structure + 2, &length, sizeof(length));
}

static void begin_structure(uint16_t type)
{
    table.structure = table.length;
    put(type, 2);
    put(0, 2);
}

static void scope(uint8_t kind, uint8_t id, uint8_t bus, uint8_t device, uint8_t function)
{
    put(kind, 1);
    put(8, 1);
    put(0, 2);
    put(id, 1);
    put(bus, 1);
    put(device, 1);
    put(function, 1);
    end_structure();
}

static void drhd(uint64_t base, uint8_t flags, uint16_t segment)
{
    begin_structure(0);
    put(flags, 1);
    put(0, 1);
    put(segment, 2);
    put(base, 8);
    end_structure();
}

static void rmrr(uint64_t first, uint64_t last)
{
    begin_structure(1);
    put(0, 4);
    put(first, 8);
    put(last, 8);
    end_structure();
}

static void atsr(uint8_t flags)
{
    begin_structure(2);
    put(flags, 1);
    put(0, 3);
    end_structure();
}

static void rhsa(uint64_t base)
{
    begin_structure(3);
    put(0, 4);
    put(base, 8);
    put(0, 4);
    end_structure();
}

static void andd(uint8_t id, const char *name)
{
    begin_structure(4);
    put(0, 3);
    put(id, 1);
    memcpy(table.bytes + table.length, name, strlen(name) + 1);
    table.length += (uint32_t)strlen(name) + 1;
    end_structure();
}

static enum status read_table(void)
{
    return dmar_read(&dmar, (struct span){table.bytes, table.length});
}

static const struct dmar_scope *scope_of(const struct dmar_scopes *scopes, uint32_t index)
{
    assert_true(index < scopes->count);
    return &dmar.scopes[scopes->first + index];
}

static void assert_scope(const struct dmar_scope *is, uint8_t kind, uint8_t id, uint8_t bus, uint8_t device)
{
    assert_int_equal(is->kind, kind);
    assert_int_equal(is->id, id);
    assert_int_equal(is->bus, bus);
    assert_int_equal(is->path_count, 1);
    assert_int_equal(is->path[0].device, device);
}

/* A notebook of 2022: the screen's unit, all others', and the screen's memory. */
static void write_notebook(void)
{
    begin_table(39, 1);
    drhd(0xfed90000, 0, 0);
    scope(1, 0, 0, 2, 0);
    drhd(0xfed91000, 1, 0);
    scope(3, 2, 0, 0x1e, 7);
    scope(4, 0, 0, 0x1e, 6);
    rmrr(0x64000000, 0x687fffff);
    scope(1, 0, 0, 2, 0);
}

static void notebook_is_read(void **state)
{
    (void)state;
    write_notebook();
    assert_int_equal(table.length, 0x88); /* as long as the firmware's own */
    assert_int_equal(read_table(), STATUS_OK);
    assert_int_equal(dmar.address_bits, 39);
    assert_true(dmar.interrupt_remapping);
    assert_false(dmar.x2apic_opt_out || dmar.protected_from_start);
    assert_int_equal(dmar.unit_count, 2);
    assert_int_equal(dmar.units[0].base, 0xfed90000);
    assert_int_equal(dmar.units[0].bytes, PAGE_BYTES);
    assert_false(dmar.units[0].all);
    assert_scope(scope_of(&dmar.units[0].scopes, 0), DMAR_SCOPE_ENDPOINT, 0, 0, 2);
    assert_true(dmar.units[1].all);
    assert_scope(scope_of(&dmar.units[1].scopes, 0), DMAR_SCOPE_IOAPIC, 2, 0, 0x1e);
    assert_scope(scope_of(&dmar.units[1].scopes, 1), DMAR_SCOPE_HPET, 0, 0, 0x1e);
    assert_int_equal(dmar.region_count, 1);
    assert_int_equal(dmar.regions[0].start, 0x64000000);
    assert_int_equal(dmar.regions[0].end, 0x68800000);
    assert_scope(scope_of(&dmar.regions[0].scopes, 0), DMAR_SCOPE_ENDPOINT, 0, 0, 2);
}

/* A workstation of 2012 with 46 bits: ATSR, RHSA, no x2APIC. */
static void workstation_is_read(void **state)
{
    (void)state;
    begin_table(46, 3);
    drhd(0xfbffd000, 0, 0);
    scope(2, 0, 0, 1, 0);
    drhd(0xfbffc000, 1, 0);
    scope(3, 1, 0, 5, 4);
    scope(3, 2, 0xf0, 0x1f, 7);
    scope(4, 0, 0xf0, 0x0f, 0);
    rmrr(0x3b422000, 0x3b431fff);
    scope(1, 0, 0, 0x1d, 0);
    scope(1, 0, 0, 0x1a, 0);
    atsr(0);
    scope(2, 0, 0, 1, 0);
    scope(2, 0, 0, 2, 0);
    rhsa(0xfbffc000);
    assert_int_equal(read_table(), STATUS_OK);
    assert_true(dmar.interrupt_remapping && dmar.x2apic_opt_out);
    assert_int_equal(dmar.unit_count, 2);
    assert_scope(scope_of(&dmar.units[0].scopes, 0), DMAR_SCOPE_BRIDGE, 0, 0, 1);
    assert_int_equal(dmar.units[1].scopes.count, 3);
    assert_int_equal(dmar.regions[0].scopes.count, 2);
    assert_int_equal(dmar.port_count, 1);
    assert_false(dmar.ports[0].all);
    assert_int_equal(dmar.ports[0].scopes.count, 2);
}

/* Three units, one of them for a USB4 controller; named devices; and a virtual machine's table. */
static void others_are_read(void **state)
{
    (void)state;
    begin_table(39, 5);
    drhd(0xfed90000, 0, 0);
    scope(1, 0, 0, 2, 0);
    drhd(0xfed86000, 0, 0);
    scope(1, 0, 0, 0x0d, 2);
    scope(2, 0, 0, 7, 0);
    drhd(0xfed91000, 1, 0);
    rmrr(0x9c000000, 0xa07fffff);
    scope(1, 0, 0, 2, 0);
    rmrr(0x92b19000, 0x92f18fff);
    scope(1, 0, 0, 0x14, 0);
    andd(1, "\\_SB.PC00.I2C0");
    assert_int_equal(read_table(), STATUS_OK);
    assert_true(dmar.protected_from_start);
    assert_int_equal(dmar.unit_count, 3);
    assert_int_equal(dmar.region_count, 2);
    assert_int_equal(dmar.name_count, 1);
    assert_string_equal(dmar.names[0].name, "\\_SB.PC00.I2C0");

    begin_table(43, 1);
    drhd(0xfec10000, 1, 0);
    scope(3, 0x80, 0, 0, 7);
    atsr(1);
    assert_int_equal(table.length, 0x50);
    assert_int_equal(read_table(), STATUS_OK);
    assert_int_equal(dmar.address_bits, 43);
    assert_true(dmar.ports[0].all);
    assert_int_equal(scope_of(&dmar.units[0].scopes, 0)->path[0].function, 7);
}

/* A region whose ends lie inside pages is widened; one that ends before it begins cannot be. */
static void regions_are_whole_pages(void **state)
{
    (void)state;
    write_notebook();
    rmrr(0x1000800, 0x1001800);
    assert_int_equal(read_table(), STATUS_OK);
    assert_int_equal(dmar.regions[1].start, 0x1000000);
    assert_int_equal(dmar.regions[1].end, 0x1002000);
    write_notebook();
    rmrr(0x2000, 0x1fff - 0x1000);
    assert_int_equal(read_table(), STATUS_MALFORMED);
    write_notebook();
    rmrr(0x2000, ~0ULL);
    assert_int_equal(read_table(), STATUS_MALFORMED);
}

/* Each is refused, with these words. */
static void refused(enum status status, const char *words)
{
    assert_int_equal(read_table(), status);
    assert_non_null(strstr(dmar.problem, words));
}

static void damaged_tables_are_refused(void **state)
{
    (void)state;
    begin_table(39, 1);
    refused(STATUS_MALFORMED, "names no unit");
    table.length = 40;
    refused(STATUS_MALFORMED, "has 40 bytes");
    begin_table(39, 1);
    drhd(0, 1, 0);
    refused(STATUS_MALFORMED, "unit at 0x0");
    begin_table(39, 1);
    drhd(0xfed90800, 1, 0);
    refused(STATUS_MALFORMED, "unit at 0xfed90800");
    begin_table(39, 1);
    drhd(0xfed90000, 0, 0);
    drhd(0xfed90000, 1, 0);
    refused(STATUS_MALFORMED, "two units at 0xfed90000");
    begin_table(39, 1);
    drhd(0xfed90000, 1, 0);
    scope(1, 0, 0, 32, 0);
    refused(STATUS_MALFORMED, "device 20.0");
    write_notebook();
    table.bytes[HEADER + 2] = 3;
    refused(STATUS_MALFORMED, "broken structure at offset 48");
    write_notebook();
    table.bytes[HEADER + 16 + 1] = 7; /* an odd scope */
    refused(STATUS_MALFORMED, "scope of 7 bytes");
    begin_table(39, 1);
    for (uint32_t i = 0; i <= DMAR_UNITS_MAX; i++) {
        drhd(0xfed00000 + i * PAGE_BYTES, 0, 0);
    }
    refused(STATUS_NO_SPACE, "more than 32 units");
}

/* However short a table is cut, nothing behind its end is read (under ASan) and the answer is never half of it. */
static void cut_tables_are_refused(void **state)
{
    uint32_t whole;

    (void)state;
    write_notebook();
    whole = table.length;
    for (uint32_t length = 0; length < whole; length++) {
        enum status status = dmar_read(&dmar, (struct span){table.bytes, length});

        /* Between two structures a cut cannot be seen; the checksum would be wrong there. */
        assert_true(status != STATUS_OK || length == HEADER + 0x18 || length == HEADER + 0x38);
    }
}

/* ---- paths ---- */

struct bridge {
    uint8_t bus, device, function, secondary;
};
static const struct bridge bridges[] = {{0, 0x1c, 0, 2}, {2, 0, 0, 3}, {0, 0x1d, 0, 0}};

static uint32_t config_read(void *context, struct pci_address address, uint32_t offset)
{
    const struct bridge *bridge = NULL;

    (void)context;
    for (uint32_t i = 0; i < ARRAY_COUNT(bridges); i++) {
        if (bridges[i].bus == address.bus && bridges[i].device == address.device) {
            bridge = &bridges[i];
        }
    }
    if (bridge == NULL && !(address.bus == 3 && address.device == 4)) {
        return ~0u;
    }
    switch (offset) {
    case PCI_HEADER:
        return bridge != NULL ? PCI_HEADER_TYPE_BRIDGE << PCI_HEADER_TYPE_SHIFT : 0;
    case PCI_BUSES:
        return bridge != NULL ? (uint32_t)bridge->secondary << 8 | 9u << 16 : 0;
    default:
        return 0x12348086;
    }
}

static void paths_are_followed(void **state)
{
    static const struct pci_access access = {NULL, config_read, NULL};
    struct dmar_scope way = {.kind = DMAR_SCOPE_ENDPOINT, .path_count = 3, .path = {{0x1c, 0}, {0, 0}, {4, 0}}};
    struct pci_address found;

    (void)state;
    assert_true(dmar_scope_find(&way, 1, &access, &found));
    assert_int_equal(found.segment, 1);
    assert_int_equal(found.bus, 3);
    assert_int_equal(found.device, 4);
    way.path[0].device = 0x1d; /* a bridge whose bus has no number */
    assert_false(dmar_scope_find(&way, 1, &access, &found));
    way.path[0].device = 0x1f; /* there is none */
    assert_false(dmar_scope_find(&way, 1, &access, &found));
    way.path_count = 0;
    assert_false(dmar_scope_find(&way, 1, &access, &found));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notebook_is_read),
        cmocka_unit_test(workstation_is_read),
        cmocka_unit_test(others_are_read),
        cmocka_unit_test(regions_are_whole_pages),
        cmocka_unit_test(damaged_tables_are_refused),
        cmocka_unit_test(cut_tables_are_refused),
        cmocka_unit_test(paths_are_followed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
