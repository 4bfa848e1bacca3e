/* SPDX-License-Identifier: MIT */
/* The few devices that several guests use. */
#include "tests/guests/lib/guest.h"

#define PIC1 0x20
#define PIC2 0xa0
#define PIT_CHANNEL0 0x40
#define PIT_CHANNEL2 0x42
#define PIT_COMMAND 0x43
#define PIT_HZ 1193182u
#define PORT_B 0x61
#define PORT_B_GATE2 0x01
#define PORT_B_OUT2 0x20
#define IA32_APIC_BASE 0x1b
#define LAPIC_SPURIOUS 0xf0

void pic_init(void)
{
    out8(PIC1, 0x11);
    out8(PIC2, 0x11);
    out8(PIC1 + 1, 0x20);
    out8(PIC2 + 1, 0x28);
    out8(PIC1 + 1, 4);
    out8(PIC2 + 1, 2);
    out8(PIC1 + 1, 1);
    out8(PIC2 + 1, 1);
    pic_mask(0xffff);
}

void pic_mask(uint16_t mask)
{
    out8(PIC1 + 1, (uint8_t)mask);
    out8(PIC2 + 1, (uint8_t)(mask >> 8));
}

void pic_eoi(uint8_t irq)
{
    if (irq >= 8) {
        out8(PIC2, 0x20);
    }
    out8(PIC1, 0x20);
}

uint32_t lapic_read(uint32_t offset)
{
    return mmio_read32(LAPIC_BASE + offset);
}

void lapic_write(uint32_t offset, uint32_t value)
{
    mmio_write32(LAPIC_BASE + offset, value);
}

void lapic_init(void)
{
    wrmsr(IA32_APIC_BASE, (rdmsr(IA32_APIC_BASE) & 0xfffu) | LAPIC_BASE | 0x800u);
    for (uint32_t lvt = 0x320; lvt <= 0x370; lvt += 0x10) {
        lapic_write(lvt, 0x10000u);
    }
    lapic_write(LAPIC_SPURIOUS, 0x1ffu);
}

/* Mode 0: the output rises when the count has run out. */
void pit_wait_us(uint32_t microseconds)
{
    uint32_t count = (microseconds * (PIT_HZ / 1000)) / 1000;

    out8(PORT_B, (uint8_t)((in8(PORT_B) & ~0x02u) | PORT_B_GATE2));
    out8(PIT_COMMAND, 0xb0);
    out8(PIT_CHANNEL2, (uint8_t)count);
    out8(PIT_CHANNEL2, (uint8_t)(count >> 8));
    while ((in8(PORT_B) & PORT_B_OUT2) == 0) {
        __asm__ volatile("pause");
    }
}

uint32_t tsc_khz(void)
{
    uint64_t start = rdtsc();

    pit_wait_us(50000);
    return (uint32_t)(rdtsc() - start) / 50u;
}

bool on_plain_tcg(void)
{
    struct cpuid signature = cpuid(0x40000000u, 0);

    return (cpuid(1, 0).ecx & 0x80000000u) != 0 && signature.ebx == 0x54474354u && signature.ecx == 0x43544743u;
}
