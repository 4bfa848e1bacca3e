/* SPDX-License-Identifier: MIT */
/*
 * One iteration is: translate both operands, load, store, step the registers. A fault can only come from a translation,
 * so the registers always say exactly what has been done. SDM 2B "REP/REPE/REPZ/REPNE/REPNZ".
 */
#include "hv/emulate/emulate_string.h"

#include "hv/core/event.h"
#include "hv/core/platform_lock.h"
#include "hv/emulate/emulate_alu.h"
#include "hv/emulate/emulate_memory.h"
#include "hv/emulate/emulate_registers.h"

uint64_t string_elements(const struct vcpu *vcpu, const struct instruction *instruction)
{
    return instruction->rep == REP_NONE ? 1 : register_read(vcpu, GPR_RCX, instruction->address_bytes);
}

uint64_t string_budget(const struct vcpu *vcpu, uint64_t elements)
{
    return min_u64(elements, (vcpu->rflags & RFLAGS_TF) ? 1 : STRING_ELEMENTS_PER_EXIT);
}

uint64_t string_step(const struct vcpu *vcpu, const struct instruction *instruction)
{
    return (vcpu->rflags & RFLAGS_DF) ? 0 - (uint64_t)instruction->rm_bytes : instruction->rm_bytes;
}

/* RF is set in what an interrupt between two iterations pushes. SDM 3B 18.3.1.1. */
void string_finish(struct vcpu *vcpu, const struct instruction *instruction, bool complete)
{
    vcpu_advance(vcpu, complete ? instruction->length : 0);
    if (!complete) {
        vcpu->rflags |= RFLAGS_RF;
    }
}

static bool reads_source(enum operation operation)
{
    return operation == OPERATION_MOVS || operation == OPERATION_CMPS || operation == OPERATION_LODS;
}

static bool has_destination(enum operation operation)
{
    return operation != OPERATION_LODS;
}

static bool compares(enum operation operation)
{
    return operation == OPERATION_CMPS || operation == OPERATION_SCAS;
}

struct string_operands {
    struct memory_operand source;      /* segment:rSI */
    struct memory_operand destination; /* ES:rDI */
};

static bool translate_operands(struct vcpu *vcpu, const struct instruction *instruction,
                               struct string_operands *operands)
{
    uint8_t size = instruction->rm_bytes;
    enum operation operation = instruction->operation;
    enum guest_access access = compares(operation) ? GUEST_READ : GUEST_WRITE;

    if (reads_source(operation) &&
        !emulate_translate(vcpu, instruction->segment, register_read(vcpu, GPR_RSI, instruction->address_bytes), size,
                           GUEST_READ, &operands->source)) {
        return false;
    }
    return !has_destination(operation) ||
           emulate_translate(vcpu, SEGMENT_ES, register_read(vcpu, GPR_RDI, instruction->address_bytes), size, access,
                             &operands->destination);
}

static void do_element(struct vcpu *vcpu, const struct instruction *instruction, const struct string_operands *operands)
{
    uint8_t size = instruction->rm_bytes;
    uint64_t value = reads_source(instruction->operation) ? emulate_load(vcpu, &operands->source)
                                                          : register_read(vcpu, GPR_RAX, size);

    if (instruction->operation == OPERATION_LODS) {
        register_write(vcpu, GPR_RAX, size, value);
    } else if (compares(instruction->operation)) {
        alu_apply(OPERATION_CMP, value, emulate_load(vcpu, &operands->destination), size, &vcpu->rflags);
    } else {
        emulate_store(vcpu, &operands->destination, value);
    }
}

static void step_registers(struct vcpu *vcpu, const struct instruction *instruction)
{
    uint8_t width = instruction->address_bytes;
    uint64_t step = string_step(vcpu, instruction);

    if (reads_source(instruction->operation)) {
        register_add(vcpu, GPR_RSI, width, step);
    }
    if (has_destination(instruction->operation)) {
        register_add(vcpu, GPR_RDI, width, step);
    }
    if (instruction->rep != REP_NONE) {
        register_add(vcpu, GPR_RCX, width, ~0ULL);
    }
}

/* REPE ends at a difference, REPNE at a match; the others look at rCX only. */
static bool ended_by_flag(const struct vcpu *vcpu, const struct instruction *instruction)
{
    bool equal = (vcpu->rflags & FLAG_ZF) != 0;

    return compares(instruction->operation) &&
           ((instruction->rep == REP_E && !equal) || (instruction->rep == REP_NE && equal));
}

void emulate_string(struct vcpu *vcpu, const struct instruction *instruction)
{
    uint64_t elements = string_elements(vcpu, instruction);
    uint64_t budget = string_budget(vcpu, elements);
    uint64_t until = vcpu_exit_end(vcpu);
    uint64_t done = 0;
    struct string_operands operands;

    while (done < budget && done < elements && (done == 0 || clock_now() < until)) {
        if (!translate_operands(vcpu, instruction, &operands)) {
            return;
        }
        do_element(vcpu, instruction, &operands);
        guest_release(vcpu);
        step_registers(vcpu, instruction);
        done++;
        if (ended_by_flag(vcpu, instruction)) {
            elements = done;
        }
        if (vcpu->requests & VCPU_STOPPED) {
            return;
        }
    }
    string_finish(vcpu, instruction, done == elements);
}
