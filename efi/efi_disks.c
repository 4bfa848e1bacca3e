/* SPDX-License-Identifier: MIT */
/*
 * The memory that a disk needs beside its image: a map, and pages for what the guest changes; and the memory that
 * guests share. Taken here, because nothing is allocated after the hand-over. hv/dev/virtio/disk_image.h says what the
 * former are for.
 */
#include "config/parse.h"
#include "efi/efi_stage.h"
#include "hv/base/format.h"

static bool take(struct efi_stage *stage, const struct config_disk *disk, uint64_t bytes, uint64_t *address)
{
    EFI_STATUS status = efi_pages_take(stage, AllocateAnyPages, align_up(bytes, PAGE_BYTES) / PAGE_BYTES, address);
    char wanted[FORMAT_BYTES_MAX];

    if (EFI_ERROR(status)) {
        return efi_fail(stage, status,
                        "P0724: plinth.conf:%u:%u: what the guest changes of %.*s needs %s of memory beside the image, "
                        "and the firmware has none in one piece (%s). Use `changes=` with less, `ro`, or a machine "
                        "with more memory.",
                        disk->position.line, disk->position.column, (int)disk->path.length, disk->path.start,
                        format_bytes(wanted, bytes), efi_status_name(status));
    }
    return true;
}

static bool take_disk(struct efi_stage *stage, const struct config_disk *config, struct boot_disk *disk)
{
    struct config_disk_plan plan =
        config_disk_plan(&stage->info->config, config, disk->image.bytes, disk->stored_pages);

    disk->in_place = plan.in_place;
    disk->change_pages = (uint32_t)plan.change_pages;
    return take(stage, config, plan.map_pages * CONFIG_DISK_MAP_BYTES, &disk->map) &&
           (plan.change_pages == 0 || take(stage, config, plan.change_pages * PAGE_BYTES, &disk->changes));
}

bool efi_shares_take(struct efi_stage *stage)
{
    for (uint32_t i = 0; i < stage->info->config.share_count; i++) {
        const struct config_share *share = &stage->info->config.shares[i];
        uint64_t address = 0;
        EFI_STATUS status = efi_pages_take(stage, AllocateAnyPages, config_share_pages(share), &address);
        char wanted[FORMAT_BYTES_MAX];

        if (EFI_ERROR(status)) {
            return efi_fail(stage, status,
                            "P0726: plinth.conf:%u:%u: [shared %.*s] needs %s, and the firmware has none in one piece "
                            "(%s). Write less, or use a machine with more memory.",
                            share->position.line, share->position.column, (int)share->name.length, share->name.start,
                            format_bytes(wanted, share->bytes), efi_status_name(status));
        }
        stage->info->shares[i] = config_share_start(share, address);
    }
    return true;
}

bool efi_disks_take(struct efi_stage *stage)
{
    for (uint32_t g = 0; g < stage->info->config.guest_count; g++) {
        const struct config_guest *config = &stage->info->config.guests[g];

        for (uint32_t i = 0; i < config->disk_count; i++) {
            if (!take_disk(stage, &config->disks[i], &stage->info->guests[g].disks[i])) {
                return false;
            }
        }
    }
    return true;
}
