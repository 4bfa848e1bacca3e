/* SPDX-License-Identifier: MIT */
/*
 * The watchdog of Intel's 6300ESB on the PCI bus, by its registers, as a driver sets it up, feeds it and stops it. With
 * `starve` on the command line it is then not fed any more. Intel 6300ESB I/O Controller Hub Datasheet, 300641, 16
 * "Watchdog Timer".
 */
#include "tests/guests/lib/start_info.h"

const char guest_name[] = "pc-watchdog";

#define WATCHDOG_ID 0x25ab8086u
#define PCI_ADDRESS 0xcf8
#define PCI_DATA 0xcfc
#define PCI_ENABLE 0x80000000u
#define FUNCTIONS 256u
#define BAR0 0x10u
#define COMMAND 0x04u
#define COMMAND_MEMORY 2u
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

static void select_register(uint32_t of, uint32_t offset)
{
    out32(PCI_ADDRESS, PCI_ENABLE | of << 8 | (offset & ~3u));
}

static uint32_t config_read32(uint32_t of, uint32_t offset)
{
    select_register(of, offset);
    return in32(PCI_DATA);
}

static uint8_t read_lock(void)
{
    select_register(function, LOCK);
    return in8(PCI_DATA);
}

static void write_lock(uint8_t value)
{
    select_register(function, LOCK);
    out8(PCI_DATA, value);
}

static uint16_t read_config(void)
{
    select_register(function, CONFIG);
    return in16(PCI_DATA);
}

static void write_config(uint16_t value)
{
    select_register(function, CONFIG);
    out16(PCI_DATA, value);
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

static bool find(void)
{
    for (function = 0; function < FUNCTIONS; function++) {
        if (config_read32(function, 0) == WATCHDOG_ID) {
            return true;
        }
    }
    return false;
}

static bool is_to_starve(void)
{
    return start_info() != NULL && start_info_cmdline(start_info())[0] == 's';
}

void guest_main(void)
{
    CHECK(find());
    CHECK((config_read32(function, COMMAND) & COMMAND_MEMORY) != 0);
    registers = (volatile uint32_t *)(uintptr_t)(config_read32(function, BAR0) & ~0xfu);
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
