/* SPDX-License-Identifier: MIT */
/*
 * From the VMCB's exit words to the neutral exit. Pure: tests feed it words recorded from real exits.
 */
#ifndef HV_SVM_DECODE_H
#define HV_SVM_DECODE_H

#include "hv/core/vm_exit.h"
#include "hv/svm/vmcb.h"

/* EXITINFO1 of IOIO. APM 2 15.10.2 "IN and OUT Behavior", figure 15-2. */
#define SVM_IOIO_IN (1ULL << 0)
#define SVM_IOIO_STRING (1ULL << 2)
#define SVM_IOIO_REP (1ULL << 3)
#define SVM_IOIO_SIZE_SHIFT 4u /* three bits: 8, 16, 32 bits wide */
#define SVM_IOIO_SIZE (7ULL << SVM_IOIO_SIZE_SHIFT)
#define SVM_IOIO_SIZE_8 (1ULL << SVM_IOIO_SIZE_SHIFT)
#define SVM_IOIO_PORT_SHIFT 16u

/* EXITINFO1 of MSR: 0 is a read. APM 2 15.11. */
#define SVM_MSR_WRITE 1ULL

/* `exit->length` is left 0: run.c finds it (next rip or the instruction's bytes). APM 2 appendix C. */
void svm_decode_exit(const struct vmcb *vmcb, struct vm_exit *exit);

/* The event whose delivery the exit interrupted, as it is injected again. Invalid: none. APM 2 15.7.2. */
struct vcpu_event svm_decode_event(uint64_t exit_int_info);

/* The reverse, for EVENTINJ. APM 2 15.20. */
uint64_t svm_encode_event(const struct vcpu_event *event);

/* Attributes: 12 packed bits here, spread to 16 in the neutral form. */
struct segment svm_decode_segment(const struct vmcb_segment *segment);
struct vmcb_segment svm_encode_segment(const struct segment *segment);

/* True where the instruction that exited has to be stepped over or fetched, so its length matters. */
bool svm_exit_needs_length(uint64_t exit_code);

/* #MC is the host's, and the exit has taken it from the CPU: it is not delivered any more. APM 2 15.12
 * "Exception Intercepts". */
static inline bool svm_exit_is_machine_check(uint64_t exit_code)
{
    return exit_code == SVM_EXIT_EXCEPTION_FIRST + EXCEPTION_MC;
}

/* CR accesses: the register is in the instruction, not in these words. */
bool svm_exit_is_cr_access(uint64_t exit_code);

/* The length of the instruction that exited where it has no prefix, as nearly always; 0: ask the decoder. */
#define SVM_PLAIN_BYTES 3u
uint8_t svm_plain_length(uint64_t exit_code, const uint8_t code[SVM_PLAIN_BYTES]);

/* The MOV to or from CR4 that exited, without a prefix and SVM_PLAIN_BYTES long: the register of its operand. False: it
 * is something else. MOV to CR4 is 0f 22 /4, from it 0f 20 /4; the operand is a register whatever the mode bits say.
 * APM 3 "MOV CRn". */
static inline bool svm_plain_cr4_access(uint64_t exit_code, const uint8_t code[SVM_PLAIN_BYTES], uint8_t *gpr)
{
    uint16_t opcode;

    __builtin_memcpy(&opcode, code, sizeof(opcode));
    *gpr = code[2] & 7u;
    return opcode == (exit_code == SVM_EXIT_CR4_WRITE ? 0x220f : 0x200f) && (code[2] & 0x38u) == 0x20u;
}

#endif
