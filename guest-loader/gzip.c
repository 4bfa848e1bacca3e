/* SPDX-License-Identifier: MIT */
/*
 * Inflate. RFC 1952 is the file around it, RFC 1951 the compressed data: blocks of literal bytes and of (length,
 * distance) pairs, each block with Huffman codes of its own.
 *
 *   | header, name | blocks ... | CRC-32 of what comes out | its length |
 *
 * A code is looked up by the next GZIP_FAST_BITS bits of the input; the rare longer ones are found by counting: codes
 * of one length are consecutive numbers, so that each length needs its first code and how many there are. Nothing is
 * written but `to`, in order; copies read only what has been written. Every loop consumes input or produces output,
 * both of which are bounded.
 *
 * Where a sink takes what comes out, `to` is a window of it: before it is full, all but the last 32 KiB, which copies
 * may reach (RFC 1951 2 "Compressed representation overview"), go to the sink, and the rest moves to the start.
 */
#include "guest-loader/gzip.h"

#include "hv/base/format.h"
#include "hv/base/memory.h"

/* RFC 1952 2.3 "Member format". */
#define MAGIC_1 0x1fu
#define MAGIC_2 0x8bu
#define METHOD_DEFLATE 8u
#define HEADER_BYTES 10u
#define TRAILER_BYTES 8u
#define FLAG_HEADER_CRC 2u
#define FLAG_EXTRA 4u
#define FLAG_NAME 8u
#define FLAG_COMMENT 16u
#define FLAGS_KNOWN 0x1fu

/* RFC 1951 3.2.5 to 3.2.7. No input byte makes more than 1032 of output: 258 by two bits. */
#define CODE_BITS_MAX 15u
#define LITERALS_MAX 288u
#define LITERALS_USED_MAX 286u
#define DISTANCES_MAX 32u
#define DISTANCES_USED_MAX 30u
#define LENGTH_CODES 19u
#define END_OF_BLOCK 256u
#define RATIO_MAX 1032u

#define GZIP_FAST_BITS 9u
#define FAST_ENTRIES (1u << GZIP_FAST_BITS)
#define FAST_LENGTH_BITS 4u

struct code {
    uint16_t fast[FAST_ENTRIES]; /* symbol and length; 0: longer, or none */
    uint16_t counts[CODE_BITS_MAX + 1];
    uint16_t symbols[LITERALS_MAX]; /* in the order of their codes */
};
_Static_assert((LITERALS_MAX << FAST_LENGTH_BITS) <= 0xffff, "a symbol and its length are 16 bits");

#define CRC_BYTES 4u

struct crc_tables {
    uint32_t of[CRC_BYTES][256];
};

struct inflate {
    struct span file;
    uint64_t at;  /* of the next byte that is not in `hold` */
    uint64_t end; /* of the compressed data */
    uint64_t hold;
    uint32_t held; /* bits */
    uint8_t *to;
    uint64_t made, bytes;         /* from the start of `to` on */
    uint64_t slide_at;            /* with so many bytes the window moves on; UINT64_MAX: it is none */
    const struct gzip_sink *sink; /* NULL: there is none */
    uint32_t crc;                 /* of what the sink has taken */
    struct crc_tables tables;
    struct load_error *error;
};

#define REACH_BYTES (32u * 1024u)
#define STEP_BYTES_MAX 65535u /* what is made between two looks at slide_at: a stored block */
#define SLIDE_AT (GZIP_WINDOW_BYTES - STEP_BYTES_MAX)
_Static_assert(SLIDE_AT > REACH_BYTES, "something is given away each time");

static enum status fail_at(struct load_error *error, uint64_t offset, const char *sentence)
{
    error->offset = offset;
    format_text(error->sentence, sizeof(error->sentence), "gzip: %s", sentence);
    return STATUS_MALFORMED;
}

static enum status fail(const struct inflate *inflate, const char *sentence)
{
    return fail_at(inflate->error, inflate->at - inflate->held / 8, sentence);
}

/* ---- What comes out ---- */

/*
 * RFC 1952 8 "Appendix: Sample CRC Code" has the polynomial and the table for one byte. of[k] is for a byte with k more
 * behind it, so that four are looked up at once.
 */
#define CRC_POLYNOMIAL 0xedb88320u

struct word32 {
    uint32_t value;
} __attribute__((packed, may_alias));

static void crc_tables_make(struct crc_tables *tables)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;

        for (uint32_t bit = 0; bit < 8; bit++) {
            crc = (crc & 1) != 0 ? crc >> 1 ^ CRC_POLYNOMIAL : crc >> 1;
        }
        tables->of[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; byte++) {
        for (uint32_t k = 1; k < CRC_BYTES; k++) {
            uint32_t before = tables->of[k - 1][byte];

            tables->of[k][byte] = before >> 8 ^ tables->of[0][before & 0xff];
        }
    }
}

static uint32_t crc32_more(const struct crc_tables *tables, uint32_t crc, const uint8_t *bytes, uint64_t count)
{
    uint64_t at = 0;

    crc = ~crc;
    for (; count - at >= CRC_BYTES; at += CRC_BYTES) {
        crc ^= ((const struct word32 *)(const void *)(bytes + at))->value;
        crc = tables->of[3][crc & 0xff] ^ tables->of[2][crc >> 8 & 0xff] ^ tables->of[1][crc >> 16 & 0xff] ^
              tables->of[0][crc >> 24];
    }
    for (; at < count; at++) {
        crc = crc >> 8 ^ tables->of[0][(crc ^ bytes[at]) & 0xff];
    }
    return ~crc;
}

/* All but the last `kept` bytes go to the sink. */
static bool give(struct inflate *inflate, uint64_t kept)
{
    uint64_t count = inflate->made - kept;

    inflate->crc = crc32_more(&inflate->tables, inflate->crc, inflate->to, count);
    if (!inflate->sink->take(inflate->sink->context, inflate->to, count)) {
        return false;
    }
    memcpy(inflate->to, inflate->to + count, (size_t)kept);
    inflate->made -= count;
    inflate->bytes -= count;
    return true;
}

/* Before something is made: there is room for STEP_BYTES_MAX. False: the sink has none. */
static bool make_room(struct inflate *inflate)
{
    return inflate->made < inflate->slide_at || give(inflate, REACH_BYTES);
}

/* ---- Bits: from the lowest of each byte. RFC 1951 3.1.1 ---- */

static void refill(struct inflate *inflate)
{
    while (inflate->held <= 56 && inflate->at < inflate->end) {
        inflate->hold |= (uint64_t)inflate->file.base[inflate->at++] << inflate->held;
        inflate->held += 8;
    }
}

static void drop(struct inflate *inflate, uint32_t bits)
{
    inflate->hold >>= bits;
    inflate->held -= bits;
}

/* At most 16 bits as a number. */
static bool take(struct inflate *inflate, uint32_t bits, uint32_t *value)
{
    refill(inflate);
    if (inflate->held < bits) {
        return false;
    }
    *value = (uint32_t)inflate->hold & ((1u << bits) - 1);
    drop(inflate, bits);
    return true;
}

/* ---- Codes ---- */

/* Every code of at most GZIP_FAST_BITS, with all that may follow it. Codes come with their first bit first. */
static void fill_fast(struct code *code, uint32_t number, uint32_t length, uint32_t symbol)
{
    uint32_t reversed = 0;

    for (uint32_t i = 0; i < length; i++) {
        reversed |= (number >> i & 1) << (length - 1 - i);
    }
    for (; reversed < FAST_ENTRIES; reversed += 1u << length) {
        code->fast[reversed] = (uint16_t)(symbol << FAST_LENGTH_BITS | length);
    }
}

/* False: more codes than there are numbers, or too few; none at all is allowed, and where the caller says so a lone one
 * of one bit. */
static bool counts_allowed(const struct code *code, bool lone_allowed)
{
    int32_t left = 1;
    uint32_t used = 0;

    for (uint32_t length = 1; length <= CODE_BITS_MAX; length++) {
        left = left * 2 - code->counts[length];
        used += code->counts[length];
        if (left < 0) {
            return false;
        }
    }
    return left == 0 || used == 0 || (lone_allowed && used == 1 && code->counts[1] == 1);
}

/* RFC 1951 3.2.2 "Use of Huffman coding in the 'deflate' format". */
static bool code_make(struct code *code, const uint8_t *lengths, uint32_t count, bool lone_allowed)
{
    uint16_t index[CODE_BITS_MAX + 2] = {0};
    uint32_t next[CODE_BITS_MAX + 2] = {0};

    memset(code, 0, sizeof(*code));
    for (uint32_t i = 0; i < count; i++) {
        code->counts[lengths[i]]++;
    }
    code->counts[0] = 0;
    if (!counts_allowed(code, lone_allowed)) {
        return false;
    }
    for (uint32_t length = 1; length <= CODE_BITS_MAX; length++) {
        index[length + 1] = (uint16_t)(index[length] + code->counts[length]);
        next[length + 1] = (next[length] + code->counts[length]) << 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t length = lengths[i];

        if (length != 0) {
            code->symbols[index[length]++] = (uint16_t)i;
            if (length <= GZIP_FAST_BITS) {
                fill_fast(code, next[length], length, i);
            }
            next[length]++;
        }
    }
    return true;
}

static bool take_symbol_slowly(struct inflate *inflate, const struct code *code, uint32_t *symbol)
{
    uint32_t number = 0, first = 0, index = 0;

    for (uint32_t length = 1; length <= CODE_BITS_MAX && length <= inflate->held; length++) {
        uint32_t count = code->counts[length];

        number |= (uint32_t)(inflate->hold >> (length - 1)) & 1;
        if (number - first < count) {
            *symbol = code->symbols[index + number - first];
            drop(inflate, length);
            return true;
        }
        index += count;
        first = (first + count) << 1;
        number <<= 1;
    }
    return false;
}

static bool take_symbol(struct inflate *inflate, const struct code *code, uint32_t *symbol)
{
    uint32_t entry;

    refill(inflate);
    entry = code->fast[inflate->hold & (FAST_ENTRIES - 1)];
    if (entry == 0 || (entry & ((1u << FAST_LENGTH_BITS) - 1)) > inflate->held) {
        return take_symbol_slowly(inflate, code, symbol);
    }
    *symbol = entry >> FAST_LENGTH_BITS;
    drop(inflate, entry & ((1u << FAST_LENGTH_BITS) - 1));
    return true;
}

/* ---- Blocks ---- */

static const char *const ends_early = "the compressed data end in the middle";
static const char *const is_longer = "it expands to more than its trailer says";

/* RFC 1951 3.2.4 "Non-compressed blocks". */
static enum status stored_block(struct inflate *inflate)
{
    uint32_t length, complement;

    drop(inflate, inflate->held & 7);
    if (!take(inflate, 16, &length) || !take(inflate, 16, &complement)) {
        return fail(inflate, ends_early);
    }
    if ((length ^ complement) != 0xffff) {
        return fail(inflate, "the length of a stored block is damaged");
    }
    inflate->at -= inflate->held / 8;
    inflate->hold = 0;
    inflate->held = 0;
    if (length > inflate->end - inflate->at) {
        return fail(inflate, ends_early);
    }
    if (length > inflate->bytes - inflate->made) {
        return fail(inflate, is_longer);
    }
    if (!make_room(inflate)) {
        return STATUS_NO_MEMORY;
    }
    memcpy(inflate->to + inflate->made, inflate->file.base + inflate->at, (size_t)length);
    inflate->at += length;
    inflate->made += length;
    return STATUS_OK;
}

/* RFC 1951 3.2.5 "Compressed blocks": symbol 257 + i means base[i] and extra[i] more bits. */
static const uint16_t length_base[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                       31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t length_extra[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                       2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t distance_base[] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                         33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                         1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
static const uint8_t distance_extra[] = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                         6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};
_Static_assert(ARRAY_COUNT(length_base) == ARRAY_COUNT(length_extra), "lengths");
_Static_assert(ARRAY_COUNT(distance_base) == DISTANCES_USED_MAX, "distances");

struct word64 {
    uint64_t value;
} __attribute__((packed, may_alias));

/* What is copied may be copied again: by words where the two do not overlap in one. */
static void copy_back(uint8_t *to, uint32_t distance, uint32_t length)
{
    const uint8_t *from = to - distance;
    uint32_t done = 0;

    if (distance == 1) {
        memset(to, *from, length);
        return;
    }
    for (; distance >= sizeof(struct word64) && length - done >= sizeof(struct word64); done += sizeof(struct word64)) {
        *(struct word64 *)(void *)(to + done) = *(const struct word64 *)(const void *)(from + done);
    }
    for (; done < length; done++) {
        to[done] = from[done];
    }
}

static enum status copy_match(struct inflate *inflate, const struct code *distances, uint32_t symbol)
{
    uint32_t index = symbol - END_OF_BLOCK - 1, more, length, distance;

    if (index >= ARRAY_COUNT(length_base)) {
        return fail(inflate, "a length has a code that does not exist");
    }
    if (!take(inflate, length_extra[index], &more)) {
        return fail(inflate, ends_early);
    }
    length = length_base[index] + more;
    if (!take_symbol(inflate, distances, &index) || index >= DISTANCES_USED_MAX) {
        return fail(inflate, "a distance has a code that does not exist");
    }
    if (!take(inflate, distance_extra[index], &more)) {
        return fail(inflate, ends_early);
    }
    distance = distance_base[index] + more;
    if (distance > inflate->made) {
        return fail(inflate, "a copy starts before the beginning of the image");
    }
    if (length > inflate->bytes - inflate->made) {
        return fail(inflate, is_longer);
    }
    copy_back(inflate->to + inflate->made, distance, length);
    inflate->made += length;
    return STATUS_OK;
}

static enum status coded_block(struct inflate *inflate, const struct code *literals, const struct code *distances)
{
    for (;;) {
        uint32_t symbol;
        enum status status;

        if (!make_room(inflate)) {
            return STATUS_NO_MEMORY;
        }
        if (!take_symbol(inflate, literals, &symbol)) {
            return fail(inflate, "the data end in the middle, or have a code that does not exist");
        }
        if (symbol == END_OF_BLOCK) {
            return STATUS_OK;
        }
        if (symbol > END_OF_BLOCK) {
            status = copy_match(inflate, distances, symbol);
            if (status != STATUS_OK) {
                return status;
            }
        } else if (inflate->made == inflate->bytes) {
            return fail(inflate, is_longer);
        } else {
            inflate->to[inflate->made++] = (uint8_t)symbol;
        }
    }
}

/* RFC 1951 3.2.6 "Compression with fixed Huffman codes". */
static void fixed_lengths(uint8_t *literals, uint8_t *distances)
{
    for (uint32_t i = 0; i < LITERALS_MAX; i++) {
        literals[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    }
    memset(distances, 5, DISTANCES_MAX);
}

/* Code lengths 16 to 18 repeat: the last one, or zero. RFC 1951 3.2.7. False: there is none, or too many. */
static bool repeat_length(struct inflate *inflate, uint32_t symbol, uint8_t *lengths, uint32_t *at, uint32_t count)
{
    static const uint8_t base[] = {3, 3, 11}, extra[] = {2, 3, 7};
    uint32_t times;
    uint8_t value = 0;

    if (!take(inflate, extra[symbol - 16], &times) || (symbol == 16 && *at == 0)) {
        return false;
    }
    times += base[symbol - 16];
    if (times > count - *at) {
        return false;
    }
    value = symbol == 16 ? lengths[*at - 1] : 0;
    memset(lengths + *at, value, times);
    *at += times;
    return true;
}

static bool read_lengths(struct inflate *inflate, struct code *code, uint32_t code_count, uint8_t *lengths,
                         uint32_t count)
{
    static const uint8_t order[LENGTH_CODES] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    uint8_t code_lengths[LENGTH_CODES] = {0};
    uint32_t at = 0;

    for (uint32_t i = 0; i < code_count; i++) {
        uint32_t length;

        if (!take(inflate, 3, &length)) {
            return false;
        }
        code_lengths[order[i]] = (uint8_t)length;
    }
    if (!code_make(code, code_lengths, LENGTH_CODES, false)) {
        return false;
    }
    while (at < count) {
        uint32_t symbol;

        if (!take_symbol(inflate, code, &symbol)) {
            return false;
        }
        if (symbol < 16) {
            lengths[at++] = (uint8_t)symbol;
        } else if (!repeat_length(inflate, symbol, lengths, &at, count)) {
            return false;
        }
    }
    return true;
}

/* RFC 1951 3.2.7 "Compression with dynamic Huffman codes". A lone code of one bit is allowed for the distances and, as
 * other decoders have it, for the literals; for the lengths it would leave out half of the numbers. */
static enum status dynamic_codes(struct inflate *inflate, struct code *literals, struct code *distances)
{
    uint8_t lengths[LITERALS_USED_MAX + DISTANCES_USED_MAX + 4] = {0};
    uint32_t literal_count, distance_count, code_count;

    if (!take(inflate, 5, &literal_count) || !take(inflate, 5, &distance_count) || !take(inflate, 4, &code_count)) {
        return fail(inflate, ends_early);
    }
    literal_count += 257;
    distance_count += 1;
    if (literal_count > LITERALS_USED_MAX || distance_count > DISTANCES_USED_MAX) {
        return fail(inflate, "a block has more codes than there are symbols");
    }
    if (!read_lengths(inflate, distances, code_count + 4, lengths, literal_count + distance_count)) {
        return fail(inflate, "the code lengths of a block are damaged");
    }
    if (lengths[END_OF_BLOCK] == 0 || !code_make(literals, lengths, literal_count, true) ||
        !code_make(distances, lengths + literal_count, distance_count, true)) {
        return fail(inflate, "the codes of a block are no complete set");
    }
    return STATUS_OK;
}

static enum status huffman_block(struct inflate *inflate, bool dynamic)
{
    struct code literals, distances;
    enum status status = STATUS_OK;

    if (dynamic) {
        status = dynamic_codes(inflate, &literals, &distances);
    } else {
        uint8_t lengths[LITERALS_MAX + DISTANCES_MAX];

        fixed_lengths(lengths, lengths + LITERALS_MAX);
        (void)code_make(&literals, lengths, LITERALS_MAX, true);
        (void)code_make(&distances, lengths + LITERALS_MAX, DISTANCES_MAX, true);
    }
    return status == STATUS_OK ? coded_block(inflate, &literals, &distances) : status;
}

/* RFC 1951 3.2.3 "Details of block format". */
static enum status all_blocks(struct inflate *inflate)
{
    uint32_t last = 0, type;
    enum status status = STATUS_OK;

    while (last == 0 && status == STATUS_OK) {
        if (!take(inflate, 1, &last) || !take(inflate, 2, &type)) {
            return fail(inflate, ends_early);
        }
        if (type == 3) {
            return fail(inflate, "a block has type 3, which does not exist");
        }
        status = type == 0 ? stored_block(inflate) : huffman_block(inflate, type == 2);
    }
    inflate->at -= inflate->held / 8;
    inflate->held = 0;
    return status;
}

/* ---- The file ---- */

bool gzip_recognize(struct span file)
{
    return file.bytes >= 3 && file.base[0] == MAGIC_1 && file.base[1] == MAGIC_2 && file.base[2] == METHOD_DEFLATE;
}

/* Behind a text that ends with a zero. */
static bool skip_text(struct span file, uint64_t *at)
{
    uint8_t byte = 1;

    while (byte != 0 && span_read_u8(file, *at, &byte)) {
        (*at)++;
    }
    return byte == 0;
}

static uint16_t header_check(const uint8_t *bytes, uint64_t count)
{
    struct crc_tables tables;

    crc_tables_make(&tables);
    return (uint16_t)crc32_more(&tables, 0, bytes, count);
}

static enum status skip_header(struct span file, uint64_t *at, struct load_error *error)
{
    uint16_t extra = 0, check;
    uint8_t flags;

    *at = HEADER_BYTES;
    if (!gzip_recognize(file) || !span_read_u8(file, 3, &flags) || file.bytes < HEADER_BYTES + TRAILER_BYTES) {
        return fail_at(error, 0, "the file is shorter than a header and a trailer");
    }
    if ((flags & ~FLAGS_KNOWN) != 0) {
        return fail_at(error, 3, "the header has flags that do not exist");
    }
    if ((flags & FLAG_EXTRA) != 0) {
        if (!span_read_u16(file, *at, &extra) || !span_holds(file, *at + 2, extra)) {
            return fail_at(error, *at, "the header's extra field passes the end of the file");
        }
        *at += 2u + extra;
    }
    if (((flags & FLAG_NAME) != 0 && !skip_text(file, at)) || ((flags & FLAG_COMMENT) != 0 && !skip_text(file, at))) {
        return fail_at(error, HEADER_BYTES, "the header's name or comment has no end");
    }
    if ((flags & FLAG_HEADER_CRC) != 0) {
        if (!span_read_u16(file, *at, &check) || check != header_check(file.base, *at)) {
            return fail_at(error, *at, "the checksum of the header is wrong: the file is damaged");
        }
        *at += 2;
    }
    if (!span_holds(file, *at, TRAILER_BYTES)) {
        return fail_at(error, *at, "the file ends within the header");
    }
    return STATUS_OK;
}

enum status gzip_size(struct span file, uint64_t *bytes, struct load_error *error)
{
    uint32_t length = 0;
    uint64_t at;
    enum status status = skip_header(file, &at, error);

    if (status != STATUS_OK) {
        return status;
    }
    (void)span_read_u32(file, file.bytes - 4, &length);
    if (length == 0 || length / RATIO_MAX > file.bytes - TRAILER_BYTES - at) {
        error->offset = file.bytes - 4;
        format_text(error->sentence, sizeof(error->sentence),
                    "gzip: the trailer says that %" PRIu64
                    " bytes expand to %u, which cannot be: the file is cut off or "
                    "has something behind its end",
                    file.bytes, length);
        return STATUS_MALFORMED;
    }
    *bytes = length;
    return STATUS_OK;
}

static enum status check_trailer(const struct inflate *inflate)
{
    uint32_t crc = 0;

    if (inflate->made != inflate->bytes) {
        return fail(inflate, "it expands to less than its trailer says: the file is cut off, or several in one");
    }
    if (inflate->at != inflate->end) {
        return fail(inflate, "something follows the compressed data: several files in one are not expanded");
    }
    (void)span_read_u32(inflate->file, inflate->end, &crc);
    if (crc != crc32_more(&inflate->tables, inflate->crc, inflate->to, inflate->made)) {
        return fail(inflate, "the checksum of what it expands to is wrong: the file is damaged");
    }
    return STATUS_OK;
}

static enum status expand(struct inflate *inflate)
{
    enum status status = skip_header(inflate->file, &inflate->at, inflate->error);

    crc_tables_make(&inflate->tables);
    if (status == STATUS_OK) {
        inflate->end = inflate->file.bytes - TRAILER_BYTES;
        status = all_blocks(inflate);
    }
    return status == STATUS_OK ? check_trailer(inflate) : status;
}

enum status gzip_expand(struct span file, uint8_t *to, uint64_t bytes, struct load_error *error)
{
    struct inflate inflate = {.file = file, .to = to, .bytes = bytes, .slide_at = UINT64_MAX, .error = error};

    return expand(&inflate);
}

enum status gzip_expand_to(struct span file, uint8_t window[GZIP_WINDOW_BYTES], uint64_t bytes,
                           const struct gzip_sink *sink, struct load_error *error)
{
    struct inflate inflate = {
        .file = file, .to = window, .bytes = bytes, .slide_at = SLIDE_AT, .sink = sink, .error = error};
    enum status status = expand(&inflate);

    return status == STATUS_OK && !give(&inflate, 0) ? STATUS_NO_MEMORY : status;
}
