/* SPDX-License-Identifier: MIT */
#include "hv/host/pci_bridge.h"

#define COMMAND_SERR (1u << 8)
#define BRIDGE_CONTROL 0x3eu
#define BRIDGE_SERR (1u << 1)
#define BRIDGE_RESET (1u << 6)

#define CAPABILITIES 0x34u
#define CAPABILITIES_MAX 48u
#define CAPABILITY_FIRST 0x40u
#define CAP_EXPRESS 0x10u
#define DEVICE_CONTROL 0x08u
#define DEVICE_REPORTS 0xfu
#define ROOT_CONTROL 0x1cu
#define ROOT_SYSTEM_ERRORS 0x7u

#define EXTENDED_FIRST 0x100u
#define EXTENDED_MAX 48u
#define EXTENDED_AER 0x0001u
#define AER_UNCORRECTABLE_MASK 0x08u
#define AER_SURPRISE_DOWN (1u << 5)
#define AER_ROOT_COMMAND 0x2cu
#define AER_ROOT_REPORTS 0x7u

static uint32_t read_word(const struct pci_access *access, const struct pci_address *address, uint32_t offset)
{
    return access->read(access->context, *address, offset);
}

/* Clears bits of a register of 16 bits. */
static void clear(const struct pci_access *access, const struct pci_address *address, uint32_t offset, uint32_t bits)
{
    uint32_t value = read_word(access, address, offset & ~2u) >> 8 * (offset & 2u) & UINT16_MAX;

    if ((value & bits) != 0) {
        access->write(access->context, *address, offset, 2, value & ~bits);
    }
}

/* 0: it has none. */
static uint32_t find_express(const struct pci_access *access, const struct pci_address *address)
{
    uint32_t at = read_word(access, address, CAPABILITIES) & 0xfcu;

    if ((read_word(access, address, PCI_COMMAND) & PCI_STATUS_CAPABILITIES) == 0) {
        return 0;
    }
    for (uint32_t i = 0; i < CAPABILITIES_MAX && at >= CAPABILITY_FIRST; i++) {
        uint32_t word = read_word(access, address, at);

        if ((word & 0xffu) == CAP_EXPRESS) {
            return at;
        }
        at = word >> 8 & 0xfcu;
    }
    return 0;
}

/* 0: it has none, or the space beyond 256 bytes cannot be reached. */
static uint32_t find_aer(const struct pci_access *access, const struct pci_address *address)
{
    uint32_t at = EXTENDED_FIRST;

    for (uint32_t i = 0; i < EXTENDED_MAX && at >= EXTENDED_FIRST; i++) {
        uint32_t word = read_word(access, address, at);

        if (word == ~0u) {
            return 0;
        }
        if ((word & UINT16_MAX) == EXTENDED_AER) {
            return at;
        }
        at = word >> 20 & 0xffcu;
    }
    return 0;
}

void pci_bridge_mute(const struct pci_access *access, const struct pci_address *address)
{
    uint32_t express = find_express(access, address), aer;

    clear(access, address, PCI_COMMAND, COMMAND_SERR);
    clear(access, address, BRIDGE_CONTROL, BRIDGE_SERR);
    if (express == 0) {
        return;
    }
    clear(access, address, express + DEVICE_CONTROL, DEVICE_REPORTS);
    clear(access, address, express + ROOT_CONTROL, ROOT_SYSTEM_ERRORS);
    aer = find_aer(access, address);
    if (aer != 0) {
        access->write(access->context, *address, aer + AER_UNCORRECTABLE_MASK, 4,
                      read_word(access, address, aer + AER_UNCORRECTABLE_MASK) | AER_SURPRISE_DOWN);
        clear(access, address, aer + AER_ROOT_COMMAND, AER_ROOT_REPORTS);
    }
}

void pci_bridge_reset(const struct pci_access *access, const struct pci_address *address, bool held)
{
    uint32_t control = read_word(access, address, BRIDGE_CONTROL & ~2u) >> 16;

    access->write(access->context, *address, BRIDGE_CONTROL, 2,
                  held ? control | BRIDGE_RESET : control & ~BRIDGE_RESET);
}

const struct pci_node *pci_bridge_of(const struct pci_topology *topology, const struct pci_node *node,
                                     bool (*is_own)(const void *context, const struct pci_node *node),
                                     const void *context)
{
    const struct pci_node *bridge = node->parent != PCI_PARENT_NONE ? &topology->nodes[node->parent] : NULL;

    for (uint32_t i = 0; bridge != NULL && i < topology->count; i++) {
        const struct pci_node *other = &topology->nodes[i];
        const struct pci_address *at = &other->function.address;

        if (at->segment == bridge->function.address.segment && at->bus >= bridge->bridge.secondary &&
            at->bus <= bridge->bridge.subordinate && (other->is_bridge || !is_own(context, other))) {
            return NULL;
        }
    }
    return bridge;
}
