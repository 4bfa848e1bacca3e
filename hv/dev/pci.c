/*
 * PCI configuration space with one host bridge. See pci.h.
 *
 *   0xcf8:  31      30    24 23  16 15    11 10      8 7      2 1 0
 *           |enable|  0    | bus  | device | function | register|0 0|
 */
#include "hv/dev/pci.h"

#include "hv/base/memory.h"
#include "hv/dev/timebase.h"

/* Ports of the row: the address needs a dword, the reset control a byte, the data take any width. */
#define PORTS_FIRST 0xcf8u
#define PORTS_BYTES 8u
#define AT_ADDRESS 0u
#define AT_RESET_CONTROL 1u
#define AT_DATA 4u

#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_BITS 0x80fffffcu
#define ADDRESS_FUNCTION(address) ((address) >> 8 & 0xffffu) /* bus, device, function */
#define ADDRESS_REGISTER(address) ((address)&0xfcu)

/* Header fields. PCI Local Bus 3.0, 6.1 "Configuration Space Organization", figure 6-1. */
#define PCI_COMMAND 0x04u
#define PCI_COMMAND_BITS 0x0547u /* I/O, memory, master, parity, SERR, interrupt disable */
#define PCI_CACHE_LINE 0x0cu
#define PCI_INTERRUPT_LINE 0x3cu

#define RESET_CPU 0x04u
#define RESET_BITS 0x0eu

/*
 * A host bridge that no kernel has a quirk for: the generic one of emulated machines (1b36:0008). Real chipsets' ids
 * make kernels poke at registers that only those chipsets have.
 */
static const uint8_t bridge_header[16] = {
    0x36, 0x1b, 0x08, 0x00, /* vendor, device */
    0x07, 0x00, 0x00, 0x00, /* command: I/O, memory, master; status: no capabilities */
    0x00, 0x00, 0x00, 0x06, /* revision 0; class 06 00 00: host bridge */
    0x00, 0x00, 0x00, 0x00, /* one function, header type 0 */
};

void pci_reset(struct pci *pci)
{
    memset(pci, 0, sizeof(*pci));
    memcpy(pci->bridge, bridge_header, sizeof(bridge_header));
    pci->signals.deadline = DEADLINE_NONE;
}

uint32_t pci_address_read(const struct pci *pci)
{
    return pci->address;
}

void pci_address_write(struct pci *pci, uint32_t value)
{
    pci->address = value & ADDRESS_BITS;
}

static uint32_t all_ones(uint8_t size)
{
    return size == 4 ? 0xffffffffu : (1u << (size * 8)) - 1;
}

static bool addresses_bridge(const struct pci *pci)
{
    return (pci->address & ADDRESS_ENABLE) != 0 && ADDRESS_FUNCTION(pci->address) == 0;
}

/* Registers past the header read 0, as those of a device without capabilities. */
static uint8_t bridge_byte(const struct pci *pci, unsigned index)
{
    return index < PCI_HEADER_BYTES ? pci->bridge[index] : 0;
}

uint32_t pci_data_read(const struct pci *pci, unsigned offset, uint8_t size)
{
    uint32_t value = 0;

    if (!addresses_bridge(pci)) {
        return all_ones(size);
    }
    for (unsigned i = 0; i < size; i++) {
        value |= (uint32_t)bridge_byte(pci, ADDRESS_REGISTER(pci->address) + offset + i) << (8 * i);
    }
    return value;
}

/* Which bits of a header byte can be written. There are no base address registers. */
static uint8_t writable_bits(unsigned index)
{
    switch (index) {
    case PCI_COMMAND:
        return PCI_COMMAND_BITS & 0xffu;
    case PCI_COMMAND + 1:
        return PCI_COMMAND_BITS >> 8;
    case PCI_CACHE_LINE:
    case PCI_INTERRUPT_LINE:
        return 0xff;
    default:
        return 0;
    }
}

void pci_data_write(struct pci *pci, unsigned offset, uint8_t size, uint32_t value)
{
    if (!addresses_bridge(pci)) {
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        unsigned index = ADDRESS_REGISTER(pci->address) + offset + i;
        uint8_t bits = writable_bits(index);

        if (bits != 0) {
            pci->bridge[index] = (uint8_t)((pci->bridge[index] & ~bits) | ((uint8_t)(value >> (8 * i)) & bits));
        }
    }
}

uint8_t pci_reset_control_read(const struct pci *pci)
{
    return pci->reset_control;
}

void pci_reset_control_write(struct pci *pci, uint8_t value)
{
    if ((value & RESET_CPU) != 0 && (pci->reset_control & RESET_CPU) == 0) {
        bus_request_power(&pci->signals, POWER_RESET_REQUESTED, "port 0xcf9");
    }
    pci->reset_control = value & RESET_BITS;
}

/* --- The row --- */

static bool read_at(void *state, struct bus_access *access)
{
    if (access->at >= AT_DATA) {
        access->value = pci_data_read(state, (unsigned)access->at - AT_DATA, access->size);
    } else if (access->at == AT_ADDRESS && access->size == 4) {
        access->value = pci_address_read(state);
    } else if (access->at == AT_RESET_CONTROL && access->size == 1) {
        access->value = pci_reset_control_read(state);
    } else {
        return false;
    }
    return true;
}

static bool write_at(void *state, const struct bus_access *access)
{
    if (access->at >= AT_DATA) {
        pci_data_write(state, (unsigned)access->at - AT_DATA, access->size, (uint32_t)access->value);
    } else if (access->at == AT_ADDRESS && access->size == 4) {
        pci_address_write(state, (uint32_t)access->value);
    } else if (access->at == AT_RESET_CONTROL && access->size == 1) {
        pci_reset_control_write(state, (uint8_t)access->value);
    } else {
        return false;
    }
    return true;
}

static void reset(void *state, const struct bus_environment *environment, uint64_t now)
{
    (void)environment;
    (void)now;
    pci_reset(state);
}

const struct bus_row pci_row = {
    .name = "PCI",
    BUS_RANGES(BUS_AT(BUS_PORT, PORTS_FIRST, PORTS_BYTES, 0, 1 | 2 | 4)),
    .read = read_at,
    .write = write_at,
    .reset = reset,
    BUS_STATE(struct pci, signals),
};
