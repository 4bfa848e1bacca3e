/* SPDX-License-Identifier: MIT */
/*
 * The MultiProcessor tables and SMBIOS. See bios_tables.h.
 *
 *   0x00  SMBIOS entry point | 0x20  MP floating pointer | 0x30  MP configuration table | SMBIOS structures
 *
 * The MP tables describe the same machine as the MADT (hv/dev/acpi_tables.c): the 8259 pair's INTR on pin 0, IRQ 0 on
 * pin 2, the other ISA interrupts on the pins of their numbers, the SCI level-triggered and active high, LINT0 for the
 * 8259 pair and LINT1 for NMIs. PCI has no interrupts.
 */
#include "hv/dev/bios_tables.h"

#include "hv/base/memory.h"
#include "hv/dev/table_writer.h"
#include "hv/mm/guest_layout.h"

#define POINTER_AT 0x20u

/* --- MultiProcessor Specification 1.4, chapter 4 "MP Configuration Table" --- */

#define MP_POINTER_BYTES 16u
#define MP_REVISION 4u /* 1.4 */
#define MP_CPUS_MAX 254u
#define LAPIC_VERSION 0x14u
#define IOAPIC_VERSION 0x20u
#define IOAPIC_ID 0u
#define ALL_LAPICS 0xffu
#define CPU_ENABLED 0x1u
#define CPU_BOOTSTRAP 0x2u
#define BUS_PCI 0u
#define BUS_ISA 1u
#define ISA_IRQS 16u
#define IRQ_CASCADE 2u
#define IRQ_SCI 9u
#define PIN_TIMER 2u
#define CONFORMS 0x0u
#define HIGH_LEVEL 0xdu

enum mp_interrupt {
    MP_INT = 0,
    MP_NMI = 1,
    MP_EXTINT = 3,
};

static void mp_cpu(struct table_writer *out, const struct bios_tables_config *config, uint32_t id)
{
    writer_u8(out, 0);
    writer_u8(out, (uint8_t)id);
    writer_u8(out, LAPIC_VERSION);
    writer_u8(out, id == 0 ? CPU_ENABLED | CPU_BOOTSTRAP : CPU_ENABLED);
    writer_uint(out, config->cpu_signature, 4);
    writer_uint(out, config->cpu_features, 4);
    writer_zeroes(out, 8);
}

static void mp_bus(struct table_writer *out, uint8_t id, const char type[6])
{
    writer_u8(out, 1);
    writer_u8(out, id);
    writer_text(out, type);
}

static void mp_ioapic(struct table_writer *out)
{
    writer_u8(out, 2);
    writer_u8(out, IOAPIC_ID);
    writer_u8(out, IOAPIC_VERSION);
    writer_u8(out, 1); /* usable */
    writer_uint(out, GUEST_IOAPIC_BASE, 4);
}

/* Kind 3: `to` is a pin of the I/O APIC; kind 4: a LINT pin of every local APIC. */
static void mp_interrupt(struct table_writer *out, uint8_t kind, enum mp_interrupt type, uint8_t flags, uint8_t irq,
                         uint8_t to)
{
    writer_u8(out, kind);
    writer_u8(out, (uint8_t)type);
    writer_uint(out, flags, 2);
    writer_u8(out, BUS_ISA);
    writer_u8(out, irq);
    writer_u8(out, kind == 3 ? IOAPIC_ID : ALL_LAPICS);
    writer_u8(out, to);
}

/* The number of entries. */
static uint32_t mp_entries(struct table_writer *out, const struct bios_tables_config *config)
{
    for (uint32_t cpu = 0; cpu < config->cpu_count; cpu++) {
        mp_cpu(out, config, cpu);
    }
    mp_bus(out, BUS_PCI, "PCI   ");
    mp_bus(out, BUS_ISA, "ISA   ");
    mp_ioapic(out);
    mp_interrupt(out, 3, MP_EXTINT, CONFORMS, 0, 0);
    for (uint8_t irq = 0; irq < ISA_IRQS; irq++) {
        if (irq != IRQ_CASCADE) {
            mp_interrupt(out, 3, MP_INT, irq == IRQ_SCI ? HIGH_LEVEL : CONFORMS, irq, irq == 0 ? PIN_TIMER : irq);
        }
    }
    mp_interrupt(out, 4, MP_EXTINT, CONFORMS, 0, 0);
    mp_interrupt(out, 4, MP_NMI, CONFORMS, 0, 1);
    return config->cpu_count + 3 + 1 + (ISA_IRQS - 1) + 2;
}

static void mp_table(struct table_writer *out, const struct bios_tables_config *config)
{
    uint64_t start = out->used;
    uint32_t entries;

    writer_text(out, "PCMP");
    writer_uint(out, 0, 2); /* length */
    writer_u8(out, MP_REVISION);
    writer_u8(out, 0); /* checksum */
    writer_text(out, "PLINTH  ");
    writer_text(out, "PLINTH PC   ");
    writer_zeroes(out, 8); /* no OEM table, and the entry count */
    writer_uint(out, GUEST_LAPIC_BASE, 4);
    writer_zeroes(out, 4);
    entries = mp_entries(out, config);
    writer_patch(out, start + 4, out->used - start, 2);
    writer_patch(out, start + 34, entries, 2);
    writer_patch(out, start + 7, writer_checksum(out, start, out->used - start), 1);
}

/* Section 4.1 "MP Floating Pointer Structure". No feature bytes: there is a table, and no IMCR. */
static void mp_pointer(struct table_writer *out)
{
    uint64_t start = out->used;

    writer_text(out, "_MP_");
    writer_uint(out, BIOS_TABLES_BASE + start + MP_POINTER_BYTES, 4);
    writer_u8(out, MP_POINTER_BYTES / 16);
    writer_u8(out, MP_REVISION);
    writer_zeroes(out, 6);
    writer_patch(out, start + 10, writer_checksum(out, start, MP_POINTER_BYTES), 1);
}

/* --- SMBIOS 2.8 --- */

#define SMBIOS_ENTRY_BYTES 31u
#define SMBIOS_INTERMEDIATE_AT 16u
#define SMBIOS_STRUCTURES 4u
#define SMBIOS_STRUCTURE_MAX 128u
#define SMBIOS_NO_HANDLE 0xfffeu
#define SMBIOS_BIOS_KIB64 2u /* 0xe0000 to 1 MiB */
#define SMBIOS_VIRTUAL 0x10u /* 7.1.2.2: the system is a virtual machine */
#define SMBIOS_UNKNOWN_CHARACTERISTICS 0x8u
#define SMBIOS_BY_POWER_SWITCH 6u
#define SMBIOS_EXTENDED_CAPACITY 0x80000000u

static void smbios_begin(struct table_writer *out, uint8_t type, uint8_t bytes)
{
    writer_u8(out, type);
    writer_u8(out, bytes);
    writer_uint(out, type, 2); /* the handle: there is one of each type */
}

/* Strings are zero-terminated and counted from 1; a zero more ends the structure. */
static void smbios_string(struct table_writer *out, const char *text)
{
    writer_text(out, text);
    writer_u8(out, 0);
}

/* 7.1 "BIOS Information (Type 0)". */
static void smbios_bios(struct table_writer *out)
{
    smbios_begin(out, 0, 24);
    writer_u8(out, 1);
    writer_u8(out, 2);
    writer_uint(out, 0xe000, 2);
    writer_u8(out, 3);
    writer_u8(out, SMBIOS_BIOS_KIB64 - 1);
    writer_uint(out, SMBIOS_UNKNOWN_CHARACTERISTICS, 8);
    writer_u8(out, 0);
    writer_u8(out, SMBIOS_VIRTUAL);
    writer_uint(out, 0xffff0001, 4); /* release 1.0; no embedded controller */
    smbios_string(out, "Plinth");
    smbios_string(out, "1");
    smbios_string(out, "01/01/2026");
    writer_u8(out, 0);
}

/* 7.2 "System Information (Type 1)", without serial number and UUID. */
static void smbios_system(struct table_writer *out)
{
    smbios_begin(out, 1, 27);
    writer_u8(out, 1);
    writer_u8(out, 2);
    writer_zeroes(out, 2 + 16);
    writer_u8(out, SMBIOS_BY_POWER_SWITCH);
    writer_zeroes(out, 2);
    smbios_string(out, "Plinth");
    smbios_string(out, "Plinth PC");
    writer_u8(out, 0);
}

/* 7.17 "Physical Memory Array (Type 16)": system memory on the board, no error correction. */
static void smbios_memory(struct table_writer *out, uint64_t bytes)
{
    smbios_begin(out, 16, 23);
    writer_uint(out, 0x030303, 3);
    writer_uint(out, SMBIOS_EXTENDED_CAPACITY, 4);
    writer_uint(out, SMBIOS_NO_HANDLE, 2);
    writer_uint(out, 0, 2);
    writer_uint(out, bytes, 8);
    writer_zeroes(out, 2);
}

static void smbios_structures(struct table_writer *out, uint64_t memory_bytes)
{
    smbios_bios(out);
    smbios_system(out);
    smbios_memory(out, memory_bytes);
    smbios_begin(out, 127, 4); /* 7.45 "End-of-Table" */
    writer_zeroes(out, 2);
}

/* 5.2.1 "SMBIOS 2.1 (32-bit) Entry Point". */
static void fill_smbios_entry(uint8_t *to, uint64_t start, uint64_t bytes)
{
    struct table_writer entry = {.to = to, .capacity = SMBIOS_ENTRY_BYTES};

    writer_text(&entry, "_SM_");
    writer_u8(&entry, 0);
    writer_u8(&entry, SMBIOS_ENTRY_BYTES);
    writer_uint(&entry, 0x0802, 2); /* 2.8 */
    writer_uint(&entry, SMBIOS_STRUCTURE_MAX, 2);
    writer_zeroes(&entry, 6);
    writer_text(&entry, "_DMI_");
    writer_u8(&entry, 0);
    writer_uint(&entry, bytes, 2);
    writer_uint(&entry, BIOS_TABLES_BASE + start, 4);
    writer_uint(&entry, SMBIOS_STRUCTURES, 2);
    writer_u8(&entry, 0x28);
    writer_patch(&entry, SMBIOS_INTERMEDIATE_AT + 5,
                 writer_checksum(&entry, SMBIOS_INTERMEDIATE_AT, SMBIOS_ENTRY_BYTES - SMBIOS_INTERMEDIATE_AT), 1);
    writer_patch(&entry, 4, writer_checksum(&entry, 0, SMBIOS_ENTRY_BYTES), 1);
}

enum status bios_tables_build(const struct bios_tables_config *config, uint8_t *buffer, uint64_t capacity,
                              uint64_t *used)
{
    struct table_writer out = {.to = buffer, .capacity = capacity};
    uint64_t structures;

    if (config->cpu_count == 0 || config->cpu_count > MP_CPUS_MAX) {
        return STATUS_INVALID;
    }
    writer_zeroes(&out, POINTER_AT);
    mp_pointer(&out);
    mp_table(&out, config);
    structures = out.used;
    smbios_structures(&out, config->memory_bytes);
    if (out.full) {
        return STATUS_NO_SPACE;
    }
    fill_smbios_entry(buffer, structures, out.used - structures);
    *used = out.used;
    return STATUS_OK;
}
