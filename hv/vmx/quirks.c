/* SPDX-License-Identifier: MIT */
/*
 * Repairs for emulators of VMX, each behind its field of struct quirks: hv/core/quirks.h names them and
 * docs/emulators.md describes what was seen. None of this runs on a CPU.
 */
#include "hv/vmx/vmx.h"

/*
 * nmi_blocking_inherited: the bit is believed only from an injected NMI to its end. vmx_vcpu_put() asks, too, before
 * another vCPU can spoil it.
 */
bool vmx_quirks_nmi_is_blocked(struct vmx_vcpu *vmx, bool blocked)
{
    vmx->had_nmi = blocked ? vmx->had_nmi : 0;
    return vmx->had_nmi != 0;
}
