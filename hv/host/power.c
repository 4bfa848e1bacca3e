/* SPDX-License-Identifier: MIT */
#include "hv/host/power.h"

#include "hv/base/log.h"
#include "hv/console/console.h"
#include "hv/host/host_acpi.h"
#include "hv/host/tsc.h"
#include "hv/x86/insn.h"

/* PM1 control register. ACPI 6.5 4.8.3.2.1, table 4.14. */
#define PM1_SCI_ENABLE (1u << 0)
#define PM1_SLEEP_TYPE(type) ((uint16_t)((type & 7u) << 10))
#define PM1_SLEEP_TYPE_MASK (7u << 10)
#define PM1_SLEEP_ENABLE (1u << 13)
#define ACPI_ENABLE_WAIT_US 300000u
#define POWER_WAIT_US 1000000u /* after each attempt, before the next one */

/* Sleep control register of hardware-reduced machines. ACPI 6.5 4.8.3.7, table 4.20. */
#define SLEEP_CONTROL_TYPE(type) ((uint8_t)((type & 7u) << 2))
#define SLEEP_CONTROL_ENABLE (1u << 5)

/* Emulators without ACPI. Bochs: the string "Shutdown"; QEMU's and Bochs's older PM base: S5 is type 0 there. */
#define BOCHS_SHUTDOWN_PORT 0x8900u
#define PIIX4_PM1_CONTROL_PORT 0xb004u

/* Reset control register of PC chipsets: full reset, CPU reset, in this order. Intel ICH10 data sheet, 13.7.5. */
#define RESET_CONTROL_PORT 0xcf9u
#define RESET_CONTROL_FULL 0x02u
#define RESET_CONTROL_GO 0x06u
#define KEYBOARD_COMMAND_PORT 0x64u
#define KEYBOARD_PULSE_RESET 0xfeu

/* Status and enable registers of PM1. ACPI 6.5 4.8.3.1.1, table 4.11. */
#define PM1_POWER_BUTTON (1u << 8)
#define BUTTON_POLL_US 100000u

static const struct host_acpi *acpi;
static bool button_is_ours;

void power_init(const struct host_acpi *tables)
{
    acpi = tables;
}

/* Firmware hands the machine over in legacy mode on most boards: PM1 works only after ACPI was enabled. False: it did
 * not answer. */
static bool enable_acpi(void)
{
    uint64_t end = tsc_after_us(ACPI_ENABLE_WAIT_US);

    if (acpi->smi_command_port == 0 || acpi->acpi_enable_value == 0 || acpi->pm1a_control_port == 0 ||
        (insn_in16(acpi->pm1a_control_port) & PM1_SCI_ENABLE) != 0) {
        return true;
    }
    insn_out8(acpi->smi_command_port, acpi->acpi_enable_value);
    while ((insn_in16(acpi->pm1a_control_port) & PM1_SCI_ENABLE) == 0) {
        if (insn_rdtsc() >= end) {
            return false;
        }
        insn_pause();
    }
    return true;
}

/* The button alone is enabled: some chipsets (QEMU's) show no status without. Its interrupt ends at the I/O APIC, which
 * is masked; the status is polled. Written ones clear a status. */
static void enable_button(uint16_t port)
{
    if (port != 0) {
        insn_out16(port, PM1_POWER_BUTTON);
        insn_out16((uint16_t)(port + acpi->pm1_event_bytes / 2), PM1_POWER_BUTTON);
    }
}

void power_take_button(void)
{
    if (acpi == NULL || !acpi->has_power_button) {
        log_info("power button: none that ACPI's registers show; holding it switches the machine off");
        return;
    }
    if (!enable_acpi()) {
        log_warning("power button: the firmware does not switch ACPI on (SMI command port 0x%x); a press does what the "
                    "firmware wants",
                    acpi->smi_command_port);
        return;
    }
    enable_button(acpi->pm1a_event_port);
    enable_button(acpi->pm1b_event_port);
    button_is_ours = true;
    log_info("power button: a press ends the guests in an orderly way, a second one at once");
}

static bool take_press(uint16_t port)
{
    if (port == 0 || (insn_in16(port) & PM1_POWER_BUTTON) == 0) {
        return false;
    }
    insn_out16(port, PM1_POWER_BUTTON);
    return true;
}

bool power_button_pressed(void)
{
    bool a = button_is_ours && take_press(acpi->pm1a_event_port);
    bool b = button_is_ours && take_press(acpi->pm1b_event_port);

    return a || b;
}

uint64_t power_button_deadline(uint64_t now)
{
    return button_is_ours ? now + tsc_ticks_of_us(BUTTON_POLL_US) : UINT64_MAX;
}

static void sleep_by_port(uint16_t port, uint8_t type)
{
    uint16_t value = (uint16_t)(insn_in16(port) & ~(PM1_SLEEP_TYPE_MASK | PM1_SLEEP_ENABLE));

    insn_out16(port, (uint16_t)(value | PM1_SLEEP_TYPE(type) | PM1_SLEEP_ENABLE));
}

static void write_address(const struct acpi_address *address, uint8_t value)
{
    if (address->space == ACPI_SPACE_PORT) {
        insn_out8((uint16_t)address->address, value);
    } else if (address->space == ACPI_SPACE_MEMORY) {
        *(volatile uint8_t *)(uintptr_t)address->address = value;
    }
}

static void off_by_acpi(void)
{
    if (acpi->hardware_reduced) {
        write_address(&acpi->sleep_control, (uint8_t)(SLEEP_CONTROL_TYPE(acpi->sleep_type_a) | SLEEP_CONTROL_ENABLE));
    } else if (acpi->pm1a_control_port != 0) {
        (void)enable_acpi();
        sleep_by_port(acpi->pm1a_control_port, acpi->sleep_type_a);
        if (acpi->pm1b_control_port != 0) {
            sleep_by_port(acpi->pm1b_control_port, acpi->sleep_type_b);
        }
    }
    tsc_wait_us(POWER_WAIT_US);
}

/* A UEFI machine without ACPI tables is an emulator. */
static void off_by_emulator(void)
{
    for (const char *letter = "Shutdown"; *letter != '\0'; letter++) {
        insn_out8(BOCHS_SHUTDOWN_PORT, (uint8_t)*letter);
    }
    insn_out16(PIIX4_PM1_CONTROL_PORT, PM1_SLEEP_ENABLE);
    tsc_wait_us(POWER_WAIT_US);
}

static _Noreturn void halt_forever(void)
{
    for (;;) {
        insn_cli();
        insn_hlt();
    }
}

_Noreturn void power_off(void)
{
    console_flush();
    insn_cli();
    if (acpi != NULL && acpi->has_fadt && acpi->has_sleep_s5) {
        off_by_acpi();
    } else if (acpi == NULL || !acpi->found) {
        off_by_emulator();
    }
    log_info("this machine does not let itself be switched off by software: it is safe to switch it off now");
    console_flush();
    halt_forever();
}

_Noreturn void power_reboot(void)
{
    const struct insn_table_pointer nothing = {0, 0};

    console_flush();
    insn_cli();
    if (acpi != NULL && acpi->has_reset) {
        write_address(&acpi->reset, acpi->reset_value);
        tsc_wait_us(POWER_WAIT_US);
    }
    insn_out8(RESET_CONTROL_PORT, RESET_CONTROL_FULL);
    insn_out8(RESET_CONTROL_PORT, RESET_CONTROL_GO);
    tsc_wait_us(POWER_WAIT_US);
    insn_out8(KEYBOARD_COMMAND_PORT, KEYBOARD_PULSE_RESET);
    tsc_wait_us(POWER_WAIT_US);
    insn_lidt(&nothing); /* without an IDT the next exception becomes a triple fault, which resets the CPU */
    insn_int3();
    halt_forever();
}

_Noreturn void power_halt(void)
{
    log_info("the machine is halted: it is safe to switch it off");
    console_flush();
    halt_forever();
}
