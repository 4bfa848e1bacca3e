/* SPDX-License-Identifier: MIT */
/*
 * Everything is an addition with carry, a subtraction with borrow, or a logic operation; the flags of the first two
 * come from the carries out of each bit: carries = (a & b) | ((a | b) & ~sum).
 */
#include "hv/emulate/emulate_alu.h"
#include "hv/emulate/emulate_registers.h"

static void set_flags(uint64_t *rflags, uint64_t changed, uint64_t flags)
{
    *rflags = (*rflags & ~changed) | (flags & changed);
}

/* SF, ZF, PF. PF looks at the low byte only. */
static uint64_t result_flags(uint64_t result, uint32_t sign)
{
    uint64_t flags = result == 0 ? FLAG_ZF : 0;

    flags |= (result >> sign) & 1 ? FLAG_SF : 0;
    return flags | (__builtin_parity((unsigned)(result & 0xff)) ? 0 : FLAG_PF);
}

/* carries: bit n is the carry (or borrow) out of bit n. OF is the carry into the sign against the one out of it. */
static uint64_t carry_flags(uint64_t carries, uint32_t sign)
{
    uint64_t out = (carries >> sign) & 1;
    uint64_t into = (carries >> (sign - 1)) & 1;

    return (out ? FLAG_CF : 0) | (((carries >> 3) & 1) ? FLAG_AF : 0) | (out != into ? FLAG_OF : 0);
}

static uint64_t add(uint64_t left, uint64_t right, uint64_t carry, uint32_t sign, uint64_t *flags)
{
    uint64_t result = (left + right + carry) & bit_mask(0, sign);
    uint64_t carries = (left & right) | ((left | right) & ~result);

    *flags = result_flags(result, sign) | carry_flags(carries, sign);
    return result;
}

static uint64_t subtract(uint64_t left, uint64_t right, uint64_t borrow, uint32_t sign, uint64_t *flags)
{
    uint64_t result = (left - right - borrow) & bit_mask(0, sign);
    uint64_t borrows = (~left & right) | ((~left | right) & result);

    *flags = result_flags(result, sign) | carry_flags(borrows, sign);
    return result;
}

static uint64_t logic(uint64_t result, uint32_t sign, uint64_t *flags)
{
    *flags = result_flags(result, sign);
    return result;
}

static uint64_t compute(enum operation operation, uint64_t left, uint64_t right, uint64_t carry, uint32_t sign,
                        uint64_t *flags)
{
    if (operation == OPERATION_ADD) {
        return add(left, right, 0, sign, flags);
    } else if (operation == OPERATION_ADC) {
        return add(left, right, carry, sign, flags);
    } else if (operation == OPERATION_INC) {
        return add(left, 1, 0, sign, flags);
    } else if (operation == OPERATION_SUB || operation == OPERATION_CMP) {
        return subtract(left, right, 0, sign, flags);
    } else if (operation == OPERATION_SBB) {
        return subtract(left, right, carry, sign, flags);
    } else if (operation == OPERATION_DEC) {
        return subtract(left, 1, 0, sign, flags);
    } else if (operation == OPERATION_NEG) {
        return subtract(0, left, 0, sign, flags);
    } else if (operation == OPERATION_AND || operation == OPERATION_TEST) {
        return logic(left & right, sign, flags);
    } else if (operation == OPERATION_OR) {
        return logic(left | right, sign, flags);
    } else if (operation == OPERATION_XOR) {
        return logic(left ^ right, sign, flags);
    }
    return ~left & bit_mask(0, sign); /* NOT */
}

uint64_t alu_apply(enum operation operation, uint64_t left, uint64_t right, uint8_t bytes, uint64_t *rflags)
{
    uint32_t sign = 8u * bytes - 1;
    uint64_t mask = bit_mask(0, sign);
    uint64_t flags = 0, high, result;

    if (operation == OPERATION_IMUL) {
        return alu_multiply(left, right, bytes, true, &high, rflags);
    }
    result = compute(operation, left & mask, right & mask, *rflags & FLAG_CF, sign, &flags);

    if (operation == OPERATION_INC || operation == OPERATION_DEC) {
        set_flags(rflags, FLAGS_STATUS & ~(uint64_t)FLAG_CF, flags);
    } else if (operation != OPERATION_NOT) {
        set_flags(rflags, FLAGS_STATUS, flags);
    }
    return result;
}

uint64_t alu_multiply(uint64_t left, uint64_t right, uint8_t bytes, bool has_sign, uint64_t *high, uint64_t *rflags)
{
    uint32_t bits = 8u * bytes;
    uint64_t mask = bit_mask(0, bits - 1);
    unsigned __int128 product;
    uint64_t low, implied;

    if (has_sign) {
        product = (unsigned __int128)((__int128)(int64_t)sign_extend(left, bytes) * (int64_t)sign_extend(right, bytes));
    } else {
        product = (unsigned __int128)(left & mask) * (right & mask);
    }
    low = (uint64_t)product & mask;
    *high = (uint64_t)(product >> bits) & mask;
    implied = has_sign && ((low >> (bits - 1)) & 1) != 0 ? mask : 0;
    set_flags(rflags, FLAG_CF | FLAG_OF, *high != implied ? FLAG_CF | FLAG_OF : 0);
    return low;
}

/* The bit that comes in at the other end; the odd ones of the group go to the right. */
static uint64_t shifted_in(enum operation operation, uint64_t leaves, uint64_t top, uint64_t carry)
{
    if (operation == OPERATION_ROL || operation == OPERATION_ROR) {
        return leaves;
    } else if (operation == OPERATION_RCL || operation == OPERATION_RCR) {
        return carry;
    }
    return operation == OPERATION_SAR ? top : 0;
}

/* Bit by bit, 63 at most, so that every carry comes out by itself. OF is the manual's for one bit, for more it is as
 * for the last of them. */
uint64_t alu_shift(enum operation operation, uint64_t value, uint64_t count, uint8_t bytes, uint64_t *rflags)
{
    uint32_t sign = 8u * bytes - 1;
    bool right = ((uint32_t)(operation - OPERATION_ROL) & 1) != 0;
    uint64_t carry = *rflags & FLAG_CF, flags;

    count &= bytes == 8 ? 63 : 31;
    if (count == 0) {
        return value;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint64_t top = (value >> sign) & 1, leaves = right ? value & 1 : top;
        uint64_t enters = shifted_in(operation, leaves, top, carry);

        value = right ? value >> 1 | enters << sign : ((value << 1) & bit_mask(0, sign)) | enters;
        carry = leaves;
    }
    flags = carry != 0 ? FLAG_CF : 0;
    flags |= ((value >> sign) & 1) != (right ? (value >> (sign - 1)) & 1 : carry) ? FLAG_OF : 0;
    if (operation >= OPERATION_SHL) {
        set_flags(rflags, FLAG_SF | FLAG_ZF | FLAG_PF, result_flags(value, sign));
    }
    set_flags(rflags, FLAG_CF | FLAG_OF, flags);
    return value;
}

bool alu_condition(uint8_t condition, uint64_t rflags)
{
    bool sign_differs = ((rflags & FLAG_SF) != 0) != ((rflags & FLAG_OF) != 0);
    const bool holds[8] = {(rflags & FLAG_OF) != 0,
                           (rflags & FLAG_CF) != 0,
                           (rflags & FLAG_ZF) != 0,
                           (rflags & (FLAG_CF | FLAG_ZF)) != 0,
                           (rflags & FLAG_SF) != 0,
                           (rflags & FLAG_PF) != 0,
                           sign_differs,
                           sign_differs || (rflags & FLAG_ZF) != 0};

    return holds[(condition >> 1) & 7] != ((condition & 1) != 0);
}

uint64_t alu_bit(enum operation operation, uint64_t value, uint32_t bit, uint64_t *rflags)
{
    uint64_t mask = 1ULL << bit;

    set_flags(rflags, FLAG_CF, (value & mask) ? FLAG_CF : 0);
    if (operation == OPERATION_BTS) {
        return value | mask;
    } else if (operation == OPERATION_BTR) {
        return value & ~mask;
    } else if (operation == OPERATION_BTC) {
        return value ^ mask;
    }
    return value;
}
