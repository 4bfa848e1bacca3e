/* SPDX-License-Identifier: MIT */
/*
 * 16550s, polled: whether one answers, and bytes out. The hypervisor has its own driver (hv/console/console.c); this
 * one is for sentences of the UEFI stage where the firmware's console does not reach the serial line.
 */
#include "hv/console/uart_port.h"

#include "efi/efi_stage.h"

/* National Semiconductor PC16550D data sheet, table II "Summary of Registers". */
enum uart_register {
    UART_DATA = 0,
    UART_INTERRUPT_ENABLE = 1,
    UART_FIFO_CONTROL = 2,
    UART_LINE_CONTROL = 3,
    UART_MODEM_CONTROL = 4,
    UART_LINE_STATUS = 5,
    UART_SCRATCH = 7,
};

#define LINE_CONTROL_8N1 0x03u
#define LINE_CONTROL_DIVISOR 0x80u
#define FIFO_ON_AND_EMPTY 0x07u
#define MODEM_DTR_RTS 0x03u
#define STATUS_CAN_SEND 0x20u
#define DIVISOR_115200 1u

/* At 9600 baud a byte takes 1 ms; a port read takes at least about 100 ns. */
#define SEND_POLLS_MAX 100000u

const struct boot_uart efi_com1 = {.base = 0x3f8, .stride = 1};

/* The scratch register does nothing but keep what is written: a port without a UART reads all ones. */
bool efi_uart_answers(const struct boot_uart *port)
{
    uint8_t before = port_read(port, UART_SCRATCH);
    bool kept = true;

    for (uint32_t i = 0; i < 2; i++) {
        uint8_t pattern = i == 0 ? 0x5a : 0xa5;

        port_write(port, UART_SCRATCH, pattern);
        kept = kept && port_read(port, UART_SCRATCH) == pattern;
    }
    port_write(port, UART_SCRATCH, before);
    return kept;
}

void efi_uart_set_up(const struct boot_uart *port)
{
    port_write(port, UART_INTERRUPT_ENABLE, 0);
    port_write(port, UART_LINE_CONTROL, LINE_CONTROL_8N1 | LINE_CONTROL_DIVISOR);
    port_write(port, UART_DATA, DIVISOR_115200);
    port_write(port, UART_INTERRUPT_ENABLE, 0); /* the divisor's high byte while the latch is open */
    port_write(port, UART_LINE_CONTROL, LINE_CONTROL_8N1);
    port_write(port, UART_FIFO_CONTROL, FIFO_ON_AND_EMPTY);
    port_write(port, UART_MODEM_CONTROL, MODEM_DTR_RTS);
}

/* Gives up on a UART that does not become ready: a message is not worth a hang. */
static bool port_wait(const struct boot_uart *port)
{
    for (uint32_t i = 0; i < SEND_POLLS_MAX; i++) {
        if ((port_read(port, UART_LINE_STATUS) & STATUS_CAN_SEND) != 0) {
            return true;
        }
    }
    return false;
}

void efi_uart_write(const struct boot_uart *port, const char *string)
{
    for (const char *from = string; *from != 0; from++) {
        if (!port_wait(port)) {
            return;
        }
        port_write(port, UART_DATA, (uint8_t)*from);
    }
}
