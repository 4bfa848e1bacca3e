/* SPDX-License-Identifier: MIT */
/*
 * The vectors of the host's interrupts. Plain numbers, because hv/host/trap_entry.S includes them too. Those of devices
 * are given out one by one: host_irq.h.
 */
#ifndef HV_HOST_HOST_VECTORS_H
#define HV_HOST_HOST_VECTORS_H

#define HOST_VECTOR_PIC 0x20 /* where a stray 8259 interrupt would land: 0x20..0x2f */
#define HOST_VECTOR_DEVICE 0x30
#define HOST_VECTOR_DEVICES 128  /* 0x30..0xaf */
#define HOST_VECTOR_MESSAGE 0xb0 /* of devices, on each CPU its own: hv/guest/assigned.c */
#define HOST_VECTOR_MESSAGES 64
#define HOST_VECTOR_TIMER 0xf0
#define HOST_VECTOR_KICK 0xf1
#define HOST_VECTOR_SPURIOUS 0xff

#endif
