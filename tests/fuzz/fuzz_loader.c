/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a kernel: the loader gives an error with a sentence, or a plan that keeps every promise of loader.h
 * (check_plan: copies in RAM, apart from each other, sources within the files; the entry within a copy).
 *
 * One program per protocol, FUZZ_PROTOCOL. The last two bytes of the input choose memory and modules, so that what
 * comes before them is the file as it is. `PROGRAM --seeds FOLDER` writes well-formed images to start from.
 */
#include "tests/unit/loader_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHOICE_BYTES 2u
#define LOAD_CHOICES 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *count, char ***arguments);

static const uint64_t memory_choices[] = {1 * MIB, 2 * MIB, 64 * MIB, 5 * GIB};
static const uint64_t flat_choices[LOAD_CHOICES] = {0x7c00, 0x9f000, 0x100000, ~0ULL - 0xfff};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct load_plan plan;
    static struct load_error error;
    struct image nothing = {.size = 0};
    struct load_request request;
    uint8_t choice, modules;

    if (size < CHOICE_BYTES) {
        return 0;
    }
    choice = data[size - 2];
    modules = data[size - 1];
    request = request_of(&nothing, memory_choices[choice % ARRAY_COUNT(memory_choices)]);
    request.kernel = (struct span){data, size - CHOICE_BYTES};
    request.protocol = (choice & 0x80) != 0 && FUZZ_PROTOCOL != PROTOCOL_FLAT ? PROTOCOL_AUTO : FUZZ_PROTOCOL;
    request.flat_load = flat_choices[(choice >> 2) % LOAD_CHOICES];
    request.flat_entry = request.flat_load + modules;
    request.flat_mode = (enum config_mode)((choice >> 4) % 3);
    for (uint32_t i = 0; i < modules % (CONFIG_MODULES_MAX + 1); i++) {
        add_module(&request, (const char *)data, size >> (i & 3), "arguments");
    }
    if (loader_plan(&request, &plan, &error) == STATUS_OK) {
        CHECK_OP(error.sentence[0], ==, 0);
        check_plan(&request, &plan);
    } else {
        CHECK_OP(error.sentence[0], !=, 0);
        CHECK(error.offset <= request.kernel.bytes || error.offset == UINT64_MAX || request.kernel.bytes < 0x1000);
    }
    return 0;
}

/* ---- Seeds ---- */

static struct image image;

static void write_seed(const char *folder, const char *name)
{
    char path[512];
    FILE *file;

    put(&image, image.size, 0x0202, CHOICE_BYTES); /* 64 MiB, two modules */
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "wb");
    CHECK(file != NULL);
    CHECK_OP(fwrite(image.bytes, 1, image.size, file), ==, image.size);
    fclose(file);
}

static void make_kernel(bool is_64)
{
    static const struct elf_part parts[] = {
        {1, 0x200, 0xc0100000, 0x100000, 0x200, 0x300, 0x1000},
        {4, 0x380, 0, 0, 24, 24, 4},
    };

    make_elf(&image, is_64, 0xc0100040, parts, 2);
}

static void put_pvh_note(bool is_64)
{
    put(&image, 0x380, 4, 4);
    put(&image, 0x384, is_64 ? 8 : 4, 4);
    put(&image, 0x388, 18, 4);
    put(&image, 0x38c, 0x006e6558, 4);
    put(&image, 0x390, 0x100040, 8);
}

static void put_multiboot2_tags(void)
{
    static const uint32_t tags[] = {1, 16, 4, 6, 10, 24, 0x100000, 0xffffff, 0x1000, 1, 3, 12, 0x100040, 0, 0, 8};

    put_multiboot2(&image, 0x200, 16 + sizeof(tags));
    memcpy(&image.bytes[0x210], tags, sizeof(tags));
}

static void write_seeds(const char *folder)
{
    make_linux(&image);
    write_seed(folder, "linux");
    for (uint32_t is_64 = 0; is_64 < 2; is_64++) {
        make_kernel(is_64 != 0);
        write_seed(folder, is_64 ? "elf64" : "elf32");
        make_kernel(is_64 != 0);
        put_pvh_note(is_64 != 0);
        write_seed(folder, is_64 ? "pvh64" : "pvh32");
        make_kernel(is_64 != 0);
        put_multiboot(&image, 0x200, 3);
        write_seed(folder, is_64 ? "multiboot64" : "multiboot32");
        make_kernel(is_64 != 0);
        put_multiboot2_tags();
        write_seed(folder, is_64 ? "multiboot2-64" : "multiboot2-32");
    }
    make_kernel(false);
    put_multiboot(&image, 0x200, 0x10003);
    memcpy(&image.bytes[0x20c], (const uint32_t[]){0x100200, 0x100000, 0x100380, 0x101000, 0x100240}, 20);
    write_seed(folder, "multiboot-addresses");
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    if (*count == 3 && strcmp((*arguments)[1], "--seeds") == 0) {
        write_seeds((*arguments)[2]);
        _Exit(0);
    }
    return 0;
}
