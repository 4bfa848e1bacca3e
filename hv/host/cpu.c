/* SPDX-License-Identifier: MIT */
#include "hv/host/cpu.h"

#include "hv/base/log.h"
#include "hv/host/host_apic.h"
#include "hv/host/host_irq.h"
#include "hv/host/panic_state.h"
#include "hv/host/traps.h"
#include "hv/x86/registers.h"

/* System control port B: what may cause an NMI. PIIX4 4.2.4 "NMISC - NMI Status and Control Register". */
#define PORT_NMI_STATUS 0x61u
#define NMI_STATUS_CHANNEL_CHECK (1u << 6) /* IOCHK#: a card, or a button */
#define NMI_STATUS_SERR (1u << 7)          /* SERR#: PCI, or memory */

struct cpu cpus[CPUS_MAX];
uint32_t cpu_count;

void cpu_bind(struct cpu *cpu)
{
    cpu->self = cpu;
    insn_wrmsr(MSR_GS_BASE, (uint64_t)(uintptr_t)cpu);
}

void cpu_kick(const struct cpu *cpu)
{
    host_apic_send(cpu->apic_id, HOST_VECTOR_KICK);
}

void trap_timer(void)
{
    cpu_set_flags(cpu_this(), CPU_FLAG_TIMER);
    host_apic_eoi();
}

void trap_interrupt(uint8_t vector)
{
    struct cpu *cpu = cpu_this();

    if (vector == HOST_VECTOR_KICK) {
        cpu_set_flags(cpu, CPU_FLAG_KICK);
        host_apic_eoi();
    } else if (host_irq_arrived(vector)) {
        cpu_set_flags(cpu, CPU_FLAG_KICK);
        host_apic_eoi(); /* behind the mask: a level that is still high does not come again */
    } else if (vector >= HOST_VECTOR_MESSAGE && vector - HOST_VECTOR_MESSAGE < HOST_VECTOR_MESSAGES) {
        __atomic_fetch_or(&cpu->device_interrupts, 1ULL << (vector - HOST_VECTOR_MESSAGE), __ATOMIC_RELEASE);
        cpu_set_flags(cpu, CPU_FLAG_DEVICES);
        host_apic_eoi();
    } else {
        host_apic_end_stray(); /* spurious, or left over from the firmware */
    }
}

/* A panic stops the other CPUs by NMI, and the watchdog asks by one. Any other is reported later: the handler must not
 * log. */
void trap_nmi(const struct trap_frame *frame)
{
    struct cpu *cpu = cpu_this();

    if (hv_panicking()) {
        __atomic_store_n(&cpu->stopped_at, frame, __ATOMIC_RELEASE);
        hv_panic_stop();
    }
    if (__atomic_exchange_n(&cpu->nmi_asked, false, __ATOMIC_ACQ_REL)) {
        cpu_set_flags(cpu, CPU_FLAG_KICK);
        return;
    }
    __atomic_fetch_add(&cpu->nmis, 1, __ATOMIC_RELAXED);
    cpu_set_flags(cpu, CPU_FLAG_NMI);
}

static const char *nmi_cause(uint8_t status)
{
    if ((status & NMI_STATUS_SERR) != 0) {
        return "the chipset names a system error, of memory or PCI (port 0x61, SERR#)";
    }
    return (status & NMI_STATUS_CHANNEL_CHECK) != 0 ? "the chipset names a card or a button (port 0x61, IOCHK#)"
                                                    : "the chipset names no cause";
}

void cpu_report_nmis(struct cpu *cpu)
{
    uint64_t count = __atomic_load_n(&cpu->nmis, __ATOMIC_RELAXED);

    if (count >= 2 * cpu->nmis_reported) {
        cpu->nmis_reported = count;
        log_warning("CPU %u got an NMI that no CPU sent, %" PRIu64 " until now: %s; the guests go on", cpu->index,
                    count, nmi_cause(insn_in8(PORT_NMI_STATUS)));
    }
}
