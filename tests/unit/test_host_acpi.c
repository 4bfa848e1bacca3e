/* SPDX-License-Identifier: MIT */
/* Promises of hv/host/host_acpi.h: what a firmware's tables say is found, and damaged ones are named and harmless. */
#include "hv/host/host_acpi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define MEMORY_BYTES 0x10000u
#define RSDP 0x100u
#define ROOT 0x200u
#define FADT 0x400u
#define MADT 0x800u
#define DSDT 0xa00u
#define SPCR 0xc00u
#define DBG2 0xd00u
#define SRAT 0xe00u
#define SLIT 0x1100u
#define HPET 0x1300u

static uint8_t memory[MEMORY_BYTES];
static struct host_acpi tables;

static void put32(uint32_t at, uint32_t value)
{
    memcpy(memory + at, &value, 4);
}

static void put64(uint32_t at, uint64_t value)
{
    memcpy(memory + at, &value, 8);
}

static void fix_checksum(uint32_t at, uint32_t bytes, uint32_t field)
{
    uint8_t sum = 0;

    memory[field] = 0;
    for (uint32_t i = 0; i < bytes; i++) {
        sum = (uint8_t)(sum + memory[at + i]);
    }
    memory[field] = (uint8_t)(0 - sum);
}

static void finish(uint32_t at, const char *signature, uint32_t bytes)
{
    memcpy(memory + at, signature, 4);
    put32(at + 4, bytes);
    fix_checksum(at, bytes, at + 9);
}

static void write_rsdp(uint8_t revision)
{
    memcpy(memory + RSDP, "RSD PTR ", 8);
    memory[RSDP + 15] = revision;
    put32(RSDP + 16, ROOT);
    if (revision >= 2) {
        put32(RSDP + 20, 36);
        put64(RSDP + 24, ROOT);
    }
    fix_checksum(RSDP, 20, RSDP + 8);
}

static void write_root(bool extended)
{
    /* The SLIT before the SRAT, whose domains it speaks of. */
    static const uint32_t list[] = {FADT, MADT, SPCR, DBG2, SLIT, SRAT, HPET};

    for (uint32_t i = 0; i < ARRAY_COUNT(list); i++) {
        if (extended) {
            put64(ROOT + 36 + 8 * i, list[i]);
        } else {
            put32(ROOT + 36 + 4 * i, list[i]);
        }
    }
    finish(ROOT, extended ? "XSDT" : "RSDT", 36 + (extended ? 8 : 4) * (uint32_t)ARRAY_COUNT(list));
}

static void write_fadt(void)
{
    put32(FADT + 40, DSDT);
    put32(FADT + 48, 0xb2);
    memory[FADT + 52] = 0xa0;
    memory[FADT + 8] = 3;
    put32(FADT + 56, 0x600);
    memory[FADT + 88] = 4;
    memory[FADT + 109] = 2;
    put32(FADT + 64, 0x604);
    put32(FADT + 76, 0x608);
    put32(FADT + 112, 1u << 8 | 1u << 10);
    memory[FADT + 116] = ACPI_SPACE_PORT;
    memory[FADT + 117] = 8;
    put64(FADT + 120, 0xcf9);
    memory[FADT + 128] = 0x0f;
    finish(FADT, "FACP", 268);
}

static void write_madt(void)
{
    static const uint8_t entries[] = {
        0, 8,  0, 0, 1,  0, 0,    0,                               /* local APIC 0, enabled */
        0, 8,  1, 4, 0,  0, 0,    0,                               /* local APIC 4, not enabled */
        9, 16, 0, 0, 0,  1, 0,    0,    1,    0, 0, 0, 2, 0, 0, 0, /* x2APIC 256, enabled */
        1, 12, 0, 0, 0,  0, 0xc0, 0xfe, 0,    0, 0, 0,             /* I/O APIC at fec00000 */
        1, 12, 1, 0, 0,  0, 0,    0,    0,    0, 0, 0,             /* and one at 0, which is none */
        2, 10, 0, 9, 20, 0, 0,    0,    0x0f, 0, /* IRQ 9 is global interrupt 20, a level, active low */
        2, 10, 1, 3, 21, 0, 0,    0,    0x0f, 0, /* of another bus than ISA's */
    };

    put32(MADT + 40, 1);
    memcpy(memory + MADT + 44, entries, sizeof(entries));
    finish(MADT, "APIC", 44 + sizeof(entries));
}

static void write_dsdt(const void *aml, uint32_t bytes)
{
    memset(memory + DSDT + 36, 0, 64);
    memcpy(memory + DSDT + 36 + 8, aml, bytes);
    finish(DSDT, "DSDT", 36 + 64);
}

/* A debug port that is no serial one, and a 16550 in memory with registers of 32 bits. */
static void write_dbg2(void)
{
    static const uint8_t ports[2][34] = {
        {0, 34, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x03, 0x80, 0, 0, 0, 0, 22},
        {0, 34, 0, 1,  0, 0, 0, 0, 0,  0, 0, 0,    0x00, 0x80, 0x12,
         0, 0,  0, 22, 0, 0, 0, 0, 32, 0, 3, 0x00, 0x40, 0x03, 0xfe},
    };

    put32(DBG2 + 36, 44);
    put32(DBG2 + 40, 2);
    memcpy(memory + DBG2 + 44, ports, sizeof(ports));
    finish(DBG2, "DBG2", 44 + sizeof(ports));
}

static void write_hpet(void)
{
    put32(HPET + 36, 0x8086a201);
    put64(HPET + 44, 0xfed00000); /* in memory: space 0 */
    finish(HPET, "HPET", 56);
}

static uint32_t srat_end;

static void srat_memory(uint32_t domain, uint64_t start, uint64_t bytes, uint32_t flags)
{
    memory[srat_end] = 1;
    memory[srat_end + 1] = 40;
    put32(srat_end + 2, domain);
    put64(srat_end + 8, start);
    put64(srat_end + 16, bytes);
    put32(srat_end + 28, flags);
    srat_end += 40;
}

/* Domains 0x102 and 3. The fourth CPU is not enabled, and the last memory is not there. */
static void write_srat(void)
{
    static const uint8_t cpus[] = {
        0, 16, 0x02, 0,    1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,                         /* APIC 0, domain 0x102 */
        0, 16, 0x03, 4,    1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,                         /* APIC 4, domain 3 */
        2, 24, 0,    0,    3, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* x2APIC 256, domain 3 */
        0, 16, 0x03, 0x05, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    };

    memset(memory + SRAT, 0, 0x300);
    memcpy(memory + SRAT + 48, cpus, sizeof(cpus));
    srat_end = SRAT + 48 + sizeof(cpus);
    srat_memory(0x102, 4 * GIB, 4 * GIB, 1);
    srat_memory(0x102, 0, 2 * GIB, 1);
    srat_memory(3, 8 * GIB, 8 * GIB, 1);
    srat_memory(3, 32 * GIB, 8 * GIB, 0);
    finish(SRAT, "SRAT", srat_end - SRAT);
}

/* Of 4 domains: it says nothing of domain 0x102. */
static void write_slit(void)
{
    memset(memory + SLIT, 0, 0x100);
    put64(SLIT + 36, 4);
    memset(memory + SLIT + 44, 31, 16);
    memory[SLIT + 44 + 15] = 10;
    finish(SLIT, "SLIT", 44 + 16);
}

static void write_all(bool extended)
{
    static const uint8_t s5[] = {0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a, 0x05, 0x0a, 0x07, 0x00, 0x00};

    memset(memory, 0, sizeof(memory));
    write_rsdp(extended ? 2 : 0);
    write_root(extended);
    write_fadt();
    write_madt();
    write_dsdt(s5, sizeof(s5));
    memory[SPCR + 40] = ACPI_SPACE_PORT;
    put64(SPCR + 44, 0x3f8);
    finish(SPCR, "SPCR", 80);
    write_dbg2();
    write_hpet();
    write_srat();
    write_slit();
}

static bool read_all(void)
{
    return host_acpi_read(&tables, RSDP, (uint64_t)(uintptr_t)memory, sizeof(memory));
}

static void expect_everything(void)
{
    assert_true(tables.found && tables.has_fadt);
    assert_string_equal(tables.problem, "");
    assert_int_equal(tables.pm_timer_port, 0x608);
    assert_true(tables.pm_timer_32bit);
    assert_int_equal(tables.hpet, 0xfed00000);
    assert_int_equal(tables.pm1a_event_port, 0x600);
    assert_int_equal(tables.pm1_event_bytes, 4);
    assert_true(tables.has_power_button);
    assert_true(tables.has_8042);
    assert_int_equal(tables.pm1a_control_port, 0x604);
    assert_int_equal(tables.pm1b_control_port, 0);
    assert_int_equal(tables.smi_command_port, 0xb2);
    assert_true(tables.has_reset);
    assert_int_equal(tables.reset.address, 0xcf9);
    assert_int_equal(tables.reset_value, 0x0f);
    assert_true(tables.has_sleep_s5);
    assert_int_equal(tables.sleep_type_a, 5);
    assert_int_equal(tables.sleep_type_b, 7);
    assert_int_equal(tables.cpu_count, 3);
    assert_int_equal(tables.cpus[2].apic_id, 256);
    assert_true(tables.cpus[0].enabled && !tables.cpus[1].enabled);
    assert_int_equal(tables.ioapic_count, 1);
    assert_int_equal(tables.ioapics[0], 0xfec00000);
    assert_int_equal(tables.ioapic_gsis[0], 0);
    assert_int_equal(tables.irqs[9].gsi, 20);
    assert_true(tables.irqs[9].level && tables.irqs[9].active_low);
    assert_int_equal(tables.irqs[3].gsi, 3);
    assert_false(tables.irqs[3].level || tables.irqs[3].active_low);
    assert_true(tables.has_8259);
    assert_int_equal(tables.uart_count, 2);
    assert_int_equal(tables.uarts[0].address.address, 0x3f8);
    assert_int_equal(tables.uarts[0].address.space, ACPI_SPACE_PORT);
    assert_int_equal(tables.uarts[0].interface, ACPI_UART_16550);
    assert_int_equal(tables.uarts[1].address.address, 0xfe034000);
    assert_int_equal(tables.uarts[1].address.space, ACPI_SPACE_MEMORY);
    assert_int_equal(tables.uarts[1].address.bits, 32);
    assert_int_equal(tables.uarts[1].interface, ACPI_UART_16550_GAS);
    assert_int_equal(tables.numa.node_count, 2);
    assert_int_equal(host_acpi_cpu_node(&tables, 0), 0);
    assert_int_equal(host_acpi_cpu_node(&tables, 4), 1);
    assert_int_equal(host_acpi_cpu_node(&tables, 256), 1);
    assert_int_equal(host_acpi_cpu_node(&tables, 5), NUMA_NODE_NONE);
    assert_int_equal(tables.numa.range_count, 3);
    assert_int_equal(tables.numa.ranges[0].end, 2 * GIB);
    assert_int_equal(tables.numa.ranges[2].node, 1);
    assert_int_equal(numa_distance(&tables.numa, 0, 0), NUMA_DISTANCE_HERE);
    assert_int_equal(numa_distance(&tables.numa, 0, 1), NUMA_DISTANCE_OTHER);
}

static void distances_are_those_of_the_slit(void **state)
{
    (void)state;
    write_all(true);
    put32(SRAT + 48 + 4, 1); /* APIC 0 in domain 2 */
    memory[SRAT + 48 + 9] = 0;
    for (uint32_t at = SRAT + 48 + 16 * 3 + 24; at < SRAT + 48 + 16 * 3 + 24 + 2 * 40; at += 40) {
        put32(at + 2, 2);
    }
    finish(SRAT, "SRAT", srat_end - SRAT);
    memory[SLIT + 44 + 2 * 4 + 3] = 21;
    memory[SLIT + 44 + 3 * 4 + 2] = 9; /* nearer than itself: nonsense */
    finish(SLIT, "SLIT", 44 + 16);
    assert_true(read_all());
    assert_string_equal(tables.problem, "");
    assert_int_equal(tables.numa.node_count, 2);
    assert_int_equal(numa_distance(&tables.numa, 0, 1), 21);
    assert_int_equal(numa_distance(&tables.numa, 1, 0), NUMA_DISTANCE_OTHER);
    assert_int_equal(numa_distance(&tables.numa, 1, 1), NUMA_DISTANCE_HERE);
}

static void memory_of_two_domains_is_named(void **state)
{
    uint64_t end;

    (void)state;
    write_all(true);
    srat_memory(3, 6 * GIB, 4 * GIB, 1);
    finish(SRAT, "SRAT", srat_end - SRAT);
    assert_true(read_all());
    assert_non_null(strstr(tables.problem, "two domains"));
    assert_int_equal(numa_node_at(&tables.numa, 6 * GIB, &end), 0);
    write_all(true);
    srat_memory(3, ~0ULL - PAGE_BYTES, 4 * GIB, 1);
    finish(SRAT, "SRAT", srat_end - SRAT);
    assert_true(read_all());
    assert_non_null(strstr(tables.problem, "wraps"));
    assert_int_equal(tables.numa.range_count, 3);
}

static void everything_is_found_through_either_root(void **state)
{
    (void)state;
    write_all(true);
    assert_true(read_all());
    expect_everything();
    write_all(false);
    assert_true(read_all());
    expect_everything();
}

static void extended_ports_win_over_old_ones(void **state)
{
    (void)state;
    write_all(true);
    memory[FADT + 208] = ACPI_SPACE_PORT;
    put64(FADT + 212, 0xb008);
    finish(FADT, "FACP", 268);
    assert_true(read_all());
    assert_int_equal(tables.pm_timer_port, 0xb008);
}

/* A button of the namespace, hardware-reduced machines, and registers that are too short are none of ours; a keyboard
 * controller is said to be absent from revision 3 on only. */
static void inputs_are_there_as_the_flags_say(void **state)
{
    static const struct {
        uint8_t revision, events, boot_arch;
        uint32_t flags;
        bool button, controller;
    } forms[] = {
        {3, 4, 2, 0, true, true},        {3, 4, 0, 0, true, false},         {1, 4, 0, 0, true, true},
        {6, 4, 2, 1u << 4, false, true}, {6, 4, 2, 1u << 20, false, false}, {6, 0, 2, 0, false, true},
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(forms); i++) {
        write_all(true);
        memory[FADT + 8] = forms[i].revision;
        memory[FADT + 88] = forms[i].events;
        memory[FADT + 109] = forms[i].boot_arch;
        put32(FADT + 112, forms[i].flags);
        finish(FADT, "FACP", 268);
        assert_true(read_all());
        assert_int_equal(tables.has_power_button, forms[i].button);
        assert_int_equal(tables.has_8042, forms[i].controller);
    }
}

static void a_machine_without_tables_is_not_an_error(void **state)
{
    (void)state;
    assert_false(host_acpi_read(&tables, 0, (uint64_t)(uintptr_t)memory, sizeof(memory)));
    assert_string_equal(tables.problem, "");
}

static void a_wrong_checksum_is_named_and_the_table_ignored(void **state)
{
    (void)state;
    write_all(true);
    memory[MADT + 20] ^= 1;
    assert_true(read_all());
    assert_non_null(strstr(tables.problem, "APIC"));
    assert_int_equal(tables.cpu_count, 0);
    assert_int_equal(tables.pm_timer_port, 0x608);
    memory[RSDP + 9] ^= 1;
    assert_false(read_all());
    assert_non_null(strstr(tables.problem, "root pointer"));
}

static void a_broken_madt_entry_ends_the_list(void **state)
{
    (void)state;
    write_all(true);
    memory[MADT + 44 + 8 + 1] = 0;
    fix_checksum(MADT, 44 + 76, MADT + 9);
    assert_true(read_all());
    assert_int_equal(tables.cpu_count, 1);
    assert_non_null(strstr(tables.problem, "MADT"));
}

static void s5_is_found_in_every_form_of_package(void **state)
{
    static const uint8_t root_zero[] = {0x08, '\\', '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0, 0, 0, 0};
    static const uint8_t long_length[] = {0x08, '_', 'S', '5', '_', 0x12, 0x4a, 0x00, 0x02, 0x0b, 0x03, 0x00, 0x01};
    static const uint8_t no_package[] = {0x08, '_', 'S', '5', '_', 0x0a, 0x05};
    static const uint8_t only_a_use[] = {0x70, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a, 0x05};
    static const uint8_t cut[] = {0x08, '_', 'S', '5', '_', 0x12};
    uint8_t a = 9, b = 9;

    (void)state;
    assert_true(host_acpi_find_s5((struct span){root_zero, sizeof(root_zero)}, &a, &b));
    assert_int_equal(a, 0);
    assert_int_equal(b, 0);
    assert_true(host_acpi_find_s5((struct span){long_length, sizeof(long_length)}, &a, &b));
    assert_int_equal(a, 3);
    assert_int_equal(b, 1);
    assert_false(host_acpi_find_s5((struct span){no_package, sizeof(no_package)}, &a, &b));
    assert_false(host_acpi_find_s5((struct span){only_a_use, sizeof(only_a_use)}, &a, &b));
    assert_false(host_acpi_find_s5((struct span){cut, sizeof(cut)}, &a, &b));
    assert_false(host_acpi_find_s5((struct span){NULL, 0}, &a, &b));
}

/* Any bytes anywhere, with checksums made right again so that the parsers behind them are reached. */
static void damaged_tables_are_read_without_leaving_memory(void **state)
{
    static const uint32_t starts[] = {ROOT, FADT, MADT, DSDT, SPCR, DBG2, SRAT, SLIT, HPET};
    uint32_t seed = 5;

    (void)state;
    for (uint32_t round = 0; round < 20000; round++) {
        write_all(round % 2 == 0);
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t table = starts[((seed = seed * 1664525u + 1013904223u) >> 16) % ARRAY_COUNT(starts)];
            uint32_t length;

            memory[table + ((seed >> 8) & 0x7f)] = (uint8_t)(seed >> 24);
            memcpy(&length, memory + table + 4, 4);
            if (length >= 36 && length <= MEMORY_BYTES - table) {
                fix_checksum(table, length, table + 9);
            }
        }
        (void)read_all();
        assert_true(tables.cpu_count <= CPUS_MAX && tables.ioapic_count <= ACPI_IOAPICS_MAX);
        assert_true(tables.numa.node_count <= NUMA_NODES_MAX && tables.numa.range_count <= NUMA_RANGES_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_found_through_either_root),
        cmocka_unit_test(extended_ports_win_over_old_ones),
        cmocka_unit_test(inputs_are_there_as_the_flags_say),
        cmocka_unit_test(a_machine_without_tables_is_not_an_error),
        cmocka_unit_test(a_wrong_checksum_is_named_and_the_table_ignored),
        cmocka_unit_test(a_broken_madt_entry_ends_the_list),
        cmocka_unit_test(s5_is_found_in_every_form_of_package),
        cmocka_unit_test(distances_are_those_of_the_slit),
        cmocka_unit_test(memory_of_two_domains_is_named),
        cmocka_unit_test(damaged_tables_are_read_without_leaving_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
