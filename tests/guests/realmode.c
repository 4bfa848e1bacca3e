/* SPDX-License-Identifier: MIT */
/*
 * Real mode with its own interrupt table: software and hardware interrupts, exceptions, port I/O, HLT, segments, and a
 * step to protected mode and back, as boot loaders do it.
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "realmode";

#define TIMER_VECTOR 0x08
#define SOFTWARE_VECTOR 0x60
#define DIVIDE_VECTOR 0
#define GP_VECTOR 13
#define UNKNOWN_MSR 0x12345678u
#define CR4_RESERVED 0x80000000u
#define COUNT_10_MS 11932u
#define SEGMENT 0x2000u

extern const char on_timer[], on_software[], on_divide[], on_protection[];
extern volatile uint32_t real_ticks, real_software, real_divides, real_protections;

/* Handlers of the real-mode table: 16-bit frames, so they are not C. The division is skipped by its 2 bytes, what
 * breaks a protection by its 2 or, with CR4, 3. */
__asm__(".text\n"
        ".code16\n"
        "on_timer: pushl %eax; incl %cs:real_ticks; movb $0x20, %al; outb %al, $0x20; popl %eax; iretw\n"
        "on_software: incl %cs:real_software; iretw\n"
        "on_divide: pushw %bp; movw %sp, %bp; addw $2, 2(%bp); popw %bp; incl %cs:real_divides; iretw\n"
        "on_protection: pushw %bp; movw %sp, %bp; addw %di, 2(%bp); popw %bp; incl %cs:real_protections; iretw\n"
        ".balign 4\n"
        "real_ticks: .long 0\n"
        "real_software: .long 0\n"
        "real_divides: .long 0\n"
        "real_protections: .long 0\n"
        ".code16gcc\n");

static void set_vector(uint8_t vector, const char *handler)
{
    *(volatile uint32_t *)(uintptr_t)(vector * 4u) = (uint32_t)(uintptr_t)handler; /* segment 0 */
}

static void software_interrupts_come_back(void)
{
    set_vector(SOFTWARE_VECTOR, on_software);
    __asm__ volatile("int $0x60; int $0x60" : : : "memory");
    CHECK_EQUAL(real_software, 2);
}

static void faults_go_through_the_table(void)
{
    set_vector(DIVIDE_VECTOR, on_divide);
    __asm__ volatile("xorw %%cx, %%cx; xorw %%dx, %%dx; movw $1, %%ax; divw %%cx"
                     :
                     :
                     : "ax", "cx", "dx", "cc", "memory");
    CHECK_EQUAL(real_divides, 1);
    real_divides = 0;
}

/* Real mode pushes no error code, also for what the CPU leaves to a hypervisor: the handlers would not come back.
 * SDM 3B 21.1.4 "Interrupt and Exception Handling". */
static void protection_faults_have_no_error_code(void)
{
    if (on_plain_tcg()) {
        return; /* unknown MSRs read 0 there, and reserved bits of CR4 stop it */
    }
    set_vector(GP_VECTOR, on_protection);
    __asm__ volatile("movl %%eax, %%cr4" : : "a"(read_cr4() | CR4_RESERVED), "D"(3) : "memory");
    CHECK_EQUAL(real_protections, 1);
    __asm__ volatile("rdmsr" : : "c"(UNKNOWN_MSR), "D"(2) : "eax", "edx", "memory");
    CHECK_EQUAL(real_protections, 2);
    __asm__ volatile("wrmsr" : : "c"(UNKNOWN_MSR), "a"(0), "d"(0), "D"(2) : "memory");
    CHECK_EQUAL(real_protections, 3);
}

static void segments_address_16_bytes_each(void)
{
    uint32_t seen;

    *(volatile uint32_t *)(uintptr_t)0x0ffcu = 0;
    __asm__ volatile("movw %w2, %%fs; movl %1, %%fs:0x10; movl %%fs:0x10, %0; xorw %%ax, %%ax; movw %%ax, %%fs"
                     : "=&c"(seen)
                     : "d"(0x12345678u), "b"(SEGMENT)
                     : "eax", "memory");
    CHECK_EQUAL(seen, 0x12345678u);
}

static void begin_interrupts(void)
{
    pic_init();
    out8(0x20, 0x11);
    out8(0x21, TIMER_VECTOR);
    out8(0x21, 4);
    out8(0x21, 1);
    set_vector(TIMER_VECTOR, on_timer);
}

static void start_timer(void)
{
    begin_interrupts();
    out8(0x43, 0x34);
    out8(0x40, (uint8_t)COUNT_10_MS);
    out8(0x40, (uint8_t)(COUNT_10_MS >> 8));
    out8(0x21, 0xfe);
}

static void the_timer_wakes_a_halted_cpu(void)
{
    start_timer();
    while (real_ticks < 5) {
        wait_for_interrupt();
    }
    out8(0x21, 0xff);
}

/* To 16-bit protected mode and back, with CS reloaded at both steps. */
static void protected_mode_and_back(void)
{
    static const uint64_t gdt[] = {0, 0x00009b000000ffffULL, 0x000093000000ffffULL};
    struct __attribute__((packed)) {
        uint16_t limit;
        uint32_t base;
    } pointer = {sizeof(gdt) - 1, (uint32_t)(uintptr_t)gdt};
    uint32_t inside;

    __asm__ volatile("lgdtl %1\n\t"
                     "movl %%cr0, %%eax; orb $1, %%al; movl %%eax, %%cr0\n\t"
                     "ljmpw $8, $1f\n1:\n\t"
                     "movw $16, %%dx; movw %%dx, %%ds; movw %%dx, %%ss\n\t"
                     "movl %%cr0, %0\n\t"
                     "andb $0xfe, %%al; movl %%eax, %%cr0\n\t"
                     "ljmpw $0, $2f\n2:\n\t"
                     "xorw %%dx, %%dx; movw %%dx, %%ds; movw %%dx, %%ss"
                     : "=&c"(inside)
                     : "m"(pointer)
                     : "eax", "edx", "memory");
    CHECK_EQUAL(inside & 1, 1);
    CHECK_EQUAL(read_cr0() & 1, 0);
    real_software = 0;
    software_interrupts_come_back();
}

#define APIC_TPR (LAPIC_BASE + 0x80)
#define APIC_VERSION (LAPIC_BASE + 0x30)
#define VIDEO_SEGMENT 0xb800u

/* A device by 16-bit code with 16-bit addresses: a segment whose base is the device's page. All forms give the same. */
static void devices_answer_16_bit_protected_mode(void)
{
    static const uint64_t gdt[] = {0, 0x00009b000000ffffULL, 0x000093000000ffffULL, 0xfe0093e00000ffffULL,
                                   0x008f93000000ffffULL};
    struct __attribute__((packed)) {
        uint16_t limit;
        uint32_t base;
    } pointer = {sizeof(gdt) - 1, (uint32_t)(uintptr_t)gdt};
    uint32_t based, indexed, read_back, loaded;

    __asm__ volatile("lgdtl %4\n\t"
                     "movl %%cr0, %%eax; orb $1, %%al; movl %%eax, %%cr0\n\t"
                     "ljmpw $8, $1f\n1:\n\t"
                     "movw $24, %%dx; movw %%dx, %%fs\n\t"
                     "movl %%fs:0x30, %%edi\n\t"
                     "movw $0x20, %%bx; movw $0x10, %%si; movl %%fs:(%%bx,%%si), %%ecx; pushl %%ecx\n\t"
                     "movw $0x80, %%bx; movl $0x35, %%fs:(%%bx); orl $0x40, %%fs:(%%bx); movl %%fs:(%%bx), %%ecx\n\t"
                     "movl $0, %%fs:0x80; movw $0x30, %%si; lodsl %%fs:(%%si), %%eax; movl %%eax, %%esi\n\t"
                     "movw $32, %%dx; movw %%dx, %%ds; movw %%dx, %%es; xorw %%dx, %%dx\n\t" /* 4 GiB: they stay so */
                     "movl %%cr0, %%eax; andb $0xfe, %%al; movl %%eax, %%cr0\n\t"
                     "ljmpw $0, $2f\n2:\n\t"
                     "movw %%dx, %%ds; movw %%dx, %%es; movw %%dx, %%fs; popl %%ebx"
                     : "=&D"(based), "=&b"(indexed), "=&c"(read_back), "=&S"(loaded)
                     : "m"(pointer)
                     : "eax", "edx", "memory", "cc");
    CHECK(based != 0 && based != 0xffffffff);
    CHECK_EQUAL(indexed, based);
    CHECK_EQUAL(loaded, based);
    CHECK_EQUAL(read_back, 0x75);
}

/* A pointer in a register: clang cuts a constant address in 16-bit code to 16 bits. */
static volatile uint32_t *apic_register(uint32_t address)
{
    __asm__ volatile("" : "+r"(address));
    return (volatile uint32_t *)(uintptr_t)address;
}

/* Segments that kept the limit of protected mode ("unreal"): all of the C code's pointers go through them. */
static void devices_answer_real_mode_with_big_segments(void)
{
    volatile uint32_t *priority = apic_register(APIC_TPR);
    volatile uint32_t *version = apic_register(APIC_VERSION);
    volatile uint32_t *from = version;
    uint32_t exchanged = 0x21, copied = 0;
    uint32_t *to = &copied;

    *priority = 0x10;
    *priority += 0x11;
    CHECK_EQUAL(*priority, 0x21);
    *priority = 0x43;
    __asm__ volatile("xchgl %0, (%1)" : "+r"(exchanged) : "r"(priority) : "memory");
    CHECK_EQUAL(exchanged, 0x43);
    CHECK_EQUAL(*priority, 0x21);
    *priority = 0;
    __asm__ volatile("cld; .byte 0x66, 0x67, 0xa5" : "+S"(from), "+D"(to) : : "memory"); /* MOVSD, 32-bit addresses */
    CHECK_EQUAL(copied, *version);
    CHECK((uintptr_t)from == (uintptr_t)version + 4 && to == &copied + 1);
}

#define FLAG_TF 0x100u
#define COUNT_1_MS 1193u

/* With big segments, too, an interrupt that waits already comes after the HLT, which it ends: there is no other one. A
 * CPU without unrestricted guest runs such code by steps, which the code does not see in its flags. */
static void a_wait_with_big_segments_ends(void)
{
    uint16_t segment, address;

    real_ticks = 0;
    out8(0x43, 0x30);   /* once, when it has its count */
    begin_interrupts(); /* none waits from before */
    out8(0x21, 0xff);
    out8(0x40, (uint8_t)COUNT_1_MS);
    out8(0x40, (uint8_t)(COUNT_1_MS >> 8));
    out8(0x20, 0x0a);
    while ((in8(0x20) & 1) == 0) { /* it does not wait yet */
    }
    out8(0x21, 0xfe);
    wait_for_interrupt();
    out8(0x21, 0xff);
    CHECK_EQUAL(real_ticks, 1);
    __asm__ volatile(".byte 0x2e; pushfw; popw %0; .byte 0x67; pushfw; popw %1" : "=r"(segment), "=r"(address));
    CHECK_EQUAL((segment | address) & FLAG_TF, 0);
    __asm__ volatile("pushfw; .byte 0x2e; popfw; pushfw; popw %0" : "=r"(segment) : : "cc");
    CHECK_EQUAL(segment & FLAG_TF, 0);
}

/* What old kernels and boot loaders write to the screen: there may be none, but the code goes on. */
static void text_for_a_screen_is_taken(void)
{
    uint16_t di = 0, cx = 80;

    __asm__ volatile("pushw %%es; movw %w2, %%es; cld; rep stosw; movb $0x41, %%es:2; incw %%es:4; popw %%es"
                     : "+D"(di), "+c"(cx)
                     : "b"(VIDEO_SEGMENT), "a"(0x0720)
                     : "memory", "cc");
    CHECK_EQUAL(di, 160);
    CHECK_EQUAL(cx, 0);
}

/* With a BIOS or without: an unknown service says so in CF, and int 0x12 tells the KiB of low memory. */
static void bios_services_return(void)
{
    uint8_t unknown;
    uint32_t kib = 0;

    __asm__ volatile("movw $0xee00, %%ax; int $0x15; setc %0" : "=q"(unknown) : : "eax", "cc", "memory");
    CHECK_EQUAL(unknown, 1);
    __asm__ volatile("int $0x12" : "+a"(kib) : : "cc", "memory");
    CHECK(kib >= 512 && kib <= 640);
}

void guest_main(void)
{
    bios_services_return();
    software_interrupts_come_back();
    faults_go_through_the_table();
    protection_faults_have_no_error_code();
    segments_address_16_bytes_each();
    the_timer_wakes_a_halted_cpu();
    protected_mode_and_back();
    devices_answer_16_bit_protected_mode();
    devices_answer_real_mode_with_big_segments();
    a_wait_with_big_segments_ends();
    text_for_a_screen_is_taken();
    protected_mode_and_back(); /* from big segments, and ES stays one: handlers write through CS in that state, too */
    faults_go_through_the_table();
}
