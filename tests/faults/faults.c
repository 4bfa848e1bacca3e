/* SPDX-License-Identifier: MIT */
/*
 * Faults after the hand-over. Which one: the text behind the mark, which tests/boot/run.py writes into the image file,
 * or faults_series.c one after the other.
 *
 *   PLACE:WHAT      at that place (hv/hv_main.c, hv/run/cpu_loop.c), do WHAT; `second-cpu` while others run
 *   info:WHAT       struct boot_info is wrong in that way
 *   tree:WHAT       an entry of the first guest's nested tree is wrong in that way
 *   vcpu:WHAT       the first vCPU is entered with that state
 *   measure:exits   none; how long exits take is measured (measure.c)
 *   audit:shadow    none; shadow tables are audited before each turn (shadow_audit.c)
 *   cpu1:WHAT       the second CPU is not as the first (tests/faults/other_cpu.h)
 */
#include "hv/host/fault.h"

#include "hv/base/check.h"
#include "hv/base/memory.h"
#include "hv/core/vcpu.h"
#include "hv/host/cpu.h"
#include "hv/host/host_apic.h"
#include "hv/host/pool.h"
#include "tests/faults/attack_device.h"

#define SECOND_CPU_SPINS 2000000u
#define NMIS 256u
#define NMI_SPINS 50000u
#define NMI_WAIT_SPINS 5000000u
#define STORM_WRITES 70u

static volatile struct {
    char mark[16];
    char name[FAULT_NAME_MAX];
} choice = {"PLINTH-FAULT:", "none"};

static const char *last_place = "";
static const struct boot_info *boot;
static uint64_t nested_root;

static bool alike(const char *left, const char *right)
{
    while (*left != '\0' && *left == *right) {
        left++;
        right++;
    }
    return *left == *right;
}

void fault_choose(const char name[FAULT_NAME_MAX])
{
    for (uint32_t i = 0; i < FAULT_NAME_MAX; i++) {
        choice.name[i] = name[i];
    }
}

/* The names in the mark are one, or several with `+` between them. */
bool fault_is(const char *name)
{
    uint32_t at = 0;

    while (at < FAULT_NAME_MAX && choice.name[at] != '\0') {
        uint32_t length = 0;

        while (at + length < FAULT_NAME_MAX && choice.name[at + length] == name[length] && name[length] != '\0') {
            length++;
        }
        if (name[length] == '\0' &&
            (at + length == FAULT_NAME_MAX || choice.name[at + length] == '\0' || choice.name[at + length] == '+')) {
            return true;
        }
        while (at < FAULT_NAME_MAX && choice.name[at] != '\0' && choice.name[at++] != '+') {
        }
    }
    return false;
}

/* Before the first place of the start there is no other CPU, and GS does not name one. */
bool fault_is_here(const char *name)
{
    return last_place[0] != '\0' && !cpu_this()->bsp && fault_is(name);
}

bool fault_was_at(const char *place)
{
    return alike(last_place, place);
}

static bool chosen_here(const char *place, const char *what)
{
    char name[FAULT_NAME_MAX];
    uint32_t length = 0;

    for (const char *from = place; *from != '\0' && length < FAULT_NAME_MAX - 2; from++) {
        name[length++] = *from;
    }
    name[length++] = ':';
    for (const char *from = what; *from != '\0' && length < FAULT_NAME_MAX - 1; from++) {
        name[length++] = *from;
    }
    name[length] = '\0';
    return fault_is(name);
}

/* Uses up the stack without a recursion that a compiler could turn into a loop. */
static void run_over_the_stack(void)
{
    __asm__ volatile("1: push $0; jmp 1b" ::: "memory");
}

static void break_the_stack_pointer(void)
{
    __asm__ volatile("mov $0x10, %%esp; push $0" ::: "memory");
}

static void let_device_attack(void)
{
    attack_by_device(boot, nested_root);
}

static void let_device_storm(void)
{
    attack_by_device(boot, nested_root);
    attack_without_end(STORM_WRITES);
}

static void wait_with_interrupts_off(void)
{
    for (;;) {
        __asm__ volatile("pause");
    }
}

/* At every moment that the boot CPU has: in its guest, between exit and entry, asleep. An emulator's host may keep it
 * from running for a while: the next one is sent when this one has arrived. */
static void send_many_nmis(void)
{
    for (uint32_t i = 0; i < NMIS; i++) {
        uint64_t before = __atomic_load_n(&cpus[0].nmis, __ATOMIC_RELAXED);

        host_apic_send_nmi(cpus[0].apic_id);
        for (uint32_t spin = 0; spin < NMI_SPINS + 977 * (i % 16); spin++) {
            __asm__ volatile("pause");
        }
        for (uint32_t spin = 0; spin < NMI_WAIT_SPINS && __atomic_load_n(&cpus[0].nmis, __ATOMIC_RELAXED) == before;
             spin++) {
            __asm__ volatile("pause");
        }
    }
}

void fault_at(const char *place)
{
    static const struct {
        const char *what;
        void (*act)(void);
    } acts[] = {{"stack-overflow", run_over_the_stack}, {"stack-pointer", break_the_stack_pointer},
                {"hang", wait_with_interrupts_off},     {"nmi-storm", send_many_nmis},
                {"device", let_device_attack},          {"device-storm", let_device_storm}};
    volatile uint64_t zero = 0;

    if (alike(place, "second-cpu")) { /* not before the boot CPU is in a guest */
        for (volatile uint32_t i = 0; i < SECOND_CPU_SPINS && choice.name[0] == 's'; i++) {
            __asm__ volatile("pause");
        }
    }
    last_place = place;
    if (alike(place, "asleep")) {
        fault_pass_ends();
    }
    if (chosen_here(place, "undefined")) {
        __asm__ volatile("ud2");
    } else if (chosen_here(place, "null-read")) {
        (void)*(volatile uint8_t *)(uintptr_t)(zero + 8);
    } else if (chosen_here(place, "null-call")) {
        ((void (*)(void))(uintptr_t)zero)();
    } else if (chosen_here(place, "text-write")) {
        *(volatile uint8_t *)(uintptr_t)fault_at = 0;
    } else if (chosen_here(place, "non-canonical")) {
        (void)*(volatile uint8_t *)(uintptr_t)(zero + 0x8000000000000000);
    } else if (chosen_here(place, "divide")) {
        __asm__ volatile("xor %%edx, %%edx; xor %%ecx, %%ecx; div %%rcx" ::: "rax", "rcx", "rdx");
    } else if (chosen_here(place, "machine-check")) {
        __asm__ volatile("int $18");
    } else if (chosen_here(place, "nmi")) {
        __asm__ volatile("int $2");
    } else if (chosen_here(place, "double-fault")) {
        __asm__ volatile("int $8");
    } else if (chosen_here(place, "check")) {
        CHECK_OP(zero, ==, 1);
    } else if (chosen_here(place, "pool")) {
        (void)pool_take(1ULL << 40);
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(acts); i++) {
        if (chosen_here(place, acts[i].what)) {
            acts[i].act();
        }
    }
    if (alike(place, "turn") || alike(place, "awake")) {
        fault_pass_begins();
    }
}

void fault_boot_info(struct boot_info *info)
{
    boot = info;
    fault_shadow_info(info);
    if (fault_is("info:version")) {
        info->version = 99;
    } else if (fault_is("info:section")) {
        info->sections[1].write = info->sections[1].execute = true;
    } else if (fault_is("info:pool")) {
        info->pool_bytes = 64 * KIB;
    } else if (fault_is("info:kernel")) {
        info->guests[0].kernel.bytes = 40;
    } else if (fault_is("info:overlap")) {
        info->guests[1].plan.memory.ranges[0].backing = info->guests[0].plan.memory.ranges[0].backing;
    } else if (fault_is("info:own-memory")) {
        info->guests[0].plan.memory.ranges[0].backing = hpa(align_down(info->pool_start, 2 * MIB));
    } else if (fault_is("info:no-acpi")) {
        info->rsdp = 0;
    } else if (fault_is("info:rsdp")) {
        info->rsdp = 0x1000;
    } else if (fault_is("info:no-consoles")) {
        info->uart_count = 0;
        info->framebuffer.format = BOOT_PIXEL_NONE;
    } else if (fault_is("info:no-cpu") || fault_is("info:no-cpu-for-guest")) {
        info->cpus[1].apic_id = 77; /* no CPU has it */
    }
}

/* Both formats have the address in bits 51:12 and the next table's in the same place. */
#define ENTRY_ADDRESS 0x000ffffffffff000ULL

static uint64_t *entry_of(const struct page_table *tree, uint64_t address, uint32_t level)
{
    uint64_t table = tree->root.value;

    for (uint32_t at = 3;; at--) {
        uint64_t *entry = (uint64_t *)(uintptr_t)table + (address >> (12 + 9 * at) & 511);

        if (at == level) {
            return entry;
        }
        table = *entry & ENTRY_ADDRESS;
    }
}

/* The guests have 16 MiB: leaves of 2 MiB. */
void fault_trees(const struct page_table *trees, uint32_t count)
{
    uint64_t *leaf = entry_of(&trees[0], 2 * MIB, 1);
    uint64_t *link = entry_of(&trees[0], 0, 2);
    uint64_t others = count > 1 ? *entry_of(&trees[1], 2 * MIB, 1) : 0;
    const struct {
        const char *name;
        uint64_t *entry;
        uint64_t value;
    } faults[] = {
        {"tree:other-guest", leaf, others},
        {"tree:hypervisor", leaf, (*leaf & ~ENTRY_ADDRESS) | align_down((uint64_t)(uintptr_t)trees, 2 * MIB)},
        {"tree:firmware", leaf, (*leaf & ~ENTRY_ADDRESS) | 0xffe00000}, /* the firmware's flash */
        {"tree:no-memory", leaf, (*leaf & ~ENTRY_ADDRESS) | 256 * GIB},
        {"tree:wrong-place", leaf, *entry_of(&trees[0], 4 * MIB, 1)},
        {"tree:table-in-guest", link, (*link & ~ENTRY_ADDRESS) | (*leaf & ENTRY_ADDRESS)},
        {"tree:reserved-bit", leaf, *leaf | 1ULL << 51},
        {"tree:loop", entry_of(&trees[0], 512 * GIB, 3), (*link & ~ENTRY_ADDRESS) | trees[0].root.value},
    };

    nested_root = trees[0].root.value;
    for (uint32_t i = 0; i < ARRAY_COUNT(faults); i++) {
        if (fault_is(faults[i].name)) {
            *faults[i].entry = faults[i].value;
        }
    }
}

/* Once, so that a guest that is restarted or goes on does so. */
void fault_vcpu(struct vcpu *vcpu)
{
    static bool done;

    fault_pass_ends();
    fault_shadow_audit(vcpu);
    if (done) {
        return;
    }
    done = true;
    if (fault_is("vcpu:cr0")) {
        vcpu->system.cr0 = 0x80000000; /* PG without PE */
        vcpu->requests |= VCPU_SYSTEM_WRITE;
    } else if (fault_is("vcpu:efer")) {
        vcpu->system.efer |= 1ULL << 1; /* reserved */
        vcpu->requests |= VCPU_SYSTEM_WRITE;
    } else if (fault_is("vcpu:rip")) {
        vcpu->rip = 0x8000000000000000;
    }
}
