/* SPDX-License-Identifier: MIT */
/*
 * A function's configuration space and BARs. See function.h.
 *
 * Every byte has a mask of the bits that the guest may change; a BAR's mask is what sizes it. PCI Local Bus 3.0,
 * 6.2.5.1 "Address Maps": software writes all ones, and the bits that stay 0 say how large the range is.
 */
#include "hv/dev/pci/function.h"

#include "hv/base/check.h"
#include "hv/base/memory.h"

#define PCI_DEVICE 0x02u
#define PCI_REVISION 0x08u
#define PCI_CLASS_CODE 0x09u
#define PCI_CACHE_LINE 0x0cu
#define PCI_LATENCY 0x0du
#define PCI_SUBSYSTEM_VENDOR 0x2cu
#define PCI_SUBSYSTEM 0x2eu
#define PCI_HEADER_BYTES 0x40u

/* I/O, memory, master, parity, SERR, interrupt disable: what a function of ours lets the guest change. */
#define COMMAND_WRITABLE 0x0547u
#define STATUS_INTERRUPT 0x08u    /* of the low byte: bit 3 */
#define STATUS_CAPABILITIES 0x10u /* bit 4 */
#define INTX_PIN_A 1u

#define BAR_IS_PORTS 0x1u
#define BAR_IS_64 0x4u
#define BAR_PREFETCHABLE 0x8u
#define PORTS_FLAG_BITS 0x3u
#define MEMORY_FLAG_BITS 0xfu

/* "PCI Local Bus Specification" 3.0, 6.2.5.2 "Expansion ROM Base Address Register". */
#define ROM_REGISTER 0x30u
#define ROM_ENABLE 0x1u
#define ROM_FLAG_BITS 0x7ffu

static void put(uint8_t *bytes, unsigned offset, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        bytes[offset + i] = (uint8_t)(value >> (8 * i));
    }
}

void pci_function_init(struct pci_endpoint *function, const struct pci_identity *identity,
                       const struct pci_device_ops *ops, void *device)
{
    memset(function, 0, sizeof(*function));
    function->ops = ops;
    function->device = device;
    function->cap_end = PCI_HEADER_BYTES;
    function->moved = true;
    function->signals.deadline = DEADLINE_NONE;
    put(function->config, PCI_VENDOR, identity->vendor, 2);
    put(function->config, PCI_DEVICE, identity->device, 2);
    put(function->config, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY, 2);
    put(function->config, PCI_REVISION, identity->revision, 1);
    put(function->config, PCI_CLASS_CODE, identity->class_code, 3);
    put(function->config, PCI_SUBSYSTEM_VENDOR, identity->subsystem_vendor, 2);
    put(function->config, PCI_SUBSYSTEM, identity->subsystem, 2);
    put(function->config, PCI_INTERRUPT_PIN, identity->has_intx ? INTX_PIN_A : 0, 1);
    put(function->writable, PCI_COMMAND, COMMAND_WRITABLE, 2);
    put(function->writable, PCI_CACHE_LINE, 0xff, 1);
    put(function->writable, PCI_LATENCY, 0xff, 1);
    put(function->writable, PCI_INTERRUPT_LINE, 0xff, 1);
}

static unsigned bar_offset(unsigned index)
{
    return index == PCI_ROM ? ROM_REGISTER : PCI_BAR0 + 4 * index;
}

static uint32_t bar_flags(const struct pci_bar *bar)
{
    if (bar->kind == PCI_BAR_PORTS) {
        return BAR_IS_PORTS;
    }
    return (bar->kind == PCI_BAR_MEMORY64 ? BAR_IS_64 : 0) | (bar->prefetchable ? BAR_PREFETCHABLE : 0);
}

void pci_function_add_bar(struct pci_endpoint *function, unsigned index, struct pci_bar bar)
{
    unsigned size = bar.kind == PCI_BAR_MEMORY64 ? 8 : 4;

    DEBUG_CHECK_OP(index + size / 4, <=, bar.kind == PCI_BAR_ROM ? PCI_PLACES : PCI_BARS);
    DEBUG_CHECK_OP(bar.bytes & (bar.bytes - 1), ==, 0);
    function->bars[index] = bar;
    put(function->config, bar_offset(index), bar_flags(&bar), 4);
    put(function->writable, bar_offset(index), ~(bar.bytes - 1) | (bar.kind == PCI_BAR_ROM ? ROM_ENABLE : 0), size);
}

static uint64_t flag_bits(const struct pci_bar *bar)
{
    return bar->kind == PCI_BAR_PORTS ? PORTS_FLAG_BITS : bar->kind == PCI_BAR_ROM ? ROM_FLAG_BITS : MEMORY_FLAG_BITS;
}

uint64_t pci_bar_address(const struct pci_endpoint *function, unsigned index)
{
    const struct pci_bar *bar = &function->bars[index];
    uint64_t address = pci_config_dword(function, bar_offset(index));

    if (bar->kind == PCI_BAR_MEMORY64) {
        address |= (uint64_t)pci_config_dword(function, bar_offset(index + 1)) << 32;
    }
    return address & ~flag_bits(bar);
}

void pci_bar_set_address(struct pci_endpoint *function, unsigned index, uint64_t address)
{
    const struct pci_bar *bar = &function->bars[index];

    put(function->config, bar_offset(index), address | bar_flags(bar), bar->kind == PCI_BAR_MEMORY64 ? 8 : 4);
    function->moved = true;
}

uint8_t pci_function_add_capability(struct pci_endpoint *function, uint8_t id, const uint8_t *body, unsigned bytes)
{
    uint8_t offset = function->cap_end;

    CHECK_OP(offset + 2 + bytes, <=, PCI_CONFIG_BYTES);
    function->config[offset] = id;
    memcpy(&function->config[offset + 2], body, bytes);
    function->config[function->last_cap != 0 ? function->last_cap + 1u : PCI_CAPABILITIES] = offset;
    function->config[PCI_STATUS] |= STATUS_CAPABILITIES;
    function->last_cap = offset;
    function->cap_end = (uint8_t)min_u64(align_up(offset + 2 + bytes, 4), PCI_CONFIG_BYTES - 1);
    return offset;
}

/* The interrupt bit is the only one that changes by itself. */
static uint8_t config_byte(const struct pci_endpoint *function, unsigned index)
{
    if (index >= PCI_CONFIG_BYTES) {
        return 0; /* no extended capabilities: their list begins with an empty header */
    }
    if (index == PCI_STATUS && function->intx) {
        return function->config[index] | STATUS_INTERRUPT;
    }
    return function->config[index];
}

/* Four bytes at their border, as kernels read nearly all. */
static uint32_t config_word(const struct pci_endpoint *function, unsigned offset)
{
    uint32_t value;

    __builtin_memcpy(&value, &function->config[offset], sizeof(value));
    return offset == PCI_COMMAND && function->intx ? value | (uint32_t)STATUS_INTERRUPT << 16 : value;
}

uint32_t pci_config_read(struct pci_endpoint *function, unsigned offset, uint8_t size)
{
    uint32_t value = 0;

    if (function->ops != NULL && function->ops->config_read != NULL &&
        function->ops->config_read(function, offset, size, &value)) {
        return value;
    }
    if (size == 4 && offset % 4 == 0 && offset < PCI_CONFIG_BYTES) {
        return config_word(function, offset);
    }
    for (unsigned i = 0; i < size; i++) {
        value |= (uint32_t)config_byte(function, offset + i) << (8 * i);
    }
    return value;
}

static bool is_decoding(unsigned index)
{
    return index < PCI_STATUS ? index >= PCI_COMMAND : index - PCI_BAR0 < 4 * PCI_BARS || index - ROM_REGISTER < 4;
}

void pci_config_store(struct pci_endpoint *function, unsigned offset, uint8_t size, uint32_t value)
{
    for (unsigned i = 0; i < size && offset + i < PCI_CONFIG_BYTES; i++) {
        unsigned index = offset + i;
        uint8_t bits = function->writable[index];

        function->config[index] = (uint8_t)((function->config[index] & ~bits) | ((uint8_t)(value >> (8 * i)) & bits));
        function->moved = function->moved || is_decoding(index);
    }
}

void pci_config_write(struct pci_endpoint *function, unsigned offset, uint8_t size, uint32_t value)
{
    if (function->ops == NULL || function->ops->config_write == NULL ||
        !function->ops->config_write(function, offset, size, value)) {
        pci_config_store(function, offset, size, value);
    }
}

uint64_t pci_bar_read(struct pci_endpoint *function, unsigned bar, uint64_t offset, uint8_t size)
{
    if (pci_msix_covers(function, bar, offset)) {
        return pci_msix_read(function, offset, size);
    }
    if (function->ops == NULL || function->ops->read == NULL) {
        return 0;
    }
    return function->ops->read(function, bar, offset, size);
}

void pci_bar_write(struct pci_endpoint *function, unsigned bar, uint64_t offset, uint8_t size, uint64_t value)
{
    if (pci_msix_covers(function, bar, offset)) {
        pci_msix_write(function, offset, size, value);
    } else if (function->ops != NULL && function->ops->write != NULL) {
        function->ops->write(function, bar, offset, size, value);
    }
}

/* ---- on the device bus ---- */

void pci_signal(struct pci_endpoint *function)
{
    function->signals.lines = pci_intx_asserted(function) ? 1 : 0;
    if (pci_has_message(function)) {
        function->signals.wants |= BUS_MESSAGES;
    }
}

bool pci_row_read(void *state, struct bus_access *access)
{
    struct pci_endpoint *function = state;

    access->value = pci_bar_read(function, PCI_AT_BAR(access->at), PCI_AT_OFFSET(access->at), access->size);
    pci_signal(function);
    return true;
}

bool pci_row_write(void *state, const struct bus_access *access)
{
    struct pci_endpoint *function = state;

    pci_bar_write(function, PCI_AT_BAR(access->at), PCI_AT_OFFSET(access->at), access->size, access->value);
    pci_signal(function);
    return true;
}

bool pci_row_next_message(void *state, struct apic_message *message)
{
    return pci_take_message(state, message); /* the line is none of a function that sends messages */
}

/*
 * A BAR at 0 is one that has no place yet. One that passes the end of its space, as while it is being sized, decodes
 * nothing.
 */
struct bus_range pci_bar_range(const struct pci_endpoint *function, unsigned index)
{
    const struct pci_bar *bar = &function->bars[index];
    bool ports = bar->kind == PCI_BAR_PORTS, rom = bar->kind == PCI_BAR_ROM;
    uint64_t limit = ports ? BUS_PORTS_COUNT - 1 : bar->kind == PCI_BAR_MEMORY64 ? UINT64_MAX : UINT32_MAX;
    uint16_t enable = ports ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    struct bus_range nowhere = {0};
    uint64_t first;

    if (bar->kind == PCI_BAR_NONE || (pci_command(function) & enable) == 0 ||
        (rom && (pci_config_dword(function, ROM_REGISTER) & ROM_ENABLE) == 0)) {
        return nowhere;
    }
    first = pci_bar_address(function, index);
    if (first == 0 || first > limit || bar->bytes - 1 > limit - first) {
        return nowhere;
    }
    return (struct bus_range){
        .first = first,
        .bytes = bar->bytes,
        .as = PCI_AT(index, 0),
        .space = ports ? BUS_PORT : BUS_MEMORY,
        .widths = ports ? 1 | 2 | 4 : BUS_ALL_WIDTHS,
    };
}
