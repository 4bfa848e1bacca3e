/* SPDX-License-Identifier: MIT */
/*
 * The instructions that only VMX has, one function each. SDM 3C 31 "VMX Instruction Reference". VMLAUNCH and VMRESUME
 * are in entry.S. Those that can fail give false: CF or ZF is set then. SDM 3C 31.2 "Conventions".
 */
#ifndef HV_VMX_INSN_H
#define HV_VMX_INSN_H

#include "hv/base/types.h"

/* Types of INVEPT and INVVPID, and their 128-bit descriptor. SDM 3C 31.3, "INVEPT" and "INVVPID". */
#define INVVPID_SINGLE 1u
#define INVEPT_ALL 2u
struct vmx_insn_descriptor {
    uint64_t low;
    uint64_t high;
};

static inline bool vmx_insn_vmxon(uint64_t region)
{
    bool failed;

    __asm__ volatile("vmxon %1; setbe %0" : "=q"(failed) : "m"(region) : "cc", "memory");
    return !failed;
}

static inline void vmx_insn_vmxoff(void)
{
    __asm__ volatile("vmxoff" : : : "cc", "memory");
}

static inline bool vmx_insn_vmclear(uint64_t vmcs)
{
    bool failed;

    __asm__ volatile("vmclear %1; setbe %0" : "=q"(failed) : "m"(vmcs) : "cc", "memory");
    return !failed;
}

static inline bool vmx_insn_vmptrld(uint64_t vmcs)
{
    bool failed;

    __asm__ volatile("vmptrld %1; setbe %0" : "=q"(failed) : "m"(vmcs) : "cc", "memory");
    return !failed;
}

/* A jump and not a byte, because several run at every exit. *value is not written where it fails. */
static inline bool vmx_insn_vmread(uint64_t field, uint64_t *value)
{
    uint64_t read = 0;

    __asm__ goto("vmread %1, %0; jbe %l2" : "=r"(read) : "r"(field) : "cc" : failed);
    *value = read;
    return true;
failed:
    return false;
}

static inline bool vmx_insn_vmwrite(uint64_t field, uint64_t value)
{
    __asm__ goto("vmwrite %1, %0; jbe %l2" : : "r"(field), "r"(value) : "cc" : failed);
    return true;
failed:
    return false;
}

/*
 * The same where only a bug of ours can fail: then vmx_access_failed (entry.S) panics with the field, which is in rax.
 * For the compiler there is no second way out, so a function makes no stack frame for it.
 */
static inline uint64_t vmx_insn_vmread_sure(uint64_t field)
{
    uint64_t value;

    __asm__ volatile("vmread %1, %0; ja 1f; call vmx_access_failed; 1:" : "=r"(value) : "a"(field) : "cc");
    return value;
}

static inline void vmx_insn_vmwrite_sure(uint64_t field, uint64_t value)
{
    __asm__ volatile("vmwrite %1, %0; ja 1f; call vmx_access_failed; 1:" : : "a"(field), "r"(value) : "cc");
}

static inline bool vmx_insn_invept(uint64_t type, const struct vmx_insn_descriptor *descriptor)
{
    bool failed;

    __asm__ volatile("invept %1, %2; setbe %0" : "=q"(failed) : "m"(*descriptor), "r"(type) : "cc", "memory");
    return !failed;
}

static inline bool vmx_insn_invvpid(uint64_t type, const struct vmx_insn_descriptor *descriptor)
{
    bool failed;

    __asm__ volatile("invvpid %1, %2; setbe %0" : "=q"(failed) : "m"(*descriptor), "r"(type) : "cc", "memory");
    return !failed;
}

/* An NMI that ended the guest's turn was taken from the CPU: the host's handler is called as if it came now. */
static inline void vmx_insn_nmi(void)
{
    __asm__ volatile("int $2" : : : "memory");
}

#endif
