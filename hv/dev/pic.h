/* SPDX-License-Identifier: MIT */
/*
 * The pair of 8259A interrupt controllers and their ELCR, as the south bridge of a PC has them.
 * Intel 8259A data sheet (231468-003); Intel 82371AB (PIIX4) data sheet 4.2.5, 7.3 for ports 0x4d0 and 0x4d1.
 *
 * One rule is the hardware's and not every emulator's: a line that falls before it was acknowledged takes its request
 * with it, in edge mode too. An acknowledge that then finds nothing gives the spurious vector (IR7 of that chip).
 */
#ifndef HV_DEV_PIC_H
#define HV_DEV_PIC_H

#include "hv/base/types.h"
#include "hv/dev/bus.h"

#define PIC_CASCADE_IRQ 2u
#define PIC_IRQ_COUNT 16u

enum pic_init_step {
    PIC_READY,
    PIC_WANTS_ICW2,
    PIC_WANTS_ICW3,
    PIC_WANTS_ICW4,
};

struct pic {
    uint8_t lines; /* IR inputs as they are */
    uint8_t irr;
    uint8_t isr;
    uint8_t imr;
    uint8_t ended;           /* levels that the guest has ended, until the wires have taken BUS_ENDS */
    uint8_t elcr;            /* 1: level-triggered */
    uint8_t elcr_mask;       /* bits that may be 1 */
    uint8_t vector_base;     /* ICW2 bits 7:3 */
    uint8_t lowest_priority; /* IR number that comes last; 7 after ICW1 */
    uint8_t init_step;       /* enum pic_init_step */
    bool single;             /* ICW1 SNGL */
    bool wants_icw4;         /* ICW1 IC4 */
    bool read_isr;           /* OCW3 RR, RIS */
    bool poll;               /* OCW3 P: the next read is an acknowledge */
    bool special_mask;
    bool auto_eoi;
    bool rotate_on_auto_eoi;
    bool special_nested;
};

struct pic_pair {
    struct bus_signals signals; /* line 0: the INT output of the master */
    struct pic chips[2];        /* master, slave */
};

/* Vectors 0x08 and 0x70, all 15 inputs masked, the cascade open, IRQ 9 level-triggered for the SCI: decision 6. */
void pic_pair_reset(struct pic_pair *pair);

/* Ports 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1. */
uint8_t pic_pair_read(struct pic_pair *pair, uint16_t port);
void pic_pair_write(struct pic_pair *pair, uint16_t port, uint8_t value);

/* Drives an IR input. IRQ 2 is the cascade and is not driven from outside. */
void pic_pair_set_line(struct pic_pair *pair, unsigned irq, bool high);

/* The master's INT output. */
static inline bool pic_pair_intr(const struct pic_pair *pair)
{
    return pair->signals.lines != 0;
}

/* The two INTA cycles: the vector, spurious ones included. */
uint8_t pic_pair_acknowledge(struct pic_pair *pair);

/* True where this IRQ cannot interrupt now because of a mask (of its own or of the cascade). */
bool pic_pair_masked(const struct pic_pair *pair, unsigned irq);

/* Ports as above; its line is BUS_LINE_INTR. */
extern const struct bus_row pic_row;

#endif
