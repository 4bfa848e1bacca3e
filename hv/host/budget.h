/* SPDX-License-Identifier: MIT */
/*
 * What the hypervisor's own memory must hold, counted before the hand-over: efi/ gets that much from the firmware, and
 * after the hand-over pool.h hands it out.
 */
#ifndef HV_HOST_BUDGET_H
#define HV_HOST_BUDGET_H

#include "hv/boot_info.h"
#include "hv/plan/planner.h"

/* What a guest gets beside its nested tables: room for the extended state of one vCPU (x87, SSE, AVX, AVX-512, PKRU;
 * not AMX), and for one load plan, which all guests use one after the other. */
#define BUDGET_XSAVE_BYTES (8 * KIB)
#define BUDGET_LOAD_PLAN_BYTES (64 * KIB)

/* What is known of the devices of the machine that a guest has: hv/guest/assigned.c. */
#define BUDGET_DEVICES_PAGES 4u

/* By which controllers are told of their virtual functions: hv/guest/virtual.c. */
#define BUDGET_VIRTUAL_PAGES 8u

/* What layers above know, in bytes: hv/virt/virt.h has the vendor's part. */
struct budget_vendor {
    uint64_t cpu_bytes;
    uint64_t vcpu_bytes;
    uint64_t iommu_bytes; /* of the machine: hv/iommu/iommu.h */
};

/* What it is counted from on this machine. Reads cpus, memory and framebuffer. */
void budget_own(const struct boot_info *info, const struct budget_vendor *vendor, struct planner_own *own);

/* Bytes that the plan in `info` takes, rounded up to 2 MiB. Reads config, guests, cpus, memory and framebuffer. */
uint64_t budget_bytes_needed(const struct boot_info *info, const struct budget_vendor *vendor);

#endif
