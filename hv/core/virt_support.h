/* SPDX-License-Identifier: MIT */
/* What virt_detect() finds out about this CPU. Included by both vendors, which fill it, and by hv/virt/virt.h. */
#ifndef HV_CORE_VIRT_SUPPORT_H
#define HV_CORE_VIRT_SUPPORT_H

#include "hv/core/guest.h"
#include "hv/mm/page_table.h"

enum virt_vendor {
    VIRT_NONE,
    VIRT_VMX,
    VIRT_SVM,
};

/* A capability word of two CPUs of the machine. */
struct virt_word {
    const char *name;
    uint64_t boot; /* of the boot CPU, which guests are prepared for */
    uint64_t here;
};

/* Are all `count` words of `name` ("VMX") alike? False: `why` says which is the first that is not. */
bool virt_words_alike(const char *name, const struct virt_word *words, uint32_t count, char *why, size_t why_bytes);

struct virt_support {
    enum virt_vendor vendor;
    const struct page_table_format *format; /* of nested trees */
    struct page_table_caps caps;            /* of nested trees */
    bool nested_paging;                     /* the CPU walks them; else guests need shadow tables */
    bool passes_deadline;                   /* a guest's TSC deadline may be the CPU's own */
    bool apic_page;                         /* nested trees may have an APIC-access page: hv/core/guest_apic_page.h */
    char used[300];                         /* "AMD SVM with nested paging, 1 GiB pages, NRIP save" */
    char without[300];                      /* optional features that are not there and what changes; empty: none */
    enum emulator emulator;                 /* whose signature this CPU has */
    char missing[300];                      /* vendor VIRT_NONE: the required feature by name, and the remedy */
};

#endif
