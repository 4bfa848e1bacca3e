/* SPDX-License-Identifier: MIT */
#include "hv/host/host_apic.h"

#include "hv/base/log.h"
#include "hv/host/host_acpi.h"
#include "hv/host/host_cpu.h"
#include "hv/host/tsc.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

/* Register offsets in the xAPIC page; the x2APIC MSR is 0x800 + offset / 16. SDM 3A 11.4.1, table 11-1; 11.12.1.2. */
#define APIC_ID 0x020u
#define APIC_TPR 0x080u
#define APIC_EOI 0x0b0u
#define APIC_LDR 0x0d0u
#define APIC_DFR 0x0e0u
#define APIC_SVR 0x0f0u
#define APIC_ISR 0x100u
#define APIC_ISR_WORDS 8u
_Static_assert(APIC_ISR_WORDS * 32 == 256, "a bit per vector");
#define APIC_ESR 0x280u
#define APIC_LVT_CMCI 0x2f0u
#define APIC_ICR 0x300u
#define APIC_ICR_HIGH 0x310u
#define APIC_LVT_TIMER 0x320u
#define APIC_LVT_THERMAL 0x330u
#define APIC_LVT_PERFORMANCE 0x340u
#define APIC_LVT_LINT0 0x350u
#define APIC_LVT_LINT1 0x360u
#define APIC_LVT_ERROR 0x370u
#define APIC_TIMER_INITIAL 0x380u
#define APIC_TIMER_CURRENT 0x390u
#define APIC_TIMER_DIVIDE 0x3e0u
#define APIC_VERSION 0x030u
#define APIC_VERSION_MAX_LVT(version) (((version) >> 16) & 0xffu)

/* Where AMD's CPUs have further local vectors: errors, thresholds, instruction-based sampling. APM 2 16.3.5 "Extended
 * APIC Feature Register"; they are four, 16 bytes apart. */
#define APIC_VERSION_EXTENDED (1u << 31)
#define APIC_EXTENDED_FEATURES 0x400u
#define APIC_EXTENDED_LVTS(features) (((features) >> 16) & 0xffu)
#define APIC_EXTENDED_LVT(n) (0x500u + 0x10u * (n))
#define EXTENDED_LVTS_MAX 4u

/* SDM 3A 11.5.1, figure 11-8; 11.9, figure 11-23; 11.5.4, figure 11-10. */
#define LVT_MASKED (1u << 16)
#define LVT_NMI (4u << 8)
#define LVT_DELIVERY (7u << 8)
#define LVT_SMI (2u << 8)
#define LVT_TIMER_DEADLINE (2u << 17)
#define SVR_ENABLE (1u << 8)
#define DIVIDE_BY_1 0x0bu
#define DFR_FLAT 0xffffffffu

/* Interrupt command register. SDM 3A 11.6.1, figure 11-12. */
#define ICR_NMI (4u << 8)
#define ICR_INIT (5u << 8)
#define ICR_STARTUP (6u << 8)
#define ICR_ASSERT (1u << 14)
#define ICR_PENDING (1u << 12)
#define ICR_WAIT_US 1000u

/* The 8259 pair. Intel 8259A data sheet, "Initialization Command Words". */
#define PIC_MASTER_COMMAND 0x20u
#define PIC_MASTER_DATA 0x21u
#define PIC_SLAVE_COMMAND 0xa0u
#define PIC_SLAVE_DATA 0xa1u
#define PIC_ICW1_ICW4 0x11u
#define PIC_ICW4_8086 0x01u
#define PIC_MASTER_HAS_SLAVE 0x04u
#define PIC_SLAVE_ID 0x02u
#define PIC_MASK_ALL 0xffu

/* I/O APIC. Intel 82093AA data sheet, 3.0. */
#define IOAPIC_USUAL_BASE 0xfec00000ULL
#define IOAPIC_SELECT 0x00u
#define IOAPIC_WINDOW 0x10u
#define IOAPIC_VERSION 0x01u
#define IOAPIC_REDIRECTION(n) (0x10u + 2u * (n))
#define IOAPIC_MASKED (1u << 16)
#define IOAPIC_LAST_ENTRY(version) (((version) >> 16) & 0xffu)
#define IOAPIC_ENTRIES_MAX 240u
#define IOAPIC_ABSENT 0xffffffffu

#define XAPIC_ID_MAX 0xfeu
#define CALIBRATION_US 3000u
#define CALIBRATION_ROUNDS 3u

static struct {
    bool x2apic;
    bool tsc_deadline;
    uint64_t base;            /* of the xAPIC page */
    uint64_t counts_per_tick; /* one-shot timer counts per TSC tick, 32.32 fixed point */
} apic;

static uint32_t apic_read(uint32_t reg)
{
    if (apic.x2apic) {
        return (uint32_t)insn_rdmsr(MSR_X2APIC_FIRST + reg / 16);
    }
    return insn_mmio_read32(apic.base + reg);
}

static void apic_write(uint32_t reg, uint32_t value)
{
    if (apic.x2apic) {
        insn_wrmsr(MSR_X2APIC_FIRST + reg / 16, value);
    } else {
        insn_mmio_write32(apic.base + reg, value);
    }
}

/* ICW1 to ICW4 move the vectors away from the exceptions; then every input is masked. */
static void mask_pics(void)
{
    insn_out8(PIC_MASTER_COMMAND, PIC_ICW1_ICW4);
    insn_out8(PIC_SLAVE_COMMAND, PIC_ICW1_ICW4);
    insn_out8(PIC_MASTER_DATA, HOST_VECTOR_PIC);
    insn_out8(PIC_SLAVE_DATA, HOST_VECTOR_PIC + 8);
    insn_out8(PIC_MASTER_DATA, PIC_MASTER_HAS_SLAVE);
    insn_out8(PIC_SLAVE_DATA, PIC_SLAVE_ID);
    insn_out8(PIC_MASTER_DATA, PIC_ICW4_8086);
    insn_out8(PIC_SLAVE_DATA, PIC_ICW4_8086);
    insn_out8(PIC_MASTER_DATA, PIC_MASK_ALL);
    insn_out8(PIC_SLAVE_DATA, PIC_MASK_ALL);
}

static uint32_t ioapic_read(uint64_t base, uint32_t index)
{
    insn_mmio_write32(base + IOAPIC_SELECT, index);
    return insn_mmio_read32(base + IOAPIC_WINDOW);
}

static void mask_ioapic(uint64_t base)
{
    uint32_t version = ioapic_read(base, IOAPIC_VERSION);

    if (version == IOAPIC_ABSENT) {
        return;
    }
    for (uint32_t i = 0; i <= IOAPIC_LAST_ENTRY(version) && i < IOAPIC_ENTRIES_MAX; i++) {
        insn_mmio_write32(base + IOAPIC_SELECT, IOAPIC_REDIRECTION(i));
        insn_mmio_write32(base + IOAPIC_WINDOW, IOAPIC_MASKED);
    }
}

static bool deadline_is_broken(void)
{
    const struct cpu_identity identity = host_cpu_identity();
    uint32_t wanted;

    if (!cpu_errata_deadline_timer(&identity, &wanted)) {
        return false;
    }
    log_warning(
        "this CPU's TSC-deadline timer has an erratum that microcode 0x%x mends (it has 0x%x): the one-shot timer "
        "is used; update the firmware",
        wanted, identity.microcode);
    return true;
}

void host_apic_init_machine(const struct host_acpi *acpi, uint32_t highest_apic_id)
{
    uint32_t features = insn_cpuid(CPUID_FEATURES, 0).ecx;
    uint64_t base = insn_rdmsr(MSR_APIC_BASE);

    mask_pics();
    for (uint32_t i = 0; i < acpi->ioapic_count; i++) {
        mask_ioapic(acpi->ioapics[i]);
    }
    if (acpi->ioapic_count == 0) {
        mask_ioapic(IOAPIC_USUAL_BASE);
    }
    apic.base = base & APIC_BASE_ADDRESS;
    apic.x2apic =
        (base & APIC_BASE_X2APIC) != 0 || (highest_apic_id > XAPIC_ID_MAX && (features & CPUID_1_ECX_X2APIC) != 0);
    apic.tsc_deadline = (features & CPUID_1_ECX_TSC_DEADLINE) != 0 && !deadline_is_broken();
}

/* What the firmware's own handlers get stays theirs: it may be how a board keeps cool. */
static void mask_unless_smi(uint32_t reg)
{
    if ((apic_read(reg) & (LVT_DELIVERY | LVT_MASKED)) != LVT_SMI) {
        apic_write(reg, LVT_MASKED);
    }
}

/* Which source has which of them is in registers of the sources, which firmwares set wrong: none of them is used, so
 * two that share one do no harm. */
static void mask_extended_inputs(uint32_t version)
{
    uint32_t count = (version & APIC_VERSION_EXTENDED) != 0 ? APIC_EXTENDED_LVTS(apic_read(APIC_EXTENDED_FEATURES)) : 0;

    for (uint32_t i = 0; i < count && i < EXTENDED_LVTS_MAX; i++) {
        mask_unless_smi(APIC_EXTENDED_LVT(i));
    }
}

/* Inputs that this APIC has; the number of local vectors is in its version register. LINT1 is the machine's NMI button
 * and errors, wired to all CPUs: one is enough to tell of it. SDM 3A 11.4.8. */
static void mask_local_inputs(void)
{
    uint32_t version = apic_read(APIC_VERSION);
    uint32_t last = APIC_VERSION_MAX_LVT(version);
    bool bsp = (insn_rdmsr(MSR_APIC_BASE) & APIC_BASE_BSP) != 0;

    apic_write(APIC_LVT_LINT0, LVT_MASKED);
    apic_write(APIC_LVT_LINT1, bsp ? LVT_NMI : LVT_MASKED);
    apic_write(APIC_LVT_ERROR, LVT_MASKED);
    if (last >= 4) {
        apic_write(APIC_LVT_PERFORMANCE, LVT_MASKED);
    }
    if (last >= 5) {
        mask_unless_smi(APIC_LVT_THERMAL);
    }
    if (last >= 6) {
        apic_write(APIC_LVT_CMCI, LVT_MASKED);
    }
    mask_extended_inputs(version);
}

/* Enabled in the wanted mode: xAPIC first, because x2APIC cannot be reached from "disabled". SDM 3A 11.12.5. */
static void enable(void)
{
    uint64_t base = insn_rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLE;

    insn_wrmsr(MSR_APIC_BASE, base);
    if (apic.x2apic) {
        insn_wrmsr(MSR_APIC_BASE, base | APIC_BASE_X2APIC);
    } else {
        apic_write(APIC_DFR, DFR_FLAT);
    }
}

/* SDM 3A 11.5.4.1: in xAPIC mode the write of the LVT must reach the APIC before the MSR is written. */
static void init_timer(void)
{
    if (apic.tsc_deadline) {
        apic_write(APIC_LVT_TIMER, LVT_TIMER_DEADLINE | HOST_VECTOR_TIMER);
        insn_mfence();
        insn_wrmsr(MSR_TSC_DEADLINE, 0);
        return;
    }
    apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, HOST_VECTOR_TIMER);
    apic_write(APIC_TIMER_INITIAL, 0);
}

void host_apic_init_cpu(void)
{
    enable();
    apic_write(APIC_TPR, 0);
    apic_write(APIC_SVR, SVR_ENABLE | HOST_VECTOR_SPURIOUS); /* before it all inputs stay masked. SDM 3A 11.4.7.2 */
    mask_local_inputs();
    init_timer();
}

uint32_t host_apic_id(void)
{
    uint32_t id = apic_read(APIC_ID);

    return apic.x2apic ? id : id >> 24;
}

bool host_apic_is_x2apic(void)
{
    return apic.x2apic;
}

/* As apic_write(), for each tick of a guest. */
void host_apic_eoi(void)
{
    if (apic.x2apic) {
        insn_wrmsr(MSR_X2APIC_FIRST + APIC_EOI / 16, 0);
    } else {
        insn_mmio_write32(apic.base + APIC_EOI, 0);
    }
}

void host_apic_end_stray(void)
{
    for (uint32_t word = 0; word < APIC_ISR_WORDS; word++) {
        if (apic_read(APIC_ISR + word * 0x10u) != 0) {
            host_apic_eoi();
            return;
        }
    }
}

/* The xAPIC takes one command at a time; a command that stays pending means that no APIC takes it, so give up
 * waiting. */
static void wait_icr(void)
{
    uint64_t end = tsc_after_us(ICR_WAIT_US);

    while ((apic_read(APIC_ICR) & ICR_PENDING) != 0 && insn_rdtsc() < end) {
        insn_pause();
    }
}

static void send(uint32_t apic_id, uint32_t command)
{
    if (apic.x2apic) {
        insn_mfence(); /* the MSR write does not wait for earlier stores, which the receiver wants to see. SDM
                          3A 11.12.3 */
        insn_lfence();
        insn_wrmsr(MSR_X2APIC_FIRST + APIC_ICR / 16, (uint64_t)apic_id << 32 | command);
        return;
    }
    wait_icr();
    apic_write(APIC_ICR_HIGH, apic_id << 24);
    apic_write(APIC_ICR, command);
}

void host_apic_send(uint32_t apic_id, uint8_t vector)
{
    send(apic_id, ICR_ASSERT | vector);
}

void host_apic_send_nmi(uint32_t apic_id)
{
    send(apic_id, ICR_ASSERT | ICR_NMI);
}

void host_apic_send_init(uint32_t apic_id)
{
    send(apic_id, ICR_ASSERT | ICR_INIT);
}

void host_apic_send_sipi(uint32_t apic_id, uint8_t page)
{
    send(apic_id, ICR_ASSERT | ICR_STARTUP | page);
}

/* Counts of the one-shot timer in one calibration interval, and the TSC ticks it really took. */
static uint64_t measure(void)
{
    uint64_t start, end, counts;

    apic_write(APIC_LVT_TIMER, LVT_MASKED | HOST_VECTOR_TIMER);
    apic_write(APIC_TIMER_INITIAL, UINT32_MAX);
    start = insn_rdtsc();
    tsc_wait_us(CALIBRATION_US);
    counts = UINT32_MAX - apic_read(APIC_TIMER_CURRENT);
    end = insn_rdtsc();
    apic_write(APIC_TIMER_INITIAL, 0);
    apic_write(APIC_LVT_TIMER, HOST_VECTOR_TIMER);
    return (counts << 32) / (end - start);
}

/* The smallest of a few: whatever holds the CPU up between the readings makes the ratio too large or too small by
 * little, and a timer that is thought slower fires early, which the callers expect. */
void host_timer_calibrate(void)
{
    if (apic.tsc_deadline) {
        return;
    }
    apic.counts_per_tick = UINT64_MAX;
    for (uint32_t i = 0; i < CALIBRATION_ROUNDS; i++) {
        apic.counts_per_tick = min_u64(apic.counts_per_tick, measure());
    }
}

static void arm_deadline(uint64_t deadline_tsc)
{
    /* 0 would disarm; any other past value fires at once. SDM 3A 11.5.4.1. */
    insn_wrmsr(MSR_TSC_DEADLINE, deadline_tsc == UINT64_MAX ? 0 : max_u64(deadline_tsc, 1));
}

static void arm_one_shot(uint64_t deadline_tsc)
{
    uint64_t now = insn_rdtsc();
    uint64_t ticks = deadline_tsc > now ? deadline_tsc - now : 0;
    unsigned __int128 counts = ((unsigned __int128)ticks * apic.counts_per_tick) >> 32;

    if (deadline_tsc == UINT64_MAX) {
        apic_write(APIC_TIMER_INITIAL, 0);
        return;
    }
    apic_write(APIC_TIMER_INITIAL, (uint32_t)(counts > UINT32_MAX ? UINT32_MAX : counts == 0 ? 1 : counts));
}

void host_timer_arm(uint64_t deadline_tsc)
{
    if (apic.tsc_deadline) {
        arm_deadline(deadline_tsc);
    } else {
        arm_one_shot(deadline_tsc);
    }
}

bool host_timer_is_deadline(void)
{
    return apic.tsc_deadline;
}

const char *host_timer_name(void)
{
    return apic.tsc_deadline ? "APIC timer in TSC-deadline mode" : "one-shot APIC timer";
}
