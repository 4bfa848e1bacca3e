/* SPDX-License-Identifier: MIT */
/* Stands in for hv/x86/insn.h in native tests of code that drives a device: the instructions are a model's functions,
 * which the test defines. */
#ifndef TESTS_MODEL_HV_X86_INSN_H
#define TESTS_MODEL_HV_X86_INSN_H

#include "hv/base/types.h"

uint8_t insn_in8(uint16_t port);
void insn_out8(uint16_t port, uint8_t value);
uint64_t insn_rdtsc(void);
void insn_pause(void);

#endif
