/* SPDX-License-Identifier: MIT */
#include "hv/emulate/emulate_fetch.h"

#include "hv/base/format.h"
#include "hv/core/event.h"
#include "hv/emulate/emulate_memory.h"

#define LINEAR_32_MASK 0xffffffffULL

static uint64_t fetch_address(const struct vcpu *vcpu, enum code_mode mode)
{
    return mode == CODE_64 ? vcpu->rip : (vcpu->system.segments[SEGMENT_CS].base + vcpu->rip) & LINEAR_32_MASK;
}

uint64_t emulate_fetch_address(const struct vcpu *vcpu)
{
    return fetch_address(vcpu, emulate_code_mode(vcpu));
}

bool emulate_peek(struct vcpu *vcpu, uint64_t linear, bool implicit, uint8_t *bytes, uint8_t count)
{
    uint64_t mask = emulate_code_mode(vcpu) == CODE_64 ? ~0ULL : LINEAR_32_MASK;
    struct guest_translation translation;
    struct guest_paging paging;

    emulate_paging(vcpu, implicit, &paging);
    for (uint8_t i = 0; i < count; i++) {
        if (guest_walk(&vcpu->guest->memory, &paging, (linear + i) & mask, implicit ? GUEST_READ : GUEST_FETCH,
                       &translation) != GUEST_WALK_OK ||
            !guest_memory_read(&vcpu->guest->memory, translation.address, bytes + i, 1)) {
            return false;
        }
    }
    return true;
}

/* Fetches `bytes` more, all in one page. */
static bool fetch_page(struct vcpu *vcpu, uint64_t linear, uint8_t bytes, struct fetched *fetched)
{
    gpa_t address;

    if (!emulate_translate_page(vcpu, linear, GUEST_FETCH, false, &address)) {
        return false;
    }
    if (!guest_memory_read(&vcpu->guest->memory, address, fetched->bytes + fetched->count, bytes)) {
        guest_fail(vcpu, GUEST_CODE_FETCH,
                   "executes at guest-physical 0x%" PRIx64 " (rip 0x%" PRIx64
                   "), where there is no memory: give the guest more memory, or look for a wild jump",
                   address.value, vcpu->rip);
        return false;
    }
    fetched->count = (uint8_t)(fetched->count + bytes);
    return true;
}

/* The limit of CS, and the decoder's verdict as an exception. */
static enum fetch_result judge(struct vcpu *vcpu, enum decode_result result, enum code_mode mode,
                               const struct fetched *fetched)
{
    const struct segment *cs = &vcpu->system.segments[SEGMENT_CS];

    if (result == DECODE_UNSUPPORTED) {
        return FETCH_UNSUPPORTED;
    }
    if (result == DECODE_UNDEFINED) {
        vcpu_raise(vcpu, EXCEPTION_UD);
        return FETCH_RAISED;
    }
    if (result != DECODE_OK || (mode != CODE_64 && vcpu->rip + fetched->instruction.length - 1 > cs->limit)) {
        emulate_raise_error(vcpu, EXCEPTION_GP, 0);
        return FETCH_RAISED;
    }
    return FETCH_OK;
}

/* What of the instruction may lie on the page of its first byte; returns how much that is. */
static uint8_t first_part(uint64_t linear)
{
    return (uint8_t)min_u64(INSTRUCTION_BYTES_MAX, PAGE_BYTES - (linear & (PAGE_BYTES - 1)));
}

enum fetch_result emulate_fetch(struct vcpu *vcpu, struct fetched *fetched)
{
    enum code_mode mode = emulate_code_mode(vcpu);
    uint64_t linear = fetch_address(vcpu, mode);
    uint8_t first = first_part(linear);
    enum decode_result result;

    fetched->count = 0;
    if (!fetch_page(vcpu, linear, first, fetched)) {
        return FETCH_RAISED;
    }
    result = decode_instruction(fetched->bytes, fetched->count, mode, &fetched->instruction);
    if (result == DECODE_TRUNCATED) { /* it continues on the next page */
        linear += first;
        if (!fetch_page(vcpu, mode == CODE_64 ? linear : linear & LINEAR_32_MASK,
                        (uint8_t)(INSTRUCTION_BYTES_MAX - first), fetched)) {
            return FETCH_RAISED;
        }
        result = decode_instruction(fetched->bytes, fetched->count, mode, &fetched->instruction);
    }
    return judge(vcpu, result, mode, fetched);
}

uint8_t emulate_length(struct vcpu *vcpu)
{
    enum code_mode mode = emulate_code_mode(vcpu);
    uint64_t linear = fetch_address(vcpu, mode);
    struct fetched fetched = {.count = 0};
    uint8_t length;

    if (!fetch_page(vcpu, linear, first_part(linear), &fetched)) {
        return 0;
    }
    length = decode_length(fetched.bytes, fetched.count, mode);
    if (length != 0) {
        return length;
    }
    return emulate_fetch(vcpu, &fetched) == FETCH_OK ? fetched.instruction.length : 0;
}

const char *emulate_bytes_text(const struct fetched *fetched, char to[FETCHED_TEXT_MAX])
{
    size_t at = 0;

    to[0] = 0;
    for (uint8_t i = 0; i < fetched->count; i++) {
        at += format_text(to + at, FETCHED_TEXT_MAX - at, i == 0 ? "%02x" : " %02x", fetched->bytes[i]);
    }
    return to;
}
