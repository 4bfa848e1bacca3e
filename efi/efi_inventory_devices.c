/* SPDX-License-Identifier: MIT */
/*
 * Of \\plinth\\machine.txt: PCI functions, whether the firmware has the USB controllers, IOMMUs. The firmware maps
 * device memory at its own addresses while it has the machine, so configuration space and registers are read in place,
 * with interrupts off: a firmware's interrupt handler may use the same pair of ports. Nothing is written but that pair.
 */
#include "efi/efi_inventory.h"
#include "hv/host/pci_describe.h"
#include "hv/host/pci_device.h"
#include "hv/host/pci_ports.h"
#include "hv/host/usb_handoff.h"
#include "hv/iommu/dmar.h"
#include "hv/iommu/ivrs.h"

#define BUSES_MAX (ACPI_ECAM_MAX + 1u)
#define PORTS_BYTES 256u
#define BUS_SHIFT 20u /* of configuration space in memory: "PCI Express Base Specification" 5.0, 7.2.2 */
#define DEVICE_SHIFT 15u
#define FUNCTION_SHIFT 12u

/* VT-d 11.4.4.2 "Global Status Register": TES. AMD-Vi 3.4.3 "IOMMU Control Register" (MMIO offset 0018h): IommuEn. */
#define VTD_STATUS 0x1cu
#define VTD_STATUS_TRANSLATES (1u << 31)
#define AMDVI_CONTROL 0x18u
#define AMDVI_CONTROL_ON 1u

static struct pci_topology topology; /* 20 KiB */
static struct dmar dmar;
static struct ivrs ivrs;

static bool is_memory_for_use(const struct memory_map *map, uint64_t start, uint64_t end)
{
    for (uint32_t i = 0; i < map->count; i++) {
        const struct memory_region *region = &map->regions[i];

        if (region->start < end && start < region->end && region->type <= MEMORY_ACPI) {
            return true;
        }
    }
    return false;
}

static uint32_t config_read(void *context, struct pci_address address, uint32_t offset)
{
    const struct efi_stage *stage = context;

    if (address.segment == 0 && offset < PORTS_BYTES) {
        return pci_ports_read(NULL, address, offset);
    }
    for (uint32_t i = 0; i < stage->acpi.ecam_count; i++) {
        const struct acpi_ecam *ecam = &stage->acpi.ecam[i];
        uint64_t at = ecam->base + ((uint64_t)address.bus << BUS_SHIFT) + ((uint64_t)address.device << DEVICE_SHIFT) +
                      ((uint64_t)address.function << FUNCTION_SHIFT) + offset;

        if (ecam->segment == address.segment && address.bus >= ecam->bus_first && address.bus <= ecam->bus_last &&
            !is_memory_for_use(&stage->map, at, at + sizeof(uint32_t))) {
            return *(volatile uint32_t *)(uintptr_t)at;
        }
    }
    return ~0u;
}

/* Nothing here changes a device. */
static void config_write(void *context, struct pci_address address, uint32_t offset, uint32_t bytes, uint32_t value)
{
    (void)context;
    (void)address;
    (void)offset;
    (void)bytes;
    (void)value;
}

struct pci_access efi_inventory_pci(struct efi_stage *stage)
{
    return (struct pci_access){stage, config_read, config_write};
}

static bool usb_map(void *context, uint64_t address, uint64_t bytes)
{
    const struct efi_stage *stage = context;

    return !is_memory_for_use(&stage->map, address, address + bytes);
}

static uint32_t register_read(void *context, uint64_t address)
{
    (void)context;
    return *(volatile uint32_t *)(uintptr_t)address;
}

static uint32_t collect_buses(const struct efi_stage *stage, struct pci_buses *buses)
{
    uint32_t count = 0;

    buses[count++] = (struct pci_buses){0, 0, UINT8_MAX};
    for (uint32_t i = 0; i < stage->acpi.ecam_count; i++) {
        const struct acpi_ecam *ecam = &stage->acpi.ecam[i];

        if (ecam->segment != 0) {
            buses[count++] = (struct pci_buses){ecam->segment, ecam->bus_first, ecam->bus_last};
        }
    }
    return count;
}

static void add_functions(struct inventory *inventory, struct efi_stage *stage)
{
    const struct pci_access access = efi_inventory_pci(stage);
    const struct usb_access usb = {.context = stage, .map = usb_map, .read = register_read};
    struct pci_buses buses[BUSES_MAX];
    char line[PCI_DESCRIBE_BYTES];
    uint32_t irq;

    if (pci_topology_read(&topology, &access, buses, collect_buses(stage, buses)) != STATUS_OK) {
        inventory_add(inventory, "# more than %u PCI functions: groups mean nothing\n", PCI_NODES_MAX);
    }
    for (uint32_t i = 0; i < topology.count; i++) {
        const struct pci_node *node = &topology.nodes[i];
        const char *kind = usb_kind_name(&node->function);

        pci_describe(line, &topology, node, &access);
        if (pci_device_irq(&access, node->function.address, pci_ports_levels(), &irq)) {
            inventory_add(inventory, "pci = %s, line %u\n", line, irq);
        } else {
            inventory_add(inventory, "pci = %s\n", line);
        }
        if (kind != NULL) {
            inventory_add(inventory, "usb = %s %04x:%02x:%02x.%u %s\n", kind, node->function.address.segment,
                          node->function.address.bus, node->function.address.device, node->function.address.function,
                          usb_legacy_owner(&access, &usb, &node->function));
        }
    }
}

static const char *switched(bool on)
{
    return on ? "on" : "off";
}

static void add_intel_units(struct inventory *inventory, const struct efi_stage *stage)
{
    if (dmar_read(&dmar, stage->acpi.dmar) != STATUS_OK) {
        inventory_add(inventory, "iommu = intel refused: %s\n", dmar.problem);
        return;
    }
    for (uint32_t i = 0; i < dmar.unit_count; i++) {
        uint32_t status = register_read(NULL, dmar.units[i].base + VTD_STATUS);

        inventory_add(inventory, "iommu = intel 0x%" PRIx64 " segment %u %s%s\n", dmar.units[i].base,
                      dmar.units[i].segment, switched((status & VTD_STATUS_TRANSLATES) != 0),
                      dmar.units[i].all ? " all" : "");
    }
    for (uint32_t i = 0; i < dmar.region_count; i++) {
        inventory_add(inventory, "iommu-keeps = 0x%" PRIx64 " 0x%" PRIx64 "\n", dmar.regions[i].start,
                      dmar.regions[i].end);
    }
}

static void add_amd_units(struct inventory *inventory, const struct efi_stage *stage)
{
    if (ivrs_read(&ivrs, stage->acpi.ivrs) != STATUS_OK) {
        inventory_add(inventory, "iommu = amd refused: %s\n", ivrs.problem);
        return;
    }
    for (uint32_t i = 0; i < ivrs.unit_count; i++) {
        uint32_t control = register_read(NULL, ivrs.units[i].base + AMDVI_CONTROL);

        inventory_add(inventory, "iommu = amd 0x%" PRIx64 " segment %u %s\n", ivrs.units[i].base, ivrs.units[i].segment,
                      switched((control & AMDVI_CONTROL_ON) != 0));
    }
    for (uint32_t i = 0; i < ivrs.region_count; i++) {
        inventory_add(inventory, "iommu-keeps = 0x%" PRIx64 " 0x%" PRIx64 "\n", ivrs.regions[i].start,
                      ivrs.regions[i].end);
    }
}

void inventory_add_devices(struct inventory *inventory, struct efi_stage *stage)
{
    EFI_TPL before = stage->boot->RaiseTPL(TPL_HIGH_LEVEL);

    add_functions(inventory, stage);
    if (stage->acpi.dmar.base != NULL) {
        add_intel_units(inventory, stage);
    }
    if (stage->acpi.ivrs.base != NULL) {
        add_amd_units(inventory, stage);
    }
    stage->boot->RestoreTPL(before);
    if (stage->acpi.dmar.base == NULL && stage->acpi.ivrs.base == NULL) {
        inventory_add(inventory, "iommu = none\n");
    }
}
