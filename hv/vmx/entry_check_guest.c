/* SPDX-License-Identifier: MIT */
/* The checks on guest state. SDM 3C 27.3.1 "Checks on the Guest State Area", in its order. */
#include "hv/vmx/entry_check.h"

#include "hv/x86/registers.h"

#define EFER_DEFINED (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)
#define DEBUGCTL_DEFINED 0xffc3ULL /* SDM 3B 18.4.1, and bits 14, 15 */
#define NO_LINK 0xffffffffffffffffULL

/* RFLAGS. SDM 1 3.4.3. */
#define RFLAGS_ONE (1ULL << 1)
#define RFLAGS_ZERO 0xffffffffffc08028ULL
#define RFLAGS_TRAP (1ULL << 8)
#define RFLAGS_INTERRUPT (1ULL << 9)
#define RFLAGS_VIRTUAL_8086 (1ULL << 17)

/* Access rights. SDM 3C 25.4.1, table 25-2. */
#define ACCESS_TYPE 0xfu
#define ACCESS_S (1u << 4)
#define ACCESS_DPL_SHIFT 5u
#define ACCESS_P (1u << 7)
#define ACCESS_RESERVED 0xfffe0f00u
#define ACCESS_L (1u << 13)
#define ACCESS_DB (1u << 14)
#define ACCESS_G (1u << 15)
#define ACCESS_UNUSABLE (1u << 16)
#define ACCESS_V86 0xf3u
#define TYPE_CODE 8u
#define TYPE_READ_WRITE 2u
#define TYPE_ACCESSED 1u
#define SELECTOR_TI 4u
#define SELECTOR_RPL 3u
#define LIMIT_V86 0xffffu

/* Activity and interruptibility. SDM 3C 25.4.2. */
#define ACTIVITY_ACTIVE 0u
#define ACTIVITY_HLT 1u
#define ACTIVITY_WAIT_FOR_SIPI 3u
#define MISC_ACTIVITY_SHIFT 5u /* IA32_VMX_MISC bits 6, 7, 8 for states 1, 2, 3. SDM 3D A.6 */
#define INTERRUPTIBILITY_SMI (1u << 2)
#define INTERRUPTIBILITY_RESERVED 0xffffffe0u
#define PENDING_DEBUG_BS (1ULL << 14)
#define PENDING_DEBUG_ZERO (~(0x1500fULL | PENDING_DEBUG_BS))
#define DEBUGCTL_BTF (1ULL << 1)

/* A PDPTE. SDM 3A 4.4.1, table 4-8. */
#define PDPTE_COUNT 4u
#define PDPTE_PRESENT 1ULL
#define PDPTE_RESERVED_LOW 0x1e6ULL

/* In the order of enum segment_index. */
enum entry_segment {
    ES,
    CS,
    SS,
    DS,
    FS,
    GS,
    LDTR,
    TR,
    SEGMENTS,
};
static const char *const segment_names[SEGMENTS] = {"ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR"};

struct entry_segment_fields {
    uint64_t base;
    uint32_t limit, access, selector;
};

static struct entry_segment_fields segment_of(const struct vmx_entry_check *check, uint32_t index)
{
    uint32_t step = index * VMCS_SEGMENT_STRIDE;

    return (struct entry_segment_fields){
        .base = vmx_entry_value(check, (enum vmcs_field)(VMCS_GUEST_ES_BASE + step)),
        .limit = (uint32_t)vmx_entry_value(check, (enum vmcs_field)(VMCS_GUEST_ES_LIMIT + step)),
        .access = (uint32_t)vmx_entry_value(check, (enum vmcs_field)(VMCS_GUEST_ES_ACCESS + step)),
        .selector = (uint32_t)vmx_entry_value(check, (enum vmcs_field)(VMCS_GUEST_ES_SELECTOR + step)),
    };
}

static uint32_t dpl_of(const struct entry_segment_fields *segment)
{
    return segment->access >> ACCESS_DPL_SHIFT & 3u;
}

static uint32_t type_of(const struct entry_segment_fields *segment)
{
    return segment->access & ACCESS_TYPE;
}

static bool usable(const struct entry_segment_fields *segment)
{
    return (segment->access & ACCESS_UNUSABLE) == 0;
}

static bool unrestricted(const struct vmx_entry_check *check)
{
    return vmx_entry_secondary(check, SECONDARY_UNRESTRICTED);
}

static bool in_v86(const struct vmx_entry_check *check)
{
    return (vmx_entry_value(check, VMCS_GUEST_RFLAGS) & RFLAGS_VIRTUAL_8086) != 0;
}

/* --- Control registers, debug registers, MSRs: 26.3.1.1 --- */

static bool check_cr0(const struct vmx_entry_check *check)
{
    uint64_t cr0 = vmx_entry_value(check, VMCS_GUEST_CR0);
    uint64_t free = CR0_NW | CR0_CD | (unrestricted(check) ? CR0_PE | CR0_PG : 0);
    uint64_t missing = check->caps->cr0_fixed0 & ~cr0 & ~free;
    uint64_t excess = cr0 & ~check->caps->cr0_fixed1 & ~free;

    if (missing != 0 || excess != 0) {
        return vmx_entry_violated(check,
                                  "guest CR0 0x%" PRIx64 ": bits 0x%" PRIx64 " must be set, 0x%" PRIx64
                                  " must be clear (SDM 3C 27.3.1.1)",
                                  cr0, missing, excess);
    }
    if ((cr0 & CR0_PG) != 0 && (cr0 & CR0_PE) == 0) {
        return vmx_entry_violated(check, "guest CR0 0x%" PRIx64 ": paging without protection (SDM 3C 27.3.1.1)", cr0);
    }
    return true;
}

static bool check_cr4(const struct vmx_entry_check *check)
{
    uint64_t cr4 = vmx_entry_value(check, VMCS_GUEST_CR4);
    uint64_t missing = check->caps->cr4_fixed0 & ~cr4;
    uint64_t excess = cr4 & ~check->caps->cr4_fixed1;
    bool ia32e = vmx_entry_entry(check, ENTRY_IA32E);

    if (missing != 0 || excess != 0) {
        return vmx_entry_violated(check,
                                  "guest CR4 0x%" PRIx64 ": bits 0x%" PRIx64 " must be set, 0x%" PRIx64
                                  " must be clear (SDM 3C 27.3.1.1)",
                                  cr4, missing, excess);
    }
    if (ia32e && ((vmx_entry_value(check, VMCS_GUEST_CR0) & CR0_PG) == 0 || (cr4 & CR4_PAE) == 0)) {
        return vmx_entry_violated(check, "an IA-32e guest needs CR0.PG and CR4.PAE (SDM 3C 27.3.1.1)");
    }
    if (!ia32e && (cr4 & CR4_PCIDE) != 0) {
        return vmx_entry_violated(check, "guest CR4.PCIDE is set outside of IA-32e mode (SDM 3C 27.3.1.1)");
    }
    return true;
}

static bool check_guest_addresses(const struct vmx_entry_check *check)
{
    static const struct {
        enum vmcs_field field;
        const char *name;
    } rows[] = {
        {VMCS_GUEST_SYSENTER_ESP, "SYSENTER_ESP"},
        {VMCS_GUEST_SYSENTER_EIP, "SYSENTER_EIP"},
        {VMCS_GUEST_GDTR_BASE, "GDTR base"},
        {VMCS_GUEST_IDTR_BASE, "IDTR base"},
    };

    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint64_t value = vmx_entry_value(check, rows[i].field);

        if (!vmx_entry_canonical(check, value)) {
            return vmx_entry_violated(check, "guest %s 0x%" PRIx64 " is not canonical (SDM 3C 27.3.1.1, 27.3.1.3)",
                                      rows[i].name, value);
        }
    }
    if (!vmx_entry_fits_physical(check, vmx_entry_value(check, VMCS_GUEST_CR3))) {
        return vmx_entry_violated(check, "guest CR3 0x%" PRIx64 " is beyond the physical addresses (SDM 3C 27.3.1.1)",
                                  vmx_entry_value(check, VMCS_GUEST_CR3));
    }
    return true;
}

static bool check_debug(const struct vmx_entry_check *check)
{
    uint64_t dr7 = vmx_entry_value(check, VMCS_GUEST_DR7);
    uint64_t debugctl = vmx_entry_value(check, VMCS_GUEST_DEBUGCTL);

    if (!vmx_entry_entry(check, ENTRY_LOAD_DEBUG)) {
        return true;
    }
    if (dr7 >> 32 != 0) {
        return vmx_entry_violated(check, "guest DR7 0x%" PRIx64 ": bits 63:32 are set (SDM 3C 27.3.1.1)", dr7);
    }
    if ((debugctl & ~DEBUGCTL_DEFINED) != 0) {
        return vmx_entry_violated(check, "guest DEBUGCTL 0x%" PRIx64 ": reserved bits are set (SDM 3C 27.3.1.1)",
                                  debugctl);
    }
    return true;
}

static bool check_pat_efer(const struct vmx_entry_check *check)
{
    uint64_t efer = vmx_entry_value(check, VMCS_GUEST_EFER);
    bool lma = (efer & EFER_LMA) != 0;
    bool lme = (efer & EFER_LME) != 0;
    bool paging = (vmx_entry_value(check, VMCS_GUEST_CR0) & CR0_PG) != 0;

    if (vmx_entry_entry(check, ENTRY_LOAD_PAT) && !vmx_entry_pat_legal(vmx_entry_value(check, VMCS_GUEST_PAT))) {
        return vmx_entry_violated(check, "guest PAT 0x%" PRIx64 " has an illegal type (SDM 3C 27.3.1.1)",
                                  vmx_entry_value(check, VMCS_GUEST_PAT));
    }
    if (!vmx_entry_entry(check, ENTRY_LOAD_EFER)) {
        return true;
    }
    if ((efer & ~EFER_DEFINED) != 0) {
        return vmx_entry_violated(check, "guest EFER 0x%" PRIx64 ": reserved bits are set (SDM 3C 27.3.1.1)", efer);
    }
    if (lma != vmx_entry_entry(check, ENTRY_IA32E) || (paging && lma != lme)) {
        return vmx_entry_violated(check,
                                  "guest EFER 0x%" PRIx64 ": LMA must be the IA-32e control%s, and LME under paging "
                                  "(SDM 3C 27.3.1.1)",
                                  efer, vmx_entry_entry(check, ENTRY_IA32E) ? " (set)" : " (clear)");
    }
    return true;
}

/* --- Segment registers: 26.3.1.2 --- */

static bool bad_segment(const struct vmx_entry_check *check, uint32_t index, const char *what)
{
    struct entry_segment_fields segment = segment_of(check, index);

    return vmx_entry_violated(check,
                              "guest %s (selector 0x%x, base 0x%" PRIx64 ", limit 0x%x, access 0x%x): %s "
                              "(SDM 3C 27.3.1.2)",
                              segment_names[index], segment.selector, segment.base, segment.limit, segment.access,
                              what);
}

static bool check_selectors(const struct vmx_entry_check *check)
{
    struct entry_segment_fields ss = segment_of(check, SS);
    struct entry_segment_fields cs = segment_of(check, CS);
    struct entry_segment_fields ldtr = segment_of(check, LDTR);

    if ((segment_of(check, TR).selector & SELECTOR_TI) != 0) {
        return bad_segment(check, TR, "the selector's TI is set");
    }
    if (usable(&ldtr) && (ldtr.selector & SELECTOR_TI) != 0) {
        return bad_segment(check, LDTR, "the selector's TI is set");
    }
    if (!in_v86(check) && !unrestricted(check) && ((ss.selector ^ cs.selector) & SELECTOR_RPL) != 0) {
        return bad_segment(check, SS, "the RPL differs from that of CS");
    }
    return true;
}

static bool check_bases(const struct vmx_entry_check *check)
{
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        struct entry_segment_fields segment = segment_of(check, i);
        bool always = i == TR || i == FS || i == GS;

        if ((always || (i == LDTR && usable(&segment))) && !vmx_entry_canonical(check, segment.base)) {
            return bad_segment(check, i, "the base is not canonical");
        }
        if ((i == CS || ((i == SS || i == DS || i == ES) && usable(&segment))) && segment.base >> 32 != 0) {
            return bad_segment(check, i, "the base is above 4 GiB");
        }
    }
    return true;
}

static bool check_v86_segment(const struct vmx_entry_check *check, uint32_t index)
{
    struct entry_segment_fields segment = segment_of(check, index);

    if (segment.base != (uint64_t)segment.selector << 4) {
        return bad_segment(check, index, "the base is not 16 times the selector in virtual-8086 mode");
    }
    if (segment.limit != LIMIT_V86) {
        return bad_segment(check, index, "the limit is not 0xffff in virtual-8086 mode");
    }
    if (segment.access != ACCESS_V86) {
        return bad_segment(check, index, "the access rights are not 0xf3 in virtual-8086 mode");
    }
    return true;
}

/* What all usable segments have in common: S, P, reserved bits, granularity. */
static bool check_common(const struct vmx_entry_check *check, uint32_t index, bool system)
{
    struct entry_segment_fields segment = segment_of(check, index);
    bool coarse = (segment.access & ACCESS_G) != 0;

    if (((segment.access & ACCESS_S) == 0) != system) {
        return bad_segment(check, index, system ? "S is set" : "S is clear");
    }
    if ((segment.access & ACCESS_P) == 0) {
        return bad_segment(check, index, "usable and not present");
    }
    if ((segment.access & ACCESS_RESERVED) != 0) {
        return bad_segment(check, index, "reserved access rights are set");
    }
    if (((segment.limit & 0xfffu) != 0xfffu && coarse) || (segment.limit >> 20 != 0 && !coarse)) {
        return bad_segment(check, index, "limit and granularity do not fit each other");
    }
    return true;
}

static bool check_cs(const struct vmx_entry_check *check)
{
    struct entry_segment_fields cs = segment_of(check, CS);
    struct entry_segment_fields ss = segment_of(check, SS);
    uint32_t type = type_of(&cs);
    bool flat_data = type == 3 && unrestricted(check);

    if (type != 9 && type != 11 && type != 13 && type != 15 && !flat_data) {
        return bad_segment(check, CS, "the type is no accessed code");
    }
    if ((flat_data && dpl_of(&cs) != 0) || ((type == 9 || type == 11) && dpl_of(&cs) != dpl_of(&ss)) ||
        (type >= 13 && dpl_of(&cs) > dpl_of(&ss))) {
        return bad_segment(check, CS, "the DPL does not fit that of SS");
    }
    if (vmx_entry_entry(check, ENTRY_IA32E) && (cs.access & ACCESS_L) != 0 && (cs.access & ACCESS_DB) != 0) {
        return bad_segment(check, CS, "L and D are both set");
    }
    return check_common(check, CS, false);
}

static bool check_ss(const struct vmx_entry_check *check)
{
    struct entry_segment_fields ss = segment_of(check, SS);
    struct entry_segment_fields cs = segment_of(check, CS);
    bool real_mode = (vmx_entry_value(check, VMCS_GUEST_CR0) & CR0_PE) == 0;

    if (usable(&ss) && type_of(&ss) != 3 && type_of(&ss) != 7) {
        return bad_segment(check, SS, "the type is no writable, accessed data");
    }
    if (!unrestricted(check) && dpl_of(&ss) != (ss.selector & SELECTOR_RPL)) {
        return bad_segment(check, SS, "the DPL differs from the RPL");
    }
    if ((type_of(&cs) == 3 || real_mode) && dpl_of(&ss) != 0) {
        return bad_segment(check, SS, "the DPL is not 0 in real mode");
    }
    return !usable(&ss) || check_common(check, SS, false);
}

static bool check_data_segment(const struct vmx_entry_check *check, uint32_t index)
{
    struct entry_segment_fields segment = segment_of(check, index);
    uint32_t type = type_of(&segment);

    if (!usable(&segment)) {
        return true;
    }
    if ((type & TYPE_ACCESSED) == 0 || ((type & TYPE_CODE) != 0 && (type & TYPE_READ_WRITE) == 0)) {
        return bad_segment(check, index, "the type is not accessed, or code that cannot be read");
    }
    if (!unrestricted(check) && type <= 11 && dpl_of(&segment) < (segment.selector & SELECTOR_RPL)) {
        return bad_segment(check, index, "the DPL is below the RPL");
    }
    return check_common(check, index, false);
}

static bool check_system_segments(const struct vmx_entry_check *check)
{
    struct entry_segment_fields tr = segment_of(check, TR);
    struct entry_segment_fields ldtr = segment_of(check, LDTR);

    if (!usable(&tr)) {
        return bad_segment(check, TR, "it must be usable");
    }
    if (type_of(&tr) != 11 && !(type_of(&tr) == 3 && !vmx_entry_entry(check, ENTRY_IA32E))) {
        return bad_segment(check, TR, "the type is no busy TSS of this mode");
    }
    if (!check_common(check, TR, true)) {
        return false;
    }
    if (usable(&ldtr) && type_of(&ldtr) != 2) {
        return bad_segment(check, LDTR, "the type is no LDT");
    }
    return !usable(&ldtr) || check_common(check, LDTR, true);
}

static bool check_segments(const struct vmx_entry_check *check)
{
    static const uint8_t v86[] = {CS, SS, DS, ES, FS, GS};

    if (!check_selectors(check) || !check_bases(check)) {
        return false;
    }
    for (uint32_t i = 0; in_v86(check) && i < ARRAY_COUNT(v86); i++) {
        if (!check_v86_segment(check, v86[i])) {
            return false;
        }
    }
    if (!in_v86(check) &&
        !(check_cs(check) && check_ss(check) && check_data_segment(check, DS) && check_data_segment(check, ES) &&
          check_data_segment(check, FS) && check_data_segment(check, GS))) {
        return false;
    }
    return check_system_segments(check);
}

/* --- Table registers, RIP, RFLAGS: 26.3.1.3, 26.3.1.4 --- */

static bool check_tables(const struct vmx_entry_check *check)
{
    uint64_t gdt = vmx_entry_value(check, VMCS_GUEST_GDTR_LIMIT);
    uint64_t idt = vmx_entry_value(check, VMCS_GUEST_IDTR_LIMIT);

    if (gdt > 0xffff || idt > 0xffff) {
        return vmx_entry_violated(
            check, "guest GDTR limit 0x%" PRIx64 " or IDTR limit 0x%" PRIx64 " is above 0xffff (SDM 3C 27.3.1.3)", gdt,
            idt);
    }
    return true;
}

static bool injects(const struct vmx_entry_check *check, uint32_t type)
{
    uint64_t event = vmx_entry_value(check, VMCS_ENTRY_EVENT);

    return (event & VMX_EVENT_VALID) != 0 && (event >> VMX_EVENT_TYPE_SHIFT & VMX_EVENT_TYPE) == type;
}

static bool check_rip(const struct vmx_entry_check *check)
{
    uint64_t rip = vmx_entry_value(check, VMCS_GUEST_RIP);
    bool wide = vmx_entry_entry(check, ENTRY_IA32E) && (segment_of(check, CS).access & ACCESS_L) != 0;

    if (!wide && rip >> 32 != 0) {
        return vmx_entry_violated(
            check, "guest RIP 0x%" PRIx64 " is above 4 GiB outside of 64-bit code (SDM 3C 27.3.1.4)", rip);
    }
    if (wide && !vmx_entry_canonical(check, rip)) {
        return vmx_entry_violated(check, "guest RIP 0x%" PRIx64 " is not canonical (SDM 3C 27.3.1.4)", rip);
    }
    return true;
}

static bool check_rflags(const struct vmx_entry_check *check)
{
    uint64_t rflags = vmx_entry_value(check, VMCS_GUEST_RFLAGS);
    bool protected_mode = (vmx_entry_value(check, VMCS_GUEST_CR0) & CR0_PE) != 0;

    if ((rflags & RFLAGS_ZERO) != 0 || (rflags & RFLAGS_ONE) == 0) {
        return vmx_entry_violated(check, "guest RFLAGS 0x%" PRIx64 ": reserved bits (SDM 3C 27.3.1.4)", rflags);
    }
    if (in_v86(check) && (vmx_entry_entry(check, ENTRY_IA32E) || !protected_mode)) {
        return vmx_entry_violated(check, "guest RFLAGS.VM is set in IA-32e or real mode (SDM 3C 27.3.1.4)");
    }
    if (injects(check, 0) && (rflags & RFLAGS_INTERRUPT) == 0) {
        return vmx_entry_violated(check, "an interrupt is injected with RFLAGS.IF clear (SDM 3C 27.3.1.4)");
    }
    return true;
}

/* --- Non-register state: 26.3.1.5 --- */

static bool check_activity(const struct vmx_entry_check *check)
{
    uint32_t activity = (uint32_t)vmx_entry_value(check, VMCS_GUEST_ACTIVITY);
    uint64_t blocking = vmx_entry_value(check, VMCS_GUEST_INTERRUPTIBILITY);
    struct entry_segment_fields ss = segment_of(check, SS);

    if (activity > ACTIVITY_WAIT_FOR_SIPI ||
        (activity != ACTIVITY_ACTIVE && (check->caps->misc >> (MISC_ACTIVITY_SHIFT + activity) & 1) == 0)) {
        return vmx_entry_violated(check, "guest activity state %u does not exist on this CPU (SDM 3C 27.3.1.5)",
                                  activity);
    }
    if (activity == ACTIVITY_HLT && dpl_of(&ss) != 0) {
        return vmx_entry_violated(check, "the guest is halted outside of ring 0 (SDM 3C 27.3.1.5)");
    }
    if (activity != ACTIVITY_ACTIVE && (blocking & (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS)) != 0) {
        return vmx_entry_violated(check, "the guest is inactive in the shadow of STI or MOV SS (SDM 3C 27.3.1.5)");
    }
    return true;
}

static bool check_blocking(const struct vmx_entry_check *check)
{
    uint32_t state = (uint32_t)vmx_entry_value(check, VMCS_GUEST_INTERRUPTIBILITY);
    bool sti = (state & INTERRUPTIBILITY_STI) != 0;
    bool mov_ss = (state & INTERRUPTIBILITY_MOV_SS) != 0;
    bool virtual_nmi = (vmx_entry_value(check, VMCS_PIN_CONTROLS) & PIN_VIRTUAL_NMI) != 0;
    const char *what = NULL;

    if ((state & INTERRUPTIBILITY_RESERVED) != 0) {
        what = "reserved bits are set";
    } else if (sti && mov_ss) {
        what = "STI and MOV SS both block";
    } else if (sti && (vmx_entry_value(check, VMCS_GUEST_RFLAGS) & RFLAGS_INTERRUPT) == 0) {
        what = "STI blocks with RFLAGS.IF clear";
    } else if (injects(check, 0) && (sti || mov_ss)) {
        what = "an interrupt is injected while STI or MOV SS blocks it";
    } else if (injects(check, 2) && mov_ss) {
        what = "an NMI is injected while MOV SS blocks it";
    } else if ((state & INTERRUPTIBILITY_SMI) != 0) {
        what = "SMIs are blocked outside of system management mode";
    } else if (virtual_nmi && injects(check, 2) && (state & INTERRUPTIBILITY_NMI) != 0) {
        what = "an NMI is injected while an NMI blocks it";
    }
    return what == NULL || vmx_entry_violated(check, "guest interruptibility 0x%x: %s (SDM 3C 27.3.1.5)", state, what);
}

/* A single step that waits behind a shadow or a HLT must be announced, and only then. */
static bool check_pending_debug(const struct vmx_entry_check *check)
{
    uint64_t pending = vmx_entry_value(check, VMCS_GUEST_PENDING_DEBUG);
    uint64_t blocking = vmx_entry_value(check, VMCS_GUEST_INTERRUPTIBILITY);
    bool waits = (blocking & (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS)) != 0 ||
                 vmx_entry_value(check, VMCS_GUEST_ACTIVITY) == ACTIVITY_HLT;
    bool steps = (vmx_entry_value(check, VMCS_GUEST_RFLAGS) & RFLAGS_TRAP) != 0 &&
                 (vmx_entry_value(check, VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF) == 0;

    if ((pending & PENDING_DEBUG_ZERO) != 0) {
        return vmx_entry_violated(
            check, "guest pending debug exceptions 0x%" PRIx64 ": reserved bits (SDM 3C 27.3.1.5)", pending);
    }
    if (waits && ((pending & PENDING_DEBUG_BS) != 0) != steps) {
        return vmx_entry_violated(check,
                                  "guest pending debug exceptions 0x%" PRIx64 ": BS must be %u in a shadow or HLT "
                                  "with this RFLAGS.TF (SDM 3C 27.3.1.5)",
                                  pending, steps ? 1u : 0u);
    }
    return true;
}

static bool check_link(const struct vmx_entry_check *check)
{
    uint64_t link = vmx_entry_value(check, VMCS_LINK_POINTER);

    return link == NO_LINK ||
           vmx_entry_violated(check,
                              "VMCS link pointer 0x%" PRIx64 " is not all ones, and no VMCS is shadowed "
                              "(SDM 3C 27.3.1.5)",
                              link);
}

/* --- Page-directory-pointer-table entries: 26.3.1.6 --- */

static bool check_pdptes(const struct vmx_entry_check *check)
{
    bool pae = (vmx_entry_value(check, VMCS_GUEST_CR0) & CR0_PG) != 0 &&
               (vmx_entry_value(check, VMCS_GUEST_CR4) & CR4_PAE) != 0 && !vmx_entry_entry(check, ENTRY_IA32E);

    for (uint32_t i = 0; pae && i < PDPTE_COUNT; i++) {
        uint64_t entry = vmx_entry_value(check, (enum vmcs_field)(VMCS_GUEST_PDPTE0 + i * 2));

        if ((entry & PDPTE_PRESENT) != 0 &&
            ((entry & PDPTE_RESERVED_LOW) != 0 || !vmx_entry_fits_physical(check, entry))) {
            return vmx_entry_violated(check, "guest PDPTE %u 0x%" PRIx64 ": reserved bits are set (SDM 3C 27.3.1.6)", i,
                                      entry);
        }
    }
    return true;
}

bool vmx_entry_check_guest(const struct vmx_entry_check *check)
{
    return check_cr0(check) && check_cr4(check) && check_guest_addresses(check) && check_debug(check) &&
           check_pat_efer(check) && check_segments(check) && check_tables(check) && check_rip(check) &&
           check_rflags(check) && check_activity(check) && check_blocking(check) && check_pending_debug(check) &&
           check_link(check) && check_pdptes(check);
}
