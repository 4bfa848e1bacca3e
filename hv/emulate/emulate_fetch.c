/* SPDX-License-Identifier: MIT */
#include "hv/emulate/emulate_fetch.h"

#include "hv/base/format.h"
#include "hv/base/memory.h"
#include "hv/core/event.h"
#include "hv/emulate/emulate_memory.h"
#include "hv/emulate/emulate_registers.h"
#include "hv/x86/registers.h"

#define LINEAR_32_MASK 0xffffffffULL
#define REFETCHES_MAX 16u

/* What of the control registers decides a fetch's translation. */
#define CR0_OF_FETCH CR0_PG
#define CR4_OF_FETCH (CR4_PSE | CR4_PAE | CR4_LA57 | CR4_SMEP)
#define EFER_OF_FETCH (EFER_LMA | EFER_NXE)

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
    uint8_t done = 0, piece;

    emulate_paging(vcpu, implicit, &paging);
    for (; done < count; done = (uint8_t)(done + piece)) { /* in one page or two */
        uint64_t at = (linear + done) & mask;

        piece = (uint8_t)min_u64((uint64_t)count - done, PAGE_BYTES - (at & (PAGE_BYTES - 1)));
        if (guest_walk(&vcpu->guest->memory, &paging, at, implicit ? GUEST_READ : GUEST_FETCH, &translation) !=
                GUEST_WALK_OK ||
            !guest_memory_read(&vcpu->guest->memory, translation.address, bytes + done, piece)) {
            return false;
        }
    }
    return true;
}

/* Fetches `bytes` more, all in one page. The way is told where it is asked for. */
static bool fetch_page(struct vcpu *vcpu, uint64_t linear, uint8_t bytes, struct fetched *fetched,
                       struct guest_way *way, gpa_t *where)
{
    gpa_t address;

    if (!emulate_translate_page(vcpu, linear, GUEST_FETCH, false, way, &address)) {
        return false;
    }
    *where = address;
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

static inline uint32_t cache_index(uint64_t linear)
{
    return (uint32_t)(linear ^ linear >> 4) & (CODE_CACHE_ENTRIES - 1);
}

static struct code_cache_entry *cache_entry(struct vcpu *vcpu, uint64_t linear)
{
    return &vcpu->code[cache_index(linear)];
}

static inline uint64_t word_at(const uint8_t *code)
{
    uint64_t word;

    __builtin_memcpy(&word, code, sizeof(word));
    return word;
}

/* Would a fetch give what the entry holds? */
static inline bool is_cached(const struct vcpu *vcpu, const struct code_cache_entry *entry, enum code_mode mode,
                             uint64_t linear)
{
    const struct vcpu_system *system = &vcpu->system;

    return entry->code != NULL && entry->linear == linear && entry->mode == mode && entry->cpl == system->cpl &&
           entry->cr3 == system->cr3 && entry->cr0 == (system->cr0 & CR0_OF_FETCH) &&
           entry->cr4 == (system->cr4 & CR4_OF_FETCH) && entry->efer == (system->efer & EFER_OF_FETCH) &&
           guest_way_holds(&entry->way) && word_at(entry->code) == entry->bytes[0] &&
           word_at(entry->code + 8) == entry->bytes[1];
}

static bool is_plain_move(const struct instruction *instruction, enum code_mode mode)
{
    return mode == CODE_64 && instruction->operation == OPERATION_MOV && instruction->memory &&
           instruction->segment < SEGMENT_FS && !(instruction->to_reg && instruction->reg == GPR_RSP);
}

/* Keeps an instruction whose bytes, and some more, lie in one page; `way` is how they were reached. */
static void cache(struct vcpu *vcpu, enum code_mode mode, uint64_t linear, const struct guest_way *way, gpa_t address,
                  const struct fetched *fetched)
{
    const struct vcpu_system *system = &vcpu->system;
    const void *code = guest_memory_pointer(&vcpu->guest->memory, address, CODE_CACHE_BYTES);
    struct code_cache_entry *entry = cache_entry(vcpu, linear);

    if ((linear & (PAGE_BYTES - 1)) > PAGE_BYTES - CODE_CACHE_BYTES || code == NULL) {
        return;
    }
    *entry = (struct code_cache_entry){
        .code = code,
        .linear = linear,
        .cr0 = system->cr0 & CR0_OF_FETCH,
        .cr3 = system->cr3,
        .cr4 = system->cr4 & CR4_OF_FETCH,
        .efer = system->efer & EFER_OF_FETCH,
        .way = *way,
        .mode = (uint8_t)mode,
        .cpl = system->cpl,
        .keeps = CODE_CACHE_KEEPS,
        .plain_move = is_plain_move(&fetched->instruction, mode),
        .instruction = fetched->instruction,
    };
    __builtin_memcpy(entry->bytes, code, CODE_CACHE_BYTES);
    if (memcmp(entry->bytes, fetched->bytes, fetched->instruction.length) != 0) {
        entry->code = NULL; /* another vCPU has written there since */
    }
}

/* Canonical whatever the paging mode is; addresses that only 5 levels have go the long way. SDM 1 3.3.7.1. */
static inline bool is_canonical_48(uint64_t address)
{
    return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

/* The place is compared, too: an entry is empty where it is NULL. An entry's bytes lie in one page. */
static inline bool is_same_code(const struct code_cache_entry *entry, uint64_t rip, const uint8_t *code)
{
    return entry->linear == rip && entry->code == code && word_at(code) == entry->bytes[0] &&
           word_at(code + 8) == entry->bytes[1];
}

/* Is it the fault's operand, all in one page? */
static inline bool is_operand(const struct vcpu *vcpu, const struct instruction *move,
                              const struct exit_nested_fault *fault)
{
    uint64_t in_page = fault->address.value & (PAGE_BYTES - 1);
    uint64_t linear = operand_offset(vcpu, move);

    return (linear & (PAGE_BYTES - 1)) == in_page && in_page + move->rm_bytes <= PAGE_BYTES &&
           move->to_reg != fault->write && is_canonical_48(linear);
}

const struct instruction *emulate_known_move(struct vcpu *vcpu, const struct exit_nested_fault *fault,
                                             const uint8_t *code)
{
    struct code_cache_entry *entry = cache_entry(vcpu, vcpu->rip);

    if (!entry->plain_move || !is_same_code(entry, vcpu->rip, code)) {
        return NULL;
    }
    entry->keeps = CODE_CACHE_KEEPS;
    return is_operand(vcpu, &entry->instruction, fault) ? &entry->instruction : NULL;
}

/* More places than there are entries: the one that is used stays for a while, and the others are decoded each time,
 * which costs less than a long way that would put them in its place. */
bool emulate_move_beside(struct vcpu *vcpu, const struct exit_nested_fault *fault, const uint8_t *code,
                         struct instruction *move)
{
    struct code_cache_entry *entry = cache_entry(vcpu, vcpu->rip);
    uint64_t words[CODE_CACHE_WORDS];

    if (entry->keeps == 0 || (vcpu->rip & (PAGE_BYTES - 1)) > PAGE_BYTES - CODE_CACHE_BYTES) {
        return false;
    }
    entry->keeps--;
    words[0] = word_at(code);
    words[1] = word_at(code + 8);
    return decode_instruction((const uint8_t *)words, INSTRUCTION_BYTES_MAX, CODE_64, move) == DECODE_OK &&
           is_plain_move(move, CODE_64) && is_operand(vcpu, move, fault);
}

enum fetch_result emulate_fetch(struct vcpu *vcpu, struct fetched *fetched)
{
    enum code_mode mode = emulate_code_mode(vcpu);
    uint64_t linear = fetch_address(vcpu, mode);
    const struct code_cache_entry *known = cache_entry(vcpu, linear);
    uint8_t first = first_part(linear);
    enum decode_result result;
    struct guest_way way;
    gpa_t address, next;

    if (is_cached(vcpu, known, mode, linear)) {
        fetched->count = known->instruction.length;
        __builtin_memcpy(fetched->bytes, known->bytes, INSTRUCTION_BYTES_MAX);
        fetched->instruction = known->instruction;
        return judge(vcpu, DECODE_OK, mode, fetched);
    }
    fetched->count = 0;
    if (!fetch_page(vcpu, linear, first, fetched, &way, &address)) {
        return FETCH_RAISED;
    }
    result = decode_instruction(fetched->bytes, fetched->count, mode, &fetched->instruction);
    if (result == DECODE_OK) {
        cache(vcpu, mode, linear, &way, address, fetched);
    }
    if (result == DECODE_TRUNCATED) { /* it continues on the next page */
        linear += first;
        if (!fetch_page(vcpu, mode == CODE_64 ? linear : linear & LINEAR_32_MASK,
                        (uint8_t)(INSTRUCTION_BYTES_MAX - first), fetched, &way, &next)) {
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
    struct guest_way way;
    gpa_t address;
    uint8_t length;

    if (!fetch_page(vcpu, linear, first_part(linear), &fetched, &way, &address)) {
        return 0;
    }
    length = decode_length(fetched.bytes, fetched.count, mode);
    if (length != 0) {
        return length;
    }
    return emulate_fetch(vcpu, &fetched) == FETCH_OK ? fetched.instruction.length : 0;
}

bool emulate_enter_again(struct vcpu *vcpu)
{
    vcpu->refetches = vcpu->refetch_rip == vcpu->rip ? vcpu->refetches + 1 : 0;
    vcpu->refetch_rip = vcpu->rip;
    return vcpu->refetches <= REFETCHES_MAX;
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
