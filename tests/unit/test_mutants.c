/* SPDX-License-Identifier: MIT */
/*
 * One verdict everywhere: thousands of mutants of the example configs and of machine descriptions are judged twice, by
 * plinth-check's steps (tools/check) and by the target's own start (efi/efi_main.c with the files that it calls),
 * compiled natively on a model of the firmware: files in memory, a memory map, pages. The verdicts must be the same,
 * errors of the config must be the same lines, and no mutant that is refused reaches hv_main().
 *
 * What the model leaves out is what the config does not decide: the console, ACPI, the CPU's features, the hand-over.
 * The page below 1 MiB can always be had there.
 *
 * With PLINTH_MUTANTS in the environment the first mutants, so many, are written to the folder PLINTH_MUTANTS_DIR with
 * their verdicts: tests/boot/mutants.py boots them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/parse.h"
#include "efi/efi_stage.h"
#include "hv/base/format.h"
#include "hv/core/guest_devices.h"
#include "hv/host/budget.h"
#include "hv/host/host_cpu.h"
#include "hv/iommu/iommu.h"
#include "hv/virt/virt.h"
#include "tools/check/check.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define MUTANTS 10000u
#define TEXT_MAX 4096u
#define SEEDS_MAX 64u
#define CHANGES_MAX 3u
#define ARENA_BYTES (8 * MIB)
#define UNREAD_BYTES (2 * MIB) /* shared memory, which nothing reads before the hand-over; files are smaller */
#define SAID_MAX 16384u
#define IMAGE_BYTES 4096u
#define LOW_PAGE 0x8000u
#define SCREEN_BASE (1ULL << 45)
#define CONTENT_BYTES (1u << 20) /* what is read of a file that a mutant names: machine.txt and itself, too */

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

static char folder[] = "/tmp/plinth-mutants-XXXXXX";
static char machine_path[64];
static char config_path[64];
static char seeds[SEEDS_MAX][TEXT_MAX];
static uint32_t seed_count;
static char config_text[TEXT_MAX];
static char machine_text[TEXT_MAX];
static struct check check;

/* ---- numbers that only look random: the same mutants in every run ---- */

static uint64_t state = 0x9e3779b97f4a7c15;

static uint32_t below(uint32_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 32) % limit);
}

/* ---- mutations: each keeps a text of less than TEXT_MAX ---- */

static void replace(char *text, size_t at, size_t bytes, const char *by)
{
    size_t length = strlen(text);
    size_t more = strlen(by);

    if (length - bytes + more >= TEXT_MAX) {
        return;
    }
    memmove(text + at + more, text + at + bytes, length - at - bytes + 1);
    memcpy(text + at, by, more);
}

static size_t line_start(const char *text, size_t at)
{
    while (at > 0 && text[at - 1] != '\n') {
        at--;
    }
    return at;
}

static size_t line_bytes(const char *text, size_t start)
{
    const char *end = strchr(text + start, '\n');

    return end == NULL ? strlen(text + start) : (size_t)(end - text) + 1 - start;
}

static void change_byte(char *text, size_t at)
{
    static const char bytes[] = "\t \r\n#\"=[],-.:/\\0123456789abzGMKk_\x7f\x80\xff\x01";
    char one[2] = {bytes[below(sizeof(bytes) - 1)], '\0'};

    replace(text, at, below(2), one);
}

static void drop_line(char *text, size_t at)
{
    size_t start = line_start(text, at);

    replace(text, start, line_bytes(text, start), "");
}

static void repeat_line(char *text, size_t at)
{
    static char line[TEXT_MAX];
    size_t start = line_start(text, at);
    size_t bytes = line_bytes(text, start);

    memcpy(line, text + start, bytes);
    line[bytes] = '\0';
    replace(text, line_start(text, below((uint32_t)strlen(text))), 0, line);
}

static void insert_line(char *text, size_t at)
{
    static const char *const lines[] = {
        "memory = 512M\n",
        "memory = 64M\n",
        "memory = 3G\n",
        "cpus = 0-3\n",
        "cpus = 7,\n",
        "slice = 5ms\n",
        "slice = 5\n",
        "protocol = flat\n",
        "load-address = 2M\n",
        "mode = real\n",
        "on-crash = restart\n",
        "[hypervisor]\n",
        "[guest x]\nkernel = vmlinuz\n",
        "module = hello.elf args\n",
        "initrd = empty\n",
        "kernel = nowhere\n",
        "log = debug\n",
        "inventory = yes\n",
        "console = screen\n",
        "[guest linux]\n",
        "region = 0x100000 2G free\n",
        "cpus = 1\n",
        "largest-leaf = 2M\n",
        "nested-paging = no\n",
        "paging = shadow\n",
        "paging = nested\n",
        "shadow-memory = 16M\n",
        "memory = 66M\n",
        "debug-ports = yes\n",
        "memory-at = 4G\n",
        "memory-at = 0x40001000\n",
        "memory-at = 5G\n",
        "mem = 1G\n",
        "kernel: vmlinuz\n",
        "memory = 64M ; small\n",
    };

    replace(text, line_start(text, at), 0, lines[below(ARRAY_COUNT(lines))]);
}

/* A word or number by another one. */
static void change_word(char *text, size_t at)
{
    static const char *const words[] = {"0",
                                        "1",
                                        "2,",
                                        "0,1",
                                        "1,0",
                                        "16",
                                        "17",
                                        "64M",
                                        "1M",
                                        "4095",
                                        "12T",
                                        "0x1000",
                                        "1.5G",
                                        "yes",
                                        "no",
                                        "vmlinuz",
                                        "hello.elf",
                                        "../hello.elf",
                                        "\"hello.elf\"",
                                        "empty",
                                        "linux",
                                        "elf",
                                        "flat",
                                        "pvh",
                                        "restart",
                                        "poweroff",
                                        "free",
                                        "svm",
                                        "vmx",
                                        "reserved",
                                        "a/b",
                                        "hello.",
                                        "hello.elf.",
                                        "\" hello.elf\"",
                                        "\"hello.elf \"",
                                        "con",
                                        "aux.elf",
                                        "HELLO.ELF",
                                        "Hello.elf",
                                        "VMLINUZ",
                                        "in",
                                        "in/hello.elf",
                                        "IN\\HELLO.elf",
                                        "in/",
                                        "in/../hello.elf",
                                        "hello.elf/",
                                        ".hidden",
                                        "A~1",
                                        "big.img",
                                        "plinth.conf",
                                        "\"Machine.txt\"",
                                        "18446744073709551616",
                                        "-1",
                                        "100us",
                                        "1s"};
    size_t start = at;
    size_t end = at;

    while (start > 0 && text[start - 1] > ' ') {
        start--;
    }
    while (text[end] > ' ') {
        end++;
    }
    replace(text, start, end - start, words[below(ARRAY_COUNT(words))]);
}

static void cut(char *text, size_t at)
{
    text[at] = '\0';
}

static void mutate(char *text)
{
    static void (*const mutations[])(char *text, size_t at) = {change_byte, change_byte, drop_line,   repeat_line,
                                                               insert_line, insert_line, change_word, change_word};
    uint32_t changes = below(CHANGES_MAX + 1);

    for (uint32_t i = 0; i < changes && text[0] != '\0'; i++) {
        size_t at = below((uint32_t)strlen(text));

        if (below(40) == 0) {
            cut(text, at);
        } else {
            mutations[below(ARRAY_COUNT(mutations))](text, at);
        }
    }
}

/* ---- the files on the desk ---- */

static void write_file(const char *name, const void *bytes, size_t count)
{
    char path[128];
    FILE *out;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, count, out), count);
    fclose(out);
}

/* The smallest image that a loader accepts: ELF64 for x86-64 with one segment at 1 MiB. System V ABI, 4 "Object
 * Files". */
static void write_kernel(const char *name)
{
    static const uint8_t ident[] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
    static const struct {
        uint32_t at;
        uint64_t value;
        uint32_t bytes;
    } fields[] = {{16, 2, 2},        {18, 62, 2},    {20, 1, 4},      {24, 0x100000, 8},
                  {32, 64, 8},       {52, 64, 2},    {54, 56, 2},     {56, 1, 2},
                  {64, 1, 4},        {68, 5, 4},     {72, 0x200, 8},  {80, 0x100000, 8},
                  {88, 0x100000, 8}, {96, 0x100, 8}, {104, 0x100, 8}, {112, 0x1000, 8}};
    uint8_t image[IMAGE_BYTES] = {0};

    memcpy(image, ident, sizeof(ident));
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        memcpy(image + fields[i].at, &fields[i].value, fields[i].bytes);
    }
    write_file(name, image, sizeof(image));
}

#define FAT_LIMIT 0xffffffffULL

/* Names that a FAT volume has otherwise than this host, and files that it cannot hold. */
static void write_odd_names(void)
{
    static const char *const names[] = {"hello.",    "hello.elf.", " hello.elf", "hello.elf ", "con",    "aux.elf",
                                        "HELLO.ELF", "VmLinuz",    ".hidden",    "a~1",        "big.img"};
    char path[128];

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        write_kernel(names[i]);
    }
    snprintf(path, sizeof(path), "%s/big.img", folder);
    assert_int_equal(truncate(path, FAT_LIMIT), 0);
    snprintf(path, sizeof(path), "%s/in", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    write_kernel("in/hello.elf");
}

static void read_seed(const char *path)
{
    FILE *in = fopen(path, "rb");
    size_t length;

    assert_non_null(in);
    assert_true(seed_count < SEEDS_MAX);
    length = fread(seeds[seed_count], 1, TEXT_MAX - 1, in);
    seeds[seed_count++][length] = '\0';
    fclose(in);
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(left, right);
}

/* Every example, in the order of their names. */
static void read_seeds(void)
{
    static char names[SEEDS_MAX][64];
    uint32_t count = 0;
    DIR *examples = opendir("config/examples");
    char path[128];

    assert_non_null(examples);
    for (const struct dirent *entry = readdir(examples); entry != NULL; entry = readdir(examples)) {
        const char *end = strstr(entry->d_name, ".conf");

        if (end != NULL && end[5] == '\0') {
            assert_true(count < SEEDS_MAX);
            snprintf(names[count++], sizeof(names[0]), "%.60s", entry->d_name);
        }
    }
    closedir(examples);
    qsort(names, count, sizeof(names[0]), compare_names);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "config/examples/%s", names[i]);
        read_seed(path);
    }
}

static void write_named(struct text path)
{
    char name[64];

    text_copy(path, name, sizeof(name));
    write_kernel(name);
}

/* Every file that an example names is such a kernel, initrds too. */
static void write_kernels(void)
{
    for (uint32_t i = 0; i < seed_count; i++) {
        assert_true(config_parse(text_of(seeds[i]), &check.config, &check.errors));
        for (uint32_t g = 0; g < check.config.guest_count; g++) {
            const struct config_guest *guest = &check.config.guests[g];

            write_named(guest->kernel);
            for (uint32_t m = 0; m < guest->module_count; m++) {
                write_named(guest->modules[m].path);
            }
            for (uint32_t d = 0; d < guest->disk_count; d++) {
                write_named(guest->disks[d].path);
            }
        }
    }
}

static int set_up(void **context)
{
    (void)context;
    assert_non_null(mkdtemp(folder));
    snprintf(config_path, sizeof(config_path), "%s/plinth.conf", folder);
    snprintf(machine_path, sizeof(machine_path), "%s/machine.txt", folder);
    write_file("empty", "", 0);
    write_odd_names();
    read_seeds();
    write_kernels();
    return 0;
}

static int tear_down(void **context)
{
    char command[80];

    (void)context;
    free((void *)(uintptr_t)check.machine.file.start);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

/* ---- the model of the firmware ---- */

static uint8_t arena[ARENA_BYTES] __attribute__((aligned(4096)));
static uint64_t arena_used;
static struct memory_map model_map; /* guests' RAM is taken from it; what is really read and written is in the arena */
static char said[SAID_MAX];
static size_t said_length;
static bool entered;
static const struct boot_info *entered_info;
static uint8_t read_buffer[MIB];
static const struct memory_region *low_regions; /* two of the first MiB, or NULL: as in the machine's description */
static uint64_t uncached_start, uncached_bytes; /* a power of two; 0: none */
static bool no_low_page;                        /* the firmware gives no page below 1 MiB, whatever its map says */
static bool images_follow;                      /* what is allocated from now on is not in the machine's description */
static jmp_buf way_out;

struct model_file {
    EFI_FILE interface; /* first: the firmware's view */
    struct span bytes;
    uint64_t at;
    struct model_file *next_free;
};

static struct model_file open_files[4];
static bool file_used[4];

static EFI_STATUS EFIAPI file_close(EFI_FILE *file)
{
    file_used[(struct model_file *)(void *)file - open_files] = false;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI file_read(EFI_FILE *file, UINTN *size, void *buffer)
{
    struct model_file *model = (struct model_file *)(void *)file;
    uint64_t count = min_u64(*size, model->bytes.bytes - model->at);

    if (model->at + count > CONTENT_BYTES) {
        return EFI_DEVICE_ERROR;
    }
    memcpy(buffer, model->bytes.base + model->at, count);
    model->at += count;
    *size = count;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI file_position(EFI_FILE *file, UINT64 to)
{
    ((struct model_file *)(void *)file)->at = to;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI file_info(EFI_FILE *file, EFI_GUID *type, UINTN *size, void *buffer)
{
    EFI_FILE_INFO *info = buffer;

    (void)type;
    (void)size;
    memset(info, 0, sizeof(*info));
    info->FileSize = ((struct model_file *)(void *)file)->bytes.bytes;
    return EFI_SUCCESS;
}

/* A name as a FAT driver looks for it: in capitals, without blanks at its ends and dots at its end. EDK2, FatPkg. */
static size_t fold_name(const char *from, size_t length, char *to)
{
    size_t start = 0;

    while (start < length && from[start] == ' ') {
        start++;
    }
    while (length > start && (from[length - 1] == ' ' || from[length - 1] == '.')) {
        length--;
    }
    for (size_t i = start; i < length; i++) {
        to[i - start] = (char)(from[i] >= 'a' && from[i] <= 'z' ? from[i] - 'a' + 'A' : from[i]);
    }
    return length - start;
}

/* True where a FAT driver that is asked for one path finds what is stored under the other. Stored names are kept as
 * they were written, so one that the driver would have to be asked for with a dot at its end is never found. */
static bool fat_finds(const char *asked, const char *stored)
{
    while (*asked != '\0' && *stored != '\0') {
        size_t asked_length = strcspn(asked, "\\");
        size_t stored_length = strcspn(stored, "\\");
        char name[CONFIG_PATH_MAX + 1];
        size_t length = fold_name(asked, asked_length, name);

        if (length != stored_length || strncasecmp(name, stored, length) != 0) {
            return false;
        }
        asked += asked_length + (asked[asked_length] == '\\');
        stored += stored_length + (stored[stored_length] == '\\');
    }
    return *asked == *stored;
}

/* What mkusb has put on the volume: files of the host by their places. */
struct stored_file {
    char path[CONFIG_PATH_MAX + 1];
    char host[HOST_PATH_MAX];
    bool lost; /* it is not there, or another file has the same place: mkusb makes no stick then */
};

static struct stored_file stored[CONFIG_GUESTS_MAX * (1 + CONFIG_MODULES_MAX)];
static uint32_t stored_count;

static void store_file(struct text named)
{
    struct stored_file *file = &stored[stored_count];
    struct stat info, other;

    config_volume_path(named, file->path);
    check_host_path(&check, named, file->host);
    file->lost = stat(file->host, &info) != 0;
    for (uint32_t i = 0; i < stored_count; i++) {
        if (strcasecmp(stored[i].path, file->path) == 0) {
            stored[i].lost =
                stored[i].lost || file->lost || stat(stored[i].host, &other) != 0 || other.st_ino != info.st_ino;
            return;
        }
    }
    stored_count++;
}

static void make_stick(void)
{
    stored_count = 0;
    for (uint32_t g = 0; g < check.config.guest_count; g++) {
        const struct config_guest *guest = &check.config.guests[g];

        for (uint32_t m = 0; m <= guest->module_count; m++) {
            store_file(m == 0 ? guest->kernel : guest->modules[m - 1].path);
        }
        for (uint32_t d = 0; d < guest->disk_count; d++) {
            store_file(guest->disks[d].path);
        }
    }
}

static bool read_stored(const struct stored_file *file, struct span *bytes)
{
    static uint8_t content[CONTENT_BYTES];
    struct span read = {NULL, 0};
    const char *why = NULL;
    struct stat info;

    if (stat(file->host, &info) != 0 || !S_ISREG(info.st_mode)) {
        return false;
    }
    *bytes = (struct span){content, (uint64_t)info.st_size};
    if (check_read_file(file->host, CONTENT_BYTES, &read, &why)) {
        memcpy(content, read.base, read.bytes);
        free((void *)(uintptr_t)read.base);
    }
    return true;
}

static const char *config_place = "\\plinth\\plinth.conf";

static bool find_file(const char *volume_path, struct span *bytes)
{
    if (strcmp(volume_path, config_place) == 0) {
        *bytes = (struct span){(const uint8_t *)config_text, strlen(config_text)};
        return true;
    }
    for (uint32_t i = 0; i < stored_count; i++) {
        if (fat_finds(volume_path, stored[i].path)) {
            return !stored[i].lost && read_stored(&stored[i], bytes);
        }
    }
    return false;
}

static EFI_STATUS EFIAPI root_open(EFI_FILE *root, EFI_FILE **file, CHAR16 *name, UINT64 mode, UINT64 attributes)
{
    char path[CONFIG_PATH_MAX + 1];
    size_t length = 0;
    struct span bytes;

    (void)root;
    (void)mode;
    (void)attributes;
    for (; name[length] != 0 && length < CONFIG_PATH_MAX; length++) {
        path[length] = (char)name[length];
    }
    path[length] = '\0';
    if (!find_file(path, &bytes)) {
        return EFI_NOT_FOUND;
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(open_files); i++) {
        if (!file_used[i]) {
            file_used[i] = true;
            open_files[i] = (struct model_file){.interface = {.Close = file_close,
                                                              .Read = file_read,
                                                              .SetPosition = file_position,
                                                              .GetInfo = file_info},
                                                .bytes = bytes};
            *file = &open_files[i].interface;
            return EFI_SUCCESS;
        }
    }
    return EFI_OUT_OF_RESOURCES;
}

static EFI_STATUS EFIAPI root_close(EFI_FILE *root)
{
    (void)root;
    return EFI_SUCCESS;
}

static EFI_FILE root_file = {.Open = root_open, .Close = root_close};

static EFI_STATUS EFIAPI open_volume(EFI_FILE_IO_INTERFACE *volume, EFI_FILE **root)
{
    (void)volume;
    *root = &root_file;
    return EFI_SUCCESS;
}

static EFI_FILE_IO_INTERFACE volume_interface = {.OpenVolume = open_volume};
static EFI_LOADED_IMAGE loaded_image;

static EFI_STATUS EFIAPI handle_protocol(EFI_HANDLE handle, EFI_GUID *guid, void **interface)
{
    (void)handle;
    (void)guid;
    *interface = &volume_interface;
    return EFI_SUCCESS;
}

/* Memory for an image, as EDK2 finds it. What was allocated before is not free in the machine's description. */
static bool take_from_the_top(uint64_t bytes)
{
    for (uint32_t i = model_map.count; i > 0; i--) {
        const struct memory_region *region = &model_map.regions[i - 1];

        if (region->type == MEMORY_FREE && region->end - region->start >= bytes) {
            return memory_map_convert(&model_map, region->end - bytes, region->end, MEMORY_FREE, MEMORY_LOADER) ==
                   STATUS_OK;
        }
    }
    return false;
}

/* What EDK2's map calls free and keeps for one type, such as ACPI tables: asked for as another, it is refused. */
struct bin {
    uint64_t start, end;
};

static const struct bin *bins;
static uint32_t bin_count;
static uint32_t refusals;

static bool is_kept(uint64_t start, uint64_t end)
{
    for (uint32_t i = 0; i < bin_count; i++) {
        if (start < bins[i].end && bins[i].start < end) {
            refusals++;
            return true;
        }
    }
    return false;
}

static EFI_STATUS EFIAPI allocate_pages(EFI_ALLOCATE_TYPE how, EFI_MEMORY_TYPE type, UINTN pages,
                                        EFI_PHYSICAL_ADDRESS *address)
{
    uint64_t bytes = pages * PAGE_BYTES;

    (void)type;
    if (how == AllocateAddress && is_kept(*address, *address + bytes)) {
        return EFI_NOT_FOUND;
    }
    if (how == AllocateAddress) {
        return memory_map_convert(&model_map, *address, *address + bytes, MEMORY_FREE, MEMORY_LOADER) == STATUS_OK
                   ? EFI_SUCCESS
                   : EFI_NOT_FOUND;
    }
    if (how == AllocateMaxAddress && *address < MIB) {
        *address = LOW_PAGE;
        return no_low_page ? EFI_OUT_OF_RESOURCES : EFI_SUCCESS;
    }
    if (how == AllocateMaxAddress) { /* the buffer for reads: given back after each file, so never a guest's loss */
        *address = (uint64_t)(uintptr_t)read_buffer;
        return bytes <= sizeof(read_buffer) ? EFI_SUCCESS : EFI_OUT_OF_RESOURCES;
    }
    if (images_follow && !take_from_the_top(bytes)) {
        return EFI_OUT_OF_RESOURCES;
    }
    if (bytes >= UNREAD_BYTES) {
        *address = (uint64_t)(uintptr_t)arena;
        return EFI_SUCCESS;
    }
    if (bytes > ARENA_BYTES - arena_used) {
        return EFI_OUT_OF_RESOURCES;
    }
    *address = (uint64_t)(uintptr_t)arena + arena_used;
    memset(arena + arena_used, 0, bytes);
    arena_used += bytes;
    return EFI_SUCCESS;
}

/* What lies in the arena is not in the model's map. */
static EFI_STATUS EFIAPI free_pages(EFI_PHYSICAL_ADDRESS address, UINTN pages)
{
    if (address - (uint64_t)(uintptr_t)arena >= ARENA_BYTES && address >= MIB &&
        address != (uint64_t)(uintptr_t)read_buffer) {
        assert_int_equal(
            memory_map_convert(&model_map, address, address + pages * PAGE_BYTES, MEMORY_LOADER, MEMORY_FREE),
            STATUS_OK);
    }
    return EFI_SUCCESS;
}

/* UEFI 2.10, 7.2.1 "EFI_BOOT_SERVICES.AllocatePages()", table 7.6. */
static EFI_STATUS EFIAPI get_memory_map(UINTN *size, EFI_MEMORY_DESCRIPTOR *map, UINTN *key, UINTN *stride,
                                        UINT32 *version)
{
    static const uint32_t types[] = {
        [MEMORY_FREE] = EfiConventionalMemory,     [MEMORY_BOOT] = EfiBootServicesData,
        [MEMORY_LOADER] = EfiLoaderData,           [MEMORY_ACPI] = EfiACPIReclaimMemory,
        [MEMORY_RESERVED] = EfiReservedMemoryType, [MEMORY_MMIO] = EfiMemoryMappedIO,
    };
    UINTN needed = model_map.count * sizeof(*map);

    *stride = sizeof(*map);
    *version = 1;
    *key = 1;
    if (map == NULL || *size < needed) {
        *size = needed;
        return EFI_BUFFER_TOO_SMALL;
    }
    for (uint32_t i = 0; i < model_map.count; i++) {
        const struct memory_region *region = &model_map.regions[i];

        map[i] = (EFI_MEMORY_DESCRIPTOR){.Type = types[region->type],
                                         .PhysicalStart = region->start,
                                         .NumberOfPages = (region->end - region->start) / PAGE_BYTES};
    }
    *size = needed;
    return EFI_SUCCESS;
}

static EFI_BOOT_SERVICES services = {
    .HandleProtocol = handle_protocol,
    .AllocatePages = allocate_pages,
    .FreePages = free_pages,
    .GetMemoryMap = get_memory_map,
};
static EFI_SYSTEM_TABLE system_table = {.BootServices = &services};

/* ---- the parts of the start that are not the config's ---- */

static void say(const char *form, va_list list)
{
    said_length += format_list(said + said_length, sizeof(said) - said_length - 1, form, list);
    said[said_length++] = '\n';
    said[said_length] = '\0';
}

/* The first call of a start: the stage as it is in an image that was just loaded. */
void efi_console_start(struct efi_stage *stage)
{
    struct efi_stage fresh = {.system = stage->system, .boot = stage->boot, .tsc_start = stage->tsc_start};

    *stage = fresh;
}

void efi_console_returned(struct efi_stage *stage)
{
    (void)stage;
}

void efi_say(struct efi_stage *stage, const char *form, ...)
{
    va_list list;

    (void)stage;
    va_start(list, form);
    say(form, list);
    va_end(list);
}

void efi_say_again(struct efi_stage *stage, const char *form, ...)
{
    (void)stage;
    (void)form;
}

bool efi_fail(struct efi_stage *stage, EFI_STATUS status, const char *form, ...)
{
    va_list list;

    stage->status = EFI_ERROR(status) ? status : EFI_LOAD_ERROR;
    va_start(list, form);
    say(form, list);
    va_end(list);
    return false;
}

const char *efi_status_name(EFI_STATUS status)
{
    return EFI_ERROR(status) ? "error" : "success";
}

bool efi_machine_sections(struct efi_stage *stage)
{
    stage->loaded = &loaded_image;
    return true;
}

bool efi_machine_read(struct efi_stage *stage)
{
    stage->info->cpu_count = (uint32_t)min_u64(check.machine.cpu_count, CPUS_MAX);
    /* What a description without `taken` lines leaves open is there, and in nothing's way. */
    stage->has_com2 = true;
    stage->info->framebuffer = (struct boot_framebuffer){.format = BOOT_PIXEL_BGRX,
                                                         .base = SCREEN_BASE,
                                                         .bytes = 4 * MIB,
                                                         .width = 1024,
                                                         .height = 768,
                                                         .stride_pixels = 1024,
                                                         .bytes_per_pixel = 4};
    for (uint32_t i = 0; i < stage->info->cpu_count; i++) {
        stage->info->cpus[i] = (struct boot_cpu){.apic_id = i, .is_bsp = i == 0, .healthy = true};
    }
    return true;
}

bool efi_machine_random(struct efi_stage *stage)
{
    (void)stage;
    return true;
}

/* The model's devices have none. */
bool efi_roms_take(struct efi_stage *stage)
{
    (void)stage;
    return true;
}

bool efi_virt_check(struct efi_stage *stage)
{
    stage->support.format = check.machine.format;
    stage->support.nested_paging = check.machine.nested_paging;
    stage->support.caps.largest_leaf = (enum page_level)check.machine.largest_leaf;
    return true;
}

bool efi_last_boot_print(struct efi_stage *stage)
{
    (void)stage;
    return true;
}

bool efi_inventory_write(struct efi_stage *stage)
{
    (void)stage;
    images_follow = true;
    return true;
}

bool efi_handover(struct efi_stage *stage)
{
    (void)stage;
    return true;
}

/* As hv/host/budget.c, with what the machine's description says. */
uint64_t budget_bytes_needed(const struct boot_info *info, const struct budget_vendor *vendor)
{
    uint32_t vcpus = 0;
    uint64_t tables = 0;

    (void)vendor;
    for (uint32_t i = 0; i < info->config.guest_count; i++) {
        vcpus += info->config.guests[i].cpu_count;
        tables += info->guests[i].plan.table_count;
        tables += align_up(guest_devices_bytes(&info->config.guests[i]), PAGE_BYTES) / PAGE_BYTES;
    }
    return planner_own_bytes(&check.machine.own, info->config.guest_count, vcpus, tables);
}

/* Without MTRRs all memory is write-back; with them, all but [uncached_start, uncached_end). */
void host_cpu_read_mtrrs(struct mtrr_state *mtrrs)
{
    *mtrrs = (struct mtrr_state){.physical_bits = 40};
    if (uncached_bytes != 0) {
        mtrrs->present = true;
        mtrrs->default_type = 1ULL << 11 | 6; /* on, write-back */
        mtrrs->variable_count = 1;
        mtrrs->variable[0] = (struct mtrr_variable){.base = uncached_start,
                                                    .mask = (((1ULL << 40) - 1) & ~(uncached_bytes - 1)) | 1ULL << 11};
    }
}

uint64_t virt_cpu_bytes(void)
{
    return 0;
}

bool host_cpu_is_virtual(void)
{
    return false;
}

bool efi_machine_has_code_erratum(const struct efi_stage *stage)
{
    (void)stage;
    return false;
}

uint64_t virt_vcpu_bytes(void)
{
    return 0;
}

uint64_t iommu_bytes(const struct host_acpi *acpi)
{
    (void)acpi;
    return 0;
}

/* Those that plinth-check is told of. */
void efi_pci_machine(struct efi_stage *stage, struct config_machine *machine)
{
    struct config_machine told = check_machine_of(&check);

    (void)stage;
    machine->pci = told.pci;
    machine->pci_count = told.pci_count;
    machine->pci_known = told.pci_known;
    machine->has_iommu = told.has_iommu;
}

_Noreturn void hv_main(struct boot_info *info)
{
    assert_true(info->config.guest_count != 0);
    entered = true;
    entered_info = info;
    longjmp(way_out, 1);
}

/* ---- the two verdicts ---- */

static bool host_verdict(void)
{
    free((void *)(uintptr_t)check.machine.file.start); /* of the mutant before */
    memset(&check.config, 0, sizeof(check.config));
    memset(&check.errors, 0, sizeof(check.errors));
    memset(&check.machine_errors, 0, sizeof(check.machine_errors));
    memset(&check.machine, 0, sizeof(check.machine));
    check.options = (struct options){.config = config_path, .machine = machine_path};
    check.file = text_of(config_text);
    check_run(&check);
    return check_is_good(&check);
}

static bool target_verdict(void)
{
    make_stick();
    model_map = check.machine.map;
    for (uint32_t i = 0; low_regions != NULL && i < 2; i++) {
        if (low_regions[i].end != 0) {
            memory_map_set(&model_map, low_regions[i].start, low_regions[i].end, low_regions[i].type);
        }
    }
    images_follow = false;
    arena_used = 0;
    said_length = 0;
    said[0] = '\0';
    entered = false;
    memset(file_used, 0, sizeof(file_used));
    if (setjmp(way_out) == 0) {
        assert_true(EFI_ERROR(efi_main(NULL, &system_table)));
        assert_false(entered);
    }
    return entered;
}

static bool rule_of_the_desk(const char *rule)
{
    return strcmp(rule, "missing-file") == 0 || strcmp(rule, "empty-file") == 0 || strcmp(rule, "large-file") == 0 ||
           strcmp(rule, "file-twice") == 0 || strcmp(rule, "bad-image") == 0;
}

/* Each error that the host found in the config is a line that the target said. Errors of files and memory stop the
 * target at the first, so they have a code there and not the same number of lines. */
static void compare_lines(void)
{
    char line[400];

    for (uint32_t i = 0; i < check.errors.count; i++) {
        const struct config_error *error = &check.errors.list[i];

        snprintf(line, sizeof(line), "plinth.conf:%u:%u: %s: %s\n", error->position.line, error->position.column,
                 error->rule, error->sentence);
        if (!rule_of_the_desk(error->rule) && strstr(said, line) == NULL) {
            fail_msg("the target does not say: %s\nbut: %s\nof:\n%s", line, said, config_text);
        }
    }
}

static void compare(bool good)
{
    if (target_verdict() != good) {
        fail_msg("plinth-check says %s (%s), the target does not: %s\nconfig:\n%s\nmachine:\n%s", good ? "good" : "bad",
                 check.errors.count != 0 ? check.errors.list[0].sentence : "", said, config_text, machine_text);
    }
    if (good) {
        return;
    }
    assert_non_null(strstr(said, "P0"));
    if (strstr(said, "P0803") == NULL && strstr(said, "P0807") == NULL && strstr(said, "P0806") == NULL &&
        strstr(said, "P0714") == NULL && strstr(said, "P0718") == NULL && strstr(said, "P0716") == NULL) {
        compare_lines();
    }
}

static void make_mutant(void)
{
    static const char *const machines[] = {
        "cpus = 4\nmemory = 8G\n",
        "cpus = 1\nmemory = 1G\n",
        "cpus = 4\nmemory = 4G\nnested-paging = no\n",
        "# as written by inventory = yes\ncpu-name = Some CPU\nvirtualization = vmx\nfeatures = Intel VMX\n"
        "largest-leaf = 2M\ncpus = 2\ncpu = 0 apic 0 package 0 core 0 thread 0\ncpu = 1 apic 1 package 0 core 1 thread "
        "0\n"
        "acpi = found\nuart = 0x3f8\nscreen = 1280 x 800 at 0x80000000\npci = 00:00.0 8086:29c0 class 060000\n"
        "region = 0x0 0xa0000 free\nregion = 0x100000 0x3e000000 free\nregion = 0x3e000000 0x3f000000 loader\n"
        "region = 0x3f000000 0x40000000 reserved\nregion = 0xb0000000 0xc0000000 mmio\n"
        "region = 0x100000000 0x1c0000000 free\n",
    };

    snprintf(config_text, sizeof(config_text), "%s", seeds[below(seed_count)]);
    snprintf(machine_text, sizeof(machine_text), "%s", machines[below(ARRAY_COUNT(machines))]);
    mutate(config_text);
    if (below(3) == 0) {
        mutate(machine_text);
    }
    write_file("machine.txt", machine_text, strlen(machine_text));
}

/* For tests/boot/mutants.py. */
static void keep_mutant(uint32_t index, bool good)
{
    const char *to = getenv("PLINTH_MUTANTS_DIR");
    const char *wanted = getenv("PLINTH_MUTANTS");
    char path[300];
    FILE *out;

    if (to == NULL || wanted == NULL || index >= strtoul(wanted, NULL, 10)) {
        return;
    }
    snprintf(path, sizeof(path), "%.200s/%u.%s", to, index, good ? "good" : "bad");
    out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(config_text, 1, strlen(config_text), out), strlen(config_text));
    fclose(out);
}

static void host_and_target_give_every_mutant_the_same_verdict(void **context)
{
    uint32_t good = 0;
    uint32_t refused = 0;
    uint32_t no_machine = 0;

    (void)context;
    for (uint32_t i = 0; i < MUTANTS; i++) {
        bool verdict;

        make_mutant();
        verdict = host_verdict();
        keep_mutant(i, verdict);
        if (check.machine_errors.count != 0) {
            no_machine++; /* no machine, so no target */
            assert_false(verdict);
            continue;
        }
        compare(verdict);
        good += verdict;
        refused += !verdict;
    }
    print_message("%u mutants: %u good, %u refused, %u machine files refused\n", MUTANTS, good, refused, no_machine);
    assert_true(good > MUTANTS / 10 && refused > MUTANTS / 10 && no_machine > MUTANTS / 50);
}

static void every_example_is_good_for_a_machine_with_8_cpus_and_8_gib(void **context)
{
    (void)context;
    snprintf(machine_text, sizeof(machine_text), "cpus = 8\nmemory = 8G\n");
    write_file("machine.txt", machine_text, strlen(machine_text));
    for (uint32_t i = 0; i < seed_count; i++) {
        snprintf(config_text, sizeof(config_text), "%s", seeds[i]);
        assert_true(host_verdict());
        compare(true);
    }
}

static void judge(const char *text, const char *rule, const char *code)
{
    snprintf(config_text, sizeof(config_text), "%s", text);
    snprintf(machine_text, sizeof(machine_text), "cpus = 4\nmemory = 32G\n");
    write_file("machine.txt", machine_text, strlen(machine_text));
    assert_int_equal(host_verdict(), rule == NULL);
    if (rule != NULL) {
        assert_string_equal(check.errors.list[0].rule, rule);
    }
    compare(rule == NULL);
    if (code != NULL) {
        assert_non_null(strstr(said, code));
    }
}

static void files_are_those_of_a_fat_volume_on_both(void **context)
{
    (void)context;
    judge("[guest a]\nkernel = hello.elf\nmodule = in/hello.elf\n", NULL, NULL);
    judge("[guest a]\nkernel = VMLinuz\n[guest b]\nkernel = VMLINUZ\n", NULL, NULL);
    judge("[guest a]\nkernel = hello.elf.\n", "bad-path", "P0701");
    judge("[guest a]\nkernel = \" hello.elf\"\n", "bad-path", "P0701");
    judge("[guest a]\nkernel = aux.elf\n", "bad-path", "P0701");
    judge("[guest a]\nkernel = hello.elf/\n", "bad-path", "P0701");
    judge("[guest a]\nkernel = hello.elf\nmodule = HELLO.ELF\n", "file-twice", "P0725");
    judge("[guest a]\nkernel = big.img\n", "large-file", "P0718");
    judge("[guest a]\nkernel = hello.elf\nmodule = big.img\n", "large-file", "P0718");
    judge("[guest a]\nkernel = in\n", "missing-file", "P0711");
}

/* Every guest has its memory, and none of it is what the firmware keeps. */
static void check_backing(void)
{
    for (uint32_t g = 0; g < entered_info->config.guest_count; g++) {
        const struct guest_memory *memory = &entered_info->guests[g].plan.memory;
        uint64_t bytes = 0;

        for (uint32_t r = 0; r < memory->range_count; r++) {
            uint64_t start = memory->ranges[r].backing.value;

            bytes += memory->ranges[r].bytes;
            assert_false(is_kept(start, start + memory->ranges[r].bytes));
        }
        assert_int_equal(bytes, entered_info->config.guests[g].memory_bytes +
                                    (entered_info->config.guests[g].debug_ports ? GUEST_TEST_MEMORY_BYTES : 0));
    }
    assert_false(is_kept(entered_info->pool_start, entered_info->pool_start + entered_info->pool_bytes));
}

/* As OVMF has them with 512 MiB in Bochs: an end of the free memory that looks like the smallest free region. */
static const struct bin bochs_bins[] = {{0x1f8ed000, 0x1f97d000}};
static const struct bin bins_within[] = {{0x8000000, 0x8090000}, {0xc001000, 0xc002000}, {0x20000000, 0x21000000}};
static const struct bin everything[] = {{0, UINT64_MAX}};

static const struct {
    const char *machine, *config;
    const struct bin *bins;
    uint32_t bin_count;
    const char *code; /* NULL: it starts */
} refusing[] = {
    {"cpus = 1\nregion = 0x100000 0x1f6ed000 free\nregion = 0x1f8ed000 0x1f97d000 free\n",
     "[guest a]\nkernel = hello.elf\nmemory = 16M\ndebug-ports = yes\n[guest b]\nkernel = hello.elf\nmemory = 16M\n"
     "debug-ports = yes\n",
     bochs_bins, ARRAY_COUNT(bochs_bins), NULL},
    /* They lie within the only region: what is between them is given. */
    {"cpus = 1\nregion = 0x100000 0x40000000 free\n", "[guest a]\nkernel = hello.elf\nmemory = 900M\n", bins_within,
     ARRAY_COUNT(bins_within), NULL},
    {"cpus = 1\nregion = 0x100000 0x40000000 free\n", "[guest a]\nkernel = hello.elf\nmemory = 992M\n", bins_within,
     ARRAY_COUNT(bins_within), "P0804"},
    {"cpus = 1\nregion = 0x100000 0x40000000 free\n",
     "[guest a]\nkernel = hello.elf\nmemory = 16M\nmemory-at = 0x7fff000\n", bins_within, ARRAY_COUNT(bins_within),
     "P0807"},
    {"cpus = 1\nregion = 0x100000 0x40000000 free\n", "[guest a]\nkernel = hello.elf\n", everything, 1, "P0804"},
};

static void what_the_firmware_refuses_is_planned_around(void **context)
{
    (void)context;
    for (uint32_t i = 0; i < ARRAY_COUNT(refusing); i++) {
        snprintf(config_text, sizeof(config_text), "%s", refusing[i].config);
        snprintf(machine_text, sizeof(machine_text), "%s", refusing[i].machine);
        write_file("machine.txt", machine_text, strlen(machine_text));
        assert_true(host_verdict());
        bins = refusing[i].bins;
        bin_count = refusing[i].bin_count;
        refusals = 0;
        assert_int_equal(target_verdict(), refusing[i].code == NULL);
        assert_true(refusals > 0);
        if (refusing[i].code == NULL) {
            check_backing();
        } else {
            assert_non_null(strstr(said, refusing[i].code));
        }
        bin_count = 0;
    }
}

/* The page where other CPUs start, on firmwares that give none below 640 KiB while they run. What is not named of the
 * first MiB is reserved. */
static const struct {
    struct memory_region regions[2];
    bool starts;   /* with a guest on CPU 1 */
    uint32_t page; /* what is taken after the hand-over; 0: no other CPU starts */
} low_memories[] = {
    {{{0}}, false, 0},
    {{{0, 0x1000, MEMORY_FREE}}, false, 0}, /* page 0 stays absent */
    {{{0, 0x9f000, MEMORY_LOADER}, {0x9f000, 0xa0000, MEMORY_ACPI}}, false, 0},
    {{{0xa0000, 0xb0000, MEMORY_FREE}}, false, 0}, /* the screen's, whatever the map says */
    {{{0x58000, 0x59000, MEMORY_BOOT}}, true, 0x58000},
    {{{0, 0x3000, MEMORY_BOOT}, {0x3000, 0xa0000, MEMORY_ACPI}}, true, 0x1000},
    {{{0, 0x8000, MEMORY_BOOT}, {0x8000, 0xa0000, MEMORY_FREE}}, true, 0x8000}, /* what EDK2 keeps for one type */
};

static void a_page_for_other_cpus_may_be_one_of_boot_services(void **context)
{
    (void)context;
    no_low_page = true;
    for (uint32_t i = 0; i < ARRAY_COUNT(low_memories); i++) {
        low_regions = low_memories[i].regions;
        judge("[guest a]\nkernel = hello.elf\ncpus = 0,\n", NULL, NULL);
        assert_int_equal(entered_info->trampoline, 0);
        snprintf(config_text, sizeof(config_text), "[guest a]\nkernel = hello.elf\ncpus = 1,\n");
        assert_true(host_verdict());
        assert_int_equal(target_verdict(), low_memories[i].starts);
        assert_int_equal(strstr(said, "P0805: plinth.conf:3:8: guest \"a\" needs CPU 1, and none of CPUs 1 to 3") !=
                             NULL,
                         !low_memories[i].starts);
        assert_int_equal(efi_memory_low_page(&model_map), low_memories[i].page);
    }
    low_regions = NULL;
    no_low_page = false;
}

/* What an MTRR leaves uncached is no guest's and not ours, and it is said how much that is, once. */
static void uncached_memory_is_no_guests(void **context)
{
    (void)context;
    uncached_start = 0x20000000;
    uncached_bytes = 0x10000000;
    snprintf(machine_text, sizeof(machine_text), "cpus = 1\nregion = 0x100000 0x40000000 free\n");
    write_file("machine.txt", machine_text, strlen(machine_text));
    snprintf(config_text, sizeof(config_text), "[guest a]\nkernel = hello.elf\nmemory = 600M\n");
    assert_true(host_verdict());
    assert_true(target_verdict());
    for (uint32_t i = 0; i < entered_info->guests[0].plan.memory.range_count; i++) {
        const struct guest_range *range = &entered_info->guests[0].plan.memory.ranges[i];

        assert_true(range->backing.value + range->bytes <= uncached_start ||
                    range->backing.value >= uncached_start + uncached_bytes);
    }
    assert_true(entered_info->pool_start + entered_info->pool_bytes <= uncached_start ||
                entered_info->pool_start >= uncached_start + uncached_bytes);
    assert_non_null(strstr(said, "Plinth: 256 MiB of memory are uncached"));
    assert_null(strstr(strstr(said, "are uncached") + 1, "are uncached"));
    snprintf(config_text, sizeof(config_text), "[guest a]\nkernel = hello.elf\nmemory = 800M\n");
    assert_true(host_verdict());
    assert_false(target_verdict());
    assert_non_null(strstr(said, "too-much-memory"));
    uncached_bytes = 0;
}

/* P0719: a config where people put it instead is named. P0711: there is none at all. */
static void a_config_elsewhere_is_found_and_named(void **context)
{
    static const char *const places[] = {"\\plinth\\plinth.conf.txt", "\\plinth\\plinth.txt", "\\plinth.conf",
                                         "\\plinth.conf.txt", "\\EFI\\BOOT\\plinth.conf"};
    char line[160];

    (void)context;
    snprintf(config_text, sizeof(config_text), "[guest a]\nkernel = hello.elf\n");
    assert_true(host_verdict());
    for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
        config_place = places[i];
        assert_false(target_verdict());
        snprintf(line, sizeof(line), "P0719: \\plinth\\plinth.conf is not on the volume, but %s is.", places[i]);
        assert_non_null(strstr(said, line));
    }
    config_place = "\\elsewhere";
    assert_false(target_verdict());
    assert_non_null(strstr(said, "P0711: \\plinth\\plinth.conf is not on the volume"));
    config_place = "\\plinth\\plinth.conf";
    assert_true(target_verdict());
}

/* P0725: several are named with their lines before anything is read. P0711: one is named where it is read. */
static void all_missing_files_are_named_at_once(void **context)
{
    (void)context;
    snprintf(config_text, sizeof(config_text),
             "[guest a]\nkernel = one\ninitrd = two\n[guest b]\nkernel = hello.elf\nmodule = three words\n");
    assert_false(host_verdict());
    assert_int_equal(check.errors.count, 3);
    assert_false(target_verdict());
    assert_non_null(strstr(said, "plinth.conf:2:10: missing-file: \\plinth\\one\n"));
    assert_non_null(strstr(said, "plinth.conf:3:10: missing-file: \\plinth\\two\n"));
    assert_non_null(strstr(said, "plinth.conf:6:10: missing-file: \\plinth\\three\n"));
    assert_non_null(strstr(said, "P0725: 3 files that plinth.conf names"));
    assert_null(strstr(said, "Plinth: read \\plinth"));
    snprintf(config_text, sizeof(config_text), "[guest a]\nkernel = hello.elf\ninitrd = two\n");
    assert_false(host_verdict());
    assert_false(target_verdict());
    assert_non_null(strstr(said, "P0711: plinth.conf:3:10: \\plinth\\two is not on the volume"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uncached_memory_is_no_guests),
        cmocka_unit_test(a_page_for_other_cpus_may_be_one_of_boot_services),
        cmocka_unit_test(every_example_is_good_for_a_machine_with_8_cpus_and_8_gib),
        cmocka_unit_test(what_the_firmware_refuses_is_planned_around),
        cmocka_unit_test(files_are_those_of_a_fat_volume_on_both),
        cmocka_unit_test(a_config_elsewhere_is_found_and_named),
        cmocka_unit_test(all_missing_files_are_named_at_once),
        cmocka_unit_test(host_and_target_give_every_mutant_the_same_verdict),
    };

    return cmocka_run_group_tests_name("mutants", tests, set_up, tear_down);
}
