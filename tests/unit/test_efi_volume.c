/* SPDX-License-Identifier: MIT */
/*
 * Files are read whole from firmwares whose drivers fail with large transfers, with memory above 4 GiB, or now and
 * then, and images without their pages of zeroes: efi/efi_volume.c and efi_store.c on a model of a volume with one
 * file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "efi/efi_stage.h"
#include "hv/base/format.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FILE_BYTES (3 * MIB + 12345)
#define PIECE_MAX (1 * MIB)
#define SMALL_PIECE_MAX (64 * KIB)
#define NEVER UINT64_MAX

/* What is wrong with this firmware. */
static struct {
    uint64_t read_max;   /* a larger read fails */
    uint64_t answer_max; /* a read gives so many bytes at most */
    uint64_t fails_at;   /* the read of this byte fails, `failures` times */
    uint32_t failures;
    uint64_t ends_at;      /* behind it nothing comes, without an error */
    bool no_buffer;        /* no memory below 4 GiB */
    bool position_is_lost; /* after an error */
} broken;

static uint8_t content[FILE_BYTES];
static uint8_t *low_memory; /* below 4 GiB, as the firmware's */
static uint64_t position;
static uint64_t largest_read;
static uint32_t reads;
static uint32_t buffers_out;
static uint32_t progress_lines;
static char said[512];
static struct boot_info info;
static struct efi_stage stage;

/* ---- the model: a file, memory ---- */

static EFI_STATUS EFIAPI file_position(EFI_FILE *file, UINT64 to)
{
    (void)file;
    position = to;
    return EFI_SUCCESS;
}

static bool is_failing(uint64_t size)
{
    bool hit = position <= broken.fails_at && broken.fails_at < position + size && broken.failures > 0;

    broken.failures -= hit;
    return hit || size > broken.read_max;
}

static EFI_STATUS EFIAPI file_read(EFI_FILE *file, UINTN *size, void *buffer)
{
    (void)file;
    assert_true((uint64_t)(uintptr_t)buffer + *size <= 4 * GIB);
    reads++;
    largest_read = max_u64(largest_read, *size);
    if (is_failing(*size)) {
        memset(buffer, 0xee, *size); /* what a failed transfer leaves */
        position = broken.position_is_lost ? 77 : position + *size;
        return EFI_DEVICE_ERROR;
    }
    *size = min_u64(min_u64(*size, broken.answer_max), min_u64(FILE_BYTES, broken.ends_at) - position);
    memcpy(buffer, content + position, *size);
    position += *size;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI file_info(EFI_FILE *file, EFI_GUID *type, UINTN *size, void *buffer)
{
    EFI_FILE_INFO *of = buffer;

    (void)file;
    (void)type;
    (void)size;
    memset(of, 0, sizeof(*of));
    of->FileSize = FILE_BYTES;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI file_close(EFI_FILE *file)
{
    (void)file;
    return EFI_SUCCESS;
}

static EFI_FILE the_file = {.Read = file_read, .GetInfo = file_info, .Close = file_close, .SetPosition = file_position};

static EFI_STATUS EFIAPI root_open(EFI_FILE *root, EFI_FILE **file, CHAR16 *name, UINT64 mode, UINT64 attributes)
{
    (void)root;
    (void)name;
    (void)mode;
    (void)attributes;
    position = 0;
    *file = &the_file;
    return EFI_SUCCESS;
}

static EFI_FILE root_file = {.Open = root_open};

/* What the firmware has given, beside the buffer. */
#define TAKEN_MAX 16u

static struct {
    uint8_t *start;
    uint64_t pages;
    uint64_t returned; /* pages, from the first on */
} taken[TAKEN_MAX];
static uint32_t taken_count;
static uint64_t piece_pages_max; /* the largest piece that the firmware has */

static void free_pages(void)
{
    while (taken_count > 0) {
        free(taken[--taken_count].start);
    }
}

static uint64_t pages_out(void)
{
    uint64_t pages = 0;

    for (uint32_t i = 0; i < taken_count; i++) {
        pages += taken[i].pages - taken[i].returned;
    }
    return pages;
}

EFI_STATUS efi_pages_take(struct efi_stage *of, EFI_ALLOCATE_TYPE how, uint64_t pages, uint64_t *address)
{
    (void)of;
    if (how == AllocateMaxAddress) {
        assert_int_equal(*address, 4 * GIB - 1);
        assert_int_equal(pages, PIECE_MAX / PAGE_BYTES);
        buffers_out += !broken.no_buffer;
        *address = (uint64_t)(uintptr_t)low_memory;
        return broken.no_buffer ? EFI_OUT_OF_RESOURCES : EFI_SUCCESS;
    }
    if (pages > piece_pages_max) {
        return EFI_OUT_OF_RESOURCES;
    }
    assert_in_range(taken_count, 0, TAKEN_MAX - 1);
    taken[taken_count].start = aligned_alloc(PAGE_BYTES, pages * PAGE_BYTES);
    taken[taken_count].pages = pages;
    taken[taken_count].returned = 0;
    *address = (uint64_t)(uintptr_t)taken[taken_count++].start;
    memset((void *)(uintptr_t)*address, 0xcc, pages * PAGE_BYTES);
    return EFI_SUCCESS;
}

void efi_pages_return(struct efi_stage *of, uint64_t address)
{
    (void)of;
    if (address == (uint64_t)(uintptr_t)low_memory) {
        buffers_out--;
        return;
    }
    assert_int_equal(address, (uint64_t)(uintptr_t)taken[taken_count - 1].start);
    free(taken[--taken_count].start);
}

void efi_pages_return_first(struct efi_stage *of, uint64_t address, uint64_t pages)
{
    uint32_t i = 0;

    (void)of;
    while (i < taken_count && address != (uint64_t)(uintptr_t)taken[i].start) {
        i++;
    }
    assert_true(i < taken_count && pages < taken[i].pages);
    memset(taken[i].start, 0xdd, pages * PAGE_BYTES);
    taken[i].returned = pages;
}

void efi_say(struct efi_stage *of, const char *form, ...)
{
    (void)of;
    (void)form;
}

void efi_say_again(struct efi_stage *of, const char *form, ...)
{
    (void)of;
    (void)form;
    progress_lines++;
}

bool efi_fail(struct efi_stage *of, EFI_STATUS status, const char *form, ...)
{
    va_list list;

    (void)of;
    (void)status;
    va_start(list, form);
    format_list(said, sizeof(said), form, list);
    va_end(list);
    return false;
}

const char *efi_status_name(EFI_STATUS status)
{
    return EFI_ERROR(status) ? "device error" : "success";
}

/* ---- the promises ---- */

static void make_good(void)
{
    memset(&broken, 0, sizeof(broken));
    broken.read_max = broken.answer_max = broken.ends_at = NEVER;
    broken.fails_at = NEVER;
    largest_read = 0;
    reads = 0;
    piece_pages_max = NEVER;
    buffers_out = 0;
    progress_lines = 0;
    said[0] = '\0';
}

static bool read_it(struct span *bytes)
{
    const struct efi_want want = {.path = "\\plinth\\big", .where = "", .bytes_max = NEVER, .progress = true};

    stage.info = &info;
    stage.volume = &root_file;
    return efi_volume_read(&stage, &want, bytes);
}

/* The file comes whole, and the buffer is given back. */
static void comes_whole(void)
{
    struct span bytes = {NULL, 0};

    assert_true(read_it(&bytes));
    assert_int_equal(bytes.bytes, FILE_BYTES);
    assert_memory_equal(bytes.base, content, FILE_BYTES);
    assert_int_equal(buffers_out, 0);
    free_pages();
}

static void fails_with(const char *text)
{
    struct span bytes = {NULL, 0};

    assert_false(read_it(&bytes));
    assert_null(bytes.base);
    if (strstr(said, text) == NULL) {
        fail_msg("'%s' is not in: %s", text, said);
    }
    free_pages();
}

static void reads_have_at_most_1_mib_and_go_below_4_gib(void **context)
{
    (void)context;
    make_good();
    comes_whole();
    assert_int_equal(largest_read, PIECE_MAX);
    assert_int_equal(reads, 4);
}

static void a_firmware_that_fails_above_64_kib_is_asked_for_less(void **context)
{
    (void)context;
    make_good();
    broken.read_max = SMALL_PIECE_MAX;
    comes_whole();
    assert_int_equal(reads, 1 + (FILE_BYTES + SMALL_PIECE_MAX - 1) / SMALL_PIECE_MAX); /* only one was too large */
}

static void an_error_that_comes_once_is_survived_wherever_it_comes(void **context)
{
    static const uint64_t places[] = {0, 1, MIB - 1, MIB, 2 * MIB + 5, FILE_BYTES - 1};

    (void)context;
    for (uint32_t lost = 0; lost < 2; lost++) {
        for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
            make_good();
            broken.position_is_lost = lost != 0;
            broken.fails_at = places[i];
            broken.failures = 1;
            comes_whole();
            assert_int_equal(broken.failures, 0);
        }
    }
}

static void a_place_that_always_fails_is_named(void **context)
{
    (void)context;
    make_good();
    broken.fails_at = MIB + 100 * KIB;
    broken.failures = UINT32_MAX;
    fails_with("P0717: \\plinth\\big cannot be read at byte 1114112 of 3158073 (device error)");
}

static void a_file_that_ends_early_is_no_short_image(void **context)
{
    (void)context;
    make_good();
    broken.ends_at = 2 * MIB + 17;
    fails_with("P0717: \\plinth\\big cannot be read at byte 2097169 of 3158073 (the file ends)");
    make_good();
    broken.ends_at = 0;
    fails_with("at byte 0 of 3158073 (the file ends)");
}

static void a_firmware_that_gives_less_than_asked_is_asked_again(void **context)
{
    (void)context;
    make_good();
    broken.answer_max = 5000;
    comes_whole();
}

static void without_memory_below_4_gib_a_sentence_says_so(void **context)
{
    (void)context;
    make_good();
    broken.no_buffer = true;
    fails_with("P0727: the firmware has no 1 MiB of memory below 4 GiB");
}

/* Where each page of the image is, with the holes' zeroes, is what the file has. */
static void check_image(const uint8_t *pages, const struct efi_holes *holes)
{
    const uint32_t *places = (const uint32_t *)(uintptr_t)holes->places;
    static const uint8_t zeroes[PAGE_BYTES];

    for (uint64_t page = 0; page * PAGE_BYTES < FILE_BYTES; page++) {
        uint64_t bytes = min_u64(PAGE_BYTES, FILE_BYTES - page * PAGE_BYTES);

        assert_in_range(places[page], 0, holes->stored_pages);
        assert_memory_equal(places[page] == 0 ? zeroes : pages + (places[page] - 1) * (uint64_t)PAGE_BYTES,
                            content + page * PAGE_BYTES, bytes);
    }
}

static bool read_image(struct efi_holes *holes, struct span *bytes)
{
    const struct efi_want want = {.path = "\\plinth\\big", .where = "", .bytes_max = NEVER, .holes = holes};

    stage.info = &info;
    stage.volume = &root_file;
    *holes = (struct efi_holes){0, 0};
    return efi_volume_read(&stage, &want, bytes);
}

/* The file with `stored` pages that are not zero, and what is read of it. */
static void image_takes(uint64_t stored)
{
    static uint8_t whole[sizeof(content)];
    struct efi_holes holes;
    struct span bytes = {NULL, 0};

    memcpy(whole, content, sizeof(content));
    for (uint64_t page = stored; page * PAGE_BYTES < FILE_BYTES; page++) { /* holes between the others, too */
        memset(content + page * 7 % 771 * PAGE_BYTES, 0, PAGE_BYTES);
    }
    assert_true(read_image(&holes, &bytes));
    assert_int_equal(bytes.bytes, FILE_BYTES);
    assert_int_equal(holes.stored_pages, stored);
    check_image(bytes.base, &holes);
    assert_int_equal(pages_out(), max_u64(stored, 1) + 1); /* and the places */
    assert_int_equal(buffers_out, 0);
    free_pages();
    memcpy(content, whole, sizeof(content));
}

static void pages_of_zeroes_take_no_memory(void **context)
{
    (void)context;
    for (uint64_t stored = 2; stored < 771; stored += 96) {
        make_good();
        broken.answer_max = stored % 4 == 0 ? NEVER : 5000;
        image_takes(stored);
    }
}

static void a_firmware_needs_no_piece_for_the_zeroes(void **context)
{
    struct efi_holes holes;
    struct span bytes = {NULL, 0};

    (void)context;
    make_good();
    piece_pages_max = 400; /* of 772 */
    image_takes(200);
    assert_false(read_image(&holes, &bytes));
    assert_non_null(strstr(said, "P0716: \\plinth\\big has 3.0 MiB, and what is not zeroes of them needs more than"));
    free_pages();
}

static void a_compressed_image_is_read_as_it_is(void **context)
{
    struct efi_holes holes;
    struct span bytes = {NULL, 0};
    uint8_t before[3];

    (void)context;
    make_good();
    memcpy(before, content, sizeof(before));
    memcpy(content, (const uint8_t[]){0x1f, 0x8b, 8}, sizeof(before));
    memset(content + MIB, 0, MIB);
    assert_true(read_image(&holes, &bytes));
    assert_int_equal(holes.places, 0);
    assert_memory_equal(bytes.base, content, FILE_BYTES);
    memcpy(content, before, sizeof(before));
    free_pages();
}

static int set_up(void **context)
{
    (void)context;
    low_memory = mmap(NULL, PIECE_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    for (size_t i = 0; i < FILE_BYTES; i++) {
        content[i] = (uint8_t)(i * 31 + (i >> 12));
    }
    return low_memory == MAP_FAILED;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_have_at_most_1_mib_and_go_below_4_gib),
        cmocka_unit_test(a_firmware_that_fails_above_64_kib_is_asked_for_less),
        cmocka_unit_test(an_error_that_comes_once_is_survived_wherever_it_comes),
        cmocka_unit_test(a_place_that_always_fails_is_named),
        cmocka_unit_test(a_file_that_ends_early_is_no_short_image),
        cmocka_unit_test(a_firmware_that_gives_less_than_asked_is_asked_again),
        cmocka_unit_test(without_memory_below_4_gib_a_sentence_says_so),
        cmocka_unit_test(pages_of_zeroes_take_no_memory),
        cmocka_unit_test(a_firmware_needs_no_piece_for_the_zeroes),
        cmocka_unit_test(a_compressed_image_is_read_as_it_is),
    };

    return cmocka_run_group_tests_name("efi_volume", tests, set_up, NULL);
}
