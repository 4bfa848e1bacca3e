/* SPDX-License-Identifier: MIT */
#include "hv/host/pci_topology.h"

#include "hv/base/memory.h"

/* "PCI Local Bus Specification" 3.0, 6.7 "Capabilities List": a byte of ID, a byte that leads on. */
#define CAPABILITIES 0x34u
#define CAPABILITY_EXPRESS 0x10u
#define CAPABILITIES_MAX 48u /* in 192 bytes, four each */
#define CAPABILITY_FIRST 0x40u

/* PCI Express capability: the port's type in its first word, then device capabilities and device control. */
#define EXPRESS_TYPE_SHIFT 20u
#define EXPRESS_TYPE_MASK 0xfu
#define EXPRESS_CONTROL 0x08u
#define EXPRESS_CONTROL_PHANTOM (1u << 9)

/* Extended capabilities: ID [15:0], version [19:16], next [31:20]. */
#define EXTENDED_FIRST 0x100u
#define EXTENDED_MAX 960u /* in 3840 bytes, four each */
#define EXTENDED_NEXT(header) (((header) >> 20) & 0xffcu)
#define EXTENDED_ACS 0x000du
#define ACS_CAPABILITY 0x04u
#define ACS_CONTROL 0x06u
/* Source validation, request redirect, completion redirect, upstream forwarding. */
#define ACS_SOURCE 0x01u
#define ACS_REQUEST 0x04u
#define ACS_COMPLETION 0x08u
#define ACS_UPSTREAM 0x10u
#define ACS_PORT (ACS_SOURCE | ACS_REQUEST | ACS_COMPLETION | ACS_UPSTREAM)
#define ACS_FUNCTION (ACS_REQUEST | ACS_COMPLETION) /* of a device with several functions: the only two it has */

struct reading {
    struct pci_topology *topology;
    bool full;
};

static uint32_t read_word(const struct pci_access *access, const struct pci_node *node, uint32_t offset)
{
    return access->read(access->context, node->function.address, offset);
}

static uint32_t find_express(const struct pci_access *access, const struct pci_node *node)
{
    uint32_t at = read_word(access, node, CAPABILITIES) & 0xfcu;

    if ((read_word(access, node, PCI_COMMAND) & PCI_STATUS_CAPABILITIES) == 0) {
        return 0;
    }
    for (uint32_t i = 0; i < CAPABILITIES_MAX && at >= CAPABILITY_FIRST; i++) {
        uint32_t header = read_word(access, node, at);

        if ((header & 0xffu) == CAPABILITY_EXPRESS) {
            return at;
        }
        at = (header >> 8) & 0xfcu;
    }
    return 0;
}

static uint32_t find_acs(const struct pci_access *access, const struct pci_node *node)
{
    uint32_t at = EXTENDED_FIRST;

    for (uint32_t i = 0; i < EXTENDED_MAX && at >= EXTENDED_FIRST; i++) {
        uint32_t header = read_word(access, node, at);

        if (header == 0 || header == ~0u) {
            return 0;
        }
        if ((header & 0xffffu) == EXTENDED_ACS) {
            return at;
        }
        at = EXTENDED_NEXT(header);
    }
    return 0;
}

static bool is_port(const struct pci_node *node)
{
    return node->port == PCI_PORT_ROOT || node->port == PCI_PORT_DOWNSTREAM;
}

static uint32_t acs_wanted(const struct pci_node *node)
{
    return is_port(node) ? ACS_PORT : ACS_FUNCTION;
}

/*
 * A port isolates what is behind it by ACS alone. An upstream port forwards up what its downstream ports send up; an
 * endpoint with one function has no other to reach without the link. With several functions it needs ACS.
 */
static bool can_isolate(const struct pci_access *access, const struct pci_node *node)
{
    uint32_t wanted = acs_wanted(node);

    if (node->port == PCI_PORT_CONVENTIONAL || node->port == PCI_PORT_TO_CONVENTIONAL ||
        node->port == PCI_PORT_FROM_CONVENTIONAL) {
        return false;
    }
    if (!is_port(node) && !node->many_functions) {
        return true;
    }
    return node->acs != 0 && (read_word(access, node, node->acs + ACS_CAPABILITY) & wanted) == wanted;
}

static void read_express(const struct pci_access *access, struct pci_node *node)
{
    uint32_t express = find_express(access, node);

    node->port = PCI_PORT_CONVENTIONAL;
    if (express == 0) {
        return;
    }
    node->port = (uint8_t)((read_word(access, node, express) >> EXPRESS_TYPE_SHIFT) & EXPRESS_TYPE_MASK);
    node->phantom = (read_word(access, node, express + EXPRESS_CONTROL) & EXPRESS_CONTROL_PHANTOM) != 0;
    node->acs = (uint16_t)find_acs(access, node);
}

static bool is_same_device(const struct pci_address *one, const struct pci_address *other)
{
    return one->segment == other->segment && one->bus == other->bus && one->device == other->device;
}

/* Function 0 comes first and says whether there are others; the others need not. */
static bool has_siblings(const struct pci_topology *topology, const struct pci_access *access,
                         const struct pci_node *node)
{
    const struct pci_node *last = topology->count != 0 ? &topology->nodes[topology->count - 1] : NULL;

    if (node->function.address.function == 0) {
        return (read_word(access, node, PCI_HEADER) & PCI_HEADER_MANY_FUNCTIONS) != 0;
    }
    return last != NULL && is_same_device(&last->function.address, &node->function.address);
}

static void add_node(void *context, const struct pci_access *access, const struct pci_function *function)
{
    struct reading *reading = context;
    struct pci_topology *topology = reading->topology;
    struct pci_node *node = &topology->nodes[topology->count];

    if (topology->count == PCI_NODES_MAX) {
        reading->full = true;
        return;
    }
    *node = (struct pci_node){.function = *function,
                              .parent = PCI_PARENT_NONE,
                              .group = (uint16_t)topology->count,
                              .physical = PCI_PARENT_NONE};
    node->is_bridge = pci_read_bridge(access, function->address, &node->bridge);
    node->many_functions = has_siblings(topology, access, node);
    read_express(access, node);
    node->isolates = can_isolate(access, node);
    topology->count++;
}

/* The bridge whose secondary bus it is on: of several, whose numbers firmware left overlapping, the narrowest. */
static uint16_t find_parent(const struct pci_topology *topology, const struct pci_node *node)
{
    const struct pci_address *at = &node->function.address;
    uint16_t parent = PCI_PARENT_NONE;
    uint32_t width = UINT32_MAX;

    for (uint32_t i = 0; i < topology->count; i++) {
        const struct pci_node *bridge = &topology->nodes[i];
        uint32_t buses = (uint32_t)bridge->bridge.subordinate - bridge->bridge.secondary;

        if (bridge->is_bridge && bridge != node && bridge->function.address.segment == at->segment &&
            bridge->function.address.bus < bridge->bridge.secondary && at->bus >= bridge->bridge.secondary &&
            at->bus <= bridge->bridge.subordinate && buses < width) {
            parent = (uint16_t)i;
            width = buses;
        }
    }
    return parent;
}

/* ---- groups ---- */

static void join(struct pci_topology *topology, uint32_t one, uint32_t other)
{
    uint16_t low = topology->nodes[one].group, high = topology->nodes[other].group;

    if (low == high) {
        return;
    }
    if (low > high) {
        low = topology->nodes[other].group;
        high = topology->nodes[one].group;
    }
    for (uint32_t i = 0; i < topology->count; i++) {
        if (topology->nodes[i].group == high) {
            topology->nodes[i].group = low;
        }
    }
}

/* Parents lie on lower buses, so the way ends at a root bus. */
static bool way_up_isolates(const struct pci_topology *topology, uint16_t node)
{
    while (node != PCI_PARENT_NONE) {
        if (!topology->nodes[node].isolates) {
            return false;
        }
        node = topology->nodes[node].parent;
    }
    return true;
}

/* With every bridge above it, up to where the whole way isolates. */
static void join_upwards(struct pci_topology *topology, uint32_t index)
{
    uint16_t up = topology->nodes[index].parent;

    while (up != PCI_PARENT_NONE && !way_up_isolates(topology, up)) {
        join(topology, index, up);
        up = topology->nodes[up].parent;
    }
}

/* What comes in at one downstream port of a switch and is not sent up may go out at every other one. */
static void join_switch(struct pci_topology *topology, uint32_t index)
{
    const struct pci_node *port = &topology->nodes[index];

    for (uint32_t i = 0; i < topology->count && port->port == PCI_PORT_DOWNSTREAM && !port->isolates; i++) {
        if (topology->nodes[i].function.address.segment == port->function.address.segment &&
            topology->nodes[i].function.address.bus == port->function.address.bus) {
            join(topology, i, index);
        }
    }
}

static void join_siblings(struct pci_topology *topology, uint32_t index)
{
    const struct pci_node *node = &topology->nodes[index];

    for (uint32_t i = 0; i < index && node->many_functions && !node->isolates; i++) {
        if (is_same_device(&topology->nodes[i].function.address, &node->function.address) &&
            !topology->nodes[i].isolates) {
            join(topology, i, index);
        }
    }
}

enum status pci_topology_read(struct pci_topology *topology, const struct pci_access *access,
                              const struct pci_buses *buses, uint32_t count)
{
    struct reading reading = {topology, false};

    topology->count = 0;
    (void)pci_scan(access, buses, count, add_node, &reading);
    for (uint32_t i = 0; i < topology->count; i++) {
        topology->nodes[i].parent = find_parent(topology, &topology->nodes[i]);
    }
    for (uint32_t i = 0; i < topology->count; i++) {
        join_upwards(topology, i);
        join_siblings(topology, i);
        join_switch(topology, i);
    }
    return reading.full ? STATUS_NO_SPACE : STATUS_OK;
}

enum status pci_topology_add_virtual(struct pci_topology *topology, const struct pci_access *access,
                                     const struct pci_node *physical, const struct pci_function *function)
{
    struct pci_node *node = &topology->nodes[topology->count];
    uint32_t wanted;

    if (topology->count == PCI_NODES_MAX) {
        return STATUS_NO_SPACE;
    }
    *node = (struct pci_node){.function = *function,
                              .parent = physical->parent,
                              .many_functions = true,
                              .group = (uint16_t)topology->count,
                              .physical = (uint16_t)(physical - topology->nodes)};
    read_express(access, node);
    wanted = acs_wanted(node);
    node->isolates = node->acs == 0 || (read_word(access, node, node->acs + ACS_CAPABILITY) & wanted) == wanted;
    topology->count++;
    join_upwards(topology, topology->count - 1);
    join_siblings(topology, topology->count - 1);
    return STATUS_OK;
}

void pci_topology_isolate(const struct pci_topology *topology, const struct pci_access *access)
{
    for (uint32_t i = 0; i < topology->count; i++) {
        const struct pci_node *node = &topology->nodes[i];
        uint32_t wanted = acs_wanted(node);

        if (node->acs != 0 && node->isolates) {
            uint32_t control = read_word(access, node, node->acs + ACS_CAPABILITY) >> 16;

            access->write(access->context, node->function.address, node->acs + ACS_CONTROL, 2, control | wanted);
        }
    }
}

const struct pci_node *pci_topology_find(const struct pci_topology *topology, struct pci_address address)
{
    for (uint32_t i = 0; i < topology->count; i++) {
        const struct pci_address *at = &topology->nodes[i].function.address;

        if (is_same_device(at, &address) && at->function == address.function) {
            return &topology->nodes[i];
        }
    }
    return NULL;
}

/*
 * The bridge to conventional PCI that is nearest to the root speaks for all behind it: one of PCI Express as device 0
 * of its secondary bus, for some transactions as itself; one that is conventional itself as itself.
 */
uint32_t pci_topology_requesters(const struct pci_topology *topology, const struct pci_node *node,
                                 uint16_t ids[PCI_REQUESTERS_MAX])
{
    uint32_t count = 1;

    ids[0] = pci_requester(node->function.address);
    for (uint16_t up = node->parent; up != PCI_PARENT_NONE; up = topology->nodes[up].parent) {
        const struct pci_node *bridge = &topology->nodes[up];

        if (bridge->port == PCI_PORT_TO_CONVENTIONAL) {
            ids[1] = (uint16_t)(bridge->bridge.secondary << 8);
            ids[2] = pci_requester(bridge->function.address);
            count = 3;
        } else if (bridge->port == PCI_PORT_CONVENTIONAL) {
            ids[1] = pci_requester(bridge->function.address);
            count = 2;
        }
    }
    return count;
}
