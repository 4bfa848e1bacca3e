/* SPDX-License-Identifier: MIT */
/*
 * What the hostile guests share. An attack is a row of a table: a name and a function. The command line names those to
 * run ("attack=ports", comma-separated), or all run. Each prints "attack NAME" before it begins and "survived NAME"
 * after it, so that the log says which one was at work when something happened.
 */
#ifndef TESTS_GUESTS_LIB_HOSTILE_H
#define TESTS_GUESTS_LIB_HOSTILE_H

#include "tests/guests/lib/guest.h"
#include "tests/guests/lib/start_info.h"

struct attack {
    const char *name;
    void (*run)(void);
};

/* The text after `key` in the command line, or NULL. */
static inline const char *hostile_argument(const char *key)
{
    const struct start_info *info = start_info();

    return info == NULL ? NULL : start_info_argument(info, key);
}

static inline uint32_t hostile_number(const char *key, uint32_t otherwise)
{
    const struct start_info *info = start_info();

    return info == NULL ? otherwise : start_info_number(info, key, otherwise);
}

/* True where `name` is one of the comma-separated words of attack=, or there is no attack=. */
static inline bool hostile_wanted(const char *name)
{
    const char *text = hostile_argument("attack=");

    if (text == NULL) {
        return true;
    }
    while (*text != '\0' && *text != ' ') {
        const char *b = name;

        while (*b != '\0' && *text == *b) {
            text++;
            b++;
        }
        if (*b == '\0' && (*text == ',' || *text == '\0' || *text == ' ')) {
            return true;
        }
        while (*text != '\0' && *text != ' ' && *text != ',') {
            text++;
        }
        text += *text == ',';
    }
    return false;
}

static inline void hostile_run(const struct attack *attacks, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (hostile_wanted(attacks[i].name)) {
            print("attack %s\n", attacks[i].name);
            attacks[i].run();
            print("survived %s\n", attacks[i].name);
        }
    }
}

/* The same numbers in every run. Xorshift with 64 bits. */
static inline uint64_t hostile_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Values that break what was not checked. */
static const uint64_t hostile_values[] = {
    0, ~0ULL, 1, 0x8000000000000000ULL, 0x7fffffffffffffffULL, 0xffffffff, 0x80000000, 0x5555555555555555ULL,
};
#define HOSTILE_VALUES (sizeof(hostile_values) / sizeof(hostile_values[0]))

/* ---- A window of 2 MiB onto any guest-physical address, at a virtual address that nothing else uses ---- */

#define WINDOW_BASE 0x4000000000ULL /* 256 GiB: entry 0 of the root, entry 256 of the next table */
#define PTE_PRESENT 1ULL
#define PTE_WRITE 2ULL
#define PTE_LARGE 0x80ULL
#define PTE_ADDRESS 0x000ffffffffff000ULL

extern uint64_t window_directory[512];

/* Where the window's only entry is. window_map() writes it and flushes. */
void window_init(void);
void window_map(uint64_t entry);

/* ---- Memory and code ---- */

/* Runs the bytes as a function, with exceptions caught: see trap_last. Registers are set by the caller's assembly. */
void hostile_execute(const uint8_t *code, uint32_t bytes);

/* Seconds by the TSC. */
uint32_t hostile_khz(void);

#define LAPIC_ID 0x20
#define LAPIC_EOI 0xb0
#define LAPIC_ICR_LOW 0x300
#define LAPIC_ICR_HIGH 0x310
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_TIMER_INITIAL 0x380
#define LAPIC_TIMER_DIVIDE 0x3e0
#define MSR_APIC_BASE 0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_EFER 0xc0000080u

#endif
