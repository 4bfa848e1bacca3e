/* SPDX-License-Identifier: MIT */
/*
 * The instruction decoder: from bytes at CS:RIP to what the instruction does to memory, and how long it is.
 *
 * Two users. The emulator (hv/emulate/emulate.c, string_io.c) decodes what touched a device: every integer form that
 * reads or writes memory in common kernels, listed in docs/instruction-decoder.md. The vendors ask for lengths and for
 * the operands of control-register moves on CPUs that do not tell them (QEMU's SVM saves no next rip and has no decode
 * assists). One set of tables serves both: hv/x86/decode_table.c.
 *
 * The CPU has already executed or refused the instruction when we are asked, so this decoder accepts only what it
 * knows and gives DECODE_UNSUPPORTED for the rest; it never guesses a length.
 *
 * SDM 2A 2 "Instruction Format", SDM 2D A "Opcode Map"; APM 3 1 "Instruction Encoding", APM 3 A "Opcode and Operand
 * Encodings".
 */
#ifndef HV_X86_DECODE_H
#define HV_X86_DECODE_H

#include "hv/base/types.h"

/* SDM 2A 2.3.11 "AVX Instruction Length" and SDM 3A 6.15, #GP: longer than 15 bytes faults. */
#define INSTRUCTION_BYTES_MAX 15u

/* What CS says about the code. */
enum code_mode {
    CODE_16, /* real mode, virtual-8086 mode, CS.D = 0 */
    CODE_32,
    CODE_64,
};

enum decode_result {
    DECODE_OK,
    DECODE_TRUNCATED,   /* more bytes are needed */
    DECODE_TOO_LONG,    /* over 15 bytes: #GP(0) */
    DECODE_UNDEFINED,   /* #UD: LOCK where it is not allowed, an opcode that 64-bit mode does not have */
    DECODE_UNSUPPORTED, /* not one of the claimed forms */
};

enum operation {
    OPERATION_NONE,
    OPERATION_ADD, /* the eight of group 1, in the order of the encoding */
    OPERATION_OR,
    OPERATION_ADC,
    OPERATION_SBB,
    OPERATION_AND,
    OPERATION_SUB,
    OPERATION_XOR,
    OPERATION_CMP,
    OPERATION_TEST,
    OPERATION_NOT,
    OPERATION_NEG,
    OPERATION_INC,
    OPERATION_DEC,
    OPERATION_IMUL, /* to a register, of a register or an immediate */
    OPERATION_ROL,  /* the eight of group 2, in the order of the encoding */
    OPERATION_ROR,
    OPERATION_RCL,
    OPERATION_RCR,
    OPERATION_SHL,
    OPERATION_SHR,
    OPERATION_SAL, /* not claimed: compilers do not write it */
    OPERATION_SAR,
    OPERATION_MUL,       /* of the accumulator, to twice its width */
    OPERATION_IMUL_WIDE, /* the same with signs */
    OPERATION_MOV,       /* MOVNTI too */
    OPERATION_MOVZX,     /* rm_bytes from rm, reg_bytes to reg */
    OPERATION_MOVSX,     /* MOVSXD too */
    OPERATION_MOVBE,
    OPERATION_STORE_SEGMENT, /* MOV m16, Sreg: reg is the segment */
    OPERATION_SETCC,
    OPERATION_CMOVCC,
    OPERATION_XCHG,
    OPERATION_XADD,
    OPERATION_CMPXCHG,
    OPERATION_CMPXCHG8B,
    OPERATION_BT, /* in the order of the encoding */
    OPERATION_BTS,
    OPERATION_BTR,
    OPERATION_BTC,
    OPERATION_PUSH,
    OPERATION_POP,
    OPERATION_CALL, /* near, through rm */
    OPERATION_JMP,  /* near, through rm */
    OPERATION_MOVS,
    OPERATION_CMPS,
    OPERATION_STOS,
    OPERATION_LODS,
    OPERATION_SCAS,
    OPERATION_INS,
    OPERATION_OUTS,
    OPERATION_MOV_CR, /* reg: the control register (LOCK makes CR0 CR8), rm: the general one */
    OPERATION_MOV_DR, /* reg: the debug register, rm: the general one */
    OPERATION_CLTS,
    OPERATION_LMSW,
    OPERATION_SMSW,
    OPERATION_INVLPG,
    OPERATION_OTHER, /* known for its length only */
    OPERATION_COUNT,
};
_Static_assert(OPERATION_CMP - OPERATION_ADD == 7 && OPERATION_SAR - OPERATION_ROL == 7 &&
                   OPERATION_BTC - OPERATION_BT == 3,
               "groups 1, 2 and 8 are in the order of the reg field: it is added");

enum rep_prefix {
    REP_NONE,
    REP_NE, /* F2 */
    REP_E,  /* F3: REP, REPE */
};

/* Numbers of general registers and segments are those of the encoding (enum gpr, enum segment_index of hv/core). */
#define REGISTER_RIP 0xfeu
#define REGISTER_NONE 0xffu

struct instruction {
    enum operation operation;
    enum rep_prefix rep;
    uint8_t length;
    uint8_t rm_bytes;      /* of the r/m operand, or a string's element: 1, 2, 4, 8 */
    uint8_t reg_bytes;     /* of the register operand: the same but in MOVZX, MOVSX */
    uint8_t address_bytes; /* 2, 4, 8 */

    uint8_t condition; /* of SETcc and CMOVcc, as encoded: 0..15 */

    bool to_reg;     /* the register operand is the destination, r/m the source */
    bool has_reg;    /* there is a register operand */
    uint8_t reg;     /* 0..15 */
    bool reg_high;   /* AH, CH, DH or BH, which is bits 15:8 of register reg */
    bool lock;       /* a LOCK prefix, or XCHG with memory */
    bool has_rm;     /* there is an r/m operand */
    bool memory;     /* r/m is memory: segment, base, index, scale, displacement; else the register rm */
    uint8_t rm;      /* 0..15 */
    bool rm_high;    /* as reg_high */
    uint8_t segment; /* effective, for r/m and a string's source: 0..5 */
    bool segment_override;
    uint8_t base;         /* 0..15, REGISTER_RIP (the next instruction), REGISTER_NONE */
    uint8_t index;        /* 0..15, REGISTER_NONE */
    uint8_t scale;        /* 1, 2, 4, 8 */
    int64_t displacement; /* sign-extended; of MOV with offset the whole address, zero-extended */

    bool has_immediate;
    uint64_t immediate; /* extended as the instruction does, cut to rm_bytes */
};

/* Decodes one instruction. On DECODE_OK all of *instruction is meaningful; otherwise nothing of it is. */
enum decode_result decode_instruction(const uint8_t *bytes, size_t count, enum code_mode mode,
                                      struct instruction *instruction);

/* The length of a claimed instruction, or 0. */
uint8_t decode_length(const uint8_t *bytes, size_t count, enum code_mode mode);

#endif
