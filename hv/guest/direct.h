/* SPDX-License-Identifier: MIT */
/*
 * Devices of the machine that a guest has for itself, without an exit: ports, COM2 with its interrupt, a device's
 * memory, the framebuffer; and with exits the keyboard controller (keyboard.h). The config's rules
 * (config/config_direct.c) have refused what is not to be had.
 *
 * Ports are a map of the guest's control structures (guest.io_map). Memory is in its nested tree, uncached (UC), or
 * write-combining (WC) for the framebuffer. An interrupt comes by hv/host/host_irq.h. Between
 * two lives a device that is known is quiet: its interrupt is masked at the I/O APIC and switched off in it; a device
 * that is only a range of ports or memory stays as the guest left it.
 */
#ifndef HV_GUEST_DIRECT_H
#define HV_GUEST_DIRECT_H

#include "config/config.h"
#include "guest-loader/load_plan.h"
#include "hv/boot_info.h"
#include "hv/core/guest.h"
#include "hv/mm/page_table.h"

#define DIRECT_RANGES_MAX (CONFIG_MMIO_MAX + 1u)

/* Memory of devices that the guest has. Returns how many there are. */
uint32_t guest_direct_memory(const struct guest *guest, const struct boot_info *boot,
                             struct guest_range ranges[DIRECT_RANGES_MAX]);

/* Maps them, by leaves of this size at most. */
enum status guest_direct_map(const struct guest *guest, const struct boot_info *boot, struct page_table *tree,
                             enum page_level largest);

/* What a kernel is told of the framebuffer; width 0: the guest has none. */
struct load_screen guest_direct_screen(const struct guest *guest, const struct boot_info *boot);

/* Once, on the BSP, before the guest's vCPUs are made: its map of ports, and vectors for its interrupts. */
void guest_direct_create(struct guest *guest);

/* At the beginning of each life, once vCPU 0 may run; and at the end of each, when no vCPU runs any more. */
void guest_direct_open(struct guest *guest);
void guest_direct_close(struct guest *guest);

#endif
