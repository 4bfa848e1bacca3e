/* SPDX-License-Identifier: MIT */
#include "hv/vmx/entry_check.h"

#include "hv/base/format.h"
#include "hv/x86/registers.h"

#include <stdarg.h>

#define CR3_TARGETS_MAX 4u
#define VECTOR_NMI 2u
#define VECTOR_EXCEPTION_MAX 31u
#define ENTRY_LENGTH_MAX 15u
#define EFER_DEFINED (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)
#define SELECTOR_RPL_TI 7u
#define SELECTOR_NULL 0u

/* IA32_VMX_BASIC and IA32_VMX_MISC. SDM 3D A.1, A.6. */
#define BASIC_ANY_ERROR_CODE (1ULL << 56)
#define MISC_ZERO_LENGTH (1ULL << 30)

/* Controls that Plinth never sets but the CPU checks. SDM 3C 25.6.1, 25.6.2, 25.7.1, 25.8.1. */
#define PIN_POSTED_INTERRUPTS (1u << 7)
#define PRIMARY_MONITOR_TRAP (1u << 27)
#define SECONDARY_PML (1u << 17)
#define EXIT_ACKNOWLEDGE (1u << 15)
#define ENTRY_TO_SMM (1u << 10)
#define ENTRY_DUAL_MONITOR (1u << 11)

/* The EPT pointer. SDM 3C 25.6.11, table 25-9; capabilities: 3D A.10. */
#define EPTP_TYPE 7ULL
#define EPTP_TYPE_UC 0ULL
#define EPTP_TYPE_WB 6ULL
#define EPTP_WALK_SHIFT 3u
#define EPTP_WALK_4 3ULL
#define EPTP_ACCESSED_DIRTY (1ULL << 6)
#define EPTP_RESERVED_LOW 0xf80ULL
#define EPT_CAP_UC (1ULL << 8)
#define EPT_CAP_WB (1ULL << 14)
#define EPT_CAP_ACCESSED_DIRTY (1ULL << 21)

#define SEGMENT_FIELDS(of_es)                                                                            \
    (enum vmcs_field)(of_es), (enum vmcs_field)((of_es) + 2), (enum vmcs_field)((of_es) + 4),            \
        (enum vmcs_field)((of_es) + 6), (enum vmcs_field)((of_es) + 8), (enum vmcs_field)((of_es) + 10), \
        (enum vmcs_field)((of_es) + 12), (enum vmcs_field)((of_es) + 14)

const enum vmcs_field vmx_entry_fields[] = {
    VMCS_VPID,
    SEGMENT_FIELDS(VMCS_GUEST_ES_SELECTOR),
    VMCS_HOST_ES_SELECTOR,
    VMCS_HOST_CS_SELECTOR,
    VMCS_HOST_SS_SELECTOR,
    VMCS_HOST_DS_SELECTOR,
    VMCS_HOST_FS_SELECTOR,
    VMCS_HOST_GS_SELECTOR,
    VMCS_HOST_TR_SELECTOR,
    VMCS_IO_BITMAP_A,
    VMCS_IO_BITMAP_B,
    VMCS_MSR_BITMAP,
    VMCS_EXIT_MSR_STORE,
    VMCS_EXIT_MSR_LOAD,
    VMCS_ENTRY_MSR_LOAD,
    VMCS_PML_ADDRESS,
    VMCS_VIRTUAL_APIC,
    VMCS_APIC_ACCESS,
    VMCS_EPT_POINTER,
    VMCS_LINK_POINTER,
    VMCS_GUEST_DEBUGCTL,
    VMCS_GUEST_PAT,
    VMCS_GUEST_EFER,
    (enum vmcs_field)(VMCS_GUEST_PDPTE0),
    (enum vmcs_field)(VMCS_GUEST_PDPTE0 + 2),
    (enum vmcs_field)(VMCS_GUEST_PDPTE0 + 4),
    (enum vmcs_field)(VMCS_GUEST_PDPTE0 + 6),
    VMCS_HOST_PAT,
    VMCS_HOST_EFER,
    VMCS_PIN_CONTROLS,
    VMCS_PRIMARY_CONTROLS,
    VMCS_SECONDARY_CONTROLS,
    VMCS_CR3_TARGET_COUNT,
    VMCS_EXIT_CONTROLS,
    VMCS_EXIT_MSR_STORE_COUNT,
    VMCS_EXIT_MSR_LOAD_COUNT,
    VMCS_ENTRY_CONTROLS,
    VMCS_ENTRY_MSR_LOAD_COUNT,
    VMCS_ENTRY_EVENT,
    VMCS_ENTRY_ERROR_CODE,
    VMCS_ENTRY_INSTRUCTION_LENGTH,
    VMCS_TPR_THRESHOLD,
    SEGMENT_FIELDS(VMCS_GUEST_ES_LIMIT),
    SEGMENT_FIELDS(VMCS_GUEST_ES_ACCESS),
    VMCS_GUEST_GDTR_LIMIT,
    VMCS_GUEST_IDTR_LIMIT,
    VMCS_GUEST_INTERRUPTIBILITY,
    VMCS_GUEST_ACTIVITY,
    VMCS_GUEST_CR0,
    VMCS_GUEST_CR3,
    VMCS_GUEST_CR4,
    SEGMENT_FIELDS(VMCS_GUEST_ES_BASE),
    VMCS_GUEST_GDTR_BASE,
    VMCS_GUEST_IDTR_BASE,
    VMCS_GUEST_DR7,
    VMCS_GUEST_RIP,
    VMCS_GUEST_RFLAGS,
    VMCS_GUEST_PENDING_DEBUG,
    VMCS_GUEST_SYSENTER_ESP,
    VMCS_GUEST_SYSENTER_EIP,
    VMCS_HOST_CR0,
    VMCS_HOST_CR3,
    VMCS_HOST_CR4,
    VMCS_HOST_FS_BASE,
    VMCS_HOST_GS_BASE,
    VMCS_HOST_TR_BASE,
    VMCS_HOST_GDTR_BASE,
    VMCS_HOST_IDTR_BASE,
    VMCS_HOST_SYSENTER_ESP,
    VMCS_HOST_SYSENTER_EIP,
    VMCS_HOST_RIP,
};
const uint32_t vmx_entry_field_count = ARRAY_COUNT(vmx_entry_fields);
_Static_assert(ARRAY_COUNT(vmx_entry_fields) <= VMX_ENTRY_FIELDS_MAX, "struct vmx_entry_state holds them all");

uint64_t vmx_entry_get(const struct vmx_entry_state *state, enum vmcs_field field)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(vmx_entry_fields); i++) {
        if (vmx_entry_fields[i] == field) {
            return state->values[i];
        }
    }
    return 0;
}

bool vmx_entry_violated(const struct vmx_entry_check *check, const char *form, ...)
{
    va_list list;

    va_start(list, form);
    format_list(check->sentence, VMX_ENTRY_SENTENCE_MAX, form, list);
    va_end(list);
    return false;
}

/* --- Helpers --- */

bool vmx_entry_canonical(const struct vmx_entry_check *check, uint64_t address)
{
    uint32_t unused = 64u - check->caps->linear_bits;

    return (uint64_t)((int64_t)(address << unused) >> unused) == address;
}

bool vmx_entry_fits_physical(const struct vmx_entry_check *check, uint64_t address)
{
    return address >> check->caps->physical_bits == 0;
}

/* Each byte is one of UC WC WT WP WB UC-. SDM 3A 11.12.2. */
bool vmx_entry_pat_legal(uint64_t pat)
{
    for (uint32_t i = 0; i < 64; i += 8) {
        uint64_t type = (pat >> i) & 0xff;

        if (type > 7 || type == 2 || type == 3) {
            return false;
        }
    }
    return true;
}

bool vmx_entry_primary(const struct vmx_entry_check *check, uint32_t bit)
{
    return (vmx_entry_value(check, VMCS_PRIMARY_CONTROLS) & bit) != 0;
}

bool vmx_entry_secondary(const struct vmx_entry_check *check, uint32_t bit)
{
    return vmx_entry_primary(check, PRIMARY_SECONDARY) && (vmx_entry_value(check, VMCS_SECONDARY_CONTROLS) & bit) != 0;
}

bool vmx_entry_entry(const struct vmx_entry_check *check, uint32_t bit)
{
    return (vmx_entry_value(check, VMCS_ENTRY_CONTROLS) & bit) != 0;
}

static bool pin(const struct vmx_entry_check *check, uint32_t bit)
{
    return (vmx_entry_value(check, VMCS_PIN_CONTROLS) & bit) != 0;
}

static bool exits(const struct vmx_entry_check *check, uint32_t bit)
{
    return (vmx_entry_value(check, VMCS_EXIT_CONTROLS) & bit) != 0;
}

/* --- VM-execution controls: SDM 3C 27.2.1.1 --- */

/* SDM 3D A.3 to A.5: what the capability MSR wants set and what it allows. */
static bool check_word(const struct vmx_entry_check *check, const char *name, enum vmcs_field field,
                       uint64_t capability)
{
    uint32_t value = (uint32_t)vmx_entry_value(check, field);
    uint32_t missing = (uint32_t)capability & ~value;
    uint32_t excess = value & ~(uint32_t)(capability >> 32);

    if (missing != 0) {
        return vmx_entry_violated(check, "%s 0x%x: bits 0x%x must be set on this CPU (SDM 3C 27.2.1)", name, value,
                                  missing);
    }
    if (excess != 0) {
        return vmx_entry_violated(check, "%s 0x%x: bits 0x%x must be clear on this CPU (SDM 3C 27.2.1)", name, value,
                                  excess);
    }
    return true;
}

static bool check_words(const struct vmx_entry_check *check)
{
    const struct vmx_entry_caps *caps = check->caps;

    return check_word(check, "pin-based controls", VMCS_PIN_CONTROLS, caps->pin) &&
           check_word(check, "primary controls", VMCS_PRIMARY_CONTROLS, caps->primary) &&
           (!vmx_entry_primary(check, PRIMARY_SECONDARY) ||
            check_word(check, "secondary controls", VMCS_SECONDARY_CONTROLS, caps->secondary)) &&
           check_word(check, "VM-exit controls", VMCS_EXIT_CONTROLS, caps->exit) &&
           check_word(check, "VM-entry controls", VMCS_ENTRY_CONTROLS, caps->entry);
}

/* Pages and areas that a control makes the CPU use. */
struct area {
    enum vmcs_field field;
    uint32_t alignment;
    const char *name;
};

static bool check_area(const struct vmx_entry_check *check, bool used, struct area area)
{
    uint64_t address = vmx_entry_value(check, area.field);

    if (!used || (is_aligned(address, area.alignment) && vmx_entry_fits_physical(check, address))) {
        return true;
    }
    return vmx_entry_violated(check,
                              "%s at 0x%" PRIx64 " is not aligned to %u or beyond the physical addresses "
                              "(SDM 3C 27.2.1)",
                              area.name, address, area.alignment);
}

static bool check_areas(const struct vmx_entry_check *check)
{
    bool io = vmx_entry_primary(check, PRIMARY_IO_BITMAPS);

    return check_area(check, io, (struct area){VMCS_IO_BITMAP_A, PAGE_BYTES, "I/O bitmap A"}) &&
           check_area(check, io, (struct area){VMCS_IO_BITMAP_B, PAGE_BYTES, "I/O bitmap B"}) &&
           check_area(check, vmx_entry_primary(check, PRIMARY_MSR_BITMAPS),
                      (struct area){VMCS_MSR_BITMAP, PAGE_BYTES, "the MSR bitmap"}) &&
           check_area(check, vmx_entry_primary(check, PRIMARY_TPR_SHADOW),
                      (struct area){VMCS_VIRTUAL_APIC, PAGE_BYTES, "the virtual-APIC page"}) &&
           check_area(check, vmx_entry_secondary(check, SECONDARY_APIC_ACCESSES),
                      (struct area){VMCS_APIC_ACCESS, PAGE_BYTES, "the APIC-access page"}) &&
           check_area(check, vmx_entry_secondary(check, SECONDARY_PML),
                      (struct area){VMCS_PML_ADDRESS, PAGE_BYTES, "the page-modification log"}) &&
           check_area(check, vmx_entry_value(check, VMCS_EXIT_MSR_STORE_COUNT) != 0,
                      (struct area){VMCS_EXIT_MSR_STORE, 16, "the VM-exit MSR-store area"}) &&
           check_area(check, vmx_entry_value(check, VMCS_EXIT_MSR_LOAD_COUNT) != 0,
                      (struct area){VMCS_EXIT_MSR_LOAD, 16, "the VM-exit MSR-load area"}) &&
           check_area(check, vmx_entry_value(check, VMCS_ENTRY_MSR_LOAD_COUNT) != 0,
                      (struct area){VMCS_ENTRY_MSR_LOAD, 16, "the VM-entry MSR-load area"});
}

static bool check_tpr(const struct vmx_entry_check *check)
{
    uint64_t threshold = vmx_entry_value(check, VMCS_TPR_THRESHOLD);
    bool delivery = vmx_entry_secondary(check, SECONDARY_INTERRUPT_DELIVERY);

    if (!vmx_entry_primary(check, PRIMARY_TPR_SHADOW)) {
        if (vmx_entry_secondary(check, SECONDARY_X2APIC | SECONDARY_APIC_REGISTERS | SECONDARY_INTERRUPT_DELIVERY)) {
            return vmx_entry_violated(check, "APIC virtualization needs the TPR shadow (SDM 3C 27.2.1.1)");
        }
        return true;
    }
    if (delivery) {
        return true;
    }
    if (threshold > 15) {
        return vmx_entry_violated(check, "TPR threshold 0x%" PRIx64 " is above 15 (SDM 3C 27.2.1.1)", threshold);
    }
    if (!vmx_entry_secondary(check, SECONDARY_APIC_ACCESSES) && threshold > (check->state->vtpr >> 4 & 15u)) {
        return vmx_entry_violated(check,
                                  "TPR threshold %" PRIu64 " is above the virtual TPR's class %u (SDM 3C 27.2.1.1)",
                                  threshold, check->state->vtpr >> 4 & 15u);
    }
    return true;
}

static bool check_execution_rules(const struct vmx_entry_check *check)
{
    if (vmx_entry_value(check, VMCS_CR3_TARGET_COUNT) > CR3_TARGETS_MAX) {
        return vmx_entry_violated(check, "CR3-target count is above 4 (SDM 3C 27.2.1.1)");
    }
    if (!pin(check, PIN_NMI) && pin(check, PIN_VIRTUAL_NMI)) {
        return vmx_entry_violated(check, "virtual NMIs need NMI exiting (SDM 3C 27.2.1.1)");
    }
    if (!pin(check, PIN_VIRTUAL_NMI) && vmx_entry_primary(check, PRIMARY_NMI_WINDOW)) {
        return vmx_entry_violated(check, "NMI-window exiting needs virtual NMIs (SDM 3C 27.2.1.1)");
    }
    if (vmx_entry_secondary(check, SECONDARY_X2APIC) && vmx_entry_secondary(check, SECONDARY_APIC_ACCESSES)) {
        return vmx_entry_violated(check, "virtualize x2APIC mode and virtualize APIC accesses exclude each other "
                                         "(SDM 3C 27.2.1.1)");
    }
    if (vmx_entry_secondary(check, SECONDARY_INTERRUPT_DELIVERY) && !pin(check, PIN_EXTERNAL_INTERRUPT)) {
        return vmx_entry_violated(check,
                                  "virtual-interrupt delivery needs external-interrupt exiting (SDM 3C 27.2.1.1)");
    }
    if (pin(check, PIN_POSTED_INTERRUPTS) &&
        (!vmx_entry_secondary(check, SECONDARY_INTERRUPT_DELIVERY) || !exits(check, EXIT_ACKNOWLEDGE))) {
        return vmx_entry_violated(check, "posted interrupts need virtual-interrupt delivery and acknowledge on exit "
                                         "(SDM 3C 27.2.1.1)");
    }
    if (vmx_entry_secondary(check, SECONDARY_VPID) && vmx_entry_value(check, VMCS_VPID) == 0) {
        return vmx_entry_violated(check, "VPID is enabled and 0, which is the host's (SDM 3C 27.2.1.1)");
    }
    return true;
}

static bool check_ept(const struct vmx_entry_check *check)
{
    uint64_t eptp = vmx_entry_value(check, VMCS_EPT_POINTER);
    uint64_t caps = check->caps->ept_vpid;
    uint64_t type = eptp & EPTP_TYPE;

    if (!vmx_entry_secondary(check, SECONDARY_EPT)) {
        if (vmx_entry_secondary(check, SECONDARY_UNRESTRICTED | SECONDARY_PML)) {
            return vmx_entry_violated(check, "unrestricted guest and page-modification logging need EPT "
                                             "(SDM 3C 27.2.1.1)");
        }
        return true;
    }
    if (!(type == EPTP_TYPE_WB && (caps & EPT_CAP_WB) != 0) && !(type == EPTP_TYPE_UC && (caps & EPT_CAP_UC) != 0)) {
        return vmx_entry_violated(check,
                                  "EPT pointer 0x%" PRIx64 ": memory type %" PRIu64 " is not supported "
                                  "(SDM 3C 27.2.1.1)",
                                  eptp, type);
    }
    if ((eptp >> EPTP_WALK_SHIFT & 7) != EPTP_WALK_4) {
        return vmx_entry_violated(check, "EPT pointer 0x%" PRIx64 ": the walk length is not 4 (SDM 3C 27.2.1.1)", eptp);
    }
    if ((eptp & EPTP_ACCESSED_DIRTY) != 0 && (caps & EPT_CAP_ACCESSED_DIRTY) == 0) {
        return vmx_entry_violated(check,
                                  "EPT pointer 0x%" PRIx64 ": this CPU has no accessed and dirty bits "
                                  "(SDM 3C 27.2.1.1)",
                                  eptp);
    }
    if ((eptp & EPTP_RESERVED_LOW) != 0 || !vmx_entry_fits_physical(check, eptp)) {
        return vmx_entry_violated(check, "EPT pointer 0x%" PRIx64 ": reserved bits are set (SDM 3C 27.2.1.1)", eptp);
    }
    return true;
}

/* --- VM-exit and VM-entry controls: SDM 3C 27.2.1.2, 27.2.1.3 --- */

static bool has_error_code(uint32_t vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

static bool check_event_type(const struct vmx_entry_check *check, uint32_t event)
{
    uint32_t type = event >> VMX_EVENT_TYPE_SHIFT & VMX_EVENT_TYPE;
    uint32_t vector = event & VMX_EVENT_VECTOR;

    if (type == 1 || (type == 7 && (check->caps->primary >> 32 & PRIMARY_MONITOR_TRAP) == 0)) {
        return vmx_entry_violated(check, "event to inject 0x%x: type %u does not exist (SDM 3C 27.2.1.3)", event, type);
    }
    if ((type == 2 && vector != VECTOR_NMI) || (type == 3 && vector > VECTOR_EXCEPTION_MAX) ||
        (type == 7 && vector != 0)) {
        return vmx_entry_violated(check, "event to inject 0x%x: type %u does not have vector %u (SDM 3C 27.2.1.3)",
                                  event, type, vector);
    }
    if ((event & 0x7ffff000u) != 0) {
        return vmx_entry_violated(check, "event to inject 0x%x: reserved bits are set (SDM 3C 27.2.1.3)", event);
    }
    return true;
}

static bool check_event_error(const struct vmx_entry_check *check, uint32_t event)
{
    uint32_t type = event >> VMX_EVENT_TYPE_SHIFT & VMX_EVENT_TYPE;
    bool has = (event & VMX_EVENT_HAS_ERROR) != 0;
    bool real_mode =
        vmx_entry_secondary(check, SECONDARY_UNRESTRICTED) && (vmx_entry_value(check, VMCS_GUEST_CR0) & CR0_PE) == 0;
    bool wants = type == 3 && has_error_code(event & VMX_EVENT_VECTOR) && !real_mode;
    bool may = type == 3 && !real_mode && (wants || (check->caps->basic & BASIC_ANY_ERROR_CODE) != 0);

    if ((has && !may) || (!has && wants && (check->caps->basic & BASIC_ANY_ERROR_CODE) == 0)) {
        return vmx_entry_violated(check, "event to inject 0x%x %s an error code%s (SDM 3C 27.2.1.3)", event,
                                  has ? "must not have" : "must have", real_mode ? " in real mode" : "");
    }
    if (has && vmx_entry_value(check, VMCS_ENTRY_ERROR_CODE) >> 16 != 0) {
        return vmx_entry_violated(check, "error code to inject 0x%" PRIx64 " has more than 16 bits (SDM 3C 27.2.1.3)",
                                  vmx_entry_value(check, VMCS_ENTRY_ERROR_CODE));
    }
    return true;
}

static bool check_event(const struct vmx_entry_check *check)
{
    uint32_t event = (uint32_t)vmx_entry_value(check, VMCS_ENTRY_EVENT);
    uint32_t type = event >> VMX_EVENT_TYPE_SHIFT & VMX_EVENT_TYPE;
    uint64_t length = vmx_entry_value(check, VMCS_ENTRY_INSTRUCTION_LENGTH);

    if ((event & VMX_EVENT_VALID) == 0) {
        return true;
    }
    if (!check_event_type(check, event) || !check_event_error(check, event)) {
        return false;
    }
    if (type >= 4 && type <= 6 &&
        (length > ENTRY_LENGTH_MAX || (length == 0 && (check->caps->misc & MISC_ZERO_LENGTH) == 0))) {
        return vmx_entry_violated(check, "event to inject 0x%x: instruction length %" PRIu64 " (SDM 3C 27.2.1.3)",
                                  event, length);
    }
    return true;
}

static bool check_exit_entry_rules(const struct vmx_entry_check *check)
{
    if (!pin(check, PIN_PREEMPTION_TIMER) && exits(check, EXIT_SAVE_TIMER)) {
        return vmx_entry_violated(check, "saving the preemption timer needs the timer (SDM 3C 27.2.1.2)");
    }
    if (vmx_entry_entry(check, ENTRY_TO_SMM | ENTRY_DUAL_MONITOR)) {
        return vmx_entry_violated(check, "VM-entry controls ask for system management mode (SDM 3C 27.2.1.3)");
    }
    return check_event(check);
}

/* --- Host state: SDM 3C 27.2.2, 27.2.3, 27.2.4 --- */

static bool check_host_fixed(const struct vmx_entry_check *check, const char *name, enum vmcs_field field,
                             uint64_t ones, uint64_t allowed)
{
    uint64_t value = vmx_entry_value(check, field);

    if ((ones & ~value) != 0 || (value & ~allowed) != 0) {
        return vmx_entry_violated(
            check, "host %s 0x%" PRIx64 ": bits 0x%" PRIx64 " must be set, 0x%" PRIx64 " must be clear (SDM 3C 27.2.2)",
            name, value, ones & ~value, value & ~allowed);
    }
    return true;
}

static bool check_host_registers(const struct vmx_entry_check *check)
{
    const struct vmx_entry_caps *caps = check->caps;
    uint64_t efer = vmx_entry_value(check, VMCS_HOST_EFER);
    bool wide = exits(check, EXIT_HOST_64BIT);

    if (!check_host_fixed(check, "CR0", VMCS_HOST_CR0, caps->cr0_fixed0, caps->cr0_fixed1) ||
        !check_host_fixed(check, "CR4", VMCS_HOST_CR4, caps->cr4_fixed0, caps->cr4_fixed1)) {
        return false;
    }
    if (!vmx_entry_fits_physical(check, vmx_entry_value(check, VMCS_HOST_CR3))) {
        return vmx_entry_violated(check, "host CR3 0x%" PRIx64 " is beyond the physical addresses (SDM 3C 27.2.2)",
                                  vmx_entry_value(check, VMCS_HOST_CR3));
    }
    if (exits(check, EXIT_LOAD_PAT) && !vmx_entry_pat_legal(vmx_entry_value(check, VMCS_HOST_PAT))) {
        return vmx_entry_violated(check, "host PAT 0x%" PRIx64 " has an illegal type (SDM 3C 27.2.2)",
                                  vmx_entry_value(check, VMCS_HOST_PAT));
    }
    if (exits(check, EXIT_LOAD_EFER) &&
        ((efer & ~EFER_DEFINED) != 0 || ((efer & EFER_LMA) != 0) != wide || ((efer & EFER_LME) != 0) != wide)) {
        return vmx_entry_violated(check,
                                  "host EFER 0x%" PRIx64 " has reserved bits, or LMA and LME that differ from the "
                                  "host's address-space size (SDM 3C 27.2.2)",
                                  efer);
    }
    return true;
}

static bool check_host_canonical(const struct vmx_entry_check *check)
{
    static const struct {
        enum vmcs_field field;
        const char *name;
    } rows[] = {
        {VMCS_HOST_SYSENTER_ESP, "SYSENTER_ESP"}, {VMCS_HOST_SYSENTER_EIP, "SYSENTER_EIP"},
        {VMCS_HOST_FS_BASE, "FS base"},           {VMCS_HOST_GS_BASE, "GS base"},
        {VMCS_HOST_GDTR_BASE, "GDTR base"},       {VMCS_HOST_IDTR_BASE, "IDTR base"},
        {VMCS_HOST_TR_BASE, "TR base"},           {VMCS_HOST_RIP, "RIP"},
    };

    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint64_t value = vmx_entry_value(check, rows[i].field);

        if (!vmx_entry_canonical(check, value)) {
            return vmx_entry_violated(check, "host %s 0x%" PRIx64 " is not canonical (SDM 3C 27.2.2, 27.2.3)",
                                      rows[i].name, value);
        }
    }
    return true;
}

static bool check_host_selectors(const struct vmx_entry_check *check)
{
    for (uint32_t field = VMCS_HOST_ES_SELECTOR; field <= VMCS_HOST_TR_SELECTOR; field += VMCS_SEGMENT_STRIDE) {
        uint64_t selector = vmx_entry_value(check, (enum vmcs_field)field);
        bool needed = field == VMCS_HOST_CS_SELECTOR || field == VMCS_HOST_TR_SELECTOR;

        if ((selector & SELECTOR_RPL_TI) != 0 || (needed && selector == SELECTOR_NULL)) {
            return vmx_entry_violated(check,
                                      "host selector 0x%" PRIx64 " (field 0x%x): RPL and TI must be 0, CS and TR not "
                                      "null (SDM 3C 27.2.3)",
                                      selector, field);
        }
    }
    return true;
}

/* Plinth is a 64-bit host. */
static bool check_host_size(const struct vmx_entry_check *check)
{
    if (!exits(check, EXIT_HOST_64BIT)) {
        return vmx_entry_violated(check, "the VM-exit controls do not return to a 64-bit host (SDM 3C 27.2.4)");
    }
    if ((vmx_entry_value(check, VMCS_HOST_CR4) & CR4_PAE) == 0) {
        return vmx_entry_violated(check, "host CR4.PAE is clear for a 64-bit host (SDM 3C 27.2.4)");
    }
    return true;
}

/* --- The whole --- */

bool vmx_entry_find_violation(const struct vmx_entry_state *state, const struct vmx_entry_caps *caps,
                              char sentence[VMX_ENTRY_SENTENCE_MAX])
{
    const struct vmx_entry_check check = {state, caps, sentence};

    sentence[0] = '\0';
    return !(check_words(&check) && check_areas(&check) && check_tpr(&check) && check_execution_rules(&check) &&
             check_ept(&check) && check_exit_entry_rules(&check) && check_host_registers(&check) &&
             check_host_canonical(&check) && check_host_selectors(&check) && check_host_size(&check) &&
             vmx_entry_check_guest(&check));
}

const char *vmx_instruction_error_text(uint32_t number)
{
    static const char *const texts[] = {
        [1] = "VMCALL in VMX root operation",
        [2] = "VMCLEAR with an invalid physical address",
        [3] = "VMCLEAR with the VMXON pointer",
        [4] = "VMLAUNCH with a VMCS that is not clear",
        [5] = "VMRESUME with a VMCS that was not launched",
        [6] = "VMRESUME after VMXOFF",
        [7] = "VM entry with invalid control fields",
        [8] = "VM entry with invalid host state",
        [9] = "VMPTRLD with an invalid physical address",
        [10] = "VMPTRLD with the VMXON pointer",
        [11] = "VMPTRLD with a wrong VMCS revision",
        [12] = "VMREAD or VMWRITE of a field that this CPU does not have",
        [13] = "VMWRITE to a read-only field",
        [15] = "VMXON in VMX root operation",
        [16] = "VM entry with an invalid executive-VMCS pointer",
        [17] = "VM entry with an executive VMCS that was not launched",
        [18] = "VM entry with an executive-VMCS pointer that is not the VMXON pointer",
        [19] = "VMCALL with a VMCS that is not clear",
        [20] = "VMCALL with invalid VM-exit controls",
        [22] = "VMCALL with a wrong MSEG revision",
        [23] = "VMXOFF under dual-monitor treatment of system management",
        [24] = "VMCALL with invalid features of the system-management monitor",
        [25] = "VM entry with invalid execution controls in the executive VMCS",
        [26] = "VM entry while events are blocked by MOV SS",
        [28] = "invalid operand of INVEPT or INVVPID",
    };
    const char *text = number < ARRAY_COUNT(texts) ? texts[number] : NULL;

    return text != NULL ? text : "an error number that the manual does not list";
}

const char *vmx_entry_failure_text(uint32_t reason, uint64_t qualification)
{
    uint32_t basic = reason & 0xffffu;

    if (basic == VMX_EXIT_BAD_MSR_AREA) {
        return "an entry of the VM-entry MSR-load area cannot be loaded";
    }
    if (basic != VMX_EXIT_BAD_GUEST_STATE) {
        return "a reason that the manual does not list";
    }
    switch (qualification) {
    case 2:
        return "invalid guest state: loading the PDPTEs";
    case 3:
        return "invalid guest state: an NMI is injected while MOV SS blocks it";
    case 4:
        return "invalid guest state: the VMCS link pointer";
    default:
        return "invalid guest state";
    }
}
