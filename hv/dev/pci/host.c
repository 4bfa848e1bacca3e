/* SPDX-License-Identifier: MIT */
/* The host bridge. See host.h. */
#include "hv/dev/pci/host.h"

#include "hv/base/memory.h"
#include "hv/mm/guest_layout.h"

#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_BUS(address) ((address) >> 16 & 0xffu)
#define ADDRESS_DEVFN(address) ((uint8_t)((address) >> 8))
#define ADDRESS_REGISTER(address) ((address)&0xfcu)

#define HOST_PORTS PCI_HOST_ADDRESS_PORT
#define HOST_PORT_COUNT 8u
#define RESET_OFFSET 1u
#define DATA_OFFSET 4u

#define ECAM_DEVFN(offset) ((uint8_t)((offset) >> 12))
#define ECAM_REGISTER(offset) ((unsigned)((offset)&0xfffu))

#define RESET_CPU 0x04u
#define RESET_BITS 0x0eu

/*
 * A host bridge that no kernel has a quirk for: the generic one of emulated machines (1b36:0008). Real chipsets' ids
 * make kernels poke at registers that only those chipsets have.
 */
static const struct pci_identity bridge_identity = {.vendor = 0x1b36, .device = 0x0008, .class_code = 0x060000};

/* A header whose function is one of several says so. PCI Local Bus 3.0, 6.2.1. */
#define PCI_HEADER_TYPE 0x0eu
#define HEADER_SEVERAL 0x80u

void pci_host_reset(struct pci_host *host)
{
    memset(host, 0, sizeof(*host));
    host->signals.deadline = DEADLINE_NONE;
    pci_function_init(&host->bridge, &bridge_identity, NULL, NULL);
    host->bridge.config[PCI_COMMAND] |= PCI_COMMAND_MASTER;
    (void)pci_host_add(host, NULL, &host->bridge, 0);
}

/* The first function of a device says that there are more. */
static void mark_several(struct pci_host *host, uint8_t devfn)
{
    uint8_t first = host->index_of[devfn & ~7u];

    if ((devfn & 7u) != 0 && first != 0) {
        host->functions[first - 1]->config[PCI_HEADER_TYPE] |= HEADER_SEVERAL;
    }
}

enum status pci_host_add(struct pci_host *host, const struct bus_row *row, struct pci_endpoint *function, uint8_t devfn)
{
    if (host->count == PCI_FUNCTIONS_MAX) {
        return STATUS_NO_SPACE;
    }
    if (host->index_of[devfn] != 0) {
        return STATUS_BUSY;
    }
    function->devfn = devfn;
    if (function->config[PCI_INTERRUPT_PIN] != 0) {
        function->config[PCI_INTERRUPT_LINE] = PCI_LINE_IRQ(PCI_LINE(devfn));
    }
    host->rows[host->count] = row;
    host->functions[host->count++] = function;
    host->index_of[devfn] = (uint8_t)host->count;
    mark_several(host, devfn);
    return STATUS_OK;
}

/* ---- places, as firmware gives them ---- */

/* BARs above this go above 4 GiB where they can, so that the small ones have room below. */
#define LOW_BAR_MAX (64 * MIB)

static bool take_from(uint64_t *start, uint64_t end, uint64_t bytes, uint64_t *address)
{
    uint64_t at = align_up(*start, bytes);

    if (at >= end || bytes > end - at) {
        return false;
    }
    *address = at;
    *start = at + bytes;
    return true;
}

static bool find_place(struct pci_windows *left, const struct pci_bar *bar, uint64_t *address)
{
    if (bar->kind == PCI_BAR_PORTS) {
        return take_from(&left->ports_start, left->ports_end, bar->bytes, address);
    }
    if (bar->kind == PCI_BAR_MEMORY64 && bar->bytes > LOW_BAR_MAX &&
        take_from(&left->high_start, left->high_end, bar->bytes, address)) {
        return true;
    }
    return take_from(&left->low_start, left->low_end, bar->bytes, address);
}

/* The largest BAR that has no place yet. NULL: all have one. */
static struct pci_endpoint *next_largest(const struct pci_host *host, unsigned *bar)
{
    struct pci_endpoint *found = NULL;
    uint64_t most = 0;

    for (uint32_t i = 0; i < host->count; i++) {
        for (unsigned b = 0; b < PCI_PLACES; b++) {
            uint64_t bytes = host->functions[i]->bars[b].bytes;

            if (bytes > most && pci_bar_address(host->functions[i], b) == 0) {
                found = host->functions[i];
                most = bytes;
                *bar = b;
            }
        }
    }
    return found;
}

static enum status assign(struct pci_host *host, const struct pci_windows *windows)
{
    struct pci_windows left = *windows;
    struct pci_endpoint *function;
    uint64_t address = 0;
    unsigned bar = 0;

    /* Each turn places one of at most PCI_FUNCTIONS_MAX * PCI_PLACES. */
    while ((function = next_largest(host, &bar)) != NULL) {
        if (!find_place(&left, &function->bars[bar], &address)) {
            return STATUS_NO_SPACE;
        }
        pci_bar_set_address(function, bar, address);
    }
    return STATUS_OK;
}

static bool is_placed(const struct bus *bus, uint8_t device, unsigned bar, const struct bus_range *range)
{
    uint8_t claim = bus->devices[device].claims[bar];

    if (claim == BUS_NO_CLAIM) {
        return range->bytes == 0;
    }
    return bus->claims[claim].first == range->first && bus->claims[claim].last - range->first == range->bytes - 1;
}

/* Takes away what has left its place. */
static void displace(const struct pci_endpoint *function, uint8_t device, struct bus *bus)
{
    for (unsigned bar = 0; bar < PCI_PLACES; bar++) {
        struct bus_range range = pci_bar_range(function, bar);

        if (!is_placed(bus, device, bar, &range)) {
            (void)bus_place(bus, device, bar, NULL);
        }
    }
}

/* What overlaps is refused and answers nowhere; the guest sees its own value in the register all the same. */
static void place(const struct pci_endpoint *function, uint8_t device, struct bus *bus)
{
    for (unsigned bar = 0; bar < PCI_PLACES; bar++) {
        struct bus_range range = pci_bar_range(function, bar);

        if (!is_placed(bus, device, bar, &range)) {
            (void)bus_place(bus, device, bar, &range);
        }
    }
}

enum status pci_host_attach(struct pci_host *host, const struct pci_windows *windows, struct bus *bus)
{
    enum status status = assign(host, windows);

    for (uint32_t i = 0; i < host->count && status == STATUS_OK; i++) {
        unsigned device = 0;

        if (host->rows[i] == NULL) {
            continue; /* the bridge: the host itself */
        }
        pci_signal(host->functions[i]);
        status = bus_attach(bus, host->rows[i], host->functions[i], &device);
        host->device_numbers[i] = (uint8_t)device;
        if (status == STATUS_OK && host->functions[i]->config[PCI_INTERRUPT_PIN] != 0) {
            bus_wire(bus, device, 0, (uint8_t)(BUS_LINE_PCI + PCI_LINE(host->functions[i]->devfn)));
        }
    }
    if (status == STATUS_OK) {
        pci_host_apply(host, bus);
    }
    return status;
}

/*
 * First everything that moved is taken away, then placed: two BARs may change places. A BAR whose new place is taken is
 * tried again whenever another one moves, so the order of the guest's writes does not matter.
 */
static void move(struct pci_host *host, struct bus *bus)
{
    for (uint32_t i = 0; i < host->count; i++) {
        if (host->rows[i] != NULL && host->functions[i]->moved) {
            displace(host->functions[i], host->device_numbers[i], bus);
        }
    }
    for (uint32_t i = 0; i < host->count; i++) {
        host->functions[i]->moved = false;
        if (host->rows[i] != NULL) {
            place(host->functions[i], host->device_numbers[i], bus);
        }
    }
}

void pci_host_apply(struct pci_host *host, struct bus *bus)
{
    bool moved = false;

    for (uint32_t i = 0; i < host->count; i++) {
        moved = moved || host->functions[i]->moved;
    }
    if (moved) {
        move(host, bus);
    }
    for (uint32_t i = 0; i < host->count; i++) {
        if (host->rows[i] != NULL) {
            pci_signal(host->functions[i]);
            bus_settle(bus, host->device_numbers[i]);
        }
    }
}

void pci_host_settle(struct pci_host *host, const struct pci_endpoint *function, struct bus *bus)
{
    uint8_t index = host->index_of[function->devfn];

    bus_settle(bus, host->device_numbers[index - 1]);
}

/* ---- configuration space ---- */

uint32_t pci_host_config_read(struct pci_host *host, uint8_t devfn, unsigned offset, uint8_t size)
{
    uint8_t index = host->index_of[devfn];

    return index == 0 ? 0xffffffffu : pci_config_read(host->functions[index - 1], offset, size);
}

void pci_host_config_write(struct pci_host *host, uint8_t devfn, unsigned offset, uint8_t size, uint32_t value)
{
    uint8_t index = host->index_of[devfn];

    if (index != 0) {
        pci_config_write(host->functions[index - 1], offset, size, value);
        host->signals.wants |= BUS_PLACES;
    }
}

static bool data_is_selected(const struct pci_host *host)
{
    return (host->address & ADDRESS_ENABLE) != 0 && ADDRESS_BUS(host->address) == 0;
}

static uint32_t data_read(struct pci_host *host, unsigned offset, uint8_t size)
{
    if (!data_is_selected(host)) {
        return 0xffffffffu;
    }
    return pci_host_config_read(host, ADDRESS_DEVFN(host->address), ADDRESS_REGISTER(host->address) + offset, size);
}

static void data_write(struct pci_host *host, unsigned offset, uint8_t size, uint32_t value)
{
    if (data_is_selected(host)) {
        pci_host_config_write(host, ADDRESS_DEVFN(host->address), ADDRESS_REGISTER(host->address) + offset, size,
                              value);
    }
}

/* A rising bit 2 asks for a reset. */
static void reset_control_write(struct pci_host *host, uint8_t value)
{
    if ((value & RESET_CPU) != 0 && (host->reset_control & RESET_CPU) == 0) {
        bus_request_power(&host->signals, POWER_RESET_REQUESTED, "port 0xcf9");
    }
    host->reset_control = value & RESET_BITS;
}

/* A byte that is no part of an access to one of the two registers as a whole. */
static bool byte_read(struct pci_host *host, unsigned offset, uint8_t *value)
{
    if (offset == RESET_OFFSET) {
        *value = host->reset_control;
    } else if (offset >= DATA_OFFSET && offset < HOST_PORT_COUNT) {
        *value = (uint8_t)data_read(host, offset - DATA_OFFSET, 1);
    } else {
        *value = 0xff;
        return false;
    }
    return true;
}

static bool byte_write(struct pci_host *host, unsigned offset, uint8_t value)
{
    if (offset == RESET_OFFSET) {
        reset_control_write(host, value);
    } else if (offset >= DATA_OFFSET && offset < HOST_PORT_COUNT) {
        data_write(host, offset - DATA_OFFSET, 1, value);
    } else {
        return false;
    }
    return true;
}

static bool ports_read(struct pci_host *host, struct bus_access *access)
{
    unsigned offset = (unsigned)access->at;
    bool known = false;

    if (offset >= DATA_OFFSET) {
        access->value = data_read(host, offset - DATA_OFFSET, access->size);
        return true;
    }
    if (offset == 0 && access->size == 4) {
        access->value = host->address;
        return true;
    }
    access->value = 0;
    for (unsigned i = 0; i < access->size; i++) {
        uint8_t byte;

        known |= byte_read(host, offset + i, &byte);
        access->value |= (uint64_t)byte << (8 * i);
    }
    return known;
}

static bool ports_write(struct pci_host *host, const struct bus_access *access)
{
    unsigned offset = (unsigned)access->at;
    bool known = false;

    if (offset >= DATA_OFFSET) {
        data_write(host, offset - DATA_OFFSET, access->size, (uint32_t)access->value);
        return true;
    }
    for (unsigned i = 0; i < access->size; i++) {
        known |= byte_write(host, offset + i, (uint8_t)(access->value >> (8 * i)));
    }
    return known;
}

/* Eight bytes are two dwords, as on the bus. */
static uint64_t ecam_read(struct pci_host *host, uint64_t offset, uint8_t size)
{
    uint8_t devfn = ECAM_DEVFN(offset);
    unsigned reg = ECAM_REGISTER(offset);

    if (size <= 4) {
        return pci_host_config_read(host, devfn, reg, size);
    }
    return pci_host_config_read(host, devfn, reg, 4) | (uint64_t)pci_host_config_read(host, devfn, reg + 4, 4) << 32;
}

static void ecam_write(struct pci_host *host, uint64_t offset, uint8_t size, uint64_t value)
{
    uint8_t devfn = ECAM_DEVFN(offset);
    unsigned reg = ECAM_REGISTER(offset);

    pci_host_config_write(host, devfn, reg, (uint8_t)min_u64(size, 4), (uint32_t)value);
    if (size == 8) {
        pci_host_config_write(host, devfn, reg + 4, 4, (uint32_t)(value >> 32));
    }
}

static bool host_read(void *state, struct bus_access *access)
{
    struct pci_host *host = state;

    if (access->at < PCI_HOST_ECAM) {
        return ports_read(host, access);
    }
    access->value = ecam_read(host, access->at - PCI_HOST_ECAM, access->size);
    return true;
}

__attribute__((noinline)) static bool any_write(struct pci_host *host, const struct bus_access *access)
{
    if (access->at < PCI_HOST_ECAM) {
        return ports_write(host, access);
    }
    ecam_write(host, access->at - PCI_HOST_ECAM, access->size, access->value);
    return true;
}

/* The address register, which stands before each access to the data register, makes no stack frame. */
static bool host_write(void *state, const struct bus_access *access)
{
    struct pci_host *host = state;

    if (access->at == 0 && access->size == 4) {
        pci_host_set_address(host, (uint32_t)access->value);
        return true;
    }
    return any_write(host, access);
}

static void host_reset(void *state, const struct bus_environment *environment, uint64_t now)
{
    (void)environment;
    (void)now;
    pci_host_reset(state);
}

const struct bus_row pci_host_row = {
    .name = "PCI",
    BUS_RANGES(BUS_AT(BUS_PORT, HOST_PORTS, HOST_PORT_COUNT, PCI_HOST_ADDRESS, 1 | 2 | 4),
               BUS_AT(BUS_MEMORY, GUEST_ECAM_BASE, PCI_ECAM_BYTES, PCI_HOST_ECAM, BUS_ALL_WIDTHS),
               BUS_AT(BUS_MEMORY, GUEST_ECAM_Q35, PCI_ECAM_BYTES, PCI_HOST_ECAM, BUS_ALL_WIDTHS)),
    .read = host_read,
    .write = host_write,
    .reset = host_reset,
    BUS_STATE(struct pci_host, signals),
};
