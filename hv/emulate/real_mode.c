/* SPDX-License-Identifier: MIT */
#include "hv/emulate/real_mode.h"

#include "hv/core/event.h"
#include "hv/emulate/emulate.h"
#include "hv/emulate/emulate_alu.h"
#include "hv/emulate/emulate_fetch.h"
#include "hv/emulate/emulate_memory.h"
#include "hv/emulate/emulate_registers.h"
#include "hv/x86/registers.h"

/* What a segment register has in real mode, beside the selector. SDM 3B 21.1.1 "Address Translation in Real-Address
 * Mode". */
#define ACCESS_DATA 0x93u
#define LIMIT_64K 0xffffu
#define SELECTOR_SHIFT 4u

/* Of a frame that IRET and POPF take: all but VM and what they leave. SDM 2A "IRET", 2B "POPF". */
#define FLAGS_WORD 0x7fd5ULL
#define FLAGS_DOUBLE (FLAGS_WORD | 0x250000ULL) /* and RF, AC, ID */

#define VECTOR_BYTES 4u
#define PSEUDO_DESCRIPTOR_BASE 2u /* behind the limit. SDM 3A 3.5.1 "Segment Descriptor Tables" */
#define BASE_24_BITS 0xffffffu
#define OPCODE_PUSHF 0x9cu
#define OPCODE_POPF 0x9du
#define OPCODE_HLT 0xf4u
#define OPCODE_STI 0xfbu
#define PREFIXES_PEEKED 3u
#define MODRM_REG(byte) ((byte) >> 3 & 7u)
#define MODRM_IS_REGISTER(byte) ((byte) >= 0xc0u)

/* The instruction at CS:IP, as far as its opcode. */
struct code {
    struct fetched fetched;
    bool decoded;    /* fetched.instruction is meaningful */
    uint8_t at;      /* of the last byte of the opcode */
    uint16_t opcode; /* 0x0f.. where it has two bytes */
    uint8_t operand; /* bytes: 2, 4 */
    bool rep;
};

/* SDM 2A 2.1.1 "Instruction Prefixes". */
static bool take_prefix(struct code *code, uint8_t byte)
{
    switch (byte) {
    case 0x66:
        code->operand = 6 - code->operand;
        return true;
    case 0xf2:
    case 0xf3:
        code->rep = true;
        return true;
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
    case 0x64:
    case 0x65:
    case 0x67:
    case 0xf0:
        return true;
    default:
        return false;
    }
}

/* False: an exception was raised, or the guest has failed, or there are only prefixes. */
static bool take_code(struct vcpu *vcpu, struct code *code)
{
    enum fetch_result result = emulate_fetch(vcpu, &code->fetched);
    bool repeated_66 = false;
    uint8_t at = 0;

    if (result == FETCH_RAISED) {
        return false;
    }
    code->decoded = result == FETCH_OK;
    code->operand = emulate_code_mode(vcpu) == CODE_16 ? 2 : 4;
    code->rep = false;
    while (at + 2u < code->fetched.count) {
        uint8_t byte = code->fetched.bytes[at];

        if (byte == 0x66 && repeated_66) {
            code->operand = 6 - code->operand; /* it counts once */
        }
        repeated_66 |= byte == 0x66;
        if (!take_prefix(code, byte)) {
            break;
        }
        at++;
    }
    code->opcode = code->fetched.bytes[at];
    if (code->opcode == 0x0f) {
        at++;
        code->opcode = (uint16_t)(0x0f00u | code->fetched.bytes[at]);
    }
    code->at = at;
    return true;
}

static uint8_t byte_after(const struct code *code, uint32_t bytes)
{
    return code->at + bytes < code->fetched.count ? code->fetched.bytes[code->at + bytes] : 0;
}

/* --- segments and branches --- */

static void set_segment(struct vcpu *vcpu, uint32_t index, uint16_t selector)
{
    struct segment *segment = &vcpu->system.segments[index];

    if ((segment->access & SEGMENT_UNUSABLE) != 0) {
        segment->access = ACCESS_DATA;
        segment->limit = LIMIT_64K;
    }
    segment->selector = selector;
    segment->base = (uint64_t)selector << SELECTOR_SHIFT;
    vcpu->requests |= VCPU_SYSTEM_WRITE;
}

static enum real_result raise_protection(struct vcpu *vcpu)
{
    vcpu_raise(vcpu, EXCEPTION_GP);
    return REAL_DONE;
}

static enum real_result go_to(struct vcpu *vcpu, const struct code *code, uint8_t length, uint16_t selector,
                              uint64_t offset)
{
    (void)code;
    if (offset > vcpu->system.segments[SEGMENT_CS].limit) {
        return raise_protection(vcpu);
    }
    vcpu_advance(vcpu, length);
    set_segment(vcpu, SEGMENT_CS, selector);
    vcpu->rip = offset;
    return REAL_DONE;
}

static uint8_t stack_width(const struct vcpu *vcpu)
{
    return (vcpu->system.segments[SEGMENT_SS].access & SEGMENT_DB) != 0 ? 4 : 2;
}

/* What lies so far above the top of the stack. False: an exception was raised. */
static bool peek_stack(struct vcpu *vcpu, uint32_t above, uint8_t bytes, uint64_t *value)
{
    uint8_t width = stack_width(vcpu);
    struct memory_operand operand;

    if (!emulate_translate(vcpu, SEGMENT_SS, (vcpu->gpr[GPR_RSP] + above) & size_mask(width), bytes, GUEST_READ,
                           &operand)) {
        return false;
    }
    *value = emulate_load(vcpu, &operand);
    return true;
}

/* So many values of `bytes` each, the first one highest. False: nothing has changed, and an exception was raised. */
static bool push_all(struct vcpu *vcpu, const uint64_t *values, uint32_t count, uint8_t bytes)
{
    uint8_t width = stack_width(vcpu);
    struct memory_operand operands[3];

    for (uint32_t i = 0; i < count; i++) {
        uint64_t at = (vcpu->gpr[GPR_RSP] - (i + 1) * bytes) & size_mask(width);

        if (!emulate_translate(vcpu, SEGMENT_SS, at, bytes, GUEST_WRITE, &operands[i])) {
            return false;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        emulate_store(vcpu, &operands[i], values[i]);
    }
    register_add(vcpu, GPR_RSP, width, 0 - (uint64_t)count * bytes);
    return true;
}

bool real_mode_deliver(struct vcpu *vcpu, uint8_t vector, uint64_t return_ip)
{
    const struct table_register *table = &vcpu->system.idtr;
    const uint64_t frame[] = {vcpu->rflags, vcpu->system.segments[SEGMENT_CS].selector, return_ip};
    uint16_t handler[2];

    if (vector * VECTOR_BYTES + VECTOR_BYTES - 1 > table->limit ||
        !guest_memory_read(&vcpu->guest->memory, gpa(table->base + vector * VECTOR_BYTES), handler, sizeof(handler)) ||
        !push_all(vcpu, frame, ARRAY_COUNT(frame), 2)) {
        return false;
    }
    set_segment(vcpu, SEGMENT_CS, handler[1]);
    vcpu->rip = handler[0];
    vcpu->rflags &= ~(RFLAGS_IF | RFLAGS_TF | RFLAGS_AC | RFLAGS_RF);
    return true;
}

static enum real_result interrupt(struct vcpu *vcpu, uint8_t vector, uint8_t length)
{
    if (!real_mode_deliver(vcpu, vector, (vcpu->rip + length) & LIMIT_64K)) {
        vcpu->pending.valid = false;
        return raise_protection(vcpu);
    }
    return REAL_DONE;
}

static void take_flags(struct vcpu *vcpu, uint64_t value, uint8_t bytes)
{
    uint64_t taken = bytes == 2 ? FLAGS_WORD : FLAGS_DOUBLE;

    vcpu->rflags = (vcpu->rflags & ~taken) | (value & taken) | RFLAGS_FIXED;
    vcpu->requests |= VCPU_EVENT; /* IF may be set now */
}

/* IP, CS and, of an IRET, FLAGS. `more` bytes go beside them. SDM 2A "IRET", 2B "RET". */
static enum real_result far_return(struct vcpu *vcpu, const struct code *code, uint32_t values, uint32_t more,
                                   uint8_t length)
{
    uint64_t popped[3] = {0};

    for (uint32_t i = 0; i < values; i++) {
        if (!peek_stack(vcpu, i * code->operand, code->operand, &popped[i])) {
            return REAL_DONE;
        }
    }
    if (popped[0] > vcpu->system.segments[SEGMENT_CS].limit) {
        return raise_protection(vcpu);
    }
    register_add(vcpu, GPR_RSP, stack_width(vcpu), values * code->operand + more);
    (void)go_to(vcpu, code, length, (uint16_t)popped[1], popped[0]);
    if (values == 3) {
        take_flags(vcpu, popped[2], code->operand);
        return REAL_RETURNED;
    }
    return REAL_DONE;
}

static enum real_result pop_segment(struct vcpu *vcpu, const struct code *code, uint32_t index, uint8_t length)
{
    uint64_t selector;

    if (!peek_stack(vcpu, 0, 2, &selector)) {
        return REAL_DONE;
    }
    register_add(vcpu, GPR_RSP, stack_width(vcpu), code->operand);
    set_segment(vcpu, index, (uint16_t)selector);
    vcpu_advance(vcpu, length);
    return REAL_DONE;
}

static enum real_result push_flags(struct vcpu *vcpu, const struct code *code, uint8_t length)
{
    const uint64_t flags = vcpu->rflags & ~(RFLAGS_VM | RFLAGS_RF);

    if (push_all(vcpu, &flags, 1, code->operand)) {
        vcpu_advance(vcpu, length);
    }
    return REAL_DONE;
}

static enum real_result pop_flags(struct vcpu *vcpu, const struct code *code, uint8_t length)
{
    uint64_t flags;

    if (peek_stack(vcpu, 0, code->operand, &flags)) {
        register_add(vcpu, GPR_RSP, stack_width(vcpu), code->operand);
        vcpu_advance(vcpu, length);
        take_flags(vcpu, flags, code->operand);
    }
    return REAL_DONE;
}

static enum real_result disable_interrupts(struct vcpu *vcpu, uint8_t length)
{
    vcpu_advance(vcpu, length);
    vcpu->rflags &= ~RFLAGS_IF;
    vcpu->requests |= VCPU_EVENT;
    return REAL_DONE;
}

/* With a HLT behind it, in one: no interrupt may come between the two, and a vendor that steps has no shadows. */
static enum real_result enable_interrupts(struct vcpu *vcpu, struct vm_exit *exit, const struct code *code,
                                          uint8_t length)
{
    bool was = (vcpu->rflags & RFLAGS_IF) != 0;

    vcpu_advance(vcpu, length);
    vcpu->rflags |= RFLAGS_IF;
    vcpu->requests |= VCPU_EVENT;
    if (byte_after(code, 1) == OPCODE_HLT && (vcpu->rflags & RFLAGS_TF) == 0) {
        *exit = (struct vm_exit){.kind = EXIT_HLT, .raw = OPCODE_HLT, .length = 1};
        return REAL_EXIT;
    }
    return was ? REAL_DONE : REAL_ENABLED;
}

/* --- with an operand in memory --- */

/* The decoder does not claim loads of segment registers. With MOV in their place the operands are the same. */
static bool decode_as_move(const struct vcpu *vcpu, const struct code *code, struct instruction *instruction)
{
    uint8_t bytes[INSTRUCTION_BYTES_MAX];

    for (uint32_t i = 0; i < code->fetched.count; i++) {
        bytes[i] = code->fetched.bytes[i];
    }
    bytes[code->at] = code->opcode > 0xffu ? 0xb7 /* MOVZX */ : 0x8b /* MOV */;
    return decode_instruction(bytes, code->fetched.count, emulate_code_mode(vcpu), instruction) == DECODE_OK;
}

static bool load_at(struct vcpu *vcpu, const struct instruction *instruction, uint32_t above, uint8_t bytes,
                    uint64_t *value)
{
    uint64_t address = (emulate_effective_address(vcpu, instruction) + above) & size_mask(instruction->address_bytes);
    struct memory_operand operand;

    if (!emulate_translate(vcpu, instruction->segment, address, bytes, GUEST_READ, &operand)) {
        return false;
    }
    *value = emulate_load(vcpu, &operand);
    return true;
}

/* MOV Sreg. */
static enum real_result load_segment(struct vcpu *vcpu, const struct code *code)
{
    struct instruction instruction;
    uint64_t selector;
    uint8_t index = MODRM_REG(byte_after(code, 1));

    if (index == SEGMENT_CS || index > SEGMENT_GS || !decode_as_move(vcpu, code, &instruction)) {
        return REAL_FAULT;
    }
    selector = vcpu->gpr[instruction.rm];
    if (instruction.memory && !load_at(vcpu, &instruction, 0, 2, &selector)) {
        return REAL_DONE;
    }
    set_segment(vcpu, index, (uint16_t)selector);
    vcpu_advance(vcpu, instruction.length);
    return REAL_DONE;
}

/* LES, LDS, LSS, LFS, LGS. */
static enum real_result load_far_pointer(struct vcpu *vcpu, const struct code *code, uint32_t index)
{
    struct instruction instruction;
    uint64_t offset, selector;

    if (!decode_as_move(vcpu, code, &instruction) || !instruction.memory) {
        return REAL_FAULT;
    }
    if (!load_at(vcpu, &instruction, 0, code->operand, &offset) ||
        !load_at(vcpu, &instruction, code->operand, 2, &selector)) {
        return REAL_DONE;
    }
    register_write(vcpu, instruction.reg, code->operand, offset);
    set_segment(vcpu, index, (uint16_t)selector);
    vcpu_advance(vcpu, instruction.length);
    return REAL_DONE;
}

static enum real_result far_branch(struct vcpu *vcpu, const struct code *code, bool call, uint16_t selector,
                                   uint64_t offset)
{
    uint8_t length = code->fetched.instruction.length;
    const uint64_t frame[] = {vcpu->system.segments[SEGMENT_CS].selector, vcpu->rip + length};

    if (offset > vcpu->system.segments[SEGMENT_CS].limit) {
        return raise_protection(vcpu);
    }
    if (call && !push_all(vcpu, frame, ARRAY_COUNT(frame), code->operand)) {
        return REAL_DONE;
    }
    return go_to(vcpu, code, length, selector, offset);
}

/* Through memory: /3 is CALL, /5 is JMP. */
static enum real_result far_branch_memory(struct vcpu *vcpu, const struct code *code)
{
    uint8_t reg = MODRM_REG(byte_after(code, 1));
    uint64_t offset, selector;

    if (!code->decoded || !code->fetched.instruction.memory || (reg != 3 && reg != 5)) {
        return REAL_FAULT;
    }
    if (!load_at(vcpu, &code->fetched.instruction, 0, code->operand, &offset) ||
        !load_at(vcpu, &code->fetched.instruction, code->operand, 2, &selector)) {
        return REAL_DONE;
    }
    return far_branch(vcpu, code, reg == 3, (uint16_t)selector, offset);
}

/* The offset, and behind it the selector. */
static enum real_result far_branch_immediate(struct vcpu *vcpu, const struct code *code)
{
    uint32_t selector = byte_after(code, code->operand + 1u) | (uint32_t)byte_after(code, code->operand + 2u) << 8;
    uint64_t offset = 0;

    for (uint32_t i = code->operand; i > 0; i--) {
        offset = offset << 8 | byte_after(code, i);
    }
    return code->decoded ? far_branch(vcpu, code, code->opcode == 0x9a, (uint16_t)selector, offset) : REAL_FAULT;
}

/* LGDT and LIDT: the operand size says how much of the base counts. SDM 2A "LGDT/LIDT". */
static enum real_result load_table(struct vcpu *vcpu, const struct code *code, struct table_register *table)
{
    const struct instruction *instruction = &code->fetched.instruction;
    uint64_t limit, base;

    if (!load_at(vcpu, instruction, 0, 2, &limit) || !load_at(vcpu, instruction, PSEUDO_DESCRIPTOR_BASE, 4, &base)) {
        return REAL_DONE;
    }
    *table = (struct table_register){code->operand == 2 ? base & BASE_24_BITS : base, (uint16_t)limit};
    vcpu->requests |= VCPU_SYSTEM_WRITE;
    vcpu_advance(vcpu, instruction->length);
    return REAL_DONE;
}

/* --- what exits of a CPU in real mode would be --- */

static enum real_result exit_of(struct vm_exit *exit, const struct code *code, enum exit_kind kind)
{
    exit->kind = kind;
    exit->raw = code->opcode;
    exit->length = code->fetched.instruction.length;
    return code->decoded ? REAL_EXIT : REAL_FAULT;
}

/* The lowest bit of the opcode says whether it is one byte, the one above it the direction; 0xe4 to 0xe7 have the port
 * in a byte. */
static enum real_result port_of(const struct vcpu *vcpu, struct vm_exit *exit, const struct code *code)
{
    bool string = code->opcode <= 0x6f;

    exit->io = (struct exit_io){
        .port = code->opcode >= 0xe4 && code->opcode <= 0xe7 ? byte_after(code, 1) : (uint16_t)vcpu->gpr[GPR_RDX],
        .size = (code->opcode & 1u) != 0 ? code->operand : 1,
        .in = (code->opcode & 2u) == 0,
        .string = string,
        .rep = string && code->rep,
    };
    return exit_of(exit, code, EXIT_IO);
}

static enum real_result control_register(struct vcpu *vcpu, struct vm_exit *exit, const struct code *code)
{
    struct exit_cr_access access;
    uint8_t length;

    if (!emulate_decode_cr(vcpu, &access, &length)) {
        return vcpu->pending.valid ? REAL_DONE : REAL_FAULT;
    }
    exit->cr = access;
    return exit_of(exit, code, EXIT_CR_ACCESS);
}

/* Group 7. SDM 2D A.4, table A-6. */
static enum real_result group_7(struct vcpu *vcpu, struct vm_exit *exit, const struct code *code)
{
    uint8_t modrm = byte_after(code, 1);

    if (modrm == 0xd1) {
        return exit_of(exit, code, EXIT_XSETBV);
    }
    switch (MODRM_REG(modrm)) {
    case 2:
    case 3:
        if (!code->decoded || MODRM_IS_REGISTER(modrm)) {
            return REAL_FAULT;
        }
        return load_table(vcpu, code, MODRM_REG(modrm) == 2 ? &vcpu->system.gdtr : &vcpu->system.idtr);
    case 6:
        return control_register(vcpu, exit, code);
    case 7:
        return MODRM_IS_REGISTER(modrm) ? REAL_FAULT : exit_of(exit, code, EXIT_NOTHING);
    default:
        return REAL_FAULT;
    }
}

static enum real_result two_bytes(struct vcpu *vcpu, struct vm_exit *exit, const struct code *code)
{
    char text[FETCHED_TEXT_MAX];

    switch (code->opcode & 0xffu) {
    case 0x01:
        return group_7(vcpu, exit, code);
    case 0x06:
    case 0x20:
    case 0x22:
        return control_register(vcpu, exit, code);
    case 0x08:
    case 0x09:
        return exit_of(exit, code, EXIT_WBINVD);
    case 0x21:
    case 0x23:
        guest_fail(vcpu, GUEST_CODE_REAL_MODE,
                   "uses a debug register in real mode, which is not emulated: %s at rip 0x%" PRIx64,
                   emulate_bytes_text(&code->fetched, text), vcpu->rip);
        return REAL_DONE;
    case 0x30:
        return exit_of(exit, code, EXIT_WRMSR);
    case 0x32:
        return exit_of(exit, code, EXIT_RDMSR);
    case 0x33:
        return exit_of(exit, code, EXIT_RDPMC);
    case 0xa1:
        return pop_segment(vcpu, code, SEGMENT_FS, (uint8_t)(code->at + 1));
    case 0xa9:
        return pop_segment(vcpu, code, SEGMENT_GS, (uint8_t)(code->at + 1));
    case 0xb2:
        return load_far_pointer(vcpu, code, SEGMENT_SS);
    case 0xb4:
        return load_far_pointer(vcpu, code, SEGMENT_FS);
    case 0xb5:
        return load_far_pointer(vcpu, code, SEGMENT_GS);
    default:
        return REAL_FAULT;
    }
}

/* Those that return, and those that interrupt. */
static enum real_result interrupt_opcode(struct vcpu *vcpu, const struct code *code, uint8_t length)
{
    switch (code->opcode) {
    case 0xca:
        return far_return(vcpu, code, 2, byte_after(code, 1) | (uint32_t)byte_after(code, 2) << 8, length + 2);
    case 0xcb:
        return far_return(vcpu, code, 2, 0, length);
    case 0xcc:
        return interrupt(vcpu, EXCEPTION_BP, length);
    case 0xcd:
        return interrupt(vcpu, byte_after(code, 1), length + 1);
    case 0xce:
        if ((vcpu->rflags & FLAG_OF) == 0) {
            vcpu_advance(vcpu, length);
            return REAL_DONE;
        }
        return interrupt(vcpu, EXCEPTION_OF, length);
    case 0xcf:
        return far_return(vcpu, code, 3, 0, length);
    case 0xf1:
        return interrupt(vcpu, EXCEPTION_DB, length);
    default:
        return REAL_FAULT;
    }
}

static enum real_result one_byte(struct vcpu *vcpu, struct vm_exit *exit, const struct code *code)
{
    uint8_t length = (uint8_t)(code->at + 1);

    switch (code->opcode) {
    case 0x07:
        return pop_segment(vcpu, code, SEGMENT_ES, length);
    case 0x17:
        return pop_segment(vcpu, code, SEGMENT_SS, length);
    case 0x1f:
        return pop_segment(vcpu, code, SEGMENT_DS, length);
    case 0x6c ... 0x6f:
    case 0xe4 ... 0xe7:
    case 0xec ... 0xef:
        return port_of(vcpu, exit, code);
    case 0x8e:
        return load_segment(vcpu, code);
    case 0x9a:
    case 0xea:
        return far_branch_immediate(vcpu, code);
    case 0x9c:
        return push_flags(vcpu, code, length);
    case 0x9d:
        return pop_flags(vcpu, code, length);
    case 0xc4:
        return load_far_pointer(vcpu, code, SEGMENT_ES);
    case 0xc5:
        return load_far_pointer(vcpu, code, SEGMENT_DS);
    case OPCODE_HLT:
        return exit_of(exit, code, EXIT_HLT);
    case 0xfa:
        return disable_interrupts(vcpu, length);
    case OPCODE_STI:
        return enable_interrupts(vcpu, exit, code, length);
    case 0xff:
        return far_branch_memory(vcpu, code);
    default:
        return interrupt_opcode(vcpu, code, length);
    }
}

/* Protected mode does not let code write to its own segment, and real mode does. */
static bool may_write_code_segment(const struct code *code)
{
    return code->decoded && code->fetched.instruction.memory && code->fetched.instruction.segment == SEGMENT_CS;
}

enum real_result real_mode_execute(struct vcpu *vcpu, struct vm_exit *exit)
{
    enum real_result result;
    struct code code;

    if (!take_code(vcpu, &code)) {
        return REAL_DONE;
    }
    result = code.opcode > 0xffu ? two_bytes(vcpu, exit, &code) : one_byte(vcpu, exit, &code);
    if (result == REAL_FAULT && may_write_code_segment(&code) && emulate_instruction(vcpu, &code.fetched.instruction)) {
        return REAL_DONE;
    }
    return result;
}

bool real_mode_shows_flags(struct vcpu *vcpu)
{
    uint8_t bytes[PREFIXES_PEEKED + 2] = {0};
    struct code prefixes = {0};
    uint32_t at = 0;

    if (!emulate_peek(vcpu, emulate_fetch_address(vcpu), false, bytes, sizeof(bytes))) {
        return false;
    }
    while (at < PREFIXES_PEEKED && take_prefix(&prefixes, bytes[at])) {
        at++;
    }
    return bytes[at] == OPCODE_PUSHF || bytes[at] == OPCODE_POPF ||
           (bytes[at] == OPCODE_STI && bytes[at + 1] == OPCODE_HLT);
}
