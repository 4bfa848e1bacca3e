/*
 * The hypervisor's start after the hand-over, as a table of contents: first what is needed to say anything, then what
 * is needed to survive a mistake, then the machine, then the guests. Nothing below returns to the firmware.
 */
#include "hv/base/check.h"
#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/boot_info.h"
#include "hv/console.h"
#include "hv/cpu.h"
#include "hv/cpu_loop.h"
#include "hv/fault.h"
#include "hv/guest_create.h"
#include "hv/guest_end.h"
#include "hv/host_cpuid.h"
#include "hv/host_memory.h"
#include "hv/panic.h"
#include "hv/pool.h"
#include "hv/power.h"
#include "hv/smp.h"
#include "hv/version.h"
#include "hv/virt.h"
#include "hv/watchdog.h"
#include "hv/x86/acpi.h"
#include "hv/x86/host_apic.h"
#include "hv/x86/host_cpu.h"
#include "hv/x86/machine_check.h"
#include "hv/x86/registers.h"
#include "hv/x86/traps.h"
#include "hv/x86/tsc.h"

static struct acpi_tables acpi;
static struct virt_support support;
static struct machine machine;

static void start(void *info);

/* On the firmware's stack and tables. Interrupts stay off until a CPU waits for its first one. */
static void be_able_to_speak(const struct boot_info *info)
{
    insn_cli();
    cpu_bind(&cpus[0]);
    console_init(info);
    hv_panic_init(info->image_start, info->image_end);
}

_Noreturn void hv_refused(struct boot_info *info)
{
    be_able_to_speak(info);
    hv_panic(PANIC_HANDOVER, "the firmware does not hand the machine over (ExitBootServices)");
}

_Noreturn void hv_main(struct boot_info *info)
{
    be_able_to_speak(info);
    if (info->version != BOOT_INFO_VERSION) {
        hv_panic(PANIC_BOOT_INFO, "the loader's boot information has version %u, %u is wanted", info->version,
                 BOOT_INFO_VERSION);
    }
    pool_init(info->pool_start, info->pool_bytes);
    smp_assign(info);
    descriptors_build_idt();
    stack_switch(cpus[smp_bsp_index()].stacks.main_top, start, info);
}

static void report_cpu(void)
{
    char name[HOST_CPU_NAME_BYTES];

    host_cpu_name(name);
    log_info("%s: %s", name, support.used);
    if (support.without[0] != '\0') {
        log_info("not there: %s", support.without);
    }
}

static void choose_virtualization(void)
{
    if (!virt_detect(&support)) {
        hv_panic(PANIC_VIRT, "%s", support.missing);
    }
    report_cpu();
}

static void own_the_cpu(const struct boot_info *info)
{
    struct cpu *cpu = &cpus[smp_bsp_index()];

    descriptors_load(&cpu->descriptors, (uint64_t)(uintptr_t)cpu);
    host_memory_init(info);
    host_memory_report();
    machine_check_start(cpu->index);
}

static uint32_t highest_apic_id(const struct boot_info *info)
{
    uint32_t highest = 0;

    for (uint32_t i = 0; i < info->cpu_count; i++) {
        highest = (uint32_t)max_u64(highest, info->cpus[i].apic_id);
    }
    return highest;
}

static void own_the_interrupts(const struct boot_info *info)
{
    if (!acpi_read(&acpi, info->rsdp, 0, memory_map_top(&info->memory))) {
        log_info("the firmware has no ACPI tables");
    }
    if (acpi.problem[0] != '\0') {
        log_warning("%s", acpi.problem);
    }
    power_init(&acpi);
    host_apic_init_machine(&acpi, highest_apic_id(info));
    host_apic_init_cpu();
    cpu_this()->apic_id = host_apic_id();
}

static void know_the_time(const struct boot_info *info)
{
    struct tsc_calibration tsc = tsc_calibrate(&acpi);

    if (tsc.hz == 0) {
        hv_panic(PANIC_TSC, "the TSC's frequency could not be found: %s", tsc.note);
    }
    host_timer_calibrate();
    machine.clock = clock_of(tsc.hz);
    machine.tsc_khz = (uint32_t)(tsc.hz / 1000);
    machine.tsc_stable = tsc.stable;
    machine.boot_tsc = insn_rdtsc();
    machine.boot_wall_ns = info->wall_clock_s * NS_PER_SECOND;
    log_info("TSC %u.%03u MHz (%s), %s; %s", machine.tsc_khz / 1000, machine.tsc_khz % 1000, tsc.source,
             tsc.stable ? "stable" : "not stable: guests get the paravirtual clock", host_timer_name());
    if (tsc.note[0] != '\0') {
        log_warning("%s", tsc.note);
    }
}

static void describe_machine(void)
{
    machine.is_intel = support.vendor == VIRT_VMX;
    machine.physical_bits = host_cpu_paging_caps().physical_bits;
    host_cpuid_capture(&machine.cpuid);
    machine.gib_pages = (cpuid_host_words(&machine.cpuid, CPUID_EXTENDED_1, 0).edx & CPUID_81_EDX_GIB_PAGES) != 0;
}

static void report_memory(const struct boot_info *info)
{
    char free[FORMAT_BYTES_MAX];
    char ours[FORMAT_BYTES_MAX];

    log_info("memory: %s free or given to guests, %s for the hypervisor",
             format_bytes(free, memory_map_bytes(&info->memory, MEMORY_FREE) +
                                    memory_map_bytes(&info->memory, MEMORY_BOOT) +
                                    memory_map_bytes(&info->memory, MEMORY_LOADER)),
             format_bytes(ours, info->pool_bytes + (info->image_end - info->image_start)));
}

static void start_cpus(const struct boot_info *info)
{
    uint32_t ready;

    for (uint32_t i = 0; i < cpu_count; i++) {
        cpus[i].vendor = pool_take(virt_cpu_bytes());
    }
    if (!virt_enable(cpu_this(), cpu_this()->vendor)) {
        hv_panic(PANIC_VIRT, "the boot CPU: %s", cpu_this()->why);
    }
    ready = smp_start(info);
    log_info("CPUs: %u of %u ready, %s", ready, cpu_count, host_apic_is_x2apic() ? "x2APIC" : "xAPIC");
}

static void report_guest(const struct guest *guest, const struct boot_guest *boot)
{
    char memory[FORMAT_BYTES_MAX];
    char list[CONFIG_GUEST_CPUS_MAX * 4 + 1];
    size_t length = 0;

    list[0] = '\0';
    for (uint32_t i = 0; i < guest->vcpu_count; i++) {
        length +=
            format_text(list + length, sizeof(list) - length, "%s%u", i == 0 ? "" : ",", guest->vcpus[i].host_cpu);
    }
    log_info("guest %s: CPU %s, %s in %" PRIu64 " x 1 GiB, %" PRIu64 " x 2 MiB, %" PRIu64 " x 4 KiB, %" PRIu64
             " tables, costs %" PRIu64 " KiB beside its memory",
             guest->name, list, format_bytes(memory, guest->config->memory_bytes), boot->plan.leaves[LEVEL_1G],
             boot->plan.leaves[LEVEL_2M], boot->plan.leaves[LEVEL_4K], boot->plan.table_count, guest->cost_bytes / KIB);
}

/* A guest whose CPU did not come up is not started; the others are. */
static void refuse_without_cpu(struct guest *guest)
{
    for (uint32_t i = 0; i < guest->vcpu_count; i++) {
        const struct cpu *cpu = &cpus[guest->vcpus[i].host_cpu];

        if (!cpu_is_ready(cpu)) {
            guest_end_unstarted(guest, cpu);
            return;
        }
    }
}

static void create_guests(const struct boot_info *info)
{
    guest_create_all(info, &support, &machine);
    guest_end_init(info);
    cpu_loop_assign(info);
    for (uint32_t i = 0; i < guest_count; i++) {
        report_guest(guests[i], &info->guests[i]);
        refuse_without_cpu(guests[i]);
    }
    log_debug("pool: %" PRIu64 " KiB used, %" PRIu64 " KiB left", pool_used() / KIB, pool_left() / KIB);
}

/* Everything from the first instruction of efi_main, without the firmware's file reads. */
static void report_time(const struct boot_info *info)
{
    uint64_t us = clock_ticks_to_ns(&machine.clock, insn_rdtsc() - info->tsc_start - info->tsc_file_ticks) / 1000;

    log_info("start took %" PRIu64 ".%03" PRIu64 " ms without file reads; Ctrl-] ? lists the console's keys", us / 1000,
             us % 1000);
}

/* Every CPU must have the features that guests see: they were taken from the boot CPU's CPUID. One CPU starts at a
 * time. */
static bool has_features(struct cpu *cpu)
{
    static struct cpuid_host here;
    struct cpuid_lack lack;

    host_cpuid_capture(&here);
    if (!cpuid_policy_find_lack(&machine.cpuid, &here, &lack)) {
        return true;
    }
    format_text(cpu->why, sizeof(cpu->why),
                "it lacks features of the boot CPU: CPUID leaf 0x%x, eax 0x%x ebx 0x%x ecx 0x%x edx 0x%x", lack.leaf,
                lack.bits.eax, lack.bits.ebx, lack.bits.ecx, lack.bits.edx);
    return false;
}

const char *hv_cpu_prepare(struct cpu *cpu)
{
    machine_check_start(cpu->index);
    return has_features(cpu) && virt_enable(cpu, cpu->vendor) ? NULL : cpu->why;
}

_Noreturn void hv_cpu_start(struct cpu *cpu)
{
    if (!cpu->bsp) {
        fault_at("second-cpu");
    }
    cpu_loop_run(cpu);
}

/* On our own stack. */
static void start(void *argument)
{
    const struct boot_info *info = argument;

    log_info("Plinth %s", plinth_version);
    own_the_cpu(info);
    fault_at("cpu");
    choose_virtualization();
    own_the_interrupts(info);
    fault_at("interrupts");
    know_the_time(info);
    describe_machine();
    report_memory(info);
    start_cpus(info);
    create_guests(info);
    fault_at("guests");
    report_time(info);
    watchdog_start(&machine.clock);
    smp_release();
    hv_cpu_start(cpu_this());
}
