/*
 * The guest's ACPI tables. ACPI 6.5: 5.2.5 RSDP, 5.2.6 table header, 5.2.7 RSDT, 5.2.8 XSDT, 5.2.9 FADT, 5.2.10 FACS,
 * 5.2.12 MADT; 20.2 "AML Grammar Definition" for the DSDT.
 *
 *   base: RSDP | FACS (64-byte aligned) | DSDT | FADT | MADT | RSDT | XSDT
 *
 * A table is written front to back (hv/dev/table_writer.h); its length and checksum are filled in when it ends. AML has
 * the same need inside: a package starts with its own length. It is always written in the two-byte form, so that it can
 * be filled in afterwards.
 *
 * The machine that the tables describe has fixed hardware in ACPI mode from the start (SMI_CMD is 0), a PM timer, S5,
 * and a reset register; the interrupt source overrides are those of every PC: IRQ 0 on pin 2, and the SCI
 * level-triggered, active high. There is a power button, and there are no
 * general-purpose events, no sleep states, no sleep button.
 */
#include "hv/dev/acpi_tables.h"

#include "hv/base/memory.h"
#include "hv/dev/pm.h"
#include "hv/dev/table_writer.h"
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

static uint64_t table_begin(struct table_writer *out, const char *signature, uint8_t revision)
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

static void table_end(struct table_writer *out, uint64_t start)
{
    writer_patch(out, start + HEADER_LENGTH_OFFSET, out->used - start, 4);
    writer_patch(out, start + HEADER_CHECKSUM_OFFSET, writer_checksum(out, start, out->used - start), 1);
}

/* --- AML --- */

#define AML_NAME 0x08u
#define AML_BYTE 0x0au
#define AML_DWORD 0x0cu
#define AML_SCOPE 0x10u
#define AML_BUFFER 0x11u
#define AML_PACKAGE 0x12u
#define AML_EXTENDED 0x5bu
#define AML_DEVICE 0x82u
#define AML_ROOT '\\'
/* A two-byte package length: bits 3:0 in the first byte, which says "one more", and 11:4 in the second. 20.2.4. */
#define AML_LENGTH_BYTES 2u
#define AML_LENGTH_MAX 0xfffu

static uint64_t package_begin(struct table_writer *out)
{
    uint64_t start = out->used;

    writer_zeroes(out, AML_LENGTH_BYTES);
    return start;
}

static void package_end(struct table_writer *out, uint64_t start)
{
    uint64_t length = out->used - start;

    if (length > AML_LENGTH_MAX) {
        out->full = true;
    }
    writer_patch(out, start, 0x40u | (length & 15u) | (length >> 4 & 0xffu) << 8, AML_LENGTH_BYTES);
}

static void aml_byte(struct table_writer *out, uint8_t value)
{
    writer_u8(out, AML_BYTE);
    writer_u8(out, value);
}

static void aml_name(struct table_writer *out, const char *name)
{
    writer_u8(out, AML_NAME);
    writer_text(out, name);
}

static uint64_t device_begin(struct table_writer *out, const char *name)
{
    uint64_t start;

    writer_u8(out, AML_EXTENDED);
    writer_u8(out, AML_DEVICE);
    start = package_begin(out);
    writer_text(out, name);
    return start;
}

/* "PNP0A03" as EISAID() packs it: three letters of five bits, then four hex digits, most significant byte first. */
static uint32_t eisa_id(const char *id)
{
    uint32_t value = (uint32_t)(id[0] - '@') << 26 | (uint32_t)(id[1] - '@') << 21 | (uint32_t)(id[2] - '@') << 16;

    for (unsigned i = 3; i < 7; i++) {
        uint32_t digit = id[i] <= '9' ? (uint32_t)(id[i] - '0') : (uint32_t)(id[i] - 'A') + 10;

        value |= digit << (4 * (6 - i));
    }
    return __builtin_bswap32(value);
}

static void aml_device_ids(struct table_writer *out, const char *hid, uint8_t uid)
{
    aml_name(out, "_HID");
    writer_u8(out, AML_DWORD);
    writer_uint(out, eisa_id(hid), 4);
    aml_name(out, "_UID");
    aml_byte(out, uid);
}

/* Name (_CRS, ResourceTemplate () {...}): a buffer whose size is only known at its end. */
struct template
{
    uint64_t package;
    uint64_t size_at;
};

static struct template crs_begin(struct table_writer *out)
{
    struct template crs;

    aml_name(out, "_CRS");
    writer_u8(out, AML_BUFFER);
    crs.package = package_begin(out);
    writer_u8(out, 0x0b); /* the size: a word constant */
    crs.size_at = out->used;
    writer_uint(out, 0, 2);
    return crs;
}

static void crs_end(struct table_writer *out, struct template crs)
{
    writer_u8(out, 0x79); /* end tag, 6.4.2.9; checksum 0: not used */
    writer_u8(out, 0);
    writer_patch(out, crs.size_at, out->used - crs.size_at - 2, 2);
    package_end(out, crs.package);
}

/* 6.4.2.5 "I/O Port Descriptor": 16-bit decode, fixed place. */
static void crs_io(struct table_writer *out, uint16_t port, uint8_t ports)
{
    writer_u8(out, 0x47);
    writer_u8(out, 1);
    writer_uint(out, port, 2);
    writer_uint(out, port, 2);
    writer_u8(out, 1);
    writer_u8(out, ports);
}

/* 6.4.2.1 "IRQ Descriptor" without flags: edge-triggered, active high, exclusive. */
static void crs_irq(struct table_writer *out, unsigned irq)
{
    writer_u8(out, 0x22);
    writer_uint(out, 1u << irq, 2);
}

enum address_space_type {
    SPACE_MEMORY = 0,
    SPACE_IO = 1,
    SPACE_BUS = 2,
};

/*
 * 6.4.3.5 "Address Space Resource Descriptors": producer, fixed minimum and maximum, positive decode. bytes 2 is the
 * word form, 4 the dword form.
 */
static void crs_window(struct table_writer *out, enum address_space_type type, unsigned bytes, uint32_t first,
                       uint32_t last)
{
    static const uint8_t type_flags[] = {[SPACE_MEMORY] = 0x01 /* read-write, non-cacheable */,
                                         [SPACE_IO] = 0x03 /* the entire range */,
                                         [SPACE_BUS] = 0x00};

    writer_u8(out, bytes == 2 ? 0x88 : 0x87);
    writer_uint(out, 3 + 5 * bytes, 2);
    writer_u8(out, (uint8_t)type);
    writer_u8(out, 0x0c);
    writer_u8(out, type_flags[type]);
    writer_uint(out, 0, bytes); /* granularity */
    writer_uint(out, first, bytes);
    writer_uint(out, last, bytes);
    writer_uint(out, 0, bytes); /* translation */
    writer_uint(out, last - first + 1, bytes);
}

/* Where PCI memory could be: from the top of low RAM's largest size to the I/O APIC. */
#define PCI_WINDOW_FIRST 0xc0000000u
#define PCI_WINDOW_LAST 0xfebfffffu

static void dsdt_pci(struct table_writer *out)
{
    uint64_t device = device_begin(out, "PCI0");
    struct template crs;

    aml_device_ids(out, "PNP0A03", 0);
    crs = crs_begin(out);
    crs_window(out, SPACE_BUS, 2, 0, 0);
    crs_io(out, 0xcf8, 8);
    crs_window(out, SPACE_IO, 2, 0x0000, 0x0cf7);
    crs_window(out, SPACE_IO, 2, 0x0d00, 0xffff);
    crs_window(out, SPACE_MEMORY, 4, PCI_WINDOW_FIRST, PCI_WINDOW_LAST);
    crs_end(out, crs);
    package_end(out, device);
}

struct isa_device {
    const char *name;
    const char *hid;
    uint8_t uid;
    uint16_t port;
    uint8_t ports;
    uint8_t irq;
};

static const struct isa_device isa_devices[] = {
    {"COM1", "PNP0501", 1, 0x3f8, 8, 4},
    {"RTC_", "PNP0B00", 0, 0x70, 2, 8},
};

static void dsdt_isa(struct table_writer *out, const struct isa_device *isa)
{
    uint64_t device = device_begin(out, isa->name);
    struct template crs;

    aml_device_ids(out, isa->hid, isa->uid);
    crs = crs_begin(out);
    crs_io(out, isa->port, isa->ports);
    crs_irq(out, isa->irq);
    crs_end(out, crs);
    package_end(out, device);
}

/* Name (\_S5, Package () {type, type, 0, 0}): what goes into SLP_TYP for soft-off. 7.4.2.6. */
static void dsdt_s5(struct table_writer *out)
{
    uint64_t package;

    writer_u8(out, AML_NAME);
    writer_u8(out, AML_ROOT);
    writer_text(out, "_S5_");
    writer_u8(out, AML_PACKAGE);
    package = package_begin(out);
    writer_u8(out, 4);
    aml_byte(out, PM_SLEEP_TYPE_S5);
    aml_byte(out, PM_SLEEP_TYPE_S5);
    aml_byte(out, 0);
    aml_byte(out, 0);
    package_end(out, package);
}

static uint64_t put_dsdt(struct table_writer *out)
{
    uint64_t start = table_begin(out, "DSDT", 2);
    uint64_t scope;

    dsdt_s5(out);
    writer_u8(out, AML_SCOPE);
    scope = package_begin(out);
    writer_u8(out, AML_ROOT);
    writer_text(out, "_SB_");
    dsdt_pci(out);
    for (size_t i = 0; i < ARRAY_COUNT(isa_devices); i++) {
        dsdt_isa(out, &isa_devices[i]);
    }
    package_end(out, scope);
    table_end(out, start);
    return start;
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

/* 5.2.9 table 5.10 "IA-PC Boot Architecture Flags": legacy devices, no VGA; no 8042; there are an RTC and MSIs. */
#define BOOT_LEGACY_DEVICES 0x0001u
#define BOOT_NO_VGA 0x0004u
/* 5.2.9 table 5.9: WBINVD works, C1, a fixed power button (bit 4 is 0), no fixed sleep button, no fixed RTC wake, 32-bit
 * PM timer, reset register, headless. */
#define FADT_FLAGS (1u << 0 | 1u << 2 | 1u << 5 | 1u << 6 | 1u << 8 | 1u << 10 | 1u << 12)
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
    {109, 2, BOOT_LEGACY_DEVICES | BOOT_NO_VGA},
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

static uint64_t put_fadt(struct table_writer *out, uint64_t base, uint64_t facs, uint64_t dsdt)
{
    uint64_t start = table_begin(out, "FACP", FADT_REVISION);

    writer_zeroes(out, FADT_BYTES - HEADER_BYTES);
    for (size_t i = 0; i < ARRAY_COUNT(fadt_fields); i++) {
        writer_patch(out, start + fadt_fields[i].offset, fadt_fields[i].value, fadt_fields[i].bytes);
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
    table_end(out, start);
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
    uint64_t start = table_begin(out, "APIC", 5);

    writer_uint(out, GUEST_LAPIC_BASE, 4);
    writer_uint(out, MADT_PCAT_COMPAT, 4);
    madt_cpus(out, cpu_count);
    madt_ioapic(out);
    madt_override(out, 0, 2, INTI_CONFORMS);
    madt_override(out, SCI_INTERRUPT, SCI_INTERRUPT, INTI_HIGH_LEVEL);
    madt_lint1_nmi(out);
    table_end(out, start);
    return start;
}

/* --- Root tables --- */

#define RSDP_BYTES 36u
#define RSDP_V1_BYTES 20u

static uint64_t put_root(struct table_writer *out, const char *signature, unsigned pointer_bytes,
                         const uint64_t *tables, size_t count)
{
    uint64_t start = table_begin(out, signature, 1);

    for (size_t i = 0; i < count; i++) {
        writer_uint(out, tables[i], pointer_bytes);
    }
    table_end(out, start);
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
    uint64_t listed[2];

    if (config->cpu_count == 0 || config->cpu_count > XAPIC_CPUS_MAX || base + capacity > UINT32_MAX) {
        return STATUS_INVALID;
    }
    if (!is_aligned(base, FACS_BYTES)) {
        return STATUS_MISALIGNED;
    }
    writer_zeroes(&out, RSDP_BYTES);
    facs = put_facs(&out);
    dsdt = put_dsdt(&out);
    listed[0] = base + put_fadt(&out, base, facs, dsdt);
    listed[1] = base + put_madt(&out, config->cpu_count);
    rsdt = put_root(&out, "RSDT", 4, listed, ARRAY_COUNT(listed));
    xsdt = put_root(&out, "XSDT", 8, listed, ARRAY_COUNT(listed));
    if (out.full) {
        return STATUS_NO_SPACE;
    }
    fill_rsdp(&out, base + rsdt, base + xsdt);
    *used = out.used;
    return STATUS_OK;
}
