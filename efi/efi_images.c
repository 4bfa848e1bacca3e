/* SPDX-License-Identifier: MIT */
/*
 * The images that the config names: read once each, kernels and disks expanded, kernels loaded for a trial. The trial
 * makes the same plan from the same bytes as the guest's creation after the hand-over, so that a truncated kernel is a
 * sentence here and not there.
 */
#include "config/parse.h"
#include "efi/efi_stage.h"
#include "guest-loader/foreign.h"
#include "guest-loader/gzip.h"
#include "guest-loader/loader.h"
#include "hv/base/format.h"

/* Where in plinth.conf a file is named: "plinth.conf:4294967295:4294967295: ". */
#define WHERE_MAX 40u

static struct load_plan the_plan; /* 36 KiB */
static struct load_request the_request;

static void say_where(char to[WHERE_MAX], struct config_position position)
{
    format_text(to, WHERE_MAX, "plinth.conf:%u:%u: ", position.line, position.column);
}

/* Several guests may run one kernel: images are only read from, so they share the bytes. NULL: it was not read. */
static struct efi_file *find_read(struct efi_stage *stage, struct text path)
{
    for (uint32_t i = 0; i < stage->file_count; i++) {
        if (config_path_same(stage->files[i].path, path)) {
            return &stage->files[i];
        }
    }
    return NULL;
}

/* NULL: a sentence said why. */
static struct efi_file *read_file(struct efi_stage *stage, struct text path, struct config_position position,
                                  bool with_holes)
{
    char volume_path[CONFIG_PATH_MAX + 1];
    char where[WHERE_MAX];
    struct efi_want want = {.path = volume_path, .where = where, .bytes_max = CONFIG_FILE_BYTES_MAX, .progress = true};
    struct efi_file *file = find_read(stage, path);

    if (file != NULL) {
        return file;
    }
    file = &stage->files[stage->file_count];
    *file = (struct efi_file){.path = path};
    want.holes = with_holes ? &file->holes : NULL;
    config_volume_path(path, volume_path);
    say_where(where, position);
    if (!efi_volume_read(stage, &want, &file->bytes)) {
        return NULL;
    }
    stage->file_count++;
    return file;
}

static bool read_image(struct efi_stage *stage, struct text path, struct config_position position, struct span *bytes)
{
    const struct efi_file *file = read_file(stage, path, position, false);

    if (file != NULL) {
        *bytes = file->bytes;
    }
    return file != NULL;
}

/* A guest's kernel or disk, as the config names it. */
struct named_image {
    const struct config_guest *guest;
    struct text path;
    struct config_position position;
};

static bool fail_image(struct efi_stage *stage, const struct named_image *image, const struct load_error *error)
{
    char where[WHERE_MAX];
    char place[40] = "";

    say_where(where, image->position);
    if (error->offset != UINT64_MAX) {
        format_text(place, sizeof(place), "at byte %" PRIu64 ": ", error->offset);
    }
    return efi_fail(stage, EFI_LOAD_ERROR, "P0721: %sguest \"%.*s\", %.*s: %s%s", where, (int)image->guest->name.length,
                    image->guest->name.start, (int)image->path.length, image->path.start, place, error->sentence);
}

static bool fail_memory(struct efi_stage *stage, const struct named_image *image, uint64_t bytes, EFI_STATUS status)
{
    char wanted[FORMAT_BYTES_MAX];
    char where[WHERE_MAX];

    say_where(where, image->position);
    return efi_fail(stage, status,
                    "P0723: %sguest \"%.*s\", %.*s: there is no memory for the %s that it expands to "
                    "(%s). Use a machine with more memory, or unpack the file (gunzip).",
                    where, (int)image->guest->name.length, image->guest->name.start, (int)image->path.length,
                    image->path.start, format_bytes(wanted, bytes), efi_status_name(status));
}

static bool store_takes(void *context, const uint8_t *bytes, uint64_t count)
{
    struct efi_store *store = context;

    return disk_store_add(&store->store, bytes, count);
}

/* Page by page, so that there is never more memory taken than what is not zeroes needs. */
static bool expand_with_holes(struct efi_stage *stage, const struct named_image *image, struct efi_file *file,
                              uint64_t bytes)
{
    struct load_error error = {.offset = UINT64_MAX};
    struct efi_store store = {0};
    const struct gzip_sink sink = {store_takes, &store};
    uint64_t start = 0;
    uint64_t window = 0;
    EFI_STATUS status = efi_pages_take(stage, AllocateAnyPages, GZIP_WINDOW_BYTES / PAGE_BYTES, &window);
    enum status expanded;

    status = EFI_ERROR(status) ? status : efi_store_begin(stage, bytes, &store);
    if (EFI_ERROR(status)) {
        return fail_memory(stage, image, bytes, status);
    }
    expanded = gzip_expand_to(file->bytes, (uint8_t *)(uintptr_t)window, bytes, &sink, &error);
    if (expanded != STATUS_OK && expanded != STATUS_NO_MEMORY) {
        return fail_image(stage, image, &error);
    }
    if (expanded != STATUS_OK || !efi_store_end(stage, &store, &start, &file->holes)) {
        return fail_memory(stage, image, bytes, EFI_OUT_OF_RESOURCES);
    }
    efi_pages_return(stage, window);
    file->expanded = (struct span){(const uint8_t *)(uintptr_t)start, bytes};
    return true;
}

static bool expand_whole(struct efi_stage *stage, const struct named_image *image, struct efi_file *file,
                         uint64_t bytes)
{
    struct load_error error = {.offset = UINT64_MAX};
    uint64_t address = 0;
    EFI_STATUS status = efi_pages_take(stage, AllocateAnyPages, align_up(bytes, PAGE_BYTES) / PAGE_BYTES, &address);

    if (EFI_ERROR(status)) {
        return fail_memory(stage, image, bytes, status);
    }
    if (gzip_expand(file->bytes, (uint8_t *)(uintptr_t)address, bytes, &error) != STATUS_OK) {
        return fail_image(stage, image, &error);
    }
    memset((void *)(uintptr_t)(address + bytes), 0, align_up(bytes, PAGE_BYTES) - bytes);
    file->expanded = (struct span){(const uint8_t *)(uintptr_t)address, bytes};
    return true;
}

/* Into pages of its own; the file as it is may be a guest's module, too. */
static bool expand(struct efi_stage *stage, const struct named_image *image, struct efi_file *file, bool with_holes)
{
    struct load_error error = {.offset = UINT64_MAX};
    char wanted[FORMAT_BYTES_MAX];
    uint64_t bytes = 0;

    if (gzip_size(file->bytes, &bytes, &error) != STATUS_OK) {
        return fail_image(stage, image, &error);
    }
    if (!(with_holes ? expand_with_holes : expand_whole)(stage, image, file, bytes)) {
        return false;
    }
    efi_say(stage, "Plinth: %.*s expands to %s", (int)image->path.length, image->path.start,
            format_bytes(wanted, bytes));
    return true;
}

static bool read_kernel(struct efi_stage *stage, const struct config_guest *config, struct span *kernel)
{
    const struct named_image named = {config, config->kernel, config->kernel_position};
    struct efi_file *file = read_file(stage, config->kernel, config->kernel_position, false);

    if (file == NULL ||
        (gzip_recognize(file->bytes) && file->expanded.base == NULL && !expand(stage, &named, file, false))) {
        return false;
    }
    *kernel = file->expanded.base != NULL ? file->expanded : file->bytes;
    return true;
}

/* The image's first page, or what there is of it: where formats have their magic. Zeroes have none. */
static struct span first_page(const struct boot_disk *disk)
{
    const uint32_t *places = (const uint32_t *)(uintptr_t)disk->places;
    bool there = places == NULL || places[0] != 0;

    return (struct span){disk->image.base, there ? min_u64(disk->image.bytes, PAGE_BYTES) : 0};
}

static bool read_disk(struct efi_stage *stage, const struct config_guest *config, const struct config_disk *disk,
                      struct boot_disk *boot)
{
    const struct named_image named = {config, disk->path, disk->position};
    bool with_holes = config_disk_has_holes(&stage->info->config, disk);
    struct efi_file *file = read_file(stage, disk->path, disk->position, with_holes);
    const char *kind;

    if (file == NULL || (file->holes.places == 0 && gzip_recognize(file->bytes) && file->expanded.base == NULL &&
                         !expand(stage, &named, file, with_holes))) {
        return false;
    }
    boot->image = file->expanded.base != NULL ? file->expanded : file->bytes;
    boot->places = file->holes.places;
    boot->stored_pages = (uint32_t)(file->holes.places != 0 ? file->holes.stored_pages
                                                            : align_up(boot->image.bytes, PAGE_BYTES) / PAGE_BYTES);
    kind = foreign_disk(first_page(boot));
    if (kind != NULL) {
        efi_say(stage, "Plinth: warning: disk %.*s is %s: the guest sees these bytes, and not the disk in it",
                (int)disk->path.length, disk->path.start, kind);
    }
    return true;
}

static bool read_guest(struct efi_stage *stage, uint32_t index)
{
    const struct config_guest *config = &stage->info->config.guests[index];
    struct boot_guest *guest = &stage->info->guests[index];

    if (!read_kernel(stage, config, &guest->kernel)) {
        return false;
    }
    for (uint32_t i = 0; i < config->module_count; i++) {
        if (!read_image(stage, config->modules[i].path, config->modules[i].position, &guest->modules[i])) {
            return false;
        }
    }
    for (uint32_t i = 0; i < config->disk_count; i++) {
        if (!read_disk(stage, config, &config->disks[i], &guest->disks[i])) {
            return false;
        }
    }
    return true;
}

/* Counts a file that is not there, and says which, where that is wanted. */
static uint32_t count_missing(struct efi_stage *stage, struct text path, struct config_position position, bool say)
{
    char volume_path[CONFIG_PATH_MAX + 1];

    config_volume_path(path, volume_path);
    if (efi_volume_has(stage, volume_path)) {
        return 0;
    }
    if (say) {
        efi_say(stage, "plinth.conf:%u:%u: missing-file: %s", position.line, position.column, volume_path);
    }
    return 1;
}

static uint32_t count_all_missing(struct efi_stage *stage, bool say)
{
    uint32_t missing = 0;

    for (uint32_t g = 0; g < stage->info->config.guest_count; g++) {
        const struct config_guest *guest = &stage->info->config.guests[g];

        missing += count_missing(stage, guest->kernel, guest->kernel_position, say);
        for (uint32_t i = 0; i < guest->module_count; i++) {
            missing += count_missing(stage, guest->modules[i].path, guest->modules[i].position, say);
        }
        for (uint32_t i = 0; i < guest->disk_count; i++) {
            missing += count_missing(stage, guest->disks[i].path, guest->disks[i].position, say);
        }
    }
    return missing;
}

/* Several files that are not there are named at once, before any is read. One is named where it is read. */
static bool files_are_there(struct efi_stage *stage)
{
    if (count_all_missing(stage, false) < 2) {
        return true;
    }
    return efi_fail(stage, EFI_NOT_FOUND,
                    "P0725: %u files that plinth.conf names are not on the volume that Plinth was started from: see "
                    "above. Copy them there (a FAT volume takes no file of 4 GiB), or correct their paths.",
                    count_all_missing(stage, true));
}

static bool is_used(const struct efi_stage *stage, const uint8_t *base)
{
    for (uint32_t g = 0; g < stage->info->config.guest_count; g++) {
        const struct config_guest *config = &stage->info->config.guests[g];
        bool used = stage->info->guests[g].kernel.base == base;

        for (uint32_t i = 0; i < config->module_count; i++) {
            used = used || stage->info->guests[g].modules[i].base == base;
        }
        if (used) {
            return true;
        }
    }
    return false;
}

/* A file that is only wanted as what it expands to needs its own bytes no more. */
static void return_compressed(struct efi_stage *stage)
{
    for (uint32_t i = 0; i < stage->file_count; i++) {
        const struct efi_file *file = &stage->files[i];

        if (file->expanded.base != NULL && !is_used(stage, file->bytes.base)) {
            efi_pages_return(stage, (uint64_t)(uintptr_t)file->bytes.base);
        }
    }
}

bool efi_images_read(struct efi_stage *stage)
{
    if (!files_are_there(stage)) {
        return false;
    }
    for (uint32_t i = 0; i < stage->info->config.guest_count; i++) {
        if (!read_guest(stage, i)) {
            return false;
        }
    }
    return_compressed(stage);
    efi_volume_close(stage);
    return true;
}

static void make_request(const struct config_guest *config, const struct boot_guest *guest,
                         struct load_request *request)
{
    request->protocol = config->protocol;
    request->kernel = guest->kernel;
    request->module_count = config->module_count;
    for (uint32_t i = 0; i < config->module_count; i++) {
        request->modules[i] = (struct load_module){guest->modules[i], config->modules[i].arguments};
    }
    request->cmdline = config->cmdline;
    request->name = config->kernel;
    request->rsdp = gpa(GUEST_ACPI_START);
    request->flat_load = config->load_address;
    request->flat_entry = config->entry_address;
    request->flat_mode = config->mode;
}

static bool check_guest(struct efi_stage *stage, uint32_t index)
{
    const struct config_guest *config = &stage->info->config.guests[index];
    struct load_error error = {.offset = UINT64_MAX};
    char where[WHERE_MAX];
    enum status status = guest_layout_make(config->memory_bytes, &the_request.layout);

    if (status != STATUS_OK) {
        say_where(where, config->memory_position);
        return efi_fail(stage, EFI_LOAD_ERROR,
                        "P0722: %sguest \"%.*s\" cannot have %" PRIu64 " bytes of memory (%s). Use a multiple of 4 "
                        "KiB, at least 1 MiB.",
                        where, (int)config->name.length, config->name.start, config->memory_bytes, status_name(status));
    }
    make_request(config, &stage->info->guests[index], &the_request);
    if (loader_plan(&the_request, &the_plan, &error) != STATUS_OK) {
        const struct named_image kernel = {config, config->kernel, config->kernel_position};

        return fail_image(stage, &kernel, &error);
    }
    return true;
}

bool efi_images_check(struct efi_stage *stage)
{
    for (uint32_t i = 0; i < stage->info->config.guest_count; i++) {
        if (!check_guest(stage, i)) {
            return false;
        }
    }
    return true;
}
