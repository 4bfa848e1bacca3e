/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/host/pci_scan.h and hv/host/usb_handoff.h on invented machines: every function on every segment is
 * found, bus mastering goes from all but bridges and displays and nothing else of a command register changes, and a USB
 * controller is taken from a firmware that lets go, that lets go late, and that never does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/host/usb_handoff.h"

#include <string.h>

#define FUNCTIONS_MAX 64u
#define CONFIG_BYTES 256u
#define REGISTERS 0x4000u /* of a controller, in bytes */
#define BAR 0xfe000000ULL
#define STATUS_SHIFT 16u

struct model_function {
    struct pci_address address;
    uint8_t config[CONFIG_BYTES] __attribute__((aligned(4)));
    uint32_t command_writes, status_writes;
};

static struct {
    struct model_function functions[FUNCTIONS_MAX];
    uint32_t count;
    uint32_t registers[REGISTERS / 4];
    uint64_t base; /* of the registers */
    bool map_fails;
    uint64_t waited_us;
    uint64_t lets_go_after_us; /* the firmware; UINT64_MAX: never */
    uint32_t *owner;           /* the word that has its bit, in registers or in configuration space */
    uint32_t owner_bit;
    bool asked;
    uint32_t ask_bit;
} model;

static uint32_t seen;
static struct pci_function last_seen[FUNCTIONS_MAX];

static struct model_function *find(struct pci_address at)
{
    for (uint32_t i = 0; i < model.count; i++) {
        const struct pci_address *is = &model.functions[i].address;

        if (is->segment == at.segment && is->bus == at.bus && is->device == at.device && is->function == at.function) {
            return &model.functions[i];
        }
    }
    return NULL;
}

static uint32_t *word(struct model_function *function, uint32_t offset)
{
    return (uint32_t *)(void *)&function->config[offset & 0xfc];
}

static uint32_t config_read(void *context, struct pci_address address, uint32_t offset)
{
    struct model_function *function = find(address);

    assert_ptr_equal(context, &model);
    assert_int_equal(offset % 4, 0);
    return function != NULL ? *word(function, offset) : ~0u;
}

static void note_ask(uint32_t *place, uint32_t value)
{
    if (place == model.owner && (value & model.ask_bit) != 0) {
        model.asked = true;
    }
}

static void config_write(void *context, struct pci_address address, uint32_t offset, uint32_t bytes, uint32_t value)
{
    struct model_function *function = find(address);

    assert_ptr_equal(context, &model);
    assert_non_null(function);
    assert_true(bytes == 2 || bytes == 4);
    assert_int_equal(offset % bytes, 0);
    if (offset / 4 == PCI_COMMAND / 4) {
        function->command_writes++;
        function->status_writes += bytes == 4 || offset % 4 != 0;
    }
    note_ask(word(function, offset), value);
    memcpy(&function->config[offset], &value, bytes);
}

static const struct pci_access access_pci = {&model, config_read, config_write};

static bool usb_map(void *context, uint64_t address, uint64_t bytes)
{
    assert_ptr_equal(context, &model);
    assert_true(bytes >= REGISTERS);
    return !model.map_fails && address == model.base;
}

static uint32_t usb_read(void *context, uint64_t address)
{
    assert_ptr_equal(context, &model);
    if (address - model.base >= REGISTERS) {
        return ~0u;
    }
    return model.registers[(address - model.base) / 4];
}

static void usb_write(void *context, uint64_t address, uint32_t value)
{
    assert_ptr_equal(context, &model);
    assert_true(address - model.base < REGISTERS);
    note_ask(&model.registers[(address - model.base) / 4], value);
    model.registers[(address - model.base) / 4] = value;
}

/* The firmware's system management code runs while we wait. */
static void usb_wait(void *context, uint32_t us)
{
    assert_ptr_equal(context, &model);
    model.waited_us += us;
    if (model.asked && model.waited_us >= model.lets_go_after_us) {
        *model.owner &= ~model.owner_bit;
    }
}

static const struct usb_access access_usb = {&model, usb_map, usb_read, usb_write, usb_wait, false};

static struct model_function *add(uint16_t segment, uint8_t bus, uint8_t device, uint8_t index, uint32_t class_code)
{
    struct model_function *function = &model.functions[model.count++];

    *function = (struct model_function){.address = {segment, bus, device, index}};
    *word(function, PCI_ID) = 0x12348086;
    *word(function, PCI_CLASS) = class_code << 8 | 0x05;
    *word(function, PCI_COMMAND) = 0xa5100000u | 0x0407u; /* status: bits that a write of 1 would clear */
    return function;
}

static void note(void *context, const struct pci_access *access, const struct pci_function *function)
{
    assert_ptr_equal(context, &seen);
    assert_ptr_equal(access, &access_pci);
    last_seen[seen++] = *function;
}

static int set_up(void **state)
{
    (void)state;
    memset(&model, 0, sizeof(model));
    model.base = BAR;
    model.lets_go_after_us = UINT64_MAX;
    seen = 0;
    return 0;
}

static void every_function_on_every_segment_is_found(void **state)
{
    static const struct pci_buses buses[] = {{0, 0, 255}, {3, 0x80, 0x8f}};
    struct model_function *many;

    (void)state;
    add(0, 0, 0, 0, 0x060000);
    many = add(0, 0, 0x1f, 0, 0x060100);
    *word(many, PCI_HEADER) = PCI_HEADER_MANY_FUNCTIONS;
    add(0, 0, 0x1f, 7, 0x010601);
    add(0, 0, 2, 3, 0x020000);    /* without function 0 there is no device */
    add(0, 255, 31, 0, 0x010802); /* behind a bridge, or a second root: on any bus */
    add(0, 1, 0, 0, 0x020000);    /* one function: what answers at 1 is an alias */
    add(0, 1, 0, 1, 0x020000);
    add(3, 0x80, 4, 0, 0x020000);
    add(3, 0x90, 4, 0, 0x020000); /* not among the buses */
    assert_int_equal(pci_scan(&access_pci, buses, 2, note, &seen), 6);
    assert_int_equal(seen, 6);
    assert_int_equal(last_seen[2].address.function, 7);
    assert_int_equal(last_seen[2].class_code, 0x010601);
    assert_int_equal(last_seen[4].address.bus, 255);
    assert_int_equal(last_seen[5].address.segment, 3);
    assert_int_equal(last_seen[5].vendor, 0x8086);
    assert_int_equal(last_seen[5].product, 0x1234);
}

static bool stop(struct model_function *function)
{
    const struct pci_function seen_function = {.address = function->address,
                                               .class_code = *word(function, PCI_CLASS) >> 8};

    return pci_stop_master(&access_pci, &seen_function);
}

static void bus_mastering_goes_and_nothing_else(void **state)
{
    struct model_function *nic = add(0, 1, 0, 0, 0x020000);
    struct model_function *display = add(0, 2, 0, 0, 0x030000);
    struct model_function *bridge = add(0, 3, 0, 0, 0x060400);
    struct model_function *quiet = add(1, 4, 0, 0, 0x010802);

    (void)state;
    *word(quiet, PCI_COMMAND) &= ~PCI_COMMAND_MASTER;
    assert_true(stop(nic));
    assert_int_equal(*word(nic, PCI_COMMAND) & 0xffff, 0x0403);
    assert_int_equal(nic->status_writes, 0);
    assert_int_equal(*word(nic, PCI_COMMAND) >> STATUS_SHIFT, 0xa510);
    assert_false(stop(nic));
    assert_false(pci_is_master(&access_pci, &(struct pci_function){.address = nic->address, .class_code = 0x020000}));
    assert_false(stop(display) || stop(bridge) || stop(quiet));
    assert_int_equal(nic->command_writes, 1);
    assert_int_equal(display->command_writes + bridge->command_writes + quiet->command_writes, 0);
}

static struct pci_function controller(uint32_t interface)
{
    struct model_function *function = add(0, 0, 0x14, 0, 0x0c0300 | interface);

    *word(function, PCI_BAR(0)) = (uint32_t)BAR | 0x4;
    return (struct pci_function){.address = function->address, .class_code = 0x0c0300 | interface};
}

#define XHCI_LEGACY 0x2000u
#define XHCI_OTHER 0x1000u

static struct pci_function xhci(void)
{
    struct pci_function function = controller(0x30);

    model.registers[0x10 / 4] = (XHCI_OTHER / 4) << 16;
    model.registers[XHCI_OTHER / 4] = 0x02 | ((XHCI_LEGACY - XHCI_OTHER) / 4)
                                                 << 8; /* supported protocol, then legacy */
    /* The distance does not fit 8 bits: put a chain of others in between. */
    for (uint32_t at = XHCI_OTHER; at < XHCI_LEGACY; at += 0x200) {
        model.registers[at / 4] = 0x02 | (0x200 / 4) << 8;
    }
    model.registers[XHCI_LEGACY / 4] = 1u | 1u << 16;
    model.registers[XHCI_LEGACY / 4 + 1] = 0xe011u | 0x000e1feeu;
    model.owner = &model.registers[XHCI_LEGACY / 4];
    model.owner_bit = 1u << 16;
    model.ask_bit = 1u << 24;
    return function;
}

static void an_xhci_is_taken_when_the_firmware_lets_go(void **state)
{
    struct pci_function function = xhci();

    (void)state;
    model.lets_go_after_us = 5000;
    assert_int_equal(usb_handoff(&access_pci, &access_usb, &function), USB_TAKEN);
    assert_true(model.waited_us >= 5000 && model.waited_us <= 6000);
    assert_int_equal(model.registers[XHCI_LEGACY / 4], 1u | 1u << 24);
    assert_int_equal(model.registers[XHCI_LEGACY / 4 + 1] & 0xe011u, 0); /* no SMI is enabled */
    assert_int_equal(model.registers[XHCI_LEGACY / 4 + 1] >> 29, 7);     /* and none is left over */
    assert_int_equal(model.registers[XHCI_LEGACY / 4 + 1] & 0x000e1feeu, 0x000e1feeu & ~0xe011u);
}

static void a_look_says_whose_it_is_and_changes_nothing(void **state)
{
    static const uint8_t kinds[] = {0x00, 0x10, 0x20, 0x30};
    struct pci_function function = xhci();
    static uint8_t before[sizeof(model)];

    (void)state;
    memcpy(before, &model, sizeof(model));
    assert_string_equal(usb_legacy_owner(&access_pci, &access_usb, &function), "firmware");
    assert_memory_equal(before, &model, sizeof(model));
    model.registers[XHCI_LEGACY / 4] = 1;
    assert_string_equal(usb_legacy_owner(&access_pci, &access_usb, &function), "free");
    model.map_fails = true;
    assert_string_equal(usb_legacy_owner(&access_pci, &access_usb, &function), "unreachable");
    for (uint32_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        function = controller(kinds[i]);
        *word(find(function.address), 0xc0) = 0x2010;
        model.registers[0x04 / 4] = 1u << 8;
        memcpy(before, &model, sizeof(model));
        (void)usb_legacy_owner(&access_pci, &access_usb, &function);
        assert_memory_equal(before, &model, sizeof(model));
    }
}

static void a_firmware_that_never_lets_go_costs_a_second(void **state)
{
    struct pci_function function = xhci();

    (void)state;
    assert_int_equal(usb_handoff(&access_pci, &access_usb, &function), USB_FORCED);
    assert_int_equal(model.waited_us, USB_HANDOFF_WAIT_US);
    assert_int_equal(model.registers[XHCI_LEGACY / 4], 1u | 1u << 24);
    assert_int_equal(model.registers[XHCI_LEGACY / 4 + 1] & 0xe011u, 0);
}

static void a_controller_without_an_owner_is_not_waited_for(void **state)
{
    struct pci_function function = xhci();

    (void)state;
    model.registers[XHCI_LEGACY / 4] = 1;
    assert_int_equal(usb_handoff(&access_pci, &access_usb, &function), USB_NOT_OWNED);
    assert_int_equal(model.waited_us, 0);
    assert_int_equal(model.registers[XHCI_LEGACY / 4 + 1] & 0xe011u, 0);
}

static void a_ring_of_capabilities_ends(void **state)
{
    struct pci_function function = xhci();

    (void)state;
    for (uint32_t i = 0; i < REGISTERS / 4; i++) {
        model.registers[i] = 0x02 | 1u << 8;
    }
    assert_int_equal(usb_handoff(&access_pci, &access_usb, &function), USB_NOT_OWNED);
    memset(model.registers, 0xff, sizeof(model.registers));
    assert_int_equal(usb_handoff(&access_pci, &access_usb, &function), USB_NOT_OWNED);
}

static void registers_that_cannot_be_reached_are_left_alone(void **state)
{
    struct pci_function function = xhci();
    struct model_function *here = find(function.address);

    (void)state;
    model.map_fails = true;
    assert_int_equal(usb_handoff(&access_pci, &access_usb, &function), USB_UNREACHABLE);
    model.map_fails = false;
    *word(here, PCI_COMMAND) &= ~PCI_COMMAND_MEMORY; /* it does not decode its registers */
    assert_int_equal(usb_handoff(&access_pci, &access_usb, &function), USB_UNREACHABLE);
    *word(here, PCI_COMMAND) |= PCI_COMMAND_MEMORY;
    *word(here, PCI_BAR(0)) = 0;
    assert_int_equal(usb_handoff(&access_pci, &access_usb, &function), USB_UNREACHABLE);
    *word(here, PCI_BAR(0)) = 0xe001; /* ports */
    assert_int_equal(usb_handoff(&access_pci, &access_usb, &function), USB_UNREACHABLE);
}

static void a_64_bit_register_window_is_found(void **state)
{
    struct pci_function function = xhci();

    (void)state;
    model.base = BAR | 0x40ULL << 32;
    *word(find(function.address), PCI_BAR(1)) = 0x40;
    model.lets_go_after_us = 0;
    assert_int_equal(usb_handoff(&access_pci, &access_usb, &function), USB_TAKEN);
}

static void an_ehci_is_taken_in_configuration_space(void **state)
{
    struct pci_function function = controller(0x20);
    struct model_function *here = find(function.address);

    (void)state;
    model.registers[0x08 / 4] = 0x60u << 8;
    *word(here, 0x60) = 0x05 | 0x68u << 8;
    *word(here, 0x68) = 0x01 | 1u << 16;
    *word(here, 0x6c) = 0x0000e03fu;
    model.owner = word(here, 0x68);
    model.owner_bit = 1u << 16;
    model.ask_bit = 1u << 24;
    model.lets_go_after_us = 300;
    assert_int_equal(usb_handoff(&access_pci, &access_usb, &function), USB_TAKEN);
    assert_int_equal(*word(here, 0x68), 0x01u | 1u << 24);
    assert_int_equal(*word(here, 0x6c), 0xe0000000u);
}

static void an_ohci_is_taken_by_a_change_of_ownership(void **state)
{
    struct pci_function function = controller(0x10);

    (void)state;
    model.registers[1] = 1u << 8 | 0x80;
    assert_int_equal(usb_handoff(&access_pci, &access_usb, &function), USB_FORCED);
    assert_int_equal(model.registers[2], 1u << 3); /* it was asked */
    assert_int_equal(model.registers[1], 0x80);
    assert_int_equal(model.registers[5], 0xc000007fu); /* no interrupts */
    model.waited_us = 0;
    model.registers[1] = 0x80;
    assert_int_equal(usb_handoff(&access_pci, &access_usb, &function), USB_NOT_OWNED);
    assert_int_equal(model.waited_us, 0);
}

static void an_uhci_loses_its_traps(void **state)
{
    struct pci_function function = controller(0x00);
    struct model_function *here = find(function.address);

    (void)state;
    *word(here, 0xc0) = 0xabcd2010u;
    assert_int_equal(usb_handoff(&access_pci, &access_usb, &function), USB_TAKEN);
    assert_int_equal(*word(here, 0xc0), 0xabcd8f00u);
    assert_int_equal(usb_handoff(&access_pci, &access_usb, &function), USB_NOT_OWNED);
}

static void other_devices_are_not_touched(void **state)
{
    struct pci_function function = controller(0x80);

    (void)state;
    assert_int_equal(usb_handoff(&access_pci, &access_usb, &function), USB_NOT_OWNED);
    function.class_code = 0x020030;
    assert_int_equal(usb_handoff(&access_pci, &access_usb, &function), USB_NOT_OWNED);
    assert_null(usb_kind_name(&function));
    function.class_code = 0x0c0330;
    assert_string_equal(usb_kind_name(&function), "xHCI");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_function_on_every_segment_is_found, set_up),
        cmocka_unit_test_setup(bus_mastering_goes_and_nothing_else, set_up),
        cmocka_unit_test_setup(an_xhci_is_taken_when_the_firmware_lets_go, set_up),
        cmocka_unit_test_setup(a_look_says_whose_it_is_and_changes_nothing, set_up),
        cmocka_unit_test_setup(a_firmware_that_never_lets_go_costs_a_second, set_up),
        cmocka_unit_test_setup(a_controller_without_an_owner_is_not_waited_for, set_up),
        cmocka_unit_test_setup(a_ring_of_capabilities_ends, set_up),
        cmocka_unit_test_setup(registers_that_cannot_be_reached_are_left_alone, set_up),
        cmocka_unit_test_setup(a_64_bit_register_window_is_found, set_up),
        cmocka_unit_test_setup(an_ehci_is_taken_in_configuration_space, set_up),
        cmocka_unit_test_setup(an_ohci_is_taken_by_a_change_of_ownership, set_up),
        cmocka_unit_test_setup(an_uhci_loses_its_traps, set_up),
        cmocka_unit_test_setup(other_devices_are_not_touched, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
