/* SPDX-License-Identifier: MIT */
/*
 * What test_svm_shadow.c and test_vmx_shadow.c have in common: one vCPU of a guest without nested paging, its RAM with
 * tables of its own, and the walk of a CPU. The vendor's files are compiled into each test, before this one: their
 * exit_dispatch() is noted_dispatch(). The test has cpu_root(), which says what CR3 the CPU was entered with.
 */
#ifndef TESTS_UNIT_SHADOW_HARNESS_H
#define TESTS_UNIT_SHADOW_HARNESS_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "hv/exit/dispatch.h"
#include "hv/mm/page_table_formats.h"
#include "hv/x86/registers.h"

#define RAM_BYTES (4 * MIB)
#define TABLES 64u
#define MEMORY_BYTES (RAM_BYTES + 4 * MIB)
#define PHYSICAL_BITS 40u

/* The guest's own tables, an identity map of the first 2 MiB, and its code. */
#define PML4 0x10000u
#define OTHER_PML4 0x14000u
#define CODE 0x20000u

static uint8_t *arena; /* below 4 GiB, so that host-physical addresses are pointers as in the hypervisor */
static struct host_facts facts;
static struct guest guest;
static struct vcpu vcpu;
static struct lapic_page lapic_page;
static struct vm_exit noted;
static uint32_t dispatched;

/* An entry: the test's exit, one after the other. */
static void (*cpu_runs)(uint32_t entry);

static uint64_t cpu_root(void);

static void noted_dispatch(struct vcpu *to, const struct vm_exit *exit)
{
    noted = *exit;
    dispatched++;
    if (exit->kind != EXIT_NESTED_FAULT) { /* no devices here */
        exit_dispatch(to, exit);
    }
}

/* --- what the files call that do not run here --- */

void machine_check_in_guest(struct vcpu *of)
{
    (void)of;
    abort();
}

void speculation_set_control(struct cpu *cpu, uint64_t guest_bits)
{
    (void)cpu;
    (void)guest_bits;
}

void speculation_barrier(void)
{
}

bool host_timer_is_deadline(void)
{
    return false;
}

void host_timer_arm(uint64_t deadline_tsc)
{
    (void)deadline_tsc;
}

/* --- the guest --- */

static void put_entry(uint64_t table, uint64_t index, uint64_t entry)
{
    memcpy(arena + table + index * 8, &entry, 8);
}

/* The guest as its vendor part finds it, with tables for the first 2 MiB. */
static void make_guest(void *vendor, uint64_t cr4_allowed)
{
    static uint8_t *memory;
    uint64_t start;

    if (memory == NULL) {
        memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
        assert_true(memory != MAP_FAILED);
    }
    memset(memory, 0, MEMORY_BYTES);
    start = align_up((uint64_t)(uintptr_t)memory, 2 * MIB);
    arena = (uint8_t *)(uintptr_t)start;
    memset(&vcpu, 0, sizeof(vcpu));
    memset(&guest, 0, sizeof(guest));
    facts = (struct host_facts){.physical_bits = PHYSICAL_BITS, .gib_pages = true};
    guest.host = &facts;
    guest.cr4_allowed = cr4_allowed;
    guest.memory = (struct guest_memory){.ranges = {{gpa(0), hpa(start), RAM_BYTES}}, .range_count = 1};
    vcpu.guest = &guest;
    vcpu.vendor = vendor;
    vcpu.leave_at = UINT64_MAX;
    lapic_init(&vcpu.lapic, &lapic_page, 0, true, &facts.clock);
    put_entry(PML4, 0, (PML4 + 0x1000) | 0x7);
    put_entry(PML4 + 0x1000, 0, (PML4 + 0x2000) | 0x7);
    put_entry(PML4 + 0x2000, 0, 0x87); /* 2 MiB, user, writable */
    put_entry(OTHER_PML4, 0, (PML4 + 0x1000) | 0x7);
    dispatched = 0;
}

/* As the CPU would: the leaf for an address in the tables that CR3 points to, of so many levels. 0: none. */
static uint64_t leaf_of(uint64_t address, unsigned levels)
{
    uint64_t table = cpu_root();

    for (unsigned level = levels; level-- > 0;) {
        uint64_t entry = ((const uint64_t *)(uintptr_t)table)[level_index(address, level)];

        if ((entry & X86_PRESENT) == 0 || level == 0 || (entry & X86_LARGE) != 0) {
            return entry;
        }
        table = entry & ADDRESS_MASK;
    }
    return 0;
}

#endif
