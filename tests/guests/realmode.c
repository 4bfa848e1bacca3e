/*
 * Real mode with its own interrupt table: software and hardware interrupts, exceptions, port I/O, HLT, segments, and a
 * step to protected mode and back, as boot loaders do it.
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "realmode";

#define TIMER_VECTOR 0x08
#define SOFTWARE_VECTOR 0x60
#define DIVIDE_VECTOR 0
#define COUNT_10_MS 11932u
#define SEGMENT 0x2000u

extern const char on_timer[], on_software[], on_divide[];
extern volatile uint32_t real_ticks, real_software, real_divides;

/* Handlers of the real-mode table: 16-bit frames, so they are not C. The division is skipped by its 2 bytes. */
__asm__(".text\n"
        ".code16\n"
        "on_timer: pushl %eax; incl %cs:real_ticks; movb $0x20, %al; outb %al, $0x20; popl %eax; iretw\n"
        "on_software: incl %cs:real_software; iretw\n"
        "on_divide: pushw %bp; movw %sp, %bp; addw $2, 2(%bp); popw %bp; incl %cs:real_divides; iretw\n"
        ".balign 4\n"
        "real_ticks: .long 0\n"
        "real_software: .long 0\n"
        "real_divides: .long 0\n"
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

static void start_timer(void)
{
    pic_init();
    out8(0x20, 0x11);
    out8(0x21, TIMER_VECTOR);
    out8(0x21, 4);
    out8(0x21, 1);
    set_vector(TIMER_VECTOR, on_timer);
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
    segments_address_16_bytes_each();
    the_timer_wakes_a_halted_cpu();
    protected_mode_and_back();
}
