/* SPDX-License-Identifier: MIT */
/*
 * `audit:shadow`: no fault, but before each turn of a vCPU with shadow paging its root is audited by the walker of
 * hv/plan/audit.c. Told in the log at powers of two.
 */
#include "hv/base/log.h"
#include "hv/host/fault.h"
#include "hv/host/panic.h"
#include "hv/plan/audit.h"
#include "hv/svm/shadow.h"
#include "hv/vmx/shadow.h"

static const struct boot_info *boot;
static uint64_t audits, leaves_bytes;

void fault_shadow_info(const struct boot_info *info)
{
    boot = info;
}

static const struct shadow *tables_of(const struct vcpu *vcpu)
{
    if (vcpu->guest->shadow_tables == 0) {
        return NULL;
    }
    return vcpu->guest->host->is_intel ? &((const struct vmx_vcpu *)vcpu->vendor)->shadow->tables
                                       : &((const struct svm_vcpu *)vcpu->vendor)->shadow->tables;
}

void fault_shadow_audit(const struct vcpu *vcpu)
{
    static const enum audit_format formats[] = {AUDIT_SHADOW3, AUDIT_SHADOW4, AUDIT_SHADOW5};
    static struct audit_finding finding;
    const struct shadow *shadow = fault_is("audit:shadow") ? tables_of(vcpu) : NULL;
    const struct audit_span ours = {boot->pool_start, boot->pool_start + boot->pool_bytes};
    struct audit_tree tree = {.name = vcpu->guest->name, .memory = &vcpu->guest->memory};
    const struct audit_request request = {.trees = &tree,
                                          .tree_count = 1,
                                          .physical_bits = vcpu->guest->host->physical_bits,
                                          .map = &boot->memory,
                                          .hypervisor = &ours,
                                          .hypervisor_count = 1};

    if (shadow == NULL) {
        return;
    }
    tree.format = formats[shadow->levels - 3];
    tree.root = hpa(shadow_root(shadow));
    if (audit_trees(&request, &finding) != STATUS_OK) {
        hv_panic(PANIC_AUDIT, "the audit of the shadow tables: %s", finding.sentence);
    }
    audits++;
    leaves_bytes += finding.mapped_bytes;
    if ((audits & (audits - 1)) == 0) {
        log_info("audit of shadow tables: %" PRIu64 " roots, %" PRIu64 " MiB in leaves", audits, leaves_bytes / MIB);
    }
}
