/* SPDX-License-Identifier: MIT */
/*
 * `inventory = yes`: what this machine has, written to \plinth\machine.txt on the boot volume, where plinth-check
 * --machine reads it. One line per thing in the form `key = value`, the same reader as for plinth.conf.
 *
 * It is the map and the CPUs of the moment after the config was read: what is there for guests and their images. A
 * volume that cannot be written costs nothing but a sentence.
 */
#include "efi/efi_stage.h"
#include "hv/base/format.h"
#include "hv/host/budget.h"
#include "hv/host/host_cpu.h"
#include "hv/host/host_cpuid.h"
#include "hv/host/version.h"
#include "hv/iommu/iommu.h"
#include "hv/virt/virt.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define INVENTORY_BYTES (128 * KIB)
#define LINE_BYTES 400u
#define CPUID_SERIAL_NUMBER 3u /* SDM 2A "CPUID", "INPUT EAX = 03H" */
#define MTRR_CAP_HAS_FIXED (1ULL << 8)
/* Words of VMX. SDM 3D A.1 to A.10. */
#define MSR_AMD_VM_CR 0xc0010114u
#define MSR_VMX_BASIC 0x480u
#define MSR_VMX_PROCBASED 0x482u
#define MSR_VMX_VMCS_ENUM 0x48au
#define MSR_VMX_PROCBASED2 0x48bu
#define MSR_VMX_EPT_VPID 0x48cu
#define MSR_VMX_TRUE_FIRST 0x48du
#define MSR_VMX_TRUE_LAST 0x490u
#define VMX_BASIC_TRUE (1ULL << 55)
#define VMX_ALLOWS_SECONDARY (1ULL << 63)
#define VMX_ALLOWS_EPT_OR_VPID (1ULL << 33 | 1ULL << 37)
#define CPUID_7_EBX_TSC_ADJUST (1u << 1)

struct inventory {
    char *text;
    size_t length;
};

__attribute__((format(printf, 2, 3))) static void add(struct inventory *inventory, const char *form, ...)
{
    char line[LINE_BYTES];
    va_list list;
    size_t length;

    va_start(list, form);
    length = format_list(line, sizeof(line), form, list);
    va_end(list);
    if (length <= INVENTORY_BYTES - inventory->length) {
        memcpy(inventory->text + inventory->length, line, length);
        inventory->length += length;
    }
}

static void add_cpus(struct inventory *inventory, const struct efi_stage *stage)
{
    const struct boot_info *info = stage->info;
    char name[HOST_CPU_NAME_BYTES];
    uint32_t healthy = 0;

    host_cpu_name(name);
    add(inventory, "cpu-name = %s\n", name);
    add(inventory, "virtualization = %s\n", stage->support.vendor == VIRT_VMX ? "vmx" : "svm");
    add(inventory, "features = %s\n", stage->support.used);
    add(inventory, "largest-leaf = %s\n", stage->support.caps.largest_leaf == LEVEL_1G ? "1G" : "2M");
    add(inventory, "nested-paging = %s\n", stage->support.nested_paging ? "yes" : "no");
    if (efi_machine_is_virtual(stage)) {
        add(inventory, "virtual = yes\n");
    }
    for (uint32_t i = 0; i < info->cpu_count; i++) {
        healthy += info->cpus[i].healthy;
    }
    add(inventory, "cpus = %u\n", healthy);
    for (uint32_t i = 0; i < info->cpu_count; i++) {
        const struct boot_cpu *cpu = &info->cpus[i];

        add(inventory, "cpu = %u apic %u package %u core %u thread %u", i, cpu->apic_id, cpu->package, cpu->core,
            cpu->thread);
        if (numa_is_known(&info->numa)) {
            add(inventory, " node %u", cpu->node);
        }
        if (cpu->kind != CPU_KIND_ANY) {
            add(inventory, " kind %s", config_cpu_kind_name(cpu->kind));
        }
        add(inventory, "%s\n", cpu->healthy ? "" : " broken");
    }
}

/* Which memory is near which CPUs: SRAT and SLIT. */
static void add_nodes(struct inventory *inventory, const struct numa_map *numa)
{
    for (uint32_t i = 0; numa_is_known(numa) && i < numa->range_count; i++) {
        const struct numa_range *range = &numa->ranges[i];

        add(inventory, "node = %u 0x%" PRIx64 " 0x%" PRIx64 "\n", range->node, range->start, range->end);
    }
    for (uint32_t from = 0; numa_is_known(numa) && from < numa->node_count; from++) {
        for (uint32_t to = 0; to < numa->node_count; to++) {
            add(inventory, "distance = %u %u %u\n", from, to, numa_distance(numa, from, to));
        }
    }
}

/* Every leaf of the boot CPU but the one that had a serial number. */
static void add_cpuid(struct inventory *inventory)
{
    static struct cpuid_host cpuid; /* 3 KiB: too large for a good stack frame */

    host_cpuid_capture(&cpuid);
    for (uint32_t i = 0; i < cpuid.count; i++) {
        const struct cpuid_entry *entry = &cpuid.entries[i];

        if (entry->leaf != CPUID_SERIAL_NUMBER) {
            add(inventory, "cpuid = 0x%x %u 0x%08x 0x%08x 0x%08x 0x%08x\n", entry->leaf, entry->subleaf,
                entry->words.eax, entry->words.ebx, entry->words.ecx, entry->words.edx);
        }
    }
}

static void add_msr(struct inventory *inventory, uint32_t msr)
{
    add(inventory, "msr = 0x%x 0x%" PRIx64 "\n", msr, insn_rdmsr(msr));
}

/* The words of VMX or SVM, each where a bit of CPUID or of another word says that it is there: a fault here would be
 * the firmware's to show. SDM 3D A.1 to A.10; APM 2 15.30.1. */
static void add_virtualization(struct inventory *inventory, bool vmx)
{
    uint64_t basic;

    if (!vmx) {
        add_msr(inventory, MSR_AMD_VM_CR);
        return;
    }
    basic = insn_rdmsr(MSR_VMX_BASIC);
    add_msr(inventory, MSR_FEATURE_CONTROL);
    for (uint32_t msr = MSR_VMX_BASIC; msr <= MSR_VMX_VMCS_ENUM; msr++) {
        add_msr(inventory, msr);
    }
    if ((insn_rdmsr(MSR_VMX_PROCBASED) & VMX_ALLOWS_SECONDARY) != 0) {
        add_msr(inventory, MSR_VMX_PROCBASED2);
        if ((insn_rdmsr(MSR_VMX_PROCBASED2) & VMX_ALLOWS_EPT_OR_VPID) != 0) {
            add_msr(inventory, MSR_VMX_EPT_VPID);
        }
    }
    for (uint32_t msr = MSR_VMX_TRUE_FIRST; (basic & VMX_BASIC_TRUE) != 0 && msr <= MSR_VMX_TRUE_LAST; msr++) {
        add_msr(inventory, msr);
    }
}

static void add_mtrrs(struct inventory *inventory)
{
    static const uint32_t fixed[] = {MSR_MTRR_FIX_64K_00000, MSR_MTRR_FIX_16K_80000, MSR_MTRR_FIX_16K_A0000};
    struct mtrr_state state;

    host_cpu_read_mtrrs(&state);
    if (!state.present) {
        return;
    }
    add_msr(inventory, MSR_MTRR_CAP);
    add_msr(inventory, MSR_MTRR_DEF_TYPE);
    for (uint32_t i = 0; i < MTRR_FIXED_REGISTERS && (insn_rdmsr(MSR_MTRR_CAP) & MTRR_CAP_HAS_FIXED) != 0; i++) {
        uint32_t msr = i < ARRAY_COUNT(fixed) ? fixed[i] : MSR_MTRR_FIX_4K_C0000 + i - (uint32_t)ARRAY_COUNT(fixed);

        add(inventory, "msr = 0x%x 0x%" PRIx64 "\n", msr, state.fixed[i]);
    }
    for (uint32_t i = 0; i < state.variable_count; i++) {
        add(inventory, "msr = 0x%x 0x%" PRIx64 "\nmsr = 0x%x 0x%" PRIx64 "\n", MSR_MTRR_PHYS_BASE(i),
            state.variable[i].base, MSR_MTRR_PHYS_MASK(i), state.variable[i].mask);
    }
}

static void add_registers(struct inventory *inventory, const struct efi_stage *stage)
{
    bool leaf7 = insn_cpuid(CPUID_VENDOR, 0).eax >= CPUID_EXTENDED_FEATURES;

    add(inventory, "microcode = 0x%x\n", host_cpu_identity().microcode);
    add_virtualization(inventory, stage->support.vendor == VIRT_VMX);
    add_mtrrs(inventory);
    if (leaf7 && (insn_cpuid(CPUID_EXTENDED_FEATURES, 0).ebx & CPUID_7_EBX_TSC_ADJUST) != 0) {
        add_msr(inventory, MSR_TSC_ADJUST);
    }
    if (leaf7 && (insn_cpuid(CPUID_EXTENDED_FEATURES, 0).edx & CPUID_7_EDX_ARCH_CAPABILITIES) != 0) {
        add_msr(inventory, MSR_ARCH_CAPABILITIES);
    }
}

static void add_tables(struct inventory *inventory, const struct efi_stage *stage)
{
    const struct host_acpi *acpi = &stage->acpi;

    add(inventory, "acpi = %s, %u CPUs, %u I/O APICs, PM timer %s, reset register %s, soft-off %s, %u serial ports\n",
        acpi->found ? "found" : "missing", acpi->cpu_count, acpi->ioapic_count, acpi->pm_timer_port != 0 ? "yes" : "no",
        acpi->has_reset ? "yes" : "no", acpi->has_sleep_s5 ? "yes" : "no", acpi->uart_count);
    if (acpi->problem[0] != '\0') {
        add(inventory, "# %s\n", acpi->problem);
    }
}

static void add_consoles(struct inventory *inventory, const struct boot_info *info)
{
    for (uint32_t i = 0; i < info->uart_count; i++) {
        add(inventory, "uart = %s 0x%" PRIx64 "\n", info->uarts[i].mmio ? "memory" : "port", info->uarts[i].base);
    }
    if (info->framebuffer.format != BOOT_PIXEL_NONE) {
        add(inventory, "screen = %u x %u at 0x%" PRIx64 "\n", info->framebuffer.width, info->framebuffer.height,
            info->framebuffer.base);
    }
}

/* "PCI Code and ID Assignment Specification" 1.11, 1. */
static const char *class_name(uint32_t class_code)
{
    static const char *const names[] = {
        "old device",       "disk controller", "network card",  "display",      "multimedia",      "memory",
        "bridge",           "serial or modem", "system device", "input device", "docking station", "CPU",
        "serial bus (USB)", "radio",           "I/O processor", "satellite",    "encryption",      "signal processing"};
    uint32_t base = class_code >> 16;

    return base < ARRAY_COUNT(names) ? names[base] : "other device";
}

static void add_pci(void *context, const struct efi_pci_function *function)
{
    add(context, "pci = %02x:%02x.%u %04x:%04x class %06x, %s, bars 0x%x 0x%x\n", function->bus, function->device,
        function->function, function->vendor, function->product, function->class_code, class_name(function->class_code),
        function->bars[0], function->bars[1]);
}

static void add_memory(struct inventory *inventory, const struct memory_map *map)
{
    static const char *const types[] = {"free", "boot", "loader", "acpi", "reserved", "mmio"};
    _Static_assert(ARRAY_COUNT(types) == MEMORY_MMIO + 1, "a word for every type");

    for (uint32_t i = 0; i < map->count; i++) {
        const struct memory_region *region = &map->regions[i];

        add(inventory, "region = 0x%" PRIx64 " 0x%" PRIx64 " %s\n", region->start, region->end, types[region->type]);
    }
}

/* What the hypervisor takes for itself: the pool's size depends on how much there is to map. */
static void add_own(struct inventory *inventory, struct efi_stage *stage)
{
    const struct budget_vendor vendor = {virt_cpu_bytes(), virt_vcpu_bytes(), iommu_bytes(&stage->acpi)};
    struct planner_own own;

    stage->info->memory = stage->map;
    budget_own(stage->info, &vendor, &own);
    add(inventory, "hypervisor = fixed %" PRIu64 " guest %" PRIu64 " vcpu %" PRIu64 "\n", own.fixed_bytes,
        own.guest_bytes, own.vcpu_bytes);
}

bool efi_inventory_write(struct efi_stage *stage)
{
    struct inventory inventory = {0};
    uint64_t address = 0;

    if (!stage->info->config.inventory) {
        return true;
    }
    if (!efi_map_snapshot(stage)) {
        return false;
    }
    if (EFI_ERROR(efi_pages_take(stage, AllocateAnyPages, INVENTORY_BYTES / PAGE_BYTES, &address))) {
        return true;
    }
    inventory.text = (char *)(uintptr_t)address;
    add(&inventory, "# This machine as Plinth %s found it. plinth-check --machine reads this file.\n", plinth_version);
    add_cpus(&inventory, stage);
    add_nodes(&inventory, &stage->info->numa);
    add_cpuid(&inventory);
    add_registers(&inventory, stage);
    add_tables(&inventory, stage);
    add_consoles(&inventory, stage->info);
    efi_pci_each(add_pci, &inventory);
    add_own(&inventory, stage);
    add_memory(&inventory, &stage->map);
    if (efi_volume_write(stage, EFI_MACHINE_PATH, (struct text){inventory.text, inventory.length})) {
        efi_say(stage, "Plinth: wrote %s", EFI_MACHINE_PATH);
    }
    efi_pages_return(stage, address);
    return true;
}
