/* SPDX-License-Identifier: MIT */
/* Stands in for hv/x86/insn.h in native tests of code that drives a device: the instructions are a model's functions,
 * which the test defines. */
#ifndef TESTS_MODEL_HV_X86_INSN_H
#define TESTS_MODEL_HV_X86_INSN_H

#include "hv/base/types.h"

struct cpuid_result {
    uint32_t eax, ebx, ecx, edx;
};

struct cpuid_result insn_cpuid(uint32_t leaf, uint32_t subleaf);
bool insn_rdmsr_safe(uint32_t msr, uint64_t *value);
bool insn_wrmsr_safe(uint32_t msr, uint64_t value);
uint64_t insn_rdmsr(uint32_t msr);
void insn_wrmsr(uint32_t msr, uint64_t value);
void insn_verw(uint16_t selector);
uint8_t insn_in8(uint16_t port);
void insn_out8(uint16_t port, uint8_t value);
uint32_t insn_in32(uint16_t port);
uint64_t insn_rdtsc(void);
void insn_pause(void);
uint32_t insn_mmio_read32(uint64_t address);
void insn_mmio_write32(uint64_t address, uint32_t value);
void *insn_read_gs_pointer(void);
uint64_t insn_read_cr0(void);
void insn_write_cr0(uint64_t value);
uint64_t insn_read_cr3(void);
void insn_write_cr3(uint64_t value);
uint64_t insn_read_cr4(void);
void insn_write_cr4(uint64_t value);
void insn_wbinvd(void);
void insn_mfence(void);
void insn_lfence(void);

#endif
