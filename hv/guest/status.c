/* SPDX-License-Identifier: MIT */
#include "hv/guest/status.h"

#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/console/console.h"
#include "hv/core/guest_devices.h"
#include "hv/dev/crtc.h"
#include "hv/guest/create.h"
#include "hv/guest/restart.h"
#include "hv/report/exit_counts.h"
#include "hv/x86/insn.h"

#define NS_PER_MS 1000000ULL
#define LINE_TEXT_MAX 400u
#define UNKNOWN_SHOWN 4u
#define RESTARTED_TEXT_MAX 40u

static const char *state_of(const struct guest *guest)
{
    if (guest_restart_deadline(&guest->vcpus[0]) != UINT64_MAX) {
        return "waits for its restart";
    }
    switch ((enum guest_state)__atomic_load_n(&guest->state, __ATOMIC_ACQUIRE)) {
    case GUEST_RUNNING:
        return "runs";
    case GUEST_STOPPED:
        return "has stopped";
    case GUEST_CRASHED:
        return "has failed";
    case GUEST_RESET:
        return "has asked for a reset";
    }
    return "?";
}

static const char *vcpu_state_name(enum vcpu_state state)
{
    switch (state) {
    case VCPU_STATE_OFF:
        return "off";
    case VCPU_STATE_RUNNABLE:
        return "runs";
    case VCPU_STATE_HALTED:
        return "halted";
    case VCPU_STATE_DEAD:
        return "ended";
    }
    return "?";
}

/* A vCPU that has its CPU for itself may have been in one turn since its start. */
static uint64_t cpu_time_ms(const struct vcpu *vcpu)
{
    uint64_t began = __atomic_load_n(&vcpu->turn_began, __ATOMIC_RELAXED);
    uint64_t ticks = vcpu->cpu_ticks + (began != 0 ? insn_rdtsc() - began : 0);

    return clock_ticks_to_ns(&vcpu->guest->host->clock, ticks) / NS_PER_MS;
}

static void print_guest(const struct guest *guest)
{
    uint64_t ticks = insn_rdtsc() - guest->start_tsc;

    char restarted[RESTARTED_TEXT_MAX] = "";

    if (guest->restarts != 0) {
        (void)format_text(restarted, sizeof(restarted), ", restarted %u times", guest->restarts);
    }
    log_info("guest %s %s; %" PRIu64 " ms since its start%s", guest->name, state_of(guest),
             clock_ticks_to_ns(&guest->host->clock, ticks) / NS_PER_MS, restarted);
    for (uint32_t i = 0; i < guest->vcpu_count; i++) {
        const struct vcpu *vcpu = &guest->vcpus[i];

        log_info("  vCPU %u on CPU %u %s at rip 0x%" PRIx64 ", %" PRIu64 " ms of CPU time", i, vcpu->host_cpu,
                 vcpu_state_name(vcpu->state), vcpu->rip, cpu_time_ms(vcpu));
    }
}

static void print_exits(const struct guest *guest)
{
    char text[EXIT_COUNTS_TEXT_MAX];

    log_info("  %s", exit_counts_text(guest, text, sizeof(text)));
    if (guest->small_code != NULL) {
        log_info("  has executed from %" PRIu64 " x 2 MiB, in pages of 4 KiB", guest->small_code->regions);
    }
}

/* The newest ones. */
static void print_unknown(struct guest *guest)
{
    struct unknown_access shown[UNKNOWN_SHOWN];
    uint32_t count;
    char text[LINE_TEXT_MAX];

    spinlock_take(&guest->unknown_lock);
    count = guest->unknown_count < UNKNOWN_SHOWN ? guest->unknown_count : UNKNOWN_SHOWN;
    for (uint32_t i = 0; i < count; i++) {
        shown[i] = guest->unknown[guest->unknown_count - count + i];
    }
    spinlock_release(&guest->unknown_lock);
    for (uint32_t i = 0; i < count; i++) {
        log_info("  it %s", guest_unknown_describe(&shown[i], text, sizeof(text)));
    }
}

/* The guest may write meanwhile: each cell is read once. */
bool guest_status_screen(const struct guest *guest)
{
    const uint8_t *cells = guest_memory_pointer(&guest->memory, gpa(TEXT_MEMORY), TEXT_ROWS * TEXT_ROW_BYTES);
    char text[TEXT_COLUMNS + 1];
    bool shown = false;

    if (cells == NULL || guest->platform.console_out.head != 0) {
        return true;
    }
    for (uint32_t row = 0; row < TEXT_ROWS; row++) {
        if (crtc_row_text(&cells[row * TEXT_ROW_BYTES], text) == 0) {
            continue;
        }
        if (!shown) {
            log_info("  its serial port is silent; its text display shows:");
            shown = true;
        }
        log_info("  | %s", text);
    }
    return shown;
}

void guest_status_print(void)
{
    log_info("status of %u guests", guest_count);
    for (uint32_t i = 0; i < guest_count; i++) {
        print_guest(guests[i]);
        print_exits(guests[i]);
        guest_devices_report(guests[i], true);
        print_unknown(guests[i]);
        guest_status_screen(guests[i]);
    }
    log_info("end of the status");
}
