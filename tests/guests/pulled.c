/* SPDX-License-Identifier: MIT */
/*
 * A guest whose device is pulled out while its driver is at it: QEMU's e1000e behind a port, from which the machine
 * takes the power. The function reads as all ones then, its registers as what nothing answers (all ones; in QEMU 0),
 * and writes to them do nothing. A second life (command line `twice`) finds no function.
 */
#include "tests/guests/lib/pci.h"
#include "tests/guests/lib/start_info.h"

const char guest_name[] = "pulled";

#define E1000E 0x10d38086u
#define STATUS 0x0008u
#define RING 0x3800u    /* can be written while there is one */
#define WAIT_MS 120000u /* only a hang reaches it */

void guest_main(void)
{
    uint32_t device = pci_find(E1000E), registers, nothing;

    traps_init();
    if (start_info_argument(start_info(), "twice") != NULL && device == PCI_FUNCTIONS) {
        print("pulled: no function in this life\n");
        return;
    }
    CHECK_EQUAL(device < PCI_FUNCTIONS, 1);
    pci_write(device, PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER);
    registers = pci_read(device, PCI_BAR(0)) & ~PCI_BAR_MEMORY_BITS;
    CHECK_EQUAL(mmio_read32(registers + STATUS) != ~0u, 1);
    print("pulled: the device answers\n");
    for (uint32_t ms = 0; ms < WAIT_MS && pci_read(device, PCI_ID) == E1000E; ms++) {
        pit_wait_us(1000);
    }
    CHECK_EQUAL(pci_read(device, PCI_ID), ~0u);
    nothing = mmio_read32(registers + STATUS);
    CHECK_EQUAL(nothing == 0 || nothing == ~0u, 1);
    mmio_write32(registers + RING, 0x1000);
    CHECK_EQUAL(mmio_read32(registers + RING), nothing);
    pci_write(device, PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER);
    CHECK_EQUAL(pci_read(device, PCI_COMMAND), ~0u);
    CHECK_EQUAL(pci_find(E1000E), PCI_FUNCTIONS);
    print("pulled: the device is gone\n");
    if (start_info_argument(start_info(), "twice") != NULL) {
        out8(0xcf9, 0x06);
        wait_for_interrupt();
    }
}
