/* SPDX-License-Identifier: MIT */
#include "hv/host/usb_handoff.h"

#define WAIT_STEP_US 100u
#define REGISTERS_BYTES (64 * KIB) /* of an xHCI, which has the largest */
#define CAPABILITIES_MAX 64u       /* in a chain: more means that it is a ring */

/* Programming interfaces of class 0x0c03. */
#define INTERFACE_UHCI 0x00u
#define INTERFACE_OHCI 0x10u
#define INTERFACE_EHCI 0x20u
#define INTERFACE_XHCI 0x30u

/* A memory BAR: bit 0 clear, type in bits 2:1. PCI Local Bus Specification 3.0, 6.2.5.1. */
#define BAR_PORT 1u
#define BAR_TYPE_64 0x4u
#define BAR_TYPE_MASK 0x6u
#define BAR_ADDRESS_MASK 0xfffffff0u

#define UHCI_LEGSUP 0xc0u
#define UHCI_LEGSUP_CLEAR 0x8f00u /* status bits are cleared, no SMI is enabled */
#define UHCI_LEGSUP_SMI 0x00bfu   /* trap and USB SMI enables */

#define OHCI_CONTROL 0x04u
#define OHCI_COMMAND_STATUS 0x08u
#define OHCI_INTERRUPT_DISABLE 0x14u
#define OHCI_CONTROL_ROUTED (1u << 8)   /* interrupts go to system management */
#define OHCI_OWNERSHIP_CHANGE (1u << 3) /* of HcCommandStatus */
#define OHCI_INTERRUPTS_ALL 0xc000007fu

#define EHCI_HCCPARAMS 0x08u
#define XHCI_HCCPARAMS1 0x10u
#define LEGACY_CAPABILITY 1u /* id, of both kinds */
#define LEGACY_FIRMWARE_OWNS (1u << 16)
#define LEGACY_WE_OWN (1u << 24)
#define LEGACY_CONTROL 4u /* from the capability on: SMI enables in the lower half, what clears by 1 in the upper */
#define EHCI_CONTROL_CLEAR 0xe0000000u
#define XHCI_CONTROL_ENABLES 0x0000e011u
#define XHCI_CONTROL_CLEAR 0xe0000000u

static uint32_t interface_of(const struct pci_function *function)
{
    return function->class_code & 0xff;
}

static bool is_usb(const struct pci_function *function)
{
    return function->class_code >> 8 == PCI_CLASS_USB;
}

const char *usb_kind_name(const struct pci_function *function)
{
    if (!is_usb(function)) {
        return NULL;
    }
    switch (interface_of(function)) {
    case INTERFACE_UHCI:
        return "UHCI";
    case INTERFACE_OHCI:
        return "OHCI";
    case INTERFACE_EHCI:
        return "EHCI";
    case INTERFACE_XHCI:
        return "xHCI";
    default:
        return NULL;
    }
}

/* The physical address of BAR 0; 0 where it is no memory, was never set, or the function does not decode it. */
static uint64_t registers_of(const struct pci_access *pci, const struct pci_function *function)
{
    uint32_t low = pci->read(pci->context, function->address, PCI_BAR(0));
    uint64_t address = low & BAR_ADDRESS_MASK;

    if ((low & BAR_PORT) != 0 || (pci->read(pci->context, function->address, PCI_COMMAND) & PCI_COMMAND_MEMORY) == 0) {
        return 0;
    }
    if ((low & BAR_TYPE_MASK) == BAR_TYPE_64) {
        address |= (uint64_t)pci->read(pci->context, function->address, PCI_BAR(1)) << 32;
    }
    return address;
}

/* A place whose bits the firmware clears when it lets go: a register in memory, or one of configuration space. */
struct owner_bits {
    const struct pci_access *pci;
    const struct usb_access *usb;
    struct pci_address address;
    uint64_t at; /* physical address, or offset in configuration space */
    bool in_config;
};

static uint32_t owner_read(const struct owner_bits *owner, uint64_t more)
{
    return owner->in_config ? owner->pci->read(owner->pci->context, owner->address, (uint32_t)(owner->at + more))
                            : owner->usb->read(owner->usb->context, owner->at + more);
}

static void owner_write(const struct owner_bits *owner, uint64_t more, uint32_t value)
{
    if (owner->usb->look_only) {
        return;
    }
    if (owner->in_config) {
        owner->pci->write(owner->pci->context, owner->address, (uint32_t)(owner->at + more), 4, value);
    } else {
        owner->usb->write(owner->usb->context, owner->at + more, value);
    }
}

static bool wait_clear(const struct owner_bits *owner, uint32_t bits)
{
    if (owner->usb->look_only) {
        return true;
    }
    for (uint32_t us = 0; us < USB_HANDOFF_WAIT_US; us += WAIT_STEP_US) {
        if ((owner_read(owner, 0) & bits) == 0) {
            return true;
        }
        owner->usb->wait_us(owner->usb->context, WAIT_STEP_US);
    }
    return (owner_read(owner, 0) & bits) == 0;
}

/* EHCI and xHCI: the same two words, apart from which bits of the second are enables. */
static enum usb_handoff take_legacy(const struct owner_bits *owner, uint32_t enables, uint32_t clear)
{
    uint32_t support = owner_read(owner, 0);
    enum usb_handoff result = USB_NOT_OWNED;

    if ((support & LEGACY_FIRMWARE_OWNS) != 0) {
        owner_write(owner, 0, support | LEGACY_WE_OWN);
        result = USB_TAKEN;
        if (!wait_clear(owner, LEGACY_FIRMWARE_OWNS)) {
            owner_write(owner, 0, (support & ~LEGACY_FIRMWARE_OWNS) | LEGACY_WE_OWN);
            result = USB_FORCED;
        }
    }
    owner_write(owner, LEGACY_CONTROL, (owner_read(owner, LEGACY_CONTROL) & ~enables) | clear);
    return result;
}

/* The registers' address in *at, reachable. */
static bool reach(const struct pci_access *pci, const struct usb_access *usb, const struct pci_function *function,
                  uint64_t *at)
{
    *at = registers_of(pci, function);
    return *at != 0 && usb->map(usb->context, *at, REGISTERS_BYTES);
}

static enum usb_handoff take_uhci(const struct pci_access *pci, const struct usb_access *usb,
                                  const struct pci_function *function)
{
    uint32_t before = pci->read(pci->context, function->address, UHCI_LEGSUP);

    if (!usb->look_only) {
        pci->write(pci->context, function->address, UHCI_LEGSUP, 2, UHCI_LEGSUP_CLEAR);
    }
    return (before & UHCI_LEGSUP_SMI) != 0 ? USB_TAKEN : USB_NOT_OWNED;
}

static enum usb_handoff take_ohci(const struct pci_access *pci, const struct usb_access *usb,
                                  const struct pci_function *function)
{
    struct owner_bits control = {.pci = pci, .usb = usb};
    enum usb_handoff result = USB_NOT_OWNED;
    uint64_t at;

    if (!reach(pci, usb, function, &at)) {
        return USB_UNREACHABLE;
    }
    control.at = at + OHCI_CONTROL;
    if ((owner_read(&control, 0) & OHCI_CONTROL_ROUTED) != 0) {
        owner_write(&control, OHCI_COMMAND_STATUS - OHCI_CONTROL, OHCI_OWNERSHIP_CHANGE);
        result = USB_TAKEN;
        if (!wait_clear(&control, OHCI_CONTROL_ROUTED)) {
            owner_write(&control, 0, owner_read(&control, 0) & ~OHCI_CONTROL_ROUTED);
            result = USB_FORCED;
        }
    }
    control.at = at;
    owner_write(&control, OHCI_INTERRUPT_DISABLE, OHCI_INTERRUPTS_ALL);
    return result;
}

/* The chain of extended capabilities is in configuration space: offset of the next in bits 15:8. EHCI 1.0, 2.2.4. */
static enum usb_handoff take_ehci(const struct pci_access *pci, const struct usb_access *usb,
                                  const struct pci_function *function)
{
    uint64_t at;
    uint32_t next;

    if (!reach(pci, usb, function, &at)) {
        return USB_UNREACHABLE;
    }
    next = usb->read(usb->context, at + EHCI_HCCPARAMS) >> 8 & 0xff;
    for (uint32_t i = 0; next >= 0x40 && i < CAPABILITIES_MAX; i++) {
        uint32_t word = pci->read(pci->context, function->address, next & ~3u);

        if ((word & 0xff) == LEGACY_CAPABILITY) {
            const struct owner_bits owner = {pci, usb, function->address, next & ~3u, true};

            return take_legacy(&owner, 0xffffffffu, EHCI_CONTROL_CLEAR);
        }
        next = word >> 8 & 0xff;
    }
    return USB_NOT_OWNED;
}

/* The chain is in the registers: distance of the next in bits 15:8, in words of 4 bytes. xHCI 1.2, 5.3.6 and 7. */
static enum usb_handoff take_xhci(const struct pci_access *pci, const struct usb_access *usb,
                                  const struct pci_function *function)
{
    uint64_t at;
    uint64_t offset;

    if (!reach(pci, usb, function, &at)) {
        return USB_UNREACHABLE;
    }
    offset = 4ULL * (usb->read(usb->context, at + XHCI_HCCPARAMS1) >> 16);
    for (uint32_t i = 0; offset != 0 && offset + 2 * 4 <= REGISTERS_BYTES && i < CAPABILITIES_MAX; i++) {
        uint32_t word = usb->read(usb->context, at + offset);

        if ((word & 0xff) == LEGACY_CAPABILITY) {
            const struct owner_bits owner = {.pci = pci, .usb = usb, .at = at + offset};

            return take_legacy(&owner, XHCI_CONTROL_ENABLES, XHCI_CONTROL_CLEAR);
        }
        offset = (word >> 8 & 0xff) == 0 ? 0 : offset + 4ULL * (word >> 8 & 0xff);
    }
    return USB_NOT_OWNED;
}

enum usb_handoff usb_handoff(const struct pci_access *pci, const struct usb_access *usb,
                             const struct pci_function *function)
{
    if (!is_usb(function)) {
        return USB_NOT_OWNED;
    }
    switch (interface_of(function)) {
    case INTERFACE_UHCI:
        return take_uhci(pci, usb, function);
    case INTERFACE_OHCI:
        return take_ohci(pci, usb, function);
    case INTERFACE_EHCI:
        return take_ehci(pci, usb, function);
    case INTERFACE_XHCI:
        return take_xhci(pci, usb, function);
    default:
        return USB_NOT_OWNED;
    }
}

const char *usb_legacy_owner(const struct pci_access *pci, const struct usb_access *usb,
                             const struct pci_function *function)
{
    struct usb_access look = *usb;

    look.look_only = true;
    switch (usb_handoff(pci, &look, function)) {
    case USB_NOT_OWNED:
        return "free";
    case USB_TAKEN:
    case USB_FORCED:
        return "firmware";
    case USB_UNREACHABLE:
        break;
    }
    return "unreachable";
}
