/* SPDX-License-Identifier: MIT */
/* The ACPI tables as a kernel reads them: found by pointers, checked by checksums; and by iasl where it is
 * installed. */
#define _GNU_SOURCE /* mkdtemp, memmem */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/acpi_tables.h"
#include "hv/dev/pm.h"
#include "tests/unit/table_bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BASE 0xe0000u
#define CAPACITY 0x20000u

static uint8_t buffer[CAPACITY];
static uint64_t used;

static void build(uint32_t cpus)
{
    const struct acpi_tables_config config = {.cpu_count = cpus,
                                              .base = BASE,
                                              .hpet = true,
                                              .pci_devices = 0x0000010e,
                                              .pci_high_start = 0x400000000ULL,
                                              .pci_high_bytes = 0x400000000ULL};

    memset(buffer, 0xa5, sizeof(buffer));
    assert_int_equal(acpi_tables_build(&config, buffer, sizeof(buffer), &used), STATUS_OK);
}

/* A table by its guest-physical address, after checking that it lies in the buffer and sums to zero. */
static const uint8_t *table_at(uint64_t address, const char *signature)
{
    const uint8_t *table = buffer + (address - BASE);

    assert_in_range(address, BASE, BASE + used - 36);
    assert_memory_equal(table, signature, 4);
    assert_in_range(address + read_at(table + 4, 4), BASE, BASE + used);
    assert_int_equal(sum_of(table, read_at(table + 4, 4)), 0);
    return table;
}

static const uint8_t *listed(const char *signature)
{
    const uint8_t *xsdt = table_at(read_at(buffer + 24, 8), "XSDT");

    for (uint64_t at = 36; at < read_at(xsdt + 4, 4); at += 8) {
        uint64_t address = read_at(xsdt + at, 8);

        if (memcmp(buffer + (address - BASE), signature, 4) == 0) {
            return table_at(address, signature);
        }
    }
    fail_msg("%s is not in the XSDT", signature);
    return NULL;
}

static void root_pointer_is_valid_for_both_revisions(void **state)
{
    (void)state;
    build(1);
    assert_memory_equal(buffer, "RSD PTR ", 8);
    assert_int_equal(buffer[15], 2);
    assert_int_equal(sum_of(buffer, 20), 0);
    assert_int_equal(sum_of(buffer, 36), 0);
}

static void rsdt_and_xsdt_list_the_same_tables(void **state)
{
    const uint8_t *rsdt;
    const uint8_t *xsdt;

    (void)state;
    build(2);
    rsdt = table_at(read_at(buffer + 16, 4), "RSDT");
    xsdt = table_at(read_at(buffer + 24, 8), "XSDT");
    assert_int_equal(read_at(rsdt + 4, 4) - 36, 7 * 4);
    assert_int_equal(read_at(xsdt + 4, 4) - 36, 7 * 8);
    for (unsigned i = 0; i < 7; i++) {
        assert_int_equal(read_at(rsdt + 36 + 4 * i, 4), read_at(xsdt + 36 + 8 * i, 8));
    }
}

static void fadt_tells_of_the_devices_that_the_platform_has(void **state)
{
    const uint8_t *fadt;

    (void)state;
    build(1);
    fadt = listed("FACP");
    assert_int_equal(read_at(fadt + 4, 4), 276);
    assert_int_equal(read_at(fadt + 46, 2), 9);                   /* SCI */
    assert_int_equal(read_at(fadt + 48, 4), 0);                   /* no SMI command: always in ACPI mode */
    assert_int_equal(read_at(fadt + 56, 4), PM_BASE);             /* PM1a events */
    assert_int_equal(read_at(fadt + 64, 4), 0x604);               /* PM1a control */
    assert_int_equal(read_at(fadt + 76, 4), 0x608);               /* PM timer */
    assert_int_equal(read_at(fadt + 109, 2) & 2, 0);              /* no 8042 */
    assert_int_equal(read_at(fadt + 109, 2) & 0x20, 0);           /* there is an RTC */
    assert_int_not_equal(read_at(fadt + 112, 4) & (1u << 8), 0);  /* 32-bit timer */
    assert_int_not_equal(read_at(fadt + 112, 4) & (1u << 10), 0); /* reset register */
    assert_int_equal(read_at(fadt + 112, 4) & (1u << 20), 0);     /* fixed hardware */
    assert_int_equal(fadt[116], 1);
    assert_int_equal(read_at(fadt + 120, 8), 0xcf9);
    assert_int_equal(fadt[128], 6);
}

/* Kernels compare the two and complain: the extended addresses and lengths say the same as the legacy ones. */
static void fadt_extended_blocks_agree_with_the_legacy_ones(void **state)
{
    static const struct {
        unsigned legacy, length, extended;
    } blocks[] = {{56, 88, 148}, {64, 89, 172}, {76, 91, 208}};
    const uint8_t *fadt;

    (void)state;
    build(1);
    fadt = listed("FACP");
    for (unsigned i = 0; i < ARRAY_COUNT(blocks); i++) {
        assert_int_equal(read_at(fadt + blocks[i].extended + 4, 8), read_at(fadt + blocks[i].legacy, 4));
        assert_int_equal(fadt[blocks[i].extended + 1], fadt[blocks[i].length] * 8);
    }
    assert_int_equal(read_at(fadt + 40, 4), read_at(fadt + 140, 8));
}

/* Microsoft, "Serial Port Console Redirection Table" and "Debug Port Table 2": offsets of their tables. */
static void spcr_and_dbg2_name_the_first_serial_port(void **state)
{
    const uint8_t *spcr;
    const uint8_t *dbg2;
    const uint8_t *device;

    (void)state;
    build(1);
    spcr = listed("SPCR");
    assert_int_equal(read_at(spcr + 4, 4), 80);
    assert_int_equal(spcr[36], 0); /* a 16550 */
    assert_int_equal(spcr[40], 1); /* in I/O space */
    assert_int_equal(read_at(spcr + 44, 8), 0x3f8);
    assert_int_equal(spcr[53], 4);
    assert_int_equal(read_at(spcr + 54, 4), 4);
    assert_int_equal(spcr[58], 7); /* 115200 baud */
    assert_int_equal(read_at(spcr + 64, 4), 0xffffffff);
    dbg2 = listed("DBG2");
    assert_int_equal(read_at(dbg2 + 40, 4), 1);
    device = dbg2 + read_at(dbg2 + 36, 4);
    assert_int_equal(dbg2 + read_at(dbg2 + 4, 4) - device, read_at(device + 1, 2));
    assert_int_equal(read_at(device + 12, 2), 0x8000);
    assert_int_equal(read_at(device + 14, 2), 0);
    assert_int_equal(read_at(device + read_at(device + 18, 2) + 4, 8), 0x3f8);
    assert_int_equal(read_at(device + read_at(device + 20, 2), 4), 8);
    assert_string_equal((const char *)device + read_at(device + 6, 2), "\\_SB.COM1");
    assert_int_equal(read_at(device + 4, 2), sizeof("\\_SB.COM1"));
}

static void facs_is_aligned_to_64_bytes(void **state)
{
    uint64_t facs;

    (void)state;
    build(1);
    facs = read_at(listed("FACP") + 36, 4);
    assert_int_equal(facs % 64, 0);
    assert_memory_equal(buffer + (facs - BASE), "FACS", 4);
    assert_int_equal(read_at(buffer + (facs - BASE) + 4, 4), 64);
}

static void madt_has_one_local_apic_per_cpu(void **state)
{
    (void)state;
    for (uint32_t cpus = 1; cpus <= 16; cpus++) {
        const uint8_t *madt;
        uint32_t found = 0;

        build(cpus);
        madt = listed("APIC");
        for (uint64_t at = 44; at < read_at(madt + 4, 4); at += madt[at + 1]) {
            if (madt[at] == 0) {
                assert_int_equal(madt[at + 3], found);
                assert_int_equal(read_at(madt + at + 4, 4), 1);
                found++;
            }
        }
        assert_int_equal(found, cpus);
    }
}

static void madt_says_how_irq_0_and_the_sci_are_wired(void **state)
{
    const uint8_t *madt;
    bool timer = false, sci = false, ioapic = false, nmi = false;

    (void)state;
    build(1);
    madt = listed("APIC");
    assert_int_equal(read_at(madt + 36, 4), 0xfee00000);
    for (uint64_t at = 44; at < read_at(madt + 4, 4); at += madt[at + 1]) {
        const uint8_t *entry = madt + at;

        timer |= entry[0] == 2 && entry[3] == 0 && read_at(entry + 4, 4) == 2 && read_at(entry + 8, 2) == 0;
        sci |= entry[0] == 2 && entry[3] == 9 && read_at(entry + 4, 4) == 9 && read_at(entry + 8, 2) == 0xd;
        ioapic |= entry[0] == 1 && read_at(entry + 4, 4) == 0xfec00000 && read_at(entry + 8, 4) == 0;
        nmi |= entry[0] == 4 && entry[2] == 0xff && entry[5] == 1;
    }
    assert_true(timer);
    assert_true(sci);
    assert_true(ioapic);
    assert_true(nmi);
}

static void mcfg_says_where_the_configuration_space_of_bus_0_is(void **state)
{
    const uint8_t *mcfg;

    (void)state;
    build(1);
    mcfg = listed("MCFG");
    assert_int_equal(read_at(mcfg + 4, 4), 60);
    assert_int_equal(read_at(mcfg + 44, 8), 0xe0000000);
    assert_int_equal(read_at(mcfg + 52, 4), 0); /* segment 0, bus 0 to 0 */
}

static void too_small_a_buffer_is_refused_and_not_overrun(void **state)
{
    const struct acpi_tables_config config = {.cpu_count = 4,
                                              .base = BASE,
                                              .hpet = true,
                                              .pci_devices = 0x0000010e,
                                              .pci_high_start = 0x400000000ULL,
                                              .pci_high_bytes = 0x400000000ULL};
    uint64_t needed;

    (void)state;
    build(4);
    needed = used;
    for (uint64_t capacity = 0; capacity < needed; capacity++) {
        uint64_t ignored;

        memset(buffer, 0xa5, sizeof(buffer));
        assert_int_equal(acpi_tables_build(&config, buffer, capacity, &ignored), STATUS_NO_SPACE);
        assert_int_equal(buffer[capacity], 0xa5);
    }
    assert_int_equal(acpi_tables_build(&config, buffer, needed, &used), STATUS_OK);
}

/* Resource descriptors: I/O port decode, 8 bytes from its tag on; IRQ, a mask of 16 bits. ACPI 6.4.2.5, 6.4.2.1. */
static void the_second_serial_port_is_told_of_where_there_is_one(void **state)
{
    static const uint8_t io[] = {0x47, 0x01, 0xf8, 0x02, 0xf8, 0x02, 0x01, 0x08};
    struct acpi_tables_config config = {.cpu_count = 1, .base = BASE};

    (void)state;
    assert_int_equal(acpi_tables_build(&config, buffer, CAPACITY, &used), STATUS_OK);
    assert_null(memmem(buffer, used, "COM2", 4));
    assert_null(memmem(buffer, used, io, sizeof(io)));
    config.com2 = true;
    assert_int_equal(acpi_tables_build(&config, buffer, CAPACITY, &used), STATUS_OK);
    assert_non_null(memmem(buffer, used, "COM2", 4));
    assert_non_null(memmem(buffer, used, io, sizeof(io)));
}

static void the_hpet_is_named_where_the_config_says_so(void **state)
{
    struct acpi_tables_config config = {.cpu_count = 1, .base = BASE};
    const uint8_t *hpet;

    (void)state;
    assert_int_equal(acpi_tables_build(&config, buffer, CAPACITY, &used), STATUS_OK);
    assert_null(memmem(buffer, used, "HPET", 4));
    config.hpet = true;
    assert_int_equal(acpi_tables_build(&config, buffer, CAPACITY, &used), STATUS_OK);
    hpet = listed("HPET");
    assert_int_equal(read_at(hpet + 4, 4), 56);
    assert_int_equal(read_at(hpet + 36, 4), 0x8086a201);
    assert_int_equal(hpet[40], 0); /* memory */
    assert_int_equal(read_at(hpet + 44, 8), 0xfed00000);
    assert_int_equal(hpet[52], 0);
    assert_in_range(read_at(hpet + 53, 2), 200, 300); /* 14 to 21 us */
}

static void the_keyboard_is_told_of_where_the_guest_has_it(void **state)
{
    static const uint8_t ports[] = {0x47, 0x01, 0x60, 0x00, 0x60, 0x00, 0x01, 0x01,
                                    0x47, 0x01, 0x64, 0x00, 0x64, 0x00, 0x01, 0x01};
    struct acpi_tables_config config = {.cpu_count = 1, .base = BASE};

    (void)state;
    assert_int_equal(acpi_tables_build(&config, buffer, CAPACITY, &used), STATUS_OK);
    assert_null(memmem(buffer, used, "KBD_", 4));
    assert_null(memmem(buffer, used, "MOU_", 4));
    config.keyboard = true;
    assert_int_equal(acpi_tables_build(&config, buffer, CAPACITY, &used), STATUS_OK);
    assert_non_null(memmem(buffer, used, "KBD_", 4));
    assert_non_null(memmem(buffer, used, "MOU_", 4));
    assert_non_null(memmem(buffer, used, ports, sizeof(ports)));
    assert_int_equal(read_at(listed("FACP") + 109, 2), 7); /* legacy devices, an 8042, no VGA */
}

static void impossible_requests_are_refused(void **state)
{
    struct acpi_tables_config config = {.cpu_count = 0, .base = BASE};

    (void)state;
    assert_int_equal(acpi_tables_build(&config, buffer, CAPACITY, &used), STATUS_INVALID);
    config.cpu_count = 255;
    assert_int_equal(acpi_tables_build(&config, buffer, CAPACITY, &used), STATUS_INVALID);
    config = (struct acpi_tables_config){.cpu_count = 1, .base = BASE + 16};
    assert_int_equal(acpi_tables_build(&config, buffer, CAPACITY, &used), STATUS_MISALIGNED);
}

static void write_file(const char *path, const uint8_t *table)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(table, 1, read_at(table + 4, 4), file), read_at(table + 4, 4));
    fclose(file);
}

static bool file_contains(const char *path, const char *text)
{
    static char content[65536];
    FILE *file = fopen(path, "rb");
    size_t length;

    assert_non_null(file);
    length = fread(content, 1, sizeof(content) - 1, file);
    fclose(file);
    content[length] = '\0';
    return strstr(content, text) != NULL;
}

/* The AML means what was intended to another project's compiler: it is decompiled, and compiled again. */
static void iasl_accepts_the_tables(void **state)
{
    char directory[] = "/tmp/plinth-acpi-XXXXXX";
    char command[320], path[128];

    (void)state;
    if (system("command -v iasl >/dev/null 2>&1") != 0) {
        skip();
    }
    build(4);
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/dsdt.aml", directory);
    write_file(path, table_at(read_at(listed("FACP") + 40, 4), "DSDT"));
    snprintf(path, sizeof(path), "%s/facp.aml", directory);
    write_file(path, listed("FACP"));
    snprintf(path, sizeof(path), "%s/apic.aml", directory);
    write_file(path, listed("APIC"));
    snprintf(path, sizeof(path), "%s/mcfg.aml", directory);
    write_file(path, listed("MCFG"));
    snprintf(path, sizeof(path), "%s/spcr.aml", directory);
    write_file(path, listed("SPCR"));
    snprintf(path, sizeof(path), "%s/dbg2.aml", directory);
    write_file(path, listed("DBG2"));
    snprintf(path, sizeof(path), "%s/wdat.aml", directory);
    write_file(path, listed("WDAT"));
    snprintf(path, sizeof(path), "%s/hpet.aml", directory);
    write_file(path, listed("HPET"));
    snprintf(command, sizeof(command),
             "cd %s && for t in dsdt facp apic mcfg spcr dbg2 wdat hpet; do iasl -d $t.aml >$t.log 2>&1 || exit 1; "
             "done; "
             "iasl -we -p again dsdt.dsl >again.log 2>&1",
             directory);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof(path), "%s/dsdt.dsl", directory);
    assert_true(file_contains(path, "Name (\\_S5, Package (0x04)"));
    assert_true(file_contains(path, "EisaId (\"PNP0501\")"));
    assert_true(file_contains(path, "Name (_HID, \"QEMU0001\""));
    assert_true(file_contains(path, "Name (_STA, 0x0F)"));
    assert_true(file_contains(path, "0x0505,             // Range Minimum"));
    assert_true(file_contains(path, "EisaId (\"PNP0A03\")"));
    assert_true(file_contains(path, "EisaId (\"PNP0A08\")"));
    assert_true(file_contains(path, "WordBusNumber"));
    assert_true(file_contains(path, "QWordMemory"));
    assert_true(file_contains(path, "Method (_OSC, 4"));
    assert_true(file_contains(path, "Method (_PIC, 1"));
    assert_true(file_contains(path, "Return (PRTA)"));
    assert_true(file_contains(path, "Memory32Fixed"));
    assert_true(file_contains(path, "0x0008FFFF"));
    snprintf(path, sizeof(path), "%s/facp.dsl", directory);
    assert_false(file_contains(path, "Incorrect checksum"));
    snprintf(path, sizeof(path), "%s/spcr.dsl", directory);
    assert_true(file_contains(path, "00000000000003F8"));
    assert_false(file_contains(path, "****"));
    snprintf(path, sizeof(path), "%s/wdat.dsl", directory);
    assert_true(file_contains(path, "Watchdog Action : 06"));
    assert_true(file_contains(path, "0000000000000624"));
    assert_false(file_contains(path, "****"));
    snprintf(path, sizeof(path), "%s/dbg2.dsl", directory);
    assert_true(file_contains(path, "Namepath : \"\\_SB.COM1\""));
    assert_false(file_contains(path, "****"));
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(root_pointer_is_valid_for_both_revisions),
        cmocka_unit_test(rsdt_and_xsdt_list_the_same_tables),
        cmocka_unit_test(fadt_tells_of_the_devices_that_the_platform_has),
        cmocka_unit_test(fadt_extended_blocks_agree_with_the_legacy_ones),
        cmocka_unit_test(spcr_and_dbg2_name_the_first_serial_port),
        cmocka_unit_test(facs_is_aligned_to_64_bytes),
        cmocka_unit_test(madt_has_one_local_apic_per_cpu),
        cmocka_unit_test(madt_says_how_irq_0_and_the_sci_are_wired),
        cmocka_unit_test(mcfg_says_where_the_configuration_space_of_bus_0_is),
        cmocka_unit_test(too_small_a_buffer_is_refused_and_not_overrun),
        cmocka_unit_test(the_second_serial_port_is_told_of_where_there_is_one),
        cmocka_unit_test(the_hpet_is_named_where_the_config_says_so),
        cmocka_unit_test(the_keyboard_is_told_of_where_the_guest_has_it),
        cmocka_unit_test(impossible_requests_are_refused),
        cmocka_unit_test(iasl_accepts_the_tables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
