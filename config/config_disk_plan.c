/* SPDX-License-Identifier: MIT */
/*
 * Which memory a disk needs beside its image: the same answer on the desk and on the target.
 *
 * An image is changed in place where one disk alone uses it and a restart need not find it as it was. Otherwise its
 * changes have memory of their own, by default as much as the image, so that no write of the guest's can fail.
 */
#include "config/parse.h"

static uint32_t uses_by(const struct config_guest *guest, struct text path)
{
    uint32_t uses = config_path_same(guest->kernel, path) ? 1 : 0;

    for (uint32_t i = 0; i < guest->module_count; i++) {
        uses += config_path_same(guest->modules[i].path, path);
    }
    for (uint32_t i = 0; i < guest->disk_count; i++) {
        uses += config_path_same(guest->disks[i].path, path);
    }
    return uses;
}

struct config_disk_plan config_disk_plan(const struct config *config, const struct config_disk *disk,
                                         uint64_t image_bytes)
{
    uint64_t pages = align_up(image_bytes, PAGE_BYTES) / PAGE_BYTES;
    uint32_t uses = 0;

    if (disk->read_only) {
        return (struct config_disk_plan){.map_pages = pages};
    }
    for (uint32_t g = 0; g < config->guest_count; g++) {
        uses += uses_by(&config->guests[g], disk->path);
    }
    if (uses == 1 && !disk->forget) {
        return (struct config_disk_plan){.map_pages = pages, .in_place = true};
    }
    return (struct config_disk_plan){
        .map_pages = pages,
        .change_pages =
            disk->changes_bytes == 0 ? pages : min_u64(pages, align_up(disk->changes_bytes, PAGE_BYTES) / PAGE_BYTES),
    };
}
