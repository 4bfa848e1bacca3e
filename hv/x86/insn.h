/* SPDX-License-Identifier: MIT */
/*
 * Every instruction of the host that C cannot say, one function each, named insn_<mnemonic>.
 *
 * This file, hv/vmx/insn.h, hv/svm/insn.h and the .S files are the only places with assembly. A function here
 * is one instruction and nothing else; what needs a sequence or a decision is built from them elsewhere. Instructions
 * that fault on purpose (an MSR that may not exist) are in hv/x86/insn_safe.S: the trap handler knows their addresses.
 * "memory" clobbers keep the compiler from moving memory accesses across instructions that other agents watch.
 * SDM 2A-2D "Instruction Set Reference"; APM 3.
 */
#ifndef HV_X86_INSN_H
#define HV_X86_INSN_H

#include "hv/base/types.h"

struct cpuid_result {
    uint32_t eax, ebx, ecx, edx;
};

/* The operand of LGDT, LIDT, SGDT and SIDT in 64-bit mode. SDM 3A 2.4. */
struct insn_table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

_Static_assert(sizeof(struct insn_table_pointer) == 10, "2 bytes of limit, 8 of base");
_Static_assert(offsetof(struct insn_table_pointer, base) == 2, "the base follows the limit at once");

static inline struct cpuid_result insn_cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_result r;

    __asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}

static inline uint64_t insn_rdmsr(uint32_t msr)
{
    uint32_t low, high;

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
    return (uint64_t)high << 32 | low;
}

static inline void insn_wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

/* False where the instruction raised #GP; *value is then left alone. The traps must be set up (traps_init_cpu). */
bool insn_rdmsr_safe(uint32_t msr, uint64_t *value);
bool insn_wrmsr_safe(uint32_t msr, uint64_t value);
bool insn_xsetbv_safe(uint32_t index, uint64_t value);

static inline uint64_t insn_rdtsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

/* False: no number was ready. SDM 1, 7.3.17 "Random Number Generator Instructions". */
static inline bool insn_rdrand(uint64_t *value)
{
    bool ready;

    __asm__ volatile("rdrand %0" : "=r"(*value), "=@ccc"(ready));
    return ready;
}

static inline bool insn_rdseed(uint64_t *value)
{
    bool ready;

    __asm__ volatile("rdseed %0" : "=r"(*value), "=@ccc"(ready));
    return ready;
}

static inline uint8_t insn_in8(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %w1, %b0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline uint16_t insn_in16(uint16_t port)
{
    uint16_t value;

    __asm__ volatile("inw %w1, %w0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline uint32_t insn_in32(uint16_t port)
{
    uint32_t value;

    __asm__ volatile("inl %w1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline void insn_out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %b0, %w1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void insn_out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %w0, %w1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void insn_out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %w1" : : "a"(value), "Nd"(port) : "memory");
}

/* Defines insn_read_<name> and insn_write_<name> for a control or debug register. */
#define INSN_REGISTER(name)                                                  \
    static inline uint64_t insn_read_##name(void)                            \
    {                                                                        \
        uint64_t value;                                                      \
                                                                             \
        __asm__ volatile("movq %%" #name ", %0" : "=r"(value) : : "memory"); \
        return value;                                                        \
    }                                                                        \
    static inline void insn_write_##name(uint64_t value)                     \
    {                                                                        \
        __asm__ volatile("movq %0, %%" #name : : "r"(value) : "memory");     \
    }

INSN_REGISTER(cr0)
INSN_REGISTER(cr2)
INSN_REGISTER(cr3)
INSN_REGISTER(cr4)
INSN_REGISTER(dr0)
INSN_REGISTER(dr1)
INSN_REGISTER(dr2)
INSN_REGISTER(dr3)
INSN_REGISTER(dr6)

static inline uint64_t insn_xgetbv(uint32_t index)
{
    uint32_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(index));
    return (uint64_t)high << 32 | low;
}

static inline void insn_xsetbv(uint32_t index, uint64_t value)
{
    __asm__ volatile("xsetbv" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

/* The area is 64-byte aligned and as large as CPUID 0xd says for the components in `mask`. */
static inline void insn_xsave(void *area, uint64_t mask)
{
    __asm__ volatile("xsave64 (%0)" : : "r"(area), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32)) : "memory");
}

static inline void insn_xrstor(const void *area, uint64_t mask)
{
    __asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32)) : "memory");
}

/* The area is 512 bytes, 16-byte aligned: for CPUs without XSAVE. */
static inline void insn_fxsave(void *area)
{
    __asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}

static inline void insn_fxrstor(const void *area)
{
    __asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}

/* An empty x87 stack without pending exceptions, whose pointers lead to this instruction and its constant. Before the
 * registers are loaded: cpu_errata_x87_pointers(). */
static inline void insn_x87_forget(void)
{
    static const uint32_t zero;

    __asm__ volatile("fnclex\n\temms\n\tfildl %0\n\tfstp %%st(0)" : : "m"(zero));
}

static inline void insn_lgdt(const struct insn_table_pointer *table)
{
    __asm__ volatile("lgdt (%0)" : : "r"(table) : "memory");
}

static inline void insn_lidt(const struct insn_table_pointer *table)
{
    __asm__ volatile("lidt (%0)" : : "r"(table) : "memory");
}

static inline struct insn_table_pointer insn_sgdt(void)
{
    struct insn_table_pointer table;

    __asm__ volatile("sgdt %0" : "=m"(table));
    return table;
}

static inline struct insn_table_pointer insn_sidt(void)
{
    struct insn_table_pointer table;

    __asm__ volatile("sidt %0" : "=m"(table));
    return table;
}

static inline void insn_ltr(uint16_t selector)
{
    __asm__ volatile("ltr %w0" : : "r"(selector) : "memory");
}

static inline uint16_t insn_str(void)
{
    uint16_t selector;

    __asm__ volatile("str %w0" : "=r"(selector));
    return selector;
}

static inline void insn_lldt(uint16_t selector)
{
    __asm__ volatile("lldt %w0" : : "r"(selector) : "memory");
}

/* Defines insn_read_<name> for a segment selector. */
#define INSN_SELECTOR(name)                                         \
    static inline uint16_t insn_read_##name(void)                   \
    {                                                               \
        uint16_t selector;                                          \
                                                                    \
        __asm__ volatile("movw %%" #name ", %w0" : "=r"(selector)); \
        return selector;                                            \
    }

INSN_SELECTOR(cs)
INSN_SELECTOR(ds)
INSN_SELECTOR(es)
INSN_SELECTOR(fs)
INSN_SELECTOR(gs)
INSN_SELECTOR(ss)

/* The first word at the GS base: every CPU's struct cpu begins with a pointer to itself. */
static inline void *insn_read_gs_pointer(void)
{
    void *pointer;

    __asm__ volatile("movq %%gs:0, %0" : "=r"(pointer));
    return pointer;
}

static inline void insn_hlt(void)
{
    __asm__ volatile("hlt" : : : "memory");
}

/* Opens interrupts and halts with nothing between: an interrupt that is already there ends the halt. */
static inline void insn_sti_hlt_cli(void)
{
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}

/* Watches the line of `address`: a store to it ends the next MWAIT, or lets it pass. SDM 2B "MONITOR". */
static inline void insn_monitor(const void *address)
{
    __asm__ volatile("monitor" : : "a"(address), "c"(0), "d"(0) : "memory");
}

/* Sleeps in the state of the hint until the watched line is written or an interrupt comes, whether interrupts are on or
 * off (ECX bit 0, which CPUID leaf 5 ECX bit 1 allows). SDM 2B "MWAIT". */
static inline void insn_mwait_interruptible(uint32_t hint)
{
    __asm__ volatile("mwait" : : "a"(hint), "c"(1) : "memory");
}

static inline void insn_pause(void)
{
    __asm__ volatile("pause" : : : "memory");
}

static inline void insn_sti(void)
{
    __asm__ volatile("sti" : : : "memory");
}

static inline void insn_cli(void)
{
    __asm__ volatile("cli" : : : "memory");
}

/* Lets waiting interrupts in: STI takes effect after the next instruction, so one must stand between. */
static inline void insn_interrupt_window(void)
{
    __asm__ volatile("sti; nop; cli" : : : "memory");
}

#define CACHE_LINE_BYTES 64u /* of every CPU with SVM or VMX */

static inline void insn_clflush(const void *line)
{
    __asm__ volatile("clflush (%0)" : : "r"(line) : "memory");
}

static inline void insn_wbinvd(void)
{
    __asm__ volatile("wbinvd" : : : "memory");
}

static inline void insn_mfence(void)
{
    __asm__ volatile("mfence" : : : "memory");
}

/* Of a writable segment. Microcode that knows MDS clears the CPU's buffers by it, in this form with a memory operand
 * only. SDM 2B "VERR/VERW". */
static inline void insn_verw(uint16_t selector)
{
    __asm__ volatile("verw %0" : : "m"(selector) : "cc", "memory");
}

static inline void insn_lfence(void)
{
    __asm__ volatile("lfence" : : : "memory");
}

static inline void insn_int3(void)
{
    __asm__ volatile("int3" : : : "memory");
}

/* Memory-mapped registers: exactly one access of exactly this size. */
static inline uint32_t insn_mmio_read32(uint64_t address)
{
    uint32_t value;

    __asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
    return value;
}

static inline void insn_mmio_write32(uint64_t address, uint32_t value)
{
    __asm__ volatile("movl %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

#endif
