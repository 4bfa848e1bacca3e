/* SPDX-License-Identifier: MIT */
/*
 * What the operator's keys ask of guests (Ctrl-] ? lists them): hv/console says which key and which guest, here it is
 * carried out.
 */
#ifndef HV_GUEST_OPERATOR_H
#define HV_GUEST_OPERATOR_H

/* Makes the console call it. */
void operator_init(void);

/* The machine's power button, if it was pressed: the guests' buttons are pressed, and the machine goes off when all are
 * off, each after its `stop-time` at the latest. A second press switches the machine off at once. Called by the CPU
 * that polls the consoles. */
void operator_look_at_button(void);

#endif
