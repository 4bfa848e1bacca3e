/* SPDX-License-Identifier: MIT */
/*
 * Which memory a disk needs beside its image: the same answer on the desk and on the target.
 *
 * An image is changed in place where one disk alone uses it and a restart need not find it as it was. Otherwise its
 * changes have memory of their own. By default there is as much memory as the disk has, so that no write of the guest's
 * can fail.
 *
 * Pages of an image that are all zeroes take no memory, except where all of it must be there: a guest has it as kernel
 * or module, too, or it is changed in place and nothing says that the changes may take less than the disk.
 */
#include "config/parse.h"

struct uses {
    uint32_t disks, others;
};

static void count_uses(const struct config_guest *guest, struct text path, struct uses *uses)
{
    uses->others += config_path_same(guest->kernel, path);
    for (uint32_t i = 0; i < guest->module_count; i++) {
        uses->others += config_path_same(guest->modules[i].path, path);
    }
    for (uint32_t i = 0; i < guest->disk_count; i++) {
        uses->disks += config_path_same(guest->disks[i].path, path);
    }
}

static struct uses uses_of(const struct config *config, struct text path)
{
    struct uses uses = {0, 0};

    for (uint32_t g = 0; g < config->guest_count; g++) {
        count_uses(&config->guests[g], path, &uses);
    }
    return uses;
}

static bool is_in_place(const struct config *config, const struct config_disk *disk)
{
    struct uses uses = uses_of(config, disk->path);

    return !disk->read_only && !disk->forget && uses.disks == 1 && uses.others == 0;
}

bool config_disk_has_holes(const struct config *config, const struct config_disk *disk)
{
    return uses_of(config, disk->path).others == 0 && (!is_in_place(config, disk) || disk->changes_bytes != 0);
}

struct config_disk_plan config_disk_plan(const struct config *config, const struct config_disk *disk,
                                         uint64_t image_bytes, uint64_t stored_pages)
{
    uint64_t pages = align_up(image_bytes, PAGE_BYTES) / PAGE_BYTES;
    struct config_disk_plan plan = {.map_pages = pages, .in_place = is_in_place(config, disk)};
    uint64_t wanted = disk->changes_bytes == 0 ? pages : align_up(disk->changes_bytes, PAGE_BYTES) / PAGE_BYTES;

    if (!disk->read_only) {
        plan.change_pages = min_u64(plan.in_place ? pages - stored_pages : pages, wanted);
    }
    return plan;
}
