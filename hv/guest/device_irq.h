/* SPDX-License-Identifier: MIT */
/* A pin of the machine's I/O APICs for a guest: its vector, through the IOMMU where there is one. */
#ifndef HV_GUEST_DEVICE_IRQ_H
#define HV_GUEST_DEVICE_IRQ_H

#include "hv/core/guest.h"
#include "hv/host/host_irq.h"

/* Leads the pin to the CPU of the guest's vCPU 0 as a source of the guest (guest_source_arrived()), masked. *vector is
 * what host_irq_open() opens it by. NULL, or a sentence that says why it cannot be. BSP only, before guests run. */
const char *guest_device_irq(struct guest *guest, uint32_t source, struct host_irq_pin pin, uint8_t *vector);

#endif
