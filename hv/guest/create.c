/* SPDX-License-Identifier: MIT */
/*
 * Guests from the plan. Everything that can be wrong was checked before the hand-over with the same code, so what fails
 * here is our bug and a panic. Memory comes from the pool and is never given back; a restart uses it again.
 */
#include "hv/guest/create.h"

#include "guest-loader/loader.h"
#include "hv/base/log.h"
#include "hv/base/memory.h"
#include "hv/console/console.h"
#include "hv/core/guest_apic_page.h"
#include "hv/core/guest_devices.h"
#include "hv/core/guest_io.h"
#include "hv/core/guest_order.h"
#include "hv/core/guest_watchdog.h"
#include "hv/core/vcpu_reset.h"
#include "hv/dev/acpi_tables.h"
#include "hv/dev/bios_rom.h"
#include "hv/dev/bios_tables.h"
#include "hv/guest/assigned.h"
#include "hv/guest/direct.h"
#include "hv/guest/keyboard.h"
#include "hv/host/cpu.h"
#include "hv/host/cpu_features.h"
#include "hv/host/entropy.h"
#include "hv/host/fault.h"
#include "hv/host/panic.h"
#include "hv/host/pool.h"
#include "hv/plan/audit.h"
#include "hv/policy/cpuid_policy.h"
#include "hv/policy/cr4_policy.h"
#include "hv/virt/vcpu_switch.h"
#include "hv/x86/insn.h"

#define ROM_BYTES (GUEST_ACPI_END - GUEST_ACPI_START)
#define RSDP_BYTES 36u
#define FIRST_ASID 1u /* 0 is the host's. APM 2 15.16; SDM 3C 29.1 */

struct guest *guests[CONFIG_GUESTS_MAX];
uint32_t guest_count;

static const struct boot_info *boot;
static struct load_plan *load_plan; /* one for all guests: loaded one after the other */
static uint8_t *rom_buffer;
static struct page_table *nested_trees; /* one per guest */
static struct table_pool *nested_pools;
static struct small_code *small_codes;
static struct guest_shared *shared;    /* the config's [shared], in its order */
static struct guest_network *networks; /* those that the config names, by config_network_index() */

/* Memory that guests share holds no code; the right to write is set where it is mapped. */
static const struct page_attributes guest_share_attributes = {.read = true, .user = true, .cache = CACHE_WB};

/* Guest RAM is write-back and everything is allowed: what the guest's own tables say is the guest's business. */
static const struct page_attributes guest_ram_attributes = {
    .read = true, .write = true, .execute = true, .user = true, .cache = CACHE_WB};

/* The piece of shared memory with this number, as this guest has it. */
static struct guest_range share_range(const struct guest *guest, uint32_t index)
{
    const struct config_share *share = config_share_named(&boot->config, guest->config->shares[index].name);

    return (struct guest_range){gpa(GUEST_SHARE_START(index)), hpa(boot->shares[share - boot->config.shares]),
                                share->bytes};
}

static enum status map_shares(const struct guest *guest, struct page_table *tree, const struct virt_support *support)
{
    enum status status = STATUS_OK;
    enum page_flush flush;

    for (uint32_t i = 0; i < guest->config->share_count && status == STATUS_OK; i++) {
        struct guest_range range = share_range(guest, i);
        struct page_attributes attributes = guest_share_attributes;

        attributes.write = !guest->config->shares[i].read_only;
        status = page_table_map(tree, range.start.value, range.backing, range.bytes, attributes,
                                support->caps.largest_leaf, &flush);
    }
    return status;
}

/* May the CPU serve its local APICs in xAPIC mode? */
static bool wants_apic_page(const struct guest *guest, const struct virt_support *support)
{
    return support->apic_page && guest->config->virtual_apic && !guest->host->quirks.wrong_virtual_interrupts &&
           guest->shadow_tables == 0;
}

static void build_tree(struct guest *guest, const struct virt_support *support, const struct guest_plan *plan)
{
    struct page_table *tree = &nested_trees[guest->index];
    struct table_pool *pool = &nested_pools[guest->index];
    bool apic_page = wants_apic_page(guest, support);
    uint64_t pages = plan->table_count + (apic_page ? GUEST_APIC_PAGE_TABLES : 0);
    struct page_attributes attributes = guest_ram_attributes;
    enum page_flush flush;
    enum status status = table_pool_init(pool, 0, hpa((uint64_t)(uintptr_t)pool_take(pages * PAGE_BYTES)), pages);

    attributes.execute = !plan->small_code;
    if (status == STATUS_OK) {
        status = page_table_init(tree, support->format, &support->caps, pool);
    }
    for (uint32_t i = 0; i < guest->memory.range_count && status == STATUS_OK; i++) {
        const struct guest_range *range = &guest->memory.ranges[i];

        status = page_table_map(tree, range->start.value, range->backing, range->bytes, attributes,
                                support->caps.largest_leaf, &flush);
    }
    if (status == STATUS_OK) {
        status = map_shares(guest, tree, support);
    }
    if (status == STATUS_OK) {
        status = guest_direct_map(guest, boot, tree, support->caps.largest_leaf);
    }
    if (status == STATUS_OK && apic_page) {
        status = guest_apic_page_create(guest, tree, hpa((uint64_t)(uintptr_t)pool_take(PAGE_BYTES)));
    }
    if (status != STATUS_OK) {
        hv_panic(PANIC_GUEST_CREATE, "the nested page tables of guest %s cannot be built: %s", guest->name,
                 status_name(status));
    }
    guest->nested_root = tree->root.value;
    if (plan->small_code) {
        guest->small_code = &small_codes[guest->index];
        *guest->small_code = (struct small_code){.table = tree, .memory = &guest->memory};
    }
}

/* Whether another vCPU of the machine is on this CPU, too. */
static bool is_shared(uint32_t cpu)
{
    uint32_t vcpus = 0;

    for (uint32_t g = 0; g < boot->config.guest_count; g++) {
        for (uint32_t i = 0; i < boot->config.guests[g].cpu_count; i++) {
            vcpus += boot->config.guests[g].cpus[i] == cpu;
        }
    }
    return vcpus > 1;
}

static void create_vcpus(struct guest *guest, uint32_t first_asid)
{
    guest->vcpu_count = guest->config->cpu_count;
    guest->vcpus = pool_take(guest->vcpu_count * sizeof(struct vcpu));
    guest->asid = first_asid;
    for (uint32_t i = 0; i < guest->vcpu_count; i++) {
        struct vcpu *vcpu = &guest->vcpus[i];

        vcpu->guest = guest;
        vcpu->index = i;
        vcpu->host_cpu = guest->config->cpus[i];
        vcpu->shares_cpu = is_shared(vcpu->host_cpu);
        lapic_init(&vcpu->lapic, pool_take(sizeof(struct lapic_page)), i, i == 0, &guest->host->clock);
        vcpu_switch_init(vcpu, pool_take(vcpu_switch_bytes()));
        virt_vcpu_init(vcpu, pool_take(virt_vcpu_bytes()), &nested_trees[guest->index]);
        if (guest->shadow_tables != 0) {
            virt_vcpu_shadow(vcpu, pool_take(planner_shadow_pages(guest->shadow_tables, 1) * PAGE_BYTES),
                             guest->shadow_tables,
                             guest->small_code != NULL ? LEVEL_4K : nested_trees[guest->index].caps.largest_leaf);
        }
    }
}

static void create_console(struct guest *guest)
{
    uint64_t bytes = console_guest_bytes(&boot->config, guest->config);

    console_add_guest(guest, pool_take(bytes), bytes);
}

/* No byte of what had the memory before may be seen. */
static void clear_memory(struct guest *guest)
{
    for (uint32_t i = 0; i < guest->memory.range_count; i++) {
        guest_memory_zero(&guest->memory, guest->memory.ranges[i].start, guest->memory.ranges[i].bytes);
    }
}

static void create_devices(struct guest *guest)
{
    uint8_t key[RANDOM_KEY_BYTES];

    if (guest_devices_wanted(guest->config)) {
        bool has_key = host_entropy_key(key);

        guest_devices_create(guest, pool_take(guest_devices_bytes(guest->config)), &boot->config,
                             &boot->guests[guest->index], networks, shared, has_key ? key : NULL);
        memset(key, 0, sizeof(key));
    }
}

/* The registers of the machine's functions that it has. */
static void map_devices(struct guest *guest, const struct guest_plan *plan)
{
    enum status status = guest_assigned_map(guest, &nested_trees[guest->index], plan, guest->host->physical_bits);

    if (status != STATUS_OK) {
        hv_panic(PANIC_GUEST_CREATE, "the devices of guest %s cannot be mapped: %s", guest->name, status_name(status));
    }
}

/* What all CPUs of the guest have of the boot CPU's features. One guest is made at a time. */
static const struct cpuid_host *shared_cpuid(const struct guest *guest, const struct host_facts *host)
{
    static struct cpuid_host shared;

    shared = host->cpuid;
    for (uint32_t i = 0; i < guest->config->cpu_count; i++) {
        uint32_t cpu = guest->config->cpus[i];
        struct cpuid_lack lack;

        if (cpu_is_ready(&cpus[cpu]) && cpuid_policy_limit(&shared, cpu_features_of(cpu), &lack)) {
            log_info("guest %s: its CPUs are not alike: it sees what all of them have; CPU %u lacks CPUID leaf 0x%x, "
                     "eax 0x%x ebx 0x%x ecx 0x%x edx 0x%x; `cpus = %u performance` keeps it on one kind",
                     guest->name, cpu, lack.leaf, lack.bits.eax, lack.bits.ebx, lack.bits.ecx, lack.bits.edx,
                     guest->config->cpu_count);
        }
    }
    return &shared;
}

/* Nothing else runs yet. */
static void load_at_once(struct guest *guest)
{
    struct load_progress progress;

    guest_load_begin(guest, &progress);
    while (guest_load_piece(guest, &progress)) {
    }
    guest_load_end(guest);
}

static void create(struct guest *guest, const struct virt_support *support, const struct host_facts *host,
                   uint32_t first_asid)
{
    const struct guest_plan *plan = &boot->guests[guest->index].plan;
    struct cpuid_policy_input input = {
        .host = shared_cpuid(guest, host),
        .vcpu_count = guest->config->cpu_count,
        .tsc_khz = host->tsc_khz,
        .tsc_stable = host->tsc_stable,
        .is_intel = host->is_intel,
        .hide_xsavec = host->quirks.broken_xsavec,
        .hide_pcid = plan->shadow_tables != 0,
        .hide_tce = host->quirks.tce_refused,
        .spec_ctrl = host->spec_ctrl,
    };

    guest->host = host;
    guest->shadow_tables = plan->shadow_tables;
    guest->layout = plan->layout;
    guest->memory = plan->memory;
    guest->memory.window = 0;
    cpuid_policy_build(&input, &guest->cpuid);
    guest->cr4_allowed = cr4_allowed(&guest->cpuid);
    build_tree(guest, support, plan);
    guest_direct_create(guest);
    create_vcpus(guest, first_asid);
    create_console(guest);
    clear_memory(guest);
    create_devices(guest);
    map_devices(guest, plan);
    load_at_once(guest);
}

static enum audit_format audit_format_of(const struct virt_support *support)
{
    if (support->vendor == VIRT_VMX) {
        return AUDIT_EPT4;
    }
    return support->format == &page_table_npt5 ? AUDIT_NPT5 : AUDIT_NPT4;
}

/* What is ours and no guest may reach, beside what the memory map says of the firmware. */
static void audit_guests(const struct virt_support *support, const struct host_facts *host)
{
    static struct audit_tree trees[CONFIG_GUESTS_MAX];
    static struct audit_share shares[CONFIG_GUESTS_MAX][CONFIG_GUEST_SHARES_MAX];
    static struct guest_range devices[CONFIG_GUESTS_MAX][DIRECT_RANGES_MAX];
    static struct audit_finding finding;
    uint32_t device_count = 0;
    const struct audit_span ours[] = {
        {boot->image_start, boot->image_end},
        {boot->pool_start, boot->pool_start + boot->pool_bytes},
        {(uint64_t)(uintptr_t)boot, (uint64_t)(uintptr_t)(boot + 1)},
    };
    const struct audit_request request = {
        .trees = trees,
        .tree_count = guest_count,
        .physical_bits = host->physical_bits,
        .map = &boot->memory,
        .hypervisor = ours,
        .hypervisor_count = ARRAY_COUNT(ours),
    };

    for (uint32_t i = 0; i < guest_count; i++) {
        for (uint32_t s = 0; s < guests[i]->config->share_count; s++) {
            shares[i][s] = (struct audit_share){share_range(guests[i], s), !guests[i]->config->shares[s].read_only};
        }
        trees[i] = (struct audit_tree){.name = guests[i]->name,
                                       .format = audit_format_of(support),
                                       .root = nested_trees[i].root,
                                       .memory = &guests[i]->memory,
                                       .devices = devices[i],
                                       .device_count = guest_direct_memory(guests[i], boot, devices[i]),
                                       .shares = shares[i],
                                       .share_count = guests[i]->config->share_count,
                                       .small_code = guests[i]->small_code != NULL};
        trees[i].apic_page = guests[i]->apic_page.tree != NULL ? &guests[i]->apic_page.range : NULL;
        trees[i].register_count = guest_assigned_registers(guests[i], &trees[i].registers);
        device_count += trees[i].device_count;
    }
    if (audit_trees(&request, &finding) != STATUS_OK) {
        hv_panic(PANIC_AUDIT, "the audit of the nested page tables refuses to start the guests: %s", finding.sentence);
    }
    log_info("audit: no guest reaches anything but its own memory%s (%" PRIu64 " tables, %" PRIu64 " MiB)",
             device_count == 0 ? "" : " and the devices that it was given", finding.tables, finding.mapped_bytes / MIB);
}

/* No byte of what had the memory before may be seen there, either. */
static void create_shares(void)
{
    uint32_t count = boot->config.share_count;

    if (count != 0) {
        shared = pool_take(count * sizeof(struct guest_shared));
    }
    for (uint32_t i = 0; i < count; i++) {
        shared[i].memory = (uint8_t *)(uintptr_t)boot->shares[i];
        shared[i].bytes = boot->config.shares[i].bytes;
        memset(shared[i].memory, 0, (size_t)shared[i].bytes);
    }
}

void guest_create_all(const struct boot_info *info, const struct virt_support *support, const struct host_facts *host)
{
    uint32_t asid = FIRST_ASID;

    boot = info;
    guest_count = info->config.guest_count;
    guest_assigned_prepare(info);
    nested_trees = pool_take(guest_count * sizeof(struct page_table));
    nested_pools = pool_take(guest_count * sizeof(struct table_pool));
    small_codes = pool_take(guest_count * sizeof(struct small_code));
    load_plan = pool_take(sizeof(struct load_plan));
    rom_buffer = pool_take(ROM_BYTES);
    if (info->config.network_count != 0) {
        networks = pool_take(info->config.network_count * sizeof(struct guest_network));
    }
    create_shares();
    for (uint32_t i = 0; i < guest_count; i++) {
        uint64_t before = pool_used();

        guests[i] = pool_take(sizeof(struct guest));
        guests[i]->index = i;
        guests[i]->config = &info->config.guests[i];
        text_copy(guests[i]->config->name, guests[i]->name, sizeof(guests[i]->name));
        create(guests[i], support, host, asid);
        guests[i]->cost_bytes = pool_used() - before;
        asid += guests[i]->vcpu_count;
    }
    fault_trees(nested_trees, guest_count);
    audit_guests(support, host);
}

const struct page_table *guest_nested_tree(const struct guest *guest)
{
    return &nested_trees[guest->index];
}

/* The firmware's part of the guest's first MiB: ACPI from 0xe0000, the rest and the BIOS's code from 0xf0000. */
static void build_firmware_tables(const struct guest *guest)
{
    const struct cpuid_words *cpuid_1 = &cpuid_table_find(&guest->cpuid, 1)->words;
    struct acpi_tables_config acpi = {
        .cpu_count = guest->vcpu_count,
        .com2 = guest->config->com2 || guest->config->serial_com2,
        .hpet = guest->config->hpet,
        .keyboard = guest->config->keyboard,
        .base = GUEST_ACPI_START,
        .pci_devices = guest_devices_pci(guest),
        .virtio_mmio = guest_devices_mmio(guest),
        .pci_high_start = guest_layout_pci_high(&guest->layout, guest->host->physical_bits),
    };
    struct bios_tables_config bios = {
        .cpu_count = guest->vcpu_count,
        .cpu_signature = cpuid_1->eax,
        .cpu_features = cpuid_1->edx,
        .memory_bytes = guest->layout.low_bytes + guest->layout.high_bytes,
    };
    uint8_t *bios_buffer = rom_buffer + (BIOS_TABLES_BASE - GUEST_ACPI_START);
    uint64_t used = 0;

    acpi.pci_high_bytes = acpi.pci_high_start == 0 ? 0 : GUEST_PCI_HIGH_BYTES;
    memset(rom_buffer, 0, ROM_BYTES);
    bios_rom_build(bios_buffer);
    if (acpi_tables_build(&acpi, rom_buffer, BIOS_TABLES_BASE - GUEST_ACPI_START, &used) != STATUS_OK ||
        bios_tables_build(&bios, bios_buffer, BIOS_ROM_CODE, &used) != STATUS_OK) {
        hv_panic(PANIC_GUEST_CREATE, "the firmware tables of guest %s do not fit", guest->name);
    }
}

static struct load_request request_of(const struct guest *guest)
{
    const struct boot_guest *images = &boot->guests[guest->index];
    const struct config_guest *config = guest->config;
    struct load_request request = {
        .protocol = config->protocol,
        .kernel = images->kernel,
        .module_count = config->module_count,
        .cmdline = config->cmdline,
        .name = config->kernel,
        .layout = guest->layout,
        .rsdp = gpa(GUEST_ACPI_START),
        .rsdp_bytes = {rom_buffer, RSDP_BYTES},
        .screen = guest_direct_screen(guest, boot),
        .flat_load = config->load_address,
        .flat_entry = config->entry_address,
        .flat_mode = config->mode,
    };

    for (uint32_t i = 0; i < config->module_count; i++) {
        request.modules[i] = (struct load_module){images->modules[i], config->modules[i].arguments};
    }
    return request;
}

/* The first is the firmware's tables, the second the EBDA's size in KiB, and then come those of the load plan. */
static bool find_copy(uint32_t number, struct load_copy *copy)
{
    static const uint8_t ebda_kib = (GUEST_LEGACY_START - GUEST_EBDA_START) / KIB;
    const struct load_copy firmware[] = {
        {.to = gpa(GUEST_ACPI_START), .from = rom_buffer, .bytes = ROM_BYTES},
        {.to = gpa(GUEST_EBDA_START), .from = &ebda_kib, .bytes = sizeof(ebda_kib)},
    };

    if (number >= ARRAY_COUNT(firmware) + load_plan->copy_count) {
        return false;
    }
    *copy = number < ARRAY_COUNT(firmware) ? firmware[number] : load_plan->copies[number - ARRAY_COUNT(firmware)];
    return true;
}

static void reset_platform(struct guest *guest, const struct entry_state *entry)
{
    const struct host_facts *host = guest->host;
    struct platform_config config = {
        .clock = &host->clock,
        .wall_clock_ns = host->boot_wall_ns,
        .wall_clock_tsc = host->boot_tsc,
        .ram_low_bytes = guest->layout.low_bytes,
        .ram_high_bytes = guest->layout.high_bytes,
        .cpus = (uint16_t)guest->vcpu_count,
        .bios_interrupts = entry->mode == MODE_REAL16,
        .debug_ports = guest->config->debug_ports,
        .com2 = guest->config->com2,
        .keyboard = guest->config->keyboard ? guest_keyboard_io() : NULL,
        .debug_exit_ok = guest->config->debug_exit_ok,
        .console = guest->config->console,
    };

    platform_reset(&guest->platform, &config, insn_rdtsc());
    if (guest_devices_attach(guest, host->physical_bits) != STATUS_OK) {
        hv_panic(PANIC_GUEST_CREATE, "the devices of guest %s find no place on its PCI bus", guest->name);
    }
    guest->platform_deadline = platform_deadline(&guest->platform);
}

static void reset_vcpus(struct guest *guest, const struct entry_state *entry)
{
    for (uint32_t i = 0; i < guest->vcpu_count; i++) {
        struct vcpu *vcpu = &guest->vcpus[i];

        lapic_reset(&vcpu->lapic, false);
        vcpu->tsc_offset = guest->host->tsc_is_machines ? 0 : 0 - guest->start_tsc;
        vcpu->msrs = (struct vcpu_msrs){0};
        vcpu->requests = VCPU_EVENT;
        vcpu->kick = 0;
        vcpu->cpu_ticks = 0;
        vcpu->ring_next = 0;
        memset(vcpu->exit_counts, 0, sizeof(vcpu->exit_counts));
        vcpu_switch_init(vcpu, vcpu->live);
        vcpu_reset(vcpu);
    }
    guest_apic_page_map(guest);
    lapic_virtual_wire(&guest->vcpus[0].lapic);
    vcpu_set_entry(&guest->vcpus[0], entry);
}

/* Last of all: from here on the vCPUs' own CPUs may run them. */
static void release_vcpus(struct guest *guest)
{
    guest->ending = false;
    __atomic_store_n(&guest->state, (uint32_t)GUEST_RUNNING, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < guest->vcpu_count; i++) {
        __atomic_store_n(&guest->vcpus[i].state, i == 0 ? VCPU_STATE_RUNNABLE : VCPU_STATE_OFF, __ATOMIC_RELEASE);
    }
}

void guest_load_begin(struct guest *guest, struct load_progress *progress)
{
    struct load_request request;
    struct load_error error;

    build_firmware_tables(guest);
    request = request_of(guest);
    if (loader_plan(&request, load_plan, &error) != STATUS_OK) {
        hv_panic(PANIC_GUEST_CREATE, "guest %s: %s", guest->name, error.sentence);
    }
    *progress = (struct load_progress){0};
}

bool guest_load_piece(struct guest *guest, struct load_progress *progress)
{
    struct load_copy copy;
    uint64_t bytes;

    if (!find_copy(progress->copy, &copy)) {
        return false;
    }
    bytes = min_u64(copy.bytes - progress->done_bytes, GUEST_LOAD_PIECE_BYTES);
    copy.to.value += progress->done_bytes;
    if (bytes != 0 && !guest_memory_write(&guest->memory, copy.to, copy.from + progress->done_bytes, bytes)) {
        hv_panic(PANIC_GUEST_CREATE, "the load plan of guest %s leaves its memory at 0x%" PRIx64, guest->name,
                 copy.to.value);
    }
    progress->done_bytes += bytes;
    if (progress->done_bytes == copy.bytes) {
        *progress = (struct load_progress){.copy = progress->copy + 1};
    }
    return true;
}

void guest_load_end(struct guest *guest)
{
    reset_platform(guest, &load_plan->entry);
    guest->start_tsc = insn_rdtsc();
    guest->unknown_count = 0;
    guest->unknown_dropped = 0;
    guest->report[0] = '\0';
    reset_vcpus(guest, &load_plan->entry);
    guest_order_forget(guest);
    guest_watchdog_start(guest, guest->start_tsc);
    guest_assigned_start(guest);
    guest_direct_open(guest);
    release_vcpus(guest);
}
