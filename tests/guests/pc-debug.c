/* SPDX-License-Identifier: MIT */
/*
 * Debug exceptions: single steps over emulated instructions and shadows, breakpoints, general detect, INT1, and what
 * DR6 and DR7 say. SDM 3B 18.2 "Debug Registers", 18.3 "Debug Exceptions".
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "pc-debug";

#define DB 1
#define UD 6
#define FLAG_TF 0x100u
#define FLAG_RF 0x10000u
#define DR6_CLEAR 0xffff0ff0u
#define DR6_BS 0x4000u
#define DR6_BD 0x2000u
#define DR7_CLEAR 0x400u
#define DR7_GD 0x2000u
#define CR4_DE 0x8u
#define STEPS 8

#ifdef __x86_64__
#define PUSH_FLAGS "pushfq"
#define POP_FLAGS "popfq"
#define SET_TF PUSH_FLAGS "; orq $0x100, (%%rsp); " POP_FLAGS "; "
#define CLEAR_TF PUSH_FLAGS "; andq $~0x100, (%%rsp); " POP_FLAGS "; "
#define ADDRESS(label) "leaq " label "(%%rip), %0\n\t"
#define SET_EXPECTED "movq $1f, expected(%%rip)\n\t"
#define AX "rax"
#define DI "rdi"
#else
#define PUSH_FLAGS "pushfl"
#define POP_FLAGS "popfl"
#define SET_TF PUSH_FLAGS "; orl $0x100, (%%esp); " POP_FLAGS "; "
#define CLEAR_TF PUSH_FLAGS "; andl $~0x100, (%%esp); " POP_FLAGS "; "
#define ADDRESS(label) "movl $" label ", %0\n\t"
#define SET_EXPECTED "movl $1f, expected\n\t"
#define AX "eax"
#define DI "edi"
#endif

#define READ_DEBUG(number)                                         \
    static inline word_t read_dr##number(void)                     \
    {                                                              \
        word_t value;                                              \
        __asm__ volatile("mov %%dr" #number ", %0" : "=r"(value)); \
        return value;                                              \
    }
#define WRITE_DEBUG(number)                                                 \
    static inline void write_dr##number(word_t value)                       \
    {                                                                       \
        __asm__ volatile("mov %0, %%dr" #number : : "r"(value) : "memory"); \
    }
WRITE_DEBUG(1)
READ_DEBUG(2)
READ_DEBUG(6)
WRITE_DEBUG(6)
READ_DEBUG(7)
WRITE_DEBUG(7)

static volatile uint32_t count;
static volatile struct {
    word_t ip, dr6, dr7, flags;
} hits[STEPS];

/* QEMU's CPU without hardware virtualization, also under a hypervisor, by the first letters of its name: it takes no
 * step after STI, and knows neither INT1 nor DR7.GD. */
static bool cpu_is_qemus(void)
{
    return cpuid(0x80000002u, 0).eax == 0x554d4551u;
}

/* Notes the exception. DR7.GD would make the next access to a debug register another one. */
static void on_debug(struct trap_frame *frame)
{
    uint32_t at = count++;

    if (at < STEPS) {
        hits[at].dr7 = read_dr7();
        hits[at].dr6 = read_dr6();
        hits[at].ip = frame->ip;
        hits[at].flags = frame->flags;
    } else {
        frame->flags &= ~(word_t)FLAG_TF;
    }
    if ((read_dr6() & 0xf) != 0) {
        frame->flags |= FLAG_RF; /* an instruction breakpoint must not hit again */
    }
}

static void start(void)
{
    count = 0;
    write_dr7(DR7_CLEAR);
    write_dr6(0);
}

static void check_hit(const char *what, uint32_t at, word_t ip, word_t dr6)
{
    if (at >= count || hits[at].ip != ip || hits[at].dr6 != dr6) {
        guest_fail("%s: exception %u of %u at 0x%w with DR6 0x%w instead of 0x%w with 0x%w", what, at, count,
                   hits[at].ip, hits[at].dr6, ip, dr6);
    }
}

extern volatile word_t expected; /* assembly code writes it */
volatile word_t expected;
static uint8_t buffer[16];

/*
 * The instruction is the first after POPF, so the first trap comes after it, and the second after the next one.
 * di: the local APIC, dx: a port, cx: an MSR or a count, ax: 0, si: some memory.
 */
#define STEP_OVER(instruction)                                                             \
    do {                                                                                   \
        word_t di = LAPIC_BASE, si = (word_t)(uintptr_t)buffer, cx = 1, dx = 0x80, ax = 0; \
        start();                                                                           \
        __asm__ volatile(SET_EXPECTED SET_TF instruction "\n1: nop\n" CLEAR_TF             \
                         : "+D"(di), "+S"(si), "+c"(cx), "+d"(dx), "+a"(ax)                \
                         :                                                                 \
                         : "bx", "cc", "memory");                                          \
        check_hit(instruction, 0, expected, DR6_CLEAR | DR6_BS);                           \
        check_hit(instruction, 1, expected + 1, DR6_CLEAR | DR6_BS);                       \
    } while (0)

static void steps_end_after_emulated_instructions(void)
{
    STEP_OVER("nop");
    STEP_OVER("cpuid");
    STEP_OVER("inb $0x61, %%al");
    STEP_OVER("outb %%al, %%dx");
    STEP_OVER("rdtsc");
    STEP_OVER("wbinvd");
    STEP_OVER("movl 0x30(%%" DI "), %%eax"); /* the APIC's version */
    STEP_OVER("movl %%eax, 0xb0(%%" DI ")"); /* and its EOI */
    STEP_OVER("outsb");
    STEP_OVER("rep outsb");
    STEP_OVER("insb");
}

/* CR4.DE: 4 and 5 are other names of 6 and 7, or undefined. */
static void dr4_is_dr6_or_undefined(void)
{
    word_t value;

    write_cr4(read_cr4() & ~(word_t)CR4_DE);
    write_dr6(DR6_CLEAR | DR6_BS | 2);
    __asm__ volatile(".byte 0x0f, 0x21, 0xe0" : "=a"(value)); /* mov %dr4, %rax */
    CHECK_EQUAL(value, DR6_CLEAR | DR6_BS | 2);
    write_cr4(read_cr4() | CR4_DE);
    TRAP(".byte 0x0f, 0x21, 0xe0", : : : "ax", "memory");
    CHECK_EQUAL(trap_last.vector, UD);
    write_cr4(read_cr4() & ~(word_t)CR4_DE);
}

/* STI's shadow holds no debug exception back. */
static void steps_go_on_in_the_shadow_of_sti(void)
{
    start();
    __asm__ volatile(SET_EXPECTED SET_TF "sti\n1: nop\n" CLEAR_TF "cli" : : : "cc", "memory");
    check_hit("sti", 0, expected, DR6_CLEAR | DR6_BS);
    check_hit("the instruction after sti", 1, expected + 1, DR6_CLEAR | DR6_BS);
    start();
    __asm__ volatile(SET_EXPECTED SET_TF "sti\n1: cpuid\n" CLEAR_TF "cli" : : : "ax", "bx", "cx", "dx", "cc", "memory");
    check_hit("sti before cpuid", 0, expected, DR6_CLEAR | DR6_BS);
    check_hit("cpuid after sti", 1, expected + 2, DR6_CLEAR | DR6_BS);
}

/* MOV SS holds them back for one instruction, also for one that leaves the guest. */
static void mov_ss_holds_a_step_back(void)
{
    start();
    __asm__ volatile("mov %%ss, %%eax; " SET_EXPECTED SET_TF "mov %%eax, %%ss; nop\n1: nop\n" CLEAR_TF
                     :
                     :
                     : "ax", "cc", "memory");
    check_hit("mov ss", 0, expected, DR6_CLEAR | DR6_BS);
    start();
    __asm__ volatile("mov %%ss, %%eax; " SET_EXPECTED SET_TF "mov %%eax, %%ss; cpuid\n1: nop\n" CLEAR_TF
                     :
                     :
                     : "ax", "bx", "cx", "dx", "cc", "memory");
    check_hit("mov ss before cpuid", 0, expected, DR6_CLEAR | DR6_BS);
}

static void int1_is_a_trap_without_a_cause(void)
{
    start();
    __asm__ volatile(SET_EXPECTED ".byte 0xf1\n1: nop" : : : "memory");
    CHECK_EQUAL(count, 1);
    check_hit("int1", 0, expected, DR6_CLEAR);
}

/* A fault before the instruction; the bits of the breakpoints are made anew, the others stay. */
static void an_instruction_breakpoint_is_a_fault(void)
{
    word_t here;

    start();
    write_dr6(DR6_BS | 2);
    __asm__ volatile(ADDRESS("1f") "mov %0, %%dr2; mov %1, %%dr7\n1: nop"
                     : "=&a"(here)
                     : "c"((word_t)(DR7_CLEAR | 1u << 5))
                     : "memory");
    write_dr7(DR7_CLEAR);
    CHECK_EQUAL(count, 1);
    check_hit("an instruction breakpoint", 0, here, DR6_CLEAR | DR6_BS | 4);
    CHECK_EQUAL(hits[0].flags & FLAG_RF, 0); /* the only fault without it. SDM 3B 18.3.1.1 */
    CHECK_EQUAL(read_dr2(), here);
}

/* A trap after the instruction. DR0 to DR3 are the guest's own, also over exits. */
static void a_data_breakpoint_is_a_trap(void)
{
    static volatile uint32_t watched;

    start();
    write_dr1((word_t)(uintptr_t)&watched);
    write_dr7(DR7_CLEAR | 1u << 3 | 0xdu << 20); /* 4 bytes, writes */
    (void)cpuid(0, 0);
    __asm__ volatile(SET_EXPECTED "movl $42, %0\n1: nop" : "=m"(watched) : : "memory");
    write_dr7(DR7_CLEAR);
    CHECK_EQUAL(count, 1);
    check_hit("a data breakpoint", 0, expected, DR6_CLEAR | 2);
}

/* DR7.GD: the access is not made, and the delivery clears GD. */
static void general_detect_is_a_fault(void)
{
    start();
    write_dr7(DR7_CLEAR | DR7_GD);
    __asm__ volatile(SET_EXPECTED "\n1: mov %%dr6, %%" AX : : : "ax", "memory");
    CHECK_EQUAL(count, 1);
    check_hit("general detect", 0, expected, DR6_CLEAR | DR6_BD);
    CHECK_EQUAL(hits[0].dr7 & DR7_GD, 0);
    CHECK_EQUAL(read_dr7(), DR7_CLEAR);
}

static void faults_of_emulated_instructions_push_rf(void)
{
    TRAP("wrmsr", : : "c"(0x1b), "a"(1), "d"(0) : "memory"); /* a reserved bit of IA32_APIC_BASE */
    CHECK_EQUAL(trap_last.vector, 13);
    CHECK_EQUAL(trap_last.flags & FLAG_RF, FLAG_RF);
}

void guest_main(void)
{
    pic_init();
    lapic_init();
    trap_set(DB, on_debug);
    start();
    CHECK_EQUAL(read_dr6(), DR6_CLEAR);
    CHECK_EQUAL(read_dr7(), DR7_CLEAR);
    steps_end_after_emulated_instructions();
    dr4_is_dr6_or_undefined();
    if (!cpu_is_qemus()) {
        steps_go_on_in_the_shadow_of_sti();
        int1_is_a_trap_without_a_cause();
    }
    mov_ss_holds_a_step_back();
    an_instruction_breakpoint_is_a_fault();
    a_data_breakpoint_is_a_trap();
    if (!cpu_is_qemus()) {
        general_detect_is_a_fault();
    }
    if (!on_plain_tcg()) { /* which checks no reserved bits */
        faults_of_emulated_instructions_push_rf();
    }
}
