/* SPDX-License-Identifier: MIT */
/* See entropy.h. */
#include "hv/host/entropy.h"

#include "hv/base/memory.h"
#include "hv/x86/insn.h"

#define CPUID_1_ECX_RDRAND (1u << 30)
#define CPUID_7_EBX_RDSEED (1u << 18)
#define LEAF_FEATURES 7u
#define TRIES 64u /* RDSEED may have none for a while */
#define WORDS (RANDOM_KEY_BYTES / sizeof(uint64_t))

static struct random host_random;
static bool known; /* some source has given random numbers */

/* SDM 1, 7.3.17 "Random Number Generator Instructions". All ones are what a CPU gives whose generator has stopped. */
static bool read_word(bool (*instruction)(uint64_t *), uint64_t *word)
{
    for (unsigned i = 0; i < TRIES; i++) {
        if (instruction(word) && *word != UINT64_MAX) {
            return true;
        }
    }
    return false;
}

static bool mix_cpu(bool (*instruction)(uint64_t *))
{
    uint64_t words[WORDS];
    bool whole = true;

    for (size_t i = 0; i < WORDS; i++) {
        whole = read_word(instruction, &words[i]) && whole;
    }
    random_mix(&host_random, (const uint8_t *)words);
    return whole;
}

void host_entropy_start(const uint8_t firmware[RANDOM_KEY_BYTES])
{
    uint64_t time[WORDS] = {insn_rdtsc()};

    for (size_t i = 0; i < RANDOM_KEY_BYTES; i++) {
        known = known || firmware[i] != 0;
    }
    random_mix(&host_random, firmware);
    random_mix(&host_random, (const uint8_t *)time);
    if (insn_cpuid(0, 0).eax >= LEAF_FEATURES && (insn_cpuid(LEAF_FEATURES, 0).ebx & CPUID_7_EBX_RDSEED) != 0) {
        known = mix_cpu(insn_rdseed) || known;
    }
    if ((insn_cpuid(1, 0).ecx & CPUID_1_ECX_RDRAND) != 0) {
        known = mix_cpu(insn_rdrand) || known;
    }
}

bool host_entropy_key(uint8_t key[RANDOM_KEY_BYTES])
{
    random_bytes(&host_random, key, RANDOM_KEY_BYTES);
    return known;
}
