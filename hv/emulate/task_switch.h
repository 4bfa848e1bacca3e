/* SPDX-License-Identifier: MIT */
/*
 * The hardware task switch, which neither VMX nor SVM does for a guest: 32-bit and 16-bit TSS, by JMP, CALL, IRET, or a
 * task gate in the IDT.
 */
#ifndef HV_EMULATE_TASK_SWITCH_H
#define HV_EMULATE_TASK_SWITCH_H

#include "hv/core/vm_exit.h"

/*
 * Handles EXIT_TASK_SWITCH: rip is at the instruction that switches, or where the event came; an event that goes
 * through a task gate is in vcpu->pending and is gone afterwards. Changes `system` and asks for its write-back.
 */
void task_switch(struct vcpu *vcpu, const struct exit_task_switch *ts);

#endif
