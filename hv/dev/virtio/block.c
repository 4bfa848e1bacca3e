/* SPDX-License-Identifier: MIT */
/* A virtio disk. See block.h. */
#include "hv/dev/virtio/block.h"

#include "hv/base/memory.h"
#include "hv/base/text.h"

/* 5.2.3 "Feature bits". */
#define BLOCK_F_SEG_MAX (1ULL << 2)
#define BLOCK_F_RO (1ULL << 5)
#define BLOCK_F_BLK_SIZE (1ULL << 6)
#define BLOCK_F_FLUSH (1ULL << 9)
#define BLOCK_F_TOPOLOGY (1ULL << 10)
#define BLOCK_F_DISCARD (1ULL << 13)
#define BLOCK_F_WRITE_ZEROES (1ULL << 14)

/* 5.2.4 "Device configuration layout". */
#define CONFIG_CAPACITY 0u
#define CONFIG_SEG_MAX 12u
#define CONFIG_BLK_SIZE 20u
#define CONFIG_PHYSICAL_EXPONENT 24u
#define CONFIG_MIN_IO 26u
#define CONFIG_OPT_IO 28u
#define CONFIG_DISCARD_SECTORS 36u
#define CONFIG_DISCARD_SEGMENTS 40u
#define CONFIG_DISCARD_ALIGNMENT 44u
#define CONFIG_ZEROES_SECTORS 48u
#define CONFIG_ZEROES_SEGMENTS 52u
#define CONFIG_ZEROES_UNMAP 56u
#define CONFIG_BYTES 60u

#define QUEUE_SIZE 256u
#define SEGMENTS_MAX (QUEUE_SIZE - 2u) /* beside header and status */
#define SECTORS_PER_PAGE (PAGE_BYTES / DISK_SECTOR_BYTES)
#define SECTORS_PER_PAGE_LOG2 3u
_Static_assert(1u << SECTORS_PER_PAGE_LOG2 == SECTORS_PER_PAGE, "the physical block is a page");
#define DISCARD_SECTORS_MAX 16384u /* 8 MiB, which are 2048 words of the map: one request is not divided */
#define COST_ZERO_PAGE 32u
#define OPT_IO_SECTORS 256u

/* 5.2.6 "Device Operation". */
#define TYPE_IN 0u
#define TYPE_OUT 1u
#define TYPE_FLUSH 4u
#define TYPE_FLUSH_OUT 5u        /* the same: virtio 0.9.5, appendix D, and QEMU */
#define TYPE_BARRIER 0x80000000u /* beside a type; requests are done in order anyway: the same */
#define TYPE_GET_ID 8u
#define TYPE_DISCARD 11u
#define TYPE_WRITE_ZEROES 13u
#define STATUS_BYTE_OK 0u
#define STATUS_BYTE_IOERR 1u
#define STATUS_BYTE_UNSUPP 2u

struct header {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
};

struct segment {
    uint64_t sector;
    uint32_t sectors;
    uint32_t flags;
};
#define SEGMENT_UNMAP 1u

static struct virtio_block *block_of(struct virtio_device *device)
{
    return (struct virtio_block *)device;
}

/* ---- a request ---- */

static void fail_request(struct virtio_block *block, uint8_t status)
{
    block->status = status;
    block->left = 0;
    block->counters.errors++;
}

/* Data of whole sectors, all of them on the disk. */
static bool fits(const struct virtio_block *block, uint64_t sector, uint64_t bytes)
{
    uint64_t sectors = block->disk->bytes / DISK_SECTOR_BYTES;

    return bytes % DISK_SECTOR_BYTES == 0 && sector <= sectors && bytes / DISK_SECTOR_BYTES <= sectors - sector;
}

static void begin_data(struct virtio_block *block, uint64_t sector, uint64_t bytes, bool write)
{
    if (!fits(block, sector, bytes) || (write && block->read_only)) {
        fail_request(block, STATUS_BYTE_IOERR);
        return;
    }
    block->at = sector * DISK_SECTOR_BYTES;
    block->left = bytes;
    if (write) {
        block->counters.writes++;
        block->counters.bytes_written += bytes;
    } else {
        block->counters.reads++;
        block->counters.bytes_read += bytes;
        block->written = (uint32_t)bytes;
    }
}

static void get_id(struct virtio_block *block)
{
    struct virtq_cursor cursor = virtq_writable(&block->chain);
    uint64_t room = min_u64(block->chain.writable_bytes - 1, BLOCK_ID_BYTES);

    block->written = (uint32_t)virtq_scatter(block->device.memory, &block->chain, &cursor, block->id, room);
}

/* DISCARD and WRITE_ZEROES: one segment each, as the configuration says. */
static void zero_segment(struct virtio_block *block, struct virtio_budget *budget)
{
    struct segment segment;
    uint64_t bytes = virtq_gather(block->device.memory, &block->chain, &block->cursor, &segment, sizeof(segment));
    uint32_t allowed = block->type == TYPE_WRITE_ZEROES ? SEGMENT_UNMAP : 0;

    if (block->read_only || bytes != sizeof(segment) || block->chain.readable_bytes != sizeof(struct header) + bytes ||
        segment.sectors > DISCARD_SECTORS_MAX ||
        !fits(block, segment.sector, (uint64_t)segment.sectors * DISK_SECTOR_BYTES)) {
        fail_request(block, STATUS_BYTE_IOERR);
        return;
    }
    if ((segment.flags & ~allowed) != 0) {
        fail_request(block, STATUS_BYTE_UNSUPP);
        return;
    }
    budget->left -= (int64_t)(segment.sectors / SECTORS_PER_PAGE) * COST_ZERO_PAGE;
    if (!disk_image_zero(block->disk, segment.sector * DISK_SECTOR_BYTES,
                         (uint64_t)segment.sectors * DISK_SECTOR_BYTES)) {
        block->counters.full++;
        fail_request(block, STATUS_BYTE_IOERR);
    }
}

/* Reads the header, does what takes no time, and leaves `left` bytes of data to be moved. False: no request at all. */
static bool begin(struct virtio_block *block, struct virtio_budget *budget)
{
    struct header header;

    block->cursor = virtq_readable(&block->chain);
    block->status = STATUS_BYTE_OK;
    block->left = 0;
    block->written = 0;
    if (virtq_gather(block->device.memory, &block->chain, &block->cursor, &header, sizeof(header)) != sizeof(header) ||
        block->chain.writable_bytes == 0) {
        return false;
    }
    block->busy = true;
    block->type = header.type & ~TYPE_BARRIER;
    switch (block->type) {
    case TYPE_IN:
        block->cursor = virtq_writable(&block->chain);
        begin_data(block, header.sector, block->chain.writable_bytes - 1, false);
        break;
    case TYPE_OUT:
        begin_data(block, header.sector, block->chain.readable_bytes - sizeof(header), true);
        break;
    case TYPE_FLUSH:
    case TYPE_FLUSH_OUT:
        block->counters.flushes++;
        break;
    case TYPE_GET_ID:
        block->counters.others++;
        get_id(block);
        break;
    case TYPE_DISCARD:
    case TYPE_WRITE_ZEROES:
        block->counters.others++;
        zero_segment(block, budget);
        break;
    default:
        fail_request(block, STATUS_BYTE_UNSUPP);
        break;
    }
    return true;
}

static void move_piece(uint8_t *to, const uint8_t *from, uint64_t bytes)
{
    if (from != NULL) {
        memcpy(to, from, (size_t)bytes);
    } else {
        memset(to, 0, (size_t)bytes);
    }
}

/* Copies, or zeroes where `from` is NULL, with looks at the clock. The bytes that were moved; some always are. */
static uint64_t move_bytes(uint8_t *to, const uint8_t *from, uint64_t bytes, struct virtio_budget *budget)
{
    struct virtio_budget own = *budget; /* in registers: the copies change nothing of it */
    uint64_t done = 0;

    while (bytes - done > VIRTIO_PIECE_BYTES) {
        move_piece(to + done, from != NULL ? from + done : NULL, VIRTIO_PIECE_BYTES);
        done += VIRTIO_PIECE_BYTES;
        own.left -= (int64_t)VIRTIO_PIECE_BYTES;
        if (!virtio_budget_lasts(&own)) {
            budget->left = own.left;
            return done;
        }
    }
    move_piece(to + done, from != NULL ? from + done : NULL, bytes - done);
    budget->left = own.left - (int64_t)(bytes - done);
    return bytes;
}

/* The next bytes that are in one piece both in the guest's memory and on the disk, or the first of them. */
static void move_run(struct virtio_block *block, struct virtio_budget *budget)
{
    uint64_t piece = 0, run = 0, done;
    uint8_t *guest = virtq_piece(block->device.memory, &block->chain, &block->cursor,
                                 min_u64(block->left, (uint64_t)budget->left), &piece);
    uint8_t *to = guest;
    const uint8_t *from = guest;

    if (guest == NULL) {
        fail_request(block, STATUS_BYTE_IOERR); /* the chain is shorter than it was */
        return;
    }
    if (block->type == TYPE_IN) {
        from = disk_image_read(block->disk, block->at, piece, &run);
    } else {
        to = disk_image_write(block->disk, block->at, piece, &run);
    }
    if (to == NULL) {
        block->counters.full++;
        fail_request(block, STATUS_BYTE_IOERR);
        return;
    }
    done = move_bytes(to, from, run, budget);
    block->cursor.offset -= (uint32_t)(piece - done);
    block->at += done;
    block->left -= done;
}

/* Moves data as far as the budget goes. True: the request is done. */
static bool move_data(struct virtio_block *block, struct virtio_budget *budget)
{
    while (block->left != 0 && virtio_budget_lasts(budget)) {
        move_run(block, budget);
    }
    return block->left == 0;
}

static void finish(struct virtio_block *block)
{
    (void)virtq_put_last(block->device.memory, &block->chain, block->status);
    virtq_push(&block->device.queues[0], block->device.memory, block->chain.head, block->written + 1);
    block->busy = false;
}

/* One request, or what is left of it. False: the budget is used up, or there is none. */
static bool next_request(struct virtio_block *block, struct virtio_budget *budget)
{
    if (!block->busy) {
        if (!virtio_take(&block->device, 0, &block->chain, budget)) {
            return false;
        }
        if (!begin(block, budget)) {
            virtq_break(&block->device.queues[0], VIRTQ_REQUEST);
            virtio_fail(&block->device);
            return false;
        }
    }
    if (!move_data(block, budget)) {
        return false;
    }
    finish(block);
    return true;
}

static bool service(struct virtio_device *device, uint32_t kicked, struct virtio_budget *budget)
{
    struct virtio_block *block = block_of(device);
    bool more;

    (void)kicked;
    virtq_disarm(&device->queues[0], device->memory);
    do {
        while (virtio_budget_lasts(budget) && next_request(block, budget)) {
        }
        more = block->busy || !virtio_budget_lasts(budget);
    } while (!more && virtio_runs(device) && virtq_rearm(&device->queues[0], device->memory));
    if (virtq_wants_interrupt(&device->queues[0], device->memory)) {
        virtio_signal(device, 1);
    }
    return more;
}

static void reset(struct virtio_device *device)
{
    block_of(device)->busy = false;
}

static void queue_reset(struct virtio_device *device, unsigned queue)
{
    (void)queue;
    block_of(device)->busy = false;
}

static const struct virtio_kind kind = {
    .name = "virtio-blk",
    .id = VIRTIO_BLOCK,
    .queue_count = 1,
    .queue_size = QUEUE_SIZE,
    .config_bytes = CONFIG_BYTES,
    .pci_class = 0x010000, /* mass storage, SCSI: as other virtio disks */
    .service = service,
    .reset = reset,
    .queue_reset = queue_reset,
};

/* ---- its description ---- */

static void put(struct virtio_device *device, unsigned offset, uint64_t value, unsigned bytes)
{
    memcpy(&device->config[offset], &value, bytes);
}

static void fill_config(struct virtio_device *device, uint64_t bytes)
{
    put(device, CONFIG_CAPACITY, bytes / DISK_SECTOR_BYTES, 8);
    put(device, CONFIG_SEG_MAX, SEGMENTS_MAX, 4);
    put(device, CONFIG_BLK_SIZE, DISK_SECTOR_BYTES, 4);
    put(device, CONFIG_PHYSICAL_EXPONENT, SECTORS_PER_PAGE_LOG2, 1);
    put(device, CONFIG_MIN_IO, SECTORS_PER_PAGE, 2);
    put(device, CONFIG_OPT_IO, OPT_IO_SECTORS, 4);
    put(device, CONFIG_DISCARD_SECTORS, DISCARD_SECTORS_MAX, 4);
    put(device, CONFIG_DISCARD_SEGMENTS, 1, 4);
    put(device, CONFIG_DISCARD_ALIGNMENT, SECTORS_PER_PAGE, 4);
    put(device, CONFIG_ZEROES_SECTORS, DISCARD_SECTORS_MAX, 4);
    put(device, CONFIG_ZEROES_SEGMENTS, 1, 4);
    put(device, CONFIG_ZEROES_UNMAP, 1, 1);
}

void virtio_block_init(struct virtio_block *block, const struct guest_memory *memory, struct disk_image *image,
                       bool read_only, const char *id)
{
    uint64_t features = BLOCK_F_SEG_MAX | BLOCK_F_BLK_SIZE | BLOCK_F_FLUSH | BLOCK_F_TOPOLOGY |
                        (read_only ? BLOCK_F_RO : BLOCK_F_DISCARD | BLOCK_F_WRITE_ZEROES);

    memset(block, 0, sizeof(*block));
    block->disk = image;
    block->read_only = read_only;
    for (unsigned i = 0; i < BLOCK_ID_BYTES && id[i] != '\0'; i++) {
        block->id[i] = id[i];
    }
    virtio_init(&block->device, &kind, memory, features);
    fill_config(&block->device, image->bytes);
}
