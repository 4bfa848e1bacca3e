/* SPDX-License-Identifier: MIT */
#include "hv/host/host_acpi.h"

#include "hv/base/format.h"

#define SIGNATURE_BYTES 4u
#define HEADER_BYTES 36u
#define TABLE_BYTES_MAX (16 * MIB)
#define ROOT_ENTRIES_MAX 256u

/* Root System Description Pointer. ACPI 6.5 5.2.5.3, table 5.3. */
#define RSDP_V1_BYTES 20u
#define RSDP_V2_BYTES 36u
#define RSDP_REVISION 15u
#define RSDP_RSDT 16u
#define RSDP_XSDT 24u

/* Fixed ACPI Description Table. ACPI 6.5 5.2.9, table 5.9. */
#define FADT_DSDT 40u
#define FADT_SMI_CMD 48u
#define FADT_ACPI_ENABLE 52u
#define FADT_PM1A_EVT 56u
#define FADT_PM1B_EVT 60u
#define FADT_PM1A_CNT 64u
#define FADT_PM1B_CNT 68u
#define FADT_PM_TMR 76u
#define FADT_PM1_EVT_LEN 88u
#define FADT_BOOT_ARCH 109u
#define FADT_FLAGS 112u
#define FADT_RESET_REG 116u
#define FADT_RESET_VALUE 128u
#define FADT_X_DSDT 140u
#define FADT_X_PM1A_EVT 148u
#define FADT_X_PM1B_EVT 160u
#define FADT_X_PM1A_CNT 172u
#define FADT_X_PM1B_CNT 184u
#define FADT_X_PM_TMR 208u
#define FADT_SLEEP_CONTROL 244u
#define FADT_FLAG_PWR_BUTTON (1u << 4) /* it is a device of the namespace, or there is none */
#define FADT_FLAG_TMR_VAL_EXT (1u << 8)
#define FADT_FLAG_RESET_REG_SUP (1u << 10)
#define FADT_FLAG_HW_REDUCED (1u << 20)

/* IAPC_BOOT_ARCH, from revision 3 on. ACPI 6.5 5.2.9.3, table 5.11. */
#define FADT_REVISION 8u
#define FADT_REVISION_BOOT_ARCH 3u
#define FADT_BOOT_ARCH_8042 (1u << 1)

/* A generic address is 12 bytes. ACPI 6.5 5.2.3.2. */
#define GAS_BYTES 12u
_Static_assert(RSDP_XSDT + sizeof(uint64_t) + 4 == RSDP_V2_BYTES,
               "the XSDT's address, a checksum, three reserved bytes");
_Static_assert(RSDP_RSDT + sizeof(uint32_t) == RSDP_V1_BYTES, "the RSDT's address ends the first form");
_Static_assert(FADT_RESET_VALUE == FADT_RESET_REG + GAS_BYTES, "RESET_VALUE follows RESET_REG");
_Static_assert(FADT_RESET_REG == FADT_FLAGS + sizeof(uint32_t), "RESET_REG follows Flags");
_Static_assert(FADT_X_PM1A_CNT == FADT_X_PM1A_EVT + 2 * GAS_BYTES && FADT_PM1A_CNT == FADT_PM1A_EVT + 8,
               "the event blocks come before");
_Static_assert(FADT_X_PM1B_CNT == FADT_X_PM1A_CNT + GAS_BYTES, "X_PM1b_CNT_BLK follows X_PM1a_CNT_BLK");
_Static_assert(FADT_X_PM_TMR == FADT_X_PM1B_CNT + 2 * GAS_BYTES, "X_PM2_CNT_BLK lies between");
_Static_assert(FADT_PM1B_CNT == FADT_PM1A_CNT + sizeof(uint32_t), "the ports of 32 bits likewise");

/* Multiple APIC Description Table. ACPI 6.5 5.2.12. */
#define MADT_FLAGS 40u
#define MADT_ENTRIES 44u
#define MADT_FLAG_PCAT_COMPAT 1u
#define MADT_LOCAL_APIC 0u
#define MADT_IO_APIC 1u
#define MADT_OVERRIDE 2u
#define MADT_LOCAL_X2APIC 9u
#define MADT_CPU_ENABLED 1u

/* Serial Port Console Redirection Table, Microsoft, revision 2. */
#define SPCR_INTERFACE 36u
#define SPCR_ADDRESS 40u

/* Debug Port Table 2, Microsoft, tables 1 and 2: where the ports' descriptions start, how many; and in each. */
#define DBG2_FIRST 36u
#define DBG2_COUNT 40u
#define DBG2_LENGTH 1u
#define DBG2_TYPE 12u
#define DBG2_INTERFACE 14u
#define DBG2_ADDRESS 18u
#define DBG2_BYTES_MIN 22u
#define DBG2_TYPE_SERIAL 0x8000u

/* AML. ACPI 6.5 20.2. */
#define AML_ZERO 0x00u
#define AML_ONE 0x01u
#define AML_NAME 0x08u
#define AML_BYTE 0x0au
#define AML_WORD 0x0bu
#define AML_DWORD 0x0cu
#define AML_PACKAGE 0x12u
#define AML_ROOT '\\'

/* "PCI Firmware Specification" 3.3, 4.1.2 "MCFG Table Description". */
#define MCFG_ENTRIES 44u
#define MCFG_ENTRY_BYTES 16u
#define MCFG_SEGMENT 8u
#define MCFG_BUS_FIRST 10u
#define MCFG_BUS_LAST 11u

/* System Resource Affinity Table, System Locality Information Table. ACPI 6.5 5.2.16, tables 5.56 to 5.59; 5.2.17,
 * table 5.68. */
#define SRAT_ENTRIES 48u
#define SRAT_LOCAL_APIC 0u
#define SRAT_MEMORY 1u
#define SRAT_LOCAL_X2APIC 2u
#define SRAT_ENABLED 1u
#define SLIT_COUNT 36u
#define SLIT_DISTANCES 44u

struct reader {
    struct host_acpi *tables;
    uint64_t window;
    uint64_t limit;
    uint64_t dsdt;
    struct span slit; /* read last: it speaks of the SRAT's domains */
};

__attribute__((format(printf, 2, 3))) static void note_problem(struct host_acpi *tables, const char *form, ...)
{
    va_list list;

    if (tables->problem[0] == '\0') {
        va_start(list, form);
        (void)format_list(tables->problem, sizeof(tables->problem), form, list);
        va_end(list);
    }
}

static struct span physical(const struct reader *reader, uint64_t address, uint64_t bytes)
{
    if (address == 0 || address >= reader->limit || bytes > reader->limit - address) {
        return (struct span){NULL, 0};
    }
    return (struct span){(const uint8_t *)(uintptr_t)(reader->window + address), bytes};
}

bool host_acpi_checksum_good(struct span bytes)
{
    uint8_t sum = 0;

    for (uint64_t i = 0; i < bytes.bytes; i++) {
        sum = (uint8_t)(sum + bytes.base[i]);
    }
    return bytes.bytes != 0 && sum == 0;
}

/* A whole table with a good length and checksum, or an empty span. */
static struct span table_at(struct reader *reader, uint64_t address)
{
    struct span header = physical(reader, address, HEADER_BYTES);
    struct span table;
    uint32_t bytes;

    if (!span_read_u32(header, SIGNATURE_BYTES, &bytes)) {
        note_problem(reader->tables, "an ACPI table at 0x%" PRIx64 " is out of reach", address);
        return header;
    }
    table = physical(reader, address, bytes);
    if (bytes < HEADER_BYTES || bytes > TABLE_BYTES_MAX || !host_acpi_checksum_good(table)) {
        note_problem(reader->tables, "the ACPI table %.4s has a wrong length or checksum", (const char *)header.base);
        return (struct span){NULL, 0};
    }
    return table;
}

static bool is_table(struct span table, const char *signature)
{
    return table.base != NULL && memcmp(table.base, signature, SIGNATURE_BYTES) == 0;
}

/* Generic Address Structure: space, width, offset, access size, address. ACPI 6.5 5.2.3.2. */
static struct acpi_address read_address(struct span table, uint64_t offset)
{
    struct acpi_address address = {.space = ACPI_SPACE_NONE};

    if (span_holds(table, offset, 12)) {
        (void)span_read_u8(table, offset, &address.space);
        (void)span_read_u8(table, offset + 1, &address.bits);
        (void)span_read_u8(table, offset + 3, &address.access);
        (void)span_read_u64(table, offset + 4, &address.address);
    }
    if (address.address == 0) {
        address.space = ACPI_SPACE_NONE;
    }
    return address;
}

/* A port: from the extended field where it is set, else from the old 32-bit one. */
static uint16_t read_port(struct span table, uint64_t extended, uint64_t old)
{
    struct acpi_address address = read_address(table, extended);
    uint32_t port = 0;

    if (address.space == ACPI_SPACE_PORT && address.address <= UINT16_MAX) {
        return (uint16_t)address.address;
    }
    (void)span_read_u32(table, old, &port);
    return port <= UINT16_MAX ? (uint16_t)port : 0;
}

/* What a person may press. */
static void read_inputs(struct host_acpi *tables, struct span table, uint32_t flags)
{
    uint8_t revision = 0;
    uint16_t boot_arch = 0;

    tables->pm1a_event_port = read_port(table, FADT_X_PM1A_EVT, FADT_PM1A_EVT);
    tables->pm1b_event_port = read_port(table, FADT_X_PM1B_EVT, FADT_PM1B_EVT);
    (void)span_read_u8(table, FADT_PM1_EVT_LEN, &tables->pm1_event_bytes);
    tables->has_power_button = (flags & (FADT_FLAG_PWR_BUTTON | FADT_FLAG_HW_REDUCED)) == 0 &&
                               tables->pm1a_event_port != 0 && tables->pm1_event_bytes >= 4;
    (void)span_read_u8(table, FADT_REVISION, &revision);
    (void)span_read_u16(table, FADT_BOOT_ARCH, &boot_arch);
    tables->has_8042 = (flags & FADT_FLAG_HW_REDUCED) == 0 &&
                       (revision < FADT_REVISION_BOOT_ARCH || (boot_arch & FADT_BOOT_ARCH_8042) != 0);
}

static void read_fadt(struct reader *reader, struct span table)
{
    struct host_acpi *tables = reader->tables;
    uint32_t flags = 0;
    uint32_t port = 0;
    uint32_t dsdt = 0;
    uint64_t x_dsdt = 0;

    tables->has_fadt = true;
    (void)span_read_u32(table, FADT_FLAGS, &flags);
    tables->pm_timer_port = read_port(table, FADT_X_PM_TMR, FADT_PM_TMR);
    tables->pm_timer_32bit = (flags & FADT_FLAG_TMR_VAL_EXT) != 0;
    tables->pm1a_control_port = read_port(table, FADT_X_PM1A_CNT, FADT_PM1A_CNT);
    read_inputs(tables, table, flags);
    tables->pm1b_control_port = read_port(table, FADT_X_PM1B_CNT, FADT_PM1B_CNT);
    (void)span_read_u32(table, FADT_SMI_CMD, &port);
    tables->smi_command_port = (uint16_t)port;
    (void)span_read_u8(table, FADT_ACPI_ENABLE, &tables->acpi_enable_value);
    tables->hardware_reduced = (flags & FADT_FLAG_HW_REDUCED) != 0;
    tables->sleep_control = read_address(table, FADT_SLEEP_CONTROL);
    tables->reset = read_address(table, FADT_RESET_REG);
    tables->has_reset = (flags & FADT_FLAG_RESET_REG_SUP) != 0 && tables->reset.space != ACPI_SPACE_NONE;
    (void)span_read_u8(table, FADT_RESET_VALUE, &tables->reset_value);
    (void)span_read_u32(table, FADT_DSDT, &dsdt);
    (void)span_read_u64(table, FADT_X_DSDT, &x_dsdt);
    reader->dsdt = x_dsdt != 0 ? x_dsdt : dsdt;
}

/* "IA-PC HPET Specification" 1.0a, 3.2.4: the address is behind the block's id. */
#define HPET_ADDRESS 40u

static void read_hpet(struct host_acpi *tables, struct span table)
{
    struct acpi_address address = read_address(table, HPET_ADDRESS);

    if (tables->hpet == 0 && address.space == ACPI_SPACE_MEMORY && is_aligned(address.address, sizeof(uint64_t))) {
        tables->hpet = address.address;
    }
}

static void add_cpu(struct host_acpi *tables, uint32_t apic_id, uint32_t flags)
{
    if (tables->cpu_count < CPUS_MAX) {
        tables->cpus[tables->cpu_count].apic_id = apic_id;
        tables->cpus[tables->cpu_count++].enabled = (flags & MADT_CPU_ENABLED) != 0;
    }
}

/* ACPI 6.5, 5.2.12.5: bus (0: ISA), IRQ, global interrupt, flags; 5.2.12.3, table 5.26: bits 1:0 are 3 for active low,
 * bits 3:2 are 3 for a level. */
#define OVERRIDE_LOW 3u
#define OVERRIDE_LEVEL (3u << 2)

static void read_override(struct host_acpi *tables, struct span entry)
{
    uint8_t bus = 0, irq = 0;
    uint16_t flags = 0;
    uint32_t gsi = 0;

    if (span_read_u8(entry, 2, &bus) && span_read_u8(entry, 3, &irq) && span_read_u32(entry, 4, &gsi) &&
        span_read_u16(entry, 8, &flags) && bus == 0 && irq < ACPI_ISA_IRQS) {
        tables->irqs[irq] =
            (struct acpi_irq){gsi, (flags & OVERRIDE_LEVEL) == OVERRIDE_LEVEL, (flags & OVERRIDE_LOW) == OVERRIDE_LOW};
    }
}

static void read_madt_entry(struct host_acpi *tables, struct span entry)
{
    uint8_t short_id = 0;
    uint32_t id = 0;
    uint32_t flags = 0;

    switch (entry.base[0]) {
    case MADT_LOCAL_APIC:
        if (span_read_u8(entry, 3, &short_id) && span_read_u32(entry, 4, &flags)) {
            add_cpu(tables, short_id, flags);
        }
        break;
    case MADT_OVERRIDE:
        read_override(tables, entry);
        break;
    case MADT_LOCAL_X2APIC:
        if (span_read_u32(entry, 4, &id) && span_read_u32(entry, 8, &flags)) {
            add_cpu(tables, id, flags);
        }
        break;
    case MADT_IO_APIC:
        if (span_read_u32(entry, 4, &id) && id >= MIB && tables->ioapic_count < ACPI_IOAPICS_MAX) {
            (void)span_read_u32(entry, 8, &tables->ioapic_gsis[tables->ioapic_count]);
            (void)span_read_u8(entry, 2, &tables->ioapic_ids[tables->ioapic_count]);
            tables->ioapics[tables->ioapic_count++] = id;
        }
        break;
    default:
        break;
    }
}

static void read_madt(struct reader *reader, struct span table)
{
    uint32_t flags = 0;
    uint64_t at = MADT_ENTRIES;

    (void)span_read_u32(table, MADT_FLAGS, &flags);
    reader->tables->has_8259 = (flags & MADT_FLAG_PCAT_COMPAT) != 0;
    while (at + 2 <= table.bytes) {
        uint8_t bytes = table.base[at + 1];
        struct span entry = span_part(table, at, bytes);

        if (bytes < 2 || entry.base == NULL) {
            note_problem(reader->tables, "the MADT has a broken entry at offset %" PRIu64, at);
            return;
        }
        read_madt_entry(reader->tables, entry);
        at += bytes;
    }
}

/* Entries of 16 bytes behind the header and 8 reserved bytes. */
static void read_mcfg(struct reader *reader, struct span table)
{
    struct host_acpi *tables = reader->tables;

    for (uint64_t at = MCFG_ENTRIES; at + MCFG_ENTRY_BYTES <= table.bytes; at += MCFG_ENTRY_BYTES) {
        struct acpi_ecam ecam = {0};

        (void)span_read_u64(table, at, &ecam.base);
        (void)span_read_u16(table, at + MCFG_SEGMENT, &ecam.segment);
        (void)span_read_u8(table, at + MCFG_BUS_FIRST, &ecam.bus_first);
        (void)span_read_u8(table, at + MCFG_BUS_LAST, &ecam.bus_last);
        if (ecam.base == 0 || !is_aligned(ecam.base, MIB) || ecam.bus_first > ecam.bus_last) {
            note_problem(tables, "MCFG names PCI configuration space at 0x%" PRIx64 ", which cannot be", ecam.base);
        } else if (tables->ecam_count < ACPI_ECAM_MAX) {
            tables->ecam[tables->ecam_count++] = ecam;
        }
    }
}

static void add_cpu_node(struct host_acpi *tables, uint32_t apic_id, uint32_t domain)
{
    uint32_t node = numa_node(&tables->numa, domain);

    if (node == NUMA_NODE_NONE) {
        note_problem(tables, "the SRAT has more than %u proximity domains: the CPUs of others are of none",
                     NUMA_NODES_MAX);
    } else if (tables->cpu_node_count < CPUS_MAX) {
        tables->cpu_nodes[tables->cpu_node_count].apic_id = apic_id;
        tables->cpu_nodes[tables->cpu_node_count++].node = node;
    }
}

/* The domain's bits 31:8 lie at the entry's end; older tables have reserved bytes there, which are 0 by their text. */
static void read_srat_cpu(struct host_acpi *tables, struct span entry)
{
    uint8_t low = 0;
    uint8_t apic_id = 0;
    uint32_t flags = 0;
    uint32_t high = 0;

    if (span_read_u8(entry, 2, &low) && span_read_u8(entry, 3, &apic_id) && span_read_u32(entry, 4, &flags) &&
        span_read_u32(entry, 8, &high) && (flags & SRAT_ENABLED) != 0) {
        add_cpu_node(tables, apic_id, (high & 0xffffff00u) | low);
    }
}

static void read_srat_x2apic(struct host_acpi *tables, struct span entry)
{
    uint32_t domain = 0;
    uint32_t apic_id = 0;
    uint32_t flags = 0;

    if (span_read_u32(entry, 4, &domain) && span_read_u32(entry, 8, &apic_id) && span_read_u32(entry, 12, &flags) &&
        (flags & SRAT_ENABLED) != 0) {
        add_cpu_node(tables, apic_id, domain);
    }
}

/* Where memory could be plugged in the table has a range, too: what is not in the memory map is not looked for here. */
static void read_srat_memory(struct host_acpi *tables, struct span entry)
{
    uint32_t domain = 0;
    uint32_t flags = 0;
    uint64_t start = 0;
    uint64_t bytes = 0;
    uint32_t node;

    if (!span_read_u32(entry, 2, &domain) || !span_read_u64(entry, 8, &start) || !span_read_u64(entry, 16, &bytes) ||
        !span_read_u32(entry, 28, &flags) || (flags & SRAT_ENABLED) == 0 || bytes == 0) {
        return;
    }
    if (bytes > UINT64_MAX - start) {
        note_problem(tables, "the SRAT has memory at 0x%" PRIx64 " whose end wraps", start);
        return;
    }
    node = numa_node(&tables->numa, domain);
    if (node == NUMA_NODE_NONE || !numa_add_range(&tables->numa, node, start, start + bytes)) {
        note_problem(tables,
                     "the SRAT's memory from 0x%" PRIx64 " is of two domains, or there are too many of them: a part "
                     "is of none, or of the first",
                     start);
    }
}

static void read_srat(struct reader *reader, struct span table)
{
    for (uint64_t at = SRAT_ENTRIES; at + 2 <= table.bytes;) {
        uint8_t bytes = table.base[at + 1];
        struct span entry = span_part(table, at, bytes);

        if (bytes < 2 || entry.base == NULL) {
            note_problem(reader->tables, "the SRAT has a broken entry at offset %" PRIu64, at);
            return;
        }
        if (entry.base[0] == SRAT_LOCAL_APIC) {
            read_srat_cpu(reader->tables, entry);
        } else if (entry.base[0] == SRAT_MEMORY) {
            read_srat_memory(reader->tables, entry);
        } else if (entry.base[0] == SRAT_LOCAL_X2APIC) {
            read_srat_x2apic(reader->tables, entry);
        }
        at += bytes;
    }
}

/* A square of bytes by domain. A distance below that of a node to itself is nonsense and is left out. */
static void read_slit(struct host_acpi *tables, struct span table)
{
    struct numa_map *numa = &tables->numa;
    uint64_t count = 0;

    (void)span_read_u64(table, SLIT_COUNT, &count);
    for (uint32_t from = 0; from < numa->node_count; from++) {
        for (uint32_t to = 0; to < numa->node_count; to++) {
            uint8_t distance = 0;

            if (numa->domains[from] < count && numa->domains[to] < count && count <= UINT32_MAX &&
                span_read_u8(table, SLIT_DISTANCES + numa->domains[from] * count + numa->domains[to], &distance) &&
                distance > NUMA_DISTANCE_HERE && from != to) {
                numa->distances[from][to] = distance;
            }
        }
    }
}

uint32_t host_acpi_cpu_node(const struct host_acpi *tables, uint32_t apic_id)
{
    for (uint32_t i = 0; i < tables->cpu_node_count; i++) {
        if (tables->cpu_nodes[i].apic_id == apic_id) {
            return tables->cpu_nodes[i].node;
        }
    }
    return NUMA_NODE_NONE;
}

static void add_uart(struct host_acpi *tables, struct acpi_address address, uint16_t interface)
{
    if (address.space != ACPI_SPACE_NONE && tables->uart_count < ACPI_UARTS_MAX) {
        tables->uarts[tables->uart_count++] = (struct acpi_uart){address, interface};
    }
}

static void read_spcr(struct reader *reader, struct span table)
{
    uint8_t interface = 0;

    if (span_read_u8(table, SPCR_INTERFACE, &interface)) {
        add_uart(reader->tables, read_address(table, SPCR_ADDRESS), interface);
    }
}

/* One debug port: the first of its addresses. */
static bool read_debug_port(struct reader *reader, struct span table, uint64_t at, uint64_t *bytes)
{
    uint16_t length = 0;
    uint16_t type = 0;
    uint16_t interface = 0;
    uint16_t address = 0;

    if (!span_read_u16(table, at + DBG2_LENGTH, &length) || !span_read_u16(table, at + DBG2_TYPE, &type) ||
        !span_read_u16(table, at + DBG2_INTERFACE, &interface) || !span_read_u16(table, at + DBG2_ADDRESS, &address) ||
        length < DBG2_BYTES_MIN || address > length) {
        return false;
    }
    if (type == DBG2_TYPE_SERIAL) {
        add_uart(reader->tables, read_address(table, at + address), interface);
    }
    *bytes = length;
    return true;
}

static void read_dbg2(struct reader *reader, struct span table)
{
    uint32_t at = 0;
    uint32_t count = 0;
    uint64_t bytes = 0;

    if (!span_read_u32(table, DBG2_FIRST, &at) || !span_read_u32(table, DBG2_COUNT, &count)) {
        return;
    }
    for (uint32_t i = 0; i < count && i < ACPI_UARTS_MAX; i++) {
        if (!read_debug_port(reader, table, at, &bytes)) {
            return;
        }
        at += (uint32_t)bytes;
    }
}

/* An integer constant of a package; *at moves past it. ACPI 6.5 20.2.3. */
static bool read_aml_integer(struct span aml, uint64_t *at, uint8_t *value)
{
    uint8_t opcode;

    if (!span_read_u8(aml, (*at)++, &opcode)) {
        return false;
    }
    if (opcode == AML_ZERO || opcode == AML_ONE) {
        *value = opcode;
        return true;
    }
    if ((opcode != AML_BYTE && opcode != AML_WORD && opcode != AML_DWORD) || !span_read_u8(aml, *at, value)) {
        return false;
    }
    *at += opcode == AML_BYTE ? 1 : opcode == AML_WORD ? 2 : 4;
    return true;
}

/* NameOp [RootChar] "_S5_" PackageOp PkgLength NumElements elements. `at` is where "_S5_" stands. */
static bool read_s5_package(struct span aml, uint64_t at, uint8_t *type_a, uint8_t *type_b)
{
    uint8_t before = 0;
    uint8_t opcode = 0;
    uint8_t length = 0;
    uint8_t elements = 0;
    uint64_t name = at > 0 && aml.base[at - 1] == AML_ROOT ? at - 1 : at;

    if (name == 0 || !span_read_u8(aml, name - 1, &before) || before != AML_NAME) {
        return false;
    }
    at += SIGNATURE_BYTES;
    if (!span_read_u8(aml, at++, &opcode) || opcode != AML_PACKAGE || !span_read_u8(aml, at, &length)) {
        return false;
    }
    at += 1u + (length >> 6); /* bits 7:6 of the first byte say how many follow. ACPI 6.5 20.2.4 */
    if (!span_read_u8(aml, at++, &elements) || elements < 1 || !read_aml_integer(aml, &at, type_a)) {
        return false;
    }
    if (elements < 2 || !read_aml_integer(aml, &at, type_b)) {
        *type_b = *type_a;
    }
    return true;
}

bool host_acpi_find_s5(struct span aml, uint8_t *type_a, uint8_t *type_b)
{
    for (uint64_t at = 0; at + SIGNATURE_BYTES <= aml.bytes; at++) {
        if (memcmp(aml.base + at, "_S5_", SIGNATURE_BYTES) == 0 && read_s5_package(aml, at, type_a, type_b)) {
            return true;
        }
    }
    return false;
}

static void find_s5_in(struct reader *reader, struct span table)
{
    struct host_acpi *tables = reader->tables;

    if (!tables->has_sleep_s5 && table.base != NULL) {
        tables->has_sleep_s5 = host_acpi_find_s5(span_part(table, HEADER_BYTES, table.bytes - HEADER_BYTES),
                                                 &tables->sleep_type_a, &tables->sleep_type_b);
    }
}

static void read_table(struct reader *reader, struct span table)
{
    if (is_table(table, "FACP")) {
        read_fadt(reader, table);
    } else if (is_table(table, "APIC")) {
        read_madt(reader, table);
    } else if (is_table(table, "SPCR")) {
        read_spcr(reader, table);
    } else if (is_table(table, "DBG2")) {
        read_dbg2(reader, table);
    } else if (is_table(table, "MCFG")) {
        read_mcfg(reader, table);
    } else if (is_table(table, "HPET")) {
        read_hpet(reader->tables, table);
    } else if (is_table(table, "SRAT")) {
        read_srat(reader, table);
    } else if (is_table(table, "SLIT")) {
        reader->slit = table;
    } else if (is_table(table, "DMAR")) {
        reader->tables->dmar = table;
    } else if (is_table(table, "IVRS")) {
        reader->tables->ivrs = table;
    } else if (is_table(table, "SSDT")) {
        find_s5_in(reader, table);
    }
}

/* RSDT entries have 4 bytes, XSDT entries 8. ACPI 6.5 5.2.7, 5.2.8. */
static void read_root(struct reader *reader, struct span root, uint64_t entry_bytes)
{
    uint64_t count = min_u64((root.bytes - HEADER_BYTES) / entry_bytes, ROOT_ENTRIES_MAX);

    for (uint64_t i = 0; i < count; i++) {
        uint64_t address = 0;

        (void)span_copy(root, HEADER_BYTES + i * entry_bytes, &address, (size_t)entry_bytes);
        read_table(reader, table_at(reader, address));
    }
    if (reader->dsdt != 0) {
        find_s5_in(reader, table_at(reader, reader->dsdt));
    }
    if (reader->slit.base != NULL) {
        read_slit(reader->tables, reader->slit);
    }
}

/* The root table that the RSDP names: the XSDT where there is one. Empty where the RSDP is not valid. */
static struct span find_root(struct reader *reader, uint64_t rsdp, uint64_t *entry_bytes)
{
    struct span pointer = physical(reader, rsdp, RSDP_V1_BYTES);
    uint8_t revision = 0;
    uint32_t rsdt = 0;
    uint64_t xsdt = 0;

    if (pointer.base == NULL || memcmp(pointer.base, "RSD PTR ", 8) != 0 || !host_acpi_checksum_good(pointer)) {
        note_problem(reader->tables, "the ACPI root pointer at 0x%" PRIx64 " is not valid", rsdp);
        return (struct span){NULL, 0};
    }
    (void)span_read_u8(pointer, RSDP_REVISION, &revision);
    (void)span_read_u32(pointer, RSDP_RSDT, &rsdt);
    if (revision >= 2) {
        (void)span_read_u64(physical(reader, rsdp, RSDP_V2_BYTES), RSDP_XSDT, &xsdt);
    }
    *entry_bytes = xsdt != 0 ? 8 : 4;
    return table_at(reader, xsdt != 0 ? xsdt : rsdt);
}

bool host_acpi_read(struct host_acpi *tables, uint64_t rsdp, uint64_t window, uint64_t limit)
{
    struct reader reader = {.tables = tables, .window = window, .limit = limit};
    uint64_t entry_bytes = 4;
    struct span root;

    memset(tables, 0, sizeof(*tables));
    tables->reset.space = tables->sleep_control.space = ACPI_SPACE_NONE;
    for (uint32_t irq = 0; irq < ACPI_ISA_IRQS; irq++) {
        tables->irqs[irq].gsi = irq;
    }
    if (rsdp == 0) {
        return false;
    }
    root = find_root(&reader, rsdp, &entry_bytes);
    tables->found = root.base != NULL;
    if (tables->found) {
        read_root(&reader, root, entry_bytes);
    }
    return tables->found;
}
