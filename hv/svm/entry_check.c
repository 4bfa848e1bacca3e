/* SPDX-License-Identifier: MIT */
#include "hv/svm/entry_check.h"

#include "hv/base/format.h"
#include "hv/x86/registers.h"

#include <stdarg.h>

#define EFER_DEFINED                                                                                             \
    (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_SVME | EFER_LMSLE | EFER_FFXSR | EFER_TCE | EFER_MCOMMIT | \
     EFER_INTWB | EFER_AIBRSE)
#define EFER_MCOMMIT (1ULL << 17) /* APM 2 3.1.7 */
#define EFER_INTWB (1ULL << 18)
#define EFER_AIBRSE (1ULL << 21)

/* Attributes of CS in the VMCB's packed form. APM 2 B, 4.7.1. */
#define VMCB_ATTRIBUTE_L (1u << 9)
#define VMCB_ATTRIBUTE_D (1u << 10)

#define IO_MAP_BYTES 12288ULL /* APM 2 15.10.1 */
#define MSR_MAP_BYTES 8192ULL /* APM 2 15.11 */

/* EVENTINJ types. APM 2 15.20. */
#define TYPE_INTERRUPT 0u
#define TYPE_NMI 2u
#define TYPE_EXCEPTION 3u
#define TYPE_SOFTWARE 4u
#define VECTOR_NMI 2u
#define VECTOR_EXCEPTION_MAX 31u

struct svm_entry_check {
    const struct vmcb *vmcb;
    const struct svm_entry_caps *caps;
    char *sentence;
};

__attribute__((format(printf, 2, 3))) static bool violated(const struct svm_entry_check *check, const char *form, ...)
{
    va_list list;

    va_start(list, form);
    format_list(check->sentence, SVM_ENTRY_SENTENCE_MAX, form, list);
    va_end(list);
    return false;
}

static bool fits_physical(const struct svm_entry_check *check, uint64_t address)
{
    return address >> check->caps->physical_bits == 0;
}

static bool check_efer_bits(const struct svm_entry_check *check)
{
    uint64_t efer = check->vmcb->efer;

    if ((efer & EFER_SVME) == 0) {
        return violated(check, "guest EFER 0x%" PRIx64 ": SVME is clear (APM 2 15.5.1)", efer);
    }
    if ((efer & ~EFER_DEFINED) != 0) {
        return violated(check, "guest EFER 0x%" PRIx64 ": reserved bits are set (APM 2 15.5.1)", efer);
    }
    if ((efer & (EFER_LMA | EFER_LME)) != 0 && !check->caps->long_mode) {
        return violated(check, "guest EFER 0x%" PRIx64 ": long mode on a CPU without it (APM 2 15.5.1)", efer);
    }
    return true;
}

static bool check_control_registers(const struct svm_entry_check *check)
{
    const struct vmcb *vmcb = check->vmcb;

    if ((vmcb->cr0 & CR0_CD) == 0 && (vmcb->cr0 & CR0_NW) != 0) {
        return violated(check, "guest CR0 0x%" PRIx64 ": NW without CD (APM 2 15.5.1)", vmcb->cr0);
    }
    if (vmcb->cr0 >> 32 != 0) {
        return violated(check, "guest CR0 0x%" PRIx64 ": bits 63:32 are set (APM 2 15.5.1)", vmcb->cr0);
    }
    if ((vmcb->efer & EFER_LMA) != 0 && !fits_physical(check, vmcb->cr3)) {
        return violated(check, "guest CR3 0x%" PRIx64 " is beyond the physical addresses (APM 2 15.5.1)", vmcb->cr3);
    }
    if ((vmcb->cr4 & ~check->caps->cr4_allowed) != 0) {
        return violated(check,
                        "guest CR4 0x%" PRIx64 ": bits 0x%" PRIx64
                        " are reserved, or of no feature that it has (APM 2 15.5.1)",
                        vmcb->cr4, vmcb->cr4 & ~check->caps->cr4_allowed);
    }
    if (vmcb->dr6 >> 32 != 0 || vmcb->dr7 >> 32 != 0) {
        return violated(check, "guest DR6 0x%" PRIx64 " or DR7 0x%" PRIx64 ": bits 63:32 are set (APM 2 15.5.1)",
                        vmcb->dr6, vmcb->dr7);
    }
    return true;
}

static bool check_long_mode(const struct svm_entry_check *check)
{
    const struct vmcb *vmcb = check->vmcb;
    bool entering = (vmcb->efer & EFER_LME) != 0 && (vmcb->cr0 & CR0_PG) != 0;

    if (entering && (vmcb->cr4 & CR4_PAE) == 0) {
        return violated(check, "guest EFER.LME and CR0.PG are set and CR4.PAE is clear (APM 2 15.5.1)");
    }
    if (entering && (vmcb->cr0 & CR0_PE) == 0) {
        return violated(check, "guest EFER.LME and CR0.PG are set and CR0.PE is clear (APM 2 15.5.1)");
    }
    if (entering && (vmcb->cs.attributes & VMCB_ATTRIBUTE_L) != 0 && (vmcb->cs.attributes & VMCB_ATTRIBUTE_D) != 0) {
        return violated(check, "guest CS has L and D set in long mode (attributes 0x%x, APM 2 15.5.1)",
                        vmcb->cs.attributes);
    }
    return true;
}

static bool check_controls(const struct svm_entry_check *check)
{
    const struct vmcb *vmcb = check->vmcb;
    uint32_t misc1 = vmcb->intercepts[INTERCEPT_MISC1];

    if ((vmcb->intercepts[INTERCEPT_MISC2] & 1u << MISC2_VMRUN) == 0) {
        return violated(check, "VMRUN is not intercepted (APM 2 15.5.1)");
    }
    if ((misc1 & 1u << MISC1_IOIO) != 0 && !fits_physical(check, vmcb->io_bitmap + IO_MAP_BYTES - 1)) {
        return violated(check,
                        "the I/O permission map at 0x%" PRIx64 " extends past the physical addresses "
                        "(APM 2 15.5.1)",
                        vmcb->io_bitmap);
    }
    if ((misc1 & 1u << MISC1_MSR) != 0 && !fits_physical(check, vmcb->msr_bitmap + MSR_MAP_BYTES - 1)) {
        return violated(check,
                        "the MSR permission map at 0x%" PRIx64 " extends past the physical addresses "
                        "(APM 2 15.5.1)",
                        vmcb->msr_bitmap);
    }
    if (vmcb->asid == 0) {
        return violated(check, "ASID 0 is the host's (APM 2 15.5.1)");
    }
    if (vmcb->asid >= check->caps->asid_count) {
        return violated(check, "ASID %u: this CPU has %u (APM 2 15.5.1, 15.16)", vmcb->asid, check->caps->asid_count);
    }
    return true;
}

static bool check_event(const struct svm_entry_check *check)
{
    uint64_t event = check->vmcb->event_injection;
    uint32_t type = (uint32_t)(event >> EVENT_TYPE_SHIFT & EVENT_TYPE);
    uint32_t vector = (uint32_t)(event & EVENT_VECTOR);

    if ((event & EVENT_VALID) == 0) {
        return true;
    }
    if (type != TYPE_INTERRUPT && type != TYPE_NMI && type != TYPE_EXCEPTION && type != TYPE_SOFTWARE) {
        return violated(check, "event to inject 0x%" PRIx64 ": type %u is reserved (APM 2 15.20)", event, type);
    }
    if (type == TYPE_EXCEPTION && (vector == VECTOR_NMI || vector > VECTOR_EXCEPTION_MAX)) {
        return violated(check, "event to inject 0x%" PRIx64 ": vector %u is no exception (APM 2 15.20)", event, vector);
    }
    return true;
}

/* Each byte is one of UC WC WT WP WB UC-. APM 2 7.8.1. */
static bool pat_legal(uint64_t pat)
{
    for (uint32_t i = 0; i < 64; i += 8) {
        uint64_t type = (pat >> i) & 0xff;

        if (type > 7 || type == 2 || type == 3) {
            return false;
        }
    }
    return true;
}

/* APM 2 15.25.4 "Nested Paging and VMRUN/#VMEXIT": what VMRUN checks besides. */
static bool check_nested(const struct svm_entry_check *check)
{
    const struct vmcb *vmcb = check->vmcb;

    if ((vmcb->nested_control & NESTED_CONTROL_ENABLE) == 0) {
        return true;
    }
    if (!fits_physical(check, vmcb->nested_cr3)) {
        return violated(check, "nested CR3 0x%" PRIx64 " is beyond the physical addresses (APM 2 15.25.4)",
                        vmcb->nested_cr3);
    }
    if (!pat_legal(vmcb->pat)) {
        return violated(check, "guest PAT 0x%" PRIx64 " has an illegal type (APM 2 15.25.4)", vmcb->pat);
    }
    return true;
}

bool svm_entry_find_violation(const struct vmcb *vmcb, const struct svm_entry_caps *caps,
                              char sentence[SVM_ENTRY_SENTENCE_MAX])
{
    const struct svm_entry_check check = {vmcb, caps, sentence};

    sentence[0] = '\0';
    return !(check_efer_bits(&check) && check_control_registers(&check) && check_long_mode(&check) &&
             check_controls(&check) && check_event(&check) && check_nested(&check));
}
