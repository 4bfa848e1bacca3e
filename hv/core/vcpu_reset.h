/* SPDX-License-Identifier: MIT */
/*
 * The states in which a vCPU starts: power-up or INIT, a start-up IPI, and what a boot protocol promises.
 */
#ifndef HV_CORE_VCPU_RESET_H
#define HV_CORE_VCPU_RESET_H

#include "guest-loader/load_plan.h"
#include "hv/core/vcpu.h"

/* SDM 3A 10.1.1, table 10-1 "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT". The APIC is not
 * touched. */
void vcpu_reset(struct vcpu *vcpu);

/* SDM 3A 9.4.4.2: real mode at vector * 4096. */
void vcpu_start_at(struct vcpu *vcpu, uint8_t sipi_vector);

/* What a load plan says. */
void vcpu_set_entry(struct vcpu *vcpu, const struct entry_state *entry);

#endif
