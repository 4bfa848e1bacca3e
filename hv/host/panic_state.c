/* SPDX-License-Identifier: MIT */
#include "hv/host/panic_state.h"

#include "hv/x86/insn.h"

static uint32_t panics; /* CPUs that entered; only the first one speaks */

bool panic_state_enter(void)
{
    return __atomic_fetch_add(&panics, 1, __ATOMIC_ACQ_REL) == 0;
}

bool hv_panicking(void)
{
    return __atomic_load_n(&panics, __ATOMIC_ACQUIRE) != 0;
}

_Noreturn void hv_panic_stop(void)
{
    for (;;) {
        insn_cli();
        insn_hlt();
    }
}
