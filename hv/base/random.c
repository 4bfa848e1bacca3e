/* SPDX-License-Identifier: MIT */
/* See random.h. */
#include "hv/base/random.h"

#include "hv/base/memory.h"

#define STATE_WORDS 16u
#define KEY_WORD 4u
#define COUNTER_WORD 12u
#define NONCE_WORD 13u
#define DOUBLE_ROUNDS 10u

static const uint8_t no_nonce[CHACHA20_NONCE_BYTES];

static uint32_t rotate(uint32_t value, unsigned bits)
{
    return value << bits | value >> (32 - bits);
}

/* 2.1 "The ChaCha Quarter Round". */
static void quarter(uint32_t *w, unsigned a, unsigned b, unsigned c, unsigned d)
{
    static const uint8_t turns[] = {16, 12, 8, 7};

    for (unsigned i = 0; i < 4; i += 2) {
        w[a] += w[b];
        w[d] = rotate(w[d] ^ w[a], turns[i]);
        w[c] += w[d];
        w[b] = rotate(w[b] ^ w[c], turns[i + 1]);
    }
}

void chacha20_block(const uint8_t key[RANDOM_KEY_BYTES], uint32_t counter, const uint8_t nonce[CHACHA20_NONCE_BYTES],
                    uint8_t block[CHACHA20_BLOCK_BYTES])
{
    uint32_t start[STATE_WORDS] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    uint32_t words[STATE_WORDS];

    memcpy(&start[KEY_WORD], key, RANDOM_KEY_BYTES);
    start[COUNTER_WORD] = counter;
    memcpy(&start[NONCE_WORD], nonce, CHACHA20_NONCE_BYTES);
    memcpy(words, start, sizeof(words));
    for (unsigned round = 0; round < 2 * DOUBLE_ROUNDS; round++) {
        unsigned turn = round % 2; /* columns, then diagonals */

        for (unsigned i = 0; i < 4; i++) {
            quarter(words, i, 4 + (i + turn) % 4, 8 + (i + 2 * turn) % 4, 12 + (i + 3 * turn) % 4);
        }
    }
    for (unsigned i = 0; i < STATE_WORDS; i++) {
        words[i] += start[i];
    }
    memcpy(block, words, CHACHA20_BLOCK_BYTES);
}

void random_mix(struct random *random, const uint8_t source[RANDOM_KEY_BYTES])
{
    uint8_t block[CHACHA20_BLOCK_BYTES];

    for (unsigned i = 0; i < RANDOM_KEY_BYTES; i++) {
        random->key[i] ^= source[i];
    }
    chacha20_block(random->key, 0, no_nonce, block);
    memcpy(random->key, block, RANDOM_KEY_BYTES);
}

void random_bytes(struct random *random, uint8_t *to, uint64_t bytes)
{
    uint8_t next[CHACHA20_BLOCK_BYTES], block[CHACHA20_BLOCK_BYTES];

    chacha20_block(random->key, 0, no_nonce, next);
    for (uint32_t counter = 1; bytes != 0; counter++) {
        size_t piece = (size_t)min_u64(bytes, CHACHA20_BLOCK_BYTES);

        chacha20_block(random->key, counter, no_nonce, block);
        memcpy(to, block, piece);
        to += piece;
        bytes -= piece;
    }
    memcpy(random->key, next, RANDOM_KEY_BYTES);
}
