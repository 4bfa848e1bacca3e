/* SPDX-License-Identifier: MIT */
#include "hv/host/cpu_watch.h"

#include "hv/base/format.h"
#include "hv/core/vcpu.h"
#include "hv/host/host_apic.h"
#include "hv/host/panic.h"

#define SENTENCE_MAX 120u

static struct watch watches[CPUS_MAX]; /* owned until then by the CPU that moved `due` on */
static uint64_t due = UINT64_MAX;
static uint64_t check_ticks;

static uint32_t ready_cpus(void)
{
    uint32_t ready = 0;

    for (uint32_t i = 0; i < cpu_count; i++) {
        ready += cpu_is_ready(&cpus[i]);
    }
    return ready;
}

void cpu_watch_start(const struct clock *clock)
{
    check_ticks = clock_ns_to_ticks(clock, WATCH_CHECK_S * NS_PER_SECOND);
    if (ready_cpus() > 1) {
        __atomic_store_n(&due, insn_rdtsc() + check_ticks, __ATOMIC_RELEASE);
    }
}

/* What is known of a CPU from outside. In a vCPU's turn nothing tells the guest from what its exits do, but an
 * interrupt that is due ends the turn. */
static enum watch_state state_of(const struct cpu *cpu)
{
    const struct vcpu *vcpu = __atomic_load_n(&cpu->current, __ATOMIC_ACQUIRE);
    uint64_t began = vcpu == NULL ? 0 : __atomic_load_n(&vcpu->turn_began, __ATOMIC_RELAXED);

    if (__atomic_load_n(&cpu->idle, __ATOMIC_RELAXED)) {
        return WATCH_WELL_ANYWAY;
    }
    if (began == 0) {
        return WATCH_MUST_GO_ON;
    }
    if (__atomic_load_n(&vcpu->exit_tsc, __ATOMIC_RELAXED) < began) {
        return WATCH_WELL_ANYWAY;
    }
    return cpu_flags(cpu) != 0 || __atomic_load_n(&cpu->armed, __ATOMIC_RELAXED) <= insn_rdtsc() ? WATCH_MUST_GO_ON
                                                                                                 : WATCH_MAY_STAND;
}

static void look_at(struct cpu *cpu, struct watch *watch)
{
    char sentence[SENTENCE_MAX];

    switch (watch_look(watch, __atomic_load_n(&cpu->turns, __ATOMIC_RELAXED), state_of(cpu))) {
    case WATCH_WELL:
        break;
    case WATCH_ASK:
        cpu_kick(cpu);
        break;
    case WATCH_ASK_LOUD:
        __atomic_store_n(&cpu->nmi_asked, true, __ATOMIC_RELEASE);
        host_apic_send_nmi(cpu->apic_id);
        break;
    case WATCH_HANGS:
        format_text(sentence, sizeof(sentence), "CPU %u hangs: it has done nothing for %u s and does not answer",
                    cpu->index, WATCH_CHECK_S * watch->still);
        hv_panic_hang(cpu, sentence);
    }
}

static void look(const struct cpu *self)
{
    for (uint32_t i = 0; i < cpu_count; i++) {
        if (&cpus[i] != self && cpu_is_ready(&cpus[i])) {
            look_at(&cpus[i], &watches[i]);
        }
    }
}

void cpu_watch_turn(struct cpu *cpu, uint64_t now)
{
    uint64_t when = __atomic_load_n(&due, __ATOMIC_RELAXED);

    __atomic_store_n(&cpu->turns, cpu->turns + 1, __ATOMIC_RELAXED);
    if (now >= when &&
        __atomic_compare_exchange_n(&due, &when, now + check_ticks, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        look(cpu);
    }
}

uint64_t cpu_watch_deadline(void)
{
    return __atomic_load_n(&due, __ATOMIC_RELAXED);
}
