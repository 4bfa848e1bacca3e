/* SPDX-License-Identifier: MIT */
/*
 * See assigned.h. What of a device's capabilities its guest sees:
 *
 *   power management   shown; the power state is remembered and has no effect: D3 would lose what was set up
 *   PCI Express        shown as an endpoint of the root complex, which has no link; no reset by it: that is between
 *                      two lives of the guest; No Snoop is off and cannot be had, for a guest's WBINVD does nothing
 *   MSI-X              shown, the first 32 messages at most, as many as the hypervisor has vectors for
 *   MSI                shown where there is no MSI-X: one message
 *   virtio             shown as it is where it says in which BAR registers are: without, a driver has none. Not the one
 *                      that is a window onto the BARs (type 5)
 *   expansion ROM      the firmware's copy of it; the device's own stays off
 *   all others         hidden. Vital product data and vendors' own registers reach into firmware that outlives the
 *                      guest; SR-IOV makes functions that were given to no guest; ATS and PASID go around the IOMMU's
 *                      tables; a resizable BAR moves what is mapped; advanced features have a reset
 *
 * "PCI Bus Power Management Interface Specification" 1.2, 3.2; "PCI Express Base Specification" 5.0, 7.5.3.
 */
#include "hv/dev/pci/assigned.h"

#include "hv/base/memory.h"

#define CAP_PM 0x01u
#define CAP_EXPRESS 0x10u
#define CAP_VENDOR 0x09u

#define PM_BODY 6u          /* bytes behind ID and link: capabilities, control and status, two of bridges */
#define PM_VERSION 3u       /* no wake-up, no D1, no D2 */
#define PM_CONTROL 4u       /* from the capability's start */
#define PM_KEEPS_STATE 0x8u /* D3 to D0 is no reset */
#define PM_STATE 0x3u

#define EXPRESS_BODY 58u      /* version 2 */
#define EXPRESS_FLAGS 0x0092u /* version 2, an endpoint of the root complex */
#define EXPRESS_CAPABILITIES 4u
#define EXPRESS_CONTROL 8u
#define EXPRESS_CONTROL_WRITABLE (0x7fffu & ~PCI_EXPRESS_NO_SNOOP) /* not bit 15: it starts a reset */
#define EXPRESS_KEPT_CAPABILITIES 0x0fffffffu                      /* not bit 28: it can reset itself */

/* In the device. "PCI Local Bus Specification" 3.0, 6.8.1.3, 6.8.2.3. */
#define MSI_CONTROL 0x02u
#define MSI_ENABLE 0x0001u
#define MSI_64 0x0080u
#define MSIX_CONTROL 0x02u
#define MSIX_ENABLE 0x8000u
#define MSIX_ENTRY_BYTES 16u

static struct pci_assigned *assigned_of(struct pci_endpoint *function)
{
    return (struct pci_assigned *)function;
}

bool pci_assigned_msix_pages(const struct pci_assigned_facts *facts, unsigned bar, uint64_t *start, uint64_t *end)
{
    uint64_t table_end = facts->msix_table + (uint64_t)facts->msix_count * MSIX_ENTRY_BYTES;
    uint64_t pba_end = facts->msix_pba + align_up(facts->msix_count, 64) / 8;

    if (facts->msix == 0 || bar != facts->msix_bar) {
        return false;
    }
    *start = align_down(min_u64(facts->msix_table, facts->msix_pba), PAGE_BYTES);
    *end = min_u64(align_up(max_u64(table_end, pba_end), PAGE_BYTES), facts->bars[bar].bar.bytes);
    return true;
}

/* ---- is it there? ---- */

void pci_assigned_look(struct pci_assigned *device)
{
    if (!device->gone && !device->io->is_there(device->io->context, device->facts)) {
        device->gone = true;
        device->function.intx = false;
    }
}

/* Kernels ask for the ID to see whether a function is there, before and after. */
static bool config_read(struct pci_endpoint *function, unsigned offset, uint8_t size, uint32_t *value)
{
    struct pci_assigned *device = assigned_of(function);

    if (offset < PCI_COMMAND) {
        pci_assigned_look(device);
    }
    if (device->gone) {
        *value = (uint32_t)((1ULL << 8 * size) - 1);
    }
    return device->gone;
}

/* ---- accesses that no nested tree has ---- */

static bool overlaps(uint64_t offset, uint8_t size, uint64_t start, uint64_t bytes)
{
    return offset < start + bytes && start < offset + size;
}

/* The device's own messages are the hypervisor's. */
static bool is_hidden(const struct pci_assigned_facts *facts, unsigned bar, uint64_t offset, uint8_t size)
{
    return facts->msix != 0 && bar == facts->msix_bar &&
           (overlaps(offset, size, facts->msix_table, (uint64_t)facts->msix_count * MSIX_ENTRY_BYTES) ||
            overlaps(offset, size, facts->msix_pba, align_up(facts->msix_count, 64) / 8));
}

static uint64_t rom_read(const struct pci_assigned_facts *facts, uint64_t offset, uint8_t size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)facts->rom[offset + i] << 8 * i;
    }
    return value;
}

static uint64_t bar_read(struct pci_endpoint *function, unsigned bar, uint64_t offset, uint8_t size)
{
    struct pci_assigned *device = assigned_of(function);
    const struct pci_assigned_bar *own = &device->facts->bars[bar % PCI_BARS];
    uint64_t all_ones = size == 8 ? ~0ULL : (1ULL << 8 * size) - 1, value;

    if (bar == PCI_ROM) {
        return device->gone ? all_ones : rom_read(device->facts, offset, size);
    }
    if (is_hidden(device->facts, bar, offset, size)) {
        return 0;
    }
    value = device->io->read(device->io->context, own->bar.kind == PCI_BAR_PORTS, own->at + offset, size);
    if (value == all_ones) {
        pci_assigned_look(device);
    }
    return value;
}

static void bar_write(struct pci_endpoint *function, unsigned bar, uint64_t offset, uint8_t size, uint64_t value)
{
    const struct pci_assigned *device = assigned_of(function);
    const struct pci_assigned_bar *own = &device->facts->bars[bar % PCI_BARS];

    if (bar != PCI_ROM && !is_hidden(device->facts, bar, offset, size)) {
        device->io->write(device->io->context, own->bar.kind == PCI_BAR_PORTS, own->at + offset, size, value);
    }
}

/* ---- what of configuration space goes on to the device ---- */

/* What has a place stays decoded whatever the guest says, for the nested tree has it; a line that it does not have
 * stays off. */
static void set_command(struct pci_assigned *device)
{
    uint16_t guests = pci_command(&device->function) & (PCI_COMMAND_MASTER | PCI_COMMAND_INTX_OFF);
    uint16_t command = pci_assigned_command(device->facts, device->line_vector != 0) | guests;

    if (command != device->command) {
        device->command = command;
        device->io->config_write(device->io->context, device->facts->address, PCI_COMMAND, 2, command);
    }
}

static void set_message(struct pci_assigned *device, bool on)
{
    const struct pci_assigned_facts *facts = device->facts;

    if (on == device->message) {
        return;
    }
    device->message = on;
    if (facts->msix != 0) {
        device->io->config_write(device->io->context, facts->address, facts->msix + MSIX_CONTROL, 2,
                                 on ? MSIX_ENABLE : 0);
    } else if (facts->msi != 0) {
        device->io->config_write(device->io->context, facts->address, facts->msi + MSI_CONTROL, 2, on ? MSI_ENABLE : 0);
    }
}

static bool config_write(struct pci_endpoint *function, unsigned offset, uint8_t size, uint32_t value)
{
    struct pci_assigned *device = assigned_of(function);

    if (device->gone) {
        return true;
    }
    pci_config_store(function, offset, size, value);
    set_message(device, pci_msix_enabled(function) || pci_msi_enabled(function));
    set_command(device);
    return true;
}

static const struct pci_device_ops ops = {
    .read = bar_read, .write = bar_write, .config_read = config_read, .config_write = config_write};

/* ---- what the guest finds ---- */

static void add_pm(struct pci_endpoint *function)
{
    const uint8_t body[PM_BODY] = {PM_VERSION, 0, PM_KEEPS_STATE};
    unsigned at = pci_function_add_capability(function, CAP_PM, body, sizeof(body));

    function->writable[at + PM_CONTROL] = PM_STATE;
}

static void add_express(struct pci_endpoint *function, const struct pci_assigned_facts *facts)
{
    uint32_t capabilities = facts->device_capabilities & EXPRESS_KEPT_CAPABILITIES;
    uint8_t body[EXPRESS_BODY] = {EXPRESS_FLAGS & 0xffu, EXPRESS_FLAGS >> 8};
    unsigned at;

    memcpy(&body[EXPRESS_CAPABILITIES - 2], &capabilities, sizeof(capabilities));
    memcpy(&body[EXPRESS_CONTROL - 2], &facts->device_control, sizeof(facts->device_control));
    at = pci_function_add_capability(function, CAP_EXPRESS, body, sizeof(body));
    function->writable[at + EXPRESS_CONTROL] = EXPRESS_CONTROL_WRITABLE & 0xffu;
    function->writable[at + EXPRESS_CONTROL + 1] = EXPRESS_CONTROL_WRITABLE >> 8;
}

void pci_assigned_init(struct pci_assigned *device)
{
    const struct pci_assigned_facts *facts = device->facts;
    struct pci_endpoint *function = &device->function;
    struct pci_identity identity = facts->identity;

    identity.has_intx = device->line_vector != 0;
    pci_function_init(function, &identity, &ops, device);
    for (unsigned i = 0; i < PCI_BARS; i++) {
        if (facts->bars[i].bar.kind != PCI_BAR_NONE) {
            pci_function_add_bar(function, i, facts->bars[i].bar);
            pci_bar_set_address(function, i, facts->bars[i].place);
        }
    }
    if (facts->rom_bytes != 0) {
        pci_function_add_bar(function, PCI_ROM, (struct pci_bar){.kind = PCI_BAR_ROM, .bytes = facts->rom_bytes});
    }
    if (facts->pm != 0) {
        add_pm(function);
    }
    if (facts->express != 0) {
        add_express(function, facts);
    }
    if (facts->msix != 0) {
        pci_function_add_msix(function, device->vectors, facts->msix_bar, facts->msix_table, facts->msix_pba);
    } else if (facts->msi != 0) {
        pci_function_add_msi(function, 1);
    }
    for (unsigned i = 0; i < PCI_VIRTIO_MAX && facts->virtio[i].bytes != 0; i++) {
        (void)pci_function_add_capability(function, CAP_VENDOR, facts->virtio[i].text, facts->virtio[i].bytes);
    }
    device->command = pci_assigned_command(facts, device->line_vector != 0);
    device->message = device->gone = false;
    __atomic_store_n(&device->incoming, 0, __ATOMIC_RELEASE);
}

void pci_assigned_carry(struct pci_assigned *device)
{
    uint32_t left = __atomic_exchange_n(&device->incoming, 0, __ATOMIC_ACQ_REL);

    for (; left != 0; left &= left - 1) {
        device->interrupts++;
        pci_interrupt(&device->function, (unsigned)__builtin_ctz(left));
    }
    pci_signal(&device->function);
}

static void line_came(void *state, uint32_t source)
{
    struct pci_assigned *device = state;

    if (device->line_vector != 0 && !device->gone && source == device->line_source) {
        device->interrupts++;
        device->function.intx = true;
        pci_signal(&device->function);
    }
}

static void line_ended(void *state)
{
    struct pci_assigned *device = state;

    if (device->function.intx) {
        device->function.intx = false;
        pci_signal(&device->function);
        device->io->line_open(device->io->context, device->line_vector);
    }
}

const struct bus_row pci_assigned_row = {
    .name = "device of the machine",
    PCI_ROW_RANGES,
    .read = pci_row_read,
    .write = pci_row_write,
    .next_message = pci_row_next_message,
    .outside_came = line_came,
    .line_ended = line_ended,
    .lines = {BUS_NO_LINE},
    .line_count = 1,
    .state_bytes = sizeof(struct pci_assigned),
    .signals_at = offsetof(struct pci_assigned, function.signals),
    .saved_from = sizeof(struct pci_assigned),
};
