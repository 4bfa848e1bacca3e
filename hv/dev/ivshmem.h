/* SPDX-License-Identifier: MIT */
/*
 * Memory that a guest shares with others, as a PCI device: compatible with QEMU's "ivshmem-doorbell", revision 1 (QEMU,
 * docs/specs/ivshmem-spec, "Device Specification for Inter-VM shared memory device").
 *
 *   BAR 0   memory, 256 bytes   8: this guest's number (read-only)   12: doorbell: peer's number << 16 | vector
 *   BAR 1   memory, 4 KiB       MSI-X: table at 0, pending bits at 0x800
 *   BAR 2   the memory
 *
 * Registers 0 and 4, the mask and status of an interrupt line, are without effect, as in every device of revision 1.
 *
 * The memory is in the guest's nested tables, where firmware would have placed BAR 2, for as long as the guest exists:
 * accesses there do not come here, save writes where the guest may only read, which are lost. Where a guest moves the
 * BAR its accesses do come here; they work, at the price of an exit each.
 *
 * What a doorbell rings for is kept in `rung`. The guests behind the numbers are not known here
 * (hv/share/shared_memory.h).
 */
#ifndef HV_DEV_IVSHMEM_H
#define HV_DEV_IVSHMEM_H

#include "hv/base/limits.h"
#include "hv/dev/pci/function.h"

#define IVSHMEM_PEERS_MAX GUESTS_MAX
#define IVSHMEM_VECTORS 4u

struct ivshmem {
    struct pci_endpoint function; /* first */
    uint8_t *memory;
    uint64_t bytes;
    uint64_t place; /* guest-physical */
    uint16_t number;
    bool read_only;
    bool open;                        /* atomic: the guest runs; others' doorbells reach it */
    uint32_t rung[IVSHMEM_PEERS_MAX]; /* atomic: vectors that the guest has rung, by peer */
    uint32_t incoming;                /* atomic: vectors that others have rung */
    uint64_t sent, received;          /* doorbells */
};

extern const struct bus_row ivshmem_row;

/* Describes the function, at each start of the guest; the fields behind `function` but `rung` and `incoming` are the
 * caller's. */
void ivshmem_init(struct ivshmem *device);

/* Turns what others have rung into interrupts. Under the lock of the guest's PC. */
void ivshmem_carry(struct ivshmem *device);

#endif
