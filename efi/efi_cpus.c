/* SPDX-License-Identifier: MIT */
/*
 * The CPUs of the machine: MP services where the firmware has them, else the MADT, else the one that we run on.
 *
 * The order is the numbering that plinth.conf uses: the CPU that the firmware started on is number 0, then the healthy
 * ones in the firmware's order, then those that it calls disabled or broken, which no guest may use.
 */
#include "efi/efi_stage.h"
#include "hv/host/cpu_kind.h"

/* EFI_MP_SERVICES_PROTOCOL: UEFI Platform Initialization 1.7, volume 2, 13.4 "MP Services Protocol". Only the functions
 * that we call are typed. */
struct mp_cpu {
    uint64_t apic_id;
    uint32_t flags;
    uint32_t package, core, thread;
    uint32_t extended[6];
};

#define MP_CPU_BSP (1u << 0)
#define MP_CPU_ENABLED (1u << 1)
#define MP_CPU_HEALTHY (1u << 2)
#define MP_CPU_USABLE (MP_CPU_ENABLED | MP_CPU_HEALTHY)

struct mp_services {
    EFI_STATUS(EFIAPI *count)(struct mp_services *services, UINTN *all, UINTN *enabled);
    EFI_STATUS(EFIAPI *describe)(struct mp_services *services, UINTN number, struct mp_cpu *cpu);
    void *start_all;
    EFI_STATUS(EFIAPI *start)
    (struct mp_services *services, void(EFIAPI *procedure)(void *argument), UINTN number, EFI_EVENT event,
     UINTN wait_us, void *argument, BOOLEAN *finished);
};

#define RUN_WAIT_US 100000u

static EFI_GUID mp_services_guid = {0x3fdda605, 0xa76e, 0x4f46, {0xad, 0x29, 0x12, 0xf4, 0x53, 0x1b, 0x3d, 0x08}};

enum cpu_rank { RANK_BSP, RANK_HEALTHY, RANK_BROKEN, RANKS };

static enum cpu_rank rank_of(const struct boot_cpu *cpu)
{
    if (cpu->is_bsp) {
        return RANK_BSP;
    }
    return cpu->healthy ? RANK_HEALTHY : RANK_BROKEN;
}

static bool is_listed(const struct boot_info *info, uint32_t apic_id)
{
    for (uint32_t i = 0; i < info->cpu_count; i++) {
        if (info->cpus[i].apic_id == apic_id) {
            return true;
        }
    }
    return false;
}

/* A machine with more CPUs than we can count uses the first ones. Tables that name an APIC id twice mean one CPU: a
 * second start would reset it under its guest. */
static void add_cpu(struct boot_info *info, const struct boot_cpu *cpu, enum cpu_rank rank)
{
    if (rank_of(cpu) == rank && info->cpu_count < CPUS_MAX && !is_listed(info, cpu->apic_id)) {
        info->cpus[info->cpu_count++] = *cpu;
    }
}

static void list_by_services(struct boot_info *info, struct mp_services *services, UINTN count)
{
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        for (UINTN i = 0; i < count; i++) {
            struct mp_cpu from = {0};
            struct boot_cpu cpu;

            if (EFI_ERROR(services->describe(services, i, &from))) {
                continue;
            }
            cpu = (struct boot_cpu){
                .apic_id = (uint32_t)from.apic_id,
                .is_bsp = (from.flags & MP_CPU_BSP) != 0,
                .healthy = (from.flags & MP_CPU_USABLE) == MP_CPU_USABLE || (from.flags & MP_CPU_BSP) != 0,
                .package = from.package,
                .core = from.core,
                .thread = from.thread,
            };
            add_cpu(info, &cpu, (enum cpu_rank)rank);
        }
    }
}

/* On the CPU that is asked. */
static void EFIAPI say_kind(void *argument)
{
    *(enum config_cpu_kind *)argument = cpu_kind_here();
}

static struct boot_cpu *cpu_of(struct boot_info *info, uint32_t apic_id)
{
    for (uint32_t i = 0; i < info->cpu_count; i++) {
        if (info->cpus[i].apic_id == apic_id) {
            return &info->cpus[i];
        }
    }
    return NULL;
}

/* A CPU says its kind only itself: the firmware lets each run a few instructions. Not done where all are alike. */
static void ask_kinds(struct boot_info *info, struct mp_services *services, UINTN count)
{
    for (UINTN i = 0; i < count; i++) {
        struct mp_cpu from = {0};
        struct boot_cpu *cpu;

        if (EFI_ERROR(services->describe(services, i, &from))) {
            continue;
        }
        cpu = cpu_of(info, (uint32_t)from.apic_id);
        if (cpu != NULL && cpu->is_bsp) {
            say_kind(&cpu->kind);
        } else if (cpu != NULL && cpu->healthy) {
            (void)services->start(services, say_kind, i, NULL, RUN_WAIT_US, &cpu->kind, NULL);
        }
    }
    info->kinds_known = true;
}

static void list_by_madt(struct boot_info *info, const struct host_acpi *acpi, uint32_t bsp_id)
{
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        for (uint32_t i = 0; i < acpi->cpu_count; i++) {
            struct boot_cpu cpu = {
                .apic_id = acpi->cpus[i].apic_id,
                .is_bsp = acpi->cpus[i].apic_id == bsp_id,
                .healthy = acpi->cpus[i].enabled,
            };

            /* An entry that is not enabled is a place where a CPU could be, not a CPU. ACPI 6.5, 5.2.12.2. */
            if (cpu.healthy) {
                add_cpu(info, &cpu, (enum cpu_rank)rank);
            }
        }
    }
}

/* CPUID 0xb EDX is the x2APIC id; without that leaf CPUID 1 EBX[31:24] is the 8-bit id. SDM 2A "CPUID". */
static uint32_t own_apic_id(void)
{
    if (insn_cpuid(0, 0).eax >= 0xb) {
        struct cpuid_result topology = insn_cpuid(0xb, 0);

        if (topology.ebx != 0) {
            return topology.edx;
        }
    }
    return insn_cpuid(1, 0).ebx >> 24;
}

static void take_nodes(struct boot_info *info, const struct host_acpi *acpi)
{
    info->numa = acpi->numa;
    for (uint32_t i = 0; i < info->cpu_count; i++) {
        uint32_t node = host_acpi_cpu_node(acpi, info->cpus[i].apic_id);

        info->cpus[i].node = node != NUMA_NODE_NONE ? node : 0;
    }
}

bool efi_cpus_list(struct efi_stage *stage)
{
    struct boot_info *info = stage->info;
    void *services = NULL;
    UINTN count = 0;
    UINTN enabled = 0;

    if (!EFI_ERROR(stage->boot->LocateProtocol(&mp_services_guid, NULL, &services)) && services != NULL &&
        !EFI_ERROR(((struct mp_services *)services)->count(services, &count, &enabled))) {
        list_by_services(info, services, count);
    }
    if (info->cpu_count == 0) {
        list_by_madt(info, &stage->acpi, own_apic_id());
    }
    if (info->cpu_count != 0 && count != 0 && cpu_kind_is_mixed()) {
        ask_kinds(info, services, count);
    }
    /* Firmware that forgets the CPU it runs on knows nothing about the others either. */
    if (info->cpu_count == 0 || !info->cpus[0].is_bsp) {
        info->cpus[0] = (struct boot_cpu){.apic_id = own_apic_id(), .is_bsp = true, .healthy = true};
        info->cpu_count = 1;
    }
    take_nodes(info, &stage->acpi);
    return true;
}

bool efi_cpus_run(struct efi_stage *stage, uint32_t cpu, void(EFIAPI *procedure)(void *argument), void *argument)
{
    void *found = NULL;
    struct mp_services *services;
    UINTN count = 0;
    UINTN enabled = 0;

    if (EFI_ERROR(stage->boot->LocateProtocol(&mp_services_guid, NULL, &found)) || found == NULL) {
        return false;
    }
    services = found;
    if (EFI_ERROR(services->count(services, &count, &enabled))) {
        return false;
    }
    for (UINTN i = 0; i < count; i++) {
        struct mp_cpu from = {0};

        if (!EFI_ERROR(services->describe(services, i, &from)) && from.apic_id == stage->info->cpus[cpu].apic_id) {
            return !EFI_ERROR(services->start(services, procedure, i, NULL, RUN_WAIT_US, argument, NULL));
        }
    }
    return false;
}
