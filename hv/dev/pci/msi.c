/* SPDX-License-Identifier: MIT */
/*
 * The interrupts of a PCI function: INTx, MSI, MSI-X. PCI Local Bus 3.0, 2.2.6 and 6.8.
 *
 * MSI, with 64-bit addresses and masks (6.8.1.4), and MSI-X (6.8.2), whose table has for each vector address, upper
 * address, data and control (bit 0: mask):
 *
 *   00  | control  | next | 05 |      00  | control  | next | 11 |
 *   04  | address              |      04  | table offset   | BIR |
 *   08  | upper address        |      08  | PBA offset     | BIR |
 *   0c  |          | data      |
 *   10  | mask bits            |
 *   14  | pending bits         |
 *
 * A message is a write of 32 bits to 0xfeexxxxx that the local APICs take. SDM 3A 11.11 "Message Signalled Interrupts":
 *
 *   address  31      20 19         12 11   4  3    2   1 0      data  15    14         10    8 7      0
 *            |  0xfee  | destination |  0  | RH | DM |  0 |          |trig|level| 0  |delivery| vector |
 *
 * A write to any other address would be one to memory. Nothing of ours does that for a guest: the message is dropped.
 */
#include "hv/base/check.h"
#include "hv/base/memory.h"
#include "hv/dev/pci/function.h"

#define CAP_MSI 0x05u
#define CAP_MSIX 0x11u

#define MSI_CONTROL 0x02u
#define MSI_ADDRESS 0x04u
#define MSI_UPPER 0x08u
#define MSI_DATA 0x0cu
#define MSI_MASK 0x10u
#define MSI_PENDING 0x14u
#define MSI_BYTES 0x18u
#define MSI_ENABLE 0x0001u
#define MSI_CAPABLE(log2) ((log2) << 1)
#define MSI_ENABLED_LOG2(control) ((control) >> 4 & 7u)
#define MSI_64 0x0080u
#define MSI_MASKING 0x0100u
#define MSI_LOG2_MAX 5u

#define MSIX_CONTROL 0x02u
#define MSIX_BYTES 0x0cu
#define MSIX_ENABLE 0x8000u
#define MSIX_FUNCTION_MASK 0x4000u
#define MSIX_ENTRY_BYTES 16u
#define MSIX_PBA_BYTES 8u
#define MSIX_ADDRESS_WORD 0u
#define MSIX_UPPER_WORD 1u
#define MSIX_DATA_WORD 2u
#define MSIX_CONTROL_WORD 3u
#define MSIX_MASKED 1u

#define MESSAGE_BASE 0xfee00000u
#define MESSAGE_BASE_BITS 0xfff00000u
#define MESSAGE_DESTINATION(address) ((address) >> 12 & 0xffu)
#define MESSAGE_LOGICAL 0x4u
#define MESSAGE_HINT 0x8u
#define MESSAGE_DELIVERY(data) ((data) >> 8 & 7u)
#define MESSAGE_LEVEL 0xc000u /* triggered by a level, and asserted */

void pci_function_add_msix(struct pci_endpoint *function, unsigned vectors, unsigned bar, uint32_t table, uint32_t pba)
{
    uint8_t body[MSIX_BYTES - 2] = {0};
    unsigned offset;

    CHECK_OP(vectors, <=, PCI_MSIX_MAX);
    offset = pci_function_add_capability(function, CAP_MSIX, body, sizeof(body));
    function->msix_cap = (uint8_t)offset;
    function->msix_bar = (uint8_t)bar;
    function->msix_count = (uint8_t)vectors;
    function->msix_table = table;
    function->msix_pba = pba;
    function->config[offset + MSIX_CONTROL] = (uint8_t)(vectors - 1);
    function->writable[offset + MSIX_CONTROL + 1] = (MSIX_ENABLE | MSIX_FUNCTION_MASK) >> 8;
    for (unsigned i = 0; i < 4; i++) {
        function->config[offset + 4 + i] = (uint8_t)((table | bar) >> (8 * i));
        function->config[offset + 8 + i] = (uint8_t)((pba | bar) >> (8 * i));
    }
    for (unsigned i = 0; i < vectors; i++) {
        function->msix[i].words[MSIX_CONTROL_WORD] = MSIX_MASKED;
    }
}

void pci_function_add_msi(struct pci_endpoint *function, unsigned vectors)
{
    uint8_t body[MSI_BYTES - 2] = {0};
    unsigned log2 = (unsigned)__builtin_ctz(vectors);
    unsigned offset = pci_function_add_capability(function, CAP_MSI, body, sizeof(body));
    uint32_t masks = vectors == 32 ? 0xffffffffu : (1u << vectors) - 1;

    function->msi_cap = (uint8_t)offset;
    function->config[offset + MSI_CONTROL] = (uint8_t)(MSI_64 | MSI_CAPABLE(log2));
    function->config[offset + MSI_CONTROL + 1] = MSI_MASKING >> 8;
    function->writable[offset + MSI_CONTROL] = 0x70u | MSI_ENABLE;
    function->writable[offset + MSI_ADDRESS] = 0xfc;
    memset(&function->writable[offset + MSI_ADDRESS + 1], 0xff, 3 + 4 + 2);
    for (unsigned i = 0; i < 4; i++) {
        function->writable[offset + MSI_MASK + i] = (uint8_t)(masks >> (8 * i));
    }
}

bool pci_msix_enabled(const struct pci_endpoint *function)
{
    return function->msix_cap != 0 && (pci_config_word(function, function->msix_cap + MSIX_CONTROL) & MSIX_ENABLE) != 0;
}

bool pci_msi_enabled(const struct pci_endpoint *function)
{
    return function->msi_cap != 0 && (pci_config_word(function, function->msi_cap + MSI_CONTROL) & MSI_ENABLE) != 0;
}

/* How many vectors of MSI the guest has switched on. More than there are is "undefined"; here the rest stays off. */
static unsigned msi_vectors(const struct pci_endpoint *function)
{
    uint16_t control = pci_config_word(function, function->msi_cap + MSI_CONTROL);
    unsigned capable = control >> 1 & 7u;

    return 1u << min_u64(MSI_ENABLED_LOG2(control), capable);
}

/* The pending bits of MSI can be read in the capability. */
static void show_pending(struct pci_endpoint *function)
{
    if (function->msi_cap != 0) {
        uint32_t pending = pci_msi_enabled(function) ? function->pending : 0;

        memcpy(&function->config[function->msi_cap + MSI_PENDING], &pending, sizeof(pending));
    }
}

void pci_interrupt(struct pci_endpoint *function, unsigned vector)
{
    if (pci_msix_enabled(function) ? vector < function->msix_count
                                   : pci_msi_enabled(function) && vector < msi_vectors(function)) {
        function->pending |= 1u << vector;
        show_pending(function);
    }
}

/* Those that wait and are not masked. A vector that waited for a mechanism that is off now waits for it to come on. */
static uint32_t ready_vectors(const struct pci_endpoint *function)
{
    uint32_t ready = 0;

    if (!pci_msix_enabled(function)) {
        return pci_msi_enabled(function) ? function->pending & ~pci_config_dword(function, function->msi_cap + MSI_MASK)
                                         : 0;
    }
    if ((pci_config_word(function, function->msix_cap + MSIX_CONTROL) & MSIX_FUNCTION_MASK) != 0) {
        return 0;
    }
    for (uint32_t left = function->pending; left != 0; left &= left - 1) {
        unsigned vector = (unsigned)__builtin_ctz(left);

        if ((function->msix[vector].words[MSIX_CONTROL_WORD] & MSIX_MASKED) == 0) {
            ready |= 1u << vector;
        }
    }
    return ready;
}

bool pci_intx_asserted(const struct pci_endpoint *function)
{
    return function->intx && (pci_command(function) & PCI_COMMAND_INTX_OFF) == 0 && !pci_msix_enabled(function) &&
           !pci_msi_enabled(function);
}

/* Those whose messages may be sent: a function that is no bus master sends none. */
static uint32_t sendable_vectors(const struct pci_endpoint *function)
{
    return function->pending != 0 && (pci_command(function) & PCI_COMMAND_MASTER) != 0 ? ready_vectors(function) : 0;
}

bool pci_has_message(const struct pci_endpoint *function)
{
    return sendable_vectors(function) != 0;
}

/* False: it goes to no local APIC, or has a reserved delivery mode. */
static bool message_of(uint32_t address, uint32_t upper, uint32_t data, struct apic_message *message)
{
    uint32_t delivery = MESSAGE_DELIVERY(data);

    if (upper != 0 || (address & MESSAGE_BASE_BITS) != MESSAGE_BASE || delivery == 3 || delivery == APIC_STARTUP) {
        return false;
    }
    if ((address & MESSAGE_HINT) != 0 && delivery == APIC_FIXED) {
        delivery = APIC_LOWEST; /* to one of those that match */
    }
    *message = (struct apic_message){
        .destination = MESSAGE_DESTINATION(address),
        .vector = (uint8_t)data,
        .delivery = (uint8_t)delivery,
        .logical = (address & MESSAGE_LOGICAL) != 0,
        .level = (data & MESSAGE_LEVEL) == MESSAGE_LEVEL,
    };
    return true;
}

static bool msix_message(const struct pci_endpoint *function, unsigned vector, struct apic_message *message)
{
    const uint32_t *words = function->msix[vector].words;

    return message_of(words[MSIX_ADDRESS_WORD], words[MSIX_UPPER_WORD], words[MSIX_DATA_WORD], message);
}

/* The vector's number replaces the low bits of the data. 6.8.1.6. */
static bool msi_message(const struct pci_endpoint *function, unsigned vector, struct apic_message *message)
{
    unsigned cap = function->msi_cap;
    uint32_t low = msi_vectors(function) - 1;
    uint32_t data = pci_config_word(function, cap + MSI_DATA);

    return message_of(pci_config_dword(function, cap + MSI_ADDRESS), pci_config_dword(function, cap + MSI_UPPER),
                      (data & ~low) | (vector & low), message);
}

bool pci_take_message(struct pci_endpoint *function, struct apic_message *message)
{
    uint32_t ready;

    while ((ready = sendable_vectors(function)) != 0) {
        unsigned vector = (unsigned)__builtin_ctz(ready);

        function->pending &= ~(1u << vector);
        show_pending(function);
        if (pci_msix_enabled(function) ? msix_message(function, vector, message)
                                       : msi_message(function, vector, message)) {
            return true;
        }
    }
    return false;
}

/* ---- the MSI-X structures in memory ---- */

bool pci_msix_covers(const struct pci_endpoint *function, unsigned bar, uint64_t offset)
{
    return function->msix_cap != 0 && bar == function->msix_bar &&
           (offset - function->msix_table < function->msix_count * MSIX_ENTRY_BYTES ||
            offset - function->msix_pba < MSIX_PBA_BYTES);
}

/* Accesses of other widths than 4 and 8 are "undefined"; here they are parts of the words. */
static uint8_t msix_byte(const struct pci_endpoint *function, uint64_t offset)
{
    uint64_t at = offset - function->msix_table;

    if (at < function->msix_count * MSIX_ENTRY_BYTES) {
        return (uint8_t)(function->msix[at / MSIX_ENTRY_BYTES].words[at % MSIX_ENTRY_BYTES / 4] >> (8 * (at % 4)));
    }
    at = offset - function->msix_pba;
    return at < sizeof(function->pending) && pci_msix_enabled(function) ? (uint8_t)(function->pending >> (8 * at)) : 0;
}

uint64_t pci_msix_read(const struct pci_endpoint *function, uint64_t offset, uint8_t size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)msix_byte(function, offset + i) << (8 * i);
    }
    return value;
}

/* Bits of an entry's words that can be changed: no address bits 1:0, and of the control word the mask. */
static uint32_t writable_bits(unsigned word)
{
    if (word == MSIX_CONTROL_WORD) {
        return MSIX_MASKED;
    }
    return word == MSIX_ADDRESS_WORD ? ~3u : ~0u;
}

void pci_msix_write(struct pci_endpoint *function, uint64_t offset, uint8_t size, uint64_t value)
{
    for (unsigned i = 0; i < size; i++) {
        uint64_t at = offset + i - function->msix_table;
        unsigned word = (unsigned)(at % MSIX_ENTRY_BYTES / 4);
        uint32_t bits = (uint32_t)0xffu << (8 * (at % 4)) & writable_bits(word);
        uint32_t *target;

        if (at >= function->msix_count * MSIX_ENTRY_BYTES) {
            continue; /* the pending bits are read-only */
        }
        target = &function->msix[at / MSIX_ENTRY_BYTES].words[word];
        *target = (*target & ~bits) | ((uint32_t)(value >> (8 * i) & 0xff) << (8 * (at % 4)) & bits);
    }
}
