#include "hv/cpu.h"

#include "hv/panic.h"
#include "hv/x86/host_apic.h"
#include "hv/x86/registers.h"
#include "hv/x86/traps.h"

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

void trap_interrupt(uint8_t vector)
{
    struct cpu *cpu = cpu_this();

    if (vector == HOST_VECTOR_TIMER) {
        cpu_set_flags(cpu, CPU_FLAG_TIMER);
        host_apic_eoi();
    } else if (vector == HOST_VECTOR_KICK) {
        cpu_set_flags(cpu, CPU_FLAG_KICK);
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
    cpu_set_flags(cpu, __atomic_exchange_n(&cpu->nmi_asked, false, __ATOMIC_ACQ_REL) ? CPU_FLAG_KICK : CPU_FLAG_NMI);
}
