/* SPDX-License-Identifier: MIT */
#include "hv/policy/paravirt.h"

#define SYSTEM_TIME_ENABLE 1u
#define TIME_FLAG_TSC_STABLE 1u

#define EOI_ENABLE 1u
#define EOI_RESERVED 2u

struct wall_clock {
    uint32_t version; /* even: consistent */
    uint32_t seconds;
    uint32_t nanoseconds;
};
_Static_assert(sizeof(struct wall_clock) == 12, "layout is the guest's");

struct system_time {
    uint32_t version;
    uint32_t reserved0;
    uint64_t tsc_timestamp;
    uint64_t system_time_ns;
    uint32_t tsc_to_system_multiplier;
    int8_t tsc_shift;
    uint8_t flags;
    uint8_t reserved1[2];
};
_Static_assert(sizeof(struct system_time) == 32, "layout is the guest's");
_Static_assert(offsetof(struct system_time, tsc_timestamp) == 8 && offsetof(struct system_time, system_time_ns) == 16,
               "pvclock_vcpu_time_info: two words of 64 bits");
_Static_assert(offsetof(struct system_time, tsc_shift) == 28 && offsetof(struct system_time, flags) == 29,
               "pvclock_vcpu_time_info: shift and flags");

void paravirt_clock_scale(uint64_t tsc_hz, uint32_t *multiplier, int8_t *shift)
{
    uint64_t hz = tsc_hz;

    *shift = 0;
    while (hz > 2 * NS_PER_SECOND) {
        hz >>= 1;
        (*shift)--;
    }
    while (hz <= NS_PER_SECOND) {
        hz <<= 1;
        (*shift)++;
    }
    *multiplier = (uint32_t)((NS_PER_SECOND << 32) / hz);
}

/* The guest's clock starts at 0 when its TSC does, so the wall clock is the time of day at that moment. */
void paravirt_wall_clock_write(struct vcpu *vcpu, uint64_t value)
{
    const struct host_facts *host = vcpu->guest->host;
    uint64_t start_tsc = vcpu->guest->start_tsc;
    uint64_t start_ns = host->boot_wall_ns + clock_ticks_to_ns(&host->clock, start_tsc - host->boot_tsc);
    struct wall_clock clock = {
        .version = 2,
        .seconds = (uint32_t)(start_ns / NS_PER_SECOND),
        .nanoseconds = (uint32_t)(start_ns % NS_PER_SECOND),
    };

    vcpu->msrs.kvm_wall_clock = value;
    (void)guest_memory_write(&vcpu->guest->memory, gpa(value), &clock, sizeof(clock));
}

/* What the guest will compute of so many ticks. Linux, Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW. */
static uint64_t scaled_ns(const struct system_time *time, uint64_t ticks)
{
    uint64_t shifted = time->tsc_shift < 0 ? ticks >> -time->tsc_shift : ticks << time->tsc_shift;

    return (uint64_t)(((unsigned __int128)shifted * time->tsc_to_system_multiplier) >> 32);
}

/*
 * The version is even and another one each time; a guest's vCPU reads its own page, so it never sees a half.
 *
 * Whenever a vCPU asks, its page must be on the same line as those of the others, which are never brought up to date:
 * the time of now is therefore what the guest's own multiplication gives.
 */
static void publish_system_time(struct vcpu *vcpu)
{
    const struct host_facts *host = vcpu->guest->host;
    gpa_t place = gpa(vcpu->msrs.kvm_system_time & ~(uint64_t)SYSTEM_TIME_ENABLE);
    struct system_time time = {.flags = host->tsc_stable ? TIME_FLAG_TSC_STABLE : 0};
    uint32_t version = 0;

    (void)guest_memory_read(&vcpu->guest->memory, place, &version, sizeof(version));
    time.version = (version & ~1u) + 2;
    paravirt_clock_scale(host->clock.tsc_hz, &time.tsc_to_system_multiplier, &time.tsc_shift);
    /* Guest TSC 0 is time 0. When the guest moved its TSC, the time of now is kept. */
    time.tsc_timestamp = vcpu->exit_tsc + vcpu->tsc_offset;
    time.system_time_ns = scaled_ns(&time, vcpu->exit_tsc - vcpu->guest->start_tsc);
    (void)guest_memory_write(&vcpu->guest->memory, place, &time, sizeof(time));
}

void paravirt_system_time_write(struct vcpu *vcpu, uint64_t value)
{
    vcpu->msrs.kvm_system_time = value;
    paravirt_tsc_moved(vcpu);
}

void paravirt_tsc_moved(struct vcpu *vcpu)
{
    if ((vcpu->msrs.kvm_system_time & SYSTEM_TIME_ENABLE) != 0) {
        publish_system_time(vcpu);
    }
}

bool paravirt_eoi_write(struct vcpu *vcpu, uint64_t value)
{
    gpa_t place = gpa(value & ~(uint64_t)(EOI_ENABLE | EOI_RESERVED));
    uint32_t *word = NULL;

    if ((value & EOI_ENABLE) != 0) {
        word = guest_memory_pointer(&vcpu->guest->memory, place, sizeof(*word));
    }
    if ((value & EOI_RESERVED) != 0 || ((value & EOI_ENABLE) != 0 && word == NULL)) {
        return false;
    }
    vcpu->msrs.kvm_eoi = value;
    lapic_set_end_word(&vcpu->lapic, word);
    return true;
}
