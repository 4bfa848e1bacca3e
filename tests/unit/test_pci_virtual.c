/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/host/pci_virtual.h and pci_topology_add_virtual() on an invented device: virtual functions are where
 * the capability says, with their parts of the VF BARs; what a reset takes is put back; what cannot be reached is
 * refused, and then there are none; a virtual function is a group of its own where the port above it isolates.
 */
#include "hv/host/pci_device.h"
#include "hv/host/pci_virtual.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define EXPRESS_AT 0x40u
#define SRIOV_AT 0x160u
#define ACS_AT 0x140u
#define WORDS 1024u
#define PLACES 65536u
#define BAR_AT 0x7f00000000ULL
#define BAR_BYTES 0x4000u
#define VF_CLASS 0x01080202u

/* Configuration spaces by requester ID; a virtual function's is there while it is on. */
static struct {
    uint32_t *spaces[PLACES];
    uint32_t used[8][WORDS];
    uint32_t count;
    uint32_t offset, stride, total;
} machine;

static struct pci_topology topology;
static struct pci_virtual physical;
static const struct pci_address pf = {0, 2, 0, 0};

static uint32_t *space(struct pci_address at)
{
    return machine.spaces[pci_requester(at)];
}

static bool is_on(void)
{
    return (space(pf)[(SRIOV_AT + 8) / 4] & 9) == 9;
}

static bool is_virtual(struct pci_address at)
{
    uint32_t id = pci_requester(at), n = space(pf)[(SRIOV_AT + 0x10) / 4] & 0xffff;

    for (uint32_t i = 0; is_on() && i < n; i++) {
        if (id == pci_requester(pf) + machine.offset + i * machine.stride) {
            return true;
        }
    }
    return false;
}

static uint32_t config_read(void *context, struct pci_address at, uint32_t offset)
{
    (void)context;
    assert_true(offset % 4 == 0 && offset / 4 < WORDS);
    if (space(at) != NULL) {
        return space(at)[offset / 4];
    }
    if (!is_virtual(at)) {
        return ~0u;
    }
    switch (offset) {
    case PCI_ID:
        return ~0u;
    case PCI_COMMAND:
        return PCI_STATUS_CAPABILITIES;
    case PCI_CLASS:
        return VF_CLASS;
    case 0x2c:
        return 0x11223344;
    case 0x34:
        return EXPRESS_AT;
    case EXPRESS_AT:
        return 0x00020010;
    case EXPRESS_AT + 4:
        return 1u << 28;
    default:
        return 0;
    }
}

/* Offset and stride are there once NumVFs is; NumVFs and the page size change only while there are none. */
static void write_sriov(uint32_t *words, uint32_t offset, uint32_t value)
{
    uint32_t index = (offset - 0x24) / 4;

    if (offset == 0x10 || offset == 0x20) {
        assert_false(is_on());
    }
    if (offset == 0x10) {
        words[(SRIOV_AT + 0x14) / 4] = value == 0 ? 0 : machine.offset | machine.stride << 16;
    }
    if (offset >= 0x24 && index < PCI_BARS) {
        static const uint32_t masks[PCI_BARS] = {~(BAR_BYTES - 1), ~0u, 0, 0, 0, 0};

        value = (value & masks[index]) | (index == 0 ? 0xc : 0);
    }
    words[(SRIOV_AT + offset) / 4] = value;
}

static void config_write(void *context, struct pci_address at, uint32_t offset, uint32_t bytes, uint32_t value)
{
    uint32_t *words = space(at);

    (void)context;
    (void)bytes;
    assert_non_null(words);
    if (offset >= SRIOV_AT && offset < SRIOV_AT + 0x40) {
        assert_int_equal(offset % 4, 0);
        write_sriov(words, offset - SRIOV_AT, value);
    } else {
        words[offset / 4] = value;
    }
}

static const struct pci_access access_pci = {NULL, config_read, config_write};

static uint32_t *add(struct pci_address at, uint32_t id, uint32_t port)
{
    uint32_t *words = machine.used[machine.count++];

    machine.spaces[pci_requester(at)] = words;
    words[PCI_ID / 4] = id;
    words[PCI_COMMAND / 4] = PCI_STATUS_CAPABILITIES;
    words[PCI_CLASS / 4] = VF_CLASS;
    words[0x34 / 4] = EXPRESS_AT;
    words[EXPRESS_AT / 4] = 0x10u | port << 20;
    return words;
}

static void make(uint32_t offset, uint32_t stride, uint8_t last_bus, bool ari)
{
    static const struct pci_buses buses = {0, 0, UINT8_MAX};
    uint32_t *words;

    memset(&machine, 0, sizeof(machine));
    machine.offset = offset;
    machine.stride = stride;
    words = add((struct pci_address){0, 0, 0x1c, 0}, 0xa3388086, PCI_PORT_ROOT);
    words[PCI_HEADER / 4] = PCI_HEADER_TYPE_BRIDGE << PCI_HEADER_TYPE_SHIFT;
    words[PCI_BUSES / 4] = (uint32_t)last_bus << 16 | 2u << 8;
    words[0x100 / 4] = ACS_AT << 20 | 1u << 16 | 0x0001u;
    words[ACS_AT / 4] = 1u << 16 | 0x000du;
    words[ACS_AT / 4 + 1] = 0x1d;
    words[(EXPRESS_AT + 0x28) / 4] = ari ? 1u << 5 : 0;
    words = add(pf, 0xa824144d, PCI_PORT_ENDPOINT);
    words[0x100 / 4] = SRIOV_AT << 20 | 1u << 16 | 0x000eu;
    words[SRIOV_AT / 4] = 1u << 16 | 0x0010u;
    words[(SRIOV_AT + 0x0c) / 4] = 16u << 16 | 16u;
    words[(SRIOV_AT + 0x18) / 4] = 0xa825u << 16;
    words[(SRIOV_AT + 0x24) / 4] = (uint32_t)BAR_AT | 0xc;
    words[(SRIOV_AT + 0x28) / 4] = (uint32_t)(BAR_AT >> 32);
    assert_int_equal(pci_topology_read(&topology, &access_pci, &buses, 1), STATUS_OK);
    assert_int_equal(topology.count, 2);
    assert_true(pci_virtual_read(&access_pci, pf, &physical));
}

static void they_are_where_the_capability_says(void **state)
{
    char why[PCI_VIRTUAL_TEXT_MAX];
    struct pci_assigned_facts facts;

    (void)state;
    make(1, 1, 2, false);
    assert_int_equal(pci_virtual_total(&access_pci, pf), 16);
    assert_int_equal(pci_virtual_total(&access_pci, (struct pci_address){0, 0, 0x1c, 0}), 0);
    assert_int_equal(space(pf)[(SRIOV_AT + 0x24) / 4], (uint32_t)BAR_AT | 0xc);
    memset(&space(pf)[(SRIOV_AT + 0x20) / 4], 0, 8); /* a reset of the physical function */
    space(pf)[(SRIOV_AT + 0x28) / 4] = 0;
    assert_null(pci_virtual_make(&access_pci, &topology, &physical, 7, why));
    assert_true(is_on());
    assert_int_equal(space(pf)[(SRIOV_AT + 0x20) / 4], 1);
    for (uint32_t n = 1; n <= 7; n++) {
        pci_virtual_device(&access_pci, &physical, n, &facts);
        assert_int_equal(pci_requester(facts.address), pci_requester(pf) + n);
        assert_true(facts.is_virtual && !facts.has_pin);
        assert_int_equal(facts.identity.vendor, 0x144d);
        assert_int_equal(facts.identity.device, 0xa825);
        assert_int_equal(facts.identity.class_code, VF_CLASS >> 8);
        assert_int_equal(facts.identity.subsystem_vendor, 0x3344);
        assert_int_equal(facts.bars[0].bar.bytes, BAR_BYTES);
        assert_int_equal(facts.bars[0].at, BAR_AT + (n - 1) * BAR_BYTES);
        assert_int_equal(facts.bars[1].bar.kind, PCI_BAR_NONE);
        assert_int_equal(pci_device_reset_kind(&access_pci, &facts), PCI_RESET_FUNCTION);
        assert_true(pci_device_answers(&access_pci, &facts));
    }
    pci_virtual_unmake(&access_pci, &physical);
    assert_false(pci_device_answers(&access_pci, &facts));
    assert_false(is_on());
}

static void what_cannot_be_reached_is_refused(void **state)
{
    static const struct {
        uint32_t offset, stride;
        uint8_t last_bus;
        bool ari;
        uint16_t count;
        const char *why; /* NULL: they are made */
    } rows[] = {
        {1, 1, 2, false, 7, NULL},
        {1, 1, 2, false, 8, "the port above forwards no more than 8 functions (ARI), which the firmware left off"},
        {1, 1, 2, true, 16, NULL},
        {0x80, 2, 2, true, 16, NULL},
        {0x80, 2, 2, false, 1, "the port above forwards no more than 8 functions (ARI), which the firmware left off"},
        {0x100, 1, 3, false, 16, NULL},
        {0x100, 1, 2, false, 1, "it lies on a bus to which the firmware has led no bridge"},
        {0xff00, 1, 255, false, 1, "another function has its place"},
        {1, 1, 2, true, 17, "it can have 16 virtual functions, and number 17 is wanted"},
        {0, 1, 2, true, 1, "it does not say where they are"},
        {1, 0, 2, true, 2, "it does not say where they are"},
        {1, 0, 2, true, 1, NULL},
    };
    char why[PCI_VIRTUAL_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        const char *said;

        make(rows[i].offset, rows[i].stride, rows[i].last_bus, rows[i].ari);
        said = pci_virtual_make(&access_pci, &topology, &physical, rows[i].count, why);
        assert_int_equal(said == NULL, rows[i].why == NULL);
        if (said != NULL) {
            assert_string_equal(said, rows[i].why);
        }
        assert_int_equal(is_on(), rows[i].why == NULL);
        assert_int_equal(physical.count, rows[i].why == NULL ? rows[i].count : 0);
    }
    for (uint64_t n = 3; n <= 4; n++) { /* the port's own registers are where those of the fourth would be */
        uint32_t *port;

        make(1, 1, 2, false);
        port = space((struct pci_address){0, 0, 0x1c, 0});
        port[PCI_BAR(0) / 4] = (uint32_t)(BAR_AT + 3 * BAR_BYTES) | 4;
        port[PCI_BAR(1) / 4] = (uint32_t)((BAR_AT + 3 * BAR_BYTES) >> 32);
        assert_int_equal(pci_virtual_make(&access_pci, &topology, &physical, (uint16_t)n, why) == NULL, n == 3);
        assert_int_equal(is_on(), n == 3);
    }
    make(1, 1, 2, false);
    physical.bars[0].at = UINT64_MAX - BAR_BYTES + 1;
    assert_non_null(pci_virtual_make(&access_pci, &topology, &physical, 2, why));
    make(1, 1, 2, false);
    physical.bars[0].at = 0;
    assert_non_null(pci_virtual_make(&access_pci, &topology, &physical, 1, why));
    assert_non_null(strstr(why, "no place"));
    assert_false(is_on());
}

static void one_that_firmware_left_on_is_made_anew(void **state)
{
    (void)state;
    make(1, 1, 2, false);
    space(pf)[(SRIOV_AT + 0x10) / 4] = 3;
    space(pf)[(SRIOV_AT + 8) / 4] = 0x19;
    assert_true(is_on());
    assert_true(pci_virtual_read(&access_pci, pf, &physical));
    assert_false(is_on());
    assert_int_equal(space(pf)[(SRIOV_AT + 8) / 4], 0x10); /* ARI stays */
    assert_int_equal(space(pf)[(SRIOV_AT + 0x10) / 4], 0);
}

static void it_is_a_group_of_its_own_that_the_physical_ones_unit_hears(void **state)
{
    char why[PCI_VIRTUAL_TEXT_MAX];
    struct pci_function function = {.vendor = 0x144d, .product = 0xa825, .class_code = VF_CLASS >> 8};
    uint16_t ids[PCI_REQUESTERS_MAX];

    (void)state;
    for (uint32_t with_acs = 0; with_acs < 2; with_acs++) {
        make(1, 1, 2, false);
        if (with_acs == 0) {
            space((struct pci_address){0, 0, 0x1c, 0})[0x100 / 4] = 0; /* the port does not isolate */
            assert_int_equal(pci_topology_read(&topology, &access_pci, &(struct pci_buses){0, 0, UINT8_MAX}, 1),
                             STATUS_OK);
        }
        assert_null(pci_virtual_make(&access_pci, &topology, &physical, 2, why));
        for (uint32_t n = 1; n <= 2; n++) {
            const struct pci_node *node;

            function.address = pci_virtual_address(&physical, n);
            assert_int_equal(
                pci_topology_add_virtual(&topology, &access_pci, pci_topology_find(&topology, pf), &function),
                STATUS_OK);
            node = pci_topology_find(&topology, function.address);
            assert_non_null(node);
            assert_int_equal(node->physical, 1);
            assert_int_equal(node->parent, 0);
            assert_int_equal(node->group, with_acs ? 1 + n : 0);
            assert_int_equal(pci_topology_requesters(&topology, node, ids), 1);
            assert_int_equal(ids[0], pci_requester(pf) + n);
        }
    }
    topology.count = PCI_NODES_MAX;
    assert_int_equal(pci_topology_add_virtual(&topology, &access_pci, &topology.nodes[1], &function), STATUS_NO_SPACE);
}

/* Its own space has no BARs to give back, and no write of a restore goes there. */
static void a_life_begins_without_a_write_to_its_bars(void **state)
{
    char why[PCI_VIRTUAL_TEXT_MAX];
    struct pci_assigned_facts facts;
    uint32_t own[WORDS] = {0};

    (void)state;
    make(1, 1, 2, false);
    assert_null(pci_virtual_make(&access_pci, &topology, &physical, 1, why));
    pci_virtual_device(&access_pci, &physical, 1, &facts);
    machine.spaces[pci_requester(facts.address)] = own;
    pci_device_restore(&access_pci, &facts, false);
    for (unsigned i = 0; i < PCI_BARS; i++) {
        assert_int_equal(own[PCI_BAR(i) / 4], 0);
    }
    assert_int_equal(own[PCI_COMMAND / 4], PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_OFF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_are_where_the_capability_says),
        cmocka_unit_test(what_cannot_be_reached_is_refused),
        cmocka_unit_test(one_that_firmware_left_on_is_made_anew),
        cmocka_unit_test(it_is_a_group_of_its_own_that_the_physical_ones_unit_hears),
        cmocka_unit_test(a_life_begins_without_a_write_to_its_bars),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
