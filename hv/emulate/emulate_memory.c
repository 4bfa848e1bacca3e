/* SPDX-License-Identifier: MIT */
/*
 * Segment checks, translation, and the split between RAM and devices.
 *
 * An operand may cross one page border, and each side may be RAM or a device: so an operand is one or two pieces, and
 * each piece is read or written where it lies. Within RAM an aligned access is one access, as on the machine.
 */
#include "hv/emulate/emulate_memory.h"

#include "hv/base/memory.h"
#include "hv/core/event.h"
#include "hv/core/guest_io.h"
#include "hv/core/platform_lock.h"
#include "hv/emulate/emulate_registers.h"
#include "hv/x86/registers.h"

/* Segment types. SDM 3A 3.4.5.1, table 3-1 "Code- and Data-Segment Types". */
#define TYPE_CODE 8u
#define TYPE_EXPAND_DOWN 4u
#define TYPE_WRITABLE 2u /* of data; of code: readable */

#define LINEAR_32_MASK 0xffffffffULL

enum code_mode emulate_code_mode(const struct vcpu *vcpu)
{
    uint32_t access = vcpu->system.segments[SEGMENT_CS].access;

    if ((vcpu->system.efer & EFER_LMA) && (access & SEGMENT_L)) {
        return CODE_64;
    }
    return (access & SEGMENT_DB) ? CODE_32 : CODE_16;
}

bool emulate_protected(const struct vcpu *vcpu)
{
    return (vcpu->system.cr0 & CR0_PE) && !(vcpu->rflags & RFLAGS_VM);
}

void emulate_raise_error(struct vcpu *vcpu, enum exception vector, uint32_t error)
{
    if (vcpu->system.cr0 & CR0_PE) {
        vcpu_raise_error(vcpu, vector, error);
    } else {
        vcpu_raise(vcpu, vector);
    }
}

bool emulate_canonical(const struct vcpu *vcpu, uint64_t address)
{
    uint32_t unused = (vcpu->system.cr4 & CR4_LA57) ? 64 - 57 : 64 - 48;

    return (uint64_t)((int64_t)(address << unused) >> unused) == address;
}

static bool type_allows(const struct segment *segment, enum guest_access access)
{
    uint32_t type = SEGMENT_TYPE(segment->access);

    if (access == GUEST_WRITE) {
        return (type & TYPE_CODE) == 0 && (type & TYPE_WRITABLE) != 0;
    }
    return (type & TYPE_CODE) == 0 || (type & TYPE_WRITABLE) != 0;
}

/* SDM 3A 5.3: an expand-down segment holds what lies above its limit. */
static bool limit_allows(const struct segment *segment, uint64_t offset, uint64_t bytes)
{
    uint64_t last = offset + bytes - 1;

    if ((segment->access & (TYPE_CODE | TYPE_EXPAND_DOWN)) == TYPE_EXPAND_DOWN) {
        return offset > segment->limit && last <= ((segment->access & SEGMENT_DB) ? 0xffffffffu : 0xffffu);
    }
    return last <= segment->limit;
}

bool emulate_linear(const struct vcpu *vcpu, uint8_t segment, uint64_t offset, uint64_t bytes, enum guest_access access,
                    uint64_t *linear)
{
    const struct segment *cached = &vcpu->system.segments[segment];

    if (emulate_code_mode(vcpu) == CODE_64) {
        *linear = offset + (segment >= SEGMENT_FS ? cached->base : 0);
        return emulate_canonical(vcpu, *linear) && emulate_canonical(vcpu, *linear + bytes - 1);
    }
    *linear = (cached->base + offset) & LINEAR_32_MASK;
    if (emulate_protected(vcpu) && ((cached->access & SEGMENT_UNUSABLE) || !type_allows(cached, access))) {
        return false;
    }
    return limit_allows(cached, offset, bytes);
}

void emulate_paging(const struct vcpu *vcpu, bool implicit, struct guest_paging *paging)
{
    *paging = (struct guest_paging){
        .cr0 = vcpu->system.cr0,
        .cr3 = vcpu->system.cr3,
        .cr4 = vcpu->system.cr4,
        .efer = vcpu->system.efer,
        .rflags = vcpu->rflags,
        .cpl = vcpu->system.cpl,
        .implicit_supervisor = implicit,
        .physical_bits = vcpu->guest->host->physical_bits,
        .nx_supported = true,
        .gib_pages = vcpu->guest->host->gib_pages,
        .upper_bit8_reserved = !vcpu->guest->host->is_intel,
        .pointer_accessed = vcpu->guest->host->quirks.pae_pointer_accessed,
    };
}

/* A table outside RAM reads as all ones: present, with reserved bits set. SDM 3A 4.7 "Page-Fault Exceptions". */
static uint32_t unmapped_error(const struct vcpu *vcpu, enum guest_access access, bool implicit)
{
    uint32_t error = PAGE_FAULT_PRESENT | PAGE_FAULT_RESERVED;

    if (access == GUEST_WRITE) {
        error |= PAGE_FAULT_WRITE;
    }
    if (access == GUEST_FETCH && ((vcpu->system.efer & EFER_NXE) || (vcpu->system.cr4 & CR4_SMEP))) {
        error |= PAGE_FAULT_FETCH;
    }
    return error | (vcpu->system.cpl == 3 && !implicit ? PAGE_FAULT_USER : 0);
}

bool emulate_translate_page(struct vcpu *vcpu, uint64_t linear, enum guest_access access, bool implicit,
                            struct guest_way *way, gpa_t *address)
{
    const struct guest_memory *memory = &vcpu->guest->memory;
    struct guest_paging paging;
    struct guest_translation translation;

    emulate_paging(vcpu, implicit, &paging);
    switch (way == NULL ? guest_walk(memory, &paging, linear, access, &translation)
                        : guest_walk_way(memory, &paging, linear, access, &translation, way)) {
    case GUEST_WALK_OK:
        *address = translation.address;
        return true;
    case GUEST_WALK_FAULT:
        vcpu_raise_page_fault(vcpu, linear, translation.error_code);
        return false;
    case GUEST_WALK_UNMAPPED:
        vcpu_raise_page_fault(vcpu, linear, unmapped_error(vcpu, access, implicit));
        return false;
    }
    return false;
}

/* Devices are the vCPU's from the translation of the first operand that is one to the end of the instruction. */
static bool hold_devices(struct vcpu *vcpu, const struct memory_operand *operand)
{
    for (uint32_t i = 0; i < operand->count; i++) {
        gpa_t address = operand->pieces[i].address;

        if (guest_memory_pointer(&vcpu->guest->memory, address, 1) == NULL && !guest_hold_for(vcpu, address)) {
            return false;
        }
    }
    return true;
}

bool emulate_translate_linear(struct vcpu *vcpu, uint64_t linear, uint8_t bytes, enum guest_access access,
                              bool implicit, struct memory_operand *operand)
{
    bool wide = implicit ? (vcpu->system.efer & EFER_LMA) != 0 : emulate_code_mode(vcpu) == CODE_64;
    uint64_t mask = wide ? ~0ULL : LINEAR_32_MASK;
    uint8_t first = (uint8_t)min_u64(bytes, PAGE_BYTES - (linear & (PAGE_BYTES - 1)));

    operand->count = first == bytes ? 1 : 2;
    operand->pieces[0].bytes = first;
    operand->pieces[1].bytes = (uint8_t)(bytes - first);
    if (!emulate_translate_page(vcpu, linear, access, implicit, NULL, &operand->pieces[0].address)) {
        return false;
    }
    if (operand->count != 1 &&
        !emulate_translate_page(vcpu, (linear + first) & mask, access, implicit, NULL, &operand->pieces[1].address)) {
        return false;
    }
    return vcpu->guest->vcpu_count == 1 || hold_devices(vcpu, operand);
}

/* SDM 3A 6.15, #AC: only at CPL 3, with CR0.AM and EFLAGS.AC. */
static bool alignment_faults(const struct vcpu *vcpu, uint64_t linear, uint8_t bytes)
{
    return vcpu->system.cpl == 3 && (vcpu->system.cr0 & CR0_AM) && (vcpu->rflags & RFLAGS_AC) &&
           !is_aligned(linear, bytes);
}

bool emulate_translate_fault(struct vcpu *vcpu, const struct exit_nested_fault *fault, uint8_t segment, uint64_t offset,
                             uint8_t bytes, enum guest_access access, struct memory_operand *operand)
{
    uint64_t in_page = fault->address.value & (PAGE_BYTES - 1);
    uint64_t linear;

    if ((access == GUEST_WRITE && !fault->write) || in_page + bytes > PAGE_BYTES || fault->table_walk ||
        !emulate_linear(vcpu, segment, offset, bytes, access, &linear) || (linear & (PAGE_BYTES - 1)) != in_page ||
        alignment_faults(vcpu, linear, bytes)) {
        return emulate_translate(vcpu, segment, offset, bytes, access, operand);
    }
    operand->count = 1;
    operand->pieces[0] = (struct memory_piece){fault->address, bytes};
    return vcpu->guest->vcpu_count == 1 || hold_devices(vcpu, operand);
}

bool emulate_translate(struct vcpu *vcpu, uint8_t segment, uint64_t offset, uint8_t bytes, enum guest_access access,
                       struct memory_operand *operand)
{
    uint64_t linear;

    if (!emulate_linear(vcpu, segment, offset, bytes, access, &linear)) {
        emulate_raise_error(vcpu, segment == SEGMENT_SS ? EXCEPTION_SS : EXCEPTION_GP, 0);
        return false;
    }
    if (alignment_faults(vcpu, linear, bytes)) {
        vcpu_raise_error(vcpu, EXCEPTION_AC, 0);
        return false;
    }
    return emulate_translate_linear(vcpu, linear, bytes, access, false, operand);
}

/* A copy of 1, 2, 4 or 8 bytes is one access of that width; what is left of a split one goes by bytes. */
static void copy_piece(void *to, const void *from, uint8_t bytes)
{
    switch (bytes) {
    case 8:
        __builtin_memcpy(to, from, 8);
        break;
    case 4:
        __builtin_memcpy(to, from, 4);
        break;
    case 2:
        __builtin_memcpy(to, from, 2);
        break;
    default:
        for (uint8_t i = 0; i < bytes; i++) {
            ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
        }
        break;
    }
}

/* The widest access of 1, 2, 4 or 8 bytes that fits: devices know no other. */
static uint8_t device_width(uint8_t bytes)
{
    return bytes >= 8 ? 8 : bytes >= 4 ? 4 : bytes >= 2 ? 2 : 1;
}

/* Where no device is: all ones. */
static uint64_t load_register(struct vcpu *vcpu, gpa_t address, uint8_t width)
{
    uint64_t value;

    return guest_mmio_read(vcpu, address, width, &value) ? value : size_mask(width);
}

static void load_device(struct vcpu *vcpu, const struct memory_piece *piece, uint8_t *to)
{
    uint8_t width;

    for (uint8_t done = 0; done < piece->bytes; done = (uint8_t)(done + width)) {
        uint64_t value;

        width = device_width((uint8_t)(piece->bytes - done));
        value = load_register(vcpu, gpa(piece->address.value + done), width);
        memcpy(to + done, &value, width);
    }
}

static void store_device(struct vcpu *vcpu, const struct memory_piece *piece, const uint8_t *from)
{
    uint8_t width;

    for (uint8_t done = 0; done < piece->bytes; done = (uint8_t)(done + width)) {
        uint64_t value = 0;

        width = device_width((uint8_t)(piece->bytes - done));
        memcpy(&value, from + done, width);
        (void)guest_mmio_write(vcpu, gpa(piece->address.value + done), width, value); /* no device there: it is noted */
    }
}

/* A device's register, which is what most operands are: one access, without bytes to be put together. */
static inline bool is_register(const struct vcpu *vcpu, const struct memory_operand *operand)
{
    const struct memory_piece *piece = &operand->pieces[0];

    return operand->count == 1 && (piece->bytes & (piece->bytes - 1)) == 0 &&
           guest_memory_pointer(&vcpu->guest->memory, piece->address, piece->bytes) == NULL;
}

uint64_t emulate_load(struct vcpu *vcpu, const struct memory_operand *operand)
{
    uint8_t data[8] = {0};
    uint8_t *to = data;
    uint64_t value;

    if (is_register(vcpu, operand)) {
        return load_register(vcpu, operand->pieces[0].address, operand->pieces[0].bytes);
    }
    for (uint32_t i = 0; i < operand->count; i++) {
        const struct memory_piece *piece = &operand->pieces[i];
        const void *ram = guest_memory_pointer(&vcpu->guest->memory, piece->address, piece->bytes);

        if (ram != NULL) {
            copy_piece(to, ram, piece->bytes);
        } else {
            load_device(vcpu, piece, to);
        }
        to += piece->bytes;
    }
    memcpy(&value, data, sizeof(value));
    return value;
}

void emulate_store(struct vcpu *vcpu, const struct memory_operand *operand, uint64_t value)
{
    uint8_t data[8];
    const uint8_t *from = data;

    if (is_register(vcpu, operand)) {
        (void)guest_mmio_write(vcpu, operand->pieces[0].address, operand->pieces[0].bytes,
                               value & size_mask(operand->pieces[0].bytes)); /* no device there: it is noted */
        return;
    }
    memcpy(data, &value, sizeof(data));
    for (uint32_t i = 0; i < operand->count; i++) {
        const struct memory_piece *piece = &operand->pieces[i];
        void *ram = guest_memory_pointer(&vcpu->guest->memory, piece->address, piece->bytes);

        if (ram != NULL) {
            copy_piece(ram, from, piece->bytes);
        } else {
            store_device(vcpu, piece, from);
        }
        from += piece->bytes;
    }
}
