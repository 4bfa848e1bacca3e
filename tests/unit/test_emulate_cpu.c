/* SPDX-License-Identifier: MIT */
/*
 * The emulator against the CPU that runs the test: random instructions of every claimed form in 64-bit mode, executed
 * natively on a window of host memory and emulated with the same registers, flags and memory, where two of the window's
 * pages are a device. Registers, flags and every byte of the window must be the same afterwards.
 *
 * Privileged forms (INS, OUTS), near branches and 16- and 32-bit code are in test_emulate.c and test_string_io.c.
 */
#define _GNU_SOURCE /* MAP_FIXED_NOREPLACE */

#include "emulate_harness.h"

#include <cpuid.h>
#include <stdio.h>
#include <sys/mman.h>

#include "hv/emulate/emulate.h"
#include "hv/emulate/emulate_alu.h"
#include "hv/x86/decode.h"

#define WINDOW_BYTES (WINDOW_PAGES * 0x1000u)
#define CODE_PAGE 12u
#define CODE_RIP (WINDOW + CODE_PAGE * 0x1000u + 0x100u)
#define CODE_GPA (WINDOW_RAM + CODE_PAGE * 0x1000u + 0x100u)
#define DATA_BYTES (6u * 0x1000u) /* pages 0 to 5 are compared */
#define ROUNDS 1000000u
#define COMPARED_FLAGS (FLAGS_STATUS | RFLAGS_DF)

/* --- the native side ---------------------------------------------------------------------------------------------- */

struct native_state {
    uint64_t gpr[16];
    uint64_t rflags;
    uint64_t code;
    uint64_t host_rsp;
};

extern struct native_state native_state;
struct native_state native_state;
void native_run(void);
extern const char native_return[];

/* Loads the registers, jumps to the code, which jumps to native_return, and stores the registers. MOV changes no
 * flag. */
__asm__(".text\n"
        ".globl native_run\n"
        "native_run:\n"
        "  push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
        "  mov %rsp, native_state+144(%rip)\n"
        "  pushq native_state+128(%rip)\n popfq\n"
        "  mov native_state+8(%rip), %rcx\n mov native_state+16(%rip), %rdx\n mov native_state+24(%rip), %rbx\n"
        "  mov native_state+40(%rip), %rbp\n mov native_state+48(%rip), %rsi\n mov native_state+56(%rip), %rdi\n"
        "  mov native_state+64(%rip), %r8\n mov native_state+72(%rip), %r9\n mov native_state+80(%rip), %r10\n"
        "  mov native_state+88(%rip), %r11\n mov native_state+96(%rip), %r12\n mov native_state+104(%rip), %r13\n"
        "  mov native_state+112(%rip), %r14\n mov native_state+120(%rip), %r15\n"
        "  mov native_state+0(%rip), %rax\n mov native_state+32(%rip), %rsp\n"
        "  jmp *native_state+136(%rip)\n"
        ".globl native_return\n"
        "native_return:\n"
        "  mov %rax, native_state+0(%rip)\n mov %rsp, native_state+32(%rip)\n"
        "  mov native_state+144(%rip), %rsp\n"
        "  mov %rcx, native_state+8(%rip)\n mov %rdx, native_state+16(%rip)\n mov %rbx, native_state+24(%rip)\n"
        "  mov %rbp, native_state+40(%rip)\n mov %rsi, native_state+48(%rip)\n mov %rdi, native_state+56(%rip)\n"
        "  mov %r8, native_state+64(%rip)\n mov %r9, native_state+72(%rip)\n mov %r10, native_state+80(%rip)\n"
        "  mov %r11, native_state+88(%rip)\n mov %r12, native_state+96(%rip)\n mov %r13, native_state+104(%rip)\n"
        "  mov %r14, native_state+112(%rip)\n mov %r15, native_state+120(%rip)\n"
        "  pushfq\n popq native_state+128(%rip)\n"
        "  cld\n"
        "  pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
        "  ret\n");

_Static_assert(offsetof(struct native_state, rflags) == 128 && offsetof(struct native_state, host_rsp) == 144,
               "the offsets in the assembly");

static uint8_t *window;

static void map_window(void)
{
    if (window == NULL) {
        window = mmap((void *)(uintptr_t)WINDOW, WINDOW_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        assert_ptr_equal(window, (void *)(uintptr_t)WINDOW);
    }
}

/* jmp *[rip]: native_return follows. */
static void run_native(const uint8_t *code, uint8_t length)
{
    static const uint8_t jump[] = {0xff, 0x25, 0, 0, 0, 0};
    uint8_t *at = (uint8_t *)(uintptr_t)CODE_RIP;
    const char *target = native_return;

    memcpy(at, code, length);
    memcpy(at + length, jump, sizeof(jump));
    memcpy(at + length + sizeof(jump), &target, sizeof(target));
    native_state.code = CODE_RIP;
    native_run();
}

/* --- random instructions ------------------------------------------------------------------------------------------ */

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t random_next(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1dULL;
}

/* Opcode, and the reg field of ModRM for groups (8: any; 9: no ModRM). */
struct form {
    uint8_t opcode[3];
    uint8_t count;
    uint8_t reg;
};

#define ANY 8
#define NO_MODRM 9
#define ROW(first)                                                   \
    {{first}, 1, ANY}, {{first + 1}, 1, ANY}, {{first + 2}, 1, ANY}, \
    {                                                                \
        {first + 3}, 1, ANY                                          \
    }
#define ROW_GROUP(opcode)                                                                                       \
    {{opcode}, 1, 0}, {{opcode}, 1, 1}, {{opcode}, 1, 2}, {{opcode}, 1, 3}, {{opcode}, 1, 4}, {{opcode}, 1, 5}, \
        {{opcode}, 1, 6},                                                                                       \
    {                                                                                                           \
        {opcode}, 1, 7                                                                                          \
    }
#define TWO(second)            \
    {                          \
        {0x0f, second}, 2, ANY \
    }
#define TWO_GROUP(second, reg) \
    {                          \
        {0x0f, second}, 2, reg \
    }

static const struct form forms[] = {
    ROW(0x00),
    ROW(0x08),
    ROW(0x10),
    ROW(0x18),
    ROW(0x20),
    ROW(0x28),
    ROW(0x30),
    ROW(0x38),
    ROW_GROUP(0x80),
    ROW_GROUP(0x81),
    ROW_GROUP(0x83),
    ROW(0x84),
    ROW(0x88),
    {{0x63}, 1, ANY},
    {{0x8c}, 1, 2},
    {{0x8c}, 1, 3},
    {{0xc6}, 1, 0},
    {{0xc7}, 1, 0},
    {{0xf6}, 1, 0},
    {{0xf6}, 1, 1},
    {{0xf6}, 1, 2},
    {{0xf6}, 1, 3},
    {{0xf7}, 1, 0},
    {{0xf7}, 1, 1},
    {{0xf7}, 1, 2},
    {{0xf7}, 1, 3},
    {{0xfe}, 1, 0},
    {{0xfe}, 1, 1},
    {{0xff}, 1, 0},
    {{0xff}, 1, 1},
    {{0xff}, 1, 6},
    {{0x8f}, 1, 0},
    {{0x69}, 1, ANY},
    {{0x6b}, 1, ANY},
    ROW_GROUP(0xc0),
    ROW_GROUP(0xc1),
    ROW_GROUP(0xd0),
    ROW_GROUP(0xd1),
    ROW_GROUP(0xd2),
    ROW_GROUP(0xd3),
    {{0xf6}, 1, 4},
    {{0xf6}, 1, 5},
    {{0xf7}, 1, 4},
    {{0xf7}, 1, 5},
    TWO(0xaf),
    TWO(0x40),
    TWO(0x90),
    TWO(0x41),
    TWO(0x91),
    TWO(0x42),
    TWO(0x92),
    TWO(0x43),
    TWO(0x93),
    TWO(0x44),
    TWO(0x94),
    TWO(0x45),
    TWO(0x95),
    TWO(0x46),
    TWO(0x96),
    TWO(0x47),
    TWO(0x97),
    TWO(0x48),
    TWO(0x98),
    TWO(0x49),
    TWO(0x99),
    TWO(0x4a),
    TWO(0x9a),
    TWO(0x4b),
    TWO(0x9b),
    TWO(0x4c),
    TWO(0x9c),
    TWO(0x4d),
    TWO(0x9d),
    TWO(0x4e),
    TWO(0x9e),
    TWO(0x4f),
    TWO(0x9f),
    TWO(0xa3),
    TWO(0xab),
    TWO(0xb3),
    TWO(0xbb),
    TWO_GROUP(0xba, 4),
    TWO_GROUP(0xba, 5),
    TWO_GROUP(0xba, 6),
    TWO_GROUP(0xba, 7),
    TWO(0xb0),
    TWO(0xb1),
    TWO(0xb6),
    TWO(0xb7),
    TWO(0xbe),
    TWO(0xbf),
    TWO(0xc0),
    TWO(0xc1),
    TWO(0xc3),
    TWO_GROUP(0xc7, 1),
    {{0x0f, 0x38, 0xf0}, 3, ANY},
    {{0x0f, 0x38, 0xf1}, 3, ANY},
    {{0xa0}, 1, NO_MODRM},
    {{0xa1}, 1, NO_MODRM},
    {{0xa2}, 1, NO_MODRM},
    {{0xa3}, 1, NO_MODRM},
    {{0xa4}, 1, NO_MODRM},
    {{0xa5}, 1, NO_MODRM},
    {{0xa6}, 1, NO_MODRM},
    {{0xa7}, 1, NO_MODRM},
    {{0xaa}, 1, NO_MODRM},
    {{0xab}, 1, NO_MODRM},
    {{0xac}, 1, NO_MODRM},
    {{0xad}, 1, NO_MODRM},
    {{0xae}, 1, NO_MODRM},
    {{0xaf}, 1, NO_MODRM},
};

#define FORM_COUNT (sizeof(forms) / sizeof(forms[0]))

struct trial {
    uint8_t code[INSTRUCTION_BYTES_MAX + 8];
    uint8_t modrm_at;
    struct instruction instruction;
    uint64_t gpr[16];
    uint64_t rflags;
    uint64_t target; /* where the operand lies, but in bit and string operations */
};

static void make_bytes(struct trial *trial, const struct form *form)
{
    uint8_t at = 0;
    uint64_t choice = random_next();

    if (choice & 1) {
        static const uint8_t prefixes[] = {0x66, 0xf0, 0xf2, 0xf3, 0x2e, 0x66};

        trial->code[at++] = prefixes[(choice >> 8) % sizeof(prefixes)];
    }
    if (choice & 2) {
        trial->code[at++] = (uint8_t)(0x40 | (choice >> 16) % 16);
    }
    memcpy(trial->code + at, form->opcode, form->count);
    at = (uint8_t)(at + form->count);
    trial->modrm_at = at;
    if (form->reg != NO_MODRM) {
        uint8_t reg = form->reg == ANY ? (choice >> 24) % 8 : form->reg;

        trial->code[at++] = (uint8_t)((choice >> 32) % 3 << 6 | (uint64_t)reg << 3 | (choice >> 40) % 8);
    }
    for (unsigned i = 0; i < 8 && at < INSTRUCTION_BYTES_MAX; i++) {
        trial->code[at++] = (uint8_t)random_next();
    }
}

static bool is_string(const struct instruction *instruction)
{
    return instruction->operation >= OPERATION_MOVS && instruction->operation <= OPERATION_SCAS;
}

/* Any place from before the first border of RAM and device to after the second; locked accesses do not split. */
static uint64_t random_target(const struct trial *trial)
{
    uint64_t target = WINDOW + 0x0f80 + random_next() % 0x2100;
    uint64_t border = WINDOW + 0x1000 * (1 + random_next() % 3) - 12 + random_next() % 16;

    if (random_next() % 4 == 0) {
        target = border;
    }
    return trial->instruction.lock || trial->instruction.operation == OPERATION_CMPXCHG8B ? target & ~7ULL : target;
}

/* Sets registers or displacement so that the operand is at the target. False: this form cannot be steered there. */
static bool steer(struct trial *trial, uint64_t target)
{
    struct instruction *instruction = &trial->instruction;
    uint64_t index = instruction->index != REGISTER_NONE ? trial->gpr[instruction->index] * instruction->scale : 0;
    uint64_t missing;

    if (instruction->base == REGISTER_NONE && trial->modrm_at + 8 <= INSTRUCTION_BYTES_MAX &&
        !instruction->has_immediate && (trial->code[trial->modrm_at - 1] & 0xfc) == 0xa0 &&
        instruction->operation == OPERATION_MOV) {
        memcpy(trial->code + trial->modrm_at, &target, 8);
        return true;
    }
    if (instruction->base == REGISTER_RIP) {
        uint32_t relative = (uint32_t)(target - (CODE_RIP + instruction->length));

        memcpy(trial->code + trial->modrm_at + 1, &relative, 4);
        return true;
    }
    if (instruction->base == REGISTER_NONE || instruction->base == instruction->index) {
        return false;
    }
    missing = target - index - (uint64_t)instruction->displacement;
    trial->gpr[instruction->base] = missing;
    return true;
}

/* A bit number in a register moves the address: keep it near. */
static bool prepare_bit_number(struct trial *trial)
{
    const struct instruction *instruction = &trial->instruction;

    if (instruction->operation < OPERATION_BT || instruction->operation > OPERATION_BTC || !instruction->has_reg) {
        return true;
    }
    if (instruction->reg == instruction->base || instruction->reg == instruction->index) {
        return false;
    }
    trial->gpr[instruction->reg] = random_next() % 1024 - 512;
    return true;
}

static void prepare_string(struct trial *trial)
{
    trial->gpr[GPR_RSI] = random_target(trial) + random_next() % 400;
    trial->gpr[GPR_RDI] = random_target(trial) + random_next() % 400;
    trial->gpr[GPR_RCX] = random_next() % 40;
    trial->rflags |= random_next() % 2 ? RFLAGS_DF : 0;
}

/* Half of the comparisons of CMPXCHG and CMPXCHG8B succeed. */
static void prepare_accumulator(struct trial *trial, uint64_t target)
{
    uint64_t value;

    if (random_next() % 2 || trial->instruction.base == GPR_RAX || trial->instruction.index == GPR_RAX) {
        return;
    }
    memcpy(&value, (void *)(uintptr_t)target, 8);
    if (trial->instruction.operation == OPERATION_CMPXCHG) {
        trial->gpr[GPR_RAX] = value;
    } else if (trial->instruction.operation == OPERATION_CMPXCHG8B && trial->instruction.base != GPR_RDX &&
               trial->instruction.index != GPR_RDX) {
        trial->gpr[GPR_RAX] = (uint32_t)value;
        trial->gpr[GPR_RDX] = value >> 32;
    }
}

/* The one form that not every CPU of today has. SDM 2A "CPUID", leaf 1, ECX bit 22. */
static bool cpu_has(const struct instruction *instruction)
{
    unsigned eax, ebx, ecx = 0, edx;

    return instruction->operation != OPERATION_MOVBE || (__get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx >> 22 & 1));
}

/* False: this random choice is no claimed memory form, or cannot be steered. */
static bool make_trial(struct trial *trial, const struct form *form)
{
    uint64_t target;

    make_bytes(trial, form);
    if (decode_instruction(trial->code, INSTRUCTION_BYTES_MAX, CODE_64, &trial->instruction) != DECODE_OK ||
        !cpu_has(&trial->instruction)) {
        return false;
    }
    for (unsigned i = 0; i < 16; i++) {
        trial->gpr[i] = random_next() % 4 ? random_next() : random_next() % 512;
    }
    trial->gpr[GPR_RSP] = WINDOW + 0x5800 + random_next() % 64 * 8;
    trial->rflags = RFLAGS_FIXED | (random_next() & FLAGS_STATUS);
    if (is_string(&trial->instruction)) {
        prepare_string(trial);
        return true;
    }
    target = random_target(trial);
    trial->target = target;
    if (!trial->instruction.memory || !prepare_bit_number(trial) || !steer(trial, target)) {
        return false;
    }
    if ((trial->instruction.operation == OPERATION_POP || trial->instruction.operation == OPERATION_PUSH) &&
        trial->instruction.base == GPR_RSP) {
        return false; /* it needs a stack there; test_emulate.c has it */
    }
    prepare_accumulator(trial, target);
    return true;
}

/* --- both sides --------------------------------------------------------------------------------------------------- */

static uint8_t *emulated_page(uint32_t page)
{
    return page == 1 || page == 2 ? device + (page - 1) * 0x1000 : ram + WINDOW_RAM + page * 0x1000;
}

static void fill_memory(void)
{
    for (uint32_t at = 0; at < DATA_BYTES; at += 8) {
        uint64_t value = random_next();

        memcpy(window + at, &value, 8);
    }
}

/* As the CPU would tell it where the operand is a device's; for a read in half of the trials, which is wrong for many
 * instructions and has to be noticed. Otherwise what says nothing of the operand. */
static struct exit_nested_fault fault_of(const struct trial *trial)
{
    uint64_t offset = trial->target - WINDOW - 0x1000;

    if (is_string(&trial->instruction) || offset >= DEVICE_BYTES) {
        return (struct exit_nested_fault){.address = {DEVICE_GPA}, .table_walk = true};
    }
    return (struct exit_nested_fault){.address = {DEVICE_GPA + offset}, .write = random_next() % 2};
}

static void run_emulated(const struct trial *trial)
{
    const struct exit_nested_fault fault = fault_of(trial);

    memcpy(vcpu.gpr, trial->gpr, sizeof(vcpu.gpr));
    vcpu.rip = CODE_RIP;
    vcpu.rflags = trial->rflags;
    vcpu.system.segments[SEGMENT_SS].selector = 0x2b;
    memcpy(ram + CODE_GPA, trial->code, INSTRUCTION_BYTES_MAX);
    record_count = 0;
    emulate_nested_fault(&vcpu, &fault);
}

static bool is_shift(const struct instruction *instruction)
{
    return instruction->operation >= OPERATION_ROL && instruction->operation <= OPERATION_SAR;
}

/* Flags that the manual leaves undefined. SDM 2A "IMUL", SDM 2B "MUL", "SAL/SAR/SHL/SHR", "RCL/RCR/ROL/ROR". */
static uint64_t undefined_flags(const struct trial *trial)
{
    const struct instruction *instruction = &trial->instruction;
    uint64_t count = instruction->has_immediate ? instruction->immediate : trial->gpr[GPR_RCX];
    uint64_t undefined = 0;

    if (instruction->operation == OPERATION_IMUL || instruction->operation == OPERATION_MUL ||
        instruction->operation == OPERATION_IMUL_WIDE) {
        return FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF;
    }
    count &= instruction->rm_bytes == 8 ? 63 : 31;
    if (!is_shift(instruction) || count == 0) {
        return 0;
    }
    undefined |= instruction->operation >= OPERATION_SHL ? FLAG_AF : 0;
    undefined |= count != 1 ? FLAG_OF : 0;
    return undefined | (instruction->operation >= OPERATION_SHL && count >= 8u * instruction->rm_bytes ? FLAG_CF : 0);
}

static const char *difference(const struct trial *trial)
{
    if (memcmp(vcpu.gpr, native_state.gpr, sizeof(vcpu.gpr)) != 0) {
        return "registers";
    }
    if (((vcpu.rflags ^ native_state.rflags) & COMPARED_FLAGS & ~undefined_flags(trial)) != 0) {
        return "flags";
    }
    for (uint32_t page = 0; page < DATA_BYTES / 0x1000; page++) {
        if (memcmp(window + page * 0x1000, emulated_page(page), 0x1000) != 0) {
            return "memory";
        }
    }
    return NULL;
}

static void show(const struct trial *trial, const char *what)
{
    printf("%s differ:", what);
    for (unsigned i = 0; i < trial->instruction.length; i++) {
        printf(" %02x", trial->code[i]);
    }
    printf("  flags %llx: CPU %llx, emulator %llx\n", (unsigned long long)trial->rflags,
           (unsigned long long)native_state.rflags, (unsigned long long)vcpu.rflags);
    for (unsigned i = 0; i < 16; i++) {
        if (vcpu.gpr[i] != native_state.gpr[i]) {
            printf("  gpr %u: before %llx, CPU %llx, emulator %llx\n", i, (unsigned long long)trial->gpr[i],
                   (unsigned long long)native_state.gpr[i], (unsigned long long)vcpu.gpr[i]);
        }
    }
}

static void every_form_does_what_the_cpu_does(void **state)
{
    static uint32_t per_operation[OPERATION_COUNT];
    uint32_t done = 0;
    uint32_t differing = 0;

    (void)state;
    map_window();
    enter_long_mode();
    fill_memory();
    for (uint32_t round = 0; done < ROUNDS && differing < 10; round++) {
        struct trial trial;
        const char *what;

        if (!make_trial(&trial, &forms[round % FORM_COUNT])) {
            continue;
        }
        for (uint32_t page = 0; page < DATA_BYTES / 0x1000; page++) {
            memcpy(emulated_page(page), window + page * 0x1000, 0x1000);
        }
        memcpy(native_state.gpr, trial.gpr, sizeof(trial.gpr));
        native_state.rflags = trial.rflags;
        run_native(trial.code, trial.instruction.length);
        run_emulated(&trial);
        assert_false(vcpu.pending.valid);
        assert_false(vcpu.requests & VCPU_STOPPED);
        assert_true(vcpu.rip == CODE_RIP + trial.instruction.length);
        what = difference(&trial);
        if (what != NULL) {
            show(&trial, what);
            differing++;
        }
        per_operation[trial.instruction.operation]++;
        done++;
    }
    printf("%u instructions run on both: %u differ\n", done, differing);
    assert_int_equal(differing, 0);
    for (unsigned i = OPERATION_ADD; i <= OPERATION_SCAS; i++) {
        bool elsewhere = i == OPERATION_CALL || i == OPERATION_JMP || i == OPERATION_SAL;

        assert_true(per_operation[i] > 300 || elsewhere || !cpu_has(&(struct instruction){.operation = i}));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_does_what_the_cpu_does),
    };

    return cmocka_run_group_tests_name("emulate against the CPU", tests, NULL, NULL);
}
