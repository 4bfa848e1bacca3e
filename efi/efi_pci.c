/* SPDX-License-Identifier: MIT */
/*
 * The PCI functions of segment 0, for the inventory and for UARTs on cards. What makes devices quiet comes after the
 * hand-over: hv/host/host_devices.h.
 */
#include "efi/efi_inventory.h"
#include "efi/efi_stage.h"

#include "hv/host/pci_device.h"
#include "hv/host/pci_ports.h"
#include "hv/host/pci_topology.h"
#include "hv/host/pci_virtual.h"
#include "hv/iommu/iommu.h"

#define PCI_FOUND_MAX 1024u
#define PCI_COMMAND_PORTS (1u << 0)

static const struct pci_access ports = {NULL, pci_ports_read, pci_ports_write};

/* What a look at the whole bus found: it takes milliseconds, so it is done once. */
static struct efi_pci_function functions[PCI_FOUND_MAX];
static uint32_t function_count;

static void add_function(void *context, const struct pci_access *access, const struct pci_function *found)
{
    struct efi_pci_function *function = &functions[function_count];

    (void)context;
    if (function_count == PCI_FOUND_MAX) {
        return;
    }
    function_count++;
    *function = (struct efi_pci_function){
        .bus = found->address.bus,
        .device = found->address.device,
        .function = found->address.function,
        .vendor = found->vendor,
        .product = found->product,
        .class_code = found->class_code,
    };
    for (uint32_t i = 0; i < EFI_PCI_BARS; i++) {
        function->bars[i] = access->read(access->context, found->address, PCI_BAR(i));
    }
}

/* With interrupts off, for a firmware's interrupt handler may use the same pair of ports. */
void efi_pci_find(struct efi_stage *stage)
{
    static const struct pci_buses all = {0, 0, UINT8_MAX};
    EFI_TPL before = stage->boot->RaiseTPL(TPL_HIGH_LEVEL);

    (void)pci_scan(&ports, &all, 1, add_function, NULL);
    stage->boot->RestoreTPL(before);
}

/* ---- for guests that have some ---- */

static struct pci_topology topology;
static struct config_pci_function known[PCI_NODES_MAX];

/* Capabilities alone: the sizes of its registers are for after the hand-over. */
static bool has_messages(const struct pci_address *address)
{
    struct pci_assigned_facts facts = {.address = *address};

    pci_device_read_capabilities(&ports, &facts);
    return facts.msix != 0 || facts.msi != 0;
}

static bool is_console(const struct boot_info *info, const struct pci_function *function)
{
    uint32_t bar = pci_ports_read(NULL, function->address, PCI_BAR(0));

    if (function->class_code >> 16 == PCI_CLASS_DISPLAY) {
        return info->framebuffer.format != BOOT_PIXEL_NONE;
    }
    for (uint32_t i = 0; i < info->uart_count; i++) {
        uint64_t base = bar & (info->uarts[i].mmio ? ~0xfu : ~0x3u);

        if (base != 0 && base == info->uarts[i].base && ((bar & 1) == 0) == info->uarts[i].mmio) {
            return true;
        }
    }
    return false;
}

void efi_pci_machine(struct efi_stage *stage, struct config_machine *machine)
{
    static const struct pci_buses all = {0, 0, UINT8_MAX};
    const struct pci_access whole_space = efi_inventory_pci(stage);
    EFI_TPL before = stage->boot->RaiseTPL(TPL_HIGH_LEVEL);
    uint16_t levels = pci_ports_levels();
    uint32_t irq;
    bool whole = pci_topology_read(&topology, &ports, &all, 1) == STATUS_OK;

    for (uint32_t i = 0; i < topology.count; i++) {
        const struct pci_function *function = &topology.nodes[i].function;

        known[i] = (struct config_pci_function){.segment = 0,
                                                .bus = function->address.bus,
                                                .device = function->address.device,
                                                .function = function->address.function,
                                                .vendor = function->vendor,
                                                .product = function->product,
                                                .class_code = function->class_code,
                                                .group = whole ? topology.nodes[i].group : CONFIG_PCI_NO_GROUP,
                                                .messages_known = true,
                                                .messages = has_messages(&function->address),
                                                .line = pci_device_irq(&ports, function->address, levels, &irq),
                                                .console = is_console(stage->info, function),
                                                .vfs_known = stage->acpi.ecam_count != 0,
                                                .vfs = pci_virtual_total(&whole_space, function->address)};
    }
    stage->boot->RestoreTPL(before);
    machine->pci = known;
    machine->pci_count = topology.count;
    machine->pci_known = true;
    machine->has_iommu = iommu_bytes(&stage->acpi) != 0;
}

void efi_pci_each(efi_pci_visit *visit, void *context)
{
    for (uint32_t i = 0; i < function_count; i++) {
        visit(context, &functions[i]);
    }
}

void efi_pci_open(const struct efi_pci_function *function)
{
    const struct pci_address address = {0, (uint8_t)function->bus, (uint8_t)function->device,
                                        (uint8_t)function->function};
    uint32_t command = pci_ports_read(NULL, address, PCI_COMMAND) & 0xffff;

    pci_ports_write(NULL, address, PCI_COMMAND, 2, command | PCI_COMMAND_PORTS | PCI_COMMAND_MEMORY);
}
