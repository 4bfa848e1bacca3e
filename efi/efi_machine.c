/* SPDX-License-Identifier: MIT */
/*
 * What this machine has, as far as only the firmware can say: ACPI tables, UARTs, the wall clock. None of
 * it is required; what is missing is left out of struct boot_info.
 */
#include "efi/civil_time.h"
#include "efi/efi_stage.h"
#include "hv/host/cpu_limits.h"
#include "hv/host/host_cpu.h"

static EFI_GUID acpi_20_guid = ACPI_20_TABLE_GUID;
static EFI_GUID acpi_10_guid = ACPI_TABLE_GUID;
static EFI_GUID random_guid = EFI_RNG_PROTOCOL_GUID;

#define UART_REGISTERS 8u
#define PCI_CLASS_SERIAL 0x0700u
#define PCI_SERIAL_16950 0x06u

/* UEFI 2.10, 4.6.1.1: the newer table's pointer wins over the older one's. */
static uint64_t find_rsdp(const EFI_SYSTEM_TABLE *system)
{
    uint64_t rsdp = 0;

    for (UINTN i = 0; i < system->NumberOfTableEntries; i++) {
        const EFI_CONFIGURATION_TABLE *table = &system->ConfigurationTable[i];

        if (memcmp(&table->VendorGuid, &acpi_20_guid, sizeof(EFI_GUID)) == 0) {
            return (uint64_t)(uintptr_t)table->VendorTable;
        }
        if (memcmp(&table->VendorGuid, &acpi_10_guid, sizeof(EFI_GUID)) == 0) {
            rsdp = (uint64_t)(uintptr_t)table->VendorTable;
        }
    }
    return rsdp;
}

/* Ports that wrap and the low ones of the chipset are mistakes of a table; so is memory that is not mapped. */
static bool place_is_sane(const struct boot_uart *uart)
{
    uint64_t first = uart->mmio ? MIB : 0x100;
    uint64_t end = uart->mmio ? 4 * GIB : 0x10000;

    return uart->base >= first && uart->base <= end - (uint64_t)UART_REGISTERS * uart->stride;
}

static void add_uart(struct boot_info *info, const struct boot_uart *uart)
{
    for (uint32_t i = 0; i < info->uart_count; i++) {
        if (info->uarts[i].base == uart->base && info->uarts[i].mmio == uart->mmio) {
            return;
        }
    }
    if (info->uart_count < BOOT_UARTS_MAX && place_is_sane(uart) && efi_uart_answers(uart)) {
        info->uarts[info->uart_count++] = *uart;
    }
}

/* A port that SPCR or DBG2 names. Its rate is what the firmware wants; COM1 to COM4 are a PC's, and are known
 * already. */
static void add_acpi_uart(struct boot_info *info, const struct acpi_uart *from)
{
    struct boot_uart uart = {.base = from->address.address, .stride = 1, .keep_rate = true};
    bool is_16550 = from->interface == ACPI_UART_16550 || from->interface == ACPI_UART_16450 ||
                    from->interface == ACPI_UART_16550_GAS;

    uart.mmio = from->address.space == ACPI_SPACE_MEMORY;
    if (uart.mmio && (from->address.bits == 32 || from->address.access == ACPI_ACCESS_DWORD)) {
        uart.stride = 4;
    }
    if (is_16550 && (uart.mmio || from->address.space == ACPI_SPACE_PORT)) {
        add_uart(info, &uart);
    }
}

/* PCI Code and ID Assignment 1.11, 1.8: class 07, subclass 00, interface 00 to 06 is a 16450 or better. A base address
 * register: bit 0 is 1 for ports; bits 2:1 are 2 where an address has 64 bits. PCI Local Bus
 * Specification 3.0, 6.2.5.1. */
static void add_pci_uart(void *context, const struct efi_pci_function *function)
{
    uint32_t bar = function->bars[0];
    struct boot_uart uart = {.stride = 1, .keep_rate = true};

    if (function->class_code >> 8 != PCI_CLASS_SERIAL || (function->class_code & 0xff) > PCI_SERIAL_16950) {
        return;
    }
    uart.mmio = (bar & 1) == 0;
    uart.base = bar & (uart.mmio ? ~0xfu : ~0x3u);
    if (uart.base == 0 || (uart.mmio && (bar & 6) == 4 && function->bars[1] != 0)) {
        return;
    }
    efi_pci_open(function);
    add_uart(context, &uart);
}

/* Where a PC has COM1 to COM4, what the firmware's tables name, and cards. */
static void find_uarts(struct efi_stage *stage)
{
    static const uint16_t legacy[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};

    for (uint32_t i = 0; i < ARRAY_COUNT(legacy); i++) {
        add_uart(stage->info, &(struct boot_uart){.base = legacy[i], .stride = 1});
    }
    for (uint32_t i = 0; i < stage->acpi.uart_count; i++) {
        add_acpi_uart(stage->info, &stage->acpi.uarts[i]);
    }
    efi_pci_find(stage);
    efi_pci_each(add_pci_uart, stage->info);
}

bool efi_machine_read(struct efi_stage *stage)
{
    if (!efi_map_snapshot(stage)) {
        return false;
    }
    stage->info->rsdp = find_rsdp(stage->system);
    if (stage->info->rsdp != 0) {
        host_acpi_read(&stage->acpi, stage->info->rsdp, 0, memory_map_top(&stage->map));
    }
    efi_screen_find(stage);
    find_uarts(stage);
    efi_direct_find(stage);
    if (stage->info->framebuffer.format == BOOT_PIXEL_NONE) {
        efi_say(
            stage,
            "Plinth: the firmware has no framebuffer (none, or one that only its own calls draw on): after the start "
            "this screen stands still, and %u serial port%s what is said.",
            stage->info->uart_count, stage->info->uart_count == 1 ? " has" : "s have");
    }
    return efi_cpus_list(stage);
}

/* Of this CPU, before anything is asked of it; others: prepare_cpu() in hv/hv_main.c. */
static void lift_limits(struct efi_stage *stage)
{
    uint32_t lifted = cpu_limits_lift();

    if (lifted != 0) {
        efi_say(stage,
                "Plinth: the firmware's set-up hides%s%s: switched on for this run; set \"Execute Disable Bit\" to "
                "on and \"Limit CPUID Maximum\" to off",
                (lifted & CPU_LIMIT_LEAVES) != 0 ? " CPUID leaves" : "",
                (lifted & CPU_LIMIT_NO_EXECUTE) != 0 ? " no-execute pages" : "");
    }
}

/* UEFI 2.10, 37.5 "Random Number Generator Protocol". It is one source of several: hv/host/entropy.c. */
bool efi_machine_random(struct efi_stage *stage)
{
    bool wanted = false;
    void *found = NULL;

    for (uint32_t i = 0; i < stage->info->config.guest_count; i++) {
        wanted = wanted || stage->info->config.guests[i].rng;
    }
    if (wanted && !EFI_ERROR(stage->boot->LocateProtocol(&random_guid, NULL, &found)) && found != NULL) {
        EFI_RNG_PROTOCOL *random = found;

        (void)random->GetRNG(random, NULL, sizeof(stage->info->random), stage->info->random);
    }
    return true;
}

bool efi_virt_check(struct efi_stage *stage)
{
    lift_limits(stage);
    if (!virt_detect(&stage->support)) {
        return efi_fail(stage, EFI_UNSUPPORTED, "P0631: no guest can run on this CPU: %s", stage->support.missing);
    }
    return true;
}

bool efi_machine_has_code_erratum(const struct efi_stage *stage)
{
    const struct cpu_identity identity = host_cpu_identity();

    return stage->support.vendor == VIRT_VMX && !efi_machine_is_virtual(stage) &&
           cpu_errata_page_size_change(&identity, host_cpu_arch_capabilities());
}

/* UEFI 2.10, 7.5 "Miscellaneous Boot Services", Stall(). Twice, because a timer of the firmware's may come between: the
 * shorter one counts. */
#define STALL_US 2000u
#define US_PER_S 1000000u

void efi_machine_stalls(struct efi_stage *stage)
{
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t start = insn_rdtsc();
        uint64_t hz;

        if (EFI_ERROR(stage->boot->Stall(STALL_US))) {
            return;
        }
        hz = (insn_rdtsc() - start) * (US_PER_S / STALL_US);
        stage->info->stall_hz = i == 0 ? hz : min_u64(hz, stage->info->stall_hz);
    }
}

/* UEFI 2.10, 8.3 "Time Services": local time = UTC - TimeZone minutes. Without a zone it is the
 * config's word, and without that UTC. */
void efi_machine_time(struct efi_stage *stage)
{
    EFI_TIME now;
    struct boot_info *info = stage->info;
    struct civil_time civil;
    bool known;

    if (EFI_ERROR(stage->system->RuntimeServices->GetTime(&now, NULL))) {
        return;
    }
    known = now.TimeZone != EFI_UNSPECIFIED_TIMEZONE;
    civil = (struct civil_time){.year = now.Year,
                                .month = now.Month,
                                .day = now.Day,
                                .hour = now.Hour,
                                .minute = now.Minute,
                                .second = now.Second,
                                .zone_minutes = civil_zone(&info->config, known, now.TimeZone, &info->zone_guessed)};
    info->wall_clock_s = civil_to_unix(&civil);
}
