/* SPDX-License-Identifier: MIT */
/* A flat binary: where it goes and how it is entered is what the config says (load, entry, mode). */
#include "guest-loader/own_entry.h"
#include "guest-loader/protocols.h"
#include "hv/base/format.h"

static const char *mode_name(enum config_mode mode)
{
    switch (mode) {
    case MODE_REAL16:
        return "real mode";
    case MODE_PROTECTED32:
        return "protected mode";
    case MODE_LONG64:
        return "long mode";
    }
    return "an unknown mode";
}

enum status flat_plan(struct loader *loader)
{
    const struct load_request *request = loader->request;
    struct load_plan *plan = loader->plan;
    uint64_t load = request->flat_load, entry = request->flat_entry, bytes = request->kernel.bytes;
    enum status status;

    if (bytes == 0) {
        return loader_fail(loader, STATUS_MALFORMED, 0, "the flat binary is empty");
    }
    status = plan_copy(loader, "the flat binary", 0, (struct load_copy){gpa(load), request->kernel.base, bytes, bytes});
    if (status != STATUS_OK) {
        return status;
    }
    if (entry < load || entry - load >= bytes) {
        return loader_fail(loader, STATUS_MALFORMED, PLAN_NOT_IN_FILE,
                           "the entry 0x%" PRIx64 " lies outside of the binary at 0x%" PRIx64 "..0x%" PRIx64
                           ": set `entry` within it",
                           entry, load, load + bytes);
    }
    plan->image_is_32bit = request->flat_mode != MODE_LONG64;
    format_text(plan->description, sizeof(plan->description),
                "flat binary at 0x%" PRIx64 ", entered in %s at 0x%" PRIx64, load, mode_name(request->flat_mode),
                entry);
    return own_entry_plan(loader, request->flat_mode, entry);
}
