/* SPDX-License-Identifier: MIT */
#include "hv/guest/com2.h"

#include "hv/base/log.h"
#include "hv/base/spinlock.h"
#include "hv/console/console.h"
#include "hv/guest/create.h"
#include "hv/host/cpu.h"
#include "hv/report/com2_lines.h"

/* A flood leaves most of a port's ring to the lines of the hypervisor and of consoles. */
#define ROOM_KEPT 24000u
#define LINES_A_TURN 16u /* of one guest, then the next has its turn */

static struct com2_lines com2_lines[CONFIG_GUESTS_MAX];
static struct spinlock com2_lock;

/* Its UART may have bytes that found no room in the ring. */
static void tell_guest(struct guest *guest)
{
    struct vcpu *vcpu = &guest->vcpus[0];

    (void)vcpu_kick_set(vcpu, VCPU_KICK_CONSOLE);
    cpu_kick(&cpus[vcpu->host_cpu]);
}

static void log_text(const struct guest *guest, const char *text)
{
    log_info("guest %s COM2: %s", guest->name, text);
}

static void serve(struct guest *guest)
{
    struct byte_ring *ring = &guest->platform.com2_out;
    bool was_full = byte_ring_room(ring) == 0;

    for (uint32_t i = 0; i < LINES_A_TURN && console_room() >= ROOM_KEPT; i++) {
        const char *line = com2_lines_next(&com2_lines[guest->index], ring);

        if (line == NULL) {
            break;
        }
        log_text(guest, line);
    }
    if (was_full) {
        tell_guest(guest);
    }
}

void guest_com2_serve(void)
{
    for (uint32_t i = 0; i < guest_count; i++) {
        if (guests[i]->config->com2 && byte_ring_count(&guests[i]->platform.com2_out) != 0) {
            spinlock_take(&com2_lock);
            serve(guests[i]);
            spinlock_release(&com2_lock);
        }
    }
}

bool guest_com2_has_said_all(const struct guest *guest)
{
    return !guest->config->com2 || byte_ring_count(&guest->platform.com2_out) == 0;
}

void guest_com2_end(const struct guest *guest)
{
    const char *rest = com2_lines_rest(&com2_lines[guest->index]);

    if (rest != NULL) {
        log_text(guest, rest);
    }
}
