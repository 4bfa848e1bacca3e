/* SPDX-License-Identifier: MIT */
#include "hv/report/crash_cause.h"

#include "hv/base/format.h"
#include "hv/core/vm_exit.h"
#include "hv/report/crash_report.h"
#include "hv/x86/decode.h"
#include "hv/x86/registers.h"

enum touch {
    TOUCH_READ,
    TOUCH_WRITE,
    TOUCH_EXECUTE,
};

static const char *const touch_names[] = {
    [TOUCH_READ] = "reading", [TOUCH_WRITE] = "writing", [TOUCH_EXECUTE] = "executing"};

/* --- What the guest's MMU would say --- */

/* Bits of page-table entries. SDM 3A 4.5.4, table 4-20. */
#define ENTRY_WRITABLE 0x02ULL
#define ENTRY_USER 0x04ULL
#define ENTRY_NO_EXECUTE (1ULL << 63)
#define USER_CPL 3u

struct rights {
    bool mapped, writable, user, no_execute;
};

static bool long_mode(const struct vcpu *vcpu)
{
    return (vcpu->system.efer & EFER_LMA) != 0;
}

static bool code_64(const struct vcpu *vcpu)
{
    return long_mode(vcpu) && (vcpu->system.segments[SEGMENT_CS].access & SEGMENT_L) != 0;
}

static struct rights rights_of(const struct vcpu *vcpu, uint64_t linear)
{
    struct rights rights = {.mapped = true, .writable = true, .user = true};
    bool pae_pointers = !long_mode(vcpu) && (vcpu->system.cr4 & CR4_PAE) != 0;
    struct crash_walk walk;

    crash_report_walk(vcpu, linear, &walk);
    rights.mapped = walk.end == CRASH_WALK_MAPPED;
    for (uint32_t i = pae_pointers ? 1 : 0; i < walk.count; i++) {
        rights.writable = rights.writable && (walk.steps[i].entry & ENTRY_WRITABLE) != 0;
        rights.user = rights.user && (walk.steps[i].entry & ENTRY_USER) != 0;
        rights.no_execute = rights.no_execute || (walk.steps[i].entry & ENTRY_NO_EXECUTE) != 0;
    }
    return rights;
}

static bool page_faults(const struct vcpu *vcpu, uint64_t linear, enum touch touch, bool user)
{
    const struct vcpu_system *system = &vcpu->system;
    struct rights rights = rights_of(vcpu, linear);

    if ((system->cr0 & CR0_PG) == 0) {
        return false;
    }
    if (!rights.mapped || (user && !rights.user)) {
        return true;
    }
    if (touch == TOUCH_WRITE && !rights.writable && (user || (system->cr0 & CR0_WP) != 0)) {
        return true;
    }
    if (touch == TOUCH_EXECUTE) {
        return (rights.no_execute && (system->efer & EFER_NXE) != 0) ||
               (!user && rights.user && (system->cr4 & CR4_SMEP) != 0);
    }
    return !user && rights.user && (system->cr4 & CR4_SMAP) != 0 && (vcpu->rflags & RFLAGS_AC) == 0;
}

static bool is_canonical(const struct vcpu *vcpu, uint64_t linear)
{
    uint32_t unused = (vcpu->system.cr4 & CR4_LA57) != 0 ? 7 : 16;

    return !long_mode(vcpu) || (uint64_t)((int64_t)(linear << unused) >> unused) == linear;
}

static bool is_user(const struct vcpu *vcpu)
{
    return vcpu->system.cpl == USER_CPL;
}

/* Linear memory as it is, whatever the rights. */
static bool read_linear(const struct vcpu *vcpu, uint64_t linear, void *to, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        struct crash_walk walk;

        crash_report_walk(vcpu, linear + i, &walk);
        if (walk.end != CRASH_WALK_MAPPED ||
            !guest_memory_read(&vcpu->guest->memory, walk.address, (uint8_t *)to + i, 1)) {
            return false;
        }
    }
    return true;
}

/* --- The exception --- */

static void found(struct crash_cause *cause, uint8_t vector, const char *detail)
{
    *cause = (struct crash_cause){.vector = vector, .detail = detail};
}

/* True where touching the address faults: a page fault, or a general protection where the address is not canonical. */
static bool check_touch(const struct vcpu *vcpu, uint64_t linear, enum touch touch, struct crash_cause *cause)
{
    if (!is_canonical(vcpu, linear)) {
        found(cause, EXCEPTION_GP, "of an address that is not canonical");
        return true;
    }
    if (page_faults(vcpu, linear, touch, is_user(vcpu))) {
        *cause = (struct crash_cause){
            .vector = EXCEPTION_PF, .has_address = true, .address = linear, .access = touch_names[touch]};
        return true;
    }
    return false;
}

static uint64_t segment_base(const struct vcpu *vcpu, uint8_t segment)
{
    return code_64(vcpu) && segment != SEGMENT_FS && segment != SEGMENT_GS ? 0 : vcpu->system.segments[segment].base;
}

static uint64_t linear_of(const struct vcpu *vcpu, uint8_t segment, uint64_t offset, uint8_t address_bytes)
{
    uint64_t mask = address_bytes >= 8 ? UINT64_MAX : (1ULL << address_bytes * 8) - 1;
    uint64_t linear = segment_base(vcpu, segment) + (offset & mask);

    return code_64(vcpu) ? linear : (uint32_t)linear;
}

static uint64_t operand_address(const struct vcpu *vcpu, const struct instruction *instruction)
{
    uint64_t offset = (uint64_t)instruction->displacement;

    if (instruction->base == REGISTER_RIP) {
        offset += vcpu->rip + instruction->length;
    } else if (instruction->base != REGISTER_NONE) {
        offset += vcpu->gpr[instruction->base];
    }
    if (instruction->index != REGISTER_NONE) {
        offset += vcpu->gpr[instruction->index] * instruction->scale;
    }
    return linear_of(vcpu, instruction->segment, offset, instruction->address_bytes);
}

static bool only_reads(enum operation operation)
{
    return operation == OPERATION_CMP || operation == OPERATION_TEST || operation == OPERATION_BT ||
           operation == OPERATION_PUSH || operation == OPERATION_CALL || operation == OPERATION_JMP ||
           operation == OPERATION_MUL || operation == OPERATION_IMUL_WIDE || operation == OPERATION_LMSW ||
           operation == OPERATION_INVLPG || operation == OPERATION_OTHER;
}

static bool check_string(const struct vcpu *vcpu, const struct instruction *instruction, struct crash_cause *cause)
{
    enum operation operation = instruction->operation;
    uint64_t source = linear_of(vcpu, instruction->segment, vcpu->gpr[GPR_RSI], instruction->address_bytes);
    uint64_t target = linear_of(vcpu, SEGMENT_ES, vcpu->gpr[GPR_RDI], instruction->address_bytes);
    bool reads = operation == OPERATION_MOVS || operation == OPERATION_CMPS || operation == OPERATION_LODS ||
                 operation == OPERATION_OUTS;
    bool reads_target = operation == OPERATION_CMPS || operation == OPERATION_SCAS;
    bool writes = operation == OPERATION_MOVS || operation == OPERATION_STOS || operation == OPERATION_INS;

    return (reads && check_touch(vcpu, source, TOUCH_READ, cause)) ||
           (reads_target && check_touch(vcpu, target, TOUCH_READ, cause)) ||
           (writes && check_touch(vcpu, target, TOUCH_WRITE, cause));
}

static bool check_operand(const struct vcpu *vcpu, const struct instruction *instruction, struct crash_cause *cause)
{
    bool writes = !instruction->to_reg && !only_reads(instruction->operation);

    return instruction->memory &&
           check_touch(vcpu, operand_address(vcpu, instruction), writes ? TOUCH_WRITE : TOUCH_READ, cause);
}

/* The opcode behind prefixes. SDM 2A 2.1.1 "Instruction Prefixes", 2.2.1 "REX Prefixes". */
struct opcode {
    uint8_t byte, second, modrm; /* `second` behind 0f; modrm of one-byte opcodes */
    uint8_t rex;
};

static bool is_prefix(const struct vcpu *vcpu, uint8_t byte)
{
    static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3};

    for (uint32_t i = 0; i < ARRAY_COUNT(prefixes); i++) {
        if (byte == prefixes[i]) {
            return true;
        }
    }
    return code_64(vcpu) && byte >= 0x40 && byte <= 0x4f;
}

static struct opcode opcode_of(const struct vcpu *vcpu, const uint8_t *bytes, uint32_t count)
{
    struct opcode opcode = {0};
    uint32_t at = 0;

    while (at < count && is_prefix(vcpu, bytes[at])) {
        opcode.rex = code_64(vcpu) && (bytes[at] & 0xf0u) == 0x40 ? bytes[at] : 0;
        at++;
    }
    opcode.byte = at < count ? bytes[at] : 0;
    opcode.second = opcode.modrm = at + 1 < count ? bytes[at + 1] : 0;
    return opcode;
}

static bool is_privileged(struct opcode opcode)
{
    static const uint8_t seconds[] = {0x06, 0x08, 0x09, 0x20, 0x21, 0x22, 0x23, 0x30, 0x32};

    for (uint32_t i = 0; opcode.byte == 0x0f && i < ARRAY_COUNT(seconds); i++) {
        if (opcode.second == seconds[i]) {
            return true;
        }
    }
    return opcode.byte == 0xf4; /* HLT */
}

/* DIV and IDIV by a register that is 0: F6 and F7 /6 and /7. */
static bool divides_by_zero(const struct vcpu *vcpu, struct opcode opcode)
{
    uint64_t mask = opcode.byte == 0xf6 ? 0xff : (opcode.rex & 8u) != 0 ? UINT64_MAX : 0xffffffff;
    uint32_t rm = (opcode.modrm & 7u) | (opcode.rex & 1u) << 3;

    return (opcode.byte == 0xf6 || opcode.byte == 0xf7) && (opcode.modrm >> 4) == 0xf &&
           (opcode.modrm & 0x30u) == 0x30 && (opcode.byte == 0xf7 || opcode.rex != 0 || rm < 4) &&
           (vcpu->gpr[rm] & mask) == 0;
}

/* Instructions on XMM registers that compilers write. SDM 2D A.3, table A-3. */
static bool uses_sse(struct opcode opcode)
{
    uint8_t second = opcode.second;

    return opcode.byte == 0x0f && ((second >= 0x10 && second <= 0x17) || (second >= 0x28 && second <= 0x2f) ||
                                   (second >= 0x50 && second <= 0x5f) || second == 0xc2 || second == 0xc6);
}

/* What the state of the FPU forbids. SDM 3A 2.5 "Control Registers"; 13.1.4. */
static bool check_units(const struct vcpu *vcpu, struct opcode opcode, struct crash_cause *cause)
{
    const struct vcpu_system *system = &vcpu->system;
    bool x87 = opcode.byte >= 0xd8 && opcode.byte <= 0xdf;
    bool vex = code_64(vcpu) && (opcode.byte == 0xc4 || opcode.byte == 0xc5 || opcode.byte == 0x62);
    bool sse = uses_sse(opcode);

    if (sse && (system->cr0 & CR0_EM) != 0) {
        found(cause, EXCEPTION_UD, "an SSE instruction while CR0.EM is 1");
    } else if (sse && (system->cr4 & CR4_OSFXSR) == 0) {
        found(cause, EXCEPTION_UD, "an SSE instruction while CR4.OSFXSR is 0");
    } else if (vex && (system->cr4 & CR4_OSXSAVE) == 0) {
        found(cause, EXCEPTION_UD, "an AVX instruction while CR4.OSXSAVE is 0");
    } else if ((x87 && (system->cr0 & (CR0_EM | CR0_TS)) != 0) || ((sse || vex) && (system->cr0 & CR0_TS) != 0)) {
        found(cause, EXCEPTION_NM, "an FPU instruction while CR0.TS or CR0.EM is 1");
    } else {
        return false;
    }
    return true;
}

/* Instructions that raise an exception by what they are. */
static bool check_opcode(const struct vcpu *vcpu, struct opcode opcode, struct crash_cause *cause)
{
    if (opcode.byte == 0x0f && (opcode.second == 0x0b || opcode.second == 0xb9 || opcode.second == 0xff)) {
        found(cause, EXCEPTION_UD, "UD");
    } else if (opcode.byte == 0xcc) {
        found(cause, EXCEPTION_BP, "INT3");
    } else if (opcode.byte == 0xcd) {
        *cause = (struct crash_cause){.vector = opcode.modrm, .software = true};
    } else if (is_user(vcpu) && is_privileged(opcode)) {
        found(cause, EXCEPTION_GP, "a privileged instruction in ring 3");
    } else if (divides_by_zero(vcpu, opcode)) {
        found(cause, EXCEPTION_DE, "by zero");
    } else {
        return check_units(vcpu, opcode, cause);
    }
    return true;
}

#define STACK_WORD(vcpu) (code_64(vcpu) ? 8u : 4u)

static uint64_t stack_linear(const struct vcpu *vcpu, int64_t offset)
{
    return linear_of(vcpu, SEGMENT_SS, vcpu->gpr[GPR_RSP] + (uint64_t)offset, code_64(vcpu) ? 8 : 4);
}

/* What pushes and pops by its opcode. SDM 2D A.3, table A-2. */
static bool check_stack(const struct vcpu *vcpu, struct opcode opcode, struct crash_cause *cause)
{
    uint8_t extension = opcode.modrm >> 3 & 7u;
    bool pushes = (opcode.byte >= 0x50 && opcode.byte <= 0x57) || opcode.byte == 0x68 || opcode.byte == 0x6a ||
                  opcode.byte == 0x9c || opcode.byte == 0xe8 ||
                  (opcode.byte == 0xff && (extension == 2 || extension == 6));
    bool pops = (opcode.byte >= 0x58 && opcode.byte <= 0x5f) || opcode.byte == 0x9d || opcode.byte == 0xc2 ||
                opcode.byte == 0xc3 || opcode.byte == 0xcf;

    return (pushes && check_touch(vcpu, stack_linear(vcpu, -(int64_t)STACK_WORD(vcpu)), TOUCH_WRITE, cause)) ||
           (pops && check_touch(vcpu, stack_linear(vcpu, 0), TOUCH_READ, cause));
}

/* The hypervisor raised it: the last exit was at this instruction. */
static bool check_last_exit(const struct vcpu *vcpu, struct crash_cause *cause)
{
    const struct exit_record *last;
    uint32_t at;

    for (at = 1; at <= crash_report_exits(vcpu); at++) {
        last = &vcpu->ring[(vcpu->ring_next - at) & (EXIT_RING_ENTRIES - 1)];
        if (last->rip != vcpu->rip || last->kind == EXIT_SHUTDOWN) {
            continue;
        }
        if (last->kind == EXIT_RDMSR || last->kind == EXIT_WRMSR) {
            found(cause, EXCEPTION_GP, "of an MSR that is not there, or does not take the value");
            return true;
        }
        if (last->kind == EXIT_CR_ACCESS || last->kind == EXIT_XSETBV) {
            found(cause, EXCEPTION_GP, "of a control register that does not take the value");
            return true;
        }
        if (last->kind == EXIT_UNDEFINED) {
            found(cause, EXCEPTION_UD, "an instruction that this machine does not have");
            return true;
        }
        return false;
    }
    return false;
}

static enum code_mode code_mode_of(const struct vcpu *vcpu)
{
    if (code_64(vcpu)) {
        return CODE_64;
    }
    return (vcpu->system.segments[SEGMENT_CS].access & SEGMENT_DB) != 0 ? CODE_32 : CODE_16;
}

static bool check_instruction(const struct vcpu *vcpu, const uint8_t *bytes, uint32_t count, struct crash_cause *cause)
{
    struct opcode opcode = opcode_of(vcpu, bytes, count);
    struct instruction instruction;

    if (check_opcode(vcpu, opcode, cause)) {
        return true;
    }
    switch (decode_instruction(bytes, count, code_mode_of(vcpu), &instruction)) {
    case DECODE_OK:
        if (check_operand(vcpu, &instruction, cause) || check_string(vcpu, &instruction, cause)) {
            return true;
        }
        break;
    case DECODE_UNDEFINED:
        found(cause, EXCEPTION_UD, NULL);
        return true;
    case DECODE_TOO_LONG:
        found(cause, EXCEPTION_GP, "an instruction of more than 15 bytes");
        return true;
    case DECODE_TRUNCATED:
        if (count < INSTRUCTION_BYTES_MAX && check_touch(vcpu, crash_report_rip(vcpu) + count, TOUCH_EXECUTE, cause)) {
            return true;
        }
        break;
    case DECODE_UNSUPPORTED:
        break;
    }
    return check_stack(vcpu, opcode, cause);
}

void crash_cause_find(const struct vcpu *vcpu, struct crash_cause *cause)
{
    uint64_t rip = crash_report_rip(vcpu);
    uint8_t bytes[INSTRUCTION_BYTES_MAX];
    uint32_t count = 0;

    if (check_touch(vcpu, rip, TOUCH_EXECUTE, cause)) {
        return;
    }
    while (count < sizeof(bytes) && read_linear(vcpu, rip + count, &bytes[count], 1)) {
        count++;
    }
    if (count == 0 || (!check_instruction(vcpu, bytes, count, cause) && !check_last_exit(vcpu, cause))) {
        found(cause, CRASH_VECTOR_UNKNOWN, NULL);
    }
}

/* --- Its delivery --- */

/* A gate of any mode, as far as delivery needs it. SDM 3A 6.11, 6.14.1. */
struct gate {
    uint64_t at;
    uint16_t selector;
    uint8_t type;  /* with P and DPL */
    uint8_t stack; /* IST, 0: none */
    uint64_t handler;
};

#define GATE_BYTES_MAX 16u
#define GATE_PRESENT 0x80u
#define GATE_TYPE(type) ((type)&0x1fu)
#define GATE_INTERRUPT 0x0eu
#define GATE_TRAP 0x0fu
#define GATE_TASK 0x05u
#define GATE_INTERRUPT_16 0x06u
#define GATE_TRAP_16 0x07u
#define SELECTOR_OFFSET(selector) ((uint64_t)((selector)&0xfff8u))
#define DESCRIPTOR_BYTES 8u
#define DESCRIPTOR_PRESENT (1ULL << 47)
#define DESCRIPTOR_CODE (3ULL << 43) /* S and the code bit */
#define DESCRIPTOR_LONG (1ULL << 53)

static uint32_t gate_bytes(const struct vcpu *vcpu)
{
    return long_mode(vcpu) ? 16 : 8;
}

static void gate_parse(const struct vcpu *vcpu, const uint8_t *bytes, struct gate *gate)
{
    gate->selector = (uint16_t)(bytes[2] | bytes[3] << 8);
    gate->stack = long_mode(vcpu) ? bytes[4] & 7u : 0;
    gate->type = bytes[5];
    gate->handler = bytes[0] | (uint64_t)bytes[1] << 8 | (uint64_t)bytes[6] << 16 | (uint64_t)bytes[7] << 24;
    for (uint32_t i = 0; long_mode(vcpu) && i < 4; i++) {
        gate->handler |= (uint64_t)bytes[8 + i] << (32 + 8 * i);
    }
}

/* False: `to` says why there is no gate. */
static bool find_gate(const struct vcpu *vcpu, uint8_t vector, struct gate *gate, char *to, size_t capacity)
{
    const struct table_register *idt = &vcpu->system.idtr;
    uint8_t bytes[GATE_BYTES_MAX] = {0};
    uint32_t size = gate_bytes(vcpu);

    gate->at = idt->base + (uint64_t)vector * size;
    if (idt->limit < size - 1) {
        format_text(to, capacity, "no IDT");
    } else if ((uint64_t)vector * size + size - 1 > idt->limit) {
        format_text(to, capacity, "the IDT (limit 0x%x) has no gate for vector %u", idt->limit, vector);
    } else if (page_faults(vcpu, gate->at, TOUCH_READ, false)) {
        format_text(to, capacity, "the IDT, at 0x%" PRIx64 ", is not mapped", idt->base);
    } else if (!read_linear(vcpu, gate->at, bytes, size)) {
        format_text(to, capacity, "the IDT, at 0x%" PRIx64 ", is not in memory", idt->base);
    } else {
        gate_parse(vcpu, bytes, gate);
        return true;
    }
    return false;
}

static bool gate_is_bad(const struct vcpu *vcpu, uint8_t vector, const struct gate *gate, char *to, size_t capacity)
{
    uint8_t type = GATE_TYPE(gate->type);
    bool known = type == GATE_INTERRUPT || type == GATE_TRAP ||
                 (!long_mode(vcpu) && (type == GATE_TASK || type == GATE_INTERRUPT_16 || type == GATE_TRAP_16));

    if (gate->type == 0 && gate->handler == 0) {
        format_text(to, capacity, "the IDT's gate of vector %u is empty", vector);
    } else if (!known) {
        format_text(to, capacity, "the IDT's gate of vector %u has type 0x%x", vector, type);
    } else if ((gate->type & GATE_PRESENT) == 0) {
        format_text(to, capacity, "the IDT's gate of vector %u is not present", vector);
    } else {
        return false;
    }
    return true;
}

/* The gate's code segment; LDTs are left out. */
static bool code_is_bad(const struct vcpu *vcpu, const struct gate *gate, char *to, size_t capacity)
{
    const struct table_register *gdt = &vcpu->system.gdtr;
    uint64_t offset = SELECTOR_OFFSET(gate->selector);
    uint64_t descriptor = 0;

    if (offset == 0) {
        format_text(to, capacity, "its gate has the null selector");
    } else if (offset + DESCRIPTOR_BYTES - 1 > gdt->limit) {
        format_text(to, capacity, "its gate's selector 0x%x lies outside of the GDT (limit 0x%x)", gate->selector,
                    gdt->limit);
    } else if (!read_linear(vcpu, gdt->base + offset, &descriptor, sizeof(descriptor))) {
        format_text(to, capacity, "the GDT, at 0x%" PRIx64 ", is not mapped", gdt->base);
    } else if ((descriptor & DESCRIPTOR_CODE) != DESCRIPTOR_CODE || (descriptor & DESCRIPTOR_PRESENT) == 0 ||
               (long_mode(vcpu) && (descriptor & DESCRIPTOR_LONG) == 0)) {
        format_text(to, capacity, "its gate's selector 0x%x is no code segment", gate->selector);
    } else {
        return false;
    }
    return true;
}

/* Offsets in a TSS: RSP0 and ESP0; IST1. SDM 3A 8.2.1, figure 8-2; 8.7, figure 8-11. */
#define TSS_STACK_0 4u
#define TSS_IST_1 36u

/* The stack on which the frame is pushed; false where the TSS cannot be read. */
static bool stack_of(const struct vcpu *vcpu, const struct gate *gate, uint64_t *stack)
{
    uint64_t tss = vcpu->system.segments[SEGMENT_TR].base;
    uint32_t bytes = long_mode(vcpu) ? 8 : 4;

    *stack = 0;
    if (gate->stack != 0) {
        return read_linear(vcpu, tss + TSS_IST_1 + (gate->stack - 1) * 8u, stack, bytes);
    }
    if (is_user(vcpu)) {
        return read_linear(vcpu, tss + TSS_STACK_0, stack, bytes);
    }
    *stack = stack_linear(vcpu, 0);
    return true;
}

static bool handler_is_bad(const struct vcpu *vcpu, const struct gate *gate, char *to, size_t capacity)
{
    uint64_t stack;
    uint64_t pushed;

    if (GATE_TYPE(gate->type) == GATE_TASK) {
        return false;
    }
    if (!stack_of(vcpu, gate, &stack)) {
        format_text(to, capacity, "the TSS, at 0x%" PRIx64 ", is not mapped", vcpu->system.segments[SEGMENT_TR].base);
        return true;
    }
    pushed = stack - STACK_WORD(vcpu);
    if (!is_canonical(vcpu, pushed) || page_faults(vcpu, pushed, TOUCH_WRITE, false)) {
        format_text(to, capacity, "its stack, at 0x%" PRIx64 ", cannot be written", stack);
        return true;
    }
    if (!is_canonical(vcpu, gate->handler) || page_faults(vcpu, gate->handler, TOUCH_EXECUTE, false)) {
        format_text(to, capacity, "its handler, at 0x%" PRIx64 ", is not mapped as code", gate->handler);
        return true;
    }
    return false;
}

bool crash_cause_delivery(const struct vcpu *vcpu, uint8_t vector, char *to, size_t capacity)
{
    uint8_t looked_at = vector == CRASH_VECTOR_UNKNOWN ? EXCEPTION_DF : vector;
    struct gate gate;

    to[0] = '\0';
    if ((vcpu->system.cr0 & CR0_PE) == 0) {
        return false; /* real mode: vectors are far pointers, any of them is one */
    }
    return !find_gate(vcpu, looked_at, &gate, to, capacity) || gate_is_bad(vcpu, looked_at, &gate, to, capacity) ||
           code_is_bad(vcpu, &gate, to, capacity) || handler_is_bad(vcpu, &gate, to, capacity);
}

/* --- Text --- */

/* SDM 3A 6.3.1, table 6-1. */
static const char *exception_name(uint8_t vector)
{
    static const char *const names[] = {
        [EXCEPTION_DE] = "division error",
        [EXCEPTION_DB] = "debug exception",
        [EXCEPTION_NMI] = "NMI",
        [EXCEPTION_BP] = "breakpoint",
        [EXCEPTION_OF] = "overflow",
        [EXCEPTION_BR] = "bound range exceeded",
        [EXCEPTION_UD] = "invalid opcode",
        [EXCEPTION_NM] = "device not available",
        [EXCEPTION_DF] = "double fault",
        [EXCEPTION_TS] = "invalid TSS",
        [EXCEPTION_NP] = "segment not present",
        [EXCEPTION_SS] = "stack fault",
        [EXCEPTION_GP] = "general protection",
        [EXCEPTION_PF] = "page fault",
        [EXCEPTION_MF] = "FPU error",
        [EXCEPTION_AC] = "alignment check",
        [EXCEPTION_MC] = "machine check",
        [EXCEPTION_XM] = "SIMD error",
    };
    const char *name = vector < ARRAY_COUNT(names) ? names[vector] : NULL;

    return name != NULL ? name : "an exception";
}

#define DELIVERY_TEXT_MAX 100u

const char *crash_cause_text(const struct vcpu *vcpu, const char *where, char *to, size_t capacity)
{
    char delivery[DELIVERY_TEXT_MAX];
    struct crash_cause cause;
    size_t length;

    crash_cause_find(vcpu, &cause);
    length = cause.software ? format_text(to, capacity, "software interrupt 0x%x", cause.vector)
                            : format_text(to, capacity, "%s", exception_name(cause.vector));
    if (cause.has_address) {
        length += format_text(to + length, capacity - length, " %s 0x%" PRIx64, cause.access, cause.address);
    } else if (cause.detail != NULL) {
        length += format_text(to + length, capacity - length, " (%s)", cause.detail);
    }
    length += format_text(to + length, capacity - length, " at rip 0x%" PRIx64, vcpu->rip);
    if (where[0] != '\0') {
        length += format_text(to + length, capacity - length, " (%s)", where);
    }
    if (crash_cause_delivery(vcpu, cause.vector, delivery, sizeof(delivery))) {
        (void)format_text(to + length, capacity - length, "; %s", delivery);
    }
    return to;
}

bool crash_cause_may_be_emulator(const struct vcpu *vcpu)
{
    struct crash_cause cause;

    crash_cause_find(vcpu, &cause);
    return cause.vector == CRASH_VECTOR_UNKNOWN && vcpu->guest->host->quirks.stale_code;
}
