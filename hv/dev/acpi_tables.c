/* SPDX-License-Identifier: MIT */
/*
 * The guest's ACPI tables. ACPI 6.5: 5.2.5 RSDP, 5.2.6 table header, 5.2.7 RSDT, 5.2.8 XSDT, 5.2.9 FADT, 5.2.10 FACS,
 * 5.2.12 MADT.
 *
 *   base: RSDP | FACS (64-byte aligned) | DSDT | FADT | MADT | MCFG | SPCR | DBG2 | WDAT | HPET | RSDT | XSDT
 *
 * A table is written front to back (hv/dev/table_writer.h); its length and checksum are filled in when it ends. The
 * DSDT is acpi_dsdt.c's.
 *
 * The machine that the tables describe has fixed hardware in ACPI mode from the start (SMI_CMD is 0), a PM timer, S5,
 * and a reset register; the interrupt source overrides are those of every PC: IRQ 0 on pin 2, and the SCI
 * level-triggered, active high. There is a power button, and there are no
 * general-purpose events, no sleep states, no sleep button.
 */
#include "hv/dev/acpi_tables.h"

#include "hv/base/memory.h"
#include "hv/dev/acpi_dsdt.h"
#include "hv/dev/hpet.h"
#include "hv/dev/pci/host.h"
#include "hv/dev/pm.h"
#include "hv/dev/table_writer.h"
#include "hv/dev/wdat.h"
#include "hv/mm/guest_layout.h"

#define OEM_ID "PLINTH"
#define OEM_TABLE_ID "PLINTHPC"
#define OEM_REVISION 1u
#define CREATOR_ID "PLTH"
#define HEADER_BYTES 36u
#define HEADER_LENGTH_OFFSET 4u
#define HEADER_CHECKSUM_OFFSET 9u
#define TABLE_ALIGNMENT 16u
#define XAPIC_CPUS_MAX 254u

/* --- Tables --- */

uint64_t acpi_table_begin(struct table_writer *out, const char *signature, uint8_t revision)
{
    uint64_t start;

    writer_align(out, TABLE_ALIGNMENT);
    start = out->used;
    writer_text(out, signature);
    writer_uint(out, 0, 4); /* length */
    writer_u8(out, revision);
    writer_u8(out, 0); /* checksum */
    writer_text(out, OEM_ID);
    writer_text(out, OEM_TABLE_ID);
    writer_uint(out, OEM_REVISION, 4);
    writer_text(out, CREATOR_ID);
    writer_uint(out, 1, 4); /* creator revision */
    return start;
}

void acpi_table_end(struct table_writer *out, uint64_t start)
{
    writer_patch(out, start + HEADER_LENGTH_OFFSET, out->used - start, 4);
    writer_patch(out, start + HEADER_CHECKSUM_OFFSET, writer_checksum(out, start, out->used - start), 1);
}

/* --- FACS and FADT --- */

#define FACS_BYTES 64u
#define FADT_REVISION 6u
#define FADT_BYTES 276u

static uint64_t put_facs(struct table_writer *out)
{
    uint64_t start;

    writer_align(out, FACS_BYTES);
    start = out->used;
    writer_text(out, "FACS");
    writer_uint(out, FACS_BYTES, 4);
    writer_zeroes(out, 24);
    writer_u8(out, 2); /* version */
    writer_zeroes(out, FACS_BYTES - 33);
    return start;
}

/* 5.2.9 table 5.10 "IA-PC Boot Architecture Flags": legacy devices, no VGA; an 8042 where
 * the guest has the machine's; there are an RTC and MSIs. */
#define BOOT_LEGACY_DEVICES 0x0001u
#define BOOT_8042 0x0002u
#define BOOT_NO_VGA 0x0004u
#define BOOT_ARCH (BOOT_LEGACY_DEVICES | BOOT_NO_VGA)
#define FADT_BOOT_ARCH 109u
/* 5.2.9 table 5.9: WBINVD works, C1, a fixed power button (bit 4 is 0), no fixed sleep button, fixed RTC wake (bit 6
 * is 0), 32-bit PM timer, reset register, headless. */
#define FADT_FLAGS (1u << 0 | 1u << 2 | 1u << 5 | 1u << 8 | 1u << 10 | 1u << 12)
#define SCI_INTERRUPT 9u
#define RESET_PORT 0xcf9u
#define RESET_VALUE 6u
#define CENTURY_REGISTER 0x32u

/* The fields that are not 0. Offsets and sizes are those of table 5.9 "FADT Format". */
struct field {
    uint16_t offset;
    uint8_t bytes;
    uint32_t value;
};

static const struct field fadt_fields[] = {
    {46, 2, SCI_INTERRUPT},
    {56, 4, PM_BASE + PM_STATUS_OFFSET},  /* PM1a_EVT_BLK */
    {64, 4, PM_BASE + PM_CONTROL_OFFSET}, /* PM1a_CNT_BLK */
    {76, 4, PM_BASE + PM_TIMER_OFFSET},   /* PM_TMR_BLK */
    {88, 1, 4},                           /* PM1_EVT_LEN */
    {89, 1, 2},                           /* PM1_CNT_LEN */
    {91, 1, 4},                           /* PM_TMR_LEN */
    {96, 2, 0xfff},                       /* P_LVL2_LAT: over 100, no C2 */
    {98, 2, 0xfff},                       /* P_LVL3_LAT: over 1000, no C3 */
    {108, 1, CENTURY_REGISTER},
    {FADT_BOOT_ARCH, 2, BOOT_ARCH},
    {112, 4, FADT_FLAGS},
    {128, 1, RESET_VALUE},
};

/* Generic Address Structures in I/O space. 5.2.3.2: space 1, bit width, bit offset 0, access size, address. */
static const struct {
    uint16_t offset;
    uint8_t bits;
    uint8_t access; /* 1 byte, 2 word, 3 dword */
    uint16_t port;
} fadt_registers[] = {
    {116, 8, 1, RESET_PORT},
    {148, 32, 2, PM_BASE + PM_STATUS_OFFSET},
    {172, 16, 2, PM_BASE + PM_CONTROL_OFFSET},
    {208, 32, 3, PM_BASE + PM_TIMER_OFFSET},
};

static uint64_t put_fadt(struct table_writer *out, uint64_t base, uint64_t facs, uint64_t dsdt, bool keyboard)
{
    uint64_t start = acpi_table_begin(out, "FACP", FADT_REVISION);

    writer_zeroes(out, FADT_BYTES - HEADER_BYTES);
    for (size_t i = 0; i < ARRAY_COUNT(fadt_fields); i++) {
        writer_patch(out, start + fadt_fields[i].offset, fadt_fields[i].value, fadt_fields[i].bytes);
    }
    if (keyboard) {
        writer_patch(out, start + FADT_BOOT_ARCH, BOOT_ARCH | BOOT_8042, 2);
    }
    for (size_t i = 0; i < ARRAY_COUNT(fadt_registers); i++) {
        uint64_t at = start + fadt_registers[i].offset;

        writer_patch(out, at, 1, 1);
        writer_patch(out, at + 1, fadt_registers[i].bits, 1);
        writer_patch(out, at + 3, fadt_registers[i].access, 1);
        writer_patch(out, at + 4, fadt_registers[i].port, 8);
    }
    writer_patch(out, start + 36, base + facs, 4);
    writer_patch(out, start + 40, base + dsdt, 4);
    writer_patch(out, start + 140, base + dsdt, 8); /* X_DSDT */
    acpi_table_end(out, start);
    return start;
}

/* --- MADT --- */

#define MADT_PCAT_COMPAT 1u /* there is an 8259 pair */
/* 5.2.12.5, table 5.25 "MPS INTI Flags". */
#define INTI_CONFORMS 0x0u
#define INTI_HIGH_LEVEL 0xdu
#define ALL_PROCESSORS 0xffu

static void madt_override(struct table_writer *out, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    writer_u8(out, 2); /* 5.2.12.5 "Interrupt Source Override Structure" */
    writer_u8(out, 10);
    writer_u8(out, 0); /* ISA */
    writer_u8(out, irq);
    writer_uint(out, gsi, 4);
    writer_uint(out, flags, 2);
}

static void madt_cpus(struct table_writer *out, uint32_t count)
{
    for (uint32_t cpu = 0; cpu < count; cpu++) {
        writer_u8(out, 0); /* 5.2.12.2 "Processor Local APIC Structure" */
        writer_u8(out, 8);
        writer_u8(out, (uint8_t)cpu); /* processor UID */
        writer_u8(out, (uint8_t)cpu); /* APIC id */
        writer_uint(out, 1, 4);       /* enabled */
    }
}

static void madt_ioapic(struct table_writer *out)
{
    writer_u8(out, 1); /* 5.2.12.3 "I/O APIC Structure" */
    writer_u8(out, 12);
    writer_u8(out, 0); /* id */
    writer_u8(out, 0);
    writer_uint(out, GUEST_IOAPIC_BASE, 4);
    writer_uint(out, 0, 4); /* first global interrupt */
}

static void madt_lint1_nmi(struct table_writer *out)
{
    writer_u8(out, 4); /* 5.2.12.7 "Local APIC NMI Structure" */
    writer_u8(out, 6);
    writer_u8(out, ALL_PROCESSORS);
    writer_uint(out, INTI_CONFORMS, 2);
    writer_u8(out, 1);
}

static uint64_t put_madt(struct table_writer *out, uint32_t cpu_count)
{
    uint64_t start = acpi_table_begin(out, "APIC", 5);

    writer_uint(out, GUEST_LAPIC_BASE, 4);
    writer_uint(out, MADT_PCAT_COMPAT, 4);
    madt_cpus(out, cpu_count);
    madt_ioapic(out);
    madt_override(out, 0, 2, INTI_CONFORMS);
    madt_override(out, SCI_INTERRUPT, SCI_INTERRUPT, INTI_HIGH_LEVEL);
    madt_lint1_nmi(out);
    acpi_table_end(out, start);
    return start;
}

/* --- MCFG --- */

/* PCI Firmware Specification 3.0, 4.1.2 "MCFG Table Description": one range, segment 0, bus 0. */
static uint64_t put_mcfg(struct table_writer *out)
{
    uint64_t start = acpi_table_begin(out, "MCFG", 1);

    writer_zeroes(out, 8);
    writer_uint(out, GUEST_ECAM_BASE, 8);
    writer_uint(out, 0, 2); /* segment */
    writer_u8(out, 0);      /* first bus */
    writer_u8(out, (uint8_t)(PCI_ECAM_BYTES / (PCI_DEVFNS * 4096u) - 1));
    writer_zeroes(out, 4);
    acpi_table_end(out, start);
    return start;
}

/* --- The console: SPCR and DBG2 --- */

#define COM1_PORT 0x3f8u
#define COM1_PORTS 8u
#define COM1_IRQ 4u
#define COM1_PATH "\\_SB.COM1"
#define SERIAL_16550 0x00u
#define SERIAL_DEBUG_PORT 0x8000u
/* Microsoft, "Serial Port Console Redirection Table", table 1: interrupt types, bits; settings. */
#define SPCR_REVISION 2u
#define SPCR_BYTES 80u
#define SPCR_8259_AND_IOAPIC 0x03u
#define SPCR_BAUD_115200 7u
#define SPCR_ONE_STOP_BIT 1u
#define SPCR_VT_UTF8 2u
#define NO_PCI_DEVICE 0xffffu

/* A Generic Address Structure of byte registers in I/O space. ACPI 6.5, 5.2.3.2. */
static void put_port(struct table_writer *out, uint16_t port)
{
    writer_u8(out, 1); /* system I/O space */
    writer_u8(out, 8);
    writer_u8(out, 0);
    writer_u8(out, 1); /* access size: a byte */
    writer_uint(out, port, 8);
}

/* Where firmware would have its console, for kernels that take no word about it: NOVA is silent without. */
static uint64_t put_spcr(struct table_writer *out)
{
    uint64_t start = acpi_table_begin(out, "SPCR", SPCR_REVISION);

    writer_u8(out, SERIAL_16550);
    writer_zeroes(out, 3);
    put_port(out, COM1_PORT);
    writer_u8(out, SPCR_8259_AND_IOAPIC);
    writer_u8(out, COM1_IRQ);
    writer_uint(out, COM1_IRQ, 4); /* the global interrupt */
    writer_u8(out, SPCR_BAUD_115200);
    writer_u8(out, 0); /* no parity */
    writer_u8(out, SPCR_ONE_STOP_BIT);
    writer_u8(out, 0); /* no flow control */
    writer_u8(out, SPCR_VT_UTF8);
    writer_u8(out, 0); /* language */
    writer_uint(out, NO_PCI_DEVICE, 2);
    writer_uint(out, NO_PCI_DEVICE, 2);
    writer_zeroes(out, SPCR_BYTES - (out->used - start));
    acpi_table_end(out, start);
    return start;
}

/* Microsoft, "Debug Port Table 2 (DBG2)", tables 1 "DBG2 table" and 2 "Debug Device Information structure". */
#define DBG2_DEVICES_OFFSET 44u
#define DBG2_DEVICE_BYTES 22u /* before the addresses */
#define DBG2_ADDRESS_BYTES 12u

static uint64_t put_dbg2(struct table_writer *out)
{
    static const char path[] = COM1_PATH;
    uint64_t start = acpi_table_begin(out, "DBG2", 0);

    writer_uint(out, DBG2_DEVICES_OFFSET, 4);
    writer_uint(out, 1, 4); /* devices */
    writer_u8(out, 0);      /* revision of the device's structure */
    writer_uint(out, DBG2_DEVICE_BYTES + DBG2_ADDRESS_BYTES + 4 + sizeof(path), 2);
    writer_u8(out, 1); /* addresses */
    writer_uint(out, sizeof(path), 2);
    writer_uint(out, DBG2_DEVICE_BYTES + DBG2_ADDRESS_BYTES + 4, 2); /* where the path is */
    writer_uint(out, 0, 2);                                          /* no data of the OEM's, */
    writer_uint(out, 0, 2);                                          /* so nowhere */
    writer_uint(out, SERIAL_DEBUG_PORT, 2);
    writer_uint(out, SERIAL_16550, 2);
    writer_uint(out, 0, 2);
    writer_uint(out, DBG2_DEVICE_BYTES, 2);                      /* where the address is, */
    writer_uint(out, DBG2_DEVICE_BYTES + DBG2_ADDRESS_BYTES, 2); /* and its size */
    put_port(out, COM1_PORT);
    writer_uint(out, COM1_PORTS, 4);
    writer_text(out, path);
    writer_u8(out, 0);
    acpi_table_end(out, start);
    return start;
}

/* --- HPET --- */

/* IA-PC HPET Specification 1.0a, 3.2.4 "The ACPI 2.0 HPET Description Table (HPET)". */
static uint64_t put_hpet(struct table_writer *out)
{
    uint64_t start = acpi_table_begin(out, "HPET", 1);

    writer_uint(out, HPET_BLOCK_ID, 4);
    writer_u8(out, 0); /* system memory */
    writer_u8(out, 64);
    writer_zeroes(out, 2);
    writer_uint(out, GUEST_HPET_BASE, 8);
    writer_u8(out, 0); /* the first and only one */
    writer_uint(out, HPET_PERIOD_MIN_TICKS, 2);
    writer_u8(out, 1); /* nothing else is in its page */
    acpi_table_end(out, start);
    return start;
}

/* --- Root tables --- */

#define RSDP_BYTES 36u
#define RSDP_V1_BYTES 20u

static uint64_t put_root(struct table_writer *out, const char *signature, unsigned pointer_bytes,
                         const uint64_t *tables, size_t count)
{
    uint64_t start = acpi_table_begin(out, signature, 1);

    for (size_t i = 0; i < count; i++) {
        writer_uint(out, tables[i], pointer_bytes);
    }
    acpi_table_end(out, start);
    return start;
}

/* Written last, over the zeroes at the start of the buffer. */
static void fill_rsdp(struct table_writer *out, uint64_t rsdt, uint64_t xsdt)
{
    struct table_writer rsdp = {.to = out->to, .capacity = RSDP_BYTES};

    writer_text(&rsdp, "RSD PTR ");
    writer_u8(&rsdp, 0); /* checksum of the first 20 bytes */
    writer_text(&rsdp, OEM_ID);
    writer_u8(&rsdp, 2); /* revision */
    writer_uint(&rsdp, rsdt, 4);
    writer_uint(&rsdp, RSDP_BYTES, 4);
    writer_uint(&rsdp, xsdt, 8);
    writer_uint(&rsdp, 0, 4); /* extended checksum, reserved */
    writer_patch(&rsdp, 8, writer_checksum(&rsdp, 0, RSDP_V1_BYTES), 1);
    writer_patch(&rsdp, 32, writer_checksum(&rsdp, 0, RSDP_BYTES), 1);
}

enum status acpi_tables_build(const struct acpi_tables_config *config, uint8_t *buffer, uint64_t capacity,
                              uint64_t *used)
{
    struct table_writer out = {.to = buffer, .capacity = capacity};
    uint64_t base = config->base;
    uint64_t facs, dsdt, rsdt, xsdt;
    uint64_t listed[7];
    size_t count = 0;

    if (config->cpu_count == 0 || config->cpu_count > XAPIC_CPUS_MAX || base + capacity > UINT32_MAX) {
        return STATUS_INVALID;
    }
    if (!is_aligned(base, FACS_BYTES)) {
        return STATUS_MISALIGNED;
    }
    writer_zeroes(&out, RSDP_BYTES);
    facs = put_facs(&out);
    dsdt = acpi_put_dsdt(&out, config);
    listed[count++] = base + put_fadt(&out, base, facs, dsdt, config->keyboard);
    listed[count++] = base + put_madt(&out, config->cpu_count);
    listed[count++] = base + put_mcfg(&out);
    listed[count++] = base + put_spcr(&out);
    listed[count++] = base + put_dbg2(&out);
    listed[count++] = base + wdat_put_table(&out);
    if (config->hpet) {
        listed[count++] = base + put_hpet(&out);
    }
    rsdt = put_root(&out, "RSDT", 4, listed, count);
    xsdt = put_root(&out, "XSDT", 8, listed, count);
    if (out.full) {
        return STATUS_NO_SPACE;
    }
    fill_rsdp(&out, base + rsdt, base + xsdt);
    *used = out.used;
    return STATUS_OK;
}
