/* SPDX-License-Identifier: MIT */
/*
 * Which kind of core the calling CPU is, on machines that have two: cores for speed (P) and smaller ones (E). Each CPU
 * says it only of itself.
 */
#ifndef HV_HOST_CPU_KIND_H
#define HV_HOST_CPU_KIND_H

#include "config/config.h"

/* Whether the machine's cores differ: every one of them says so. */
bool cpu_kind_is_mixed(void);

/* The calling CPU's; CPU_KIND_ANY where it does not say. */
enum config_cpu_kind cpu_kind_here(void);

#endif
