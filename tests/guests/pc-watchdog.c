/* SPDX-License-Identifier: MIT */
/*
 * The watchdog of Intel's 6300ESB on the PCI bus, by its registers, as a driver sets it up, feeds it and stops it. With
 * `starve` on the command line it is then not fed any more. Intel 6300ESB I/O Controller Hub Datasheet, 300641, 16
 * "Watchdog Timer".
 */
#include "tests/guests/lib/pci.h"
#include "tests/guests/lib/start_info.h"

const char guest_name[] = "pc-watchdog";

#define WATCHDOG_ID 0x25ab8086u
#define CONFIG 0x60u
#define CONFIG_NO_INTERRUPT 3u
#define CONFIG_1_MHZ 4u
#define LOCK 0x68u
#define LOCK_ENABLE 2u
#define RELOAD 3u /* of 32-bit words */
#define RELOAD_NOW 0x100u
#define STEPS_LONG 0xfffffu /* 17 minutes each */
#define STEPS_SHORT 100u    /* 98 ms each */
#define FEEDS 5u

static uint32_t function;
static volatile uint32_t *registers;

static uint8_t read_lock(void)
{
    pci_select(function, LOCK);
    return in8(PCI_DATA_PORT);
}

static void write_lock(uint8_t value)
{
    pci_select(function, LOCK);
    out8(PCI_DATA_PORT, value);
}

static uint16_t read_config(void)
{
    pci_select(function, CONFIG);
    return in16(PCI_DATA_PORT);
}

static void write_config(uint16_t value)
{
    pci_select(function, CONFIG);
    out16(PCI_DATA_PORT, value);
}

static void unlock(void)
{
    *(volatile uint16_t *)&registers[RELOAD] = 0x80;
    *(volatile uint16_t *)&registers[RELOAD] = 0x86;
}

static void feed(void)
{
    unlock();
    *(volatile uint16_t *)&registers[RELOAD] = RELOAD_NOW;
}

static void set_stages(uint32_t steps)
{
    for (uint32_t stage = 0; stage < 2; stage++) {
        unlock();
        registers[stage] = steps;
    }
    feed();
}

static bool is_to_starve(void)
{
    return start_info() != NULL && start_info_cmdline(start_info())[0] == 's';
}

void guest_main(void)
{
    function = pci_find(WATCHDOG_ID);
    CHECK(function < PCI_FUNCTIONS);
    CHECK((pci_read(function, PCI_COMMAND) & PCI_COMMAND_MEMORY) != 0);
    registers = (volatile uint32_t *)(uintptr_t)(pci_read(function, PCI_BAR(0)) & ~PCI_BAR_MEMORY_BITS);
    CHECK_EQUAL(read_lock(), 0);
    write_config(CONFIG_1_MHZ);
    CHECK_EQUAL(read_config(), CONFIG_1_MHZ);
    write_config(CONFIG_NO_INTERRUPT);
    set_stages(STEPS_LONG);
    write_lock(LOCK_ENABLE);
    CHECK_EQUAL(read_lock(), LOCK_ENABLE);
    for (uint32_t i = 0; i < FEEDS; i++) {
        feed();
        CHECK_EQUAL(*(volatile uint16_t *)&registers[RELOAD], 0);
    }
    write_lock(0);
    CHECK_EQUAL(read_lock(), 0);
    if (is_to_starve()) {
        print("%s: not fed any more\n", guest_name);
        set_stages(STEPS_SHORT);
        write_lock(LOCK_ENABLE);
        for (;;) {
            wait_for_interrupt();
        }
    }
}
