/* SPDX-License-Identifier: MIT */
/*
 * Virtual functions (SR-IOV) that guests have: made once, before any guest, and then devices as all others are
 * (assigned.h). The function that has them belongs to no guest and to no driver. It is reset, has no bus mastering and
 * no interrupts, and the IOMMU blocks it; only an NVMe controller is let through before that, at three pages of the
 * hypervisor and nothing else, to be told what its virtual functions may use (hv/host/nvme_virtual.h).
 *
 * What else a device's own driver would have to do for its virtual functions is not done: many network cards' find no
 * link and no address without it.
 */
#ifndef HV_GUEST_VIRTUAL_H
#define HV_GUEST_VIRTUAL_H

#include "hv/boot_info.h"
#include "hv/dev/pci/assigned.h"

/* Makes all that `pci = ... vf N` names; the machine's functions then have them, too. BSP only, once, before the first
 * guest_virtual_read(). Takes 0.4 s for each function that has some. */
void guest_virtual_make(const struct boot_info *info);

/* What one of them has. NULL, or a sentence that says why it is not there. */
const char *guest_virtual_read(const struct config_pci *pci, struct pci_assigned_facts *facts);

#endif
