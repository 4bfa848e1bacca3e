/* SPDX-License-Identifier: MIT */
/*
 * How the emulator reaches the guest's memory: segments, the guest's page tables, RAM and devices.
 *
 * An operand is translated before anything changes, so that a fault leaves the instruction restartable: first
 * emulate_translate() for every operand, then loads and stores, which cannot fail, then registers.
 * Where a function gives false, an exception has been raised, the guest has failed, or an operand is a device's that
 * cannot be had in time and the instruction comes again (platform_lock.h); the caller returns at once.
 * SDM 3A 5.3 "Limit Checking", 5.4 "Type Checking", 4 "Paging".
 */
#ifndef HV_EMULATE_EMULATE_MEMORY_H
#define HV_EMULATE_EMULATE_MEMORY_H

#include "hv/core/guest.h"
#include "hv/core/vm_exit.h"
#include "hv/mm/guest_walk.h"
#include "hv/x86/decode.h"

#define OPERAND_PIECES_MAX 2u

/* A translated operand: at most 8 bytes, in one piece per page. */
struct memory_piece {
    gpa_t address;
    uint8_t bytes;
};

struct memory_operand {
    struct memory_piece pieces[OPERAND_PIECES_MAX];
    uint32_t count;
};

/* What CS, EFER and RFLAGS say about the code that runs. */
enum code_mode emulate_code_mode(const struct vcpu *vcpu);
bool emulate_protected(const struct vcpu *vcpu); /* protected mode without virtual-8086: segments have types */

/* Raises an exception that has an error code, which real mode does not push. SDM 3B 21.1.4. */
void emulate_raise_error(struct vcpu *vcpu, enum exception vector, uint32_t error);

/* Is this address canonical for the guest's paging mode? SDM 1 3.3.7.1. */
bool emulate_canonical(const struct vcpu *vcpu, uint64_t address);

/* The linear address of segment:offset. False: the access breaks a segment's rules; nothing is raised. */
bool emulate_linear(const struct vcpu *vcpu, uint8_t segment, uint64_t offset, uint64_t bytes, enum guest_access access,
                    uint64_t *linear);

/* Translates with all checks. bytes is at most 8. */
bool emulate_translate(struct vcpu *vcpu, uint8_t segment, uint64_t offset, uint8_t bytes, enum guest_access access,
                       struct memory_operand *operand);

/*
 * The same for the only operand in memory of an instruction that was stopped by `fault`: the CPU has translated it,
 * with all checks, for this kind of access. Where the fault's address may not be the operand's (another place in its
 * page, two pages, a read where it will be written), it is translated here.
 */
bool emulate_translate_fault(struct vcpu *vcpu, const struct exit_nested_fault *fault, uint8_t segment, uint64_t offset,
                             uint8_t bytes, enum guest_access access, struct memory_operand *operand);

/* The same for a linear address; implicit: an access that the CPU makes for itself (descriptors, TSS). */
bool emulate_translate_linear(struct vcpu *vcpu, uint64_t linear, uint8_t bytes, enum guest_access access,
                              bool implicit, struct memory_operand *operand);

uint64_t emulate_load(struct vcpu *vcpu, const struct memory_operand *operand);
void emulate_store(struct vcpu *vcpu, const struct memory_operand *operand, uint64_t value);

/* What a walk of the guest's tables has to know. */
void emulate_paging(const struct vcpu *vcpu, bool implicit, struct guest_paging *paging);

/* Translates what lies in one page, by the guest's tables alone. Tells its way, where `way` is not NULL. */
bool emulate_translate_page(struct vcpu *vcpu, uint64_t linear, enum guest_access access, bool implicit,
                            struct guest_way *way, gpa_t *address);

#endif
