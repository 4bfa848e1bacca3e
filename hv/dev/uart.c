/* SPDX-License-Identifier: MIT */
/*
 * The 16550A. See uart.h for what is different from real time: sending takes none.
 *
 * The THRE interrupt is an event, not a level (PC16550D 8.4, 8.6.2, table IV): it is raised when the transmitter runs
 * empty, and when it is enabled while the transmitter is empty; it is lowered by reading IIR when IIR names it, and by
 * writing a byte. `thre_event` is that flip-flop. Stock Linux sends by this interrupt.
 *
 * The IRQ line does not depend on OUT2, which leads it through a gate on a PC's board: decision 37.
 */
#include "hv/dev/uart.h"

#include "hv/base/memory.h"
#include "hv/dev/platform_config.h"
#include "hv/dev/timebase.h"

enum uart_register {
    UART_DATA = 0, /* and divisor low */
    UART_IER = 1,  /* and divisor high */
    UART_IIR = 2,  /* FCR on writes */
    UART_LCR = 3,
    UART_MCR = 4,
    UART_LSR = 5,
    UART_MSR = 6,
    UART_SCR = 7,
};

/* PC16550D table II "Summary of Registers", and 8.1 to 8.9. */
#define IER_RX 0x01u
#define IER_THRE 0x02u
#define IER_LINE 0x04u
#define IER_MODEM 0x08u
#define IER_BITS 0x0fu
#define IIR_NONE 0x01u
#define IIR_MODEM 0x00u
#define IIR_THRE 0x02u
#define IIR_RX 0x04u
#define IIR_LINE 0x06u
#define IIR_TIMEOUT 0x0cu
#define IIR_FIFOS 0xc0u
_Static_assert(((IIR_NONE | IIR_THRE | IIR_RX | IIR_LINE | IIR_TIMEOUT) & IIR_FIFOS) == 0, "the cause is bits 3:0");
#define FCR_ENABLE 0x01u
#define FCR_CLEAR_RX 0x02u
#define FCR_CLEAR_TX 0x04u
#define FCR_KEPT 0xc9u
#define LCR_BREAK 0x40u
#define LCR_DLAB 0x80u
#define MCR_LOOP 0x10u
#define MCR_BITS 0x1fu
#define LSR_DR 0x01u
#define LSR_OE 0x02u
#define LSR_FE 0x08u
#define LSR_BI 0x10u
#define LSR_THRE 0x20u
#define LSR_TEMT 0x40u
#define LSR_RX_FIFO_ERROR 0x80u
#define MSR_CTS 0x10u
#define MSR_DSR 0x20u
#define MSR_RI 0x40u
#define MSR_DCD 0x80u
#define MSR_TERI 0x04u

#define BIT_NS_AT_DIVISOR_1 8681u   /* 1 / 115200 s */
#define TIMEOUT_CHARACTERS 4u       /* PC16550D 8.11 "FIFO Interrupt Mode Operation" */
#define FULL_RING_RETRY_NS 1000000u /* how often a full console ring is tried again */

static const uint8_t rx_triggers[4] = {1, 4, 8, 14};

/* --- FIFOs --- */

static bool fifo_put(struct uart_fifo *fifo, uint8_t byte, unsigned capacity)
{
    if (fifo->count >= capacity) {
        return false;
    }
    fifo->data[(fifo->head + fifo->count) % UART_FIFO_BYTES] = byte;
    fifo->count++;
    return true;
}

static uint8_t fifo_take(struct uart_fifo *fifo)
{
    uint8_t byte = fifo->data[fifo->head];

    fifo->head = (uint8_t)((fifo->head + 1u) % UART_FIFO_BYTES);
    fifo->count--;
    return byte;
}

static bool fifos_on(const struct uart *uart)
{
    return (uart->fcr & FCR_ENABLE) != 0;
}

/* Without FIFOs there is one holding register each way. */
static unsigned fifo_capacity(const struct uart *uart)
{
    return fifos_on(uart) ? UART_FIFO_BYTES : 1;
}

static unsigned rx_trigger(const struct uart *uart)
{
    return fifos_on(uart) ? rx_triggers[uart->fcr >> 6] : 1;
}

static bool looped(const struct uart *uart)
{
    return (uart->mcr & MCR_LOOP) != 0;
}

static uint64_t character_ticks(const struct uart *uart, unsigned characters)
{
    unsigned bits = 1 + 5 + (uart->lcr & 3u) + 1 + (uart->lcr >> 2 & 1u) + (uart->lcr >> 3 & 1u);
    unsigned divisor = uart->dll | (unsigned)uart->dlm << 8;

    return clock_ns_to_ticks(uart->clock, (uint64_t)characters * bits * divisor * BIT_NS_AT_DIVISOR_1);
}

/* --- State that follows from other state --- */

static bool tx_empty(const struct uart *uart)
{
    return uart->tx.count == 0;
}

static uint8_t line_status(const struct uart *uart)
{
    uint8_t status = uart->errors;

    status |= uart->rx.count != 0 ? LSR_DR : 0;
    status |= tx_empty(uart) ? LSR_THRE | LSR_TEMT : 0;
    status |= fifos_on(uart) && (uart->errors & (LSR_BI | LSR_FE)) != 0 ? LSR_RX_FIFO_ERROR : 0;
    return status;
}

/* The highest of the pending interrupts. PC16550D table IV "Interrupt Control Functions". */
static uint8_t interrupt_id(const struct uart *uart)
{
    if ((uart->ier & IER_LINE) != 0 && uart->errors != 0) {
        return IIR_LINE;
    }
    if ((uart->ier & IER_RX) != 0 && uart->rx.count != 0 && uart->rx.count >= rx_trigger(uart)) {
        return IIR_RX;
    }
    if ((uart->ier & IER_RX) != 0 && uart->rx_timeout) {
        return IIR_TIMEOUT;
    }
    if ((uart->ier & IER_THRE) != 0 && uart->thre_event) {
        return IIR_THRE;
    }
    if ((uart->ier & IER_MODEM) != 0 && uart->msr_delta != 0) {
        return IIR_MODEM;
    }
    return IIR_NONE;
}

/* In loopback the modem inputs are the outputs: CTS = RTS, DSR = DTR, RI = OUT1, DCD = OUT2. PC16550D 8.7. */
static uint8_t modem_inputs(const struct uart *uart)
{
    if (!looped(uart)) {
        return MSR_CTS | MSR_DSR | MSR_DCD; /* a console that is always ready */
    }
    return (uint8_t)(((uart->mcr & 0x02u) << 3) | ((uart->mcr & 0x01u) << 5) | ((uart->mcr & 0x04u) << 4) |
                     ((uart->mcr & 0x08u) << 4));
}

static void update(struct uart *uart, uint64_t now)
{
    uart->signals.lines = interrupt_id(uart) != IIR_NONE;
    uart->signals.deadline = (uart->ier & IER_RX) != 0 ? uart->rx_timeout_at : DEADLINE_NONE;
    if (!tx_empty(uart)) {
        uart->signals.deadline =
            min_u64(uart->signals.deadline, now + clock_ns_to_ticks(uart->clock, FULL_RING_RETRY_NS));
    }
}

/* --- Receiving --- */

bool uart_receives(const struct uart *uart)
{
    return (uart->ier & IER_RX) != 0;
}

/* Every arrival and every read of data starts the timeout again; an empty or triggered FIFO has none. */
static void restart_rx_timeout(struct uart *uart, uint64_t now)
{
    uart->rx_timeout = false;
    uart->rx_timeout_at = DEADLINE_NONE;
    if (fifos_on(uart) && uart->rx.count != 0) {
        uart->rx_timeout_at = now + character_ticks(uart, TIMEOUT_CHARACTERS);
    }
}

static void receive(struct uart *uart, uint8_t byte, uint64_t now)
{
    if (!fifo_put(&uart->rx, byte, fifo_capacity(uart))) {
        uart->errors |= LSR_OE;
        if (!fifos_on(uart)) {
            uart->rx.data[uart->rx.head] = byte; /* the holding register is overwritten, a full FIFO is not */
        }
    }
    restart_rx_timeout(uart, now);
}

static void receive_from_console(struct uart *uart, uint64_t now)
{
    uint8_t byte;

    while (uart->in != NULL && !looped(uart) && uart->rx.count < fifo_capacity(uart) &&
           byte_ring_take(uart->in, &byte)) {
        receive(uart, byte, now);
    }
}

static void run_rx_timeout(struct uart *uart, uint64_t now)
{
    if (now >= uart->rx_timeout_at) {
        uart->rx_timeout_at = DEADLINE_NONE;
        uart->rx_timeout = true;
    }
}

static uint8_t read_data(struct uart *uart, uint64_t now)
{
    uint8_t byte = 0;

    if (uart->rx.count != 0) {
        byte = fifo_take(&uart->rx);
    }
    restart_rx_timeout(uart, now);
    receive_from_console(uart, now);
    return byte;
}

/* --- Sending --- */

static bool console_put(struct uart *uart, uint8_t byte)
{
    return uart->out == NULL || byte_ring_put(uart->out, byte);
}

static void drain_tx(struct uart *uart)
{
    bool had_bytes = !tx_empty(uart);

    while (!tx_empty(uart) && console_put(uart, uart->tx.data[uart->tx.head])) {
        (void)fifo_take(&uart->tx);
    }
    if (had_bytes && tx_empty(uart)) {
        uart->thre_event = true;
    }
}

/* A byte too many for a full transmitter is lost, as on the real part. */
static void write_data(struct uart *uart, uint8_t byte, uint64_t now)
{
    uart->thre_event = false;
    if (looped(uart)) {
        receive(uart, byte, now);
        uart->thre_event = true;
        return;
    }
    (void)fifo_put(&uart->tx, byte, fifo_capacity(uart));
    drain_tx(uart);
}

/* --- Registers --- */

static void write_ier(struct uart *uart, uint8_t value)
{
    bool was_on = (uart->ier & IER_THRE) != 0;
    bool on = (value & IER_THRE) != 0;

    uart->ier = value & IER_BITS;
    if (on != was_on) {
        uart->thre_event = on && tx_empty(uart);
    }
}

static void clear_rx(struct uart *uart)
{
    uart->rx.count = 0;
    uart->errors = 0;
    uart->rx_timeout = false;
    uart->rx_timeout_at = DEADLINE_NONE;
}

static void clear_tx(struct uart *uart)
{
    if (!tx_empty(uart)) {
        uart->tx.count = 0;
        uart->thre_event = true;
    }
}

/* Switching the FIFOs on or off clears both. PC16550D 8.5. */
static void write_fcr(struct uart *uart, uint8_t value, uint64_t now)
{
    bool toggled = ((uart->fcr ^ value) & FCR_ENABLE) != 0;

    if (toggled || (value & FCR_CLEAR_RX) != 0) {
        clear_rx(uart);
    }
    if (toggled || (value & FCR_CLEAR_TX) != 0) {
        clear_tx(uart);
    }
    uart->fcr = (value & FCR_ENABLE) != 0 ? value & FCR_KEPT : 0;
    receive_from_console(uart, now);
}

static void write_lcr(struct uart *uart, uint8_t value, uint64_t now)
{
    bool break_starts = (value & ~uart->lcr & LCR_BREAK) != 0;

    uart->lcr = value;
    if (break_starts && looped(uart)) {
        receive(uart, 0, now);
        uart->errors |= LSR_BI | LSR_FE;
    }
}

/* Changed inputs set the delta bits; the ring indicator's only when it falls. */
static void write_mcr(struct uart *uart, uint8_t value, uint64_t now)
{
    uint8_t before = modem_inputs(uart);
    uint8_t changed;

    uart->mcr = value & MCR_BITS;
    changed = (uint8_t)((before ^ modem_inputs(uart)) & ~MSR_RI);
    uart->msr_delta |= changed >> 4;
    if ((before & ~modem_inputs(uart) & MSR_RI) != 0) {
        uart->msr_delta |= MSR_TERI;
    }
    receive_from_console(uart, now);
}

static void write_register(struct uart *uart, enum uart_register reg, uint8_t value, uint64_t now)
{
    switch (reg) {
    case UART_DATA:
        write_data(uart, value, now);
        break;
    case UART_IER:
        write_ier(uart, value);
        break;
    case UART_IIR:
        write_fcr(uart, value, now);
        break;
    case UART_LCR:
        write_lcr(uart, value, now);
        break;
    case UART_MCR:
        write_mcr(uart, value, now);
        break;
    case UART_LSR:
    case UART_MSR:
        break; /* read-only; the factory test of writing them is not offered */
    case UART_SCR:
        uart->scr = value;
        break;
    }
}

void uart_write(struct uart *uart, unsigned reg, uint8_t value, uint64_t now)
{
    if ((uart->lcr & LCR_DLAB) != 0 && reg <= UART_IER) {
        *(reg == UART_DATA ? &uart->dll : &uart->dlm) = value;
    } else {
        write_register(uart, (enum uart_register)(reg & 7u), value, now);
    }
    update(uart, now);
}

static uint8_t read_iir(struct uart *uart)
{
    uint8_t id = interrupt_id(uart);

    if (id == IIR_THRE) {
        uart->thre_event = false;
    }
    return id | (fifos_on(uart) ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct uart *uart)
{
    uint8_t status = line_status(uart);

    uart->errors = 0;
    return status;
}

static uint8_t read_msr(struct uart *uart)
{
    uint8_t status = modem_inputs(uart) | uart->msr_delta;

    uart->msr_delta = 0;
    return status;
}

static uint8_t read_register(struct uart *uart, enum uart_register reg, uint64_t now)
{
    switch (reg) {
    case UART_DATA:
        return read_data(uart, now);
    case UART_IER:
        return uart->ier;
    case UART_IIR:
        return read_iir(uart);
    case UART_LCR:
        return uart->lcr;
    case UART_MCR:
        return uart->mcr;
    case UART_LSR:
        return read_lsr(uart);
    case UART_MSR:
        return read_msr(uart);
    case UART_SCR:
        return uart->scr;
    }
    return 0xff;
}

bool uart_quick_status(const struct uart *uart, uint64_t now, uint8_t *value)
{
    if (!tx_empty(uart) || uart->errors != 0 || now >= uart->rx_timeout_at) {
        return false;
    }
    *value = LSR_THRE | LSR_TEMT | (uart->rx.count != 0 ? LSR_DR : 0);
    return true;
}

bool uart_quick_send(struct uart *uart, uint8_t byte)
{
    bool line_stays = (uart->ier & IER_THRE) == 0 || uart->signals.lines != 0;

    if (!line_stays || !tx_empty(uart) || (uart->lcr & LCR_DLAB) != 0 || looped(uart) || !console_put(uart, byte)) {
        return false;
    }
    uart->thre_event = true;
    return true;
}

uint8_t uart_read(struct uart *uart, unsigned reg, uint64_t now)
{
    uint8_t value;

    drain_tx(uart);
    run_rx_timeout(uart, now);
    if ((uart->lcr & LCR_DLAB) != 0 && reg <= UART_IER) {
        value = reg == UART_DATA ? uart->dll : uart->dlm;
    } else {
        value = read_register(uart, (enum uart_register)(reg & 7u), now);
    }
    update(uart, now);
    return value;
}

void uart_run(struct uart *uart, uint64_t now)
{
    drain_tx(uart);
    receive_from_console(uart, now);
    run_rx_timeout(uart, now);
    update(uart, now);
}

void uart_reset(struct uart *uart, const struct clock *clock, struct byte_ring *out, struct byte_ring *in)
{
    memset(uart, 0, sizeof(*uart));
    uart->clock = clock;
    uart->out = out;
    uart->in = in;
    uart->lcr = 3;
    uart->dll = 1;
    uart->rx_timeout_at = DEADLINE_NONE;
    uart->signals.deadline = DEADLINE_NONE;
}

/* --- The row --- */

static bool read_at(void *state, struct bus_access *access)
{
    access->value = uart_read(state, (unsigned)access->at, access->now);
    return true;
}

static bool write_at(void *state, const struct bus_access *access)
{
    uart_write(state, (unsigned)access->at, (uint8_t)access->value, access->now);
    return true;
}

static bool quick_read_at(void *state, uint64_t at, uint64_t now, uint8_t *value)
{
    return at == UART_LSR && uart_quick_status(state, now, value);
}

static bool quick_write_at(void *state, uint64_t at, uint8_t value)
{
    return at == UART_DATA && uart_quick_send(state, value);
}

static void run(void *state, uint64_t now)
{
    uart_run(state, now);
}

static void reset(void *state, const struct bus_environment *environment, uint64_t now)
{
    (void)now;
    uart_reset(state, environment->config->clock, environment->console_out, environment->console_in);
}

/* It is not for typing: what is on its other end only listens. */
static void reset_com2(void *state, const struct bus_environment *environment, uint64_t now)
{
    (void)now;
    uart_reset(state, environment->config->clock, environment->com2_out, NULL);
}

const struct bus_row com2_row = {
    .name = "16550 COM2",
    BUS_RANGES(BUS_REGISTERS(COM2_BASE, 8)),
    .read = read_at,
    .write = write_at,
    .run = run,
    .reset = reset_com2,
    .lines = {COM2_IRQ},
    .line_count = 1,
    .asleep_unheard = true,
    .presence = BUS_WITH_COM2,
    BUS_STATE(struct uart, signals),
};

const struct bus_row uart_row = {
    .name = "16550",
    BUS_RANGES(BUS_REGISTERS(UART_BASE, 8)),
    .read = read_at,
    .write = write_at,
    .quick_read = quick_read_at,
    .quick_write = quick_write_at,
    .run = run,
    .reset = reset,
    .lines = {UART_IRQ},
    .line_count = 1,
    .asleep_unheard = true,
    BUS_STATE(struct uart, signals),
};
