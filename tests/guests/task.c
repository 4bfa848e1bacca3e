/* SPDX-License-Identifier: MIT */
/*
 * Task switches of 32-bit protected mode: JMP and CALL to a TSS and to a task gate, IRET by the nested-task link, task
 * gates of the IDT for software interrupts, external ones and exceptions with an error code, busy bits, links, CR3 and
 * LDT of a task, a 16-bit TSS, and the exceptions that a wrong TSS raises, in the old task or in the new one.
 * SDM 3A 8 "Task Management", table 8-1 "Exception Conditions Checked During a Task Switch".
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "task";

#define MAIN 0x18u
#define TASK 0x20u
#define FAULT 0x28u
#define IRQ 0x30u
#define SMALL 0x38u /* 16-bit */
#define GATE 0x40u  /* task gate to TASK */
#define ABSENT_TSS 0x48u
#define SHORT_TSS 0x50u
#define LDT 0x58u
#define SMALL_CODE 0x60u
#define ABSENT_DATA 0x68u
#define SHARED 0x70u /* one task behind several gates */
#define GDT_ENTRIES 15u
#define BEYOND 0x100u
#define LOCAL_DATA 0x0cu /* entry 1 of the LDT */

#define TYPE_TSS_16 0x81u
#define TYPE_TSS_32 0x89u
#define TYPE_LDT 0x82u
#define TYPE_TASK_GATE 0x85u
#define BUSY 0x20000000000ull
#define PRESENT 0x800000000000ull

#define DE 0
#define TS 10
#define NP 11
#define SS_FAULT 12
#define GP 13
#define SOFTWARE_VECTOR 0x60u
#define IRQ_VECTOR 0x61u
#define APIC_ICR_LOW 0x300
#define LAPIC_EOI 0xb0
#define TO_SELF 0x40000u
#define FLAG_NT 0x4000u
#define CR0_TS 8u
#define CR0_PG 0x80000000u
#define CR4_PSE 0x10u
#define STACK_BYTES 1024u

struct tss {
    uint32_t link, stacks[6], cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t es, cs, ss, ds, fs, gs, ldt, trap;
};
_Static_assert(sizeof(struct tss) == 104, "SDM 3A 8.2.1, figure 8-2");

struct tss_16 {
    uint16_t link, stacks[6], ip, flags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};
_Static_assert(sizeof(struct tss_16) == 44, "SDM 3A 8.6, figure 8-10");

static uint64_t gdt[GDT_ENTRIES] __attribute__((aligned(8)));
static uint64_t ldt[2] __attribute__((aligned(8)));
static struct tss main_tss, task_tss, fault_tss, irq_tss, shared_tss;
static struct tss_16 small_tss;
static uint8_t task_stack[STACK_BYTES], fault_stack[STACK_BYTES], irq_stack[STACK_BYTES], shared_stack[STACK_BYTES];

/* What the tasks write down. */
struct notes {
    uint32_t runs, gprs[8], flags, cr0, tr, ds, window;
};
struct fault_notes {
    uint32_t runs, error, tr, skip, gives_up;
};
extern volatile struct notes task_notes;
extern volatile struct fault_notes fault_notes;
extern volatile uint32_t irq_runs, small_runs, small_ax, small_tr, shared_runs;
extern const char task_entry[], fault_entry[], irq_entry[], small_entry[], shared_entry[];

/*
 * task: notes its state, and goes back the way it came: by IRET where the nested-task flag is set, by a jump otherwise.
 * fault: takes the error code from its stack; then returns to main, `skip` bytes behind the instruction that faulted,
 * or gives up a task that cannot run and jumps to main, which has left itself by a jump. Each is entered behind its
 * last instruction the next time. shared: main goes on two bytes behind where it was.
 */
__asm__(".data\n"
        ".balign 4\n"
        "task_notes: .skip 56\n"
        "fault_notes: .skip 20\n"
        "irq_runs: .long 0\n"
        "small_runs: .long 0\n"
        "small_ax: .long 0\n"
        "small_tr: .long 0\n"
        "shared_runs: .long 0\n"
        ".text\n"
        "task_entry: pushal; cld; movl %esp, %esi; movl $task_notes+4, %edi; movl $8, %ecx; rep movsl; popal\n"
        "pushfl; popl task_notes+36\n"
        "movl %cr0, %eax; movl %eax, task_notes+40\n"
        "xorl %eax, %eax; str %ax; movl %eax, task_notes+44; movw %ds, %ax; movl %eax, task_notes+48\n"
        "movl %cr0, %eax; testl %eax, %eax; jns 1f; movl 0x40000000, %eax; movl %eax, task_notes+52\n"
        "1: incl task_notes\n"
        "testl $0x4000, task_notes+36; jz 2f\n"
        "iretl; jmp task_entry\n"
        "2: ljmp $0x18, $0; jmp task_entry\n"
        "fault_entry: popl fault_notes+4; incl fault_notes\n"
        "xorl %eax, %eax; str %ax; movl %eax, fault_notes+8\n"
        "cmpl $0, fault_notes+16; jne 1f\n"
        "movl fault_notes+12, %eax; addl %eax, main_tss+32\n"
        "iretl; jmp fault_entry\n"
        "1: ljmp $0x18, $0; jmp fault_entry\n"
        "irq_entry: incl irq_runs; movl $0, 0xfee000b0; iretl; jmp irq_entry\n"
        "shared_entry: incl shared_runs; addl $2, main_tss+32; iretl; jmp shared_entry\n"
        "small_entry: incl small_runs; movl %eax, small_ax; strw small_tr; ljmp $0x18, $0\n");

struct __attribute__((packed)) table {
    uint16_t limit;
    uint32_t base;
};

static uint32_t address_of(const volatile void *what)
{
    return (uint32_t)(uintptr_t)what;
}

static uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t type)
{
    return (uint64_t)(base >> 24) << 56 | (uint64_t)type << 40 | (uint64_t)(base & 0xffffff) << 16 | limit;
}

static void fill(struct tss *tss, const char *entry, uint8_t *stack)
{
    *tss = (struct tss){.eip = address_of(entry), .eflags = 2, .esp = address_of(stack) + STACK_BYTES};
    tss->cs = KIT_CODE;
    tss->es = tss->ss = tss->ds = tss->fs = tss->gs = KIT_DATA;
}

static void fill_task(void)
{
    fill(&task_tss, task_entry, task_stack);
    task_tss.eax = 0xa0;
    task_tss.ecx = 0xa1;
    task_tss.edx = 0xa2;
    task_tss.ebx = 0xa3;
    task_tss.ebp = 0xa5;
    task_tss.esi = 0xa6;
    task_tss.edi = 0xa7;
    gdt[TASK / 8] = descriptor(address_of(&task_tss), sizeof(task_tss) - 1, TYPE_TSS_32);
}

static void fill_others(void)
{
    fill(&fault_tss, fault_entry, fault_stack);
    fill(&irq_tss, irq_entry, irq_stack);
    fill(&shared_tss, shared_entry, shared_stack);
    gdt[SHARED / 8] = descriptor(address_of(&shared_tss), sizeof(shared_tss) - 1, TYPE_TSS_32);
    small_tss = (struct tss_16){.ip = 0, .flags = 2, .ax = 0xb0b1, .cs = SMALL_CODE};
    small_tss.ds = small_tss.es = small_tss.ss = KIT_DATA;
    gdt[FAULT / 8] = descriptor(address_of(&fault_tss), sizeof(fault_tss) - 1, TYPE_TSS_32);
    gdt[IRQ / 8] = descriptor(address_of(&irq_tss), sizeof(irq_tss) - 1, TYPE_TSS_32);
    gdt[SMALL / 8] = descriptor(address_of(&small_tss), sizeof(small_tss) - 1, TYPE_TSS_16);
    gdt[SMALL_CODE / 8] = descriptor(address_of(small_entry), 0xfff, 0x409b);
    gdt[GATE / 8] = descriptor(TASK, 0, TYPE_TASK_GATE);
    gdt[ABSENT_TSS / 8] = gdt[TASK / 8] & ~PRESENT;
    gdt[SHORT_TSS / 8] = descriptor(address_of(&task_tss), sizeof(task_tss) - 2, TYPE_TSS_32);
    gdt[LDT / 8] = descriptor(address_of(ldt), sizeof(ldt) - 1, TYPE_LDT);
    gdt[ABSENT_DATA / 8] = gdt[KIT_DATA / 8] & ~PRESENT;
    ldt[1] = gdt[KIT_DATA / 8];
}

static void set_up(void)
{
    struct table pointer = {sizeof(gdt) - 1, address_of(gdt)};

    gdt[KIT_CODE / 8] = 0x00cf9b000000ffffull;
    gdt[KIT_DATA / 8] = 0x00cf93000000ffffull;
    gdt[MAIN / 8] = descriptor(address_of(&main_tss), sizeof(main_tss) - 1, TYPE_TSS_32);
    fill_task();
    fill_others();
    __asm__ volatile("lgdt %0; ltr %w1" : : "m"(pointer), "r"(MAIN) : "memory");
}

static uint64_t *idt_entry(uint8_t vector)
{
    struct table idtr;

    __asm__ volatile("sidt %0" : "=m"(idtr));
    return (uint64_t *)(uintptr_t)idtr.base + vector;
}

static void set_task_gate(uint8_t vector, uint32_t selector)
{
    *idt_entry(vector) = descriptor(selector, 0, TYPE_TASK_GATE);
}

static bool busy(uint32_t selector)
{
    return (gdt[selector / 8] & BUSY) != 0;
}

/* The switch, with main's registers known: they come back as they were. */
#define SWITCH(instruction)                                                                                        \
    do {                                                                                                           \
        uint32_t a = 0x11111111, b = 0x22222222, c = 0x33333333, d = 0x44444444, si = 0x55555555, di = 0x66666666; \
        __asm__ volatile(instruction : "+a"(a), "+b"(b), "+c"(c), "+d"(d), "+S"(si), "+D"(di) : : "memory", "cc"); \
        CHECK(a == 0x11111111 && b == 0x22222222 && c == 0x33333333 && d == 0x44444444 && si == 0x55555555 &&      \
              di == 0x66666666);                                                                                   \
    } while (0)

static void check_task(uint32_t runs, bool nested)
{
    CHECK_EQUAL(task_notes.runs, runs);
    CHECK_EQUAL(task_notes.tr, TASK);
    CHECK_EQUAL(task_notes.flags & FLAG_NT, nested ? FLAG_NT : 0);
    CHECK_EQUAL(task_notes.cr0 & CR0_TS, CR0_TS);
    CHECK((read_cr0() & CR0_TS) != 0); /* by the way back */
    __asm__ volatile("clts");
    CHECK(busy(MAIN) && !busy(TASK));
}

static void a_jump_loads_a_task_and_a_jump_goes_back(void)
{
    uint32_t runs = task_notes.runs;

    fill_task();
    SWITCH("ljmp $0x20, $0");
    check_task(runs + 1, false);
    /* PUSHA's order is that of the encoding, backwards. */
    CHECK_EQUAL(task_notes.gprs[7], 0xa0);
    CHECK_EQUAL(task_notes.gprs[6], 0xa1);
    CHECK_EQUAL(task_notes.gprs[5], 0xa2);
    CHECK_EQUAL(task_notes.gprs[4], 0xa3);
    CHECK_EQUAL(task_notes.gprs[3], address_of(task_stack) + STACK_BYTES);
    CHECK_EQUAL(task_notes.gprs[2], 0xa5);
    CHECK_EQUAL(task_notes.gprs[1], 0xa6);
    CHECK_EQUAL(task_notes.gprs[0], 0xa7);
    CHECK_EQUAL(task_tss.esp, address_of(task_stack) + STACK_BYTES);
    SWITCH("ljmp $0x20, $0"); /* where it left off */
    check_task(runs + 2, false);
}

static void a_call_links_and_iret_follows_the_link(void)
{
    uint32_t runs = task_notes.runs;

    fill_task();
    SWITCH("lcall $0x20, $0");
    check_task(runs + 1, true);
    CHECK_EQUAL(task_tss.link, MAIN);
    CHECK_EQUAL(task_tss.eflags & FLAG_NT, 0); /* IRET clears it in what it saves */
    SWITCH("lcall $0x40, $0");                 /* a task gate of the GDT */
    check_task(runs + 2, true);
}

static void interrupts_go_through_task_gates(void)
{
    uint32_t runs = task_notes.runs;

    fill_task();
    set_task_gate(SOFTWARE_VECTOR, TASK);
    SWITCH("int $0x60");
    check_task(runs + 1, true);
    set_task_gate(IRQ_VECTOR, IRQ);
    lapic_write(APIC_ICR_LOW, TO_SELF | IRQ_VECTOR);
    SWITCH("sti; nop; nop; cli");
    CHECK_EQUAL(irq_runs, 1);
    CHECK(busy(MAIN) && !busy(IRQ));
    lapic_write(APIC_ICR_LOW, TO_SELF | IRQ_VECTOR);
    SWITCH("sti; hlt; cli");
    CHECK_EQUAL(irq_runs, 2);
}

/* A fault, a software interrupt and an external one by turns: each goes back to where it came from. */
static void one_task_serves_several_gates(void)
{
    uint64_t kept = *idt_entry(DE);

    set_task_gate(DE, SHARED);
    set_task_gate(SOFTWARE_VECTOR + 2, SHARED);
    set_task_gate(IRQ_VECTOR + 2, SHARED);
    for (uint32_t i = 0; i < 3; i++) {
        shared_runs = 0;
        SWITCH("divl %%ecx"); /* the quotient is too large */
        CHECK_EQUAL(shared_runs, 1);
        SWITCH("int $0x62; nop; nop");
        CHECK_EQUAL(shared_runs, 2);
        lapic_write(APIC_ICR_LOW, TO_SELF | (IRQ_VECTOR + 2));
        SWITCH("sti; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; cli");
        lapic_write(LAPIC_EOI, 0);
        CHECK_EQUAL(shared_runs, 3);
        SWITCH("int $0x62; nop; nop");
        CHECK_EQUAL(shared_runs, 4);
        CHECK(busy(MAIN) && !busy(SHARED));
    }
    *idt_entry(DE) = kept;
}

/* The error code is on the handler's own stack, and the task that faulted stands at its instruction. */
static void faults_go_through_task_gates(void)
{
    uint64_t kept = *idt_entry(GP);
    uint32_t runs = fault_notes.runs;

    set_task_gate(GP, FAULT);
    fault_notes.skip = 2;
    SWITCH("movw %%bx, %%fs"); /* 0x2222 is beyond the GDT */
    CHECK_EQUAL(fault_notes.runs, runs + 1);
    CHECK_EQUAL(fault_notes.error, 0x2220);
    CHECK_EQUAL(fault_notes.tr, FAULT);
    CHECK_EQUAL(fault_tss.link, MAIN);
    CHECK(busy(MAIN) && !busy(FAULT));
    *idt_entry(GP) = kept;
}

static void a_16_bit_task_runs(void)
{
    SWITCH("ljmp $0x38, $0");
    CHECK_EQUAL(small_runs, 1);
    CHECK_EQUAL(small_ax & 0xffff, 0xb0b1);
    CHECK_EQUAL(small_tr & 0xffff, SMALL);
    CHECK(busy(MAIN) && !busy(SMALL));
    CHECK(small_tss.ip != 0); /* saved behind its jump */
}

static void expect(const char *what, uint32_t vector, uint32_t error)
{
    if (trap_last.vector != vector || trap_last.error != error) {
        guest_fail("%s: vector %u error 0x%x instead of %u and 0x%x", what, trap_last.vector, trap_last.error, vector,
                   error);
    }
    CHECK(busy(MAIN));
}

static void iret_to(uint32_t link)
{
    main_tss.link = link;
    TRAP("pushfl; orl $0x4000, (%%esp); popfl; iretl", : : : "memory", "cc");
    __asm__ volatile("pushfl; andl $~0x4000, (%%esp); popfl" : : : "memory", "cc");
}

static void wrong_targets_fault_in_the_old_task(void)
{
    fill_task();
    TRAP("ljmp $0x18, $0", : : : "memory");
    expect("a jump to the task itself", GP, MAIN);
    TRAP("ljmp $0x48, $0", : : : "memory");
    expect("a jump to an absent TSS", NP, ABSENT_TSS);
    TRAP("ljmp $0x50, $0", : : : "memory");
    expect("a jump to a TSS that is too short", TS, SHORT_TSS);
    TRAP("lcall $0x100, $0", : : : "memory");
    expect("a call beyond the GDT", GP, BEYOND);
    TRAP("ljmp $0x10, $0", : : : "memory");
    expect("a jump to data", GP, KIT_DATA);
    iret_to(TASK);
    expect("IRET to a task that is not busy", TS, TASK);
    iret_to(KIT_DATA);
    expect("IRET to data", TS, KIT_DATA);
    iret_to(BEYOND);
    expect("IRET beyond the GDT", TS, BEYOND);
    *idt_entry(SOFTWARE_VECTOR) &= ~PRESENT;
    TRAP("int $0x60", : : : "memory");
    expect("an absent task gate", NP, SOFTWARE_VECTOR * 8 + 2);
    set_task_gate(SOFTWARE_VECTOR, KIT_DATA);
    TRAP("int $0x60", : : : "memory");
    expect("a task gate to data", GP, KIT_DATA);
    CHECK(!busy(TASK));
}

/* QEMU's CPU, alone or under us, saves the instruction pointer of the jump instead of the new task's. */
static bool on_qemus_cpu(void)
{
    return on_plain_tcg() || cpuid(0x80000002, 0).eax == 0x554d4551; /* "QEMU" in the brand string */
}

/* The switch is complete when the fault comes: the new task is busy and is the one that the handler's link names. */
static void task_faults(const char *what, uint8_t vector, uint32_t error)
{
    uint64_t kept = *idt_entry(vector);
    uint32_t runs = fault_notes.runs, task_runs = task_notes.runs;

    set_task_gate(vector, FAULT);
    fault_notes.gives_up = 1;
    SWITCH("ljmp $0x20, $0");
    fault_notes.gives_up = 0;
    __asm__ volatile("clts");
    *idt_entry(vector) = kept;
    if (fault_notes.runs != runs + 1 || fault_notes.error != error) {
        guest_fail("%s: %u faults, error 0x%x instead of 0x%x", what, fault_notes.runs - runs, fault_notes.error,
                   error);
    }
    CHECK_EQUAL(task_notes.runs, task_runs);
    CHECK_EQUAL(fault_tss.link, TASK);
    if (!on_qemus_cpu()) {
        CHECK_EQUAL(task_tss.eip, address_of(task_entry));
    }
    CHECK(busy(MAIN) && busy(TASK) && !busy(FAULT));
}

static void wrong_selectors_fault_in_the_new_task(void)
{
    fill_task();
    task_tss.ds = KIT_CODE | 3; /* readable, but its DPL is below the RPL */
    task_faults("DS with an RPL above the DPL", TS, KIT_CODE);
    fill_task();
    task_tss.es = BEYOND;
    task_faults("ES beyond the GDT", TS, BEYOND);
    CHECK_EQUAL(task_tss.es & 0xffff, BEYOND);
    fill_task();
    task_tss.ds = ABSENT_DATA;
    task_faults("DS that is absent", NP, ABSENT_DATA);
    if (!on_qemus_cpu()) { /* which raises #NP */
        fill_task();
        task_tss.ss = ABSENT_DATA;
        task_faults("SS that is absent", SS_FAULT, ABSENT_DATA);
    }
    fill_task();
    task_tss.ss = 0;
    task_faults("a null SS", TS, 0);
    fill_task();
    task_tss.cs = KIT_DATA;
    task_faults("CS that is data", TS, KIT_DATA);
    fill_task();
    task_tss.ldt = KIT_DATA;
    task_faults("LDTR that is data", TS, KIT_DATA);
}

static uint32_t main_directory[1024] __attribute__((aligned(4096)));
static uint32_t task_directory[1024] __attribute__((aligned(4096)));

/* 4 MiB pages, one to one, but for one whose contents differ: main sees the first 4 MiB there, the task the second. */
static void a_task_has_its_own_tables(void)
{
    volatile uint32_t *second = (volatile uint32_t *)(uintptr_t)0x400000u;
    uint32_t runs = task_notes.runs;

    fill_task();
    for (uint32_t i = 0; i < 1024; i++) {
        main_directory[i] = task_directory[i] = i << 22 | 0x83;
    }
    main_directory[0x100] = 0x83;
    task_directory[0x100] = 0x400083;
    *second = 0x600d600d;
    task_tss.cr3 = address_of(task_directory);
    main_tss.cr3 = address_of(main_directory);
    task_tss.ldt = LDT;
    task_tss.ds = LOCAL_DATA;
    write_cr4(read_cr4() | CR4_PSE);
    write_cr3(address_of(main_directory));
    write_cr0(read_cr0() | CR0_PG);
    SWITCH("lcall $0x20, $0");
    check_task(runs + 1, true);
    CHECK_EQUAL(task_notes.window, 0x600d600d);
    CHECK_EQUAL(task_notes.ds, LOCAL_DATA);
    CHECK_EQUAL(read_cr3(), address_of(main_directory));
    CHECK_EQUAL(*(volatile uint32_t *)(uintptr_t)0x40000000u, *(volatile uint32_t *)(uintptr_t)0);
    write_cr0(read_cr0() & ~(word_t)CR0_PG);
}

void guest_main(void)
{
    pic_init();
    lapic_init();
    set_up();
    a_jump_loads_a_task_and_a_jump_goes_back();
    a_call_links_and_iret_follows_the_link();
    interrupts_go_through_task_gates();
    one_task_serves_several_gates();
    faults_go_through_task_gates();
    a_16_bit_task_runs();
    wrong_targets_fault_in_the_old_task();
    wrong_selectors_fault_in_the_new_task();
    a_task_has_its_own_tables();
}
