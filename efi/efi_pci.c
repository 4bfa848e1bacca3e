/* SPDX-License-Identifier: MIT */
/*
 * The PCI functions of segment 0, for the inventory and for UARTs on cards. What makes devices quiet comes after the
 * hand-over: hv/host/host_devices.h.
 */
#include "efi/efi_stage.h"

#include "hv/host/pci_ports.h"

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
