/* SPDX-License-Identifier: MIT */
/*
 * The virtual machine control block: layout and the bits of its fields. APM 2 appendix B "Layout of VMCB".
 */
#ifndef HV_SVM_VMCB_H
#define HV_SVM_VMCB_H

#include "hv/base/types.h"

/* APM 2 B, table B-1. The five intercept vectors are one array, so that a table names a bit by vector and number. */
enum vmcb_intercept_vector {
    INTERCEPT_CR,        /* 0..15 reads, 16..31 writes */
    INTERCEPT_DR,        /* 0..15 reads, 16..31 writes */
    INTERCEPT_EXCEPTION, /* by vector */
    INTERCEPT_MISC1,
    INTERCEPT_MISC2,
    INTERCEPT_MISC3,
    INTERCEPT_VECTOR_COUNT,
};

#define INTERCEPT_CR_CR0_READ (1u << 0)
#define INTERCEPT_CR_CR3_READ (1u << 3)
#define INTERCEPT_CR_CR4_READ (1u << 4)
#define INTERCEPT_CR_CR0_WRITE (1u << 16)
#define INTERCEPT_CR_CR3_WRITE (1u << 19)
#define INTERCEPT_CR_CR8_WRITE (1u << 24)

/* Bits of INTERCEPT_MISC1. */
enum vmcb_intercept_misc1 {
    MISC1_INTR = 0,
    MISC1_NMI = 1,
    MISC1_SMI = 2,
    MISC1_INIT = 3,
    MISC1_VINTR = 4,
    MISC1_CR0_SELECTIVE = 5, /* writes of CR0 that change more than TS and MP */
    MISC1_RDPMC = 15,
    MISC1_PUSHF = 16,
    MISC1_POPF = 17,
    MISC1_CPUID = 18,
    MISC1_RSM = 19,
    MISC1_IRET = 20,
    MISC1_INTN = 21,
    MISC1_INVD = 22,
    MISC1_PAUSE = 23,
    MISC1_HLT = 24,
    MISC1_INVLPG = 25,
    MISC1_INVLPGA = 26,
    MISC1_IOIO = 27,
    MISC1_MSR = 28,
    MISC1_TASK_SWITCH = 29,
    MISC1_FERR_FREEZE = 30,
    MISC1_SHUTDOWN = 31,
};

/* Bits of INTERCEPT_MISC2. */
enum vmcb_intercept_misc2 {
    MISC2_VMRUN = 0,
    MISC2_VMMCALL = 1,
    MISC2_VMLOAD = 2,
    MISC2_VMSAVE = 3,
    MISC2_STGI = 4,
    MISC2_CLGI = 5,
    MISC2_SKINIT = 6,
    MISC2_ICEBP = 8,
    MISC2_WBINVD = 9,
    MISC2_MONITOR = 10,
    MISC2_MWAIT = 11,
    MISC2_XSETBV = 13,
    MISC2_RDPRU = 14,
};

/* TLB_CONTROL. APM 2 15.16.1 "TLB Flush". */
#define TLB_FLUSH_NOTHING 0u
#define TLB_FLUSH_EVERYTHING 1u
#define TLB_FLUSH_ASID 3u

/* Interrupt control, offset 0x60. APM 2 15.21 "Interrupt and Local APIC Support". */
#define INT_CONTROL_V_TPR 0xffULL
#define INT_CONTROL_V_IRQ (1ULL << 8)
#define INT_CONTROL_V_PRIORITY_SHIFT 16u
#define INT_CONTROL_V_PRIORITY (0xfULL << INT_CONTROL_V_PRIORITY_SHIFT)
#define INT_CONTROL_V_IGNORE_TPR (1ULL << 20)
#define INT_CONTROL_V_MASKING (1ULL << 24)
#define INT_CONTROL_V_VECTOR_SHIFT 32u
#define INT_CONTROL_V_VECTOR (0xffULL << INT_CONTROL_V_VECTOR_SHIFT)

#define INT_STATE_SHADOW 1ULL

#define NESTED_CONTROL_ENABLE 1ULL

/* EVENTINJ and EXITINTINFO. APM 2 15.20 "Event Injection", 15.7.2. */
#define EVENT_VECTOR 0xffULL
#define EVENT_TYPE_SHIFT 8u
#define EVENT_TYPE 7ULL
#define EVENT_HAS_ERROR (1ULL << 11)
#define EVENT_VALID (1ULL << 31)
#define EVENT_ERROR_SHIFT 32u

/* VMCB clean bits: what the CPU may take from its cache because it was not changed. APM 2 15.15.3. */
#define CLEAN_INTERCEPTS (1u << 0) /* and TSC offset */
#define CLEAN_IO_MSR_MAPS (1u << 1)
#define CLEAN_ASID (1u << 2)
#define CLEAN_INT_CONTROL (1u << 3)
#define CLEAN_NESTED (1u << 4)
#define CLEAN_CR (1u << 5)
#define CLEAN_DR (1u << 6)
#define CLEAN_TABLES (1u << 7) /* GDTR, IDTR */
#define CLEAN_SEGMENTS (1u << 8)
#define CLEAN_CR2 (1u << 9)
#define CLEAN_ALL 0x3ffu

/* APM 2 B, table B-2: attributes are bits 8-15 and 20-23 of the descriptor's upper word, packed into 12 bits. */
struct vmcb_segment {
    uint16_t selector;
    uint16_t attributes;
    uint32_t limit;
    uint64_t base;
};
_Static_assert(sizeof(struct vmcb_segment) == 16, "APM 2 B");

#define VMCB_CS_LONG (1u << 9) /* L: 64-bit code */

struct vmcb {
    /* The control area. */
    uint32_t intercepts[INTERCEPT_VECTOR_COUNT]; /* 0x000 */
    uint8_t reserved_018[0x3c - 0x18];
    uint16_t pause_filter_threshold; /* 0x03c */
    uint16_t pause_filter_count;
    uint64_t io_bitmap;  /* 0x040 */
    uint64_t msr_bitmap; /* 0x048 */
    uint64_t tsc_offset; /* 0x050 */
    uint32_t asid;       /* 0x058 */
    uint32_t tlb_control;
    uint64_t int_control;    /* 0x060 */
    uint64_t int_state;      /* 0x068 */
    uint64_t exit_code;      /* 0x070 */
    uint64_t exit_info1;     /* 0x078 */
    uint64_t exit_info2;     /* 0x080 */
    uint64_t exit_int_info;  /* 0x088 */
    uint64_t nested_control; /* 0x090 */
    uint8_t reserved_098[0xa8 - 0x98];
    uint64_t event_injection; /* 0x0a8 */
    uint64_t nested_cr3;      /* 0x0b0 */
    uint64_t lbr_control;     /* 0x0b8 */
    uint32_t clean;           /* 0x0c0 */
    uint32_t reserved_0c4;
    uint64_t next_rip; /* 0x0c8 */
    uint8_t fetched_count;
    uint8_t fetched[15];
    uint8_t reserved_0e0[0x400 - 0xe0];

    /* The state save area. */
    struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr; /* 0x400 */
    uint8_t reserved_4a0[0x4cb - 0x4a0];
    uint8_t cpl; /* 0x4cb */
    uint32_t reserved_4cc;
    uint64_t efer; /* 0x4d0 */
    uint8_t reserved_4d8[0x548 - 0x4d8];
    uint64_t cr4; /* 0x548 */
    uint64_t cr3;
    uint64_t cr0;
    uint64_t dr7; /* 0x560 */
    uint64_t dr6;
    uint64_t rflags; /* 0x570 */
    uint64_t rip;
    uint8_t reserved_580[0x5d8 - 0x580];
    uint64_t rsp; /* 0x5d8 */
    uint8_t reserved_5e0[0x5f8 - 0x5e0];
    uint64_t rax; /* 0x5f8 */
    uint64_t star;
    uint64_t lstar;
    uint64_t cstar;
    uint64_t sfmask;
    uint64_t kernel_gs_base; /* 0x620 */
    uint64_t sysenter_cs;
    uint64_t sysenter_esp;
    uint64_t sysenter_eip;
    uint64_t cr2; /* 0x640 */
    uint8_t reserved_648[0x668 - 0x648];
    uint64_t pat; /* 0x668 */
    uint64_t debugctl;
    uint8_t reserved_678[0x1000 - 0x678];
};
_Static_assert(sizeof(struct vmcb) == 4096, "a VMCB is one page");
_Static_assert(offsetof(struct vmcb, pause_filter_threshold) == 0x3c, "APM 2 B");
_Static_assert(offsetof(struct vmcb, int_control) == 0x60, "APM 2 B");
_Static_assert(offsetof(struct vmcb, event_injection) == 0xa8, "APM 2 B");
_Static_assert(offsetof(struct vmcb, next_rip) == 0xc8, "APM 2 B");
_Static_assert(offsetof(struct vmcb, tr) == 0x490, "APM 2 B");
_Static_assert(offsetof(struct vmcb, cpl) == 0x4cb, "APM 2 B");
_Static_assert(offsetof(struct vmcb, efer) == 0x4d0, "APM 2 B");
_Static_assert(offsetof(struct vmcb, cr4) == 0x548, "APM 2 B");
_Static_assert(offsetof(struct vmcb, rflags) == 0x570, "APM 2 B");
_Static_assert(offsetof(struct vmcb, rsp) == 0x5d8, "APM 2 B");
_Static_assert(offsetof(struct vmcb, rax) == 0x5f8, "APM 2 B");
_Static_assert(offsetof(struct vmcb, cr2) == 0x640, "APM 2 B");
_Static_assert(offsetof(struct vmcb, pat) == 0x668, "APM 2 B");

/* Exit codes. APM 2 appendix C "SVM Intercept Exit Codes". */
enum svm_exit_code {
    SVM_EXIT_CR0_READ = 0x00,
    SVM_EXIT_CR3_READ = 0x03,
    SVM_EXIT_CR4_READ = 0x04,
    SVM_EXIT_CR0_WRITE = 0x10,
    SVM_EXIT_CR3_WRITE = 0x13,
    SVM_EXIT_CR4_WRITE = 0x14,
    SVM_EXIT_CR8_WRITE = 0x18,
    SVM_EXIT_EXCEPTION_FIRST = 0x40,
    SVM_EXIT_DEBUG = 0x41, /* #DB */
    SVM_EXIT_EXCEPTION_LAST = 0x5f,
    SVM_EXIT_INTR = 0x60,
    SVM_EXIT_NMI = 0x61,
    SVM_EXIT_SMI = 0x62,
    SVM_EXIT_INIT = 0x63,
    SVM_EXIT_VINTR = 0x64,
    SVM_EXIT_CR0_SELECTIVE = 0x65,
    SVM_EXIT_RDPMC = 0x6f,
    SVM_EXIT_PUSHF = 0x70,
    SVM_EXIT_POPF = 0x71,
    SVM_EXIT_CPUID = 0x72,
    SVM_EXIT_RSM = 0x73,
    SVM_EXIT_IRET = 0x74,
    SVM_EXIT_INTN = 0x75,
    SVM_EXIT_INVD = 0x76,
    SVM_EXIT_PAUSE = 0x77,
    SVM_EXIT_HLT = 0x78,
    SVM_EXIT_INVLPG = 0x79,
    SVM_EXIT_INVLPGA = 0x7a,
    SVM_EXIT_IOIO = 0x7b,
    SVM_EXIT_MSR = 0x7c,
    SVM_EXIT_TASK_SWITCH = 0x7d,
    SVM_EXIT_FERR_FREEZE = 0x7e,
    SVM_EXIT_SHUTDOWN = 0x7f,
    SVM_EXIT_VMRUN = 0x80,
    SVM_EXIT_VMMCALL = 0x81,
    SVM_EXIT_VMLOAD = 0x82,
    SVM_EXIT_VMSAVE = 0x83,
    SVM_EXIT_STGI = 0x84,
    SVM_EXIT_CLGI = 0x85,
    SVM_EXIT_SKINIT = 0x86,
    SVM_EXIT_ICEBP = 0x88,
    SVM_EXIT_WBINVD = 0x89,
    SVM_EXIT_MONITOR = 0x8a,
    SVM_EXIT_MWAIT = 0x8b,
    SVM_EXIT_MWAIT_ARMED = 0x8c,
    SVM_EXIT_XSETBV = 0x8d,
    SVM_EXIT_RDPRU = 0x8e,
    SVM_EXIT_NPF = 0x400,
};
/* EXITINFO1 of #NPF. APM 2 15.25.6 "Nested versus Guest Page Faults, Fault Ordering". */
#define NPF_WRITE (1ULL << 1)
#define NPF_FETCH (1ULL << 4)
#define NPF_TABLE_WALK (1ULL << 33)

/* Of VMEXIT_INVALID, -1, the lower half: more is not stored everywhere. */
#define SVM_EXIT_INVALID 0xffffffffu

#endif
