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
#define MSR_X2APIC_LVT_TIMER 0x832u
#define LVT_TSC_DEADLINE 0x40000u
#define TICK 0x42u
#define TICK_AHEAD 5000u
#define MSR_APIC_BASE 0x1bu
#define APIC_BASE_X2APIC 0x400u
#define UART_DATA 0x3f8u
#define UART_SCRATCH 0x3ffu
#define UART_LSR 0x3fdu
#define CMOS_INDEX 0x70u
#define PORT_B 0x61u
#define IOAPIC_SELECT 0xfec00000u
#define LAPIC_TPR (LAPIC_BASE + 0x80)
#define LAPIC_EOI (LAPIC_BASE + 0xb0)
#define LAPIC_SPURIOUS (LAPIC_BASE + 0xf0)
#define LAPIC_ICR (LAPIC_BASE + 0x300)
#define LAPIC_TIMER_INITIAL (LAPIC_BASE + 0x380)
#define LAPIC_TIMER_CURRENT (LAPIC_BASE + 0x390)
#define APIC_ON 0x1ffu
#define TO_SELF 0x40000u
#define IPI 0x41u
#define UNDEFINED 6u
#define PROTECTION 13u
#define NO_DEVICE 0xe00f0000u /* 00:1e.0 */
#define NOTHING 0xfed80000u
#define NO_MSR 0x12345u
#define MSR_MISC_ENABLE 0x1a0u
#define MSR_PAT 0x277u
#define MSR_EFER 0xc0000080u
#define PIC_MASK 0x21u
#define PCI_ADDRESS 0xcf8u
#define CR4_PGE 0x80u
#define CR4_MCE 0x40u
#define CR4_OSXSAVE 0x40000u
#define CPUID_XSAVE (1u << 26) /* leaf 1, ECX */
#define NO_HYPERCALL 999u

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

static void do_lapic_read(void)
{
    (void)mmio_read32(LAPIC_TPR);
}

/* A count of 0: the timer stands still. */
static void do_timer_write(void)
{
    mmio_write32(LAPIC_TIMER_INITIAL, 0);
}

static void do_timer_read(void)
{
    (void)mmio_read32(LAPIC_TIMER_CURRENT);
}

static void do_no_function_read(void)
{
    (void)mmio_read32(NO_DEVICE);
}

/* Below the local APIC's page and no device's: the guest's list of what nothing answers has it after the first read. */
static void do_empty_read(void)
{
    (void)mmio_read32(NOTHING);
}

static volatile uint32_t ipis;

static void on_ipi(struct trap_frame *frame)
{
    (void)frame;
    ipis++;
    mmio_write32(LAPIC_EOI, 0);
}

static void do_self_ipi(void)
{
    uint32_t before = ipis;

    mmio_write32(LAPIC_ICR, TO_SELF | IPI);
    while (ipis == before) {
    }
}

static void do_apic_base_read(void)
{
    (void)read_msr(MSR_APIC_BASE);
}

static void do_apic_base_write(void)
{
    write_msr(MSR_APIC_BASE, read_msr(MSR_APIC_BASE));
}

static void do_misc_enable_read(void)
{
    (void)read_msr(MSR_MISC_ENABLE);
}

static void do_pat_read(void)
{
    (void)read_msr(MSR_PAT);
}

static void do_pat_write(void)
{
    write_msr(MSR_PAT, 0x0007040600070406);
}

static void do_efer_read(void)
{
    (void)read_msr(MSR_EFER);
}

/* Over an instruction of two bytes. */
static void on_fault(struct trap_frame *frame)
{
    frame->ip += 2;
}

static void do_unknown_msr(void)
{
    (void)read_msr(NO_MSR);
}

static void do_ud2(void)
{
    __asm__ volatile("ud2");
}

static void do_vmcall(void)
{
    uint32_t a = NO_HYPERCALL;

    __asm__ volatile("vmcall" : "+a"(a) : : "memory");
}

static void do_vmmcall(void)
{
    uint32_t a = NO_HYPERCALL;

    __asm__ volatile("vmmcall" : "+a"(a) : : "memory");
}

static void do_pic_mask_read(void)
{
    uint8_t value;

    __asm__ volatile("inb %w1, %b0" : "=a"(value) : "d"((uint16_t)PIC_MASK) : "memory");
}

static void do_pci_address_write(void)
{
    __asm__ volatile("outl %0, %w1" : : "a"(0x80000000u), "d"((uint16_t)PCI_ADDRESS) : "memory");
}

static void do_global_flush(void)
{
    write_cr4(read_cr4() ^ CR4_PGE);
    write_cr4(read_cr4() ^ CR4_PGE);
}

static void do_xsetbv(void)
{
    __asm__ volatile("xsetbv" : : "c"(0), "a"(1), "d"(0) : "memory");
}

static void do_wbinvd(void)
{
    __asm__ volatile("wbinvd" : : : "memory");
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

static volatile uint32_t timer_ticks;

static void on_tick(struct trap_frame *frame)
{
    (void)frame;
    timer_ticks++;
    write_msr(MSR_X2APIC_EOI, 0);
}

/* The write of a deadline, and all from that moment on until the guest goes on: the interrupt, its handler, its end. */
static uint64_t tick(void)
{
    uint32_t before = timer_ticks;
    uint64_t start = ticks();
    uint64_t written;

    write_msr(MSR_TSC_DEADLINE, start + TICK_AHEAD);
    written = ticks() - start;
    while (timer_ticks == before) {
    }
    return written + (ticks() - (start + TICK_AHEAD));
}

static void measure_tick(uint64_t floor)
{
    uint64_t best = ~0ULL;
    uint64_t all = 0;

    trap_set(TICK, on_tick);
    write_msr(MSR_X2APIC_LVT_TIMER, LVT_TSC_DEADLINE | TICK);
    interrupts_on();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t taken = tick();

        best = taken < best ? taken : best;
        all += taken;
    }
    interrupts_off();
    print("bench-exit: timer-tick %u\n", (uint32_t)(best - floor));
    print("bench-exit: timer-tick-mean %u\n", (uint32_t)(all / ROUNDS - floor));
}

static void measure_memory(uint64_t floor)
{
    measure("MOV-IOAPIC-read", do_ioapic_read, floor);
    measure("MOV-PCI-no-function", do_no_function_read, floor);
    measure("MOV-hole-read", do_empty_read, floor);
    measure("MOV-xAPIC-TPR-read", do_lapic_read, floor);
    measure("MOV-xAPIC-TPR-write", do_lapic_write, floor);
    measure("MOV-xAPIC-timer-write", do_timer_write, floor);
    measure("MOV-xAPIC-timer-read", do_timer_read, floor);
    mmio_write32(LAPIC_SPURIOUS, APIC_ON);
    trap_set(IPI, on_ipi);
    interrupts_on();
    measure("IPI-to-self", do_self_ipi, floor);
    interrupts_off();
}

static void measure_rare(uint64_t floor)
{
    measure("RDMSR-APIC-BASE", do_apic_base_read, floor);
    measure("RDMSR-MISC-ENABLE", do_misc_enable_read, floor);
    measure("RDMSR-PAT", do_pat_read, floor);
    measure("WRMSR-PAT", do_pat_write, floor);
    measure("RDMSR-EFER", do_efer_read, floor);
    measure("RD-WRMSR-APIC-BASE", do_apic_base_write, floor);
    trap_set(PROTECTION, on_fault);
    trap_set(UNDEFINED, on_fault);
    measure("unknown-MSR-#GP-IRET", do_unknown_msr, floor);
    measure("UD2-#UD-IRET", do_ud2, floor);
    measure("VMCALL", do_vmcall, floor);
    measure("VMMCALL", do_vmmcall, floor);
    measure("IN-8259-mask", do_pic_mask_read, floor);
    measure("OUT-PCI-address", do_pci_address_write, floor);
    measure("CR4.PGE-off-and-on", do_global_flush, floor);
    write_cr4(read_cr4() | CR4_MCE);
    measure("CR4.PGE-with-MCE", do_global_flush, floor);
    write_cr4(read_cr4() & ~(uint64_t)CR4_MCE);
    if ((cpuid(1, 0).ecx & CPUID_XSAVE) != 0) {
        write_cr4(read_cr4() | CR4_OSXSAVE);
        measure("XSETBV", do_xsetbv, floor);
    }
    measure("WBINVD", do_wbinvd, floor);
}

void guest_main(void)
{
    uint64_t floor = cheapest(do_nothing);
    uint64_t send, many;

    measure_memory(floor);
    measure_rare(floor);
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
    measure_tick(floor);
    many = ticks();
    do_many_nmis();
    print("bench-exit: NMI-to-self-mean %u\n", (uint32_t)((ticks() - many) / MANY_NMIS));
    send = cheapest(do_send) - floor; /* prints what it sends */
    print("\nbench-exit: OUT-UART-data %u\n", (uint32_t)send);
}
