/* SPDX-License-Identifier: MIT */
/*
 * The machine's PCI functions that guests have: found, reset, set up, let at their guest's memory for as long as the
 * guest lives, and no longer.
 *
 *   guest_assigned_prepare()     all functions that the config names: reset, read, and room made for their interrupts
 *   guest_assigned_map()         their registers in the guest's nested tree; the tree by which they reach its memory
 *   guest_assigned_start()       a life begins: registers as at the first one, interrupts and memory let through
 *   guest_assigned_stop()        it ends: bus mastering off, blocked by the IOMMU, and a reset begins
 *   guest_assigned_is_ready()    the reset is over: the guest may be started again
 *
 * Nothing of a guest's memory is touched by the next one, or by its own next life, before guest_assigned_stop().
 *
 * Interrupts: each message of a function has a vector of the CPU that runs the guest's vCPU 0, and the IOMMU an entry
 * that makes this vector of it and nothing else. The handler notes it, guest_assigned_interrupts() finds whose it is.
 *
 * A guest whose function cannot be had is not started: guest_assigned_problem() says why. The others are.
 *
 * Not done: resets of a whole bus, posted interrupts, surprise removal.
 */
#ifndef HV_GUEST_ASSIGNED_H
#define HV_GUEST_ASSIGNED_H

#include "hv/boot_info.h"
#include "hv/core/guest_devices.h"
#include "hv/host/cpu.h"
#include "hv/mm/page_table.h"

/* Ranges of registers in a guest's nested tree: what is before MSI-X's pages of a BAR, and behind them. */
#define GUEST_REGISTERS_MAX (CONFIG_PCI_MAX * PCI_BARS * 2u)

/* BSP, before guests are made and while no other CPU runs. */
void guest_assigned_prepare(const struct boot_info *info);

/* NULL: the guest has all that its config names. Else a sentence about the function that it cannot have. */
const char *guest_assigned_problem(const struct guest *guest);

/* Into the guest's finished tree; `guest->devices` is there. `physical_bits`: what the guest is told. Not STATUS_OK:
 * there are too few tables. */
enum status guest_assigned_map(struct guest *guest, struct page_table *nested, const struct guest_plan *plan,
                               uint8_t physical_bits);

/* What of registers the guest reaches: for the audit. */
uint32_t guest_assigned_registers(const struct guest *guest, const struct guest_range **ranges);

void guest_assigned_start(struct guest *guest);
void guest_assigned_stop(struct guest *guest);

/* False: *again is the TSC at which to ask again. On the CPU of the guest's vCPU 0. */
bool guest_assigned_is_ready(struct guest *guest, uint64_t now, uint64_t *again);

/* After CPU_FLAG_DEVICES, on the CPU that has it: the guests' vCPUs are told. */
void guest_assigned_interrupts(struct cpu *cpu);

#endif
