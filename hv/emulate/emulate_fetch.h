/* SPDX-License-Identifier: MIT */
/*
 * The instruction at CS:RIP, fetched as the CPU would: through the guest's own tables, with the exceptions that a fetch
 * can raise. What is there now may not be what the CPU executed: the guest may have written it since.
 */
#ifndef HV_EMULATE_EMULATE_FETCH_H
#define HV_EMULATE_EMULATE_FETCH_H

#include "hv/core/guest.h"
#include "hv/core/vm_exit.h"
#include "hv/x86/decode.h"

enum fetch_result {
    FETCH_OK,
    FETCH_RAISED,      /* an exception was raised or the guest failed */
    FETCH_UNSUPPORTED, /* not a form that the decoder claims; the bytes are there */
};

struct fetched {
    uint8_t bytes[INSTRUCTION_BYTES_MAX];
    uint8_t count;
    struct instruction instruction; /* FETCH_OK only */
};

/* Fetches and decodes the instruction at CS:RIP. */
enum fetch_result emulate_fetch(struct vcpu *vcpu, struct fetched *fetched);

/*
 * The short way of a device in memory, for 64-bit code that is no user's. `code` is where a walk of the guest's tables
 * has just found the instruction at rip; gpr[] and rip suffice. The MOV that is there, where a fetch is known to give
 * it again and the fault is its operand's, which lies in one page; else NULL.
 */
const struct instruction *emulate_known_move(struct vcpu *vcpu, const struct exit_nested_fault *fault,
                                             const uint8_t *code);

/* The same, decoded into *move, where another instruction has its place in the cache. False: it goes the long way. */
bool emulate_move_beside(struct vcpu *vcpu, const struct exit_nested_fault *fault, const uint8_t *code,
                         struct instruction *move);

/* A look at memory: a fetch, or implicit as above. False: it cannot be read; nothing is raised. */
bool emulate_peek(struct vcpu *vcpu, uint64_t linear, bool implicit, uint8_t *bytes, uint8_t count);

/* The linear address of CS:RIP. */
uint64_t emulate_fetch_address(const struct vcpu *vcpu);

/* The fetched bytes as text, "0f ae 38", for a sentence. Returns `to`. */
#define FETCHED_TEXT_MAX (INSTRUCTION_BYTES_MAX * 3 + 1)
const char *emulate_bytes_text(const struct fetched *fetched, char to[FETCHED_TEXT_MAX]);

/*
 * Where the instruction at CS:RIP is not the one that exited: the guest has rewritten it or its tables meanwhile. True:
 * it is best entered again, and the CPU executes what is there now. False: that has been tried so often that it is
 * hopeless.
 */
bool emulate_enter_again(struct vcpu *vcpu);

/* Its length; 0 where an exception was raised or the instruction is not claimed. Wants the system state. */
uint8_t emulate_length(struct vcpu *vcpu);

#endif
