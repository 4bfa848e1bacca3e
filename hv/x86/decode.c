/* SPDX-License-Identifier: MIT */
/*
 * The decoder's steps, in the order of the bytes: prefixes, opcode, ModRM and SIB, displacement, immediate; then what
 * may not be (LOCK, register forms). Reads past the bytes given set a sticky result and yield zeros, so no step has to
 * look before it reads.
 */
#include "hv/x86/decode.h"
#include "hv/base/memory.h"
#include "hv/x86/decode_table.h"

/* REX. SDM 2A 2.2.1.2 "More on REX Prefix Fields", table 2-4. */
#define REX_W 8u
#define REX_R 4u
#define REX_X 2u
#define REX_B 1u

#define MOD_REGISTER 3u
#define RM_SIB 4u
#define RM_DISPLACEMENT 5u
#define INDEX_NONE 4u
#define NUMBER_RSP 4u
#define NUMBER_RBP 5u
#define NUMBER_RBX 3u
#define NUMBER_RSI 6u
#define NUMBER_RDI 7u

#define NUMBER_SS 2u
#define NUMBER_DS 3u
#define NUMBER_FS 4u
#define NUMBER_SEGMENTS 6u

struct decoder {
    const uint8_t *bytes;
    size_t count;
    uint32_t at;
    enum decode_result result; /* the first thing that went wrong */
    enum code_mode mode;
    bool operand_prefix, address_prefix;
    uint8_t rex;
    uint8_t mod, reg, rm; /* of ModRM, three bits each */
    uint8_t condition;    /* the low bits of the opcode */
    struct opcode opcode;
};

static void refuse(struct decoder *decoder, enum decode_result result)
{
    if (decoder->result == DECODE_OK) {
        decoder->result = result;
    }
}

static uint8_t read_byte(struct decoder *decoder)
{
    if (decoder->at >= INSTRUCTION_BYTES_MAX) {
        refuse(decoder, DECODE_TOO_LONG);
        return 0;
    }
    if (decoder->at >= decoder->count) {
        refuse(decoder, DECODE_TRUNCATED);
        return 0;
    }
    return decoder->bytes[decoder->at++];
}

/* Little-endian, zero-extended; bytes is at most 8. */
static uint64_t read_number(struct decoder *decoder, uint32_t bytes)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < bytes; i++) {
        value |= (uint64_t)read_byte(decoder) << (8 * i);
    }
    return value;
}

static int64_t read_signed(struct decoder *decoder, uint32_t bytes)
{
    uint32_t shift = 64 - 8 * bytes;

    return (int64_t)(read_number(decoder, bytes) << shift) >> shift;
}

/* In 64-bit mode the overrides of ES, CS, SS and DS are ignored. SDM 2A 2.1.1 and SDM 1 3.3.4; APM 3 1.2.4. */
static void override_segment(struct decoder *decoder, struct instruction *instruction, uint8_t segment)
{
    if (decoder->mode != CODE_64 || segment >= NUMBER_FS) {
        instruction->segment = segment;
        instruction->segment_override = true;
    }
}

/* SDM 2A 2.1.1 "Instruction Prefixes". False: the byte is not a legacy prefix. */
static bool take_legacy_prefix(struct decoder *decoder, struct instruction *instruction, uint8_t byte)
{
    switch (byte) {
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
        override_segment(decoder, instruction, (uint8_t)((byte >> 3) & 3));
        return true;
    case 0x64:
    case 0x65:
        override_segment(decoder, instruction, (uint8_t)(byte - 0x60));
        return true;
    case 0x66:
        decoder->operand_prefix = true;
        return true;
    case 0x67:
        decoder->address_prefix = true;
        return true;
    case 0xf0:
        instruction->lock = true;
        return true;
    case 0xf2:
        instruction->rep = REP_NE;
        return true;
    case 0xf3:
        instruction->rep = REP_E;
        return true;
    default:
        return false;
    }
}

/* Returns the first byte that is no prefix. A REX counts only right before the opcode. SDM 2A 2.2.1 "REX Prefixes". */
static uint8_t read_prefixes(struct decoder *decoder, struct instruction *instruction)
{
    uint8_t byte = read_byte(decoder);

    while (decoder->result == DECODE_OK) {
        if (take_legacy_prefix(decoder, instruction, byte)) {
            decoder->rex = 0;
        } else if (decoder->mode == CODE_64 && (byte & 0xf0) == 0x40) {
            decoder->rex = byte;
        } else {
            break;
        }
        byte = read_byte(decoder);
    }
    return byte;
}

static struct opcode read_three_byte(struct decoder *decoder)
{
    uint8_t byte = read_byte(decoder);

    return (byte & 0xfe) == 0xf0 ? decode_three_byte_38_f0[byte & 1] : (struct opcode){0};
}

static struct opcode look_up(struct decoder *decoder, uint8_t first)
{
    uint8_t second;

    if (first != 0x0f) {
        return decode_one_byte[first];
    }
    second = read_byte(decoder);
    decoder->condition = second & 0xf;
    return second == 0x38 ? read_three_byte(decoder) : decode_two_byte[second];
}

static bool form_has_modrm(uint8_t form)
{
    return (form >= FORM_RM_REG && form <= FORM_RM_IMMZ) || form == FORM_GROUP;
}

static bool form_has_reg(uint8_t form)
{
    return form == FORM_RM_REG || form == FORM_REG_RM || form == FORM_REG_RM_IMM8S || form == FORM_REG_RM_IMMZ;
}

/* 0F 01 with a register form is a map of its own. */
static void choose_from_group(struct decoder *decoder)
{
    uint8_t group = decoder->opcode.operation;
    uint16_t traits = decoder->opcode.traits;
    uint32_t modrm_low = (uint32_t)(decoder->reg << 3 | decoder->rm);

    decoder->opcode = decode_groups[group][decoder->reg];
    decoder->opcode.traits |= traits;
    if (group == GROUP_7 && decoder->mod == MOD_REGISTER && ((decode_group_7_plain >> modrm_low) & 1)) {
        decoder->opcode = (struct opcode){OPERATION_OTHER, FORM_PLAIN, 0};
    }
}

static void read_opcode(struct decoder *decoder, uint8_t first)
{
    decoder->opcode = look_up(decoder, first);
    if (form_has_modrm(decoder->opcode.form)) {
        uint8_t modrm = read_byte(decoder);

        decoder->mod = modrm >> 6;
        decoder->reg = (modrm >> 3) & 7;
        decoder->rm = modrm & 7;
    }
    if (decoder->opcode.form == FORM_GROUP) {
        choose_from_group(decoder);
    } else if ((decoder->opcode.traits & TRAIT_SHIFT) != 0) {
        decoder->opcode.operation = (uint8_t)(decoder->opcode.operation + decoder->reg);
    }
    if (decoder->opcode.form == FORM_REFUSED || decoder->opcode.operation == OPERATION_SAL) {
        refuse(decoder, DECODE_UNSUPPORTED);
    }
}

/*
 * Outside 64-bit mode near branches take 66 as everything else does; MOVSXD with REX.W ignores it; MOVNTI has no such
 * form anywhere (#UD).
 */
static bool operand_prefix_counts(const struct decoder *decoder)
{
    uint16_t traits = decoder->opcode.traits;
    bool ignored = (traits & TRAIT_ONLY_64) && (decoder->rex & REX_W);

    return decoder->operand_prefix && !ignored && (decoder->mode == CODE_64 || (traits & TRAIT_MEMORY));
}

/* Which of the prefixes and modes make the opcode something else. */
static void check_prefixes(struct decoder *decoder, const struct instruction *instruction)
{
    uint16_t traits = decoder->opcode.traits;
    bool wide = (decoder->rex & REX_W) != 0;

    if ((traits & TRAIT_NOT_64) && decoder->mode == CODE_64) {
        refuse(decoder, DECODE_UNDEFINED);
    }
    if (((traits & TRAIT_ONLY_64) && decoder->mode != CODE_64) ||
        ((traits & TRAIT_NO_REP) && instruction->rep != REP_NONE) || ((traits & TRAIT_NO_W) && wide)) {
        refuse(decoder, DECODE_UNSUPPORTED);
    }
    if ((traits & TRAIT_NO_66) && operand_prefix_counts(decoder)) {
        refuse(decoder, DECODE_UNSUPPORTED);
    }
}

/* SDM 1 3.6 "Operand-Size and Address-Size Attributes", tables 3-3 and 3-4. */
static uint8_t operand_size(const struct decoder *decoder)
{
    if (decoder->opcode.traits & TRAIT_NATURAL) {
        return decoder->mode == CODE_64 ? 8 : 4;
    }
    if (decoder->rex & REX_W) {
        return decoder->opcode.traits & TRAIT_MAX_32 ? 4 : 8;
    }
    if (decoder->mode == CODE_64 && (decoder->opcode.traits & TRAIT_WIDE)) {
        return decoder->operand_prefix ? 2 : 8;
    }
    if (decoder->opcode.traits & TRAIT_MIN_32) {
        return 4;
    }
    return (decoder->mode == CODE_16) != decoder->operand_prefix ? 2 : 4;
}

static uint8_t address_size(const struct decoder *decoder)
{
    if (decoder->mode == CODE_64) {
        return decoder->address_prefix ? 4 : 8;
    }
    return (decoder->mode == CODE_16) != decoder->address_prefix ? 2 : 4;
}

static void set_sizes(struct decoder *decoder, struct instruction *instruction)
{
    uint16_t traits = decoder->opcode.traits;
    uint8_t size = operand_size(decoder);

    instruction->address_bytes = address_size(decoder);
    instruction->rm_bytes = (traits & TRAIT_BYTE) ? 1 : (traits & TRAIT_WORD) ? 2 : size;
    instruction->reg_bytes = (traits & TRAIT_BYTE) && !(traits & TRAIT_REG_BYTE) ? 1 : size;
    if (traits & TRAIT_ONLY_64) {
        instruction->rm_bytes = 4; /* MOVSXD */
    }
    if (instruction->operation == OPERATION_CMPXCHG8B) {
        instruction->rm_bytes = 8;
    }
}

/* Without a REX the byte registers 4..7 are AH, CH, DH, BH. SDM 2A 2.1.5, table 2-2. */
static uint8_t byte_register(const struct decoder *decoder, uint8_t bytes, uint8_t number, bool *high)
{
    *high = bytes == 1 && decoder->rex == 0 && number >= 4 && number < 8;
    return *high ? (uint8_t)(number - 4) : number;
}

/* SDM 2A 2.1.5, table 2-1 "16-Bit Addressing Forms with the ModR/M Byte". */
static void read_memory_16(struct decoder *decoder, struct instruction *instruction)
{
    static const uint8_t bases[8] = {NUMBER_RBX, NUMBER_RBX, NUMBER_RBP, NUMBER_RBP,
                                     NUMBER_RSI, NUMBER_RDI, NUMBER_RBP, NUMBER_RBX};
    static const uint8_t indexes[8] = {NUMBER_RSI,    NUMBER_RDI,    NUMBER_RSI,    NUMBER_RDI,
                                       REGISTER_NONE, REGISTER_NONE, REGISTER_NONE, REGISTER_NONE};

    if (decoder->mod == 0 && decoder->rm == 6) {
        instruction->displacement = read_signed(decoder, 2);
        return;
    }
    instruction->base = bases[decoder->rm];
    instruction->index = indexes[decoder->rm];
    if (decoder->mod != 0) {
        instruction->displacement = read_signed(decoder, decoder->mod);
    }
}

/* SDM 2A 2.1.5, table 2-3 "32-Bit Addressing Forms with the SIB Byte". Returns the base field. */
static uint8_t read_sib(struct decoder *decoder, struct instruction *instruction)
{
    uint8_t sib = read_byte(decoder);
    uint8_t index = (uint8_t)(((sib >> 3) & 7) | ((decoder->rex & REX_X) ? 8 : 0));

    if (index != INDEX_NONE) {
        instruction->index = index;
        instruction->scale = (uint8_t)(1u << (sib >> 6));
    }
    return sib & 7;
}

/* SDM 2A 2.1.5, table 2-2; SDM 2A 2.2.1.6 "RIP-Relative Addressing". */
static void read_memory_32(struct decoder *decoder, struct instruction *instruction)
{
    bool has_sib = decoder->rm == RM_SIB;
    uint8_t base = has_sib ? read_sib(decoder, instruction) : decoder->rm;

    if (decoder->mod == 0 && base == RM_DISPLACEMENT) {
        instruction->displacement = read_signed(decoder, 4);
        instruction->base = !has_sib && decoder->mode == CODE_64 ? REGISTER_RIP : REGISTER_NONE;
        return;
    }
    instruction->base = (uint8_t)(base | ((decoder->rex & REX_B) ? 8 : 0));
    if (decoder->mod != 0) {
        instruction->displacement = read_signed(decoder, decoder->mod == 1 ? 1 : 4);
    }
}

static void set_default_segment(struct instruction *instruction)
{
    if (!instruction->segment_override) {
        bool stack = instruction->base == NUMBER_RSP || instruction->base == NUMBER_RBP;

        instruction->segment = stack ? NUMBER_SS : NUMBER_DS;
    }
}

static void read_rm(struct decoder *decoder, struct instruction *instruction)
{
    uint8_t number = (uint8_t)(decoder->rm | ((decoder->rex & REX_B) ? 8 : 0));

    instruction->has_rm = true;
    instruction->memory = decoder->mod != MOD_REGISTER && !(decoder->opcode.traits & TRAIT_REGISTER);
    if (!instruction->memory) {
        instruction->rm = byte_register(decoder, instruction->rm_bytes, number, &instruction->rm_high);
        return;
    }
    if (instruction->address_bytes == 2) {
        read_memory_16(decoder, instruction);
    } else {
        read_memory_32(decoder, instruction);
    }
    set_default_segment(instruction);
}

static void set_reg(struct decoder *decoder, struct instruction *instruction)
{
    uint8_t number = (uint8_t)(decoder->reg | ((decoder->rex & REX_R) ? 8 : 0));

    instruction->has_reg = true;
    instruction->reg = byte_register(decoder, instruction->reg_bytes, number, &instruction->reg_high);
    if (instruction->operation == OPERATION_STORE_SEGMENT) {
        instruction->reg = decoder->reg; /* REX.R does not extend it */
        if (decoder->reg >= NUMBER_SEGMENTS) {
            refuse(decoder, DECODE_UNDEFINED);
        }
    }
}

static void set_immediate(struct instruction *instruction, uint64_t value)
{
    instruction->has_immediate = true;
    instruction->immediate = value & bit_mask(0, 8u * instruction->rm_bytes - 1);
}

static void read_offset(struct decoder *decoder, struct instruction *instruction)
{
    instruction->has_rm = true;
    instruction->memory = true;
    instruction->has_reg = true;
    instruction->displacement = (int64_t)read_number(decoder, instruction->address_bytes);
    set_default_segment(instruction);
}

static void read_operands(struct decoder *decoder, struct instruction *instruction)
{
    uint8_t form = decoder->opcode.form;
    uint8_t size = operand_size(decoder);

    if (form_has_modrm(form)) {
        read_rm(decoder, instruction);
    }
    if (form_has_reg(form)) {
        set_reg(decoder, instruction);
    }
    if (form == FORM_RM_ONE) {
        set_immediate(instruction, 1);
    } else if (form == FORM_RM_IMM8) {
        set_immediate(instruction, read_byte(decoder));
    } else if (form == FORM_RM_IMM8S || form == FORM_REG_RM_IMM8S) {
        set_immediate(instruction, (uint64_t)read_signed(decoder, 1));
    } else if (form == FORM_RM_IMMZ || form == FORM_REG_RM_IMMZ) {
        set_immediate(instruction, (uint64_t)read_signed(decoder, size == 2 ? 2 : 4));
    } else if (form == FORM_MOFFS_A || form == FORM_A_MOFFS) {
        read_offset(decoder, instruction);
    } else if (form == FORM_STRING) {
        set_default_segment(instruction);
    } else if (form == FORM_IMM8) {
        set_immediate(instruction, read_byte(decoder));
    } else if (form == FORM_FAR) {
        set_immediate(instruction, read_number(decoder, size == 2 ? 4 : 6));
    }
    instruction->to_reg = form == FORM_A_MOFFS || (form_has_reg(form) && form != FORM_RM_REG);
}

/* LOCK CR0 is CR8 on AMD. APM 3 "MOV CRn"; SDM 2A LOCK: #UD unless the destination is memory. */
static void check_lock(struct decoder *decoder, struct instruction *instruction)
{
    bool allowed = (decoder->opcode.traits & TRAIT_LOCK) != 0;

    if (instruction->operation == OPERATION_MOV_CR && instruction->lock && instruction->reg == 0) {
        instruction->reg = 8;
        return;
    }
    if (instruction->lock && !(allowed && instruction->memory)) {
        refuse(decoder, DECODE_UNDEFINED);
    }
    if (instruction->operation == OPERATION_XCHG && instruction->memory) {
        instruction->lock = true;
    }
}

enum decode_result decode_instruction(const uint8_t *bytes, size_t count, enum code_mode mode,
                                      struct instruction *instruction)
{
    struct decoder decoder = {.bytes = bytes, .count = count, .mode = mode};

    memset(instruction, 0, sizeof(*instruction));
    instruction->base = REGISTER_NONE;
    instruction->index = REGISTER_NONE;
    instruction->scale = 1;
    read_opcode(&decoder, read_prefixes(&decoder, instruction));
    instruction->operation = (enum operation)decoder.opcode.operation;
    instruction->condition = decoder.condition;
    if (decoder.result != DECODE_OK) {
        return decoder.result;
    }
    check_prefixes(&decoder, instruction);
    set_sizes(&decoder, instruction);
    read_operands(&decoder, instruction);
    if ((decoder.opcode.traits & TRAIT_MEMORY) && !instruction->memory) {
        refuse(&decoder, DECODE_UNSUPPORTED);
    }
    check_lock(&decoder, instruction);
    instruction->length = (uint8_t)decoder.at;
    return decoder.result;
}

/* CPUID, RDMSR and their like without a prefix: what a frequent exit asks for. */
static bool is_plain_two_byte(const uint8_t *bytes, size_t count)
{
    return count >= 2 && bytes[0] == 0x0f && decode_two_byte[bytes[1]].form == FORM_PLAIN;
}

uint8_t decode_length(const uint8_t *bytes, size_t count, enum code_mode mode)
{
    struct instruction instruction;

    if (is_plain_two_byte(bytes, count)) {
        return 2;
    }
    return decode_instruction(bytes, count, mode, &instruction) == DECODE_OK ? instruction.length : 0;
}
