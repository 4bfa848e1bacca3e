/* SPDX-License-Identifier: MIT */
/*
 * The guest's registers as an instruction names them: parts, widths, the rules for what a write leaves of the rest.
 */
#ifndef HV_EMULATE_EMULATE_REGISTERS_H
#define HV_EMULATE_EMULATE_REGISTERS_H

#include "hv/core/vcpu.h"
#include "hv/x86/decode.h"

static inline uint64_t sign_extend(uint64_t value, uint8_t bytes)
{
    uint32_t unused = 64 - 8u * bytes;

    return (uint64_t)((int64_t)(value << unused) >> unused);
}

static inline uint64_t register_read(const struct vcpu *vcpu, uint8_t number, uint8_t bytes)
{
    return vcpu->gpr[number] & size_mask(bytes);
}

/* A 32-bit write clears the upper half, a shorter one leaves the rest. SDM 1 3.4.1.1 "General-Purpose Registers in
 * 64-Bit Mode". */
static inline void register_write(struct vcpu *vcpu, uint8_t number, uint8_t bytes, uint64_t value)
{
    uint64_t kept = bytes >= 4 ? 0 : vcpu->gpr[number] & ~size_mask(bytes);

    vcpu->gpr[number] = kept | (value & size_mask(bytes));
}

/* The register operand of an instruction, AH to BH included. */
static inline uint64_t register_read_operand(const struct vcpu *vcpu, const struct instruction *instruction)
{
    if (instruction->reg_high) {
        return (vcpu->gpr[instruction->reg] >> 8) & 0xff;
    }
    return register_read(vcpu, instruction->reg, instruction->reg_bytes);
}

static inline void register_write_operand(struct vcpu *vcpu, const struct instruction *instruction, uint64_t value)
{
    if (instruction->reg_high) {
        vcpu->gpr[instruction->reg] = (vcpu->gpr[instruction->reg] & ~0xff00ULL) | (value & 0xff) << 8;
    } else {
        register_write(vcpu, instruction->reg, instruction->reg_bytes, value);
    }
}

/* The offset of the operand in memory: base + index * scale + displacement, cut to the address size. SDM 1 3.7.5
 * "Specifying an Offset". */
static inline uint64_t operand_offset(const struct vcpu *vcpu, const struct instruction *instruction)
{
    uint64_t address = (uint64_t)instruction->displacement;

    if (instruction->base == REGISTER_RIP) {
        address += vcpu->rip + instruction->length;
    } else if (instruction->base != REGISTER_NONE) {
        address += vcpu->gpr[instruction->base];
    }
    if (instruction->index != REGISTER_NONE) {
        address += vcpu->gpr[instruction->index] * instruction->scale;
    }
    return address & size_mask(instruction->address_bytes);
}

/* Adds to an index, count or pointer register of the address size; the sum wraps within it. */
static inline void register_add(struct vcpu *vcpu, uint8_t number, uint8_t bytes, uint64_t step)
{
    register_write(vcpu, number, bytes, register_read(vcpu, number, bytes) + step);
}

#endif
