/* SPDX-License-Identifier: MIT */
/*
 * The decoder against Capstone: every claimed form with every ModRM, every SIB and the prefix combinations that matter,
 * then random encodings, in the three modes. What the decoder accepts must agree with Capstone in length, operation,
 * operand sizes, memory operand and immediate. Where Capstone itself is known to be wrong, the rule that sets the
 * encoding aside is a line of `quirk_of` with its reason, and the number set aside is printed.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>

#include <capstone/capstone.h>
#include <cmocka.h>

#include "hv/x86/decode.h"

#define DIFFERENCES_SHOWN 20

static csh engines[3]; /* by enum code_mode */
static enum code_mode mode_compared;
static cs_insn *scratch[3];

static struct {
    uint64_t compared, refused, undefined, quirks, differences;
    uint64_t by_operation[OPERATION_COUNT];
} tally;

static void set_up_engines(void)
{
    static const cs_mode modes[3] = {CS_MODE_16, CS_MODE_32, CS_MODE_64};

    for (unsigned i = 0; i < 3 && scratch[i] == NULL; i++) {
        assert_int_equal(cs_open(CS_ARCH_X86, modes[i], &engines[i]), CS_ERR_OK);
        cs_option(engines[i], CS_OPT_DETAIL, CS_OPT_ON);
        scratch[i] = cs_malloc(engines[i]);
    }
    memset(&tally, 0, sizeof(tally));
}

/* --- registers ------------------------------------------------------------------------------------------------- */

static x86_reg register_name(uint8_t number, uint8_t bytes, bool high)
{
    static const x86_reg names[4][16] = {
        {X86_REG_AL, X86_REG_CL, X86_REG_DL, X86_REG_BL, X86_REG_SPL, X86_REG_BPL, X86_REG_SIL, X86_REG_DIL,
         X86_REG_R8B, X86_REG_R9B, X86_REG_R10B, X86_REG_R11B, X86_REG_R12B, X86_REG_R13B, X86_REG_R14B, X86_REG_R15B},
        {X86_REG_AX, X86_REG_CX, X86_REG_DX, X86_REG_BX, X86_REG_SP, X86_REG_BP, X86_REG_SI, X86_REG_DI, X86_REG_R8W,
         X86_REG_R9W, X86_REG_R10W, X86_REG_R11W, X86_REG_R12W, X86_REG_R13W, X86_REG_R14W, X86_REG_R15W},
        {X86_REG_EAX, X86_REG_ECX, X86_REG_EDX, X86_REG_EBX, X86_REG_ESP, X86_REG_EBP, X86_REG_ESI, X86_REG_EDI,
         X86_REG_R8D, X86_REG_R9D, X86_REG_R10D, X86_REG_R11D, X86_REG_R12D, X86_REG_R13D, X86_REG_R14D, X86_REG_R15D},
        {X86_REG_RAX, X86_REG_RCX, X86_REG_RDX, X86_REG_RBX, X86_REG_RSP, X86_REG_RBP, X86_REG_RSI, X86_REG_RDI,
         X86_REG_R8, X86_REG_R9, X86_REG_R10, X86_REG_R11, X86_REG_R12, X86_REG_R13, X86_REG_R14, X86_REG_R15},
    };
    static const x86_reg highs[4] = {X86_REG_AH, X86_REG_CH, X86_REG_DH, X86_REG_BH};

    if (number == REGISTER_NONE) {
        return X86_REG_INVALID;
    }
    if (number == REGISTER_RIP) {
        return bytes == 8 ? X86_REG_RIP : X86_REG_EIP;
    }
    return high ? highs[number] : names[bytes == 8 ? 3 : bytes == 4 ? 2 : bytes - 1][number];
}

static x86_reg segment_name(uint8_t segment)
{
    static const x86_reg names[6] = {X86_REG_ES, X86_REG_CS, X86_REG_SS, X86_REG_DS, X86_REG_FS, X86_REG_GS};

    return names[segment];
}

/* --- operations ------------------------------------------------------------------------------------------------- */

#define IDS_MAX 64

static const unsigned operation_ids[OPERATION_COUNT][IDS_MAX] = {
    [OPERATION_ADD] = {X86_INS_ADD},
    [OPERATION_OR] = {X86_INS_OR},
    [OPERATION_ADC] = {X86_INS_ADC},
    [OPERATION_SBB] = {X86_INS_SBB},
    [OPERATION_AND] = {X86_INS_AND},
    [OPERATION_SUB] = {X86_INS_SUB},
    [OPERATION_XOR] = {X86_INS_XOR},
    [OPERATION_CMP] = {X86_INS_CMP},
    [OPERATION_TEST] = {X86_INS_TEST},
    [OPERATION_NOT] = {X86_INS_NOT},
    [OPERATION_NEG] = {X86_INS_NEG},
    [OPERATION_INC] = {X86_INS_INC},
    [OPERATION_DEC] = {X86_INS_DEC},
    [OPERATION_IMUL] = {X86_INS_IMUL},
    [OPERATION_ROL] = {X86_INS_ROL},
    [OPERATION_ROR] = {X86_INS_ROR},
    [OPERATION_RCL] = {X86_INS_RCL},
    [OPERATION_RCR] = {X86_INS_RCR},
    [OPERATION_SHL] = {X86_INS_SHL},
    [OPERATION_SHR] = {X86_INS_SHR},
    [OPERATION_SAR] = {X86_INS_SAR},
    [OPERATION_MUL] = {X86_INS_MUL},
    [OPERATION_IMUL_WIDE] = {X86_INS_IMUL},
    [OPERATION_SETCC] = {X86_INS_SETO, X86_INS_SETNO, X86_INS_SETB, X86_INS_SETAE, X86_INS_SETE, X86_INS_SETNE,
                         X86_INS_SETBE, X86_INS_SETA, X86_INS_SETS, X86_INS_SETNS, X86_INS_SETP, X86_INS_SETNP,
                         X86_INS_SETL, X86_INS_SETGE, X86_INS_SETLE, X86_INS_SETG},
    [OPERATION_CMOVCC] = {X86_INS_CMOVO, X86_INS_CMOVNO, X86_INS_CMOVB, X86_INS_CMOVAE, X86_INS_CMOVE, X86_INS_CMOVNE,
                          X86_INS_CMOVBE, X86_INS_CMOVA, X86_INS_CMOVS, X86_INS_CMOVNS, X86_INS_CMOVP, X86_INS_CMOVNP,
                          X86_INS_CMOVL, X86_INS_CMOVGE, X86_INS_CMOVLE, X86_INS_CMOVG},
    [OPERATION_MOV] = {X86_INS_MOV, X86_INS_MOVABS, X86_INS_MOVNTI},
    [OPERATION_MOVZX] = {X86_INS_MOVZX},
    [OPERATION_MOVSX] = {X86_INS_MOVSX, X86_INS_MOVSXD},
    [OPERATION_MOVBE] = {X86_INS_MOVBE},
    [OPERATION_STORE_SEGMENT] = {X86_INS_MOV},
    [OPERATION_XCHG] = {X86_INS_XCHG},
    [OPERATION_XADD] = {X86_INS_XADD},
    [OPERATION_CMPXCHG] = {X86_INS_CMPXCHG},
    [OPERATION_CMPXCHG8B] = {X86_INS_CMPXCHG8B},
    [OPERATION_BT] = {X86_INS_BT},
    [OPERATION_BTS] = {X86_INS_BTS},
    [OPERATION_BTR] = {X86_INS_BTR},
    [OPERATION_BTC] = {X86_INS_BTC},
    [OPERATION_PUSH] = {X86_INS_PUSH},
    [OPERATION_POP] = {X86_INS_POP},
    [OPERATION_CALL] = {X86_INS_CALL},
    [OPERATION_JMP] = {X86_INS_JMP},
    [OPERATION_MOVS] = {X86_INS_MOVSB, X86_INS_MOVSW, X86_INS_MOVSD, X86_INS_MOVSQ},
    [OPERATION_CMPS] = {X86_INS_CMPSB, X86_INS_CMPSW, X86_INS_CMPSD, X86_INS_CMPSQ},
    [OPERATION_STOS] = {X86_INS_STOSB, X86_INS_STOSW, X86_INS_STOSD, X86_INS_STOSQ},
    [OPERATION_LODS] = {X86_INS_LODSB, X86_INS_LODSW, X86_INS_LODSD, X86_INS_LODSQ},
    [OPERATION_SCAS] = {X86_INS_SCASB, X86_INS_SCASW, X86_INS_SCASD, X86_INS_SCASQ},
    [OPERATION_INS] = {X86_INS_INSB, X86_INS_INSW, X86_INS_INSD},
    [OPERATION_OUTS] = {X86_INS_OUTSB, X86_INS_OUTSW, X86_INS_OUTSD},
    [OPERATION_MOV_CR] = {X86_INS_MOV},
    [OPERATION_MOV_DR] = {X86_INS_MOV},
    [OPERATION_CLTS] = {X86_INS_CLTS},
    [OPERATION_LMSW] = {X86_INS_LMSW},
    [OPERATION_SMSW] = {X86_INS_SMSW},
    [OPERATION_INVLPG] = {X86_INS_INVLPG},
    [OPERATION_OTHER] = {X86_INS_NOP,    X86_INS_PAUSE,   X86_INS_XCHG,    X86_INS_LCALL,    X86_INS_LJMP,
                         X86_INS_INT3,   X86_INS_INT,     X86_INS_INTO,    X86_INS_IRET,     X86_INS_IRETD,
                         X86_INS_IRETQ,  X86_INS_IN,      X86_INS_OUT,     X86_INS_INT1,     X86_INS_HLT,
                         X86_INS_INVD,   X86_INS_WBINVD,  X86_INS_WRMSR,   X86_INS_RDTSC,    X86_INS_RDMSR,
                         X86_INS_RDPMC,  X86_INS_CPUID,   X86_INS_RSM,     X86_INS_SLDT,     X86_INS_STR,
                         X86_INS_LLDT,   X86_INS_LTR,     X86_INS_SGDT,    X86_INS_SIDT,     X86_INS_LGDT,
                         X86_INS_LIDT,   X86_INS_INVLPG,  X86_INS_VMCALL,  X86_INS_VMLAUNCH, X86_INS_VMRESUME,
                         X86_INS_VMXOFF, X86_INS_MONITOR, X86_INS_MWAIT,   X86_INS_XGETBV,   X86_INS_XSETBV,
                         X86_INS_VMFUNC, X86_INS_VMRUN,   X86_INS_VMMCALL, X86_INS_VMLOAD,   X86_INS_VMSAVE,
                         X86_INS_STGI,   X86_INS_CLGI,    X86_INS_SKINIT,  X86_INS_INVLPGA,  X86_INS_SWAPGS,
                         X86_INS_RDTSCP, X86_INS_CALL,    X86_INS_JMP},
};

static bool same_operation(enum operation operation, unsigned id)
{
    for (unsigned i = 0; i < IDS_MAX && operation_ids[operation][i] != X86_INS_INVALID; i++) {
        if (operation_ids[operation][i] == id) {
            return true;
        }
    }
    return false;
}

/* --- one encoding ----------------------------------------------------------------------------------------------- */

struct encoding {
    const uint8_t *bytes;
    size_t count;
    enum code_mode mode;
};

/* The opcode bytes and what stands before them, for the quirks. */
struct shape {
    bool p66, p67, segment, rep, repne, lock;
    uint8_t rex, opcode, second, modrm;
    size_t prefixes;
};

static struct shape shape_of(const struct encoding *encoding)
{
    struct shape shape = {0};
    size_t at = 0;

    for (; at + 3 < encoding->count; at++) {
        uint8_t byte = encoding->bytes[at];

        if (byte == 0x66) {
            shape.p66 = true;
        } else if (byte == 0x67) {
            shape.p67 = true;
        } else if (byte == 0xf0) {
            shape.lock = true;
        } else if (byte == 0xf2) {
            shape.repne = true;
        } else if (byte == 0xf3) {
            shape.rep = true;
        } else if (byte == 0x26 || byte == 0x2e || byte == 0x36 || byte == 0x3e || byte == 0x64 || byte == 0x65) {
            shape.segment = true;
        } else if (encoding->mode == CODE_64 && (byte & 0xf0) == 0x40) {
            shape.rex = byte;
            continue;
        } else {
            break;
        }
        shape.rex = 0;
    }
    shape.prefixes = at;
    shape.opcode = encoding->bytes[at];
    shape.second = encoding->bytes[at + 1];
    shape.modrm = shape.opcode == 0x0f ? encoding->bytes[at + 2] : shape.second;
    return shape;
}

/* A prefix FS or GS that Capstone forgets because one of the ignored ones follows it. */
static bool forgets_override(const struct encoding *encoding, const struct instruction *ours)
{
    return encoding->mode == CODE_64 && ours->segment_override;
}

/* Operations whose operand is a word or the mode's one other width. */
static bool two_sizes(enum operation operation)
{
    return operation == OPERATION_PUSH || operation == OPERATION_POP || operation == OPERATION_INS ||
           operation == OPERATION_OUTS;
}

/*
 * Where Capstone 4.0.2 is wrong, and where only the difference `what` is excused; NULL: it must agree.
 * What needs no privilege was tried on an Intel Xeon (FS then SS, MOVSXD, REX.R with a segment register, 66 with F3 and
 * MOVS, 66 with REX.W and PUSH): it does what the decoder says.
 */
static const char *excuse_of(const struct encoding *encoding, const struct instruction *ours, const char *what)
{
    struct shape shape = shape_of(encoding);
    bool two_byte = shape.opcode == 0x0f;
    bool wide = (shape.rex & 8) != 0;

    if (forgets_override(encoding, ours) && strstr(what, "segment") != NULL) {
        return "64-bit: FS or GS stays although ES, CS, SS or DS follows; Capstone takes the last";
    }
    if (two_byte && shape.second == 0x01 && shape.modrm >= 0xfa && shape.modrm <= 0xfd) {
        return "MONITORX, MWAITX, CLZERO, RDPRU are newer than its tables";
    }
    if (ours->operation == OPERATION_MOV_CR && shape.lock) {
        return "LOCK MOV CR0 is AMD's MOV CR8; Capstone refuses it";
    }
    if (shape.opcode == 0x63 && !wide && strcmp(what, "register") == 0) {
        return "MOVSXD without REX.W writes 32 bits; Capstone names the 64-bit register";
    }
    if (shape.opcode == 0x8c && (shape.rex & 4)) {
        return "REX.R does not extend a segment register; Capstone refuses it";
    }
    if (shape.p66 && (shape.rep || shape.repne) &&
        (strncmp(what, "size of", 7) == 0 || strcmp(what, "register of r/m") == 0 ||
         (shape.opcode >= 0xa0 && shape.opcode <= 0xa3))) {
        return "with 66 before F2 or F3 it takes 66 for an opcode prefix: a wrong size, and no MOV with offset";
    }
    if (shape.opcode == 0xa5 && shape.repne && strcmp(what, "repeat prefix") == 0) {
        return "F2 A5 repeats as F3 A5 does; Capstone mistakes it for the MOVSD of SSE2";
    }
    if ((shape.p66 || shape.p67) && wide && strncmp(what, "size of", 7) == 0 && two_sizes(ours->operation)) {
        return "REX.W takes precedence over 66, and 67 has nothing to do with it; Capstone says a word";
    }
    return NULL;
}

/* Without an override Capstone names none; in 64-bit code it also names those that are ignored (ES, CS, SS, DS). */
static bool same_segment(const struct instruction *ours, const cs_x86_op *theirs)
{
    x86_reg named = theirs->mem.segment;
    bool ignored = named == X86_REG_ES || named == X86_REG_CS || named == X86_REG_SS || named == X86_REG_DS;

    if (ours->segment_override) {
        return named == segment_name(ours->segment);
    }
    return named == X86_REG_INVALID || (mode_compared == CODE_64 && ignored);
}

static const char *compare_memory(const struct instruction *ours, const cs_x86_op *theirs)
{
    uint64_t mask = ours->address_bytes == 8 ? ~0ULL : (1ULL << (8 * ours->address_bytes)) - 1;

    if (theirs->mem.base != register_name(ours->base, ours->address_bytes, false)) {
        return "base";
    }
    if (theirs->mem.index != register_name(ours->index, ours->address_bytes, false)) {
        return "index";
    }
    if (ours->index != REGISTER_NONE && theirs->mem.scale != ours->scale) {
        return "scale";
    }
    if (((uint64_t)theirs->mem.disp & mask) != ((uint64_t)ours->displacement & mask)) {
        return "displacement";
    }
    return same_segment(ours, theirs) ? NULL : "segment";
}

/* LMSW, SMSW, INVLPG and what is known for its length only have memory operands whose size is not used. */
static bool size_matters(const struct instruction *ours)
{
    return ours->operation != OPERATION_OTHER && ours->operation != OPERATION_LMSW &&
           ours->operation != OPERATION_SMSW && ours->operation != OPERATION_INVLPG;
}

static const char *compare_rm(const struct instruction *ours, const cs_x86_op *theirs)
{
    if (!ours->memory && ours->operation == OPERATION_OTHER) {
        return NULL; /* SLDT and the like: only the length is claimed */
    }
    if (!ours->memory) {
        return theirs->type != X86_OP_REG                                              ? "not a register"
               : theirs->reg != register_name(ours->rm, ours->rm_bytes, ours->rm_high) ? "register of r/m"
                                                                                       : NULL;
    }
    if (theirs->type != X86_OP_MEM) {
        return "not memory";
    }
    if (size_matters(ours) && theirs->size != ours->rm_bytes) {
        return "size of memory";
    }
    return compare_memory(ours, theirs);
}

static const char *compare_reg(const struct instruction *ours, const cs_x86_op *theirs)
{
    x86_reg expected = register_name(ours->reg, ours->reg_bytes, ours->reg_high);

    if (ours->operation == OPERATION_STORE_SEGMENT) {
        expected = segment_name(ours->reg);
    } else if (ours->operation == OPERATION_MOV_CR) {
        expected = (x86_reg)(X86_REG_CR0 + ours->reg);
    } else if (ours->operation == OPERATION_MOV_DR) {
        expected = (x86_reg)(X86_REG_DR0 + ours->reg);
    }
    return theirs->type == X86_OP_REG && theirs->reg == expected ? NULL : "register";
}

static const char *compare_string(const struct instruction *ours, const cs_x86 *theirs)
{
    static const uint8_t repeats[] = {[REP_NONE] = 0, [REP_NE] = 0xf2, [REP_E] = 0xf3};

    if (theirs->prefix[0] != repeats[ours->rep]) {
        return "repeat prefix";
    }
    for (unsigned i = 0; i < theirs->op_count; i++) {
        const cs_x86_op *operand = &theirs->operands[i];

        if (operand->type != X86_OP_MEM) {
            continue;
        }
        if (operand->size != ours->rm_bytes) {
            return "size of string element";
        }
        if (operand->mem.base == register_name(6, ours->address_bytes, false)) {
            if (!same_segment(ours, operand)) {
                return "segment of string source";
            }
        } else if (operand->mem.base != register_name(7, ours->address_bytes, false)) {
            return "pointer of string";
        }
    }
    return NULL;
}

static const char *compare_operands(const struct instruction *ours, const cs_x86 *theirs)
{
    unsigned rm_at = ours->to_reg ? 1 : 0;
    const char *difference = NULL;

    if (ours->operation >= OPERATION_MOVS && ours->operation <= OPERATION_OUTS) {
        return compare_string(ours, theirs);
    }
    if (ours->operation == OPERATION_OTHER && !ours->has_rm) {
        return NULL;
    }
    if (theirs->op_count < (unsigned)ours->has_rm + ours->has_reg + ours->has_immediate) {
        return "number of operands";
    }
    if (ours->has_rm) {
        difference = compare_rm(ours, &theirs->operands[rm_at]);
    }
    if (difference == NULL && ours->has_reg) {
        difference = compare_reg(ours, &theirs->operands[1 - rm_at]);
    }
    if (difference == NULL && ours->has_immediate) {
        uint64_t mask = ours->rm_bytes == 8 ? ~0ULL : (1ULL << (8 * ours->rm_bytes)) - 1;

        const cs_x86_op *immediate = &theirs->operands[ours->has_reg ? 2 : 1];

        if (immediate->type != X86_OP_IMM) {
            return "no immediate";
        }
        if (((uint64_t)immediate->imm & mask) != ours->immediate) {
            return "immediate";
        }
    }
    return difference;
}

static const char *compare(const struct encoding *encoding, const struct instruction *ours, cs_insn *theirs)
{
    const uint8_t *code = encoding->bytes;
    size_t left = encoding->count;
    uint64_t address = 0;

    mode_compared = encoding->mode;
    theirs->mnemonic[0] = theirs->op_str[0] = 0;
    if (!cs_disasm_iter(engines[encoding->mode], &code, &left, &address, theirs)) {
        return "Capstone knows no such instruction";
    }
    if (theirs->size != ours->length) {
        return "length";
    }
    if (!same_operation(ours->operation, theirs->id)) {
        return "operation";
    }
    return compare_operands(ours, &theirs->detail->x86);
}

static void show(const struct encoding *encoding, const struct instruction *ours, const cs_insn *theirs,
                 const char *difference)
{
    static const int widths[3] = {16, 32, 64};

    printf("%d-bit ", widths[encoding->mode]);
    for (size_t i = 0; i < ours->length; i++) {
        printf("%02x ", encoding->bytes[i]);
    }
    printf(": %s differs; operation %d length %u, Capstone: %s %s (%u bytes)\n", difference, (int)ours->operation,
           ours->length, theirs->mnemonic, theirs->op_str, theirs->size);
}

/* Decodes, and compares what is accepted. */
static enum decode_result check(const uint8_t *bytes, size_t count, enum code_mode mode)
{
    struct encoding encoding = {bytes, count, mode};
    struct instruction ours;
    const char *difference;
    enum decode_result result = decode_instruction(bytes, count, mode, &ours);

    if (result != DECODE_OK) {
        tally.refused += result == DECODE_UNSUPPORTED;
        tally.undefined += result == DECODE_UNDEFINED;
        return result;
    }
    difference = compare(&encoding, &ours, scratch[mode]);
    if (difference != NULL && excuse_of(&encoding, &ours, difference) != NULL) {
        tally.quirks++;
        return result;
    }
    if (difference != NULL && tally.differences++ < DIFFERENCES_SHOWN) {
        show(&encoding, &ours, scratch[mode], difference);
    }
    tally.compared++;
    tally.by_operation[ours.operation]++;
    return result;
}

static void report(const char *what)
{
    printf(
        "%s: %llu encodings compared, %llu differ, %llu set aside (Capstone's quirks), %llu refused, %llu undefined\n",
        what, (unsigned long long)tally.compared, (unsigned long long)tally.differences,
        (unsigned long long)tally.quirks, (unsigned long long)tally.refused, (unsigned long long)tally.undefined);
}

/* --- generators ------------------------------------------------------------------------------------------------- */

/* xorshift64*, seeded: the same encodings in every run. */
static uint64_t random_state;

static uint64_t random_next(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1dULL;
}

/* Every opcode of which some form is claimed: one-byte, then 0F, then 0F 38. */
static const uint8_t one_byte_opcodes[] = {
    0x00, 0x01, 0x02, 0x03, 0x08, 0x09, 0x0a, 0x0b, 0x10, 0x11, 0x12, 0x13, 0x18, 0x19, 0x1a, 0x1b,
    0x20, 0x21, 0x22, 0x23, 0x28, 0x29, 0x2a, 0x2b, 0x30, 0x31, 0x32, 0x33, 0x38, 0x39, 0x3a, 0x3b,
    0x63, 0x69, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88,
    0x89, 0x8a, 0x8b, 0x8c, 0x8f, 0x90, 0x9a, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xaa,
    0xab, 0xac, 0xad, 0xae, 0xaf, 0xc0, 0xc1, 0xc6, 0xc7, 0xcc, 0xcd, 0xce, 0xcf, 0xd0, 0xd1, 0xd2,
    0xd3, 0xe4, 0xe5, 0xe6, 0xe7, 0xea, 0xec, 0xed, 0xee, 0xef, 0xf1, 0xf4, 0xf6, 0xf7, 0xfe, 0xff,
};
static const uint8_t two_byte_opcodes[] = {
    0x00, 0x01, 0x06, 0x08, 0x09, 0x20, 0x21, 0x22, 0x23, 0x30, 0x31, 0x32, 0x33, 0x40, 0x41, 0x42,
    0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f, 0x90, 0x91, 0x92,
    0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa2, 0xa3, 0xaa,
    0xab, 0xaf, 0xb0, 0xb1, 0xb3, 0xb6, 0xb7, 0xba, 0xbb, 0xbe, 0xbf, 0xc0, 0xc1, 0xc3, 0xc7,
};
static const uint8_t three_byte_opcodes[] = {0xf0, 0xf1};

#define OPCODE_COUNT (sizeof(one_byte_opcodes) + sizeof(two_byte_opcodes) + sizeof(three_byte_opcodes))

static size_t put_opcode(uint8_t *to, size_t which)
{
    if (which < sizeof(one_byte_opcodes)) {
        to[0] = one_byte_opcodes[which];
        return 1;
    }
    which -= sizeof(one_byte_opcodes);
    to[0] = 0x0f;
    if (which < sizeof(two_byte_opcodes)) {
        to[1] = two_byte_opcodes[which];
        return 2;
    }
    to[1] = 0x38;
    to[2] = three_byte_opcodes[which - sizeof(two_byte_opcodes)];
    return 3;
}

struct prefix_set {
    uint8_t bytes[8];
    size_t count;
};

static void add_prefix(struct prefix_set *set, uint8_t byte)
{
    set->bytes[set->count++] = byte;
}

/* Combination n: bit 0 is 66, bit 1 is 67; then the segment (7), then none, F0, F2, F3; REX (none and 16) last. */
#define SIZE_SETS 4u
#define SEGMENT_SETS 7u
#define LOCK_SETS 4u
#define REX_SETS 17u

static struct prefix_set make_prefixes(unsigned sizes, unsigned segment, unsigned lock, unsigned rex)
{
    static const uint8_t segments[SEGMENT_SETS] = {0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    static const uint8_t locks[LOCK_SETS] = {0, 0xf0, 0xf2, 0xf3};
    struct prefix_set set = {.count = 0};

    if (lock != 0) {
        add_prefix(&set, locks[lock]);
    }
    if (segment != 0) {
        add_prefix(&set, segments[segment]);
    }
    if (sizes & 1) {
        add_prefix(&set, 0x66);
    }
    if (sizes & 2) {
        add_prefix(&set, 0x67);
    }
    if (rex != 0) {
        add_prefix(&set, (uint8_t)(0x3f + rex));
    }
    return set;
}

/* Prefixes, opcode, ModRM, SIB, and random bytes for displacement and immediate. */
static void check_form(const struct prefix_set *prefixes, size_t opcode, uint8_t modrm, uint8_t sib,
                       enum code_mode mode)
{
    uint8_t bytes[40];
    size_t at = prefixes->count;

    memcpy(bytes, prefixes->bytes, sizeof(prefixes->bytes));
    at += put_opcode(bytes + at, opcode);
    bytes[at++] = modrm;
    bytes[at++] = sib;
    for (unsigned i = 0; i < 2; i++, at += 8) {
        uint64_t tail = random_next();

        memcpy(bytes + at, &tail, 8);
    }
    check(bytes, INSTRUCTION_BYTES_MAX, mode);
}

static unsigned rex_sets(enum code_mode mode)
{
    return mode == CODE_64 ? REX_SETS : 1;
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void every_modrm_of_every_form_agrees_with_capstone(void **state)
{
    (void)state;
    set_up_engines();
    random_state = 0x9e3779b97f4a7c15;
    for (unsigned mode = 0; mode < 3; mode++) {
        for (unsigned rex = 0; rex < rex_sets(mode); rex++) {
            for (unsigned sizes = 0; sizes < SIZE_SETS; sizes++) {
                struct prefix_set prefixes = make_prefixes(sizes, 0, 0, rex);

                for (unsigned form = 0; form < OPCODE_COUNT * 256; form++) {
                    check_form(&prefixes, form >> 8, (uint8_t)form, (uint8_t)random_next(), mode);
                }
            }
        }
    }
    report("every ModRM");
    assert_int_equal(tally.differences, 0);
    assert_true(tally.compared > 1000000);
}

static void every_prefix_combination_agrees_with_capstone(void **state)
{
    static const uint8_t modrms[] = {0x00, 0x45, 0x84, 0x0c, 0x2e, 0x05, 0xd1, 0xfc};

    (void)state;
    set_up_engines();
    random_state = 0xd1b54a32d192ed03;
    for (unsigned mode = 0; mode < 3; mode++) {
        for (unsigned set = 0; set < SIZE_SETS * SEGMENT_SETS * LOCK_SETS * rex_sets(mode); set++) {
            struct prefix_set prefixes =
                make_prefixes(set % SIZE_SETS, set / SIZE_SETS % SEGMENT_SETS,
                              set / SIZE_SETS / SEGMENT_SETS % LOCK_SETS, set / SIZE_SETS / SEGMENT_SETS / LOCK_SETS);

            for (unsigned form = 0; form < OPCODE_COUNT * sizeof(modrms); form++) {
                uint8_t modrm = (uint8_t)(modrms[form % sizeof(modrms)] ^ (random_next() & 0x38));

                check_form(&prefixes, form / sizeof(modrms), modrm, (uint8_t)random_next(), mode);
            }
        }
    }
    report("every prefix combination");
    assert_int_equal(tally.differences, 0);
    assert_true(tally.compared > 500000);
}

static void every_sib_agrees_with_capstone(void **state)
{
    unsigned used = 0;

    (void)state;
    set_up_engines();
    random_state = 0x94d049bb133111eb;
    for (size_t opcode = 0; opcode < sizeof(one_byte_opcodes); opcode++) {
        uint8_t byte = one_byte_opcodes[opcode];

        if (byte != 0x8b && byte != 0x80 && byte != 0xc7) {
            continue;
        }
        used++;
        for (unsigned mode = CODE_16; mode <= CODE_64; mode++) {
            for (unsigned rex = 0; rex < rex_sets(mode); rex++) {
                for (unsigned n = 0; n < 2 * 3 * 256; n++) {
                    struct prefix_set prefixes = make_prefixes(n & 1 ? 2 : 0, 0, 0, rex);

                    check_form(&prefixes, opcode, (uint8_t)(n / 2 % 3 << 6 | 4), (uint8_t)(n / 6), mode);
                }
            }
        }
    }
    report("every SIB");
    assert_int_equal(used, 3);
    assert_int_equal(tally.differences, 0);
    assert_true(tally.compared > 50000);
}

static size_t put_random_prefixes(uint8_t *to, enum code_mode mode)
{
    static const uint8_t prefixes[] = {0x66, 0x67, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0xf0, 0xf2, 0xf3};
    size_t count = random_next() % 4;

    for (size_t i = 0; i < count; i++) {
        to[i] = prefixes[random_next() % sizeof(prefixes)];
    }
    if (mode == CODE_64 && random_next() % 2) {
        to[count++] = (uint8_t)(0x40 | random_next() % 16);
    }
    return count;
}

static void a_million_random_encodings_agree_with_capstone(void **state)
{
    (void)state;
    set_up_engines();
    random_state = 0xbf58476d1ce4e5b9;
    while (tally.compared < 1200000) {
        uint8_t bytes[64];
        enum code_mode mode = (enum code_mode)(random_next() % 3);
        size_t at = put_random_prefixes(bytes, mode);

        at += put_opcode(bytes + at, random_next() % OPCODE_COUNT);
        for (unsigned i = 0; i < 2; i++, at += 8) {
            uint64_t tail = random_next();

            memcpy(bytes + at, &tail, 8);
        }
        check(bytes, INSTRUCTION_BYTES_MAX, mode);
    }
    report("random encodings of claimed opcodes");
    for (unsigned i = OPERATION_NONE + 1; i < OPERATION_COUNT; i++) {
        assert_true(tally.by_operation[i] > 500 || i == OPERATION_SAL);
    }
    assert_int_equal(tally.differences, 0);
}

static void what_is_accepted_of_random_bytes_agrees_with_capstone(void **state)
{
    (void)state;
    set_up_engines();
    random_state = 0x2545f4914f6cdd1d;
    for (unsigned i = 0; i < 1500000; i++) {
        uint64_t bytes[2] = {random_next(), random_next()};

        check((const uint8_t *)bytes, INSTRUCTION_BYTES_MAX, (enum code_mode)(i % 3));
    }
    report("random bytes");
    assert_true(tally.compared > 300000);
    assert_int_equal(tally.differences, 0);
}

struct claim {
    const char *bytes; /* opcode and, for groups, ModRM with a memory operand */
    uint8_t count;
    enum operation operation;
};

#define CLAIM(text, name)                        \
    {                                            \
        text, sizeof(text) - 1, OPERATION_##name \
    }

/* A memory form of everything that the emulator executes: it cannot pass the comparisons by refusing. */
static const struct claim claims[] = {
    CLAIM("\x00\x07", ADD),
    CLAIM("\x0b\x07", OR),
    CLAIM("\x11\x07", ADC),
    CLAIM("\x1a\x07", SBB),
    CLAIM("\x21\x07", AND),
    CLAIM("\x2b\x07", SUB),
    CLAIM("\x30\x07", XOR),
    CLAIM("\x3b\x07", CMP),
    CLAIM("\x80\x07", ADD),
    CLAIM("\x81\x0f", OR),
    CLAIM("\x83\x17", ADC),
    CLAIM("\x80\x1f", SBB),
    CLAIM("\x81\x27", AND),
    CLAIM("\x83\x2f", SUB),
    CLAIM("\x80\x37", XOR),
    CLAIM("\x81\x3f", CMP),
    CLAIM("\x84\x07", TEST),
    CLAIM("\x85\x07", TEST),
    CLAIM("\xf6\x07", TEST),
    CLAIM("\xf7\x0f", TEST),
    CLAIM("\xf6\x17", NOT),
    CLAIM("\xf7\x1f", NEG),
    CLAIM("\xfe\x07", INC),
    CLAIM("\xff\x0f", DEC),
    CLAIM("\x0f\xaf\x07", IMUL),
    CLAIM("\x69\x07", IMUL),
    CLAIM("\x6b\x07", IMUL),
    CLAIM("\xc0\x07", ROL),
    CLAIM("\xc1\x0f", ROR),
    CLAIM("\xd0\x17", RCL),
    CLAIM("\xd1\x1f", RCR),
    CLAIM("\xd2\x27", SHL),
    CLAIM("\xd3\x2f", SHR),
    CLAIM("\xd3\x3f", SAR),
    CLAIM("\xf6\x27", MUL),
    CLAIM("\xf7\x2f", IMUL_WIDE),
    CLAIM("\x0f\x95\x07", SETCC),
    CLAIM("\x0f\x42\x07", CMOVCC),
    CLAIM("\x88\x07", MOV),
    CLAIM("\x89\x07", MOV),
    CLAIM("\x8a\x07", MOV),
    CLAIM("\x8b\x07", MOV),
    CLAIM("\xa0", MOV),
    CLAIM("\xa1", MOV),
    CLAIM("\xa2", MOV),
    CLAIM("\xa3", MOV),
    CLAIM("\xc6\x07", MOV),
    CLAIM("\xc7\x07", MOV),
    CLAIM("\x0f\xc3\x07", MOV),
    CLAIM("\x8c\x1f", STORE_SEGMENT),
    CLAIM("\x0f\xb6\x07", MOVZX),
    CLAIM("\x0f\xb7\x07", MOVZX),
    CLAIM("\x0f\xbe\x07", MOVSX),
    CLAIM("\x0f\xbf\x07", MOVSX),
    CLAIM("\x0f\x38\xf0\x07", MOVBE),
    CLAIM("\x0f\x38\xf1\x07", MOVBE),
    CLAIM("\x86\x07", XCHG),
    CLAIM("\x87\x07", XCHG),
    CLAIM("\x0f\xc0\x07", XADD),
    CLAIM("\x0f\xc1\x07", XADD),
    CLAIM("\x0f\xb0\x07", CMPXCHG),
    CLAIM("\x0f\xb1\x07", CMPXCHG),
    CLAIM("\x0f\xc7\x0f", CMPXCHG8B),
    CLAIM("\x0f\xa3\x07", BT),
    CLAIM("\x0f\xab\x07", BTS),
    CLAIM("\x0f\xb3\x07", BTR),
    CLAIM("\x0f\xbb\x07", BTC),
    CLAIM("\x0f\xba\x27", BT),
    CLAIM("\x0f\xba\x2f", BTS),
    CLAIM("\x0f\xba\x37", BTR),
    CLAIM("\x0f\xba\x3f", BTC),
    CLAIM("\xff\x37", PUSH),
    CLAIM("\x8f\x07", POP),
    CLAIM("\xff\x17", CALL),
    CLAIM("\xff\x27", JMP),
    CLAIM("\xa4", MOVS),
    CLAIM("\xa5", MOVS),
    CLAIM("\xa6", CMPS),
    CLAIM("\xa7", CMPS),
    CLAIM("\xaa", STOS),
    CLAIM("\xab", STOS),
    CLAIM("\xac", LODS),
    CLAIM("\xad", LODS),
    CLAIM("\xae", SCAS),
    CLAIM("\xaf", SCAS),
    CLAIM("\x6c", INS),
    CLAIM("\x6d", INS),
    CLAIM("\x6e", OUTS),
    CLAIM("\x6f", OUTS),
};

static enum decode_result decode_text(const char *prefix, const struct claim *claim, enum code_mode mode,
                                      struct instruction *instruction)
{
    uint8_t bytes[INSTRUCTION_BYTES_MAX + 1] = {0};
    size_t prefixes = strlen(prefix);

    memcpy(bytes, prefix, prefixes);
    memcpy(bytes + prefixes, claim->bytes, claim->count);
    return decode_instruction(bytes, INSTRUCTION_BYTES_MAX, mode, instruction);
}

static void every_claimed_form_is_accepted_in_every_mode(void **state)
{
    (void)state;
    for (unsigned mode = 0; mode < 3; mode++) {
        for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
            struct instruction instruction;

            assert_int_equal(decode_text("", &claims[i], mode, &instruction), DECODE_OK);
            assert_int_equal(instruction.operation, claims[i].operation);
            assert_true(instruction.memory || instruction.operation >= OPERATION_MOVS);
        }
    }
}

static void lock_is_accepted_only_where_memory_is_changed(void **state)
{
    static const enum operation lockable[] = {
        OPERATION_ADD,  OPERATION_OR,  OPERATION_ADC,     OPERATION_SBB, OPERATION_AND, OPERATION_SUB,
        OPERATION_XOR,  OPERATION_NOT, OPERATION_NEG,     OPERATION_INC, OPERATION_DEC, OPERATION_XCHG,
        OPERATION_XADD, OPERATION_BTS, OPERATION_CMPXCHG, OPERATION_BTR, OPERATION_BTC, OPERATION_CMPXCHG8B};

    (void)state;
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        struct instruction instruction;
        bool allowed = false;

        for (size_t j = 0; j < sizeof(lockable) / sizeof(lockable[0]); j++) {
            allowed = allowed || claims[i].operation == lockable[j];
        }
        assert_int_equal(decode_text("", &claims[i], CODE_64, &instruction), DECODE_OK);
        allowed = allowed && !instruction.to_reg;
        assert_int_equal(decode_text("\xf0", &claims[i], CODE_64, &instruction),
                         allowed ? DECODE_OK : DECODE_UNDEFINED);
        assert_true(!allowed || instruction.lock);
    }
}

static void a_cut_instruction_is_truncated_at_every_length(void **state)
{
    /* lock add qword gs:[rax + rcx * 4 + 0x11223344], 0x55667788 in 14 bytes */
    static const uint8_t bytes[] = {0xf0, 0x65, 0x48, 0x81, 0x84, 0x88, 0x44, 0x33, 0x22, 0x11, 0x88, 0x77, 0x66, 0x55};
    struct instruction instruction;

    (void)state;
    for (size_t count = 0; count < sizeof(bytes); count++) {
        assert_int_equal(decode_instruction(bytes, count, CODE_64, &instruction), DECODE_TRUNCATED);
        assert_int_equal(decode_length(bytes, count, CODE_64), 0);
    }
    assert_int_equal(decode_length(bytes, sizeof(bytes), CODE_64), sizeof(bytes));
}

static void sixteen_bytes_are_too_long(void **state)
{
    uint8_t bytes[16];
    struct instruction instruction;

    (void)state;
    memset(bytes, 0x66, sizeof(bytes));
    bytes[13] = 0x88;
    bytes[14] = 0x07;
    assert_int_equal(decode_length(bytes, 15, CODE_32), 15);
    bytes[13] = 0x66;
    bytes[14] = 0x88;
    bytes[15] = 0x07;
    assert_int_equal(decode_instruction(bytes, 16, CODE_32, &instruction), DECODE_TOO_LONG);
    memset(bytes, 0x66, sizeof(bytes));
    assert_int_equal(decode_instruction(bytes, 15, CODE_32, &instruction), DECODE_TOO_LONG);
}

static void vector_and_unclaimed_instructions_are_refused(void **state)
{
    static const char *const refused[] = {
        "\xc5\xf8\x28\x07",         /* vmovaps xmm0, [rdi] */
        "\xc4\xe2\x79\x18\x07",     /* vbroadcastss xmm0, [rdi] */
        "\x62\xf1\x7c\x48\x28\x07", /* vmovaps zmm0, [rdi] */
        "\x0f\x28\x07",             /* movaps xmm0, [rdi] */
        "\xf7\x37",                 /* div dword [rdi] */
        "\xc1\x37\x01",             /* sal dword [rdi], 1 by its other encoding */
        "\xf2\x0f\x38\xf0\x07",     /* crc32 eax, byte [rdi] */
        "\x48\x0f\xc7\x0f",         /* cmpxchg16b [rdi] */
        "\x66\x0f\xc3\x07",         /* movnti has no such form */
        "\x66\xff\x17",             /* call word [rdi] or call qword [rdi]: vendors disagree */
        "\xd9\x07",                 /* fld dword [rdi] */
        "\x0f\xc7\xf0",             /* rdrand eax */
        "\x8f\xe8\x78\xa2\x07",     /* XOP */
    };
    struct instruction instruction;

    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        uint8_t bytes[INSTRUCTION_BYTES_MAX] = {0};

        memcpy(bytes, refused[i], strlen(refused[i]));
        assert_int_equal(decode_instruction(bytes, sizeof(bytes), CODE_64, &instruction), DECODE_UNSUPPORTED);
        assert_int_equal(decode_length(bytes, sizeof(bytes), CODE_64), 0);
    }
}

static void lengths_of_intercepted_instructions_include_redundant_prefixes(void **state)
{
    static const struct {
        const char *bytes;
        uint8_t count, length;
    } cases[] = {
        {"\x0f\xa2", 2, 2},                         /* cpuid */
        {"\x66\x48\x0f\xa2", 4, 4},                 /* 66 rex.w cpuid */
        {"\xf3\x2e\x0f\x30", 4, 4},                 /* rep cs wrmsr */
        {"\x0f\x01\xd9", 3, 3},                     /* vmmcall */
        {"\x0f\x01\xc1", 3, 3},                     /* vmcall */
        {"\x0f\x01\xf9", 3, 3},                     /* rdtscp */
        {"\x0f\x01\xd1", 3, 3},                     /* xsetbv */
        {"\xf4", 1, 1},                             /* hlt */
        {"\xf3\x90", 2, 2},                         /* pause */
        {"\xf3\x0f\x09", 3, 3},                     /* wbnoinvd */
        {"\x44\x0f\x22\xc0", 4, 4},                 /* mov cr8, rax */
        {"\x0f\x22\x05", 3, 3},                     /* mov cr0, ebp: mod is ignored, no displacement */
        {"\x0f\x01\xf0", 3, 3},                     /* lmsw ax */
        {"\x0f\x01\x34\x25\x10\x20\x30\x40", 8, 8}, /* lmsw [0x40302010] */
        {"\x0f\x01\x7f\x10", 4, 4},                 /* invlpg [rdi + 0x10] */
        {"\xcd\x80", 2, 2},                         /* int 0x80 */
        {"\x48\xcf", 2, 2},                         /* iretq */
        {"\xff\x2f", 2, 2},                         /* jmp far [rdi] */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(decode_length((const uint8_t *)cases[i].bytes, cases[i].count, CODE_64), cases[i].length);
        assert_int_equal(decode_length((const uint8_t *)cases[i].bytes, cases[i].count - 1u, CODE_64), 0);
    }
}

static void far_jumps_have_the_operand_sizes_length(void **state)
{
    static const uint8_t bytes[] = {0xea, 1, 2, 3, 4, 5, 6, 7};
    static const uint8_t prefixed[] = {0x66, 0xea, 1, 2, 3, 4, 5, 6};
    struct instruction instruction;

    (void)state;
    assert_int_equal(decode_length(bytes, sizeof(bytes), CODE_16), 5);
    assert_int_equal(decode_length(bytes, sizeof(bytes), CODE_32), 7);
    assert_int_equal(decode_length(prefixed, sizeof(prefixed), CODE_16), 8);
    assert_int_equal(decode_length(prefixed, sizeof(prefixed), CODE_32), 6);
    assert_int_equal(decode_instruction(bytes, sizeof(bytes), CODE_64, &instruction), DECODE_UNDEFINED);
}

static void the_last_repeat_prefix_counts_and_rex_only_before_the_opcode(void **state)
{
    static const uint8_t repeats[] = {0xf3, 0xf2, 0xae};
    static const uint8_t lost_rex[] = {0x48, 0x66, 0x89, 0x07};
    struct instruction instruction;

    (void)state;
    assert_int_equal(decode_instruction(repeats, sizeof(repeats), CODE_32, &instruction), DECODE_OK);
    assert_int_equal(instruction.rep, REP_NE);
    assert_int_equal(decode_instruction(lost_rex, sizeof(lost_rex), CODE_64, &instruction), DECODE_OK);
    assert_int_equal(instruction.rm_bytes, 2);
}

static void stack_registers_as_base_choose_the_stack_segment(void **state)
{
    static const struct {
        uint8_t bytes[4];
        enum code_mode mode;
        uint8_t segment;
    } cases[] = {
        {{0x8a, 0x46, 0x10}, CODE_16, 2},       /* [bp + 16] */
        {{0x8a, 0x02}, CODE_16, 2},             /* [bp + si] */
        {{0x8a, 0x06, 0x10, 0x00}, CODE_16, 3}, /* [16] */
        {{0x8a, 0x04, 0x24}, CODE_32, 2},       /* [esp] */
        {{0x8a, 0x45, 0x10}, CODE_32, 2},       /* [ebp + 16] */
        {{0x8a, 0x04, 0x28}, CODE_32, 3},       /* [eax + ebp] */
        {{0x41, 0x8a, 0x45, 0x10}, CODE_64, 3}, /* [r13 + 16] */
        {{0x8a, 0x45, 0x10}, CODE_64, 2},       /* [rbp + 16] */
    };
    struct instruction instruction;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(decode_instruction(cases[i].bytes, 4, cases[i].mode, &instruction), DECODE_OK);
        assert_int_equal(instruction.segment, cases[i].segment);
        assert_false(instruction.segment_override);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_modrm_of_every_form_agrees_with_capstone),
        cmocka_unit_test(every_prefix_combination_agrees_with_capstone),
        cmocka_unit_test(every_sib_agrees_with_capstone),
        cmocka_unit_test(a_million_random_encodings_agree_with_capstone),
        cmocka_unit_test(what_is_accepted_of_random_bytes_agrees_with_capstone),
        cmocka_unit_test(every_claimed_form_is_accepted_in_every_mode),
        cmocka_unit_test(lock_is_accepted_only_where_memory_is_changed),
        cmocka_unit_test(a_cut_instruction_is_truncated_at_every_length),
        cmocka_unit_test(sixteen_bytes_are_too_long),
        cmocka_unit_test(vector_and_unclaimed_instructions_are_refused),
        cmocka_unit_test(lengths_of_intercepted_instructions_include_redundant_prefixes),
        cmocka_unit_test(far_jumps_have_the_operand_sizes_length),
        cmocka_unit_test(the_last_repeat_prefix_counts_and_rex_only_before_the_opcode),
        cmocka_unit_test(stack_registers_as_base_choose_the_stack_segment),
    };

    return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}
