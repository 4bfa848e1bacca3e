/* SPDX-License-Identifier: MIT */
/*
 * A small machine for the tests of the emulator: 1 MiB of RAM, two pages of a device that is plain memory and keeps a
 * record of every access, no device elsewhere; ports likewise. One vCPU, in any mode.
 *
 * It stands in for hv/core/guest_io.c as a whole, so that the archive's member is not linked.
 */
#ifndef TESTS_UNIT_EMULATE_HARNESS_H
#define TESTS_UNIT_EMULATE_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hv/core/event.h"
#include "hv/core/guest_io.h"
#include "hv/core/guest_irq.h"
#include "hv/core/platform_lock.h"
#include "hv/core/vm_exit.h"
#include "hv/mm/guest_walk.h"
#include "hv/x86/registers.h"
#include "tests/unit/support.h"

#define RAM_BYTES 0x100000u
#define DEVICE_GPA 0xfed00000ULL
#define DEVICE_BYTES 0x2000u
#define NO_DEVICE_GPA 0xd0000000ULL
#define RECORD_MAX 8192u

struct record {
    bool write;
    uint64_t address; /* or port */
    uint8_t size;
    uint64_t value;
};

static uint8_t ram[RAM_BYTES] __attribute__((aligned(4096)));
static uint8_t device[DEVICE_BYTES];
static struct record records[RECORD_MAX];
static uint32_t record_count;
static uint32_t port_value; /* what IN gives; then one more */

#define EXIT_TICKS 1000u

static struct host_facts host_facts;
static struct guest guest;
static struct vcpu vcpu;
static struct lapic_page lapic_page;

static inline void record(bool write, uint64_t address, uint8_t size, uint64_t value)
{
    assert_true(record_count < RECORD_MAX);
    records[record_count++] = (struct record){write, address, size, value};
}

static inline bool in_device(gpa_t address, uint8_t size)
{
    return address.value >= DEVICE_GPA && address.value + size <= DEVICE_GPA + DEVICE_BYTES;
}

bool guest_mmio_read(struct vcpu *cpu, gpa_t address, uint8_t size, uint64_t *value)
{
    (void)cpu;
    assert_true(size == 1 || size == 2 || size == 4 || size == 8);
    record(false, address.value, size, 0);
    *value = 0x5a5a5a5a5a5a5a5a; /* must not be looked at */
    if (!in_device(address, size)) {
        return false;
    }
    *value = 0;
    memcpy(value, device + (address.value - DEVICE_GPA), size);
    return true;
}

bool guest_mmio_write(struct vcpu *cpu, gpa_t address, uint8_t size, uint64_t value)
{
    (void)cpu;
    assert_true(size == 1 || size == 2 || size == 4 || size == 8);
    record(true, address.value, size, value);
    if (!in_device(address, size)) {
        return false;
    }
    memcpy(device + (address.value - DEVICE_GPA), &value, size);
    return true;
}

bool guest_port_read(struct vcpu *cpu, uint16_t port, uint8_t size, uint32_t *value)
{
    (void)cpu;
    *value = port_value++;
    record(false, port, size, *value);
    return port != 0xffff;
}

bool guest_port_write(struct vcpu *cpu, uint16_t port, uint8_t size, uint32_t value)
{
    (void)cpu;
    record(true, port, size, value);
    return port != 0xffff;
}

bool guest_is_apic_page(const struct vcpu *cpu, gpa_t address)
{
    (void)cpu;
    (void)address;
    return false;
}

bool guest_acknowledge_extint(struct vcpu *cpu, uint8_t *vector)
{
    (void)cpu;
    *vector = 0;
    return true;
}

/* Another vCPU has the platform while this is true. */
static bool platform_taken;

bool guest_hold_shared(struct vcpu *cpu, uint64_t until)
{
    (void)until;
    cpu->holds_platform = !platform_taken;
    cpu->requests |= platform_taken ? VCPU_YIELD : 0;
    return cpu->holds_platform;
}

bool guest_hold_for(struct vcpu *cpu, gpa_t address)
{
    (void)address;
    return guest_hold(cpu);
}

/* --- modes -------------------------------------------------------------------------------------------------------- */

#define ACCESS_CODE_64 0xa09bu
#define ACCESS_CODE_32 0xc09bu
#define ACCESS_CODE_16 0x009bu
#define ACCESS_DATA_32 0xc093u
#define ACCESS_DATA_16 0x0093u

#define PTE_P 1u
#define PTE_W 2u
#define PTE_U 4u
#define PTE_PS 0x80u

#define CODE_ADDRESS 0x30000u /* guest-physical, and linear but in 64-bit mode's high window */

/* Linear in 64-bit mode: pages 0 to 15 of a window far from everything, so that a test can have host memory there. */
#define WINDOW 0x200000000000ULL
#define WINDOW_PAGES 16u
#define TABLE_PML4 0x1000u
#define TABLE_LOW_PDPT 0x2000u
#define TABLE_PDPT 0x3000u
#define TABLE_PD 0x4000u
#define TABLE_PT 0x5000u
#define WINDOW_RAM 0x20000u /* guest-physical of the window's RAM pages */

static inline void put_entry(uint32_t table, uint32_t index, uint64_t entry)
{
    memcpy(ram + table + index * 8, &entry, 8);
}

static inline void machine_reset(void)
{
    memset(ram, 0, sizeof(ram));
    memset(device, 0, sizeof(device));
    memset(&guest, 0, sizeof(guest));
    memset(&vcpu, 0, sizeof(vcpu));
    record_count = 0;
    host_facts = (struct host_facts){.physical_bits = 46, .gib_pages = true, .exit_ticks = EXIT_TICKS};
    guest.host = &host_facts;
    guest.memory.window = (uint64_t)(uintptr_t)ram;
    guest.memory.range_count = 1;
    guest.memory.ranges[0] = (struct guest_range){gpa(0), hpa(0), RAM_BYTES};
    guest.vcpus = &vcpu;
    guest.vcpu_count = 1;
    vcpu.guest = &guest;
    vcpu.lapic.page = &lapic_page;
    vcpu.rflags = RFLAGS_FIXED;
    vcpu.leave_at = UINT64_MAX;
    platform_taken = false;
    support_now = 0;
    support_tick = 0;
}

static inline void set_segments(uint32_t code, uint32_t data, uint32_t limit)
{
    for (unsigned i = 0; i <= SEGMENT_GS; i++) {
        vcpu.system.segments[i] = (struct segment){.access = i == SEGMENT_CS ? code : data, .limit = limit};
    }
}

static inline void enter_real_mode(void)
{
    machine_reset();
    set_segments(ACCESS_DATA_16, ACCESS_DATA_16, 0xffff);
    vcpu.system.segments[SEGMENT_CS].base = CODE_ADDRESS;
    vcpu.system.cr0 = CR0_ET;
}

static inline void enter_protected_mode(void)
{
    machine_reset();
    set_segments(ACCESS_CODE_32, ACCESS_DATA_32, 0xffffffff);
    vcpu.system.cr0 = CR0_PE | CR0_ET;
    vcpu.rip = CODE_ADDRESS;
}

/* Window page 0 and 3 to 15: RAM; 1 and 2: the device. The lowest 4 GiB are identity-mapped too. */
static inline void enter_long_mode(void)
{
    machine_reset();
    set_segments(ACCESS_CODE_64, ACCESS_DATA_32, 0xffffffff);
    put_entry(TABLE_PML4, 0, TABLE_LOW_PDPT | PTE_P | PTE_W | PTE_U);
    put_entry(TABLE_PML4, (WINDOW >> 39) & 511, TABLE_PDPT | PTE_P | PTE_W | PTE_U);
    put_entry(TABLE_PDPT, 0, TABLE_PD | PTE_P | PTE_W | PTE_U);
    put_entry(TABLE_PD, 0, TABLE_PT | PTE_P | PTE_W | PTE_U);
    for (uint32_t i = 0; i < 4; i++) {
        put_entry(TABLE_LOW_PDPT, i, (uint64_t)i * GIB | PTE_P | PTE_W | PTE_U | PTE_PS);
    }
    for (uint32_t i = 0; i < WINDOW_PAGES; i++) {
        bool is_device = i == 1 || i == 2;

        put_entry(TABLE_PT, i,
                  (is_device ? DEVICE_GPA + (i - 1) * 0x1000 : WINDOW_RAM + i * 0x1000u) | PTE_P | PTE_W | PTE_U);
    }
    vcpu.system.cr0 = CR0_PE | CR0_ET | CR0_PG | CR0_WP;
    vcpu.system.cr3 = TABLE_PML4;
    vcpu.system.cr4 = CR4_PAE;
    vcpu.system.efer = EFER_LME | EFER_LMA | EFER_NXE;
    vcpu.rip = CODE_ADDRESS;
}

static inline void put_code(const char *bytes, size_t count)
{
    memcpy(ram + CODE_ADDRESS, bytes, count);
}

/* True where exactly this exception is pending and nothing moved rip. */
static inline bool raised(uint8_t vector, bool has_error, uint32_t error, uint64_t rip)
{
    return vcpu.pending.valid && vcpu.pending.kind == EVENT_EXCEPTION && vcpu.pending.vector == vector &&
           vcpu.pending.has_error == has_error && (!has_error || vcpu.pending.error == error) && vcpu.rip == rip;
}

#endif
