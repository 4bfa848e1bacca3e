/* SPDX-License-Identifier: MIT */
#include "hv/host/host_devices.h"

#include "hv/base/log.h"
#include "hv/base/spinlock.h"
#include "hv/host/host_memory.h"
#include "hv/host/pci_ports.h"
#include "hv/host/pci_topology.h"
#include "hv/host/tsc.h"
#include "hv/host/usb_handoff.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define IOAPIC_USUAL_BASE 0xfec00000ULL /* Intel 82093AA data sheet, 3.0; where the firmware has no MADT */
#define BUSES_MAX (ACPI_ECAM_MAX + 1u)
#define PORTS_BYTES 256u /* of each function, that ports reach */
#define BUS_SHIFT 20u    /* of configuration space in memory: "PCI Express Base Specification" 5.0, 7.2.2 */
#define DEVICE_SHIFT 15u
#define FUNCTION_SHIFT 12u
#define UART_REGISTERS 8u
#define HPET_BYTES 1024u /* of its registers. "IA-PC HPET Specification" 1.0a, 2.3.1 */

static struct {
    const struct host_acpi *acpi;
    struct pci_buses buses[BUSES_MAX];
    uint32_t bus_ranges;
    bool segment_0_in_memory;
    uint32_t masters, usb_taken, usb_forced;
    struct pci_topology topology;
    bool whole;            /* every function is in it */
    struct spinlock ports; /* the pair of ports is one for all CPUs */
} devices;

static void add_window(struct host_range *to, uint32_t *count, uint64_t at, uint64_t bytes)
{
    if (at != 0) {
        to[(*count)++] = (struct host_range){align_down(at, PAGE_BYTES), align_up(at + bytes, PAGE_BYTES)};
    }
}

static void add_register(struct host_range *to, uint32_t *count, const struct acpi_address *address)
{
    if (address->space == ACPI_SPACE_MEMORY) {
        add_window(to, count, address->address, sizeof(uint64_t));
    }
}

uint32_t host_devices_windows(const struct boot_info *info, const struct host_acpi *acpi, struct host_range *to)
{
    uint32_t count = 0;

    add_window(to, &count, insn_rdmsr(MSR_APIC_BASE) & APIC_BASE_ADDRESS, PAGE_BYTES);
    for (uint32_t i = 0; i < acpi->ioapic_count; i++) {
        add_window(to, &count, acpi->ioapics[i], PAGE_BYTES);
    }
    if (acpi->ioapic_count == 0) {
        add_window(to, &count, IOAPIC_USUAL_BASE, PAGE_BYTES);
    }
    for (uint32_t i = 0; i < info->uart_count; i++) {
        if (info->uarts[i].mmio) {
            add_window(to, &count, info->uarts[i].base, (uint64_t)UART_REGISTERS * info->uarts[i].stride);
        }
    }
    add_window(to, &count, acpi->hpet, HPET_BYTES);
    add_register(to, &count, &acpi->reset);
    add_register(to, &count, &acpi->sleep_control);
    return count;
}

/* ---- configuration space: segment 0 by ports, which every machine has; the others in memory ---- */

static volatile void *ecam_place(struct pci_address address, uint32_t offset)
{
    for (uint32_t i = 0; i < devices.acpi->ecam_count; i++) {
        const struct acpi_ecam *ecam = &devices.acpi->ecam[i];

        if (ecam->segment == address.segment && address.bus >= ecam->bus_first && address.bus <= ecam->bus_last) {
            return (volatile void *)(uintptr_t)(ecam->base + ((uint64_t)address.bus << BUS_SHIFT) +
                                                ((uint64_t)address.device << DEVICE_SHIFT) +
                                                ((uint64_t)address.function << FUNCTION_SHIFT) + offset);
        }
    }
    return NULL;
}

static uint32_t config_read(void *context, struct pci_address address, uint32_t offset)
{
    volatile uint32_t *place;

    if (address.segment == 0 && offset < PORTS_BYTES) {
        uint32_t value;

        spinlock_take(&devices.ports);
        value = pci_ports_read(context, address, offset);
        spinlock_release(&devices.ports);
        return value;
    }
    place = address.segment != 0 || devices.segment_0_in_memory ? ecam_place(address, offset) : NULL;
    return place != NULL ? *place : ~0u;
}

static void config_write(void *context, struct pci_address address, uint32_t offset, uint32_t bytes, uint32_t value)
{
    volatile void *place;

    if (address.segment == 0 && offset < PORTS_BYTES) {
        spinlock_take(&devices.ports);
        pci_ports_write(context, address, offset, bytes, value);
        spinlock_release(&devices.ports);
        return;
    }
    place = address.segment != 0 || devices.segment_0_in_memory ? ecam_place(address, offset) : NULL;
    if (place != NULL && bytes == 2) {
        *(volatile uint16_t *)place = (uint16_t)value;
    } else if (place != NULL) {
        *(volatile uint32_t *)place = value;
    }
}

static const struct pci_access pci = {NULL, config_read, config_write};

/* All buses of segment 0, and of each further segment those that MCFG names and that can be mapped. */
static uint32_t collect_buses(struct pci_buses *buses)
{
    uint32_t count = 0;

    devices.segment_0_in_memory = true;
    buses[count++] = (struct pci_buses){0, 0, UINT8_MAX};
    for (uint32_t i = 0; i < devices.acpi->ecam_count; i++) {
        const struct acpi_ecam *ecam = &devices.acpi->ecam[i];
        uint64_t start = ecam->base + ((uint64_t)ecam->bus_first << BUS_SHIFT);
        uint64_t bytes = (uint64_t)(ecam->bus_last - ecam->bus_first + 1) << BUS_SHIFT;

        if (ecam->segment == 0) {
            devices.segment_0_in_memory &= host_memory_map_device(start, bytes);
            continue;
        }
        if (host_memory_map_device(start, bytes)) {
            buses[count++] = (struct pci_buses){ecam->segment, ecam->bus_first, ecam->bus_last};
        } else {
            log_warning("PCI segment %u is out of reach (configuration space at 0x%" PRIx64
                        "): its devices may go on writing to memory",
                        ecam->segment, start);
        }
    }
    return count;
}

/* ---- USB ---- */

static bool usb_map(void *context, uint64_t address, uint64_t bytes)
{
    (void)context;
    return host_memory_map_device(address, bytes);
}

static uint32_t usb_read(void *context, uint64_t address)
{
    (void)context;
    return *(volatile uint32_t *)(uintptr_t)address;
}

static void usb_write(void *context, uint64_t address, uint32_t value)
{
    (void)context;
    *(volatile uint32_t *)(uintptr_t)address = value;
}

static void usb_wait(void *context, uint32_t us)
{
    (void)context;
    tsc_wait_us(us);
}

static void take_usb(void *context, const struct pci_access *access, const struct pci_function *function)
{
    static const struct usb_access usb = {NULL, usb_map, usb_read, usb_write, usb_wait, false};
    const struct pci_address *at = &function->address;

    (void)context;
    switch (usb_handoff(access, &usb, function)) {
    case USB_NOT_OWNED:
        break;
    case USB_TAKEN:
        devices.usb_taken++;
        break;
    case USB_FORCED:
        devices.usb_forced++;
        log_warning("the firmware does not let go of the %s controller %04x:%02x:%02x.%x: it was taken all the same",
                    usb_kind_name(function), at->segment, at->bus, at->device, at->function);
        break;
    case USB_UNREACHABLE:
        log_debug("%s controller %04x:%02x:%02x.%x is not in use", usb_kind_name(function), at->segment, at->bus,
                  at->device, at->function);
        break;
    }
}

static void stop_master(void *context, const struct pci_access *access, const struct pci_function *function)
{
    const struct pci_address *at = &function->address;

    (void)context;
    devices.masters += pci_stop_master(access, function);
    if (pci_is_master(access, function)) {
        log_warning("device %04x:%02x:%02x.%x (%04x:%04x) keeps its right to write to memory: it can reach any guest",
                    at->segment, at->bus, at->device, at->function, function->vendor, function->product);
    }
}

static void count_master(void *context, const struct pci_access *access, const struct pci_function *function)
{
    (void)context;
    devices.masters += pci_is_master(access, function);
}

/* A read of each place where a device can be takes a microsecond and more on real machines, so all buses are read once.
 * Returns how many functions there are. */
static uint32_t each_function(pci_visit *visit)
{
    if (!devices.whole) {
        return pci_scan(&pci, devices.buses, devices.bus_ranges, visit, NULL);
    }
    for (uint32_t i = 0; i < devices.topology.count; i++) {
        visit(NULL, &pci, &devices.topology.nodes[i].function);
    }
    return devices.topology.count;
}

void host_devices_find(const struct host_acpi *acpi)
{
    devices.acpi = acpi;
    devices.bus_ranges = collect_buses(devices.buses);
    devices.whole = pci_topology_read(&devices.topology, &pci, devices.buses, devices.bus_ranges) == STATUS_OK;
}

const struct pci_access *host_devices_access(void)
{
    return &pci;
}

const struct pci_topology *host_devices_topology(bool *whole)
{
    *whole = devices.whole;
    return &devices.topology;
}

enum status host_devices_add_virtual(const struct pci_node *physical, const struct pci_function *function)
{
    return pci_topology_add_virtual(&devices.topology, &pci, physical, function);
}

void host_devices_quiet(const struct boot_info *info)
{
    uint32_t functions;

    if (!info->config.quiet_devices) {
        functions = each_function(count_master);
        log_warning("devices: %u of %u PCI functions can still write to memory (quiet-devices = no)", devices.masters,
                    functions);
        return;
    }
    (void)each_function(take_usb);
    functions = each_function(stop_master);
    log_info("devices: %u PCI functions, bus mastering taken from %u; USB controllers taken from the firmware: %u",
             functions, devices.masters, devices.usb_taken + devices.usb_forced);
}
