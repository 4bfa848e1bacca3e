/* SPDX-License-Identifier: MIT */
/*
 * The opcode maps as data: what hv/x86/decode.c must know about an opcode. Private to the decoder.
 */
#ifndef HV_X86_DECODE_TABLE_H
#define HV_X86_DECODE_TABLE_H

#include "hv/x86/decode.h"

/* Which operands there are, and thereby which bytes follow the opcode. */
enum operand_form {
    FORM_REFUSED = 0,  /* not claimed */
    FORM_PLAIN,        /* nothing follows */
    FORM_RM_REG,       /* ModRM; r/m is the destination */
    FORM_REG_RM,       /* ModRM; r/m is the source */
    FORM_RM,           /* ModRM; the reg field belongs to the opcode */
    FORM_RM_ONE,       /* the same, and the immediate is 1 */
    FORM_REG_RM_IMM8S, /* as REG_RM, and a byte, sign-extended */
    FORM_REG_RM_IMMZ,  /* as REG_RM, and a word or doubleword */
    FORM_RM_IMM8,      /* ModRM and a byte, zero-extended */
    FORM_RM_IMM8S,     /* ModRM and a byte, sign-extended */
    FORM_RM_IMMZ,      /* ModRM and a word or doubleword, sign-extended to 64 bits */
    FORM_MOFFS_A,      /* an address; AL..RAX is the source */
    FORM_A_MOFFS,      /* an address; AL..RAX is the destination */
    FORM_STRING,       /* implied operands */
    FORM_IMM8,         /* one byte, no ModRM */
    FORM_FAR,          /* an offset of the operand size and a selector */
    FORM_GROUP,        /* ModRM whose reg field chooses the entry; `operation` is the group */
};

enum opcode_trait {
    TRAIT_BYTE = 1u << 0,      /* the r/m operand has 8 bits */
    TRAIT_WORD = 1u << 1,      /* the r/m operand has 16 bits */
    TRAIT_LOCK = 1u << 2,      /* LOCK is allowed with a memory destination */
    TRAIT_WIDE = 1u << 3,      /* 64-bit operand by default in 64-bit mode */
    TRAIT_NOT_64 = 1u << 4,    /* undefined in 64-bit mode */
    TRAIT_ONLY_64 = 1u << 5,   /* another instruction outside 64-bit mode */
    TRAIT_MEMORY = 1u << 6,    /* the register form is undefined or another instruction */
    TRAIT_REGISTER = 1u << 7,  /* the mod field is ignored: always a register */
    TRAIT_NO_REP = 1u << 8,    /* F2 and F3 make it another instruction */
    TRAIT_NO_66 = 1u << 9,     /* 66 makes it undefined or another instruction, or vendors disagree */
    TRAIT_NO_W = 1u << 10,     /* REX.W makes it another instruction */
    TRAIT_MAX_32 = 1u << 11,   /* at most a doubleword whatever REX.W says */
    TRAIT_NATURAL = 1u << 12,  /* the operand has the width of the mode, prefixes or not */
    TRAIT_REG_BYTE = 1u << 13, /* with BYTE: only r/m has 8 bits, the register has the operand size */
    TRAIT_MIN_32 = 1u << 14,   /* at least a doubleword, in 16-bit code too */
    TRAIT_SHIFT = 1u << 15,    /* group 2: the reg field is added to the operation */
};

struct opcode {
    uint8_t operation; /* enum operation, or enum opcode_group with FORM_GROUP */
    uint8_t form;      /* enum operand_form */
    uint16_t traits;   /* enum opcode_trait */
};
_Static_assert(OPERATION_COUNT <= 256 && FORM_GROUP < 256, "both fit into a byte");
_Static_assert(TRAIT_SHIFT == 1u << 15, "the traits fill 16 bits: the next one needs a wider field");
_Static_assert(sizeof(struct opcode) == 4, "two tables of 256: 2 KiB");

enum opcode_group {
    GROUP_1_80, /* in the names: the opcode map's group number and the opcode */
    GROUP_1_81,
    GROUP_1_83,
    GROUP_1A,
    GROUP_3_F6,
    GROUP_3_F7,
    GROUP_4,
    GROUP_5,
    GROUP_6,
    GROUP_7,
    GROUP_8,
    GROUP_9,
    GROUP_11_C6,
    GROUP_11_C7,
    GROUP_COUNT,
};

#define GROUP_ENTRIES 8u

extern const struct opcode decode_one_byte[256];
extern const struct opcode decode_two_byte[256];       /* after 0F */
extern const struct opcode decode_three_byte_38_f0[2]; /* after 0F 38: F0 and F1 */
extern const struct opcode decode_groups[GROUP_COUNT][GROUP_ENTRIES];

/* 0F 01 with a register form: which ModRM bytes C0..FF are instructions known by length. Bit 0 is C0. */
extern const uint64_t decode_group_7_plain;

#endif
