/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/host/pci_topology.h on invented machines: what can pass for another or reach it without the IOMMU is
 * in one group, what cannot is not, and a function's requester IDs are all that an IOMMU may hear.
 */
#include "hv/host/pci_describe.h"
#include "hv/host/pci_topology.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define FUNCTIONS_MAX 600u
#define CONFIG_WORDS 1024u
#define EXPRESS_AT 0x40u
#define ACS_AT 0x140u
#define ACS_ALL 0x1du
#define ACS_FUNCTION 0x0cu

struct model_function {
    struct pci_address address;
    uint32_t words[CONFIG_WORDS];
};

static struct model_function functions[FUNCTIONS_MAX];
static uint32_t count;
static uint32_t writes;
static struct pci_topology topology;

static struct model_function *find(struct pci_address at)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct pci_address *is = &functions[i].address;

        if (is->segment == at.segment && is->bus == at.bus && is->device == at.device && is->function == at.function) {
            return &functions[i];
        }
    }
    return NULL;
}

static uint32_t config_read(void *context, struct pci_address address, uint32_t offset)
{
    const struct model_function *function = find(address);

    (void)context;
    assert_true(offset % 4 == 0 && offset / 4 < CONFIG_WORDS);
    return function != NULL ? function->words[offset / 4] : ~0u;
}

static void config_write(void *context, struct pci_address address, uint32_t offset, uint32_t bytes, uint32_t value)
{
    struct model_function *function = find(address);

    (void)context;
    assert_non_null(function);
    assert_int_equal(bytes, 2);
    assert_int_equal(offset, ACS_AT + 6);
    function->words[ACS_AT / 4 + 1] = (function->words[ACS_AT / 4 + 1] & 0xffff) | value << 16;
    writes++;
}

static const struct pci_access access_pci = {NULL, config_read, config_write};
static const struct pci_buses all_buses[] = {{0, 0, 255}};

static void reset(void)
{
    memset(functions, 0, sizeof(functions));
    count = 0;
    writes = 0;
}

static struct model_function *add(uint8_t bus, uint8_t device, uint8_t function, uint8_t port)
{
    struct model_function *is = &functions[count++];

    is->address = (struct pci_address){0, bus, device, function};
    is->words[PCI_ID / 4] = 0x12348086;
    if (port != PCI_PORT_CONVENTIONAL) {
        is->words[PCI_COMMAND / 4] = PCI_STATUS_CAPABILITIES;
        is->words[0x34 / 4] = EXPRESS_AT;
        is->words[EXPRESS_AT / 4] = 0x10u | (uint32_t)port << 20;
    }
    return is;
}

static struct model_function *add_bridge(uint8_t bus, uint8_t device, uint8_t port, uint8_t secondary,
                                         uint8_t subordinate)
{
    struct model_function *is = add(bus, device, 0, port);

    is->words[PCI_HEADER / 4] = PCI_HEADER_TYPE_BRIDGE << PCI_HEADER_TYPE_SHIFT;
    is->words[PCI_BUSES / 4] = (uint32_t)subordinate << 16 | (uint32_t)secondary << 8 | bus;
    return is;
}

/* Behind another extended capability. */
static void give_acs(struct model_function *is, uint32_t services)
{
    is->words[0x100 / 4] = ACS_AT << 20 | 1u << 16 | 0x0001u;
    is->words[ACS_AT / 4] = 1u << 16 | 0x000du;
    is->words[ACS_AT / 4 + 1] = services;
}

static void many(struct model_function *is)
{
    is->words[PCI_HEADER / 4] |= PCI_HEADER_MANY_FUNCTIONS;
}

static enum status read_all(void)
{
    return pci_topology_read(&topology, &access_pci, all_buses, 1);
}

static const struct pci_node *node(uint8_t bus, uint8_t device, uint8_t function)
{
    const struct pci_node *is = pci_topology_find(&topology, (struct pci_address){0, bus, device, function});

    assert_non_null(is);
    return is;
}

static bool together(const struct pci_node *one, const struct pci_node *other)
{
    return one->group == other->group;
}

static void root_devices_are_alone(void **state)
{
    (void)state;
    reset();
    (void)add(0, 2, 0, PCI_PORT_INTEGRATED);
    (void)add(0, 3, 0, PCI_PORT_CONVENTIONAL);
    assert_int_equal(read_all(), STATUS_OK);
    assert_int_equal(topology.count, 2);
    assert_false(together(node(0, 2, 0), node(0, 3, 0)));
    assert_int_equal(node(0, 2, 0)->parent, PCI_PARENT_NONE);
}

static void functions_of_a_device_are_together_without_acs(void **state)
{
    (void)state;
    reset();
    many(add(0, 0x1f, 0, PCI_PORT_CONVENTIONAL));
    (void)add(0, 0x1f, 3, PCI_PORT_CONVENTIONAL);
    many(add(0, 0x1e, 0, PCI_PORT_INTEGRATED));
    (void)add(0, 0x1e, 1, PCI_PORT_INTEGRATED);
    give_acs(&functions[2], ACS_FUNCTION);
    give_acs(&functions[3], ACS_FUNCTION);
    assert_int_equal(read_all(), STATUS_OK);
    assert_true(together(node(0, 0x1f, 0), node(0, 0x1f, 3)));
    assert_false(together(node(0, 0x1e, 0), node(0, 0x1e, 1)));
}

static void ports_isolate_by_acs(void **state)
{
    (void)state;
    reset();
    give_acs(add_bridge(0, 0x1c, PCI_PORT_ROOT, 2, 2), ACS_ALL);
    (void)add(2, 0, 0, PCI_PORT_ENDPOINT);
    give_acs(add_bridge(0, 0x1d, PCI_PORT_ROOT, 3, 3), ACS_ALL & ~0x10u);
    (void)add(3, 0, 0, PCI_PORT_ENDPOINT);
    assert_int_equal(read_all(), STATUS_OK);
    assert_false(together(node(0, 0x1c, 0), node(2, 0, 0)));
    assert_true(together(node(0, 0x1d, 0), node(3, 0, 0)));
    assert_false(together(node(2, 0, 0), node(3, 0, 0)));
    pci_topology_isolate(&topology, &access_pci);
    assert_int_equal(writes, 1); /* the one whose services are there */
    assert_int_equal(functions[0].words[ACS_AT / 4 + 1], ACS_ALL << 16 | ACS_ALL);
}

/* A switch: root port, upstream port, two downstream ports, an endpoint behind each. */
static void write_switch(uint32_t root_acs, uint32_t downstream_acs)
{
    reset();
    give_acs(add_bridge(0, 1, PCI_PORT_ROOT, 1, 4), root_acs);
    (void)add_bridge(1, 0, PCI_PORT_UPSTREAM, 2, 4);
    give_acs(add_bridge(2, 0, PCI_PORT_DOWNSTREAM, 3, 3), downstream_acs);
    give_acs(add_bridge(2, 1, PCI_PORT_DOWNSTREAM, 4, 4), downstream_acs);
    (void)add(3, 0, 0, PCI_PORT_ENDPOINT);
    (void)add(4, 0, 0, PCI_PORT_ENDPOINT);
    assert_int_equal(read_all(), STATUS_OK);
}

static void switches_isolate_where_every_port_does(void **state)
{
    (void)state;
    write_switch(ACS_ALL, ACS_ALL);
    assert_int_equal(node(3, 0, 0)->parent, node(2, 0, 0) - topology.nodes);
    assert_false(together(node(3, 0, 0), node(4, 0, 0)));
    write_switch(ACS_ALL, 0);
    assert_true(together(node(3, 0, 0), node(2, 0, 0)));
    assert_true(together(node(3, 0, 0), node(4, 0, 0)));  /* they meet inside the switch */
    assert_false(together(node(3, 0, 0), node(0, 1, 0))); /* the root port is above the hole */
    write_switch(0, ACS_ALL);
    assert_true(together(node(3, 0, 0), node(4, 0, 0))); /* they meet at the root port */
    assert_true(together(node(3, 0, 0), node(0, 1, 0)));
}

static void conventional_bridges_speak_for_all(void **state)
{
    uint16_t ids[PCI_REQUESTERS_MAX];

    (void)state;
    reset();
    give_acs(add_bridge(0, 0x1c, PCI_PORT_ROOT, 4, 5), ACS_ALL);
    (void)add_bridge(4, 0, PCI_PORT_TO_CONVENTIONAL, 5, 5);
    (void)add(5, 1, 0, PCI_PORT_CONVENTIONAL);
    (void)add(5, 2, 0, PCI_PORT_CONVENTIONAL);
    (void)add_bridge(0, 0x1e, PCI_PORT_CONVENTIONAL, 6, 6);
    (void)add(6, 3, 0, PCI_PORT_CONVENTIONAL);
    assert_int_equal(read_all(), STATUS_OK);
    assert_true(together(node(5, 1, 0), node(5, 2, 0)));
    assert_false(together(node(5, 1, 0), node(6, 3, 0)));
    assert_int_equal(pci_topology_requesters(&topology, node(5, 1, 0), ids), 3);
    assert_int_equal(ids[0], 0x0508);
    assert_int_equal(ids[1], 0x0500);
    assert_int_equal(ids[2], 0x0400);
    assert_int_equal(pci_topology_requesters(&topology, node(6, 3, 0), ids), 2);
    assert_int_equal(ids[1], 0x00f0);
    assert_int_equal(pci_topology_requesters(&topology, node(0, 0x1c, 0), ids), 1);
}

/* Capabilities that lead round in a circle, a bridge whose numbers are not set, bridges that name the same bus. */
static void broken_configuration_ends(void **state)
{
    struct model_function *is;

    (void)state;
    reset();
    is = add(0, 1, 0, PCI_PORT_ENDPOINT);
    is->words[EXPRESS_AT / 4] = (uint32_t)EXPRESS_AT << 8 | 0x05u;
    is = add(0, 2, 0, PCI_PORT_ENDPOINT);
    is->words[0x100 / 4] = 0x100u << 20 | 0x0001u;
    (void)add_bridge(0, 3, PCI_PORT_ROOT, 0, 0);
    (void)add_bridge(0, 4, PCI_PORT_ROOT, 5, 9);
    (void)add_bridge(0, 5, PCI_PORT_ROOT, 5, 5);
    (void)add(5, 0, 0, PCI_PORT_ENDPOINT);
    (void)add_bridge(7, 0, PCI_PORT_UPSTREAM, 3, 8); /* leads back */
    assert_int_equal(read_all(), STATUS_OK);
    assert_int_equal(topology.count, 7);
    assert_int_equal(node(0, 1, 0)->port, PCI_PORT_CONVENTIONAL);
    assert_false(node(0, 3, 0)->is_bridge);
    assert_ptr_equal(&topology.nodes[node(5, 0, 0)->parent], node(0, 5, 0));
    assert_true(together(node(5, 0, 0), node(0, 5, 0)));
}

static void too_many_functions_are_said(void **state)
{
    (void)state;
    reset();
    for (uint32_t i = 0; i < PCI_NODES_MAX; i++) {
        (void)add((uint8_t)(i / 32), (uint8_t)(i % 32), 0, PCI_PORT_CONVENTIONAL);
    }
    assert_int_equal(read_all(), STATUS_OK);
    (void)add(0xff, 0, 0, PCI_PORT_CONVENTIONAL);
    assert_int_equal(read_all(), STATUS_NO_SPACE);
}

static void a_function_is_told_in_a_line(void **state)
{
    struct model_function *card;
    char line[PCI_DESCRIBE_BYTES];

    (void)state;
    reset();
    add_bridge(0, 0x1c, PCI_PORT_ROOT, 2, 3);
    card = add(2, 0, 0, PCI_PORT_ENDPOINT);
    card->words[PCI_CLASS / 4] = 0x01080203;
    card->words[PCI_BAR(0) / 4] = 0xf0000004;
    card->words[PCI_BAR(1) / 4] = 0x40;
    card->words[PCI_BAR(4) / 4] = 0x6041;
    card->words[EXPRESS_AT / 4] |= 0x50u << 8;
    card->words[0x50 / 4] = 0x05u | 0x50u << 8; /* leads to itself */
    card->words[0x100 / 4] = 0x110u << 20 | 0x10003u;
    assert_int_equal(pci_topology_read(&topology, &access_pci, all_buses, 1), STATUS_OK);
    pci_describe(line, &topology, &topology.nodes[0], &access_pci);
    assert_string_equal(line,
                        "00:1c.0 8086:1234 class 000000, old device, root port to buses 02-03, can 10, group 00:1c.0");
    pci_describe(line, &topology, &topology.nodes[1], &access_pci);
    assert_non_null(strstr(line,
                           "02:00.0 8086:1234 class 010802, disk controller, endpoint, bars 0=0x40f0000004 4=0x6041, "
                           "can 10 05 05 05"));
    assert_non_null(strstr(line, " x0003, group 00:1c.0"));
    assert_int_equal(writes, 0);
    for (uint32_t i = 0; i < CONFIG_WORDS; i++) {
        card->words[i] = i < 16 ? card->words[i] : 0xffff10ffu; /* nothing that a function says makes a line too long */
    }
    pci_describe(line, &topology, &topology.nodes[1], &access_pci);
    assert_true(strlen(line) < PCI_DESCRIBE_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(root_devices_are_alone),
        cmocka_unit_test(functions_of_a_device_are_together_without_acs),
        cmocka_unit_test(ports_isolate_by_acs),
        cmocka_unit_test(switches_isolate_where_every_port_does),
        cmocka_unit_test(conventional_bridges_speak_for_all),
        cmocka_unit_test(broken_configuration_ends),
        cmocka_unit_test(too_many_functions_are_said),
        cmocka_unit_test(a_function_is_told_in_a_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
