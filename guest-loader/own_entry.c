/* SPDX-License-Identifier: MIT */
/* Entry states without a protocol; guest-loader/own_entry.h has them. */
#include "guest-loader/own_entry.h"

#include "guest-loader/start_info.h"

#define PLAIN_CODE_SELECTOR 0x08u
#define REAL_MODE_END 0x100000ULL
#define REAL_SEGMENT_BYTES 0x10000ULL
/* Where PCs load a boot sector, and what they leave: the stack below it, the first disk's number in DL. */
#define BOOT_SECTOR 0x7c00ULL
#define BOOT_DRIVE 0x80u
#define RFLAGS_REAL 0x2ULL

static enum status enter_flat_mode(struct loader *loader, enum config_mode mode, uint64_t entry, uint64_t info)
{
    uint64_t *gpr = loader->plan->entry.gpr;
    enum status status = plan_stack(loader, (uint32_t)info, mode, &gpr[ENTRY_RSP]);

    if (status != STATUS_OK) {
        return status;
    }
    gpr[ENTRY_RDI] = info;
    gpr[ENTRY_RBX] = info;
    return mode == MODE_LONG64 ? plan_enter_long(loader, entry, PLAIN_CODE_SELECTOR)
                               : plan_enter_protected(loader, entry, PLAIN_CODE_SELECTOR);
}

/* CS is 0 for entries in the first 64 KiB, as a boot sector expects; above it starts at the entry's paragraph. */
static enum status enter_real_mode(struct loader *loader, uint64_t entry, uint64_t info)
{
    struct entry_state *state = &loader->plan->entry;

    if (entry >= REAL_MODE_END) {
        return loader_fail(loader, STATUS_UNSUPPORTED, PLAN_NOT_IN_FILE,
                           "a real-mode entry at 0x%" PRIx64 " is not below 1 MiB: set `entry` lower", entry);
    }
    state->mode = MODE_REAL16;
    state->cs_selector = entry < REAL_SEGMENT_BYTES ? 0 : (uint16_t)(entry >> 4);
    state->data_selector = state->cs_selector;
    state->rip = entry - ((uint64_t)state->cs_selector << 4);
    state->rflags = RFLAGS_REAL;
    state->gpr[ENTRY_RSP] = state->cs_selector == 0 ? BOOT_SECTOR : REAL_SEGMENT_BYTES - 2;
    state->gpr[ENTRY_RDX] = BOOT_DRIVE;
    state->gpr[ENTRY_RBX] = info;
    return STATUS_OK;
}

enum status own_entry_plan(struct loader *loader, enum config_mode mode, uint64_t entry)
{
    uint64_t info = 0;
    enum status status = start_info_open(loader, &info);

    if (status == STATUS_OK) {
        status =
            mode == MODE_REAL16 ? enter_real_mode(loader, entry, info) : enter_flat_mode(loader, mode, entry, info);
    }
    if (status == STATUS_OK) {
        status = plan_blob_close(loader);
    }
    return status;
}
