/* SPDX-License-Identifier: MIT */
/*
 * The 16550A serial ports: COM1 at 0x3f8, IRQ 4, and where the config asks for it COM2 at 0x2f8, IRQ 3, to which
 * nothing can be typed. National Semiconductor PC16550D data sheet (TL/C/8652), June 1995.
 *
 * Sending takes no time: a byte goes into the console's ring when it is written, and the transmitter is empty again at
 * once. Only when the ring is full do bytes stay in the transmit FIFO, with THRE and TEMT reading 0, so a guest that
 * looks at THRE or waits for its interrupt loses nothing. Received bytes wait in the console's ring until the receive
 * FIFO has room, so nothing is overrun.
 */
#ifndef HV_DEV_UART_H
#define HV_DEV_UART_H

#include "hv/base/byte_ring.h"
#include "hv/base/clock.h"
#include "hv/base/types.h"
#include "hv/dev/bus.h"

#define UART_BASE 0x3f8u
#define UART_IRQ 4u
#define COM2_BASE 0x2f8u
#define COM2_IRQ 3u
#define UART_FIFO_BYTES 16u
_Static_assert(2 * UART_FIFO_BYTES <= UINT8_MAX, "head and count are bytes, and are added");

struct uart_fifo {
    uint8_t data[UART_FIFO_BYTES];
    uint8_t head; /* next to take */
    uint8_t count;
};

struct uart {
    const struct clock *clock;
    struct byte_ring *out;      /* NULL: no console, bytes vanish */
    struct byte_ring *in;       /* NULL: nothing is typed */
    struct bus_signals signals; /* line 0: the interrupt */
    uint8_t ier, fcr, lcr, mcr, scr;
    uint8_t dll, dlm;
    uint8_t errors;    /* OE, PE, FE, BI of LSR, cleared by reading it */
    uint8_t msr_delta; /* low four bits of MSR, cleared by reading it */
    bool thre_event;   /* the transmitter ran empty and the guest has not been told yet */
    bool rx_timeout;   /* bytes below the trigger level have waited for four characters' time */
    struct uart_fifo rx;
    struct uart_fifo tx;
    uint64_t rx_timeout_at; /* host TSC; DEADLINE_NONE */
};

/* 115200 8N1, FIFOs off, interrupts off: as firmware leaves it. */
void uart_reset(struct uart *uart, const struct clock *clock, struct byte_ring *out, struct byte_ring *in);

/* Whether a driver waits for received bytes by interrupt: what is typed has a reader. */
bool uart_receives(const struct uart *uart);

/* reg is the port minus 0x3f8. */
uint8_t uart_read(struct uart *uart, unsigned reg, uint64_t now);
void uart_write(struct uart *uart, unsigned reg, uint8_t value, uint64_t now);

/*
 * The two accesses of which a console makes nearly all, in a few instructions: a read of LSR, and a write of THR. They
 * keep the contract of the quick way (bus.h): false where the access would change the interrupt line, the deadline or
 * the FIFO.
 */
bool uart_quick_status(const struct uart *uart, uint64_t now, uint8_t *value);
bool uart_quick_send(struct uart *uart, uint8_t byte);

/* Moves bytes between FIFOs and rings as there is room, and the receive timeout; sets `irq` and `deadline`. */
void uart_run(struct uart *uart, uint64_t now);

/* Registers 0 to 7 at UART_BASE, and at COM2_BASE. */
extern const struct bus_row uart_row;
extern const struct bus_row com2_row;

#endif
