/* SPDX-License-Identifier: MIT */
#include "hv/emulate/emulate_port.h"

#include "hv/core/event.h"
#include "hv/emulate/emulate_memory.h"
#include "hv/x86/registers.h"

#define RFLAGS_IOPL_SHIFT 12u
#define RFLAGS_IOPL 3u
/* A 32-bit or 64-bit TSS, busy or not: a 16-bit one has no map. SDM 3A 3.5, table 3-2. */
#define TSS_TYPE 0xdu
#define TSS_TYPE_32 9u
#define TSS_MAP_BASE 102u /* SDM 3A 8.2.1, figure 8-2; SDM 3A 8.7, figure 8-11 */
#define MAP_WORD_BYTES 2u /* so many bits are looked at: an access may cross a byte */

static bool refuse(struct vcpu *vcpu)
{
    vcpu_raise_error(vcpu, EXCEPTION_GP, 0);
    return false;
}

/* Two bytes of the TSS, as the CPU reads them for itself. */
static bool read_tss(struct vcpu *vcpu, uint32_t offset, uint32_t *value)
{
    const struct segment *tss = &vcpu->system.segments[SEGMENT_TR];
    struct memory_operand operand;

    if ((tss->access & SEGMENT_UNUSABLE) != 0 || (tss->access & TSS_TYPE) != TSS_TYPE_32 ||
        offset + MAP_WORD_BYTES - 1 > tss->limit) {
        return refuse(vcpu);
    }
    if (!emulate_translate_linear(vcpu, tss->base + offset, MAP_WORD_BYTES, GUEST_READ, true, &operand)) {
        return false;
    }
    *value = (uint32_t)emulate_load(vcpu, &operand);
    return true;
}

/* A set bit refuses. SDM 1 19.5.2 "I/O Permission Bit Map". */
static bool map_allows(struct vcpu *vcpu, uint16_t port, uint8_t size)
{
    uint32_t ports = (1u << size) - 1;
    uint32_t base;
    uint32_t bits;

    if (!read_tss(vcpu, TSS_MAP_BASE, &base) || !read_tss(vcpu, base + port / 8u, &bits)) {
        return false;
    }
    return (bits >> port % 8u & ports) == 0 || refuse(vcpu);
}

bool emulate_port_allowed(struct vcpu *vcpu, uint16_t port, uint8_t size)
{
    uint32_t iopl = (uint32_t)(vcpu->rflags >> RFLAGS_IOPL_SHIFT) & RFLAGS_IOPL;

    if ((vcpu->system.cr0 & CR0_PE) == 0 || ((vcpu->rflags & RFLAGS_VM) == 0 && vcpu->system.cpl <= iopl)) {
        return true;
    }
    return map_allows(vcpu, port, size);
}
