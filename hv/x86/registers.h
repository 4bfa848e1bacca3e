/* SPDX-License-Identifier: MIT */
/*
 * Names of the registers, bits, MSRs and CPUID leaves that both vendors share. What only VMX or SVM has is in
 * hv/vmx and hv/svm. docs/manuals.md lists the editions behind the citations.
 *
 * This folder has facts about the CPU and pure code about them, and in insn.h its instructions. What drives the
 * machine is in hv/host; nothing here has state.
 */
#ifndef HV_X86_REGISTERS_H
#define HV_X86_REGISTERS_H

#include "hv/mm/paging_registers.h" /* what of CR0, CR4, EFER and RFLAGS decides a translation */

/* CR0. SDM 3A 2.5 "Control Registers"; APM 2 3.1.1. */
#define CR0_PE (1ULL << 0)
#define CR0_MP (1ULL << 1)
#define CR0_EM (1ULL << 2)
#define CR0_TS (1ULL << 3)
#define CR0_ET (1ULL << 4)
#define CR0_NE (1ULL << 5)
#define CR0_AM (1ULL << 18)
#define CR0_NW (1ULL << 29)
#define CR0_CD (1ULL << 30)

/* CR4. SDM 3A 2.5; APM 2 3.1.3. */
#define CR4_VME (1ULL << 0)
#define CR4_PVI (1ULL << 1)
#define CR4_TSD (1ULL << 2)
#define CR4_DE (1ULL << 3)
#define CR4_MCE (1ULL << 6)
#define CR4_PCE (1ULL << 8)
#define CR4_OSFXSR (1ULL << 9)
#define CR4_OSXMMEXCPT (1ULL << 10)
#define CR4_UMIP (1ULL << 11)
#define CR4_VMXE (1ULL << 13)
#define CR4_SMXE (1ULL << 14)
#define CR4_FSGSBASE (1ULL << 16)
#define CR4_PCIDE (1ULL << 17)
#define CR4_OSXSAVE (1ULL << 18)
#define CR4_PKE (1ULL << 22)
#define CR4_CET (1ULL << 23)
#define CR4_PKS (1ULL << 24)

/* XCR0. SDM 1 13.1 "XSAVE-Supported Features and State-Component Bitmaps". */
#define XCR0_X87 (1ULL << 0)
#define XCR0_SSE (1ULL << 1)
#define XCR0_AVX (1ULL << 2)
#define XCR0_OPMASK (1ULL << 5)
#define XCR0_ZMM_HI256 (1ULL << 6)
#define XCR0_HI16_ZMM (1ULL << 7)
#define XCR0_AVX512 (XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM)

/* DR6 and DR7. SDM 3B 18.2.3, 18.2.4; APM 2 13.1.1.3. */
#define DR6_RESET 0xffff0ff0ULL /* after INIT: SDM 3A 10.1.1, table 10-1 */
#define DR6_BREAKPOINTS 0xfULL  /* B0 to B3 */
#define DR6_BD (1ULL << 13)     /* an access to a debug register while DR7.GD was set */
#define DR6_BS (1ULL << 14)     /* single step */
#define DR6_BT (1ULL << 15)     /* a switch to a task whose TSS has its T flag */
#define DR7_GD (1ULL << 13)

/* IA32_EFER. SDM 3A 2.2.1 "Extended Feature Enable Register"; APM 2 3.1.7. */
#define EFER_SCE (1ULL << 0)
#define EFER_LME (1ULL << 8)
#define EFER_SVME (1ULL << 12)
#define EFER_LMSLE (1ULL << 13)
#define EFER_FFXSR (1ULL << 14)
#define EFER_TCE (1ULL << 15)
#define EFER_AIBRSE (1ULL << 21)

/* Architectural MSRs. SDM 4 2.1, table 2-2; APM 2 appendix A. */
#define MSR_TSC 0x10u
#define MSR_APIC_BASE 0x1bu
#define MSR_FEATURE_CONTROL 0x3au
#define MSR_TSC_ADJUST 0x3bu
#define MSR_MICROCODE 0x8bu /* IA32_BIOS_SIGN_ID; AMD: PATCH_LEVEL */
#define MSR_MTRR_CAP 0xfeu
#define MSR_ARCH_CAPABILITIES 0x10au
#define ARCH_CAPABILITIES_IBRS_ALL (1ULL << 1)
/* SDM 4 2.1, table 2-2, IA32_SPEC_CTRL, IA32_PRED_CMD, IA32_FLUSH_CMD. AMD has the first two. */
#define MSR_SPEC_CTRL 0x48u
#define SPEC_CTRL_IBRS (1ULL << 0)
#define SPEC_CTRL_STIBP (1ULL << 1)
#define SPEC_CTRL_SSBD (1ULL << 2)
#define SPEC_CTRL_BHI_DIS_S (1ULL << 10)
#define MSR_PRED_CMD 0x49u
#define PRED_CMD_IBPB 1u
#define MSR_FLUSH_CMD 0x10bu
#define FLUSH_CMD_L1D 1u
/* IA32_MCU_OPT_CTRL: the firmware may switch the microcode's answer to GDS off, and lock that. */
#define MSR_MCU_OPT_CTRL 0x123u
#define MCU_OPT_CTRL_GDS_MITG_DIS (1ULL << 4)
#define MCU_OPT_CTRL_GDS_MITG_LOCK (1ULL << 5)
#define MSR_MCG_CAP 0x179u
#define MCG_CAP_BANKS 0xffu
#define MCG_CAP_CTL (1ULL << 8) /* MSR_MCG_CTL is there */
#define MSR_MCG_STATUS 0x17au
#define MSR_MCG_CTL 0x17bu
#define MSR_MC_CTL(bank) (0x400u + 4u * (bank))
#define MSR_MC_STATUS(bank) (0x401u + 4u * (bank))
#define MC_STATUS_VALID (1ULL << 63)
#define MC_STATUS_UC (1ULL << 61)
#define MC_STATUS_MISCV (1ULL << 59)
#define MC_STATUS_ADDRV (1ULL << 58)
#define MSR_MC_ADDR(bank) (0x402u + 4u * (bank))
#define MSR_MC_MISC(bank) (0x403u + 4u * (bank))
#define MSR_MISC_ENABLE 0x1a0u
#define MSR_MTRR_PHYS_BASE(n) (0x200u + 2u * (n))
#define MSR_MTRR_PHYS_MASK(n) (0x201u + 2u * (n))
#define MSR_MTRR_FIX_64K_00000 0x250u
#define MSR_MTRR_FIX_16K_80000 0x258u
#define MSR_MTRR_FIX_16K_A0000 0x259u
#define MSR_MTRR_FIX_4K_C0000 0x268u /* and seven more up to 0x26f */
#define MSR_PAT 0x277u
#define MSR_MTRR_DEF_TYPE 0x2ffu
_Static_assert(MSR_MTRR_FIX_16K_80000 - MSR_MTRR_FIX_64K_00000 == 8 && MSR_MTRR_FIX_4K_C0000 + 7 == 0x26fu,
               "1, 2 and 8 registers, at 250H, 258H and 268H");
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC_FIRST 0x800u
#define MSR_X2APIC_LAST 0x8ffu
#define MSR_X2APIC_EOI 0x80bu
#define MSR_X2APIC_SVR 0x80fu
#define MSR_X2APIC_ICR 0x830u
#define MSR_X2APIC_SELF_IPI 0x83fu
#define MSR_EFER 0xc0000080u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_CSTAR 0xc0000083u
#define MSR_SFMASK 0xc0000084u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX 0xc0000103u
#define MSR_AMD_SYSCFG 0xc0010010u            /* APM 2 7.9.4, 3.2.1 */
#define MSR_AMD_INTERRUPT_PENDING 0xc0010055u /* C1E: bits 28 and 27. AMD family 10h BKDG, 2.4.3.3.3 */
#define AMD_INTERRUPT_PENDING_C1E (3ULL << 27)
#define MSR_AMD_TOM2 0xc001001du
/* AMD, "Software Techniques for Managing Speculation on AMD Processors", mitigation G-2: LFENCE waits for all that is
 * before it where bit 1 is set. */
#define MSR_AMD_DE_CFG 0xc0011029u
#define AMD_DE_CFG_LFENCE (1ULL << 1)
#define AMD_DE_CFG_ZENBLEED (1ULL << 9) /* AMD security bulletin 7008 */
#define MSR_AMD_BP_CFG 0xc001102eu
#define AMD_BP_CFG_SPEC_REDUCE (1ULL << 4) /* AMD, "Technical Update Regarding Speculative Return Stack Overflow" */

/* MSR_AMD_SYSCFG. APM 2 3.2.1 "System Configuration Register (SYSCFG)". */
#define SYSCFG_MTRR_TOM2_EN (1ULL << 21)
#define SYSCFG_TOM2_FORCE_WB (1ULL << 22)

/* IA32_APIC_BASE. SDM 3A 11.4.3 "Enabling or Disabling the Local APIC", 11.12.1. */
#define APIC_BASE_BSP (1ULL << 8)
#define APIC_BASE_X2APIC (1ULL << 10)
#define APIC_BASE_ENABLE (1ULL << 11)
#define APIC_BASE_ADDRESS 0x000ffffffffff000ULL
_Static_assert((APIC_BASE_ADDRESS & (APIC_BASE_BSP | APIC_BASE_X2APIC | APIC_BASE_ENABLE)) == 0, "flags and address");

/* CPUID leaves and bits. SDM 2A "CPUID"; APM 3 appendix E. */
/* EBX of CPUID leaf 0: four letters of the maker's name. SDM 2A "CPUID", table 3-8; APM 3 E.3. */
#define VENDOR_INTEL_EBX 0x756e6547u
#define VENDOR_AMD_EBX 0x68747541u
#define VENDOR_HYGON_EBX 0x6f677948u
#define VENDOR_CENTAUR_EBX 0x746e6543u
#define VENDOR_ZHAOXIN_EBX 0x68532020u
#define CPUID_VENDOR 0x0u
#define CPUID_FEATURES 0x1u
#define CPUID_1_ECX_VMX (1u << 5)
#define CPUID_1_ECX_X2APIC (1u << 21)
#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)
#define CPUID_1_ECX_XSAVE (1u << 26)
#define CPUID_1_ECX_HYPERVISOR (1u << 31)
#define CPUID_1_EDX_MCE (1u << 7)
#define CPUID_1_EDX_MTRR (1u << 12)
#define CPUID_1_EDX_MCA (1u << 14)
#define CPUID_EXTENDED_FEATURES 0x7u
#define CPUID_7_EDX_SPEC_CTRL (1u << 26) /* IBRS and IBPB */
#define CPUID_7_EDX_STIBP (1u << 27)
#define CPUID_7_EDX_ARCH_CAPABILITIES (1u << 29)
#define CPUID_7_EDX_SSBD (1u << 31)
#define CPUID_XSAVE 0xdu
#define CPUID_TSC_RATIO 0x15u
#define CPUID_FREQUENCY 0x16u
#define CPUID_HYPERVISOR 0x40000000u
#define CPUID_HIGHEST_EXTENDED 0x80000000u
#define CPUID_EXTENDED_1 0x80000001u
#define CPUID_81_ECX_SVM (1u << 2)
#define CPUID_81_EDX_NX (1u << 20)
#define CPUID_81_EDX_GIB_PAGES (1u << 26)
#define CPUID_81_EDX_RDTSCP (1u << 27)
#define CPUID_81_EDX_LM (1u << 29)
#define CPUID_BRAND_FIRST 0x80000002u
#define CPUID_BRAND_LAST 0x80000004u
#define CPUID_POWER 0x80000007u
#define CPUID_87_EDX_INVARIANT_TSC (1u << 8)
#define CPUID_ADDRESS_SIZES 0x80000008u
#define CPUID_88_EBX_IBPB (1u << 12)
#define CPUID_88_EBX_IBRS (1u << 14)
#define CPUID_88_EBX_STIBP (1u << 15)
#define CPUID_88_EBX_SSBD (1u << 24)
#define CPUID_EXTENDED_21 0x80000021u

#endif
