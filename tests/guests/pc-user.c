/* SPDX-License-Identifier: MIT */
/*
 * User code: what ring 3 may do and what it may not, where a hypervisor has a hand in it. Ports by IOPL and by the
 * TSS's map, string I/O and device registers through the page tables' rights, SMAP and UMIP, privileged instructions,
 * and CR4, whose bits are there exactly where CPUID says so. SDM 3A 2.5 "Control Registers", 4.6 "Access Rights", 5.9
 * "Privileged Instructions"; SDM 1 19.5 "Protected-Mode I/O".
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "pc-user";

#define UD 6
#define GP 13
#define PF 14
#define NONE 0xff
#define GATE_BACK 0x30
#define GATE_DPL_3 0x60u /* of the byte with type and present bit */
#define USER_CODE 0x1b
#define USER_DATA 0x23
#define TSS_SELECTOR 0x28
#define IOPL_3 0x3000u
#define ENTRY_USER 4u
#define ENTRY_LARGE 0x80u
#define PAGE 4096u
#define PF_PRESENT 1u
#define PF_WRITE 2u
#define PF_USER 4u
#define CR0_PG 0x80000000u
#define CR4_TSD (1u << 2)
#define CR4_PSE (1u << 4)
#define CR4_MCE (1u << 6)
#define CR4_UMIP (1u << 11)
#define CR4_LA57 (1u << 12)
#define CR4_PCIDE (1u << 17)
#define CR4_SMAP (1u << 21)
#define LAPIC_VERSION (LAPIC_BASE + 0x30)
#define LATCH 0x80u
#define PORT_B 0x61u

struct __attribute__((packed)) pointer {
    uint16_t limit;
    word_t base;
};

/* The parts in which the assembly of the two word sizes differs: a register's first letter, IRET's last, how memory is
 * addressed, and the registers that a function may change and only one of them has. */
#ifdef __x86_64__
#define AX_NAME "rax"
#define R "r"
#define IRET "iretq"
#define AT(symbol) #symbol "(%%rip)"
#define CHANGED "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory"
#define ENTRIES 512u
#define LARGE_BYTES 0x200000u
typedef uint64_t entry_t;
static struct __attribute__((packed)) {
    uint32_t reserved;
    uint64_t rsp[3];
    uint64_t unused[8];
    uint32_t unused2[2];
    uint16_t unused3, map;
} tss __attribute__((aligned(128)));
#define KERNEL_CODE_DESCRIPTOR 0x00af9b000000ffffULL
#define USER_CODE_DESCRIPTOR 0x00affb000000ffffULL
#else
#define AX_NAME "eax"
#define R "e"
#define IRET "iretl"
#define AT(symbol) #symbol
#define CHANGED "esi", "edi", "cc", "memory"
#define ENTRIES 1024u
#define LARGE_BYTES 0x400000u
typedef uint32_t entry_t;
static struct {
    uint32_t link, esp0, ss0;
    uint32_t unused[22];
    uint16_t unused2, map;
} tss __attribute__((aligned(128)));
#define KERNEL_CODE_DESCRIPTOR 0x00cf9b000000ffffULL
#define USER_CODE_DESCRIPTOR 0x00cffb000000ffffULL
static entry_t directory[ENTRIES] __attribute__((aligned(4096)));
#endif

static uint64_t gdt[7] = {0, KERNEL_CODE_DESCRIPTOR, 0x00cf93000000ffffULL, USER_CODE_DESCRIPTOR,
                          0x00cff3000000ffffULL};
static uint8_t kernel_stack[PAGE] __attribute__((aligned(16)));
static uint8_t user_stack[PAGE] __attribute__((aligned(16)));
static entry_t table[ENTRIES] __attribute__((aligned(4096)));
static uint8_t pages[2 * PAGE] __attribute__((aligned(4096))); /* the first is user code's, the second is not */
extern volatile word_t kernel_sp;                              /* assembly code uses it */
volatile word_t kernel_sp;

/* ---- Into ring 3 and back ---- */

static void load_gdt_and_tss(void)
{
    struct pointer pointer = {sizeof(gdt) - 1, (word_t)(uintptr_t)gdt};
    uint64_t base = (uintptr_t)&tss;

    gdt[5] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89ULL << 40 | (base >> 24 & 0xff) << 56;
    gdt[6] = base >> 32;
    tss.map = sizeof(tss); /* beyond the limit: no map */
#ifdef __x86_64__
    tss.rsp[0] = (uintptr_t)(kernel_stack + sizeof(kernel_stack));
#else
    tss.esp0 = (uintptr_t)(kernel_stack + sizeof(kernel_stack));
    tss.ss0 = KIT_DATA;
#endif
    __asm__ volatile("lgdt %0; ltr %w1" : : "m"(pointer), "r"(TSS_SELECTOR) : "memory");
}

static void open_gate_back(void)
{
    struct pointer pointer;
    uint8_t *gate;

    __asm__ volatile("sidt %0" : "=m"(pointer));
    gate = (uint8_t *)(uintptr_t)(pointer.base + GATE_BACK * 2 * sizeof(word_t));
    gate[5] |= GATE_DPL_3;
}

static void back(struct trap_frame *frame)
{
    (void)frame;
    __asm__ volatile("mov %0, %%ss; mov " AT(kernel_sp) ", %%" R "sp; jmp user_done" : : "r"(KIT_DATA));
}

/* Runs a function in ring 3. SDM 3A 6.12.1: IRET to an outer ring pops the stack, too. */
__attribute__((noinline)) static void in_user(void (*function)(void), word_t flags)
{
    word_t ax = (word_t)(uintptr_t)function;
    word_t cx = (word_t)(uintptr_t)(user_stack + sizeof(user_stack));
    word_t dx = flags | 2;

    __asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(USER_DATA));
    __asm__ volatile("push %%" R "bx; push %%" R "bp; mov %%" R
                     "sp, " AT(kernel_sp) "\n\t"
                                          "mov %%" R "ax, %%" R
                                          "bx; lea " AT(1f) ", %%" R "ax\n\t"
                                                            "push %3; push %%" R "cx; push %%" R
                                                            "dx; push %4; push %%" R "ax; " IRET "\n"
                                                            "1: call *%%" R "bx; int $0x30\n"
                                                            "user_done: pop %%" R "bp; pop %%" R "bx"
                     : "+a"(ax), "+c"(cx), "+d"(dx)
                     : "i"(USER_DATA), "i"(USER_CODE)
                     : CHANGED);
}

/* ---- Page tables: everything is user code's, except the second page of `pages` ---- */

#ifdef __x86_64__
static entry_t *large_entry(uintptr_t address)
{
    entry_t *entries = (entry_t *)(uintptr_t)(read_cr3() & ~0xfffULL);

    for (unsigned shift = 39; shift > 21; shift -= 9) {
        entry_t *entry = &entries[address >> shift & (ENTRIES - 1)];

        *entry |= ENTRY_USER;
        entries = (entry_t *)(uintptr_t)(*entry & 0x000ffffffffff000ULL);
    }
    return &entries[address >> 21 & (ENTRIES - 1)];
}

static void begin_paging(void)
{
}
#else
static entry_t *large_entry(uintptr_t address)
{
    return &directory[address / LARGE_BYTES];
}

static void begin_paging(void)
{
    for (uint32_t i = 0; i < ENTRIES; i++) {
        directory[i] = i * LARGE_BYTES | ENTRY_LARGE | 3;
    }
    write_cr4(read_cr4() | CR4_PSE);
    write_cr3((word_t)(uintptr_t)directory);
    write_cr0(read_cr0() | CR0_PG);
}
#endif

static uint32_t index_of(const uint8_t *page)
{
    return (uint32_t)((uintptr_t)page & (LARGE_BYTES - 1)) / PAGE;
}

static void set_user(entry_t *entry, bool user)
{
    *entry = user ? *entry | ENTRY_USER : *entry & ~(entry_t)ENTRY_USER;
}

/* Whose the code, the data and the stacks are. The first of `pages` stays user code's, the second the kernel's. */
static void give_all_to_user(bool user)
{
    for (uintptr_t address = 0; address < 16 * LARGE_BYTES; address += LARGE_BYTES) {
        set_user(large_entry(address), user);
    }
    for (uint32_t i = 0; i < ENTRIES; i++) {
        set_user(&table[i], user);
    }
    set_user(large_entry((uintptr_t)pages), true);
    set_user(&table[index_of(pages)], true);
    set_user(&table[index_of(pages + PAGE)], false);
    write_cr3(read_cr3());
}

static void make_pages(void)
{
    uintptr_t start = (uintptr_t)pages & ~(uintptr_t)(LARGE_BYTES - 1);

    begin_paging();
    set_user(large_entry(LAPIC_BASE), true);
    CHECK(index_of(pages) + 1 < ENTRIES);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        table[i] = (entry_t)(start + i * PAGE) | 3;
    }
    *large_entry((uintptr_t)pages) = (entry_t)(uintptr_t)table | ENTRY_USER | 3;
    give_all_to_user(true);
}

/* ---- The checks ---- */

static void expect(const char *what, uint32_t vector, uint32_t error)
{
    if (trap_last.vector != vector || (vector != NONE && trap_last.error != error)) {
        guest_fail("%s: vector %u error 0x%x instead of %u and 0x%x", what, trap_last.vector, trap_last.error, vector,
                   error);
    }
}

#define REFUSED(instruction)                                             \
    do {                                                                 \
        TRAP(instruction, : : : "ax", "bx", "cx", "dx", "cc", "memory"); \
        expect(instruction, GP, 0);                                      \
    } while (0)

/* QEMU's CPU knows no counter at all. */
static bool cpu_has_rdpmc(void)
{
    return !on_plain_tcg();
}

static void privileged_instructions_are_refused(void)
{
    REFUSED("hlt");
    REFUSED("clts");
    REFUSED("wbinvd");
    REFUSED("invd");
    REFUSED("xor %%eax, %%eax; lmsw %%ax");
    REFUSED("mov %%cr0, %%" AX_NAME);
    REFUSED("mov %%" AX_NAME ", %%cr3");
    REFUSED("mov %%" AX_NAME ", %%cr4");
    REFUSED("mov %%dr7, %%" AX_NAME);
    REFUSED("movl $0x10, %%ecx; rdmsr");
    REFUSED("movl $0x10, %%ecx; wrmsr");
    REFUSED("inb $0x61, %%al");
    REFUSED("outb %%al, $0x80");
    REFUSED("cli");
}

static void unprivileged_ones_work(void)
{
    struct cpuid words = cpuid(0x40000000, 0);
    word_t value = 99;

    CHECK(cpuid(0, 0).eax != 0);
    if (words.ebx == 0x4b4d564b) { /* KVM's hypercalls are for kernels: -EPERM */
        TRAP("vmcall", : "+a"(value) : : "memory");
        expect("vmcall", NONE, 0);
        CHECK_EQUAL(value, (word_t)-1);
        value = 99;
        TRAP("vmmcall", : "+a"(value) : : "memory");
        CHECK_EQUAL(value, (word_t)-1);
    }
    TRAP("smsw %w0", : "=a"(value) : : "memory");
    expect("smsw", NONE, 0);
    CHECK_EQUAL(value & 1, 1);
    CHECK(rdtsc() != 0);
}

static void ports_are_open_with_iopl_3(void)
{
    out8(LATCH, 0x5a);
    TRAP("inb $0x61, %%al", : : : "ax", "memory");
    expect("in with IOPL 3", NONE, 0);
}

/* Each element is checked before the port is touched, and registers say how many were done. */
static void string_io_has_the_rights_of_user_code(void)
{
    word_t di = (word_t)(uintptr_t)(pages + PAGE - 4);
    word_t si = di;
    word_t count = 8;

    TRAP("rep insb", : "+D"(di), "+c"(count) : "d"(PORT_B) : "memory");
    expect("ins to a page of the kernel's", PF, PF_PRESENT | PF_WRITE | PF_USER);
    CHECK_EQUAL(trap_last.cr2, (uintptr_t)(pages + PAGE));
    CHECK_EQUAL(count, 4);
    CHECK_EQUAL(di, (uintptr_t)(pages + PAGE));
    count = 8;
    TRAP("rep outsb", : "+S"(si), "+c"(count) : "d"(LATCH) : "memory");
    expect("outs from a page of the kernel's", PF, PF_PRESENT | PF_USER);
    CHECK_EQUAL(count, 4);
}

static void devices_are_reached_through_the_page_tables(void)
{
    TRAP("movl (%0), %%eax", : : "r"((word_t)LAPIC_VERSION) : "ax", "memory");
    expect("a register of the local APIC", NONE, 0);
}

static void devices_may_be_the_kernels(void)
{
    TRAP("movl (%0), %%eax", : : "r"((word_t)LAPIC_VERSION) : "ax", "memory");
    expect("a register of the kernel's", PF, PF_PRESENT | PF_USER);
    CHECK_EQUAL(trap_last.cr2, LAPIC_VERSION);
}

static void the_tsc_may_be_the_kernels(void)
{
    REFUSED("rdtsc");
}

static void rdpmc_is_refused(void)
{
    REFUSED("movl $64, %%ecx; rdpmc");
}

static struct pointer stored __attribute__((aligned(16)));

static void the_tables_places_are_hidden(void)
{
    TRAP("sgdt %0", : "=m"(stored) : : "memory");
    expect("sgdt with UMIP", GP, 0);
    TRAP("sidt %0", : "=m"(stored) : : "memory");
    expect("sidt with UMIP", GP, 0);
    REFUSED("sldt %%ax");
    REFUSED("str %%ax");
}

static void the_tables_places_are_told(void)
{
    TRAP("sgdt %0", : "=m"(stored) : : "memory");
    expect("sgdt without UMIP", NONE, 0);
    CHECK_EQUAL(stored.base, (uintptr_t)gdt);
    TRAP("str %%ax", : : : "ax", "memory");
    expect("str without UMIP", NONE, 0);
}

/* SDM 3A 4.6.1: supervisor code reaches user pages with EFLAGS.AC only; also when an instruction is emulated. */
static void smap_holds_for_emulated_instructions(void)
{
    if ((cpuid(7, 0).ebx & 1u << 20) == 0) {
        return;
    }
    give_all_to_user(false);
    write_cr4(read_cr4() | CR4_SMAP);
    TRAP("outsb", : : "S"(pages), "d"(LATCH) : "memory");
    expect("outs from a user page under SMAP", PF, PF_PRESENT);
    CHECK_EQUAL(trap_last.cr2, (uintptr_t)pages);
    TRAP("insb", : : "D"(pages), "d"(PORT_B) : "memory");
    expect("ins to a user page under SMAP", PF, PF_PRESENT | PF_WRITE);
    TRAP("stac; outsb; clac", : : "S"(pages), "d"(LATCH) : "cc", "memory");
    expect("the same with AC", NONE, 0);
    TRAP("movl (%0), %%eax", : : "r"((word_t)LAPIC_VERSION) : "ax", "memory");
    expect("a device under SMAP", PF, PF_PRESENT);
    write_cr4(read_cr4() & ~(word_t)CR4_SMAP);
    give_all_to_user(true);
}

/* Bits and the CPUID features that make them legal; other bits are reserved. SDM 3A 2.5. MCE and PCE may be set without
 * a feature: kernels do so without a look. */
static const struct {
    uint8_t bit, leaf, word, feature; /* word: 1 ebx, 2 ecx, 3 edx */
} cr4_bits[] = {
    {11, 7, 2, 2},  {13, 1, 2, 5}, {14, 1, 2, 6}, {16, 7, 1, 0}, {18, 1, 2, 26}, {20, 7, 1, 7},
    {21, 7, 1, 20}, {22, 7, 2, 3}, {23, 7, 2, 7}, {15, 0, 0, 0}, {19, 0, 0, 0},  {24, 7, 2, 31},
    {26, 0, 0, 0},  {29, 0, 0, 0}, {30, 0, 0, 0}, {31, 0, 0, 0},
};

static bool is_offered(uint32_t i)
{
    struct cpuid words = cpuid(cr4_bits[i].leaf, 0);
    uint32_t word = cr4_bits[i].word == 1 ? words.ebx : cr4_bits[i].word == 2 ? words.ecx : 0;

    return cr4_bits[i].leaf != 0 && (word >> cr4_bits[i].feature & 1) != 0;
}

/* SMEP would end the execution of these pages, which are user code's: it is only tried where it is not offered. */
static void cr4_has_the_bits_that_cpuid_offers(void)
{
    word_t old = read_cr4();

    for (uint32_t i = 0; i < sizeof(cr4_bits) / sizeof(cr4_bits[0]); i++) {
        word_t value = old | (word_t)1 << cr4_bits[i].bit;
        bool offered = is_offered(i);

        if (offered && (cr4_bits[i].bit == 20 || cr4_bits[i].bit == 21 || cr4_bits[i].bit == 13)) {
            continue;
        }
        TRAP("mov %0, %%cr4", : : "r"(value) : "memory");
        if (trap_last.vector != (offered ? NONE : GP)) {
            guest_fail("CR4 bit %u: vector %u where CPUID %s it", cr4_bits[i].bit, trap_last.vector,
                       offered ? "offers" : "does not offer");
        }
        CHECK_EQUAL(read_cr4(), offered ? value : old);
        write_cr4(old);
        CHECK_EQUAL(read_cr4(), old);
    }
    write_cr4(old & ~(word_t)CR4_MCE);
    CHECK_EQUAL(read_cr4(), old & ~(word_t)CR4_MCE);
    write_cr4(old | CR4_MCE);
    CHECK_EQUAL(read_cr4(), old | CR4_MCE);
    write_cr4(old);
}

#ifdef __x86_64__
/* SDM 3A 4.10.1, 4.5: PCIDE asks for CR3 bits 11:0 clear and for long mode while it is set, LA57 for no paging. */
static void process_contexts_follow_their_rules(void)
{
    word_t cr4 = read_cr4();
    word_t cr3 = read_cr3();

    TRAP("mov %0, %%cr4", : : "r"(cr4 ^ CR4_LA57) : "memory");
    expect("LA57 under paging", GP, 0);
    if ((cpuid(1, 0).ecx & 1u << 17) == 0) {
        TRAP("mov %0, %%cr4", : : "r"(cr4 | CR4_PCIDE) : "memory");
        expect("PCIDE that is not offered", GP, 0);
        return;
    }
    write_cr3(cr3 | 8);
    TRAP("mov %0, %%cr4", : : "r"(cr4 | CR4_PCIDE) : "memory");
    expect("PCIDE with a PWT bit in CR3", GP, 0);
    write_cr3(cr3);
    write_cr4(cr4 | CR4_PCIDE);
    TRAP("mov %0, %%cr0", : : "r"(read_cr0() & ~(word_t)CR0_PG) : "memory");
    expect("paging off with PCIDE", GP, 0);
    write_cr3(cr3 | 5);
    CHECK_EQUAL(read_cr3(), cr3 | 5);
    write_cr3(cr3 | 5 | 1ULL << 63);
    CHECK_EQUAL(read_cr3(), cr3 | 5);
    write_cr3(cr3);
    write_cr4(cr4);
}

/* SDM 2A "INVPCID": undefined where it is not offered; PCIDs other than 0 need CR4.PCIDE. */
static void invpcid_follows_its_rules(void)
{
    static uint64_t descriptor[2] __attribute__((aligned(16)));

    descriptor[0] = 1;
    TRAP("invpcid (%0), %1", : : "r"(descriptor), "r"(1ULL) : "memory");
    if ((cpuid(7, 0).ebx & 1u << 10) == 0) {
        expect("invpcid that is not offered", UD, 0);
        return;
    }
    CHECK((cpuid(1, 0).ecx & 1u << 17) != 0);
    expect("invpcid of another PCID without PCIDE", GP, 0);
    descriptor[0] = 0;
    TRAP("invpcid (%0), %1", : : "r"(descriptor), "r"(1ULL) : "memory");
    expect("invpcid of PCID 0", NONE, 0);
}
#else
static void process_contexts_follow_their_rules(void)
{
    TRAP("mov %0, %%cr4", : : "r"(read_cr4() | CR4_PCIDE) : "memory");
    expect("PCIDE without long mode", GP, 0);
}

static void invpcid_follows_its_rules(void)
{
}
#endif

static void with_cr4(word_t bit, void (*function)(void))
{
    write_cr4(read_cr4() | bit);
    in_user(function, 0);
    write_cr4(read_cr4() & ~bit);
}

void guest_main(void)
{
    load_gdt_and_tss();
    open_gate_back();
    trap_set(GATE_BACK, back);
    make_pages();
    in_user(privileged_instructions_are_refused, 0);
    in_user(unprivileged_ones_work, 0);
    in_user(ports_are_open_with_iopl_3, IOPL_3);
    in_user(string_io_has_the_rights_of_user_code, IOPL_3);
    in_user(devices_are_reached_through_the_page_tables, 0);
    with_cr4(CR4_TSD, the_tsc_may_be_the_kernels);
    in_user(the_tables_places_are_told, 0);
    if ((cpuid(7, 0).ecx & 4) != 0) {
        with_cr4(CR4_UMIP, the_tables_places_are_hidden);
    }
    if (cpu_has_rdpmc()) {
        in_user(rdpmc_is_refused, 0);
        rdpmc_is_refused(); /* and the kernel's: there is no such counter */
    }
    smap_holds_for_emulated_instructions();
    if (!on_plain_tcg()) { /* reserved bits of CR4 stop it */
        cr4_has_the_bits_that_cpuid_offers();
        process_contexts_follow_their_rules();
    }
    invpcid_follows_its_rules();
    set_user(large_entry(LAPIC_BASE), false);
    write_cr3(read_cr3());
    in_user(devices_may_be_the_kernels, 0);
}
