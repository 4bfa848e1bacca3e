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
static struct descriptor copy_descriptor(const volatile struct word_anywhere *words)
{
    uint64_t rest = words[1].value;

    return (struct descriptor){.address = words[0].value,
                               .bytes = (uint32_t)rest,
                               .flags = (uint16_t)(rest >> 32),
                               .next = (uint16_t)(rest >> 48)};
}

/* ---- taking a chain ---- */

/* Where the walk of a chain is. */
struct walk {
    const struct virtq *queue;
    const struct guest_memory *memory;
    uint64_t table;                            /* of descriptors: the queue's, or an indirect one */
    const volatile struct word_anywhere *host; /* where the host has it; NULL: not in one piece, perhaps */
    uint32_t entries;                          /* of the table */
    bool in_indirect;
};

static bool is_ram(const struct guest_memory *memory, struct descriptor descriptor)
{
    return guest_memory_quick(memory, descriptor.address, descriptor.bytes) != NULL ||
           guest_memory_is_ram(memory, gpa(descriptor.address), descriptor.bytes);
}

/* What a chain has so far. */
struct sums {
    uint32_t spans, readable;
    uint64_t bytes, readable_bytes;
};

static enum virtq_fault add_span(const struct walk *walk, struct virtq_span *spans, struct sums *sums,
                                 struct descriptor descriptor)
{
    if (!is_ram(walk->memory, descriptor)) {
        return VIRTQ_BUFFER_NOT_RAM;
    }
    if ((descriptor.flags & DESCRIPTOR_WRITE) == 0) {
        if (sums->readable != sums->spans) {
            return VIRTQ_ORDER;
        }
        sums->readable++;
        sums->readable_bytes += descriptor.bytes;
    }
    spans[sums->spans].start = gpa(descriptor.address);
    spans[sums->spans].bytes = descriptor.bytes;
    sums->spans++;
    sums->bytes += descriptor.bytes;
    return sums->bytes > CHAIN_BYTES_MAX ? VIRTQ_CHAIN_BYTES : VIRTQ_SOUND;
}

/* The table that a descriptor names takes the place of the queue's. */
static enum virtq_fault enter_indirect(struct walk *walk, struct descriptor descriptor)
{
    if (!walk->queue->indirect || walk->in_indirect || (descriptor.flags & DESCRIPTOR_NEXT) != 0) {
        return VIRTQ_INDIRECT_REFUSED;
    }
    if (descriptor.bytes == 0 || descriptor.bytes % sizeof(descriptor) != 0) {
        return VIRTQ_INDIRECT_BYTES;
    }
    if (!is_ram(walk->memory, descriptor)) {
        return VIRTQ_BUFFER_NOT_RAM;
    }
    walk->in_indirect = true;
    walk->table = descriptor.address;
    walk->host = guest_memory_quick(walk->memory, descriptor.address, descriptor.bytes);
    walk->entries = descriptor.bytes / (uint32_t)sizeof(descriptor);
    return VIRTQ_SOUND;
}

/* Not in one piece with its table: at a border of two pieces of RAM it is read bytewise. */
static bool find_descriptor(const struct walk *walk, uint32_t index, struct descriptor *descriptor)
{
    uint64_t address = walk->table + sizeof(*descriptor) * index;
    const volatile struct word_anywhere *words = guest_memory_pointer(walk->memory, gpa(address), sizeof(*descriptor));

    if (words == NULL) {
        return guest_memory_read(walk->memory, gpa(address), descriptor, sizeof(*descriptor));
    }
    *descriptor = copy_descriptor(words);
    return true;
}

static void keep_sums(struct virtq_chain *chain, const struct sums *sums)
{
    chain->readable = (uint16_t)sums->readable;
    chain->writable = (uint16_t)(sums->spans - sums->readable);
    chain->readable_bytes = sums->readable_bytes;
    chain->writable_bytes = sums->bytes - sums->readable_bytes;
}

/* `index` is below walk->entries, here and at each turn; and no chain has more spans than the queue has descriptors. */
static enum virtq_fault walk_chain(struct walk *walk, uint32_t index, struct virtq_chain *chain)
{
    struct sums sums = {0};

    for (;;) {
        struct descriptor descriptor, found;
        enum virtq_fault fault;

        if (sums.spans == walk->queue->size) {
            return VIRTQ_CHAIN_LONG;
        }
        if (walk->host != NULL) {
            descriptor = copy_descriptor(walk->host + 2 * (uint64_t)index);
        } else if (find_descriptor(walk, index, &found)) {
            descriptor = found;
        } else {
            return VIRTQ_RING_NOT_RAM;
        }
        if ((descriptor.flags & DESCRIPTOR_INDIRECT) != 0) {
            fault = enter_indirect(walk, descriptor);
            index = 0; /* and it is no buffer itself */
        } else {
            fault = add_span(walk, chain->spans, &sums, descriptor);
            index = descriptor.next;
        }
        if (fault != VIRTQ_SOUND) {
            return fault;
        }
        if ((descriptor.flags & (DESCRIPTOR_INDIRECT | DESCRIPTOR_NEXT)) == 0) {
            keep_sums(chain, &sums);
            return VIRTQ_SOUND;
        }
        if (index >= walk->entries) {
            return VIRTQ_NEXT_BEYOND;
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
                        .table = queue->descriptors,
                        .host = (const volatile struct word_anywhere *)(uintptr_t)queue->host_descriptors,
                        .entries = queue->size};
    enum virtq_fault fault;
    int32_t count;

    if (!queue->enabled || queue->fault != VIRTQ_SOUND) {
        return queue->fault != VIRTQ_SOUND ? VIRTQ_BROKEN : VIRTQ_EMPTY;
    }
    count = count_available(queue, memory);
    if (count <= 0) {
        return count == 0 ? VIRTQ_EMPTY : VIRTQ_BROKEN;
    }
    chain->head = load_word(
        memory, in_available(queue, AVAILABLE_RING + 2u * (queue->next_available & (uint16_t)(queue->size - 1u))));
    if (chain->head >= queue->size) {
        virtq_break(queue, VIRTQ_HEAD_BEYOND);
        return VIRTQ_BROKEN;
    }
    fault = walk_chain(&walk, chain->head, chain);
    if (fault != VIRTQ_SOUND) {
        virtq_break(queue, fault);
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

bool virtq_put_last(const struct guest_memory *memory, const struct virtq_chain *chain, uint8_t value)
{
    uint32_t end = chain->readable + chain->writable;

    while (end > chain->readable && chain->spans[end - 1].bytes == 0) {
        end--;
    }
    if (end > chain->readable) {
        const struct virtq_span *span = &chain->spans[end - 1];
        uint8_t *byte = guest_memory_quick(memory, span->start.value + span->bytes - 1, 1);

        if (byte == NULL) {
            byte = guest_memory_pointer(memory, gpa(span->start.value + span->bytes - 1), 1);
        }
        if (byte != NULL) {
            *byte = value;
        }
        return byte != NULL;
    }
    return false;
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
