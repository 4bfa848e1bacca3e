/* SPDX-License-Identifier: MIT */
/*
 * What the operator's keys ask of guests (Ctrl-] ? lists them): hv/console says which key and which guest, here it is
 * carried out.
 */
#ifndef HV_GUEST_OPERATOR_H
#define HV_GUEST_OPERATOR_H

/* Makes the console call it. */
void operator_init(void);

#endif
