/* SPDX-License-Identifier: MIT */
/* Exceptions: the vector, the error code, and where the instruction pointer is. SDM 3A 6.15. */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "exceptions";

#define DE 0
#define DB 1
#define BP 3
#define UD 6
#define GP 13
#define PF 14
#define NONE 0xff
#define UNKNOWN_MSR 0x12345678u
#define NOT_IN_GDT 0x7f8u

static void expect(const char *what, uint32_t vector, uint32_t error)
{
    if (trap_last.vector != vector || (vector != NONE && trap_last.error != error)) {
        guest_fail("%s: vector %u error 0x%x instead of %u and 0x%x", what, trap_last.vector, trap_last.error, vector,
                   error);
    }
}

static void undefined_instructions(void)
{
    TRAP("ud2", : : : "memory");
    expect("ud2", UD, 0);
    TRAP(".byte 0x0f, 0x0b", : : : "memory");
    expect("ud2 as bytes", UD, 0);
    TRAP("lock; nop", : : : "memory");
    expect("lock nop", UD, 0);
}

/* KVM's signature: "KVMKVMKVM". */
static bool has_hypercalls(void)
{
    struct cpuid words = cpuid(0x40000000, 0);

    return words.ebx == 0x4b4d564b && words.ecx == 0x564b4d56 && words.edx == 0x4d;
}

/* Each vendor's instruction is answered on both, as KVM does it; what is no hypercall stays undefined. */
static void hypercalls(void)
{
    word_t ax = 99;

    if (!has_hypercalls()) {
        return;
    }
    TRAP("vmcall", : "+a"(ax) : : "memory");
    expect("vmcall", NONE, 0);
    CHECK_EQUAL(ax, (word_t)-1000);
    ax = 99;
    TRAP("vmmcall", : "+a"(ax) : : "memory");
    expect("vmmcall", NONE, 0);
    CHECK_EQUAL(ax, (word_t)-1000);
    TRAP(".byte 0xf0, 0x0f, 0x01, 0xc1", : : : "memory");
    expect("lock vmcall", UD, 0);
    CHECK((trap_last.flags & 0x10000u) != 0); /* RF */
    TRAP(".byte 0xf0, 0x0f, 0x01, 0xd9", : : : "memory");
    expect("lock vmmcall", UD, 0);
}

static void divide_errors(void)
{
    TRAP("xorl %%edx, %%edx; movl $1, %%eax; xorl %%ecx, %%ecx; divl %%ecx", : : : "eax", "ecx", "edx", "cc", "memory");
    expect("division by 0", DE, 0);
}

static void traps_point_after_the_instruction(void)
{
    word_t after;

#ifdef __x86_64__
    __asm__("leaq 1f(%%rip), %0" : "=r"(after));
#else
    __asm__("movl $1f, %0" : "=r"(after));
#endif
    trap_last.vector = NONE;
    trap_resume = after;
    __asm__ volatile("int3\n1:" : : : "memory");
    trap_resume = 0;
    CHECK_EQUAL(trap_last.vector, BP);
    CHECK_EQUAL(trap_last.ip, after);
}

static void unknown_msrs(void)
{
    TRAP("rdmsr", : : "c"(UNKNOWN_MSR) : "eax", "edx", "memory");
    expect("rdmsr of an unknown MSR", GP, 0);
    TRAP("wrmsr", : : "c"(UNKNOWN_MSR), "a"(0), "d"(0) : "memory");
    expect("wrmsr of an unknown MSR", GP, 0);
}

/* Where privileged or emulated instructions are wrong: no exception may be lost or have a wrong error code. */
static void general_protection(void)
{
    if (!on_plain_tcg()) { /* where unknown MSRs read 0 */
        unknown_msrs();
    }
    TRAP("movw %w0, %%fs", : : "r"(NOT_IN_GDT) : "memory");
    expect("a selector beyond the GDT", GP, NOT_IN_GDT);
#ifdef __x86_64__
    TRAP("movq (%0), %%rax", : : "r"(0x8000000000000000ull) : "rax", "memory");
    expect("a non-canonical address", GP, 0);
#endif
    TRAP("nop", : : : "memory");
    expect("nop", NONE, 0);
}

static void on_step(struct trap_frame *frame)
{
    trap_last.vector = DB;
    trap_last.ip = frame->ip;
    frame->flags &= ~(word_t)0x100;
}

#ifdef __x86_64__
#define STEP_SET "leaq 1f(%%rip), %0; pushfq; orq $0x100, (%%rsp); popfq; "
#define STEP_CLOBBERS "rax", "rbx", "rcx", "rdx", "memory", "cc"
#else
#define STEP_SET "movl $1f, %0; pushfl; orl $0x100, (%%esp); popfl; "
#define STEP_CLOBBERS "eax", "ebx", "ecx", "edx", "memory", "cc"
#endif

/* One instruction with RFLAGS.TF set: the trap comes after it, at the next one. */
#define STEP(instruction)                                                                   \
    do {                                                                                    \
        word_t after;                                                                       \
        trap_last.vector = NONE;                                                            \
        __asm__ volatile(STEP_SET instruction "\n1: nop" : "=&S"(after) : : STEP_CLOBBERS); \
        CHECK_EQUAL(trap_last.vector, DB);                                                  \
        CHECK_EQUAL(trap_last.ip, after);                                                   \
    } while (0)

/* Also over instructions that a hypervisor emulates: the trap comes after them, not one later. */
static void single_steps(void)
{
    trap_set(DB, on_step);
    STEP("nop");
    STEP("cpuid");
    STEP("inb $0x61, %%al");
    STEP("outb %%al, $0x80");
    trap_set(DB, NULL);
}

#ifdef __x86_64__
#define WINDOW 0x8000000000ull /* 512 GiB: the second entry of the PML4 */

/* SDM 3A 4.7: the P bit is set, too. QEMU's TCG forgets it, so its guests are not asked. */
static void expect_reserved(const char *what)
{
    trap_last.error |= 1;
    expect(what, PF, 9);
}

static uint64_t tables[3][512] __attribute__((aligned(4096)));
static uint64_t page[512] __attribute__((aligned(4096)));

static void map_window(uint64_t entry)
{
    uint64_t *root = (uint64_t *)(uintptr_t)(read_cr3() & ~0xfffull);

    tables[0][0] = (uintptr_t)tables[1] | 7;
    tables[1][0] = (uintptr_t)tables[2] | 7;
    tables[2][0] = entry;
    root[1] = (uintptr_t)tables[0] | 7;
    write_cr3(read_cr3());
}

static void page_faults(void)
{
    map_window(0);
    TRAP("movq (%0), %%rax", : : "r"(WINDOW) : "rax", "memory");
    expect("a read of an absent page", PF, 0);
    CHECK_EQUAL(trap_last.cr2, WINDOW);
    TRAP("movq %%rax, 8(%0)", : : "r"(WINDOW) : "memory");
    expect("a write to an absent page", PF, 2);
    CHECK_EQUAL(trap_last.cr2, WINDOW + 8);
    map_window((uintptr_t)page | 1);
    write_cr0(read_cr0() | 0x10000u); /* WP */
    TRAP("movq %%rax, (%0)", : : "r"(WINDOW) : "memory");
    expect("a write to a read-only page", PF, 3);
    write_cr0(read_cr0() & ~(word_t)0x10000u);
    TRAP("movq %%rax, (%0)", : : "r"(WINDOW) : "memory");
    expect("the same without CR0.WP", NONE, 0);
    map_window((uintptr_t)page | 3 | (1ull << 51));
    TRAP("movq (%0), %%rax", : : "r"(WINDOW) : "rax", "memory");
    expect_reserved("a reserved bit in a page-table entry");
    map_window((uintptr_t)page | 3 | (1ull << 63));
    wrmsr(0xc0000080, rdmsr(0xc0000080) & ~0x800ull);
    TRAP("movq (%0), %%rax", : : "r"(WINDOW) : "rax", "memory");
    expect_reserved("bit 63 without EFER.NXE");
    wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x800);
    TRAP("movq (%0), %%rax", : : "r"(WINDOW) : "rax", "memory");
    expect("a read of a no-execute page", NONE, 0);
    page[0] = 0xc3; /* ret, which is not reached */
    TRAP("jmpq *%0", : : "r"(WINDOW) : "memory");
    expect("execution of a no-execute page", PF, 0x11);
}
#else
static void page_faults(void)
{
}
#endif

void guest_main(void)
{
    undefined_instructions();
    hypercalls();
    divide_errors();
    traps_point_after_the_instruction();
    general_protection();
    single_steps();
    page_faults();
}
