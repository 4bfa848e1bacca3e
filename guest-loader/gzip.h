/* SPDX-License-Identifier: MIT */
/*
 * Kernels compressed with gzip, expanded before their boot header is looked for. Pure: the caller gives the memory.
 *
 *   gzip_recognize()  by the first bytes
 *   gzip_size()       what the trailer says that it expands to, so that the caller can get that much memory
 *   gzip_expand()     into exactly that much, or the first error with its offset in the file
 *   gzip_expand_to()  the same in pieces, for a caller that does not want all of it in memory
 *
 * No library: Debian has none that is built for a freestanding target (docs/boot-protocols.md).
 */
#ifndef GUEST_LOADER_GZIP_H
#define GUEST_LOADER_GZIP_H

#include "guest-loader/load_plan.h"

bool gzip_recognize(struct span file);

enum status gzip_size(struct span file, uint64_t *bytes, struct load_error *error);

/* `bytes` is what gzip_size() gave. On failure what is at `to` means nothing. */
enum status gzip_expand(struct span file, uint8_t *to, uint64_t bytes, struct load_error *error);

/* Takes the next bytes, in order; they are gone afterwards. False: it has no room. */
struct gzip_sink {
    bool (*take)(void *context, const uint8_t *bytes, uint64_t count);
    void *context;
};

#define GZIP_WINDOW_BYTES (128u * 1024u)

/* `window` is memory for the work. STATUS_NO_MEMORY: the sink has no room, and `error` means nothing. On another
 * failure what it has taken means nothing. */
enum status gzip_expand_to(struct span file, uint8_t window[GZIP_WINDOW_BYTES], uint64_t bytes,
                           const struct gzip_sink *sink, struct load_error *error);

#endif
