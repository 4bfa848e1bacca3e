/* SPDX-License-Identifier: MIT */
/*
 * `measure:exits`: no fault, but how long the hypervisor keeps a CPU, in TSC ticks. Where a tick is an instruction
 * (QEMU with -icount shift=0, Bochs) this is counted, not timed. Told in the log whenever one of the three has grown by
 * a sixteenth:
 *
 *   exit   from the CPU's exit to the end of its handling
 *   pass   from there, or from a wake-up, to the next entry or sleep: hv/run/cpu_loop.c, and what it does for guests
 *   end    a pass in which a guest has ended or begun again, with its report
 */
#include "hv/base/log.h"
#include "hv/core/vm_exit.h"
#include "hv/guest/create.h"
#include "hv/guest/end.h"
#include "hv/host/cpu.h"
#include "hv/host/fault.h"
#include "hv/x86/insn.h"

#define STEP 16u

static struct {
    uint64_t pass_began; /* host TSC; 0: not within one */
    uint64_t ends;       /* when it began */
    uint64_t exit, pass, end;
    bool grown;
    struct exit_record longest;
} measured[CPUS_MAX];

static bool measures(void)
{
    static enum { NOT_KNOWN, NO, YES } known;

    if (known == NOT_KNOWN) {
        known = fault_is("measure:exits") ? YES : NO;
    }
    return known == YES;
}

/* Another one whenever a guest ends or begins again, and when its end is reported, which is in a later pass. */
static uint64_t count_ends(void)
{
    uint64_t count = guest_end_reports();

    for (uint32_t i = 0; i < guest_count; i++) {
        count += guests[i]->restarts + (guests[i]->state != GUEST_RUNNING ? 1 : 0);
    }
    return count;
}

void fault_exit_handled(const struct vcpu *vcpu)
{
    uint64_t ticks = insn_rdtsc() - vcpu->exit_tsc;
    uint32_t cpu = vcpu->host_cpu;

    if (measures() && ticks > measured[cpu].exit + measured[cpu].exit / STEP) {
        measured[cpu].exit = ticks;
        measured[cpu].grown = true;
        measured[cpu].longest = vcpu->ring[(vcpu->ring_next - 1) & (EXIT_RING_ENTRIES - 1)];
    }
}

void fault_pass_begins(void)
{
    uint32_t cpu = cpu_this()->index;

    if (measures()) {
        measured[cpu].ends = count_ends();
        measured[cpu].pass_began = insn_rdtsc();
    }
}

static void note_pass(uint32_t cpu)
{
    uint64_t ticks = insn_rdtsc() - measured[cpu].pass_began;
    uint64_t *longest = measured[cpu].ends == count_ends() ? &measured[cpu].pass : &measured[cpu].end;

    if (ticks > *longest + *longest / STEP) {
        *longest = ticks;
        measured[cpu].grown = true;
    }
}

void fault_pass_ends(void)
{
    uint32_t cpu = cpu_this()->index;
    const struct exit_record *longest = &measured[cpu].longest;

    if (!measures() || measured[cpu].pass_began == 0) {
        return;
    }
    note_pass(cpu);
    measured[cpu].pass_began = 0;
    if (measured[cpu].grown) {
        measured[cpu].grown = false;
        log_info("measured on CPU %u: exit %" PRIu64 " (%s, 0x%" PRIx64 " at rip 0x%" PRIx64 "), pass %" PRIu64
                 ", end %" PRIu64,
                 cpu, measured[cpu].exit, exit_kind_name((enum exit_kind)longest->kind), longest->detail, longest->rip,
                 measured[cpu].pass, measured[cpu].end);
    }
}
