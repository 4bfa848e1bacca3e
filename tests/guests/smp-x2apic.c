/* SPDX-License-Identifier: MIT */
/*
 * Two CPUs with their local APICs in x2APIC mode, which Intel's CPUs serve by themselves where they can
 * (hv/vmx/apic.c).
 */
#define SMP_X2APIC true
#define SMP_NAME "smp-x2apic"
#include "tests/guests/smp.c"
