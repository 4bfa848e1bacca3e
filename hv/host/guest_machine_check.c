/* SPDX-License-Identifier: MIT */
#include "hv/host/guest_machine_check.h"

#include "hv/core/guest.h"
#include "hv/core/guest_codes.h"
#include "hv/host/machine_check.h"
#include "hv/host/panic.h"

void machine_check_in_guest(struct vcpu *vcpu)
{
    enum machine_check_verdict verdict = machine_check_judge_here();

    if (verdict == MACHINE_CHECK_FATAL) {
        hv_panic_machine_check(vcpu);
    }
    machine_check_report(LOG_WARNING, "machine check, contained: ");
    machine_check_clear();
    if (verdict == MACHINE_CHECK_ENDS_GUEST) {
        guest_fail(vcpu, GUEST_CODE_MACHINE_CHECK,
                   "machine check (#MC) at rip 0x%" PRIx64 ": its memory or its CPU has an "
                   "error, which the CPU says nothing else has met",
                   vcpu->rip);
    }
}
