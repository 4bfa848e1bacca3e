/* SPDX-License-Identifier: MIT */
/*
 * The task switch in the manual's steps. SDM 3A 8.3 "Task Switching"; APM 2 12.3 and 15.14.1.
 *
 * The commit point is where the old task's state has been written: before it a fault belongs to the old task and
 * nothing has changed; behind it the new task's registers are loaded, and a fault (a bad selector in its TSS) is
 * delivered in the new task, as on the machine. Both TSS are read, and so translated for what will be written to them,
 * before the commit point. The checks are those of table 8-1; the manual leaves their order to the model, ours is: TSS
 * descriptor, LDTR, CS, SS, data segments.
 */
#include "hv/emulate/task_switch.h"

#include "hv/base/memory.h"
#include "hv/core/event.h"
#include "hv/core/platform_lock.h"
#include "hv/emulate/cr_access.h"
#include "hv/emulate/emulate_fetch.h"
#include "hv/emulate/emulate_memory.h"
#include "hv/emulate/emulate_registers.h"
#include "hv/x86/registers.h"

/* Selectors. SDM 3A 3.4.2 "Segment Selectors". */
#define SELECTOR_TABLE 4u /* in the LDT */
#define SELECTOR_RPL(selector) ((selector)&3u)
#define SELECTOR_INDEX(selector) ((uint32_t)(selector) & ~7u)
#define SELECTOR_IS_NULL(selector) (((selector) & ~3u) == 0)
#define ERROR_EXT 1u /* of an error code: an external event caused it. SDM 3A 6.13 */

/* Types of system descriptors and of segments. SDM 3A 3.4.5.1 and 3.5, tables 3-1 and 3-2. */
#define TYPE_LDT 2u
#define TYPE_TASK_GATE 5u
#define TYPE_TSS_16 1u
#define TYPE_TSS_BUSY 2u /* the bit */
#define TYPE_TSS_32 8u   /* the bit, with the one of a TSS_16 */
#define TYPE_ACCESSED 1u
#define TYPE_WRITABLE 2u /* of code: readable */
#define TYPE_CONFORMING 4u
#define TYPE_CODE 8u
#define DESCRIPTOR_BUSY (1ULL << 41)
#define DESCRIPTOR_ACCESSED (1ULL << 40)

/* SDM 2A "INT n/INTO/INT3/INT1" */
#define OPCODE_INT3 0xccu
#define OPCODE_INT 0xcdu
#define OPCODE_INTO 0xceu
#define OPCODE_INT1 0xf1u

#define ACCESS_CODE_0 0xc09bu /* 32-bit code, readable, accessed, DPL 0. SDM 3A 3.4.5 */
#define ACCESS_V86 0xf3u      /* data, writable, accessed, DPL 3. SDM 3C 27.3.1.2 */
#define RFLAGS_NT (1ULL << 14)
#define RFLAGS_LOADED 0x3f7fd5ULL /* every flag there is. SDM 1 3.4.3, figure 3-8 */
#define DR7_LOCAL 0x155ULL        /* L0 to L3 and LE are cleared by a task switch. SDM 3B 18.2.4 */
#define TSS_BYTES_MAX 104u
#define TSS_LINK 0u
#define TSS_32_CR3 28u
#define TSS_32_TRAP 100u

/* Where the fields are. Registers and segments follow each other in the order of the encoding. */
struct tss_format {
    uint8_t bytes; /* the smallest limit + 1 */
    uint8_t width; /* of a field */
    uint8_t ip, flags, gprs, segments, segment_count, ldt;
};

/* SDM 3A 8.2.1, figure 8-2 "32-Bit Task-State Segment (TSS)"; 8.6, figure 8-10 "16-Bit TSS Format". */
static const struct tss_format tss_32 = {
    .bytes = 104, .width = 4, .ip = 32, .flags = 36, .gprs = 40, .segments = 72, .segment_count = 6, .ldt = 96};
static const struct tss_format tss_16 = {
    .bytes = 44, .width = 2, .ip = 14, .flags = 16, .gprs = 18, .segments = 34, .segment_count = 4, .ldt = 42};

#define TSS_GPRS 8u
_Static_assert(GPR_RDI + 1 == TSS_GPRS, "the TSS holds the first eight registers");

struct switching {
    struct vcpu *vcpu;
    const struct exit_task_switch *ts;
    uint32_t external; /* ERROR_EXT or 0 */
    struct segment incoming;
    uint64_t descriptor; /* of the incoming TSS, as it is in the GDT */
    uint64_t next_rip;   /* of the old task */
    uint8_t old_tss[TSS_BYTES_MAX];
    uint8_t new_tss[TSS_BYTES_MAX];
};

/* --- memory that the CPU accesses for itself --- */

/* True where every byte can be accessed so. bytes is a multiple of width, width at most 8. */
static bool probe(struct vcpu *vcpu, uint64_t linear, uint32_t bytes, uint8_t width, enum guest_access access)
{
    struct memory_operand operand;

    for (uint32_t at = 0; at < bytes; at += width) {
        if (!emulate_translate_linear(vcpu, (linear + at) & 0xffffffffu, width, access, true, &operand)) {
            return false;
        }
    }
    return true;
}

static bool read_linear(struct vcpu *vcpu, uint64_t linear, uint8_t *to, uint32_t bytes, uint8_t width)
{
    struct memory_operand operand;

    for (uint32_t at = 0; at < bytes; at += width) {
        uint64_t value;

        if (!emulate_translate_linear(vcpu, (linear + at) & 0xffffffffu, width, GUEST_READ, true, &operand)) {
            return false;
        }
        value = emulate_load(vcpu, &operand);
        memcpy(to + at, &value, width);
    }
    return true;
}

static bool write_linear(struct vcpu *vcpu, uint64_t linear, const uint8_t *from, uint32_t bytes, uint8_t width)
{
    struct memory_operand operand;

    for (uint32_t at = 0; at < bytes; at += width) {
        uint64_t value = 0;

        memcpy(&value, from + at, width);
        if (!emulate_translate_linear(vcpu, (linear + at) & 0xffffffffu, width, GUEST_WRITE, true, &operand)) {
            return false;
        }
        emulate_store(vcpu, &operand, value);
    }
    return true;
}

static uint32_t field(const uint8_t *tss, uint8_t at, uint8_t width)
{
    uint32_t value = 0;

    memcpy(&value, tss + at, width);
    return value;
}

static void set_field(uint8_t *tss, uint8_t at, uint8_t width, uint64_t value)
{
    memcpy(tss + at, &value, width);
}

/* --- descriptors --- */

/* SDM 3A 3.4.5, figure 3-8 "Segment Descriptor". */
static struct segment segment_of(uint16_t selector, uint64_t descriptor)
{
    struct segment segment = {.selector = selector};

    segment.base = bit_field(descriptor, 16, 39) | bit_field(descriptor, 56, 63) << 24;
    segment.access = (uint32_t)(bit_field(descriptor, 40, 47) | bit_field(descriptor, 52, 55) << 12);
    segment.limit = (uint32_t)(bit_field(descriptor, 0, 15) | bit_field(descriptor, 48, 51) << 16);
    if (segment.access & SEGMENT_G) {
        segment.limit = segment.limit << 12 | 0xfffu;
    }
    return segment;
}

/* Where a selector's descriptor is. False: beyond its table. */
static bool descriptor_address(const struct vcpu *vcpu, uint16_t selector, uint64_t *linear)
{
    const struct segment *ldtr = &vcpu->system.segments[SEGMENT_LDTR];
    bool local = (selector & SELECTOR_TABLE) != 0;
    uint64_t base = local ? ldtr->base : vcpu->system.gdtr.base;
    uint32_t limit = local ? ldtr->limit : vcpu->system.gdtr.limit;

    if ((local && (ldtr->access & SEGMENT_UNUSABLE)) || SELECTOR_INDEX(selector) + 7 > limit) {
        return false;
    }
    *linear = base + SELECTOR_INDEX(selector);
    return true;
}

static bool fault(const struct switching *switching, enum exception vector, uint16_t selector)
{
    vcpu_raise_error(switching->vcpu, vector, (uint32_t)(selector & ~3u) | switching->external);
    return false;
}

/* Reads a descriptor; `vector` is the exception for a selector beyond its table. */
static bool read_descriptor(const struct switching *switching, uint16_t selector, enum exception vector,
                            uint64_t *descriptor)
{
    uint64_t linear;

    if (!descriptor_address(switching->vcpu, selector, &linear)) {
        return fault(switching, vector, selector);
    }
    return read_linear(switching->vcpu, linear, (uint8_t *)descriptor, 8, 8);
}

/* Sets or clears bits of a descriptor in the GDT or LDT. */
static bool change_descriptor(struct vcpu *vcpu, uint16_t selector, uint64_t descriptor)
{
    uint64_t linear;

    return descriptor_address(vcpu, selector, &linear) &&
           write_linear(vcpu, linear, (const uint8_t *)&descriptor, 8, 8);
}

/* --- before the commit point --- */

static const struct tss_format *format_of(const struct segment *tss)
{
    return (SEGMENT_TYPE(tss->access) & TYPE_TSS_32) ? &tss_32 : &tss_16;
}

static bool is_tss(uint32_t access)
{
    return (access & SEGMENT_S) == 0 && (access & 0x5u) == TYPE_TSS_16;
}

/* Table 8-1, the first five rows. The CPU has checked most of it before the exit. */
static bool check_incoming(struct switching *switching)
{
    uint16_t selector = switching->ts->selector;
    bool returning = switching->ts->reason == TASK_SWITCH_IRET;
    enum exception wrong = returning ? EXCEPTION_TS : EXCEPTION_GP;
    struct segment *tss = &switching->incoming;

    if (SELECTOR_IS_NULL(selector) || (selector & SELECTOR_TABLE)) {
        return fault(switching, wrong, selector);
    }
    if (!read_descriptor(switching, selector, wrong, &switching->descriptor)) {
        return false;
    }
    *tss = segment_of(selector, switching->descriptor);
    if (!is_tss(tss->access) || ((tss->access & TYPE_TSS_BUSY) != 0) != returning) {
        return fault(switching, wrong, selector);
    }
    if ((tss->access & SEGMENT_P) == 0) {
        return fault(switching, EXCEPTION_NP, selector);
    }
    if (tss->limit < format_of(tss)->bytes - 1u) {
        return fault(switching, EXCEPTION_TS, selector);
    }
    return true;
}

/* Does the gate of this vector in the IDT name the task? SDM 3A 6.11, figure 6-2 "IDT Gate Descriptors". */
static bool vector_leads_to(struct vcpu *vcpu, uint8_t vector, uint16_t selector)
{
    const struct table_register *idtr = &vcpu->system.idtr;
    uint32_t offset = vector * 8u;
    uint64_t gate;

    return offset + 7 <= idtr->limit && emulate_peek(vcpu, idtr->base + offset, true, (uint8_t *)&gate, sizeof(gate)) &&
           bit_field(gate, 40, 44) == TYPE_TASK_GATE && bit_field(gate, 16, 31) == selector;
}

/* Is there a software interrupt at rip whose gate names the task? SDM 2A "INT n/INTO/INT3/INT1". */
static bool instruction_leads_to(struct vcpu *vcpu, uint16_t selector)
{
    uint64_t at = emulate_fetch_address(vcpu);
    uint8_t bytes[2];

    if (!emulate_peek(vcpu, at, false, bytes, 1)) {
        return false;
    }
    switch (bytes[0]) {
    case OPCODE_INT:
        return emulate_peek(vcpu, at, false, bytes, 2) && vector_leads_to(vcpu, bytes[1], selector);
    case OPCODE_INT3:
        return vector_leads_to(vcpu, EXCEPTION_BP, selector);
    case OPCODE_INTO:
        return vector_leads_to(vcpu, EXCEPTION_OF, selector);
    case OPCODE_INT1:
        return vector_leads_to(vcpu, EXCEPTION_DB, selector);
    default:
        return false;
    }
}

/*
 * stale_task_event: the event is one of the past where its gate does not lead to the task, or where it pushes no error
 * code and a software interrupt stands at rip whose gate does. (An interrupt that came right before such an
 * instruction, to the same task, is taken for it.)
 */
static bool event_is_stale(struct vcpu *vcpu, const struct exit_task_switch *ts)
{
    return vcpu->guest->host->quirks.stale_task_event && (!vector_leads_to(vcpu, vcpu->pending.vector, ts->selector) ||
                                                          (!ts->has_error && instruction_leads_to(vcpu, ts->selector)));
}

/* JMP, CALL, IRET, or INT n, INT3, INTO and INT1 through a task gate: the vendors' decoders leave no event of these. */
static bool came_by_instruction(struct vcpu *vcpu, const struct exit_task_switch *ts)
{
    return ts->reason != TASK_SWITCH_GATE || !vcpu->pending.valid || event_is_stale(vcpu, ts);
}

/* An instruction that switches is complete: the old task goes on after it. An event's task goes on where it was. */
static bool find_next_rip(struct switching *switching)
{
    struct vcpu *vcpu = switching->vcpu;
    struct fetched fetched;
    char text[FETCHED_TEXT_MAX];

    switching->next_rip = vcpu->rip;
    if (!came_by_instruction(vcpu, switching->ts)) {
        switching->external = ERROR_EXT;
        return true;
    }
    switch (emulate_fetch(vcpu, &fetched)) {
    case FETCH_OK:
        switching->next_rip = vcpu->rip + fetched.instruction.length;
        return true;
    case FETCH_RAISED:
        return false;
    case FETCH_UNSUPPORTED:
        if (emulate_enter_again(vcpu)) {
            return false;
        }
        guest_fail(vcpu, GUEST_CODE_TASK_SWITCH,
                   "task switch at rip 0x%" PRIx64 ", but the bytes there are %s: its code changed while it ran",
                   vcpu->rip, emulate_bytes_text(&fetched, text));
        return false;
    }
    return false;
}

/* Reads both TSS, and makes sure that all that will be written can be. */
static bool read_both(struct switching *switching)
{
    struct vcpu *vcpu = switching->vcpu;
    const struct segment *old = &vcpu->system.segments[SEGMENT_TR];
    const struct tss_format *old_format = format_of(old);
    const struct tss_format *new_format = format_of(&switching->incoming);
    uint8_t old_width = old_format->width;
    uint8_t new_width = new_format->width;

    return read_linear(vcpu, old->base, switching->old_tss, old_format->bytes, old_width) &&
           probe(vcpu, old->base, old_format->bytes, old_width, GUEST_WRITE) &&
           read_linear(vcpu, switching->incoming.base, switching->new_tss, new_format->bytes, new_width) &&
           probe(vcpu, switching->incoming.base, 2, 2, GUEST_WRITE) &&
           probe(vcpu, vcpu->system.gdtr.base + SELECTOR_INDEX(switching->ts->selector), 8, 8, GUEST_WRITE);
}

/* --- the commit point --- */

/* Everything between the instruction pointer and the last segment; the rest of a TSS is never written. */
static bool save_old(struct switching *switching)
{
    struct vcpu *vcpu = switching->vcpu;
    const struct segment *old = &vcpu->system.segments[SEGMENT_TR];
    const struct tss_format *format = format_of(old);
    uint32_t saved = (uint32_t)(format->segments + format->segment_count * format->width - format->ip);
    uint64_t flags = vcpu->rflags;

    if (switching->ts->reason == TASK_SWITCH_IRET) {
        flags &= ~RFLAGS_NT;
    }
    set_field(switching->old_tss, format->ip, format->width, switching->next_rip);
    set_field(switching->old_tss, format->flags, format->width, flags);
    for (uint32_t i = 0; i < TSS_GPRS; i++) {
        set_field(switching->old_tss, (uint8_t)(format->gprs + i * format->width), format->width, vcpu->gpr[i]);
    }
    for (uint32_t i = 0; i < format->segment_count; i++) {
        set_field(switching->old_tss, (uint8_t)(format->segments + i * format->width), 2,
                  vcpu->system.segments[i].selector);
    }
    return write_linear(vcpu, old->base + format->ip, switching->old_tss + format->ip, saved, format->width);
}

/* JMP and IRET leave the old task for good; CALL and a gate link it to the new one. */
static bool mark_tasks(struct switching *switching)
{
    struct vcpu *vcpu = switching->vcpu;
    enum task_switch_reason reason = switching->ts->reason;
    uint16_t old = vcpu->system.segments[SEGMENT_TR].selector;
    uint64_t descriptor;

    if (reason == TASK_SWITCH_JMP || reason == TASK_SWITCH_IRET) {
        if (!read_descriptor(switching, old, EXCEPTION_TS, &descriptor) ||
            !change_descriptor(vcpu, old, descriptor & ~DESCRIPTOR_BUSY)) {
            return false;
        }
    } else if (!write_linear(vcpu, switching->incoming.base + TSS_LINK, (const uint8_t *)&old, 2, 2)) {
        return false;
    }
    return reason == TASK_SWITCH_IRET ||
           change_descriptor(vcpu, switching->ts->selector, switching->descriptor | DESCRIPTOR_BUSY);
}

/* --- the new task --- */

/* The manual has no exception for malformed page-directory pointers here: they are not there for the new task. */
static void load_cr3(struct vcpu *vcpu, uint64_t cr3)
{
    struct vcpu_system *system = &vcpu->system;

    system->cr3 = cr3;
    if (pae_is_on(system->cr0, system->cr4, system->efer) && !pae_pointers_load(vcpu, cr3)) {
        memset(system->pae_pointers, 0, sizeof(system->pae_pointers));
    }
    vcpu->requests |= VCPU_FLUSH;
}

static void load_registers(struct switching *switching)
{
    struct vcpu *vcpu = switching->vcpu;
    const struct tss_format *format = format_of(&switching->incoming);
    bool links = switching->ts->reason == TASK_SWITCH_CALL || switching->ts->reason == TASK_SWITCH_GATE;

    if (format == &tss_32 && (vcpu->system.cr0 & CR0_PG)) {
        load_cr3(vcpu, field(switching->new_tss, TSS_32_CR3, 4));
    }
    vcpu->rip = field(switching->new_tss, format->ip, format->width);
    vcpu->rflags = (field(switching->new_tss, format->flags, format->width) & RFLAGS_LOADED) | RFLAGS_FIXED;
    vcpu->rflags |= links ? RFLAGS_NT : 0;
    for (uint32_t i = 0; i < TSS_GPRS; i++) {
        vcpu->gpr[i] = field(switching->new_tss, (uint8_t)(format->gprs + i * format->width), format->width);
    }
    vcpu->system.cr0 |= CR0_TS;
    vcpu->system.dr7 &= ~DR7_LOCAL;
    vcpu->system.segments[SEGMENT_TR] = switching->incoming;
    vcpu->system.segments[SEGMENT_TR].access |= TYPE_TSS_BUSY;
}

/*
 * All selectors first, none of them usable: what a fault in the middle leaves to the new task's handler. But CS, for
 * VMX enters no guest without one; no instruction runs with it, because the fault comes first. SDM 3C 27.3.1.2.
 */
static void load_selectors(struct switching *switching)
{
    struct vcpu *vcpu = switching->vcpu;
    const struct tss_format *format = format_of(&switching->incoming);

    for (uint32_t i = 0; i <= SEGMENT_GS; i++) {
        uint16_t selector = 0;

        if (i < format->segment_count) {
            selector = (uint16_t)field(switching->new_tss, (uint8_t)(format->segments + i * format->width), 2);
        }
        vcpu->system.segments[i] = (struct segment){.selector = selector, .access = SEGMENT_UNUSABLE};
    }
    vcpu->system.segments[SEGMENT_LDTR] =
        (struct segment){.selector = (uint16_t)field(switching->new_tss, format->ldt, 2), .access = SEGMENT_UNUSABLE};
    vcpu->system.cpl = SELECTOR_RPL(vcpu->system.segments[SEGMENT_CS].selector);
    vcpu->system.segments[SEGMENT_CS].access = ACCESS_CODE_0 | (uint32_t)vcpu->system.cpl << 5;
    vcpu->system.segments[SEGMENT_CS].limit = UINT32_MAX;
    vcpu->system.segments[SEGMENT_SS].access |= (uint32_t)vcpu->system.cpl << 5; /* VMX takes CPL from there */
}

static bool load_ldtr(const struct switching *switching)
{
    struct vcpu *vcpu = switching->vcpu;
    uint16_t selector = vcpu->system.segments[SEGMENT_LDTR].selector;
    struct segment ldtr;
    uint64_t descriptor;

    if (SELECTOR_IS_NULL(selector)) {
        return true;
    }
    if (selector & SELECTOR_TABLE) {
        return fault(switching, EXCEPTION_TS, selector);
    }
    if (!read_descriptor(switching, selector, EXCEPTION_TS, &descriptor)) {
        return false;
    }
    ldtr = segment_of(selector, descriptor);
    if ((ldtr.access & (SEGMENT_S | 0xfu)) != TYPE_LDT || (ldtr.access & SEGMENT_P) == 0) {
        return fault(switching, EXCEPTION_TS, selector);
    }
    vcpu->system.segments[SEGMENT_LDTR] = ldtr;
    return true;
}

/* Rows 7, 8 and 13 of table 8-1. */
static bool code_allowed(const struct segment *segment)
{
    uint32_t type = SEGMENT_TYPE(segment->access);
    uint32_t rpl = SELECTOR_RPL(segment->selector);

    if ((segment->access & SEGMENT_S) == 0 || (type & TYPE_CODE) == 0) {
        return false;
    }
    return (type & TYPE_CONFORMING) ? SEGMENT_DPL(segment->access) <= rpl : SEGMENT_DPL(segment->access) == rpl;
}

/* Rows 9, 11 and 15. */
static bool stack_allowed(const struct segment *segment, uint8_t cpl)
{
    return (segment->access & SEGMENT_S) && (segment->access & (TYPE_CODE | TYPE_WRITABLE)) == TYPE_WRITABLE &&
           SEGMENT_DPL(segment->access) == cpl && SELECTOR_RPL(segment->selector) == cpl;
}

/* Rows 16, 17 and 19. */
static bool data_allowed(const struct segment *segment, uint8_t cpl)
{
    uint32_t type = SEGMENT_TYPE(segment->access);
    uint32_t dpl = SEGMENT_DPL(segment->access);

    if ((segment->access & SEGMENT_S) == 0 || (type & (TYPE_CODE | TYPE_WRITABLE)) == TYPE_CODE) {
        return false;
    }
    return (type & (TYPE_CODE | TYPE_CONFORMING)) == (TYPE_CODE | TYPE_CONFORMING) ||
           (dpl >= cpl && dpl >= SELECTOR_RPL(segment->selector));
}

static bool segment_allowed(uint32_t index, const struct segment *segment, uint8_t cpl)
{
    if (index == SEGMENT_CS) {
        return code_allowed(segment);
    }
    return index == SEGMENT_SS ? stack_allowed(segment, cpl) : data_allowed(segment, cpl);
}

static bool load_segment(const struct switching *switching, uint32_t index)
{
    struct vcpu *vcpu = switching->vcpu;
    uint16_t selector = vcpu->system.segments[index].selector;
    struct segment segment;
    uint64_t descriptor;

    if (SELECTOR_IS_NULL(selector)) {
        bool needed = index == SEGMENT_CS || index == SEGMENT_SS;

        return needed ? fault(switching, EXCEPTION_TS, selector) : true;
    }
    if (!read_descriptor(switching, selector, EXCEPTION_TS, &descriptor)) {
        return false;
    }
    segment = segment_of(selector, descriptor);
    if (!segment_allowed(index, &segment, vcpu->system.cpl)) {
        return fault(switching, EXCEPTION_TS, selector);
    }
    if ((segment.access & SEGMENT_P) == 0) {
        return fault(switching, index == SEGMENT_SS ? EXCEPTION_SS : EXCEPTION_NP, selector);
    }
    if ((segment.access & TYPE_ACCESSED) == 0 && !change_descriptor(vcpu, selector, descriptor | DESCRIPTOR_ACCESSED)) {
        return false;
    }
    segment.access |= TYPE_ACCESSED;
    vcpu->system.segments[index] = segment;
    return true;
}

/* SDM 3B 21.2 "Virtual-8086 Mode": in virtual-8086 mode a selector is a paragraph. */
static void load_v86_segments(struct vcpu *vcpu)
{
    for (uint32_t i = 0; i <= SEGMENT_GS; i++) {
        struct segment *segment = &vcpu->system.segments[i];

        segment->base = (uint64_t)segment->selector << 4;
        segment->limit = 0xffff;
        segment->access = ACCESS_V86;
    }
    vcpu->system.cpl = 3;
}

static bool load_segments(const struct switching *switching)
{
    static const uint8_t order[] = {SEGMENT_CS, SEGMENT_SS, SEGMENT_DS, SEGMENT_ES, SEGMENT_FS, SEGMENT_GS};

    if (!load_ldtr(switching)) {
        return false;
    }
    if (switching->vcpu->rflags & RFLAGS_VM) {
        load_v86_segments(switching->vcpu);
        return true;
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(order); i++) {
        if (!load_segment(switching, order[i])) {
            return false;
        }
    }
    return true;
}

/* The error code of an exception goes on the new task's stack, in the width of its TSS. SDM 3A 6.13. */
static bool push_error(const struct switching *switching)
{
    struct vcpu *vcpu = switching->vcpu;
    uint8_t width = format_of(&switching->incoming)->width;
    uint8_t stack = (vcpu->system.segments[SEGMENT_SS].access & SEGMENT_DB) ? 4 : 2;
    uint64_t top = (register_read(vcpu, GPR_RSP, stack) - width) & size_mask(stack);
    struct memory_operand operand;

    if (!switching->ts->has_error) {
        return true;
    }
    if (!emulate_translate(vcpu, SEGMENT_SS, top, width, GUEST_WRITE, &operand)) {
        return false;
    }
    emulate_store(vcpu, &operand, switching->ts->error);
    register_write(vcpu, GPR_RSP, stack, top);
    return true;
}

/* The new task's first fetch, and the T flag of its TSS: a debug trap before its first instruction. SDM 3B 18.3.1.5. */
static void finish(const struct switching *switching)
{
    struct vcpu *vcpu = switching->vcpu;

    vcpu->pending.valid = false;
    if (vcpu->rip > vcpu->system.segments[SEGMENT_CS].limit) {
        vcpu_raise_error(vcpu, EXCEPTION_GP, switching->external);
        return;
    }
    if (format_of(&switching->incoming) == &tss_32 && (switching->new_tss[TSS_32_TRAP] & 1)) {
        vcpu->requests |= VCPU_TASK_TRAP;
        vcpu_raise(vcpu, EXCEPTION_DB);
    }
}

void task_switch(struct vcpu *vcpu, const struct exit_task_switch *ts)
{
    struct switching switching = {.vcpu = vcpu, .ts = ts};

    /* A TSS may lie where a device is: what has begun must not have to be done again from its middle. */
    if (!guest_hold(vcpu) || !find_next_rip(&switching) || !check_incoming(&switching) || !read_both(&switching)) {
        return;
    }
    /* The commit point: from here on everything belongs to the new task. */
    if (!save_old(&switching) || !mark_tasks(&switching)) {
        return;
    }
    load_registers(&switching);
    load_selectors(&switching);
    vcpu->requests |= VCPU_SYSTEM_WRITE | VCPU_ADVANCED | VCPU_EVENT;
    if (load_segments(&switching) && push_error(&switching)) {
        finish(&switching);
    }
}
