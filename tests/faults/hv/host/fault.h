/* SPDX-License-Identifier: MIT */
/* The test build's side of hv/host/fault.h: the same functions, which do what the name in the image says. */
#ifndef TESTS_FAULTS_HV_FAULT_H
#define TESTS_FAULTS_HV_FAULT_H

#include "hv/boot_info.h"
#include "hv/core/vcpu.h"
#include "hv/mm/page_table.h"

void fault_firmware(void *stage);
void fault_boot_info(struct boot_info *info);
void fault_trees(const struct page_table *trees, uint32_t count);
void fault_at(const char *place);
void fault_vcpu(struct vcpu *vcpu);

/* tests/faults/measure.c */
void fault_exit_handled(const struct vcpu *vcpu);
void fault_pass_begins(void);
void fault_pass_ends(void);

#define FAULT_NAME_MAX 96u /* bytes, which need not end with 0 */

/* tests/faults/shadow_audit.c */
void fault_shadow_info(const struct boot_info *info);
void fault_shadow_audit(const struct vcpu *vcpu);

/* From now on this is the fault that the image makes. */
void fault_choose(const char name[FAULT_NAME_MAX]);

/* The fault that this image makes: a name of tests/boot/faults.py. */
bool fault_is(const char *name);

/* The same, and the calling CPU is not the boot CPU. */
bool fault_is_here(const char *name);

/* fault_at() was here. */
bool fault_was_at(const char *place);

#endif
