/* SPDX-License-Identifier: MIT */
/* The host's CPUID answers, captured once: what the guests' CPUID policy is made from. */
#ifndef HV_HOST_HOST_CPUID_H
#define HV_HOST_HOST_CPUID_H

#include "hv/core/cpuid_table.h"

void host_cpuid_capture(struct cpuid_host *host);

#endif
