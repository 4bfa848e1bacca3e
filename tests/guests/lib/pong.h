/* SPDX-License-Identifier: MIT */
/*
 * Answers pings, and requests for its card's address (ARP), at the first virtio network card of the PCI bus, by the
 * old register layout: Virtio 1.2, 4.1.4.10 and 5.1. The card interrupts by its line, at the 8259.
 */
#ifndef TESTS_GUESTS_LIB_PONG_H
#define TESTS_GUESTS_LIB_PONG_H

#include "tests/guests/lib/guest.h"

/* Starts the card. Its IRQ, which the caller unmasks at the 8259; 0: there is no card. After pic_init(). */
uint8_t pong_start(const uint8_t address[4]);

/* Answers what has arrived since the last time. How many pings of all were answered. */
uint32_t pong_answer(void);

#endif
