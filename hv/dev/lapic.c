/* SPDX-License-Identifier: MIT */
/*
 * The local APIC: registers, priorities, and interrupts in and out. The timer is in lapic_timer.c.
 * SDM 3A 11 "Advanced Programmable Interrupt Controller (APIC)".
 *
 * What may be touched from where: the registers and everything else here belong to the CPU that runs the vCPU. Other
 * CPUs only set bits in `pending`, `pending_level` and `pending_words`, in this order for a level-triggered vector:
 * level, vector, word. lapic_merge_pending() takes them in the opposite order, so it never sees a vector without its
 * trigger mode, and a vector that it misses is still announced by its word.
 *
 * PPR is kept true in the page at every change of TPR or ISR: it is read on each delivery and, with VMX's APIC
 * virtualization, by the CPU itself. Where the CPU moves TPR alone, follow_tpr() notices. PPR's class is never below
 * that of the highest vector in service, whatever moved TPR last, so a search in the ISR begins at PPR's word.
 *
 * Not modelled: the arbitration of a three-wire APIC bus, remote read, EOI-broadcast suppression, CMCI. The version
 * register says so.
 */
#include "hv/base/check.h"
#include "hv/base/memory.h"
#include "hv/dev/lapic_registers.h"
#include "hv/mm/guest_layout.h"

/* SDM 3A 11.4.8 "Local APIC Version Register": integrated APIC, highest LVT entry 5. */
#define LAPIC_VERSION_VALUE 0x00050014u
/* SDM 3A 11.4.7.1 "Local APIC State After Power-Up or Reset". */
#define LAPIC_SVR_RESET 0xffu
#define LAPIC_DFR_RESET 0xffffffffu
/* SDM 3A 11.12.1.2, table 11-6 and 11.9: bits of SVR that can be written; 9 is focus checking, without effect. */
#define LAPIC_SVR_BITS 0x3ffu
/* SDM 3A 11.6.1 "Interrupt Command Register (ICR)", figure 11-12. */
#define LAPIC_ICR_STATUS 0x1000u
#define LAPIC_ICR_LOGICAL 0x800u
#define LAPIC_ICR_ASSERT 0x4000u
#define LAPIC_ICR_LEVEL 0x8000u
#define LAPIC_LVT_COUNT 6u
#define LAPIC_WORDS 8u
#define X2APIC_MSR_FIRST 0x800u
#define X2APIC_MSR_ICR 0x830u
#define X2APIC_MSR_EOI 0x80bu

/* Bits of LVT entries that software can write, timer to error. SDM 3A 11.5.1, figure 11-8. */
static const uint32_t lvt_bits[LAPIC_LVT_COUNT] = {0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff};
_Static_assert(LAPIC_LVT_COUNT == (LAPIC_LVT_ERROR - LAPIC_LVT_TIMER) / 0x10 + 1, "a word for every entry");
_Static_assert(LAPIC_REGISTERS_END / 0x10 == 64, "REGISTER_BIT: a bit per register in 64 bits");
/* Read-only bits: delivery status, and remote IRR of LINT pins. Writing them is no error. */
#define LAPIC_LVT_READ_ONLY 0x5000u

/* One bit per register (offset / 16). SDM 3A 11.4.1, table 11-1 and 11.12.1.2, table 11-6. */
#define REGISTER_BIT(offset) (1ULL << ((offset) / 16))
#define REGISTER_RANGE(first, last) ((REGISTER_BIT(last) << 1) - REGISTER_BIT(first)) /* both included */
#define REGISTERS_COMMON                                                                                        \
    (REGISTER_BIT(LAPIC_ID) | REGISTER_BIT(LAPIC_VERSION) | REGISTER_BIT(LAPIC_TPR) | REGISTER_BIT(LAPIC_PPR) | \
     REGISTER_BIT(LAPIC_LDR) | REGISTER_BIT(LAPIC_SVR) | REGISTER_RANGE(LAPIC_ISR, LAPIC_ESR) |                 \
     REGISTER_BIT(LAPIC_ICR) | REGISTER_RANGE(LAPIC_LVT_TIMER, LAPIC_TIMER_CURRENT) |                           \
     REGISTER_BIT(LAPIC_TIMER_DIVIDE))
static const uint64_t x2apic_readable = REGISTERS_COMMON;
static const uint64_t xapic_known = REGISTERS_COMMON | REGISTER_BIT(LAPIC_APR) | REGISTER_BIT(LAPIC_EOI) |
                                    REGISTER_BIT(LAPIC_RRD) | REGISTER_BIT(LAPIC_DFR) | REGISTER_BIT(LAPIC_ICR_HIGH);

/* The highest vector set in ISR, TMR or IRR; -1: none. Out of line: with lapic_any_vector() in one function each word
 * would be kept in a register that has to be saved. */
__attribute__((noinline)) static int highest_of_all(const uint32_t *registers)
{
    for (int word = LAPIC_WORDS - 1; word >= 0; word--) {
        uint32_t bits = registers[word * 4];

        if (bits != 0) {
            return word * 32 + 31 - __builtin_clz(bits);
        }
    }
    return -1;
}

/* The same in this word or a lower one: the compiler cannot lay the words out one by one, so it is the better one only
 * where the first word is mostly the right one. */
__attribute__((noinline)) static int highest_of_words(const uint32_t *registers, int word)
{
    for (; word >= 0; word--) {
        uint32_t bits = registers[word * 4]; /* 16 bytes apart */

        if (bits != 0) {
            return word * 32 + 31 - __builtin_clz(bits);
        }
    }
    return -1;
}

static inline int highest_vector(const struct lapic *lapic, uint32_t base)
{
    return highest_of_all(&lapic->page->registers[base / 4]);
}

/* The offset in ISR of the highest word in which any vector can be: 32 vectors, 16 bytes, each. */
static inline uint32_t highest_word_in_service(const struct lapic *lapic)
{
    return (lapic_get(lapic, LAPIC_PPR) & 0xe0u) / 2;
}

static inline int highest_in_service(const struct lapic *lapic)
{
    return highest_of_words(&lapic->page->registers[LAPIC_ISR / 4], (int)highest_word_in_service(lapic) / 16);
}

/* SDM 3A 11.8.3.1 "Task and Processor Priorities": the higher class of TPR and the interrupt in service.
 * Out of line, so that its callers' usual path saves no registers for it. Always true, for tail calls. */
__attribute__((noinline)) static bool compute_ppr(struct lapic *lapic)
{
    uint32_t tpr = lapic_get(lapic, LAPIC_TPR);
    uint32_t class = (uint32_t)highest_in_service(lapic) & 0xf0u;

    *lapic_register(lapic, LAPIC_PPR) = (tpr & 0xf0u) >= class ? tpr : class;
    lapic->ppr_tpr = tpr;
    return true;
}

/* Nothing is in service. */
static inline bool take_tpr_as_ppr(struct lapic *lapic)
{
    lapic->ppr_tpr = lapic_get(lapic, LAPIC_TPR);
    *lapic_register(lapic, LAPIC_PPR) = lapic->ppr_tpr;
    return true;
}

/* True as compute_ppr(). */
static inline bool update_ppr(struct lapic *lapic)
{
    return lapic_any_vector(lapic, LAPIC_ISR) ? compute_ppr(lapic) : take_tpr_as_ppr(lapic);
}

/* With VMX's TPR shadow the CPU moves TPR in the page when the guest writes CR8, and leaves PPR as it was. */
static inline void follow_tpr(struct lapic *lapic)
{
    if (lapic_get(lapic, LAPIC_TPR) != lapic->ppr_tpr) {
        (void)update_ppr(lapic);
    }
}

/* SDM 3A 11.6.2.4 "Lowest Priority Delivery Mode": the arbitration priority of older processors. */
static uint32_t arbitration_priority(const struct lapic *lapic)
{
    uint32_t tpr = lapic_get(lapic, LAPIC_TPR);
    int requested = highest_vector(lapic, LAPIC_IRR);
    int serviced = highest_in_service(lapic);
    uint32_t irrv = requested < 0 ? 0 : (uint32_t)requested & 0xf0u;
    uint32_t isrv = serviced < 0 ? 0 : (uint32_t)serviced & 0xf0u;

    if ((tpr & 0xf0u) >= irrv && (tpr & 0xf0u) > isrv) {
        return tpr;
    }
    return (uint32_t)max_u64(tpr & 0xf0u & isrv, irrv);
}

_Static_assert(LAPIC_BASE_ENABLE == 1ULL << 11 && LAPIC_BASE_EXTD == 1ULL << 10 && LAPIC_TPR == 0x80, "lapic.h");
_Static_assert(LAPIC_IRR == 0x200 && LAPIC_SVR == 0xf0 && LAPIC_SVR_ENABLE == 1u << 8, "lapic.h");

/* --- Errors and local sources --- */

void lapic_error(struct lapic *lapic, uint32_t error)
{
    uint32_t lvt = lapic_get(lapic, LAPIC_LVT_ERROR);
    bool fresh = (lapic->errors & error) == 0;

    lapic->errors |= error;
    if (!fresh || (lvt & LAPIC_LVT_MASKED) != 0) {
        return;
    }
    if ((lvt & 0xffu) < LAPIC_VECTOR_MIN) {
        lapic->errors |= LAPIC_ERROR_RECEIVE_VECTOR; /* and no further interrupt about it */
        return;
    }
    lapic_request(lapic, (uint8_t)lvt);
}

void lapic_raise_local(struct lapic *lapic, uint32_t lvt)
{
    lapic_raise_entry(lapic, lapic_get(lapic, lvt));
}

bool lapic_accepts_extint(const struct lapic *lapic)
{
    uint32_t lint0 = lapic_get(lapic, LAPIC_LVT_LINT0);

    if (!lapic_enabled(lapic)) {
        return true; /* the pin is INTR then. SDM 3A 11.4.3 "Enabling or Disabling the Local APIC" */
    }
    return (lint0 & LAPIC_LVT_MASKED) == 0 && (lint0 >> 8 & 7u) == APIC_EXTINT;
}

bool lapic_accepts_lint_nmi(const struct lapic *lapic)
{
    uint32_t lint1 = lapic_get(lapic, LAPIC_LVT_LINT1);

    if (!lapic_enabled(lapic)) {
        return true; /* the pin is NMI then */
    }
    return (lint1 & LAPIC_LVT_MASKED) == 0 && (lint1 >> 8 & 7u) == APIC_NMI;
}

/* The level-triggered kind is an edge, too: the 8259's line stays high until it is acknowledged. */
bool lapic_lint0_edge(struct lapic *lapic)
{
    uint32_t lint0 = lapic_get(lapic, LAPIC_LVT_LINT0);

    if (lapic_enabled(lapic) && (lint0 & LAPIC_LVT_MASKED) == 0 && (lint0 >> 8 & 7u) == APIC_FIXED) {
        lapic_raise_local(lapic, LAPIC_LVT_LINT0);
    }
    return lapic_lint0_is_nmi(lapic);
}

bool lapic_lint0_is_nmi(const struct lapic *lapic)
{
    uint32_t lint0 = lapic_get(lapic, LAPIC_LVT_LINT0);

    return lapic_enabled(lapic) && (lint0 & LAPIC_LVT_MASKED) == 0 && (lint0 >> 8 & 7u) == APIC_NMI;
}

/* --- Reset --- */

static uint32_t x2apic_logical_id(uint32_t id)
{
    return (id >> 4) << 16 |
           1u << (id & 15u); /* SDM 3A 11.12.10.2 "Deriving Logical x2APIC ID from the Local x2APIC ID" */
}

static void set_ids(struct lapic *lapic)
{
    bool x2apic = lapic_x2apic(lapic);

    *lapic_register(lapic, LAPIC_ID) = x2apic ? lapic->id : lapic->id << 24;
    *lapic_register(lapic, LAPIC_LDR) = x2apic ? x2apic_logical_id(lapic->id) : 0;
}

static void drop_pending(struct lapic *lapic)
{
    __atomic_store_n(&lapic->pending_words, 0, __ATOMIC_RELAXED);
    for (unsigned word = 0; word < LAPIC_WORDS; word++) {
        __atomic_store_n(&lapic->pending[word], 0, __ATOMIC_RELAXED);
        __atomic_store_n(&lapic->pending_level[word], 0, __ATOMIC_RELAXED);
    }
}

/*
 * All but what lapic_matches() looks at, at any time and from any CPU: a SIPI that comes right behind its INIT would
 * not find the CPU whose ID is cleared for a moment, and no other SIPI need follow. set_ids() writes both over.
 */
static void clear_registers(struct lapic *lapic)
{
    uint32_t *registers = lapic->page->registers;
    const uint32_t id = LAPIC_ID / sizeof(uint32_t);
    const uint32_t logical = LAPIC_LDR / sizeof(uint32_t);

    memset(registers, 0, id * sizeof(uint32_t));
    memset(registers + id + 1, 0, (logical - id - 1) * sizeof(uint32_t));
    memset(registers + logical + 1, 0, sizeof(*lapic->page) - (logical + 1) * sizeof(uint32_t));
}

static void reset_registers(struct lapic *lapic)
{
    clear_registers(lapic);
    *lapic_register(lapic, LAPIC_VERSION) = LAPIC_VERSION_VALUE;
    *lapic_register(lapic, LAPIC_DFR) = LAPIC_DFR_RESET;
    *lapic_register(lapic, LAPIC_SVR) = LAPIC_SVR_RESET;
    for (uint32_t lvt = LAPIC_LVT_TIMER; lvt <= LAPIC_LVT_ERROR; lvt += 16) {
        *lapic_register(lapic, lvt) = LAPIC_LVT_MASKED;
    }
    lapic->timer_lvt = LAPIC_LVT_MASKED;
    lapic->timer_divide = 0;
    lapic->ppr_tpr = 0;
    set_ids(lapic);
    drop_pending(lapic);
    lapic_timer_stop(lapic);
    lapic->timer_start = 0;
    lapic->outbox_count = 0;
    lapic->errors = 0;
}

void lapic_reset(struct lapic *lapic, bool by_init)
{
    lapic->end_word = NULL;
    lapic->end_offered = false;
    if (!by_init) {
        lapic->base_msr = GUEST_LAPIC_BASE | LAPIC_BASE_ENABLE | (lapic->bsp ? LAPIC_BASE_BSP : 0);
    }
    reset_registers(lapic);
}

void lapic_init(struct lapic *lapic, struct lapic_page *page, uint32_t id, bool bsp, const struct clock *clock)
{
    memset(lapic, 0, sizeof(*lapic));
    lapic->page = page;
    lapic->id = id;
    lapic->bsp = bsp;
    lapic->clock = clock;
    lapic->timer_slowdown = (uint8_t)lapic_timer_slowdown(clock->tsc_hz);
    lapic_reset(lapic, false);
}

void lapic_virtual_wire(struct lapic *lapic)
{
    *lapic_register(lapic, LAPIC_SVR) = LAPIC_SVR_RESET | LAPIC_SVR_ENABLE;
    *lapic_register(lapic, LAPIC_LVT_LINT0) = (uint32_t)APIC_EXTINT << 8;
    *lapic_register(lapic, LAPIC_LVT_LINT1) = (uint32_t)APIC_NMI << 8;
}

/* --- IA32_APIC_BASE --- */

enum apic_mode {
    MODE_DISABLED,
    MODE_INVALID,
    MODE_XAPIC,
    MODE_X2APIC,
};

static enum apic_mode base_mode(uint64_t base)
{
    return (enum apic_mode)(((base & LAPIC_BASE_ENABLE) != 0 ? 2 : 0) + ((base & LAPIC_BASE_EXTD) != 0 ? 1 : 0));
}

/* SDM 3A 11.12.5 "x2APIC State Transitions", figure 11-27: rows are the old mode, columns the new one. */
static const bool base_transition[4][4] = {
    [MODE_DISABLED] = {[MODE_DISABLED] = true, [MODE_XAPIC] = true},
    [MODE_XAPIC] = {[MODE_DISABLED] = true, [MODE_XAPIC] = true, [MODE_X2APIC] = true},
    [MODE_X2APIC] = {[MODE_DISABLED] = true, [MODE_X2APIC] = true},
};

bool lapic_base_write(struct lapic *lapic, uint64_t value, unsigned physical_bits)
{
    enum apic_mode from = base_mode(lapic->base_msr);
    enum apic_mode to = base_mode(value);
    uint64_t reserved = 0x2ffu | (physical_bits < 64 ? bit_mask(physical_bits, 63) : 0);

    if ((value & reserved) != 0 || !base_transition[from][to]) {
        return false;
    }
    lapic->base_msr = value;
    if (to == MODE_DISABLED && from != MODE_DISABLED) {
        reset_registers(lapic); /* what was pending is gone: a later enable starts from the reset state */
    } else if (to == MODE_X2APIC && from != MODE_X2APIC) {
        set_ids(lapic);
        *lapic_register(lapic, LAPIC_ICR_HIGH) = 0;
    }
    return true;
}

/* --- Interrupts in --- */

bool lapic_requests(const struct lapic *lapic, uint8_t vector)
{
    uint32_t word = vector / 32u;
    uint32_t bit = 1u << vector % 32u;

    return ((lapic_get(lapic, LAPIC_IRR + word * 16) | __atomic_load_n(&lapic->pending[word], __ATOMIC_RELAXED)) &
            bit) != 0;
}

void lapic_post(struct lapic *lapic, uint8_t vector, bool level)
{
    uint32_t bit = 1u << (vector % 32u);
    unsigned word = vector / 32u;

    if (level) {
        __atomic_fetch_or(&lapic->pending_level[word], bit, __ATOMIC_RELEASE);
    }
    __atomic_fetch_or(&lapic->pending[word], bit, __ATOMIC_RELEASE);
    __atomic_fetch_or(&lapic->pending_words, 1u << word, __ATOMIC_RELEASE);
}

static void merge_word(struct lapic *lapic, unsigned word)
{
    uint32_t bits = __atomic_exchange_n(&lapic->pending[word], 0, __ATOMIC_ACQUIRE);
    uint32_t level = __atomic_fetch_and(&lapic->pending_level[word], ~bits, __ATOMIC_ACQUIRE) & bits;
    uint32_t *tmr = lapic_register(lapic, LAPIC_TMR + word * 16);

    if (!lapic_software_enabled(lapic)) {
        return; /* SDM 3A 11.4.7.2: only INIT, NMI, SMI and SIPI are taken */
    }
    if (word == 0 && (bits & 0xffffu) != 0) {
        bits &= 0xffff0000u;
        lapic_error(lapic, LAPIC_ERROR_RECEIVE_VECTOR);
    }
    *tmr = (*tmr & ~bits) | (level & bits);
    *lapic_register(lapic, LAPIC_IRR + word * 16) |= bits;
    if (bits != 0) {
        lapic_note_latest(lapic, (uint8_t)(word * 32 + 31 - (unsigned)__builtin_clz(bits)));
    }
}

static inline bool is_posted(const struct lapic *lapic)
{
    return __atomic_load_n(&lapic->pending_words, __ATOMIC_RELAXED) != 0;
}

/* Out of line, as all below that has to do with it: most often nothing is posted, and then no stack frame is made. */
__attribute__((noinline)) static void merge_posted(struct lapic *lapic)
{
    uint32_t words = __atomic_exchange_n(&lapic->pending_words, 0, __ATOMIC_ACQUIRE);

    if (!lapic_enabled(lapic)) {
        drop_pending(lapic);
        return;
    }
    while (words != 0) {
        merge_word(lapic, (unsigned)__builtin_ctz(words));
        words &= words - 1;
    }
}

void lapic_merge_pending(struct lapic *lapic)
{
    if (is_posted(lapic)) {
        merge_posted(lapic);
    }
}

/* Out of line for the same reason as highest_of_words(). */
__attribute__((noinline)) static int search_irr(const struct lapic *lapic)
{
    return lapic_any_vector(lapic, LAPIC_IRR) ? highest_vector(lapic, LAPIC_IRR) : -1;
}

static inline int highest_merged(const struct lapic *lapic)
{
    int alone = lapic_requests_alone(lapic);

    return alone >= 0 ? alone : search_irr(lapic);
}

__attribute__((noinline)) static int highest_of_posted(struct lapic *lapic)
{
    merge_posted(lapic);
    return highest_merged(lapic);
}

int lapic_highest_requested(struct lapic *lapic)
{
    return is_posted(lapic) ? highest_of_posted(lapic) : highest_merged(lapic);
}

/* The vector of this word and bit of ISR. True as compute_ppr(). */
static bool leave_service(struct lapic *lapic, uint32_t word, uint32_t bit)
{
    *lapic_register(lapic, LAPIC_ISR + word) &= ~bit;
    return update_ppr(lapic);
}

/* The highest one in service; false: there is none. */
static bool end_highest(struct lapic *lapic)
{
    int vector = highest_in_service(lapic);
    uint32_t word = (uint32_t)vector / 32u;
    uint32_t bit = 1u << (uint32_t)vector % 32u;

    if (vector < 0) {
        return false;
    }
    if ((lapic_get(lapic, LAPIC_TMR + word * 16) & bit) != 0) {
        lapic->eois[word] |= bit;
        lapic->eoi_pending = true;
    }
    return leave_service(lapic, word * 16, bit);
}

/* ---- The end of an interrupt by the guest's memory ---- */

#define END_WORD_SET 1u

/* The vCPU is out of the guest: what another one writes into the word meanwhile is the guest's affair. */
__attribute__((noinline)) static void offer_end(struct lapic *lapic, uint8_t vector)
{
    bool level = (lapic_get(lapic, LAPIC_TMR + vector / 32u * 16) >> vector % 32u & 1) != 0;

    if (!level && !lapic_has_request(lapic)) {
        __atomic_store_n(lapic->end_word, __atomic_load_n(lapic->end_word, __ATOMIC_RELAXED) | END_WORD_SET,
                         __ATOMIC_RELAXED);
        lapic->end_offered = true;
        lapic->end_vector = vector;
    }
}

__attribute__((noinline)) static void withdraw_end(struct lapic *lapic)
{
    uint32_t word = __atomic_load_n(lapic->end_word, __ATOMIC_RELAXED);

    lapic->end_offered = false;
    if ((word & END_WORD_SET) != 0) {
        __atomic_store_n(lapic->end_word, word & ~END_WORD_SET, __ATOMIC_RELAXED);
    } else { /* it is edge-triggered, and still the highest in service: what is accepted settles this first */
        (void)leave_service(lapic, lapic->end_vector / 32u * 16, 1u << lapic->end_vector % 32u);
    }
}

/* What the guest has ended there is ended; what it has not, it ends by EOI: something else may wait for that. */
static inline void settle_end(struct lapic *lapic)
{
    if (lapic->end_offered) {
        withdraw_end(lapic);
    }
}

void lapic_set_end_word(struct lapic *lapic, uint32_t *word)
{
    settle_end(lapic);
    lapic->end_word = word;
}

__attribute__((noinline)) static int deliverable_of_some(struct lapic *lapic)
{
    int vector;

    lapic_merge_pending(lapic);
    vector = highest_merged(lapic);
    if (vector >= 0) {
        settle_end(lapic);
    }
    follow_tpr(lapic);
    return ((uint32_t)vector & 0xf0u) <= (lapic_get(lapic, LAPIC_PPR) & 0xf0u) ? -1 : vector; /* of -1, too */
}

/* One vector, and nothing that has to be made true first. */
__attribute__((noinline)) static int deliverable_of_one(struct lapic *lapic)
{
    int alone = -1;

    if (!lapic->end_offered && !is_posted(lapic) && lapic_get(lapic, LAPIC_TPR) == lapic->ppr_tpr) {
        alone = lapic_requests_alone(lapic);
    }
    if (alone < 0) {
        return deliverable_of_some(lapic);
    }
    return ((uint32_t)alone & 0xf0u) <= (lapic_get(lapic, LAPIC_PPR) & 0xf0u) ? -1 : alone;
}

/* Nearly always nothing is requested. */
int lapic_highest_deliverable(struct lapic *lapic)
{
    bool none = !lapic_has_request(lapic) && lapic_get(lapic, LAPIC_TPR) == lapic->ppr_tpr;

    return none ? -1 : deliverable_of_one(lapic);
}

void lapic_accept(struct lapic *lapic, uint8_t vector)
{
    uint32_t word = vector / 32u * 16;
    uint32_t bit = 1u << (vector % 32u);

    *lapic_register(lapic, LAPIC_IRR + word) &= ~bit;
    *lapic_register(lapic, LAPIC_ISR + word) |= bit;
    *lapic_register(lapic, LAPIC_PPR) = vector & 0xf0u; /* it was deliverable: its class is above all others */
    if (lapic->end_word != NULL) {
        offer_end(lapic, vector);
    }
}

int lapic_accept_alone_by_word(struct lapic *lapic)
{
    uint32_t *word = lapic->end_word;
    int vector;

    if (!lapic_requests(lapic, lapic->latest)) {
        return -1;
    }
    settle_end(lapic);
    lapic->end_word = NULL;
    vector = lapic_accept_alone(lapic);
    lapic->end_word = word;
    if (vector >= 0 && word != NULL) {
        offer_end(lapic, (uint8_t)vector);
    }
    return vector;
}

/* An end that was offered in memory, one of a level-triggered interrupt, or TPR has made PPR what it is. */
__attribute__((noinline)) static bool end_any(struct lapic *lapic)
{
    settle_end(lapic);
    return end_highest(lapic);
}

/* SDM 3A 11.8.5 "Signaling Interrupt Servicing Completion". What is done at each tick makes no stack frame: a call at
 * the end has to be a jump, although its result is known. */
bool lapic_end_of_interrupt(struct lapic *lapic)
{
    uint32_t *isr = lapic_register(lapic, LAPIC_ISR + highest_word_in_service(lapic));
    const uint32_t *tmr = isr + (LAPIC_TMR - LAPIC_ISR) / sizeof(*isr);
    uint32_t bits = *isr;
    uint32_t bit;

    if (bits == 0 && highest_word_in_service(lapic) == 0) {
        return false;
    }
    if (bits == 0 || lapic->end_offered) {
        __attribute__((musttail)) return end_any(lapic);
    }
    bit = 1u << (31 - __builtin_clz(bits));
    if ((*tmr & bit) != 0) {
        __attribute__((musttail)) return end_any(lapic);
    }
    *isr = bits & ~bit;
    if (lapic_any_vector(lapic, LAPIC_ISR)) {
        __attribute__((musttail)) return compute_ppr(lapic);
    }
    return take_tpr_as_ppr(lapic);
}

void lapic_note_eoi(struct lapic *lapic, uint8_t vector)
{
    lapic->eois[vector / 32u] |= 1u << (vector % 32u);
    lapic->eoi_pending = true;
}

bool lapic_take_eoi(struct lapic *lapic, uint8_t *vector)
{
    for (unsigned word = 0; word < ARRAY_COUNT(lapic->eois); word++) {
        if (lapic->eois[word] != 0) {
            *vector = (uint8_t)(32 * word + (unsigned)__builtin_ctz(lapic->eois[word]));
            lapic->eois[word] &= lapic->eois[word] - 1;
            return true;
        }
    }
    lapic->eoi_pending = false;
    return false;
}

void lapic_tpr_write(struct lapic *lapic, uint32_t value)
{
    *lapic_register(lapic, LAPIC_TPR) = value & 0xffu;
    (void)update_ppr(lapic);
}

void lapic_cr8_write(struct lapic *lapic, uint64_t value)
{
    lapic_tpr_write(lapic, (uint32_t)(value & 0xfu) << 4);
}

/* --- Interrupts out --- */

static void push_message(struct lapic *lapic, const struct apic_message *message)
{
    /* One register write makes at most one message, and the core takes it before the next. */
    DEBUG_CHECK_OP(lapic->outbox_count, <, LAPIC_OUTBOX_MAX);
    if (lapic->outbox_count < LAPIC_OUTBOX_MAX) {
        lapic->outbox[lapic->outbox_count++] = *message;
    }
}

static void self_ipi(struct lapic *lapic, uint8_t vector)
{
    if (vector < LAPIC_VECTOR_MIN) {
        lapic_error(lapic, LAPIC_ERROR_SEND_VECTOR);
    } else if (lapic_software_enabled(lapic)) {
        lapic_request(lapic, vector);
    }
}

static uint32_t own_id(const struct lapic *lapic)
{
    uint32_t id = lapic_get(lapic, LAPIC_ID);

    return lapic_x2apic(lapic) ? id : id >> 24;
}

static void send_ipi(struct lapic *lapic, uint32_t icr, uint32_t destination)
{
    struct apic_message message = {
        .destination = destination,
        .vector = (uint8_t)icr,
        .delivery = (uint8_t)(icr >> 8 & 7u),
        .shorthand = (uint8_t)(icr >> 18 & 3u),
        .logical = (icr & LAPIC_ICR_LOGICAL) != 0,
        .x2apic = lapic_x2apic(lapic),
    };
    bool has_vector = message.delivery == APIC_FIXED || message.delivery == APIC_LOWEST;

    if (message.delivery == APIC_INIT) {
        message.deassert = (icr & (LAPIC_ICR_LEVEL | LAPIC_ICR_ASSERT)) == LAPIC_ICR_LEVEL;
    }
    if (has_vector && message.vector < LAPIC_VECTOR_MIN) {
        lapic_error(lapic, LAPIC_ERROR_SEND_VECTOR);
        return;
    }
    if (message.shorthand == APIC_TO_SELF && message.delivery != APIC_NMI) {
        if (has_vector) { /* every other mode with this shorthand is invalid. SDM 3A 11.6.1, table 11-3 */
            self_ipi(lapic, message.vector);
        }
        return;
    }
    if (message.shorthand == APIC_TO_SELF) { /* invalid as well, but CPUs deliver it, and kernels rely on that */
        message.shorthand = APIC_TO_DESTINATION;
        message.logical = false;
        message.destination = own_id(lapic);
    }
    if (message.delivery == 3 || message.delivery == APIC_EXTINT) {
        return; /* reserved */
    }
    push_message(lapic, &message);
}

bool lapic_matches(const struct lapic *lapic, const struct apic_message *message)
{
    uint32_t broadcast = message->x2apic ? 0xffffffffu : 0xffu;
    uint32_t destination = message->destination;
    bool x2apic = lapic_x2apic(lapic);
    uint32_t id = own_id(lapic);
    uint32_t logical = lapic_get(lapic, LAPIC_LDR);

    if (destination == broadcast) {
        return true;
    }
    if (!message->logical) {
        return destination == id;
    }
    if (x2apic) { /* SDM 3A 11.12.10.1: cluster in the upper half */
        return destination >> 16 == logical >> 16 && (destination & logical & 0xffffu) != 0;
    }
    logical >>= 24;
    if (lapic_get(lapic, LAPIC_DFR) >> 28 == 0xfu) { /* SDM 3A 11.6.2.2: flat model */
        return destination <= 0xffu && (destination & logical) != 0;
    }
    return destination >> 4 == logical >> 4 && (destination & logical & 0xfu) != 0; /* cluster model */
}

/* --- Registers --- */

static uint32_t lvt_writable(uint32_t offset)
{
    return lvt_bits[(offset - LAPIC_LVT_TIMER) / 16];
}

static void write_lvt(struct lapic *lapic, uint32_t offset, uint32_t value, uint64_t now)
{
    value &= lvt_writable(offset);
    if (!lapic_software_enabled(lapic)) {
        value |= LAPIC_LVT_MASKED; /* SDM 3A 11.4.7.2 */
    }
    if (offset == LAPIC_LVT_TIMER) {
        lapic_timer_write_lvt(lapic, value, now);
    } else {
        *lapic_register(lapic, offset) = value;
    }
}

/* Switching the APIC off by software masks every LVT entry; switching it on leaves them masked. SDM 3A 11.4.7.2. */
static void write_svr(struct lapic *lapic, uint32_t value, uint64_t now)
{
    *lapic_register(lapic, LAPIC_SVR) = value & LAPIC_SVR_BITS;
    if ((value & LAPIC_SVR_ENABLE) != 0) {
        return;
    }
    for (uint32_t lvt = LAPIC_LVT_TIMER; lvt <= LAPIC_LVT_ERROR; lvt += 16) {
        write_lvt(lapic, lvt, lapic_get(lapic, lvt), now);
    }
}

static void write_esr(struct lapic *lapic)
{
    *lapic_register(lapic, LAPIC_ESR) = lapic->errors;
    lapic->errors = 0;
}

/* What xAPIC and x2APIC writes have in common. Registers that cannot be written are ignored. */
static void write_register(struct lapic *lapic, uint32_t offset, uint32_t value, uint64_t now)
{
    switch (offset) {
    case LAPIC_TPR:
        lapic_tpr_write(lapic, value);
        break;
    case LAPIC_SVR:
        write_svr(lapic, value, now);
        break;
    case LAPIC_ESR:
        write_esr(lapic);
        break;
    case LAPIC_LVT_TIMER:
    case LAPIC_LVT_THERMAL:
    case LAPIC_LVT_PERFORMANCE:
    case LAPIC_LVT_LINT0:
    case LAPIC_LVT_LINT1:
    case LAPIC_LVT_ERROR:
        write_lvt(lapic, offset, value, now);
        break;
    case LAPIC_TIMER_INITIAL:
        lapic_timer_write_initial(lapic, value, now);
        break;
    case LAPIC_TIMER_DIVIDE:
        lapic_timer_write_divide(lapic, value, now);
        break;
    default:
        break;
    }
}

static uint32_t read_register(struct lapic *lapic, uint32_t offset, uint64_t now)
{
    if (offset == LAPIC_TIMER_CURRENT) {
        return lapic_timer_count(lapic, now);
    }
    if (offset == LAPIC_PPR || offset == LAPIC_APR || (offset >= LAPIC_ISR && offset < LAPIC_TMR)) {
        settle_end(lapic);
    }
    if (offset == LAPIC_PPR) {
        follow_tpr(lapic);
    }
    if (offset == LAPIC_APR) {
        return arbitration_priority(lapic);
    }
    if (offset >= LAPIC_TMR && offset < LAPIC_ESR) {
        lapic_merge_pending(lapic);
    }
    return lapic_get(lapic, offset);
}

/* --- The xAPIC page --- */

static void write_xapic_only(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    switch (offset) {
    case LAPIC_ID:
    case LAPIC_LDR:
    case LAPIC_ICR_HIGH:
        *lapic_register(lapic, offset) = value & 0xff000000u;
        break;
    case LAPIC_DFR:
        *lapic_register(lapic, offset) = value | 0x0fffffffu;
        break;
    case LAPIC_ICR:
        *lapic_register(lapic, offset) = value & LAPIC_ICR_BITS;
        send_ipi(lapic, value, lapic_get(lapic, LAPIC_ICR_HIGH) >> 24);
        break;
    default:
        break;
    }
}

static bool xapic_knows(uint32_t offset)
{
    return offset < LAPIC_REGISTERS_END && (xapic_known >> (offset / 16) & 1u) != 0;
}

uint32_t lapic_mmio_read(struct lapic *lapic, uint32_t offset, uint64_t now)
{
    uint32_t line = offset & 0xff0u;

    if (!lapic_enabled(lapic) || lapic_x2apic(lapic)) {
        return 0xffffffffu; /* the page is not decoded: nothing answers on the bus */
    }
    if (!xapic_knows(offset)) {
        lapic_error(lapic, LAPIC_ERROR_REGISTER);
        return 0;
    }
    if ((offset & 0xcu) != 0 || line == LAPIC_EOI) {
        return 0;
    }
    return read_register(lapic, line, now) >> (8 * (offset & 3u));
}

static void write_xapic(struct lapic *lapic, uint32_t register_offset, uint32_t value, uint64_t now)
{
    if (register_offset == LAPIC_EOI) {
        (void)lapic_end_of_interrupt(lapic);
        return;
    }
    write_xapic_only(lapic, register_offset, value);
    write_register(lapic, register_offset, value, now);
}

/* A register's value after a short write. */
static uint32_t with_bytes(const struct lapic *lapic, uint32_t offset, uint8_t size, uint32_t value)
{
    uint32_t shift = 8 * (offset & 3u);
    uint32_t mask = (1u << 8 * size) - 1;

    return (lapic_get(lapic, offset & ~3u) & ~(mask << shift)) | (value & mask) << shift;
}

void lapic_mmio_write(struct lapic *lapic, uint32_t offset, uint8_t size, uint32_t value, uint64_t now)
{
    if (!lapic_enabled(lapic) || lapic_x2apic(lapic)) {
        return;
    }
    if (!xapic_knows(offset)) {
        lapic_error(lapic, LAPIC_ERROR_REGISTER);
        return;
    }
    if ((offset & 0xfu) == 0 && size >= sizeof(uint32_t)) {
        write_xapic(lapic, offset, value, now);
    } else if ((offset & 0xfu) + size <= sizeof(uint32_t)) {
        write_xapic(lapic, offset & ~3u, with_bytes(lapic, offset, size, value), now);
    }
}

bool lapic_page_written(struct lapic *lapic, uint32_t offset, uint64_t now)
{
    uint32_t *register_word = lapic_register(lapic, offset & ~3u);
    uint32_t value = *register_word;

    if (lapic_x2apic(lapic)) {
        return lapic_msr_write(lapic, X2APIC_MSR_FIRST + offset / 16, value, now);
    }
    if ((offset & ~3u) == LAPIC_EOI) {
        *register_word = 0;
    }
    lapic_mmio_write(lapic, offset & ~3u, sizeof(value), value, now);
    return true;
}

/* --- The x2APIC MSRs --- */

/* Bits that must be 0 in a 32-bit register. SDM 3A 11.12.1.3 "Reserved Bit Checking". */
static bool x2apic_value_legal(uint32_t offset, uint32_t value)
{
    switch (offset) {
    case LAPIC_TPR:
    case LAPIC_SELF_IPI:
        return value <= 0xffu;
    case LAPIC_ESR:
        return value == 0;
    case LAPIC_SVR:
        return (value & ~LAPIC_SVR_BITS) == 0;
    case LAPIC_LVT_TIMER:
        return (value & ~(lvt_writable(offset) | 0x1000u)) == 0 &&
               (value & LAPIC_LVT_TIMER_MODE) != LAPIC_LVT_TIMER_MODE;
    case LAPIC_LVT_THERMAL:
    case LAPIC_LVT_PERFORMANCE:
    case LAPIC_LVT_ERROR:
        return (value & ~(lvt_writable(offset) | 0x1000u)) == 0;
    case LAPIC_LVT_LINT0:
    case LAPIC_LVT_LINT1:
        return (value & ~(lvt_writable(offset) | LAPIC_LVT_READ_ONLY)) == 0;
    case LAPIC_TIMER_INITIAL:
        return true;
    case LAPIC_TIMER_DIVIDE:
        return (value & ~0xbu) == 0;
    default:
        return false; /* read-only or not there */
    }
}

static bool write_x2apic_icr(struct lapic *lapic, uint64_t value)
{
    uint32_t icr = (uint32_t)value;

    if ((icr & ~(LAPIC_ICR_BITS | LAPIC_ICR_STATUS)) != 0) {
        return false;
    }
    *lapic_register(lapic, LAPIC_ICR) = icr & LAPIC_ICR_BITS;
    *lapic_register(lapic, LAPIC_ICR_HIGH) = (uint32_t)(value >> 32);
    send_ipi(lapic, icr, (uint32_t)(value >> 32));
    return true;
}

bool lapic_msr_read(struct lapic *lapic, uint32_t msr, uint64_t now, uint64_t *value)
{
    uint32_t offset = (msr - X2APIC_MSR_FIRST) * 16;

    if (!lapic_x2apic(lapic) || msr < X2APIC_MSR_FIRST || offset >= LAPIC_REGISTERS_END ||
        (x2apic_readable >> (offset / 16) & 1u) == 0) {
        return false;
    }
    *value = read_register(lapic, offset, now);
    if (msr == X2APIC_MSR_ICR) {
        *value |= (uint64_t)lapic_get(lapic, LAPIC_ICR_HIGH) << 32;
    }
    return true;
}

bool lapic_msr_write(struct lapic *lapic, uint32_t msr, uint64_t value, uint64_t now)
{
    uint32_t offset = (msr - X2APIC_MSR_FIRST) * 16;

    if (!lapic_x2apic(lapic)) {
        return false;
    }
    if (msr == X2APIC_MSR_EOI) {
        if (value != 0) {
            return false;
        }
        (void)lapic_end_of_interrupt(lapic);
        return true;
    }
    if (msr == X2APIC_MSR_ICR) {
        return write_x2apic_icr(lapic, value);
    }
    if (msr < X2APIC_MSR_FIRST || offset >= LAPIC_REGISTERS_END || value >> 32 != 0 ||
        !x2apic_value_legal(offset, (uint32_t)value)) {
        return false;
    }
    if (offset == LAPIC_SELF_IPI) {
        self_ipi(lapic, (uint8_t)value);
    } else {
        write_register(lapic, offset, (uint32_t)value, now);
    }
    return true;
}
