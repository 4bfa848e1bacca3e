/* SPDX-License-Identifier: MIT */
/* A register of a 16550, wherever it is: I/O ports, bytes in memory, or words of 32 bits in memory. */
#ifndef HV_CONSOLE_UART_PORT_H
#define HV_CONSOLE_UART_PORT_H

#include "hv/boot_info.h"
#include "hv/x86/insn.h"

static inline volatile void *port_address(const struct boot_uart *port, uint32_t reg)
{
    return (volatile void *)(uintptr_t)(port->base + (uint64_t)reg * port->stride);
}

static inline uint8_t port_read(const struct boot_uart *port, uint32_t reg)
{
    if (!port->mmio) {
        return insn_in8((uint16_t)(port->base + reg));
    }
    if (port->stride == sizeof(uint32_t)) {
        return (uint8_t) * (volatile uint32_t *)port_address(port, reg);
    }
    return *(volatile uint8_t *)port_address(port, reg);
}

static inline void port_write(const struct boot_uart *port, uint32_t reg, uint8_t value)
{
    if (!port->mmio) {
        insn_out8((uint16_t)(port->base + reg), value);
    } else if (port->stride == sizeof(uint32_t)) {
        *(volatile uint32_t *)port_address(port, reg) = value;
    } else {
        *(volatile uint8_t *)port_address(port, reg) = value;
    }
}

#endif
