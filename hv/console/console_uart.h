/* SPDX-License-Identifier: MIT */
/*
 * A 16550 as a console: a large ring in front of its FIFO, drained as far as the port can take bytes at once.
 *
 * 115200 baud (where the clock is a PC's), 8 data bits, no parity, 1 stop bit. Where the FIFO works, up to 16 bytes are
 * written each time the transmitter is empty, otherwise one. A port whose transmitter stays full for UART_STUCK_US has
 * nothing behind it, or no hardware: it is given up, so that it cannot hold up the others. National Semiconductor
 * PC16550D data sheet, 8.
 */
#ifndef HV_CONSOLE_CONSOLE_UART_H
#define HV_CONSOLE_CONSOLE_UART_H

#include "hv/boot_info.h"

#define UART_RING_BYTES 32768u
#define UART_STUCK_US 200000u

struct console_uart {
    struct boot_uart port;
    bool alive;
    bool fifo;
    uint64_t full_since; /* TSC since when the transmitter took nothing though bytes wait; 0: it takes */
    uint64_t lost;       /* bytes that found the ring full */
    uint32_t head, tail; /* run freely */
    char ring[UART_RING_BYTES];
};

/* Programs the port; alive is false where nothing answers. */
void uart_open(struct console_uart *uart, const struct boot_uart *port);

/* What finds the ring full is lost, and counted. */
void uart_put(struct console_uart *uart, const char *bytes, uint32_t count);
uint32_t uart_room(const struct console_uart *uart);
bool uart_empty(const struct console_uart *uart);

/* Writes what the port takes now, about `bytes_max` bytes at most. */
void uart_drain(struct console_uart *uart, uint64_t now, uint32_t bytes_max);

/* Waits until the ring is empty or the port is given up. */
void uart_flush(struct console_uart *uart);

/* One received byte; false where there is none. */
bool uart_receive(struct console_uart *uart, uint8_t *byte);

#endif
