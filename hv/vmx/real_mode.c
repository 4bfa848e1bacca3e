/* SPDX-License-Identifier: MIT */
#include "hv/vmx/real_mode.h"

#include "hv/core/event.h"
#include "hv/core/guest_io.h"
#include "hv/emulate/real_mode.h"
#include "hv/exit/dispatch.h"
#include "hv/vmx/decode.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

/* Access rights. SDM 3C 25.4.1, table 25-2; what virtual-8086 mode wants is in 27.3.1.2. */
#define ACCESS_V86 0xf3u
#define ACCESS_CODE 0x9bu
#define ACCESS_DATA 0x93u
#define ACCESS_TSS_BUSY 0x8bu
#define ACCESS_KEPT (SEGMENT_DB | SEGMENT_G)
#define ACCESS_DPL_3 0x60u
#define LIMIT_64K 0xffffu
#define SELECTOR_RPL 3u
#define SELECTOR_SHIFT 4u
#define DATA_SEGMENTS 6u /* ES to GS */

#define RFLAGS_IOPL (3ULL << 12)
#define IN_A_ROW_MAX 8u /* instructions that are executed here between two entries */

_Static_assert(SEGMENT_ES == 0 && SEGMENT_GS == DATA_SEGMENTS - 1, "those that code loads come first");

static bool is_as_loaded(const struct segment *segment)
{
    return (segment->access & (SEGMENT_UNUSABLE | SEGMENT_DB)) == 0 && segment->limit == LIMIT_64K &&
           segment->base == (uint64_t)segment->selector << SELECTOR_SHIFT;
}

enum vmx_way vmx_real_way(const struct vcpu_system *system)
{
    if ((system->cr0 & CR0_PE) != 0) {
        return VMX_WAY_PLAIN;
    }
    for (uint32_t i = 0; i < DATA_SEGMENTS; i++) {
        if (!is_as_loaded(&system->segments[i])) {
            return VMX_WAY_STEPPED;
        }
    }
    return VMX_WAY_VIRTUAL_8086;
}

static enum vmcs_field field_of(enum vmcs_field of_es, uint32_t index)
{
    return (enum vmcs_field)((uint32_t)of_es + index * VMCS_SEGMENT_STRIDE);
}

/* In ring 0 the selectors of CS and SS have RPL 0, and data may have any. */
static void write_access(uint32_t index, const struct segment *segment, uint32_t access)
{
    bool ring = index == SEGMENT_CS || index == SEGMENT_SS;
    uint32_t rpl = segment->selector & SELECTOR_RPL;

    if (ring && rpl != 0) {
        vmx_write(field_of(VMCS_GUEST_ES_SELECTOR, index), segment->selector & ~SELECTOR_RPL);
    }
    vmx_write(field_of(VMCS_GUEST_ES_ACCESS, index), access | (!ring && rpl != 0 ? ACCESS_DPL_3 : 0));
}

/* Protected mode that was reached a moment ago may have selectors of real mode still. */
static void write_plain(const struct vcpu_system *system)
{
    for (uint32_t i = 0; i < DATA_SEGMENTS; i++) {
        const struct segment *segment = &system->segments[i];

        if ((segment->access & SEGMENT_UNUSABLE) == 0 &&
            SEGMENT_DPL(segment->access) < (segment->selector & SELECTOR_RPL)) {
            write_access(i, segment, segment->access);
        }
    }
}

static void write_real(const struct vmx_real *real)
{
    for (uint32_t i = 0; i < DATA_SEGMENTS; i++) {
        const struct segment *segment = &real->segments[i];

        if (real->way == VMX_WAY_VIRTUAL_8086) {
            vmx_write(field_of(VMCS_GUEST_ES_ACCESS, i), ACCESS_V86);
        } else if ((segment->access & SEGMENT_UNUSABLE) == 0) {
            write_access(i, segment, (i == SEGMENT_CS ? ACCESS_CODE : ACCESS_DATA) | (segment->access & ACCESS_KEPT));
        }
    }
    vmx_write(field_of(VMCS_GUEST_ES_ACCESS, SEGMENT_LDTR), SEGMENT_UNUSABLE);
    vmx_write(field_of(VMCS_GUEST_ES_SELECTOR, SEGMENT_TR), 0);
    vmx_write(field_of(VMCS_GUEST_ES_BASE, SEGMENT_TR), 0);
    vmx_write(field_of(VMCS_GUEST_ES_LIMIT, SEGMENT_TR), 0);
    vmx_write(field_of(VMCS_GUEST_ES_ACCESS, SEGMENT_TR), ACCESS_TSS_BUSY);
    if (real->way == VMX_WAY_STEPPED) {
        vmx_write(VMCS_GUEST_GDTR_LIMIT, 0);
        vmx_write(VMCS_GUEST_IDTR_LIMIT, 0);
    }
    vmx_write(VMCS_GUEST_CR0, vmx_read(VMCS_GUEST_CR0) & ~VMX_REAL_CR0);
    vmx_write(VMCS_GUEST_CR4, vmx_read(VMCS_GUEST_CR4) & ~VMX_REAL_CR4);
}

void vmx_real_write(struct vmx_real *real, const struct vcpu_system *system)
{
    real->way = vmx_real_way(system);
    if (real->way == VMX_WAY_PLAIN) {
        write_plain(system);
        return;
    }
    for (uint32_t i = 0; i < SEGMENT_COUNT; i++) {
        real->segments[i] = system->segments[i];
    }
    real->gdtr = system->gdtr;
    real->idtr = system->idtr;
    write_real(real);
}

/* Virtual-8086 code loads its segments itself. */
void vmx_real_read(const struct vmx_real *real, struct vcpu_system *system)
{
    if (real->way == VMX_WAY_PLAIN) {
        return;
    }
    for (uint32_t i = 0; i < SEGMENT_COUNT; i++) {
        if (real->way == VMX_WAY_VIRTUAL_8086 && i < DATA_SEGMENTS) {
            system->segments[i].access = i == SEGMENT_CS ? ACCESS_CODE : ACCESS_DATA;
        } else {
            system->segments[i] = real->segments[i];
        }
    }
    system->gdtr = real->gdtr;
    system->idtr = real->idtr;
    system->cpl = 0;
}

/* --- events --- */

static void deliver(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    uint32_t event = (uint32_t)vmx_read(VMCS_ENTRY_EVENT);
    uint32_t type = event >> VMX_EVENT_TYPE_SHIFT & VMX_EVENT_TYPE;
    uint64_t length = type == EVENT_PRIVILEGED_SOFTWARE_EXCEPTION ? vmx_read(VMCS_ENTRY_INSTRUCTION_LENGTH) : 0;

    vmx_write(VMCS_ENTRY_EVENT, 0);
    vmx->read_system(vcpu);
    if (!real_mode_deliver(vcpu, (uint8_t)event, (vcpu->rip + length) & LIMIT_64K)) {
        guest_fail(vcpu, GUEST_CODE_BAD_STATE, "vector %u cannot be delivered in real mode: no stack, or no table",
                   event & VMX_EVENT_VECTOR);
        return;
    }
    if (type == EVENT_NMI) {
        vmx_write(VMCS_GUEST_INTERRUPTIBILITY, vmx_read(VMCS_GUEST_INTERRUPTIBILITY) | INTERRUPTIBILITY_NMI);
    }
}

/* What faulted, or what the CPU must not execute. */
static void execute(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    struct vm_exit exit = {.kind = EXIT_EXCEPTION};

    vmx->read_system(vcpu);
    switch (real_mode_execute(vcpu, &exit)) {
    case REAL_RETURNED:
        vmx_write(VMCS_GUEST_INTERRUPTIBILITY, vmx_read(VMCS_GUEST_INTERRUPTIBILITY) & ~(uint64_t)INTERRUPTIBILITY_NMI);
        break;
    case REAL_ENABLED:
        if ((vcpu->rflags & RFLAGS_TF) == 0) { /* whose trap a shadow would hold back */
            vmx_end_shadow(vmx);
            vmx_write(VMCS_GUEST_INTERRUPTIBILITY, vmx_read(VMCS_GUEST_INTERRUPTIBILITY) | INTERRUPTIBILITY_STI);
            vcpu->requests &= ~(uint32_t)VCPU_ADVANCED;
        }
        break;
    case REAL_EXIT:
        exit_dispatch(vcpu, &exit);
        return;
    case REAL_FAULT:
        vcpu_raise(vcpu, EXCEPTION_GP);
        break;
    case REAL_DONE:
        break;
    }
    vcpu->exit_counts[EXIT_EXCEPTION]++;
    vcpu->requests |= vcpu->exit_tsc >= vcpu->leave_at ? VCPU_YIELD : 0;
    guest_io_end(vcpu);
}

static bool shows_flags(const struct vmx_real *real, struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    if (real->way != VMX_WAY_STEPPED) {
        return false;
    }
    vmx->read_system(vcpu);
    vcpu->rip = vmx_read(VMCS_GUEST_RIP);
    return real_mode_shows_flags(vcpu);
}

bool vmx_real_take_over(struct vmx_real *real, struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    uint64_t flags;

    for (uint32_t i = 0; real->way != VMX_WAY_PLAIN; i++) {
        bool event = (vmx_read_inline(VMCS_ENTRY_EVENT) & VMX_EVENT_VALID) != 0;

        if (!event && !shows_flags(real, vmx, vcpu)) {
            break;
        }
        vcpu->requests |= i >= IN_A_ROW_MAX ? VCPU_YIELD : 0;
        if (!vmx_handle_by(vmx, vcpu, event ? deliver : execute)) {
            return false;
        }
    }
    flags = vmx_read_inline(VMCS_GUEST_RFLAGS);
    if (real->way == VMX_WAY_VIRTUAL_8086) {
        real->flags = flags & RFLAGS_IOPL;
        vmx_write_inline(VMCS_GUEST_RFLAGS, (flags & ~RFLAGS_IOPL) | RFLAGS_VM);
    } else if (real->way == VMX_WAY_STEPPED) {
        real->flags = flags & RFLAGS_TF;
        vmx_write_inline(VMCS_GUEST_RFLAGS, flags | RFLAGS_TF);
    }
    return true;
}

/* LGDT and LIDT are the guest's, and its tables are not used. */
static void take_table(struct table_register *table, enum vmcs_field base, enum vmcs_field limit)
{
    if (vmx_read(limit) != 0 || vmx_read(base) != table->base) {
        *table = (struct table_register){vmx_read(base), (uint16_t)vmx_read(limit)};
        vmx_write(limit, 0);
    }
}

/* A selector of 0 to 3 is no descriptor's: the CPU loads it without a fault, and the segment becomes unusable. */
static bool take_null(struct vmx_real *real, uint32_t index)
{
    struct segment *segment = &real->segments[index];

    if ((vmx_read(field_of(VMCS_GUEST_ES_ACCESS, index)) & SEGMENT_UNUSABLE) == 0 ||
        (segment->access & SEGMENT_UNUSABLE) != 0) {
        return false;
    }
    segment->selector = (uint16_t)vmx_read(field_of(VMCS_GUEST_ES_SELECTOR, index));
    segment->base = (uint64_t)segment->selector << SELECTOR_SHIFT;
    return true;
}

static void take_step(struct vmx_real *real, struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    bool changed = false;

    take_table(&real->gdtr, VMCS_GUEST_GDTR_BASE, VMCS_GUEST_GDTR_LIMIT);
    take_table(&real->idtr, VMCS_GUEST_IDTR_BASE, VMCS_GUEST_IDTR_LIMIT);
    for (uint32_t i = 0; i < DATA_SEGMENTS; i++) {
        changed |= take_null(real, i);
    }
    vmx_end_shadow(vmx);
    if (real->flags == 0) { /* the trap of our own step, which Bochs keeps where the instruction itself exits */
        vmx_write(VMCS_GUEST_PENDING_DEBUG, 0);
    }
    if (changed) {
        vmx->read_system(vcpu);
        vcpu->requests |= VCPU_SYSTEM_WRITE;
    }
}

void vmx_real_put_back(struct vmx_real *real, struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    uint64_t flags;

    if (real->way == VMX_WAY_PLAIN) {
        return;
    }
    flags = vmx_read_inline(VMCS_GUEST_RFLAGS);
    if (real->way == VMX_WAY_VIRTUAL_8086) {
        vmx_write_inline(VMCS_GUEST_RFLAGS, (flags & ~RFLAGS_VM) | real->flags);
    } else {
        vmx_write_inline(VMCS_GUEST_RFLAGS, (flags & ~RFLAGS_TF) | real->flags);
        take_step(real, vmx, vcpu);
    }
}

/* --- exits --- */

/* The trap after an instruction that nothing else is to be done for. */
static bool is_own_step(const struct vmx_real *real, uint32_t event)
{
    return real->way == VMX_WAY_STEPPED && (event & VMX_EVENT_VECTOR) == EXCEPTION_DB && real->flags == 0 &&
           (vmx_read(VMCS_EXIT_QUALIFICATION) & DR6_BREAKPOINTS) == 0;
}

bool vmx_real_handle_exit(struct vmx_real *real, struct vmx_vcpu *vmx, struct vcpu *vcpu, uint32_t reason)
{
    uint32_t event = reason == VMX_EXIT_EXCEPTION_NMI ? (uint32_t)vmx_read(VMCS_EXIT_EVENT) : 0;
    uint32_t type = event >> VMX_EVENT_TYPE_SHIFT & VMX_EVENT_TYPE;

    if ((event & VMX_EVENT_VALID) == 0 || type == EVENT_NMI) {
        return vmx_handle_exit(vcpu);
    }
    if (is_own_step(real, event)) {
        vcpu->exit_counts[EXIT_EXCEPTION]++;
        vcpu->requests |= insn_rdtsc() >= vcpu->leave_at ? VCPU_YIELD : 0;
        return vcpu->requests == 0 || vmx_finish_interrupted(vmx, vcpu);
    }
    if (type != EVENT_EXCEPTION || (event & VMX_EVENT_VECTOR) == EXCEPTION_GP) {
        vmx->launched = 1;
        vcpu->pending.valid = false;
        return vmx_handle_by(vmx, vcpu, execute);
    }
    return vmx_handle_exit(vcpu);
}
