/* SPDX-License-Identifier: MIT */
/*
 * INS and OUTS: strings between ports and memory.
 */
#ifndef HV_EMULATE_STRING_IO_H
#define HV_EMULATE_STRING_IO_H

#include "hv/core/vm_exit.h"
#include "hv/x86/decode.h"

/* Runs the INS or OUTS at CS:RIP as far as one exit goes. Wants the system state. */
void string_io(struct vcpu *vcpu, const struct exit_io *io);

/* The same for an instruction that is already decoded. */
void string_io_run(struct vcpu *vcpu, const struct instruction *instruction, uint16_t port);

#endif
