/* SPDX-License-Identifier: MIT */
#include "hv/core/quirks.h"

#include "hv/base/format.h"
#include "hv/base/memory.h"

#define ON_QEMU (1u << EMULATOR_QEMU)
#define ON_BOCHS (1u << EMULATOR_BOCHS)
#define FOR_SVM 1u
#define FOR_VMX 2u

struct quirk_row {
    const char *name;
    uint8_t offset;    /* of its field */
    uint8_t emulators; /* that have it */
    uint8_t vendors;   /* for whose guests it matters */
};

#define FIELD(name) offsetof(struct quirks, name)
static const struct quirk_row rows[] = {
    {"double-injection", FIELD(double_injection), ON_QEMU, FOR_SVM},
    {"lost-shadow", FIELD(lost_shadow), ON_QEMU, FOR_SVM},
    {"cr8-in-window", FIELD(cr8_in_window), ON_QEMU, FOR_SVM},
    {"task-switch-unseen", FIELD(task_switch_unseen), ON_QEMU, FOR_SVM},
    {"xsetbv-unseen", FIELD(xsetbv_unseen), ON_QEMU, FOR_SVM},
    {"lme-without-paging", FIELD(lme_without_paging), ON_QEMU, FOR_SVM},
    {"pae-pointer-accessed", FIELD(pae_pointer_accessed), ON_QEMU, FOR_SVM},
    {"stale-code", FIELD(stale_code), ON_QEMU, FOR_SVM},
    {"no-shutdown-exit", FIELD(no_shutdown_exit), ON_BOCHS, FOR_SVM},
    {"dr6-not-saved", FIELD(dr6_not_saved), ON_BOCHS, FOR_SVM},
    {"cr2-not-loaded", FIELD(cr2_not_loaded), ON_BOCHS, FOR_SVM},
    {"lma-cleared-early", FIELD(lma_cleared_early), ON_BOCHS, FOR_SVM},
    {"stale-task-event", FIELD(stale_task_event), ON_BOCHS, FOR_SVM},
    {"tce-refused", FIELD(tce_refused), ON_BOCHS, FOR_SVM},
    {"refusal-spoils-vmcb", FIELD(refusal_spoils_vmcb), ON_QEMU | ON_BOCHS, FOR_SVM},
    {"wrong-virtual-interrupts", FIELD(wrong_virtual_interrupts), ON_BOCHS, FOR_VMX},
    {"nmi-blocking-inherited", FIELD(nmi_blocking_inherited), ON_BOCHS, FOR_VMX},
    {"late-host-interrupts", FIELD(late_host_interrupts), ON_BOCHS, FOR_SVM | FOR_VMX},
    {"broken-xsavec", FIELD(broken_xsavec), ON_BOCHS, FOR_SVM | FOR_VMX},
};
_Static_assert(ARRAY_COUNT(rows) == sizeof(struct quirks), "a row for each field");

static const char *const emulator_names[] = {
    [EMULATOR_NONE] = "this CPU", [EMULATOR_QEMU] = "QEMU's TCG", [EMULATOR_BOCHS] = "Bochs"};

static bool *field_of(struct quirks *quirks, const struct quirk_row *row)
{
    return (bool *)quirks + row->offset;
}

void quirks_choose(enum emulator emulator, bool is_intel, bool wanted, struct quirks *quirks)
{
    uint32_t vendor = is_intel ? FOR_VMX : FOR_SVM;

    memset(quirks, 0, sizeof(*quirks));
    for (uint32_t i = 0; wanted && i < ARRAY_COUNT(rows); i++) {
        *field_of(quirks, &rows[i]) = (rows[i].emulators & 1u << emulator) != 0 && (rows[i].vendors & vendor) != 0;
    }
}

const char *quirks_text(enum emulator emulator, const struct quirks *quirks, char to[QUIRKS_TEXT_MAX])
{
    struct quirks copy = *quirks;
    size_t length;
    size_t before;

    length = before = format_text(to, QUIRKS_TEXT_MAX, "quirks of %s: ", emulator_names[emulator]);
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        if (*field_of(&copy, &rows[i])) {
            length +=
                format_text(to + length, QUIRKS_TEXT_MAX - length, "%s%s", length == before ? "" : ", ", rows[i].name);
        }
    }
    if (length == before) {
        format_text(to + length, QUIRKS_TEXT_MAX - length,
                    emulator == EMULATOR_NONE ? "none" : "left off, as asked for");
    }
    return to;
}
