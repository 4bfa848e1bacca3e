/* SPDX-License-Identifier: MIT */
/*
 * A device of the machine in its guest's hands: the input is the device's configuration space, with what of it stays as
 * it is when all ones are written, and then the guest's accesses. Whatever the device says of itself:
 *   reading it ends and changes nothing but its command register; BARs are powers of two at multiples of themselves;
 *   the pages with its messages lie within the BAR that has them.
 * Whatever the guest does: of configuration space it changes the command register, without decoding more than has a
 * place, and the control words of its messages; accesses go to its BARs, and to none of its messages' bytes.
 */
#include "hv/base/check.h"
#include "hv/base/memory.h"
#include "hv/host/pci_device.h"

#define BYTES 256u
#define READS_MAX 1000u
#define MSIX_ENTRY_BYTES 16u
#define CONTROL 2u
#define LINE_VECTOR 0x31u
#define LINE_SOURCE 16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    uint8_t config[BYTES], fixed[4 * PCI_BARS];
    uint32_t reads;
    bool in_use; /* its guest runs */
} machine;

static struct pci_assigned_facts facts;
static struct pci_assigned device;
static const uint8_t *input;
static size_t left;

static uint64_t next(unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes && left != 0; i++, left--) {
        value = value << 8 | *input++;
    }
    return value;
}

static uint32_t config_read(void *context, struct pci_address address, uint32_t offset)
{
    uint32_t value;

    (void)context;
    (void)address;
    CHECK_OP(offset + 4, <=, BYTES);
    CHECK_OP(offset % 4, ==, 0);
    CHECK_OP(++machine.reads, <, READS_MAX);
    memcpy(&value, &machine.config[offset], sizeof(value));
    return value;
}

static void config_write(void *context, struct pci_address address, uint32_t offset, uint32_t bytes, uint32_t value)
{
    (void)context;
    (void)address;
    CHECK_OP(offset + bytes, <=, BYTES);
    if (machine.in_use) {
        CHECK(offset == PCI_COMMAND || (facts.msix != 0 && offset == facts.msix + CONTROL) ||
              (facts.msi != 0 && offset == facts.msi + CONTROL));
        CHECK_OP(bytes, ==, 2);
        CHECK(offset != PCI_COMMAND || (value & ~(uint32_t)facts.decode & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY)) == 0);
    }
    for (uint32_t i = 0; i < bytes; i++) {
        uint32_t bar = offset + i - PCI_BAR(0);
        uint8_t fixed = bar < sizeof(machine.fixed) ? machine.fixed[bar] : 0;
        uint8_t *byte = &machine.config[offset + i];

        *byte = (uint8_t)((*byte & fixed) | (value >> 8 * i & ~fixed));
    }
}

static void check_place(bool port, uint64_t at, uint64_t size)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        const struct pci_assigned_bar *bar = &facts.bars[i];
        uint64_t offset = at - bar->at;

        if (bar->bar.kind != PCI_BAR_NONE && port == (bar->bar.kind == PCI_BAR_PORTS) && offset < bar->bar.bytes &&
            offset + size <= bar->bar.bytes &&
            (facts.msix == 0 || i != facts.msix_bar || offset + size <= facts.msix_table ||
             offset >= facts.msix_table + (uint64_t)facts.msix_count * MSIX_ENTRY_BYTES)) {
            return;
        }
    }
    CHECK(false); /* in none of its BARs */
}

static uint64_t bar_read(void *context, bool port, uint64_t at, uint8_t size)
{
    (void)context;
    check_place(port, at, size);
    return next(size);
}

static void bar_write(void *context, bool port, uint64_t at, uint8_t size, uint64_t value)
{
    (void)context;
    (void)value;
    check_place(port, at, size);
}

static const struct pci_access access = {NULL, config_read, config_write};
static bool is_there(void *context, const struct pci_assigned_facts *of)
{
    (void)context;
    (void)of;
    return next(1) != 0;
}

static void line_open(void *context, uint8_t vector)
{
    (void)context;
    CHECK_OP(vector, ==, LINE_VECTOR);
}

static const struct pci_assigned_io io = {NULL, config_write, bar_read, bar_write, is_there, line_open};

static const uint8_t rom[4096]; /* zeroes, and written never */

static void check_bars(void)
{
    uint64_t start, end;

    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_assigned_bar *bar = &facts.bars[i];

        if (bar->bar.kind == PCI_BAR_NONE) {
            CHECK(!pci_assigned_msix_pages(&facts, i, &start, &end));
            continue;
        }
        CHECK_OP(bar->bar.bytes, >=, bar->bar.kind == PCI_BAR_PORTS ? 4 : 16);
        CHECK_OP(bar->bar.bytes & (bar->bar.bytes - 1), ==, 0);
        CHECK_OP(bar->at % bar->bar.bytes, ==, 0);
        CHECK(bar->bar.kind != PCI_BAR_PORTS || bar->at != 0);
        if (pci_assigned_msix_pages(&facts, i, &start, &end)) {
            CHECK_OP(start, <, end);
            CHECK_OP(end, <=, bar->bar.bytes);
        }
    }
}

/* A machine that its firmware has set up. One whose registers have no place is refused (hv/guest/assigned.c). */
static bool make_device(void)
{
    static const struct pci_address place = {0, 2, 0, 0};
    uint8_t before[BYTES];

    memset(&machine, 0, sizeof(machine));
    for (uint32_t i = 0; i < BYTES; i++) {
        machine.config[i] = (uint8_t)next(1);
    }
    for (uint32_t i = 0; i < sizeof(machine.fixed); i++) {
        machine.fixed[i] = (uint8_t)next(1);
    }
    memcpy(before, machine.config, BYTES);
    if (pci_device_read(&access, place, &facts) != STATUS_OK) {
        return false;
    }
    memcpy(&before[PCI_COMMAND], &machine.config[PCI_COMMAND], 2);
    CHECK_OP(memcmp(before, machine.config, BYTES), ==, 0);
    check_bars();
    facts.rom = rom;
    facts.rom_bytes = (next(1) & 1) != 0 ? sizeof(rom) : 0;
    for (unsigned i = 0; i < PCI_BARS; i++) {
        if (facts.bars[i].bar.kind != PCI_BAR_NONE && facts.bars[i].at == 0) {
            return false;
        }
    }
    return facts.msi != 0 || facts.msix != 0;
}

static void read_rom(uint64_t offset, uint8_t size)
{
    struct bus_range range = pci_bar_range(&device.function, PCI_ROM);

    CHECK(range.bytes == 0 || (range.bytes == facts.rom_bytes && range.first % range.bytes == 0));
    if (facts.rom_bytes != 0) {
        offset %= facts.rom_bytes - size + 1;
        pci_bar_write(&device.function, PCI_ROM, offset, size, ~0ULL);
        CHECK(device.gone || pci_bar_read(&device.function, PCI_ROM, offset, size) == 0);
    }
}

static void act(void)
{
    static const uint8_t sizes[] = {1, 2, 4, 8};
    uint8_t size = sizes[next(1) & 3], word = size < 4 ? size : 4;
    unsigned bar = (unsigned)next(1) % PCI_BARS;
    uint64_t bytes = facts.bars[bar].bar.bytes, offset = next(4);
    bool reaches =
        facts.bars[bar].bar.kind != PCI_BAR_NONE && size <= (facts.bars[bar].bar.kind == PCI_BAR_PORTS ? 4 : 8);
    struct apic_message message;

    switch (next(1) & 15) {
    case 0:
    case 1:
        pci_config_write(&device.function, offset & 0xfff, word, (uint32_t)next(4));
        break;
    case 2:
        (void)pci_config_read(&device.function, offset & 0xfff, word);
        read_rom(offset, size);
        break;
    case 3:
        device.incoming |= (uint32_t)next(4);
        pci_assigned_carry(&device);
        (void)pci_take_message(&device.function, &message);
        break;
    case 4:
    case 5:
        if (reaches && offset % bytes + size <= bytes) {
            (void)pci_bar_read(&device.function, bar, offset % bytes, size);
        }
        break;
    case 6:
        pci_assigned_row.outside_came(&device, LINE_SOURCE);
        break;
    case 7:
        pci_assigned_row.line_ended(&device);
        CHECK(!pci_intx_asserted(&device.function));
        break;
    default:
        if (reaches && offset % bytes + size <= bytes) {
            pci_bar_write(&device.function, bar, offset % bytes, size, next(8));
        }
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input = data;
    left = size;
    if (!make_device()) {
        return 0;
    }
    device = (struct pci_assigned){.facts = &facts,
                                   .io = &io,
                                   .vectors = 1 + next(1) % PCI_MSIX_MAX,
                                   .line_source = LINE_SOURCE,
                                   .line_vector = (next(1) & 1) * LINE_VECTOR};
    pci_assigned_init(&device);
    machine.in_use = true;
    while (left != 0) {
        act();
    }
    return 0;
}
