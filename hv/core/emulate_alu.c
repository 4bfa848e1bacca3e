/*
 * Everything is an addition with carry, a subtraction with borrow, or a logic operation; the flags of the first two
 * come from the carries out of each bit: carries = (a & b) | ((a | b) & ~sum).
 */
#include "hv/core/emulate_alu.h"

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
    uint64_t flags = 0;
    uint64_t result = compute(operation, left & mask, right & mask, *rflags & FLAG_CF, sign, &flags);

    if (operation == OPERATION_INC || operation == OPERATION_DEC) {
        set_flags(rflags, FLAGS_STATUS & ~(uint64_t)FLAG_CF, flags);
    } else if (operation != OPERATION_NOT) {
        set_flags(rflags, FLAGS_STATUS, flags);
    }
    return result;
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
