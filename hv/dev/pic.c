/* SPDX-License-Identifier: MIT */
/*
 * The 8259A pair. See pic.h for the rules about lines; the names of the command words are the data sheet's.
 *
 *   IRQ 0..7  -> master IR0..IR7, with IR2 the slave's INT output
 *   IRQ 8..15 -> slave IR0..IR7
 *
 * After every change of either chip cascade() carries the slave's INT to the master's IR2, so the two are always
 * consistent and the pair's output is a function of the state.
 */
#include "hv/dev/pic.h"

#include "hv/base/memory.h"
#include "hv/dev/platform_config.h"
#include "hv/dev/timebase.h"

/* Initialization and operation command words. 8259A data sheet, "Programming the 8259A", figures 7 and 8. */
#define ICW1 0x10u
#define ICW1_IC4 0x01u
#define ICW1_SNGL 0x02u
#define ICW4_AEOI 0x02u
#define ICW4_SFNM 0x10u
#define OCW3 0x08u
#define OCW3_RIS 0x01u
#define OCW3_RR 0x02u
#define OCW3_POLL 0x04u
#define OCW3_SMM 0x20u
#define OCW3_ESMM 0x40u
#define OCW2_COMMAND(value) ((value) >> 5)

enum ocw2_command {
    OCW2_CLEAR_ROTATE_AUTO = 0,
    OCW2_EOI = 1,
    OCW2_NOTHING = 2,
    OCW2_SPECIFIC_EOI = 3,
    OCW2_SET_ROTATE_AUTO = 4,
    OCW2_ROTATE_EOI = 5,
    OCW2_SET_PRIORITY = 6,
    OCW2_ROTATE_SPECIFIC_EOI = 7,
};

#define MASTER_PORT 0x20u
#define SLAVE_PORT 0xa0u
#define ELCR_MASTER_PORT 0x4d0u
#define ELCR_SLAVE_PORT 0x4d1u
#define MASTER 0u
#define SLAVE 1u
#define SPURIOUS_IR 7u
#define CASCADE_BIT (1u << PIC_CASCADE_IRQ)
/* IRQ 0, 1, 2, 8 and 13 cannot be level-triggered. PIIX4 data sheet 7.3.1, 7.3.2. */
#define ELCR_MASTER_BITS 0xf8u
#define ELCR_SLAVE_BITS 0xdeu
#define SCI_IRQ 9u
/* What a BIOS leaves open of the master: the timer, the keyboard, the cascade. */
#define BIOS_OPEN (1u << 0 | 1u << 1 | CASCADE_BIT)

/* The position of the highest-priority bit, counted from the highest priority: 0..7, or 8 for none. */
static unsigned priority_of(const struct pic *pic, uint8_t bits)
{
    unsigned shift = (pic->lowest_priority + 1u) & 7u;
    unsigned rotated = ((unsigned)bits >> shift | (unsigned)bits << (8 - shift)) & 0xffu;

    return rotated == 0 ? 8 : (unsigned)__builtin_ctz(rotated);
}

static unsigned priority_to_ir(const struct pic *pic, unsigned priority)
{
    return (priority + pic->lowest_priority + 1u) & 7u;
}

/* What in service holds requests back: in special mask mode masked levels do not, in the master's special fully
 * nested mode the cascade does not. */
static uint8_t inhibiting(const struct pic *pic, bool master)
{
    uint8_t isr = pic->isr;

    if (pic->special_mask) {
        isr &= (uint8_t)~pic->imr;
    }
    if (pic->special_nested && master) {
        isr &= (uint8_t)~CASCADE_BIT;
    }
    return isr;
}

/* The IR that the chip asks for now, or -1. */
static int requested_ir(const struct pic *pic, bool master)
{
    unsigned priority = priority_of(pic, pic->irr & (uint8_t)~pic->imr);

    if (priority == 8 || pic->init_step != PIC_READY || priority >= priority_of(pic, inhibiting(pic, master))) {
        return -1;
    }
    return (int)priority_to_ir(pic, priority);
}

static void set_input(struct pic *pic, unsigned ir, bool high)
{
    uint8_t bit = (uint8_t)(1u << ir);
    bool was_high = (pic->lines & bit) != 0;

    if (!high) {
        pic->lines &= (uint8_t)~bit;
        pic->irr &= (uint8_t)~bit;
        return;
    }
    pic->lines |= bit;
    if ((pic->elcr & bit) != 0 || !was_high) {
        pic->irr |= bit;
    }
}

static void cascade(struct pic_pair *pair)
{
    set_input(&pair->chips[MASTER], PIC_CASCADE_IRQ, requested_ir(&pair->chips[SLAVE], false) >= 0);
}

static void end_service(struct pic *pic, unsigned ir)
{
    uint8_t bit = (uint8_t)(1u << ir);

    pic->ended |= pic->isr & pic->elcr & bit;
    pic->isr &= (uint8_t)~bit;
}

static void rotate_to_lowest(struct pic *pic, unsigned ir)
{
    pic->lowest_priority = (uint8_t)ir;
}

/* One chip's INTA: the highest request goes into service. Level-triggered requests stay in IRR with their line. */
static unsigned acknowledge(struct pic *pic, bool master)
{
    int ir = requested_ir(pic, master);
    uint8_t bit;

    if (ir < 0) {
        return SPURIOUS_IR;
    }
    bit = (uint8_t)(1u << ir);
    if ((pic->elcr & bit) == 0) {
        pic->irr &= (uint8_t)~bit;
    }
    if (!pic->auto_eoi) {
        pic->isr |= bit;
        return (unsigned)ir;
    }
    pic->ended |= pic->elcr & bit;
    if (pic->rotate_on_auto_eoi) {
        rotate_to_lowest(pic, (unsigned)ir);
    }
    return (unsigned)ir;
}

/* The slave's INT falls during its INTA, so a further request of the slave is a new edge for the master. */
static unsigned acknowledge_slave(struct pic_pair *pair)
{
    unsigned ir = acknowledge(&pair->chips[SLAVE], false);

    set_input(&pair->chips[MASTER], PIC_CASCADE_IRQ, false);
    cascade(pair);
    return ir;
}

/* The pair's output follows from its state. */
static void update(struct pic_pair *pair)
{
    pair->signals.lines = requested_ir(&pair->chips[MASTER], true) >= 0;
    if ((pair->chips[MASTER].ended | pair->chips[SLAVE].ended) != 0) {
        pair->signals.wants |= BUS_ENDS;
    }
}

uint8_t pic_pair_acknowledge(struct pic_pair *pair)
{
    struct pic *master = &pair->chips[MASTER];
    bool from_slave = requested_ir(master, true) == (int)PIC_CASCADE_IRQ && !master->single;
    unsigned ir = acknowledge(master, true);
    uint8_t vector = (uint8_t)(master->vector_base + ir);

    if (from_slave) {
        ir = acknowledge_slave(pair);
        vector = (uint8_t)(pair->chips[SLAVE].vector_base + ir);
    }
    update(pair);
    return vector;
}

bool pic_pair_masked(const struct pic_pair *pair, unsigned irq)
{
    if (irq < 8) {
        return (pair->chips[MASTER].imr >> irq & 1u) != 0;
    }
    return (pair->chips[SLAVE].imr >> (irq - 8) & 1u) != 0 || (pair->chips[MASTER].imr & CASCADE_BIT) != 0;
}

void pic_pair_set_line(struct pic_pair *pair, unsigned irq, bool high)
{
    if (irq == PIC_CASCADE_IRQ || irq >= PIC_IRQ_COUNT) {
        return;
    }
    set_input(&pair->chips[irq / 8], irq % 8, high);
    cascade(pair);
    update(pair);
}

static void reset_chip(struct pic *pic, uint8_t vector_base, uint8_t elcr_mask)
{
    memset(pic, 0, sizeof(*pic));
    pic->elcr_mask = elcr_mask;
    pic->vector_base = vector_base;
    pic->lowest_priority = 7;
    pic->imr = 0xff;
}

void pic_pair_reset(struct pic_pair *pair)
{
    reset_chip(&pair->chips[MASTER], 0x08, ELCR_MASTER_BITS);
    pair->chips[MASTER].imr = (uint8_t)~CASCADE_BIT;
    reset_chip(&pair->chips[SLAVE], 0x70, ELCR_SLAVE_BITS);
    pair->chips[SLAVE].elcr = 1u << (SCI_IRQ - 8);
    pair->signals = (struct bus_signals){.deadline = DEADLINE_NONE};
}

/* --- Commands --- */

/* "ICW1 automatically: edge sense reset, IMR cleared, IR7 lowest, special mask off, status read set to IRR." */
static void write_icw1(struct pic *pic, uint8_t value)
{
    pic->imr = 0;
    pic->isr = 0;
    pic->irr = pic->lines & pic->elcr; /* an edge-triggered line must rise again */
    pic->lowest_priority = 7;
    pic->special_mask = false;
    pic->read_isr = false;
    pic->poll = false;
    pic->auto_eoi = false;
    pic->rotate_on_auto_eoi = false;
    pic->special_nested = false;
    pic->single = (value & ICW1_SNGL) != 0;
    pic->wants_icw4 = (value & ICW1_IC4) != 0;
    pic->init_step = PIC_WANTS_ICW2;
}

/* A non-specific EOI ends the highest level in service; in special mask mode not a masked one. */
static void end_highest(struct pic *pic, bool rotate)
{
    uint8_t candidates = pic->special_mask ? pic->isr & (uint8_t)~pic->imr : pic->isr;
    unsigned priority = priority_of(pic, candidates);
    unsigned ir = priority_to_ir(pic, priority);

    if (priority == 8) {
        return;
    }
    end_service(pic, ir);
    if (rotate) {
        rotate_to_lowest(pic, ir);
    }
}

static void write_ocw2(struct pic *pic, uint8_t value)
{
    unsigned ir = value & 7u;

    switch ((enum ocw2_command)OCW2_COMMAND(value)) {
    case OCW2_CLEAR_ROTATE_AUTO:
    case OCW2_SET_ROTATE_AUTO:
        pic->rotate_on_auto_eoi = OCW2_COMMAND(value) == OCW2_SET_ROTATE_AUTO;
        break;
    case OCW2_EOI:
    case OCW2_ROTATE_EOI:
        end_highest(pic, OCW2_COMMAND(value) == OCW2_ROTATE_EOI);
        break;
    case OCW2_SPECIFIC_EOI:
        end_service(pic, ir);
        break;
    case OCW2_ROTATE_SPECIFIC_EOI:
        end_service(pic, ir);
        rotate_to_lowest(pic, ir);
        break;
    case OCW2_SET_PRIORITY:
        rotate_to_lowest(pic, ir);
        break;
    case OCW2_NOTHING:
        break;
    }
}

static void write_ocw3(struct pic *pic, uint8_t value)
{
    pic->poll = (value & OCW3_POLL) != 0;
    if (!pic->poll && (value & OCW3_RR) != 0) {
        pic->read_isr = (value & OCW3_RIS) != 0;
    }
    if ((value & OCW3_ESMM) != 0) {
        pic->special_mask = (value & OCW3_SMM) != 0;
    }
}

static void write_command(struct pic *pic, uint8_t value)
{
    if ((value & ICW1) != 0) {
        write_icw1(pic, value);
    } else if ((value & OCW3) != 0) {
        write_ocw3(pic, value);
    } else {
        write_ocw2(pic, value);
    }
}

static void write_data(struct pic *pic, uint8_t value)
{
    switch ((enum pic_init_step)pic->init_step) {
    case PIC_READY:
        pic->imr = value;
        break;
    case PIC_WANTS_ICW2:
        pic->vector_base = value & 0xf8u;
        if (pic->single) {
            pic->init_step = pic->wants_icw4 ? PIC_WANTS_ICW4 : PIC_READY;
        } else {
            pic->init_step = PIC_WANTS_ICW3;
        }
        break;
    case PIC_WANTS_ICW3: /* the wiring of a PC is fixed: IR2 and slave 2 */
        pic->init_step = pic->wants_icw4 ? PIC_WANTS_ICW4 : PIC_READY;
        break;
    case PIC_WANTS_ICW4:
        pic->auto_eoi = (value & ICW4_AEOI) != 0;
        pic->special_nested = (value & ICW4_SFNM) != 0;
        pic->init_step = PIC_READY;
        break;
    }
}

static void write_elcr(struct pic *pic, uint8_t value)
{
    uint8_t new_level;

    value &= pic->elcr_mask;
    new_level = value & (uint8_t)~pic->elcr;
    pic->elcr = value;
    pic->irr |= pic->lines & new_level;
}

void pic_pair_write(struct pic_pair *pair, uint16_t port, uint8_t value)
{
    if (port == ELCR_MASTER_PORT || port == ELCR_SLAVE_PORT) {
        write_elcr(&pair->chips[port & 1], value);
    } else {
        struct pic *pic = &pair->chips[port >> 7];

        if ((port & 1) != 0) {
            write_data(pic, value);
        } else {
            write_command(pic, value);
        }
    }
    cascade(pair);
    update(pair);
    pair->signals.wants |= BUS_MASKS;
}

/* A read in poll mode is an acknowledge: bit 7 says whether there was a request, bits 2:0 which. */
static uint8_t poll(struct pic_pair *pair, unsigned chip)
{
    struct pic *pic = &pair->chips[chip];
    bool requested = requested_ir(pic, chip == MASTER) >= 0;
    unsigned ir;

    pic->poll = false;
    if (!requested) {
        return 0;
    }
    ir = chip == SLAVE ? acknowledge_slave(pair) : acknowledge(pic, true);
    update(pair);
    return (uint8_t)(0x80u | ir);
}

uint8_t pic_pair_read(struct pic_pair *pair, uint16_t port)
{
    unsigned chip = port >> 7 & 1u;
    struct pic *pic = &pair->chips[chip];

    if (port == ELCR_MASTER_PORT || port == ELCR_SLAVE_PORT) {
        return pair->chips[port & 1].elcr;
    }
    if (pic->poll) {
        return poll(pair, chip);
    }
    if ((port & 1) != 0) {
        return pic->imr;
    }
    return pic->read_isr ? pic->isr : pic->irr;
}

/* --- The row --- */

static bool read_at(void *state, struct bus_access *access)
{
    access->value = pic_pair_read(state, (uint16_t)access->at);
    return true;
}

static bool write_at(void *state, const struct bus_access *access)
{
    pic_pair_write(state, (uint16_t)access->at, (uint8_t)access->value);
    return true;
}

/* A mask, which no other device has to do with. */
static bool quick_read_at(void *state, uint64_t at, uint64_t now, uint8_t *value)
{
    const struct pic_pair *pair = state;
    const struct pic *pic = &pair->chips[at >> 7 & 1u];

    (void)now;
    if ((at != MASTER_PORT + 1 && at != SLAVE_PORT + 1) || pic->poll) {
        return false;
    }
    *value = pic->imr;
    return true;
}

static void reset(void *state, const struct bus_environment *environment, uint64_t now)
{
    struct pic_pair *pair = state;

    (void)now;
    pic_pair_reset(pair);
    if (environment->config->bios_interrupts) {
        pair->chips[MASTER].imr = (uint8_t)~BIOS_OPEN;
    }
}

const struct bus_row pic_row = {
    .name = "8259",
    BUS_RANGES(BUS_PORTS(MASTER_PORT, 2), BUS_PORTS(SLAVE_PORT, 2), BUS_PORTS(ELCR_MASTER_PORT, 2)),
    .read = read_at,
    .write = write_at,
    .quick_read = quick_read_at,
    .reset = reset,
    .lines = {BUS_LINE_INTR},
    .line_count = 1,
    BUS_STATE(struct pic_pair, signals),
};
