/* SPDX-License-Identifier: MIT */
/*
 * A device as the attacker: QEMU's `edu` (1234:11e8) copies between its own buffer and any address that its driver
 * names, and sends any message as its interrupt. No guest owns it here: the test build drives it, against a page of
 * each thing that must not change. What happened is said in one line, ATTACK; what the IOMMU says of it, in its own.
 *
 * QEMU, docs/specs/edu: BAR 0, registers from 0x80 on: source, destination, count, command (1: go, 2: from the device);
 * the buffer is at 0x40000 of the device's own addresses; writing 0x60 raises an interrupt.
 */
#include "tests/faults/attack_device.h"

#include "hv/base/log.h"
#include "hv/base/memory.h"
#include "hv/host/fault.h"
#include "hv/host/host_apic.h"
#include "hv/host/host_devices.h"
#include "hv/host/host_memory.h"
#include "hv/host/tsc.h"
#include "hv/iommu/iommu.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define EDU_ID 0x11e81234u
#define EDU_RAISE 0x60u
#define EDU_SOURCE 0x80u
#define EDU_TARGET 0x88u
#define EDU_COUNT 0x90u
#define EDU_COMMAND 0x98u
#define EDU_GO 1u
#define EDU_FROM_DEVICE 2u
#define EDU_BUFFER 0x40000u
#define EDU_BYTES 2048u /* of its 4096: QEMU ends where a copy touches the last one */
#define EDU_WAIT_MS 5000u
#define MSI_CAPABILITY 0x40u
#define MSI_ENABLE (1u << 16)
#define MSI_ADDRESS 0xfee00000u
#define MSI_REMAPPABLE 0x10u /* VT-d 5.1.2.2 "Interrupt Requests in Remappable Format"; index 0 */
#define MSI_VECTOR 0x42u
#define APIC_IRR 0x200u
#define POLL_MS 30u /* longer than iommu_poll()'s own time */

static struct {
    struct pci_address at;
    uint64_t registers;
    uint32_t changed, targets;
} edu;

static void find_edu(void *context, const struct pci_access *access, const struct pci_function *function)
{
    (void)context;
    if (((uint32_t)function->product << 16 | function->vendor) == EDU_ID) {
        edu.at = function->address;
        edu.registers = access->read(access->context, edu.at, PCI_BAR(0)) & ~0xfull;
        access->write(access->context, edu.at, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    }
}

static void poll(void)
{
    for (uint32_t ms = 0; ms < POLL_MS; ms++) {
        tsc_wait_us(1000);
    }
    iommu_poll(insn_rdtsc());
}

static void copy(uint64_t from, uint64_t to, uint32_t command)
{
    insn_mmio_write32(edu.registers + EDU_SOURCE, (uint32_t)from);
    insn_mmio_write32(edu.registers + EDU_TARGET, (uint32_t)to);
    insn_mmio_write32(edu.registers + EDU_COUNT, EDU_BYTES);
    insn_mmio_write32(edu.registers + EDU_COMMAND, command | EDU_GO);
    for (uint32_t ms = 0; ms < EDU_WAIT_MS && (insn_mmio_read32(edu.registers + EDU_COMMAND) & EDU_GO) != 0; ms++) {
        tsc_wait_us(1000);
    }
    poll();
}

static uint64_t sum_of(uint64_t page)
{
    const volatile uint64_t *words = (const volatile uint64_t *)(uintptr_t)page;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < EDU_BYTES / sizeof(uint64_t); i++) {
        sum = (sum ^ words[i]) * 0x100000001b3ULL; /* FNV-1a, by words */
    }
    return sum;
}

/* Reads a page, then writes what it has read, or had, over another one. What changed is put back: the report must come
 * out. */
static void attack(const char *what, uint64_t page)
{
    static uint8_t kept[EDU_BYTES];
    uint64_t before;

    page = align_down(page, EDU_BYTES);
    memcpy(kept, (const void *)(uintptr_t)page, EDU_BYTES);
    before = sum_of(page);
    copy(EDU_BUFFER, page, EDU_FROM_DEVICE);
    edu.targets++;
    if (sum_of(page) != before) {
        edu.changed++;
        memcpy((void *)(uintptr_t)page, kept, EDU_BYTES);
    }
    log_info("ATTACK %s at 0x%" PRIx64, what, page);
}

/* Both forms of a message; on a machine without a remapper the first one is an interrupt that the host never asked
 * for. */
static void attack_by_interrupt(const struct pci_access *access, uint32_t address, uint32_t data)
{
    access->write(access->context, edu.at, MSI_CAPABILITY + 4, 4, address);
    access->write(access->context, edu.at, MSI_CAPABILITY + 8, 4, 0);
    access->write(access->context, edu.at, MSI_CAPABILITY + 12, 2, data);
    access->write(access->context, edu.at, MSI_CAPABILITY + 2, 2, MSI_ENABLE >> 16);
    insn_mmio_write32(edu.registers + EDU_RAISE, 1);
    poll();
}

/* In the local APIC, with interrupts off: the interrupt request register. */
static bool is_requested(void)
{
    uint32_t word = MSI_VECTOR / 32;
    uint64_t irr = host_apic_is_x2apic() ? insn_rdmsr(MSR_X2APIC_FIRST + APIC_IRR / 16 + word)
                                         : insn_mmio_read32(MSI_ADDRESS + APIC_IRR + 16 * word);

    return (irr >> MSI_VECTOR % 32 & 1) != 0;
}

void attack_by_device(const struct boot_info *info, uint64_t nested_root)
{
    static uint64_t of_ours[512] __attribute__((aligned(4096)));
    const struct pci_access *access = host_devices_access();
    const struct pci_buses buses = {0, 0, 0};

    (void)pci_scan(access, &buses, 1, find_edu, NULL);
    if (edu.registers == 0 || !host_memory_map_device(edu.registers, EDU_BUFFER)) {
        log_error("ATTACK: there is no edu device");
        return;
    }
    memset(of_ours, 0xa5, sizeof(of_ours));
    copy((uint64_t)(uintptr_t)of_ours, EDU_BUFFER, 0); /* fills the buffer, where it may read */
    memset(of_ours, 0x3c, sizeof(of_ours));
    attack("the hypervisor's data", (uint64_t)(uintptr_t)of_ours);
    attack("a guest's nested tree", nested_root);
    attack("a guest's memory", info->guests[0].plan.memory.ranges[0].backing.value + MIB);
    if (iommu_protects()) { /* without, the CPU would be lost at once */
        attack("the host's page tables", insn_read_cr3());
    }
    attack_by_interrupt(access, MSI_ADDRESS, MSI_VECTOR);
    attack_by_interrupt(access, MSI_ADDRESS | MSI_REMAPPABLE, 0);
    log_info("ATTACK: %u of %u pages changed, %s", edu.changed, edu.targets,
             is_requested() ? "an interrupt came" : "no interrupt came");
}

/* From then on the device goes on against one page: the storm that is to be muted. */
void attack_without_end(uint32_t times)
{
    for (uint32_t i = 0; i < times && edu.registers != 0; i++) {
        copy(EDU_BUFFER, 0x100000, EDU_FROM_DEVICE);
    }
}
