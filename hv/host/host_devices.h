/* SPDX-License-Identifier: MIT */
/*
 * The machine's devices, as far as the hypervisor touches them: which of their registers it needs mapped, and how the
 * firmware's devices are made quiet.
 *
 * A network card that the firmware used, or a USB controller, may go on writing into buffers that were the firmware's.
 * Guests' memory and the hypervisor's own were allocated as loader data, which no such buffer lies in; all other memory
 * is used only after host_devices_quiet(). It is done after ExitBootServices: the firmware's drivers run their exit
 * handlers then and expect their devices to work.
 */
#ifndef HV_HOST_HOST_DEVICES_H
#define HV_HOST_HOST_DEVICES_H

#include "hv/boot_info.h"
#include "hv/host/host_acpi.h"
#include "hv/host/pci_scan.h"
#include "hv/x86/host_map.h"

#define HOST_DEVICE_WINDOWS_MAX (ACPI_IOAPICS_MAX + BOOT_UARTS_MAX + 4u)

/* The windows that the hypervisor needs whatever else there is: local APIC, I/O APICs, HPET, UARTs in memory, and the
 * reset and sleep registers where they lie in memory. `to` has HOST_DEVICE_WINDOWS_MAX entries; returns how many are
 * used. */
uint32_t host_devices_windows(const struct boot_info *info, const struct host_acpi *acpi, struct host_range *to);

struct pci_topology;

/* Finds out how configuration space is reached: by ports, and in memory where MCFG says so. BSP only, while no other
 * CPU runs, before what is below. */
void host_devices_find(const struct host_acpi *acpi);

/* Configuration space of every function; beyond its first 256 bytes as far as it is in memory. Any CPU. */
const struct pci_access *host_devices_access(void);

/* The functions of all buses, as host_devices_find() found them. *whole: false, there are more than PCI_NODES_MAX, and
 * the others are not among them. */
const struct pci_topology *host_devices_topology(bool *whole);

/* Adds a virtual function of `physical` to them. STATUS_NO_SPACE: there are PCI_NODES_MAX already. BSP only, before the
 * guests run. */
struct pci_node;
enum status host_devices_add_virtual(const struct pci_node *physical, const struct pci_function *function);

/*
 * Takes USB controllers from the firmware's system management code, then bus mastering from every function on all
 * segments but bridges and displays; one line says what was found. Where the config says `quiet-devices = no` it only
 * says what is still able to write to memory. BSP only, once the TSC's rate is known and before other CPUs run.
 */
void host_devices_quiet(const struct boot_info *info);

#endif
