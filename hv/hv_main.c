/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's start after the hand-over, as a table of contents: first what is needed to say anything, then what
 * is needed to survive a mistake, then the machine, then the guests. Nothing below returns to the firmware.
 */
#include "config/parse.h"
#include "hv/base/check.h"
#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/boot_info.h"
#include "hv/console/console.h"
#include "hv/guest/assigned.h"
#include "hv/guest/create.h"
#include "hv/guest/end.h"
#include "hv/guest/operator.h"
#include "hv/host/cpu.h"
#include "hv/host/cpu_features.h"
#include "hv/host/cpu_idle.h"
#include "hv/host/cpu_limits.h"
#include "hv/host/cpu_watch.h"
#include "hv/host/entropy.h"
#include "hv/host/fault.h"
#include "hv/host/host_acpi.h"
#include "hv/host/host_apic.h"
#include "hv/host/host_cpu.h"
#include "hv/host/host_cpuid.h"
#include "hv/host/host_devices.h"
#include "hv/host/host_irq.h"
#include "hv/host/host_memory.h"
#include "hv/host/machine_check.h"
#include "hv/host/panic.h"
#include "hv/host/pool.h"
#include "hv/host/power.h"
#include "hv/host/report.h"
#include "hv/host/smp.h"
#include "hv/host/speculation.h"
#include "hv/host/traps.h"
#include "hv/host/tsc.h"
#include "hv/host/version.h"
#include "hv/iommu/iommu.h"
#include "hv/policy/msr_policy.h"
#include "hv/run/cpu_loop.h"
#include "hv/virt/virt.h"
#include "hv/x86/registers.h"

static struct host_acpi acpi;
static struct virt_support support;
static struct host_facts host;
static enum config_speculation speculation_wanted;

static void take_over_cpu(const struct boot_info *info);
static void choose_virtualization(const struct boot_info *info);
static void take_over_interrupts(const struct boot_info *info);
static void calibrate_clock(const struct boot_info *info);
static void take_over_devices(const struct boot_info *info);
static void open_screen_and_keyboard(const struct boot_info *info);
static void describe_host(void);
static void start_cpus(const struct boot_info *info);
static void create_guests(const struct boot_info *info);
static void run_cpu(struct cpu *cpu);

/* On our own stack. */
static void start(void *argument)
{
    const struct boot_info *info = argument;

    log_info("Plinth %s", plinth_version);
    take_over_cpu(info);
    fault_at("cpu");
    choose_virtualization(info);
    take_over_interrupts(info);
    fault_at("interrupts");
    calibrate_clock(info);
    take_over_devices(info);
    power_take_button();
    open_screen_and_keyboard(info);
    describe_host();
    report_memory(info);
    start_cpus(info);
    create_guests(info);
    fault_at("guests");
    report_time(info, &host.clock);
    cpu_watch_start(&host.clock);
    smp_release();
    run_cpu(cpu_this());
}

/* On the firmware's stack and tables. Interrupts stay off until a CPU waits for its first one. */
static void init_reporting(const struct boot_info *info)
{
    insn_cli();
    cpu_bind(&cpus[0]);
    console_init(info);
    hv_panic_init(info->image_start, info->image_end);
}

_Noreturn void hv_refused(struct boot_info *info)
{
    init_reporting(info);
    hv_panic(PANIC_HANDOVER, "the firmware does not hand the machine over (ExitBootServices)");
}

_Noreturn void hv_main(struct boot_info *info)
{
    init_reporting(info);
    if (info->version != BOOT_INFO_VERSION) {
        hv_panic(PANIC_BOOT_INFO, "the loader's boot information has version %u, %u is wanted", info->version,
                 BOOT_INFO_VERSION);
    }
    pool_init(info->pool_start, info->pool_bytes);
    smp_assign(info);
    descriptors_build_idt();
    stack_switch(cpus[smp_bsp_index()].stacks.main_top, start, info);
}

static void choose_virtualization(const struct boot_info *info)
{
    if (!virt_detect(&support)) {
        hv_panic(PANIC_VIRT, "%s", support.missing);
    }
    quirks_choose(support.emulator, support.vendor == VIRT_VMX, info->config.quirks, &host.quirks);
    report_cpu(&support, &host.quirks);
}

/* ACPI is read on the firmware's page tables, because its tables may lie in any memory; our own tree then has what is
 * needed of the machine. */
static void take_over_cpu(const struct boot_info *info)
{
    struct cpu *cpu = &cpus[smp_bsp_index()];
    struct host_range windows[HOST_DEVICE_WINDOWS_MAX];
    struct host_places places = {.windows = windows};

    descriptors_load(&cpu->descriptors, (uint64_t)(uintptr_t)cpu);
    (void)host_acpi_read(&acpi, info->rsdp, 0, memory_map_top(&info->memory));
    iommu_read(&acpi);
    places.guard_count = smp_guards(&places.guards);
    places.window_count = host_devices_windows(info, &acpi, windows);
    host_memory_init(info, &places);
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

static void take_over_interrupts(const struct boot_info *info)
{
    if (!acpi.found) {
        log_info("the firmware has no ACPI tables");
    }
    if (acpi.problem[0] != '\0') {
        log_warning("%s", acpi.problem);
    }
    power_init(&acpi);
    host_apic_init_machine(&acpi, highest_apic_id(info));
    host_irq_init(&acpi);
    host_apic_init_cpu();
    cpu_this()->apic_id = host_apic_id();
}

static void calibrate_clock(const struct boot_info *info)
{
    struct tsc_calibration tsc = tsc_calibrate(&acpi, info->stall_hz);

    if (tsc.hz == 0) {
        hv_panic(PANIC_TSC, "the TSC's frequency could not be found: %s", tsc.note);
    }
    host_timer_calibrate();
    host.tsc_is_machines = support.passes_deadline && host_timer_is_deadline();
    console_set_tsc_hz(tsc.hz);
    host.clock = clock_of(tsc.hz);
    host.exit_ticks = clock_ns_to_ticks(&host.clock, EXIT_WORK_NS);
    host.tsc_khz = (uint32_t)(tsc.hz / 1000);
    host.tsc_stable = tsc.stable;
    host.boot_tsc = insn_rdtsc();
    host.boot_wall_ns = info->wall_clock_s * NS_PER_SECOND;
    log_info("TSC %u.%03u MHz (%s), %s; %s", host.tsc_khz / 1000, host.tsc_khz % 1000, tsc.source,
             tsc.stable ? "stable" : "not stable: guests get the paravirtual clock", host_timer_name());
    if (tsc.note[0] != '\0') {
        log_warning("%s", tsc.note);
    }
    if (info->zone_guessed) {
        log_warning(
            "the machine's clock shows local time (`rtc = local`), and the firmware does not say of which zone: "
            "guests get it as UTC; write the zone behind it, such as `rtc = local +01:00`");
    }
}

/* First no device can reach memory, then each is told not to. */
static void take_over_devices(const struct boot_info *info)
{
    host_devices_find(&acpi);
    iommu_start(info, host_apic_is_x2apic());
    host_devices_quiet(info);
}

/* Beside the screen: a machine without one is not typed on. */
static void open_screen_and_keyboard(const struct boot_info *info)
{
    if (info->framebuffer.format == BOOT_PIXEL_NONE || !info->config.console_screen) {
        return;
    }
    console_say_screen(&info->framebuffer);
    if (config_keyboard_guest(&info->config) != NULL) {
        log_info("keyboard: a guest's");
        return;
    }
    log_info("keyboard: %s", host_acpi_may_have_8042(&acpi) && console_open_keyboard()
                                 ? "PS/2, US layout; what is typed goes to the console"
                                 : "no PS/2 keyboard answers (a USB keyboard is not the hypervisor's to use)");
}

static void describe_host(void)
{
    host.is_intel = support.vendor == VIRT_VMX;
    host.physical_bits = host_cpu_paging_caps().physical_bits;
    host_cpuid_capture(&host.cpuid);
    (void)cpu_features_note(cpu_this(), &host.cpuid); /* it has what it has itself */
    host.spec_ctrl = speculation_offers_control();
    host.arch_capabilities = msr_arch_capabilities_shown(host_cpu_arch_capabilities());
    host.microcode = host_cpu_identity().microcode;
    host.gib_pages = (cpuid_host_words(&host.cpuid, CPUID_EXTENDED_1, 0).edx & CPUID_81_EDX_GIB_PAGES) != 0;
}

static const char *prepare_cpu(struct cpu *cpu)
{
    (void)cpu_limits_lift();
    (void)host_cpu_apply_errata();
    speculation_start(cpu, speculation_wanted);
    host.spec_ctrl = host.spec_ctrl && speculation_offers_control();
    host.arch_capabilities = msr_arch_capabilities_join(host.arch_capabilities, host_cpu_arch_capabilities());
    machine_check_start(cpu->index);
    cpu_idle_start(cpu);
    return cpu_features_note(cpu, &host.cpuid) && virt_enable(cpu, cpu->vendor) ? NULL : cpu->why;
}

static void run_cpu(struct cpu *cpu)
{
    if (!cpu->bsp) {
        fault_at("second-cpu");
    }
    cpu_loop_run(cpu);
}

static const struct smp_start_steps cpu_steps = {.prepare = prepare_cpu, .run = run_cpu};

/* An emulator's CPU says that it is one of a maker's, whose answers would only slow it down. */
static enum config_speculation wanted_speculation(const struct boot_info *info)
{
    bool emulated = support.emulator != EMULATOR_NONE && info->config.speculation == SPECULATION_AUTO;

    return emulated ? SPECULATION_NONE : info->config.speculation;
}

static void start_cpus(const struct boot_info *info)
{
    uint32_t ready;

    for (uint32_t i = 0; i < cpu_count; i++) {
        cpus[i].vendor = pool_take(virt_cpu_bytes());
    }
    if (host_cpu_apply_errata()) {
        log_info("C1E is switched off on every CPU: it stops this CPU's APIC timer (AMD erratum 400)");
    }
    speculation_wanted = wanted_speculation(info);
    speculation_start(cpu_this(), speculation_wanted);
    cpu_idle_start(cpu_this());
    if (!virt_enable(cpu_this(), cpu_this()->vendor)) {
        hv_panic(PANIC_VIRT, "the boot CPU: %s", cpu_this()->why);
    }
    ready = smp_start(info, &cpu_steps);
    speculation_report(cpu_this(), speculation_wanted);
    cpu_idle_report(cpu_this());
    host.tsc_stable = host.tsc_stable && smp_tsc_agrees();
    log_info("CPUs: %u of %u ready, %s", ready, cpu_count, host_apic_is_x2apic() ? "x2APIC" : "xAPIC");
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
    host_entropy_start(info->random);
    guest_create_all(info, &support, &host);
    iommu_audit(info);
    guest_end_init(info);
    operator_init();
    cpu_loop_assign(info);
    for (uint32_t i = 0; i < guest_count; i++) {
        report_guest(guests[i], info);
        if (guest_assigned_problem(guests[i]) != NULL) {
            guest_end_without_device(guests[i]);
        } else {
            refuse_without_cpu(guests[i]);
        }
    }
    log_debug("pool: %" PRIu64 " KiB used, %" PRIu64 " KiB left", pool_used() / KIB, pool_left() / KIB);
}
