/* SPDX-License-Identifier: MIT */
#include "hv/guest/direct.h"

#include "config/parse.h"
#include "hv/base/log.h"
#include "hv/base/memory.h"
#include "hv/guest/device_irq.h"
#include "hv/guest/keyboard.h"
#include "hv/host/host_irq.h"
#include "hv/host/pool.h"
#include "hv/iommu/iommu.h"
#include "hv/x86/insn.h"

/* National Semiconductor PC16550D data sheet, table II "Summary of Registers". */
#define COM2_IRQ 3u
#define COM2_DATA 0x2f8u
#define COM2_INTERRUPT_ENABLE 0x2f9u
#define COM2_LINE_CONTROL 0x2fbu
#define COM2_MODEM_CONTROL 0x2fcu
#define LINE_CONTROL_8N1 0x03u

/* A device's registers mean something at each access, and nothing is fetched from them. */
static const struct page_attributes register_attributes = {
    .read = true, .write = true, .user = true, .cache = CACHE_UC};
static const struct page_attributes picture_attributes = {.read = true, .write = true, .user = true, .cache = CACHE_WC};

uint32_t guest_direct_memory(const struct guest *guest, const struct boot_info *boot,
                             struct guest_range ranges[DIRECT_RANGES_MAX])
{
    const struct config_guest *config = guest->config;
    const struct boot_framebuffer *screen = &boot->framebuffer;
    uint32_t count = 0;

    for (; count < config->mmio_count; count++) {
        const struct config_mmio *mmio = &config->mmio[count];

        ranges[count] = (struct guest_range){gpa(mmio->guest_start), hpa(mmio->start), mmio->bytes};
    }
    if (config->framebuffer) {
        uint64_t start = align_down(screen->base, PAGE_BYTES);
        uint64_t bytes = (uint64_t)screen->stride_pixels * screen->bytes_per_pixel * screen->height;

        ranges[count++] = (struct guest_range){gpa(GUEST_FRAMEBUFFER_AT(start)), hpa(start),
                                               align_up(screen->base + bytes, PAGE_BYTES) - start};
    }
    return count;
}

enum status guest_direct_map(const struct guest *guest, const struct boot_info *boot, struct page_table *tree,
                             enum page_level largest)
{
    struct guest_range ranges[DIRECT_RANGES_MAX];
    uint32_t count = guest_direct_memory(guest, boot, ranges);
    enum status status = STATUS_OK;
    enum page_flush flush;

    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        bool registers = i < guest->config->mmio_count;

        status = page_table_map(tree, ranges[i].start.value, ranges[i].backing, ranges[i].bytes,
                                registers ? register_attributes : picture_attributes, largest, &flush);
        log_info("guest %s has the machine's memory 0x%" PRIx64 " to 0x%" PRIx64 ", %s, at 0x%" PRIx64, guest->name,
                 ranges[i].backing.value, ranges[i].backing.value + ranges[i].bytes,
                 registers ? "a device's" : "the framebuffer", ranges[i].start.value);
    }
    return status;
}

static struct load_colour colour_of(uint32_t mask)
{
    if (mask == 0) {
        return (struct load_colour){0, 0};
    }
    return (struct load_colour){(uint8_t)__builtin_ctz(mask), (uint8_t)__builtin_popcount(mask)};
}

struct load_screen guest_direct_screen(const struct guest *guest, const struct boot_info *boot)
{
    const struct boot_framebuffer *screen = &boot->framebuffer;
    struct load_screen told = {.width = 0};
    struct boot_framebuffer masks = *screen;

    if (!guest->config->framebuffer) {
        return told;
    }
    if (screen->format != BOOT_PIXEL_MASK) {
        bool red_first = screen->format == BOOT_PIXEL_RGBX;

        masks.red_mask = red_first ? 0xffu : 0xff0000u;
        masks.green_mask = 0xff00u;
        masks.blue_mask = red_first ? 0xff0000u : 0xffu;
    }
    told = (struct load_screen){
        .address = gpa(GUEST_FRAMEBUFFER_AT(align_down(screen->base, PAGE_BYTES)) + screen->base % PAGE_BYTES),
        .width = screen->width,
        .height = screen->height,
        .pitch_bytes = screen->stride_pixels * screen->bytes_per_pixel,
        .bits = (uint8_t)(8 * screen->bytes_per_pixel),
        .red = colour_of(masks.red_mask),
        .green = colour_of(masks.green_mask),
        .blue = colour_of(masks.blue_mask),
        .reserved = {24, 8},
    };
    if (screen->format == BOOT_PIXEL_MASK) {
        told.reserved = (struct load_colour){0, 0};
    }
    return told;
}

static void build_map(struct guest *guest)
{
    struct config_ports ports;
    uint8_t *map = NULL;

    for (uint32_t i = 0; config_guest_ports(guest->config, i, &ports); i++) {
        if (map == NULL) {
            map = pool_take(GUEST_IO_MAP_BYTES);
            memset(map, 0xff, GUEST_IO_MAP_BYTES);
        }
        for (uint32_t port = ports.first; port <= ports.last; port++) {
            map[port / 8] = (uint8_t)(map[port / 8] & ~(1u << port % 8));
        }
        log_info("guest %s has ports 0x%x to 0x%x of the machine", guest->name, ports.first, ports.last);
    }
    guest->io_map = map;
}

static void take_interrupt(struct guest *guest, uint32_t irq)
{
    struct host_irq_pin pin = host_irq_isa(irq);
    uint8_t vector;
    const char *why = pin.level ? "it is a level on this machine" : guest_device_irq(guest, irq, pin, &vector);

    if (why != NULL) {
        log_warning("guest %s: IRQ %u does not reach it: %s; its driver has to poll", guest->name, irq, why);
    }
}

/* Which device a range is of, and what it does, is the config's word. */
static void warn_of_masters(const struct guest *guest)
{
    if (guest->config->ports_count + guest->config->mmio_count != 0 && !iommu_protects()) {
        log_warning(
            "guest %s drives a device of the machine, and no IOMMU is on: if it is one that writes to memory by "
            "itself, it can reach every guest and the hypervisor",
            guest->name);
    }
}

void guest_direct_create(struct guest *guest)
{
    warn_of_masters(guest);
    build_map(guest);
    if (guest->config->serial_com2) {
        take_interrupt(guest, COM2_IRQ);
    }
    if (guest->config->keyboard) {
        log_info("guest %s has the keyboard controller of the machine", guest->name);
        take_interrupt(guest, I8042_IRQ_KEYBOARD);
        take_interrupt(guest, I8042_IRQ_MOUSE);
    }
}

/* No interrupt, its line not driven, and its data at port 0 of it, whatever was left half-way. */
static void quiet_com2(void)
{
    insn_out8(COM2_LINE_CONTROL, LINE_CONTROL_8N1);
    insn_out8(COM2_INTERRUPT_ENABLE, 0);
    insn_out8(COM2_MODEM_CONTROL, 0);
    (void)insn_in8(COM2_DATA);
}

void guest_direct_open(struct guest *guest)
{
    if (guest->config->serial_com2) {
        quiet_com2();
    }
    if (guest->config->keyboard && !guest_keyboard_open()) {
        log_warning("guest %s: no keyboard controller answers at port 0x64", guest->name);
    }
    host_irq_open_all(guest);
}

void guest_direct_close(struct guest *guest)
{
    host_irq_close_all(guest);
    if (guest->config->keyboard) {
        guest_keyboard_close();
    }
    if (guest->config->serial_com2) {
        quiet_com2();
    }
}
