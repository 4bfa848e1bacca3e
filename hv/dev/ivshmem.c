/* SPDX-License-Identifier: MIT */
/* See ivshmem.h. */
#include "hv/dev/ivshmem.h"

#include "hv/base/memory.h"

#define VENDOR 0x1af4u
#define DEVICE 0x1110u
#define SUBSYSTEM 0x1100u
#define REVISION 1u
#define CLASS_RAM 0x050000u /* a memory controller: RAM */

#define BAR_REGISTERS 0u
#define BAR_MSIX 1u
#define BAR_MEMORY 2u
#define REGISTERS_BYTES 256u
#define MSIX_BYTES 4096u
#define MSIX_PBA 0x800u

#define REGISTER_NUMBER 8u
#define REGISTER_DOORBELL 12u
#define DOORBELL_PEER(value) ((uint32_t)(value) >> 16)
#define DOORBELL_VECTOR(value) ((uint32_t)(value)&0xffffu)

static struct ivshmem *ivshmem_of(struct pci_endpoint *function)
{
    return (struct ivshmem *)function;
}

static uint64_t bar_read(struct pci_endpoint *function, unsigned bar, uint64_t offset, uint8_t size)
{
    const struct ivshmem *device = ivshmem_of(function);
    uint64_t value = 0;

    if (bar == BAR_REGISTERS) {
        return offset == REGISTER_NUMBER ? device->number : 0;
    }
    if (bar == BAR_MEMORY) {
        memcpy(&value, device->memory + offset, size);
    }
    return value;
}

static void ring(struct ivshmem *device, uint64_t value)
{
    uint32_t peer = DOORBELL_PEER(value), vector = DOORBELL_VECTOR(value);

    if (peer < IVSHMEM_PEERS_MAX && vector < IVSHMEM_VECTORS) {
        __atomic_fetch_or(&device->rung[peer], 1u << vector, __ATOMIC_RELEASE);
        device->function.signals.wants |= BUS_WORK;
    }
}

static void bar_write(struct pci_endpoint *function, unsigned bar, uint64_t offset, uint8_t size, uint64_t value)
{
    struct ivshmem *device = ivshmem_of(function);

    if (bar == BAR_REGISTERS && offset == REGISTER_DOORBELL) {
        ring(device, value);
    } else if (bar == BAR_MEMORY && !device->read_only) {
        memcpy(device->memory + offset, &value, size);
    }
}

static const struct pci_device_ops ops = {.read = bar_read, .write = bar_write};

void ivshmem_init(struct ivshmem *device)
{
    static const struct pci_identity identity = {.vendor = VENDOR,
                                                 .device = DEVICE,
                                                 .subsystem_vendor = VENDOR,
                                                 .subsystem = SUBSYSTEM,
                                                 .class_code = CLASS_RAM,
                                                 .revision = REVISION};

    pci_function_init(&device->function, &identity, &ops, device);
    pci_function_add_bar(&device->function, BAR_REGISTERS,
                         (struct pci_bar){.kind = PCI_BAR_MEMORY32, .bytes = REGISTERS_BYTES});
    pci_function_add_bar(&device->function, BAR_MSIX, (struct pci_bar){.kind = PCI_BAR_MEMORY32, .bytes = MSIX_BYTES});
    pci_function_add_bar(&device->function, BAR_MEMORY, (struct pci_bar){PCI_BAR_MEMORY64, true, device->bytes});
    pci_function_add_msix(&device->function, IVSHMEM_VECTORS, BAR_MSIX, 0, MSIX_PBA);
    pci_bar_set_address(&device->function, BAR_MEMORY, device->place);
    memset(device->rung, 0, sizeof(device->rung));
    __atomic_store_n(&device->incoming, 0, __ATOMIC_RELEASE);
}

void ivshmem_carry(struct ivshmem *device)
{
    uint32_t incoming = __atomic_exchange_n(&device->incoming, 0, __ATOMIC_ACQ_REL);

    for (unsigned vector = 0; vector < IVSHMEM_VECTORS; vector++) {
        if ((incoming >> vector & 1u) != 0) {
            device->received++;
            pci_interrupt(&device->function, vector);
        }
    }
    pci_signal(&device->function);
}

const struct bus_row ivshmem_row = {
    .name = "shared memory",
    PCI_ROW_RANGES,
    .read = pci_row_read,
    .write = pci_row_write,
    .next_message = pci_row_next_message,
    .lines = {BUS_NO_LINE},
    .line_count = 1,
    .state_bytes = sizeof(struct ivshmem),
    .signals_at = offsetof(struct ivshmem, function.signals),
    .saved_from = sizeof(struct ivshmem),
};
