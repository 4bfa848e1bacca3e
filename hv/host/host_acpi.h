/* SPDX-License-Identifier: MIT */
/*
 * The few things that the hypervisor itself wants from the firmware's ACPI tables. Pure: tables are spans of bytes that
 * a caller-given window makes reachable, every length and checksum is verified, and nothing is executed (no AML).
 *
 * ACPI 6.5, 5.2 "ACPI System Description Tables".
 */
#ifndef HV_HOST_HOST_ACPI_H
#define HV_HOST_HOST_ACPI_H

#include "hv/base/limits.h"
#include "hv/base/span.h"
#include "hv/base/status.h"
#include "hv/base/types.h"
#include "hv/plan/numa.h"

#define ACPI_IOAPICS_MAX 8u
#define ACPI_ECAM_MAX 16u

/* Generic Address Structure, ACPI 6.5 5.2.3.2. */
enum acpi_space {
    ACPI_SPACE_MEMORY = 0,
    ACPI_SPACE_PORT = 1,
    ACPI_SPACE_NONE = 0xff, /* not given */
};

struct acpi_address {
    uint8_t space; /* enum acpi_space, or another value that we do not serve */
    uint8_t bits;
    uint8_t access; /* 3: 32 bits at a time */
    uint64_t address;
};

/* Serial ports of SPCR and DBG2, by the same numbers of interfaces. Microsoft "Debug Port Table 2", table 3. */
#define ACPI_UARTS_MAX 4u
#define ACPI_UART_16550 0x00u
#define ACPI_UART_16450 0x01u
#define ACPI_UART_16550_GAS 0x12u
#define ACPI_ACCESS_DWORD 3u

struct acpi_uart {
    struct acpi_address address;
    uint16_t interface;
};

/* Configuration space in memory, of some buses of a segment group. "PCI Firmware Specification" 3.3, 4.1.2 "MCFG Table
 * Description". */
struct acpi_ecam {
    uint64_t base; /* of bus 0, whether it is among them or not */
    uint16_t segment;
    uint8_t bus_first, bus_last;
};

/* An IRQ of the ISA bus as the MADT wires it; by itself it is the global interrupt of its number, an edge, active high.
 * ACPI 6.5, 5.2.12.5 "Interrupt Source Override Structure". */
#define ACPI_ISA_IRQS 16u

struct acpi_irq {
    uint32_t gsi;
    bool level;
    bool active_low;
};

struct host_acpi {
    bool found; /* a valid RSDP with a valid root table */
    bool has_fadt;
    uint16_t pm_timer_port; /* 0: none. 3.579545 MHz */
    bool pm_timer_32bit;
    uint64_t hpet;            /* address of its registers; 0: none */
    uint16_t pm1a_event_port; /* 0: none. Status, then enable behind half of pm1_event_bytes */
    uint16_t pm1b_event_port;
    uint8_t pm1_event_bytes;
    bool has_power_button;      /* one of fixed hardware, in the PM1 event registers */
    bool has_8042;              /* a keyboard controller, as far as the FADT says */
    uint16_t pm1a_control_port; /* 0: none */
    uint16_t pm1b_control_port;
    uint16_t smi_command_port;
    uint8_t acpi_enable_value;
    bool has_sleep_s5; /* \_S5_ was found in the DSDT */
    uint8_t sleep_type_a, sleep_type_b;
    bool has_reset;
    struct acpi_address reset;
    uint8_t reset_value;
    bool hardware_reduced;
    struct acpi_address sleep_control; /* hardware-reduced machines */
    struct {
        uint32_t apic_id;
        bool enabled;
    } cpus[CPUS_MAX];
    uint32_t cpu_count;
    struct numa_map numa; /* SRAT and SLIT */
    struct {
        uint32_t apic_id, node;
    } cpu_nodes[CPUS_MAX]; /* the SRAT's CPUs */
    uint32_t cpu_node_count;
    uint64_t ioapics[ACPI_IOAPICS_MAX];     /* physical addresses */
    uint32_t ioapic_gsis[ACPI_IOAPICS_MAX]; /* the global interrupt number of each one's pin 0 */
    uint8_t ioapic_ids[ACPI_IOAPICS_MAX];
    uint32_t ioapic_count;
    struct acpi_irq irqs[ACPI_ISA_IRQS]; /* where IRQs of the ISA bus arrive */
    struct acpi_ecam ecam[ACPI_ECAM_MAX];
    uint32_t ecam_count;
    struct span dmar, ivrs; /* whole tables that describe IOMMUs, where the firmware has them; a null base: none */
    bool has_8259;          /* MADT flag PCAT_COMPAT */
    struct acpi_uart uarts[ACPI_UARTS_MAX]; /* from SPCR and DBG2; whatever their interface */
    uint32_t uart_count;
    char problem[120]; /* the first defect that was met; empty: none */
};

/*
 * Reads what is there. Physical address h is reached at window + h, and only [0, limit) may be read: addresses beyond
 * it count as a defect. Returns tables->found.
 */
bool host_acpi_read(struct host_acpi *tables, uint64_t rsdp, uint64_t window, uint64_t limit);

/* The node of a CPU by the SRAT; NUMA_NODE_NONE: it does not say. */
uint32_t host_acpi_cpu_node(const struct host_acpi *tables, uint32_t apic_id);

/* The bytes of a table add up to 0 modulo 256. */
bool host_acpi_checksum_good(struct span bytes);

/* Finds the SLP_TYP values of \_S5_ in a DSDT's bytes; false where there is no such package. ACPI 6.5 7.4.2. */
bool host_acpi_find_s5(struct span aml, uint8_t *type_a, uint8_t *type_b);

/* Whether a keyboard controller may be there: without an FADT only it itself says. */
static inline bool host_acpi_may_have_8042(const struct host_acpi *acpi)
{
    return acpi->has_8042 || !acpi->has_fadt;
}

#endif
