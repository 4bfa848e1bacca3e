/* SPDX-License-Identifier: MIT */
/*
 * Instructions that a vCPU was stopped at and that were decoded: nearly all accesses to devices come from a few places.
 *
 * Nothing here is trusted. An entry is used only where the registers that decide the translation, each entry of the
 * guest's tables on its way, and the bytes themselves are found as they were, or where a walk has just led to the same
 * bytes: then a fetch and a decoder would give the same again. hv/emulate/emulate_fetch.c fills and checks it.
 */
#ifndef HV_CORE_CODE_CACHE_H
#define HV_CORE_CODE_CACHE_H

#include "hv/mm/guest_walk.h"
#include "hv/x86/decode.h"

#define CODE_CACHE_KEEPS 8u   /* other instructions that an entry stays for after it was used */
#define CODE_CACHE_ENTRIES 4u /* with more a vCPU takes a second page */
#define CODE_CACHE_WORDS 2u
#define CODE_CACHE_BYTES (CODE_CACHE_WORDS * 8u)
_Static_assert((CODE_CACHE_ENTRIES & (CODE_CACHE_ENTRIES - 1)) == 0, "the index is masked");
_Static_assert(CODE_CACHE_BYTES >= INSTRUCTION_BYTES_MAX, "the words hold a whole instruction");

struct code_cache_entry {
    const uint8_t *code; /* where the bytes lie in host memory; NULL: the entry is empty */
    uint64_t linear;
    uint64_t cr0, cr3, cr4, efer; /* as far as they decide the translation */
    uint64_t bytes[CODE_CACHE_WORDS];
    struct guest_way way;
    uint8_t mode; /* enum code_mode */
    uint8_t cpl;
    uint8_t keeps;   /* how many more other instructions it stays for, which are decoded each time */
    bool plain_move; /* a MOV in 64-bit mode with an operand in memory, whose segment has no base, and not to rsp */
    struct instruction instruction;
};

#endif
