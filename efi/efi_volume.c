/* SPDX-License-Identifier: MIT */
/*
 * Files of the volume that the firmware started us from: the one that carries our own image, found through the loaded
 * image's device handle, so that two sticks in one machine never mix.
 *
 * Files are read whole into pages that stay, because the config's texts and the guests' images are used after the
 * hand-over. Time spent in here, the display of progress included, is counted apart (tsc_file_ticks): it is the
 * stick's, not ours.
 *
 * Drivers of some firmwares fail with a transfer that is large, or whose memory lies above 4 GiB, or lose one under
 * load. So a file is read in pieces of 1 MiB into one buffer below 4 GiB, and copied from there. After the first error
 * the rest of the file is read in pieces of 64 KiB; a piece that fails once more is the stick's error.
 */
#include "efi/efi_stage.h"
#include "guest-loader/gzip.h"
#include "hv/base/format.h"

static EFI_GUID file_system_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
static EFI_GUID file_info_guid = EFI_FILE_INFO_ID;

#define PROGRESS_BYTES_MIN (8 * MIB)
#define PROGRESS_STEPS 20u /* every 5 percent */
#define PIECE_BYTES (1 * MIB)
#define PIECE_BYTES_AFTER_ERROR (64 * KIB)
#define BUFFER_END_MAX (4 * GIB - 1) /* its last byte: within 32 bits */
#define FILE_NAME_MAX 255u           /* of FAT long names */

/* A file while it is read. */
struct reading {
    const struct efi_want *want;
    EFI_FILE_HANDLE file;
    uint64_t bytes;
    uint64_t start;       /* of the pages */
    uint64_t buffer;      /* PIECE_BYTES below 4 GiB */
    uint64_t piece_bytes; /* the most that is asked for at once */
    bool has_holes;       /* `store` has the pages */
    struct efi_store store;
};

bool efi_volume_open(struct efi_stage *stage)
{
    EFI_FILE_IO_INTERFACE *system = NULL;
    void *interface = NULL;
    uint64_t before = insn_rdtsc();
    EFI_STATUS status = stage->boot->HandleProtocol(stage->loaded->DeviceHandle, &file_system_guid, &interface);

    if (EFI_ERROR(status)) {
        return efi_fail(stage, status,
                        "P0601: the device that Plinth was started from has no file system that this firmware reads "
                        "(%s). Start Plinth from a FAT volume, for instance as \\EFI\\BOOT\\BOOTX64.EFI of a stick.",
                        efi_status_name(status));
    }
    system = interface;
    status = system->OpenVolume(system, &stage->volume);
    stage->info->tsc_file_ticks += insn_rdtsc() - before;
    if (EFI_ERROR(status)) {
        stage->volume = NULL;
        return efi_fail(stage, status,
                        "P0602: the volume that Plinth was started from cannot be opened (%s). Check or rewrite the "
                        "stick.",
                        efi_status_name(status));
    }
    return true;
}

void efi_volume_close(struct efi_stage *stage)
{
    uint64_t before = insn_rdtsc();

    if (stage->volume != NULL) {
        stage->volume->Close(stage->volume);
        stage->volume = NULL;
        stage->info->tsc_file_ticks += insn_rdtsc() - before;
    }
}

/* UTF-8 to UTF-16 as far as FAT names go: one to three bytes. Returns the bytes used; 0 where there is no character. */
static size_t decode_utf8(const uint8_t *from, CHAR16 *to)
{
    if (from[0] < 0x80) {
        *to = from[0];
        return from[0] != 0 ? 1 : 0;
    }
    if ((from[0] & 0xe0) == 0xc0 && (from[1] & 0xc0) == 0x80) {
        *to = (CHAR16)((from[0] & 0x1f) << 6 | (from[1] & 0x3f));
        return 2;
    }
    if ((from[0] & 0xf0) == 0xe0 && (from[1] & 0xc0) == 0x80 && (from[2] & 0xc0) == 0x80) {
        *to = (CHAR16)((from[0] & 0x0f) << 12 | (from[1] & 0x3f) << 6 | (from[2] & 0x3f));
        return 3;
    }
    return 0;
}

static void widen(const char *path, CHAR16 to[FILE_NAME_MAX + 1])
{
    const uint8_t *from = (const uint8_t *)path;
    size_t count = 0;
    size_t used = 1;

    while (used != 0 && count < FILE_NAME_MAX) {
        used = decode_utf8(from, &to[count]);
        from += used;
        count += used != 0;
    }
    to[count] = 0;
}

bool efi_volume_has(struct efi_stage *stage, const char *path)
{
    CHAR16 name[FILE_NAME_MAX + 1];
    EFI_FILE_HANDLE file = NULL;
    uint64_t before = insn_rdtsc();
    bool there;

    widen(path, name);
    there = stage->volume->Open(stage->volume, &file, name, EFI_FILE_MODE_READ, 0) != EFI_NOT_FOUND;
    if (there && file != NULL) {
        file->Close(file);
    }
    stage->info->tsc_file_ticks += insn_rdtsc() - before;
    return there;
}

static bool open_file(struct efi_stage *stage, struct reading *reading)
{
    CHAR16 name[FILE_NAME_MAX + 1];
    EFI_STATUS status;

    widen(reading->want->path, name);
    status = stage->volume->Open(stage->volume, &reading->file, name, EFI_FILE_MODE_READ, 0);
    if (status == EFI_NOT_FOUND) {
        return efi_fail(stage, status,
                        "P0711: %s%s is not on the volume that Plinth was started from. Copy it there (a FAT volume "
                        "takes no file of 4 GiB), or correct the path.",
                        reading->want->where, reading->want->path);
    }
    if (EFI_ERROR(status)) {
        return efi_fail(stage, status, "P0712: %s%s cannot be opened (%s). Check or rewrite the stick.",
                        reading->want->where, reading->want->path, efi_status_name(status));
    }
    return true;
}

static bool measure_file(struct efi_stage *stage, struct reading *reading)
{
    union {
        EFI_FILE_INFO info;
        uint8_t bytes[sizeof(EFI_FILE_INFO) + (FILE_NAME_MAX + 1) * sizeof(CHAR16)];
    } buffer;
    UINTN size = sizeof(buffer);
    EFI_STATUS status = reading->file->GetInfo(reading->file, &file_info_guid, &size, &buffer);
    char most[FORMAT_BYTES_MAX];
    char there[FORMAT_BYTES_MAX];

    if (EFI_ERROR(status) || (buffer.info.Attribute & EFI_FILE_DIRECTORY) != 0) {
        return efi_fail(stage, status, "P0713: %s%s is not a file%s. Name a file.", reading->want->where,
                        reading->want->path, EFI_ERROR(status) ? " that the firmware can describe" : " but a folder");
    }
    reading->bytes = buffer.info.FileSize;
    if (reading->bytes == 0) {
        return efi_fail(stage, EFI_LOAD_ERROR, "P0714: %s%s is empty. Copy it to the volume again.",
                        reading->want->where, reading->want->path);
    }
    if (reading->bytes > CONFIG_FILE_BYTES_MAX) {
        return efi_fail(stage, EFI_LOAD_ERROR,
                        "P0718: %s%s has %" PRIu64
                        " bytes, the most that a FAT volume holds: the copy of a larger file "
                        "ends so. Split the file (split -b 2G) and name the parts in order, each in an `initrd` line.",
                        reading->want->where, reading->want->path, reading->bytes);
    }
    if (reading->bytes > reading->want->bytes_max) {
        return efi_fail(stage, EFI_LOAD_ERROR, "P0715: %s%s has %s; at most %s can be used. Name another file.",
                        reading->want->where, reading->want->path, format_bytes(there, reading->bytes),
                        format_bytes(most, reading->want->bytes_max));
    }
    return true;
}

static bool take_buffer(struct efi_stage *stage, struct reading *reading)
{
    EFI_STATUS status;

    reading->buffer = BUFFER_END_MAX;
    status = efi_pages_take(stage, AllocateMaxAddress, PIECE_BYTES / PAGE_BYTES, &reading->buffer);
    if (EFI_ERROR(status)) {
        return efi_fail(stage, status,
                        "P0727: the firmware has no 1 MiB of memory below 4 GiB to read %s%s into (%s). Restart the "
                        "machine and start Plinth first.",
                        reading->want->where, reading->want->path, efi_status_name(status));
    }
    return true;
}

/* Once the first piece is in the buffer. A compressed image is expanded from pages that follow each other. */
static bool take_pages(struct efi_stage *stage, struct reading *reading, uint64_t first_bytes)
{
    const struct span first = {(const uint8_t *)(uintptr_t)reading->buffer, first_bytes};
    EFI_STATUS status;
    char there[FORMAT_BYTES_MAX];

    reading->has_holes = reading->want->holes != NULL && !gzip_recognize(first);
    status = reading->has_holes ? efi_store_begin(stage, reading->bytes, &reading->store)
                                : efi_pages_take(stage, AllocateAnyPages,
                                                 align_up(reading->bytes, PAGE_BYTES) / PAGE_BYTES, &reading->start);
    if (EFI_ERROR(status)) {
        return efi_fail(stage, status,
                        "P0716: %s%s needs %s of memory, and the firmware has none in one piece (%s). Use a machine "
                        "with more memory or a smaller file.",
                        reading->want->where, reading->want->path, format_bytes(there, reading->bytes),
                        efi_status_name(status));
    }
    return true;
}

static bool fail_full(struct efi_stage *stage, const struct reading *reading)
{
    char there[FORMAT_BYTES_MAX];
    char room[FORMAT_BYTES_MAX];

    return efi_fail(stage, EFI_OUT_OF_RESOURCES,
                    "P0716: %s%s has %s, and what is not zeroes of them needs more than the %s that the firmware has "
                    "in one piece. Use a machine with more memory or a smaller file.",
                    reading->want->where, reading->want->path, format_bytes(there, reading->bytes),
                    format_bytes(room, reading->store.pages * PAGE_BYTES));
}

/* From the buffer into its place. Both are identity-mapped. */
static bool place_piece(struct efi_stage *stage, struct reading *reading, uint64_t offset, uint64_t bytes)
{
    const uint8_t *from = (const uint8_t *)(uintptr_t)reading->buffer;

    if (reading->has_holes) {
        return disk_store_add(&reading->store.store, from, bytes) || fail_full(stage, reading);
    }
    memcpy((void *)(uintptr_t)(reading->start + offset), from, bytes);
    return true;
}

static bool end_pages(struct efi_stage *stage, struct reading *reading)
{
    uint64_t rest = align_up(reading->bytes, PAGE_BYTES) - reading->bytes;

    if (reading->has_holes) {
        return efi_store_end(stage, &reading->store, &reading->start, reading->want->holes) ||
               fail_full(stage, reading);
    }
    memset((void *)(uintptr_t)(reading->start + reading->bytes), 0, rest); /* a disk's last page is whole */
    return true;
}

/* One piece into the buffer. Returns its bytes, at most `size`; 0 with *status where nothing came. */
static uint64_t try_piece(const struct reading *reading, uint64_t offset, uint64_t size, EFI_STATUS *status)
{
    UINTN got = size;

    *status = reading->file->SetPosition(reading->file, offset);
    if (!EFI_ERROR(*status)) {
        *status = reading->file->Read(reading->file, &got, (void *)(uintptr_t)reading->buffer);
    }
    return EFI_ERROR(*status) || got > size ? 0 : got;
}

/* One piece, of at most `size` bytes; returns how many came. A file that ends before its size says so is an error, not
 * a short image: 0, and a sentence said so. */
static uint64_t read_piece(struct efi_stage *stage, struct reading *reading, uint64_t offset, uint64_t size)
{
    EFI_STATUS status;
    uint64_t got = try_piece(reading, offset, min_u64(size, reading->piece_bytes), &status);

    if (got == 0) {
        reading->piece_bytes = PIECE_BYTES_AFTER_ERROR;
        got = try_piece(reading, offset, min_u64(size, reading->piece_bytes), &status);
    }
    if (got == 0) {
        efi_fail(stage, status,
                 "P0717: %s%s cannot be read at byte %" PRIu64 " of %" PRIu64
                 " (%s). Check the stick and copy the file "
                 "again.",
                 reading->want->where, reading->want->path, offset, reading->bytes,
                 EFI_ERROR(status) ? efi_status_name(status) : "the file ends");
    }
    return got;
}

static bool read_all(struct efi_stage *stage, struct reading *reading)
{
    bool progress = reading->want->progress && reading->bytes > PROGRESS_BYTES_MIN;
    uint64_t step = align_up(reading->bytes / PROGRESS_STEPS, PAGE_BYTES);
    uint64_t said = 0;
    uint64_t done = 0;

    reading->piece_bytes = PIECE_BYTES;
    while (done < reading->bytes) {
        uint64_t got;

        if (progress && done >= said) {
            efi_say_again(stage, "Plinth: %s %3u %%", reading->want->path, (unsigned)(done * 100 / reading->bytes));
            said += step;
        }
        got = read_piece(stage, reading, done, reading->bytes - done);
        if (got == 0 || (done == 0 && !take_pages(stage, reading, got)) || !place_piece(stage, reading, done, got)) {
            return false;
        }
        done += got;
    }
    if (progress) {
        efi_say_again(stage, "%s", "");
    }
    return end_pages(stage, reading);
}

static bool read_file(struct efi_stage *stage, struct reading *reading)
{
    bool good;

    if (!open_file(stage, reading)) {
        return false;
    }
    good = measure_file(stage, reading) && take_buffer(stage, reading) && read_all(stage, reading);
    if (good) {
        efi_pages_return(stage, reading->buffer); /* else with everything */
    }
    reading->file->Close(reading->file);
    return good;
}

bool efi_volume_read(struct efi_stage *stage, const struct efi_want *want, struct span *bytes)
{
    struct reading reading = {.want = want};
    uint64_t before = insn_rdtsc();
    char size[FORMAT_BYTES_MAX];
    bool good = read_file(stage, &reading);

    if (good) {
        *bytes = (struct span){(const uint8_t *)(uintptr_t)reading.start, reading.bytes};
        if (want->progress) {
            efi_say(stage, "Plinth: read %s, %s", want->path, format_bytes(size, reading.bytes));
        }
    }
    stage->info->tsc_file_ticks += insn_rdtsc() - before;
    return good;
}

/* Deleting also closes. A file that is not there is as good as deleted. */
static void delete_file(struct efi_stage *stage, CHAR16 *name)
{
    EFI_FILE_HANDLE file = NULL;

    if (!EFI_ERROR(stage->volume->Open(stage->volume, &file, name, EFI_FILE_MODE_READ | EFI_FILE_MODE_WRITE, 0))) {
        file->Delete(file);
    }
}

static EFI_STATUS write_file(struct efi_stage *stage, CHAR16 *name, struct text bytes)
{
    EFI_FILE_HANDLE file = NULL;
    UINTN size = bytes.length;
    EFI_STATUS status = stage->volume->Open(stage->volume, &file, name,
                                            EFI_FILE_MODE_READ | EFI_FILE_MODE_WRITE | EFI_FILE_MODE_CREATE, 0);

    if (EFI_ERROR(status)) {
        return status;
    }
    status = file->Write(file, &size, (void *)(uintptr_t)bytes.start);
    if (!EFI_ERROR(status)) {
        status = size == bytes.length ? file->Flush(file) : EFI_VOLUME_FULL;
    }
    file->Close(file);
    return status;
}

bool efi_volume_write(struct efi_stage *stage, const char *path, struct text bytes)
{
    CHAR16 name[FILE_NAME_MAX + 1];
    uint64_t before = insn_rdtsc();
    EFI_STATUS status;

    widen(path, name);
    delete_file(stage, name);
    status = write_file(stage, name, bytes);
    if (EFI_ERROR(status)) {
        efi_say(stage, "Plinth: warning: %s cannot be written (%s); the start goes on", path, efi_status_name(status));
    }
    stage->info->tsc_file_ticks += insn_rdtsc() - before;
    return !EFI_ERROR(status);
}
