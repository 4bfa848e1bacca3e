/* SPDX-License-Identifier: MIT */
/*
 * May the code that runs access a port? For instructions that the CPU has not checked itself: what is fetched now may
 * not be what it executed.
 */
#ifndef HV_EMULATE_EMULATE_PORT_H
#define HV_EMULATE_EMULATE_PORT_H

#include "hv/core/guest.h"

/* By IOPL, or by the I/O permission map of the TSS for each of `size` ports. False: #GP(0) was raised, or #PF for the
 * TSS. SDM 1 19.5 "Protected-Mode I/O". */
bool emulate_port_allowed(struct vcpu *vcpu, uint16_t port, uint8_t size);

#endif
