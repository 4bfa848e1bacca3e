/* SPDX-License-Identifier: MIT */
#include "hv/host/smp.h"

#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/base/memory.h"
#include "hv/host/host_apic.h"
#include "hv/host/host_cpu.h"
#include "hv/host/host_memory.h"
#include "hv/host/pool.h"
#include "hv/host/trampoline.h"
#include "hv/host/traps.h"
#include "hv/host/tsc.h"
#include "hv/host/tsc_sync.h"

/* Times of the start-up protocol. SDM 3A 9.4.4.1 "Typical BSP Initialization Sequence". */
#define INIT_WAIT_US 10000u
#define FIRST_SIPI_WAIT_US 20000u
#define SECOND_SIPI_WAIT_US 1000000u
#define DECIDE_WAIT_US 1000000u /* for what it does once it has its tables */
#define PARK_WAIT_US 20000u     /* for its first instructions */
#define REAL_VECTORS 32u        /* of exceptions; nothing else comes with interrupts off */

#define LOW_MEMORY_END 0x100000ULL

/* Flat 32-bit code, 64-bit code, data. SDM 3A 3.4.5. */
#define GDT_CODE32 0x00cf9b000000ffffULL
#define GDT_CODE64 0x00af9b000000ffffULL
#define GDT_DATA 0x00cf93000000ffffULL

extern const uint8_t trampoline_start[];
extern const uint8_t trampoline_32[];
extern const uint8_t trampoline_64[];
extern const uint8_t trampoline_park_return[];
extern const uint8_t trampoline_end[];

struct far_pointer {
    uint32_t offset;
    uint16_t selector;
    uint16_t reserved;
};

/* hv/host/trampoline.h has the offsets. */
struct trampoline_data {
    uint64_t gdt[TRAMPOLINE_DATA_SELECTOR / 8 + 1];
    uint16_t gdt_limit;
    uint32_t gdt_base;
    uint16_t reserved;
    struct far_pointer to_32;
    struct far_pointer to_64;
    uint32_t cr3;
    uint32_t cr4;
    uint64_t next;
    uint32_t mark;
    uint32_t park;
    uint16_t vectors_limit;
    uint32_t vectors_base;
} __attribute__((packed));

#define DATA_AT(member) (TRAMPOLINE_DATA + offsetof(struct trampoline_data, member))
_Static_assert(DATA_AT(gdt_limit) == TRAMPOLINE_GDT_POINTER, "trampoline.S");
_Static_assert(DATA_AT(to_32) == TRAMPOLINE_FAR_32, "trampoline.S");
_Static_assert(DATA_AT(to_64) == TRAMPOLINE_FAR_64, "trampoline.S");
_Static_assert(DATA_AT(cr3) == TRAMPOLINE_CR3, "trampoline.S");
_Static_assert(DATA_AT(cr4) == TRAMPOLINE_CR4, "trampoline.S");
_Static_assert(DATA_AT(next) == TRAMPOLINE_NEXT, "trampoline.S");
_Static_assert(DATA_AT(mark) == TRAMPOLINE_MARK, "trampoline.S");
_Static_assert(DATA_AT(park) == TRAMPOLINE_PARK, "trampoline.S");
_Static_assert(DATA_AT(vectors_limit) == TRAMPOLINE_VECTORS_POINTER, "trampoline.S");
_Static_assert(TRAMPOLINE_DATA + sizeof(struct trampoline_data) <= PAGE_BYTES, "within the page");
_Static_assert(sizeof(struct far_pointer) == 8, "JMP FAR reads six bytes of it");
_Static_assert(LOW_MEMORY_END == 0x100u * PAGE_BYTES, "a SIPI's vector is a page number of 8 bits");

/* Where the CPU that starts now goes on; in ordinary memory, because the trampoline page is not writable then. */
static struct {
    uint64_t stack;
    uint64_t entry;
    struct cpu *argument;
} smp_next;
#define NEXT_AT(member) offsetof(__typeof__(smp_next), member)
_Static_assert(NEXT_AT(stack) == TRAMPOLINE_NEXT_STACK, "trampoline.S");
_Static_assert(NEXT_AT(entry) == TRAMPOLINE_NEXT_ENTRY, "trampoline.S");
_Static_assert(NEXT_AT(argument) == TRAMPOLINE_NEXT_ARGUMENT, "trampoline.S");

/* A copy of the tree's root for a CPU that has 32 bits of CR3 only: needed where the pool lies above 4 GiB. */
static uint64_t low_root[PAGE_BYTES / sizeof(uint64_t)] __attribute__((aligned(PAGE_BYTES)));

static uint64_t guards[CPU_GUARDS_MAX];
static uint32_t guard_count;
static uint32_t released;
static const struct smp_start_steps *start_steps;

uint32_t smp_guards(const uint64_t **pages)
{
    *pages = guards;
    return guard_count;
}

/* A guard page and a stack above it, from *at on; returns the stack's top and moves *at there. */
static uint64_t place_stack(uint64_t *at, uint64_t bytes)
{
    guards[guard_count++] = *at;
    *at += PAGE_BYTES + bytes;
    return *at;
}

static void assign_stacks(struct cpu *cpu, uint64_t *at)
{
    cpu->stacks.main_top = place_stack(at, CPU_STACK_BYTES);
    for (unsigned i = 0; i < DESCRIPTOR_IST_COUNT; i++) {
        cpu->stacks.ist_top[i] = place_stack(at, CPU_IST_BYTES);
    }
    descriptors_fill(&cpu->descriptors, cpu->stacks.ist_top);
}

static void assign(struct cpu *cpu, uint32_t index, const struct boot_cpu *boot, uint64_t *stacks)
{
    *cpu = (struct cpu){.self = cpu, .index = index, .apic_id = boot->apic_id, .bsp = boot->is_bsp};
    if (!boot->healthy && !boot->is_bsp) {
        cpu->failure = "the firmware reports it as not healthy";
        cpu->state = CPU_STATE_FAILED;
    }
    assign_stacks(cpu, stacks);
}

bool smp_is_sibling(const struct boot_info *info, uint32_t one, uint32_t other)
{
    const struct boot_cpu *left = &info->cpus[one];
    const struct boot_cpu *right = &info->cpus[other];

    return left->package == right->package && left->core == right->core && left->thread != right->thread;
}

static bool has_sibling(const struct boot_info *info, uint32_t index)
{
    for (uint32_t i = 0; i < cpu_count; i++) {
        if (smp_is_sibling(info, i, index)) {
            return true;
        }
    }
    return false;
}

void smp_assign(const struct boot_info *info)
{
    uint64_t stacks;

    cpu_count = info->cpu_count < CPUS_MAX ? info->cpu_count : CPUS_MAX;
    stacks = (uint64_t)(uintptr_t)pool_take(cpu_count * cpu_stacks_bytes());
    for (uint32_t i = 0; i < cpu_count; i++) {
        assign(&cpus[i], i, &info->cpus[i], &stacks);
        cpus[i].threads = has_sibling(info, i);
    }
    cpus[smp_bsp_index()].state = CPU_STATE_READY;
}

uint32_t smp_bsp_index(void)
{
    for (uint32_t i = 0; i < cpu_count; i++) {
        if (cpus[i].bsp) {
            return i;
        }
    }
    return 0;
}

/* It runs well and is of no use: only the NMI of a panic reaches it. */
_Noreturn static void halt_failed_cpu(void)
{
    for (;;) {
        insn_cli();
        insn_hlt();
    }
}

static struct mtrr_state boot_mtrrs;

/* Memory has one type on all CPUs, or their caches do not agree. NULL, or why the CPU cannot have the boot CPU's. */
static const char *take_memory_types(struct cpu *cpu)
{
    struct mtrr_state here;
    enum mtrr_likeness likeness;

    host_cpu_read_mtrrs(&here);
    likeness = mtrr_compare(&boot_mtrrs, &here);
    if (likeness == MTRR_SETTABLE) {
        cpu->mtrrs_set = true;
        host_cpu_write_mtrrs(&boot_mtrrs);
        host_cpu_read_mtrrs(&here);
        likeness = mtrr_compare(&boot_mtrrs, &here);
    }
    return likeness == MTRR_ALIKE ? NULL : "its memory types (MTRRs) cannot be made those of the boot CPU";
}

/* The first C code of another CPU, on its own stack. */
static void cpu_start(void *argument)
{
    struct cpu *cpu = argument;

    descriptors_load(&cpu->descriptors, (uint64_t)(uintptr_t)cpu);
    host_memory_load_cpu();
    host_apic_init_cpu();
    tsc_sync_starting_cpu();
    cpu->apic_id = host_apic_id();
    cpu->failure = take_memory_types(cpu);
    if (cpu->failure == NULL) {
        cpu->failure = start_steps->prepare(cpu);
    }
    if (cpu->failure != NULL) {
        __atomic_store_n(&cpu->state, CPU_STATE_FAILED, __ATOMIC_RELEASE);
        halt_failed_cpu();
    }
    __atomic_store_n(&cpu->state, CPU_STATE_READY, __ATOMIC_RELEASE);
    while (__atomic_load_n(&released, __ATOMIC_ACQUIRE) == 0) {
        insn_sti_hlt_cli(); /* until smp_release() kicks; a CPU that spins slows its sibling thread */
    }
    start_steps->run(cpu);
}

static uint32_t root_below_4gib(void)
{
    uint64_t root = host_memory_root();

    if (root < 4 * GIB) {
        return (uint32_t)root;
    }
    if ((uint64_t)(uintptr_t)low_root >= 4 * GIB) {
        return 0;
    }
    memcpy(low_root, (const void *)(uintptr_t)align_down(root, PAGE_BYTES), PAGE_BYTES);
    return (uint32_t)(uintptr_t)low_root;
}

static struct far_pointer far_to(uint64_t page, const uint8_t *label, uint16_t selector)
{
    return (struct far_pointer){(uint32_t)(page + (uint64_t)(label - trampoline_start)), selector, 0};
}

static struct trampoline_data *trampoline_data_at(uint64_t page)
{
    return (struct trampoline_data *)(uintptr_t)(page + TRAMPOLINE_DATA);
}

/* All of a parked CPU's exceptions return to its halt. SDM 3B 21.1.4 "Interrupt and Exception Handling": offset, then
 * segment. */
static void fill_vectors(uint64_t page)
{
    uint32_t *vectors = (uint32_t *)(uintptr_t)(page + TRAMPOLINE_VECTORS);
    uint32_t back = far_to(page, trampoline_park_return, 0).offset;

    for (uint32_t i = 0; i < REAL_VECTORS; i++) {
        vectors[i] = (uint32_t)(page >> 4) << 16 | (back & (PAGE_BYTES - 1));
    }
}

static void fill_trampoline(uint64_t page, uint32_t root)
{
    struct trampoline_data *data = trampoline_data_at(page);

    memset((void *)(uintptr_t)page, 0, PAGE_BYTES);
    // cppcheck-suppress comparePointers ; both are labels of one piece of assembly
    memcpy((void *)(uintptr_t)page, trampoline_start, (size_t)(trampoline_end - trampoline_start));
    *data = (struct trampoline_data){
        .gdt_limit = sizeof(data->gdt) - 1,
        .gdt_base = (uint32_t)(page + TRAMPOLINE_DATA),
        .to_32 = far_to(page, trampoline_32, TRAMPOLINE_CODE32),
        .to_64 = far_to(page, trampoline_64, TRAMPOLINE_CODE64),
        .cr3 = root,
        .cr4 = (uint32_t)host_cpu_cr4(),
        .next = (uint64_t)(uintptr_t)&smp_next,
        .vectors_limit = REAL_VECTORS * sizeof(uint32_t) - 1,
        .vectors_base = (uint32_t)(page + TRAMPOLINE_VECTORS),
    };
    fill_vectors(page);
    data->gdt[TRAMPOLINE_CODE32 / 8] = GDT_CODE32;
    data->gdt[TRAMPOLINE_CODE64 / 8] = GDT_CODE64;
    data->gdt[TRAMPOLINE_DATA_SELECTOR / 8] = GDT_DATA;
}

static bool is_decided(const struct cpu *cpu)
{
    return __atomic_load_n(&cpu->state, __ATOMIC_ACQUIRE) != CPU_STATE_STARTING;
}

/* Until it is ready or says why not. */
static bool wait_decided(const struct cpu *cpu, uint64_t us)
{
    uint64_t end = tsc_after_us(us);

    while (!is_decided(cpu) && insn_rdtsc() < end) {
        insn_pause();
    }
    return is_decided(cpu);
}

/* How far it came, from the mark that the trampoline leaves. */
static const char *failure_text(uint32_t mark)
{
    static const char *const texts[] = {
        "it did not answer INIT and SIPI",
        "it started and stopped in real mode",
        "it started and stopped in protected mode",
        "it started and stopped in long mode, or on the way there",
    };
    _Static_assert(ARRAY_COUNT(texts) == TRAMPOLINE_MARKS, "a text for every mark of trampoline.S, and for none");

    return mark < ARRAY_COUNT(texts) ? texts[mark] : texts[0];
}

static bool tsc_agrees = true;

/* What the comparison with the boot CPU's TSC found. */
static void report_tsc(const struct cpu *cpu, uint64_t warp, uint64_t adjusted)
{
    if (adjusted != 0) {
        log_info("CPU %u's TSC was moved by 0x%" PRIx64 " ticks to the boot CPU's (IA32_TSC_ADJUST)", cpu->index,
                 adjusted);
    }
    if (warp != 0) {
        tsc_agrees = false;
        log_warning("CPU %u's TSC differs from the boot CPU's by %" PRIu64
                    " ticks: guests are told that the TSC is not stable; update the firmware",
                    cpu->index, warp);
    }
}

/* One start-up IPI, and up to `us` for the CPU to come and be compared. */
static bool try_start(struct cpu *cpu, uint8_t vector, uint64_t us)
{
    uint64_t deadline = tsc_after_us(us);
    uint64_t warp, adjusted;

    host_apic_send_sipi(cpu->apic_id, vector);
    if (!tsc_sync_boot_cpu(deadline, &warp, &adjusted)) {
        return false;
    }
    report_tsc(cpu, warp, adjusted);
    if (!wait_decided(cpu, DECIDE_WAIT_US)) {
        return false;
    }
    if (cpu->mtrrs_set) {
        log_info("CPU %u's memory types (MTRRs) were not the boot CPU's: they are now", cpu->index);
    }
    return true;
}

/*
 * Held in reset a CPU does not answer SMIs, for which handlers of the firmware then wait in vain each time, and a
 * machine check that goes to all CPUs shuts it down, and the machine with it. So it is reset and sent to the halt in
 * the trampoline page; it must not come up late on a stack that another CPU has by then. False: it does not get there,
 * and is left in reset.
 */
static bool park(const struct cpu *cpu, uint64_t page)
{
    volatile struct trampoline_data *data = trampoline_data_at(page);
    uint64_t end;
    bool parked;

    host_apic_send_init(cpu->apic_id);
    host_memory_set_executable(page, false);
    data->mark = 0;
    data->park = 1;
    host_memory_set_executable(page, true);
    tsc_wait_us(INIT_WAIT_US);
    host_apic_send_sipi(cpu->apic_id, (uint8_t)(page >> PAGE_SHIFT));
    end = tsc_after_us(PARK_WAIT_US);
    while (data->mark != TRAMPOLINE_MARK_PARKED && insn_rdtsc() < end) {
        insn_pause();
    }
    parked = data->mark == TRAMPOLINE_MARK_PARKED;
    if (!parked) {
        host_apic_send_init(cpu->apic_id);
    }
    host_memory_set_executable(page, false);
    data->park = 0;
    host_memory_set_executable(page, true);
    return parked;
}

static void start_one(struct cpu *cpu, uint64_t page)
{
    volatile struct trampoline_data *data = trampoline_data_at(page);
    uint8_t vector = (uint8_t)(page >> PAGE_SHIFT);

    host_memory_set_executable(page, false);
    data->mark = 0;
    host_memory_set_executable(page, true);
    smp_next.stack = cpu->stacks.main_top;
    smp_next.entry = (uint64_t)(uintptr_t)cpu_start;
    smp_next.argument = cpu;
    tsc_sync_begin();
    __atomic_store_n(&cpu->state, CPU_STATE_STARTING, __ATOMIC_RELEASE);
    if (!try_start(cpu, vector, FIRST_SIPI_WAIT_US) && !is_decided(cpu) &&
        !try_start(cpu, vector, SECOND_SIPI_WAIT_US)) {
        cpu->failure = failure_text(data->mark);
        if (park(cpu, page)) {
            format_text(cpu->why, sizeof(cpu->why), "%s; it is parked", cpu->failure);
            cpu->failure = cpu->why;
        }
        __atomic_store_n(&cpu->state, CPU_STATE_FAILED, __ATOMIC_RELEASE);
    }
}

static void fail_all(const char *sentence)
{
    for (uint32_t i = 0; i < cpu_count; i++) {
        if (!cpus[i].bsp && cpus[i].failure == NULL) {
            cpus[i].failure = sentence;
            cpus[i].state = CPU_STATE_FAILED;
        }
    }
}

/* All are reset at once and wait together; then they start one after the other. */
static void reset_all(void)
{
    for (uint32_t i = 0; i < cpu_count; i++) {
        if (!cpus[i].bsp && cpus[i].failure == NULL) {
            host_apic_send_init(cpus[i].apic_id);
        }
    }
    tsc_wait_us(INIT_WAIT_US);
}

static void start_all(uint64_t page, uint32_t root)
{
    fill_trampoline(page, root);
    reset_all();
    for (uint32_t i = 0; i < cpu_count; i++) {
        if (!cpus[i].bsp && cpus[i].failure == NULL) {
            start_one(&cpus[i], page);
        }
    }
    host_memory_set_executable(page, false);
}

/* What the firmware says of packages and of hyper-threads, which share a core's caches and its time. Where it says
 * nothing all numbers are 0. */
static void report_places(const struct boot_info *info)
{
    uint32_t packages = 0;

    for (uint32_t i = 0; i < cpu_count; i++) {
        const struct boot_cpu *cpu = &info->cpus[i];

        packages = cpu->package >= packages ? cpu->package + 1 : packages;
        for (uint32_t k = 0; k < i; k++) {
            if (smp_is_sibling(info, k, i)) {
                log_info("CPU %u is a hyper-thread of the core of CPU %u", i, k);
                break;
            }
        }
    }
    if (packages > 1) {
        for (uint32_t i = 0; i < cpu_count; i++) {
            log_info("CPU %u is in package %u", i, info->cpus[i].package);
        }
    }
}

static uint32_t report(void)
{
    uint32_t ready = 0;

    for (uint32_t i = 0; i < cpu_count; i++) {
        if (cpu_is_ready(&cpus[i])) {
            ready++;
        } else {
            log_warning("CPU %u (APIC id %u) is left out: %s", i, cpus[i].apic_id, cpus[i].failure);
        }
    }
    return ready;
}

uint32_t smp_start(const struct boot_info *info, const struct smp_start_steps *steps)
{
    uint32_t root = root_below_4gib();

    start_steps = steps;
    host_cpu_read_mtrrs(&boot_mtrrs);
    if (cpu_count > 1 && (info->trampoline == 0 || info->trampoline >= LOW_MEMORY_END)) {
        fail_all("no page below 1 MiB was free for its start");
    } else if (cpu_count > 1 && root == 0) {
        fail_all("no page below 4 GiB was free for its start");
    } else if (cpu_count > 1) {
        start_all(info->trampoline, root);
    }
    report_places(info);
    return report();
}

bool smp_tsc_agrees(void)
{
    return tsc_agrees;
}

void smp_release(void)
{
    __atomic_store_n(&released, 1, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < cpu_count; i++) {
        if (&cpus[i] != cpu_this() && cpu_is_ready(&cpus[i])) {
            cpu_kick(&cpus[i]);
        }
    }
}
