/* SPDX-License-Identifier: MIT */
/*
 * Execution. Every function translates first, then loads and stores, then writes registers and moves rip: whatever
 * faults has changed nothing. Read with emulate_fetch.h (instructions), emulate_memory.h (operands) and emulate_alu.h
 * (flags).
 */
#include "hv/emulate/emulate.h"

#include "hv/core/event.h"
#include "hv/core/guest_io.h"
#include "hv/core/platform_lock.h"
#include "hv/emulate/emulate_alu.h"
#include "hv/emulate/emulate_fetch.h"
#include "hv/emulate/emulate_memory.h"
#include "hv/emulate/emulate_port.h"
#include "hv/emulate/emulate_registers.h"
#include "hv/emulate/emulate_string.h"
#include "hv/emulate/string_io.h"
#include "hv/x86/registers.h"

/* The instruction pointer after the instruction, cut to the width of the code. */
static uint64_t next_rip(const struct vcpu *vcpu, const struct instruction *instruction)
{
    uint64_t next = vcpu->rip + instruction->length;

    return emulate_code_mode(vcpu) == CODE_64 ? next : next & 0xffffffffu;
}

uint64_t emulate_effective_address(const struct vcpu *vcpu, const struct instruction *instruction)
{
    return operand_offset(vcpu, instruction);
}

static bool translate_rm(struct vcpu *vcpu, const struct instruction *instruction, enum guest_access access,
                         struct memory_operand *operand)
{
    return emulate_translate(vcpu, instruction->segment, emulate_effective_address(vcpu, instruction),
                             instruction->rm_bytes, access, operand);
}

/* r/m where it is the only operand in memory: then it is what the fault was about. */
static bool translate_only(struct vcpu *vcpu, const struct instruction *instruction,
                           const struct exit_nested_fault *fault, enum guest_access access,
                           struct memory_operand *operand)
{
    return emulate_translate_fault(vcpu, fault, instruction->segment, emulate_effective_address(vcpu, instruction),
                                   instruction->rm_bytes, access, operand);
}

/* What is not r/m: the immediate or the register. */
static uint64_t other_operand(const struct vcpu *vcpu, const struct instruction *instruction)
{
    return instruction->has_immediate ? instruction->immediate : register_read_operand(vcpu, instruction);
}

static uint64_t swap_bytes(uint64_t value, uint8_t bytes)
{
    return __builtin_bswap64(value) >> (64 - 8u * bytes);
}

/* What a register gets of a value that was read, or memory of a register's. */
static uint64_t converted(const struct instruction *instruction, uint64_t value)
{
    if (instruction->operation == OPERATION_MOVSX) {
        return sign_extend(value, instruction->rm_bytes);
    }
    return instruction->operation == OPERATION_MOVBE ? swap_bytes(value, instruction->rm_bytes) : value;
}

/* MOV, MOVZX, MOVSX, MOVBE. */
static bool do_move(struct vcpu *vcpu, const struct instruction *instruction, const struct exit_nested_fault *fault)
{
    struct memory_operand operand;

    if (!translate_only(vcpu, instruction, fault, instruction->to_reg ? GUEST_READ : GUEST_WRITE, &operand)) {
        return false;
    }
    if (instruction->to_reg) {
        register_write_operand(vcpu, instruction, converted(instruction, emulate_load(vcpu, &operand)));
    } else {
        emulate_store(vcpu, &operand, converted(instruction, other_operand(vcpu, instruction)));
    }
    return true;
}

/* ROL to SAR: by the immediate, which may be an implied 1, or by CL. */
static bool do_shift(struct vcpu *vcpu, const struct instruction *instruction, const struct exit_nested_fault *fault)
{
    uint64_t count = instruction->has_immediate ? instruction->immediate : vcpu->gpr[GPR_RCX];
    struct memory_operand operand;

    if (!translate_only(vcpu, instruction, fault, GUEST_WRITE, &operand)) {
        return false;
    }
    emulate_store(
        vcpu, &operand,
        alu_shift(instruction->operation, emulate_load(vcpu, &operand), count, instruction->rm_bytes, &vcpu->rflags));
    return true;
}

/* AX of AL, else rDX:rAX of rAX. */
static bool do_multiply(struct vcpu *vcpu, const struct instruction *instruction, const struct exit_nested_fault *fault)
{
    bool has_sign = instruction->operation == OPERATION_IMUL_WIDE;
    uint8_t size = instruction->rm_bytes;
    struct memory_operand operand;
    uint64_t low, high;

    if (!translate_only(vcpu, instruction, fault, GUEST_READ, &operand)) {
        return false;
    }
    low = alu_multiply(vcpu->gpr[GPR_RAX], emulate_load(vcpu, &operand), size, has_sign, &high, &vcpu->rflags);
    if (size == 1) {
        register_write(vcpu, GPR_RAX, 2, high << 8 | low);
    } else {
        register_write(vcpu, GPR_RAX, size, low);
        register_write(vcpu, GPR_RDX, size, high);
    }
    return true;
}

/* CMOVcc reads its memory in any case, and clears the upper half of a 64-bit register in any case. */
static bool do_conditional(struct vcpu *vcpu, const struct instruction *instruction,
                           const struct exit_nested_fault *fault)
{
    bool holds = alu_condition(instruction->condition, vcpu->rflags);
    struct memory_operand operand;
    uint64_t value;

    if (!translate_only(vcpu, instruction, fault, instruction->to_reg ? GUEST_READ : GUEST_WRITE, &operand)) {
        return false;
    }
    if (instruction->to_reg) {
        value = emulate_load(vcpu, &operand);
        register_write_operand(vcpu, instruction, holds ? value : register_read_operand(vcpu, instruction));
    } else {
        emulate_store(vcpu, &operand, holds);
    }
    return true;
}

static bool do_store_segment(struct vcpu *vcpu, const struct instruction *instruction,
                             const struct exit_nested_fault *fault)
{
    struct memory_operand operand;

    if (!translate_only(vcpu, instruction, fault, GUEST_WRITE, &operand)) {
        return false;
    }
    emulate_store(vcpu, &operand, vcpu->system.segments[instruction->reg].selector);
    return true;
}

/* CMP and TEST, and arithmetic with a register as destination: memory is only read. */
static bool do_arithmetic_read(struct vcpu *vcpu, const struct instruction *instruction,
                               const struct exit_nested_fault *fault)
{
    struct memory_operand operand;
    uint64_t memory, other, result;

    if (!translate_only(vcpu, instruction, fault, GUEST_READ, &operand)) {
        return false;
    }
    memory = emulate_load(vcpu, &operand);
    other = other_operand(vcpu, instruction);
    if (instruction->to_reg) {
        result = alu_apply(instruction->operation, other, memory, instruction->rm_bytes, &vcpu->rflags);
    } else {
        result = alu_apply(instruction->operation, memory, other, instruction->rm_bytes, &vcpu->rflags);
    }
    if (instruction->operation != OPERATION_CMP && instruction->operation != OPERATION_TEST) {
        register_write_operand(vcpu, instruction, result);
    }
    return true;
}

/* Memory is the destination: one access that reads and writes. The operand of NOT, NEG, INC, DEC is the only one. */
static bool do_arithmetic(struct vcpu *vcpu, const struct instruction *instruction,
                          const struct exit_nested_fault *fault)
{
    bool alone = !instruction->has_immediate && !instruction->has_reg;
    struct memory_operand operand;
    uint64_t other;

    if (instruction->to_reg || instruction->operation == OPERATION_CMP || instruction->operation == OPERATION_TEST) {
        return do_arithmetic_read(vcpu, instruction, fault);
    }
    if (!translate_only(vcpu, instruction, fault, GUEST_WRITE, &operand)) {
        return false;
    }
    other = alone ? 0 : other_operand(vcpu, instruction);
    emulate_store(
        vcpu, &operand,
        alu_apply(instruction->operation, emulate_load(vcpu, &operand), other, instruction->rm_bytes, &vcpu->rflags));
    return true;
}

static bool do_exchange(struct vcpu *vcpu, const struct instruction *instruction, const struct exit_nested_fault *fault)
{
    struct memory_operand operand;
    uint64_t old, mine;

    if (!translate_only(vcpu, instruction, fault, GUEST_WRITE, &operand)) {
        return false;
    }
    old = emulate_load(vcpu, &operand);
    mine = register_read_operand(vcpu, instruction);
    if (instruction->operation == OPERATION_XADD) {
        mine = alu_apply(OPERATION_ADD, old, mine, instruction->rm_bytes, &vcpu->rflags);
    }
    emulate_store(vcpu, &operand, mine);
    register_write_operand(vcpu, instruction, old);
    return true;
}

/* Memory is written in either case, with its own value when the comparison fails. SDM 2A "CMPXCHG". */
static bool do_cmpxchg(struct vcpu *vcpu, const struct instruction *instruction, const struct exit_nested_fault *fault)
{
    uint8_t size = instruction->rm_bytes;
    struct memory_operand operand;
    uint64_t old;

    if (!translate_only(vcpu, instruction, fault, GUEST_WRITE, &operand)) {
        return false;
    }
    old = emulate_load(vcpu, &operand);
    alu_apply(OPERATION_CMP, register_read(vcpu, GPR_RAX, size), old, size, &vcpu->rflags);
    if (vcpu->rflags & FLAG_ZF) {
        emulate_store(vcpu, &operand, register_read_operand(vcpu, instruction));
    } else {
        emulate_store(vcpu, &operand, old);
        register_write(vcpu, GPR_RAX, size, old);
    }
    return true;
}

static bool do_cmpxchg8b(struct vcpu *vcpu, const struct instruction *instruction,
                         const struct exit_nested_fault *fault)
{
    uint64_t expected = register_read(vcpu, GPR_RDX, 4) << 32 | register_read(vcpu, GPR_RAX, 4);
    struct memory_operand operand;
    uint64_t old;

    if (!translate_only(vcpu, instruction, fault, GUEST_WRITE, &operand)) {
        return false;
    }
    old = emulate_load(vcpu, &operand);
    if (old == expected) {
        emulate_store(vcpu, &operand, register_read(vcpu, GPR_RCX, 4) << 32 | register_read(vcpu, GPR_RBX, 4));
        vcpu->rflags |= FLAG_ZF;
        return true;
    }
    emulate_store(vcpu, &operand, old);
    register_write(vcpu, GPR_RAX, 4, old);
    register_write(vcpu, GPR_RDX, 4, old >> 32);
    vcpu->rflags &= ~(uint64_t)FLAG_ZF;
    return true;
}

/* With a register the bit string reaches beyond the operand, in both directions. SDM 2A "BT", SDM 2A 3.1.1.9. */
static bool do_bit(struct vcpu *vcpu, const struct instruction *instruction, const struct exit_nested_fault *fault)
{
    uint8_t size = instruction->rm_bytes;
    uint32_t bits = 8u * size;
    enum guest_access access = instruction->operation == OPERATION_BT ? GUEST_READ : GUEST_WRITE;
    uint64_t number = sign_extend(other_operand(vcpu, instruction), size);
    uint64_t address = emulate_effective_address(vcpu, instruction);
    struct memory_operand operand;
    uint64_t value;

    (void)fault;
    if (instruction->has_reg) {
        uint64_t elements = (uint64_t)((int64_t)number >> __builtin_ctz(bits));

        address = (address + elements * size) & size_mask(instruction->address_bytes);
    }
    if (!emulate_translate(vcpu, instruction->segment, address, size, access, &operand)) {
        return false;
    }
    value =
        alu_bit(instruction->operation, emulate_load(vcpu, &operand), (uint32_t)(number & (bits - 1)), &vcpu->rflags);
    if (access == GUEST_WRITE) {
        emulate_store(vcpu, &operand, value);
    }
    return true;
}

/* SDM 1 6.2.3: the width of the stack pointer is SS.B, in 64-bit mode 64 bits. */
static uint8_t stack_width(const struct vcpu *vcpu)
{
    if (emulate_code_mode(vcpu) == CODE_64) {
        return 8;
    }
    return (vcpu->system.segments[SEGMENT_SS].access & SEGMENT_DB) ? 4 : 2;
}

/* Writes below the stack pointer and moves it. False: the stack faulted and nothing changed. */
static bool push(struct vcpu *vcpu, uint64_t value, uint8_t bytes)
{
    uint8_t width = stack_width(vcpu);
    uint64_t top = (register_read(vcpu, GPR_RSP, width) - bytes) & size_mask(width);
    struct memory_operand stack;

    if (!emulate_translate(vcpu, SEGMENT_SS, top, bytes, GUEST_WRITE, &stack)) {
        return false;
    }
    emulate_store(vcpu, &stack, value);
    register_write(vcpu, GPR_RSP, width, top);
    return true;
}

static bool do_push(struct vcpu *vcpu, const struct instruction *instruction, const struct exit_nested_fault *fault)
{
    struct memory_operand operand;

    (void)fault;
    return translate_rm(vcpu, instruction, GUEST_READ, &operand) &&
           push(vcpu, emulate_load(vcpu, &operand), instruction->rm_bytes);
}

/* An address made with the stack pointer uses its value after the pop. SDM 2B "POP". */
static bool do_pop(struct vcpu *vcpu, const struct instruction *instruction, const struct exit_nested_fault *fault)
{
    uint8_t width = stack_width(vcpu);
    uint64_t before = vcpu->gpr[GPR_RSP];
    struct memory_operand stack, operand;

    (void)fault;
    if (!emulate_translate(vcpu, SEGMENT_SS, register_read(vcpu, GPR_RSP, width), instruction->rm_bytes, GUEST_READ,
                           &stack)) {
        return false;
    }
    register_add(vcpu, GPR_RSP, width, instruction->rm_bytes);
    if (!translate_rm(vcpu, instruction, GUEST_WRITE, &operand)) {
        vcpu->gpr[GPR_RSP] = before;
        return false;
    }
    emulate_store(vcpu, &operand, emulate_load(vcpu, &stack));
    return true;
}

/* A near branch through memory: the target must lie in the code segment, or be canonical. */
static bool branch_target_allowed(const struct vcpu *vcpu, uint64_t target)
{
    return emulate_code_mode(vcpu) == CODE_64 ? emulate_canonical(vcpu, target)
                                              : target <= vcpu->system.segments[SEGMENT_CS].limit;
}

/* Moves rip itself, so it is never "done". */
static bool do_branch(struct vcpu *vcpu, const struct instruction *instruction, const struct exit_nested_fault *fault)
{
    struct memory_operand operand;
    uint64_t target;

    (void)fault;
    if (!translate_rm(vcpu, instruction, GUEST_READ, &operand)) {
        return false;
    }
    target = emulate_load(vcpu, &operand);
    if (!branch_target_allowed(vcpu, target)) {
        emulate_raise_error(vcpu, EXCEPTION_GP, 0);
        return false;
    }
    if (instruction->operation == OPERATION_CALL && !push(vcpu, next_rip(vcpu, instruction), instruction->rm_bytes)) {
        return false;
    }
    vcpu_advance(vcpu, instruction->length);
    vcpu->rip = target;
    return false;
}

/* Goes as far as one exit goes, and moves rip itself. */
static bool do_string(struct vcpu *vcpu, const struct instruction *instruction, const struct exit_nested_fault *fault)
{
    (void)fault;
    emulate_string(vcpu, instruction);
    return false;
}

/* The CPU would have exited for the port, after it had checked it: so it has executed something else. */
static bool do_string_io(struct vcpu *vcpu, const struct instruction *instruction,
                         const struct exit_nested_fault *fault)
{
    uint16_t port = (uint16_t)vcpu->gpr[GPR_RDX];

    (void)fault;
    if (emulate_port_allowed(vcpu, port, instruction->rm_bytes)) {
        string_io_run(vcpu, instruction, port);
    }
    return false;
}

/* Executes one operation. True: it is done, and rip is to be moved past it. False: an exception was raised, or rip is
 * where it belongs. */
typedef bool (*execute_function)(struct vcpu *vcpu, const struct instruction *instruction,
                                 const struct exit_nested_fault *fault);

/* What touches memory in a way that is emulated; no other operation is. */
static const execute_function functions[OPERATION_COUNT] = {
    [OPERATION_ADD] = do_arithmetic,
    [OPERATION_OR] = do_arithmetic,
    [OPERATION_ADC] = do_arithmetic,
    [OPERATION_SBB] = do_arithmetic,
    [OPERATION_AND] = do_arithmetic,
    [OPERATION_SUB] = do_arithmetic,
    [OPERATION_XOR] = do_arithmetic,
    [OPERATION_CMP] = do_arithmetic,
    [OPERATION_TEST] = do_arithmetic,
    [OPERATION_NOT] = do_arithmetic,
    [OPERATION_NEG] = do_arithmetic,
    [OPERATION_INC] = do_arithmetic,
    [OPERATION_DEC] = do_arithmetic,
    [OPERATION_IMUL] = do_arithmetic,
    [OPERATION_ROL] = do_shift,
    [OPERATION_ROR] = do_shift,
    [OPERATION_RCL] = do_shift,
    [OPERATION_RCR] = do_shift,
    [OPERATION_SHL] = do_shift,
    [OPERATION_SHR] = do_shift,
    [OPERATION_SAR] = do_shift,
    [OPERATION_MUL] = do_multiply,
    [OPERATION_IMUL_WIDE] = do_multiply,
    [OPERATION_MOV] = do_move,
    [OPERATION_MOVZX] = do_move,
    [OPERATION_MOVSX] = do_move,
    [OPERATION_MOVBE] = do_move,
    [OPERATION_STORE_SEGMENT] = do_store_segment,
    [OPERATION_SETCC] = do_conditional,
    [OPERATION_CMOVCC] = do_conditional,
    [OPERATION_XCHG] = do_exchange,
    [OPERATION_XADD] = do_exchange,
    [OPERATION_CMPXCHG] = do_cmpxchg,
    [OPERATION_CMPXCHG8B] = do_cmpxchg8b,
    [OPERATION_BT] = do_bit,
    [OPERATION_BTS] = do_bit,
    [OPERATION_BTR] = do_bit,
    [OPERATION_BTC] = do_bit,
    [OPERATION_PUSH] = do_push,
    [OPERATION_POP] = do_pop,
    [OPERATION_CALL] = do_branch,
    [OPERATION_JMP] = do_branch,
    [OPERATION_MOVS] = do_string,
    [OPERATION_CMPS] = do_string,
    [OPERATION_STOS] = do_string,
    [OPERATION_LODS] = do_string,
    [OPERATION_SCAS] = do_string,
    [OPERATION_INS] = do_string_io,
    [OPERATION_OUTS] = do_string_io,
};

/* The function for an instruction with an operand in memory; a string's is in no r/m. NULL: it is not emulated. */
static execute_function find_function(const struct instruction *instruction)
{
    execute_function function = functions[instruction->operation];

    return instruction->memory || function == do_string || function == do_string_io ? function : NULL;
}

static void fail_undecodable(struct vcpu *vcpu, const struct exit_nested_fault *fault, const struct fetched *fetched)
{
    char text[FETCHED_TEXT_MAX];

    guest_fail(vcpu, GUEST_CODE_UNDECODABLE,
               "%s guest-physical 0x%" PRIx64
               ", which is no memory, with an instruction that is not emulated: %s at rip "
               "0x%" PRIx64 "; docs/instruction-decoder.md lists the forms",
               fault->write ? "writes" : "reads", fault->address.value, emulate_bytes_text(fetched, text), vcpu->rip);
}

/* What no emulation of the instruction at rip can answer. A first fetch from RAM needs none: it comes again. */
static bool fault_ends_here(struct vcpu *vcpu, const struct exit_nested_fault *fault)
{
    if (vcpu->pending.valid) {
        guest_fail(vcpu, GUEST_CODE_BAD_STATE,
                   "the delivery of vector %u touches guest-physical 0x%" PRIx64 ", which is not memory",
                   vcpu->pending.vector, fault->address.value);
        return true;
    }
    if (fault->fetch && !fault->table_walk) {
        struct small_code *code = vcpu->guest->small_code;

        if (code != NULL && small_code_open(code, fault->address)) {
            return true;
        }
        guest_fail(vcpu, GUEST_CODE_FETCH,
                   "executes at guest-physical 0x%" PRIx64 " (rip 0x%" PRIx64
                   "), where there is no memory: give the guest more memory, or look for a wild jump",
                   fault->address.value, vcpu->rip);
        return true;
    }
    return false;
}

void emulate_nested_fault(struct vcpu *vcpu, const struct exit_nested_fault *fault)
{
    struct fetched fetched;
    enum fetch_result result;
    execute_function execute;

    if (fault_ends_here(vcpu, fault)) {
        return;
    }
    result = emulate_fetch(vcpu, &fetched);
    if (result == FETCH_RAISED) {
        return;
    }
    execute = result == FETCH_OK ? find_function(&fetched.instruction) : NULL;
    if (execute == NULL) {
        fail_undecodable(vcpu, fault, &fetched);
    } else if (execute(vcpu, &fetched.instruction, fault)) {
        vcpu_advance(vcpu, fetched.instruction.length);
    }
}

/* No fault has told where the operand lies: all of it is translated here. */
bool emulate_instruction(struct vcpu *vcpu, const struct instruction *instruction)
{
    const struct exit_nested_fault none = {.table_walk = true};
    execute_function execute = find_function(instruction);

    if (execute == NULL) {
        return false;
    }
    if (execute(vcpu, instruction, &none)) {
        vcpu_advance(vcpu, instruction->length);
    }
    return true;
}

static bool read_lmsw_source(struct vcpu *vcpu, const struct instruction *instruction, uint16_t *source)
{
    struct memory_operand operand;

    if (!instruction->memory) {
        *source = (uint16_t)vcpu->gpr[instruction->rm];
        return true;
    }
    if (!translate_rm(vcpu, instruction, GUEST_READ, &operand)) {
        return false;
    }
    *source = (uint16_t)emulate_load(vcpu, &operand);
    return true;
}

/* To memory it is always a word. SDM 2B "SMSW". */
static bool take_smsw(struct vcpu *vcpu, const struct instruction *instruction, struct exit_cr_access *access)
{
    struct instruction word = *instruction;
    struct memory_operand operand;

    *access = (struct exit_cr_access){.smsw = true, .gpr = instruction->rm, .smsw_bytes = instruction->rm_bytes};
    if (!instruction->memory) {
        return true;
    }
    word.rm_bytes = 2;
    access->smsw_bytes = 0;
    if (vcpu->system.cpl != 0 && (vcpu->system.cr4 & CR4_UMIP) != 0) {
        return true; /* refused by cr_access() */
    }
    if (!translate_rm(vcpu, &word, GUEST_WRITE, &operand)) {
        return false;
    }
    emulate_store(vcpu, &operand, vcpu->system.cr0);
    return true;
}

static bool decode_cr(struct vcpu *vcpu, struct exit_cr_access *access, uint8_t *length)
{
    struct fetched fetched;
    const struct instruction *instruction = &fetched.instruction;

    if (emulate_fetch(vcpu, &fetched) != FETCH_OK) {
        return false;
    }
    *length = instruction->length;
    *access = (struct exit_cr_access){.write = true};
    if (instruction->operation == OPERATION_MOV_CR) {
        access->number = instruction->reg;
        access->write = instruction->to_reg;
        access->gpr = instruction->rm;
        return true;
    }
    if (instruction->operation == OPERATION_SMSW) {
        return take_smsw(vcpu, instruction, access);
    }
    access->clts = instruction->operation == OPERATION_CLTS;
    access->lmsw = instruction->operation == OPERATION_LMSW;
    return access->clts || (access->lmsw && read_lmsw_source(vcpu, instruction, &access->lmsw_source));
}

/* An address that is not canonical, or outside of its segment, is no fault. SDM 2A "INVLPG". */
bool emulate_decode_invlpg(struct vcpu *vcpu, uint64_t *linear, uint8_t *length)
{
    struct fetched fetched;

    if (emulate_fetch(vcpu, &fetched) != FETCH_OK || fetched.instruction.operation != OPERATION_INVLPG) {
        return false;
    }
    (void)emulate_linear(vcpu, fetched.instruction.segment, emulate_effective_address(vcpu, &fetched.instruction), 1,
                         GUEST_READ, linear);
    *length = fetched.instruction.length;
    return true;
}

/* An LMSW that found its operand in a device has read it by now; without a dispatch none lets go of the device. */
bool emulate_decode_cr(struct vcpu *vcpu, struct exit_cr_access *access, uint8_t *length)
{
    bool decoded = decode_cr(vcpu, access, length);

    guest_release(vcpu);
    return decoded;
}
