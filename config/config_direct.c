/* SPDX-License-Identifier: MIT */
/*
 * Devices of the machine that a guest has for itself: ports, a serial port, a device's memory, screen and keyboard.
 *
 *   ports = 0x378-0x37f                  serial = com2            keyboard = ps2
 *   mmio = 0xfed40000 4K                 mmio = 0x90000000 64K 0xf8000000 (where the guest has it)
 *
 * What belongs to the hypervisor, and what would let a guest reach it, is refused by name: first by tables, which hold
 * on every PC, then by what a machine says of itself. The rest is the user's word: that a range is one device's, and
 * that this device does not write to memory by itself where no IOMMU keeps it from that (docs/isolation.md).
 */
#include "config/config_internal.h"

#include "hv/mm/guest_layout.h"

#define PORT_MAX 0xffffu
#define COM2_FIRST 0x2f8u
#define COM2_LAST 0x2ffu
#define ADDRESS_MAX (1ULL << 46) /* as of memory: config_rules.c */

/* ---- what no guest may have ---- */

struct fixed_range {
    uint64_t first, last;
    const char *what;
    const char *instead; /* the end of the sentence; NULL: take the line out */
};

#define KEYBOARD_INSTEAD "write `keyboard = ps2`, which keeps that from it"

/* Of every PC; PIIX4 3.2 and ICH9 13.1 "I/O Map" have most of them. */
static const struct fixed_range fixed_ports[] = {
    {0x00, 0x1f, "the DMA controller, which writes to any memory", NULL},
    {0x20, 0x21, "the interrupt controllers (8259)", NULL},
    {0x2e, 0x2f, "the Super I/O's set-up, which moves devices", NULL},
    {0x40, 0x43, "the timer (8254)", NULL},
    {0x4e, 0x4f, "the Super I/O's set-up, which moves devices", NULL},
    {0x60, 0x60, "the keyboard controller, which also resets the machine", KEYBOARD_INSTEAD},
    {0x61, 0x61, "the timer's gate and the machine's errors", NULL},
    {0x64, 0x64, "the keyboard controller, which also resets the machine", KEYBOARD_INSTEAD},
    {0x70, 0x77, "the clock and CMOS memory", NULL},
    {0x81, 0x8f, "the DMA controller's pages", NULL},
    {0x92, 0x92, "a port that resets the machine", NULL},
    {0xa0, 0xa1, "the interrupt controllers (8259)", NULL},
    {0xb2, 0xb3, "the firmware's system management", NULL},
    {0xc0, 0xdf, "the DMA controller, which writes to any memory", NULL},
    {0xe9, 0xe9, "the guest's own debug port", NULL},
    {0xf4, 0xf7, "the guest's own debug port", NULL},
    {COM2_FIRST, COM2_LAST, "COM2", "write `serial = com2`, which has its interrupt, too"},
    {0x3f8, 0x3ff, "COM1, where the hypervisor has its console", NULL},
    {0x480, 0x48f, "the DMA controller's pages", NULL},
    {0x4d0, 0x4d1, "the interrupt controllers (8259)", NULL},
    {0x501, 0x504, "the guest's own debug port", NULL},
    {0x505, 0x505, "the guest's own panic device", NULL},
    {0x510, 0x51b, "QEMU's firmware configuration, which writes to any memory", NULL},
    {0x600, 0x67f, "the guest's own power management", NULL},
    {0xcd0, 0xcd7, "the chipset's power management", NULL},
    {0xcf8, 0xcff, "PCI's configuration space and the reset port", NULL},
    {0x5658, 0x5659, "an emulator's back door", NULL},
    {0x8900, 0x8900, "an emulator's power switch", NULL},
    {0xb000, 0xb0ff, "a chipset's power management", NULL},
    {GUEST_PCI_PORTS_START, GUEST_PCI_PORTS_END - 1, "where the guest's own PCI devices are", NULL},
};

static const struct fixed_range fixed_memory[] = {
    {0, MIB - 1, "the firmware's and a PC's first memory", NULL},
    {0xfec00000, 0xfec00fff, "the I/O APIC", NULL},
    {0xfed00000, 0xfed00fff, "the timer (HPET)", NULL},
    {0xfed10000, 0xfed3ffff, "the memory controller's and chipset's set-up", NULL},
    {0xfed80000, 0xfed9ffff, "the chipset's set-up and IOMMUs", NULL},
    {0xfee00000, 0xfeefffff, "the local APICs, to which interrupts are written", NULL},
    {0xff000000, 0xffffffff, "the firmware's flash memory", NULL},
};

static const struct fixed_range *fixed_in(const struct fixed_range *rows, size_t count, uint64_t first, uint64_t last)
{
    for (size_t i = 0; i < count; i++) {
        if (first <= rows[i].last && last >= rows[i].first) {
            return &rows[i];
        }
    }
    return NULL;
}

/* Places of the guest's PC that hold something already. Its RAM depends on the guest, and comes apart. */
static const struct fixed_range guest_places[] = {
    {GUEST_PCI_LOW_START, GUEST_FRAMEBUFFER_START - 1, "the guest's PCI bus", NULL},
    {GUEST_VIRTIO_MMIO_START, GUEST_IOAPIC_BASE + 0xfff, "the guest's devices and I/O APIC", NULL},
    {GUEST_HPET_BASE, GUEST_HPET_BASE + 0xfff, "the guest's HPET", NULL},
    {GUEST_LAPIC_BASE, GUEST_LAPIC_BASE + 0xfffff, "the guest's local APICs", NULL},
    {GUEST_TEST_MEMORY_START, 4 * GIB - 1, "the guest's firmware", NULL},
};

static const char *const taken_words[TAKEN_KINDS] = {
    [TAKEN_PM] = "acpi-pm",      [TAKEN_RESET] = "reset", [TAKEN_SERIAL] = "console", [TAKEN_IOAPIC] = "io-apic",
    [TAKEN_ECAM] = "pci-config", [TAKEN_IOMMU] = "iommu", [TAKEN_SCREEN] = "screen",
};

static const char *const taken_names[TAKEN_KINDS] = {
    [TAKEN_PM] = "ACPI's power management",
    [TAKEN_RESET] = "the machine's reset register",
    [TAKEN_SERIAL] = "a serial port of the hypervisor's console",
    [TAKEN_IOAPIC] = "an I/O APIC",
    [TAKEN_ECAM] = "PCI's configuration space",
    [TAKEN_IOMMU] = "an IOMMU",
    [TAKEN_SCREEN] = "the screen (`framebuffer = yes` gives it)",
};

const char *config_taken_word(enum config_taken_kind kind)
{
    return taken_words[kind];
}

/* ---- values ---- */

/* "0x378-0x37f", or one port. */
static bool read_ports(struct text text, uint64_t *first, uint64_t *last)
{
    if (!config_take_number(&text, first)) {
        return false;
    }
    *last = *first;
    text = config_trim((struct config_piece){text, {0, 0}}).text;
    if (text.length != 0 && text.start[0] == '-') {
        text = config_trim((struct config_piece){{text.start + 1, text.length - 1}, {0, 0}}).text;
        if (!config_take_number(&text, last)) {
            return false;
        }
    }
    return text.length == 0 && *first <= *last && *last <= PORT_MAX;
}

void config_read_ports(struct config_piece value, struct config_guest *guest, struct config_errors *errors)
{
    uint64_t first = 0, last = 0;

    if (!config_unquote(&value) || !read_ports(value.text, &first, &last)) {
        config_report(errors, value.position, "bad-ports",
                      "\"%.*s\" is no range of ports; write the first and the last, up to 0xffff: ports = 0x378-0x37f.",
                      TEXT_ARGS(value.text));
        return;
    }
    if (guest->ports_count == CONFIG_PORTS_MAX) {
        config_report(errors, value.position, "too-many-ranges", "A guest has at most %u `ports` lines; take one out.",
                      CONFIG_PORTS_MAX);
        return;
    }
    guest->ports[guest->ports_count++] = (struct config_ports){(uint16_t)first, (uint16_t)last, value.position};
}

/* "0xfed40000 4K", and where the guest has it. */
static bool read_mmio(struct config_piece value, struct config_mmio *mmio)
{
    struct config_piece words[3] = {{{NULL, 0}, {0, 0}}, {{NULL, 0}, {0, 0}}, {{NULL, 0}, {0, 0}}};
    size_t count = 0;

    while (value.text.length != 0 && count < ARRAY_COUNT(words)) {
        if (!config_take_word(&value, &words[count++])) {
            return false;
        }
    }
    if (count < 2 || value.text.length != 0 || !config_value_size(words[0].text, &mmio->start) ||
        !config_value_size(words[1].text, &mmio->bytes)) {
        return false;
    }
    mmio->guest_start = mmio->start;
    return count == 2 || config_value_size(words[2].text, &mmio->guest_start);
}

void config_read_mmio(struct config_piece value, struct config_guest *guest, struct config_errors *errors)
{
    struct config_mmio mmio = {.position = value.position};

    if (!config_unquote(&value) || !read_mmio(value, &mmio)) {
        config_report(
            errors, value.position, "bad-mmio",
            "\"%.*s\" is no device's memory; write its address and size: mmio = 0xfed40000 4K, and behind them "
            "where the guest has it, if not there.",
            TEXT_ARGS(value.text));
        return;
    }
    if (!is_aligned(mmio.start | mmio.bytes | mmio.guest_start, PAGE_BYTES) || mmio.bytes == 0 ||
        mmio.start > ADDRESS_MAX || mmio.bytes > ADDRESS_MAX || mmio.guest_start > ADDRESS_MAX) {
        config_report(errors, value.position, "bad-mmio",
                      "Memory comes in pages of 4K; write multiples of it, up to 64T: mmio = 0xfed40000 4K.");
        return;
    }
    if (guest->mmio_count == CONFIG_MMIO_MAX) {
        config_report(errors, value.position, "too-many-ranges", "A guest has at most %u `mmio` lines; take one out.",
                      CONFIG_MMIO_MAX);
        return;
    }
    guest->mmio[guest->mmio_count++] = mmio;
}

bool config_guest_ports(const struct config_guest *guest, uint32_t index, struct config_ports *ports)
{
    if (index < guest->ports_count) {
        *ports = guest->ports[index];
        return true;
    }
    *ports = (struct config_ports){COM2_FIRST, COM2_LAST, guest->serial_position};
    return index == guest->ports_count && guest->serial_com2;
}

/* ---- inside a guest ---- */

static void report_ports(const struct config_ports *ports, const char *what, const char *instead,
                         struct config_errors *errors)
{
    config_report(errors, ports->position, "ports-taken", "Ports 0x%x to 0x%x are no guest's: there is %s; %s.",
                  ports->first, ports->last, what, instead != NULL ? instead : "leave it out, or take the line out");
}

static void check_fixed_ports(const struct config_guest *guest, struct config_errors *errors)
{
    for (uint32_t i = 0; i < guest->ports_count; i++) {
        const struct config_ports *ports = &guest->ports[i];
        const struct fixed_range *row = fixed_in(fixed_ports, ARRAY_COUNT(fixed_ports), ports->first, ports->last);

        if (row != NULL) {
            report_ports(ports, row->what, row->instead, errors);
        }
    }
}

static void report_mmio(const struct config_mmio *mmio, const char *what, struct config_errors *errors)
{
    config_report(errors, mmio->position, "mmio-taken",
                  "Memory 0x%" PRIx64 " to 0x%" PRIx64
                  " is no guest's: there is %s; leave it out, or take the line out.",
                  mmio->start, mmio->start + mmio->bytes, what);
}

/* What the guest has at a place of its own; NULL: nothing. */
static const char *use_of_place(const struct config_guest *guest, uint64_t start, uint64_t bytes)
{
    const struct fixed_range *row = fixed_in(guest_places, ARRAY_COUNT(guest_places), start, start + bytes - 1);

    if (start < min_u64(guest->memory_bytes, GUEST_RAM_LOW_MAX) || start < MIB) {
        return "the guest's own memory";
    }
    if (start + bytes > GUEST_RAM_HIGH_START) {
        return "the guest's own memory and PCI bus";
    }
    if (guest->framebuffer && start < GUEST_FRAMEBUFFER_START + GUEST_FRAMEBUFFER_BYTES &&
        start + bytes > GUEST_FRAMEBUFFER_START) {
        return "the guest's framebuffer";
    }
    return row != NULL ? row->what : NULL;
}

static void check_place(const struct config_guest *guest, uint32_t index, struct config_errors *errors)
{
    const struct config_mmio *mmio = &guest->mmio[index];
    const char *use = use_of_place(guest, mmio->guest_start, mmio->bytes);

    for (uint32_t i = 0; i < index && use == NULL; i++) {
        if (mmio->guest_start < guest->mmio[i].guest_start + guest->mmio[i].bytes &&
            guest->mmio[i].guest_start < mmio->guest_start + mmio->bytes) {
            use = "another `mmio` line's memory";
        }
    }
    if (use != NULL) {
        config_report(errors, mmio->position, "mmio-place",
                      "At 0x%" PRIx64
                      " guest `%.*s` has %s already; write another place as the third word: mmio = 0x%" PRIx64
                      " 0x%" PRIx64 " 0xf8000000.",
                      mmio->guest_start, TEXT_ARGS(guest->name), use, mmio->start, mmio->bytes);
    }
}

void config_rules_direct_guest(const struct config_guest *guest, struct config_errors *errors)
{
    check_fixed_ports(guest, errors);
    for (uint32_t i = 0; i < guest->mmio_count; i++) {
        const struct config_mmio *mmio = &guest->mmio[i];
        const struct fixed_range *row =
            fixed_in(fixed_memory, ARRAY_COUNT(fixed_memory), mmio->start, mmio->start + mmio->bytes - 1);

        if (row != NULL) {
            report_mmio(mmio, row->what, errors);
        } else {
            check_place(guest, i, errors);
        }
    }
    if (guest->serial_com2 && guest->com2) {
        config_report(errors, guest->serial_position, "two-com2",
                      "`com2 = yes` is a second serial port of the log, `serial = com2` the machine's; take one out.");
    }
}

/* ---- between guests ---- */

/* Of two guests, or of one: `first` is at `index` or in front of it. */
static void check_ports_alone(const struct config *config, uint32_t guest, uint32_t index,
                              const struct config_ports *ports, struct config_errors *errors)
{
    struct config_ports other;

    for (uint32_t g = 0; g <= guest; g++) {
        for (uint32_t i = 0; (g < guest || i < index) && config_guest_ports(&config->guests[g], i, &other); i++) {
            if (ports->first <= other.last && other.first <= ports->last) {
                config_report(errors, ports->position, "ports-two-owners",
                              "Ports 0x%x to 0x%x belong to guest `%.*s` already (line %u); a device has one owner.",
                              (uint32_t)max_u64(ports->first, other.first), (uint32_t)min_u64(ports->last, other.last),
                              TEXT_ARGS(config->guests[g].name), other.position.line);
                return;
            }
        }
    }
}

static void check_mmio_alone(const struct config *config, uint32_t guest, uint32_t index, struct config_errors *errors)
{
    const struct config_mmio *mmio = &config->guests[guest].mmio[index];

    for (uint32_t g = 0; g <= guest; g++) {
        uint32_t count = g < guest ? config->guests[g].mmio_count : index;

        for (uint32_t i = 0; i < count; i++) {
            const struct config_mmio *other = &config->guests[g].mmio[i];

            if (mmio->start < other->start + other->bytes && other->start < mmio->start + mmio->bytes) {
                config_report(
                    errors, mmio->position, "mmio-two-owners",
                    "Memory at 0x%" PRIx64 " belongs to guest `%.*s` already (line %u); a device has one owner.",
                    max_u64(mmio->start, other->start), TEXT_ARGS(config->guests[g].name), other->position.line);
                return;
            }
        }
    }
}

static void check_framebuffer_alone(const struct config *config, uint32_t guest, struct config_errors *errors)
{
    for (uint32_t g = 0; g < guest; g++) {
        if (config->guests[guest].framebuffer && config->guests[g].framebuffer) {
            config_report(errors, config->guests[guest].framebuffer_position, "screen-two-owners",
                          "Guest `%.*s` has the screen already (line %u); a machine has one.",
                          TEXT_ARGS(config->guests[g].name), config->guests[g].framebuffer_position.line);
            return;
        }
    }
}

static void check_keyboard_alone(const struct config *config, uint32_t guest, struct config_errors *errors)
{
    for (uint32_t g = 0; g < guest; g++) {
        if (config->guests[guest].keyboard && config->guests[g].keyboard) {
            config_report(errors, config->guests[guest].keyboard_position, "keyboard-two-owners",
                          "Guest `%.*s` has the keyboard already (line %u); a machine has one controller of it.",
                          TEXT_ARGS(config->guests[g].name), config->guests[g].keyboard_position.line);
            return;
        }
    }
}

void config_rules_direct(const struct config *config, struct config_errors *errors)
{
    struct config_ports ports;

    for (uint32_t g = 0; g < config->guest_count; g++) {
        for (uint32_t i = 0; config_guest_ports(&config->guests[g], i, &ports); i++) {
            check_ports_alone(config, g, i, &ports, errors);
        }
        for (uint32_t i = 0; i < config->guests[g].mmio_count; i++) {
            check_mmio_alone(config, g, i, errors);
        }
        check_framebuffer_alone(config, g, errors);
        check_keyboard_alone(config, g, errors);
    }
}

bool config_ports_given(const struct config *config, uint16_t first, uint16_t last)
{
    struct config_ports ports;

    for (uint32_t g = 0; g < config->guest_count; g++) {
        for (uint32_t i = 0; config_guest_ports(&config->guests[g], i, &ports); i++) {
            if (ports.first <= last && first <= ports.last) {
                return true;
            }
        }
    }
    return false;
}

const struct config_guest *config_framebuffer_guest(const struct config *config)
{
    for (uint32_t g = 0; g < config->guest_count; g++) {
        if (config->guests[g].framebuffer) {
            return &config->guests[g];
        }
    }
    return NULL;
}

const struct config_guest *config_keyboard_guest(const struct config *config)
{
    for (uint32_t g = 0; g < config->guest_count; g++) {
        if (config->guests[g].keyboard) {
            return &config->guests[g];
        }
    }
    return NULL;
}

/* ---- on a machine ---- */

static const struct config_taken *taken_in(const struct config_machine *machine, bool ports, uint64_t start,
                                           uint64_t end)
{
    for (uint32_t i = 0; i < machine->taken_count; i++) {
        const struct config_taken *taken = &machine->taken[i];

        if (taken->ports == ports && start < taken->end && taken->start < end) {
            return taken;
        }
    }
    return NULL;
}

/* What firmware calls reserved is a device's below 4 GiB where chipsets have their registers; elsewhere it may be
 * memory. */
#define CHIPSET_START 0xfe000000ULL

/* The memory that a range would reach; NULL: none. */
static const char *memory_in(const struct memory_map *map, uint64_t start, uint64_t end)
{
    for (uint32_t i = 0; map != NULL && i < map->count; i++) {
        const struct memory_region *region = &map->regions[i];

        if (start >= region->end || region->start >= end || region->type == MEMORY_MMIO) {
            continue;
        }
        if (region->type != MEMORY_RESERVED) {
            return "memory (RAM)";
        }
        if (max_u64(start, region->start) < CHIPSET_START || min_u64(end, region->end) > 4 * GIB) {
            return "memory that the firmware keeps";
        }
    }
    return NULL;
}

static void check_mmio_there(const struct config_mmio *mmio, const struct config_machine *machine,
                             struct config_errors *errors)
{
    uint64_t end = mmio->start + mmio->bytes;
    const struct config_taken *taken = taken_in(machine, false, mmio->start, end);
    const char *memory = memory_in(machine->map, mmio->start, end);

    if (taken != NULL) {
        report_mmio(mmio, taken_names[taken->kind], errors);
    } else if (memory != NULL) {
        report_mmio(mmio, memory, errors);
    }
}

static void check_inputs_there(const struct config_guest *guest, const struct config_machine *machine,
                               struct config_errors *errors)
{
    if (guest->serial_com2 && machine->devices_known && !machine->has_com2) {
        config_report(
            errors, guest->serial_position, "no-such-device",
            "Guest `%.*s` wants COM2, and at port 0x2f8 of this machine no serial port answers; switch it on in "
            "the firmware's set-up, or take the line out.",
            TEXT_ARGS(guest->name));
    }
    if (guest->keyboard && machine->keyboard_known && !machine->has_keyboard) {
        config_report(errors, guest->keyboard_position, "no-such-device",
                      "Guest `%.*s` wants the PS/2 keyboard, and this machine's ACPI tables say that it has no 8042 "
                      "controller; take the line out (`pci = usb` gives a guest a USB controller and its keyboard).",
                      TEXT_ARGS(guest->name));
    }
}

static void check_guest_there(const struct config_guest *guest, const struct config_machine *machine,
                              struct config_errors *errors)
{
    for (uint32_t i = 0; i < guest->ports_count; i++) {
        const struct config_ports *ports = &guest->ports[i];
        const struct config_taken *taken = taken_in(machine, true, ports->first, ports->last + 1ULL);

        if (taken != NULL) {
            report_ports(ports, taken_names[taken->kind], NULL, errors);
        }
    }
    for (uint32_t i = 0; i < guest->mmio_count; i++) {
        check_mmio_there(&guest->mmio[i], machine, errors);
    }
    check_inputs_there(guest, machine, errors);
    if (guest->framebuffer && machine->devices_known &&
        (machine->screen.bytes == 0 || machine->screen.bytes > GUEST_FRAMEBUFFER_BYTES - 2 * MIB)) {
        config_report(errors, guest->framebuffer_position, "no-such-device",
                      "Guest `%.*s` wants the screen, and the firmware of this machine has set up none that it could "
                      "have; take the line out.",
                      TEXT_ARGS(guest->name));
    }
}

void config_rules_direct_machine(const struct config *config, const struct config_machine *machine,
                                 struct config_errors *errors)
{
    for (uint32_t g = 0; g < config->guest_count; g++) {
        check_guest_there(&config->guests[g], machine, errors);
    }
}
