/* SPDX-License-Identifier: MIT */
/*
 * Random bytes from a key: ChaCha20 (RFC 8439, 2.3 "The ChaCha20 Block Function") with its key erased by each use, so
 * what was given out cannot be computed from a later state. Pure: where the key comes from is the caller's.
 */
#ifndef HV_BASE_RANDOM_H
#define HV_BASE_RANDOM_H

#include "hv/base/types.h"

#define RANDOM_KEY_BYTES 32u
#define CHACHA20_BLOCK_BYTES 64u
#define CHACHA20_NONCE_BYTES 12u

struct random {
    uint8_t key[RANDOM_KEY_BYTES];
};

void chacha20_block(const uint8_t key[RANDOM_KEY_BYTES], uint32_t counter, const uint8_t nonce[CHACHA20_NONCE_BYTES],
                    uint8_t block[CHACHA20_BLOCK_BYTES]);

/* Adds a source to the key. The result is as hard to guess as the best of all sources that do not know each other. */
void random_mix(struct random *random, const uint8_t source[RANDOM_KEY_BYTES]);

void random_bytes(struct random *random, uint8_t *to, uint64_t bytes);

#endif
