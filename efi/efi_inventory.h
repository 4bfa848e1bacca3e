/* SPDX-License-Identifier: MIT */
/* The parts of \\plinth\\machine.txt: efi_inventory.c has the order, the others a part each. */
#ifndef EFI_INVENTORY_H
#define EFI_INVENTORY_H

#include "efi/efi_stage.h"
#include "hv/host/pci_scan.h"

struct inventory {
    char *text;
    size_t length;
};

/* Appends; what does not fit is left out. */
__attribute__((format(printf, 2, 3))) void inventory_add(struct inventory *inventory, const char *form, ...);

/* CPUID, the words of VMX or SVM, MTRRs and microcode: of the boot CPU whole, of each other one what differs. */
void inventory_add_cpus(struct inventory *inventory, struct efi_stage *stage);

/* PCI functions with class, base address registers, capabilities and group; which USB controllers the firmware serves;
 * IOMMUs, and whether the firmware left them on. */
void inventory_add_devices(struct inventory *inventory, struct efi_stage *stage);

/* Configuration space, beyond 256 bytes as far as it is in memory; to read. Interrupts are off while it is used. */
struct pci_access efi_inventory_pci(struct efi_stage *stage);

#endif
