/* SPDX-License-Identifier: MIT */
#include "hv/host/pci_device.h"

#define CAPABILITIES 0x34u
#define CAPABILITY_FIRST 0x40u
#define CAPABILITIES_MAX 48u /* in 192 bytes, four each */
#define SUBSYSTEMS 0x2cu
#define ROM_REGISTER 0x30u
#define INTERRUPT 0x3cu
#define INTERRUPT_LINE(word) ((word)&0xffu)
#define INTERRUPT_PIN(word) ((word) >> 8 & 0xffu)
#define ISA_IRQS 16u
#define HEADER_PLAIN 0x00u

/* "PCI Local Bus Specification" 3.0, appendix H; "PCI Express Base Specification" 5.0, 7.5.3. */
#define CAP_PM 0x01u
#define CAP_MSI 0x05u
#define CAP_VENDOR 0x09u
#define CAP_EXPRESS 0x10u
#define CAP_MSIX 0x11u
#define CAP_ADVANCED 0x13u

#define EXPRESS_CAPABILITIES 0x04u
#define EXPRESS_CONTROL 0x08u
#define EXPRESS_CAN_RESET (1u << 28)
#define EXPRESS_RESET (1u << 15)
#define EXPRESS_REPORTS 0xfu /* of errors: correctable, not fatal, fatal, unsupported requests */
#define EXPRESS_OFF (EXPRESS_RESET | PCI_EXPRESS_NO_SNOOP | EXPRESS_REPORTS)

#define ADVANCED_CAN_RESET 0x03000000u /* of the first word: FLR, and the pending bit that it needs */
#define ADVANCED_CONTROL 0x04u
#define ADVANCED_RESET 0x01u

#define PM_CONTROL 0x04u
#define PM_STATE 0x3u
#define PM_D3 0x3u
#define PM_KEEPS_STATE (1u << 3)

#define MSI_ADDRESS 0x04u
#define MSI_64 (1u << 23) /* of the first word */
#define MSI_CONTROL 0x02u
#define MSIX_CONTROL 0x02u
#define MSIX_COUNT(word) (((word) >> 16 & 0x7ffu) + 1u)
#define MSIX_TABLE 0x04u
#define MSIX_PBA 0x08u
#define MSIX_BAR(word) ((word)&7u)
#define MSIX_OFFSET(word) ((word) & ~7u)

#define MSIX_ENTRY_BYTES 16ULL

/* Of virtio: bytes in all [23:16] of the first word, type [31:24]. Version 1.1, 4.1.2, 4.1.4. */
#define VIRTIO_VENDOR 0x1af4u
#define VIRTIO_BYTES(word) ((word) >> 16 & 0xffu)
#define VIRTIO_TYPE(word) ((word) >> 24)
#define VIRTIO_TYPE_LAST 4u /* common, notifications, ISR, the device's own */
#define VIRTIO_BYTES_MIN 16u
#define CAPABILITY_HEADER 2u

#define BAR_PORTS 0x1u
#define BAR_TYPE 0x6u
#define BAR_TYPE_64 0x4u
#define BAR_PREFETCH 0x8u

static uint32_t read_word(const struct pci_access *access, const struct pci_assigned_facts *facts, uint32_t offset)
{
    return access->read(access->context, facts->address, offset);
}

static void write(const struct pci_access *access, const struct pci_assigned_facts *facts, uint32_t offset,
                  uint32_t bytes, uint32_t value)
{
    access->write(access->context, facts->address, offset, bytes, value);
}

static void read_msix(const struct pci_access *access, struct pci_assigned_facts *facts, uint32_t at)
{
    uint32_t table = read_word(access, facts, at + MSIX_TABLE), pba = read_word(access, facts, at + MSIX_PBA);

    /* Both in one BAR, as all devices have it that are known; else there is no MSI-X. */
    if (MSIX_BAR(table) != MSIX_BAR(pba) || MSIX_BAR(table) >= PCI_BARS) {
        return;
    }
    facts->msix = (uint16_t)at;
    facts->msix_count = MSIX_COUNT(read_word(access, facts, at));
    facts->msix_bar = MSIX_BAR(table);
    facts->msix_table = MSIX_OFFSET(table);
    facts->msix_pba = MSIX_OFFSET(pba);
}

/* Where the registers of a device of virtio lie; what the capability has behind its header. */
static void read_virtio(const struct pci_access *access, struct pci_assigned_facts *facts, uint32_t at)
{
    uint32_t word = read_word(access, facts, at), bytes = VIRTIO_BYTES(word), index = 0;

    while (index < PCI_VIRTIO_MAX && facts->virtio[index].bytes != 0) {
        index++;
    }
    if (facts->identity.vendor != VIRTIO_VENDOR || VIRTIO_TYPE(word) == 0 || VIRTIO_TYPE(word) > VIRTIO_TYPE_LAST ||
        bytes < VIRTIO_BYTES_MIN || bytes > PCI_VIRTIO_BYTES || at + PCI_VIRTIO_BYTES > PCI_CONFIG_BYTES ||
        index == PCI_VIRTIO_MAX) {
        return;
    }
    facts->virtio[index].bytes = (uint8_t)(bytes - CAPABILITY_HEADER);
    for (uint32_t i = CAPABILITY_HEADER; i < bytes; i++) {
        facts->virtio[index].text[i - CAPABILITY_HEADER] =
            (uint8_t)(read_word(access, facts, at + (i & ~3u)) >> 8 * (i & 3));
    }
}

/* What of a capability is used here; the structure's space ends at 256 bytes. */
static uint32_t capability_bytes(uint32_t id)
{
    static const uint8_t bytes[] = {
        [CAP_PM] = 8, [CAP_MSI] = 16, [CAP_EXPRESS] = 12, [CAP_MSIX] = 12, [CAP_ADVANCED] = 8};

    return id < ARRAY_COUNT(bytes) ? bytes[id] : 0;
}

static void read_capability(const struct pci_access *access, struct pci_assigned_facts *facts, uint32_t at)
{
    uint32_t word = read_word(access, facts, at);

    if (at + capability_bytes(word & 0xffu) > PCI_CONFIG_BYTES) {
        return;
    }
    switch (word & 0xffu) {
    case CAP_PM:
        facts->pm = (uint16_t)at;
        break;
    case CAP_MSI:
        facts->msi = (uint16_t)at;
        facts->msi_64 = (word & MSI_64) != 0;
        break;
    case CAP_VENDOR:
        read_virtio(access, facts, at);
        break;
    case CAP_EXPRESS:
        facts->express = (uint16_t)at;
        facts->device_capabilities = read_word(access, facts, at + EXPRESS_CAPABILITIES);
        facts->device_control = (uint16_t)(read_word(access, facts, at + EXPRESS_CONTROL) & ~EXPRESS_OFF);
        break;
    case CAP_MSIX:
        read_msix(access, facts, at);
        break;
    case CAP_ADVANCED:
        facts->advanced = (word & ADVANCED_CAN_RESET) == ADVANCED_CAN_RESET ? (uint16_t)at : 0;
        break;
    default:
        break;
    }
}

void pci_device_read_capabilities(const struct pci_access *access, struct pci_assigned_facts *facts)
{
    uint32_t at = read_word(access, facts, CAPABILITIES) & 0xfcu;

    if ((read_word(access, facts, PCI_COMMAND) & PCI_STATUS_CAPABILITIES) == 0) {
        return;
    }
    for (uint32_t i = 0; i < CAPABILITIES_MAX && at >= CAPABILITY_FIRST; i++) {
        read_capability(access, facts, at);
        at = read_word(access, facts, at) >> 8 & 0xfcu;
    }
}

/* The bits that stay 0 of a register that all ones are written to say its size; it gets its value back. */
static uint32_t bar_size_mask(const struct pci_access *access, const struct pci_assigned_facts *facts, unsigned index)
{
    uint32_t value = read_word(access, facts, PCI_BAR(index)), mask;

    write(access, facts, PCI_BAR(index), 4, ~0u);
    mask = read_word(access, facts, PCI_BAR(index));
    write(access, facts, PCI_BAR(index), 4, value);
    return mask;
}

/* Returns how many registers it has: 2 where its address has 64 bits. */
static unsigned read_bar(const struct pci_access *access, struct pci_assigned_facts *facts, unsigned index)
{
    struct pci_assigned_bar *bar = &facts->bars[index];
    uint32_t value = read_word(access, facts, PCI_BAR(index));
    bool ports = (value & BAR_PORTS) != 0;
    bool wide = !ports && (value & BAR_TYPE) == BAR_TYPE_64 && index + 1 < PCI_BARS;
    uint64_t flags = ports ? 0x3u : 0xfu;
    uint64_t mask = bar_size_mask(access, facts, index);

    if ((mask & ~flags) == 0 && !wide) {
        return 1;
    }
    mask |= wide ? (uint64_t)bar_size_mask(access, facts, index + 1) << 32 : 0xffffffff00000000ULL;
    mask |= ports ? 0xffff0000u : 0; /* devices may leave the upper half of ports 0 */
    if ((mask & ~flags) == 0) {
        return wide ? 2 : 1;
    }
    bar->bar = (struct pci_bar){.kind = ports  ? PCI_BAR_PORTS
                                        : wide ? PCI_BAR_MEMORY64
                                               : PCI_BAR_MEMORY32,
                                .prefetchable = !ports && (value & BAR_PREFETCH) != 0,
                                .bytes = (mask & ~flags) & (~(mask & ~flags) + 1)};
    bar->at = value & ~(uint32_t)flags;
    bar->at |= wide ? (uint64_t)read_word(access, facts, PCI_BAR(index + 1)) << 32 : 0;
    return wide ? 2 : 1;
}

static void read_identity(const struct pci_access *access, struct pci_assigned_facts *facts)
{
    uint32_t class_code = read_word(access, facts, PCI_CLASS), subsystem = read_word(access, facts, SUBSYSTEMS);

    if (!facts->is_virtual) {
        uint32_t id = read_word(access, facts, PCI_ID);

        facts->identity.vendor = (uint16_t)id;
        facts->identity.device = (uint16_t)(id >> 16);
    }
    facts->identity.subsystem_vendor = (uint16_t)subsystem;
    facts->identity.subsystem = (uint16_t)(subsystem >> 16);
    facts->identity.class_code = class_code >> 8;
    facts->identity.revision = (uint8_t)class_code;
}

/* What has no place is not decoded, for it would be at 0, where the machine has other things: ports are not there then,
 * and without memory a guest cannot have the device. MSI-X is there where all of it lies in a BAR. */
static void check_places(struct pci_assigned_facts *facts)
{
    const struct pci_assigned_bar *bar = &facts->bars[facts->msix_bar];

    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_assigned_bar *own = &facts->bars[i];

        if (own->bar.kind != PCI_BAR_NONE && own->at % own->bar.bytes != 0) {
            own->at = 0;
        }
        if (own->bar.kind == PCI_BAR_PORTS && own->at == 0) {
            own->bar.kind = PCI_BAR_NONE;
        } else if (own->bar.kind != PCI_BAR_NONE) {
            facts->decode |= own->bar.kind == PCI_BAR_PORTS ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
        }
    }
    if (bar->bar.kind == PCI_BAR_NONE || bar->bar.kind == PCI_BAR_PORTS ||
        facts->msix_table + facts->msix_count * MSIX_ENTRY_BYTES > bar->bar.bytes ||
        facts->msix_pba + align_up(facts->msix_count, 64) / 8 > bar->bar.bytes) {
        facts->msix = 0;
    }
}

enum status pci_device_read(const struct pci_access *access, struct pci_address address,
                            struct pci_assigned_facts *facts)
{
    uint32_t command;

    *facts = (struct pci_assigned_facts){.address = address};
    if ((read_word(access, facts, PCI_HEADER) >> PCI_HEADER_TYPE_SHIFT & PCI_HEADER_TYPE_MASK) != HEADER_PLAIN) {
        return STATUS_UNSUPPORTED;
    }
    read_identity(access, facts);
    facts->has_pin = INTERRUPT_PIN(read_word(access, facts, INTERRUPT)) != 0;
    command = read_word(access, facts, PCI_COMMAND) & 0xffffu;
    write(access, facts, PCI_COMMAND, 2, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER));
    for (unsigned i = 0; i < PCI_BARS;) {
        i += read_bar(access, facts, i);
    }
    write(access, facts, PCI_COMMAND, 2, command & ~PCI_COMMAND_MASTER);
    pci_device_read_capabilities(access, facts);
    check_places(facts);
    return STATUS_OK;
}

void pci_device_read_virtual(const struct pci_access *access, struct pci_assigned_facts *facts)
{
    read_identity(access, facts);
    pci_device_read_capabilities(access, facts);
    check_places(facts);
}

bool pci_device_answers(const struct pci_access *access, const struct pci_assigned_facts *facts)
{
    const struct pci_identity *identity = &facts->identity;

    if (facts->is_virtual) {
        return read_word(access, facts, PCI_CLASS) == (identity->class_code << 8 | identity->revision);
    }
    return read_word(access, facts, PCI_ID) == (identity->vendor | (uint32_t)identity->device << 16);
}

enum pci_reset pci_device_reset_kind(const struct pci_access *access, const struct pci_assigned_facts *facts)
{
    if (facts->express != 0 && (facts->device_capabilities & EXPRESS_CAN_RESET) != 0) {
        return PCI_RESET_FUNCTION;
    }
    if (facts->advanced != 0) {
        return PCI_RESET_ADVANCED;
    }
    if (facts->pm != 0 && (read_word(access, facts, facts->pm + PM_CONTROL) & PM_KEEPS_STATE) == 0) {
        return PCI_RESET_POWER;
    }
    return PCI_RESET_NONE;
}

const char *pci_reset_name(enum pci_reset kind)
{
    static const char *const names[] = {[PCI_RESET_NONE] = "none",
                                        [PCI_RESET_FUNCTION] = "function-level reset",
                                        [PCI_RESET_ADVANCED] = "function-level reset (AF)",
                                        [PCI_RESET_POWER] = "power state D3 and back",
                                        [PCI_RESET_BUS] = "reset of its bus"};

    return names[kind];
}

bool pci_device_may_not_snoop(const struct pci_access *access, const struct pci_assigned_facts *facts)
{
    return facts->express == 0 ||
           (read_word(access, facts, facts->express + EXPRESS_CONTROL) & PCI_EXPRESS_NO_SNOOP) != 0;
}

void pci_device_stop(const struct pci_access *access, const struct pci_assigned_facts *facts)
{
    write(access, facts, PCI_COMMAND, 2, PCI_COMMAND_INTX_OFF);
    if (facts->express != 0) {
        write(access, facts, facts->express + EXPRESS_CONTROL, 2, facts->device_control);
    }
    if (facts->msix != 0) {
        write(access, facts, facts->msix + MSIX_CONTROL, 2, 0);
    }
    if (facts->msi != 0) {
        write(access, facts, facts->msi + MSI_CONTROL, 2, 0);
    }
}

void pci_device_reset(const struct pci_access *access, const struct pci_assigned_facts *facts)
{
    switch (pci_device_reset_kind(access, facts)) {
    case PCI_RESET_FUNCTION:
        write(access, facts, facts->express + EXPRESS_CONTROL, 2, facts->device_control | EXPRESS_RESET);
        break;
    case PCI_RESET_ADVANCED:
        write(access, facts, facts->advanced + ADVANCED_CONTROL, 2, ADVANCED_RESET);
        break;
    case PCI_RESET_POWER:
        write(access, facts, facts->pm + PM_CONTROL, 2, PM_D3);
        break;
    case PCI_RESET_BUS:
    case PCI_RESET_NONE:
        break;
    }
}

void pci_device_wake(const struct pci_access *access, const struct pci_assigned_facts *facts)
{
    if (facts->pm != 0 && (read_word(access, facts, facts->pm + PM_CONTROL) & PM_STATE) != 0) {
        write(access, facts, facts->pm + PM_CONTROL, 2, 0);
    }
}

bool pci_device_irq(const struct pci_access *access, struct pci_address address, uint16_t levels, uint32_t *irq)
{
    uint32_t word = access->read(access->context, address, INTERRUPT);

    *irq = INTERRUPT_LINE(word);
    return INTERRUPT_PIN(word) != 0 && *irq != 0 && *irq < ISA_IRQS && (levels >> *irq & 1u) != 0;
}

void pci_device_restore(const struct pci_access *access, const struct pci_assigned_facts *facts, bool has_line)
{
    pci_device_stop(access, facts);
    for (unsigned i = 0; i < PCI_BARS && !facts->is_virtual; i++) {
        const struct pci_assigned_bar *bar = &facts->bars[i];

        if (bar->bar.kind != PCI_BAR_NONE) {
            write(access, facts, PCI_BAR(i), 4, (uint32_t)bar->at);
        }
        if (bar->bar.kind == PCI_BAR_MEMORY64) {
            write(access, facts, PCI_BAR(i + 1), 4, (uint32_t)(bar->at >> 32));
        }
    }
    write(access, facts, ROM_REGISTER, 4, 0); /* off: the guest reads the firmware's copy */
    if (facts->express != 0) {
        write(access, facts, facts->express + EXPRESS_CONTROL, 2, facts->device_control);
    }
    write(access, facts, PCI_COMMAND, 2, pci_assigned_command(facts, has_line));
}

void pci_device_set_msi(const struct pci_access *access, const struct pci_assigned_facts *facts, uint64_t address,
                        uint32_t data)
{
    write(access, facts, facts->msi + MSI_ADDRESS, 4, (uint32_t)address);
    if (facts->msi_64) {
        write(access, facts, facts->msi + MSI_ADDRESS + 4, 4, (uint32_t)(address >> 32));
        write(access, facts, facts->msi + MSI_ADDRESS + 8, 2, data);
    } else {
        write(access, facts, facts->msi + MSI_ADDRESS + 4, 2, data);
    }
}
