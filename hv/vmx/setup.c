/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's VMCS, in parts: controls, MSR bitmap, host state, nested paging, the state of INIT.
 *
 * A VMCS can only be written while it is current on the CPU, so vmx_vcpu_init() only prepares the memory, and the first
 * vmx_vcpu_load() on the vCPU's own CPU fills it.
 */
#include "hv/vmx/vmx.h"

#include "hv/base/log.h"
#include "hv/base/memory.h"
#include "hv/host/cpu.h"
#include "hv/host/panic.h"
#include "hv/policy/msr_policy.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

/* Four parts of 1 KiB: reads of low and high MSRs, writes of low and high ones. SDM 3C 25.6.9. */
#define MSR_MAP_BYTES 4096u
#define MSR_MAP_PART 1024u
#define MSR_MAP_RANGE 8192u
#define MSR_MAP_HIGH_BASE 0xc0000000u

#define NO_LINK 0xffffffffffffffffULL
#define ALL_LEAVES 0xffffffffffffffffULL
#define SELECTOR_RPL_TI 7u /* host selectors have both clear. SDM 3C 27.2.3 */

/*
 * Every guest has the same permissions: the MSRs of msr_pass_through_list; and to read PAT and EFER, which are the
 * CPU's while it runs: each entry loads them. With shadow paging they are not the guest's, so there is a map without
 * that. What is written to them is looked at. SDM 3C 27.3 "Checking and Loading Guest State".
 */
static uint8_t msr_maps[2][VMX_TIMER_KINDS][MSR_MAP_BYTES] __attribute__((aligned(4096))); /* with a virtual APIC */
static uint8_t msr_map_shadow[MSR_MAP_BYTES] __attribute__((aligned(4096)));
static const struct msr_pass_through switched_msrs[] = {{MSR_PAT, true, false}, {MSR_EFER, true, false}};
static const struct msr_pass_through timer_msrs[VMX_TIMER_KINDS] = {
    [VMX_TIMER_PASSES] = {MSR_TSC_DEADLINE, false, true}, [VMX_TIMER_AND_ADJUST_PASS] = {MSR_TSC_ADJUST, true, false}};
static bool maps_ready;

/* Intercepted exceptions, with the reasons of hv/svm/setup.c: #DB, #UD, #AC, #MC. */
#define EXCEPTION_BITMAP ((1u << EXCEPTION_DB) | (1u << EXCEPTION_UD) | (1u << EXCEPTION_AC) | (1u << EXCEPTION_MC))

/* CR0 bits that the guest may not change alone: NE must stay set, and CD and NW would uncache the neighbours' lines. */
#define CR0_OWNED (CR0_NE | CR0_NW | CR0_CD)

static const uint32_t live_msrs[VMX_LIVE_MSRS] = {MSR_STAR,   MSR_LSTAR,          MSR_CSTAR,
                                                  MSR_SFMASK, MSR_KERNEL_GS_BASE, MSR_TSC_AUX};

static void msr_map_pass(uint8_t *map, const struct msr_pass_through *pass)
{
    bool high = pass->msr >= MSR_MAP_HIGH_BASE;
    uint32_t index = high ? pass->msr - MSR_MAP_HIGH_BASE : pass->msr;
    uint8_t *part = &map[high ? MSR_MAP_PART : 0];
    uint8_t bit = (uint8_t)(1u << (index % 8));

    if (index >= MSR_MAP_RANGE) {
        return;
    }
    if (pass->read) {
        part[index / 8] = (uint8_t)(part[index / 8] & ~bit);
    }
    if (pass->write) {
        part[2 * MSR_MAP_PART + index / 8] = (uint8_t)(part[2 * MSR_MAP_PART + index / 8] & ~bit);
    }
}

static void build_maps(void)
{
    uint8_t *plain = msr_maps[false][VMX_TIMER_EXITS];

    if (maps_ready) {
        return;
    }
    memset(plain, 0xff, MSR_MAP_BYTES);
    for (uint32_t i = 0; i < msr_pass_through_count; i++) {
        if (msr_pass_through_list[i].msr != MSR_TSC_AUX || vmx_features.tsc_aux) {
            msr_map_pass(plain, &msr_pass_through_list[i]);
        }
    }
    memcpy(msr_map_shadow, plain, MSR_MAP_BYTES);
    for (uint32_t i = 0; i < ARRAY_COUNT(switched_msrs); i++) {
        msr_map_pass(plain, &switched_msrs[i]);
    }
    memcpy(msr_maps[true][VMX_TIMER_EXITS], plain, MSR_MAP_BYTES);
    vmx_apic_build_map(msr_maps[true][VMX_TIMER_EXITS]);
    for (uint32_t kind = VMX_TIMER_PASSES; kind < VMX_TIMER_KINDS; kind++) {
        for (uint32_t i = 0; i < ARRAY_COUNT(msr_maps); i++) {
            memcpy(msr_maps[i][kind], msr_maps[i][kind - 1], MSR_MAP_BYTES);
            msr_map_pass(msr_maps[i][kind], &timer_msrs[kind]);
        }
    }
    maps_ready = true;
}

uint64_t vmx_msr_map(const struct vmx_vcpu *vmx)
{
    bool virtual_apic = (vmx->secondary & SECONDARY_X2APIC) != 0;
    const uint8_t *map = vmx->shadow != NULL ? msr_map_shadow : msr_maps[virtual_apic][vmx->timer_passes];

    return (uint64_t)(uintptr_t)map;
}

/* Every leaf exits, and gets #UD: SGX is not offered. SDM 3C 25.6.16, 25.6.17. */
static void setup_enclaves(const struct vmx_vcpu *vmx)
{
    if ((vmx->secondary & SECONDARY_ENCLS) != 0) {
        vmx_write(VMCS_ENCLS_EXITS, ALL_LEAVES);
    }
    if ((vmx->secondary & SECONDARY_ENCLV) != 0) {
        vmx_write(VMCS_ENCLV_EXITS, ALL_LEAVES);
    }
}

/* A loop of PAUSE, none more than the gap behind the one before, exits after the window, in TSC ticks: no lock is held
 * so long by a vCPU that runs. SDM 3C 25.6.13 "Controls for PAUSE-Loop Exiting". */
#define PAUSE_LOOP_GAP 128u
#define PAUSE_LOOP_WINDOW 4096u

static void setup_pauses(const struct vmx_vcpu *vmx)
{
    if ((vmx->secondary & SECONDARY_PAUSE_LOOP) != 0) {
        vmx_write(VMCS_PAUSE_LOOP_GAP, PAUSE_LOOP_GAP);
        vmx_write(VMCS_PAUSE_LOOP_WINDOW, PAUSE_LOOP_WINDOW);
    }
}

/* Unconditional exiting, which stays set, means nothing then. SDM 3C 25.6.2, table 25-6; 25.6.4 "I/O-Bitmap
 * Addresses". */
static void setup_ports(struct vmx_vcpu *vmx, const struct guest *guest)
{
    if ((vmx_features.caps.primary >> 32 & PRIMARY_IO_BITMAPS) == 0) {
        log_warning("guest %s: its ports of the machine do not reach it: this CPU has no I/O bitmaps", guest->name);
        return;
    }
    vmx->primary |= PRIMARY_IO_BITMAPS;
    vmx_write(VMCS_IO_BITMAP_A, (uint64_t)(uintptr_t)guest->io_map);
    vmx_write(VMCS_IO_BITMAP_B, (uint64_t)(uintptr_t)(guest->io_map + PAGE_BYTES));
}

static void setup_virtual_apic(const struct vmx_vcpu *vmx, const struct vcpu *vcpu)
{
    for (uint32_t i = 0; i < VMX_EOI_EXIT_WORDS && vmx_features.virtual_apic; i++) {
        vmx_write((enum vmcs_field)(VMCS_EOI_EXIT_0 + i * 2), vmx->eoi_exits[i]);
    }
    if (vcpu->guest->apic_page.tree != NULL) {
        vmx_write(VMCS_APIC_ACCESS, vcpu->guest->apic_page.range.backing.value);
    }
}

static void setup_controls(struct vmx_vcpu *vmx, const struct vcpu *vcpu)
{
    vmx_write(VMCS_PIN_CONTROLS, vmx_features.pin);
    vmx->primary = vmx_features.primary;
    if (vcpu->guest->io_map != NULL) {
        setup_ports(vmx, vcpu->guest);
    }
    vmx_write(VMCS_PRIMARY_CONTROLS, vmx->primary);
    vmx->secondary = vmx->secondary_plain;
    if ((vmx->primary & PRIMARY_SECONDARY) != 0) {
        vmx_write(VMCS_SECONDARY_CONTROLS, vmx->secondary);
    }
    setup_enclaves(vmx);
    setup_pauses(vmx);
    vmx_write(VMCS_EXIT_CONTROLS, vmx_features.exit);
    vmx->entry = vmx_features.entry;
    vmx_write(VMCS_ENTRY_CONTROLS, vmx->entry);
    vmx_write(VMCS_EXCEPTION_BITMAP, EXCEPTION_BITMAP);
    vmx_write(VMCS_PAGE_FAULT_MASK, 0);
    vmx_write(VMCS_PAGE_FAULT_MATCH, 0);
    vmx_write(VMCS_CR3_TARGET_COUNT, 0);
    vmx_write(VMCS_ENTRY_EVENT, 0);
    vmx_write(VMCS_MSR_BITMAP, vmx_msr_map(vmx));
    vmx_write(VMCS_LINK_POINTER, NO_LINK);
    vmx_write(VMCS_CR0_MASK, CR0_OWNED);
    vmx_write(VMCS_CR4_MASK, ~vcpu->guest->cr4_allowed | CR4_MCE); /* machine checks are the host's: always on */
    setup_virtual_apic(vmx, vcpu);
    if (vmx_features.tpr_shadow) {
        vmx_write(VMCS_VIRTUAL_APIC, (uint64_t)(uintptr_t)vcpu->lapic.page);
        vmx_write(VMCS_TPR_THRESHOLD, 0);
        vmx->tpr_threshold = 0;
    }
}

/* Where the CPU has no controls for PAT and EFER. SDM 3C 25.7.2, 25.8.2 "VM-Entry Controls for MSRs". */
static void setup_msr_areas(struct vmx_vcpu *vmx)
{
    uint32_t count = vmx_features.msr_areas ? VMX_AREA_MSRS : 0;

    vmx->guest_msrs[VMX_AREA_PAT].msr = vmx->host_msrs[VMX_AREA_PAT].msr = MSR_PAT;
    vmx->guest_msrs[VMX_AREA_EFER].msr = vmx->host_msrs[VMX_AREA_EFER].msr = MSR_EFER;
    vmx_write(VMCS_ENTRY_MSR_LOAD, (uint64_t)(uintptr_t)vmx->guest_msrs);
    vmx_write(VMCS_EXIT_MSR_STORE, (uint64_t)(uintptr_t)vmx->guest_msrs);
    vmx_write(VMCS_EXIT_MSR_LOAD, (uint64_t)(uintptr_t)vmx->host_msrs);
    vmx_write(VMCS_ENTRY_MSR_LOAD_COUNT, count);
    vmx_write(VMCS_EXIT_MSR_STORE_COUNT, count);
    vmx_write(VMCS_EXIT_MSR_LOAD_COUNT, count);
}

static void setup_nested(const struct vmx_vcpu *vmx, const struct vcpu *vcpu)
{
    if ((vmx->secondary & SECONDARY_EPT) != 0) {
        vmx_write(VMCS_EPT_POINTER, vmx->eptp);
    }
    if ((vmx->secondary & SECONDARY_VPID) != 0) {
        vmx_write(VMCS_VPID, vcpu->guest->asid + vcpu->index);
    }
}

/* What a VM exit loads. The CPU is the one that the vCPU is pinned to. SDM 3C 25.5 "Host-State Area". */
static void setup_host(struct vmx_vcpu *vmx)
{
    struct insn_table_pointer gdt = insn_sgdt();
    struct insn_table_pointer idt = insn_sidt();
    const uint16_t clear = (uint16_t)~SELECTOR_RPL_TI;

    vmx_write(VMCS_HOST_CR0, insn_read_cr0());
    vmx_write(VMCS_HOST_CR3, insn_read_cr3());
    vmx_write(VMCS_HOST_CR4, insn_read_cr4());
    vmx_write(VMCS_HOST_CS_SELECTOR, insn_read_cs() & clear);
    vmx_write(VMCS_HOST_SS_SELECTOR, insn_read_ss() & clear);
    vmx_write(VMCS_HOST_DS_SELECTOR, insn_read_ds() & clear);
    vmx_write(VMCS_HOST_ES_SELECTOR, insn_read_es() & clear);
    vmx_write(VMCS_HOST_FS_SELECTOR, insn_read_fs() & clear);
    vmx_write(VMCS_HOST_GS_SELECTOR, insn_read_gs() & clear);
    vmx_write(VMCS_HOST_TR_SELECTOR, insn_str() & clear);
    vmx_write(VMCS_HOST_FS_BASE, insn_rdmsr(MSR_FS_BASE));
    vmx_write(VMCS_HOST_GS_BASE, insn_rdmsr(MSR_GS_BASE));
    vmx_write(VMCS_HOST_TR_BASE, (uint64_t)(uintptr_t)&cpu_this()->descriptors.tss);
    vmx_write(VMCS_HOST_GDTR_BASE, gdt.base);
    vmx_write(VMCS_HOST_IDTR_BASE, idt.base);
    vmx_write(VMCS_HOST_SYSENTER_CS, 0);
    vmx_write(VMCS_HOST_SYSENTER_ESP, 0);
    vmx_write(VMCS_HOST_SYSENTER_EIP, 0);
    vmx->host_msrs[VMX_AREA_PAT].value = insn_rdmsr(MSR_PAT);
    vmx->host_msrs[VMX_AREA_EFER].value = insn_rdmsr(MSR_EFER);
    if (!vmx_features.msr_areas) {
        vmx_write(VMCS_HOST_PAT, vmx->host_msrs[VMX_AREA_PAT].value);
        vmx_write(VMCS_HOST_EFER, vmx->host_msrs[VMX_AREA_EFER].value);
    }
    vmx_write(VMCS_HOST_RIP, (uint64_t)(uintptr_t)(vmx->guarded != 0 ? vmx_exit_guarded : vmx_exit));
}

void vmx_vcpu_init(struct vcpu *vcpu, void *memory, const struct page_table *nested)
{
    struct vmx_vcpu *vmx = memory;

    build_maps();
    vcpu->vendor = vmx;
    vmx->enter = vmx_enter;
    vmx->read_system = vmx_read_system;
    vmx->write_system = vmx_write_system;
    vmx->flush_translations = vmx_flush_translations;
    vmx->secondary_plain = vmx_features.secondary;
    if (vcpu->shares_cpu && vmx_features.pause_loop) {
        vmx->secondary_plain |= SECONDARY_PAUSE_LOOP;
    }
    vmx->eptp = page_table_root_pointer(nested);
    memcpy(vmx->vmcs, &vmx_features.revision, sizeof(vmx_features.revision));
    vcpu->requests |= VCPU_RESET | VCPU_SYSTEM_WRITE | VCPU_TSC;
}

/* The first time on this CPU: an empty VMCS becomes current and is filled, and no old translation is left. */
static void first_load(const struct cpu *cpu, struct vmx_vcpu *vmx, const struct vcpu *vcpu)
{
    const struct vmx_insn_descriptor none = {0, 0};

    setup_controls(vmx, vcpu);
    setup_msr_areas(vmx);
    setup_nested(vmx, vcpu);
    setup_host(vmx);
    vmx->loaded_cpu = cpu->index + 1;
    vmx->launched = 0;
    vmx->rip = vmx->rflags = vmx->rsp = ~0ULL;
    if (vmx->shadow != NULL) {
        vmx_shadow_setup(vmx);
        vmx->flush_translations(vcpu);
    } else if (!vmx_insn_invept(INVEPT_ALL, &none)) {
        hv_panic(PANIC_VENDOR, "INVEPT fails");
    }
}

void vmx_vcpu_load(struct cpu *cpu, struct vcpu *vcpu)
{
    struct vmx_vcpu *vmx = vcpu->vendor;
    uint64_t address = (uint64_t)(uintptr_t)vmx->vmcs;

    vmx->guarded = cpu->guard.answers != 0;
    if (vmx->shadow == NULL) {
        vmx->enter = vmx->guarded != 0 ? vmx_enter_guarded : vmx_enter;
    }
    if (vmx->loaded_cpu == 0 && !vmx_insn_vmclear(address)) {
        hv_panic(PANIC_VENDOR, "VMCLEAR fails for guest %s", vcpu->guest->name);
    }
    if (!vmx_insn_vmptrld(address)) {
        hv_panic(PANIC_VENDOR, "VMPTRLD fails for guest %s", vcpu->guest->name);
    }
    if (vmx->loaded_cpu == 0) {
        first_load(cpu, vmx, vcpu);
    }
    for (uint32_t i = 0; i < VMX_LIVE_MSRS; i++) {
        if (live_msrs[i] != MSR_TSC_AUX || vmx_features.tsc_aux) {
            insn_wrmsr(live_msrs[i], vmx->live_msrs[i]);
        }
    }
    insn_write_cr2(vmx->cr2);
    insn_write_dr6(vmx->dr6);
}

void vmx_vcpu_put(struct cpu *cpu, struct vcpu *vcpu)
{
    struct vmx_vcpu *vmx = vcpu->vendor;

    (void)cpu;
    for (uint32_t i = 0; i < VMX_LIVE_MSRS; i++) {
        if (live_msrs[i] != MSR_TSC_AUX || vmx_features.tsc_aux) {
            vmx->live_msrs[i] = insn_rdmsr(live_msrs[i]);
        }
    }
    vmx->cr2 = insn_read_cr2();
    vmx->dr6 = insn_read_dr6();
    (void)vmx_nmi_is_blocked(vmx, vcpu);
}
