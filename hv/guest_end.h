/*
 * The end of a guest, and of the machine's run: reports, restart, and what happens when all guests have stopped.
 */
#ifndef HV_GUEST_END_H
#define HV_GUEST_END_H

#include "hv/boot_info.h"
#include "hv/core/guest.h"
#include "hv/cpu.h"

void guest_end_init(const struct boot_info *info);

/* A vCPU left its guest for good. The last one of the guest reports, and restarts it or ends the machine's run. */
void guest_end_vcpu_left(struct vcpu *vcpu);

/* CPU_FLAG_STOP: the machine's run has ended elsewhere; this CPU halts. */
_Noreturn void guest_end_cpu_stops(struct cpu *cpu);

#endif
