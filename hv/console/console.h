/* SPDX-License-Identifier: MIT */
/*
 * Every message to every console there is: 16550 ports, the firmware's framebuffer, a ring in RAM.
 *
 * Two voices use it. The hypervisor's own (log_line(), hv/base/log.h) is one line at a time with the prefix
 * "plinth: "; guests write bytes into their console_out rings, which console_service() moves on. With one console guest
 * its bytes pass as they are; with several, whole lines carry "[name] ", lines of different sources never mix, and
 * nothing passes that would do more than that (console_mux.h). Input goes to the guest that has the focus; Ctrl-] is
 * the escape key.
 *
 * No CPU waits here: bytes for a UART go through a ring that is drained as far as its FIFO has room, and the screen is
 * a grid of characters of which a bounded number is redrawn per call. So the CPUs' loop must call console_service()
 * again at console_deadline(). Only the panic path waits, with bounds.
 *
 * The parts (the first ones are pure): vt_parser.c takes guests' bytes apart; console_line.c and console_page.c are
 * what they make of a line and of a full screen; console_mux.c decides what is shown and which guest gets what is
 * typed, with console_show.c, console_keys.c and vt_output.c; vt_tracker.c follows a guest that is alone.
 * console_screen.c is the screen's grid. console_uart.c are the ports, console.c the wiring and the lock.
 *
 * This folder has where text goes and keys come from. Nothing here knows what a guest is but its ring and its name.
 */
#ifndef HV_CONSOLE_CONSOLE_H
#define HV_CONSOLE_CONSOLE_H

#include "hv/base/log.h"
#include "hv/boot_info.h"
#include "hv/console/console_mux.h"
#include "hv/console/console_ram.h"
#include "hv/core/guest.h"

/* Programs the UARTs and clears the screen, as info->config wants them. Log lines that came before are shown now. Never
 * fails: without any console the RAM ring is left. Until the first console_service() every line is written out before
 * log_line() returns, so that a hang during the start-up shows where it happened. */
void console_init(const struct boot_info *info);

/* How fast the TSC counts, once that is known. */
void console_set_tsc_hz(uint64_t hz);

/* From now on what is typed on the PC's keyboard counts, too. False: none answers. Needs the TSC's rate. */
bool console_open_keyboard(void);

/* One sentence: which screen is drawn on and how fast it takes what is drawn, or nothing where none is. Needs the TSC's
 * rate, and the host map, which makes the framebuffer write-combining. */
void console_say_screen(const struct boot_framebuffer *framebuffer);

/* What a key asks for (Ctrl-] ? lists them), and the guest that it is for. Called from console_service() without the
 * console's lock, so it may log. */
void console_set_command_hook(void (*command)(enum mux_command command, uint32_t guest));

/* A guest's part of the console, in the config's order, before the guests run: its line, its last lines and, where
 * several guests have a console, its full screen. `memory` has `bytes` bytes, all zeroes: console_guest_bytes(). */
#define CONSOLE_GUEST_BYTES_MAX (sizeof(struct mux_source) + sizeof(struct console_page))
uint64_t console_guest_bytes(const struct config *config, const struct config_guest *guest);
void console_add_guest(struct guest *guest, void *memory, uint64_t bytes);

/* The guest has ended, and nothing of its output waits any more: its last line is complete on the console. Before
 * anything is said of its end, and before it may begin again. */
void console_end_guest(const struct guest *guest);

/* What the guest's kernel has printed as the reason of a panic since its start; an empty text: nothing. */
const char *console_panic_reason(const struct guest *guest);

/*
 * Moves what there is: guests' output, keyboard input, the UARTs' and the screen's backlog. Any CPU may call it, also
 * several at once (one works, the others return). A bit n set in the result: *guests[n] got input bytes, so the caller
 * kicks its vCPU 0; where it does not, the guest learns of them at the next key.
 */
__attribute__((warn_unused_result)) uint64_t console_service(struct guest *const *guests, uint32_t guest_count,
                                                             uint64_t now);
_Static_assert(CONFIG_GUESTS_MAX <= 64, "one bit per guest");

/* The TSC at which console_service() is wanted again: sooner while there is a backlog or keys are typed. UINT64_MAX
 * where there is neither input nor backlog. */
uint64_t console_deadline(uint64_t now);

/* How many bytes may be logged now without any being lost. */
uint32_t console_room(void);

/* Waits until all output is out, each UART with its own bound: before power-off, reset, halt. */
void console_flush(void);

/* From now on log lines are written out synchronously, whichever CPU holds the console's lock: it may never let go. */
void console_panic_mode(void);

/* When the other CPUs have stopped: the screen for the report alone, large enough for a photo. */
void console_panic_screen(void);

/* What is printed before console_init() gave it a better place; afterwards nothing more comes here. */
extern struct console_ram console_ram;

#endif
