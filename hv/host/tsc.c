/* SPDX-License-Identifier: MIT */
#include "hv/host/tsc.h"

#include "hv/base/clock.h"
#include "hv/base/format.h"
#include "hv/base/memory.h"
#include "hv/host/host_acpi.h"
#include "hv/host/tsc_rate.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define ASSUMED_HZ 4000000000ULL
#define HALF_US 10000u       /* each of the two measurements */
#define ROUNDS_MAX 4u        /* until two measurements of a round agree */
#define SAMPLE_READS 5u      /* per sample: the quickest one counts */
#define CPUID_TOLERANCE 100u /* one part in this many: beyond, CPUID is not believed */
#define PARTS_PER_MILLION 1000000u
#define SPINS_MAX 100000000u /* a timer that stands still ends the wait by this */
#define TSC_HZ_MIN 1000000ULL

/* ACPI 6.5 4.8.3.3 "Power Management Timer (PM_TMR)". */
#define PM_TIMER_HZ 3579545u
#define PM_TIMER_24BIT 0xffffffu

/* Channel 2 of the 8254, gated by bit 0 of port 0x61. Intel 8254 data sheet, "Programming". */
#define PIT_HZ 1193182u
#define PIT_CHANNEL_2 0x42u
#define PIT_COMMAND 0x43u
#define PIT_PORT_B 0x61u
#define PIT_GATE_2 0x01u
#define PIT_SPEAKER 0x02u
#define PIT_SELECT_2_MODE_0 0xb0u /* channel 2, low then high byte, mode 0: counts down once, without reload */
#define PIT_LATCH_2 0x80u

static uint64_t known_hz;

struct reference {
    const char *name;
    uint32_t hz;
    uint32_t mask;
    uint16_t port; /* of the PM timer; 0: the 8254 */
};

static const struct reference pit_reference = {"the 8254 timer", PIT_HZ, 0xffff, 0};

struct sample {
    uint64_t tsc;
    uint32_t count; /* counts up */
};

struct rate {
    uint64_t first_hz, second_hz, whole_hz;
};

uint64_t tsc_ticks_of_us(uint64_t us)
{
    return us * ((known_hz != 0 ? known_hz : ASSUMED_HZ) / 1000) / 1000;
}

uint64_t tsc_after_us(uint64_t us)
{
    return insn_rdtsc() + tsc_ticks_of_us(us);
}

void tsc_wait_us(uint64_t us)
{
    uint64_t start = insn_rdtsc();
    uint64_t ticks = tsc_ticks_of_us(us);

    while (insn_rdtsc() - start < ticks) {
        insn_pause();
    }
}

static uint32_t read_pit(void)
{
    uint8_t low, high;

    insn_out8(PIT_COMMAND, PIT_LATCH_2);
    low = insn_in8(PIT_CHANNEL_2);
    high = insn_in8(PIT_CHANNEL_2);
    return 0xffffu - ((uint32_t)high << 8 | low);
}

static void start_pit(void)
{
    insn_out8(PIT_PORT_B, (uint8_t)((insn_in8(PIT_PORT_B) & ~PIT_SPEAKER) | PIT_GATE_2));
    insn_out8(PIT_COMMAND, PIT_SELECT_2_MODE_0);
    insn_out8(PIT_CHANNEL_2, 0xff);
    insn_out8(PIT_CHANNEL_2, 0xff);
}

static uint32_t read_reference(const struct reference *reference)
{
    return (reference->port != 0 ? insn_in32(reference->port) : read_pit()) & reference->mask;
}

/* The reading that took the least time, with the TSC in its middle: an SMI or a busy host makes others long. */
static struct sample take_sample(const struct reference *reference)
{
    struct sample best = {0};
    uint64_t best_ticks = UINT64_MAX;

    for (uint32_t i = 0; i < SAMPLE_READS; i++) {
        uint64_t before = insn_rdtsc();
        uint32_t count = read_reference(reference);
        uint64_t ticks = insn_rdtsc() - before;

        if (ticks < best_ticks) {
            best_ticks = ticks;
            best = (struct sample){before + ticks / 2, count};
        }
    }
    return best;
}

/* Waits until the timer has counted that far from `start`; false where it stands still. */
static bool wait_counts(const struct reference *reference, const struct sample *start, uint32_t counts)
{
    for (uint32_t spins = 0; spins < SPINS_MAX; spins++) {
        if (((read_reference(reference) - start->count) & reference->mask) >= counts) {
            return true;
        }
        if (spins > 1000 && ((read_reference(reference) - start->count) & reference->mask) == 0) {
            return false;
        }
    }
    return false;
}

static uint64_t hz_between(const struct reference *reference, const struct sample *from, const struct sample *to)
{
    uint32_t counts = (to->count - from->count) & reference->mask;

    return counts == 0 ? 0 : (to->tsc - from->tsc) * reference->hz / counts;
}

static bool measure(const struct reference *reference, struct rate *rate)
{
    uint32_t half = (uint32_t)((uint64_t)reference->hz * HALF_US / PARTS_PER_MILLION);
    struct sample start, middle, end;

    if (reference->port == 0) {
        start_pit();
    }
    start = take_sample(reference);
    if (!wait_counts(reference, &start, half)) {
        return false;
    }
    middle = take_sample(reference);
    if (!wait_counts(reference, &middle, half)) {
        return false;
    }
    end = take_sample(reference);
    rate->first_hz = hz_between(reference, &start, &middle);
    rate->second_hz = hz_between(reference, &middle, &end);
    rate->whole_hz = hz_between(reference, &start, &end);
    return rate->whole_hz >= TSC_HZ_MIN;
}

static uint64_t difference(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

static uint64_t ppm(uint64_t a, uint64_t b)
{
    return difference(a, b) * PARTS_PER_MILLION / max_u64(b, 1);
}

/* Rounds until the two halves of one agree; the round whose halves agree best. UINT64_MAX: the timer does not work. */
static uint64_t measure_best(const struct reference *reference, struct rate *best)
{
    uint64_t best_ppm = UINT64_MAX;
    struct rate rate;

    for (uint32_t i = 0; i < ROUNDS_MAX && best_ppm > TSC_STABLE_PPM; i++) {
        if (!measure(reference, &rate)) {
            return best_ppm;
        }
        if (ppm(rate.first_hz, rate.second_hz) < best_ppm) {
            best_ppm = ppm(rate.first_hz, rate.second_hz);
            *best = rate;
        }
    }
    return best_ppm;
}

static struct tsc_rate_words read_rate_words(void)
{
    uint32_t highest = insn_cpuid(CPUID_VENDOR, 0).eax;
    struct tsc_rate_words words = {0};

    if (highest >= CPUID_TSC_RATIO) {
        struct cpuid_result ratio = insn_cpuid(CPUID_TSC_RATIO, 0);

        words = (struct tsc_rate_words){ratio.eax, ratio.ebx, ratio.ecx, 0};
    }
    if (highest >= CPUID_FREQUENCY) {
        words.base_mhz = insn_cpuid(CPUID_FREQUENCY, 0).eax & 0xffff;
    }
    return words;
}

/* What leaf 0x15 states, exactly. 0 where it does not say. */
static uint64_t cpuid_hz(bool *derived)
{
    const struct tsc_rate_words words = read_rate_words();

    return tsc_rate_stated(&words, derived);
}

/* The base frequency of leaf 0x16, in whole MHz: only where nothing can be measured. */
static uint64_t cpuid_base_hz(void)
{
    return (uint64_t)read_rate_words().base_mhz * PARTS_PER_MILLION;
}

static bool is_invariant(void)
{
    return insn_cpuid(CPUID_HIGHEST_EXTENDED, 0).eax >= CPUID_POWER &&
           (insn_cpuid(CPUID_POWER, 0).edx & CPUID_87_EDX_INVARIANT_TSC) != 0;
}

static bool is_virtual(void)
{
    return (insn_cpuid(CPUID_FEATURES, 0).ecx & CPUID_1_ECX_HYPERVISOR) != 0;
}

static struct reference choose_reference(const struct host_acpi *acpi)
{
    if (acpi->pm_timer_port != 0) {
        return (struct reference){"the ACPI PM timer", PM_TIMER_HZ, acpi->pm_timer_32bit ? UINT32_MAX : PM_TIMER_24BIT,
                                  acpi->pm_timer_port};
    }
    return pit_reference;
}

/* No timer works: CPUID's word is all there is. */
static void take_cpuid_rate(struct tsc_calibration *result)
{
    bool derived;
    uint64_t exact = cpuid_hz(&derived);

    result->hz = exact != 0 ? exact : cpuid_base_hz();
    result->source = exact == 0 ? "CPUID leaf 0x16, not checked"
                     : derived  ? "CPUID leaf 0x15 and a crystal by leaf 0x16, not checked"
                                : "CPUID leaf 0x15, not checked";
    result->stable = is_invariant();
    format_text(result->note, sizeof(result->note), "neither an ACPI PM timer nor an 8254 counts on this machine");
}

static bool rates_agree(uint64_t stated, uint64_t measured)
{
    return difference(stated, measured) <= measured / CPUID_TOLERANCE;
}

static const char *exact_source(bool pm_timer, bool derived)
{
    if (derived) {
        return pm_timer ? "CPUID leaf 0x15, crystal by leaf 0x16, checked with the ACPI PM timer"
                        : "CPUID leaf 0x15, crystal by leaf 0x16, checked with the 8254 timer";
    }
    return pm_timer ? "CPUID leaf 0x15, checked with the ACPI PM timer"
                    : "CPUID leaf 0x15, checked with the 8254 timer";
}

/* Leaf 0x15 is exact where it agrees; leaf 0x16 is rounded to MHz, so it is only compared. */
static void compare_with_cpuid(struct tsc_calibration *result, const struct reference *reference, uint64_t measured)
{
    bool derived;
    uint64_t exact = cpuid_hz(&derived);
    uint64_t stated = exact != 0 ? exact : cpuid_base_hz();

    if (exact != 0 && rates_agree(exact, measured)) {
        result->hz = exact;
        result->source = exact_source(reference->port != 0, derived);
    } else if (stated != 0 && !rates_agree(stated, measured)) {
        format_text(result->note, sizeof(result->note),
                    "CPUID leaf %s states %" PRIu64 " kHz and %s measures %" PRIu64 " kHz: the timer is believed",
                    exact != 0 ? "0x15" : "0x16", stated / 1000, reference->name, measured / 1000);
    }
}

static void take_measured_rate(struct tsc_calibration *result, const struct reference *reference,
                               const struct rate *rate, uint64_t halves_ppm)
{
    result->hz = rate->whole_hz;
    result->source = reference->port != 0 ? "measured with the ACPI PM timer" : "measured with the 8254 timer";
    result->stable = is_invariant() || (is_virtual() && halves_ppm <= TSC_STABLE_PPM);
    compare_with_cpuid(result, reference, rate->whole_hz);
}

struct tsc_calibration tsc_calibrate(const struct host_acpi *acpi)
{
    struct reference reference = choose_reference(acpi);
    struct tsc_calibration result;
    struct rate rate;
    uint64_t halves_ppm;

    memset(&result, 0, sizeof(result));
    halves_ppm = measure_best(&reference, &rate);
    if (halves_ppm == UINT64_MAX && reference.port != 0) {
        reference = pit_reference;
        halves_ppm = measure_best(&reference, &rate);
    }
    if (halves_ppm == UINT64_MAX) {
        take_cpuid_rate(&result);
    } else {
        take_measured_rate(&result, &reference, &rate, halves_ppm);
    }
    known_hz = result.hz;
    return result;
}

uint64_t clock_now(void)
{
    return insn_rdtsc();
}
