/* SPDX-License-Identifier: MIT */
/*
 * What an access to a device in memory costs in the hypervisor, in instructions: `make bench-emulate`.
 *
 * One guest in 64-bit mode with tables of 4 KiB pages, made of the same objects as the hypervisor's. Each row runs one
 * instruction often, as exit_dispatch() gets it and as exit_quick_fault() does ("short way"), and callgrind counts
 * inside of the counted functions only: what an exit costs before it (reading the control structure) is in
 * `make bench-exit`. The last rows are the first fetch from 2 MiB where code lies in 4 KiB leaves (hv/mm/small_code.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/core/guest_devices.h"
#include "hv/core/guest_io.h"
#include "hv/exit/dispatch.h"
#include "hv/mm/small_code.h"
#include "hv/x86/registers.h"
#include "tests/unit/page_table_arena.h"
#include "tests/unit/support.h"

#define ROUNDS 64u
#define RAM_BYTES (1u << 20)
#define TABLES 0x1000u /* one for each level, then the one of devices */
#define CODE 0x10000u
#define IOAPIC 0xfec00000ULL
#define LAPIC 0xfee00000ULL
#define PCI 0xe0000000ULL  /* configuration space, of no function */
#define HOLE 0xfef00000ULL /* nothing is there */

static struct config config;
static struct boot_guest boot;
static struct guest guest;
static struct vcpu vcpu;
static struct lapic_page lapic_page;
static uint64_t devices[8192];
static struct host_facts host = {.physical_bits = 40, .exit_ticks = 1000, .gib_pages = true};
static uint8_t ram[RAM_BYTES] __attribute__((aligned(4096)));

__attribute__((noinline)) void counted_exit(const struct vm_exit *exit);
void counted_exit(const struct vm_exit *exit)
{
    exit_dispatch(&vcpu, exit);
}

__attribute__((noinline)) uint8_t counted_quick(const struct exit_nested_fault *fault);
uint8_t counted_quick(const struct exit_nested_fault *fault)
{
    return exit_quick_fault(&vcpu, 0, fault, ram + vcpu.rip);
}

__attribute__((noinline)) bool counted_port(uint16_t port, bool in);
bool counted_port(uint16_t port, bool in)
{
    return exit_quick_port(&vcpu, 0, 0, port, in);
}

static struct small_code small_code;

__attribute__((noinline)) bool counted_open(uint64_t address);
bool counted_open(uint64_t address)
{
    return small_code_open(&small_code, gpa(address));
}

/* Marks the end of a row for callgrind. */
__attribute__((noinline)) void row_ended(void);
void row_ended(void)
{
    __asm__ volatile("");
}

static void put_entry(uint32_t table, uint64_t index, uint64_t entry)
{
    memcpy(ram + table + (index & 511) * 8, &entry, 8);
}

static void map(uint64_t address)
{
    static uint32_t next = TABLES + 0x1000;
    uint32_t table = TABLES;

    for (unsigned shift = 39; shift > 12; shift -= 9) {
        uint64_t entry;

        memcpy(&entry, ram + table + (address >> shift & 511) * 8, 8);
        if (entry == 0) {
            entry = next | 0x23;
            put_entry(table, address >> shift, entry);
            next += 0x1000;
        }
        table = (uint32_t)(entry & ~0xfffULL);
    }
    put_entry(table, address >> 12, address | 0x63);
}

static void start(void)
{
    const struct platform_config platform = {.clock = &host.clock, .ram_low_bytes = RAM_BYTES, .cpus = 1};

    host.clock = clock_of(1000000000);
    config.guest_count = 1;
    guest.config = &config.guests[0];
    guest.host = &host;
    guest.memory.window = (uint64_t)(uintptr_t)ram;
    guest.memory.range_count = 1;
    guest.memory.ranges[0] = (struct guest_range){gpa(0), hpa(0), RAM_BYTES};
    guest.layout.low_bytes = RAM_BYTES;
    guest.vcpus = &vcpu;
    guest.vcpu_count = 1;
    guest.watchdog.deadline = UINT64_MAX;
    guest.stop_deadline = UINT64_MAX;
    vcpu.guest = &guest;
    vcpu.leave_at = UINT64_MAX;
    vcpu.rflags = RFLAGS_FIXED;
    lapic_init(&vcpu.lapic, &lapic_page, 0, true, &host.clock);
    guest_devices_create(&guest, devices, &config, &boot, NULL, NULL, NULL);
    platform_reset(&guest.platform, &platform, 0);
    if (guest_devices_attach(&guest, host.physical_bits) != STATUS_OK) {
        abort();
    }
    map(CODE);
    map(IOAPIC);
    map(LAPIC);
    map(PCI);
    map(HOLE);
    for (unsigned i = 0; i <= SEGMENT_GS; i++) {
        vcpu.system.segments[i] = (struct segment){.access = i == SEGMENT_CS ? 0xa09b : 0xc093, .limit = 0xffffffff};
    }
    vcpu.system.cr0 = CR0_PE | CR0_ET | CR0_PG | CR0_WP;
    vcpu.system.cr3 = TABLES;
    vcpu.system.cr4 = CR4_PAE;
    vcpu.system.efer = EFER_LME | EFER_LMA | EFER_NXE;
}

static void row(const char *name, unsigned rounds)
{
    printf("%s\t%u\t%u\t0\n", name, rounds, rounds);
    fflush(stdout);
    row_ended();
}

/* The instruction that access() has left in the cache. */
static void quick_access(uint64_t address, bool write)
{
    const struct exit_nested_fault fault = {.address = {address}, .write = write};

    for (unsigned i = 0; i < ROUNDS; i++) {
        vcpu.rip = CODE;
        if (counted_quick(&fault) == 0) {
            abort();
        }
        vcpu.requests = 0;
    }
    row("   the short way", ROUNDS);
}

/* From a place whose entry of the cache another one has, and uses now and then. */
static void access_beside(uint64_t address)
{
    const struct exit_nested_fault fault = {.address = {address}};

    memcpy(ram + CODE + 0x400, ram + CODE, 2);
    for (unsigned i = 0; i < ROUNDS; i++) {
        vcpu.rip = CODE;
        (void)exit_quick_fault(&vcpu, 0, &fault, ram + CODE);
        vcpu.rip = CODE + 0x400;
        if (counted_quick(&fault) == 0) {
            abort();
        }
        vcpu.requests = 0;
    }
    row("   from another place", ROUNDS);
}

static void port(const char *name, uint16_t number, bool in)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        vcpu.gpr[GPR_RAX] = 0;
        if (!counted_port(number, in)) {
            abort();
        }
        vcpu.requests = 0;
    }
    row(name, ROUNDS);
}

static void first_fetches(void)
{
    static const struct page_attributes data = {.read = true, .write = true, .user = true, .cache = CACHE_WB};
    static struct arena arena;
    static struct guest_memory memory = {.range_count = 1, .ranges = {{{0}, {16 * GIB}, 2 * GIB}}};

    arena_start_with(&arena, &page_table_ept4, &arena_caps, 16);
    if (page_table_map(&arena.tree, 0, hpa(16 * GIB), 2 * GIB, data, LEVEL_1G, NULL) != STATUS_OK) {
        abort();
    }
    small_code = (struct small_code){.table = &arena.tree, .memory = &memory};
    for (uint64_t address = 0; address <= 2 * MIB; address += 2 * MIB) {
        if (!counted_open(address)) {
            abort();
        }
        row(address == 0 ? "first fetch from a GiB" : "first fetch from 2 MiB", 1);
    }
    arena_end(&arena);
}

static void access(const char *name, const char *code, size_t bytes, uint64_t address, bool write)
{
    const struct vm_exit exit = {.kind = EXIT_NESTED_FAULT, .fault = {.address = {address}, .write = write}};

    memcpy(ram + CODE, code, bytes);
    for (unsigned i = 0; i < ROUNDS; i++) {
        vcpu.rip = CODE;
        vcpu.gpr[GPR_RBX] = address & ~0xfffULL;
        vcpu.gpr[GPR_RAX] = 0;
        counted_exit(&exit);
        if (vcpu.rip != CODE + bytes) {
            abort();
        }
        vcpu.requests = 0;
    }
    row(name, ROUNDS);
    quick_access(address, write);
}

#define ACCESS(name, code, address, write) access(name, code, sizeof(code) - 1, address, write)

int main(void)
{
    start();
    row_ended();
    ACCESS("read of the I/O APIC", "\x8b\x03", IOAPIC, false);                   /* mov eax, [rbx] */
    ACCESS("write of the I/O APIC", "\x89\x03", IOAPIC, true);                   /* mov [rbx], eax */
    ACCESS("read of the APIC's TPR", "\x8b\x83\x80\0\0\0", LAPIC + 0x80, false); /* mov eax, [rbx + 0x80] */
    ACCESS("write of the APIC's TPR", "\x89\x83\x80\0\0\0", LAPIC + 0x80, true); /* mov [rbx + 0x80], eax */
    ACCESS("read of PCI configuration", "\x8b\x03", PCI, false);
    ACCESS("read of nothing", "\x8b\x03", HOLE, false);
    access_beside(HOLE);
    port("IN 0x21, the short way", 0x21, true);
    port("IN 0x61", 0x61, true);
    port("OUT 0x70", 0x70, false);
    port("IN 0x3ff", 0x3ff, true);
    first_fetches();
    return 0;
}
