/* SPDX-License-Identifier: MIT */
#include "hv/report/unwind.h"

#define GPR_RSP 4u

/* PE/COFF: the optional header's data directory 3 is the exception table. Microsoft, "PE Format". */
#define DOS_LFANEW 0x3cu
#define PE_SIGNATURE_AND_FILE_HEADER 24u
#define OPTIONAL_DIRECTORIES 112u
#define DIRECTORY_BYTES 8u
#define DIRECTORY_EXCEPTION 3u

/* RUNTIME_FUNCTION. */
#define FUNCTION_BYTES 12u
_Static_assert(FUNCTION_BYTES == 3 * sizeof(uint32_t), "start, end, unwind information");

/* UNWIND_INFO: version and flags, prologue size, code count, frame register and offset; then 2-byte codes. */
#define INFO_HEADER_BYTES 4u
#define INFO_FLAG_CHAINED 0x4u
#define CHAIN_MAX 8u

enum unwind_code {
    UNWIND_PUSH_NONVOLATILE = 0,
    UNWIND_ALLOCATE_LARGE = 1,
    UNWIND_ALLOCATE_SMALL = 2,
    UNWIND_SET_FRAME = 3,
    UNWIND_SAVE_NONVOLATILE = 4,
    UNWIND_SAVE_NONVOLATILE_FAR = 5,
    UNWIND_SAVE_XMM128 = 8,
    UNWIND_SAVE_XMM128_FAR = 9,
    UNWIND_PUSH_MACHINE_FRAME = 10,
};

struct function {
    uint32_t start, end, info;
};

struct info {
    uint8_t flags;
    uint8_t count; /* of code slots */
    uint8_t frame_register;
    uint32_t frame_offset;
    uint64_t codes; /* offset in the image */
};

static bool read_stack(const struct unwind_image *image, uint64_t address, uint64_t *value)
{
    return address >= image->stack_base && span_read_u64(image->stack, address - image->stack_base, value);
}

static struct span exception_table(const struct unwind_image *image)
{
    uint32_t header = 0;
    uint32_t start = 0;
    uint32_t bytes = 0;
    uint64_t directory;

    (void)span_read_u32(image->image, DOS_LFANEW, &header);
    directory =
        (uint64_t)header + PE_SIGNATURE_AND_FILE_HEADER + OPTIONAL_DIRECTORIES + DIRECTORY_EXCEPTION * DIRECTORY_BYTES;
    if (!span_read_u32(image->image, directory, &start) || !span_read_u32(image->image, directory + 4, &bytes)) {
        return (struct span){NULL, 0};
    }
    return span_part(image->image, start, bytes);
}

static bool read_function(struct span table, uint64_t index, struct function *function)
{
    uint64_t at = index * FUNCTION_BYTES;

    return span_read_u32(table, at, &function->start) && span_read_u32(table, at + 4, &function->end) &&
           span_read_u32(table, at + 8, &function->info);
}

/* The table is sorted by address. */
static bool find_function(const struct unwind_image *image, uint32_t rva, struct function *function)
{
    struct span table = exception_table(image);
    uint64_t low = 0;
    uint64_t high = table.bytes / FUNCTION_BYTES;

    while (low < high) {
        uint64_t middle = (low + high) / 2;

        if (!read_function(table, middle, function)) {
            return false;
        }
        if (rva < function->start) {
            high = middle;
        } else if (rva >= function->end) {
            low = middle + 1;
        } else {
            return true;
        }
    }
    return false;
}

static bool read_info(const struct unwind_image *image, uint32_t at, struct info *info)
{
    uint8_t bytes[INFO_HEADER_BYTES];

    if (!span_copy(image->image, at, bytes, sizeof(bytes))) {
        return false;
    }
    *info = (struct info){
        .flags = bytes[0] >> 3,
        .count = bytes[2],
        .frame_register = bytes[3] & 0xf,
        .frame_offset = (uint32_t)(bytes[3] >> 4) * 16u,
        .codes = (uint64_t)at + INFO_HEADER_BYTES,
    };
    return true;
}

/* The number of 2-byte slots that a code takes, itself included. */
static uint32_t slots_of(enum unwind_code code, uint8_t operand)
{
    switch (code) {
    case UNWIND_ALLOCATE_LARGE:
        return operand == 0 ? 2 : 3;
    case UNWIND_SAVE_NONVOLATILE:
    case UNWIND_SAVE_XMM128:
        return 2;
    case UNWIND_SAVE_NONVOLATILE_FAR:
    case UNWIND_SAVE_XMM128_FAR:
        return 3;
    case UNWIND_PUSH_NONVOLATILE:
    case UNWIND_ALLOCATE_SMALL:
    case UNWIND_SET_FRAME:
    case UNWIND_PUSH_MACHINE_FRAME:
        return 1;
    }
    return 1;
}

/* The operand in the slots that follow: 16 bits scaled by `unit`, or 32 bits as they are. */
static uint64_t slot_value(const struct unwind_image *image, uint64_t at, bool far, uint32_t unit)
{
    uint16_t near_value = 0;
    uint32_t far_value = 0;

    if (far) {
        (void)span_read_u32(image->image, at, &far_value);
        return far_value;
    }
    (void)span_read_u16(image->image, at, &near_value);
    return (uint64_t)near_value * unit;
}

static bool pop(const struct unwind_image *image, struct unwind_context *context, uint64_t *value)
{
    if (!read_stack(image, context->gpr[GPR_RSP], value)) {
        return false;
    }
    context->gpr[GPR_RSP] += 8;
    return true;
}

struct step {
    uint8_t prologue_offset; /* of the instruction's end */
    uint8_t operand;
    enum unwind_code code;
    uint64_t next; /* offset of the slots that follow */
};

static bool read_step(const struct unwind_image *image, const struct info *info, uint32_t slot, struct step *step)
{
    uint64_t at = info->codes + 2ULL * slot;
    uint8_t bytes[2];

    if (!span_copy(image->image, at, bytes, sizeof(bytes))) {
        return false;
    }
    *step = (struct step){bytes[0], bytes[1] >> 4, (enum unwind_code)(bytes[1] & 0xf), at + 2};
    return true;
}

/* Undoes one step of a prologue. */
static bool undo(const struct unwind_image *image, struct unwind_context *context, const struct info *info,
                 const struct step *step)
{
    uint8_t operand = step->operand;
    uint64_t next = step->next;
    uint64_t *rsp = &context->gpr[GPR_RSP];

    switch (step->code) {
    case UNWIND_PUSH_NONVOLATILE:
        return pop(image, context, &context->gpr[operand]);
    case UNWIND_ALLOCATE_LARGE:
        *rsp += slot_value(image, next, operand != 0, 8);
        return true;
    case UNWIND_ALLOCATE_SMALL:
        *rsp += (uint64_t)operand * 8 + 8;
        return true;
    case UNWIND_SET_FRAME:
        *rsp = context->gpr[info->frame_register] - info->frame_offset;
        return true;
    case UNWIND_SAVE_NONVOLATILE:
        return read_stack(image, *rsp + slot_value(image, next, false, 8), &context->gpr[operand]);
    case UNWIND_SAVE_NONVOLATILE_FAR:
        return read_stack(image, *rsp + slot_value(image, next, true, 1), &context->gpr[operand]);
    case UNWIND_SAVE_XMM128:
    case UNWIND_SAVE_XMM128_FAR:
        return true;
    case UNWIND_PUSH_MACHINE_FRAME:
        return false;
    }
    return false;
}

/* Where the frame register was set, offsets of saved registers count from the fixed allocation that it points into,
 * whatever the stack pointer did since. */
static void go_to_frame(const struct unwind_image *image, struct unwind_context *context, const struct info *info,
                        uint32_t offset)
{
    struct step step;

    for (uint32_t slot = 0; slot < info->count && read_step(image, info, slot, &step);
         slot += slots_of(step.code, step.operand)) {
        if (step.code == UNWIND_SET_FRAME && step.prologue_offset <= offset) {
            context->gpr[GPR_RSP] = context->gpr[info->frame_register] - info->frame_offset;
            return;
        }
    }
}

/* All codes of one UNWIND_INFO whose prologue step was done when the function had run `offset` bytes. */
static bool undo_all(const struct unwind_image *image, struct unwind_context *context, const struct info *info,
                     uint32_t offset)
{
    struct step step;

    go_to_frame(image, context, info, offset);
    for (uint32_t slot = 0; slot < info->count; slot += slots_of(step.code, step.operand)) {
        if (!read_step(image, info, slot, &step)) {
            return false;
        }
        if (step.prologue_offset <= offset && !undo(image, context, info, &step)) {
            return false;
        }
    }
    return true;
}

static bool undo_function(const struct unwind_image *image, struct unwind_context *context, struct function function,
                          uint32_t offset)
{
    struct info info;

    for (uint32_t chain = 0; chain < CHAIN_MAX; chain++) {
        if (!read_info(image, function.info, &info) || !undo_all(image, context, &info, offset)) {
            return false;
        }
        if ((info.flags & INFO_FLAG_CHAINED) == 0) {
            return true;
        }
        /* The parent's entry follows the codes, which are padded to an even number; all of its prologue was done. */
        if (!span_read_u32(image->image, info.codes + 2ULL * ((info.count + 1u) & ~1u) + 8, &function.info)) {
            return false;
        }
        offset = UINT32_MAX;
    }
    return false;
}

static bool in_image(const struct unwind_image *image, uint64_t address)
{
    return address >= image->base && address - image->base < image->image.bytes;
}

/* An address outside the image was reached by a bad call or jump: like in a leaf, the return address is on top. */
bool unwind_step(const struct unwind_image *image, struct unwind_context *context)
{
    uint64_t before = context->gpr[GPR_RSP];
    uint32_t rva = (uint32_t)(context->rip - image->base);
    struct function function;

    if (in_image(image, context->rip) && find_function(image, rva, &function) &&
        !undo_function(image, context, function, rva - function.start)) {
        return false;
    }
    return pop(image, context, &context->rip) && in_image(image, context->rip) && context->gpr[GPR_RSP] > before;
}
