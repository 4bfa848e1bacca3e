/* SPDX-License-Identifier: MIT */
#include "hv/host/pci_describe.h"

#include "hv/base/format.h"
#include "hv/host/pci_virtual.h"

/* "PCI Local Bus Specification" 3.0, 6.7 "Capabilities List"; 6.2.5.1 "Address Maps". */
#define CAPABILITIES 0x34u
#define CAPABILITY_FIRST 0x40u
#define CAPABILITIES_MAX 48u
#define BARS_DEVICE 6u
#define BARS_BRIDGE 2u
#define BAR_PORT 1u
#define BAR_TYPE_64 4u
#define BAR_TYPE_MASK 7u /* with the bit of ports */

/* "PCI Express Base Specification" 5.0, 7.6.3 "PCI Express Extended Capability Header". */
#define EXTENDED_FIRST 0x100u
#define EXTENDED_TOLD_MAX 32u

struct line {
    char *to;
    size_t length;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *form, ...)
{
    va_list list;

    va_start(list, form);
    line->length += format_list(line->to + line->length, PCI_DESCRIBE_BYTES - line->length, form, list);
    va_end(list);
}

static uint32_t read_at(const struct pci_access *access, const struct pci_node *node, uint32_t offset)
{
    return access->read(access->context, node->function.address, offset);
}

/* "PCI Code and ID Assignment Specification" 1.11, 1. */
static const char *class_name(uint32_t class_code)
{
    static const char *const names[] = {
        "old device",       "disk controller", "network card",  "display",      "multimedia",      "memory",
        "bridge",           "serial or modem", "system device", "input device", "docking station", "CPU",
        "serial bus (USB)", "radio",           "I/O processor", "satellite",    "encryption",      "signal processing"};
    uint32_t base = class_code >> 16;

    return base < ARRAY_COUNT(names) ? names[base] : "other device";
}

static const char *port_name(uint8_t port)
{
    static const char *const names[] = {
        [PCI_PORT_ENDPOINT] = "endpoint",
        [PCI_PORT_LEGACY_ENDPOINT] = "legacy endpoint",
        [PCI_PORT_ROOT] = "root port",
        [PCI_PORT_UPSTREAM] = "upstream port",
        [PCI_PORT_DOWNSTREAM] = "downstream port",
        [PCI_PORT_TO_CONVENTIONAL] = "bridge to conventional PCI",
        [PCI_PORT_FROM_CONVENTIONAL] = "bridge from conventional PCI",
        [PCI_PORT_INTEGRATED] = "integrated endpoint",
        [PCI_PORT_EVENT_COLLECTOR] = "event collector",
        [PCI_PORT_CONVENTIONAL] = "conventional",
    };

    return port < ARRAY_COUNT(names) && names[port] != NULL ? names[port] : "unknown port";
}

static void add_address(struct line *line, struct pci_address at)
{
    if (at.segment != 0) {
        add(line, "%04x:", at.segment);
    }
    add(line, "%02x:%02x.%u", at.bus, at.device, at.function);
}

/* As they stand: nothing is written, so how large they are is not known. */
static void add_bars(struct line *line, const struct pci_node *node, const struct pci_access *access)
{
    uint32_t count = node->is_bridge ? BARS_BRIDGE : BARS_DEVICE;
    const char *before = ", bars";

    for (uint32_t i = 0; i < count; i++) {
        uint32_t bar = read_at(access, node, PCI_BAR(i));

        if (bar == 0 || bar == ~0u) {
            continue;
        }
        if ((bar & BAR_TYPE_MASK) == BAR_TYPE_64 && i + 1 < count) {
            add(line, "%s %u=0x%" PRIx64, before, i, (uint64_t)read_at(access, node, PCI_BAR(i + 1)) << 32 | bar);
            i++;
        } else {
            add(line, "%s %u=0x%x", before, i, bar);
        }
        before = "";
    }
}

/* A list that leads in a ring ends after as many as there can be. */
static void add_capabilities(struct line *line, const struct pci_node *node, const struct pci_access *access)
{
    bool has = (read_at(access, node, PCI_COMMAND) & PCI_STATUS_CAPABILITIES) != 0;
    uint32_t at = has ? read_at(access, node, CAPABILITIES) & 0xfcu : 0;
    const char *before = ", can";

    for (uint32_t i = 0; i < CAPABILITIES_MAX && at >= CAPABILITY_FIRST; i++) {
        uint32_t header = read_at(access, node, at);

        add(line, "%s %02x", before, header & 0xffu);
        before = "";
        at = (header >> 8) & 0xfcu;
    }
    at = node->port == PCI_PORT_CONVENTIONAL ? 0 : EXTENDED_FIRST;
    for (uint32_t i = 0; i < EXTENDED_TOLD_MAX && at >= EXTENDED_FIRST; i++) {
        uint32_t header = read_at(access, node, at);

        if (header == 0 || header == ~0u) {
            return;
        }
        add(line, "%s x%04x", before, header & 0xffffu);
        before = "";
        at = (header >> 20) & 0xffcu;
    }
}

void pci_describe(char to[PCI_DESCRIBE_BYTES], const struct pci_topology *topology, const struct pci_node *node,
                  const struct pci_access *access)
{
    const struct pci_function *function = &node->function;
    struct line line = {.to = to};

    add_address(&line, function->address);
    add(&line, " %04x:%04x class %06x, %s, %s", function->vendor, function->product, function->class_code,
        class_name(function->class_code), port_name(node->port));
    if (node->is_bridge) {
        add(&line, " to buses %02x-%02x", node->bridge.secondary, node->bridge.subordinate);
    }
    add_bars(&line, node, access);
    add_capabilities(&line, node, access);
    if (node->port != PCI_PORT_CONVENTIONAL && pci_virtual_total(access, function->address) != 0) {
        add(&line, ", vfs %u", pci_virtual_total(access, function->address));
    }
    add(&line, ", group ");
    add_address(&line, topology->nodes[node->group].function.address);
}
