/* SPDX-License-Identifier: MIT */
/*
 * A memory test for disks, for a Linux guest: random writes, zeroings and reads past the kernel's cache, and every byte
 * that is read is compared with what was written there last.
 *
 *     disk-check write DEVICE SEED OPERATIONS    from a disk of zeroes
 *     disk-check verify DEVICE SEED OPERATIONS   the whole disk is as the same `write` left it
 *
 * What a sector has follows from its number and the number of the operation that wrote it, so `verify` needs no record:
 * it goes through the same operations without the disk.
 */
#define _GNU_SOURCE /* O_DIRECT */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SECTOR_BYTES 512u
#define SECTORS_AT_ONCE 256u /* 128 KiB */
#define WORDS (SECTOR_BYTES / sizeof(uint64_t))
#define NEVER 0u /* the sector has zeroes */

static uint64_t sectors, seed;
static uint32_t *written_by; /* of each sector: the operation, or NEVER */
static uint8_t *buffer;      /* aligned for O_DIRECT */

/* SplitMix64. */
static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

static uint64_t next_random(void)
{
    static uint64_t state;

    state += 0x9e3779b97f4a7c15u;
    return mix(state ^ seed);
}

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

static void fill(uint64_t sector, uint32_t by, uint8_t *to)
{
    uint64_t words[WORDS] = {0};

    for (unsigned i = 0; by != NEVER && i < WORDS; i++) {
        words[i] = mix(seed ^ sector << 32 ^ (uint64_t)by << 6 ^ i);
    }
    memcpy(to, words, SECTOR_BYTES);
}

static void check(int disk, uint64_t first, uint64_t count)
{
    uint8_t expected[SECTOR_BYTES];

    if (pread(disk, buffer, count * SECTOR_BYTES, (off_t)(first * SECTOR_BYTES)) != (ssize_t)(count * SECTOR_BYTES)) {
        fail("read");
    }
    for (uint64_t i = 0; i < count; i++) {
        fill(first + i, written_by[first + i], expected);
        if (memcmp(buffer + i * SECTOR_BYTES, expected, SECTOR_BYTES) != 0) {
            printf("FAIL disk-check: sector %" PRIu64 " is not what operation %" PRIu32 " wrote\n", first + i,
                   written_by[first + i]);
            exit(1);
        }
    }
}

static void put(int disk, uint64_t first, uint64_t count, uint32_t by)
{
    for (uint64_t i = 0; i < count; i++) {
        fill(first + i, by, buffer + i * SECTOR_BYTES);
    }
    if (pwrite(disk, buffer, count * SECTOR_BYTES, (off_t)(first * SECTOR_BYTES)) != (ssize_t)(count * SECTOR_BYTES)) {
        fail("write");
    }
}

static void zero(int disk, uint64_t first, uint64_t count)
{
    uint64_t range[2] = {first * SECTOR_BYTES, count * SECTOR_BYTES};

    if (ioctl(disk, BLKZEROOUT, range) != 0) {
        fail("BLKZEROOUT");
    }
}

/* Of eight operations four write, one makes zeroes, three look. */
static void operate(int disk, uint32_t number, bool with_disk)
{
    uint64_t kind = next_random() % 8, first = next_random() % sectors;
    uint64_t count = 1 + next_random() % SECTORS_AT_ONCE;

    count = count < sectors - first ? count : sectors - first;
    if (kind >= 5) {
        if (with_disk) {
            check(disk, first, count);
        }
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        written_by[first + i] = kind == 4 ? NEVER : number;
    }
    if (with_disk && kind == 4) {
        zero(disk, first, count);
    } else if (with_disk) {
        put(disk, first, count, number);
    }
}

int main(int argc, char **argv)
{
    bool with_disk = argc == 5 && strcmp(argv[1], "write") == 0;
    uint64_t bytes = 0;
    uint32_t operations;
    int disk;

    if (argc != 5 || (!with_disk && strcmp(argv[1], "verify") != 0)) {
        fputs("disk-check write|verify DEVICE SEED OPERATIONS\n", stderr);
        return 2;
    }
    disk = open(argv[2], O_RDWR | O_DIRECT | O_EXCL);
    if (disk < 0 || ioctl(disk, BLKGETSIZE64, &bytes) != 0) {
        fail(argv[2]);
    }
    seed = strtoull(argv[3], NULL, 0);
    operations = (uint32_t)strtoul(argv[4], NULL, 0);
    sectors = bytes / SECTOR_BYTES;
    written_by = calloc(sectors, sizeof(*written_by));
    buffer = aligned_alloc(4096, SECTORS_AT_ONCE * SECTOR_BYTES);
    if (written_by == NULL || buffer == NULL || sectors == 0) {
        fail("memory");
    }
    for (uint32_t i = 1; i <= operations; i++) {
        operate(disk, i, with_disk);
    }
    for (uint64_t first = 0; first < sectors; first += SECTORS_AT_ONCE) {
        check(disk, first, sectors - first < SECTORS_AT_ONCE ? sectors - first : SECTORS_AT_ONCE);
    }
    printf("PASS disk-check %s: %" PRIu32 " operations, %" PRIu64 " sectors as they should be\n", argv[1], operations,
           sectors);
    return 0;
}
