/* SPDX-License-Identifier: MIT */
/*
 * Attacks that a guest survives: everything that it can touch, with values that make no sense. What it gets back does
 * not matter here; what matters is that the hypervisor and the neighbour do not notice.
 */
#include "tests/guests/lib/hostile.h"

const char guest_name[] = "hostile-sweep";

static uint64_t seed = 0x1234567890abcdefULL;

/* ---- Guest-physical addresses ---- */

static void touch(uint64_t address)
{
    uint64_t page = address & ~0x1fffffULL;
    uint64_t at = WINDOW_BASE + (address & 0x1fffff);

    window_map(page | PTE_PRESENT | PTE_WRITE | PTE_LARGE);
    TRAP("movb (%0), %%al", : : "r"(at) : "rax", "memory");
    TRAP("movq (%0), %%rax", : : "r"(at) : "rax", "memory");
    TRAP("movb %%al, (%0)", : : "r"(at) : "memory");
    TRAP("movq %1, (%0)", : : "r"(at), "r"(~0ULL) : "memory");
    TRAP("lock; addl $1, (%0)", : : "r"(at) : "memory");
}

/* Own memory is 0 to 16 MiB; the local APIC's page is for another attack. */
static bool is_target(uint64_t address)
{
    return address >= 0x1000000 && (address & ~0xfffULL) != 0xfee00000;
}

static void sweep_addresses(void)
{
    for (uint64_t address = 0x1000000; address < 0x100000000ULL; address += 0x2000000) {
        touch(address);
        touch(address + 0x1ffff8);
    }
    for (uint64_t address = 0xfe000000; address < 0x100000000ULL; address += 0x10000) {
        if (is_target(address)) {
            touch(address);
        }
    }
    for (uint32_t bit = 32; bit < 52; bit++) {
        touch(1ULL << bit);
        touch((1ULL << bit) - 8);
        touch(((1ULL << bit) | hostile_random(&seed)) & 0x000fffffffe00000ULL);
    }
    for (uint32_t i = 0; i < 2000; i++) {
        uint64_t address = hostile_random(&seed) & 0x000fffffffffffffULL;

        if (is_target(address & 0xffffffffff)) {
            touch(address & 0xffffffffff);
        }
    }
}

/* Everything that a page-table entry can say, flipped under the accesses and without a flush. */
static void sweep_page_tables(void)
{
    for (uint32_t i = 0; i < 3000; i++) {
        uint64_t r = hostile_random(&seed);
        volatile uint64_t *entry = &window_directory[0];

        *entry = (r & 1) != 0 ? r : (r & 0xffe00fff) | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
        if ((r & 2) != 0) {
            __asm__ volatile("invlpg (%0)" : : "r"((uintptr_t)WINDOW_BASE) : "memory");
        }
        if ((*entry & PTE_LARGE) == 0 || (*entry & 0x000fffffffe00000ULL) < 0x1000000 ||
            (*entry & 0x000fffffffe00000ULL) == 0xfee00000) {
            continue; /* not onto itself */
        }
        TRAP("movl (%0), %%eax", : : "r"((uintptr_t)WINDOW_BASE + ((r >> 32) & 0x1ffff8)) : "rax", "memory");
        TRAP("movl %%eax, (%0)", : : "r"((uintptr_t)WINDOW_BASE + ((r >> 32) & 0x1ffff8)) : "memory");
    }
    window_map(0);
}

static void access_every_way(uint64_t at)
{
    TRAP("movw (%0), %%ax", : : "r"(at) : "rax", "memory");
    TRAP("movl (%0), %%eax", : : "r"(at) : "rax", "memory");
    TRAP("movq (%0), %%rax", : : "r"(at) : "rax", "memory");
    TRAP("movq %%rax, (%0)", : : "r"(at) : "memory");
    TRAP("xchgq %%rax, (%0)", : : "r"(at) : "rax", "memory");
    TRAP("orq %%rax, (%0)", : : "r"(at) : "memory");
    TRAP("cmpq (%0), %%rax", : : "r"(at) : "memory");
    TRAP("movzbl (%0), %%eax", : : "r"(at) : "rax", "memory");
    TRAP("pushq (%0); addq $8, %%rsp", : : "r"(at) : "memory");
    TRAP("lock; cmpxchgq %%rcx, (%0)", : : "r"(at) : "rax", "memory");
    TRAP("movnti %%rax, (%0)", : : "r"(at) : "memory");
    TRAP("btsq %%rax, (%0)", : "+a"((uint64_t){0}) : "r"(at) : "memory");
}

static void unaligned_mmio(void)
{
    static const uint64_t bases[] = {0xfec00000, 0xfed00000, 0xe0000000, 0x1000000 - 16, 0xa0000, 0xfffffff0};

    for (uint32_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
        window_map((bases[i] & ~0x1fffffULL) | PTE_PRESENT | PTE_WRITE | PTE_LARGE);
        for (uint32_t offset = 1; offset < 0x22; offset++) {
            access_every_way(WINDOW_BASE + (bases[i] & 0x1fffff) + offset);
        }
        /* Over the end of a page of devices, and of the window: the second half is not mapped. */
        access_every_way(WINDOW_BASE + (bases[i] & 0x1ff000) + 0xffd);
        access_every_way(WINDOW_BASE + 0x1ffffd);
    }
    window_map(0);
}

/* ---- Ports ---- */

/* Those that end the guest, and a dword that would reach them: reset (0x64, 0x92, 0xcf9), debug exit (0xf4), pvpanic
 * (0x505), power (0x604); and its own console. */
static bool ends_guest(uint32_t port)
{
    static const uint16_t ends[] = {0x64, 0x92, 0xf4, 0x505, 0x604, 0x605, 0xcf9};

    for (uint32_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        if (port <= ends[i] && port + 3 >= ends[i]) {
            return true;
        }
    }
    return port + 3 >= COM1 && port < COM1 + 8;
}

#define WATCHDOG 0x620 /* what was written may have started it: bit 0 */

static void attack_port(uint16_t port, uint32_t value)
{
    out8(port, (uint8_t)value);
    out16(port, (uint16_t)value);
    out32(port, value);
    (void)in8(port);
    (void)in16(port);
    (void)in32(port);
}

static void sweep_ports(void)
{
    for (uint32_t port = 0; port <= 0xffff; port++) {
        if (ends_guest(port)) {
            continue;
        }
        if (port < 0x1000) {
            attack_port((uint16_t)port, (uint32_t)hostile_values[port % HOSTILE_VALUES]);
            attack_port((uint16_t)port, (uint32_t)hostile_random(&seed));
        } else {
            out32((uint16_t)port, (uint32_t)hostile_random(&seed));
            (void)in8((uint16_t)port);
        }
    }
    out8(WATCHDOG, 0);
    pic_init();
}

/* The devices, again and again: the order of writes matters to them. */
static void random_devices(void)
{
    static const uint16_t ports[] = {0x20,  0x21,  0xa0,  0xa1,  0x40,  0x41,  0x42,  0x43, 0x61,  0x70,  0x71,  0x60,
                                     0x600, 0x602, 0x608, 0xcf8, 0xcfc, 0x4d0, 0x4d1, 0xb2, 0x2f8, 0x2f9, 0x2fa, 0x2fb};

    for (uint32_t i = 0; i < 30000; i++) {
        uint64_t r = hostile_random(&seed);
        uint16_t port = ports[r % (sizeof(ports) / sizeof(ports[0]))];

        if ((r & 0x10000) != 0) {
            out8(port, (uint8_t)(r >> 24));
        } else {
            (void)in8(port);
        }
    }
    for (uint32_t i = 0; i < 5000; i++) {
        uint64_t r = hostile_random(&seed);

        mmio_write32(IOAPIC_BASE, (uint32_t)(r & 0x3f));
        mmio_write32(IOAPIC_BASE + 0x10, (uint32_t)(r >> 8) & ~0x700u); /* fixed delivery: an INIT would end it */
    }
    for (uint32_t pin = 0; pin < 24; pin++) {
        mmio_write32(IOAPIC_BASE, 0x10 + 2 * pin);
        mmio_write32(IOAPIC_BASE + 0x10, 0x10000);
    }
    pic_init();
}

/* Ports other than the ends, and the debug exit, by strings that begin and end where they should not. */
static void string_ports(void)
{
    static uint8_t buffer[8192] __attribute__((aligned(4096)));
    uint64_t ends[] = {(uintptr_t)buffer + 4093,  0x1000000 - 3, 0xfffff000,  0xfffffff0,
                       0x0000800000000000ULL - 5, ~0ULL - 3,     0xa0000 - 2, 0xfebffffe};

    for (uint32_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        uint64_t at = ends[i];
        uint64_t count = i % 2 == 0 ? 40 : ~0ULL;

        if (at < 0xfffff000) {
            count = 40;
        }
        TRAP("rep outsb", : "+S"((uint64_t){at}) : "c"(count), "d"(0x80) : "memory");
        TRAP("rep outsl", : "+S"((uint64_t){at}) : "c"(count), "d"(0x5658) : "memory");
        TRAP("std; rep outsw; cld", : "+S"((uint64_t){at}) : "c"((uint64_t)40), "d"(0x71) : "memory");
        __asm__ volatile("cld");
        if (at != 0x1000000 - 3 && at != 0xa0000 - 2) {
            TRAP("rep insb", : "+D"((uint64_t){at}) : "c"(count), "d"(0x80) : "memory");
            TRAP("rep insl", : "+D"((uint64_t){at}) : "c"(count), "d"(0x71) : "memory");
        }
        TRAP("rep movsb", : : "S"(at), "D"((uint64_t)0xfed00ff0), "c"((uint64_t)40) : "memory");
        TRAP("rep cmpsb", : : "S"(at), "D"((uint64_t)0xfed00ff0), "c"((uint64_t)40) : "memory");
        TRAP("rep lodsq", : : "S"(at), "c"((uint64_t)40) : "rax", "memory");
        TRAP("repne scasl", : : "D"(at), "a"(7), "c"((uint64_t)40) : "memory");
        TRAP("std; rep movsq; cld",
             :
             : "S"((uint64_t)0xfed00ff3), "D"((uint64_t)0xfed01001), "c"((uint64_t)40)
             : "memory");
        __asm__ volatile("cld");
    }
    TRAP("addr32 rep outsb", : "+S"((uint64_t){0xfffffffeULL}) : "c"((uint64_t)64), "d"(0x80) : "memory");
}

/* ---- MSRs, CPUID, hypercalls ---- */

/* Its own doing would end it: where the APIC is, what mode the CPU is in, interrupts to itself. */
static bool own_msr(uint32_t msr)
{
    return msr == MSR_APIC_BASE || msr == MSR_EFER || msr == 0x830 || msr == 0xc0000100u || msr == 0xc0000101u;
}

static void attack_msr(uint32_t msr, uint64_t value)
{
    TRAP("rdmsr", : : "c"(msr) : "rax", "rdx", "memory");
    if (!own_msr(msr)) {
        TRAP("wrmsr", : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
    }
}

static void sweep_msr_range(uint32_t first, uint32_t last)
{
    for (uint32_t msr = first; msr <= last; msr++) {
        attack_msr(msr, hostile_values[msr % HOSTILE_VALUES]);
    }
}

static void sweep_msrs(void)
{
    static const uint32_t interesting[] = {
        0x10,       0x11,       0x12,       0x3a,       0x3b,       0x48,       0x49,       0x79,       0x8b,
        0x10b,      0x122,      0x174,      0x175,      0x176,      0x1a0,      0x1d9,      0x277,      0x2ff,
        0x6e0,      0xda0,      0x4b564d00, 0x4b564d01, 0x4b564d02, 0x4b564d03, 0xc0000081, 0xc0000082, 0xc0000084,
        0xc0000102, 0xc0000103, 0xc0010015, 0xc0010114, 0xc0010117, 0xc0010010, 0xc0010118, 0xc0011029};

    sweep_msr_range(0, 0x1fff);
    sweep_msr_range(0x40000000, 0x400001ff);
    sweep_msr_range(0x4b564d00, 0x4b564dff);
    sweep_msr_range(0xc0000000, 0xc0001fff);
    sweep_msr_range(0xc0010000, 0xc0011fff);
    for (uint32_t i = 0; i < 2000; i++) {
        attack_msr((uint32_t)hostile_random(&seed), hostile_random(&seed));
    }
    for (uint32_t i = 0; i < sizeof(interesting) / sizeof(interesting[0]); i++) {
        for (uint32_t v = 0; v < HOSTILE_VALUES; v++) {
            attack_msr(interesting[i], hostile_values[v]);
        }
        for (uint32_t bit = 0; bit < 64; bit++) {
            attack_msr(interesting[i], 1ULL << bit);
        }
    }
    TRAP("wrmsr", : : "c"(0x277), "a"(0x00070406), "d"(0x00070406) : "memory"); /* the PAT of power-up */
    lapic_init();
}

static void sweep_cpuid(void)
{
    static const uint32_t bases[] = {0,          0x20000000, 0x40000000, 0x40000100,
                                     0x80000000, 0x80860000, 0x8fffffff, 0xc0000000};

    for (uint32_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
        for (uint32_t leaf = 0; leaf < 0x40; leaf++) {
            for (uint32_t subleaf = 0; subleaf < 8; subleaf++) {
                (void)cpuid(bases[i] + leaf, subleaf);
            }
            (void)cpuid(bases[i] + leaf, 0xffffffff);
        }
    }
    for (uint32_t i = 0; i < 2000; i++) {
        (void)cpuid((uint32_t)hostile_random(&seed), (uint32_t)hostile_random(&seed));
    }
}

static void sweep_hypercalls(void)
{
    for (uint32_t i = 0; i < 512; i++) {
        uint64_t number = i < 256 ? i : hostile_random(&seed);

        TRAP("vmcall", : : "a"(number), "b"(~0ULL), "c"(~0ULL), "d"(~0ULL), "S"(~0ULL) : "memory");
        TRAP("vmmcall", : : "a"(number), "b"(~0ULL), "c"(~0ULL), "d"(~0ULL), "S"(~0ULL) : "memory");
    }
    for (uint32_t i = 0; i < 512; i++) { /* IPIs of every kind to every APIC id but its own, which is 0 */
        uint64_t first = i % 2 == 0 ? 0 : 1 + hostile_random(&seed) % 0xffffff00u;
        uint64_t set = first == 0 ? ~1ULL : ~0ULL;

        TRAP("vmcall", : : "a"(10), "b"(set), "c"(~0ULL), "d"(first), "S"(hostile_random(&seed) & 0x7ff) : "memory");
    }
}

/* ---- Control registers ---- */

/* A user page under SMEP or SMAP, or another paging mode would be the guest's own end; QEMU lets go of PAE and of
 * paging in long mode, which real CPUs refuse: hostile-end tries those. */
#define CR0_NOT_TRIED ((1ULL << 0) | (1ULL << 31))
#define CR4_RESERVED                                              \
    ((~0ULL << 22) | (1ULL << 13) | (1ULL << 14) | (1ULL << 15) | \
     (1ULL << 19)) /* QEMU takes them, and then refuses to enter the guest: an attack of their own */
#define CR4_NOT_TRIED (CR4_RESERVED | (1ULL << 5) | (1ULL << 12) | (1ULL << 17) | (1ULL << 20) | (1ULL << 21))

static void control_registers(void)
{
    word_t cr0 = read_cr0();
    word_t cr3 = read_cr3();
    word_t cr4 = read_cr4();

    for (uint32_t bit = 0; bit < 64; bit++) {
        if (((1ULL << bit) & CR0_NOT_TRIED) == 0) {
            TRAP("movq %0, %%cr0", : : "r"(cr0 ^ (1ULL << bit)) : "memory");
            TRAP("movq %0, %%cr0", : : "r"(cr0) : "memory");
        }
        if (((1ULL << bit) & CR4_NOT_TRIED) == 0) {
            TRAP("movq %0, %%cr4", : : "r"(cr4 ^ (1ULL << bit)) : "memory");
            TRAP("movq %0, %%cr4", : : "r"(cr4) : "memory");
        }
        if (bit < 12) {
            TRAP("movq %0, %%cr3", : : "r"(cr3 ^ (1ULL << bit)) : "memory");
            TRAP("movq %0, %%cr3", : : "r"(cr3) : "memory");
        }
        TRAP("movq %0, %%cr2", : : "r"(1ULL << bit) : "memory");
        TRAP("wrmsr",
             :
             : "c"(MSR_EFER), "a"((uint32_t)(0xd00 ^ (1ULL << bit))), "d"((uint32_t)((1ULL << bit) >> 32))
             : "memory");
        TRAP("wrmsr", : : "c"(MSR_EFER), "a"(0x500), "d"(0) : "memory");
    }
    for (uint32_t i = 0; i < 64; i++) {
        TRAP("lmsw %w0", : : "r"(cr0 | i << 1) : "memory");
        TRAP("clts", : : : "memory");
        TRAP("movq %0, %%cr0", : : "r"(cr0) : "memory");
    }
    /* Caches off, with and without write-through, and work meanwhile. */
    TRAP("movq %0, %%cr0", : : "r"(cr0 | 0x60000000) : "memory");
    TRAP("invd", : : : "memory");
    TRAP("wbinvd", : : : "memory");
    TRAP("movq %0, %%cr0", : : "r"(cr0) : "memory");
}

static void reserved_bits(void)
{
    word_t cr3 = read_cr3();
    word_t cr4 = read_cr4();

    for (uint32_t bit = 0; bit < 64; bit++) {
        if (bit >= 52) {
            TRAP("movq %0, %%cr3", : : "r"(cr3 ^ (1ULL << bit)) : "memory");
            TRAP("movq %0, %%cr3", : : "r"(cr3) : "memory");
        }
        if (((1ULL << bit) & CR4_RESERVED) != 0) {
            TRAP("movq %0, %%cr4", : : "r"(cr4 ^ (1ULL << bit)) : "memory");
            TRAP("movq %0, %%cr4", : : "r"(cr4) : "memory");
        }
    }
}

static void task_priority(void)
{
    for (uint32_t bit = 0; bit < 64; bit++) {
        TRAP("movq %0, %%cr8", : : "r"(1ULL << bit) : "memory");
        lapic_write(0x80, 1u << (bit & 31));
    }
    TRAP("movq %0, %%cr8", : : "r"(0ULL) : "memory");
}

static void xcr0(void)
{
    word_t cr4 = read_cr4();

    TRAP("movq %0, %%cr4", : : "r"(cr4 | (1ULL << 18)) : "memory");
    for (uint32_t i = 0; i < 64 + 256; i++) {
        uint64_t value = i < 64 ? (1ULL << i) | 1 : i - 64;

        TRAP("xsetbv", : : "c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
        TRAP("xsetbv", : : "c"(i), "a"(7), "d"(0) : "memory");
    }
    TRAP("xsetbv", : : "c"(0), "a"(1), "d"(0) : "memory");
    TRAP("movq %0, %%cr4", : : "r"(cr4) : "memory");
}

/* ---- Instructions that a guest has no business with ---- */

struct bytes {
    uint8_t length;
    uint8_t code[15];
};

static const struct bytes instructions[] = {
    {3, {0x0f, 0x01, 0xd8}},                   /* VMRUN */
    {3, {0x0f, 0x01, 0xda}},                   /* VMLOAD */
    {3, {0x0f, 0x01, 0xdb}},                   /* VMSAVE */
    {3, {0x0f, 0x01, 0xdc}},                   /* STGI */
    {3, {0x0f, 0x01, 0xdd}},                   /* CLGI */
    {3, {0x0f, 0x01, 0xde}},                   /* SKINIT */
    {3, {0x0f, 0x01, 0xdf}},                   /* INVLPGA */
    {3, {0x0f, 0x01, 0xc1}},                   /* VMCALL */
    {3, {0x0f, 0x01, 0xc2}},                   /* VMLAUNCH */
    {3, {0x0f, 0x01, 0xc3}},                   /* VMRESUME */
    {3, {0x0f, 0x01, 0xc4}},                   /* VMXOFF */
    {3, {0x0f, 0x01, 0xd4}},                   /* VMFUNC */
    {5, {0xf3, 0x0f, 0xc7, 0x34, 0x24}},       /* VMXON (%rsp) */
    {5, {0x66, 0x0f, 0xc7, 0x34, 0x24}},       /* VMCLEAR (%rsp) */
    {4, {0x0f, 0xc7, 0x34, 0x24}},             /* VMPTRLD (%rsp) */
    {4, {0x0f, 0xc7, 0x3c, 0x24}},             /* VMPTRST (%rsp) */
    {3, {0x0f, 0x78, 0xc0}},                   /* VMREAD */
    {3, {0x0f, 0x79, 0xc0}},                   /* VMWRITE */
    {6, {0x66, 0x0f, 0x38, 0x80, 0x04, 0x24}}, /* INVEPT */
    {6, {0x66, 0x0f, 0x38, 0x81, 0x04, 0x24}}, /* INVVPID */
    {6, {0x66, 0x0f, 0x38, 0x82, 0x04, 0x24}}, /* INVPCID */
    {2, {0x0f, 0x37}},                         /* GETSEC */
    {2, {0x0f, 0xaa}},                         /* RSM */
    {3, {0x0f, 0x01, 0xc8}},                   /* MONITOR */
    {3, {0x0f, 0x01, 0xc9}},                   /* MWAIT */
    {3, {0x0f, 0x01, 0xfa}},                   /* MONITORX */
    {3, {0x0f, 0x01, 0xfb}},                   /* MWAITX */
    {2, {0x0f, 0x33}},                         /* RDPMC */
    {3, {0x0f, 0x01, 0xfd}},                   /* RDPRU */
    {2, {0x0f, 0x08}},                         /* INVD */
    {2, {0x0f, 0x09}},                         /* WBINVD */
    {3, {0xf3, 0x0f, 0x09}},                   /* WBNOINVD */
    {3, {0x0f, 0x01, 0xcf}},                   /* ENCLS */
    {3, {0x0f, 0x01, 0xd7}},                   /* ENCLU */
    {3, {0x0f, 0x01, 0xc0}},                   /* ENCLV */
    {3, {0x0f, 0x01, 0xc5}},                   /* PCONFIG */
    {4, {0xf2, 0x0f, 0xae, 0xf0}},             /* UMWAIT */
    {4, {0x66, 0x0f, 0xae, 0xf0}},             /* TPAUSE */
    {4, {0xf3, 0x0f, 0xae, 0xf0}},             /* UMONITOR */
    {5, {0x48, 0x0f, 0xc7, 0x2c, 0x24}},       /* XSAVES */
    {3, {0x0f, 0x01, 0xef}},                   /* WRPKRU */
    {3, {0x0f, 0x01, 0xfe}},                   /* INVLPGB */
    {3, {0x0f, 0x01, 0xff}},                   /* TLBSYNC */
    {3, {0x0f, 0x01, 0xfc}},                   /* CLZERO */
    {3, {0x0f, 0x01, 0xf9}},                   /* RDTSCP */
    {4, {0xf3, 0x0f, 0x01, 0xff}},             /* PSMASH */
    {4, {0xf2, 0x0f, 0x01, 0xff}},             /* PVALIDATE */
    {4, {0xf3, 0x0f, 0x01, 0xd9}},             /* VMGEXIT */
    {6, {0xf3, 0x0f, 0x3a, 0xf0, 0xc0, 0x00}}, /* HRESET */
    {3, {0x0f, 0x01, 0xe8}},                   /* SERIALIZE */
    {2, {0x0f, 0x0b}},                         /* UD2 */
    {1, {0xf1}},                               /* INT1 */
    {1, {0xcc}},                               /* INT3 */
    {2, {0xcd, 0x80}},                         /* INT */
    {1, {0x9b}},                               /* FWAIT */
    {2, {0xf3, 0x90}},                         /* PAUSE */
    {3, {0x0f, 0x00, 0xd8}},                   /* LTR */
    {3, {0x0f, 0x00, 0xd0}},                   /* LLDT */
    {15, {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90}},
};

static void forbidden_instructions(void)
{
    for (uint32_t i = 0; i < sizeof(instructions) / sizeof(instructions[0]); i++) {
        hostile_execute(instructions[i].code, instructions[i].length);
    }
}

/* Each as if virtualization were on: with EFER.SVME and CR4.VMXE asked for, and a page of its own as the operand. */
static void virtualization(void)
{
    static uint64_t region[512] __attribute__((aligned(4096)));
    static const uint64_t revisions[] = {0, 1, 0x2b, 0x7fffffff, 0x80000000};
    word_t cr4 = read_cr4();

    TRAP("wrmsr", : : "c"(0x3a), "a"(5), "d"(0) : "memory");
    TRAP("wrmsr", : : "c"(MSR_EFER), "a"(0x1d00), "d"(0) : "memory");
    TRAP("wrmsr", : : "c"(0xc0010117), "a"((uintptr_t)region), "d"(0) : "memory");
    TRAP("movq %0, %%cr4", : : "r"(cr4 | 1ULL << 13) : "memory");
    TRAP("movq %0, %%cr4", : : "r"(cr4 | 1ULL << 14) : "memory");
    for (uint32_t i = 0; i < sizeof(revisions) / sizeof(revisions[0]); i++) {
        uint64_t address = (uintptr_t)region;

        region[0] = revisions[i];
        TRAP("vmxon %0", : : "m"(address) : "memory", "cc");
        TRAP("vmclear %0", : : "m"(address) : "memory", "cc");
        TRAP("vmptrld %0", : : "m"(address) : "memory", "cc");
        TRAP("vmlaunch", : : : "memory", "cc");
        TRAP("vmresume", : : : "memory", "cc");
        for (uint64_t type = 0; type < 5; type++) {
            TRAP("invept %0, %1", : : "m"(region[2]), "r"(type) : "memory", "cc");
            TRAP("invvpid %0, %1", : : "m"(region[2]), "r"(type) : "memory", "cc");
        }
        TRAP("vmsave", : : "a"(address) : "memory");
        TRAP("vmload", : : "a"(address) : "memory");
        TRAP("clgi", : : : "memory");
        TRAP("vmrun", : : "a"(address) : "memory");
        TRAP("stgi", : : : "memory");
        TRAP("skinit", : : "a"(address) : "memory");
        TRAP("monitor", : : "a"(address), "c"(0), "d"(0) : "memory");
        TRAP("mwait", : : "a"(0xffffffff), "c"(i) : "memory");
    }
    TRAP("movq %0, %%cr4", : : "r"(cr4) : "memory");
    TRAP("wrmsr", : : "c"(MSR_EFER), "a"(0x500), "d"(0) : "memory");
}

/* ---- Caches ---- */

#define CACHED_WORDS 32768u

static uint64_t cached[CACHED_WORDS];

static void caches_fill(uint64_t start)
{
    uint64_t state = start;

    for (uint32_t i = 0; i < CACHED_WORDS; i++) {
        *(volatile uint64_t *)&cached[i] = hostile_random(&state);
    }
}

/* Lines that were modified are not lost, whatever the guest does to caches: they may be another guest's as well. */
static void caches_check(uint64_t start)
{
    uint64_t state = start;

    for (uint32_t i = 0; i < CACHED_WORDS; i++) {
        CHECK_EQUAL(*(volatile uint64_t *)&cached[i], hostile_random(&state));
    }
}

/* Every type of the PAT by every combination of the three bits, on a window over its own memory. */
static void cache_types(void)
{
    static uint64_t target[512] __attribute__((aligned(4096)));
    uint64_t page = (uintptr_t)target & ~0x1fffffULL;
    volatile uint64_t *window = (volatile uint64_t *)(uintptr_t)(WINDOW_BASE + ((uintptr_t)target & 0x1fffff));

    for (uint32_t type = 0; type < 8; type++) {
        TRAP("wrmsr", : : "c"(0x277), "a"(0x01010101 * type), "d"(0x01010101 * type) : "memory");
        for (uint32_t bits = 0; bits < 8; bits++) {
            window_map(page | PTE_PRESENT | PTE_WRITE | PTE_LARGE | (bits & 3) << 3 | (uint64_t)(bits >> 2) << 12);
            window[bits] = type;
            __asm__ volatile("lock incq %0; clflush %0" : "+m"(window[bits]));
            target[bits]++;
            __asm__ volatile("mfence" : : : "memory");
            CHECK_EQUAL(window[bits], type + 2);
        }
    }
    TRAP("wrmsr", : : "c"(0x277), "a"(0x00070406), "d"(0x00070406) : "memory");
    window_map(0);
}

static void cache_control(void)
{
    word_t cr0 = read_cr0();

    for (uint32_t bits = 0; bits < 4; bits++) {
        caches_fill(bits + 1);
        TRAP("movq %0, %%cr0", : : "r"(cr0 | (uint64_t)bits << 29) : "memory");
        TRAP("invd", : : : "memory");
        caches_check(bits + 1);
        caches_fill(bits + 11);
        TRAP("wbinvd; invd", : : : "memory");
        caches_check(bits + 11);
        for (uint32_t type = 0; type < 8;
             type++) { /* MTRRs: the default, a fixed one, a variable one over everything */
            TRAP("wrmsr", : : "c"(0x2ff), "a"(0xc00 | type), "d"(0) : "memory");
            TRAP("wrmsr", : : "c"(0x250), "a"(0x01010101 * type), "d"(0x01010101 * type) : "memory");
            TRAP("wrmsr", : : "c"(0x200), "a"(type), "d"(0) : "memory");
            TRAP("wrmsr", : : "c"(0x201), "a"(0x800), "d"(0) : "memory");
        }
        TRAP("wrmsr", : : "c"(0x201), "a"(0), "d"(0) : "memory");
        TRAP("movq %0, %%cr0", : : "r"(cr0) : "memory");
        for (uint32_t i = 0; i < 200; i++) {
            TRAP("wbinvd", : : : "memory");
        }
    }
    cache_types();
}

/* The port that makes a PC's chipset send an SMI, and the one with its argument; the commands that switch ACPI. */
static void smis(void)
{
    for (uint32_t value = 0; value < 256; value++) {
        out8(0xb3, (uint8_t)value);
        out8(0xb2, (uint8_t)value);
        out16(0xb2, (uint16_t)(value | value << 8));
        out32(0xb2, value * 0x01010101);
        (void)in8(0xb2);
        (void)in32(0xb2);
        lapic_write(LAPIC_ICR_LOW, 0x40200 | value); /* SMI to itself: the APIC's SMI delivery mode */
    }
}

/* ---- Debug registers and single-stepping ---- */

static volatile uint32_t debug_traps;

static void on_debug(struct trap_frame *frame)
{
    __asm__ volatile("movq %0, %%dr7" : : "r"(0x400ULL)); /* else its own access would trap, without end */
    debug_traps++;
    frame->flags |= 1ULL << 16;
    if (debug_traps % 64 == 0) {
        frame->flags &= ~0x100ULL;
    }
}

static void debug_registers(void)
{
    uint64_t here = (uintptr_t)&debug_traps;

    trap_set(1, on_debug);
    trap_set(3, on_debug);
    for (uint32_t i = 0; i < 64; i++) {
        __asm__ volatile("movq %0, %%dr0; movq %0, %%dr1; movq %1, %%dr2; movq %1, %%dr3"
                         :
                         : "r"(here), "r"(hostile_random(&seed)));
        TRAP("movq %0, %%dr7", : : "r"((hostile_random(&seed) & 0xffff00ff) | 0x400) : "memory");
        (void)debug_traps;
        (void)cpuid(0, 0);
        (void)in8(0x71);
        TRAP("movq %0, %%dr6", : : "r"(hostile_random(&seed)) : "memory");
        TRAP("movq %0, %%dr7", : : "r"(0x400ULL) : "memory");
    }
    /* Stepped over everything that leaves the guest. */
    for (uint32_t i = 0; i < 50; i++) {
        __asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq\n\t"
                         "movl $0x71, %%edx; inb %%dx, %%al; outb %%al, $0x80\n\t"
                         "xorl %%eax, %%eax; cpuid\n\t"
                         "movl $0x10, %%ecx; rdmsr\n\t"
                         "movl (%0), %%eax\n\t"
                         "movq %%cr0, %%rax; movq %%rax, %%cr0\n\t"
                         "movw %%ss, %%ax; movw %%ax, %%ss; cpuid\n\t"
                         "pushfq; andl $~0x100, (%%rsp); popfq"
                         :
                         : "D"((uintptr_t)IOAPIC_BASE)
                         : "rax", "rbx", "rcx", "rdx", "memory");
    }
    TRAP("movq %0, %%dr7", : : "r"(0x400ULL) : "memory");
}

/* ---- The APIC's registers, page and modes ---- */

static void apic_registers(void)
{
    for (uint32_t round = 0; round < 8; round++) {
        for (uint32_t offset = 0; offset < 0x1000; offset += 16) {
            if (offset != LAPIC_ICR_LOW) {
                lapic_write(offset, (uint32_t)(round < 4 ? hostile_values[round] : hostile_random(&seed)));
            }
            (void)lapic_read(offset);
            TRAP("movq (%0), %%rax", : : "r"((uintptr_t)LAPIC_BASE + offset + (round & 3)) : "rax", "memory");
        }
    }
    /* Every delivery mode to itself that does not end it: not INIT. */
    for (uint32_t mode = 0; mode < 8; mode++) {
        for (uint32_t vector = 0; vector < 256 && mode != 5 && mode != 4 && mode != 7; vector += 3) {
            lapic_write(LAPIC_ICR_LOW, 0x40000 | mode << 8 | vector);
        }
    }
    lapic_init();
}

static uint8_t moved_page[4096] __attribute__((aligned(4096)));

static void apic_moves(void)
{
    uint64_t places[] = {(uintptr_t)moved_page, 0x1000,           0x100000, 0x1000000, 0xfec00000, 0xfffff000,
                         0x100000000ULL,        0xfffffffff000ULL};

    for (uint32_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        uint64_t value = places[i] | 0x900;

        TRAP("wrmsr", : : "c"(MSR_APIC_BASE), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
        *(volatile uint32_t *)moved_page = 7;
        TRAP("movl (%0), %%eax", : : "r"((uintptr_t)LAPIC_BASE + 0x30) : "rax", "memory");
    }
    for (uint32_t bit = 0; bit < 64; bit++) {
        uint64_t value = (0xfee00900ULL) ^ (1ULL << bit);

        TRAP("wrmsr", : : "c"(MSR_APIC_BASE), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
        wrmsr(MSR_APIC_BASE, 0xfee00000);
    }
    wrmsr(MSR_APIC_BASE, 0xfee00900);
    TRAP("wrmsr", : : "c"(MSR_APIC_BASE), "a"(0xfee00d00), "d"(0) : "memory");
    for (uint32_t msr = 0x800; msr < 0x900; msr++) {
        for (uint32_t v = 0; v < HOSTILE_VALUES; v++) {
            if (msr != 0x830) {
                attack_msr(msr, hostile_values[v]);
            }
        }
    }
    for (uint32_t id = 1; id < 300; id++) {
        for (uint32_t mode = 4; mode < 7; mode++) {
            TRAP("wrmsr", : : "c"(0x830), "a"(0x4000 | mode << 8 | 0x10), "d"(id) : "memory");
        }
    }
    wrmsr(MSR_APIC_BASE, 0xfee00000);
    lapic_init();
}

/* ---- Descriptor tables ---- */

struct __attribute__((packed)) pointer {
    uint16_t limit;
    uint64_t base;
};

static void descriptor_tables(void)
{
    struct pointer gdt;
    struct pointer idt;
    uint64_t bases[] = {0, 0xd0000000, 0x1000000, 0x00007ffffffffff0ULL, 0xffff800000000000ULL, 0xfee00000};

    __asm__ volatile("sgdt %0; sidt %1" : "=m"(gdt), "=m"(idt));
    for (uint32_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
        struct pointer bad = {0xffff, bases[i]};

        __asm__ volatile("lgdt %0" : : "m"(bad));
        (void)cpuid(0, 0);
        (void)in8(0x71);
        __asm__ volatile("lgdt %0; lidt %1" : : "m"(gdt), "m"(bad));
        (void)cpuid(0, 0);
        (void)in8(0x71);
        __asm__ volatile("lidt %0" : : "m"(idt));
    }
    for (uint32_t selector = 0; selector < 0x10000; selector += 257) {
        TRAP("movw %w0, %%fs", : : "r"(selector) : "memory");
        TRAP("movw %w0, %%gs", : : "r"(selector) : "memory");
        TRAP("ltr %w0", : : "r"(selector) : "memory");
        TRAP("lldt %w0", : : "r"(selector) : "memory");
    }
}

static const struct attack attacks[] = {
    {"addresses", sweep_addresses},
    {"page-tables", sweep_page_tables},
    {"unaligned-mmio", unaligned_mmio},
    {"ports", sweep_ports},
    {"devices", random_devices},
    {"string-io", string_ports},
    {"cpuid", sweep_cpuid},
    {"hypercalls", sweep_hypercalls},
    {"control-registers", control_registers},
    {"reserved-bits", reserved_bits},
    {"task-priority", task_priority},
    {"xcr0", xcr0},
    {"instructions", forbidden_instructions},
    {"virtualization", virtualization},
    {"cache-control", cache_control},
    {"smis", smis},
    {"debug-registers", debug_registers},
    {"descriptor-tables", descriptor_tables},
    {"apic-registers", apic_registers},
    {"apic-moves", apic_moves},
    {"msrs", sweep_msrs},
};

void guest_main(void)
{
    pic_init();
    lapic_init();
    window_init();
    hostile_run(attacks, sizeof(attacks) / sizeof(attacks[0]));
}
