/* SPDX-License-Identifier: MIT */
/*
 * Every paging mode, one after the other, with large pages and small ones, and a device reached through each at an
 * address of its own: 32-bit with 4 MiB pages, PAE with 2 MiB pages, 4 levels and, where the CPU has them, 5.
 * SDM 3A 4 "Paging", 4.1.2 "Paging-Mode Enabling".
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "paging";

#define CR0_PG 0x80000000u
#define CR4_PSE 0x10u
#define CR4_PAE 0x20u
#define CR4_LA57 0x1000u
#define EFER 0xc0000080u
#define EFER_LME 0x100u
#define CPUID_7_ECX_LA57 (1u << 16)
#define CPUID_80000001_EDX_LM (1u << 29)
#define SMALL_PAGE 0x03u
#define LARGE_PAGE 0x83u
#define MIB (1u << 20)
#define APIC_VERSION 0x30u
#define APIC_TPR 0x80u

/* Where the local APIC is found: by a large page and by a small one. */
#define LARGE_32 (0x80000000u + 2 * MIB) /* the second half of its 4 MiB */
#define LARGE_PAE 0x80000000u
#define SMALL 0x80400000u

static uint32_t directory_32[1024] __attribute__((aligned(4096))), table_32[1024] __attribute__((aligned(4096)));
static uint64_t pointers[4] __attribute__((aligned(32)));
static uint64_t directories[4][512] __attribute__((aligned(4096)));
static uint64_t other_directory[512] __attribute__((aligned(4096))), table_64[512] __attribute__((aligned(4096)));
static uint64_t upper[5][512] __attribute__((aligned(4096)));

static uint32_t address_of(const volatile void *what)
{
    return (uint32_t)(uintptr_t)what;
}

static void paging_on(uint32_t root, uint32_t cr4)
{
    write_cr4(cr4);
    write_cr3(root);
    write_cr0(read_cr0() | CR0_PG);
}

static void paging_off(void)
{
    write_cr0(read_cr0() & ~(word_t)CR0_PG);
    write_cr4(0);
}

/* Reads, writes, and a read-modify-write at `alias` are those of the device. */
static void check_device(uint32_t alias)
{
    CHECK_EQUAL(mmio_read32(alias + APIC_VERSION), mmio_read32(LAPIC_BASE + APIC_VERSION));
    mmio_write32(alias + APIC_TPR, 0x21);
    *(volatile uint32_t *)(uintptr_t)(alias + APIC_TPR) |= 0x42;
    CHECK_EQUAL(mmio_read32(LAPIC_BASE + APIC_TPR), 0x63);
    mmio_write32(alias + APIC_TPR, 0);
    CHECK_EQUAL(mmio_read32(LAPIC_BASE + APIC_TPR), 0);
}

static void pages_of_4_mib(void)
{
    for (uint32_t i = 0; i < 1024; i++) {
        directory_32[i] = i << 22 | LARGE_PAGE;
    }
    directory_32[LARGE_32 >> 22] = (LAPIC_BASE & ~(4 * MIB - 1)) | LARGE_PAGE;
    directory_32[SMALL >> 22] = address_of(table_32) | SMALL_PAGE;
    table_32[0] = LAPIC_BASE | SMALL_PAGE;
    paging_on(address_of(directory_32), CR4_PSE);
    check_device(LARGE_32);
    check_device(SMALL);
    CHECK((directory_32[SMALL >> 22] & 0x20) != 0); /* accessed */
    CHECK_EQUAL(table_32[0] & 0x60, 0x60);          /* accessed and dirty */
    paging_off();
}

/* One to one, but for the two aliases of the device. PAE and long mode have the same directories. */
static void fill_directories(void)
{
    for (uint32_t i = 0; i < 4; i++) {
        for (uint32_t j = 0; j < 512; j++) {
            directories[i][j] = (uint64_t)i << 30 | j << 21 | LARGE_PAGE;
        }
    }
    directories[2][0] = LAPIC_BASE | LARGE_PAGE;
    directories[2][2] = address_of(table_64) | SMALL_PAGE;
    table_64[0] = LAPIC_BASE | SMALL_PAGE;
    other_directory[0] = LAPIC_BASE | LARGE_PAGE;
}

/* A changed pointer counts after CR3 has been written. SDM 3A 4.4.1 "PDPTE Registers". */
static void pae_with_pages_of_2_mib(void)
{
    for (uint32_t i = 0; i < 4; i++) {
        pointers[i] = address_of(directories[i]) | 1;
    }
    paging_on(address_of(pointers), CR4_PAE);
    check_device(LARGE_PAE);
    check_device(SMALL);
    pointers[2] = 1u | address_of(other_directory);
    write_cr3(address_of(pointers));
    check_device(LARGE_PAE); /* by the other directory, which has nothing else */
    TRAP("movl (%0), %%eax", : : "r"(SMALL) : "eax", "memory");
    CHECK_EQUAL(trap_last.vector, 14);
    CHECK_EQUAL(trap_last.cr2, SMALL);
    paging_off();
}

struct asked {
    uint64_t address;
    uint32_t version, tpr;
};

/* Into 64-bit code and back; the device is asked there, through an address above 4 GiB. */
static void ask_in_64_bit_code(uint32_t root, uint32_t cr4, struct asked *asked)
{
    wrmsr(EFER, rdmsr(EFER) | EFER_LME); /* before PAE, which a PC allows as well */
    CHECK((rdmsr(EFER) & EFER_LME) != 0);
    write_cr4(CR4_PAE | cr4);
    paging_on(root, CR4_PAE | cr4);
    __asm__ volatile(
        "ljmp $0x18, $1f\n"
        ".code64\n"
        "1: movl %%esi, %%esi; movl %%esp, %%esp; movq (%%rsi), %%rbx\n"
        "movl 0x30(%%rbx), %%ecx; movl %%ecx, 8(%%rsi)\n"
        "movl $0x42, 0x80(%%rbx); addl $0x11, 0x80(%%rbx); movl 0x80(%%rbx), %%ecx; movl %%ecx, 12(%%rsi)\n"
        "movl $0, 0x80(%%rbx)\n"
        "pushq $8; leaq 2f(%%rip), %%rcx; pushq %%rcx; lretq\n"
        ".code32\n"
        "2:"
        :
        : "S"(asked)
        : "ebx", "ecx", "memory", "cc");
    write_cr0(read_cr0() & ~(word_t)CR0_PG);
    wrmsr(EFER, rdmsr(EFER) & ~(uint64_t)EFER_LME);
    write_cr4(0);
}

/* upper[1] is the table of level 3 of the low addresses, upper[2] of the high ones; 3 has level 4, 4 has level 5. */
static void long_mode(bool five_levels)
{
    struct asked asked = {.address = five_levels ? 1ull << 48 : 1ull << 39};

    for (uint32_t i = 0; i < 4; i++) {
        upper[1][i] = address_of(directories[i]) | SMALL_PAGE;
    }
    upper[2][0] = address_of(other_directory) | SMALL_PAGE;
    upper[3][0] = address_of(upper[1]) | SMALL_PAGE;
    upper[3][1] = address_of(upper[2]) | SMALL_PAGE;
    upper[0][0] = address_of(upper[2]) | SMALL_PAGE;
    upper[4][0] = address_of(upper[3]) | SMALL_PAGE;
    upper[4][1] = address_of(upper[0]) | SMALL_PAGE;
    ask_in_64_bit_code(address_of(upper[five_levels ? 4 : 3]), five_levels ? CR4_LA57 : 0, &asked);
    CHECK_EQUAL(asked.version, mmio_read32(LAPIC_BASE + APIC_VERSION));
    CHECK_EQUAL(asked.tpr, 0x53);
    CHECK_EQUAL(mmio_read32(LAPIC_BASE + APIC_TPR), 0);
}

static void load_gdt(void)
{
    static const uint64_t gdt[] = {0, 0x00cf9b000000ffffull, 0x00cf93000000ffffull, 0x00af9b000000ffffull};
    struct __attribute__((packed)) {
        uint16_t limit;
        uint32_t base;
    } pointer = {sizeof(gdt) - 1, address_of(gdt)};

    __asm__ volatile("lgdt %0" : : "m"(pointer));
}

void guest_main(void)
{
    pic_init();
    lapic_init();
    load_gdt();
    fill_directories();
    pages_of_4_mib();
    pae_with_pages_of_2_mib();
    pages_of_4_mib();
    if ((cpuid(0x80000001, 0).edx & CPUID_80000001_EDX_LM) != 0) {
        long_mode(false);
        if (cpuid(0, 0).eax >= 7 && (cpuid(7, 0).ecx & CPUID_7_ECX_LA57) != 0) {
            long_mode(true);
            print("  5 levels\n");
        }
    }
    pae_with_pages_of_2_mib();
}
