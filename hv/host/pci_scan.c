/* SPDX-License-Identifier: MIT */
#include "hv/host/pci_scan.h"

bool pci_is_there(const struct pci_access *access, struct pci_address address)
{
    return (access->read(access->context, address, PCI_ID) & 0xffff) != PCI_ID_NONE;
}

static void show(const struct pci_access *access, struct pci_address address, pci_visit *visit, void *context)
{
    uint32_t id = access->read(access->context, address, PCI_ID);
    const struct pci_function function = {
        .address = address,
        .vendor = (uint16_t)id,
        .product = (uint16_t)(id >> 16),
        .class_code = access->read(access->context, address, PCI_CLASS) >> 8,
    };

    visit(context, access, &function);
}

/* The functions of one device. Where function 0 is missing there are no others. */
static uint32_t scan_device(const struct pci_access *access, struct pci_address address, pci_visit *visit,
                            void *context)
{
    uint32_t found = 0;
    uint32_t count;

    if (!pci_is_there(access, address)) {
        return 0;
    }
    count = (access->read(access->context, address, PCI_HEADER) & PCI_HEADER_MANY_FUNCTIONS) != 0 ? PCI_FUNCTIONS : 1;
    for (uint32_t function = 0; function < count; function++) {
        address.function = (uint8_t)function;
        if (pci_is_there(access, address)) {
            show(access, address, visit, context);
            found++;
        }
    }
    return found;
}

uint32_t pci_scan(const struct pci_access *access, const struct pci_buses *buses, uint32_t count, pci_visit *visit,
                  void *context)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t bus = buses[i].first; bus <= buses[i].last; bus++) {
            for (uint32_t device = 0; device < PCI_DEVICES; device++) {
                const struct pci_address address = {buses[i].segment, (uint8_t)bus, (uint8_t)device, 0};

                found += scan_device(access, address, visit, context);
            }
        }
    }
    return found;
}

bool pci_read_bridge(const struct pci_access *access, struct pci_address address, struct pci_bridge *bridge)
{
    uint32_t header = access->read(access->context, address, PCI_HEADER) >> PCI_HEADER_TYPE_SHIFT;
    uint32_t buses;

    if ((header & PCI_HEADER_TYPE_MASK) != PCI_HEADER_TYPE_BRIDGE) {
        return false;
    }
    buses = access->read(access->context, address, PCI_BUSES);
    *bridge = (struct pci_bridge){(uint8_t)(buses >> 8), (uint8_t)(buses >> 16)};
    return bridge->secondary != 0 && bridge->secondary <= bridge->subordinate;
}

static uint32_t command_of(const struct pci_access *access, const struct pci_function *function)
{
    return access->read(access->context, function->address, PCI_COMMAND) & 0xffff;
}

bool pci_is_master(const struct pci_access *access, const struct pci_function *function)
{
    uint32_t class = function->class_code >> 16;

    return class != PCI_CLASS_DISPLAY && class != PCI_CLASS_BRIDGE &&
           (command_of(access, function) & PCI_COMMAND_MASTER) != 0;
}

/* The command register is written alone: its upper neighbour, the status register, clears what is written as one. */
bool pci_stop_master(const struct pci_access *access, const struct pci_function *function)
{
    if (!pci_is_master(access, function)) {
        return false;
    }
    access->write(access->context, function->address, PCI_COMMAND, 2,
                  command_of(access, function) & ~PCI_COMMAND_MASTER);
    return true;
}
