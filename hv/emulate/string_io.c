/* SPDX-License-Identifier: MIT */
/*
 * INS and OUTS. The exit tells port and size; memory, address size, segment and repeat prefix come from the
 * instruction.
 *
 * Permission was checked by the CPU before the exit (IOPL, the TSS's map), for the port and the size that the exit
 * tells; what the emulator runs without such an exit, it checks (emulate_port.h). Memory is checked here, before the
 * port is touched: a byte taken from a port must not be lost to a page fault. A run of elements upwards within one page
 * of RAM is translated once, which makes `rep outsb` to a debug console cheap; all else goes element by element.
 * SDM 2A "INS/INSB/INSW/INSD", 2B "OUTS/OUTSB/OUTSW/OUTSD"; SDM 1 19.5.1 "I/O Privilege Level".
 */
#include "hv/emulate/string_io.h"

#include "hv/base/memory.h"
#include "hv/core/guest_io.h"
#include "hv/core/platform_lock.h"
#include "hv/emulate/emulate_fetch.h"
#include "hv/emulate/emulate_memory.h"
#include "hv/emulate/emulate_registers.h"
#include "hv/emulate/emulate_string.h"

struct string_port {
    struct vcpu *vcpu;
    const struct instruction *instruction;
    uint16_t port;
    bool in;
    uint8_t size;
    uint8_t segment;
    uint8_t pointer; /* enum gpr */
    uint64_t until;  /* host TSC at which the exit's work ends */
};

static uint64_t offset_of(const struct string_port *string)
{
    return register_read(string->vcpu, string->pointer, string->instruction->address_bytes);
}

static enum guest_access access_of(const struct string_port *string)
{
    return string->in ? GUEST_WRITE : GUEST_READ;
}

static uint64_t transfer(const struct string_port *string, uint64_t value)
{
    uint32_t read = 0;

    if (!string->in) {
        (void)guest_port_write(string->vcpu, string->port, string->size, (uint32_t)value); /* no device there: noted */
        return value;
    }
    if (!guest_port_read(string->vcpu, string->port, string->size, &read)) {
        read = ~0u;
    }
    return read;
}

static void step(const struct string_port *string)
{
    struct vcpu *vcpu = string->vcpu;

    register_add(vcpu, string->pointer, string->instruction->address_bytes, string_step(vcpu, string->instruction));
    if (string->instruction->rep != REP_NONE) {
        register_add(vcpu, GPR_RCX, string->instruction->address_bytes, ~0ULL);
    }
}

/* One element with all checks. False: it was not done; an exception was raised, or the platform cannot be had. */
static bool do_element(const struct string_port *string)
{
    struct vcpu *vcpu = string->vcpu;
    struct memory_operand operand;
    uint64_t value;

    if (!emulate_translate(vcpu, string->segment, offset_of(string), string->size, access_of(string), &operand) ||
        !guest_hold(vcpu)) {
        return false;
    }
    value = transfer(string, string->in ? 0 : emulate_load(vcpu, &operand));
    if (string->in) {
        emulate_store(vcpu, &operand, value);
    }
    step(string);
    return true;
}

/* How many of `elements`, upwards from here, lie in one page and within the segment without wrapping; 0: go slowly. */
static uint64_t run_length(const struct string_port *string, uint64_t elements)
{
    const struct vcpu *vcpu = string->vcpu;
    uint64_t offset = offset_of(string);
    uint64_t linear;
    uint64_t run;

    if ((vcpu->rflags & RFLAGS_DF) ||
        !emulate_linear(vcpu, string->segment, offset, string->size, access_of(string), &linear)) {
        return 0;
    }
    run = min_u64(elements, (PAGE_BYTES - (linear & (PAGE_BYTES - 1))) / string->size);
    if (run == 0 || run * string->size - 1 > size_mask(string->instruction->address_bytes) - offset) {
        return 0;
    }
    return emulate_linear(vcpu, string->segment, offset, run * string->size, access_of(string), &linear) ? run : 0;
}

/* One element from or to this place in RAM. False as above. */
static bool do_ram_element(const struct string_port *string, uint8_t *ram)
{
    uint64_t value = 0;

    if (!guest_hold(string->vcpu)) {
        return false;
    }
    memcpy(&value, ram, string->size);
    value = transfer(string, value);
    if (string->in) {
        memcpy(ram, &value, string->size);
    }
    step(string);
    return true;
}

/* After an element: the platform is for other vCPUs, and the exit goes on while its time lasts. */
static bool goes_on(const struct string_port *string)
{
    struct vcpu *vcpu = string->vcpu;

    guest_release(vcpu);
    return (vcpu->requests & VCPU_STOPPED) == 0 && clock_now() < string->until;
}

/* Elements of one page of RAM after one translation. Returns how many were done: 0 where this is not RAM, too. */
static uint64_t do_run(const struct string_port *string, uint64_t elements)
{
    struct vcpu *vcpu = string->vcpu;
    struct memory_operand operand;
    uint8_t *ram;
    uint64_t done = 0;

    if (!emulate_translate(vcpu, string->segment, offset_of(string), string->size, access_of(string), &operand)) {
        return 0;
    }
    ram = guest_memory_pointer(&vcpu->guest->memory, operand.pieces[0].address, elements * string->size);
    while (ram != NULL && done < elements && (done == 0 || goes_on(string)) &&
           do_ram_element(string, ram + done * string->size)) {
        done++;
    }
    return done;
}

/* As many elements as the budget and the clock allow, one at least. 0: an exception was raised before the first, or the
 * platform cannot be had. */
static uint64_t do_elements(const struct string_port *string, uint64_t budget)
{
    const struct vcpu *vcpu = string->vcpu;
    uint64_t done = 0;
    uint64_t more = 1;

    while (more != 0 && done < budget && (done == 0 || goes_on(string))) {
        uint64_t run = run_length(string, budget - done);

        more = run > 1 ? do_run(string, run) : 0;
        if (more == 0 && !vcpu->pending.valid) {
            more = do_element(string);
        }
        done += more;
    }
    return done;
}

void string_io_run(struct vcpu *vcpu, const struct instruction *instruction, uint16_t port)
{
    bool in = instruction->operation == OPERATION_INS;
    struct string_port string = {
        .vcpu = vcpu,
        .instruction = instruction,
        .port = port,
        .in = in,
        .size = instruction->rm_bytes,
        .segment = in ? SEGMENT_ES : instruction->segment,
        .pointer = in ? GPR_RDI : GPR_RSI,
        .until = vcpu_exit_end(vcpu),
    };
    uint64_t elements = string_elements(vcpu, instruction);
    uint64_t done = do_elements(&string, string_budget(vcpu, elements));

    if ((done != 0 || elements == 0) && !vcpu->pending.valid && (vcpu->requests & VCPU_STOPPED) == 0) {
        string_finish(vcpu, instruction, done == elements);
    }
}

void string_io(struct vcpu *vcpu, const struct exit_io *io)
{
    struct fetched fetched;
    char text[FETCHED_TEXT_MAX];
    enum fetch_result result = emulate_fetch(vcpu, &fetched);
    enum operation expected = io->in ? OPERATION_INS : OPERATION_OUTS;

    if (result == FETCH_RAISED) {
        return;
    }
    if (result == FETCH_UNSUPPORTED || fetched.instruction.operation != expected) {
        if (emulate_enter_again(vcpu)) {
            return;
        }
        guest_fail(vcpu, GUEST_CODE_UNDECODABLE,
                   "string access to port 0x%x at rip 0x%" PRIx64
                   ", but the bytes there are %s: its code changed while it ran",
                   io->port, vcpu->rip, emulate_bytes_text(&fetched, text));
        return;
    }
    fetched.instruction.rm_bytes = io->size; /* the CPU knows it best */
    string_io_run(vcpu, &fetched.instruction, io->port);
}
