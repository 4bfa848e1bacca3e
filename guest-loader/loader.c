/* SPDX-License-Identifier: MIT */
/*
 * Recognition and dispatch. The order matters: a bzImage is also an EFI application, a multiboot kernel is usually also
 * an ELF file, and Linux's vmlinux is an ELF file with a PVH note. The most specific header wins; a flat binary looks
 * like nothing, so it is never guessed.
 */
#include "guest-loader/loader.h"

#include "guest-loader/elf_image.h"
#include "guest-loader/foreign.h"
#include "guest-loader/protocols.h"
#include "hv/base/memory.h"

static enum status fail_unknown(struct loader *loader)
{
    return foreign_fail(loader, "no boot header that is known",
                        "(Linux bzImage, multiboot, multiboot2, PVH, ELF): for a flat binary write protocol = flat");
}

static enum config_protocol recognize(struct span kernel)
{
    if (linux_recognize(kernel)) {
        return PROTOCOL_LINUX;
    }
    if (multiboot2_recognize(kernel)) {
        return PROTOCOL_MULTIBOOT2;
    }
    if (multiboot_recognize(kernel)) {
        return PROTOCOL_MULTIBOOT;
    }
    if (pvh_recognize(kernel)) {
        return PROTOCOL_PVH;
    }
    return elf_recognize(kernel) ? PROTOCOL_ELF : PROTOCOL_AUTO;
}

static enum status dispatch(struct loader *loader)
{
    switch (loader->plan->protocol) {
    case PROTOCOL_AUTO:
        return fail_unknown(loader);
    case PROTOCOL_LINUX:
        return linux_plan(loader);
    case PROTOCOL_MULTIBOOT:
        return multiboot_plan(loader);
    case PROTOCOL_MULTIBOOT2:
        return multiboot2_plan(loader);
    case PROTOCOL_PVH:
        return pvh_plan(loader);
    case PROTOCOL_ELF:
        return elf_plan(loader);
    case PROTOCOL_FLAT:
        return flat_plan(loader);
    }
    return fail_unknown(loader);
}

enum status loader_plan(const struct load_request *request, struct load_plan *plan, struct load_error *error)
{
    struct loader loader = {.request = request, .plan = plan, .error = error};

    memset(plan, 0, sizeof(*plan));
    *error = (struct load_error){0};
    if (request->module_count > CONFIG_MODULES_MAX) {
        return loader_fail(&loader, STATUS_INVALID, PLAN_NOT_IN_FILE, "more than %u modules", CONFIG_MODULES_MAX);
    }
    plan->protocol = request->protocol == PROTOCOL_AUTO ? recognize(request->kernel) : request->protocol;
    return dispatch(&loader);
}
