/* SPDX-License-Identifier: MIT */
/*
 * Which attacks by speculation a CPU is open to, and what the hypervisor does about them. A table of makers' statements
 * by family, model and stepping, with what the CPU itself says: IA32_ARCH_CAPABILITIES and AMD's feature words. Pure.
 *
 * What can be switched on for good is (predictions of guests do not reach the hypervisor), and what one guest may have
 * left in a CPU is cleared when the CPU goes to another guest. On a CPU that is open to what a guest does to the
 * hypervisor, or sees of it, each exit and entry clears what the maker names (hv/host/speculation_guard.h); on others
 * an exit costs not one instruction more. Why, and what that leaves open: decision 18; docs/isolation.md,
 * "Speculation".
 *
 * Sources: SDM 4 2.1, table 2-2, IA32_ARCH_CAPABILITIES and IA32_SPEC_CTRL; Intel, "Affected Processors: Guidance for
 * Security Issues on Intel Processors"; AMD's security bulletins 7005 (SRSO), 1037 (Retbleed), 7008 (Zenbleed), 7036
 * (TSA).
 */
#ifndef HV_HOST_CPU_SPECULATION_H
#define HV_HOST_CPU_SPECULATION_H

#include "config/config.h"
#include "hv/host/cpu_errata.h"

enum attack {
    ATTACK_BRANCH,   /* Spectre 2: predictions that one guest trains are another's */
    ATTACK_BHI,      /* the history of branches selects them even where predictions are kept apart */
    ATTACK_RETBLEED, /* returns take trained predictions */
    ATTACK_SRSO,     /* the same, on the Zens */
    ATTACK_L1TF,     /* what is in the first-level cache is read by any guest */
    ATTACK_MDS,      /* what is left in fill, load and store buffers */
    ATTACK_TAA,      /* the same, by a transaction that aborts */
    ATTACK_MMIO,     /* the same, by reads of devices */
    ATTACK_RFDS,     /* what is left in the register file, on the small cores */
    ATTACK_GDS,      /* what gathers leave */
    ATTACK_ZENBLEED, /* upper halves of vector registers of others */
    ATTACK_TSA,      /* what stores and the first-level cache leave in the scheduler, on Zen 3 and 4 */
    ATTACK_SSB,      /* loads that pass older stores: within one guest */
    ATTACK_THREADS,  /* hyper-threads of a core see of each other what the above leave */
    ATTACK_COUNT,
};

enum answer {
    ANSWER_IBRS,       /* IA32_SPEC_CTRL.IBRS for good: the CPU keeps predictions of guests and host apart */
    ANSWER_AUTO,       /* EFER.AIBRSE: AMD's form of the same */
    ANSWER_BHI_DIS,    /* IA32_SPEC_CTRL.BHI_DIS_S for good */
    ANSWER_ZENBLEED,   /* the bit of DE_CFG that AMD names, where the microcode has no mend */
    ANSWER_REDUCE,     /* BP_SPEC_REDUCE for good: Zen 5's answer to SRSO */
    ANSWER_GDS,        /* the microcode's answer to gathers is on, whatever the firmware chose */
    ANSWER_IBPB,       /* between two guests: predictions are forgotten */
    ANSWER_VERW,       /* between two guests: buffers are cleared */
    ANSWER_L1D,        /* between two guests: the first-level cache is flushed */
    ANSWER_EXIT_IBPB,  /* at each exit: predictions are forgotten */
    ANSWER_EXIT_IBRS,  /* at each exit IBRS is set, and taken back at the entry */
    ANSWER_EXIT_RSB,   /* at each exit: the return stack is filled */
    ANSWER_EXIT_BHB,   /* at each exit: the history of branches is filled */
    ANSWER_ENTRY_L1D,  /* at each entry: the first-level cache is flushed */
    ANSWER_ENTRY_VERW, /* at each entry: buffers are cleared */
    ANSWER_COUNT,
};

/* What a CPU says of itself. */
struct cpu_speculation_facts {
    struct cpu_identity identity;
    uint32_t leaf7_ebx, leaf7_edx;           /* CPUID 7 */
    uint32_t leaf7_2_edx;                    /* CPUID 7, subleaf 2 */
    uint32_t extended8_ebx;                  /* CPUID 0x80000008 */
    uint32_t extended21_eax, extended21_ecx; /* CPUID 0x80000021 */
    uint64_t arch_capabilities;              /* 0 where the CPU has none */
    bool threads;                            /* its core has other threads */
};

struct cpu_speculation {
    uint32_t attacks; /* bits by enum attack */
    uint32_t answers; /* bits by enum answer */
    uint32_t open;    /* attacks for which this CPU has not what the answer needs: older microcode */
};

/* An emulator's CPU and another hypervisor's are open to nothing of their own. `wanted`: SPECULATION_NONE, no answer;
 * SPECULATION_ALL, every answer that the CPU has, whatever it is open to, a virtual one as well. */
struct cpu_speculation cpu_speculation_of(const struct cpu_speculation_facts *facts, enum config_speculation wanted);

/* Whether guests' code lies in 4 KiB leaves alone (hv/mm/small_code.h): no speculation, but the same key decides.
 * `erratum`: cpu_errata_page_size_change() of the boot CPU, false for an emulator. Only EPT has leaves for it. */
static inline bool cpu_speculation_small_code(bool is_vmx, bool erratum, enum config_speculation wanted)
{
    return is_vmx && (wanted == SPECULATION_ALL || (wanted == SPECULATION_AUTO && erratum));
}

/* Guests may have SPEC_CTRL and PRED_CMD: each write of theirs is an exit, so not where a kernel writes the first at
 * each of its own entries, which Linux does on an Intel CPU before enhanced IBRS. */
bool cpu_speculation_offers_control(const struct cpu_speculation_facts *facts);

/* "L1TF, MDS": names of the bits set; "none" where there is none. Returns `to`. */
#define CPU_SPECULATION_TEXT_MAX 200u
const char *cpu_speculation_attacks(uint32_t attacks, char to[CPU_SPECULATION_TEXT_MAX]);
const char *cpu_speculation_answers(uint32_t answers, char to[CPU_SPECULATION_TEXT_MAX]);

#endif
