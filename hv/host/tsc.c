/* SPDX-License-Identifier: MIT */
#include "hv/host/tsc.h"

#include "hv/base/clock.h"
#include "hv/base/format.h"
#include "hv/base/memory.h"
#include "hv/host/host_acpi.h"
#include "hv/host/tsc_rate.h"
#include "hv/host/tsc_reference.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define ASSUMED_HZ 4000000000ULL
#define PARTS_PER_MILLION 1000000u

static uint64_t known_hz;

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

/* No timer works: CPUID's word is all there is. */
static void take_cpuid_rate(struct tsc_calibration *result)
{
    bool derived;
    uint64_t exact = cpuid_hz(&derived);

    result->hz = exact != 0 ? exact : cpuid_base_hz();
    format_text(result->source, sizeof(result->source), "%s, not checked",
                exact == 0 ? "CPUID leaf 0x16"
                : derived  ? "CPUID leaf 0x15 and a crystal by leaf 0x16"
                           : "CPUID leaf 0x15");
    result->stable = is_invariant();
    format_text(result->note, sizeof(result->note),
                "neither an ACPI PM timer, an HPET nor an 8254 counts on this machine");
}

/* "; also by the HPET, the 8254 timer; not by the firmware's Stall() (2000 kHz)" */
static void tell_others(struct tsc_calibration *result, size_t length, const struct tsc_measurement *measurement,
                        uint32_t elected, uint32_t agree)
{
    const char *before = "; also by ";

    for (uint32_t i = 0; i < TSC_REFERENCES; i++) {
        if (i != elected && (agree >> i & 1) != 0) {
            length += format_text(result->source + length, sizeof(result->source) - length, "%s%s", before,
                                  tsc_reference_name((enum tsc_reference)i));
            before = ", ";
        }
    }
    before = "; not by ";
    for (uint32_t i = 0; i < TSC_REFERENCES; i++) {
        if (measurement->hz[i] != 0 && (agree >> i & 1) == 0) {
            length += format_text(result->source + length, sizeof(result->source) - length, "%s%s (%" PRIu64 " kHz)",
                                  before, tsc_reference_name((enum tsc_reference)i), measurement->hz[i] / 1000);
            before = ", ";
        }
    }
}

/* Leaf 0x15 is exact where it agrees; leaf 0x16 is rounded to MHz, so it is only compared. Returns the length of the
 * source's text. */
static size_t take_measured_rate(struct tsc_calibration *result, const char *name, uint64_t measured)
{
    bool derived;
    uint64_t exact = cpuid_hz(&derived);
    uint64_t stated = exact != 0 ? exact : cpuid_base_hz();

    result->hz = measured;
    if (exact != 0 && tsc_rates_agree(exact, measured)) {
        result->hz = exact;
        return format_text(result->source, sizeof(result->source), "CPUID leaf 0x15%s, checked with %s",
                           derived ? ", crystal by leaf 0x16" : "", name);
    }
    if (stated != 0 && !tsc_rates_agree(stated, measured)) {
        format_text(result->note, sizeof(result->note),
                    "CPUID leaf %s states %" PRIu64 " kHz and %s measures %" PRIu64 " kHz: the timer is believed",
                    exact != 0 ? "0x15" : "0x16", stated / 1000, name, measured / 1000);
    }
    return format_text(result->source, sizeof(result->source), "measured with %s", name);
}

struct tsc_calibration tsc_calibrate(const struct host_acpi *acpi, uint64_t stall_hz)
{
    struct tsc_measurement measurement;
    struct tsc_calibration result;
    uint32_t elected, agree;
    size_t length;

    memset(&result, 0, sizeof(result));
    tsc_reference_measure(acpi, stall_hz, &measurement);
    elected = tsc_rate_elect(measurement.hz, TSC_REFERENCES, &agree);
    if (elected == TSC_REFERENCES) {
        take_cpuid_rate(&result);
    } else {
        result.stable = is_invariant() || (is_virtual() && measurement.halves_ppm[elected] <= TSC_STABLE_PPM);
        length = take_measured_rate(&result, tsc_reference_name((enum tsc_reference)elected), measurement.hz[elected]);
        tell_others(&result, length, &measurement, elected, agree);
    }
    known_hz = result.hz;
    return result;
}

uint64_t clock_now(void)
{
    return insn_rdtsc();
}
