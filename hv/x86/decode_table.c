/* SPDX-License-Identifier: MIT */
/*
 * The opcode maps. An entry that is not written is refused.
 * SDM 2D A.3 "One, Two, and Three-Byte Opcode Maps", tables; APM 3 A.1 "Opcode Maps".
 */
#include "hv/x86/decode_table.h"

/* One row of the arithmetic block: the four memory forms. The two after them (AL, immediate) touch no memory. */
#define ARITHMETIC(first, operation, lock)                                                                           \
    [(first)] = {(operation), FORM_RM_REG, TRAIT_BYTE | (lock)}, [(first) + 1] = {(operation), FORM_RM_REG, (lock)}, \
    [(first) + 2] = {(operation), FORM_REG_RM, TRAIT_BYTE}, [(first) + 3] = {(operation), FORM_REG_RM, 0}

/* A pair: the opcode for bytes, and the next one for the operand size. */
#define BYTE_AND_WIDE(first, operation, form, traits) \
    [(first)] = {(operation), (form), TRAIT_BYTE | (traits)}, [(first) + 1] = {(operation), (form), (traits)}

#define LENGTH_ONLY(traits)                   \
    {                                         \
        OPERATION_OTHER, FORM_PLAIN, (traits) \
    }

const struct opcode decode_one_byte[256] = {
    ARITHMETIC(0x00, OPERATION_ADD, TRAIT_LOCK),
    ARITHMETIC(0x08, OPERATION_OR, TRAIT_LOCK),
    ARITHMETIC(0x10, OPERATION_ADC, TRAIT_LOCK),
    ARITHMETIC(0x18, OPERATION_SBB, TRAIT_LOCK),
    ARITHMETIC(0x20, OPERATION_AND, TRAIT_LOCK),
    ARITHMETIC(0x28, OPERATION_SUB, TRAIT_LOCK),
    ARITHMETIC(0x30, OPERATION_XOR, TRAIT_LOCK),
    ARITHMETIC(0x38, OPERATION_CMP, 0),
    /* With 66 Intel reads a word and AMD a doubleword; ARPL outside 64-bit mode. */
    [0x63] = {OPERATION_MOVSX, FORM_REG_RM, TRAIT_ONLY_64 | TRAIT_NO_66},
    [0x69] = {OPERATION_IMUL, FORM_REG_RM_IMMZ, 0},
    [0x6b] = {OPERATION_IMUL, FORM_REG_RM_IMM8S, 0},
    BYTE_AND_WIDE(0x6c, OPERATION_INS, FORM_STRING, TRAIT_MAX_32),
    BYTE_AND_WIDE(0x6e, OPERATION_OUTS, FORM_STRING, TRAIT_MAX_32),
    [0x80] = {GROUP_1_80, FORM_GROUP, 0},
    [0x81] = {GROUP_1_81, FORM_GROUP, 0},
    [0x82] = {GROUP_1_80, FORM_GROUP, TRAIT_NOT_64},
    [0x83] = {GROUP_1_83, FORM_GROUP, 0},
    BYTE_AND_WIDE(0x84, OPERATION_TEST, FORM_RM_REG, 0),
    BYTE_AND_WIDE(0x86, OPERATION_XCHG, FORM_RM_REG, TRAIT_LOCK),
    BYTE_AND_WIDE(0x88, OPERATION_MOV, FORM_RM_REG, 0),
    BYTE_AND_WIDE(0x8a, OPERATION_MOV, FORM_REG_RM, 0),
    [0x8c] = {OPERATION_STORE_SEGMENT, FORM_RM_REG, TRAIT_WORD | TRAIT_MEMORY},
    [0x8f] = {GROUP_1A, FORM_GROUP, 0},
    [0x90] = LENGTH_ONLY(0), /* PAUSE with F3 */
    [0x9a] = {OPERATION_OTHER, FORM_FAR, TRAIT_NOT_64},
    BYTE_AND_WIDE(0xa0, OPERATION_MOV, FORM_A_MOFFS, 0),
    BYTE_AND_WIDE(0xa2, OPERATION_MOV, FORM_MOFFS_A, 0),
    BYTE_AND_WIDE(0xa4, OPERATION_MOVS, FORM_STRING, 0),
    BYTE_AND_WIDE(0xa6, OPERATION_CMPS, FORM_STRING, 0),
    BYTE_AND_WIDE(0xaa, OPERATION_STOS, FORM_STRING, 0),
    BYTE_AND_WIDE(0xac, OPERATION_LODS, FORM_STRING, 0),
    BYTE_AND_WIDE(0xae, OPERATION_SCAS, FORM_STRING, 0),
    BYTE_AND_WIDE(0xc0, OPERATION_ROL, FORM_RM_IMM8, TRAIT_SHIFT),
    [0xc6] = {GROUP_11_C6, FORM_GROUP, 0},
    [0xc7] = {GROUP_11_C7, FORM_GROUP, 0},
    [0xcc] = LENGTH_ONLY(0),                  /* INT3 */
    [0xcd] = {OPERATION_OTHER, FORM_IMM8, 0}, /* INT n */
    [0xce] = LENGTH_ONLY(TRAIT_NOT_64),       /* INTO */
    [0xcf] = LENGTH_ONLY(0),                  /* IRET */
    BYTE_AND_WIDE(0xd0, OPERATION_ROL, FORM_RM_ONE, TRAIT_SHIFT),
    BYTE_AND_WIDE(0xd2, OPERATION_ROL, FORM_RM, TRAIT_SHIFT), /* by CL */
    BYTE_AND_WIDE(0xe4, OPERATION_OTHER, FORM_IMM8, 0),       /* IN */
    BYTE_AND_WIDE(0xe6, OPERATION_OTHER, FORM_IMM8, 0),       /* OUT */
    [0xea] = {OPERATION_OTHER, FORM_FAR, TRAIT_NOT_64},       /* JMP far */
    BYTE_AND_WIDE(0xec, OPERATION_OTHER, FORM_PLAIN, 0),
    BYTE_AND_WIDE(0xee, OPERATION_OTHER, FORM_PLAIN, 0),
    [0xf1] = LENGTH_ONLY(0), /* INT1 */
    [0xf4] = LENGTH_ONLY(0), /* HLT */
    [0xf6] = {GROUP_3_F6, FORM_GROUP, 0},
    [0xf7] = {GROUP_3_F7, FORM_GROUP, 0},
    [0xfe] = {GROUP_4, FORM_GROUP, 0},
    [0xff] = {GROUP_5, FORM_GROUP, 0},
};

const struct opcode decode_two_byte[256] = {
    [0x00] = {GROUP_6, FORM_GROUP, 0},
    [0x01] = {GROUP_7, FORM_GROUP, 0},
    [0x06] = {OPERATION_CLTS, FORM_PLAIN, 0},
    [0x08] = LENGTH_ONLY(0), /* INVD */
    [0x09] = LENGTH_ONLY(0), /* WBINVD, WBNOINVD */
    [0x20] = {OPERATION_MOV_CR, FORM_RM_REG, TRAIT_REGISTER | TRAIT_NATURAL | TRAIT_LOCK},
    [0x21] = {OPERATION_MOV_DR, FORM_RM_REG, TRAIT_REGISTER | TRAIT_NATURAL},
    [0x22] = {OPERATION_MOV_CR, FORM_REG_RM, TRAIT_REGISTER | TRAIT_NATURAL | TRAIT_LOCK},
    [0x23] = {OPERATION_MOV_DR, FORM_REG_RM, TRAIT_REGISTER | TRAIT_NATURAL},
    [0x30] = LENGTH_ONLY(0), /* WRMSR */
    [0x31] = LENGTH_ONLY(0), /* RDTSC */
    [0x32] = LENGTH_ONLY(0), /* RDMSR */
    [0x33] = LENGTH_ONLY(0), /* RDPMC */
    [0x40 ... 0x4f] = {OPERATION_CMOVCC, FORM_REG_RM, 0},
    [0x90 ... 0x9f] = {OPERATION_SETCC, FORM_RM, TRAIT_BYTE},
    [0xa2] = LENGTH_ONLY(0), /* CPUID */
    [0xa3] = {OPERATION_BT, FORM_RM_REG, 0},
    [0xaa] = LENGTH_ONLY(0), /* RSM */
    [0xab] = {OPERATION_BTS, FORM_RM_REG, TRAIT_LOCK},
    [0xaf] = {OPERATION_IMUL, FORM_REG_RM, 0},
    BYTE_AND_WIDE(0xb0, OPERATION_CMPXCHG, FORM_RM_REG, TRAIT_LOCK),
    [0xb3] = {OPERATION_BTR, FORM_RM_REG, TRAIT_LOCK},
    [0xb6] = {OPERATION_MOVZX, FORM_REG_RM, TRAIT_BYTE | TRAIT_REG_BYTE},
    [0xb7] = {OPERATION_MOVZX, FORM_REG_RM, TRAIT_WORD},
    [0xba] = {GROUP_8, FORM_GROUP, 0},
    [0xbb] = {OPERATION_BTC, FORM_RM_REG, TRAIT_LOCK},
    [0xbe] = {OPERATION_MOVSX, FORM_REG_RM, TRAIT_BYTE | TRAIT_REG_BYTE},
    [0xbf] = {OPERATION_MOVSX, FORM_REG_RM, TRAIT_WORD},
    BYTE_AND_WIDE(0xc0, OPERATION_XADD, FORM_RM_REG, TRAIT_LOCK),
    [0xc3] = {OPERATION_MOV, FORM_RM_REG, TRAIT_MEMORY | TRAIT_NO_REP | TRAIT_NO_66 | TRAIT_MIN_32}, /* MOVNTI */
    [0xc7] = {GROUP_9, FORM_GROUP, 0},
};

/* MOVBE; with F2 CRC32. */
const struct opcode decode_three_byte_38_f0[2] = {
    {OPERATION_MOVBE, FORM_REG_RM, TRAIT_MEMORY | TRAIT_NO_REP},
    {OPERATION_MOVBE, FORM_RM_REG, TRAIT_MEMORY | TRAIT_NO_REP},
};

#define GROUP_1(form, traits)                                                                               \
    {                                                                                                       \
        {OPERATION_ADD, (form), (traits) | TRAIT_LOCK}, {OPERATION_OR, (form), (traits) | TRAIT_LOCK},      \
            {OPERATION_ADC, (form), (traits) | TRAIT_LOCK}, {OPERATION_SBB, (form), (traits) | TRAIT_LOCK}, \
            {OPERATION_AND, (form), (traits) | TRAIT_LOCK}, {OPERATION_SUB, (form), (traits) | TRAIT_LOCK}, \
            {OPERATION_XOR, (form), (traits) | TRAIT_LOCK}, {OPERATION_CMP, (form), (traits)},              \
    }

const struct opcode decode_groups[GROUP_COUNT][GROUP_ENTRIES] = {
    [GROUP_1_80] = GROUP_1(FORM_RM_IMM8, TRAIT_BYTE),
    [GROUP_1_81] = GROUP_1(FORM_RM_IMMZ, 0),
    [GROUP_1_83] = GROUP_1(FORM_RM_IMM8S, 0),
    [GROUP_1A] = {[0] = {OPERATION_POP, FORM_RM, TRAIT_WIDE}},
    /* /1 is the same as /0 on every CPU, though only AMD says so. DIV is not claimed. */
    [GROUP_3_F6] = {[0] = {OPERATION_TEST, FORM_RM_IMM8, TRAIT_BYTE},
                    [1] = {OPERATION_TEST, FORM_RM_IMM8, TRAIT_BYTE},
                    [2] = {OPERATION_NOT, FORM_RM, TRAIT_BYTE | TRAIT_LOCK},
                    [3] = {OPERATION_NEG, FORM_RM, TRAIT_BYTE | TRAIT_LOCK},
                    [4] = {OPERATION_MUL, FORM_RM, TRAIT_BYTE},
                    [5] = {OPERATION_IMUL_WIDE, FORM_RM, TRAIT_BYTE}},
    [GROUP_3_F7] = {[0] = {OPERATION_TEST, FORM_RM_IMMZ, 0},
                    [1] = {OPERATION_TEST, FORM_RM_IMMZ, 0},
                    [2] = {OPERATION_NOT, FORM_RM, TRAIT_LOCK},
                    [3] = {OPERATION_NEG, FORM_RM, TRAIT_LOCK},
                    [4] = {OPERATION_MUL, FORM_RM, 0},
                    [5] = {OPERATION_IMUL_WIDE, FORM_RM, 0}},
    [GROUP_4] = {[0] = {OPERATION_INC, FORM_RM, TRAIT_BYTE | TRAIT_LOCK},
                 [1] = {OPERATION_DEC, FORM_RM, TRAIT_BYTE | TRAIT_LOCK}},
    /* Near branches with 66 in 64-bit mode: Intel ignores it, AMD does not. Far branches: length only. */
    [GROUP_5] = {[0] = {OPERATION_INC, FORM_RM, TRAIT_LOCK},
                 [1] = {OPERATION_DEC, FORM_RM, TRAIT_LOCK},
                 [2] = {OPERATION_CALL, FORM_RM, TRAIT_WIDE | TRAIT_NO_66},
                 [3] = {OPERATION_OTHER, FORM_RM, TRAIT_MEMORY},
                 [4] = {OPERATION_JMP, FORM_RM, TRAIT_WIDE | TRAIT_NO_66},
                 [5] = {OPERATION_OTHER, FORM_RM, TRAIT_MEMORY},
                 [6] = {OPERATION_PUSH, FORM_RM, TRAIT_WIDE}},
    /* SLDT, STR, LLDT, LTR. */
    [GROUP_6] = {[0] = {OPERATION_OTHER, FORM_RM, 0},
                 [1] = {OPERATION_OTHER, FORM_RM, 0},
                 [2] = {OPERATION_OTHER, FORM_RM, 0},
                 [3] = {OPERATION_OTHER, FORM_RM, 0}},
    /* SGDT, SIDT, LGDT, LIDT, SMSW, -, LMSW, INVLPG. */
    [GROUP_7] = {[0] = {OPERATION_OTHER, FORM_RM, TRAIT_MEMORY},
                 [1] = {OPERATION_OTHER, FORM_RM, TRAIT_MEMORY},
                 [2] = {OPERATION_OTHER, FORM_RM, TRAIT_MEMORY},
                 [3] = {OPERATION_OTHER, FORM_RM, TRAIT_MEMORY},
                 [4] = {OPERATION_SMSW, FORM_RM, 0},
                 [6] = {OPERATION_LMSW, FORM_RM, TRAIT_WORD},
                 [7] = {OPERATION_INVLPG, FORM_RM, TRAIT_MEMORY}},
    [GROUP_8] = {[4] = {OPERATION_BT, FORM_RM_IMM8, 0},
                 [5] = {OPERATION_BTS, FORM_RM_IMM8, TRAIT_LOCK},
                 [6] = {OPERATION_BTR, FORM_RM_IMM8, TRAIT_LOCK},
                 [7] = {OPERATION_BTC, FORM_RM_IMM8, TRAIT_LOCK}},
    [GROUP_9] = {[1] = {OPERATION_CMPXCHG8B, FORM_RM, TRAIT_MEMORY | TRAIT_LOCK | TRAIT_NO_W}},
    [GROUP_11_C6] = {[0] = {OPERATION_MOV, FORM_RM_IMM8, TRAIT_BYTE}},
    [GROUP_11_C7] = {[0] = {OPERATION_MOV, FORM_RM_IMMZ, 0}},
};

#define PLAIN_7(modrm) (1ULL << ((modrm)-0xc0))

/* VMCALL, VMLAUNCH, VMRESUME, VMXOFF; MONITOR, MWAIT; XGETBV, XSETBV, VMFUNC; VMRUN, VMMCALL, VMLOAD, VMSAVE, STGI,
 * CLGI, SKINIT, INVLPGA; SWAPGS, RDTSCP, MONITORX, MWAITX, CLZERO, RDPRU. */
const uint64_t decode_group_7_plain = PLAIN_7(0xc1) | PLAIN_7(0xc2) | PLAIN_7(0xc3) | PLAIN_7(0xc4) | PLAIN_7(0xc8) |
                                      PLAIN_7(0xc9) | PLAIN_7(0xd0) | PLAIN_7(0xd1) | PLAIN_7(0xd4) | PLAIN_7(0xd8) |
                                      PLAIN_7(0xd9) | PLAIN_7(0xda) | PLAIN_7(0xdb) | PLAIN_7(0xdc) | PLAIN_7(0xdd) |
                                      PLAIN_7(0xde) | PLAIN_7(0xdf) | PLAIN_7(0xf8) | PLAIN_7(0xf9) | PLAIN_7(0xfa) |
                                      PLAIN_7(0xfb) | PLAIN_7(0xfc) | PLAIN_7(0xfd);
