/*
 * Recognition and dispatch. The order matters: a bzImage is also an EFI application, a multiboot kernel is usually also
 * an ELF file, and Linux's vmlinux is an ELF file with a PVH note. The most specific header wins; a flat binary looks
 * like nothing, so it is never guessed.
 */
#include "guest-loader/loader.h"

#include "guest-loader/elf_image.h"
#include "guest-loader/protocols.h"
#include "hv/base/memory.h"

/* What a file is when it is no kernel that can be entered, by its first bytes. */
struct foreign_form {
    uint8_t magic[6];
    uint8_t magic_bytes;
    const char *sentence;
};

static const struct foreign_form foreign_forms[] = {
    {{0x1f, 0x8b}, 2, "what is compressed with gzip is compressed twice, or not by deflate: unpack it first (gunzip)"},
    {{0xfd, '7', 'z', 'X', 'Z', 0}, 6, "the kernel is compressed with xz: unpack it first (unxz)"},
    {{0x28, 0xb5, 0x2f, 0xfd}, 4, "the kernel is compressed with zstd: unpack it first (unzstd)"},
    {{'B', 'Z', 'h'}, 3, "the kernel is compressed with bzip2: unpack it first (bunzip2)"},
    {{'M', 'Z'}, 2, "this is an EFI or DOS program, not a kernel: give the kernel's own image"},
};

static enum status fail_unknown(struct loader *loader)
{
    struct span kernel = loader->request->kernel;

    for (uint32_t i = 0; i < ARRAY_COUNT(foreign_forms); i++) {
        const struct foreign_form *form = &foreign_forms[i];

        if (kernel.bytes >= form->magic_bytes && memcmp(kernel.base, form->magic, form->magic_bytes) == 0) {
            return loader_fail(loader, STATUS_UNSUPPORTED, 0, "%s", form->sentence);
        }
    }
    return loader_fail(loader, STATUS_NOT_FOUND, 0,
                       "no boot header that is known (Linux bzImage, multiboot, multiboot2, PVH, ELF): for a flat "
                       "binary write protocol = flat");
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
