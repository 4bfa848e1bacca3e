/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's register page, for lapic.c and lapic_timer.c (nothing else needs it, except VMX's virtual-APIC page
 * set-up and tests). SDM 3A 11.4.1 "The Local APIC Block Diagram", table 11-1.
 */
#ifndef HV_DEV_LAPIC_REGISTERS_H
#define HV_DEV_LAPIC_REGISTERS_H

#include "hv/dev/lapic.h"

/* Byte offsets in the page. The x2APIC MSR is 0x800 + offset / 16. SDM 3A 11.12.1.2, table 11-6. */
#define LAPIC_ID 0x020u
#define LAPIC_VERSION 0x030u
#define LAPIC_TPR 0x080u
#define LAPIC_APR 0x090u
#define LAPIC_PPR 0x0a0u
#define LAPIC_EOI 0x0b0u
#define LAPIC_RRD 0x0c0u
#define LAPIC_LDR 0x0d0u
#define LAPIC_DFR 0x0e0u
#define LAPIC_SVR 0x0f0u
#define LAPIC_ISR 0x100u
#define LAPIC_TMR 0x180u
#define LAPIC_IRR 0x200u
#define LAPIC_ESR 0x280u
#define LAPIC_ICR 0x300u
#define LAPIC_ICR_HIGH 0x310u
#define LAPIC_LVT_TIMER 0x320u
#define LAPIC_LVT_THERMAL 0x330u
#define LAPIC_LVT_PERFORMANCE 0x340u
#define LAPIC_LVT_LINT0 0x350u
#define LAPIC_LVT_LINT1 0x360u
#define LAPIC_LVT_ERROR 0x370u
#define LAPIC_TIMER_INITIAL 0x380u
#define LAPIC_TIMER_CURRENT 0x390u
#define LAPIC_TIMER_DIVIDE 0x3e0u
#define LAPIC_SELF_IPI 0x3f0u /* x2APIC only */
#define LAPIC_REGISTERS_END 0x400u
_Static_assert(LAPIC_IRR - LAPIC_TMR == 0x80 && LAPIC_TMR - LAPIC_ISR == 0x80 && LAPIC_ESR - LAPIC_IRR == 0x80,
               "256 vectors each: eight registers of 32 bits, 16 bytes apart");
_Static_assert(LAPIC_LVT_ERROR - LAPIC_LVT_TIMER == 5 * 0x10, "six entries of the LVT in a row. SDM 3A 11.4.8");

/* IA32_APIC_BASE. SDM 3A 11.4.4 "Local APIC Status and Location", figure 11-5; 11.12.1. */
#define LAPIC_BASE_BSP (1ULL << 8)
#define LAPIC_BASE_EXTD (1ULL << 10)
#define LAPIC_BASE_ENABLE (1ULL << 11)

/* SDM 3A 11.9 "Spurious Interrupt", figure 11-23. No EOI-broadcast suppression here. */
#define LAPIC_SVR_ENABLE 0x100u

/* SDM 3A 11.5.1 "Local Vector Table", figure 11-8. */
#define LAPIC_LVT_MASKED 0x10000u
#define LAPIC_LVT_TIMER_MODE 0x60000u
#define LAPIC_TIMER_ONE_SHOT 0x00000u
#define LAPIC_TIMER_PERIODIC 0x20000u
#define LAPIC_TIMER_TSC_DEADLINE 0x40000u

/* SDM 3A 11.5.3 "Error Handling", figure 11-9. */
#define LAPIC_ERROR_SEND_VECTOR 0x20u
#define LAPIC_ERROR_RECEIVE_VECTOR 0x40u
#define LAPIC_ERROR_REGISTER 0x80u

#define LAPIC_VECTOR_MIN 16u /* SDM 3A 11.5.2 "Valid Interrupt Vectors" */

static inline uint32_t *lapic_register(struct lapic *lapic, uint32_t offset)
{
    return &lapic->page->registers[offset / 4];
}

static inline uint32_t lapic_get(const struct lapic *lapic, uint32_t offset)
{
    return lapic->page->registers[offset / 4];
}

/* Where lapic_requests_alone() looks. */
static inline void lapic_note_latest(struct lapic *lapic, uint8_t vector)
{
    lapic->latest = vector;
    lapic->latest_word = vector / 32u * 4;
    lapic->latest_bit = 1u << (vector % 32u);
}

/* Sets a vector in IRR as an edge: what local sources and IPIs are. */
static inline void lapic_request(struct lapic *lapic, uint8_t vector)
{
    uint32_t word = vector / 32u * 16;
    uint32_t bit = 1u << (vector % 32u);

    *lapic_register(lapic, LAPIC_TMR + word) &= ~bit;
    *lapic_register(lapic, LAPIC_IRR + word) |= bit;
    lapic_note_latest(lapic, vector);
}

/* ISR, TMR or IRR. */
static inline bool lapic_any_vector(const struct lapic *lapic, uint32_t base)
{
    return lapic_any_bit(&lapic->page->registers[base / 4]);
}

/* The sum of the eight registers of IRR, each read with the reserved word behind it, which is 0. */
static inline uint64_t lapic_sum_of_irr(const struct lapic *lapic)
{
    const uint64_t *words = (const void *)&lapic->page->registers[LAPIC_IRR / 4];

    return words[0] + words[2] + words[4] + words[6] + words[8] + words[10] + words[12] + words[14];
}

/*
 * The short way of what waits, of which there is nearly always one: the vector that came to IRR last, where it is the
 * only one, and nothing is posted. Whether it is so the registers say.
 *
 * lapic_requests_alone(): that vector, or -1. lapic_accept_alone(): with it what lapic_highest_deliverable() and
 * lapic_accept() would do, if it may be delivered, and if interrupts do not end in the guest's memory; else -1, and
 * nothing has been done.
 */
static inline int lapic_requests_alone(const struct lapic *lapic)
{
    uint32_t bit = lapic->latest_bit;
    bool alone = (lapic->page->registers[LAPIC_IRR / 4 + lapic->latest_word] & bit) != 0 &&
                 lapic_sum_of_irr(lapic) == bit && __atomic_load_n(&lapic->pending_words, __ATOMIC_RELAXED) == 0;

    return alone ? lapic->latest : -1;
}

static inline bool lapic_latest_is_level(const struct lapic *lapic)
{
    return (lapic->page->registers[LAPIC_TMR / 4 + lapic->latest_word] & lapic->latest_bit) != 0;
}

static inline int lapic_accept_alone(struct lapic *lapic)
{
    uint32_t *registers = lapic->page->registers;
    uint32_t class = lapic->latest & 0xf0u;

    if (lapic_requests_alone(lapic) < 0 || registers[LAPIC_TPR / 4] != lapic->ppr_tpr ||
        class <= (registers[LAPIC_PPR / 4] & 0xf0u) || lapic->end_word != NULL) {
        return -1;
    }
    registers[LAPIC_IRR / 4 + lapic->latest_word] = 0;
    registers[LAPIC_ISR / 4 + lapic->latest_word] |= lapic->latest_bit;
    registers[LAPIC_PPR / 4] = class; /* it is above all others */
    return lapic->latest;
}

/* A fixed interrupt to itself, by the shorthand, as lapic_mmio_write() would send it through ICR. False: `icr` is
 * another message, or one that is not sent; nothing has been done. SDM 3A 11.6.1, figure 11-12. */
#define LAPIC_ICR_BITS 0x000ccfffu /* that can be written: 12 is the delivery status, always idle */
#define LAPIC_ICR_KIND 0x000c0700u /* shorthand and delivery mode */
#define LAPIC_ICR_FIXED_TO_SELF 0x00040000u
static inline bool lapic_quick_self_ipi(struct lapic *lapic, uint32_t icr)
{
    if ((icr & LAPIC_ICR_KIND) != LAPIC_ICR_FIXED_TO_SELF || (icr & 0xf0u) == 0 ||
        (lapic_get(lapic, LAPIC_SVR) & LAPIC_SVR_ENABLE) == 0) {
        return false;
    }
    *lapic_register(lapic, LAPIC_ICR) = icr & LAPIC_ICR_BITS;
    lapic_request(lapic, (uint8_t)icr);
    return true;
}

/* now + wait, or DEADLINE_NONE where that is beyond it. */
static inline uint64_t lapic_deadline_after(uint64_t wait, uint64_t now)
{
    return wait < DEADLINE_NONE - now ? now + wait : DEADLINE_NONE;
}

/* The short way of lapic_tsc_deadline_write(): neither the old deadline nor the new one has passed, or the write is
 * ignored. False: nothing has been done. Compared in guest time, where a guest with a moved TSC has no wrap. */
static inline bool lapic_quick_tsc_deadline(struct lapic *lapic, uint64_t value, uint64_t tsc_offset, uint64_t now)
{
    uint64_t guest_now = now + tsc_offset;

    if ((lapic->timer_lvt & LAPIC_LVT_TIMER_MODE) != LAPIC_TIMER_TSC_DEADLINE || !lapic_enabled(lapic)) {
        return true;
    }
    if (now >= lapic->deadline || (value <= guest_now && value != 0)) {
        return false;
    }
    lapic->tsc_deadline = value;
    lapic->deadline = value != 0 ? lapic_deadline_after(value - guest_now, now) : DEADLINE_NONE;
    return true;
}

/* Notes an error for ESR and raises the LVT error interrupt. */
void lapic_error(struct lapic *lapic, uint32_t error);

/* Raises the fixed interrupt of an LVT entry, unless it is masked: of one of the page, or of the timer's. */
void lapic_raise_local(struct lapic *lapic, uint32_t lvt);
static inline void lapic_raise_entry(struct lapic *lapic, uint32_t entry)
{
    if ((entry & LAPIC_LVT_MASKED) != 0) {
        return;
    }
    if ((entry & 0xf0u) == 0) {
        lapic_error(lapic, LAPIC_ERROR_RECEIVE_VECTOR);
        return;
    }
    lapic_request(lapic, (uint8_t)entry);
}
_Static_assert(LAPIC_VECTOR_MIN == 16, "lapic_raise_entry()");

/* lapic_timer.c: what the timer does when its registers are written, and what its count is. */
void lapic_timer_stop(struct lapic *lapic);
void lapic_timer_write_lvt(struct lapic *lapic, uint32_t value, uint64_t now);
void lapic_timer_write_initial(struct lapic *lapic, uint32_t value, uint64_t now);
void lapic_timer_write_divide(struct lapic *lapic, uint32_t value, uint64_t now);
uint32_t lapic_timer_count(const struct lapic *lapic, uint64_t now);

#endif
