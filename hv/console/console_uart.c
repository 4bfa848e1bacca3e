/* SPDX-License-Identifier: MIT */
#include "hv/console/console_uart.h"

#include "hv/base/clock.h"
#include "hv/base/memory.h"
#include "hv/console/console_time.h"
#include "hv/console/uart_port.h"
#include "hv/x86/insn.h"

/* Registers and bits. PC16550D data sheet, 8.1 to 8.8. */
#define UART_DATA 0u          /* RBR, THR; divisor low while DLAB */
#define UART_INTERRUPTS 1u    /* IER; divisor high while DLAB */
#define UART_FIFO_CONTROL 2u  /* FCR on write, IIR on read */
#define UART_LINE_CONTROL 3u  /* LCR */
#define UART_MODEM_CONTROL 4u /* MCR */
#define UART_LINE_STATUS 5u   /* LSR */
#define UART_LCR_8N1 0x03u
#define UART_LCR_DLAB 0x80u
#define UART_FCR_ON_CLEAR 0x07u /* enable, clear both FIFOs */
#define UART_IIR_FIFO 0xc0u     /* both bits: the FIFO is there and works */
#define UART_MCR_DTR_RTS 0x03u
#define UART_LSR_DATA_READY 0x01u
#define UART_LSR_THR_EMPTY 0x20u
#define UART_LSR_IDLE 0x40u /* TEMT: FIFO and shift register are empty */
#define UART_DIVISOR_115200 1u
#define UART_FIFO_BYTES 16u
#define UART_ABSENT 0xffu /* what an empty bus reads as */

static uint8_t uart_read(const struct console_uart *uart, uint16_t reg)
{
    return port_read(&uart->port, reg);
}

static void uart_write(const struct console_uart *uart, uint16_t reg, uint8_t value)
{
    port_write(&uart->port, reg, value);
}

static void set_rate(const struct console_uart *uart)
{
    uart_write(uart, UART_LINE_CONTROL, UART_LCR_DLAB);
    uart_write(uart, UART_DATA, UART_DIVISOR_115200);
    uart_write(uart, UART_INTERRUPTS, 0);
}

void uart_open(struct console_uart *uart, const struct boot_uart *port)
{
    uart->port = *port;
    uart->head = uart->tail = 0;
    uart->full_since = 0;
    uart_write(uart, UART_INTERRUPTS, 0);
    if (!port->keep_rate) {
        set_rate(uart);
    }
    uart_write(uart, UART_LINE_CONTROL, UART_LCR_8N1);
    uart_write(uart, UART_FIFO_CONTROL, UART_FCR_ON_CLEAR);
    uart_write(uart, UART_MODEM_CONTROL, UART_MCR_DTR_RTS);
    uart->fifo = (uart_read(uart, UART_FIFO_CONTROL) & UART_IIR_FIFO) == UART_IIR_FIFO;
    uart->alive =
        uart_read(uart, UART_LINE_CONTROL) == UART_LCR_8N1 && uart_read(uart, UART_LINE_STATUS) != UART_ABSENT;
}

uint32_t uart_room(const struct console_uart *uart)
{
    return uart->alive ? UART_RING_BYTES - (uart->head - uart->tail) : UART_RING_BYTES;
}

bool uart_empty(const struct console_uart *uart)
{
    return !uart->alive || uart->head == uart->tail;
}

void uart_put(struct console_uart *uart, const char *bytes, uint32_t count)
{
    uint32_t kept = (uint32_t)min_u64(count, uart_room(uart));
    uint32_t at = uart->head % UART_RING_BYTES;
    uint32_t piece = (uint32_t)min_u64(kept, UART_RING_BYTES - at);

    if (!uart->alive) {
        return;
    }
    memcpy(&uart->ring[at], bytes, piece);
    memcpy(uart->ring, bytes + piece, kept - piece);
    uart->head += kept;
    uart->lost += count - kept;
}

/* Gives the port up where it has been full for too long. `now` may be a little older than full_since: a log line in
 * between reads the TSC itself. */
static void note_full(struct console_uart *uart, uint64_t now)
{
    if (uart->full_since == 0) {
        uart->full_since = now;
    } else if (clock_ticks_since(now, uart->full_since) > console_ticks_of_us(UART_STUCK_US)) {
        uart->alive = false;
    }
}

/* As many bytes as are there, and as the port takes. */
static void send(struct console_uart *uart, uint32_t count)
{
    uint16_t port = (uint16_t)(uart->port.base + UART_DATA);
    bool in_memory = uart->port.mmio;
    uint32_t tail = uart->tail;

    for (uint32_t end = tail + count; tail != end; tail++) {
        uint8_t byte = (uint8_t)uart->ring[tail % UART_RING_BYTES];

        if (in_memory) {
            uart_write(uart, UART_DATA, byte);
        } else {
            insn_out8(port, byte);
        }
    }
    uart->tail = tail;
}

void uart_drain(struct console_uart *uart, uint64_t now, uint32_t bytes_max)
{
    uint32_t last = uart->tail + bytes_max;

    while (!uart_empty(uart) && (int32_t)(uart->tail - last) < 0) {
        uint32_t burst = uart->fifo ? UART_FIFO_BYTES : 1;

        if ((uart_read(uart, UART_LINE_STATUS) & UART_LSR_THR_EMPTY) == 0) {
            note_full(uart, now);
            return;
        }
        uart->full_since = 0;
        send(uart, (uint32_t)min_u64(burst, uart->head - uart->tail));
    }
}

/* The last bytes are still on their way when the ring is empty: power must not go off under them. */
static void wait_idle(const struct console_uart *uart)
{
    uint64_t end = insn_rdtsc() + console_ticks_of_us(UART_STUCK_US);

    while (uart->alive && (uart_read(uart, UART_LINE_STATUS) & UART_LSR_IDLE) == 0 && insn_rdtsc() < end) {
        insn_pause();
    }
}

void uart_flush(struct console_uart *uart)
{
    while (!uart_empty(uart)) {
        uart_drain(uart, insn_rdtsc(), UART_RING_BYTES);
        insn_pause();
    }
    wait_idle(uart);
}

bool uart_receive(struct console_uart *uart, uint8_t *byte)
{
    uint8_t status = uart->alive ? uart_read(uart, UART_LINE_STATUS) : UART_ABSENT;

    if (status == UART_ABSENT || (status & UART_LSR_DATA_READY) == 0) {
        return false;
    }
    *byte = uart_read(uart, UART_DATA);
    return true;
}
