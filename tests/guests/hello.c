/* SPDX-License-Identifier: MIT */
/*
 * The demo's second guest: says where it is, waits a few times by its own timer, and powers off. With `stay` as its
 * command line it answers keys before that, until one of them is q; and pings, where it has a network card and
 * `address=10.0.0.2`.
 */
#include "tests/guests/lib/pong.h"
#include "tests/guests/lib/start_info.h"

const char guest_name[] = "hello";

#define HYPERVISOR_PRESENT 0x80000000u /* CPUID 1 ECX */
#define HYPERVISOR_LEAF 0x40000000u
#define TIMER_IRQ 0
#define TIMER_VECTOR 0x20
#define TIMER_LINES 3
#define TIMER_TICKS_PER_LINE 50
#define TIMER_HZ 100u
#define CASCADE_IRQ 2
#define UART_IRQ 4
#define UART_VECTOR 0x24
#define UART_ENABLE (COM1 + 1)
#define UART_ENABLE_RECEIVED 0x01
#define UART_MODEM_CONTROL (COM1 + 4)
#define UART_MODEM_CONTROL_LINES 0x0b /* DTR, RTS, and OUT2, which lets a PC's UART interrupt */
#define UART_STATUS (COM1 + 5)
#define UART_STATUS_RECEIVED 0x01

static volatile uint32_t ticks;
static volatile char typed; /* the last key; 0: none since it was looked at */

static void on_timer(struct trap_frame *frame)
{
    (void)frame;
    ticks++;
    pic_eoi(TIMER_IRQ);
}

static void say_signature(const char *what, uint32_t first, uint32_t second, uint32_t third)
{
    uint32_t words[4] = {first, second, third, 0};

    print("hello: %s \"%s\"\n", what, (const char *)words);
}

static void say_cpu(void)
{
    struct cpuid vendor = cpuid(0, 0), signature = cpuid(HYPERVISOR_LEAF, 0);

    say_signature("the CPU is a", vendor.ebx, vendor.edx, vendor.ecx);
    if ((cpuid(1, 0).ecx & HYPERVISOR_PRESENT) == 0) {
        print("hello: there is no hypervisor here that says so\n");
        return;
    }
    say_signature("the hypervisor says it is", signature.ebx, signature.ecx, signature.edx);
}

static void say_memory(void)
{
    const struct start_info *info = start_info();
    uint64_t bytes = 0;

    CHECK(info != NULL);
    for (uint32_t i = 0; i < info->memory_map_count; i++) {
        bytes += start_info_memory(info)[i].type == START_INFO_RAM ? start_info_memory(info)[i].bytes : 0;
    }
    print("hello: %u KiB of memory, command line \"%s\"\n", (uint32_t)(bytes >> 10), start_info_cmdline(info));
}

/* Channel 0 in mode 2 through the 8259, as the oldest PCs did it. */
static void start_timer(void)
{
    uint32_t count = 1193182u / TIMER_HZ;

    pic_init();
    trap_set(TIMER_VECTOR, on_timer);
    out8(0x43, 0x34);
    out8(0x40, (uint8_t)count);
    out8(0x40, (uint8_t)(count >> 8));
    pic_mask((uint16_t) ~(1u << TIMER_IRQ));
}

static void on_key(struct trap_frame *frame)
{
    (void)frame;
    while ((in8(UART_STATUS) & UART_STATUS_RECEIVED) != 0) {
        typed = (char)in8(COM1);
    }
    pic_eoi(UART_IRQ);
}

static bool is_asked_to_stay(void)
{
    static const char word[] = "stay";
    const char *cmdline = start_info_cmdline(start_info());
    size_t i = 0;

    while (i < sizeof(word) - 1 && cmdline[i] == word[i]) {
        i++;
    }
    return i == sizeof(word) - 1;
}

/* address=10.0.0.2; false: there is none. */
static bool find_address(uint8_t address[4])
{
    const char *text = start_info_argument(start_info(), "address=");

    for (uint32_t i = 0; i < 4 && text != NULL; i++) {
        uint32_t number = 0;

        for (; *text >= '0' && *text <= '9'; text++) {
            number = number * 10 + (uint32_t)(*text - '0');
        }
        address[i] = (uint8_t)number;
        text += *text == '.';
    }
    return text != NULL;
}

/* The IRQs to leave open for a card that answers pings. */
static uint16_t start_network(void)
{
    uint8_t address[4];
    uint8_t irq = find_address(address) ? pong_start(address) : 0;

    if (irq == 0) {
        return 0;
    }
    print("hello: I answer pings to %u.%u.%u.%u\n", address[0], address[1], address[2], address[3]);
    return (uint16_t)(1u << irq | 1u << CASCADE_IRQ);
}

static void answer_key(char key)
{
    char shown[2] = {key, '\0'};

    if (key > ' ' && key <= '~') {
        print("hello: you typed %s; q ends me\n", shown);
    } else {
        print("hello: you typed a key without a letter; q ends me\n");
    }
}

/* Its timer is off meanwhile: a guest that waits for a key or a packet costs nothing. */
static void answer_all(void)
{
    uint16_t open = (uint16_t)(start_network() | 1u << UART_IRQ);
    bool pinged = false;
    char key = '\0';

    print("hello: I stay. Ctrl-] n brings your keys to me, and back; q ends me\n");
    trap_set(UART_VECTOR, on_key);
    out8(UART_MODEM_CONTROL, UART_MODEM_CONTROL_LINES);
    out8(UART_ENABLE, UART_ENABLE_RECEIVED);
    pic_mask((uint16_t)~open);
    while (key != 'q') {
        wait_for_interrupt();
        if (pong_answer() != 0 && !pinged) {
            pinged = true;
            print("hello: a ping came, and I answered\n");
        }
        key = typed;
        typed = '\0';
        if (key != '\0' && key != 'q') {
            answer_key(key);
        }
    }
}

void guest_main(void)
{
    print("hello: entered in %u-bit code\n", entry_state.bits);
    say_cpu();
    say_memory();
    start_timer();
    for (uint32_t line = 1; line <= TIMER_LINES; line++) {
        while (ticks < line * TIMER_TICKS_PER_LINE) {
            wait_for_interrupt();
        }
        print("hello: %u ticks of the timer\n", ticks);
    }
    if (is_asked_to_stay()) {
        answer_all();
    }
    print("hello: good bye\n");
}
