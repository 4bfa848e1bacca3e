/* SPDX-License-Identifier: MIT */
#include "hv/console/console.h"

#include "hv/base/format.h"
#include "hv/base/memory.h"
#include "hv/console/console_font.h"
#include "hv/console/console_keyboard.h"
#include "hv/console/console_mux.h"
#include "hv/console/console_screen.h"
#include "hv/console/console_time.h"
#include "hv/console/console_uart.h"
#include "hv/x86/insn.h"

#define OUTPUT_BYTES 8192u
#define INPUT_BYTES_MAX 64u      /* taken from one UART per service call */
#define DRAIN_BYTES_MAX 512u     /* written to one UART per service call */
#define DRAW_EVERY_US 250000u    /* a pass over the screen begins so often: what scrolls by faster is not read */
#define DRAW_CELLS 1u            /* repainted between two looks at the clock: 100 us where stores are not combined */
#define PUMP_US 10u              /* for guests' bytes: many times what a UART takes until the next call */
#define SERVICE_US 30u           /* until then the screen is drawn */
#define PUMP_BYTES 32u           /* of guests' output between two looks at the clock, and a step of the multiplexer */
#define BACKLOG_US 1000u         /* next call while output waits: about what a 16-byte FIFO takes at 115200 baud */
#define TYPING_US 2000u          /* next call while keys are typed */
#define TYPING_LASTS_US 2000000u /* how long after a byte keys count as being typed */
#define IDLE_US 20000u           /* next call otherwise: the delay of the first byte that is typed */
#define FOREGROUND 0x00c8c8c8u   /* light grey, in either order of the colours */
#define MEGA 1000000u
#define SLOW_SCREEN_MB 20u /* a store without write-combining takes as long as one read of a bus: some MB/s */
#define LINE_BYTES (LOG_LINE_MAX + 32u)
#define GUESTS_BACKLOG 6144u /* bytes of guests that wait for a UART: half a second at 115200 baud */

_Static_assert(MUX_SOURCES_MAX >= CONFIG_GUESTS_MAX, "every guest is a source");
_Static_assert(LOG_LINE_MAX + 32 + MUX_STEP_MAX <= OUTPUT_BYTES, "a log line always fits");
_Static_assert(MUX_STEP_MAX < GUESTS_BACKLOG && GUESTS_BACKLOG <= OUTPUT_BYTES, "a guest's step always fits at last");
_Static_assert(GUESTS_BACKLOG < UART_RING_BYTES / 2, "the hypervisor has room whatever guests print");

struct console_ram console_ram; /* no initializer: it would be 64 KiB of the image file */
static struct console_ram *last_words = &console_ram;

static struct {
    uint32_t busy; /* the lock: 1 while a CPU works on what is below */
    bool open;     /* console_init() was here */
    bool asynchronous;
    bool panic;
    bool debug;
    struct console_uart uarts[BOOT_UARTS_MAX];
    uint32_t uart_count;
    struct console_keyboard keyboard;
    struct screen screen;
    bool drawing;      /* within a pass over the screen */
    uint64_t draw_due; /* TSC at which the next pass may begin */
    struct console_mux mux;
    bool mux_ready;
    uint64_t last_typed;
    uint32_t shown[CONFIG_GUESTS_MAX];    /* what the screen's line of each guest says; 0: nothing yet */
    uint32_t restarts[CONFIG_GUESTS_MAX]; /* of each guest, as far as the multiplexer knows */
    uint64_t lost_seen, lost_reported;
    uint32_t hung_reported; /* a bit for each port */
    void (*command)(enum mux_command command, uint32_t guest);
    char bytes[OUTPUT_BYTES];
    struct mux_output output;
} console;

static bool try_lock(void)
{
    return __atomic_exchange_n(&console.busy, 1, __ATOMIC_ACQUIRE) == 0 || console.panic;
}

static void lock(void)
{
    while (!try_lock()) {
        insn_pause();
    }
}

static void unlock(void)
{
    __atomic_store_n(&console.busy, 0, __ATOMIC_RELEASE);
}

static void prepare(void)
{
    if (!console.mux_ready) {
        mux_init(&console.mux);
        console.mux_ready = true;
    }
    console.output.bytes = console.bytes;
    console.output.capacity = OUTPUT_BYTES;
    console.output.length = 0;
}

static void devices_put(const char *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < console.uart_count; i++) {
        uart_put(&console.uarts[i], bytes, count);
    }
    for (uint32_t i = 0; i < count && screen_is_there(&console.screen); i++) {
        screen_put(&console.screen, (uint8_t)bytes[i]);
    }
}

/* Hands the collected output to every device's backlog. */
static void deliver(void)
{
    if (console.output.length != 0) {
        console_ram_put(last_words, console.bytes, console.output.length);
        devices_put(console.bytes, console.output.length);
        console.output.length = 0;
    }
}

static void write_out_all(void)
{
    for (uint32_t i = 0; i < console.uart_count; i++) {
        uart_flush(&console.uarts[i]);
    }
    for (uint32_t pass = 0; pass < 2; pass++) { /* the first may have been begun before the last change */
        (void)screen_draw(&console.screen, UINT32_MAX);
    }
}

/* A pass looks at every cell, so passes are rare; within one, the cells that differ are painted some at a time. */
static void draw_some(uint64_t now)
{
    if (!console.drawing && (!console.screen.dirty || now < console.draw_due)) {
        return;
    }
    do {
        console.drawing = !screen_draw(&console.screen, DRAW_CELLS);
    } while (console.drawing && clock_ticks_since(insn_rdtsc(), now) < console_ticks_of_us(SERVICE_US));
    if (!console.drawing) {
        console.draw_due = now + console_ticks_of_us(DRAW_EVERY_US);
    }
}

static void write_out_some(uint64_t now)
{
    for (uint32_t i = 0; i < console.uart_count; i++) {
        uart_drain(&console.uarts[i], now, DRAIN_BYTES_MAX);
    }
    draw_some(now);
}

static void write_out(uint64_t now)
{
    if (console.asynchronous && !console.panic) {
        write_out_some(now);
    } else if (console.open) {
        write_out_all();
    }
}

/* All bits of the masks: white, whatever the order of the colours. */
static uint32_t foreground_of(const struct boot_framebuffer *framebuffer)
{
    if (framebuffer->format != BOOT_PIXEL_MASK) {
        return FOREGROUND;
    }
    return framebuffer->red_mask | framebuffer->green_mask | framebuffer->blue_mask;
}

static void open_screen(const struct boot_framebuffer *framebuffer)
{
    struct screen_pixels pixels = {
        .base = (uint8_t *)(uintptr_t)framebuffer->base,
        .bytes = framebuffer->bytes,
        .width = framebuffer->width,
        .height = framebuffer->height,
        .stride_pixels = framebuffer->stride_pixels,
        .bytes_per_pixel = framebuffer->format == BOOT_PIXEL_MASK ? framebuffer->bytes_per_pixel : 4,
        .foreground = foreground_of(framebuffer),
    };

    if (framebuffer->format != BOOT_PIXEL_NONE && pixels.bytes_per_pixel >= 2 && pixels.bytes_per_pixel <= 4) {
        screen_init(&console.screen, &pixels, console_font, CONSOLE_FONT_GLYPHS);
    }
}

/* What was logged before there was a device. */
static void replay(void)
{
    uint64_t first = console_ram.written > CONSOLE_RAM_BYTES ? console_ram.written - CONSOLE_RAM_BYTES : 0;

    for (uint64_t piece; first < console_ram.written; first += piece) {
        uint64_t at = first % CONSOLE_RAM_BYTES;

        piece = min_u64(console_ram.written - first, CONSOLE_RAM_BYTES - at);
        devices_put(&console_ram.data[at], (uint32_t)piece);
    }
}

/* From here on in the memory that survives a warm reset, with what was said before. */
static void keep_last_words(const struct boot_info *info)
{
    memcpy(console_ram.magic, CONSOLE_RAM_MAGIC, sizeof(CONSOLE_RAM_MAGIC));
    if (info->console_ring != 0) {
        last_words = (struct console_ram *)(uintptr_t)info->console_ring;
        memcpy(last_words, &console_ram, sizeof(console_ram));
    }
}

void console_init(const struct boot_info *info)
{
    lock();
    for (uint32_t i = 0; info->config.console_serial && i < info->uart_count && i < BOOT_UARTS_MAX; i++) {
        uart_open(&console.uarts[console.uart_count++], &info->uarts[i]);
    }
    if (info->config.console_screen) {
        open_screen(&info->framebuffer);
    }
    console.debug = info->config.log_debug;
    console.open = true;
    replay();
    keep_last_words(info);
    write_out_all();
    unlock();
}

bool console_open_keyboard(void)
{
    struct console_keyboard keyboard;

    keyboard_open(&keyboard);
    lock();
    console.keyboard = keyboard;
    unlock();
    return keyboard.alive;
}

uint64_t console_tsc_hz = CONSOLE_ASSUMED_HZ;

void console_set_tsc_hz(uint64_t hz)
{
    console_tsc_hz = hz;
}

void console_say_screen(const struct boot_framebuffer *framebuffer)
{
    uint64_t began;
    uint64_t ticks;
    uint64_t bytes;
    uint64_t rate;

    lock();
    began = insn_rdtsc();
    bytes = screen_repaint_top(&console.screen);
    ticks = clock_ticks_since(insn_rdtsc(), began);
    unlock();
    if (bytes == 0) {
        return;
    }
    rate = bytes * (console_tsc_hz / MEGA) / (ticks == 0 ? 1 : ticks);
    log_info("screen: %ux%u%s%s, takes %" PRIu64 " MB/s%s", framebuffer->width, framebuffer->height,
             framebuffer->outputs > 1 ? ", one of several" : "",
             framebuffer->is_console ? ", the firmware's console" : "", rate,
             rate < SLOW_SCREEN_MB ? ": slow, so what scrolls by is seen late" : "");
}

void console_set_command_hook(void (*command)(enum mux_command command, uint32_t guest))
{
    console.command = command;
}

static const char *level_prefix(enum log_level level)
{
    switch (level) {
    case LOG_ERROR:
        return "plinth: error: ";
    case LOG_WARNING:
        return "plinth: warning: ";
    case LOG_INFO:
    case LOG_DEBUG:
        return "plinth: ";
    }
    return "plinth: ";
}

void log_line(enum log_level level, const char *form, ...)
{
    char line[LINE_BYTES];
    size_t length;
    va_list list;

    if (level == LOG_DEBUG && !console.debug) {
        return;
    }
    length = format_text(line, sizeof(line), "%s", level_prefix(level));
    va_start(list, form);
    (void)format_list(line + length, LOG_LINE_MAX, form, list);
    va_end(list);
    lock();
    prepare();
    mux_say(&console.mux, line, &console.output);
    deliver();
    write_out(insn_rdtsc());
    unlock();
}

uint32_t console_room(void)
{
    uint32_t room = UART_RING_BYTES;

    for (uint32_t i = 0; i < console.uart_count; i++) {
        room = (uint32_t)min_u64(room, uart_room(&console.uarts[i]));
    }
    return room;
}

/* What guests may write: their bytes stay in their own rings while there is too little. Most of a UART's ring is for
 * the hypervisor alone, so that no guest's flood costs a line of its own; and what is typed is answered behind
 * GUESTS_BACKLOG bytes at most. */
static uint32_t guests_room(void)
{
    uint32_t backlog = UART_RING_BYTES - console_room();

    return backlog >= GUESTS_BACKLOG ? 0 : GUESTS_BACKLOG - backlog;
}

static bool guest_runs(const struct guest *guest)
{
    return __atomic_load_n(&guest->state, __ATOMIC_ACQUIRE) == GUEST_RUNNING;
}

/* One line per guest below the text, whenever its state is another one. */
static void show_state(const struct guest *guest, uint32_t index, uint32_t guest_count)
{
    static const char *const names[] = {"runs", "has stopped", "has failed", "has asked for a reset"};
    uint32_t state = __atomic_load_n(&guest->state, __ATOMIC_ACQUIRE);
    uint32_t shown = 1 + state + guest->restarts * (uint32_t)ARRAY_COUNT(names);
    char line[LINE_BYTES];
    size_t length;

    if (console.shown[index] == shown) {
        return;
    }
    console.shown[index] = shown;
    length = format_text(line, sizeof(line), "%s %s", guest->name, names[state]);
    if (state == GUEST_CRASHED) {
        length += format_text(line + length, sizeof(line) - length, " (P%04u): %s", guest->failure_code, guest->report);
    }
    if (guest->restarts != 0) {
        (void)format_text(line + length, sizeof(line) - length, ", restarted %u times", guest->restarts);
    }
    screen_set_status(&console.screen, index, guest_count, line);
}

/* A guest that ended and began again since the last call has done both. */
static void update_guests(struct guest *const *guests, uint32_t guest_count)
{
    for (uint32_t i = 0; i < guest_count; i++) {
        if (guests[i]->restarts != console.restarts[i]) {
            console.restarts[i] = guests[i]->restarts;
            mux_set_running(&console.mux, i, false, &console.output);
        }
        mux_set_running(&console.mux, i, guest_runs(guests[i]), &console.output);
        show_state(guests[i], i, guest_count);
    }
}

uint64_t console_guest_bytes(const struct config *config, const struct config_guest *guest)
{
    uint32_t consoles = 0;

    for (uint32_t i = 0; i < config->guest_count; i++) {
        consoles += config->guests[i].console ? 1 : 0;
    }
    return sizeof(struct mux_source) + (guest->console && consoles > 1 ? sizeof(struct console_page) : 0);
}

void console_add_guest(struct guest *guest, void *memory, uint64_t bytes)
{
    struct mux_source *source = memory;

    *source = (struct mux_source){
        .name = guest->name,
        .out = &guest->platform.console_out,
        .in = &guest->platform.console_in,
        .page = bytes > sizeof(*source) ? (struct console_page *)(void *)(source + 1) : NULL,
        .console = guest->config->console,
    };
    lock();
    prepare();
    (void)mux_add(&console.mux, source);
    unlock();
}

const char *console_panic_reason(const struct guest *guest)
{
    return mux_panic_reason(console.mux.sources[guest->index]);
}

/* Says each time that a port was given up, on the others and on the screen. */
void console_end_guest(const struct guest *guest)
{
    lock();
    prepare();
    mux_end_guest(&console.mux, guest->index, &console.output);
    deliver();
    unlock();
}

static void report_hung(void)
{
    char notice[LINE_BYTES];

    for (uint32_t i = 0; i < console.uart_count; i++) {
        if (!console.uarts[i].alive && (console.hung_reported & 1u << i) == 0 && guests_room() == GUESTS_BACKLOG) {
            console.hung_reported |= 1u << i;
            format_text(notice, sizeof(notice), "plinth: the serial port at 0x%" PRIx64 " takes no bytes: given up",
                        console.uarts[i].port.base);
            mux_say(&console.mux, notice, &console.output);
            deliver();
        }
    }
}

static void report_lost(void)
{
    char notice[LINE_BYTES];
    uint64_t lost = 0;

    for (uint32_t i = 0; i < console.uart_count; i++) {
        lost += console.uarts[i].lost;
    }
    if (lost != console.lost_seen) {
        console.lost_seen = lost;
        mux_lose_terminal(&console.mux);
    }
    if (lost != console.lost_reported && guests_room() == GUESTS_BACKLOG) {
        format_text(notice, sizeof(notice), "plinth: %" PRIu64 " bytes of output were lost: a serial port was too slow",
                    lost - console.lost_reported);
        console.lost_reported = lost;
        mux_say(&console.mux, notice, &console.output);
        deliver();
    }
}

/* The next typed byte of a port, or of the keyboard, which comes behind them. */
static bool receive(uint32_t source, uint8_t *byte)
{
    return source < console.uart_count ? uart_receive(&console.uarts[source], byte)
                                       : keyboard_receive(&console.keyboard, byte);
}

/* Typed bytes of every port and of the keyboard; the result has the focused guest's bit where it got some. What comes
 * behind a command waits until that is carried out. */
static uint64_t take_input(uint64_t now)
{
    uint64_t woken = 0;
    uint8_t byte;

    for (uint32_t i = 0; i <= console.uart_count; i++) {
        for (uint32_t count = 0; count < INPUT_BYTES_MAX && console.mux.command == MUX_NO_COMMAND && receive(i, &byte);
             count++) {
            console.last_typed = now;
            if (mux_type(&console.mux, byte, &console.output)) {
                woken |= 1ULL << console.mux.focus;
            }
            deliver();
        }
    }
    return woken;
}

/* What guests wrote, in small steps: what one costs on all devices is known only afterwards. */
static void pump(uint64_t now)
{
    uint32_t moved;
    uint32_t total = 0;

    console.output.until = insn_rdtsc() + console_ticks_of_us(PUMP_US);
    do {
        console.output.capacity = (uint32_t)min_u64(guests_room(), MUX_STEP_MAX + PUMP_BYTES);
        mux_pump(&console.mux, now, console_ticks_of_us(MUX_PARTIAL_US), &console.output);
        moved = console.output.length;
        total += moved;
        deliver();
    } while (moved != 0 && (total < MUX_SURE_BYTES || insn_rdtsc() < console.output.until));
    console.output.until = 0;
    console.output.capacity = OUTPUT_BYTES;
}

uint64_t console_service(struct guest *const *guests, uint32_t guest_count, uint64_t now)
{
    enum mux_command command;
    uint32_t guest;
    uint64_t woken;

    if (!try_lock()) {
        return 0;
    }
    console.asynchronous = true;
    prepare();
    console.output.capacity = guests_room();
    update_guests(guests, guest_count);
    deliver();
    pump(now);
    report_hung();
    report_lost();
    woken = take_input(now);
    write_out(now);
    command = console.mux.command;
    guest = console.mux.command_source;
    console.mux.command = MUX_NO_COMMAND;
    unlock();
    if (command != MUX_NO_COMMAND && console.command != NULL) {
        console.command(command, guest);
    }
    return woken;
}

static bool has_backlog(void)
{
    for (uint32_t i = 0; i < console.uart_count; i++) {
        if (!uart_empty(&console.uarts[i])) {
            return true;
        }
    }
    return console.drawing || mux_has_bytes(&console.mux);
}

static bool has_input(void)
{
    for (uint32_t i = 0; i < console.uart_count; i++) {
        if (console.uarts[i].alive) {
            return true;
        }
    }
    return console.keyboard.alive;
}

/* When keys are typed or a port is polled, whatever the screen wants. */
static uint64_t polling_deadline(uint64_t now)
{
    if (has_input() && console.last_typed != 0 &&
        clock_ticks_since(now, console.last_typed) < console_ticks_of_us(TYPING_LASTS_US)) {
        return now + console_ticks_of_us(TYPING_US);
    }
    if (has_input() || mux_has_partial(&console.mux)) {
        return now + console_ticks_of_us(IDLE_US);
    }
    return UINT64_MAX;
}

uint64_t console_deadline(uint64_t now)
{
    if (has_backlog()) {
        return now + console_ticks_of_us(BACKLOG_US);
    }
    return min_u64(polling_deadline(now), console.screen.dirty ? console.draw_due : UINT64_MAX);
}

void console_flush(void)
{
    lock();
    prepare();
    console.output.capacity = OUTPUT_BYTES;
    for (uint32_t pass = 0; pass < BYTE_RING_BYTES && mux_has_bytes(&console.mux); pass++) {
        mux_pump(&console.mux, insn_rdtsc(), 0, &console.output);
        deliver();
        write_out_all();
    }
    mux_end_line(&console.mux, &console.output);
    deliver();
    write_out_all();
    unlock();
}

void console_panic_mode(void)
{
    console.panic = true;
    mux_lose_terminal(&console.mux);
    screen_recover(&console.screen);
}

void console_panic_screen(void)
{
    screen_enlarge(&console.screen);
}
