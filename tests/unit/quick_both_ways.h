/* SPDX-License-Identifier: MIT */
/*
 * Two copies of a guest with one vCPU, for the tests that make an exit twice from the same state: copy 0 goes the long
 * way, copy 1 the short way where there is one (hv/svm/quick.c and hv/vmx/quick.c have the contract). The including
 * test runs the vendor's real code against its own model of the control structure.
 */
#ifndef TESTS_UNIT_QUICK_BOTH_WAYS_H
#define TESTS_UNIT_QUICK_BOTH_WAYS_H

#include "hv/core/guest_io.h"
#include "hv/dev/lapic_registers.h"
#include "hv/emulate/emulate_fetch.h"
#include "hv/exit/dispatch.h"
#include "hv/host/guest_machine_check.h"
#include "hv/host/panic.h"
#include "hv/policy/cpuid_policy.h"
#include "hv/x86/registers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COPIES 2u
#define HZ 1000000000ULL
#define MS 1000000ULL
#define RAM_BYTES (64 * KIB)
#define CODE 0x5000u /* the page of the instruction that exits; its tables are the four below it */
#define X2APIC_ENABLE 0x400u
#define PRESENT 3ULL

static struct host_facts host;
static struct vcpu vcpus[COPIES];
static const struct config_guest guest_config = {.on_reset = ACTION_STAY};
static struct guest guests[COPIES];
static struct lapic_page pages[COPIES];
static uint8_t ram[COPIES][RAM_BYTES] __attribute__((aligned(4096)));
static uint64_t now; /* what RDTSC says */
static uint64_t seed;
static bool in_memory;             /* the local APIC: no x2APIC mode */
static uint32_t end_words[COPIES]; /* lapic_set_end_word() */

_Noreturn void hv_panic(uint32_t code, const char *form, ...)
{
    fprintf(stderr, "panic P%04u: %s\n", code, form);
    abort();
}

void machine_check_in_guest(struct vcpu *vcpu)
{
    (void)vcpu;
    abort();
}

/* xorshift64*: one word of it. */
static uint64_t random_word(void)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 0x2545f4914f6cdd1dULL;
}

static uint64_t one_of(const uint64_t *values, size_t count)
{
    return values[random_word() % count];
}

#define ONE_OF(values) one_of(values, ARRAY_COUNT(values))

/* The host's timer has come, and the vCPU's own is all that is due: hv/host/cpu_timer.h. */
#define TICK_VECTOR 0xec
static bool tick;

static bool timer_ticks(struct cpu *cpu, struct vcpu *vcpu, uint64_t at)
{
    (void)cpu;
    (void)at;
    if (tick) {
        lapic_request(&vcpu->lapic, TICK_VECTOR);
        vcpu->requests |= VCPU_EVENT;
    }
    return tick;
}

/* What hv/run/cpu_loop.c does where the exit has left it to it. True: the vCPU is entered again. */
static bool loop_ticks(struct vcpu *vcpu)
{
    if ((vcpu->requests & VCPU_LEAVE_MASK) != VCPU_YIELD || !timer_ticks(NULL, vcpu, 0)) {
        return false;
    }
    vcpu->requests &= ~(uint32_t)VCPU_YIELD;
    return true;
}

static bool one_in(uint64_t n)
{
    return random_word() % n == 0;
}

static void host_add(uint32_t leaf, struct cpuid_words words)
{
    host.cpuid.entries[host.cpuid.count++] = (struct cpuid_entry){.leaf = leaf, .words = words};
}

static void make_host(void)
{
    memset(&host, 0, sizeof(host));
    host.clock = clock_of(HZ);
    host.physical_bits = 46;
    host_add(0, (struct cpuid_words){0x16, 1, 2, 3});
    host_add(1, (struct cpuid_words){0x50657, 0x800, 0xffffffff, 0xffffffff});
    host_add(7, (struct cpuid_words){0, 0xffffffff, 0, 0});
    host_add(0xd, (struct cpuid_words){7, 0, 0, 0});
    host.cpuid.entries[host.cpuid.count++] = (struct cpuid_entry){.leaf = 0xd, .subleaf = 2, .words = {256, 576, 0, 0}};
    host_add(0x80000000, (struct cpuid_words){0x80000008, 1, 2, 3});
    host_add(0x80000008, (struct cpuid_words){0x302e, 0, 0, 0});
}

/* I/O APIC, HPET, local APIC, nothing */
#define DEVICE_PAGES 4u
#define HOLE 0xfef00000u
#define NO_HYPERCALL 999u
static const uint64_t device_pages[DEVICE_PAGES] = {0xfec00000, 0xfed00000, 0xfee00000, HOLE};

/* In 64-bit mode with 4-level paging: the linear address CODE is mapped to itself. */
static void make_memory(uint32_t i, const uint8_t *code, size_t count, uint64_t offset)
{
    uint64_t *tables = (uint64_t *)(void *)ram[i];

    memset(ram[i], 0, sizeof(ram[i]));
    for (uint32_t level = 0; level < 4; level++) {
        tables[(level + 1) * 512 + (level == 3 ? CODE / PAGE_BYTES : 0)] =
            level == 3 ? CODE | PRESENT : (level + 2) * PAGE_BYTES | PRESENT;
    }
    for (uint32_t page = 0; page < DEVICE_PAGES; page++) { /* and the devices, to themselves */
        uint64_t address = device_pages[page];

        tables[2 * 512 + (address >> 30)] = 6 * PAGE_BYTES | PRESENT;
        tables[6 * 512 + (address >> 21 & 511)] = (7 + page / 2) * PAGE_BYTES | PRESENT;
        tables[(7 + page / 2) * 512 + (address >> 12 & 511)] = address | PRESENT;
    }
    memcpy(ram[i] + CODE + offset, code, count);
    guests[i].memory = (struct guest_memory){.range_count = 1, .window = (uint64_t)(uintptr_t)ram[i]};
    guests[i].memory.ranges[0] = (struct guest_range){gpa(0), hpa(0), RAM_BYTES};
}

static void make_guest(uint32_t i)
{
    const struct platform_config config = {.clock = &host.clock, .console = true};
    const struct cpuid_policy_input policy = {
        .host = &host.cpuid, .vcpu_count = 1, .tsc_khz = 1000000, .is_intel = host.is_intel};

    memset(&guests[i], 0, sizeof(guests[i]));
    memset(&vcpus[i], 0, sizeof(vcpus[i]));
    memset(&pages[i], 0, sizeof(pages[i]));
    guests[i].host = &host;
    guests[i].vcpus = &vcpus[i];
    guests[i].vcpu_count = 1;
    guests[i].cr4_allowed = CR4_PAE | CR4_MCE | CR4_OSXSAVE | CR4_PCE | (now % 8 == 0 ? 0 : CR4_PGE);
    cpuid_policy_build(&policy, &guests[i].cpuid);
    platform_reset(&guests[i].platform, &config, 100 * MS);
    guests[i].platform_deadline = platform_deadline(&guests[i].platform);
    guests[i].watchdog.deadline = UINT64_MAX;
    guests[i].stop_deadline = UINT64_MAX;
    guests[i].config = &guest_config;
    vcpus[i].guest = &guests[i];
    lapic_init(&vcpus[i].lapic, &pages[i], 5, true, &host.clock);
    if (in_memory) {
        lapic_mmio_write(&vcpus[i].lapic, 0xf0, 4, 0x1ff, 0);
    } else if (!lapic_base_write(&vcpus[i].lapic, vcpus[i].lapic.base_msr | X2APIC_ENABLE, 46) ||
               !lapic_msr_write(&vcpus[i].lapic, 0x80f, 0x1ff, 0)) {
        abort();
    }
}

static void write_apic(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    if (in_memory) {
        lapic_mmio_write(lapic, offset, 4, value, 0);
    } else {
        lapic_msr_write(lapic, 0x800 + offset / 16, value, 0);
    }
}

/* What waits in the local APIC, is in service, holds vectors off; the timer's mode. */
static void random_apic(void)
{
    uint8_t in_service = (uint8_t)(0x20 + random_word() % 0xe0);
    uint8_t waits = (uint8_t)(0x20 + random_word() % 0xe0);
    uint64_t tpr = one_in(3) ? random_word() & 0xff : 0;
    bool level = one_in(4), serve = one_in(2), wait = one_in(2), deadline = !one_in(4), by_word = one_in(4);

    for (uint32_t i = 0; i < COPIES; i++) {
        struct lapic *lapic = &vcpus[i].lapic;

        end_words[i] = 0;
        lapic_set_end_word(lapic, by_word ? &end_words[i] : NULL);
        write_apic(lapic, 0x320, deadline ? 0x400ec : 0x000ec);
        if (serve) {
            lapic_post(lapic, in_service, level);
            if (lapic_highest_deliverable(lapic) == in_service) {
                lapic_accept(lapic, in_service);
            }
        }
        if (wait) {
            lapic_post(lapic, waits, false);
        }
        write_apic(lapic, 0x80, (uint32_t)tpr);
        lapic_merge_pending(lapic);
    }
}

/* The I/O APIC's pin 4, for the local APIC 5. */
static const struct {
    uint32_t index, value;
} uart_pin[] = {{0x19, 5u << 24}, {0x18, 0x94}};

/* Through its registers, so that the state is one that the guest can make. */
static void random_uart(void)
{
    uint8_t lcr = one_in(8) ? 0x83 : 3, mcr = one_in(8) ? 0x18 : 8,
            ier = one_in(4) ? (uint8_t)(random_word() & 0xf) : 0;
    uint8_t errors = one_in(8) ? 2 : 0;
    bool wired = one_in(2); /* through the I/O APIC: each interrupt of it reaches the vCPU */

    for (uint32_t i = 0; i < COPIES; i++) {
        struct platform *platform = &guests[i].platform;

        for (uint32_t n = 0; wired && n < ARRAY_COUNT(uart_pin); n++) {
            platform_mmio_write(platform, gpa(0xfec00000), 4, uart_pin[n].index, now);
            platform_mmio_write(platform, gpa(0xfec00010), 4, uart_pin[n].value, now);
        }
        platform->uart.errors = errors;
        platform_port_write(platform, 0x3fa, 1, 1, now);
        platform_port_write(platform, 0x3f9, 1, ier, now);
        platform_port_write(platform, 0x3fc, 1, mcr, now);
        platform_port_write(platform, 0x3fb, 1, lcr, now);
    }
}

/* An interrupt that could be delivered is looked at before each entry. */
static void random_registers(void)
{
    uint64_t requests = one_in(8) ? (one_in(2) ? VCPU_EVENT : VCPU_FLUSH) : 0;
    uint32_t value;
    uint64_t leave_at = one_in(4) ? now - 1 + random_word() % 3 : UINT64_MAX;
    uint32_t ring_next = (uint32_t)(now % 3 == 0 ? EXIT_RING_ENTRIES : now % EXIT_RING_ENTRIES);

    enum unknown_kind latest = one_in(2) ? UNKNOWN_HYPERCALL : UNKNOWN_MSR_READ; /* noted again, as the last */
    bool noted = one_in(2);

    for (uint32_t n = 0; n < GPR_COUNT; n++) {
        vcpus[0].gpr[n] = random_word();
    }
    for (uint32_t i = 0; i < COPIES; i++) {
        memcpy(vcpus[i].gpr, vcpus[0].gpr, sizeof(vcpus[i].gpr));
        if (noted) {
            guest_note_unknown(&vcpus[i], UNKNOWN_MSR_READ, 0x1234, 0);
            guest_note_unknown(&vcpus[i], UNKNOWN_MMIO_READ, HOLE, 0);
            guest_note_unknown(&vcpus[i], UNKNOWN_MMIO_WRITE, HOLE, 1);
            guest_note_unknown(&vcpus[i], UNKNOWN_HYPERCALL, NO_HYPERCALL, 0);
            guest_note_unknown(&vcpus[i], latest, latest == UNKNOWN_HYPERCALL ? NO_HYPERCALL : 0x1234, 0);
        }
        vcpus[i].exit_tsc = now - 6;
        guest_port_read(&vcpus[i], 0x3ff, 1, &value); /* what the devices want has been collected */
        vcpus[i].requests = lapic_highest_deliverable(&vcpus[i].lapic) >= 0 ? VCPU_EVENT : (uint32_t)requests;
        vcpus[i].leave_at = leave_at;
        vcpus[i].ring_next = ring_next;
        vcpus[i].exit_tsc = now - 5;
    }
}

/* What the guest writes into the ICR: an IPI to itself, or anything. */
static uint64_t random_command(void)
{
    return one_in(8) ? random_word() & 0xfffff : 0x40000 | (0x10 + random_word() % 0xf0);
}

/* A new pair of copies in the same state. */
static void make_copies(uint64_t round)
{
    seed = round * 0x9e3779b97f4a7c15ULL + 1;
    now = 100 * MS + random_word() % MS;
    make_host();
    in_memory = one_in(4);
    for (uint32_t i = 0; i < COPIES; i++) {
        make_guest(i);
    }
    random_apic();
    random_uart();
    random_registers();
}

/* A write of the ICR that ends the turn: the long way asks for a look at events after each, the short way where one
 * waits. */
static void forget_needless_looks(void)
{
    for (uint32_t i = 0; i < COPIES; i++) {
        const struct vcpu *vcpu = &vcpus[i];

        if ((vcpu->requests & VCPU_LEAVE_MASK) != 0 && !lapic_has_request(&vcpu->lapic) && vcpu->nmi_pending == 0 &&
            !vcpu->pending.valid && !guests[i].platform.extint) {
            vcpus[i].requests &= ~(uint32_t)VCPU_EVENT;
        }
    }
}

/* The class of what only the TPR holds off; 0: nothing is. An exit is wanted for when the guest lowers it. */
static uint32_t class_held_off(void)
{
    int requested = lapic_highest_requested(&vcpus[0].lapic);
    uint64_t tpr = lapic_cr8(&vcpus[0].lapic);

    return requested >= 0 && (uint64_t)requested >> 4 <= tpr ? (uint32_t)requested >> 4 : 0;
}

/* The instructions that exit: with and without a prefix. */
struct exiting {
    uint8_t code[4];
    uint8_t count;
};

static const struct exiting cpuid_forms[] = {{{0x0f, 0xa2}, 2}, {{0x48, 0x0f, 0xa2}, 3}};
static const struct exiting wrmsr_forms[] = {{{0x0f, 0x30}, 2}, {{0x48, 0x0f, 0x30}, 3}};
static const struct exiting rdmsr_forms[] = {{{0x0f, 0x32}, 2}, {{0x48, 0x0f, 0x32}, 3}};
static const struct exiting in_forms[] = {{{0xec}, 1}, {{0x66, 0xed}, 2}, {{0xed}, 1}};
static const struct exiting out_forms[] = {{{0xee}, 1}, {{0x66, 0xef}, 2}, {{0xef}, 1}};

static const struct exiting hlt_forms[] = {{{0xf4}, 1}, {{0x48, 0xf4}, 2}};
static const struct exiting wbinvd_forms[] = {{{0x0f, 0x09}, 2}, {{0x48, 0x0f, 0x09}, 3}};
static const struct exiting vmmcall_forms[] = {{{0x0f, 0x01, 0xd9}, 3}, {{0x48, 0x0f, 0x01, 0xd9}, 4}};
static const struct exiting vmcall_forms[] = {{{0x0f, 0x01, 0xc1}, 3}, {{0x48, 0x0f, 0x01, 0xc1}, 4}};

/* UD2, UD0, and what only one vendor has; a prefix makes no difference to UD2. */
static const struct exiting undefined_forms[] = {{{0x0f, 0x0b}, 2},
                                                 {{0x0f, 0xff, 0xc0}, 3},
                                                 {{0x48, 0x0f, 0x0b}, 3},
                                                 {{0x0f, 0x01, 0xc1}, 3},
                                                 {{0x0f, 0x01, 0xd9}, 3}};

/* To CR4 from rax and rbx, and back; a prefix, rsp, and CR4's neighbour have no short way. */
static const struct exiting cr4_forms[] = {
    {{0x0f, 0x22, 0xe0}, 3}, {{0x0f, 0x22, 0xe3}, 3},       {{0x0f, 0x20, 0xe0}, 3}, {{0x0f, 0x20, 0xe3}, 3},
    {{0x0f, 0x20, 0xe4}, 3}, {{0x48, 0x0f, 0x22, 0xe3}, 4}, {{0x0f, 0x22, 0xe4}, 3}, {{0x0f, 0x22, 0xdb}, 3}};

/* With rbx, which is a device's register. The last two have no short way. */
static const struct exiting access_forms[] = {{{0x8b, 0x03}, 2},       {{0x89, 0x03}, 2}, {{0x48, 0x8b, 0x03}, 3},
                                              {{0xc6, 0x03, 0x80}, 3}, {{0x8b, 0x23}, 2}, {{0x01, 0x03}, 2}};
static const uint64_t some_registers[] = {0xfec00000, 0xfec00010, 0xfed00000, 0xfed000f0, 0xfed00108,  0xfee00080,
                                          0xfee000b0, 0xfee00020, 0xfee00300, 0xfee00310, 0xfee00350,  0xfee00380,
                                          0xfec00ffc, 0xfed00800, HOLE,       HOLE + 16,  HOLE + 0xffc};

static const struct exiting xsetbv_forms[] = {{{0x0f, 0x01, 0xd1}, 3}, {{0x48, 0x0f, 0x01, 0xd1}, 4}};

/* What XSETBV and WRMSR of IA32_PAT and IA32_APIC_BASE are given, in rax: now and then what is not allowed. */
static uint64_t random_value(uint64_t msr)
{
    static const uint64_t components[] = {1, 3, 7, 1, 3, 7, 2, 9};
    static const uint64_t types[] = {0x00070406, 0x06060606, 0x00070401, 0x02070406, 0x00030406, 0x0807040f};
    uint64_t *gpr = vcpus[0].gpr;

    gpr[GPR_RDX] = msr == 0x277 ? ONE_OF(types) : one_in(8) ? random_word() : 0;
    return msr == 0x277  ? ONE_OF(types)
           : msr == 0x1b ? vcpus[0].lapic.base_msr ^ (one_in(4) ? 1 : 0)
                         : ONE_OF(components);
}

static uint64_t xcr0_loaded; /* by the last XSETBV of a way */

/* The registers of KVM_HC_SEND_IPI: to the one vCPU there is, or not, of a vector that may be none. */
static void random_ipi(void)
{
    uint64_t *gpr = vcpus[0].gpr;

    gpr[GPR_RBX] = one_in(4) ? 0 : 1ULL << (one_in(4) ? random_word() % 64 : 0);
    gpr[GPR_RCX] = one_in(4) ? 1 : 0;
    gpr[GPR_RDX] = one_in(4) ? random_word() % 8 : vcpus[0].lapic.id;
    gpr[GPR_RSI] = one_in(8) ? random_word() & 0xfffff : one_in(4) ? 0x400 : 0x20 + random_word() % 0xe0;
}

/* Of the guest in the VMCB or VMCS: 64-bit mode, in CODE's page. Most guests have been there before, or where the same
 * place of the cache is taken: the bytes there are 0, an ADD. */
static void known_code(uint64_t rip)
{
    bool known = !one_in(3);
    uint64_t at = one_in(3) ? CODE + ((rip + 0x440) & 0x7ff) : rip;

    for (uint32_t i = 0; i < COPIES && known; i++) {
        struct fetched fetched;

        vcpus[i].rip = at;
        vcpus[i].system.cr0 = CR0_PE | CR0_PG;
        vcpus[i].system.cr3 = PAGE_BYTES;
        vcpus[i].system.cr4 = CR4_PAE;
        vcpus[i].system.efer = EFER_LMA | EFER_LME;
        vcpus[i].system.segments[SEGMENT_CS].access = 0x9b | SEGMENT_L;
        if (emulate_fetch(&vcpus[i], &fetched) != FETCH_OK) {
            abort();
        }
    }
}

static const uint64_t some_ports[] = {0x3f8, 0x3f8, 0x3f9, 0x3fb, 0x3fc, 0x3fd, 0x3fd, 0x80,  0xed,  0x21,
                                      0x61,  0x71,  0xcf8, 0xcf8, 0xcf8, 0xcfc, 0xcfc, 0xcfe, 0x1234};
static const uint64_t some_msrs[] = {0x80b, 0x80b, 0x6e0, 0x6e0, 0x808, 0x830, 0x83f, 0x832, 0x838, 0x10, 0x3b, 0x1234};
static const uint64_t more_msrs[] = {0x1b, 0x1a0, 0x277, 0xc0000080, 0x8b, 0x17, 0xfe, 0x4b564d01, 0xc0010015, 0x803};
static const uint64_t some_leaves[] = {0,   1,          1,          2,          4,          7,   0xb,
                                       0xd, 0x40000000, 0x40000001, 0x80000000, 0x80000008, 0x1f};

/* Without what differs between two guests, the rings, and what means nothing, bytes that have left a FIFO. */
static bool same_uart(const struct uart *a, const struct uart *b)
{
    return a->ier == b->ier && a->fcr == b->fcr && a->lcr == b->lcr && a->mcr == b->mcr && a->scr == b->scr &&
           a->dll == b->dll && a->dlm == b->dlm && a->errors == b->errors && a->msr_delta == b->msr_delta &&
           a->thre_event == b->thre_event && a->rx_timeout == b->rx_timeout && a->rx.count == b->rx.count &&
           a->tx.count == b->tx.count && a->rx_timeout_at == b->rx_timeout_at && a->signals.lines == b->signals.lines &&
           a->signals.deadline == b->signals.deadline;
}

static bool same_unknown(const struct guest *a, const struct guest *b)
{
    for (uint32_t i = 0; i < a->unknown_count && i < b->unknown_count; i++) {
        const struct unknown_access *one = &a->unknown[i], *other = &b->unknown[i];

        if (one->kind != other->kind || one->resource != other->resource || one->last != other->last ||
            one->value != other->value || one->rip != other->rip || one->count != other->count ||
            one->reported != other->reported) {
            return false;
        }
    }
    return a->unknown_count == b->unknown_count;
}

/* Which of the two did anything else than the other, in a word; NULL: they are alike. */
static const char *difference(void)
{
    const struct vcpu *a = &vcpus[0], *b = &vcpus[1];
    const struct platform *p = &guests[0].platform, *q = &guests[1].platform;

    if (memcmp(a->ring, b->ring, sizeof(a->ring)) != 0 || a->ring_next != b->ring_next) {
        return "exit history";
    } else if (memcmp(a->exit_counts, b->exit_counts, sizeof(a->exit_counts)) != 0) {
        return "exit counts";
    } else if (memcmp(&pages[0], &pages[1], sizeof(pages[0])) != 0) {
        return "local APIC's registers";
    } else if (a->lapic.deadline != b->lapic.deadline || a->lapic.tsc_deadline != b->lapic.tsc_deadline) {
        return "APIC timer";
    } else if (end_words[0] != end_words[1] || a->lapic.end_offered != b->lapic.end_offered) {
        return "the end of an interrupt in memory";
    } else if (a->requests != b->requests) {
        return "requests";
    } else if (a->state != b->state || a->pending.valid != b->pending.valid) {
        return "state or pending event";
    } else if (!same_uart(&p->uart, &q->uart)) {
        return "UART";
    } else if (memcmp(&p->ioapic, &q->ioapic, sizeof(p->ioapic)) != 0 ||
               memcmp(&p->hpet, &q->hpet, sizeof(p->hpet)) != 0) {
        return "I/O APIC or HPET";
    } else if (byte_ring_count(&p->console_out) != byte_ring_count(&q->console_out) ||
               p->console_quiet_until != q->console_quiet_until || p->console_deadline != q->console_deadline) {
        return "console";
    } else if (guests[0].state != guests[1].state || memcmp(&p->pit, &q->pit, sizeof(p->pit)) != 0 ||
               memcmp(&p->pic, &q->pic, sizeof(p->pic)) != 0 || memcmp(&p->cmos, &q->cmos, sizeof(p->cmos)) != 0) {
        return "devices";
    } else if (!same_unknown(&guests[0], &guests[1])) {
        return "what no device answers";
    } else if (guests[0].platform_deadline != guests[1].platform_deadline) {
        return "devices' deadline";
    }
    return NULL;
}

#endif
