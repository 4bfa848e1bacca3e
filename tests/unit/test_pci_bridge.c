/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/host/pci_bridge.h on an invented root port: its reports of errors go off and nothing else changes, the
 * reset of its bus is one bit that comes and goes, and a bus is reset only where all behind the bridge is one's own.
 */
#include "hv/host/pci_bridge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BYTES 4096u
#define EXPRESS_AT 0x60u
#define AER_AT 0x140u

static uint8_t space[BYTES];
static bool reaches_all; /* of the space, and not its first 256 bytes alone */
static struct pci_topology topology;
static const struct pci_address port = {0, 0, 0x1c, 0};

static uint32_t config_read(void *context, struct pci_address address, uint32_t offset)
{
    uint32_t value;

    (void)context;
    assert_int_equal(pci_requester(address), pci_requester(port));
    assert_true(offset % 4 == 0 && offset < BYTES);
    memcpy(&value, &space[offset], sizeof(value));
    return reaches_all || offset < 256 ? value : ~0u;
}

static void config_write(void *context, struct pci_address address, uint32_t offset, uint32_t bytes, uint32_t value)
{
    (void)context;
    assert_int_equal(pci_requester(address), pci_requester(port));
    assert_true(offset + bytes <= (reaches_all ? BYTES : 256u));
    memcpy(&space[offset], &value, bytes);
}

static const struct pci_access access = {NULL, config_read, config_write};

static void put(uint32_t offset, uint32_t value)
{
    memcpy(&space[offset], &value, sizeof(value));
}

static uint32_t word(uint32_t offset)
{
    return config_read(NULL, port, offset);
}

static void make(void)
{
    memset(space, 0, sizeof(space));
    reaches_all = true;
    put(0x04, 0x00100547); /* SERR# on */
    put(0x34, EXPRESS_AT);
    put(0x3c, 0x0003010b); /* parity and SERR# on */
    put(EXPRESS_AT, 0x01420010);
    put(EXPRESS_AT + 8, 0x0000201f);
    put(EXPRESS_AT + 0x1c, 0x0000001f);
    put(0x100, AER_AT << 20 | 0x00010002);
    put(AER_AT, 0x00020001);
    put(AER_AT + 8, 0x00000010);
    put(AER_AT + 0x2c, 0x00000007);
}

static void errors_are_not_told_any_more(void **state)
{
    (void)state;
    make();
    pci_bridge_mute(&access, &port);
    assert_int_equal(word(0x04), 0x00100447);
    assert_int_equal(word(0x3c), 0x0001010b);
    assert_int_equal(word(EXPRESS_AT + 8), 0x00002010);
    assert_int_equal(word(EXPRESS_AT + 0x1c), 0x00000018);
    assert_int_equal(word(AER_AT + 8), 0x00000030);
    assert_int_equal(word(AER_AT + 0x2c), 0);
    make();
    reaches_all = false;
    pci_bridge_mute(&access, &port);
    assert_int_equal(word(EXPRESS_AT + 0x1c), 0x00000018);
    make();
    put(EXPRESS_AT, EXPRESS_AT << 8 | 0x01); /* leads to itself */
    put(0x100, 0x100 << 20 | 0x00010003);
    pci_bridge_mute(&access, &port);
    assert_int_equal(word(EXPRESS_AT + 8), 0x0000201f);
}

static void a_bus_is_held_in_reset_and_let_go(void **state)
{
    (void)state;
    make();
    pci_bridge_reset(&access, &port, true);
    pci_bridge_reset(&access, &port, true);
    assert_int_equal(word(0x3c), 0x0043010b);
    pci_bridge_reset(&access, &port, false);
    assert_int_equal(word(0x3c), 0x0003010b);
}

static bool is_own(const void *context, const struct pci_node *node)
{
    return node->function.address.device <= *(const uint8_t *)context;
}

static struct pci_node *add(uint8_t bus, uint8_t device, uint16_t parent)
{
    struct pci_node *node = &topology.nodes[topology.count++];

    *node = (struct pci_node){.function.address = {0, bus, device, 0}, .parent = parent};
    return node;
}

static void a_bus_with_others_is_not_reset(void **state)
{
    uint8_t last = 0;
    struct pci_node *bridge, *function, *other;

    (void)state;
    topology.count = 0;
    bridge = add(0, 0x1c, PCI_PARENT_NONE);
    bridge->is_bridge = true;
    bridge->bridge = (struct pci_bridge){2, 3};
    function = add(2, 0, 0);
    (void)add(0, 5, PCI_PARENT_NONE);
    (void)add(4, 5, PCI_PARENT_NONE);
    assert_ptr_equal(pci_bridge_of(&topology, function, is_own, &last), bridge);
    assert_null(pci_bridge_of(&topology, &topology.nodes[2], is_own, &last)); /* on a root bus */
    other = add(2, 1, 0);
    assert_null(pci_bridge_of(&topology, function, is_own, &last));
    last = 1;
    assert_ptr_equal(pci_bridge_of(&topology, function, is_own, &last), bridge);
    other->is_bridge = true; /* what would be behind it is not looked at */
    assert_null(pci_bridge_of(&topology, function, is_own, &last));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_not_told_any_more),
        cmocka_unit_test(a_bus_is_held_in_reset_and_let_go),
        cmocka_unit_test(a_bus_with_others_is_not_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
