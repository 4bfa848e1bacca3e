/* SPDX-License-Identifier: MIT */
/* PVH's boot information; see guest-loader/start_info.h. */
#include "guest-loader/start_info.h"

static enum status put_modules(struct loader *loader, struct start_info *info)
{
    const struct load_request *request = loader->request;
    struct start_info_module *modules;
    void *memory;
    enum status status;

    info->module_count = request->module_count;
    if (request->module_count == 0) {
        return STATUS_OK;
    }
    status = plan_blob_take(loader, request->module_count * sizeof(*modules), 8, &memory, &info->modules);
    modules = memory;
    for (uint32_t i = 0; status == STATUS_OK && i < request->module_count; i++) {
        modules[i].address = loader->module_addresses[i];
        modules[i].bytes = request->modules[i].bytes.bytes;
        status = plan_blob_string(loader, request->modules[i].arguments, &modules[i].cmdline);
    }
    return status;
}

static enum status put_memory_map(struct loader *loader, struct start_info *info)
{
    const struct guest_layout *layout = &loader->request->layout;
    struct start_info_memory *entries;
    void *memory;
    enum status status = plan_blob_take(loader, layout->e820_count * sizeof(*entries), 8, &memory, &info->memory_map);

    if (status != STATUS_OK) {
        return status;
    }
    entries = memory;
    info->memory_map_count = layout->e820_count;
    for (uint32_t i = 0; i < layout->e820_count; i++) {
        entries[i].address = layout->e820[i].start;
        entries[i].bytes = layout->e820[i].bytes;
        entries[i].type = layout->e820[i].type;
    }
    return STATUS_OK;
}

static enum status put_info(struct loader *loader, uint64_t *address)
{
    struct start_info *info;
    void *memory;
    enum status status = plan_blob_take(loader, sizeof(*info), 8, &memory, address);

    if (status != STATUS_OK) {
        return status;
    }
    info = memory;
    info->magic = START_INFO_MAGIC;
    info->version = START_INFO_VERSION;
    info->rsdp = loader->request->rsdp.value;
    status = put_memory_map(loader, info);
    if (status == STATUS_OK) {
        status = put_modules(loader, info);
    }
    if (status == STATUS_OK) {
        status = plan_blob_string(loader, loader->request->cmdline, &info->cmdline);
    }
    return status;
}

enum status start_info_open(struct loader *loader, uint64_t *address)
{
    enum status status = plan_modules(loader);

    if (status == STATUS_OK) {
        status = plan_blob_open(loader, GUEST_EBDA_START);
    }
    return status == STATUS_OK ? put_info(loader, address) : status;
}
