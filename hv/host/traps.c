/* SPDX-License-Identifier: MIT */
#include "hv/host/traps.h"

#include "hv/base/format.h"
#include "hv/host/host_apic.h"
#include "hv/host/machine_check.h"

#define VECTOR_DB 1u
#define VECTOR_NMI 2u
#define VECTOR_MC 18u
#define VECTOR_FIRST_INTERRUPT 32u
#define STUB_BYTES 16u /* hv/host/trap_entry.S */
#define OWN_STUBS 3u   /* the timer's, the kick's, and that of all others */
_Static_assert(HOST_VECTOR_PIC >= VECTOR_FIRST_INTERRUPT, "no interrupt is taken for an exception");

/* Bits of a page-fault error code. SDM 3A 4.7 "Page-Fault Exceptions". */
#define FAULT_PRESENT (1ULL << 0)
#define FAULT_WRITE (1ULL << 1)
#define FAULT_RESERVED (1ULL << 3)
#define FAULT_FETCH (1ULL << 4)

extern const uint8_t trap_stubs[];

extern const uint8_t insn_rdmsr_at[];
extern const uint8_t insn_wrmsr_at[];
extern const uint8_t insn_xsetbv_at[];
extern const uint8_t insn_safe_failed[];

static const char *const trap_names[VECTOR_FIRST_INTERRUPT] = {
    [0] = "divide error (#DE)",
    [1] = "debug exception (#DB)",
    [2] = "NMI",
    [3] = "breakpoint (#BP)",
    [4] = "overflow (#OF)",
    [5] = "bound range exceeded (#BR)",
    [6] = "invalid opcode (#UD)",
    [7] = "device not available (#NM)",
    [8] = "double fault (#DF)",
    [10] = "invalid TSS (#TS)",
    [11] = "segment not present (#NP)",
    [12] = "stack fault (#SS)",
    [13] = "general protection fault (#GP)",
    [14] = "page fault (#PF)",
    [16] = "x87 floating-point error (#MF)",
    [17] = "alignment check (#AC)",
    [18] = "machine check (#MC)",
    [19] = "SIMD floating-point error (#XM)",
    [20] = "virtualization exception (#VE)",
    [21] = "control protection exception (#CP)",
    [28] = "hypervisor injection exception (#HV)",
    [29] = "VMM communication exception (#VC)",
    [30] = "security exception (#SX)",
};

const char *trap_name(uint64_t vector)
{
    if (vector >= VECTOR_FIRST_INTERRUPT) {
        return "interrupt";
    }
    return trap_names[vector] != NULL ? trap_names[vector] : "reserved exception";
}

static const char *fault_verb(uint64_t error)
{
    if ((error & FAULT_FETCH) != 0) {
        return "instruction fetch from";
    }
    return (error & FAULT_WRITE) != 0 ? "write to" : "read from";
}

static const char *fault_cause(uint64_t error, uint64_t address)
{
    if ((error & FAULT_RESERVED) != 0) {
        return "a page-table entry has a reserved bit set";
    }
    if ((error & FAULT_PRESENT) == 0) {
        return address < PAGE_BYTES ? "page 0 is absent: a null pointer" : "the page is absent";
    }
    return (error & FAULT_FETCH) != 0 ? "the page is not executable" : "the page is not writable";
}

void trap_describe_page_fault(char *to, size_t capacity, uint64_t error, uint64_t address)
{
    format_text(to, capacity, "%s 0x%016" PRIx64 ": %s", fault_verb(error), address, fault_cause(error, address));
}

uint64_t trap_stub_address(uint8_t vector)
{
    uint64_t stub = vector;

    if (vector >= HOST_VECTOR_DEVICE && vector < HOST_VECTOR_DEVICE + HOST_VECTOR_DEVICES) {
        stub = VECTOR_FIRST_INTERRUPT + OWN_STUBS + vector - HOST_VECTOR_DEVICE;
    } else if (vector >= HOST_VECTOR_MESSAGE && vector < HOST_VECTOR_MESSAGE + HOST_VECTOR_MESSAGES) {
        stub = VECTOR_FIRST_INTERRUPT + OWN_STUBS + HOST_VECTOR_DEVICES + vector - HOST_VECTOR_MESSAGE;
    } else if (vector >= VECTOR_FIRST_INTERRUPT) {
        stub = VECTOR_FIRST_INTERRUPT + (vector == HOST_VECTOR_TIMER ? 0u : vector == HOST_VECTOR_KICK ? 1u : 2u);
    }
    return (uint64_t)(uintptr_t)trap_stubs + stub * STUB_BYTES;
}

/* Goes on at the failure exit where the instruction was allowed to fault. */
static bool trap_fix(struct trap_frame *frame)
{
    const uint8_t *const may_fault[] = {insn_rdmsr_at, insn_wrmsr_at, insn_xsetbv_at};

    for (size_t i = 0; i < ARRAY_COUNT(may_fault); i++) {
        if (frame->rip == (uint64_t)(uintptr_t)may_fault[i]) {
            frame->rip = (uint64_t)(uintptr_t)insn_safe_failed;
            return true;
        }
    }
    return false;
}

/*
 * A #DB means nothing here: the hypervisor never arms a breakpoint and never sets TF. It comes all the same in Bochs'
 * SVM, where the single step of a guest whose instruction was intercepted is still pending after #VMEXIT. GS is then
 * the guest's, so nothing may be looked up.
 */
void trap_dispatch(struct trap_frame *frame)
{
    if (frame->vector >= VECTOR_FIRST_INTERRUPT) {
        trap_interrupt((uint8_t)frame->vector);
        return;
    }
    if (frame->vector == VECTOR_DB) {
        return;
    }
    if (frame->vector == VECTOR_NMI) {
        trap_nmi(frame);
        return;
    }
    if (frame->vector == VECTOR_MC && machine_check_is_harmless()) {
        return;
    }
    if (!trap_fix(frame)) {
        trap_fatal(frame);
    }
}
