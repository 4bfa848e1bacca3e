/* SPDX-License-Identifier: MIT */
/*
 * What travels between APICs: from an ICR, the I/O APIC, or an MSI. hv/core/guest_irq.c routes it.
 * SDM 3A 11.6.1 "Interrupt Command Register (ICR)", 11.11 "Message Signalled Interrupts"; 82093AA data sheet 3.2.4.
 */
#ifndef HV_DEV_APIC_MESSAGE_H
#define HV_DEV_APIC_MESSAGE_H

#include "hv/base/types.h"

enum apic_delivery {
    APIC_FIXED = 0,
    APIC_LOWEST = 1,
    APIC_SMI = 2,
    APIC_NMI = 4,
    APIC_INIT = 5,
    APIC_STARTUP = 6,
    APIC_EXTINT = 7,
};

enum apic_shorthand {
    APIC_TO_DESTINATION = 0,
    APIC_TO_SELF = 1,
    APIC_TO_ALL = 2,
    APIC_TO_OTHERS = 3,
};

struct apic_message {
    uint32_t destination; /* APIC id or logical destination; all ones of its width: every one */
    uint8_t vector;
    uint8_t delivery;  /* enum apic_delivery */
    uint8_t shorthand; /* enum apic_shorthand; ICR only */
    bool logical;
    bool level;    /* trigger mode: sets TMR */
    bool deassert; /* INIT level de-assert: ignored by all later processors */
    bool x2apic;   /* destination has 32 bits */
    uint8_t pin;   /* of the I/O APIC; 0: not from there, or from the 8259 */
};

#endif
