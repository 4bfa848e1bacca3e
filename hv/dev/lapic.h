/* SPDX-License-Identifier: MIT */
/*
 * The local APIC of one vCPU: xAPIC page and x2APIC MSRs over the same registers.
 *
 * The registers are the architectural 4 KiB page, so that VMX can use it as its virtual-APIC page. Only the vCPU's own
 * CPU touches the page; others post vectors into `pending` (atomically) and kick the vCPU.
 * SDM 3A 11 "Advanced Programmable Interrupt Controller (APIC)"; APM 2 16.
 *
 * Times are host TSC ticks. The timer counts at lapic_timer_hz() before the divider (CPUID 0x15 and 0x40000010 say
 * so).
 */
#ifndef HV_DEV_LAPIC_H
#define HV_DEV_LAPIC_H

#include "hv/base/clock.h"
#include "hv/base/types.h"
#include "hv/dev/apic_message.h"
#include "hv/dev/ticks.h"
#include "hv/dev/timebase.h"

#define LAPIC_REGISTER_COUNT 1024u
_Static_assert(LAPIC_REGISTER_COUNT * sizeof(uint32_t) == PAGE_BYTES, "the APIC page");
#define LAPIC_OUTBOX_MAX 4u

struct lapic_page {
    uint32_t registers[LAPIC_REGISTER_COUNT];
} __attribute__((aligned(4096)));

struct lapic {
    struct lapic_page *page; /* memory that outlives the lapic; zeroed by lapic_reset */
    uint32_t pending[8];     /* vectors posted by others, atomically; merged into IRR by lapic_merge_pending */
    uint32_t pending_level[8];
    uint32_t pending_words; /* bit n: pending[n] has something; set after it */
    uint32_t id;            /* initial APIC id = vCPU index */
    uint64_t base_msr;      /* IA32_APIC_BASE as the guest reads it */
    uint32_t ppr_tpr;       /* the TPR that PPR was computed from */
    bool bsp;
    uint8_t latest;       /* the last vector that came to IRR: where lapic_accept_alone() looks */
    uint64_t latest_word; /* its word, behind the first one of IRR, ISR, TMR in `registers`; and its bit there */
    uint32_t latest_bit;
    const struct clock *clock;
    /* The timer's registers as they are in force. The page shows what was written, which a CPU may have done. */
    uint32_t timer_lvt, timer_initial, timer_divide;
    uint64_t deadline;                            /* of the timer, host TSC; DEADLINE_NONE */
    uint64_t timer_start;                         /* host TSC at which the current count began */
    struct ticks ticks;                           /* of the periodic timer, in host TSC ticks */
    uint8_t timer_slowdown;                       /* log2 of 1 GHz by the timer's frequency */
    bool timer_expired;                           /* a one-shot count has run out: only a new count starts it again */
    uint64_t tsc_deadline;                        /* what the guest wrote (guest TSC), 0: disarmed */
    struct apic_message outbox[LAPIC_OUTBOX_MAX]; /* IPIs that core routes */
    uint32_t outbox_count;
    uint32_t eois[8];   /* ended level-triggered vectors, until lapic_take_eoi(); an INIT keeps them */
    bool eoi_pending;   /* there are any */
    uint32_t errors;    /* detected since the last write of ESR, which shows them */
    uint32_t *end_word; /* lapic_set_end_word(); NULL: none */
    bool end_offered;   /* what is in service may be ended there */
    uint8_t end_vector; /* that, then */
};

/* Power-up or INIT state (an INIT keeps the id and the base MSR). SDM 3A 11.4.7. */
void lapic_init(struct lapic *lapic, struct lapic_page *page, uint32_t id, bool bsp, const struct clock *clock);
void lapic_reset(struct lapic *lapic, bool by_init);

/*
 * What firmware has done before a kernel starts on the boot CPU: software-enabled, LINT0 ExtINT, LINT1 NMI. Call once
 * after lapic_init() of vCPU 0; an INIT goes back to the architectural state. MP Specification 1.4, 3.6.2.2.
 */
void lapic_virtual_wire(struct lapic *lapic);

/* IA32_APIC_BASE: EN and EXTD. SDM 3A 11.12.1, figure 11-26. */
static inline bool lapic_enabled(const struct lapic *lapic)
{
    return (lapic->base_msr & (1ULL << 11)) != 0;
}

static inline bool lapic_x2apic(const struct lapic *lapic)
{
    return (lapic->base_msr & (1ULL << 10)) != 0;
}

/* SVR, "APIC software enable/disable". SDM 3A 11.9, figure 11-23. */
static inline bool lapic_software_enabled(const struct lapic *lapic)
{
    return (lapic->page->registers[0xf0 / 4] & (1u << 8)) != 0;
}

/* IA32_APIC_BASE. False: #GP. SDM 3A 11.4.4, 11.12.5. */
bool lapic_base_write(struct lapic *lapic, uint64_t value, unsigned physical_bits);

/*
 * The xAPIC page; offset 0..0xfff. Registers of 32 bits are on 16-byte lines. A short read that lies in a register gets
 * its bytes, and a short write changes these and is a write of the register otherwise, as where VMX's CPU serves the
 * page (SDM 3C 30.4.3 "Virtualizing Writes to the APIC-Access Page"). What leaves a register's four bytes is read as
 * far as they go, and written only from their border on.
 */
uint32_t lapic_mmio_read(struct lapic *lapic, uint32_t offset, uint64_t now);
void lapic_mmio_write(struct lapic *lapic, uint32_t offset, uint8_t size, uint32_t value, uint64_t now);

/* The CPU has written there, and the page has it already. False in x2APIC mode: #GP, if it could be. */
bool lapic_page_written(struct lapic *lapic, uint32_t offset, uint64_t now);

/* x2APIC MSRs 0x800..0x8ff. False: #GP. */
bool lapic_msr_read(struct lapic *lapic, uint32_t msr, uint64_t now, uint64_t *value);
bool lapic_msr_write(struct lapic *lapic, uint32_t msr, uint64_t value, uint64_t now);

/* IA32_TSC_DEADLINE (0x6e0). guest TSC = host TSC + tsc_offset. One that has passed reads 0, whether it has fired
 * here or not. SDM 3A 11.5.4.1 "TSC-Deadline Mode". */
uint64_t lapic_tsc_deadline_read(const struct lapic *lapic, uint64_t now);
void lapic_tsc_deadline_write(struct lapic *lapic, uint64_t value, uint64_t tsc_offset, uint64_t now);

/* The timer's frequency before the divider: 1 GHz, or 1 GHz >> slowdown where the TSC is slower than that. */
unsigned lapic_timer_slowdown(uint64_t tsc_hz);
static inline uint64_t lapic_timer_hz(uint64_t tsc_hz)
{
    return NS_PER_SECOND >> lapic_timer_slowdown(tsc_hz);
}

/* CR8: TPR bits 7:4; the register is at offset 0x80. SDM 3A 11.8.6. Looked at on every exit. */
static inline uint64_t lapic_cr8(const struct lapic *lapic)
{
    return lapic->page->registers[0x80 / 4] >> 4;
}
void lapic_cr8_write(struct lapic *lapic, uint64_t value);

/* A write of the TPR register. SDM 3A 11.8.3.1 "Task and Processor Priorities". */
void lapic_tpr_write(struct lapic *lapic, uint32_t value);

/* Fires the timer if `now` has reached the deadline. Sets the next one in periodic mode. */
void lapic_run_timer(struct lapic *lapic, uint64_t now);

/*
 * IA32_TSC_DEADLINE may be another register than `tsc_deadline`, which then is brought up to date before the timer's
 * state is looked at: the owner of that register writes `deadline` and `tsc_deadline`, and says here that it has fired.
 */
bool lapic_takes_tsc_deadline(const struct lapic *lapic);
void lapic_timer_fired(struct lapic *lapic, uint64_t now);

/* Does the vector wait for its delivery? On another CPU than the vCPU's the answer may be of a moment ago. */
bool lapic_requests(const struct lapic *lapic, uint8_t vector);

/* Posts from any CPU; fixed and lowest-priority vectors only. */
void lapic_post(struct lapic *lapic, uint8_t vector, bool level);
/* LINT0/LINT1 as local inputs: NMI through LINT1, ExtINT through LINT0. */
bool lapic_accepts_extint(const struct lapic *lapic);
bool lapic_accepts_lint_nmi(const struct lapic *lapic);
/* A rising edge at LINT0: requests its vector where the entry says "fixed". True: the entry says "NMI". */
bool lapic_lint0_edge(struct lapic *lapic);
/* Does an edge at LINT0 make an NMI? */
bool lapic_lint0_is_nmi(const struct lapic *lapic);

/* A write of EOI. SDM 3A 11.8.5 "Signaling Interrupt Servicing Completion". False: nothing was in service. */
bool lapic_end_of_interrupt(struct lapic *lapic);

/*
 * A word of the guest's memory, 4 bytes on their border, or NULL: where its bit 0 is set, the guest may end the
 * interrupt that it serves by clearing it, with one instruction, instead of a write of EOI. It is set with an
 * edge-triggered interrupt while no other is requested, so that nothing has to be done at the end; here it is seen when
 * the APIC is looked at again. Linux, Documentation/virt/kvm/x86/msr.rst, MSR_KVM_EOI_EN. A reset or an INIT takes it
 * away.
 */
void lapic_set_end_word(struct lapic *lapic, uint32_t *word);

/* Notes the end of a level-triggered interrupt for the I/O APIC; and takes one. False: there is none. */
void lapic_note_eoi(struct lapic *lapic, uint8_t vector);
bool lapic_take_eoi(struct lapic *lapic, uint8_t *vector);

/* Is anything in these eight registers? Straight-line, because the answer is nearly always no. */
static inline bool lapic_any_bit(const uint32_t *words)
{
    return (words[0] | words[4] | words[8] | words[12] | words[16] | words[20] | words[24] | words[28]) != 0;
}

/* True where any vector is requested (IRR) or posted: otherwise there is nothing to choose from. */
static inline bool lapic_has_request(const struct lapic *lapic)
{
    return __atomic_load_n(&lapic->pending_words, __ATOMIC_RELAXED) != 0 ||
           lapic_any_bit(&lapic->page->registers[0x200 / 4]);
}

/* Moves what others posted into IRR and TMR. The three functions below do it themselves where they need it. */
void lapic_merge_pending(struct lapic *lapic);

/* The highest vector that may be delivered now (above PPR), or -1. Merges posted vectors first. */
int lapic_highest_deliverable(struct lapic *lapic);
/* The highest requested vector whatever the PPR is, or -1. */
int lapic_highest_requested(struct lapic *lapic);
/* IRR -> ISR for the vector that highest_deliverable returned. */
void lapic_accept(struct lapic *lapic, uint8_t vector);
/* lapic_accept_alone() of lapic_registers.h, where the guest has named a word in which interrupts may end, or none. */
int lapic_accept_alone_by_word(struct lapic *lapic);

/* Does a message's destination name this APIC? */
bool lapic_matches(const struct lapic *lapic, const struct apic_message *message);

#endif
