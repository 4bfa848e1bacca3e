/* SPDX-License-Identifier: MIT */
/*
 * The DSDT: \_S5, the PCI Express host bridge with its windows and interrupt routing, and the devices of the ISA bus.
 *
 * Interrupts. _PRT says which interrupt each device's pin A leads to, and there are two answers: pins of the I/O
 * APIC, or inputs of the 8259 for a kernel that has not called _PIC(1). PCI Firmware Specification 3.0, 4.3; ACPI
 * 6.5, 6.2.13 "_PRT (PCI Routing Table)", 5.8.1 "_PIC Method".
 *
 * _OSC gives the kernel everything that it asks for: no firmware is there to keep anything. The ECAM's range is a
 * resource of the board (PNP0C02), as the specification of MCFG demands; kernels do not trust it otherwise.
 */
#include "hv/dev/acpi_dsdt.h"

#include "hv/dev/aml.h"
#include "hv/dev/i8042.h"
#include "hv/dev/pci/host.h"
#include "hv/dev/pm.h"
#include "hv/dev/pvpanic.h"
#include "hv/mm/guest_layout.h"

/* --- PCI --- */

#define FIRST_PCI_PIN 16u /* of the I/O APIC */

/* Package () {address, pin, source, index}: all functions of a device, pin A, wired to an interrupt. 6.2.13. */
static void routing_entry(struct table_writer *out, unsigned device, uint8_t interrupt)
{
    uint64_t package;

    writer_u8(out, AML_PACKAGE);
    package = aml_package_begin(out);
    writer_u8(out, 4);
    aml_dword(out, device << 16 | 0xffffu);
    writer_u8(out, AML_ZERO);
    writer_u8(out, AML_ZERO);
    aml_byte(out, interrupt);
    aml_package_end(out, package);
}

static void routing_table(struct table_writer *out, const char *name, uint32_t devices, bool with_ioapic)
{
    uint64_t package;

    aml_name(out, name);
    writer_u8(out, AML_PACKAGE);
    package = aml_package_begin(out);
    writer_u8(out, (uint8_t)__builtin_popcount(devices));
    for (unsigned device = 0; device < 32; device++) {
        unsigned line = PCI_LINE(PCI_DEVFN(device, 0));

        if ((devices >> device & 1u) != 0) {
            routing_entry(out, device, (uint8_t)(with_ioapic ? FIRST_PCI_PIN + line : PCI_LINE_IRQ(line)));
        }
    }
    aml_package_end(out, package);
}

/* Method (_PRT) {If (PICM) {Return (PRTA)} Return (PRTP)}. */
static void dsdt_routing(struct table_writer *out, uint32_t devices)
{
    uint64_t method, condition;

    routing_table(out, "PRTA", devices, true);
    routing_table(out, "PRTP", devices, false);
    method = aml_method_begin(out, "_PRT", 0);
    writer_u8(out, AML_IF);
    condition = aml_package_begin(out);
    writer_text(out, "PICM");
    writer_u8(out, AML_RETURN);
    writer_text(out, "PRTA");
    aml_package_end(out, condition);
    writer_u8(out, AML_RETURN);
    writer_text(out, "PRTP");
    aml_package_end(out, method);
}

static void dsdt_osc(struct table_writer *out)
{
    uint64_t method = aml_method_begin(out, "_OSC", 4);

    writer_u8(out, AML_RETURN);
    writer_u8(out, AML_ARG3);
    aml_package_end(out, method);
}

static void dsdt_pci_windows(struct table_writer *out, const struct acpi_tables_config *config)
{
    struct aml_crs crs = aml_crs_begin(out);

    aml_crs_window(out, AML_SPACE_BUS, 2, 0, 0);
    aml_crs_io(out, 0xcf8, 8);
    aml_crs_window(out, AML_SPACE_IO, 2, 0x0000, 0x0cf7);
    aml_crs_window(out, AML_SPACE_IO, 2, 0x0d00, 0xffff);
    aml_crs_window(out, AML_SPACE_MEMORY, 4, GUEST_PCI_LOW_START, GUEST_PCI_LOW_END - 1);
    if (config->pci_high_bytes != 0) {
        aml_crs_window(out, AML_SPACE_MEMORY, 8, config->pci_high_start,
                       config->pci_high_start + config->pci_high_bytes - 1);
    }
    aml_crs_end(out, crs);
}

static void dsdt_pci(struct table_writer *out, const struct acpi_tables_config *config)
{
    uint64_t device = aml_device_begin(out, "PCI0");

    aml_device_ids(out, "PNP0A08", 0);
    aml_eisa_name(out, "_CID", "PNP0A03");
    dsdt_osc(out);
    dsdt_pci_windows(out, config);
    if (config->pci_devices != 0) {
        dsdt_routing(out, config->pci_devices);
    }
    aml_package_end(out, device);
}

static void dsdt_board(struct table_writer *out)
{
    uint64_t device = aml_device_begin(out, "MBRD");
    struct aml_crs crs;

    aml_device_ids(out, "PNP0C02", 0);
    crs = aml_crs_begin(out);
    aml_crs_fixed_memory(out, GUEST_ECAM_BASE, PCI_ECAM_BYTES);
    aml_crs_end(out, crs);
    aml_package_end(out, device);
}

/* Name (PICM, 0) and Method (_PIC, 1) {Store (Arg0, PICM)}. */
static void dsdt_pic(struct table_writer *out)
{
    uint64_t method;

    aml_name(out, "PICM");
    writer_u8(out, AML_ZERO);
    method = aml_method_begin(out, "_PIC", 1);
    writer_u8(out, AML_STORE);
    writer_u8(out, AML_ARG0);
    writer_text(out, "PICM");
    aml_package_end(out, method);
}

/* --- ISA --- */

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
static const struct isa_device com2_device = {"COM2", "PNP0501", 2, 0x2f8, 8, 3};

/* Name (_HID, "QEMU0001"): the id by which drivers know it. It is there and works: _STA, 6.3.7. */
#define STATUS_WORKS 0x0fu

static void dsdt_pvpanic(struct table_writer *out)
{
    uint64_t device = aml_device_begin(out, "PEVT");
    struct aml_crs crs;

    aml_name(out, "_HID");
    aml_string(out, "QEMU0001");
    aml_name(out, "_STA");
    aml_byte(out, STATUS_WORKS);
    crs = aml_crs_begin(out);
    aml_crs_io(out, PVPANIC_PORT, 1);
    aml_crs_end(out, crs);
    aml_package_end(out, device);
}

/* "LNRO0005" is the id that Linux and others know; no specification has it. Its interrupt is an edge of the ISA bus. */
static void dsdt_virtio_mmio(struct table_writer *out, uint32_t index)
{
    static const uint8_t irqs[GUEST_VIRTIO_MMIO_MAX] = GUEST_VIRTIO_MMIO_IRQS;
    const char name[] = {'V', 'R', '0', (char)('0' + index), '\0'};
    uint64_t device = aml_device_begin(out, name);
    struct aml_crs crs;

    aml_name(out, "_HID");
    aml_string(out, "LNRO0005");
    aml_name(out, "_UID");
    aml_byte(out, (uint8_t)index);
    crs = aml_crs_begin(out);
    aml_crs_fixed_memory(out, (uint32_t)(GUEST_VIRTIO_MMIO_START + index * GUEST_VIRTIO_MMIO_BYTES),
                         (uint32_t)GUEST_VIRTIO_MMIO_BYTES);
    aml_crs_irq(out, irqs[index]);
    aml_crs_end(out, crs);
    aml_package_end(out, device);
}

static void dsdt_isa(struct table_writer *out, const struct isa_device *isa)
{
    uint64_t device = aml_device_begin(out, isa->name);
    struct aml_crs crs;

    aml_device_ids(out, isa->hid, isa->uid);
    crs = aml_crs_begin(out);
    aml_crs_io(out, isa->port, isa->ports);
    aml_crs_irq(out, isa->irq);
    aml_crs_end(out, crs);
    aml_package_end(out, device);
}

/* Linux and others know the two by these ids; the mouse has its controller's ports, which the keyboard names. */
static void dsdt_keyboard(struct table_writer *out)
{
    uint64_t device = aml_device_begin(out, "KBD_");
    struct aml_crs crs;

    aml_device_ids(out, "PNP0303", 0);
    crs = aml_crs_begin(out);
    aml_crs_io(out, I8042_DATA_PORT, 1);
    aml_crs_io(out, I8042_COMMAND_PORT, 1);
    aml_crs_irq(out, I8042_IRQ_KEYBOARD);
    aml_crs_end(out, crs);
    aml_package_end(out, device);

    device = aml_device_begin(out, "MOU_");
    aml_device_ids(out, "PNP0F13", 0);
    crs = aml_crs_begin(out);
    aml_crs_irq(out, I8042_IRQ_MOUSE);
    aml_crs_end(out, crs);
    aml_package_end(out, device);
}

/* Name (\_S5, Package () {type, type, 0, 0}): what goes into SLP_TYP for soft-off. 7.4.2.6. */
static void dsdt_s5(struct table_writer *out)
{
    uint64_t package;

    writer_u8(out, AML_NAME);
    writer_u8(out, AML_ROOT);
    writer_text(out, "_S5_");
    writer_u8(out, AML_PACKAGE);
    package = aml_package_begin(out);
    writer_u8(out, 4);
    aml_byte(out, PM_SLEEP_TYPE_S5);
    aml_byte(out, PM_SLEEP_TYPE_S5);
    aml_byte(out, 0);
    aml_byte(out, 0);
    aml_package_end(out, package);
}

uint64_t acpi_put_dsdt(struct table_writer *out, const struct acpi_tables_config *config)
{
    uint64_t start = acpi_table_begin(out, "DSDT", 2);
    uint64_t scope;

    dsdt_s5(out);
    dsdt_pic(out);
    writer_u8(out, AML_SCOPE);
    scope = aml_package_begin(out);
    writer_u8(out, AML_ROOT);
    writer_text(out, "_SB_");
    dsdt_pci(out, config);
    dsdt_board(out);
    for (size_t i = 0; i < ARRAY_COUNT(isa_devices); i++) {
        dsdt_isa(out, &isa_devices[i]);
    }
    if (config->com2) {
        dsdt_isa(out, &com2_device);
    }
    if (config->keyboard) {
        dsdt_keyboard(out);
    }
    dsdt_pvpanic(out);
    for (uint32_t i = 0; i < config->virtio_mmio; i++) {
        dsdt_virtio_mmio(out, i);
    }
    aml_package_end(out, scope);
    acpi_table_end(out, start);
    return start;
}
