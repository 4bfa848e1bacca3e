/* SPDX-License-Identifier: MIT */
/* The queue core. See queue.h. */
#include "hv/dev/virtio/queue.h"

#include "hv/base/memory.h"

/* 2.7.5 "The Virtqueue Descriptor Table". */
struct descriptor {
    uint64_t address;
    uint32_t bytes;
    uint16_t flags;
    uint16_t next;
};
_Static_assert(sizeof(struct descriptor) == 16, "as the driver lays it out");

#define DESCRIPTOR_NEXT 1u
#define DESCRIPTOR_WRITE 2u
#define DESCRIPTOR_INDIRECT 4u

/* 2.7.6 "The Virtqueue Available Ring", 2.7.8 "The Virtqueue Used Ring". */
#define AVAILABLE_FLAGS 0u
#define AVAILABLE_INDEX 2u
#define AVAILABLE_RING 4u
#define AVAILABLE_NO_INTERRUPT 1u
#define USED_FLAGS 0u
#define USED_INDEX 2u
#define USED_RING 4u
#define USED_NO_NOTIFY 1u

struct used_element {
    uint32_t id;
    uint32_t bytes;
};

#define CHAIN_BYTES_MAX (4 * GIB)

static uint64_t available_bytes(const struct virtq *queue)
{
    return AVAILABLE_RING + 2u * queue->size + 2u;
}

static uint64_t used_bytes(const struct virtq *queue)
{
    return USED_RING + sizeof(struct used_element) * queue->size + 2u;
}

static uint64_t used_event_offset(const struct virtq *queue)
{
    return AVAILABLE_RING + 2u * queue->size;
}

static uint64_t available_event_offset(const struct virtq *queue)
{
    return USED_RING + sizeof(struct used_element) * queue->size;
}

void virtq_reset(struct virtq *queue, uint16_t size)
{
    *queue = (struct virtq){.size = size, .vector = 0xffff};
}

void virtq_break(struct virtq *queue, enum virtq_fault fault)
{
    if (queue->fault == VIRTQ_SOUND) {
        queue->fault = (uint8_t)fault;
    }
}

void virtq_place_legacy(struct virtq *queue, uint64_t address)
{
    queue->descriptors = address;
    queue->available = address + sizeof(struct descriptor) * queue->size;
    queue->used = align_up(queue->available + available_bytes(queue), VIRTQ_LEGACY_ALIGN);
}

static uint64_t host_of(const struct guest_memory *memory, uint64_t address, uint64_t bytes)
{
    return (uint64_t)(uintptr_t)guest_memory_pointer(memory, gpa(address), bytes);
}

bool virtq_enable(struct virtq *queue, const struct guest_memory *memory)
{
    if (queue->size == 0 || queue->size > VIRTQ_SIZE_MAX || (queue->size & (queue->size - 1)) != 0) {
        virtq_break(queue, VIRTQ_SIZE_BAD);
    } else if (!is_aligned(queue->descriptors, 16) || !is_aligned(queue->available, 2) || !is_aligned(queue->used, 4)) {
        virtq_break(queue, VIRTQ_RING_MISALIGNED);
    } else if (!guest_memory_is_ram(memory, gpa(queue->descriptors), sizeof(struct descriptor) * queue->size) ||
               !guest_memory_is_ram(memory, gpa(queue->available), available_bytes(queue)) ||
               !guest_memory_is_ram(memory, gpa(queue->used), used_bytes(queue))) {
        virtq_break(queue, VIRTQ_RING_NOT_RAM);
    }
    if (queue->fault == VIRTQ_SOUND) {
        queue->host_descriptors =
            host_of(memory, queue->descriptors, sizeof(struct descriptor) * (uint64_t)queue->size);
        queue->host_available = host_of(memory, queue->available, available_bytes(queue));
        queue->host_used = host_of(memory, queue->used, used_bytes(queue));
    }
    queue->enabled = true;
    return queue->fault == VIRTQ_SOUND;
}

/* ---- fields of the rings: naturally aligned, so none crosses a page ---- */

/* One of the rings, and a place in it. */
struct place {
    uint64_t host; /* 0: it is not in one piece */
    uint64_t ring; /* guest-physical */
    uint64_t offset;
};

static struct place in_available(const struct virtq *queue, uint64_t offset)
{
    return (struct place){queue->host_available, queue->available, offset};
}

static struct place in_used(const struct virtq *queue, uint64_t offset)
{
    return (struct place){queue->host_used, queue->used, offset};
}

static void *field_at(const struct guest_memory *memory, struct place place, uint64_t bytes)
{
    if (place.host != 0) {
        return (void *)(uintptr_t)(place.host + place.offset);
    }
    return guest_memory_pointer(memory, gpa(place.ring + place.offset), bytes);
}

static uint16_t load_word(const struct guest_memory *memory, struct place place)
{
    const uint16_t *word = field_at(memory, place, sizeof(*word));

    return word == NULL ? 0 : __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void store_word(const struct guest_memory *memory, struct place place, uint16_t value)
{
    uint16_t *word = field_at(memory, place, sizeof(*word));

    if (word != NULL) {
        __atomic_store_n(word, value, __ATOMIC_RELEASE);
    }
}

/* An indirect table may lie at any address. */
struct word_anywhere {
    uint64_t value;
} __attribute__((packed, may_alias));

/* A copy of its own: the compiler may not read the guest's memory a second time. */
static bool load_descriptor(const struct guest_memory *memory, uint64_t address, struct descriptor *copy)
{
    const volatile struct word_anywhere *words = guest_memory_quick(memory, address, sizeof(*copy));
    uint64_t rest;

    if (words == NULL) {
        words = guest_memory_pointer(memory, gpa(address), sizeof(*copy));
    }
    if (words == NULL) {
        return false;
    }
    copy->address = words[0].value;
    rest = words[1].value;
    copy->bytes = (uint32_t)rest;
    copy->flags = (uint16_t)(rest >> 32);
    copy->next = (uint16_t)(rest >> 48);
    return true;
}

/* ---- taking a chain ---- */

/* Where the walk of a chain is. */
struct walk {
    struct virtq *queue;
    const struct guest_memory *memory;
    struct virtq_chain *chain;
    uint64_t table;   /* of descriptors: the queue's, or an indirect one */
    uint32_t entries; /* of the table */
    uint32_t left;    /* descriptors that the chain may still have */
    bool in_indirect;
};

static bool is_ram(const struct guest_memory *memory, const struct descriptor *descriptor)
{
    return guest_memory_quick(memory, descriptor->address, descriptor->bytes) != NULL ||
           guest_memory_is_ram(memory, gpa(descriptor->address), descriptor->bytes);
}

static bool add_span(struct walk *walk, const struct descriptor *descriptor)
{
    struct virtq_chain *chain = walk->chain;
    struct virtq_span *span = &chain->spans[chain->readable + chain->writable];
    bool write = (descriptor->flags & DESCRIPTOR_WRITE) != 0;

    if (!write && chain->writable != 0) {
        virtq_break(walk->queue, VIRTQ_ORDER);
        return false;
    }
    if (!is_ram(walk->memory, descriptor)) {
        virtq_break(walk->queue, VIRTQ_BUFFER_NOT_RAM);
        return false;
    }
    *span = (struct virtq_span){gpa(descriptor->address), descriptor->bytes};
    if (write) {
        chain->writable++;
        chain->writable_bytes += descriptor->bytes;
    } else {
        chain->readable++;
        chain->readable_bytes += descriptor->bytes;
    }
    if (chain->readable_bytes + chain->writable_bytes > CHAIN_BYTES_MAX) {
        virtq_break(walk->queue, VIRTQ_CHAIN_BYTES);
        return false;
    }
    return true;
}

/* The table that a descriptor names takes the place of the queue's. */
static bool enter_indirect(struct walk *walk, const struct descriptor *descriptor)
{
    if (!walk->queue->indirect || walk->in_indirect || (descriptor->flags & DESCRIPTOR_NEXT) != 0) {
        virtq_break(walk->queue, VIRTQ_INDIRECT_REFUSED);
        return false;
    }
    if (descriptor->bytes == 0 || descriptor->bytes % sizeof(*descriptor) != 0) {
        virtq_break(walk->queue, VIRTQ_INDIRECT_BYTES);
        return false;
    }
    if (!is_ram(walk->memory, descriptor)) {
        virtq_break(walk->queue, VIRTQ_BUFFER_NOT_RAM);
        return false;
    }
    walk->in_indirect = true;
    walk->table = descriptor->address;
    walk->entries = descriptor->bytes / (uint32_t)sizeof(*descriptor);
    return true;
}

/* A descriptor that lies across two pieces of RAM is read bytewise. */
static bool read_descriptor(const struct walk *walk, uint32_t index, struct descriptor *descriptor)
{
    uint64_t address = walk->table + sizeof(*descriptor) * index;

    return load_descriptor(walk->memory, address, descriptor) ||
           guest_memory_read(walk->memory, gpa(address), descriptor, sizeof(*descriptor));
}

static bool walk_chain(struct walk *walk, uint32_t index)
{
    for (;;) {
        struct descriptor descriptor;

        if (walk->left-- == 0) {
            virtq_break(walk->queue, VIRTQ_CHAIN_LONG);
            return false;
        }
        if (!read_descriptor(walk, index, &descriptor)) {
            virtq_break(walk->queue, VIRTQ_RING_NOT_RAM);
            return false;
        }
        if ((descriptor.flags & DESCRIPTOR_INDIRECT) != 0) {
            if (!enter_indirect(walk, &descriptor)) {
                return false;
            }
            walk->left++; /* it is no buffer itself */
            index = 0;
            continue;
        }
        if (!add_span(walk, &descriptor)) {
            return false;
        }
        if ((descriptor.flags & DESCRIPTOR_NEXT) == 0) {
            return true;
        }
        index = descriptor.next;
        if (index >= walk->entries) {
            virtq_break(walk->queue, VIRTQ_NEXT_BEYOND);
            return false;
        }
    }
}

/* How many chains the driver has made available, or -1 where it says what cannot be. */
static int32_t count_available(struct virtq *queue, const struct guest_memory *memory)
{
    if (queue->seen_available == queue->next_available) {
        queue->seen_available = load_word(memory, in_available(queue, AVAILABLE_INDEX));
    }
    if ((uint16_t)(queue->seen_available - queue->next_available) > queue->size) {
        virtq_break(queue, VIRTQ_AVAIL_JUMPS);
        return -1;
    }
    return (uint16_t)(queue->seen_available - queue->next_available);
}

enum virtq_result virtq_pop(struct virtq *queue, const struct guest_memory *memory, struct virtq_chain *chain)
{
    struct walk walk = {.queue = queue,
                        .memory = memory,
                        .chain = chain,
                        .table = queue->descriptors,
                        .entries = queue->size,
                        .left = queue->size};
    int32_t count;

    if (!queue->enabled || queue->fault != VIRTQ_SOUND) {
        return queue->fault != VIRTQ_SOUND ? VIRTQ_BROKEN : VIRTQ_EMPTY;
    }
    count = count_available(queue, memory);
    if (count <= 0) {
        return count == 0 ? VIRTQ_EMPTY : VIRTQ_BROKEN;
    }
    chain->readable = chain->writable = 0;
    chain->readable_bytes = chain->writable_bytes = 0;
    chain->head = load_word(
        memory, in_available(queue, AVAILABLE_RING + 2u * (queue->next_available & (uint16_t)(queue->size - 1u))));
    if (chain->head >= queue->size) {
        virtq_break(queue, VIRTQ_HEAD_BEYOND);
        return VIRTQ_BROKEN;
    }
    if (!walk_chain(&walk, chain->head)) {
        return VIRTQ_BROKEN;
    }
    queue->next_available++;
    return VIRTQ_CHAIN;
}

void virtq_unpop(struct virtq *queue)
{
    queue->next_available--;
}

/* ---- giving it back ---- */

void virtq_push(struct virtq *queue, const struct guest_memory *memory, uint16_t head, uint32_t written)
{
    uint64_t at = USED_RING + sizeof(struct used_element) * (queue->next_used & (uint16_t)(queue->size - 1u));
    uint64_t *element = field_at(memory, in_used(queue, at), sizeof(struct used_element));

    if (element != NULL) {
        ((struct word_anywhere *)element)->value = (uint64_t)written << 32 | head;
    }
    queue->next_used++;
    store_word(memory, in_used(queue, USED_INDEX), queue->next_used); /* releases the element and the buffers' bytes */
}

/* 2.7.10 "Used Buffer Notification Suppression": has the index passed the event since the last time? */
static bool has_passed(uint16_t event, uint16_t now, uint16_t before)
{
    return (uint16_t)(now - event - 1u) < (uint16_t)(now - before);
}

bool virtq_wants_interrupt(struct virtq *queue, const struct guest_memory *memory)
{
    uint16_t before = queue->signalled_used;

    if (before == queue->next_used) {
        return false;
    }
    queue->signalled_used = queue->next_used;
    /* The driver writes its wish and then looks at the index; here it is the other way round, with a fence on both
     * sides, so one of the two sees the other's. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (queue->event_index) {
        return has_passed(load_word(memory, in_available(queue, used_event_offset(queue))), queue->next_used, before);
    }
    return (load_word(memory, in_available(queue, AVAILABLE_FLAGS)) & AVAILABLE_NO_INTERRUPT) == 0;
}

bool virtq_rearm(struct virtq *queue, const struct guest_memory *memory)
{
    if (!queue->enabled || queue->fault != VIRTQ_SOUND) {
        return false;
    }
    if (queue->event_index) {
        store_word(memory, in_used(queue, available_event_offset(queue)), queue->next_available);
    } else {
        store_word(memory, in_used(queue, USED_FLAGS), 0);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return load_word(memory, in_available(queue, AVAILABLE_INDEX)) != queue->next_available;
}

/* With event indices there is nothing to do: an index that has been passed asks for nothing. */
void virtq_disarm(struct virtq *queue, const struct guest_memory *memory)
{
    if (queue->enabled && queue->fault == VIRTQ_SOUND && !queue->event_index) {
        store_word(memory, in_used(queue, USED_FLAGS), USED_NO_NOTIFY);
    }
}

const char *virtq_fault_sentence(enum virtq_fault fault)
{
    static const char *const sentences[VIRTQ_FAULTS] = {
        [VIRTQ_SOUND] = "nothing",
        [VIRTQ_RING_NOT_RAM] = "its rings are not in the guest's RAM (Virtio 1.2, 2.7)",
        [VIRTQ_RING_MISALIGNED] = "its rings are not aligned (Virtio 1.2, 2.7)",
        [VIRTQ_SIZE_BAD] = "its size is not one that the device offers (Virtio 1.2, 2.7)",
        [VIRTQ_AVAIL_JUMPS] = "more chains are available than it has descriptors (Virtio 1.2, 2.7.6)",
        [VIRTQ_HEAD_BEYOND] = "a chain begins with a descriptor that it does not have (Virtio 1.2, 2.7.6)",
        [VIRTQ_NEXT_BEYOND] = "a descriptor names a next one that there is not (Virtio 1.2, 2.7.5)",
        [VIRTQ_CHAIN_LONG] = "a chain is longer than the queue (Virtio 1.2, 2.7.5.3.1)",
        [VIRTQ_CHAIN_BYTES] = "a chain has more than 4 GiB (Virtio 1.2, 2.7.4.2)",
        [VIRTQ_BUFFER_NOT_RAM] = "a buffer is not in the guest's RAM (Virtio 1.2, 2.7.5)",
        [VIRTQ_ORDER] = "a buffer to read stands behind one to write (Virtio 1.2, 2.7.4.2)",
        [VIRTQ_INDIRECT_REFUSED] = "an indirect table stands where none may be (Virtio 1.2, 2.7.5.3.1)",
        [VIRTQ_INDIRECT_BYTES] = "an indirect table has no whole number of descriptors (Virtio 1.2, 2.7.5.3.1)",
        [VIRTQ_REQUEST] = "a request lacks its header or its status (Virtio 1.2, 5)",
    };

    return sentences[fault];
}

/* ---- the bytes of a chain ---- */

struct virtq_cursor virtq_readable(const struct virtq_chain *chain)
{
    return (struct virtq_cursor){.span = 0, .end = chain->readable};
}

struct virtq_cursor virtq_writable(const struct virtq_chain *chain)
{
    return (struct virtq_cursor){.span = chain->readable, .end = (uint16_t)(chain->readable + chain->writable)};
}

/* Steps over spans that are used up, and empty ones. False: the end. */
static bool cursor_settle(const struct virtq_chain *chain, struct virtq_cursor *cursor)
{
    while (cursor->span < cursor->end && cursor->offset == chain->spans[cursor->span].bytes) {
        cursor->span++;
        cursor->offset = 0;
    }
    return cursor->span < cursor->end;
}

uint8_t *virtq_piece(const struct guest_memory *memory, const struct virtq_chain *chain, struct virtq_cursor *cursor,
                     uint64_t bytes, uint64_t *piece)
{
    const struct virtq_span *span;
    uint64_t address;
    uint8_t *host;

    if (bytes == 0 || !cursor_settle(chain, cursor)) {
        return NULL;
    }
    span = &chain->spans[cursor->span];
    address = span->start.value + cursor->offset;
    *piece = min_u64(bytes, span->bytes - cursor->offset);
    host = guest_memory_quick(memory, address, *piece);
    if (host == NULL) {
        host = guest_memory_piece(memory, gpa(address), *piece, piece);
    }
    if (host != NULL) {
        cursor->offset += (uint32_t)*piece;
    }
    return host;
}

/* The usual case: all of them lie in the span where the cursor is. NULL: perhaps not. */
static uint8_t *whole_piece(const struct guest_memory *memory, const struct virtq_chain *chain,
                            struct virtq_cursor *cursor, uint64_t bytes)
{
    const struct virtq_span *span = &chain->spans[cursor->span];
    uint8_t *host;

    if (cursor->span == cursor->end || bytes > span->bytes - cursor->offset) {
        return NULL;
    }
    host = guest_memory_quick(memory, span->start.value + cursor->offset, bytes);
    if (host != NULL) {
        cursor->offset += (uint32_t)bytes;
    }
    return host;
}

uint64_t virtq_gather(const struct guest_memory *memory, const struct virtq_chain *chain, struct virtq_cursor *cursor,
                      void *to, uint64_t bytes)
{
    const uint8_t *from = whole_piece(memory, chain, cursor, bytes);
    uint64_t done = 0, piece = 0;

    if (from != NULL) {
        memcpy(to, from, (size_t)bytes);
        return bytes;
    }
    while (done < bytes && (from = virtq_piece(memory, chain, cursor, bytes - done, &piece)) != NULL) {
        memcpy((uint8_t *)to + done, from, (size_t)piece);
        done += piece;
    }
    return done;
}

uint64_t virtq_scatter(const struct guest_memory *memory, const struct virtq_chain *chain, struct virtq_cursor *cursor,
                       const void *from, uint64_t bytes)
{
    uint64_t done = 0, piece = 0;
    uint8_t *to;

    while (done < bytes && (to = virtq_piece(memory, chain, cursor, bytes - done, &piece)) != NULL) {
        memcpy(to, (const uint8_t *)from + done, (size_t)piece);
        done += piece;
    }
    return done;
}

uint64_t virtq_skip(const struct virtq_chain *chain, struct virtq_cursor *cursor, uint64_t bytes)
{
    uint64_t done = 0;

    while (done < bytes && cursor_settle(chain, cursor)) {
        uint64_t step = min_u64(bytes - done, chain->spans[cursor->span].bytes - cursor->offset);

        cursor->offset += (uint32_t)step;
        done += step;
    }
    return done;
}
