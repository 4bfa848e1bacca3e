/* SPDX-License-Identifier: MIT */
/*
 * USB controllers: the firmware's system management code drives them as a keyboard until it is told to stop, by a
 * protocol that each kind of controller has. Without it that code goes on to serve a controller whose bus mastering is
 * off, in system management mode, on time that is the guests'. Pure: the caller gives the access.
 *
 * "Universal Host Controller Interface" 1.1, 5.2.1 "LEGSUP"; "OpenHCI" 1.0a, 5.1.1.3 "Take Control of Host Controller";
 * "EHCI" 1.0, 2.1.7 "USBLEGSUP", 2.1.8 "USBLEGCTLSTS"; "xHCI" 1.2, 7.1 "USB Legacy Support Capability".
 */
#ifndef HV_HOST_USB_HANDOFF_H
#define HV_HOST_USB_HANDOFF_H

#include "hv/host/pci_scan.h"

#define USB_HANDOFF_WAIT_US 1000000u /* for the firmware's answer, per controller; 1 s, as the EHCI appendix takes it */

/* The controller's registers in memory, and time. */
struct usb_access {
    void *context;
    /* Makes physical [address, address + bytes) reachable. False: it cannot be. */
    bool (*map)(void *context, uint64_t address, uint64_t bytes);
    uint32_t (*read)(void *context, uint64_t address);
    void (*write)(void *context, uint64_t address, uint32_t value);
    void (*wait_us)(void *context, uint32_t us);
    bool look_only; /* nothing is written and nothing waited for: the answer says whether the firmware has it */
};

enum usb_handoff {
    USB_NOT_OWNED,   /* the firmware does not use it, or it is no such controller */
    USB_TAKEN,       /* the firmware let it go */
    USB_FORCED,      /* the firmware did not answer in USB_HANDOFF_WAIT_US: it was taken all the same */
    USB_UNREACHABLE, /* its registers are not mapped or make no sense: nothing was done */
};

/* Before its bus mastering goes off. Any function may be given. Ends after USB_HANDOFF_WAIT_US. */
enum usb_handoff usb_handoff(const struct pci_access *pci, const struct usb_access *usb,
                             const struct pci_function *function);

/* "firmware": its system management code serves the controller; "free" where not; "unreachable" where that cannot be
 * seen. Changes nothing. Before the hand-over; `usb` needs no wait_us. */
const char *usb_legacy_owner(const struct pci_access *pci, const struct usb_access *usb,
                             const struct pci_function *function);

/* "xHCI", ...; NULL: no USB controller. */
const char *usb_kind_name(const struct pci_function *function);

#endif
