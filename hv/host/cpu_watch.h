/* SPDX-License-Identifier: MIT */
/*
 * A CPU that hangs is noticed by another one.
 *
 * Ours alone counts: a CPU that is in a guest or asleep is well, however long. A CPU that comes to its loop counts its
 * turn there, and now and then the first one to come looks whether the others' counts go on (WATCH_CHECK_S seconds lie
 * between two looks). One that stands still is asked: by an interrupt, then by an NMI, each of which ends the guest's
 * turn if it was in one. One that still stands still after that hangs, and the machine ends with P0014: what it holds
 * and what it was about to write is not known, so no other CPU can go on without it.
 *
 * Nothing is counted on the way of an exit, and no timer interrupts a guest for this: only a CPU that sleeps sets its
 * own. A vCPU that has not left its guest since its turn began (no exit's TSC is later) is not asked. One that has may
 * be in the guest again or hang in an exit: it is asked when an interrupt is due that it has not taken, and else only
 * after ten minutes, so that a guest that spins is left alone.
 *
 * Not noticed: a hang where every other CPU is in a guest that does not exit (until it does), where the machine has one
 * CPU, and before the guests start; there the last line on the console tells how far it came. Nor one between the
 * beginning of a vCPU's turn and its first exit: a hundred instructions.
 */
#ifndef HV_HOST_CPU_WATCH_H
#define HV_HOST_CPU_WATCH_H

#include "hv/base/clock.h"
#include "hv/host/cpu.h"

/* What one CPU's count has been like: of the looks, and not of the time, so that a machine that was stopped as a whole
 * (system management, a debugger) accuses no CPU. */
struct watch {
    uint64_t turns;
    uint32_t still; /* looks in a row at which the count stood still */
    uint32_t late;  /* of these, those in a row at which it had to go on */
};

/* Why a count may stand still. */
enum watch_state {
    WATCH_WELL_ANYWAY, /* it sleeps, or is in a guest for certain */
    WATCH_MAY_STAND,   /* it may be in a guest */
    WATCH_MUST_GO_ON,
};

enum watch_verdict {
    WATCH_WELL,
    WATCH_ASK,      /* by an interrupt */
    WATCH_ASK_LOUD, /* by an NMI */
    WATCH_HANGS,
};

#define WATCH_CHECK_S 4u
#define WATCH_STILL_MAX 150u /* then it is asked all the same, which makes an interrupt due */
#define WATCH_LATE_ASK 5u
#define WATCH_LATE_ASK_LOUD 6u
#define WATCH_LATE_HANGS 8u

/* One look at a CPU. */
static inline enum watch_verdict watch_look(struct watch *watch, uint64_t turns, enum watch_state state)
{
    if (state == WATCH_WELL_ANYWAY || turns != watch->turns) {
        *watch = (struct watch){.turns = turns};
        return WATCH_WELL;
    }
    watch->still++;
    watch->late = state == WATCH_MUST_GO_ON ? watch->late + 1 : 0;
    if (watch->late >= WATCH_LATE_HANGS) {
        return WATCH_HANGS;
    }
    if (watch->late >= WATCH_LATE_ASK_LOUD) {
        return WATCH_ASK_LOUD;
    }
    return watch->late == WATCH_LATE_ASK || watch->still == WATCH_STILL_MAX ? WATCH_ASK : WATCH_WELL;
}

/* Before the other CPUs are let go. With one CPU that is ready nothing is watched. */
void cpu_watch_start(const struct clock *clock);

/* A turn of the CPU's loop. */
void cpu_watch_turn(struct cpu *cpu, uint64_t now);

/* When a CPU that sleeps has to look. */
uint64_t cpu_watch_deadline(void);

#endif
