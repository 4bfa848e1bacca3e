/* SPDX-License-Identifier: MIT */
/*
 * Machine checks: what the CPU's banks say of broken hardware. A CPU reports by #MC only what its banks are told to
 * report, and after a reset they still hold what came before. SDM 3B 16 "Machine-Check Architecture"; APM 2 9.
 */
#ifndef HV_HOST_MACHINE_CHECK_H
#define HV_HOST_MACHINE_CHECK_H

#include "hv/base/log.h"
#include "hv/host/machine_check_judge.h"

/* The calling CPU's banks: errors from before are said as a warning and cleared, and all reporting is switched on. */
void machine_check_start(uint32_t cpu);

/* A line at this level for each bank of the calling CPU that holds an error; `heading` is its beginning. */
void machine_check_report(enum log_level level, const char *heading);

/* What the calling CPU's banks say of the machine check that it is in. */
enum machine_check_verdict machine_check_judge_here(void);

/* Empties the calling CPU's banks and ends its machine check: the next one is no shutdown then. */
void machine_check_clear(void);

/* A machine check in the hypervisor's own code. True: nothing is lost here, another CPU's guest may have lost
 * something; the banks are cleared. False: a panic's. */
bool machine_check_is_harmless(void);

#endif
