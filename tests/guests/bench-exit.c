/* SPDX-License-Identifier: MIT */
/*
 * What an exit costs: TSC ticks from before an instruction that leaves the guest to after it, the cheapest of many.
 *
 * Under QEMU -icount shift=0 and in Bochs with an unpaced clock a tick is one instruction, so the figures are the
 * hypervisor's instructions per exit (with the emulator's one for the entry itself) and repeat exactly. The cost of the
 * measuring itself is taken off. `make bench-exit` runs it on both vendors.
 */
#include "tests/guests/lib/guest.h"

#define ROUNDS 200u
#define MSR_X2APIC_EOI 0x80bu
#define MSR_X2APIC_TPR 0x808u
#define MSR_X2APIC_ICR 0x830u
#define NMI_TO_SELF 0x44400u
#define NMI 2u
#define MANY_NMIS 2000u
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_APIC_BASE 0x1bu
#define APIC_BASE_X2APIC 0x400u
#define UART_DATA 0x3f8u
#define UART_SCRATCH 0x3ffu
#define UART_LSR 0x3fdu
#define CMOS_INDEX 0x70u
#define PORT_B 0x61u
#define IOAPIC_SELECT 0xfec00000u
#define LAPIC_TPR (LAPIC_BASE + 0x80)

const char guest_name[] = "bench-exit";

static inline uint64_t ticks(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static inline void write_msr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

static inline uint64_t read_msr(uint32_t msr)
{
    uint32_t low, high;

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
    return (uint64_t)high << 32 | low;
}

static void do_nothing(void)
{
    __asm__ volatile("" : : : "memory");
}

static void do_cpuid(void)
{
    uint32_t a = 1, b, c = 0, d;

    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
}

static void do_port_read(void)
{
    uint8_t value;

    __asm__ volatile("inb %w1, %b0" : "=a"(value) : "d"((uint16_t)UART_LSR) : "memory");
}

static void do_send(void)
{
    __asm__ volatile("outb %b0, %w1" : : "a"('.'), "d"((uint16_t)UART_DATA) : "memory");
}

/* Ports without a way of their own: what the devices' bus costs. */
static void do_scratch_read(void)
{
    uint8_t value;

    __asm__ volatile("inb %w1, %b0" : "=a"(value) : "d"((uint16_t)UART_SCRATCH) : "memory");
}

static void do_cmos_index(void)
{
    __asm__ volatile("outb %b0, %w1" : : "a"(0), "d"((uint16_t)CMOS_INDEX) : "memory");
}

static void do_port_b_read(void)
{
    uint8_t value;

    __asm__ volatile("inb %w1, %b0" : "=a"(value) : "d"((uint16_t)PORT_B) : "memory");
}

static void do_deadline(void)
{
    write_msr(MSR_TSC_DEADLINE, 0);
}

static void do_eoi(void)
{
    write_msr(MSR_X2APIC_EOI, 0);
}

static void do_tpr_read(void)
{
    (void)read_msr(MSR_X2APIC_TPR);
}

/* Devices in memory: the instruction is fetched, decoded and executed by the hypervisor. */
static void do_ioapic_read(void)
{
    (void)mmio_read32(IOAPIC_SELECT);
}

static void do_lapic_write(void)
{
    mmio_write32(LAPIC_TPR, 0);
}

static void do_hypercall_port(void)
{
    __asm__ volatile("outb %%al, $0x80" : : "a"(0) : "memory");
}

static volatile uint32_t nmis;

static void on_nmi(struct trap_frame *frame)
{
    (void)frame;
    nmis++;
}

/* All of it: the write, the delivery, the handler, its IRET. */
static void do_nmi(void)
{
    uint32_t before = nmis;

    write_msr(MSR_X2APIC_ICR, NMI_TO_SELF);
    while (nmis == before) {
    }
}

static void do_many_nmis(void)
{
    for (uint32_t i = 0; i < MANY_NMIS; i++) {
        do_nmi();
    }
}

static uint64_t cheapest(void (*work)(void))
{
    uint64_t best = ~0ULL;

    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t start = ticks();
        uint64_t taken;

        work();
        taken = ticks() - start;
        best = taken < best ? taken : best;
    }
    return best;
}

static void measure(const char *name, void (*work)(void), uint64_t floor)
{
    print("bench-exit: %s %u\n", name, (uint32_t)(cheapest(work) - floor));
}

void guest_main(void)
{
    uint64_t floor = cheapest(do_nothing);
    uint64_t send, many;

    measure("MOV-IOAPIC-read", do_ioapic_read, floor);
    measure("MOV-xAPIC-TPR-write", do_lapic_write, floor);
    write_msr(MSR_APIC_BASE, read_msr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
    measure("CPUID", do_cpuid, floor);
    measure("OUT-0x80", do_hypercall_port, floor);
    measure("IN-UART-LSR", do_port_read, floor);
    measure("IN-UART-scratch", do_scratch_read, floor);
    measure("OUT-CMOS-index", do_cmos_index, floor);
    measure("IN-port-B", do_port_b_read, floor);
    measure("WRMSR-TSC-deadline", do_deadline, floor);
    measure("WRMSR-x2APIC-EOI", do_eoi, floor);
    measure("RDMSR-x2APIC-TPR", do_tpr_read, floor);
    trap_set(NMI, on_nmi);
    measure("NMI-to-self", do_nmi, floor);
    many = ticks();
    do_many_nmis();
    print("bench-exit: NMI-to-self-mean %u\n", (uint32_t)((ticks() - many) / MANY_NMIS));
    send = cheapest(do_send) - floor; /* prints what it sends */
    print("\nbench-exit: OUT-UART-data %u\n", (uint32_t)send);
}
