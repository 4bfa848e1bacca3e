/* SPDX-License-Identifier: MIT */
/*
 * The machine's keyboard controller in a guest's hands. A life begins as after a PC's firmware; the controller is
 * tested, and keyboard and mouse reset, whose answers come by IRQ 1 and 12 through the I/O APIC; an echo of the
 * keyboard comes through the 8259. What the command line names follows:
 *
 *   keys    codes of keys are printed until Esc is let go
 *   reset   a mess is left behind, and the controller is told to reset the machine, by command, or with `port` by its
 *           output port: the guest starts again
 */
#include "tests/guests/lib/start_info.h"

const char guest_name[] = "ps2";

#define DATA 0x60
#define COMMAND 0x64 /* read: status */
#define FULL 0x01    /* a byte waits for the guest */
#define BUSY 0x02    /* one waits for the controller */
#define OF_MOUSE 0x20
#define COMMAND_BYTE_START 0x65 /* IRQ 1, system flag, mouse off, translated codes */
#define COMMAND_BYTE_BOTH 0x47  /* IRQ 1 and 12, both on */
#define KEYBOARD_VECTOR 0x41
#define MOUSE_VECTOR 0x4c
#define PIC_KEYBOARD_VECTOR 0x21 /* as pic_init() has it */
#define IOAPIC_ENTRY(pin) (0x10u + 2u * (pin))
#define MASKED 0x10000u
#define APIC_EOI 0xb0
#define APIC_LINT0 0x350
#define EXTINT 0x700
#define ESC_RELEASED 0x81
#define CODES_MAX 64u

static volatile uint8_t codes[CODES_MAX];
static volatile uint32_t came, interrupts[2]; /* of the keyboard, of the mouse */

static bool asks_for(const char *word)
{
    const struct start_info *info = start_info();

    return info != NULL && start_info_argument(info, word) != NULL;
}

static void write_at(uint16_t port, uint8_t value)
{
    while ((in8(COMMAND) & BUSY) != 0) {
    }
    out8(port, value);
}

/* Polled. */
static uint8_t answer(void)
{
    while ((in8(COMMAND) & FULL) == 0) {
    }
    return in8(DATA);
}

static void take(uint32_t which)
{
    uint8_t status;

    interrupts[which]++;
    while (((status = in8(COMMAND)) & FULL) != 0) {
        CHECK_EQUAL((status & OF_MOUSE) != 0, which);
        codes[came % CODES_MAX] = in8(DATA);
        came++;
    }
}

static void on_keyboard(struct trap_frame *frame)
{
    (void)frame;
    take(0);
    lapic_write(APIC_EOI, 0);
}

static void on_mouse(struct trap_frame *frame)
{
    (void)frame;
    take(1);
    lapic_write(APIC_EOI, 0);
}

static void on_pic_keyboard(struct trap_frame *frame)
{
    (void)frame;
    take(0);
    pic_eoi(1);
}

static void set_pin(uint32_t pin, uint32_t entry)
{
    mmio_write32(IOAPIC_BASE, IOAPIC_ENTRY(pin) + 1);
    mmio_write32(IOAPIC_BASE + 0x10, 0);
    mmio_write32(IOAPIC_BASE, IOAPIC_ENTRY(pin));
    mmio_write32(IOAPIC_BASE + 0x10, entry);
}

/* By interrupts: these bytes and no others. */
static void expect(const char *of, const uint8_t *bytes, uint32_t count)
{
    while (came < count) {
        wait_for_interrupt();
    }
    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQUAL(codes[i], bytes[i]);
    }
    came = 0;
    print("ps2: %s, by interrupts\n", of);
}

static void test_controller(void)
{
    CHECK_EQUAL(in8(COMMAND) & (FULL | BUSY), 0);
    write_at(COMMAND, 0x20);
    CHECK_EQUAL(answer(), COMMAND_BYTE_START);
    write_at(COMMAND, 0xad);
    write_at(COMMAND, 0xaa);
    CHECK_EQUAL(answer(), 0x55);
    write_at(COMMAND, 0xab);
    CHECK_EQUAL(answer(), 0);
    print("ps2: the controller is as firmware leaves it, and passes its test\n");
}

/* The output port is the machine's: what is written there changes what port 0x92 says, and resets nothing. */
static void test_a20(void)
{
    write_at(COMMAND, 0xd1);
    write_at(DATA, 0xdd);
    CHECK_EQUAL(in8(0x92) & 2, 0);
    write_at(COMMAND, 0xdf);
    CHECK_EQUAL(in8(0x92) & 2, 2);
    write_at(COMMAND, 0xff);
    write_at(COMMAND, 0xd0);
    CHECK_EQUAL(answer() & 3, 3);
    print("ps2: the machine's output port is as it was\n");
}

static void test_devices(void)
{
    static const uint8_t keyboard[] = {0xfa, 0xaa}, mouse[] = {0xfa, 0xaa, 0x00}, echo[] = {0xee};

    trap_set(KEYBOARD_VECTOR, on_keyboard);
    trap_set(MOUSE_VECTOR, on_mouse);
    trap_set(PIC_KEYBOARD_VECTOR, on_pic_keyboard);
    pic_init();
    lapic_init();
    set_pin(1, KEYBOARD_VECTOR);
    set_pin(12, MOUSE_VECTOR);
    write_at(COMMAND, 0x60);
    write_at(DATA, COMMAND_BYTE_BOTH);
    write_at(DATA, 0xff);
    expect("the keyboard was reset", keyboard, sizeof(keyboard));
    write_at(COMMAND, 0xd4);
    write_at(DATA, 0xff);
    expect("the mouse was reset", mouse, sizeof(mouse));
    set_pin(1, MASKED);
    lapic_write(APIC_LINT0, EXTINT);
    pic_mask(0xfffd);
    write_at(DATA, 0xee);
    expect("an echo came through the 8259", echo, sizeof(echo));
    pic_mask(0xffff);
    set_pin(1, KEYBOARD_VECTOR);
    print("ps2: %u interrupts of the keyboard, %u of the mouse\n", interrupts[0], interrupts[1]);
}

static void test_keys(void)
{
    uint32_t told = 0;
    uint8_t code = 0;

    came = 0;
    print("ps2: press keys\n");
    while (code != ESC_RELEASED) {
        while (told == came) {
            wait_for_interrupt();
        }
        code = codes[told++ % CODES_MAX];
        print("ps2: code %x\n", code);
    }
}

/* Interrupts on, a byte that is not read, and a command without its parameter. */
static void reset(void)
{
    write_at(COMMAND, 0xd1);
    write_at(DATA, 0xdd); /* the next life's port 0x92 has A20 again */
    write_at(COMMAND, 0xd2);
    write_at(DATA, 0x5a);
    write_at(COMMAND, 0x60);
    if (asks_for("port")) {
        write_at(COMMAND, 0xd1);
        write_at(DATA, 0xfe);
    } else {
        write_at(COMMAND, 0xfe);
    }
}

void guest_main(void)
{
    test_controller();
    test_a20();
    test_devices();
    if (asks_for("keys")) {
        test_keys();
    }
    if (asks_for("reset")) {
        interrupts_off();
        reset();
    }
}
