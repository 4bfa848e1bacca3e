/* SPDX-License-Identifier: MIT */
/*
 * `inventory = yes`: what this machine has, written to \plinth\machine.txt on the boot volume, where plinth-check
 * --machine reads it. One line per thing in the form `key = value`, the same reader as for plinth.conf.
 *
 * It is the map and the CPUs of the moment after the config was read: what is there for guests and their images. A
 * volume that cannot be written costs nothing but a sentence.
 */
#include "efi/efi_inventory.h"
#include "hv/base/format.h"
#include "hv/host/budget.h"
#include "hv/host/host_cpu.h"
#include "hv/host/version.h"
#include "hv/iommu/iommu.h"
#include "hv/virt/virt.h"

#define COM2_PORT 0x2f8u
#define INVENTORY_BYTES (512 * KIB) /* plinth-check reads up to 1 MiB */
#define LINE_BYTES 400u
void inventory_add(struct inventory *inventory, const char *form, ...)
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
    inventory_add(inventory, "cpu-name = %s\n", name);
    inventory_add(inventory, "virtualization = %s\n", stage->support.vendor == VIRT_VMX ? "vmx" : "svm");
    inventory_add(inventory, "features = %s\n", stage->support.used);
    inventory_add(inventory, "largest-leaf = %s\n", stage->support.caps.largest_leaf == LEVEL_1G ? "1G" : "2M");
    inventory_add(inventory, "nested-paging = %s\n", stage->support.nested_paging ? "yes" : "no");
    if (efi_machine_has_code_erratum(stage)) {
        inventory_add(inventory, "code-erratum = yes\n");
    }
    if (efi_machine_is_virtual(stage)) {
        inventory_add(inventory, "virtual = yes\n");
    }
    for (uint32_t i = 0; i < info->cpu_count; i++) {
        healthy += info->cpus[i].healthy;
    }
    inventory_add(inventory, "cpus = %u\n", healthy);
    for (uint32_t i = 0; i < info->cpu_count; i++) {
        const struct boot_cpu *cpu = &info->cpus[i];

        inventory_add(inventory, "cpu = %u apic %u package %u core %u thread %u", i, cpu->apic_id, cpu->package,
                      cpu->core, cpu->thread);
        if (numa_is_known(&info->numa)) {
            inventory_add(inventory, " node %u", cpu->node);
        }
        if (cpu->kind != CPU_KIND_ANY) {
            inventory_add(inventory, " kind %s", config_cpu_kind_name(cpu->kind));
        }
        inventory_add(inventory, "%s\n", cpu->healthy ? "" : " broken");
    }
}

/* Which memory is near which CPUs: SRAT and SLIT. */
static void add_nodes(struct inventory *inventory, const struct numa_map *numa)
{
    for (uint32_t i = 0; numa_is_known(numa) && i < numa->range_count; i++) {
        const struct numa_range *range = &numa->ranges[i];

        inventory_add(inventory, "node = %u 0x%" PRIx64 " 0x%" PRIx64 "\n", range->node, range->start, range->end);
    }
    for (uint32_t from = 0; numa_is_known(numa) && from < numa->node_count; from++) {
        for (uint32_t to = 0; to < numa->node_count; to++) {
            inventory_add(inventory, "distance = %u %u %u\n", from, to, numa_distance(numa, from, to));
        }
    }
}

static void add_tables(struct inventory *inventory, const struct efi_stage *stage)
{
    const struct host_acpi *acpi = &stage->acpi;

    inventory_add(
        inventory, "acpi = %s, %u CPUs, %u I/O APICs, PM timer %s, reset register %s, soft-off %s, %u serial ports\n",
        acpi->found ? "found" : "missing", acpi->cpu_count, acpi->ioapic_count, acpi->pm_timer_port != 0 ? "yes" : "no",
        acpi->has_reset ? "yes" : "no", acpi->has_sleep_s5 ? "yes" : "no", acpi->uart_count);
    if (acpi->problem[0] != '\0') {
        inventory_add(inventory, "# %s\n", acpi->problem);
    }
}

static void add_taken(struct inventory *inventory, const struct efi_stage *stage)
{
    static struct config_machine machine;

    efi_direct_machine(stage, &machine);
    for (uint32_t i = 0; i < machine.taken_count; i++) {
        const struct config_taken *taken = &machine.taken[i];

        inventory_add(inventory, "taken = %s 0x%" PRIx64 " 0x%" PRIx64 " %s\n", taken->ports ? "ports" : "memory",
                      taken->start, taken->end, config_taken_word(taken->kind));
    }
}

/* COM2 too where a guest has it. */
static void add_consoles(struct inventory *inventory, const struct efi_stage *stage)
{
    const struct boot_info *info = stage->info;

    if (stage->has_com2 && config_ports_given(&info->config, COM2_PORT, COM2_PORT)) {
        inventory_add(inventory, "uart = port 0x%x\n", COM2_PORT);
    }
    for (uint32_t i = 0; i < info->uart_count; i++) {
        inventory_add(inventory, "uart = %s 0x%" PRIx64 "\n", info->uarts[i].mmio ? "memory" : "port",
                      info->uarts[i].base);
    }
    inventory_add(inventory, "keyboard = %s\n", host_acpi_may_have_8042(&stage->acpi) ? "ps2" : "none");
    if (info->framebuffer.format != BOOT_PIXEL_NONE) {
        inventory_add(inventory, "screen = %u x %u at 0x%" PRIx64 " bytes 0x%" PRIx64 "\n", info->framebuffer.width,
                      info->framebuffer.height, info->framebuffer.base,
                      (uint64_t)info->framebuffer.stride_pixels * info->framebuffer.bytes_per_pixel *
                          info->framebuffer.height);
    }
}

static void add_memory(struct inventory *inventory, const struct memory_map *map)
{
    static const char *const types[] = {"free", "boot", "loader", "acpi", "reserved", "mmio"};
    _Static_assert(ARRAY_COUNT(types) == MEMORY_MMIO + 1, "a word for every type");

    for (uint32_t i = 0; i < map->count; i++) {
        const struct memory_region *region = &map->regions[i];

        inventory_add(inventory, "region = 0x%" PRIx64 " 0x%" PRIx64 " %s\n", region->start, region->end,
                      types[region->type]);
    }
}

/* What the hypervisor takes for itself: the pool's size depends on how much there is to map. */
static void add_own(struct inventory *inventory, struct efi_stage *stage)
{
    const struct budget_vendor vendor = {virt_cpu_bytes(), virt_vcpu_bytes(), iommu_bytes(&stage->acpi)};
    struct planner_own own;

    stage->info->memory = stage->map;
    budget_own(stage->info, &vendor, &own);
    inventory_add(inventory, "hypervisor = fixed %" PRIu64 " guest %" PRIu64 " vcpu %" PRIu64 "\n", own.fixed_bytes,
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
    inventory_add(&inventory, "# This machine as Plinth %s found it. plinth-check --machine reads this file.\n",
                  plinth_version);
    add_cpus(&inventory, stage);
    add_nodes(&inventory, &stage->info->numa);
    inventory_add_cpus(&inventory, stage);
    add_tables(&inventory, stage);
    add_consoles(&inventory, stage);
    add_taken(&inventory, stage);
    inventory_add_devices(&inventory, stage);
    add_own(&inventory, stage);
    add_memory(&inventory, &stage->map);
    if (efi_volume_write(stage, EFI_MACHINE_PATH, (struct text){inventory.text, inventory.length})) {
        efi_say(stage, "Plinth: wrote %s", EFI_MACHINE_PATH);
    }
    efi_pages_return(stage, address);
    return true;
}
