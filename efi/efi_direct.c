/* SPDX-License-Identifier: MIT */
/*
 * Devices of the machine that guests may have: what of it is the hypervisor's, for the rules of config/config_direct.c
 * and for machine.txt; and the consoles that let go of what a guest has.
 */
#include "efi/efi_stage.h"

#include "hv/iommu/dmar.h"
#include "hv/iommu/ivrs.h"

#define COM2_PORT 0x2f8u
#define UART_PORTS 8u
#define LEGACY_END 0x400u           /* COM1 to COM4 are below it: the config's own rules speak of them */
#define PM_BLOCK 128u               /* a chipset's power management is in one such block. ICH9 13.8.3 */
#define IVRS_UNIT_BYTES (512 * KIB) /* with its counters. AMD IOMMU 3.4, table 60 "MMIO Registers" */
#define DMAR_UNIT_BYTES (8 * KIB)   /* and its fault and invalidation registers. VT-d 11.4 */

/* Some 20 KiB of what the firmware says of IOMMUs, too large for its stack. */
static struct dmar dmar;
static struct ivrs ivrs;

static void take(struct config_machine *machine, enum config_taken_kind kind, bool ports, uint64_t start,
                 uint64_t bytes)
{
    if (start != 0 && bytes != 0 && machine->taken_count < CONFIG_TAKEN_MAX) {
        machine->taken[machine->taken_count++] = (struct config_taken){kind, ports, start, start + bytes};
    }
}

static void take_pages(struct config_machine *machine, enum config_taken_kind kind, uint64_t start, uint64_t bytes)
{
    uint64_t first = align_down(start, PAGE_BYTES);

    take(machine, kind, false, first, start == 0 ? 0 : align_up(start + bytes, PAGE_BYTES) - first);
}

static void take_power(struct config_machine *machine, const struct host_acpi *acpi)
{
    const uint16_t ports[] = {acpi->pm1a_event_port, acpi->pm1b_event_port, acpi->pm1a_control_port,
                              acpi->pm1b_control_port, acpi->pm_timer_port};

    for (uint32_t i = 0; i < ARRAY_COUNT(ports); i++) {
        take(machine, TAKEN_PM, true, align_down(ports[i], PM_BLOCK), PM_BLOCK);
    }
    take(machine, TAKEN_PM, true, acpi->smi_command_port, 2);
    if (acpi->has_reset && acpi->reset.space == ACPI_SPACE_PORT) {
        take(machine, TAKEN_RESET, true, acpi->reset.address, 1);
    } else if (acpi->has_reset && acpi->reset.space == ACPI_SPACE_MEMORY) {
        take_pages(machine, TAKEN_RESET, acpi->reset.address, 8);
    }
    if (acpi->sleep_control.space == ACPI_SPACE_MEMORY) {
        take_pages(machine, TAKEN_PM, acpi->sleep_control.address, 8);
    }
}

static void take_uarts(struct config_machine *machine, const struct boot_info *info)
{
    for (uint32_t i = 0; i < info->uart_count; i++) {
        const struct boot_uart *uart = &info->uarts[i];

        if (uart->mmio) {
            take_pages(machine, TAKEN_SERIAL, uart->base, (uint64_t)UART_PORTS * uart->stride);
        } else if (uart->base >= LEGACY_END) {
            take(machine, TAKEN_SERIAL, true, uart->base, UART_PORTS);
        }
    }
}

static void take_iommus(struct config_machine *machine, const struct host_acpi *acpi)
{
    if (acpi->dmar.base != NULL && dmar_read(&dmar, acpi->dmar) == STATUS_OK) {
        for (uint32_t i = 0; i < dmar.unit_count; i++) {
            take_pages(machine, TAKEN_IOMMU, dmar.units[i].base, DMAR_UNIT_BYTES);
        }
    }
    if (acpi->ivrs.base != NULL && ivrs_read(&ivrs, acpi->ivrs) == STATUS_OK) {
        for (uint32_t i = 0; i < ivrs.unit_count; i++) {
            take_pages(machine, TAKEN_IOMMU, ivrs.units[i].base, IVRS_UNIT_BYTES);
        }
    }
}

void efi_direct_machine(const struct efi_stage *stage, struct config_machine *machine)
{
    const struct host_acpi *acpi = &stage->acpi;
    const struct boot_framebuffer *screen = &stage->info->framebuffer;

    machine->map = &stage->map;
    machine->devices_known = true;
    machine->has_com2 = stage->has_com2;
    machine->keyboard_known = true;
    machine->has_keyboard = host_acpi_may_have_8042(acpi);
    take_power(machine, acpi);
    take_uarts(machine, stage->info);
    for (uint32_t i = 0; i < acpi->ioapic_count; i++) {
        take_pages(machine, TAKEN_IOAPIC, acpi->ioapics[i], PAGE_BYTES);
    }
    for (uint32_t i = 0; i < acpi->ecam_count; i++) {
        const struct acpi_ecam *ecam = &acpi->ecam[i];

        take(machine, TAKEN_ECAM, false, ecam->base + ecam->bus_first * MIB,
             (ecam->bus_last - ecam->bus_first + 1ULL) * MIB);
    }
    take_iommus(machine, acpi);
    if (screen->format != BOOT_PIXEL_NONE) {
        machine->screen = (struct config_screen){screen->base, (uint64_t)screen->stride_pixels *
                                                                   screen->bytes_per_pixel * screen->height};
        take_pages(machine, TAKEN_SCREEN, screen->base, machine->screen.bytes);
    }
}

void efi_direct_find(struct efi_stage *stage)
{
    for (uint32_t i = 0; i < stage->info->uart_count; i++) {
        stage->has_com2 = stage->has_com2 || (!stage->info->uarts[i].mmio && stage->info->uarts[i].base == COM2_PORT);
    }
}

void efi_direct_let_go(struct efi_stage *stage)
{
    struct boot_info *info = stage->info;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < info->uart_count; i++) {
        const struct boot_uart uart = info->uarts[i];

        if (!uart.mmio &&
            config_ports_given(&info->config, (uint16_t)uart.base, (uint16_t)(uart.base + UART_PORTS - 1))) {
            efi_say(stage, "Plinth: the serial port at 0x%x is a guest's: the console lets go of it",
                    (uint32_t)uart.base);
        } else {
            info->uarts[kept++] = uart;
        }
    }
    info->uart_count = kept;
    if (config_keyboard_guest(&info->config) != NULL) {
        efi_say(stage, "Plinth: the keyboard is a guest's from now on: the console lets go of it");
    }
    if (config_framebuffer_guest(&info->config) != NULL) {
        efi_say(stage, "Plinth: the screen is a guest's from now on: the console lets go of it, and of the keyboard");
        info->config.console_screen = false;
    }
}
