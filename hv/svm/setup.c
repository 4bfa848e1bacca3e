/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's VMCB, in parts: intercepts from a table, permission maps, nested paging, the state of INIT.
 */
#include "hv/svm/svm.h"

#include "hv/base/memory.h"
#include "hv/host/cpu.h"
#include "hv/policy/msr_policy.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

/* The I/O permission map is 12 KiB, the MSR permission map 8 KiB. APM 2 15.10.1, 15.11. */
#define IO_MAP_BYTES GUEST_IO_MAP_BYTES
#define MSR_MAP_BYTES 8192u
#define MSR_MAP_RANGE_BYTES 2048u
#define MSR_MAP_RANGE_MSRS 8192u

/* Guests without a port of the machine have the same permissions: no port, and the MSRs of msr_pass_through_list. */
static uint8_t io_map[IO_MAP_BYTES] __attribute__((aligned(4096)));
static uint8_t msr_map[MSR_MAP_BYTES] __attribute__((aligned(4096)));
static bool maps_ready;

struct intercept {
    uint8_t vector; /* enum vmcb_intercept_vector */
    uint8_t bit;
};

static const struct intercept intercepts[] = {
    {INTERCEPT_CR, 20},                     /* CR4 writes: only what CPUID offers may be switched on */
    {INTERCEPT_EXCEPTION, 1},               /* #DB: a data breakpoint on the stack can make delivery endless */
    {INTERCEPT_EXCEPTION, 6},               /* #UD: VMCALL means the same as VMMCALL */
    {INTERCEPT_EXCEPTION, 17},              /* #AC: an unaligned stack in ring 3 can make delivery endless */
    {INTERCEPT_EXCEPTION, 18},              /* #MC is the host's */
    {INTERCEPT_MISC1, MISC1_INTR},          /* physical interrupts are the host's */
    {INTERCEPT_MISC1, MISC1_NMI},           /* physical NMIs are the host's */
    {INTERCEPT_MISC1, MISC1_INIT},          /* an INIT from outside must not reset the CPU under us */
    {INTERCEPT_MISC1, MISC1_CR0_SELECTIVE}, /* CD and NW would uncache the neighbours' lines */
    {INTERCEPT_MISC1, MISC1_RDPMC},         /* there are no performance counters that count */
    {INTERCEPT_MISC1, MISC1_CPUID},         /* the guest sees the machine of the policy */
    {INTERCEPT_MISC1, MISC1_RSM},           /* there is no system management mode */
    {INTERCEPT_MISC1, MISC1_INVD},          /* would drop other guests' modified cache lines */
    {INTERCEPT_MISC1, MISC1_HLT},           /* a halted guest gives its CPU back */
    {INTERCEPT_MISC1, MISC1_INVLPGA},       /* SVM is not offered */
    {INTERCEPT_MISC1, MISC1_IOIO},          /* by the permission map: ports are emulated, but the machine's */
    {INTERCEPT_MISC1, MISC1_MSR},           /* by the permission map */
    {INTERCEPT_MISC1, MISC1_TASK_SWITCH},   /* SVM cannot do it alone under nested paging */
    {INTERCEPT_MISC1, MISC1_FERR_FREEZE},   /* no external FERR logic */
    {INTERCEPT_MISC1, MISC1_SHUTDOWN},      /* a triple fault ends the guest, not the machine */
    {INTERCEPT_MISC2, MISC2_VMRUN},         /* required by the architecture; not offered */
    {INTERCEPT_MISC2, MISC2_VMMCALL},       /* hypercalls */
    {INTERCEPT_MISC2, MISC2_VMLOAD},        /* SVM is not offered */
    {INTERCEPT_MISC2, MISC2_VMSAVE},        /* SVM is not offered */
    {INTERCEPT_MISC2, MISC2_STGI},          /* SVM is not offered */
    {INTERCEPT_MISC2, MISC2_CLGI},          /* would hold off the host's interrupts */
    {INTERCEPT_MISC2, MISC2_SKINIT},        /* would reset the machine */
    {INTERCEPT_MISC2, MISC2_WBINVD},        /* slows the neighbours, and nothing of the guest's needs it */
    {INTERCEPT_MISC2, MISC2_MONITOR},       /* not offered */
    {INTERCEPT_MISC2, MISC2_MWAIT},         /* not offered: would sleep outside of our control */
    {INTERCEPT_MISC2, MISC2_XSETBV},        /* only offered components may be switched on */
    {INTERCEPT_MISC2, MISC2_RDPRU},         /* not offered */
};

/* Two bits per MSR, read then write; a clear bit passes. APM 2 15.11 "MSR Intercepts", table 15-8. */
static void msr_map_pass(const struct msr_pass_through *pass)
{
    static const uint32_t range_bases[] = {0, 0xc0000000, 0xc0010000};

    for (uint32_t i = 0; i < ARRAY_COUNT(range_bases); i++) {
        uint32_t index = pass->msr - range_bases[i];
        uint8_t *byte = &msr_map[i * MSR_MAP_RANGE_BYTES + (index % MSR_MAP_RANGE_MSRS) / 4];
        uint32_t shift = (index % 4) * 2;

        if (index < MSR_MAP_RANGE_MSRS) {
            *byte = (uint8_t)(*byte & ~((pass->read ? 1u : 0u) << shift) & ~((pass->write ? 2u : 0u) << shift));
        }
    }
}

static void build_maps(void)
{
    if (maps_ready) {
        return;
    }
    memset(io_map, 0xff, sizeof(io_map));
    memset(msr_map, 0xff, sizeof(msr_map));
    for (uint32_t i = 0; i < msr_pass_through_count; i++) {
        if (msr_pass_through_list[i].msr != MSR_TSC_AUX || svm_features.tsc_aux) {
            msr_map_pass(&msr_pass_through_list[i]);
        }
    }
    maps_ready = true;
}

/* A loop of so many PAUSE exits, none more than the threshold behind the one before, in ticks: no lock is held so long
 * by a vCPU that runs. A CPU that has no threshold counts all since the entry. APM 2 15.14.4 "Pause Intercept
 * Filtering". */
#define PAUSE_FILTER_COUNT 3000u
#define PAUSE_FILTER_THRESHOLD 128u

static void setup_pauses(struct vmcb *vmcb, const struct vcpu *vcpu)
{
    if (vcpu->shares_cpu && svm_features.pause_filter) {
        vmcb->intercepts[INTERCEPT_MISC1] |= 1u << MISC1_PAUSE;
        vmcb->pause_filter_count = PAUSE_FILTER_COUNT;
        vmcb->pause_filter_threshold = PAUSE_FILTER_THRESHOLD;
    }
}

/* Physical interrupts are governed by the host's RFLAGS.IF, and CR8 is the virtual TPR. APM 2 15.21.1, 15.21.2. */
static void setup_controls(struct vmcb *vmcb, const struct vcpu *vcpu)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(intercepts); i++) {
        vmcb->intercepts[intercepts[i].vector] |= 1u << intercepts[i].bit;
    }
    if (vcpu->guest->host->quirks.no_shutdown_exit) {
        vmcb->intercepts[INTERCEPT_EXCEPTION] |= 1u << EXCEPTION_DF; /* quirks.c */
    }
    vmcb->io_bitmap = (uint64_t)(uintptr_t)(vcpu->guest->io_map != NULL ? vcpu->guest->io_map : io_map);
    vmcb->msr_bitmap = (uint64_t)(uintptr_t)msr_map;
    vmcb->int_control = INT_CONTROL_V_MASKING;
}

/*
 * ASID 0 is the host's. CPUs have as few as 16 of them: where there are more vCPUs, some share one, and then every
 * switch to another vCPU flushes. APM 2 15.16 "TLB Control".
 */
static bool asids_are_shared;

static uint32_t asid_of(const struct vcpu *vcpu)
{
    uint32_t wanted = vcpu->guest->asid + vcpu->index;

    if (wanted < svm_features.caps.asid_count || svm_features.caps.asid_count < 2) {
        return wanted; /* with no ASID for guests at all the entry check says so */
    }
    asids_are_shared = true;
    return 1 + (wanted - 1) % (svm_features.caps.asid_count - 1);
}

static void setup_nested(struct vmcb *vmcb, const struct vcpu *vcpu, const struct page_table *nested)
{
    vmcb->nested_control = NESTED_CONTROL_ENABLE;
    vmcb->nested_cr3 = page_table_root_pointer(nested);
    vmcb->asid = asid_of(vcpu);
    svm_flush_translations(vcpu);
}

void svm_vcpu_init(struct vcpu *vcpu, void *memory, const struct page_table *nested)
{
    struct svm_vcpu *svm = memory;

    build_maps();
    vcpu->vendor = svm;
    svm->enter = svm_enter;
    svm->repairs = svm_quirks_any(vcpu);
    setup_controls(&svm->vmcb, vcpu);
    setup_pauses(&svm->vmcb, vcpu);
    setup_nested(&svm->vmcb, vcpu, nested);
    vcpu->requests |= VCPU_RESET | VCPU_SYSTEM_WRITE | VCPU_TSC;
}

/* The registers that VMRUN and VMLOAD do not switch and that SVM alone has to. The rest is in hv/virt/vcpu_switch.c. */
void svm_vcpu_load(struct cpu *cpu, struct vcpu *vcpu)
{
    struct svm_vcpu *svm = vcpu->vendor;

    svm->guarded = cpu->guard.answers != 0;
    if (svm->shadow == NULL) {
        svm->enter = svm->guarded ? svm_enter_guarded : svm_enter;
    }
    svm->vmcb.clean = 0; /* another VMCB, or another CPU, was used in between */
    if (vcpu->guest->host->quirks.cr2_not_loaded) {
        insn_write_cr2(svm->vmcb.cr2);
    }
    if (asids_are_shared) {
        svm_flush_translations(vcpu);
    }
    if (svm_features.tsc_aux) {
        insn_wrmsr(MSR_TSC_AUX, svm->tsc_aux);
    }
}

void svm_vcpu_put(struct cpu *cpu, struct vcpu *vcpu)
{
    struct svm_vcpu *svm = vcpu->vendor;

    (void)cpu;
    if (svm_features.tsc_aux) {
        svm->tsc_aux = insn_rdmsr(MSR_TSC_AUX);
    }
}
