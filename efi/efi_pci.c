/*
 * Devices that write to memory by themselves. A network card that the firmware used, or a USB controller, may go on
 * writing into buffers that are a guest's RAM after the hand-over. So bus mastering is switched off in every function
 * that could do that: all but bridges, which only forward, and displays, whose controllers may fetch the picture from
 * memory.
 *
 * Configuration mechanism #1 reaches segment 0 with 256 buses: "PCI Local Bus Specification" 3.0, 3.2.2.3.2. Further
 * segments (large servers) are not reached.
 */
#include "efi/efi_stage.h"

#define CONFIG_ADDRESS 0xcf8u
#define CONFIG_DATA 0xcfcu
#define CONFIG_ENABLE 0x80000000u

#define PCI_BUSES 256u
#define PCI_DEVICES 32u
#define PCI_FUNCTIONS 8u
#define PCI_FOUND_MAX 1024u

/* PCI Local Bus Specification 3.0, 6.1 "Configuration Space Organization". */
#define PCI_ID 0x00u
#define PCI_COMMAND 0x04u
#define PCI_CLASS 0x08u
#define PCI_HEADER 0x0cu
#define PCI_BARS 0x10u
#define PCI_ABSENT 0xffffu
#define PCI_COMMAND_PORTS (1u << 0)
#define PCI_COMMAND_MEMORY (1u << 1)
#define PCI_COMMAND_MASTER (1u << 2)
#define PCI_CLASS_DISPLAY 0x03u
#define PCI_CLASS_BRIDGE 0x06u
#define PCI_HEADER_MANY_FUNCTIONS 0x00800000u

/* A function's address with register 0: bus [23:16], device [15:11], function [10:8]. */
static uint32_t address_of(uint32_t bus, uint32_t device, uint32_t function)
{
    return CONFIG_ENABLE | bus << 16 | device << 11 | function << 8;
}

static uint32_t config_read(uint32_t address, uint32_t offset)
{
    insn_out32(CONFIG_ADDRESS, address | offset);
    return insn_in32(CONFIG_DATA);
}

static bool is_there(uint32_t address)
{
    return (config_read(address, PCI_ID) & 0xffff) != PCI_ABSENT;
}

/* The command register is written alone: its upper neighbour, the status register, clears what is written as one. */
static void stop_master(void *context, const struct efi_pci_function *function)
{
    uint32_t address = address_of(function->bus, function->device, function->function);
    uint32_t class = function->class_code >> 16;
    uint32_t command = config_read(address, PCI_COMMAND) & 0xffff;

    (void)context;
    if (class == PCI_CLASS_DISPLAY || class == PCI_CLASS_BRIDGE || (command & PCI_COMMAND_MASTER) == 0) {
        return;
    }
    insn_out32(CONFIG_ADDRESS, address | PCI_COMMAND);
    insn_out16(CONFIG_DATA, (uint16_t)(command & ~PCI_COMMAND_MASTER));
}

/* What a look at the whole bus found: it takes milliseconds, so it is done once. */
static struct efi_pci_function functions[PCI_FOUND_MAX];
static uint32_t function_count;

static void add_function(uint32_t bus, uint32_t device, uint32_t index)
{
    uint32_t address = address_of(bus, device, index);
    uint32_t id = config_read(address, PCI_ID);
    struct efi_pci_function *function = &functions[function_count];

    if (function_count == PCI_FOUND_MAX) {
        return;
    }
    function_count++;
    *function = (struct efi_pci_function){
        .bus = bus,
        .device = device,
        .function = index,
        .vendor = id & 0xffff,
        .product = id >> 16,
        .class_code = config_read(address, PCI_CLASS) >> 8,
    };
    for (uint32_t i = 0; i < EFI_PCI_BARS; i++) {
        function->bars[i] = config_read(address, PCI_BARS + 4 * i);
    }
}

static void find_device(uint32_t bus, uint32_t device)
{
    uint32_t first = address_of(bus, device, 0);
    uint32_t count;

    if (!is_there(first)) {
        return;
    }
    count = (config_read(first, PCI_HEADER) & PCI_HEADER_MANY_FUNCTIONS) != 0 ? PCI_FUNCTIONS : 1;
    for (uint32_t function = 0; function < count; function++) {
        if (is_there(address_of(bus, device, function))) {
            add_function(bus, device, function);
        }
    }
}

void efi_pci_find(struct efi_stage *stage)
{
    EFI_TPL before = stage->boot->RaiseTPL(TPL_HIGH_LEVEL);

    for (uint32_t bus = 0; bus < PCI_BUSES; bus++) {
        for (uint32_t device = 0; device < PCI_DEVICES; device++) {
            find_device(bus, device);
        }
    }
    stage->boot->RestoreTPL(before);
}

void efi_pci_each(efi_pci_visit *visit, void *context)
{
    for (uint32_t i = 0; i < function_count; i++) {
        visit(context, &functions[i]);
    }
}

void efi_pci_open(const struct efi_pci_function *function)
{
    uint32_t address = address_of(function->bus, function->device, function->function);
    uint32_t command = config_read(address, PCI_COMMAND) & 0xffff;

    insn_out32(CONFIG_ADDRESS, address | PCI_COMMAND);
    insn_out16(CONFIG_DATA, (uint16_t)(command | PCI_COMMAND_PORTS | PCI_COMMAND_MEMORY));
}

void efi_pci_stop_masters(void)
{
    efi_pci_each(stop_master, NULL);
}
