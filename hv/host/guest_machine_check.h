/* SPDX-License-Identifier: MIT */
/* A machine check that came while a guest ran: whose end it is. SDM 3B 16 "Machine-Check Architecture"; APM 2 9. */
#ifndef HV_HOST_GUEST_MACHINE_CHECK_H
#define HV_HOST_GUEST_MACHINE_CHECK_H

struct vcpu;

/*
 * A machine check ended this vCPU's stay in its guest. Where the CPU says that what is lost is the guest's alone, the
 * guest fails (P0315), all others run on; where nothing is lost, it goes on; else a panic (P0009).
 */
void machine_check_in_guest(struct vcpu *vcpu);

#endif
