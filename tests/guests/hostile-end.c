/* SPDX-License-Identifier: MIT */
/*
 * Attacks that end the guest: attack=NAME says which one. The hypervisor must name what was done, and no other guest
 * may notice. A guest that comes back prints FAIL.
 */
#include "tests/guests/lib/hostile.h"

const char guest_name[] = "hostile-end";

#define NOT_MEMORY 0xd0000000u /* a page of the hole below 4 GiB where no device is */

struct __attribute__((packed)) pointer {
    uint16_t limit;
    uint64_t base;
};

static void load_idt(uint64_t base, uint16_t limit)
{
    struct pointer idt = {limit, base};

    __asm__ volatile("lidt %0" : : "m"(idt));
}

static void triple_fault(void)
{
    load_idt(0, 0);
    __asm__ volatile("ud2");
}

static void idt_in_device(void)
{
    load_idt(NOT_MEMORY, 0xfff);
    __asm__ volatile("int3");
}

static void idt_in_device_fault(void)
{
    load_idt(NOT_MEMORY, 0xfff);
    __asm__ volatile("ud2");
}

static void idt_in_apic(void)
{
    load_idt(LAPIC_BASE, 0xfff);
    __asm__ volatile("ud2");
}

static void gdt_in_device(void)
{
    struct pointer gdt = {0xff, NOT_MEMORY};

    __asm__ volatile("lgdt %0; movw %w1, %%fs" : : "m"(gdt), "r"(0x20));
}

static void stack_in_device(void)
{
    __asm__ volatile("movq %0, %%rsp; ud2" : : "r"((uint64_t)NOT_MEMORY + 0x800));
}

static void stack_push_in_device(void)
{
    __asm__ volatile("movq %0, %%rsp; call 1f; 1: call 2f; 2: ud2" : : "r"((uint64_t)NOT_MEMORY + 0x800));
}

static void stack_in_apic(void)
{
    __asm__ volatile("movq %0, %%rsp; ud2" : : "r"((uint64_t)LAPIC_BASE + 0x90));
}

static void stack_nowhere(void)
{
    __asm__ volatile("movq %0, %%rsp; ud2" : : "r"(0x8000000000000000ULL));
}

static void root_in_device(void)
{
    write_cr3(NOT_MEMORY);
}

static void root_beyond_memory(void)
{
    write_cr3(0x7fffff000ULL);
}

/* The bus reads all ones there, which have reserved bits: a page fault. */
static void tables_in_device(void)
{
    window_map(NOT_MEMORY | PTE_PRESENT | PTE_WRITE);
    TRAP("movl %%eax, (%0)", : : "r"((uintptr_t)WINDOW_BASE) : "memory");
    CHECK_EQUAL(trap_last.vector, 14);
    guest_end();
}

/* The same. Bochs takes the walk for the access itself: so the two have other places in their pages. */
static void tables_in_apic(void)
{
    window_map(LAPIC_BASE | PTE_PRESENT | PTE_WRITE);
    TRAP("movl %%eax, (%0)", : : "r"((uintptr_t)WINDOW_BASE + 0x124) : "memory");
    CHECK_EQUAL(trap_last.vector, 14);
    guest_end();
}

static void code_in_device(void)
{
    ((void (*)(void))(uintptr_t)NOT_MEMORY)();
}

static void code_in_apic(void)
{
    ((void (*)(void))(uintptr_t)LAPIC_BASE)();
}

/* An instruction whose second half is in a page that is not memory: IN AL, DX and a long MOV. */
static void code_over_the_edge(void)
{
    volatile uint8_t *last = (volatile uint8_t *)(uintptr_t)0xfffff0;

    last[14] = 0x48;
    last[15] = 0xb8;
    ((void (*)(void))(uintptr_t)0xfffffe)();
}

static void jump_nowhere(void)
{
    load_idt(0, 0);
    __asm__ volatile("jmp *%0" : : "r"(0x8000000000000000ULL));
}

static void halt_for_good(void)
{
    __asm__ volatile("cli; hlt");
}

static void reset_cf9(void)
{
    out8(0xcf9, 0x02);
    out8(0xcf9, 0x06);
}

static void reset_64(void)
{
    out8(0x64, 0xfe);
}

static void reset_92(void)
{
    out8(0x92, 0x01);
}

static void reset_dword(void)
{
    out32(0xcf8, 0x0e0e0e0e);
    out32(0xcf9, 0x0e0e0e0e);
    out16(0xcf9, 0x0606);
    out8(0xcf9, 0x06);
}

static void init_to_itself(void)
{
    lapic_write(LAPIC_ICR_HIGH, lapic_read(LAPIC_ID)); /* the shorthand for itself does not send INITs */
    lapic_write(LAPIC_ICR_LOW, 0x4500);
    __asm__ volatile("pause");
}

static void init_to_all(void)
{
    lapic_write(LAPIC_ICR_LOW, 0x84500);
    __asm__ volatile("pause");
}

static void init_from_ioapic(void)
{
    mmio_write32(IOAPIC_BASE, 0x11);
    mmio_write32(IOAPIC_BASE + 0x10, 0);
    mmio_write32(IOAPIC_BASE, 0x10);
    mmio_write32(IOAPIC_BASE + 0x10, 0x500);
    mmio_write32(IOAPIC_BASE, 0x15);
    mmio_write32(IOAPIC_BASE + 0x10, 0);
    mmio_write32(IOAPIC_BASE, 0x14);
    mmio_write32(IOAPIC_BASE + 0x10, 0x500);
    out8(0x43, 0x34);
    out8(0x40, 2);
    out8(0x40, 0);
    for (uint32_t i = 0; i < 1000; i++) {
        (void)in8(0x40);
    }
    guest_end(); /* an INIT by a device may be ignored */
}

static void debug_exit(void)
{
    out8(0xf4, 0x2a);
}

static void sleep_states(void)
{
    for (uint32_t type = 1; type < 8; type++) {
        out16(0x604, (uint16_t)(0x2000 | type << 10));
    }
    guest_end();
}

static void apic_onto_code(void)
{
    wrmsr(MSR_APIC_BASE, ((uintptr_t)apic_onto_code & ~0xfffULL) | 0x900);
    (void)cpuid(0, 0);
    (void)in8(0x80);
    guest_end();
}

/* The handler's gate is not present, and so is that of #NP and #DF. */
static void gates_not_present(void)
{
    static uint64_t table[64];

    load_idt((uintptr_t)table, sizeof(table) - 1);
    __asm__ volatile("int3");
}

static void clear_pae(void)
{
    load_idt(0, 0);
    write_cr4(0);
}

static void clear_pg(void)
{
    load_idt(0, 0);
    write_cr0(read_cr0() & ~0x80000000ULL);
    __asm__ volatile("ud2");
}

/*
 * #DB whose delivery makes the next #DB (CVE-2015-8104): the handler's stack is that of an IST, so it never runs out,
 * and a breakpoint is on what the delivery writes there, or on the handler's first instruction. A CPU that were not
 * made to exit at each would never come out of its microcode. SDM 3B 18.2; APM 2 13.1.1.
 */
#define TSS_SELECTOR 0x18u
#define IST_GATE_1 1u
#define DR7_DATA_0 0x000d0402ULL /* breakpoint 0 on: writes of 4 bytes */
#define DR7_CODE_0 0x00000402ULL /* breakpoint 0 on: execution */

static uint32_t db_tss[26] __attribute__((aligned(16)));
static uint8_t db_stack[4096] __attribute__((aligned(16)));
extern const char db_handler[];
__asm__("db_handler: iretq");

static void debug_handler_with_own_stack(void)
{
    static uint64_t gdt[5];
    uint64_t base = (uintptr_t)db_tss;
    uint64_t top = (uintptr_t)(db_stack + sizeof(db_stack));
    struct pointer old;
    struct pointer idt;
    volatile uint16_t *gate;

    __asm__ volatile("sgdt %0; sidt %1" : "=m"(old), "=m"(idt));
    for (uint32_t i = 0; i < 3; i++) {
        gdt[i] = ((const volatile uint64_t *)(uintptr_t)old.base)[i];
    }
    gdt[3] = (sizeof(db_tss) - 1) | (base & 0xffffff) << 16 | 0x89ULL << 40 | (base >> 24 & 0xff) << 56;
    gdt[4] = base >> 32;
    db_tss[9] = (uint32_t)top; /* IST1. SDM 3A 8.7, figure 8-11 */
    db_tss[10] = (uint32_t)(top >> 32);
    old = (struct pointer){sizeof(gdt) - 1, (uintptr_t)gdt};
    __asm__ volatile("lgdt %0; ltr %w1" : : "m"(old), "r"(TSS_SELECTOR));
    gate = (volatile uint16_t *)(uintptr_t)(idt.base + 16);
    gate[0] = (uint16_t)(uintptr_t)db_handler;
    gate[3] = (uint16_t)((uintptr_t)db_handler >> 16);
    gate[2] = (uint16_t)(gate[2] | IST_GATE_1);
}

static void endless_db_by_data(void)
{
    debug_handler_with_own_stack();
    __asm__ volatile("movq %0, %%dr0; movq %1, %%dr7; .byte 0xf1"
                     :
                     : "r"((uintptr_t)(db_stack + sizeof(db_stack) - 8)), "r"(DR7_DATA_0)
                     : "memory");
}

static void endless_db_by_code(void)
{
    debug_handler_with_own_stack();
    __asm__ volatile("movq %0, %%dr0; movq %1, %%dr7; .byte 0xf1"
                     :
                     : "r"((uintptr_t)db_handler), "r"(DR7_CODE_0)
                     : "memory");
}

/* With interrupts on, which nothing sends: Bochs keeps the host's from a guest that has them off and makes no exit. */
static void spin(void)
{
    interrupts_on();
    for (;;) {
        __asm__ volatile("pause");
    }
}

static const struct attack attacks[] = {
    {"endless-db-data", endless_db_by_data},
    {"endless-db-code", endless_db_by_code},
    {"spin", spin},
    {"triple-fault", triple_fault},
    {"idt-in-device", idt_in_device},
    {"idt-fault", idt_in_device_fault},
    {"idt-in-apic", idt_in_apic},
    {"gdt-in-device", gdt_in_device},
    {"stack-in-device", stack_in_device},
    {"push-in-device", stack_push_in_device},
    {"stack-in-apic", stack_in_apic},
    {"stack-nowhere", stack_nowhere},
    {"root-in-device", root_in_device},
    {"root-beyond", root_beyond_memory},
    {"walk-in-device", tables_in_device},
    {"walk-in-apic", tables_in_apic},
    {"code-in-device", code_in_device},
    {"code-in-apic", code_in_apic},
    {"code-over-edge", code_over_the_edge},
    {"jump-nowhere", jump_nowhere},
    {"halt-for-good", halt_for_good},
    {"reset-cf9", reset_cf9},
    {"reset-64", reset_64},
    {"reset-92", reset_92},
    {"reset-dword", reset_dword},
    {"init-to-itself", init_to_itself},
    {"init-to-all", init_to_all},
    {"init-by-ioapic", init_from_ioapic},
    {"debug-exit", debug_exit},
    {"sleep-states", sleep_states},
    {"apic-onto-code", apic_onto_code},
    {"no-gates", gates_not_present},
    {"clear-pae", clear_pae},
    {"clear-pg", clear_pg},
};

void guest_main(void)
{
    if (hostile_argument("attack=") == NULL) {
        guest_fail("attack= does not say which");
    }
    pic_init();
    lapic_init();
    window_init();
    for (uint32_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
        if (hostile_wanted(attacks[i].name)) {
            print("attack %s\n", attacks[i].name);
            attacks[i].run();
            guest_fail("%s did not end it", attacks[i].name);
        }
    }
}
