/* SPDX-License-Identifier: MIT */
#include "hv/host/pci_virtual.h"

#include "hv/base/format.h"
#include "hv/host/pci_device.h"

/* Extended capabilities: ID [15:0], version [19:16], next [31:20]. */
#define EXTENDED_FIRST 0x100u
#define EXTENDED_MAX 960u /* in 3840 bytes, four each */
#define EXTENDED_NEXT(header) (((header) >> 20) & 0xffcu)
#define EXTENDED_SRIOV 0x0010u

/* 9.3.3 "SR-IOV Extended Capability". */
#define SRIOV_CONTROL 0x08u
#define CONTROL_ENABLE (1u << 0)
#define CONTROL_MEMORY (1u << 3)
#define CONTROL_ARI (1u << 4)
#define SRIOV_TOTAL 0x0cu /* InitialVFs [15:0], TotalVFs [31:16] */
#define SRIOV_COUNT 0x10u
#define SRIOV_OFFSETS 0x14u
#define SRIOV_PRODUCT 0x18u /* VF Device ID [31:16] */
#define SRIOV_PAGE_SIZE 0x20u
#define PAGE_SIZE_4K 1u
#define SRIOV_BAR(n) (0x24u + 4u * (n))
#define SRIOV_BYTES 0x40u

#define BAR_PORTS 0x1u
#define BAR_TYPE 0x6u
#define BAR_TYPE_64 0x4u
#define BAR_PREFETCH 0x8u
#define BAR_FLAGS 0xfu
#define BRIDGE_BARS 2u

/* Of the port above: 7.5.3.16 "Device Control 2 Register". */
#define CAPABILITIES 0x34u
#define CAPABILITY_FIRST 0x40u
#define CAPABILITIES_MAX 48u
#define CAPABILITY_EXPRESS 0x10u
#define EXPRESS_CONTROL_2 0x28u
#define CONTROL_2_ARI (1u << 5)

static uint32_t read_word(const struct pci_access *access, const struct pci_virtual *physical, uint32_t offset)
{
    return access->read(access->context, physical->address, physical->at + offset);
}

static void write(const struct pci_access *access, const struct pci_virtual *physical, uint32_t offset, uint32_t bytes,
                  uint32_t value)
{
    access->write(access->context, physical->address, physical->at + offset, bytes, value);
}

/* 0: it has none. */
static uint16_t find_capability(const struct pci_access *access, struct pci_address address)
{
    uint32_t at = EXTENDED_FIRST;

    for (uint32_t i = 0; i < EXTENDED_MAX && at >= EXTENDED_FIRST && at + SRIOV_BYTES <= PAGE_BYTES; i++) {
        uint32_t header = access->read(access->context, address, at);

        if (header == 0 || header == ~0u) {
            return 0;
        }
        if ((header & 0xffffu) == EXTENDED_SRIOV) {
            return (uint16_t)at;
        }
        at = EXTENDED_NEXT(header);
    }
    return 0;
}

uint16_t pci_virtual_total(const struct pci_access *access, struct pci_address address)
{
    uint16_t at = find_capability(access, address);

    return at == 0 ? 0 : (uint16_t)(access->read(access->context, address, at + SRIOV_TOTAL) >> 16);
}

/* The bits that stay 0 of a register that all ones are written to; it gets its value back. */
static uint32_t bar_size_mask(const struct pci_access *access, const struct pci_virtual *physical, uint32_t offset)
{
    uint32_t value = read_word(access, physical, offset), mask;

    write(access, physical, offset, 4, ~0u);
    mask = read_word(access, physical, offset);
    write(access, physical, offset, 4, value);
    return mask;
}

/* Returns how many registers it has: 2 where its address has 64 bits. A virtual function has no ports. */
static unsigned read_bar(const struct pci_access *access, struct pci_virtual *physical, unsigned index)
{
    struct pci_assigned_bar *bar = &physical->bars[index];
    uint32_t value = read_word(access, physical, SRIOV_BAR(index));
    bool wide = (value & BAR_TYPE) == BAR_TYPE_64 && index + 1 < PCI_BARS;
    uint64_t mask = bar_size_mask(access, physical, SRIOV_BAR(index)) & ~(uint64_t)BAR_FLAGS;

    if (mask == 0 && !wide) {
        return 1;
    }
    mask |= wide ? (uint64_t)bar_size_mask(access, physical, SRIOV_BAR(index + 1)) << 32 : 0xffffffff00000000ULL;
    if (mask == 0) {
        return 2;
    }
    bar->bar = (struct pci_bar){.kind = wide ? PCI_BAR_MEMORY64 : PCI_BAR_MEMORY32,
                                .prefetchable = (value & BAR_PREFETCH) != 0,
                                .bytes = mask & (~mask + 1)};
    bar->at = value & ~BAR_FLAGS;
    bar->at |= wide ? (uint64_t)read_word(access, physical, SRIOV_BAR(index + 1)) << 32 : 0;
    return wide ? 2 : 1;
}

bool pci_virtual_read(const struct pci_access *access, struct pci_address address, struct pci_virtual *physical)
{
    *physical = (struct pci_virtual){.address = address, .at = find_capability(access, address)};
    if (physical->at == 0) {
        return false;
    }
    pci_virtual_unmake(access, physical);
    write(access, physical, SRIOV_PAGE_SIZE, 4, PAGE_SIZE_4K); /* before the sizes, which depend on it */
    physical->total = (uint16_t)(read_word(access, physical, SRIOV_TOTAL) >> 16);
    physical->product = (uint16_t)(read_word(access, physical, SRIOV_PRODUCT) >> 16);
    for (unsigned i = 0; i < PCI_BARS;) {
        i += read_bar(access, physical, i);
    }
    return physical->total != 0;
}

struct pci_address pci_virtual_address(const struct pci_virtual *physical, uint32_t n)
{
    uint32_t id = pci_requester(physical->address) + physical->offset + (n - 1) * physical->stride;

    return (struct pci_address){physical->address.segment, (uint8_t)(id >> 8), (uint8_t)(id >> 3 & 31u),
                                (uint8_t)(id & 7u)};
}

/* A port sends to device numbers beyond 0 of the bus behind it with ARI alone. */
static bool port_forwards(const struct pci_access *access, const struct pci_node *port)
{
    uint32_t at = access->read(access->context, port->function.address, CAPABILITIES) & 0xfcu;

    for (uint32_t i = 0; i < CAPABILITIES_MAX && at >= CAPABILITY_FIRST; i++) {
        uint32_t header = access->read(access->context, port->function.address, at);

        if ((header & 0xffu) == CAPABILITY_EXPRESS && at + EXPRESS_CONTROL_2 < CAPABILITY_FIRST + 192) {
            return (access->read(access->context, port->function.address, at + EXPRESS_CONTROL_2) & CONTROL_2_ARI) != 0;
        }
        at = (header >> 8) & 0xfcu;
    }
    return false;
}

/* NULL: where it lies it can be reached, and nothing else is there. */
static const char *check_address(const struct pci_access *access, const struct pci_topology *topology,
                                 const struct pci_virtual *physical, uint32_t n)
{
    const struct pci_node *node = pci_topology_find(topology, physical->address);
    const struct pci_node *above = node->parent == PCI_PARENT_NONE ? NULL : &topology->nodes[node->parent];
    uint32_t id = pci_requester(physical->address) + physical->offset + (n - 1) * physical->stride;
    struct pci_address at = pci_virtual_address(physical, n);

    if (id > UINT16_MAX || pci_topology_find(topology, at) != NULL) {
        return "another function has its place";
    }
    if (above == NULL ? at.bus != physical->address.bus
                      : at.bus < physical->address.bus || at.bus > above->bridge.subordinate) {
        return "it lies on a bus to which the firmware has led no bridge";
    }
    if (above != NULL && at.bus == physical->address.bus && at.device != 0 && !port_forwards(access, above)) {
        return "the port above forwards no more than 8 functions (ARI), which the firmware left off";
    }
    return NULL;
}

/* A register of any function begins there. */
static bool has_others(const struct pci_access *access, const struct pci_topology *topology, uint64_t start,
                       uint64_t bytes)
{
    for (uint32_t i = 0; i < topology->count; i++) {
        const struct pci_node *node = &topology->nodes[i];
        unsigned count = node->is_bridge ? BRIDGE_BARS : PCI_BARS;

        for (unsigned k = 0; k < count; k++) {
            uint64_t at = access->read(access->context, node->function.address, PCI_BAR(k));

            if ((at & BAR_PORTS) != 0) {
                continue;
            }
            if ((at & BAR_TYPE) == BAR_TYPE_64 && k + 1 < count) {
                k++;
                at |= (uint64_t)access->read(access->context, node->function.address, PCI_BAR(k)) << 32;
            }
            at &= ~(uint64_t)BAR_FLAGS;
            if (at != 0 && at - start < bytes) {
                return true;
            }
        }
    }
    return false;
}

static const char *check_bars(const struct pci_access *access, const struct pci_topology *topology,
                              const struct pci_virtual *physical, uint32_t count)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        const struct pci_assigned_bar *bar = &physical->bars[i];

        if (bar->bar.kind == PCI_BAR_NONE) {
            continue;
        }
        if (bar->at == 0 || bar->at % bar->bar.bytes != 0 || bar->bar.bytes > (UINT64_MAX - bar->at) / count) {
            return "the firmware gave the registers of virtual functions no place (SR-IOV in its setup)";
        }
        if (has_others(access, topology, bar->at, count * bar->bar.bytes)) {
            return "where the registers of its virtual functions would be the firmware has placed other ones";
        }
    }
    return NULL;
}

/* What a reset of the physical function has taken. */
static void place_bars(const struct pci_access *access, const struct pci_virtual *physical)
{
    write(access, physical, SRIOV_PAGE_SIZE, 4, PAGE_SIZE_4K);
    for (unsigned i = 0; i < PCI_BARS; i++) {
        const struct pci_assigned_bar *bar = &physical->bars[i];

        if (bar->bar.kind != PCI_BAR_NONE) {
            write(access, physical, SRIOV_BAR(i), 4, (uint32_t)bar->at);
        }
        if (bar->bar.kind == PCI_BAR_MEMORY64) {
            write(access, physical, SRIOV_BAR(i + 1), 4, (uint32_t)(bar->at >> 32));
        }
    }
}

const char *pci_virtual_make(const struct pci_access *access, const struct pci_topology *topology,
                             struct pci_virtual *physical, uint16_t count, char why[PCI_VIRTUAL_TEXT_MAX])
{
    const char *problem = check_bars(access, topology, physical, count);
    uint32_t control, offsets;

    if (count > physical->total) {
        format_text(why, PCI_VIRTUAL_TEXT_MAX, "it can have %u virtual functions, and number %u is wanted",
                    physical->total, count);
        return why;
    }
    place_bars(access, physical);
    write(access, physical, SRIOV_COUNT, 2, count);
    offsets = read_word(access, physical, SRIOV_OFFSETS); /* valid from now on */
    physical->offset = (uint16_t)offsets;
    physical->stride = (uint16_t)(offsets >> 16);
    if (physical->offset == 0 || (count > 1 && physical->stride == 0)) {
        problem = "it does not say where they are";
    }
    for (uint32_t n = 1; n <= count && problem == NULL; n++) {
        problem = check_address(access, topology, physical, n);
    }
    if (problem != NULL) {
        pci_virtual_unmake(access, physical);
        format_text(why, PCI_VIRTUAL_TEXT_MAX, "%s", problem);
        return why;
    }
    physical->count = count;
    control = read_word(access, physical, SRIOV_CONTROL) & CONTROL_ARI;
    write(access, physical, SRIOV_CONTROL, 2, control | CONTROL_MEMORY | CONTROL_ENABLE);
    return NULL;
}

void pci_virtual_unmake(const struct pci_access *access, struct pci_virtual *physical)
{
    uint32_t control = read_word(access, physical, SRIOV_CONTROL) & CONTROL_ARI;

    write(access, physical, SRIOV_CONTROL, 2, control);
    write(access, physical, SRIOV_COUNT, 2, 0);
    physical->count = 0;
}

void pci_virtual_device(const struct pci_access *access, const struct pci_virtual *physical, uint32_t n,
                        struct pci_assigned_facts *facts)
{
    *facts = (struct pci_assigned_facts){.address = pci_virtual_address(physical, n), .is_virtual = true};
    for (unsigned i = 0; i < PCI_BARS; i++) {
        facts->bars[i] = physical->bars[i];
        facts->bars[i].at += (n - 1) * physical->bars[i].bar.bytes;
    }
    facts->identity.vendor = (uint16_t)access->read(access->context, physical->address, PCI_ID);
    facts->identity.device = physical->product;
    pci_device_read_virtual(access, facts);
}
