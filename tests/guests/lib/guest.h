/* SPDX-License-Identifier: MIT */
/*
 * The kit for guests that test one subject each. A guest is one C file with a name and a main:
 *
 *     const char guest_name[] = "ports";
 *     void guest_main(void) { CHECK_EQUAL(in8(0x1234), 0xff); }
 *
 * Returning from guest_main prints "PASS ports"; guest_fail() and a CHECK that does not hold print "FAIL ports: why".
 * Both are the last line, and then the guest powers off. An exception that the guest does not expect is a FAIL, too.
 *
 * The same files are compiled for 64-bit (entered by ELF64 or PVH), 32-bit (ELF32, PVH, multiboot) and 16-bit code.
 */
#ifndef TESTS_GUESTS_LIB_GUEST_H
#define TESTS_GUESTS_LIB_GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __x86_64__
typedef uint64_t word_t;
#else
typedef uint32_t word_t;
#endif

extern const char guest_name[];
void guest_main(void);

/* ---- Output and end ---- */

/* %s %c %d %u %x (32 bits), %w (word_t in hexadecimal), %q (uint64_t in hexadecimal), %% */
void print(const char *form, ...);
_Noreturn void guest_pass(void);
_Noreturn void guest_fail(const char *form, ...);
_Noreturn void guest_end(void);

#define CHECK(condition) ((condition) ? (void)0 : guest_fail("%s:%d: %s", __FILE__, __LINE__, #condition))
#define CHECK_EQUAL(left, right) \
    check_equal(__FILE__, __LINE__, #left " == " #right, (uint64_t)(left), (uint64_t)(right))
void check_equal(const char *file, int line, const char *what, uint64_t left, uint64_t right);

/* ---- What the entry looked like; lib/start*.S writes it before anything else ---- */

struct __attribute__((packed)) table_pointer {
    uint16_t limit;
    uint64_t base;
    uint16_t unused[3];
};

struct entry_state {
    uint64_t ax, bx, cx, dx, si, di, bp, sp;
    uint64_t flags, cr0, cr3, cr4, efer;
    struct table_pointer gdtr, idtr;
    uint16_t cs, ds, es, fs, gs, ss, tr, ldtr;
    uint32_t bits; /* of the code that was entered: 16, 32, 64 */
    uint32_t unused;
};
_Static_assert(offsetof(struct entry_state, gdtr) == 104 && offsetof(struct entry_state, cs) == 136 &&
                   offsetof(struct entry_state, bits) == 152,
               "lib/start*.S use these offsets");
extern struct entry_state entry_state;

/* ---- Instructions ---- */

static inline uint8_t in8(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint16_t in16(uint16_t port)
{
    uint16_t value;

    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint32_t in32(uint16_t port)
{
    uint32_t value;

    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r;

    __asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

#define READ_CONTROL(number)                                                \
    static inline word_t read_cr##number(void)                              \
    {                                                                       \
        word_t value;                                                       \
        __asm__ volatile("mov %%cr" #number ", %0" : "=r"(value));          \
        return value;                                                       \
    }                                                                       \
    static inline void write_cr##number(word_t value)                       \
    {                                                                       \
        __asm__ volatile("mov %0, %%cr" #number : : "r"(value) : "memory"); \
    }
READ_CONTROL(0)
READ_CONTROL(2)
READ_CONTROL(3)
READ_CONTROL(4)

static inline void interrupts_on(void)
{
    __asm__ volatile("sti" : : : "memory");
}

static inline void interrupts_off(void)
{
    __asm__ volatile("cli" : : : "memory");
}

/* Sleeps until an interrupt: STI's shadow lets none slip in before HLT. */
static inline void wait_for_interrupt(void)
{
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}

static inline uint32_t mmio_read32(uint32_t address)
{
    return *(volatile uint32_t *)(uintptr_t)address;
}

static inline void mmio_write32(uint32_t address, uint32_t value)
{
    *(volatile uint32_t *)(uintptr_t)address = value;
}

/* ---- Interrupts and exceptions (not in 16-bit code) ---- */

struct trap_frame {
#ifdef __x86_64__
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, di, si, bp, dx, cx, bx, ax;
#else
    uint32_t di, si, bp, unused, bx, dx, cx, ax;
#endif
    word_t vector, error, ip, cs, flags, sp, ss; /* sp and ss: in 64-bit code, or after a change of privilege */
};

typedef void (*trap_handler)(struct trap_frame *frame);

/* Loads the kit's GDT and IDT. guest_main starts with them loaded and interrupts off. */
void traps_init(void);
void trap_set(uint8_t vector, trap_handler handler);

/* What happens without a handler: notes the trap and goes on at trap_resume; without such a place the guest fails. */
void trap_record(struct trap_frame *frame);

#define KIT_CODE 0x08
#define KIT_DATA 0x10

/* What the last expected exception looked like; vector 0xff where none came. */
struct trap_record {
    uint32_t vector;
    uint32_t error;
    word_t ip, flags, cr2;
};
extern struct trap_record trap_last;
extern volatile word_t trap_resume;

#ifdef __x86_64__
#define TRAP_SET_RESUME "movq $1f, trap_resume(%%rip)\n\t"
#else
#define TRAP_SET_RESUME "movl $1f, trap_resume\n\t"
#endif

/* Runs an instruction that may raise an exception, and goes on after it; then look at trap_last. Operands are needed,
 * at least : : : "memory". */
#define TRAP(instruction, ...)                                            \
    do {                                                                  \
        trap_last.vector = 0xff;                                          \
        __asm__ volatile(TRAP_SET_RESUME instruction "\n1:" __VA_ARGS__); \
        trap_resume = 0;                                                  \
    } while (0)

/* ---- Devices ---- */

#define COM1 0x3f8
#define PM1A_CONTROL 0x604
#define PM1A_POWER_OFF 0x2000 /* SLP_EN with SLP_TYP 0, which is S5 on this PC */
#define DEBUG_EXIT 0xf4
#define LAPIC_BASE 0xfee00000u
#define IOAPIC_BASE 0xfec00000u

/* Masks both 8259s, at vectors 0x20 and 0x28. */
void pic_init(void);
void pic_mask(uint16_t mask);
void pic_eoi(uint8_t irq);
/* Enables the local APIC in xAPIC mode with everything masked. */
void lapic_init(void);
uint32_t lapic_read(uint32_t offset);
void lapic_write(uint32_t offset, uint32_t value);

/* True on plain QEMU without hardware virtualization, whose CPU differs from real ones in known ways. */
bool on_plain_tcg(void);

/* Waits by the PIT's channel 2: at most 50,000 us. */
void pit_wait_us(uint32_t microseconds);
/* TSC ticks per millisecond, measured with the PIT. */
uint32_t tsc_khz(void);

#endif
